//! An IP packet of either version: what policies and transforms have to know of it, and headers to put before others.

use std::net::IpAddr;

use crate::WireError;
use crate::checksum;
use crate::error::array;
use crate::{ipv4, ipv6};

/// Protocol number of a piece of an IPv6 packet.
const FRAGMENT: u8 = 44;
/// Where an IPv4 header has the number of the protocol above.
const PROTOCOL_AT_V4: usize = 9;

/// A packet whose lengths were checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Protocol of the payload.
    pub protocol: u8,
    /// Offset of the byte that says so: in the header, or in the last extension header of IPv6.
    pub protocol_at: usize,
    /// Bytes before the payload, options and extension headers included.
    pub header_len: usize,
    /// Type of service, traffic class: DSCP and ECN.
    pub tos: u8,
    /// Whether it is a piece of a packet.
    pub is_fragment: bool,
    /// Whether routers must not cut it (IPv4 only; those of IPv6 never do).
    pub dont_fragment: bool,
    /// What follows; bytes behind the packet's end are cut off.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads the header, and of IPv6 the extension headers that every node looks through (RFC 8200 section 4).
    pub fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        let [first] = array("IP header", bytes, 0)?;
        if first >> 4 == 6 { Self::parse_v6(bytes) } else { Self::parse_v4(bytes) }
    }

    fn parse_v4(bytes: &'a [u8]) -> Result<Self, WireError> {
        let packet = ipv4::Packet::new(bytes)?;
        Ok(Self {
            source: packet.source().into(),
            destination: packet.destination().into(),
            protocol: packet.protocol(),
            protocol_at: PROTOCOL_AT_V4,
            header_len: packet.header_len(),
            tos: packet.tos(),
            is_fragment: packet.is_fragment(),
            dont_fragment: packet.dont_fragment(),
            payload: packet.payload(),
        })
    }

    fn parse_v6(bytes: &'a [u8]) -> Result<Self, WireError> {
        let (header, whole) = ipv6::Repr::parse(bytes)?;
        let (protocol, payload) = ipv6::upper_layer(header.next_header, whole)?;
        // The last extension header that was looked through names the protocol in its first byte.
        let extensions = whole.len() - payload.len();
        let (mut protocol_at, mut at) = (6, 0);
        while at < extensions {
            protocol_at = ipv6::HEADER_LEN + at;
            let [_, units] = array("IPv6 extension header", whole, at)?;
            at += (usize::from(units) + 1) * 8;
        }
        Ok(Self {
            source: header.source.into(),
            destination: header.destination.into(),
            protocol,
            protocol_at,
            header_len: ipv6::HEADER_LEN + extensions,
            tos: header.traffic_class,
            is_fragment: protocol == FRAGMENT,
            dont_fragment: false,
            payload,
        })
    }
}

/// Writes the packet's new length and the new protocol of its payload into the header at its front, whose places
/// are those [`Packet::parse`] has found, and for IPv4 a new checksum.
pub fn mend(packet: &mut [u8], header_len: usize, protocol_at: usize, protocol: u8) {
    let whole = packet.len();
    let Some(header) = packet.get_mut(..header_len) else { return };
    if let Some(byte) = header.get_mut(protocol_at) {
        *byte = protocol;
    }
    let length = |bytes: usize| u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes();
    match header.first().map(|first| first >> 4) {
        Some(4) if header_len >= ipv4::HEADER_LEN => {
            header[2..4].copy_from_slice(&length(whole));
            header[10..12].copy_from_slice(&[0, 0]);
            let sum = checksum::internet(&[header]).to_be_bytes();
            header[10..12].copy_from_slice(&sum);
        }
        Some(6) if header_len >= ipv6::HEADER_LEN => {
            header[4..6].copy_from_slice(&length(whole - ipv6::HEADER_LEN));
        }
        _ => {}
    }
}

/// Sets the ECN field (RFC 3168), the two last bits of the type of service, of the packet at the front of `bytes`.
pub fn set_ecn(bytes: &mut [u8], ecn: u8) {
    let ecn = ecn & 3;
    match bytes {
        [first, tos, ..] if *first >> 4 == 4 => {
            *tos = *tos & !3 | ecn;
            let header_len = usize::from(*first & 0x0f) * 4;
            if let Some(header) = bytes.get_mut(..header_len.max(ipv4::HEADER_LEN)) {
                header[10..12].copy_from_slice(&[0, 0]);
                let sum = checksum::internet(&[header]).to_be_bytes();
                header[10..12].copy_from_slice(&sum);
            }
        }
        // The traffic class lies across two bytes.
        [first, second, ..] if *first >> 4 == 6 => *second = *second & !0x30 | ecn << 4,
        _ => {}
    }
}

/// A header without options or extension headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr {
    /// Type of service, traffic class.
    pub tos: u8,
    /// Identification (IPv4 only).
    pub id: u16,
    /// Don't fragment (IPv4 only).
    pub dont_fragment: bool,
    /// Time to live, hop limit.
    pub ttl: u8,
    /// Protocol of the payload.
    pub protocol: u8,
    /// Source address.
    pub source: IpAddr,
    /// Destination address, of the same family.
    pub destination: IpAddr,
    /// Length of the payload in bytes.
    pub payload_len: usize,
}

impl Repr {
    /// Length of the header in bytes.
    pub fn header_len(&self) -> usize {
        header_len(self.source)
    }

