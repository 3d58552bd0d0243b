//! Phase 1 with certificates: both ways, and every way it has to fail.

use std::sync::{Arc, OnceLock};

use coati_crypto::sign::SigningKey;
use coati_crypto::x509::{Anchor, Certificate, Crl, TrustAnchors};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, RsaKeySize, SanType, SerialNumber,
    date_time_ymd,
};

use super::*;

/// 1 January 2025, in the middle of all validities here.
pub(super) const TODAY: u64 = 1_735_689_600;

/// A CA and what it has issued to both hosts.
pub(super) struct Pki {
    ca: Certificate,
    issuer: Issuer<'static, KeyPair>,
    hosts: [OwnCertificate; 2],
}

pub(super) fn key(algorithm: &'static rcgen::SignatureAlgorithm) -> KeyPair {
    if *algorithm == rcgen::PKCS_RSA_SHA256 {
        KeyPair::generate_rsa_for(algorithm, RsaKeySize::_2048).unwrap()
    } else {
        KeyPair::generate_for(algorithm).unwrap()
    }
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Example");
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2024, 1, 1);
    params.not_after = date_time_ymd(2026, 1, 1);
    params
}

impl Pki {
    fn new(algorithm: &'static rcgen::SignatureAlgorithm) -> Self {
        let mut authority = params("CA");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let own = key(algorithm);
        let ca = Certificate::from_der(authority.self_signed(&own).unwrap().der()).unwrap();
        let issuer = Issuer::new(authority, own);
        let hosts = [("a", A, 100), ("b", B, 200)].map(|(name, address, serial)| {
            let mut params = params(name);
            params.serial_number = Some(SerialNumber::from(serial));
            params.subject_alt_names = vec![
                SanType::DnsName(format!("{name}.example.org").try_into().unwrap()),
                SanType::IpAddress(address.parse().unwrap()),
            ];
            let key = key(algorithm);
            let made = params.signed_by(&key, &issuer).unwrap();
            let chain = vec![Certificate::from_der(made.der()).unwrap(), ca.clone()];
            let key = SigningKey::read(key.serialized_der()).unwrap();
            OwnCertificate::new(chain, key, "racoon.conf:14:3".into()).unwrap()
        });
        Self { ca, issuer, hosts }
    }

    pub(super) fn rsa() -> &'static Self {
        static PKI: OnceLock<Pki> = OnceLock::new();
        PKI.get_or_init(|| Pki::new(&rcgen::PKCS_RSA_SHA256))
    }

    fn trust(&self) -> TrustAnchors {
        let anchor = Anchor { certificate: self.ca.clone(), origin: "/etc/racoon/ca.pem".into() };
        TrustAnchors { anchors: vec![anchor], crls: Vec::new() }
    }

    fn revoking(&self, serial: u64) -> TrustAnchors {
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 2, 1),
            next_update: date_time_ymd(2030, 2, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: SerialNumber::from(serial),
                revocation_time: date_time_ymd(2024, 5, 17),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let crl =
            Crl::from_der(params.signed_by(&self.issuer).unwrap().der(), "/etc/racoon/crl.pem").unwrap();
        TrustAnchors { crls: vec![crl], ..self.trust() }
    }

    /// Configurations of both hosts.
    pub(super) fn configs(&self, method: AuthMethod) -> [Config; 2] {
        let mut configs = [config(B), config(A)];
        for (config, own) in configs.iter_mut().zip(&self.hosts) {
            config.keys.clear();
            let peer = &mut config.peers[0];
            peer.proposals[0].auth = method;
            peer.my_identifier = Identifier::Asn1Dn(None);
            peer.credentials = Credentials {
                own: Some(own.clone()),
                trust: Arc::new(self.trust()),
                trust_origin: "racoon.conf:15:3".into(),
                ..Credentials::default()
            };
        }
        configs
    }
}

pub(super) fn world(seed: u64, [a, b]: [Config; 2]) -> World {
    let mut world = World::with(seed, a, b);
    let now = world.now;
    world.hosts.iter_mut().for_each(|host| host.engine.handle_clock(now, TODAY));
    world
}

