//! Two hosts with the how-to's policies, packet by packet: sealing, opening, replay, forgery, waiting, expiry.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use coati_crypto::SeededRandom;
use coati_ipsec::{Drop, Outbound, Packet, Sadb};
use coati_sadb::*;
use coati_wire::ipv4;
use proptest::prelude::*;

const A: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const B: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

fn policy(source: Ipv4Addr, destination: Ipv4Addr, direction: Direction, reqid: u32) -> Request {
    Request::SpdAdd(Box::new(Policy {
        id: PolicyId::default(),
        selector: Selector {
            source: Prefix::host(source.into()),
            source_port: Port::Any,
            destination: Prefix::host(destination.into()),
            destination_port: Port::Any,
            upper: Upper::GRE,
        },
        direction,
        priority: Priority::default(),
        action: Action::Ipsec(vec![Rule {
            proto: SaProto::Esp,
            mode: Mode::Transport,
            endpoints: None,
            level: Level::Unique(ReqId(reqid)),
        }]),
        usage: Usage::default(),
    }))
}

fn sa(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    spi: u32,
    reqid: u32,
    enc: EncAlgorithm,
    auth: AuthAlgorithm,
) -> Sa {
    let key = |length: usize, start: u8| {
        Secret::new((0..length).map(|i| start.wrapping_add((i * 7) as u8)).collect())
    };
    Sa {
        reqid: ReqId(reqid),
        replay_window: 64,
        ..Sa::with_keys(
            SaId {
                source: source.into(),
                destination: destination.into(),
                proto: SaProto::Esp,
                spi: Spi(spi),
            },
            enc,
            key(*enc.key_lengths().last().unwrap(), 1),
            auth,
            key(auth.key_len(), 9),
        )
    }
}

fn gre(source: Ipv4Addr, destination: Ipv4Addr, payload: &[u8]) -> Packet {
    let header = ipv4::Repr {
        tos: 0,
        id: 7,
        dont_fragment: false,
        ttl: 64,
        protocol: 47,
        source,
        destination,
        payload_len: payload.len(),
    };
    Packet::new(&[&header.emit()[..], payload].concat())
}

struct Host {
    sadb: Sadb,
    random: SeededRandom,
    now: Instant,
}

impl Host {
    fn new(local: Ipv4Addr, remote: Ipv4Addr) -> Self {
        let mut host = Self {
            sadb: Sadb::new(Box::new(SeededRandom::new(1))),
            random: SeededRandom::new(2),
            now: Instant::now(),
        };
        host.ask(policy(local, remote, Direction::Out, 0));
        host.ask(policy(remote, local, Direction::In, 0));
        host
    }

    fn ask(&mut self, request: Request) -> Reply {
        self.sadb.request(self.now, 1000, request)
    }

    fn ok(&mut self, request: Request) {
        assert_eq!(self.ask(request), Reply::Done);
    }

    fn out(&mut self, packet: &mut Packet) -> Outbound {
        let mut verdicts = Vec::new();
        self.sadb.snapshot().outbound(std::slice::from_mut(packet), &mut verdicts, 1000, &mut self.random);
        verdicts[0]
    }

    fn inbound(&mut self, packet: &mut Packet) -> Result<(), Drop> {
        self.sadb.snapshot().inbound(packet, 1000).map(drop)
    }

    fn reqid(&mut self, wanted: Direction) -> u32 {
        let policy = self.sadb.policies().into_iter().find(|policy| policy.direction == wanted).unwrap();
        match policy.action {
            Action::Ipsec(rules) => match rules[0].level {
                Level::Unique(reqid) => reqid.0,
                _ => unreachable!(),
            },
            _ => unreachable!(),
        }
    }
}

/// A sends, B receives, over one SA.
fn pair(enc: EncAlgorithm, auth: AuthAlgorithm) -> (Host, Host) {
    let (mut a, mut b) = (Host::new(A, B), Host::new(B, A));
    let (out, inbound) = (a.reqid(Direction::Out), b.reqid(Direction::In));
    a.ok(Request::Add(Box::new(sa(A, B, 0x1000, out, enc, auth))));
    b.ok(Request::Add(Box::new(sa(A, B, 0x1000, inbound, enc, auth))));
    (a, b)
}

