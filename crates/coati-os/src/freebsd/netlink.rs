//! Links, addresses and routes: getifaddrs(3), ioctls, routing sockets (route(4)). The names are those of the folder for
//! Linux, where it is rtnetlink; there are no metrics here, and who has made a route is a flag of it.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd};

use coati_wire::pf_route::{NextHop, Repr, flag, kind};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use socket2::{Domain, Socket, Type};

use super::interface::Control;
use super::numbers;
pub use crate::links::*;

/// The metric that routes of OSPF have elsewhere.
const OSPF_METRIC: u32 = 20;
fn flag_of(protocol: u8) -> u32 {
    match protocol {
        PROTOCOL_OSPF => flag::PROTO1,
        PROTOCOL_STATIC => flag::STATIC,
        PROTOCOL_IPSEC => flag::PROTO2,
        PROTOCOL_FILE => flag::PROTO3,
        _ => 0,
    }
}

/// A connection to the kernel's interfaces and routing tables.
#[derive(Debug)]
pub struct Netlink {
    control: Control,
    routes: Socket,
    sequence: u32,
}

impl Netlink {
    /// Opens it.
    pub fn new() -> io::Result<Self> {
        let routes = routing_socket()?;
        // What is said there is not listened to: an error comes with the request itself.
        routes.shutdown(std::net::Shutdown::Read)?;
        Ok(Self { control: Control::new()?, routes, sequence: 0 })
    }

    /// All interfaces.
    pub fn links(&mut self) -> io::Result<Vec<Link>> {
        let mut list = Vec::new();
        each_address(|found| {
            // SAFETY: getifaddrs gives an address, or null; that of an interface is a sockaddr_dl with an if_data.
            let (link, data) = unsafe {
                match found.ifa_addr.as_ref() {
                    Some(address) if i32::from(address.sa_family) == libc::AF_LINK => (
                        &*found.ifa_addr.cast::<libc::sockaddr_dl>(),
                        found.ifa_data.cast::<libc::if_data>().as_ref(),
                    ),
                    _ => return,
                }
            };
            let has = |flag: libc::c_int| found.ifa_flags & flag.cast_unsigned() != 0;
            list.push(Link {
                index: link.sdl_index.into(),
                name: name_of(found),
                mtu: data.map_or(1500, |data| data.ifi_mtu),
                up: has(libc::IFF_UP) && has(libc::IFF_RUNNING),
                loopback: has(libc::IFF_LOOPBACK),
                point_to_point: has(libc::IFF_POINTOPOINT),
                multicast: has(libc::IFF_MULTICAST),
                alias: String::new(),
            });
        })?;
        for link in &mut list {
            link.alias = self.control.description(&link.name);
        }
        Ok(list)
    }

    /// The interface of this name.
    pub fn link(&mut self, name: &str) -> io::Result<Link> {
        self.links()?
            .into_iter()
            .find(|link| link.name == name)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no interface {name}")))
    }

    /// All addresses.
    pub fn addresses(&mut self) -> io::Result<Vec<Address>> {
        let mut list = Vec::new();
        each_address(|found| {
            let Some(local) = ip_of(found.ifa_addr) else { return };
            // SAFETY: the name is that of getifaddrs, which ends with 0.
            let index = unsafe { libc::if_nametoindex(found.ifa_name) };
            let is_p2p = found.ifa_flags & libc::IFF_POINTOPOINT.cast_unsigned() != 0;
            let peer = if is_p2p { ip_of(found.ifa_dstaddr) } else { None };
            let prefix_len = match ip_of(found.ifa_netmask) {
                Some(IpAddr::V4(mask)) => mask.to_bits().leading_ones(),
                Some(IpAddr::V6(mask)) => mask.to_bits().leading_ones(),
                None => 0,
            };
            list.push(Address { index, local, peer, prefix_len: u8::try_from(prefix_len).unwrap_or(0) });
        })?;
        Ok(list)
    }

    /// Makes a GRE tunnel (gre(4)); it is down and has no address.
    pub fn add_gre(&mut self, gre: &Gre) -> io::Result<()> {
        let (IpAddr::V4(local), IpAddr::V4(remote)) = (gre.local, gre.remote) else {
            let text = "no tunnels over IPv6 are made on FreeBSD: give the tunnel's ends IPv4 addresses";
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        };
        self.control.create(&gre.name)?;
        let made = self.control.set_tunnel(&gre.name, local, remote).and_then(|()| match gre.key {
            Some(key) => self.control.set_gre_key(&gre.name, key),
            None => Ok(()),
        });
        if made.is_err() {
            let _ = self.control.destroy(&gre.name);
        }
        made
    }

