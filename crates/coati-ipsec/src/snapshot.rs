//! What the packet threads see: policies and SAs as they were when the snapshot was made.
//!
//! [`Snapshot::outbound`] takes IP packets that are about to leave, [`Snapshot::inbound`] those that came. Policies
//! are looked at in the order of their priority (RFC 4301 section 5); no policy means no protection is wanted.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use coati_crypto::RandomSource;
use coati_sadb::{
    Action, Direction, Level, Mode, Policy, PolicyId, Port, Priority, ReqId, Rule, SaProto, Selector, Spi,
};
use coati_wire::ipv4::protocol;
use coati_wire::{checksum, esp, gre, ip, udp};

use crate::counters::{Counters, Drop};
use crate::esp::LazyTransform;
use crate::mtu::inner_mtu;
use crate::packet::Packet;
use crate::replay::{ReplayError, ReplayWindow};
use crate::shared_map::SharedMap;
use crate::{ah, ipcomp, tunnel};

/// What became of a packet that is about to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outbound {
    /// It goes as it is: no policy asks for more.
    Clear,
    /// It was sealed in place.
    Sealed,
    /// It must not go; it was counted.
    Dropped(Drop),
    /// It needs an SA of this policy first.
    Wait(PolicyId),
    /// It is untouched, and would be too large for its path: this many bytes would fit, with the headers that it has now.
    TooBig(usize),
}

/// What became of a packet that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// It has the addresses that it came with: it was in clear, or in transport mode.
    Same,
    /// It was whole inside of another one: tunnel mode.
    Unwrapped,
}

/// An SA as the packet threads use it.
#[derive(Debug)]
pub(crate) struct LiveSa {
    pub(crate) proto: SaProto,
    pub(crate) spi: Spi,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) reqid: ReqId,
    pub(crate) mode: Mode,
    /// Ports of the UDP header around ESP, source in the upper half; 0 is none. The peer's may change.
    pub(crate) udp_ports: AtomicU32,
    /// Whether zero bytes come between the UDP header and ESP.
    pub(crate) non_ike_marker: bool,
    /// MTU of the path between its ends, in bytes; 0: nothing is known about it.
    pub(crate) path: AtomicU32,
    /// Packets and bytes after which it is not used any more; 0 for no limit.
    pub(crate) hard_packets: AtomicU64,
    pub(crate) hard_bytes: AtomicU64,
    /// Of ESP and AH; IPComp has none.
    pub(crate) transform: Option<LazyTransform>,
    /// Last sequence number sent.
    pub(crate) sequence: AtomicU64,
    pub(crate) replay: Mutex<ReplayWindow>,
    /// Whether sequence numbers have 64 bits.
    pub(crate) esn: bool,
    pub(crate) usage: LiveUsage,
    /// What came since the last packet that was new.
    pub(crate) repeats: Repeats,
    /// Set when it must not be used any more, for threads that still hold an older snapshot.
    pub(crate) dead: AtomicBool,
}

/// Packets whose sequence numbers were there before, or may have been, since the last one that was new. Counted without
/// a look at who they are from.
#[derive(Debug, Default)]
pub(crate) struct Repeats {
    /// How many new packets there were before these.
    after: AtomicU64,
    count: AtomicU64,
    /// When the first came, in Unix seconds.
    since: AtomicU64,
}

