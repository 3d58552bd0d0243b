//! The databases themselves: requests to the kernel, what it says unasked, and what of it all is ours.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::io;
use std::net::IpAddr;

use coati_sadb::{
    Acquire, Action, AuthAlgorithm, Changes, Direction, EncAlgorithm, Expire, Home, Level, Lifetime, Mode,
    Notification, Policy, PolicyId, Priority, Refusal, Reply, ReqId, Request, Rule, Sa, SaId, SaProto,
    SaState, Secret, Selector, Spi, Upper, Usage,
};
use coati_wire::pfkey::{Header, Layout, Message, message};
use zeroize::Zeroizing;

use crate::{policy, sa};

/// The sockets: one that asks, and one that hears what nobody has asked for.
pub trait Kernel {
    /// Sends a request. What the asking socket has heard before that is forgotten.
    fn send(&mut self, message: &[u8]) -> io::Result<()>;

    /// What the asking socket hears next, one message; it waits, but not for ever.
    fn receive(&mut self) -> io::Result<Zeroizing<Vec<u8>>>;

    /// Sends a message (SADB_REGISTER) from the other socket, so that the kernel speaks to that.
    fn register(&mut self, message: &[u8]) -> io::Result<()>;

    /// The next message that has come unasked; `None` when there is none. An error says that some got lost.
    fn hear(&mut self) -> io::Result<Option<Zeroizing<Vec<u8>>>>;

    /// Named counters of the kernel.
    fn counters(&self) -> Vec<(String, u64)>;
}

/// What a predecessor has left behind without a farewell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// SAs, whose keys nobody renews any more: they are gone.
    pub sas: usize,
    /// Policies: they protect until the first requests are carried out, and go then, unless those want them.
    pub policies: usize,
}

/// Destination, protocol and SPI: what tells SAs apart (RFC 4301 section 4.1).
type Name = (IpAddr, SaProto, Spi);

/// A usable SA.
struct Known {
    source: IpAddr,
    reqid: ReqId,
    mode: Mode,
    is_own: bool,
}

/// A policy of the kernel, and what it is here when there are words for it.
struct Found {
    id: PolicyId,
    policy: Option<Policy>,
    is_own: bool,
}

impl Found {
    fn is(&self, direction: Direction, selector: &Selector) -> bool {
        self.policy.as_ref().is_some_and(|it| (it.direction, &it.selector) == (direction, selector))
    }
}

/// Algorithms that the kernel has said it has: of integrity, and ciphers.
type Supported = BTreeMap<SaProto, (Vec<u8>, Vec<u8>)>;

/// The kernel's databases, and what is known of them.
pub struct PfKey<K: Kernel> {
    kernel: K,
    layout: Layout,
    sequence: u32,
    supported: Supported,
    sas: BTreeMap<Name, Known>,
    /// Those that have come where there was none before.
    first_sas: Vec<Name>,
    /// In the order they are looked at.
    policies: Vec<Policy>,
    own_policies: HashSet<(Direction, Selector)>,
    /// Numbers that policies and SAs have.
    reqids: BTreeSet<ReqId>,
    /// Packets that never leave unless a policy says how.
    guarded: Vec<Selector>,
    /// Those of them that a policy of ours blocks, since there is no other.
    blocked: HashSet<Selector>,
    /// Policies that go when the requests under way are carried out.
    doomed: Vec<Found>,
    policies_stale: bool,
    changes: Changes,
    /// Whether the ACQUIREs that nobody has heard were looked for.
    has_begun: bool,
    notifications: VecDeque<Notification>,
}

/// What is refused of a request whatever the kernel's state is.
pub fn refusal_of(layout: Layout, request: &Request) -> Option<Refusal> {
    match request {
        Request::Add(new) | Request::Update(new) => sa::message(layout, message::ADD, new).err(),
        Request::SpdAdd(new) | Request::SpdUpdate(new) => policy::message(layout, message::SPDADD, new).err(),
        _ => None,
    }
}

