//! The engine: its verbs, and what concerns more than one exchange of a peer.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use coati_crypto::RandomSource;
use coati_crypto::hash::HashAlgorithm;
use coati_sadb::{Acquire, Expire, Policy, Reply, Request, Selector, Spi};
use coati_wire::isakmp::{Header, Notification, exchange, flag, kind};

use crate::config::{Config, Fragmentation};
use crate::core::{Core, Purpose, RequestTag, Timer, Transmit};
use crate::event::Event;
use crate::ikev1::fragment::Reassembly;
use crate::ikev1::informational::{self, Informed};
use crate::ikev1::main_mode;
use crate::ikev1::negotiation;
use crate::ikev1::phase1::{Phase1, State, hex};
use crate::ikev1::quick_mode;
use crate::job::{Job, JobDone};
use crate::pair::{RETIREMENT, SIMULTANEOUS, Want};
use crate::retransmission::Due;

/// Unknown initiators that are being answered at one time, in all and of one address.
const MAX_HALF_OPEN: usize = 256;
const MAX_HALF_OPEN_OF_ONE: usize = 8;
/// Negotiations that wait for one ISAKMP SA.
const MAX_WAITING: usize = 64;
/// A responder lets the initiator of phase 1 begin with phase 2 for so long.
const RESPONDER_WAITS: Duration = Duration::from_millis(300);
/// Of two main modes begun from both sides within this time, one gives way.
const COLLISION: Duration = Duration::from_secs(2);
/// An unknown SPI is acted upon this often for one peer.
const UNKNOWN_SPI_INTERVAL: Duration = Duration::from_secs(1);

/// All of IKE of one host.
pub struct Engine {
    core: Core,
    phase1: BTreeMap<u64, Phase1>,
    /// By the cookie that we chose.
    own_cookies: HashMap<[u8; 8], u64>,
    /// Responders by address and cookie of the initiator, for its repeated first message.
    first_messages: HashMap<(SocketAddr, [u8; 8]), u64>,
    reassembly: Reassembly,
    /// Peers that have heard of us since we started.
    contacted: HashSet<IpAddr>,
    unknown_spi_seen: HashMap<IpAddr, Instant>,
    local_port: u16,
}

/// One ISAKMP SA, for `racoonctl show-sa isakmp`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsakmpSa {
    /// Our end.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
    /// Initiator's cookie in hexadecimal.
    pub initiator_cookie: String,
    /// Responder's cookie.
    pub responder_cookie: String,
    /// racoon's number of the state: 9 is established, 10 dying.
    pub state: u8,
    /// Whether we began it.
    pub initiator: bool,
    /// When it was established.
    pub established: Option<Instant>,
    /// SA pairs and quick modes under it.
    pub phase2: usize,
}

impl Engine {
    /// An engine without any SA. `random` has to be fit for keys.
    pub fn new(config: Config, random: Box<dyn RandomSource>) -> Self {
        Self {
            core: Core::new(config, random),
            phase1: BTreeMap::new(),
            own_cookies: HashMap::new(),
            first_messages: HashMap::new(),
            reassembly: Reassembly::default(),
            contacted: HashSet::new(),
            unknown_spi_seen: HashMap::new(),
            local_port: 500,
        }
    }

    /// Takes a UDP payload that came to `local` from `remote`.
    pub fn handle_input(&mut self, now: Instant, local: SocketAddr, remote: SocketAddr, datagram: &[u8]) {
        let Ok((header, body)) = Header::parse(datagram) else {
            return self.core.drop_datagram("malformed header");
        };
        if header.next_payload != kind::FRAGMENT {
            return self.handle_message(now, local, remote, datagram);
        }
        let peer = self.core.config.peer_of(remote.ip()).and_then(|index| self.core.peer(index));
        if peer.is_none_or(|peer| peer.fragmentation == Fragmentation::Off) {
            return self.core.drop_datagram("fragment, but ike_frag is off");
        }
        match self.reassembly.add(now, remote, &header, body) {
            Ok(Some(whole)) => self.handle_message(now, local, remote, &whole),
            Ok(None) => {}
            Err(why) => self.core.drop_datagram(why),
        }
    }

