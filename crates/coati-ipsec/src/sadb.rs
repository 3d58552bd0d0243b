//! The control side: PF_KEY's requests answered, lifetimes watched, packets held until their SA is there.
//!
//! Semantics are those of the KAME kernels (RFC 2367, setkey(8)): GETSPI makes a larval SA, UPDATE gives it keys,
//! ADD makes one at once; `unique` without a number gets a reqid of its own; policies stay when SAs are flushed, so
//! that nothing leaves in clear.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use coati_crypto::RandomSource;
use coati_sadb::{
    Acquire, Action, AuthAlgorithm, Bundle, Direction, EncAlgorithm, Expire, Level, Lifetime, Mode,
    Notification, Policy, PolicyId, Refusal, Reply, ReqId, Request, Sa, SaId, SaProto, SaState, Secret,
    Selector, Spi, Usage,
};
use coati_wire::too_big::Message;

use crate::counters::{Counters, Drop};
use crate::esp::LazyTransform;
use crate::packet::Packet;
use crate::path::{Paths, Quoted};
use crate::replay::ReplayWindow;
use crate::shared_map::SharedMap;
use crate::snapshot::{LivePolicy, LiveSa, LiveUsage, Rank, Repeats, Snapshot};

/// SAs in the table at the most.
const MAX_SAS: usize = 65_536;
/// Policies in the table at the most.
const MAX_POLICIES: usize = 65_536;
/// How long a larval SA waits for its keys.
const LARVAL_LIFE: Duration = Duration::from_secs(30);
/// An ACQUIRE is repeated at most this often while packets keep coming.
const ACQUIRE_INTERVAL: Duration = Duration::from_secs(1);
/// Packets that wait for one policy at the most; the oldest goes first.
const MAX_HELD_PACKETS: usize = 64;
/// Bytes that wait in all at the most.
const MAX_HELD_BYTES: usize = 1 << 20;
/// How long a packet waits for its SA.
const MAX_HELD_TIME: Duration = Duration::from_secs(30);
/// How often byte and packet limits are looked at.
const TICK: Duration = Duration::from_secs(1);
/// Reports of unknown SPIs a second at the most.
const MAX_UNKNOWN_SPIS: u32 = 10;

/// SPD and SAD, with a single owner.
pub struct Sadb {
    random: Box<dyn RandomSource>,
    /// By number, which grows with every new one.
    /// Boxed: a map's node has room for eleven, and half of that is empty where numbers grow.
    sas: BTreeMap<u64, Box<Entry>>,
    /// Their numbers by what tells them apart.
    numbers: HashMap<(IpAddr, SaProto, Spi), u64>,
    last_number: u64,
    /// In the order they are looked at.
    policies: BTreeMap<Rank, Arc<LivePolicy>>,
    ranks: HashMap<(Direction, Selector), Rank>,
    next_policy: u32,
    next_reqid: u32,
    acquired: HashMap<PolicyId, Instant>,
    held: HashMap<PolicyId, VecDeque<(Instant, Packet)>>,
    held_bytes: usize,
    notifications: VecDeque<Notification>,
    unknown_spis: (Option<Instant>, u32),
    paths: Paths,
    /// Some path carries more or less since [`Sadb::take_paths_changed`].
    paths_changed: bool,
    counters: Arc<Counters>,
    snapshot: Arc<Snapshot>,
    next_tick: Option<Instant>,
}

struct Entry {
    sa: Sa,
    live: Option<Arc<LiveSa>>,
    added: Instant,
    soft_done: bool,
}

impl Sadb {
    /// Empty tables.
    pub fn new(random: Box<dyn RandomSource>) -> Self {
        let counters = Arc::new(Counters::default());
        Self {
            random,
            sas: BTreeMap::new(),
            numbers: HashMap::new(),
            last_number: 0,
            policies: BTreeMap::new(),
            ranks: HashMap::new(),
            next_policy: 1,
            next_reqid: ReqId::MANUAL_MAX + 1,
            acquired: HashMap::new(),
            held: HashMap::new(),
            held_bytes: 0,
            notifications: VecDeque::new(),
            unknown_spis: (None, 0),
            paths: Paths::default(),
            paths_changed: false,
            snapshot: Arc::new(Snapshot { counters: counters.clone(), ..Snapshot::default() }),
            counters,
            next_tick: None,
        }
    }

