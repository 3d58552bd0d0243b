//! One test for each class of hole that IKE daemons have had (racoon, strongSwan, libreswan, isakmpd).

use coati_wire::isakmp::{self, Delete, Fragment, Header, Notification, kind};

use super::*;

fn up() -> World {
    let mut world = World::new(1);
    world.acquire(0);
    assert!(world.run_until(Duration::from_secs(2), World::is_up));
    world.run(Duration::from_secs(1));
    world
}

fn ends() -> (SocketAddr, SocketAddr) {
    ("192.0.2.1:500".parse().unwrap(), "198.51.100.1:500".parse().unwrap())
}

fn cookies(world: &World) -> ([u8; 8], [u8; 8]) {
    let bytes = &world.log[2].1;
    (bytes[..8].try_into().unwrap(), bytes[8..16].try_into().unwrap())
}

fn clear(world: &World, exchange: u8, message_id: u32, list: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let (initiator_cookie, responder_cookie) = cookies(world);
    let (next_payload, chain) = isakmp::chain(list);
    let header = Header { initiator_cookie, responder_cookie, next_payload, exchange, flags: 0, message_id };
    [&header.emit(chain.len())[..], &chain].concat()
}

/// Hands a datagram to host 0 as if its peer had sent it; whether everything is as before.
fn is_ignored(world: &mut World, bytes: &[u8]) -> bool {
    let before = (world.log.len(), world.hosts[0].engine.isakmp_sas(), world.outbound_spis(0));
    let (local, remote) = ends();
    world.hosts[0].engine.handle_input(world.now, local, remote, bytes);
    world.settle();
    before == (world.log.len(), world.hosts[0].engine.isakmp_sas(), world.outbound_spis(0))
}

/// CVE-2004-0164, CVE-2007-1841: deletes and INITIAL-CONTACT in clear, also with the right cookies.
#[test]
fn what_comes_in_clear_deletes_nothing() {
    let mut world = up();
    let (initiator, responder) = cookies(&world);
    let spi = world.outbound_spis(0)[0].0.to_be_bytes().to_vec();
    let esp = Delete { doi: 1, protocol: 3, spis: vec![spi] }.emit();
    let isakmp = Delete { doi: 1, protocol: 1, spis: vec![[initiator, responder].concat()] }.emit();
    let mut list = vec![(kind::DELETE, esp), (kind::DELETE, isakmp)];
    for what in [Notification::INITIAL_CONTACT, Notification::AUTHENTICATION_FAILED, Notification::R_U_THERE]
    {
        let notification =
            Notification { doi: 1, protocol: 1, spi: Vec::new(), kind: what, data: vec![0, 0, 0, 1] };
        list.push((kind::NOTIFICATION, notification.emit()));
    }
    for payload in list {
        for message_id in [0, 7] {
            let bytes = clear(&world, 5, message_id, &[(kind::HASH, vec![0; 20]), payload.clone()]);
            assert!(is_ignored(&mut world, &bytes));
            let bytes = clear(&world, 5, message_id, std::slice::from_ref(&payload));
            assert!(is_ignored(&mut world, &bytes));
        }
    }
}

/// CVE-2004-0392, CVE-2004-0403, CVE-2005-0398: lengths that lie, in every message of both exchanges.
#[test]
fn lengths_that_lie_end_nothing() {
    let world = up();
    let recorded: Vec<Vec<u8>> = world.log.iter().map(|(_, bytes)| bytes.clone()).collect();
    for bytes in recorded {
        let mut victim = up();
        for length in [0u32, 1, 27, 28, 29, 0xffff, 0xffff_ffff] {
            let mut lying = bytes.clone();
            lying[24..28].copy_from_slice(&length.to_be_bytes());
            assert!(is_ignored(&mut victim, &lying));
        }
        for length in [0u16, 1, 3, 0xffff] {
            let mut lying = bytes.clone();
            lying[30..32].copy_from_slice(&length.to_be_bytes());
            assert!(is_ignored(&mut victim, &lying));
        }
        for cut in 0..bytes.len().min(40) {
            assert!(is_ignored(&mut victim, &bytes[..cut]));
        }
    }
}

