//! Random networks beside a model: a slow computation of all paths over the topology itself, which knows nothing of
//! LSAs. Links are cut and mended, routers die and come back; when all is quiet every router's table is the model's,
//! databases of an area are identical, and packets arrive.
//!
//! Some networks are in the ordinary tests; a thousand run by
//! `cargo test --release -p coati-ospf a_thousand_networks -- --ignored`.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::lsdb::Scope;

const FAR: u32 = u32::MAX / 4;
/// Everything that waits is over after this: dead intervals of 8 s, SPF hold and MinLSInterval of 5 s.
const QUIET: Duration = Duration::from_secs(60);

struct Wire {
    area: AreaId,
    /// Router and its cost.
    ends: Vec<(usize, u16)>,
    shared: bool,
    up: bool,
}

struct Network {
    world: World,
    wires: Vec<Wire>,
    homes: Vec<AreaId>,
    alive: Vec<bool>,
    /// Routers with a destination outside of the AS.
    boundaries: BTreeSet<usize>,
    lives: u64,
    seed: u64,
}

fn area(number: u32) -> AreaId {
    Ipv4Addr::from(number)
}

impl Network {
    fn new(seed: u64, largest: u32) -> Self {
        let mut random = SeededRandom::new(seed);
        let count = 2 + random.below(largest - 1) as usize;
        let areas = if count < 6 || random.below(2) == 0 { 1 } else { 2 + random.below(3) };
        let homes: Vec<AreaId> = (0..count).map(|router| area(router as u32 % areas)).collect();
        let mut network = Self {
            world: World::apart(0, seed),
            wires: Vec::new(),
            homes,
            alive: vec![true; count],
            boundaries: BTreeSet::new(),
            lives: 0,
            seed,
        };
        for router in 0..count {
            if random.below(4) == 0 {
                network.boundaries.insert(router);
            }
        }
        for number in 0..areas {
            network.wire_area(area(number), &mut random);
        }
        // One or two backbone routers touch each other area.
        for number in 1..areas {
            for _ in 0..=random.below(2) {
                let inside = network.some_router(area(number), &mut random);
                let border = network.some_router(BACKBONE, &mut random);
                network.wire(area(number), &[border, inside], false, &mut random);
            }
        }
        for router in 0..count {
            let engine = network.engine(router);
            network.world.add(engine);
        }
        network.lay_wires();
        (0..count).for_each(|router| network.start(router));
        network
    }

    fn some_router(&self, area: AreaId, random: &mut SeededRandom) -> usize {
        let all: Vec<usize> = (0..self.homes.len()).filter(|router| self.homes[*router] == area).collect();
        all[random.below(all.len() as u32) as usize]
    }

    /// A tree and some more, of tunnels and LANs.
    fn wire_area(&mut self, area: AreaId, random: &mut SeededRandom) {
        let all: Vec<usize> = (0..self.homes.len()).filter(|router| self.homes[*router] == area).collect();
        for (place, router) in all.iter().enumerate().skip(1) {
            let other = all[random.below(place as u32) as usize];
            self.wire(area, &[other, *router], false, random);
        }
        for _ in 0..all.len() / 3 {
            let (a, b) = (self.some_router(area, random), self.some_router(area, random));
            if a != b {
                self.wire(area, &[a, b], false, random);
            }
        }
        for _ in 0..all.len().div_ceil(8) {
            let members: BTreeSet<usize> =
                (0..2 + random.below(4)).map(|_| self.some_router(area, random)).collect();
            let members: Vec<usize> = members.into_iter().collect();
            self.wire(area, &members, true, random);
        }
    }

    fn wire(&mut self, area: AreaId, routers: &[usize], shared: bool, random: &mut SeededRandom) {
        let ends = routers.iter().map(|router| (*router, 1 + random.below(20) as u16)).collect();
        self.wires.push(Wire { area, ends, shared, up: true });
    }

    fn engine(&mut self, router: usize) -> Engine {
        self.lives += 1;
        let router_id = Ipv4Addr::new(10, 255, 0, router as u8 + 1);
        Engine::new(Config::new(router_id), Box::new(SeededRandom::new(self.seed * 1000 + self.lives)))
    }

    fn address(wire: usize, end: usize) -> Ipv4Addr {
        Ipv4Addr::new(10, 100 + (wire / 256) as u8, (wire % 256) as u8, end as u8 + 1)
    }

    fn index(wire: usize) -> u32 {
        1000 + wire as u32
    }

