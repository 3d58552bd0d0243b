//! Refresh, ageing, what is fought back, larger databases.

use coati_wire::ospf::*;

use super::*;

/// An LSA that comes to router 0 from its neighbour, router 1.
fn inject(world: &mut World, lsas: Vec<Lsa>) {
    let header = Header {
        router_id: world.routers[1].config.router_id,
        area: Ipv4Addr::UNSPECIFIED,
        auth_kind: 0,
        auth: [0; 8],
    };
    let bytes = Packet::LinkStateUpdate { lsas, bad: Vec::new() }.emit(&header);
    let now = world.now;
    world.routers[0].handle_input(now, &Input::to_all(10, Ipv4Addr::new(203, 0, 0, 2), &bytes));
    world.settle();
}

fn router_key(id: Ipv4Addr) -> LsaKey {
    LsaKey { kind: lsa_kind::ROUTER, id, advertising_router: id }
}

fn sequence(world: &World, at: usize, of: usize) -> i32 {
    let key = router_key(world.routers[of].config.router_id);
    world.routers[at].areas[&Ipv4Addr::UNSPECIFIED].lsdb.get(&key).unwrap().instance().sequence
}

#[test]
fn refreshed_every_half_hour() {
    let mut world = World::row(2, 1);
    assert!(world.run_until(Duration::from_secs(1), World::converged));
    world.run(Duration::from_secs(60));
    let first = sequence(&world, 0, 1);
    world.run(Duration::from_secs(3 * 3600));
    assert_eq!(sequence(&world, 0, 1), first + 6);
    assert_eq!(sequence(&world, 1, 1), first + 6);
    assert!(world.converged());
}

#[test]
fn what_nobody_refreshes_dies() {
    let mut world = World::row(2, 1);
    assert!(world.run_until(Duration::from_secs(1), World::converged));
    let stranger = Ipv4Addr::new(9, 9, 9, 9);
    let lsa = Lsa::new(router_key(stranger), 2, INITIAL_SEQUENCE, LsaBody::Router(RouterLsa::default()));
    inject(&mut world, vec![lsa]);
    let has = |world: &World, at: usize| {
        world.routers[at].areas[&Ipv4Addr::UNSPECIFIED].lsdb.get(&router_key(stranger)).is_some()
    };
    assert!(has(&world, 0));
    world.run(Duration::from_secs(3590));
    assert!(has(&world, 0));
    world.run(Duration::from_secs(30));
    assert!(!has(&world, 0) && !has(&world, 1));
}

/// BIRD does so with what it translates, lest an equal network with another mask get in its way (RFC 2328 appendix E).
#[test]
fn bits_of_the_host_in_a_link_state_id_are_not_shown_as_the_network() {
    let mut world = World::row(2, 1);
    assert!(world.run_until(Duration::from_secs(1), World::converged));
    let advertising_router = world.routers[1].config.router_id;
    let key = LsaKey { kind: lsa_kind::EXTERNAL, id: Ipv4Addr::new(172, 30, 255, 255), advertising_router };
    let body = LsaBody::External {
        mask: Ipv4Addr::new(255, 255, 0, 0),
        type2: true,
        metric: 20,
        forwarding: Ipv4Addr::UNSPECIFIED,
        tag: 0,
    };
    inject(&mut world, vec![Lsa::new(key, OPTION_E, INITIAL_SEQUENCE, body)]);
    let show = |words: &[&str]| world.routers[0].show(world.now, words).unwrap();
    let text = show(&["ip", "ospf", "database"]);
    let line = text.lines().find(|line| line.starts_with("172.30.255.255 ")).unwrap();
    assert!(line.ends_with(" E2 172.30.0.0/16 [0x0]"), "{line}");
    let json = show(&["ip", "ospf", "database", "json"]);
    assert!(json.contains("\"route\": \"172.30.0.0/16\""), "{json}");
}