/// Runs until B has refused A, or A has refused B; nothing may have come up. Returns both explanations.
fn refused(configs: [Config; 2]) -> [String; 2] {
    let mut world = world(1, configs);
    refused_in(&mut world)
}

fn refused_in(world: &mut World) -> [String; 2] {
    world.acquire(0);
    world.run(Duration::from_secs(60));
    assert!(!world.is_up(), "{}", world.story());
    let now = world.now;
    world.hosts.iter_mut().for_each(|host| assert!(host.sas(now).is_empty(), "no SA without proof"));
    [world.hosts[0].failures(), world.hosts[1].failures()]
}

#[test]
fn rsa_signatures_both_ways() {
    let pki = Pki::rsa();
    for initiator in 0..2 {
        let mut configs = pki.configs(AuthMethod::RsaSig);
        configs[1].peers[0].my_identifier = Identifier::Fqdn("b.example.org".into());
        configs[1].peers[0].peers_identifiers = vec![Identifier::Asn1Dn(Some("O=Example, CN=*".into()))];
        configs[1].peers[0].verify_identifier = true;
        configs[0].peers[0].verify_identifier = true;
        configs[0].peers[0].peers_identifiers = vec![Identifier::Fqdn("b.example.org".into())];
        let mut world = world(1, configs);
        world.acquire(initiator);
        assert!(world.run_until(Duration::from_secs(3), World::is_up), "{}", world.story());
        assert_eq!(world.hosts[0].failures() + &world.hosts[1].failures(), "");
        let accepted = world.hosts[1].events.iter().find_map(|event| match event {
            Event::CertificateAccepted { subject, warnings, .. } => Some((subject.clone(), warnings.clone())),
            _ => None,
        });
        assert_eq!(accepted, Some(("O=Example, CN=a".into(), Vec::new())));
    }
}

#[test]
fn ecdsa_signatures_on_every_curve() {
    let made = [
        (&rcgen::PKCS_ECDSA_P256_SHA256, AuthMethod::EcdsaP256),
        (&rcgen::PKCS_ECDSA_P384_SHA384, AuthMethod::EcdsaP384),
        (&rcgen::PKCS_ECDSA_P521_SHA512, AuthMethod::EcdsaP521),
    ];
    for (algorithm, method) in made {
        let pki = Pki::new(algorithm);
        let mut world = world(1, pki.configs(method));
        world.acquire(0);
        assert!(world.run_until(Duration::from_secs(3), World::is_up), "{}", world.story());
        let [text, _] = refused(pki.configs(AuthMethod::RsaSig));
        assert!(text.contains("rsasig does not go with our certificate (racoon.conf:14:3)"), "{text}");
    }
}

#[test]
fn through_loss_and_repetition() {
    for seed in 0..40 {
        let mut configs = Pki::rsa().configs(AuthMethod::RsaSig);
        if seed % 4 >= 2 {
            configs
                .iter_mut()
                .for_each(|config| config.peers[0].exchange_modes = vec![ExchangeMode::Aggressive]);
        }
        let mut world = world(seed, configs);
        world.loss = 20;
        world.acquire(0);
        if seed % 2 == 0 {
            world.acquire(1);
        }
        assert!(world.run_until(Duration::from_secs(60), World::is_up), "seed {seed} {}", world.story());
    }
}

/// `racoonctl get-cert`: the peer's certificate, when it was one that proved who it is.
#[test]
fn the_peers_certificate_is_kept() {
    let pki = Pki::rsa();
    let mut world = world(1, pki.configs(AuthMethod::RsaSig));
    world.acquire(0);
    assert!(world.run_until(Duration::from_secs(3), World::is_up), "{}", world.story());
    let [a, b] = [A, B].map(|address| SocketAddr::new(address.parse().unwrap(), 0));
    for (host, ends, other) in [(0, (a, b), 1), (1, (b, a), 0)] {
        let engine = &world.hosts[host].engine;
        let wanted = pki.hosts[other].chain[0].as_der();
        assert_eq!(engine.certificate(ends.0, ends.1), Some(wanted));
        assert_eq!(engine.certificate(ends.1, ends.0), None);
        assert_eq!(engine.certificate(ends.0, SocketAddr::new(ends.1.ip(), 4500)), None);
    }
    let mut plain = World::new(1);
    plain.acquire(0);
    assert!(plain.run_until(Duration::from_secs(3), World::is_up));
    assert_eq!(plain.hosts[0].engine.certificate(a, b), None);
}

