//! Large networks: how long a computation takes. `cargo test --release -p coati-ospf scale -- --ignored --nocapture`.

use coati_wire::ospf::*;

use super::*;
use crate::lsdb::Scope;

/// A grid of routers with a stub network each; router 0 is in a corner, and its two neighbours are adjacent.
fn grid(side: u32) -> Engine {
    let now = Instant::now();
    let id = |x: u32, y: u32| Ipv4Addr::from(0x0a00_0000 + y * side + x + 1);
    let mut engine = Engine::new(Config::new(id(0, 0)), Box::new(SeededRandom::new(1)));
    for y in 0..side {
        for x in 0..side {
            let next = [(x.wrapping_sub(1), y), (x + 1, y), (x, y.wrapping_sub(1)), (x, y + 1)];
            let next = next.into_iter().filter(|(x, y)| *x < side && *y < side);
            let mut links: Vec<RouterLink> = next
                .map(|(to_x, to_y)| RouterLink {
                    id: id(to_x, to_y),
                    data: id(x, y),
                    kind: RouterLink::POINT_TO_POINT,
                    metric: 10,
                })
                .collect();
            links.push(stub(x, y, side, 10));
            let lsa = lsa_of(id(x, y), links, 1);
            engine.install(now, Scope::Area(BACKBONE), lsa);
        }
    }
    engine
}

fn stub(x: u32, y: u32, side: u32, metric: u16) -> RouterLink {
    let network = Ipv4Addr::from(0x2000_0000 + ((y * side + x) << 8));
    RouterLink { id: network, data: Ipv4Addr::new(255, 255, 255, 0), kind: RouterLink::STUB, metric }
}

fn lsa_of(id: Ipv4Addr, links: Vec<RouterLink>, sequence: i32) -> Lsa {
    let key = LsaKey { kind: lsa_kind::ROUTER, id, advertising_router: id };
    Lsa::new(key, OPTION_E, sequence, LsaBody::Router(RouterLsa { flags: 0, links }))
}

fn sources(engine: &Engine, side: u32) -> (Vec<spf::OwnLink>, Ipv4Addr) {
    let root = engine.router_id();
    let link = |number: u32, interface: u32| {
        let to = Ipv4Addr::from(0x0a00_0000 + number + 1);
        let hops = vec![NextHop { interface, via: Some(to) }];
        spf::OwnLink { to: crate::graph::Node::Router(to), metric: 10, hops }
    };
    (vec![link(1, 1), link(side, 2)], root)
}

/// One computation of everything, and one after a leaf has changed; both in microseconds.
fn measure(side: u32) -> (u128, u128, usize) {
    let mut engine = grid(side);
    let (own, root) = sources(&engine, side);
    let mut full = u128::MAX;
    for _ in 0..5 {
        let begun = Instant::now();
        let area = engine.areas.get_mut(&BACKBONE).unwrap();
        area.paths = spf::compute(&area.graph, root, &own, 16);
        engine.update_table(true);
        full = full.min(begun.elapsed().as_micros());
    }
    let routes = engine.table.routes.len();
    let mut leaf = u128::MAX;
    for sequence in 2..12 {
        let (x, y) = (side - 1, side - 1);
        let id = Ipv4Addr::from(0x0a00_0000 + y * side + x + 1);
        let key = LsaKey { kind: lsa_kind::ROUTER, id, advertising_router: id };
        let LsaBody::Router(old) = engine.areas[&BACKBONE].lsdb.get(&key).unwrap().body() else { panic!() };
        let mut links = old.links;
        *links.last_mut().unwrap() = stub(x, y, side, sequence as u16);
        let lsa = lsa_of(id, links, sequence);
        let begun = Instant::now();
        engine.areas.get_mut(&BACKBONE).unwrap().stale = false;
        engine.install(Instant::now(), Scope::Area(BACKBONE), lsa);
        assert!(!engine.areas[&BACKBONE].stale, "a leaf needs no new paths");
        assert!(engine.update_table(false));
        leaf = leaf.min(begun.elapsed().as_micros());
    }
    (full, leaf, routes)
}

/// The paths after the root has lost one of its own links, which only a site of its own is behind, and has it again: the
/// longer of both in microseconds, and how many paths have become others.
fn measure_own(side: u32) -> (u128, usize) {
    let mut engine = grid(side);
    let (own, root) = sources(&engine, side);
    let site = Ipv4Addr::new(192, 0, 2, 1);
    let link = |id| RouterLink { id, data: site, kind: RouterLink::POINT_TO_POINT, metric: 10 };
    let key = LsaKey { kind: lsa_kind::ROUTER, id: root, advertising_router: root };
    let LsaBody::Router(old) = engine.areas[&BACKBONE].lsdb.get(&key).unwrap().body() else { panic!() };
    let links: Vec<RouterLink> = old.links.into_iter().chain([link(site)]).collect();
    let now = Instant::now();
    for lsa in [lsa_of(site, vec![link(root)], 1), lsa_of(root, links, 2)] {
        engine.install(now, Scope::Area(BACKBONE), lsa);
    }
    let hops = vec![NextHop { interface: 3, via: Some(site) }];
    let to_site = spf::OwnLink { to: crate::graph::Node::Router(site), metric: 10, hops };
    let all: Vec<spf::OwnLink> = own.iter().cloned().chain([to_site]).collect();
    let area = engine.areas.get_mut(&BACKBONE).unwrap();
    area.graph.take_changes();
    area.paths = spf::compute(&area.graph, root, &all, 16);
    let (mut longest, mut moved) = (0, 0);
    for links in [&own, &all] {
        let begun = Instant::now();
        let found = spf::update(&mut area.paths, &area.graph, root, (links, 16), &[]).unwrap();
        longest = longest.max(begun.elapsed().as_micros());
        moved += found.len();
        assert_eq!(
            area.paths.get(area.graph.number(crate::graph::Node::Router(site)).unwrap()).is_some(),
            links.len() == 3
        );
    }
    (longest, moved)
}

/// Memory of this process, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// A leaf is looked at alone, and comes out right.
#[test]
fn a_changed_leaf() {
    let (_, _, routes) = measure(10);
    assert_eq!(routes, 99);
}

/// A link of the root's own moves what is behind it alone, away and back.
#[test]
fn a_changed_link_of_its_own() {
    let (_, moved) = measure_own(10);
    assert_eq!(moved, 2);
}

#[test]
#[ignore = "a measurement"]
fn scale() {
    // First of all: what is freed is not given back.
    for side in [100, 316] {
        let before = resident();
        let mut engine = grid(side);
        let (own, root) = sources(&engine, side);
        let area = engine.areas.get_mut(&BACKBONE).unwrap();
        area.paths = spf::compute(&area.graph, root, &own, 16);
        engine.update_table(true);
        let bytes = resident().saturating_sub(before);
        println!(
            "{} LSAs with their graph and routes: {} MB, {} bytes each",
            side * side,
            bytes >> 20,
            bytes / (side * side) as usize
        );
    }
    for side in [32, 100, 224] {
        let (full, leaf, routes) = measure(side);
        let (own, _) = measure_own(side);
        println!(
            "{} routers: full {full} us, {routes} routes; leaf {leaf} us; paths after an own link {own} us",
            side * side
        );
    }
}
