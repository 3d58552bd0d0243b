//! What paths do that are not as good as they say.
//!
//! A path that swallows multicast, as tunnels do whose interface has no IFF_MULTICAST, or that a firewall of theirs keeps
//! from it: the other end is spoken to at its own address, on point-to-point interfaces.
//!
//! A path that swallows large packets: hellos come, and what is large is never answered. Tunnels have such paths, where a
//! router on the way drops what is too long for the next link and nobody hears of it. After a few repetitions packets
//! are no longer than any path has to carry, for a quarter of an hour; then it is tried again.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use coati_wire::ospf::LsaKey;

use crate::config::NetworkType;
use crate::engine::{Engine, Event};
use crate::interface::{NARROW, Topic};
use crate::neighbour::{Neighbour, Peer, State};

/// So many large packets in a row that are not answered are no chance.
const PATIENCE: u32 = 3;

/// So many hellos by multicast that have not come through, in a row, are no chance.
const UNHEARD: u32 = 2;

/// So long packets stay small on a path that has swallowed large ones.
const TRY_AGAIN: Duration = Duration::from_secs(900);

/// How the other end of a point-to-point interface is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Reach {
    /// As RFC 2328 section 8.1 says.
    #[default]
    Multicast,
    /// Nobody is heard: hellos go to this address as well, in case that multicast is what gets lost.
    Both(Ipv4Addr),
    /// Multicast does not get through: everything goes to this address, and hellos to both.
    Unicast(Ipv4Addr),
}

impl Reach {
    /// Where hellos go besides AllSPFRouters.
    pub(crate) fn also(self) -> Option<Ipv4Addr> {
        match self {
            Self::Multicast => None,
            Self::Both(address) | Self::Unicast(address) => Some(address),
        }
    }
}

impl Engine {
    /// The largest packet, with its IP header, that the path behind an interface carries; `None` when that is not known. What
    /// is described to neighbours is the interface's MTU all the same, which both ends have to agree upon.
    pub fn set_carried(&mut self, index: u32, carries: Option<u32>) {
        if let Some(interface) = self.interfaces.get_mut(&index) {
            interface.carries = carries;
        }
    }

    /// A hello is due: whether those before it have come through.
    pub(crate) fn look_at_reach(&mut self, now: Instant, index: u32) {
        let wanted = self.config.deviations.unicast_fallback;
        let Some(interface) = self.interfaces.get_mut(&index) else { return };
        if interface.network != NetworkType::PointToPoint {
            return;
        }
        let waited = now.saturating_duration_since(interface.since) >= interface.dead_interval();
        let heard = interface.neighbours.values_mut().find(|one| one.state >= State::Init);
        interface.reach = match (heard, interface.reach) {
            _ if !wanted => Reach::Multicast,
            (None, _) => interface.other_end().filter(|_| waited).map_or(Reach::Multicast, Reach::Both),
            (Some(_), unicast @ Reach::Unicast(_)) => unicast,
            (Some(neighbour), _) if neighbour.state == State::Init => {
                neighbour.unheard += 1;
                match neighbour.unheard > UNHEARD {
                    true => Reach::Unicast(neighbour.address),
                    false => Reach::Multicast,
                }
            }
            (Some(neighbour), _) => {
                neighbour.unheard = 0;
                Reach::Multicast
            }
        };
    }

    /// A hello has come on a point-to-point interface, to everybody or to our own address. Unmodified neighbours do the
    /// latter only where they are told to.
    pub(crate) fn heard_by(&mut self, peer: Peer, multicast: bool) {
        let wanted = self.config.deviations.unicast_fallback;
        let Some(interface) = self.interfaces.get_mut(&peer.interface) else { return };
        if interface.network != NetworkType::PointToPoint || !wanted {
            return;
        }
        let Some(neighbour) = interface.neighbours.get_mut(&peer.key) else { return };
        if multicast {
            neighbour.direct_hellos = 0;
            if matches!(interface.reach, Reach::Both(_)) {
                interface.reach = Reach::Multicast;
            }
            return;
        }
        neighbour.direct_hellos += 1;
        if neighbour.direct_hellos >= UNHEARD && neighbour.state <= State::Init {
            interface.reach = Reach::Unicast(neighbour.address);
        }
    }

