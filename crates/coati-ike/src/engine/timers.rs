//! What is due: repetitions, renewal, expiry, dead peer detection.

use std::time::Instant;

use coati_sadb::{Reply, Request};

use super::Engine;
use crate::core::{Purpose, Timer};
use crate::event::EndReason;
use crate::failure::{Cause, Failure, Stage};
use crate::ikev1::phase1::State;
use crate::ikev1::{informational, negotiation, quick_mode, signature};
use crate::pair::{Pair, PairKey, RETIREMENT};
use crate::retransmission::Due;

impl Engine {
    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.core.pop_due(now) {
            self.fire(now, timer);
        }
    }

    pub(super) fn fire(&mut self, now: Instant, timer: Timer) {
        match timer {
            Timer::Phase1(id) => self.phase1_due(now, id),
            Timer::QuickMode(id, message_id) => {
                let Some(sa) = self.phase1.get_mut(&id) else { return };
                let committed = sa
                    .quicks
                    .get(&message_id)
                    .is_some_and(|quick| quick.state == quick_mode::State::Committed);
                let outcome = quick_mode::handle_timeout(&mut self.core, now, sa, message_id);
                if outcome == quick_mode::Outcome::Failed && !self.core.failures.contains_key(&sa.remote.ip())
                {
                    let text = if committed {
                        "it has set the commit bit in quick mode, and then does not say CONNECTED"
                    } else {
                        "no answer in quick mode"
                    };
                    self.core.fail(Failure::new(sa.remote.ip(), Stage::Phase2, Cause::NoResponse, text));
                }
                self.quick_outcome(now, id, message_id, &outcome);
            }
            Timer::ForgetQuick(id, message_id) => {
                if let Some(sa) = self.phase1.get_mut(&id) {
                    sa.quicks.remove(&message_id);
                }
            }
            Timer::HalfOpen(id) => {
                if self.phase1.get(&id).is_some_and(|sa| !sa.is_established()) {
                    self.forget(id);
                }
            }
            Timer::Keepalive(id) => {
                if let Some(sa) = self.phase1.get(&id).filter(|sa| sa.is_established()) {
                    self.core.send_keepalive(sa.local, sa.remote);
                    self.core.set_timer(now + self.core.config.natt_keepalive, timer);
                }
            }
            Timer::Transaction(id, message_id) => self.transaction_due(now, id, message_id),
            Timer::Login(id) => self.login_due(now, id),
            Timer::Waiting(id) => self.begin_waiting(now, id),
            Timer::Renew(id) => self.renew(now, id),
            Timer::Expire(id) => {
                self.end_phase1(id, EndReason::Expired, true);
            }
            Timer::Retire(id) => {
                if self.phase1.get(&id).is_none_or(|sa| sa.state != State::Dying) {
                    return;
                }
                // strongSwan ends the pairs that were negotiated under an ISAKMP SA together with it.
                if self.core.pairs.of(PairKey::Phase1(id)).next().is_some() {
                    return self.core.set_timer(now + RETIREMENT, Timer::Retire(id));
                }
                for want in self.end_phase1(id, EndReason::Replaced, true) {
                    self.negotiate(now, want);
                }
            }
            Timer::Dpd(id) => self.dpd_due(now, id),
            Timer::RekeyLate(id) => {
                let due = self.core.pairs.get(&id).filter(|pair| !pair.retired).map(|pair| pair.want.clone());
                if let Some(want) = due.filter(|want| self.core.held_pair(want).is_none()) {
                    self.negotiate(now, want);
                }
            }
            Timer::LookForUse(id, next) => self.look_for_use(id, next),
            Timer::RetirePair(id) => self.end_pair(id, EndReason::Replaced),
        }
    }

    pub(super) fn phase1_due(&mut self, now: Instant, id: u64) {
        let Some(sa) = self.phase1.get_mut(&id) else { return };
        let Some(last) = &mut sa.last_sent else { return };
        match last.check(now) {
            Due::NotYet => {}
            Due::Again(next) => {
                for datagram in &last.datagrams {
                    self.core.send(sa.local, sa.remote, datagram.clone());
                }
                self.core.set_timer(next, Timer::Phase1(id));
            }
            Due::GiveUp => {
                let remote = sa.remote;
                let step = match sa.state {
                    State::SaSent => "to our proposals (is it up, and does UDP 500 reach it?)",
                    State::KeSent => "to our key exchange",
                    _ => "to our identity",
                };
                // What the peer said meanwhile tells more.
                if !self.core.failures.contains_key(&remote.ip()) {
                    let credentials = self.core.config.peers.get(sa.peer).map(|peer| &peer.credentials);
                    let hint = credentials.and_then(|credentials| signature::unrequested(sa, credentials));
                    let hint = hint.map_or(String::new(), |hint| format!("; {hint}"));
                    let text = format!("no answer in main mode {step}{hint}");
                    let failure = negotiation::suspect_key(&self.core, sa, &text)
                        .unwrap_or_else(|| Failure::new(remote.ip(), Stage::Phase1, Cause::NoResponse, text));
                    self.core.fail(failure);
                }
                self.forget(id);
            }
        }
    }

    /// Make before break: a new ISAKMP SA while the old one is still good.
    pub(super) fn renew(&mut self, now: Instant, id: u64) {
        let Some(sa) = self.phase1.get(&id).filter(|sa| sa.state == State::Established) else { return };
        if self.core.peer(sa.peer).is_none_or(|peer| !peer.rekey) {
            return;
        }
        let (local, remote) = (sa.local.ip(), sa.remote.ip());
        // Behind a NAT nobody is found at the port of the configuration: the peer begins.
        let needed = !sa.nat.before_peer && self.core.pairs.of(PairKey::Remote(remote)).next().is_some();
        if needed && self.under_way(remote).is_none() {
            self.begin_phase1(now, local, remote, Vec::new());
        }
    }

    pub(super) fn dpd_due(&mut self, now: Instant, id: u64) {
        let Some(sa) = self.phase1.get_mut(&id).filter(|sa| sa.state == State::Established) else { return };
        let Some(dpd) = informational::dpd_of(&self.core, sa) else { return };
        if sa.dpd.due.is_none_or(|due| due > now) {
            return;
        }
        let quiet = now.saturating_duration_since(sa.heard);
        if sa.dpd.failures == 0 && quiet < dpd.delay {
            let due = sa.heard + dpd.delay;
            sa.dpd.due = Some(due);
            return self.core.set_timer(due, Timer::Dpd(id));
        }
        let (remote, party) = (sa.remote.ip(), sa.party());
        let is_its = |pair: &Pair| pair.want.party.as_ref().is_some_and(|other| other.is(&party));
        let pairs = &self.core.pairs;
        let pair = pairs.of(PairKey::Remote(remote)).rfind(|(_, pair)| is_its(pair) && !pair.retired);
        match pair.map(|(pair, found)| (pair, found.inbound)) {
            None => self.ask_peer(now, id),
            Some((pair, inbound)) => {
                // Should the data plane not answer, the question is asked again.
                sa.dpd.due = Some(now + dpd.retry);
                self.core.set_timer(now + dpd.retry, Timer::Dpd(id));
                self.core.ask(Request::Get(inbound), Some(Purpose::Traffic { phase1: id, pair }));
            }
        }
    }

    /// How much has come in from the peer: one that talks is not asked whether it lives.
    pub(super) fn traffic(&mut self, now: Instant, id: u64, pair: u64, reply: &Reply) {
        let packets = match reply {
            Reply::Sas { sas } => sas.iter().map(|sa| sa.usage.packets).sum(),
            _ => 0,
        };
        let talks = self.core.pairs.get_mut(&pair).is_some_and(|pair| {
            let talks = packets > pair.packets_seen;
            pair.packets_seen = packets;
            talks
        });
        let Some(sa) = self.phase1.get_mut(&id) else { return };
        if talks {
            sa.dpd.failures = 0;
            informational::schedule_dpd(&mut self.core, now, sa);
        } else {
            self.ask_peer(now, id);
        }
    }

    pub(super) fn ask_peer(&mut self, now: Instant, id: u64) {
        let Some(sa) = self.phase1.get_mut(&id) else { return };
        if !informational::ask_dpd(&mut self.core, now, sa) {
            let party = sa.party();
            self.peer_dead(&party);
        }
    }
}
