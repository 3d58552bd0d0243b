//! PF_KEY messages that show an SA: the answers to SADB_DUMP (RFC 2367 section 3.1.10), in Linux's layout with KAME's
//! extensions, which `racoonctl show-sa esp` gets over the admin socket.
//!
//! ```text
//!  0 version  1 type  2 errno  3 SA type  4..6 length  6..8 reserved  8..12 sequence  12..16 process
//!  then extensions: 0..2 length  2..4 type  …        (lengths in units of 8 bytes; numbers in host order)
//! ```
//!
//! Addresses and SPIs are in network order, as in the kernel's structures.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::WireError;
use crate::error::{array, u16_at};

/// Length of `sadb_msg`, in bytes.
pub const HEADER_LEN: usize = 16;
/// `PF_KEY_V2`.
pub const VERSION: u8 = 2;
/// `SADB_DUMP`.
pub const DUMP: u8 = 10;

/// SA types (`SADB_SATYPE_*`).
pub mod sa_type {
    /// All of them.
    pub const UNSPEC: u8 = 0;
    /// Authentication header.
    pub const AH: u8 = 2;
    /// Encapsulating security payload.
    pub const ESP: u8 = 3;
    /// IP payload compression.
    pub const IPCOMP: u8 = 9;
}

/// Authentication algorithms (`SADB_AALG_*`, Linux's numbers).
pub mod auth {
    /// None.
    pub const NONE: u8 = 0;
    /// HMAC-MD5.
    pub const MD5_HMAC: u8 = 2;
    /// HMAC-SHA1.
    pub const SHA1_HMAC: u8 = 3;
    /// HMAC-SHA-256.
    pub const SHA256_HMAC: u8 = 5;
    /// HMAC-SHA-384.
    pub const SHA384_HMAC: u8 = 6;
    /// HMAC-SHA-512.
    pub const SHA512_HMAC: u8 = 7;
}

/// Encryption algorithms (`SADB_EALG_*`, Linux's numbers).
pub mod encrypt {
    /// None: AH.
    pub const NONE: u8 = 0;
    /// Triple DES in CBC.
    pub const TRIPLE_DES_CBC: u8 = 3;
    /// No encryption.
    pub const NULL: u8 = 11;
    /// AES in CBC.
    pub const AES_CBC: u8 = 12;
    /// AES-GCM with an ICV of 16 bytes.
    pub const AES_GCM_16: u8 = 20;
}

/// Compression algorithms (`SADB_X_CALG_*`), in the field of encryption.
pub mod compress {
    /// DEFLATE.
    pub const DEFLATE: u8 = 2;
}

/// Extension types (`SADB_EXT_*`).
mod extension {
    pub(super) const SA: u16 = 1;
    pub(super) const LIFETIME_CURRENT: u16 = 2;
    pub(super) const LIFETIME_HARD: u16 = 3;
    pub(super) const LIFETIME_SOFT: u16 = 4;
    pub(super) const ADDRESS_SOURCE: u16 = 5;
    pub(super) const ADDRESS_DESTINATION: u16 = 6;
    pub(super) const KEY_AUTH: u16 = 8;
    pub(super) const KEY_ENCRYPT: u16 = 9;
    pub(super) const SA2: u16 = 19;
    pub(super) const NAT_T_TYPE: u16 = 20;
    pub(super) const NAT_T_SOURCE_PORT: u16 = 21;
    pub(super) const NAT_T_DESTINATION_PORT: u16 = 22;
}

/// Extensions of one message that are looked at.
const MAX_EXTENSIONS: usize = 64;
/// `UDP_ENCAP_ESPINUDP`.
const NAT_T_ESP_IN_UDP: u8 = 2;
/// Linux's address families.
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// The beginning of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What it is about, [`DUMP`] for one.
    pub kind: u8,
    /// What went wrong, 0 for nothing.
    pub errno: u8,
    /// One of [`sa_type`].
    pub sa_type: u8,
    /// Length of the message with this header, in bytes.
    pub length: usize,
    /// In a dump the number of messages that still follow.
    pub sequence: u32,
    /// The process it is for.
    pub pid: u32,
}

