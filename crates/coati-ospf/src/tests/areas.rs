//! Several areas: RFC 2328 sections 3, 12.4.3, 12.4.4, 15, 16.2 to 16.4, appendix E; RFC 3101; RFC 3509.

use coati_wire::ospf::*;

use super::*;

const ONE: AreaId = Ipv4Addr::new(0, 0, 0, 1);
const TWO: AreaId = Ipv4Addr::new(0, 0, 0, 2);

/// Routers in a row whose links are in these areas; router N has a LAN 10.N+1.0.0/24 in the area of its first link.
fn row(areas: &[AreaId], config: impl Fn(usize, &mut Config)) -> World {
    let mut world = World::apart(0, 1);
    for index in 0..=areas.len() {
        let mut own = Config::new(Ipv4Addr::new(10, 255, 0, index as u8 + 1));
        config(index, &mut own);
        world.add(Engine::new(own, Box::new(SeededRandom::new(index as u64))));
        let area = areas[index.min(areas.len() - 1)];
        lan_in(&mut world, index, area);
    }
    for (index, area) in areas.iter().enumerate() {
        world.cable_in(index, index + 1, *area);
    }
    world
}

fn lan_in(world: &mut World, router: usize, area: AreaId) {
    let address = Ipv4Addr::new(10, router as u8 + 1, 0, 1);
    let (index, name) = (1, "em1".into());
    let link = Link {
        index,
        name,
        address,
        prefix_len: 24,
        peer: None,
        mtu: 1500,
        speed: None,
        point_to_point: false,
        loopback: false,
    };
    let config = InterfaceConfig { area, passive: true, ..InterfaceConfig::default() };
    let now = world.now;
    world.routers[router].interface_up(now, link, config);
}

fn kind_of(config: &mut Config, area: AreaId, kind: AreaKind) {
    config.areas.entry(area).or_default().kind = kind;
}

fn count(world: &World, router: usize, area: AreaId, kind: u8) -> usize {
    let lsdb = &world.routers[router].areas[&area].lsdb;
    lsdb.of_kind(kind).filter(|(_, entry)| !entry.is_max_age(world.now)).count()
}

fn external(network: &str, prefix_len: u8, type2: bool, metric: u32, tag: u32) -> ExternalRoute {
    ExternalRoute { network: network.parse().unwrap(), prefix_len, type2, metric, tag, gateway: None }
}

fn redistribute(world: &mut World, router: usize, routes: &[ExternalRoute]) {
    let now = world.now;
    world.routers[router].set_externals(now, routes.iter().copied());
    world.settle();
}

fn found<'a>(world: &'a World, router: usize, network: &str, prefix_len: u8) -> Option<&'a Route> {
    world.routers[router].route(network.parse().unwrap(), prefix_len)
}

/// Sections 12.4.3 and 16.2: from an area over the backbone into another one.
#[test]
fn summaries() {
    let mut world = row(&[ONE, BACKBONE, TWO], |_, _| {});
    assert!(world.run_until(Duration::from_secs(20), World::converged), "{}", world.story());
    let route = world.route(0, 3).unwrap();
    assert_eq!((route.kind, route.cost, route.area), (RouteKind::InterArea, 40, ONE));
    // Databases are kept apart.
    assert_eq!(count(&world, 0, ONE, lsa_kind::ROUTER), 2);
    assert!(!world.routers[0].areas.contains_key(&BACKBONE));
    // What dies is told.
    let now = world.now;
    world.routers[3].interface_down(now, 1);
    world.settle();
    assert!(
        world.run_until(Duration::from_secs(20), |world| world.route(0, 3).is_none()),
        "{}",
        world.story()
    );
    world.run(Duration::from_secs(20));
    let borders = world.routers[0].show(world.now, &["ip", "ospf", "border-routers"]).unwrap();
    assert!(borders.contains("10.255.0.2") && borders.contains(", ABR"), "{borders}");
}

/// RFC 3509: without a backbone there is no border router, and nothing crosses.
#[test]
fn no_backbone() {
    let mut world = row(&[ONE, TWO], |_, _| {});
    world.run(Duration::from_secs(60));
    assert!(world.route(0, 2).is_none());
    assert!(world.route(1, 2).is_some() && world.route(1, 0).is_some());
}

