//! Which routes go to the kernel: OSPF's and those of the file, each by its distance, and none that would swallow a tunnel.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use coati_config::ospfd::is_martian;
use coati_ospf as ospf;

use super::{Control, ControlEvent, Now};
use crate::forwarder::Tunnel;
use crate::routes::{
    Fixed, KernelRoute, OSPF_DISTANCE, RouteOrigin, StaticRoutes, UNUSABLE, networks_of, ospf_distance,
};

impl Control {
    /// Which static routes of the file can be used with the interfaces as they are.
    pub(super) fn find_static_routes(&mut self) {
        let (mut found, mut problems) = (StaticRoutes::default(), Vec::new());
        if let Some(conf) = &self.ospf_conf {
            let beyond = |gateway, besides| self.ospf_way_to(gateway, besides);
            (found, problems) = StaticRoutes::find(conf, &self.system_links, beyond);
        }
        problems.extend(found.iter().filter_map(|fixed| self.unusable(fixed)));
        let changed = found.different(&self.static_routes);
        self.static_routes = found;
        for text in problems.iter().filter(|text| !self.told_static.contains(*text)) {
            self.events.push_back(ControlEvent::Ospf(ospf::Event::Problem(text.clone())));
        }
        self.told_static = problems;
        if !changed.is_empty() {
            self.events.push_back(ControlEvent::ChosenRoutes(changed));
        }
    }

    /// By which route OSPF reaches an address, that to `besides` left out.
    fn ospf_way_to(&self, address: Ipv4Addr, besides: (Ipv4Addr, u8)) -> Option<KernelRoute> {
        let engine = self.ospf.as_ref()?;
        let others = networks_of(address).filter(|network| *network != besides);
        others.filter_map(|(network, length)| self.for_kernel(engine.route(network, length)?)).next()
    }

    /// Why a static route, or one of its ways, is not used, though it could be.
    fn unusable(&self, Fixed { route, origin, .. }: &Fixed) -> Option<String> {
        let prefix = coati_sadb::Prefix::new(IpAddr::V4(route.network), route.prefix_len).ok()?;
        if self.is_unroutable(route.network, route.prefix_len) {
            return Some(format!(
                "{origin}: `ip route {prefix} …` is not used: that is this router's own address, or nobody's"
            ));
        }
        let swallowed = route.gateways.iter().find_map(|(gateway, index)| {
            let hop = ospf::NextHop { interface: *index, via: None };
            self.swallowed_tunnel(&prefix, &hop).map(|tunnel| (gateway, tunnel))
        });
        let (gateway, Tunnel { name, remote, .. }) = swallowed?;
        Some(format!(
            "{origin}: `ip route {prefix} …` by {gateway} is not used: it leads through {name} to its own other end \
             {remote}, and the tunnel would swallow itself"
        ))
    }

    /// Which routes the kernel has not taken of those it was told, and why: they are not in use.
    pub fn handle_refused_routes(&mut self, now: Now, refused: &BTreeMap<(Ipv4Addr, u8), String>) {
        if self.refused_routes != *refused {
            self.refused_routes.clone_from(refused);
            self.set_externals(now);
            self.settle(now);
        }
    }

    /// What there is to say of static routes that are not used, and of routes that the kernel refuses.
    pub(super) fn route_problems(&self) -> impl Iterator<Item = String> {
        let refused = |((network, prefix_len), why): (&(Ipv4Addr, u8), &String)| {
            format!("the kernel does not take the route to {network}/{prefix_len}: {why}")
        };
        self.told_static.iter().cloned().chain(self.refused_routes.iter().map(refused))
    }

    /// They go with this program.
    pub(super) fn forget_static_routes(&mut self) {
        // OSPF's last changes would find them again.
        if let Some(conf) = &mut self.ospf_conf {
            conf.static_routes.clear();
        }
        let gone = std::mem::take(&mut self.static_routes).different(&StaticRoutes::default());
        self.events.push_back(ControlEvent::ChosenRoutes(gone));
    }

    /// What the kernel's table should have from OSPF and from the file. A route through a tunnel to that tunnel's own
    /// other end would swallow the tunnel, so there is none.
    pub fn kernel_routes(&self) -> Vec<KernelRoute> {
        let routes = self.ospf.iter().flat_map(ospf::Engine::routes);
        let of_ospf = routes.filter_map(|route| self.chosen(route.network, route.prefix_len, Some(route)));
        let of_ospf = of_ospf.filter(|route| route.origin == RouteOrigin::Ospf);
        let fixed = self.static_routes.iter().map(|fixed| &fixed.route);
        let fixed = fixed.filter_map(|route| self.kernel_route(route.network, route.prefix_len));
        of_ospf.chain(fixed.filter(|route| route.origin == RouteOrigin::Static)).collect()
    }

    /// The one of [`Self::kernel_routes`] to exactly this destination.
    pub fn kernel_route(&self, network: Ipv4Addr, prefix_len: u8) -> Option<KernelRoute> {
        let of_ospf = self.ospf.as_ref().and_then(|engine| engine.route(network, prefix_len));
        self.chosen(network, prefix_len, of_ospf)
    }

