//! Flooding (RFC 2328 section 13): updates, acknowledgements, retransmission.

use std::cmp::Ordering;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use coati_wire::ospf::{
    HEADER_LEN, LSA_HEADER_LEN, Lsa, LsaBody, LsaHeader, LsaKey, MAX_AGE, MAX_SEQUENCE, OPTION_O, Packet,
    lsa_kind,
};

use crate::config::NetworkType;
use crate::engine::Engine;
use crate::exchange::is_opaque;
use crate::interface::{Interface, InterfaceState, NARROW};
use crate::lsdb::{DO_NOT_AGE, MAX_LSAS, Scope};
use crate::neighbour::{Backoff, Neighbour, Peer, Repeated, State};

/// First repetition of an update. The second comes after a little more than MinLSArrival, within which neighbours
/// drop a second instance without a word.
const FIRST_REPETITION: Duration = Duration::from_millis(350);

impl Engine {
    /// Section 13, for each LSA of an update.
    pub(crate) fn receive_updates(&mut self, now: Instant, peer: Peer, list: Vec<Lsa>) {
        for lsa in list {
            if self.neighbour_mut(peer).is_none_or(|neighbour| !neighbour.is_adjacent()) {
                return;
            }
            self.receive_lsa(now, peer, lsa);
        }
    }

    fn receive_lsa(&mut self, now: Instant, peer: Peer, lsa: Lsa) {
        let key = lsa.header.key;
        let Some(scope) = self.scope(peer.interface, key.kind) else {
            return self.count_drop("LSA type that is not for this area");
        };
        if let Some(why) = disguised(&lsa) {
            return self.count_drop(why);
        }
        let (by_tokens, arrival) = (self.config.deviations.prompt_origination, self.config.lsa_times.arrival);
        let total = self.lsdb(scope).map_or(0, crate::lsdb::Lsdb::len);
        let originated = self.originated(&(scope, key));
        let dead = lsa.header.seconds() >= MAX_AGE;
        let is_known = self.lsdb(scope).is_some_and(|lsdb| lsdb.get(&key).is_some());
        // Step 4: nobody has it, and nobody needs to hear of its end.
        if dead && !is_known && !self.interfaces.values().any(Interface::is_exchanging) {
            return self.acknowledge_directly(peer, lsa.header);
        }
        let Some(lsdb) = self.lsdb_mut(scope) else { return };
        let order = lsdb.get(&key).map(|entry| lsa.header.compare(&entry.header(now)));
        match order {
            None | Some(Ordering::Greater) => {
                // Instances that we originated did not arrive (step 5a).
                let arrived = lsdb.get(&key).map(|entry| entry.installed) != originated;
                if arrived && !lsdb.may_arrive(now, &key, arrival, by_tokens) {
                    return;
                }
                let late = order.is_none() && !dead && lsdb.is_late(now, &lsa.header);
                if late && !self.neighbour_mut(peer).is_some_and(|one| one.requests.contains_key(&key)) {
                    // Whoever really has it sends it again, or has described it, and then we have asked for it.
                    return self.count_drop("LSA that has just died");
                }
                if order.is_none() && total >= MAX_LSAS {
                    return self.count_drop("database is full");
                }
                self.take_newer(now, peer, scope, lsa);
            }
            Some(Ordering::Equal) => {
                let header = lsa.header;
                let Some(neighbour) = self.neighbour_mut(peer) else { return };
                if neighbour.requests.contains_key(&key) {
                    // It offered a newer one than this and does not have it.
                    self.count_drop("LSA older than its neighbour has said");
                    return self.start_exchange(now, peer, "bad link state request");
                }
                let implied = neighbour.retransmissions.remove(&key).is_some();
                let Some(interface) = self.interfaces.get_mut(&peer.interface) else { return };
                let from_designated = interface.network.elects()
                    && interface.neighbours.get(&peer.key).is_some_and(|n| n.address == interface.designated);
                match (implied, interface.state == InterfaceState::Backup) {
                    (false, _) => self.acknowledge_directly(peer, header),
                    (true, true) if from_designated => interface.acks.push(header),
                    (true, _) => {}
                }
            }
            Some(Ordering::Less) => {
                let requested =
                    self.neighbour_mut(peer).is_some_and(|neighbour| neighbour.requests.contains_key(&key));
                if requested {
                    self.count_drop("LSA older than its neighbour has said");
                    return self.start_exchange(now, peer, "bad link state request");
                }
                let Some(entry) = self.lsdb(scope).and_then(|lsdb| lsdb.get(&key)) else { return };
                let wraps = entry.is_max_age(now) && entry.instance().sequence == MAX_SEQUENCE;
                let just_sent = now.saturating_duration_since(entry.installed) < Duration::from_secs(1);
                if !wraps && !just_sent {
                    self.send_updates_to(now, peer, &[key]);
                }
            }
        }
    }

