//! Authentication of packets (RFC 2328 appendix D, RFC 5709, RFC 7474): none, a password, or a digest with keys that
//! follow each other. A digest is looked at before the packet changes any state.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use coati_crypto::hash::HashAlgorithm;
use coati_crypto::mac::Hmac;
use coati_crypto::{Zeroizing, constant_time_eq};
use coati_wire::ospf::{AUTH_CRYPTOGRAPHIC, AUTH_EXTENDED, AUTH_NULL, AUTH_SIMPLE, Header};
use serde::{Deserialize, Serialize};

use crate::config::RouterId;

/// Bytes of an extended sequence number, between the packet and its digest (RFC 7474 section 4).
const SEQUENCE_LEN: usize = 8;

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
    /// The same with sequence numbers of 64 bits that only grow, and a digest that covers the sender's address: nothing
    /// that was heard with a key is taken again while this router runs (RFC 7474).
    Extended(Vec<Key>),
}

impl Authentication {
    /// The words of the configuration that ask for it.
    pub(crate) fn words(&self) -> &'static str {
        match self {
            Self::None => "no authentication",
            Self::Simple(_) => "simple authentication",
            Self::Cryptographic(_) => "message-digest authentication",
            Self::Extended(_) => "message-digest authentication with extended sequence numbers",
        }
    }

    /// Bytes behind the packet, at the most.
    pub(crate) fn trailer_len(&self) -> usize {
        let longest = |keys: &[Key]| keys.iter().map(|key| key.algorithm.digest_len()).max().unwrap_or(0);
        match self {
            Self::None | Self::Simple(_) => 0,
            Self::Cryptographic(keys) => longest(keys),
            Self::Extended(keys) => SEQUENCE_LEN + longest(keys),
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
    const ALL: [Self; 5] = [Self::Md5, Self::HmacSha1, Self::HmacSha256, Self::HmacSha384, Self::HmacSha512];

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
    /// The digest over a packet (RFC 5709 section 3.3). `extended`: by this sender, with the packet's sequence number
    /// behind it (RFC 7474 section 5).
    fn digest(&self, packet: &[u8], extended: Option<Ipv4Addr>) -> Vec<u8> {
        const APAD: [u8; 4] = [0x87, 0x8f, 0xe1, 0xf3];
        /// OSPFv2 among the protocols that may share a key (RFC 7474 section 5).
        const PROTOCOL: [u8; 2] = [0, 1];
        let hash = self.algorithm.hash();
        if self.algorithm == KeyAlgorithm::Md5 {
            let mut padded = Zeroizing::new([0u8; 16]);
            padded.iter_mut().zip(self.secret.0.iter()).for_each(|(place, byte)| *place = *byte);
            return hash.digest(&[packet, padded.as_slice()]);
        }
        let mut key = self.secret.0.clone();
        if extended.is_some() {
            key.extend_from_slice(&PROTOCOL);
        }
        // A key longer than the hash is hashed, which plain HMAC does only beyond the block.
        if key.len() > hash.output_len() {
            key = Zeroizing::new(hash.digest(&[&key]));
        }
        let first = extended.map_or(APAD, |sender| sender.octets());
        let apad: Vec<u8> =
            first.into_iter().chain(APAD.into_iter().cycle()).take(hash.output_len()).collect();
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

/// Sequence numbers for packets that are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sequence {
    /// Seconds, so that it grows over restarts.
    pub(crate) plain: u32,
    /// Of the last packet that had one; its upper half grows with each start (RFC 7474 section 3).
    pub(crate) extended: u64,
}

/// Kind and field of the header for a packet that is sent at this time.
pub(crate) fn fill(authentication: &Authentication, header: &mut Header, time: u64, sequence: Sequence) {
    let length = |len: usize| u8::try_from(len).unwrap_or(0);
    match authentication {
        Authentication::None => {}
        Authentication::Simple(password) => {
            header.auth_kind = AUTH_SIMPLE;
            header.auth.iter_mut().zip(password.0.iter()).for_each(|(place, byte)| *place = *byte);
        }
        Authentication::Cryptographic(keys) => {
            header.auth_kind = AUTH_CRYPTOGRAPHIC;
            let Some(key) = sending(keys, time) else { return };
            let [s0, s1, s2, s3] = sequence.plain.to_be_bytes();
            header.auth = [0, 0, key.id, length(key.algorithm.digest_len()), s0, s1, s2, s3];
        }
        Authentication::Extended(keys) => {
            header.auth_kind = AUTH_EXTENDED;
            let Some(key) = sending(keys, time) else { return };
            header.auth = [0, 0, 0, length(SEQUENCE_LEN + key.algorithm.digest_len()), 0, 0, 0, key.id];
        }
    }
}

/// What is put behind a packet from this address whose header is filled.
pub(crate) fn seal(
    authentication: &Authentication,
    packet: &mut Vec<u8>,
    time: u64,
    sequence: Sequence,
    source: Ipv4Addr,
) {
    match authentication {
        Authentication::None | Authentication::Simple(_) => {}
        Authentication::Cryptographic(keys) => {
            let digest = sending(keys, time).map(|key| key.digest(packet, None));
            packet.extend(digest.into_iter().flatten());
        }
        Authentication::Extended(keys) => {
            packet.extend_from_slice(&sequence.extended.to_be_bytes());
            let digest = sending(keys, time).map(|key| key.digest(packet, Some(source)));
            packet.extend(digest.into_iter().flatten());
        }
    }
}

/// The sequence numbers of RFC 7474 that were heard, which outlive the neighbours and the interfaces, by the name of our
/// interface: what was sent before one of them went is a replay when it is back as well. Each key has numbers of its own,
/// so that a sender that has lost its count can begin again with a new one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard(BTreeMap<(String, RouterId), Vec<OfKey>>);

/// A key, and for each type of packet the largest number that has come with it.
type OfKey = (Name, [u64; 5]);

/// What tells a key from others: its times may change.
#[derive(Clone, Debug)]
struct Name {
    id: u8,
    algorithm: KeyAlgorithm,
    /// `None` is one that was used before the program started, whatever it was: what is kept in a file has no keys in it.
    secret: Option<Secret>,
}

impl Name {
    fn is(&self, key: &Key) -> bool {
        let secret = self.secret.as_ref().is_none_or(|secret| *secret == key.secret);
        (self.id, self.algorithm) == (key.id, key.algorithm) && secret
    }
}

/// What is kept of it over restarts: the numbers of one sender's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeardNumbers {
    /// Name of our interface.
    pub interface: String,
    /// The sender.
    pub router_id: RouterId,
    /// Number of the key.
    pub key: u8,
    /// Bytes of its digests, which name the algorithm.
    pub digest: usize,
    /// The largest number of each type of packet, hellos first.
    pub numbers: [u64; 5],
}

impl Heard {
    /// Senders, at the most; only those who have a key come in.
    const MOST: usize = 8192;
    /// Keys of one sender, at the most: those that it has used last.
    const MOST_KEYS: usize = 16;

    /// Takes the number of an authenticated packet of this type, 1 to 5, when it is larger than all of that type before.
    fn take(&mut self, received: Received<'_>, key: &Key, kind: u8, sequence: u64) -> Result<(), Refusal> {
        let sender = (received.interface.to_owned(), received.header.router_id);
        if self.0.len() >= Self::MOST && !self.0.contains_key(&sender) {
            self.0.pop_first();
        }
        let keys = self.0.entry(sender).or_default();
        let known = keys.iter().position(|(old, _)| old.is(key));
        // Once a later key is in use, packets under this one that were held back are no news: numbers are of one count.
        let later = keys.last().filter(|(last, _)| known.is_some() && !last.is(key));
        if sequence <= later.map_or(0, |(_, numbers)| numbers.iter().copied().max().unwrap_or(0)) {
            return Err(Refusal::Replay);
        }
        let mut numbers = known.map_or([0; 5], |place| keys.remove(place).1);
        let last = numbers.get_mut(usize::from(kind).wrapping_sub(1));
        let taken = match last {
            Some(last) if sequence > *last => {
                *last = sequence;
                Ok(())
            }
            _ => Err(Refusal::Replay),
        };
        let (id, algorithm, secret) = (key.id, key.algorithm, Some(key.secret.clone()));
        keys.push((Name { id, algorithm, secret }, numbers));
        keys.drain(..keys.len().saturating_sub(Self::MOST_KEYS));
        taken
    }
}

impl Heard {
    /// Numbers that are kept, at the most.
    const MOST_KEPT: usize = 2000;

    /// What to keep, the keys of each sender in the order in which they were used last.
    pub(crate) fn numbers(&self) -> Vec<HeardNumbers> {
        let all = self.0.iter().flat_map(|((interface, router_id), keys)| {
            keys.iter().map(|(name, numbers)| HeardNumbers {
                interface: interface.clone(),
                router_id: *router_id,
                key: name.id,
                digest: name.algorithm.digest_len(),
                numbers: *numbers,
            })
        });
        all.take(Self::MOST_KEPT).collect()
    }

    /// What was kept, at the start.
    pub(crate) fn recall(&mut self, kept: &[HeardNumbers]) {
        for one in kept.iter().take(Self::MOST_KEPT) {
            let algorithm = KeyAlgorithm::ALL.into_iter().find(|found| found.digest_len() == one.digest);
            let Some(algorithm) = algorithm else { continue };
            let keys = self.0.entry((one.interface.clone(), one.router_id)).or_default();
            keys.push((Name { id: one.key, algorithm, secret: None }, one.numbers));
        }
    }
}

/// Why a packet is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Kind,
    Password,
    UnknownKey(u32),
    Digest(u32),
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

/// A packet whose authentication is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received<'a> {
    /// Name of our interface.
    pub(crate) interface: &'a str,
    pub(crate) source: Ipv4Addr,
    pub(crate) header: &'a Header,
    /// The packet and what is behind it.
    pub(crate) payload: &'a [u8],
    /// The smallest plain sequence number that is not a replay.
    pub(crate) least: u32,
}

