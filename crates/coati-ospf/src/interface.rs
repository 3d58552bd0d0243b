//! Interfaces and the hello protocol (RFC 2328 sections 9 and 10.5).

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use coati_wire::ospf::{ALL_ROUTERS, Header, Hello, LsaKey, OPTION_E, OPTION_O, Packet};

use crate::config::InterfaceConfig;
use crate::engine::{Engine, Event};
use crate::neighbour::{Neighbour, State};

/// A neighbour that does not list us gets an extra hello this often at the most.
const HELLO_AT_ONCE_INTERVAL: Duration = Duration::from_millis(200);

/// An interface as the system has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Interface index.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Own address.
    pub address: Ipv4Addr,
    /// Length of its prefix.
    pub prefix_len: u8,
    /// The other end's address, on point-to-point interfaces.
    pub peer: Option<Ipv4Addr>,
    /// MTU in bytes.
    pub mtu: u32,
    /// Whether there is exactly one other end.
    pub point_to_point: bool,
}

impl Link {
    /// The mask of its prefix.
    pub(crate) fn mask(&self) -> Ipv4Addr {
        mask(self.prefix_len)
    }

    /// Its network.
    pub(crate) fn network(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.address) & u32::from(self.mask()))
    }
}

/// The mask of a prefix of this length.
pub(crate) fn mask(length: u8) -> Ipv4Addr {
    Ipv4Addr::from(u32::MAX.checked_shl(32 - u32::from(length.min(32))).unwrap_or(0))
}

/// What a problem is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Topic {
    /// Hellos, and the header of every packet.
    Hello,
    /// Database descriptions.
    Exchange,
}

/// One interface.
#[derive(Debug)]
pub(crate) struct Interface {
    pub(crate) link: Link,
    pub(crate) config: InterfaceConfig,
    pub(crate) neighbour: Option<Neighbour>,
    pub(crate) hello_due: Instant,
    /// Since when it can be used.
    pub(crate) since: Instant,
    last_hello_at_once: Option<Instant>,
    /// What is wrong with a neighbour's hellos and with its descriptions, so that it is said once.
    pub(crate) problems: [Option<String>; 2],
    /// LSAs to be flooded out, and acknowledgements, gathered until the end of a call.
    pub(crate) flood: Vec<LsaKey>,
    pub(crate) acks: Vec<coati_wire::ospf::LsaHeader>,
}

impl Interface {
    /// Whether neighbours are spoken to.
    pub(crate) fn is_active(&self) -> bool {
        self.link.point_to_point && !self.config.passive
    }

    fn is_full(&self) -> bool {
        self.neighbour.as_ref().is_some_and(|neighbour| neighbour.state == State::Full)
    }

    /// Whether an adjacency is on its way.
    pub(crate) fn is_forming(&self) -> bool {
        self.neighbour.as_ref().is_some_and(|neighbour| neighbour.state >= State::Init) && !self.is_full()
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let hello = self.is_active().then_some(self.hello_due);
        let neighbour = self.neighbour.as_ref().and_then(Neighbour::next_timeout);
        [hello, neighbour].into_iter().flatten().min()
    }

    /// Largest OSPF packet that needs no fragments, in bytes.
    pub(crate) fn room(&self) -> usize {
        usize::try_from(self.link.mtu).unwrap_or(1500).saturating_sub(20).clamp(556, 65_000)
    }
}

impl Engine {
    /// An interface is there, or has changed.
    pub fn interface_up(&mut self, now: Instant, link: Link, config: InterfaceConfig) {
        if self.interfaces.get(&link.index).is_some_and(|old| old.link == link && old.config == config) {
            return;
        }
        if self.interfaces.contains_key(&link.index) {
            self.interface_down(now, link.index);
        }
        let (index, area) = (link.index, config.area);
        let interface = Interface {
            link,
            config,
            neighbour: None,
            hello_due: now,
            since: now,
            last_hello_at_once: None,
            problems: [None, None],
            flood: Vec::new(),
            acks: Vec::new(),
        };
        self.areas.entry(area).or_default();
        self.interfaces.insert(index, interface);
        self.originate_soon(now, area);
        self.handle_timeout(now);
    }

    /// An interface is gone.
    pub fn interface_down(&mut self, now: Instant, index: u32) {
        self.kill_neighbour(now, index, "the interface is down");
        if let Some(old) = self.interfaces.remove(&index) {
            self.originate_soon(now, old.config.area);
        }
        self.finish(now);
    }

    /// Whoever knows better than the dead interval says that nobody is at the other end.
    pub fn link_dead(&mut self, now: Instant, index: u32) {
        self.kill_neighbour(now, index, "its tunnel is dead");
        self.finish(now);
    }

    /// Packets reach the other end now: a hello goes at once.
    pub fn link_alive(&mut self, now: Instant, index: u32) {
        if let Some(interface) = self.interfaces.get_mut(&index) {
            interface.since = now;
            interface.hello_due = now;
            let area = interface.config.area;
            self.originate_soon(now, area);
            self.handle_timeout(now);
        }
    }

    pub(crate) fn send_hello(&mut self, index: u32) {
        let Some(interface) = self.interfaces.get(&index).filter(|interface| interface.is_active()) else {
            return;
        };
        let heard = interface.neighbour.iter().filter(|neighbour| neighbour.state >= State::Init);
        let hello = Hello {
            mask: interface.link.mask(),
            hello_interval: interface.config.hello_interval,
            options: OPTION_E,
            priority: 1,
            dead_interval: interface.config.dead_interval,
            designated: Ipv4Addr::UNSPECIFIED,
            backup: Ipv4Addr::UNSPECIFIED,
            neighbours: heard.map(|neighbour| neighbour.router_id).collect(),
        };
        self.send(index, ALL_ROUTERS, &Packet::Hello(hello));
    }

