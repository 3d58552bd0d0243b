//! What a tunnel does with packets that are too large for its path, with TCP that begins, with keepalives of GRE and with
//! marks of congestion.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use coati_config::{Source, setkey};
use coati_crypto::SeededRandom;
use coati_ipsec::{Drop, Packet};
use coati_router::{Arrival, Aside, Forwarder, Plane, Tunnel};
use coati_sadb::{NatT, Reply, Request, SaProto};
use coati_wire::ipv4::protocol;
use coati_wire::too_big::Message;
use coati_wire::{ip, ipv4};
use proptest::prelude::*;

const V4: [&str; 2] = ["192.0.2.1", "198.51.100.1"];
const V6: [&str; 2] = ["2001:db8:a::1", "2001:db8:b::1"];

fn address(text: &str) -> IpAddr {
    text.parse().expect("it is one")
}

/// One end of a tunnel, and how its packets are made.
struct End {
    plane: Plane,
    out: Forwarder,
    in_: Forwarder,
    now: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Way {
    v6: bool,
    key: Option<u32>,
    tunnel_mode: bool,
    nat_t: bool,
    /// Besides ESP, or in its place.
    ah: Option<Ah>,
    algorithms: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ah {
    Alone,
    AroundEsp,
}

const CBC: &str =
    "-E aes-cbc 0x5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a -A hmac-sha1 0xa5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5";
const GCM: &str = "-E aes-gcm-16 0x5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";
const CTR: &str = "-E aes-ctr 0x5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a -A hmac-sha512 0xa5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5";
const CHACHA: &str =
    "-E chacha20-poly1305 0x5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";
const PLAIN: Way = Way { v6: false, key: None, tunnel_mode: false, nat_t: false, ah: None, algorithms: CBC };

impl End {
    fn new(way: Way, turned: bool) -> Self {
        let ends = if way.v6 { V6 } else { V4 };
        let [near, far] = if turned { [ends[1], ends[0]] } else { ends };
        let mut plane = Plane::new(|| Box::new(SeededRandom::new(1)));
        let rule = |proto: &str, a: &str, b: &str| match way.tunnel_mode {
            true => format!("{proto}/tunnel/{a}-{b}/require"),
            false => format!("{proto}/transport//require"),
        };
        let rules = |a: &str, b: &str| match way.ah {
            None => rule("esp", a, b),
            Some(Ah::Alone) => rule("ah", a, b),
            Some(Ah::AroundEsp) => format!("{} ah/transport//require", rule("esp", a, b)),
        };
        let mode = if way.tunnel_mode { "tunnel" } else { "transport" };
        let ah_mode = if way.ah == Some(Ah::AroundEsp) { "transport" } else { mode };
        let algorithms = way.algorithms;
        let ah = format!("-A hmac-sha256 0x{}", "a5".repeat(32));
        let text = format!(
            "add {near} {far} esp 0x1001 -m {mode} {algorithms};
             add {far} {near} esp 0x1001 -m {mode} {algorithms};
             add {near} {far} ah 0x2001 -m {ah_mode} {ah};
             add {far} {near} ah 0x2001 -m {ah_mode} {ah};
             spdadd {near} {far} gre -P out ipsec {};
             spdadd {far} {near} gre -P in ipsec {};",
            rules(near, far),
            rules(far, near),
        );
        for statement in setkey::parse(&Source::new("setkey.conf", text)).expect("it is right") {
            let mut request = statement.request;
            if let (Request::Add(sa), true) = (&mut request, way.nat_t)
                && sa.id.proto == SaProto::Esp
            {
                sa.nat_t = Some(NatT { source_port: 4500, destination_port: 4500, ..NatT::default() });
            }
            let reply = plane.request(Instant::now(), 0, request);
            assert!(!matches!(reply, Reply::Refused { .. }), "{reply:?}");
        }
        let (local, remote) = (address(near), address(far));
        plane.add_tunnels([Tunnel { name: "gre0".into(), local, remote, key: way.key, mtu: 9000 }]);
        let forwarder = || Forwarder::new(plane.tables(), &mut SeededRandom::new(2));
        let (out, in_) = (forwarder(), forwarder());
        Self { plane, out, in_, now: Instant::now() }
    }

    fn send(&mut self, inner: &[u8]) -> (Vec<Packet>, Vec<Vec<u8>>) {
        let (mut batch, mut aside) = (vec![Packet::new(inner)], Aside::default());
        self.out.encapsulate(0, &mut batch, &mut aside, 0);
        assert!(aside.waiting.is_empty());
        (batch, aside.back)
    }

    /// A packet of the other end comes in: in UDP, over IPv6 without its header, or as it is.
    fn receives(&mut self, way: Way, packet: &mut Packet) -> Arrival {
        let outer = ip::Packet::parse(packet.bytes()).unwrap();
        let (ends, protocol, tos) = ((outer.destination, outer.source), outer.protocol, outer.tos);
        let body = outer.payload.to_vec();
        if way.nat_t {
            let (local, remote) = ((ends.0, 4500).into(), (ends.1, 4500).into());
            self.in_.decapsulate_udp(packet, local, remote, tos, &body[8..], 0)
        } else if way.v6 {
            self.in_.decapsulate_payload(packet, ends, (protocol, tos), &body, 0)
        } else {
            self.in_.decapsulate(packet, 0)
        }
    }

    /// A router between says that this packet is too big; whether it is believed.
    fn hears(&mut self, original: &[u8], mtu: u32) -> bool {
        let original = &original[..original.len().min(64)];
        self.plane.too_big(self.now, &Message { mtu, original }).is_some()
    }

    fn count(&self, name: &str) -> u64 {
        self.plane.counters().into_iter().find(|(found, _)| found == name).expect(name).1
    }
}

fn inner(v6: bool, dont_fragment: bool, protocol: u8, tos: u8, payload: &[u8]) -> Vec<u8> {
    let (source, destination) = if v6 { ("fd00:1::10", "fd00:2::10") } else { ("10.1.0.10", "10.2.0.10") };
    let header = ip::Repr {
        tos,
        id: 77,
        dont_fragment,
        ttl: 63,
        protocol,
        source: address(source),
        destination: address(destination),
        payload_len: payload.len(),
    };
    let mut bytes = vec![0; header.header_len()];
    header.emit(&mut bytes).expect("one family");
    bytes.extend_from_slice(payload);
    bytes
}

fn ways() -> impl Strategy<Value = Way> {
    let key = prop::option::of(Just(7));
    // No NAT lets AH through.
    let around = prop::sample::select(vec![
        (false, None),
        (true, None),
        (false, Some(Ah::Alone)),
        (false, Some(Ah::AroundEsp)),
    ]);
    let algorithms = prop::sample::select(vec![CBC, GCM, CTR, CHACHA]);
    (any::<bool>(), key, any::<bool>(), around, algorithms).prop_map(
        |(v6, key, tunnel_mode, (nat_t, ah), algorithms)| Way { v6, key, tunnel_mode, nat_t, ah, algorithms },
    )
}

proptest! {
    /// The size that is told fits, and one byte more does not.
    #[test]
    fn what_is_told_is_exact(way in ways(), inner_v6: bool, mtu in 1300u32..1500) {
        let mut end = End::new(way, false);
        let packet = |length: usize| {
            let header = if inner_v6 { 40 } else { 20 };
            inner(inner_v6, true, protocol::UDP, 0, &vec![1; length - header])
        };
        let (sent, back) = end.send(&packet(3000));
        prop_assert!(back.is_empty() && sent.len() == 1, "nothing is known yet");
        let outer = ip::Packet::parse(sent[0].bytes()).unwrap();
        prop_assert!(way.v6 || outer.dont_fragment, "so that a router can say something");
        prop_assert!(end.hears(sent[0].bytes(), mtu));
        let (sent, back) = end.send(&packet(3000));
        prop_assert!(sent.is_empty());
        let answer = ip::Packet::parse(&back[0]).unwrap();
        let told = Message::parse(answer.payload, inner_v6).unwrap().unwrap().mtu as usize;
        let (sent, back) = end.send(&packet(told));
        prop_assert!(back.is_empty() && sent[0].len() <= mtu as usize);
        let (sent, back) = end.send(&packet(told + 1));
        prop_assert!(sent.is_empty() && back.len() == 1);
        prop_assert_eq!(end.count("too-big-for-path"), 2);
    }

    /// What may be cut arrives in pieces that fit, and put together they are what was sent.
    #[test]
    fn what_may_be_cut_arrives(way in ways(), mtu in 1300u32..1500, length in 1500usize..6000) {
        let (mut a, mut b) = (End::new(way, false), End::new(way, true));
        let (sent, _) = a.send(&inner(false, true, protocol::UDP, 0, &[1; 3000]));
        prop_assert!(a.hears(sent[0].bytes(), mtu));
        let payload: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        let (sent, back) = a.send(&inner(false, false, protocol::UDP, 0, &payload));
        prop_assert!(back.is_empty() && sent.len() > 1);
        let mut whole = Vec::new();
        for mut packet in sent {
            prop_assert!(packet.len() <= mtu as usize);
            prop_assert_eq!(b.receives(way, &mut packet), Arrival::Tunnel(0));
            let piece = ipv4::Packet::new_checked(packet.bytes()).unwrap();
            whole.extend_from_slice(piece.payload());
        }
        prop_assert_eq!(whole, payload);
    }

    /// A TCP connection begins with the largest segment that fits, seen from both ends.
    #[test]
    fn the_largest_segment_is_exact(way in ways(), inner_v6: bool, mtu in 1300u32..1500) {
        let (mut a, mut b) = (End::new(way, false), End::new(way, true));
        let (sent, _) = a.send(&inner(inner_v6, true, protocol::UDP, 0, &[1; 3000]));
        prop_assert!(a.hears(sent[0].bytes(), mtu));
        let headers = if inner_v6 { 60 } else { 40 };
        let opening = inner(inner_v6, true, protocol::TCP, 0, &segment(2, Some(8960)));
        let (sent, _) = a.send(&opening);
        let mut arrived = sent[0].clone();
        prop_assert_eq!(b.receives(way, &mut arrived), Arrival::Tunnel(0));
        let largest = usize::from(mss(arrived.bytes())) + headers;
        prop_assert_eq!(a.count("tcp-mss-clamped"), 1);
        for (length, fits) in [(largest, true), (largest + 1, false)] {
            let full = inner(inner_v6, true, protocol::TCP, 0, &vec![0; length + 20 - headers]);
            prop_assert_eq!(a.send(&full).0.len(), usize::from(fits), "{}", length);
        }
        // The answer that comes in is told the same: what leaves here has to fit.
        let answer = inner(inner_v6, true, protocol::TCP, 0, &segment(0x12, Some(8960)));
        let (sent, _) = b.send(&answer);
        let mut arrived = sent[0].clone();
        prop_assert_eq!(a.receives(way, &mut arrived), Arrival::Tunnel(0));
        prop_assert_eq!(usize::from(mss(arrived.bytes())) + headers, largest);
    }

    /// Whatever says that it was too big: only what was sent just now counts.
    #[test]
    fn a_stranger_is_not_believed(way in ways(), at in 0usize..60, change in 1u8..) {
        let mut end = End::new(way, false);
        let (sent, _) = end.send(&inner(false, true, protocol::UDP, 0, &[1; 1400]));
        let mut original = sent[0].bytes().to_vec();
        let header = if way.v6 { 40 } else { 20 } + if way.nat_t { 8 } else { 0 };
        // Any other SPI or sequence number; AH has a word before them.
        let header = header + if way.ah.is_some() { 4 } else { 0 };
        let at = header + at % 8;
        original[at] ^= change;
        prop_assert!(!end.hears(&original, 1300));
        prop_assert_eq!(end.send(&inner(false, true, protocol::UDP, 0, &[1; 1400])).0.len(), 1);
        prop_assert_eq!(end.count("icmp-about-nothing-sent"), 1);
    }

    #[test]
    fn any_word_of_a_router(original: Vec<u8>, mtu: u32) {
        let mut end = End::new(PLAIN, false);
        prop_assert!(!end.hears(&original, mtu));
    }

    /// What is in a keepalive, bytes by bytes: it is answered, or handed on, and nothing else.
    #[test]
    fn any_gre_inside(body in prop::collection::vec(any::<u8>(), 0..24)) {
        let (mut a, mut b) = (End::new(PLAIN, false), End::new(PLAIN, true));
        let keepalive = keepalive(V4[1], V4[0], &body);
        let (sent, _) = a.send(&keepalive);
        let mut packet = sent[0].clone();
        match b.in_.decapsulate(&mut packet, 0) {
            Arrival::Tunnel(0) => prop_assert_eq!(packet.bytes(), &keepalive[..]),
            Arrival::Answer => prop_assert!(body.len() <= 16),
            other => prop_assert!(false, "{other:?}"),
        }
    }
}

fn segment(flags: u8, mss: Option<u16>) -> Vec<u8> {
    let mut segment = vec![0; 20];
    segment[12] = if mss.is_some() { 0x60 } else { 0x50 };
    segment[13] = flags;
    segment.extend(mss.map(|mss| [[2, 4], mss.to_be_bytes()].concat()).unwrap_or_default());
    segment
}

fn mss(packet: &[u8]) -> u16 {
    let segment = ip::Packet::parse(packet).unwrap().payload;
    assert_eq!(segment[20..22], [2, 4]);
    u16::from_be_bytes([segment[22], segment[23]])
}

/// As Cisco makes it: GRE from the one that is asked to the one that asks.
fn keepalive(from: &str, to: &str, body: &[u8]) -> Vec<u8> {
    let header = ip::Repr {
        tos: 0xc0,
        id: 1,
        dont_fragment: false,
        ttl: 255,
        protocol: protocol::GRE,
        source: address(from),
        destination: address(to),
        payload_len: body.len(),
    };
    let mut bytes = vec![0; header.header_len()];
    header.emit(&mut bytes).expect("one family");
    bytes.extend_from_slice(body);
    bytes
}

#[test]
fn the_word_of_a_router_is_forgotten_and_the_interfaces_counts() {
    let mut end = End::new(PLAIN, false);
    let big = inner(false, true, protocol::UDP, 0, &[1; 1400]);
    let (sent, _) = end.send(&big);
    assert!(end.hears(sent[0].bytes(), 1400));
    assert!(!end.hears(sent[0].bytes(), 1450), "it never raises");
    assert_eq!(end.send(&big).0.len(), 0);
    end.plane.handle_timeout(end.now + Duration::from_secs(599), 599);
    assert_eq!(end.send(&big).0.len(), 0);
    end.plane.handle_timeout(end.now + Duration::from_secs(601), 601);
    assert_eq!(end.send(&big).0.len(), 1, "after ten minutes it is tried again");
    // The outside interface's MTU, and a change of it.
    let links = |mtu| BTreeMap::from([(address(V4[0]), mtu)]);
    end.plane.set_links(links(1400), &BTreeMap::new());
    assert_eq!(end.send(&big).0.len(), 0);
    end.plane.set_links(links(1500), &BTreeMap::new());
    assert_eq!(end.send(&big).0.len(), 1);
    // And the tunnel's own, for segments.
    end.plane.set_links(BTreeMap::new(), &BTreeMap::from([("gre0".to_owned(), 1300)]));
    let mut far = End::new(PLAIN, true);
    let (sent, _) = end.send(&inner(false, true, protocol::TCP, 0, &segment(2, Some(1460))));
    let mut packet = sent[0].clone();
    assert_eq!(far.in_.decapsulate(&mut packet, 0), Arrival::Tunnel(0));
    assert_eq!(mss(packet.bytes()), 1260);
}

#[test]
fn a_flood_of_large_packets_is_not_answered_one_by_one() {
    let mut end = End::new(PLAIN, false);
    let big = inner(false, true, protocol::UDP, 0, &[1; 1400]);
    let (sent, _) = end.send(&big);
    assert!(end.hears(sent[0].bytes(), 1400));
    let told: usize = (0..1000).map(|_| end.send(&big).1.len()).sum();
    assert_eq!(told, 100);
    assert_eq!(end.count("too-big-for-path"), 1000);
}

#[test]
fn routers_may_cut_where_they_are_let() {
    let mut end = End::new(PLAIN, false);
    for (dont_fragment, wanted) in [(true, true), (false, false)] {
        let (sent, _) = end.send(&inner(false, dont_fragment, protocol::UDP, 0, b"x"));
        assert_eq!(ip::Packet::parse(sent[0].bytes()).unwrap().dont_fragment, wanted);
    }
    end.plane.clear_dont_fragment();
    let (sent, _) = end.send(&inner(false, true, protocol::UDP, 0, b"x"));
    assert!(!ip::Packet::parse(sent[0].bytes()).unwrap().dont_fragment);
}

#[test]
fn keepalives_of_other_vendors_are_answered() {
    let cisco: &[u8] = &[0, 0, 0, 0];
    let with_key: &[u8] = &[0x20, 0, 0, 0, 0, 0, 0, 7];
    // The last two: one of both sides is behind a NAT and calls its address otherwise.
    for (key, body, from, to) in [
        (None, cisco, V4[1], V4[0]),
        (Some(7), with_key, V4[1], V4[0]),
        (None, cisco, V4[1], "192.168.7.7"),
        (None, cisco, "192.168.7.7", V4[0]),
    ] {
        let way = Way { key, ..PLAIN };
        let (mut a, mut b) = (End::new(way, false), End::new(way, true));
        let (sent, _) = a.send(&keepalive(from, to, body));
        let mut packet = sent[0].clone();
        assert_eq!(b.in_.decapsulate(&mut packet, 0), Arrival::Answer, "{from} {to}");
        assert_eq!(b.count("gre-keepalives-answered"), 1);
        let (mut batch, mut waiting) = (vec![packet], Vec::new());
        b.out.release(&mut batch, &mut waiting, 0);
        let outer = ip::Packet::parse(batch[0].bytes()).unwrap();
        assert_eq!((outer.source, outer.destination), (address(V4[1]), address(V4[0])));
        assert_eq!(outer.protocol, protocol::ESP, "protected like everything else");
        // For the one that asked it is GRE of protocol 0, and not for its kernel.
        assert_eq!(a.in_.decapsulate(&mut batch[0], 0), Arrival::Dropped(Drop::BadGre));
    }
    // MikroTik's over IPv6.
    let way = Way { v6: true, ..PLAIN };
    let (mut a, mut b) = (End::new(way, false), End::new(way, true));
    let (sent, _) = a.send(&keepalive(V6[1], V6[0], &[0, 0, 0x86, 0xdd]));
    let mut packet = sent[0].clone();
    assert_eq!(b.in_.decapsulate(&mut packet, 0), Arrival::Answer);
    // GRE of somebody else's that passes through is none.
    let (sent, _) = a.send(&keepalive("2001:db8::7", "2001:db8::8", &[0, 0, 0, 0]));
    let mut packet = sent[0].clone();
    assert_eq!(b.in_.decapsulate(&mut packet, 0), Arrival::Tunnel(0));
}

/// RFC 6040 section 4.2, for GRE by RFC 9601: rows are what was inside, columns what is outside after the way.
#[test]
fn marks_of_congestion_come_inside() {
    const DROPPED: Option<u8> = None;
    let table = [
        (0, [Some(0), Some(0), Some(0), DROPPED]),
        (1, [Some(1), Some(1), Some(1), Some(3)]),
        (2, [Some(2), Some(1), Some(2), Some(3)]),
        (3, [Some(3); 4]),
    ];
    // Over IPv6 and in UDP the outer header does not come with the packet.
    let ways = [(false, false), (true, false), (false, true), (true, true)];
    for way in ways.map(|(v6, nat_t)| Way { v6, nat_t, ..PLAIN }) {
        for (inside, outcomes) in table {
            for (outside, wanted) in outcomes.into_iter().enumerate() {
                let (mut a, mut b) = (End::new(way, false), End::new(way, true));
                let (sent, _) = a.send(&inner(false, true, protocol::UDP, 0xb8 | inside, b"x"));
                let mut packet = sent[0].clone();
                let outer = ip::Packet::parse(packet.bytes()).unwrap();
                assert_eq!(outer.tos, 0xb8 | inside, "both are copied outside");
                ip::set_ecn(packet.bytes_mut(), u8::try_from(outside).unwrap());
                match (b.receives(way, &mut packet), wanted) {
                    (Arrival::Tunnel(0), Some(ecn)) => {
                        let inner = ipv4::Packet::new_checked(packet.bytes()).unwrap();
                        assert_eq!(inner.tos(), 0xb8 | ecn, "{way:?} {inside} {outside}");
                    }
                    (Arrival::Dropped(Drop::Congestion), None) => {}
                    (other, _) => panic!("{way:?} {inside} {outside}: {other:?}"),
                }
            }
        }
    }
}
