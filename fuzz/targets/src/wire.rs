//! The packet formats of coati-wire: what parses is emitted and parses to the same. Checksums keep most inputs out, so
//! each format that has one is tried as it came and again with the checksum put right.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use coati_wire::adminport::{Abi, Request, is_classic, reply};
use coati_wire::isakmp::{self, Delete, Fragment, Identity, Notification, SecurityAssociation};
use coati_wire::ospf::{self, LSA_HEADER_LEN, Lsa, LsaHeader};
use coati_wire::{
    checksum, esp as esp_wire, gre as gre_wire, icmp as icmp_wire, ip, ipv4 as ipv4_wire, too_big,
};
use coati_wire::{ipv6 as ipv6_wire, pfkey, udp as udp_wire};

/// The IPv4 header.
pub fn ipv4(data: &[u8]) {
    let _ = ipv4_wire::Packet::new_checked(data);
    let Ok(packet) = ipv4_wire::Packet::new(data) else { return };
    // Pieces fit, and are the whole again.
    let (mut pieces, mtu) = (Vec::new(), usize::from(packet.ttl()) * 8);
    let cut = ipv4_wire::cut(&packet, mtu, |header, piece| {
        assert!(header.len() + piece.len() <= mtu);
        pieces.extend_from_slice(piece);
    });
    if cut.is_some() {
        assert_eq!(pieces, packet.payload());
    }
    // A lower segment size changes no length, and nothing lowers it twice.
    let mut segment = data.to_vec();
    if coati_wire::tcp::is_opening(data) && coati_wire::tcp::clamp_mss(&mut segment, mtu) {
        assert!(!coati_wire::tcp::clamp_mss(&mut segment, mtu));
    }
    assert_eq!(packet.header().len() + packet.payload().len(), packet.total_len());
    let Ok(repr) = ipv4_wire::Repr::parse(&packet) else { return };
    let bytes = [&repr.emit(), packet.payload()].concat();
    let again = ipv4_wire::Packet::new_checked(&bytes).expect("an emitted header is whole");
    assert_eq!(ipv4_wire::Repr::parse(&again), Ok(repr));
    assert_eq!(again.payload(), packet.payload());
}

/// The IPv6 header and its extensions.
pub fn ipv6(data: &[u8]) {
    let Ok((repr, payload)) = ipv6_wire::Repr::parse(data) else { return };
    let bytes = [&repr.emit(), payload].concat();
    assert_eq!(ipv6_wire::Repr::parse(&bytes), Ok((repr, payload)));
    if let Ok((_, upper)) = ipv6_wire::upper_layer(repr.next_header, payload) {
        assert!(payload.ends_with(upper));
    }
}

/// The UDP header; the first byte chooses the family of the addresses.
pub fn udp(data: &[u8]) {
    let Some((family, data)) = data.split_first() else { return };
    let (source, destination): (IpAddr, IpAddr) = if family & 1 == 0 {
        (Ipv4Addr::new(192, 0, 2, 1).into(), Ipv4Addr::new(198, 51, 100, 1).into())
    } else {
        (Ipv6Addr::LOCALHOST.into(), Ipv6Addr::UNSPECIFIED.into())
    };
    let check = |bytes: &[u8]| {
        let Ok((repr, payload)) = udp_wire::Repr::parse(bytes, source, destination) else { return };
        let again = repr.emit(source, destination, payload);
        assert_eq!(udp_wire::Repr::parse(&again, source, destination), Ok((repr, payload)));
    };
    check(data);
    let mut unchecked = data.to_vec();
    if let Some(sum) = unchecked.get_mut(6..8) {
        sum.fill(0);
        check(&unchecked);
    }
}

/// ICMP messages.
pub fn icmp(data: &[u8]) {
    for is_v6 in [false, true] {
        let _ = too_big::Message::parse(data, is_v6);
    }
    // What is said of a packet can be read, and quotes it.
    if let Some(answer) = too_big::answer(data, 1300) {
        let read = ip::Packet::parse(&answer).expect("its header is right");
        let message = too_big::Message::parse(read.payload, read.source.is_ipv6()).expect("it can be read");
        let message = message.expect("it says that");
        assert_eq!(message.mtu, 1300);
        assert!(data.starts_with(message.original));
    }
    let check = |bytes: &[u8]| {
        let Ok(Some(repr)) = icmp_wire::Repr::parse(bytes) else { return };
        assert_eq!(icmp_wire::Repr::parse(&repr.emit()), Ok(Some(repr)));
    };
    check(data);
    check(&with_sum(data, 2));
}

