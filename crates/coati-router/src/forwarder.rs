//! The fast side of the embedded data plane: batches of packets between the tunnels and the internet.
//!
//! One [`Forwarder`] belongs to one thread. It reads [`Tables`], which [`crate::Plane`] replaces as a whole whenever
//! something changed, so nothing here waits for anybody.
//!
//! It fails closed: what a tunnel carries passes in clear only where a policy says `none`. Where no policy is about it,
//! as between `spdflush` and the next `spdadd`, it is dropped.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use coati_crypto::{FastRandom, RandomSource};
use coati_ipsec::tunnel::carry_marks_over;
use coati_ipsec::{Counters, Drop, Inbound, Outbound, Packet, Snapshot};
use coati_sadb::{Direction, PolicyId, Port, Prefix, Selector, Spi, Upper};
use coati_wire::ipv4::protocol;
use coati_wire::{esp, gre, ip, ipv4, tcp, too_big};

/// A GRE tunnel over IPv4 or IPv6.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Name of its interface.
    pub name: String,
    /// Outer address of this side.
    pub local: IpAddr,
    /// Outer address of the other side, of the same family.
    pub remote: IpAddr,
    /// Key that both sides must use, when there is one.
    pub key: Option<u32>,
    /// MTU of its interface, in bytes.
    pub mtu: usize,
}

impl Tunnel {
    /// The packets that it makes.
    pub fn packets(&self) -> Selector {
        let (source_port, destination_port) = match self.key.map(u32::to_be_bytes) {
            // As setkey(8) has the key of GRE in a selector.
            Some([a, b, c, d]) => {
                (Port::Is(u16::from_be_bytes([a, b])), Port::Is(u16::from_be_bytes([c, d])))
            }
            None => (Port::Any, Port::Any),
        };
        Selector {
            source: Prefix::host(self.local),
            source_port,
            destination: Prefix::host(self.remote),
            destination_port,
            upper: Upper::GRE,
        }
    }

    /// Bytes that are put before a packet that it carries, without ESP.
    fn overhead(&self) -> usize {
        ip::header_len(self.local) + gre::Repr { key: self.key, ..gre::Repr::plain(0) }.header_len()
    }
}

/// What every packet thread looks things up in; never changed, only replaced.
#[derive(Debug, Default)]
pub struct Tables {
    /// Policies and SAs.
    pub ipsec: Arc<Snapshot>,
    /// The tunnels; their order is their index.
    pub tunnels: Vec<Tunnel>,
    /// Whether there is an interface for policies in tunnel mode, whose packets have no GRE around them. Its index is the
    /// one behind the tunnels'.
    pub has_inside: bool,
    /// Whether outer packets may be cut by routers even where the inner ones say that they must not be.
    pub clear_dont_fragment: bool,
}

impl Tables {
    fn inside(&self) -> Option<usize> {
        self.has_inside.then_some(self.tunnels.len())
    }

    /// The largest packet that the tunnel of this index carries: what its interface says, and its path. `like` is one that
    /// leaves through it, or with `turned` one that has come out.
    fn largest(&self, index: usize, like: &Packet, turned: bool) -> usize {
        match self.tunnels.get(index) {
            Some(tunnel) => self.carried(index).unwrap_or(usize::MAX).min(tunnel.mtu),
            None => self.ipsec.largest_like(like, turned).unwrap_or(usize::MAX),
        }
    }

    /// The largest packet that the path of the tunnel of this index carries; `None` when that is not known.
    pub(crate) fn carried(&self, index: usize) -> Option<usize> {
        let tunnel = self.tunnels.get(index)?;
        Some(self.ipsec.largest(&tunnel.packets())?.saturating_sub(tunnel.overhead()))
    }

    /// Lowers the largest segment of a TCP connection that begins, so that none has to be cut.
    fn clamp(&self, index: usize, packet: &mut Packet, turned: bool) {
        if tcp::is_opening(packet.bytes()) {
            let largest = self.largest(index, packet, turned);
            if tcp::clamp_mss(packet.bytes_mut(), largest) {
                self.ipsec.counters().clamped();
            }
        }
    }
}