impl<K: Kernel> PfKey<K> {
    /// Looks what is there, and has the kernel tell from now on what it wants. The SAs of a predecessor that has crashed
    /// go at once; its policies stay until [`Home::requests`] is called first. From then on packets that match one of
    /// `guarded` are dropped where no policy says otherwise: a kernel would send them in clear.
    pub fn new(kernel: K, layout: Layout, guarded: Vec<Selector>) -> Result<(Self, Leftovers), Refusal> {
        let mut home = Self {
            kernel,
            layout,
            sequence: 0,
            supported: Supported::new(),
            sas: BTreeMap::new(),
            first_sas: Vec::new(),
            policies: Vec::new(),
            own_policies: HashSet::new(),
            reqids: BTreeSet::new(),
            guarded,
            blocked: HashSet::new(),
            doomed: Vec::new(),
            policies_stale: true,
            changes: Changes { sas: true, policies: true },
            has_begun: false,
            notifications: VecDeque::new(),
        };
        for proto in [SaProto::Esp, SaProto::Ah, SaProto::Ipcomp] {
            let kind = message::REGISTER;
            let asked = Message { kind, sa_type: sa::type_number(proto), ..home.numbered() }.emit(layout);
            home.kernel.register(&asked).map_err(|error| Problem::of_socket(&error).plain(layout))?;
        }
        home.probe()?;
        let mut left = Leftovers::default();
        for id in home.look_at_sas()? {
            left.sas += usize::from(home.ask(sa::named(message::DELETE, &id)).is_ok());
            home.sas.remove(&what_tells(&id));
        }
        home.doomed = home.dump_policies()?.into_iter().filter(|found| found.is_own).collect();
        left.policies = home.doomed.len();
        home.first_sas.clear();
        home.look_at_policies();
        Ok((home, left))
    }

    /// Makes an SA that nobody can use and removes it: whatever the kernel lacks is said now, by its name.
    fn probe(&mut self) -> Result<(), Refusal> {
        let loopback = IpAddr::from([127, 0, 0, 1]);
        let id = SaId { source: loopback, destination: loopback, proto: SaProto::Esp, spi: Spi(Spi::FIRST) };
        let unusable = Sa {
            id,
            mode: Mode::Transport,
            reqid: ReqId(0),
            enc: EncAlgorithm::AesCbc,
            enc_key: Secret::new(vec![0x55; 16]),
            auth: AuthAlgorithm::HmacSha1,
            auth_key: Secret::new(vec![0x55; 20]),
            replay_window: 0,
            esn: false,
            nat_t: None,
            soft: Lifetime::default(),
            hard: Lifetime { packets: 1, add_seconds: 1, ..Lifetime::default() },
            state: SaState::Mature,
            usage: Usage::default(),
            sequence: 0,
        };
        match self.put_sa(&unusable, message::ADD) {
            Ok(_) => drop(self.ask(sa::named(message::DELETE, &id))),
            // Somebody's.
            Err(Refusal::Exists) => {}
            Err(refusal) => return Err(refusal),
        }
        Ok(())
    }