    /// Step 5.
    fn take_newer(&mut self, now: Instant, peer: Peer, scope: Scope, lsa: Lsa) {
        let (key, header) = (lsa.header.key, lsa.header);
        let own = key.advertising_router == self.config.router_id
            || key.kind == lsa_kind::NETWORK && self.interfaces.values().any(|i| i.link.address == key.id);
        let back = self.flood(now, scope, &lsa, Some(peer));
        if crate::restart::is_grace(&key) {
            self.receive_grace(now, peer, &lsa);
        }
        self.install(now, scope, lsa);
        if !back {
            self.acknowledge_later(peer, header);
        }
        if own {
            self.fight_back(now, scope, &header);
        }
        self.request_satisfied(now, peer, &key);
    }

    /// Section 13.3: out of every interface of its scope but to the neighbour it came from. Whether it goes back out
    /// of the interface it came in on.
    pub(crate) fn flood(&mut self, now: Instant, scope: Scope, lsa: &Lsa, from: Option<Peer>) -> bool {
        let key = lsa.header.key;
        let mut back = false;
        for index in self.interfaces_of(scope) {
            let Some(interface) = self.interfaces.get(&index) else { continue };
            let adjacent: Vec<Ipv4Addr> =
                interface.neighbours.iter().filter(|(_, n)| n.is_adjacent()).map(|(key, _)| *key).collect();
            let mut wanted = false;
            for neighbour in adjacent {
                wanted |= self.flood_to(now, Peer { interface: index, key: neighbour }, lsa, from);
            }
            let Some(interface) = self.interfaces.get_mut(&index) else { continue };
            let came_here = from.filter(|from| from.interface == index);
            if !wanted {
                continue;
            }
            if let Some(from) = came_here.filter(|_| interface.network.elects()) {
                let sender = interface.neighbours.get(&from.key).map(|neighbour| neighbour.address);
                // The others have it from the designated router, or will have it.
                if sender.is_some_and(|sender| interface.speaks_for_network(sender))
                    || interface.state == InterfaceState::Backup
                {
                    continue;
                }
            }
            back |= came_here.is_some();
            interface.flood.push(key);
        }
        back
    }

    /// Step 1 for one neighbour: whether it has to have it.
    fn flood_to(&mut self, now: Instant, peer: Peer, lsa: &Lsa, from: Option<Peer>) -> bool {
        let key = lsa.header.key;
        let Some(neighbour) = self.neighbour_mut(peer) else { return false };
        // Whatever waits for an acknowledgement is an older instance now.
        neighbour.retransmissions.remove(&key);
        if let Some(requested) = neighbour.requests.get(&key).filter(|_| Some(peer) != from) {
            match lsa.header.compare(requested) {
                Ordering::Less => return false,
                Ordering::Equal => {
                    self.request_satisfied(now, peer, &key);
                    return false;
                }
                Ordering::Greater => self.request_satisfied(now, peer, &key),
            }
        }
        if Some(peer) == from {
            return false;
        }
        let Some(neighbour) = self.neighbour_mut(peer) else { return false };
        if is_opaque(key.kind) && !neighbour.has_option(OPTION_O) {
            return false;
        }
        self.retransmit_until_acknowledged(now, peer, key);
        true
    }

    /// Interfaces over which LSAs of this scope go.
    fn interfaces_of(&self, scope: Scope) -> Vec<u32> {
        let takes = |interface: &&Interface| match scope {
            Scope::Link(index) => interface.link.index == index,
            Scope::Area(area) => interface.config.area == area,
            Scope::As => {
                interface.network != NetworkType::Virtual
                    && self.area_kind(interface.config.area).takes_externals()
            }
        };
        self.interfaces.values().filter(takes).map(|interface| interface.link.index).collect()
    }

    pub(crate) fn retransmit_until_acknowledged(&mut self, now: Instant, peer: Peer, key: LsaKey) {
        let early = self.config.deviations.early_retransmission;
        let Some(interface) = self.interfaces.get_mut(&peer.interface) else { return };
        let longest = interface.config.retransmit_interval;
        if let Some(neighbour) = interface.neighbours.get_mut(&peer.key) {
            let mut backoff = Backoff::new(FIRST_REPETITION, longest, early);
            neighbour.retransmit(key, Repeated { due: backoff.advance(now), backoff });
        }
    }