/// Whether a packet is the neighbour's; gives its plain sequence number.
pub(crate) fn check(
    authentication: &Authentication,
    received: Received<'_>,
    time: u64,
    heard: &mut Heard,
) -> Result<u32, Refusal> {
    let header = received.header;
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
            let key = accepting(keys, u32::from(id), time)?;
            verify(key, received.payload, 0, usize::from(length), None)?;
            let sequence = u32::from_be_bytes([s0, s1, s2, s3]);
            if sequence < received.least { Err(Refusal::Replay) } else { Ok(sequence) }
        }
        (Authentication::Extended(keys), AUTH_EXTENDED) => {
            let [_, _, _, length, i0, i1, i2, i3] = header.auth;
            let key = accepting(keys, u32::from_be_bytes([i0, i1, i2, i3]), time)?;
            let length = usize::from(length).wrapping_sub(SEQUENCE_LEN);
            let sequence = verify(key, received.payload, SEQUENCE_LEN, length, Some(received.source))?;
            let sequence = sequence.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
            let kind = received.payload.get(1).copied().unwrap_or(0);
            heard.take(received, key, kind, sequence).map(|()| 0)
        }
        _ => Err(Refusal::Kind),
    }
}

/// The key of this number, when its time is now.
fn accepting(keys: &[Key], id: u32, time: u64) -> Result<&Key, Refusal> {
    let key = keys.iter().find(|key| u32::from(key.id) == id && key.accept.contains(time));
    key.ok_or(Refusal::UnknownKey(id))
}