/// TTL of outer headers. It is never inherited: OSPF's inner TTL of 1 would die at the first router.
const OUTER_TTL: u8 = 64;

/// The packet path of one thread.
pub struct Forwarder {
    tables: Arc<ArcSwap<Tables>>,
    random: FastRandom,
    verdicts: Vec<Outbound>,
    next_id: u16,
    /// The second in which packets were last told of as too big, and how many.
    told: (u64, u32),
}

/// "Too big" is said so often in a second at the most (RFC 1812 section 4.3.2.8).
const MAX_TOLD: u32 = 100;

/// What does not go to the wire with its batch.
#[derive(Debug, Default)]
pub struct Aside {
    /// Packets that need an SA first.
    pub waiting: Vec<(PolicyId, Packet)>,
    /// Packets for the tunnel's own side: what senders have to know of those that are too large.
    pub back: Vec<Vec<u8>>,
}

/// What to do with a packet that came from the internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Hand it, as it now is, to the tunnel of this index.
    Tunnel(usize),
    /// It is a keepalive of GRE and has to go back as it now is, after [`Forwarder::release`].
    Answer,
    /// It was dropped and counted.
    Dropped(Drop),
    /// It names an SPI that nobody has; it was dropped and counted, and IKE may want to know.
    UnknownSpi {
        /// Who sent it.
        source: IpAddr,
        /// To which address.
        destination: IpAddr,
        /// The SPI.
        spi: Spi,
    },
}

impl Forwarder {
    /// A forwarder over `tables`; `random` keys its generator of IVs.
    pub fn new(tables: Arc<ArcSwap<Tables>>, random: &mut dyn RandomSource) -> Self {
        let mut id = [0; 2];
        random.fill(&mut id);
        let random = FastRandom::keyed_by(random);
        Self { tables, random, verdicts: Vec::new(), next_id: u16::from_ne_bytes(id), told: (0, 0) }
    }

    /// The counters of the whole data plane.
    pub fn counters(&self) -> Arc<Counters> {
        self.tables.load().ipsec.counters().clone()
    }

    /// IP packets that the kernel sent into `tunnel` become packets for the wire. Those that need an SA first, and what
    /// there is to say of those that are too large, are put `aside`; those that must not go are dropped and counted.
    /// `wall` is in Unix seconds.
    pub fn encapsulate(&mut self, tunnel: usize, batch: &mut Vec<Packet>, aside: &mut Aside, wall: u64) {
        let tables = self.tables.load_full();
        batch.iter_mut().for_each(|packet| tables.clamp(tunnel, packet, false));
        let Some(mut too_big) = self.put_in_and_seal(&tables, tunnel, batch, aside, wall) else { return };
        // Pieces fit by the path that the whole was too large for. One that does not all the same, since routers have said
        // something new meanwhile, is lost like any packet.
        for (packet, largest) in &mut too_big {
            let Some(mut pieces) = self.cut_or_tell(&tables, packet, *largest, aside, wall) else { continue };
            let rest = self.put_in_and_seal(&tables, tunnel, &mut pieces, aside, wall);
            rest.iter().flatten().for_each(|_| tables.ipsec.counters().dropped(Drop::TooBig));
            batch.append(&mut pieces);
        }
    }

    /// Leaves in `batch` what goes to the wire; returns what does not fit, each with the largest size that does.
    fn put_in_and_seal(
        &mut self,
        tables: &Tables,
        index: usize,
        batch: &mut Vec<Packet>,
        aside: &mut Aside,
        wall: u64,
    ) -> Option<Vec<(Packet, usize)>> {
        let ipsec = &tables.ipsec;
        if tables.inside() == Some(index) {
            ipsec.outbound(batch, &mut self.verdicts, wall, &mut self.random);
            // In clear they would come back: the way there is this interface.
            return sort_out(ipsec, batch, &self.verdicts, &mut aside.waiting, |_| false);
        }
        let Some(tunnel) = tables.tunnels.get(index) else {
            batch.clear();
            return None;
        };
        let (next_id, may_cut) = (&mut self.next_id, tables.clear_dont_fragment);
        batch.retain_mut(|packet| {
            let result = put_into_gre(tunnel, packet, next_id, may_cut);
            result.inspect_err(|reason| ipsec.counters().dropped(*reason)).is_ok()
        });
        ipsec.outbound(batch, &mut self.verdicts, wall, &mut self.random);
        let may_be_clear = |packet: &Packet| ipsec.has_policy(Direction::Out, packet);
        let mut too_big = sort_out(ipsec, batch, &self.verdicts, &mut aside.waiting, may_be_clear)?;
        for (packet, largest) in &mut too_big {
            packet.shrink_front(tunnel.overhead());
            *largest = largest.saturating_sub(tunnel.overhead());
        }
        Some(too_big)
    }

