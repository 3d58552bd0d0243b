//! Flooding (RFC 2328 section 13): updates, acknowledgements, retransmission.

use std::cmp::Ordering;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use coati_wire::ospf::{
    ALL_ROUTERS, HEADER_LEN, LSA_HEADER_LEN, Lsa, LsaHeader, LsaKey, MAX_AGE, MAX_SEQUENCE, Packet,
    emit_update, lsa_kind,
};

use crate::engine::Engine;
use crate::exchange::is_known;
use crate::lsdb::MAX_LSAS;
use crate::neighbour::{Backoff, Repeated, State};

/// First repetition of an update. The second comes after a little more than MinLSArrival, within which neighbours
/// drop a second instance without a word.
const FIRST_REPETITION: Duration = Duration::from_millis(350);

impl Engine {
    /// Section 13, for each LSA of an update.
    pub(crate) fn receive_updates(&mut self, now: Instant, index: u32, list: Vec<Lsa>) {
        for lsa in list {
            if self.neighbour_mut(index).is_none_or(|neighbour| neighbour.state < State::Exchange) {
                return;
            }
            self.receive_lsa(now, index, lsa);
        }
    }

    fn receive_lsa(&mut self, now: Instant, index: u32, lsa: Lsa) {
        let key = lsa.header.key;
        if !is_known(key.kind) {
            return;
        }
        let Some(area) = self.interfaces.get(&index).map(|interface| interface.config.area) else { return };
        let exchanging = self.interfaces.values().any(|interface| {
            let state = interface.neighbour.as_ref().map(|neighbour| neighbour.state);
            matches!(state, Some(State::Exchange | State::Loading))
        });
        let by_tokens = self.config.deviations.prompt_origination;
        let Some(lsdb) = self.areas.get_mut(&area) else { return };
        let dead = lsa.header.seconds() >= MAX_AGE;
        // Step 4: nobody has it, and nobody needs to hear of its end.
        if dead && lsdb.get(&key).is_none() && !exchanging {
            return self.acknowledge(index, lsa.header);
        }
        let order = lsdb.get(&key).map(|entry| lsa.header.compare(&entry.header(now)));
        match order {
            None | Some(Ordering::Greater) => {
                if !lsdb.may_arrive(now, &key, by_tokens) {
                    return;
                }
                if order.is_none() && lsdb.len() >= MAX_LSAS {
                    return self.count_drop("database is full");
                }
                self.take_newer(now, index, area, lsa);
            }
            Some(Ordering::Equal) => {
                let header = lsa.header;
                let requested =
                    self.neighbour_mut(index).is_some_and(|neighbour| neighbour.requests.contains_key(&key));
                if requested {
                    // It offered a newer one than this and does not have it.
                    return self.start_exchange(now, index, "bad link state request");
                }
                let implied = self
                    .neighbour_mut(index)
                    .is_some_and(|neighbour| neighbour.retransmissions.remove(&key).is_some());
                if !implied {
                    self.acknowledge(index, header);
                }
            }
            Some(Ordering::Less) => {
                let requested =
                    self.neighbour_mut(index).is_some_and(|neighbour| neighbour.requests.contains_key(&key));
                if requested {
                    return self.start_exchange(now, index, "bad link state request");
                }
                let Some(entry) = self.areas.get(&area).and_then(|lsdb| lsdb.get(&key)) else { return };
                let wraps = entry.is_max_age(now) && entry.lsa.header.sequence == MAX_SEQUENCE;
                let just_sent = now.saturating_duration_since(entry.installed) < Duration::from_secs(1);
                if !wraps && !just_sent {
                    self.send_updates(now, index, ALL_ROUTERS, &[key]);
                }
            }
        }
    }

    /// Step 5.
    fn take_newer(&mut self, now: Instant, index: u32, area: Ipv4Addr, lsa: Lsa) {
        let (key, header) = (lsa.header.key, lsa.header);
        let own = key.advertising_router == self.config.router_id
            || key.kind == lsa_kind::NETWORK && self.interfaces.values().any(|i| i.link.address == key.id);
        self.acknowledge(index, header);
        self.flood(now, area, &lsa, Some(index));
        self.install(now, area, lsa);
        if own {
            self.fight_back(now, area, &header);
        }
        self.request_satisfied(now, index, &key);
    }

    /// Puts an instance into the database; paths are computed again when it changes something.
    pub(crate) fn install(&mut self, now: Instant, area: Ipv4Addr, lsa: Lsa) {
        if self.areas.entry(area).or_default().install(now, lsa) {
            self.spf_soon(now);
        }
    }

    /// Section 13.3: out of every interface of the area but to the neighbour it came from.
    pub(crate) fn flood(&mut self, now: Instant, area: Ipv4Addr, lsa: &Lsa, from: Option<u32>) {
        let key = lsa.header.key;
        let link_local = key.kind == lsa_kind::OPAQUE_LINK;
        let indexes: Vec<u32> = self
            .interfaces
            .values()
            .filter(|interface| interface.config.area == area && !link_local)
            .map(|interface| interface.link.index)
            .collect();
        for index in indexes {
            let Some(neighbour) = self.neighbour_mut(index).filter(|n| n.state >= State::Exchange) else {
                continue;
            };
            // Whatever waits for an acknowledgement is an older instance now.
            neighbour.retransmissions.remove(&key);
            if Some(index) == from {
                continue;
            }
            if let Some(requested) = neighbour.requests.get(&key) {
                match lsa.header.compare(requested) {
                    Ordering::Less => continue,
                    Ordering::Equal => {
                        self.request_satisfied(now, index, &key);
                        continue;
                    }
                    Ordering::Greater => self.request_satisfied(now, index, &key),
                }
            }
            self.retransmit_until_acknowledged(now, index, key);
            if let Some(interface) = self.interfaces.get_mut(&index) {
                interface.flood.push(key);
            }
        }
    }

