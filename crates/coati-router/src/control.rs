//! The control plane of one router: SPD and SAD, IKE, OSPF, and what each has to hear of the others.
//!
//! ```text
//!   packets that wait ─▶ Plane ──ACQUIRE, EXPIRE──▶ IKE ──GETSPI, UPDATE, ADD──▶ Plane ──tunnel up──▶ OSPF ──▶ routes
//!                                                    │ peer dead                                        ▲
//!                                                    └──────────────────────────────────────────────────┘
//! ```
//!
//! Sans-IO: the daemon and the simulator drive the same one.

mod by_hand;
mod command;
mod kernel_routes;
mod orders;
mod unsent;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use coati_bfd as bfd;
use coati_config::ospfd::{DebugOspf, OspfConf};
use coati_config::site::Site;
use coati_crypto::RandomSource;
use coati_ike as ike;
use coati_ipsec::Packet;
use coati_ospf as ospf;
use coati_sadb::{Expire, Notification, PolicyId, Refusal, Reply, Request, SaProto, SaState, Spi};
use coati_wire::ipv4;
use coati_wire::too_big::Message;

pub use command::Reloaded;

use self::by_hand::ByHand;
use crate::admin::{IsakmpStatus, Milestone, NeighbourStatus, RouteStatus, TunnelStatus};
use crate::forwarder::Tunnel;
use crate::ike_config::ike_config;
use crate::ospf_config::{
    SystemRoute, bfd_times, engine_config, engine_debug, externals, interfaces, router_id,
};
use crate::plane::{Plane, PlaneEvent};
use crate::routes::{KernelRoute, RouteOrigin, StaticRoutes, has_far_gateways};

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
    /// An SA with keys by hand has reached its hard limit: nobody makes a new one.
    HandKeysEnded(Expire),
    /// A request that IKE made to the data plane, and that did not come from outside.
    Request(Request),
    /// Packets can leave through this tunnel, or no longer.
    Tunnel {
        /// Its index.
        index: usize,
        /// Whether they can.
        up: bool,
    },
    /// A router on the way between these addresses lets no larger packets through.
    Path {
        /// Ours.
        local: IpAddr,
        /// The peer's.
        remote: IpAddr,
        /// In bytes, the outer header included.
        mtu: u32,
        /// Who said so.
        router: IpAddr,
    },
    /// OSPF tells; routes that have changed are [`Control::kernel_routes`].
    Ospf(ospf::Event),
    /// Though OSPF's routes have not changed, to these destinations there may be others: static ones, or by other
    /// distances.
    ChosenRoutes(Vec<(Ipv4Addr, u8)>),
    /// BFD tells.
    Bfd(bfd::Event),
}

/// A tunnel without an SA keeps its OSPF neighbour for so long: a renewal may be on its way.
const TUNNEL_GRACE: Duration = Duration::from_secs(3);

/// From here on a timer has come late: a peer might wait for it.
const LATE: Duration = Duration::from_millis(20);

/// The control plane.
pub struct Control {
    plane: Plane,
    ike: ike::Engine,
    ospf_conf: Option<OspfConf>,
    /// What is told about OSPF: what the file says, until somebody says otherwise.
    debug: DebugOspf,
    /// What OSPF has kept from before, and whether its last end was a crash.
    memory: (ospf::Memory, bool),
    /// There is one as soon as there are interfaces.
    ospf: Option<ospf::Engine>,
    /// What one that is gone has still to say.
    last_of_ospf: VecDeque<ospf::Transmit>,
    /// Sessions with OSPF's neighbours.
    bfd: bfd::Engine,
    /// Which ones there are has to be looked at.
    bfd_stale: bool,
    /// Other static routes may be in use than before.
    externals_stale: bool,
    /// What was said of routes that would swallow a tunnel.
    told_swallowing: BTreeMap<(Ipv4Addr, u8), String>,
    by_hand: ByHand,
    /// Interfaces that OSPF has.
    links: BTreeMap<u32, (ospf::Link, ospf::InterfaceConfig)>,
    /// Those that it does not have.
    other_links: Vec<ospf::Link>,
    /// All of them, as they were told last.
    system_links: Vec<ospf::Link>,
    own_addresses: BTreeSet<Ipv4Addr>,
    system_routes: Vec<SystemRoute>,
    /// Static routes of the file that can be used, and what was said of those that cannot.
    static_routes: StaticRoutes,
    told_static: Vec<String>,
    /// What the kernel has not taken, and why.
    refused_routes: BTreeMap<(Ipv4Addr, u8), String>,
    /// Packets of OSPF that the system does not take.
    unsent: unsent::Unsent,
    /// What computations are timed by.
    stopwatch: Option<fn() -> Instant>,
    tunnels: Vec<Tunnel>,
    /// Names of the interfaces that are up.
    present: BTreeSet<String>,
    /// When a tunnel that has no SA any more is given up, by its index.
    tunnel_ends: BTreeMap<usize, Instant>,
    randomness: Box<dyn FnMut() -> Box<dyn RandomSource>>,
    /// How late a timer was done at the most, and how often later than [`LATE`].
    latest: Duration,
    late: u64,
    events: VecDeque<ControlEvent>,
}