    /// A packet that may be cut becomes pieces; of the others the sender is told, but not of too many in a second.
    fn cut_or_tell(
        &mut self,
        tables: &Tables,
        packet: &Packet,
        largest: usize,
        aside: &mut Aside,
        wall: u64,
    ) -> Option<Vec<Packet>> {
        let mut pieces = Vec::new();
        let cut = ipv4::Packet::new(packet.bytes()).ok().and_then(|whole| {
            ipv4::cut(&whole, largest, |header, payload| {
                let mut piece = Packet::new(&[]);
                piece.refill_parts(&[header, payload]);
                pieces.push(piece);
            })
        });
        if cut.is_some() {
            tables.ipsec.counters().cut();
            return Some(pieces);
        }
        tables.ipsec.counters().dropped(Drop::TooBig);
        if self.told.0 != wall {
            self.told = (wall, 0);
        }
        self.told.1 = self.told.1.saturating_add(1);
        if self.told.1 <= MAX_TOLD {
            aside.back.extend(too_big::answer(packet.bytes(), largest));
        }
        None
    }

    /// Packets that waited for an SA, or answer a keepalive, what is of GRE with that and its IP header already, are judged
    /// again.
    pub fn release(&mut self, batch: &mut Vec<Packet>, waiting: &mut Vec<(PolicyId, Packet)>, wall: u64) {
        let tables = self.tables.load();
        tables.ipsec.outbound(batch, &mut self.verdicts, wall, &mut self.random);
        let is_gre =
            |packet: &Packet| ip::Packet::parse(packet.bytes()).is_ok_and(|p| p.protocol == protocol::GRE);
        let may_be_clear = |packet: &Packet| {
            (is_gre(packet) || !tables.has_inside) && tables.ipsec.has_policy(Direction::Out, packet)
        };
        let too_big = sort_out(&tables.ipsec, batch, &self.verdicts, waiting, may_be_clear);
        // Their senders hear of it when they send again.
        too_big.iter().flatten().for_each(|_| tables.ipsec.counters().dropped(Drop::TooBig));
    }

    /// A datagram that came to the port that IKE and ESP share, and that is not IKE's: ESP inside UDP (RFC 3948). It
    /// goes on in `packet`, as [`Forwarder::decapsulate`] does with what came without UDP. `tos` is the type of service, or
    /// the traffic class, that its IP header had.
    pub fn decapsulate_udp(
        &mut self,
        packet: &mut Packet,
        local: SocketAddr,
        remote: SocketAddr,
        tos: u8,
        datagram: &[u8],
        wall: u64,
    ) -> Arrival {
        self.decapsulate_payload(packet, (local.ip(), remote.ip()), (protocol::ESP, tos), datagram, wall)
    }

    /// A payload that came to the first of these addresses from the second one, without its IP header, as IPv6's raw
    /// sockets hand it over; of that its protocol, 50 or 47, and its type of service.
    pub fn decapsulate_payload(
        &mut self,
        packet: &mut Packet,
        (destination, source): (IpAddr, IpAddr),
        (protocol, tos): (u8, u8),
        payload: &[u8],
        wall: u64,
    ) -> Arrival {
        let header = ip::Repr {
            tos,
            id: 0,
            dont_fragment: false,
            ttl: OUTER_TTL,
            protocol,
            source,
            destination,
            payload_len: payload.len(),
        };
        packet.refill(payload);
        if !packet.grow_front(header.header_len()) {
            return Arrival::Dropped(Drop::Headroom);
        }
        if header.emit(packet.bytes_mut()).is_none() {
            return Arrival::Dropped(Drop::Malformed);
        }
        self.decapsulate(packet, wall)
    }

