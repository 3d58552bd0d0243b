//! "Too big": what a router says about a packet that does not fit through the next hop, ICMP's "fragmentation needed"
//! (RFC 1191) and ICMPv6's "packet too big" (RFC 4443 section 3.2).

use std::net::IpAddr;

use crate::error::{array, u16_at, u32_at};
use crate::ipv4::protocol;
use crate::{WireError, checksum, icmp, ip};

/// Type of ICMPv6's message.
const PACKET_TOO_BIG: u8 = 2;
/// ICMPv6 messages below this type are errors, about which there are none (RFC 4443 section 2.4).
const FIRST_QUERY_V6: u8 = 128;
/// ICMP messages that are no errors: echo, router discovery, timestamps, information, masks (RFC 1122 section 3.2.2).
const QUERIES_V4: [u8; 10] = [0, 8, 9, 10, 13, 14, 15, 16, 17, 18];
/// Longest answer, RFC 1812 section 4.3.2.3 and RFC 4443 section 2.4 (c).
const LONGEST_V4: usize = 576;
const LONGEST_V6: usize = 1280;
const TTL: u8 = 64;

/// What a router says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Largest packet that fits, in bytes; 0 when the router does not know (before RFC 1191).
    pub mtu: u32,
    /// The beginning of the packet that did not.
    pub original: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads an ICMP or, where `is_v6`, an ICMPv6 message; `None` for other kinds. The checksum is verified for ICMP; that of
    /// ICMPv6 counts addresses too, and the kernel has verified it (RFC 3542 section 3.1).
    pub fn parse(bytes: &'a [u8], is_v6: bool) -> Result<Option<Self>, WireError> {
        const WHAT: &str = "ICMPv6 header";
        if is_v6 {
            let [kind] = array(WHAT, bytes, 0)?;
            let mtu = u32_at(WHAT, bytes, 4)?;
            let original = bytes.get(icmp::HEADER_LEN..).unwrap_or(&[]);
            return Ok((kind == PACKET_TOO_BIG).then_some(Self { mtu, original }));
        }
        Ok(match icmp::Repr::parse(bytes)? {
            Some(icmp::Repr::Unreachable { code: icmp::CODE_FRAGMENTATION_NEEDED, mtu, original }) => {
                Some(Self { mtu: mtu.into(), original })
            }
            _ => None,
        })
    }
}

