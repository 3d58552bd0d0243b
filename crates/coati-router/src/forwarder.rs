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
use coati_ipsec::{Counters, Drop, Inbound, Outbound, Packet, Snapshot};
use coati_sadb::{Direction, PolicyId, Port, Prefix, Selector, Spi, Upper};
use coati_wire::ipv4::protocol;
use coati_wire::{esp, gre, ip};

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
}

impl Tables {
    fn inside(&self) -> Option<usize> {
        self.has_inside.then_some(self.tunnels.len())
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
}

/// What to do with a packet that came from the internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Hand it, as it now is, to the tunnel of this index.
    Tunnel(usize),
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
        Self { tables, random, verdicts: Vec::new(), next_id: u16::from_ne_bytes(id) }
    }

    /// The counters of the whole data plane.
    pub fn counters(&self) -> Arc<Counters> {
        self.tables.load().ipsec.counters().clone()
    }

    /// IP packets that the kernel sent into `tunnel` become packets for the wire. Those that need an SA first are
    /// moved to `waiting`, those that must not go are dropped and counted. `wall` is in Unix seconds.
    pub fn encapsulate(
        &mut self,
        tunnel: usize,
        batch: &mut Vec<Packet>,
        waiting: &mut Vec<(PolicyId, Packet)>,
        wall: u64,
    ) {
        let tables = self.tables.load();
        if tables.inside() == Some(tunnel) {
            tables.ipsec.outbound(batch, &mut self.verdicts, wall, &mut self.random);
            // In clear they would come back: the way there is this interface.
            return sort_out(&tables.ipsec, batch, &self.verdicts, waiting, |_| false);
        }
        let Some(tunnel) = tables.tunnels.get(tunnel) else { return batch.clear() };
        let next_id = &mut self.next_id;
        batch.retain_mut(|packet| {
            let result = put_into_gre(tunnel, packet, next_id);
            result.inspect_err(|reason| tables.ipsec.counters().dropped(*reason)).is_ok()
        });
        tables.ipsec.outbound(batch, &mut self.verdicts, wall, &mut self.random);
        let may_be_clear = |packet: &Packet| tables.ipsec.has_policy(Direction::Out, packet);
        sort_out(&tables.ipsec, batch, &self.verdicts, waiting, may_be_clear);
    }

    /// Packets that waited for an SA, what is of GRE with that and its IP header already, are judged again.
    pub fn release(&mut self, batch: &mut Vec<Packet>, waiting: &mut Vec<(PolicyId, Packet)>, wall: u64) {
        let tables = self.tables.load();
        tables.ipsec.outbound(batch, &mut self.verdicts, wall, &mut self.random);
        let is_gre =
            |packet: &Packet| ip::Packet::parse(packet.bytes()).is_ok_and(|p| p.protocol == protocol::GRE);
        let may_be_clear = |packet: &Packet| {
            (is_gre(packet) || !tables.has_inside) && tables.ipsec.has_policy(Direction::Out, packet)
        };
        sort_out(&tables.ipsec, batch, &self.verdicts, waiting, may_be_clear);
    }

    /// A datagram that came to the port that IKE and ESP share, and that is not IKE's: ESP inside UDP (RFC 3948). It
    /// goes on in `packet`, as [`Forwarder::decapsulate`] does with what came without UDP.
    pub fn decapsulate_udp(
        &mut self,
        packet: &mut Packet,
        local: SocketAddr,
        remote: SocketAddr,
        datagram: &[u8],
        wall: u64,
    ) -> Arrival {
        self.decapsulate_payload(packet, (local.ip(), remote.ip()), protocol::ESP, datagram, wall)
    }

    /// A payload of protocol 50 or 47 that came to the first of these addresses from the second one, without its IP
    /// header, as IPv6's raw sockets hand it over.
    pub fn decapsulate_payload(
        &mut self,
        packet: &mut Packet,
        (destination, source): (IpAddr, IpAddr),
        protocol: u8,
        payload: &[u8],
        wall: u64,
    ) -> Arrival {
        let header = ip::Repr {
            tos: 0,
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
            (Ok(tunnel), _, _) => Arrival::Tunnel(tunnel),
            (Err(Drop::NoTunnel), Inbound::Unwrapped, Some(inside)) => Arrival::Tunnel(inside),
            (Err(reason), _, _) => {
                tables.ipsec.counters().dropped(reason);
                Arrival::Dropped(reason)
            }
        }
    }
}

/// Keeps in `batch` what goes to the wire.
fn sort_out(
    ipsec: &Snapshot,
    batch: &mut Vec<Packet>,
    verdicts: &[Outbound],
    waiting: &mut Vec<(PolicyId, Packet)>,
    may_be_clear: impl Fn(&Packet) -> bool,
) {
    if verdicts.iter().all(|verdict| *verdict == Outbound::Sealed) {
        return;
    }
    let mut verdicts = verdicts.iter();
    for packet in std::mem::take(batch) {
        match verdicts.next() {
            Some(Outbound::Sealed) => batch.push(packet),
            Some(Outbound::Clear) if may_be_clear(&packet) => batch.push(packet),
            Some(Outbound::Clear) => ipsec.counters().dropped(Drop::NoPolicy),
            Some(Outbound::Wait(policy)) => waiting.push((*policy, packet)),
            Some(Outbound::Dropped(_)) | None => {}
        }
    }
}

fn put_into_gre(tunnel: &Tunnel, packet: &mut Packet, next_id: &mut u16) -> Result<(), Drop> {
    let (ethertype, tos) = match packet.bytes() {
        [first, second, ..] if first >> 4 == 4 => (gre::ethertype::IPV4, *second),
        [first, second, ..] if first >> 4 == 6 => (gre::ethertype::IPV6, first << 4 | second >> 4),
        _ => return Err(Drop::Malformed),
    };
    let header = gre::Repr { key: tunnel.key, ..gre::Repr::plain(ethertype) };
    *next_id = next_id.wrapping_add(1);
    let outer = ip::Repr {
        tos,
        id: *next_id,
        dont_fragment: false,
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

fn take_out_of_gre(tunnels: &[Tunnel], packet: &mut Packet) -> Result<usize, Drop> {
    let outer = ip::Packet::parse(packet.bytes()).map_err(|_| Drop::Malformed)?;
    if outer.protocol != protocol::GRE {
        return Err(Drop::NoTunnel);
    }
    let (header, inner) = gre::Repr::parse(outer.payload).map_err(|_| Drop::BadGre)?;
    let (source, destination) = (outer.source, outer.destination);
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
    Ok(index)
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
