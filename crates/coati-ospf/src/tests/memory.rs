//! A neighbour that was there before.

use super::*;

/// Two routers that know each other; the second one waits for its own next hello, as FRR and BIRD do.
fn acquainted() -> World {
    let mut world = World::apart(2, 3);
    world.routers[1].config.deviations.hello_at_once = false;
    world.lan(0);
    world.lan(1);
    world.cable(0, 1, |_| {});
    assert!(world.run_until(Duration::from_secs(30), |world| world.state(0, 10) == State::Full));
    world.run(Duration::from_secs(13));
    world
}

/// The first one anew, with what it has kept.
fn restarted(world: &mut World, keep: bool) -> Duration {
    let memory = world.routers[0].memory().clone();
    world.routers[0] = engine(0, 5);
    if keep {
        world.routers[0].recall(memory);
    }
    world.lan(0);
    let (link, config) = (cable_end(0), InterfaceConfig::default());
    let now = world.now;
    world.routers[0].interface_up(now, link, config);
    world.settle();
    assert!(world.run_until(Duration::from_secs(30), |world| {
        world.state(0, 10) == State::Full && world.state(1, 10) == State::Full
    }));
    world.now - now
}

pub(super) fn cable_end(end: usize) -> Link {
    let addresses = [Ipv4Addr::new(203, 0, 0, 1), Ipv4Addr::new(203, 0, 0, 2)];
    Link {
        index: 10,
        name: "gre0".into(),
        address: addresses[end],
        prefix_len: 30,
        peer: Some(addresses[1 - end]),
        mtu: 1400,
        speed: None,
        point_to_point: true,
        loopback: false,
    }
}

#[test]
fn it_is_greeted_by_its_name() {
    let with = restarted(&mut acquainted(), true);
    let without = restarted(&mut acquainted(), false);
    assert!(with < Duration::from_millis(150), "{with:?}");
    // Its own next hello.
    assert!(without > Duration::from_secs(5), "{without:?}");
}

#[test]
fn a_tunnel_that_was_away() {
    let mut world = acquainted();
    for router in 0..2 {
        let now = world.now;
        world.routers[router].link_dead(now, 10);
    }
    world.settle();
    world.run(Duration::from_secs(3));
    let began = world.now;
    world.routers[0].link_alive(began, 10);
    world.settle();
    assert!(world.run_until(Duration::from_secs(30), |world| world.state(0, 10) == State::Full));
    assert!(world.now - began < Duration::from_millis(150), "{:?}", world.now - began);
}

/// The two-way check stays honest: who does not answer is not named any longer than it takes to answer.
#[test]
fn who_is_not_there_is_named_for_a_while_only() {
    let mut world = acquainted();
    let memory = world.routers[0].memory().clone();
    world.routers[0] = engine(0, 5);
    world.routers[0].recall(memory);
    world.cables[0].cut = true;
    let began = world.now;
    world.routers[0].interface_up(began, cable_end(0), InterfaceConfig::default());
    let mut named = Vec::new();
    while world.now < began + Duration::from_secs(60) {
        while let Some(transmit) = world.routers[0].poll_transmit() {
            let (_, packet) = coati_wire::ospf::Packet::parse(&transmit.payload).unwrap();
            if let coati_wire::ospf::Packet::Hello(hello) = packet {
                named.push((world.now - began, hello.neighbours.len()));
            }
        }
        world.now = world.routers[0].next_timeout().unwrap();
        let now = world.now;
        world.routers[0].handle_timeout(now);
    }
    let millis: Vec<(u128, usize)> = named.iter().map(|(at, count)| (at.as_millis(), *count)).collect();
    assert_eq!(millis[..4], [(0, 0), (20, 1), (10_000, 0), (20_000, 0)]);
}

#[test]
fn nobody_else_gets_in_by_a_description() {
    let mut world = acquainted();
    let memory = world.routers[0].memory().clone();
    world.routers[0] = engine(0, 5);
    world.routers[0].recall(memory);
    let now = world.now;
    world.routers[0].interface_up(now, cable_end(0), InterfaceConfig::default());
    world.routers[0].handle_timeout(now + Duration::from_millis(20));
    let describe = |id: Ipv4Addr, from: Ipv4Addr, world: &mut World| {
        let header = coati_wire::ospf::Header { router_id: id, area: BACKBONE, auth_kind: 0, auth: [0; 8] };
        let description = coati_wire::ospf::DatabaseDescription {
            mtu: 1400,
            options: 2,
            flags: 7,
            sequence: 9,
            headers: Vec::new(),
        };
        let bytes = coati_wire::ospf::Packet::DatabaseDescription(description).emit(&header);
        world.routers[0].handle_input(now + Duration::from_millis(25), &Input::to_all(10, from, &bytes));
        world.state(0, 10)
    };
    let (id, from) = (Ipv4Addr::new(10, 255, 0, 2), Ipv4Addr::new(203, 0, 0, 2));
    assert_eq!(describe(Ipv4Addr::new(10, 255, 0, 9), from, &mut world), State::Down);
    assert_eq!(describe(id, Ipv4Addr::new(203, 0, 0, 3), &mut world), State::Down);
    assert_eq!(describe(id, from, &mut world), State::Exchange);
}
