//! Destinations outside of the AS (RFC 2328 section 12.4.4), and NSSAs (RFC 3101).

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use coati_wire::ospf::{LsaBody, LsaKey, MAX_AGE, OPTION_E, OPTION_NP, OPTION_O, RouterLsa, lsa_kind};

use crate::aggregate::aggregate;
use crate::area::Translator;
use crate::config::{AreaId, AreaKind, ExternalRoute, Translate};
use crate::engine::Engine;
use crate::graph::Node;
use crate::interface::{Interface, InterfaceState, masked};
use crate::lsdb::Scope;
use crate::originate::OwnKey;
use crate::route::Destination;
use crate::summary::link_state_ids;

/// TranslatorStabilityInterval (RFC 3101 section 3.1).
const TRANSLATOR_STABILITY: Duration = Duration::from_secs(40);
/// Externals of ours at the most.
const MAX_EXTERNALS: usize = 100_000;

impl Engine {
    /// The destinations outside of the AS that this router advertises, all of them.
    pub fn set_externals(&mut self, now: Instant, routes: impl IntoIterator<Item = ExternalRoute>) {
        let entry = |route: ExternalRoute| (Destination::new(route.network, route.prefix_len), route);
        let mut routes: BTreeMap<Destination, ExternalRoute> =
            routes.into_iter().take(MAX_EXTERNALS).map(entry).collect();
        let aggregated = aggregate(&mut routes, &self.config.summary_addresses);
        let same_ranges = aggregated.keys().eq(self.aggregated.keys());
        self.aggregated = aggregated;
        if routes == self.external_routes {
            return;
        }
        self.external_routes = routes;
        if !same_ranges {
            self.routes_soon(now);
        }
        self.externals_changed(now);
        self.work(now);
    }

    pub(crate) fn externals_changed(&mut self, now: Instant) {
        self.elect_translators(now);
        self.originate_externals(now);
        let areas: Vec<AreaId> = self.areas.keys().copied().collect();
        for area in areas {
            self.router_lsa_soon(now, area);
        }
    }

    /// Whether this router says in an area that it has externals (E bit).
    pub(crate) fn is_boundary_in(&self, area: AreaId) -> bool {
        let redistributes = !self.external_routes.is_empty();
        match self.area_kind(area) {
            AreaKind::Stub { .. } => false,
            AreaKind::Nssa(_) => redistributes || self.is_border(),
            AreaKind::Normal => redistributes || self.attached_nssas().any(|nssa| self.translates(nssa)),
        }
    }

    fn attached_nssas(&self) -> impl Iterator<Item = AreaId> {
        self.attached_areas().into_iter().filter(|area| self.area_kind(*area).is_nssa())
    }

    /// Whether this border router translates whoever else does (Nt bit).
    pub(crate) fn always_translates(&self, area: AreaId) -> bool {
        match self.area_kind(area) {
            AreaKind::Nssa(nssa) => nssa.translate == Translate::Always && self.is_border(),
            _ => false,
        }
    }

    /// Whether this router translates: elected, or no longer than TranslatorStabilityInterval not any more.
    pub(crate) fn translates(&self, area: AreaId) -> bool {
        let may = match self.area_kind(area) {
            AreaKind::Nssa(nssa) => nssa.translate != Translate::Never && self.is_border(),
            _ => false,
        };
        let translator = self.areas.get(&area).map(|found| found.translator);
        may && translator.is_some_and(|translator| translator != Translator::Disabled)
    }

    /// Who is to translate may be another one now.
    pub(crate) fn elect_translators(&mut self, now: Instant) {
        let areas: Vec<AreaId> = self.areas.keys().copied().collect();
        // Who has not translated anything yet leaves no gap.
        let is_external = |(scope, key): &&OwnKey| *scope == Scope::As && key.kind == lsa_kind::EXTERNAL;
        let translated = self.own.keys().filter(is_external).count() > self.external_routes.len();
        for id in areas {
            let elected = self.is_elected_translator(id);
            let Some(area) = self.areas.get_mut(&id) else { continue };
            area.translator = match (elected, area.translator) {
                (true, _) => Translator::Enabled,
                (false, Translator::Enabled) if translated => Translator::Ending(now + TRANSLATOR_STABILITY),
                (false, Translator::Enabled) => Translator::Disabled,
                (false, Translator::Ending(until)) if until <= now => Translator::Disabled,
                (false, other) => other,
            };
        }
    }

