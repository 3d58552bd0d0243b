//! Two of a kind: phase 1 begun from both sides, ISAKMP SAs and SA pairs that take over from others.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use coati_sadb::{Reply, Request};
use coati_wire::isakmp::Notification;

use super::Engine;
use super::demand::{COLLISION, wait_for};
use crate::core::{Purpose, Timer};
use crate::ikev1::informational::{self, Informed};
use crate::ikev1::phase1::State;
use crate::pair::{FIRST_LOOK, LAST_LOOK, PairKey, RETIREMENT, SIMULTANEOUS, Want};
use crate::party::Party;

/// A replaced ISAKMP SA is there for so long still: a little longer than strongSwan's 10 s, which may have chosen the other
/// one of two and deletes that then.
const LINGERING: Duration = Duration::from_secs(15);

impl Engine {
    /// Both have begun at once: the larger initiator cookie goes on. Returns whether the peer's does; ours then
    /// pauses, but stays, since nothing is proved yet.
    pub(super) fn yield_to(&mut self, now: Instant, remote: SocketAddr, their_cookie: [u8; 8]) -> bool {
        let mut timers = Vec::new();
        for id in self.phase1.ids(remote.ip()) {
            let Some(sa) = self.phase1.get_mut(&id) else { continue };
            let young = now.saturating_duration_since(sa.began) < COLLISION;
            if !(sa.initiator && sa.remote == remote && young) {
                continue;
            }
            let [our_cookie, _] = sa.cookies;
            if our_cookie > their_cookie {
                // It may not have been there when ours was sent: now it is.
                if let Some(last) = sa.last_sent.as_mut().filter(|_| sa.state == State::SaSent)
                    && last.may_nudge()
                {
                    for datagram in &last.datagrams {
                        self.core.send(sa.local, sa.remote, datagram.clone());
                    }
                }
                return false;
            }
            if let Some(last) = sa.last_sent.as_mut().filter(|_| sa.state == State::SaSent) {
                timers.push((last.postpone(now, COLLISION), sa.id));
            }
        }
        for (due, id) in timers {
            self.core.set_timer(due, Timer::Phase1(id));
        }
        true
    }

    /// Phase 1 is done: it takes over from others with this peer, and what waits begins.
    pub(super) fn established(&mut self, now: Instant, id: u64) {
        self.half_open.remove(&id);
        let Some(sa) = self.phase1.get(&id) else { return };
        let (remote, peer, party) = (sa.remote, sa.peer, sa.party());
        let heard_initial_contact = sa.heard_initial_contact;
        let others: Vec<u64> =
            self.phase1.ids(remote.ip()).into_iter().filter(|other| *other != id).collect();
        let mut inherited = Vec::new();
        for other in others {
            let Some(sa) = self.phase1.get_mut(&other) else { continue };
            if sa.is_established() {
                if !sa.party().is(&party) {
                    // Somebody else behind the same NAT.
                    continue;
                }
                let loser = self.loser(id, other);
                self.retire(now, loser);
                continue;
            }
            inherited.extend(sa.waiting.drain(..));
            // One that the peer has answered is left to its end: the peer may see that one established first.
            if sa.initiator && sa.state == State::SaSent {
                self.forget(other);
            }
        }
        if heard_initial_contact {
            self.informed(now, id, Informed::InitialContact);
        }
        let says_so = self.is_first_contact(remote.ip(), peer);
        self.contacted.insert(remote.ip());
        let Some(sa) = self.phase1.get_mut(&id) else { return };
        if says_so {
            informational::notify(&mut self.core, sa, Notification::INITIAL_CONTACT, Vec::new());
        }
        informational::schedule_dpd(&mut self.core, now, sa);
        for want in inherited {
            wait_for(sa, want);
        }
        self.begin_access(now, id);
    }

    /// Whether nothing older is known with this peer, and it is to be told so.
    pub(super) fn is_first_contact(&self, remote: IpAddr, peer: usize) -> bool {
        self.core.peer(peer).is_some_and(|peer| peer.initial_contact)
            && !self.contacted.contains(&remote)
            && self.core.pairs.of(PairKey::Remote(remote)).next().is_none()
    }

