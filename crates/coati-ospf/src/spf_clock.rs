//! When paths are computed: at once while all is calm, ever later while changes go on.

use std::time::{Duration, Instant};

use crate::config::{Config, SpfBackoff, SpfTimes};

#[derive(Debug, Default)]
pub(crate) struct SpfClock {
    pub(crate) due: Option<Instant>,
    pub(crate) last: Option<Instant>,
    pub(crate) runs: u64,
    /// How long the last computation took, when there is a stopwatch.
    pub(crate) took: Option<Duration>,
    /// What has to be between the last computation and the next.
    hold: Duration,
    /// Of RFC 8405; none while all is calm.
    unrest: Option<Unrest>,
}

/// A hold time that adapts leaves the processor to others for so many times as long as a computation takes, and is no
/// shorter than this.
const HOLD_FACTOR: u32 = 20;
const LEAST_HOLD: Duration = Duration::from_millis(10);

/// SHORT_WAIT before `learnt`, LONG_WAIT from then on; QUIET again at `calm`.
#[derive(Clone, Copy, Debug)]
struct Unrest {
    learnt: Instant,
    calm: Instant,
}

impl SpfClock {
    /// Something has changed.
    pub(crate) fn change(&mut self, now: Instant, config: &Config) {
        let due = match (&config.spf_backoff, self.due) {
            (Some(backoff), _) => now + self.backoff(now, backoff),
            (None, Some(due)) => due,
            (None, None) => self.held(now, &config.spf_times),
        };
        self.due.get_or_insert(due);
    }

    /// A change within the hold time waits for its end, and the next one is longer by the first one; after it all is calm.
    fn held(&mut self, now: Instant, times: &SpfTimes) -> Instant {
        let first = self.first_hold(times);
        let delayed = now + times.delay;
        match self.last.map(|last| last + self.hold).filter(|held| *held > now) {
            Some(held) => {
                self.hold = (self.hold + first).min(times.longest);
                held.max(delayed)
            }
            None => {
                self.hold = first;
                delayed
            }
        }
    }

    /// An IGP event of RFC 8405 section 5: the delay that its computation has when none is due.
    fn backoff(&mut self, now: Instant, times: &SpfBackoff) -> Duration {
        let before = self.unrest.filter(|unrest| unrest.calm > now);
        let calm = now + times.holddown;
        let learnt = before.map_or(now + times.time_to_learn, |unrest| unrest.learnt);
        self.unrest = Some(Unrest { learnt, calm });
        match before {
            None => times.initial,
            Some(unrest) if unrest.learnt > now => times.short,
            Some(_) => times.long,
        }
    }

    /// The hold time while all is calm.
    pub(crate) fn first_hold(&self, times: &SpfTimes) -> Duration {
        match self.took.filter(|_| times.hold_adapts) {
            Some(took) => (took * HOLD_FACTOR).max(LEAST_HOLD).min(times.hold),
            None => times.hold,
        }
    }

    /// How many times as long as at first the wait is.
    pub(crate) fn multiplier(&self, now: Instant, times: &SpfTimes) -> u64 {
        let first = self.first_hold(times);
        let runs = self.last.is_some_and(|last| last + self.hold > now);
        let hold = if runs { self.hold } else { first };
        u64::try_from(hold.as_nanos() / first.as_nanos().max(1)).unwrap_or(u64::MAX).max(1)
    }

    /// Paths are computed now.
    pub(crate) fn run(&mut self, now: Instant) {
        self.due = None;
        self.last = Some(now);
        self.runs += 1;
    }

    /// What came up by a computation itself is computed at its own time, not in the same moment for ever.
    pub(crate) fn not_at_once(&mut self, now: Instant, config: &Config) {
        if self.due.is_some_and(|due| due <= now) {
            let least = config.spf_backoff.map_or(self.hold, |backoff| backoff.short);
            self.due = Some(now + least.max(Duration::from_millis(1)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    /// RFC 8405 section 5, event by event.
    #[test]
    fn backoff() {
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let mut config = Config::new(Ipv4Addr::LOCALHOST);
        config.spf_backoff = Some(SpfBackoff::default());
        let mut clock = SpfClock::default();
        let mut event = |now: u64| {
            clock.change(at(now), &config);
            let due = clock.due.unwrap();
            clock.run(due);
            u64::try_from(due.saturating_duration_since(at(now)).as_millis()).unwrap()
        };
        // Quiet, then two that come with the first, then the long wait.
        assert_eq!([event(0), event(100), event(499), event(500), event(9_000)], [50, 200, 200, 5000, 5000]);
        // HOLDDOWN_INTERVAL is counted from the last event.
        assert_eq!([event(18_999), event(28_999)], [5000, 50]);
    }

    /// The waits that FRR has with `timers throttle spf 10 50 200`.
    #[test]
    fn hold_times() {
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let mut config = Config::new(Ipv4Addr::LOCALHOST);
        let [delay, hold, longest] = [10, 50, 200].map(Duration::from_millis);
        config.spf_times = SpfTimes { delay, hold, longest, hold_adapts: false };
        let mut clock = SpfClock::default();
        let mut event = |now: u64| {
            clock.change(at(now), &config);
            let due = clock.due.unwrap();
            clock.run(due);
            u64::try_from(due.saturating_duration_since(start).as_millis()).unwrap()
        };
        // Each within the time of the one before, up to the longest.
        assert_eq!([0, 11, 61, 161, 311, 511].map(&mut event), [10, 60, 160, 310, 510, 710]);
        // That time is over, and at once the next one is short again.
        assert_eq!([910, 921].map(&mut event), [920, 970]);
    }

    /// What is computed within a moment is computed again soon, what takes long after 50 ms; a file's own times stay.
    #[test]
    fn hold_times_by_what_a_computation_takes() {
        let start = Instant::now();
        let mut config = Config::new(Ipv4Addr::LOCALHOST);
        let waits = |took: u64, config: &Config| -> Vec<u128> {
            let mut clock = SpfClock { took: Some(Duration::from_micros(took)), ..SpfClock::default() };
            let mut times = vec![start];
            for _ in 0..4 {
                clock.change(times[times.len() - 1] + Duration::from_millis(1), config);
                times.extend(clock.due);
                clock.run(times[times.len() - 1]);
            }
            times.windows(2).map(|pair| pair[1].saturating_duration_since(pair[0]).as_millis()).collect()
        };
        assert_eq!(waits(100, &config), [1, 10, 20, 30]);
        assert_eq!(waits(1_000, &config), [1, 20, 40, 60]);
        assert_eq!(waits(40_000, &config), [1, 50, 100, 150]);
        config.spf_times.hold_adapts = false;
        assert_eq!(waits(100, &config), [1, 50, 100, 150]);
    }

    #[test]
    fn one_computation_for_many_changes() {
        let start = Instant::now();
        let mut config = Config::new(Ipv4Addr::LOCALHOST);
        config.spf_backoff = Some(SpfBackoff::default());
        let mut clock = SpfClock::default();
        for millis in [0, 10, 20] {
            clock.change(start + Duration::from_millis(millis), &config);
        }
        assert_eq!(clock.due, Some(start + Duration::from_millis(50)));
    }
}
