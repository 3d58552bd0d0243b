//! The databases themselves: requests to the kernel, what it says unasked, and what of it all is ours.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::io;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use coati_sadb::{
    Acquire, Action, AuthAlgorithm, Changes, Direction, EncAlgorithm, Expire, Home, Level, Lifetime, Mode,
    Notification, Policy, PolicyId, Priority, Refusal, Reply, ReqId, Request, Rule, Sa, SaId, SaProto,
    SaState, Secret, Selector, Spi, Usage,
};
use coati_wire::xfrm::{self, Attribute, Body, Message, PolicyInfo, SaInfo, SpiRange, messages};
use zeroize::Zeroizing;

use crate::algorithm::{ALWAYS, modules};
use crate::{policy, protocol, protocol_number, sa};

/// The maker's number of SAs that were made here ("coat").
pub const OWN_SEQUENCE: u32 = 0x636f_6174;
/// The indexes of policies that were made here; the last three bits are the direction.
pub const OWN_INDEXES: RangeInclusive<u32> = 0xc0a7_0000..=0xcfff_ffff;

/// `errno`s of the kernel's answers.
mod errno {
    pub(super) const EPERM: i32 = 1;
    pub(super) const ENOENT: i32 = 2;
    pub(super) const ESRCH: i32 = 3;
    pub(super) const ENOMEM: i32 = 12;
    pub(super) const EEXIST: i32 = 17;
    pub(super) const EINVAL: i32 = 22;
    pub(super) const ENOSYS: i32 = 38;
    pub(super) const EPROTONOSUPPORT: i32 = 93;
    pub(super) const ENOBUFS: i32 = 105;
}

/// The sockets.
pub trait Kernel {
    /// Sends a request, and gives the datagrams of its answer, all of them.
    fn ask(&mut self, request: &[u8]) -> io::Result<Vec<Zeroizing<Vec<u8>>>>;

    /// The next datagram that has come unasked; `None` when there is none. An error says that some got lost.
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

/// The kernel's databases, and what is known of them.
pub struct Xfrm<K: Kernel> {
    kernel: K,
    sas: BTreeMap<Name, Known>,
    /// Those that have come where there was none before.
    first_sas: Vec<Name>,
    /// In the order they are looked at.
    policies: Vec<Policy>,
    own_policies: HashSet<(Direction, Selector)>,
    /// Packets that never leave unless a policy says how.
    guarded: Vec<Selector>,
    /// Those of them that a policy of ours blocks, since there is no other.
    blocked: HashSet<Selector>,
    /// Policies that go when the requests under way are carried out.
    doomed: Vec<PolicyInfo>,
    policies_stale: bool,
    changes: Changes,
    /// Whether the ACQUIREs that nobody has heard were looked for.
    has_begun: bool,
    next_reqid: u32,
    next_index: u32,
    notifications: VecDeque<Notification>,
}

/// What is refused of a request whatever the kernel is; the databases' state does not count.
pub fn refusal_of(request: &Request) -> Option<Refusal> {
    match request {
        Request::Add(new) | Request::Update(new) => sa::message(new).err(),
        Request::SpdAdd(new) | Request::SpdUpdate(new) => policy::message(new).err(),
        _ => None,
    }
}

impl<K: Kernel> Xfrm<K> {
    /// Looks what is there. The SAs of a predecessor that has crashed go at once; its policies stay until
    /// [`Home::requests`] is called first. From then on packets that match one of `guarded` are dropped where no policy
    /// says otherwise: a kernel would send them in clear.
    pub fn new(kernel: K, guarded: Vec<Selector>) -> Result<(Self, Leftovers), Refusal> {
        let mut home = Self {
            kernel,
            sas: BTreeMap::new(),
            first_sas: Vec::new(),
            policies: Vec::new(),
            own_policies: HashSet::new(),
            guarded,
            blocked: HashSet::new(),
            doomed: Vec::new(),
            policies_stale: true,
            changes: Changes { sas: true, policies: true },
            has_begun: false,
            next_reqid: ReqId::MANUAL_MAX + 1,
            next_index: *OWN_INDEXES.start(),
            notifications: VecDeque::new(),
        };
        home.probe()?;
        let mut left = Leftovers::default();
        for id in home.look_at_sas()? {
            left.sas += usize::from(home.ask(Body::DeleteSa(sa::name(&id)), Vec::new()).is_ok());
            home.sas.remove(&what_tells(&id));
        }
        for info in home.policy_infos()? {
            if OWN_INDEXES.contains(&info.index) {
                home.doomed.push(info);
                home.next_index = home.next_index.max((info.index & !7) + 8);
            }
        }
        left.policies = home.doomed.len();
        home.first_sas.clear();
        home.look_at_policies();
        let reqids = home.policies.iter().flat_map(|policy| rules(policy).iter().map(reqid_of));
        let highest = reqids.chain(home.sas.values().map(|known| known.reqid)).map(|reqid| reqid.0).max();
        home.next_reqid = home.next_reqid.max(highest.unwrap_or(0).saturating_add(1));
        Ok((home, left))
    }