    /// Removes an interface; that it is gone already is no error.
    pub fn delete_link(&mut self, index: u32) -> io::Result<()> {
        match name_by_index(index) {
            Ok(name) => self.control.destroy(&name),
            Err(_) => Ok(()),
        }
    }

    /// Writes something to an interface that the kernel keeps for people and programs.
    pub fn set_alias(&mut self, index: u32, alias: &str) -> io::Result<()> {
        self.control.set_description(&name_by_index(index)?, alias)
    }

    /// Gives the interface another name.
    pub fn rename(&mut self, index: u32, name: &str) -> io::Result<()> {
        self.control.rename(&name_by_index(index)?, name)
    }

    /// Sets the MTU, in bytes.
    pub fn set_mtu(&mut self, index: u32, mtu: u32) -> io::Result<()> {
        self.control.set_mtu(&name_by_index(index)?, mtu)
    }

    /// Takes the interface up or down.
    pub fn set_up(&mut self, index: u32, up: bool) -> io::Result<()> {
        self.control.set_up(&name_by_index(index)?, up)
    }

    /// GRE and TUN carry multicast here from the beginning.
    pub fn set_multicast(&mut self, _: u32) -> io::Result<()> {
        Ok(())
    }

    /// Puts an address on an interface.
    pub fn add_address(&mut self, address: &Address) -> io::Result<()> {
        let name = name_by_index(address.index)?;
        match address.local {
            IpAddr::V4(local) => {
                let bits = u32::MAX.checked_shl(32 - u32::from(address.prefix_len.min(32))).unwrap_or(0);
                let peer = match address.peer {
                    Some(IpAddr::V4(peer)) => peer,
                    _ => local,
                };
                self.control.add_address(&name, local, peer, bits.into())
            }
            IpAddr::V6(local) => self.control.add_address_v6(&name, local, address.prefix_len),
        }
    }

    fn change(&mut self, kind: u8, route: &Route, next_hop: NextHop) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let Route { destination, prefix_len, protocol, .. } = *route;
        let (sequence, flags) = (self.sequence, flag_of(protocol));
        let message = Repr { kind, sequence, flags, destination, prefix_len, next_hop }.emit();
        send(&self.routes, &message, SendFlags::empty())?;
        Ok(())
    }

    /// Makes the route to a destination have exactly these next hops; `there` is what it has now of ours.
    fn put(&mut self, route: &Route, hops: &[NextHop], there: &[Route]) -> io::Result<()> {
        if let ([hop], [_]) = (hops, there)
            && self.change(kind::CHANGE, route, *hop).is_ok()
        {
            return Ok(());
        }
        self.remove(there)?;
        hops.iter().try_for_each(|hop| self.change(kind::ADD, route, *hop))
    }

    /// Removes these; that one is gone already is no error.
    fn remove(&mut self, routes: &[Route]) -> io::Result<()> {
        for route in routes {
            match self.change(kind::DELETE, route, next_hop(route.gateway, route.interface)) {
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                result => result?,
            }
        }
        Ok(())
    }

    /// What there is of ours, of one maker, to one destination.
    fn there(&mut self, route: &Route) -> io::Result<Vec<Route>> {
        let all = self.routes(|maker| maker == route.protocol)?.into_iter();
        Ok(all.filter(|there| is_to(there, (route.destination, route.prefix_len))).collect())
    }

    /// Adds a route, or replaces ours with the same destination.
    pub fn replace_route(&mut self, route: &Route) -> io::Result<()> {
        let there = self.there(route)?;
        self.put(route, &[next_hop(route.gateway, route.interface)], &there)
    }

    /// Adds, replaces and removes routes. Which of them failed, by their places in `changes`, and why; that one to be
    /// removed is gone already is no error. `gateway` and `interface` of the routes do not count. Only routes in the
    /// places of those that `is_ours` knows are replaced; where somebody else has one, it stays (EEXIST).
    pub fn change_routes(
        &mut self,
        changes: &[(Route, Paths)],
        is_ours: impl Fn(&Route) -> bool,
    ) -> Vec<(usize, io::Error)> {
        let mut failed = Vec::new();
        // The table is read once, and only when something of ours is in it.
        let mut table: BTreeMap<(Ipv4Addr, u8), Vec<Route>> = BTreeMap::new();
        if changes.iter().any(|(route, _)| is_ours(route)) {
            // One that cannot be read is empty: the kernel refuses what is there already.
            let ours = self.routes(|maker| [PROTOCOL_OSPF, PROTOCOL_FILE].contains(&maker));
            for route in ours.unwrap_or_default() {
                table.entry((route.destination, route.prefix_len)).or_default().push(route);
            }
        }
        for (place, (route, paths)) in changes.iter().enumerate() {
            let there = table.remove(&(route.destination, route.prefix_len)).filter(|_| is_ours(route));
            let there = there.unwrap_or_default();
            let result = match paths.as_deref() {
                None => self.remove(&there),
                Some([]) => self.put(route, &[NextHop::Nowhere], &there),
                Some(hops) => {
                    let hop = |(gateway, interface): &(Ipv4Addr, u32)| {
                        next_hop(Some(*gateway).filter(|gateway| !gateway.is_unspecified()), *interface)
                    };
                    self.put(route, &hops.iter().map(hop).collect::<Vec<_>>(), &there)
                }
            };
            failed.extend(result.err().map(|error| (place, error)));
        }
        failed
    }

    /// Removes a route of ours, with all of its next hops; that it is gone already is no error.
    pub fn delete_route(&mut self, route: &Route) -> io::Result<()> {
        let there = self.there(route)?;
        self.remove(&there)
    }

    /// The IPv4 routes of the main table that these protocols made, as far as flags tell; one with several next hops comes
    /// once for each.
    pub fn routes(&mut self, is_wanted: impl Fn(u8) -> bool) -> io::Result<Vec<Route>> {
        let mut list = Vec::new();
        let bytes = dump_routes()?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (length, _, found) =
                Repr::parse(rest).map_err(|error| io::Error::other(error.to_string()))?;
            rest = rest.get(length..).unwrap_or(&[]);
            let maker = |found: &Repr| maker_of(found).filter(|maker| is_wanted(*maker));
            list.extend(found.and_then(|found| Some(route_of(&found, maker(&found)?))));
        }
        Ok(list)
    }
}

