//! Shortest paths and routes (RFC 2328 section 16): intra-area, then summaries, then externals.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::net::Ipv4Addr;

use coati_wire::ospf::{Lsa, LsaBody, RouterLink, RouterLsa, lsa_kind};

/// Equal paths kept for one destination.
const MAX_PATHS: usize = 16;
/// Metric that means "not reachable" in summaries and externals.
const INFINITY: u32 = 0x00ff_ffff;

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
    pub area: Ipv4Addr,
    /// Next hops, in the order of interfaces.
    pub next_hops: Vec<NextHop>,
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

/// One way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NextHop {
    /// Interface index.
    pub interface: u32,
    /// The neighbour's address; `None` on a directly attached network.
    pub via: Option<Ipv4Addr>,
}

/// How a border router is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterRoute {
    /// Router id.
    pub router_id: Ipv4Addr,
    /// Cost.
    pub cost: u32,
    /// Area.
    pub area: Ipv4Addr,
    /// Flags of its router LSA: 1 is ABR, 2 ASBR.
    pub flags: u8,
    /// Next hops.
    pub next_hops: Vec<NextHop>,
}

/// An interface of the root.
#[derive(Clone, Debug)]
pub struct OwnLink {
    /// Interface index.
    pub interface: u32,
    /// Own address.
    pub address: Ipv4Addr,
    /// Router id and address of a fully adjacent neighbour.
    pub neighbour: Option<(Ipv4Addr, Ipv4Addr)>,
}

/// What one area yields.
#[derive(Debug, Default)]
pub struct Table {
    /// Routes to networks.
    pub routes: Vec<Route>,
    /// Routes to border routers.
    pub routers: Vec<RouterRoute>,
}

/// A node of the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Vertex {
    /// By the designated router's address.
    Network(Ipv4Addr),
    Router(Ipv4Addr),
}

#[derive(Clone, Debug)]
struct Path {
    cost: u32,
    next_hops: Vec<NextHop>,
    done: bool,
}

/// The LSAs of one area, by what they are looked up with.
struct Graph<'a> {
    routers: HashMap<Ipv4Addr, &'a RouterLsa>,
    networks: HashMap<Ipv4Addr, (Ipv4Addr, &'a [Ipv4Addr])>,
    others: Vec<&'a Lsa>,
}

/// Computes the routes of an area with `root` at its root.
pub fn compute<'a>(
    area: Ipv4Addr,
    root: Ipv4Addr,
    lsas: impl Iterator<Item = &'a Lsa>,
    own: &[OwnLink],
) -> Table {
    let mut graph = Graph { routers: HashMap::new(), networks: HashMap::new(), others: Vec::new() };
    for lsa in lsas {
        let key = lsa.header.key;
        match &lsa.body {
            // A router LSA is its originator's (section 12.4.1).
            LsaBody::Router(router) if key.id == key.advertising_router => {
                graph.routers.insert(key.advertising_router, router);
            }
            LsaBody::Router(_) => {}
            LsaBody::Network { mask, routers } => {
                graph.networks.insert(key.id, (*mask, routers));
            }
            _ => graph.others.push(lsa),
        }
    }
    let paths = dijkstra(root, &graph, own);
    let mut table = Table::default();
    let mut best: BTreeMap<(Ipv4Addr, u8), Route> = BTreeMap::new();
    intra_area(area, root, &graph, own, &paths, &mut best);
    table.routers = routers(area, root, &graph, &paths);
    inter_area(area, root, &graph, &paths, &mut best);
    external(area, root, &graph, &paths, &mut best);
    table.routes = best.into_values().collect();
    table
}

