//! The hello protocol (RFC 2328 sections 9.5 and 10.5).

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use coati_wire::ospf::{ALL_ROUTERS, Header, Hello, OPTION_E, OPTION_NP, OPTION_O, Packet};

use crate::config::{AreaKind, NetworkType};
use crate::engine::{Engine, Event};
use crate::interface::{Interface, InterfaceState, Topic};
use crate::memory::Greeting;
use crate::neighbour::{Neighbour, Peer, State};

/// A neighbour that does not list us gets an extra hello this often at the most.
const HELLO_AT_ONCE_INTERVAL: Duration = Duration::from_millis(200);
/// What is new in a hello is said once more after this time, when what was sent before it has arrived: a hello that is
/// overtaken takes back what the one after it has said, until the next periodic one.
const HELLO_AGAIN: Duration = Duration::from_millis(50);
/// Neighbours on one network at the most.
const MAX_NEIGHBOURS: usize = 1000;

/// Options of hellos in an area of this kind.
fn hello_options(kind: AreaKind) -> u8 {
    match kind {
        AreaKind::Normal => OPTION_E,
        AreaKind::Stub { .. } => 0,
        AreaKind::Nssa(_) => OPTION_NP,
    }
}

/// Options of descriptions and LSAs: opaque LSAs are stored and flooded.
pub(crate) fn options(kind: AreaKind) -> u8 {
    // In descriptions and LSAs the N bit means something else or nothing.
    let area = if kind == AreaKind::Normal { OPTION_E } else { 0 };
    area | OPTION_O
}

impl Engine {
    pub(crate) fn area_kind(&self, area: Ipv4Addr) -> AreaKind {
        self.config.areas.get(&area).map_or(AreaKind::Normal, |area| area.kind)
    }

    /// Hellos that are due on an interface (section 9.5).
    pub(crate) fn send_due_hellos(&mut self, now: Instant, index: u32) {
        let Some(interface) = self.interfaces.get_mut(&index) else { return };
        if !interface.is_active() || interface.state == InterfaceState::Down {
            return;
        }
        if interface.hello_due <= now {
            interface.hello_due = now + interface.config.hello_period();
            self.announce_restart(now, index);
            self.look_at_reach(now, index);
            self.try_wide_again(now, index);
            self.send_hello(index);
            self.try_multicast(now, index);
        }
        let Some(interface) = self.interfaces.get_mut(&index) else { return };
        if interface.hello_again.take_if(|due| *due <= now).is_some() {
            self.send_hello(index);
        }
        let Some(interface) = self.interfaces.get_mut(&index) else { return };
        let polls = &interface.config.neighbours;
        let mut silent = Vec::new();
        for (address, neighbour) in &mut interface.neighbours {
            if neighbour.poll_due.is_some_and(|due| due <= now) {
                let poll = polls.iter().find(|found| found.address == *address);
                neighbour.poll_due = poll.map(|found| now + found.poll_interval.max(Duration::from_secs(1)));
                silent.push(*address);
            }
        }
        for address in silent {
            self.send_hello_to(index, address);
        }
    }

    pub(crate) fn send_hello(&mut self, index: u32) {
        let Some(interface) = self.interfaces.get(&index) else { return };
        let listening = |neighbour: &&Neighbour| neighbour.state > State::Down;
        let addresses: Vec<Ipv4Addr> = match interface.network {
            NetworkType::Broadcast => vec![ALL_ROUTERS],
            NetworkType::PointToPoint => [ALL_ROUTERS].into_iter().chain(interface.reach.also()).collect(),
            NetworkType::PointToMultipoint if interface.config.neighbours.is_empty() => vec![ALL_ROUTERS],
            NetworkType::Virtual => {
                interface.virtual_end.iter().filter_map(|end| Some(end.path?.1)).collect()
            }
            _ => interface.neighbours.values().filter(listening).map(|n| n.address).collect(),
        };
        for address in addresses {
            self.send_hello_to(index, address);
        }
    }

    /// Says who is elected, at once and once more.
    pub(crate) fn tell_of_election(&mut self, now: Instant, index: u32) {
        self.send_hello(index);
        let wanted = self.config.deviations.remembered_election;
        if let Some(interface) = self.interfaces.get_mut(&index) {
            let heard = interface.neighbours.values().any(|neighbour| neighbour.state >= State::Init);
            interface.hello_again = (wanted && heard).then_some(now + HELLO_AGAIN);
        }
    }

