//! Certificates and requests for them (RFC 2408 sections 3.9 and 3.10).

use crate::WireError;
use crate::error::array;

/// A CERT payload, or a CR payload: both are an encoding and something in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// What the data is, [`Certificate::X509_SIGNATURE`] for instance.
    pub encoding: u8,
    /// A certificate; in a request the name of an authority, or nothing.
    pub data: Vec<u8>,
}

impl Certificate {
    /// A certificate chain in PKCS #7.
    pub const PKCS7: u8 = 1;
    /// An X.509 certificate for signatures.
    pub const X509_SIGNATURE: u8 = 4;

    /// Reads the body of the payload.
    pub fn parse(body: &[u8]) -> Result<Self, WireError> {
        let [encoding] = array("certificate", body, 0)?;
        Ok(Self { encoding, data: body.get(1..).unwrap_or(&[]).to_vec() })
    }

    /// The body of the payload.
    pub fn emit(&self) -> Vec<u8> {
        let mut bytes = vec![self.encoding];
        bytes.extend_from_slice(&self.data);
        bytes
    }
}
