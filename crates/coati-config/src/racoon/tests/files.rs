//! Whole files, as they are in use.

use super::{SEED, errors, good, read};
use crate::diagnostic::Severity;
use crate::racoon::{
    AuthMethod, Certificate, DhGroup, EspCipher, ExchangeMode, GeneratePolicy, Identifier, IkeFrag,
    NatTraversal, Phase1Cipher, ProposalCheck, RemoteWho, SainfoId, ScriptEvent, unsupported,
};

#[test]
fn the_file_of_the_how_to() {
    let (conf, remarks) = read(SEED);
    let remote = &conf.remotes[0];
    assert_eq!(remote.address(), Some("198.51.100.1".parse().unwrap()));
    assert_eq!((remote.dpd_delay, remote.dpd_maxfail, remote.ike_frag), (20, 2, IkeFrag::Force));
    assert_eq!(remote.proposal_check, ProposalCheck::Obey);
    assert_eq!(remote.proposal_check_origin.to_string(), "racoon.conf:9:1");
    let proposal = &remote.proposals[0];
    assert_eq!(
        (proposal.cipher, proposal.dh_group, proposal.lifetime.seconds),
        (Phase1Cipher::Aes(128), DhGroup::Modp1024, 28_800)
    );
    let info = &conf.sainfos[0];
    assert_eq!(info.encryption, [EspCipher::Aes(128), EspCipher::TripleDes]);
    assert_eq!((info.pfs_group, info.lifetime.seconds), (Some(DhGroup::Modp1024), 14_400));
    // Weak things work, and each is named once.
    assert_eq!(remarks.len(), 3, "{remarks:?}");
    assert!(remarks.iter().all(|remark| remark.severity == Severity::Warning));
    assert!(unsupported(&conf).is_empty());
    assert_eq!(good(&conf.to_string()), conf);
}

/// A gateway for laptops: the key of a group, logins, addresses from a pool.
const ROADWARRIORS: &str = r#"
path pre_shared_key "/usr/local/etc/racoon/psk.txt";
path script "/usr/local/etc/racoon/scripts";
listen {
	adminsock "/var/db/racoon/racoon.sock" "root" "operator" 0660;
	isakmp 192.0.2.1 [500];
	isakmp_natt 192.0.2.1 [4500];
	strict_address;
}
timer { natt_keepalive 15 sec; phase1 30 sec; }
remote anonymous {
	exchange_mode aggressive;
	my_identifier fqdn "gateway.example.org";
	peers_identifier keyid tag "laptops";
	verify_identifier on;
	passive on;
	generate_policy unique;
	nat_traversal on;
	ike_frag on;
	dpd_delay 20;
	proposal_check claim;
	lifetime time 24 hour;
	script "up.sh" phase1_up;
	script "down.sh" phase1_down;
	proposal {
		encryption_algorithm aes 256;
		hash_algorithm sha256;
		authentication_method xauth_psk_server;
		dh_group modp2048;
	}
	proposal {
		encryption_algorithm aes;
		hash_algorithm sha256;
		authentication_method xauth_psk_server;
		dh_group 14;
		lifetime time 1 hour;
	}
}
mode_cfg {
	network4 10.99.0.10;
	netmask4 255.255.255.0;
	pool_size 100;
	dns4 10.1.0.53, 10.1.0.54;
	wins4 10.1.0.60;
	default_domain "example.org";
	split_network include 10.1.0.0/16, 10.2.0.0/16;
	split_dns "example.org", "example.net";
	auth_source system;
	auth_groups "vpn";
	auth_throttle 2;
	conf_source local;
	accounting system;
	banner "/usr/local/etc/racoon/motd";
	pfs_group 14;
	save_passwd off;
}
sainfo anonymous {
	pfs_group modp2048;
	lifetime time 8 hour;
	encryption_algorithm aes 256, aes 128;
	authentication_algorithm hmac_sha256;
	compression_algorithm deflate;
}
"#;

#[test]
fn roadwarriors() {
    let (conf, remarks) = read(ROADWARRIORS);
    let texts: Vec<String> = remarks.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(texts[0].contains("warning: aggressive mode shows everybody a hash"), "{texts:?}");
    let remote = &conf.remotes[0];
    assert_eq!(remote.exchange_modes, [ExchangeMode::Aggressive]);
    assert_eq!(remote.peers_identifiers[0].0, Identifier::KeyIdTag("laptops".to_owned()));
    assert_eq!(remote.proposals.iter().map(|one| one.lifetime.seconds).collect::<Vec<_>>(), [86_400, 3600]);
    assert!(remote.proposals.iter().all(|one| one.method == AuthMethod::XauthPskServer));
    assert_eq!(remote.scripts[1].event, ScriptEvent::Phase1Down);
    assert_eq!(remote.generate_policy, GeneratePolicy::Unique);
    assert_eq!((conf.mode_cfg.pool_size, conf.mode_cfg.dns4.len()), (100, 2));
    assert_eq!(good(&conf.to_string()), conf);
    assert_eq!(errors(&unsupported(&conf)), Vec::<String>::new());
}