/// Section 3.6 and 12.4.3.1.
#[test]
fn stub_areas() {
    for summaries in [true, false] {
        let mut world = row(&[ONE, BACKBONE], |_, config| {
            kind_of(config, ONE, AreaKind::Stub { summaries });
            config.areas.get_mut(&ONE).unwrap().default_cost = 7;
        });
        redistribute(&mut world, 2, &[external("172.20.0.0", 16, true, 20, 0)]);
        assert!(world.run_until(Duration::from_secs(20), |world| found(world, 0, "0.0.0.0", 0).is_some()));
        world.run(Duration::from_secs(20));
        assert_eq!(found(&world, 0, "0.0.0.0", 0).unwrap().cost, 17);
        assert!(found(&world, 0, "172.20.0.0", 16).is_none());
        assert!(found(&world, 1, "172.20.0.0", 16).is_some());
        assert_eq!(world.route(0, 2).is_some(), summaries);
        assert_eq!(world.routers[0].as_wide.len(), 0);
    }
}

#[test]
fn a_stub_area_on_one_side_only_is_explained() {
    let mut world = row(&[ONE], |index, config| {
        if index == 0 {
            kind_of(config, ONE, AreaKind::Stub { summaries: true });
        }
    });
    world.run(Duration::from_secs(30));
    let problem = world.problems(0)[0];
    assert!(
        problem.contains("says that area 0.0.0.1 is a normal area, for us it is a stub area"),
        "{problem}"
    );
}

/// Section 12.4.3 and C.2: one range for many networks; hidden ones; a cost of its own.
#[test]
fn ranges() {
    let range = |advertise, cost, substitute| Range {
        network: Ipv4Addr::new(10, 0, 0, 0),
        prefix_len: 8,
        advertise,
        cost,
        substitute,
    };
    let other = Some((Ipv4Addr::new(192, 168, 0, 0), 16));
    let cases = [
        (range(true, None, None), Some(("10.0.0.0", 8, 40))),
        (range(true, Some(5), None), Some(("10.0.0.0", 8, 15))),
        (range(false, None, None), None),
        (range(true, None, other), Some(("192.168.0.0", 16, 40))),
    ];
    for (range, expected) in cases {
        let mut world = row(&[ONE, ONE, BACKBONE], |index, config| {
            if index == 2 {
                config.areas.entry(ONE).or_default().ranges.push(range.clone());
            }
        });
        world.run(Duration::from_secs(20));
        match expected {
            Some((network, length, cost)) => {
                assert_eq!(
                    found(&world, 3, network, length).map(|route| route.cost),
                    Some(cost),
                    "{range:?}"
                );
            }
            None => assert!(found(&world, 3, "10.0.0.0", 8).is_none()),
        }
        // What goes to a hole in the range is not sent round and round.
        let thrown_away = world.routers[2].routes().filter(|route| route.next_hops.is_empty()).count();
        assert_eq!(thrown_away, usize::from(range.advertise));
        assert!(world.route(3, 0).is_none() && world.route(3, 1).is_none());
        assert!(world.route(2, 0).is_some());
    }
}

/// Sections 12.4.4, 16.4: E1 and E2, tags, and the boundary router's place in other areas (type 4).
#[test]
fn externals() {
    let mut world = row(&[ONE, BACKBONE, TWO], |_, _| {});
    let routes = [external("172.20.0.0", 16, true, 20, 5), external("172.21.0.0", 16, false, 20, 6)];
    redistribute(&mut world, 3, &routes);
    let done = |world: &World| found(world, 0, "172.21.0.0", 16).is_some();
    assert!(world.run_until(Duration::from_secs(20), done), "{}", world.story());
    let route = found(&world, 0, "172.20.0.0", 16).unwrap();
    assert_eq!((route.kind, route.cost), (RouteKind::External2 { metric: 20, tag: 5 }, 30));
    let route = found(&world, 0, "172.21.0.0", 16).unwrap();
    assert_eq!((route.kind, route.cost), (RouteKind::External1 { tag: 6 }, 50));
    assert_eq!(count(&world, 0, ONE, lsa_kind::SUMMARY_ASBR), 1);
    redistribute(&mut world, 3, &[]);
    assert!(world.run_until(Duration::from_secs(20), |world| found(world, 0, "172.20.0.0", 16).is_none()));
    world.run(Duration::from_secs(20));
    assert_eq!(world.routers[0].as_wide.len(), 0);
    assert_eq!(count(&world, 0, ONE, lsa_kind::SUMMARY_ASBR), 0);
}

