//! Database exchange (RFC 2328 sections 10.6 to 10.9).

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use coati_wire::ospf::{
    ALL_ROUTERS, DatabaseDescription, LSA_HEADER_LEN, LsaHeader, LsaKey, Packet, lsa_kind,
};

use crate::engine::Engine;
use crate::interface::{OPTIONS, Topic};
use crate::neighbour::{Backoff, Neighbour, Repeated, State};

/// First repetition of a description or a request.
const FIRST_REPETITION: Duration = Duration::from_millis(200);
/// Requests in one packet at the most.
const MAX_REQUESTS: usize = 100;
/// Requests held back until the exchange is done, at the most.
const MAX_HELD: usize = 10_000;
/// The flags that say who leads.
const FIRST: u8 = DatabaseDescription::INIT | DatabaseDescription::MORE | DatabaseDescription::MASTER;

impl Engine {
    pub(crate) fn neighbour_mut(&mut self, index: u32) -> Option<&mut Neighbour> {
        self.interfaces.get_mut(&index)?.neighbour.as_mut()
    }

    fn repeated(&self, now: Instant, index: u32) -> Option<Repeated> {
        let longest = self.interfaces.get(&index)?.config.retransmit_interval;
        let early = self.config.deviations.early_retransmission;
        let mut backoff = Backoff::new(FIRST_REPETITION, longest, early);
        Some(Repeated { due: backoff.advance(now), backoff })
    }

    /// Into ExStart: says that we want to lead.
    pub(crate) fn start_exchange(&mut self, now: Instant, index: u32, why: &'static str) {
        self.fall_back(now, index, State::ExStart, why);
        let random = self.random.number();
        let repeated = self.repeated(now, index);
        let Some(neighbour) = self.neighbour_mut(index) else { return };
        let sequence = neighbour.propose(random);
        neighbour.master = true;
        neighbour.description = repeated;
        self.send_description(index, FIRST, sequence, Vec::new());
    }

    fn send_description(&mut self, index: u32, flags: u8, sequence: u32, headers: Vec<LsaHeader>) {
        let Some(interface) = self.interfaces.get_mut(&index) else { return };
        let mtu = u16::try_from(interface.link.mtu).unwrap_or(u16::MAX);
        let description = DatabaseDescription { mtu, options: OPTIONS, flags, sequence, headers };
        if let Some(neighbour) = &mut interface.neighbour {
            neighbour.last_sent = Some(description.clone());
        }
        self.send(index, ALL_ROUTERS, &Packet::DatabaseDescription(description));
    }

    fn repeat_description(&mut self, index: u32) {
        if let Some(last) = self.neighbour_mut(index).and_then(|neighbour| neighbour.last_sent.clone()) {
            self.send(index, ALL_ROUTERS, &Packet::DatabaseDescription(last));
        }
    }

    /// The next part of the summary list.
    fn describe_more(&mut self, now: Instant, index: u32) {
        let room = self.interfaces.get(&index).map_or(0, |interface| interface.room());
        let count = room.saturating_sub(32) / LSA_HEADER_LEN;
        let repeated = self.repeated(now, index);
        let Some(neighbour) = self.neighbour_mut(index) else { return };
        let count = count.min(neighbour.summary.len());
        let headers: Vec<LsaHeader> = neighbour.summary.drain(..count).collect();
        let mut flags = if neighbour.master { DatabaseDescription::MASTER } else { 0 };
        if !neighbour.summary.is_empty() {
            flags |= DatabaseDescription::MORE;
        }
        neighbour.description = repeated.filter(|_| neighbour.master);
        let sequence = neighbour.sequence;
        self.send_description(index, flags, sequence, headers);
    }

