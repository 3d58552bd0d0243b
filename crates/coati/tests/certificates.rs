//! Certificates, keys and revocation lists that are right, and each way in which they are not.

#[allow(dead_code, reason = "each test file uses its own part")]
mod support;

use std::fs;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, SerialNumber, date_time_ymd,
};
use support::Dir;

const DIRECTIVES: &str = "my_identifier asn1dn;\npeers_identifier asn1dn \"O=Example, CN=b\";\n\
                          verify_identifier on;\ncertificate_type x509 \"a.crt\" \"a.key\";\n\
                          ca_type x509 \"ca.crt\";\n";

fn params(name: &str, until: i32) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Example");
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    params
}

fn authority() -> (String, Issuer<'static, KeyPair>) {
    let mut params = params("CA", 2099);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    (params.self_signed(&key).unwrap().pem(), Issuer::new(params, key))
}

/// The how-to's first site with certificates in the place of the key, in a folder of their own.
fn site(name: &str) -> (Dir, Issuer<'static, KeyPair>) {
    let dir = Dir::seed(name);
    dir.edit("racoon.conf", "exchange_mode main;", &format!("exchange_mode main;\n{DIRECTIVES}"));
    dir.edit("racoon.conf", "pre_shared_key", "ecdsasig");
    let text = fs::read_to_string(dir.path.join("racoon.conf")).unwrap();
    fs::write(dir.path.join("racoon.conf"), format!("path certificate \"certs\";\n{text}")).unwrap();
    dir.remove("psk.txt");
    fs::create_dir(dir.path.join("certs")).unwrap();
    let (ca, issuer) = authority();
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    put(&dir, "ca.crt", &ca);
    put(&dir, "a.crt", &params("a", 2099).signed_by(&key, &issuer).unwrap().pem());
    put(&dir, "a.key", &key.serialize_pem());
    (dir, issuer)
}

fn put(dir: &Dir, file: &str, text: &str) {
    let file = format!("certs/{file}");
    fs::write(dir.path.join(&file), text).unwrap();
    dir.mode(&file, 0o600);
}

/// It is refused with these words in one line, and with this advice.
#[track_caller]
fn refused(dir: &Dir, parts: &[&str], advice: &str) {
    let ran = dir.check();
    assert_ne!(ran.code, 0, "{}", ran.err);
    ran.says(parts);
    ran.says(&[advice]);
    assert!(!ran.err.contains("PRIVATE"), "a key is shown");
}

#[test]
fn good_ones_can_start() {
    let (dir, issuer) = site("pki-good");
    let ran = dir.check();
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(!ran.err.contains("certificate") && !ran.err.contains("identifier"), "{}", ran.err);
    // The CA under its hash name, with a revocation list that is out of date.
    dir.edit("racoon.conf", "ca_type x509 \"ca.crt\";\n", "");
    refused(&dir, &["racoon.conf:2:1: error: nobody vouches for this peer"], "add: ca_type x509");
    fs::rename(dir.path.join("certs/ca.crt"), dir.path.join("certs/0a1b2c3d.0")).unwrap();
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2020, 2, 1),
        next_update: date_time_ymd(2020, 3, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    put(&dir, "0a1b2c3d.r0", &list.signed_by(&issuer).unwrap().pem().unwrap());
    let ran = dir.check();
    assert_eq!(ran.code, 0, "{}", ran.err);
    ran.says(&[
        "racoon.conf:1:18: warning:",
        "0a1b2c3d.r0",
        "\"O=Example, CN=CA\" was to be replaced by 2020-03-01",
    ]);
    put(&dir, "0a1b2c3d.r1", "nothing");
    refused(
        &dir,
        &["racoon.conf:1:18: error:", "0a1b2c3d.r1: the revocation list cannot be read"],
        "openssl rehash",
    );
}

