//! The engine: its state, its queues, and the verbs that are not in the files beside it.
//!
//! `input` takes datagrams and finished jobs, `demand` what the data plane wants, `timers` the time; `collisions`
//! decides between two of a kind, `ending` takes SAs down, `admin`, `schedule` and `reload` are for people.

mod admin;
mod collisions;
mod demand;
mod ending;
mod exposed;
mod input;
mod reload;
mod road_warrior;
mod schedule;
mod timers;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use coati_crypto::RandomSource;
use coati_sadb::Request;

use crate::config::{Config, ExchangeMode};
use crate::core::{Core, RequestTag, Transmit};
use crate::event::{EndReason, Event};
use crate::failure::Failure;
use crate::ikev1::fragment::Reassembly;
use crate::ikev1::greeting::Greetings;
use crate::ikev1::phase1::{Phase1, State};
use crate::job::Job;
use crate::party::Party;
use crate::remote_access::LoginRequest;
use crate::table::Table;

pub use admin::{IsakmpSa, NotDone, PairInfo};
pub use exposed::ExposedKey;
pub use schedule::TimerInfo;

/// All of IKE of one host.
pub struct Engine {
    core: Core,
    phase1: Table<Phase1>,
    /// By the cookie that we chose.
    own_cookies: HashMap<[u8; 8], u64>,
    /// Responders by address and cookie of the initiator, for its repeated first message.
    first_messages: HashMap<(SocketAddr, [u8; 8]), u64>,
    greetings: Greetings,
    /// Responders that are not established.
    half_open: BTreeSet<u64>,
    reassembly: Reassembly,
    /// Peers that have heard of us since we started.
    contacted: HashSet<IpAddr>,
    unknown_spi_seen: HashMap<IpAddr, Instant>,
}

impl Engine {
    /// An engine without any SA. `random` has to be fit for keys.
    pub fn new(config: Config, mut random: Box<dyn RandomSource>) -> Self {
        let greetings = Greetings::new(random.as_mut());
        Self {
            core: Core::new(config, random),
            phase1: Table::new(),
            own_cookies: HashMap::new(),
            first_messages: HashMap::new(),
            greetings,
            half_open: BTreeSet::new(),
            reassembly: Reassembly::default(),
            contacted: HashSet::new(),
            unknown_spi_seen: HashMap::new(),
        }
    }

    /// Tells the time of day, in Unix time: certificates are held against it. Tell it again when the clock was set.
    pub fn handle_clock(&mut self, now: Instant, unix_time: u64) {
        self.core.clock = Some((now, unix_time));
    }

    /// The next login to be decided about.
    pub fn poll_login(&mut self) -> Option<LoginRequest> {
        self.core.logins.pop_front()
    }

    /// How many addresses of the pool are given out.
    pub fn leases(&self) -> usize {
        self.core.leases.len()
    }

    pub(super) fn keep(&mut self, sa: Phase1) {
        let own = sa.cookies.get(sa.own()).copied().unwrap_or_default();
        self.own_cookies.insert(own, sa.id);
        if !sa.initiator {
            self.half_open.insert(sa.id);
        }
        self.phase1.insert(sa.id, sa);
    }

    pub(super) fn forget(&mut self, id: u64) -> Option<Phase1> {
        let sa = self.phase1.remove(id)?;
        self.core.leases.free(id);
        self.half_open.remove(&id);
        let [initiator, responder] = sa.cookies;
        self.own_cookies.remove(if sa.initiator { &initiator } else { &responder });
        if sa.exchange == ExchangeMode::Aggressive {
            self.first_messages.retain(|_, owner| *owner != id);
        }
        Some(sa)
    }

    /// The ISAKMP SA that new exchanges with this peer use.
    pub(super) fn best(&self, remote: IpAddr, party: Option<&Party>) -> Option<u64> {
        let usable = self
            .phase1
            .of(remote)
            .map(|(_, sa)| sa)
            .filter(|sa| sa.is_established() && party.is_none_or(|party| party.is(&sa.party())));
        usable.max_by_key(|sa| (sa.state == State::Established, sa.established)).map(|sa| sa.id)
    }

    pub(super) fn under_way(&mut self, remote: IpAddr) -> Option<&mut Phase1> {
        let (id, _) = self.phase1.of(remote).find(|(_, sa)| !sa.is_established())?;
        self.phase1.get_mut(&id)
    }

    /// The earliest time at which [`Engine::handle_timeout`] has something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.core.next_timeout()
    }

    /// Takes leave of all peers and removes all SAs.
    pub fn shutdown(&mut self) {
        loop {
            let first = self.phase1.values().next().map(Phase1::party);
            let Some(party) = first else { break };
            self.take_leave(party.address, Some(&party), EndReason::Shutdown);
        }
        let left: BTreeSet<IpAddr> = self.core.pairs.values().map(|pair| pair.want.peer()).collect();
        for remote in left {
            self.take_leave(remote, None, EndReason::Shutdown);
        }
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.core.transmits.pop_front()
    }

    /// The next request for the data plane. Take these before datagrams are sent: the peer may use an SA as soon as
    /// it hears of it.
    pub fn poll_request(&mut self) -> Option<(RequestTag, Request)> {
        self.core.requests.pop_front()
    }

    /// The next thing to tell.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.core.events.pop_front()
    }

    /// The next piece of work for another thread.
    pub fn poll_job(&mut self) -> Option<Job> {
        self.core.jobs.pop_front()
    }

    /// The last failure of each peer that has not been overcome since.
    pub fn failures(&self) -> impl Iterator<Item = &Failure> {
        self.core.failures.values()
    }

    /// Datagrams that were dropped, by reason.
    pub fn dropped(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.core.dropped.iter().map(|(why, count)| (*why, *count))
    }

    /// First messages that are remembered, and the bytes they take.
    #[cfg(test)]
    pub(crate) fn greetings_held(&self) -> (usize, usize) {
        self.greetings.held()
    }

    /// Says something in an informational message with the message id of a quick mode.
    #[cfg(test)]
    pub(crate) fn notify_in(&mut self, message_id: u32, what: u16) {
        if let Some(sa) = self.phase1.values().next() {
            let list = [crate::ikev1::informational::notification(sa, what, Vec::new())];
            crate::ikev1::informational::send_as(&mut self.core, sa, message_id, &list);
        }
    }

    #[cfg(test)]
    pub(crate) fn core_mut(&mut self) -> &mut Core {
        &mut self.core
    }
}