    /// What the packet threads should use from now on.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// The counters of all threads.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// The policies, in the order they are looked at.
    pub fn policies(&self) -> Vec<Policy> {
        self.policies.values().map(|live| policy_now(&live.policy, &live.usage)).collect()
    }

    /// SAs through which at least `least` packets have come that were there before, and no new one since the first of
    /// them: each with their number, and when that first one came, in Unix seconds.
    pub fn only_repeated(&self, least: u64) -> Vec<(SaId, u64, u64)> {
        let repeated = |entry: &Entry| {
            let live = entry.live.as_ref()?;
            let (count, since) = live.repeats.alone(live.usage.packets.load(Ordering::Relaxed))?;
            (count >= least).then_some((entry.sa.id, count, since))
        };
        self.sas.values().filter_map(|entry| repeated(entry)).collect()
    }

    /// Carries `request` out. `wall` is the time in Unix seconds.
    pub fn request(&mut self, now: Instant, wall: u64, request: Request) -> Reply {
        let reply = self.carry_out(now, wall, request);
        self.set_tick(now);
        reply
    }

    /// Whether there is something among them that can never be done here, whatever is in the tables: then what to answer
    /// to each of them, and nothing should be done.
    pub fn check(&self, now: Instant, wall: u64, requests: &[Request]) -> Result<(), Vec<Reply>> {
        let objections: Vec<Option<Refusal>> = requests.iter().map(|it| objection(now, wall, it)).collect();
        if objections.iter().all(Option::is_none) {
            return Ok(());
        }
        let refused = |it: Option<Refusal>| Reply::Refused { refusal: it.unwrap_or(Refusal::Withheld) };
        Err(objections.into_iter().map(refused).collect())
    }

    /// Carries them all out, in their order. The packet threads see what was before and what comes after, and nothing
    /// between: policies that are flushed and added again are there all the time.
    pub fn requests(&mut self, now: Instant, wall: u64, requests: Vec<Request>) -> Vec<Reply> {
        let replies = requests.into_iter().map(|request| self.carry_out(now, wall, request)).collect();
        self.set_tick(now);
        replies
    }

    fn carry_out(&mut self, now: Instant, wall: u64, request: Request) -> Reply {
        let result = match request {
            Request::GetSpi { source, destination, proto, mode, reqid, spi } => {
                self.get_spi(now, wall, SaId { source, destination, proto, spi }, mode, reqid)
            }
            Request::Add(sa) => self.add(now, wall, *sa),
            Request::Update(sa) => self.update(now, wall, *sa),
            Request::Delete(id) => self.delete(id),
            Request::DeleteAll { source, destination, proto } => {
                let all = self.sas.values().map(|entry| entry.sa.id);
                let doomed: Vec<SaId> = all
                    .filter(|id| (id.source, id.destination, id.proto) == (source, destination, proto))
                    .collect();
                doomed.iter().for_each(|id| {
                    self.kill(id);
                });
                if doomed.is_empty() { Err(Refusal::NoSa) } else { Ok(Reply::Done) }
            }
            Request::Get(id) => match self.number_of(&id).and_then(|number| self.sas.get(&number)) {
                Some(entry) => Ok(Reply::Sas { sas: vec![entry.now()] }),
                None => Err(Refusal::NoSa),
            },
            Request::Flush(proto) => {
                let all = self.sas.values().map(|entry| entry.sa.id);
                let doomed: Vec<SaId> =
                    all.filter(|id| proto.is_none_or(|proto| id.proto == proto)).collect();
                doomed.iter().for_each(|id| {
                    self.kill(id);
                });
                Ok(Reply::Done)
            }
            Request::Dump(proto) => {
                let chosen =
                    self.sas.values().filter(|entry| proto.is_none_or(|proto| entry.sa.id.proto == proto));
                Ok(Reply::Sas { sas: chosen.map(|entry| entry.now()).collect() })
            }
            Request::SpdAdd(policy) => self.spd_add(wall, *policy, false),
            Request::SpdUpdate(policy) => self.spd_add(wall, *policy, true),
            Request::SpdDelete(selector, direction) => self.spd_delete(&selector, direction),
            Request::SpdFlush => {
                self.policies.clear();
                self.ranks.clear();
                let snapshot = Arc::make_mut(&mut self.snapshot);
                snapshot.host_policies = SharedMap::default();
                snapshot.wide_policies = Arc::default();
                snapshot.tunnels = SharedMap::default();
                self.drop_held(|_| true);
                Ok(Reply::Done)
            }
            Request::SpdDump => Ok(Reply::Policies { policies: self.policies() }),
        };
        result.unwrap_or_else(|refusal| Reply::Refused { refusal })
    }

