//! Links, addresses and routes by rtnetlink(7): one request, one answer, no threads.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use netlink_packet_core::{
    DefaultNla, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST,
    NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    GreIOFlags, InfoData, InfoGre, InfoGre6, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo,
    LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteNextHop, RouteProtocol, RouteScope,
    RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use socket2::{SockFilter, SockRef};

pub use crate::links::*;

/// Routes that one call of the kernel changes: its answers, should all fail, fit into a socket's usual buffer.
const BATCH: usize = 64;

/// From linux/if_tunnel.h and linux/ip6_tunnel.h.
const IFLA_GRE_FLAGS: u16 = 13;
const IP6_TNL_F_IGN_ENCAP_LIMIT: u32 = 1;

/// A connection to the kernel's routing tables.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    /// By which the kernel knows it.
    port: u32,
    sequence: u32,
}

impl Netlink {
    /// Opens it in the network namespace of this thread.
    pub fn new() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        let port = socket.bind_auto()?.port_number();
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, port, sequence: 0 })
    }

    fn request(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | flags;
        request.header.sequence_number = self.sequence;
        request.finalize();
        let mut buffer = vec![0; request.buffer_len()];
        request.serialize(&mut buffer);
        self.socket.send(&buffer, 0)?;
        let mut answers = Vec::new();
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            for message in messages(&datagram) {
                let message = message?;
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                match message.payload {
                    NetlinkPayload::Done(_) => return Ok(answers),
                    NetlinkPayload::Error(error) => {
                        return match error.code {
                            None => Ok(answers),
                            Some(_) => Err(error.to_io()),
                        };
                    }
                    NetlinkPayload::InnerMessage(inner) => answers.push(inner),
                    _ => {}
                }
            }
        }
    }

    /// All interfaces.
    pub fn links(&mut self) -> io::Result<Vec<Link>> {
        let answers = self.request(RouteNetlinkMessage::GetLink(LinkMessage::default()), NLM_F_DUMP)?;
        Ok(answers.iter().filter_map(link_of).collect())
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
        let answers = self.request(RouteNetlinkMessage::GetAddress(AddressMessage::default()), NLM_F_DUMP)?;
        Ok(answers.iter().filter_map(address_of).collect())
    }

    /// Makes a pair of veth interfaces; the second goes to the network namespace of process `pid`.
    pub fn add_veth(&mut self, name: &str, peer: &str, pid: u32) -> io::Result<()> {
        let mut other = LinkMessage::default();
        other.attributes.push(LinkAttribute::IfName(peer.to_owned()));
        other.attributes.push(LinkAttribute::NetNsPid(pid));
        let mut link = LinkMessage::default();
        link.attributes.push(LinkAttribute::IfName(name.to_owned()));
        link.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(other))),
        ]));
        self.request(RouteNetlinkMessage::NewLink(link), NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL).map(|_| ())
    }

    /// Makes a GRE tunnel; it is down and has no address.
    pub fn add_gre(&mut self, gre: &Gre) -> io::Result<()> {
        let (kind, data) = match (gre.local, gre.remote) {
            (IpAddr::V4(local), IpAddr::V4(remote)) => {
                let mut list = vec![InfoGre::Local(local), InfoGre::Remote(remote), InfoGre::Ttl(gre.ttl)];
                if let Some(key) = gre.key {
                    list.extend([InfoGre::IFlags(GreIOFlags::Key), InfoGre::OFlags(GreIOFlags::Key)]);
                    list.extend([InfoGre::IKey(key), InfoGre::OKey(key)]);
                }
                (InfoKind::GreTun, InfoData::GreTun(list))
            }
            (IpAddr::V6(local), IpAddr::V6(remote)) => {
                // Without the option that limits nested tunnels: others do not know it.
                let flags = DefaultNla::new(IFLA_GRE_FLAGS, IP6_TNL_F_IGN_ENCAP_LIMIT.to_ne_bytes().to_vec());
                let mut list = vec![InfoGre6::Local(local), InfoGre6::Remote(remote), InfoGre6::Ttl(gre.ttl)];
                list.push(InfoGre6::Other(flags));
                if let Some(key) = gre.key {
                    list.extend([InfoGre6::IFlags(GreIOFlags::Key), InfoGre6::OFlags(GreIOFlags::Key)]);
                    list.extend([InfoGre6::IKey(key), InfoGre6::OKey(key)]);
                }
                (InfoKind::GreTun6, InfoData::GreTun6(list))
            }
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        };
        let mut link = LinkMessage::default();
        link.attributes.push(LinkAttribute::IfName(gre.name.clone()));
        link.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind), LinkInfo::Data(data)]));
        self.request(RouteNetlinkMessage::NewLink(link), NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL).map(|_| ())
    }

    /// Removes an interface; that it is gone already is no error.
    pub fn delete_link(&mut self, index: u32) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        match self.request(RouteNetlinkMessage::DelLink(link), NLM_F_ACK) {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
            result => result.map(|_| ()),
        }
    }

    /// Writes something to an interface that the kernel keeps for people and programs.
    pub fn set_alias(&mut self, index: u32, alias: &str) -> io::Result<()> {
        let attributes = vec![LinkAttribute::IfAlias(alias.to_owned())];
        self.set_link(index, attributes, LinkFlags::empty(), LinkFlags::empty())
    }

    /// Moves an interface to the network namespace of process `pid`, under this name.
    pub fn move_link(&mut self, index: u32, name: &str, pid: u32) -> io::Result<()> {
        let attributes = vec![LinkAttribute::IfName(name.to_owned()), LinkAttribute::NetNsPid(pid)];
        self.set_link(index, attributes, LinkFlags::empty(), LinkFlags::empty())
    }

    /// Gives the interface another name; it must be down.
    pub fn rename(&mut self, index: u32, name: &str) -> io::Result<()> {
        self.set_link(
            index,
            vec![LinkAttribute::IfName(name.to_owned())],
            LinkFlags::empty(),
            LinkFlags::empty(),
        )
    }

    /// Sets the MTU, in bytes.
    pub fn set_mtu(&mut self, index: u32, mtu: u32) -> io::Result<()> {
        self.set_link(index, vec![LinkAttribute::Mtu(mtu)], LinkFlags::empty(), LinkFlags::empty())
    }

    /// Takes the interface up or down.
    pub fn set_up(&mut self, index: u32, up: bool) -> io::Result<()> {
        let flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
        self.set_link(index, vec![], flags, LinkFlags::Up)
    }

    /// Lets the interface carry multicast; Linux leaves that off on tunnels.
    pub fn set_multicast(&mut self, index: u32) -> io::Result<()> {
        self.set_link(index, vec![], LinkFlags::Multicast, LinkFlags::Multicast)
    }

    fn set_link(
        &mut self,
        index: u32,
        attributes: Vec<LinkAttribute>,
        flags: LinkFlags,
        mask: LinkFlags,
    ) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.header.flags = flags;
        link.header.change_mask = mask;
        link.attributes = attributes;
        self.request(RouteNetlinkMessage::SetLink(link), NLM_F_ACK).map(|_| ())
    }

    /// Puts an address on an interface.
    pub fn add_address(&mut self, address: &Address) -> io::Result<()> {
        let mut message = AddressMessage::default();
        message.header.family = family(address.local);
        message.header.prefix_len = address.prefix_len;
        message.header.index = address.index;
        message.attributes.push(AddressAttribute::Local(address.local));
        message.attributes.push(AddressAttribute::Address(address.peer.unwrap_or(address.local)));
        self.request(RouteNetlinkMessage::NewAddress(message), NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE)
            .map(|_| ())
    }

    /// Adds a route, or replaces the one with the same destination and metric.
    pub fn replace_route(&mut self, route: &Route) -> io::Result<()> {
        let message = RouteNetlinkMessage::NewRoute(route_message(route));
        self.request(message, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE).map(|_| ())
    }

    /// Adds, replaces and removes routes, many with one call of the kernel. Which of them failed, by their places in
    /// `changes`, and why; that one to be removed is gone already is no error. `gateway` and `interface` of the routes
    /// do not count. Only routes in the places of those that `is_ours` knows are replaced; where somebody else has one of
    /// the same metric, it stays (EEXIST).
    pub fn change_routes(
        &mut self,
        changes: &[(Route, Paths)],
        is_ours: impl Fn(&Route) -> bool,
    ) -> Vec<(usize, io::Error)> {
        let mut failed = Vec::new();
        for (number, batch) in changes.chunks(BATCH).enumerate() {
            let first = number * BATCH;
            if let Err(error) = self.change_batch(first, batch, &is_ours, &mut failed) {
                // What became of them nobody knows.
                let again = |index| (first + index, io::Error::new(error.kind(), error.to_string()));
                failed.extend((0..batch.len()).map(again));
            }
        }
        failed
    }

    /// The kernel answers to the last one; of the others it only says which have failed.
    fn change_batch(
        &mut self,
        first: usize,
        batch: &[(Route, Paths)],
        is_ours: &impl Fn(&Route) -> bool,
        failed: &mut Vec<(usize, io::Error)>,
    ) -> io::Result<()> {
        let before = self.sequence;
        let mut bytes = Vec::new();
        for (index, (route, paths)) in batch.iter().enumerate() {
            let (message, flags) = match paths {
                None => (RouteNetlinkMessage::DelRoute(delete_message(route)), 0),
                Some(gateways) => {
                    let message = RouteNetlinkMessage::NewRoute(paths_message(route, gateways));
                    (message, NLM_F_CREATE | if is_ours(route) { NLM_F_REPLACE } else { NLM_F_EXCL })
                }
            };
            self.sequence = self.sequence.wrapping_add(1);
            let mut request = NetlinkMessage::from(message);
            let last = index + 1 == batch.len();
            request.header.flags = NLM_F_REQUEST | flags | if last { NLM_F_ACK } else { 0 };
            request.header.sequence_number = self.sequence;
            request.finalize();
            let begin = bytes.len();
            bytes.resize(begin + request.buffer_len().next_multiple_of(4), 0);
            request.serialize(bytes.get_mut(begin..).unwrap_or(&mut []));
        }
        self.socket.send(&bytes, 0)?;
        // Each answer has the request in it, and comes alone.
        let mut answer = Vec::with_capacity(4096);
        loop {
            answer.clear();
            self.socket.recv(&mut answer, 0)?;
            for message in messages(&answer) {
                let message = message?;
                let place = message.header.sequence_number.wrapping_sub(before).wrapping_sub(1) as usize;
                let (Some((_, paths)), NetlinkPayload::Error(answer)) = (batch.get(place), message.payload)
                else {
                    continue;
                };
                if answer.code.is_some() {
                    let error = answer.to_io();
                    if paths.is_some() || error.raw_os_error() != Some(libc::ESRCH) {
                        failed.push((first + place, error));
                    }
                }
                if place + 1 == batch.len() {
                    return Ok(());
                }
            }
        }
    }

    /// Removes a route; that it is gone already is no error.
    pub fn delete_route(&mut self, route: &Route) -> io::Result<()> {
        match self.request(RouteNetlinkMessage::DelRoute(route_message(route)), NLM_F_ACK) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            result => result.map(|_| ()),
        }
    }

    /// The IPv4 routes of the main table that these protocols made; one with several next hops comes once for each.
    pub fn routes(&mut self, is_wanted: impl Fn(u8) -> bool) -> io::Result<Vec<Route>> {
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::Inet;
        let answers = self.request(RouteNetlinkMessage::GetRoute(message), NLM_F_DUMP)?;
        Ok(answers.iter().flat_map(routes_of).filter(|route| is_wanted(route.protocol)).collect())
    }
}

