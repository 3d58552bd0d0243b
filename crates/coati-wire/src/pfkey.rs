//! PF_KEY messages (RFC 2367) with KAME's extensions: header and extensions of any of them, whole messages in the layout of
//! each kernel ([`Message`]), and in Linux's layout those that show an SA, the answers to SADB_DUMP (section 3.1.10), which
//! `racoonctl show-sa esp` gets over the admin socket.
//!
//! ```text
//!  0 version  1 type  2 errno  3 SA type  4..6 length  6..8 reserved  8..12 sequence  12..16 process
//!  then extensions: 0..2 length  2..4 type  …        (lengths in units of 8 bytes; numbers in host order)
//! ```
//!
//! Addresses and SPIs are in network order, as in the kernel's structures.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

mod layout;
mod whole;

pub use layout::{IpsecRequest, Layout};
pub use whole::{Address, Message, NatT, PolicyNumbers, Sa2, SaNumbers};

use crate::WireError;
use crate::error::{array, u16_at};

/// Length of `sadb_msg`, in bytes.
pub const HEADER_LEN: usize = 16;
/// `PF_KEY_V2`.
pub const VERSION: u8 = 2;

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

/// Extended sequence numbers, a flag of SAs (`SADB_X_SAFLAGS_ESN`, FreeBSD's).
pub const FLAG_ESN: u32 = 0x400;

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
    /// AES-XCBC-MAC.
    pub const AES_XCBC_MAC: u8 = 9;
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
    /// AES in counter mode.
    pub const AES_CTR: u8 = 13;
    /// AES-GCM with an ICV of 16 bytes.
    pub const AES_GCM_16: u8 = 20;
    /// ChaCha20-Poly1305; Linux has no number for it, this is FreeBSD's.
    pub const CHACHA20_POLY1305: u8 = 31;
}

/// Compression algorithms (`SADB_X_CALG_*`), in the field of encryption.
pub mod compress {
    /// DEFLATE.
    pub const DEFLATE: u8 = 2;
}

/// Types of messages (`SADB_*`, RFC 2367 section 3.1 and KAME's).
#[expect(missing_docs, reason = "the names of the RFC")]
pub mod message {
    pub const GETSPI: u8 = 1;
    pub const UPDATE: u8 = 2;
    pub const ADD: u8 = 3;
    pub const DELETE: u8 = 4;
    pub const GET: u8 = 5;
    pub const ACQUIRE: u8 = 6;
    pub const REGISTER: u8 = 7;
    pub const EXPIRE: u8 = 8;
    pub const FLUSH: u8 = 9;
    pub const DUMP: u8 = 10;
    pub const SPDUPDATE: u8 = 13;
    pub const SPDADD: u8 = 14;
    pub const SPDDELETE: u8 = 15;
    pub const SPDGET: u8 = 16;
    pub const SPDDUMP: u8 = 18;
    pub const SPDFLUSH: u8 = 19;
    pub const SPDEXPIRE: u8 = 21;
    pub const SPDDELETE2: u8 = 22;
    /// Linux's: another port of a NAT, or another address.
    pub const NEW_MAPPING: u8 = 23;
}

/// Types of extensions (`SADB_EXT_*`, RFC 2367 section 3.2 and KAME's).
#[expect(missing_docs, reason = "the names of the RFC")]
pub mod extension {
    pub const SA: u16 = 1;
    pub const LIFETIME_CURRENT: u16 = 2;
    pub const LIFETIME_HARD: u16 = 3;
    pub const LIFETIME_SOFT: u16 = 4;
    pub const ADDRESS_SOURCE: u16 = 5;
    pub const ADDRESS_DESTINATION: u16 = 6;
    pub const ADDRESS_PROXY: u16 = 7;
    pub const KEY_AUTH: u16 = 8;
    pub const KEY_ENCRYPT: u16 = 9;
    pub const PROPOSAL: u16 = 13;
    pub const SUPPORTED_AUTH: u16 = 14;
    pub const SUPPORTED_ENCRYPT: u16 = 15;
    pub const SPI_RANGE: u16 = 16;
    pub const POLICY: u16 = 18;
    pub const SA2: u16 = 19;
    pub const NAT_T_TYPE: u16 = 20;
    pub const NAT_T_SOURCE_PORT: u16 = 21;
    pub const NAT_T_DESTINATION_PORT: u16 = 22;
    pub const NAT_T_ORIGINAL: u16 = 23;
    /// FreeBSD's; Linux has another thing of this number.
    pub const SA_REPLAY: u16 = 26;
    /// FreeBSD 15's (`SADB_X_EXT_IF_HW_OFFL`).
    pub const INTERFACE: u16 = 31;
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
    /// What it is about, one of [`message`].
    pub kind: u8,
    /// What went wrong, 0 for nothing.
    pub errno: u8,
    /// One of [`sa_type`].
    pub sa_type: u8,
    /// Length of the message with this header, in bytes.
    pub length: usize,
    /// Nothing, or what a kernel uses it for: the references to an SA or policy.
    pub reserved: u16,
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
            reserved: host_u16(WHAT, bytes, 6)?,
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

/// One extension of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    /// One of [`extension`], or another.
    pub kind: u16,
    /// All of it, with the 4 bytes of length and type, padded to 8 bytes.
    pub bytes: &'a [u8],
}

