//! The two ends of a tunnel, where the files of both are at hand: what does not match, with both values. Most of it a
//! router alone could only find out by not getting through.

use std::net::{IpAddr, Ipv4Addr};

use crate::diagnostic::{Diagnostic, Severity, Span};
use crate::ospfd::{OspfConf, OspfInterface};
use crate::racoon::{DhGroup, EspAuth, EspCipher, Proposal, RacoonConf, Remote};
use crate::rc_conf::GreTunnel;
use crate::site::{Site, SiteFiles};

/// HelloInterval when nothing says otherwise, in seconds (RFC 2328 appendix C.3, as Quagga and FRR have it).
const HELLO_SECONDS: u16 = 10;

/// One end: its texts and what they say.
pub type End<'a> = (&'a SiteFiles, &'a Site);

/// What does not match between the two ends; remarks point at the files of `a`, and name the value of `b`.
pub fn compare(a: End<'_>, b: End<'_>) -> Vec<Diagnostic> {
    let mut remarks = Vec::new();
    for tunnel in &a.1.rc.tunnels {
        compare_tunnel(a, b, tunnel, &mut remarks);
    }
    remarks
}

fn compare_tunnel(a: End<'_>, b: End<'_>, tunnel: &GreTunnel, remarks: &mut Vec<Diagnostic>) {
    let Some(source) = &a.0.rc_conf else { return };
    let span = source.line(tunnel.place.line);
    let mut differ = |severity, what: String, help: String| {
        remarks.push(Diagnostic::new(severity, source, span, what).help(help));
    };
    let mirrored = |other: &&GreTunnel| (other.local, other.remote) == (tunnel.remote, tunnel.local);
    let Some(other) = b.1.rc.tunnels.iter().find(mirrored) else {
        let there: Vec<String> =
            b.1.rc.tunnels.iter().map(|t| format!("{} from {} to {}", t.name, t.local, t.remote)).collect();
        let there = if there.is_empty() { "no tunnel".to_owned() } else { there.join(", ") };
        let what = format!(
            "{} goes from {} to {}, but the other side has {there}",
            tunnel.name, tunnel.local, tunnel.remote
        );
        return differ(
            Severity::Error,
            what,
            format!("there it has to be: tunnel {} {}", tunnel.remote, tunnel.local),
        );
    };
    let name = &tunnel.name;
    if (tunnel.address, tunnel.peer) != (other.peer, other.address) {
        differ(
            Severity::Error,
            format!(
                "the inner addresses of {name} are {} and {}, on the other side {} and {}",
                tunnel.address, tunnel.peer, other.address, other.peer
            ),
            format!("there they have to be: {} {}", tunnel.peer, tunnel.address),
        );
    }
    if tunnel.prefix_len != other.prefix_len {
        let what =
            format!("{name} has the prefix /{}, on the other side /{}", tunnel.prefix_len, other.prefix_len);
        differ(Severity::Warning, what, "write the same netmask on both sides".to_owned());
    }
    if tunnel.mtu != other.mtu {
        let shown = |mtu: Option<u32>| mtu.map_or("the default".to_owned(), |mtu| mtu.to_string());
        let what =
            format!("the MTU of {name} is {}, on the other side {}", shown(tunnel.mtu), shown(other.mtu));
        let help = "OSPF stays in ExStart when they differ: write the same mtu on both sides";
        differ(Severity::Error, what, help.to_owned());
    }
    if tunnel.key != other.key {
        let shown = |key: Option<u32>| key.map_or("none".to_owned(), |key| key.to_string());
        let what =
            format!("the key of {name} is {}, on the other side {}", shown(tunnel.key), shown(other.key));
        differ(Severity::Error, what, "write the same grekey on both sides".to_owned());
    }
    compare_ike(a, b, tunnel, remarks);
    compare_ospf(a, b, tunnel, other, remarks);
}

