//! How SAs end: by the peer's word, by its death, by ours.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use coati_sadb::Spi;

use super::Engine;
use crate::event::{EndReason, Event};
use crate::failure::{Cause, Failure, Stage};
use crate::ikev1::informational::{self, Informed};
use crate::ikev1::phase1::Phase1;
use crate::ikev1::quick_mode;
use crate::pair::Want;

/// An ISAKMP SA that the peer deletes sooner was not wanted.
const LASTING: Duration = Duration::from_secs(1);

impl Engine {
    /// What an informational message of the peer asks for.
    pub(super) fn informed(&mut self, now: Instant, id: u64, told: Informed) {
        let Some(sa) = self.phase1.get(&id) else { return };
        let (remote, began) = (sa.remote.ip(), sa.began);
        let identity = sa.peer_identity.clone();
        // Several peers may share the address of a NAT: each speaks for what it has negotiated itself.
        let owner = identity.as_ref().map_or(Vec::new(), |identity| identity.emit());
        let of_peer = |pair: &crate::pair::Pair| pair.want.remote == remote && pair.identity == owner;
        let same = |other: &Phase1| other.remote.ip() == remote && other.peer_identity == identity;
        match told {
            Informed::Nothing => {}
            Informed::EspDeleted(spis) => {
                let gone = self
                    .core
                    .pairs
                    .iter()
                    .filter(|(_, pair)| of_peer(pair) && spis.contains(&pair.outbound.spi));
                let gone: Vec<u64> = gone.map(|(id, _)| *id).collect();
                for pair in gone {
                    self.deleted_by_peer(now, pair);
                }
            }
            Informed::IsakmpDeleted(list) => {
                let gone = self.phase1.values().filter(|sa| same(sa) && list.contains(&sa.cookies.concat()));
                let gone: Vec<(u64, Option<Instant>)> = gone.map(|sa| (sa.id, sa.established)).collect();
                for (id, since) in gone {
                    let wants = self.end_phase1(id, EndReason::DeletedByPeer, false);
                    // What had begun under it goes on under another one. A peer that deletes each at once is asked by
                    // packets only, which is not that often.
                    let lasted = since.is_some_and(|since| now.saturating_duration_since(since) >= LASTING);
                    for want in wants.into_iter().filter(|_| lasted) {
                        self.negotiate(now, want);
                    }
                }
            }
            Informed::InitialContact => {
                self.core.events.push_back(Event::InitialContact { remote });
                let old = self
                    .core
                    .pairs
                    .iter()
                    .filter(|(_, pair)| of_peer(pair) && pair.phase1 != id && pair.established < began);
                let old: Vec<u64> = old.map(|(id, _)| *id).collect();
                for pair in old {
                    self.core.remove_pair(pair, EndReason::PeerRestarted);
                }
                let old = self.phase1.values().filter(|sa| {
                    sa.id != id && same(sa) && sa.established.is_some_and(|since| since < began)
                });
                let old: Vec<u64> = old.map(|sa| sa.id).collect();
                for id in old {
                    self.end_phase1(id, EndReason::PeerRestarted, false);
                }
            }
        }
    }

    /// A peer that deletes the pair in use, while one that it was to replace still receives, has chosen otherwise
    /// than we: the next one is negotiated at once, not when a packet asks for it.
    fn deleted_by_peer(&mut self, now: Instant, id: u64) {
        let Some(pair) = self.core.pairs.get(&id).cloned() else { return };
        self.core.remove_pair(id, EndReason::DeletedByPeer);
        let selector = pair.want.selector;
        let others = self.core.pairs.values().any(|other| other.want.selector == selector);
        if !pair.retired
            && others
            && !self.use_held(now, &selector)
            && self.core.live_pair(&selector).is_none()
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
        let Some(remote) = self.core.pairs.get(&id).map(|pair| pair.want.remote) else { return };
        if let Some(inbound) = self.core.remove_pair(id, why)
            && let Some(sa) = self.best(remote).and_then(|best| self.phase1.get(&best))
        {
            informational::delete_esp(&mut self.core, sa, &[inbound.spi]);
        }
    }

    pub(super) fn peer_dead(&mut self, remote: IpAddr) {
        self.core.events.push_back(Event::PeerDead { remote });
        let text =
            "it does not answer any more: dead peer detection has given it up (is it up, and is the path?)";
        self.core.fail(Failure::new(remote, Stage::Phase1, Cause::NoResponse, text));
        self.take_leave(remote, EndReason::PeerDead);
    }

    /// Ends everything with this peer and tells it. Returns how many SAs and pairs there were.
    pub(super) fn take_leave(&mut self, remote: IpAddr, why: EndReason) -> usize {
        let of_peer = self.core.pairs.iter().filter(|(_, pair)| pair.want.remote == remote);
        let pairs: Vec<u64> = of_peer.map(|(id, _)| *id).collect();
        let spis: Vec<Spi> = pairs
            .iter()
            .filter_map(|id| self.core.remove_pair(*id, why))
            .map(|inbound| inbound.spi)
            .collect();
        let list: Vec<u64> =
            self.phase1.values().filter(|sa| sa.remote.ip() == remote).map(|sa| sa.id).collect();
        let best = self.best(remote);
        for id in list.iter().copied().filter(|id| Some(*id) != best) {
            self.end_phase1(id, why, true);
        }
        if let Some(best) = best {
            if let Some(sa) = self.phase1.get(&best) {
                informational::delete_all(&mut self.core, sa, &spis);
            }
            self.end_phase1(best, why, false);
        }
        pairs.len() + list.len()
    }
}