/// The extensions behind a [`Header`], 64 at the most. What comes behind one whose length is wrong is not looked at.
pub fn extensions(bytes: &[u8]) -> impl Iterator<Item = Result<Extension<'_>, WireError>> {
    let mut rest = bytes;
    let mut count = 0;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        count += 1;
        let next = next_extension(rest, count);
        rest = next.as_ref().ok().and_then(|it| rest.get(it.bytes.len()..)).unwrap_or(&[]);
        Some(next)
    })
}

fn next_extension(rest: &[u8], count: usize) -> Result<Extension<'_>, WireError> {
    if count > MAX_EXTENSIONS {
        return Err(WireError::TooMany { what: "PF_KEY extensions", limit: MAX_EXTENSIONS });
    }
    const WHAT: &str = "PF_KEY extension";
    let length = usize::from(host_u16(WHAT, rest, 0)?) * 8;
    let wrong = WireError::Length { what: WHAT, found: length };
    let bytes = rest.get(..length).filter(|bytes| bytes.len() >= 8).ok_or(wrong)?;
    Ok(Extension { kind: host_u16(WHAT, bytes, 2)?, bytes })
}

/// Appends an extension to a message, padded to 8 bytes; `body` begins behind length and type.
pub fn push_extension(message: &mut Vec<u8>, kind: u16, body: &[u8]) {
    let padded = (4 + body.len()).next_multiple_of(8);
    let units = u16::try_from(padded / 8).unwrap_or(u16::MAX);
    let end = message.len() + padded;
    message.extend_from_slice(&units.to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(body);
    message.resize(end, 0);
}

/// Writes the length of a message into its header, when all extensions are there.
pub fn finish(message: &mut [u8]) {
    let units = u16::try_from(message.len() / 8).unwrap_or(u16::MAX);
    if let Some(field) = message.get_mut(4..6) {
        field.copy_from_slice(&units.to_ne_bytes());
    }
}

/// A `sockaddr_in` or `sockaddr_in6`: family in host order, port and address in network order.
pub fn emit_sockaddr(address: IpAddr, port: u16) -> Vec<u8> {
    let family = if address.is_ipv4() { AF_INET } else { AF_INET6 };
    let mut bytes = family.to_ne_bytes().to_vec();
    bytes.extend_from_slice(&port.to_be_bytes());
    match address {
        IpAddr::V4(address) => {
            bytes.extend_from_slice(&address.octets());
            bytes.resize(16, 0);
        }
        IpAddr::V6(address) => {
            bytes.extend_from_slice(&[0; 4]);
            bytes.extend_from_slice(&address.octets());
            bytes.resize(28, 0);
        }
    }
    bytes
}

/// The address and port that `bytes` begin with, and its length.
pub fn parse_sockaddr(bytes: &[u8]) -> Result<(IpAddr, u16, usize), WireError> {
    const WHAT: &str = "sockaddr";
    let port = u16_at(WHAT, bytes, 2)?;
    match host_u16(WHAT, bytes, 0)? {
        AF_INET => Ok((Ipv4Addr::from(array::<4>(WHAT, bytes, 4)?).into(), port, 16)),
        AF_INET6 => Ok((Ipv6Addr::from(array::<16>(WHAT, bytes, 8)?).into(), port, 28)),
        family => Err(WireError::Value { what: "sockaddr family", found: family.into() }),
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
    /// [`FLAG_ESN`] or none.
    pub flags: u32,
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
        let (header, rest, following) = Header::parse(bytes)?;
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
            flags: 0,
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
        for found in extensions(rest) {
            let Extension { kind, bytes: body } = found?;
            match kind {
                extension::SA => {
                    sa = true;
                    repr.spi = u32::from_be_bytes(array("sadb_sa", body, 4)?);
                    [repr.replay, repr.state, repr.auth, repr.encrypt] = array("sadb_sa", body, 8)?;
                    repr.flags = host_u32("sadb_sa", body, 12)?;
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
        let mut bytes = Header::emit_alone(message::DUMP, 0, self.sa_type, self.pid).to_vec();
        bytes[8..12].copy_from_slice(&self.sequence.to_ne_bytes());
        let mut sa = self.spi.to_be_bytes().to_vec();
        sa.extend_from_slice(&[self.replay, self.state, self.auth, self.encrypt]);
        sa.extend_from_slice(&self.flags.to_ne_bytes());
        push_extension(&mut bytes, extension::SA, &sa);
        push_extension(&mut bytes, extension::LIFETIME_HARD, &self.hard.emit());
        push_extension(&mut bytes, extension::LIFETIME_SOFT, &self.soft.emit());
        push_extension(&mut bytes, extension::LIFETIME_CURRENT, &self.current.emit());
        push_extension(&mut bytes, extension::ADDRESS_SOURCE, &emit_host(self.source));
        push_extension(&mut bytes, extension::ADDRESS_DESTINATION, &emit_host(self.destination));
        for (kind, key) in [(extension::KEY_AUTH, self.auth_key), (extension::KEY_ENCRYPT, self.encrypt_key)]
        {
            let key = key.get(..MAX_KEY).unwrap_or(key);
            if let Ok(bits) = u16::try_from(key.len() * 8)
                && bits > 0
            {
                push_extension(&mut bytes, kind, &[&bits.to_ne_bytes(), &[0, 0][..], key].concat());
            }
        }
        let mut sa2 = vec![self.mode, 0, 0, 0];
        sa2.extend_from_slice(&self.packet_sequence.to_ne_bytes());
        sa2.extend_from_slice(&self.reqid.to_ne_bytes());
        push_extension(&mut bytes, extension::SA2, &sa2);
        if let Some((source, destination)) = self.nat_t {
            push_extension(&mut bytes, extension::NAT_T_TYPE, &[NAT_T_ESP_IN_UDP, 0, 0, 0]);
            for (kind, port) in
                [(extension::NAT_T_SOURCE_PORT, source), (extension::NAT_T_DESTINATION_PORT, destination)]
            {
                let [high, low] = port.to_be_bytes();
                push_extension(&mut bytes, kind, &[high, low, 0, 0]);
            }
        }
        finish(&mut bytes);
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

/// `sadb_address` behind length and type: protocol, prefix length, then the address.
pub fn emit_address(address: IpAddr, prefix_len: u8, protocol: u8, port: u16) -> Vec<u8> {
    let mut body = vec![protocol, prefix_len, 0, 0];
    body.extend_from_slice(&emit_sockaddr(address, port));
    body
}

fn emit_host(address: IpAddr) -> Vec<u8> {
    emit_address(address, if address.is_ipv4() { 32 } else { 128 }, 0, 0)
}

fn parse_address(body: &[u8]) -> Result<IpAddr, WireError> {
    parse_sockaddr(body.get(8..).unwrap_or(&[])).map(|(address, ..)| address)
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
            flags: 0,
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
        let bytes = Header::emit_alone(message::DUMP, 2, sa_type::ESP, 7);
        let (header, extensions, rest) = Header::parse(&bytes).unwrap();
        assert_eq!((header.kind, header.errno, header.pid, header.length), (message::DUMP, 2, 7, 16));
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
                sa_type, sequence, pid: 1, spi, replay, state, auth, encrypt, flags: reqid, current, hard, soft, source, destination,
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
            let _ = extensions(&bytes).count();
            let _ = parse_sockaddr(&bytes);
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
