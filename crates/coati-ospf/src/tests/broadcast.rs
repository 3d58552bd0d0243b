//! Networks with several routers: RFC 2328 sections 8.1, 9, 10.4, 12.4.2, 13.3, 13.5; NBMA and point-to-multipoint.

use coati_wire::ospf::lsa_kind;

use super::*;

pub(super) fn role(world: &World, router: usize, lan: usize) -> InterfaceState {
    world.routers[router].interfaces[&(100 + lan as u32)].state
}

pub(super) fn count(world: &World, lan: usize, state: InterfaceState) -> usize {
    world.lans[lan].ends.iter().filter(|end| role(world, end.0, lan) == state).count()
}

pub(super) fn full_with(world: &World, router: usize, lan: usize) -> usize {
    world.routers[router].interfaces[&(100 + lan as u32)].full().count()
}

fn lan_of(count: usize, seed: u64) -> World {
    let mut world = World::apart(count, seed);
    for router in 0..count {
        world.lan(router);
    }
    let all: Vec<usize> = (0..count).collect();
    world.shared(&all, |_, _| {});
    world
}

/// Sections 9.4 and 10.4: one designated router, one backup, everybody adjacent to both and to nobody else.
#[test]
fn roles_and_adjacencies() {
    for seed in 0..10 {
        let mut world = lan_of(5, seed);
        assert!(world.run_until(Duration::from_secs(60), World::converged), "seed {seed} {}", world.story());
        world.run(Duration::from_secs(20));
        assert_eq!(count(&world, 0, InterfaceState::Dr), 1);
        assert_eq!(count(&world, 0, InterfaceState::Backup), 1);
        for router in 0..5 {
            let expected = if role(&world, router, 0) == InterfaceState::DrOther { 2 } else { 4 };
            assert_eq!(full_with(&world, router, 0), expected, "seed {seed} router {router}");
        }
        // All waited together: the largest router id is designated router (section 9.4).
        assert_eq!(role(&world, 4, 0), InterfaceState::Dr);
        assert_eq!(role(&world, 3, 0), InterfaceState::Backup);
        let route = world.route(0, 2).unwrap();
        let via = Some(Ipv4Addr::new(172, 16, 0, 3));
        assert_eq!((route.cost, &*route.next_hops), (20, &[NextHop { interface: 100, via }][..]));
    }
}

#[test]
fn through_loss() {
    for seed in 0..20 {
        let mut world = lan_of(4, seed);
        world.loss = 15;
        assert!(world.run_until(Duration::from_secs(180), World::converged), "seed {seed} {}", world.story());
    }
}

/// Section 9.4: who comes later does not take the office away, whatever its priority.
#[test]
fn a_later_router_changes_nothing() {
    let mut world = lan_of(3, 1);
    assert!(world.run_until(Duration::from_secs(60), World::converged));
    let late = world.add(engine(3, 1));
    world.lan(late);
    world.join(0, late, InterfaceConfig { priority: 200, ..InterfaceConfig::default() });
    // It hears at once who they are and need not wait.
    assert!(world.run_until(Duration::from_secs(15), World::converged), "{}", world.story());
    assert_eq!(role(&world, 2, 0), InterfaceState::Dr);
    assert_eq!(role(&world, late, 0), InterfaceState::DrOther);
}

/// The backup takes over, and somebody becomes backup.
#[test]
fn the_designated_router_dies() {
    for seed in 0..5 {
        let mut world = lan_of(4, seed);
        assert!(world.run_until(Duration::from_secs(60), World::converged));
        world.run(Duration::from_secs(20));
        world.leave(0, 3);
        let without = |world: &World| {
            (0..3).all(|a| world.route(a, 3).is_none() && (0..3).all(|b| world.route(a, b).is_some()))
        };
        assert!(world.run_until(Duration::from_secs(60), without), "{}", world.story());
        world.run(Duration::from_secs(10));
        assert!(without(&world));
        assert_eq!(role(&world, 2, 0), InterfaceState::Dr);
        assert_eq!(role(&world, 1, 0), InterfaceState::Backup);
    }
}

