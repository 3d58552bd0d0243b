//! The engine: its verbs, its clock, and what all chapters share.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::time::Instant;

use coati_crypto::RandomSource;
use coati_wire::WireError;
use coati_wire::ospf::{
    ALL_DESIGNATED, ALL_ROUTERS, AUTH_CRYPTOGRAPHIC, AUTH_EXTENDED, AUTH_NULL, AUTH_SIMPLE, BEHIND_LSAS,
    Header, LsaBody, LsaHeader, Packet, RouterLsa, emit_update, lsa_kind,
};

use crate::area::Area;
use crate::auth::{self, Authentication, Refusal};
use crate::config::{AreaId, BACKBONE, Config, ExternalRoute, NetworkType, RouterId, StubRouter};
use crate::damping::{Line, Losses};
use crate::debug::Debug;
use crate::graph::Node;
use crate::interface::{Interface, InterfaceState, Topic, masked};
use crate::interfaces::Interfaces;
use crate::lsdb::{Lsdb, Scope};
use crate::memory::Memory;
use crate::neighbour::{Peer, State};
use crate::originate::{Own, OwnKey};
use crate::restart::Restart;
use crate::route::{Destination, Route, Sources, Table};
use crate::spf;
use crate::spf_clock::SpfClock;

/// A packet that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Input<'a> {
    /// On this interface.
    pub interface: u32,
    /// From this address.
    pub source: Ipv4Addr,
    /// To this address.
    pub destination: Ipv4Addr,
    /// With this TTL.
    pub ttl: u8,
    /// Payload of an IP packet of protocol 89.
    pub payload: &'a [u8],
}

impl<'a> Input<'a> {
    /// As most of them come: to AllSPFRouters, from a neighbour.
    pub fn to_all(interface: u32, source: Ipv4Addr, payload: &'a [u8]) -> Self {
        Self { interface, source, destination: ALL_ROUTERS, ttl: 1, payload }
    }
}

/// A packet to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Out of this interface.
    pub interface: u32,
    /// To this address.
    pub destination: Ipv4Addr,
    /// With this TTL: 1, but on virtual links and with TTL security.
    pub ttl: u8,
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
    /// [`Engine::routes`] are others now. Destinations that have come, gone, or got other next hops: network and length
    /// of its prefix.
    RoutesChanged(Vec<(Ipv4Addr, u8)>),
    /// Something that an operator has to mend, explained.
    Problem(String),
    /// How far a graceful restart of ours is.
    Restart(String),
    /// What somebody wants to hear ([`Engine::set_debug`]).
    Debug(String),
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
    pub(crate) interfaces: Interfaces,
    pub(crate) areas: BTreeMap<AreaId, Area>,
    /// LSAs that go everywhere.
    pub(crate) as_wide: Lsdb,
    pub(crate) own: BTreeMap<OwnKey, Own>,
    pub(crate) own_due: BTreeSet<(Instant, OwnKey)>,
    pub(crate) external_routes: BTreeMap<Destination, ExternalRoute>,
    /// Those of them that stand for others, with these.
    pub(crate) aggregated: BTreeMap<Destination, Vec<Destination>>,
    pub(crate) table: Table,
    /// Active ranges of own areas: what goes to holes in them is thrown away (RFC 2328 section 11.1).
    pub(crate) discards: BTreeMap<Destination, Route>,
    pub(crate) spf: SpfClock,
    /// End of the time after the start in which others are kept from going through this router.
    stub_until: Option<Instant>,
    begun: bool,
    /// For how long computations take; nothing is decided by it.
    stopwatch: Option<fn() -> Instant>,
    /// What outlives the program.
    pub(crate) memory: Memory,
    /// Our own graceful restart.
    pub(crate) restart: Option<Restart>,
    pub(crate) events: VecDeque<Event>,
    /// What is told for finding faults.
    pub(crate) debug: Debug,
    /// Neighbours that were lost not long ago.
    pub(crate) losses: BTreeMap<Line, Losses>,
    /// A moment and its Unix time.
    clock: Option<(Instant, u64)>,
    /// Unix seconds at the beginning of this call.
    time: u64,
    /// The largest cryptographic sequence numbers used.
    pub(crate) sequence: auth::Sequence,
    /// Those that others have used.
    pub(crate) heard: auth::Heard,
    transmits: VecDeque<Transmit>,
    /// The interface whose packet is looked at.
    receiving: Option<u32>,
    dropped: BTreeMap<&'static str, u64>,
}