fn messages(mut bytes: &[u8]) -> impl Iterator<Item = io::Result<NetlinkMessage<RouteNetlinkMessage>>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        match NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes) {
            Ok(message) => {
                // Messages are aligned to 4 bytes; a length of 0 would never end.
                let length = (message.header.length as usize).next_multiple_of(4).max(16);
                bytes = bytes.get(length..).unwrap_or(&[]);
                Some(Ok(message))
            }
            Err(error) => {
                bytes = &[];
                Some(Err(io::Error::other(format!("netlink: {error}"))))
            }
        }
    })
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn link_of(message: &RouteNetlinkMessage) -> Option<Link> {
    let RouteNetlinkMessage::NewLink(link) = message else { return None };
    let flags = link.header.flags;
    let mut found = Link {
        index: link.header.index,
        name: String::new(),
        mtu: 0,
        up: flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
        loopback: flags.contains(LinkFlags::Loopback),
        point_to_point: flags.contains(LinkFlags::Pointopoint),
        multicast: flags.contains(LinkFlags::Multicast),
        alias: String::new(),
    };
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => found.name = name.clone(),
            LinkAttribute::Mtu(mtu) => found.mtu = *mtu,
            LinkAttribute::IfAlias(alias) => found.alias = alias.clone(),
            _ => {}
        }
    }
    Some(found)
}