/// Priority 0 is never elected; the highest priority is when all start together.
#[test]
fn priorities() {
    let mut world = World::apart(3, 1);
    (0..3).for_each(|router| world.lan(router));
    world.shared(&[0, 1, 2], |router, config| config.priority = [10, 5, 0][router]);
    assert!(world.run_until(Duration::from_secs(60), World::converged));
    assert_eq!(role(&world, 0, 0), InterfaceState::Dr);
    assert_eq!(role(&world, 1, 0), InterfaceState::Backup);
    assert_eq!(role(&world, 2, 0), InterfaceState::DrOther);
}

/// Alone on a LAN: a stub network, no network LSA (section 12.4.1.2).
#[test]
fn alone() {
    let mut world = lan_of(1, 1);
    world.run(Duration::from_secs(100));
    assert_eq!(role(&world, 0, 0), InterfaceState::Dr);
    assert_eq!(world.routers[0].areas[&BACKBONE].lsdb.of_kind(lsa_kind::NETWORK).count(), 0);
    assert!(world.routers[0].route(Ipv4Addr::new(172, 16, 0, 0), 24).is_some());
}

/// A flood on a LAN is sent once by each who has to, not once per neighbour.
#[test]
fn nothing_is_said_without_need() {
    let mut world = lan_of(5, 1);
    assert!(world.run_until(Duration::from_secs(60), World::converged));
    world.run(Duration::from_secs(60));
    let before = world.packets;
    world.run(Duration::from_secs(600));
    assert!((295..=305).contains(&(world.packets - before)), "{}", world.packets - before);
    let before = world.packets;
    let now = world.now;
    world.routers[0].interface_down(now, 1);
    world.settle();
    world.run(Duration::from_secs(5));
    // The update, its repetition by the designated router, and acknowledgements, besides hellos.
    assert!(world.packets - before <= 12, "{}", world.packets - before);
    assert!(world.route(4, 0).is_none());
}

/// Section 10.5: on networks with many routers masks have to be the same.
#[test]
fn masks_are_compared() {
    let mut world = World::apart(2, 1);
    world.shared(&[0], |_, _| {});
    let link = Link {
        index: 100,
        name: "eth0".into(),
        address: Ipv4Addr::new(172, 16, 0, 2),
        prefix_len: 16,
        peer: None,
        mtu: 1500,
        speed: None,
        point_to_point: false,
        loopback: false,
    };
    world.lans[0].ends.push((1, 100, link.address));
    let now = world.now;
    world.routers[1].interface_up(now, link, InterfaceConfig::default());
    world.settle();
    world.run(Duration::from_secs(60));
    let problem = world.problems(0)[0];
    assert!(problem.contains("has the mask 255.255.0.0, ours is 255.255.255.0"), "{problem}");
}

/// Section 8.2: packets have to come from the network.
#[test]
fn strangers_are_not_heard() {
    let mut world = lan_of(2, 1);
    assert!(world.run_until(Duration::from_secs(60), World::converged));
    let header = coati_wire::ospf::Header {
        router_id: Ipv4Addr::new(9, 9, 9, 9),
        area: BACKBONE,
        auth_kind: 0,
        auth: [0; 8],
    };
    let bytes = coati_wire::ospf::Packet::LinkStateAck(Vec::new()).emit(&header);
    let now = world.now;
    world.routers[0].handle_input(now, &Input::to_all(100, Ipv4Addr::new(192, 0, 2, 1), &bytes));
    assert!(world.routers[0].dropped().any(|(why, _)| why == "source is not on the network"));
}

/// Section 8.2: what is for the designated routers is for nobody else.
#[test]
fn the_designated_routers_group_is_theirs() {
    let mut world = lan_of(3, 1);
    assert!(world.run_until(Duration::from_secs(60), World::converged));
    let to_group = |world: &mut World, router: usize| {
        let other = (router + 1) % 3;
        let header = coati_wire::ospf::Header {
            router_id: world.routers[other].router_id(),
            area: BACKBONE,
            auth_kind: 0,
            auth: [0; 8],
        };
        let bytes = coati_wire::ospf::Packet::LinkStateAck(Vec::new()).emit(&header);
        let source = world.routers[other].interfaces[&100].link.address;
        let destination = coati_wire::ospf::ALL_DESIGNATED;
        let input = Input { destination, ..Input::to_all(100, source, &bytes) };
        let now = world.now;
        world.routers[router].handle_input(now, &input);
        world.routers[router].dropped().any(|(why, _)| why == "to the designated routers, which we are not")
    };
    for router in 0..3 {
        let speaks = world.routers[router].interfaces[&100].is_designated();
        assert_eq!(to_group(&mut world, router), !speaks);
    }
}

