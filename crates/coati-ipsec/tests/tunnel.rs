//! ESP in tunnel mode: headers outside and inside, ECN, and what may come out of a tunnel.

use std::net::IpAddr;
use std::time::Instant;

use coati_crypto::SeededRandom;
use coati_ipsec::{Drop, Outbound, Packet, Sadb};
use coati_sadb::*;
use coati_wire::{ip, ipv4};
use proptest::prelude::*;

/// Ends of the ESP tunnel; between [`NEAR`] and [`FAR`], or others of theirs, GRE goes.
const A: &str = "192.0.2.1";
const B: &str = "198.51.100.1";
const NEAR: &str = "10.9.0.1";
const FAR: &str = "10.9.0.2";

fn address(text: &str) -> IpAddr {
    text.parse().expect("it is one")
}

fn sa(from: &str, to: &str, mode: Mode, udp: bool) -> Sa {
    Sa {
        id: SaId { source: address(from), destination: address(to), proto: SaProto::Esp, spi: Spi(0x1000) },
        mode,
        reqid: ReqId(0),
        enc: EncAlgorithm::AesCbc,
        enc_key: Secret::new(vec![3; 16]),
        auth: AuthAlgorithm::HmacSha1,
        auth_key: Secret::new(vec![4; 20]),
        replay_window: 64,
        esn: false,
        nat_t: udp.then(|| NatT { source_port: 4500, destination_port: 4500, ..NatT::default() }),
        soft: Lifetime::default(),
        hard: Lifetime::default(),
        state: SaState::Mature,
        usage: Usage::default(),
        sequence: 0,
        offload: None,
    }
}

fn policy(direction: Direction, inner: (&str, &str), outer: (&str, &str), upper: Upper) -> Request {
    Request::SpdAdd(Box::new(Policy {
        id: PolicyId::default(),
        selector: Selector {
            source: Prefix::host(address(inner.0)),
            source_port: Port::Any,
            destination: Prefix::host(address(inner.1)),
            destination_port: Port::Any,
            upper,
        },
        direction,
        priority: Priority::default(),
        action: Action::Ipsec(vec![Rule {
            proto: SaProto::Esp,
            mode: Mode::Tunnel,
            endpoints: Some((address(outer.0), address(outer.1))),
            level: Level::Require,
        }]),
        usage: Usage::default(),
    }))
}

struct Host {
    sadb: Sadb,
    random: SeededRandom,
}

impl Host {
    /// Policies for GRE between the inner addresses, and SAs between the outer ones.
    fn new(inner: (&str, &str), outer: (&str, &str), mode: Mode) -> Self {
        let mut host = Self { sadb: Sadb::new(Box::new(SeededRandom::new(1))), random: SeededRandom::new(2) };
        host.ask(policy(Direction::Out, inner, outer, Upper::GRE));
        host.ask(policy(Direction::In, (inner.1, inner.0), (outer.1, outer.0), Upper::GRE));
        host.ask(Request::Add(Box::new(sa(outer.0, outer.1, mode, false))));
        host.ask(Request::Add(Box::new(sa(outer.1, outer.0, mode, false))));
        host
    }

    fn ask(&mut self, request: Request) {
        assert_eq!(self.sadb.request(Instant::now(), 0, request), Reply::Done);
    }

    fn send(&mut self, packet: &mut Packet) -> Outbound {
        let mut verdicts = Vec::new();
        self.sadb.snapshot().outbound(std::slice::from_mut(packet), &mut verdicts, 0, &mut self.random);
        verdicts[0]
    }

    fn receive(&self, packet: &mut Packet) -> Result<(), Drop> {
        self.sadb.snapshot().inbound(packet, 0).map(drop)
    }
}

fn pair() -> (Host, Host) {
    (Host::new((NEAR, FAR), (A, B), Mode::Tunnel), Host::new((FAR, NEAR), (B, A), Mode::Tunnel))
}

fn gre(from: &str, to: &str, tos: u8, dont_fragment: bool, payload: &[u8]) -> Packet {
    let (source, destination) = (address(from), address(to));
    let payload_len = payload.len();
    let header =
        ip::Repr { tos, id: 5, dont_fragment, ttl: 7, protocol: 47, source, destination, payload_len };
    let mut bytes = vec![0; header.header_len()];
    header.emit(&mut bytes).expect("one family");
    bytes.extend_from_slice(payload);
    Packet::new(&bytes)
}

