//! What the packet threads see: policies and SAs as they were when the snapshot was made.
//!
//! [`Snapshot::outbound`] takes IP packets that are about to leave, [`Snapshot::inbound`] those that came. Policies
//! are looked at in the order of their priority (RFC 4301 section 5); no policy means no protection is wanted.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use coati_crypto::RandomSource;
use coati_sadb::{
    Action, Bundle, Direction, Level, Mode, Policy, PolicyId, Port, Priority, ReqId, Rule, SaProto, Selector,
    Spi,
};
use coati_wire::ipv4::protocol;
use coati_wire::{WireError, checksum, esp, gre, ip, udp};

use crate::counters::{Counters, Drop};
use crate::esp::LazyTransform;
use crate::ipcomp;
use crate::packet::Packet;
use crate::replay::{ReplayError, ReplayWindow};
use crate::shared_map::SharedMap;
use crate::tunnel;

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
    /// It has the addresses that it came with: it was in clear, or in ESP of transport mode.
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
    /// The longest payload, in bytes, that fits through the path when it is sealed; 0: nothing is known about the path.
    pub(crate) longest: AtomicU32,
    /// ESP's; IPComp has none.
    pub(crate) transform: Option<LazyTransform>,
    /// Last sequence number sent.
    pub(crate) sequence: AtomicU64,
    pub(crate) replay: Mutex<ReplayWindow>,
    pub(crate) usage: LiveUsage,
    /// Set when it must not be used any more, for threads that still hold an older snapshot.
    pub(crate) dead: AtomicBool,
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
    fn add(&self, bytes: usize, wall: u64) {
        self.packets.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        if self.first.load(Ordering::Relaxed) == 0 {
            self.first.store(wall, Ordering::Relaxed);
        }
        self.last.store(wall, Ordering::Relaxed);
    }
}

impl LiveSa {
    /// The largest packet, with an IP header of `header_len` bytes, that fits through the path when it is sealed in this
    /// mode; `None` when nothing is known about the path.
    fn largest(&self, mode: Mode, header_len: usize) -> Option<usize> {
        let longest =
            usize::try_from(self.longest.load(Ordering::Relaxed)).ok().filter(|longest| *longest > 0)?;
        Some(if mode == Mode::Tunnel { longest } else { longest + header_len })
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
        let Some(bundle) = Bundle::of(rules) else { return Err(Drop::PolicyMismatch) };
        if facts.is_fragment && bundle.esp.mode != Mode::Tunnel {
            return Err(Drop::Fragment);
        }
        let sa = match self.sa_for(bundle.esp, &facts) {
            Some(sa) => sa,
            None if bundle.esp.level == Level::Use => return Ok(Outbound::Clear),
            None => return Ok(Outbound::Wait(policy.policy.id)),
        };
        // What compression makes of it is not counted on: packets of one size fit, or they do not.
        if let Some(largest) = sa.largest(bundle.esp.mode, facts.header_len)
            && packet.len() > largest
        {
            return Ok(Outbound::TooBig(largest));
        }
        if let Some(rule) = bundle.ipcomp {
            match self.sa_for(rule, &facts) {
                Some(sa) => {
                    if sa.compress(packet, &mut facts, wall) {
                        self.counters.compressed();
                    }
                }
                None if rule.level == Level::Use => {}
                None => return Ok(Outbound::Wait(policy.policy.id)),
            }
        }
        if bundle.esp.mode == Mode::Tunnel {
            let (source, destination) = tunnel_ends(bundle.esp).ok_or(Drop::PolicyMismatch)?;
            tunnel::wrap(packet, source, destination, random)?;
            facts = Facts::of(packet.bytes())?;
        }
        sa.seal(packet, &facts, wall, random).inspect(|()| self.counters.sealed())?;
        Ok(Outbound::Sealed)
    }

