//! One certificate, read once and checked for form; whether to believe it is `chain`'s question.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use der::asn1::ObjectIdentifier;
use der::oid::AssociatedOid;
use der::{Decode, Encode, Header, Reader, SliceReader};
use thiserror::Error;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, NameConstraints, SubjectAltName};

use super::constraints::Subtrees;
use super::name::{COMMON_NAME, Name, NameError};
use super::signature::Signed;
use crate::pem::{self, PemError};
use crate::sign::{PublicKeyError, VerifyingKey};

/// Certificates are a few hundred bytes to some kilobytes.
const MAX_LEN: usize = 64 << 10;
/// Certificates with more names than this are refused.
const MAX_ALT_NAMES: usize = 256;
/// Extensions that may be critical although nothing of ours depends on them: policies.
const KNOWN: [&str; 3] = ["2.5.29.32", "2.5.29.33", "2.5.29.14"];

/// Why something is no certificate.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CertificateError {
    /// There is none in the file.
    #[error("there is no certificate in it, but {found}; a certificate in PEM or DER belongs here")]
    None {
        /// What is there instead.
        found: String,
    },
    /// The form is PEM, but damaged.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// Not DER, or not that of a certificate.
    #[error("the certificate cannot be read: {0}")]
    Unreadable(String),
    /// An extension that cannot be understood.
    #[error("the certificate of \"{subject}\" has a damaged extension ({oid})")]
    Extension {
        /// Whose certificate.
        subject: String,
        /// Which extension.
        oid: ObjectIdentifier,
    },
    /// Larger than anything sensible.
    #[error("the certificate has {0} bytes; more than 64 KiB are not read")]
    TooLarge(usize),
}

impl From<NameError> for CertificateError {
    fn from(error: NameError) -> Self {
        Self::Unreadable(error.to_string())
    }
}

impl From<der::Error> for CertificateError {
    fn from(error: der::Error) -> Self {
        Self::Unreadable(error.to_string())
    }
}

/// Another name of the subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AltName {
    /// An address.
    Ip(IpAddr),
    /// A domain name.
    Dns(String),
    /// An e-mail address.
    Email(String),
    /// A distinguished name.
    Directory(Name),
}

impl fmt::Display for AltName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => write!(f, "{address}"),
            Self::Dns(text) | Self::Email(text) => {
                text.chars().take(256).try_for_each(|letter| match letter {
                    '!'..='~' => write!(f, "{letter}"),
                    _ => write!(f, "{}", letter.escape_default()),
                })
            }
            Self::Directory(name) => write!(f, "{name}"),
        }
    }
}

/// A certificate. Copies share it.
#[derive(Clone)]
pub struct Certificate(Arc<Inner>);

struct Inner {
    der: Vec<u8>,
    subject: Name,
    issuer: Name,
    serial: Vec<u8>,
    not_before: u64,
    not_after: u64,
    spki: Vec<u8>,
    key: Result<VerifyingKey, PublicKeyError>,
    signed: Signed,
    version3: bool,
    ca: Option<BasicConstraints>,
    usage: Option<KeyUsage>,
    purposes: Option<Vec<ObjectIdentifier>>,
    alt_names: Vec<AltName>,
    subtrees: Option<Subtrees>,
    unknown_critical: Option<ObjectIdentifier>,
}

