//! Several engines with links between them that delay, lose, reorder and repeat, in virtual time.

mod adjacency;
mod areas;
mod attacks;
mod authentication;
mod broadcast;
mod damping;
mod database;
mod election;
mod hostile;
mod memory;
mod model;
mod reconfigure;
mod restart;
mod scale;
mod views;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coati_crypto::{RandomSource, SeededRandom};

use crate::*;

/// A packet under way: arrival, number, receiver, its interface, source address, bytes.
type Flying = (Instant, u64, usize, u32, Way, Vec<u8>);
/// Source, destination and TTL of a packet.
type Way = (Ipv4Addr, Ipv4Addr, u8);

/// Next hops by destination.
type KernelTable = BTreeMap<(Ipv4Addr, u8), Arc<[NextHop]>>;

struct Cable {
    ends: [(usize, u32, Ipv4Addr); 2],
    cut: bool,
    /// Longer packets are swallowed, in bytes with the IP header.
    carries: usize,
    /// From which ends multicast gets through.
    multicast: [bool; 2],
}

/// A network that everybody on it hears: router, interface, address of each.
struct Lan {
    ends: Vec<(usize, u32, Ipv4Addr)>,
    multicast: bool,
}

struct World {
    now: Instant,
    start: Instant,
    routers: Vec<Engine>,
    events: Vec<Vec<Event>>,
    /// What each has in its kernel's table when it does as it is told.
    kernels: Vec<KernelTable>,
    cables: Vec<Cable>,
    lans: Vec<Lan>,
    random: SeededRandom,
    loss: u32,
    flying: BinaryHeap<Reverse<Flying>>,
    number: u64,
    packets: usize,
}

fn engine(index: usize, seed: u64) -> Engine {
    let router_id = Ipv4Addr::new(10, 255, 0, index as u8 + 1);
    Engine::new(Config::new(router_id), Box::new(SeededRandom::new(seed * 100 + index as u64)))
}

impl World {
    /// Routers in a row, each with a LAN 10.N.0.0/24 behind it.
    fn row(count: usize, seed: u64) -> Self {
        let now = Instant::now();
        let mut world = Self {
            now,
            start: now,
            routers: (0..count).map(|index| engine(index, seed)).collect(),
            events: vec![Vec::new(); count],
            kernels: Vec::new(),
            cables: Vec::new(),
            lans: Vec::new(),
            random: SeededRandom::new(seed),
            loss: 0,
            flying: BinaryHeap::new(),
            number: 0,
            packets: 0,
        };
        for index in 0..count {
            world.lan(index);
        }
        for index in 1..count {
            world.cable(index - 1, index, |_| {});
        }
        world
    }

    fn lan(&mut self, router: usize) {
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
        let config = InterfaceConfig { passive: true, ..InterfaceConfig::default() };
        self.routers[router].interface_up(self.now, link, config);
    }

    /// A tunnel between two routers; `change` is for the end at `b`.
    fn cable(&mut self, a: usize, b: usize, change: impl Fn(&mut (Link, InterfaceConfig))) {
        self.lay(a, b, |end, both| {
            if end == 1 {
                change(both)
            }
        });
    }

    fn cable_in(&mut self, a: usize, b: usize, area: AreaId) {
        self.lay(a, b, |_, both| both.1.area = area);
    }

    fn lay(&mut self, a: usize, b: usize, change: impl Fn(usize, &mut (Link, InterfaceConfig))) {
        let number = self.cables.len() as u8;
        let index = 10 + u32::from(number);
        let addresses = [Ipv4Addr::new(203, 0, number, 1), Ipv4Addr::new(203, 0, number, 2)];
        for (end, router) in [a, b].into_iter().enumerate() {
            let link = Link {
                index,
                name: format!("gre{number}"),
                address: addresses[end],
                prefix_len: 30,
                peer: Some(addresses[1 - end]),
                mtu: 1400,
                speed: None,
                point_to_point: true,
                loopback: false,
            };
            let mut both = (link, InterfaceConfig::default());
            change(end, &mut both);
            self.routers[router].interface_up(self.now, both.0, both.1);
        }
        self.cables.push(Cable {
            ends: [(a, index, addresses[0]), (b, index, addresses[1])],
            cut: false,
            carries: 1400,
            multicast: [true; 2],
        });
        self.settle();
    }

