//! Signatures as IKE makes them, and the keys for them.
//!
//! IKEv1 signs HASH_I or HASH_R as it is. For RSA that is a PKCS #1 v1.5 block around the bare hash, without the
//! DigestInfo that certificates have (RFC 2409 section 5.1); for ECDSA it is r and s in fixed length, one after the
//! other, with the hash function that belongs to the curve (RFC 4754). Verification builds the whole block anew and
//! compares all of it: nothing in a signature is parsed, so there is nothing to hide a forgery in.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::signature::{self, EcdsaKeyPair, KeyPair, UnparsedPublicKey};
use crypto_bigint::Integer;
use der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef, UintRef};
use der::{Decode, Reader, SliceReader};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use rsa::pkcs1::{DecodeRsaPrivateKey, RsaPrivateKey, RsaPublicKey};
use rsa::pkcs8::PrivateKeyInfoRef;
use rsa::traits::PublicKeyParts;
use rsa::{BoxedUint, Pkcs1v15Sign};
use thiserror::Error;
use x509_cert::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use zeroize::Zeroizing;

use crate::RandomSource;
use crate::hash::HashAlgorithm;
use crate::pem::{self, PemError};

/// RSA keys below this size are refused: they can be broken.
pub const MIN_RSA_BITS: usize = 1024;
/// RSA keys above this size are refused: they would cost too much time.
pub const MAX_RSA_BITS: usize = 8192;
/// RSA keys below this size are taken, with a warning.
pub const STRONG_RSA_BITS: usize = 2048;

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");

/// What a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// RSA with a modulus of so many bits.
    Rsa(usize),
    /// ECDSA over a curve.
    Ecdsa(Curve),
}

/// A curve of RFC 4754.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Curve {
    /// P-256, with SHA-256.
    P256,
    /// P-384, with SHA-384.
    P384,
    /// P-521, with SHA-512.
    P521,
}

impl Curve {
    /// The hash function that RFC 4754 binds to it.
    pub fn hash(self) -> HashAlgorithm {
        match self {
            Self::P256 => HashAlgorithm::Sha256,
            Self::P384 => HashAlgorithm::Sha384,
            Self::P521 => HashAlgorithm::Sha512,
        }
    }

    /// Length of a signature in bytes.
    pub fn signature_len(self) -> usize {
        match self {
            Self::P256 => 64,
            Self::P384 => 96,
            Self::P521 => 132,
        }
    }

    const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    fn oid(self) -> ObjectIdentifier {
        match self {
            Self::P256 => P256,
            Self::P384 => P384,
            Self::P521 => P521,
        }
    }

    fn signing(self) -> &'static signature::EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
            Self::P384 => &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
            Self::P521 => &signature::ECDSA_P521_SHA512_FIXED_SIGNING,
        }
    }

    fn verifying(self) -> &'static signature::EcdsaVerificationAlgorithm {
        match self {
            Self::P256 => &signature::ECDSA_P256_SHA256_FIXED,
            Self::P384 => &signature::ECDSA_P384_SHA384_FIXED,
            Self::P521 => &signature::ECDSA_P521_SHA512_FIXED,
        }
    }

    fn digest(self, hash: &[u8]) -> Option<Digest> {
        let algorithm = match self {
            Self::P256 => &digest::SHA256,
            Self::P384 => &digest::SHA384,
            Self::P521 => &digest::SHA512,
        };
        Digest::import_less_safe(hash, algorithm).ok()
    }
}

impl fmt::Display for Curve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        })
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa(bits) => write!(f, "RSA key of {bits} bits"),
            Self::Ecdsa(curve) => write!(f, "ECDSA key on {curve}"),
        }
    }
}

/// Why a private key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PrivateKeyError {
    /// It is under a passphrase, and a daemon has nobody to ask.
    #[error(
        "the private key is encrypted with a passphrase, which nobody can type in for a daemon; \
         decrypt it with: openssl pkey -in FILE -out NEWFILE, then chmod 600 NEWFILE"
    )]
    Encrypted,
    /// There is no key in the file.
    #[error("there is no private key in it, but {found}; the private key belongs here")]
    NoKey {
        /// What is there instead.
        found: String,
    },
    /// The form is PEM, but damaged.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// Neither PKCS #8, PKCS #1 nor SEC 1.
    #[error(
        "the private key cannot be read: neither PKCS #8, PKCS #1 (RSA) nor SEC 1 (EC on P-256, P-384, P-521)"
    )]
    Unreadable,
    /// Its numbers do not belong together.
    #[error("the RSA private key is damaged: its numbers do not belong together")]
    Inconsistent,
    /// The size is not allowed.
    #[error(transparent)]
    Size(#[from] PublicKeyError),
}

