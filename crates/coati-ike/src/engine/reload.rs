//! A new configuration for a running engine: what changed applies, SAs whose settings did not change stay.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use coati_wire::isakmp::Identity;

use super::Engine;
use crate::config::{Config, Peer, SainfoPeer};
use crate::event::EndReason;
use crate::ikev1::phase1::Phase1;
use crate::ikev1::selector;

impl Engine {
    /// Takes a new configuration. ISAKMP SAs and SA pairs of a peer whose section is gone, or says something else
    /// about who it is, how it proves that or what protects phase 1, end and are told; so do SAs whose key changed.
    /// SA pairs whose sainfo section changed are negotiated again. Everything else stays.
    pub fn reconfigure(&mut self, now: Instant, config: Config) {
        let old = std::mem::replace(&mut self.core.config, config);
        let sections: BTreeMap<u64, usize> = self.phase1.values().map(|sa| (sa.id, sa.peer)).collect();
        // They point into the old one; their peers ask again.
        self.greetings.clear();
        let mut ended = Vec::new();
        for sa in self.phase1.values_mut() {
            let name = sa.key_name();
            let before = old.peers.get(sa.peer);
            let same_key = |remote| {
                let key = |config: &Config| config.key_of(remote, name.as_deref()).map(|key| key.key.clone());
                key(&old) == key(&self.core.config)
            };
            let after = before.and_then(|before| {
                self.core.config.peers.iter().position(|after| is_same_peer(before, after))
            });
            match after.filter(|_| !sa.method().has_psk() || same_key(sa.remote.ip())) {
                Some(index) => sa.peer = index,
                None => ended.push((sa.id, sa.party())),
            }
        }
        for (id, party) in ended {
            let is_its = |sa: &Phase1| sa.id != id && sa.is_established() && sa.party().is(&party);
            let kept = self.phase1.of(party.address).any(|(_, sa)| is_its(sa));
            if kept {
                self.end_phase1(id, EndReason::Reconfigured, true);
            } else {
                self.take_leave(party.address, Some(&party), EndReason::Reconfigured);
            }
        }
        self.renegotiate_changed(now, &old, &sections);
    }

    /// `sections` has the remote sections of the ISAKMP SAs as they were in the old configuration.
    fn renegotiate_changed(&mut self, now: Instant, old: &Config, sections: &BTreeMap<u64, usize>) {
        let mut gone = Vec::new();
        let mut changed = Vec::new();
        for (id, pair) in self.core.pairs.iter().filter(|(_, pair)| !pair.retired) {
            let (ours, theirs) = selector::endpoints(&pair.want.selector);
            let said = pair.want.party.as_ref().and_then(|party| Identity::parse(&party.identity).ok());
            // The section it was negotiated under, where its ISAKMP SA is there still.
            let index = self.phase1.get(&pair.phase1).map(|sa| sa.peer);
            let index_before = index.and(sections.get(&pair.phase1).copied());
            let peer = |config: &Config, index: Option<usize>| {
                let index = index.or_else(|| config.peer_of(pair.want.peer()));
                let peer = index.and_then(|index| config.peers.get(index));
                SainfoPeer {
                    said: said.as_ref(),
                    remote: SocketAddr::new(pair.want.peer(), 0),
                    ph1id: peer.map_or(0, |peer| peer.ph1id),
                    given: self.core.leases.of(pair.phase1),
                }
            };
            let config = &self.core.config;
            let before = old.sainfo_of(&ours, &theirs, peer(old, index_before));
            let after = config.sainfo_of(&ours, &theirs, peer(config, index));
            match (before, after) {
                (_, None) => gone.push(*id),
                (Some(before), Some(after)) if before.is_like(after) => {}
                _ => changed.push(pair.want.clone()),
            }
        }
        for pair in gone {
            self.end_pair(pair, EndReason::Reconfigured);
        }
        for want in changed {
            self.negotiate(now, want);
        }
    }
}

/// Whether an SA under one section could have come up under the other one.
fn is_same_peer(before: &Peer, after: &Peer) -> bool {
    let proposals = |peer: &Peer| {
        let plain = peer
            .proposals
            .iter()
            .map(|proposal| crate::config::IkeProposal { origin: String::new(), ..proposal.clone() });
        plain.collect::<Vec<_>>()
    };
    (&before.name, before.address, before.port) == (&after.name, after.address, after.port)
        && before.exchange_modes == after.exchange_modes
        && before.my_identifier == after.my_identifier
        && before.peers_identifiers == after.peers_identifiers
        && before.verify_identifier == after.verify_identifier
        && before.nat_traversal == after.nat_traversal
        && before.generate_policy == after.generate_policy
        && before.credentials.is_like(&after.credentials)
        && proposals(before) == proposals(after)
}
