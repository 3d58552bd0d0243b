//! The examples' routers, read once.

use std::sync::LazyLock;

use coati_config::Source;
use coati_config::site::{Site, SiteFiles};

/// Both ends of `examples/manual-keys`, whose tunnel is up without IKE.
pub(crate) static MANUAL: LazyLock<[Site; 2]> = LazyLock::new(|| {
    [
        read(&[
            ("rc.conf", include_str!("../../../examples/manual-keys/site-a/rc.conf")),
            ("setkey.conf", include_str!("../../../examples/manual-keys/site-a/setkey.conf")),
        ]),
        read(&[
            ("rc.conf", include_str!("../../../examples/manual-keys/site-b/rc.conf")),
            ("setkey.conf", include_str!("../../../examples/manual-keys/site-b/setkey.conf")),
        ]),
    ]
});

/// One end of `examples/seed`.
pub(crate) static SEED: LazyLock<Site> = LazyLock::new(|| {
    read(&[
        ("rc.conf", include_str!("../../../examples/seed/freebsd-a/rc.conf")),
        ("racoon.conf", include_str!("../../../examples/seed/freebsd-a/racoon.conf")),
        ("psk.txt", include_str!("../../../examples/seed/freebsd-a/psk.txt")),
        ("setkey.conf", include_str!("../../../examples/seed/freebsd-a/setkey.conf")),
        ("ospfd.conf", include_str!("../../../examples/seed/freebsd-a/ospfd.conf")),
    ])
});

fn read(texts: &[(&str, &str)]) -> Site {
    let file = |name: &str| {
        texts.iter().find(|(found, _)| *found == name).map(|(name, text)| Source::new(*name, *text))
    };
    let files = SiteFiles {
        included: coati_config::racoon::Included::default(),
        rc_conf: file("rc.conf"),
        racoon_conf: file("racoon.conf"),
        psk_txt: file("psk.txt"),
        setkey_conf: file("setkey.conf"),
        ospfd_conf: file("ospfd.conf"),
    };
    Site::read(&files).0
}
