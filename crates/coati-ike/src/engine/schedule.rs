//! The timers, for `racoonctl show-schedule`.

use std::time::Instant;

use super::Engine;
use crate::core::Timer;

/// A timer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimerInfo {
    /// What it is for.
    pub what: &'static str,
    /// When it was set, where that is known.
    pub set: Option<Instant>,
    /// When it fires.
    pub at: Instant,
}

impl Engine {
    /// All timers that have something to do, the next one first.
    pub fn timers(&self) -> Vec<TimerInfo> {
        let info = |(at, timer)| self.describe_timer(timer).map(|(what, set)| TimerInfo { what, set, at });
        let mut list: Vec<TimerInfo> = self.core.timers().filter_map(info).collect();
        list.sort_by_key(|timer| timer.at);
        list
    }

    /// What a timer is for and when it was set; `None` when it applies to nothing any more.
    fn describe_timer(&self, timer: Timer) -> Option<(&'static str, Option<Instant>)> {
        let of_phase1 = |id: u64| self.phase1.get(&id);
        let open = |id: u64| of_phase1(id).filter(|sa| !sa.is_established());
        let of_pair = |id: u64| self.core.pairs.get(&id).map(|pair| pair.established);
        Some(match timer {
            Timer::Phase1(id) => ("phase 1: send again", Some(open(id)?.began)),
            Timer::HalfOpen(id) => ("phase 1: give up", Some(open(id)?.began)),
            Timer::QuickMode(id, message_id) => {
                of_phase1(id)?.quicks.get(&message_id).filter(|quick| quick.is_open())?;
                ("phase 2: send again", None)
            }
            Timer::ForgetQuick(id, message_id) => {
                of_phase1(id)?.quicks.get(&message_id)?;
                ("phase 2: forget", None)
            }
            Timer::Transaction(id, _) | Timer::Login(id) => {
                let waiting = of_phase1(id).filter(|sa| !sa.is_ready())?;
                ("login and settings", waiting.established)
            }
            Timer::Waiting(id) => ("phase 2: begin", of_phase1(id)?.established),
            Timer::Renew(id) => ("phase 1: renew", of_phase1(id)?.established),
            Timer::Expire(id) => ("phase 1: end", of_phase1(id)?.established),
            Timer::Retire(id) => ("phase 1: replaced", of_phase1(id)?.established),
            Timer::Dpd(id) => ("DPD", Some(of_phase1(id)?.heard)),
            Timer::Keepalive(id) => ("NAT keepalive", of_phase1(id)?.established),
            Timer::RekeyLate(id) => ("phase 2: renew", Some(of_pair(id)?)),
            Timer::LookForUse(id, _) => ("phase 2: is it in use", Some(of_pair(id)?)),
            Timer::RetirePair(id) => ("phase 2: replaced", Some(of_pair(id)?)),
        })
    }
}