/// Section 16.1, first stage.
fn dijkstra(root: Ipv4Addr, graph: &Graph<'_>, own: &[OwnLink]) -> HashMap<Vertex, Path> {
    let mut paths: HashMap<Vertex, Path> = HashMap::new();
    // At equal cost networks come first (step 3).
    let mut queue = BinaryHeap::new();
    let start = Vertex::Router(root);
    paths.insert(start, Path { cost: 0, next_hops: Vec::new(), done: false });
    queue.push(Reverse((0u32, start)));
    while let Some(Reverse((cost, vertex))) = queue.pop() {
        let Some(path) = paths.get_mut(&vertex).filter(|path| !path.done && path.cost == cost) else {
            continue;
        };
        path.done = true;
        let from = path.next_hops.clone();
        for (next, metric, link) in edges(vertex, graph) {
            let Some(cost) = cost.checked_add(metric) else { continue };
            if !links_back(next, vertex, graph) {
                continue;
            }
            let next_hops = if vertex == start {
                first_hops(&next, link, own)
            } else if from.is_empty() {
                continue;
            } else {
                // Behind a network that we are attached to, the router's own address is the next hop.
                onwards(vertex, &next, &from, graph)
            };
            match paths.get_mut(&next) {
                Some(known) if known.done || known.cost < cost => {
                    if known.cost == cost {
                        add_hops(&mut known.next_hops, next_hops);
                    }
                }
                Some(known) if known.cost == cost => add_hops(&mut known.next_hops, next_hops),
                _ => {
                    paths.insert(next, Path { cost, next_hops, done: false });
                    queue.push(Reverse((cost, next)));
                }
            }
        }
    }
    paths
}

fn add_hops(list: &mut Vec<NextHop>, more: Vec<NextHop>) {
    list.extend(more);
    list.sort_unstable();
    list.dedup();
    list.truncate(MAX_PATHS);
}

/// What a vertex links to, with the cost, and the link itself.
fn edges<'a>(vertex: Vertex, graph: &Graph<'a>) -> Vec<(Vertex, u32, Option<&'a RouterLink>)> {
    match vertex {
        Vertex::Router(id) => {
            let links = graph.routers.get(&id).map_or(&[][..], |router| &router.links);
            let edge = |link: &'a RouterLink| {
                let next = match link.kind {
                    RouterLink::POINT_TO_POINT | RouterLink::VIRTUAL => Vertex::Router(link.id),
                    RouterLink::TRANSIT => Vertex::Network(link.id),
                    _ => return None,
                };
                Some((next, u32::from(link.metric), Some(link)))
            };
            links.iter().filter_map(edge).collect()
        }
        Vertex::Network(id) => {
            let routers = graph.networks.get(&id).map_or(&[][..], |(_, routers)| routers);
            routers.iter().map(|router| (Vertex::Router(*router), 0, None)).collect()
        }
    }
}

/// Whether `from` also links to `to` (step 2b).
fn links_back(from: Vertex, to: Vertex, graph: &Graph<'_>) -> bool {
    match (from, to) {
        (Vertex::Network(id), Vertex::Router(router)) => {
            graph.networks.get(&id).is_some_and(|(_, routers)| routers.contains(&router))
        }
        (Vertex::Network(_), Vertex::Network(_)) => false,
        (Vertex::Router(id), to) => {
            let links = graph.routers.get(&id).map_or(&[][..], |router| &router.links);
            links.iter().any(|link| match to {
                Vertex::Router(router) => {
                    matches!(link.kind, RouterLink::POINT_TO_POINT | RouterLink::VIRTUAL) && link.id == router
                }
                Vertex::Network(network) => link.kind == RouterLink::TRANSIT && link.id == network,
            })
        }
    }
}

/// Next hops of what the root itself links to (section 16.1.1).
fn first_hops(next: &Vertex, link: Option<&RouterLink>, own: &[OwnLink]) -> Vec<NextHop> {
    let mine = own.iter().filter(|own| link.is_none_or(|link| link.data == own.address));
    let hop = |own: &OwnLink| match (next, own.neighbour) {
        (Vertex::Router(id), Some((router_id, address))) if router_id == *id => {
            Some(NextHop { interface: own.interface, via: Some(address) })
        }
        (Vertex::Network(_), _) => Some(NextHop { interface: own.interface, via: None }),
        _ => None,
    };
    mine.filter_map(hop).collect()
}

fn onwards(vertex: Vertex, next: &Vertex, from: &[NextHop], graph: &Graph<'_>) -> Vec<NextHop> {
    let (Vertex::Network(network), Vertex::Router(router)) = (vertex, next) else { return from.to_vec() };
    let links = graph.routers.get(router).map_or(&[][..], |router| &router.links);
    let address = links.iter().find(|link| link.kind == RouterLink::TRANSIT && link.id == network);
    let via = address.map(|link| link.data);
    from.iter().map(|hop| NextHop { via: hop.via.or(via), ..*hop }).collect()
}

