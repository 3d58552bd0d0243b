//! Shortest paths of one area (RFC 2328 section 16.1): all of them by Dijkstra's algorithm, or only those that a changed
//! link touches.
//!
//! What is known of a vertex follows from those that link to it: its cost is the least of theirs and the link's, its next
//! hops are those of all through which it costs that. So after a change it is enough to look at the vertices that have
//! changed and those behind them, at the vertices that have lost their last way at their old cost, and, nearest first, at
//! what follows from either. Links that are in nobody's shortest paths cost a look, nothing more.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::config::RouterId;
use crate::graph::{Edge, Graph, Node, Vertex};

/// Larger costs lead nowhere.
const FAR: u32 = 0x7fff_ffff;

/// One way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NextHop {
    /// Interface index.
    pub interface: u32,
    /// The neighbour's address; `None` on a directly attached network.
    pub via: Option<Ipv4Addr>,
}

/// A link of the root itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct OwnLink {
    pub(crate) to: Node,
    pub(crate) metric: u16,
    pub(crate) hops: Vec<NextHop>,
}

/// How far everything is, by the numbers of the graph.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    costs: Vec<u32>,
    hops: Vec<u32>,
    sets: HopSets,
    /// The root's links by which they were computed.
    own: Vec<OwnLink>,
}

impl Paths {
    /// Cost of a vertex and the hops that lead there.
    pub(crate) fn get(&self, number: u32) -> Option<(u32, &Arc<[NextHop]>)> {
        let at = usize::try_from(number).ok()?;
        let cost = *self.costs.get(at).filter(|cost| **cost != u32::MAX)?;
        Some((cost, self.sets.get(*self.hops.get(at)?)?))
    }
}

/// Sets of next hops, each kept once.
#[derive(Debug)]
struct HopSets {
    sets: Vec<Arc<[NextHop]>>,
    numbers: HashMap<Arc<[NextHop]>, u32>,
    unions: HashMap<(u32, u32), u32>,
    maximum: usize,
}

impl Default for HopSets {
    fn default() -> Self {
        let mut sets = Self { sets: Vec::new(), numbers: HashMap::new(), unions: HashMap::new(), maximum: 1 };
        sets.enter(Vec::new());
        sets
    }
}

/// The set without hops.
const NONE: u32 = 0;

impl HopSets {
    fn get(&self, number: u32) -> Option<&Arc<[NextHop]>> {
        self.sets.get(usize::try_from(number).ok()?)
    }

    fn enter(&mut self, mut hops: Vec<NextHop>) -> u32 {
        hops.sort_unstable();
        hops.dedup();
        hops.truncate(self.maximum);
        if let Some(number) = self.numbers.get(hops.as_slice()) {
            return *number;
        }
        let number = u32::try_from(self.sets.len()).unwrap_or(u32::MAX);
        let set: Arc<[NextHop]> = hops.into();
        self.sets.push(set.clone());
        self.numbers.insert(set, number);
        number
    }

    fn union(&mut self, a: u32, b: u32) -> u32 {
        if a == b || b == NONE {
            return a;
        }
        if let Some(known) = self.unions.get(&(a, b)) {
            return *known;
        }
        let both =
            [a, b].into_iter().filter_map(|number| self.get(number)).flat_map(|set| set.iter().copied());
        let union = self.enter(both.collect());
        self.unions.insert((a, b), union);
        union
    }

    /// Behind a network that we are attached to, the router's own address is the next hop.
    fn towards(&mut self, set: u32, address: Ipv4Addr) -> u32 {
        let Some(hops) = self.get(set) else { return NONE };
        if hops.iter().all(|hop| hop.via.is_some()) {
            return set;
        }
        let via = |hop: &NextHop| NextHop { via: hop.via.or(Some(address)), ..*hop };
        let hops = hops.iter().map(via).collect();
        self.enter(hops)
    }
}

