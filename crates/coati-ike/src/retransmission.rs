//! A message that is sent again until it is answered.

use std::time::{Duration, Instant};

use crate::config::Patience;

/// Extra repetitions because the peer has shown that it is there now.
const NUDGES: u32 = 3;
/// The same answer to a repeated message is given at most this often.
const ANSWER_INTERVAL: Duration = Duration::from_millis(20);

/// The last message of an exchange, ready to go again.
#[derive(Debug)]
pub(crate) struct Retransmission {
    /// Its datagrams: more than one when it is cut in fragments.
    pub(crate) datagrams: Vec<Vec<u8>>,
    wait: Duration,
    longest_wait: Duration,
    deadline: Instant,
    left: u32,
    nudges: u32,
    due: Option<Instant>,
    answered: Instant,
}

/// What is to be done when the timer fires.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// It was set anew meanwhile, or stopped.
    NotYet,
    /// Send it again and call at this time.
    Again(Instant),
    /// The peer did not answer.
    GiveUp,
}

impl Retransmission {
    /// A message that has just been sent. When its answer is to be waited for, `insist` says how, and until when.
    pub(crate) fn new(now: Instant, datagrams: Vec<Vec<u8>>, insist: Option<(&Patience, Instant)>) -> Self {
        let (wait, longest_wait, left, deadline) =
            insist.map_or((Duration::ZERO, Duration::ZERO, 0, now), |(patience, deadline)| {
                (patience.first_wait, patience.longest_wait, patience.repetitions, deadline)
            });
        let due = insist.map(|_| (now + wait).min(deadline));
        Self { datagrams, wait, longest_wait, deadline, left, nudges: NUDGES, due, answered: now }
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The answer is here; the message stays for peers that repeat theirs.
    pub(crate) fn stop(&mut self) {
        self.due = None;
    }

    /// Lets `pause` pass before it is sent again.
    pub(crate) fn postpone(&mut self, now: Instant, pause: Duration) -> Instant {
        let due = now + pause;
        self.due = Some(due);
        due
    }

    pub(crate) fn check(&mut self, now: Instant) -> Due {
        match self.due {
            Some(due) if due <= now => {}
            _ => return Due::NotYet,
        }
        let Some(left) = self.left.checked_sub(1).filter(|_| now < self.deadline) else {
            self.due = None;
            return Due::GiveUp;
        };
        self.left = left;
        self.wait = (self.wait * 2).min(self.longest_wait);
        let next = (now + self.wait).min(self.deadline);
        self.due = Some(next);
        Due::Again(next)
    }

    /// Whether it is worth sending at once, since the peer is there now.
    pub(crate) fn may_nudge(&mut self) -> bool {
        let left = self.nudges.checked_sub(1);
        self.nudges = left.unwrap_or(0);
        left.is_some()
    }

    /// Whether a repeated message of the peer may be answered now.
    pub(crate) fn may_answer(&mut self, now: Instant) -> bool {
        let may = now.saturating_duration_since(self.answered) >= ANSWER_INTERVAL;
        if may {
            self.answered = now;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When it is sent again, and when it is given up, in milliseconds.
    fn course(patience: &Patience, limit: Duration) -> (Vec<u128>, u128) {
        let start = Instant::now();
        let mut message = Retransmission::new(start, vec![vec![1]], Some((patience, start + limit)));
        let mut sent = Vec::new();
        let mut now = message.due().unwrap();
        loop {
            match message.check(now) {
                Due::Again(next) => {
                    sent.push((now - start).as_millis());
                    now = next;
                }
                Due::GiveUp => return (sent, (now - start).as_millis()),
                Due::NotYet => unreachable!(),
            }
        }
    }

    #[test]
    fn doubles_and_gives_up_after_half_a_minute() {
        let patience = Patience::default();
        let (sent, end) = course(&patience, patience.phase1);
        assert_eq!(sent, [500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500]);
        assert_eq!(end, 31_500);
        assert_eq!(course(&patience, Duration::from_secs(5)), (vec![500, 1500, 3500], 5000));
    }

    #[test]
    fn intervals_that_somebody_wants() {
        let second = Duration::from_secs(1);
        let patience =
            Patience { first_wait: second, longest_wait: second, repetitions: 3, ..Patience::default() };
        assert_eq!(course(&patience, patience.phase1), (vec![1000, 2000, 3000], 4000));
        assert_eq!(course(&Patience { repetitions: 0, ..patience }, patience.phase1), (vec![], 1000));
    }
}