impl Certificate {
    /// Reads DER, as in a CERT payload.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        if der.len() > MAX_LEN {
            return Err(CertificateError::TooLarge(der.len()));
        }
        let parsed = x509_cert::Certificate::from_der(der)?;
        let tbs = parsed.tbs_certificate();
        let subject = Name::from_der(&tbs.subject().to_der()?)?;
        let algorithm = parsed.signature_algorithm();
        if algorithm != tbs.signature() {
            return Err(CertificateError::Unreadable("it names two different signature algorithms".into()));
        }
        let signed = Signed {
            tbs: first_inside(der)?.to_vec(),
            algorithm: algorithm.oid,
            parameters: algorithm.parameters.as_ref().map(Encode::to_der).transpose()?,
            signature: parsed.signature().as_bytes().unwrap_or(&[]).to_vec(),
        };
        let spki = tbs.subject_public_key_info().to_der()?;
        let mut inner = Inner {
            der: der.to_vec(),
            issuer: Name::from_der(&tbs.issuer().to_der()?)?,
            serial: tbs.serial_number().as_bytes().to_vec(),
            not_before: tbs.validity().not_before.to_unix_duration().as_secs(),
            not_after: tbs.validity().not_after.to_unix_duration().as_secs(),
            key: VerifyingKey::from_spki(&spki),
            spki,
            signed,
            version3: tbs.version() == x509_cert::certificate::Version::V3,
            ca: None,
            usage: None,
            purposes: None,
            alt_names: Vec::new(),
            subtrees: None,
            unknown_critical: None,
            subject,
        };
        let mut seen: Vec<ObjectIdentifier> = Vec::new();
        for extension in tbs.extensions().into_iter().flatten() {
            let (oid, value) = (extension.extn_id, extension.extn_value.as_bytes());
            if seen.contains(&oid) || inner.note(oid, extension.critical, value).is_err() {
                return Err(CertificateError::Extension { subject: inner.subject.to_string(), oid });
            }
            seen.push(oid);
        }
        Ok(Self(Arc::new(inner)))
    }

    /// Reads all certificates of a file's contents, PEM or DER, in its order.
    pub fn read_all(bytes: &[u8]) -> Result<Vec<Self>, CertificateError> {
        if !pem::is_pem(bytes) {
            return Ok(vec![Self::from_der(bytes)?]);
        }
        let blocks = pem::blocks(bytes)?;
        let wanted = ["CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"];
        let mut list = Vec::new();
        for block in blocks.iter().filter(|block| wanted.contains(&block.label.as_str())) {
            // OpenSSL's trusted certificates have something of its own behind the certificate.
            let mut reader = SliceReader::new(&block.der)?;
            list.push(Self::from_der(reader.tlv_bytes()?)?);
        }
        if list.is_empty() {
            let labels: Vec<&str> = blocks.iter().map(|block| block.label.as_str()).collect();
            return Err(CertificateError::None {
                found: if labels.is_empty() { "nothing".to_owned() } else { labels.join(", ") },
            });
        }
        Ok(list)
    }

    /// The DER form.
    pub fn as_der(&self) -> &[u8] {
        &self.0.der
    }

    /// Whose it is.
    pub fn subject(&self) -> &Name {
        &self.0.subject
    }

    /// Who vouches for it.
    pub fn issuer(&self) -> &Name {
        &self.0.issuer
    }

    /// The issuer's number for it, in hexadecimal as OpenSSL writes it.
    pub fn serial(&self) -> String {
        self.0.serial.iter().map(|byte| format!("{byte:02X}")).collect()
    }

    /// First and last second of its validity, in Unix time.
    pub fn validity(&self) -> (u64, u64) {
        (self.0.not_before, self.0.not_after)
    }

    /// The key in it, or why it cannot be used.
    pub fn key(&self) -> Result<&VerifyingKey, &PublicKeyError> {
        self.0.key.as_ref()
    }

    /// The subject's other names, in order.
    pub fn alt_names(&self) -> &[AltName] {
        &self.0.alt_names
    }

    /// The common names of the subject.
    pub fn common_names(&self) -> impl Iterator<Item = &str> {
        self.0.subject.values(COMMON_NAME)
    }

    /// Whether subject and issuer are the same.
    pub fn is_self_issued(&self) -> bool {
        self.0.subject.is_same_as(&self.0.issuer)
    }

    /// Whether it says of itself that it belongs to a CA. Certificates before version 3 cannot say so.
    pub fn is_ca(&self) -> bool {
        self.0.ca.as_ref().is_some_and(|basic| basic.ca)
    }

    /// What is weak about it although it is taken, for a warning.
    pub fn weaknesses(&self) -> Vec<String> {
        let mut list = Vec::new();
        if let Ok(key) = &self.0.key
            && let crate::sign::KeyKind::Rsa(bits) = key.kind()
            && bits < crate::sign::STRONG_RSA_BITS
        {
            list.push(format!("the RSA key of \"{}\" has only {bits} bits", self.0.subject));
        }
        if self.0.signed.is_weak() && !self.is_self_issued() {
            list.push(format!("the certificate of \"{}\" is signed with SHA-1", self.0.subject));
        }
        list
    }

    pub(super) fn raw_serial(&self) -> &[u8] {
        &self.0.serial
    }

    pub(super) fn spki(&self) -> &[u8] {
        &self.0.spki
    }

    pub(super) fn signed(&self) -> &Signed {
        &self.0.signed
    }

    pub(super) fn has_extensions(&self) -> bool {
        self.0.version3
    }

    pub(super) fn path_len(&self) -> Option<u8> {
        self.0.ca.as_ref().and_then(|basic| basic.path_len_constraint)
    }

    pub(super) fn usage(&self) -> Option<&KeyUsage> {
        self.0.usage.as_ref()
    }

    pub(super) fn purposes(&self) -> Option<&[ObjectIdentifier]> {
        self.0.purposes.as_deref()
    }

    pub(super) fn subtrees(&self) -> Option<&Subtrees> {
        self.0.subtrees.as_ref()
    }

    pub(super) fn unknown_critical(&self) -> Option<ObjectIdentifier> {
        self.0.unknown_critical
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.0.der == other.0.der
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({})", self.0.subject)
    }
}