impl Control {
    /// IKE and OSPF of this site over a data plane that has its policies already.
    pub fn new(
        site: &Site,
        plane: Plane,
        mut randomness: impl FnMut() -> Box<dyn RandomSource> + 'static,
    ) -> Self {
        let mut ike = ike::Engine::new(ike_config(site), randomness());
        ike.handle_policies(&plane.policies());
        let tunnels = plane.tables().load().tunnels.clone();
        Self {
            plane,
            ike,
            ospf_conf: site.ospf.clone(),
            debug: site.ospf.as_ref().map(|conf| conf.debug).unwrap_or_default(),
            memory: Default::default(),
            ospf: None,
            last_of_ospf: VecDeque::new(),
            bfd: bfd::Engine::new(randomness()),
            bfd_stale: false,
            externals_stale: false,
            told_swallowing: BTreeMap::new(),
            links: BTreeMap::new(),
            other_links: Vec::new(),
            system_links: Vec::new(),
            own_addresses: BTreeSet::new(),
            system_routes: Vec::new(),
            static_routes: StaticRoutes::default(),
            told_static: Vec::new(),
            refused_routes: BTreeMap::new(),
            unsent: unsent::Unsent::default(),
            stopwatch: None,
            tunnels,
            by_hand: ByHand::of(site.statements.iter().map(|it| &it.request)),
            present: BTreeSet::new(),
            tunnel_ends: BTreeMap::new(),
            randomness: Box::new(randomness),
            latest: Duration::ZERO,
            late: 0,
            events: VecDeque::new(),
        }
    }

    /// The interfaces of this host as they are now, each once with each of its addresses; those that are down are left
    /// out. OSPF speaks with the first of an interface's addresses that it is told to.
    pub fn handle_interfaces(&mut self, now: Now, links: Vec<ospf::Link>) {
        self.present = links.iter().map(|link| link.name.clone()).collect();
        self.own_addresses = links.iter().map(|link| link.address).collect();
        self.system_links.clone_from(&links);
        let by_address = links.iter().map(|link| (IpAddr::V4(link.address), link.mtu)).collect();
        let by_name = links.iter().map(|link| (link.name.clone(), link.mtu)).collect();
        self.plane.set_links(by_address, &by_name);
        self.find_static_routes();
        let Some(conf) = self.ospf_conf.as_ref().filter(|conf| conf.enabled) else { return };
        let id = router_id(conf, &links);
        let (wanted, others) = interfaces(conf, links);
        if self.ospf.is_none() {
            let Some(router_id) = id else { return };
            let mut engine = ospf::Engine::new(engine_config(conf, router_id), (self.randomness)());
            engine.set_clock(now.at, now.wall);
            engine.set_debug(engine_debug(&self.debug));
            if let Some(read) = self.stopwatch {
                engine.set_stopwatch(read);
            }
            let (memory, crashed) = std::mem::take(&mut self.memory);
            engine.recall(memory);
            // Tunnels of ours have not gone on without us.
            engine.begin_restart(now.at, crashed && self.tunnels.is_empty());
            self.ospf = Some(engine);
        }
        let Some(engine) = &mut self.ospf else { return };
        engine.set_clock(now.at, now.wall);
        let gone: Vec<u32> = self.links.keys().filter(|index| !wanted.contains_key(index)).copied().collect();
        for index in gone {
            engine.interface_down(now.at, index);
        }
        for (link, config) in wanted.values() {
            engine.interface_up(now.at, link.clone(), config.clone());
        }
        self.unsent.keep(|index| wanted.contains_key(&index));
        self.links = wanted;
        (0..self.tunnels.len()).for_each(|index| self.tell_carried(index));
        self.other_links = others;
        self.set_externals(now);
        self.bfd_stale = true;
        self.settle(now);
    }