    /// Reserves the SPI of `id`, or when that is 0 one that is free.
    fn get_spi(
        &mut self,
        now: Instant,
        wall: u64,
        id: SaId,
        mode: Mode,
        reqid: ReqId,
    ) -> Result<Reply, Refusal> {
        self.room_for_sa()?;
        let id = match id.spi {
            Spi(0) => SaId { spi: self.free_spi(id.destination, id.proto), ..id },
            _ if self.number_of(&id).is_some() => return Err(Refusal::Exists),
            _ => {
                id.check()?;
                id
            }
        };
        let sa = Sa {
            id,
            mode,
            reqid,
            enc: EncAlgorithm::Null,
            enc_key: Secret::default(),
            auth: AuthAlgorithm::None,
            auth_key: Secret::default(),
            replay_window: 0,
            esn: false,
            nat_t: None,
            soft: Lifetime::default(),
            hard: Lifetime::default(),
            state: SaState::Larval,
            usage: Usage { added: wall, ..Usage::default() },
            sequence: 0,
            offload: None,
        };
        self.put(Entry { sa, live: None, added: now, soft_done: false });
        Ok(Reply::Spi { spi: id.spi })
    }

    fn free_spi(&mut self, destination: IpAddr, proto: SaProto) -> Spi {
        loop {
            let spi = match proto {
                SaProto::Ipcomp => {
                    let (first, last) = Spi::NEGOTIATED_CPI.into_inner();
                    Spi(first + self.random.below(last - first + 1))
                }
                _ => Spi(self.random.number()),
            };
            let taken = self.numbers.contains_key(&(destination, proto, spi));
            if !spi.is_reserved() && !taken {
                return spi;
            }
        }
    }

    fn add(&mut self, now: Instant, wall: u64, sa: Sa) -> Result<Reply, Refusal> {
        self.room_for_sa()?;
        if self.number_of(&sa.id).is_some() {
            return Err(Refusal::Exists);
        }
        // No hardware does it here.
        let entry = Entry::new(now, wall, Sa { offload: None, ..sa })?;
        self.acquired.clear();
        self.put(entry);
        Ok(Reply::Done)
    }

    fn update(&mut self, now: Instant, wall: u64, sa: Sa) -> Result<Reply, Refusal> {
        let number = self.number_of(&sa.id).ok_or(Refusal::NoSa)?;
        let found = self.sas.get_mut(&number).ok_or(Refusal::NoSa)?;
        if found.sa.state == SaState::Larval {
            **found = Entry::new(now, wall, sa)?;
            if let Some(live) = &found.live {
                self.paths.tell(live);
                Arc::make_mut(&mut self.snapshot).put_sa(number, live);
            }
        } else {
            found.sa.soft = sa.soft;
            found.sa.hard = sa.hard;
            found.sa.nat_t = sa.nat_t;
            if let Some(live) = &found.live {
                live.udp_ports.store(udp_ports(&sa), Ordering::Relaxed);
                live.hard_packets.store(sa.hard.packets, Ordering::Relaxed);
                live.hard_bytes.store(sa.hard.bytes, Ordering::Relaxed);
            }
            found.soft_done = false;
        }
        Ok(Reply::Done)
    }

