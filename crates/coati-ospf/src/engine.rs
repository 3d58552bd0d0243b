//! The engine: its verbs, its clock, and what all chapters share.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use coati_crypto::RandomSource;
use coati_wire::ospf::{AUTH_NULL, Header, Packet};

use crate::config::Config;
use crate::interface::{Interface, Topic};
use crate::lsdb::Lsdb;
use crate::neighbour::State;
use crate::originate::Origination;
use crate::spf::{self, Route};

/// Wait between two computations of paths: at first, and at most (as FRR's `timers throttle spf 0 50 5000`).
const SPF_HOLD: Duration = Duration::from_millis(50);
const SPF_MAX_HOLD: Duration = Duration::from_secs(5);

/// A packet to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Out of this interface.
    pub interface: u32,
    /// To this address, with TTL 1.
    pub destination: Ipv4Addr,
    /// Payload of an IP packet of protocol 89.
    pub payload: Vec<u8>,
}

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A neighbour's machine has moved.
    NeighbourState {
        /// Its router id.
        router_id: Ipv4Addr,
        /// Its address.
        address: Ipv4Addr,
        /// Our interface.
        interface: String,
        /// State before.
        from: State,
        /// State now.
        to: State,
        /// Why.
        why: &'static str,
    },
    /// [`Engine::routes`] are others now.
    RoutesChanged,
    /// Something that an operator has to mend, explained.
    Problem(String),
}

/// A neighbour at a glance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeighbourInfo {
    /// Its router id.
    pub router_id: Ipv4Addr,
    /// Its address.
    pub address: Ipv4Addr,
    /// Our interface.
    pub interface: String,
    /// How far it is.
    pub state: State,
}

/// All of OSPF of one router.
pub struct Engine {
    pub(crate) config: Config,
    pub(crate) random: Box<dyn RandomSource>,
    pub(crate) interfaces: BTreeMap<u32, Interface>,
    pub(crate) areas: BTreeMap<Ipv4Addr, Lsdb>,
    pub(crate) originations: BTreeMap<Ipv4Addr, Origination>,
    pub(crate) routes: Vec<Route>,
    pub(crate) routers: Vec<spf::RouterRoute>,
    pub(crate) spf: SpfClock,
    pub(crate) events: VecDeque<Event>,
    transmits: VecDeque<Transmit>,
    dropped: BTreeMap<&'static str, u64>,
}

/// When paths are computed.
#[derive(Debug)]
pub(crate) struct SpfClock {
    due: Option<Instant>,
    pub(crate) last: Option<Instant>,
    hold: Duration,
    pub(crate) runs: u64,
}

impl Engine {
    /// An engine without interfaces.
    pub fn new(config: Config, random: Box<dyn RandomSource>) -> Self {
        Self {
            config,
            random,
            interfaces: BTreeMap::new(),
            areas: BTreeMap::new(),
            originations: BTreeMap::new(),
            routes: Vec::new(),
            routers: Vec::new(),
            spf: SpfClock { due: None, last: None, hold: SPF_HOLD, runs: 0 },
            events: VecDeque::new(),
            transmits: VecDeque::new(),
            dropped: BTreeMap::new(),
        }
    }

