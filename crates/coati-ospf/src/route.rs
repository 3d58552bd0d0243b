//! Routes (RFC 2328 sections 11 and 16.2 to 16.6, RFC 3101 section 2.5): for every destination who advertises it, and
//! which of them is the best. A destination whose advertisements change is looked at alone; only when paths change
//! all of them are.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;

use coati_wire::ospf::{LsaBody, LsaHeader, LsaKey, OPTION_NP, RouterLink, RouterLsa, lsa_kind};

use crate::area::Area;
use crate::config::{AreaId, BACKBONE, RouterId};
use crate::graph::Node;
use crate::interface::{mask, masked};
use crate::lsdb::densely;
use crate::spf::NextHop;

/// Metric that means "not reachable" in summaries and externals.
pub(crate) const INFINITY: u32 = 0x00ff_ffff;

/// A destination and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Network.
    pub network: Ipv4Addr,
    /// Length of its prefix.
    pub prefix_len: u8,
    /// Cost; for [`RouteKind::External2`] the cost to the router that advertises it.
    pub cost: u32,
    /// What kind of path it is.
    pub kind: RouteKind,
    /// The area, for paths inside the AS.
    pub area: AreaId,
    /// Next hops, in the order of interfaces; none when what goes there is thrown away.
    pub next_hops: Arc<[NextHop]>,
}

/// Kinds of paths, the preferred first (section 11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RouteKind {
    /// Inside the area.
    IntraArea,
    /// In another area.
    InterArea,
    /// Outside, with a metric like ours.
    External1 {
        /// Tag.
        tag: u32,
    },
    /// Outside, with a metric larger than any of ours.
    External2 {
        /// That metric.
        metric: u32,
        /// Tag.
        tag: u32,
    },
}

impl RouteKind {
    /// Whether the destination is inside of the AS.
    pub fn is_inside(self) -> bool {
        matches!(self, Self::IntraArea | Self::InterArea)
    }
}

/// How a border router is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterRoute {
    /// Router id.
    pub router_id: RouterId,
    /// Cost.
    pub cost: u32,
    /// Area.
    pub area: AreaId,
    /// Whether it is in another area, behind a border router.
    pub inter_area: bool,
    /// Flags of its router LSA: 1 is ABR, 2 ASBR.
    pub flags: u8,
    /// Next hops.
    pub next_hops: Arc<[NextHop]>,
}

/// A destination, in the order of routing tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Destination {
    network: u32,
    prefix_len: u8,
}

impl Destination {
    pub(crate) fn new(address: Ipv4Addr, prefix_len: u8) -> Self {
        Self { network: u32::from(masked(address, prefix_len)), prefix_len }
    }

    fn of(address: Ipv4Addr, mask: Ipv4Addr) -> Option<Self> {
        let mask = u32::from(mask);
        let ones = mask.leading_ones();
        let prefix_len = u8::try_from(ones).ok()?;
        (mask.checked_shl(ones).unwrap_or(0) == 0).then(|| Self::new(address, prefix_len))
    }

    pub(crate) fn network(self) -> Ipv4Addr {
        Ipv4Addr::from(self.network)
    }

    pub(crate) fn prefix_len(self) -> u8 {
        self.prefix_len
    }

    pub(crate) fn mask(self) -> Ipv4Addr {
        mask(self.prefix_len)
    }

    /// Whether `other` is in it, or is it.
    pub(crate) fn contains(self, other: Self) -> bool {
        self.prefix_len <= other.prefix_len && masked(other.network(), self.prefix_len) == self.network()
    }
}

/// One LSA's word about a destination.
#[derive(Clone, Copy, Debug)]
struct Advert {
    /// `None` for AS-wide ones.
    area: Option<AreaId>,
    kind: u8,
    id: Ipv4Addr,
    router: RouterId,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    /// A stub network of the router with this number in the graph.
    Stub {
        vertex: u32,
        metric: u32,
    },
    /// A network with this number in the graph.
    Network {
        vertex: u32,
    },
    Summary {
        metric: u32,
    },
    External {
        type2: bool,
        metric: u32,
        forwarding: Ipv4Addr,
        tag: u32,
        propagate: bool,
    },
}