    /// Makes an SA that nobody can use and removes it: whatever the kernel lacks is said now, by its name.
    fn probe(&mut self) -> Result<(), Refusal> {
        let loopback = IpAddr::from([127, 0, 0, 1]);
        let id = SaId { source: loopback, destination: loopback, proto: SaProto::Esp, spi: Spi(Spi::FIRST) };
        self.put_stillborn(&id, Mode::Transport, ReqId(0))
    }

    /// Makes an SA and removes it. Should a packet meet it meanwhile: it has come to its limit before the first one.
    fn put_stillborn(&mut self, id: &SaId, mode: Mode, reqid: ReqId) -> Result<(), Refusal> {
        let stillborn = Sa {
            id: *id,
            mode,
            reqid,
            enc: EncAlgorithm::AesCbc,
            enc_key: Secret::new(vec![0x55; 16]),
            auth: AuthAlgorithm::HmacSha1,
            auth_key: Secret::new(vec![0x55; 20]),
            replay_window: 0,
            esn: false,
            nat_t: None,
            soft: Lifetime::default(),
            hard: Lifetime { add_seconds: 1, ..Lifetime::default() },
            state: SaState::Mature,
            usage: Usage::default(),
            sequence: 0,
        };
        let (mut info, attributes) = sa::message(&stillborn)?;
        info.limits.hard_packets = 0;
        match self.ask(Body::NewSa(info), attributes).map_err(|problem| problem.of_new_sa(&stillborn)) {
            Ok(_) => drop(self.ask(Body::DeleteSa(sa::name(id)), Vec::new())),
            // Somebody's.
            Err(Refusal::Exists) => {}
            Err(refusal) => return Err(refusal),
        }
        Ok(())
    }

    /// Ends the larval SAs of these policies. One without an SPI has no name by which it could be removed: an SA that
    /// takes its place can.
    fn end_larval(&mut self, policies: &[Policy]) {
        let Ok(list) = self.dump_sas(0) else { return };
        let larval = list.into_iter().filter_map(|(_, sa)| sa).filter(|sa| sa.state == SaState::Larval);
        for found in larval.filter(|sa| policies.iter().any(|policy| is_for(policy, sa))) {
            if found.id.spi == Spi(0) {
                let id = SaId { spi: Spi(Spi::FIRST), ..found.id };
                let _ = self.put_stillborn(&id, found.mode, found.reqid);
            } else {
                let _ = self.ask(Body::DeleteSa(sa::name(&found.id)), Vec::new());
            }
        }
    }

    /// Asks, and gives what was answered.
    fn ask(
        &mut self,
        body: Body<'_>,
        attributes: Vec<Attribute<'_>>,
    ) -> Result<Vec<Zeroizing<Vec<u8>>>, Problem> {
        let request = Zeroizing::new(Message::request(body, attributes).emit());
        let datagrams = self.kernel.ask(&request).map_err(Problem::of_socket)?;
        for message in datagrams.iter().flat_map(|datagram| messages(datagram)).map_while(Result::ok) {
            match message.body {
                Body::Error { errno, .. } | Body::Done(errno) if errno == 0 => {}
                Body::Error { errno, text } => {
                    return Err(Problem { errno, text: text.map(str::to_owned) });
                }
                Body::Done(errno) => return Err(Problem { errno, text: None }),
                _ => {}
            }
        }
        Ok(datagrams)
    }

