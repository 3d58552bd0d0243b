//! Classes of attacks and crashes that other implementations have had, each with what stops it here. Without
//! authentication an attacker on the link can say a lot; he crashes nothing, and what is not true does not stay.

use coati_wire::ospf::*;

use super::*;
use crate::lsdb::Scope;

fn converged() -> World {
    let mut world = World::row(3, 1);
    assert!(world.run_until(Duration::from_secs(5), World::converged));
    world.run(Duration::from_secs(20));
    world
}

fn header(world: &World) -> Header {
    Header { router_id: world.routers[1].router_id(), area: BACKBONE, auth_kind: AUTH_NULL, auth: [0; 8] }
}

/// Bytes to router 0, in the name of its neighbour.
fn inject(world: &mut World, bytes: &[u8]) {
    let now = world.now;
    world.routers[0].handle_input(now, &Input::to_all(10, Ipv4Addr::new(203, 0, 0, 2), bytes));
    world.settle();
}

fn inject_lsas(world: &mut World, lsas: Vec<Lsa>) {
    let bytes = Packet::LinkStateUpdate { lsas, bad: Vec::new() }.emit(&header(world));
    inject(world, &bytes);
}

/// The checksum of a packet whose bytes were changed.
fn repaired(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes[12..14].fill(0);
    let sum = coati_wire::checksum::internet(&[&bytes[..16], &bytes[24..]]);
    bytes[12..14].copy_from_slice(&sum.to_be_bytes());
    bytes
}

fn stays_as_it_was(world: &mut World) {
    world.run(Duration::from_secs(30));
    assert!(world.converged());
    assert_eq!(world.state(0, 10), State::Full);
}

fn router_lsa(id: [u8; 4], advertising_router: [u8; 4], sequence: i32) -> Lsa {
    let link = RouterLink {
        id: Ipv4Addr::new(66, 66, 66, 0),
        data: Ipv4Addr::new(255, 255, 255, 0),
        kind: RouterLink::STUB,
        metric: 1,
    };
    let (id, advertising_router) = (Ipv4Addr::from(id), Ipv4Addr::from(advertising_router));
    let key = LsaKey { kind: lsa_kind::ROUTER, id, advertising_router };
    Lsa::new(key, OPTION_E, sequence, LsaBody::Router(RouterLsa { flags: 0, links: vec![link] }))
}

/// CVE-2011-3325, 2011-3324: every packet type with every length, and descriptions that are no whole headers.
#[test]
fn every_type_and_length() {
    let mut world = converged();
    for kind in 0..=255u8 {
        for length in 0..=60u16 {
            let mut bytes = vec![0u8; 60];
            bytes[..2].copy_from_slice(&[2, kind]);
            bytes[2..4].copy_from_slice(&length.to_be_bytes());
            bytes[4..8].copy_from_slice(&header(&world).router_id.octets());
            let now = world.now;
            world.routers[0]
                .handle_input(now, &Input::to_all(10, Ipv4Addr::new(203, 0, 0, 2), &repaired(bytes.clone())));
            bytes.truncate(usize::from(length).max(24));
            world.routers[0]
                .handle_input(now, &Input::to_all(10, Ipv4Addr::new(203, 0, 0, 2), &repaired(bytes)));
        }
    }
    world.settle();
    assert!(world.run_until(Duration::from_secs(60), World::converged));
}