fn address_of(message: &RouteNetlinkMessage) -> Option<Address> {
    let RouteNetlinkMessage::NewAddress(address) = message else { return None };
    let (mut local, mut other) = (None, None);
    for attribute in &address.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => other = Some(*ip),
            _ => {}
        }
    }
    let mine = local.or(other)?;
    Some(Address {
        index: address.header.index,
        local: mine,
        peer: other.filter(|ip| *ip != mine),
        prefix_len: address.header.prefix_len,
    })
}

fn route_message(route: &Route) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.destination_prefix_length = route.prefix_len;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::from(route.protocol);
    message.header.scope = if route.gateway.is_some() { RouteScope::Universe } else { RouteScope::Link };
    message.header.kind = RouteType::Unicast;
    if route.prefix_len > 0 {
        message.attributes.push(RouteAttribute::Destination(RouteAddress::Inet(route.destination)));
    }
    if let Some(gateway) = route.gateway {
        message.attributes.push(RouteAttribute::Gateway(RouteAddress::Inet(gateway)));
    }
    if route.interface != 0 {
        message.attributes.push(RouteAttribute::Oif(route.interface));
    }
    if let Some(source) = route.source {
        message.attributes.push(RouteAttribute::PrefSource(RouteAddress::Inet(source)));
    }
    if route.metric != 0 {
        message.attributes.push(RouteAttribute::Priority(route.metric));
    }
    message
}

