//! The algorithms of racoon.conf: what each name means, its number on the wire, and what became of the others.
//!
//! Numbers are those of RFC 2409 appendix A (phase 1), RFC 2407 section 4.4 (phase 2) and the registries they began.

use std::fmt;

use coati_sadb::{AuthAlgorithm, EncAlgorithm};

/// `encryption_algorithm` of a `proposal`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase1Cipher {
    /// `aes`: CBC with a key of so many bits.
    Aes(u16),
    /// `3des`.
    TripleDes,
}

impl Phase1Cipher {
    /// Names; `aes` takes the bits of its key.
    pub(super) const NAMES: [(&'static str, Self); 3] =
        [("aes", Self::Aes(128)), ("rijndael", Self::Aes(128)), ("3des", Self::TripleDes)];

    /// Names that racoon knew.
    pub(super) const GONE: [(&'static str, &'static str); 6] = [
        ("des", "its keys of 56 bits are found by trying"),
        ("idea", "hardly any peer has it"),
        ("blowfish", "its blocks of 64 bits collide (SWEET32)"),
        ("rc5", "hardly any peer has it"),
        ("cast128", "its blocks of 64 bits collide (SWEET32)"),
        ("camellia", "it is not built into Coati"),
    ];

    /// The name that is written for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aes(_) => "aes",
            Self::TripleDes => "3des",
        }
    }

    /// Encryption algorithm, attribute 1 of phase 1.
    pub fn wire_id(self) -> u16 {
        match self {
            Self::TripleDes => 5,
            Self::Aes(_) => 7,
        }
    }

    /// Bits of a key whose length varies.
    pub fn key_bits(self) -> Option<u16> {
        match self {
            Self::Aes(bits) => Some(bits),
            Self::TripleDes => None,
        }
    }
}

impl fmt::Display for Phase1Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        named_with_bits(f, self.name(), self.key_bits())
    }
}

/// `hash_algorithm` of a `proposal`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase1Hash {
    /// `md5`.
    Md5,
    /// `sha1`.
    Sha1,
    /// `sha256`.
    Sha256,
    /// `sha384`.
    Sha384,
    /// `sha512`.
    Sha512,
}

impl Phase1Hash {
    /// Names, those that are written first.
    pub(super) const NAMES: [(&'static str, Self); 8] = [
        ("md5", Self::Md5),
        ("sha1", Self::Sha1),
        ("sha256", Self::Sha256),
        ("sha384", Self::Sha384),
        ("sha512", Self::Sha512),
        ("sha2_256", Self::Sha256),
        ("sha2_384", Self::Sha384),
        ("sha2_512", Self::Sha512),
    ];

    /// Names that racoon knew.
    pub(super) const GONE: [(&'static str, &'static str); 1] = [("tiger", "hardly any peer has it")];

    /// The name that is written for it.
    pub fn name(self) -> &'static str {
        name_in(&Self::NAMES, self)
    }

    /// Hash algorithm, attribute 2 of phase 1.
    pub fn wire_id(self) -> u16 {
        match self {
            Self::Md5 => 1,
            Self::Sha1 => 2,
            Self::Sha256 => 4,
            Self::Sha384 => 5,
            Self::Sha512 => 6,
        }
    }
}

impl fmt::Display for Phase1Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `authentication_method` of a `proposal`. A client is who logs in, a server whom is logged in to, whoever begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuthMethod {
    /// `pre_shared_key`.
    PreSharedKey,
    /// `rsasig`: RSA signatures.
    RsaSig,
    /// `ecdsasig`: ECDSA signatures (RFC 4754). racoon has no name for it; the curve is that of the certificate.
    EcdsaSig,
    /// `hybrid_rsa_client`: the server signs, the client only logs in.
    HybridRsaClient,
    /// `hybrid_rsa_server`.
    HybridRsaServer,
    /// `xauth_psk_client`: a pre-shared key, then the client logs in.
    XauthPskClient,
    /// `xauth_psk_server`.
    XauthPskServer,
    /// `xauth_rsa_client`: RSA signatures, then the client logs in.
    XauthRsaClient,
    /// `xauth_rsa_server`.
    XauthRsaServer,
}