/// Why a public key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PublicKeyError {
    /// Too small to be safe.
    #[error(
        "an RSA key of {0} bits is too small to be safe; at least 1024 are needed and 2048 or more advised: \
         make a new key and certificate"
    )]
    TooSmall(usize),
    /// So large that it would only cost time.
    #[error("an RSA key of {0} bits is too large; at most 8192 are taken")]
    TooLarge(usize),
    /// The public exponent is 0, 1, even or huge, or the modulus is even.
    #[error(
        "the RSA public key is unsound: its exponent has to be odd, at least 3 and below 2^33, its modulus odd"
    )]
    Unsound,
    /// An algorithm that IKE has no use for.
    #[error("keys of the algorithm {0} cannot be used; RSA and ECDSA on P-256, P-384 and P-521 can")]
    Algorithm(String),
    /// Not a public key.
    #[error("the public key cannot be read")]
    Unreadable,
}

/// Why nothing was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SignError {
    /// The hash has another length than the key's curve wants.
    #[error("a hash of {found} bytes does not fit the key, which signs {expected}")]
    Length {
        /// Length of the hash.
        found: usize,
        /// What the curve takes.
        expected: usize,
    },
    /// The library refused.
    #[error("the signature could not be made")]
    Failed,
}

/// The signature was not made with this key for this hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SignatureError {
    /// Signatures of the key have another length.
    #[error("the signature has {found} bytes, those of the key have {expected}")]
    Length {
        /// Bytes that came.
        found: usize,
        /// Bytes of the modulus, or of r and s.
        expected: usize,
    },
    /// It is another's, or for something else.
    #[error("the signature is wrong: it was made with another key or for other data")]
    Wrong,
}

/// A private key for signatures. Copies share it; the last one wipes it.
#[derive(Clone)]
pub struct SigningKey(Arc<Private>);

enum Private {
    Rsa(Box<rsa::PrivateKey>),
    Ecdsa(Curve, EcdsaKeyPair),
}

impl SigningKey {
    /// Reads a file's contents: PEM or DER, PKCS #8, PKCS #1 or SEC 1.
    pub fn read(bytes: &[u8]) -> Result<Self, PrivateKeyError> {
        if !pem::is_pem(bytes) {
            return Self::from_der(bytes);
        }
        let blocks = pem::blocks(bytes)?;
        let Some(block) = blocks.iter().find(|block| block.label.ends_with("PRIVATE KEY")) else {
            let labels: Vec<&str> = blocks.iter().map(|block| block.label.as_str()).collect();
            let found = if labels.is_empty() { "nothing".to_owned() } else { labels.join(", ") };
            return Err(PrivateKeyError::NoKey { found });
        };
        if block.encrypted || block.label == "ENCRYPTED PRIVATE KEY" {
            return Err(PrivateKeyError::Encrypted);
        }
        Self::from_der(&block.der)
    }

    fn from_der(der: &[u8]) -> Result<Self, PrivateKeyError> {
        if is_encrypted(der) {
            return Err(PrivateKeyError::Encrypted);
        }
        let ecdsa =
            |curve: Curve| Some((curve, EcdsaKeyPair::from_private_key_der(curve.signing(), der).ok()?));
        if let Some((curve, pair)) = Curve::ALL.into_iter().find_map(ecdsa) {
            return Ok(Self(Arc::new(Private::Ecdsa(curve, pair))));
        }
        let inner = match PrivateKeyInfoRef::from_der(der) {
            Ok(info) if info.algorithm.oid == RSA_ENCRYPTION => info.private_key.as_bytes(),
            Ok(info) => return Err(PublicKeyError::Algorithm(info.algorithm.oid.to_string()).into()),
            Err(_) => der,
        };
        let numbers =
            RsaPrivateKey::<UintRef<'_>>::from_der(inner).map_err(|_| PrivateKeyError::Unreadable)?;
        let (modulus, exponent) = (numbers.modulus.as_bytes(), numbers.public_exponent.as_bytes());
        check_rsa(&number(modulus)?, &number(exponent)?)?;
        let key = rsa::PrivateKey::from_pkcs1_der(inner).map_err(|_| PrivateKeyError::Inconsistent)?;
        key.validate().map_err(|_| PrivateKeyError::Inconsistent)?;
        Ok(Self(Arc::new(Private::Rsa(Box::new(key)))))
    }