/// A route with these next hops.
fn paths_message(route: &Route, gateways: &[(Ipv4Addr, u32)]) -> RouteMessage {
    if let [(gateway, interface)] = gateways {
        let gateway = Some(*gateway).filter(|gateway| !gateway.is_unspecified());
        return route_message(&Route { gateway, interface: *interface, ..*route });
    }
    let mut message = route_message(&Route { gateway: None, interface: 0, ..*route });
    message.header.scope = RouteScope::Universe;
    if gateways.is_empty() {
        message.header.kind = RouteType::BlackHole;
    } else {
        let hop = |(gateway, interface): &(Ipv4Addr, u32)| {
            let mut hop = RouteNextHop::default();
            hop.interface_index = *interface;
            if !gateway.is_unspecified() {
                hop.attributes.push(RouteAttribute::Gateway(RouteAddress::Inet(*gateway)));
            }
            hop
        };
        message.attributes.push(RouteAttribute::MultiPath(gateways.iter().map(hop).collect()));
    }
    message
}

/// A route whatever its next hops.
fn delete_message(route: &Route) -> RouteMessage {
    let mut message = route_message(&Route { gateway: None, interface: 0, ..*route });
    message.header.scope = RouteScope::NoWhere;
    message.header.kind = RouteType::Unspec;
    message
}