#[test]
fn forged_instances_of_own_lsas_are_surpassed() {
    let mut world = World::row(2, 1);
    assert!(world.run_until(Duration::from_secs(1), World::converged));
    world.run(Duration::from_secs(10));
    let own = world.routers[0].config.router_id;
    let forged = Lsa::new(router_key(own), 2, 0x100, LsaBody::Router(RouterLsa::default()));
    let before = world.route(1, 0).cloned();
    inject(&mut world, vec![forged]);
    world.run(Duration::from_secs(2));
    assert_eq!(sequence(&world, 1, 0), 0x101);
    assert_eq!(world.route(1, 0).cloned(), before);
    // The last number of all: the old one has to die first.
    let last = Lsa::new(router_key(own), 2, MAX_SEQUENCE, LsaBody::Router(RouterLsa::default()));
    inject(&mut world, vec![last]);
    world.run(Duration::from_secs(20));
    assert!(sequence(&world, 1, 0) < -0x7fff_0000, "{:#x}", sequence(&world, 1, 0));
    assert_eq!(world.route(1, 0).cloned(), before);
    // One that we do not originate at all is flushed.
    let key = LsaKey { kind: lsa_kind::EXTERNAL, id: Ipv4Addr::UNSPECIFIED, advertising_router: own };
    let mask = Ipv4Addr::UNSPECIFIED;
    let body = LsaBody::External { mask, type2: true, metric: 1, forwarding: mask, tag: 0 };
    inject(&mut world, vec![Lsa::new(key, 2, 5, body)]);
    world.run(Duration::from_secs(5));
    assert!(world.routers[0].as_wide.get(&key).is_none());
    assert!(world.routers[1].as_wide.get(&key).is_none());
}

/// Many small updates are no reason for as many acknowledgements.
#[test]
fn packets_that_come_together_are_acknowledged_together() {
    let mut world = World::row(2, 1);
    assert!(world.run_until(Duration::from_secs(1), World::converged));
    world.run(Duration::from_secs(10));
    let header = Header {
        router_id: world.routers[1].config.router_id,
        area: Ipv4Addr::UNSPECIFIED,
        auth_kind: 0,
        auth: [0; 8],
    };
    let update = |number: u32| {
        let key = router_key(Ipv4Addr::from(0x0b00_0000 + number));
        let lsas = vec![Lsa::new(key, 2, 1, LsaBody::Router(RouterLsa::default()))];
        Packet::LinkStateUpdate { lsas, bad: Vec::new() }.emit(&header)
    };
    let updates: Vec<Vec<u8>> = (0..20).map(update).collect();
    let source = Ipv4Addr::new(203, 0, 0, 2);
    let inputs = updates.iter().map(|bytes| Input::to_all(10, source, bytes));
    let router = &mut world.routers[0];
    router.handle_inputs(world.now, inputs);
    let sent: Vec<Packet> = std::iter::from_fn(|| router.poll_transmit())
        .filter(|transmit| transmit.interface == 10)
        .map(|transmit| Packet::parse(&transmit.payload).unwrap().1)
        .collect();
    let [Packet::LinkStateAck(acknowledged)] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!(acknowledged.len(), 20);
}

#[test]
fn a_thousand_lsas_cross_in_many_packets() {
    let mut world = World::row(2, 1);
    world.cables[0].cut = true;
    let area = Ipv4Addr::UNSPECIFIED;
    let now = world.now;
    for number in 0..1000u32 {
        let id = Ipv4Addr::from(0x0b00_0000 + number);
        let lsa = Lsa::new(router_key(id), 2, 1, LsaBody::Router(RouterLsa::default()));
        world.routers[0].install(now, crate::lsdb::Scope::Area(area), lsa);
    }
    world.loss = 5;
    world.cables[0].cut = false;
    assert!(world.run_until(Duration::from_secs(60), |world| {
        world.state(1, 10) == State::Full && world.routers[1].areas[&area].lsdb.len() == 1002
    }));
}

