//! RFC 3623 section 3: a neighbour that restarts.

use coati_wire::ospf::*;

use super::*;

/// Router 1 tells router 0 that it restarts, in so many seconds at the most.
fn announce(world: &mut World, period: u32, age: u16) {
    let id = world.routers[1].router_id();
    let mut data = vec![0, 1, 0, 4];
    data.extend(period.to_be_bytes());
    data.extend([0, 2, 0, 1, 1, 0, 0, 0]);
    let key = LsaKey { kind: lsa_kind::OPAQUE_LINK, id: Ipv4Addr::new(3, 0, 0, 0), advertising_router: id };
    let lsa = Lsa::new(key, OPTION_E | OPTION_O, 1, LsaBody::Opaque(data));
    let lsa = Lsa::parse(&lsa.emit_aged(age)).unwrap();
    let header = Header { router_id: id, area: BACKBONE, auth_kind: AUTH_NULL, auth: [0; 8] };
    let bytes = Packet::LinkStateUpdate { lsas: vec![lsa], bad: Vec::new() }.emit(&header);
    let now = world.now;
    world.routers[0].handle_input(now, &Input::to_all(10, Ipv4Addr::new(203, 0, 0, 2), &bytes));
    world.settle();
}

fn converged() -> World {
    let mut world = World::row(2, 1);
    assert!(world.run_until(Duration::from_secs(2), World::converged));
    world.run(Duration::from_secs(10));
    world
}

#[test]
fn the_route_stays_for_the_grace_period() {
    let mut world = converged();
    announce(&mut world, 120, 0);
    world.cables[0].cut = true;
    // Well past its dead interval.
    world.run(Duration::from_secs(110));
    assert!(world.route(0, 1).is_some());
    let detail = world.routers[0].show(world.now, &["ip", "ospf", "neighbor", "detail"]).unwrap();
    assert!(detail.contains("Graceful Restart HELPER Status : Inprogress"), "{detail}");
    world.run(Duration::from_secs(20));
    assert!(world.route(0, 1).is_none());
}

#[test]
fn it_comes_back_in_time() {
    let mut world = converged();
    announce(&mut world, 120, 0);
    world.cables[0].cut = true;
    world.run(Duration::from_secs(60));
    let before = world.events[0].len();
    world.routers[1] = engine(1, 77);
    world.lan(1);
    world.cables[0].cut = false;
    let link = Link {
        index: 10,
        name: "gre0".into(),
        address: Ipv4Addr::new(203, 0, 0, 2),
        prefix_len: 30,
        peer: Some(Ipv4Addr::new(203, 0, 0, 1)),
        mtu: 1400,
        speed: None,
        point_to_point: true,
        loopback: false,
    };
    let now = world.now;
    world.routers[1].interface_up(now, link, InterfaceConfig::default());
    world.settle();
    assert!(world.run_until(Duration::from_secs(5), |world| world.state(1, 10) == State::Full));
    announce(&mut world, 120, MAX_AGE);
    world.run(Duration::from_secs(60));
    assert!(world.converged());
    assert!(world.events[0].len() > before);
    assert!(
        !world.events[0][before..].iter().any(|event| matches!(event, Event::RoutesChanged(_))),
        "{:?}",
        &world.events[0][before..]
    );
}

/// Section 3.2: when the topology changes, nobody may rely on a router that does not hear of it.
#[test]
fn a_change_ends_it() {
    let mut world = converged();
    announce(&mut world, 120, 0);
    world.cables[0].cut = true;
    world.run(Duration::from_secs(60));
    assert!(world.route(0, 1).is_some());
    let now = world.now;
    world.routers[0].interface_down(now, 1);
    world.settle();
    world.run(Duration::from_secs(2));
    assert!(world.route(0, 1).is_none());
}

#[test]
fn announcements_that_do_not_count() {
    // Over already, or absurdly long.
    for (period, age) in [(60, 60), (60, 100), (0, 0), (u32::MAX, 0)] {
        let mut world = converged();
        announce(&mut world, period, age);
        world.cables[0].cut = true;
        world.run(Duration::from_secs(50));
        assert!(world.route(0, 1).is_none(), "{period} {age}");
    }
}

/// Router 1 is told to end in order to come back; it is gone for so long, and comes back with what it has kept.
fn restarts(world: &mut World, away: Duration, prepared: bool) {
    let now = world.now;
    if prepared {
        world.routers[1].prepare_restart(now).unwrap();
        world.settle();
        let told =
            |world: &World| world.routers[1].is_prepared() && world.routers[1].is_restart_acknowledged();
        assert!(world.cables.iter().any(|cable| cable.cut) || world.run_until(Duration::from_secs(1), told));
    }
    let memory = world.routers[1].memory().clone();
    let (links, lans): (Vec<_>, Vec<_>) = world.routers[1]
        .interfaces
        .values()
        .map(|interface| (interface.link.clone(), interface.config.clone()))
        .partition(|(link, _)| link.point_to_point);
    world.routers[1] = graceful(1, 99);
    world.events[1].clear();
    world.run(away);
    let (now, time) = (world.now, unix(world));
    world.routers[1].set_clock(now, time);
    world.routers[1].recall(memory);
    world.routers[1].begin_restart(now, !prepared);
    assert!(world.routers[1].is_restarting());
    for (link, config) in lans.into_iter().chain(links) {
        world.routers[1].interface_up(now, link, config);
    }
    world.settle();
}

