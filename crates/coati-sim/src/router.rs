//! One router of the simulation: the control plane, both sides of the forwarder, and what a kernel does around them.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use coati_config::site::Site;
use coati_crypto::{RandomSource, SeededRandom};
use coati_ike::JobDone;
use coati_ipsec::Packet;
use coati_ospf::Link;
use coati_router::{Arrival, Aside, Control, ControlEvent, Forwarder, Now, Plane, Tunnel};
use coati_sadb::{Prefix, Reply, Request, Sa};
use coati_wire::{bfd, icmp, ipv4, udp};

/// Index of the tunnel's interface; those of rc.conf have 2 and up.
const TUNNEL_INDEX: u32 = 100;
/// Wait, in passes, until a router has nothing to do: a bound against endless conversations with itself.
const MAX_PASSES: usize = 10_000;

/// A router, made from a site's files.
pub struct Router {
    /// Its name in the log.
    pub name: String,
    site: Site,
    control: Control,
    outgoing: Forwarder,
    incoming: Forwarder,
    /// Packets for the internet.
    wire: VecDeque<Vec<u8>>,
    /// What happened.
    events: Vec<ControlEvent>,
    /// How long an exponentiation takes, one after the other.
    pub job_time: Duration,
    /// Those that are under way, and when they are done.
    jobs: VecDeque<(Instant, JobDone)>,
    /// Echo replies that hosts behind this router, or it itself, have received: source and identifier.
    replies: Vec<(Ipv4Addr, u16)>,
}

impl Router {
    /// Starts a router. Its randomness comes from `seed` alone.
    pub fn start(name: &str, site: &Site, seed: u64, now: Now) -> Self {
        let mut next = seed.wrapping_mul(1_000_003);
        let mut randomness = move || -> Box<dyn RandomSource> {
            next = next.wrapping_add(1);
            Box::new(SeededRandom::new(next))
        };
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
        let outgoing = Forwarder::new(plane.tables(), randomness().as_mut());
        let incoming = Forwarder::new(plane.tables(), randomness().as_mut());
        let control = Control::new(site, plane, randomness);
        let mut router = Self {
            name: name.to_owned(),
            site: site.clone(),
            control,
            outgoing,
            incoming,
            wire: VecDeque::new(),
            events: Vec::new(),
            job_time: Duration::ZERO,
            jobs: VecDeque::new(),
            replies: Vec::new(),
        };
        let links = router.links();
        router.control.handle_interfaces(now, links);
        router.work(now);
        router
    }

    fn links(&self) -> Vec<Link> {
        let physical = self.site.rc.interfaces.iter().zip(2..).map(|(interface, index)| Link {
            index,
            name: interface.name.clone(),
            address: interface.address,
            prefix_len: interface.prefix_len,
            peer: None,
            mtu: 1500,
            speed: None,
            point_to_point: false,
            loopback: false,
        });
        let tunnels = self.site.rc.tunnels.iter().zip(TUNNEL_INDEX..).map(|(tunnel, index)| Link {
            index,
            name: tunnel.name.clone(),
            address: tunnel.address,
            prefix_len: tunnel.prefix_len,
            peer: Some(tunnel.peer),
            mtu: tunnel.mtu.unwrap_or(1400),
            speed: None,
            point_to_point: true,
            loopback: false,
        });
        physical.chain(tunnels).collect()
    }

    /// The control plane.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Whether this address is one of this router's on the internet.
    pub fn has(&self, address: Ipv4Addr) -> bool {
        self.site.rc.interfaces.iter().any(|interface| interface.address == address)
    }

    /// When something is due.
    pub fn next_timeout(&self) -> Option<Instant> {
        let job = self.jobs.front().map(|(at, _)| *at);
        [self.control.next_timeout(), job].into_iter().flatten().min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some((_, done)) = self.jobs.pop_front_if(|(at, _)| *at <= now.at) {
            self.control.handle_job(now, done);
        }
        self.control.handle_timeout(now);
        self.work(now);
    }

    /// An IP packet from the internet.
    pub fn receive(&mut self, now: Now, bytes: &[u8]) {
        let Ok(packet) = ipv4::Packet::new_checked(bytes) else { return };
        let (source, destination) = (packet.source(), packet.destination());
        match packet.protocol() {
            ipv4::protocol::UDP => {
                let parsed = udp::Repr::parse(packet.payload(), IpAddr::V4(source), IpAddr::V4(destination));
                if let Ok((header, payload)) = parsed {
                    let local = SocketAddr::new(IpAddr::V4(destination), header.destination_port);
                    let remote = SocketAddr::new(IpAddr::V4(source), header.source_port);
                    // IKE begins with four zero bytes where ESP comes too.
                    if local.port() == 4500 && payload.len() > 4 && !payload.starts_with(&[0; 4]) {
                        let mut packet = Packet::new(&[]);
                        let arrival =
                            self.incoming.decapsulate_udp(&mut packet, local, remote, 0, payload, now.wall);
                        self.arrived(now, arrival, &packet);
                    } else {
                        self.control.handle_ike(now, local, remote, payload);
                    }
                }
            }
            ipv4::protocol::ESP | ipv4::protocol::GRE | ipv4::protocol::AH | ipv4::protocol::IPCOMP => {
                let mut packet = Packet::new(bytes);
                let arrival = self.incoming.decapsulate(&mut packet, now.wall);
                self.arrived(now, arrival, &packet);
            }
            _ => {}
        }
        self.work(now);
    }