    /// A message with the next number.
    fn numbered(&mut self) -> Message<'static> {
        // 0 is the number of what was not asked for, and of the last message of a dump.
        self.sequence = self.sequence.checked_add(1).unwrap_or(1);
        Message { sequence: self.sequence, pid: std::process::id(), ..Message::default() }
    }

    /// Asks, and gives the messages that answer.
    fn ask(&mut self, request: Message<'_>) -> Result<Vec<Zeroizing<Vec<u8>>>, Problem> {
        let Message { sequence, pid, .. } = self.numbered();
        let kind = request.kind;
        let request = Zeroizing::new(Message { sequence, pid, ..request }.emit(self.layout));
        let is_dump = matches!(kind, message::DUMP | message::SPDDUMP);
        self.kernel.send(&request).map_err(|error| Problem::of_socket(&error))?;
        let mut answers = Vec::new();
        loop {
            let answer = match self.kernel.receive() {
                Ok(answer) => answer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Problem::of_socket(&error)),
            };
            // What others have asked for is said to every socket.
            let Ok((header, ..)) = Header::parse(&answer) else { continue };
            let is_ours = (header.kind, header.pid) == (kind, pid);
            match header.errno {
                _ if !is_ours => {}
                0 if is_dump => {
                    answers.push(answer);
                    if header.sequence == 0 {
                        return Ok(answers);
                    }
                }
                // Nothing is there.
                errno if is_dump && i32::from(errno) == errno::ENOENT => return Ok(answers),
                _ if !is_dump && header.sequence != sequence => {}
                0 => return Ok(vec![answer]),
                errno => return Err(Problem { errno: errno.into(), text: None }),
            }
        }
    }

    /// Each SA of the kernel's: what names it, whether it was made here, and itself when there are words for it.
    fn dump_sas(&mut self) -> Result<Vec<(SaId, bool, Option<Sa>)>, Refusal> {
        let layout = self.layout;
        let asked = Message { kind: message::DUMP, ..Message::default() };
        let answers = self.ask(asked).map_err(|problem| problem.plain(layout))?;
        let all = answers.iter().filter_map(|answer| Message::parse(layout, answer).ok());
        let sas = all.filter_map(|(found, _)| {
            Some((sa::id_of(&found)?, sa::is_own(&found), sa::sa_of(layout, &found)))
        });
        Ok(sas.collect())
    }

    /// Learns which SAs there are; the names of those that were made here.
    fn look_at_sas(&mut self) -> Result<Vec<SaId>, Refusal> {
        let all = self.dump_sas()?;
        self.sas.clear();
        self.changes.sas = true;
        let mut own = Vec::new();
        for (id, is_own, found) in all {
            if let Some(found) = found.filter(is_usable) {
                self.learn_sa(&id, found.mode, found.reqid, is_own);
                own.extend(is_own.then_some(id));
            }
        }
        Ok(own)
    }

    fn learn_sa(&mut self, id: &SaId, mode: Mode, reqid: ReqId, is_own: bool) {
        let between = |spi| (id.destination, id.proto, Spi(spi));
        let is_first = !self
            .sas
            .range(between(0)..=between(u32::MAX))
            .any(|(_, known)| (known.source, known.reqid) == (id.source, reqid));
        if is_first {
            self.first_sas.push(what_tells(id));
        }
        self.sas.insert(what_tells(id), Known { source: id.source, reqid, mode, is_own });
        self.changes.sas = true;
    }

    /// Those that count for every packet, in the order they are looked at.
    fn dump_policies(&mut self) -> Result<Vec<Found>, Refusal> {
        let layout = self.layout;
        let asked = Message { kind: message::SPDDUMP, ..Message::default() };
        let answers = self.ask(asked).map_err(|problem| problem.plain(layout))?;
        let all = answers.iter().filter_map(|answer| Message::parse(layout, answer).ok());
        let mut list: Vec<(Priority, Found)> = all
            .filter(|(found, _)| policy::is_global(found))
            .map(|(found, _)| {
                let numbers = found.policy.as_ref();
                let (id, priority) = numbers.map_or((0, 0), |numbers| (numbers.id, numbers.priority));
                let is_own = policy::is_own(&found);
                (Priority(priority), Found { id: PolicyId(id), policy: policy::policy_of(&found), is_own })
            })
            .collect();
        // Linux tells the newest first, and looks at the oldest first where the priority is the same.
        if layout == Layout::Linux {
            list.reverse();
        }
        list.sort_by_key(|(priority, _)| *priority);
        Ok(list.into_iter().map(|(_, found)| found).collect())
    }

    fn look_at_policies(&mut self) {
        if let Ok(list) = self.dump_policies() {
            self.policies = list.into_iter().filter_map(|found| found.policy).collect();
            let of_policies = self.policies.iter().flat_map(|policy| rules(policy).iter().map(reqid_of));
            self.reqids = of_policies.chain(self.sas.values().map(|known| known.reqid)).collect();
            self.policies_stale = false;
        }
    }

    /// Learns the policies anew where they may be others; whether they may.
    fn look_again(&mut self) -> bool {
        let stale = self.policies_stale;
        if stale {
            self.look_at_policies();
            self.changes.policies = true;
        }
        stale
    }

    fn carry_out(&mut self, request: Request) -> Result<Reply, Refusal> {
        let layout = self.layout;
        match request {
            Request::GetSpi { source, destination, proto, mode, reqid, spi } => {
                let spi = self.get_spi(&SaId { source, destination, proto, spi }, mode, reqid)?;
                Ok(Reply::Spi { spi })
            }
            Request::DeleteAll { source, destination, proto } => {
                let named = |id: &SaId| (id.source, id.destination, id.proto) == (source, destination, proto);
                let doomed: Vec<SaId> =
                    self.dump_sas()?.into_iter().map(|(id, ..)| id).filter(named).collect();
                for id in &doomed {
                    self.delete_sa(id)?;
                }
                if doomed.is_empty() { Err(Refusal::NoSa) } else { Ok(Reply::Done) }
            }
            Request::Add(new) => self.put_sa(&new, message::ADD),
            Request::Update(new) => self.put_sa(&new, message::UPDATE),
            Request::Delete(id) => self.delete_sa(&id),
            Request::Get(id) => {
                let answers =
                    self.ask(sa::named(message::GET, &id)).map_err(|problem| problem.of_sa(layout))?;
                let found = answers.first().and_then(|answer| Message::parse(layout, answer).ok());
                let sa = found.and_then(|(found, _)| sa::sa_of(layout, &found)).ok_or(Refusal::NoSa)?;
                Ok(Reply::Sas { sas: vec![sa] })
            }
            Request::Flush(proto) => {
                let sa_type = proto.map_or(0, sa::type_number);
                let flush = Message { kind: message::FLUSH, sa_type, ..Message::default() };
                match self.ask(flush) {
                    // Linux says so when there was nothing.
                    Err(Problem { errno: errno::ESRCH, .. }) | Ok(_) => Ok(Reply::Done),
                    Err(problem) => Err(problem.plain(layout)),
                }
            }
            Request::Dump(proto) => {
                let all = self.dump_sas()?.into_iter().filter_map(|(_, _, sa)| sa);
                let sas = all.filter(|sa| proto.is_none_or(|proto| sa.id.proto == proto)).collect();
                Ok(Reply::Sas { sas })
            }
            Request::SpdAdd(new) => self.put_policy(*new, false),
            Request::SpdUpdate(new) => self.put_policy(*new, true),
            Request::SpdDelete(selector, direction) => self.delete_policy(&selector, direction),
            Request::SpdFlush => {
                // They go when what is to take their place is there.
                self.doomed = self.dump_policies()?;
                self.own_policies.clear();
                Ok(Reply::Done)
            }
            Request::SpdDump => {
                let list = self.dump_policies()?.into_iter();
                let there = list.filter(|found| !self.doomed.iter().any(|doomed| doomed.id == found.id));
                let all = there.filter_map(|found| found.policy).collect();
                Ok(Reply::Policies { policies: all })
            }
        }
    }

    fn get_spi(&mut self, id: &SaId, mode: Mode, reqid: ReqId) -> Result<Spi, Refusal> {
        let layout = self.layout;
        let range = match id.proto {
            _ if id.spi != Spi(0) => (id.spi.0, id.spi.0),
            SaProto::Ipcomp => Spi::NEGOTIATED_CPI.into_inner(),
            _ => (Spi::FIRST, u32::MAX),
        };
        let asked = Message { spi_range: Some(range), ..sa::larval(message::GETSPI, id, mode, reqid) };
        let answers = self.ask(asked).map_err(|problem| problem.plain(layout))?;
        let found = answers.first().and_then(|answer| Message::parse(layout, answer).ok());
        let spi = found.and_then(|(found, _)| found.sa).map(|sa| Spi(sa.spi));
        spi.ok_or_else(|| Refusal::NoRoom("the kernel has no SPI left".into()))
    }

    fn put_sa(&mut self, new: &Sa, kind: u8) -> Result<Reply, Refusal> {
        let layout = self.layout;
        match self.ask(sa::message(layout, kind, new)?) {
            Ok(_) => Ok(Reply::Done),
            Err(problem) => {
                // What it said about its algorithms may still wait.
                self.listen();
                Err(problem.of_new_sa(layout, new, self.supported.get(&new.id.proto)))
            }
        }
    }

    fn delete_sa(&mut self, id: &SaId) -> Result<Reply, Refusal> {
        let layout = self.layout;
        self.ask(sa::named(message::DELETE, id)).map_err(|problem| problem.of_sa(layout))?;
        Ok(Reply::Done)
    }

    fn put_policy(&mut self, mut new: Policy, replaces: bool) -> Result<Reply, Refusal> {
        if let Action::Ipsec(rules) = &mut new.action {
            for rule in rules.iter_mut().filter(|rule| rule.level == Level::Unique(ReqId(0))) {
                rule.level = Level::Unique(self.free_reqid()?);
            }
        }
        let is_blocked = new.direction == Direction::Out && self.blocked.contains(&new.selector);
        self.put_one_policy(&new, replaces || is_blocked)?;
        if new.direction == Direction::Out {
            self.blocked.remove(&new.selector);
        }
        if new.direction == Direction::In && self.layout == Layout::Linux {
            self.put_one_policy(&Policy { direction: Direction::Fwd, ..new }, true)?;
        }
        Ok(Reply::Done)
    }

    /// A number for a policy's SAs that nobody uses. The kernel would take one beyond [`ReqId::MANUAL_MAX`], and another
    /// one each time the policy is put.
    fn free_reqid(&self) -> Result<ReqId, Refusal> {
        let free = (1..=ReqId::MANUAL_MAX).rev().map(ReqId).find(|reqid| !self.reqids.contains(reqid));
        free.ok_or_else(|| Refusal::NoRoom("all numbers of `unique` are in use".into()))
    }

    fn put_one_policy(&mut self, new: &Policy, replaces: bool) -> Result<(), Refusal> {
        let layout = self.layout;
        // One that is about to go is not there any more, and what protects meanwhile.
        let place = self.doomed.iter().position(|doomed| doomed.is(new.direction, &new.selector));
        let kind = if replaces || place.is_some() { message::SPDUPDATE } else { message::SPDADD };
        self.ask(policy::message(layout, kind, new)?).map_err(|problem| problem.of_policy(layout))?;
        if let Some(place) = place {
            self.doomed.swap_remove(place);
        }
        self.own_policies.insert((new.direction, new.selector));
        self.reqids.extend(rules(new).iter().map(reqid_of));
        self.policies_stale = true;
        Ok(())
    }

    fn delete_policy(&mut self, selector: &Selector, direction: Direction) -> Result<Reply, Refusal> {
        let layout = self.layout;
        let is_guarded = direction == Direction::Out && self.guarded.contains(selector);
        if self.doomed.iter().any(|doomed| doomed.is(direction, selector))
            || is_guarded && self.blocked.contains(selector)
        {
            return Err(Refusal::NoPolicy);
        }
        if is_guarded {
            self.look_again();
            if self.has_policy(selector) {
                self.block(selector)?;
                return Ok(Reply::Done);
            }
        }
        let asked = policy::about(message::SPDDELETE, selector, direction);
        self.ask(asked).map_err(|problem| problem.of_policy(layout))?;
        self.own_policies.remove(&(direction, *selector));
        if direction == Direction::In && self.own_policies.remove(&(Direction::Fwd, *selector)) {
            let _ = self.ask(policy::about(message::SPDDELETE, selector, Direction::Fwd));
        }
        self.policies_stale = true;
        Ok(Reply::Done)
    }

    fn has_policy(&self, selector: &Selector) -> bool {
        let mut out = self.policies.iter().filter(|policy| policy.direction == Direction::Out);
        out.any(|policy| policy.selector == *selector)
    }

    /// Drops what matches, instead of what the policy with this selector says.
    fn block(&mut self, selector: &Selector) -> Result<(), Refusal> {
        let blocks = Policy {
            id: PolicyId(0),
            selector: *selector,
            direction: Direction::Out,
            priority: Priority(u32::MAX),
            action: Action::Discard,
            usage: Usage::default(),
        };
        self.put_one_policy(&blocks, true)?;
        self.blocked.insert(*selector);
        Ok(())
    }

    /// Blocks what is guarded and has no policy.
    fn guard(&mut self) {
        let bare: Vec<Selector> =
            self.guarded.iter().filter(|selector| !self.has_policy(selector)).copied().collect();
        for selector in bare {
            let _ = self.block(&selector);
        }
    }

    /// Removes the policies whose place nobody has taken.
    fn end_doomed(&mut self) {
        for doomed in std::mem::take(&mut self.doomed) {
            let out = doomed.policy.as_ref().filter(|policy| policy.direction == Direction::Out);
            match out.map(|policy| policy.selector).filter(|selector| self.guarded.contains(selector)) {
                Some(selector) => drop(self.block(&selector)),
                None => drop(self.ask(policy::numbered(message::SPDDELETE2, doomed.id))),
            }
            self.policies_stale = true;
        }
    }

    /// Takes what has come unasked.
    fn listen(&mut self) -> Vec<Zeroizing<Vec<u8>>> {
        let mut heard = Vec::new();
        loop {
            match self.kernel.hear() {
                Ok(Some(message)) => {
                    match Message::parse(self.layout, &message) {
                        Ok((told, _)) if told.kind == message::REGISTER => self.learn_supported(&told),
                        _ => heard.push(message),
                    };
                }
                Ok(None) => return heard,
                Err(_) => {
                    self.look_anew();
                    return heard;
                }
            }
        }
    }

    fn learn_supported(&mut self, told: &Message<'_>) {
        if let Some(proto) = sa::proto_of(told.sa_type)
            && told.errno == 0
        {
            let lists = (told.supported_auth.clone(), told.supported_encrypt.clone());
            self.supported.insert(proto, lists);
        }
    }

    fn handle(&mut self, told: &Message<'_>, wall: u64) {
        if told.errno != 0 {
            return;
        }
        match told.kind {
            message::ADD | message::UPDATE => {
                if let (Some(id), Some(mode)) = (sa::id_of(told), sa::mode_of(told)) {
                    self.learn_sa(&id, mode, sa::reqid_of(told), sa::is_own(told));
                }
            }
            message::DELETE => match sa::id_of(told) {
                Some(id) => self.changes.sas |= self.sas.remove(&what_tells(&id)).is_some(),
                // All between two hosts.
                None => drop(self.look_at_sas()),
            },
            message::FLUSH => {
                let proto = sa::proto_of(told.sa_type);
                self.sas.retain(|(_, known, _), _| proto.is_some_and(|proto| proto != *known));
                self.changes.sas = true;
            }
            message::EXPIRE => self.expired(told, wall),
            message::ACQUIRE => self.wanted(told),
            message::SPDADD | message::SPDUPDATE => {
                // The echo of one that was put anew is no news.
                let is_known = |found: Policy| self.policies.iter().any(|known| says_the_same(known, &found));
                self.policies_stale |= !policy::policy_of(told).is_some_and(is_known);
            }
            message::SPDDELETE | message::SPDDELETE2 | message::SPDFLUSH | message::SPDEXPIRE => {
                self.policies_stale = true;
            }
            _ => {}
        }
    }

    /// A larval SA that has waited in vain ends without a word.
    fn expired(&mut self, told: &Message<'_>, wall: u64) {
        const DEAD: u8 = 3;
        let Some(id) = sa::id_of(told) else { return };
        // RFC 2367 section 3.1.8: the limit that is in it is the one that is over. Not all do.
        let hard = told.hard.is_some() || told.sa.is_some_and(|sa| sa.state == DEAD);
        let found = match hard {
            true => self.sas.remove(&what_tells(&id)).map(|known| known.reqid),
            false => self.sas.get(&what_tells(&id)).map(|known| known.reqid),
        };
        if let Some(reqid) = found {
            self.changes.sas = true;
            let current = sa::used(told, wall);
            self.notifications.push_back(Notification::Expire(Expire { id, reqid, hard, current }));
        }
    }

    fn wanted(&mut self, told: &Message<'_>) {
        let (Some(source), Some(destination), Some(proto)) =
            (told.source, told.destination, sa::proto_of(told.sa_type))
        else {
            return;
        };
        let ends = (source.address, destination.address);
        let id = told.policy.as_ref().map(|policy| PolicyId(policy.id));
        let asks =
            |policy: &&Policy| policy.direction == Direction::Out && wants(policy, proto, ends).is_some();
        let find = |policies: &[Policy]| {
            let mut all = policies.iter().filter(asks);
            all.clone().find(|policy| Some(policy.id) == id).or_else(|| all.next()).cloned()
        };
        let found = find(&self.policies).or_else(|| {
            self.policies_stale = true;
            self.look_again();
            find(&self.policies)
        });
        if let Some(found) = found {
            self.acquire(&found, proto, ends);
        }
    }

    fn acquire(&mut self, policy: &Policy, proto: SaProto, (source, destination): (IpAddr, IpAddr)) {
        let Some(rule) = wants(policy, proto, (source, destination)) else { return };
        self.notifications.push_back(Notification::Acquire(Acquire {
            policy: policy.id,
            source,
            destination,
            selector: policy.selector,
            proto,
            mode: rule.mode,
            reqid: reqid_of(rule),
        }));
    }

    /// SAs that Linux waits for: they have no SPI yet.
    fn awaited(&mut self) -> Vec<Sa> {
        let list = self.dump_sas().unwrap_or_default().into_iter().filter_map(|(_, _, sa)| sa);
        list.filter(|sa| sa.state == SaState::Larval && sa.id.spi == Spi(0)).collect()
    }

    /// Hears the ACQUIREs that nobody has heard: Linux waits for their SAs, and asks no second time.
    fn hear_missed(&mut self) {
        for found in self.awaited() {
            let ends = (found.id.source, found.id.destination);
            let asks = |policy: &&Policy| {
                policy.direction == Direction::Out
                    && wants(policy, found.id.proto, ends).is_some_and(|rule| reqid_of(rule) == found.reqid)
            };
            if let Some(policy) = self.policies.iter().find(asks).cloned() {
                self.acquire(&policy, found.id.proto, ends);
            }
        }
    }

    /// Ends what Linux waits for on behalf of these policies. What has no SPI has no name by which it could be removed:
    /// SADB_GETSPI gives it one.
    fn end_awaited(&mut self, policies: &[Policy]) {
        for found in self.awaited() {
            let ends = (found.id.source, found.id.destination);
            if policies.iter().any(|policy| wants(policy, found.id.proto, ends).is_some())
                && let Ok(spi) = self.get_spi(&found.id, found.mode, found.reqid)
            {
                let _ = self.delete_sa(&SaId { spi, ..found.id });
            }
        }
    }

    /// Lets the packets go that Linux has kept for these SAs. It would look for them from time to time, and whoever
    /// remembers the way into its queue, as GRE tunnels do, would go on sending there. A policy put anew ends both.
    fn let_go(&mut self) {
        for name in std::mem::take(&mut self.first_sas) {
            let Some(known) = self.sas.get(&name).filter(|_| self.layout == Layout::Linux) else { continue };
            let (source, reqid, (destination, proto, _)) = (known.source, known.reqid, name);
            let waits = |policy: &&Policy| {
                self.own_policies.contains(&(Direction::Out, policy.selector))
                    && policy.direction == Direction::Out
                    && wants(policy, proto, (source, destination)).is_some_and(|rule| reqid_of(rule) == reqid)
            };
            let found: Vec<Policy> = self.policies.iter().filter(waits).cloned().collect();
            for policy in found {
                let stale = self.policies_stale;
                let _ = self.put_one_policy(&policy, true);
                self.policies_stale = stale;
            }
        }
    }

    /// Some of what the kernel has said is lost: it is looked at anew.
    fn look_anew(&mut self) {
        let _ = self.look_at_sas();
        self.look_at_policies();
        self.changes.policies = true;
        self.hear_missed();
    }

    fn has_sa(&self, policy: &Policy, rule: &Rule) -> bool {
        let Some((source, destination)) = ends(policy, rule) else { return false };
        let between = |spi| (destination, rule.proto, Spi(spi));
        self.sas.range(between(0)..=between(u32::MAX)).any(|(_, known)| {
            let is_its = reqid_of(rule) == ReqId(0) || known.reqid == reqid_of(rule);
            // Whoever adds an SA by hand may leave its mode open.
            known.source == source && is_its && (known.mode == Mode::Any || known.mode == rule.mode)
        })
    }
}

