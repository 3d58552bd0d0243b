//! Hello, exchange, mismatches, dead neighbours.

use coati_wire::ospf::{DatabaseDescription, Packet};

use super::*;
use crate::neighbour::Peer;

#[test]
fn full_and_routes_within_a_few_round_trips() {
    let mut quick = 0;
    for seed in 0..50 {
        let mut world = World::row(2, seed);
        let full = |world: &World| world.state(0, 10) == State::Full && world.state(1, 10) == State::Full;
        // Packets that overtake others may cost a repetition.
        assert!(world.run_until(Duration::from_millis(500), full), "seed {seed} {}", world.story());
        assert!(
            world.run_until(Duration::from_millis(200), World::converged),
            "seed {seed} {}",
            world.story()
        );
        quick += usize::from(world.now - world.start < Duration::from_millis(160));
        let route = world.route(0, 1).unwrap();
        assert_eq!((route.cost, route.kind), (20, RouteKind::IntraArea));
        let via = Some(Ipv4Addr::new(203, 0, 0, 2));
        assert_eq!(*route.next_hops, [NextHop { interface: 10, via }]);
    }
    assert!(quick >= 35, "{quick} of 50");
}

#[test]
fn through_loss() {
    for seed in 0..200 {
        let mut world = World::row(2, seed);
        world.loss = 20;
        assert!(world.run_until(Duration::from_secs(60), World::converged), "seed {seed}");
    }
}

#[test]
fn a_row_of_routers() {
    for seed in 0..20 {
        let mut world = World::row(6, seed);
        world.loss = 5;
        assert!(world.run_until(Duration::from_secs(60), World::converged), "seed {seed}");
        assert_eq!(world.route(0, 5).unwrap().cost, 60);
    }
}

/// Within the hold time no paths are computed; who is dead loses its routes at once for all that.
#[test]
fn a_dead_neighbours_routes_do_not_wait() {
    for at_once in [true, false] {
        let mut world = World::row(3, 1);
        world.routers[0].config.deviations.loss_at_once = at_once;
        assert!(world.run_until(Duration::from_secs(5), World::converged));
        let times = &mut world.routers[0].config.spf_times;
        (times.hold, times.longest) = (Duration::from_secs(20), Duration::from_secs(20));
        for metric in 0..10 {
            // Somebody far away changes his mind.
            let now = world.now;
            world.routers[2].set_externals(
                now,
                vec![ExternalRoute {
                    network: Ipv4Addr::new(192, 168, 0, 0),
                    prefix_len: 16,
                    type2: true,
                    metric: 1 + metric % 2,
                    tag: 0,
                    gateway: None,
                }],
            );
            world.settle();
            world.run(Duration::from_millis(100));
        }
        assert!(world.route(0, 2).is_some());
        let now = world.now;
        world.routers[0].link_dead(now, 10);
        assert_eq!(world.route(0, 2).is_none(), at_once);
    }
}

/// Multicast is swallowed by a tunnel, in one direction or in both: hellos go to the other end's address, and everything
/// else does when that helps. A neighbour that is merely late is spoken to as ever.
#[test]
fn a_path_that_swallows_multicast() {
    for multicast in [[false, true], [true, false], [false, false]] {
        for at_once in [true, false] {
            let mut world = World::apart(2, 7);
            (0..2).for_each(|router| world.lan(router));
            world.routers.iter_mut().for_each(|router| router.config.deviations.hello_at_once = at_once);
            world.lay(0, 1, |_, _| {});
            world.flying.clear();
            world.cables[0].multicast = multicast;
            assert!(
                world.run_until(Duration::from_secs(100), World::converged),
                "{multicast:?} {}",
                world.story()
            );
            world.run(Duration::from_secs(2000));
            assert!(world.converged());
            let told: Vec<String> = world.routers.iter().flat_map(|router| router.problems()).collect();
            assert!(
                !told.is_empty() && told.iter().all(|text| text.contains("multicast does not get")),
                "{told:?}"
            );
            let lost = |event: &&Event| matches!(event, Event::NeighbourState { from: State::Full, .. });
            assert_eq!(world.events.iter().flatten().filter(lost).count(), 0);
        }
    }
    let mut world = World::apart(2, 7);
    (0..2).for_each(|router| world.lan(router));
    world.lay(0, 1, |_, _| {});
    let (link, config) = (memory::cable_end(1), InterfaceConfig::default());
    let now = world.now;
    world.routers[1].interface_down(now, 10);
    world.flying.clear();
    world.run(Duration::from_secs(500));
    let now = world.now;
    world.routers[1].interface_up(now, link, config);
    world.settle();
    assert!(world.run_until(Duration::from_secs(11), World::converged), "{}", world.story());
    world.run(Duration::from_secs(100));
    assert!(world.routers.iter().all(|router| router.problems().next().is_none()));
    // By RFC 2328 alone nobody is found.
    let mut world = World::apart(2, 7);
    world.routers.iter_mut().for_each(|router| router.config.deviations.unicast_fallback = false);
    world.lay(0, 1, |_, _| {});
    world.flying.clear();
    world.cables[0].multicast = [true, false];
    world.run(Duration::from_secs(500));
    assert!(world.state(0, 10) < State::TwoWay);
}

