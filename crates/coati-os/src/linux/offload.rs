//! What a TUN interface with IFF_VNET_HDR carries: TCP super-packets of up to 64 KiB and unfinished checksums.
//!
//! The header before each packet is virtio's (`struct virtio_net_hdr`, linux/virtio_net.h). [`split()`] makes the packets
//! of a super-packet, as a network card with TSO does; [`Coalescer`] does the reverse, by the rules of the kernel's GRO:
//! only what splitting would give back as it was is joined. A call then carries dozens of packets instead of one.

mod coalesce;
mod split;

pub(crate) use coalesce::Coalescer;
pub(crate) use split::split;

/// The checksum at `csum_offset` holds the pseudo header's sum only.
const NEEDS_CSUM: u8 = 1;
const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
/// Set beside the kind when CWR is in the first segment.
const GSO_ECN: u8 = 0x80;

/// Bytes of IPv4 and IPv6 headers without options.
const IPV4_LEN: usize = 20;
const IPV6_LEN: usize = 40;
const TCP_LEN: usize = 20;
/// Where TCP has its checksum.
const TCP_CSUM_OFFSET: u16 = 16;
const PROTOCOL_TCP: u8 = 6;

const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;
const CWR: u8 = 0x80;

/// `struct virtio_net_hdr`, in the byte order of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct VnetHeader {
    pub(crate) flags: u8,
    pub(crate) gso_type: u8,
    /// A hint, not to be relied on.
    pub(crate) hdr_len: u16,
    pub(crate) gso_size: u16,
    pub(crate) csum_start: u16,
    pub(crate) csum_offset: u16,
}

impl VnetHeader {
    /// Its length.
    pub(crate) const LEN: usize = 10;

    /// Takes it off the front of what was read.
    pub(crate) fn parse(bytes: &mut [u8]) -> Option<(Self, &mut [u8])> {
        let (header, rest) = bytes.split_first_chunk_mut::<{ Self::LEN }>()?;
        let [flags, gso_type, a, b, c, d, e, f, g, h] = *header;
        let word = |low, high| u16::from_ne_bytes([low, high]);
        let header = Self {
            flags,
            gso_type,
            hdr_len: word(a, b),
            gso_size: word(c, d),
            csum_start: word(e, f),
            csum_offset: word(g, h),
        };
        Some((header, rest))
    }

    /// Its bytes.
    pub(crate) fn emit(self) -> [u8; Self::LEN] {
        let [a, b] = self.hdr_len.to_ne_bytes();
        let [c, d] = self.gso_size.to_ne_bytes();
        let [e, f] = self.csum_start.to_ne_bytes();
        let [g, h] = self.csum_offset.to_ne_bytes();
        [self.flags, self.gso_type, a, b, c, d, e, f, g, h]
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|word| u16::from_be_bytes(*word))
}

fn long(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|long| u32::from_be_bytes(*long))
}

fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) -> Option<()> {
    *bytes.get_mut(at..)?.first_chunk_mut()? = value;
    Some(())
}

/// Addresses of the IP header at the front, as the pseudo header has them.
fn addresses(packet: &[u8]) -> Option<&[u8]> {
    match packet.first()? >> 4 {
        4 => packet.get(12..20),
        6 => packet.get(8..40),
        _ => None,
    }
}

/// The rest of TCP's pseudo header; IPv6's longer fields sum up to the same.
fn pseudo_rest(tcp_len: usize) -> [u8; 4] {
    let [high, low] = u16::try_from(tcp_len).unwrap_or(u16::MAX).to_be_bytes();
    [0, PROTOCOL_TCP, high, low]
}