impl Inner {
    /// Takes note of an extension.
    fn note(&mut self, oid: ObjectIdentifier, critical: bool, value: &[u8]) -> Result<(), CertificateError> {
        match oid {
            BasicConstraints::OID => self.ca = Some(BasicConstraints::from_der(value)?),
            KeyUsage::OID => self.usage = Some(KeyUsage::from_der(value)?),
            ExtendedKeyUsage::OID => self.purposes = Some(ExtendedKeyUsage::from_der(value)?.0),
            SubjectAltName::OID => {
                let names = SubjectAltName::from_der(value)?.0;
                if names.len() > MAX_ALT_NAMES {
                    return Err(CertificateError::Unreadable("too many names".into()));
                }
                for name in &names {
                    self.alt_names.extend(alt_name(name)?);
                }
            }
            NameConstraints::OID => {
                match Subtrees::new(&NameConstraints::from_der(value)?) {
                    Some(subtrees) => self.subtrees = Some(subtrees),
                    // Constraints that are not understood must not be passed over.
                    None => self.unknown_critical = Some(oid),
                }
            }
            _ if critical && !KNOWN.iter().any(|known| *known == oid.to_string()) => {
                self.unknown_critical = Some(oid);
            }
            _ => {}
        }
        Ok(())
    }
}

/// A name of a kind that IKE knows.
fn alt_name(name: &GeneralName) -> Result<Option<AltName>, CertificateError> {
    Ok(match name {
        GeneralName::IpAddress(octets) => address(octets.as_bytes()).map(AltName::Ip),
        GeneralName::DnsName(text) => Some(AltName::Dns(text.to_string())),
        GeneralName::Rfc822Name(text) => Some(AltName::Email(text.to_string())),
        GeneralName::DirectoryName(name) => Some(AltName::Directory(Name::from_der(&name.to_der()?)?)),
        _ => None,
    })
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(|octets| Ipv4Addr::from(octets).into());
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(|octets| Ipv6Addr::from(octets).into())).ok()
}

/// The first element inside a SEQUENCE, as it stands there: what a signature is about.
pub(super) fn first_inside(der: &[u8]) -> Result<&[u8], der::Error> {
    let mut reader = SliceReader::new(der)?;
    Header::decode(&mut reader)?;
    reader.tlv_bytes()
}
