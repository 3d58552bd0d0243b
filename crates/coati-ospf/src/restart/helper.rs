//! Helping a neighbour through its graceful restart (RFC 3623 section 3): while its grace period lasts, the network is
//! told that the adjacency is as it was, and packets go on through it.

use std::time::{Duration, Instant};

use coati_wire::ospf::{Lsa, LsaKey, MAX_AGE};

use super::{LONGEST, grace_period};
use crate::engine::Engine;
use crate::exchange::is_opaque;
use crate::neighbour::{Peer, State};

impl Engine {
    /// A neighbour says that it restarts, or that it has done so.
    pub(crate) fn receive_grace(&mut self, now: Instant, peer: Peer, lsa: &Lsa) {
        // Who restarts himself cannot help (section 3.1 item 5).
        let helps = self.config.graceful_restart_helper && !self.is_restarting();
        let Some(neighbour) = self.neighbour_mut(peer) else { return };
        if lsa.header.key.advertising_router != neighbour.router_id {
            return;
        }
        if lsa.header.seconds() >= MAX_AGE {
            neighbour.back_again = neighbour.helped_until.is_some();
            return self.stop_helping(now, peer);
        }
        let left =
            grace_period(&lsa.body).and_then(|period| period.checked_sub(u32::from(lsa.header.seconds())));
        let Some(left) = left.filter(|left| (1..=LONGEST).contains(left)) else {
            return self.count_drop("grace LSA without a usable period");
        };
        // It must know what we know (section 3.1 item 2).
        let knows_all = neighbour.retransmissions.keys().all(|key| is_opaque(key.kind));
        let ready = neighbour.state == State::Full || neighbour.helped_until.is_some();
        if helps && knows_all && ready {
            neighbour.helped_until = Some(now + Duration::from_secs(u64::from(left)));
        }
    }

    /// Leaves helper mode (section 3.2): from now on the adjacency is what it is.
    pub(crate) fn stop_helping(&mut self, now: Instant, peer: Peer) {
        let Some(interface) = self.interfaces.get_mut(&peer.interface) else { return };
        let (area, own) = (interface.config.area, interface.link.address);
        let Some(neighbour) = interface.neighbours.get_mut(&peer.key) else { return };
        if neighbour.helped_until.take().is_some() {
            interface.elect = interface.network.elects();
            self.topology_changed(now, area);
            self.network_lsa_soon(now, area, own);
        }
    }

    /// Grace periods that are over.
    pub(crate) fn end_grace(&mut self, now: Instant, peer: Peer) {
        let helped = self.neighbour_mut(peer).and_then(|neighbour| neighbour.helped_until);
        if helped.is_some_and(|until| until <= now) {
            self.stop_helping(now, peer);
        }
    }

    /// The topology has changed: a router that does not hear of it must not be relied on (section 3.2 item 3).
    pub(crate) fn stop_helping_all(&mut self, now: Instant, key: &LsaKey) {
        let peers: Vec<Peer> = self
            .interfaces
            .values()
            .flat_map(|interface| {
                let helped = interface.neighbours.iter().filter(|(_, neighbour)| {
                    neighbour.helped_until.is_some() && neighbour.router_id != key.advertising_router
                });
                helped.map(move |(key, _)| Peer { interface: interface.link.index, key: *key })
            })
            .collect();
        for peer in peers {
            self.stop_helping(now, peer);
        }
    }
}