    fn handle_message(&mut self, now: Instant, local: SocketAddr, remote: SocketAddr, message: &[u8]) {
        let Ok((header, body)) = Header::parse(message) else {
            return self.core.drop_datagram("malformed header");
        };
        let digest = HashAlgorithm::Sha256.digest(&[message]);
        let first = header.responder_cookie == [0; 8] && header.exchange != exchange::INFORMATIONAL;
        let known = if first {
            self.first_messages.get(&(remote, header.initiator_cookie)).copied()
        } else {
            self.find(&header, remote)
        };
        match (known, first) {
            (None, true) => self.handle_first(now, local, remote, &header, body, digest),
            (None, false) => self.core.drop_datagram("unknown cookies"),
            (Some(id), _) => self.handle_known(now, id, &header, body, &digest),
        }
    }

    /// The ISAKMP SA with these cookies at this address.
    fn find(&self, header: &Header, remote: SocketAddr) -> Option<u64> {
        let ours = |cookie: &[u8; 8], initiator: bool| {
            let id = *self.own_cookies.get(cookie)?;
            let sa = self.phase1.get(&id)?;
            (sa.initiator == initiator && sa.remote == remote).then_some((id, sa))
        };
        if let Some((id, sa)) = ours(&header.initiator_cookie, true) {
            let [_, responder] = sa.cookies;
            return (responder == [0; 8] || responder == header.responder_cookie).then_some(id);
        }
        let (id, sa) = ours(&header.responder_cookie, false)?;
        let [initiator, _] = sa.cookies;
        (initiator == header.initiator_cookie).then_some(id)
    }

    /// Somebody begins.
    fn handle_first(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        header: &Header,
        body: &[u8],
        digest: Vec<u8>,
    ) {
        let Some(peer) = self.core.config.peer_of(remote.ip()) else {
            return self.core.drop_datagram("no remote section for the sender");
        };
        if header.exchange != exchange::IDENTITY_PROTECTION {
            if header.exchange == exchange::AGGRESSIVE {
                let text = format!("{remote}: it begins with aggressive mode; only main mode is taken here");
                self.core.fail(remote.ip(), text);
            }
            return self.core.drop_datagram("exchange type not supported");
        }
        let half_open = self.phase1.values().filter(|sa| !sa.initiator && !sa.is_established());
        let (all, of_one) = half_open
            .fold((0, 0), |(all, one), sa| (all + 1, one + usize::from(sa.remote.ip() == remote.ip())));
        if all >= MAX_HALF_OPEN || of_one >= MAX_HALF_OPEN_OF_ONE {
            return self.core.drop_datagram("too many half-open negotiations");
        }
        if !self.yield_to(now, remote, header.initiator_cookie) {
            return self.core.drop_datagram("begun from both sides at once, ours goes on");
        }
        if let Some(mut sa) = main_mode::respond(&mut self.core, now, peer, local, remote, header, body) {
            sa.last_received = digest;
            self.first_messages.insert((remote, header.initiator_cookie), sa.id);
            self.keep(sa);
        }
    }

    /// Both have begun at once: the larger initiator cookie goes on. Returns whether the peer's does; ours then
    /// pauses, but stays, since nothing is proved yet.
    fn yield_to(&mut self, now: Instant, remote: SocketAddr, their_cookie: [u8; 8]) -> bool {
        let mut timers = Vec::new();
        for sa in self.phase1.values_mut() {
            let young = now.saturating_duration_since(sa.began) < COLLISION;
            if !(sa.initiator && sa.remote == remote && young) {
                continue;
            }
            let [our_cookie, _] = sa.cookies;
            if our_cookie > their_cookie {
                // It may not have been there when ours was sent: now it is.
                if let Some(last) = sa.last_sent.as_mut().filter(|_| sa.state == State::SaSent)
                    && last.may_nudge()
                {
                    for datagram in &last.datagrams {
                        self.core.send(sa.local, sa.remote, datagram.clone());
                    }
                }
                return false;
            }
            if let Some(last) = sa.last_sent.as_mut().filter(|_| sa.state == State::SaSent) {
                timers.push((last.postpone(now, COLLISION), sa.id));
            }
        }
        for (due, id) in timers {
            self.core.set_timer(due, Timer::Phase1(id));
        }
        true
    }

