//! What paths do that are not as good as they say.
//!
//! A path that swallows multicast, as tunnels do whose interface has no IFF_MULTICAST, or that a firewall of theirs keeps
//! from it: the other end is spoken to at its own address, on point-to-point interfaces. From time to time our own router
//! LSA goes once more by multicast: whoever gets it acknowledges it (RFC 2328 table 19: a duplicate), and that multicast
//! gets through again is known without a hello that is missed.
//!
//! A path that swallows large packets: hellos come, and what is large is never answered. Tunnels have such paths, where a
//! router on the way drops what is too long for the next link and nobody hears of it. After a few repetitions packets
//! are no longer than any path has to carry, for a quarter of an hour; then it is tried again.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use coati_wire::ospf::{ALL_ROUTERS, LsaKey, lsa_kind};

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

/// So long after the beginning it is tried whether multicast gets through, and after twice as long when nobody answers, up
/// to [`TRY_AGAIN`].
const FIRST_TRIAL: Duration = Duration::from_secs(30);

/// So many trials in a row are answered before it is believed: an acknowledgement may be a late one of something else.
const ANSWERS: u32 = 2;

/// Multicast that was used again and got lost within this time is not tried for twice as long as before, up to
/// [`LONGEST_PAUSE`]: each time costs the adjacency.
const PROVEN: Duration = Duration::from_secs(3600);
const LONGEST_PAUSE: Duration = Duration::from_secs(6 * 3600);

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

/// Whether multicast gets through again, while everything goes by unicast.
#[derive(Debug, Default)]
pub(crate) struct Trial {
    /// How long it is not tried at first.
    pause: Duration,
    /// When it is tried next.
    due: Option<Instant>,
    /// How long after that it is tried again when nobody answers.
    wait: Duration,
    /// When what is not answered yet was sent.
    sent: Option<Instant>,
    /// Answers in a row.
    answers: u32,
    /// When everything went by multicast again.
    ended: Option<Instant>,
}

impl Trial {
    /// From now on everything goes by unicast.
    fn begin(&mut self, now: Instant) {
        self.pause = match self.ended.take() {
            Some(ended) if now.saturating_duration_since(ended) < PROVEN.max(self.pause) => {
                (self.pause * 2).min(LONGEST_PAUSE)
            }
            Some(_) => FIRST_TRIAL,
            // It did before: the neighbour was lost for another reason.
            None => self.pause.max(FIRST_TRIAL),
        };
        self.wait = self.pause.min(TRY_AGAIN);
        (self.due, self.sent, self.answers) = (Some(now + self.pause), None, 0);
    }

    /// Whether it is time to try; what was sent is not answered any more after `patience`.
    fn is_due(&mut self, now: Instant, patience: Duration) -> bool {
        if self.sent.is_some_and(|sent| now.saturating_duration_since(sent) >= patience) {
            self.wait = (self.wait * 2).min(TRY_AGAIN);
            (self.due, self.sent, self.answers) = (Some(now + self.wait), None, 0);
        }
        self.sent.is_none() && self.due.is_some_and(|due| due <= now)
    }

    /// What was sent is acknowledged; whether multicast is to be used again.
    fn answered(&mut self, now: Instant) -> bool {
        if self.sent.take().is_none() {
            return false;
        }
        self.answers += 1;
        let proven = self.answers >= ANSWERS;
        if proven {
            (self.due, self.ended) = (None, Some(now));
        }
        proven
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
    pub(crate) fn settle_reach(&mut self, now: Instant, peer: Peer) {
        let Some(interface) = self.interfaces.get_mut(&peer.interface) else { return };
        let direct = interface.neighbours.get(&peer.key).is_some_and(|one| one.direct_hellos > 0);
        if let Reach::Both(address) = interface.reach
            && direct
        {
            interface.reach = Reach::Unicast(address);
        }
        let Reach::Unicast(address) = interface.reach else { return };
        interface.trial.begin(now);
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

    /// A hello has gone: whether multicast gets through again is tried when that is due and the neighbour has nothing else to
    /// acknowledge.
    pub(crate) fn try_multicast(&mut self, now: Instant, index: u32) {
        let own = self.config.router_id;
        let Some(interface) = self.interfaces.get_mut(&index) else { return };
        let idle = |one: &Neighbour| one.state == State::Full && one.retransmissions.is_empty();
        let patience = interface.config.retransmit_interval;
        if matches!(interface.reach, Reach::Unicast(_))
            && interface.neighbours.values().all(idle)
            && interface.trial.is_due(now, patience)
        {
            interface.trial.sent = Some(now);
            self.send_updates(now, index, ALL_ROUTERS, &[router_lsa_of(own)]);
        }
    }

    /// The neighbour has acknowledged an LSA as it is now: when that was a trial of multicast, it gets through.
    pub(crate) fn multicast_is_answered(&mut self, now: Instant, peer: Peer, key: &LsaKey) {
        let own = self.config.router_id;
        let Some(interface) = self.interfaces.get_mut(&peer.interface) else { return };
        if *key != router_lsa_of(own)
            || !matches!(interface.reach, Reach::Unicast(_))
            || !interface.trial.answered(now)
        {
            return;
        }
        interface.reach = Reach::Multicast;
        if interface.narrow.is_none() {
            interface.problems[Topic::Path as usize] = None;
        }
        self.tell(
            |debug| debug.event,
            |engine| format!("{}: multicast gets through again", engine.interface_name(peer.interface)),
        );
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

fn router_lsa_of(router: Ipv4Addr) -> LsaKey {
    LsaKey { kind: lsa_kind::ROUTER, id: router, advertising_router: router }
}
