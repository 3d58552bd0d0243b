//! Database exchange (RFC 2328 sections 10.6 to 10.9).

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use coati_wire::ospf::{
    DatabaseDescription, HEADER_LEN, LSA_HEADER_LEN, LsaHeader, LsaKey, OPTION_O, Packet, lsa_kind,
};

use crate::config::{NetworkType, RouterId};
use crate::engine::Engine;
use crate::hello::options;
use crate::interface::{Interface, Topic};
use crate::lsdb::Scope;
use crate::neighbour::{Backoff, Neighbour, Peer, Repeated, State};

/// First repetition of a description or a request.
const FIRST_REPETITION: Duration = Duration::from_millis(200);
/// Length of one request in bytes.
const REQUEST_LEN: usize = 12;
/// Requests in one packet at the most.
const MAX_REQUESTS: usize = 1000;
/// Requests held back until the exchange is done, at the most.
const MAX_HELD: usize = 10_000;
/// The flags that say who leads.
const FIRST: u8 = DatabaseDescription::INIT | DatabaseDescription::MORE | DatabaseDescription::MASTER;

impl Engine {
    pub(crate) fn neighbour_mut(&mut self, peer: Peer) -> Option<&mut Neighbour> {
        self.interfaces.get_mut(&peer.interface)?.neighbours.get_mut(&peer.key)
    }

    fn repeated(&self, now: Instant, peer: Peer) -> Option<Repeated> {
        let longest = self.interfaces.get(&peer.interface)?.config.retransmit_interval;
        let early = self.config.deviations.early_retransmission;
        let mut backoff = Backoff::new(FIRST_REPETITION, longest, early);
        Some(Repeated { due: backoff.advance(now), backoff })
    }

    /// Into ExStart: says that we want to lead.
    pub(crate) fn start_exchange(&mut self, now: Instant, peer: Peer, why: &'static str) {
        self.fall_back(now, peer, State::ExStart, why);
        let random = self.random.number();
        let repeated = self.repeated(now, peer);
        let Some(neighbour) = self.neighbour_mut(peer) else { return };
        neighbour.master = true;
        neighbour.description = repeated;
        let sequence = neighbour.propose(random);
        if !neighbour.leading {
            self.send_description(peer, FIRST, sequence, Vec::new());
        }
    }

    fn set_leading(&mut self, peer: Peer, leading: bool) {
        if let Some(neighbour) = self.neighbour_mut(peer) {
            neighbour.leading = leading;
        }
    }

    fn send_description(&mut self, peer: Peer, flags: u8, sequence: u32, headers: Vec<LsaHeader>) {
        let Some(interface) = self.interfaces.get(&peer.interface) else { return };
        let mtu = match interface.network {
            // It is not known which links a virtual link goes over (section 10.8).
            NetworkType::Virtual => 0,
            _ => u16::try_from(interface.link.mtu).unwrap_or(u16::MAX),
        };
        let options = options(self.area_kind(interface.config.area));
        let description = DatabaseDescription { mtu, options, flags, sequence, headers };
        if let Some(neighbour) = self.neighbour_mut(peer) {
            neighbour.last_sent = Some(description.clone());
        }
        self.send(peer, &Packet::DatabaseDescription(description));
    }

    fn repeat_description(&mut self, now: Instant, peer: Peer) {
        if let Some(last) = self.neighbour_mut(peer).and_then(|neighbour| neighbour.last_sent.clone()) {
            let length = 20 + HEADER_LEN + 8 + last.headers.len() * LSA_HEADER_LEN;
            if self.unanswered(now, peer, length) {
                // What was said cannot be said again in other words.
                return self.start_exchange(now, peer, "a large description is lost");
            }
            self.send(peer, &Packet::DatabaseDescription(last));
        }
    }

    /// The next part of the summary list.
    fn describe_more(&mut self, now: Instant, peer: Peer) {
        let room = self.interfaces.get(&peer.interface).map_or(0, |interface| interface.room());
        let count = room.saturating_sub(32) / LSA_HEADER_LEN;
        let repeated = self.repeated(now, peer);
        let dead_interval = self.interfaces.get(&peer.interface).map(Interface::dead_interval);
        let Some(neighbour) = self.neighbour_mut(peer) else { return };
        let count = count.min(neighbour.summary.len());
        let headers: Vec<LsaHeader> = neighbour.summary.drain(..count).collect();
        let mut flags = if neighbour.master { DatabaseDescription::MASTER } else { 0 };
        match neighbour.summary.is_empty() {
            // The memory too.
            true => neighbour.summary = Default::default(),
            false => flags |= DatabaseDescription::MORE,
        }
        neighbour.description = match neighbour.master {
            true => repeated,
            // It is the master who repeats. One that has nothing more to ask, because it takes part in no exchange, would
            // be waited for for ever.
            false => repeated.zip(dead_interval).map(|(it, wait)| Repeated { due: now + wait, ..it }),
        };
        let sequence = neighbour.sequence;
        self.send_description(peer, flags, sequence, headers);
    }

