//! A directive of racoon.conf, and what the engine is told.

use std::sync::Arc;

use coati_config::site::SiteFiles;
use coati_config::{Severity, Source};
use coati_ike::AuthMethod;
use coati_sadb::Upper;

use super::*;

const PROPOSAL: &str = "proposal { encryption_algorithm aes 256; hash_algorithm sha256; authentication_method \
                        pre_shared_key; dh_group 14; }";
const ALGORITHMS: &str = "encryption_algorithm aes; authentication_algorithm hmac_sha256; compression_algorithm \
                          deflate;";

fn files(racoon_conf: &str) -> SiteFiles {
    let key_id = ("group.id".to_owned(), Ok(b"staff".to_vec()));
    SiteFiles {
        racoon_conf: Some(Source::new("racoon.conf", racoon_conf)),
        psk_txt: Some(Source::new("psk.txt", "* a-key-of-more-than-twenty-characters\n")),
        key_ids: [key_id].into(),
        ..SiteFiles::default()
    }
}

/// The engine's configuration, or what the errors say.
fn read(racoon_conf: &str) -> Result<Config, Vec<String>> {
    let (site, remarks) = Site::read(&files(racoon_conf));
    let errors = remarks.iter().filter(|remark| remark.severity == Severity::Error);
    let errors: Vec<String> = errors.map(ToString::to_string).collect();
    if errors.is_empty() { Ok(ike_config(&site)) } else { Err(errors) }
}

fn remote(header: &str, directives: &str) -> String {
    let mode = if directives.contains("exchange_mode") { "" } else { "exchange_mode main;" };
    format!("remote {header} {{ {mode} {directives} {PROPOSAL} }} sainfo anonymous {{ {ALGORITHMS} }}")
}

fn one_peer(directives: &str) -> Peer {
    let text = remote("192.0.2.1", directives);
    read(&text).unwrap_or_else(|errors| panic!("{directives}: {errors:?}")).peers.remove(0)
}

fn one_sainfo(header: &str, statements: &str) -> SaInfo {
    let text = format!("sainfo {header} {{ {statements} {ALGORITHMS} }}");
    read(&text).unwrap_or_else(|errors| panic!("{header}: {errors:?}")).sainfos.remove(0)
}

