//! AH (RFC 4302): the whole packet is authenticated, its IP header included, and nothing is hidden.

use coati_wire::{ah, ip};

use crate::counters::Drop;
use crate::esp::{Transform, halves};
use crate::packet::Packet;

/// Bytes of padding behind an ICV at the most: Linux has whole double words behind IPv4 too.
const MAX_PADDING: usize = 7;

/// Puts AH between the IP header of `header_len` bytes, which it mends, and its payload of protocol `next_header`.
pub(crate) fn seal(
    keys: &Transform,
    packet: &mut Packet,
    (header_len, protocol_at): (usize, usize),
    next_header: u8,
    spi: u32,
    sequence: u64,
) -> Result<(), Drop> {
    let (_, icv_len) = keys.mac().ok_or(Drop::PolicyMismatch)?;
    let is_v6 = packet.bytes().first().is_some_and(|first| first >> 4 == 6);
    let length = ah::length(icv_len, is_v6);
    if !packet.grow_front(length) {
        return Err(Drop::Headroom);
    }
    let bytes = packet.bytes_mut();
    bytes.copy_within(length..length + header_len, 0);
    if let (false, Some(id @ [0, 0])) = (is_v6, bytes.get_mut(4..6)) {
        // A raw socket's kernel would give it another number (raw(7)), and it is authenticated.
        id.copy_from_slice(&[1, 0]);
    }
    // What it says itself is authenticated too.
    ip::mend(bytes, header_len, protocol_at, coati_wire::ipv4::protocol::AH);
    let header = ah::Header { next_header, length, spi, sequence: halves(sequence).1 };
    let place = bytes.get_mut(header_len..header_len + length).ok_or(Drop::Malformed)?;
    let (fixed, icv) = place.split_at_mut(ah::FIXED_LEN);
    fixed.copy_from_slice(&header.emit());
    icv.fill(0);
    let mut value = [0; 64];
    let value = value.get_mut(..icv_len).ok_or(Drop::Malformed)?;
    cover(keys, bytes, header_len, sequence)?.finish_into(value);
    let at = header_len + ah::FIXED_LEN;
    bytes.get_mut(at..at + icv_len).ok_or(Drop::Malformed)?.copy_from_slice(value);
    Ok(())
}

/// Verifies and takes AH out again: afterwards the packet is the IP header, unmended, and the payload, whose protocol is
/// returned. `sequence` is the whole number, of which the packet has the lower half.
pub(crate) fn open(
    keys: &Transform,
    packet: &mut Packet,
    header_len: usize,
    sequence: u64,
) -> Result<u8, Drop> {
    let (_, icv_len) = keys.mac().ok_or(Drop::PolicyMismatch)?;
    let body = packet.bytes().get(header_len..).ok_or(Drop::AhLength)?;
    let (header, behind) = ah::Header::parse(body).map_err(|_| Drop::AhLength)?;
    let padding = header.length.checked_sub(ah::FIXED_LEN + icv_len).ok_or(Drop::AhLength)?;
    let icv = behind.get(..icv_len).filter(|_| padding <= MAX_PADDING).ok_or(Drop::AhLength)?;
    if !cover(keys, packet.bytes(), header_len, sequence)?.verify(icv) {
        return Err(Drop::AhForged);
    }
    packet.bytes_mut().copy_within(..header_len, header.length);
    packet.shrink_front(header.length);
    Ok(header.next_header)
}

/// Covers the packet as it stands there, but for what may change on its way and for the ICV, which count as zeroes.
fn cover<'a>(
    keys: &'a Transform,
    packet: &[u8],
    header_len: usize,
    sequence: u64,
) -> Result<coati_crypto::mac::MacContext<'a>, Drop> {
    let (mac, icv_len) = keys.mac().ok_or(Drop::PolicyMismatch)?;
    let (header, body) = packet.split_at_checked(header_len).ok_or(Drop::AhLength)?;
    let (fixed, behind) = body.split_at_checked(ah::FIXED_LEN).ok_or(Drop::AhLength)?;
    let (icv, rest) = behind.split_at_checked(icv_len).ok_or(Drop::AhLength)?;
    let mut mac = mac.start();
    ah::cover_ip_header(header, |piece| mac.update(piece)).map_err(|_| Drop::AhHeaders)?;
    mac.update(fixed);
    let zeroes = [0; 64];
    mac.update(zeroes.get(..icv.len()).ok_or(Drop::AhLength)?);
    Ok(keys.cover(mac, rest, halves(sequence).0))
}