    fn dump_sas(&mut self, wall: u64) -> Result<Vec<(SaInfo, Option<Sa>)>, Refusal> {
        let datagrams = self.ask(Body::DumpSas, Vec::new()).map_err(Problem::plain)?;
        Ok(of_sas(&datagrams, wall))
    }

    /// Learns which SAs there are; the names of those that were made here.
    fn look_at_sas(&mut self) -> Result<Vec<SaId>, Refusal> {
        self.sas.clear();
        self.changes.sas = true;
        let mut own = Vec::new();
        for (info, found) in self.dump_sas(0)? {
            let Some(found) = found.filter(|found| found.state != SaState::Larval) else { continue };
            self.learn_sa(&info);
            if info.sequence == OWN_SEQUENCE {
                own.push(found.id);
            }
        }
        Ok(own)
    }

    fn learn_sa(&mut self, info: &SaInfo) {
        let (Some(id), Some(mode)) = (sa::id_of(info), sa::mode_of(info.mode)) else { return };
        let is_own = info.sequence == OWN_SEQUENCE;
        let known = Known { source: id.source, reqid: ReqId(info.reqid), mode, is_own };
        let between = |spi| (id.destination, id.proto, Spi(spi));
        let is_like = |other: &Known| (other.source, other.reqid) == (known.source, known.reqid);
        if !self.sas.range(between(0)..=between(u32::MAX)).any(|(_, other)| is_like(other)) {
            self.first_sas.push(what_tells(&id));
        }
        self.sas.insert(what_tells(&id), known);
        self.changes.sas = true;
    }

    fn dump_policies(&mut self) -> Result<Vec<(PolicyInfo, Option<Policy>)>, Refusal> {
        let datagrams = self.ask(Body::DumpPolicies, Vec::new()).map_err(Problem::plain)?;
        let mut list = Vec::new();
        for message in datagrams.iter().flat_map(|datagram| messages(datagram)).map_while(Result::ok) {
            if let Body::NewPolicy(info) = message.body {
                list.push((info, policy::policy_of(&info, &message.attributes)));
            }
        }
        // The kernel tells the newest first, and looks at the oldest first where the priority is the same.
        list.reverse();
        list.sort_by_key(|(info, _)| info.priority);
        Ok(list)
    }

    /// All but those of single sockets.
    fn policy_infos(&mut self) -> Result<Vec<PolicyInfo>, Refusal> {
        let list = self.dump_policies()?.into_iter().map(|(info, _)| info);
        Ok(list.filter(|info| info.direction <= xfrm::direction::FORWARD).collect())
    }