#[test]
fn files_that_cannot_be_read() {
    let (dir, _) = site("pki-missing");
    let place = "racoon.conf:8:23: error: the certificate cannot be read from \"a.crt\"";
    for (file, line) in [
        ("a.crt", "racoon.conf:8:23: error: the certificate cannot be read from \"a.crt\""),
        ("a.key", "racoon.conf:8:31: error: the private key cannot be read from \"a.key\""),
        ("ca.crt", "racoon.conf:9:14: error: the certificate cannot be read from \"ca.crt\""),
    ] {
        let path = dir.path.join("certs").join(file);
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        refused(&dir, &[line, "No such file"], "`path certificate`");
        fs::create_dir(&path).unwrap();
        refused(&dir, &[line, "not a regular file"], "`path certificate`");
        fs::remove_dir(&path).unwrap();
        put(&dir, file, std::str::from_utf8(&bytes).unwrap());
    }
    fs::write(dir.path.join("certs/a.crt"), vec![b'x'; 2 << 20]).unwrap();
    refused(&dir, &[place, "2097152 bytes"], "`path certificate`");
}

#[test]
fn private_keys_that_others_can_read() {
    let (dir, _) = site("pki-mode");
    dir.mode("certs/a.key", 0o640);
    refused(&dir, &["racoon.conf:8:31: error:", "mode 0640 lets others get at the keys"], "chmod 600");
}

#[test]
fn keys_and_certificates_that_do_not_belong_together() {
    let (dir, issuer) = site("pki-key");
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    put(&dir, "a.key", &key.serialize_pem());
    let text = "\"a.key\" is not the private key of the certificate of \"O=Example, CN=a\" in \"a.crt\"";
    refused(&dir, &["racoon.conf:8:31: error:", text], "has to be the first in its file");
    put(&dir, "a.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n");
    refused(&dir, &["racoon.conf:8:31: error:", "encrypted with a passphrase"], "openssl pkey");
    put(&dir, "a.key", &fs::read_to_string(dir.path.join("certs/ca.crt")).unwrap());
    refused(
        &dir,
        &["racoon.conf:8:31: error:", "there is no private key in it, but CERTIFICATE"],
        "second file",
    );
    put(&dir, "a.crt", &params("a", 2021).signed_by(&key, &issuer).unwrap().pem());
    put(&dir, "a.key", &key.serialize_pem());
    let ran = dir.check();
    assert_eq!(ran.code, 0, "{}", ran.err);
    ran.says(&["racoon.conf:8:23: warning:", "\"O=Example, CN=a\"", "expired on 2021-01-01"]);
    put(&dir, "ca.crt", "no certificate\n");
    refused(&dir, &["racoon.conf:9:14: error: \"ca.crt\": the certificate cannot be read"], "in PEM or DER");
}

#[test]
fn methods_that_do_not_fit() {
    let (dir, _) = site("pki-method");
    dir.edit("racoon.conf", "ecdsasig", "rsasig");
    let text =
        "rsasig does not go with the certificate of \"O=Example, CN=a\", which has an ECDSA key on P-256";
    refused(&dir, &["error:", text], "write `authentication_method ecdsasig;`");
    dir.edit("racoon.conf", "certificate_type x509 \"a.crt\" \"a.key\";\n", "");
    refused(
        &dir,
        &["error: rsasig needs a certificate"],
        "certificate_type x509 \"certificate\" \"private key\";",
    );
    dir.edit("racoon.conf", "rsasig", "pre_shared_key");
    refused(
        &dir,
        &["racoon.conf:2:1: error: my_identifier asn1dn is the subject of our certificate"],
        "or another my_identifier",
    );
    let (dir, _) = site("pki-names");
    dir.edit("racoon.conf", "\"O=Example, CN=b\"", "\"Firm=Example, CN=b\"");
    refused(
        &dir,
        &["racoon.conf:6:1: error: asn1dn", "\"Firm\" is no attribute"],
        "openssl x509 -noout -subject",
    );
}

/// `peers_certfile`: nobody else needs to vouch for that peer.
#[test]
fn a_peer_that_is_known_by_its_certificate() {
    let (dir, issuer) = site("pki-pinned");
    dir.edit("racoon.conf", "ca_type x509 \"ca.crt\";", "peers_certfile x509 \"b.crt\";");
    refused(
        &dir,
        &["racoon.conf:9:21: error: the certificate cannot be read from \"b.crt\""],
        "`path certificate`",
    );
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    put(&dir, "b.crt", &params("b", 2099).signed_by(&key, &issuer).unwrap().pem());
    let ran = dir.check();
    assert_eq!(ran.code, 0, "{}", ran.err);
}