const SUITES: [(EncAlgorithm, AuthAlgorithm); 12] = [
    (EncAlgorithm::AesCbc, AuthAlgorithm::HmacSha256Cut96),
    (EncAlgorithm::AesCbc, AuthAlgorithm::HmacSha1),
    (EncAlgorithm::AesCbc, AuthAlgorithm::HmacSha256),
    (EncAlgorithm::TripleDesCbc, AuthAlgorithm::HmacSha1),
    (EncAlgorithm::AesCbc, AuthAlgorithm::HmacSha512),
    (EncAlgorithm::AesGcm16, AuthAlgorithm::None),
    (EncAlgorithm::Null, AuthAlgorithm::HmacSha384),
    (EncAlgorithm::ChaCha20Poly1305, AuthAlgorithm::None),
    (EncAlgorithm::AesCtr, AuthAlgorithm::HmacSha1),
    (EncAlgorithm::AesCtr, AuthAlgorithm::AesXcbcMac),
    (EncAlgorithm::AesCbc, AuthAlgorithm::HmacMd5),
    (EncAlgorithm::Null, AuthAlgorithm::AesXcbcMac),
];

proptest! {
    #[test]
    fn sealed_then_opened_is_the_same(payload in prop::collection::vec(any::<u8>(), 4..1400), suite in 0usize..6) {
        let (enc, auth) = SUITES[suite];
        let (mut a, mut b) = pair(enc, auth);
        let original = gre(A, B, &payload);
        let mut packet = original.clone();
        prop_assert_eq!(a.out(&mut packet), Outbound::Sealed);
        let outer = ipv4::Packet::new_checked(packet.bytes()).unwrap();
        prop_assert_eq!(outer.protocol(), 50);
        prop_assert!(enc == EncAlgorithm::Null || payload.len() < 8 || !packet.bytes().windows(8).any(|w| w == &payload[..8]));
        prop_assert_eq!(b.inbound(&mut packet), Ok(()));
        prop_assert_eq!(packet.bytes(), original.bytes());
    }

    #[test]
    fn a_changed_bit_is_forged(at in 28usize..100, bit in 0u8..8, suite in 0usize..6) {
        let (enc, auth) = SUITES[suite];
        let (mut a, mut b) = pair(enc, auth);
        let mut packet = gre(A, B, &[1; 200]);
        a.out(&mut packet);
        let good = packet.clone();
        packet.bytes_mut()[at] ^= 1 << bit;
        prop_assert_eq!(b.inbound(&mut packet), Err(Drop::Forged));
        // The forgery did not move the window: the real one still gets in.
        prop_assert_eq!(b.inbound(&mut good.clone()), Ok(()));
        prop_assert_eq!(b.inbound(&mut good.clone()), Err(Drop::Replayed));
    }

    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0usize..260) {
        let (mut a, mut b) = pair(EncAlgorithm::AesCbc, AuthAlgorithm::HmacSha1);
        let _ = b.inbound(&mut Packet::new(&bytes));
        let _ = a.out(&mut Packet::new(&bytes));
        let mut packet = gre(A, B, &bytes);
        a.out(&mut packet);
        let mut truncated = packet.bytes()[..cut.min(packet.len())].to_vec();
        if truncated.len() >= 4 {
            let length = (truncated.len() as u16).to_be_bytes();
            truncated[2..4].copy_from_slice(&length);
        }
        if cut < packet.len() {
            prop_assert!(b.inbound(&mut Packet::new(&truncated)).is_err());
        }
    }
}

#[test]
fn reordered_packets_pass_once_and_old_ones_never() {
    let (mut a, mut b) = pair(EncAlgorithm::AesCbc, AuthAlgorithm::HmacSha1);
    let packets: Vec<Packet> = (0..200u8)
        .map(|i| {
            let mut packet = gre(A, B, &[i; 40]);
            assert_eq!(a.out(&mut packet), Outbound::Sealed);
            packet
        })
        .collect();
    assert_eq!(b.inbound(&mut packets[50].clone()), Ok(()));
    assert_eq!(b.inbound(&mut packets[10].clone()), Ok(()));
    assert_eq!(b.inbound(&mut packets[10].clone()), Err(Drop::Replayed));
    assert_eq!(b.inbound(&mut packets[199].clone()), Ok(()));
    assert_eq!(b.inbound(&mut packets[60].clone()), Err(Drop::TooOld));
    assert_eq!(b.sadb.counters().drops(Drop::TooOld), 1);
}