    /// When a router that is not elected any more has translated long enough.
    pub(crate) fn translator_timeout(&self) -> Option<Instant> {
        let ends = self.areas.values().filter_map(|area| match area.translator {
            Translator::Ending(until) => Some(until),
            _ => None,
        });
        ends.min()
    }

    /// Ends what it was the time for.
    pub(crate) fn end_translations(&mut self, now: Instant) {
        if self.translator_timeout().is_some_and(|until| until <= now) {
            self.elect_translators(now);
            self.externals_changed(now);
            self.routes_soon(now);
        }
    }

    /// Translator election (RFC 3101 section 3.1): of the border routers that always translate, or else of all, the
    /// one with the largest router id.
    fn is_elected_translator(&self, area: AreaId) -> bool {
        let AreaKind::Nssa(nssa) = self.area_kind(area) else { return false };
        if !self.is_border() {
            return false;
        }
        match nssa.translate {
            Translate::Always => true,
            Translate::Never => false,
            Translate::Candidate => {
                let Some(found) = self.areas.get(&area) else { return false };
                let reachable =
                    found.graph.present().filter(|(number, _)| found.paths.get(*number).is_some());
                let mut others = reachable.filter_map(|(_, vertex)| match vertex.node {
                    Node::Router(id) if vertex.flags & RouterLsa::BORDER != 0 => Some((id, vertex.flags)),
                    _ => None,
                });
                let own = self.config.router_id;
                !others.any(|(id, flags)| id != own && (id > own || flags & RouterLsa::TRANSLATOR != 0))
            }
        }
    }

    /// Types 5 and 7: own externals, translations, and default routes of NSSAs.
    pub(crate) fn originate_externals(&mut self, now: Instant) {
        let mut wanted: BTreeMap<OwnKey, (u8, LsaBody)> = BTreeMap::new();
        if self.attached_areas().iter().any(|area| self.area_kind(*area).takes_externals()) {
            self.as_wide_externals(now, &mut wanted);
        }
        for area in self.attached_nssas().collect::<Vec<_>>() {
            self.nssa_externals(area, &mut wanted);
        }
        self.originate_exactly(now, &[lsa_kind::EXTERNAL, lsa_kind::NSSA], &wanted);
    }

    fn as_wide_externals(&self, now: Instant, wanted: &mut BTreeMap<OwnKey, (u8, LsaBody)>) {
        let mut bodies: BTreeMap<Destination, LsaBody> = BTreeMap::new();
        for nssa in self.attached_nssas().filter(|nssa| self.translates(*nssa)) {
            bodies.extend(self.translations(now, nssa).0);
        }
        for (destination, route) in &self.external_routes {
            let forwarding = self.forwarding_address(route, None).unwrap_or(Ipv4Addr::UNSPECIFIED);
            bodies.insert(*destination, body(*destination, route, forwarding));
        }
        self.name(Scope::As, lsa_kind::EXTERNAL, OPTION_E | OPTION_O, bodies, wanted);
    }

