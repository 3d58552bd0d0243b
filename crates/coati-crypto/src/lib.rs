//! The only door to the crypto libraries: ciphers, hashes, PRFs, Diffie-Hellman groups, keys that wipe themselves.

#![forbid(unsafe_code)]