impl Header {
    /// Reads the header of the message that `bytes` begin with, and returns it with the message's extensions and with
    /// what follows the message.
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8], &[u8]), WireError> {
        const WHAT: &str = "PF_KEY message";
        let [version, kind, errno, sa_type] = array(WHAT, bytes, 0)?;
        if version != VERSION {
            return Err(WireError::Version { what: WHAT, found: version });
        }
        let length = usize::from(host_u16(WHAT, bytes, 4)?) * 8;
        let header = Self {
            kind,
            errno,
            sa_type,
            length,
            sequence: host_u32(WHAT, bytes, 8)?,
            pid: host_u32(WHAT, bytes, 12)?,
        };
        let wrong = WireError::Length { what: WHAT, found: length };
        let extensions = bytes.get(HEADER_LEN..length).ok_or(wrong)?;
        Ok((header, extensions, bytes.get(length..).unwrap_or(&[])))
    }

    /// A message without extensions: the answer to a dump when there is nothing, with ENOENT (2) as `errno`.
    pub fn emit_alone(kind: u8, errno: u8, sa_type: u8, pid: u32) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..4].copy_from_slice(&[VERSION, kind, errno, sa_type]);
        bytes[4..6].copy_from_slice(&2u16.to_ne_bytes());
        bytes[12..].copy_from_slice(&pid.to_ne_bytes());
        bytes
    }
}

/// Limits of an SA or what it has used (`sadb_lifetime`); 0 is no limit. For the current one, times are in Unix
/// seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lifetime {
    /// Packets.
    pub allocations: u32,
    /// Bytes.
    pub bytes: u64,
    /// Seconds since it was added.
    pub add_time: u64,
    /// Seconds since it was first used.
    pub use_time: u64,
}

/// One SA of a dump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repr<'a> {
    /// One of [`sa_type`].
    pub sa_type: u8,
    /// Messages that follow in this dump.
    pub sequence: u32,
    /// The process that asked.
    pub pid: u32,
    /// Security parameters index.
    pub spi: u32,
    /// Replay window, in bytes of its bitmap.
    pub replay: u8,
    /// 0 larval, 1 mature, 2 dying, 3 dead.
    pub state: u8,
    /// One of [`auth`].
    pub auth: u8,
    /// One of [`encrypt`].
    pub encrypt: u8,
    /// What it has used.
    pub current: Lifetime,
    /// When it ends.
    pub hard: Lifetime,
    /// When it is to be renewed.
    pub soft: Lifetime,
    /// Outer source.
    pub source: IpAddr,
    /// Outer destination, of the same family.
    pub destination: IpAddr,
    /// Integrity key; left out when empty.
    pub auth_key: &'a [u8],
    /// Encryption key; left out when empty.
    pub encrypt_key: &'a [u8],
    /// 0 any, 1 transport, 2 tunnel.
    pub mode: u8,
    /// Sequence number of packets so far, low 32 bits.
    pub packet_sequence: u32,
    /// Its policy.
    pub reqid: u32,
    /// UDP ports, source first, behind a NAT.
    pub nat_t: Option<(u16, u16)>,
}