    /// Writes the header to the front of `bytes`; `None` when they are too few, or the addresses of two families.
    pub fn emit(&self, bytes: &mut [u8]) -> Option<()> {
        let &Self { tos, id, dont_fragment, ttl, protocol, payload_len, .. } = self;
        let front = bytes.get_mut(..self.header_len())?;
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let header =
                    ipv4::Repr { tos, id, dont_fragment, ttl, protocol, source, destination, payload_len };
                front.copy_from_slice(&header.emit());
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let header = ipv6::Repr {
                    traffic_class: tos,
                    flow_label: 0,
                    next_header: protocol,
                    hop_limit: ttl,
                    source,
                    destination,
                    payload_len,
                };
                front.copy_from_slice(&header.emit());
            }
            _ => return None,
        }
        Some(())
    }
}

/// Length of a header with addresses of this family, without options, in bytes.
pub fn header_len(address: IpAddr) -> usize {
    if address.is_ipv4() { ipv4::HEADER_LEN } else { ipv6::HEADER_LEN }
}

/// The sum of the addresses, the protocol and the length in bytes that the checksums of TCP, UDP and ICMPv6 begin with
/// (RFC 768, RFC 8200 section 8.1), as a part for [`checksum::internet`].
pub fn pseudo_sum(source: IpAddr, destination: IpAddr, protocol: u8, length: usize) -> [u8; 2] {
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    let rest = [0, protocol];
    let sum = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            checksum::sum(&[&source.octets(), &destination.octets(), &rest, &length])
        }
        (source, destination) => checksum::sum(&[&v6(source), &v6(destination), &rest, &length]),
    };
    sum.to_be_bytes()
}

fn v6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn emit_parse_mend(v6: bool, s: u128, d: u128, tos: u8, protocol in 100u8..200, other in 100u8..200,
                           payload in prop::collection::vec(any::<u8>(), 0..64), more in 0usize..32) {
            let address = |number: u128| match v6 {
                true => IpAddr::from(number.to_be_bytes()),
                false => IpAddr::from(((number & 0xffff_ffff) as u32).to_be_bytes()),
            };
            let repr = Repr { tos, id: 7, dont_fragment: true, ttl: 64, protocol, source: address(s),
                              destination: address(d), payload_len: payload.len() };
            let mut bytes = vec![0; repr.header_len()];
            repr.emit(&mut bytes).unwrap();
            bytes.extend_from_slice(&payload);
            let parsed = Packet::parse(&bytes).unwrap();
            prop_assert_eq!((parsed.source, parsed.destination, parsed.protocol), (repr.source, repr.destination, protocol));
            prop_assert_eq!((parsed.tos, parsed.is_fragment, parsed.payload), (tos, false, &payload[..]));
            let (header_len, at) = (parsed.header_len, parsed.protocol_at);
            bytes.resize(bytes.len() + more, 1);
            mend(&mut bytes, header_len, at, other);
            let mended = Packet::parse(&bytes).unwrap();
            prop_assert_eq!((mended.protocol, mended.payload.len()), (other, payload.len() + more));
            if !v6 {
                prop_assert!(ipv4::Packet::new_checked(&bytes).is_ok());
            }
        }

        #[test]
        fn any_bytes(mut bytes in prop::collection::vec(any::<u8>(), 0..120), version in prop::sample::select(vec![4u8, 6])) {
            if let Some(first) = bytes.first_mut() {
                *first = version << 4 | *first & 0x0f;
            }
            if let Ok(packet) = Packet::parse(&bytes) {
                prop_assert!(packet.protocol_at < packet.header_len && packet.header_len <= bytes.len());
                prop_assert_eq!(bytes[packet.protocol_at], packet.protocol);
            }
            mend(&mut bytes, 40, 6, 50);
        }
    }

    proptest! {
        #[test]
        fn ecn_is_two_bits(v6: bool, tos: u8, ecn in 0u8..4) {
            let address = |number: u8| if v6 { IpAddr::from([number; 16]) } else { IpAddr::from([number; 4]) };
            let repr = Repr { tos, id: 7, dont_fragment: true, ttl: 64, protocol: 99, source: address(1),
                              destination: address(2), payload_len: 0 };
            let mut bytes = vec![0; repr.header_len()];
            repr.emit(&mut bytes).unwrap();
            set_ecn(&mut bytes, ecn);
            let mut wanted = vec![0; repr.header_len()];
            Repr { tos: tos & !3 | ecn, ..repr }.emit(&mut wanted).unwrap();
            prop_assert_eq!(bytes, wanted);
        }
    }

    #[test]
    fn the_protocol_stands_in_the_last_extension_header() {
        let header = Repr {
            tos: 0,
            id: 0,
            dont_fragment: false,
            ttl: 64,
            protocol: 0,
            source: "2001:db8::1".parse().unwrap(),
            destination: "2001:db8::2".parse().unwrap(),
            payload_len: 8 + 16 + 3,
        };
        let mut bytes = vec![0; 40];
        header.emit(&mut bytes).unwrap();
        bytes.extend_from_slice(&[60, 0, 1, 4, 0, 0, 0, 0]);
        bytes.extend_from_slice(&[47, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend_from_slice(b"gre");
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!((packet.protocol, packet.protocol_at, packet.header_len), (47, 48, 64));
        assert_eq!(packet.payload, b"gre");
        mend(&mut bytes, 64, 48, 50);
        assert_eq!((bytes[6], bytes[40], bytes[48]), (0, 60, 50));
    }
}