/// The IP packet that tells the sender of `packet` that no more than `mtu` bytes fit. `None` where nothing may be said (RFC
/// 1122 section 3.2.2, RFC 4443 section 2.4): about errors, later fragments, to or about others than single hosts.
///
/// It comes from where the packet was going: an address that is behind the interface that it is handed to.
pub fn answer(packet: &[u8], mtu: usize) -> Option<Vec<u8>> {
    let inner = ip::Packet::parse(packet).ok()?;
    let one_host = |address: IpAddr| match address {
        IpAddr::V4(address) => {
            !(address.is_multicast()
                || address.is_broadcast()
                || address.is_unspecified()
                || address.is_loopback())
        }
        IpAddr::V6(address) => !(address.is_multicast() || address.is_unspecified() || address.is_loopback()),
    };
    if !one_host(inner.source) || !one_host(inner.destination) {
        return None;
    }
    let first = inner.payload.first().copied();
    let (protocol, message) = if inner.source.is_ipv4() {
        let offset = u16_at("IPv4 header", packet, 6).ok()? & 0x1fff;
        let is_error =
            inner.protocol == protocol::ICMP && !first.is_some_and(|kind| QUERIES_V4.contains(&kind));
        if offset != 0 || is_error {
            return None;
        }
        let room = LONGEST_V4 - ip::header_len(inner.source) - icmp::HEADER_LEN;
        let original = packet.get(..packet.len().min(room))?;
        let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
        let message = icmp::Repr::Unreachable { code: icmp::CODE_FRAGMENTATION_NEEDED, mtu, original };
        (protocol::ICMP, message.emit())
    } else {
        if inner.protocol == protocol::ICMPV6 && first.is_none_or(|kind| kind < FIRST_QUERY_V6) {
            return None;
        }
        let room = LONGEST_V6 - ip::header_len(inner.source) - icmp::HEADER_LEN;
        let original = packet.get(..packet.len().min(room))?;
        let mut message = vec![PACKET_TOO_BIG, 0, 0, 0];
        message.extend_from_slice(&u32::try_from(mtu).unwrap_or(u32::MAX).to_be_bytes());
        message.extend_from_slice(original);
        let pseudo = ip::pseudo_sum(inner.destination, inner.source, protocol::ICMPV6, message.len());
        let sum = checksum::internet(&[&pseudo, &message]).to_be_bytes();
        message[2..4].copy_from_slice(&sum);
        (protocol::ICMPV6, message)
    };
    let header = ip::Repr {
        tos: 0,
        id: 0,
        dont_fragment: false,
        ttl: TTL,
        protocol,
        source: inner.destination,
        destination: inner.source,
        payload_len: message.len(),
    };
    let mut answer = vec![0; header.header_len()];
    header.emit(&mut answer)?;
    answer.extend_from_slice(&message);
    Some(answer)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(v6: bool, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let address = |number: u8| match v6 {
            true => IpAddr::from([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, number]),
            false => IpAddr::from([192, 0, 2, number]),
        };
        let header = ip::Repr {
            tos: 0,
            id: 7,
            dont_fragment: true,
            ttl: 64,
            protocol,
            source: address(1),
            destination: address(2),
            payload_len: payload.len(),
        };
        let mut bytes = vec![0; header.header_len()];
        header.emit(&mut bytes).unwrap();
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn the_sender_is_told() {
        for v6 in [false, true] {
            let big = packet(v6, protocol::UDP, &[7; 1400]);
            let answer = answer(&big, 1300).unwrap();
            let read = ip::Packet::parse(&answer).unwrap();
            let sent = ip::Packet::parse(&big).unwrap();
            assert_eq!((read.source, read.destination), (sent.destination, sent.source));
            assert!(answer.len() <= if v6 { 1280 } else { 576 }, "{}", answer.len());
            let message = Message::parse(read.payload, v6).unwrap().unwrap();
            assert_eq!(message.mtu, 1300);
            assert!(big.starts_with(message.original) && message.original.len() > 500);
            if v6 {
                let pseudo = ip::pseudo_sum(read.source, read.destination, 58, read.payload.len());
                assert!(checksum::is_intact(&[&pseudo, read.payload]));
            }
        }
    }

    #[test]
    fn nothing_is_said_about_errors_pieces_and_groups() {
        let quiet = |bytes: &[u8]| assert_eq!(answer(bytes, 1300), None);
        quiet(&packet(false, protocol::ICMP, &[3; 1400]));
        quiet(&packet(true, protocol::ICMPV6, &[1; 1400]));
        assert!(answer(&packet(false, protocol::ICMP, &[8; 1400]), 1300).is_some(), "a ping");
        assert!(answer(&packet(true, protocol::ICMPV6, &[128; 1400]), 1300).is_some(), "a ping");
        let mut later = packet(false, protocol::UDP, &[0; 1400]);
        later[7] = 1;
        quiet(&later);
        let mut group = packet(false, protocol::UDP, &[0; 1400]);
        group[16..20].copy_from_slice(&[224, 0, 0, 5]);
        quiet(&group);
        let mut nobody = packet(false, protocol::UDP, &[0; 1400]);
        nobody[12..16].copy_from_slice(&[0; 4]);
        quiet(&nobody);
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..100), v6: bool, mtu: usize) {
            let _ = Message::parse(&bytes, v6);
            let _ = answer(&bytes, mtu);
        }
    }
}