impl<'a> Repr<'a> {
    /// Reads the message that `bytes` begin with, and returns what follows it.
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), WireError> {
        const WHAT: &str = "SADB_DUMP message";
        let (header, mut rest, following) = Header::parse(bytes)?;
        let missing = |what| WireError::Truncated { what, needed: 1, found: 0 };
        let mut repr = Self {
            sa_type: header.sa_type,
            sequence: header.sequence,
            pid: header.pid,
            spi: 0,
            replay: 0,
            state: 0,
            auth: 0,
            encrypt: 0,
            current: Lifetime::default(),
            hard: Lifetime::default(),
            soft: Lifetime::default(),
            source: Ipv4Addr::UNSPECIFIED.into(),
            destination: Ipv4Addr::UNSPECIFIED.into(),
            auth_key: &[],
            encrypt_key: &[],
            mode: 0,
            packet_sequence: 0,
            reqid: 0,
            nat_t: None,
        };
        let (mut sa, mut ends, mut ports) = (false, [false; 2], [None; 2]);
        for _ in 0..MAX_EXTENSIONS {
            if rest.is_empty() {
                break;
            }
            let length = usize::from(host_u16(WHAT, rest, 0)?) * 8;
            let wrong = WireError::Length { what: "PF_KEY extension", found: length };
            let body = rest.get(..length).filter(|body| body.len() >= 8).ok_or(wrong)?;
            match host_u16(WHAT, body, 2)? {
                extension::SA => {
                    sa = true;
                    repr.spi = u32::from_be_bytes(array("sadb_sa", body, 4)?);
                    [repr.replay, repr.state, repr.auth, repr.encrypt] = array("sadb_sa", body, 8)?;
                }
                extension::LIFETIME_CURRENT => repr.current = Lifetime::parse(body)?,
                extension::LIFETIME_HARD => repr.hard = Lifetime::parse(body)?,
                extension::LIFETIME_SOFT => repr.soft = Lifetime::parse(body)?,
                extension::ADDRESS_SOURCE => (repr.source, ends[0]) = (parse_address(body)?, true),
                extension::ADDRESS_DESTINATION => (repr.destination, ends[1]) = (parse_address(body)?, true),
                extension::KEY_AUTH => repr.auth_key = parse_key(body)?,
                extension::KEY_ENCRYPT => repr.encrypt_key = parse_key(body)?,
                extension::SA2 => {
                    let [mode] = array("sadb_x_sa2", body, 4)?;
                    repr.mode = mode;
                    repr.packet_sequence = host_u32("sadb_x_sa2", body, 8)?;
                    repr.reqid = host_u32("sadb_x_sa2", body, 12)?;
                }
                extension::NAT_T_SOURCE_PORT => ports[0] = Some(u16_at("sadb_x_nat_t_port", body, 4)?),
                extension::NAT_T_DESTINATION_PORT => ports[1] = Some(u16_at("sadb_x_nat_t_port", body, 4)?),
                _ => {}
            }
            rest = rest.get(length..).unwrap_or(&[]);
        }
        if !rest.is_empty() {
            return Err(WireError::TooMany { what: "PF_KEY extensions", limit: MAX_EXTENSIONS });
        }
        if !sa {
            return Err(missing("sadb_sa"));
        }
        if ends != [true; 2] {
            return Err(missing("sadb_address"));
        }
        if let [Some(source), Some(destination)] = ports {
            repr.nat_t = Some((source, destination));
        }
        Ok((repr, following))
    }

    /// Its bytes. Keys are cut at 8 KiB, far beyond any algorithm.
    pub fn emit(&self) -> Vec<u8> {
        let mut bytes = Header::emit_alone(DUMP, 0, self.sa_type, self.pid).to_vec();
        bytes[8..12].copy_from_slice(&self.sequence.to_ne_bytes());
        let mut sa = self.spi.to_be_bytes().to_vec();
        sa.extend_from_slice(&[self.replay, self.state, self.auth, self.encrypt, 0, 0, 0, 0]);
        extend(&mut bytes, extension::SA, &sa);
        extend(&mut bytes, extension::LIFETIME_HARD, &self.hard.emit());
        extend(&mut bytes, extension::LIFETIME_SOFT, &self.soft.emit());
        extend(&mut bytes, extension::LIFETIME_CURRENT, &self.current.emit());
        extend(&mut bytes, extension::ADDRESS_SOURCE, &emit_address(self.source));
        extend(&mut bytes, extension::ADDRESS_DESTINATION, &emit_address(self.destination));
        for (kind, key) in [(extension::KEY_AUTH, self.auth_key), (extension::KEY_ENCRYPT, self.encrypt_key)]
        {
            let key = key.get(..MAX_KEY).unwrap_or(key);
            if let Ok(bits) = u16::try_from(key.len() * 8)
                && bits > 0
            {
                extend(&mut bytes, kind, &[&bits.to_ne_bytes(), &[0, 0][..], key].concat());
            }
        }
        let mut sa2 = vec![self.mode, 0, 0, 0];
        sa2.extend_from_slice(&self.packet_sequence.to_ne_bytes());
        sa2.extend_from_slice(&self.reqid.to_ne_bytes());
        extend(&mut bytes, extension::SA2, &sa2);
        if let Some((source, destination)) = self.nat_t {
            extend(&mut bytes, extension::NAT_T_TYPE, &[NAT_T_ESP_IN_UDP, 0, 0, 0]);
            for (kind, port) in
                [(extension::NAT_T_SOURCE_PORT, source), (extension::NAT_T_DESTINATION_PORT, destination)]
            {
                let [high, low] = port.to_be_bytes();
                extend(&mut bytes, kind, &[high, low, 0, 0]);
            }
        }
        let units = u16::try_from(bytes.len() / 8).unwrap_or(u16::MAX);
        bytes[4..6].copy_from_slice(&units.to_ne_bytes());
        bytes
    }
}