/// What is advertised of one destination: nearly always by one LSA.
#[derive(Debug)]
enum Adverts {
    One(Advert),
    Many(Vec<Advert>),
}

impl Adverts {
    fn as_slice(&self) -> &[Advert] {
        match self {
            Self::One(advert) => std::slice::from_ref(advert),
            Self::Many(list) => list,
        }
    }

    fn push(&mut self, advert: Advert) {
        match self {
            Self::One(first) => *self = Self::Many(vec![*first, advert]),
            Self::Many(list) => list.push(advert),
        }
    }

    /// Removes those that `which` says; whether none is left.
    fn remove(&mut self, which: impl Fn(&Advert) -> bool) -> bool {
        match self {
            Self::One(advert) => which(advert),
            Self::Many(list) => {
                list.retain(|advert| !which(advert));
                list.is_empty()
            }
        }
    }
}

/// Advertisements and routes by destination.
#[derive(Debug, Default)]
pub(crate) struct Table {
    adverts: BTreeMap<Destination, Adverts>,
    pub(crate) routes: BTreeMap<Destination, Route>,
    /// Routes to border routers, each area's own.
    pub(crate) routers: Vec<RouterRoute>,
    /// Best paths to AS boundary routers, for AS-external LSAs.
    boundaries: HashMap<RouterId, Boundary>,
    /// Destinations whose advertisements have changed.
    dirty: BTreeSet<Destination>,
    /// Destinations that have come, gone, or got other next hops.
    pub(crate) moved: Vec<Destination>,
    /// All routes have to be looked at.
    pub(crate) stale: bool,
    /// Destinations with an external advertisement that has a forwarding address.
    forwarded: BTreeMap<Destination, usize>,
}

/// The best path to an AS boundary router (section 16.4 step 3).
#[derive(Clone, Debug)]
struct Boundary {
    /// Paths inside an area other than the backbone come first (section 16.4.1).
    preference: u8,
    cost: u32,
    area: AreaId,
    next_hops: Arc<[NextHop]>,
}

/// What routes are computed from, besides the table itself.
pub(crate) struct Sources<'a> {
    pub(crate) areas: &'a BTreeMap<AreaId, Area>,
    pub(crate) root: RouterId,
    /// Areas whose summaries count (section 16.2).
    pub(crate) summaries_of: BTreeSet<AreaId>,
    /// Areas that carry virtual links of ours (section 16.3).
    pub(crate) transit: BTreeSet<AreaId>,
    /// Own networks: area, destination, interface.
    pub(crate) attached: Vec<(AreaId, Destination, u32)>,
    /// A forwarding address that is our own leads nowhere.
    pub(crate) own_addresses: BTreeSet<Ipv4Addr>,
    pub(crate) rfc1583: bool,
    pub(crate) maximum_paths: usize,
    /// Whether this router is a border router, and its active ranges.
    pub(crate) ranges: Vec<Destination>,
    /// Areas that are NSSAs, and whether they take summaries.
    pub(crate) nssas: BTreeMap<AreaId, bool>,
    pub(crate) is_border: bool,
}

impl Table {
    /// Takes no more memory than it needs.
    pub(crate) fn condense(&mut self) {
        densely(&mut self.adverts);
    }