#[test]
fn certificates() {
    let conf = good(
        r#"
        path certificate "/etc/racoon/certs";
        remote "hub" {
            remote_address 198.51.100.1;
            exchange_mode main;
            my_identifier asn1dn;
            peers_identifier asn1dn "C=XX, O=Example, OU=*, CN=hub";
            peers_identifier fqdn "hub.example.org";
            verify_identifier on;
            certificate_type x509 "spoke.crt" "spoke.key";
            ca_type x509 "ca.crt";
            verify_cert on;
            send_cr off;
            nat_traversal force;
            rekey force;
            proposal {
                encryption_algorithm aes 256;
                hash_algorithm sha512;
                authentication_method rsasig;
                dh_group x25519;
            }
        }
        # The second hub differs in its address and in its name only.
        remote "hub2" inherit "hub" {
            remote_address 198.51.100.2 [5000];
            peers_identifier fqdn "hub2.example.org";
        }
        remote "hub3" inherit "hub2";
        sainfo anonymous from asn1dn "C=XX, O=Example, OU=*, CN=hub" {
            encryption_algorithm aes_gcm 256;
            compression_algorithm deflate;
        }
        "#,
    );
    let [hub, hub2, hub3] = conf.remotes.as_slice() else { panic!("{:?}", conf.remotes) };
    let Some(Certificate::X509 { certificate, key }) = &hub.certificate else { panic!("{hub:?}") };
    assert_eq!((certificate.name.as_str(), key.name.as_str()), ("spoke.crt", "spoke.key"));
    assert_eq!(hub2.who.port(), 5000);
    assert_eq!(hub2.peers_identifiers.len(), 1);
    assert_eq!((&hub2.certificate, &hub2.proposals), (&hub.certificate, &hub.proposals));
    assert_eq!(hub3.address(), hub2.address());
    assert_eq!(hub3.nat_traversal, NatTraversal::Force);
    assert!(matches!(&hub3.who, RemoteWho::Named { name, .. } if name == "hub3"));
    assert_eq!(good(&conf.to_string()), conf);
}

/// What is not checked with certificates lets others in, and is warned of.
#[test]
fn certificates_that_let_others_in() {
    let text = |extra: &str| {
        format!(
            "remote anonymous {{ exchange_mode main; certificate_type x509 \"a\" \"b\"; {extra} proposal {{ \
             encryption_algorithm aes; hash_algorithm sha256; authentication_method rsasig; dh_group 14; }} }}"
        )
    };
    for (extra, wanted) in [
        ("", "verify_identifier is off"),
        ("verify_identifier on;", "there is no peers_identifier"),
        ("verify_cert off;", "verify_cert is off"),
    ] {
        let (_, remarks) = read(&text(extra));
        assert_eq!(remarks.len(), 1, "{remarks:?}");
        assert!(remarks[0].message.contains(wanted), "{remarks:?}");
    }
    good(&text("verify_identifier on; peers_identifier asn1dn \"CN=*\";"));
}

#[test]
fn an_anonymous_responder_and_an_exact_peer() {
    let conf = good(
        "remote anonymous { exchange_mode main; passive on; generate_policy on; lifetime time 2 hour; proposal { \
         encryption_algorithm aes; hash_algorithm sha256; authentication_method pre_shared_key; dh_group 14; } }\n\
         remote 192.0.2.7 inherit anonymous { passive off; lifetime time 3 hour; }\n\
         remote 192.0.2.8 inherit 192.0.2.7;\n\
         sainfo anonymous { encryption_algorithm aes; authentication_algorithm hmac_sha256; \
         compression_algorithm deflate; }\n\
         sainfo address 192.0.2.1 [any] gre address 192.0.2.7 [any] gre { remoteid 4; encryption_algorithm aes; \
         authentication_algorithm hmac_sha256; compression_algorithm deflate; }\n\
         sainfo anonymous from fqdn \"x\" { encryption_algorithm aes; authentication_algorithm hmac_sha256; \
         compression_algorithm deflate; }\n",
    );
    let seconds: Vec<u32> = conf.remotes.iter().map(|one| one.proposals[0].lifetime.seconds).collect();
    assert_eq!(seconds, [7200, 10_800, 10_800]);
    assert_eq!(conf.remotes.iter().map(|one| one.passive).collect::<Vec<_>>(), [true, false, false]);
    // The most specific first.
    assert!(matches!(conf.sainfos[0].source, SainfoId::Network(_)));
    assert!(conf.sainfos[1].from.is_some() && conf.sainfos[2].from.is_none());
    assert_eq!(good(&conf.to_string()), conf);
}

