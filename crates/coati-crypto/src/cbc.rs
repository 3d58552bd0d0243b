//! Block ciphers in CBC mode without padding, as ISAKMP (RFC 2409 appendix B) and ESP (RFC 2451, 3602) use them.

// 3DES is deprecated for good reason; the how-to names it, so it has to work.
#![allow(deprecated)]

use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, DES_EDE3_FOR_LEGACY_USE_ONLY, DecryptingKey, DecryptionContext, EncryptingKey,
    EncryptionContext, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use thiserror::Error;

/// Which block cipher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CbcAlgorithm {
    /// Triple DES: 24-byte key, 8-byte blocks.
    TripleDes,
    /// AES: 16, 24 or 32-byte key, 16-byte blocks.
    Aes,
}

impl CbcAlgorithm {
    /// Block and IV length in bytes.
    pub fn block_len(self) -> usize {
        match self {
            Self::TripleDes => 8,
            Self::Aes => 16,
        }
    }
}

/// Why a key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// The cipher has no such key length.
    #[error("a key of {0} bytes does not fit the cipher")]
    Length(usize),
    /// The library refused it; for 3DES, two of the three keys are equal, so that it were single DES.
    #[error("the key is degenerate")]
    Degenerate,
}

/// Data or IV are not whole blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the length does not fit the cipher's blocks")]
pub struct LengthError;

/// A CBC key, prepared for both directions.
#[derive(Debug)]
pub struct CbcKey {
    algorithm: CbcAlgorithm,
    encrypting: EncryptingKey,
    decrypting: DecryptingKey,
}

impl CbcKey {
    /// Prepares `key`.
    pub fn new(algorithm: CbcAlgorithm, key: &[u8]) -> Result<Self, KeyError> {
        let cipher = match (algorithm, key.len()) {
            (CbcAlgorithm::TripleDes, 24) => &DES_EDE3_FOR_LEGACY_USE_ONLY,
            (CbcAlgorithm::Aes, 16) => &AES_128,
            (CbcAlgorithm::Aes, 24) => &AES_192,
            (CbcAlgorithm::Aes, 32) => &AES_256,
            (_, length) => return Err(KeyError::Length(length)),
        };
        let unbound = || UnboundCipherKey::new(cipher, key).map_err(|_| KeyError::Degenerate);
        let encrypting = EncryptingKey::cbc(unbound()?).map_err(|_| KeyError::Degenerate)?;
        let decrypting = DecryptingKey::cbc(unbound()?).map_err(|_| KeyError::Degenerate)?;
        Ok(Self { algorithm, encrypting, decrypting })
    }

    /// Block and IV length in bytes.
    pub fn block_len(&self) -> usize {
        self.algorithm.block_len()
    }

    /// Encrypts whole blocks in place.
    pub fn encrypt(&self, iv: &[u8], data: &mut [u8]) -> Result<(), LengthError> {
        let context = match self.algorithm {
            CbcAlgorithm::TripleDes => {
                EncryptionContext::Iv64(FixedLength::from(<[u8; 8]>::try_from(iv).map_err(|_| LengthError)?))
            }
            CbcAlgorithm::Aes => EncryptionContext::Iv128(FixedLength::from(
                <[u8; 16]>::try_from(iv).map_err(|_| LengthError)?,
            )),
        };
        self.encrypting.less_safe_encrypt(data, context).map(|_| ()).map_err(|_| LengthError)
    }

    /// Decrypts whole blocks in place.
    pub fn decrypt(&self, iv: &[u8], data: &mut [u8]) -> Result<(), LengthError> {
        let context = match self.algorithm {
            CbcAlgorithm::TripleDes => {
                DecryptionContext::Iv64(FixedLength::from(<[u8; 8]>::try_from(iv).map_err(|_| LengthError)?))
            }
            CbcAlgorithm::Aes => DecryptionContext::Iv128(FixedLength::from(
                <[u8; 16]>::try_from(iv).map_err(|_| LengthError)?,
            )),
        };
        self.decrypting.decrypt(data, context).map(|_| ()).map_err(|_| LengthError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3602 section 4, case 1.
    #[test]
    fn aes_known_answer() {
        let key =
            [0x06, 0xa9, 0x21, 0x40, 0x36, 0xb8, 0xa1, 0x5b, 0x51, 0x2e, 0x03, 0xd5, 0x34, 0x12, 0x00, 0x06];
        let iv =
            [0x3d, 0xaf, 0xba, 0x42, 0x9d, 0x9e, 0xb4, 0x30, 0xb4, 0x22, 0xda, 0x80, 0x2c, 0x9f, 0xac, 0x41];
        let mut data = *b"Single block msg";
        let key = CbcKey::new(CbcAlgorithm::Aes, &key).unwrap();
        key.encrypt(&iv, &mut data).unwrap();
        assert_eq!(
            data,
            [0xe3, 0x53, 0x77, 0x9c, 0x10, 0x79, 0xae, 0xb8, 0x27, 0x08, 0x94, 0x2d, 0xbe, 0x77, 0x18, 0x1a]
        );
        key.decrypt(&iv, &mut data).unwrap();
        assert_eq!(&data, b"Single block msg");
    }

    #[test]
    fn triple_des_round_trip_and_lengths() {
        let key: Vec<u8> = (0..24).map(|i| i * 7 + 1).collect();
        let key = CbcKey::new(CbcAlgorithm::TripleDes, &key).unwrap();
        let mut data = *b"sixteen bytes ok";
        key.encrypt(&[1; 8], &mut data).unwrap();
        assert_ne!(&data, b"sixteen bytes ok");
        key.decrypt(&[1; 8], &mut data).unwrap();
        assert_eq!(&data, b"sixteen bytes ok");
        assert_eq!(key.encrypt(&[1; 8], &mut [0; 7]), Err(LengthError));
        assert_eq!(key.encrypt(&[1; 16], &mut [0; 8]), Err(LengthError));
        assert_eq!(CbcKey::new(CbcAlgorithm::Aes, &[0; 15]).unwrap_err(), KeyError::Length(15));
    }
}