/// The routes of a message about the main table: those that packets follow, or that throw them away.
fn routes_of(message: &RouteNetlinkMessage) -> Vec<Route> {
    let (RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route)) = message else {
        return Vec::new();
    };
    let is_elsewhere = |attribute: &RouteAttribute| match attribute {
        RouteAttribute::Table(table) => *table != u32::from(RouteHeader::RT_TABLE_MAIN),
        _ => false,
    };
    let header = &route.header;
    let leads = matches!(
        header.kind,
        RouteType::Unicast | RouteType::BlackHole | RouteType::Unreachable | RouteType::Prohibit
    );
    if !leads
        || header.address_family != AddressFamily::Inet
        || header.table != RouteHeader::RT_TABLE_MAIN
        || route.attributes.iter().any(is_elsewhere)
    {
        return Vec::new();
    }
    let mut hops = Vec::new();
    let mut found = Route {
        destination: Ipv4Addr::UNSPECIFIED,
        prefix_len: route.header.destination_prefix_length,
        gateway: None,
        interface: 0,
        metric: 0,
        protocol: u8::from(route.header.protocol),
        source: None,
    };
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => found.destination = *address,
            RouteAttribute::Gateway(RouteAddress::Inet(address)) => found.gateway = Some(*address),
            RouteAttribute::Oif(index) => found.interface = *index,
            RouteAttribute::PrefSource(RouteAddress::Inet(address)) => found.source = Some(*address),
            RouteAttribute::Priority(metric) => found.metric = *metric,
            RouteAttribute::MultiPath(list) => hops.clone_from(list),
            _ => {}
        }
    }
    if hops.is_empty() {
        return vec![found];
    }
    let gateway = |hop: &RouteNextHop| {
        hop.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Gateway(RouteAddress::Inet(address)) => Some(*address),
            _ => None,
        })
    };
    hops.iter().map(|hop| Route { gateway: gateway(hop), interface: hop.interface_index, ..found }).collect()
}

/// Reports that are taken in one go.
const REPORTS: usize = 1024;

/// Tells when links and addresses change, and what others do to routes.
#[derive(Debug)]
pub struct Monitor(Socket);

impl Monitor {
    /// Opens it in the network namespace of this thread. What `own` does to routes is not reported.
    pub fn new(own: &Netlink) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        // Before it hears anything.
        SockRef::from(&borrowed(&socket)).attach_filter(&routes_of_others(own.port))?;
        let groups = libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV4_ROUTE;
        socket.bind(&SocketAddr::new(0, groups as u32))?;
        socket.set_non_blocking(true)?;
        Ok(Self(socket))
    }

    /// Takes what has been reported since.
    pub fn drain(&self) -> News {
        let mut news = News::default();
        let mut buffer: Vec<u8> = Vec::with_capacity(65_536);
        for _ in 0..REPORTS {
            buffer.clear();
            match self.0.recv(&mut buffer, 0) {
                Ok(_) => messages(&buffer).for_each(|message| hear(&mut news, message)),
                // The kernel drops reports when nobody reads them.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => news.lost = true,
                Err(_) => break,
            }
        }
        news
    }
}

fn hear(news: &mut News, message: io::Result<NetlinkMessage<RouteNetlinkMessage>>) {
    // Nothing but reports comes here; one that is not understood is one of something that is there.
    let Ok(message) = message else { return news.interfaces = true };
    let change = match &message.payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelRoute(_)) => RouteChange::Gone,
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(_)) => {
            match message.header.flags & NLM_F_REPLACE {
                0 => RouteChange::Added,
                _ => RouteChange::Replacing,
            }
        }
        _ => return news.interfaces = true,
    };
    if let NetlinkPayload::InnerMessage(inner) = &message.payload {
        news.routes.extend(routes_of(inner).first().map(|route| RouteNews { route: *route, change }));
    }
}

/// A filter that passes all but reports of routes that the socket of this port has changed.
fn routes_of_others(port: u32) -> [SockFilter; 7] {
    const LOAD_WORD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const LOAD_HALF: u16 = (libc::BPF_LD | libc::BPF_H | libc::BPF_ABS) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    // nlmsghdr is in host order, and what a filter loads counts as in network order.
    let kind = |kind: u16| u32::from(kind.to_be());
    [
        SockFilter::new(LOAD_WORD, 0, 0, 12),
        SockFilter::new(EQUAL, 0, 3, port.to_be()),
        SockFilter::new(LOAD_HALF, 0, 0, 4),
        SockFilter::new(EQUAL, 2, 0, kind(libc::RTM_NEWROUTE)),
        SockFilter::new(EQUAL, 1, 0, kind(libc::RTM_DELROUTE)),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

pub(super) fn borrowed(socket: &Socket) -> BorrowedFd<'_> {
    // SAFETY: the descriptor belongs to the socket, which lives as long as the borrow.
    unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        borrowed(&self.0)
    }
}