    /// Takes the payload of an IP packet of protocol 89 (section 8.2).
    pub fn handle_input(&mut self, now: Instant, index: u32, source: Ipv4Addr, payload: &[u8]) {
        let (header, packet) = match Packet::parse(payload) {
            Ok(parsed) => parsed,
            Err(_) => return self.count_drop("malformed packet"),
        };
        let Some(interface) = self.interfaces.get(&index).filter(|interface| interface.is_active()) else {
            return self.count_drop("no OSPF on this interface");
        };
        let name = &interface.link.name;
        if header.area != interface.config.area {
            let problem = format!(
                "{name}: {source} is in area {}, we are in area {}: write the same area in `network` or \
                 `ip ospf area` on both sides",
                header.area, interface.config.area
            );
            return self.problem(index, Topic::Hello, problem);
        }
        if header.auth_kind != AUTH_NULL {
            let problem = format!(
                "{name}: {source} authenticates its packets (type {}), which is not supported yet: take `ip ospf \
                 authentication` away there",
                header.auth_kind
            );
            return self.problem(index, Topic::Hello, problem);
        }
        if header.router_id == self.config.router_id {
            let problem = format!(
                "{name}: {source} has our own router id {}: give each router one of its own with `ospf router-id`",
                header.router_id
            );
            return self.problem(index, Topic::Hello, problem);
        }
        if let Packet::Hello(hello) = &packet {
            self.receive_hello(now, index, source, &header, hello);
        } else if self.neighbour_mut(index).is_some_and(|n| n.router_id == header.router_id) {
            match packet {
                Packet::Hello(_) => {}
                Packet::DatabaseDescription(d) => self.receive_description(now, index, header.router_id, &d),
                Packet::LinkStateRequest(keys) => self.receive_requests(now, index, &keys),
                Packet::LinkStateUpdate(list) => self.receive_updates(now, index, list),
                Packet::LinkStateAck(list) => self.receive_acks(now, index, &list),
            }
        } else {
            return self.count_drop("not from a neighbour");
        }
        self.work(now);
    }