impl Engine {
    /// An engine without interfaces.
    pub fn new(config: Config, random: Box<dyn RandomSource>) -> Self {
        Self {
            config,
            random,
            interfaces: Interfaces::default(),
            areas: BTreeMap::new(),
            as_wide: Lsdb::default(),
            own: BTreeMap::new(),
            own_due: BTreeSet::new(),
            external_routes: BTreeMap::new(),
            aggregated: BTreeMap::new(),
            table: Table::default(),
            discards: BTreeMap::new(),
            spf: SpfClock::default(),
            stub_until: None,
            begun: false,
            stopwatch: None,
            memory: Memory::default(),
            restart: None,
            events: VecDeque::new(),
            debug: Debug::default(),
            losses: BTreeMap::new(),
            clock: None,
            time: 0,
            sequence: auth::Sequence::default(),
            heard: auth::Heard::default(),
            transmits: VecDeque::new(),
            receiving: None,
            dropped: BTreeMap::new(),
        }
    }

    /// What computations are timed by, for `show ip ospf` alone.
    pub fn set_stopwatch(&mut self, read: fn() -> Instant) {
        self.stopwatch = Some(read);
    }

    /// Takes a packet (section 8.2).
    pub fn handle_input(&mut self, now: Instant, input: &Input<'_>) {
        self.handle_inputs(now, std::iter::once(*input));
    }

