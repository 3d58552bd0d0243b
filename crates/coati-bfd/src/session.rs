//! One session: its machine (RFC 5880 section 6.2), what it has agreed upon, its timers.

use std::time::{Duration, Instant};

use coati_crypto::RandomSource;
use coati_wire::bfd::{Control, Diagnostic, State};

/// While a session is not up, packets are at least this far apart (section 6.8.3).
const SLOW: Duration = Duration::from_secs(1);

/// How often packets are sent and expected. The defaults are FRR's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Times {
    /// After so many packets of ours that do not come, the other end gives us up.
    pub multiplier: u8,
    /// We would like to send this often.
    pub transmit: Duration,
    /// We take packets this often.
    pub receive: Duration,
}

impl Default for Times {
    fn default() -> Self {
        let interval = Duration::from_millis(300);
        Self { multiplier: 3, transmit: interval, receive: interval }
    }
}

/// What the other end has said last.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Remote {
    pub(crate) state: State,
    pub(crate) diagnostic: Diagnostic,
    pub(crate) discriminator: u32,
    pub(crate) multiplier: u8,
    pub(crate) desired_tx: Duration,
    pub(crate) required_rx: Option<Duration>,
    pub(crate) required_echo_rx: Duration,
    pub(crate) demand: bool,
}

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) discriminator: u32,
    pub(crate) times: Times,
    pub(crate) state: State,
    pub(crate) diagnostic: Diagnostic,
    pub(crate) remote: Remote,
    /// Since when it is in this state.
    pub(crate) since: Instant,
    pub(crate) ups: u64,
    pub(crate) downs: u64,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    /// Intervals that both ends go by: new ones hold when the other end has confirmed them (section 6.8.3).
    in_force: Times,
    /// The other end is to confirm what we say.
    polling: bool,
    /// The next packet.
    due: Instant,
    last_sent: Option<Instant>,
    /// When the other end is dead, if nothing comes.
    dead_at: Option<Instant>,
}

/// What has become of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Up,
    Down(Diagnostic),
}

impl Session {
    pub(crate) fn new(now: Instant, discriminator: u32, times: Times) -> Self {
        Self {
            discriminator,
            times,
            state: State::Down,
            diagnostic: Diagnostic::NONE,
            remote: Remote::default(),
            since: now,
            ups: 0,
            downs: 0,
            received: 0,
            sent: 0,
            in_force: times,
            polling: false,
            due: now,
            last_sent: None,
            dead_at: None,
        }
    }

    /// DesiredMinTxInterval, as it is told.
    fn desired(&self, times: Times) -> Duration {
        if self.state == State::Up { times.transmit } else { times.transmit.max(SLOW) }
    }

    /// Between two packets of ours, before jitter; `None` when the other end wants none.
    pub(crate) fn interval(&self) -> Option<Duration> {
        let quiet = self.remote.demand && self.state == State::Up && self.remote.state == State::Up;
        if quiet && !self.polling {
            return None;
        }
        let least = match self.remote.discriminator {
            0 => Duration::ZERO,
            _ => self.remote.required_rx?,
        };
        Some(self.desired(self.in_force).max(least))
    }

    /// Section 6.8.4.
    pub(crate) fn detection(&self) -> Duration {
        self.in_force.receive.max(self.remote.desired_tx) * u32::from(self.remote.multiplier)
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let send = self.interval().map(|_| self.due);
        [send, self.dead_at].into_iter().flatten().min()
    }

    /// Other intervals, from a new configuration (section 6.8.3).
    pub(crate) fn set_times(&mut self, now: Instant, times: Times) {
        if times == self.times {
            return;
        }
        // What makes the other end wait longer holds at once, the rest when it has said that it knows.
        let before = self.in_force;
        self.times = times;
        self.in_force.multiplier = times.multiplier;
        match self.state {
            State::Up => {
                self.in_force.transmit = before.transmit.min(times.transmit);
                self.in_force.receive = before.receive.max(times.receive);
                self.polling = true;
            }
            _ => self.in_force = times,
        }
        self.due = now;
    }

