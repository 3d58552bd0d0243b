//! What all exchanges share: configuration, randomness, queues to the owner, timers, SA pairs.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use coati_crypto::RandomSource;
use coati_sadb::{Action, Bundle, Direction, Level, ReqId, Request, SaId, SaProto, Secret, Selector};

use crate::ExposedKey;
use crate::config::{Config, Peer};
use crate::event::{EndReason, Event};
use crate::failure::Failure;
use crate::ikev1::compression::Compression;
use crate::ikev1::mode_config::Leases;
use crate::ikev1::nat::{KEEPALIVE, NON_ESP_MARKER};
use crate::ikev1::policy::Policies;
use crate::job::Job;
use crate::pair::{Pair, PairKey, Want};
use crate::remote_access::LoginRequest;
use crate::table::Table;

/// Peers whose last failure is remembered at the most.
const MAX_FAILURES: usize = 256;

/// Complaints to strangers, and remarks about them, in a second.
const STRANGERS_A_SECOND: u32 = 20;

/// A datagram to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// From this address and port.
    pub local: SocketAddr,
    /// To this one.
    pub remote: SocketAddr,
    /// UDP payload.
    pub payload: Vec<u8>,
}

/// So many of something in a second.
#[derive(Debug, Default)]
struct Allowance {
    since: Option<Instant>,
    used: u32,
}

impl Allowance {
    fn take(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= Duration::from_secs(1)) {
            (self.since, self.used) = (Some(now), 0);
        }
        self.used = self.used.saturating_add(1);
        self.used <= STRANGERS_A_SECOND
    }
}

/// Names a request for the data plane until its answer comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestTag(pub(crate) u64);

/// Why something was asked of the data plane.
#[derive(Clone, Debug)]
pub(crate) enum Purpose {
    /// The SPI of a quick mode, ESP's or IPComp's.
    QuickSpi { phase1: u64, message_id: u32, proto: SaProto },
    /// An SA of a pair.
    Install(IpAddr),
    /// An SA whose peer has another port now.
    Moved { local: u16, remote: u16 },
    /// How much a pair has received: DPD asks nothing of a peer that talks.
    Traffic { phase1: u64, pair: u64 },
    /// Whether the peer uses a new pair already; when it does not, the next look comes after this time.
    Used { pair: u64, next: Duration },
}

/// What a timer is about. Timers are never removed: who is called looks whether it still applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// The last message of phase 1.
    Phase1(u64),
    /// The last message of a quick mode.
    QuickMode(u64, u32),
    /// A quick mode that is done is forgotten.
    ForgetQuick(u64, u32),
    /// A half-open phase 1 is given up.
    HalfOpen(u64),
    /// The last message of a transaction.
    Transaction(u64, u32),
    /// A login is to be through, or its refusal is due.
    Login(u64),
    /// What waits for this phase 1 is begun.
    Waiting(u64),
    /// A NAT's mapping is kept alive.
    Keepalive(u64),
    /// Phase 1 is renewed.
    Renew(u64),
    /// Phase 1 is over.
    Expire(u64),
    /// Phase 1 has been replaced.
    Retire(u64),
    /// Dead peer detection.
    Dpd(u64),
    /// The responder of a pair renews it, since the initiator did not.
    RekeyLate(u64),
    /// Whether the peer uses a new pair already; the next look comes after this time.
    LookForUse(u64, Duration),
    /// A replaced pair is deleted.
    RetirePair(u64),
}

/// Whom an exponentiation is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JobOwner {
    pub(crate) phase1: u64,
    /// 0 is phase 1 itself.
    pub(crate) message_id: u32,
}

pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) random: Box<dyn RandomSource>,
    /// A moment, and what time of day it was in Unix time.
    pub(crate) clock: Option<(Instant, u64)>,
    pub(crate) policies: Policies,
    /// Selectors of outbound policies that were made of a peer's identities.
    pub(crate) generated: HashSet<Selector>,
    pub(crate) pairs: Table<Pair>,
    /// The explained failure of each peer that was last.
    pub(crate) failures: BTreeMap<IpAddr, Failure>,
    /// Datagrams that were dropped, by reason.
    pub(crate) dropped: BTreeMap<&'static str, u64>,
    pub(crate) transmits: VecDeque<Transmit>,
    pub(crate) requests: VecDeque<(RequestTag, Request)>,
    pub(crate) purposes: HashMap<u64, Purpose>,
    pub(crate) events: VecDeque<Event>,
    pub(crate) jobs: VecDeque<Job>,
    /// Keys of phase 1 for the owner, when it has asked for them.
    pub(crate) exposed: Option<VecDeque<ExposedKey>>,
    /// Logins that the owner has to decide about.
    pub(crate) logins: VecDeque<LoginRequest>,
    /// Names and passwords to give to a peer, by its address, in the place of what the files say.
    pub(crate) logins_for: BTreeMap<IpAddr, (String, Secret)>,
    pub(crate) leases: Leases,
    pub(crate) job_owners: HashMap<u64, JobOwner>,
    /// What may still be said to strangers, and about them, in this second.
    answers: Allowance,
    remarks: Allowance,
    timers: BinaryHeap<Reverse<(Instant, Timer)>>,
    last_id: u64,
    last_reqid: u32,
}