/// CVE-2005-3732 and PROTOS: each payload of main mode left out in turn, and doubled.
#[test]
fn missing_payloads_of_main_mode() {
    let world = up();
    let third = world.log[2].1.clone();
    let (header, body) = Header::parse(&third).unwrap();
    let list: Vec<(u8, Vec<u8>)> = isakmp::payloads(header.next_payload, body)
        .unwrap()
        .iter()
        .map(|payload| (payload.kind, payload.body.to_vec()))
        .collect();
    for left_out in 0..list.len() {
        let mut world = World::new(1);
        world.acquire(0);
        world.run(Duration::from_millis(1));
        let mut list = list.clone();
        list.remove(left_out);
        let (next_payload, chain) = isakmp::chain(&list);
        let bytes = [&Header { next_payload, ..header }.emit(chain.len())[..], &chain].concat();
        let (local, remote) = ends();
        world.hosts[1].engine.handle_input(world.now, remote, local, &bytes);
        assert!(world.run_until(Duration::from_secs(20), World::is_up), "{left_out}");
    }
}

/// CVE-2009-1574, CVE-2013-6076: fragments without data, in every state.
#[test]
fn fragments_without_data() {
    let mut world = up();
    for body in [vec![], vec![0, 1], vec![0, 1, 1], vec![0, 1, 1, 1], vec![0, 1, 0, 1, 9]] {
        let bytes = clear(&world, 2, 0, &[(kind::FRAGMENT, body)]);
        assert!(is_ignored(&mut world, &bytes));
    }
}

/// CVE-2016-10396: 255 fragments in the worst order cost next to nothing.
#[test]
fn fragments_in_the_worst_order() {
    let mut world = up();
    let begun = Instant::now();
    for number in (1..=254u8).rev() {
        let body = Fragment { id: 1, number, last: false, data: vec![0; 60] }.emit();
        let bytes = clear(&world, 2, 0, &[(kind::FRAGMENT, body)]);
        assert!(is_ignored(&mut world, &bytes));
    }
    assert!(begun.elapsed() < Duration::from_millis(200), "{:?}", begun.elapsed());
}

/// CVE-2008-3651, CVE-2008-3652: bad offers and bogus first messages leave nothing behind.
#[test]
fn bad_offers_leave_nothing_behind() {
    let mut world = World::new(1);
    let (local, remote) = ends();
    let mut random = SeededRandom::new(3);
    for _ in 0..10_000 {
        let mut offer = vec![0; 60];
        random.fill(&mut offer);
        offer[..8].copy_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1]);
        let (next_payload, chain) = isakmp::chain(&[(kind::SA, offer)]);
        let mut initiator_cookie = [0; 8];
        random.fill(&mut initiator_cookie);
        let header = Header {
            initiator_cookie,
            responder_cookie: [0; 8],
            next_payload,
            exchange: 2,
            flags: 0,
            message_id: 0,
        };
        let bytes = [&header.emit(chain.len())[..], &chain].concat();
        world.hosts[0].engine.handle_input(world.now, local, remote, &bytes);
    }
    while world.hosts[0].engine.poll_transmit().is_some() {}
    assert!(world.hosts[0].engine.isakmp_sas().is_empty());
    assert_eq!(world.hosts[0].engine.greetings_held().0, 0);
    assert!(world.hosts[0].engine.failures().count() <= 1);
    assert!(world.hosts[0].engine.next_timeout().is_none(), "no timer is left either");
}

