//! Our own graceful restart (RFC 3623 section 2): neighbours are told before it, or as soon as the program is there
//! again; until all adjacencies are back nothing is originated and no route is touched.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use coati_wire::ospf::{INITIAL_SEQUENCE, Lsa, LsaBody, LsaKey, MAX_AGE, RouterLink, RouterLsa, lsa_kind};

use super::{GRACE_ID, LONGEST, Reason, grace_body, is_grace};
use crate::config::AreaId;
use crate::engine::{Engine, Event};
use crate::interface::Interface;
use crate::lsdb::Scope;
use crate::neighbour::State;
use crate::originate::{Content, OwnKey};

/// Announcements after a restart that nobody expected go so long before the first hello.
const ANNOUNCED_BEFORE_HELLO: Duration = Duration::from_millis(50);

/// How far our own restart is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restart {
    /// The neighbours are told; the program is to end before this time.
    Prepared(Instant),
    /// The program is there again; adjacencies are to be back before this time.
    Begun {
        until: Instant,
        /// The neighbours have still to be told: nobody expected it.
        unannounced: bool,
    },
}

impl Engine {
    /// Tells all neighbours that the program will not be there for a while, and that packets go on. Returns how long
    /// they wait.
    pub fn prepare_restart(&mut self, now: Instant) -> Result<Duration, String> {
        let Some(period) = self.config.graceful_restart else {
            return Err("write `graceful-restart` in `router ospf` first".to_owned());
        };
        if self.is_restarting() {
            return Err("the last graceful restart is not over yet".to_owned());
        }
        let period = period.clamp(1, LONGEST);
        let until = Duration::from_secs(u64::from(period));
        self.tick(now);
        self.restart = Some(Restart::Prepared(now + until));
        self.memory.graceful_until = Some(self.unix_time().saturating_add(u64::from(period)));
        let spoken = self.interfaces.values().filter(|interface| !interface.neighbours.is_empty());
        let bodies: Vec<(u32, LsaBody)> = spoken
            .map(|interface| (interface.link.index, body_for(interface, period, Reason::Software)))
            .collect();
        for (index, body) in bodies {
            let key = self.grace_key(index);
            self.originate_soon(now, key, Content::Fixed(coati_wire::ospf::OPTION_O, body));
        }
        let text = format!("graceful restart: the neighbours are told to wait {period} s");
        self.events.push_back(Event::Restart(text));
        self.work(now);
        Ok(until)
    }

    /// Whether the program may end now without a word: the neighbours are told.
    pub fn is_prepared(&self) -> bool {
        matches!(self.restart, Some(Restart::Prepared(_)))
    }

    /// Whether each neighbour has acknowledged what [`Engine::prepare_restart`] told it.
    pub fn is_restart_acknowledged(&self) -> bool {
        let mut neighbours = self.interfaces.values().flat_map(|interface| interface.neighbours.values());
        !neighbours.any(|neighbour| neighbour.retransmissions.keys().any(is_grace))
    }

    /// The program is there again, after what [`Engine::recall`] has brought back. `crashed`: nobody was told that it
    /// would be gone, and routes of ours are in the kernel still.
    pub fn begin_restart(&mut self, now: Instant, crashed: bool) {
        self.tick(now);
        let left = self.memory.graceful_until.take().and_then(|until| until.checked_sub(self.unix_time()));
        let Some(period) = self.config.graceful_restart else { return };
        let period = u64::from(period.clamp(1, LONGEST));
        let (left, unannounced) = match left {
            Some(left) if left > 0 => (left.min(period), false),
            _ if crashed => (period, true),
            _ => return,
        };
        let how = if unannounced { "unplanned" } else { "planned" };
        self.restart = Some(Restart::Begun { until: now + Duration::from_secs(left), unannounced });
        let text = format!("graceful restart ({how}): routes stay as they are for {left} s at the most");
        self.events.push_back(Event::Restart(text));
    }

    /// Whether nothing is originated and no route is touched.
    pub fn is_restarting(&self) -> bool {
        matches!(self.restart, Some(Restart::Begun { .. }))
    }

    /// When a restart is given up.
    pub(crate) fn restart_ends(&self) -> Option<Instant> {
        self.restart.map(|(Restart::Prepared(until) | Restart::Begun { until, .. })| until)
    }

    fn grace_key(&self, index: u32) -> OwnKey {
        let advertising_router = self.config.router_id;
        (Scope::Link(index), LsaKey { kind: lsa_kind::OPAQUE_LINK, id: GRACE_ID, advertising_router })
    }