    /// What an LSA that is alive says has become something else; `None` is no such LSA.
    pub(crate) fn replace(
        &mut self,
        area: Option<AreaId>,
        key: &LsaKey,
        vertex: Option<u32>,
        old: Option<(LsaHeader, &LsaBody)>,
        new: Option<(LsaHeader, &LsaBody)>,
    ) {
        let mine = |advert: &Advert| {
            (advert.area, advert.kind, advert.id, advert.router)
                == (area, key.kind, key.id, key.advertising_router)
        };
        // Where it advertised does not depend on the number that its vertex had.
        for (destination, _) in old.map(|lsa| advertised(area, lsa, Some(0))).unwrap_or_default() {
            if let Some(list) = self.adverts.get_mut(&destination) {
                let of_it = || list.as_slice().iter().filter(|advert| mine(advert));
                let forwards = of_it().filter(|advert| has_forwarding(advert)).count();
                if of_it().next().is_some() {
                    self.dirty.insert(destination);
                }
                if list.remove(mine) {
                    self.adverts.remove(&destination);
                }
                if forwards > 0 {
                    count_down(&mut self.forwarded, destination, forwards);
                }
            }
        }
        for (destination, advert) in new.map(|lsa| advertised(area, lsa, vertex)).unwrap_or_default() {
            if has_forwarding(&advert) {
                *self.forwarded.entry(destination).or_default() += 1;
            }
            match self.adverts.entry(destination) {
                Entry::Occupied(mut list) => list.get_mut().push(advert),
                Entry::Vacant(place) => drop(place.insert(Adverts::One(advert))),
            }
            self.dirty.insert(destination);
        }
    }

    /// The way to what an LSA of an area advertises may be another.
    pub(crate) fn look_at(&mut self, header: LsaHeader, body: &LsaBody) {
        let of_no_area = advertised(None, (header, body), Some(0)).into_iter();
        self.dirty.extend(of_no_area.map(|(destination, _)| destination));
    }

    /// Looks at what is dirty, or at everything; whether any route is another now.
    pub(crate) fn update(&mut self, sources: &Sources<'_>) -> bool {
        if self.stale {
            self.stale = false;
            self.dirty.clear();
            return self.compute_all(sources);
        }
        let dirty = std::mem::take(&mut self.dirty);
        let mut changed = false;
        let mut inside_changed = false;
        for destination in &dirty {
            let adverts = self.adverts.get(destination).map_or(&[][..], Adverts::as_slice);
            let new = self
                .inside(*destination, adverts, sources)
                .or_else(|| self.outside(*destination, adverts, sources));
            inside_changed |= [new.as_ref(), self.routes.get(destination)]
                .into_iter()
                .flatten()
                .any(|route| route.kind.is_inside());
            changed |= self.put(*destination, new);
        }
        if inside_changed {
            // What is reached by a forwarding address goes where the route to that address goes.
            let forwarded: Vec<Destination> = self.forwarded.keys().copied().collect();
            for destination in forwarded {
                let adverts = self.adverts.get(&destination).map_or(&[][..], Adverts::as_slice);
                if self.routes.get(&destination).is_none_or(|route| !route.kind.is_inside()) {
                    let new = self.outside(destination, adverts, sources);
                    changed |= self.put(destination, new);
                }
            }
        }
        changed
    }

    fn put(&mut self, destination: Destination, new: Option<Route>) -> bool {
        let old = self.routes.get(&destination);
        if old == new.as_ref() {
            return false;
        }
        if old.map(|old| &old.next_hops) != new.as_ref().map(|new| &new.next_hops) {
            self.moved.push(destination);
        }
        match new {
            Some(route) => self.routes.insert(destination, route),
            None => self.routes.remove(&destination),
        };
        true
    }