    fn arrived(&mut self, now: Now, arrival: Arrival, packet: &Packet) {
        match arrival {
            Arrival::Tunnel(index) => self.arrive(now, index, packet.bytes()),
            Arrival::UnknownSpi { source, destination, spi } => {
                self.control.handle_unknown_spi(now, source, destination, spi);
            }
            Arrival::Answer => {
                let (mut batch, mut waiting) = (vec![packet.clone()], Vec::new());
                self.outgoing.release(&mut batch, &mut waiting, now.wall);
                self.wire.extend(batch.iter().map(|packet| packet.bytes().to_vec()));
            }
            Arrival::Dropped(_) => {}
        }
    }

    /// A packet that came out of a tunnel.
    fn arrive(&mut self, now: Now, index: usize, bytes: &[u8]) {
        let Ok(packet) = ipv4::Packet::new_checked(bytes) else { return };
        let interface = TUNNEL_INDEX + u32::try_from(index).unwrap_or(0);
        if packet.protocol() == ipv4::protocol::OSPF {
            return self.control.handle_ospf(now, interface, bytes);
        }
        let (source, ttl) = (packet.source(), packet.ttl());
        if packet.protocol() == ipv4::protocol::UDP
            && let Ok((header, payload)) =
                udp::Repr::parse(packet.payload(), source.into(), packet.destination().into())
            && header.destination_port == bfd::PORT
        {
            let input = coati_bfd::Input { interface, source, ttl, payload };
            return self.control.handle_bfd(now, &input);
        }
        let own = |address: Ipv4Addr| self.site.rc.tunnels.iter().any(|tunnel| tunnel.address == address);
        let behind = |address: Ipv4Addr| {
            let lan = |i: &coati_config::rc_conf::Interface| {
                Prefix::new(IpAddr::V4(i.address), i.prefix_len)
                    .is_ok_and(|p| p.contains(IpAddr::V4(address)))
            };
            self.site.rc.interfaces.iter().any(lan)
        };
        // The kernel forwards what is not for itself; hosts on the LAN answer pings as it does.
        if !own(packet.destination()) && !behind(packet.destination()) {
            return;
        }
        match icmp::Repr::parse(packet.payload()) {
            Ok(Some(icmp::Repr::EchoRequest { id, sequence, data })) => {
                let reply = icmp::Repr::EchoReply { id, sequence, data }.emit();
                self.send_ip(now, packet.destination(), packet.source(), ipv4::protocol::ICMP, &reply);
            }
            Ok(Some(icmp::Repr::EchoReply { id, .. })) => self.replies.push((packet.source(), id)),
            _ => {}
        }
    }

    /// Sends an echo request, from an address of this router or of a host behind it.
    pub fn ping(&mut self, now: Now, source: Ipv4Addr, destination: Ipv4Addr, id: u16) {
        let request = icmp::Repr::EchoRequest { id, sequence: 1, data: b"coati sim" }.emit();
        self.send_ip(now, source, destination, ipv4::protocol::ICMP, &request);
        self.work(now);
    }

    /// A request from outside, as `setkey` makes it.
    pub fn request(&mut self, now: Now, request: Request) -> Reply {
        let reply = self.control.request(now, request);
        self.work(now);
        reply
    }

    /// A command beside `show`, such as `clear ip ospf process`.
    pub fn order(&mut self, now: Now, words: &[&str]) -> Result<String, String> {
        let outcome = self.control.order(now, words);
        self.work(now);
        outcome
    }

    /// All SAs of the data plane.
    pub fn sas(&mut self, now: Now) -> Vec<Sa> {
        match self.control.request(now, Request::Dump(None)) {
            Reply::Sas { sas } => sas,
            _ => Vec::new(),
        }
    }

    /// Replies to pings: source and identifier.
    pub fn replies(&self) -> &[(Ipv4Addr, u16)] {
        &self.replies
    }

    /// Whether the reply to a ping has come.
    pub fn has_reply(&self, source: Ipv4Addr, id: u16) -> bool {
        self.replies.contains(&(source, id))
    }