    /// OSPF's route to a destination, or the static one when its distance is no larger.
    pub(super) fn chosen(
        &self,
        network: Ipv4Addr,
        prefix_len: u8,
        of_ospf: Option<&ospf::Route>,
    ) -> Option<KernelRoute> {
        let of_ospf = of_ospf.and_then(|route| self.for_kernel(route));
        let fixed = self.static_routes.get(network, prefix_len).and_then(|route| {
            let prefix = coati_sadb::Prefix::new(IpAddr::V4(network), prefix_len).ok()?;
            let swallows = |(_, index): &(Ipv4Addr, u32)| {
                self.swallowed_tunnel(&prefix, &ospf::NextHop { interface: *index, via: None }).is_some()
            };
            // As of OSPF's routes, only those of its ways stay that swallow no tunnel.
            let gateways: Vec<_> = route.gateways.iter().copied().filter(|way| !swallows(way)).collect();
            let has_a_way = !gateways.is_empty() || route.gateways.is_empty();
            let wanted = has_a_way && !self.is_unroutable(network, prefix_len);
            wanted.then(|| KernelRoute { gateways, ..route.clone() })
        });
        match (of_ospf, fixed) {
            (Some(of_ospf), Some(fixed)) if of_ospf.distance < fixed.distance => Some(of_ospf),
            (of_ospf, fixed) => fixed.or(of_ospf),
        }
    }

    /// What OSPF says that the way costs; static routes cost nothing.
    pub(super) fn cost(&self, route: &KernelRoute) -> u32 {
        let found = self.ospf.as_ref().and_then(|engine| engine.route(route.network, route.prefix_len));
        found.filter(|_| route.origin == RouteOrigin::Ospf).map_or(0, |found| found.cost)
    }

    /// An own address, or one that nobody has.
    pub(super) fn is_unroutable(&self, network: Ipv4Addr, prefix_len: u8) -> bool {
        prefix_len == 32 && self.own_addresses.contains(&network) || is_martian(network, prefix_len)
    }

    pub(super) fn for_kernel(&self, route: &ospf::Route) -> Option<KernelRoute> {
        let gateway = |prefix: &coati_sadb::Prefix, hop: &ospf::NextHop| {
            let via = hop.via.filter(|_| self.swallowed_tunnel(prefix, hop).is_none())?;
            self.links.contains_key(&hop.interface).then_some((via, hop.interface))
        };
        let (network, prefix_len) = (route.network, route.prefix_len);
        if self.is_unroutable(network, prefix_len) {
            return None;
        }
        let distance = self.ospf_conf.as_ref().map_or(OSPF_DISTANCE, |conf| ospf_distance(conf, route));
        let prefix = coati_sadb::Prefix::new(IpAddr::V4(network), prefix_len).ok()?;
        let gateways: Vec<_> = route.next_hops.iter().filter_map(|hop| gateway(&prefix, hop)).collect();
        let wanted = !gateways.is_empty() || route.next_hops.is_empty();
        let origin = RouteOrigin::Ospf;
        let route = KernelRoute { network, prefix_len, gateways, origin, distance };
        (wanted && distance < UNUSABLE).then_some(route)
    }

    /// The tunnel whose own other end a route through it would lead to.
    pub(super) fn swallowed_tunnel(
        &self,
        prefix: &coati_sadb::Prefix,
        hop: &ospf::NextHop,
    ) -> Option<&Tunnel> {
        let (link, _) = self.links.get(&hop.interface)?;
        self.tunnels.iter().find(|tunnel| tunnel.name == link.name && prefix.contains(tunnel.remote))
    }

    /// Why the kernel does not get the route to this destination for that reason.
    pub(super) fn swallowing(&self, network: Ipv4Addr, prefix_len: u8) -> Option<String> {
        let route = self.ospf.as_ref()?.route(network, prefix_len)?;
        let prefix = coati_sadb::Prefix::new(IpAddr::V4(network), prefix_len).ok()?;
        let hops = route.next_hops.iter().filter(|hop| hop.via.is_some());
        let tunnel = hops.filter_map(|hop| self.swallowed_tunnel(&prefix, hop)).next()?;
        let (name, remote) = (&tunnel.name, tunnel.remote);
        Some(format!(
            "{name}: OSPF's route to {prefix} leads through {name} to its own other end {remote}: it is not used, the \
             tunnel would swallow itself (the other side should not advertise the network of its outer address)"
        ))
    }

    /// Tells it once for as long as it is so.
    pub(super) fn tell_swallowing(&mut self, network: Ipv4Addr, prefix_len: u8) {
        let before = self.told_swallowing.remove(&(network, prefix_len));
        if let Some(text) = self.swallowing(network, prefix_len) {
            if before.as_ref() != Some(&text) {
                self.events.push_back(ControlEvent::Ospf(ospf::Event::Problem(text.clone())));
            }
            self.told_swallowing.insert((network, prefix_len), text);
        }
    }
}
