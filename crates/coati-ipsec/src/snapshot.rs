//! What the packet threads see: policies and SAs as they were when the snapshot was made.
//!
//! [`Snapshot::outbound`] takes IP packets that are about to leave, [`Snapshot::inbound`] those that came. Policies
//! are looked at in the order of their priority (RFC 4301 section 5); no policy means no protection is wanted.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use coati_crypto::RandomSource;
use coati_sadb::{Action, Direction, Level, Mode, Policy, PolicyId, Priority, ReqId, SaProto, Selector, Spi};
use coati_wire::ipv4::{self, protocol};
use coati_wire::{WireError, checksum, esp, udp};

use crate::counters::{Counters, Drop};
use crate::esp::Transform;
use crate::packet::Packet;
use crate::replay::{ReplayError, ReplayWindow};
use crate::shared_map::SharedMap;

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
}

/// An SA as the packet threads use it.
#[derive(Debug)]
pub(crate) struct LiveSa {
    pub(crate) spi: Spi,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) reqid: ReqId,
    pub(crate) mode: Mode,
    /// Ports of the UDP header around ESP, source in the upper half; 0 is none. The peer's may change.
    pub(crate) udp_ports: AtomicU32,
    pub(crate) transform: Transform,
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
    pub(crate) inbound: SharedMap<(Spi, IpAddr), Arc<LiveSa>>,
    /// Usable SAs from one address to another, with their numbers: the newest is the last.
    pub(crate) outbound: SharedMap<(IpAddr, IpAddr), Vec<Numbered>>,
    /// Policies from one host to another, in the order they are looked at.
    pub(crate) host_policies: SharedMap<(Direction, IpAddr, IpAddr), Vec<Arc<LivePolicy>>>,
    /// All others, in that order too.
    pub(crate) wide_policies: Arc<Vec<Arc<LivePolicy>>>,
    pub(crate) counters: Arc<Counters>,
}