    fn send_hello_to(&mut self, index: u32, destination: Ipv4Addr) {
        let Some(interface) = self.interfaces.get(&index).filter(|interface| interface.is_active()) else {
            return;
        };
        let heard = interface.neighbours.values().filter(|neighbour| neighbour.state >= State::Init);
        let named = matches!(interface.greeting, Greeting::Named(_));
        let missed = named.then(|| self.missed(interface)).into_iter().flatten().map(|one| one.router_id);
        let no_mask = interface.network == NetworkType::Virtual || interface.is_unnumbered();
        let hello = Hello {
            mask: if no_mask { Ipv4Addr::UNSPECIFIED } else { interface.link.mask() },
            hello_interval: interface.config.told_hello_interval(),
            options: hello_options(self.area_kind(interface.config.area)),
            priority: interface.config.priority,
            dead_interval: interface.config.dead_seconds(),
            designated: interface.designated,
            backup: interface.backup,
            neighbours: heard.map(|neighbour| neighbour.router_id).chain(missed).collect(),
        };
        self.send_to(index, destination, &Packet::Hello(hello));
    }

    /// Section 10.5.
    pub(crate) fn receive_hello(
        &mut self,
        now: Instant,
        index: u32,
        source: Ipv4Addr,
        header: &Header,
        (auth_sequence, multicast): (u32, bool),
        hello: &Hello,
    ) {
        let our_id = self.config.router_id;
        let at_once = self.config.deviations.hello_at_once;
        let Some(interface) = self.interfaces.get(&index) else { return };
        let kind = self.area_kind(interface.config.area);
        if let Some((why, problem)) = mismatch(interface, kind, source, hello) {
            return self.problem(index, Topic::Hello, why, problem);
        }
        let key = if interface.has_one_end() { header.router_id } else { source };
        let peer = Peer { interface: index, key };
        let is_new = interface.neighbours.get(&key).is_none_or(|neighbour| neighbour.state <= State::Attempt);
        let others: Vec<Ipv4Addr> =
            interface.neighbours.keys().filter(|k| interface.has_one_end() && **k != key).copied().collect();
        if interface.neighbours.len() >= MAX_NEIGHBOURS && is_new && others.is_empty() {
            return self.count_drop("too many neighbours");
        }
        let another_router = interface
            .neighbours
            .get(&key)
            .is_some_and(|n| n.state > State::Attempt && n.router_id != header.router_id);
        // One other end: somebody else in its place means that it is not there any more.
        for key in others {
            self.kill_neighbour(now, Peer { interface: index, key }, "another router is in its place");
        }
        if another_router {
            self.kill_neighbour(now, peer, "another router has its address");
        }
        let Some(interface) = self.interfaces.get_mut(&index) else { return };
        interface.problems[Topic::Hello as usize] = None;
        if is_new {
            interface.problems[Topic::Authentication as usize] = None;
        }
        let (dead_interval, own) = (interface.dead_interval(), interface.link.address);
        let elects = interface.network.elects();
        let neighbour =
            interface.neighbours.entry(key).or_insert_with(|| Neighbour::new(now, header.router_id, source));
        let before = (
            neighbour.priority,
            neighbour.designated == neighbour.address,
            neighbour.backup == neighbour.address,
        );
        neighbour.router_id = header.router_id;
        neighbour.address = source;
        neighbour.priority = hello.priority;
        neighbour.designated = hello.designated;
        neighbour.backup = hello.backup;
        neighbour.dead_at = now + dead_interval;
        neighbour.poll_due = None;
        neighbour.auth_sequence = auth_sequence;
        let back_again = std::mem::take(&mut neighbour.back_again);
        let after = (hello.priority, hello.designated == source, hello.backup == source);
        let state = neighbour.state;
        let listed = hello.neighbours.contains(&our_id);
        self.tell(
            |debug| debug.neighbour,
            |_| {
                let heard = if listed { "hears us" } else { "does not hear us yet" };
                format!("hello of {}({source}): {}, {heard}", header.router_id, state.name())
            },
        );
        if state <= State::Attempt {
            self.set_state(now, peer, State::Init, "hello received");
        }
        self.heard_by(peer, multicast);
        // It does not know us, or we have not told it that we know it.
        let last = self.interfaces.get(&index).and_then(|interface| interface.last_hello_at_once);
        let recently = last.is_some_and(|last| now.saturating_duration_since(last) < HELLO_AT_ONCE_INTERVAL);
        if at_once && (is_new || !listed && !recently) {
            if let Some(interface) = self.interfaces.get_mut(&index) {
                interface.last_hello_at_once = Some(now);
            }
            match elects {
                // One neighbour needs it, the others do not.
                true => self.send_hello_to(index, source),
                false => self.send_hello(index),
            }
        }
        if listed {
            if state <= State::Init {
                self.settle_reach(now, peer);
                self.two_way(now, peer, "2-way received");
            }
        } else if state >= State::TwoWay {
            self.fall_back(now, peer, State::Init, "1-way received");
        }
        if elects {
            self.follow_no_longer(now, index, source, hello.designated);
            self.be_what_we_were(index, hello.designated, hello.backup);
            self.hasten_election(now, index);
        }
        // Who does not hear us cannot be elected yet.
        if elects && listed {
            self.hear_of_designated(now, index, before, after, hello, own);
        }
        if let Some(interface) = self.interfaces.get_mut(&index).filter(|_| back_again) {
            interface.elect = elects;
        }
    }

