//! Virtual links (RFC 2328 section 15): point-to-point links of the backbone through another area.

use std::net::Ipv4Addr;
use std::time::Instant;

use coati_wire::ospf::{LsaBody, LsaKey, RouterLink, RouterLsa, lsa_kind};

use crate::config::{AreaId, BACKBONE, InterfaceConfig, NetworkType, RouterId};
use crate::engine::Engine;
use crate::graph::Node;
use crate::interface::{Interface, InterfaceState, Link, VIRTUAL_INDEX, VirtualEnd};

/// MTU of what goes over a virtual link when nothing is known of the way.
const MTU: u32 = 1400;

impl Engine {
    /// The interfaces of all configured virtual links, down until their other ends are found.
    pub(crate) fn make_virtual_links(&mut self, now: Instant) {
        if self.interfaces.values().any(|interface| interface.virtual_end.is_some()) {
            return;
        }
        let configured: Vec<(AreaId, RouterId, InterfaceConfig)> = self
            .config
            .areas
            .iter()
            .flat_map(|(area, config)| {
                config.virtual_links.iter().map(|(router, config)| (*area, *router, config.clone()))
            })
            .collect();
        for (number, (transit, router_id, config)) in (0u32..).zip(configured) {
            let index = VIRTUAL_INDEX + number;
            let link = Link {
                index,
                name: format!("VLINK{number}"),
                address: Ipv4Addr::UNSPECIFIED,
                prefix_len: 32,
                peer: None,
                mtu: MTU,
                speed: None,
                point_to_point: true,
                loopback: false,
            };
            let network = Some(NetworkType::Virtual);
            let mut interface =
                Interface::new(now, link, InterfaceConfig { area: BACKBONE, network, ..config });
            interface.virtual_end = Some(VirtualEnd { transit, router_id, path: None });
            self.area_mut(BACKBONE);
            self.interfaces.insert(index, interface);
        }
    }

    /// Virtual links come up and go down with the paths to their other ends.
    pub(crate) fn update_virtual_links(&mut self, now: Instant) {
        let ends: Vec<(u32, VirtualEnd)> = self
            .interfaces
            .values()
            .filter_map(|interface| Some((interface.link.index, interface.virtual_end.clone()?)))
            .collect();
        for (index, end) in ends {
            let path = self.path_of(&end);
            self.update_virtual_link(now, index, path);
        }
    }

    /// Cost, interface and own address, and the far end's address.
    fn path_of(&self, end: &VirtualEnd) -> Option<(u16, u32, Ipv4Addr, Ipv4Addr)> {
        let area = self.areas.get(&end.transit)?;
        let number = area.graph.number(Node::Router(end.router_id))?;
        let border = area.graph.vertex(number)?.flags & RouterLsa::BORDER != 0;
        let (cost, hops) = area.paths.get(number)?;
        let through = self.interfaces.get(&hops.first()?.interface)?;
        let key = LsaKey { kind: lsa_kind::ROUTER, id: end.router_id, advertising_router: end.router_id };
        let LsaBody::Router(router) = area.lsdb.get(&key)?.body() else { return None };
        let numbered = |link: &&RouterLink| {
            matches!(link.kind, RouterLink::TRANSIT | RouterLink::POINT_TO_POINT)
                && link.data.octets()[0] != 0
        };
        // A neighbour is spoken to where it is heard, others at the first address that leads to them.
        let near = hops.iter().find_map(|hop| hop.via);
        let links = || router.links.iter().filter(numbered);
        let address = links().find(|link| Some(link.data) == near).or_else(|| links().next())?.data;
        (border || end.path.is_some()).then_some(())?;
        Some((u16::try_from(cost).ok()?, through.link.index, through.link.address, address))
    }

    fn update_virtual_link(
        &mut self,
        now: Instant,
        index: u32,
        path: Option<(u16, u32, Ipv4Addr, Ipv4Addr)>,
    ) {
        let mtu = path.and_then(|(_, through, ..)| self.interfaces.get(&through)).map_or(MTU, |i| i.link.mtu);
        let Some(interface) = self.interfaces.get_mut(&index) else { return };
        let Some(end) = &mut interface.virtual_end else { return };
        let transit = end.transit;
        match path {
            Some((cost, through, own, address)) => {
                let new = (cost, Some((through, address)), own);
                if (interface.config.cost, end.path, interface.link.address) == new
                    && interface.state != InterfaceState::Down
                {
                    return;
                }
                end.path = Some((through, address));
                interface.config.cost = cost;
                interface.link.address = own;
                interface.link.mtu = mtu;
                if interface.state == InterfaceState::Down {
                    interface.state = InterfaceState::PointToPoint;
                    interface.state_changes += 1;
                    interface.since = now;
                    interface.hello_due = now;
                }
            }
            None if interface.state == InterfaceState::Down => return,
            None => {
                end.path = None;
                interface.state = InterfaceState::Down;
                interface.state_changes += 1;
                self.kill_neighbours(now, index, "its virtual link is down");
            }
        }
        self.topology_changed(now, BACKBONE);
        self.router_lsa_soon(now, transit);
    }
}
