//! A running engine is told something else: adjacencies stay wherever the other side can go on with them.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::config::{AreaConfig, AreaId, Config, InterfaceConfig};
use crate::engine::Engine;
use crate::interface::{Link, VIRTUAL_INDEX};

impl Engine {
    /// From now on this is the configuration; the router id stays what it is. Areas that become of another kind begin
    /// anew, as virtual links do when one of them changes. [`Engine::set_externals`] has to follow when ranges of
    /// external destinations have changed.
    pub fn reconfigure(&mut self, now: Instant, config: Config) {
        let config = Config { router_id: self.config.router_id, ..config };
        if config == self.config {
            return;
        }
        self.tick(now);
        let before = std::mem::replace(&mut self.config, config);
        let names: BTreeSet<AreaId> =
            before.areas.keys().chain(self.config.areas.keys()).chain(self.areas.keys()).copied().collect();
        let usual = AreaConfig::default();
        let (mut turned, mut links_changed) = (Vec::new(), false);
        for area in names {
            let old = before.areas.get(&area).unwrap_or(&usual);
            let new = self.config.areas.get(&area).unwrap_or(&usual);
            links_changed |= old.virtual_links != new.virtual_links;
            // What an area's routers have to agree about.
            if old.kind.takes_externals() != new.kind.takes_externals()
                || old.kind.is_nssa() != new.kind.is_nssa()
            {
                turned.push(area);
            }
        }
        if links_changed {
            let virtual_links: Vec<u32> =
                self.interfaces.keys().filter(|index| **index >= VIRTUAL_INDEX).copied().collect();
            virtual_links.into_iter().for_each(|index| self.interface_down(now, index));
            self.make_virtual_links(now);
        }
        turned.into_iter().for_each(|area| self.begin_area_anew(now, area));
        self.stub_router_changed(now, before.stub_router);
        let areas: Vec<AreaId> = self.areas.keys().copied().collect();
        for area in areas {
            self.paths_soon(now, area);
            self.router_lsa_soon(now, area);
        }
        self.externals_changed(now);
        self.handle_timeout(now);
    }

    /// All that is known of an area is forgotten, and its interfaces come up again.
    fn begin_area_anew(&mut self, now: Instant, area: AreaId) {
        let interfaces: Vec<(Link, InterfaceConfig)> = self
            .interfaces
            .values()
            .filter(|interface| interface.config.area == area && interface.virtual_end.is_none())
            .map(|interface| (interface.link.clone(), interface.config.clone()))
            .collect();
        for (link, _) in &interfaces {
            self.interface_down(now, link.index);
        }
        self.forget_area(now, area);
        for (link, config) in interfaces {
            self.interface_up(now, link, config);
        }
    }
}

impl InterfaceConfig {
    /// Whether an interface can take this in place of `old` and stay up. A neighbour that does not agree about
    /// intervals or keys leaves by itself.
    pub(crate) fn replaces(&self, old: &Self) -> bool {
        (self.area, self.network, self.passive) == (old.area, old.network, old.passive)
            && self.neighbours == old.neighbours
            && self.fast_hellos.is_some() == old.fast_hellos.is_some()
    }
}