fn prefix_len(mask: Ipv4Addr) -> Option<u8> {
    let mask = u32::from(mask);
    let ones = mask.leading_ones();
    (mask.checked_shl(ones).unwrap_or(0) == 0).then(|| u8::try_from(ones).unwrap_or(32))
}

fn masked(address: Ipv4Addr, mask: Ipv4Addr) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(address) & u32::from(mask))
}

/// Takes a route when it is better than what is there, and joins equal ones.
fn offer(best: &mut BTreeMap<(Ipv4Addr, u8), Route>, route: Route) {
    if route.next_hops.is_empty() {
        return;
    }
    match best.get_mut(&(route.network, route.prefix_len)) {
        None => {
            best.insert((route.network, route.prefix_len), route);
        }
        Some(known) => match rank(&route).cmp(&rank(known)) {
            std::cmp::Ordering::Less => *known = route,
            std::cmp::Ordering::Equal => add_hops(&mut known.next_hops, route.next_hops),
            std::cmp::Ordering::Greater => {}
        },
    }
}

/// What decides between two routes: kind of path, then cost.
fn rank(route: &Route) -> (u8, u32, u32) {
    match route.kind {
        RouteKind::IntraArea => (0, 0, route.cost),
        RouteKind::InterArea => (1, 0, route.cost),
        RouteKind::External1 { .. } => (2, 0, route.cost),
        RouteKind::External2 { metric, .. } => (3, metric, route.cost),
    }
}

/// Joins the routes of one more area.
pub fn merge(routes: &mut Vec<Route>, more: Vec<Route>) {
    let mut best: BTreeMap<(Ipv4Addr, u8), Route> =
        routes.drain(..).map(|route| ((route.network, route.prefix_len), route)).collect();
    for route in more {
        offer(&mut best, route);
    }
    routes.extend(best.into_values());
}

/// Networks, and the stub networks of routers (section 16.1, second stage).
fn intra_area(
    area: Ipv4Addr,
    root: Ipv4Addr,
    graph: &Graph<'_>,
    own: &[OwnLink],
    paths: &HashMap<Vertex, Path>,
    best: &mut BTreeMap<(Ipv4Addr, u8), Route>,
) {
    let mut sorted: Vec<(&Vertex, &Path)> = paths.iter().filter(|(_, path)| path.done).collect();
    sorted.sort_unstable_by_key(|(vertex, _)| **vertex);
    let kind = RouteKind::IntraArea;
    for (vertex, path) in sorted {
        match vertex {
            Vertex::Network(id) => {
                let Some((mask, _)) = graph.networks.get(id) else { continue };
                let Some(prefix_len) = prefix_len(*mask) else { continue };
                let (network, next_hops) = (masked(*id, *mask), path.next_hops.clone());
                offer(best, Route { network, prefix_len, cost: path.cost, kind, area, next_hops });
            }
            Vertex::Router(id) => {
                let links = graph.routers.get(id).map_or(&[][..], |router| &router.links);
                for link in links.iter().filter(|link| link.kind == RouterLink::STUB) {
                    let Some(prefix_len) = prefix_len(link.data) else { continue };
                    let network = masked(link.id, link.data);
                    let next_hops = if *id == root {
                        let attached = own.iter().filter(|own| masked(own.address, link.data) == network);
                        attached.map(|own| NextHop { interface: own.interface, via: None }).collect()
                    } else {
                        path.next_hops.clone()
                    };
                    let cost = path.cost.saturating_add(u32::from(link.metric));
                    offer(best, Route { network, prefix_len, cost, kind, area, next_hops });
                }
            }
        }
    }
}

/// Border routers.
fn routers(
    area: Ipv4Addr,
    root: Ipv4Addr,
    graph: &Graph<'_>,
    paths: &HashMap<Vertex, Path>,
) -> Vec<RouterRoute> {
    let mut list = Vec::new();
    for (vertex, path) in paths {
        if let Vertex::Router(router_id) = vertex
            && *router_id != root
            && let Some(router) = graph.routers.get(router_id)
            && router.flags & 3 != 0
        {
            let (flags, next_hops) = (router.flags, path.next_hops.clone());
            list.push(RouterRoute { router_id: *router_id, cost: path.cost, area, flags, next_hops });
        }
    }
    list.sort_unstable_by_key(|route| route.router_id);
    list
}

