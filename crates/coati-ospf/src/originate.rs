//! Own LSAs (RFC 2328 sections 12.4 and 13.4): origination, refresh, and what of them is fought back.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use coati_wire::ospf::{
    INITIAL_SEQUENCE, Lsa, LsaBody, LsaHeader, LsaKey, MAX_AGE, MAX_SEQUENCE, RouterLink, RouterLsa, lsa_kind,
};

use crate::engine::Engine;
use crate::interface::{Interface, OPTIONS};
use crate::lsdb::REFRESH;
use crate::neighbour::State;

/// MinLSInterval.
const MIN_LS_INTERVAL: Duration = Duration::from_secs(5);
/// What it begins with when origination is prompt.
const FIRST_INTERVAL: Duration = Duration::from_millis(50);
/// The first LSA of all waits so long, so that it has all interfaces.
const INTERFACES_COME_WITHIN: Duration = Duration::from_millis(20);
/// A router's first LSA waits so long for an adjacency that is on its way, so that one instance says all.
const FIRST_LSA_WAITS: Duration = Duration::from_secs(1);

/// When the router LSA of an area is originated.
#[derive(Debug, Default)]
pub(crate) struct Origination {
    /// Something may have changed: look at this time.
    pub(crate) due: Option<Instant>,
    last: Option<Instant>,
    interval: Duration,
    /// The instance a neighbour showed us, which ours has to surpass.
    surpass: Option<i32>,
}

impl Engine {
    /// What the area's router LSA says may have changed.
    pub(crate) fn originate_soon(&mut self, now: Instant, area: Ipv4Addr) {
        let prompt = self.config.deviations.prompt_origination;
        let plan = self.originations.entry(area).or_default();
        let due = match plan.last {
            // Interfaces come one after the other when a router starts.
            None if prompt => now + INTERFACES_COME_WITHIN,
            None => now,
            Some(last) if !prompt => (last + MIN_LS_INTERVAL).max(now),
            Some(last) => (last + plan.interval).max(now),
        };
        plan.due = Some(plan.due.map_or(due, |other| other.min(due)));
    }

    /// Originates what is due.
    pub(crate) fn originate_due(&mut self, now: Instant) {
        let due: Vec<Ipv4Addr> = self
            .originations
            .iter()
            .filter(|(_, plan)| plan.due.is_some_and(|due| due <= now))
            .map(|(area, _)| *area)
            .collect();
        for area in due {
            self.originate(now, area);
        }
    }

    fn originate(&mut self, now: Instant, area: Ipv4Addr) {
        let key = self.router_lsa_key();
        let there = self.areas.get(&area).and_then(|lsdb| lsdb.get(&key));
        let waits_until = self.first_lsa_waits(area).filter(|until| there.is_none() && *until > now);
        let body = LsaBody::Router(self.router_lsa(area));
        let Some(plan) = self.originations.get_mut(&area) else { return };
        if let Some(until) = waits_until {
            plan.due = Some(until);
            return;
        }
        plan.due = None;
        let fresh = there.is_some_and(|entry| {
            let old = now.saturating_duration_since(entry.installed) >= REFRESH;
            entry.lsa.body == body && entry.lsa.header.options == OPTIONS && !old && !entry.is_max_age(now)
        });
        if fresh && plan.surpass.is_none() {
            return;
        }
        let last = plan.surpass.take().max(there.map(|entry| entry.lsa.header.sequence));
        let sequence = match last {
            None => INITIAL_SEQUENCE,
            // The old instance has to die before the numbers begin anew (section 12.1.6).
            Some(MAX_SEQUENCE) => return self.flush(now, area, key),
            Some(last) => last + 1,
        };
        let recently =
            plan.last.is_some_and(|last| now.saturating_duration_since(last) < 2 * MIN_LS_INTERVAL);
        plan.interval = if recently { (plan.interval * 2).min(MIN_LS_INTERVAL) } else { FIRST_INTERVAL };
        plan.last = Some(now);
        let lsa = Lsa::new(key, OPTIONS, sequence, body);
        self.flood(now, area, &lsa, None);
        self.install(now, area, lsa);
    }