    /// What it is.
    pub fn kind(&self) -> KeyKind {
        match &*self.0 {
            Private::Rsa(key) => KeyKind::Rsa(bits(key.n().as_ref())),
            Private::Ecdsa(curve, _) => KeyKind::Ecdsa(*curve),
        }
    }

    /// Whether `public` is its other half.
    pub fn belongs_to(&self, public: &VerifyingKey) -> bool {
        match (&*self.0, &public.0) {
            (Private::Rsa(own), Public::Rsa(other)) => own.n() == other.n() && own.e() == other.e(),
            (Private::Ecdsa(own, pair), Public::Ecdsa(other, point)) => {
                own == other && pair.public_key().as_ref() == point.as_slice()
            }
            _ => false,
        }
    }

    /// Signs HASH_I or HASH_R. RSA takes some milliseconds. `random` blinds the RSA operation.
    pub fn sign(&self, hash: &[u8], random: &mut dyn RandomSource) -> Result<Vec<u8>, SignError> {
        match &*self.0 {
            Private::Rsa(key) => {
                let mut seed = Zeroizing::new([0; 32]);
                random.fill(seed.as_mut());
                let mut blinding = ChaCha20Rng::from_seed(*seed);
                key.sign_with_rng(&mut blinding, Pkcs1v15Sign::new_unprefixed(), hash)
                    .map_err(|_| SignError::Failed)
            }
            Private::Ecdsa(curve, pair) => {
                let expected = curve.hash().output_len();
                let wrong = SignError::Length { found: hash.len(), expected };
                let digest = curve.digest(hash).ok_or(wrong)?;
                pair.sign_digest(&digest)
                    .map(|signature| signature.as_ref().to_vec())
                    .map_err(|_| SignError::Failed)
            }
        }
    }
}

/// Two are the same when their public halves are.
impl PartialEq for SigningKey {
    fn eq(&self, other: &Self) -> bool {
        match (&*self.0, &*other.0) {
            (Private::Rsa(own), Private::Rsa(other)) => own.n() == other.n() && own.e() == other.e(),
            (Private::Ecdsa(_, own), Private::Ecdsa(_, other)) => {
                own.public_key().as_ref() == other.public_key().as_ref()
            }
            _ => false,
        }
    }
}

impl Eq for SigningKey {}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.kind())
    }
}

/// A public key for signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyingKey(Public);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Public {
    Rsa(Box<rsa::PublicKey>),
    Ecdsa(Curve, Vec<u8>),
}

impl VerifyingKey {
    /// Reads a SubjectPublicKeyInfo, as certificates hold it.
    pub fn from_spki(der: &[u8]) -> Result<Self, PublicKeyError> {
        let spki = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| PublicKeyError::Unreadable)?;
        let bytes = spki.subject_public_key.as_bytes().ok_or(PublicKeyError::Unreadable)?;
        match spki.algorithm.oid {
            RSA_ENCRYPTION => {
                let key =
                    RsaPublicKey::<UintRef<'_>>::from_der(bytes).map_err(|_| PublicKeyError::Unreadable)?;
                let (modulus, exponent) =
                    (number(key.modulus.as_bytes())?, number(key.public_exponent.as_bytes())?);
                check_rsa(&modulus, &exponent)?;
                let key =
                    rsa::PublicKey::new_with_size_limits(modulus, exponent, MIN_RSA_BITS..=MAX_RSA_BITS);
                Ok(Self(Public::Rsa(Box::new(key.map_err(|_| PublicKeyError::Unsound)?))))
            }
            EC_PUBLIC_KEY => {
                let named = spki.algorithm.parameters.and_then(|any: AnyRef<'_>| any.decode_as().ok());
                let curve =
                    named.and_then(|oid: ObjectIdentifier| Curve::ALL.into_iter().find(|c| c.oid() == oid));
                let curve = curve.ok_or_else(|| PublicKeyError::Algorithm("EC on another curve".into()))?;
                if UnparsedPublicKey::new(curve.verifying(), bytes).parse().is_err() {
                    return Err(PublicKeyError::Unreadable);
                }
                Ok(Self(Public::Ecdsa(curve, bytes.to_vec())))
            }
            other => Err(PublicKeyError::Algorithm(other.to_string())),
        }
    }