    /// What OSPF is to advertise of routes that are not its own; static ones as far as they are in use.
    fn set_externals(&mut self, now: Now) {
        let in_use = |route: &SystemRoute| {
            let chosen = self.kernel_route(route.network, route.prefix_len);
            chosen.is_some_and(|chosen| chosen.origin == RouteOrigin::Static)
                && !self.refused_routes.contains_key(&(route.network, route.prefix_len))
        };
        let fixed: Vec<SystemRoute> = self.static_routes.for_ospf().into_iter().filter(in_use).collect();
        if let (Some(conf), Some(engine)) = (&self.ospf_conf, &mut self.ospf) {
            engine.set_externals(now.at, externals(conf, &self.other_links, &self.system_routes, &fixed));
        }
    }

    /// What computations are timed by, for `show ip ospf` alone.
    pub fn set_stopwatch(&mut self, read: fn() -> Instant) {
        self.stopwatch = Some(read);
    }

    /// What OSPF has kept from before, to be told before the first interfaces. `crashed`: the program did not end in
    /// order, and routes of its are in the kernel.
    pub fn recall(&mut self, memory: ospf::Memory, crashed: bool) {
        self.memory = (memory, crashed);
    }

    /// What OSPF has heard up to now is to be kept too.
    pub fn remember_numbers(&mut self) {
        if let Some(engine) = &mut self.ospf {
            engine.remember_numbers();
        }
    }

    /// What to keep of OSPF over restarts.
    pub fn memory(&self) -> &ospf::Memory {
        self.ospf.as_ref().map_or(&self.memory.0, ospf::Engine::memory)
    }

    /// Whether the program may end without a word to OSPF's neighbours, who wait for it, and leave its routes where they
    /// are; and whether they have all said so.
    pub fn is_prepared_to_restart(&self) -> (bool, bool) {
        let engine = self.ospf.as_ref().filter(|engine| engine.is_prepared());
        engine.map_or((false, false), |engine| (true, engine.is_restart_acknowledged()))
    }

    /// Whether [`Self::kernel_routes`] is all that the kernel should have of ours: after a graceful restart, or as long as
    /// OSPF has not begun, there may be more from before.
    pub fn knows_its_routes(&self) -> bool {
        let has_ospf = self.ospf_conf.as_ref().is_some_and(|conf| conf.enabled);
        match &self.ospf {
            Some(engine) => !engine.is_restarting() && engine.has_computed(),
            None => !has_ospf,
        }
    }

    /// Whether OSPF advertises routes of the kernel.
    pub fn wants_kernel_routes(&self) -> bool {
        use coati_config::ospfd::RouteSource;
        let conf = self.ospf_conf.as_ref();
        conf.is_some_and(|conf| {
            conf.default_information.is_some()
                || conf.redistribute.iter().any(|rule| rule.source == RouteSource::Kernel)
        })
    }

    /// Routes that others have put into the kernel, as they are now.
    pub fn handle_kernel_routes(&mut self, now: Now, routes: Vec<SystemRoute>) {
        self.system_routes = routes;
        self.set_externals(now);
        self.settle(now);
    }

    /// The interfaces on which OSPF speaks.
    pub fn ospf_links(&self) -> impl Iterator<Item = &ospf::Link> {
        let active = |(_, config): &&(ospf::Link, ospf::InterfaceConfig)| !config.passive;
        self.links.values().filter(active).map(|(link, _)| link)
    }