    /// Section 10.6.
    pub(crate) fn receive_description(
        &mut self,
        now: Instant,
        peer: Peer,
        router_id: Ipv4Addr,
        description: &DatabaseDescription,
    ) {
        if !self.mtu_fits(peer, router_id, description.mtu) {
            return;
        }
        let our_id = self.config.router_id;
        if self.neighbour_mut(peer).is_some_and(|neighbour| neighbour.state == State::Init) {
            // It describes its database, so it has heard us.
            self.settle_reach(now, peer);
            let why = "2-way received, by a database description";
            let follows =
                self.config.deviations.remembered_neighbour && leads(description, router_id, our_id);
            self.set_leading(peer, follows);
            self.two_way(now, peer, why);
            self.elect_where_needed(now);
            self.set_leading(peer, false);
        }
        let Some(neighbour) = self.neighbour_mut(peer) else { return };
        let flags = description.flags;
        let received = (flags, description.options, description.sequence);
        match neighbour.state {
            State::Down | State::Attempt | State::Init | State::TwoWay => {}
            State::ExStart => {
                let leads = leads(description, router_id, our_id);
                let follows = flags & (DatabaseDescription::INIT | DatabaseDescription::MASTER) == 0
                    && description.sequence == neighbour.sequence
                    && router_id < our_id;
                if flags & DatabaseDescription::INIT != 0 {
                    neighbour.proposed = Some(description.sequence);
                }
                if !leads && !follows {
                    return;
                }
                neighbour.master = follows;
                neighbour.options = description.options;
                if leads {
                    neighbour.sequence = description.sequence;
                }
                self.negotiation_done(now, peer);
                self.take_description(now, peer, description);
            }
            State::Exchange => {
                let again = neighbour.last_received == Some(received);
                if again || neighbour.comes_late(flags, description.sequence) {
                    if !neighbour.master {
                        self.repeat_description(now, peer);
                    }
                    return;
                }
                let master_flag = flags & DatabaseDescription::MASTER != 0;
                let expected =
                    if neighbour.master { neighbour.sequence } else { neighbour.sequence.wrapping_add(1) };
                let right = master_flag != neighbour.master
                    && flags & DatabaseDescription::INIT == 0
                    && description.options == neighbour.options
                    && description.sequence == expected;
                if right {
                    neighbour.answers();
                    self.take_description(now, peer, description);
                } else {
                    self.count_drop("database description out of its turn");
                    self.start_exchange(now, peer, "sequence number mismatch");
                }
            }
            State::Loading | State::Full => {
                let again = neighbour.last_received == Some(received);
                if again || neighbour.comes_late(flags, description.sequence) {
                    if !neighbour.master {
                        self.repeat_description(now, peer);
                    }
                } else {
                    self.count_drop("database description out of its turn");
                    self.start_exchange(now, peer, "sequence number mismatch");
                }
            }
        }
    }

    /// Larger packets than ours would be lost on the way.
    fn mtu_fits(&mut self, peer: Peer, router_id: Ipv4Addr, theirs: u16) -> bool {
        let Some(interface) = self.interfaces.get_mut(&peer.interface) else { return false };
        let ours = interface.link.mtu;
        if u32::from(theirs) <= ours || interface.config.mtu_ignore {
            interface.problems[Topic::Exchange as usize] = None;
            return true;
        }
        let name = interface.link.name.clone();
        self.problem(
            peer.interface,
            Topic::Exchange,
            "MTU differs",
            format!(
                "{name}: {router_id} says MTU {theirs}, ours is {ours}: give both ends the same mtu, or write \
                 `ip ospf mtu-ignore`"
            ),
        );
        false
    }

