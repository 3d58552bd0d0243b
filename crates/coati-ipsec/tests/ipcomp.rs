//! Compression before ESP: what becomes smaller and what does not, policies, and what a hostile peer may send.

use std::io::Write;
use std::net::Ipv4Addr;
use std::time::Instant;

use coati_crypto::SeededRandom;
use coati_ipsec::{Drop, Outbound, Packet, Sadb};
use coati_sadb::*;
use coati_wire::{ipcomp, ipv4};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use proptest::prelude::*;

const A: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const B: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const CPI: u32 = 0x1234;

struct Host {
    sadb: Sadb,
    random: SeededRandom,
}

/// Which SAs there are, and what of compression the policies want.
struct Setup {
    compression: Option<Level>,
    ipcomp_sas: bool,
}

const COMPRESSING: Setup = Setup { compression: Some(Level::Use), ipcomp_sas: true };

fn host(local: Ipv4Addr, remote: Ipv4Addr, setup: &Setup) -> Host {
    let mut host = Host { sadb: Sadb::new(Box::new(SeededRandom::new(1))), random: SeededRandom::new(2) };
    for (direction, source, destination) in [(Direction::Out, local, remote), (Direction::In, remote, local)]
    {
        let rule = |proto, level| Rule { proto, mode: Mode::Transport, endpoints: None, level };
        let ipcomp = setup.compression.map(|level| rule(SaProto::Ipcomp, level));
        let rules = ipcomp.into_iter().chain([rule(SaProto::Esp, Level::Require)]).collect();
        host.ask(Request::SpdAdd(Box::new(Policy {
            id: PolicyId::default(),
            selector: Selector {
                source: Prefix::host(source.into()),
                source_port: Port::Any,
                destination: Prefix::host(destination.into()),
                destination_port: Port::Any,
                upper: Upper::Any,
            },
            direction,
            priority: Priority::default(),
            action: Action::Ipsec(rules),
            usage: Usage::default(),
        })));
        host.ask(Request::Add(Box::new(sa(source, destination, SaProto::Esp))));
        if setup.ipcomp_sas {
            host.ask(Request::Add(Box::new(sa(source, destination, SaProto::Ipcomp))));
        }
    }
    host
}

fn sa(source: Ipv4Addr, destination: Ipv4Addr, proto: SaProto) -> Sa {
    let esp = proto == SaProto::Esp;
    let key = |length: usize| Secret::new(vec![7; if esp { length } else { 0 }]);
    Sa::with_keys(
        SaId {
            source: source.into(),
            destination: destination.into(),
            proto,
            spi: Spi(if esp { 0x1_0000 } else { CPI }),
        },
        if esp { EncAlgorithm::AesCbc } else { EncAlgorithm::Null },
        key(16),
        if esp { AuthAlgorithm::HmacSha1 } else { AuthAlgorithm::None },
        key(20),
    )
}

fn packet(protocol: u8, payload: &[u8]) -> Packet {
    let header = ipv4::Repr {
        tos: 0,
        id: 7,
        dont_fragment: false,
        ttl: 64,
        protocol,
        source: A,
        destination: B,
        payload_len: payload.len(),
    };
    Packet::new(&[&header.emit()[..], payload].concat())
}

impl Host {
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

    fn counter(&self, name: &str) -> u64 {
        let all = self.sadb.counters().all();
        all.iter().find(|(found, _)| found == name).expect("it exists").1
    }

