//! Chains made for the purpose, good ones and bad ones.

use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CidrSubnet, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    NameConstraints, RevocationReason, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};

use super::*;

/// 1 January 2025, in the middle of all validities here.
const NOW: u64 = 1_735_689_600;
const YEAR: u64 = 365 * 86_400;

/// Somebody who can issue certificates.
struct Ca {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CountryName, "CH");
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2024, 1, 1);
    params.not_after = date_time_ymd(2026, 1, 1);
    params
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

impl Ca {
    fn root(params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        Self { certificate: Certificate::from_der(made.der()).unwrap(), issuer: Issuer::new(params, key) }
    }

    fn below(&self, params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let made = params.signed_by(&key, &self.issuer).unwrap();
        Self { certificate: Certificate::from_der(made.der()).unwrap(), issuer: Issuer::new(params, key) }
    }

    fn issues(&self, params: CertificateParams) -> Certificate {
        let key = KeyPair::generate().unwrap();
        Certificate::from_der(params.signed_by(&key, &self.issuer).unwrap().der()).unwrap()
    }

    fn crl(&self, serial: u64, next: i32) -> Crl {
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 2, 1),
            next_update: date_time_ymd(next, 6, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: SerialNumber::from(serial),
                revocation_time: date_time_ymd(2024, 5, 17),
                reason_code: Some(RevocationReason::KeyCompromise),
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let made = params.signed_by(&self.issuer).unwrap();
        Crl::from_der(made.der(), "crl.pem").unwrap()
    }

    fn trusted(&self) -> TrustAnchors {
        let anchor = Anchor { certificate: self.certificate.clone(), origin: "ca.pem".into() };
        TrustAnchors { anchors: vec![anchor], crls: Vec::new() }
    }
}

fn refusal(trust: &TrustAnchors, leaf: &Certificate, others: &[Certificate]) -> String {
    trust.verify(leaf, others, NOW).unwrap_err().to_string()
}

#[test]
fn chains_of_one_two_and_three() {
    let root = Ca::root(ca_params("root"));
    let middle = root.below(ca_params("middle"));
    let direct = root.issues(params("gate"));
    let below = middle.issues(params("branch"));
    let trust = root.trusted();
    assert_eq!(trust.verify(&direct, &[], NOW).unwrap().path, ["C=CH, CN=gate", "C=CH, CN=root"]);
    let verified = trust.verify(&below, std::slice::from_ref(&middle.certificate), NOW).unwrap();
    assert_eq!(verified.path, ["C=CH, CN=branch", "C=CH, CN=middle", "C=CH, CN=root"]);
    assert_eq!(verified.anchor, "ca.pem");
    // Trusted itself.
    let pinned = TrustAnchors {
        anchors: vec![Anchor { certificate: below.clone(), origin: "peer.pem".into() }],
        crls: Vec::new(),
    };
    assert_eq!(pinned.verify(&below, &[], NOW).unwrap().anchor, "peer.pem");
    // Without the one between.
    let text = refusal(&trust, &below, &[]);
    assert!(text.contains("issued by \"C=CH, CN=middle\", which is not among the trusted CAs"), "{text}");
    assert!(text.contains("\"C=CH, CN=root\" from ca.pem"), "{text}");
}

/// CVE-2004-0607: every error is an error.
#[test]
fn cve_2004_0607_each_fault_is_a_refusal() {
    let root = Ca::root(ca_params("root"));
    let trust = root.trusted();
    let gate = root.issues(params("gate"));
    let late = trust.verify(&gate, &[], NOW + 2 * YEAR).unwrap_err().to_string();
    assert!(
        late.contains("\"C=CH, CN=gate\" expired on 2026-01-01 00:00:00 UTC (it is 2027-01-01"),
        "{late}"
    );
    let early = trust.verify(&gate, &[], NOW - 2 * YEAR).unwrap_err();
    assert!(matches!(early, ChainError::NotYetValid { .. }), "{early}");
    // Another CA of the same name.
    let other = Ca::root(ca_params("root"));
    let text = refusal(&other.trusted(), &gate, &[]);
    assert!(
        text.contains("bears the name of the CA \"C=CH, CN=root\" (ca.pem), but not its signature"),
        "{text}"
    );
    // The peer sends the other CA along: it does not become trusted.
    assert!(other.trusted().verify(&gate, std::slice::from_ref(&root.certificate), NOW).is_err());
    // For web mail only.
    let mut mail = params("gate");
    mail.extended_key_usages = vec![ExtendedKeyUsagePurpose::EmailProtection];
    assert!(refusal(&trust, &root.issues(mail), &[]).contains("extendedKeyUsage lacks ipsecIKE"));
    let mut server = params("gate");
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    trust.verify(&root.issues(server), &[], NOW).unwrap();
    let mut cipher = params("gate");
    cipher.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
    assert!(refusal(&trust, &root.issues(cipher), &[]).contains("keyUsage lacks digitalSignature"));
}

