//! The how-to's two routers with other directives in racoon.conf, from the files to pings through the tunnel.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use coati_config::pki::PkiFiles;
use coati_config::site::{Site, SiteFiles};
use coati_config::{Severity, Source};
use coati_sadb::Secret;
use coati_sim::{Conditions, World};
use coati_wire::{ipv4, udp};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};

/// 1 January 2025.
const TODAY: u64 = 1_735_689_600;
const LAN_A: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 10);
const LAN_B: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 10);

/// The how-to's site `freebsd-a` or `freebsd-b` after `edit` has changed its files; one whose text is empty is not
/// there.
fn site(side: &str, edit: impl Fn(&str, String) -> String) -> (String, Site) {
    site_with(side, edit, PkiFiles::default())
}

fn site_with(side: &str, edit: impl Fn(&str, String) -> String, pki: PkiFiles) -> (String, Site) {
    let name = format!("freebsd-{side}");
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/seed").join(&name);
    let read = |file: &str| {
        let text = edit(file, std::fs::read_to_string(dir.join(file)).unwrap());
        (!text.is_empty()).then(|| Source::new(format!("{name}/{file}"), text))
    };
    let files = SiteFiles {
        rc_conf: read("rc.conf"),
        racoon_conf: read("racoon.conf"),
        psk_txt: read("psk.txt"),
        setkey_conf: read("setkey.conf"),
        ospfd_conf: read("ospfd.conf"),
        pki,
        ..SiteFiles::default()
    };
    let (site, mut remarks) = Site::read(&files);
    remarks.extend(coati_router::credentials_remarks(&site, TODAY));
    let errors: Vec<String> =
        remarks.iter().filter(|r| r.severity == Severity::Error).map(ToString::to_string).collect();
    assert!(errors.is_empty(), "{errors:?}");
    (name, site)
}

fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from}");
    text.replace(from, to)
}

/// The same directives in both remote sections, in the place of `exchange_mode main;`.
fn both(directives: &'static str) -> Vec<(String, Site)> {
    let edit = |file: &str, text: String| match file {
        "racoon.conf" => replaced(&text, "exchange_mode main;", directives),
        _ => text,
    };
    vec![site("a", edit), site("b", edit)]
}

fn story(world: &World) -> String {
    world.log().collect::<Vec<_>>().join("\n")
}

/// Up, a ping from LAN to LAN, nothing in clear.
fn works(sites: Vec<(String, Site)>, seed: u64, conditions: Conditions) -> World {
    let mut world = World::start(seed, sites, conditions);
    assert!(world.run_until(Duration::from_secs(120), World::is_up), "seed {seed}\n{}", story(&world));
    let mut answered = false;
    for id in 1..20 {
        let time = world.time();
        world.router(0).ping(time, LAN_A, LAN_B, id);
        answered |= world.run_until(Duration::from_secs(1), |world| world.at(0).has_reply(LAN_B, id));
        if answered {
            break;
        }
    }
    assert!(answered, "seed {seed}\n{}", story(&world));
    assert_eq!(world.clear_packets(), 0);
    world
}

fn lossy() -> Conditions {
    Conditions { loss: 20, duplicates: 2, ..Conditions::default() }
}

#[test]
fn aggressive_mode_by_names_with_a_key_for_the_name() {
    let named = |side: &'static str, other: &'static str| {
        site(side, move |file, text| match file {
            "racoon.conf" => replaced(
                &text,
                "exchange_mode main;",
                &format!(
                    "exchange_mode aggressive;\nmy_identifier fqdn \"{side}.example.org\";\n\
                     peers_identifier fqdn \"{other}.example.org\";\nverify_identifier on;"
                ),
            ),
            "psk.txt" => format!("{other}.example.org one-key-for-this-test-3f9a27\n"),
            _ => text,
        })
    };
    let sites = || vec![named("a", "b"), named("b", "a")];
    let world = works(sites(), 1, Conditions::default());
    for (index, name) in ["fqdn b.example.org", "fqdn a.example.org"].into_iter().enumerate() {
        let list = world.at(index).control().isakmp(world.time());
        assert!(list.iter().all(|sa| sa.identity.as_deref() == Some(name)), "{list:?}");
    }
    for seed in 2..22 {
        works(sites(), seed, lossy());
    }
}

