//! The IPv4 header (RFC 791), options tolerated and skipped.
//!
//! ```text
//!  0 version/IHL  1 TOS  2..4 total length  4..6 id  6..8 flags/fragment offset
//!  8 TTL  9 protocol  10..12 checksum  12..16 source  16..20 destination  20.. options
//! ```

use std::net::Ipv4Addr;

use crate::WireError;
use crate::checksum;
use crate::error::{array, u16_at};

/// Length of a header without options, in bytes.
pub const HEADER_LEN: usize = 20;

/// IP protocol numbers (IANA) that Coati knows.
pub mod protocol {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// An IPv4 packet inside.
    pub const IPV4: u8 = 4;
    /// An IPv6 packet inside.
    pub const IPV6: u8 = 41;
    /// UDP.
    pub const UDP: u8 = 17;
    /// TCP.
    pub const TCP: u8 = 6;
    /// Generic routing encapsulation.
    pub const GRE: u8 = 47;
    /// Encapsulating security payload.
    pub const ESP: u8 = 50;
    /// Authentication header.
    pub const AH: u8 = 51;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
    /// OSPF.
    pub const OSPF: u8 = 89;
    /// IP payload compression.
    pub const IPCOMP: u8 = 108;
}

const WHAT: &str = "IPv4 header";
const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;

/// A packet whose header was checked: version, lengths and, when asked for, the checksum.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    bytes: &'a [u8],
    header_len: usize,
}

impl<'a> Packet<'a> {
    /// Checks version and lengths; bytes behind the total length (padding of a link) are cut off.
    pub fn new(bytes: &'a [u8]) -> Result<Self, WireError> {
        let first: [u8; HEADER_LEN] = array(WHAT, bytes, 0)?;
        if first[0] >> 4 != 4 {
            return Err(WireError::Version { what: WHAT, found: first[0] >> 4 });
        }
        let header_len = usize::from(first[0] & 0x0f) * 4;
        let total = usize::from(u16_at(WHAT, bytes, 2)?);
        if header_len < HEADER_LEN || header_len > total {
            return Err(WireError::Length { what: "IPv4 header length", found: header_len });
        }
        let bytes =
            bytes.get(..total).ok_or(WireError::Length { what: "IPv4 total length", found: total })?;
        Ok(Self { bytes, header_len })
    }

    /// As [`Packet::new`], with the header's checksum verified.
    pub fn new_checked(bytes: &'a [u8]) -> Result<Self, WireError> {
        let packet = Self::new(bytes)?;
        if checksum::is_intact(&[packet.header()]) {
            Ok(packet)
        } else {
            Err(WireError::Checksum { what: WHAT })
        }
    }

    fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    fn word(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.byte(at), self.byte(at + 1)])
    }

    fn address(&self, at: usize) -> Ipv4Addr {
        Ipv4Addr::new(self.byte(at), self.byte(at + 1), self.byte(at + 2), self.byte(at + 3))
    }

    /// The header with its options.
    pub fn header(&self) -> &'a [u8] {
        self.bytes.get(..self.header_len).unwrap_or(&[])
    }

    /// Length of the header in bytes.
    pub fn header_len(&self) -> usize {
        self.header_len
    }

    /// What follows the header.
    pub fn payload(&self) -> &'a [u8] {
        self.bytes.get(self.header_len..).unwrap_or(&[])
    }

    /// Type of service: DSCP and ECN.
    pub fn tos(&self) -> u8 {
        self.byte(1)
    }

    /// Length of header and payload in bytes.
    pub fn total_len(&self) -> usize {
        self.bytes.len()
    }

    /// Identification.
    pub fn id(&self) -> u16 {
        self.word(4)
    }

    /// Whether the don't-fragment bit is set.
    pub fn dont_fragment(&self) -> bool {
        self.word(6) & DONT_FRAGMENT != 0
    }

    /// Whether this is a piece of a packet: not the first, or not the last.
    pub fn is_fragment(&self) -> bool {
        self.word(6) & !(DONT_FRAGMENT | 0x8000) != 0
    }

    /// Time to live.
    pub fn ttl(&self) -> u8 {
        self.byte(8)
    }

    /// Protocol of the payload.
    pub fn protocol(&self) -> u8 {
        self.byte(9)
    }

    /// Source address.
    pub fn source(&self) -> Ipv4Addr {
        self.address(12)
    }

    /// Destination address.
    pub fn destination(&self) -> Ipv4Addr {
        self.address(16)
    }
}