#[test]
fn clear_gre_from_the_peer_is_dropped_and_counted() {
    let (_, mut b) = pair(EncAlgorithm::AesCbc, AuthAlgorithm::HmacSha1);
    assert_eq!(b.inbound(&mut gre(A, B, &[0, 0, 8, 0])), Err(Drop::ClearInbound));
    assert_eq!(b.sadb.counters().drops(Drop::ClearInbound), 1);
    // What no policy names is not our business.
    assert_eq!(b.inbound(&mut gre(Ipv4Addr::new(203, 0, 113, 9), B, &[0; 4])), Ok(()));
}

#[test]
fn protected_by_the_wrong_sa_is_dropped() {
    let (mut a, mut b) = (Host::new(A, B), Host::new(B, A));
    let out = a.reqid(Direction::Out);
    let suite = (EncAlgorithm::AesCbc, AuthAlgorithm::HmacSha1);
    a.ok(Request::Add(Box::new(sa(A, B, 0x1000, out, suite.0, suite.1))));
    b.ok(Request::Add(Box::new(sa(A, B, 0x1000, 77, suite.0, suite.1))));
    let mut packet = gre(A, B, &[0; 40]);
    a.out(&mut packet);
    assert_eq!(b.inbound(&mut packet), Err(Drop::PolicyMismatch));
}

#[test]
fn packets_wait_for_their_sa_and_then_go_in_order() {
    let mut a = Host::new(A, B);
    for i in 0..3 {
        let mut packet = gre(A, B, &[i; 8]);
        let Outbound::Wait(policy) = a.out(&mut packet) else { panic!("it must wait") };
        a.sadb.hold(a.now, policy, packet);
    }
    let Some(Notification::Acquire(acquire)) = a.sadb.poll_notification() else { panic!("no ACQUIRE") };
    assert_eq!((acquire.source, acquire.destination), (A.into(), B.into()));
    assert_eq!(acquire.reqid.0, a.reqid(Direction::Out));
    assert_eq!(a.sadb.poll_notification(), None, "one ACQUIRE is enough");
    assert!(a.sadb.take_released().is_empty());
    let reqid = a.reqid(Direction::Out);
    a.ok(Request::Add(Box::new(sa(A, B, 0x1000, reqid, EncAlgorithm::AesCbc, AuthAlgorithm::HmacSha1))));
    let released: Vec<u8> = a.sadb.take_released().iter().map(|p| p.bytes()[20]).collect();
    assert_eq!(released, [0, 1, 2]);
}

#[test]
fn waiting_is_bounded_in_number_and_time() {
    let mut a = Host::new(A, B);
    for i in 0..100 {
        let mut packet = gre(A, B, &[i; 8]);
        let Outbound::Wait(policy) = a.out(&mut packet) else { panic!("it must wait") };
        a.sadb.hold(a.now, policy, packet);
    }
    assert_eq!(a.sadb.counters().drops(Drop::HoldFull), 36);
    a.now += Duration::from_secs(31);
    a.sadb.handle_timeout(a.now, 1031);
    assert_eq!(a.sadb.counters().drops(Drop::HoldExpired), 64);
}

#[test]
fn without_sas_nothing_leaves_in_clear() {
    let (mut a, _) = pair(EncAlgorithm::AesCbc, AuthAlgorithm::HmacSha1);
    a.ok(Request::Flush(None));
    assert!(matches!(a.out(&mut gre(A, B, &[0; 8])), Outbound::Wait(_)));
}

#[test]
fn the_newest_sa_is_used_and_the_old_one_still_received() {
    let (mut a, mut b) = pair(EncAlgorithm::AesCbc, AuthAlgorithm::HmacSha1);
    let mut old = gre(A, B, &[1; 8]);
    a.out(&mut old);
    let (out, inbound) = (a.reqid(Direction::Out), b.reqid(Direction::In));
    let new = |reqid| Box::new(sa(A, B, 0x2000, reqid, EncAlgorithm::AesGcm16, AuthAlgorithm::None));
    a.ok(Request::Add(new(out)));
    b.ok(Request::Add(new(inbound)));
    let mut packet = gre(A, B, &[2; 8]);
    a.out(&mut packet);
    assert_eq!(packet.bytes()[20..24], 0x2000u32.to_be_bytes());
    assert_eq!(b.inbound(&mut packet), Ok(()));
    assert_eq!(b.inbound(&mut old), Ok(()));
}