/// Dijkstra's algorithm from `root`, whose first hops are those of `own`.
pub(crate) fn compute(graph: &Graph, root: RouterId, own: &[OwnLink], maximum: usize) -> Paths {
    let mut paths = Paths {
        costs: vec![u32::MAX; graph.len()],
        hops: vec![NONE; graph.len()],
        sets: HopSets { maximum: maximum.max(1), ..HopSets::default() },
        own: own.to_vec(),
    };
    let Some(start) = graph.number(Node::Router(root)) else { return paths };
    let mut heap = BinaryHeap::new();
    reach(&mut paths, start, 0);
    heap.push(Reverse(rank(0, Node::Router(root), start)));
    while let Some(Reverse(top)) = heap.pop() {
        let number = u32::try_from(top & 0xffff_ffff).unwrap_or(0);
        let cost = u32::try_from(top >> 33).unwrap_or(FAR);
        let (Some(vertex), Some(known)) = (graph.vertex(number), cost_of(&paths, number)) else { continue };
        if known != cost {
            // A shorter way was found after this one had been queued.
            continue;
        }
        let at = usize::try_from(number).unwrap_or(0);
        let hops = paths.hops.get(at).copied().unwrap_or(NONE);
        for edge in vertex.edges.iter().filter(|edge| edge.both_ways) {
            let total = cost.saturating_add(u32::from(edge.metric));
            let (Some(next), Some(old)) = (graph.vertex(edge.to), cost_of(&paths, edge.to)) else { continue };
            if total >= FAR || total > old || !next.present || edge.to == start {
                continue;
            }
            let through = through(&mut paths.sets, own, (start, number), (vertex, hops), (edge, next));
            if through == NONE {
                continue;
            }
            let place = usize::try_from(edge.to).unwrap_or(0);
            if total < old {
                reach(&mut paths, edge.to, total);
                if let Some(hops) = paths.hops.get_mut(place) {
                    *hops = through;
                }
                heap.push(Reverse(rank(total, next.node, edge.to)));
            } else {
                let before = paths.hops.get(place).copied().unwrap_or(NONE);
                let union = paths.sets.union(before, through);
                if let Some(hops) = paths.hops.get_mut(place) {
                    *hops = union;
                }
            }
        }
    }
    paths
}

/// Next hops of what an edge of `vertex` leads to, which is reached over it.
fn through(
    sets: &mut HopSets,
    own: &[OwnLink],
    (start, number): (u32, u32),
    (vertex, hops): (&Vertex, u32),
    (edge, next): (&Edge, &Vertex),
) -> u32 {
    if number == start {
        first_hops(sets, own, next.node, edge.metric)
    } else if matches!(vertex.node, Node::Network(_)) {
        let back = next.edges.iter().find(|back| back.to == number);
        back.map_or(hops, |back| sets.towards(hops, back.data))
    } else {
        hops
    }
}

/// More sets of next hops than these are not kept from one computation to the next.
const MOST_SETS: usize = 4096;

/// What a computation of changes has to know of each step.
struct Update<'a> {
    graph: &'a Graph,
    start: u32,
    paths: &'a mut Paths,
    /// Vertices to be looked at again, nearest first by what they cost before.
    suspects: BTreeSet<(u32, bool, u32)>,
    /// Those that have been.
    seen: BTreeSet<u32>,
    /// What those cost before that cost something else now.
    before: BTreeMap<u32, u32>,
}

/// Brings paths up to date after changes of these vertices and of the root's own links. Numbers of the vertices with other costs or next hops than
/// before; `None` when everything has to be computed, and then nothing is known of the paths.
pub(crate) fn update(
    paths: &mut Paths,
    graph: &Graph,
    root: RouterId,
    (own, maximum): (&[OwnLink], usize),
    changed: &[u32],
) -> Option<Vec<u32>> {
    let start = graph.number(Node::Router(root))?;
    let same_root = paths.sets.maximum == maximum.max(1) && cost_of(paths, start) == Some(0);
    if !same_root || graph.has_free_links() || paths.sets.sets.len() > MOST_SETS {
        return None;
    }
    let others = other_ends(&paths.own, own);
    if !others.is_empty() {
        paths.own = own.to_vec();
    }
    paths.costs.resize(graph.len(), u32::MAX);
    paths.hops.resize(graph.len(), NONE);
    // What has changed nearly everywhere is computed sooner altogether.
    let most = graph.len() / 4 + 16;
    let (suspects, seen, before) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
    let mut update = Update { graph, start, paths, suspects, seen, before };
    for number in changed {
        update.suspect(*number);
        let edges = graph.vertex(*number).map_or(&[][..], |vertex| &vertex.edges);
        edges.iter().for_each(|edge| update.suspect(edge.to));
    }
    others.into_iter().filter_map(|node| graph.number(node)).for_each(|number| update.suspect(number));
    update.take_away(most)?;
    update.find_again(most)?;
    Some(update.set_hops())
}

