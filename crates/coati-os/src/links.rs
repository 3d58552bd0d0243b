//! Interfaces, addresses and routes, as both systems' `netlink` has them.

use std::net::{IpAddr, Ipv4Addr};

/// An interface as the kernel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Index.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// Whether it is up, by the administrator and by the carrier.
    pub up: bool,
    /// Loopback.
    pub loopback: bool,
    /// Point-to-point.
    pub point_to_point: bool,
    /// Can multicast.
    pub multicast: bool,
    /// What was written to it, see `Netlink::set_alias`; empty when nothing was.
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
    /// TTL of outer headers; on FreeBSD net.inet.ip.grettl says it for all tunnels.
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

/// A route.
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
    /// Kernel metric; lower wins. FreeBSD has none: what is read there has that of OSPF.
    pub metric: u32,
    /// Who made it: [`PROTOCOL_OSPF`], [`PROTOCOL_FILE`], or somebody else.
    pub protocol: u8,
    /// What this host itself sends from, where that is said; never on FreeBSD.
    pub source: Option<Ipv4Addr>,
}

/// Next hops of a route, each a gateway, 0.0.0.0 for none, and the index of its interface, of which several are used
/// together; without any, what goes there is thrown away. `None` is no route at all.
pub type Paths = Option<Vec<(Ipv4Addr, u32)>>;

/// RTPROT_OSPF; on FreeBSD RTF_PROTO1.
pub const PROTOCOL_OSPF: u8 = 188;
/// RTPROT_STATIC: routes made by hand; on FreeBSD RTF_STATIC.
pub const PROTOCOL_STATIC: u8 = 4;
/// What IPsec policies want; nobody else's number in rt_protos. On FreeBSD RTF_PROTO2.
pub const PROTOCOL_IPSEC: u8 = 76;
/// Static routes of the file: nobody else's number either, so that those of others, FRR's staticd among them, stay. On
/// FreeBSD RTF_PROTO3.
pub const PROTOCOL_FILE: u8 = 77;

/// A change that somebody else has made to a route of the main table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteNews {
    /// The route; of several next hops the first.
    pub route: Route,
    /// What became of it.
    pub change: RouteChange,
}

/// What became of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteChange {
    /// It is there besides those that were.
    Added,
    /// It is there instead of one with the same destination and metric.
    Replacing,
    /// It is gone.
    Gone,
}

/// What a `Monitor` has heard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Links or addresses have changed: which, `Netlink` tells.
    pub interfaces: bool,
    /// What others have done to routes, in order.
    pub routes: Vec<RouteNews>,
    /// The kernel has dropped reports: anything may have changed.
    pub lost: bool,
}