    fn delete(&mut self, id: SaId) -> Result<Reply, Refusal> {
        if self.kill(&id) { Ok(Reply::Done) } else { Err(Refusal::NoSa) }
    }

    fn number_of(&self, id: &SaId) -> Option<u64> {
        self.numbers.get(&what_tells(id)).copied()
    }

    fn put(&mut self, entry: Entry) {
        self.last_number += 1;
        self.numbers.insert(what_tells(&entry.sa.id), self.last_number);
        if let Some(live) = &entry.live {
            self.paths.tell(live);
            Arc::make_mut(&mut self.snapshot).put_sa(self.last_number, live);
        }
        self.sas.insert(self.last_number, Box::new(entry));
    }

    fn kill(&mut self, id: &SaId) -> bool {
        let Some(number) = self.numbers.remove(&what_tells(id)) else { return false };
        let live = self.sas.remove(&number).and_then(|entry| entry.live);
        if let Some(live) = live {
            live.dead.store(true, Ordering::Relaxed);
            Arc::make_mut(&mut self.snapshot).remove_sa(number, &live);
        }
        true
    }

    fn room_for_sa(&self) -> Result<(), Refusal> {
        if self.sas.len() >= MAX_SAS {
            return Err(Refusal::NoRoom(format!("there are {MAX_SAS} SAs already")));
        }
        Ok(())
    }

    fn spd_add(&mut self, wall: u64, mut policy: Policy, replace: bool) -> Result<Reply, Refusal> {
        check_policy(&policy)?;
        let key = (policy.direction, policy.selector);
        let existing = self.ranks.get(&key).copied();
        match existing {
            Some(_) if !replace => return Err(Refusal::Exists),
            None if self.policies.len() >= MAX_POLICIES => {
                return Err(Refusal::NoRoom(format!("there are {MAX_POLICIES} policies already")));
            }
            _ => {}
        }
        if let Action::Ipsec(rules) = &mut policy.action {
            for rule in rules {
                if rule.level == Level::Unique(ReqId(0)) {
                    rule.level = Level::Unique(ReqId(self.next_reqid));
                    self.next_reqid = self.next_reqid.checked_add(1).unwrap_or(ReqId::MANUAL_MAX + 1);
                }
            }
        }
        policy.id = PolicyId(self.next_policy);
        self.next_policy = self.next_policy.wrapping_add(1).max(1);
        policy.usage = Usage { added: wall, ..Usage::default() };
        // One that is replaced keeps its place.
        let rank = match existing {
            Some(rank) if rank.0 == policy.priority => rank,
            _ => (policy.priority, u64::from(policy.id.0)),
        };
        if let Some(existing) = existing {
            self.remove_policy(existing);
        }
        let live = Arc::new(LivePolicy { policy, rank, usage: LiveUsage::default() });
        Arc::make_mut(&mut self.snapshot).put_policy(&live);
        self.ranks.insert(key, rank);
        self.policies.insert(rank, live);
        Ok(Reply::Done)
    }

    fn spd_delete(&mut self, selector: &Selector, direction: Direction) -> Result<Reply, Refusal> {
        let rank = *self.ranks.get(&(direction, *selector)).ok_or(Refusal::NoPolicy)?;
        if let Some(policy) = self.remove_policy(rank) {
            self.drop_held(|id| id == policy.policy.id);
        }
        Ok(Reply::Done)
    }

    fn remove_policy(&mut self, rank: Rank) -> Option<Arc<LivePolicy>> {
        let live = self.policies.remove(&rank)?;
        self.ranks.remove(&(live.policy.direction, live.policy.selector));
        Arc::make_mut(&mut self.snapshot).remove_policy(&live);
        Some(live)
    }

