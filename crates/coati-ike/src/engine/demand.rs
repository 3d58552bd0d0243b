//! What the data plane wants: keys for a policy, renewal, answers to its questions.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use coati_sadb::{Acquire, Expire, NatT, Policy, Reply, Request, SaId, Selector, Spi};

use super::Engine;
use crate::config::ExchangeMode;
use crate::core::{Purpose, RequestTag, Timer};
use crate::event::EndReason;
use crate::failure::{Cause, Failure, Stage};
use crate::ikev1::phase1::Phase1;
use crate::ikev1::{aggressive_mode, informational, main_mode, quick_mode};
use crate::pair::{Pair, PairKey, Want};

/// Negotiations that wait for one ISAKMP SA.
const MAX_WAITING: usize = 64;
/// A responder lets the initiator of phase 1 begin with phase 2 for so long.
pub(super) const RESPONDER_WAITS: Duration = Duration::from_millis(300);
/// Of two negotiations of phase 1 begun from both sides within this time, one gives way.
pub(super) const COLLISION: Duration = Duration::from_secs(2);
/// An unknown SPI is acted upon this often for one peer.
const UNKNOWN_SPI_INTERVAL: Duration = Duration::from_secs(1);

impl Engine {
    /// The data plane wants keys for a policy, and so has no outbound SA for it.
    pub fn handle_acquire(&mut self, now: Instant, acquire: &Acquire) {
        let Some(want) = self.core.want_of(&acquire.selector) else { return };
        if self.use_held(now, &want) {
            return;
        }
        // It may have asked before it got the SAs of a pair that has just been made.
        let is_settling = |pair: &Pair| now.saturating_duration_since(pair.established) < COLLISION;
        for id in self.core.pairs.ids(PairKey::Selector(want.selector)) {
            if let Some(pair) = self.core.pairs.get_mut(&id).filter(|pair| !is_settling(pair)) {
                pair.lost = true;
            }
        }
        if !self.core.live_pair(&want).is_some_and(|(_, pair)| is_settling(pair)) {
            self.negotiate(now, want);
        }
    }

    /// Brings up an ISAKMP SA with a peer without waiting for a packet.
    pub fn initiate(&mut self, now: Instant, local: IpAddr, remote: IpAddr) {
        if self.best(remote, None).is_none() && self.under_way(remote).is_none() {
            self.begin_phase1(now, local, remote, Vec::new());
        }
    }

    /// Phase 2 for `want` under whatever ISAKMP SA there is, or under one that is to come.
    pub(super) fn negotiate(&mut self, now: Instant, want: Want) {
        let remote = want.peer();
        if let Some(id) = self.best(remote, want.party.as_ref())
            && let Some(sa) = self.phase1.get_mut(&id)
        {
            let age = sa.established.map_or(RESPONDER_WAITS, |since| now.saturating_duration_since(since));
            if sa.is_ready() && (sa.initiator || age >= RESPONDER_WAITS) {
                quick_mode::initiate(&mut self.core, now, sa, want);
            } else {
                wait_for(sa, want);
            }
        } else if let Some(sa) = self.under_way(remote) {
            wait_for(sa, want);
        } else if remote == want.remote {
            let local = want.local;
            self.begin_phase1(now, local, remote, vec![want]);
        }
    }

    pub(super) fn begin_phase1(&mut self, now: Instant, local: IpAddr, remote: IpAddr, wants: Vec<Want>) {
        let Some(index) = self.core.config.peer_of(remote) else {
            let text = "a policy wants IPsec with it, but no remote section fits it";
            return self.core.fail(Failure::new(remote, Stage::Start, Cause::Configuration, text));
        };
        if self.core.peer(index).is_some_and(|peer| !peer.passive) {
            self.begin_phase1_with(now, index, local, remote, wants);
        }
    }

    /// Begins phase 1 by the remote section of this index, passive or not. Whether it could begin.
    pub(super) fn begin_phase1_with(
        &mut self,
        now: Instant,
        index: usize,
        local: IpAddr,
        remote: IpAddr,
        wants: Vec<Want>,
    ) -> bool {
        let Some(port) = self.core.peer(index).map(|peer| peer.port) else { return false };
        let local = SocketAddr::new(local, self.core.config.port);
        let remote = SocketAddr::new(remote, port);
        let mode = self.core.peer(index).and_then(|peer| peer.exchange_modes.first().copied());
        let core = &mut self.core;
        let begun = match mode.unwrap_or(ExchangeMode::Main) {
            ExchangeMode::Main => main_mode::initiate(core, now, index, local, remote),
            ExchangeMode::Aggressive => aggressive_mode::initiate(core, now, index, local, remote),
        };
        let Some(mut sa) = begun else { return false };
        sa.waiting.extend(wants);
        self.keep(sa);
        true
    }

    pub(super) fn begin_waiting(&mut self, now: Instant, id: u64) {
        let Some(sa) = self.phase1.get_mut(&id).filter(|sa| sa.is_ready()) else { return };
        let (wants, began): (Vec<Want>, Instant) = (sa.waiting.drain(..).collect(), sa.began);
        for want in wants {
            // A pair from before is there when it is to be renewed; one that has come meanwhile will do.
            if self.core.live_pair(&want).is_none_or(|(_, pair)| pair.established < began) {
                self.negotiate(now, want);
            }
        }
    }

