//! What outlives a restart of the program, and what is made of it: a neighbour that was there before is in the very
//! first hellos, so that it begins the exchange at once and not after its own next hello.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::auth::HeardNumbers;
use crate::config::{NetworkType, RouterId};
use crate::engine::Engine;
use crate::interface::Interface;
use crate::neighbour::{Neighbour, Peer, State};

/// Between the hello that names nobody, with which a neighbour that has not noticed the restart forgets us, and the one
/// that names it.
const SECOND_HELLO: Duration = Duration::from_millis(20);
/// Neighbours that are remembered, at the most.
const MAX_REMEMBERED: usize = 1000;

/// What is kept while the program does not run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// How often the program has started.
    pub starts: u32,
    /// Upper half of the cryptographic sequence numbers of the last start (RFC 7474 section 3).
    pub boot_count: u32,
    /// Neighbours that there were.
    pub neighbours: BTreeSet<Remembered>,
    /// By the name of our interface, who was designated router there and who its backup.
    pub designated: BTreeMap<String, (Ipv4Addr, Ipv4Addr)>,
    /// The sequence numbers of RFC 7474 that were heard, as of the last change of a neighbour's state or the last end.
    pub heard: Vec<HeardNumbers>,
    /// It was left for a graceful restart, which is over at this time, in Unix seconds.
    pub graceful_until: Option<u64>,
}

/// A neighbour that there was.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Remembered {
    /// Name of our interface.
    pub interface: String,
    /// Its router id.
    pub router_id: RouterId,
    /// Its address.
    pub address: Ipv4Addr,
}

/// How far the greeting of those is that are remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Greeting {
    /// Hellos name who is heard.
    #[default]
    Done,
    /// At this time they begin to name those who are remembered too.
    Due(Instant),
    /// Until this time they do: no longer than it takes to answer, or the two-way check would check nothing.
    Named(Instant),
}

impl Greeting {
    pub(crate) fn next_timeout(self) -> Option<Instant> {
        match self {
            Self::Done => None,
            Self::Due(at) | Self::Named(at) => Some(at),
        }
    }
}

impl Engine {
    /// What was kept, before the first interface comes up.
    pub fn recall(&mut self, memory: Memory) {
        self.memory = memory;
        while self.memory.neighbours.len() > MAX_REMEMBERED {
            self.memory.neighbours.pop_last();
        }
        while self.memory.designated.len() > MAX_REMEMBERED {
            self.memory.designated.pop_last();
        }
        self.heard.recall(&self.memory.heard);
        self.memory.starts = self.memory.starts.saturating_add(1);
        // The clock may have been set back since then.
        let next = u64::from(self.memory.boot_count.saturating_add(1)) << 32;
        self.sequence.extended = self.sequence.extended.max(next);
        self.memory.boot_count = u32::try_from(self.sequence.extended >> 32).unwrap_or(u32::MAX);
    }

    /// What to keep.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// What was heard up to now is to be kept too.
    pub fn remember_numbers(&mut self) {
        self.memory.heard = self.heard.numbers();
    }

    /// A neighbour has come to this state: one that is adjacent, or could be, will be known.
    pub(crate) fn remember(&mut self, peer: Peer, state: State) {
        self.remember_numbers();
        let Some(interface) = self.interfaces.get(&peer.interface) else { return };
        let enough = if interface.network.elects() { State::TwoWay } else { State::Full };
        let known = interface.network != NetworkType::Virtual && state >= enough;
        // Whoever leaves a LAN has left it, and a tunnel may come back.
        let left = interface.network.elects() && state == State::Down;
        if !known && !left {
            return;
        }
        let Some(neighbour) = interface.neighbours.get(&peer.key) else { return };
        let name = &interface.link.name;
        let (router_id, address) = (neighbour.router_id, neighbour.address);
        let one_end = interface.has_one_end();
        let remembered = Remembered { interface: name.clone(), router_id, address };
        if known && self.memory.neighbours.contains(&remembered) {
            return;
        }
        let stale = |old: &Remembered| old.interface == *name && (one_end || old.router_id == router_id);
        self.memory.neighbours.retain(|old| !stale(old));
        if known && self.memory.neighbours.len() < MAX_REMEMBERED {
            self.memory.neighbours.insert(remembered);
        }
    }

