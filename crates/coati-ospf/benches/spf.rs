//! Shortest paths on grids of 1 000, 10 000 and 50 000 routers: four point-to-point links and one stub network each.
//!
//! Both are what an engine does in a network of that size when one LSA changes: it takes it from its neighbour, computes,
//! and compares. `full`: a link next to the root, which
//! paths to many routers lead over, gets another metric. `changed leaf`: a stub network does.

#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use coati_crypto::SeededRandom;
use coati_ospf::{Config, Engine, Input, InterfaceConfig, Link, Route, State};
use coati_wire::ospf::{AUTH_NULL, Header, Lsa, LsaBody, LsaKey, Packet, RouterLink, RouterLsa, lsa_kind};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

const ROOT: Ipv4Addr = Ipv4Addr::new(10, 255, 255, 1);
const OUR_ADDRESS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const THEIR_ADDRESS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
const INTERFACE: u32 = 7;
/// Ages of the grid's LSAs do not grow, however long the measurement is.
const DO_NOT_AGE: u16 = 0x8000;

/// A grid of so many columns and rows. The root is behind the first router.
#[derive(Clone, Copy)]
struct Grid {
    columns: usize,
    rows: usize,
}

impl Grid {
    fn len(self) -> usize {
        self.columns * self.rows
    }

    fn id(self, router: usize) -> Ipv4Addr {
        Ipv4Addr::from(0x0a00_0001 + router as u32)
    }

    /// On a torus, so that each has four.
    fn neighbours(self, router: usize) -> [usize; 4] {
        let (x, y) = (router % self.columns, router / self.columns);
        let at = |x: usize, y: usize| y % self.rows * self.columns + x % self.columns;
        [at(x + 1, y), at(x + self.columns - 1, y), at(x, y + 1), at(x, y + self.rows - 1)]
    }

    /// Metrics of its first link, beyond the usual, and of its stub network.
    fn lsa(self, router: usize, sequence: i32, [link_metric, stub_metric]: [u16; 2]) -> Lsa {
        let link = |(port, to): (usize, usize)| RouterLink {
            id: self.id(to),
            data: Ipv4Addr::from(0xc000_0000 + (router * 4 + port) as u32),
            kind: RouterLink::POINT_TO_POINT,
            metric: 10 + (router * 7 + to * 7) as u16 % 5,
        };
        let mut links: Vec<RouterLink> = self.neighbours(router).into_iter().enumerate().map(link).collect();
        links[0].metric += link_metric;
        links.push(RouterLink {
            id: Ipv4Addr::from(0x1400_0000 + ((router as u32) << 8)),
            data: Ipv4Addr::new(255, 255, 255, 0),
            kind: RouterLink::STUB,
            metric: stub_metric,
        });
        if router == 0 {
            let (id, data) = (ROOT, THEIR_ADDRESS);
            links.push(RouterLink { id, data, kind: RouterLink::POINT_TO_POINT, metric: 10 });
        }
        router_lsa(self.id(router), sequence, links)
    }
}

fn router_lsa(id: Ipv4Addr, sequence: i32, links: Vec<RouterLink>) -> Lsa {
    let key = LsaKey { kind: lsa_kind::ROUTER, id, advertising_router: id };
    let lsa = Lsa::new(key, 2, sequence, LsaBody::Router(RouterLsa { flags: 0, links }));
    Lsa::parse(&lsa.emit_aged(DO_NOT_AGE)).unwrap()
}

/// An engine that is fully adjacent to the grid's first router, and has its database.
struct Network {
    grid: Grid,
    now: Instant,
    engine: Engine,
    hello: Vec<u8>,
    sequence: i32,
}