impl<K: Kernel> Home for PfKey<K> {
    fn requests(&mut self, wall: u64, requests: Vec<Request>) -> Vec<Reply> {
        let mut replies = Vec::with_capacity(requests.len());
        for request in requests {
            let reply = self.carry_out(request);
            replies.push(reply.unwrap_or_else(|refusal| Reply::Refused { refusal }));
        }
        self.end_doomed();
        let begins = !std::mem::replace(&mut self.has_begun, true);
        self.policies_stale |= begins;
        self.hear(wall);
        if begins {
            self.hear_missed();
        }
        replies
    }

    fn hear(&mut self, wall: u64) {
        for message in self.listen() {
            if let Ok((told, _)) = Message::parse(self.layout, &message) {
                self.handle(&told, wall);
            }
        }
        self.let_go();
        // The policies of the first requests have to be there.
        if self.look_again() && self.has_begun {
            self.guard();
            self.look_again();
        }
    }

    fn poll_notification(&mut self) -> Option<Notification> {
        self.notifications.pop_front()
    }

    fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    fn policies(&self) -> &[Policy] {
        &self.policies
    }

    fn is_open(&self, packet: &Selector) -> bool {
        let (source, destination) = (packet.source.address, packet.destination.address);
        let upper = match packet.upper {
            Upper::Proto(number) => number,
            Upper::Any => 0,
        };
        let mut out = self.policies.iter().filter(|policy| policy.direction == Direction::Out);
        let Some(found) = out.find(|policy| policy.selector.matches(source, destination, upper, None)) else {
            return false;
        };
        match &found.action {
            Action::None => true,
            Action::Discard => false,
            Action::Ipsec(rules) => {
                rules.iter().all(|rule| rule.level == Level::Use || self.has_sa(found, rule))
            }
        }
    }