    /// Section 10.6.
    pub(crate) fn receive_description(
        &mut self,
        now: Instant,
        index: u32,
        router_id: Ipv4Addr,
        description: &DatabaseDescription,
    ) {
        if !self.mtu_fits(index, router_id, description.mtu) {
            return;
        }
        if self.neighbour_mut(index).is_some_and(|neighbour| neighbour.state == State::Init) {
            // It describes its database, so it has heard us.
            self.start_exchange(now, index, "2-way received, by a database description");
        }
        let our_id = self.config.router_id;
        let Some(neighbour) = self.neighbour_mut(index) else { return };
        let flags = description.flags;
        let received = (flags, description.options, description.sequence);
        match neighbour.state {
            State::Down | State::Init | State::TwoWay => {}
            State::ExStart => {
                let leads = flags & FIRST == FIRST && description.headers.is_empty() && router_id > our_id;
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
                self.negotiation_done(now, index);
                self.take_description(now, index, description);
            }
            State::Exchange => {
                let again = neighbour.last_received == Some(received);
                if again || neighbour.comes_late(flags, description.sequence) {
                    if !neighbour.master {
                        self.repeat_description(index);
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
                    self.take_description(now, index, description);
                } else {
                    self.start_exchange(now, index, "sequence number mismatch");
                }
            }
            State::Loading | State::Full => {
                let again = neighbour.last_received == Some(received);
                if again || neighbour.comes_late(flags, description.sequence) {
                    if !neighbour.master {
                        self.repeat_description(index);
                    }
                } else {
                    self.start_exchange(now, index, "sequence number mismatch");
                }
            }
        }
    }

    /// Larger packets than ours would be lost on the way.
    fn mtu_fits(&mut self, index: u32, router_id: Ipv4Addr, theirs: u16) -> bool {
        let Some(interface) = self.interfaces.get_mut(&index) else { return false };
        let ours = interface.link.mtu;
        if u32::from(theirs) <= ours || interface.config.mtu_ignore {
            interface.problems[Topic::Exchange as usize] = None;
            return true;
        }
        let name = interface.link.name.clone();
        self.problem(
            index,
            Topic::Exchange,
            format!(
                "{name}: {router_id} says MTU {theirs}, ours is {ours}: give both ends the same mtu, or write \
                 `ip ospf mtu-ignore`"
            ),
        );
        false
    }

    /// NegotiationDone: the summary list is the whole database of the area.
    fn negotiation_done(&mut self, now: Instant, index: u32) {
        self.set_state(now, index, State::Exchange, "negotiation done");
        let Some(area) = self.interfaces.get(&index).map(|interface| interface.config.area) else { return };
        let Some(lsdb) = self.areas.get(&area) else { return };
        let mut dying = Vec::new();
        let mut headers = Vec::with_capacity(lsdb.len());
        for (key, entry) in lsdb.iter().filter(|(key, _)| key.kind != lsa_kind::OPAQUE_LINK) {
            if entry.is_max_age(now) {
                dying.push(*key);
            } else {
                headers.push(entry.header(now));
            }
        }
        if let Some(neighbour) = self.neighbour_mut(index) {
            neighbour.summary = headers.into();
            neighbour.description = None;
        }
        for key in dying {
            self.retransmit_until_acknowledged(now, index, key);
        }
    }

    /// Section 10.6 at its end: a description that is in its turn.
    fn take_description(&mut self, now: Instant, index: u32, description: &DatabaseDescription) {
        let Some(interface) = self.interfaces.get_mut(&index) else { return };
        let Some(lsdb) = self.areas.get(&interface.config.area) else { return };
        let Some(neighbour) = &mut interface.neighbour else { return };
        neighbour.late = 0;
        neighbour.last_received = Some((description.flags, description.options, description.sequence));
        for header in &description.headers {
            if !is_known(header.key.kind) {
                return self.start_exchange(now, index, "sequence number mismatch: an unknown LS type");
            }
            let newer = lsdb.get(&header.key).is_none_or(|entry| header.compare(&entry.header(now)).is_gt());
            if newer && neighbour.requests.len() < crate::lsdb::MAX_LSAS {
                neighbour.requests.insert(header.key, *header);
            }
        }
        let they_are_done = description.flags & DatabaseDescription::MORE == 0;
        let we_were_done = neighbour
            .last_sent
            .as_ref()
            .is_some_and(|last| last.flags & (DatabaseDescription::MORE | DatabaseDescription::INIT) == 0);
        if neighbour.master {
            neighbour.sequence = neighbour.sequence.wrapping_add(1);
            if they_are_done && we_were_done {
                self.exchange_done(now, index);
            } else {
                self.describe_more(now, index);
            }
        } else {
            neighbour.sequence = description.sequence;
            self.describe_more(now, index);
            let done = self.neighbour_mut(index).and_then(|neighbour| neighbour.last_sent.as_ref());
            if they_are_done && done.is_some_and(|last| last.flags & DatabaseDescription::MORE == 0) {
                self.exchange_done(now, index);
            }
        }
    }

    fn exchange_done(&mut self, now: Instant, index: u32) {
        let Some(neighbour) = self.neighbour_mut(index) else { return };
        neighbour.description = None;
        let held = std::mem::take(&mut neighbour.held_requests);
        if neighbour.requests.is_empty() {
            self.set_state(now, index, State::Full, "exchange done");
        } else {
            self.set_state(now, index, State::Loading, "exchange done");
            self.send_requests(now, index);
        }
        if !held.is_empty() {
            self.answer_requests(now, index, &held);
        }
    }

    fn send_requests(&mut self, now: Instant, index: u32) {
        let repeated = self.repeated(now, index);
        let Some(neighbour) = self.neighbour_mut(index) else { return };
        let keys: Vec<LsaKey> = neighbour.requests.keys().take(MAX_REQUESTS).copied().collect();
        neighbour.requested = keys.len();
        neighbour.request = repeated;
        self.send(index, ALL_ROUTERS, &Packet::LinkStateRequest(keys));
    }

    /// An LSA of the request list has come.
    pub(crate) fn request_satisfied(&mut self, now: Instant, index: u32, key: &LsaKey) {
        let Some(neighbour) = self.neighbour_mut(index) else { return };
        if neighbour.requests.remove(key).is_none() {
            return;
        }
        neighbour.requested = neighbour.requested.saturating_sub(1);
        if neighbour.state != State::Loading {
            return;
        }
        if neighbour.requests.is_empty() {
            neighbour.request = None;
            self.set_state(now, index, State::Full, "loading done");
        } else if neighbour.requested == 0 {
            self.send_requests(now, index);
        }
    }

    /// Section 10.7. While databases are being described, answers wait: some neighbours lose them.
    pub(crate) fn receive_requests(&mut self, now: Instant, index: u32, keys: &[LsaKey]) {
        let Some(neighbour) = self.neighbour_mut(index) else { return };
        match neighbour.state {
            State::Exchange => {
                let room = MAX_HELD.saturating_sub(neighbour.held_requests.len());
                neighbour.held_requests.extend(keys.iter().take(room));
            }
            State::Loading | State::Full => self.answer_requests(now, index, keys),
            _ => {}
        }
    }

    fn answer_requests(&mut self, now: Instant, index: u32, keys: &[LsaKey]) {
        let Some(lsdb) = self.interfaces.get(&index).and_then(|i| self.areas.get(&i.config.area)) else {
            return;
        };
        if keys.iter().any(|key| lsdb.get(key).is_none()) {
            return self.start_exchange(now, index, "bad link state request");
        }
        self.send_updates(now, index, ALL_ROUTERS, keys);
    }

    /// Repetitions that are due.
    pub(crate) fn repeat_exchange(&mut self, now: Instant, index: u32) {
        let Some(neighbour) = self.neighbour_mut(index) else { return };
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
        if description {
            self.repeat_description(index);
        }
        if request && !keys.is_empty() {
            self.send(index, ALL_ROUTERS, &Packet::LinkStateRequest(keys));
        }
    }
}

/// LS types that an area takes.
pub(crate) fn is_known(kind: u8) -> bool {
    matches!(kind, lsa_kind::ROUTER..=lsa_kind::EXTERNAL | lsa_kind::NSSA | lsa_kind::OPAQUE_LINK..=lsa_kind::OPAQUE_AS)
}