/// The GRE header.
pub fn gre(data: &[u8]) {
    let check = |bytes: &[u8]| {
        let Ok((repr, payload)) = gre_wire::Repr::parse(bytes) else { return };
        let mut again = [vec![0xee; repr.header_len()], payload.to_vec()].concat();
        repr.emit(&mut again).expect("there is room for the header");
        assert_eq!(gre_wire::Repr::parse(&again), Ok((repr, payload)));
    };
    check(data);
    check(&with_sum(data, 4));
}

/// The clear parts of ESP, and the trailer of what was decrypted.
pub fn esp(data: &[u8]) {
    if let Ok((header, rest)) = esp_wire::Header::parse(data) {
        let bytes = [&header.emit(), rest].concat();
        assert_eq!(bytes, data);
    }
    let Ok((length, next_header)) = esp_wire::parse_trailer(data) else { return };
    let mut again = data.to_vec();
    esp_wire::emit_trailer(&mut again[length..], next_header);
    assert_eq!(again, data);
    let padding = esp_wire::padding(length, 16);
    assert!((length + padding + esp_wire::TRAILER_LEN).is_multiple_of(16));
}

/// An ISAKMP message: its header and all payloads, each read as every kind there is.
pub fn isakmp(data: &[u8]) {
    if let Ok((header, body)) = isakmp::Header::parse(data) {
        let bytes = [&header.emit(body.len()), body].concat();
        assert_eq!(isakmp::Header::parse(&bytes), Ok((header, body)));
        chain(header.next_payload, body);
    }
    if let Some((first, rest)) = data.split_first() {
        chain(*first, rest);
    }
}

fn chain(first: u8, bytes: &[u8]) {
    let Ok(list) = isakmp::payloads(first, bytes) else { return };
    assert!(list.len() <= isakmp::MAX_PAYLOADS);
    let owned: Vec<(u8, Vec<u8>)> = list.iter().map(|one| (one.kind, one.body.to_vec())).collect();
    let (kind, again) = isakmp::chain(&owned);
    assert_eq!(isakmp::payloads(kind, &again).as_deref(), Ok(list.as_slice()));
    for payload in list {
        isakmp_sa(payload.body);
        if let Ok(identity) = Identity::parse(payload.body) {
            assert_eq!(Identity::parse(&identity.emit()), Ok(identity));
        }
        if let Ok(notification) = Notification::parse(payload.body) {
            assert!(!Notification::name(notification.kind).is_empty());
            assert_eq!(Notification::parse(&notification.emit()), Ok(notification));
        }
        if let Ok(delete) = Delete::parse(payload.body) {
            assert_eq!(Delete::parse(&delete.emit()), Ok(delete));
        }
        if let Ok(fragment) = Fragment::parse(payload.body) {
            assert_eq!(Fragment::parse(&fragment.emit()), Ok(fragment));
        }
    }
}

/// The body of an SA payload.
pub fn isakmp_sa(data: &[u8]) {
    let Ok(sa) = SecurityAssociation::parse(data) else { return };
    let attributes = sa.proposals.iter().flat_map(|one| &one.transforms).flat_map(|one| &one.attributes);
    for attribute in attributes {
        let _ = attribute.as_number();
    }
    assert_eq!(SecurityAssociation::parse(&sa.emit()), Ok(sa));
}

/// An OSPF packet.
pub fn ospf_packet(data: &[u8]) {
    let check = |bytes: &[u8]| {
        let Ok((header, mut packet)) = ospf::Packet::parse(bytes) else { return };
        // What is bad in it is not sent on.
        if let ospf::Packet::LinkStateUpdate { bad, .. } = &mut packet {
            bad.clear();
        }
        assert_eq!(ospf::Packet::parse(&packet.emit(&header)), Ok((header, packet)));
    };
    check(data);
    check(&sound_ospf(data));
}

/// A link state advertisement.
pub fn ospf_lsa(data: &[u8]) {
    if let (Ok(a), Ok(b)) =
        (LsaHeader::parse(data), LsaHeader::parse(data.get(LSA_HEADER_LEN..).unwrap_or(&[])))
    {
        assert_eq!(LsaHeader::parse(&a.emit()), Ok(a));
        assert_eq!(a.compare(&b), b.compare(&a).reverse());
    }
    let check = |bytes: &[u8]| {
        let Ok(lsa) = Lsa::parse(bytes) else { return };
        let aged = Lsa::parse(&lsa.emit_aged(7)).expect("the age is not in the checksum");
        assert_eq!((&aged.body, aged.header.checksum), (&lsa.body, lsa.header.checksum));
        let LsaHeader { options, key, sequence, .. } = lsa.header;
        let new = Lsa::new(key, options, sequence, lsa.body.clone());
        assert_eq!(Lsa::parse(&new.bytes), Ok(new.clone()));
        assert_eq!(new.body, lsa.body);
    };
    check(data);
    check(&sound_lsa(data));
}