    fn handle_known(&mut self, now: Instant, id: u64, header: &Header, body: &[u8], digest: &[u8]) {
        let Some(sa) = self.phase1.get_mut(&id) else { return };
        match header.exchange {
            exchange::IDENTITY_PROTECTION if header.message_id == 0 => {
                if sa.last_received == digest {
                    return self.repeat(now, id);
                }
                let before = sa.state;
                let outcome = main_mode::handle_message(&mut self.core, now, sa, header, body);
                if sa.state != before {
                    sa.last_received = digest.to_vec();
                }
                if outcome == negotiation::Outcome::Established {
                    self.established(now, id);
                }
            }
            exchange::QUICK if header.message_id != 0 => {
                if !sa.is_established() || header.flags & flag::ENCRYPTED == 0 {
                    return self.core.drop_datagram("quick mode before an ISAKMP SA");
                }
                let outcome = quick_mode::handle_message(&mut self.core, now, sa, header, body, digest);
                self.quick_outcome(now, id, header.message_id, &outcome);
            }
            exchange::INFORMATIONAL => {
                let informed = informational::handle_message(&mut self.core, now, sa, header, body);
                for told in informed {
                    self.informed(id, told);
                }
            }
            _ => self.core.drop_datagram("exchange type not supported"),
        }
    }

    /// The peer has sent its last message again: our answer was lost.
    fn repeat(&mut self, now: Instant, id: u64) {
        let Some(sa) = self.phase1.get_mut(&id) else { return };
        if matches!(sa.state, State::KeComputing | State::SharedComputing) {
            return;
        }
        if let Some(last) = &mut sa.last_sent
            && last.may_answer(now)
        {
            for datagram in &last.datagrams {
                self.core.send(sa.local, sa.remote, datagram.clone());
            }
        }
    }

    fn keep(&mut self, sa: Phase1) {
        let own = sa.cookies.get(sa.own()).copied().unwrap_or_default();
        self.own_cookies.insert(own, sa.id);
        self.phase1.insert(sa.id, sa);
    }

    fn forget(&mut self, id: u64) -> Option<Phase1> {
        let sa = self.phase1.remove(&id)?;
        self.own_cookies.retain(|_, owner| *owner != id);
        self.first_messages.retain(|_, owner| *owner != id);
        Some(sa)
    }

    /// Phase 1 is done: it takes over from others with this peer, and what waits begins.
    fn established(&mut self, now: Instant, id: u64) {
        let Some(sa) = self.phase1.get(&id) else { return };
        let (remote, initiator, peer) = (sa.remote, sa.initiator, sa.peer);
        let heard_initial_contact = sa.heard_initial_contact;
        let others: Vec<u64> = self
            .phase1
            .values()
            .filter(|other| other.id != id && other.remote.ip() == remote.ip())
            .map(|other| other.id)
            .collect();
        let mut inherited = Vec::new();
        for other in others {
            let Some(sa) = self.phase1.get_mut(&other) else { continue };
            if sa.is_established() {
                let loser = self.loser(id, other);
                self.retire(now, loser);
                continue;
            }
            inherited.extend(sa.waiting.drain(..));
            // One that the peer has answered is left to its end: the peer may see that one established first.
            if sa.initiator && sa.state == State::SaSent {
                self.forget(other);
            }
        }
        if heard_initial_contact {
            self.informed(id, Informed::InitialContact);
        }
        let says_so = self.is_first_contact(remote.ip(), peer);
        self.contacted.insert(remote.ip());
        let Some(sa) = self.phase1.get_mut(&id) else { return };
        if says_so {
            informational::notify(&mut self.core, sa, Notification::INITIAL_CONTACT, Vec::new());
        }
        informational::schedule_dpd(&mut self.core, now, sa);
        for want in inherited {
            wait_for(sa, want);
        }
        if initiator {
            self.begin_waiting(now, id);
        } else {
            self.core.set_timer(now + RESPONDER_WAITS, Timer::Waiting(id));
        }
    }

    /// Whether nothing older is known with this peer, and it is to be told so.
    fn is_first_contact(&self, remote: IpAddr, peer: usize) -> bool {
        self.core.peer(peer).is_some_and(|peer| peer.initial_contact)
            && !self.contacted.contains(&remote)
            && !self.core.pairs.values().any(|pair| pair.want.remote == remote)
    }

