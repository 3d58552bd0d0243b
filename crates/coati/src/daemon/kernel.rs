//! What OSPF needs of the kernel: interfaces, a raw socket on each of them, routes; and the routes of policies in tunnel
//! mode.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use coati_os::group::Group;
use coati_os::netlink::{
    Monitor, Netlink, News, PROTOCOL_FILE, PROTOCOL_IPSEC, PROTOCOL_OSPF, Paths, Route, RouteChange,
    RouteNews,
};
use coati_os::raw::{BfdSocket, OspfSocket};
use coati_ospf::{Link, Transmit};
use coati_router::{INSIDE, InsideRoute, KernelRoute, RouteOrigin, SystemRoute};

/// Metric of our routes in the kernel's table: what FRR's have.
const ROUTE_METRIC: u32 = 20;
/// Metric of those for policies in tunnel mode: a policy is written by hand, so its route comes before OSPF's.
const INSIDE_METRIC: u32 = 10;
/// Packets of one interface that are taken in one go.
const BURST: usize = 64;
/// Between two times that something is done which others may cause again and again.
const PACE: Duration = Duration::from_secs(1);
/// Whose routes OSPF does not advertise with `redistribute kernel`: redirects' (RTPROT_REDIRECT), the kernel's own to
/// networks of interfaces (RTPROT_KERNEL), and ours.
const NOT_OTHERS: [u8; 5] = [1, 2, PROTOCOL_OSPF, PROTOCOL_FILE, PROTOCOL_IPSEC];

/// A network, and the length of its prefix.
pub type Destination = (Ipv4Addr, u8);
/// Next hops of a route, each with its interface.
type Hops = Arc<[(Ipv4Addr, u32)]>;

/// The number by which the kernel knows who made a route.
fn protocol(origin: RouteOrigin) -> u8 {
    match origin {
        RouteOrigin::Ospf => PROTOCOL_OSPF,
        RouteOrigin::Static => PROTOCOL_FILE,
    }
}

/// Netlink, and OSPF's sockets by interface.
#[derive(Debug)]
pub struct Kernel {
    netlink: Netlink,
    monitor: Monitor,
    /// The monitor, and all sockets.
    group: Group,
    sockets: BTreeMap<u32, (Ipv4Addr, OspfSocket)>,
    /// BFD's.
    bfd: BTreeMap<u32, (Ipv4Addr, BfdSocket)>,
    /// Interfaces on which AllDRouters is listened to.
    designated: BTreeSet<u32>,
    /// By destination the protocol and the next hops.
    installed: BTreeMap<Destination, (u8, Hops)>,
    /// What the kernel does not take, and why.
    refused: BTreeMap<Destination, String>,
    /// What others have removed from the table, and when ours are to be put there.
    removed: BTreeSet<Destination>,
    put_again: Paced,
    /// When the routes of others are to be read again.
    read_others: Paced,
    /// What is put there even if it should be there already.
    anew: BTreeSet<Destination>,
    /// How fast interfaces say to be, by index and name; asked once.
    speeds: BTreeMap<(u32, String), Option<u32>>,
    /// The interface for policies in tunnel mode.
    inside: Option<u32>,
    inside_routes: BTreeSet<InsideRoute>,
}

/// What can be read: what the monitor has heard, and the interfaces of sockets of OSPF and of BFD.
#[derive(Debug, Default)]
pub struct Ready {
    pub news: News,
    ospf: Vec<u32>,
    bfd: Vec<u32>,
}

/// Names of the group's members: this one, and an interface index with one of the others in front.
const MONITOR: u64 = 0;
const OSPF: u64 = 1 << 32;
const BFD: u64 = 2 << 32;

/// Opens and closes sockets until there is one for each of these interfaces: by index its name and our address there.
fn keep_open<S: AsFd>(
    sockets: &mut BTreeMap<u32, (Ipv4Addr, S)>,
    (group, protocol): (&Group, u64),
    wanted: &BTreeMap<u32, (&str, Ipv4Addr)>,
    open: impl Fn(u32, &str, Ipv4Addr) -> io::Result<S>,
) -> Vec<io::Error> {
    sockets.retain(|index, (address, _)| wanted.get(index).is_some_and(|(_, own)| own == address));
    let mut errors = Vec::new();
    for (index, (name, address)) in wanted {
        if sockets.contains_key(index) {
            continue;
        }
        let opened = open(*index, name, *address)
            .and_then(|socket| group.add(&socket, protocol | u64::from(*index)).map(|()| socket));
        match opened {
            Ok(socket) => drop(sockets.insert(*index, (*address, socket))),
            Err(error) => errors.push(error),
        }
    }
    errors
}