    /// Keeps a packet until its policy has an SA, and asks for one. The bounds are 64 packets for a policy,
    /// 1 MiB in all, 30 seconds; what goes over them is dropped and counted, oldest first.
    pub fn hold(&mut self, now: Instant, policy: PolicyId, packet: Packet) {
        let Some(found) =
            self.policies.values().find(|live| live.policy.id == policy).map(|live| live.policy.clone())
        else {
            self.counters.dropped(Drop::PolicyDiscard);
            return;
        };
        self.acquire(now, &found);
        let queue = self.held.entry(policy).or_default();
        self.held_bytes += packet.len();
        queue.push_back((now, packet));
        while queue.len() > MAX_HELD_PACKETS || self.held_bytes > MAX_HELD_BYTES {
            let Some((_, oldest)) = queue.pop_front() else { break };
            self.held_bytes -= oldest.len();
            self.counters.dropped(Drop::HoldFull);
        }
        self.next_tick.get_or_insert(now + TICK);
    }

    fn acquire(&mut self, now: Instant, policy: &Policy) {
        if self
            .acquired
            .get(&policy.id)
            .is_some_and(|at| now.saturating_duration_since(*at) < ACQUIRE_INTERVAL)
        {
            return;
        }
        let Action::Ipsec(rules) = &policy.action else { return };
        let Some(rule) = Bundle::of(rules).map(|bundle| bundle.esp) else { return };
        let reqid = match rule.level {
            Level::Unique(reqid) => reqid,
            _ => ReqId(0),
        };
        let (source, destination) =
            rule.endpoints.unwrap_or((policy.selector.source.address, policy.selector.destination.address));
        self.acquired.insert(policy.id, now);
        self.notifications.push_back(Notification::Acquire(Acquire {
            policy: policy.id,
            source,
            destination,
            selector: policy.selector,
            proto: rule.proto,
            mode: rule.mode,
            reqid,
        }));
    }

    /// The packets that waited and can go now, in their order: to be taken after every request.
    pub fn take_released(&mut self) -> Vec<Packet> {
        let mut released = Vec::new();
        if self.held.is_empty() {
            return released;
        }
        let is_open = |(_, packet): &(Instant, Packet)| self.snapshot.is_open_for(packet);
        let open = self.held.iter().filter(|(_, packets)| packets.iter().any(is_open));
        let mut open: Vec<PolicyId> = open.map(|(id, _)| *id).collect();
        open.sort_unstable_by_key(|id| id.0);
        for id in open {
            for (_, packet) in self.held.remove(&id).unwrap_or_default() {
                self.held_bytes -= packet.len();
                released.push(packet);
            }
        }
        released
    }

    fn drop_held(&mut self, doomed: impl Fn(PolicyId) -> bool) {
        let ids: Vec<PolicyId> = self.held.keys().copied().filter(|id| doomed(*id)).collect();
        for (_, packet) in ids.iter().filter_map(|id| self.held.remove(id)).flatten() {
            self.held_bytes -= packet.len();
            self.counters.dropped(Drop::PolicyDiscard);
        }
    }

    /// Reports that a packet named an SPI that nobody has; at most ten a second are passed on.
    pub fn unknown_spi(&mut self, now: Instant, source: IpAddr, destination: IpAddr, spi: Spi) {
        let (since, count) = &mut self.unknown_spis;
        if since.is_none_or(|since| now.saturating_duration_since(since) >= TICK) {
            (*since, *count) = (Some(now), 0);
        }
        *count += 1;
        if *count <= MAX_UNKNOWN_SPIS {
            self.notifications.push_back(Notification::UnknownSpi { source, destination, spi });
        }
    }

    /// The MTUs of the interfaces that our addresses are on: what leaves there is no larger.
    pub fn set_links(&mut self, mtus: BTreeMap<IpAddr, u32>) {
        if self.paths.set_links(mtus) {
            self.measure_paths();
        }
    }

    /// A router says that a packet of ours is too large. Returns the ends of the path and what fits, when that is believed
    /// and was not known.
    pub fn too_big(&mut self, now: Instant, message: &Message<'_>) -> Option<(IpAddr, IpAddr, u32)> {
        let quoted = Quoted::parse(message.original)?;
        let sent = self.snapshot.outbound.get(&quoted.ends).into_iter().flatten().any(|(_, sa)| {
            sa.proto == quoted.proto
                && sa.spi.0 == quoted.spi
                && quoted.is_recent(sa.sequence.load(Ordering::Relaxed))
        });
        if !sent {
            self.counters.dropped(Drop::UntrustedIcmp);
            return None;
        }
        let mtu = self.paths.learn(now, &quoted, message)?;
        self.measure_paths();
        let (local, remote) = quoted.ends;
        Some((local, remote, mtu))
    }