    /// Which of two established ones gives way: the older; of two that began at the same time, so that both ends
    /// agree, the one with the smaller initiator cookie.
    fn loser(&self, a: u64, b: u64) -> u64 {
        let (Some(first), Some(second)) = (self.phase1.get(&a), self.phase1.get(&b)) else { return b };
        let (older, younger) = if first.began <= second.began { (first, second) } else { (second, first) };
        if younger.began - older.began > SIMULTANEOUS {
            return older.id;
        }
        if first.cookies < second.cookies { a } else { b }
    }

    fn retire(&mut self, now: Instant, id: u64) {
        if let Some(sa) = self.phase1.get_mut(&id)
            && sa.state != State::Dying
        {
            sa.state = State::Dying;
            self.core.set_timer(now + RETIREMENT, Timer::Retire(id));
        }
    }

    /// The ISAKMP SA that new exchanges with this peer use.
    fn best(&self, remote: IpAddr) -> Option<u64> {
        let usable = self.phase1.values().filter(|sa| sa.remote.ip() == remote && sa.is_established());
        usable.max_by_key(|sa| (sa.state == State::Established, sa.established)).map(|sa| sa.id)
    }

    fn under_way(&mut self, remote: IpAddr) -> Option<&mut Phase1> {
        self.phase1.values_mut().find(|sa| sa.remote.ip() == remote && !sa.is_established())
    }

    fn begin_waiting(&mut self, now: Instant, id: u64) {
        let Some(sa) = self.phase1.get_mut(&id).filter(|sa| sa.is_established()) else { return };
        let wants: Vec<Want> = sa.waiting.drain(..).collect();
        for want in wants {
            if self.core.live_pair(&want.selector).is_none() {
                self.negotiate(now, want);
            }
        }
    }

    /// The data plane wants keys for a policy.
    pub fn handle_acquire(&mut self, now: Instant, acquire: &Acquire) {
        let Some(want) = self.core.want_of(&acquire.selector) else { return };
        let settling = self
            .core
            .live_pair(&want.selector)
            .is_some_and(|(_, pair)| now.saturating_duration_since(pair.established) < COLLISION);
        if !settling {
            self.negotiate(now, want);
        }
    }

    /// Brings up an ISAKMP SA with a peer without waiting for a packet.
    pub fn initiate(&mut self, now: Instant, local: IpAddr, remote: IpAddr) {
        if self.best(remote).is_none() && self.under_way(remote).is_none() {
            self.begin_main_mode(now, local, remote, Vec::new());
        }
    }

    /// Phase 2 for `want` under whatever ISAKMP SA there is, or under one that is to come.
    fn negotiate(&mut self, now: Instant, want: Want) {
        let remote = want.remote;
        if let Some(id) = self.best(remote)
            && let Some(sa) = self.phase1.get_mut(&id)
        {
            let age = sa.established.map_or(RESPONDER_WAITS, |since| now.saturating_duration_since(since));
            if sa.initiator || age >= RESPONDER_WAITS {
                quick_mode::initiate(&mut self.core, sa, want);
            } else {
                wait_for(sa, want);
            }
        } else if let Some(sa) = self.under_way(remote) {
            wait_for(sa, want);
        } else {
            let local = want.local;
            self.begin_main_mode(now, local, remote, vec![want]);
        }
    }

    fn begin_main_mode(&mut self, now: Instant, local: IpAddr, remote: IpAddr, wants: Vec<Want>) {
        let Some(index) = self.core.config.peer_of(remote) else {
            let text = format!("{remote}: a policy wants IPsec with it, but no remote section fits it");
            return self.core.fail(remote, text);
        };
        let Some(port) = self.core.peer(index).filter(|peer| !peer.passive).map(|peer| peer.port) else {
            return;
        };
        let (local, remote) = (SocketAddr::new(local, self.local_port), SocketAddr::new(remote, port));
        if let Some(mut sa) = main_mode::initiate(&mut self.core, now, index, local, remote) {
            sa.waiting.extend(wants);
            self.keep(sa);
        }
    }

    /// A lifetime of an SA has run out.
    pub fn handle_expire(&mut self, now: Instant, expire: &Expire) {
        let found =
            self.core.pairs.iter().find(|(_, pair)| pair.inbound == expire.id || pair.outbound == expire.id);
        let Some((&id, pair)) = found else { return };
        if expire.hard {
            return self.end_pair(id, "its lifetime is over");
        }
        if pair.retired {
            return;
        }
        if pair.initiator {
            let want = pair.want.clone();
            self.negotiate(now, want);
        } else {
            // The initiator has had its chance by then.
            let grace = (pair.lifetime / 20).min(Duration::from_secs(30));
            self.core.set_timer(now + grace, Timer::RekeyLate(id));
        }
    }