/// Who has made a route.
fn maker_of(found: &Repr) -> Option<u8> {
    let makers = [PROTOCOL_OSPF, PROTOCOL_FILE, PROTOCOL_IPSEC, PROTOCOL_STATIC];
    makers.into_iter().find(|maker| found.flags & flag_of(*maker) != 0)
}

fn next_hop(gateway: Option<Ipv4Addr>, interface: u32) -> NextHop {
    match (gateway, interface) {
        (Some(gateway), _) => NextHop::Gateway(gateway),
        (None, 0) => NextHop::Nowhere,
        (None, interface) => NextHop::Interface(u16::try_from(interface).unwrap_or(0)),
    }
}

fn is_to(route: &Route, destination: (Ipv4Addr, u8)) -> bool {
    (route.destination, route.prefix_len) == destination
}

fn route_of(found: &Repr, protocol: u8) -> Route {
    let (gateway, interface) = match found.next_hop {
        NextHop::Gateway(gateway) => (Some(gateway), 0),
        NextHop::Interface(index) => (None, index.into()),
        NextHop::Nowhere => (None, 0),
    };
    let Repr { destination, prefix_len, .. } = *found;
    Route { destination, prefix_len, gateway, interface, metric: OSPF_METRIC, protocol, source: None }
}

fn routing_socket() -> io::Result<Socket> {
    Socket::new(Domain::from(numbers::PF_ROUTE as i32), Type::RAW, None)
}

/// The table of IPv4 (sysctl(3), NET_RT_DUMP).
fn dump_routes() -> io::Result<Vec<u8>> {
    let name = [libc::CTL_NET, libc::PF_ROUTE, 0, libc::AF_INET, libc::NET_RT_DUMP, 0];
    loop {
        let mut length = 0;
        // SAFETY: the name is as long as is said; without a buffer the length that is needed is written.
        let asked = unsafe {
            libc::sysctl(name.as_ptr(), 6, std::ptr::null_mut(), &raw mut length, std::ptr::null(), 0)
        };
        if asked < 0 {
            return Err(io::Error::last_os_error());
        }
        // It may grow meanwhile.
        let mut bytes = vec![0u8; length + length / 8 + 1024];
        length = bytes.len();
        // SAFETY: as above; the buffer is as long as is said.
        let got = unsafe {
            libc::sysctl(name.as_ptr(), 6, bytes.as_mut_ptr().cast(), &raw mut length, std::ptr::null(), 0)
        };
        match io::Error::last_os_error() {
            _ if got == 0 => {
                bytes.truncate(length);
                return Ok(bytes);
            }
            error if error.raw_os_error() == Some(libc::ENOMEM) => {}
            error => return Err(error),
        }
    }
}