/// Section 16.4 step 3 and 12.4.4.1: straight to the gateway on the LAN, not to the router that tells of it.
#[test]
fn forwarding_addresses() {
    let mut world = World::apart(3, 1);
    world.shared(&[0, 1], |_, _| {});
    world.cable(1, 2, |_| {});
    world.run(Duration::from_secs(60));
    let gateway = Some(Ipv4Addr::new(172, 16, 0, 200));
    let route = ExternalRoute { gateway, ..external("172.20.0.0", 16, true, 20, 0) };
    redistribute(&mut world, 0, &[route]);
    world.run(Duration::from_secs(20));
    let route = found(&world, 1, "172.20.0.0", 16).unwrap();
    assert_eq!(*route.next_hops, [NextHop { interface: 100, via: gateway }]);
    assert_eq!(found(&world, 2, "172.20.0.0", 16).unwrap().cost, 20);
}

/// Appendix E: the same network with three masks.
#[test]
fn one_network_with_several_masks() {
    let mut world = row(&[BACKBONE], |_, _| {});
    let routes: Vec<ExternalRoute> =
        [8, 16, 24, 32].map(|length| external("10.0.0.0", length, true, u32::from(length), 0)).to_vec();
    redistribute(&mut world, 1, &routes);
    world.run(Duration::from_secs(20));
    for length in [8, 16, 24, 32] {
        let route = found(&world, 0, "10.0.0.0", length).unwrap();
        assert_eq!(route.kind, RouteKind::External2 { metric: u32::from(length), tag: 0 });
    }
}

fn nssa(summaries: bool, translate: Translate) -> AreaKind {
    AreaKind::Nssa(Nssa { summaries, translate, suppress_forwarding: false, default_route: None })
}

/// RFC 3101: type 7 inside, translated at the border.
#[test]
fn not_so_stubby() {
    let mut world =
        row(&[ONE, ONE, BACKBONE], |_, config| kind_of(config, ONE, nssa(true, Translate::Candidate)));
    redistribute(&mut world, 0, &[external("172.20.0.0", 16, true, 20, 9)]);
    redistribute(&mut world, 3, &[external("172.30.0.0", 16, true, 20, 0)]);
    let done = |world: &World| found(world, 3, "172.20.0.0", 16).is_some();
    assert!(world.run_until(Duration::from_secs(30), done), "{}", world.story());
    world.run(Duration::from_secs(10));
    assert_eq!(count(&world, 1, ONE, lsa_kind::NSSA), 1);
    assert_eq!(world.routers[1].as_wide.len(), 0);
    assert_eq!(found(&world, 3, "172.20.0.0", 16).unwrap().kind, RouteKind::External2 { metric: 20, tag: 9 });
    assert!(found(&world, 1, "172.20.0.0", 16).is_some() && found(&world, 2, "172.20.0.0", 16).is_some());
    assert!(found(&world, 0, "172.30.0.0", 16).is_none() && found(&world, 2, "172.30.0.0", 16).is_some());
    redistribute(&mut world, 0, &[]);
    assert!(world.run_until(Duration::from_secs(30), |world| found(world, 3, "172.20.0.0", 16).is_none()));
}