/// RFC 6860: networks between routers are in nobody's table, and all that is behind them stays reachable, also on a
/// LAN whose designated router does not say its prefix.
#[test]
fn networks_between_routers_can_be_hidden() {
    let mut world = World::apart(4, 1);
    (0..4).for_each(|router| world.lan(router));
    world.shared(&[0, 1, 2], |_, config| config.prefix_suppression = true);
    world.lay(2, 3, |_, (_, config)| config.prefix_suppression = true);
    assert!(world.run_until(Duration::from_secs(90), World::converged), "{}", world.story());
    for router in 0..4 {
        let others = world.routers[router].routes().filter(|route| route.prefix_len != 24);
        let others: Vec<String> =
            others.map(|route| format!("{}/{}", route.network, route.prefix_len)).collect();
        assert!(others.is_empty(), "router {router}: {others:?}");
        assert!((0..4).all(|lan| world.route(router, lan).is_some()));
    }
}

fn neighbours(of: usize, count: usize) -> Vec<StaticNeighbour> {
    let others = (0..count).filter(|other| *other != of);
    let neighbour = |other: usize| StaticNeighbour {
        address: Ipv4Addr::new(172, 16, 0, other as u8 + 1),
        priority: 1,
        poll_interval: Duration::from_secs(60),
    };
    others.map(neighbour).collect()
}

/// Section 9.5.1: everything is unicast.
#[test]
fn without_multicast() {
    for seed in 0..5 {
        let mut world = World::apart(4, seed);
        (0..4).for_each(|router| world.lan(router));
        world.shared(&[0, 1, 2, 3], |router, config| {
            config.network = Some(NetworkType::NonBroadcast);
            config.neighbours = neighbours(router, 4);
        });
        assert!(world.run_until(Duration::from_secs(90), World::converged), "{}", world.story());
        assert_eq!(count(&world, 0, InterfaceState::Dr), 1);
        // One that was away for long is found by polling.
        let away = world.lans[0].ends.remove(0);
        assert!(world.run_until(Duration::from_secs(60), |world| world.route(1, 0).is_none()));
        world.run(Duration::from_secs(300));
        world.lans[0].ends.push(away);
        assert!(world.run_until(Duration::from_secs(120), World::converged), "{}", world.story());
    }
}

/// Adjacencies with everybody, no designated router, host routes (section 12.4.1.4).
#[test]
fn point_to_multipoint() {
    let mut world = World::apart(3, 1);
    (0..3).for_each(|router| world.lan(router));
    world.shared(&[0, 1, 2], |_, config| config.network = Some(NetworkType::PointToMultipoint));
    assert!(world.run_until(Duration::from_secs(5), World::converged), "{}", world.story());
    world.run(Duration::from_secs(5));
    assert_eq!(full_with(&world, 0, 0), 2);
    let host = world.routers[0].route(Ipv4Addr::new(172, 16, 0, 2), 32).unwrap();
    assert_eq!(host.cost, 10);
    assert!(world.routers[0].route(Ipv4Addr::new(172, 16, 0, 0), 24).is_none());
}

/// An unnumbered interface is advertised by its index (section 12.4.1.1).
#[test]
fn unnumbered() {
    let mut world = World::apart(2, 1);
    (0..2).for_each(|router| world.lan(router));
    world.cable(0, 1, |_| {});
    let now = world.now;
    for router in 0..2usize {
        world.routers[router].interface_down(now, 10);
        let link = Link {
            index: 10,
            name: "gre0".into(),
            address: Ipv4Addr::new(10, router as u8 + 1, 0, 1),
            prefix_len: 32,
            peer: None,
            mtu: 1400,
            speed: None,
            point_to_point: true,
            loopback: false,
        };
        world.cables[0].ends[router].2 = link.address;
        world.routers[router].interface_up(now, link, InterfaceConfig::default());
    }
    world.settle();
    assert!(world.run_until(Duration::from_secs(20), World::converged), "{}", world.story());
    let via = Some(Ipv4Addr::new(10, 2, 0, 1));
    assert_eq!(*world.route(0, 1).unwrap().next_hops, [NextHop { interface: 10, via }]);
    let text = world.routers[1].show(world.now, &["ip", "ospf", "database", "router"]).unwrap();
    assert!(text.contains("(Link Data) Router Interface address: 0.0.0.10"), "{text}");
}