    /// Takes packets that have come together: what follows from them, such as acknowledgements, is sent together too.
    pub fn handle_inputs<'a>(&mut self, now: Instant, inputs: impl Iterator<Item = Input<'a>>) {
        for input in inputs {
            self.receiving = Some(input.interface);
            self.receive(now, &input);
            self.receiving = None;
        }
        self.work(now);
    }

    fn receive(&mut self, now: Instant, input: &Input<'_>) {
        let Input { interface: index, source, destination, ttl, payload } = *input;
        self.tick(now);
        let Some(interface) = self.interfaces.get(&index).filter(|interface| interface.is_active()) else {
            return self.count_drop("no OSPF on this interface");
        };
        if destination == ALL_DESIGNATED && !interface.is_designated() {
            return self.count_drop("to the designated routers, which we are not");
        }
        if interface.config.ttl_security.is_some_and(|hops| ttl < u8::MAX - hops) {
            return self.count_drop("TTL below that of TTL security");
        }
        let (header, packet) = match Packet::parse(payload) {
            Ok(parsed) => parsed,
            Err(error) => return self.count_drop(malformed(&error)),
        };
        self.tell_received(index, source, &header, &packet);
        let Some(interface) = self.interfaces.get(&index) else { return };
        let index = match self.virtual_link_of(interface, &header) {
            Some(index) => {
                self.receiving = Some(index);
                index
            }
            None => index,
        };
        self.count_traffic(index, payload, 0);
        let Some(interface) = self.interfaces.get(&index) else { return };
        let name = &interface.link.name;
        if header.area != interface.config.area {
            let problem = format!(
                "{name}: {source} is in area {}, we are in area {}: write the same area in `network` or \
                 `ip ospf area` on both sides",
                header.area, interface.config.area
            );
            return self.problem(index, Topic::Hello, "another area", problem);
        }
        if header.router_id.is_unspecified() {
            return self.count_drop("router id 0.0.0.0");
        }
        let foreign =
            !interface.has_one_end() && masked(source, interface.link.prefix_len) != interface.link.network();
        let broadcast = !interface.has_one_end()
            && interface.link.prefix_len < 31
            && (source == interface.link.network() || source == interface.link.broadcast());
        if foreign || broadcast || source == interface.link.address {
            return self.count_drop("source is not on the network");
        }
        if header.router_id == self.config.router_id {
            let problem = format!(
                "{name}: {source} has our own router id {}: give each router one of its own with `ospf router-id`",
                header.router_id
            );
            return self.problem(index, Topic::Hello, "our own router id", problem);
        }
        // Keys may be shared by several links, and the digest is over the source: a packet of another link is no news here.
        let extended = matches!(interface.config.authentication, Authentication::Extended(_));
        if extended && !interface.may_send(source) {
            return self.count_drop("source is not on the network");
        }
        let key = if interface.has_one_end() { header.router_id } else { source };
        let peer = Peer { interface: index, key };
        let known = interface.neighbours.get(&key).filter(|neighbour| neighbour.state > State::Attempt);
        let least = known.map_or(0, |neighbour| neighbour.auth_sequence);
        let received = auth::Received { interface: name, source, header: &header, payload, least };
        let checked = auth::check(&interface.config.authentication, received, self.time, &mut self.heard);
        let sequence = match checked {
            Ok(sequence) => sequence,
            Err(refusal) => return self.refuse(index, source, &header, refusal),
        };
        if let Packet::DatabaseDescription(_) = &packet {
            self.answers_greeting(now, peer, header.router_id, source);
        }
        if let Some(neighbour) = self.neighbour_mut(peer) {
            neighbour.auth_sequence = neighbour.auth_sequence.max(sequence);
        }
        if let Packet::Hello(hello) = &packet {
            let multicast = input.destination.is_multicast();
            self.receive_hello(now, index, source, &header, (sequence, multicast), hello);
        } else if self
            .neighbour_mut(peer)
            .is_some_and(|n| n.router_id == header.router_id && n.state > State::Attempt)
        {
            match packet {
                Packet::Hello(_) => {}
                Packet::DatabaseDescription(d) => self.receive_description(now, peer, header.router_id, &d),
                Packet::LinkStateRequest(keys) => self.receive_requests(now, peer, &keys),
                Packet::LinkStateUpdate { lsas, bad } => {
                    for error in bad {
                        self.count_drop(match error {
                            WireError::Checksum { .. } => "LSA with a wrong checksum",
                            WireError::Length { what: BEHIND_LSAS, .. } => BEHIND_LSAS,
                            _ => "malformed LSA",
                        });
                    }
                    self.receive_updates(now, peer, lsas);
                }
                Packet::LinkStateAck(list) => self.receive_acks(now, peer, &list),
            }
        } else {
            self.count_drop("not from a neighbour");
        }
    }

    /// Whether paths have been computed since the start.
    pub fn has_computed(&self) -> bool {
        self.spf.runs > 0
    }

    /// The earliest time at which [`Engine::handle_timeout`] has something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        let interfaces = self.interfaces.next_timeout();
        let originations = self.own_due.first().map(|(due, _)| *due).filter(|_| !self.is_restarting());
        let expiry = self.areas.values().filter_map(|area| area.lsdb.next_expiry()).min();
        let spf = self.spf.due;
        let ends = [self.stub_until, self.restart_ends()];
        let translations = self.translator_timeout();
        let rest = [interfaces, originations, expiry, self.as_wide.next_expiry(), spf, translations];
        rest.into_iter().chain(ends).flatten().min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.tick(now);
        if self.stub_until.is_some_and(|until| until <= now) {
            self.stub_until = None;
            let areas: Vec<AreaId> = self.areas.keys().copied().collect();
            areas.into_iter().for_each(|area| self.router_lsa_soon(now, area));
        }
        self.end_translations(now);
        let due = self.interfaces.due(now);
        for index in due.iter().copied() {
            let Some(interface) = self.interfaces.get(&index) else { continue };
            let keys: Vec<Ipv4Addr> = interface.neighbours.keys().copied().collect();
            for key in &keys {
                self.end_grace(now, Peer { interface: index, key: *key });
                self.end_damping(now, Peer { interface: index, key: *key });
            }
            let Some(interface) = self.interfaces.get(&index) else { continue };
            let gone: Vec<Ipv4Addr> =
                interface.neighbours.iter().filter(|(_, n)| n.is_dead(now)).map(|(key, _)| *key).collect();
            for key in gone {
                self.forget(Peer { interface: index, key });
                self.kill_neighbour(now, Peer { interface: index, key }, "its dead interval is over");
            }
            self.end_wait(now, index);
            self.send_due_hellos(now, index);
            self.go_on_greeting(now, index);
            for key in keys {
                let peer = Peer { interface: index, key };
                self.repeat_exchange(now, peer);
                self.repeat_updates(now, peer);
            }
        }
        self.age(now, &due);
        self.work(now);
    }

    /// Elections, originations and paths that are due, then what was gathered for the wire.
    pub(crate) fn work(&mut self, now: Instant) {
        self.elect_where_needed(now);
        self.originate_due(now);
        if self.spf.due.is_some_and(|due| due <= now) {
            self.compute_now(now);
            self.originate_due(now);
        }
        self.judge_restart(now);
        self.finish(now);
        self.interfaces.settle();
    }

    /// What paths of an area begin with has changed.
    pub(crate) fn paths_soon(&mut self, now: Instant, area: AreaId) {
        self.area_mut(area).stale = true;
        self.all_routes_soon(now);
    }

    /// All routes have to be looked at.
    pub(crate) fn all_routes_soon(&mut self, now: Instant) {
        self.table.stale = true;
        self.routes_soon(now);
    }

    /// Some advertisements have changed.
    pub(crate) fn routes_soon(&mut self, now: Instant) {
        self.spf.change(now, &self.config);
    }

    /// Paths, routes, and what areas hear of each other by them.
    pub(crate) fn compute_now(&mut self, now: Instant) {
        self.spf.run(now);
        let begun = self.stopwatch.map(|read| read());
        // Virtual links lead through the other areas: the backbone comes last.
        let others: Vec<AreaId> = self.areas.keys().filter(|area| **area != BACKBONE).copied().collect();
        for area in others {
            self.compute_area(area);
        }
        self.update_virtual_links(now);
        self.compute_area(BACKBONE);
        let changed = self.update_table(false);
        self.spf.took =
            begun.zip(self.stopwatch).map(|(begun, read)| read().saturating_duration_since(begun));
        self.elect_translators(now);
        let discards = self.discarded(now);
        let discards_changed = discards != self.discards;
        let before = std::mem::replace(&mut self.discards, discards);
        let changed = changed || discards_changed;
        self.tell(
            |debug| debug.spf,
            |engine| {
                let word = if changed { "changed" } else { "as they were" };
                format!("SPF: {} routes, {word}", engine.routes().count())
            },
        );
        if self.is_restarting() {
            // When that is over, all routes are told of.
            self.table.moved.clear();
        } else if changed {
            self.routes_changed(if discards_changed { before } else { BTreeMap::new() });
        }
        self.summarise(now);
        if self.areas.len() > 1 || self.areas.keys().any(|area| self.area_kind(*area).is_nssa()) {
            self.externals_changed(now);
        }
        // What came up by all this is computed at its own time, not in the same moment for ever.
        self.spf.not_at_once(now, &self.config);
    }

    /// Tells it. With discards of before, those and the present ones have moved too.
    pub(crate) fn routes_changed(&mut self, before: BTreeMap<Destination, Route>) {
        let mut moved = std::mem::take(&mut self.table.moved);
        moved.extend(before.keys());
        moved.extend(self.discards.keys());
        let moved = moved.iter().map(|destination| (destination.network(), destination.prefix_len()));
        self.events.push_back(Event::RoutesChanged(moved.collect()));
    }

    /// Looks at the routes whose advertisements have changed, or at all; whether any is another now.
    pub(crate) fn update_table(&mut self, all: bool) -> bool {
        let ranges = self.active_ranges();
        let mut table = std::mem::take(&mut self.table);
        table.stale |= all;
        let changed = table.update(&self.sources(ranges));
        self.table = table;
        changed
    }

    fn compute_area(&mut self, id: AreaId) {
        if !self.areas.get(&id).is_some_and(|area| area.stale) {
            return;
        }
        let (root, maximum, own) = (self.config.router_id, self.config.maximum_paths, self.own_links(id));
        let area = self.area_mut(id);
        area.stale = false;
        area.runs += 1;
        let changes = area.graph.take_changes();
        let updated = spf::update(&mut area.paths, &area.graph, root, (&own, maximum), &changes.vertices);
        let computed = updated.as_ref().map_or(area.graph.len(), Vec::len);
        if updated.is_none() {
            area.paths = spf::compute(&area.graph, root, &own, maximum);
        }
        match updated {
            Some(moved) if !changes.flags && !self.depends_on_more(id, &moved) => self.routes_of(id, &moved),
            _ => self.table.stale = true,
        }
        let (runs, all) = self.areas.get(&id).map_or((0, 0), |area| (area.runs, area.graph.len()));
        self.tell(
            |debug| debug.spf,
            |_| format!("SPF of area {id}: run {runs}, {computed} of {all} vertices have moved"),
        );
    }

    /// Whether more hangs on these vertices than what they advertise themselves: border routers have summaries and
    /// externals behind them, in an NSSA any router may, and ranges cover others.
    fn depends_on_more(&self, id: AreaId, moved: &[u32]) -> bool {
        const MORE: u8 = RouterLsa::BORDER | RouterLsa::BOUNDARY | RouterLsa::VIRTUAL_END;
        let Some(area) = self.areas.get(&id) else { return true };
        let flags = |number: &u32| area.graph.vertex(*number).map_or(0, |vertex| vertex.flags);
        !moved.is_empty()
            && (self.area_kind(id).is_nssa()
                || self.config.areas.values().any(|area| !area.ranges.is_empty())
                || moved.iter().any(|number| flags(number) & MORE != 0))
    }

    /// The destinations that these vertices advertise have to be looked at.
    fn routes_of(&mut self, id: AreaId, moved: &[u32]) {
        let Some(area) = self.areas.get(&id) else { return };
        for vertex in moved.iter().filter_map(|number| area.graph.vertex(*number)) {
            let (kind, node) = match vertex.node {
                Node::Router(router) => (lsa_kind::ROUTER, router),
                Node::Network(designated) => (lsa_kind::NETWORK, designated),
            };
            for (_, entry) in area.lsdb.with_id(kind, node) {
                self.table.look_at(entry.instance(), &entry.body());
            }
        }
    }

    /// What routes are computed from.
    fn sources(&self, ranges: Vec<Destination>) -> Sources<'_> {
        let is_border = self.is_border();
        let summaries_of = if is_border && self.has_live_backbone() {
            BTreeSet::from([BACKBONE])
        } else {
            self.attached_areas()
        };
        let transit = match is_border {
            true => self.areas.iter().filter(|(_, area)| area.is_transit()).map(|(id, _)| *id).collect(),
            false => BTreeSet::new(),
        };
        let physical = || self.interfaces.values().filter(|interface| interface.virtual_end.is_none());
        let attached = physical().flat_map(|interface| {
            let own = (interface.link.address, interface.link.prefix_len);
            let networks = [own].into_iter().chain(interface.config.further_networks.iter().copied());
            networks.map(|(address, prefix_len)| {
                (interface.config.area, Destination::new(address, prefix_len), interface.link.index)
            })
        });
        let nssa = |area: &AreaId| {
            let kind = self.area_kind(*area);
            kind.is_nssa().then_some((*area, kind.takes_summaries()))
        };
        Sources {
            areas: &self.areas,
            root: self.config.router_id,
            summaries_of,
            transit,
            attached: attached.collect(),
            own_addresses: physical().map(|interface| interface.link.address).collect(),
            rfc1583: self.config.rfc1583,
            maximum_paths: self.config.maximum_paths,
            ranges,
            nssas: self.areas.keys().filter_map(nssa).collect(),
            is_border,
        }
    }

    /// Takes leave: our LSAs are taken out of the routing domain, and a hello without neighbours ends adjacencies.
    pub fn shutdown(&mut self, now: Instant) {
        self.tick(now);
        self.remember_numbers();
        let id = self.config.router_id;
        self.own.clear();
        self.own_due.clear();
        let scopes: Vec<Scope> = self.scopes().collect();
        for scope in scopes {
            let own: Vec<_> = self
                .lsdb(scope)
                .map(|lsdb| lsdb.iter().map(|(key, _)| *key).filter(|k| k.advertising_router == id).collect())
                .unwrap_or_default();
            for key in own {
                self.flush(now, scope, key);
            }
        }
        self.finish(now);
        let indexes: Vec<u32> = self.interfaces.keys().copied().collect();
        for index in indexes {
            self.kill_neighbours(now, index, "shutdown");
            self.send_hello(index);
            self.interfaces.remove(&index);
        }
        self.own.clear();
        self.own_due.clear();
        self.spf.due = None;
        self.table.moved.extend(std::mem::take(&mut self.table.routes).into_keys());
        let discards = std::mem::take(&mut self.discards);
        self.routes_changed(discards);
    }

    /// The neighbours, for a glance.
    pub fn neighbours(&self) -> impl Iterator<Item = NeighbourInfo> {
        let all = self
            .interfaces
            .values()
            .flat_map(|interface| interface.neighbours.values().map(move |neighbour| (interface, neighbour)));
        all.filter(|(_, neighbour)| neighbour.state > State::Down).map(|(interface, neighbour)| {
            NeighbourInfo {
                router_id: neighbour.router_id,
                address: neighbour.address,
                interface: interface.link.name.clone(),
                state: neighbour.state,
            }
        })
    }

    /// Routes, those of directly attached networks too, and of area ranges, which lead nowhere.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.table.routes.values().chain(self.discards.values())
    }

    /// The route to exactly this destination, which may be an area range's.
    pub fn route(&self, network: Ipv4Addr, prefix_len: u8) -> Option<&Route> {
        let destination = Destination::new(network, prefix_len);
        self.table.routes.get(&destination).or_else(|| self.discards.get(&destination))
    }

    /// Every LSA there is: how far it goes, its header with its age now, and what it says.
    pub fn database(&self, now: Instant) -> impl Iterator<Item = (Scope, LsaHeader, LsaBody)> {
        self.scopes().flat_map(move |scope| {
            let entries = self.lsdb(scope).into_iter().flat_map(Lsdb::iter);
            entries.map(move |(_, entry)| (scope, entry.header(now), entry.body()))
        })
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
    pub fn problems(&self) -> impl Iterator<Item = String> {
        let told =
            self.interfaces.values().flat_map(|interface| interface.problems.iter().flatten().cloned());
        let damped = self.interfaces.keys().flat_map(|index| self.damped_on(*index)).map(|(_, text)| text);
        told.chain(damped)
    }

    /// Packets that were dropped, by reason.
    pub fn dropped(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.dropped.iter().map(|(why, count)| (*why, *count))
    }

    pub(crate) fn count_drop(&mut self, why: &'static str) {
        self.tell(|debug| debug.received != 0, |_| format!("DROP {why}"));
        *self.dropped.entry(why).or_default() += 1;
        if let Some(interface) = self.receiving.and_then(|index| self.interfaces.get_mut(&index)) {
            *interface.dropped.entry(why).or_default() += 1;
        }
    }

    /// Counts a packet that does not fit our configuration, and tells why, once as long as it stays the same.
    pub(crate) fn problem(&mut self, index: u32, topic: Topic, why: &'static str, text: String) {
        self.count_drop(why);
        let Some(interface) = self.interfaces.get_mut(&index) else { return };
        let told = &mut interface.problems[topic as usize];
        if told.as_ref() != Some(&text) {
            *told = Some(text.clone());
            self.events.push_back(Event::Problem(text));
        }
    }

    /// A packet that is not authenticated as configured: both ways are named, the key is not.
    fn refuse(&mut self, index: u32, source: Ipv4Addr, header: &Header, refusal: Refusal) {
        self.count_drop(refusal.counter());
        let Some(interface) = self.interfaces.get(&index) else { return };
        let (name, ours) = (&interface.link.name, interface.config.authentication.words());
        let text = match refusal {
            Refusal::Kind => {
                let theirs = match header.auth_kind {
                    AUTH_NULL => "no authentication",
                    AUTH_SIMPLE => "simple authentication",
                    AUTH_CRYPTOGRAPHIC => "message-digest authentication",
                    AUTH_EXTENDED => "message-digest authentication with extended sequence numbers",
                    _ => "an authentication that is not known",
                };
                format!(
                    "{name}: {source} uses {theirs}, we use {ours}: write the same `ip ospf authentication` on both \
                     sides"
                )
            }
            Refusal::Password => format!(
                "{name}: {source} has another password: write the same `ip ospf authentication-key` on both sides"
            ),
            Refusal::UnknownKey(id) => format!(
                "{name}: {source} uses key {id}, which we do not have or whose time is not now: give both sides the \
                 same keys, and check both clocks"
            ),
            Refusal::Digest(id) => format!(
                "{name}: {source} has another key {id} or another algorithm for it: write the same key on both sides"
            ),
            // An attacker can provoke it; there is nothing to mend while the neighbour is there.
            Refusal::Replay if header.auth_kind == AUTH_EXTENDED && !interface.hears(header.router_id) => {
                format!(
                    "{name}: {source} has sent larger sequence numbers before: somebody replays its packets, or it has lost \
                 its count of starts, which a new key on both sides mends"
                )
            }
            Refusal::Replay => return,
        };
        let Some(interface) = self.interfaces.get_mut(&index) else { return };
        let told = &mut interface.problems[Topic::Authentication as usize];
        if told.as_ref() != Some(&text) {
            *told = Some(text.clone());
            self.events.push_back(Event::Problem(text));
        }
    }

    /// The time of day, so that keys have their times and sequence numbers grow over restarts: Unix seconds.
    pub fn set_clock(&mut self, now: Instant, unix_seconds: u64) {
        self.clock = Some((now, unix_seconds));
        self.tick(now);
    }

    /// Whether others are kept from going through this router.
    pub(crate) fn is_stub_router(&self) -> bool {
        self.config.stub_router.always || self.stub_until.is_some()
    }

    /// `max-metric` is said or taken back. Time that has begun after the start goes on unless it is taken back.
    pub(crate) fn stub_router_changed(&mut self, now: Instant, before: StubRouter) {
        if before.on_startup != self.config.stub_router.on_startup {
            let begin =
                self.stub_until.zip(before.on_startup).and_then(|(until, time)| until.checked_sub(time));
            let until = begin.zip(self.config.stub_router.on_startup).map(|(begin, time)| begin + time);
            self.stub_until = until.filter(|until| *until > now);
        }
    }

    /// The first interface is there.
    pub(crate) fn begin(&mut self, now: Instant) {
        if !self.begun {
            self.begun = true;
            let stub = self.config.stub_router.on_startup.filter(|_| !self.is_restarting());
            self.stub_until = stub.map(|time| now + time);
        }
    }

    /// A call begins.
    pub(crate) fn tick(&mut self, now: Instant) {
        if let Some((at, seconds)) = self.clock {
            self.time = seconds.saturating_add(now.saturating_duration_since(at).as_secs());
        }
        // Never smaller than any before, nor than those of an earlier life (RFC 2328 section D.3).
        let seconds = u32::try_from(self.time).unwrap_or(u32::MAX);
        self.sequence.plain = self.sequence.plain.max(seconds);
        if self.sequence.extended == 0 {
            // Larger than those of an earlier life, when there is no memory of it.
            self.sequence.extended = u64::from(seconds) << 32;
        }
    }

    /// Unix seconds at the beginning of this call.
    pub(crate) fn unix_time(&self) -> u64 {
        self.time
    }

    /// A packet with its header and what authenticates it; `None` when the interface is not there.
    fn sealed(&mut self, index: u32, emit: impl FnOnce(&Header) -> Vec<u8>) -> Option<Vec<u8>> {
        let interface = self.interfaces.get(&index)?;
        let authentication = &interface.config.authentication;
        let area = interface.config.area;
        let mut header =
            Header { router_id: self.config.router_id, area, auth_kind: AUTH_NULL, auth: [0; 8] };
        self.sequence.extended = self.sequence.extended.saturating_add(1);
        auth::fill(authentication, &mut header, self.time, self.sequence);
        let mut payload = emit(&header);
        auth::seal(authentication, &mut payload, self.time, self.sequence, interface.link.address);
        Some(payload)
    }

    /// Sends a packet to one neighbour.
    pub(crate) fn send(&mut self, peer: Peer, packet: &Packet) {
        let destination = self.interfaces.get(&peer.interface).and_then(|i| i.address_of(peer.key));
        if let Some(destination) = destination {
            self.send_to(peer.interface, destination, packet);
        }
    }

    /// Sends a packet to an address.
    pub(crate) fn send_to(&mut self, index: u32, destination: Ipv4Addr, packet: &Packet) {
        if let Some(payload) = self.sealed(index, |header| packet.emit(header)) {
            self.transmit(index, destination, payload);
        }
    }

    /// Sends LSAs as bytes.
    pub(crate) fn send_update_bytes(&mut self, index: u32, destination: Ipv4Addr, lsas: &[Vec<u8>]) {
        if let Some(payload) = self.sealed(index, |header| emit_update(header, lsas)) {
            self.transmit(index, destination, payload);
        }
    }

    /// Counts a packet by its type; `way` is 0 for what has come and 1 for what goes.
    fn count_traffic(&mut self, index: u32, payload: &[u8], way: usize) {
        let kind = payload.get(1).map_or(0, |kind| usize::from(*kind).wrapping_sub(1));
        let interface = self.interfaces.get_mut(&index);
        if let Some(count) = interface.and_then(|i| i.traffic.get_mut(kind)?.get_mut(way)) {
            *count += 1;
        }
    }

    fn transmit(&mut self, index: u32, destination: Ipv4Addr, payload: Vec<u8>) {
        let Some(interface) = self.interfaces.get(&index) else { return };
        let ttl = if interface.config.ttl_security.is_some() { u8::MAX } else { 1 };
        let (interface, ttl) = match interface.virtual_end.as_ref().map(|end| end.path) {
            None => (index, ttl),
            Some(Some((through, _))) => (through, VIRTUAL_TTL),
            Some(None) => return,
        };
        self.count_traffic(index, &payload, 1);
        self.tell_sent(index, destination, &payload);
        self.transmits.push_back(Transmit { interface, destination, ttl, payload });
    }

    /// The virtual link that a packet for the backbone belongs to when it arrives in another area.
    fn virtual_link_of(&self, interface: &Interface, header: &Header) -> Option<u32> {
        if header.area != BACKBONE || interface.config.area == BACKBONE {
            return None;
        }
        let transit = interface.config.area;
        let fits = |interface: &&Interface| {
            interface.network == NetworkType::Virtual
                && interface.state != InterfaceState::Down
                && interface
                    .virtual_end
                    .as_ref()
                    .is_some_and(|end| end.transit == transit && end.router_id == header.router_id)
        };
        self.interfaces.values().find(fits).map(|interface| interface.link.index)
    }

    /// The router id of this router.
    pub fn router_id(&self) -> RouterId {
        self.config.router_id
    }
}

/// The name under which packets are counted that are not what they should be.
fn malformed(error: &WireError) -> &'static str {
    match error {
        WireError::Version { .. } => "another version of OSPF",
        WireError::Checksum { .. } => "wrong checksum",
        WireError::Truncated { what, .. }
        | WireError::Length { what, .. }
        | WireError::Value { what, .. } => match *what {
            "OSPF header" => "shorter than its header",
            "OSPF packet length" => "length that does not fit",
            "OSPF packet type" => "unknown type of packet",
            "hello" => "malformed hello",
            "database description" => "malformed database description",
            "link state request" | "LS type" => "malformed link state request",
            "list of LSA headers" => "malformed list of LSA headers",
            "link state update" | "number of LSAs" => "malformed link state update",
            _ => "malformed LSA",
        },
        WireError::TooMany { .. } => "malformed packet",
    }
}

/// Packets on virtual links cross several routers.
const VIRTUAL_TTL: u8 = 64;
