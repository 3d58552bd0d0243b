//! AES in counter mode, as ESP uses it (RFC 3686).

use aws_lc_rs::cipher::{AES_128, AES_192, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;

use crate::cbc::{KeyError, LengthError};

/// A key of AES in counter mode.
#[derive(Debug)]
pub struct CtrKey(EncryptingKey);

impl CtrKey {
    /// Prepares a key of 16, 24 or 32 bytes.
    pub fn new(key: &[u8]) -> Result<Self, KeyError> {
        let cipher = match key.len() {
            16 => &AES_128,
            24 => &AES_192,
            32 => &AES_256,
            length => return Err(KeyError::Length(length)),
        };
        let unbound = UnboundCipherKey::new(cipher, key).map_err(|_| KeyError::Degenerate)?;
        Ok(Self(EncryptingKey::ctr(unbound).map_err(|_| KeyError::Degenerate)?))
    }

    /// Encrypts or decrypts in place, which are the same; `counter` is the first block's. The same one must never be used
    /// twice with one key.
    pub fn apply(&self, counter: [u8; 16], data: &mut [u8]) -> Result<(), LengthError> {
        let context = EncryptionContext::Iv128(FixedLength::from(counter));
        self.0.less_safe_encrypt(data, context).map(|_| ()).map_err(|_| LengthError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    /// RFC 3686 section 6, test vectors 1, 2, 3, 6 and 9: nonce, IV and the number 1 are the counter.
    #[test]
    fn known_answers() {
        let counting: Vec<u8> = (0..36).collect();
        for (key, nonce_and_iv, clear, wanted) in [
            (
                "ae6852f8121067cc4bf7a5765577f39e",
                "00000030 0000000000000000",
                &b"Single block msg"[..],
                "e4095d4fb7a7b3792d6175a3261311b8",
            ),
            (
                "7e24067817fae0d743d6ce1f32539163",
                "006cb6db c0543b59da48d90b",
                &counting[..32],
                "5104a106168a72d9790d41ee8edad388eb2e1efc46da57c8fce630df9141be28",
            ),
            (
                "7691be035e5020a8ac6e618529f9a0dc",
                "00e0017b 27777f3f4a1786f0",
                &counting,
                "c1cf48a89f2ffdd9cf4652e9efdb72d74540a42bde6d7836d59a5ceaaef3105325b2072f",
            ),
            (
                "02bf391ee8ecb159b959617b0965279bf59b60a786d3e0fe",
                "0007bdfd 5cbd60278dcc0912",
                &counting,
                "96893fc55e5c722f540b7dd1ddf7e758d288bc95c69165884536c811662f2188abee0935",
            ),
            (
                "ff7a617ce69148e4f1726e2f43581de2aa62d9f805532edff1eed687fb54153d",
                "001cc5b7 51a51d70a1c11148",
                &counting,
                "eb6c52821d0bbbf7ce7594462aca4faab407df866569fd07f48cc0b583d6071f1ec0e6b8",
            ),
        ] {
            let counter = [bytes(nonce_and_iv), vec![0, 0, 0, 1]].concat().try_into().unwrap();
            let key = CtrKey::new(&bytes(key)).unwrap();
            let mut data = clear.to_vec();
            key.apply(counter, &mut data).unwrap();
            assert_eq!(data, bytes(wanted));
            key.apply(counter, &mut data).unwrap();
            assert_eq!(data, clear);
        }
        assert_eq!(CtrKey::new(&[0; 20]).unwrap_err(), KeyError::Length(20));
    }
}
