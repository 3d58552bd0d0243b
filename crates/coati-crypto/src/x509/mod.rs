//! X.509 certificates and revocation lists (RFC 5280), as IKE needs them (RFC 4945).
//!
//! `certificate` reads one, `name` is whose it is, [`TrustAnchors::verify`] in `chain` decides whether to believe it, `crl` says what
//! was revoked. Nothing is ever fetched from anywhere, and the time is handed in. Every refusal is a sentence that
//! names the certificate by its subject and says what to do.

mod certificate;
mod chain;
mod constraints;
mod crl;
mod name;
mod signature;
#[cfg(test)]
mod tests;

pub use certificate::{AltName, Certificate, CertificateError};
pub use chain::{Anchor, ChainError, TrustAnchors, Verified};
pub use crl::{Crl, CrlError};
pub use name::{Name, NameError};
pub use signature::UnsupportedSignature;

/// A date and time in UTC, for people.
pub fn date(unix_time: u64) -> String {
    match der::DateTime::from_unix_duration(std::time::Duration::from_secs(unix_time)) {
        Ok(date) => date.to_string().replace('T', " ").replace('Z', " UTC"),
        Err(_) => "the end of time".into(),
    }
}
