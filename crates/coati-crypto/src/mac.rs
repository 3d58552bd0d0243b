//! HMAC (RFC 2104), also as the PRF of IKEv1 (RFC 2409 section 4), and what else makes integrity check values.

use aws_lc_rs::hmac as aws;
use hmac::{KeyInit, Mac};

use crate::cbc::KeyError;
use crate::constant_time_eq;
use crate::hash::HashAlgorithm;
use crate::xcbc::{XcbcContext, XcbcKey};

type HmacMd5 = hmac::Hmac<md5::Md5>;

/// The longest tag, SHA-512's, in bytes.
const MAX_TAG: usize = 64;

/// An HMAC key, prepared once.
#[derive(Clone, Debug)]
pub struct Hmac(Inner);

#[derive(Clone)]
#[expect(clippy::large_enum_variant, reason = "MD5 is the rare case; the usual one stays without a pointer")]
enum Inner {
    Aws(aws::Key),
    Md5(HmacMd5),
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("key")
    }
}

impl Hmac {
    /// Prepares `key`, of any length.
    pub fn new(algorithm: HashAlgorithm, key: &[u8]) -> Self {
        let aws = match algorithm {
            HashAlgorithm::Md5 => {
                // HMAC takes keys of any length.
                let prepared = HmacMd5::new_from_slice(key).unwrap_or_else(|_| HmacMd5::new(&[0; 64].into()));
                return Self(Inner::Md5(prepared));
            }
            HashAlgorithm::Sha1 => aws::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            HashAlgorithm::Sha256 => aws::HMAC_SHA256,
            HashAlgorithm::Sha384 => aws::HMAC_SHA384,
            HashAlgorithm::Sha512 => aws::HMAC_SHA512,
        };
        Self(Inner::Aws(aws::Key::new(aws, key)))
    }

    /// The tag over all `parts`, one after the other, in full length.
    pub fn sign(&self, parts: &[&[u8]]) -> Vec<u8> {
        match &self.0 {
            Inner::Aws(key) => {
                let mut context = aws::Context::with_key(key);
                parts.iter().for_each(|part| context.update(part));
                context.sign().as_ref().to_vec()
            }
            Inner::Md5(key) => {
                let mut context = key.clone();
                parts.iter().for_each(|part| context.update(part));
                context.finalize().into_bytes().to_vec()
            }
        }
    }
}

/// A key that makes the integrity check values of packets; nothing is allocated for one.
#[derive(Debug)]
pub struct MacKey(MacKind);

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one per SA, and read for every packet: no pointer to follow")]
enum MacKind {
    Hmac(Hmac),
    Xcbc(XcbcKey),
}

impl MacKey {
    /// HMAC with this hash function.
    pub fn hmac(algorithm: HashAlgorithm, key: &[u8]) -> Self {
        Self(MacKind::Hmac(Hmac::new(algorithm, key)))
    }

    /// AES-XCBC-MAC (RFC 3566), whose key has 16 bytes.
    pub fn aes_xcbc(key: &[u8]) -> Result<Self, KeyError> {
        Ok(Self(MacKind::Xcbc(XcbcKey::new(key)?)))
    }

    /// Begins a tag.
    pub fn start(&self) -> MacContext<'_> {
        MacContext(match &self.0 {
            MacKind::Hmac(Hmac(Inner::Aws(key))) => Running::Aws(aws::Context::with_key(key)),
            MacKind::Hmac(Hmac(Inner::Md5(key))) => Running::Md5(key.clone()),
            MacKind::Xcbc(key) => Running::Xcbc(key.start()),
        })
    }
}

/// A tag while its data comes.
pub struct MacContext<'a>(Running<'a>);

#[expect(clippy::large_enum_variant, reason = "on the stack, for the time of a packet")]
enum Running<'a> {
    Aws(aws::Context),
    Md5(HmacMd5),
    Xcbc(XcbcContext<'a>),
}