impl AuthMethod {
    /// Names.
    pub(super) const NAMES: [(&'static str, Self); 9] = [
        ("pre_shared_key", Self::PreSharedKey),
        ("rsasig", Self::RsaSig),
        ("ecdsasig", Self::EcdsaSig),
        ("hybrid_rsa_client", Self::HybridRsaClient),
        ("hybrid_rsa_server", Self::HybridRsaServer),
        ("xauth_psk_client", Self::XauthPskClient),
        ("xauth_psk_server", Self::XauthPskServer),
        ("xauth_rsa_client", Self::XauthRsaClient),
        ("xauth_rsa_server", Self::XauthRsaServer),
    ];

    /// Names that racoon knew.
    pub(super) const GONE: [(&'static str, &'static str); 6] = [
        ("dsssig", "DSA was withdrawn (FIPS 186-5)"),
        ("rsaenc", "hardly any peer has it, and it can be attacked (CVE-2018-0131)"),
        ("rsarev", "hardly any peer has it, and it can be attacked (CVE-2018-0131)"),
        ("gssapi_krb", "GSS-API is not built into Coati"),
        ("hybrid_dss_client", "DSA was withdrawn (FIPS 186-5)"),
        ("hybrid_dss_server", "DSA was withdrawn (FIPS 186-5)"),
    ];

    /// The name that is written for it.
    pub fn name(self) -> &'static str {
        name_in(&Self::NAMES, self)
    }

    /// Authentication method, attribute 3 of phase 1, as racoon sends it; that of ECDSA with the curve P-256 (RFC 4754;
    /// P-384 is 10, P-521 is 11).
    pub fn wire_id(self) -> u16 {
        match self {
            Self::PreSharedKey => 1,
            Self::RsaSig => 3,
            Self::EcdsaSig => 9,
            Self::HybridRsaClient => 64_221,
            Self::HybridRsaServer => 64_222,
            Self::XauthPskClient => 65_001,
            Self::XauthPskServer => 65_002,
            Self::XauthRsaClient => 65_005,
            Self::XauthRsaServer => 65_006,
        }
    }

    /// Whether a pre-shared key proves who we are.
    pub fn uses_psk(self) -> bool {
        matches!(self, Self::PreSharedKey | Self::XauthPskClient | Self::XauthPskServer)
    }

    /// Whether we sign, so that `certificate_type` is needed.
    pub fn signs(self) -> bool {
        !self.uses_psk() && self != Self::HybridRsaClient
    }

    /// Whether the peer signs, so that its certificate has to be checked.
    pub fn peer_signs(self) -> bool {
        !self.uses_psk() && self != Self::HybridRsaServer
    }

    /// Whether we log in by name and password after phase 1.
    pub fn logs_in(self) -> bool {
        matches!(self, Self::HybridRsaClient | Self::XauthPskClient | Self::XauthRsaClient)
    }

    /// Whether the peer logs in to us.
    pub fn serves_logins(self) -> bool {
        matches!(self, Self::HybridRsaServer | Self::XauthPskServer | Self::XauthRsaServer)
    }
}

impl fmt::Display for AuthMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `dh_group` and `pfs_group`: by name or by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DhGroup {
    /// `modp1024` (RFC 2409 section 6.2).
    Modp1024,
    /// `modp1536` (RFC 3526, as those below).
    Modp1536,
    /// `modp2048`.
    Modp2048,
    /// `modp3072`.
    Modp3072,
    /// `modp4096`.
    Modp4096,
    /// `modp6144`.
    Modp6144,
    /// `modp8192`.
    Modp8192,
    /// `ecp256` (RFC 5903); racoon has no name for it, nor for those below.
    Ecp256,
    /// `ecp384`.
    Ecp384,
    /// `ecp521`.
    Ecp521,
    /// `x25519` (RFC 8031).
    X25519,
}

impl DhGroup {
    /// Names.
    pub(super) const NAMES: [(&'static str, Self); 11] = [
        ("modp1024", Self::Modp1024),
        ("modp1536", Self::Modp1536),
        ("modp2048", Self::Modp2048),
        ("modp3072", Self::Modp3072),
        ("modp4096", Self::Modp4096),
        ("modp6144", Self::Modp6144),
        ("modp8192", Self::Modp8192),
        ("ecp256", Self::Ecp256),
        ("ecp384", Self::Ecp384),
        ("ecp521", Self::Ecp521),
        ("x25519", Self::X25519),
    ];

    /// Names and numbers that racoon knew.
    pub(super) const GONE: [(&'static str, &'static str); 6] = [
        ("modp768", "its discrete logarithms were computed in 2016"),
        ("1", "its discrete logarithms were computed in 2016"),
        ("ec2n155", "racoon named it, and never had it"),
        ("3", "racoon named it, and never had it"),
        ("ec2n185", "racoon named it, and never had it"),
        ("4", "racoon named it, and never had it"),
    ];

    /// The name that is written for it.
    pub fn name(self) -> &'static str {
        name_in(&Self::NAMES, self)
    }

