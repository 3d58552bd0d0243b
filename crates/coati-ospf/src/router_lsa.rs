//! What router and network LSAs say (RFC 2328 sections 12.4.1 and 12.4.2), and how the links in them are left.

use std::net::Ipv4Addr;

use coati_wire::ospf::{LsaBody, RouterLink, RouterLsa};

use crate::config::{AreaId, NetworkType};
use crate::engine::Engine;
use crate::graph::Node;
use crate::interface::{Interface, InterfaceState, mask, masked};
use crate::neighbour::Neighbour;
use crate::spf::{NextHop, OwnLink};

/// Links in one LSA at the most: more do not fit.
const MAX_LINKS: usize = 5000;
/// MaxLinkMetric of RFC 6987.
const MAX_LINK_METRIC: u16 = 0xffff;

impl Engine {
    /// Section 12.4.1: links of all interfaces in the area; `None` when there are none.
    pub(crate) fn router_lsa(&self, area: AreaId) -> Option<LsaBody> {
        let mut links = Vec::new();
        let mut any = false;
        for interface in self.interfaces.values().filter(|interface| interface.config.area == area) {
            any |= interface.state != InterfaceState::Down;
            links_of(interface, &mut links);
        }
        links.truncate(MAX_LINKS);
        if self.is_stub_router() {
            let through = links.iter_mut().filter(|link| link.kind != RouterLink::STUB);
            through.for_each(|link| link.metric = MAX_LINK_METRIC);
        }
        let mut flags = 0;
        if self.is_border() {
            flags |= RouterLsa::BORDER;
        }
        if self.is_boundary_in(area) {
            flags |= RouterLsa::BOUNDARY;
        }
        let ends_here = |interface: &Interface| {
            interface.virtual_end.as_ref().is_some_and(|end| end.transit == area)
                && interface.full().next().is_some()
        };
        if self.interfaces.values().any(ends_here) {
            flags |= RouterLsa::VIRTUAL_END;
        }
        if self.always_translates(area) {
            flags |= RouterLsa::TRANSLATOR;
        }
        any.then_some(LsaBody::Router(RouterLsa { flags, links }))
    }

    /// Section 12.4.2: the routers on the network whose designated router we are; `None` when we are not, or alone.
    pub(crate) fn network_lsa(&self, area: AreaId, address: Ipv4Addr) -> Option<LsaBody> {
        let speaks = |interface: &&Interface| {
            interface.config.area == area
                && interface.link.address == address
                && interface.state == InterfaceState::Dr
                && interface.network.elects()
        };
        let interface = self.interfaces.values().find(speaks)?;
        let mut routers: Vec<Ipv4Addr> = interface.full().map(|neighbour| neighbour.router_id).collect();
        if routers.is_empty() {
            return None;
        }
        routers.push(self.config.router_id);
        routers.sort_unstable();
        routers.dedup();
        // RFC 6860 section 2.2.2.
        let mask =
            if interface.config.prefix_suppression { Ipv4Addr::BROADCAST } else { interface.link.mask() };
        Some(LsaBody::Network { mask, routers })
    }

    /// The root's own links in an area: what its first hops are.
    pub(crate) fn own_links(&self, area: AreaId) -> Vec<OwnLink> {
        let mut list = Vec::new();
        for interface in self.interfaces.values().filter(|interface| interface.config.area == area) {
            let index = interface.link.index;
            let metric = if self.is_stub_router() { MAX_LINK_METRIC } else { interface.config.cost };
            match interface.network {
                NetworkType::Broadcast | NetworkType::NonBroadcast => {
                    if is_transit(interface) {
                        let hops = vec![NextHop { interface: index, via: None }];
                        list.push(OwnLink { to: Node::Network(interface.designated), metric, hops });
                    }
                }
                NetworkType::PointToPoint | NetworkType::PointToMultipoint => {
                    for neighbour in interface.full() {
                        let hops = vec![NextHop { interface: index, via: Some(neighbour.address) }];
                        list.push(OwnLink { to: Node::Router(neighbour.router_id), metric, hops });
                    }
                }
                NetworkType::Virtual => {
                    let Some(end) = &interface.virtual_end else { continue };
                    let to = Node::Router(end.router_id);
                    let path =
                        self.areas.get(&end.transit).and_then(|area| area.paths.get(area.graph.number(to)?));
                    if let Some((_, hops)) = path.filter(|_| interface.full().next().is_some()) {
                        list.push(OwnLink { to, metric, hops: hops.to_vec() });
                    }
                }
            }
        }
        list
    }
}