    fn nssa_externals(&self, area: AreaId, wanted: &mut BTreeMap<OwnKey, (u8, LsaBody)>) {
        let AreaKind::Nssa(nssa) = self.area_kind(area) else { return };
        let is_border = self.is_border();
        let mut bodies: BTreeMap<Destination, LsaBody> = BTreeMap::new();
        for (destination, route) in &self.external_routes {
            let forwarding = self.forwarding_address(route, Some(area));
            // A border router advertises it to the AS itself; nobody needs to translate it.
            let address = forwarding.filter(|_| !is_border).unwrap_or(Ipv4Addr::UNSPECIFIED);
            bodies.insert(*destination, body(*destination, route, address));
        }
        let everything = Destination::new(Ipv4Addr::UNSPECIFIED, 0);
        if let Some((metric, type2)) = nssa.default_route.filter(|_| is_border && nssa.summaries) {
            let (mask, forwarding, tag) = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED, 0);
            bodies.insert(everything, LsaBody::External { mask, type2, metric, forwarding, tag });
        }
        let options = if is_border { OPTION_O } else { OPTION_NP | OPTION_O };
        self.name(Scope::Area(area), lsa_kind::NSSA, options, bodies, wanted);
    }

    fn name(
        &self,
        scope: Scope,
        kind: u8,
        options: u8,
        mut bodies: BTreeMap<Destination, LsaBody>,
        wanted: &mut BTreeMap<OwnKey, (u8, LsaBody)>,
    ) {
        let ids = link_state_ids(bodies.keys().copied());
        for (destination, id) in ids {
            if let Some(body) = bodies.remove(&destination) {
                let key = LsaKey { kind, id, advertising_router: self.config.router_id };
                wanted.insert((scope, key), (options, body));
            }
        }
    }

    /// Type 7 LSAs of an area with the P bit and a forwarding address, as type 5 (RFC 3101 section 3.2).
    /// With them the ranges among them that stand for others.
    fn translations(
        &self,
        now: Instant,
        area: AreaId,
    ) -> (BTreeMap<Destination, LsaBody>, BTreeSet<Destination>) {
        let mut bodies: BTreeMap<Destination, LsaBody> = BTreeMap::new();
        let (Some(found), AreaKind::Nssa(nssa)) = (self.areas.get(&area), self.area_kind(area)) else {
            return Default::default();
        };
        for (key, entry) in found.lsdb.of_kind(lsa_kind::NSSA) {
            let header = entry.instance();
            let LsaBody::External { mask, type2, metric, forwarding, tag } = entry.body() else { continue };
            let reachable =
                found.graph.number(Node::Router(key.advertising_router)).and_then(|n| found.paths.get(n));
            if header.options & OPTION_NP == 0
                || forwarding.is_unspecified()
                || entry.age(now) & 0x7fff >= MAX_AGE
                || key.advertising_router == self.config.router_id
                || reachable.is_none()
                || self.table.covering(forwarding).is_none()
            {
                continue;
            }
            let prefix_len = u8::try_from(u32::from(mask).leading_ones()).unwrap_or(32);
            let destination = Destination::new(key.id, prefix_len);
            let forwarding = if nssa.suppress_forwarding { Ipv4Addr::UNSPECIFIED } else { forwarding };
            let body = LsaBody::External { mask, type2, metric, forwarding, tag };
            match bodies.get(&destination) {
                Some(LsaBody::External { type2: other_type2, metric: other, .. })
                    if (*other_type2, *other) <= (type2, metric) => {}
                _ => {
                    bodies.insert(destination, body);
                }
            }
        }
        let ranges = self.config.areas.get(&area).map_or(&[][..], |area| &area.nssa_ranges);
        let live = aggregate(&mut bodies, ranges);
        (bodies, live.into_keys().collect())
    }

    /// Advertised ranges of external destinations that stand for others.
    pub(crate) fn live_external_ranges(&self, now: Instant) -> BTreeSet<Destination> {
        let mut live: BTreeSet<Destination> = self.aggregated.keys().copied().collect();
        let has_ranges =
            |area: &AreaId| self.config.areas.get(area).is_some_and(|a| !a.nssa_ranges.is_empty());
        for nssa in self.attached_nssas().filter(|nssa| has_ranges(nssa) && self.translates(*nssa)) {
            live.extend(self.translations(now, nssa).1);
        }
        live
    }

    /// The gateway of a route when it is on a network of OSPF (section 12.4.4.1); in an NSSA, else an own address
    /// there (RFC 3101 section 2.3).
    fn forwarding_address(&self, route: &ExternalRoute, area: Option<AreaId>) -> Option<Ipv4Addr> {
        let up = |interface: &&Interface| {
            interface.state != InterfaceState::Down
                && interface.virtual_end.is_none()
                && area.is_none_or(|area| interface.config.area == area)
        };
        let on = |interface: &&Interface, gateway: Ipv4Addr| {
            interface.network.elects()
                && !interface.config.passive
                && masked(gateway, interface.link.prefix_len) == interface.link.network()
                && gateway != interface.link.address
        };
        if let Some(gateway) = route.gateway
            && self.interfaces.values().filter(up).any(|interface| on(&interface, gateway))
        {
            return Some(gateway);
        }
        area?;
        let own: BTreeSet<(bool, u32)> = self
            .interfaces
            .values()
            .filter(up)
            .map(|interface| (interface.has_one_end(), u32::from(interface.link.address)))
            .collect();
        own.first().map(|(_, address)| Ipv4Addr::from(*address))
    }
}

fn body(destination: Destination, route: &ExternalRoute, forwarding: Ipv4Addr) -> LsaBody {
    let (type2, metric, tag) = (route.type2, route.metric.min(0x00ff_ffff), route.tag);
    LsaBody::External { mask: destination.mask(), type2, metric, forwarding, tag }
}
