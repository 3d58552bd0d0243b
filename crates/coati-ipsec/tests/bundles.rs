//! AH, bundles of ESP, AH and IPComp in every order, extended sequence numbers and hard limits, on IPv4 and IPv6.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use coati_crypto::SeededRandom;
use coati_ipsec::{Drop, Outbound, Packet, Sadb};
use coati_sadb::*;
use coati_wire::{ah, ip};
use proptest::prelude::*;

const V4: (&str, &str) = ("192.0.2.1", "198.51.100.1");
const V6: (&str, &str) = ("2001:db8::1", "2001:db8::2");
/// What the second and third tunnels go between.
const OUTER: [(&str, &str); 3] = [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2"), ("10.0.1.1", "10.0.1.2")];

struct Host {
    sadb: Sadb,
    random: SeededRandom,
    now: Instant,
}

impl Host {
    fn new() -> Self {
        let random = || SeededRandom::new(1);
        Self { sadb: Sadb::new(Box::new(random())), random: random(), now: Instant::now() }
    }

    fn ask(&mut self, request: Request) -> Reply {
        self.sadb.request(self.now, 0, request)
    }

    fn ok(&mut self, request: Request) {
        assert_eq!(self.ask(request), Reply::Done);
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

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn packet((source, destination): (&str, &str), protocol: u8, payload: &[u8]) -> Packet {
    let header = ip::Repr {
        tos: 0x10,
        id: 7,
        dont_fragment: true,
        ttl: 61,
        protocol,
        source: address(source),
        destination: address(destination),
        payload_len: payload.len(),
    };
    let mut bytes = vec![0; header.header_len()];
    header.emit(&mut bytes).unwrap();
    bytes.extend_from_slice(payload);
    Packet::new(&bytes)
}

fn rule(proto: SaProto, ends: Option<(&str, &str)>) -> Rule {
    Rule {
        proto,
        mode: if ends.is_some() { Mode::Tunnel } else { Mode::Transport },
        endpoints: ends.map(|(near, far)| (address(near), address(far))),
        level: Level::Require,
    }
}

fn policy((source, destination): (&str, &str), direction: Direction, rules: Vec<Rule>) -> Request {
    Request::SpdAdd(Box::new(Policy {
        id: PolicyId::default(),
        selector: Selector {
            source: Prefix::host(address(source)),
            source_port: Port::Any,
            destination: Prefix::host(address(destination)),
            destination_port: Port::Any,
            upper: Upper::Any,
        },
        direction,
        priority: Priority::default(),
        action: Action::Ipsec(rules),
        usage: Usage::default(),
    }))
}

fn sa((source, destination): (&str, &str), rule: &Rule, number: u32) -> Sa {
    let (source, destination) = rule.endpoints.unwrap_or((address(source), address(destination)));
    let (enc, auth) = match rule.proto {
        SaProto::Esp => (EncAlgorithm::AesCtr, AuthAlgorithm::HmacSha1),
        SaProto::Ah => (EncAlgorithm::Null, AuthAlgorithm::HmacSha256),
        SaProto::Ipcomp => (EncAlgorithm::Null, AuthAlgorithm::None),
    };
    Sa {
        mode: rule.mode,
        reqid: ReqId(number),
        replay_window: 64,
        ..Sa::with_keys(
            SaId { source, destination, proto: rule.proto, spi: Spi(0x1000 + number) },
            enc,
            Secret::new(vec![number as u8; enc.key_lengths()[0]]),
            auth,
            Secret::new(vec![!number as u8; auth.key_len()]),
        )
    }
}

/// A host that sends by these rules and one that wants them. With two rules of one kind between the same ends, both use
/// the newer SA.
fn pair(ends: (&str, &str), rules: &[Rule]) -> (Host, Host) {
    let (mut a, mut b) = (Host::new(), Host::new());
    a.ok(policy(ends, Direction::Out, rules.to_vec()));
    b.ok(policy(ends, Direction::In, rules.to_vec()));
    for (number, rule) in (1..).zip(rules) {
        let mut sa = sa(ends, rule, number);
        // Transport mode outside of a tunnel is between the tunnel's ends.
        let mut tunnels = rules[..number as usize - 1].iter().filter_map(Rule::tunnel_ends);
        if let (Some((near, far)), None) = (tunnels.next_back(), rule.endpoints) {
            (sa.id.source, sa.id.destination) = (near, far);
        }
        a.ok(Request::Add(Box::new(sa.clone())));
        b.ok(Request::Add(Box::new(sa)));
    }
    (a, b)
}

const PROTOS: [SaProto; 3] = [SaProto::Esp, SaProto::Ah, SaProto::Ipcomp];

fn any_rules() -> impl Strategy<Value = Vec<Rule>> {
    // Three tunnels fit into the room before a packet.
    let one = (prop::sample::select(PROTOS.to_vec()), any::<bool>());
    prop::collection::vec(one, 1..=4).prop_map(|list| {
        let mut tunnels = OUTER.iter();
        let mut compressed = false;
        let rules = list.into_iter().filter_map(|(proto, tunnel)| {
            let ends = if tunnel { tunnels.next().copied() } else { None };
            // Nothing is compressed twice between two headers.
            let again = compressed && ends.is_none() && proto == SaProto::Ipcomp;
            compressed = proto == SaProto::Ipcomp || compressed && ends.is_none();
            (!again).then(|| rule(proto, ends))
        });
        rules.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Every order of every protocol in both modes: what comes out is what went in, and it went in protected.
    #[test]
    fn any_bundle(v6: bool, rules in any_rules(), noise in prop::collection::vec(any::<u8>(), 0..300), times in 0usize..20) {
        let ends = if v6 { V6 } else { V4 };
        let payload = [noise, b"much the same ".repeat(times)].concat();
        let clear = packet(ends, 99, &payload);
        let (mut a, b) = pair(ends, &rules);
        let mut sent = clear.clone();
        prop_assert_eq!(a.send(&mut sent), Outbound::Sealed);
        let protects = rules.iter().any(|rule| rule.proto != SaProto::Ipcomp);
        prop_assert!(!protects || sent.len() != clear.len() || sent != clear);
        prop_assert_eq!(b.receive(&mut sent.clone()), Ok(()), "{:?}", rules);
        let mut got = sent.clone();
        let fresh = pair(ends, &rules).1;
        prop_assert_eq!(fresh.receive(&mut got), Ok(()));
        prop_assert_eq!(got.bytes(), clear.bytes());
        if protects {
            prop_assert!(b.receive(&mut sent.clone()).is_err(), "it came before");
            prop_assert_eq!(b.receive(&mut clear.clone()), Err(Drop::ClearInbound));
        }
    }

    /// One bit changed somewhere: never accepted as something else, but for what AH leaves open.
    #[test]
    fn any_bit_changed(v6: bool, rules in any_rules(), at: prop::sample::Index, bit in 0u8..8) {
        let ends = if v6 { V6 } else { V4 };
        let (mut a, b) = pair(ends, &rules);
        prop_assume!(rules.iter().any(|rule| rule.proto != SaProto::Ipcomp));
        let clear = packet(ends, 99, &b"a secret, a secret, ".repeat(10));
        let mut sent = clear.clone();
        a.send(&mut sent);
        let at = at.index(sent.len());
        sent.bytes_mut()[at] ^= 1 << bit;
        if b.receive(&mut sent).is_ok() {
            let got = ip::Packet::parse(sent.bytes()).unwrap();
            // Between other hosts it is none of the policy's packets.
            if (got.source, got.destination) == (address(ends.0), address(ends.1)) {
                prop_assert_eq!(got.payload, b"a secret, a secret, ".repeat(10));
            }
        }
    }

    /// Whatever bytes come behind any header, with keys for all of it.
    #[test]
    fn any_bytes(v6: bool, rules in any_rules(), protocol in prop::sample::select(vec![50u8, 51, 108, 4, 41, 44, 0, 60]),
                 body in prop::collection::vec(any::<u8>(), 0..200), spi in 0x1001u32..0x1005) {
        let ends = if v6 { V6 } else { V4 };
        let (_, b) = pair(ends, &rules);
        let mut body = body;
        for at in [0, 4] {
            if let Some(place) = body.get_mut(at..at + 4) {
                place.copy_from_slice(&spi.to_be_bytes());
            }
            let _ = b.receive(&mut packet(ends, protocol, &body));
        }
    }
}

/// Headers in headers, each of them right: the number of them is bounded.
#[test]
fn nested_too_deep() {
    let inner = rule(SaProto::Ah, None);
    let mut a = Host::new();
    a.ok(policy(V4, Direction::Out, vec![inner.clone(); 6]));
    let mut b = Host::new();
    b.ok(policy(V4, Direction::In, vec![inner.clone()]));
    for host in [&mut a, &mut b] {
        host.ok(Request::Add(Box::new(sa(V4, &inner, 1))));
    }
    let mut sent = packet(V4, 99, b"six times");
    assert_eq!(a.send(&mut sent), Outbound::Sealed);
    // The outermost has the highest number, and so come the others behind the window's end, which is far.
    let mut six = sent.clone();
    assert_eq!(b.receive(&mut six), Ok(()), "one is wanted, and more do no harm");
    assert_eq!(six.bytes(), packet(V4, 99, b"six times").bytes());
    // And once more around it.
    let mut seven = packet(V4, 51, ip::Packet::parse(sent.bytes()).unwrap().payload);
    let mut once = Host::new();
    once.ok(policy(V4, Direction::Out, vec![inner.clone()]));
    once.ok(Request::Add(Box::new(Sa {
        id: SaId { spi: Spi(0x2000), ..sa(V4, &inner, 1).id },
        ..sa(V4, &inner, 1)
    })));
    assert_eq!(once.send(&mut seven), Outbound::Sealed);
    let mut c = Host::new();
    c.ok(policy(V4, Direction::In, vec![inner.clone()]));
    c.ok(Request::Add(Box::new(sa(V4, &inner, 1))));
    c.ok(Request::Add(Box::new(Sa {
        id: SaId { spi: Spi(0x2000), ..sa(V4, &inner, 1).id },
        ..sa(V4, &inner, 1)
    })));
    assert_eq!(c.receive(&mut seven), Err(Drop::TooDeep));
}

#[test]
fn what_the_network_may_change_and_what_not() {
    for ends in [V4, V6] {
        let (mut a, b) = pair(ends, &[rule(SaProto::Ah, None)]);
        let (change, keep) = match ends {
            V4 => (vec![1, 6, 8], vec![4, 12, 16, 20, 21, 24, 30]),
            _ => (vec![1, 2, 3, 7], vec![8, 24, 40, 41, 44, 52]),
        };
        let mut sent = packet(ends, 17, b"a datagram");
        assert_eq!(a.send(&mut sent), Outbound::Sealed);
        for at in keep {
            let mut other = sent.clone();
            other.bytes_mut()[at] ^= 0x04;
            assert!(b.receive(&mut other).is_err(), "{ends:?} {at}");
        }
        for at in change {
            let number = sent.bytes()[at];
            // Of the flags, whether it may be cut.
            sent.bytes_mut()[at] ^= if (ends, at) == (V4, 6) { 0x40 } else { 0x04 };
            if ends == V4 {
                // As a router does it.
                let (header, _) = sent.bytes_mut().split_at_mut(20);
                header[10..12].fill(0);
                let sum = coati_wire::checksum::internet(&[header]);
                header[10..12].copy_from_slice(&sum.to_be_bytes());
            }
            assert_ne!(sent.bytes()[at], number);
        }
        assert_eq!(b.receive(&mut sent), Ok(()), "{ends:?}");
    }
}

/// RFC 4302 wants whole words behind IPv4, Linux has whole double words unless told otherwise; both are read.
#[test]
fn padding_behind_the_icv() {
    let (mut a, b) = pair(V4, &[rule(SaProto::Ah, None)]);
    let mut sent = packet(V4, 17, b"a datagram");
    a.send(&mut sent);
    let (header, _) = ah::Header::parse(&sent.bytes()[20..]).unwrap();
    assert_eq!(header.length, 28);
    // As Linux makes it: by hand, with the same key.
    let mut theirs = packet(V4, 51, b"");
    let mut body = ah::Header { next_header: 17, length: 32, spi: 0x1001, sequence: 1 }.emit().to_vec();
    body.extend_from_slice(&[0; 20]);
    body.extend_from_slice(b"a datagram");
    let length = 20 + body.len();
    theirs.resize(length);
    theirs.bytes_mut()[20..].copy_from_slice(&body);
    ip::mend(theirs.bytes_mut(), 20, 9, 51);
    let key = coati_crypto::mac::MacKey::hmac(coati_crypto::hash::HashAlgorithm::Sha256, &[!1; 32]);
    let mut mac = key.start();
    ah::cover_ip_header(&theirs.bytes()[..20], |piece| mac.update(piece)).unwrap();
    mac.update(&theirs.bytes()[20..]);
    let mut icv = [0; 16];
    mac.finish_into(&mut icv);
    theirs.bytes_mut()[32..48].copy_from_slice(&icv);
    assert_eq!(b.receive(&mut theirs), Ok(()));
    assert_eq!(theirs.bytes(), packet(V4, 17, b"a datagram").bytes());
}

#[test]
fn what_came_otherwise_than_the_policy_wants() {
    let (esp, ah) = (rule(SaProto::Esp, None), rule(SaProto::Ah, None));
    let verdict = |sent: &[Rule], wanted: &[Rule]| {
        let (mut a, _) = pair(V4, sent);
        let (_, mut b) = pair(V4, wanted);
        for (number, rule) in (1..).zip(sent) {
            // It knows the keys, whether its policy names them or not.
            let _ = b.ask(Request::Add(Box::new(sa(V4, rule, number))));
        }
        let mut packet = packet(V4, 99, b"whatever");
        assert_eq!(a.send(&mut packet), Outbound::Sealed);
        b.receive(&mut packet)
    };
    let both = [esp.clone(), ah.clone()];
    assert_eq!(verdict(&both, &both), Ok(()));
    assert_eq!(verdict(&both[..1], &both), Err(Drop::PolicyMismatch), "half of it");
    assert_eq!(verdict(&both, &both[..1]), Ok(()), "more in transport mode does no harm");
    let unique = |number| Rule { level: Level::Unique(ReqId(number)), ..esp.clone() };
    assert_eq!(verdict(&both[..1], &[unique(1)]), Ok(()));
    assert_eq!(verdict(&both[..1], &[unique(7)]), Err(Drop::PolicyMismatch), "the SA of another policy");
    let tunnel = rule(SaProto::Esp, Some(OUTER[0]));
    assert_eq!(verdict(std::slice::from_ref(&tunnel), &both[..1]), Err(Drop::PolicyMismatch));
    let optional = Rule { level: Level::Use, ..tunnel.clone() };
    assert_eq!(verdict(std::slice::from_ref(&tunnel), std::slice::from_ref(&optional)), Ok(()));
    assert_eq!(verdict(&both[..1], &[Rule { level: Level::Use, ..ah }]), Ok(()));
}

/// A tunnel's packet for a policy that wants none, and what is inside a tunnel for somebody else.
#[test]
fn tunnels_and_policies_without_protection() {
    let tunnel = [rule(SaProto::Esp, Some(OUTER[0]))];
    let (mut a, mut b) = pair(V4, &tunnel);
    let Request::SpdAdd(mut none) = policy(V4, Direction::In, Vec::new()) else { panic!() };
    none.action = Action::None;
    b.ok(Request::SpdUpdate(none));
    let mut sent = packet(V4, 99, b"whatever");
    a.send(&mut sent);
    assert_eq!(b.receive(&mut sent), Err(Drop::PolicyMismatch));
    assert_eq!(b.receive(&mut packet(V4, 99, b"in clear")), Ok(()));
    // ESP of others goes through our tunnel as anything else does.
    let (mut a, b) = pair(V4, &tunnel);
    let mut sent = packet(V4, 50, &[9; 60]);
    a.send(&mut sent);
    assert_eq!(b.receive(&mut sent), Ok(()));
    assert_eq!(sent.bytes(), packet(V4, 50, &[9; 60]).bytes());
}

/// Compressed in clear, by whoever knows the index: without a policy about it, it stays outside.
#[test]
fn compression_alone_is_no_protection() {
    let rules = [rule(SaProto::Ipcomp, None)];
    let (mut a, mut b) = pair(V4, &rules);
    let clear = packet(V4, 47, &[7; 300]);
    let mut sent = clear.clone();
    assert_eq!(a.send(&mut sent), Outbound::Sealed);
    assert!(sent.len() < clear.len());
    assert_eq!(b.receive(&mut sent.clone()), Ok(()));
    b.ok(Request::SpdFlush);
    assert_eq!(b.receive(&mut sent), Err(Drop::NoPolicy));
}

/// Extended sequence numbers have to be the same on both sides: their upper half is authenticated and not sent.
#[test]
fn extended_sequence_numbers() {
    for proto in [SaProto::Esp, SaProto::Ah] {
        let rules = [rule(proto, None)];
        let with = |esn| {
            let (mut a, mut b) = pair(V4, &rules);
            for (host, esn) in [(&mut a, true), (&mut b, esn)] {
                let sa = sa(V4, &rules[0], 1);
                host.ok(Request::Delete(sa.id));
                host.ok(Request::Add(Box::new(Sa { esn, ..sa })));
            }
            let mut sent = packet(V4, 99, b"whatever");
            assert_eq!(a.send(&mut sent), Outbound::Sealed);
            b.receive(&mut sent)
        };
        assert_eq!(with(true), Ok(()));
        assert!(matches!(with(false), Err(Drop::Forged | Drop::AhForged)));
    }
}

/// The packet that reaches a hard limit is the last one, whichever limit it is; the other side counts the same.
#[test]
fn hard_limits_are_exact() {
    let limits = [
        Lifetime { packets: 5, ..Lifetime::default() },
        // Of payloads of 100 bytes the fifth reaches it.
        Lifetime { bytes: 401, ..Lifetime::default() },
    ];
    for (hard, proto) in limits.into_iter().flat_map(|hard| PROTOS.map(|proto| (hard, proto))) {
        let rules = [rule(proto, None)];
        let (mut a, mut b) = pair(V4, &rules);
        let limited = Sa { hard, ..sa(V4, &rules[0], 1) };
        for host in [&mut a, &mut b] {
            host.ok(Request::Update(Box::new(limited.clone())));
        }
        for count in 1..=5 {
            let mut sent = packet(V4, 99, &[7; 100]);
            assert_eq!(a.send(&mut sent), Outbound::Sealed, "{hard:?} {proto:?} {count}");
            assert_eq!(b.receive(&mut sent), Ok(()), "{hard:?} {proto:?} {count}");
        }
        let mut one_more = packet(V4, 99, &[7; 100]);
        assert!(matches!(a.send(&mut one_more), Outbound::Wait(_)), "{hard:?} {proto:?}");
        assert_eq!(one_more.bytes(), packet(V4, 99, &[7; 100]).bytes());
        for host in [&mut a, &mut b] {
            host.now += Duration::from_secs(2);
            host.sadb.handle_timeout(host.now, 2);
            let Some(Notification::Expire(expire)) = host.sadb.poll_notification() else {
                panic!("{hard:?} {proto:?}")
            };
            assert!(expire.hard && expire.id == limited.id);
            assert_eq!((expire.current.packets, expire.current.bytes), (5, 500));
            assert_eq!(host.ask(Request::Get(limited.id)), Reply::Refused { refusal: Refusal::NoSa });
        }
    }
}
