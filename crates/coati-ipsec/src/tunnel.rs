//! Tunnel mode (RFC 4301 section 5): a packet as the payload of another one, and what their headers share.

use std::net::IpAddr;

use coati_crypto::RandomSource;
use coati_wire::ip;
use coati_wire::ipv4::protocol;

use crate::counters::Drop;
use crate::packet::Packet;

/// TTL of outer headers (RFC 4301 section 5.1.2.1: the encapsulator's own).
const OUTER_TTL: u8 = 64;
/// Congestion was met (RFC 3168).
const CE: u8 = 3;
/// Such a packet may be marked.
const ECT_1: u8 = 1;
/// The sender does not understand marks.
const NOT_ECT: u8 = 0;

/// Whether a packet of this protocol holds a whole one.
pub(crate) fn is_whole(next_header: u8) -> bool {
    matches!(next_header, protocol::IPV4 | protocol::IPV6)
}

/// Puts a header between `source` and `destination` before the packet. DSCP, ECN (RFC 6040 section 4.1, normal mode) and
/// the don't-fragment bit are the inner one's. Its TTL was counted down by whoever has forwarded it.
pub(crate) fn wrap(
    packet: &mut Packet,
    source: IpAddr,
    destination: IpAddr,
    random: &mut dyn RandomSource,
) -> Result<(), Drop> {
    let inner = ip::Packet::parse(packet.bytes()).map_err(|_| Drop::Malformed)?;
    let mut id = [0; 2];
    random.fill(&mut id);
    let header = ip::Repr {
        tos: inner.tos,
        id: u16::from_be_bytes(id),
        dont_fragment: inner.dont_fragment,
        ttl: OUTER_TTL,
        protocol: if inner.source.is_ipv4() { protocol::IPV4 } else { protocol::IPV6 },
        source,
        destination,
        payload_len: packet.len(),
    };
    if !packet.grow_front(header.header_len()) {
        return Err(Drop::Headroom);
    }
    header.emit(packet.bytes_mut()).ok_or(Drop::Malformed)
}

/// Takes the outer header of `header_len` bytes off. What routers have marked outside is carried over to the inside, or
/// the packet dropped where that cannot be (RFC 6040 section 4.2).
pub(crate) fn unwrap(packet: &mut Packet, header_len: usize, next_header: u8) -> Result<(), Drop> {
    let outer = ip::Packet::parse(packet.bytes()).map_err(|_| Drop::Malformed)?.tos & 3;
    packet.shrink_front(header_len);
    let inner = ip::Packet::parse(packet.bytes()).map_err(|_| Drop::Malformed)?;
    if inner.source.is_ipv4() != (next_header == protocol::IPV4) {
        return Err(Drop::Malformed);
    }
    // Behind its end there is only traffic flow confidentiality padding (RFC 4303 section 2.7).
    let length = inner.header_len + inner.payload.len();
    packet.resize(length);
    carry_marks_over(packet, outer)
}

/// Gives the packet that has come out of a tunnel the marks that routers have put outside, where the type of service was
/// `outer` (RFC 6040 section 4.2, for GRE RFC 9601).
pub fn carry_marks_over(packet: &mut Packet, outer: u8) -> Result<(), Drop> {
    let inner = match packet.bytes() {
        [first, tos, ..] if first >> 4 == 4 => tos & 3,
        [first, second, ..] if first >> 4 == 6 => second >> 4 & 3,
        _ => return Err(Drop::Malformed),
    };
    let ecn = match (inner, outer & 3) {
        (NOT_ECT, CE) => return Err(Drop::Congestion),
        (NOT_ECT, _) => NOT_ECT,
        (_, CE) => CE,
        (CE, _) => CE,
        (_, ECT_1) => ECT_1,
        (inner, _) => inner,
    };
    if ecn != inner {
        ip::set_ecn(packet.bytes_mut(), ecn);
    }
    Ok(())
}