/// Whether the router says that it speaks to the other end by unicast.
fn by_unicast(world: &World, router: usize) -> bool {
    let shown = world.routers[router].show(world.now, &["ip", "ospf", "interface", "gre0"]).unwrap();
    shown.contains("Multicast does not get through")
}

/// How often anybody was Full and is not any more.
fn losses(world: &World) -> usize {
    let lost = |event: &&Event| matches!(event, Event::NeighbourState { from: State::Full, .. });
    world.events.iter().flatten().filter(lost).count()
}

/// Two routers that have found each other although multicast gets lost.
fn without_multicast(multicast: [bool; 2], seed: u64) -> World {
    let mut world = World::apart(2, seed);
    (0..2).for_each(|router| world.lan(router));
    world.lay(0, 1, |_, _| {});
    world.flying.clear();
    world.cables[0].multicast = multicast;
    assert!(world.run_until(Duration::from_secs(100), World::converged), "{}", world.story());
    world
}

/// Multicast that gets through again is used again, by each end whose own does, and no adjacency is lost by that.
#[test]
fn a_path_that_carries_multicast_again() {
    for (seed, loss, limit) in [(1, 0, 200), (2, 0, 200), (3, 10, 4000)] {
        let mut world = without_multicast([false, false], seed);
        world.loss = loss;
        world.run(Duration::from_secs(300));
        assert!(by_unicast(&world, 0) && by_unicast(&world, 1));
        world.cables[0].multicast = [true, true];
        let limit = Duration::from_secs(limit);
        let both = |world: &World| !by_unicast(world, 0) && !by_unicast(world, 1);
        assert!(world.run_until(limit, both), "seed {seed}");
        assert_eq!(world.routers[0].problems().chain(world.routers[1].problems()).count(), 0);
        world.loss = 0;
        world.run(Duration::from_secs(2000));
        assert!(both(&world) && world.converged());
        assert_eq!(losses(&world), 0, "seed {seed}");
        let before = world.packets;
        world.run(Duration::from_secs(600));
        assert!(world.packets - before <= 122, "a hello each ten seconds: {}", world.packets - before);
    }
}

/// What is tried for ever costs next to nothing, and nothing is lost or said by it.
#[test]
fn a_path_that_never_carries_multicast() {
    for loss in [0, 5] {
        let mut world = without_multicast([false, false], 7);
        world.loss = loss;
        for _ in 0..24 {
            world.run(Duration::from_secs(3600));
            assert!(by_unicast(&world, 0) && by_unicast(&world, 1) && world.converged());
        }
        assert_eq!(losses(&world), 0);
        assert_eq!((world.problems(0).len(), world.problems(1).len()), (1, 1));
    }
    let mut world = without_multicast([false, false], 7);
    world.run(Duration::from_secs(7200));
    let before = world.packets;
    world.run(Duration::from_secs(1700));
    // Two hellos each ten seconds at either end, and two or three trials of each.
    assert!(world.packets - before <= 4 * 171 + 6, "{}", world.packets - before);
}

#[test]
fn a_path_that_carries_multicast_in_one_direction() {
    let mut world = without_multicast([false, false], 7);
    world.run(Duration::from_secs(300));
    world.cables[0].multicast = [true, false];
    world.run(Duration::from_secs(2000));
    for _ in 0..10 {
        world.run(Duration::from_secs(600));
        assert_eq!((by_unicast(&world, 0), by_unicast(&world, 1)), (false, true));
    }
    assert!(world.converged());
    assert_eq!(losses(&world), 0);
}

