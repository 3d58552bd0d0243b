//! Own LSAs (RFC 2328 sections 12.4, 13.4 and 14): which there are, when each is originated, refreshed or flushed,
//! and what of them is fought back. What is in them is made in `router_lsa`, `summary` and `external`.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use coati_wire::ospf::{INITIAL_SEQUENCE, Lsa, LsaBody, LsaHeader, LsaKey, MAX_AGE, MAX_SEQUENCE, lsa_kind};

use crate::config::AreaId;
use crate::engine::Engine;
use crate::interface::Interface;
use crate::lsdb::{REFRESH, Scope};

/// What it begins with when origination is prompt.
const FIRST_INTERVAL: Duration = Duration::from_millis(50);
/// The first LSA of all waits so long, so that it has all interfaces.
const INTERFACES_COME_WITHIN: Duration = Duration::from_millis(20);
/// A router's first LSA waits so long for an adjacency that is on its way, so that one instance says all.
const FIRST_LSA_WAITS: Duration = Duration::from_secs(1);
/// Refreshes come up to so much earlier than needed, so that they do not all come at once, in milliseconds.
const REFRESH_SPREAD: u32 = 90_000;

/// An own LSA: where it belongs and its key.
pub(crate) type OwnKey = (Scope, LsaKey);

/// What an own LSA says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// The area's interfaces.
    Router,
    /// The routers on the network of the interface whose address is the link state id.
    Network,
    /// This, with these options.
    Fixed(u8, LsaBody),
    /// There is none.
    Nothing,
}

/// An own LSA's clock.
#[derive(Debug)]
pub(crate) struct Own {
    pub(crate) content: Content,
    /// Something may have changed: look at this time.
    due: Option<Instant>,
    last: Option<Instant>,
    interval: Duration,
    refresh_at: Option<Instant>,
    /// The instance a neighbour showed us, which ours has to surpass.
    surpass: Option<i32>,
}

impl Engine {
    /// What the area's router LSA says may have changed.
    pub(crate) fn router_lsa_soon(&mut self, now: Instant, area: AreaId) {
        let id = self.config.router_id;
        let key = LsaKey { kind: lsa_kind::ROUTER, id, advertising_router: id };
        self.originate_soon(now, (Scope::Area(area), key), Content::Router);
    }

    /// What the network LSA of an interface with this address says may have changed.
    pub(crate) fn network_lsa_soon(&mut self, now: Instant, area: AreaId, address: Ipv4Addr) {
        let key = LsaKey { kind: lsa_kind::NETWORK, id: address, advertising_router: self.config.router_id };
        let own = (Scope::Area(area), key);
        if self.own.contains_key(&own) || self.network_lsa(area, address).is_some() {
            self.originate_soon(now, own, Content::Network);
        }
    }

    /// An own LSA is to have this content.
    pub(crate) fn originate_soon(&mut self, now: Instant, key: OwnKey, content: Content) {
        let (prompt, interval) = (self.config.deviations.prompt_origination, self.config.lsa_times.interval);
        let first = key.1.kind == lsa_kind::ROUTER;
        let own = self.own.entry(key).or_insert_with(|| Own {
            content: Content::Nothing,
            due: None,
            last: None,
            interval: Duration::ZERO,
            refresh_at: None,
            surpass: None,
        });
        own.content = content;
        let due = match own.last {
            // Interfaces come one after the other when a router starts.
            None if prompt && first => now + INTERFACES_COME_WITHIN,
            None => now,
            Some(last) if !prompt => (last + interval).max(now),
            Some(last) => (last + own.interval).max(now),
        };
        self.schedule(key, due);
    }

