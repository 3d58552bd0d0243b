//! What an area border router tells one area of the others (RFC 2328 sections 12.4.3, 16.2 and appendix E).

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Instant;

use coati_wire::ospf::{LsaBody, LsaKey, RouterLsa, lsa_kind};

use crate::config::{AreaId, AreaKind, BACKBONE, Filter, Range};
use crate::engine::Engine;
use crate::lsdb::Scope;
use crate::originate::OwnKey;
use crate::route::{Destination, INFINITY, Route, RouteKind};
use crate::spf::NextHop;

const DEFAULT: (Ipv4Addr, u8) = (Ipv4Addr::UNSPECIFIED, 0);

impl Engine {
    /// Originates summaries into every area, and takes back those that are not true any more.
    pub(crate) fn summarise(&mut self, now: Instant) {
        let mut wanted: BTreeMap<OwnKey, (u8, LsaBody)> = BTreeMap::new();
        if self.is_border() {
            for area in self.attached_areas() {
                self.summaries_for(area, &mut wanted);
            }
        }
        self.originate_exactly(now, &[lsa_kind::SUMMARY_NETWORK, lsa_kind::SUMMARY_ASBR], &wanted);
    }

    fn summaries_for(&self, area: AreaId, wanted: &mut BTreeMap<OwnKey, (u8, LsaBody)>) {
        let kind = self.area_kind(area);
        let mut networks: BTreeMap<Destination, u32> = BTreeMap::new();
        if kind.takes_summaries() {
            self.summarised_networks(area, &mut networks);
        }
        if let Some(cost) = self.default_summary(area, kind) {
            networks.insert(Destination::new(DEFAULT.0, DEFAULT.1), cost);
        }
        let (router, options) = (self.config.router_id, crate::hello::options(kind));
        for (destination, id) in link_state_ids(networks.keys().copied()) {
            let Some(metric) = networks.get(&destination) else { continue };
            let key = LsaKey { kind: lsa_kind::SUMMARY_NETWORK, id, advertising_router: router };
            let body = LsaBody::Summary { mask: destination.mask(), metric: *metric };
            wanted.insert((Scope::Area(area), key), (options, body));
        }
        if kind.takes_externals() {
            for (id, metric) in self.summarised_boundaries(area) {
                let key = LsaKey { kind: lsa_kind::SUMMARY_ASBR, id, advertising_router: router };
                let body = LsaBody::Summary { mask: Ipv4Addr::UNSPECIFIED, metric };
                wanted.insert((Scope::Area(area), key), (options, body));
            }
        }
    }

    /// The default route of a stub area; that of an NSSA with summaries is a type 7 LSA.
    fn default_summary(&self, area: AreaId, kind: AreaKind) -> Option<u32> {
        let cost = self.config.areas.get(&area).map_or(1, |area| area.default_cost);
        match kind {
            AreaKind::Stub { .. } => Some(cost),
            AreaKind::Nssa(nssa) => (!nssa.summaries).then_some(cost),
            AreaKind::Normal => None,
        }
    }

    fn summarised_networks(&self, area: AreaId, networks: &mut BTreeMap<Destination, u32>) {
        let mut ranges: BTreeMap<Destination, (u32, bool)> = BTreeMap::new();
        for (destination, route) in &self.table.routes {
            // Section 12.4.3: only what is inside of the AS, and nothing that is reached through the area itself.
            let leads_into = route.area == area || self.leads_into(area, &route.next_hops);
            if !route.kind.is_inside() || leads_into || route.cost >= INFINITY {
                continue;
            }
            let filters = self.config.areas.get(&route.area).map_or(&[][..], |area| &area.filters_out);
            if !passes(filters, *destination) {
                continue;
            }
            match route.kind {
                RouteKind::IntraArea => match self.range_of(route, *destination, area) {
                    None => {
                        networks.insert(*destination, route.cost);
                    }
                    Some(range) if range.advertise => {
                        let (network, prefix_len) =
                            range.substitute.unwrap_or((range.network, range.prefix_len));
                        let entry = ranges.entry(Destination::new(network, prefix_len)).or_insert((0, false));
                        match range.cost {
                            Some(cost) => *entry = (cost, true),
                            None if !entry.1 => entry.0 = entry.0.max(route.cost),
                            None => {}
                        }
                    }
                    Some(_) => {}
                },
                // Only networks of the own areas go into the backbone, and only what came from there goes on
                // (RFC 3509 section 2.2).
                _ if area != BACKBONE && route.area == BACKBONE => {
                    networks.insert(*destination, route.cost);
                }
                _ => {}
            }
        }
        networks.extend(ranges.into_iter().map(|(destination, (cost, _))| (destination, cost)));
        let filters = self.config.areas.get(&area).map_or(&[][..], |area| &area.filters_in);
        networks.retain(|destination, _| passes(filters, *destination));
    }