/// The only thing in which it differs from a peer without the directive.
#[test]
fn every_directive_of_remote() {
    let dpd =
        |delay, retry, max_failures| Some(Dpd { delay: seconds(delay), retry: seconds(retry), max_failures });
    type Change = Box<dyn Fn(&mut Peer)>;
    let change = |change: fn(&mut Peer)| -> Change { Box::new(change) };
    let id = |id: Identifier| -> Change { Box::new(move |peer| peer.my_identifier = id.clone()) };
    let peers = |ids: &[Identifier]| -> Change {
        let ids = ids.to_vec();
        Box::new(move |peer| peer.peers_identifiers.clone_from(&ids))
    };
    let asks = |wanted: Option<Dpd>| -> Change { Box::new(move |peer| peer.dpd = wanted) };
    let (main, aggressive) = (ExchangeMode::Main, ExchangeMode::Aggressive);
    let modes = |modes: &[ExchangeMode]| -> Change {
        let modes = modes.to_vec();
        Box::new(move |peer| peer.exchange_modes.clone_from(&modes))
    };
    let address = "203.0.113.9".parse().unwrap();
    let table: Vec<(&str, Change)> = vec![
        ("exchange_mode aggressive;", modes(&[aggressive])),
        ("exchange_mode aggressive, main;", modes(&[aggressive, main])),
        ("my_identifier address;", change(|_| {})),
        ("my_identifier address 203.0.113.9;", id(Identifier::Address(Some(address)))),
        ("my_identifier fqdn \"a.example.org\";", id(Identifier::Fqdn("a.example.org".into()))),
        ("my_identifier user_fqdn \"me@example.org\";", id(Identifier::UserFqdn("me@example.org".into()))),
        ("my_identifier keyid tag \"group\";", id(Identifier::KeyId(b"group".to_vec()))),
        ("my_identifier keyid file \"group.id\";", id(Identifier::KeyId(b"staff".to_vec()))),
        (
            "peers_identifier fqdn \"b.example.org\"; peers_identifier address;",
            peers(&[Identifier::Fqdn("b.example.org".into()), Identifier::Address(None)]),
        ),
        ("verify_identifier on;", change(|peer| peer.verify_identifier = true)),
        ("nat_traversal on;", change(|peer| peer.nat_traversal = NatTraversal::On)),
        ("nat_traversal force;", change(|peer| peer.nat_traversal = NatTraversal::Force)),
        ("generate_policy on;", change(|peer| peer.generate_policy = GeneratePolicy::Require)),
        ("generate_policy unique;", change(|peer| peer.generate_policy = GeneratePolicy::Unique)),
        ("ph1id 7;", change(|peer| peer.ph1id = 7)),
        ("proposal_check obey;", change(|peer| peer.proposal_check = ProposalCheck::Obey)),
        ("proposal_check claim;", change(|peer| peer.proposal_check = ProposalCheck::Claim)),
        ("proposal_check exact;", change(|peer| peer.proposal_check = ProposalCheck::Exact)),
        ("ike_frag on;", change(|peer| peer.fragmentation = Fragmentation::On)),
        ("ike_frag force;", change(|peer| peer.fragmentation = Fragmentation::Force)),
        ("dpd_delay 20;", asks(dpd(20, 5, 5))),
        ("dpd_delay 20; dpd_retry 3; dpd_maxfail 2;", asks(dpd(20, 3, 2))),
        ("dpd off; dpd_delay 20;", change(|peer| peer.announces_dpd = false)),
        ("rekey off;", change(|peer| peer.rekey = false)),
        ("rekey force;", change(|_| {})),
        ("passive on;", change(|peer| peer.passive = true)),
        ("mode_cfg on;", change(|peer| peer.mode_cfg = true)),
        ("xauth_login \"ann\";", change(|peer| peer.xauth_login = Some("ann".into()))),
        ("initial_contact off;", change(|peer| peer.initial_contact = false)),
        ("nonce_size 32;", change(|peer| peer.nonce_len = 32)),
        ("lifetime time 10 min;", change(|peer| peer.proposals[0].lifetime = 600)),
        ("script \"up.sh\" phase1_up;", change(|_| {})),
    ];
    let plain = one_peer("");
    for (directives, change) in table {
        let mut expected = plain.clone();
        change(&mut expected);
        let mut peer = one_peer(directives);
        // Columns move with what stands before.
        peer.check_origin.clone_from(&expected.check_origin);
        for (proposal, expected) in peer.proposals.iter_mut().zip(&expected.proposals) {
            proposal.origin.clone_from(&expected.origin);
        }
        assert_eq!(peer, expected, "{directives}");
    }
}

#[test]
fn every_form_of_remote() {
    for (header, directives, name, address, port) in [
        ("192.0.2.1", "", None, Some("192.0.2.1"), 500),
        ("192.0.2.1 [501]", "", None, Some("192.0.2.1"), 501),
        ("2001:db8::1", "", None, Some("2001:db8::1"), 500),
        ("anonymous", "", None, None, 500),
        ("\"gate\"", "remote_address 192.0.2.7 [4500];", Some("gate"), Some("192.0.2.7"), 4500),
        ("\"laptops\"", "", Some("laptops"), None, 500),
    ] {
        let peer = read(&remote(header, directives)).unwrap().peers.remove(0);
        let address = address.map(|address| address.parse().unwrap());
        assert_eq!((peer.name.as_deref(), peer.address, peer.port), (name, address, port), "{header}");
    }
    let parent = "remote anonymous { exchange_mode aggressive; nat_traversal on; my_identifier fqdn \"a\";";
    let text = format!("{parent} {PROPOSAL} }} remote 192.0.2.1 inherit anonymous {{ nat_traversal off; }}");
    let config = read(&text).unwrap();
    let heir = &config.peers[1];
    assert_eq!(
        (heir.exchange_modes.as_slice(), heir.nat_traversal),
        (&[ExchangeMode::Aggressive][..], NatTraversal::Off)
    );
    assert_eq!(heir.my_identifier, Identifier::Fqdn("a".into()));
    assert_eq!(heir.proposals, config.peers[0].proposals);
}