    /// Only what has moved; then it has to be as if it were written anew.
    fn change_kernel(&mut self, router: usize, moved: &[(Ipv4Addr, u8)]) {
        let engine = &self.routers[router];
        let kernel = &mut self.kernels[router];
        for (network, prefix_len) in moved {
            match engine.route(*network, *prefix_len) {
                Some(route) => kernel.insert((*network, *prefix_len), route.next_hops.clone()),
                None => kernel.remove(&(*network, *prefix_len)),
            };
        }
        if engine.events.is_empty() {
            let all =
                engine.routes().map(|route| ((route.network, route.prefix_len), route.next_hops.clone()));
            assert_eq!(*kernel, all.collect(), "{} told of {moved:?}", engine.router_id());
        }
    }

    fn settle(&mut self) {
        self.kernels.resize_with(self.routers.len(), BTreeMap::new);
        for router in 0..self.routers.len() {
            if self.routers[router].routes().next().is_none() && self.routers[router].events.is_empty() {
                // It is another one.
                self.kernels[router].clear();
            }
            while let Some(event) = self.routers[router].poll_event() {
                if let Event::RoutesChanged(moved) = &event {
                    self.change_kernel(router, moved);
                }
                self.events[router].push(event);
            }
            while let Some(transmit) = self.routers[router].poll_transmit() {
                self.carry(router, transmit);
            }
        }
    }

    /// Routers without links.
    fn apart(count: usize, seed: u64) -> Self {
        let mut world = Self::row(0, seed);
        for index in 0..count {
            world.add(engine(index, seed));
        }
        world
    }

    fn add(&mut self, engine: Engine) -> usize {
        self.routers.push(engine);
        self.events.push(Vec::new());
        self.routers.len() - 1
    }

    /// A LAN 172.16.N.0/24 with these routers; each has the address of its number plus one.
    fn shared(&mut self, routers: &[usize], change: impl Fn(usize, &mut InterfaceConfig)) -> usize {
        let number = self.lans.len();
        let config = |router: usize| {
            let mut config = InterfaceConfig::default();
            change(router, &mut config);
            config
        };
        let nonbroadcast = config(routers[0]).network == Some(NetworkType::NonBroadcast);
        self.lans.push(Lan { ends: Vec::new(), multicast: !nonbroadcast });
        for router in routers {
            self.join(number, *router, config(*router));
        }
        number
    }

    fn join(&mut self, number: usize, router: usize, config: InterfaceConfig) {
        let address = Ipv4Addr::new(172, 16, number as u8, router as u8 + 1);
        let link = Link {
            index: 100 + number as u32,
            name: format!("eth{number}"),
            address,
            prefix_len: 24,
            peer: None,
            mtu: 1500,
            speed: None,
            point_to_point: false,
            loopback: false,
        };
        self.lans[number].ends.push((router, link.index, address));
        let now = self.now;
        self.routers[router].interface_up(now, link, config);
        self.settle();
    }

    fn leave(&mut self, number: usize, router: usize) {
        self.lans[number].ends.retain(|end| end.0 != router);
    }

    fn carry(&mut self, from: usize, transmit: Transmit) {
        self.packets += 1;
        let there = |cable: &&Cable| cable.ends.iter().any(|e| e.0 == from && e.1 == transmit.interface);
        if let Some(cable) = self.cables.iter().find(there) {
            assert!(transmit.payload.len() <= 1400 - 20, "{} bytes", transmit.payload.len());
            let (me, other) = if cable.ends[0].0 == from { (0, 1) } else { (1, 0) };
            let (source, to) = (cable.ends[me].2, cable.ends[other]);
            let direct =
                transmit.destination.is_multicast() || transmit.destination == to.2 || transmit.ttl == 1;
            let swallowed = transmit.destination.is_multicast() && !cable.multicast[me];
            if !cable.cut && !swallowed && transmit.payload.len() + 20 <= cable.carries {
                match direct {
                    true => self.fly(to, (source, transmit.destination, transmit.ttl), &transmit.payload),
                    false => self.route_packet(source, &transmit),
                }
            }
            return;
        }
        let on = |lan: &&Lan| lan.ends.iter().any(|end| end.0 == from && end.1 == transmit.interface);
        let Some(lan) = self.lans.iter().find(on) else { return };
        assert!(transmit.payload.len() <= 1500 - 20, "{} bytes", transmit.payload.len());
        let source = lan.ends.iter().find(|end| end.0 == from).unwrap().2;
        let destination = transmit.destination;
        assert!(lan.multicast || !destination.is_multicast());
        let others: Vec<_> = lan.ends.iter().filter(|end| end.0 != from).copied().collect();
        let mut taken = false;
        for end in others {
            let listens = match destination.octets() {
                [224, 0, 0, 5] => true,
                [224, 0, 0, 6] => self.routers[end.0].designated_on().any(|index| index == end.1),
                _ => end.2 == destination,
            };
            if listens {
                taken = true;
                self.fly(end, (source, transmit.destination, transmit.ttl), &transmit.payload);
            }
        }
        if !taken && transmit.ttl > 1 {
            self.route_packet(source, &transmit);
        }
    }