/// Where links of the root lead that have come, gone, or become others.
fn other_ends(before: &[OwnLink], now: &[OwnLink]) -> HashSet<Node> {
    if before == now {
        return HashSet::new();
    }
    let (before, now): (HashSet<&OwnLink>, HashSet<&OwnLink>) =
        (before.iter().collect(), now.iter().collect());
    before.symmetric_difference(&now).map(|link| link.to).collect()
}

impl Update<'_> {
    fn suspect(&mut self, number: u32) {
        if number != self.start && self.seen.insert(number) {
            let rank = self.rank(number);
            self.suspects.insert(rank);
        }
    }

    /// By cost, then networks before routers, as [`rank`].
    fn rank(&self, number: u32) -> (u32, bool, u32) {
        let is_router =
            self.graph.vertex(number).is_some_and(|vertex| matches!(vertex.node, Node::Router(_)));
        (cost_of(self.paths, number).unwrap_or(u32::MAX), is_router, number)
    }

    /// The ways to a vertex over one link more: cost, and the number of the vertex before it with its edge.
    fn ways(&self, number: u32) -> impl Iterator<Item = (u32, u32, &Edge)> {
        let vertex = self.graph.vertex(number).filter(|vertex| vertex.present);
        let edges = vertex.map_or(&[][..], |vertex| &vertex.edges);
        // A link that can be used leads both ways, so who leads here is found by the links of this vertex.
        edges
            .iter()
            .enumerate()
            .filter(|(place, edge)| {
                let earlier = edges.get(..*place).unwrap_or(&[]);
                edge.both_ways && earlier.iter().all(|other| other.to != edge.to)
            })
            .filter_map(|(_, edge)| {
                Some((edge.to, self.graph.vertex(edge.to).filter(|vertex| vertex.present)?))
            })
            .flat_map(move |(from, vertex)| {
                let cost = cost_of(self.paths, from).filter(|cost| *cost != u32::MAX);
                let here = vertex.edges.iter().filter(move |edge| edge.to == number && edge.both_ways);
                here.filter_map(move |edge| Some((cost?.saturating_add(u32::from(edge.metric)), from, edge)))
            })
            .filter(move |(total, from, edge)| {
                *total < FAR && (*from != self.start || self.is_first_hop(number, edge))
            })
    }

    /// Whether the root has next hops for this link of its own.
    fn is_first_hop(&self, number: u32, edge: &Edge) -> bool {
        let node = self.graph.vertex(number).map(|vertex| vertex.node);
        let mut own = self.paths.own.iter();
        own.any(|link| Some(link.to) == node && link.metric == edge.metric && !link.hops.is_empty())
    }

    fn least(&self, number: u32) -> u32 {
        self.ways(number).map(|(cost, ..)| cost).min().unwrap_or(u32::MAX)
    }

    fn set_cost(&mut self, number: u32, cost: u32) {
        let old = cost_of(self.paths, number).unwrap_or(u32::MAX);
        self.before.entry(number).or_insert(old);
        reach(self.paths, number, cost);
    }

    /// Vertices that have no way at their old cost any more are out of reach for now, nearest first, and so in turn those
    /// behind them.
    fn take_away(&mut self, most: usize) -> Option<()> {
        while let Some((cost, _, number)) = self.suspects.pop_first() {
            // One that has a cheaper way keeps its cost until that is found below.
            if cost == u32::MAX || self.ways(number).any(|(total, ..)| total <= cost) {
                continue;
            }
            self.set_cost(number, u32::MAX);
            if self.before.len() > most {
                return None;
            }
            let Some(vertex) = self.graph.vertex(number) else { continue };
            for edge in &vertex.edges {
                if cost_of(self.paths, edge.to) == Some(cost.saturating_add(u32::from(edge.metric))) {
                    self.suspect(edge.to);
                }
            }
        }
        Some(())
    }

    /// Costs of all that has been looked at, and of what is nearer by that.
    fn find_again(&mut self, most: usize) -> Option<()> {
        let mut heap = BinaryHeap::new();
        let node =
            |number: u32| self.graph.vertex(number).map_or(Node::Router(RouterId::UNSPECIFIED), |v| v.node);
        for number in &self.seen {
            let least = self.least(*number);
            if least < cost_of(self.paths, *number).unwrap_or(0) {
                heap.push(Reverse(rank(least, node(*number), *number)));
            }
        }
        while let Some(Reverse(top)) = heap.pop() {
            let number = u32::try_from(top & 0xffff_ffff).unwrap_or(0);
            let cost = u32::try_from(top >> 33).unwrap_or(FAR);
            if cost >= cost_of(self.paths, number).unwrap_or(0) {
                continue;
            }
            self.set_cost(number, cost);
            if self.before.len() > most {
                return None;
            }
            let Some(vertex) = self.graph.vertex(number) else { continue };
            for edge in vertex.edges.iter().filter(|edge| edge.both_ways && edge.to != self.start) {
                let total = cost.saturating_add(u32::from(edge.metric));
                let there = self.graph.vertex(edge.to).is_some_and(|next| next.present);
                if there && total < FAR && total < cost_of(self.paths, edge.to).unwrap_or(0) {
                    heap.push(Reverse(rank(total, node(edge.to), edge.to)));
                }
            }
        }
        Some(())
    }

    /// Next hops of all that has been looked at or costs something else, and of what is reached over others; which have
    /// changed.
    fn set_hops(self) -> Vec<u32> {
        let graph = self.graph;
        let mut due: BTreeSet<(u32, bool, u32)> = self.seen.iter().map(|number| self.rank(*number)).collect();
        let moved: Vec<u32> = self
            .before
            .iter()
            .filter(|(n, old)| cost_of(self.paths, **n) != Some(**old))
            .map(|(n, _)| *n)
            .collect();
        for number in &moved {
            due.insert(self.rank(*number));
            let edges = graph.vertex(*number).map_or(&[][..], |vertex| &vertex.edges);
            due.extend(edges.iter().filter(|edge| edge.to != self.start).map(|edge| self.rank(edge.to)));
        }
        let mut changed: BTreeSet<u32> = moved.into_iter().collect();
        while let Some((cost, _, number)) = due.pop_first() {
            let Some(vertex) = graph.vertex(number) else { continue };
            let ways: Vec<(u32, Edge)> = self
                .ways(number)
                .filter(|(total, ..)| *total == cost)
                .map(|(_, from, edge)| (from, *edge))
                .collect();
            let mut hops = NONE;
            for (from, edge) in ways {
                let Some(before) = graph.vertex(from) else { continue };
                let known = self.paths.hops.get(usize::try_from(from).unwrap_or(0)).copied().unwrap_or(NONE);
                let own = std::mem::take(&mut self.paths.own);
                let set =
                    through(&mut self.paths.sets, &own, (self.start, from), (before, known), (&edge, vertex));
                self.paths.own = own;
                hops = if hops == NONE { set } else { self.paths.sets.union(hops, set) };
            }
            let Some(place) = self.paths.hops.get_mut(usize::try_from(number).unwrap_or(0)) else { continue };
            if std::mem::replace(place, hops) == hops {
                continue;
            }
            changed.insert(number);
            for edge in vertex.edges.iter().filter(|edge| edge.both_ways && edge.to != self.start) {
                if cost_of(self.paths, edge.to) == Some(cost.saturating_add(u32::from(edge.metric))) {
                    due.insert(self.rank(edge.to));
                }
            }
        }
        changed.into_iter().collect()
    }
}