/// CVE-2004-0155: the certificate is public, the key is not. Who has only the first stays outside.
#[test]
fn cve_2004_0155_right_certificate_wrong_key() {
    let pki = Pki::rsa();
    let mut configs = pki.configs(AuthMethod::RsaSig);
    let stranger = Pki::new(&rcgen::PKCS_RSA_SHA256);
    let own = configs[0].peers[0].credentials.own.as_mut().unwrap();
    own.key = stranger.hosts[0].key.clone();
    let [_, text] = refused(configs);
    assert!(text.contains("its signature does not fit the certificate of \"O=Example, CN=a\""), "{text}");
}

/// CVE-2004-0607: each fault of a certificate is a refusal, and the refusal names it.
#[test]
fn cve_2004_0607_faults_of_certificates() {
    let pki = Pki::rsa();
    // Another CA of the same name.
    let mut configs = pki.configs(AuthMethod::RsaSig);
    let other = Pki::new(&rcgen::PKCS_RSA_SHA256);
    configs[1].peers[0].credentials.trust = Arc::new(other.trust());
    let [_, text] = refused(configs);
    assert!(text.contains("bears the name of the CA \"O=Example, CN=CA\" (/etc/racoon/ca.pem)"), "{text}");
    assert!(text.contains("racoon.conf:15:3"), "{text}");
    // Revoked.
    let mut configs = pki.configs(AuthMethod::RsaSig);
    configs[1].peers[0].credentials.trust = Arc::new(pki.revoking(100));
    let [_, text] = refused(configs);
    assert!(
        text.contains("was revoked on 2024-05-17 00:00:00 UTC: no reason given (/etc/racoon/crl.pem)"),
        "{text}"
    );
    // The other host's revocation does not concern it.
    let mut configs = pki.configs(AuthMethod::RsaSig);
    configs[1].peers[0].credentials.trust = Arc::new(pki.revoking(200));
    let mut fine = world(1, configs);
    fine.acquire(0);
    assert!(fine.run_until(Duration::from_secs(3), World::is_up), "{}", fine.story());
    // Expired, by the clock of one side.
    let mut late = world(1, pki.configs(AuthMethod::RsaSig));
    let now = late.now;
    late.hosts[1].engine.handle_clock(now, TODAY + 2 * 365 * 86_400);
    let [_, text] = refused_in(&mut late);
    assert!(text.contains("the certificate of \"O=Example, CN=a\" expired on 2026-01-01"), "{text}");
    // Not sent.
    let mut configs = pki.configs(AuthMethod::RsaSig);
    configs[0].peers[0].credentials.send_cert = false;
    let [_, text] = refused(configs);
    assert!(text.contains("it sent no certificate: switch send_cert on there"), "{text}");
}

#[test]
fn the_identity_has_to_be_in_the_certificate() {
    let pki = Pki::rsa();
    let with = |identifier: Identifier| {
        let mut configs = pki.configs(AuthMethod::RsaSig);
        configs[0].peers[0].my_identifier = identifier;
        configs
    };
    for wrong in [
        Identifier::Fqdn("b.example.org".into()),
        Identifier::Address(Some(B.parse().unwrap())),
        Identifier::Asn1Dn(Some("O=Example, CN=b".into())),
        Identifier::UserFqdn("a.example.org".into()),
        Identifier::KeyId(b"a".to_vec()),
    ] {
        let [_, text] = refused(with(wrong.clone()));
        assert!(
            text.contains("but its certificate is for asn1dn \"O=Example, CN=a\", a.example.org"),
            "{wrong:?} {text}"
        );
    }
    for right in [Identifier::Fqdn("A.example.org".into()), Identifier::Address(None)] {
        let mut world = world(1, with(right));
        world.acquire(0);
        assert!(world.run_until(Duration::from_secs(3), World::is_up), "{}", world.story());
    }
    // verify_cert off trusts the CA alone.
    let mut configs = with(Identifier::Fqdn("elsewhere.example.org".into()));
    configs[1].peers[0].credentials.verify_cert = false;
    let mut world = world(1, configs);
    world.acquire(0);
    assert!(world.run_until(Duration::from_secs(3), World::is_up), "{}", world.story());
}