    /// An IP packet of protocol 50 or 47 that came from the internet, in its buffer, becomes what was in the tunnel.
    pub fn decapsulate(&mut self, packet: &mut Packet, wall: u64) -> Arrival {
        let tables = self.tables.load();
        let is_clear = ip::Packet::parse(packet.bytes()).is_ok_and(|outer| outer.protocol == protocol::GRE);
        if is_clear && !tables.ipsec.has_policy(Direction::In, packet) {
            tables.ipsec.counters().dropped(Drop::NoPolicy);
            return Arrival::Dropped(Drop::NoPolicy);
        }
        let inbound = match tables.ipsec.inbound(packet, wall) {
            Ok(inbound) => inbound,
            Err(Drop::UnknownSpi) => return unknown_spi(packet),
            Err(reason) => return Arrival::Dropped(reason),
        };
        match (take_out_of_gre(&tables.tunnels, packet), inbound, tables.inside()) {
            (Ok((index, tunnel)), _, _) => {
                if answer_keepalive(tunnel, packet) {
                    tables.ipsec.counters().kept_alive();
                    return Arrival::Answer;
                }
                tables.clamp(index, packet, true);
                Arrival::Tunnel(index)
            }
            (Err(Drop::NoTunnel), Inbound::Unwrapped, Some(inside)) => {
                tables.clamp(inside, packet, true);
                Arrival::Tunnel(inside)
            }
            (Err(reason), _, _) => {
                tables.ipsec.counters().dropped(reason);
                Arrival::Dropped(reason)
            }
        }
    }
}

/// Keeps in `batch` what goes to the wire; returns what is too large, each with the size that fits.
fn sort_out(
    ipsec: &Snapshot,
    batch: &mut Vec<Packet>,
    verdicts: &[Outbound],
    waiting: &mut Vec<(PolicyId, Packet)>,
    may_be_clear: impl Fn(&Packet) -> bool,
) -> Option<Vec<(Packet, usize)>> {
    if verdicts.iter().all(|verdict| *verdict == Outbound::Sealed) {
        return None;
    }
    let mut too_big = Vec::new();
    let mut verdicts = verdicts.iter();
    for packet in std::mem::take(batch) {
        match verdicts.next() {
            Some(Outbound::Sealed) => batch.push(packet),
            Some(Outbound::Clear) if may_be_clear(&packet) => batch.push(packet),
            Some(Outbound::Clear) => ipsec.counters().dropped(Drop::NoPolicy),
            Some(Outbound::Wait(policy)) => waiting.push((*policy, packet)),
            Some(Outbound::TooBig(largest)) => too_big.push((packet, *largest)),
            Some(Outbound::Dropped(_)) | None => {}
        }
    }
    Some(too_big)
}

/// DSCP and ECN are the inner packet's (RFC 6040, RFC 9601), and whether it may be cut: so its sender hears when a path
/// is too narrow. `may_cut` leaves that to routers.
fn put_into_gre(tunnel: &Tunnel, packet: &mut Packet, next_id: &mut u16, may_cut: bool) -> Result<(), Drop> {
    let (ethertype, tos, whole) = match packet.bytes() {
        [first, second, _, _, _, _, flags, ..] if first >> 4 == 4 => {
            (gre::ethertype::IPV4, *second, flags & 0x40 != 0)
        }
        [first, second, ..] if first >> 4 == 6 => (gre::ethertype::IPV6, first << 4 | second >> 4, true),
        _ => return Err(Drop::Malformed),
    };
    let header = gre::Repr { key: tunnel.key, ..gre::Repr::plain(ethertype) };
    *next_id = next_id.wrapping_add(1);
    let outer = ip::Repr {
        tos,
        id: *next_id,
        dont_fragment: whole && !may_cut,
        ttl: OUTER_TTL,
        protocol: protocol::GRE,
        source: tunnel.local,
        destination: tunnel.remote,
        payload_len: header.header_len() + packet.len(),
    };
    if !packet.grow_front(header.header_len() + outer.header_len()) {
        return Err(Drop::Headroom);
    }
    let (front, inner) = packet.bytes_mut().split_at_mut(outer.header_len());
    header.emit(inner).map_err(|_| Drop::Malformed)?;
    outer.emit(front).ok_or(Drop::Malformed)
}

