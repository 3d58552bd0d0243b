//! The data plane and its control: packets from inside and outside through the forwarders of two routers, and what
//! commands ask over the daemon's socket. Nothing leaves in clear, nothing forged gets in.

use std::time::Instant;

use coati_config::site::Site;
use coati_crypto::{RandomSource, SeededRandom};
use coati_ipsec::Packet;
use coati_router::admin::{AdminReply, AdminRequest};
use coati_router::{Arrival, Aside, Control, Forwarder, Now, Plane, Tunnel};
use coati_sadb::{Reply, Request};
use coati_wire::{checksum, ip, ipv4, tcp};

use crate::reader::Reader;
use crate::seed::{MANUAL, SEED};

/// Steps of one input at the most.
const MAX_STEPS: usize = 64;
/// Unix seconds.
const WALL: u64 = 1_767_225_600;

/// Packets between two routers whose tunnel is up, and those of a stranger without keys.
pub fn forwarder(data: &[u8]) {
    let mut routers = [Router::new(0), Router::new(1)];
    let mut sealed: Vec<(usize, Vec<u8>)> = Vec::new();
    let mut reader = Reader::new(data);
    for _ in 0..MAX_STEPS {
        if reader.is_empty() {
            break;
        }
        let (what, at) = (reader.byte(), usize::from(reader.byte() & 1));
        match what % 4 {
            // From the kernel into the tunnel, out at the other side.
            0 => {
                let inner = reader.piece();
                let inner = if what & 4 == 0 { inner.to_vec() } else { ip_packet(what, inner) };
                for wire in routers[at].encapsulate(&inner) {
                    let came = routers[1 - at].arrive(&wire);
                    match came {
                        // A keepalive of GRE goes back instead.
                        Some(out) if out.is_empty() => assert!(inner.contains(&ipv4::protocol::GRE)),
                        // The largest segment may have been lowered.
                        Some(out) if tcp::is_opening(&inner) => assert_eq!(out.len(), inner.len()),
                        out => assert_eq!(out.as_ref(), Some(&inner), "it comes out as it went in"),
                    }
                    assert_eq!(routers[1 - at].arrive(&wire), None, "a replay is taken");
                    sealed.push((at, wire));
                }
            }
            // Anything from outside.
            1 => {
                let bytes = reader.piece();
                assert_eq!(routers[at].arrive(bytes), None);
            }
            // Something of protocol 50 or 47 in the peer's name: GRE in clear, ESP without keys.
            2 => {
                let payload = reader.piece();
                let protocol = if what & 4 == 0 { ipv4::protocol::GRE } else { ipv4::protocol::ESP };
                assert_eq!(routers[at].arrive(&routers[at].peer_packet(protocol, payload)), None);
            }
            // What was sealed before, changed.
            _ => {
                let index = usize::from(reader.byte()) % sealed.len().max(1);
                let Some((from, mut bytes)) = sealed.get(index).cloned() else { continue };
                reader.change(&mut bytes);
                repair_header(&mut bytes);
                assert_eq!(routers[1 - from].arrive(&bytes), None, "a replay or a forgery is taken");
            }
        }
    }
}

/// Lines as the daemon's socket gets them: each is a request that is carried out, or none.
pub fn admin_request(data: &[u8]) {
    const MAX_LINES: usize = 16;
    let now = Now { at: Instant::now(), wall: WALL };
    let mut control: Option<Control> = None;
    for line in data.split(|byte| *byte == b'\n').take(MAX_LINES) {
        let Ok(request) = serde_json::from_slice::<AdminRequest>(line) else { continue };
        let text = serde_json::to_vec(&request).expect("a request can be written");
        let again: AdminRequest = serde_json::from_slice(&text).expect("and read again");
        assert_eq!(serde_json::to_vec(&again).ok(), Some(text));
        let control = control.get_or_insert_with(|| control_of(&SEED, now));
        let reply = control.carry_out(now, &SEED, now.at, request).unwrap_or_else(|_| {
            // The daemon's own: what it says about the tunnels is the control plane's.
            AdminReply::Text(format!("{:?}", control.tunnels(now, &SEED)))
        });
        let text = serde_json::to_vec(&reply).expect("a reply can be written");
        serde_json::from_slice::<AdminReply>(&text).expect("and read by the command");
        while control.poll_event().is_some() {}
        while control.poll_ike().is_some() {}
    }
    let Some(control) = &mut control else { return };
    let later = Now { at: now.at + std::time::Duration::from_secs(3600), wall: WALL + 3600 };
    control.handle_timeout(later);
    assert!(matches!(control.request(later, Request::Dump(None)), Reply::Sas { .. }));
    assert!(matches!(control.request(later, Request::SpdDump), Reply::Policies { .. }));
}