    fn counters(&self) -> Vec<(String, u64)> {
        self.kernel.counters()
    }
}

impl<K: Kernel> Drop for PfKey<K> {
    fn drop(&mut self) {
        let own: Vec<SaId> = self
            .sas
            .iter()
            .filter(|(_, known)| known.is_own)
            .map(|((destination, proto, spi), known)| SaId {
                source: known.source,
                destination: *destination,
                proto: *proto,
                spi: *spi,
            })
            .collect();
        for id in own {
            let _ = self.ask(sa::named(message::DELETE, &id));
        }
        let is_own = |policy: &Policy| self.own_policies.contains(&(policy.direction, policy.selector));
        let own: Vec<Policy> = self.policies.iter().filter(|policy| is_own(policy)).cloned().collect();
        for policy in &own {
            let _ = self.ask(policy::about(message::SPDDELETE, &policy.selector, policy.direction));
        }
        // Now that nobody asks for more.
        self.end_awaited(&own);
    }
}

fn is_usable(sa: &Sa) -> bool {
    matches!(sa.state, SaState::Mature | SaState::Dying)
}

fn what_tells(id: &SaId) -> Name {
    (id.destination, id.proto, id.spi)
}

fn rules(policy: &Policy) -> &[Rule] {
    match &policy.action {
        Action::Ipsec(rules) => rules,
        Action::None | Action::Discard => &[],
    }
}