/// `peers_certfile`: this certificate and no other, and none needs to be sent.
#[test]
fn pinned_certificates() {
    let pki = Pki::rsa();
    let pinned = |certificate: &OwnCertificate| {
        let certificate = certificate.certificate().unwrap().clone();
        vec![Anchor { certificate, origin: "/etc/racoon/peer.pem".into() }]
    };
    let mut configs = pki.configs(AuthMethod::RsaSig);
    configs[0].peers[0].credentials.send_cert = false;
    configs[1].peers[0].credentials.trust = Arc::default();
    configs[1].peers[0].credentials.peers = pinned(&pki.hosts[0]);
    let mut fine = world(1, configs.clone());
    fine.acquire(0);
    assert!(fine.run_until(Duration::from_secs(3), World::is_up), "{}", fine.story());
    configs[0].peers[0].credentials.send_cert = true;
    configs[1].peers[0].credentials.peers = pinned(&pki.hosts[1]);
    let [_, text] = refused(configs);
    assert!(text.contains("which is not that of peers_certfile (/etc/racoon/peer.pem)"), "{text}");
}

#[test]
fn nothing_begins_without_what_it_needs() {
    let pki = Pki::rsa();
    let mut configs = pki.configs(AuthMethod::RsaSig);
    configs[0].peers[0].credentials.own = None;
    let [text, _] = refused(configs);
    assert!(text.contains("racoon.conf:10:1 has none; add: certificate_type x509"), "{text}");
    let mut configs = pki.configs(AuthMethod::RsaSig);
    configs[0].peers[0].credentials.trust = Arc::default();
    let [text, _] = refused(configs);
    assert!(text.contains("add: ca_type x509"), "{text}");
    let [a, b] = pki.configs(AuthMethod::RsaSig);
    let [text, _] = refused_in(&mut World::with(1, a, b));
    assert!(text.contains("before the time of day is known"), "{text}");
}

/// The peer asks for a CA that has not issued ours, and does not believe us: what it asked for explains it.
#[test]
fn requests_for_another_authority_explain_silence() {
    let pki = Pki::rsa();
    let mut configs = pki.configs(AuthMethod::RsaSig);
    let mut authority = params("another CA");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let made = authority.self_signed(&KeyPair::generate().unwrap()).unwrap();
    let certificate = Certificate::from_der(made.der()).unwrap();
    let anchors = vec![Anchor { certificate, origin: "other.pem".into() }];
    configs[1].peers[0].credentials.trust = Arc::new(TrustAnchors { anchors, crls: Vec::new() });
    let [ours, theirs] = refused(configs);
    assert!(
        theirs.contains("was issued by \"O=Example, CN=CA\", which is not among the trusted CAs"),
        "{theirs}"
    );
    assert!(ours.contains("it asks for a certificate of"), "{ours}");
}

/// What another CA let in ends with a reload; where the words stand in the file changes nothing.
#[test]
fn a_reload_with_another_authority_ends_what_the_old_one_let_in() {
    let pki = Pki::rsa();
    let configs = pki.configs(AuthMethod::RsaSig);
    let mut other = configs[1].clone();
    let mut world = world(1, configs);
    world.acquire(0);
    assert!(world.run_until(Duration::from_secs(3), World::is_up), "{}", world.story());
    let now = world.now;
    other.peers[0].credentials.trust_origin = "racoon.conf:99:3".into();
    world.hosts[1].engine.reconfigure(now, other.clone());
    assert_eq!(world.hosts[1].engine.pairs().len(), 1);
    other.peers[0].credentials.trust = Arc::new(Pki::new(&rcgen::PKCS_RSA_SHA256).trust());
    world.hosts[1].engine.reconfigure(now, other);
    assert!(world.hosts[1].engine.pairs().is_empty());
}
