//! A neighbour that is lost again and again is not told of at once when it is back: one bad line would keep the whole
//! network computing.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::config::RouterId;
use crate::engine::{Engine, Event};
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
        let from = losses.and_then(Losses::wait).map(|wait| now + wait);
        if let Some(neighbour) = self.neighbour_mut(peer) {
            neighbour.counts_from = from;
        }
        let told = self.damped_on(peer.interface).find(|(key, _)| *key == peer.key).map(|(_, text)| text);
        self.events.extend(told.map(Event::Problem));
    }

    /// Neighbours of an interface that are Full and not told of yet, by their keys, explained.
    pub(crate) fn damped_on(&self, index: u32) -> impl Iterator<Item = (Ipv4Addr, String)> {
        let interface = self.interfaces.get(&index).into_iter();
        let all =
            interface.flat_map(|i| i.neighbours.iter().map(move |(key, neighbour)| (i, key, neighbour)));
        all.filter(|(.., n)| n.state == State::Full && n.counts_from.is_some()).filter_map(|(i, key, n)| {
            let name = &i.link.name;
            let losses = self.losses.get(&(name.clone(), n.router_id))?;
            let text = format!(
                "{name}: {}({}) was lost {} times in short order: when it stays for {} s it is told of and used, so that \
                 one bad line does not keep all routers computing",
                n.router_id,
                n.address,
                losses.count,
                losses.wait()?.as_secs()
            );
            Some((*key, text))
        })
    }

    /// A neighbour that has stayed for as long as it had to.
    pub(crate) fn end_damping(&mut self, now: Instant, peer: Peer) {
        let Some(neighbour) = self.neighbour_mut(peer) else { return };
        if neighbour.state != State::Full || neighbour.counts_from.is_none_or(|from| from > now) {
            return;
        }
        neighbour.counts_from = None;
        self.neighbour_counts(now, peer);
    }
}