    /// Both hear each other: by which way is said when it is not the usual one.
    pub(crate) fn settle_reach(&mut self, peer: Peer) {
        let Some(interface) = self.interfaces.get_mut(&peer.interface) else { return };
        let direct = interface.neighbours.get(&peer.key).is_some_and(|one| one.direct_hellos > 0);
        if let Reach::Both(address) = interface.reach
            && direct
        {
            interface.reach = Reach::Unicast(address);
        }
        let Reach::Unicast(address) = interface.reach else { return };
        let name = interface.link.name.clone();
        let text = format!(
            "{name}: multicast does not get through, so {address} is spoken to by unicast (`ip link set {name} multicast \
             on` at both ends, and let protocol 89 to 224.0.0.5 pass)"
        );
        let told = &mut interface.problems[Topic::Path as usize];
        if told.as_ref() != Some(&text) {
            *told = Some(text.clone());
            self.events.push_back(Event::Problem(text));
        }
    }

    /// Something of this length, with its IP header, is sent again because nobody answered. Whether from now on shorter
    /// packets are sent.
    pub(crate) fn unanswered(&mut self, now: Instant, peer: Peer, length: usize) -> bool {
        let Some(interface) = self.interfaces.get_mut(&peer.interface) else { return false };
        let name = interface.link.name.clone();
        let Some(neighbour) = interface.neighbours.get_mut(&peer.key) else { return false };
        if length <= NARROW {
            neighbour.unanswered_small += 1;
            if interface.narrow.is_some() && neighbour.unanswered_small > PATIENCE {
                // It answers nothing at all: nothing is known of the path by that.
                interface.narrow = None;
                interface.problems[Topic::Path as usize] = None;
            }
            return false;
        }
        if interface.narrow.is_some() || neighbour.unanswered_small > 0 {
            return false;
        }
        neighbour.unanswered += 1;
        if neighbour.unanswered < PATIENCE {
            return false;
        }
        interface.narrow = Some(now);
        interface.has_sent_large = false;
        let text = format!(
            "{name}: {} does not answer packets of {length} bytes, and its hellos come: the path seems to swallow large \
             packets; they are {NARROW} bytes at the most now (give {name} a smaller MTU, at both ends)",
            neighbour.router_id
        );
        let told = &mut interface.problems[Topic::Path as usize];
        if told.as_ref() != Some(&text) {
            *told = Some(text.clone());
            self.events.push_back(Event::Problem(text));
        }
        true
    }

    /// The path may have become better: after some time large packets are sent again.
    pub(crate) fn try_wide_again(&mut self, now: Instant, index: u32) {
        let Some(interface) = self.interfaces.get_mut(&index) else { return };
        let over = |since: Instant| now.saturating_duration_since(since) >= TRY_AGAIN;
        if interface.narrow.is_some_and(over) && !interface.is_exchanging() {
            interface.narrow = None;
        }
    }

    /// Everything is acknowledged, large packets among it: the path carries them.
    pub(crate) fn large_is_answered(&mut self, peer: Peer) {
        let Some(interface) = self.interfaces.get_mut(&peer.interface) else { return };
        let idle = |neighbour: &Neighbour| neighbour.retransmissions.is_empty();
        if interface.narrow.is_none() && interface.has_sent_large && interface.neighbours.values().all(idle) {
            interface.has_sent_large = false;
            if !matches!(interface.reach, Reach::Unicast(_)) {
                interface.problems[Topic::Path as usize] = None;
            }
        }
    }

    /// A neighbour has asked, and got packets of up to this length: when it asks for the same again it has not got them.
    pub(crate) fn asked(&mut self, now: Instant, peer: Peer, keys: &[LsaKey], length: usize) {
        let first = keys.first().copied();
        let Some(neighbour) = self.neighbour_mut(peer) else { return };
        if std::mem::replace(&mut neighbour.last_asked, first) == first {
            self.unanswered(now, peer, length);
        } else {
            neighbour.answers();
        }
    }
}
