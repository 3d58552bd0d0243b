//! The internet between the routers, and the clock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use coati_config::site::Site;
use coati_crypto::{RandomSource, SeededRandom};
use coati_router::admin::Milestone;
use coati_router::{ControlEvent, Now};
use coati_wire::ipv4;

use crate::nat::Nat;
use crate::router::Router;

/// The wall clock when a simulation begins, in Unix seconds: 2026-01-01 00:00 UTC.
const EPOCH: u64 = 1_767_225_600;

/// What the internet does to packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conditions {
    /// Lost ones, in percent.
    pub loss: u32,
    /// Those that come twice, in percent.
    pub duplicates: u32,
    /// Shortest and longest delay of one direction. Packets overtake each other within it.
    pub delay: (Duration, Duration),
}

impl Default for Conditions {
    fn default() -> Self {
        Self { loss: 0, duplicates: 0, delay: (Duration::from_millis(10), Duration::from_millis(20)) }
    }
}

/// A packet that was sent: when, and its bytes.
#[derive(Clone, Debug)]
pub struct Record {
    /// Since the beginning.
    pub at: Duration,
    /// All of it, from its IP header on.
    pub bytes: Vec<u8>,
    /// Whether it arrived.
    pub arrived: bool,
}

/// An arrival: when, its number, for whom, bytes.
type Flying = (Instant, u64, usize, Vec<u8>);

/// Routers, the internet between them, and the time.
pub struct World {
    start: Instant,
    now: Instant,
    seed: u64,
    sites: Vec<(String, Site)>,
    routers: Vec<Router>,
    random: SeededRandom,
    /// What happens to packets from now on.
    pub conditions: Conditions,
    /// Nothing arrives while this is set.
    pub cut: bool,
    /// Stands before one of the routers.
    pub nat: Option<Nat>,
    flying: BinaryHeap<Reverse<Flying>>,
    sent: u64,
    records: Vec<Record>,
    /// Time, router, event.
    log: Vec<(Duration, String, String)>,
    reached: Vec<(usize, Milestone, Duration)>,
    restarts: u64,
}

impl World {
    /// Starts a router for each site, all at once.
    pub fn start(seed: u64, sites: Vec<(String, Site)>, conditions: Conditions) -> Self {
        Self::start_behind(seed, sites, conditions, None)
    }

    /// The same with a NAT before one of them.
    pub fn start_behind(
        seed: u64,
        sites: Vec<(String, Site)>,
        conditions: Conditions,
        nat: Option<Nat>,
    ) -> Self {
        let now = Instant::now();
        let mut world = Self {
            start: now,
            now,
            seed,
            sites,
            routers: Vec::new(),
            random: SeededRandom::new(seed),
            conditions,
            cut: false,
            nat,
            flying: BinaryHeap::new(),
            sent: 0,
            records: Vec::new(),
            log: Vec::new(),
            reached: Vec::new(),
            restarts: 0,
        };
        let at = world.time();
        for (index, (name, site)) in world.sites.iter().enumerate() {
            let index = u64::try_from(index).unwrap_or(0);
            world.routers.push(Router::start(name, site, seed.wrapping_mul(64).wrapping_add(index), at));
        }
        world.settle();
        world
    }

    /// The time now.
    pub fn time(&self) -> Now {
        Now { at: self.now, wall: EPOCH + self.elapsed().as_secs() }
    }

    /// Since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// A router, by its place among the sites.
    pub fn router(&mut self, index: usize) -> &mut Router {
        &mut self.routers[index]
    }

    /// A router, to look at.
    pub fn at(&self, index: usize) -> &Router {
        &self.routers[index]
    }

    /// Ends a router without any leave, as SIGKILL does, and starts it anew.
    pub fn kill_and_restart(&mut self, index: usize) {
        self.restarts += 1;
        let (name, site) = &self.sites[index];
        let seed = self.seed.wrapping_add(self.restarts << 32);
        let job_time = self.routers[index].job_time;
        self.routers[index] = Router::start(name, site, seed, self.time());
        self.routers[index].job_time = job_time;
        self.reached.retain(|(router, ..)| *router != index);
        self.log.push((self.elapsed(), self.sites[index].0.clone(), "killed and started again".into()));
        self.settle();
    }

    /// Notes in the log what somebody outside does.
    pub fn remark(&mut self, text: impl Into<String>) {
        self.log.push((self.elapsed(), "*".into(), text.into()));
    }

