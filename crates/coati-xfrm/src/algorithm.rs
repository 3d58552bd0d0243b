//! The kernel's names of algorithms, and the modules that have them.

use coati_sadb::{AuthAlgorithm, EncAlgorithm, Sa};

/// The kernel's name of a cipher that only encrypts, and its module.
const CIPHERS: &[(EncAlgorithm, &str, &str)] = &[
    (EncAlgorithm::AesCbc, "cbc(aes)", "cbc"),
    (EncAlgorithm::TripleDesCbc, "cbc(des3_ede)", "des_generic"),
    (EncAlgorithm::Null, "ecb(cipher_null)", "crypto_null"),
    (EncAlgorithm::AesCtr, "rfc3686(ctr(aes))", "ctr"),
];

/// The same for those that authenticate too, with the bits of their integrity check value.
const AEADS: &[(EncAlgorithm, &str, &str, u32)] = &[
    (EncAlgorithm::AesGcm16, "rfc4106(gcm(aes))", "gcm, ctr, ghash-generic, seqiv", 128),
    (
        EncAlgorithm::ChaCha20Poly1305,
        "rfc7539esp(chacha20,poly1305)",
        "chacha20poly1305, chacha_generic, poly1305_generic, seqiv",
        128,
    ),
];

/// The same for integrity.
const HASHES: &[(AuthAlgorithm, &str, &str)] = &[
    (AuthAlgorithm::HmacSha1, "hmac(sha1)", "hmac, sha1_generic"),
    (AuthAlgorithm::HmacSha256, "hmac(sha256)", "hmac, sha256_generic"),
    (AuthAlgorithm::HmacSha256Cut96, "hmac(sha256)", "hmac, sha256_generic"),
    (AuthAlgorithm::HmacSha384, "hmac(sha384)", "hmac, sha512_generic"),
    (AuthAlgorithm::HmacSha512, "hmac(sha512)", "hmac, sha512_generic"),
    (AuthAlgorithm::HmacMd5, "hmac(md5)", "hmac, md5"),
    (AuthAlgorithm::AesXcbcMac, "xcbc(aes)", "xcbc"),
];

/// Modules that every SA needs for its initialisation vector.
pub(crate) const ALWAYS: &str = "authenc, echainiv, drbg, jitterentropy_rng";

/// A cipher by the kernel's name.
pub(crate) fn cipher_name(algorithm: EncAlgorithm) -> Option<&'static str> {
    CIPHERS.iter().find(|(known, ..)| *known == algorithm).map(|(_, name, _)| *name)
}

/// An AEAD's name and the bits of its integrity check value.
pub(crate) fn aead_name(algorithm: EncAlgorithm) -> Option<(&'static str, u32)> {
    AEADS.iter().find(|(known, ..)| *known == algorithm).map(|(_, name, _, bits)| (*name, *bits))
}

/// The name of an integrity algorithm, and the bits that are sent.
pub(crate) fn hash_name(algorithm: AuthAlgorithm) -> Option<(&'static str, u32)> {
    let bits = u32::try_from(algorithm.icv_len() * 8).unwrap_or(0);
    HASHES.iter().find(|(known, ..)| *known == algorithm).map(|(_, name, _)| (*name, bits))
}

/// The cipher of this name.
pub(crate) fn cipher(name: &str) -> Option<EncAlgorithm> {
    // The null cipher is shown by its short name when it was asked for by that.
    let name = if name == "cipher_null" { "ecb(cipher_null)" } else { name };
    CIPHERS.iter().find(|(_, known, _)| *known == name).map(|(algorithm, ..)| *algorithm)
}

/// The AEAD of this name and length of its integrity check value.
pub(crate) fn aead(name: &str, bits: u32) -> Option<EncAlgorithm> {
    AEADS.iter().find(|(_, known, _, icv)| *known == name && *icv == bits).map(|(algorithm, ..)| *algorithm)
}

/// The integrity algorithm of this name that sends so many bits.
pub(crate) fn hash(name: &str, bits: u32) -> Option<AuthAlgorithm> {
    let fits = |algorithm: &AuthAlgorithm| hash_name(*algorithm) == Some((name, bits));
    HASHES.iter().map(|(algorithm, ..)| *algorithm).find(fits)
}

/// The modules that this SA needs.
pub(crate) fn modules(sa: &Sa) -> String {
    let cipher = CIPHERS.iter().find(|(known, ..)| *known == sa.enc).map(|(_, _, module)| *module);
    let aead = AEADS.iter().find(|(known, ..)| *known == sa.enc).map(|(_, _, module, _)| *module);
    let hash = HASHES.iter().find(|(known, ..)| *known == sa.auth).map(|(_, _, module)| *module);
    let esn = (sa.esn && !sa.enc.is_aead()).then_some("authencesn");
    let list: Vec<&str> = [Some(ALWAYS), esn, cipher, aead, hash].into_iter().flatten().collect();
    list.join(", ")
}