/// The initiator has the how-to's files; the responder knows neither its address nor what it wants to protect.
#[test]
fn anybody_with_the_key_gets_policies() {
    let sites = || {
        let responder = site("b", |file, text| match file {
            "racoon.conf" => {
                let text = replaced(&text, "remote 192.0.2.1 [500]", "remote anonymous");
                let text = replaced(&text, "passive off;", "passive on;");
                replaced(&text, "exchange_mode main;", "exchange_mode main;\ngenerate_policy unique;")
            }
            "setkey.conf" => String::new(),
            _ => text,
        });
        vec![site("a", |_, text| text), responder]
    };
    works(sites(), 1, Conditions::default());
    for seed in 2..22 {
        works(sites(), seed, lossy());
    }
}

#[test]
fn a_forced_nat_traversal_puts_everything_into_udp() {
    let sites = || both("exchange_mode main;\nnat_traversal force;");
    let world = works(sites(), 1, Conditions::default());
    let packets = || world.records().iter().filter_map(|record| ipv4::Packet::new(&record.bytes).ok());
    assert!(packets().all(|packet| packet.protocol() == ipv4::protocol::UDP));
    let esp = packets().filter(|packet| {
        let ends = (IpAddr::V4(packet.source()), IpAddr::V4(packet.destination()));
        let parsed = udp::Repr::parse(packet.payload(), ends.0, ends.1);
        parsed.is_ok_and(|(ports, payload)| {
            (ports.source_port, ports.destination_port) == (4500, 4500)
                && payload.len() > 8
                && payload[..4] != [0; 4]
        })
    });
    assert!(esp.count() > 10);
    let list = world.at(0).control().isakmp(world.time());
    assert!(list.iter().all(|sa| (sa.local.port(), sa.remote.port()) == (4500, 4500)), "{list:?}");
    for seed in 2..22 {
        works(sites(), seed, lossy());
    }
}

/// A section of its own name, one that it inherits from, and a sainfo that is only for it.
#[test]
fn named_sections_and_the_sainfo_that_is_for_them() {
    let edit = |peer: &'static str| {
        move |file: &str, text: String| {
            if file != "racoon.conf" {
                return text;
            }
            let text = replaced(&text, &format!("remote {peer} [500]"), "remote \"base\"");
            let text = replaced(&text, "exchange_mode main;", "exchange_mode main;\npassive on;");
            let text = replaced(&text, "passive off;\n", "");
            let text =
                replaced(&text, "sainfo anonymous\n", &format!("sainfo anonymous address {peer} gre\n"));
            let text = replaced(&text, "pfs_group 2;", "pfs_group 2;\nremoteid 7;\nlifetime byte 64 MB;");
            let gate = format!(
                "remote \"gate\" inherit \"base\" {{ remote_address {peer}; passive off; ph1id 7; }}\n"
            );
            replaced(&text, "sainfo anonymous address", &format!("{gate}sainfo anonymous address"))
        }
    };
    let sites = vec![site("a", edit("198.51.100.1")), site("b", edit("192.0.2.1"))];
    works(sites, 1, Conditions::default());
}

/// A CA, and certificates that it has issued for `a.example.org` and `b.example.org`, in PEM.
struct Authority {
    ca: String,
    hosts: [[String; 2]; 2],
}