    /// A lifetime of an SA has run out.
    pub fn handle_expire(&mut self, now: Instant, expire: &Expire) {
        let is_it = |(_, pair): &(u64, &Pair)| pair.inbound == expire.id || pair.outbound == expire.id;
        let found = self.core.pairs.of(PairKey::Spi(expire.id.spi)).find(is_it);
        let Some((id, pair)) = found else { return };
        if expire.hard {
            return self.end_pair(id, EndReason::Expired);
        }
        if pair.retired || self.core.held_pair(&pair.want).is_some() {
            return;
        }
        if pair.initiator {
            let want = pair.want.clone();
            self.negotiate(now, want);
        } else {
            // The initiator has had its chance by then.
            let grace = (pair.lifetime / 20).min(Duration::from_secs(30));
            self.core.set_timer(now + grace, Timer::RekeyLate(id));
        }
    }

    /// The policies as they are now: what peers may ask for is what these want.
    pub fn handle_policies(&mut self, policies: &[Policy]) {
        self.core.policies.set(policies);
        let there: HashSet<Selector> = policies.iter().map(|policy| policy.selector).collect();
        self.core.generated.retain(|selector| there.contains(selector));
    }

    /// The data plane answers a request.
    pub fn handle_reply(&mut self, now: Instant, tag: RequestTag, reply: &Reply) {
        match (self.core.purposes.remove(&tag.0), reply) {
            (Some(Purpose::QuickSpi { phase1, message_id, proto }), Reply::Spi { spi }) => {
                // When the exchange is gone meanwhile, the larval SA ends by itself.
                if let Some(sa) =
                    self.phase1.get_mut(&phase1).filter(|sa| sa.quicks.contains_key(&message_id))
                {
                    quick_mode::handle_spi(&mut self.core, now, sa, message_id, (proto, *spi));
                }
            }
            (Some(Purpose::QuickSpi { phase1, message_id, .. }), refused) => {
                let Some(sa) = self.phase1.get_mut(&phase1) else { return };
                let text = format!("no SPI to be had: {}", refusal(refused));
                self.core.fail(Failure::new(sa.remote.ip(), Stage::Install, Cause::DataPlane, text));
                quick_mode::abandon(&mut self.core, sa, message_id);
            }
            (Some(Purpose::Install(remote)), refused @ Reply::Refused { .. }) => {
                let text = format!("a negotiated SA could not be installed: {}", refusal(refused));
                self.core.fail(Failure::new(remote, Stage::Install, Cause::DataPlane, text));
            }
            (Some(Purpose::Moved { local, remote }), Reply::Sas { sas }) => {
                for mut sa in sas.iter().cloned() {
                    let before = sa.nat_t.unwrap_or_default();
                    sa.nat_t = Some(NatT { source_port: local, destination_port: remote, ..before });
                    self.core.ask(Request::Update(Box::new(sa)), None);
                }
            }
            (Some(Purpose::Traffic { phase1, pair }), reply) => self.traffic(now, phase1, pair, reply),
            (Some(Purpose::Used { pair, next }), reply) => self.looked_for_use(now, pair, next, reply),
            _ => {}
        }
    }

    /// An authentic packet has come through an inbound SA from another port of the peer's NAT: IKE and ESP go there from
    /// now on, as after a message of IKE's.
    pub fn handle_moved(&mut self, id: &SaId, port: u16) {
        let is_it = |(_, pair): &(u64, &Pair)| pair.inbound == *id;
        let found = self.core.pairs.of(PairKey::Spi(id.spi)).find(is_it);
        let Some(party) = found.map(|(_, pair)| pair.want.party.clone()) else { return };
        let is_its = |sa: &&mut Phase1| {
            sa.is_established()
                && sa.nat.before_peer
                && sa.remote.ip() == id.source
                && sa.remote.port() != port
                && party.as_ref().is_none_or(|party| party.is_at(sa.remote))
        };
        for sa in self.phase1.values_mut().filter(is_its) {
            let before = sa.remote;
            sa.remote.set_port(port);
            self.core.peer_moved(before, sa.local, sa.remote);
        }
    }

    /// A packet named an SPI that nobody has: either the peer does not know that an SA is gone, and is told, or we
    /// have started anew, and say so by INITIAL-CONTACT.
    pub fn handle_unknown_spi(&mut self, now: Instant, source: IpAddr, destination: IpAddr, spi: Spi) {
        let known = self.core.config.peers.iter().any(|peer| peer.address == Some(source) && !peer.passive);
        let last = self.unknown_spi_seen.get(&source);
        if !known || last.is_some_and(|last| now.saturating_duration_since(*last) < UNKNOWN_SPI_INTERVAL) {
            return;
        }
        self.unknown_spi_seen.insert(source, now);
        match self.best(source, None).and_then(|id| self.phase1.get(&id)) {
            Some(sa) => informational::delete_esp(&mut self.core, sa, &[spi]),
            None => self.initiate(now, destination, source),
        }
    }
}

pub(super) fn wait_for(sa: &mut Phase1, want: Want) {
    let there = sa.waiting.iter().any(|waiting| waiting.selector == want.selector);
    if !there && sa.waiting.len() < MAX_WAITING {
        sa.waiting.push_back(want);
    }
}

fn refusal(reply: &Reply) -> String {
    match reply {
        Reply::Refused { refusal } => refusal.to_string(),
        _ => "an answer of another kind".into(),
    }
}
