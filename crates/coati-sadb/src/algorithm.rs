//! Algorithms an SA can name, with their key sizes and the names setkey(8) and racoon give them.

use serde::{Deserialize, Serialize};

/// Encryption of an ESP SA. Key lengths are carried by the key itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EncAlgorithm {
    /// No encryption (RFC 2410), integrity only.
    Null,
    /// Triple DES in CBC mode (RFC 2451): 24-byte key, 8-byte IV.
    TripleDesCbc,
    /// AES in CBC mode (RFC 3602): 16, 24 or 32-byte key, 16-byte IV.
    AesCbc,
    /// AES-GCM with a 16-byte ICV (RFC 4106): 16, 24 or 32-byte key and a 4-byte salt after it, 8-byte IV.
    AesGcm16,
    /// AES in counter mode (RFC 3686): 16, 24 or 32-byte key and a 4-byte nonce after it, 8-byte IV.
    AesCtr,
    /// ChaCha20-Poly1305 (RFC 7634): 32-byte key and a 4-byte salt after it, 8-byte IV, 16-byte ICV.
    #[serde(rename = "chacha20-poly1305")]
    ChaCha20Poly1305,
}

impl EncAlgorithm {
    /// All of them, in the order help texts list them.
    pub const ALL: [EncAlgorithm; 6] =
        [Self::AesCbc, Self::AesGcm16, Self::ChaCha20Poly1305, Self::AesCtr, Self::TripleDesCbc, Self::Null];

    /// The name setkey(8) uses, for example `aes-cbc`.
    pub fn setkey_name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::TripleDesCbc => "3des-cbc",
            Self::AesCbc => "aes-cbc",
            Self::AesGcm16 => "aes-gcm-16",
            Self::AesCtr => "aes-ctr",
            Self::ChaCha20Poly1305 => "chacha20-poly1305",
        }
    }

    /// Looks a setkey(8) name up; `rijndael-cbc` is an older name of `aes-cbc`.
    pub fn from_setkey_name(name: &str) -> Option<Self> {
        match name {
            "rijndael-cbc" => Some(Self::AesCbc),
            _ => Self::ALL.into_iter().find(|algorithm| algorithm.setkey_name() == name),
        }
    }

    /// Key lengths that are allowed, in bytes, including the salt of counter modes.
    pub fn key_lengths(self) -> &'static [usize] {
        match self {
            Self::Null => &[0],
            Self::TripleDesCbc => &[24],
            Self::AesCbc => &[16, 24, 32],
            Self::AesGcm16 | Self::AesCtr => &[20, 28, 36],
            Self::ChaCha20Poly1305 => &[36],
        }
    }

    /// What is wrong with a key, in a sentence: its length, or that it makes 3DES single DES (RFC 2451 section 2.3).
    pub fn check_key(self, key: &[u8]) -> Result<(), String> {
        if !self.key_lengths().contains(&key.len()) {
            return Err(wrong_length(self.setkey_name(), self.key_lengths(), key));
        }
        // The last bit of each byte is parity.
        let same = |(one, other): (&[u8], &[u8])| one.iter().zip(other).all(|(a, b)| a & 0xfe == b & 0xfe);
        match key.as_chunks::<8>().0 {
            [first, second, third]
                if self == Self::TripleDesCbc && (same((first, second)) || same((second, third))) =>
            {
                Err("two thirds of the key of 3des-cbc are the same, which makes it single DES".into())
            }
            _ => Ok(()),
        }
    }

    /// Bytes at the end of the key that begin every nonce, and are no key.
    pub fn salt_len(self) -> usize {
        match self {
            Self::Null | Self::TripleDesCbc | Self::AesCbc => 0,
            Self::AesGcm16 | Self::AesCtr | Self::ChaCha20Poly1305 => 4,
        }
    }

    /// Whether it authenticates too, so that no [`AuthAlgorithm`] may be given.
    pub fn is_aead(self) -> bool {
        matches!(self, Self::AesGcm16 | Self::ChaCha20Poly1305)
    }

    /// Bytes of the initialisation vector that every packet carries.
    pub fn iv_len(self) -> usize {
        match self {
            Self::Null => 0,
            Self::TripleDesCbc | Self::AesGcm16 | Self::AesCtr | Self::ChaCha20Poly1305 => 8,
            Self::AesCbc => 16,
        }
    }

    /// The unit, in bytes, the encrypted part is padded to (4 at the least, RFC 4303 section 2.4).
    pub fn block_len(self) -> usize {
        match self {
            Self::Null | Self::AesGcm16 | Self::AesCtr | Self::ChaCha20Poly1305 => 4,
            Self::TripleDesCbc => 8,
            Self::AesCbc => 16,
        }
    }
}

fn wrong_length(name: &str, lengths: &[usize], key: &[u8]) -> String {
    let allowed: Vec<String> = lengths.iter().map(|length| (length * 8).to_string()).collect();
    format!("{name} takes a key of {} bits, this one has {}", allowed.join(" or "), key.len() * 8)
}

