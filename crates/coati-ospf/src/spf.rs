//! Shortest paths of one area (RFC 2328 section 16.1).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::config::RouterId;
use crate::graph::{Graph, Node};

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
#[derive(Clone, Debug)]
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
            let through = if number == start {
                first_hops(&mut paths.sets, own, next.node, edge.metric)
            } else if matches!(vertex.node, Node::Network(_)) {
                let back = next.edges.iter().find(|back| back.to == number);
                back.map_or(hops, |back| paths.sets.towards(hops, back.data))
            } else {
                hops
            };
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