fn take_out_of_gre<'t>(tunnels: &'t [Tunnel], packet: &mut Packet) -> Result<(usize, &'t Tunnel), Drop> {
    let outer = ip::Packet::parse(packet.bytes()).map_err(|_| Drop::Malformed)?;
    if outer.protocol != protocol::GRE {
        return Err(Drop::NoTunnel);
    }
    let (header, inner) = gre::Repr::parse(outer.payload).map_err(|_| Drop::BadGre)?;
    let (source, destination, tos) = (outer.source, outer.destination, outer.tos);
    let fits =
        |tunnel: &Tunnel| (tunnel.remote, tunnel.local, tunnel.key) == (source, destination, header.key);
    let index = tunnels.iter().position(fits).ok_or(Drop::NoTunnel)?;
    let version = match header.protocol {
        gre::ethertype::IPV4 => 4,
        gre::ethertype::IPV6 => 6,
        _ => return Err(Drop::BadGre),
    };
    if inner.first().is_none_or(|first| first >> 4 != version) {
        return Err(Drop::BadGre);
    }
    let cut = packet.len() - inner.len();
    let length = inner.len();
    packet.shrink_front(cut);
    packet.resize(length);
    carry_marks_over(packet, tos)?;
    Ok((index, tunnels.get(index).ok_or(Drop::NoTunnel)?))
}

/// Whether what has come out of the tunnel is a keepalive, which becomes its answer then.
fn answer_keepalive(tunnel: &Tunnel, packet: &mut Packet) -> bool {
    let Some((cut, body)) = keepalive(tunnel, packet.bytes()) else { return false };
    let outer = ip::Repr {
        tos: 0,
        id: 0,
        dont_fragment: false,
        ttl: OUTER_TTL,
        protocol: protocol::GRE,
        source: tunnel.local,
        destination: tunnel.remote,
        payload_len: body.len(),
    };
    let length = cut + body.len();
    packet.resize(length);
    packet.shrink_front(cut);
    packet.grow_front(outer.header_len()) && outer.emit(packet.bytes_mut()).is_some()
}

/// Of a packet that has come out of a tunnel and is a keepalive, the length of its IP header, and the answer that follows
/// it.
///
/// Cisco, and others as it does, put a packet into the tunnel that is already the answer: GRE of protocol 0 (MikroTik's over
/// IPv6: 0x86dd) without contents, from our end to theirs. Behind a NAT one of the addresses is what only that side calls
/// it, so one that fits is enough, and the answer goes between the ends that we know.
pub fn keepalive<'a>(tunnel: &Tunnel, packet: &'a [u8]) -> Option<(usize, &'a [u8])> {
    let inner = ip::Packet::parse(packet).ok()?;
    let fits = inner.source == tunnel.local || inner.destination == tunnel.remote;
    if inner.protocol != protocol::GRE || inner.is_fragment || !fits {
        return None;
    }
    let (header, contents) = gre::Repr::parse(inner.payload).ok()?;
    let is_empty = contents.is_empty() && matches!(header.protocol, 0 | gre::ethertype::IPV6);
    is_empty.then_some((inner.header_len, inner.payload))
}

fn unknown_spi(packet: &Packet) -> Arrival {
    let parsed = ip::Packet::parse(packet.bytes()).ok().and_then(|outer| {
        let (header, _) = esp::Header::parse(outer.payload).ok()?;
        Some((outer.source, outer.destination, header.spi))
    });
    match parsed {
        Some((source, destination, spi)) => Arrival::UnknownSpi { source, destination, spi: Spi(spi) },
        None => Arrival::Dropped(Drop::EspLength),
    }
}