#[test]
fn every_form_of_sainfo() {
    let end = |prefix: &str, upper| {
        Some(EndpointId { prefix: prefix.parse().unwrap(), upper, port: coati_sadb::Port::Any })
    };
    let gate = Identifier::Fqdn("gate".into());
    for (header, local, remote, from) in [
        ("anonymous", None, None, None),
        ("anonymous address 192.0.2.1 gre", None, end("192.0.2.1/32", Upper::GRE), None),
        ("subnet 10.1.0.0/16 any anonymous", end("10.1.0.0/16", Upper::Any), None, None),
        (
            "address 192.0.2.1/32 [any] gre address 198.51.100.1/32 [any] gre",
            end("192.0.2.1/32", Upper::GRE),
            end("198.51.100.1/32", Upper::GRE),
            None,
        ),
        ("anonymous from fqdn \"gate\"", None, None, Some(gate)),
    ] {
        let info = one_sainfo(header, "");
        assert_eq!((info.local, info.remote, info.from), (local, remote, from), "{header}");
    }
    let range = one_sainfo("address 10.1.0.0-10.1.255.255 any anonymous", "");
    assert_eq!(range.local, end("10.1.0.0/16", Upper::Any));
    let web = one_sainfo("anonymous address 192.0.2.1 [80] tcp", "");
    assert_eq!(web.remote.unwrap().port, coati_sadb::Port::Is(80));
    assert!(one_sainfo("anonymous clientaddr", "").of_client && !web.of_client);
    let info = one_sainfo("anonymous", "remoteid 7; pfs_group 14; lifetime time 1 hour; lifetime byte 2 MB;");
    assert_eq!((info.remoteid, info.lifetime, info.kilobytes), (7, 3600, 2048));
    assert_eq!(info.pfs_group, Some(Group::Modp2048));
}

/// Every method by which somebody logs in.
#[test]
fn methods_of_road_warriors() {
    for (word, method) in
        [("xauth_psk_client", AuthMethod::XauthPskClient), ("xauth_psk_server", AuthMethod::XauthPskServer)]
    {
        let text = remote("192.0.2.1", "").replace("pre_shared_key", word);
        let config = read(&text).unwrap();
        assert_eq!(config.peers[0].proposals[0].auth, method, "{word}");
        // Who lets others log in has what they are given, be it nothing.
        assert_eq!(config.mode_config.is_some(), word == "xauth_psk_server");
    }
}

#[test]
fn every_directive_of_mode_cfg() {
    let text = "mode_cfg { network4 10.99.0.10; netmask4 255.255.255.0; pool_size 20; dns4 10.1.0.53, 10.1.0.54; \
                wins4 10.1.0.60; default_domain \"example.org\"; split_network include 10.1.0.0/16, 10.2.3.4/24; \
                split_dns \"a.example\", \"b.example\"; banner \"motd\"; pfs_group 14; save_passwd on; \
                auth_source system; auth_groups \"vpn\"; group_source system; conf_source local; accounting none; \
                auth_throttle 3; }";
    let mut files = files(&format!("{text} {}", remote("192.0.2.1", "")));
    files.banner = Some(Ok("Welcome\n".to_owned()));
    let config = ike_config(&Site::read(&files).0).mode_config.unwrap();
    let network = |address: &str, mask: &str| Network {
        address: address.parse().unwrap(),
        mask: mask.parse().unwrap(),
    };
    let wanted = ModeConfig {
        network4: Some("10.99.0.10".parse().unwrap()),
        netmask4: Some("255.255.255.0".parse().unwrap()),
        pool_size: 20,
        dns4: vec!["10.1.0.53".parse().unwrap(), "10.1.0.54".parse().unwrap()],
        wins4: vec!["10.1.0.60".parse().unwrap()],
        default_domain: Some("example.org".into()),
        split_dns: vec!["a.example".into(), "b.example".into()],
        split: Split::Include(vec![network("10.1.0.0", "255.255.0.0"), network("10.2.3.0", "255.255.255.0")]),
        banner: Some("Welcome\n".into()),
        pfs_group: 14,
        save_passwd: true,
        logins: Logins::Owner,
        auth_throttle: seconds(3),
    };
    assert_eq!(config, wanted);
    let text = "mode_cfg { split_network local_lan 192.0.2.0/24; }";
    let config = read(&format!("{text} {}", remote("192.0.2.1", ""))).unwrap().mode_config.unwrap();
    assert_eq!(config.split, Split::LocalLan(vec![network("192.0.2.0", "255.255.255.0")]));
    assert_eq!(config.auth_throttle, seconds(1));
    assert_eq!(read(&remote("192.0.2.1", "")).unwrap().mode_config, None);
}