    /// Those of them on which it listens to AllDRouters too, by index.
    pub fn ospf_designated(&self) -> BTreeSet<u32> {
        self.ospf.iter().flat_map(ospf::Engine::designated_on).collect()
    }

    /// An IPv4 packet of OSPF.
    pub fn handle_ospf(&mut self, now: Now, interface: u32, packet: &[u8]) {
        self.handle_ospf_together(now, std::iter::once((interface, packet)));
    }

    /// IPv4 packets of OSPF that have come together.
    pub fn handle_ospf_together<'a>(&mut self, now: Now, packets: impl Iterator<Item = (u32, &'a [u8])>) {
        let Some(engine) = &mut self.ospf else { return };
        let input = |(interface, packet): (u32, &'a [u8])| {
            let packet = ipv4::Packet::new_checked(packet).ok()?;
            let (source, destination, ttl) = (packet.source(), packet.destination(), packet.ttl());
            Some(ospf::Input { interface, source, destination, ttl, payload: packet.payload() })
        };
        engine.handle_inputs(now.at, packets.filter_map(input));
        self.settle(now);
    }

    /// Whether policies may be others since the last call, or since the beginning.
    pub fn take_policies_changed(&mut self) -> bool {
        self.plane.take_policies_changed()
    }

    /// A datagram that has come to BFD's port.
    pub fn handle_bfd(&mut self, now: Now, input: &bfd::Input<'_>) {
        self.bfd.handle_input(now.at, input);
        self.settle(now);
    }

    /// The next datagram of BFD to send.
    pub fn poll_bfd(&mut self) -> Option<bfd::Transmit> {
        self.bfd.poll_transmit()
    }

    /// The interfaces on which BFD speaks, with their names and our addresses there.
    pub fn bfd_interfaces(&self) -> BTreeMap<u32, (&str, Ipv4Addr)> {
        self.bfd.interfaces()
    }

    /// A session for each neighbour that OSPF is adjacent to, or about to be, where the file wants one.
    fn set_bfd_sessions(&mut self, now: Now) {
        let (Some(conf), Some(engine)) = (&self.ospf_conf, &self.ospf) else { return };
        let links = self.links.values().map(|(link, _)| link);
        let links: BTreeMap<&str, (&ospf::Link, _)> =
            links.filter_map(|link| Some((link.name.as_str(), (link, bfd_times(conf, link)?)))).collect();
        let wanted = |neighbour: ospf::NeighbourInfo| {
            let (link, times) = *links.get(neighbour.interface.as_str())?;
            let ends = bfd::Ends { interface: link.index, peer: neighbour.address };
            (neighbour.state >= ospf::State::ExStart).then(|| bfd::Wanted {
                ends,
                name: link.name.clone(),
                local: link.address,
                times,
            })
        };
        let wanted = engine.neighbours().filter_map(wanted).collect();
        self.bfd.set_sessions(now.at, wanted);
    }

    fn bfd_event(&mut self, now: Now, event: bfd::Event) {
        // One that is switched off at the other end says nothing about the path (RFC 5882 section 3.2).
        if let (bfd::Event::Down { ends, switched_off: false, .. }, Some(engine)) = (&event, &mut self.ospf) {
            engine.neighbour_dead(now.at, ends.interface, ends.peer, "BFD says so");
        }
        self.events.push_back(ControlEvent::Bfd(event));
    }

    /// The next packet of OSPF to send.
    pub fn poll_ospf(&mut self) -> Option<ospf::Transmit> {
        self.last_of_ospf.pop_front().or_else(|| self.ospf.as_mut()?.poll_transmit())
    }

    fn link_of_tunnel(&self, tunnel: &Tunnel) -> Option<u32> {
        self.links.values().find(|(link, _)| link.name == tunnel.name).map(|(link, _)| link.index)
    }

    fn link_dead(&mut self, now: Now, tunnel: &Tunnel) {
        if let (Some(index), Some(engine)) = (self.link_of_tunnel(tunnel), &mut self.ospf) {
            engine.link_dead(now.at, index);
        }
    }

    fn tunnel_changed(&mut self, now: Now, index: usize, up: bool) {
        if !up {
            self.tunnel_ends.insert(index, now.at + TUNNEL_GRACE);
            return;
        }
        self.tunnel_ends.remove(&index);
        let Some(tunnel) = self.tunnels.get(index) else { return };
        if let (Some(link), Some(engine)) = (self.link_of_tunnel(tunnel), &mut self.ospf) {
            engine.link_alive(now.at, link);
        }
        self.tell_carried(index);
    }

    /// Tells OSPF how large a packet the path of the tunnel of this index carries.
    fn tell_carried(&mut self, index: usize) {
        let Some(link) = self.tunnels.get(index).and_then(|tunnel| self.link_of_tunnel(tunnel)) else {
            return;
        };
        let carried = self.plane.carried(index).and_then(|carried| u32::try_from(carried).ok());
        if let Some(engine) = &mut self.ospf {
            engine.set_carried(link, carried);
        }
    }

    fn end_tunnels(&mut self, now: Now) {
        let over: Vec<usize> =
            self.tunnel_ends.iter().filter(|(_, end)| **end <= now.at).map(|(index, _)| *index).collect();
        for index in over {
            self.tunnel_ends.remove(&index);
            if let Some(tunnel) = self.tunnels.get(index).cloned() {
                self.link_dead(now, &tunnel);
            }
        }
    }

    /// The data plane.
    pub fn plane(&self) -> &Plane {
        &self.plane
    }

    /// A kernel that has SPD and SAD may have said something.
    pub fn handle_kernel(&mut self, now: Now) {
        self.plane.hear(now.wall);
        self.settle(now);
    }

    /// A UDP datagram of IKE.
    pub fn handle_ike(&mut self, now: Now, local: SocketAddr, remote: SocketAddr, datagram: &[u8]) {
        self.ike.handle_clock(now.at, now.wall);
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

    /// A router says that a packet of ours was too big.
    pub fn handle_too_big(&mut self, now: Now, router: IpAddr, message: &Message<'_>) {
        if let Some((local, remote, mtu)) = self.plane.too_big(now.at, message) {
            self.events.push_back(ControlEvent::Path { local, remote, mtu, router });
            self.settle(now);
        }
    }

    /// An exponentiation is done.
    pub fn handle_job(&mut self, now: Now, done: ike::JobDone) {
        self.ike.handle_clock(now.at, now.wall);
        self.ike.handle_job(now.at, done);
        self.settle(now);
    }

    /// One request from outside.
    pub fn request(&mut self, now: Now, request: Request) -> Reply {
        let none = || Reply::Refused { refusal: Refusal::Invalid("no request".into()) };
        self.requests(now, vec![request]).pop().unwrap_or_else(none)
    }

    /// Requests from outside, as `setkey` makes them, carried out as if at one moment; none of them when one can never be.
    pub fn requests(&mut self, now: Now, requests: Vec<Request>) -> Vec<Reply> {
        if let Err(refused) = self.plane.check(now.at, now.wall, &requests) {
            return refused;
        }
        let changes_policies = |request: &Request| {
            matches!(
                request,
                Request::SpdAdd(_) | Request::SpdUpdate(_) | Request::SpdDelete(..) | Request::SpdFlush
            )
        };
        let changes_policies = requests.iter().any(changes_policies);
        for request in &requests {
            self.by_hand.follow(request);
        }
        // What IKE has negotiated and somebody removes is gone at the peer too, or it would go on sending with it.
        for request in &requests {
            match request {
                Request::Flush(None | Some(SaProto::Esp)) => self.ike.flush_pairs(),
                Request::Delete(id) => self.ike.delete_pair_of(id),
                Request::DeleteAll { source, destination, proto } => {
                    let pairs = self.ike.pairs().into_iter().flat_map(|pair| [pair.inbound, pair.outbound]);
                    let doomed = pairs.filter(|id| {
                        (id.source, id.destination, id.proto) == (*source, *destination, *proto)
                    });
                    doomed.collect::<Vec<_>>().iter().for_each(|id| self.ike.delete_pair_of(id));
                }
                _ => {}
            }
        }
        let replies = self.plane.requests(now.at, now.wall, requests);
        if changes_policies {
            self.ike.handle_policies(&self.plane.policies());
        }
        self.settle(now);
        replies
    }

    /// The earliest time at which [`Control::handle_timeout`] has something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        let ospf = self.ospf.as_ref().and_then(ospf::Engine::next_timeout);
        let ends = self.tunnel_ends.values().min().copied();
        let bfd = self.bfd.next_timeout();
        [self.plane.next_timeout(), self.ike.next_timeout(), ospf, bfd, ends].into_iter().flatten().min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        if let Some(late) = self.next_timeout().and_then(|due| now.at.checked_duration_since(due)) {
            self.latest = self.latest.max(late);
            self.late += u64::from(late > LATE);
        }
        self.plane.handle_timeout(now.at, now.wall);
        self.ike.handle_clock(now.at, now.wall);
        self.ike.handle_timeout(now.at);
        self.end_tunnels(now);
        self.bfd.handle_timeout(now.at);
        if let Some(engine) = &mut self.ospf {
            engine.set_clock(now.at, now.wall);
            engine.handle_timeout(now.at);
        }
        self.settle(now);
    }

    /// Takes leave of OSPF's neighbours, which needs the tunnels still.
    pub fn shutdown(&mut self, now: Now) {
        match &mut self.ospf {
            // Sessions that are switched off say nothing about the path, so nobody takes us for dead.
            Some(engine) if engine.is_prepared() => self.bfd.set_sessions(now.at, Vec::new()),
            Some(engine) => {
                engine.shutdown(now.at);
                self.forget_static_routes();
            }
            None => self.forget_static_routes(),
        }
        self.settle(now);
    }

    /// The last step of a shutdown, when OSPF's last packets are gone.
    pub fn shutdown_ike(&mut self, now: Now) {
        self.ike.shutdown();
        self.settle(now);
    }

    /// Lets the parts hear of each other until nobody has anything to say.
    fn settle(&mut self, now: Now) {
        // Certificates are held against it by whatever IKE begins below.
        self.ike.handle_clock(now.at, now.wall);
        loop {
            if let Some(event) = self.plane.poll_event() {
                self.plane_event(now, event);
            } else if let Some((tag, request)) = self.ike.poll_request() {
                self.events.push_back(ControlEvent::Request(request.clone()));
                let reply = self.plane.request(now.at, now.wall, request);
                self.ike.handle_reply(now.at, tag, &reply);
            } else if let Some(event) = self.ike.poll_event() {
                self.ike_event(now, event);
            } else if let Some(event) = self.ospf.as_mut().and_then(ospf::Engine::poll_event) {
                self.ospf_event(event);
            } else if let Some(event) = self.bfd.poll_event() {
                self.bfd_event(now, event);
            } else if std::mem::take(&mut self.bfd_stale) {
                self.set_bfd_sessions(now);
            } else if std::mem::take(&mut self.externals_stale) {
                self.set_externals(now);
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
                self.tunnel_changed(now, index, up);
            }
            PlaneEvent::Paths => (0..self.tunnels.len()).for_each(|index| self.tell_carried(index)),
            PlaneEvent::Policies => self.ike.handle_policies(&self.plane.policies()),
            PlaneEvent::Notification(notification) => {
                match &notification {
                    Notification::Acquire(acquire) => {
                        self.events.push_back(ControlEvent::Reached(Milestone::FirstPacket));
                        self.ike.handle_acquire(now.at, acquire);
                    }
                    Notification::Expire(expire) => {
                        if self.by_hand.ends(expire) {
                            self.events.push_back(ControlEvent::HandKeysEnded(expire.clone()));
                        }
                        self.ike.handle_expire(now.at, expire);
                    }
                    Notification::Moved { id, port } => self.ike.handle_moved(id, *port),
                    Notification::UnknownSpi { source, destination, spi } => {
                        self.ike.handle_unknown_spi(now.at, *source, *destination, *spi);
                    }
                }
                self.events.push_back(ControlEvent::Notification(notification));
            }
        }
    }

    fn ospf_event(&mut self, event: ospf::Event) {
        if matches!(event, ospf::Event::NeighbourState { to: ospf::State::Full, .. }) {
            self.events.push_back(ControlEvent::Reached(Milestone::OspfFull));
        }
        if let ospf::Event::RoutesChanged(moved) = &event {
            for (network, prefix_len) in moved {
                self.tell_swallowing(*network, *prefix_len);
                self.externals_stale |= self.static_routes.get(*network, *prefix_len).is_some();
            }
            let links = &self.system_links;
            if self.ospf_conf.as_ref().is_some_and(|conf| has_far_gateways(conf, links)) {
                self.find_static_routes();
                self.externals_stale = true;
            }
        }
        self.bfd_stale |= matches!(event, ospf::Event::NeighbourState { .. });
        self.events.push_back(ControlEvent::Ospf(event));
    }

    fn ike_event(&mut self, now: Now, event: ike::Event) {
        if let ike::Event::PeerDead { remote } = &event {
            let dead: Vec<Tunnel> =
                self.tunnels.iter().filter(|tunnel| tunnel.remote == *remote).cloned().collect();
            for tunnel in dead {
                self.link_dead(now, &tunnel);
            }
        }
        let reached = match &event {
            ike::Event::Phase1Begun { .. } => Some(Milestone::MainMode),
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

    /// From now on [`Self::poll_exposed_key`] has the key of each new ISAKMP SA.
    pub fn expose_keys(&mut self) {
        self.ike.expose_keys();
    }

    /// The next key of an ISAKMP SA.
    pub fn poll_exposed_key(&mut self) -> Option<ike::ExposedKey> {
        self.ike.poll_exposed_key()
    }

    /// The next piece of work for another thread.
    pub fn poll_job(&mut self) -> Option<ike::Job> {
        self.ike.poll_job()
    }

    /// The next login to be decided about, with what the system knows of its users.
    pub fn poll_login(&mut self) -> Option<ike::LoginRequest> {
        self.ike.poll_login()
    }

    /// The verdict on a login.
    pub fn handle_login(&mut self, now: Now, id: u64, passed: bool) {
        self.ike.handle_login(now.at, id, passed);
        self.settle(now);
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
        Self::statuses(now, self.ike.isakmp_sas())
    }

    /// The ISAKMP SAs with the peer at this address.
    pub fn isakmp_with(&self, now: Now, remote: IpAddr) -> Vec<IsakmpStatus> {
        Self::statuses(now, self.ike.isakmp_sas_with(remote))
    }

    fn statuses(now: Now, sas: Vec<ike::IsakmpSa>) -> Vec<IsakmpStatus> {
        let status = |sa: ike::IsakmpSa| IsakmpStatus {
            local: sa.local,
            remote: sa.remote,
            initiator_cookie: sa.initiator_cookie,
            responder_cookie: sa.responder_cookie,
            state: sa.state,
            initiator: sa.initiator,
            version: 0x10,
            exchange: match sa.exchange {
                ike::ExchangeMode::Main => 2,
                ike::ExchangeMode::Aggressive => 4,
            },
            created: sa.established.map_or(0, |since| {
                now.wall.saturating_sub(now.at.saturating_duration_since(since).as_secs())
            }),
            phase2: sa.phase2,
            identity: sa.identity,
        };
        sas.into_iter().map(status).collect()
    }

    /// The last failed negotiation of each peer, explained.
    pub fn failures(&mut self, now: Now) -> Vec<String> {
        // Where keys are given by hand, nobody has to negotiate with the peer.
        let keyed: BTreeSet<IpAddr> = match self.plane.request(now.at, now.wall, Request::Dump(None)) {
            Reply::Sas { sas } => {
                sas.iter().filter(|sa| sa.state != SaState::Larval).map(|sa| sa.id.destination).collect()
            }
            _ => BTreeSet::new(),
        };
        // What somebody unproved does in a peer's name breaks nothing while there is an ISAKMP SA with it.
        let sas = self.ike.isakmp_sas();
        let is_up = |peer: IpAddr| sas.iter().any(|sa| sa.established.is_some() && sa.remote.ip() == peer);
        let matters = |failure: &&ike::Failure| match failure.stage {
            ike::Stage::Phase1 => !is_up(failure.remote),
            ike::Stage::Start => !keyed.contains(&failure.remote),
            _ => true,
        };
        self.ike.failures().filter(matters).map(ToString::to_string).collect()
    }

    /// What else is wrong, explained: with interfaces, keys by hand, and what OSPF finds.
    pub fn problems(&self, now: Now) -> Vec<String> {
        let gone = self.tunnels.iter().filter(|tunnel| !self.present.contains(&tunnel.name));
        let gone = gone.map(|tunnel| format!("{}: the interface is down or gone", tunnel.name));
        let ospf = self.ospf.iter().flat_map(ospf::Engine::problems);
        let repeated = self.by_hand.repeated(&self.plane, now.wall);
        let others = self.unsent.problems().chain(self.route_problems());
        gone.chain(repeated).chain(ospf).chain(others).chain(self.told_swallowing.values().cloned()).collect()
    }

    /// A `show` command of the routing daemon; an error says which ones there are.
    pub fn show(&self, now: Now, words: &[&str]) -> Result<String, String> {
        match &self.ospf {
            _ if words == ["debugging", "ospf"] || words == ["debugging"] => Ok(self.debugging()),
            _ if matches!(words, ["ip", "route", ..]) => self.show_routes(words),
            _ if words.first() == Some(&"bfd") => self.bfd.show(now.at, words),
            Some(engine) => engine.show(now.at, words),
            None => Err(orders::NOT_CONFIGURED.into()),
        }
    }

    /// OSPF's neighbours.
    pub fn neighbours(&self) -> Vec<NeighbourStatus> {
        let status = |neighbour: ospf::NeighbourInfo| NeighbourStatus {
            router_id: neighbour.router_id.to_string(),
            address: neighbour.address.to_string(),
            interface: neighbour.interface,
            state: neighbour.state.name().to_owned(),
        };
        self.ospf.iter().flat_map(ospf::Engine::neighbours).map(status).collect()
    }

    /// The routes that the kernel gets from OSPF and the file.
    pub fn routes(&self) -> Vec<RouteStatus> {
        let status = |route: KernelRoute| {
            let first = route.gateways.first();
            let link =
                first.and_then(|(_, index)| self.system_links.iter().find(|link| link.index == *index));
            RouteStatus {
                prefix: format!("{}/{}", route.network, route.prefix_len),
                via: first
                    .filter(|(gateway, _)| !gateway.is_unspecified())
                    .map(|(gateway, _)| gateway.to_string()),
                interface: link.map_or(String::new(), |link| link.name.clone()),
                metric: self.cost(&route),
                origin: route.origin.name().to_owned(),
                distance: route.distance,
                refused: self.refused_routes.get(&(route.network, route.prefix_len)).cloned(),
            }
        };
        self.kernel_routes().into_iter().map(status).collect()
    }

    /// The tunnels with their SAs.
    pub fn tunnels(&mut self, now: Now, site: &Site) -> Vec<TunnelStatus> {
        let sas = match self.plane.request(now.at, now.wall, Request::Dump(None)) {
            Reply::Sas { sas } => sas,
            _ => Vec::new(),
        };
        let tunnel = |(index, tunnel): (usize, &coati_config::rc_conf::GreTunnel)| {
            let spis = |source: IpAddr, destination: IpAddr| {
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
                local: tunnel.local,
                remote: tunnel.remote,
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
        let packets = self.plane.counters().into_iter();
        let ike = self.ike.dropped().map(|(why, count)| (format!("ike: {why}"), count));
        let ospf = self.ospf.iter().flat_map(ospf::Engine::dropped);
        let ospf = ospf.map(|(why, count)| (format!("ospf: {why}"), count));
        let unsent = ("ospf: packets that the system did not take".to_owned(), self.unsent.count);
        let bfd = self.bfd.dropped().map(|(why, count)| (format!("bfd: {why}"), count));
        let latest = u64::try_from(self.latest.as_millis()).unwrap_or(u64::MAX);
        let timers = [
            ("timers: late by more than 20 ms".to_owned(), self.late),
            ("timers: ms that the latest was late".to_owned(), latest),
        ];
        packets
            .chain(ike)
            .chain(ospf)
            .chain([unsent])
            .chain(bfd)
            .chain(timers)
            .filter(|(_, count)| *count != 0)
            .collect()
    }
}