/// Each kind of packet that is not what it should be is counted under its own name, where it came in.
#[test]
fn what_is_wrong_with_a_packet_has_a_name() {
    let mut world = converged();
    let hello = Hello {
        mask: Ipv4Addr::new(255, 255, 255, 252),
        hello_interval: 10,
        options: OPTION_E,
        priority: 1,
        dead_interval: 40,
        designated: Ipv4Addr::UNSPECIFIED,
        backup: Ipv4Addr::UNSPECIFIED,
        neighbours: Vec::new(),
    };
    let good = Packet::Hello(hello).emit(&header(&world));
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        repaired(bytes)
    };
    let of_kind = |kind: u8, body: &[u8]| {
        changed(&|bytes| {
            bytes.truncate(24);
            bytes.extend_from_slice(body);
            let length = bytes.len() as u8;
            bytes[1] = kind;
            bytes[2..4].copy_from_slice(&[0, length]);
        })
    };
    let damaged = {
        let mut lsa = router_lsa([9; 4], [9; 4], 1);
        lsa.bytes[19 + 4] ^= 1;
        Packet::LinkStateUpdate { lsas: vec![lsa], bad: Vec::new() }.emit(&header(&world))
    };
    let wrong_sum = {
        let mut bytes = good.clone();
        bytes[12] ^= 1;
        bytes
    };
    for (bytes, name) in [
        (good[..3].to_vec(), "shorter than its header"),
        (changed(&|bytes| bytes[0] = 3), "another version of OSPF"),
        (changed(&|bytes| bytes[3] = 23), "length that does not fit"),
        (changed(&|bytes| bytes[3] = 200), "length that does not fit"),
        (wrong_sum, "wrong checksum"),
        (changed(&|bytes| bytes[1] = 6), "unknown type of packet"),
        (of_kind(1, &[0; 19]), "malformed hello"),
        (of_kind(1, &[0; 21]), "malformed hello"),
        (of_kind(2, &[0; 7]), "malformed database description"),
        (of_kind(2, &[0; 9]), "malformed list of LSA headers"),
        (of_kind(3, &[0; 11]), "malformed link state request"),
        (of_kind(3, &[1; 12]), "malformed link state request"),
        (of_kind(4, &[0; 3]), "malformed link state update"),
        (of_kind(4, &[0, 0, 0, 1]), "malformed link state update"),
        (of_kind(4, &[[0, 0, 0, 1].as_slice(), &[0; 20]].concat()), "malformed LSA"),
        (of_kind(5, &[0; 21]), "malformed list of LSA headers"),
        (damaged, "LSA with a wrong checksum"),
    ] {
        let count = |world: &World| {
            let total =
                world.routers[0].dropped().find(|(why, _)| *why == name).map_or(0, |(_, count)| count);
            let here = world.routers[0].interfaces[&10].dropped.get(name).copied().unwrap_or(0);
            assert_eq!(total, here, "{name}");
            total
        };
        let before = count(&world);
        inject(&mut world, &bytes);
        assert_eq!(count(&world), before + 1, "{name}");
        let shown = world.routers[0].show(world.now, &["ip", "ospf", "interface"]).unwrap();
        assert!(shown.contains(name), "{shown}");
    }
    assert!(world.routers[0].interfaces[&1].dropped.is_empty());
    stays_as_it_was(&mut world);
}

/// RFC 5082: what has crossed a router does not come from the link.
#[test]
fn packets_from_afar_are_dropped_with_ttl_security() {
    let mut world = World::apart(2, 1);
    world.lay(0, 1, |_, (_, config)| config.ttl_security = Some(1));
    let up = world.run_until(Duration::from_secs(5), |world| world.state(0, 10) == State::Full);
    assert!(up, "{} {:?}", world.story(), world.routers[0].dropped().collect::<Vec<_>>());
    let bytes = Packet::LinkStateAck(Vec::new()).emit(&header(&world));
    let dropped = |world: &World| {
        world.routers[0].dropped().find(|(why, _)| why.starts_with("TTL below")).map_or(0, |(_, count)| count)
    };
    for (ttl, count) in [(255, 0), (254, 0), (253, 1), (1, 2)] {
        let now = world.now;
        let input = Input { ttl, ..Input::to_all(10, Ipv4Addr::new(203, 0, 0, 2), &bytes) };
        world.routers[0].handle_input(now, &input);
        assert_eq!(dropped(&world), count, "TTL {ttl}");
    }
}

/// CVE-2011-3326: unknown LSA types do not end the adjacency.
#[test]
fn unknown_lsa_types() {
    let mut world = converged();
    for kind in (0..=255u8).filter(|kind| !matches!(kind, 1..=5 | 7 | 9..=11)) {
        let key = LsaKey { kind, id: Ipv4Addr::LOCALHOST, advertising_router: Ipv4Addr::LOCALHOST };
        inject_lsas(&mut world, vec![Lsa::new(key, 2, 1, LsaBody::Opaque(vec![0; 8]))]);
    }
    assert!(world.routers[0].dropped().any(|(why, _)| why == "LSA type that is not for this area"));
    stays_as_it_was(&mut world);
}

/// CVE-2012-0249, 2012-0250, and BIRD's out-of-bounds reads of 2026: LSAs whose lengths and counts lie.
#[test]
fn lengths_that_lie() {
    let mut world = converged();
    let good = Packet::LinkStateUpdate { lsas: vec![router_lsa([9; 4], [9; 4], 1)], bad: Vec::new() }
        .emit(&header(&world));
    for at in 24..good.len() {
        for value in [0, 1, 2, 0x7f, 0x80, 0xff] {
            let mut bytes = good.clone();
            bytes[at] = value;
            inject(&mut world, &repaired(bytes));
        }
    }
    stays_as_it_was(&mut world);
}

/// CVE-2013-0149: a router LSA under another name than its originator's is no router LSA.
#[test]
fn disguised_lsas() {
    let mut world = converged();
    let victim = world.routers[2].router_id().octets();
    inject_lsas(&mut world, vec![router_lsa(victim, [9, 9, 9, 9], i32::MAX - 1)]);
    assert!(world.routers[0].dropped().any(|(why, _)| why == "router LSA in another router's name"));
    stays_as_it_was(&mut world);
    assert!(world.routers[0].route(Ipv4Addr::new(66, 66, 66, 0), 24).is_none());
}