    /// NegotiationDone: the summary list is what the neighbour may have of our database.
    fn negotiation_done(&mut self, now: Instant, peer: Peer) {
        self.set_state(now, peer, State::Exchange, "negotiation done");
        let Some(interface) = self.interfaces.get(&peer.interface) else { return };
        let Some(neighbour) = interface.neighbours.get(&peer.key) else { return };
        let (mut dying, mut headers) = (Vec::new(), Vec::new());
        for scope in self.scopes_of(interface) {
            let Some(lsdb) = self.lsdb(scope) else { continue };
            for (key, entry) in lsdb.iter() {
                if is_opaque(key.kind) && !neighbour.has_option(OPTION_O) {
                    continue;
                }
                match entry.is_max_age(now) {
                    true => dying.push(*key),
                    false => headers.push(entry.header(now)),
                }
            }
        }
        if let Some(neighbour) = self.neighbour_mut(peer) {
            neighbour.summary = headers.into();
            neighbour.description = None;
        }
        for key in dying {
            self.retransmit_until_acknowledged(now, peer, key);
        }
    }

    /// Section 10.6 at its end: a description that is in its turn.
    fn take_description(&mut self, now: Instant, peer: Peer, description: &DatabaseDescription) {
        let mut missing = Vec::new();
        for header in &description.headers {
            let Some(scope) = self.scope(peer.interface, header.key.kind) else {
                self.count_drop("LSA type that is not for this area");
                return self.start_exchange(
                    now,
                    peer,
                    "sequence number mismatch: an LS type that is not for this area",
                );
            };
            let known = self.lsdb(scope).and_then(|lsdb| lsdb.get(&header.key));
            if known.is_none_or(|entry| header.compare(&entry.header(now)).is_gt()) {
                missing.push(*header);
            }
        }
        let Some(neighbour) = self.neighbour_mut(peer) else { return };
        neighbour.late = 0;
        neighbour.last_received = Some((description.flags, description.options, description.sequence));
        let room = crate::lsdb::MAX_LSAS.saturating_sub(neighbour.requests.len());
        neighbour.requests.extend(missing.into_iter().take(room).map(|header| (header.key, header)));
        let they_are_done = description.flags & DatabaseDescription::MORE == 0;
        let we_were_done = neighbour
            .last_sent
            .as_ref()
            .is_some_and(|last| last.flags & (DatabaseDescription::MORE | DatabaseDescription::INIT) == 0);
        if neighbour.master {
            neighbour.sequence = neighbour.sequence.wrapping_add(1);
            if they_are_done && we_were_done {
                self.exchange_done(now, peer);
            } else {
                self.describe_more(now, peer);
            }
        } else {
            neighbour.sequence = description.sequence;
            self.describe_more(now, peer);
            let done = self.neighbour_mut(peer).and_then(|neighbour| neighbour.last_sent.as_ref());
            if they_are_done && done.is_some_and(|last| last.flags & DatabaseDescription::MORE == 0) {
                self.exchange_done(now, peer);
            }
        }
    }

    fn exchange_done(&mut self, now: Instant, peer: Peer) {
        let Some(neighbour) = self.neighbour_mut(peer) else { return };
        neighbour.description = None;
        let held = std::mem::take(&mut neighbour.held_requests);
        if neighbour.requests.is_empty() {
            self.set_state(now, peer, State::Full, "exchange done");
        } else {
            self.set_state(now, peer, State::Loading, "exchange done");
            self.send_requests(now, peer);
        }
        if !held.is_empty() {
            self.answer_requests(now, peer, &held);
        }
    }

    fn send_requests(&mut self, now: Instant, peer: Peer) {
        let repeated = self.repeated(now, peer);
        let room = self.interfaces.get(&peer.interface).map_or(0, |interface| interface.room());
        let most = MAX_REQUESTS.min(room.saturating_sub(HEADER_LEN) / REQUEST_LEN);
        let Some(neighbour) = self.neighbour_mut(peer) else { return };
        let keys: Vec<LsaKey> = neighbour.requests.keys().take(most).copied().collect();
        neighbour.requested = keys.len();
        neighbour.request = repeated;
        self.send(peer, &Packet::LinkStateRequest(keys));
    }

    /// An LSA of the request list has come.
    pub(crate) fn request_satisfied(&mut self, now: Instant, peer: Peer, key: &LsaKey) {
        let Some(neighbour) = self.neighbour_mut(peer) else { return };
        if neighbour.requests.remove(key).is_none() {
            return;
        }
        neighbour.requested = neighbour.requested.saturating_sub(1);
        neighbour.answers();
        if neighbour.state != State::Loading {
            return;
        }
        if neighbour.requests.is_empty() {
            neighbour.request = None;
            self.set_state(now, peer, State::Full, "loading done");
        } else if neighbour.requested == 0 {
            self.send_requests(now, peer);
        }
    }