    /// An interface comes up while the neighbours do not know that it is a restart: the announcement must not be
    /// overtaken by a hello that does not name them.
    pub(crate) fn announce_before_hello(&mut self, now: Instant, index: u32) {
        if matches!(self.restart, Some(Restart::Begun { unannounced: true, .. })) {
            self.announce_restart(now, index);
            if let Some(interface) = self.interfaces.get_mut(&index) {
                interface.hello_due = now + ANNOUNCED_BEFORE_HELLO;
            }
        }
    }

    /// Says on an interface, before a hello, what nobody could say before the restart. Nobody is adjacent, so that
    /// nobody acknowledges it: it is said again with each hello until somebody is heard.
    pub(crate) fn announce_restart(&mut self, now: Instant, index: u32) {
        let Some(Restart::Begun { unannounced: true, until }) = self.restart else { return };
        let Some(interface) = self.interfaces.get(&index).filter(|i| i.is_active()) else { return };
        let heard = interface.neighbours.values().any(|neighbour| neighbour.state >= State::Init);
        let Some(group) = interface.group().filter(|_| !heard) else { return };
        let left = until.saturating_duration_since(now).as_secs();
        let body = body_for(interface, u32::try_from(left).unwrap_or(LONGEST), Reason::Unknown);
        let (_, key) = self.grace_key(index);
        // Larger than that of an earlier life.
        let sequence = INITIAL_SEQUENCE.saturating_add_unsigned(self.memory.starts.min(1 << 24));
        let lsa = Lsa::new(key, coati_wire::ospf::OPTION_O, sequence, body);
        self.send_update_bytes(index, group, &[lsa.emit_aged(0)]);
    }

    /// Looks whether a restart is over.
    pub(crate) fn judge_restart(&mut self, now: Instant) {
        match self.restart {
            None => {}
            Some(Restart::Prepared(until)) if until <= now => {
                self.restart = None;
                self.memory.graceful_until = None;
                self.withdraw_announcements(now);
                let text = "graceful restart: prepared for, but the program was not ended in time".to_owned();
                self.events.push_back(Event::Restart(text));
            }
            Some(Restart::Prepared(_)) => {}
            Some(Restart::Begun { until, .. }) => {
                if let Some(why) = self.restart_verdict(until <= now) {
                    self.end_restart(now, &why);
                }
            }
        }
    }

    /// Why it is over, when it is (section 2.2).
    fn restart_verdict(&self, late: bool) -> Option<String> {
        if late {
            return Some("its grace period is over".to_owned());
        }
        let mut areas: Vec<AreaId> = Vec::new();
        for interface in self.interfaces.values().filter(|interface| interface.is_active()) {
            if !areas.contains(&interface.config.area) {
                areas.push(interface.config.area);
            }
        }
        if areas.is_empty() {
            return None;
        }
        let mut all = true;
        for area in areas {
            match self.area_restarted(area) {
                Ok(done) => all &= done,
                Err(why) => return Some(why),
            }
        }
        all.then(|| "all adjacencies are back".to_owned())
    }

    /// Whether the adjacencies of our LSA from before are back; an error says why they cannot be.
    fn area_restarted(&self, area: AreaId) -> Result<bool, String> {
        let interfaces = || self.interfaces.values().filter(move |interface| interface.config.area == area);
        let is_full = |id: Ipv4Addr| {
            interfaces().any(|i| i.neighbours.values().any(|n| n.router_id == id && n.state == State::Full))
        };
        let Some(before) = self.router_lsa_of(area, self.config.router_id) else {
            // Somebody shows us his database, and we are not in it: there is nothing to preserve.
            return Ok(interfaces().any(|i| i.neighbours.values().any(|n| n.state == State::Full)));
        };
        let mut done = true;
        for link in &before.links {
            match link.kind {
                RouterLink::POINT_TO_POINT | RouterLink::VIRTUAL => {
                    if let Some(theirs) = self.router_lsa_of(area, link.id)
                        && !theirs
                            .links
                            .iter()
                            .any(|back| back.kind == link.kind && back.id == self.config.router_id)
                    {
                        return Err(format!("{} does not help: its LSA has no link to us", link.id));
                    }
                    done &= is_full(link.id);
                }
                RouterLink::TRANSIT => {
                    let routers = self.routers_on(area, link.id);
                    if routers.as_ref().is_some_and(|list| !list.contains(&self.config.router_id)) {
                        let text = "does not help: its network LSA does not have us";
                        return Err(format!("the designated router {} {text}", link.id));
                    }
                    let here = interfaces().find(|interface| interface.link.address == link.data);
                    done &= here.is_some_and(|interface| match link.id == link.data {
                        // We were designated router: with everybody.
                        true => routers.is_some_and(|list| {
                            list.iter().all(|id| *id == self.config.router_id || is_full(*id))
                        }),
                        false => interface
                            .neighbours
                            .values()
                            .any(|n| n.address == link.id && n.state == State::Full),
                    });
                }
                _ => {}
            }
        }
        Ok(done)
    }