/// Sets the ECN field outside, as a router does.
fn mark(packet: &mut Packet, ecn: u8) {
    ip::set_ecn(packet.bytes_mut(), ecn);
}

proptest! {
    #[test]
    fn round_trip(tos: u8, dont_fragment: bool, payload in prop::collection::vec(any::<u8>(), 0..1300)) {
        let (mut a, b) = pair();
        let clear = gre(NEAR, FAR, tos, dont_fragment, &payload);
        let mut sent = clear.clone();
        prop_assert_eq!(a.send(&mut sent), Outbound::Sealed);
        let outer = ipv4::Packet::new_checked(sent.bytes()).unwrap();
        prop_assert_eq!((IpAddr::from(outer.source()), IpAddr::from(outer.destination())), (address(A), address(B)));
        prop_assert_eq!((outer.protocol(), outer.ttl(), outer.tos()), (50, 64, tos));
        prop_assert_eq!(outer.dont_fragment(), dont_fragment);
        prop_assert_eq!(b.receive(&mut sent), Ok(()));
        prop_assert_eq!(sent.bytes(), clear.bytes(), "TTL and all");
        // RFC 6040 section 4.2, for each mark that a router may leave.
        for outside in 0..4 {
            let (mut a, b) = pair();
            let mut sent = clear.clone();
            a.send(&mut sent);
            mark(&mut sent, outside);
            let wanted = match (tos & 3, outside) {
                (0, 3) => None,
                (0, _) => Some(0),
                (_, 3) | (3, _) => Some(3),
                (_, 1) => Some(1),
                (inside, _) => Some(inside),
            };
            let received = b.receive(&mut sent);
            match wanted {
                None => prop_assert_eq!(received, Err(Drop::Congestion)),
                Some(ecn) => {
                    prop_assert_eq!(received, Ok(()));
                    let inner = ipv4::Packet::new_checked(sent.bytes()).unwrap();
                    prop_assert_eq!(inner.tos(), tos & !3 | ecn);
                }
            }
        }
    }
}

#[test]
fn families_may_differ_and_any_mode_fits() {
    let (near, far) = ("2001:db8:a::1", "2001:db8:b::1");
    for (inner, outer) in [((near, far), (A, B)), ((NEAR, FAR), (near, far)), ((A, B), (A, B))] {
        for mode in [Mode::Tunnel, Mode::Any] {
            let mut a = Host::new(inner, outer, mode);
            let b = Host::new((inner.1, inner.0), (outer.1, outer.0), mode);
            let clear = gre(inner.0, inner.1, 0x28, false, b"what is inside");
            let mut sent = clear.clone();
            assert_eq!(a.send(&mut sent), Outbound::Sealed);
            let whole = ip::Packet::parse(sent.bytes()).unwrap();
            assert_eq!((whole.source, whole.destination), (address(outer.0), address(outer.1)));
            assert_eq!(b.receive(&mut sent), Ok(()), "{inner:?} {outer:?} {mode:?}");
            assert_eq!(sent.bytes(), clear.bytes());
        }
    }
}

#[test]
fn only_what_a_policy_is_about_comes_out() {
    let (mut a, b) = pair();
    // A peer with keys puts something else inside: another protocol, other addresses.
    a.ask(policy(Direction::Out, (NEAR, "10.9.0.7"), (A, B), Upper::GRE));
    a.ask(policy(Direction::Out, ("10.9.0.3", FAR), (A, B), Upper::GRE));
    for (from, to) in [(NEAR, "10.9.0.7"), ("10.9.0.3", FAR)] {
        let mut other = gre(from, to, 0, false, b"anything");
        assert_eq!(a.send(&mut other), Outbound::Sealed);
        assert_eq!(b.receive(&mut other), Err(Drop::NoPolicy));
    }
    // In transport mode, though the policy wants a tunnel.
    let mut transport = Host::new((A, B), (A, B), Mode::Transport);
    let mut waits = gre(A, B, 0, false, b"anything");
    assert!(matches!(transport.send(&mut waits), Outbound::Wait(_)), "its SA is of another mode");
    // In clear.
    assert_eq!(b.receive(&mut gre(NEAR, FAR, 0, false, b"clear")), Err(Drop::ClearInbound));
    // By an SA between other ends.
    let mut elsewhere = Host::new((NEAR, FAR), (A, "198.51.100.9"), Mode::Tunnel);
    let mut sent = gre(NEAR, FAR, 0, false, b"anything");
    elsewhere.send(&mut sent);
    let mut third = Host::new((FAR, NEAR), (B, A), Mode::Tunnel);
    third.ask(Request::Add(Box::new(sa(A, "198.51.100.9", Mode::Tunnel, false))));
    assert_eq!(third.receive(&mut sent), Err(Drop::PolicyMismatch));
}