    /// The configured range that a network of an area lies in. The backbone's do not hide its networks from an area
    /// that carries virtual links.
    fn range_of(&self, route: &Route, destination: Destination, into: AreaId) -> Option<&Range> {
        if route.area == BACKBONE && self.areas.get(&into).is_some_and(|area| area.is_transit()) {
            return None;
        }
        let ranges = &self.config.areas.get(&route.area)?.ranges;
        let covers = |range: &&Range| Destination::new(range.network, range.prefix_len).contains(destination);
        ranges.iter().filter(covers).max_by_key(|range| range.prefix_len)
    }

    /// Advertised ranges with at least one network in them, and their areas.
    fn live_ranges(&self) -> Vec<(Destination, AreaId)> {
        if !self.is_border() {
            return Vec::new();
        }
        let mut live = Vec::new();
        for (area, config) in &self.config.areas {
            for range in config.ranges.iter().filter(|range| range.advertise) {
                let whole = Destination::new(range.network, range.prefix_len);
                let inside = |(destination, route): (&Destination, &Route)| {
                    route.kind == RouteKind::IntraArea && route.area == *area && whole.contains(*destination)
                };
                if self.table.routes.iter().any(inside) {
                    live.push((whole, *area));
                }
            }
        }
        live
    }

    /// The same, as destinations: summaries of others for them do not count (section 16.2 step 3).
    pub(crate) fn active_ranges(&self) -> Vec<Destination> {
        self.live_ranges().into_iter().map(|(destination, _)| destination).collect()
    }

    /// Routes that throw away what goes to holes in ranges.
    pub(crate) fn discarded(&self, now: Instant) -> BTreeMap<Destination, Route> {
        let external = self.live_external_ranges(now).into_iter().map(|destination| (destination, BACKBONE));
        let live = external.chain(self.live_ranges());
        let holes = live.filter(|(destination, _)| !self.table.routes.contains_key(destination));
        let route = |(destination, area): (Destination, AreaId)| {
            let (network, prefix_len) = (destination.network(), destination.prefix_len());
            let (kind, next_hops) = (RouteKind::IntraArea, [].into());
            (destination, Route { network, prefix_len, cost: 0, kind, area, next_hops })
        };
        holes.map(route).collect()
    }

    fn leads_into(&self, area: AreaId, hops: &[NextHop]) -> bool {
        let in_area = |hop: &NextHop| {
            self.interfaces.get(&hop.interface).is_some_and(|interface| interface.config.area == area)
        };
        !hops.is_empty() && hops.iter().all(in_area)
    }

    /// AS boundary routers of which an area has to hear.
    fn summarised_boundaries(&self, area: AreaId) -> BTreeMap<Ipv4Addr, u32> {
        let mut list: BTreeMap<Ipv4Addr, u32> = BTreeMap::new();
        let inside: BTreeSet<Ipv4Addr> = self
            .table
            .routers
            .iter()
            .filter(|route| route.area == area && !route.inter_area && route.flags & RouterLsa::BOUNDARY != 0)
            .map(|route| route.router_id)
            .collect();
        for route in &self.table.routers {
            let backbone_only = route.inter_area && (area == BACKBONE || route.area != BACKBONE);
            if route.flags & RouterLsa::BOUNDARY == 0
                || route.area == area
                || backbone_only
                || inside.contains(&route.router_id)
                || self.area_kind(route.area).is_nssa()
                || self.leads_into(area, &route.next_hops)
                || route.cost >= INFINITY
            {
                continue;
            }
            let cost = list.entry(route.router_id).or_insert(route.cost);
            *cost = (*cost).min(route.cost);
        }
        list
    }
}

fn passes(filters: &[Filter], destination: Destination) -> bool {
    filters.iter().all(|filter| filter.permits(destination.network(), destination.prefix_len()))
}

/// Link state ids for destinations, so that two with the same network and different masks have different ones
/// (appendix E): the longest has the network itself, the others have host bits set.
pub(crate) fn link_state_ids(
    destinations: impl Iterator<Item = Destination>,
) -> Vec<(Destination, Ipv4Addr)> {
    let mut list: Vec<Destination> = destinations.collect();
    list.sort_unstable_by_key(|destination| std::cmp::Reverse(destination.prefix_len()));
    let mut taken: BTreeSet<u32> = BTreeSet::new();
    let mut ids = Vec::with_capacity(list.len());
    for destination in list {
        let network = u32::from(destination.network());
        let host_bits = !u32::from(destination.mask());
        let tries = std::iter::once(0).chain((0..32).map(|shift| host_bits >> shift));
        if let Some(id) = tries.map(|bits| network | bits & host_bits).find(|id| !taken.contains(id)) {
            taken.insert(id);
            ids.push((destination, Ipv4Addr::from(id)));
        }
    }
    ids
}