    fn acknowledge_directly(&mut self, peer: Peer, header: LsaHeader) {
        if let Some(interface) = self.interfaces.get_mut(&peer.interface) {
            interface.direct_acks.push((peer, header));
        }
    }

    /// Table 19 for a newer instance that was not flooded back.
    fn acknowledge_later(&mut self, peer: Peer, header: LsaHeader) {
        let Some(interface) = self.interfaces.get_mut(&peer.interface) else { return };
        if interface.group().is_none() {
            return interface.direct_acks.push((peer, header));
        }
        let from = interface.neighbours.get(&peer.key).map(|neighbour| neighbour.address);
        if interface.state != InterfaceState::Backup || from == Some(interface.designated) {
            interface.acks.push(header);
        }
    }

    /// Section 13.7.
    pub(crate) fn receive_acks(&mut self, now: Instant, peer: Peer, list: &[LsaHeader]) {
        for header in list {
            let same = self.find(peer.interface, &header.key);
            let same = same.is_some_and(|entry| entry.header(now).compare(header).is_eq());
            let Some(neighbour) = self.neighbour_mut(peer).filter(|n| n.is_adjacent()) else { return };
            if same {
                let waited = neighbour.retransmissions.remove(&header.key).is_some();
                neighbour.answers();
                if !waited {
                    self.multicast_is_answered(now, peer, &header.key);
                }
            }
        }
        self.large_is_answered(peer);
    }

    /// Sends these LSAs to one neighbour. Returns the length of the largest IP packet, in bytes.
    pub(crate) fn send_updates_to(&mut self, now: Instant, peer: Peer, keys: &[LsaKey]) -> usize {
        let address = self.interfaces.get(&peer.interface).and_then(|i| i.address_of(peer.key));
        address.map_or(0, |destination| self.send_updates(now, peer.interface, destination, keys))
    }

    /// Sends these LSAs, in as many packets as it takes. Returns the length of the largest IP packet, in bytes.
    pub(crate) fn send_updates(
        &mut self,
        now: Instant,
        index: u32,
        destination: Ipv4Addr,
        keys: &[LsaKey],
    ) -> usize {
        let Some(interface) = self.interfaces.get(&index) else { return 0 };
        let (room, delay) =
            (interface.room().saturating_sub(HEADER_LEN + 4), interface.config.transmit_delay);
        let mut packets = Vec::new();
        let (mut part, mut length, mut largest) = (Vec::new(), 0, 0);
        for entry in keys.iter().filter_map(|key| self.find(index, key)) {
            // InfTransDelay, but not past MaxAge; even when the age does not grow here, so that nothing goes round for
            // ever (RFC 1793 section 2.2).
            let age = entry.age(now);
            let seconds = (age & !DO_NOT_AGE).saturating_add(delay).min(MAX_AGE);
            let bytes = entry.emit_aged(age & DO_NOT_AGE | seconds);
            if !part.is_empty() && length + bytes.len() > room {
                packets.push(std::mem::take(&mut part));
                length = 0;
            }
            length += bytes.len();
            largest = largest.max(length);
            part.push(bytes);
        }
        packets.extend((!part.is_empty()).then_some(part));
        for lsas in packets {
            self.send_update_bytes(index, destination, &lsas);
        }
        let largest = 20 + HEADER_LEN + 4 + largest;
        if let Some(interface) = self.interfaces.get_mut(&index).filter(|_| largest > NARROW) {
            interface.has_sent_large = true;
        }
        largest
    }

    /// Updates that were not acknowledged in time go to the neighbour itself (section 13.6).
    pub(crate) fn repeat_updates(&mut self, now: Instant, peer: Peer) {
        let Some(neighbour) = self.neighbour_mut(peer) else { return };
        let keys = neighbour.due_retransmissions(now);
        let (there, gone): (Vec<LsaKey>, Vec<LsaKey>) =
            keys.into_iter().partition(|key| self.find(peer.interface, key).is_some());
        if let Some(neighbour) = self.neighbour_mut(peer) {
            gone.iter().for_each(|key| {
                neighbour.retransmissions.remove(key);
            });
        }
        if !there.is_empty() {
            let length = self.send_updates_to(now, peer, &there);
            self.unanswered(now, peer, length);
        }
    }

    /// Sends what was gathered during a call, and removes LSAs whose end everybody has acknowledged (section 14).
    pub(crate) fn finish(&mut self, now: Instant) {
        let has_some = |interface: &&Interface| {
            !(interface.flood.is_empty() && interface.acks.is_empty() && interface.direct_acks.is_empty())
        };
        let indexes = self.interfaces.touched().filter(has_some).map(|interface| interface.link.index);
        for index in indexes.collect::<Vec<_>>() {
            self.send_gathered(now, index);
        }
        self.remove_dead(now);
    }