    /// What it is.
    pub fn kind(&self) -> KeyKind {
        match &self.0 {
            Public::Rsa(key) => KeyKind::Rsa(bits(key.n().as_ref())),
            Public::Ecdsa(curve, _) => KeyKind::Ecdsa(*curve),
        }
    }

    /// Checks a signature of HASH_I or HASH_R. The whole block is compared, so that the signed hash has exactly the
    /// length of `hash` and nothing stands around it.
    pub fn verify(&self, hash: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        match &self.0 {
            Public::Rsa(key) => {
                let expected = key.size();
                if signature.len() != expected {
                    return Err(SignatureError::Length { found: signature.len(), expected });
                }
                key.verify(Pkcs1v15Sign::new_unprefixed(), hash, signature).map_err(|_| SignatureError::Wrong)
            }
            Public::Ecdsa(curve, point) => {
                let expected = curve.signature_len();
                if signature.len() != expected {
                    return Err(SignatureError::Length { found: signature.len(), expected });
                }
                let digest = curve.digest(hash).ok_or(SignatureError::Wrong)?;
                UnparsedPublicKey::new(curve.verifying(), point)
                    .verify_digest(&digest, signature)
                    .map_err(|_| SignatureError::Wrong)
            }
        }
    }
}

/// Whether this is PKCS #8's EncryptedPrivateKeyInfo: an algorithm and what it made of the key.
fn is_encrypted(der: &[u8]) -> bool {
    let read = |reader: &mut SliceReader<'_>| {
        AlgorithmIdentifierRef::decode(reader)?;
        <&OctetStringRef>::decode(reader).map(|_| ())
    };
    SliceReader::new(der).is_ok_and(|mut reader| reader.sequence(read).is_ok())
}

/// A number of a key, when it is not absurdly long.
fn number(bytes: &[u8]) -> Result<BoxedUint, PublicKeyError> {
    if bytes.len() > MAX_RSA_BITS / 8 {
        return Err(PublicKeyError::TooLarge(bytes.len().saturating_mul(8)));
    }
    Ok(BoxedUint::from_be_slice_vartime(bytes))
}

fn bits(modulus: &BoxedUint) -> usize {
    usize::try_from(modulus.bit_width_vartime()).unwrap_or(usize::MAX)
}

/// Sizes and forms that are safe to calculate with.
fn check_rsa(modulus: &BoxedUint, exponent: &BoxedUint) -> Result<(), PublicKeyError> {
    let size = bits(modulus);
    if size < MIN_RSA_BITS {
        return Err(PublicKeyError::TooSmall(size));
    }
    if size > MAX_RSA_BITS {
        return Err(PublicKeyError::TooLarge(size));
    }
    let odd = |number: &BoxedUint| bool::from(number.is_odd());
    let range = 2..=33;
    if !odd(modulus) || !odd(exponent) || !range.contains(&exponent.bit_width_vartime()) {
        return Err(PublicKeyError::Unsound);
    }
    Ok(())
}