    /// Section 10.7. While databases are being described, answers wait: some neighbours lose them.
    pub(crate) fn receive_requests(&mut self, now: Instant, peer: Peer, keys: &[LsaKey]) {
        let Some(neighbour) = self.neighbour_mut(peer) else { return };
        match neighbour.state {
            State::Exchange => {
                let room = MAX_HELD.saturating_sub(neighbour.held_requests.len());
                neighbour.held_requests.extend(keys.iter().take(room));
            }
            State::Loading | State::Full => self.answer_requests(now, peer, keys),
            _ => self.count_drop("link state request before the exchange"),
        }
    }

    fn answer_requests(&mut self, now: Instant, peer: Peer, keys: &[LsaKey]) {
        if keys.iter().any(|key| self.find(peer.interface, key).is_none()) {
            self.count_drop("request for an LSA that is not here");
            return self.start_exchange(now, peer, "bad link state request");
        }
        let length = self.send_updates_to(now, peer, keys);
        self.asked(now, peer, keys, length);
    }

    /// Repetitions that are due.
    pub(crate) fn repeat_exchange(&mut self, now: Instant, peer: Peer) {
        let Some(neighbour) = self.neighbour_mut(peer) else { return };
        let due = |repeated: &mut Option<Repeated>| match repeated {
            Some(repeated) if repeated.due <= now => {
                repeated.due = repeated.backoff.advance(now);
                true
            }
            _ => false,
        };
        let description = due(&mut neighbour.description);
        let request = due(&mut neighbour.request);
        let keys: Vec<LsaKey> = neighbour.requests.keys().take(neighbour.requested).copied().collect();
        let follows = neighbour.state == State::Exchange && !neighbour.master;
        match description {
            true if follows => self.start_exchange(now, peer, "no description for a dead interval"),
            true => self.repeat_description(now, peer),
            false => {}
        }
        if request && !keys.is_empty() {
            if self.unanswered(now, peer, 20 + HEADER_LEN + keys.len() * REQUEST_LEN) {
                return self.send_requests(now, peer);
            }
            self.send(peer, &Packet::LinkStateRequest(keys));
        }
    }
}

pub(crate) fn is_opaque(kind: u8) -> bool {
    matches!(kind, lsa_kind::OPAQUE_LINK..=lsa_kind::OPAQUE_AS)
}

impl Engine {
    /// Which databases are described on an interface: AS-wide LSAs go neither into stub areas nor over virtual links
    /// (section 10.3).
    pub(crate) fn scopes_of(&self, interface: &crate::interface::Interface) -> Vec<Scope> {
        let area = interface.config.area;
        let mut scopes = vec![Scope::Area(area)];
        if interface.network != NetworkType::Virtual {
            scopes.push(Scope::Link(interface.link.index));
            if self.area_kind(area).takes_externals() {
                scopes.push(Scope::As);
            }
        }
        scopes
    }

    /// Where an LSA of this type that comes in on an interface belongs; `None` when it is not taken there.
    pub(crate) fn scope(&self, index: u32, kind: u8) -> Option<Scope> {
        let interface = self.interfaces.get(&index)?;
        let area = interface.config.area;
        let area_kind = self.area_kind(area);
        let physical = interface.network != NetworkType::Virtual;
        match kind {
            lsa_kind::ROUTER..=lsa_kind::SUMMARY_ASBR | lsa_kind::OPAQUE_AREA => Some(Scope::Area(area)),
            lsa_kind::NSSA => area_kind.is_nssa().then_some(Scope::Area(area)),
            lsa_kind::EXTERNAL | lsa_kind::OPAQUE_AS => {
                (physical && area_kind.takes_externals()).then_some(Scope::As)
            }
            lsa_kind::OPAQUE_LINK => physical.then_some(Scope::Link(index)),
            _ => None,
        }
    }

    /// An LSA as a neighbour on this interface knows it.
    pub(crate) fn find(&self, index: u32, key: &LsaKey) -> Option<&crate::lsdb::Entry> {
        self.lsdb(self.scope(index, key.kind)?)?.get(key)
    }
}

/// Whether a first description's sender leads the exchange (section 10.6).
fn leads(description: &DatabaseDescription, router_id: RouterId, our_id: RouterId) -> bool {
    description.flags & FIRST == FIRST && description.headers.is_empty() && router_id > our_id
}