#[test]
fn timers_and_ports() {
    let with = |text: &str| read(&format!("{text} {}", remote("192.0.2.1", ""))).unwrap();
    let usual = with("");
    assert_eq!(usual.natt_keepalive, Duration::from_secs(20));
    assert_eq!(usual.patience, Patience { phase1: seconds(30), phase2: seconds(30), ..Patience::default() });
    let config = with("timer { natt_keepalive 0 sec; phase1 1 min; phase2 15 sec; }");
    assert_eq!(config.natt_keepalive, Duration::ZERO);
    assert_eq!((config.patience.phase1, config.patience.phase2), (seconds(60), seconds(15)));
    assert_eq!(config.patience.first_wait, Patience::default().first_wait);
    let patience = with("timer { counter 3; interval 2 sec; }").patience;
    assert_eq!(
        (patience.first_wait, patience.longest_wait, patience.repetitions),
        (seconds(2), seconds(2), 3)
    );
    let listen = "listen { isakmp 192.0.2.9 [4500]; isakmp 192.0.2.9 [5500]; isakmp_natt 192.0.2.9 [4500]; }";
    assert_eq!((with(listen).port, with(listen).natt_port), (5500, 4500));
}

/// What is not done is an error that names it.
#[test]
fn what_is_refused() {
    let rest = remote("192.0.2.1", "");
    for (text, what) in [
        (format!("mode_cfg {{ auth_source radius; }} {rest}"), "asks neither RADIUS nor LDAP nor PAM"),
        (rest.replace("pre_shared_key", "rsasig"), "add: certificate_type x509"),
        (remote("192.0.2.1", "my_identifier keyid file \"other.id\";"), "\"other.id\": it was not read"),
        (remote("fe80::1%em0", ""), "an address with an interface"),
        (format!("listen {{ isakmp_natt 192.0.2.9 [4501]; }} {rest}"), "another port than 4500"),
        (format!("listen {{ isakmp 192.0.2.9; isakmp 192.0.2.9 [501]; }} {rest}"), "another port for IKE"),
        (format!("privsep {{ chroot \"/var/empty\"; }} {rest}"), "privsep chroot"),
        (
            format!("sainfo anonymous address 192.0.2.1-192.0.2.4 any {{ {ALGORITHMS} }}"),
            "a range that is no",
        ),
        (format!("sainfo anonymous fqdn \"a\" {{ {ALGORITHMS} }}"), "a sainfo for a name"),
        (format!("sainfo anonymous group \"staff\" {{ {ALGORITHMS} }}"), "group"),
        (rest.replace("dh_group 14", "dh_group 19"), "group 19"),
    ] {
        let errors = read(&text).expect_err(what);
        assert!(errors.len() == 1 && errors[0].contains(what), "{what}: {errors:?}");
    }
}

/// What changes nothing for peers is said.
#[test]
fn what_makes_no_difference() {
    let counted = remote("192.0.2.1", "lifetime byte 10 MB;");
    let (_, remarks) = Site::read(&files(&counted));
    let said =
        |what: &str| remarks.iter().any(|r| r.severity == Severity::Warning && r.message.contains(what));
    assert!(said("lifetime byte makes no difference in phase 1"), "{remarks:?}");
    for (text, what) in [
        ("timer { persend 2; }", "persend"),
        ("padding { strict_check on; }", "padding"),
        ("mode_cfg { accounting system; }", "accounting"),
        ("mode_cfg { banner \"motd\"; }", "clients are shown no banner"),
    ] {
        let mut files = files(&format!("{text} {}", remote("192.0.2.1", "")));
        files.banner = Some(Err("no such file".into()));
        let (_, remarks) = Site::read(&files);
        let said = remarks.iter().any(|r| r.severity == Severity::Warning && r.message.contains(what));
        assert!(said, "{text}: {remarks:?}");
        let source: &Arc<Source> = &remarks[0].source;
        assert_eq!(source.name, "racoon.conf");
    }
}
