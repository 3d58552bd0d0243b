//! Ciphers that authenticate, with tags of 16 bytes, as ESP uses them: AES-GCM (RFC 4106), ChaCha20-Poly1305 (RFC 7634).

use aws_lc_rs::aead::{
    AES_128_GCM, AES_192_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};
use thiserror::Error;

use crate::cbc::KeyError;

/// Length of the tag in bytes.
pub const TAG_LEN: usize = 16;

/// The data was not made with this key, nonce and associated data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the integrity check failed")]
pub struct Forged;

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AeadAlgorithm {
    /// AES in Galois/counter mode: 16, 24 or 32-byte key.
    AesGcm,
    /// ChaCha20 and Poly1305 (RFC 8439): 32-byte key.
    ChaCha20Poly1305,
}

/// A key.
#[derive(Debug)]
pub struct AeadKey(LessSafeKey);

impl AeadKey {
    /// Prepares `key`.
    pub fn new(algorithm: AeadAlgorithm, key: &[u8]) -> Result<Self, KeyError> {
        let algorithm = match (algorithm, key.len()) {
            (AeadAlgorithm::AesGcm, 16) => &AES_128_GCM,
            (AeadAlgorithm::AesGcm, 24) => &AES_192_GCM,
            (AeadAlgorithm::AesGcm, 32) => &AES_256_GCM,
            (AeadAlgorithm::ChaCha20Poly1305, 32) => &CHACHA20_POLY1305,
            (_, length) => return Err(KeyError::Length(length)),
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
        let key = AeadKey::new(AeadAlgorithm::AesGcm, &[0; 16]).unwrap();
        let mut data = [0; 32];
        let tag = key.seal([0; 12], &[], &mut data[..16]).unwrap();
        assert_eq!(data[..4], [0x03, 0x88, 0xda, 0xce]);
        assert_eq!(tag[..4], [0xab, 0x6e, 0x47, 0xd4]);
        data[16..].copy_from_slice(&tag);
        key.open([0; 12], &[], &mut data).unwrap();
        assert_eq!(data[..16], [0; 16]);
    }

    /// RFC 8439 section 2.8.2.
    #[test]
    fn chacha20_known_answer() {
        let bytes: Vec<u8> = (0x80..0xa0).collect();
        let key = AeadKey::new(AeadAlgorithm::ChaCha20Poly1305, &bytes).unwrap();
        let mut data =
            *b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the \
                          future, sunscreen would be it.";
        let aad = [0x50, 0x51, 0x52, 0x53, 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7];
        let nonce = [7, 0, 0, 0, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47];
        let tag = key.seal(nonce, &aad, &mut data).unwrap();
        assert_eq!(data[..4], [0xd3, 0x1a, 0x8d, 0x34]);
        assert_eq!(tag[..4], [0x1a, 0xe1, 0x0b, 0x59]);
        assert_eq!(
            AeadKey::new(AeadAlgorithm::ChaCha20Poly1305, &bytes[..16]).unwrap_err(),
            KeyError::Length(16)
        );
    }

    #[test]
    fn forgery_is_seen() {
        let key = AeadKey::new(AeadAlgorithm::AesGcm, &[7; 32]).unwrap();
        let mut data = *b"payload.................";
        let tag = key.seal([1; 12], b"aad", &mut data[..8]).unwrap();
        data[8..].copy_from_slice(&tag);
        data[0] ^= 1;
        assert_eq!(key.open([1; 12], b"aad", &mut data), Err(Forged));
    }
}