    /// Seals this IPComp packet as it is, as a peer with the keys can, and hands it to `other`.
    fn forge(&mut self, body: &[u8], other: &Host) -> Result<(), Drop> {
        let mut packet = packet(108, body);
        assert_eq!(self.send(&mut packet), Outbound::Sealed);
        other.receive(&mut packet)
    }
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn compressed(cpi: u16, bytes: &[u8]) -> Vec<u8> {
    [&ipcomp::Header { next_header: 47, cpi }.emit()[..], &deflate(bytes)].concat()
}

proptest! {
    #[test]
    fn round_trip(word in prop::collection::vec(any::<u8>(), 1..60), times in 1usize..60,
                  noise in prop::collection::vec(any::<u8>(), 0..400)) {
        let (mut a, b) = (host(A, B, &COMPRESSING), host(B, A, &COMPRESSING));
        let mut plain = host(A, B, &Setup { compression: None, ipcomp_sas: false });
        let payload = [noise.clone(), word.repeat(times), noise].concat();
        let clear = packet(47, &payload);
        let (mut sent, mut without) = (clear.clone(), clear.clone());
        prop_assert_eq!(a.send(&mut sent), Outbound::Sealed);
        prop_assert_eq!(plain.send(&mut without), Outbound::Sealed);
        prop_assert!(sent.len() <= without.len(), "never larger: {} {}", sent.len(), without.len());
        prop_assert_eq!(b.receive(&mut sent), Ok(()));
        prop_assert_eq!(sent.bytes(), clear.bytes());
    }

    #[test]
    fn any_bytes_inside(body: Vec<u8>) {
        let (mut a, b) = (host(A, B, &Setup { compression: None, ipcomp_sas: false }), host(B, A, &COMPRESSING));
        let _ = a.forge(&body, &b);
        let _ = a.forge(&[&ipcomp::Header { next_header: 47, cpi: 0x1234 }.emit()[..], &body].concat(), &b);
    }
}

#[test]
fn what_becomes_smaller_is_compressed_and_nothing_else() {
    let (mut a, b) = (host(A, B, &COMPRESSING), host(B, A, &COMPRESSING));
    let mut text = packet(47, &b"all the same ".repeat(80));
    let long = text.len();
    a.send(&mut text);
    assert!(text.len() < long / 4, "{} of {long}", text.len());
    assert_eq!((a.counter("ipcomp-compressed"), a.counter("esp-sealed")), (1, 1));
    assert_eq!(b.receive(&mut text), Ok(()));
    assert_eq!((text.len(), b.counter("ipcomp-inflated")), (long, 1));
    // Below the threshold, and what has no redundancy: counted as sealed only.
    let mut noise = vec![0; 1200];
    coati_crypto::RandomSource::fill(&mut a.random, &mut noise);
    for payload in [b"short".to_vec(), noise] {
        let mut sent = packet(47, &payload);
        a.send(&mut sent);
        assert_eq!(b.receive(&mut sent), Ok(()));
        assert_eq!(sent.bytes(), packet(47, &payload).bytes());
    }
    assert_eq!((a.counter("ipcomp-compressed"), a.counter("esp-sealed")), (1, 3));
    // The SA says what it has had to do.
    let id = sa(A, B, SaProto::Ipcomp).id;
    let Reply::Sas { sas } = a.sadb.request(Instant::now(), 0, Request::Get(id)) else { panic!() };
    assert_eq!((sas[0].usage.packets, sas[0].usage.bytes), (1, (long - 20) as u64));
}

#[test]
fn a_bomb_bursts_at_the_length_of_a_packet() {
    let (mut a, b) = (host(A, B, &Setup { compression: None, ipcomp_sas: false }), host(B, A, &COMPRESSING));
    let cpi = CPI as u16;
    let most = 65_535 - 20;
    assert_eq!(a.forge(&compressed(cpi, &vec![0; most]), &b), Ok(()));
    for size in [most + 1, 1 << 20, 32 << 20] {
        assert_eq!(a.forge(&compressed(cpi, &vec![0; size]), &b), Err(Drop::InflatesTooFar), "{size}");
    }
    assert_eq!(b.counter("ipcomp-too-large"), 3);
    for broken in [&b"\x2f\0\x12\x34"[..], b"\x2f\0\x12\x34\xff\xff\xff", b"\x2f\0\x12"] {
        assert_eq!(a.forge(broken, &b), Err(Drop::Inflate));
    }
    assert_eq!(a.forge(&compressed(cpi + 1, b"whoever"), &b), Err(Drop::UnknownCpi));
    assert_eq!((b.counter("ipcomp-bad-data"), b.counter("ipcomp-unknown-cpi")), (3, 1));
    // Compressed twice: what comes out is IPComp, which no tunnel wants; and there is no loop.
    let mut twice = packet(108, &{
        let inner = compressed(cpi, b"what is inside, and inside again");
        let mut outer = compressed(cpi, &inner);
        outer[0] = 108;
        outer
    });
    assert_eq!(a.send(&mut twice), Outbound::Sealed);
    assert_eq!(b.receive(&mut twice), Ok(()));
    assert_eq!(ipv4::Packet::new(twice.bytes()).unwrap().protocol(), 108);
}

#[test]
fn levels_of_compression() {
    // `use` without an SA: ESP alone. `require` without one: the packet waits.
    let mut text = packet(47, &[b'a'; 400]);
    assert_eq!(
        host(A, B, &Setup { compression: Some(Level::Use), ipcomp_sas: false }).send(&mut text.clone()),
        Outbound::Sealed
    );
    let mut strict = host(A, B, &Setup { compression: Some(Level::Require), ipcomp_sas: false });
    let Outbound::Wait(policy) = strict.send(&mut text) else { panic!() };
    strict.sadb.hold(Instant::now(), policy, text);
    let Some(Notification::Acquire(acquire)) = strict.sadb.poll_notification() else { panic!() };
    assert_eq!((acquire.proto, acquire.mode), (SaProto::Esp, Mode::Transport));
    assert!(strict.sadb.take_released().is_empty());
    strict.ask(Request::Add(Box::new(sa(A, B, SaProto::Ipcomp))));
    assert_eq!(strict.sadb.take_released().len(), 1);
    // Who asks for none takes it all the same, as kernels do: ESP is what its policy wants.
    let (mut a, b) = (host(A, B, &COMPRESSING), host(B, A, &Setup { compression: None, ipcomp_sas: true }));
    let mut sent = packet(47, &[b'a'; 400]);
    a.send(&mut sent);
    assert_eq!(b.receive(&mut sent), Ok(()));
}

#[test]
fn indices_are_16_bits_and_names_are_by_protocol() {
    let mut a = host(A, B, &COMPRESSING);
    let reserve = |proto| Request::GetSpi {
        source: B.into(),
        destination: A.into(),
        proto,
        mode: Mode::Transport,
        reqid: ReqId(0),
        spi: Spi(0),
    };
    for _ in 0..100 {
        let Reply::Spi { spi } = a.sadb.request(Instant::now(), 0, reserve(SaProto::Ipcomp)) else {
            panic!()
        };
        assert!(Spi::NEGOTIATED_CPI.contains(&spi.0), "{spi}");
    }
    for spi in [0, 1, 3, 255, 0x1_0000] {
        let mut sa = sa(B, A, SaProto::Ipcomp);
        sa.id.spi = Spi(spi);
        let reply = a.sadb.request(Instant::now(), 0, Request::Add(Box::new(sa)));
        assert!(matches!(reply, Reply::Refused { .. }), "{spi}");
    }
    let mut keyed = sa(B, A, SaProto::Ipcomp);
    (keyed.id.spi, keyed.enc_key) = (Spi(300), Secret::new(vec![1]));
    let reply = a.sadb.request(Instant::now(), 0, Request::Add(Box::new(keyed)));
    assert!(matches!(reply, Reply::Refused { refusal: Refusal::Invalid(_) }));
    // An ESP SA and an IPComp SA may have the same number.
    let mut esp = sa(B, A, SaProto::Esp);
    esp.id.spi = Spi(CPI);
    a.ask(Request::Add(Box::new(esp)));
}