    /// Section 10.5.
    pub(crate) fn receive_hello(
        &mut self,
        now: Instant,
        index: u32,
        source: Ipv4Addr,
        header: &Header,
        hello: &Hello,
    ) {
        let our_id = self.config.router_id;
        let at_once = self.config.deviations.hello_at_once;
        let Some(interface) = self.interfaces.get_mut(&index) else { return };
        if let Some(problem) = mismatch(interface, source, hello) {
            return self.problem(index, Topic::Hello, problem);
        }
        interface.problems[Topic::Hello as usize] = None;
        // One other end: somebody else in its place means that it is not there any more.
        if interface.neighbour.as_ref().is_some_and(|neighbour| neighbour.router_id != header.router_id) {
            self.kill_neighbour(now, index, "another router is in its place");
        }
        let Some(interface) = self.interfaces.get_mut(&index) else { return };
        let dead_interval = Duration::from_secs(u64::from(interface.config.dead_interval));
        let is_new = interface.neighbour.is_none();
        let neighbour =
            interface.neighbour.get_or_insert_with(|| Neighbour::new(now, header.router_id, source));
        neighbour.address = source;
        neighbour.priority = hello.priority;
        neighbour.designated = hello.designated;
        neighbour.backup = hello.backup;
        neighbour.dead_at = now + dead_interval;
        let state = neighbour.state;
        let listed = hello.neighbours.contains(&our_id);
        if state == State::Down {
            self.set_state(now, index, State::Init, "hello received");
        }
        // It does not know us, or we have not told it that we know it.
        let last = self.interfaces.get(&index).and_then(|interface| interface.last_hello_at_once);
        let recently = last.is_some_and(|last| now.saturating_duration_since(last) < HELLO_AT_ONCE_INTERVAL);
        if at_once && (is_new || !listed && !recently) {
            if let Some(interface) = self.interfaces.get_mut(&index) {
                interface.last_hello_at_once = Some(now);
            }
            self.send_hello(index);
        }
        if listed {
            if state <= State::Init {
                self.start_exchange(now, index, "2-way received");
            }
        } else if state >= State::TwoWay {
            self.fall_back(now, index, State::Init, "1-way received");
        }
    }

    /// A neighbour is gone.
    pub(crate) fn kill_neighbour(&mut self, now: Instant, index: u32, why: &'static str) {
        if self.interfaces.get(&index).is_some_and(|interface| interface.neighbour.is_some()) {
            self.set_state(now, index, State::Down, why);
            if let Some(interface) = self.interfaces.get_mut(&index) {
                interface.neighbour = None;
                interface.flood.clear();
                interface.acks.clear();
            }
        }
    }

    /// Moves the neighbour's machine; tells, and originates what depends on it.
    pub(crate) fn set_state(&mut self, now: Instant, index: u32, state: State, why: &'static str) {
        let Some(interface) = self.interfaces.get_mut(&index) else { return };
        let (name, area) = (interface.link.name.clone(), interface.config.area);
        let Some(neighbour) = &mut interface.neighbour else { return };
        let from = std::mem::replace(&mut neighbour.state, state);
        if from == state {
            return;
        }
        neighbour.since = now;
        neighbour.state_changes += 1;
        let (router_id, address) = (neighbour.router_id, neighbour.address);
        self.events.push_back(Event::NeighbourState {
            router_id,
            address,
            interface: name,
            from,
            to: state,
            why,
        });
        if from == State::Full || state == State::Full {
            self.originate_soon(now, area);
            // Only Full neighbours are next hops. The LSA may come out as it was, and then nothing else would say so.
            self.spf_soon(now);
        }
    }

    /// Back to `state`, without what the adjacency had gathered.
    pub(crate) fn fall_back(&mut self, now: Instant, index: u32, state: State, why: &'static str) {
        if let Some(neighbour) = self.neighbour_mut(index) {
            neighbour.clear();
        }
        self.set_state(now, index, state, why);
    }
}

/// What keeps a hello from being taken: both values, and the line to change.
fn mismatch(interface: &Interface, source: Ipv4Addr, hello: &Hello) -> Option<String> {
    let (name, config) = (&interface.link.name, &interface.config);
    let origin = if config.origin.is_empty() { String::new() } else { format!(" ({})", config.origin) };
    if hello.hello_interval != config.hello_interval {
        return Some(format!(
            "{name}: {source} has hello-interval {}, ours is {}{origin}: write `ip ospf hello-interval` the same on \
             both sides",
            hello.hello_interval, config.hello_interval
        ));
    }
    if hello.dead_interval != config.dead_interval {
        return Some(format!(
            "{name}: {source} has dead-interval {}, ours is {}{origin}: write `ip ospf dead-interval` the same on \
             both sides",
            hello.dead_interval, config.dead_interval
        ));
    }
    if hello.options & OPTION_E == 0 {
        return Some(format!(
            "{name}: {source} says that area {} is a stub area, for us it is not{origin}",
            config.area
        ));
    }
    None
}

/// Options in descriptions and LSAs: opaque LSAs are stored and flooded.
pub(crate) const OPTIONS: u8 = OPTION_E | OPTION_O;