impl Repeats {
    fn add(&self, new_packets: u64, wall: u64) {
        if self.after.swap(new_packets, Ordering::Relaxed) != new_packets
            || self.count.load(Ordering::Relaxed) == 0
        {
            self.count.store(0, Ordering::Relaxed);
            self.since.store(wall, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// How many since when, when nothing new has come behind them.
    pub(crate) fn alone(&self, new_packets: u64) -> Option<(u64, u64)> {
        let count = self.count.load(Ordering::Relaxed);
        let are_last = count > 0 && self.after.load(Ordering::Relaxed) == new_packets;
        are_last.then(|| (count, self.since.load(Ordering::Relaxed)))
    }
}

/// Counters of an SA or a policy. Times are Unix seconds, 0 for never.
#[derive(Debug, Default)]
pub(crate) struct LiveUsage {
    pub(crate) packets: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) first: AtomicU64,
    pub(crate) last: AtomicU64,
}

impl LiveUsage {
    /// Returns the packets and bytes before this one.
    fn add(&self, bytes: usize, wall: u64) -> (u64, u64) {
        let before = (
            self.packets.fetch_add(1, Ordering::Relaxed),
            self.bytes.fetch_add(bytes as u64, Ordering::Relaxed),
        );
        if self.first.load(Ordering::Relaxed) == 0 {
            self.first.store(wall, Ordering::Relaxed);
        }
        self.last.store(wall, Ordering::Relaxed);
        before
    }

    fn take_back(&self, bytes: usize) {
        self.packets.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
    }
}

impl LiveSa {
    /// The largest packet, with an IP header of `header_len` bytes, that becomes no larger than `mtu` when this SA has dealt
    /// with it as a tunnel or not. What compression makes of it is not counted on: packets of one size fit, or they do not.
    fn largest(&self, mtu: usize, header_len: usize, is_tunnel: bool) -> usize {
        let (header, kept) =
            if is_tunnel { (ip::header_len(self.source), 0) } else { (header_len, header_len) };
        let Some((enc, auth)) = self.transform.as_ref().map(LazyTransform::algorithms) else {
            return mtu.saturating_sub(header) + kept;
        };
        if self.proto == SaProto::Ah {
            let length = coati_wire::ah::length(auth.icv_len(), self.source.is_ipv6());
            return mtu.saturating_sub(header + length) + kept;
        }
        let marker = if self.non_ike_marker { NON_IKE_MARKER.len() } else { 0 };
        let is_in_udp = self.udp_ports.load(Ordering::Relaxed) != 0;
        inner_mtu(mtu.saturating_sub(marker), header, 0, enc, auth, is_in_udp) + kept
    }

    pub(crate) fn highest_received(&self) -> u64 {
        self.replay.lock().unwrap_or_else(PoisonError::into_inner).highest()
    }
}

/// A policy as the packet threads use it.
#[derive(Debug)]
pub(crate) struct LivePolicy {
    pub(crate) policy: Policy,
    pub(crate) rank: Rank,
    pub(crate) usage: LiveUsage,
}

/// Where a policy stands: those of a lower one are looked at first.
pub(crate) type Rank = (Priority, u64);

/// An SA and its number, which grows with every new one.
type Numbered = (u64, Arc<LiveSa>);

/// An immutable view of SPD and SAD.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub(crate) inbound: SharedMap<(SaProto, Spi, IpAddr), Arc<LiveSa>>,
    /// Usable SAs from one address to another, with their numbers: the newest is the last.
    pub(crate) outbound: SharedMap<(IpAddr, IpAddr), Vec<Numbered>>,
    /// Policies from one host to another, in the order they are looked at.
    pub(crate) host_policies: SharedMap<(Direction, IpAddr, IpAddr), Vec<Arc<LivePolicy>>>,
    /// All others, in that order too.
    pub(crate) wide_policies: Arc<Vec<Arc<LivePolicy>>>,
    /// Inbound policies that have a tunnel from one address to another.
    pub(crate) tunnels: SharedMap<(IpAddr, IpAddr), Vec<Rank>>,
    pub(crate) counters: Arc<Counters>,
}

/// The facts of a packet that policies judge.
struct Facts {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    ports: Option<(u16, u16)>,
    header_len: usize,
    /// Where the header says which protocol follows.
    protocol_at: usize,
    /// A piece has no ports, and only tunnel mode protects it as it is (RFC 4303 section 3.3.4).
    is_fragment: bool,
}

impl Snapshot {
    /// The counters, which outlive the snapshot.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Judges and seals a batch of IP packets that leave this host; `verdicts` gets one for each. `wall` is the
    /// time in Unix seconds, `random` gives IVs.
    pub fn outbound(
        &self,
        batch: &mut [Packet],
        verdicts: &mut Vec<Outbound>,
        wall: u64,
        random: &mut dyn RandomSource,
    ) {
        verdicts.clear();
        for packet in batch {
            let verdict = self.outbound_one(packet, wall, random).unwrap_or_else(|reason| {
                self.counters.dropped(reason);
                Outbound::Dropped(reason)
            });
            verdicts.push(verdict);
        }
    }