/// Integrity of an SA of ESP or AH, and how many bytes of it are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuthAlgorithm {
    /// No separate integrity: only right beside an AEAD cipher.
    None,
    /// HMAC-SHA1-96 (RFC 2404): 20-byte key, 12-byte ICV.
    HmacSha1,
    /// HMAC-SHA-256-128 (RFC 4868): 32-byte key, 16-byte ICV.
    HmacSha256,
    /// HMAC-SHA-256 of which 12 bytes are sent, as a draft had it and Linux still does without being told otherwise; a
    /// name of ours. In IKE it has the number of the right one, so both sides have to know.
    HmacSha256Cut96,
    /// HMAC-SHA-384-192 (RFC 4868): 48-byte key, 24-byte ICV.
    HmacSha384,
    /// HMAC-SHA-512-256 (RFC 4868): 64-byte key, 32-byte ICV.
    HmacSha512,
    /// HMAC-MD5-96 (RFC 2403): 16-byte key, 12-byte ICV. Not to be used for anything new (RFC 8221).
    HmacMd5,
    /// AES-XCBC-MAC-96 (RFC 3566): 16-byte key, 12-byte ICV.
    AesXcbcMac,
}

impl AuthAlgorithm {
    /// All of them, in the order help texts list them.
    pub const ALL: [AuthAlgorithm; 8] = [
        Self::HmacSha1,
        Self::HmacSha256,
        Self::HmacSha384,
        Self::HmacSha512,
        Self::HmacSha256Cut96,
        Self::AesXcbcMac,
        Self::HmacMd5,
        Self::None,
    ];

    /// The name setkey(8) prints, for example `hmac-sha1`.
    pub fn setkey_name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::HmacSha1 => "hmac-sha1",
            Self::HmacSha256 => "hmac-sha256",
            Self::HmacSha256Cut96 => "hmac-sha256-96",
            Self::HmacSha384 => "hmac-sha384",
            Self::HmacSha512 => "hmac-sha512",
            Self::HmacMd5 => "hmac-md5",
            Self::AesXcbcMac => "aes-xcbc-mac",
        }
    }

    /// Looks a setkey(8) name up, in both spellings of the SHA-2 family (`hmac-sha256`, `hmac-sha2-256`).
    pub fn from_setkey_name(name: &str) -> Option<Self> {
        let plain = name.replace("sha2-", "sha");
        Self::ALL.into_iter().filter(|a| *a != Self::None).find(|algorithm| algorithm.setkey_name() == plain)
    }

    /// What is wrong with the length of a key, in a sentence.
    pub fn check_key(self, key: &[u8]) -> Result<(), String> {
        match key.len() == self.key_len() {
            true => Ok(()),
            false => Err(wrong_length(self.setkey_name(), &[self.key_len()], key)),
        }
    }

    /// Length of the key in bytes: that of the hash (RFC 4868 section 2.1.1), or of the cipher.
    pub fn key_len(self) -> usize {
        match self {
            Self::None => 0,
            Self::HmacMd5 | Self::AesXcbcMac => 16,
            Self::HmacSha1 => 20,
            Self::HmacSha256 | Self::HmacSha256Cut96 => 32,
            Self::HmacSha384 => 48,
            Self::HmacSha512 => 64,
        }
    }

    /// Bytes of the integrity check value at the end of each packet.
    pub fn icv_len(self) -> usize {
        match self {
            Self::None => 0,
            Self::HmacMd5 | Self::HmacSha1 | Self::HmacSha256Cut96 | Self::AesXcbcMac => 12,
            Self::HmacSha256 => 16,
            Self::HmacSha384 => 24,
            Self::HmacSha512 => 32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for algorithm in EncAlgorithm::ALL {
            assert_eq!(EncAlgorithm::from_setkey_name(algorithm.setkey_name()), Some(algorithm));
        }
        assert_eq!(EncAlgorithm::from_setkey_name("rijndael-cbc"), Some(EncAlgorithm::AesCbc));
        assert_eq!(AuthAlgorithm::from_setkey_name("hmac-sha2-256"), Some(AuthAlgorithm::HmacSha256));
        assert_eq!(AuthAlgorithm::from_setkey_name("hmac-sha1"), Some(AuthAlgorithm::HmacSha1));
        assert_eq!(AuthAlgorithm::from_setkey_name("none"), None);
        for algorithm in AuthAlgorithm::ALL.into_iter().filter(|algorithm| *algorithm != AuthAlgorithm::None)
        {
            assert_eq!(AuthAlgorithm::from_setkey_name(algorithm.setkey_name()), Some(algorithm));
        }
        let cut = AuthAlgorithm::from_setkey_name("hmac-sha256-96").unwrap();
        assert_eq!((cut, cut.key_len(), cut.icv_len()), (AuthAlgorithm::HmacSha256Cut96, 32, 12));
    }

    #[test]
    fn keys_that_do_not_fit() {
        let refused = |enc: EncAlgorithm, key: &[u8]| enc.check_key(key).unwrap_err();
        assert_eq!(
            refused(EncAlgorithm::AesCtr, &[0; 16]),
            "aes-ctr takes a key of 160 or 224 or 288 bits, this one has 128"
        );
        let mut key = *b"firsteigsecondeithirdeig";
        assert_eq!(EncAlgorithm::TripleDesCbc.check_key(&key), Ok(()));
        // Other parity bits make no other key.
        key.copy_within(..8, 8);
        key[8] ^= 1;
        assert!(refused(EncAlgorithm::TripleDesCbc, &key).contains("single DES"));
        key.copy_within(8..16, 16);
        key[8..16].fill(0x55);
        assert_eq!(EncAlgorithm::TripleDesCbc.check_key(&key), Ok(()), "two different keys are 112 bits");
        assert_eq!(
            AuthAlgorithm::AesXcbcMac.check_key(&[0; 20]).unwrap_err(),
            "aes-xcbc-mac takes a key of 128 bits, this one has 160"
        );
    }
}
