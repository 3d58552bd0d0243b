//! What outlives a restart of the program, and what is made of it: a neighbour that was there before is in the very
//! first hellos, so that it begins the exchange at once and not after its own next hello. On networks that elect a
//! designated router, who it was before need not be waited for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::auth::HeardNumbers;
use crate::config::{NetworkType, RouterId};
use crate::engine::Engine;
use crate::interface::{Interface, InterfaceState};
use crate::neighbour::{Neighbour, Peer, State};

/// Between the hello that names nobody, with which a neighbour that has not noticed the restart forgets us, and the one
/// that names it.
const SECOND_HELLO: Duration = Duration::from_millis(20);
/// Who was designated router takes its office again when those who are remembered have not said anything for so long.
const DESIGNATED_WAITS: Duration = Duration::from_millis(200);
/// And its backup, when the designated router has not done so.
const BACKUP_WAITS: Duration = Duration::from_millis(400);
/// The same when all of them are heard and none has an office: the designated router will say so in a moment.
const BACKUP_WAITS_FOR_DESIGNATED: Duration = Duration::from_millis(100);
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
        if interface.network == NetworkType::Virtual || state < enough {
            return;
        }
        let Some(neighbour) = interface.neighbours.get(&peer.key) else { return };
        let name = &interface.link.name;
        let (router_id, address) = (neighbour.router_id, neighbour.address);
        let one_end = interface.has_one_end();
        let remembered = Remembered { interface: name.clone(), router_id, address };
        if self.memory.neighbours.contains(&remembered) {
            return;
        }
        let same = |old: &Remembered| old.router_id == router_id || old.address == address;
        let stale = |old: &Remembered| old.interface == *name && (one_end || same(old));
        self.memory.neighbours.retain(|old| !stale(old));
        if self.memory.neighbours.len() < MAX_REMEMBERED {
            self.memory.neighbours.insert(remembered);
        }
    }

    /// A neighbour is silent while our end is up: whoever leaves a LAN has left it, and a tunnel may come back.
    pub(crate) fn forget(&mut self, peer: Peer) {
        let Some(interface) = self.interfaces.get(&peer.interface).filter(|i| i.network.elects()) else {
            return;
        };
        let Some(neighbour) = interface.neighbours.get(&peer.key) else { return };
        let (name, router_id) = (&interface.link.name, neighbour.router_id);
        self.memory.neighbours.retain(|old| old.interface != *name || old.router_id != router_id);
    }

    /// Another designated router or backup.
    pub(crate) fn remember_designated(&mut self, index: u32) {
        let Some(interface) = self.interfaces.get(&index) else { return };
        let both = (interface.designated, interface.backup);
        self.memory.designated.insert(interface.link.name.clone(), both);
    }

    /// Those who are remembered on an interface and not heard.
    pub(crate) fn missed<'a>(&'a self, interface: &'a Interface) -> impl Iterator<Item = &'a Remembered> {
        let all = self.memory.neighbours.iter().filter(|one| one.interface == interface.link.name);
        all.filter(move |one| !interface.hears(one.router_id))
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
                self.hasten_election(now, index);
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
        let is_it = |one: &Remembered| {
            one.interface == interface.link.name && one.router_id == router_id && one.address == from
        };
        if !named || !self.memory.neighbours.iter().any(is_it) {
            return;
        }
        let led = interface.network.elects() && self.leader_without_us(interface) == Some(from);
        let is_known = interface.neighbours.get(&peer.key).is_some_and(|known| known.state > State::Attempt);
        if !is_known && let Some(interface) = self.interfaces.get_mut(&peer.interface) {
            let mut neighbour = Neighbour::new(now, router_id, from);
            neighbour.dead_at = now + interface.dead_interval();
            if led {
                // Until its hello says what it is.
                (neighbour.designated, neighbour.priority) = (from, 1);
            }
            interface.neighbours.insert(peer.key, neighbour);
        }
        self.follow(now, peer, from, led);
        if !is_known {
            self.set_state(now, peer, State::Init, "it answers our hello with a description");
        }
    }

    /// Whether what is remembered of an election is made use of on an interface: it waits, and those who are remembered
    /// are greeted.
    fn remembers_election(&self, interface: &Interface) -> bool {
        self.config.deviations.remembered_election
            && !self.is_restarting()
            && interface.state == InterfaceState::Waiting
            && matches!(interface.greeting, Greeting::Named(_))
    }

    /// Who is designated router when the others have noticed that we were away: the one that was, or its backup.
    fn leader_without_us(&self, interface: &Interface) -> Option<Ipv4Addr> {
        let (designated, backup) = self.memory.designated.get(&interface.link.name)?;
        let leader = if *designated == interface.link.address { backup } else { designated };
        Some(*leader).filter(|_| self.config.deviations.remembered_election)
    }

    /// A description on a network that elects: there are offices, and somebody there has one. We wait for their hellos, and
    /// when it is the designated router that we remember, we are its neighbour meanwhile.
    fn follow(&mut self, now: Instant, peer: Peer, from: Ipv4Addr, led: bool) {
        let Some(interface) = self.interfaces.get(&peer.interface) else { return };
        if !self.remembers_election(interface) {
            return;
        }
        let backup = self.memory.designated.get(&interface.link.name).map(|(_, backup)| *backup);
        let backup = backup.filter(|backup| ![from, interface.link.address].contains(backup));
        let Some(interface) = self.interfaces.get_mut(&peer.interface) else { return };
        interface.wait_until = Some(interface.since + interface.dead_interval());
        if led {
            interface.designated = from;
            interface.backup = backup.unwrap_or(Ipv4Addr::UNSPECIFIED);
            interface.state = InterfaceState::DrOther;
            interface.state_changes += 1;
            self.judge_adjacencies(now, peer.interface);
        }
    }

    /// Who had an office does not wait for the whole dead interval, which is there for those who have to learn who has
    /// one; as soon as somebody says that there are others in office it does.
    pub(crate) fn hasten_election(&mut self, now: Instant, index: u32) {
        let Some(interface) = self.interfaces.get(&index) else { return };
        let (Some(office), Some(until)) = (self.office_before(interface), interface.wait_until) else {
            return;
        };
        let heard = || interface.neighbours.values().filter(|one| one.state >= State::Init);
        let has_word = heard().any(|one| self.has_word_of_office(interface, one));
        let all_are_heard = heard().next().is_some() && self.missed(interface).next().is_none();
        let until = match (office, all_are_heard) {
            _ if has_word => interface.since + interface.dead_interval(),
            (InterfaceState::Dr, true) => now,
            (InterfaceState::Dr, false) => until.min(now + DESIGNATED_WAITS),
            (_, true) => until.min(now + BACKUP_WAITS_FOR_DESIGNATED),
            (_, false) => until.min(now + BACKUP_WAITS),
        };
        if let Some(interface) = self.interfaces.get_mut(&index) {
            interface.wait_until = Some(until);
        }
    }

    /// The office that we had on an interface that remembers its election.
    fn office_before(&self, interface: &Interface) -> Option<InterfaceState> {
        if !self.remembers_election(interface) {
            return None;
        }
        let (designated, backup) = self.memory.designated.get(&interface.link.name)?;
        let office = match interface.link.address {
            own if own == *designated => InterfaceState::Dr,
            own if own == *backup => InterfaceState::Backup,
            _ => return None,
        };
        Some(office)
    }

    /// The wait is over: nobody has said that there are offices, so that we take ours again, and the others' waits end.
    pub(crate) fn take_office_again(&mut self, index: u32) {
        let Some(interface) = self.interfaces.get(&index) else { return };
        let office = self.office_before(interface);
        if interface.neighbours.values().any(|one| self.has_word_of_office(interface, one)) {
            return;
        }
        let Some(interface) = self.interfaces.get_mut(&index) else { return };
        match office {
            Some(InterfaceState::Dr) => interface.designated = interface.link.address,
            Some(_) => interface.backup = interface.link.address,
            None => {}
        }
    }

    /// Its hello does not say that it is designated router, whom we have followed as one: we wait as everybody does.
    pub(crate) fn follow_no_longer(&mut self, now: Instant, index: u32, from: Ipv4Addr, says: Ipv4Addr) {
        let Some(interface) = self.interfaces.get_mut(&index) else { return };
        let follows = interface.wait_until.is_some() && interface.designated == from;
        if !follows || says == from {
            return;
        }
        (interface.designated, interface.backup) = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED);
        interface.state = InterfaceState::Waiting;
        interface.state_changes += 1;
        self.judge_adjacencies(now, index);
    }

    /// Whether a neighbour's hello says that somebody is in office: it itself, or somebody who was in none before. That
    /// it names those who were is no news: a router that may not be elected does so as soon as it hears them.
    fn has_word_of_office(&self, interface: &Interface, neighbour: &Neighbour) -> bool {
        let before = self.memory.designated.get(&interface.link.name);
        let named = [neighbour.designated, neighbour.backup];
        named.into_iter().filter(|name| !name.is_unspecified()).any(|name| {
            name == neighbour.address || before.is_none_or(|(one, other)| ![*one, *other].contains(&name))
        })
    }
}