/// Multicast that comes and goes: it is believed more seldom each time.
#[test]
fn a_path_that_carries_multicast_at_times() {
    let mut world = without_multicast([false, false], 7);
    for turn in 0..144 {
        world.cables[0].multicast = [turn % 2 == 0; 2];
        world.run(Duration::from_secs(600));
    }
    // It got lost 72 times; each time that it was believed costs both ends their neighbour.
    assert!((2..=2 * 12).contains(&losses(&world)), "{}", losses(&world));
}

/// The second of the pains of tunnels: hellos come, and packets that are as large as the MTU says are swallowed on the way.
#[test]
fn a_path_that_swallows_large_packets() {
    for (externals, from) in [(3, 0), (25, 0), (25, 1), (60, 0), (60, 1), (300, 0), (300, 1)] {
        let mut world = World::apart(2, externals);
        (0..2).for_each(|router| world.lan(router));
        let routes = (0..u32::try_from(externals).unwrap()).map(|number| ExternalRoute {
            network: Ipv4Addr::from(0xc0a8_0000 + number * 256),
            prefix_len: 24,
            type2: true,
            metric: 7,
            tag: 0,
            gateway: None,
        });
        let now = world.now;
        world.routers[from].set_externals(now, routes);
        world.cable(0, 1, |_| {});
        world.cables[0].carries = 600;
        assert!(world.run_until(Duration::from_secs(40), World::converged), "{externals} {}", world.story());
        world.run(Duration::from_secs(60));
        let told: Vec<String> = world.routers.iter().flat_map(|router| router.problems()).collect();
        // What fits anyway is no reason for a word.
        assert_eq!(!told.is_empty(), externals > 20, "{externals}: {told:?}");
        assert!(told.iter().all(|text| text.contains("the path seems to swallow large packets")), "{told:?}");
        let learnt = world.routers[1 - from].routes().filter(|route| route.prefix_len == 24).count();
        assert_eq!(learnt, externals as usize + 2);
    }
}

/// Whoever carries the packets knows what fits: nothing larger is sent, nothing gets lost, and there is nothing to say.
#[test]
fn packets_are_no_larger_than_what_the_path_is_said_to_carry() {
    let mut world = World::apart(2, 300);
    (0..2).for_each(|router| world.lan(router));
    externals(&mut world, 0, 0, 300);
    world.cable(0, 1, |_| {});
    world.cables[0].carries = 600;
    for router in &mut world.routers {
        router.set_carried(10, Some(600));
    }
    assert!(world.run_until(Duration::from_secs(3), World::converged), "{}", world.story());
    assert!(world.routers.iter().all(|router| router.problems().next().is_none()));
    assert_eq!(world.routers[1].routes().filter(|route| route.prefix_len == 24).count(), 302);
}

/// A /30 on a tunnel is no unnumbered link: its hellos have the mask that it has, and the network is advertised.
#[test]
fn the_mask_of_a_tunnel_is_its_own() {
    let mut world = World::row(2, 1);
    let hellos: Vec<Ipv4Addr> = world
        .flying
        .iter()
        .filter_map(|Reverse(flying)| match Packet::parse(&flying.5) {
            Ok((_, Packet::Hello(hello))) => Some(hello.mask),
            _ => None,
        })
        .collect();
    assert!(!hellos.is_empty() && hellos.iter().all(|mask| *mask == Ipv4Addr::new(255, 255, 255, 252)));
    assert!(world.run_until(Duration::from_secs(20), World::converged));
    assert!(world.routers[0].route(Ipv4Addr::new(203, 0, 0, 0), 30).is_some());
}

fn externals(world: &mut World, router: usize, first: u32, count: u32) {
    let routes = (first..first + count).map(|number| ExternalRoute {
        network: Ipv4Addr::from(0xc0a8_0000 + number * 256),
        prefix_len: 24,
        type2: true,
        metric: 7,
        tag: 0,
        gateway: None,
    });
    let now = world.now;
    world.routers[router].set_externals(now, routes);
    world.settle();
}

/// A path that was mended is used for large packets again after a while, and then nothing is said of it any more.
#[test]
fn a_path_that_is_mended() {
    let mut world = World::apart(2, 3);
    (0..2).for_each(|router| world.lan(router));
    externals(&mut world, 0, 0, 60);
    world.cable(0, 1, |_| {});
    world.cables[0].carries = 600;
    assert!(world.run_until(Duration::from_secs(40), World::converged), "{}", world.story());
    let shown =
        |world: &World| world.routers[0].show(world.now, &["ip", "ospf", "interface", "gre0"]).unwrap();
    assert!(shown(&world).contains("  Large packets do not get through: 576 bytes at the most\n"));
    world.cables[0].carries = 1400;
    world.run(Duration::from_secs(1000));
    assert!(!shown(&world).contains("Large packets"));
    externals(&mut world, 0, 100, 60);
    world.run(Duration::from_secs(30));
    assert_eq!(world.routers[0].problems().collect::<Vec<_>>(), [""; 0]);
    let learnt = world.routers[1].routes().filter(|route| route.prefix_len == 24).count();
    assert_eq!(learnt, 62);
}

