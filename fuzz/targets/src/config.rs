//! The files of coati-config: no text panics, every remark can be shown, and its span lies inside the text.

use std::sync::Arc;

use coati_config::bird::{self, HostInterface, Passwords};
use coati_config::site::{Site, SiteFiles};
use coati_config::{Diagnostic, Severity, Source, ospfd, psk, racoon, rc_conf as rc, setkey, sides};

/// racoon.conf.
pub fn racoon_conf(data: &[u8]) {
    let source = source("racoon.conf", data);
    let (conf, remarks) = racoon::parse(&source, &racoon::Included::default());
    show(&remarks);
    if remarks.iter().all(|remark| remark.severity < Severity::Error) {
        // What is printed is read as what it was printed from.
        let printed = Source::new("printed", conf.to_string());
        assert_eq!(racoon::parse(&printed, &racoon::Included::default()).0, conf);
    }
}

/// psk.txt. What is said about it never shows a key.
pub fn psk_txt(data: &[u8]) {
    let source = source("psk.txt", data);
    let (keys, remarks) = psk::parse(&source);
    show(&remarks);
    let text = rendered(&remarks);
    for key in &keys {
        let Ok(secret) = std::str::from_utf8(key.key.expose()) else { continue };
        // Short ones, and those that stand in the file elsewhere too, are no secrets.
        if secret.len() < 24 || source.text.matches(secret).count() > 1 || !text.contains(secret) {
            continue;
        }
        // One may be made of the remarks' own words: they are there without it too.
        let without = source.text.replace(secret, &"x".repeat(secret.len()));
        let (_, remarks) = psk::parse(&Source::new("psk.txt", without));
        assert!(rendered(&remarks).contains(secret), "a remark shows a key: {text}");
    }
}

fn rendered(remarks: &[Diagnostic]) -> String {
    remarks.iter().map(|remark| remark.render(false)).collect()
}

/// setkey.conf and what `setkey -f` and `setkey -c` read, in each dialect. What is printed of a request is read as it.
pub fn setkey_conf(data: &[u8]) {
    let source = source("setkey.conf", data);
    setkey::is_complete(&source.text);
    let addresses = |name: &str| match name.len() {
        0..10 => vec![[192, 0, 2, 1].into()],
        10..20 => vec![[192, 0, 2, 1].into(), [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into()],
        _ => Vec::new(),
    };
    for (_, dialect) in setkey::Dialect::NAMES {
        let names = setkey::Names {
            protocols: "ours 200 OURS\n".to_owned(),
            services: "http 80/tcp www\n".to_owned(),
            addresses: Some(addresses),
        };
        let script = setkey::read(&source, &setkey::Reading { dialect, names });
        show(&script.remarks);
        for statement in script.statements {
            assert!(statement.origin.place().line <= source.text.split('\n').count());
            let beside = setkey::forwarding(&statement.request);
            for request in std::iter::once(statement.request).chain(beside) {
                let text = setkey::command(&request);
                let reading = setkey::Reading { dialect: setkey::Dialect::IpsecTools, ..Default::default() };
                let again = setkey::read(&Source::new("printed", text.as_str()), &reading).statements;
                assert!(again.len() == 1 && again.iter().all(|it| it.request == request), "{text}");
            }
        }
    }
}

/// rc.conf.
pub fn rc_conf(data: &[u8]) {
    show(&rc::parse(&source("rc.conf", data)).1);
}

/// ospfd.conf and frr.conf.
pub fn ospfd_conf(data: &[u8]) {
    show(&ospfd::parse(&source("ospfd.conf", data)).1);
}

/// bird.conf. What is made of it can be read; nothing that is for people's eyes has a password.
pub fn bird_conf(data: &[u8]) {
    let source = source("bird.conf", data);
    let hosts: Vec<HostInterface> =
        ["gre0=10.9.9.1/30", "em0=192.0.2.1/24", "em1"].iter().filter_map(|text| text.parse().ok()).collect();
    let (written, remarks) = bird::import(&source, &hosts, Passwords::Written);
    let (hidden, _) = bird::import(&source, &hosts, Passwords::Hidden);
    show(&remarks);
    assert_eq!(written.is_some(), hidden.is_some());
    assert!(written.is_some() || remarks.iter().any(|remark| remark.severity == Severity::Error));
    let mut keys: Vec<Vec<u8>> = Vec::new();
    for text in written.iter().chain(&hidden) {
        let (conf, remarks) = ospfd::parse(&Source::new("ospfd.conf", text.as_str()));
        let errors: Vec<String> = remarks
            .iter()
            .filter(|remark| remark.severity == Severity::Error)
            .map(ToString::to_string)
            .collect();
        let says_something = conf.enabled || !conf.static_routes.is_empty();
        assert!(errors.is_empty() && says_something, "{errors:?} in {text}");
        let chains = conf.key_chains.values().flat_map(|chain| chain.keys.values());
        keys.extend(chains.map(|key| key.secret.expose().to_vec()));
        keys.extend(
            conf.interfaces.iter().flat_map(|own| &own.digest_keys).map(|key| key.1.expose().to_vec()),
        );
    }
    let public = rendered(&remarks) + hidden.as_deref().unwrap_or("");
    for secret in keys.iter().filter_map(|key| std::str::from_utf8(key).ok()) {
        // Short ones, and those that stand in the file elsewhere too, are no secrets.
        let is_secret = secret.len() >= 12 && source.text.matches(secret).count() == 1;
        assert!(!is_secret || !public.contains(secret), "a password is shown: {public}");
    }
}

/// All files of two sites, one checked against the other: ten texts, separated by bytes of value 0; what is missing at
/// the second site is there as at the first.
pub fn site(data: &[u8]) {
    const FILES: usize = 5;
    let texts: Vec<&[u8]> = data.splitn(2 * FILES, |byte| *byte == 0).collect();
    let files = |first: usize| {
        let file = |index: usize, name: &str| {
            let text = texts.get(first + index).or_else(|| texts.get(index)).filter(|text| !text.is_empty());
            text.map(|text| source(name, text))
        };
        SiteFiles {
            rc_conf: file(0, "rc.conf"),
            racoon_conf: file(1, "racoon.conf"),
            included: racoon::Included::default(),
            psk_txt: file(2, "psk.txt"),
            setkey_conf: file(3, "setkey.conf"),
            ospfd_conf: file(4, "ospfd.conf"),
            ..SiteFiles::default()
        }
    };
    let (files_a, files_b) = (files(0), files(FILES));
    let ((site_a, remarks_a), (site_b, remarks_b)) = (Site::read(&files_a), Site::read(&files_b));
    show(&remarks_a);
    show(&remarks_b);
    show(&sides::compare((&files_a, &site_a), (&files_b, &site_b)));
}

fn source(name: &str, data: &[u8]) -> Arc<Source> {
    Source::new(name, String::from_utf8_lossy(data))
}

fn show(remarks: &[Diagnostic]) {
    for remark in remarks {
        let (text, span) = (remark.source.text.as_str(), remark.span);
        assert!(text.get(span.start..span.end).is_some(), "{span:?} is no piece of the text: {remark}");
        assert!(!remark.message.is_empty());
        let place = remark.place();
        assert!(place.line <= text.split('\n').count() && place.column > 0);
        let line = remark.source.line(place.line);
        assert!(line.start <= span.start && span.start <= line.end);
        for colour in [false, true] {
            assert!(remark.render(colour).contains(&remark.message));
        }
    }
}
