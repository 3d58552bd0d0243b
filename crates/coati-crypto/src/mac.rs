//! HMAC (RFC 2104), also as the PRF of IKEv1 (RFC 2409 section 4).

use aws_lc_rs::hmac;

use crate::constant_time_eq;
use crate::hash::HashAlgorithm;

/// An HMAC key, prepared once.
#[derive(Clone, Debug)]
pub struct Hmac(Inner);

#[derive(Clone)]
#[expect(clippy::large_enum_variant, reason = "MD5 is the rare case; the usual one stays without a pointer")]
enum Inner {
    Aws(hmac::Key),
    Md5(zeroize::Zeroizing<Vec<u8>>),
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
                let key = if key.len() > 64 { HashAlgorithm::Md5.digest(&[key]) } else { key.to_vec() };
                return Self(Inner::Md5(key.into()));
            }
            HashAlgorithm::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            HashAlgorithm::Sha256 => hmac::HMAC_SHA256,
            HashAlgorithm::Sha384 => hmac::HMAC_SHA384,
            HashAlgorithm::Sha512 => hmac::HMAC_SHA512,
        };
        Self(Inner::Aws(hmac::Key::new(aws, key)))
    }

    /// The tag over all `parts`, one after the other, in full length.
    pub fn sign(&self, parts: &[&[u8]]) -> Vec<u8> {
        match &self.0 {
            Inner::Aws(key) => {
                let mut context = hmac::Context::with_key(key);
                parts.iter().for_each(|part| context.update(part));
                context.sign().as_ref().to_vec()
            }
            Inner::Md5(key) => {
                let pad = |byte: u8| -> zeroize::Zeroizing<Vec<u8>> {
                    let mut block = vec![byte; 64];
                    block.iter_mut().zip(key.iter()).for_each(|(b, k)| *b ^= k);
                    block.into()
                };
                let inner_pad = pad(0x36);
                let mut inner: Vec<&[u8]> = vec![&inner_pad];
                inner.extend_from_slice(parts);
                let inner = HashAlgorithm::Md5.digest(&inner);
                HashAlgorithm::Md5.digest(&[&pad(0x5c), &inner])
            }
        }
    }

    /// The tag over `data`, cut to the length of `out`; nothing is allocated for the SHA family.
    pub fn sign_into(&self, data: &[u8], out: &mut [u8]) {
        match &self.0 {
            Inner::Aws(key) => {
                let tag = hmac::sign(key, data);
                out.iter_mut().zip(tag.as_ref()).for_each(|(o, t)| *o = *t);
            }
            Inner::Md5(_) => out.iter_mut().zip(self.sign(&[data])).for_each(|(o, t)| *o = t),
        }
    }

    /// Whether `tag` is the beginning of the tag over `data`; in constant time. An empty `tag` is never right.
    pub fn verify_truncated(&self, data: &[u8], tag: &[u8]) -> bool {
        let mut full = [0; 64];
        let Some(expected) = full.get_mut(..tag.len()) else { return false };
        self.sign_into(data, expected);
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

    #[test]
    fn truncated_tags() {
        let key = Hmac::new(HashAlgorithm::Sha1, &[0xaa; 20]);
        let tag = key.sign(&[b"data"]);
        assert!(key.verify_truncated(b"data", &tag[..12]));
        assert!(!key.verify_truncated(b"Data", &tag[..12]));
        assert!(!key.verify_truncated(b"data", &[]));
        assert!(!key.verify_truncated(b"data", &[0; 65]));
    }
}