/// Writes length and, for IPv4, header checksum of a packet of `total` bytes.
fn mend_ip(head: &mut [u8], ip_len: usize, total: usize) -> Option<()> {
    if head.first()? >> 4 == 6 {
        let payload_len = u16::try_from(total.checked_sub(IPV6_LEN)?).ok()?;
        return put(head, 4, payload_len.to_be_bytes());
    }
    put(head, 2, u16::try_from(total).ok()?.to_be_bytes())?;
    put(head, 10, [0, 0])?;
    let sum = coati_wire::checksum::internet(&[head.get(..ip_len)?]);
    put(head, 10, sum.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use coati_wire::checksum;
    use proptest::prelude::*;

    /// A TCP segment over IPv4 or IPv6, as a sender makes it.
    pub(super) fn segment(v6: bool, id: u16, seq: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
        let ip_len = if v6 { IPV6_LEN } else { IPV4_LEN };
        let mut packet = vec![0; ip_len];
        if v6 {
            packet[0] = 0x60;
            packet[6..8].copy_from_slice(&[PROTOCOL_TCP, 64]);
            packet[8] = 0x20;
            packet[24] = 0x20;
        } else {
            packet[..2].copy_from_slice(&[0x45, 0]);
            packet[4..6].copy_from_slice(&id.to_be_bytes());
            packet[6..10].copy_from_slice(&[0x40, 0, 64, PROTOCOL_TCP]);
            packet[12..20].copy_from_slice(&[10, 1, 0, 10, 10, 2, 0, 10]);
        }
        packet.extend([0x13, 0x88, 0x14, 0x51]);
        packet.extend(seq.to_be_bytes());
        packet.extend([0, 0, 0, 9, 0x80, flags, 1, 0, 0, 0, 0, 0]);
        packet.extend([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
        packet.extend(payload);
        let total = packet.len();
        mend_ip(&mut packet, ip_len, total).unwrap();
        let rest = pseudo_rest(total - ip_len);
        let sum = checksum::internet(&[addresses(&packet).unwrap(), &rest, &packet[ip_len..]]);
        packet[ip_len + 16..ip_len + 18].copy_from_slice(&sum.to_be_bytes());
        packet
    }

    /// What the other side's kernel sees: everything that was written, super-packets split again.
    pub(super) fn through_coalescer(packets: &[Vec<u8>]) -> (Vec<Vec<u8>>, usize) {
        let (mut out, mut writes) = (Vec::new(), 0);
        let mut write = |header: VnetHeader, bytes: &[u8]| {
            writes += 1;
            let mut bytes = bytes.to_vec();
            split(header, &mut bytes, |head, payload| out.push([head, payload].concat())).unwrap();
        };
        let mut coalescer = Coalescer::default();
        packets.iter().for_each(|packet| coalescer.push(packet, &mut write));
        coalescer.flush(&mut write);
        (out, writes)
    }

    fn payload(length: usize) -> Vec<u8> {
        (0..length).map(|i| (i % 251) as u8).collect()
    }

    #[test]
    fn a_train_is_joined_and_split_again_as_it_was() {
        for v6 in [false, true] {
            let mut seq = u32::MAX - 3000;
            let train: Vec<Vec<u8>> = (0..40)
                .map(|i| {
                    let (flags, length) = if i == 39 { (ACK | PSH, 77) } else { (ACK, 1348) };
                    let packet = segment(v6, i, seq, flags, &payload(length));
                    seq = seq.wrapping_add(length as u32);
                    packet
                })
                .collect();
            let (out, writes) = through_coalescer(&train);
            assert_eq!(out, train);
            assert_eq!(writes, 1);
        }
    }

    #[test]
    fn what_splitting_would_not_give_back_is_not_joined() {
        let first = segment(false, 0, 1000, ACK, &payload(100));
        let mut other_ttl = segment(false, 1, 1100, ACK, &payload(100));
        other_ttl[8] = 3;
        mend_ip(&mut other_ttl, IPV4_LEN, 152).unwrap();
        let mut damaged = segment(false, 1, 1100, ACK, &payload(100));
        damaged[100] ^= 1;
        let mut may_be_fragmented = segment(false, 1, 1100, ACK, &payload(100));
        may_be_fragmented[6] = 0;
        mend_ip(&mut may_be_fragmented, IPV4_LEN, 152).unwrap();
        for second in [
            segment(false, 1, 1101, ACK, &payload(100)),
            segment(false, 1, 1100, ACK, &payload(101)),
            segment(false, 1, 1100, ACK, &[]),
            segment(false, 1, 1100, ACK | FIN, &payload(100)),
            segment(false, 1, 1100, ACK | CWR, &payload(100)),
            other_ttl,
            damaged,
            may_be_fragmented,
        ] {
            let train = [first.clone(), second];
            assert_eq!(through_coalescer(&train), (train.to_vec(), 2));
        }
    }

    #[test]
    fn checksums_that_the_kernel_left_open_are_finished() {
        let finished = segment(false, 7, 5, ACK, &payload(9));
        let mut open = finished.clone();
        let partial = checksum::sum(&[addresses(&open).unwrap(), &pseudo_rest(open.len() - IPV4_LEN)]);
        open[36..38].copy_from_slice(&partial.to_be_bytes());
        let header = VnetHeader {
            flags: NEEDS_CSUM,
            csum_start: 20,
            csum_offset: TCP_CSUM_OFFSET,
            ..VnetHeader::default()
        };
        let mut out = Vec::new();
        split(header, &mut open, |head, payload| out.push([head, payload].concat())).unwrap();
        assert_eq!(out, [finished]);
    }

    proptest! {
        #[test]
        fn the_header_comes_back(bytes: [u8; 10]) {
            let mut copy = bytes;
            prop_assert_eq!(VnetHeader::parse(&mut copy).unwrap().0.emit(), bytes);
        }

        #[test]
        fn no_header_and_no_packet_upsets_it(header: [u8; 10], mut packet in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut header = header;
            let (header, _) = VnetHeader::parse(&mut header).unwrap();
            let length = packet.len();
            let mut sum = 0;
            let _ = split(header, &mut packet, |_, payload| sum += payload.len());
            prop_assert!(sum <= length);
        }

        /// Each flow gets exactly its packets, in their order, whatever was joined.
        #[test]
        fn nothing_is_lost_or_changed(
            packets in prop::collection::vec((0u8..3, 0usize..5, prop::sample::select(vec![ACK, ACK, ACK, ACK | PSH, ACK | FIN]), any::<bool>()), 0..60),
            // Not in what tells the flow.
            damage in prop::collection::vec((0usize..60, 48usize..120), 0..3),
        ) {
            let mut seqs = [0u32; 3];
            let mut train: Vec<Vec<u8>> = packets.iter().enumerate().map(|(i, (flow, size, flags, skip))| {
                let seq = &mut seqs[usize::from(*flow)];
                let data = payload([0, 10, 100, 100, 100][*size]);
                *seq = seq.wrapping_add(u32::from(*skip));
                let mut packet = segment(*flow == 2, i as u16, *seq, *flags, &data);
                if *flow == 1 {
                    packet[33] ^= 1; // another port
                    packet[36..38].copy_from_slice(&[0, 0]);
                    let rest = pseudo_rest(packet.len() - IPV4_LEN);
                    let sum = checksum::internet(&[addresses(&packet).unwrap(), &rest, &packet[IPV4_LEN..]]);
                    packet[36..38].copy_from_slice(&sum.to_be_bytes());
                }
                *seq = seq.wrapping_add(data.len() as u32);
                packet
            }).collect();
            for (packet, byte) in damage {
                if let Some(byte) = train.get_mut(packet).and_then(|packet| packet.get_mut(byte)) {
                    *byte ^= 0x55;
                }
            }
            let (out, _) = through_coalescer(&train);
            // IDs of packets that must not be fragmented mean nothing (RFC 6864); splitting counts them up.
            let without_id = |list: &[Vec<u8>]| -> Vec<Vec<u8>> {
                let mut list = list.to_vec();
                for packet in &mut list {
                    if packet.first().is_some_and(|first| first >> 4 == 4) && packet.len() >= 20 {
                        let intact = checksum::is_intact(&[&packet[..20]]);
                        packet[4..6].fill(0);
                        packet[10..12].fill(if intact { 0 } else { 1 });
                    }
                }
                list
            };
            let (mut out, mut train) = (without_id(&out), without_id(&train));
            let flow = |packet: &Vec<u8>| packet.get(..40).map(|head| (head[0], head[33]));
            out.sort_by_key(flow);
            train.sort_by_key(flow);
            prop_assert_eq!(out, train);
        }
    }
}