#[test]
fn revoked_and_stale() {
    let root = Ca::root(ca_params("root"));
    let mut gone = params("gone");
    gone.serial_number = Some(SerialNumber::from(0x1234));
    let gone = root.issues(gone);
    let mut trust = root.trusted();
    trust.verify(&gone, &[], NOW).unwrap();
    trust.crls = vec![root.crl(0x1234, 2030)];
    let text = refusal(&trust, &gone, &[]);
    assert!(text.contains("(serial number 1234) was revoked on 2024-05-17"), "{text}");
    assert!(text.contains("its key was compromised (crl.pem)"), "{text}");
    let good = root.issues(params("good"));
    assert_eq!(trust.verify(&good, &[], NOW).unwrap().warnings, Vec::<String>::new());
    // A list that is past its time still revokes, and warns about the rest.
    trust.crls = vec![root.crl(0x1234, 2024)];
    assert!(trust.verify(&gone, &[], NOW).is_err());
    assert!(trust.verify(&good, &[], NOW).unwrap().warnings[0].contains("was due for renewal on 2024-06-01"));
    // A list that somebody else made under the same name.
    trust.crls = vec![Ca::root(ca_params("root")).crl(1, 2030)];
    assert!(matches!(trust.verify(&good, &[], NOW), Err(ChainError::BadCrl { .. })));
}

#[test]
fn who_may_issue() {
    let root = Ca::root(ca_params("root"));
    let trust = root.trusted();
    // A certificate that is no CA's.
    let user = root.below(params("user"));
    let text = refusal(&trust, &user.issues(params("gate")), std::slice::from_ref(&user.certificate));
    assert!(text.contains("issued with that of \"C=CH, CN=user\", which is no CA's"), "{text}");
    // A CA that may not have others below it.
    let mut narrow = ca_params("narrow");
    narrow.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let narrow = root.below(narrow);
    let under = narrow.below(ca_params("under"));
    let chain = [narrow.certificate.clone(), under.certificate.clone()];
    assert!(matches!(
        trust.verify(&under.issues(params("gate")), &chain, NOW),
        Err(ChainError::PathLength { .. })
    ));
    trust.verify(&narrow.issues(params("gate")), &chain, NOW).unwrap();
    // A CA that may sign only lists.
    let mut lists = ca_params("lists");
    lists.key_usages = vec![KeyUsagePurpose::CrlSign];
    let lists = root.below(lists);
    let text = refusal(&trust, &lists.issues(params("gate")), std::slice::from_ref(&lists.certificate));
    assert!(text.contains("keyUsage lacks keyCertSign"), "{text}");
}

/// CVE-2026-35328 to -35334 and their class: name constraints are honoured.
#[test]
fn name_constraints() {
    let mut bound = ca_params("root");
    bound.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![
            GeneralSubtree::DnsName("example.org".into()),
            GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([192, 0, 2, 0], 24)),
        ],
        excluded_subtrees: vec![GeneralSubtree::DnsName("secret.example.org".into())],
    });
    let root = Ca::root(bound);
    let trust = root.trusted();
    let named = |name: SanType| {
        let mut params = params("gate");
        params.subject_alt_names = vec![name];
        root.issues(params)
    };
    let dns = |name: &str| named(SanType::DnsName(name.try_into().unwrap()));
    trust.verify(&dns("gate.example.org"), &[], NOW).unwrap();
    trust.verify(&named(SanType::IpAddress([192, 0, 2, 7].into())), &[], NOW).unwrap();
    for outside in ["gate.example.com", "badexample.org", "a.secret.example.org"] {
        assert!(refusal(&trust, &dns(outside), &[]).contains("may not vouch for"), "{outside}");
    }
    assert!(trust.verify(&named(SanType::IpAddress([192, 0, 3, 7].into())), &[], NOW).is_err());
}