    fn lay_wires(&mut self) {
        for (number, wire) in self.wires.iter().enumerate() {
            let end = |place: usize| (wire.ends[place].0, Self::index(number), Self::address(number, place));
            if wire.shared {
                self.world
                    .lans
                    .push(super::Lan { ends: (0..wire.ends.len()).map(end).collect(), multicast: true });
            } else {
                self.world.cables.push(Cable {
                    ends: [end(0), end(1)],
                    cut: false,
                    carries: 1400,
                    multicast: [true; 2],
                });
            }
        }
    }

    /// Brings a router's interfaces up.
    fn start(&mut self, router: usize) {
        let now = self.world.now;
        let engine = &mut self.world.routers[router];
        let config = |area, cost| InterfaceConfig {
            area,
            cost,
            hello_interval: 2,
            dead_interval: 8,
            ..InterfaceConfig::default()
        };
        for (number, wire) in self.wires.iter().enumerate() {
            for (place, (_, cost)) in wire.ends.iter().enumerate().filter(|(_, end)| end.0 == router) {
                let link = Link {
                    index: Self::index(number),
                    name: format!("if{number}"),
                    address: Self::address(number, place),
                    prefix_len: 24,
                    peer: None,
                    mtu: 1400,
                    speed: None,
                    point_to_point: !wire.shared,
                    loopback: false,
                };
                engine.interface_up(now, link, config(wire.area, *cost));
            }
        }
        let link = Link {
            index: 1,
            name: "em1".into(),
            address: Ipv4Addr::new(10, router as u8 + 1, 0, 1),
            prefix_len: 24,
            peer: None,
            mtu: 1500,
            speed: None,
            point_to_point: false,
            loopback: false,
        };
        let home = self.homes[router];
        engine.interface_up(now, link, InterfaceConfig { passive: true, ..config(home, 10) });
        if self.boundaries.contains(&router) {
            let network = Ipv4Addr::new(192, 168, router as u8, 0);
            let (type2, tag) = (router.is_multiple_of(2), 0);
            engine.set_externals(
                now,
                [ExternalRoute { network, prefix_len: 24, type2, metric: 20, tag, gateway: None }],
            );
        }
        self.world.settle();
    }

    /// Something breaks or comes back.
    fn disturb(&mut self, random: &mut SeededRandom) {
        if random.below(3) == 0 {
            let router = random.below(self.alive.len() as u32) as usize;
            self.alive[router] = !self.alive[router];
            self.world.routers[router] = self.engine(router);
            self.world.events[router].clear();
            self.reconnect();
            if self.alive[router] {
                self.start(router);
            }
        } else {
            let number = random.below(self.wires.len() as u32) as usize;
            if !self.wires[number].shared {
                self.wires[number].up = !self.wires[number].up;
            }
            self.reconnect();
        }
    }

    /// Cuts and mends the world's wires as they are to be.
    fn reconnect(&mut self) {
        let (mut cables, mut lans) = (0, 0);
        for (number, wire) in self.wires.iter().enumerate() {
            if wire.shared {
                let live = wire.ends.iter().enumerate().filter(|(_, end)| self.alive[end.0]);
                let ends =
                    live.map(|(place, end)| (end.0, Self::index(number), Self::address(number, place)));
                self.world.lans[lans].ends = ends.collect();
                lans += 1;
            } else {
                let live = wire.ends.iter().all(|end| self.alive[end.0]);
                self.world.cables[cables].cut = !(live && wire.up);
                cables += 1;
            }
        }
    }

    // From here on the model.

    fn attached(&self, router: usize) -> BTreeSet<AreaId> {
        let wires = self.wires.iter().filter(|wire| wire.ends.iter().any(|end| end.0 == router));
        wires.map(|wire| wire.area).chain([self.homes[router]]).collect()
    }

    fn is_border(&self, router: usize) -> bool {
        let attached = self.attached(router);
        attached.len() > 1 && attached.contains(&BACKBONE)
    }

    /// Links of an area that carry packets: from, to, cost.
    fn edges(&self, area: AreaId) -> Vec<(usize, usize, u32)> {
        let mut edges = Vec::new();
        for wire in self.wires.iter().filter(|wire| wire.area == area && (wire.shared || wire.up)) {
            for (from, cost) in &wire.ends {
                for (to, _) in &wire.ends {
                    if from != to && self.alive[*from] && self.alive[*to] {
                        edges.push((*from, *to, u32::from(*cost)));
                    }
                }
            }
        }
        edges
    }