/// Names the protocol and the interface of a socket that could not be opened.
fn while_opening(protocol: &str, name: &str) -> impl FnOnce(io::Error) -> io::Error {
    move |error| {
        let advice = match error.kind() {
            io::ErrorKind::AddrInUse => " (another daemon has its port: stop that)",
            _ => "",
        };
        io::Error::new(error.kind(), format!("{protocol} socket on {name}: {error}{advice}"))
    }
}

impl Kernel {
    /// Watches interfaces from now on. Routes that a predecessor has left behind count as installed, so that they go
    /// when OSPF does not know them.
    pub fn new(mut netlink: Netlink, inside: Option<u32>) -> io::Result<Self> {
        let (monitor, group) = (Monitor::new(&netlink)?, Group::new()?);
        group.add(&monitor, MONITOR)?;
        let installed = ours(&mut netlink)?;
        let (sockets, designated) = (BTreeMap::new(), BTreeSet::new());
        let inside_routes = BTreeSet::new();
        let (bfd, speeds) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self {
            netlink,
            monitor,
            group,
            sockets,
            bfd,
            designated,
            installed,
            refused: BTreeMap::new(),
            removed: BTreeSet::new(),
            put_again: Paced::default(),
            read_others: Paced::default(),
            anew: BTreeSet::new(),
            speeds,
            inside,
            inside_routes,
        })
    }

    /// What to wait for.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.group.as_fd()
    }

    /// What can be read.
    pub fn ready(&self) -> Ready {
        let mut ready = Ready::default();
        for name in self.group.readable() {
            let index = u32::try_from(name & u64::from(u32::MAX)).unwrap_or(0);
            match name - u64::from(index) {
                OSPF => ready.ospf.push(index),
                BFD => ready.bfd.push(index),
                _ => ready.news = self.monitor.drain(),
            }
        }
        ready
    }

    /// The interfaces that are up, each once with each of its IPv4 addresses.
    pub fn links(&mut self) -> io::Result<Vec<Link>> {
        let links = self.netlink.links()?;
        let addresses = self.netlink.addresses()?;
        let mut list = Vec::new();
        let there = |key: &(u32, String)| {
            links.iter().any(|link| link.up && link.index == key.0 && link.name == key.1)
        };
        self.speeds.retain(|key, _| there(key));
        for link in links.into_iter().filter(|link| link.up) {
            let key = (link.index, link.name.clone());
            let speed = *self.speeds.entry(key).or_insert_with(|| speed(&link.name));
            for found in addresses.iter().filter(|address| address.index == link.index) {
                // 127.0.0.1 is everybody's.
                let address = match found.local {
                    IpAddr::V4(address) if !address.is_loopback() => address,
                    _ => continue,
                };
                let peer = match found.peer {
                    Some(IpAddr::V4(peer)) => Some(peer),
                    _ => None,
                };
                list.push(Link {
                    index: link.index,
                    name: link.name.clone(),
                    address,
                    prefix_len: if link.loopback { 32 } else { found.prefix_len },
                    peer,
                    mtu: link.mtu,
                    speed,
                    point_to_point: link.point_to_point,
                    loopback: link.loopback,
                });
            }
        }
        Ok(list)
    }

    /// Routes that others have put into the kernel's main table: by hand, at boot, by DHCP, another routing daemon's.
    pub fn routes_of_others(&mut self) -> io::Result<Vec<SystemRoute>> {
        let routes = self.netlink.routes(|protocol| !NOT_OTHERS.contains(&protocol))?;
        // Addresses of one link alone are nobody's beyond it (RFC 3927 section 2.7).
        let routes = routes.into_iter().filter(|route| !route.destination.is_link_local());
        let system = |route: Route| SystemRoute {
            network: route.destination,
            prefix_len: route.prefix_len,
            gateway: route.gateway,
            tag: 0,
        };
        Ok(routes.map(system).collect())
    }

    /// Opens and closes sockets until there is one for each of these.
    pub fn speak_on<'a>(&mut self, links: impl Iterator<Item = &'a Link>) -> Vec<io::Error> {
        let wanted = links.map(|link| (link.index, (link.name.as_str(), link.address))).collect();
        let open = |index, name: &str, address| {
            OspfSocket::new(name, index, address).map_err(while_opening("OSPF", name))
        };
        let errors = keep_open(&mut self.sockets, (&self.group, OSPF), &wanted, open);
        self.designated.retain(|index| self.sockets.contains_key(index));
        errors
    }

    /// The same with BFD's.
    pub fn speak_bfd_on(&mut self, wanted: &BTreeMap<u32, (&str, Ipv4Addr)>) -> Vec<io::Error> {
        keep_open(&mut self.bfd, (&self.group, BFD), wanted, |_, name, address| {
            BfdSocket::new(name, address).map_err(while_opening("BFD", name))
        })
    }

    /// What has come to BFD's port: interface, source, TTL and payload.
    pub fn receive_bfd(&self, ready: &Ready) -> Vec<(u32, Ipv4Addr, u8, Vec<u8>)> {
        let mut buffer = [0; 256];
        let mut list = Vec::new();
        for (index, (_, socket)) in ready.bfd.iter().filter_map(|index| self.bfd.get_key_value(index)) {
            for _ in 0..BURST {
                let Ok((length, source, ttl)) = socket.receive(&mut buffer) else { break };
                list.push((*index, source, ttl, buffer.get(..length).unwrap_or(&[]).to_vec()));
            }
        }
        list
    }

    /// Sends a packet of BFD.
    pub fn send_bfd(&self, transmit: &coati_bfd::Transmit) -> io::Result<()> {
        match self.bfd.get(&transmit.interface) {
            Some((_, socket)) => socket.send(transmit.destination, &transmit.payload),
            None => Ok(()),
        }
    }

    /// Listens to AllDRouters on exactly these interfaces.
    pub fn set_designated(&mut self, wanted: &BTreeSet<u32>) -> Vec<io::Error> {
        let mut errors = Vec::new();
        let different: Vec<u32> = self.designated.symmetric_difference(wanted).copied().collect();
        for index in different {
            let Some((_, socket)) = self.sockets.get(&index) else { continue };
            let should = wanted.contains(&index);
            match socket.set_designated(should) {
                Ok(()) if should => drop(self.designated.insert(index)),
                Ok(()) => drop(self.designated.remove(&index)),
                Err(error) => errors.push(error),
            }
        }
        errors
    }

    /// What has come: interfaces, and IPv4 packets of OSPF.
    pub fn receive(&self, ready: &Ready, buffer: &mut [u8]) -> Vec<(u32, Vec<u8>)> {
        let mut list = Vec::new();
        for (index, (_, socket)) in ready.ospf.iter().filter_map(|index| self.sockets.get_key_value(index)) {
            for _ in 0..BURST {
                let Ok(length) = socket.receive(buffer) else { break };
                list.push((*index, buffer.get(..length).unwrap_or(&[]).to_vec()));
            }
        }
        list
    }

    /// Sends a packet of OSPF.
    pub fn send(&self, transmit: &Transmit) -> io::Result<()> {
        match self.sockets.get(&transmit.interface) {
            Some((_, socket)) => socket.send(transmit.destination, transmit.ttl, &transmit.payload),
            None => Ok(()),
        }
    }

    /// Makes the kernel's table have exactly these routes of ours; what went wrong for the first time.
    pub fn set_routes(&mut self, routes: Vec<KernelRoute>) -> Vec<io::Error> {
        let destination = |route: &KernelRoute| (route.network, route.prefix_len);
        let wanted: BTreeSet<_> = routes.iter().map(destination).collect();
        self.refused.retain(|refused, _| wanted.contains(refused));
        let gone = self.installed.keys().filter(|known| !wanted.contains(known)).map(|known| (*known, None));
        let changes: Vec<_> = gone.collect();
        let there = routes.into_iter().map(|route| (destination(&route), Some(route)));
        self.change_routes(changes.into_iter().chain(there))
    }

    /// The same for some destinations; `None` is no route.
    pub fn change_routes(
        &mut self,
        changes: impl Iterator<Item = (Destination, Option<KernelRoute>)>,
    ) -> Vec<io::Error> {
        let anew = std::mem::take(&mut self.anew);
        let is_new = |(destination, wanted): &(Destination, Option<KernelRoute>)| {
            let known = self.installed.get(destination).map(|(protocol, hops)| (*protocol, &**hops));
            let wanted = wanted.as_ref().map(|route| (protocol(route.origin), route.gateways.as_slice()));
            known != wanted
                || wanted.is_some() && anew.contains(destination)
                || wanted.is_none() && self.refused.contains_key(destination)
        };
        let route = |(destination, wanted): (Destination, Option<KernelRoute>)| {
            let known = self.installed.get(&destination).map(|(protocol, _)| *protocol);
            let protocol =
                wanted.as_ref().map(|route| protocol(route.origin)).or(known).unwrap_or(PROTOCOL_OSPF);
            (kernel(destination, protocol), wanted.map(|route| route.gateways))
        };
        let changes: Vec<(Route, Paths)> = changes.filter(is_new).map(route).collect();
        let is_ours = |route: &Route| self.installed.contains_key(&destination(route));
        let mut failed: BTreeMap<usize, io::Error> =
            self.netlink.change_routes(&changes, is_ours).into_iter().collect();
        let mut errors = Vec::new();
        // Most routes have one of a few sets of next hops.
        let mut sets: BTreeSet<Hops> = BTreeSet::new();
        for (index, (route, paths)) in changes.into_iter().enumerate() {
            let destination = destination(&route);
            let before = self.refused.remove(&destination);
            match (failed.remove(&index), paths) {
                (None, Some(gateways)) => {
                    let set = sets.get(gateways.as_slice()).cloned().unwrap_or_else(|| gateways.into());
                    sets.insert(set.clone());
                    self.installed.insert(destination, (route.protocol, set));
                }
                // With its interface a route goes by itself.
                (_, None) => drop(self.installed.remove(&destination)),
                (Some(error), Some(gateways)) => {
                    self.installed.remove(&destination);
                    let why = match error.kind() {
                        io::ErrorKind::AlreadyExists => IN_ITS_PLACE.to_owned(),
                        _ => error.to_string(),
                    };
                    if before.as_ref() != Some(&why) {
                        let gateways: Vec<String> = gateways.iter().map(|(g, _)| g.to_string()).collect();
                        let (network, prefix_len) = destination;
                        let text =
                            format!("route to {network}/{prefix_len} by {}: {why}", gateways.join(", "));
                        errors.push(io::Error::new(error.kind(), text));
                    }
                    self.refused.insert(destination, why);
                }
            }
        }
        errors
    }

    /// What the kernel does not take of what it was told last, and why.
    pub fn refused(&self) -> &BTreeMap<Destination, String> {
        &self.refused
    }

    /// Takes in what others have done to routes: ours are put again where they were taken away, and where the place of one
    /// that was refused is free now. One without a way may have one since anything has changed.
    pub fn hear_routes(&mut self, news: &[RouteNews]) {
        for RouteNews { route, change } in news.iter().filter(|news| news.route.metric == ROUTE_METRIC) {
            let destination = destination(route);
            let known = self.installed.get(&destination).map(|(protocol, _)| *protocol);
            match change {
                // It may have been put there again already, before this was heard.
                RouteChange::Gone
                    if known == Some(route.protocol) || self.refused.contains_key(&destination) =>
                {
                    self.removed.insert(destination);
                }
                // What we do ourselves is not heard, so it is somebody else's whatever it says.
                RouteChange::Added | RouteChange::Replacing
                    if known.is_some()
                        && (*change == RouteChange::Replacing || self.removed.contains(&destination)) =>
                {
                    self.removed.remove(&destination);
                    self.installed.remove(&destination);
                    self.refused.insert(destination, IN_ITS_PLACE.to_owned());
                }
                _ => {}
            }
        }
        if !news.is_empty() {
            let without_way = self.refused.iter().filter(|(_, why)| *why != IN_ITS_PLACE);
            self.removed.extend(without_way.map(|(destination, _)| *destination));
        }
        if !self.removed.is_empty() {
            self.put_again.ask();
        }
        if news.iter().any(|news| !NOT_OTHERS.contains(&news.route.protocol)) {
            self.read_others.ask();
        }
    }

    /// Whether others have changed routes that OSPF may advertise.
    pub fn has_news_of_others(&mut self) -> bool {
        self.read_others.is_due()
    }

    /// When [`Self::take_removed`] has some, or there is news of others.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.put_again.due.into_iter().chain(self.read_others.due).min()
    }

    /// Which routes [`Self::change_routes`] should put there, and how many of them others have removed. Not more often than
    /// once in a while: they may do it again.
    pub fn take_removed(&mut self) -> (Vec<Destination>, usize) {
        if !self.put_again.is_due() {
            return (Vec::new(), 0);
        }
        self.anew = std::mem::take(&mut self.removed);
        let ours = self.anew.iter().filter(|destination| !self.refused.contains_key(destination)).count();
        (self.anew.iter().copied().collect(), ours)
    }

    /// Looks which of our routes are in the kernel's table: with an interface they go without a word, and reports may be
    /// lost.
    pub fn look_at_routes(&mut self) -> io::Result<()> {
        self.installed = ours(&mut self.netlink)?;
        self.installed.retain(|destination, _| !self.refused.contains_key(destination));
        Ok(())
    }

    /// Whether there is an interface for policies in tunnel mode.
    pub fn has_inside(&self) -> bool {
        self.inside.is_some()
    }

    /// Makes the routes to the interface for policies in tunnel mode exactly these; they go with it by themselves.
    pub fn set_inside_routes(&mut self, wanted: &BTreeSet<InsideRoute>) -> Vec<io::Error> {
        let Some(interface) = self.inside else { return Vec::new() };
        let route = |route: &InsideRoute| Route {
            destination: route.network,
            prefix_len: route.prefix_len,
            gateway: None,
            interface,
            metric: INSIDE_METRIC,
            protocol: PROTOCOL_IPSEC,
            source: route.source,
        };
        for gone in self.inside_routes.difference(wanted) {
            let _ = self.netlink.delete_route(&route(gone));
        }
        let mut errors = Vec::new();
        for new in wanted.difference(&self.inside_routes) {
            if let Err(error) = self.netlink.replace_route(&route(new)) {
                let text = format!("route to {}/{} by {INSIDE}: {error}", new.network, new.prefix_len);
                errors.push(io::Error::new(error.kind(), text));
            }
        }
        self.inside_routes.clone_from(wanted);
        errors
    }

    /// The IPv4 addresses of this host.
    pub fn own_addresses(&mut self) -> Vec<Ipv4Addr> {
        let all = self.netlink.addresses().unwrap_or_default();
        let v4 = all.into_iter().filter_map(|address| match address.local {
            IpAddr::V4(local) => Some(local),
            IpAddr::V6(_) => None,
        });
        v4.collect()
    }

    /// Takes no more memory than it needs.
    pub fn condense(&mut self) {
        coati_ospf::densely(&mut self.installed);
    }

    /// How many routes of ours the kernel has.
    pub fn installed(&self) -> usize {
        self.installed.len()
    }
}

