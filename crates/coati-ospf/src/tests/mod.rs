//! Several engines with links between them that delay, lose, reorder and repeat, in virtual time.

mod adjacency;
mod database;
mod hostile;
mod views;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use coati_crypto::{RandomSource, SeededRandom};

use crate::*;

/// A packet under way: arrival, number, receiver, its interface, source address, bytes.
type Flying = (Instant, u64, usize, u32, Ipv4Addr, Vec<u8>);

struct Cable {
    ends: [(usize, u32, Ipv4Addr); 2],
    cut: bool,
}

struct World {
    now: Instant,
    start: Instant,
    routers: Vec<Engine>,
    events: Vec<Vec<Event>>,
    cables: Vec<Cable>,
    random: SeededRandom,
    loss: u32,
    flying: BinaryHeap<Reverse<Flying>>,
    number: u64,
    packets: usize,
}

fn engine(index: usize, seed: u64) -> Engine {
    let router_id = Ipv4Addr::new(10, 255, 0, index as u8 + 1);
    let config = Config { router_id, deviations: Deviations::default() };
    Engine::new(config, Box::new(SeededRandom::new(seed * 100 + index as u64)))
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
            cables: Vec::new(),
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
            point_to_point: false,
        };
        let config = InterfaceConfig { passive: true, ..InterfaceConfig::default() };
        self.routers[router].interface_up(self.now, link, config);
    }

    /// A tunnel between two routers; `change` is for the end at `b`.
    fn cable(&mut self, a: usize, b: usize, change: impl Fn(&mut (Link, InterfaceConfig))) {
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
                point_to_point: true,
            };
            let mut both = (link, InterfaceConfig::default());
            if end == 1 {
                change(&mut both);
            }
            self.routers[router].interface_up(self.now, both.0, both.1);
        }
        self.cables.push(Cable { ends: [(a, index, addresses[0]), (b, index, addresses[1])], cut: false });
        self.settle();
    }

    fn settle(&mut self) {
        for router in 0..self.routers.len() {
            while let Some(event) = self.routers[router].poll_event() {
                self.events[router].push(event);
            }
            while let Some(transmit) = self.routers[router].poll_transmit() {
                self.carry(router, transmit);
            }
        }
    }

    fn carry(&mut self, from: usize, transmit: Transmit) {
        self.packets += 1;
        assert!(transmit.payload.len() <= 1400 - 20, "{} bytes", transmit.payload.len());
        let there = |cable: &&Cable| cable.ends.iter().any(|e| e.0 == from && e.1 == transmit.interface);
        let Some(cable) = self.cables.iter().find(there) else { panic!("sent on a passive interface") };
        let (me, other) = if cable.ends[0].0 == from { (0, 1) } else { (1, 0) };
        let (source, to) = (cable.ends[me].2, cable.ends[other]);
        let cut = cable.cut;
        let copies = if self.random.below(100) < 2 { 2 } else { 1 };
        for _ in 0..copies {
            if cut || self.random.below(100) < self.loss {
                continue;
            }
            self.number += 1;
            let delay = Duration::from_millis(5 + u64::from(self.random.below(10)));
            let flying = (self.now + delay, self.number, to.0, to.1, source, transmit.payload.clone());
            self.flying.push(Reverse(flying));
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
            let Reverse((_, _, to, index, source, bytes)) = self.flying.pop().unwrap();
            self.routers[to].handle_input(self.now, index, source, &bytes);
        }
        for router in &mut self.routers {
            router.handle_timeout(self.now);
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
        interface.neighbour.as_ref().map_or(State::Down, |neighbour| neighbour.state)
    }

    /// Everybody has a route to everybody's LAN.
    fn converged(&self) -> bool {
        (0..self.routers.len())
            .all(|router| (0..self.routers.len()).all(|other| self.route(router, other).is_some()))
    }

    fn route(&self, router: usize, lan: usize) -> Option<&Route> {
        let network = Ipv4Addr::new(10, lan as u8 + 1, 0, 0);
        self.routers[router].routes().iter().find(|route| route.network == network && route.prefix_len == 24)
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
