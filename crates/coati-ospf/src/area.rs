//! Areas: the database of each, its graph and its paths; LSAs enter and leave here.

use std::net::Ipv4Addr;
use std::time::Instant;

use coati_wire::ospf::{Lsa, LsaBody, LsaHeader, LsaKey, MAX_AGE, RouterLsa, lsa_kind};

use crate::config::{AreaId, BACKBONE, BorderRule};
use crate::engine::Engine;
use crate::graph::{Graph, Node};
use crate::interface::InterfaceState;
use crate::lsdb::{Entry, Lsdb, Scope};
use crate::spf::Paths;

/// One area.
#[derive(Debug, Default)]
pub(crate) struct Area {
    pub(crate) lsdb: Lsdb,
    pub(crate) graph: Graph,
    pub(crate) paths: Paths,
    /// Paths have to be computed again, as far as the graph has changed.
    pub(crate) stale: bool,
    pub(crate) runs: u64,
    /// Whether type 7 LSAs of this NSSA are translated here.
    pub(crate) translator: Translator,
}

/// What a border router of an NSSA does (RFC 3101 section 3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Translator {
    /// It does not translate.
    #[default]
    Disabled,
    /// It translates.
    Enabled,
    /// Another one does it now; it goes on until this time, so that nothing is missing meanwhile.
    Ending(Instant),
}

impl Area {
    /// Whether a router in it is the end of a virtual link through it (TransitCapability).
    pub(crate) fn is_transit(&self) -> bool {
        self.graph.present().any(|(number, vertex)| {
            vertex.flags & RouterLsa::VIRTUAL_END != 0 && self.paths.get(number).is_some()
        })
    }
}

impl Engine {
    pub(crate) fn area_mut(&mut self, area: AreaId) -> &mut Area {
        self.areas.entry(area).or_default()
    }

    pub(crate) fn lsdb(&self, scope: Scope) -> Option<&Lsdb> {
        match scope {
            Scope::Link(index) => self.interfaces.get(&index).map(|interface| &interface.lsdb),
            Scope::Area(area) => self.areas.get(&area).map(|area| &area.lsdb),
            Scope::As => Some(&self.as_wide),
        }
    }

    pub(crate) fn lsdb_mut(&mut self, scope: Scope) -> Option<&mut Lsdb> {
        match scope {
            Scope::Link(index) => self.interfaces.get_mut(&index).map(|interface| &mut interface.lsdb),
            Scope::Area(area) => self.areas.get_mut(&area).map(|area| &mut area.lsdb),
            Scope::As => Some(&mut self.as_wide),
        }
    }

    /// All databases.
    pub(crate) fn scopes(&self) -> impl Iterator<Item = Scope> {
        self.wide_scopes().chain(self.interfaces.keys().map(|index| Scope::Link(*index)))
    }

    /// Those of more than one link.
    pub(crate) fn wide_scopes(&self) -> impl Iterator<Item = Scope> {
        std::iter::once(Scope::As).chain(self.areas.keys().map(|area| Scope::Area(*area)))
    }

    /// Puts an instance into its database; what it changes is computed again.
    pub(crate) fn install(&mut self, now: Instant, scope: Scope, lsa: Lsa) {
        if let Scope::Area(area) = scope {
            self.area_mut(area);
        }
        let Some(lsdb) = self.lsdb_mut(scope) else { return };
        let Lsa { header, body, bytes } = lsa;
        let old = lsdb.install(now, header.key, bytes);
        let new = (header.seconds() < MAX_AGE).then_some((header, &body));
        self.reindex(now, scope, &header.key, old, new);
    }

    /// The memory that databases took while they grew is given back.
    pub(crate) fn condense(&mut self) {
        let mut has_grown = self.as_wide.condense();
        for area in self.areas.values_mut() {
            has_grown |= area.lsdb.condense();
        }
        if has_grown {
            self.table.condense();
        }
    }

    /// Takes an LSA that has died out of its database.
    pub(crate) fn uninstall(&mut self, now: Instant, scope: Scope, key: &LsaKey) {
        let Some(old) = self.lsdb_mut(scope).and_then(|lsdb| lsdb.bury(now, key)) else { return };
        self.reindex(now, scope, key, Some(old), None);
        if key.advertising_router == self.config.router_id {
            self.own_lsa_is_gone(now, (scope, *key));
        }
    }

    /// Everything of an area is gone at once, without a word to others.
    pub(crate) fn forget_area(&mut self, now: Instant, area: AreaId) {
        self.own.retain(|(scope, _), _| *scope != Scope::Area(area));
        self.own_due.retain(|(_, (scope, _))| *scope != Scope::Area(area));
        let keys: Vec<LsaKey> = self
            .areas
            .get(&area)
            .map_or(Vec::new(), |found| found.lsdb.iter().map(|(key, _)| *key).collect());
        for key in keys {
            let old = self.areas.get_mut(&area).and_then(|found| found.lsdb.remove(&key));
            self.reindex(now, Scope::Area(area), &key, old, None);
        }
        self.areas.remove(&area);
        self.all_routes_soon(now);
    }

