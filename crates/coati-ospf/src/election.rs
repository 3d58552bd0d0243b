//! Election of the designated router and its backup (RFC 2328 section 9.4).

use std::net::Ipv4Addr;
use std::time::Instant;

use crate::engine::Engine;
use crate::interface::{Interface, InterfaceState};
use crate::neighbour::{Peer, State};

/// Somebody who may be elected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Candidate {
    address: Ipv4Addr,
    priority: u8,
    router_id: Ipv4Addr,
    designated: Ipv4Addr,
    backup: Ipv4Addr,
}

impl Engine {
    /// The wait is over on interfaces that have waited.
    pub(crate) fn end_wait(&mut self, now: Instant, index: u32) {
        let Some(interface) = self.interfaces.get(&index) else { return };
        if interface.wait_until.is_none_or(|until| until > now) {
            return;
        }
        self.take_office_again(index);
        if let Some(interface) = self.interfaces.get_mut(&index) {
            interface.wait_until = None;
            interface.elect = true;
        }
    }

    /// Elections that something has made necessary.
    pub(crate) fn elect_where_needed(&mut self, now: Instant) {
        let indexes: Vec<u32> =
            self.interfaces.touched().filter(|interface| interface.elect).map(|i| i.link.index).collect();
        for index in indexes {
            self.elect(now, index);
        }
    }

    fn elect(&mut self, now: Instant, index: u32) {
        let router_id = self.config.router_id;
        let Some(interface) = self.interfaces.get_mut(&index) else { return };
        interface.elect = false;
        // The hello that ends this follows at the latest when its dead interval would end.
        let restarting = interface.neighbours.values().any(|neighbour| {
            neighbour.helped_until.is_some() || neighbour.back_again && neighbour.state >= State::TwoWay
        });
        if !interface.network.elects() || interface.wait_until.is_some() || restarting {
            return;
        }
        let before = (interface.designated, interface.backup, interface.state);
        let others = candidates(interface);
        let own = interface.link.address;
        let ballot = |designated, backup| {
            let priority = interface.config.priority;
            let me = Candidate { address: own, priority, router_id, designated, backup };
            let mut all = others.clone();
            all.extend((priority > 0).then_some(me));
            elected(&all)
        };
        let (mut designated, mut backup) = ballot(before.0, before.1);
        // Who becomes or ceases to be one of both looks once more, so that nobody is both (step 4).
        let role = |d: Ipv4Addr, b: Ipv4Addr| (d == own, b == own);
        if role(designated, backup) != role(before.0, before.1) {
            (designated, backup) = ballot(designated, backup);
        }
        interface.designated = designated;
        interface.backup = backup;
        interface.state = match role(designated, backup) {
            (true, _) => InterfaceState::Dr,
            (_, true) => InterfaceState::Backup,
            _ => InterfaceState::DrOther,
        };
        let after = (designated, backup, interface.state);
        if before == after {
            return;
        }
        interface.state_changes += u32::from(before.2 != after.2);
        let (name, state) = (interface.link.name.clone(), interface.state);
        let area = interface.config.area;
        let active = interface.is_active();
        self.tell(
            |debug| debug.interface,
            |_| format!("{name}: {:?} -> {state:?}, dr {designated}, bdr {backup}", before.2),
        );
        self.remember_designated(index);
        self.judge_adjacencies(now, index);
        self.topology_changed(now, area);
        self.network_lsa_soon(now, area, own);
        let said = before.2 != InterfaceState::Waiting && (before.0, before.1) == (designated, backup);
        if active && !said {
            // The others learn it at once, not with the next periodic hello.
            self.tell_of_election(now, index);
        }
    }

