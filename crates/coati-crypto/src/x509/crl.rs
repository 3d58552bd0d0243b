//! Certificate revocation lists (RFC 5280 section 5), from files.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use der::oid::AssociatedOid;
use der::{Decode, Encode};
use thiserror::Error;
use x509_cert::crl::{CertificateList, RevokedCert};
use x509_cert::ext::pkix::CrlReason;

use super::certificate::{Certificate, first_inside};
use super::name::Name;
use super::signature::Signed;
use crate::pem::{self, PemError};

/// Lists of large CAs have some megabytes; more is a mistake.
const MAX_LEN: usize = 64 << 20;

/// Why something is no revocation list.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CrlError {
    /// There is none in the file.
    #[error("there is no revocation list in it (a block BEGIN X509 CRL, or DER)")]
    None,
    /// The form is PEM, but damaged.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// Not DER, or not that of a list.
    #[error("the revocation list cannot be read: {0}")]
    Unreadable(String),
    /// It is only a part.
    #[error(
        "the revocation list has a critical extension ({0}) that is not supported: delta and partial lists are not"
    )]
    Partial(String),
}

impl From<der::Error> for CrlError {
    fn from(error: der::Error) -> Self {
        Self::Unreadable(error.to_string())
    }
}

/// A revocation list. Copies share it.
#[derive(Clone)]
pub struct Crl(Arc<Inner>);

struct Inner {
    issuer: Name,
    this_update: u64,
    next_update: Option<u64>,
    /// By serial number: when, and why.
    revoked: BTreeMap<Vec<u8>, (u64, &'static str)>,
    signed: Signed,
    origin: String,
}

impl Crl {
    /// Reads DER. `origin` names the file, for messages.
    pub fn from_der(der: &[u8], origin: &str) -> Result<Self, CrlError> {
        if der.len() > MAX_LEN {
            return Err(CrlError::Unreadable("it is too large".into()));
        }
        let list: CertificateList = CertificateList::from_der(der)?;
        let tbs = list.tbs_cert_list;
        for extension in tbs.crl_extensions.iter().flatten() {
            if extension.critical {
                return Err(CrlError::Partial(extension.extn_id.to_string()));
            }
        }
        let signed = Signed {
            tbs: first_inside(der)?.to_vec(),
            algorithm: list.signature_algorithm.oid,
            parameters: list.signature_algorithm.parameters.as_ref().map(Encode::to_der).transpose()?,
            signature: list.signature.as_bytes().unwrap_or(&[]).to_vec(),
        };
        let issuer =
            Name::from_der(&tbs.issuer.to_der()?).map_err(|e| CrlError::Unreadable(e.to_string()))?;
        let entry = |entry: RevokedCert| {
            let when = entry.revocation_date.to_unix_duration().as_secs();
            (entry.serial_number.as_bytes().to_vec(), (when, reason(&entry)))
        };
        Ok(Self(Arc::new(Inner {
            issuer,
            this_update: tbs.this_update.to_unix_duration().as_secs(),
            next_update: tbs.next_update.map(|time| time.to_unix_duration().as_secs()),
            revoked: tbs.revoked_certificates.into_iter().flatten().map(entry).collect(),
            signed,
            origin: origin.to_owned(),
        })))
    }

    /// Reads all lists of a file's contents, PEM or DER.
    pub fn read_all(bytes: &[u8], origin: &str) -> Result<Vec<Self>, CrlError> {
        if !pem::is_pem(bytes) {
            return Ok(vec![Self::from_der(bytes, origin)?]);
        }
        let blocks = pem::blocks(bytes)?;
        let list: Vec<Self> = blocks
            .iter()
            .filter(|block| block.label == "X509 CRL")
            .map(|block| Self::from_der(&block.der, origin))
            .collect::<Result<_, _>>()?;
        if list.is_empty() { Err(CrlError::None) } else { Ok(list) }
    }

    /// Who issued it.
    pub fn issuer(&self) -> &Name {
        &self.0.issuer
    }

    /// When it was made, and when the next one was promised, in Unix time.
    pub fn updates(&self) -> (u64, Option<u64>) {
        (self.0.this_update, self.0.next_update)
    }

    /// The file it came from.
    pub fn origin(&self) -> &str {
        &self.0.origin
    }

    /// When and why a certificate of the issuer was revoked.
    pub(super) fn entry(&self, certificate: &Certificate) -> Option<(u64, &'static str)> {
        self.0.revoked.get(certificate.raw_serial()).copied()
    }

    pub(super) fn signed(&self) -> &Signed {
        &self.0.signed
    }
}

impl PartialEq for Crl {
    fn eq(&self, other: &Self) -> bool {
        self.0.signed.tbs == other.0.signed.tbs && self.0.signed.signature == other.0.signed.signature
    }
}

impl Eq for Crl {}

impl fmt::Debug for Crl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Crl({}, {} revoked)", self.0.issuer, self.0.revoked.len())
    }
}

fn reason(entry: &RevokedCert) -> &'static str {
    let extensions = entry.crl_entry_extensions.iter().flatten();
    let code = extensions
        .filter(|extension| extension.extn_id == CrlReason::OID)
        .find_map(|extension| CrlReason::from_der(extension.extn_value.as_bytes()).ok());
    match code {
        Some(CrlReason::KeyCompromise) => "its key was compromised",
        Some(CrlReason::CaCompromise) => "its CA was compromised",
        Some(CrlReason::AffiliationChanged) => "its owner's affiliation changed",
        Some(CrlReason::Superseded) => "it was superseded by another",
        Some(CrlReason::CessationOfOperation) => "it went out of service",
        Some(CrlReason::CertificateHold) => "it is on hold",
        Some(CrlReason::PrivilegeWithdrawn) => "its privilege was withdrawn",
        Some(CrlReason::AaCompromise) => "its attribute authority was compromised",
        _ => "no reason given",
    }
}