    fn look_at_policies(&mut self) {
        if let Ok(list) = self.dump_policies() {
            self.policies = list.into_iter().filter_map(|(_, policy)| policy).collect();
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

    fn carry_out(&mut self, wall: u64, request: Request) -> Result<Reply, Refusal> {
        match request {
            Request::GetSpi { source, destination, proto, mode, reqid, spi } => {
                self.get_spi(&SaId { source, destination, proto, spi }, mode, reqid)
            }
            Request::DeleteAll { source, destination, proto } => {
                let named = |id: &SaId| (id.source, id.destination, id.proto) == (source, destination, proto);
                let all = self.dump_sas(wall)?.into_iter().filter_map(|(_, sa)| sa).map(|sa| sa.id);
                let doomed: Vec<SaId> = all.filter(named).collect();
                for id in &doomed {
                    self.ask(Body::DeleteSa(sa::name(id)), Vec::new()).map_err(Problem::of_sa)?;
                }
                if doomed.is_empty() { Err(Refusal::NoSa) } else { Ok(Reply::Done) }
            }
            Request::Add(new) => self.put_sa(&new, false),
            Request::Update(new) => self.put_sa(&new, true),
            Request::Delete(id) => {
                self.ask(Body::DeleteSa(sa::name(&id)), Vec::new()).map_err(Problem::of_sa)?;
                Ok(Reply::Done)
            }
            Request::Get(id) => {
                let answer = self.ask(Body::GetSa(sa::name(&id)), Vec::new()).map_err(Problem::of_sa)?;
                let sas: Vec<Sa> = of_sas(&answer, wall).into_iter().filter_map(|(_, sa)| sa).collect();
                if sas.is_empty() { Err(Refusal::NoSa) } else { Ok(Reply::Sas { sas }) }
            }
            Request::Flush(proto) => {
                let number = proto.map_or(0, protocol_number);
                self.ask(Body::FlushSas(number), Vec::new()).map_err(Problem::plain)?;
                Ok(Reply::Done)
            }
            Request::Dump(proto) => {
                let all = self.dump_sas(wall)?.into_iter().filter_map(|(_, sa)| sa);
                let sas = all.filter(|sa| proto.is_none_or(|proto| sa.id.proto == proto)).collect();
                Ok(Reply::Sas { sas })
            }
            Request::SpdAdd(new) => self.put_policy(*new, false),
            Request::SpdUpdate(new) => self.put_policy(*new, true),
            Request::SpdDelete(selector, direction) => self.delete_policy(&selector, direction),
            Request::SpdFlush => {
                // They go when what is to take their place is there.
                self.doomed = self.policy_infos()?;
                self.own_policies.clear();
                Ok(Reply::Done)
            }
            Request::SpdDump => {
                let list = self.dump_policies()?.into_iter();
                let there = list.filter(|(info, _)| !self.doomed.iter().any(|doomed| is_same(doomed, info)));
                Ok(Reply::Policies { policies: there.filter_map(|(_, policy)| policy).collect() })
            }
        }
    }

    fn get_spi(&mut self, id: &SaId, mode: Mode, reqid: ReqId) -> Result<Reply, Refusal> {
        let (first, last) = match id.proto {
            _ if id.spi != Spi(0) => (id.spi.0, id.spi.0),
            SaProto::Ipcomp => Spi::NEGOTIATED_CPI.into_inner(),
            _ => (Spi::FIRST, u32::MAX),
        };
        let range = SpiRange { info: sa::larval(id, mode, reqid), first, last };
        let answer = self.ask(Body::AllocateSpi(range), Vec::new()).map_err(Problem::plain)?;
        let spi =
            answer.iter().flat_map(|datagram| messages(datagram)).map_while(Result::ok).find_map(|message| {
                match message.body {
                    Body::NewSa(info) => Some(Spi(info.id.spi)),
                    _ => None,
                }
            });
        spi.map(|spi| Reply::Spi { spi }).ok_or_else(|| Refusal::NoRoom("the kernel has no SPI left".into()))
    }

    fn put_sa(&mut self, new: &Sa, replaces: bool) -> Result<Reply, Refusal> {
        let (mut info, attributes) = sa::message(new)?;
        info.sequence = OWN_SEQUENCE;
        let body = if replaces { Body::UpdateSa(info) } else { Body::NewSa(info) };
        match self.ask(body, attributes) {
            Ok(_) => Ok(Reply::Done),
            Err(problem) => Err(problem.of_new_sa(new)),
        }
    }

    fn put_policy(&mut self, mut new: Policy, replaces: bool) -> Result<Reply, Refusal> {
        if let Action::Ipsec(rules) = &mut new.action {
            for rule in rules {
                if rule.level == Level::Unique(ReqId(0)) {
                    rule.level = Level::Unique(ReqId(self.next_reqid));
                    self.next_reqid = self.next_reqid.checked_add(1).unwrap_or(ReqId::MANUAL_MAX + 1);
                }
            }
        }
        let is_blocked = new.direction == Direction::Out && self.blocked.contains(&new.selector);
        self.put_one_policy(&new, replaces || is_blocked)?;
        if new.direction == Direction::Out {
            self.blocked.remove(&new.selector);
        }
        if new.direction == Direction::In {
            self.put_one_policy(&Policy { direction: Direction::Fwd, ..new }, true)?;
        }
        Ok(Reply::Done)
    }

    fn put_one_policy(&mut self, new: &Policy, replaces: bool) -> Result<(), Refusal> {
        let (mut info, attributes) = policy::message(new)?;
        info.index = self.next_index | u32::from(info.direction);
        // One that is about to go is not there any more, and what protects meanwhile.
        let place = self.doomed.iter().position(|doomed| is_same(doomed, &info));
        let body = if replaces || place.is_some() { Body::UpdatePolicy(info) } else { Body::NewPolicy(info) };
        self.ask(body, attributes).map_err(Problem::of_policy)?;
        if let Some(place) = place {
            self.doomed.swap_remove(place);
        }
        let next = self.next_index + 8;
        self.next_index = if OWN_INDEXES.contains(&next) { next } else { *OWN_INDEXES.start() };
        self.own_policies.insert((new.direction, new.selector));
        self.policies_stale = true;
        Ok(())
    }

    fn delete_policy(&mut self, selector: &Selector, direction: Direction) -> Result<Reply, Refusal> {
        let id = |direction| xfrm::PolicyId {
            selector: policy::selector(selector),
            index: 0,
            direction: policy::direction_number(direction),
        };
        let is_doomed = |doomed: &PolicyInfo| {
            doomed.selector == policy::selector(selector)
                && doomed.direction == policy::direction_number(direction)
        };
        let is_guarded = direction == Direction::Out && self.guarded.contains(selector);
        if self.doomed.iter().any(is_doomed) || is_guarded && self.blocked.contains(selector) {
            return Err(Refusal::NoPolicy);
        }
        if is_guarded && self.has_policy(selector) {
            self.block(selector)?;
            return Ok(Reply::Done);
        }
        self.ask(Body::DeletePolicy(id(direction)), Vec::new()).map_err(Problem::of_policy)?;
        self.own_policies.remove(&(direction, *selector));
        if direction == Direction::In && self.own_policies.remove(&(Direction::Fwd, *selector)) {
            let _ = self.ask(Body::DeletePolicy(id(Direction::Fwd)), Vec::new());
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
            let PolicyInfo { selector, index, direction, .. } = doomed;
            let guarded = policy::selector_of(&selector)
                .filter(|selector| direction == xfrm::direction::OUT && self.guarded.contains(selector));
            if let Some(selector) = guarded {
                let _ = self.block(&selector);
                continue;
            }
            let _ = self.ask(Body::DeletePolicy(xfrm::PolicyId { selector, index, direction }), Vec::new());
            self.policies_stale = true;
        }
    }

    fn handle(&mut self, message: &Message<'_>, wall: u64) {
        match &message.body {
            Body::NewSa(info) | Body::UpdateSa(info) => self.learn_sa(info),
            Body::DeleteSa(gone) => {
                if let (Some(destination), Some(proto)) =
                    (gone.destination.ip(gone.family), protocol(gone.proto))
                {
                    self.changes.sas |= self.sas.remove(&(destination, proto, Spi(gone.spi))).is_some();
                }
            }
            Body::FlushSas(number) => {
                let proto = protocol(*number);
                self.sas.retain(|(_, known, _), _| proto.is_some_and(|proto| proto != *known));
                self.changes.sas = true;
            }
            Body::Expire(expire) => self.expired(&expire.info, expire.hard != 0, wall),
            Body::Acquire(acquire) => self.wanted(acquire, &message.attributes),
            Body::NewPolicy(info) | Body::UpdatePolicy(info) => {
                // The echo of one that was put anew is no news.
                let is_known = |found: Policy| self.policies.iter().any(|known| says_the_same(known, &found));
                self.policies_stale |= !policy::policy_of(info, &message.attributes).is_some_and(is_known);
            }
            Body::DeletePolicy(_) | Body::FlushPolicies => self.policies_stale = true,
            _ => {}
        }
    }

    /// A larval SA that has waited in vain ends without a word.
    fn expired(&mut self, info: &SaInfo, hard: bool, wall: u64) {
        let Some(id) = sa::id_of(info) else { return };
        let is_known = match hard {
            true => self.sas.remove(&what_tells(&id)).is_some(),
            false => self.sas.contains_key(&what_tells(&id)),
        };
        if is_known {
            self.changes.sas = true;
            let current = sa::used(info, wall);
            let expire = Expire { id, reqid: ReqId(info.reqid), hard, current };
            self.notifications.push_back(Notification::Expire(expire));
        }
    }

    fn wanted(&mut self, acquire: &xfrm::Acquire, attributes: &[Attribute<'_>]) {
        let family = acquire.packet.family;
        let (Some(source), Some(destination), Some(proto), Some(found)) = (
            acquire.source.ip(family),
            acquire.id.destination.ip(family),
            protocol(acquire.id.proto),
            policy::policy_of(&acquire.policy, attributes),
        ) else {
            return;
        };
        let Some(rule) = rules(&found).iter().find(|rule| rule.proto == proto) else { return };
        if found.direction == Direction::Out {
            self.notifications.push_back(Notification::Acquire(Acquire {
                policy: found.id,
                source,
                destination,
                selector: found.selector,
                proto,
                mode: rule.mode,
                reqid: reqid_of(rule),
            }));
        }
    }

    /// Hears the ACQUIREs that nobody has heard: the kernel waits for their SAs, and asks no second time.
    fn hear_missed(&mut self) {
        let Ok(list) = self.dump_sas(0) else { return };
        let waiting: Vec<Sa> = list
            .into_iter()
            .filter_map(|(_, sa)| sa)
            .filter(|sa| sa.state == SaState::Larval && sa.id.spi == Spi(0))
            .collect();
        for found in self.policies.iter().filter(|policy| policy.direction == Direction::Out) {
            let wants = |rule: &&Rule| {
                let Some((source, destination)) = ends(found, rule) else { return false };
                waiting.iter().any(|sa| {
                    (sa.id.source, sa.id.destination, sa.id.proto) == (source, destination, rule.proto)
                        && sa.reqid == reqid_of(rule)
                })
            };
            let Some(rule) = rules(found).iter().find(wants) else { continue };
            let Some((source, destination)) = ends(found, rule) else { continue };
            self.notifications.push_back(Notification::Acquire(Acquire {
                policy: found.id,
                source,
                destination,
                selector: found.selector,
                proto: rule.proto,
                mode: rule.mode,
                reqid: reqid_of(rule),
            }));
        }
    }

    /// Lets the packets go that have waited for these SAs. The kernel would look for them from time to time, and whoever
    /// remembers the way into its queue, as GRE tunnels do, would go on sending there. A policy put anew ends both.
    fn let_go(&mut self) {
        for name in std::mem::take(&mut self.first_sas) {
            let Some(known) = self.sas.get(&name) else { continue };
            let (source, reqid, (destination, proto, _)) = (known.source, known.reqid, name);
            let waits = |policy: &&Policy| {
                policy.direction == Direction::Out
                    && self.own_policies.contains(&(Direction::Out, policy.selector))
                    && rules(policy).iter().any(|rule| {
                        (rule.proto, reqid_of(rule)) == (proto, reqid)
                            && ends(policy, rule) == Some((source, destination))
                    })
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
            (known.source, known.reqid) == (source, reqid_of(rule))
                && (known.mode == Mode::Tunnel) == (rule.mode == Mode::Tunnel)
        })
    }
}

impl<K: Kernel> Home for Xfrm<K> {
    fn requests(&mut self, wall: u64, requests: Vec<Request>) -> Vec<Reply> {
        let mut replies = Vec::with_capacity(requests.len());
        for request in requests {
            let reply = self.carry_out(wall, request);
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
        loop {
            match self.kernel.hear() {
                Ok(Some(datagram)) => {
                    for message in messages(&datagram).map_while(Result::ok) {
                        self.handle(&message, wall);
                    }
                }
                Ok(None) => break,
                Err(_) => {
                    self.look_anew();
                    break;
                }
            }
        }
        // As they are now, before one is put anew.
        let looked = self.look_again();
        self.let_go();
        // The policies of the first requests have to be there.
        if looked && self.has_begun {
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
            coati_sadb::Upper::Proto(number) => number,
            coati_sadb::Upper::Any => 0,
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

impl<K: Kernel> Drop for Xfrm<K> {
    fn drop(&mut self) {
        let own: Vec<Name> =
            self.sas.iter().filter(|(_, known)| known.is_own).map(|(name, _)| *name).collect();
        for (destination, proto, spi) in own {
            let id = SaId { source: destination, destination, proto, spi };
            let _ = self.ask(Body::DeleteSa(sa::name(&id)), Vec::new());
        }
        let is_own = |policy: &Policy| self.own_policies.contains(&(policy.direction, policy.selector));
        let own: Vec<Policy> = self.policies.iter().filter(|policy| is_own(policy)).cloned().collect();
        for policy in &own {
            let selector = policy::selector(&policy.selector);
            let direction = policy::direction_number(policy.direction);
            let _ =
                self.ask(Body::DeletePolicy(xfrm::PolicyId { selector, index: 0, direction }), Vec::new());
        }
        // Now that nobody asks for more.
        self.end_larval(&own);
    }
}

/// The SAs in an answer; `None` beside those for which there are no words here.
fn of_sas(datagrams: &[Zeroizing<Vec<u8>>], wall: u64) -> Vec<(SaInfo, Option<Sa>)> {
    let mut list = Vec::new();
    for message in datagrams.iter().flat_map(|datagram| messages(datagram)).map_while(Result::ok) {
        if let Body::NewSa(info) = message.body {
            list.push((info, sa::sa_of(&info, &message.attributes, wall)));
        }
    }
    list
}

fn what_tells(id: &SaId) -> Name {
    (id.destination, id.proto, id.spi)
}

/// The kernel has one policy of a selector and direction.
fn is_same(a: &PolicyInfo, b: &PolicyInfo) -> bool {
    (a.selector, a.direction) == (b.selector, b.direction)
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

/// But for number and usage.
fn says_the_same(a: &Policy, b: &Policy) -> bool {
    let what = |policy: &Policy| (policy.direction, policy.selector, policy.priority);
    what(a) == what(b) && a.action == b.action
}

/// Whether the policy wants this SA.
fn is_for(policy: &Policy, sa: &Sa) -> bool {
    rules(policy).iter().any(|rule| {
        (rule.proto, reqid_of(rule)) == (sa.id.proto, sa.reqid)
            && ends(policy, rule) == Some((sa.id.source, sa.id.destination))
    })
}

/// Why the kernel did not do it.
struct Problem {
    errno: i32,
    text: Option<String>,
}

impl Problem {
    fn of_socket(error: io::Error) -> Self {
        Self { errno: error.raw_os_error().unwrap_or(0), text: Some(format!("netlink: {error}")) }
    }

    /// What the kernel itself says, or what its number means.
    fn sentence(&self) -> String {
        match (self.errno, &self.text) {
            (errno::EPERM, _) => {
                "the kernel does not let us: CAP_NET_ADMIN is needed (run it as root)".into()
            }
            (_, Some(text)) => format!("the kernel says: {text}"),
            (errno::EINVAL, None) => "the kernel finds something wrong with it (EINVAL)".into(),
            (errno, None) => format!("the kernel says: {}", io::Error::from_raw_os_error(errno)),
        }
    }

    fn plain(self) -> Refusal {
        match self.errno {
            errno::ENOBUFS | errno::ENOMEM => Refusal::NoRoom(self.sentence()),
            _ => Refusal::Invalid(self.sentence()),
        }
    }

    fn of_sa(self) -> Refusal {
        match self.errno {
            errno::ESRCH | errno::ENOENT => Refusal::NoSa,
            _ => self.plain(),
        }
    }

    fn of_policy(self) -> Refusal {
        match self.errno {
            errno::ENOENT => Refusal::NoPolicy,
            errno::EEXIST => Refusal::Exists,
            _ => self.plain(),
        }
    }

    /// What stood in the way of this SA: mostly a module.
    fn of_new_sa(self, new: &Sa) -> Refusal {
        match self.errno {
            errno::EEXIST => Refusal::Exists,
            errno::ESRCH => Refusal::NoSa,
            errno::EPROTONOSUPPORT => {
                let version = if new.id.destination.is_ipv4() { "4" } else { "6" };
                let module = match new.id.proto {
                    SaProto::Esp => format!("esp{version}"),
                    SaProto::Ah => format!("ah{version}"),
                    SaProto::Ipcomp => format!("ipcomp{}", if version == "4" { "" } else { "6" }),
                };
                let name = new.id.proto.setkey_name();
                Refusal::Unsupported(format!("the kernel has no {name}: load its module {module}"))
            }
            errno::ENOENT | errno::ENOSYS => {
                let list = match new.id.proto {
                    SaProto::Ipcomp => format!("deflate, {ALWAYS}"),
                    _ => modules(new),
                };
                let (enc, auth) = (new.enc.setkey_name(), new.auth.setkey_name());
                Refusal::Unsupported(format!(
                    "the kernel lacks something for {enc} with {auth}: load those of its modules that are not: {list}"
                ))
            }
            _ => self.plain(),
        }
    }
}