    /// Own LSAs of these types and scopes are exactly these.
    pub(crate) fn originate_exactly(
        &mut self,
        now: Instant,
        kinds: &[u8],
        wanted: &std::collections::BTreeMap<OwnKey, (u8, LsaBody)>,
    ) {
        let gone: Vec<OwnKey> = self
            .own
            .iter()
            .filter(|(key, own)| {
                kinds.contains(&key.1.kind)
                    && matches!(own.content, Content::Fixed(..))
                    && !wanted.contains_key(key)
            })
            .map(|(key, _)| *key)
            .collect();
        for key in gone {
            self.originate_soon(now, key, Content::Nothing);
        }
        for (key, (options, body)) in wanted {
            let same = self.own.get(key).is_some_and(|own| {
                matches!(&own.content, Content::Fixed(known, content) if known == options && content == body)
            });
            if !same {
                self.originate_soon(now, *key, Content::Fixed(*options, body.clone()));
            }
        }
    }

    fn schedule(&mut self, key: OwnKey, at: Instant) {
        let Some(own) = self.own.get_mut(&key) else { return };
        match own.due {
            Some(due) if due <= at => return,
            Some(due) => {
                self.own_due.remove(&(due, key));
            }
            None => {}
        }
        own.due = Some(at);
        self.own_due.insert((at, key));
    }

    /// Originates what is due.
    pub(crate) fn originate_due(&mut self, now: Instant) {
        if self.is_restarting() {
            return;
        }
        while let Some((due, key)) = self.own_due.first().copied().filter(|(due, _)| *due <= now) {
            self.own_due.remove(&(due, key));
            if let Some(own) = self.own.get_mut(&key) {
                own.due = None;
            }
            self.originate(now, key);
        }
    }

    fn originate(&mut self, now: Instant, key: OwnKey) {
        let (scope, lsa_key) = key;
        let there = self.lsdb(scope).and_then(|lsdb| lsdb.get(&lsa_key));
        let state = there.map(|entry| (entry.instance().sequence, entry.is_max_age(now)));
        let before = self.lsdb(scope).and_then(|lsdb| lsdb.last_sequence(now, &lsa_key));
        let content = match (self.own.get(&key).map(|own| &own.content), scope) {
            (Some(Content::Router), Scope::Area(area)) => {
                let waits_until = self.first_lsa_waits(area).filter(|until| there.is_none() && *until > now);
                if let Some(until) = waits_until {
                    return self.schedule(key, until);
                }
                self.router_lsa(area).map(|body| (self.options(area), body))
            }
            (Some(Content::Network), Scope::Area(area)) => {
                self.network_lsa(area, lsa_key.id).map(|body| (self.options(area), body))
            }
            (Some(Content::Fixed(options, body)), _) => Some((*options, body.clone())),
            _ => None,
        };
        let Some((options, body)) = content else {
            match state {
                Some((_, false)) => self.flush(now, scope, lsa_key),
                Some((_, true)) => {}
                None => {
                    self.own.remove(&key);
                }
            }
            return;
        };
        let same = there.is_some_and(|entry| {
            entry.instance().options == options && entry.body() == body && !entry.is_max_age(now)
        });
        let spread = Duration::from_millis(u64::from(self.random.below(REFRESH_SPREAD)));
        let Some(own) = self.own.get_mut(&key) else { return };
        let fresh = same && own.refresh_at.is_some_and(|at| at > now);
        if let (true, None, Some(at)) = (fresh, own.surpass, own.refresh_at) {
            return self.schedule(key, at);
        }
        let there = state.map(|(sequence, _)| sequence);
        let sequence = match own.surpass.take().max(there).max(before) {
            None => INITIAL_SEQUENCE,
            // The old instance has to die before the numbers begin anew (section 12.1.6).
            Some(MAX_SEQUENCE) => return self.flush(now, scope, lsa_key),
            Some(last) => last + 1,
        };
        let longest = self.config.lsa_times.interval;
        let recently = own.last.is_some_and(|last| now.saturating_duration_since(last) < 2 * longest);
        own.interval = if recently { own.interval * 2 } else { FIRST_INTERVAL }.min(longest);
        own.last = Some(now);
        let refresh_at = now + REFRESH - spread;
        own.refresh_at = Some(refresh_at);
        self.schedule(key, refresh_at);
        let lsa = Lsa::new(lsa_key, options, sequence, body);
        self.tell(
            |debug| debug.lsa,
            |_| format!("LSA originated: {}, seq 0x{sequence:08x}", crate::debug::key(&lsa_key)),
        );
        self.flood(now, scope, &lsa, None);
        self.install(now, scope, lsa);
    }

