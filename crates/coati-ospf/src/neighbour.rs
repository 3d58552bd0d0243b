//! Neighbours and their machine (RFC 2328 section 10).

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use coati_wire::ospf::{DatabaseDescription, LsaHeader, LsaKey};

/// A neighbour of one of our interfaces. On networks with many routers neighbours are told apart by their addresses,
/// on point-to-point and virtual links by router id (section 8.2); there is one key for either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Peer {
    pub(crate) interface: u32,
    pub(crate) key: Ipv4Addr,
}

/// States of a neighbour (section 10.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Not heard of.
    Down,
    /// Not heard of, on a network without multicast: it gets hellos all the same.
    Attempt,
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
            Self::Attempt => "Attempt",
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
    /// The description that is being looked at leads: ours would only be one more packet that can come at the wrong time.
    pub(crate) leading: bool,
    /// Cryptographic sequence number of its last packet.
    pub(crate) auth_sequence: u32,
    /// DD sequence number.
    pub(crate) sequence: u32,
    /// The last one with which we wanted to lead.
    proposal: Option<u32>,
    /// Descriptions that came late since the last one in its turn.
    pub(crate) late: u32,
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
    /// Nothing of it is due before this time.
    retransmission_due: Option<Instant>,
    /// Large packets in a row that it has not answered.
    pub(crate) unanswered: u32,
    /// Small ones: while they are not answered either, it is busy and not the path narrow.
    pub(crate) unanswered_small: u32,
    /// The first LSA that it asked for last.
    pub(crate) last_asked: Option<LsaKey>,
    /// It is Full, and not told of before this time: it was lost too often.
    pub(crate) counts_from: Option<Instant>,
    /// Until when it counts as adjacent while it restarts.
    pub(crate) helped_until: Option<Instant>,
    /// It has said that its restart is over, but no hello has come since: its last one may be from before it knew who is
    /// designated router.
    pub(crate) back_again: bool,
    /// When it gets its next hello while it is silent, on a network without multicast.
    pub(crate) poll_due: Option<Instant>,
    /// Hellos to our own address since the last one to everybody.
    pub(crate) direct_hellos: u32,
    /// Hellos of ours since it is heard and does not hear us.
    pub(crate) unheard: u32,
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
            leading: false,
            auth_sequence: 0,
            direct_hellos: 0,
            unheard: 0,
            sequence: 0,
            proposal: None,
            late: 0,
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
            retransmission_due: None,
            unanswered: 0,
            unanswered_small: 0,
            last_asked: None,
            counts_from: None,
            helped_until: None,
            back_again: false,
            poll_due: None,
            state_changes: 0,
        }
    }

    /// Whether databases are being made the same, or are.
    pub(crate) fn is_adjacent(&self) -> bool {
        self.state >= State::Exchange
    }

    /// Whether the network is told that it is adjacent: it is, and was not lost too often, or it restarts.
    pub(crate) fn counts_as_full(&self) -> bool {
        self.state == State::Full && self.counts_from.is_none() || self.helped_until.is_some()
    }

    /// Whether its RouterDeadInterval is over.
    pub(crate) fn is_dead(&self, now: Instant) -> bool {
        self.state > State::Down && self.dead_at <= now && self.helped_until.is_none()
    }

    /// Whether it understands these options, as it said in its descriptions.
    pub(crate) fn has_option(&self, option: u8) -> bool {
        self.options & option != 0
    }

    /// Puts an LSA on the retransmission list.
    pub(crate) fn retransmit(&mut self, key: LsaKey, repeated: Repeated) {
        self.retransmission_due =
            Some(self.retransmission_due.map_or(repeated.due, |due| due.min(repeated.due)));
        self.retransmissions.insert(key, repeated);
    }

    /// LSAs of the retransmission list that are due.
    pub(crate) fn due_retransmissions(&mut self, now: Instant) -> Vec<LsaKey> {
        if self.retransmission_due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        let mut keys = Vec::new();
        for (key, repeated) in &mut self.retransmissions {
            if repeated.due <= now {
                repeated.due = repeated.backoff.advance(now);
                keys.push(*key);
            }
        }
        self.retransmission_due = self.retransmissions.values().map(|repeated| repeated.due).min();
        keys
    }

    /// Whether a description is an earlier one of this exchange: packets overtake each other.
    ///
    /// A neighbour that says nothing else has lost the thread, or somebody else has spoken in its name. After a few it
    /// is a mismatch, as the RFC has it from the first one on.
    pub(crate) fn comes_late(&mut self, flags: u8, sequence: u32) -> bool {
        const WINDOW: u32 = 64;
        const PATIENCE: u32 = 4;
        // Who repeats how it wanted to begin has not heard that it has begun, or has begun anew.
        const PATIENCE_AT_FIRST: u32 = 1;
        let init = flags & DatabaseDescription::INIT != 0;
        let earlier = if init {
            self.proposed == Some(sequence)
        } else {
            let behind = self.sequence.wrapping_sub(sequence);
            let from_the_other_role = (flags & DatabaseDescription::MASTER != 0) != self.master;
            from_the_other_role && (1..WINDOW).contains(&behind)
        };
        self.late += u32::from(earlier);
        earlier && self.late <= if init { PATIENCE_AT_FIRST } else { PATIENCE }
    }

    /// The sequence number with which we want to lead: none that an earlier exchange can have come to, so that what is
    /// left of that one is not taken for this one.
    pub(crate) fn propose(&mut self, random: u32) -> u32 {
        const STEP: u32 = 1 << 16;
        self.proposal = Some(self.proposal.map_or(random, |last| last.wrapping_add(STEP)));
        self.sequence = self.proposal.unwrap_or(random);
        self.sequence
    }

    /// It has answered something.
    pub(crate) fn answers(&mut self) {
        (self.unanswered, self.unanswered_small) = (0, 0);
    }

    /// Forgets what an adjacency has gathered.
    pub(crate) fn clear(&mut self) {
        self.late = 0;
        self.answers();
        self.last_asked = None;
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
        self.retransmission_due = None;
    }

    /// The earliest time at which something about it is due.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let dead = (self.state > State::Down).then_some(self.dead_at);
        let dead = self.helped_until.or(dead);
        let description = self.description.as_ref().map(|repeated| repeated.due);
        let request = self.request.as_ref().map(|repeated| repeated.due);
        let updates = self.retransmission_due.filter(|_| !self.retransmissions.is_empty());
        let counts = self.counts_from.filter(|_| self.state == State::Full);
        [dead, description, request, updates, self.poll_due, counts].into_iter().flatten().min()
    }
}