    /// Group description, attribute 4 of phase 1 and 3 of phase 2.
    pub fn number(self) -> u16 {
        match self {
            Self::Modp1024 => 2,
            Self::Modp1536 => 5,
            Self::Modp2048 => 14,
            Self::Modp3072 => 15,
            Self::Modp4096 => 16,
            Self::Modp6144 => 17,
            Self::Modp8192 => 18,
            Self::Ecp256 => 19,
            Self::Ecp384 => 20,
            Self::Ecp521 => 21,
            Self::X25519 => 31,
        }
    }

    /// Whether its discrete logarithms are within reach.
    pub fn is_weak(self) -> bool {
        self < Self::Modp2048
    }

    /// Whether it is an elliptic curve.
    pub fn is_curve(self) -> bool {
        self >= Self::Ecp256
    }
}

impl fmt::Display for DhGroup {
    /// The number, which every version reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}

/// `encryption_algorithm` of a `sainfo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EspCipher {
    /// `aes`: CBC with a key of so many bits.
    Aes(u16),
    /// `aes_gcm`: GCM with 16 bytes of ICV, and a key of so many bits. racoon has no name for it.
    AesGcm16(u16),
    /// `aes_ctr`: counter mode, with a key of so many bits. racoon has no name for it.
    AesCtr(u16),
    /// `chacha20_poly1305` (RFC 7634). racoon has no name for it.
    ChaCha20Poly1305,
    /// `3des`.
    TripleDes,
    /// `null_enc`.
    Null,
}

impl EspCipher {
    /// Names; the AES ones take the bits of their key.
    pub(super) const NAMES: [(&'static str, Self); 8] = [
        ("aes", Self::Aes(128)),
        ("rijndael", Self::Aes(128)),
        ("aes_gcm", Self::AesGcm16(128)),
        ("aes_ctr", Self::AesCtr(128)),
        ("chacha20_poly1305", Self::ChaCha20Poly1305),
        ("3des", Self::TripleDes),
        ("null_enc", Self::Null),
        ("null", Self::Null),
    ];

    /// Names that racoon knew.
    pub(super) const GONE: [(&'static str, &'static str); 11] = [
        ("des", "its keys of 56 bits are found by trying"),
        ("des_iv64", "its keys of 56 bits are found by trying"),
        ("des_iv32", "its keys of 56 bits are found by trying"),
        ("rc4", "it has no place in ESP, and is broken"),
        ("rc5", "hardly any peer has it"),
        ("idea", "hardly any peer has it"),
        ("3idea", "hardly any peer has it"),
        ("cast128", "its blocks of 64 bits collide (SWEET32)"),
        ("blowfish", "its blocks of 64 bits collide (SWEET32)"),
        ("twofish", "hardly any peer has it"),
        ("camellia", "it is not built into Coati"),
    ];

    /// The name that is written for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aes(_) => "aes",
            Self::AesGcm16(_) => "aes_gcm",
            Self::AesCtr(_) => "aes_ctr",
            Self::ChaCha20Poly1305 => "chacha20_poly1305",
            Self::TripleDes => "3des",
            Self::Null => "null_enc",
        }
    }

    /// ESP transform identifier. IKEv1 has none for ChaCha20-Poly1305: it is that of IKEv2.
    pub fn wire_id(self) -> u8 {
        match self {
            Self::TripleDes => 3,
            Self::Null => 11,
            Self::Aes(_) => 12,
            Self::AesCtr(_) => 13,
            Self::AesGcm16(_) => 20,
            Self::ChaCha20Poly1305 => 28,
        }
    }

    /// Bits of a key whose length varies.
    pub fn key_bits(self) -> Option<u16> {
        match self {
            Self::Aes(bits) | Self::AesGcm16(bits) | Self::AesCtr(bits) => Some(bits),
            Self::ChaCha20Poly1305 | Self::TripleDes | Self::Null => None,
        }
    }

    /// Whether it authenticates too, so that it needs no `authentication_algorithm`.
    pub fn is_aead(self) -> bool {
        matches!(self, Self::AesGcm16(_) | Self::ChaCha20Poly1305)
    }

    /// The same for the SAD, with the bits of the key; `None` when that has none of the kind.
    pub fn sadb(self) -> Option<(EncAlgorithm, u16)> {
        match self {
            Self::Aes(bits) => Some((EncAlgorithm::AesCbc, bits)),
            Self::AesGcm16(bits) => Some((EncAlgorithm::AesGcm16, bits)),
            Self::TripleDes => Some((EncAlgorithm::TripleDesCbc, 192)),
            Self::Null => Some((EncAlgorithm::Null, 0)),
            Self::AesCtr(bits) => Some((EncAlgorithm::AesCtr, bits)),
            // IKEv1 has no number for it.
            Self::ChaCha20Poly1305 => None,
        }
    }
}

