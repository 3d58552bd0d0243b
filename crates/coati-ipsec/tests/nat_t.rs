//! ESP inside UDP through a NAT (RFC 3948), in transport mode: the ports, and checksums that hold the addresses of both
//! sides of it.

use std::net::Ipv4Addr;
use std::time::Instant;

use coati_crypto::SeededRandom;
use coati_ipsec::{Outbound, Packet, Sadb};
use coati_sadb::*;
use coati_wire::{checksum, ipv4, udp};

const INSIDE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
const NAT: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

fn sa(source: Ipv4Addr, destination: Ipv4Addr, ports: (u16, u16)) -> Sa {
    Sa {
        id: SaId {
            source: source.into(),
            destination: destination.into(),
            proto: SaProto::Esp,
            spi: Spi(0x1000),
        },
        mode: Mode::Transport,
        reqid: ReqId(0),
        enc: EncAlgorithm::AesCbc,
        enc_key: Secret::new(vec![3; 16]),
        auth: AuthAlgorithm::HmacSha1,
        auth_key: Secret::new(vec![4; 20]),
        replay_window: 64,
        esn: false,
        nat_t: Some(NatT { source_port: ports.0, destination_port: ports.1, ..NatT::default() }),
        soft: Lifetime::default(),
        hard: Lifetime::default(),
        state: SaState::Mature,
        usage: Usage::default(),
        sequence: 0,
        offload: None,
    }
}

fn host(local: Ipv4Addr, remote: Ipv4Addr, sa: Sa) -> Sadb {
    let mut sadb = Sadb::new(Box::new(SeededRandom::new(1)));
    for (direction, source, destination) in [(Direction::Out, local, remote), (Direction::In, remote, local)]
    {
        let policy = Policy {
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
            action: Action::Ipsec(vec![Rule {
                proto: SaProto::Esp,
                mode: Mode::Transport,
                endpoints: None,
                level: Level::Require,
            }]),
            usage: Usage::default(),
        };
        assert_eq!(sadb.request(Instant::now(), 0, Request::SpdAdd(Box::new(policy))), Reply::Done);
    }
    assert_eq!(sadb.request(Instant::now(), 0, Request::Add(Box::new(sa))), Reply::Done);
    sadb
}

fn packet(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, payload: &[u8]) -> Packet {
    let header = ipv4::Repr {
        tos: 0,
        id: 7,
        dont_fragment: false,
        ttl: 64,
        protocol,
        source,
        destination,
        payload_len: payload.len(),
    };
    Packet::new(&[&header.emit()[..], payload].concat())
}

fn pseudo(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&source.octets()[..], &destination.octets(), &[0, protocol], &length, payload].concat()
}

/// What arrives at the server of a packet that the host behind the NAT has sent.
fn through(protocol: u8, payload: &[u8], ports: (u16, u16)) -> (Packet, (u16, u16)) {
    let inside = host(INSIDE, SERVER, sa(INSIDE, SERVER, ports));
    let mut sent = packet(INSIDE, SERVER, protocol, payload);
    let mut verdicts = Vec::new();
    let mut random = SeededRandom::new(2);
    inside.snapshot().outbound(std::slice::from_mut(&mut sent), &mut verdicts, 0, &mut random);
    assert_eq!(verdicts, [Outbound::Sealed]);
    let outer = ipv4::Packet::new_checked(sent.bytes()).unwrap();
    assert_eq!(outer.protocol(), 17);
    let (header, esp) = udp::Repr::parse(outer.payload(), INSIDE.into(), SERVER.into()).unwrap();
    let server = host(SERVER, NAT, sa(NAT, SERVER, (24_500, 4500)));
    let mut arrived = packet(NAT, SERVER, 50, esp);
    server.snapshot().inbound(&mut arrived, 0).unwrap();
    (arrived, (header.source_port, header.destination_port))
}