/// Cuts a packet into pieces of `mtu` bytes at the most (RFC 791 section 3.2), which `each` gets one after the other: a
/// header, whose options are those that belong into every piece, and its part of the payload. `None` when that cannot be:
/// it must not be cut, or no payload fits.
pub fn cut(packet: &Packet<'_>, mtu: usize, mut each: impl FnMut(&[u8], &[u8])) -> Option<()> {
    let field = packet.word(6);
    if field & DONT_FRAGMENT != 0 {
        return None;
    }
    let first = packet.header();
    let later = later_header(first);
    let mut rest = packet.payload();
    let mut offset = usize::from(field & 0x1fff) * 8;
    let mut header = first.to_vec();
    while !rest.is_empty() {
        let room = mtu.checked_sub(header.len())?;
        // The last piece may have any length, the others are multiples of eight bytes.
        let length = if rest.len() <= room { rest.len() } else { room - room % 8 };
        if length == 0 {
            return None;
        }
        let (piece, others) = rest.split_at_checked(length)?;
        let more = !others.is_empty() || field & MORE_FRAGMENTS != 0;
        let flags = if more { MORE_FRAGMENTS } else { 0 } | u16::try_from(offset / 8).ok()?;
        let total = u16::try_from(header.len() + length).ok()?;
        header.get_mut(2..4)?.copy_from_slice(&total.to_be_bytes());
        header.get_mut(6..8)?.copy_from_slice(&flags.to_be_bytes());
        header.get_mut(10..12)?.copy_from_slice(&[0, 0]);
        let sum = checksum::internet(&[&header]).to_be_bytes();
        header.get_mut(10..12)?.copy_from_slice(&sum);
        each(&header, piece);
        offset += length;
        rest = others;
        header.clone_from(&later);
    }
    Some(())
}

/// The header of all pieces but the first: of the options only those with the copied flag.
fn later_header(first: &[u8]) -> Vec<u8> {
    const END: u8 = 0;
    const NOTHING: u8 = 1;
    const COPIED: u8 = 0x80;
    let (fixed, mut options) = first.split_at_checked(HEADER_LEN).unwrap_or((first, &[]));
    let mut header = fixed.to_vec();
    loop {
        let length = match options {
            [] | [END, ..] => break,
            [NOTHING, ..] => 1,
            [_, length, ..] => usize::from(*length).max(2),
            [_] => break,
        };
        let Some((option, others)) = options.split_at_checked(length) else { break };
        if option.first().is_some_and(|kind| kind & COPIED != 0) {
            header.extend_from_slice(option);
        }
        options = others;
    }
    header.resize(header.len().next_multiple_of(4), END);
    if let (Ok(words), Some(byte)) = (u8::try_from(header.len() / 4), header.first_mut()) {
        *byte = 0x40 | words;
    }
    header
}

/// A header without options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr {
    /// DSCP and ECN.
    pub tos: u8,
    /// Identification.
    pub id: u16,
    /// Don't fragment.
    pub dont_fragment: bool,
    /// Time to live.
    pub ttl: u8,
    /// Protocol of the payload.
    pub protocol: u8,
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
    /// Length of the payload in bytes, at most 65515.
    pub payload_len: usize,
}

impl Repr {
    /// The meaning of a whole packet; a fragment has none.
    pub fn parse(packet: &Packet<'_>) -> Result<Self, WireError> {
        if packet.word(6) & MORE_FRAGMENTS != 0 || packet.is_fragment() {
            return Err(WireError::Value { what: "IPv4 fragment", found: u32::from(packet.word(6)) });
        }
        Ok(Self {
            tos: packet.tos(),
            id: packet.id(),
            dont_fragment: packet.dont_fragment(),
            ttl: packet.ttl(),
            protocol: packet.protocol(),
            source: packet.source(),
            destination: packet.destination(),
            payload_len: packet.payload().len(),
        })
    }

