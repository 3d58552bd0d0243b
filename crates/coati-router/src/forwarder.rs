//! The fast side of the embedded data plane: batches of packets between the tunnels and the internet.
//!
//! One [`Forwarder`] belongs to one thread. It reads [`Tables`], which [`crate::Plane`] replaces as a whole whenever
//! something changed, so nothing here waits for anybody.
//!
//! It fails closed: what a tunnel carries passes in clear only where a policy says `none`. Where no policy is about it,
//! as between `spdflush` and the next `spdadd`, it is dropped.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use coati_crypto::{FastRandom, RandomSource};
use coati_ipsec::{Counters, Drop, Outbound, Packet, Snapshot};
use coati_sadb::{Direction, PolicyId, Spi};
use coati_wire::{esp, gre, ipv4};

/// A GRE tunnel over IPv4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Name of its interface.
    pub name: String,
    /// Outer address of this side.
    pub local: Ipv4Addr,
    /// Outer address of the other side.
    pub remote: Ipv4Addr,
    /// Key that both sides must use, when there is one.
    pub key: Option<u32>,
}

/// What every packet thread looks things up in; never changed, only replaced.
#[derive(Debug, Default)]
pub struct Tables {
    /// Policies and SAs.
    pub ipsec: Arc<Snapshot>,
    /// The tunnels; their order is their index.
    pub tunnels: Vec<Tunnel>,
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
        let Some(tunnel) = tables.tunnels.get(tunnel) else { return batch.clear() };
        let next_id = &mut self.next_id;
        batch.retain_mut(|packet| {
            let result = put_into_gre(tunnel, packet, next_id);
            result.inspect_err(|reason| tables.ipsec.counters().dropped(*reason)).is_ok()
        });
        tables.ipsec.outbound(batch, &mut self.verdicts, wall, &mut self.random);
        sort_out(&tables.ipsec, batch, &self.verdicts, waiting);
    }

    /// Packets that waited for an SA, GRE and IP header already on them, are judged again.
    pub fn release(&mut self, batch: &mut Vec<Packet>, waiting: &mut Vec<(PolicyId, Packet)>, wall: u64) {
        let tables = self.tables.load();
        tables.ipsec.outbound(batch, &mut self.verdicts, wall, &mut self.random);
        sort_out(&tables.ipsec, batch, &self.verdicts, waiting);
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
        let (IpAddr::V4(destination), IpAddr::V4(source)) = (local.ip(), remote.ip()) else {
            return Arrival::Dropped(Drop::Malformed);
        };
        let header = ipv4::Repr {
            tos: 0,
            id: 0,
            dont_fragment: false,
            ttl: OUTER_TTL,
            protocol: ipv4::protocol::ESP,
            source,
            destination,
            payload_len: datagram.len(),
        };
        packet.refill(datagram);
        if !packet.grow_front(ipv4::HEADER_LEN) {
            return Arrival::Dropped(Drop::Headroom);
        }
        if let Some(front) = packet.bytes_mut().get_mut(..ipv4::HEADER_LEN) {
            front.copy_from_slice(&header.emit());
        }
        self.decapsulate(packet, wall)
    }

    /// An IP packet of protocol 50 or 47 that came from the internet, in its buffer, becomes what was in the tunnel.
    pub fn decapsulate(&mut self, packet: &mut Packet, wall: u64) -> Arrival {
        let tables = self.tables.load();
        let is_clear = ipv4::Packet::new(packet.bytes()).is_ok_and(|ip| ip.protocol() == ipv4::protocol::GRE);
        if is_clear && !tables.ipsec.has_policy(Direction::In, packet) {
            tables.ipsec.counters().dropped(Drop::NoPolicy);
            return Arrival::Dropped(Drop::NoPolicy);
        }
        match tables.ipsec.inbound(packet, wall) {
            Ok(()) => {}
            Err(Drop::UnknownSpi) => return unknown_spi(packet),
            Err(reason) => return Arrival::Dropped(reason),
        }
        match take_out_of_gre(&tables.tunnels, packet) {
            Ok(tunnel) => Arrival::Tunnel(tunnel),
            Err(reason) => {
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
) {
    if verdicts.iter().all(|verdict| *verdict == Outbound::Sealed) {
        return;
    }
    let mut verdicts = verdicts.iter();
    for packet in std::mem::take(batch) {
        match verdicts.next() {
            Some(Outbound::Sealed) => batch.push(packet),
            Some(Outbound::Clear) if ipsec.has_policy(Direction::Out, &packet) => batch.push(packet),
            Some(Outbound::Clear) => ipsec.counters().dropped(Drop::NoPolicy),
            Some(Outbound::Wait(policy)) => waiting.push((*policy, packet)),
            Some(Outbound::Dropped(_)) | None => {}
        }
    }
}

fn put_into_gre(tunnel: &Tunnel, packet: &mut Packet, next_id: &mut u16) -> Result<(), Drop> {
    let (protocol, tos) = match packet.bytes() {
        [first, second, ..] if first >> 4 == 4 => (gre::ethertype::IPV4, *second),
        [first, second, ..] if first >> 4 == 6 => (gre::ethertype::IPV6, first << 4 | second >> 4),
        _ => return Err(Drop::Malformed),
    };
    let header = gre::Repr { key: tunnel.key, ..gre::Repr::plain(protocol) };
    if !packet.grow_front(header.header_len() + ipv4::HEADER_LEN) {
        return Err(Drop::Headroom);
    }
    let (outer, inner) = packet.bytes_mut().split_at_mut(ipv4::HEADER_LEN);
    header.emit(inner).map_err(|_| Drop::Malformed)?;
    *next_id = next_id.wrapping_add(1);
    let repr = ipv4::Repr {
        tos,
        id: *next_id,
        dont_fragment: false,
        ttl: OUTER_TTL,
        protocol: ipv4::protocol::GRE,
        source: tunnel.local,
        destination: tunnel.remote,
        payload_len: inner.len(),
    };
    outer.copy_from_slice(&repr.emit());
    Ok(())
}

fn take_out_of_gre(tunnels: &[Tunnel], packet: &mut Packet) -> Result<usize, Drop> {
    let outer = ipv4::Packet::new(packet.bytes()).map_err(|_| Drop::Malformed)?;
    if outer.protocol() != ipv4::protocol::GRE {
        return Err(Drop::NoTunnel);
    }
    let (header, inner) = gre::Repr::parse(outer.payload()).map_err(|_| Drop::BadGre)?;
    let (source, destination) = (outer.source(), outer.destination());
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
    let parsed = ipv4::Packet::new(packet.bytes()).ok().and_then(|outer| {
        let (header, _) = esp::Header::parse(outer.payload()).ok()?;
        Some((outer.source(), outer.destination(), header.spi))
    });
    match parsed {
        Some((source, destination, spi)) => {
            Arrival::UnknownSpi { source: source.into(), destination: destination.into(), spi: Spi(spi) }
        }
        None => Arrival::Dropped(Drop::EspLength),
    }
}
