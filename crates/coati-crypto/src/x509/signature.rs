//! Signatures on certificates and revocation lists (RFC 4055, 5758, 8410).

use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use der::Decode;
use der::asn1::{Any, AnyRef, ObjectIdentifier};
use rsa::pkcs1::RsaPssParams;
use thiserror::Error;
use x509_cert::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

const fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}

const MD5_RSA: ObjectIdentifier = oid("1.2.840.113549.1.1.4");
const SHA1_RSA: ObjectIdentifier = oid("1.2.840.113549.1.1.5");
const PSS: ObjectIdentifier = oid("1.2.840.113549.1.1.10");
const SHA256_RSA: ObjectIdentifier = oid("1.2.840.113549.1.1.11");
const SHA384_RSA: ObjectIdentifier = oid("1.2.840.113549.1.1.12");
const SHA512_RSA: ObjectIdentifier = oid("1.2.840.113549.1.1.13");
const ECDSA_SHA256: ObjectIdentifier = oid("1.2.840.10045.4.3.2");
const ECDSA_SHA384: ObjectIdentifier = oid("1.2.840.10045.4.3.3");
const ECDSA_SHA512: ObjectIdentifier = oid("1.2.840.10045.4.3.4");
const ED25519: ObjectIdentifier = oid("1.3.101.112");
const SHA256: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.1");
const SHA384: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.2");
const SHA512: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.3");
const P256: ObjectIdentifier = oid("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = oid("1.3.132.0.34");
const P521: ObjectIdentifier = oid("1.3.132.0.35");

/// A signature that cannot be checked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UnsupportedSignature {
    /// The hash function is broken: anybody could have made this certificate.
    #[error("it is signed with MD5, which can be forged; let the CA issue it again with SHA-256")]
    Broken,
    /// Not one of ours.
    #[error(
        "it is signed with the algorithm {0}, which is not supported; RSA, ECDSA and Ed25519 with SHA-2 are"
    )]
    Algorithm(ObjectIdentifier),
}

/// A signature and what it says about itself.
pub(super) struct Signed {
    /// What is signed.
    pub(super) tbs: Vec<u8>,
    pub(super) algorithm: ObjectIdentifier,
    /// DER of the parameters.
    pub(super) parameters: Option<Vec<u8>>,
    pub(super) signature: Vec<u8>,
}

impl Signed {
    /// Whether the algorithm is SHA-1's: still taken, but weak.
    pub(super) fn is_weak(&self) -> bool {
        self.algorithm == SHA1_RSA
    }

    /// Whether the owner of this SubjectPublicKeyInfo made it.
    pub(super) fn is_by(&self, spki: &[u8]) -> Result<bool, UnsupportedSignature> {
        let Ok(spki) = SubjectPublicKeyInfoRef::from_der(spki) else { return Ok(false) };
        let Some(key) = spki.subject_public_key.as_bytes() else { return Ok(false) };
        let algorithm = self.verifier(&spki.algorithm)?;
        Ok(UnparsedPublicKey::new(algorithm, key).verify(&self.tbs, &self.signature).is_ok())
    }

    fn verifier(
        &self,
        key: &AlgorithmIdentifierRef<'_>,
    ) -> Result<&'static dyn VerificationAlgorithm, UnsupportedSignature> {
        let unsupported = UnsupportedSignature::Algorithm(self.algorithm);
        let curve = key.parameters.and_then(|any: AnyRef<'_>| any.decode_as::<ObjectIdentifier>().ok());
        Ok(match (self.algorithm, curve) {
            (MD5_RSA, _) => return Err(UnsupportedSignature::Broken),
            (SHA1_RSA, _) => &signature::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
            (SHA256_RSA, _) => &signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
            (SHA384_RSA, _) => &signature::RSA_PKCS1_2048_8192_SHA384,
            (SHA512_RSA, _) => &signature::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
            (PSS, _) => match self.pss_hash().ok_or(unsupported)? {
                SHA256 => &signature::RSA_PSS_2048_8192_SHA256,
                SHA384 => &signature::RSA_PSS_2048_8192_SHA384,
                _ => &signature::RSA_PSS_2048_8192_SHA512,
            },
            (ECDSA_SHA256, Some(P256)) => &signature::ECDSA_P256_SHA256_ASN1,
            (ECDSA_SHA384, Some(P256)) => &signature::ECDSA_P256_SHA384_ASN1,
            (ECDSA_SHA512, Some(P256)) => &signature::ECDSA_P256_SHA512_ASN1,
            (ECDSA_SHA256, Some(P384)) => &signature::ECDSA_P384_SHA256_ASN1,
            (ECDSA_SHA384, Some(P384)) => &signature::ECDSA_P384_SHA384_ASN1,
            (ECDSA_SHA512, Some(P384)) => &signature::ECDSA_P384_SHA512_ASN1,
            (ECDSA_SHA256, Some(P521)) => &signature::ECDSA_P521_SHA256_ASN1,
            (ECDSA_SHA384, Some(P521)) => &signature::ECDSA_P521_SHA384_ASN1,
            (ECDSA_SHA512, Some(P521)) => &signature::ECDSA_P521_SHA512_ASN1,
            (ED25519, _) => &signature::ED25519,
            _ => return Err(unsupported),
        })
    }

    /// The hash function of RSASSA-PSS, when hash, mask and salt are the usual ones that belong together.
    fn pss_hash(&self) -> Option<ObjectIdentifier> {
        let parameters = RsaPssParams::<Any>::from_der(self.parameters.as_deref()?).ok()?;
        let salt_len = match parameters.hash.oid {
            SHA256 => 32,
            SHA384 => 48,
            SHA512 => 64,
            _ => return None,
        };
        let mask = parameters.mask_gen.parameters?.oid;
        (mask == parameters.hash.oid && parameters.salt_len == salt_len).then_some(parameters.hash.oid)
    }
}