    /// Whether some path carries more or less since the last call.
    pub fn take_paths_changed(&mut self) -> bool {
        std::mem::take(&mut self.paths_changed)
    }

    /// Tells every SA how much its path carries.
    fn measure_paths(&mut self) {
        self.paths_changed = true;
        for entry in self.sas.values() {
            if let Some(live) = &entry.live {
                self.paths.tell(live);
            }
        }
    }

    /// The next thing to tell the control plane.
    pub fn poll_notification(&mut self) -> Option<Notification> {
        self.notifications.pop_front()
    }

    /// When [`Sadb::handle_timeout`] wants to be called.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.next_tick
    }

    /// Ends what has outlived its limits. `wall` is the time in Unix seconds.
    pub fn handle_timeout(&mut self, now: Instant, wall: u64) {
        if self.next_tick.is_none_or(|tick| now < tick) {
            return;
        }
        let mut dead = Vec::new();
        for entry in self.sas.values_mut() {
            let hard = entry.sa.state == SaState::Larval && now >= entry.added + LARVAL_LIFE
                || entry.reached(&entry.sa.hard, now, wall)
                || entry.live.as_ref().is_some_and(|live| live.is_exhausted());
            let soft = !entry.soft_done
                && (entry.reached(&entry.sa.soft, now, wall)
                    || entry.live.as_ref().is_some_and(|live| live.is_nearly_exhausted()));
            if !hard && !soft {
                continue;
            }
            if entry.sa.state != SaState::Larval {
                let expire =
                    Expire { id: entry.sa.id, reqid: entry.sa.reqid, hard, current: entry.current(now) };
                self.notifications.push_back(Notification::Expire(expire));
            }
            entry.soft_done = true;
            if hard {
                dead.push(entry.sa.id);
            } else {
                entry.sa.state = SaState::Dying;
            }
        }
        for id in dead {
            self.kill(&id);
        }
        for queue in self.held.values_mut() {
            while queue
                .front()
                .is_some_and(|(since, _)| now.saturating_duration_since(*since) >= MAX_HELD_TIME)
            {
                let Some((_, packet)) = queue.pop_front() else { break };
                self.held_bytes -= packet.len();
                self.counters.dropped(Drop::HoldExpired);
            }
        }
        self.held.retain(|_, queue| !queue.is_empty());
        if self.paths.forget(now) {
            self.measure_paths();
        }
        self.next_tick = None;
        self.set_tick(now);
    }

    fn set_tick(&mut self, now: Instant) {
        if !self.sas.is_empty() || !self.held.is_empty() {
            self.next_tick.get_or_insert(now + TICK);
        }
    }
}

impl Entry {
    fn new(now: Instant, wall: u64, mut sa: Sa) -> Result<Self, Refusal> {
        sa.check()?;
        let transform = match sa.id.proto {
            SaProto::Ipcomp => None,
            _ => Some(LazyTransform::new(&sa)?),
        };
        sa.state = SaState::Mature;
        sa.usage = Usage { added: wall, ..Usage::default() };
        let live = LiveSa {
            proto: sa.id.proto,
            spi: sa.id.spi,
            source: sa.id.source,
            destination: sa.id.destination,
            reqid: sa.reqid,
            mode: sa.mode,
            hard_packets: AtomicU64::new(sa.hard.packets),
            hard_bytes: AtomicU64::new(sa.hard.bytes),
            udp_ports: AtomicU32::new(udp_ports(&sa)),
            non_ike_marker: sa.nat_t.is_some_and(|nat_t| nat_t.non_ike_marker),
            path: AtomicU32::new(0),
            transform,
            sequence: AtomicU64::new(0),
            replay: Mutex::new(ReplayWindow::new(sa.replay_window)),
            esn: sa.esn,
            usage: LiveUsage::default(),
            repeats: Repeats::default(),
            dead: AtomicBool::new(false),
        };
        Ok(Self { sa, live: Some(Arc::new(live)), added: now, soft_done: false })
    }