    /// The second half of section 10.5: who says to be designated router or backup.
    fn hear_of_designated(
        &mut self,
        now: Instant,
        index: u32,
        before: (u8, bool, bool),
        after: (u8, bool, bool),
        hello: &Hello,
        own: Ipv4Addr,
    ) {
        let Some(interface) = self.interfaces.get_mut(&index) else { return };
        if interface.wait_until.is_some() {
            let alone = after.1 && hello.backup.is_unspecified();
            // That we are said to be one of both tells as much.
            if after.2 || alone || after.1 && hello.backup == own {
                interface.wait_until = None;
                interface.elect = true;
            }
        } else if before != after {
            interface.elect = true;
        }
        let _ = now;
    }

    /// Both hear each other: an adjacency begins where one is wanted.
    pub(crate) fn two_way(&mut self, now: Instant, peer: Peer, why: &'static str) {
        let Some(interface) = self.interfaces.get_mut(&peer.interface) else { return };
        if interface.network.elects() && interface.state != InterfaceState::Waiting {
            interface.elect = true;
        }
        let wanted = interface.neighbours.get(&peer.key).is_some_and(|n| interface.wants_adjacency(n));
        if wanted {
            self.start_exchange(now, peer, why);
        } else {
            self.set_state(now, peer, State::TwoWay, why);
        }
    }

    /// A neighbour is gone.
    pub(crate) fn kill_neighbour(&mut self, now: Instant, peer: Peer, why: &'static str) {
        self.fall_back(now, peer, State::Down, why);
        let Some(interface) = self.interfaces.get_mut(&peer.interface) else { return };
        let one_end = interface.has_one_end();
        let poll = interface.config.neighbours.iter().find(|found| found.address == peer.key);
        match (poll, interface.neighbours.get_mut(&peer.key)) {
            (Some(poll), Some(neighbour)) => {
                neighbour.poll_due = Some(now + poll.poll_interval.max(Duration::from_secs(1)));
                neighbour.router_id = Ipv4Addr::UNSPECIFIED;
            }
            _ => {
                interface.neighbours.remove(&peer.key);
            }
        }
        interface.direct_acks.retain(|(to, _)| *to != peer);
        if one_end {
            interface.flood.clear();
            interface.acks.clear();
            interface.acks_due = None;
        }
    }