    /// When a router came this far first, since the beginning.
    pub fn reached(&self, index: usize, milestone: Milestone) -> Option<Duration> {
        self.reached
            .iter()
            .find(|(router, what, _)| *router == index && *what == milestone)
            .map(|found| found.2)
    }

    /// Whether every router has a route from OSPF and every tunnel an SA.
    pub fn is_up(&self) -> bool {
        self.routers.iter().all(|router| {
            let control = router.control();
            !control.kernel_routes().is_empty() && control.plane().is_tunnel_up(0)
        })
    }

    /// What happened, a line each.
    pub fn log(&self) -> impl Iterator<Item = String> {
        self.log.iter().map(|(at, router, text)| format!("{:>12.6} {router}: {text}", at.as_secs_f64()))
    }

    /// Every packet that was sent.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// GRE packets that were sent in clear: never any.
    pub fn clear_packets(&self) -> usize {
        let is_gre = |record: &&Record| {
            ipv4::Packet::new(&record.bytes).is_ok_and(|packet| packet.protocol() == ipv4::protocol::GRE)
        };
        self.records.iter().filter(is_gre).count()
    }

    /// Lets the network live for so long.
    pub fn run(&mut self, duration: Duration) {
        // What was asked of a router since the last step leaves now.
        self.settle();
        let end = self.now + duration;
        while self.step(end) {}
    }

    /// The same until `done`; whether that came within the limit.
    pub fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        self.settle();
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

    /// The next thing that happens; `false` when nothing does until `end`.
    fn step(&mut self, end: Instant) -> bool {
        let timers = self.routers.iter().filter_map(Router::next_timeout);
        let arrival = self.flying.peek().map(|Reverse((at, ..))| *at);
        let Some(next) = timers.chain(arrival).min().filter(|next| *next <= end) else {
            self.now = end;
            return false;
        };
        self.now = self.now.max(next);
        let time = self.time();
        while let Some(Reverse((at, ..))) = self.flying.peek()
            && *at <= self.now
        {
            if let Some(Reverse((_, _, to, bytes))) = self.flying.pop() {
                let bytes = match &mut self.nat {
                    Some(nat) if nat.inside == to => nat.back(self.now, &bytes),
                    _ => Some(bytes),
                };
                if let Some(bytes) = bytes {
                    self.routers[to].receive(time, &bytes);
                }
            }
        }
        for router in &mut self.routers {
            router.handle_timeout(time);
        }
        self.settle();
        true
    }

    fn settle(&mut self) {
        for index in 0..self.routers.len() {
            for event in self.routers[index].take_events() {
                self.note(index, event);
            }
            while let Some(bytes) = self.routers[index].poll_wire() {
                let bytes = match &mut self.nat {
                    Some(nat) if nat.inside == index => nat.out(self.now, &bytes),
                    _ => Some(bytes),
                };
                if let Some(bytes) = bytes {
                    self.carry(bytes);
                }
            }
        }
    }

    fn note(&mut self, index: usize, event: ControlEvent) {
        let at = self.elapsed();
        match event {
            ControlEvent::Reached(what) => {
                if self.reached(index, what).is_none() {
                    self.reached.push((index, what, at));
                    self.log.push((at, self.routers[index].name.clone(), what.name().to_owned()));
                }
            }
            // Keys are in it.
            ControlEvent::Request(_) => {}
            other => self.log.push((at, self.routers[index].name.clone(), format!("{other:?}"))),
        }
    }

    fn carry(&mut self, bytes: Vec<u8>) {
        let destination = ipv4::Packet::new(&bytes).map(|packet| packet.destination());
        let to = destination.ok().and_then(|address| match &self.nat {
            Some(nat) if nat.public == address => Some(nat.inside),
            _ => self.routers.iter().position(|router| router.has(address)),
        });
        let mut arrived = false;
        let copies = if self.random.below(100) < self.conditions.duplicates { 2 } else { 1 };
        for _ in 0..copies {
            let lost = self.cut || self.random.below(100) < self.conditions.loss;
            let (shortest, longest) = self.conditions.delay;
            let spread = u32::try_from(longest.saturating_sub(shortest).as_micros()).unwrap_or(u32::MAX);
            let delay =
                shortest + Duration::from_micros(u64::from(self.random.below(spread.saturating_add(1))));
            if let Some(to) = to.filter(|_| !lost) {
                arrived = true;
                self.sent += 1;
                self.flying.push(Reverse((self.now + delay, self.sent, to, bytes.clone())));
            }
        }
        self.records.push(Record { at: self.elapsed(), bytes, arrived });
    }
}