    /// Both tables are in the order of destinations, so they are gone through side by side: most routes stay as they are.
    fn compute_all(&mut self, sources: &Sources<'_>) -> bool {
        self.find_routers(sources);
        let is_external = |advert: &Advert| matches!(advert.what, What::External { .. });
        let mut routes = std::mem::take(&mut self.routes);
        let (mut gone, mut come, mut outside) = (Vec::new(), Vec::new(), Vec::new());
        let mut changed = false;
        let mut moved = std::mem::take(&mut self.moved);
        let mut known = routes.iter_mut().peekable();
        for (destination, adverts) in &self.adverts {
            let adverts = adverts.as_slice();
            while let Some((old, _)) = known.next_if(|(old, _)| *old < destination) {
                gone.push(*old);
            }
            let known = known.next_if(|(old, _)| *old == destination).map(|(_, route)| route);
            match (known, self.inside(*destination, adverts, sources)) {
                (Some(route), Some(new)) => {
                    if *route != new {
                        if route.next_hops != new.next_hops {
                            moved.push(*destination);
                        }
                        *route = new;
                        changed = true;
                    }
                }
                (None, Some(new)) => come.push((*destination, new)),
                (route, None) if adverts.iter().any(is_external) => {
                    // One inside must not be taken for a way to a forwarding address any more.
                    gone.extend(route.filter(|route| route.kind.is_inside()).map(|_| *destination));
                    outside.push(*destination);
                }
                (route, None) => gone.extend(route.map(|_| *destination)),
            }
        }
        gone.extend(known.map(|(old, _)| *old));
        changed |= !gone.is_empty() || !come.is_empty();
        moved.extend(come.iter().map(|(destination, _)| destination).chain(&gone));
        self.moved = moved;
        for destination in gone {
            routes.remove(&destination);
        }
        if come.len() > routes.len() / 2 {
            // Made anew, it takes half the memory that it would take with one after the other.
            routes.append(&mut come.into_iter().collect());
        } else {
            routes.extend(come);
        }
        self.routes = routes;
        for destination in outside {
            let adverts = self.adverts.get(&destination).map_or(&[][..], Adverts::as_slice);
            let new = self.outside(destination, adverts, sources);
            changed |= self.put(destination, new);
        }
        changed
    }

    /// Border routers of all areas (section 16.1 step 4, section 16.2), and the best path to each AS boundary router.
    fn find_routers(&mut self, sources: &Sources<'_>) {
        self.routers.clear();
        self.boundaries.clear();
        for (area, found) in sources.areas {
            for (number, vertex) in found.graph.present() {
                let Node::Router(router_id) = vertex.node else { continue };
                let flags = vertex.flags & (RouterLsa::BORDER | RouterLsa::BOUNDARY);
                let Some((cost, hops)) = found.paths.get(number) else { continue };
                if flags == 0 || router_id == sources.root {
                    continue;
                }
                let next_hops = hops.clone();
                self.routers.push(RouterRoute {
                    router_id,
                    cost,
                    area: *area,
                    inter_area: false,
                    flags,
                    next_hops,
                });
            }
        }
        for area in &sources.summaries_of {
            let Some(found) = sources.areas.get(area) else { continue };
            for (key, entry) in found.lsdb.of_kind(lsa_kind::SUMMARY_ASBR) {
                let LsaBody::Summary { metric, .. } = entry.body() else { continue };
                let dead = entry.instance().seconds() >= coati_wire::ospf::MAX_AGE;
                if metric >= INFINITY
                    || dead
                    || key.advertising_router == sources.root
                    || key.id == sources.root
                {
                    continue;
                }
                let Some((cost, hops)) = border_path(found, key.advertising_router) else { continue };
                let known =
                    self.routers.iter_mut().find(|route| route.router_id == key.id && route.area == *area);
                let cost = cost.saturating_add(metric);
                match known {
                    // A path inside the area is better than any other, and a cheaper one than this.
                    Some(route) if !route.inter_area && route.flags & RouterLsa::BOUNDARY != 0 => {}
                    Some(route) if route.inter_area && route.cost < cost => {}
                    Some(route) if route.inter_area && route.cost == cost => {
                        route.next_hops = joined(&route.next_hops, hops, sources.maximum_paths);
                    }
                    Some(route) if route.inter_area => {
                        route.cost = cost;
                        route.next_hops = hops.clone();
                    }
                    _ => self.routers.push(RouterRoute {
                        router_id: key.id,
                        cost,
                        area: *area,
                        inter_area: true,
                        flags: RouterLsa::BOUNDARY,
                        next_hops: hops.clone(),
                    }),
                }
            }
        }
        self.routers.sort_by_key(|route| (route.router_id, route.area, route.inter_area));
        for route in self.routers.iter().filter(|route| route.flags & RouterLsa::BOUNDARY != 0) {
            if sources.nssas.contains_key(&route.area) {
                // Its externals are type 7 LSAs of that area; AS-wide ones come from elsewhere.
                continue;
            }
            let inside_other = !route.inter_area && route.area != BACKBONE;
            let preference = u8::from(!sources.rfc1583 && !inside_other);
            let boundary = Boundary {
                preference,
                cost: route.cost,
                area: route.area,
                next_hops: route.next_hops.clone(),
            };
            let order = |b: &Boundary| (b.preference, b.cost, std::cmp::Reverse(b.area));
            match self.boundaries.get_mut(&route.router_id) {
                Some(known) if order(known) <= order(&boundary) => {}
                Some(known) => *known = boundary,
                None => {
                    self.boundaries.insert(route.router_id, boundary);
                }
            }
        }
    }

