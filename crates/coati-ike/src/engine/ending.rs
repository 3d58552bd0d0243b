//! How SAs end: by the peer's word, by its death, by ours.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use coati_sadb::Spi;

use super::Engine;
use super::demand::COLLISION;
use crate::event::{EndReason, Event};
use crate::failure::{Cause, Failure, Stage};
use crate::ikev1::commit;
use crate::ikev1::informational::{self, Informed};
use crate::ikev1::phase1::Phase1;
use crate::ikev1::quick_mode;
use crate::pair::{Pair, PairKey, Want};
use crate::party::Party;

/// An ISAKMP SA that the peer deletes sooner was not wanted.
const LASTING: Duration = Duration::from_secs(1);

impl Engine {
    /// What an informational message of the peer asks for.
    pub(super) fn informed(&mut self, now: Instant, id: u64, told: Informed) {
        let Some(sa) = self.phase1.get(&id) else { return };
        let (remote, began) = (sa.remote.ip(), sa.began);
        let identity = sa.peer_identity.clone();
        // Several peers may share the address of a NAT: each speaks for what it has negotiated itself.
        let party = sa.party();
        let is_its = |other: &Party| other.is(&party) && other.identity == party.identity;
        let of_peer = |pair: &Pair| pair.want.party.as_ref().is_some_and(is_its);
        let same = |other: &Phase1| is_its(&other.party()) && other.peer_identity == identity;
        match told {
            Informed::Nothing => {}
            Informed::Connected(message_id) => {
                let Some(sa) = self.phase1.get_mut(&id) else { return };
                let outcome = commit::connected(&mut self.core, now, sa, message_id);
                self.quick_outcome(now, id, message_id, &outcome);
            }
            Informed::EspDeleted(spis) => {
                let gone = self
                    .core
                    .pairs
                    .of(PairKey::Remote(remote))
                    .filter(|(_, pair)| of_peer(pair) && spis.contains(&pair.outbound.spi));
                let gone: Vec<u64> = gone.map(|(id, _)| id).collect();
                for pair in gone {
                    self.deleted_by_peer(now, pair);
                }
            }
            Informed::IsakmpDeleted(list) => {
                let of_peer = self.phase1.of(remote).map(|(_, sa)| sa);
                let gone = of_peer.filter(|sa| same(sa) && list.contains(&sa.cookies.concat()));
                let gone: Vec<(u64, Option<Instant>)> = gone.map(|sa| (sa.id, sa.established)).collect();
                let any = !gone.is_empty();
                for (id, since) in gone {
                    let mut wants = self.end_phase1(id, EndReason::DeletedByPeer, false);
                    wants.extend(self.unsure_of(now, id, since));
                    // What had begun under it goes on under another one. A peer that deletes each at once is asked by
                    // packets only, which is not that often.
                    let lasted = since.is_some_and(|since| now.saturating_duration_since(since) >= LASTING);
                    for want in wants.into_iter().filter(|_| lasted) {
                        self.negotiate(now, want);
                    }
                }
                if any {
                    self.revive(remote, &party);
                }
            }
            Informed::InitialContact => {
                self.core.events.push_back(Event::InitialContact { remote });
                let old = self
                    .core
                    .pairs
                    .of(PairKey::Remote(remote))
                    .filter(|(_, pair)| of_peer(pair) && pair.phase1 != id && pair.established < began);
                let old: Vec<u64> = old.map(|(id, _)| id).collect();
                for pair in old {
                    self.core.remove_pair(pair, EndReason::PeerRestarted);
                }
                let old = self.phase1.of(remote).map(|(_, sa)| sa).filter(|sa| {
                    sa.id != id && same(sa) && sa.established.is_some_and(|since| since < began)
                });
                let old: Vec<u64> = old.map(|sa| sa.id).collect();
                for id in old {
                    self.end_phase1(id, EndReason::PeerRestarted, false);
                }
            }
        }
    }

    /// What the peer may not have any more when it deletes this ISAKMP SA: pairs whose last message may have met it in
    /// the act. A peer that deletes each ISAKMP SA after what it was made for means no pair by that.
    fn unsure_of(&mut self, now: Instant, phase1: u64, since: Option<Instant>) -> Vec<Want> {
        let made_late = |pair: &Pair| {
            since.is_some_and(|since| pair.established.saturating_duration_since(since) >= LASTING)
        };
        let just_made = |pair: &Pair| now.saturating_duration_since(pair.established) < COLLISION;
        let mut wants = Vec::new();
        for id in self.core.pairs.ids(PairKey::Phase1(phase1)) {
            let Some(pair) = self.core.pairs.get_mut(&id) else { continue };
            if !pair.retired && just_made(pair) && made_late(pair) {
                pair.lost = true;
                wants.push(pair.want.clone());
            }
        }
        wants
    }