    fn end_pair(&mut self, id: u64, why: &'static str) {
        let Some(remote) = self.core.pairs.get(&id).map(|pair| pair.want.remote) else { return };
        if let Some(inbound) = self.core.remove_pair(id, why)
            && let Some(sa) = self.best(remote).and_then(|best| self.phase1.get(&best))
        {
            informational::delete_esp(&mut self.core, sa, &[inbound.spi]);
        }
    }

    /// The policies as they are now: what peers may ask for is what these want.
    pub fn handle_policies(&mut self, policies: &[Policy]) {
        self.core.policies = policies.to_vec();
    }

    /// The data plane answers a request.
    pub fn handle_reply(&mut self, now: Instant, tag: RequestTag, reply: &Reply) {
        match (self.core.purposes.remove(&tag.0), reply) {
            (Some(Purpose::QuickSpi { phase1, message_id }), Reply::Spi { spi }) => {
                // When the exchange is gone meanwhile, the larval SA ends by itself.
                if let Some(sa) =
                    self.phase1.get_mut(&phase1).filter(|sa| sa.quicks.contains_key(&message_id))
                {
                    quick_mode::handle_spi(&mut self.core, now, sa, message_id, *spi);
                }
            }
            (Some(Purpose::QuickSpi { phase1, message_id }), refused) => {
                let Some(sa) = self.phase1.get_mut(&phase1) else { return };
                let text = format!("{}: no SPI to be had: {}", sa.remote, refusal(refused));
                self.core.fail(sa.remote.ip(), text);
                quick_mode::abandon(&mut self.core, sa, message_id);
            }
            (Some(Purpose::Install(remote)), refused @ Reply::Refused { .. }) => {
                let text = format!("{remote}: a negotiated SA could not be installed: {}", refusal(refused));
                self.core.fail(remote, text);
            }
            (Some(Purpose::Traffic { phase1, pair }), reply) => self.traffic(now, phase1, pair, reply),
            _ => {}
        }
    }

    /// A packet named an SPI that nobody has: either the peer does not know that an SA is gone, and is told, or we
    /// have started anew, and say so by INITIAL-CONTACT.
    pub fn handle_unknown_spi(&mut self, now: Instant, source: IpAddr, destination: IpAddr, spi: Spi) {
        let known = self.core.config.peers.iter().any(|peer| peer.address == Some(source) && !peer.passive);
        let last = self.unknown_spi_seen.get(&source);
        if !known || last.is_some_and(|last| now.saturating_duration_since(*last) < UNKNOWN_SPI_INTERVAL) {
            return;
        }
        self.unknown_spi_seen.insert(source, now);
        match self.best(source).and_then(|id| self.phase1.get(&id)) {
            Some(sa) => informational::delete_esp(&mut self.core, sa, &[spi]),
            None => self.initiate(now, destination, source),
        }
    }

    /// A [`Job`] has been run.
    pub fn handle_job(&mut self, now: Instant, done: JobDone) {
        let Some(owner) = self.core.job_owners.remove(&done.id) else { return };
        let Some(sa) = self.phase1.get(&owner.phase1) else { return };
        let says_so = sa.initiator && self.is_first_contact(sa.remote.ip(), sa.peer);
        let Some(sa) = self.phase1.get_mut(&owner.phase1) else { return };
        if owner.message_id == 0 {
            sa.says_initial_contact = says_so;
            main_mode::handle_job(&mut self.core, now, sa, done);
        } else {
            let outcome = quick_mode::handle_job(&mut self.core, now, sa, owner.message_id, done);
            self.quick_outcome(now, owner.phase1, owner.message_id, &outcome);
        }
    }

    fn quick_outcome(&mut self, now: Instant, phase1: u64, message_id: u32, outcome: &quick_mode::Outcome) {
        match outcome {
            quick_mode::Outcome::Continues => {}
            quick_mode::Outcome::Failed => {
                if let Some(sa) = self.phase1.get_mut(&phase1) {
                    quick_mode::abandon(&mut self.core, sa, message_id);
                }
            }
            quick_mode::Outcome::Established(pair) => self.pair_established(now, *pair),
        }
    }