/// The facts of a packet that policies judge.
struct Facts {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    ports: Option<(u16, u16)>,
    header_len: usize,
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
        let facts = Facts::of(packet.bytes())?;
        let Some(policy) = self.policy(Direction::Out, &facts) else { return Ok(Outbound::Clear) };
        policy.usage.add(packet.len(), wall);
        let rules = match &policy.policy.action {
            Action::None => return Ok(Outbound::Clear),
            Action::Discard => return Err(Drop::PolicyDiscard),
            Action::Ipsec(rules) => rules,
        };
        let Some(rule) = rules.first() else { return Err(Drop::PolicyMismatch) };
        let usable = |sa: &&Arc<LiveSa>| !sa.dead.load(Ordering::Relaxed);
        match self.outbound_sas(&facts, rule.level).find(usable) {
            Some(sa) => sa.seal(packet, &facts, wall, random).inspect(|()| self.counters.sealed())?,
            None if rule.level == Level::Use => return Ok(Outbound::Clear),
            None => return Ok(Outbound::Wait(policy.policy.id)),
        }
        Ok(Outbound::Sealed)
    }

    /// Opens and judges one IP packet that came in: afterwards it is the clear packet. An ESP packet of an SPI
    /// that nobody has gives [`Drop::UnknownSpi`]. `wall` is the time in Unix seconds.
    pub fn inbound(&self, packet: &mut Packet, wall: u64) -> Result<(), Drop> {
        self.inbound_one(packet, wall).inspect_err(|reason| self.counters.dropped(*reason))
    }

    fn inbound_one(&self, packet: &mut Packet, wall: u64) -> Result<(), Drop> {
        let facts = Facts::of(packet.bytes())?;
        if facts.protocol != protocol::ESP {
            return self.inbound_policy(&facts, None, packet.len(), wall);
        }
        let body = packet.bytes().get(facts.header_len..).unwrap_or(&[]);
        let (header, _) = esp::Header::parse(body).map_err(|_: WireError| Drop::EspLength)?;
        let sa = self.inbound.get(&(Spi(header.spi), facts.destination)).ok_or(Drop::UnknownSpi)?;
        let next_header = sa.open(packet, &facts, header.sequence, wall)?;
        mend_ipv4(packet, facts.header_len, next_header);
        if sa.udp_ports.load(Ordering::Relaxed) != 0 && sa.mode != Mode::Tunnel {
            // The sender has counted its own addresses in, which a NAT has changed outside since.
            repair_checksum(packet, &facts, next_header);
        }
        self.counters.opened();
        let inner = Facts::of(packet.bytes())?;
        self.inbound_policy(&inner, Some(sa), packet.len(), wall)
    }

    /// RFC 4301 section 5.2, step 4: was it allowed to come this way?
    fn inbound_policy(
        &self,
        facts: &Facts,
        sa: Option<&LiveSa>,
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
        let Some(rule) = rules.first() else { return Err(Drop::PolicyMismatch) };
        match sa {
            None if rule.level == Level::Use => Ok(()),
            None => Err(Drop::ClearInbound),
            Some(sa) if level_fits(rule.level, sa.reqid) && mode_fits(rule.mode, sa.mode) => Ok(()),
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

    /// The SAs that packets of these ends may leave with, newest first.
    fn outbound_sas(&self, facts: &Facts, level: Level) -> impl Iterator<Item = &Arc<LiveSa>> {
        let list = self.outbound.get(&(facts.source, facts.destination));
        let newest_first = list.into_iter().flatten().rev().map(|(_, sa)| sa);
        newest_first.filter(move |sa| level_fits(level, sa.reqid))
    }

    /// Puts an SA in, or changes one. `number` grows with every new one.
    pub(crate) fn put_sa(&mut self, number: u64, sa: &Arc<LiveSa>) {
        self.inbound.insert((sa.spi, sa.destination), sa.clone());
        self.outbound.change((sa.source, sa.destination), |list| {
            list.retain(|(other, _)| *other != number);
            let place = list.partition_point(|(other, _)| *other < number);
            list.insert(place, (number, sa.clone()));
        });
    }

    pub(crate) fn remove_sa(&mut self, number: u64, sa: &LiveSa) {
        self.inbound.remove(&(sa.spi, sa.destination));
        self.outbound.change((sa.source, sa.destination), |list| list.retain(|(other, _)| *other != number));
    }

    pub(crate) fn put_policy(&mut self, policy: &Arc<LivePolicy>) {
        let rank = policy.rank;
        self.change_policies(&policy.policy, |list| {
            let place = list.partition_point(|other| other.rank < rank);
            list.insert(place, policy.clone());
        });
    }

    pub(crate) fn remove_policy(&mut self, policy: &LivePolicy) {
        self.change_policies(&policy.policy, |list| list.retain(|other| other.rank != policy.rank));
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

    /// Whether packets that match `selector` could leave now: sealed, or in clear where a policy says so.
    pub fn is_open(&self, selector: &Selector) -> bool {
        let facts = Facts {
            source: selector.source.address,
            destination: selector.destination.address,
            protocol: match selector.upper {
                coati_sadb::Upper::Proto(number) => number,
                coati_sadb::Upper::Any => 0,
            },
            ports: None,
            header_len: 0,
        };
        let Some(policy) = self.policy(Direction::Out, &facts) else { return false };
        match &policy.policy.action {
            Action::None => true,
            Action::Discard => false,
            Action::Ipsec(rules) => rules.first().is_some_and(|rule| {
                rule.level == Level::Use || self.outbound_sas(&facts, rule.level).next().is_some()
            }),
        }
    }
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
        self.transform.seal(packet, facts.header_len, facts.protocol, self.spi.0, sequence, random)?;
        let ports = self.udp_ports.load(Ordering::Relaxed);
        if ports == 0 {
            mend_ipv4(packet, facts.header_len, protocol::ESP);
        } else {
            put_into_udp(packet, facts.header_len, ports)?;
            mend_ipv4(packet, facts.header_len, protocol::UDP);
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
        let next_header = self.transform.open(packet, facts.header_len)?;
        window().accept(u64::from(sequence)).map_err(refused)?;
        self.usage.add(packet.len().saturating_sub(facts.header_len), wall);
        Ok(next_header)
    }
}

/// Puts a UDP header without checksum between the IP header and ESP (RFC 3948 section 2.1).
fn put_into_udp(packet: &mut Packet, header_len: usize, ports: u32) -> Result<(), Drop> {
    const LEN: usize = udp::HEADER_LEN;
    if !packet.grow_front(LEN) {
        return Err(Drop::Headroom);
    }
    let bytes = packet.bytes_mut();
    bytes.copy_within(LEN..LEN + header_len, 0);
    let length = u16::try_from(bytes.len() - header_len).map_err(|_| Drop::EspLength)?;
    if let Some(header) = bytes.get_mut(header_len..header_len + LEN) {
        header[..4].copy_from_slice(&ports.to_be_bytes());
        header[4..6].copy_from_slice(&length.to_be_bytes());
        header[6..].copy_from_slice(&[0, 0]);
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
    let length = u16::try_from(payload.len()).unwrap_or(u16::MAX).to_be_bytes();
    let Some(field) = payload.get_mut(at..at + 2) else { return };
    if next_header == protocol::UDP && field == [0, 0] {
        // The sender counts none.
        return;
    }
    field.copy_from_slice(&[0, 0]);
    let (IpAddr::V4(source), IpAddr::V4(destination)) = (facts.source, facts.destination) else { return };
    let (source, destination) = (source.octets(), destination.octets());
    let mut sum = checksum::internet(&[&source, &destination, &[0, next_header], &length, payload]);
    if sum == 0 && next_header == protocol::UDP {
        sum = 0xffff;
    }
    if let Some(field) = payload.get_mut(at..at + 2) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
}

/// Writes new length, protocol and checksum into the IPv4 header at the front.
fn mend_ipv4(packet: &mut Packet, header_len: usize, next_header: u8) {
    let total = u16::try_from(packet.len()).unwrap_or(u16::MAX).to_be_bytes();
    if let Some(header) = packet.bytes_mut().get_mut(..header_len)
        && header.len() >= ipv4::HEADER_LEN
    {
        header[2..4].copy_from_slice(&total);
        header[9] = next_header;
        header[10..12].copy_from_slice(&[0, 0]);
        let sum = checksum::internet(&[header]).to_be_bytes();
        header[10..12].copy_from_slice(&sum);
    }
}

impl Facts {
    /// Reads them from an IPv4 packet. IPv6 outside comes with the kernels' back-ends; until then it is malformed.
    fn of(bytes: &[u8]) -> Result<Self, Drop> {
        let packet = ipv4::Packet::new(bytes).map_err(|_| Drop::Malformed)?;
        if packet.is_fragment() {
            return Err(Drop::Fragment);
        }
        let ports = match (packet.protocol(), packet.payload()) {
            (protocol::TCP | protocol::UDP, [a, b, c, d, ..]) => {
                Some((u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])))
            }
            (protocol::ICMP, [kind, code, ..]) => Some((u16::from(*kind), u16::from(*code))),
            _ => None,
        };
        let v4 = |address: Ipv4Addr| IpAddr::V4(address);
        Ok(Self {
            source: v4(packet.source()),
            destination: v4(packet.destination()),
            protocol: packet.protocol(),
            ports,
            header_len: packet.header_len(),
        })
    }
}

/// The kinds of SA the transform exists for.
pub(crate) fn is_supported(proto: SaProto, mode: Mode) -> bool {
    proto == SaProto::Esp && mode != Mode::Tunnel
}