/// Two routers, the first of which has a thousand LSAs for the other one.
fn a_thousand_to_give() -> World {
    let mut world = World::row(2, 1);
    let now = world.now;
    for number in 0..1000u32 {
        let id = Ipv4Addr::from(0x0b00_0000 + number);
        let lsa = Lsa::new(router_key(id), 2, 1, LsaBody::Router(RouterLsa::default()));
        world.routers[0].install(now, crate::lsdb::Scope::Area(Ipv4Addr::UNSPECIFIED), lsa);
    }
    world
}

#[test]
fn acknowledgements_of_what_was_asked_for_fill_their_packets() {
    let mut world = a_thousand_to_give();
    assert!(world.run_until(Duration::from_secs(1), World::converged));
    world.run(Duration::from_millis(100));
    // 72 fit into one of 1500 bytes.
    let packets = world.routers[1].interfaces[&10].traffic[4][1];
    assert!((14..20).contains(&packets), "{packets}");
    let mut neighbours = world.routers[0].interfaces[&10].neighbours.values();
    assert!(neighbours.all(|neighbour| neighbour.retransmissions.is_empty()));
}

#[test]
fn acknowledgements_do_not_wait_for_answers_that_do_not_come() {
    let mut world = a_thousand_to_give();
    let waits = |world: &World| !world.routers[1].interfaces[&10].acks.is_empty();
    assert!(world.run_until(Duration::from_secs(1), waits));
    world.cables[0].cut = true;
    let sent = |world: &World| world.routers[1].interfaces[&10].traffic[4][1];
    let before = sent(&world);
    world.run(Duration::from_millis(51));
    assert!(!waits(&world));
    assert!(sent(&world) > before);
}

#[test]
fn externals_and_summaries() {
    let mut world = World::row(2, 1);
    assert!(world.run_until(Duration::from_secs(1), World::converged));
    world.run(Duration::from_secs(2));
    // Only from border and boundary routers such LSAs count.
    let route = ExternalRoute {
        network: Ipv4Addr::new(172, 30, 0, 0),
        prefix_len: 16,
        type2: true,
        metric: 1,
        tag: 0,
        gateway: None,
    };
    let now = world.now;
    world.routers[1].set_externals(now, [route]);
    let link = Link { index: 77, ..world.routers[1].interfaces[&1].link.clone() };
    let area = Ipv4Addr::new(0, 0, 0, 1);
    world.routers[1].interface_up(now, link, InterfaceConfig { area, passive: true, ..Default::default() });
    world.run(Duration::from_secs(10));
    let border = world.routers[1].config.router_id;
    let key = |kind, id: &str| LsaKey { kind, id: id.parse().unwrap(), advertising_router: border };
    let mask = Ipv4Addr::new(255, 255, 0, 0);
    let none = Ipv4Addr::UNSPECIFIED;
    inject(
        &mut world,
        vec![
            Lsa::new(key(3, "172.16.0.0"), 2, 1, LsaBody::Summary { mask, metric: 7 }),
            Lsa::new(
                key(5, "172.17.0.0"),
                2,
                1,
                LsaBody::External { mask, type2: true, metric: 20, forwarding: none, tag: 3 },
            ),
            Lsa::new(
                key(5, "172.18.0.0"),
                2,
                1,
                LsaBody::External { mask, type2: false, metric: 20, forwarding: none, tag: 0 },
            ),
            Lsa::new(
                key(5, "172.19.0.0"),
                2,
                1,
                LsaBody::External { mask, type2: false, metric: 0xff_ffff, forwarding: none, tag: 0 },
            ),
        ],
    );
    world.run(Duration::from_secs(1));
    let found = |network: &str| {
        let network: Ipv4Addr = network.parse().unwrap();
        world.routers[0].routes().find(|r| r.network == network).map(|r| (r.kind, r.cost))
    };
    assert_eq!(found("172.16.0.0"), Some((RouteKind::InterArea, 17)));
    assert_eq!(found("172.17.0.0"), Some((RouteKind::External2 { metric: 20, tag: 3 }, 10)));
    assert_eq!(found("172.18.0.0"), Some((RouteKind::External1 { tag: 0 }, 30)));
    assert_eq!(found("172.19.0.0"), None);
}