    /// Of all pairs for one policy a single one goes on; the others receive a little longer.
    fn pair_established(&mut self, now: Instant, id: u64) {
        let Some(new) = self.core.pairs.get(&id).cloned() else { return };
        let selector: Selector = new.want.selector;
        for sa in self.phase1.values_mut() {
            sa.waiting.retain(|want| want.selector != selector);
        }
        let others: Vec<u64> = self
            .core
            .pairs
            .iter()
            .filter(|(other, pair)| **other != id && !pair.retired && pair.want.selector == selector)
            .map(|(other, _)| *other)
            .collect();
        for other in others {
            let yields = self.core.pairs.get(&other).is_some_and(|other| other.yields_to(&new));
            let loser = if yields { other } else { id };
            if let Some(pair) = self.core.pairs.get_mut(&loser).filter(|pair| !pair.retired) {
                pair.retired = true;
                let outbound = pair.outbound;
                self.core.ask(Request::Delete(outbound), None);
                self.core.set_timer(now + RETIREMENT, Timer::RetirePair(loser));
            }
        }
    }

    /// What an informational message of the peer asks for.
    fn informed(&mut self, id: u64, told: Informed) {
        let Some(sa) = self.phase1.get(&id) else { return };
        let (remote, began) = (sa.remote.ip(), sa.began);
        match told {
            Informed::Nothing => {}
            Informed::EspDeleted(spis) => {
                let gone = self
                    .core
                    .pairs
                    .iter()
                    .filter(|(_, pair)| pair.want.remote == remote && spis.contains(&pair.outbound.spi));
                let gone: Vec<u64> = gone.map(|(id, _)| *id).collect();
                for pair in gone {
                    self.core.remove_pair(pair, "the peer has deleted it");
                }
            }
            Informed::IsakmpDeleted(list) => {
                let gone = self
                    .phase1
                    .values()
                    .filter(|sa| sa.remote.ip() == remote && list.contains(&sa.cookies.concat()));
                let gone: Vec<u64> = gone.map(|sa| sa.id).collect();
                for id in gone {
                    self.end_phase1(id, "the peer has deleted it", false);
                }
            }
            Informed::InitialContact => {
                self.core.events.push_back(Event::InitialContact { remote });
                let old = self.core.pairs.iter().filter(|(_, pair)| {
                    pair.want.remote == remote && pair.phase1 != id && pair.established < began
                });
                let old: Vec<u64> = old.map(|(id, _)| *id).collect();
                for pair in old {
                    self.core.remove_pair(pair, "the peer has started anew");
                }
                let old = self.phase1.values().filter(|sa| {
                    sa.id != id
                        && sa.remote.ip() == remote
                        && sa.established.is_some_and(|since| since < began)
                });
                let old: Vec<u64> = old.map(|sa| sa.id).collect();
                for id in old {
                    self.end_phase1(id, "the peer has started anew", false);
                }
            }
        }
    }

    /// Removes an ISAKMP SA; its SA pairs stay.
    fn end_phase1(&mut self, id: u64, why: &'static str, tell: bool) -> Vec<Want> {
        let Some(mut sa) = self.forget(id) else { return Vec::new() };
        if tell {
            informational::delete_isakmp(&mut self.core, &sa);
        }
        let open: Vec<u32> =
            sa.quicks.iter().filter(|(_, quick)| quick.is_open()).map(|(id, _)| *id).collect();
        let mut wants: Vec<Want> = sa.waiting.drain(..).collect();
        for message_id in open {
            wants.extend(sa.quicks.get(&message_id).map(|quick| quick.want.clone()));
            quick_mode::abandon(&mut self.core, &mut sa, message_id);
        }
        if sa.established.is_some() {
            let (local, remote, spi) = (sa.local, sa.remote, sa.spi());
            self.core.events.push_back(Event::IsakmpDeleted { local, remote, spi, why });
        }
        wants
    }