    fn enter(&mut self, now: Instant, state: State, diagnostic: Diagnostic) -> Option<Change> {
        let before = std::mem::replace(&mut self.state, state);
        if before == state {
            return None;
        }
        self.since = now;
        self.diagnostic = diagnostic;
        self.due = now;
        match (before, state) {
            (_, State::Up) => {
                self.ups += 1;
                // From the slow interval to ours: the other end is told so by a poll.
                self.polling = true;
                Some(Change::Up)
            }
            (State::Up, _) => {
                self.downs += 1;
                self.polling = false;
                Some(Change::Down(diagnostic))
            }
            _ => None,
        }
    }

    /// A packet for this session (section 6.8.6). Whether an answer is due at once, and what has become of it.
    pub(crate) fn receive(&mut self, now: Instant, packet: &Control) -> (bool, Option<Change>) {
        let micros = |count: u32| Duration::from_micros(u64::from(count));
        self.received += 1;
        self.remote = Remote {
            state: packet.state,
            diagnostic: packet.diagnostic,
            discriminator: packet.mine,
            multiplier: packet.multiplier,
            desired_tx: micros(packet.desired_tx),
            required_rx: Some(packet.required_rx).filter(|interval| *interval != 0).map(micros),
            required_echo_rx: micros(packet.required_echo_rx),
            demand: packet.demand,
        };
        if packet.is_final && self.polling {
            self.polling = false;
            self.in_force = self.times;
        }
        if self.state == State::AdminDown {
            return (false, None);
        }
        let change = match (packet.state, self.state) {
            (State::AdminDown, State::Down) => None,
            (State::AdminDown, _) => self.enter(now, State::Down, Diagnostic::NEIGHBOUR_DOWN),
            (State::Down, State::Down) => self.enter(now, State::Init, self.diagnostic),
            (State::Init, State::Down | State::Init) | (State::Up, State::Init) => {
                self.enter(now, State::Up, Diagnostic::NONE)
            }
            (State::Down, State::Up) => self.enter(now, State::Down, Diagnostic::NEIGHBOUR_DOWN),
            _ => None,
        };
        // Nothing is expected of one that is switched off.
        self.dead_at = (packet.state != State::AdminDown).then(|| now + self.detection());
        if let (Some(interval), Some(last)) = (self.interval(), self.last_sent) {
            self.due = self.due.min(last + interval);
        }
        (packet.poll, change)
    }

    /// Nothing has come for a detection time (section 6.8.4).
    pub(crate) fn expire(&mut self, now: Instant) -> Option<Change> {
        if self.dead_at.is_none_or(|at| at > now) {
            return None;
        }
        self.dead_at = None;
        self.remote = Remote::default();
        self.enter(now, State::Down, Diagnostic::EXPIRED)
    }

    /// Switched off: what the other end is told.
    pub(crate) fn end(&mut self) -> Control {
        self.polling = false;
        self.state = State::AdminDown;
        self.diagnostic = Diagnostic::ADMIN_DOWN;
        self.packet(false)
    }

    /// A periodic packet, when one is due. Intervals are a random part shorter than agreed, so that sessions do not
    /// beat in time (section 6.8.7).
    pub(crate) fn periodic(&mut self, now: Instant, random: &mut dyn RandomSource) -> Option<Control> {
        let interval = self.interval()?;
        if self.due > now {
            return None;
        }
        self.last_sent = Some(now);
        let (shortest, span) = if self.times.multiplier == 1 { (75, 16) } else { (75, 26) };
        self.due = now + interval * (shortest + random.below(span)) / 100;
        self.sent += 1;
        Some(self.packet(false))
    }

    /// The answer to a poll, which waits for no timer.
    pub(crate) fn answer(&mut self) -> Control {
        self.sent += 1;
        self.packet(true)
    }

    fn packet(&self, is_final: bool) -> Control {
        let micros = |interval: Duration| u32::try_from(interval.as_micros()).unwrap_or(u32::MAX);
        Control {
            diagnostic: self.diagnostic,
            state: self.state,
            // A packet is never both.
            poll: self.polling && !is_final,
            is_final,
            multiplier: self.times.multiplier.max(1),
            mine: self.discriminator,
            yours: self.remote.discriminator,
            desired_tx: micros(self.desired(self.times)),
            required_rx: micros(self.times.receive),
            ..Control::default()
        }
    }
}
