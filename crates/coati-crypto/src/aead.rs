//! AES-GCM with a 16-byte tag, as ESP uses it (RFC 4106).

use aws_lc_rs::aead::{AES_128_GCM, AES_192_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use thiserror::Error;

use crate::cbc::KeyError;

/// Length of the tag in bytes.
pub const TAG_LEN: usize = 16;

/// The data was not made with this key, nonce and associated data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the integrity check failed")]
pub struct Forged;

/// An AES-GCM key.
#[derive(Debug)]
pub struct AeadKey(LessSafeKey);

impl AeadKey {
    /// Prepares a key of 16, 24 or 32 bytes.
    pub fn new(key: &[u8]) -> Result<Self, KeyError> {
        let algorithm = match key.len() {
            16 => &AES_128_GCM,
            24 => &AES_192_GCM,
            32 => &AES_256_GCM,
            length => return Err(KeyError::Length(length)),
        };
        Ok(Self(LessSafeKey::new(UnboundKey::new(algorithm, key).map_err(|_| KeyError::Degenerate)?)))
    }

    /// Encrypts in place and returns the tag. The same nonce must never be used twice with one key.
    pub fn seal(&self, nonce: [u8; 12], aad: &[u8], data: &mut [u8]) -> Result<[u8; TAG_LEN], Forged> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(aad), data).map_err(|_| Forged)?;
        <[u8; TAG_LEN]>::try_from(tag.as_ref()).map_err(|_| Forged)
    }

    /// Verifies and decrypts in place: `data` ends with the tag. On success the plain text is the front of `data`
    /// without the tag; on failure the contents of `data` are unspecified.
    pub fn open(&self, nonce: [u8; 12], aad: &[u8], data: &mut [u8]) -> Result<(), Forged> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.0.open_in_place(nonce, Aad::from(aad), data).map(|_| ()).map_err(|_| Forged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Case 2 of the GCM specification: all zeroes.
    #[test]
    fn known_answer() {
        let key = AeadKey::new(&[0; 16]).unwrap();
        let mut data = [0; 32];
        let tag = key.seal([0; 12], &[], &mut data[..16]).unwrap();
        assert_eq!(data[..4], [0x03, 0x88, 0xda, 0xce]);
        assert_eq!(tag[..4], [0xab, 0x6e, 0x47, 0xd4]);
        data[16..].copy_from_slice(&tag);
        key.open([0; 12], &[], &mut data).unwrap();
        assert_eq!(data[..16], [0; 16]);
    }

    #[test]
    fn forgery_is_seen() {
        let key = AeadKey::new(&[7; 32]).unwrap();
        let mut data = *b"payload.................";
        let tag = key.seal([1; 12], b"aad", &mut data[..8]).unwrap();
        data[8..].copy_from_slice(&tag);
        data[0] ^= 1;
        assert_eq!(key.open([1; 12], b"aad", &mut data), Err(Forged));
    }
}