    /// A packet that crosses routers, as those of virtual links do: to whoever has the address.
    fn route_packet(&mut self, source: Ipv4Addr, transmit: &Transmit) {
        let cables = self.cables.iter().filter(|cable| !cable.cut).flat_map(|cable| cable.ends.iter());
        let all = cables.chain(self.lans.iter().flat_map(|lan| lan.ends.iter()));
        let end = all.copied().find(|end| end.2 == transmit.destination);
        if let Some(end) = end {
            self.fly(end, (source, transmit.destination, transmit.ttl), &transmit.payload);
        }
    }

    fn fly(&mut self, to: (usize, u32, Ipv4Addr), way: Way, payload: &[u8]) {
        let copies = if self.random.below(100) < 2 { 2 } else { 1 };
        for _ in 0..copies {
            if self.random.below(100) < self.loss {
                continue;
            }
            self.number += 1;
            let delay = Duration::from_millis(5 + u64::from(self.random.below(10)));
            self.flying.push(Reverse((self.now + delay, self.number, to.0, to.1, way, payload.to_vec())));
        }
    }

    fn step(&mut self, end: Instant) -> bool {
        let timers = self.routers.iter().filter_map(Engine::next_timeout);
        let arrival = self.flying.peek().map(|Reverse((at, ..))| *at);
        let Some(next) = timers.chain(arrival).min().filter(|next| *next <= end) else {
            self.now = end;
            return false;
        };
        self.now = self.now.max(next);
        while let Some(Reverse((at, ..))) = self.flying.peek()
            && *at <= self.now
        {
            let Reverse((_, _, to, index, (source, destination, ttl), bytes)) = self.flying.pop().unwrap();
            self.routers[to]
                .handle_input(self.now, &Input { destination, ttl, ..Input::to_all(index, source, &bytes) });
        }
        for router in &mut self.routers {
            if router.next_timeout().is_some_and(|due| due <= self.now) {
                router.handle_timeout(self.now);
            }
        }
        self.settle();
        true
    }

    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.step(end) {}
    }

    fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + limit;
        loop {
            if done(self) {
                return true;
            }
            if !self.step(end) {
                return done(self);
            }
        }
    }

    fn state(&self, router: usize, index: u32) -> State {
        let interface = &self.routers[router].interfaces[&index];
        interface.neighbours.values().next().map_or(State::Down, |neighbour| neighbour.state)
    }

    /// Everybody has a route to everybody's LAN.
    fn converged(&self) -> bool {
        (0..self.routers.len())
            .all(|router| (0..self.routers.len()).all(|other| self.route(router, other).is_some()))
    }

    fn route(&self, router: usize, lan: usize) -> Option<&Route> {
        let network = Ipv4Addr::new(10, lan as u8 + 1, 0, 0);
        self.routers[router].route(network, 24)
    }

    fn problems(&self, router: usize) -> Vec<&str> {
        let problems = self.events[router].iter().filter_map(|event| match event {
            Event::Problem(text) => Some(text.as_str()),
            _ => None,
        });
        problems.collect()
    }

    /// For the message of a failed assertion.
    fn story(&self) -> String {
        let router = |index: usize| format!("{:#?}\n{:#?}\n", self.events[index], self.routers[index].areas);
        let routers: String = (0..self.routers.len()).map(router).collect();
        format!("after {:?}\n{routers}", self.now - self.start)
    }
}
