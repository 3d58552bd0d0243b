//! What is around a packet: header, addresses, digests, and how all of them are spoilt.

use std::net::Ipv4Addr;

use coati_crypto::hash::HashAlgorithm;
use coati_crypto::mac::Hmac;
use coati_wire::checksum::internet;
use coati_wire::ospf::{ALL_ROUTERS, AUTH_CRYPTOGRAPHIC, AUTH_NULL, AUTH_SIMPLE, Header};

use crate::text::{Words, unknown};

/// The secret of every key in cases.
const SECRET: &[u8] = b"secret";

pub struct Envelope {
    pub router_id: Ipv4Addr,
    pub area: Ipv4Addr,
    pub to: Ipv4Addr,
    pub ttl: u8,
    auth_kind: u16,
    auth: [u8; 8],
    hash: Option<HashAlgorithm>,
    version: Option<u8>,
    kind: Option<u8>,
    length: Option<u16>,
    checksum: Option<u32>,
    cut: usize,
    spoilt_digest: bool,
}

impl Default for Envelope {
    fn default() -> Self {
        Self {
            router_id: Ipv4Addr::UNSPECIFIED,
            area: Ipv4Addr::UNSPECIFIED,
            to: ALL_ROUTERS,
            ttl: 1,
            auth_kind: AUTH_NULL,
            auth: [0; 8],
            hash: None,
            version: None,
            kind: None,
            length: None,
            checksum: None,
            cut: 0,
            spoilt_digest: false,
        }
    }
}

impl Envelope {
    pub fn of(router_id: Ipv4Addr, area: Ipv4Addr) -> Self {
        Self { router_id, area, ..Self::default() }
    }

    /// One word of a statement, and what belongs to it.
    pub fn take(&mut self, word: &str, words: &mut Words<'_>) -> Result<(), String> {
        match word {
            "router" => self.router_id = words.parse("router id")?,
            "area" => self.area = words.parse("area")?,
            "to" => self.to = words.parse("address")?,
            "ttl" => self.ttl = words.parse("TTL")?,
            "version" => self.version = Some(words.parse("version")?),
            "type" => self.kind = Some(words.parse("type")?),
            "length" => self.length = Some(words.parse("length")?),
            "checksum" => self.checksum = Some(words.hex("checksum")?),
            "cut" => self.cut = words.parse("number of bytes")?,
            "spoilt-digest" => self.spoilt_digest = true,
            "authentication" => self.auth_kind = words.parse("kind of authentication")?,
            "password" => {
                self.auth_kind = AUTH_SIMPLE;
                let password = words.word("password")?;
                self.auth.iter_mut().zip(password.bytes()).for_each(|(place, byte)| *place = byte);
            }
            "key" => {
                let hash = match words.word("algorithm")? {
                    "md5" => HashAlgorithm::Md5,
                    "hmac-sha-1" => HashAlgorithm::Sha1,
                    "hmac-sha-256" => HashAlgorithm::Sha256,
                    "hmac-sha-384" => HashAlgorithm::Sha384,
                    "hmac-sha-512" => HashAlgorithm::Sha512,
                    other => return Err(unknown(other)),
                };
                let (id, number): (u8, u32) = (words.parse("key id")?, words.parse("sequence number")?);
                let length = u8::try_from(hash.output_len()).unwrap_or(0);
                let [s0, s1, s2, s3] = number.to_be_bytes();
                self.auth = [0, 0, id, length, s0, s1, s2, s3];
                (self.auth_kind, self.hash) = (AUTH_CRYPTOGRAPHIC, Some(hash));
            }
            other => return Err(unknown(other)),
        }
        Ok(())
    }

    pub fn header(&self) -> Header {
        Header { router_id: self.router_id, area: self.area, auth_kind: self.auth_kind, auth: self.auth }
    }

    /// Spoils a packet as the case wants it, and puts the digest behind it.
    pub fn seal(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        if let Some(version) = self.version {
            bytes[0] = version;
        }
        if let Some(kind) = self.kind {
            bytes[1] = kind;
        }
        bytes.truncate(bytes.len() - self.cut);
        if self.cut > 0 {
            let length = u16::try_from(bytes.len()).unwrap_or(0).to_be_bytes();
            bytes[2..4].copy_from_slice(&length);
        }
        if let Some(length) = self.length {
            bytes[2..4].copy_from_slice(&length.to_be_bytes());
        }
        if self.auth_kind != AUTH_CRYPTOGRAPHIC {
            bytes[12..14].fill(0);
            let end = usize::from(self.length.unwrap_or(u16::MAX)).clamp(24, bytes.len());
            let sum = internet(&[&bytes[..16], &bytes[24..end]]);
            bytes[12..14].copy_from_slice(&sum.to_be_bytes());
        }
        if let Some(checksum) = self.checksum {
            bytes[12..14].copy_from_slice(&checksum.to_be_bytes()[2..]);
        }
        if let Some(hash) = self.hash {
            let mut digest = digest(hash, &bytes);
            digest[0] ^= u8::from(self.spoilt_digest);
            bytes.extend(digest);
        }
        bytes
    }
}

/// RFC 2328 section D.4.3 and RFC 5709 section 3.3, for a secret that is shorter than every digest.
fn digest(hash: HashAlgorithm, packet: &[u8]) -> Vec<u8> {
    if hash == HashAlgorithm::Md5 {
        let mut key = [0; 16];
        key[..SECRET.len()].copy_from_slice(SECRET);
        return hash.digest(&[packet, &key]);
    }
    let apad = [0x87, 0x8f, 0xe1, 0xf3].repeat(hash.output_len() / 4);
    Hmac::new(hash, SECRET).sign(&[packet, &apad])
}

/// Whether what follows a packet is its digest by the algorithm that has this length.
pub fn digest_is_right(payload: &[u8], length: usize) -> bool {
    use HashAlgorithm::{Md5, Sha1, Sha256, Sha384, Sha512};
    let hash = [Md5, Sha1, Sha256, Sha384, Sha512].into_iter().find(|hash| hash.output_len() == length);
    let packet = payload.get(..payload.len() - length).unwrap_or(&[]);
    hash.is_some_and(|hash| payload.get(packet.len()..) == Some(&digest(hash, packet)))
}