    /// The newest SA that does what a rule wants.
    fn sa_for(&self, rule: &Rule, facts: &Facts) -> Option<&Arc<LiveSa>> {
        let (source, destination) = tunnel_ends(rule).unwrap_or((facts.source, facts.destination));
        let list = self.outbound.get(&(source, destination));
        list.into_iter().flatten().rev().map(|(_, sa)| sa).find(|sa| {
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
        let facts = Facts::of(packet.bytes())?;
        if facts.is_fragment {
            return Err(Drop::Fragment);
        }
        if facts.protocol != protocol::ESP {
            self.inbound_policy(&facts, None, None, packet.len(), wall)?;
            return Ok(Inbound::Same);
        }
        let body = packet.bytes().get(facts.header_len..).unwrap_or(&[]);
        let (header, _) = esp::Header::parse(body).map_err(|_: WireError| Drop::EspLength)?;
        let name = (SaProto::Esp, Spi(header.spi), facts.destination);
        let sa = self.inbound.get(&name).ok_or(Drop::UnknownSpi)?;
        let next_header = sa.open(packet, &facts, header.sequence, wall)?;
        mend(packet, &facts, next_header);
        let (next_header, compression) = match next_header {
            protocol::IPCOMP => self.inflate(packet, &facts, wall).map(|(next, sa)| (next, Some(sa)))?,
            clear => (clear, None),
        };
        if sa.udp_ports.load(Ordering::Relaxed) != 0 && sa.mode != Mode::Tunnel {
            // The sender has counted its own addresses in, which a NAT has changed outside since.
            repair_checksum(packet, &facts, next_header);
        }
        let is_tunnel = match sa.mode {
            Mode::Tunnel if !tunnel::is_whole(next_header) => return Err(Drop::PolicyMismatch),
            Mode::Tunnel => true,
            Mode::Any => tunnel::is_whole(next_header) && self.wraps(&facts),
            Mode::Transport => false,
        };
        if is_tunnel {
            tunnel::unwrap(packet, facts.header_len, next_header)?;
        }
        self.counters.opened();
        let inner = Facts::of(packet.bytes())?;
        if is_tunnel && self.policy(Direction::In, &inner).is_none() {
            // Whatever a peer has put inside: only what some policy is about may come out.
            return Err(Drop::NoPolicy);
        }
        self.inbound_policy(&inner, Some(sa), compression, packet.len(), wall)?;
        Ok(if is_tunnel { Inbound::Unwrapped } else { Inbound::Same })
    }

    /// Whether some policy has a tunnel between these ends, so that an SA of any mode may be one's.
    fn wraps(&self, outer: &Facts) -> bool {
        self.tunnels.get(&(outer.source, outer.destination)).is_some()
    }

    /// What was compressed becomes what it was. Returns its protocol and the SA that says so.
    fn inflate(&self, packet: &mut Packet, facts: &Facts, wall: u64) -> Result<(u8, &LiveSa), Drop> {
        let body = packet.bytes().get(facts.header_len..).unwrap_or(&[]);
        let (header, _) = coati_wire::ipcomp::Header::parse(body).map_err(|_| Drop::Inflate)?;
        let name = (SaProto::Ipcomp, Spi(header.cpi.into()), facts.destination);
        let sa = self.inbound.get(&name).ok_or(Drop::UnknownCpi)?;
        let next_header = ipcomp::inflate(packet, facts.header_len)?;
        mend(packet, facts, next_header);
        sa.usage.add(packet.len() - facts.header_len, wall);
        self.counters.inflated();
        Ok((next_header, sa))
    }

    /// RFC 4301 section 5.2, step 4: was it allowed to come this way?
    fn inbound_policy(
        &self,
        facts: &Facts,
        sa: Option<&LiveSa>,
        compression: Option<&LiveSa>,
        length: usize,
        wall: u64,
    ) -> Result<(), Drop> {
        let Some(policy) = self.policy(Direction::In, facts) else { return Ok(()) };
        policy.usage.add(length, wall);
        let rules = match &policy.policy.action {
            Action::None => return Ok(()),
            Action::Discard => return Err(Drop::PolicyDiscard),
            Action::Ipsec(rules) => rules,
        };
        let Some(bundle) = Bundle::of(rules) else { return Err(Drop::PolicyMismatch) };
        // What has become no smaller is not compressed, whatever the policy says (RFC 3173 section 2.2).
        let compressed_so =
            compression.is_none_or(|sa| bundle.ipcomp.is_some_and(|rule| level_fits(rule.level, sa.reqid)));
        let rule = bundle.esp;
        match sa {
            None if rule.level == Level::Use => Ok(()),
            None => Err(Drop::ClearInbound),
            Some(sa)
                if level_fits(rule.level, sa.reqid)
                    && mode_fits(rule.mode, sa.mode)
                    && tunnel_ends(rule).is_none_or(|ends| ends == (sa.source, sa.destination))
                    && compressed_so =>
            {
                Ok(())
            }
            Some(_) => Err(Drop::PolicyMismatch),
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
        let rule = Bundle::of(rules)?.esp;
        self.sa_for(rule, facts)?.largest(rule.mode, ip::header_len(facts.source))
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
            Action::Ipsec(rules) => Bundle::of(rules).is_some_and(|bundle| {
                let there = |rule: &Rule| rule.level == Level::Use || self.sa_for(rule, facts).is_some();
                there(bundle.esp) && bundle.ipcomp.is_none_or(there)
            }),
        }
    }
}

/// The outer addresses of a rule for tunnel mode.
fn tunnel_ends(rule: &Rule) -> Option<(IpAddr, IpAddr)> {
    rule.endpoints.filter(|_| rule.mode == Mode::Tunnel)
}

/// Ends of the tunnels that packets of an inbound policy come through.
fn inbound_tunnels(policy: &Policy) -> impl Iterator<Item = (IpAddr, IpAddr)> {
    let rules = match &policy.action {
        Action::Ipsec(rules) if policy.direction == Direction::In => rules.as_slice(),
        _ => &[],
    };
    rules.iter().filter_map(tunnel_ends)
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
    /// Whether the packet is smaller now.
    fn compress(&self, packet: &mut Packet, facts: &mut Facts, wall: u64) -> bool {
        let before = packet.len().saturating_sub(facts.header_len);
        let cpi = u16::try_from(self.spi.0).unwrap_or(0);
        let smaller = ipcomp::compress(packet, facts.header_len, facts.protocol, cpi);
        if smaller {
            facts.protocol = protocol::IPCOMP;
            self.usage.add(before, wall);
        }
        smaller
    }

    fn seal(
        &self,
        packet: &mut Packet,
        facts: &Facts,
        wall: u64,
        random: &mut dyn RandomSource,
    ) -> Result<(), Drop> {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        if sequence > u64::from(u32::MAX) {
            return Err(Drop::SequenceExhausted);
        }
        let inner = packet.len() - facts.header_len;
        let transform = self.transform.as_ref().and_then(LazyTransform::get).ok_or(Drop::PolicyMismatch)?;
        transform.seal(packet, facts.header_len, facts.protocol, self.spi.0, sequence, random)?;
        let ports = self.udp_ports.load(Ordering::Relaxed);
        if ports == 0 {
            mend(packet, facts, protocol::ESP);
        } else {
            if self.non_ike_marker {
                put_before(packet, facts.header_len, &NON_IKE_MARKER)?;
            }
            put_into_udp(packet, facts, ports)?;
            mend(packet, facts, protocol::UDP);
        }
        self.usage.add(inner, wall);
        Ok(())
    }

    fn open(&self, packet: &mut Packet, facts: &Facts, sequence: u32, wall: u64) -> Result<u8, Drop> {
        if self.dead.load(Ordering::Relaxed) {
            return Err(Drop::DeadSa);
        }
        let refused = |error| match error {
            ReplayError::Seen => Drop::Replayed,
            ReplayError::TooOld => Drop::TooOld,
        };
        let window = || self.replay.lock().unwrap_or_else(PoisonError::into_inner);
        window().check(u64::from(sequence)).map_err(refused)?;
        let transform = self.transform.as_ref().and_then(LazyTransform::get).ok_or(Drop::UnknownSpi)?;
        let next_header = transform.open(packet, facts.header_len)?;
        window().accept(u64::from(sequence)).map_err(refused)?;
        self.usage.add(packet.len().saturating_sub(facts.header_len), wall);
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
fn repair_checksum(packet: &mut Packet, facts: &Facts, next_header: u8) {
    let at = match next_header {
        protocol::TCP => 16,
        protocol::UDP => 6,
        _ => return,
    };
    let Some(payload) = packet.bytes_mut().get_mut(facts.header_len..) else { return };
    let Some(field) = payload.get_mut(at..at + 2) else { return };
    if next_header == protocol::UDP && field == [0, 0] {
        // The sender counts none.
        return;
    }
    count_checksum(payload, facts, next_header, at);
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
            protocol: packet.protocol,
            ports,
            header_len: packet.header_len,
            protocol_at: packet.protocol_at,
            is_fragment: packet.is_fragment,
        })
    }
}

/// The kinds of SA the transform exists for.
pub(crate) fn is_supported(proto: SaProto, mode: Mode) -> bool {
    proto == SaProto::Esp || proto == SaProto::Ipcomp && mode != Mode::Tunnel
}
