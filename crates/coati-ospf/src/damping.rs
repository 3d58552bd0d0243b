//! A neighbour that is lost again and again is not told of at once when it is back: one bad line would keep the whole
//! network computing.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::config::RouterId;
use crate::engine::{Engine, Event};
use crate::interface::Topic;
use crate::neighbour::{Peer, State};

/// Losses that are further apart do not belong together.
const TOGETHER: Duration = Duration::from_secs(120);
/// So many do no harm.
const TOLERATED: u32 = 3;
/// The first wait; each further loss doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// The longest.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Neighbours whose losses are remembered, at the most.
const MAX_REMEMBERED: usize = 2000;

/// Losses of one neighbour that belong together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Losses {
    count: u32,
    last: Instant,
}

/// Where: name of our interface, and the neighbour's router id.
pub(crate) type Line = (String, RouterId);

impl Losses {
    /// How long the neighbour has to stay before it counts.
    fn wait(self) -> Option<Duration> {
        let beyond = self.count.checked_sub(TOLERATED + 1)?;
        Some(FIRST_WAIT.saturating_mul(1 << beyond.min(8)).min(LONGEST_WAIT))
    }
}

impl Engine {
    fn line(&self, peer: Peer) -> Option<Line> {
        let interface = self.interfaces.get(&peer.interface)?;
        Some((interface.link.name.clone(), interface.neighbours.get(&peer.key)?.router_id))
    }

    /// A neighbour that was Full is not any more; what an operator has done does not count.
    pub(crate) fn count_loss(&mut self, now: Instant, peer: Peer, why: &str) {
        self.untell_damped(peer);
        let Some(line) = self.line(peer).filter(|_| !matches!(why, "cleared" | "shutdown")) else { return };
        let recent = |losses: &Losses| now.saturating_duration_since(losses.last) < TOGETHER;
        if self.losses.len() >= MAX_REMEMBERED {
            self.losses.retain(|_, losses| recent(losses));
        }
        let before = self.losses.get(&line).copied().filter(recent);
        if before.is_some() || self.losses.len() < MAX_REMEMBERED {
            let count = before.map_or(0, |losses| losses.count).saturating_add(1);
            self.losses.insert(line, Losses { count, last: now });
        }
    }

    /// A neighbour is Full: from when on it counts.
    pub(crate) fn admit(&mut self, now: Instant, peer: Peer) {
        let damped = self.config.deviations.flap_damping;
        let losses = self.line(peer).and_then(|line| self.losses.get(&line)).copied().filter(|_| damped);
        let losses = losses.filter(|losses| now.saturating_duration_since(losses.last) < TOGETHER);
        let wait = losses.and_then(|losses| Some((losses.count, losses.wait()?)));
        let Some(neighbour) = self.neighbour_mut(peer) else { return };
        neighbour.counts_from = wait.map(|(_, wait)| now + wait);
        let (router_id, address) = (neighbour.router_id, neighbour.address);
        match wait {
            Some((count, wait)) => self.tell_damped(peer, router_id, address, count, wait),
            None => self.untell_damped(peer),
        }
    }

    fn tell_damped(
        &mut self,
        peer: Peer,
        router_id: RouterId,
        address: Ipv4Addr,
        count: u32,
        wait: Duration,
    ) {
        let Some(interface) = self.interfaces.get_mut(&peer.interface) else { return };
        let text = format!(
            "{}: {router_id}({address}) was lost {count} times in short order: when it stays for {} s it is told of and \
             used, so that one bad line does not keep all routers computing",
            interface.link.name,
            wait.as_secs()
        );
        interface.problems[Topic::Damping as usize] = Some(text.clone());
        self.events.push_back(Event::Problem(text));
    }

    fn untell_damped(&mut self, peer: Peer) {
        if let Some(interface) = self.interfaces.get_mut(&peer.interface) {
            interface.problems[Topic::Damping as usize] = None;
        }
    }

    /// A neighbour that has stayed for as long as it had to.
    pub(crate) fn end_damping(&mut self, now: Instant, peer: Peer) {
        let Some(neighbour) = self.neighbour_mut(peer) else { return };
        if neighbour.state != State::Full || neighbour.counts_from.is_none_or(|from| from > now) {
            return;
        }
        neighbour.counts_from = None;
        self.untell_damped(peer);
        self.neighbour_counts(now, peer);
    }
}