    /// Another designated router or backup.
    pub(crate) fn remember_designated(&mut self, index: u32) {
        let Some(interface) = self.interfaces.get(&index) else { return };
        let both = (interface.designated, interface.backup);
        self.memory.designated.insert(interface.link.name.clone(), both);
    }

    /// Those who are remembered on an interface and not heard; after a graceful restart on any, else only where
    /// neighbours become adjacent whoever else is there.
    pub(crate) fn missed<'a>(&'a self, interface: &'a Interface) -> impl Iterator<Item = &'a Remembered> {
        let greets = matches!(interface.network, NetworkType::PointToPoint | NetworkType::PointToMultipoint);
        let greets = greets || self.is_restarting();
        let all = self.memory.neighbours.iter().filter(|one| one.interface == interface.link.name);
        all.filter(move |one| greets && !interface.hears(one.router_id))
    }

    /// An interface begins, or packets reach its other end again.
    pub(crate) fn greet(&mut self, now: Instant, index: u32) {
        let wanted = self.config.deviations.remembered_neighbour;
        let Some(interface) = self.interfaces.get(&index) else { return };
        let (name, dead) = (interface.link.name.clone(), interface.dead_interval());
        if self.is_restarting() {
            // Who helps has forgotten nothing, so that our first hello is as the last one was.
            let both = self.memory.designated.get(&name).copied();
            if let Some(interface) = self.interfaces.get_mut(&index).filter(|i| i.network.elects())
                && let Some((designated, backup)) = both
            {
                (interface.designated, interface.backup) = (designated, backup);
            }
            self.set_greeting(index, Greeting::Named(now + dead));
        } else if wanted && self.missed(interface).next().is_some() {
            self.set_greeting(index, Greeting::Due(now + SECOND_HELLO));
        }
    }

    fn set_greeting(&mut self, index: u32, greeting: Greeting) {
        if let Some(interface) = self.interfaces.get_mut(&index) {
            interface.greeting = greeting;
        }
    }

    /// Hellos that name those who are remembered begin and end.
    pub(crate) fn go_on_greeting(&mut self, now: Instant, index: u32) {
        let Some(interface) = self.interfaces.get(&index) else { return };
        match interface.greeting {
            Greeting::Due(at) if at <= now => {
                let until = now + interface.config.retransmit_interval;
                self.set_greeting(index, Greeting::Named(until));
                self.send_hello(index);
            }
            Greeting::Named(until) if until <= now => self.set_greeting(index, Greeting::Done),
            _ => {}
        }
    }

    /// A description from somebody who is remembered and greeted, and has not said hello yet: it has taken our hello, so
    /// both agree about everything that a hello says, and it is a neighbour from now on.
    pub(crate) fn answers_greeting(&mut self, now: Instant, peer: Peer, router_id: RouterId, from: Ipv4Addr) {
        let Some(interface) = self.interfaces.get(&peer.interface) else { return };
        let named = matches!(interface.greeting, Greeting::Named(_));
        let is_it = |one: &Remembered| one.router_id == router_id && one.address == from;
        if !named || interface.neighbours.contains_key(&peer.key) || !self.missed(interface).any(is_it) {
            return;
        }
        let Some(interface) = self.interfaces.get_mut(&peer.interface) else { return };
        let mut neighbour = Neighbour::new(now, router_id, from);
        neighbour.dead_at = now + interface.dead_interval();
        interface.neighbours.insert(peer.key, neighbour);
        self.set_state(now, peer, State::Init, "it answers our hello with a description");
    }
}