    /// AdjOK? for every neighbour (section 10.3).
    pub(crate) fn judge_adjacencies(&mut self, now: Instant, index: u32) {
        let Some(interface) = self.interfaces.get(&index) else { return };
        let judged: Vec<(Ipv4Addr, State, bool)> = interface
            .neighbours
            .iter()
            .filter(|(_, neighbour)| neighbour.state >= State::TwoWay)
            .map(|(key, neighbour)| (*key, neighbour.state, interface.wants_adjacency(neighbour)))
            .collect();
        for (key, state, wanted) in judged {
            let peer = Peer { interface: index, key };
            match (state, wanted) {
                (State::TwoWay, true) => self.start_exchange(now, peer, "an adjacency is wanted"),
                (state, false) if state >= State::ExStart => {
                    self.fall_back(now, peer, State::TwoWay, "an adjacency is not wanted any more");
                }
                _ => {}
            }
        }
    }
}

/// The neighbours that may be elected.
fn candidates(interface: &Interface) -> Vec<Candidate> {
    let heard = interface.neighbours.values().filter(|n| n.state >= State::TwoWay && n.priority > 0);
    let candidate = |neighbour: &crate::neighbour::Neighbour| Candidate {
        address: neighbour.address,
        priority: neighbour.priority,
        router_id: neighbour.router_id,
        designated: neighbour.designated,
        backup: neighbour.backup,
    };
    heard.map(candidate).collect()
}

/// Steps 2 and 3: designated router and backup, 0 when there is none.
fn elected(all: &[Candidate]) -> (Ipv4Addr, Ipv4Addr) {
    let best = |list: &mut dyn Iterator<Item = &Candidate>| {
        list.max_by_key(|candidate| (candidate.priority, candidate.router_id))
            .map(|candidate| candidate.address)
    };
    let says_designated = |candidate: &&Candidate| candidate.designated == candidate.address;
    let says_backup =
        |candidate: &&Candidate| candidate.backup == candidate.address && !says_designated(candidate);
    let backup = best(&mut all.iter().filter(says_backup))
        .or_else(|| best(&mut all.iter().filter(|candidate| !says_designated(candidate))));
    let designated = best(&mut all.iter().filter(says_designated)).or(backup);
    (designated.unwrap_or(Ipv4Addr::UNSPECIFIED), backup.unwrap_or(Ipv4Addr::UNSPECIFIED))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(number: u8, priority: u8, designated: u8, backup: u8) -> Candidate {
        let address = |n: u8| if n == 0 { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::new(10, 0, 0, n) };
        Candidate {
            address: address(number),
            priority,
            router_id: Ipv4Addr::new(1, 1, 1, number),
            designated: address(designated),
            backup: address(backup),
        }
    }

    fn numbers(all: &[Candidate]) -> (u8, u8) {
        let (designated, backup) = elected(all);
        (designated.octets()[3], backup.octets()[3])
    }

    #[test]
    fn nobody_claims_anything() {
        // The best becomes backup, and designated router since there is none.
        assert_eq!(numbers(&[candidate(1, 1, 0, 0), candidate(2, 1, 0, 0)]), (2, 2));
        assert_eq!(numbers(&[candidate(1, 9, 0, 0), candidate(2, 1, 0, 0)]), (1, 1));
        assert_eq!(numbers(&[]), (0, 0));
    }

    #[test]
    fn who_has_it_keeps_it() {
        let all = [candidate(1, 1, 1, 0), candidate(2, 1, 1, 2), candidate(3, 200, 1, 2)];
        assert_eq!(numbers(&all), (1, 2));
    }

    #[test]
    fn the_backup_takes_over() {
        assert_eq!(numbers(&[candidate(2, 1, 1, 2), candidate(3, 200, 1, 2)]), (2, 2));
        // And looks once more, after having become designated router itself.
        assert_eq!(numbers(&[candidate(2, 1, 2, 2), candidate(3, 200, 1, 2)]), (2, 3));
    }

    #[test]
    fn two_halves_meet() {
        let all =
            [candidate(1, 1, 1, 2), candidate(2, 1, 1, 2), candidate(3, 1, 3, 4), candidate(4, 1, 3, 4)];
        assert_eq!(numbers(&all), (3, 4));
    }
}