    /// The best route inside of the AS.
    fn inside(&self, destination: Destination, adverts: &[Advert], sources: &Sources<'_>) -> Option<Route> {
        let mut best: Option<Route> = None;
        let (network, prefix_len) = (destination.network(), destination.prefix_len());
        for advert in adverts {
            let Some(area) = advert.area else { continue };
            let (vertex, metric) = match advert.what {
                What::Stub { vertex, metric } => (vertex, metric),
                What::Network { vertex } => (vertex, 0),
                _ => continue,
            };
            let Some(found) = sources.areas.get(&area) else { continue };
            let Some((cost, hops)) = found.paths.get(vertex) else { continue };
            let own = matches!(advert.what, What::Stub { .. }) && advert.router == sources.root;
            let next_hops = if own { sources.attached_to(area, destination) } else { hops.clone() };
            let (cost, kind) = (cost.saturating_add(metric), RouteKind::IntraArea);
            offer(
                &mut best,
                Route { network, prefix_len, cost, kind, area, next_hops },
                sources.maximum_paths,
            );
        }
        if best.is_none() && !sources.ranges.contains(&destination) {
            for area in &sources.summaries_of {
                for (cost, next_hops) in summarised(adverts, *area, sources) {
                    let (area, kind) = (*area, RouteKind::InterArea);
                    offer(
                        &mut best,
                        Route { network, prefix_len, cost, kind, area, next_hops },
                        sources.maximum_paths,
                    );
                }
            }
        }
        // Section 16.3: routes of the backbone may be shorter through an area that carries a virtual link.
        if let Some(route) = best.as_mut().filter(|route| route.area == BACKBONE) {
            for area in &sources.transit {
                for (cost, hops) in summarised(adverts, *area, sources) {
                    if cost < route.cost {
                        route.cost = cost;
                        route.next_hops = hops;
                    } else if cost == route.cost {
                        route.next_hops = joined(&route.next_hops, &hops, sources.maximum_paths);
                    }
                }
            }
        }
        best.filter(|route| !route.next_hops.is_empty())
    }

    /// The best route out of the AS (section 16.4).
    fn outside(&self, destination: Destination, adverts: &[Advert], sources: &Sources<'_>) -> Option<Route> {
        let mut best: Option<(ExternalRank, u8, Route)> = None;
        for advert in adverts {
            let Some((rank, source, route)) = self.external(destination, advert, sources) else { continue };
            match &mut best {
                Some((known, ..)) if *known < rank => {}
                Some((known, other_source, other)) if *known == rank => {
                    let next_hops = joined(&other.next_hops, &route.next_hops, sources.maximum_paths);
                    if source < *other_source {
                        (*other_source, *other) = (source, route);
                    }
                    other.next_hops = next_hops;
                }
                _ => best = Some((rank, source, route)),
            }
        }
        best.map(|(.., route)| route)
    }

