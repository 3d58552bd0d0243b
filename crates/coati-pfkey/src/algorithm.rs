//! The numbers of algorithms in PF_KEY. Those that are here are the same in `<linux/pfkeyv2.h>` and in the BSDs'
//! `<net/pfkeyv2.h>`; what lies behind them is not.

use coati_sadb::{AuthAlgorithm, EncAlgorithm};
use coati_wire::pfkey::{Layout, auth, encrypt};

const CIPHERS: [(EncAlgorithm, u8); 6] = [
    (EncAlgorithm::TripleDesCbc, encrypt::TRIPLE_DES_CBC),
    (EncAlgorithm::Null, encrypt::NULL),
    (EncAlgorithm::AesCbc, encrypt::AES_CBC),
    (EncAlgorithm::AesCtr, encrypt::AES_CTR),
    (EncAlgorithm::AesGcm16, encrypt::AES_GCM_16),
    (EncAlgorithm::ChaCha20Poly1305, encrypt::CHACHA20_POLY1305),
];

const HASHES: [(AuthAlgorithm, u8); 6] = [
    (AuthAlgorithm::None, auth::NONE),
    (AuthAlgorithm::HmacMd5, auth::MD5_HMAC),
    (AuthAlgorithm::HmacSha1, auth::SHA1_HMAC),
    (AuthAlgorithm::HmacSha384, auth::SHA384_HMAC),
    (AuthAlgorithm::HmacSha512, auth::SHA512_HMAC),
    (AuthAlgorithm::AesXcbcMac, auth::AES_XCBC_MAC),
];

/// Which HMAC-SHA-256 this kernel has under that number: Linux takes 12 bytes of it, as a draft said.
fn sha256(layout: Layout) -> AuthAlgorithm {
    match layout {
        Layout::Linux => AuthAlgorithm::HmacSha256Cut96,
        Layout::FreeBsd | Layout::NetBsd => AuthAlgorithm::HmacSha256,
    }
}

/// The number of a cipher, when this kernel has it.
pub(crate) fn cipher_number(layout: Layout, algorithm: EncAlgorithm) -> Option<u8> {
    // Linux has it, but not for af_key.
    let is_there = layout != Layout::Linux || !algorithm.is_aead();
    CIPHERS.into_iter().find(|(known, _)| *known == algorithm && is_there).map(|(_, number)| number)
}

/// The number of an integrity algorithm, when this kernel has it.
pub(crate) fn hash_number(layout: Layout, algorithm: AuthAlgorithm) -> Option<u8> {
    if algorithm == sha256(layout) {
        return Some(auth::SHA256_HMAC);
    }
    HASHES.into_iter().find(|(known, _)| *known == algorithm).map(|(_, number)| number)
}

/// The cipher of this number; 0 is none, as AH has it.
pub(crate) fn cipher(number: u8) -> Option<EncAlgorithm> {
    if number == encrypt::NONE { Some(EncAlgorithm::Null) } else { crate::value(&CIPHERS, number) }
}

/// The integrity algorithm of this number.
pub(crate) fn hash(layout: Layout, number: u8) -> Option<AuthAlgorithm> {
    if number == auth::SHA256_HMAC { Some(sha256(layout)) } else { crate::value(&HASHES, number) }
}