/// Bytes of a key whose number of bits still fits its field.
const MAX_KEY: usize = 8191;

impl Lifetime {
    fn parse(body: &[u8]) -> Result<Self, WireError> {
        const WHAT: &str = "sadb_lifetime";
        let u64_at = |from| array(WHAT, body, from).map(u64::from_ne_bytes);
        Ok(Self {
            allocations: host_u32(WHAT, body, 4)?,
            bytes: u64_at(8)?,
            add_time: u64_at(16)?,
            use_time: u64_at(24)?,
        })
    }

    fn emit(&self) -> Vec<u8> {
        let mut body = self.allocations.to_ne_bytes().to_vec();
        for number in [self.bytes, self.add_time, self.use_time] {
            body.extend_from_slice(&number.to_ne_bytes());
        }
        body
    }
}

/// Appends an extension, padded to 8 bytes.
fn extend(bytes: &mut Vec<u8>, kind: u16, body: &[u8]) {
    let padded = (4 + body.len()).next_multiple_of(8);
    let units = u16::try_from(padded / 8).unwrap_or(u16::MAX);
    let end = bytes.len() + padded;
    bytes.extend_from_slice(&units.to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(body);
    bytes.resize(end, 0);
}

/// `sadb_address`: protocol, prefix length, then a `sockaddr_in` or `sockaddr_in6`.
fn emit_address(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => {
            let mut body = vec![0, 32, 0, 0];
            body.extend_from_slice(&AF_INET.to_ne_bytes());
            body.extend_from_slice(&[0, 0]);
            body.extend_from_slice(&address.octets());
            body.resize(4 + 16, 0);
            body
        }
        IpAddr::V6(address) => {
            let mut body = vec![0, 128, 0, 0];
            body.extend_from_slice(&AF_INET6.to_ne_bytes());
            body.extend_from_slice(&[0; 6]);
            body.extend_from_slice(&address.octets());
            body.extend_from_slice(&[0; 4]);
            body
        }
    }
}

fn parse_address(body: &[u8]) -> Result<IpAddr, WireError> {
    const WHAT: &str = "sadb_address";
    match host_u16(WHAT, body, 8)? {
        AF_INET => Ok(Ipv4Addr::from(array::<4>(WHAT, body, 12)?).into()),
        AF_INET6 => Ok(Ipv6Addr::from(array::<16>(WHAT, body, 16)?).into()),
        family => Err(WireError::Value { what: "sadb_address family", found: family.into() }),
    }
}

fn parse_key(body: &[u8]) -> Result<&[u8], WireError> {
    let bits = usize::from(host_u16("sadb_key", body, 4)?);
    body.get(8..8 + bits / 8).ok_or(WireError::Length { what: "sadb_key bits", found: bits })
}

fn host_u16(what: &'static str, bytes: &[u8], from: usize) -> Result<u16, WireError> {
    array(what, bytes, from).map(u16::from_ne_bytes)
}