fn compare_ike(a: End<'_>, b: End<'_>, tunnel: &GreTunnel, remarks: &mut Vec<Diagnostic>) {
    let (Some(racoon_a), Some(racoon_b)) = (&a.1.racoon, &b.1.racoon) else { return };
    let (near, far): (IpAddr, IpAddr) = (tunnel.local, tunnel.remote);
    if let (Some(psk), Some(key_a), Some(key_b)) = (&a.0.psk_txt, a.1.key_of(far), b.1.key_of(near))
        && key_a.key != key_b.key
    {
        let message =
            format!("the pre-shared key for {far} is not the one that the other side has for {near}");
        remarks.push(
            Diagnostic::new(Severity::Error, psk, psk.line(key_a.line), message)
                .help("write the same key on both sides"),
        );
    }
    if let (Some(remote_a), Some(remote_b)) = (remote_for(racoon_a, far), remote_for(racoon_b, near)) {
        compare_proposals(remote_a, remote_b, remarks);
    }
    if let (Some(info_a), Some(info_b)) = (racoon_a.sainfos.first(), racoon_b.sainfos.first()) {
        let mut error = |message: String, help: &str| {
            remarks.push(info_a.origin.remark(Severity::Error, message).help(help));
        };
        let group = |group: Option<DhGroup>| group.map_or("none".to_owned(), |group| group.to_string());
        if info_a.pfs_group != info_b.pfs_group {
            let (ours, theirs) = (group(info_a.pfs_group), group(info_b.pfs_group));
            error(
                format!("pfs_group is {ours}, on the other side {theirs}"),
                "write the same pfs_group on both sides",
            );
        }
        if !info_a.encryption.iter().any(|one| info_b.encryption.contains(one)) {
            let list =
                |list: &[EspCipher]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let (ours, theirs) = (list(&info_a.encryption), list(&info_b.encryption));
            error(
                format!("encryption_algorithm is {ours}, on the other side {theirs}: nothing is in both"),
                "write one of them on both sides",
            );
        }
        if !info_a.authentication.iter().any(|one| info_b.authentication.contains(one)) {
            let list = |list: &[EspAuth]| list.iter().map(|auth| auth.name()).collect::<Vec<_>>().join(", ");
            let (ours, theirs) = (list(&info_a.authentication), list(&info_b.authentication));
            error(
                format!("authentication_algorithm is {ours}, on the other side {theirs}: nothing is in both"),
                "write one of them on both sides",
            );
        }
    }
}

/// The block that racoon takes for a peer: by address, else `anonymous`.
fn remote_for(racoon: &RacoonConf, peer: IpAddr) -> Option<&Remote> {
    let exact = |remote: &&Remote| remote.address() == Some(peer);
    let anonymous = |remote: &&Remote| remote.address().is_none();
    racoon.remotes.iter().find(exact).or_else(|| racoon.remotes.iter().find(anonymous))
}

fn compare_proposals(a: &Remote, b: &Remote, remarks: &mut Vec<Diagnostic>) {
    let same = |x: &Proposal, y: &Proposal| {
        (x.cipher, x.hash, x.dh_group, x.method) == (y.cipher, y.hash, y.dh_group, y.method)
    };
    if a.proposals.iter().any(|x| b.proposals.iter().any(|y| same(x, y))) {
        return;
    }
    let list = |remote: &Remote| {
        let one = |p: &Proposal| format!("{} {} dh_group {}", p.cipher, p.hash, p.dh_group);
        remote.proposals.iter().map(one).collect::<Vec<_>>().join(" or ")
    };
    let message = format!(
        "the proposals of phase 1 are {}, on the other side {}: nothing is in both",
        list(a),
        list(b)
    );
    let origin = a.proposals.first().map_or(&a.origin, |proposal| &proposal.origin);
    remarks.push(
        origin
            .remark(Severity::Error, message)
            .help("write the same encryption_algorithm, hash_algorithm and dh_group on both sides"),
    );
}

