//! GRE and ESP between IPv6 addresses, with packets of both families inside.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use coati_config::{Source, setkey};
use coati_crypto::SeededRandom;
use coati_ipsec::{Drop, Packet};
use coati_router::{Arrival, Aside, Forwarder, Plane, Tunnel};
use coati_sadb::{NatT, Reply, Request, SaProto};
use coati_wire::ipv4::protocol;
use coati_wire::{ip, udp};
use proptest::prelude::*;

const A: &str = "2001:db8:a::1";
const B: &str = "2001:db8:b::1";

fn address(text: &str) -> IpAddr {
    text.parse().expect("it is one")
}

fn plane(near: &str, far: &str, nat_t: bool) -> Plane {
    let mut plane = Plane::new(|| Box::new(SeededRandom::new(1)));
    let keys = format!("-E aes-cbc 0x{} -A hmac-sha1 0x{}", "5a".repeat(16), "a5".repeat(20));
    let text = format!(
        "add {near} {far} esp 0x1001 -m transport -u 1 -r 8 {keys};
         add {far} {near} esp 0x1001 -m transport -u 2 -r 8 {keys};
         spdadd {near} {far} gre -P out ipsec esp/transport//unique:1;
         spdadd {far} {near} gre -P in ipsec esp/transport//unique:2;"
    );
    for statement in setkey::parse(&Source::new("setkey.conf", text)).expect("it is right") {
        let mut request = statement.request;
        if let (Request::Add(sa), true) = (&mut request, nat_t) {
            assert_eq!(sa.id.proto, SaProto::Esp);
            sa.nat_t = Some(NatT { source_port: 4500, destination_port: 4501, ..NatT::default() });
        }
        let reply = plane.request(Instant::now(), 0, request);
        assert!(!matches!(reply, Reply::Refused { .. }), "{reply:?}");
    }
    let tunnel =
        Tunnel { name: "gre0".into(), local: address(near), remote: address(far), key: None, mtu: 1400 };
    plane.add_tunnels([tunnel]);
    plane
}

fn forwarder(plane: &Plane) -> Forwarder {
    Forwarder::new(plane.tables(), &mut SeededRandom::new(2))
}

fn inner(v6: bool, payload: &[u8]) -> Packet {
    let (source, destination) = if v6 { ("fd00:1::10", "fd00:2::10") } else { ("10.1.0.10", "10.2.0.10") };
    let header = ip::Repr {
        tos: 0x28,
        id: 1,
        dont_fragment: true,
        ttl: 1,
        protocol: 59,
        source: address(source),
        destination: address(destination),
        payload_len: payload.len(),
    };
    let mut bytes = vec![0; header.header_len()];
    header.emit(&mut bytes).expect("one family");
    bytes.extend_from_slice(payload);
    Packet::new(&bytes)
}

proptest! {
    #[test]
    fn through_esp_over_ipv6(v6: bool, payload in prop::collection::vec(any::<u8>(), 0..1400)) {
        let (a, b) = (plane(A, B, false), plane(B, A, false));
        let sent = inner(v6, &payload);
        let mut batch = vec![sent.clone()];
        forwarder(&a).encapsulate(0, &mut batch, &mut Aside::default(), 0);
        let mut packet = batch.pop().unwrap();
        let outer = ip::Packet::parse(packet.bytes()).unwrap();
        prop_assert_eq!((outer.source, outer.destination), (address(A), address(B)));
        prop_assert_eq!((outer.protocol, outer.tos, outer.header_len), (protocol::ESP, 0x28, 40));
        prop_assert!(!packet.bytes().windows(16).any(|part| payload.windows(16).next() == Some(part)));
        // As the raw socket hands it over: what follows the header, and the addresses.
        let body = outer.payload.to_vec();
        let mut far = forwarder(&b);
        let ends = (address(B), address(A));
        prop_assert_eq!(far.decapsulate_payload(&mut packet, ends, (protocol::ESP, 0), &body, 0), Arrival::Tunnel(0));
        prop_assert_eq!(packet.bytes(), sent.bytes());
        prop_assert_eq!(
            far.decapsulate_payload(&mut packet, ends, (protocol::ESP, 0), &body, 0),
            Arrival::Dropped(Drop::Replayed)
        );
    }

    #[test]
    fn any_bytes_in_any_order(protocol in prop::sample::select(vec![47u8, 50, 0, 43, 44, 60]), body: Vec<u8>) {
        let b = plane(B, A, false);
        let mut packet = Packet::new(&[]);
        let arrival =
            forwarder(&b).decapsulate_payload(&mut packet, (address(B), address(A)), (protocol, 0), &body, 0);
        prop_assert!(!matches!(arrival, Arrival::Tunnel(_)));
    }
}

/// Over IPv6 a UDP checksum of 0 is a broken one: the kernel at the other end would throw the packet away.
#[test]
fn inside_udp_with_a_checksum() {
    let (a, b) = (plane(A, B, true), plane(B, A, true));
    let sent = inner(true, b"what is inside");
    let mut batch = vec![sent.clone()];
    forwarder(&a).encapsulate(0, &mut batch, &mut Aside::default(), 0);
    let outer = ip::Packet::parse(batch[0].bytes()).unwrap();
    assert_eq!(outer.protocol, protocol::UDP);
    let (header, body) = udp::Repr::parse(outer.payload, outer.source, outer.destination).unwrap();
    assert_eq!((header.source_port, header.destination_port), (4500, 4501));
    let (local, remote) = (SocketAddr::new(address(B), 4501), SocketAddr::new(address(A), 4500));
    let mut packet = Packet::new(&[]);
    let arrival = forwarder(&b).decapsulate_udp(&mut packet, local, remote, 0, body, 0);
    assert_eq!(arrival, Arrival::Tunnel(0));
    assert_eq!(packet.bytes(), sent.bytes());
}

#[test]
fn nothing_in_clear_and_nothing_from_others() {
    let (a, b) = (plane(A, B, false), plane(B, A, false));
    let mut packet = Packet::new(&[]);
    let clear = [&[0, 0, 8, 0][..], inner(false, b"forged").bytes()].concat();
    let mut far = forwarder(&b);
    assert_eq!(
        far.decapsulate_payload(&mut packet, (address(B), address(A)), (protocol::GRE, 0), &clear, 0),
        Arrival::Dropped(Drop::ClearInbound)
    );
    assert_eq!(
        far.decapsulate_payload(
            &mut packet,
            (address(B), address("2001:db8::9")),
            (protocol::GRE, 0),
            &clear,
            0
        ),
        Arrival::Dropped(Drop::NoPolicy)
    );
    let unknown = [&[0, 0, 0x20, 0, 0, 0, 0, 1][..], &[0; 40]].concat();
    assert!(matches!(
        far.decapsulate_payload(&mut packet, (address(B), address(A)), (protocol::ESP, 0), &unknown, 0),
        Arrival::UnknownSpi { source, destination, spi }
            if (source, destination, spi.0) == (address(A), address(B), 0x2000)
    ));
    assert!(a.is_tunnel_up(0) && b.is_tunnel_up(0));
}
