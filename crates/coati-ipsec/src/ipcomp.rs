//! IP payload compression by DEFLATE (RFC 3173, RFC 2394): in place, never larger than before.

use std::cell::RefCell;

use coati_wire::ipcomp::{HEADER_LEN, Header};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::counters::Drop;
use crate::packet::Packet;

/// Payloads below this many bytes are not worth the work (the Linux kernel's value).
const THRESHOLD: usize = 90;
/// An IP packet is no longer, whatever comes out of one that was compressed.
const MAX_PACKET: usize = 65_535;

/// What a thread needs to compress and to inflate, so that no packet has to allocate it.
struct Scratch {
    compress: Compress,
    decompress: Decompress,
    buffer: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        // Without the header of zlib: RFC 2394 section 2.2.
        compress: Compress::new(Compression::fast(), false),
        decompress: Decompress::new(false),
        buffer: vec![0; MAX_PACKET],
    });
}

/// Compresses what follows the IP header of `header_len` bytes, whose protocol is `next_header`. When that makes it no
/// smaller, the packet stays as it is (RFC 3173 section 2.2). The IP header is the caller's to mend. Returns whether it
/// was compressed.
pub(crate) fn compress(packet: &mut Packet, header_len: usize, next_header: u8, cpi: u16) -> bool {
    SCRATCH.with_borrow_mut(|scratch| {
        let payload = packet.bytes().get(header_len..).unwrap_or(&[]);
        if payload.len() < THRESHOLD {
            return false;
        }
        let room = payload.len() - HEADER_LEN - 1;
        let Some(buffer) = scratch.buffer.get_mut(..room) else { return false };
        scratch.compress.reset();
        let done = scratch.compress.compress(payload, buffer, FlushCompress::Finish);
        let length = usize::try_from(scratch.compress.total_out()).unwrap_or(room);
        let (Ok(Status::StreamEnd), Some(compressed)) = (done, buffer.get(..length)) else { return false };
        packet.resize(header_len + HEADER_LEN + length);
        let Some(payload) = packet.bytes_mut().get_mut(header_len..) else { return false };
        payload[..HEADER_LEN].copy_from_slice(&Header { next_header, cpi }.emit());
        payload[HEADER_LEN..].copy_from_slice(compressed);
        true
    })
}

/// Undoes [`compress`]: the payload, header included, becomes what it was, whose protocol is returned. Never does it
/// become longer than an IP packet may be.
pub(crate) fn inflate(packet: &mut Packet, header_len: usize) -> Result<u8, Drop> {
    SCRATCH.with_borrow_mut(|scratch| {
        let payload = packet.bytes().get(header_len..).unwrap_or(&[]);
        let (header, compressed) = Header::parse(payload).map_err(|_| Drop::Inflate)?;
        let room = MAX_PACKET.saturating_sub(header_len);
        let buffer = scratch.buffer.get_mut(..room).unwrap_or(&mut []);
        scratch.decompress.reset(false);
        let done = scratch.decompress.decompress(compressed, buffer, FlushDecompress::Finish);
        let length = usize::try_from(scratch.decompress.total_out()).unwrap_or(room);
        match done {
            Ok(Status::StreamEnd) => {}
            Ok(_) if length >= room => return Err(Drop::InflatesTooFar),
            _ => return Err(Drop::Inflate),
        }
        let clear = buffer.get(..length).unwrap_or(&[]);
        packet.resize(header_len + length);
        if let Some(payload) = packet.bytes_mut().get_mut(header_len..) {
            payload.copy_from_slice(clear);
        }
        Ok(header.next_header)
    })
}