/// RFC 3101 section 3.1: of two border routers the one with the larger router id translates, or who always does.
#[test]
fn translator_election() {
    for (first, translator) in [(Translate::Candidate, 2), (Translate::Always, 1)] {
        let mut world = World::apart(0, 1);
        for index in 0..4usize {
            let mut config = Config::new(Ipv4Addr::new(10, 255, 0, index as u8 + 1));
            let translate = if index == 1 { first } else { Translate::Candidate };
            kind_of(&mut config, ONE, nssa(false, translate));
            world.add(Engine::new(config, Box::new(SeededRandom::new(index as u64))));
        }
        world.cable_in(0, 1, ONE);
        world.cable_in(0, 2, ONE);
        world.cable_in(1, 3, BACKBONE);
        world.cable_in(2, 3, BACKBONE);
        redistribute(&mut world, 0, &[external("172.20.0.0", 16, true, 20, 9)]);
        // Before they hear of each other both may, and then do for TranslatorStabilityInterval.
        world.run(Duration::from_secs(90));
        let by: Vec<Ipv4Addr> =
            world.routers[3].as_wide.iter().map(|(key, _)| key.advertising_router).collect();
        assert_eq!(by, [Ipv4Addr::new(10, 255, 0, translator + 1)], "{}", world.story());
        // A totally not-so-stubby area has a default route.
        assert!(found(&world, 0, "0.0.0.0", 0).is_some());
    }
}

/// Section 15: an area that does not touch the backbone is joined to it through another one.
#[test]
fn virtual_links() {
    for seed in 0..5 {
        let mut world = row(&[BACKBONE, ONE, ONE, TWO], |index, config| {
            let far = match index {
                1 => 4,
                3 => 2,
                _ => return,
            };
            let far = Ipv4Addr::new(10, 255, 0, far);
            config.areas.entry(ONE).or_default().virtual_links.insert(far, InterfaceConfig::default());
        });
        world.random = SeededRandom::new(seed);
        assert!(world.run_until(Duration::from_secs(60), World::converged), "seed {seed} {}", world.story());
        assert_eq!(world.route(0, 4).unwrap().cost, 50);
        assert_eq!(world.route(4, 0).unwrap().cost, 50);
        // Externals do not go over the virtual link itself, but through the area it crosses (section 13.3).
        redistribute(&mut world, 0, &[external("172.20.0.0", 16, true, 20, 0)]);
        let done = |world: &World| found(world, 4, "172.20.0.0", 16).is_some();
        assert!(world.run_until(Duration::from_secs(30), done), "{}", world.story());
        // The way through the area breaks.
        world.cables[2].cut = true;
        let gone = |world: &World| world.route(4, 0).is_none() && world.route(0, 4).is_none();
        assert!(world.run_until(Duration::from_secs(90), gone), "seed {seed} {}", world.story());
        world.cables[2].cut = false;
        assert!(world.run_until(Duration::from_secs(60), World::converged), "seed {seed} {}", world.story());
    }
}

/// Equal paths are used together, through areas too.
#[test]
fn equal_paths() {
    let mut world = World::apart(4, 1);
    (0..4).for_each(|router| world.lan(router));
    for (a, b) in [(0, 1), (0, 2), (1, 3), (2, 3)] {
        world.cable(a, b, |_| {});
    }
    assert!(world.run_until(Duration::from_secs(20), World::converged));
    world.run(Duration::from_secs(5));
    assert_eq!(world.route(0, 3).unwrap().next_hops.len(), 2);
    assert_eq!(world.route(3, 0).unwrap().next_hops.len(), 2);
}

/// RFC 6987: who has another way does not go through a stub router, who has none does.
#[test]
fn stub_router() {
    let mut world = World::apart(0, 1);
    for index in 0..4usize {
        let mut config = Config::new(Ipv4Addr::new(10, 255, 0, index as u8 + 1));
        if index == 1 {
            config.stub_router.on_startup = Some(Duration::from_secs(100));
        }
        world.add(Engine::new(config, Box::new(SeededRandom::new(index as u64))));
        lan_in(&mut world, index, BACKBONE);
    }
    for (a, b) in [(0, 1), (1, 3), (0, 2), (2, 3)] {
        world.cable(a, b, |_| {});
    }
    world.run(Duration::from_secs(50));
    assert!(world.converged(), "{}", world.story());
    // By cable 2 and router 2; what is at router 1 itself is reached as ever.
    let interfaces = |world: &World| -> Vec<u32> {
        world.route(0, 3).unwrap().next_hops.iter().map(|hop| hop.interface).collect()
    };
    assert_eq!(interfaces(&world), [12]);
    assert_eq!(world.route(0, 1).unwrap().cost, 20);
    world.run(Duration::from_secs(70));
    assert_eq!(interfaces(&world), [10, 12]);
}