impl fmt::Display for EspCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        named_with_bits(f, self.name(), self.key_bits())
    }
}

/// `authentication_algorithm` of a `sainfo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EspAuth {
    /// `hmac_md5`.
    HmacMd5,
    /// `hmac_sha1`.
    HmacSha1,
    /// `hmac_sha256`.
    HmacSha256,
    /// `hmac_sha256_96`, a name of ours: what peers have that cut HMAC-SHA-256 to 96 bits.
    HmacSha256Cut96,
    /// `hmac_sha384`.
    HmacSha384,
    /// `hmac_sha512`.
    HmacSha512,
}

impl EspAuth {
    /// Names, those that are written first.
    pub(super) const NAMES: [(&'static str, Self); 9] = [
        ("hmac_md5", Self::HmacMd5),
        ("hmac_sha1", Self::HmacSha1),
        ("hmac_sha256", Self::HmacSha256),
        ("hmac_sha384", Self::HmacSha384),
        ("hmac_sha512", Self::HmacSha512),
        ("hmac_sha256_96", Self::HmacSha256Cut96),
        ("hmac_sha2_256", Self::HmacSha256),
        ("hmac_sha2_384", Self::HmacSha384),
        ("hmac_sha2_512", Self::HmacSha512),
    ];

    /// Names that racoon knew.
    pub(super) const GONE: [(&'static str, &'static str); 3] = [
        ("des_mac", "hardly any peer has it"),
        ("kpdk", "hardly any peer has it"),
        ("non_auth", "without authentication packets can be forged and read"),
    ];

    /// The name that is written for it.
    pub fn name(self) -> &'static str {
        name_in(&Self::NAMES, self)
    }

    /// Authentication algorithm, attribute 5 of phase 2.
    pub fn wire_id(self) -> u16 {
        match self {
            Self::HmacMd5 => 1,
            Self::HmacSha1 => 2,
            Self::HmacSha256 | Self::HmacSha256Cut96 => 5,
            Self::HmacSha384 => 6,
            Self::HmacSha512 => 7,
        }
    }

    /// The same for the SAD; `None` when that has none of the kind.
    pub fn sadb(self) -> Option<AuthAlgorithm> {
        match self {
            Self::HmacMd5 => Some(AuthAlgorithm::HmacMd5),
            Self::HmacSha1 => Some(AuthAlgorithm::HmacSha1),
            Self::HmacSha256 => Some(AuthAlgorithm::HmacSha256),
            Self::HmacSha256Cut96 => Some(AuthAlgorithm::HmacSha256Cut96),
            Self::HmacSha384 => Some(AuthAlgorithm::HmacSha384),
            Self::HmacSha512 => Some(AuthAlgorithm::HmacSha512),
        }
    }
}

impl fmt::Display for EspAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `compression_algorithm` of a `sainfo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CompAlgorithm {
    /// `deflate` (RFC 2394).
    Deflate,
}

impl CompAlgorithm {
    /// Names.
    pub(super) const NAMES: [(&'static str, Self); 1] = [("deflate", Self::Deflate)];

    /// Names that racoon knew.
    pub(super) const GONE: [(&'static str, &'static str); 2] =
        [("oui", "hardly any peer has it"), ("lzs", "hardly any peer has it")];

    /// The name that is written for it.
    pub fn name(self) -> &'static str {
        "deflate"
    }

    /// IPComp transform identifier.
    pub fn wire_id(self) -> u8 {
        2
    }
}

impl fmt::Display for CompAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The first name of `wanted`.
fn name_in<T: PartialEq + Copy>(names: &[(&'static str, T)], wanted: T) -> &'static str {
    names.iter().find(|(_, value)| *value == wanted).map_or("", |(name, _)| name)
}

fn named_with_bits(f: &mut fmt::Formatter<'_>, name: &str, bits: Option<u16>) -> fmt::Result {
    match bits {
        Some(bits) => write!(f, "{name} {bits}"),
        None => f.write_str(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_algorithm_has_a_name_and_numbers_differ() {
        for (name, cipher) in EspCipher::NAMES {
            assert!(EspCipher::NAMES.contains(&(cipher.name(), cipher)), "{name}");
        }
        let mut numbers: Vec<u16> = DhGroup::NAMES.iter().map(|(_, group)| group.number()).collect();
        numbers.dedup();
        assert_eq!(numbers.len(), DhGroup::NAMES.len());
        assert_eq!(Phase1Cipher::Aes(256).to_string(), "aes 256");
        assert_eq!(Phase1Hash::Sha256.name(), "sha256");
        assert!(DhGroup::Modp1536.is_weak() && !DhGroup::Ecp256.is_weak());
    }
}