/// CVE-2017-3224: the last sequence number of all does not stay.
#[test]
fn last_sequence_number() {
    let mut world = converged();
    let own = world.routers[0].router_id();
    inject_lsas(&mut world, vec![router_lsa(own.octets(), own.octets(), i32::MAX)]);
    world.run(Duration::from_secs(30));
    let key = LsaKey { kind: lsa_kind::ROUTER, id: own, advertising_router: own };
    for router in &world.routers {
        let sequence = router.areas[&BACKBONE].lsdb.get(&key).unwrap().instance().sequence;
        assert!(sequence < 0, "{sequence:#x}");
    }
    stays_as_it_was(&mut world);
}

/// CVE-2019-12676, 2024-27913, 2024-31950, 2024-31951, 2025-61099 to 61107, 2026-28532: opaque LSAs are carried and
/// shown, whatever is in them.
#[test]
fn opaque_lsas() {
    let mut world = converged();
    for kind in lsa_kind::OPAQUE_LINK..=lsa_kind::OPAQUE_AS {
        for (number, data) in
            [vec![], vec![0; 3], vec![0, 1, 0xff, 0xff], vec![0xff; 400]].into_iter().enumerate()
        {
            let id = Ipv4Addr::new(4, 0, 0, number as u8);
            let key = LsaKey { kind, id, advertising_router: world.routers[1].router_id() };
            // Router 1 does not originate it and would take it back: it is in a stranger's name.
            let key = LsaKey { advertising_router: Ipv4Addr::new(9, 9, 9, 9), ..key };
            inject_lsas(&mut world, vec![Lsa::new(key, OPTION_E, 1, LsaBody::Opaque(data))]);
        }
    }
    world.run(Duration::from_secs(5));
    for words in ["opaque-link", "opaque-area", "opaque-as"] {
        let text = world.routers[0].show(world.now, &["ip", "ospf", "database", words]).unwrap();
        assert_eq!(text.matches("Advertising Router: 9.9.9.9").count(), 4, "{text}");
    }
    // Those of a link stay on it.
    assert_eq!(world.routers[0].lsdb(Scope::Link(10)).unwrap().len(), 4);
    stays_as_it_was(&mut world);
}

/// CVE-2024-34088: an LSA may name routers that nobody knows.
#[test]
fn links_to_nowhere() {
    let mut world = converged();
    let mut lsas = Vec::new();
    for number in 0..50u8 {
        let link = |kind| RouterLink {
            id: Ipv4Addr::new(7, 7, 7, number),
            data: Ipv4Addr::LOCALHOST,
            kind,
            metric: 0,
        };
        let links = (0..=5).map(link).collect();
        let id = Ipv4Addr::new(8, 8, 8, number);
        let key = LsaKey { kind: lsa_kind::ROUTER, id, advertising_router: id };
        lsas.push(Lsa::new(key, 2, 1, LsaBody::Router(RouterLsa { flags: 0xff, links })));
    }
    let before = world.routers[0].areas[&BACKBONE].graph.len();
    inject_lsas(&mut world, lsas);
    stays_as_it_was(&mut world);
    // They die of age, and their places in the graph with them.
    world.run(Duration::from_secs(3700));
    let graph = &world.routers[0].areas[&BACKBONE].graph;
    assert_eq!(graph.present().count(), 3);
    assert!(graph.len() <= before + 300);
}

/// BIRD 2026, LLS: what stands behind the packet is not looked at without authentication.
#[test]
fn what_stands_behind() {
    let mut world = converged();
    let hello = |world: &World| Packet::LinkStateAck(Vec::new()).emit(&header(world));
    for length in [1, 2, 3, 4, 7, 100] {
        let mut bytes = hello(&world);
        bytes.extend(vec![0xff; length]);
        inject(&mut world, &bytes);
    }
    stays_as_it_was(&mut world);
}

/// A flood of new LSAs: what is kept stays bounded (checked on a small bound's worth), and what nobody refreshes goes.
#[test]
fn a_flood_of_strangers() {
    let mut world = converged();
    for number in 0..2000u32 {
        let id = (0x0900_0000 + number).to_be_bytes();
        inject_lsas(&mut world, vec![router_lsa(id, id, 1)]);
    }
    assert!(world.routers[0].areas[&BACKBONE].lsdb.len() <= 2003);
    assert!(world.converged());
    world.run(Duration::from_secs(3700));
    assert_eq!(world.routers[0].areas[&BACKBONE].lsdb.len(), 3);
    assert!(world.converged());
}

/// Others' LSAs that do not age (RFC 1793) are kept, and neither age nor end anything.
#[test]
fn do_not_age() {
    let mut world = converged();
    let lsa = router_lsa([9; 4], [9; 4], 1);
    let ageless = Lsa::parse(&lsa.emit_aged(0x8000 | 10)).unwrap();
    inject_lsas(&mut world, vec![ageless]);
    world.run(Duration::from_secs(7300));
    let entry = world.routers[0].areas[&BACKBONE].lsdb.get(&lsa.header.key).unwrap();
    assert!(entry.age(world.now) & 0x8000 != 0);
    stays_as_it_was(&mut world);
}