    fn send_gathered(&mut self, now: Instant, index: u32) {
        let Some(interface) = self.interfaces.get_mut(&index) else { return };
        let mut keys = std::mem::take(&mut interface.flood);
        let direct = std::mem::take(&mut interface.direct_acks);
        let per_packet = (interface.room().saturating_sub(HEADER_LEN) / LSA_HEADER_LEN).max(1);
        let acks = interface.take_acks(now, per_packet);
        if keys.is_empty() && acks.is_empty() && direct.is_empty() {
            return;
        }
        let group = interface.group();
        keys.sort_unstable();
        keys.dedup();
        if let Some(group) = group {
            if !keys.is_empty() {
                self.send_updates(now, index, group, &keys);
            }
            for part in acks.chunks(per_packet) {
                self.send_to(index, group, &Packet::LinkStateAck(part.to_vec()));
            }
        } else {
            self.send_to_each(now, index, &keys);
        }
        let mut by_peer: std::collections::BTreeMap<Peer, Vec<LsaHeader>> = std::collections::BTreeMap::new();
        for (peer, header) in direct {
            by_peer.entry(peer).or_default().push(header);
        }
        for (peer, headers) in by_peer {
            for part in headers.chunks(per_packet) {
                self.send(peer, &Packet::LinkStateAck(part.to_vec()));
            }
        }
    }

    /// Without multicast, each neighbour gets what is on its retransmission list.
    fn send_to_each(&mut self, now: Instant, index: u32, keys: &[LsaKey]) {
        let Some(interface) = self.interfaces.get(&index) else { return };
        let wanted = |neighbour: &Neighbour| -> Vec<LsaKey> {
            keys.iter().filter(|key| neighbour.retransmissions.contains_key(key)).copied().collect()
        };
        let lists: Vec<(Ipv4Addr, Vec<LsaKey>)> =
            interface.neighbours.iter().map(|(key, neighbour)| (*key, wanted(neighbour))).collect();
        for (key, list) in lists {
            if !list.is_empty() {
                self.send_updates_to(now, Peer { interface: index, key }, &list);
            }
        }
    }

    fn remove_dead(&mut self, now: Instant) {
        let links = self.interfaces.touched().map(|interface| Scope::Link(interface.link.index));
        let scopes = self.wide_scopes().chain(links).filter(|scope| self.has_dying(*scope));
        let scopes: Vec<Scope> = scopes.collect();
        for scope in scopes {
            let interfaces = self.interfaces_of(scope);
            let neighbours: Vec<&Neighbour> = interfaces
                .iter()
                .filter_map(|index| self.interfaces.get(index))
                .flat_map(|interface| interface.neighbours.values())
                .collect();
            if neighbours.iter().any(|n| matches!(n.state, State::Exchange | State::Loading)) {
                continue;
            }
            let Some(lsdb) = self.lsdb(scope) else { continue };
            let dead: Vec<LsaKey> = lsdb
                .dying
                .iter()
                .filter(|key| !neighbours.iter().any(|n| n.retransmissions.contains_key(key)))
                .copied()
                .collect();
            for key in dead {
                self.uninstall(now, scope, &key);
            }
        }
    }

    fn has_dying(&self, scope: Scope) -> bool {
        self.lsdb(scope).is_some_and(|lsdb| !lsdb.dying.is_empty())
    }
}

/// LSAs that claim to be another router's: a router LSA is named after its originator (section 12.1.4), and masks
/// have no holes.
fn disguised(lsa: &Lsa) -> Option<&'static str> {
    let key = lsa.header.key;
    let holes = |mask: Ipv4Addr| {
        let mask = u32::from(mask);
        mask.leading_ones() + mask.trailing_zeros() < 32
    };
    // Section 12.1.6, and MaxAge beyond which nothing grows; DoNotAge is no part of the age.
    if lsa.header.sequence == i32::MIN {
        return Some("LSA with the reserved sequence number");
    }
    if lsa.header.age & 0x7fff > MAX_AGE {
        return Some("LSA older than MaxAge");
    }
    match &lsa.body {
        LsaBody::Router(_) if key.id != key.advertising_router => Some("router LSA in another router's name"),
        LsaBody::Network { mask, .. } | LsaBody::Summary { mask, .. } | LsaBody::External { mask, .. }
            if holes(*mask) =>
        {
            Some("LSA with holes in its mask")
        }
        _ => None,
    }
}
