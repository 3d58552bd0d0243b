//! The only door to the crypto libraries: ciphers, hashes, PRFs, Diffie-Hellman groups, signatures, certificates,
//! keys that wipe themselves.
//!
//! Symmetric primitives are aws-lc-rs' (AES, 3DES, ChaCha20-Poly1305, HMAC, SHA), MODP exponentiation is that of aws-lc below it, in
//! constant time (`modexp`, the only unsafe code here); RSA is the `rsa` crate's. Certificates are read by x509-cert and judged here. MD5 is here for what the wire demands of it (vendor ids)
//! and for peers that know nothing else.

#![deny(unsafe_code)]

pub mod aead;
pub mod cbc;
pub mod ctr;
pub mod dh;
pub mod hash;
pub mod mac;
mod modexp;
pub mod password;
mod pem;
mod primes;
mod random;
pub mod sign;
pub mod x509;
pub mod xcbc;

pub use random::{FastRandom, RandomSource, SeededRandom, SystemRandom};
pub use zeroize::Zeroizing;

/// Compares in time that depends on the lengths only.
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    use subtle::ConstantTimeEq;
    a.ct_eq(b).into()
}