    /// The earliest time at which [`Engine::handle_timeout`] has something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        let interfaces = self.interfaces.values().filter_map(Interface::next_timeout).min();
        let originations = self.originations.values().filter_map(|plan| plan.due).min();
        let expiry = self.areas.values().filter_map(Lsdb::next_expiry).min();
        [interfaces, originations, expiry, self.next_refresh(), self.spf.due].into_iter().flatten().min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let indexes: Vec<u32> = self.interfaces.keys().copied().collect();
        for index in indexes {
            let Some(interface) = self.interfaces.get_mut(&index) else { continue };
            let dead = interface.neighbour.as_ref().is_some_and(|neighbour| neighbour.dead_at <= now);
            let hello = interface.is_active() && interface.hello_due <= now;
            if hello {
                let interval = Duration::from_secs(u64::from(interface.config.hello_interval.max(1)));
                interface.hello_due = now + interval;
            }
            if dead {
                self.kill_neighbour(now, index, "its dead interval is over");
            }
            if hello {
                self.send_hello(index);
            }
            self.repeat_exchange(now, index);
            self.repeat_updates(now, index);
        }
        self.age(now);
        self.work(now);
    }

    /// Originations and paths that are due, then what was gathered for the wire.
    fn work(&mut self, now: Instant) {
        self.originate_due(now);
        if self.spf.due.is_some_and(|due| due <= now) {
            self.compute(now);
        }
        self.finish(now);
    }

    /// The database has changed.
    pub(crate) fn spf_soon(&mut self, now: Instant) {
        let due = self.spf.last.map_or(now, |last| (last + self.spf.hold).max(now));
        self.spf.due.get_or_insert(due);
    }

    fn compute(&mut self, now: Instant) {
        let calm = self.spf.last.is_none_or(|last| now.saturating_duration_since(last) >= 2 * SPF_MAX_HOLD);
        self.spf.hold = if calm { SPF_HOLD } else { (self.spf.hold * 2).min(SPF_MAX_HOLD) };
        self.spf.due = None;
        self.spf.last = Some(now);
        self.spf.runs += 1;
        let mut routes = Vec::new();
        let mut routers = Vec::new();
        for (area, lsdb) in &self.areas {
            let graph = lsdb.iter().filter(|(_, entry)| !entry.is_max_age(now)).map(|(_, entry)| &entry.lsa);
            let table = spf::compute(*area, self.config.router_id, graph, &self.own_links(*area));
            spf::merge(&mut routes, table.routes);
            routers.extend(table.routers);
        }
        self.routers = routers;
        if routes != self.routes {
            self.routes = routes;
            self.events.push_back(Event::RoutesChanged);
        }
    }

    /// The root's own interfaces: what its first hops are.
    fn own_links(&self, area: Ipv4Addr) -> Vec<spf::OwnLink> {
        let link = |interface: &Interface| spf::OwnLink {
            interface: interface.link.index,
            address: interface.link.address,
            neighbour: interface
                .neighbour
                .as_ref()
                .filter(|neighbour| neighbour.state == State::Full)
                .map(|neighbour| (neighbour.router_id, neighbour.address)),
        };
        self.interfaces.values().filter(|interface| interface.config.area == area).map(link).collect()
    }

    /// Takes leave: our LSAs are taken out of the routing domain, and a hello without neighbours ends adjacencies.
    pub fn shutdown(&mut self, now: Instant) {
        let areas: Vec<Ipv4Addr> = self.areas.keys().copied().collect();
        let id = self.config.router_id;
        for area in areas {
            let own: Vec<_> = self
                .areas
                .get(&area)
                .map(|lsdb| lsdb.iter().map(|(key, _)| *key).filter(|k| k.advertising_router == id).collect())
                .unwrap_or_default();
            for key in own {
                self.flush(now, area, key);
            }
        }
        self.finish(now);
        let indexes: Vec<u32> = self.interfaces.keys().copied().collect();
        for index in indexes {
            self.kill_neighbour(now, index, "shutdown");
            self.send_hello(index);
            self.interfaces.remove(&index);
        }
        self.routes.clear();
        self.events.push_back(Event::RoutesChanged);
    }

    /// The neighbours, for a glance.
    pub fn neighbours(&self) -> impl Iterator<Item = NeighbourInfo> {
        let info = |interface: &Interface| {
            let neighbour = interface.neighbour.as_ref()?;
            Some(NeighbourInfo {
                router_id: neighbour.router_id,
                address: neighbour.address,
                interface: interface.link.name.clone(),
                state: neighbour.state,
            })
        };
        self.interfaces.values().filter_map(info)
    }

    /// Routes in the order of their prefixes, those of directly attached networks too.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The next packet to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next thing to tell.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// What is wrong at the moment, explained.
    pub fn problems(&self) -> impl Iterator<Item = &str> {
        self.interfaces.values().flat_map(|interface| interface.problems.iter().flatten()).map(String::as_str)
    }

    /// Packets that were dropped, by reason.
    pub fn dropped(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.dropped.iter().map(|(why, count)| (*why, *count))
    }

    pub(crate) fn count_drop(&mut self, why: &'static str) {
        *self.dropped.entry(why).or_default() += 1;
    }

    /// Tells what is wrong on an interface, once as long as it stays the same.
    pub(crate) fn problem(&mut self, index: u32, topic: Topic, text: String) {
        self.count_drop("does not fit our configuration");
        let Some(interface) = self.interfaces.get_mut(&index) else { return };
        let told = &mut interface.problems[topic as usize];
        if told.as_ref() != Some(&text) {
            *told = Some(text.clone());
            self.events.push_back(Event::Problem(text));
        }
    }

    pub(crate) fn header(&self, area: Ipv4Addr) -> Header {
        Header { router_id: self.config.router_id, area, auth_kind: AUTH_NULL, auth: [0; 8] }
    }

    pub(crate) fn send(&mut self, index: u32, destination: Ipv4Addr, packet: &Packet) {
        if let Some(area) = self.interfaces.get(&index).map(|interface| interface.config.area) {
            let payload = packet.emit(&self.header(area));
            self.transmit(index, destination, payload);
        }
    }

    pub(crate) fn transmit(&mut self, interface: u32, destination: Ipv4Addr, payload: Vec<u8>) {
        self.transmits.push_back(Transmit { interface, destination, payload });
    }
}
