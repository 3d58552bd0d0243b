//! The control plane of one router: SPD and SAD, IKE, OSPF, and what each has to hear of the others.
//!
//! ```text
//!   packets that wait ─▶ Plane ──ACQUIRE, EXPIRE──▶ IKE ──GETSPI, UPDATE, ADD──▶ Plane ──tunnel up──▶ OSPF ──▶ routes
//!                                                    │ peer dead                                        ▲
//!                                                    └──────────────────────────────────────────────────┘
//! ```
//!
//! Sans-IO: the daemon and the simulator drive the same one.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use coati_config::site::Site;
use coati_crypto::RandomSource;
use coati_ike as ike;
use coati_ipsec::Packet;
use coati_sadb::{Notification, PolicyId, Reply, Request, SaState, Spi};

use crate::admin::{IsakmpStatus, Milestone, TunnelStatus};
use crate::ike_config::ike_config;
use crate::plane::{Plane, PlaneEvent};

/// The time, monotonic and in Unix seconds.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For timers.
    pub at: Instant,
    /// For what people and packets' usage counters see, in Unix seconds.
    pub wall: u64,
}

/// What happened, for logs and those who watch.
#[derive(Clone, Debug)]
pub enum ControlEvent {
    /// A link of the chain was reached; the first time only counts.
    Reached(Milestone),
    /// IKE tells.
    Ike(ike::Event),
    /// The data plane tells.
    Notification(Notification),
    /// A request that IKE made to the data plane, and that did not come from outside.
    Request(Request),
    /// Packets can leave through this tunnel, or no longer.
    Tunnel {
        /// Its index.
        index: usize,
        /// Whether they can.
        up: bool,
    },
}

/// The control plane.
pub struct Control {
    plane: Plane,
    ike: ike::Engine,
    events: VecDeque<ControlEvent>,
}

impl Control {
    /// IKE and OSPF of this site over a data plane that has its policies already.
    pub fn new(site: &Site, plane: Plane, randomness: impl FnOnce() -> Box<dyn RandomSource>) -> Self {
        let mut ike = ike::Engine::new(ike_config(site), randomness());
        ike.handle_policies(&plane.policies());
        Self { plane, ike, events: VecDeque::new() }
    }

    /// The data plane.
    pub fn plane(&self) -> &Plane {
        &self.plane
    }

    /// A UDP datagram of IKE.
    pub fn handle_ike(&mut self, now: Now, local: SocketAddr, remote: SocketAddr, datagram: &[u8]) {
        self.ike.handle_input(now.at, local, remote, datagram);
        self.settle(now);
    }

    /// A packet that has to wait until its policy has an SA.
    pub fn handle_waiting(&mut self, now: Now, policy: PolicyId, packet: Packet) {
        self.events.push_back(ControlEvent::Reached(Milestone::FirstPacket));
        self.plane.hold(now.at, policy, packet);
        self.settle(now);
    }

    /// A packet came with an SPI that nobody has.
    pub fn handle_unknown_spi(&mut self, now: Now, source: IpAddr, destination: IpAddr, spi: Spi) {
        self.plane.unknown_spi(now.at, source, destination, spi);
        self.settle(now);
    }

    /// An exponentiation is done.
    pub fn handle_job(&mut self, now: Now, done: ike::JobDone) {
        self.ike.handle_job(now.at, done);
        self.settle(now);
    }

    /// A request from outside, as `setkey` makes them.
    pub fn request(&mut self, now: Now, request: Request) -> Reply {
        let changes_policies = matches!(
            request,
            Request::SpdAdd(_) | Request::SpdUpdate(_) | Request::SpdDelete(..) | Request::SpdFlush
        );
        let reply = self.plane.request(now.at, now.wall, request);
        if changes_policies {
            self.ike.handle_policies(&self.plane.policies());
        }
        self.settle(now);
        reply
    }