/// The time after the start ends by itself, also where nothing else is ever due.
#[test]
fn stub_router_without_neighbours() {
    let mut config = Config::new(Ipv4Addr::new(10, 255, 0, 1));
    config.stub_router.on_startup = Some(Duration::from_secs(100));
    let mut engine = Engine::new(config, Box::new(SeededRandom::new(1)));
    let start = Instant::now();
    let link = Link {
        index: 7,
        name: "eth0".into(),
        address: Ipv4Addr::new(192, 0, 2, 1),
        prefix_len: 24,
        peer: None,
        mtu: 1500,
        speed: None,
        point_to_point: false,
        loopback: false,
    };
    engine.interface_up(start, link, InterfaceConfig { passive: true, ..InterfaceConfig::default() });
    let end = start + Duration::from_secs(100);
    let mut now = start;
    while engine.is_stub_router() {
        now = engine.next_timeout().expect("something is due");
        assert!(now <= end, "it is woken {:?} too late", now - end);
        engine.handle_timeout(now);
    }
    assert_eq!(now, end);
}

fn pass(rules: &[(bool, &str, u8, (u8, u8))]) -> Filter {
    let rule = |(permit, network, prefix_len, lengths): &(bool, &str, u8, (u8, u8))| FilterRule {
        permit: *permit,
        network: network.parse().unwrap(),
        prefix_len: *prefix_len,
        lengths: *lengths,
    };
    Filter { rules: rules.iter().map(rule).collect() }
}

/// `area … filter-list`: what may leave an area, and what may come into one.
#[test]
fn filters_between_areas() {
    let all_but = |network| pass(&[(false, network, 24, (24, 24)), (true, "0.0.0.0", 0, (0, 32))]);
    // Router 0 has its LAN in area 1, routers 2 and 3 theirs in area 2.
    let cases: [(AreaId, bool, &str, [bool; 3]); 4] = [
        (ONE, false, "10.1.0.0", [false, false, true]),
        (TWO, true, "10.1.0.0", [false, true, true]),
        (ONE, true, "10.4.0.0", [true, true, false]),
        (BACKBONE, false, "10.1.0.0", [false, true, true]),
    ];
    for (area, incoming, network, wanted) in cases {
        let mut world = row(&[ONE, BACKBONE, TWO], |_, config| {
            let area = config.areas.entry(area).or_default();
            if incoming { &mut area.filters_in } else { &mut area.filters_out }.push(all_but(network));
        });
        world.run(Duration::from_secs(40));
        let far = found(&world, 3, "10.1.0.0", 24).is_some();
        let middle = found(&world, 2, "10.1.0.0", 24).is_some();
        let back = found(&world, 0, "10.4.0.0", 24).is_some();
        assert_eq!([far, middle, back], wanted, "{area} {incoming}\n{}", world.story());
    }
}

