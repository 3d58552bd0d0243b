//! The graph of one area (RFC 2328 section 2.1): routers and networks by small numbers, links between them resolved
//! when an LSA is installed, so that computing paths looks nothing up.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use coati_wire::ospf::{RouterLink, RouterLsa};

use crate::config::RouterId;

/// What a vertex stands for. Networks come first: so does the order in which equally far ones are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Node {
    /// By the designated router's address.
    Network(Ipv4Addr),
    Router(RouterId),
}

/// One direction of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    /// Number of the vertex that it leads to.
    pub(crate) to: u32,
    pub(crate) metric: u16,
    /// Whether the other vertex links back (section 16.1 step 2b).
    pub(crate) both_ways: bool,
    /// The router's own address on the link.
    pub(crate) data: Ipv4Addr,
}

#[derive(Debug)]
pub(crate) struct Vertex {
    pub(crate) node: Node,
    /// Whether there is an LSA for it, and not only a link to it.
    pub(crate) present: bool,
    /// Flags of a router LSA.
    pub(crate) flags: u8,
    pub(crate) edges: Box<[Edge]>,
    /// Edges that lead here, of either direction or one.
    references: u32,
}

/// All vertices of an area.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    numbers: HashMap<Node, u32>,
    vertices: Vec<Vertex>,
    free: Vec<u32>,
    changes: Changes,
    /// Links of routers that cost nothing.
    free_links: usize,
}

/// What has become another since somebody asked last.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Numbers of vertices with other edges than before, or in whose edges the way back has come or gone.
    pub(crate) vertices: Vec<u32>,
    /// Flags of a router are others.
    pub(crate) flags: bool,
}

impl Graph {
    /// The number of a vertex for which there is an LSA.
    pub(crate) fn number(&self, node: Node) -> Option<u32> {
        let number = *self.numbers.get(&node)?;
        self.vertex(number).filter(|vertex| vertex.present).map(|_| number)
    }

    pub(crate) fn vertex(&self, number: u32) -> Option<&Vertex> {
        self.vertices.get(usize::try_from(number).ok()?)
    }

    fn vertex_mut(&mut self, number: u32) -> Option<&mut Vertex> {
        self.vertices.get_mut(usize::try_from(number).ok()?)
    }

    /// What has changed since the last call.
    pub(crate) fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    /// Whether links of routers cost nothing: equally far ones may then lead over each other.
    pub(crate) fn has_free_links(&self) -> bool {
        self.free_links > 0
    }

    /// Numbers are below this.
    pub(crate) fn len(&self) -> usize {
        self.vertices.len()
    }

    /// All vertices for which there is an LSA.
    pub(crate) fn present(&self) -> impl Iterator<Item = (u32, &Vertex)> {
        (0u32..).zip(&self.vertices).filter(|(_, vertex)| vertex.present)
    }

    /// A router LSA is there; whether paths may be different now.
    pub(crate) fn set_router(&mut self, id: RouterId, lsa: &RouterLsa) -> bool {
        let number = self.enter(Node::Router(id));
        let mut edges = Vec::new();
        for link in &lsa.links {
            let to = match link.kind {
                RouterLink::POINT_TO_POINT | RouterLink::VIRTUAL => Node::Router(link.id),
                RouterLink::TRANSIT => Node::Network(link.id),
                _ => continue,
            };
            let to = self.enter(to);
            edges.push(Edge { to, metric: link.metric, both_ways: false, data: link.data });
        }
        self.set(number, lsa.flags, edges.into())
    }

    /// A network LSA is there; whether paths may be different now.
    pub(crate) fn set_network(&mut self, designated: Ipv4Addr, routers: &[RouterId]) -> bool {
        let number = self.enter(Node::Network(designated));
        let mut edges = Vec::with_capacity(routers.len());
        for router in routers {
            let to = self.enter(Node::Router(*router));
            edges.push(Edge { to, metric: 0, both_ways: false, data: Ipv4Addr::UNSPECIFIED });
        }
        self.set(number, 0, edges.into())
    }

    /// There is no LSA for it any more.
    pub(crate) fn remove(&mut self, node: Node) {
        if let Some(number) = self.number(node) {
            self.set(number, 0, Box::default());
            if let Some(vertex) = self.vertex_mut(number) {
                vertex.present = false;
            }
            self.release(number);
        }
    }

    fn enter(&mut self, node: Node) -> u32 {
        if let Some(number) = self.numbers.get(&node) {
            return *number;
        }
        let vertex = Vertex { node, present: false, flags: 0, edges: Box::default(), references: 0 };
        let number = match self.free.pop() {
            Some(number) => number,
            None => u32::try_from(self.vertices.len()).unwrap_or(u32::MAX),
        };
        match self.vertex_mut(number) {
            Some(place) => *place = vertex,
            None => self.vertices.push(vertex),
        }
        self.numbers.insert(node, number);
        number
    }

    /// Gives the number of a vertex back when neither an LSA nor a link needs it.
    fn release(&mut self, number: u32) {
        let Some(vertex) = self.vertex(number).filter(|vertex| !vertex.present && vertex.references == 0)
        else {
            return;
        };
        let node = vertex.node;
        if self.numbers.remove(&node).is_some() {
            self.free.push(number);
        }
    }

    fn set(&mut self, number: u32, flags: u8, mut edges: Box<[Edge]>) -> bool {
        for edge in &mut edges {
            edge.both_ways = self.leads(edge.to, number);
            if let Some(vertex) = self.vertex_mut(edge.to) {
                vertex.references += 1;
            }
        }
        let targets: Vec<u32> = edges.iter().map(|edge| edge.to).collect();
        let Some(vertex) = self.vertex_mut(number) else { return false };
        let changed = !vertex.present || vertex.flags != flags || vertex.edges != edges;
        let other_flags = vertex.flags != flags;
        vertex.present = true;
        vertex.flags = flags;
        let old = std::mem::replace(&mut vertex.edges, edges);
        let free = |edges: &[Edge]| edges.iter().filter(|edge| edge.metric == 0).count();
        let is_router = matches!(vertex.node, Node::Router(_));
        let (more, fewer) = if is_router { (free(&vertex.edges), free(&old)) } else { (0, 0) };
        self.free_links = (self.free_links + more).saturating_sub(fewer);
        self.changes.flags |= other_flags;
        if changed {
            self.changes.vertices.push(number);
            for target in old.iter().map(|edge| edge.to).chain(targets) {
                self.mark_back(target, number);
            }
        }
        for edge in &old {
            if let Some(vertex) = self.vertex_mut(edge.to) {
                vertex.references = vertex.references.saturating_sub(1);
            }
            self.release(edge.to);
        }
        changed
    }

    fn leads(&self, from: u32, to: u32) -> bool {
        self.vertex(from).is_some_and(|vertex| vertex.edges.iter().any(|edge| edge.to == to))
    }

    /// Edges of `from` to `to`: is there a way back?
    fn mark_back(&mut self, from: u32, to: u32) {
        let back = self.leads(to, from);
        let mut changed = false;
        if let Some(vertex) = self.vertex_mut(from) {
            for edge in vertex.edges.iter_mut().filter(|edge| edge.to == to && edge.both_ways != back) {
                edge.both_ways = back;
                changed = true;
            }
        }
        if changed {
            self.changes.vertices.push(from);
        }
    }
}
