//! Authentication of packets (RFC 2328 appendix D, RFC 5709): none, a password, or a digest with keys that follow each
//! other. A digest is looked at before the packet changes any state.

use std::fmt;

use coati_crypto::hash::HashAlgorithm;
use coati_crypto::mac::Hmac;
use coati_crypto::{Zeroizing, constant_time_eq};
use coati_wire::ospf::{AUTH_CRYPTOGRAPHIC, AUTH_NULL, AUTH_SIMPLE, Header};

/// How packets of an interface are authenticated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Authentication {
    /// Not at all.
    #[default]
    None,
    /// By a password of up to 8 bytes, in clear.
    Simple(Secret),
    /// By a digest with one of these keys.
    Cryptographic(Vec<Key>),
}

impl Authentication {
    /// The words of the configuration that ask for it.
    pub(crate) fn words(&self) -> &'static str {
        match self {
            Self::None => "no authentication",
            Self::Simple(_) => "simple authentication",
            Self::Cryptographic(_) => "message-digest authentication",
        }
    }

    /// Bytes behind the packet, at the most.
    pub(crate) fn trailer_len(&self) -> usize {
        match self {
            Self::Cryptographic(keys) => keys.iter().map(|key| key.algorithm.digest_len()).max().unwrap_or(0),
            _ => 0,
        }
    }
}

/// A password or key: wiped when dropped, compared in constant time, never printed.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes of a password or key.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        constant_time_eq(&self.0, &other.0)
    }
}

impl Eq for Secret {}

/// One key of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its number.
    pub id: u8,
    /// What it is used with.
    pub algorithm: KeyAlgorithm,
    /// The key itself.
    pub secret: Secret,
    /// When packets are sent with it.
    pub send: Lifetime,
    /// When packets that come with it are taken.
    pub accept: Lifetime,
}

/// A span of time in Unix seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lifetime {
    /// First second; `None` has always begun.
    pub from: Option<u64>,
    /// First second that is not in it; `None` never ends.
    pub until: Option<u64>,
}

impl Lifetime {
    fn contains(self, time: u64) -> bool {
        self.from.is_none_or(|from| from <= time) && self.until.is_none_or(|until| time < until)
    }
}

/// Digests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyAlgorithm {
    /// MD5 over packet and key (RFC 2328 section D.4.3).
    Md5,
    /// HMAC-SHA-1 (RFC 5709).
    HmacSha1,
    /// HMAC-SHA-256.
    HmacSha256,
    /// HMAC-SHA-384.
    HmacSha384,
    /// HMAC-SHA-512.
    HmacSha512,
}

impl KeyAlgorithm {
    fn hash(self) -> HashAlgorithm {
        match self {
            Self::Md5 => HashAlgorithm::Md5,
            Self::HmacSha1 => HashAlgorithm::Sha1,
            Self::HmacSha256 => HashAlgorithm::Sha256,
            Self::HmacSha384 => HashAlgorithm::Sha384,
            Self::HmacSha512 => HashAlgorithm::Sha512,
        }
    }

    fn digest_len(self) -> usize {
        self.hash().output_len()
    }
}

impl Key {
    /// The digest over a packet.
    fn digest(&self, packet: &[u8]) -> Vec<u8> {
        /// Apad of RFC 5709 section 3.3.
        const APAD: [u8; 4] = [0x87, 0x8f, 0xe1, 0xf3];
        let hash = self.algorithm.hash();
        if self.algorithm == KeyAlgorithm::Md5 {
            let mut padded = Zeroizing::new([0u8; 16]);
            padded.iter_mut().zip(self.secret.0.iter()).for_each(|(place, byte)| *place = *byte);
            return hash.digest(&[packet, padded.as_slice()]);
        }
        // A key longer than the hash is hashed, which plain HMAC does only beyond the block.
        let long = self.secret.0.len() > hash.output_len();
        let key = if long { Zeroizing::new(hash.digest(&[&self.secret.0])) } else { self.secret.0.clone() };
        let apad: Vec<u8> = APAD.iter().copied().cycle().take(hash.output_len()).collect();
        Hmac::new(hash, &key).sign(&[packet, &apad])
    }
}

/// The key that packets are sent with: of those in their time the one that began last; when all are over, the one
/// that ended last, so that the network does not fall apart (RFC 5709 section 3.2).
fn sending(keys: &[Key], time: u64) -> Option<&Key> {
    let current = keys.iter().filter(|key| key.send.contains(time));
    current.max_by_key(|key| (key.send.from, key.id)).or_else(|| {
        keys.iter()
            .filter(|key| key.send.until.is_some_and(|end| end <= time))
            .max_by_key(|key| key.send.until)
    })
}