fn unix(world: &World) -> u64 {
    1_790_000_000 + (world.now - world.start).as_secs()
}

fn graceful(index: usize, seed: u64) -> Engine {
    let mut engine = engine(index, seed);
    engine.config.graceful_restart = Some(120);
    engine
}

/// Router 1 between 0 and 2.
fn between() -> World {
    let mut world = World::apart(3, 4);
    world.routers[1] = graceful(1, 4);
    let (now, time) = (world.now, unix(&world));
    world.routers[1].set_clock(now, time);
    (0..3).for_each(|router| world.lan(router));
    world.cable(0, 1, |_| {});
    world.cable(1, 2, |_| {});
    assert!(world.run_until(Duration::from_secs(30), World::converged));
    world.run(Duration::from_secs(20));
    world
}

fn said(world: &World, router: usize) -> Vec<&str> {
    let texts = world.events[router].iter().filter_map(|event| match event {
        Event::Restart(text) => Some(text.as_str()),
        _ => None,
    });
    texts.collect()
}

fn routes_changed(event: &Event) -> bool {
    matches!(event, Event::RoutesChanged(_))
}

fn no_route_changed(world: &World, since: &[usize]) {
    for router in [0, 2] {
        let events = &world.events[router][since[router]..];
        assert!(!events.iter().any(routes_changed), "{router}: {events:#?}");
    }
}

#[test]
fn we_restart_and_nobody_loses_a_route() {
    for (prepared, away) in [(true, 60), (false, 20)] {
        let mut world = between();
        let since: Vec<usize> = world.events.iter().map(Vec::len).collect();
        restarts(&mut world, Duration::from_secs(away), prepared);
        assert!(
            world.run_until(Duration::from_secs(30), |world| !world.routers[1].is_restarting()),
            "{prepared}"
        );
        world.run(Duration::from_secs(200));
        assert!(world.converged());
        no_route_changed(&world, &since);
        let said = said(&world, 1);
        assert!(said[1].contains("all adjacencies are back"), "{said:?}");
        // Nothing of the announcement is left.
        for router in &world.routers {
            for interface in router.interfaces.values() {
                assert_eq!(interface.lsdb.len(), 0);
            }
        }
    }
}

#[test]
fn until_it_is_over_the_kernel_keeps_what_it_has() {
    let mut world = between();
    restarts(&mut world, Duration::from_secs(10), true);
    assert!(world.run_until(Duration::from_secs(30), |world| !world.routers[1].is_restarting()));
    let over = world.events[1].iter().position(routes_changed).unwrap();
    let end = world.events[1]
        .iter()
        .position(|event| matches!(event, Event::Restart(text) if text.contains("over")))
        .unwrap();
    assert!(end < over, "{:#?}", world.events[1]);
    assert_eq!(world.routers[1].routes().count(), 5);
}

/// Section 2.2 item 2: a neighbour that does not help has an LSA without us.
#[test]
fn a_neighbour_that_does_not_help() {
    let mut world = between();
    world.routers[0].config.graceful_restart_helper = false;
    // So that somebody can tell.
    world.cable(0, 2, |_| {});
    world.run(Duration::from_secs(10));
    world.cables[0].cut = true;
    restarts(&mut world, Duration::from_secs(60), true);
    assert!(world.run_until(Duration::from_secs(30), |world| !world.routers[1].is_restarting()));
    let said = said(&world, 1);
    assert!(said[1].contains("does not help"), "{said:?}");
    world.cables[0].cut = false;
    world.run(Duration::from_secs(30));
    assert!(world.converged());
}

#[test]
fn nobody_is_there_any_more() {
    let mut world = between();
    restarts(&mut world, Duration::from_secs(10), true);
    world.cables.iter_mut().for_each(|cable| cable.cut = true);
    world.flying.clear();
    world.run(Duration::from_secs(120));
    let said = said(&world, 1);
    assert!(said[1].contains("grace period is over"), "{said:?}");
    assert!(world.events[1].iter().any(routes_changed));
}