/// Whether the network is a transit network for us: the designated router is adjacent, or it is us and somebody is
/// (section 12.4.1.2).
fn is_transit(interface: &Interface) -> bool {
    match interface.state {
        InterfaceState::Dr => interface.full().next().is_some(),
        InterfaceState::Backup | InterfaceState::DrOther => {
            interface.full().any(|neighbour| neighbour.address == interface.designated)
        }
        _ => false,
    }
}

fn links_of(interface: &Interface, links: &mut Vec<RouterLink>) {
    let (link, metric) = (&interface.link, interface.config.cost);
    let stub = RouterLink { id: link.network(), data: link.mask(), kind: RouterLink::STUB, metric };
    let full = |n: &&Neighbour| n.counts_as_full();
    // What is passive is advertised for its own sake (RFC 6860 section 2).
    let suppressed = interface.config.prefix_suppression && interface.is_active();
    if !suppressed {
        let metric = if link.loopback { 0 } else { metric };
        links.extend(interface.config.further_networks.iter().map(|(network, prefix_len)| RouterLink {
            id: masked(*network, *prefix_len),
            data: mask(*prefix_len),
            kind: RouterLink::STUB,
            metric,
        }));
    }
    if link.loopback {
        let data = Ipv4Addr::BROADCAST;
        return links.push(RouterLink { id: link.address, data, kind: RouterLink::STUB, metric: 0 });
    }
    match interface.network {
        NetworkType::Broadcast | NetworkType::NonBroadcast if is_transit(interface) => {
            links.push(RouterLink {
                id: interface.designated,
                data: link.address,
                kind: RouterLink::TRANSIT,
                metric,
            })
        }
        NetworkType::Broadcast | NetworkType::NonBroadcast if !suppressed => links.push(stub),
        NetworkType::Broadcast | NetworkType::NonBroadcast => {}
        NetworkType::PointToPoint => {
            // An unnumbered interface is known by its index.
            let data = if interface.is_unnumbered() { Ipv4Addr::from(link.index) } else { link.address };
            for neighbour in interface.neighbours.values().filter(full) {
                links.push(RouterLink {
                    id: neighbour.router_id,
                    data,
                    kind: RouterLink::POINT_TO_POINT,
                    metric,
                });
            }
            match (link.prefix_len, link.peer) {
                _ if suppressed => {}
                (32, Some(peer)) => links.push(RouterLink { id: peer, ..stub }),
                (32, None) => {}
                _ => links.push(stub),
            }
        }
        NetworkType::PointToMultipoint => {
            for neighbour in interface.neighbours.values().filter(full) {
                let (id, data, kind) = (neighbour.router_id, link.address, RouterLink::POINT_TO_POINT);
                links.push(RouterLink { id, data, kind, metric });
            }
            // The own address only: the others of the network are behind their own links.
            if !suppressed {
                let data = Ipv4Addr::BROADCAST;
                links.push(RouterLink { id: link.address, data, kind: RouterLink::STUB, metric: 0 });
            }
        }
        NetworkType::Virtual => {
            for neighbour in interface.neighbours.values().filter(full) {
                let (id, data, kind) = (neighbour.router_id, link.address, RouterLink::VIRTUAL);
                links.push(RouterLink { id, data, kind, metric });
            }
        }
    }
}
