//! The names of algorithms in both dialects, with what we do of them.

use coati_sadb::{AuthAlgorithm, EncAlgorithm};

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found<T> {
    /// One that we have.
    Ours(T),
    /// One that we do not have, and the name of what to use instead.
    Instead(&'static str),
}

/// An encryption algorithm.
pub(super) fn encryption(name: &str) -> Option<Found<EncAlgorithm>> {
    if let Some(ours) = EncAlgorithm::from_setkey_name(name) {
        return Some(Found::Ours(ours));
    }
    match name {
        "des-cbc" | "des-deriv" | "des-32iv" | "blowfish-cbc" | "cast128-cbc" | "rc5-cbc" | "twofish-cbc"
        | "camellia-cbc" => Some(Found::Instead("aes-cbc")),
        "simple" => Some(Found::Instead("null")),
        _ => None,
    }
}

/// An authentication algorithm. `null` is none at all, which is right beside a cipher that authenticates.
pub(super) fn authentication(name: &str) -> Option<Found<AuthAlgorithm>> {
    match name {
        "null" => Some(Found::Ours(AuthAlgorithm::None)),
        "keyed-md5" | "keyed-sha1" | "hmac-ripemd160" | "tcp-md5" => Some(Found::Instead("hmac-sha256")),
        "chacha20-poly1305" => Some(Found::Instead("-E chacha20-poly1305 without -A")),
        _ => AuthAlgorithm::from_setkey_name(name).map(Found::Ours),
    }
}

/// Whether there is a compression algorithm of this name: only DEFLATE was ever of use (RFC 2394).
pub(super) fn is_compression(name: &str) -> bool {
    ["oui", "deflate", "lzs"].contains(&name)
}

/// All names, for advice: ours first.
pub(super) fn encryption_names() -> Vec<&'static str> {
    EncAlgorithm::ALL.iter().map(|ours| ours.setkey_name()).chain(["rijndael-cbc"]).collect()
}

/// As [`encryption_names`].
pub(super) fn authentication_names() -> Vec<&'static str> {
    let ours = AuthAlgorithm::ALL.iter().filter(|ours| **ours != AuthAlgorithm::None);
    let ours = ours.map(|ours| ours.setkey_name());
    ours.chain(["hmac-sha2-256", "hmac-sha2-384", "hmac-sha2-512", "null"]).collect()
}
