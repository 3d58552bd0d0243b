//! TCP segments that follow each other become one super-packet for the kernel.
//!
//! Only intact segments are joined, since the kernel takes a super-packet's checksum on trust. Nothing waits longer
//! than the batch it came in: [`Coalescer::flush`] ends each batch.

use coati_wire::checksum;

use super::*;

/// Flows that are gathered at the same time; others find their place when one of these is written.
const FLOWS: usize = 8;
const MAX_PACKET: usize = 65_535;

/// Gathers segments by flow.
#[derive(Debug, Default)]
pub(crate) struct Coalescer {
    open: Vec<Train>,
    /// Buffers to use again.
    spare: Vec<Vec<u8>>,
}

/// Segments of one flow, joined.
#[derive(Debug)]
struct Train {
    bytes: Vec<u8>,
    ip_len: usize,
    head_len: usize,
    /// Payload of each but the last.
    size: usize,
    count: usize,
    next_seq: u32,
    /// Nothing may follow: the last one was shorter, or wants to be delivered.
    full: bool,
}

/// A TCP segment that may be joined with others.
struct Segment<'a> {
    bytes: &'a [u8],
    ip_len: usize,
    head_len: usize,
    seq: u32,
    flags: u8,
}

impl Coalescer {
    /// Takes the next packet of a batch; what is complete is written.
    pub(crate) fn push(&mut self, packet: &[u8], mut write: impl FnMut(VnetHeader, &[u8])) {
        let Some(ip_len) = tcp_at(packet) else { return write(VnetHeader::default(), packet) };
        let same = self.open.iter().position(|train| train.is_of_flow(packet, ip_len));
        let segment = Segment::parse(packet, ip_len);
        if let (Some(train), Some(segment)) = (same.and_then(|at| self.open.get_mut(at)), &segment)
            && train.append(segment)
        {
            return;
        }
        // In its flow nothing may overtake.
        match same {
            Some(at) => self.write_out(at, &mut write),
            None if self.open.len() >= FLOWS => self.write_out(0, &mut write),
            None => {}
        }
        match segment {
            Some(segment) if segment.flags & PSH == 0 => {
                let buffer = self.spare.pop().unwrap_or_default();
                self.open.push(Train::start(buffer, &segment));
            }
            _ => write(VnetHeader::default(), packet),
        }
    }

    /// Writes what was gathered.
    pub(crate) fn flush(&mut self, mut write: impl FnMut(VnetHeader, &[u8])) {
        while !self.open.is_empty() {
            self.write_out(0, &mut write);
        }
    }

    fn write_out(&mut self, at: usize, write: &mut impl FnMut(VnetHeader, &[u8])) {
        let mut train = self.open.remove(at);
        let header = if train.count > 1 { train.finish() } else { Some(VnetHeader::default()) };
        if let Some(header) = header {
            write(header, &train.bytes);
        }
        self.spare.push(train.bytes);
    }
}

impl Train {
    fn start(mut bytes: Vec<u8>, segment: &Segment<'_>) -> Self {
        bytes.clear();
        bytes.extend_from_slice(segment.bytes);
        let size = segment.bytes.len() - segment.head_len;
        Self {
            bytes,
            ip_len: segment.ip_len,
            head_len: segment.head_len,
            size,
            count: 1,
            next_seq: segment.next_seq(),
            full: false,
        }
    }

    fn is_of_flow(&self, packet: &[u8], ip_len: usize) -> bool {
        let ports = ip_len..ip_len + 4;
        self.ip_len == ip_len
            && addresses(packet) == addresses(&self.bytes)
            && packet.get(ports.clone()) == self.bytes.get(ports)
    }