impl Authority {
    fn new(algorithm: &'static rcgen::SignatureAlgorithm) -> Self {
        let key = || match algorithm == &rcgen::PKCS_RSA_SHA256 {
            true => KeyPair::generate_rsa_for(algorithm, rcgen::RsaKeySize::_2048).unwrap(),
            false => KeyPair::generate_for(algorithm).unwrap(),
        };
        let params = |name: &str| {
            let mut params = CertificateParams::new(vec![format!("{name}.example.org")]).unwrap();
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::OrganizationName, "Example");
            params.distinguished_name.push(DnType::CommonName, name);
            params.not_before = rcgen::date_time_ymd(1970, 1, 1);
            params
        };
        let mut authority = params("CA");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let own = key();
        let ca = authority.self_signed(&own).unwrap().pem();
        let issuer = Issuer::new(authority, own);
        let hosts = ["a", "b"].map(|name| {
            let key = key();
            [params(name).signed_by(&key, &issuer).unwrap().pem(), key.serialize_pem()]
        });
        Self { ca, hosts }
    }

    /// The files of one side, which trusts `ca`.
    fn files(&self, side: usize, ca: &str) -> PkiFiles {
        let file = |name: &str, text: &str| (name.to_owned(), Ok(Secret::new(text.as_bytes().to_vec())));
        let [certificate, key] = &self.hosts[side];
        PkiFiles {
            certificates: [file("own.crt", certificate), file("ca.crt", ca)].into(),
            keys: [file("own.key", key)].into(),
            ..PkiFiles::default()
        }
    }

    /// Both routers with certificates instead of keys; the second one trusts `ca`.
    fn sites(&self, method: &'static str, ca: &str) -> Vec<(String, Site)> {
        let sides = [("a", "b", self.ca.as_str()), ("b", "a", ca)].into_iter().enumerate();
        let site = |(index, (side, other, ca)): (usize, (&str, &str, &str))| {
            let edit = |file: &str, text: String| match file {
                "racoon.conf" => {
                    let directives = format!(
                        "exchange_mode main;\nmy_identifier asn1dn;\npeers_identifier asn1dn \"O=*, CN={other}\";\n\
                         verify_identifier on;\ncertificate_type x509 \"own.crt\" \"own.key\";\nca_type x509 \"ca.crt\";"
                    );
                    let text = replaced(&text, "exchange_mode main;", &directives);
                    replaced(&text, "pre_shared_key;", &format!("{method};"))
                }
                "psk.txt" => String::new(),
                _ => text,
            };
            site_with(side, edit, self.files(index, ca))
        };
        sides.map(site).collect()
    }
}

#[test]
fn certificates_in_the_place_of_keys() {
    let rsa = Authority::new(&rcgen::PKCS_RSA_SHA256);
    for (authority, method) in [
        (&rsa, "rsasig"),
        (&Authority::new(&rcgen::PKCS_ECDSA_P256_SHA256), "ecdsasig"),
        (&Authority::new(&rcgen::PKCS_ECDSA_P384_SHA384), "ecdsasig"),
    ] {
        let world = works(authority.sites(method, &authority.ca), 1, Conditions::default());
        for (index, name) in ["b", "a"].into_iter().enumerate() {
            let list = world.at(index).control().isakmp(world.time());
            let name = format!("asn1dn \"O=Example, CN={name}\"");
            assert!(list.iter().all(|sa| sa.identity.as_ref() == Some(&name)), "{list:?}");
        }
    }
    for seed in 2..12 {
        works(rsa.sites("rsasig", &rsa.ca), seed, lossy());
    }
}

#[test]
fn a_certificate_of_another_authority_is_refused_and_explained() {
    let authority = Authority::new(&rcgen::PKCS_RSA_SHA256);
    let other = Authority::new(&rcgen::PKCS_RSA_SHA256);
    let mut world = World::start(1, authority.sites("rsasig", &other.ca), Conditions::default());
    assert!(!world.run_until(Duration::from_secs(60), World::is_up), "{}", story(&world));
    let story = story(&world);
    assert!(story.contains("(ca.crt), but not its signature"), "{story}");
    assert!(story.contains("freebsd-b/racoon.conf:"), "{story}");
    assert_eq!(world.clear_packets(), 0);
}