/// CVE-2009-0790: R-U-THERE for nobody, for a half-open SA and for unknown cookies.
#[test]
fn dpd_without_state() {
    let mut world = World::new(1);
    world.acquire(0);
    let first = world.log[0].1.clone();
    let ask = Notification {
        doi: 1,
        protocol: 1,
        spi: vec![1; 16],
        kind: Notification::R_U_THERE,
        data: vec![0; 4],
    };
    let (next_payload, chain) = isakmp::chain(&[(kind::NOTIFICATION, ask.emit())]);
    let (local, remote) = ends();
    for known in [false, true] {
        for flags in [0, 1] {
            let initiator_cookie = if known { first[..8].try_into().unwrap() } else { [9; 8] };
            let header = Header {
                initiator_cookie,
                responder_cookie: [3; 8],
                next_payload,
                exchange: 5,
                flags,
                message_id: 1,
            };
            let bytes = [&header.emit(chain.len())[..], &chain].concat();
            world.hosts[0].engine.handle_input(world.now, local, remote, &bytes);
            world.settle();
        }
    }
    assert_eq!(world.log.len(), 1);
    assert!(world.run_until(Duration::from_secs(5), World::is_up));
}

/// CVE-2014-9221 and RFC 6989: public values of 0, 1, p-1, p, and of a wrong length.
#[test]
fn degenerate_public_values() {
    let world = up();
    let third = world.log[2].1.clone();
    let (header, body) = Header::parse(&third).unwrap();
    let list: Vec<(u8, Vec<u8>)> = isakmp::payloads(header.next_payload, body)
        .unwrap()
        .iter()
        .map(|payload| (payload.kind, payload.body.to_vec()))
        .collect();
    let one = [vec![0; 127], vec![1]].concat();
    for public in [vec![0; 128], one, vec![0xff; 128], vec![2; 127], vec![2; 129], vec![]] {
        let mut world = World::new(1);
        world.acquire(0);
        world.run_until(Duration::from_secs(1), |world| world.log.len() == 3);
        // What is on its way does not arrive: the forged one comes instead.
        world.flying.clear();
        let list: Vec<(u8, Vec<u8>)> = list
            .iter()
            .map(|(kind, body)| (*kind, if *kind == kind::KE { public.clone() } else { body.clone() }))
            .collect();
        let (initiator_cookie, responder_cookie) = cookies(&world);
        let (next_payload, chain) = isakmp::chain(&list);
        let header = Header { initiator_cookie, responder_cookie, next_payload, ..header };
        let bytes = [&header.emit(chain.len())[..], &chain].concat();
        let (local, remote) = ends();
        world.hosts[1].engine.handle_input(world.now, remote, local, &bytes);
        world.settle();
        world.run(Duration::from_millis(100));
        assert!(world.hosts[1].events.iter().all(|event| !matches!(event, Event::IsakmpEstablished { .. })));
        assert!(!world.is_up());
    }
}

/// CVE-2015-4047: an authentication method that nobody has.
#[test]
fn unknown_authentication_methods_are_refused() {
    let mut world = World::new(1);
    world.acquire(0);
    let mut first = world.log[0].1.clone();
    // The attribute of class 3 with value 1 becomes GSSAPI's 65001, which is also XAUTH's.
    let at = first.windows(4).position(|bytes| bytes == [0x80, 3, 0, 1]).unwrap();
    first[at + 2..at + 4].copy_from_slice(&[0xfd, 0xe9]);
    first[..8].copy_from_slice(&[7; 8]);
    let mut other = World::new(2);
    let (local, remote) = ends();
    other.hosts[0].engine.handle_input(other.now, local, remote, &first);
    other.settle();
    assert!(other.hosts[0].engine.isakmp_sas().is_empty());
    assert!(other.hosts[0].failures().contains("xauth_psk_server"), "{}", other.hosts[0].failures());
}

/// CVE-2014-2338, CVE-2015-3991: every exchange type and payload kind against every state.
#[test]
fn exchanges_out_of_turn() {
    let mut world = up();
    for exchange in 0..=255u8 {
        for payload in [kind::SA, kind::KE, kind::ID, kind::HASH, kind::SIG, kind::NONCE, 33, 34, 46, 53, 255]
        {
            for message_id in [0, 5] {
                let bytes = clear(&world, exchange, message_id, &[(payload, vec![0; 24])]);
                assert!(is_ignored(&mut world, &bytes), "{exchange} {payload}");
            }
        }
    }
    let now = world.now;
    assert!(world.hosts[0].sas(now).len() == 2 && world.is_up());
}