    /// Moves the neighbour's machine; tells, and originates what depends on it.
    pub(crate) fn set_state(&mut self, now: Instant, peer: Peer, state: State, why: &'static str) {
        let Some(interface) = self.interfaces.get_mut(&peer.interface) else { return };
        let name = interface.link.name.clone();
        let Some(neighbour) = interface.neighbours.get_mut(&peer.key) else { return };
        let from = std::mem::replace(&mut neighbour.state, state);
        if from == state {
            return;
        }
        neighbour.since = now;
        neighbour.state_changes += 1;
        let (router_id, address) = (neighbour.router_id, neighbour.address);
        if (from >= State::TwoWay) != (state >= State::TwoWay)
            && interface.network.elects()
            && interface.state != InterfaceState::Waiting
        {
            interface.elect = true;
        }
        self.events.push_back(Event::NeighbourState {
            router_id,
            address,
            interface: name,
            from,
            to: state,
            why,
        });
        self.remember(peer, state);
        if from == State::Full {
            self.count_loss(now, peer, why);
        }
        if state == State::Full {
            self.condense();
            self.admit(now, peer);
        }
        if from == State::Full || state == State::Full {
            if state == State::Down && self.config.deviations.loss_at_once {
                self.spf.due = Some(now);
            }
            self.neighbour_counts(now, peer);
        }
    }

    /// Whether a neighbour is told of may be another now.
    pub(crate) fn neighbour_counts(&mut self, now: Instant, peer: Peer) {
        let Some(interface) = self.interfaces.get(&peer.interface) else { return };
        let (area, own) = (interface.config.area, interface.link.address);
        // The V bit is in the transit area's router LSA.
        let transit = interface.virtual_end.as_ref().map(|end| end.transit);
        match self.areas.len() {
            // Routes follow paths and what advertises them, as everywhere else in the area.
            1 => {
                self.router_lsa_soon(now, area);
                self.area_mut(area).stale = true;
                self.routes_soon(now);
            }
            // Whether the backbone is alive counts for all routes of a border router.
            _ => self.topology_changed(now, area),
        }
        self.network_lsa_soon(now, area, own);
        if let Some(transit) = transit {
            self.router_lsa_soon(now, transit);
        }
    }

    /// Back to `state`, without what the adjacency had gathered.
    pub(crate) fn fall_back(&mut self, now: Instant, peer: Peer, state: State, why: &'static str) {
        if let Some(neighbour) = self.neighbour_mut(peer) {
            neighbour.clear();
        }
        self.set_state(now, peer, state, why);
    }
}

/// What keeps a hello from being taken: the name of its counter; both values, and the line to change.
fn mismatch(
    interface: &Interface,
    kind: AreaKind,
    source: Ipv4Addr,
    hello: &Hello,
) -> Option<(&'static str, String)> {
    let (name, config) = (&interface.link.name, &interface.config);
    let origin = if config.origin.is_empty() { String::new() } else { format!(" ({})", config.origin) };
    let multiple = matches!(
        interface.network,
        NetworkType::Broadcast | NetworkType::NonBroadcast | NetworkType::PointToMultipoint
    );
    if multiple && hello.mask != interface.link.mask() {
        let text = format!(
            "{name}: {source} has the mask {}, ours is {}{origin}: give both ends the same prefix length",
            hello.mask,
            interface.link.mask()
        );
        return Some(("network mask differs", text));
    }
    if hello.hello_interval != config.told_hello_interval() {
        let text = format!(
            "{name}: {source} has hello-interval {}, ours is {}{origin}: write `ip ospf hello-interval` the same on \
             both sides",
            hello.hello_interval,
            config.told_hello_interval()
        );
        return Some(("hello interval differs", text));
    }
    if hello.dead_interval != config.dead_seconds() {
        let text = format!(
            "{name}: {source} has dead-interval {}, ours is {}{origin}: write `ip ospf dead-interval` the same on \
             both sides",
            hello.dead_interval,
            config.dead_seconds()
        );
        return Some(("dead interval differs", text));
    }
    let (theirs, ours) = (hello.options & (OPTION_E | OPTION_NP), hello_options(kind));
    if theirs & OPTION_E != ours & OPTION_E
        || (theirs & OPTION_NP != 0) != kind.is_nssa() && kind != AreaKind::Normal
    {
        let name_of = |options: u8| match (options & OPTION_E != 0, options & OPTION_NP != 0) {
            (true, _) => "a normal area",
            (false, false) => "a stub area",
            (false, true) => "an NSSA",
        };
        let text = format!(
            "{name}: {source} says that area {} is {}, for us it is {}{origin}: write the same `area … stub` or \
             `area … nssa` on both sides",
            config.area,
            name_of(theirs),
            name_of(ours)
        );
        return Some(("kind of area differs", text));
    }
    None
}