/// Kind and field of the header for a packet that is sent at this time with this sequence number.
pub(crate) fn fill(authentication: &Authentication, header: &mut Header, time: u64, sequence: u32) {
    match authentication {
        Authentication::None => {}
        Authentication::Simple(password) => {
            header.auth_kind = AUTH_SIMPLE;
            header.auth.iter_mut().zip(password.0.iter()).for_each(|(place, byte)| *place = *byte);
        }
        Authentication::Cryptographic(keys) => {
            header.auth_kind = AUTH_CRYPTOGRAPHIC;
            let Some(key) = sending(keys, time) else { return };
            let [s0, s1, s2, s3] = sequence.to_be_bytes();
            let length = u8::try_from(key.algorithm.digest_len()).unwrap_or(0);
            header.auth = [0, 0, key.id, length, s0, s1, s2, s3];
        }
    }
}

/// What is put behind a packet whose header is filled.
pub(crate) fn trailer(authentication: &Authentication, packet: &[u8], time: u64) -> Vec<u8> {
    match authentication {
        Authentication::Cryptographic(keys) => {
            sending(keys, time).map(|key| key.digest(packet)).unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

/// Why a packet is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Kind,
    Password,
    UnknownKey(u8),
    Digest(u8),
    Replay,
}

impl Refusal {
    /// Name of the counter.
    pub(crate) fn counter(self) -> &'static str {
        match self {
            Self::Kind => "authentication type differs",
            Self::Password => "wrong password",
            Self::UnknownKey(_) => "unknown or expired key",
            Self::Digest(_) => "wrong digest",
            Self::Replay => "old cryptographic sequence number",
        }
    }
}

/// Whether a packet is the neighbour's; gives its sequence number. `least` is the smallest that is not a replay.
pub(crate) fn check(
    authentication: &Authentication,
    header: &Header,
    payload: &[u8],
    time: u64,
    least: u32,
) -> Result<u32, Refusal> {
    match (authentication, header.auth_kind) {
        (Authentication::None, AUTH_NULL) => Ok(0),
        (Authentication::Simple(password), AUTH_SIMPLE) => {
            let mut expected = Zeroizing::new([0u8; 8]);
            expected.iter_mut().zip(password.0.iter()).for_each(|(place, byte)| *place = *byte);
            match constant_time_eq(expected.as_slice(), &header.auth) {
                true => Ok(0),
                false => Err(Refusal::Password),
            }
        }
        (Authentication::Cryptographic(keys), AUTH_CRYPTOGRAPHIC) => {
            let [_, _, id, length, s0, s1, s2, s3] = header.auth;
            let key = keys.iter().find(|key| key.id == id && key.accept.contains(time));
            let key = key.ok_or(Refusal::UnknownKey(id))?;
            let packet_len =
                payload.get(2..4).map_or(0, |b| b.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)));
            let parts = payload.split_at_checked(packet_len);
            let (packet, behind) = parts.ok_or(Refusal::Digest(id))?;
            let digest = behind.get(..usize::from(length)).filter(|d| d.len() == key.algorithm.digest_len());
            let digest = digest.ok_or(Refusal::Digest(id))?;
            if !constant_time_eq(&key.digest(packet), digest) {
                return Err(Refusal::Digest(id));
            }
            let sequence = u32::from_be_bytes([s0, s1, s2, s3]);
            if sequence < least { Err(Refusal::Replay) } else { Ok(sequence) }
        }
        _ => Err(Refusal::Kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: u8, from: Option<u64>, until: Option<u64>) -> Key {
        let lifetime = Lifetime { from, until };
        let secret = Secret::new(b"secret".to_vec());
        Key { id, algorithm: KeyAlgorithm::Md5, secret, send: lifetime, accept: lifetime }
    }

    #[test]
    fn keys_follow_each_other() {
        let keys = [key(1, None, Some(100)), key(2, Some(90), Some(200)), key(3, Some(190), None)];
        let at = |time| sending(&keys, time).map(|key| key.id);
        assert_eq!(
            [at(10), at(95), at(150), at(195), at(1000)],
            [Some(1), Some(2), Some(2), Some(3), Some(3)]
        );
        // All are over: the last one goes on.
        assert_eq!(sending(&keys[..2], 500).map(|key| key.id), Some(2));
        assert!(sending(&[key(1, Some(100), None)], 50).is_none());
    }

    #[test]
    fn secrets_are_not_printed() {
        let text = format!("{:?}", Authentication::Cryptographic(vec![key(1, None, None)]));
        assert!(!text.contains("115") && !text.contains("secret\""), "{text}");
    }
}