    fn current(&self, now: Instant) -> Lifetime {
        let usage = self.live.as_ref().map(|live| &live.usage);
        let load =
            |counter: fn(&LiveUsage) -> &AtomicU64| usage.map_or(0, |u| counter(u).load(Ordering::Relaxed));
        Lifetime {
            packets: load(|u| &u.packets),
            bytes: load(|u| &u.bytes),
            add_seconds: now.saturating_duration_since(self.added).as_secs(),
            use_seconds: load(|u| &u.first),
        }
    }

    fn reached(&self, limit: &Lifetime, now: Instant, wall: u64) -> bool {
        let current = self.current(now);
        let over = |limit: u64, value: u64| limit != 0 && value >= limit;
        over(limit.packets, current.packets)
            || over(limit.bytes, current.bytes)
            || over(limit.add_seconds, current.add_seconds)
            || current.use_seconds != 0 && over(limit.use_seconds, wall.saturating_sub(current.use_seconds))
    }

    /// The SA with its counters as they stand.
    fn now(&self) -> Sa {
        let mut sa = self.sa.clone();
        if let Some(live) = &self.live {
            sa.usage.packets = live.usage.packets.load(Ordering::Relaxed);
            sa.usage.bytes = live.usage.bytes.load(Ordering::Relaxed);
            sa.usage.used = live.usage.first.load(Ordering::Relaxed);
            sa.sequence = live.sequence.load(Ordering::Relaxed).max(live.highest_received());
        }
        sa
    }
}

impl LiveSa {
    fn is_exhausted(&self) -> bool {
        self.sequence.load(Ordering::Relaxed) >= self.last_sequence()
    }

    /// Nine tenths of the sequence numbers are used: time for a successor.
    fn is_nearly_exhausted(&self) -> bool {
        self.sequence.load(Ordering::Relaxed) >= self.last_sequence() / 10 * 9
    }
}

/// As the packet threads want them.
fn udp_ports(sa: &Sa) -> u32 {
    sa.nat_t.map_or(0, |nat_t| u32::from(nat_t.source_port) << 16 | u32::from(nat_t.destination_port))
}

/// SAs are told apart by destination, protocol and SPI (RFC 4301 section 4.1).
fn what_tells(id: &SaId) -> (IpAddr, SaProto, Spi) {
    (id.destination, id.proto, id.spi)
}

fn policy_now(policy: &Policy, usage: &LiveUsage) -> Policy {
    let mut policy = policy.clone();
    policy.usage.packets = usage.packets.load(Ordering::Relaxed);
    policy.usage.bytes = usage.bytes.load(Ordering::Relaxed);
    policy.usage.used = usage.last.load(Ordering::Relaxed);
    policy
}

/// Why a request can never be carried out, whatever there is already.
fn objection(now: Instant, wall: u64, request: &Request) -> Option<Refusal> {
    match request {
        Request::Add(sa) | Request::Update(sa) => Entry::new(now, wall, (**sa).clone()).err(),
        Request::SpdAdd(policy) | Request::SpdUpdate(policy) => check_policy(policy).err(),
        Request::GetSpi { source, destination, proto, spi, .. } if *spi != Spi(0) => {
            let id = SaId { source: *source, destination: *destination, proto: *proto, spi: *spi };
            id.check().err()
        }
        _ => None,
    }
}