    fn external(
        &self,
        destination: Destination,
        advert: &Advert,
        sources: &Sources<'_>,
    ) -> Option<(ExternalRank, u8, Route)> {
        let What::External { type2, metric, forwarding, tag, propagate } = advert.what else { return None };
        if metric >= INFINITY || advert.router == sources.root {
            return None;
        }
        // A default route without P bit, or of an NSSA without summaries, is for routers inside of it, not for its border
        // (RFC 3101 section 2.5 step 3).
        if let Some(area) = advert.area
            && destination.prefix_len() == 0
            && sources.is_border
            && (!propagate || sources.nssas.get(&area) == Some(&false))
        {
            return None;
        }
        let boundary = match advert.area {
            None => self.boundaries.get(&advert.router)?.clone(),
            Some(area) => {
                let found = sources.areas.get(&area)?;
                let number = found.graph.number(Node::Router(advert.router))?;
                let (cost, hops) = found.paths.get(number)?;
                let preference = u8::from(sources.rfc1583);
                Boundary { preference, cost, area, next_hops: hops.clone() }
            }
        };
        let (preference, cost, next_hops) = if forwarding.is_unspecified() {
            (boundary.preference, boundary.cost, boundary.next_hops)
        } else {
            // A forwarding address has to be reachable inside the AS, that of a type 7 inside the area.
            let route = self.covering(forwarding)?;
            let fits = match advert.area {
                None => true,
                Some(area) => route.kind == RouteKind::IntraArea && route.area == area,
            };
            if !fits || sources.own_addresses.contains(&forwarding) {
                return None;
            }
            let inside_other = route.kind == RouteKind::IntraArea && route.area != BACKBONE;
            let hop = |hop: &NextHop| NextHop { via: hop.via.or(Some(forwarding)), ..*hop };
            let preference = u8::from(!sources.rfc1583 && !inside_other);
            (preference, route.cost, route.next_hops.iter().map(hop).collect())
        };
        let preference = if sources.rfc1583 { 0 } else { preference };
        // Of equal ones, which are used together, a type 7 that is translated names the route, then a type 5 (RFC 3101
        // section 2.5 step 6e).
        let source = match (advert.area, propagate && !forwarding.is_unspecified()) {
            (Some(_), true) => 0,
            (None, _) => 1,
            (Some(_), false) => 2,
        };
        let (kind, rank) = if type2 {
            (RouteKind::External2 { metric, tag }, ExternalRank { type2, metric, preference, cost })
        } else {
            let cost = cost.saturating_add(metric);
            (RouteKind::External1 { tag }, ExternalRank { type2, metric: 0, preference, cost })
        };
        let route = Route {
            network: destination.network(),
            prefix_len: destination.prefix_len(),
            cost: rank.cost,
            kind,
            area: boundary.area,
            next_hops,
        };
        (!route.next_hops.is_empty()).then_some((rank, source, route))
    }

    /// The most specific route inside the AS to this address.
    pub(crate) fn covering(&self, address: Ipv4Addr) -> Option<&Route> {
        (0..=32u8).rev().find_map(|length| {
            let route = self.routes.get(&Destination::new(address, length))?;
            route.kind.is_inside().then_some(route)
        })
    }
}

/// What decides between two external routes; the smaller is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ExternalRank {
    type2: bool,
    metric: u32,
    preference: u8,
    cost: u32,
}

impl Sources<'_> {
    fn attached_to(&self, area: AreaId, destination: Destination) -> Arc<[NextHop]> {
        let mine = self.attached.iter().filter(|(a, own, _)| *a == area && destination.contains(*own));
        mine.map(|(_, _, interface)| NextHop { interface: *interface, via: None }).collect()
    }
}