    /// Distances inside an area, by relaxing every link again and again.
    fn distances(&self, area: AreaId) -> Vec<Vec<u32>> {
        let (count, edges) = (self.alive.len(), self.edges(area));
        let from = |router: usize| {
            let mut distance = vec![FAR; count];
            if self.alive[router] && self.attached(router).contains(&area) {
                distance[router] = 0;
            }
            loop {
                let before = distance.clone();
                for (a, b, cost) in &edges {
                    distance[*b] = distance[*b].min(distance[*a] + cost);
                }
                if distance == before {
                    return distance;
                }
            }
        };
        (0..count).map(from).collect()
    }

    /// Every network inside: its area, who is on it at what cost.
    fn networks(&self) -> BTreeMap<Ipv4Addr, (AreaId, Vec<(usize, u32)>)> {
        let mut networks = BTreeMap::new();
        for router in (0..self.alive.len()).filter(|router| self.alive[*router]) {
            networks
                .insert(Ipv4Addr::new(10, router as u8 + 1, 0, 0), (self.homes[router], vec![(router, 10)]));
        }
        for (number, wire) in self.wires.iter().enumerate() {
            let live = wire.ends.iter().filter(|end| self.alive[end.0]);
            let ends: Vec<(usize, u32)> = live.map(|(router, cost)| (*router, u32::from(*cost))).collect();
            let [a, b, c, _] = Self::address(number, 0).octets();
            networks.insert(Ipv4Addr::new(a, b, c, 0), (wire.area, ends));
        }
        networks
    }

    /// Cost from every router to a set of advertisers in one area.
    fn costs(&self, all: &BTreeMap<AreaId, Vec<Vec<u32>>>, home: AreaId, ends: &[(usize, u32)]) -> Vec<u32> {
        let count = self.alive.len();
        let intra = |router: usize| {
            let distance = &all[&home][router];
            ends.iter().map(|(end, cost)| distance[*end] + cost).min().unwrap_or(FAR)
        };
        let inside: Vec<u32> = (0..count).map(intra).collect();
        let border: Vec<bool> =
            (0..count).map(|router| self.is_border(router) && self.alive[router]).collect();
        let live = |router: usize| self.edges(BACKBONE).iter().any(|(from, ..)| *from == router);
        // Over the backbone to a border router of the area.
        let over_backbone = |router: usize| {
            let ends = (0..count).filter(|end| *end != router && border[*end] && home != BACKBONE);
            ends.map(|end| all[&BACKBONE][router][end] + inside[end]).min().unwrap_or(FAR)
        };
        let summary = |router: usize, into: AreaId| match () {
            () if inside[router] < FAR => {
                if into == home {
                    FAR
                } else {
                    inside[router]
                }
            }
            () if into != BACKBONE && live(router) => over_backbone(router),
            () => FAR,
        };
        let best = |router: usize| {
            if inside[router] < FAR {
                return inside[router];
            }
            if border[router] && live(router) {
                return over_backbone(router);
            }
            let through = |area: &AreaId| {
                let ends = (0..count).filter(|end| *end != router && border[*end]);
                ends.map(|end| all[area][router][end].saturating_add(summary(end, *area)))
                    .min()
                    .unwrap_or(FAR)
            };
            self.attached(router).iter().map(through).min().unwrap_or(FAR)
        };
        (0..count).map(best).collect()
    }