    /// The earliest time at which [`Control::handle_timeout`] has something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        [self.plane.next_timeout(), self.ike.next_timeout()].into_iter().flatten().min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        self.plane.handle_timeout(now.at, now.wall);
        self.ike.handle_timeout(now.at);
        self.settle(now);
    }

    /// Takes leave of the peers and removes what was negotiated.
    pub fn shutdown(&mut self, now: Now) {
        self.ike.shutdown();
        self.settle(now);
    }

    /// Lets the parts hear of each other until nobody has anything to say.
    fn settle(&mut self, now: Now) {
        loop {
            if let Some(event) = self.plane.poll_event() {
                self.plane_event(now, event);
            } else if let Some((tag, request)) = self.ike.poll_request() {
                self.events.push_back(ControlEvent::Request(request.clone()));
                let reply = self.plane.request(now.at, now.wall, request);
                self.ike.handle_reply(now.at, tag, &reply);
            } else if let Some(event) = self.ike.poll_event() {
                self.ike_event(event);
            } else {
                break;
            }
        }
    }

    fn plane_event(&mut self, now: Now, event: PlaneEvent) {
        match event {
            PlaneEvent::Tunnel { index, up } => {
                if up {
                    self.events.push_back(ControlEvent::Reached(Milestone::TunnelUp));
                }
                self.events.push_back(ControlEvent::Tunnel { index, up });
            }
            PlaneEvent::Notification(notification) => {
                match &notification {
                    Notification::Acquire(acquire) => self.ike.handle_acquire(now.at, acquire),
                    Notification::Expire(expire) => self.ike.handle_expire(now.at, expire),
                    Notification::UnknownSpi { source, destination, spi } => {
                        self.ike.handle_unknown_spi(now.at, *source, *destination, *spi);
                    }
                }
                self.events.push_back(ControlEvent::Notification(notification));
            }
        }
    }

    fn ike_event(&mut self, event: ike::Event) {
        let reached = match &event {
            ike::Event::MainModeBegun { .. } => Some(Milestone::MainMode),
            ike::Event::IsakmpEstablished { .. } => Some(Milestone::IsakmpSa),
            ike::Event::QuickModeBegun { .. } => Some(Milestone::QuickMode),
            ike::Event::PairEstablished { .. } => Some(Milestone::SaPair),
            _ => None,
        };
        self.events.extend(reached.map(ControlEvent::Reached));
        self.events.push_back(ControlEvent::Ike(event));
    }

    /// The next datagram of IKE to send.
    pub fn poll_ike(&mut self) -> Option<ike::Transmit> {
        self.ike.poll_transmit()
    }

    /// The next piece of work for another thread.
    pub fn poll_job(&mut self) -> Option<ike::Job> {
        self.ike.poll_job()
    }

    /// Packets for the wire that have waited for their SA until now.
    pub fn take_released(&mut self, now: Now) -> Vec<Packet> {
        let released = self.plane.take_released(now.at, now.wall);
        self.settle(now);
        released
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<ControlEvent> {
        self.events.pop_front()
    }

    /// The ISAKMP SAs.
    pub fn isakmp(&self, now: Now) -> Vec<IsakmpStatus> {
        let status = |sa: ike::IsakmpSa| IsakmpStatus {
            local: sa.local,
            remote: sa.remote,
            initiator_cookie: sa.initiator_cookie,
            responder_cookie: sa.responder_cookie,
            state: sa.state,
            initiator: sa.initiator,
            version: 0x10,
            exchange: 2,
            created: sa.established.map_or(0, |since| {
                now.wall.saturating_sub(now.at.saturating_duration_since(since).as_secs())
            }),
            phase2: sa.phase2,
        };
        self.ike.isakmp_sas().into_iter().map(status).collect()
    }

    /// The last failed negotiation of each peer, explained.
    pub fn failures(&self) -> Vec<String> {
        self.ike.failures().map(str::to_owned).collect()
    }

    /// The tunnels with their SAs.
    pub fn tunnels(&mut self, now: Now, site: &Site) -> Vec<TunnelStatus> {
        let sas = match self.plane.request(now.at, now.wall, Request::Dump(None)) {
            Reply::Sas { sas } => sas,
            _ => Vec::new(),
        };
        let tunnel = |(index, tunnel): (usize, &coati_config::rc_conf::GreTunnel)| {
            let spis = |source: std::net::Ipv4Addr, destination: std::net::Ipv4Addr| {
                sas.iter()
                    .filter(|sa| {
                        sa.id.source == source
                            && sa.id.destination == destination
                            && sa.state != SaState::Larval
                    })
                    .map(|sa| format!("{} {}", sa.id.spi, sa.state.setkey_name()))
                    .collect()
            };
            TunnelStatus {
                name: tunnel.name.clone(),
                local: tunnel.local.into(),
                remote: tunnel.remote.into(),
                mtu: tunnel.mtu.unwrap_or(1400),
                inbound: spis(tunnel.remote, tunnel.local),
                outbound: spis(tunnel.local, tunnel.remote),
                up: self.plane.is_tunnel_up(index),
            }
        };
        site.rc.tunnels.iter().enumerate().map(tunnel).collect()
    }

    /// Named counters that are not zero: packets of the data plane, then datagrams that IKE dropped.
    pub fn counters(&self) -> Vec<(String, u64)> {
        let packets = self.plane.counters().all().into_iter().map(|(name, count)| (name.to_string(), count));
        let ike = self.ike.dropped().map(|(why, count)| (format!("ike: {why}"), count));
        packets.chain(ike).filter(|(_, count)| *count != 0).collect()
    }
}
