//! The control packet of Bidirectional Forwarding Detection (RFC 5880 section 4.1).
//!
//! ```text
//!  0 version (3 bits), diagnostic (5)   1 state (2), P F C A D M   2 detection multiplier   3 length
//!  4..8 my discriminator   8..12 your discriminator   12..16 desired min TX interval   16..20 required min RX interval
//!  20..24 required min echo RX interval;  intervals in microseconds, all numbers in network byte order
//! ```

use crate::WireError;
use crate::error::{array, u32_at};

/// UDP port of single-hop sessions (RFC 5881 section 4).
pub const PORT: u16 = 3784;
/// Source ports begin here.
pub const FIRST_SOURCE_PORT: u16 = 49_152;
/// TTL of packets of single-hop sessions (RFC 5881 section 5).
pub const TTL: u8 = 255;
/// Length of a packet without authentication.
pub const LEN: usize = 24;

/// State of a session, as its end tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Switched off by hand.
    AdminDown,
    /// Nothing comes.
    #[default]
    Down,
    /// Something comes, and the other end does not know yet.
    Init,
    /// Both ends hear each other.
    Up,
}

/// Why a session is not up (section 4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Diagnostic(pub u8);

impl Diagnostic {
    /// Nothing to say.
    pub const NONE: Self = Self(0);
    /// Nothing came for a detection time.
    pub const EXPIRED: Self = Self(1);
    /// The other end said that it is down.
    pub const NEIGHBOUR_DOWN: Self = Self(3);
    /// Switched off by hand.
    pub const ADMIN_DOWN: Self = Self(7);

    /// The words that FRR's `show bfd peers` has for it.
    pub fn words(self) -> &'static str {
        match self.0 {
            0 => "ok",
            1 => "control detection time expired",
            2 => "echo function failed",
            3 => "neighbor signaled session down",
            4 => "forwarding plane reset",
            5 => "path down",
            6 => "concatenated path down",
            7 => "administratively down",
            8 => "reverse concatenated path down",
            _ => "unknown",
        }
    }
}

/// A control packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// Why the sender is not up.
    pub diagnostic: Diagnostic,
    /// Its state.
    pub state: State,
    /// P: it wants an answer at once.
    pub poll: bool,
    /// F: that is the answer.
    pub is_final: bool,
    /// C: it does not share its fate with the sender's control plane.
    pub independent: bool,
    /// D: it wants no periodic packets while the session is up.
    pub demand: bool,
    /// After so many packets that do not come it is dead.
    pub multiplier: u8,
    /// The sender's number of the session.
    pub mine: u32,
    /// The receiver's, 0 while unknown.
    pub yours: u32,
    /// It would like to send this often, in microseconds.
    pub desired_tx: u32,
    /// It takes packets this often, in microseconds; 0 is never.
    pub required_rx: u32,
    /// The same for echo packets; 0 is never.
    pub required_echo_rx: u32,
}