fn compare_ospf(
    a: End<'_>,
    b: End<'_>,
    tunnel: &GreTunnel,
    other: &GreTunnel,
    remarks: &mut Vec<Diagnostic>,
) {
    let (Some(source), Some(ospf_a), Some(ospf_b)) = (&a.0.ospfd_conf, &a.1.ospf, &b.1.ospf) else { return };
    let mention = ospf_a.mentions.iter().find(|(name, _)| *name == tunnel.name).map(|(_, span)| *span);
    let span = mention.unwrap_or(Span::default());
    let mut error = |message: String, help: &str| {
        remarks.push(Diagnostic::new(Severity::Error, source, span, message).help(help));
    };
    let (ours, theirs) = (Timers::of(ospf_a, &tunnel.name), Timers::of(ospf_b, &other.name));
    let name = &tunnel.name;
    if ours.hello != theirs.hello {
        let message =
            format!("{name}: hello-interval is {} s, on the other side {} s", ours.hello, theirs.hello);
        error(message, "write the same `ip ospf hello-interval` on both sides");
    }
    if ours.dead != theirs.dead {
        let message =
            format!("{name}: dead-interval is {} s, on the other side {} s", ours.dead, theirs.dead);
        error(message, "write the same `ip ospf dead-interval` on both sides");
    }
    let areas = (area(ospf_a, tunnel), area(ospf_b, other));
    if let (Some(ours), Some(theirs)) = areas
        && ours != theirs
    {
        error(
            format!("{name} is in area {ours}, on the other side in area {theirs}"),
            "write the same area on both sides",
        );
    }
    if let (Some(id), Some(same)) = (ospf_a.router_id, ospf_b.router_id)
        && id == same
    {
        error(format!("both sides have the router id {id}"), "every router needs one of its own");
    }
}

/// The two times that neighbours have to agree on, in seconds.
struct Timers {
    hello: u16,
    dead: u32,
}

impl Timers {
    fn of(ospf: &OspfConf, interface: &str) -> Self {
        let found = interface_of(ospf, interface);
        let hello = found.and_then(|found| found.hello_interval).unwrap_or(HELLO_SECONDS);
        let dead = found.and_then(|found| found.dead_interval).unwrap_or(4 * u32::from(hello));
        Self { hello, dead }
    }
}

fn interface_of<'a>(ospf: &'a OspfConf, name: &str) -> Option<&'a OspfInterface> {
    ospf.interfaces.iter().find(|interface| interface.name == name)
}

