//! Neighbours and their machine (RFC 2328 section 10).

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use coati_wire::ospf::{DatabaseDescription, LsaHeader, LsaKey};

/// States of a neighbour (section 10.1). `Attempt` is for networks without multicast and does not occur.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Not heard of.
    Down,
    /// It is heard, but does not hear us, as far as we know.
    Init,
    /// Both hear each other.
    TwoWay,
    /// Who is master is decided.
    ExStart,
    /// Databases are described.
    Exchange,
    /// What was missing is requested.
    Loading,
    /// Both databases are the same.
    Full,
}

impl State {
    /// Its name, as FRR writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Down => "Down",
            Self::Init => "Init",
            Self::TwoWay => "2-Way",
            Self::ExStart => "ExStart",
            Self::Exchange => "Exchange",
            Self::Loading => "Loading",
            Self::Full => "Full",
        }
    }
}

/// A wait that grows from one repetition to the next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    /// From `first` (or `longest`, when nothing is to be early) to `longest`.
    pub(crate) fn new(first: Duration, longest: Duration, early: bool) -> Self {
        Self { next: if early { first.min(longest) } else { longest }, longest }
    }

    pub(crate) fn advance(&mut self, now: Instant) -> Instant {
        let due = now + self.next;
        self.next = (self.next * 2).min(self.longest);
        due
    }
}

/// Something sent that is repeated until it is answered.
#[derive(Clone, Debug)]
pub(crate) struct Repeated {
    pub(crate) due: Instant,
    pub(crate) backoff: Backoff,
}

/// One neighbour.
#[derive(Debug)]
pub(crate) struct Neighbour {
    pub(crate) router_id: Ipv4Addr,
    /// Source of its hellos: the next hop.
    pub(crate) address: Ipv4Addr,
    pub(crate) state: State,
    /// When it came into this state.
    pub(crate) since: Instant,
    pub(crate) priority: u8,
    pub(crate) options: u8,
    pub(crate) designated: Ipv4Addr,
    pub(crate) backup: Ipv4Addr,
    /// End of its RouterDeadInterval.
    pub(crate) dead_at: Instant,
    /// Whether we lead the exchange.
    pub(crate) master: bool,
    /// DD sequence number.
    pub(crate) sequence: u32,
    /// What was received last: flags, options, sequence number.
    pub(crate) last_received: Option<(u8, u8, u32)>,
    /// Sequence number with which it wanted to lead, in this exchange.
    pub(crate) proposed: Option<u32>,
    /// What was sent last.
    pub(crate) last_sent: Option<DatabaseDescription>,
    /// Repetition of the last description, by the master or in ExStart.
    pub(crate) description: Option<Repeated>,
    /// Database summary list.
    pub(crate) summary: VecDeque<LsaHeader>,
    /// Link state request list.
    pub(crate) requests: BTreeMap<LsaKey, LsaHeader>,
    /// Requests that are on their way.
    pub(crate) requested: usize,
    pub(crate) request: Option<Repeated>,
    /// Its requests that are answered when the exchange is done.
    pub(crate) held_requests: Vec<LsaKey>,
    /// Link state retransmission list.
    pub(crate) retransmissions: BTreeMap<LsaKey, Repeated>,
    /// Times it fell back from Full.
    pub(crate) state_changes: u32,
}

impl Neighbour {
    pub(crate) fn new(now: Instant, router_id: Ipv4Addr, address: Ipv4Addr) -> Self {
        Self {
            router_id,
            address,
            state: State::Down,
            since: now,
            priority: 0,
            options: 0,
            designated: Ipv4Addr::UNSPECIFIED,
            backup: Ipv4Addr::UNSPECIFIED,
            dead_at: now,
            master: false,
            sequence: 0,
            last_received: None,
            proposed: None,
            last_sent: None,
            description: None,
            summary: VecDeque::new(),
            requests: BTreeMap::new(),
            requested: 0,
            request: None,
            held_requests: Vec::new(),
            retransmissions: BTreeMap::new(),
            state_changes: 0,
        }
    }

    /// Whether a description of this exchange comes late or again: packets overtake each other.
    pub(crate) fn is_stale(&self, flags: u8, sequence: u32) -> bool {
        const WINDOW: u32 = 64;
        if flags & DatabaseDescription::INIT != 0 {
            return self.proposed == Some(sequence);
        }
        let master_flag = flags & DatabaseDescription::MASTER != 0;
        let behind = self.sequence.wrapping_sub(sequence);
        master_flag != self.master && (1..WINDOW).contains(&behind)
    }

    /// Forgets what an adjacency has gathered.
    pub(crate) fn clear(&mut self) {
        self.last_received = None;
        self.proposed = None;
        self.last_sent = None;
        self.description = None;
        self.summary.clear();
        self.requests.clear();
        self.requested = 0;
        self.request = None;
        self.held_requests.clear();
        self.retransmissions.clear();
    }

    /// The earliest time at which something about it is due.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let description = self.description.as_ref().map(|repeated| repeated.due);
        let request = self.request.as_ref().map(|repeated| repeated.due);
        let retransmission = self.retransmissions.values().map(|repeated| repeated.due).min();
        [Some(self.dead_at), description, request, retransmission].into_iter().flatten().min()
    }
}