/// Who answers nothing but hellos, large or small, says nothing about the path.
#[test]
fn a_busy_neighbour_is_no_narrow_path() {
    let mut world = World::row(2, 3);
    assert!(world.run_until(Duration::from_secs(20), World::converged));
    world.cables[0].carries = 80;
    externals(&mut world, 0, 0, 60);
    world.run(Duration::from_secs(120));
    let shown = world.routers[0].show(world.now, &["ip", "ospf", "interface", "gre0"]).unwrap();
    assert!(!shown.contains("Large packets"), "{shown}");
    assert_eq!(world.routers[0].problems().collect::<Vec<_>>(), [""; 0]);
    world.cables[0].carries = 1400;
    world.run(Duration::from_secs(20));
    assert_eq!(world.routers[1].routes().filter(|route| route.prefix_len == 24).count(), 62);
}

/// The other end of a /30 or /31 is known without being told.
#[test]
fn multicast_that_gets_lost_without_a_peer_address() {
    for prefix_len in [30, 31] {
        let mut world = World::apart(2, 7);
        (0..2).for_each(|router| world.lan(router));
        world.lay(0, 1, |end, (link, config)| {
            (link.peer, link.prefix_len, link.point_to_point) = (None, prefix_len, false);
            // Of a /31 those are the two.
            if prefix_len == 31 && end == 0 {
                link.address = Ipv4Addr::new(203, 0, 0, 3);
            }
            config.network = Some(NetworkType::PointToPoint);
        });
        if prefix_len == 31 {
            world.cables[0].ends[0].2 = Ipv4Addr::new(203, 0, 0, 3);
        }
        world.flying.clear();
        world.cables[0].multicast = [false, false];
        assert!(
            world.run_until(Duration::from_secs(100), World::converged),
            "{prefix_len} {}",
            world.story()
        );
        let shown = world.routers[0].show(world.now, &["ip", "ospf", "interface", "gre0"]).unwrap();
        assert!(shown.contains("  Multicast does not get through: packets go to 203.0.0.2\n"), "{shown}");
    }
}

/// Section 12.4.1: a loopback interface is a host that costs nothing, and nobody is spoken to there.
#[test]
fn loopback_addresses_are_hosts() {
    let mut world = World::row(2, 1);
    let address = Ipv4Addr::new(10, 255, 7, 7);
    let link = Link {
        index: 50,
        name: "lo".into(),
        address,
        prefix_len: 32,
        peer: None,
        mtu: 65_536,
        speed: None,
        point_to_point: false,
        loopback: true,
    };
    let now = world.now;
    world.routers[1].interface_up(now, link, InterfaceConfig::default());
    world.settle();
    assert!(world.run_until(Duration::from_secs(5), World::converged));
    world.run(Duration::from_secs(60));
    let route = world.routers[0].route(address, 32).unwrap();
    assert_eq!(route.cost, 10, "the way there, and nothing for the last step");
    let show = |words: &[&str]| world.routers[1].show(world.now, words).unwrap();
    let shown = show(&["ip", "ospf", "interface", "lo"]);
    assert!(shown.contains("Network Type LOOPBACK, Cost: 10") && shown.contains("State Loopback"), "{shown}");
    assert!(shown.contains("No Hellos (Passive interface)"), "{shown}");
}

#[test]
fn the_strict_rfc_works_too() {
    let mut world = World::row(3, 1);
    for router in &mut world.routers {
        router.config.deviations = Deviations {
            hello_at_once: false,
            early_retransmission: false,
            prompt_origination: false,
            loss_at_once: false,
            remembered_neighbour: false,
            remembered_election: false,
            flap_damping: false,
            unicast_fallback: false,
        };
    }
    assert!(world.run_until(Duration::from_secs(60), World::converged));
}

