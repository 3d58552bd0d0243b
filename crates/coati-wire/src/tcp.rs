//! Of TCP (RFC 9293) what a router between has to do with it: the largest segment that a connection begins with.

use crate::error::array;
use crate::ipv4::protocol;
use crate::{checksum, ip};

/// Length of the header without options, in bytes.
pub const HEADER_LEN: usize = 20;

const SYN: u8 = 2;
const END: u8 = 0;
const NOTHING: u8 = 1;
/// Kind and length of the maximum segment size option (RFC 9293 section 3.7.1).
const MSS: [u8; 2] = [2, 4];
/// Offsets of fields.
const DATA_OFFSET: usize = 12;
const FLAGS: usize = 13;
const CHECKSUM: usize = 16;

/// Whether the IP packet opens a TCP connection, or answers that: quick to say of those that do not.
pub fn is_opening(packet: &[u8]) -> bool {
    // Nearly every packet of IPv4 is in the middle of a connection, or of another protocol.
    if let [first, rest @ ..] = packet
        && first >> 4 == 4
    {
        let flags = packet.get(usize::from(first & 0x0f) * 4 + FLAGS);
        if rest.get(8) != Some(&protocol::TCP) || flags.is_none_or(|flags| flags & SYN == 0) {
            return false;
        }
    }
    ip::Packet::parse(packet).is_ok_and(|packet| {
        packet.protocol == protocol::TCP
            && !packet.is_fragment
            && packet.payload.get(FLAGS).is_some_and(|flags| flags & SYN != 0)
    })
}

/// In a packet that [`is_opening`], lowers the largest segment that the other side may send, so that no packet is longer
/// than `mtu` bytes; what is smaller already stays, and where nothing is said nothing is added. Returns whether it was
/// lowered.
pub fn clamp_mss(packet: &mut [u8], mtu: usize) -> bool {
    let Ok(parsed) = ip::Packet::parse(packet) else { return false };
    let largest = mtu.saturating_sub(ip::header_len(parsed.source) + HEADER_LEN);
    let (Ok(largest), header_len) = (u16::try_from(largest), parsed.header_len) else { return false };
    let Some(segment) = packet.get_mut(header_len..) else { return false };
    let Some(at) = mss_at(segment) else { return false };
    let Ok(old) = array::<2>("TCP MSS", segment, at) else { return false };
    if u16::from_be_bytes(old) <= largest {
        return false;
    }
    let new = largest.to_be_bytes();
    if let Some(field) = segment.get_mut(at..at + 2) {
        field.copy_from_slice(&new);
    }
    // RFC 1624, equation 3. A field at an odd offset lies across two words of the sum, turned round.
    let word = |[a, b]: [u8; 2]| if at % 2 == 0 { [a, b] } else { [b, a] };
    let turned = |word: [u8; 2]| (!u16::from_be_bytes(word)).to_be_bytes();
    let Ok(sum) = array::<2>("TCP checksum", segment, CHECKSUM) else { return false };
    let sum = checksum::internet(&[&turned(sum), &turned(word(old)), &word(new)]);
    if let Some(field) = segment.get_mut(CHECKSUM..CHECKSUM + 2) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
    true
}

/// Where in a segment the value of the option stands.
fn mss_at(segment: &[u8]) -> Option<usize> {
    let end = usize::from(segment.get(DATA_OFFSET)? >> 4) * 4;
    let options = segment.get(..end)?;
    let mut at = HEADER_LEN;
    loop {
        match options.get(at..)? {
            [END, ..] | [] => return None,
            [NOTHING, ..] => at += 1,
            [kind, length, _, _, ..] if [*kind, *length] == MSS => return Some(at + 2),
            [_, length, ..] if *length >= 2 => at += usize::from(*length),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;

    /// A segment with these options, its checksum right.
    fn opening(v6: bool, flags: u8, options: &[u8]) -> Vec<u8> {
        let address = |number: u8| if v6 { IpAddr::from([number; 16]) } else { IpAddr::from([number; 4]) };
        let length = HEADER_LEN + options.len();
        let header = ip::Repr {
            tos: 0,
            id: 0,
            dont_fragment: true,
            ttl: 64,
            protocol: protocol::TCP,
            source: address(1),
            destination: address(2),
            payload_len: length,
        };
        let mut packet = vec![0; header.header_len()];
        header.emit(&mut packet).unwrap();
        let mut segment = vec![0x12; HEADER_LEN];
        segment[DATA_OFFSET] = u8::try_from(length / 4).unwrap() << 4;
        segment[FLAGS] = flags;
        segment[CHECKSUM..CHECKSUM + 2].fill(0);
        segment.extend_from_slice(options);
        let pseudo = ip::pseudo_sum(address(1), address(2), protocol::TCP, length);
        let sum = checksum::internet(&[&pseudo, &segment]).to_be_bytes();
        segment[CHECKSUM..CHECKSUM + 2].copy_from_slice(&sum);
        packet.extend_from_slice(&segment);
        packet
    }

    fn is_intact(packet: &[u8]) -> bool {
        let read = ip::Packet::parse(packet).unwrap();
        let pseudo = ip::pseudo_sum(read.source, read.destination, protocol::TCP, read.payload.len());
        checksum::is_intact(&[&pseudo, read.payload])
    }

    fn mss(packet: &[u8]) -> Option<u16> {
        let segment = ip::Packet::parse(packet).unwrap().payload;
        mss_at(segment).map(|at| u16::from_be_bytes([segment[at], segment[at + 1]]))
    }

    #[test]
    fn lowered_to_what_fits() {
        for (v6, wanted) in [(false, 1360), (true, 1340)] {
            // Also behind an option of odd length, which puts the value across two words.
            for options in [&[2, 4, 0x05, 0xb4][..], &[1, 2, 4, 0x05, 0xb4, 0, 0, 0]] {
                let mut packet = opening(v6, SYN, options);
                assert!(is_opening(&packet) && is_intact(&packet));
                assert!(clamp_mss(&mut packet, 1400));
                assert_eq!(mss(&packet), Some(wanted));
                assert!(is_intact(&packet), "{v6} {options:?}");
                assert!(!clamp_mss(&mut packet, 1400), "once is enough");
            }
        }
    }

    #[test]
    fn smaller_ones_and_none_stay() {
        for options in [&[2, 4, 2, 0][..], &[], &[1, 1, 1, 0], &[3, 3, 7, 1], &[8, 0, 2, 4], &[2, 4]] {
            let mut packet = opening(false, SYN | 0x10, options);
            let before = packet.clone();
            assert!(!clamp_mss(&mut packet, 1400), "{options:?}");
            assert_eq!(packet, before);
        }
        assert!(!is_opening(&opening(false, 0x10, &[2, 4, 0x05, 0xb4])), "in the middle of a connection");
    }

    proptest! {
        #[test]
        fn any_bytes(mut bytes in prop::collection::vec(any::<u8>(), 0..100), mtu in 0usize..2000) {
            let _ = is_opening(&bytes);
            clamp_mss(&mut bytes, mtu);
        }

        #[test]
        fn any_options(v6: bool, options in prop::collection::vec(any::<u8>(), 0..10), mtu in 576usize..1500) {
            let options = &options[..options.len() / 4 * 4];
            let mut packet = opening(v6, SYN, options);
            if clamp_mss(&mut packet, mtu) {
                prop_assert!(is_intact(&packet));
            }
            prop_assert!(is_intact(&packet));
        }
    }
}