    fn router_lsa_of(&self, area: AreaId, id: Ipv4Addr) -> Option<RouterLsa> {
        let key = LsaKey { kind: lsa_kind::ROUTER, id, advertising_router: id };
        match self.areas.get(&area)?.lsdb.get(&key).filter(|entry| entry.was_alive())?.body() {
            LsaBody::Router(router) => Some(router),
            _ => None,
        }
    }

    fn routers_on(&self, area: AreaId, designated: Ipv4Addr) -> Option<Vec<Ipv4Addr>> {
        let mut found = self.areas.get(&area)?.lsdb.with_id(lsa_kind::NETWORK, designated);
        let (_, entry) = found.find(|(_, entry)| entry.was_alive())?;
        match entry.body() {
            LsaBody::Network { routers, .. } => Some(routers),
            _ => None,
        }
    }

    /// Section 2.3: from now on we say what is, and what is not any more goes.
    fn end_restart(&mut self, now: Instant, why: &str) {
        self.restart = None;
        self.events.push_back(Event::Restart(format!("graceful restart is over: {why}")));
        let areas: Vec<AreaId> = self.areas.keys().copied().collect();
        for area in areas {
            self.router_lsa_soon(now, area);
            self.paths_soon(now, area);
        }
        let networks: Vec<(AreaId, Ipv4Addr)> =
            self.interfaces.values().map(|i| (i.config.area, i.link.address)).collect();
        for (area, address) in networks {
            self.network_lsa_soon(now, area, address);
        }
        self.externals_changed(now);
        self.compute_now(now);
        self.originate_due(now);
        self.withdraw_announcements(now);
        // What we said before and do not say any more.
        let own = self.config.router_id;
        let scopes: Vec<Scope> = self.scopes().collect();
        for scope in scopes {
            let stale: Vec<LsaKey> = self.lsdb(scope).map_or(Vec::new(), |lsdb| {
                let ours = lsdb.iter().map(|(key, _)| *key).filter(|key| key.advertising_router == own);
                ours.filter(|key| {
                    self.own.get(&(scope, *key)).is_none_or(|own| own.content == Content::Nothing)
                })
                .collect()
            });
            for key in stale {
                self.flush(now, scope, key);
            }
        }
        // Whatever the kernel has from before.
        self.table.moved.extend(self.table.routes.keys().copied());
        self.routes_changed(std::collections::BTreeMap::new());
    }

    fn withdraw_announcements(&mut self, now: Instant) {
        let indexes: Vec<u32> = self.interfaces.keys().copied().collect();
        for index in indexes {
            let key = self.grace_key(index);
            if let Some(own) = self.own.get_mut(&key) {
                own.content = Content::Nothing;
            }
            let alive = self.lsdb(key.0).and_then(|lsdb| lsdb.get(&key.1));
            if alive.is_some_and(|entry| entry.instance().seconds() < MAX_AGE) {
                self.flush(now, key.0, key.1);
            }
        }
    }

    /// A hello of somebody who takes us for designated router or backup: so it was before the restart (section 2.2).
    pub(crate) fn be_what_we_were(&mut self, index: u32, designated: Ipv4Addr, backup: Ipv4Addr) {
        if !self.is_restarting() {
            return;
        }
        let Some(interface) = self.interfaces.get_mut(&index) else { return };
        let own = interface.link.address;
        if interface.wait_until.is_some() && (designated == own || backup == own) {
            interface.designated = designated;
            interface.backup = backup;
            interface.wait_until = None;
            interface.elect = true;
        }
    }
}

/// What a Grace-LSA for an interface says.
fn body_for(interface: &Interface, period: u32, reason: Reason) -> LsaBody {
    grace_body(period, reason, (!interface.has_one_end()).then_some(interface.link.address))
}