/// `summary-address`: one destination in place of many, or of none; holes in it are thrown away.
#[test]
fn summary_addresses() {
    let range = |network: &str, prefix_len, advertise| ExternalRange {
        network: network.parse().unwrap(),
        prefix_len,
        advertise,
        cost: None,
        tag: 77,
    };
    let mut world = row(&[BACKBONE], |index, config| {
        if index == 1 {
            config.summary_addresses = vec![range("172.16.0.0", 12, true), range("192.168.0.0", 16, false)];
        }
    });
    let routes = [
        external("172.16.1.0", 24, true, 20, 1),
        external("172.17.0.0", 16, false, 300, 2),
        external("192.168.5.0", 24, true, 20, 0),
        external("198.18.0.0", 15, true, 20, 5),
    ];
    redistribute(&mut world, 1, &routes);
    world.run(Duration::from_secs(40));
    let whole = found(&world, 0, "172.16.0.0", 12).unwrap();
    assert_eq!(whole.kind, RouteKind::External2 { metric: 21, tag: 77 });
    assert!(found(&world, 0, "172.16.1.0", 24).is_none() && found(&world, 0, "172.17.0.0", 16).is_none());
    assert!(found(&world, 0, "192.168.5.0", 24).is_none() && found(&world, 0, "192.168.0.0", 16).is_none());
    assert!(found(&world, 0, "198.18.0.0", 15).is_some());
    let hole = world.routers[1].routes().find(|route| route.prefix_len == 12).unwrap();
    assert!(hole.next_hops.is_empty());
    // The last one in it leaves, and so does the whole.
    redistribute(&mut world, 1, &routes[2..]);
    world.run(Duration::from_secs(40));
    assert!(found(&world, 0, "172.16.0.0", 12).is_none());
    assert!(world.routers[1].routes().all(|route| route.prefix_len != 12));
}

/// RFC 3101 section 3.2: the translator's ranges.
#[test]
fn nssa_ranges() {
    let nssa = AreaKind::Nssa(Nssa {
        summaries: true,
        translate: Translate::Candidate,
        suppress_forwarding: false,
        default_route: None,
    });
    for (advertise, cost, wanted) in [(true, None, Some(51)), (true, Some(7), Some(7)), (false, None, None)] {
        let mut world = row(&[ONE, BACKBONE], |_, config| {
            kind_of(config, ONE, nssa);
            let (network, prefix_len) = (Ipv4Addr::new(172, 16, 0, 0), 12);
            let range = ExternalRange { network, prefix_len, advertise, cost, tag: 0 };
            config.areas.entry(ONE).or_default().nssa_ranges.push(range);
        });
        let routes = [external("172.16.1.0", 24, true, 20, 0), external("172.20.0.0", 16, true, 50, 0)];
        redistribute(&mut world, 0, &routes);
        world.run(Duration::from_secs(60));
        let whole = found(&world, 2, "172.16.0.0", 12).map(|route| route.kind);
        assert_eq!(whole, wanted.map(|metric| RouteKind::External2 { metric, tag: 0 }), "{}", world.story());
        assert!(found(&world, 2, "172.20.0.0", 16).is_none());
        assert!(found(&world, 1, "172.20.0.0", 16).is_some());
    }
}

/// RFC 3101 section 3.1: who is not elected any more translates for TranslatorStabilityInterval, so that nothing is missing
/// while the other one begins.
#[test]
fn translators_change_without_a_gap() {
    let mut world = World::apart(0, 1);
    for index in 0..4usize {
        let mut config = Config::new(Ipv4Addr::new(10, 255, 0, index as u8 + 1));
        kind_of(&mut config, ONE, nssa(true, Translate::Candidate));
        world.add(Engine::new(config, Box::new(SeededRandom::new(index as u64))));
    }
    for (a, b, area) in [(0, 1, ONE), (0, 2, ONE), (1, 3, BACKBONE), (2, 3, BACKBONE)] {
        world.cable_in(a, b, area);
    }
    world.cables[1].cut = true;
    redistribute(&mut world, 0, &[external("172.30.0.0", 16, true, 20, 0)]);
    let translators = |world: &World| -> Vec<u8> {
        let all = world.routers[3].as_wide.of_kind(lsa_kind::EXTERNAL);
        let alive = all.filter(|(_, entry)| !entry.is_max_age(world.now));
        alive.map(|(key, _)| key.advertising_router.octets()[3]).collect()
    };
    world.run(Duration::from_secs(100));
    assert_eq!(translators(&world), [2]);
    world.cables[1].cut = false;
    assert!(
        world.run_until(Duration::from_secs(60), |world| translators(world) == [2, 3]),
        "{}",
        world.story()
    );
    world.run(Duration::from_secs(35));
    assert_eq!(translators(&world), [2, 3]);
    world.run(Duration::from_secs(15));
    assert_eq!(translators(&world), [3]);
    assert!(found(&world, 3, "172.30.0.0", 16).is_some());
}
