//! A NAT between one router and the internet: UDP only, and only to those that were spoken to (RFC 4787: mapping
//! independent of the destination, filtering by address and port).

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use coati_wire::{ipv4, udp};

/// How long a mapping lasts that nothing passes.
const IDLE: Duration = Duration::from_secs(60);

/// One inside end.
#[derive(Debug)]
struct Mapping {
    port: u16,
    /// Who may answer, and when it was last spoken to.
    spoken_to: BTreeMap<SocketAddrV4, Instant>,
}

/// The NAT.
#[derive(Debug)]
pub struct Nat {
    /// The router behind it, by its place among the sites.
    pub inside: usize,
    /// Its address on the internet.
    pub public: Ipv4Addr,
    mappings: BTreeMap<SocketAddrV4, Mapping>,
    next_port: u16,
}

impl Nat {
    /// A NAT without mappings.
    pub fn new(inside: usize, public: Ipv4Addr) -> Self {
        Self { inside, public, mappings: BTreeMap::new(), next_port: 20_000 }
    }

    /// Forgets all mappings, as a reboot of it does: the next packets get other ports.
    pub fn rebind(&mut self) {
        self.mappings.clear();
    }

    /// A packet of the router behind it, as it goes on; `None` is not passed.
    pub(crate) fn out(&mut self, now: Instant, bytes: &[u8]) -> Option<Vec<u8>> {
        let packet = ipv4::Packet::new_checked(bytes).ok()?;
        let (ports, payload) = parse(&packet)?;
        let inside = SocketAddrV4::new(packet.source(), ports.source_port);
        let outside = SocketAddrV4::new(packet.destination(), ports.destination_port);
        let next = &mut self.next_port;
        let mapping = self.mappings.entry(inside).or_insert_with(|| {
            *next = next.checked_add(1).unwrap_or(20_000);
            Mapping { port: *next, spoken_to: BTreeMap::new() }
        });
        mapping.spoken_to.insert(outside, now);
        Some(emit(&packet, SocketAddrV4::new(self.public, mapping.port), outside, payload))
    }

    /// A packet to the public address, as it goes on.
    pub(crate) fn back(&mut self, now: Instant, bytes: &[u8]) -> Option<Vec<u8>> {
        let packet = ipv4::Packet::new_checked(bytes).ok()?;
        let (ports, payload) = parse(&packet)?;
        let outside = SocketAddrV4::new(packet.source(), ports.source_port);
        let (inside, mapping) =
            self.mappings.iter().find(|(_, mapping)| mapping.port == ports.destination_port)?;
        let last = mapping.spoken_to.get(&outside)?;
        (now.saturating_duration_since(*last) < IDLE).then(|| emit(&packet, outside, *inside, payload))
    }
}

fn parse<'a>(packet: &ipv4::Packet<'a>) -> Option<(udp::Repr, &'a [u8])> {
    if packet.protocol() != ipv4::protocol::UDP {
        return None;
    }
    udp::Repr::parse(packet.payload(), packet.source().into(), packet.destination().into()).ok()
}

fn emit(packet: &ipv4::Packet<'_>, from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    let ports = udp::Repr { source_port: from.port(), destination_port: to.port() };
    let datagram = ports.emit((*from.ip()).into(), (*to.ip()).into(), payload);
    let header = ipv4::Repr {
        tos: 0,
        id: 0,
        dont_fragment: false,
        ttl: 63,
        protocol: packet.protocol(),
        source: *from.ip(),
        destination: *to.ip(),
        payload_len: datagram.len(),
    };
    [&header.emit()[..], &datagram].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(from: &str, to: &str) -> Vec<u8> {
        let (from, to): (SocketAddrV4, SocketAddrV4) = (from.parse().unwrap(), to.parse().unwrap());
        let header = ipv4::Repr {
            tos: 0,
            id: 0,
            dont_fragment: false,
            ttl: 64,
            protocol: ipv4::protocol::UDP,
            source: *from.ip(),
            destination: *to.ip(),
            payload_len: 9,
        };
        let bytes = [&header.emit()[..], &[0; 9]].concat();
        let packet = ipv4::Packet::new(&bytes).unwrap();
        emit(&packet, from, to, b"x")
    }

    fn ends(bytes: &[u8]) -> (SocketAddrV4, SocketAddrV4) {
        let packet = ipv4::Packet::new_checked(bytes).unwrap();
        let (ports, payload) = parse(&packet).unwrap();
        assert_eq!(payload, b"x");
        let source = SocketAddrV4::new(packet.source(), ports.source_port);
        (source, SocketAddrV4::new(packet.destination(), ports.destination_port))
    }

    #[test]
    fn who_was_spoken_to_may_answer_until_the_mapping_is_gone() {
        let (inside, outside) = ("192.168.1.2:500", "198.51.100.1:500");
        let now = Instant::now();
        let mut nat = Nat::new(0, Ipv4Addr::new(192, 0, 2, 1));
        assert_eq!(nat.back(now, &datagram(outside, "192.0.2.1:500")), None);
        let (mapped, to) = ends(&nat.out(now, &datagram(inside, outside)).unwrap());
        assert_eq!((mapped.ip().to_string(), to.to_string()), ("192.0.2.1".into(), outside.into()));
        let answer = datagram(outside, &mapped.to_string());
        assert_eq!(ends(&nat.back(now, &answer).unwrap()).1.to_string(), inside);
        assert_eq!(nat.back(now, &datagram("198.51.100.2:500", &mapped.to_string())), None);
        assert_eq!(nat.back(now + IDLE, &answer), None);
        nat.rebind();
        assert_eq!(nat.back(now, &answer), None);
        let (again, _) = ends(&nat.out(now, &datagram(inside, outside)).unwrap());
        assert_ne!(again.port(), mapped.port());
    }
}