#[test]
fn nothing_is_said_without_need() {
    let mut world = World::row(2, 1);
    assert!(world.run_until(Duration::from_secs(1), World::converged));
    world.run(Duration::from_secs(10));
    let before = world.packets;
    world.run(Duration::from_secs(600));
    // Two hellos every ten seconds.
    assert!((118..=122).contains(&(world.packets - before)), "{}", world.packets - before);
}

#[test]
fn a_cut_of_a_minute() {
    let mut world = World::row(2, 1);
    assert!(world.run_until(Duration::from_secs(1), World::converged));
    world.cables[0].cut = true;
    let cut = world.now;
    assert!(world.run_until(Duration::from_secs(60), |world| world.state(0, 10) == State::Down));
    let after = (world.now - cut).as_secs();
    assert!((30..=41).contains(&after), "{after} s");
    assert!(world.route(0, 1).is_none());
    world.run(Duration::from_secs(60) - (world.now - cut));
    world.cables[0].cut = false;
    assert!(world.run_until(Duration::from_secs(15), World::converged));
}

/// An adjacency that breaks and comes back before the own LSA is originated anew leaves it as it was; paths are computed
/// all the same. Found by fuzzing: the route stayed away until something else changed.
#[test]
fn paths_follow_the_adjacency_also_when_no_lsa_changes() {
    let mut world = World::row(2, 1);
    assert!(world.run_until(Duration::from_secs(1), World::converged));
    world.run(Duration::from_secs(60));
    let moment = Duration::from_millis(100);
    let peer = Peer { interface: 10, key: world.routers[1].router_id() };
    let engine = &mut world.routers[0];
    engine.set_state(world.now, peer, State::Exchange, "test");
    // Origination has to wait for its interval, and meanwhile paths are computed.
    engine.own_due.clear();
    engine.handle_timeout(world.now + moment);
    assert!(world.route(0, 1).is_none());
    let engine = &mut world.routers[0];
    engine.set_state(world.now + moment, peer, State::Full, "test");
    engine.own_due.clear();
    assert!(world.run_until(Duration::from_secs(10), World::converged), "{}", world.story());
}

#[test]
fn a_dead_tunnel_takes_its_neighbour_at_once() {
    let mut world = World::row(2, 1);
    assert!(world.run_until(Duration::from_secs(1), World::converged));
    world.run(Duration::from_secs(15));
    let now = world.now;
    world.cables[0].cut = true;
    world.routers[0].link_dead(now, 10);
    assert!(world.run_until(Duration::from_millis(500), |world| world.route(0, 1).is_none()));
    world.cables[0].cut = false;
    let now = world.now;
    world.routers[0].link_alive(now, 10);
    assert!(world.run_until(Duration::from_millis(500), World::converged));
}

#[test]
fn a_restarted_neighbour() {
    for seed in 0..20 {
        let mut world = World::row(2, seed);
        assert!(world.run_until(Duration::from_secs(1), World::converged));
        world.run(Duration::from_secs(100));
        world.routers[1] = engine(1, seed + 1000);
        world.lan(1);
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
        let full = |world: &World| world.state(0, 10) == State::Full && world.state(1, 10) == State::Full;
        assert!(
            world.run_until(Duration::from_secs(2), |world| full(world) && world.converged()),
            "seed {seed}"
        );
        world.run(Duration::from_secs(5));
        assert!(full(&world) && world.converged(), "seed {seed}");
    }
}

#[test]
fn shutdown_is_told() {
    let mut world = World::row(2, 1);
    assert!(world.run_until(Duration::from_secs(1), World::converged));
    let now = world.now;
    world.routers[1].shutdown(now);
    world.settle();
    assert!(world.run_until(Duration::from_secs(1), |world| world.route(0, 1).is_none()));
    assert!(world.state(0, 10) <= State::Init);
}

/// What a test changes at one end.
type Change = fn(&mut (Link, InterfaceConfig));

#[test]
fn mismatches_are_explained_with_both_values() {
    let cases: [(Change, &str, &str); 4] = [
        (
            |end| end.1.hello_interval = 5,
            "has hello-interval 5, ours is 10",
            "write `ip ospf hello-interval`",
        ),
        (|end| end.1.dead_interval = 20, "has dead-interval 20, ours is 40", "write `ip ospf dead-interval`"),
        (
            |end| end.1.area = Ipv4Addr::new(0, 0, 0, 1),
            "is in area 0.0.0.1, we are in area 0.0.0.0",
            "`ip ospf area`",
        ),
        (|end| end.0.mtu = 1476, "says MTU 1476, ours is 1400", "`ip ospf mtu-ignore`"),
    ];
    for (change, both, advice) in cases {
        let mut world = World::row(1, 1);
        world.routers.push(engine(1, 2));
        world.events.push(Vec::new());
        world.lan(1);
        world.cable(0, 1, change);
        world.run(Duration::from_secs(100));
        assert!(world.state(0, 10) < State::Exchange);
        let problems = world.problems(0);
        assert_eq!(problems.len(), 1, "said once: {problems:?}");
        assert!(problems[0].contains(both) && problems[0].contains(advice), "{problems:?}");
        assert_eq!(world.routers[0].problems().count(), 1);
    }
}