/// The area of the tunnel: its own line, else that of the narrowest network around it.
fn area(ospf: &OspfConf, tunnel: &GreTunnel) -> Option<Ipv4Addr> {
    let own = interface_of(ospf, &tunnel.name).and_then(|interface| interface.area);
    let networks = ospf.networks.iter().filter(|network| network.prefix.contains(tunnel.address.into()));
    own.or_else(|| networks.max_by_key(|network| network.prefix.length).map(|network| network.area))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::diagnostic::Source;
    use crate::racoon::Included;

    macro_rules! seed {
        ($side:literal, $file:literal) => {
            Some(Source::new(
                concat!($side, "/", $file),
                include_str!(concat!("../../../examples/seed/freebsd-", $side, "/", $file)),
            ))
        };
    }

    fn seed() -> [SiteFiles; 2] {
        [
            SiteFiles {
                included: Included::default(),
                key_ids: std::collections::BTreeMap::new(),
                pki: crate::pki::PkiFiles::default(),
                banner: None,
                rc_conf: seed!("a", "rc.conf"),
                racoon_conf: seed!("a", "racoon.conf"),
                psk_txt: seed!("a", "psk.txt"),
                setkey_conf: seed!("a", "setkey.conf"),
                ospfd_conf: seed!("a", "ospfd.conf"),
            },
            SiteFiles {
                included: Included::default(),
                key_ids: std::collections::BTreeMap::new(),
                pki: crate::pki::PkiFiles::default(),
                banner: None,
                rc_conf: seed!("b", "rc.conf"),
                racoon_conf: seed!("b", "racoon.conf"),
                psk_txt: seed!("b", "psk.txt"),
                setkey_conf: seed!("b", "setkey.conf"),
                ospfd_conf: seed!("b", "ospfd.conf"),
            },
        ]
    }

    fn compared([a, b]: &[SiteFiles; 2]) -> Vec<String> {
        let (site_a, site_b) = (Site::read(a).0, Site::read(b).0);
        compare((a, &site_a), (b, &site_b)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_sites_of_the_how_to_match() {
        assert_eq!(compared(&seed()), Vec::<String>::new());
    }

    #[test]
    fn both_values_are_named() {
        type Which = fn(&mut SiteFiles) -> &mut Option<Arc<Source>>;
        let rc: Which = |files| &mut files.rc_conf;
        let racoon: Which = |files| &mut files.racoon_conf;
        let ospfd: Which = |files| &mut files.ospfd_conf;
        let cases: [(Which, &str, &str, &str); 13] = [
            (
                rc,
                "tunnel 198.51.100.1 192.0.2.1",
                "tunnel 198.51.100.1 192.0.2.9",
                "a/rc.conf:5:1: error: gre0 goes from 192.0.2.1 to 198.51.100.1, but the other side has gre0 from \
                 198.51.100.1 to 192.0.2.9 (there it has to be: tunnel 198.51.100.1 192.0.2.1)",
            ),
            (
                rc,
                "203.0.113.2 203.0.113.1 ",
                "203.0.113.6 203.0.113.1 ",
                "are 203.0.113.1 and 203.0.113.2, on the other side 203.0.113.6 and 203.0.113.1",
            ),
            (rc, "mtu 1400", "mtu 1300", "the MTU of gre0 is 1400, on the other side 1300"),
            (rc, "0xfffffffc", "0xfffffff8", "the prefix /30, on the other side /29"),
            (rc, "mtu 1400", "mtu 1400 grekey 7", "the key of gre0 is none, on the other side 7"),
            (|files| &mut files.psk_txt, "seed", "sea", "a/psk.txt:1:1: error: the pre-shared key"),
            (
                racoon,
                "dh_group 2;",
                "dh_group 14;",
                "sha1 dh_group 2, on the other side aes 128 sha1 dh_group 14",
            ),
            (
                racoon,
                "pfs_group 2;",
                "pfs_group 14;",
                "a/racoon.conf:18:1: error: pfs_group is 2, on the other side 14",
            ),
            (racoon, "aes, 3des;", "aes 256;", "aes 128, 3des, on the other side aes 256"),
            (racoon, "hmac_sha1;", "hmac_sha256;", "is hmac_sha1, on the other side hmac_sha256"),
            (
                ospfd,
                "point-to-point\n",
                "point-to-point\n ip ospf hello-interval 5\n",
                "a/ospfd.conf:3:11: error: gre0: hello-interval is 10 s, on the other side 5 s",
            ),
            (
                ospfd,
                "203.0.113.0/30 area 0",
                "203.0.113.0/30 area 1",
                "in area 0.0.0.0, on the other side in area 0.0.0.1",
            ),
            (
                ospfd,
                "router-id 203.0.113.2",
                "router-id 203.0.113.1",
                "both sides have the router id 203.0.113.1",
            ),
        ];
        for (which, from, to, wanted) in cases {
            let mut sides = seed();
            let slot = which(&mut sides[1]);
            let old = slot.take().unwrap();
            assert!(old.text.contains(from), "{from}");
            *slot = Some(Source::new(old.name.clone(), old.text.replace(from, to)));
            let texts = compared(&sides);
            assert!(texts.iter().any(|text| text.contains(wanted)), "{from} -> {to}: {texts:#?}");
        }
    }
}