    fn outbound_one(
        &self,
        packet: &mut Packet,
        wall: u64,
        random: &mut dyn RandomSource,
    ) -> Result<Outbound, Drop> {
        let mut facts = Facts::of(packet.bytes())?;
        let Some(policy) = self.policy(Direction::Out, &facts) else { return Ok(Outbound::Clear) };
        policy.usage.add(packet.len(), wall);
        let rules = match &policy.policy.action {
            Action::None => return Ok(Outbound::Clear),
            Action::Discard => return Err(Drop::PolicyDiscard),
            Action::Ipsec(rules) => rules,
        };
        let Some(sas) = self.bundle(rules, &facts) else { return Ok(Outbound::Wait(policy.policy.id)) };
        if let Some(largest) = largest_through(rules, &sas, facts.header_len)
            && packet.len() > largest
        {
            return Ok(Outbound::TooBig(largest));
        }
        let mut is_changed = false;
        for (rule, sa) in rules.iter().zip(sas) {
            let Some(sa) = sa else { continue };
            if let Some((source, destination)) = rule.tunnel_ends() {
                tunnel::wrap(packet, source, destination, random)?;
                facts = Facts::of(packet.bytes())?;
            } else if facts.is_fragment {
                return Err(Drop::Fragment);
            }
            if sa.proto == SaProto::Ipcomp {
                if sa.compress(packet, &mut facts, wall)? {
                    self.counters.compressed();
                }
            } else {
                sa.seal(packet, &mut facts, wall, random)?;
                self.counters.sealed();
            }
            is_changed = true;
        }
        Ok(if is_changed { Outbound::Sealed } else { Outbound::Clear })
    }

    /// The SA for each of the rules; none for one that is to `use` one when there is one. `None` altogether when a packet
    /// has to wait.
    fn bundle(&self, rules: &[Rule], facts: &Facts) -> Option<[Option<&LiveSa>; Rule::MAX]> {
        let mut found = [None; Rule::MAX];
        let mut ends = (facts.source, facts.destination);
        for (place, rule) in found.iter_mut().zip(rules) {
            let outside = rule.tunnel_ends().unwrap_or(ends);
            *place = self.sa_for(rule, outside);
            if place.is_some() {
                ends = outside;
            } else if rule.level != Level::Use {
                return None;
            }
        }
        Some(found)
    }

    /// The newest SA that does what a rule wants.
    fn sa_for(&self, rule: &Rule, ends: (IpAddr, IpAddr)) -> Option<&LiveSa> {
        let list = self.outbound.get(&ends);
        list.into_iter().flatten().rev().map(|(_, sa)| sa.as_ref()).find(|sa| {
            sa.proto == rule.proto
                && mode_fits(rule.mode, sa.mode)
                && level_fits(rule.level, sa.reqid)
                && !sa.dead.load(Ordering::Relaxed)
        })
    }

    /// Opens and judges one IP packet that came in: afterwards it is the clear packet. An ESP packet of an SPI
    /// that nobody has gives [`Drop::UnknownSpi`]. `wall` is the time in Unix seconds.
    pub fn inbound(&self, packet: &mut Packet, wall: u64) -> Result<Inbound, Drop> {
        self.inbound_one(packet, wall).inspect_err(|reason| self.counters.dropped(*reason))
    }

    fn inbound_one(&self, packet: &mut Packet, wall: u64) -> Result<Inbound, Drop> {
        let mut facts = Facts::of(packet.bytes())?;
        if facts.is_fragment {
            return Err(Drop::Fragment);
        }
        let mut path = Path::default();
        // The first is of the whole way, the others of the outermost IP header that is still there.
        let (mut is_unwrapped, mut is_bare, mut is_inflated, mut came_by_nat) = (false, true, false, false);
        while !facts.is_fragment {
            let sa = match self.named(packet, &facts, is_inflated) {
                Ok(Some(sa)) => sa,
                Ok(None) => break,
                // Out of a tunnel, it may be for somebody behind this host.
                Err(_) if is_unwrapped && is_bare => break,
                Err(reason) => return Err(reason),
            };
            let next_header = match sa.proto {
                // What has become no smaller was not compressed.
                SaProto::Ipcomp if tunnel::is_whole(facts.protocol) => facts.protocol,
                SaProto::Ipcomp => {
                    is_inflated = true;
                    sa.inflate(packet, &facts, wall).inspect(|_| self.counters.inflated())?
                }
                SaProto::Esp | SaProto::Ah => sa.open(packet, &facts, wall)?,
            };
            mend(packet, &facts, next_header);
            came_by_nat |= sa.udp_ports.load(Ordering::Relaxed) != 0 && sa.mode != Mode::Tunnel;
            let is_tunnel = match sa.mode {
                Mode::Tunnel if !tunnel::is_whole(next_header) => return Err(Drop::PolicyMismatch),
                Mode::Tunnel => true,
                Mode::Any => tunnel::is_whole(next_header) && self.wraps(&facts),
                Mode::Transport => false,
            };
            path.push(sa, is_tunnel)?;
            is_bare = is_tunnel;
            if is_tunnel {
                tunnel::unwrap(packet, facts.header_len, next_header)?;
                (is_unwrapped, is_inflated, came_by_nat) = (true, false, false);
            }
            facts = Facts::of(packet.bytes())?;
        }
        if came_by_nat {
            // The sender has counted its own addresses in, which a NAT has changed outside since.
            repair_checksum(packet, &facts);
        }
        if path.len > 0 {
            self.counters.opened();
        }
        let is_compressed_only = path.len > 0 && !path.is_protected();
        if (is_unwrapped || is_compressed_only) && self.policy(Direction::In, &facts).is_none() {
            // Whatever a peer has put inside, or anybody has compressed: only what some policy is about may come out.
            return Err(Drop::NoPolicy);
        }
        self.inbound_policy(&facts, &path, packet.len(), wall)?;
        Ok(if is_unwrapped { Inbound::Unwrapped } else { Inbound::Same })
    }

