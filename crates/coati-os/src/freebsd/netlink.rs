//! Links, addresses and routes: getifaddrs(3), ioctls, routing sockets (route(4)). The names are those of the folder for
//! Linux, where it is rtnetlink; there are no metrics here, and who has made a route is a flag of it.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd};

use coati_wire::pf_route::{NextHop, Repr, flag, kind};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use socket2::{Domain, Socket, Type};

use super::interface::Control;
use super::numbers;

/// An interface as the kernel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Index.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// Whether it is up, by the administrator and by its driver.
    pub up: bool,
    /// Loopback.
    pub loopback: bool,
    /// Point-to-point.
    pub point_to_point: bool,
    /// Can multicast.
    pub multicast: bool,
    /// What was written to it, see [`Netlink::set_alias`]; empty when nothing was.
    pub alias: String,
}

/// A GRE tunnel of the kernel's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gre {
    /// Name of its interface.
    pub name: String,
    /// Outer address of this side.
    pub local: IpAddr,
    /// Outer address of the other side, of the same family.
    pub remote: IpAddr,
    /// TTL of outer headers: net.inet.ip.grettl says it for all tunnels here.
    pub ttl: u8,
    /// Key that both sides use, when there is one.
    pub key: Option<u32>,
}

/// An address on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// Index of the interface.
    pub index: u32,
    /// Ours.
    pub local: IpAddr,
    /// The other end of a point-to-point interface.
    pub peer: Option<IpAddr>,
    /// Length of the network's prefix in bits.
    pub prefix_len: u8,
}

/// A route of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Destination network.
    pub destination: Ipv4Addr,
    /// Length of its prefix in bits.
    pub prefix_len: u8,
    /// Next hop; none when directly attached.
    pub gateway: Option<Ipv4Addr>,
    /// Interface index.
    pub interface: u32,
    /// There are none here: what is read has that of [`OSPF_METRIC`].
    pub metric: u32,
    /// Who made it: [`PROTOCOL_OSPF`], [`PROTOCOL_STATIC`] or [`PROTOCOL_IPSEC`].
    pub protocol: u8,
    /// What this host itself sends from: not here.
    pub source: Option<Ipv4Addr>,
}

/// Next hops of a route, each a gateway and the index of its interface, of which several are used together; without
/// any, what goes there is thrown away. `None` is no route at all.
pub type Paths = Option<Vec<(Ipv4Addr, u32)>>;

/// The metric that routes of OSPF have elsewhere.
const OSPF_METRIC: u32 = 20;
/// Routes of OSPF: RTF_PROTO1. The number is Linux's.
pub const PROTOCOL_OSPF: u8 = 188;
/// Routes made by hand: RTF_STATIC.
pub const PROTOCOL_STATIC: u8 = 4;
/// What IPsec policies want: RTF_PROTO2.
pub const PROTOCOL_IPSEC: u8 = 76;

fn flag_of(protocol: u8) -> u32 {
    match protocol {
        PROTOCOL_OSPF => flag::PROTO1,
        PROTOCOL_STATIC => flag::STATIC,
        PROTOCOL_IPSEC => flag::PROTO2,
        _ => 0,
    }
}

/// A connection to the kernel's interfaces and routing tables.
#[derive(Debug)]
pub struct Netlink {
    control: Control,
    routes: Socket,
    sequence: u32,
    /// Destinations whose routes are ours: others' are not replaced.
    ours: BTreeSet<(Ipv4Addr, u8)>,
}