/// A SubjectPublicKeyInfo of an RSA key with these numbers, for tests of unsound keys.
#[cfg(test)]
pub(crate) fn rsa_spki(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    use der::Encode;
    use der::asn1::BitStringRef;
    let key = RsaPublicKey {
        modulus: UintRef::new(modulus).unwrap(),
        public_exponent: UintRef::new(exponent).unwrap(),
    };
    let key = key.to_der().unwrap();
    let algorithm = AlgorithmIdentifierRef { oid: RSA_ENCRYPTION, parameters: Some(AnyRef::NULL) };
    let subject_public_key = BitStringRef::from_bytes(&key).unwrap();
    SubjectPublicKeyInfoRef { algorithm, subject_public_key }.to_der().unwrap()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{KeyPair as Made, RsaKeySize};

    use super::*;
    use crate::SeededRandom;

    fn rsa() -> &'static Made {
        use std::sync::OnceLock;
        static KEY: OnceLock<Made> = OnceLock::new();
        KEY.get_or_init(|| Made::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap())
    }

    fn both(made: &Made) -> (SigningKey, VerifyingKey) {
        use rcgen::PublicKeyData;
        let public = VerifyingKey::from_spki(&made.subject_public_key_info()).unwrap();
        (SigningKey::read(made.serialized_der()).unwrap(), public)
    }

    #[test]
    fn rsa_round_trip_in_all_forms() {
        let (key, public) = both(rsa());
        assert_eq!(key.kind(), KeyKind::Rsa(2048));
        assert!(key.belongs_to(&public));
        assert_eq!(format!("{key:?}"), "SigningKey(RSA key of 2048 bits)");
        for len in [16, 20, 32, 64] {
            let hash = vec![7; len];
            let signature = key.sign(&hash, &mut SeededRandom::new(1)).unwrap();
            public.verify(&hash, &signature).unwrap();
            assert_eq!(
                signature,
                key.sign(&hash, &mut SeededRandom::new(2)).unwrap(),
                "blinding does not show"
            );
        }
        let pkcs8 = rsa().serialized_der();
        let pkcs1 = PrivateKeyInfoRef::from_der(pkcs8).unwrap().private_key.as_bytes().to_vec();
        let pem = |label: &str, der: &[u8]| {
            use base64ct::{Base64, Encoding};
            format!(
                "some text\n-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
                Base64::encode_string(der)
            )
        };
        for text in [pem("PRIVATE KEY", pkcs8), pem("RSA PRIVATE KEY", &pkcs1)] {
            assert!(SigningKey::read(text.as_bytes()).unwrap().belongs_to(&public));
        }
        assert!(SigningKey::read(&pkcs1).unwrap().belongs_to(&public));
    }

    #[test]
    fn ecdsa_round_trip_on_every_curve() {
        let made = [
            (&rcgen::PKCS_ECDSA_P256_SHA256, Curve::P256),
            (&rcgen::PKCS_ECDSA_P384_SHA384, Curve::P384),
            (&rcgen::PKCS_ECDSA_P521_SHA512, Curve::P521),
        ];
        for (algorithm, curve) in made {
            let (key, public) = both(&Made::generate_for(algorithm).unwrap());
            assert_eq!(key.kind(), KeyKind::Ecdsa(curve));
            assert!(key.belongs_to(&public) && !key.belongs_to(&both(rsa()).1));
            let hash = vec![9; curve.hash().output_len()];
            let signature = key.sign(&hash, &mut SeededRandom::new(1)).unwrap();
            assert_eq!(signature.len(), curve.signature_len());
            public.verify(&hash, &signature).unwrap();
            let expected = curve.hash().output_len();
            let wrong = SignError::Length { found: 20, expected };
            assert_eq!(key.sign(&[9; 20], &mut SeededRandom::new(1)), Err(wrong));
            assert_eq!(public.verify(&[9; 20], &signature), Err(SignatureError::Wrong));
        }
    }

    /// CVE-2013-2944, CVE-2012-2388, CVE-2018-17540: nothing degenerate passes.
    #[test]
    fn degenerate_signatures_are_refused() {
        let p256 = Made::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let hash = [3; 32];
        for (key, public) in [both(rsa()), both(&p256)] {
            let good = key.sign(&hash, &mut SeededRandom::new(1)).unwrap();
            let mut bad = vec![Vec::new(), vec![0; good.len()], vec![0xff; good.len()], vec![0; 1]];
            bad.push(good.iter().copied().chain([0]).collect());
            bad.push([0].into_iter().chain(good.iter().copied()).collect());
            bad.push(good[1..].to_vec());
            if let Public::Rsa(numbers) = &public.0 {
                bad.push(numbers.n_bytes().to_vec());
            }
            bad.extend([0, good.len() / 2, good.len() - 1].map(|at| {
                let mut flipped = good.clone();
                flipped[at] ^= 1;
                flipped
            }));
            for signature in bad {
                assert!(public.verify(&hash, &signature).is_err(), "{signature:02x?}");
            }
            assert_eq!(public.verify(&[4; 32], &good), Err(SignatureError::Wrong));
        }
    }

    /// CVE-2026-50721 and -50722: a signature around a hash of another length, longer or shorter, even one that begins
    /// or ends as the right one does.
    #[test]
    fn cve_2026_50721_signed_hash_of_another_length() {
        let (key, public) = both(rsa());
        let hash = [5; 20];
        for signed in [&[5; 19][..], &[5; 21], &[5; 64], &[5; 200], &[]] {
            let signature = key.sign(signed, &mut SeededRandom::new(1)).unwrap();
            assert_eq!(
                public.verify(&hash, &signature),
                Err(SignatureError::Wrong),
                "{} bytes",
                signed.len()
            );
        }
    }

    /// CVE-2018-16151, CVE-2018-16152, CVE-2018-15836: with exponent 3, a block that begins well and ends in junk is
    /// easy to make without the key. A cube root of such a block must not pass.
    #[test]
    fn cve_2018_16151_junk_around_the_hash() {
        // Modulus 2^2047 + 1, which makes every cube below it its own signature block.
        let mut modulus = [0; 256];
        modulus[0] = 0x80;
        modulus[255] = 1;
        let public = VerifyingKey::from_spki(&rsa_spki(&modulus, &[3])).unwrap();
        // 00 01 ff… needs about 2^2033; its cube root rounded up has the same leading bytes.
        let mut root = [0; 256];
        root[256 - 85..].fill(0x7f);
        assert!(public.verify(&[5; 20], &root).is_err());
        assert!(public.verify(&[], &[0; 256]).is_err());
    }

    /// CVE-2017-9022, CVE-2017-11185: keys that no calculation should be done with.
    #[test]
    fn unsound_public_keys_are_refused() {
        let good = [0xc1; 256];
        let mut even = good;
        even[255] = 0xc0;
        let refused =
            |modulus: &[u8], exponent: &[u8]| VerifyingKey::from_spki(&rsa_spki(modulus, exponent)).err();
        assert_eq!(refused(&good, &[1, 0, 1]), None);
        for exponent in [&[0][..], &[1], &[2], &[1, 0, 0], &[1; 6]] {
            assert_eq!(refused(&good, exponent), Some(PublicKeyError::Unsound), "{exponent:?}");
        }
        assert_eq!(refused(&even, &[3]), Some(PublicKeyError::Unsound));
        assert_eq!(refused(&good[..64], &[3]), Some(PublicKeyError::TooSmall(512)));
        assert_eq!(refused(&[0xc1; 1024 + 8], &[3]), Some(PublicKeyError::TooLarge(8256)));
    }

    /// `openssl genrsa -aes128` and `openssl pkcs8 -topk8` make these.
    #[test]
    fn encrypted_keys_are_refused_with_advice() {
        let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n\
                   -----END RSA PRIVATE KEY-----\n";
        let new = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        for text in [old, new] {
            let error = SigningKey::read(text.as_bytes()).unwrap_err();
            assert_eq!(error, PrivateKeyError::Encrypted);
            assert!(error.to_string().contains("openssl pkey -in FILE -out NEWFILE"));
        }
        let certificate = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let found = "CERTIFICATE".to_owned();
        assert_eq!(SigningKey::read(certificate).unwrap_err(), PrivateKeyError::NoKey { found });
        let der = [0x30, 0x0f, 0x30, 0x0b, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 5, 13, 4, 0];
        assert_eq!(SigningKey::read(&der).unwrap_err(), PrivateKeyError::Encrypted);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn damaged_keys_never_panic(at in 0usize..1200, new: u8) {
            let mut der = rsa().serialized_der().to_vec();
            if let Some(byte) = der.get_mut(at) {
                *byte = new;
            }
            let _ = SigningKey::read(&der);
        }

        #[test]
        fn damaged_public_keys_never_panic(at in 0usize..294, new: u8, signature in prop::collection::vec(any::<u8>(), 256)) {
            use rcgen::PublicKeyData;
            let mut der = rsa().subject_public_key_info();
            if let Some(byte) = der.get_mut(at) {
                *byte = new;
            }
            if let Ok(key) = VerifyingKey::from_spki(&der) {
                prop_assert!(key.verify(&[1; 20], &signature).is_err());
            }
        }
    }
}