    /// What the kernel's routing table does: into the tunnel that the destination lies behind.
    fn send_ip(&mut self, now: Now, source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, payload: &[u8]) {
        let near = self.site.rc.tunnels.iter().position(|tunnel| tunnel.peer == destination);
        let learned = self.control.kernel_routes().into_iter().find_map(|route| {
            let prefix = Prefix::new(IpAddr::V4(route.network), route.prefix_len).ok()?;
            let (_, interface) = route.gateways.first()?;
            prefix.contains(IpAddr::V4(destination)).then_some(interface.checked_sub(TUNNEL_INDEX)?)
        });
        let tunnel = near.or_else(|| learned.and_then(|index| usize::try_from(index).ok()));
        if let Some(tunnel) = tunnel {
            self.encapsulate(now, tunnel, source, destination, protocol, payload);
        }
    }

    fn encapsulate(
        &mut self,
        now: Now,
        tunnel: usize,
        source: Ipv4Addr,
        destination: Ipv4Addr,
        protocol: u8,
        payload: &[u8],
    ) {
        let (mut batch, mut aside) = (Vec::new(), Aside::default());
        batch.push(Packet::new(&ip_packet(source, destination, protocol, payload)));
        self.outgoing.encapsulate(tunnel, &mut batch, &mut aside, now.wall);
        self.wire.extend(batch.iter().map(|packet| packet.bytes().to_vec()));
        for (policy, packet) in aside.waiting {
            self.control.handle_waiting(now, policy, packet);
        }
    }

    /// Carries out what the control plane wants, until it wants nothing.
    fn work(&mut self, now: Now) {
        for _ in 0..MAX_PASSES {
            let before = self.wire.len();
            let mut any = false;
            while let Some(job) = self.control.poll_job() {
                if self.job_time.is_zero() {
                    self.control.handle_job(now, job.run());
                } else {
                    let since = self.jobs.back().map_or(now.at, |(at, _)| *at);
                    self.jobs.push_back((since + self.job_time, job.run()));
                }
                any = true;
            }
            while let Some(transmit) = self.control.poll_ike() {
                if let (IpAddr::V4(source), IpAddr::V4(destination)) =
                    (transmit.local.ip(), transmit.remote.ip())
                {
                    let ports = udp::Repr {
                        source_port: transmit.local.port(),
                        destination_port: transmit.remote.port(),
                    };
                    let datagram = ports.emit(source.into(), destination.into(), &transmit.payload);
                    self.wire.push_back(ip_packet(source, destination, ipv4::protocol::UDP, &datagram));
                }
            }
            let released = self.control.take_released(now);
            self.wire.extend(released.iter().map(|packet| packet.bytes().to_vec()));
            while let Some(transmit) = self.control.poll_ospf() {
                let source = self.control.ospf_links().find(|link| link.index == transmit.interface);
                let Some(source) = source.map(|link| link.address) else { continue };
                let Some(tunnel) = transmit.interface.checked_sub(TUNNEL_INDEX) else { continue };
                let tunnel = usize::try_from(tunnel).unwrap_or(usize::MAX);
                let protocol = ipv4::protocol::OSPF;
                self.encapsulate(now, tunnel, source, transmit.destination, protocol, &transmit.payload);
                any = true;
            }
            while let Some(transmit) = self.control.poll_bfd() {
                let Some(tunnel) = transmit.interface.checked_sub(TUNNEL_INDEX) else { continue };
                let (source, destination) = (transmit.source, transmit.destination);
                let ports = udp::Repr { source_port: bfd::FIRST_SOURCE_PORT, destination_port: bfd::PORT };
                let datagram = ports.emit(source.into(), destination.into(), &transmit.payload);
                let tunnel = usize::try_from(tunnel).unwrap_or(usize::MAX);
                self.encapsulate(now, tunnel, source, destination, ipv4::protocol::UDP, &datagram);
                any = true;
            }
            while let Some(event) = self.control.poll_event() {
                self.events.push(event);
                any = true;
            }
            if !any && before == self.wire.len() {
                return;
            }
        }
    }

    /// Takes leave, as at SIGTERM.
    pub fn shut_down(&mut self, now: Now) {
        self.control.shutdown(now);
        self.work(now);
        self.control.shutdown_ike(now);
        self.work(now);
    }

    /// The next packet for the internet.
    pub fn poll_wire(&mut self) -> Option<Vec<u8>> {
        self.wire.pop_front()
    }

    /// What has happened since the last call.
    pub fn take_events(&mut self) -> Vec<ControlEvent> {
        std::mem::take(&mut self.events)
    }
}

fn ip_packet(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let header = ipv4::Repr {
        tos: 0,
        id: 0,
        dont_fragment: false,
        // Nothing here counts hops, and BFD wants to see that there were none.
        ttl: 255,
        protocol,
        source,
        destination,
        payload_len: payload.len(),
    };
    let mut bytes = header.emit().to_vec();
    bytes.extend_from_slice(payload);
    bytes
}