    /// The SA that the header behind the IP header names; none when that is a protocol of the upper layer. Nothing is
    /// compressed twice: what claims to be is left as it is.
    fn named(&self, packet: &Packet, facts: &Facts, is_inflated: bool) -> Result<Option<&LiveSa>, Drop> {
        let body = packet.bytes().get(facts.header_len..).unwrap_or(&[]);
        let (proto, spi, unknown) = match facts.protocol {
            protocol::ESP => {
                let (header, _) = esp::Header::parse(body).map_err(|_| Drop::EspLength)?;
                (SaProto::Esp, header.spi, Drop::UnknownSpi)
            }
            protocol::AH => {
                let (header, _) = coati_wire::ah::Header::parse(body).map_err(|_| Drop::AhLength)?;
                (SaProto::Ah, header.spi, Drop::UnknownAhSpi)
            }
            protocol::IPCOMP if !is_inflated => {
                let (header, _) = coati_wire::ipcomp::Header::parse(body).map_err(|_| Drop::Inflate)?;
                (SaProto::Ipcomp, header.cpi.into(), Drop::UnknownCpi)
            }
            whole if tunnel::is_whole(whole) => {
                let mut list = self.outbound.get(&(facts.source, facts.destination)).into_iter().flatten();
                let is_tunnel = |mode| mode == Mode::Tunnel || mode == Mode::Any && self.wraps(facts);
                let compresses = |sa: &LiveSa| sa.proto == SaProto::Ipcomp && is_tunnel(sa.mode);
                return Ok(list.find(|(_, sa)| compresses(sa)).map(|(_, sa)| sa.as_ref()));
            }
            _ => return Ok(None),
        };
        let sa = self.inbound.get(&(proto, Spi(spi), facts.destination)).ok_or(unknown)?;
        Ok(Some(sa.as_ref()))
    }

    /// Whether some policy has a tunnel between these ends, so that an SA of any mode may be one's.
    fn wraps(&self, outer: &Facts) -> bool {
        self.tunnels.get(&(outer.source, outer.destination)).is_some()
    }

    /// RFC 4301 section 5.2, step 4: was it allowed to come this way?
    fn inbound_policy(&self, facts: &Facts, path: &Path<'_>, length: usize, wall: u64) -> Result<(), Drop> {
        let Some(policy) = self.policy(Direction::In, facts) else { return Ok(()) };
        policy.usage.add(length, wall);
        let rules = match &policy.policy.action {
            Action::None => &[][..],
            Action::Discard => return Err(Drop::PolicyDiscard),
            Action::Ipsec(rules) => rules,
        };
        match path.fits(rules) {
            true => Ok(()),
            false if path.len == 0 => Err(Drop::ClearInbound),
            false => Err(Drop::PolicyMismatch),
        }
    }

    fn policy(&self, direction: Direction, facts: &Facts) -> Option<&LivePolicy> {
        let fits = |entry: &&Arc<LivePolicy>| {
            entry.policy.direction == direction
                && entry.policy.selector.matches(facts.source, facts.destination, facts.protocol, facts.ports)
        };
        let of_hosts = self.host_policies.get(&(direction, facts.source, facts.destination));
        let of_hosts = of_hosts.and_then(|list| list.iter().find(fits));
        let wide = self.wide_policies.iter().find(fits);
        let first = of_hosts.into_iter().chain(wide).min_by_key(|entry| entry.rank);
        first.map(Arc::as_ref)
    }

    /// Puts an SA in, or changes one. `number` grows with every new one.
    pub(crate) fn put_sa(&mut self, number: u64, sa: &Arc<LiveSa>) {
        self.inbound.insert((sa.proto, sa.spi, sa.destination), sa.clone());
        self.outbound.change((sa.source, sa.destination), |list| {
            list.retain(|(other, _)| *other != number);
            let place = list.partition_point(|(other, _)| *other < number);
            list.insert(place, (number, sa.clone()));
        });
    }