/// One end of the tunnel.
struct Router {
    site: &'static Site,
    outgoing: Forwarder,
    incoming: Forwarder,
}

impl Router {
    fn new(index: usize) -> Self {
        let site = &MANUAL[index];
        let mut randomness = randomness();
        let plane = plane_of(site, Now { at: Instant::now(), wall: WALL }, &mut randomness);
        let outgoing = Forwarder::new(plane.tables(), randomness().as_mut());
        let incoming = Forwarder::new(plane.tables(), randomness().as_mut());
        Self { site, outgoing, incoming }
    }

    /// What goes to the internet for this packet: ESP, or nothing.
    fn encapsulate(&mut self, inner: &[u8]) -> Vec<Vec<u8>> {
        let (mut batch, mut aside) = (vec![Packet::new(inner)], Aside::default());
        self.outgoing.encapsulate(0, &mut batch, &mut aside, WALL);
        for packet in &batch {
            let outer = ipv4::Packet::new_checked(packet.bytes()).expect("its header is right");
            assert_eq!(outer.protocol(), ipv4::protocol::ESP, "it leaves in clear");
        }
        batch.iter().map(|packet| packet.bytes().to_vec()).collect()
    }

    /// What comes out of the tunnel for a packet from the internet.
    fn arrive(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut packet = Packet::new(bytes);
        match self.incoming.decapsulate(&mut packet, WALL) {
            Arrival::Tunnel(index) => {
                assert_eq!(index, 0);
                Some(packet.bytes().to_vec())
            }
            Arrival::Answer => Some(Vec::new()),
            Arrival::Dropped(_) | Arrival::UnknownSpi { .. } => None,
        }
    }

    fn peer_packet(&self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let tunnel = self.site.rc.tunnels.first().expect("the example has a tunnel");
        let header = ip::Repr {
            tos: 0,
            id: 0,
            dont_fragment: false,
            ttl: 64,
            protocol,
            source: tunnel.remote,
            destination: tunnel.local,
            payload_len: payload.len(),
        };
        let mut bytes = vec![0; header.header_len()];
        header.emit(&mut bytes).expect("the example's addresses are of one family");
        bytes.extend_from_slice(payload);
        bytes
    }
}

fn control_of(site: &Site, now: Now) -> Control {
    let mut randomness = randomness();
    let plane = plane_of(site, now, &mut randomness);
    Control::new(site, plane, randomness)
}

fn plane_of(site: &Site, now: Now, mut randomness: impl FnMut() -> Box<dyn RandomSource>) -> Plane {
    let mut plane = Plane::new(&mut randomness);
    for statement in &site.statements {
        plane.request(now.at, now.wall, statement.request.clone());
    }
    plane.add_tunnels(site.rc.tunnels.iter().map(|tunnel| Tunnel {
        name: tunnel.name.clone(),
        local: tunnel.local,
        remote: tunnel.remote,
        key: tunnel.key,
        mtu: tunnel.mtu.unwrap_or(1400) as usize,
    }));
    plane
}

fn randomness() -> impl FnMut() -> Box<dyn RandomSource> + 'static {
    let mut seed = 0;
    move || {
        seed += 1;
        Box::new(SeededRandom::new(seed))
    }
}

/// A packet that looks like IPv4 or IPv6 as far as a tunnel looks.
fn ip_packet(what: u8, bytes: &[u8]) -> Vec<u8> {
    let version = if what & 8 == 0 { 0x45 } else { 0x60 };
    [&[version, 0], bytes].concat()
}

/// Makes length and checksum of a changed packet's header right, so that it gets as far as it can.
fn repair_header(bytes: &mut [u8]) {
    let Ok(length) = u16::try_from(bytes.len()) else { return };
    let Some(header) = bytes.get_mut(..ipv4::HEADER_LEN) else { return };
    header[2..4].copy_from_slice(&length.to_be_bytes());
    header[10..12].fill(0);
    let sum = checksum::internet(&[&*header]).to_be_bytes();
    header[10..12].copy_from_slice(&sum);
}