/// Networks in other areas (section 16.2).
fn inter_area(
    area: Ipv4Addr,
    root: Ipv4Addr,
    graph: &Graph<'_>,
    paths: &HashMap<Vertex, Path>,
    best: &mut BTreeMap<(Ipv4Addr, u8), Route>,
) {
    for lsa in &graph.others {
        let (LsaBody::Summary { mask, metric }, key) = (&lsa.body, lsa.header.key) else { continue };
        if key.kind != lsa_kind::SUMMARY_NETWORK || *metric >= INFINITY || key.advertising_router == root {
            continue;
        }
        let border = paths.get(&Vertex::Router(key.advertising_router)).filter(|path| path.done);
        let (Some(border), Some(prefix_len)) = (border, prefix_len(*mask)) else { continue };
        let route = Route {
            network: masked(key.id, *mask),
            prefix_len,
            cost: border.cost.saturating_add(*metric),
            kind: RouteKind::InterArea,
            area,
            next_hops: border.next_hops.clone(),
        };
        offer(best, route);
    }
}

/// Destinations outside of the AS (section 16.4).
fn external(
    area: Ipv4Addr,
    root: Ipv4Addr,
    graph: &Graph<'_>,
    paths: &HashMap<Vertex, Path>,
    best: &mut BTreeMap<(Ipv4Addr, u8), Route>,
) {
    let mut found = Vec::new();
    for lsa in &graph.others {
        let LsaBody::External { mask, type2, metric, forwarding, tag } = &lsa.body else { continue };
        let key = lsa.header.key;
        if *metric >= INFINITY || key.advertising_router == root {
            continue;
        }
        let asbr = asbr_path(key.advertising_router, graph, paths);
        let (Some((asbr_cost, asbr_hops)), Some(prefix_len)) = (asbr, prefix_len(*mask)) else { continue };
        let (cost, next_hops) = if forwarding.is_unspecified() {
            (asbr_cost, asbr_hops)
        } else {
            // A forwarding address has to be reachable inside the AS.
            match covering(best, *forwarding) {
                Some(route) => {
                    let hop = |hop: &NextHop| NextHop { via: hop.via.or(Some(*forwarding)), ..*hop };
                    (route.cost, route.next_hops.iter().map(hop).collect())
                }
                None => continue,
            }
        };
        let (kind, cost) = if *type2 {
            (RouteKind::External2 { metric: *metric, tag: *tag }, cost)
        } else {
            (RouteKind::External1 { tag: *tag }, cost.saturating_add(*metric))
        };
        found.push(Route { network: masked(key.id, *mask), prefix_len, cost, kind, area, next_hops });
    }
    for route in found {
        offer(best, route);
    }
}

/// The path to an AS boundary router, directly or by a type 4 summary.
fn asbr_path(
    router: Ipv4Addr,
    graph: &Graph<'_>,
    paths: &HashMap<Vertex, Path>,
) -> Option<(u32, Vec<NextHop>)> {
    if let Some(path) = paths.get(&Vertex::Router(router)).filter(|path| path.done) {
        return Some((path.cost, path.next_hops.clone()));
    }
    let summaries = graph
        .others
        .iter()
        .filter(|lsa| lsa.header.key.kind == lsa_kind::SUMMARY_ASBR && lsa.header.key.id == router);
    let path = |lsa: &&Lsa| {
        let LsaBody::Summary { metric, .. } = &lsa.body else { return None };
        let border =
            paths.get(&Vertex::Router(lsa.header.key.advertising_router)).filter(|path| path.done)?;
        Some((border.cost.saturating_add(*metric), border.next_hops.clone()))
    };
    summaries.filter_map(path).min_by_key(|(cost, _)| *cost)
}

/// The most specific route to this address.
fn covering(best: &BTreeMap<(Ipv4Addr, u8), Route>, address: Ipv4Addr) -> Option<&Route> {
    (0..=32u8).rev().find_map(|length| {
        let network = masked(address, crate::interface::mask(length));
        let route = best.get(&(network, length))?;
        matches!(route.kind, RouteKind::IntraArea | RouteKind::InterArea).then_some(route)
    })
}