    pub(crate) fn remove_sa(&mut self, number: u64, sa: &LiveSa) {
        self.inbound.remove(&(sa.proto, sa.spi, sa.destination));
        self.outbound.change((sa.source, sa.destination), |list| list.retain(|(other, _)| *other != number));
    }

    pub(crate) fn put_policy(&mut self, policy: &Arc<LivePolicy>) {
        let rank = policy.rank;
        self.change_policies(&policy.policy, |list| {
            let place = list.partition_point(|other| other.rank < rank);
            list.insert(place, policy.clone());
        });
        for ends in inbound_tunnels(&policy.policy) {
            self.tunnels.change(ends, |ranks| ranks.push(rank));
        }
    }

    pub(crate) fn remove_policy(&mut self, policy: &LivePolicy) {
        self.change_policies(&policy.policy, |list| list.retain(|other| other.rank != policy.rank));
        for ends in inbound_tunnels(&policy.policy) {
            self.tunnels.change(ends, |ranks| ranks.retain(|other| *other != policy.rank));
        }
    }

    fn change_policies(&mut self, policy: &Policy, change: impl FnOnce(&mut Vec<Arc<LivePolicy>>)) {
        let (source, destination) = (policy.selector.source, policy.selector.destination);
        if source.is_host() && destination.is_host() {
            let key = (policy.direction, source.address, destination.address);
            self.host_policies.change(key, change);
        } else {
            change(Arc::make_mut(&mut self.wide_policies));
        }
    }

    /// Whether some policy is about this IP packet, be it one that lets it pass in clear.
    pub fn has_policy(&self, direction: Direction, packet: &Packet) -> bool {
        Facts::of(packet.bytes()).is_ok_and(|facts| self.policy(direction, &facts).is_some())
    }

    /// The largest packet of these ends and protocol, with an IP header without options, that fits through its path when it
    /// is sealed; `None` when nothing is known about the path, or it is not sealed.
    pub fn largest(&self, selector: &Selector) -> Option<usize> {
        self.largest_of(&Facts::of_selector(selector))
    }

    /// The same of a packet that leaves, or with `turned` of one that answers it.
    pub fn largest_like(&self, packet: &Packet, turned: bool) -> Option<usize> {
        let mut facts = Facts::of(packet.bytes()).ok()?;
        if turned {
            std::mem::swap(&mut facts.source, &mut facts.destination);
            facts.ports = facts.ports.map(|(source, destination)| (destination, source));
        }
        self.largest_of(&facts)
    }

    fn largest_of(&self, facts: &Facts) -> Option<usize> {
        let Action::Ipsec(rules) = &self.policy(Direction::Out, facts)?.policy.action else { return None };
        largest_through(rules, &self.bundle(rules, facts)?, ip::header_len(facts.source))
    }

    /// Whether packets that match `selector` could leave now: sealed, or in clear where a policy says so.
    pub fn is_open(&self, selector: &Selector) -> bool {
        self.lets_out(&Facts::of_selector(selector))
    }

    /// The same of a packet.
    pub(crate) fn is_open_for(&self, packet: &Packet) -> bool {
        Facts::of(packet.bytes()).is_ok_and(|facts| self.lets_out(&facts))
    }