#[test]
fn checksums_of_tcp_and_udp_hold_the_addresses_of_the_receiver() {
    for (protocol, at) in [(6u8, 16), (17, 6)] {
        let mut payload = vec![9; 101];
        payload[at..at + 2].copy_from_slice(&[0, 0]);
        if protocol == 17 {
            payload[4..6].copy_from_slice(&101u16.to_be_bytes());
        }
        let sum = checksum::internet(&[&pseudo(INSIDE, SERVER, protocol, &payload)]);
        payload[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        let (arrived, ports) = through(protocol, &payload, (4500, 4500));
        assert_eq!(ports, (4500, 4500));
        let inner = ipv4::Packet::new_checked(arrived.bytes()).unwrap();
        assert_eq!((inner.source(), inner.protocol()), (NAT, protocol));
        assert!(checksum::is_intact(&[&pseudo(NAT, SERVER, protocol, inner.payload())]), "{protocol}");
    }
}

#[test]
fn udp_without_checksum_and_gre_stay_as_they_are() {
    let mut payload = vec![1; 60];
    payload[6..8].copy_from_slice(&[0, 0]);
    for protocol in [17, 47] {
        let (arrived, _) = through(protocol, &payload, (4500, 4500));
        assert_eq!(ipv4::Packet::new_checked(arrived.bytes()).unwrap().payload(), payload);
    }
}

#[test]
fn another_port_of_the_peer_takes_effect_at_once() {
    let mut sadb = host(SERVER, NAT, sa(SERVER, NAT, (4500, 24_500)));
    let mut moved = sa(SERVER, NAT, (4500, 34_500));
    moved.enc_key = Secret::default();
    assert_eq!(sadb.request(Instant::now(), 0, Request::Update(Box::new(moved))), Reply::Done);
    let mut sent = packet(SERVER, NAT, 47, &[0; 40]);
    let mut verdicts = Vec::new();
    sadb.snapshot().outbound(std::slice::from_mut(&mut sent), &mut verdicts, 0, &mut SeededRandom::new(2));
    let outer = ipv4::Packet::new_checked(sent.bytes()).unwrap();
    let (header, _) = udp::Repr::parse(outer.payload(), SERVER.into(), NAT.into()).unwrap();
    assert_eq!((header.source_port, header.destination_port), (4500, 34_500));
}

/// The drafts 00 and 01: eight zero bytes between UDP and ESP, which is how it is told from IKE on port 500.
#[test]
fn the_marker_of_the_first_drafts() {
    let mut sa = sa(INSIDE, SERVER, (500, 500));
    sa.nat_t = sa.nat_t.map(|nat_t| NatT { non_ike_marker: true, ..nat_t });
    let client = host(INSIDE, SERVER, sa.clone());
    let mut batch = [packet(INSIDE, SERVER, 47, b"what is inside")];
    let mut verdicts = Vec::new();
    client.snapshot().outbound(&mut batch, &mut verdicts, 0, &mut SeededRandom::new(2));
    assert_eq!(verdicts, [Outbound::Sealed]);
    let outer = ipv4::Packet::new_checked(batch[0].bytes()).unwrap();
    let (ports, body) = udp::Repr::parse(outer.payload(), INSIDE.into(), SERVER.into()).unwrap();
    assert_eq!((ports.source_port, ports.destination_port), (500, 500));
    let esp = body.strip_prefix(&coati_ipsec::NON_IKE_MARKER).unwrap();
    assert_eq!(esp[..4], sa.id.spi.0.to_be_bytes());
}

/// Two hosts behind one NAT with the same selectors: SAs of their own, told apart by SPI, answered at their own ports.
#[test]
fn two_hosts_at_one_address() {
    let first =
        Sa { id: SaId { spi: Spi(0x1001), ..sa(NAT, SERVER, (0, 0)).id }, ..sa(NAT, SERVER, (24_500, 4500)) };
    let mut server = host(SERVER, NAT, first);
    let second =
        Sa { id: SaId { spi: Spi(0x1002), ..sa(NAT, SERVER, (0, 0)).id }, ..sa(NAT, SERVER, (34_500, 4500)) };
    assert_eq!(server.request(Instant::now(), 0, Request::Add(Box::new(second.clone()))), Reply::Done);
    for (spi, port) in [(0x2001, 24_500), (0x2002, 34_500)] {
        let id = SaId { spi: Spi(spi), ..sa(SERVER, NAT, (0, 0)).id };
        let back = Sa { id, ..sa(SERVER, NAT, (4500, port)) };
        assert_eq!(server.request(Instant::now(), 0, Request::Add(Box::new(back))), Reply::Done);
        let mut batch = [packet(SERVER, NAT, 47, b"an answer")];
        let mut verdicts = Vec::new();
        server.snapshot().outbound(&mut batch, &mut verdicts, 0, &mut SeededRandom::new(2));
        let outer = ipv4::Packet::new_checked(batch[0].bytes()).unwrap();
        let (ports, body) = udp::Repr::parse(outer.payload(), SERVER.into(), NAT.into()).unwrap();
        assert_eq!(
            (ports.destination_port, &body[..4]),
            (port, &spi.to_be_bytes()[..]),
            "the newest one is used"
        );
    }
    // Both are received from.
    for spi in [0x1001, 0x1002] {
        let there = Sa { id: SaId { spi: Spi(spi), ..second.id }, nat_t: None, ..second.clone() };
        let client = host(NAT, SERVER, there);
        let mut batch = [packet(NAT, SERVER, 47, b"a question")];
        client.snapshot().outbound(&mut batch, &mut Vec::new(), 0, &mut SeededRandom::new(2));
        assert_eq!(server.snapshot().inbound(&mut batch[0], 0), Ok(coati_ipsec::Inbound::Same), "{spi:#x}");
    }
    // One of them takes another port, and only that one.
    let id = SaId { spi: Spi(0x2001), ..sa(SERVER, NAT, (0, 0)).id };
    let moved = Sa { id, ..sa(SERVER, NAT, (4500, 25_000)) };
    assert_eq!(server.request(Instant::now(), 0, Request::Update(Box::new(moved))), Reply::Done);
    let Reply::Sas { sas } = server.request(Instant::now(), 0, Request::Dump(None)) else { panic!() };
    let mut ports: Vec<u16> =
        sas.iter().filter(|sa| sa.id.source == SERVER).map(|sa| sa.nat_t.unwrap().destination_port).collect();
    ports.sort_unstable();
    assert_eq!(ports, [25_000, 34_500]);
}