/// A peer sends many certificates of one name, or a long chain: the work stays bounded.
#[test]
fn many_certificates_of_one_name() {
    let root = Ca::root(ca_params("root"));
    let twins: Vec<Ca> = (0..40).map(|_| root.below(ca_params("twin"))).collect();
    let others: Vec<Certificate> = twins.iter().map(|twin| twin.certificate.clone()).collect();
    let leaf = Ca::root(ca_params("twin")).issues(params("gate"));
    assert!(root.trusted().verify(&leaf, &others, NOW).is_err());
    let mut chain = vec![root.below(ca_params("0"))];
    for index in 1..12 {
        let next = chain.last().unwrap().below(ca_params(&index.to_string()));
        chain.push(next);
    }
    let leaf = chain.last().unwrap().issues(params("gate"));
    let others: Vec<Certificate> = chain.iter().map(|ca| ca.certificate.clone()).collect();
    assert!(matches!(root.trusted().verify(&leaf, &others, NOW), Err(ChainError::TooFar { .. })));
}

#[test]
fn names_of_all_kinds_and_files_with_text() {
    let mut made = params("gate");
    made.subject_alt_names = vec![
        SanType::DnsName("gate.example.org".try_into().unwrap()),
        SanType::Rfc822Name("root@example.org".try_into().unwrap()),
        SanType::IpAddress("2001:db8::1".parse().unwrap()),
    ];
    let key = KeyPair::generate().unwrap();
    let made = made.self_signed(&key).unwrap();
    let text = format!("Certificate:\n  Data: ...\n{}{}", made.pem(), key.serialize_pem());
    let [gate] = Certificate::read_all(text.as_bytes()).unwrap().try_into().unwrap();
    let names: Vec<String> = gate.alt_names().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["gate.example.org", "root@example.org", "2001:db8::1"]);
    assert_eq!(gate.common_names().collect::<Vec<_>>(), ["gate"]);
    assert!(gate.is_self_issued() && !gate.is_ca());
    let none = Certificate::read_all(key.serialize_pem().as_bytes()).unwrap_err();
    assert_eq!(none, CertificateError::None { found: "PRIVATE KEY".into() });
}

proptest! {
    /// CVE-2017-9023 and its class: damaged certificates and lists neither panic nor hang, and never pass.
    #[test]
    fn damaged_certificates(at in 0usize..600, new: u8, cut in 0usize..600) {
        use std::sync::OnceLock;
        static MADE: OnceLock<(Ca, Certificate, Vec<u8>)> = OnceLock::new();
        let (root, gate, list) = MADE.get_or_init(|| {
            let root = Ca::root(ca_params("root"));
            let mut params = params("gate");
            params.subject_alt_names = vec![SanType::DnsName("gate.example.org".try_into().unwrap())];
            let (gate, list) = (root.issues(params), root.crl(7, 2030).signed().tbs.clone());
            (root, gate, list)
        });
        let mut der = gate.as_der().to_vec();
        let changed = der.get(at).is_some_and(|byte| *byte != new);
        if let Some(byte) = der.get_mut(at) {
            *byte = new;
        }
        if let Ok(damaged) = Certificate::from_der(&der) {
            prop_assert!(!changed || root.trusted().verify(&damaged, &[], NOW).is_err());
        }
        let _ = Certificate::from_der(der.get(..cut).unwrap_or(&der));
        let mut list = list.clone();
        if let Some(byte) = list.get_mut(at) {
            *byte = new;
        }
        let _ = Crl::from_der(&list, "crl.pem");
    }
}