#[test]
fn lifetimes_end_softly_then_hard() {
    let mut a = Host::new(A, B);
    let mut limited = sa(A, B, 0x1000, 1, EncAlgorithm::AesCbc, AuthAlgorithm::HmacSha1);
    limited.soft.add_seconds = 8;
    limited.hard.add_seconds = 10;
    a.ok(Request::Add(Box::new(limited)));
    let mut seen = Vec::new();
    for second in 1..=12 {
        let now = a.now + Duration::from_secs(second);
        a.sadb.handle_timeout(now, 1000 + second);
        while let Some(Notification::Expire(expire)) = a.sadb.poll_notification() {
            seen.push((second, expire.hard));
        }
    }
    assert_eq!(seen, [(8, false), (10, true)]);
    assert_eq!(a.ask(Request::Dump(None)), Reply::Sas { sas: vec![] });
}

#[test]
fn getspi_then_update() {
    let mut a = Host::new(A, B);
    let Reply::Spi { spi } = a.ask(Request::GetSpi {
        source: B.into(),
        destination: A.into(),
        proto: SaProto::Esp,
        mode: Mode::Transport,
        reqid: ReqId(5),
        spi: Spi(0),
    }) else {
        panic!("no SPI")
    };
    assert!(!spi.is_reserved());
    let with_keys = sa(B, A, spi.0, 5, EncAlgorithm::AesCbc, AuthAlgorithm::HmacSha1);
    a.ok(Request::Update(Box::new(with_keys.clone())));
    let Reply::Sas { sas } = a.ask(Request::Get(with_keys.id)) else { panic!("no SA") };
    assert_eq!((sas[0].state, sas[0].enc), (SaState::Mature, EncAlgorithm::AesCbc));
    assert_eq!(a.ask(Request::Add(Box::new(with_keys))), Reply::Refused { refusal: Refusal::Exists });
}