impl Core {
    pub(crate) fn new(config: Config, random: Box<dyn RandomSource>) -> Self {
        Self {
            config,
            random,
            clock: None,
            policies: Policies::default(),
            generated: HashSet::new(),
            pairs: Table::new(),
            failures: BTreeMap::new(),
            dropped: BTreeMap::new(),
            transmits: VecDeque::new(),
            requests: VecDeque::new(),
            purposes: HashMap::new(),
            events: VecDeque::new(),
            jobs: VecDeque::new(),
            exposed: None,
            logins: VecDeque::new(),
            logins_for: BTreeMap::new(),
            leases: Leases::default(),
            job_owners: HashMap::new(),
            answers: Allowance::default(),
            remarks: Allowance::default(),
            timers: BinaryHeap::new(),
            last_id: 0,
            last_reqid: 0,
        }
    }

    pub(crate) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    pub(crate) fn set_timer(&mut self, at: Instant, timer: Timer) {
        self.timers.push(Reverse((at, timer)));
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    /// All timers, also those that apply to nothing any more, in no order.
    pub(crate) fn timers(&self) -> impl Iterator<Item = (Instant, Timer)> {
        self.timers.iter().map(|Reverse(timer)| *timer)
    }

    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        match self.timers.peek() {
            Some(Reverse((at, _))) if *at <= now => self.timers.pop().map(|Reverse((_, timer))| timer),
            _ => None,
        }
    }

    pub(crate) fn send(&mut self, local: SocketAddr, remote: SocketAddr, payload: Vec<u8>) {
        let payload = if local.port() == self.config.natt_port {
            [&NON_ESP_MARKER[..], &payload].concat()
        } else {
            payload
        };
        self.transmits.push_back(Transmit { local, remote, payload });
    }

    /// A byte that keeps the mapping of a NAT before us alive.
    pub(crate) fn send_keepalive(&mut self, local: SocketAddr, remote: SocketAddr) {
        self.transmits.push_back(Transmit { local, remote, payload: KEEPALIVE.to_vec() });
    }

    /// Whether a complaint may be sent to somebody who has proved nothing.
    pub(crate) fn may_complain(&mut self, now: Instant) -> bool {
        self.answers.take(now)
    }

    /// As [`Self::fail`], about somebody whose address may be invented: a flood does not fill logs.
    pub(crate) fn fail_stranger(&mut self, now: Instant, failure: Failure) {
        if self.remarks.take(now) {
            self.fail(failure);
        }
    }

    /// Asks the data plane; the answer to a request with a purpose is acted upon.
    pub(crate) fn ask(&mut self, request: Request, purpose: Option<Purpose>) {
        let tag = self.next_id();
        if let Some(purpose) = purpose {
            self.purposes.insert(tag, purpose);
        }
        self.requests.push_back((RequestTag(tag), request));
    }

    pub(crate) fn drop_datagram(&mut self, why: &'static str) {
        *self.dropped.entry(why).or_default() += 1;
    }

    /// Remembers and tells a failure, once as long as it stays the same.
    pub(crate) fn fail(&mut self, failure: Failure) {
        let remote = failure.remote;
        if self.failures.get(&remote) == Some(&failure) {
            return;
        }
        // Senders may be invented: somebody else makes room.
        if self.failures.len() >= MAX_FAILURES && !self.failures.contains_key(&remote) {
            let any = self.random.below(u32::try_from(MAX_FAILURES).unwrap_or(1));
            let any = self.failures.keys().nth(usize::try_from(any).unwrap_or(0)).copied();
            any.map(|any| self.failures.remove(&any));
        }
        self.failures.insert(remote, failure.clone());
        self.events.push_back(Event::Failure(Box::new(failure)));
    }

    /// The time of day in Unix time.
    pub(crate) fn unix_time(&self, now: Instant) -> Option<u64> {
        let (then, unix_time) = self.clock?;
        Some(unix_time.saturating_add(now.saturating_duration_since(then).as_secs()))
    }

    pub(crate) fn peer(&self, index: usize) -> Option<&Peer> {
        self.config.peers.get(index)
    }

