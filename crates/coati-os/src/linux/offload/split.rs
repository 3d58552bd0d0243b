//! One read from a TUN interface becomes the packets it stands for.

use coati_wire::checksum;

use super::*;

/// The kernel handed over something that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Calls `each` for every packet, in two parts that follow each other: headers and payload. `packet` is used up.
pub(crate) fn split(
    header: VnetHeader,
    packet: &mut [u8],
    mut each: impl FnMut(&[u8], &[u8]),
) -> Result<(), Malformed> {
    let done = match header.gso_type & !GSO_ECN {
        GSO_NONE => finish_checksum(header, packet).map(|()| each(packet, &[])),
        GSO_TCPV4 | GSO_TCPV6 => split_tcp(header, packet, each),
        // Nothing else was asked for with TUNSETOFFLOAD.
        _ => None,
    };
    done.ok_or(Malformed)
}

/// From `csum_start` to the end, the pseudo header's sum being there already.
fn finish_checksum(header: VnetHeader, packet: &mut [u8]) -> Option<()> {
    if header.flags & NEEDS_CSUM == 0 {
        return Some(());
    }
    let covered = packet.get_mut(usize::from(header.csum_start)..)?;
    let at = usize::from(header.csum_offset);
    covered.get(at..at + 2)?;
    // 0 means "no checksum" in UDP; its complement means the same in TCP.
    let sum = match checksum::internet(&[covered]) {
        0 => 0xffff,
        sum => sum,
    };
    put(covered, at, sum.to_be_bytes())
}

fn split_tcp(header: VnetHeader, packet: &mut [u8], mut each: impl FnMut(&[u8], &[u8])) -> Option<()> {
    // `hdr_len` cannot be relied on when the kernel forwards; TCP itself says how long it is.
    let ip_len = usize::from(header.csum_start);
    let tcp_len = usize::from(packet.get(ip_len + 12)? >> 4) * 4;
    if tcp_len < TCP_LEN || header.gso_size == 0 || ip_len < IPV4_LEN {
        return None;
    }
    let (head, payload) = packet.split_at_mut_checked(ip_len + tcp_len)?;
    let is_v4 = match (head.first()? >> 4, header.gso_type & !GSO_ECN) {
        (4, GSO_TCPV4) => true,
        (6, GSO_TCPV6) if ip_len >= IPV6_LEN => false,
        _ => return None,
    };
    let first_id = word(head, 4)?;
    let first_seq = long(head, ip_len + 4)?;
    let flags = *head.get(ip_len + 13)?;
    let size = usize::from(header.gso_size);
    let count = payload.len().div_ceil(size);
    for (index, payload) in payload.chunks(size).enumerate() {
        let total = ip_len + tcp_len + payload.len();
        if is_v4 {
            let id = first_id.wrapping_add(u16::try_from(index).ok()?);
            put(head, 4, id.to_be_bytes())?;
        }
        mend_ip(head, ip_len, total)?;
        let seq = first_seq.wrapping_add(u32::try_from(index * size).ok()?);
        put(head, ip_len + 4, seq.to_be_bytes())?;
        let mut own = flags;
        if index > 0 {
            own &= !CWR;
        }
        if index + 1 < count {
            own &= !(FIN | PSH);
        }
        put(head, ip_len + 13, [own])?;
        put(head, ip_len + usize::from(TCP_CSUM_OFFSET), [0, 0])?;
        let rest = pseudo_rest(total - ip_len);
        let sum = checksum::internet(&[addresses(head)?, &rest, head.get(ip_len..)?, payload]);
        put(head, ip_len + usize::from(TCP_CSUM_OFFSET), sum.to_be_bytes())?;
        each(head, payload);
    }
    Some(())
}