/// `bytes` with the Internet checksum at `at` made right.
fn with_sum(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if let Some(field) = bytes.get_mut(at..at + 2) {
        field.fill(0);
        let sum = checksum::internet(&[&bytes]).to_be_bytes();
        bytes[at..at + 2].copy_from_slice(&sum);
    }
    bytes
}

/// An OSPF packet with version, length and all checksums made right, also those of the LSAs in an update.
pub(crate) fn sound_ospf(bytes: &[u8]) -> Vec<u8> {
    const UPDATE: u8 = 4;
    let mut bytes = bytes.to_vec();
    let Ok(length) = u16::try_from(bytes.len()) else { return bytes };
    if bytes.len() < ospf::HEADER_LEN {
        return bytes;
    }
    bytes[0] = 2;
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
    if bytes[1] == UPDATE {
        let mut at = ospf::HEADER_LEN + 4;
        while let Some(lsa) = bytes.get(at..).filter(|rest| rest.len() >= LSA_HEADER_LEN) {
            let sound = sound_lsa(lsa);
            let length = usize::from(u16::from_be_bytes([sound[18], sound[19]]));
            bytes[at..].copy_from_slice(&sound);
            at += length.max(LSA_HEADER_LEN);
        }
    }
    bytes[12..14].fill(0);
    let sum = checksum::internet(&[&bytes[..16], &bytes[ospf::HEADER_LEN..]]).to_be_bytes();
    bytes[12..14].copy_from_slice(&sum);
    bytes
}

/// An LSA, and what follows it, with its checksum made right (RFC 905 annex B) and a length that fits.
fn sound_lsa(bytes: &[u8]) -> Vec<u8> {
    const CHECKSUM: usize = 16;
    let mut bytes = bytes.to_vec();
    if bytes.len() < LSA_HEADER_LEN {
        return bytes;
    }
    let claimed = usize::from(u16::from_be_bytes([bytes[18], bytes[19]]));
    let length = claimed.clamp(LSA_HEADER_LEN, bytes.len().min(usize::from(u16::MAX)));
    bytes[18..20].copy_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
    bytes[CHECKSUM..CHECKSUM + 2].fill(0);
    // Without the age, which is not covered.
    let (mut c0, mut c1) = (0i64, 0i64);
    for byte in &bytes[2..length] {
        c0 += i64::from(*byte);
        c1 += c0;
    }
    let behind = i64::try_from(length - CHECKSUM - 1).unwrap_or(0);
    let x = (behind * c0 - c1).rem_euclid(255);
    let y = (-c0 - x).rem_euclid(255);
    for (place, value) in bytes[CHECKSUM..CHECKSUM + 2].iter_mut().zip([x, y]) {
        *place = u8::try_from(if value == 0 { 255 } else { value }).unwrap_or(255);
    }
    bytes
}

/// racoon's admin protocol: requests as they come, what a client reads, and PF_KEY's dump messages.
pub fn adminport(data: &[u8]) {
    for abi in [Abi::Linux, Abi::FreeBsd] {
        if let Ok((request, _, _)) = Request::parse(data, abi) {
            let bytes = request.emit(abi);
            assert_eq!(is_classic(&bytes), Some(true));
            assert_eq!(Request::parse(&bytes, abi).map(|parsed| parsed.0), Ok(request));
        }
        let _ = reply::IsakmpSa::parse(data, abi);
        let _ = reply::Event::parse(data, abi);
    }
    let _ = (Request::length(data), reply::Header::parse(data), reply::Timer::parse(data));
    let mut rest = data;
    while let Ok((sa, following)) = pfkey::Repr::parse(rest) {
        assert!(following.len() < rest.len());
        let again = sa.emit();
        assert_eq!(pfkey::Repr::parse(&again), Ok((sa, &[][..])));
        rest = following;
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use coati_wire::ospf::{LsaBody, LsaKey, RouterLsa};

    use super::*;

    /// The repair really makes packets that parse; otherwise the targets would look at nothing.
    #[test]
    fn repaired_checksums_are_right() {
        let key = LsaKey { kind: 1, id: Ipv4Addr::LOCALHOST, advertising_router: Ipv4Addr::LOCALHOST };
        let lsa = Lsa::new(key, 2, 5, LsaBody::Router(RouterLsa::default()));
        let header = ospf::Header {
            router_id: Ipv4Addr::LOCALHOST,
            area: Ipv4Addr::UNSPECIFIED,
            auth_kind: ospf::AUTH_NULL,
            auth: [0; 8],
        };
        let update = ospf::Packet::LinkStateUpdate { lsas: vec![lsa.clone(), lsa], bad: Vec::new() };
        let whole = update.emit(&header);
        let mut spoiled = whole.clone();
        spoiled[13] ^= 1;
        spoiled[ospf::HEADER_LEN + 4 + 17] ^= 0x55;
        assert_eq!(sound_ospf(&spoiled), whole);
    }
}