impl Netlink {
    /// Opens it.
    pub fn new() -> io::Result<Self> {
        let routes = routing_socket()?;
        // What is said there is not listened to: an error comes with the request itself.
        routes.shutdown(std::net::Shutdown::Read)?;
        Ok(Self { control: Control::new()?, routes, sequence: 0, ours: BTreeSet::new() })
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

    /// Makes the route to a destination have exactly these next hops.
    fn put(&mut self, route: &Route, hops: &[NextHop]) -> io::Result<()> {
        let destination = (route.destination, route.prefix_len);
        let is_ours = self.ours.contains(&destination);
        if let ([hop], true) = (hops, is_ours)
            && self.change(kind::CHANGE, route, *hop).is_ok()
        {
            return Ok(());
        }
        if is_ours {
            self.delete_route(route)?;
        }
        for hop in hops {
            self.change(kind::ADD, route, *hop)?;
            self.ours.insert(destination);
        }
        Ok(())
    }

    /// Adds a route, or replaces ours with the same destination.
    pub fn replace_route(&mut self, route: &Route) -> io::Result<()> {
        let interface = || NextHop::Interface(u16::try_from(route.interface).unwrap_or(0));
        let hop = route.gateway.map_or_else(interface, NextHop::Gateway);
        self.put(route, &[hop])
    }

    /// Adds, replaces and removes routes. Which of them failed, by their places in `changes`, and why; that one to be
    /// removed is gone already is no error. `gateway` and `interface` of the routes do not count.
    /// Which of them are ours is known here.
    pub fn change_routes(
        &mut self,
        changes: &[(Route, Paths)],
        _is_ours: impl Fn(&Route) -> bool,
    ) -> Vec<(usize, io::Error)> {
        let mut failed = Vec::new();
        for (place, (route, paths)) in changes.iter().enumerate() {
            let result = match paths.as_deref() {
                None => self.delete_route(route),
                Some([]) => self.put(route, &[NextHop::Nowhere]),
                Some(hops) => {
                    let hops: Vec<NextHop> =
                        hops.iter().map(|(gateway, _)| NextHop::Gateway(*gateway)).collect();
                    self.put(route, &hops)
                }
            };
            failed.extend(result.err().map(|error| (place, error)));
        }
        failed
    }

    /// Removes a route of ours, with all of its next hops; that it is gone already is no error.
    pub fn delete_route(&mut self, route: &Route) -> io::Result<()> {
        if !self.ours.remove(&(route.destination, route.prefix_len)) {
            return Ok(());
        }
        for there in self.routes(route.protocol)? {
            if (there.destination, there.prefix_len) == (route.destination, route.prefix_len) {
                let hop = there.gateway.map_or(NextHop::Nowhere, NextHop::Gateway);
                match self.change(kind::DELETE, &there, hop) {
                    Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                    result => result?,
                }
            }
        }
        self.ours.remove(&(route.destination, route.prefix_len));
        Ok(())
    }

    /// The IPv4 routes of the main table that `protocol` made; one with several next hops comes once for each.
    pub fn routes(&mut self, protocol: u8) -> io::Result<Vec<Route>> {
        let wanted = flag_of(protocol);
        let mut list = Vec::new();
        let bytes = dump_routes()?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (length, _, found) =
                Repr::parse(rest).map_err(|error| io::Error::other(error.to_string()))?;
            rest = rest.get(length..).unwrap_or(&[]);
            let Some(found) = found.filter(|found| wanted != 0 && found.flags & wanted != 0) else {
                continue;
            };
            let (gateway, interface) = match found.next_hop {
                NextHop::Gateway(gateway) => (Some(gateway), 0),
                NextHop::Interface(index) => (None, index.into()),
                NextHop::Nowhere => (None, 0),
            };
            let Repr { destination, prefix_len, .. } = found;
            if protocol != PROTOCOL_STATIC {
                self.ours.insert((destination, prefix_len));
            }
            let metric = OSPF_METRIC;
            list.push(Route { destination, prefix_len, gateway, interface, metric, protocol, source: None });
        }
        Ok(list)
    }
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

/// Tells when links or addresses change; what changed is asked with [`Netlink`].
#[derive(Debug)]
pub struct Monitor(Socket);

impl Monitor {
    /// Opens it.
    pub fn new() -> io::Result<Self> {
        let socket = routing_socket()?;
        socket.set_nonblocking(true)?;
        Ok(Self(socket))
    }

    /// Takes everything that has been reported since; whether there was anything about links and addresses.
    pub fn drain(&self) -> bool {
        let mut any = false;
        let mut buffer = [0u8; 2048];
        loop {
            match recv(&self.0, &mut buffer[..], RecvFlags::empty()) {
                Ok((4.., _)) => {
                    let [_, _, _, kind, ..] = buffer;
                    any |= matches!(
                        i32::from(kind),
                        libc::RTM_IFINFO | libc::RTM_NEWADDR | libc::RTM_DELADDR | libc::RTM_IFANNOUNCE
                    );
                }
                Ok(_) => {}
                // The kernel drops reports when nobody reads them: then everything may have changed.
                Err(rustix::io::Errno::NOBUFS) => any = true,
                Err(_) => return any,
            }
        }
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