fn host_u32(what: &'static str, bytes: &[u8], from: usize) -> Result<u32, WireError> {
    array(what, bytes, from).map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lifetime() -> impl Strategy<Value = Lifetime> {
        any::<(u32, u64, u64, u64)>().prop_map(|(allocations, bytes, add_time, use_time)| Lifetime {
            allocations,
            bytes,
            add_time,
            use_time,
        })
    }

    fn address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            any::<u32>().prop_map(|bits| IpAddr::V4(bits.into())),
            any::<u128>().prop_map(|bits| IpAddr::V6(bits.into()))
        ]
    }

    fn example<'a>(auth_key: &'a [u8], encrypt_key: &'a [u8]) -> Repr<'a> {
        Repr {
            sa_type: sa_type::ESP,
            sequence: 0,
            pid: 895,
            spi: 0x036d_c8c8,
            replay: 4,
            state: 1,
            auth: auth::SHA1_HMAC,
            encrypt: encrypt::AES_CBC,
            current: Lifetime { allocations: 50, bytes: 4400, add_time: 1_764_000_000, use_time: 0 },
            hard: Lifetime { add_time: 14_400, ..Lifetime::default() },
            soft: Lifetime { add_time: 11_520, ..Lifetime::default() },
            source: Ipv4Addr::new(192, 0, 2, 1).into(),
            destination: Ipv4Addr::new(192, 0, 2, 2).into(),
            auth_key,
            encrypt_key,
            mode: 1,
            packet_sequence: 50,
            reqid: 16_384,
            nat_t: None,
        }
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn the_kernels_layout() {
        let bytes = example(&[0xaa; 20], &[0xbb; 16]).emit();
        // sadb_msg, 16 bytes: version 2, SADB_DUMP, no error, ESP, length in 8 bytes.
        let units = u8::try_from(bytes.len() / 8).unwrap();
        assert_eq!(bytes[..16], [2, 10, 0, 3, units, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 0, 0]);
        // sadb_sa, 16 bytes.
        assert_eq!(bytes[16..32], [2, 0, 1, 0, 0x03, 0x6d, 0xc8, 0xc8, 4, 1, 3, 12, 0, 0, 0, 0]);
        // 3 lifetimes of 32 bytes, 2 addresses of 24, a key of 20 bytes in 32, one of 16 in 24, sadb_x_sa2 of 16.
        assert_eq!(bytes.len(), 32 + 3 * 32 + 2 * 24 + 32 + 24 + 16);
        let address = &bytes[32 + 96..32 + 96 + 24];
        assert_eq!(address[..16], [3, 0, 5, 0, 0, 32, 0, 0, 2, 0, 0, 0, 192, 0, 2, 1]);
        let sa2 = &bytes[bytes.len() - 16..];
        assert_eq!(*sa2, [2, 0, 19, 0, 1, 0, 0, 0, 50, 0, 0, 0, 0, 0x40, 0, 0]);
    }

    #[test]
    fn nothing_to_show() {
        let bytes = Header::emit_alone(DUMP, 2, sa_type::ESP, 7);
        let (header, extensions, rest) = Header::parse(&bytes).unwrap();
        assert_eq!((header.kind, header.errno, header.pid, header.length), (DUMP, 2, 7, 16));
        assert!(extensions.is_empty() && rest.is_empty());
        assert!(Repr::parse(&bytes).is_err());
    }

    #[test]
    fn lengths_that_lie() {
        let good = example(&[1; 20], &[2; 16]).emit();
        for (at, value) in [(4, 0u8), (4, 1), (4, 0xff), (16, 0), (16, 0xff), (32, 0)] {
            let mut bytes = good.clone();
            bytes[at] = value;
            assert!(Repr::parse(&bytes).is_err(), "byte {at} is {value}");
        }
    }

    proptest! {
        #[test]
        fn round_trip(
            current in lifetime(), hard in lifetime(), soft in lifetime(),
            source in address(), destination in address(),
            auth_key in prop::collection::vec(any::<u8>(), 0..70), encrypt_key in prop::collection::vec(any::<u8>(), 0..40),
            numbers in any::<[u32; 4]>(), small in any::<[u8; 6]>(), nat_t in any::<Option<(u16, u16)>>(),
            behind in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let [sequence, spi, packet_sequence, reqid] = numbers;
            let [sa_type, replay, state, auth, encrypt, mode] = small;
            let repr = Repr {
                sa_type, sequence, pid: 1, spi, replay, state, auth, encrypt, current, hard, soft, source, destination,
                auth_key: &auth_key, encrypt_key: &encrypt_key, mode, packet_sequence, reqid, nat_t,
            };
            let mut bytes = repr.emit();
            prop_assert_eq!(bytes.len() % 8, 0);
            bytes.extend_from_slice(&behind);
            prop_assert_eq!(Repr::parse(&bytes).unwrap(), (repr, &behind[..]));
        }

        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Header::parse(&bytes);
            let _ = Repr::parse(&bytes);
        }

        #[test]
        fn changed_bytes(at in 0usize..240, value: u8) {
            let mut bytes = example(&[1; 20], &[2; 16]).emit();
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
            let _ = Repr::parse(&bytes);
        }
    }
}