impl MacContext<'_> {
    /// More of the data.
    pub fn update(&mut self, data: &[u8]) {
        match &mut self.0 {
            Running::Aws(context) => context.update(data),
            Running::Md5(context) => context.update(data),
            Running::Xcbc(context) => context.update(data),
        }
    }

    /// The tag, cut to the length of `out`.
    pub fn finish_into(self, out: &mut [u8]) {
        let mut copy = |tag: &[u8]| out.iter_mut().zip(tag).for_each(|(to, from)| *to = *from);
        match self.0 {
            Running::Aws(context) => copy(context.sign().as_ref()),
            Running::Md5(context) => copy(&context.finalize().into_bytes()),
            Running::Xcbc(context) => context.finish_into(out),
        }
    }

    /// Whether `tag` is the beginning of it; in constant time. An empty `tag` is never right.
    pub fn verify(self, tag: &[u8]) -> bool {
        let mut full = [0; MAX_TAG];
        let Some(expected) = full.get_mut(..tag.len()) else { return false };
        self.finish_into(expected);
        !tag.is_empty() && constant_time_eq(expected, tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// RFC 2202 and RFC 4231, test case 2 of each.
    #[test]
    fn known_answers() {
        let sign =
            |algorithm| hex(&Hmac::new(algorithm, b"Jefe").sign(&[b"what do ya want ", b"for nothing?"]));
        assert_eq!(sign(HashAlgorithm::Md5), "750c783e6ab0b503eaa86e310a5db738");
        assert_eq!(sign(HashAlgorithm::Sha1), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        assert_eq!(
            sign(HashAlgorithm::Sha256),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    /// RFC 2202 (test case 5 of each), RFC 4868 section 2.7.2 (1 and 2 of each): as ESP and AH cut them.
    #[test]
    fn known_answers_of_packets() {
        let jefe = |length: usize| b"Jefe".repeat(length / 4);
        let (hi, what) = (&b"Hi There"[..], &b"what do ya want for nothing?"[..]);
        for (hash, key, data, wanted) in [
            (HashAlgorithm::Md5, vec![0x0c; 16], &b"Test With Truncation"[..], "56461ef2342edc00f9bab995"),
            (HashAlgorithm::Sha1, vec![0x0c; 20], b"Test With Truncation", "4c1a03424b55e07fe7f27be1"),
            (HashAlgorithm::Sha256, vec![0x0b; 32], hi, "198a607eb44bfbc69903a0f1cf2bbdc5"),
            (HashAlgorithm::Sha256, jefe(32), what, "167f928588c5cc2eef8e3093caa0e87c"),
            (HashAlgorithm::Sha384, vec![0x0b; 48], hi, "b6a8d5636f5c6a7224f9977dcf7ee6c7fb6d0c48cbdee973"),
            (HashAlgorithm::Sha384, jefe(48), what, "2c7353974f1842fd66d53c452ca42122b28c0b594cfb184d"),
            (
                HashAlgorithm::Sha512,
                vec![0x0b; 64],
                hi,
                "637edc6e01dce7e6742a99451aae82df23da3e92439e590e43e761b33e910fb8",
            ),
            (
                HashAlgorithm::Sha512,
                jefe(64),
                what,
                "cb370917ae8a7ce28cfd1d8f4705d6141c173b2a9362c15df235dfb251b15454",
            ),
        ] {
            let mut tag = vec![0; wanted.len() / 2];
            let key = MacKey::hmac(hash, &key);
            let mut context = key.start();
            context.update(data);
            context.finish_into(&mut tag);
            assert_eq!(hex(&tag), wanted, "{hash:?}");
        }
    }

    #[test]
    fn truncated_tags() {
        for algorithm in [HashAlgorithm::Md5, HashAlgorithm::Sha1] {
            let tag = Hmac::new(algorithm, &[0xaa; 20]).sign(&[b"data"]);
            let key = MacKey::hmac(algorithm, &[0xaa; 20]);
            let verifies = |parts: &[&[u8]], tag: &[u8]| {
                let mut context = key.start();
                parts.iter().for_each(|part| context.update(part));
                context.verify(tag)
            };
            assert!(verifies(&[b"data"], &tag[..12]));
            assert!(verifies(&[b"da", b"ta"], &tag[..12]));
            assert!(!verifies(&[b"Data"], &tag[..12]));
            assert!(!verifies(&[b"data"], &[]));
            assert!(!verifies(&[b"data"], &[0; 65]));
        }
    }
}