    /// The earliest time at which [`Engine::handle_timeout`] has something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.core.next_timeout()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.core.pop_due(now) {
            self.fire(now, timer);
        }
    }

    fn fire(&mut self, now: Instant, timer: Timer) {
        match timer {
            Timer::Phase1(id) => self.phase1_due(now, id),
            Timer::QuickMode(id, message_id) => {
                let Some(sa) = self.phase1.get_mut(&id) else { return };
                let outcome = quick_mode::handle_timeout(&mut self.core, now, sa, message_id);
                if outcome == quick_mode::Outcome::Failed && !self.core.failures.contains_key(&sa.remote.ip())
                {
                    self.core.fail(sa.remote.ip(), format!("{}: no answer in quick mode", sa.remote));
                }
                self.quick_outcome(now, id, message_id, &outcome);
            }
            Timer::ForgetQuick(id, message_id) => {
                if let Some(sa) = self.phase1.get_mut(&id) {
                    sa.quicks.remove(&message_id);
                }
            }
            Timer::HalfOpen(id) => {
                if self.phase1.get(&id).is_some_and(|sa| !sa.is_established()) {
                    self.forget(id);
                }
            }
            Timer::Waiting(id) => self.begin_waiting(now, id),
            Timer::Renew(id) => self.renew(now, id),
            Timer::Expire(id) => {
                self.end_phase1(id, "its lifetime is over", true);
            }
            Timer::Retire(id) => {
                if self.phase1.get(&id).is_none_or(|sa| sa.state != State::Dying) {
                    return;
                }
                // strongSwan ends the pairs that were negotiated under an ISAKMP SA together with it.
                if self.core.pairs.values().any(|pair| pair.phase1 == id) {
                    return self.core.set_timer(now + RETIREMENT, Timer::Retire(id));
                }
                for want in self.end_phase1(id, "another one has taken over", true) {
                    self.negotiate(now, want);
                }
            }
            Timer::Dpd(id) => self.dpd_due(now, id),
            Timer::RekeyLate(id) => {
                let due = self.core.pairs.get(&id).filter(|pair| !pair.retired).map(|pair| pair.want.clone());
                if let Some(want) = due {
                    self.negotiate(now, want);
                }
            }
            Timer::RetirePair(id) => self.end_pair(id, "another one has taken over"),
        }
    }

    fn phase1_due(&mut self, now: Instant, id: u64) {
        let Some(sa) = self.phase1.get_mut(&id) else { return };
        let Some(last) = &mut sa.last_sent else { return };
        match last.check(now) {
            Due::NotYet => {}
            Due::Again(next) => {
                for datagram in &last.datagrams {
                    self.core.send(sa.local, sa.remote, datagram.clone());
                }
                self.core.set_timer(next, Timer::Phase1(id));
            }
            Due::GiveUp => {
                let remote = sa.remote;
                let step = match sa.state {
                    State::SaSent => "to our proposals (is it up, and does UDP 500 reach it?)",
                    State::KeSent => "to our key exchange",
                    _ => "to our identity",
                };
                // What the peer said meanwhile tells more.
                if !self.core.failures.contains_key(&remote.ip()) {
                    self.core.fail(remote.ip(), format!("{remote}: no answer in main mode {step}"));
                }
                self.forget(id);
            }
        }
    }

    /// Make before break: a new ISAKMP SA while the old one is still good.
    fn renew(&mut self, now: Instant, id: u64) {
        let Some(sa) = self.phase1.get(&id).filter(|sa| sa.state == State::Established) else { return };
        let (local, remote) = (sa.local.ip(), sa.remote.ip());
        let needed = self.core.pairs.values().any(|pair| pair.want.remote == remote);
        if needed && self.under_way(remote).is_none() {
            self.begin_main_mode(now, local, remote, Vec::new());
        }
    }

    fn dpd_due(&mut self, now: Instant, id: u64) {
        let Some(sa) = self.phase1.get_mut(&id).filter(|sa| sa.state == State::Established) else { return };
        let Some(dpd) = informational::dpd_of(&self.core, sa) else { return };
        if sa.dpd.due.is_none_or(|due| due > now) {
            return;
        }
        let quiet = now.saturating_duration_since(sa.heard);
        if sa.dpd.failures == 0 && quiet < dpd.delay {
            let due = sa.heard + dpd.delay;
            sa.dpd.due = Some(due);
            return self.core.set_timer(due, Timer::Dpd(id));
        }
        let remote = sa.remote.ip();
        let pair = self.core.pairs.iter().rfind(|(_, pair)| pair.want.remote == remote && !pair.retired);
        match pair.map(|(pair, found)| (*pair, found.inbound)) {
            None => self.ask_peer(now, id),
            Some((pair, inbound)) => {
                // Should the data plane not answer, the question is asked again.
                sa.dpd.due = Some(now + dpd.retry);
                self.core.set_timer(now + dpd.retry, Timer::Dpd(id));
                self.core.ask(Request::Get(inbound), Some(Purpose::Traffic { phase1: id, pair }));
            }
        }
    }

    /// How much has come in from the peer: one that talks is not asked whether it lives.
    fn traffic(&mut self, now: Instant, id: u64, pair: u64, reply: &Reply) {
        let packets = match reply {
            Reply::Sas { sas } => sas.iter().map(|sa| sa.usage.packets).sum(),
            _ => 0,
        };
        let talks = self.core.pairs.get_mut(&pair).is_some_and(|pair| {
            let talks = packets > pair.packets_seen;
            pair.packets_seen = packets;
            talks
        });
        let Some(sa) = self.phase1.get_mut(&id) else { return };
        if talks {
            sa.dpd.failures = 0;
            informational::schedule_dpd(&mut self.core, now, sa);
        } else {
            self.ask_peer(now, id);
        }
    }

    fn ask_peer(&mut self, now: Instant, id: u64) {
        let Some(sa) = self.phase1.get_mut(&id) else { return };
        if !informational::ask_dpd(&mut self.core, now, sa) {
            let remote = sa.remote.ip();
            self.peer_dead(remote);
        }
    }

    fn peer_dead(&mut self, remote: IpAddr) {
        self.core.events.push_back(Event::PeerDead { remote });
        let pairs: Vec<u64> = self
            .core
            .pairs
            .iter()
            .filter(|(_, pair)| pair.want.remote == remote)
            .map(|(id, _)| *id)
            .collect();
        for pair in pairs {
            self.end_pair(pair, "the peer is dead");
        }
        let list: Vec<u64> =
            self.phase1.values().filter(|sa| sa.remote.ip() == remote).map(|sa| sa.id).collect();
        for id in list {
            self.end_phase1(id, "the peer is dead", true);
        }
    }

    /// Takes leave of all peers and removes all SAs.
    pub fn shutdown(&mut self) {
        let pairs: Vec<u64> = self.core.pairs.keys().copied().collect();
        for pair in pairs {
            self.end_pair(pair, "shutdown");
        }
        let list: Vec<u64> = self.phase1.keys().copied().collect();
        for id in list {
            self.end_phase1(id, "shutdown", true);
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
    pub fn failures(&self) -> impl Iterator<Item = &str> {
        self.core.failures.values().map(String::as_str)
    }

    /// Datagrams that were dropped, by reason.
    pub fn dropped(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.core.dropped.iter().map(|(why, count)| (*why, *count))
    }

    /// All ISAKMP SAs, also those that are not established yet.
    pub fn isakmp_sas(&self) -> Vec<IsakmpSa> {
        self.phase1.values().map(|sa| self.describe(sa)).collect()
    }

    fn describe(&self, sa: &Phase1) -> IsakmpSa {
        let [initiator, responder] = sa.cookies;
        let state = match (sa.state, sa.initiator) {
            (State::SaSent, true) => 4,
            (State::SaSent | State::KeComputing, false) => 6,
            (State::KeComputing, true) => 5,
            (State::KeSent, true) => 6,
            (State::KeSent, false) | (State::SharedComputing, _) => 7,
            (State::AuthSent, _) => 8,
            (State::Established, _) => 9,
            (State::Dying, _) => 10,
        };
        let remote = sa.remote.ip();
        let pairs =
            self.core.pairs.values().filter(|pair| pair.want.remote == remote && pair.phase1 == sa.id);
        let open = sa.quicks.values().filter(|quick| quick.is_open());
        IsakmpSa {
            local: sa.local,
            remote: sa.remote,
            initiator_cookie: hex(&initiator),
            responder_cookie: hex(&responder),
            state,
            initiator: sa.initiator,
            established: sa.established,
            phase2: pairs.count() + open.count(),
        }
    }
}

fn wait_for(sa: &mut Phase1, want: Want) {
    let there = sa.waiting.iter().any(|waiting| waiting.selector == want.selector);
    if !there && sa.waiting.len() < MAX_WAITING {
        sa.waiting.push_back(want);
    }
}

fn refusal(reply: &Reply) -> String {
    match reply {
        Reply::Refused { refusal } => refusal.to_string(),
        _ => "an answer of another kind".into(),
    }
}