fn reqid_of(rule: &Rule) -> ReqId {
    match rule.level {
        Level::Unique(reqid) => reqid,
        _ => ReqId(0),
    }
}

/// The ends of the SA that a rule wants: those of its tunnel, or the hosts that the policy is about.
fn ends(policy: &Policy, rule: &Rule) -> Option<(IpAddr, IpAddr)> {
    let Selector { source, destination, .. } = policy.selector;
    let hosts = (source.is_host() && destination.is_host()).then_some((source.address, destination.address));
    rule.endpoints.or(hosts)
}

/// The rule of a policy that an SA between these is for.
fn wants(policy: &Policy, proto: SaProto, between: (IpAddr, IpAddr)) -> Option<&Rule> {
    let Selector { source, destination, .. } = policy.selector;
    // Transport mode without hosts is between whoever sends.
    let fits = |rule: &&Rule| match ends(policy, rule) {
        Some(ends) => ends == between,
        None => source.contains(between.0) && destination.contains(between.1),
    };
    rules(policy).iter().filter(|rule| rule.proto == proto).find(fits)
}

/// But for number and usage.
fn says_the_same(a: &Policy, b: &Policy) -> bool {
    let what = |policy: &Policy| (policy.direction, policy.selector, policy.priority);
    what(a) == what(b) && a.action == b.action
}

