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
    assert!(!world.events[0][before..].contains(&Event::RoutesChanged), "{:?}", &world.events[0][before..]);
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