/// CVE-2013-2054: identities of odd lengths and contents, from somebody who has the key.
#[test]
fn odd_identities_are_shown_harmlessly() {
    for name in ["", "\n2026-01-01: INFO: forged", "%n%s", "\u{202e}evil", &"x".repeat(60_000)] {
        let [mut a, mut b] = [config(B), config(A)];
        for config in [&mut a, &mut b] {
            config.peers[0].exchange_modes = vec![ExchangeMode::Aggressive];
            config.keys[0].identity = "*".into();
        }
        a.peers[0].my_identifier = Identifier::Fqdn(name.into());
        let mut world = World::with(1, a, b);
        world.acquire(0);
        world.run_until(Duration::from_secs(3), World::is_up);
        for sa in world.hosts[1].engine.isakmp_sas() {
            assert!(
                sa.identity
                    .is_none_or(|shown| shown.len() < 2000 && shown.is_ascii() && !shown.contains('\n'))
            );
        }
    }
}

/// A peer deletes only what it has negotiated itself, whoever shares its address.
#[test]
fn deletes_are_believed_from_the_owner_only() {
    let mut world = up();
    let spis = world.outbound_spis(0);
    // The same pair, as if somebody else behind the same address had negotiated it.
    for pair in world.hosts[0].engine.core_mut().pairs.values_mut() {
        if let Some(party) = &mut pair.want.party {
            party.identity = b"somebody else".to_vec();
        }
    }
    world.hosts[1].engine.flush_pairs();
    world.settle();
    world.run(Duration::from_secs(1));
    assert_eq!(world.outbound_spis(0), spis);
}

/// Quick mode played back, whole and message by message, also long after.
#[test]
fn recorded_quick_modes_are_recognised() {
    let mut world = up();
    let recorded: Vec<(usize, Vec<u8>)> =
        world.log.iter().filter(|(_, bytes)| bytes[18] == 32).cloned().collect();
    world.run(Duration::from_secs(120));
    let (before, spis) = (world.log.len(), world.outbound_spis(1));
    for (from, bytes) in recorded {
        let (local, remote) = ends();
        let (to, ends) = if from == 0 { (1, (remote, local)) } else { (0, (local, remote)) };
        world.hosts[to].engine.handle_input(world.now, ends.0, ends.1, &bytes);
        world.settle();
    }
    let now = world.now;
    assert_eq!((world.log.len(), world.outbound_spis(1)), (before, spis));
    assert_eq!(world.hosts[1].sas(now).len(), 2, "not even an SPI is reserved");
}

/// A first message with an empty name, a vendor id of one byte, a fragmentation id without its word.
#[test]
fn vendor_ids_of_odd_lengths() {
    let mut world = World::new(1);
    world.acquire(0);
    let (header, body) = Header::parse(&world.log[0].1).unwrap();
    let list = isakmp::payloads(header.next_payload, body).unwrap();
    let mut list: Vec<(u8, Vec<u8>)> =
        list.iter().map(|payload| (payload.kind, payload.body.to_vec())).collect();
    list.truncate(1);
    let whole = list[0].1.clone();
    for len in 0..20 {
        list.push((kind::VENDOR_ID, vec![0xaf; len]));
        list.push((
            kind::VENDOR_ID,
            b"\x40\x48\xb7\xd5\x6e\xbc\xe8\x85\x25\xe7\xde\x7f\x00\xd6\xc2\xd3"[..len.min(16)].to_vec(),
        ));
    }
    assert_eq!(list[0].1, whole);
    let (next_payload, chain) = isakmp::chain(&list);
    let bytes = [&Header { next_payload, ..header }.emit(chain.len())[..], &chain].concat();
    let (local, remote) = ends();
    world.hosts[1].engine.handle_input(world.now, remote, local, &bytes);
    assert!(world.hosts[1].engine.poll_transmit().is_some_and(|answer| answer.payload.len() <= bytes.len()));
}
