//! A running engine is told something else.

use coati_wire::ospf::lsa_kind;

use super::*;

const ONE: AreaId = Ipv4Addr::new(0, 0, 0, 1);

/// How many adjacencies of a router have ended.
fn ended(world: &World, router: usize) -> usize {
    world.events[router]
        .iter()
        .filter(|event| matches!(event, Event::NeighbourState { from: State::Full, .. }))
        .count()
}

fn tell(world: &mut World, router: usize, change: impl Fn(&mut Config)) {
    let mut config = world.routers[router].config.clone();
    change(&mut config);
    let now = world.now;
    world.routers[router].reconfigure(now, config);
    world.settle();
}

/// Interface settings: the adjacency stays, what follows from them is there.
#[test]
fn a_cost_changes_and_nobody_is_lost() {
    let mut world = World::row(2, 1);
    assert!(world.run_until(Duration::from_secs(20), World::converged), "{}", world.story());
    let before = [ended(&world, 0), ended(&world, 1)];
    let (link, config) = {
        let interface = &world.routers[0].interfaces[&10];
        (interface.link.clone(), interface.config.clone())
    };
    let now = world.now;
    world.routers[0].interface_up(now, link, InterfaceConfig { cost: 77, ..config });
    world.settle();
    assert!(world.run_until(Duration::from_secs(2), |world| world.route(0, 1).is_some_and(|r| r.cost == 87)));
    world.run(Duration::from_secs(60));
    assert_eq!([ended(&world, 0), ended(&world, 1)], before);
}

/// Without a priority nobody stays designated router or backup; with one, an office that is free is taken.
#[test]
fn a_priority_changes_and_so_do_the_roles() {
    let mut world = World::apart(2, 1);
    world.shared(&[0, 1], |_, _| {});
    assert!(world.run_until(Duration::from_secs(60), |world| world.state(0, 100) == State::Full));
    let state = |world: &World| world.routers[0].interfaces[&100].state;
    let set = |world: &mut World, priority| {
        let interface = &world.routers[0].interfaces[&100];
        let (link, config) =
            (interface.link.clone(), InterfaceConfig { priority, ..interface.config.clone() });
        let now = world.now;
        world.routers[0].interface_up(now, link, config);
        world.settle();
    };
    assert_eq!(state(&world), InterfaceState::Backup);
    set(&mut world, 0);
    assert_eq!(state(&world), InterfaceState::DrOther);
    set(&mut world, 5);
    assert_eq!(state(&world), InterfaceState::Backup);
    assert_eq!([ended(&world, 0), ended(&world, 1)], [0, 0]);
}

/// What is said of the router as a whole: adjacencies stay.
#[test]
fn ranges_filters_and_max_metric() {
    let mut world = World::row(2, 1);
    world.add(engine(2, 1));
    world.lan(2);
    world.cable_in(1, 2, ONE);
    assert!(world.run_until(Duration::from_secs(20), |world| world.route(2, 0).is_some()));
    world.run(Duration::from_secs(5));
    let before = [0, 1, 2].map(|router| ended(&world, router));
    let range = Range {
        network: Ipv4Addr::new(10, 0, 0, 0),
        prefix_len: 8,
        advertise: true,
        cost: Some(9),
        substitute: None,
    };
    tell(&mut world, 1, |config| config.areas.entry(BACKBONE).or_default().ranges.push(range.clone()));
    world.run(Duration::from_secs(10));
    let whole = |world: &World| world.routers[2].route(Ipv4Addr::new(10, 0, 0, 0), 8).is_some();
    assert!(whole(&world) && world.route(2, 0).is_none());
    tell(&mut world, 1, |config| config.areas.entry(ONE).or_default().filters_in.push(Filter::default()));
    world.run(Duration::from_secs(10));
    assert!(!whole(&world));
    tell(&mut world, 1, |config| {
        config.areas.clear();
        config.stub_router.always = true;
    });
    world.run(Duration::from_secs(10));
    assert!(world.route(2, 0).is_some_and(|route| route.cost > 65_535));
    tell(&mut world, 1, |config| config.stub_router.always = false);
    world.run(Duration::from_secs(10));
    assert!(world.route(2, 0).is_some_and(|route| route.cost == 30));
    assert_eq!([0, 1, 2].map(|router| ended(&world, router)), before);
}