/// Whether this key has made the digest, of this length, over the packet and so many bytes behind it; gives those.
fn verify<'a>(
    key: &Key,
    payload: &'a [u8],
    behind: usize,
    digest_len: usize,
    extended: Option<Ipv4Addr>,
) -> Result<&'a [u8], Refusal> {
    let wrong = Refusal::Digest(u32::from(key.id));
    let packet_len =
        payload.get(2..4).map_or(0, |b| b.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)));
    let (covered, digest) = payload.split_at_checked(packet_len + behind).ok_or(wrong)?;
    let digest = digest.get(..digest_len).filter(|digest| digest.len() == key.algorithm.digest_len());
    if constant_time_eq(&key.digest(covered, extended), digest.ok_or(wrong)?) {
        Ok(covered.get(packet_len..).unwrap_or(&[]))
    } else {
        Err(wrong)
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

    /// The digest of RFC 7474 section 5, computed elsewhere (Python's hmac).
    #[test]
    fn extended_digests() {
        let mut covered = b"\x02\x01\x00\x2c\x0a\0\0\x01\0\0\0\0\0\0\0\x03\0\0\0\x28\0\0\0\x07".to_vec();
        covered.extend(0u8..20);
        covered.extend((5u64 << 32 | 9).to_be_bytes());
        for (secret, wanted) in [
            ("secret".to_owned(), "68d3189cd13811f6f0f363955669712ebbd89338bf6ccbf07dc5dd37c27fb6d8"),
            // With the protocol's number it is longer than the hash.
            ("k".repeat(31), "ee480f16157dfdd082ee3ec6d7d7376a392954000178f60a413fa3e03756a21b"),
        ] {
            let secret = Secret::new(secret.into_bytes());
            let key = Key { algorithm: KeyAlgorithm::HmacSha256, secret, ..key(7, None, None) };
            let digest = key.digest(&covered, Some(Ipv4Addr::new(192, 0, 2, 1)));
            let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, wanted);
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let text = format!("{:?}", Authentication::Cryptographic(vec![key(1, None, None)]));
        assert!(!text.contains("115") && !text.contains("secret\""), "{text}");
    }
}