#[test]
fn mtu_ignore() {
    let mut world = World::row(1, 1);
    world.routers.push(engine(1, 2));
    world.events.push(Vec::new());
    world.lan(1);
    world.cable(1, 0, |end| {
        end.0.mtu = 1300;
        end.1.mtu_ignore = true;
    });
    assert!(world.run_until(Duration::from_secs(2), World::converged));
}

#[test]
fn one_router_id_for_two() {
    let mut world = World::row(2, 1);
    world.routers[1].config.router_id = world.routers[0].config.router_id;
    world.run(Duration::from_secs(30));
    assert!(world.problems(0)[0].contains("has our own router id 10.255.0.1"));
}

/// Somebody who speaks in the leader's name takes the follower a step further than the leader is.
#[test]
fn a_follower_that_was_led_astray_finds_back() {
    for seed in 0..20 {
        let mut world = World::row(2, seed);
        assert!(world.run_until(Duration::from_secs(5), |world| world.state(0, 10) == State::Exchange));
        let neighbour = world.routers[0].interfaces[&10].neighbours.values().next().unwrap();
        let description = DatabaseDescription {
            mtu: 1400,
            options: neighbour.options,
            flags: DatabaseDescription::MASTER,
            sequence: neighbour.sequence.wrapping_add(1),
            headers: Vec::new(),
        };
        let (now, from) = (world.now, Ipv4Addr::new(10, 255, 0, 2));
        let peer = Peer { interface: 10, key: from };
        world.routers[0].receive_description(now, peer, from, &description);
        world.settle();
        assert!(world.run_until(Duration::from_secs(60), World::converged), "seed {seed} {}", world.story());
    }
}

/// A follower that says again and again how it wanted to begin has begun anew: it is answered with its second word, not when
/// its repetitions, which become rarer, have run out.
#[test]
fn a_follower_that_begins_anew_with_what_it_has_said() {
    for seed in 0..20 {
        let mut world = World::row(2, seed);
        assert!(world.run_until(Duration::from_secs(5), |world| world.state(1, 10) == State::Exchange));
        let (now, from) = (world.now, Ipv4Addr::new(10, 255, 0, 1));
        let peer = Peer { interface: 10, key: from };
        let neighbour = world.routers[1].neighbour_mut(peer).unwrap();
        assert!(neighbour.master);
        // Its first word came, and then an answer to ours that was under way before it.
        let Some(sequence) = neighbour.proposed else { continue };
        let options = neighbour.options;
        let flags = DatabaseDescription::INIT | DatabaseDescription::MORE | DatabaseDescription::MASTER;
        let first = DatabaseDescription { mtu: 1400, options, flags, sequence, headers: Vec::new() };
        world.routers[1].receive_description(now, peer, from, &first);
        assert_eq!(world.state(1, 10), State::Exchange, "it may be late");
        world.routers[1].receive_description(now, peer, from, &first);
        assert_eq!(world.state(1, 10), State::ExStart);
        world.settle();
        assert!(world.run_until(Duration::from_secs(60), World::converged), "seed {seed} {}", world.story());
        return;
    }
    panic!("it never wanted to lead");
}

#[test]
fn sequence_numbers_are_not_used_again() {
    let mut world = World::row(2, 1);
    let mut seen = Vec::new();
    for _ in 0..50 {
        assert!(world.run_until(Duration::from_secs(60), World::converged));
        let sequence = world.routers[1].interfaces[&10].neighbours.values().next().unwrap().sequence;
        assert!(seen.iter().all(|earlier: &u32| earlier.abs_diff(sequence) > 1000), "{sequence} {seen:?}");
        seen.push(sequence);
        let now = world.now;
        let peer = Peer { interface: 10, key: world.routers[0].router_id() };
        world.routers[1].start_exchange(now, peer, "for this test");
        world.settle();
    }
}