/// An area becomes a stub area on one side, then on the other one, then on neither.
#[test]
fn an_area_turns() {
    let mut world = World::row(2, 1);
    world.add(engine(2, 1));
    world.cable_in(1, 2, ONE);
    let network = Ipv4Addr::new(172, 20, 0, 0);
    let external = ExternalRoute { network, prefix_len: 16, type2: true, metric: 20, tag: 0, gateway: None };
    let now = world.now;
    world.routers[0].set_externals(now, [external]);
    let there = |world: &World| world.routers[2].route(network, 16).is_some();
    let default = |world: &World| world.routers[2].route(Ipv4Addr::UNSPECIFIED, 0).is_some();
    assert!(world.run_until(Duration::from_secs(30), there));
    let stub = |config: &mut Config| {
        config.areas.entry(ONE).or_default().kind = AreaKind::Stub { summaries: true };
    };
    tell(&mut world, 1, stub);
    world.run(Duration::from_secs(60));
    assert!(
        world.problems(2).iter().any(|problem| problem.contains("area 0.0.0.1")),
        "{:?}",
        world.problems(2)
    );
    tell(&mut world, 2, stub);
    assert!(world.run_until(Duration::from_secs(30), default), "{}", world.story());
    world.run(Duration::from_secs(10));
    assert!(!there(&world));
    for router in [1, 2] {
        tell(&mut world, router, |config| config.areas.clear());
    }
    let normal = world.run_until(Duration::from_secs(60), |world| there(world) && !default(world));
    assert!(normal, "{} {} {:?}", there(&world), default(&world), world.problems(2));
    let summaries = world.routers[2].areas[&ONE].lsdb.of_kind(lsa_kind::SUMMARY_NETWORK);
    assert!(summaries.filter(|(_, entry)| !entry.is_max_age(world.now)).count() > 0);
}

/// A virtual link is written into the files of two routers that run.
#[test]
fn a_virtual_link_comes() {
    let two = Ipv4Addr::new(0, 0, 0, 2);
    let mut world = World::row(2, 1);
    world.add(engine(2, 1));
    world.cable_in(1, 2, ONE);
    world.add(engine(3, 1));
    world.lan(3);
    world.cable_in(2, 3, two);
    world.run(Duration::from_secs(60));
    assert!(world.route(3, 0).is_none());
    for (router, other) in [(1, 2), (2, 1)] {
        let far = world.routers[other].router_id();
        tell(&mut world, router, |config| {
            config.areas.entry(ONE).or_default().virtual_links.insert(far, InterfaceConfig::default());
        });
    }
    assert!(
        world.run_until(Duration::from_secs(60), |world| world.route(3, 0).is_some()),
        "{}",
        world.story()
    );
}

/// An interface that comes back as something else is treated as what it is now, whatever one of its name was before.
#[test]
fn the_kind_of_an_interface_is_what_it_is_now() {
    let mut world = World::apart(1, 4);
    for point_to_point in [false, true, false] {
        let now = world.now;
        let link = Link { point_to_point, ..memory::cable_end(0) };
        world.routers[0].interface_up(now, link, InterfaceConfig::default());
        let kind = if point_to_point { "POINTOPOINT" } else { "BROADCAST" };
        let shown = world.routers[0].show(now, &["ip", "ospf", "interface", "gre0"]).unwrap();
        assert!(shown.contains(&format!("Network Type {kind}")), "{shown}");
        world.routers[0].interface_down(now, 10);
    }
}

/// The only interface of two routers goes and comes back: each has forgotten its own LSA, which the other has still.
/// Nobody waits for what has just died.
#[test]
fn the_only_interface_goes_and_comes_back() {
    let mut world = World::apart(2, 6);
    world.lay(0, 1, |_, _| {});
    let ends = [memory::cable_end(0), memory::cable_end(1)];
    for round in 0..20 {
        let full = |world: &World| (0..2).all(|router| world.state(router, 10) == State::Full);
        assert!(world.run_until(Duration::from_millis(500), full), "round {round}: {}", world.story());
        world.run(Duration::from_secs(6));
        let now = world.now;
        world.routers.iter_mut().for_each(|router| router.interface_down(now, 10));
        world.settle();
        world.flying.clear();
        world.run(Duration::from_millis(200));
        let now = world.now;
        for (router, end) in world.routers.iter_mut().zip(&ends) {
            router.interface_up(now, end.clone(), InterfaceConfig::default());
        }
        world.settle();
    }
}