fn reach(paths: &mut Paths, number: u32, cost: u32) {
    if let Some(place) = usize::try_from(number).ok().and_then(|at| paths.costs.get_mut(at)) {
        *place = cost;
    }
}

fn cost_of(paths: &Paths, number: u32) -> Option<u32> {
    paths.costs.get(usize::try_from(number).ok()?).copied()
}

/// Place in the queue: by cost, then networks before routers (step 3).
fn rank(cost: u32, node: Node, number: u32) -> u64 {
    u64::from(cost) << 33 | u64::from(matches!(node, Node::Router(_))) << 32 | u64::from(number)
}

/// Next hops of what the root itself links to (section 16.1.1).
fn first_hops(sets: &mut HopSets, own: &[OwnLink], to: Node, metric: u16) -> u32 {
    let links = own.iter().filter(|link| link.to == to && link.metric == metric);
    let hops: Vec<NextHop> = links.flat_map(|link| link.hops.iter().copied()).collect();
    sets.enter(hops)
}

#[cfg(test)]
mod tests {
    use coati_crypto::{RandomSource, SeededRandom};
    use coati_wire::ospf::{RouterLink, RouterLsa};

    use super::*;

    fn id(number: u32) -> Ipv4Addr {
        Ipv4Addr::from(0x0a00_0001 + number)
    }