    /// Until when the very first LSA waits for adjacencies.
    fn first_lsa_waits(&self, area: Ipv4Addr) -> Option<Instant> {
        if !self.config.deviations.prompt_origination {
            return None;
        }
        let active = self.interfaces.values().filter(|i| i.config.area == area && i.is_active());
        let full = |interface: &Interface| {
            interface.neighbour.as_ref().is_some_and(|neighbour| neighbour.state == State::Full)
        };
        let forming = active.filter(|interface| !full(interface));
        forming.map(|i| i.since + if i.is_forming() { 3 * FIRST_LSA_WAITS } else { FIRST_LSA_WAITS }).max()
    }

    fn router_lsa_key(&self) -> LsaKey {
        let id = self.config.router_id;
        LsaKey { kind: lsa_kind::ROUTER, id, advertising_router: id }
    }

    /// Section 12.4.1: links of all interfaces in the area.
    fn router_lsa(&self, area: Ipv4Addr) -> RouterLsa {
        let mut links = Vec::new();
        for interface in self.interfaces.values().filter(|interface| interface.config.area == area) {
            let (link, metric) = (&interface.link, interface.config.cost);
            if let Some(neighbour) = interface.neighbour.as_ref().filter(|n| n.state == State::Full) {
                let kind = RouterLink::POINT_TO_POINT;
                links.push(RouterLink { id: neighbour.router_id, data: link.address, kind, metric });
            }
            links.push(RouterLink { id: link.network(), data: link.mask(), kind: RouterLink::STUB, metric });
        }
        // More links than fit into one LSA are not advertised.
        links.truncate(5000);
        RouterLsa { flags: 0, links }
    }

    /// Somebody has an instance of our LSA that is newer than ours: from before a restart, or forged. Ours surpasses
    /// it; what we do not originate at all is taken out of the routing domain (section 13.4).
    pub(crate) fn fight_back(&mut self, now: Instant, area: Ipv4Addr, header: &LsaHeader) {
        if header.key == self.router_lsa_key() {
            let plan = self.originations.entry(area).or_default();
            plan.surpass = plan.surpass.max(Some(header.sequence));
            self.originate_soon(now, area);
        } else if header.seconds() < MAX_AGE {
            self.flush(now, area, header.key);
        }
    }

    /// Premature ageing (section 14.1).
    pub(crate) fn flush(&mut self, now: Instant, area: Ipv4Addr, key: LsaKey) {
        let Some(entry) = self.areas.get(&area).and_then(|lsdb| lsdb.get(&key)) else { return };
        let bytes = entry.lsa.emit_aged(MAX_AGE);
        let Ok(dead) = Lsa::parse(&bytes) else { return };
        self.flood(now, area, &dead, None);
        self.install(now, area, dead);
    }

    /// LSAs that have reached MaxAge are flooded once more; own ones are refreshed before that.
    pub(crate) fn age(&mut self, now: Instant) {
        let areas: Vec<Ipv4Addr> = self.areas.keys().copied().collect();
        let own = self.router_lsa_key();
        for area in areas {
            while let Some(key) = self.areas.get_mut(&area).and_then(|lsdb| lsdb.pop_expired(now)) {
                let Some(entry) = self.areas.get(&area).and_then(|lsdb| lsdb.get(&key)) else { continue };
                let bytes = entry.lsa.emit_aged(MAX_AGE);
                if let Ok(dead) = Lsa::parse(&bytes) {
                    self.flood(now, area, &dead, None);
                    self.install(now, area, dead);
                }
            }
            let old = self.areas.get(&area).and_then(|lsdb| lsdb.get(&own));
            let died = old.is_some_and(|entry| entry.is_max_age(now));
            if old.is_some_and(|entry| now.saturating_duration_since(entry.installed) >= REFRESH) || died {
                let plan = self.originations.entry(area).or_default();
                plan.due.get_or_insert(now);
            }
        }
    }

    /// When the own LSA of an area has to be refreshed.
    pub(crate) fn next_refresh(&self) -> Option<Instant> {
        let own = self.router_lsa_key();
        let entries = self.areas.values().filter_map(|lsdb| lsdb.get(&own));
        entries.map(|entry| entry.installed + REFRESH).min()
    }
}