impl Control {
    /// Reads a packet, by the rules of section 6.8.6 that need no session. One with authentication is refused: it
    /// cannot be checked here.
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        const WHAT: &str = "BFD packet";
        let [first, flags, multiplier, length] = array(WHAT, bytes, 0)?;
        if first >> 5 != 1 {
            return Err(WireError::Version { what: WHAT, found: first >> 5 });
        }
        let authenticated = flags & 0x04 != 0;
        let least = if authenticated { LEN + 2 } else { LEN };
        if usize::from(length) < least || usize::from(length) > bytes.len() {
            return Err(WireError::Length { what: WHAT, found: usize::from(length) });
        }
        let forbidden = |what, found| Err(WireError::Value { what, found });
        if authenticated {
            return forbidden("BFD authentication", 1);
        }
        if multiplier == 0 {
            return forbidden("BFD multiplier", 0);
        }
        if flags & 0x01 != 0 {
            return forbidden("BFD multipoint flag", 1);
        }
        let state = match flags >> 6 {
            0 => State::AdminDown,
            1 => State::Down,
            2 => State::Init,
            _ => State::Up,
        };
        let (mine, yours) = (u32_at(WHAT, bytes, 4)?, u32_at(WHAT, bytes, 8)?);
        if mine == 0 {
            return forbidden("BFD discriminator", 0);
        }
        if yours == 0 && state > State::Down {
            return forbidden("BFD discriminator of the receiver", 0);
        }
        Ok(Self {
            diagnostic: Diagnostic(first & 0x1f),
            state,
            poll: flags & 0x20 != 0,
            is_final: flags & 0x10 != 0,
            independent: flags & 0x08 != 0,
            demand: flags & 0x02 != 0,
            multiplier,
            mine,
            yours,
            desired_tx: u32_at(WHAT, bytes, 12)?,
            required_rx: u32_at(WHAT, bytes, 16)?,
            required_echo_rx: u32_at(WHAT, bytes, 20)?,
        })
    }

    /// The bytes of the packet.
    pub fn emit(&self) -> Vec<u8> {
        let state = match self.state {
            State::AdminDown => 0,
            State::Down => 1,
            State::Init => 2,
            State::Up => 3,
        };
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let flags = flag(self.poll, 0x20)
            | flag(self.is_final, 0x10)
            | flag(self.independent, 0x08)
            | flag(self.demand, 0x02);
        let mut bytes = vec![1 << 5 | self.diagnostic.0 & 0x1f, state << 6 | flags, self.multiplier, 24];
        for number in [self.mine, self.yours, self.desired_tx, self.required_rx, self.required_echo_rx] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn control() -> impl Strategy<Value = Control> {
        let states =
            prop_oneof![Just(State::AdminDown), Just(State::Down), Just(State::Init), Just(State::Up)];
        let numbers = (1..u32::MAX, 1..u32::MAX, any::<u32>(), any::<u32>(), any::<u32>());
        (states, 0u8..32, any::<[bool; 4]>(), 1u8.., numbers).prop_map(
            |(state, diagnostic, [poll, is_final, independent, demand], multiplier, numbers)| {
                let (mine, yours, desired_tx, required_rx, required_echo_rx) = numbers;
                Control {
                    diagnostic: Diagnostic(diagnostic),
                    state,
                    poll,
                    is_final,
                    independent,
                    demand,
                    multiplier,
                    mine,
                    yours,
                    desired_tx,
                    required_rx,
                    required_echo_rx,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_sent_is_read(control in control()) {
            prop_assert_eq!(Control::parse(&control.emit()), Ok(control));
        }

        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(control) = Control::parse(&bytes) {
                prop_assert_eq!(Control::parse(&control.emit()), Ok(control));
            }
        }
    }

    /// Section 6.8.6, rule by rule.
    #[test]
    fn what_is_refused() {
        let good = Control { state: State::Up, multiplier: 3, mine: 7, yours: 9, ..Control::default() };
        let bytes = good.emit();
        assert_eq!(Control::parse(&bytes), Ok(good));
        // More bytes than it says are no harm.
        assert_eq!(Control::parse(&[bytes.as_slice(), &[1, 2, 3]].concat()), Ok(good));
        let changed = |at: usize, value: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            Control::parse(&bytes).unwrap_err().to_string()
        };
        assert_eq!(changed(0, 2 << 5), "BFD packet: version 2 is unknown");
        assert_eq!(changed(3, 23), "BFD packet: its length field says 23, which does not fit");
        assert_eq!(changed(3, 25), "BFD packet: its length field says 25, which does not fit");
        assert_eq!(changed(1, 0xc4), "BFD packet: its length field says 24, which does not fit");
        assert_eq!(changed(2, 0), "BFD multiplier: value 0 is not allowed");
        assert_eq!(changed(1, 0xc1), "BFD multipoint flag: value 1 is not allowed");
        assert_eq!(changed(7, 0), "BFD discriminator: value 0 is not allowed");
        assert_eq!(changed(11, 0), "BFD discriminator of the receiver: value 0 is not allowed");
        assert!(Control::parse(&bytes[..23]).is_err());
        let mut authenticated = bytes.clone();
        authenticated[1] |= 4;
        authenticated[3] = 28;
        authenticated.extend([1, 4, 1, b'x']);
        assert!(Control::parse(&authenticated).unwrap_err().to_string().starts_with("BFD authentication"));
    }
}