/// What the router said before and does not say any more goes when the restart is over.
#[test]
fn what_is_gone_in_between() {
    let mut world = between();
    let external = |last| ExternalRoute {
        network: Ipv4Addr::new(192, 168, last, 0),
        prefix_len: 24,
        type2: true,
        metric: 20,
        tag: 0,
        gateway: None,
    };
    let now = world.now;
    world.routers[1].set_externals(now, vec![external(1), external(2)]);
    world.settle();
    world.run(Duration::from_secs(20));
    let has = |world: &World, last| world.routers[0].route(Ipv4Addr::new(192, 168, last, 0), 24).is_some();
    assert!(has(&world, 1) && has(&world, 2));
    restarts(&mut world, Duration::from_secs(10), true);
    let now = world.now;
    world.routers[1].set_externals(now, vec![external(2)]);
    world.settle();
    assert!(world.run_until(Duration::from_secs(30), |world| !world.routers[1].is_restarting()));
    world.run(Duration::from_secs(10));
    assert!(!has(&world, 1) && has(&world, 2));
}

/// A LAN on which it is designated router, and one on which it is backup.
#[test]
fn designated_routers_stay_what_they_are() {
    for (priorities, role) in [([1, 9], InterfaceState::Dr), ([9, 1], InterfaceState::Backup)] {
        let mut world = World::apart(2, 8);
        world.routers[1] = graceful(1, 8);
        let (now, time) = (world.now, unix(&world));
        world.routers[1].set_clock(now, time);
        world.lan(0);
        world.lan(1);
        world.shared(&[0, 1], |router, config| config.priority = priorities[router]);
        assert!(world.run_until(Duration::from_secs(90), World::converged));
        world.run(Duration::from_secs(20));
        assert_eq!(world.routers[1].interfaces[&100].state, role);
        let since: Vec<usize> = world.events.iter().map(Vec::len).collect();
        restarts(&mut world, Duration::from_secs(10), true);
        assert!(world.run_until(Duration::from_secs(30), |world| !world.routers[1].is_restarting()));
        world.run(Duration::from_secs(100));
        assert_eq!(world.routers[1].interfaces[&100].state, role);
        let events = &world.events[0][since[0]..];
        assert!(!events.iter().any(routes_changed), "{role:?}: {events:#?}");
        assert!(said(&world, 1)[1].contains("all adjacencies are back"), "{:?}", said(&world, 1));
    }
}

#[test]
fn prepared_for_nothing() {
    let mut world = between();
    let now = world.now;
    world.routers[1].prepare_restart(now).unwrap();
    world.settle();
    world.run(Duration::from_secs(130));
    assert!(said(&world, 1)[1].contains("not ended in time"));
    assert_eq!(world.routers[1].memory().graceful_until, None);
    world.run(Duration::from_secs(60));
    assert_eq!(world.routers[0].interfaces[&10].lsdb.len(), 0);
}

/// FRR ends its restart at the end of the exchange, while its last hello still names no designated router: the helper would
/// take the office away from it, and others would lose their routes.
#[test]
fn the_designated_router_is_asked_before_its_office_is_taken() {
    for stays in [true, false] {
        let mut world = World::apart(2, 1);
        world.shared(&[0, 1], |_, _| {});
        assert!(world.run_until(Duration::from_secs(60), |world| world.state(0, 100) == State::Full));
        world.run(Duration::from_secs(10));
        let other = world.routers[1].router_id();
        let own = world.routers[0].router_id();
        let state = |world: &World| world.routers[0].interfaces[&100].state;
        assert_eq!(state(&world), InterfaceState::Backup);
        let (address, header) = (
            Ipv4Addr::new(172, 16, 0, 2),
            Header { router_id: other, area: BACKBONE, auth_kind: AUTH_NULL, auth: [0; 8] },
        );
        let send = |world: &mut World, packet: Packet| {
            let now = world.now;
            world.routers[0].handle_input(now, &Input::to_all(100, address, &packet.emit(&header)));
            world.settle();
        };
        let hello = |designated| {
            Packet::Hello(Hello {
                mask: Ipv4Addr::new(255, 255, 255, 0),
                hello_interval: 10,
                options: OPTION_E,
                priority: 1,
                dead_interval: 40,
                designated,
                backup: Ipv4Addr::UNSPECIFIED,
                neighbours: vec![own],
            })
        };
        let key =
            LsaKey { kind: lsa_kind::OPAQUE_LINK, id: Ipv4Addr::new(3, 0, 0, 0), advertising_router: other };
        let grace = Lsa::new(key, OPTION_E | OPTION_O, 1, LsaBody::Opaque(vec![0, 1, 0, 4, 0, 0, 0, 120]));
        let ended = Lsa::parse(&grace.emit_aged(MAX_AGE)).unwrap();
        let update = |lsa| Packet::LinkStateUpdate { lsas: vec![lsa], bad: Vec::new() };
        send(&mut world, update(grace));
        send(&mut world, hello(Ipv4Addr::UNSPECIFIED));
        send(&mut world, update(ended));
        assert_eq!(state(&world), InterfaceState::Backup);
        send(&mut world, hello(if stays { address } else { Ipv4Addr::UNSPECIFIED }));
        assert_eq!(state(&world), if stays { InterfaceState::Backup } else { InterfaceState::Dr });
    }
}