    fn lets_out(&self, facts: &Facts) -> bool {
        let Some(policy) = self.policy(Direction::Out, facts) else { return false };
        match &policy.policy.action {
            Action::None => true,
            Action::Discard => false,
            Action::Ipsec(rules) => self.bundle(rules, facts).is_some(),
        }
    }
}

/// The largest packet, with an IP header of `header_len` bytes, that fits through the path of the outermost SA when all of
/// them have dealt with it; `None` when nothing is known about the path, or there is no SA.
fn largest_through(rules: &[Rule], sas: &[Option<&LiveSa>; Rule::MAX], header_len: usize) -> Option<usize> {
    let outermost = sas.iter().flatten().next_back()?;
    let mtu = usize::try_from(outermost.path.load(Ordering::Relaxed)).ok().filter(|mtu| *mtu > 0)?;
    let used = rules.iter().zip(sas).filter_map(|(rule, sa)| sa.map(|sa| (rule, sa)));
    // Of each, the header that is there when it begins.
    let mut stages: [Option<(&Rule, &LiveSa, usize)>; Rule::MAX] = [None; Rule::MAX];
    let mut header = header_len;
    for (place, (rule, sa)) in stages.iter_mut().zip(used) {
        *place = Some((rule, sa, header));
        if rule.tunnel_ends().is_some() {
            header = ip::header_len(sa.source);
        }
    }
    let through = |mtu: usize, (rule, sa, header): (&Rule, &LiveSa, usize)| {
        sa.largest(mtu, header, rule.tunnel_ends().is_some())
    };
    Some(stages.into_iter().flatten().rev().fold(mtu, through))
}

/// SAs that a packet has come through, the outermost first, and whether as a tunnel.
#[derive(Default)]
struct Path<'a> {
    sas: [Option<(&'a LiveSa, bool)>; Rule::MAX],
    len: usize,
}

impl<'a> Path<'a> {
    fn push(&mut self, sa: &'a LiveSa, is_tunnel: bool) -> Result<(), Drop> {
        *self.sas.get_mut(self.len).ok_or(Drop::TooDeep)? = Some((sa, is_tunnel));
        self.len += 1;
        Ok(())
    }

    /// Whether some SA has verified it.
    fn is_protected(&self) -> bool {
        self.sas.iter().flatten().any(|(sa, _)| sa.proto != SaProto::Ipcomp)
    }

    /// Whether it is what a policy wants, as the Linux kernel judges: each rule finds its SA behind that of the rule outside
    /// of it. More SAs in transport mode do no harm; a tunnel that no rule names does.
    fn fits(&self, rules: &[Rule]) -> bool {
        let mut rest = self.sas.iter().flatten();
        for rule in rules.iter().rev() {
            let mut ahead = rest.clone();
            // A tunnel ends what may be skipped.
            let found = loop {
                match ahead.next() {
                    Some((sa, is_tunnel)) if sa.does(rule, *is_tunnel) => break true,
                    Some((_, false)) => {}
                    Some((_, true)) | None => break false,
                }
            };
            // What has become no smaller is not compressed, whatever the policy says (RFC 3173 section 2.2).
            let may_lack = rule.level == Level::Use || rule.proto == SaProto::Ipcomp;
            if found {
                rest = ahead;
            } else if !may_lack {
                return false;
            }
        }
        rest.all(|(_, is_tunnel)| !is_tunnel)
    }
}

/// Ends of the tunnels that packets of an inbound policy come through.
fn inbound_tunnels(policy: &Policy) -> impl Iterator<Item = (IpAddr, IpAddr)> {
    let rules = match &policy.action {
        Action::Ipsec(rules) if policy.direction == Direction::In => rules.as_slice(),
        _ => &[],
    };
    rules.iter().filter_map(Rule::tunnel_ends)
}

fn level_fits(level: Level, reqid: ReqId) -> bool {
    match level {
        Level::Unique(wanted) => wanted == reqid,
        _ => true,
    }
}

fn mode_fits(wanted: Mode, found: Mode) -> bool {
    wanted == found || found == Mode::Any || wanted == Mode::Any
}

impl LiveSa {
    /// Whether it is what the rule wants, used as a tunnel or not.
    fn does(&self, rule: &Rule, is_tunnel: bool) -> bool {
        self.proto == rule.proto
            && level_fits(rule.level, self.reqid)
            && is_tunnel == (rule.mode == Mode::Tunnel)
            && rule.tunnel_ends().is_none_or(|ends| ends == (self.source, self.destination))
    }

    /// The last sequence number that it may send (RFC 4303 section 3.3.3).
    pub(crate) fn last_sequence(&self) -> u64 {
        if self.esn { u64::MAX } else { u64::from(u32::MAX) }
    }

    /// Counts a packet of so many bytes, unless a hard limit is reached. With the packet that reaches one the SA is dead.
    fn count(&self, bytes: usize, wall: u64) -> Result<(), Drop> {
        let (packets, sum) = self.usage.add(bytes, wall);
        let is_over = |limit: &AtomicU64, used: u64| {
            let limit = limit.load(Ordering::Relaxed);
            limit != 0 && used >= limit
        };
        if is_over(&self.hard_packets, packets) || is_over(&self.hard_bytes, sum) {
            self.usage.take_back(bytes);
            self.dead.store(true, Ordering::Relaxed);
            return Err(Drop::DeadSa);
        }
        if is_over(&self.hard_packets, packets + 1) || is_over(&self.hard_bytes, sum + bytes as u64) {
            self.dead.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Whether the packet is smaller now.
    fn compress(&self, packet: &mut Packet, facts: &mut Facts, wall: u64) -> Result<bool, Drop> {
        let before = packet.len().saturating_sub(facts.header_len);
        let cpi = u16::try_from(self.spi.0).unwrap_or(0);
        let smaller = ipcomp::compress(packet, facts.header_len, facts.protocol, cpi);
        if smaller {
            self.count(before, wall)?;
            facts.protocol = protocol::IPCOMP;
            mend(packet, facts, protocol::IPCOMP);
        }
        Ok(smaller)
    }

    /// What was compressed becomes what it was. Returns its protocol.
    fn inflate(&self, packet: &mut Packet, facts: &Facts, wall: u64) -> Result<u8, Drop> {
        if self.dead.load(Ordering::Relaxed) {
            return Err(Drop::DeadSa);
        }
        let next_header = ipcomp::inflate(packet, facts.header_len)?;
        self.count(packet.len() - facts.header_len, wall)?;
        Ok(next_header)
    }

    /// Puts ESP or AH behind the IP header.
    fn seal(
        &self,
        packet: &mut Packet,
        facts: &mut Facts,
        wall: u64,
        random: &mut dyn RandomSource,
    ) -> Result<(), Drop> {
        self.count(packet.len() - facts.header_len, wall)?;
        let last = self.sequence.fetch_add(1, Ordering::Relaxed);
        if last >= self.last_sequence() {
            // It stays there: not even 64 bits may wrap.
            self.sequence.fetch_sub(1, Ordering::Relaxed);
            return Err(Drop::SequenceExhausted);
        }
        let sequence = last + 1;
        let transform = self.transform.as_ref().and_then(LazyTransform::get).ok_or(Drop::PolicyMismatch)?;
        if self.proto == SaProto::Ah {
            let place = (facts.header_len, facts.protocol_at);
            ah::seal(transform, packet, place, facts.protocol, self.spi.0, sequence)?;
            facts.protocol = protocol::AH;
            return Ok(());
        }
        transform.seal(packet, facts.header_len, facts.protocol, self.spi.0, sequence, random)?;
        facts.protocol = protocol::ESP;
        let ports = self.udp_ports.load(Ordering::Relaxed);
        if ports != 0 {
            if self.non_ike_marker {
                put_before(packet, facts.header_len, &NON_IKE_MARKER)?;
            }
            put_into_udp(packet, facts, ports)?;
            facts.protocol = protocol::UDP;
        }
        mend(packet, facts, facts.protocol);
        Ok(())
    }

    /// Verifies ESP or AH and takes it off. Returns the protocol of what was inside.
    fn open(&self, packet: &mut Packet, facts: &Facts, wall: u64) -> Result<u8, Drop> {
        if self.dead.load(Ordering::Relaxed) {
            return Err(Drop::DeadSa);
        }
        let refused = |error| {
            self.repeats.add(self.usage.packets.load(Ordering::Relaxed), wall);
            match error {
                ReplayError::Seen => Drop::Replayed,
                ReplayError::TooOld => Drop::TooOld,
            }
        };
        let body = packet.bytes().get(facts.header_len..).unwrap_or(&[]);
        let low = match self.proto {
            SaProto::Ah => coati_wire::ah::Header::parse(body).map_err(|_| Drop::AhLength)?.0.sequence,
            _ => esp::Header::parse(body).map_err(|_| Drop::EspLength)?.0.sequence,
        };
        let window = || self.replay.lock().unwrap_or_else(PoisonError::into_inner);
        let sequence = {
            let window = window();
            let sequence = if self.esn { window.extend(low).map_err(refused)? } else { u64::from(low) };
            window.check(sequence).map_err(refused)?;
            sequence
        };
        let transform = self.transform.as_ref().and_then(LazyTransform::get).ok_or(Drop::UnknownSpi)?;
        let next_header = match self.proto {
            SaProto::Ah => ah::open(transform, packet, facts.header_len, sequence)?,
            _ => transform.open(packet, facts.header_len, sequence)?,
        };
        window().accept(sequence).map_err(refused)?;
        self.count(packet.len().saturating_sub(facts.header_len), wall)?;
        Ok(next_header)
    }
}

/// What ESP begins with on IKE's own port, where an initiator's cookie, which is never 0, would stand
/// (draft-ietf-ipsec-udp-encaps-01 section 2).
pub const NON_IKE_MARKER: [u8; 8] = [0; 8];

/// Puts bytes between the IP header and what follows.
fn put_before(packet: &mut Packet, header_len: usize, new: &[u8]) -> Result<(), Drop> {
    if !packet.grow_front(new.len()) {
        return Err(Drop::Headroom);
    }
    let bytes = packet.bytes_mut();
    bytes.copy_within(new.len()..new.len() + header_len, 0);
    if let Some(place) = bytes.get_mut(header_len..header_len + new.len()) {
        place.copy_from_slice(new);
    }
    Ok(())
}

/// Puts a UDP header between the IP header and ESP (RFC 3948 section 2.1): over IPv4 without a checksum, which over
/// IPv6 would be taken for a broken one.
fn put_into_udp(packet: &mut Packet, facts: &Facts, ports: u32) -> Result<(), Drop> {
    const LEN: usize = udp::HEADER_LEN;
    let header_len = facts.header_len;
    let mut header = [0; LEN];
    let length = u16::try_from(packet.len() - header_len + LEN).map_err(|_| Drop::EspLength)?;
    header[..4].copy_from_slice(&ports.to_be_bytes());
    header[4..6].copy_from_slice(&length.to_be_bytes());
    put_before(packet, header_len, &header)?;
    if facts.source.is_ipv6() {
        count_checksum(packet.bytes_mut().get_mut(header_len..).unwrap_or(&mut []), facts, protocol::UDP, 6);
    }
    Ok(())
}

/// Counts the checksum of TCP and UDP anew with the addresses that the packet has here (RFC 3948 section 3.1.2: ESP has
/// shown already that nothing else was changed).
fn repair_checksum(packet: &mut Packet, facts: &Facts) {
    let at = match facts.protocol {
        protocol::TCP => 16,
        protocol::UDP => 6,
        _ => return,
    };
    let Some(payload) = packet.bytes_mut().get_mut(facts.header_len..) else { return };
    let Some(field) = payload.get_mut(at..at + 2) else { return };
    if facts.protocol == protocol::UDP && field == [0, 0] {
        // The sender counts none.
        return;
    }
    count_checksum(payload, facts, facts.protocol, at);
}

/// Writes the checksum of TCP or UDP, whose field is at `at`.
fn count_checksum(payload: &mut [u8], facts: &Facts, upper: u8, at: usize) {
    let Some(field) = payload.get_mut(at..at + 2) else { return };
    field.copy_from_slice(&[0, 0]);
    let pseudo = ip::pseudo_sum(facts.source, facts.destination, upper, payload.len());
    let mut sum = checksum::internet(&[&pseudo, payload]);
    if sum == 0 && upper == protocol::UDP {
        sum = 0xffff;
    }
    if let Some(field) = payload.get_mut(at..at + 2) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
}

/// Writes new lengths, protocol and checksum into the IP header at the front.
fn mend(packet: &mut Packet, facts: &Facts, next_header: u8) {
    ip::mend(packet.bytes_mut(), facts.header_len, facts.protocol_at, next_header);
}

impl Facts {
    /// A packet that matches.
    fn of_selector(selector: &Selector) -> Self {
        let ports = match (selector.source_port, selector.destination_port) {
            (Port::Is(source), Port::Is(destination)) => Some((source, destination)),
            _ => None,
        };
        Self {
            source: selector.source.address,
            destination: selector.destination.address,
            protocol: match selector.upper {
                coati_sadb::Upper::Proto(number) => number,
                coati_sadb::Upper::Any => 0,
            },
            ports,
            header_len: 0,
            protocol_at: 0,
            is_fragment: false,
        }
    }

    fn of(bytes: &[u8]) -> Result<Self, Drop> {
        let packet = ip::Packet::parse(bytes).map_err(|_| Drop::Malformed)?;
        let ports = match (packet.protocol, packet.payload) {
            _ if packet.is_fragment => None,
            (protocol::TCP | protocol::UDP, [a, b, c, d, ..]) => {
                Some((u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])))
            }
            (protocol::ICMP | protocol::ICMPV6, [kind, code, ..]) => {
                Some((u16::from(*kind), u16::from(*code)))
            }
            (protocol::GRE, payload) => {
                let key = gre::Repr::key_of(payload).map(u32::to_be_bytes);
                key.map(|[a, b, c, d]| (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
            }
            _ => None,
        };
        Ok(Self {
            source: packet.source,
            destination: packet.destination,
            // What a piece is of, the header that makes it one says (RFC 8200 section 4.5): policies are about that.
            protocol: match packet.payload {
                [next, ..] if packet.is_fragment && packet.source.is_ipv6() => *next,
                _ => packet.protocol,
            },
            ports,
            header_len: packet.header_len,
            protocol_at: packet.protocol_at,
            is_fragment: packet.is_fragment,
        })
    }
}
