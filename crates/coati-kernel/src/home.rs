//! The databases themselves: requests to the kernel, what it says unasked, and what of it all is ours.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::net::IpAddr;

use coati_sadb::{
    Acquire, Action, Changes, Direction, Expire, Home, Level, Lifetime, Mode, Notification, Policy, PolicyId,
    Priority, Refusal, Reply, ReqId, Request, Rule, Sa, SaId, SaProto, SaState, Selector, Spi, Upper, Usage,
};

use crate::policy::{reqid_of, rules, says_the_same, that_want, with_ends};
use crate::{Event, FoundPolicy, Kernel};

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

/// A kernel's databases, and what is known of them.
pub struct KernelHome<K: Kernel> {
    kernel: K,
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
    doomed: Vec<FoundPolicy>,
    policies_stale: bool,
    changes: Changes,
    /// Whether the ACQUIREs that nobody has heard were looked for.
    has_begun: bool,
    notifications: VecDeque<Notification>,
}

impl<K: Kernel> KernelHome<K> {
    /// Looks what is there, and has the kernel tell from now on what it wants. The SAs of a predecessor that has crashed
    /// go at once; its policies stay until [`Home::requests`] is called first. From then on packets that match one of
    /// `guarded` are dropped where no policy says otherwise: a kernel would send them in clear.
    pub fn new(kernel: K, guarded: Vec<Selector>) -> Result<(Self, Leftovers), Refusal> {
        let mut home = Self {
            kernel,
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
        home.kernel.begin()?;
        let mut left = Leftovers::default();
        for id in home.look_at_sas()? {
            left.sas += usize::from(home.kernel.delete_sa(&id).is_ok());
            home.sas.remove(&what_tells(&id));
        }
        home.doomed = home.kernel.policies()?.into_iter().filter(|found| found.is_own).collect();
        left.policies = home.doomed.len();
        home.first_sas.clear();
        home.look_at_policies();
        Ok((home, left))
    }

    /// Learns which SAs there are; the names of those that were made here.
    fn look_at_sas(&mut self) -> Result<Vec<SaId>, Refusal> {
        let all = self.kernel.sas(0)?;
        self.sas.clear();
        self.changes.sas = true;
        let mut own = Vec::new();
        for found in all {
            if let Some(sa) = found.sa.filter(is_usable) {
                self.learn_sa(&found.id, sa.mode, sa.reqid, found.is_own);
                own.extend(found.is_own.then_some(found.id));
            }
        }
        Ok(own)
    }

    fn learn_sa(&mut self, id: &SaId, mode: Mode, reqid: ReqId, is_own: bool) {
        let is_first =
            !self.sas_to(id.destination, id.proto).any(|it| (it.source, it.reqid) == (id.source, reqid));
        if is_first {
            self.first_sas.push(what_tells(id));
        }
        self.sas.insert(what_tells(id), Known { source: id.source, reqid, mode, is_own });
        self.reqids.insert(reqid);
        self.changes.sas = true;
    }

    fn sas_to(&self, destination: IpAddr, proto: SaProto) -> impl Iterator<Item = &Known> {
        let name = |spi| (destination, proto, Spi(spi));
        self.sas.range(name(0)..=name(u32::MAX)).map(|(_, known)| known)
    }

    fn look_at_policies(&mut self) {
        if let Ok(list) = self.kernel.policies() {
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

    fn carry_out(&mut self, wall: u64, request: Request) -> Result<Reply, Refusal> {
        match request {
            Request::GetSpi { source, destination, proto, mode, reqid, spi } => {
                let spi = self.kernel.get_spi(&SaId { source, destination, proto, spi }, mode, reqid)?;
                return Ok(Reply::Spi { spi });
            }
            Request::DeleteAll { source, destination, proto } => {
                let named = |id: &SaId| (id.source, id.destination, id.proto) == (source, destination, proto);
                let all = self.kernel.sas(wall)?.into_iter().map(|found| found.id);
                let doomed: Vec<SaId> = all.filter(named).collect();
                for id in &doomed {
                    self.kernel.delete_sa(id)?;
                }
                if doomed.is_empty() {
                    return Err(Refusal::NoSa);
                }
            }
            Request::Add(new) => self.kernel.put_sa(&new, false)?,
            Request::Update(new) => self.kernel.put_sa(&new, true)?,
            Request::Delete(id) => self.kernel.delete_sa(&id)?,
            Request::Get(id) => return Ok(Reply::Sas { sas: vec![self.kernel.sa(&id, wall)?] }),
            Request::Flush(proto) => self.kernel.flush_sas(proto)?,
            Request::Dump(proto) => {
                let all = self.kernel.sas(wall)?.into_iter().filter_map(|found| found.sa);
                let sas = all.filter(|sa| proto.is_none_or(|proto| sa.id.proto == proto)).collect();
                return Ok(Reply::Sas { sas });
            }
            Request::SpdAdd(new) => self.put_policy(*new, false)?,
            Request::SpdUpdate(new) => self.put_policy(*new, true)?,
            Request::SpdDelete(selector, direction) => self.delete_policy(&selector, direction)?,
            Request::SpdFlush => {
                // They go when what is to take their place is there.
                self.doomed = self.kernel.policies()?;
                self.own_policies.clear();
            }
            Request::SpdDump => {
                let list = self.kernel.policies()?.into_iter();
                let there = list.filter(|found| !self.doomed.iter().any(|doomed| doomed.id == found.id));
                let policies = there.filter_map(|found| found.policy).collect();
                return Ok(Reply::Policies { policies });
            }
        }
        Ok(Reply::Done)
    }

    fn put_policy(&mut self, mut new: Policy, replaces: bool) -> Result<(), Refusal> {
        if let Action::Ipsec(rules) = &mut new.action {
            for rule in rules.iter_mut().filter(|rule| rule.level == Level::Unique(ReqId(0))) {
                let reqid = self.kernel.free_reqid(&self.reqids)?;
                self.reqids.insert(reqid);
                rule.level = Level::Unique(reqid);
            }
        }
        let is_blocked = new.direction == Direction::Out && self.blocked.contains(&new.selector);
        self.put_one_policy(&new, replaces || is_blocked)?;
        if new.direction == Direction::Out {
            self.blocked.remove(&new.selector);
        }
        if new.direction == Direction::In && self.kernel.abilities().forward {
            self.put_one_policy(&Policy { direction: Direction::Fwd, ..new }, true)?;
        }
        Ok(())
    }

    fn put_one_policy(&mut self, new: &Policy, replaces: bool) -> Result<(), Refusal> {
        let about = (new.direction, new.selector);
        // One that is about to go is not there any more, and what protects meanwhile.
        let place = self.doomed.iter().position(|doomed| doomed.about == Some(about));
        if place.is_some() {
            // What is replaced keeps its place among equals. From behind them it comes in as the last, as if it were new.
            let behind = new.priority.0.checked_add(1).map_or(new.priority, Priority);
            self.kernel.put_policy(&Policy { priority: behind, ..new.clone() }, true)?;
        }
        self.kernel.put_policy(new, replaces || place.is_some())?;
        if let Some(place) = place {
            self.doomed.swap_remove(place);
        }
        self.own_policies.insert(about);
        self.reqids.extend(rules(new).iter().map(reqid_of));
        self.policies_stale = true;
        Ok(())
    }

    fn delete_policy(&mut self, selector: &Selector, direction: Direction) -> Result<(), Refusal> {
        let is_guarded = direction == Direction::Out && self.guarded.contains(selector);
        if self.doomed.iter().any(|doomed| doomed.about == Some((direction, *selector)))
            || is_guarded && self.blocked.contains(selector)
        {
            return Err(Refusal::NoPolicy);
        }
        if is_guarded {
            self.look_again();
            if self.has_policy(selector) {
                return self.block(selector);
            }
        }
        self.kernel.delete_policy(selector, direction)?;
        self.own_policies.remove(&(direction, *selector));
        if direction == Direction::In && self.own_policies.remove(&(Direction::Fwd, *selector)) {
            let _ = self.kernel.delete_policy(selector, Direction::Fwd);
        }
        self.policies_stale = true;
        Ok(())
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
            match doomed.about {
                Some((Direction::Out, selector)) if self.guarded.contains(&selector) => {
                    drop(self.block(&selector));
                }
                _ => drop(self.kernel.delete_numbered(doomed.id)),
            }
            self.policies_stale = true;
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Sa { id, mode, reqid, is_own } => self.learn_sa(&id, mode, reqid, is_own),
            Event::SaGone(destination, proto, spi) => {
                self.changes.sas |= self.sas.remove(&(destination, proto, spi)).is_some();
            }
            Event::SasGone => drop(self.look_at_sas()),
            Event::SasFlushed(proto) => {
                self.sas.retain(|(_, known, _), _| proto.is_some_and(|proto| proto != *known));
                self.changes.sas = true;
            }
            Event::Expired { id, hard, current } => self.expired(id, hard, current),
            Event::Moved { destination, proto, spi, source, port } => {
                let destination = destination.or_else(|| {
                    let is_it =
                        |name: &Name, known: &Known| (name.1, name.2, known.source) == (proto, spi, source);
                    self.sas.iter().find(|(name, known)| is_it(name, known)).map(|(name, _)| name.0)
                });
                let known = destination.and_then(|to| Some((to, self.sas.get(&(to, proto, spi))?)));
                // Another address is another peer, which IKE has to meet first.
                if let Some((destination, _)) = known.filter(|(_, known)| known.source == source) {
                    let id = SaId { source, destination, proto, spi };
                    self.notifications.push_back(Notification::Moved { id, port });
                }
            }
            Event::Wanted { ends, proto, policy } => self.wanted(ends, proto, policy),
            Event::Policy(found) => {
                // The echo of one that was put anew is no news.
                let is_known = |found: Policy| self.policies.iter().any(|known| says_the_same(known, &found));
                self.policies_stale |= !found.is_some_and(is_known);
            }
            Event::PoliciesGone => self.policies_stale = true,
        }
    }

    /// A larval SA that has waited in vain ends without a word.
    fn expired(&mut self, id: SaId, hard: bool, current: Lifetime) {
        let found = match hard {
            true => self.sas.remove(&what_tells(&id)).map(|known| known.reqid),
            false => self.sas.get(&what_tells(&id)).map(|known| known.reqid),
        };
        if let Some(reqid) = found {
            self.changes.sas = true;
            self.notifications.push_back(Notification::Expire(Expire { id, reqid, hard, current }));
        }
    }

    fn wanted(&mut self, ends: (IpAddr, IpAddr), proto: SaProto, id: Option<PolicyId>) {
        let find = |policies: &[Policy]| {
            let mut asks =
                outbound(policies).filter(|policy| that_want(policy, proto, ends).next().is_some());
            asks.clone().find(|policy| Some(policy.id) == id).or_else(|| asks.next()).cloned()
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

    fn acquire(&mut self, policy: &Policy, proto: SaProto, ends: (IpAddr, IpAddr)) {
        let Some(rule) = that_want(policy, proto, ends).next() else { return };
        self.notifications.push_back(Notification::Acquire(Acquire {
            policy: policy.id,
            source: ends.0,
            destination: ends.1,
            selector: policy.selector,
            proto,
            mode: rule.mode,
            reqid: reqid_of(rule),
        }));
    }

    /// SAs without keys.
    fn larval(&mut self) -> Vec<Sa> {
        let list = self.kernel.sas(0).unwrap_or_default().into_iter().filter_map(|found| found.sa);
        list.filter(|sa| sa.state == SaState::Larval).collect()
    }

    /// Hears the ACQUIREs that nobody has heard: a kernel that waits for their SAs asks no second time.
    fn hear_missed(&mut self) {
        // Those that are waited for have no SPI yet.
        for found in self.larval().into_iter().filter(|sa| sa.id.spi == Spi(0)) {
            let asking = outbound(&self.policies).find(|policy| is_for(policy, &found)).cloned();
            if let Some(policy) = asking {
                self.acquire(&policy, found.id.proto, (found.id.source, found.id.destination));
            }
        }
    }

    /// Ends what is waited for or negotiated on behalf of these policies.
    fn end_larval(&mut self, policies: &[Policy]) {
        for found in self.larval() {
            if !policies.iter().any(|policy| is_for(policy, &found)) {
                continue;
            }
            if found.id.spi == Spi(0) {
                self.kernel.end_awaited(&found);
            } else {
                let _ = self.kernel.delete_sa(&found.id);
            }
        }
    }

    /// Lets the packets go that have waited for these SAs. The kernel would look for them from time to time, and whoever
    /// remembers the way into its queue, as GRE tunnels do, would go on sending there. A policy put anew ends both.
    fn let_go(&mut self) {
        for name in std::mem::take(&mut self.first_sas) {
            let keeps_packets = self.kernel.abilities().keeps_packets;
            let Some(known) = self.sas.get(&name).filter(|_| keeps_packets) else { continue };
            let (source, reqid, (destination, proto, _)) = (known.source, known.reqid, name);
            let waits = |policy: &&Policy| {
                self.own_policies.contains(&(Direction::Out, policy.selector))
                    && that_want(policy, proto, (source, destination)).any(|rule| reqid_of(rule) == reqid)
            };
            let found: Vec<Policy> = outbound(&self.policies).filter(waits).cloned().collect();
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

    fn has_sa(&self, rule: &Rule, (source, destination): (IpAddr, IpAddr)) -> bool {
        let is_exact = self.kernel.abilities().exact_reqid;
        self.sas_to(destination, rule.proto).any(|known| {
            let is_its = reqid_of(rule) == ReqId(0) && !is_exact || known.reqid == reqid_of(rule);
            // Whoever adds an SA by hand may leave its mode open.
            let fits = known.mode == Mode::Any || (known.mode == Mode::Tunnel) == (rule.mode == Mode::Tunnel);
            known.source == source && is_its && fits
        })
    }
}

impl<K: Kernel> Home for KernelHome<K> {
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
            match self.kernel.hear(wall) {
                Ok(Some(events)) => events.into_iter().for_each(|event| self.handle(event)),
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
            Upper::Proto(number) => number,
            Upper::Any => 0,
        };
        let mut out = outbound(&self.policies);
        let Some(found) = out.find(|policy| policy.selector.matches(source, destination, upper, None)) else {
            return false;
        };
        match &found.action {
            Action::None => true,
            Action::Discard => false,
            Action::Ipsec(_) => with_ends(found).all(|(rule, ends)| {
                rule.level == Level::Use || self.has_sa(rule, ends.unwrap_or((source, destination)))
            }),
        }
    }

    fn counters(&self) -> Vec<(String, u64)> {
        self.kernel.counters()
    }
}

impl<K: Kernel> Drop for KernelHome<K> {
    fn drop(&mut self) {
        for ((destination, proto, spi), known) in self.sas.iter().filter(|(_, known)| known.is_own) {
            let id = SaId { source: known.source, destination: *destination, proto: *proto, spi: *spi };
            let _ = self.kernel.delete_sa(&id);
        }
        let is_own = |policy: &Policy| self.own_policies.contains(&(policy.direction, policy.selector));
        let own: Vec<Policy> = self.policies.iter().filter(|policy| is_own(policy)).cloned().collect();
        for policy in &own {
            let _ = self.kernel.delete_policy(&policy.selector, policy.direction);
        }
        // Now that nobody asks for more.
        self.end_larval(&own);
    }
}

fn outbound(policies: &[Policy]) -> impl Iterator<Item = &Policy> + Clone {
    policies.iter().filter(|policy| policy.direction == Direction::Out)
}

fn is_usable(sa: &Sa) -> bool {
    matches!(sa.state, SaState::Mature | SaState::Dying)
}

fn what_tells(id: &SaId) -> Name {
    (id.destination, id.proto, id.spi)
}

/// Whether the policy wants this SA.
fn is_for(policy: &Policy, sa: &Sa) -> bool {
    that_want(policy, sa.id.proto, (sa.id.source, sa.id.destination)).any(|rule| reqid_of(rule) == sa.reqid)
}