    /// Random bytes.
    pub(crate) fn random_bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.random.fill(&mut bytes);
        bytes
    }

    /// What the outbound policy with this selector wants.
    pub(crate) fn want_of(&self, selector: &Selector) -> Option<Want> {
        let out = self.policies.get(Direction::Out, selector)?;
        let Action::Ipsec(rules) = &out.action else { return None };
        let bundle = Bundle::of(rules)?;
        let rule = bundle.esp;
        let (local, remote) =
            rule.endpoints.unwrap_or((selector.source.address, selector.destination.address));
        let reversed = selector.reversed();
        let inbound = self.policies.get(Direction::In, &reversed).and_then(|policy| match &policy.action {
            Action::Ipsec(rules) => Bundle::of(rules),
            _ => None,
        });
        let compression_in = inbound.and_then(|bundle| bundle.ipcomp).or(bundle.ipcomp);
        let inbound = inbound.map(|bundle| bundle.esp);
        Some(Want {
            selector: *selector,
            local,
            remote,
            mode: rule.mode,
            reqid_out: reqid(rule.level),
            reqid_in: inbound.map_or(reqid(rule.level), |rule| reqid(rule.level)),
            compression: match bundle.ipcomp.map(|rule| rule.level) {
                None => Compression::No,
                Some(Level::Use) => Compression::Use,
                Some(_) => Compression::Require,
            },
            compression_reqids: [bundle.ipcomp, compression_in]
                .map(|rule| rule.map_or(ReqId(0), |rule| reqid(rule.level))),
            generated: self.generated.contains(selector),
            party: None,
        })
    }

    /// The pair that packets of this policy leave with.
    pub(crate) fn live_pair(&self, want: &Want) -> Option<(u64, &Pair)> {
        let pairs = self.pairs.of(PairKey::Selector(want.selector));
        pairs.rev().find(|(_, pair)| !pair.retired && pair.want.is_for(want))
    }

    /// The pair that is to take over as soon as the peer is ready.
    pub(crate) fn held_pair(&self, want: &Want) -> Option<u64> {
        let mut pairs = self.pairs.of(PairKey::Selector(want.selector));
        pairs.find(|(_, pair)| pair.held.is_some() && pair.want.is_for(want)).map(|(id, _)| id)
    }

    /// Begins to send with a pair that was held back.
    pub(crate) fn release(&mut self, id: u64) -> bool {
        let Some(pair) = self.pairs.get_mut(&id) else { return false };
        let Some(outbound) = pair.held.take() else { return false };
        let remote = pair.want.peer();
        self.ask(Request::Add(outbound), Some(Purpose::Install(remote)));
        true
    }

    /// Removes a pair and its SAs. Returns the inbound SPI, which the peer has to be told.
    pub(crate) fn remove_pair(&mut self, id: u64, why: EndReason) -> Option<SaId> {
        let pair = self.pairs.remove(id)?;
        self.ask(Request::Delete(pair.inbound), None);
        if !pair.retired && pair.held.is_none() {
            self.ask(Request::Delete(pair.outbound), None);
        }
        if let Some([inbound, outbound]) = pair.compression {
            self.ask(Request::Delete(inbound), None);
            if !pair.retired {
                self.ask(Request::Delete(outbound), None);
            }
        }
        let Pair { inbound, outbound, .. } = pair;
        self.events.push_back(Event::PairDeleted { inbound, outbound, mode: pair.want.mode, why });
        self.remove_generated(&pair.want);
        Some(pair.inbound)
    }

    /// Policies that were made for pairs go with the last of them.
    pub(crate) fn remove_generated(&mut self, want: &Want) {
        let selector = want.selector;
        if !want.generated || self.pairs.of(PairKey::Selector(selector)).next().is_some() {
            return;
        }
        if self.generated.remove(&selector) {
            let reversed = selector.reversed();
            self.policies.remove(Direction::Out, &selector);
            self.policies.remove(Direction::In, &reversed);
            self.ask(Request::SpdDelete(Box::new(selector), Direction::Out), None);
            self.ask(Request::SpdDelete(Box::new(reversed), Direction::In), None);
        }
    }

    /// A reqid for a policy that is made here, out of the way of those that a data plane allots.
    pub(crate) fn generated_reqid(&mut self) -> ReqId {
        self.last_reqid = self.last_reqid.wrapping_add(1) & 0x3fff_ffff;
        ReqId(0x4000_0000 | self.last_reqid)
    }

    /// The peer behind a NAT has another port: ESP goes there too.
    pub(crate) fn peer_moved(&mut self, before: SocketAddr, local: SocketAddr, remote: SocketAddr) {
        if before.ip() != remote.ip() {
            return;
        }
        // Others behind the same NAT stay where they are.
        let is_its = |pair: &&mut Pair| pair.want.party.as_ref().is_none_or(|party| party.is_at(before));
        for id in self.pairs.ids(PairKey::Remote(remote.ip())) {
            let Some(pair) = self.pairs.get_mut(&id).filter(is_its) else { continue };
            if let Some(party) = &mut pair.want.party {
                party.moved(before, remote);
            }
            if let Some(nat_t) = pair.held.as_mut().and_then(|held| held.nat_t.as_mut()) {
                (nat_t.source_port, nat_t.destination_port) = (local.port(), remote.port());
            }
            let id = pair.outbound;
            self.ask(Request::Get(id), Some(Purpose::Moved { local: local.port(), remote: remote.port() }));
        }
    }

    pub(crate) fn job_for(&mut self, phase1: u64, message_id: u32) -> u64 {
        let id = self.next_id();
        self.job_owners.insert(id, JobOwner { phase1, message_id });
        id
    }
}

fn reqid(level: Level) -> ReqId {
    match level {
        Level::Unique(reqid) => reqid,
        _ => ReqId(0),
    }
}