/// `errno`s of a kernel's answers that are the same everywhere.
mod errno {
    pub(super) const EPERM: i32 = 1;
    pub(super) const ENOENT: i32 = 2;
    pub(super) const ESRCH: i32 = 3;
    pub(super) const ENOMEM: i32 = 12;
    pub(super) const EEXIST: i32 = 17;
    pub(super) const EINVAL: i32 = 22;
}

/// Those that are not: ENOBUFS, EPROTONOSUPPORT, ENOSYS.
fn own_errnos(layout: Layout) -> (i32, i32, i32) {
    match layout {
        Layout::Linux => (105, 93, 38),
        Layout::FreeBsd | Layout::NetBsd => (55, 43, 78),
    }
}

/// Why the kernel did not do it.
struct Problem {
    errno: i32,
    text: Option<String>,
}

impl Problem {
    fn of_socket(error: &io::Error) -> Self {
        let text = match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
                "PF_KEY: the kernel does not answer".into()
            }
            _ => format!("PF_KEY: {error}"),
        };
        Self { errno: error.raw_os_error().unwrap_or(0), text: Some(text) }
    }

    fn sentence(&self) -> String {
        match (self.errno, &self.text) {
            (errno::EPERM, _) => "the kernel does not let us: run it as root".into(),
            (_, Some(text)) => text.clone(),
            (errno::EINVAL, None) => "the kernel finds something wrong with it (EINVAL)".into(),
            (errno, None) => format!("the kernel says: {}", io::Error::from_raw_os_error(errno)),
        }
    }

    fn plain(self, layout: Layout) -> Refusal {
        let (no_buffers, ..) = own_errnos(layout);
        match self.errno {
            errno if errno == no_buffers || errno == errno::ENOMEM => Refusal::NoRoom(self.sentence()),
            _ => Refusal::Invalid(self.sentence()),
        }
    }

    fn of_sa(self, layout: Layout) -> Refusal {
        match self.errno {
            errno::ESRCH | errno::ENOENT => Refusal::NoSa,
            _ => self.plain(layout),
        }
    }

    fn of_policy(self, layout: Layout) -> Refusal {
        match self.errno {
            errno::ENOENT | errno::ESRCH => Refusal::NoPolicy,
            errno::EEXIST => Refusal::Exists,
            _ => self.plain(layout),
        }
    }

    /// What stood in the way of this SA: mostly a module.
    fn of_new_sa(self, layout: Layout, new: &Sa, supported: Option<&(Vec<u8>, Vec<u8>)>) -> Refusal {
        let name = new.id.proto.setkey_name();
        let (_, no_protocol, no_algorithm) = own_errnos(layout);
        let lacks = |list: &[u8], number: u8| number != 0 && !list.contains(&number);
        let numbers = sa::message(layout, message::ADD, new).ok().and_then(|message| message.sa);
        let missing = supported.zip(numbers).and_then(|((auth, encrypt), numbers)| {
            let cipher = lacks(encrypt, numbers.encrypt).then(|| new.enc.setkey_name());
            cipher.or_else(|| lacks(auth, numbers.auth).then(|| new.auth.setkey_name()))
        });
        match (self.errno, missing, layout) {
            (errno::EEXIST, ..) => Refusal::Exists,
            (errno::ESRCH, ..) => Refusal::NoSa,
            (errno, _, Layout::Linux) if errno == no_protocol => {
                let version = if new.id.destination.is_ipv4() { "4" } else { "6" };
                let module = match (new.id.proto, version) {
                    (SaProto::Ipcomp, "4") => "ipcomp".to_owned(),
                    _ => format!("{name}{version}"),
                };
                Refusal::Unsupported(format!("the kernel has no {name}: load its module {module}"))
            }
            (errno, ..) if errno == no_protocol => Refusal::Unsupported(format!(
                "the kernel has no {name}: load its module ipsec (kldload ipsec)"
            )),
            (_, Some(algorithm), _) => {
                Refusal::Unsupported(format!("the kernel has no {algorithm}: load the module that has it"))
            }
            (errno, None, Layout::Linux) if errno == no_algorithm || errno == errno::ENOENT => {
                let (enc, auth) = (new.enc.setkey_name(), new.auth.setkey_name());
                Refusal::Unsupported(format!(
                    "the kernel lacks something for {enc} with {auth}: load those of its modules that are not: \
                     authenc, echainiv, drbg, jitterentropy_rng"
                ))
            }
            _ => self.plain(layout),
        }
    }
}