#[test]
fn what_makes_no_sense_is_refused_with_a_sentence() {
    let mut a = Host::new(A, B);
    let good = sa(A, B, 0x1000, 1, EncAlgorithm::AesCbc, AuthAlgorithm::HmacSha1);
    let refusal = |a: &mut Host, change: fn(&mut Sa)| {
        let mut wrong = good.clone();
        change(&mut wrong);
        match a.ask(Request::Add(Box::new(wrong))) {
            Reply::Refused { refusal } => refusal.to_string(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        refusal(&mut a, |sa| sa.enc_key = Secret::new(vec![1; 15])),
        "aes-cbc takes a key of 128 or 192 or 256 bits, this one has 120"
    );
    assert!(refusal(&mut a, |sa| sa.id.spi = Spi(255)).contains("reserved"));
    assert!(refusal(&mut a, |sa| sa.auth = AuthAlgorithm::None).contains("key of 0 bits"));
    let unauthenticated = |sa: &mut Sa| (sa.auth, sa.auth_key) = (AuthAlgorithm::None, Secret::default());
    assert!(refusal(&mut a, unauthenticated).contains("can be forged"));
    assert!(refusal(&mut a, |sa| sa.id.proto = SaProto::Ah).contains("ah does not encrypt"));
    assert!(refusal(&mut a, |sa| sa.replay_window = 4104).contains("4096 are the most"));
    assert!(refusal(&mut a, |sa| (sa.esn, sa.replay_window) = (true, 0)).contains("give -r"));
    assert!(
        refusal(&mut a, |sa| sa.id.source = "2001:db8::1".parse().unwrap()).contains("different families")
    );
    let weak = |sa: &mut Sa| (sa.enc, sa.enc_key) = (EncAlgorithm::TripleDesCbc, Secret::new(vec![7; 24]));
    assert!(refusal(&mut a, weak).contains("single DES"));
    let both =
        |sa: &mut Sa| (sa.enc, sa.enc_key) = (EncAlgorithm::ChaCha20Poly1305, Secret::new(vec![7; 36]));
    assert!(refusal(&mut a, both).contains("authenticates by itself"));
    assert_eq!(a.ask(policy(A, B, Direction::Out, 9)), Reply::Refused { refusal: Refusal::Exists });
    assert_eq!(a.ask(Request::Delete(good.id)), Reply::Refused { refusal: Refusal::NoSa });
}

/// `getspi` with an index of one's own choice, and `deleteall`.
#[test]
fn an_spi_of_ones_choice_and_all_sas_between_two_hosts() {
    let mut a = Host::new(A, B);
    let get_spi = |spi| Request::GetSpi {
        source: B.into(),
        destination: A.into(),
        proto: SaProto::Esp,
        mode: Mode::Transport,
        reqid: ReqId(0),
        spi: Spi(spi),
    };
    assert_eq!(a.ask(get_spi(0x7777)), Reply::Spi { spi: Spi(0x7777) });
    assert_eq!(a.ask(get_spi(0x7777)), Reply::Refused { refusal: Refusal::Exists });
    assert!(matches!(a.ask(get_spi(5)), Reply::Refused { refusal: Refusal::Invalid(_) }));
    a.ok(Request::Add(Box::new(sa(A, B, 0x1000, 1, EncAlgorithm::AesCbc, AuthAlgorithm::HmacSha1))));
    let all = Request::DeleteAll { source: B.into(), destination: A.into(), proto: SaProto::Esp };
    a.ok(all.clone());
    let Reply::Sas { sas } = a.ask(Request::Dump(None)) else { panic!() };
    assert!(sas.iter().all(|sa| sa.id.source == IpAddr::from(A)) && !sas.is_empty());
    assert_eq!(a.ask(all), Reply::Refused { refusal: Refusal::NoSa });
}

/// What can never be done is found before anything is; what depends on the tables is not.
#[test]
fn a_list_of_requests_is_checked_before() {
    let a = Host::new(A, B);
    let (now, wrong) = (a.now, {
        let mut wrong = sa(A, B, 0x1000, 1, EncAlgorithm::Null, AuthAlgorithm::HmacSha1);
        wrong.id.spi = Spi(255);
        wrong
    });
    let exists = policy(A, B, Direction::Out, 9);
    let gone = Request::Delete(wrong.id);
    assert_eq!(a.sadb.check(now, 0, &[Request::SpdFlush, exists.clone(), gone.clone()]), Ok(()));
    let list = [Request::SpdFlush, exists, Request::Add(Box::new(wrong)), gone];
    let replies = a.sadb.check(now, 0, &list).unwrap_err();
    let withheld = Reply::Refused { refusal: Refusal::Withheld };
    assert_eq!((&replies[0], &replies[1], &replies[3]), (&withheld, &withheld, &withheld));
    let Reply::Refused { refusal: Refusal::Invalid(text) } = &replies[2] else { panic!("{replies:?}") };
    assert!(text.contains("reserved"), "{text}");
}

/// `spdadd … gre 66770`: packets of this key are meant, and no others; a tunnel of this key is open when they can leave.
#[test]
fn a_policy_for_a_key_of_gre() {
    let mut a = Host::new(A, B);
    a.ok(Request::SpdFlush);
    let Request::SpdAdd(mut keyed) = policy(A, B, Direction::Out, 0) else { unreachable!() };
    (keyed.selector.source_port, keyed.selector.destination_port) = (Port::Is(1), Port::Is(1234));
    keyed.action = Action::Discard;
    let selector = keyed.selector;
    a.ok(Request::SpdAdd(keyed.clone()));
    let mut verdict = |header: &[u8]| a.out(&mut gre(A, B, &[header, &[0; 20]].concat()));
    let discarded = Outbound::Dropped(Drop::PolicyDiscard);
    assert_eq!(verdict(&[0x20, 0, 8, 0, 0, 1, 4, 210]), discarded);
    // With a checksum before the key.
    assert_eq!(verdict(&[0xa0, 0, 8, 0, 9, 9, 0, 0, 0, 1, 4, 210]), discarded);
    assert_eq!(verdict(&[0x20, 0, 8, 0, 0, 1, 4, 211]), Outbound::Clear);
    assert_eq!(verdict(&[0, 0, 8, 0, 0, 1, 4, 210]), Outbound::Clear);
    keyed.action = Action::None;
    a.ok(Request::SpdUpdate(keyed));
    let any = Selector { source_port: Port::Any, destination_port: Port::Any, ..selector };
    assert!(a.sadb.snapshot().is_open(&selector) && !a.sadb.snapshot().is_open(&any));
}