/// Why a route is not put into the kernel's table where there is one of somebody else's.
const IN_ITS_PLACE: &str = "somebody else's has the same metric, and stays";

/// Something that is done at once, and then not more often than the pace allows.
#[derive(Debug, Default)]
struct Paced {
    due: Option<Instant>,
    last: Option<Instant>,
}

impl Paced {
    fn ask(&mut self) {
        let now = Instant::now();
        self.due.get_or_insert(self.last.map_or(now, |last| now.max(last + PACE)));
    }

    /// Once for all that have asked.
    fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let is_due = self.due.take_if(|due| *due <= now).is_some();
        if is_due {
            self.last = Some(now);
        }
        is_due
    }
}

fn destination(route: &Route) -> Destination {
    (route.destination, route.prefix_len)
}

/// The routes of ours that are in the kernel's table.
fn ours(netlink: &mut Netlink) -> io::Result<BTreeMap<Destination, (u8, Hops)>> {
    let there = netlink.routes(|protocol| [PROTOCOL_OSPF, PROTOCOL_FILE].contains(&protocol))?;
    let mut found: BTreeMap<_, (u8, Vec<(Ipv4Addr, u32)>)> = BTreeMap::new();
    for route in there.into_iter().filter(|route| route.metric == ROUTE_METRIC) {
        // One without gateway and interface is there to throw packets away.
        let hop = match route.gateway {
            None if route.interface == 0 => None,
            gateway => Some((gateway.unwrap_or(Ipv4Addr::UNSPECIFIED), route.interface)),
        };
        let place = found.entry(destination(&route)).or_insert((route.protocol, Vec::new()));
        place.1.extend(hop);
    }
    let found = found.into_iter();
    Ok(found.map(|(destination, (protocol, hops))| (destination, (protocol, hops.into()))).collect())
}

fn kernel((destination, prefix_len): Destination, protocol: u8) -> Route {
    Route {
        destination,
        prefix_len,
        gateway: None,
        interface: 0,
        metric: ROUTE_METRIC,
        protocol,
        source: None,
    }
}

/// How fast an interface says to be, in Mbit/s; tunnels and others do not say.
fn speed(name: &str) -> Option<u32> {
    let text = std::fs::read_to_string(format!("/sys/class/net/{name}/speed")).ok()?;
    text.trim().parse().ok().filter(|speed| *speed > 0)
}
