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
}

impl EncAlgorithm {
    /// All of them, in the order help texts list them.
    pub const ALL: [EncAlgorithm; 4] = [Self::AesCbc, Self::AesGcm16, Self::TripleDesCbc, Self::Null];

    /// The name setkey(8) uses, for example `aes-cbc`.
    pub fn setkey_name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::TripleDesCbc => "3des-cbc",
            Self::AesCbc => "aes-cbc",
            Self::AesGcm16 => "aes-gcm-16",
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
            Self::AesGcm16 => &[20, 28, 36],
        }
    }

    /// Whether it authenticates too, so that no [`AuthAlgorithm`] may be given.
    pub fn is_aead(self) -> bool {
        self == Self::AesGcm16
    }

    /// Bytes of the initialisation vector that every packet carries.
    pub fn iv_len(self) -> usize {
        match self {
            Self::Null => 0,
            Self::TripleDesCbc | Self::AesGcm16 => 8,
            Self::AesCbc => 16,
        }
    }

    /// The unit, in bytes, the encrypted part is padded to (4 at the least, RFC 4303 section 2.4).
    pub fn block_len(self) -> usize {
        match self {
            Self::Null | Self::AesGcm16 => 4,
            Self::TripleDesCbc => 8,
            Self::AesCbc => 16,
        }
    }
}

/// Integrity of an ESP SA: an HMAC and how many bytes of it are sent.
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
}

impl AuthAlgorithm {
    /// All of them, in the order help texts list them.
    pub const ALL: [AuthAlgorithm; 6] = [
        Self::HmacSha1,
        Self::HmacSha256,
        Self::HmacSha384,
        Self::HmacSha512,
        Self::HmacSha256Cut96,
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
        }
    }

    /// Looks a setkey(8) name up, in both spellings of the SHA-2 family (`hmac-sha256`, `hmac-sha2-256`).
    pub fn from_setkey_name(name: &str) -> Option<Self> {
        let plain = name.replace("sha2-", "sha");
        Self::ALL.into_iter().filter(|a| *a != Self::None).find(|algorithm| algorithm.setkey_name() == plain)
    }

    /// Length of the key in bytes: that of the hash (RFC 4868 section 2.1.1).
    pub fn key_len(self) -> usize {
        match self {
            Self::None => 0,
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
            Self::HmacSha1 | Self::HmacSha256Cut96 => 12,
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
        let cut = AuthAlgorithm::from_setkey_name("hmac-sha256-96").unwrap();
        assert_eq!((cut, cut.key_len(), cut.icv_len()), (AuthAlgorithm::HmacSha256Cut96, 32, 12));
    }
}