    /// Joins the segment, if the kernel's splitting gives it back as it is.
    fn append(&mut self, segment: &Segment<'_>) -> bool {
        let Some((head, payload)) = segment.bytes.split_at_checked(segment.head_len) else { return false };
        let fits = !self.full
            && segment.head_len == self.head_len
            && segment.seq == self.next_seq
            && payload.len() <= self.size
            && self.bytes.len() + payload.len() <= MAX_PACKET
            && self.bytes.get(..self.head_len).is_some_and(|first| is_alike(first, head, self.ip_len));
        if !fits {
            return false;
        }
        self.bytes.extend_from_slice(payload);
        self.count += 1;
        self.next_seq = segment.next_seq();
        self.full = payload.len() < self.size || segment.flags & PSH != 0;
        if segment.flags & PSH != 0
            && let Some(flags) = self.bytes.get_mut(self.ip_len + 13)
        {
            *flags |= PSH;
        }
        true
    }

    /// Lengths and checksums of the whole.
    fn finish(&mut self) -> Option<VnetHeader> {
        let total = self.bytes.len();
        mend_ip(&mut self.bytes, self.ip_len, total)?;
        let sum = checksum::sum(&[addresses(&self.bytes)?, &pseudo_rest(total - self.ip_len)]);
        put(&mut self.bytes, self.ip_len + usize::from(TCP_CSUM_OFFSET), sum.to_be_bytes())?;
        Some(VnetHeader {
            flags: NEEDS_CSUM,
            gso_type: if self.bytes.first()? >> 4 == 4 { GSO_TCPV4 } else { GSO_TCPV6 },
            hdr_len: u16::try_from(self.head_len).ok()?,
            gso_size: u16::try_from(self.size).ok()?,
            csum_start: u16::try_from(self.ip_len).ok()?,
            csum_offset: TCP_CSUM_OFFSET,
        })
    }
}

impl<'a> Segment<'a> {
    /// `None` for what must stay alone.
    fn parse(packet: &'a [u8], ip_len: usize) -> Option<Self> {
        let tcp = packet.get(ip_len..)?;
        let tcp_len = usize::from(tcp.get(12)? >> 4) * 4;
        let flags = *tcp.get(13)?;
        let is_plain = tcp_len >= TCP_LEN && tcp.len() > tcp_len && flags & !PSH == ACK;
        // With "don't fragment" an ID means nothing (RFC 6864), so that it may be counted up.
        let is_whole = match packet.first()? >> 4 {
            4 => {
                usize::from(word(packet, 2)?) == packet.len()
                    && word(packet, 6)? == 0x4000
                    && checksum::is_intact(&[packet.get(..ip_len)?])
            }
            _ => usize::from(word(packet, 4)?) + IPV6_LEN == packet.len(),
        };
        if !is_plain || !is_whole || !checksum::is_intact(&[addresses(packet)?, &pseudo_rest(tcp.len()), tcp])
        {
            return None;
        }
        Some(Self { bytes: packet, ip_len, head_len: ip_len + tcp_len, seq: long(tcp, 4)?, flags })
    }

    fn next_seq(&self) -> u32 {
        let length = u32::try_from(self.bytes.len() - self.head_len).unwrap_or(0);
        self.seq.wrapping_add(length)
    }
}

/// Where TCP begins, when it follows an IP header without options in a packet that is no fragment.
fn tcp_at(packet: &[u8]) -> Option<usize> {
    match packet.first()? {
        0x45 if packet.get(9) == Some(&PROTOCOL_TCP) && word(packet, 6)? & 0x3fff == 0 => Some(IPV4_LEN),
        first if first >> 4 == 6 && packet.get(6) == Some(&PROTOCOL_TCP) => Some(IPV6_LEN),
        _ => None,
    }
}

/// Whether two heads of one flow differ in nothing but what splitting makes anew: length, ID, sequence number,
/// checksums, PSH.
fn is_alike(a: &[u8], b: &[u8], ip_len: usize) -> bool {
    let same = |from: usize, to: usize| a.get(from..to).is_some_and(|part| b.get(from..to) == Some(part));
    let ip = if ip_len == IPV4_LEN { same(0, 2) && same(6, 10) } else { same(0, 4) && same(6, 8) };
    // Acknowledgement and length of the header; window; urgent pointer and options.
    ip && same(ip_len + 8, ip_len + 13)
        && same(ip_len + 14, ip_len + 16)
        && same(ip_len + 18, a.len().max(b.len()))
}