/// What an LSA says about which destinations.
fn advertised(
    area: Option<AreaId>,
    (header, body): (LsaHeader, &LsaBody),
    vertex: Option<u32>,
) -> Vec<(Destination, Advert)> {
    let LsaKey { kind, id, advertising_router: router } = header.key;
    let advert = |what| Advert { area, kind, id, router, what };
    match (body, vertex) {
        (LsaBody::Router(lsa), Some(vertex)) => {
            let stubs = lsa.links.iter().filter(|link| link.kind == RouterLink::STUB);
            let stub = |link: &RouterLink| {
                let metric = u32::from(link.metric);
                Some((Destination::of(link.id, link.data)?, advert(What::Stub { vertex, metric })))
            };
            stubs.filter_map(stub).collect()
        }
        // A network that hides its prefix leads nowhere (RFC 6860 section 3.1.2).
        (LsaBody::Network { mask: Ipv4Addr::BROADCAST, .. }, _) => Vec::new(),
        (LsaBody::Network { mask, .. }, Some(vertex)) => Destination::of(id, *mask)
            .map(|destination| (destination, advert(What::Network { vertex })))
            .into_iter()
            .collect(),
        (LsaBody::Summary { mask, metric }, _) if kind == lsa_kind::SUMMARY_NETWORK => {
            let what = What::Summary { metric: *metric };
            Destination::of(id, *mask).map(|destination| (destination, advert(what))).into_iter().collect()
        }
        (LsaBody::External { mask, type2, metric, forwarding, tag }, _) => {
            let propagate = header.options & OPTION_NP != 0;
            let (type2, metric, forwarding, tag) = (*type2, *metric, *forwarding, *tag);
            let what = What::External { type2, metric, forwarding, tag, propagate };
            Destination::of(id, *mask).map(|destination| (destination, advert(what))).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

fn has_forwarding(advert: &Advert) -> bool {
    matches!(advert.what, What::External { forwarding, .. } if !forwarding.is_unspecified())
}

fn count_down(counts: &mut BTreeMap<Destination, usize>, destination: Destination, by: usize) {
    if let Some(count) = counts.get_mut(&destination) {
        *count = count.saturating_sub(by);
        if *count == 0 {
            counts.remove(&destination);
        }
    }
}

/// Paths by the summaries of one area.
fn summarised<'a>(
    adverts: &'a [Advert],
    area: AreaId,
    sources: &'a Sources<'_>,
) -> impl Iterator<Item = (u32, Arc<[NextHop]>)> + 'a {
    adverts
        .iter()
        .filter(move |advert| advert.area == Some(area) && advert.router != sources.root)
        .filter_map(move |advert| {
            let What::Summary { metric } = advert.what else { return None };
            let (cost, hops) =
                border_path(sources.areas.get(&area)?, advert.router).filter(|_| metric < INFINITY)?;
            Some((cost.saturating_add(metric), hops.clone()))
        })
}

/// The path to an area border router inside an area.
fn border_path(area: &Area, router: RouterId) -> Option<(u32, &Arc<[NextHop]>)> {
    let number = area.graph.number(Node::Router(router))?;
    area.graph.vertex(number).filter(|vertex| vertex.flags & RouterLsa::BORDER != 0)?;
    area.paths.get(number)
}

/// Takes a route when it is better than what is there, and joins equal ones of the same area.
fn offer(best: &mut Option<Route>, route: Route, maximum: usize) {
    if route.next_hops.is_empty() {
        return;
    }
    match best {
        Some(known) if known.cost < route.cost => {}
        Some(known) if known.cost == route.cost && known.area == route.area => {
            known.next_hops = joined(&known.next_hops, &route.next_hops, maximum);
        }
        Some(known) if known.cost == route.cost && known.area > route.area => {}
        _ => *best = Some(route),
    }
}

fn joined(a: &Arc<[NextHop]>, b: &Arc<[NextHop]>, maximum: usize) -> Arc<[NextHop]> {
    if a == b {
        return a.clone();
    }
    let mut hops: Vec<NextHop> = a.iter().chain(b.iter()).copied().collect();
    hops.sort_unstable();
    hops.dedup();
    hops.truncate(maximum.max(1));
    hops.into()
}