    /// The header's bytes, checksum included. A payload over 65515 bytes saturates the length field.
    pub fn emit(&self) -> [u8; HEADER_LEN] {
        let total =
            u16::try_from(self.payload_len.saturating_add(HEADER_LEN)).unwrap_or(u16::MAX).to_be_bytes();
        let id = self.id.to_be_bytes();
        let [s0, s1, s2, s3] = self.source.octets();
        let [d0, d1, d2, d3] = self.destination.octets();
        let flags = if self.dont_fragment { 0x40 } else { 0 };
        let mut header = [
            0x45,
            self.tos,
            total[0],
            total[1],
            id[0],
            id[1],
            flags,
            0,
            self.ttl,
            self.protocol,
            0,
            0,
            s0,
            s1,
            s2,
            s3,
            d0,
            d1,
            d2,
            d3,
        ];
        let [c0, c1] = checksum::internet(&[&header]).to_be_bytes();
        header[10] = c0;
        header[11] = c1;
        header
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn emit_then_parse(tos: u8, id: u16, dont_fragment: bool, ttl: u8, protocol: u8, s: u32, d: u32,
                           payload in prop::collection::vec(any::<u8>(), 0..64)) {
            let repr = Repr { tos, id, dont_fragment, ttl, protocol, source: s.into(), destination: d.into(),
                              payload_len: payload.len() };
            let mut bytes = repr.emit().to_vec();
            bytes.extend_from_slice(&payload);
            bytes.push(0xff);
            let packet = Packet::new_checked(&bytes).unwrap();
            prop_assert_eq!(packet.payload(), &payload[..]);
            prop_assert_eq!(Repr::parse(&packet).unwrap(), repr);
        }

        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(packet) = Packet::new(&bytes) {
                let _ = Repr::parse(&packet);
            }
        }
    }

    proptest! {
        /// Put together again the pieces are the packet, each fits, and a piece can be cut once more.
        #[test]
        fn pieces_are_the_whole(length in 0usize..4000, mtu in 88usize..1500, again in 68usize..88, options in 0usize..4) {
            // An option for every piece (record of a route's strict source), and one for the first only.
            let options: &[u8] = [&[][..], &[0x89, 3, 4, 1], &[7, 3, 4, 1], &[7, 3, 4, 0x89, 3, 4, 1, 0]][options];
            let payload: Vec<u8> = (0..length).map(|at| (at * 7 % 251) as u8).collect();
            let mut bytes = Repr { tos: 3, id: 99, dont_fragment: false, ttl: 9, protocol: 17,
                                   source: Ipv4Addr::new(192, 0, 2, 1), destination: Ipv4Addr::new(192, 0, 2, 2),
                                   payload_len: length + options.len() }.emit().to_vec();
            bytes[0] = 0x45 + (options.len() / 4) as u8;
            bytes.extend_from_slice(options);
            bytes.extend_from_slice(&payload);
            let mut pieces: Vec<Vec<u8>> = Vec::new();
            cut(&Packet::new(&bytes).unwrap(), mtu, |header, piece| {
                let piece = [header, piece].concat();
                assert!(piece.len() <= mtu);
                let parsed = Packet::new_checked(&piece).unwrap();
                cut(&parsed, again, |header, part| pieces.push([header, part].concat())).unwrap();
            }).unwrap();
            let mut put_together = vec![0; length];
            let mut ends = 0;
            for piece in &pieces {
                let parsed = Packet::new_checked(piece).unwrap();
                assert!(piece.len() <= again);
                prop_assert_eq!((parsed.id(), parsed.ttl(), parsed.tos()), (99, 9, 3));
                let at = usize::from(parsed.word(6) & 0x1fff) * 8;
                put_together[at..at + parsed.payload().len()].copy_from_slice(parsed.payload());
                ends += usize::from(parsed.word(6) & MORE_FRAGMENTS == 0);
                let has = |kind: u8| parsed.header()[HEADER_LEN..].contains(&kind);
                prop_assert_eq!((has(0x89), has(7)), (options.contains(&0x89), options.contains(&7) && at == 0));
            }
            prop_assert_eq!(put_together, payload);
            prop_assert_eq!(ends, usize::from(length > 0));
        }

        #[test]
        fn cutting_any_bytes(mut bytes in prop::collection::vec(any::<u8>(), 0..80), mtu in 0usize..60) {
            if let Some(first) = bytes.first_mut() {
                *first = 0x40 | *first & 0x0f;
            }
            if let Some(flags) = bytes.get_mut(6) {
                *flags &= 0x3f;
            }
            if let Ok(packet) = Packet::new(&bytes) {
                let _ = cut(&packet, mtu, |_, _| {});
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_seen() {
        let mut bytes = Repr {
            tos: 0,
            id: 1,
            dont_fragment: true,
            ttl: 64,
            protocol: 50,
            source: Ipv4Addr::new(192, 0, 2, 1),
            destination: Ipv4Addr::new(198, 51, 100, 1),
            payload_len: 0,
        }
        .emit();
        bytes[12] ^= 1;
        assert_eq!(Packet::new_checked(&bytes).unwrap_err(), WireError::Checksum { what: WHAT });
    }
}