    /// What is different from the model, in words.
    fn differences(&self) -> Vec<String> {
        let mut areas: BTreeSet<AreaId> = self.wires.iter().map(|wire| wire.area).collect();
        areas.extend(self.homes.iter().copied());
        areas.insert(BACKBONE);
        let all: BTreeMap<AreaId, Vec<Vec<u32>>> =
            areas.iter().map(|area| (*area, self.distances(*area))).collect();
        let mut differences = Vec::new();
        let live = || (0..self.alive.len()).filter(|router| self.alive[*router]);
        let mut known: BTreeSet<Ipv4Addr> = BTreeSet::new();
        for (network, (home, ends)) in self.networks() {
            known.insert(network);
            let costs = self.costs(&all, home, &ends);
            for router in live() {
                let found = self.world.routers[router].route(network, 24).map(|route| route.cost);
                let expected = Some(costs[router]).filter(|cost| *cost < FAR);
                if found != expected {
                    differences.push(format!("router {router}: {network} costs {found:?}, not {expected:?}"));
                } else if expected.is_some() && !self.arrives(router, network, &ends) {
                    differences.push(format!("router {router}: packets to {network} do not arrive"));
                }
            }
        }
        for boundary in self.boundaries.iter().filter(|boundary| self.alive[**boundary]) {
            let network = Ipv4Addr::new(192, 168, *boundary as u8, 0);
            known.insert(network);
            for router in live().filter(|router| router != boundary) {
                let found = self.world.routers[router].route(network, 24);
                let reachable = self
                    .attached(*boundary)
                    .iter()
                    .any(|home| self.costs(&all, *home, &[(*boundary, 0)])[router] < FAR);
                if found.is_some() != reachable {
                    differences.push(format!(
                        "router {router}: {network} outside is {found:?}, reachable {reachable}"
                    ));
                } else if reachable && !self.arrives(router, network, &[(*boundary, 0)]) {
                    differences.push(format!("router {router}: packets to {network} outside do not arrive"));
                }
            }
        }
        for router in live() {
            for route in self.world.routers[router].routes().filter(|route| !known.contains(&route.network)) {
                differences.push(format!("router {router}: {} is nowhere", route.network));
            }
        }
        for area in areas {
            let distance = &all[&area];
            for (a, b) in live().flat_map(|a| live().map(move |b| (a, b))).filter(|(a, b)| a < b) {
                if distance[a][b] < FAR && self.lsdb(a, area) != self.lsdb(b, area) {
                    let (left, right) = (self.lsdb(a, area), self.lsdb(b, area));
                    let only: Vec<_> = left
                        .iter()
                        .filter(|(key, state)| right.get(key) != Some(state))
                        .map(|(key, state)| format!("{a}: {key:?} {state:?}"))
                        .chain(
                            right
                                .iter()
                                .filter(|(key, state)| left.get(key) != Some(state))
                                .map(|(key, state)| format!("{b}: {key:?} {state:?}")),
                        )
                        .collect();
                    differences.push(format!("databases for area {area} are not the same: {only:#?}"));
                }
            }
        }
        differences
    }

    fn lsdb(&self, router: usize, area: AreaId) -> BTreeMap<coati_wire::ospf::LsaKey, (i32, u16)> {
        let engine = &self.world.routers[router];
        let all = [Scope::Area(area), Scope::As].into_iter().filter_map(|scope| engine.lsdb(scope));
        let entry = |(key, entry): (&coati_wire::ospf::LsaKey, &crate::lsdb::Entry)| {
            (*key, (entry.instance().sequence, entry.instance().checksum))
        };
        all.flat_map(|lsdb| lsdb.iter().map(entry)).collect()
    }

    /// Follows all next hops: whether every way ends at one of these, without going round.
    fn arrives(&self, from: usize, network: Ipv4Addr, ends: &[(usize, u32)]) -> bool {
        let mut waiting = vec![(from, 0)];
        let mut seen = BTreeSet::new();
        while let Some((router, steps)) = waiting.pop() {
            if ends.iter().any(|(end, _)| *end == router) || !seen.insert(router) {
                continue;
            }
            let Some(route) = self.world.routers[router].route(network, 24) else { return false };
            for hop in &*route.next_hops {
                let Some(via) = hop.via else { return false };
                let wire = (hop.interface - 1000) as usize;
                let place = (0..self.wires[wire].ends.len()).find(|place| Self::address(wire, *place) == via);
                let Some(place) = place else { return false };
                if steps > self.alive.len() {
                    return false;
                }
                waiting.push((self.wires[wire].ends[place].0, steps + 1));
            }
        }
        true
    }
}

fn run(seed: u64, largest: u32, disturbances: u32) {
    let mut network = Network::new(seed, largest);
    let mut random = SeededRandom::new(seed ^ 0x5eed);
    network.world.run(QUIET);
    for round in 0..=disturbances {
        let differences = network.differences();
        assert!(
            differences.is_empty(),
            "seed {seed}, {} routers, round {round}: {:#?}",
            network.alive.len(),
            &differences[..differences.len().min(8)]
        );
        for _ in 0..=random.below(3) {
            network.disturb(&mut random);
            network.world.run(Duration::from_millis(u64::from(random.below(5000))));
        }
        network.world.run(QUIET);
    }
}

#[test]
fn some_networks() {
    for seed in 0..24 {
        run(seed, 14, 3);
    }
}

#[test]
#[ignore = "minutes; see above"]
fn a_thousand_networks() {
    let from: u64 = std::env::var("COATI_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    for seed in from..from + 1000 {
        run(seed, 60, 3);
    }
}