impl Network {
    fn new(grid: Grid) -> Self {
        let now = Instant::now();
        let speaker =
            |router_id, seed| Engine::new(Config::new(router_id), Box::new(SeededRandom::new(seed)));
        let mut pair = [speaker(ROOT, 1), speaker(grid.id(0), 2)];
        for (engine, (address, peer)) in
            pair.iter_mut().zip([(OUR_ADDRESS, THEIR_ADDRESS), (THEIR_ADDRESS, OUR_ADDRESS)])
        {
            let link = Link {
                index: INTERFACE,
                name: "gre0".into(),
                address,
                prefix_len: 30,
                peer: Some(peer),
                mtu: 1400,
                speed: None,
                point_to_point: true,
                loopback: false,
            };
            engine.interface_up(now, link, InterfaceConfig::default());
        }
        let mut network = Self { grid, now, engine: speaker(ROOT, 0), hello: Vec::new(), sequence: 1 };
        let is_full = |engine: &Engine| engine.neighbours().any(|neighbour| neighbour.state == State::Full);
        while !pair.iter().all(is_full) {
            network.now += Duration::from_millis(10);
            for (from, to, source) in [(0, 1, OUR_ADDRESS), (1, 0, THEIR_ADDRESS)] {
                pair[from].handle_timeout(network.now);
                while let Some(transmit) = pair[from].poll_transmit() {
                    pair[to].handle_input(network.now, &Input::to_all(INTERFACE, source, &transmit.payload));
                    if from == 1 && matches!(Packet::parse(&transmit.payload), Ok((_, Packet::Hello(_)))) {
                        network.hello = transmit.payload;
                    }
                }
            }
        }
        [network.engine, _] = pair;
        let lsas: Vec<Lsa> = (0..grid.len()).map(|router| grid.lsa(router, 1, [0, 10])).collect();
        lsas.chunks(10).for_each(|chunk| network.flood(chunk.to_vec()));
        network.compute();
        let routes = network.engine.routes().count();
        assert!(routes >= grid.len(), "{routes} routes");
        network
    }

    /// The neighbour sends these.
    fn flood(&mut self, lsas: Vec<Lsa>) {
        let area = Ipv4Addr::UNSPECIFIED;
        let header = Header { router_id: self.grid.id(0), area, auth_kind: AUTH_NULL, auth: [0; 8] };
        let payload = Packet::LinkStateUpdate { lsas, bad: Vec::new() }.emit(&header);
        self.engine.handle_input(self.now, &Input::to_all(INTERFACE, THEIR_ADDRESS, &payload));
    }

    /// Ten seconds later, when paths may be computed at once.
    fn compute(&mut self) {
        self.now += Duration::from_secs(10);
        self.engine.handle_input(self.now, &Input::to_all(INTERFACE, THEIR_ADDRESS, &self.hello));
        self.engine.handle_timeout(self.now);
        while self.engine.poll_transmit().is_some() || self.engine.poll_event().is_some() {}
    }

    /// The time from the arrival of another LSA of this router to new routes.
    fn change(&mut self, router: usize, metrics: impl Fn(u16) -> [u16; 2]) -> Duration {
        self.try_change(router, metrics).expect("the change did not arrive")
    }

    /// The same; nothing when no route is another.
    fn try_change(&mut self, router: usize, metrics: impl Fn(u16) -> [u16; 2]) -> Option<Duration> {
        self.compute();
        self.sequence += 1;
        let lsa = self.grid.lsa(router, self.sequence, metrics((self.sequence % 2) as u16));
        let before: Vec<Route> = self.engine.routes().cloned().collect();
        let began = Instant::now();
        self.flood(vec![lsa]);
        self.engine.handle_timeout(self.now);
        let took = began.elapsed();
        (!self.engine.routes().eq(&before)).then_some(took)
    }
}

fn grids(criterion: &mut Criterion) {
    let mut bench = criterion.benchmark_group("spf");
    bench.sample_size(10);
    for grid in [(40, 25), (100, 100), (250, 200)].map(|(columns, rows)| Grid { columns, rows }) {
        let mut network = Network::new(grid);
        bench.bench_function(BenchmarkId::new("full", grid.len()), |b| {
            b.iter_custom(|count| (0..count).map(|_| network.change(0, |turn| [1 + 39 * turn, 10])).sum());
        });
        let metrics = |turn: u16| [30 * turn, 10];
        let matters = |router: &usize| {
            // The first of them may find the metric as it is.
            (0..3).filter(|_| network.try_change(*router, metrics).is_some()).count() > 1
        };
        let router = (grid.len() / 2..grid.len()).find(matters).expect("some link is in a shortest path");
        bench.bench_function(BenchmarkId::new("changed link", grid.len()), |b| {
            b.iter_custom(|count| (0..count).map(|_| network.change(router, metrics)).sum());
        });
        bench.bench_function(BenchmarkId::new("changed leaf", grid.len()), |b| {
            b.iter_custom(|count| {
                (0..count).map(|_| network.change(grid.len() / 2, |turn| [0, 20 + turn])).sum()
            });
        });
    }
}

criterion_group!(benches, grids);
criterion_main!(benches);