    /// Deletes one ISAKMP SA, and says so, as another implementation may.
    #[cfg(test)]
    pub(crate) fn delete_one(&mut self, cookie: &str) {
        let found = self.phase1.values().find(|sa| sa.spi().starts_with(cookie));
        let (id, party) = found.map(|sa| (sa.id, sa.party())).unwrap();
        self.end_phase1(id, EndReason::Asked, true);
        self.revive(party.address, &party);
    }

    /// A peer that deletes the pair in use, while one that it was to replace still receives, has chosen otherwise
    /// than we: the next one is negotiated at once, not when a packet asks for it.
    fn deleted_by_peer(&mut self, now: Instant, id: u64) {
        let Some(pair) = self.core.pairs.get(&id).cloned() else { return };
        self.core.remove_pair(id, EndReason::DeletedByPeer);
        let same = PairKey::Selector(pair.want.selector);
        let others = self.core.pairs.of(same).any(|(_, other)| other.want.is_for(&pair.want));
        if !pair.retired
            && others
            && !self.use_held(now, &pair.want)
            && self.core.live_pair(&pair.want).is_none()
        {
            self.negotiate(now, pair.want);
        }
    }

    /// Removes an ISAKMP SA; its SA pairs stay.
    pub(super) fn end_phase1(&mut self, id: u64, why: EndReason, tell: bool) -> Vec<Want> {
        let Some(mut sa) = self.forget(id) else { return Vec::new() };
        if tell {
            informational::delete_isakmp(&mut self.core, &sa);
        }
        let open: Vec<u32> =
            sa.quicks.iter().filter(|(_, quick)| quick.is_open()).map(|(id, _)| *id).collect();
        let mut wants: Vec<Want> = sa.waiting.drain(..).collect();
        for message_id in open {
            wants.extend(sa.quicks.get(&message_id).map(|quick| quick.want.clone()));
            quick_mode::abandon(&mut self.core, &mut sa, message_id);
        }
        if sa.established.is_some() {
            let (local, remote, spi) = (sa.local, sa.remote, sa.spi());
            self.core.events.push_back(Event::IsakmpDeleted { local, remote, spi, why });
        }
        wants
    }

    pub(super) fn end_pair(&mut self, id: u64, why: EndReason) {
        let Some(want) = self.core.pairs.get(&id).map(|pair| pair.want.clone()) else { return };
        if let Some(inbound) = self.core.remove_pair(id, why)
            && let Some(sa) =
                self.best(want.peer(), want.party.as_ref()).and_then(|best| self.phase1.get(&best))
        {
            informational::delete_esp(&mut self.core, sa, &[inbound.spi]);
        }
    }

    pub(super) fn peer_dead(&mut self, party: &Party) {
        let remote = party.address;
        self.core.events.push_back(Event::PeerDead { remote });
        let text =
            "it does not answer any more: dead peer detection has given it up (is it up, and is the path?)";
        self.core.fail(Failure::new(remote, Stage::Phase1, Cause::NoResponse, text));
        self.take_leave(remote, Some(party), EndReason::PeerDead);
    }

    /// Ends everything with this peer, or with all that are at the address, and tells it. Returns how many SAs and pairs
    /// there were.
    pub(super) fn take_leave(&mut self, remote: IpAddr, party: Option<&Party>, why: EndReason) -> usize {
        let mut told = 0;
        if party.is_none() {
            // Each of those behind a NAT by itself: each has its own ISAKMP SA to be told by.
            let first = |engine: &Self| engine.phase1.of(remote).next().map(|(_, sa)| sa.party());
            while let Some(party) = first(self) {
                told += self.take_leave(remote, Some(&party), why);
            }
        }
        let is_its = |other: &Party| party.is_none_or(|party| other.is(party));
        let of_peer = self.core.pairs.of(PairKey::Remote(remote));
        let of_peer = of_peer.filter(|(_, pair)| pair.want.party.as_ref().is_none_or(is_its));
        let pairs: Vec<u64> = of_peer.map(|(id, _)| id).collect();
        let spis: Vec<Spi> = pairs
            .iter()
            .filter_map(|id| self.core.remove_pair(*id, why))
            .map(|inbound| inbound.spi)
            .collect();
        let list: Vec<u64> =
            self.phase1.of(remote).filter(|(_, sa)| is_its(&sa.party())).map(|(id, _)| id).collect();
        let best = self.best(remote, party);
        for id in list.iter().copied().filter(|id| Some(*id) != best) {
            self.end_phase1(id, why, true);
        }
        if let Some(best) = best {
            if let Some(sa) = self.phase1.get(&best) {
                informational::delete_all(&mut self.core, sa, &spis);
            }
            self.end_phase1(best, why, false);
        }
        told + pairs.len() + list.len()
    }
}