#[test]
fn ipv6() {
    let conf = good(
        "listen { isakmp 2001:db8::1 [500]; isakmp fe80::1%em0; isakmp 192.0.2.1; }\n\
         remote 2001:db8::2 { exchange_mode main; proposal { encryption_algorithm aes; hash_algorithm sha256; \
         authentication_method pre_shared_key; dh_group 14; } }\n\
         remote fe80::2%em0 inherit 2001:db8::2;\n\
         sainfo subnet 2001:db8:a::/48 any subnet 2001:db8:b::/48 any { pfs_group 14; encryption_algorithm aes; \
         authentication_algorithm hmac_sha256; compression_algorithm deflate; }\n\
         sainfo address 2001:db8::1 [any] icmp6 address 2001:db8::2 [any] icmp6 { encryption_algorithm aes; \
         authentication_algorithm hmac_sha256; compression_algorithm deflate; }\n",
    );
    assert_eq!(conf.listen.isakmp.len(), 3);
    let RemoteWho::Address(endpoint) = &conf.remotes[1].who else { panic!("{conf:?}") };
    assert_eq!(endpoint.zone.as_deref(), Some("em0"));
    assert_eq!(good(&conf.to_string()), conf);
}

/// L2TP over IPsec as it is set up for the clients that come with systems.
#[test]
fn l2tp() {
    let (conf, remarks) = read(
        "path pre_shared_key \"/etc/racoon/psk.txt\";\n\
         remote anonymous {\n exchange_mode main, aggressive, base;\n doi ipsec_doi;\n situation identity_only;\n \
         generate_policy on;\n nat_traversal on;\n proposal_check obey;\n passive on;\n my_identifier address;\n \
         nonce_size 16;\n initial_contact on;\n support_proxy on;\n weak_phase1_check off;\n proposal {\n  \
         encryption_algorithm 3des;\n  hash_algorithm md5;\n  authentication_method pre_shared_key;\n  dh_group 2;\n \
         }\n}\n\
         sainfo address 0.0.0.0/0 [1701] udp address 0.0.0.0/0 [any] udp {\n encryption_algorithm aes, 3des, \
         blowfish 448, des;\n authentication_algorithm hmac_sha1, hmac_md5, non_auth;\n compression_algorithm \
         deflate, lzs;\n lifetime time 1 hour;\n lifetime byte 250 MB;\n}\n",
    );
    assert_eq!(errors(&remarks), Vec::<String>::new());
    let texts: Vec<String> = remarks.iter().map(ToString::to_string).collect();
    for wanted in [
        "`blowfish` cannot be used",
        "`des` cannot be used",
        "`non_auth` cannot be used",
        "`lzs` cannot be used",
        "base mode is not spoken",
        "aggressive mode shows",
        "MD5 is broken",
        "SHA-1 is on its way out",
        "3des is weak",
        "group 2 is weak",
    ] {
        assert_eq!(texts.iter().filter(|text| text.contains(wanted)).count(), 1, "{wanted}: {texts:#?}");
    }
    let info = &conf.sainfos[0];
    assert_eq!((info.encryption.len(), info.authentication.len(), info.compression.len()), (2, 2, 1));
    assert_eq!((info.lifetime.bytes, info.lifetime.kilobytes()), (Some(250 << 20), Some(250 << 10)));
    assert_eq!(good(&conf.to_string()), conf);
}

#[test]
fn two_of_the_same() {
    let sainfo = "sainfo subnet 10.1.0.0/16 any subnet 10.2.0.0/16 any { encryption_algorithm aes; \
                  authentication_algorithm hmac_sha256; compression_algorithm deflate; }\n";
    let found = errors(&read(&format!("{sainfo}{sainfo}")).1);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with(
        "racoon.conf:2:8: error: there is a sainfo for exactly these already, at racoon.conf:1:1"
    ));
    // A file with two anonymous ones works with racoon.
    let anonymous = sainfo.replace("subnet 10.1.0.0/16 any subnet 10.2.0.0/16 any", "anonymous");
    let (_, remarks) = read(&format!("{anonymous}{anonymous}"));
    assert!(errors(&remarks).is_empty(), "{remarks:?}");
    assert!(
        remarks
            .iter()
            .any(|remark| remark.help.as_deref().is_some_and(|h| h.contains("the first one is used")))
    );
    let remote = SEED.split("sainfo").next().unwrap();
    let (_, remarks) = read(&format!("{remote}{remote}"));
    assert!(remarks.iter().any(|one| one.message.contains("there is a `remote 198.51.100.1 [500]` already")));
    let named = remote.replace("198.51.100.1 [500]", "\"x\"");
    let found = errors(&read(&format!("{named}{named}")).1);
    assert!(found[0].contains("there is a remote \"x\" already"), "{found:?}");
}

#[test]
fn aggressive_mode_has_one_group() {
    let proposal = |group: &str| {
        format!(
            "proposal {{ encryption_algorithm aes; hash_algorithm sha256; authentication_method pre_shared_key; \
             dh_group {group}; }}\n"
        )
    };
    let text = |mode: &str| {
        format!("remote anonymous {{ exchange_mode {mode};\n{}{}}}", proposal("14"), proposal("15"))
    };
    let found = errors(&read(&text("aggressive")).1);
    assert!(
        found[0]
            .starts_with("racoon.conf:3:1: error: DH group must be equal in all proposals when aggressive"),
        "{found:?}"
    );
    good(&text("main"));
}