    /// When an own LSA was originated last.
    pub(crate) fn originated(&self, key: &OwnKey) -> Option<Instant> {
        let ours = key.1.advertising_router == self.config.router_id;
        ours.then(|| self.own.get(key))??.last
    }

    fn options(&self, area: AreaId) -> u8 {
        crate::hello::options(self.area_kind(area))
    }

    /// Until when the very first LSA waits for adjacencies.
    fn first_lsa_waits(&self, area: AreaId) -> Option<Instant> {
        if !self.config.deviations.prompt_origination {
            return None;
        }
        let active = self.interfaces.values().filter(|i| i.config.area == area && i.is_active());
        let forming = active.filter(|interface| interface.full().next().is_none());
        let waits = |interface: &Interface| match (interface.is_forming(), interface.network.elects()) {
            (true, _) => Some(interface.since + 3 * FIRST_LSA_WAITS),
            // Nobody is there until somebody has spoken.
            (false, true) => None,
            (false, false) => Some(interface.since + FIRST_LSA_WAITS),
        };
        forming.filter_map(waits).max()
    }

    /// Somebody has an instance of our LSA that is newer than ours: from before a restart, or forged. Ours surpasses
    /// it; what we do not originate at all is taken out of the routing domain (section 13.4).
    pub(crate) fn fight_back(&mut self, now: Instant, scope: Scope, header: &LsaHeader) {
        // What is from before our restart may be right (RFC 3623 section 2.2).
        if self.is_restarting() {
            return;
        }
        let key = (scope, header.key);
        let mine = self.own.get_mut(&key).filter(|own| own.content != Content::Nothing);
        if let Some(own) = mine {
            own.surpass = own.surpass.max(Some(header.sequence));
            let content = own.content.clone();
            self.originate_soon(now, key, content);
        } else if header.seconds() < MAX_AGE {
            self.flush(now, scope, header.key);
        }
    }

    /// An own LSA has left the database: when there is to be one, its numbers begin anew.
    pub(crate) fn own_lsa_is_gone(&mut self, now: Instant, key: OwnKey) {
        match self.own.get(&key).map(|own| own.content.clone()) {
            Some(Content::Nothing) => {
                if let Some(due) = self.own.remove(&key).and_then(|own| own.due) {
                    self.own_due.remove(&(due, key));
                }
            }
            Some(content) => self.originate_soon(now, key, content),
            None => {}
        }
    }

    /// Premature ageing (section 14.1).
    pub(crate) fn flush(&mut self, now: Instant, scope: Scope, key: LsaKey) {
        let Some(entry) = self.lsdb(scope).and_then(|lsdb| lsdb.get(&key)) else { return };
        let bytes = entry.emit_aged(MAX_AGE);
        let Ok(dead) = Lsa::parse(&bytes) else { return };
        self.tell(|debug| debug.lsa, |_| format!("LSA at MaxAge: {}", crate::debug::key(&key)));
        self.flood(now, scope, &dead, None);
        self.install(now, scope, dead);
    }

    /// LSAs that have reached MaxAge are flooded once more (section 14); those of one link only on these interfaces.
    pub(crate) fn age(&mut self, now: Instant, due: &BTreeSet<u32>) {
        let links = due.iter().map(|index| Scope::Link(*index));
        let scopes: Vec<Scope> = self
            .wide_scopes()
            .chain(links)
            .filter(|scope| self.lsdb(*scope).and_then(|l| l.next_expiry()).is_some_and(|at| at <= now))
            .collect();
        for scope in scopes {
            while let Some(key) = self.lsdb_mut(scope).and_then(|lsdb| lsdb.pop_expired(now)) {
                self.flush(now, scope, key);
                if let Some(content) = self.own.get(&(scope, key)).map(|own| own.content.clone()) {
                    self.originate_soon(now, (scope, key), content);
                }
            }
        }
    }
}