fn each_address(mut each: impl FnMut(&libc::ifaddrs)) -> io::Result<()> {
    let mut first = std::ptr::null_mut();
    // SAFETY: the pointer is written to, and on success is the head of a list that freeifaddrs takes back.
    if unsafe { libc::getifaddrs(&raw mut first) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut next = first;
    // SAFETY: entries of the list live until freeifaddrs, and the last one has null behind it.
    while let Some(found) = unsafe { next.as_ref() } {
        each(found);
        next = found.ifa_next;
    }
    // SAFETY: it is the list of getifaddrs, and nothing of it is used any more.
    unsafe { libc::freeifaddrs(first) };
    Ok(())
}

fn name_of(found: &libc::ifaddrs) -> String {
    // SAFETY: the name of an entry of getifaddrs ends with 0.
    unsafe { CStr::from_ptr(found.ifa_name) }.to_string_lossy().into_owned()
}

/// An IP address of getifaddrs; netmasks may come without a family, and are those of IPv4 then.
fn ip_of(address: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: it is null or a socket address of the length in its first byte.
    unsafe {
        match i32::from(address.as_ref()?.sa_family) {
            libc::AF_INET => {
                let found = &*address.cast::<libc::sockaddr_in>();
                Some(Ipv4Addr::from_bits(u32::from_be(found.sin_addr.s_addr)).into())
            }
            libc::AF_INET6 => {
                let found = &*address.cast::<libc::sockaddr_in6>();
                Some(Ipv6Addr::from(found.sin6_addr.s6_addr).into())
            }
            _ => None,
        }
    }
}

fn name_by_index(index: u32) -> io::Result<String> {
    let mut name = [0; libc::IF_NAMESIZE];
    // SAFETY: there is room for the longest name, with the 0 behind it.
    let found = unsafe { libc::if_indextoname(index, name.as_mut_ptr()) };
    if found.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: if_indextoname has written a name that ends with 0.
    Ok(unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned())
}

/// Reports that are taken in one go.
const REPORTS: usize = 1024;

/// Tells when links and addresses change, and what others do to routes.
#[derive(Debug)]
pub struct Monitor(Socket);

impl Monitor {
    /// Opens it. What this process does to routes is not reported.
    pub fn new(_: &Netlink) -> io::Result<Self> {
        let socket = routing_socket()?;
        socket.set_nonblocking(true)?;
        Ok(Self(socket))
    }

    /// Takes what has been reported since.
    pub fn drain(&self) -> News {
        let mut news = News::default();
        let mut buffer = [0u8; 2048];
        for _ in 0..REPORTS {
            match recv(&self.0, &mut buffer[..], RecvFlags::empty()) {
                Ok((length, _)) => hear(&mut news, buffer.get(..length).unwrap_or(&[])),
                // The kernel drops reports when nobody reads them.
                Err(rustix::io::Errno::NOBUFS) => news.lost = true,
                Err(_) => break,
            }
        }
        news
    }
}

fn hear(news: &mut News, report: &[u8]) {
    let Some(kind) = report.get(3) else { return };
    news.interfaces |= matches!(
        i32::from(*kind),
        libc::RTM_IFINFO | libc::RTM_NEWADDR | libc::RTM_DELADDR | libc::RTM_IFANNOUNCE
    );
    let change = match *kind {
        kind::ADD => RouteChange::Added,
        kind::CHANGE => RouteChange::Replacing,
        kind::DELETE => RouteChange::Gone,
        _ => return,
    };
    // rtm_pid
    let process = report.get(16..20).and_then(|bytes| bytes.try_into().ok()).map(u32::from_ne_bytes);
    // What failed is reported as well, with its errno.
    if let Ok((_, 0, Some(found))) = Repr::parse(report)
        && process != Some(std::process::id())
    {
        let route = route_of(&found, maker_of(&found).unwrap_or(0));
        news.routes.push(RouteNews { route, change });
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