    pub(crate) fn retransmit_until_acknowledged(&mut self, now: Instant, index: u32, key: LsaKey) {
        let early = self.config.deviations.early_retransmission;
        let Some(interface) = self.interfaces.get_mut(&index) else { return };
        let longest = interface.config.retransmit_interval;
        if let Some(neighbour) = &mut interface.neighbour {
            let mut backoff = Backoff::new(FIRST_REPETITION, longest, early);
            let repeated = Repeated { due: backoff.advance(now), backoff };
            neighbour.retransmissions.insert(key, repeated);
        }
    }

    fn acknowledge(&mut self, index: u32, header: LsaHeader) {
        if let Some(interface) = self.interfaces.get_mut(&index) {
            interface.acks.push(header);
        }
    }

    /// Section 13.7.
    pub(crate) fn receive_acks(&mut self, now: Instant, index: u32, list: &[LsaHeader]) {
        let Some(interface) = self.interfaces.get_mut(&index) else { return };
        let Some(lsdb) = self.areas.get(&interface.config.area) else { return };
        let Some(neighbour) = interface.neighbour.as_mut().filter(|n| n.state >= State::Exchange) else {
            return;
        };
        for header in list {
            let same = lsdb.get(&header.key).is_some_and(|entry| entry.header(now).compare(header).is_eq());
            if same {
                neighbour.retransmissions.remove(&header.key);
            }
        }
    }

    /// Sends these LSAs, in as many packets as it takes.
    pub(crate) fn send_updates(&mut self, now: Instant, index: u32, destination: Ipv4Addr, keys: &[LsaKey]) {
        let Some(interface) = self.interfaces.get(&index) else { return };
        let Some(lsdb) = self.areas.get(&interface.config.area) else { return };
        let (room, delay) =
            (interface.room().saturating_sub(HEADER_LEN + 4), interface.config.transmit_delay);
        let header = self.header(interface.config.area);
        let mut packets = Vec::new();
        let (mut part, mut length) = (Vec::new(), 0);
        for entry in keys.iter().filter_map(|key| lsdb.get(key)) {
            let age = entry.age(now);
            // InfTransDelay, but not past MaxAge.
            let bytes = entry.lsa.emit_aged(if age >= MAX_AGE { age } else { (age + delay).min(MAX_AGE) });
            if !part.is_empty() && length + bytes.len() > room {
                packets.push(emit_update(&header, &std::mem::take(&mut part)));
                length = 0;
            }
            length += bytes.len();
            part.push(bytes);
        }
        if !part.is_empty() {
            packets.push(emit_update(&header, &part));
        }
        for payload in packets {
            self.transmit(index, destination, payload);
        }
    }

    /// Updates that were not acknowledged in time.
    pub(crate) fn repeat_updates(&mut self, now: Instant, index: u32) {
        let Some(neighbour) = self.neighbour_mut(index) else { return };
        let mut keys = Vec::new();
        for (key, repeated) in &mut neighbour.retransmissions {
            if repeated.due <= now {
                repeated.due = repeated.backoff.advance(now);
                keys.push(*key);
            }
        }
        let gone =
            |lsdb: Option<&crate::lsdb::Lsdb>, key: &LsaKey| lsdb.is_none_or(|lsdb| lsdb.get(key).is_none());
        if let Some(interface) = self.interfaces.get_mut(&index) {
            let lsdb = self.areas.get(&interface.config.area);
            if let Some(neighbour) = &mut interface.neighbour {
                neighbour.retransmissions.retain(|key, _| !gone(lsdb, key));
            }
        }
        if !keys.is_empty() {
            self.send_updates(now, index, ALL_ROUTERS, &keys);
        }
    }

    /// Sends what was gathered during a call, and removes LSAs whose end everybody has acknowledged (section 14).
    pub(crate) fn finish(&mut self, now: Instant) {
        let indexes: Vec<u32> = self.interfaces.keys().copied().collect();
        for index in indexes {
            let Some(interface) = self.interfaces.get_mut(&index) else { continue };
            let mut keys = std::mem::take(&mut interface.flood);
            let acks = std::mem::take(&mut interface.acks);
            let per_packet = (interface.room().saturating_sub(HEADER_LEN) / LSA_HEADER_LEN).max(1);
            keys.sort_unstable();
            keys.dedup();
            if !keys.is_empty() {
                self.send_updates(now, index, ALL_ROUTERS, &keys);
            }
            for part in acks.chunks(per_packet) {
                self.send(index, ALL_ROUTERS, &Packet::LinkStateAck(part.to_vec()));
            }
        }
        self.remove_dead(now);
    }

    fn remove_dead(&mut self, now: Instant) {
        let own = self.config.router_id;
        let mut changed = false;
        let mut again = Vec::new();
        for (area, lsdb) in &mut self.areas {
            if lsdb.dying.is_empty() {
                continue;
            }
            let neighbours = self.interfaces.values().filter(|interface| interface.config.area == *area);
            let neighbours: Vec<_> =
                neighbours.filter_map(|interface| interface.neighbour.as_ref()).collect();
            if neighbours.iter().any(|n| matches!(n.state, State::Exchange | State::Loading)) {
                continue;
            }
            let dead: Vec<LsaKey> = lsdb
                .dying
                .iter()
                .filter(|key| !neighbours.iter().any(|n| n.retransmissions.contains_key(key)))
                .copied()
                .collect();
            for key in dead {
                lsdb.remove(&key);
                changed = true;
                if key.advertising_router == own {
                    again.push(*area);
                }
            }
        }
        for area in again {
            self.originate_soon(now, area);
        }
        if changed {
            self.spf_soon(now);
        }
    }
}