#[test]
fn what_it_cannot_do_is_refused() {
    let mut sadb = Sadb::new(Box::new(SeededRandom::new(1)));
    let mut refusal = |request| match sadb.request(Instant::now(), 0, request) {
        Reply::Refused { refusal } => refusal.to_string(),
        other => panic!("{other:?}"),
    };
    let text = refusal(policy(Direction::Out, (NEAR, FAR), (A, "2001:db8::1"), Upper::GRE));
    assert!(text.contains("one family"), "{text}");
    let text = refusal(policy(Direction::Out, (NEAR, FAR), (A, "0.0.0.0"), Upper::GRE));
    assert!(text.contains("name both addresses"), "{text}");
    let Request::SpdAdd(mut policy) = policy(Direction::Out, (NEAR, FAR), (A, B), Upper::GRE) else {
        panic!()
    };
    let Action::Ipsec(rules) = &mut policy.action else { panic!() };
    *rules = vec![rules[0].clone(); 7];
    let text = refusal(Request::SpdAdd(policy));
    assert!(text.contains("6 protocols at the most"), "{text}");
}

#[test]
fn through_a_nat() {
    let (mut a, b) = pair();
    a.ask(Request::Delete(sa(A, B, Mode::Tunnel, true).id));
    a.ask(Request::Add(Box::new(sa(A, B, Mode::Tunnel, true))));
    let clear = gre(NEAR, FAR, 0, false, b"what is inside");
    let mut sent = clear.clone();
    assert_eq!(a.send(&mut sent), Outbound::Sealed);
    let outer = ipv4::Packet::new_checked(sent.bytes()).unwrap();
    assert_eq!((outer.protocol(), &outer.payload()[..4]), (17, &[0x11, 0x94, 0x11, 0x94][..]));
    // As the socket hands it over.
    let esp = outer.payload()[8..].to_vec();
    let header = ipv4::Repr {
        tos: 0,
        id: 0,
        dont_fragment: false,
        ttl: 64,
        protocol: 50,
        source: outer.source(),
        destination: outer.destination(),
        payload_len: esp.len(),
    };
    let mut arrived = Packet::new(&[&header.emit()[..], &esp].concat());
    assert_eq!(b.receive(&mut arrived), Ok(()));
    assert_eq!(arrived.bytes(), clear.bytes());
}

/// Found by random policies beside Linux: a piece of an IPv6 packet is of the protocol that its fragment header names.
#[test]
fn policies_are_about_pieces_of_ipv6_packets() {
    let (near, far) = ("fd00::1", "fd00::2");
    let mut a = Host::new((near, far), (A, B), Mode::Tunnel);
    let b = Host::new((far, near), (B, A), Mode::Tunnel);
    for offset in [1u16, 64 << 3] {
        for (protocol, wanted) in [(47, Outbound::Sealed), (17, Outbound::Clear)] {
            let [high, low] = offset.to_be_bytes();
            let payload = [protocol, 0, high, low, 0, 0, 0, 7, 1, 2, 3, 4, 5, 6, 7, 8];
            let (source, destination, payload_len) = (address(near), address(far), payload.len());
            let header = ip::Repr {
                tos: 0,
                id: 0,
                dont_fragment: false,
                ttl: 7,
                protocol: 44,
                source,
                destination,
                payload_len,
            };
            let mut bytes = vec![0; header.header_len()];
            header.emit(&mut bytes).unwrap();
            bytes.extend(payload);
            let mut packet = Packet::new(&bytes);
            assert_eq!(a.send(&mut packet), wanted, "{protocol}");
            if wanted == Outbound::Sealed {
                assert_eq!(b.receive(&mut packet), Ok(()));
            }
            assert_eq!(packet.bytes(), bytes);
        }
    }
}