    /// A random router LSA: links to other routers and to networks, few metrics so that many paths are equal.
    fn links(random: &mut SeededRandom, count: u32, networks: u32) -> RouterLsa {
        let link = |kind, id, metric| RouterLink { id, data: Ipv4Addr::from(random_data(id)), kind, metric };
        let mut links = Vec::new();
        for _ in 0..1 + random.below(4) {
            let metric = 1 + u16::try_from(random.below(3)).unwrap();
            links.push(match random.below(3) {
                0 => link(RouterLink::TRANSIT, Ipv4Addr::from(0x1400_0000 + random.below(networks)), metric),
                _ => link(RouterLink::POINT_TO_POINT, id(random.below(count)), metric),
            });
        }
        RouterLsa { flags: 0, links }
    }

    fn random_data(id: Ipv4Addr) -> u32 {
        u32::from(id).rotate_left(7)
    }

    /// After every change of a router or network, links that lead both ways or one, vertices that come and go: the same as
    /// when everything is computed anew.
    #[test]
    fn changes_alone_lead_to_what_everything_leads_to() {
        let (mut in_part, mut quiet) = (0, 0);
        for seed in 0..300 {
            let mut random = SeededRandom::new(seed);
            let count = 3 + random.below(30);
            let networks = 1 + random.below(6);
            let mut graph = Graph::default();
            for number in 0..count {
                graph.set_router(id(number), &links(&mut random, count, networks));
            }
            let links_of_root = |random: &mut SeededRandom| -> Vec<OwnLink> {
                let to = (0..count).map(|number| Node::Router(id(number)));
                let to = to.chain((0..networks).map(|n| Node::Network(Ipv4Addr::from(0x1400_0000 + n))));
                to.zip(1u32..)
                    .flat_map(|(to, interface)| (1..4).map(move |metric| (to, interface, metric)))
                    .filter(|_| random.below(10) > 0)
                    .map(|(to, interface, metric)| {
                        let via =
                            matches!(to, Node::Router(_)).then(|| Ipv4Addr::from(0xc000_0000 + interface));
                        OwnLink { to, metric, hops: vec![NextHop { interface, via }] }
                    })
                    .collect()
            };
            let mut own = links_of_root(&mut random);
            let maximum = 1 + usize::try_from(random.below(4)).unwrap();
            graph.take_changes();
            let mut paths = compute(&graph, id(0), &own, maximum);
            for step in 0..60 {
                for _ in 0..1 + random.below(3) {
                    let number = random.below(count);
                    match random.below(8) {
                        0 => graph.remove(Node::Router(id(number))),
                        1 => graph.remove(Node::Network(Ipv4Addr::from(0x1400_0000 + number % networks))),
                        2 | 3 => {
                            let routers: Vec<Ipv4Addr> =
                                (0..1 + random.below(5)).map(|_| id(random.below(count))).collect();
                            let network = Ipv4Addr::from(0x1400_0000 + number % networks);
                            graph.set_network(network, &routers);
                        }
                        _ => {
                            graph.set_router(id(number), &links(&mut random, count, networks));
                        }
                    }
                }
                if random.below(3) == 0 {
                    own = links_of_root(&mut random);
                }
                let changes = graph.take_changes();
                let whole = compute(&graph, id(0), &own, maximum);
                let before: Vec<_> =
                    (0u32..).take(graph.len()).map(|n| paths.get(n).map(|(c, h)| (c, h.clone()))).collect();
                match update(&mut paths, &graph, id(0), (&own, maximum), &changes.vertices) {
                    Some(moved) => {
                        in_part += 1;
                        quiet += usize::from(moved.is_empty());
                        for (number, before) in (0u32..).zip(before) {
                            let (new, all) = (paths.get(number), whole.get(number));
                            assert_eq!(new, all, "seed {seed}, step {step}, vertex {number}");
                            let new = new.map(|(cost, hops)| (cost, hops.clone()));
                            assert_eq!(
                                new != before,
                                moved.contains(&number),
                                "seed {seed}, step {step}, {number}"
                            );
                        }
                    }
                    None => paths = whole,
                }
            }
        }
        assert!(in_part > 14_000 && quiet > 1000 && in_part > quiet + 1500, "{in_part} {quiet}");
    }
}