/// What this data plane cannot honour is refused with a sentence, not accepted and ignored.
fn check_policy(policy: &Policy) -> Result<(), Refusal> {
    if policy.direction == Direction::Fwd {
        return Err(Refusal::Unsupported(
            "fwd policies are for the Linux kernel; here `in` is for what is forwarded too".into(),
        ));
    }
    policy.check()?;
    let Action::Ipsec(rules) = &policy.action else { return Ok(()) };
    for (rule, (near, far)) in rules.iter().filter_map(|rule| Some((rule, rule.tunnel_ends()?))) {
        let name = rule.proto.setkey_name();
        if near.is_unspecified() || far.is_unspecified() {
            return Err(Refusal::Unsupported(format!(
                "the embedded data plane looks for no end of a tunnel: name both addresses, {name}/tunnel/A-B/require"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use coati_crypto::SeededRandom;
    use coati_sadb::{Port, Prefix, Priority, Rule, Upper};
    use coati_wire::ip;

    use super::*;
    use crate::snapshot::Outbound;

    /// At the end of 32 bits: without extended numbers the SA ends and nothing wraps, with them both sides go on.
    #[test]
    fn the_end_of_32_bits() {
        let (source, destination) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        for esn in [false, true] {
            let now = Instant::now();
            let mut sadb = Sadb::new(Box::new(SeededRandom::new(1)));
            let sa = Sa {
                id: SaId { source, destination, proto: SaProto::Esp, spi: Spi(0x1000) },
                mode: Mode::Transport,
                reqid: ReqId(0),
                enc: EncAlgorithm::AesGcm16,
                enc_key: Secret::new(vec![1; 20]),
                auth: AuthAlgorithm::None,
                auth_key: Secret::default(),
                replay_window: 64,
                esn,
                nat_t: None,
                soft: Lifetime::default(),
                hard: Lifetime::default(),
                state: SaState::Mature,
                usage: Usage::default(),
                sequence: 0,
                offload: None,
            };
            let policy = |direction| Policy {
                id: PolicyId(0),
                selector: Selector {
                    source: Prefix::host(source),
                    source_port: Port::Any,
                    destination: Prefix::host(destination),
                    destination_port: Port::Any,
                    upper: Upper::Any,
                },
                direction,
                priority: Priority::default(),
                action: Action::Ipsec(vec![Rule {
                    proto: SaProto::Esp,
                    mode: Mode::Transport,
                    endpoints: None,
                    level: Level::Require,
                }]),
                usage: Usage::default(),
            };
            for request in
                [Request::Add(Box::new(sa.clone())), Request::SpdAdd(Box::new(policy(Direction::Out)))]
            {
                assert_eq!(sadb.request(now, 0, request), Reply::Done);
            }
            let live = sadb.sas.values().next().and_then(|entry| entry.live.clone()).unwrap();
            let last = u64::from(u32::MAX);
            live.sequence.store(last - 1, Ordering::Relaxed);
            for near in [last / 2, last - 1] {
                live.replay.lock().unwrap().accept(near).unwrap();
            }
            let send = |sadb: &Sadb| {
                let header = ip::Repr {
                    tos: 0,
                    id: 1,
                    dont_fragment: false,
                    ttl: 64,
                    protocol: 99,
                    source,
                    destination,
                    payload_len: 0,
                };
                let mut bytes = [0; 20];
                header.emit(&mut bytes).unwrap();
                let (mut packet, mut verdicts) = (Packet::new(&bytes), Vec::new());
                let random = &mut SeededRandom::new(2);
                sadb.snapshot().outbound(std::slice::from_mut(&mut packet), &mut verdicts, 0, random);
                (verdicts.remove(0), packet)
            };
            let (verdict, mut first) = send(&sadb);
            assert_eq!(verdict, Outbound::Sealed, "number 2^32 - 1");
            assert!(sadb.snapshot().inbound(&mut first, 0).is_ok());
            let (verdict, mut second) = send(&sadb);
            sadb.handle_timeout(now + TICK * 2, 2);
            if esn {
                assert_eq!(verdict, Outbound::Sealed, "number 2^32");
                assert!(sadb.snapshot().inbound(&mut second, 0).is_ok());
                assert_eq!(live.highest_received(), last + 1);
                assert_eq!(sadb.poll_notification(), None);
            } else {
                assert_eq!(verdict, Outbound::Dropped(Drop::SequenceExhausted));
                let Some(Notification::Expire(expire)) = sadb.poll_notification() else { panic!() };
                assert!(expire.hard && expire.id == sa.id);
                assert_eq!(
                    sadb.request(now, 0, Request::Get(sa.id)),
                    Reply::Refused { refusal: Refusal::NoSa }
                );
            }
        }
    }
}