    /// Brings graph and table up to what the database has for this key now, if that is alive; `old` is what it had
    /// before.
    fn reindex(
        &mut self,
        now: Instant,
        scope: Scope,
        key: &LsaKey,
        old: Option<Entry>,
        new: Option<(LsaHeader, &LsaBody)>,
    ) {
        let old = old.filter(Entry::was_alive).map(|old| (old.instance(), old.body()));
        let old = old.as_ref().map(|(header, body)| (*header, body));
        let said = |(header, body): (LsaHeader, _)| (header.options, body);
        if old.map(said) == new.map(said) {
            return;
        }
        self.tell(
            |debug| debug.lsa,
            |_| {
                let what = match (&old, &new) {
                    (_, None) => "taken out of the table",
                    (None, _) => "new",
                    _ => "changed",
                };
                let sequence =
                    new.map_or(String::new(), |(header, _)| format!(", seq 0x{:08x}", header.sequence));
                format!("LSA {what}: {}{sequence}", crate::debug::key(key))
            },
        );
        if !crate::exchange::is_opaque(key.kind) {
            self.stop_helping_all(now, key);
        }
        let Scope::Area(area) = scope else {
            if scope == Scope::As && key.kind == lsa_kind::EXTERNAL {
                self.table.replace(None, key, None, old, new);
                self.routes_soon(now);
            }
            return;
        };
        let changed = match key.kind {
            lsa_kind::ROUTER => self.reindex_router(area, key.advertising_router, new.map(|(_, body)| body)),
            lsa_kind::NETWORK => self.reindex_network(now, area, key.id),
            _ => false,
        };
        let vertex = self.areas.get(&area).and_then(|found| match key.kind {
            lsa_kind::ROUTER => found.graph.number(Node::Router(key.advertising_router)),
            lsa_kind::NETWORK => found.graph.number(Node::Network(key.id)),
            _ => None,
        });
        self.table.replace(Some(area), key, vertex, old, new);
        match key.kind {
            lsa_kind::ROUTER | lsa_kind::NETWORK => {
                self.area_mut(area).stale |= changed;
                self.routes_soon(now);
            }
            lsa_kind::SUMMARY_ASBR => self.all_routes_soon(now),
            lsa_kind::OPAQUE_AREA => {}
            _ => self.routes_soon(now),
        }
    }

    fn reindex_router(&mut self, area: AreaId, id: Ipv4Addr, new: Option<&LsaBody>) -> bool {
        let graph = &mut self.area_mut(area).graph;
        match new {
            Some(LsaBody::Router(router)) => graph.set_router(id, router),
            _ => {
                graph.remove(Node::Router(id));
                true
            }
        }
    }

    /// There may be several for one designated router's address, of which one was left behind: a live one counts.
    fn reindex_network(&mut self, now: Instant, area: AreaId, id: Ipv4Addr) -> bool {
        let area = self.area_mut(area);
        let live = area.lsdb.with_id(lsa_kind::NETWORK, id).filter(|(_, entry)| !entry.is_max_age(now));
        let newest = live.max_by_key(|(_, entry)| entry.installed);
        match newest.map(|(_, entry)| entry.body()) {
            Some(LsaBody::Network { routers, .. }) => area.graph.set_network(id, &routers),
            _ => {
                area.graph.remove(Node::Network(id));
                true
            }
        }
    }

    /// Areas with at least one interface that is up.
    pub(crate) fn attached_areas(&self) -> std::collections::BTreeSet<AreaId> {
        let up = self.interfaces.values().filter(|interface| interface.state != InterfaceState::Down);
        up.map(|interface| interface.config.area).collect()
    }

    /// Whether this router is an area border router (RFC 3509).
    pub(crate) fn is_border(&self) -> bool {
        let attached = self.attached_areas();
        let configured = self.interfaces.values().any(|interface| interface.config.area == BACKBONE)
            || self.config.areas.values().any(|area| !area.virtual_links.is_empty());
        attached.len() > 1
            && match self.config.border {
                BorderRule::Cisco => attached.contains(&BACKBONE),
                BorderRule::Ibm => configured,
                BorderRule::Standard => true,
            }
    }

    /// Whether somebody in the backbone is adjacent.
    pub(crate) fn has_live_backbone(&self) -> bool {
        let mut backbone = self.interfaces.values().filter(|interface| interface.config.area == BACKBONE);
        backbone.any(|interface| interface.full().next().is_some())
    }
}