    /// Which of two established ones gives way: the older; of two that began at the same time, so that both ends
    /// agree, the one with the smaller initiator cookie.
    pub(super) fn loser(&self, a: u64, b: u64) -> u64 {
        let (Some(first), Some(second)) = (self.phase1.get(&a), self.phase1.get(&b)) else { return b };
        let (older, younger) = if first.began <= second.began { (first, second) } else { (second, first) };
        // Begun by the same side twice, the second is a renewal or a new start, however soon.
        if younger.began - older.began > SIMULTANEOUS || older.initiator == younger.initiator {
            return older.id;
        }
        if first.cookies < second.cookies { a } else { b }
    }

    pub(super) fn retire(&mut self, now: Instant, id: u64) {
        if let Some(sa) = self.phase1.get_mut(&id)
            && sa.state != State::Dying
        {
            sa.state = State::Dying;
            self.core.set_timer(now + LINGERING, Timer::Retire(id));
        }
    }

    /// The peer has deleted an ISAKMP SA. Of several it may have chosen another one to go on with than we: then that
    /// one is it.
    pub(super) fn revive(&mut self, remote: IpAddr, party: &Party) {
        let Some(best) = self.best(remote, Some(party)) else { return };
        if let Some(sa) = self.phase1.get_mut(&best) {
            sa.state = State::Established;
        }
    }

    /// A pair is there. Where it waits for the one in use to give way, the data plane is asked from time to time
    /// whether something came in by it, which is how the peer shows that it has it.
    pub(super) fn pair_negotiated(&mut self, now: Instant, id: u64) {
        if self.core.pairs.get(&id).is_some_and(|pair| pair.held.is_some()) {
            self.core.set_timer(now + FIRST_LOOK, Timer::LookForUse(id, FIRST_LOOK * 2));
        } else {
            self.pair_established(now, id);
        }
    }

    pub(super) fn look_for_use(&mut self, id: u64, next: Duration) {
        let held = self.core.pairs.get(&id).filter(|pair| pair.held.is_some());
        if let Some(inbound) = held.map(|pair| pair.inbound) {
            self.core.ask(Request::Get(inbound), Some(Purpose::Used { pair: id, next }));
        }
    }

    pub(super) fn looked_for_use(&mut self, now: Instant, id: u64, next: Duration, reply: &Reply) {
        let used = matches!(reply, Reply::Sas { sas } if sas.iter().any(|sa| sa.usage.packets > 0));
        if used || next > LAST_LOOK {
            self.use_pair(now, id);
        } else {
            self.core.set_timer(now + next, Timer::LookForUse(id, next * 2));
        }
    }

    fn use_pair(&mut self, now: Instant, id: u64) {
        if self.core.release(id) {
            self.pair_established(now, id);
        }
    }

    /// The pair in use has gone before its time: the one that was to take over does so now.
    pub(super) fn use_held(&mut self, now: Instant, want: &Want) -> bool {
        let Some(id) = self.core.held_pair(want) else { return false };
        self.use_pair(now, id);
        true
    }

    /// Of all pairs for one policy a single one goes on; the others receive a little longer.
    pub(super) fn pair_established(&mut self, now: Instant, id: u64) {
        let Some(want) = self.core.pairs.get(&id).map(|pair| pair.want.clone()) else { return };
        // Begun from both sides at once: which one stays does not wait.
        self.use_held(now, &want);
        let Some(new) = self.core.pairs.get(&id).filter(|pair| !pair.retired).cloned() else { return };
        for id in self.phase1.ids(want.peer()) {
            if let Some(sa) = self.phase1.get_mut(&id) {
                let is_its = want.party.as_ref().is_none_or(|party| party.is_at(sa.remote));
                sa.waiting.retain(|waiting| !is_its || waiting.selector != want.selector);
            }
        }
        let others = self
            .core
            .pairs
            .of(PairKey::Selector(want.selector))
            .filter(|(other, pair)| *other != id && !pair.retired && pair.want.is_for(&want));
        let others: Vec<(u64, bool)> =
            others.map(|(other, pair)| (other, pair.lost || pair.yields_to(&new))).collect();
        if others.iter().any(|(_, yields)| !yields) {
            return self.retire_pair(now, id);
        }
        for (other, _) in others {
            self.retire_pair(now, other);
        }
    }

    fn retire_pair(&mut self, now: Instant, id: u64) {
        if let Some(pair) = self.core.pairs.get_mut(&id) {
            pair.retired = true;
            let compression = pair.compression.map(|[_, outbound]| outbound);
            for outbound in [pair.outbound].into_iter().chain(compression) {
                self.core.ask(Request::Delete(outbound), None);
            }
            self.core.set_timer(now + RETIREMENT, Timer::RetirePair(id));
        }
    }
}
