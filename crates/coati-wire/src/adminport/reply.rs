//! What the daemon answers.

use std::net::SocketAddr;

use super::{Abi, Errno, FLAG, HEADER_LEN, STORAGE_LEN, command, emit_address, parse_address};

/// An answer without contents: done, or why not.
pub fn done(command: u16, proto: u16, result: Result<(), Errno>, abi: Abi) -> Vec<u8> {
    let errno = result.err().map_or(0, |errno| errno.number(abi));
    header(HEADER_LEN, command, errno.cast_unsigned(), proto)
}

/// An answer with contents; from 64 KiB on, in racoon's form for long ones.
pub fn data(command: u16, proto: u16, contents: &[u8]) -> Vec<u8> {
    let length = HEADER_LEN + contents.len();
    let mut bytes = match u16::try_from(length) {
        Ok(_) => header(length, command, 0, proto),
        Err(_) => header(length, command | FLAG, u16::try_from(length >> 16).unwrap_or(u16::MAX), proto),
    };
    bytes.extend_from_slice(contents);
    bytes
}

fn header(length: usize, command: u16, third: u16, proto: u16) -> Vec<u8> {
    // The lower half only: the upper one is in the third field of a long answer.
    let length = u16::try_from(length & 0xffff).unwrap_or(0);
    [length, command, third, proto].into_iter().flat_map(u16::to_ne_bytes).collect()
}

/// A header as a client reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Length of the whole answer.
    pub length: usize,
    /// Of which command.
    pub command: u16,
    /// Why nothing was done; 0 for nothing.
    pub errno: i16,
    /// Of which protocol.
    pub proto: u16,
}

impl Header {
    /// Reads it.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let [l0, l1, c0, c1, t0, t1, p0, p1] = *bytes.first_chunk::<HEADER_LEN>()?;
        let flagged = u16::from_ne_bytes([c0, c1]);
        let (length, third) = (usize::from(u16::from_ne_bytes([l0, l1])), u16::from_ne_bytes([t0, t1]));
        let long = flagged & FLAG != 0;
        Some(Self {
            length: if long { length | usize::from(third) << 16 } else { length },
            command: flagged & !FLAG,
            errno: if long { 0 } else { third.cast_signed() },
            proto: u16::from_ne_bytes([p0, p1]),
        })
    }
}

/// One ISAKMP SA (`ph1dump`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IsakmpSa {
    /// Initiator's cookie.
    pub initiator_cookie: [u8; 8],
    /// Responder's cookie.
    pub responder_cookie: [u8; 8],
    /// racoon's number of the state.
    pub state: u8,
    /// Whether this side began it.
    pub initiator: bool,
    /// The peer's end.
    pub remote: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
    /// ISAKMP version byte.
    pub version: u8,
    /// Exchange type.
    pub exchange: u8,
    /// When it was established, Unix seconds; 0 when not yet.
    pub created: u64,
    /// Phase 2 negotiations and SA pairs under it.
    pub phase2: u32,
}

impl IsakmpSa {
    /// Its length in bytes.
    pub const LEN: usize = 16 + 8 + 2 * STORAGE_LEN + 8 + 8 + 8;

    /// Its bytes.
    pub fn emit(&self, abi: Abi) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::LEN);
        bytes.extend_from_slice(&self.initiator_cookie);
        bytes.extend_from_slice(&self.responder_cookie);
        bytes.extend_from_slice(&i32::from(self.state).to_ne_bytes());
        bytes.extend_from_slice(&i32::from(!self.initiator).to_ne_bytes());
        bytes.extend_from_slice(&emit_address(Some(self.remote), abi));
        bytes.extend_from_slice(&emit_address(Some(self.local), abi));
        bytes.extend_from_slice(&[self.version, self.exchange, 0, 0, 0, 0, 0, 0]);
        bytes.extend_from_slice(&self.created.to_ne_bytes());
        bytes.extend_from_slice(&self.phase2.to_ne_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes
    }

    /// Reads one.
    pub fn parse(bytes: &[u8], abi: Abi) -> Option<Self> {
        let bytes = bytes.first_chunk::<{ Self::LEN }>()?;
        let [version, exchange] = chunk(bytes, 280)?;
        Some(Self {
            initiator_cookie: chunk(bytes, 0)?,
            responder_cookie: chunk(bytes, 8)?,
            state: u8::try_from(i32::from_ne_bytes(chunk(bytes, 16)?)).ok()?,
            initiator: i32::from_ne_bytes(chunk(bytes, 20)?) == 0,
            remote: parse_address(&chunk(bytes, 24)?, abi)?,
            local: parse_address(&chunk(bytes, 152)?, abi)?,
            version,
            exchange,
            created: u64::from_ne_bytes(chunk(bytes, 288)?),
            phase2: u32::from_ne_bytes(chunk(bytes, 296)?),
        })
    }
}

/// One timer (`scheddump`). All times are in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer {
    /// When it fires, on racoon's clock: seconds since the daemon started.
    pub fires: i64,
    /// Its number.
    pub id: i64,
    /// When it was set, Unix seconds.
    pub created: i64,
    /// Seconds between setting and firing.
    pub tick: i64,
}

impl Timer {
    /// Its bytes.
    pub fn emit(&self) -> Vec<u8> {
        [self.fires, self.id, self.created, self.tick].into_iter().flat_map(i64::to_ne_bytes).collect()
    }

    /// Reads one.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let number = |from| chunk(bytes, from).map(i64::from_ne_bytes);
        Some(Self { fires: number(0)?, id: number(8)?, created: number(16)?, tick: number(24)? })
    }
}

/// Something happened (`evt_async`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What, in racoon's numbers.
    pub kind: u32,
    /// When, Unix seconds.
    pub at: u64,
    /// Our end of phase 1.
    pub source: Option<SocketAddr>,
    /// The peer's.
    pub destination: Option<SocketAddr>,
    /// Message id of phase 2.
    pub message_id: u32,
    /// Attributes of mode configuration, as on the wire.
    pub attributes: Vec<u8>,
}

impl Event {
    /// Its length without attributes, in bytes.
    pub const LEN: usize = 16 + 2 * STORAGE_LEN + 8;

    /// A whole message that pushes it to a subscriber.
    pub fn emit(&self, abi: Abi) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::LEN + self.attributes.len());
        bytes.extend_from_slice(&self.kind.to_ne_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.at.to_ne_bytes());
        bytes.extend_from_slice(&emit_address(self.source, abi));
        bytes.extend_from_slice(&emit_address(self.destination, abi));
        bytes.extend_from_slice(&self.message_id.to_ne_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.attributes);
        data(command::SHOW_EVT, 0, &bytes)
    }

    /// Reads what follows the header.
    pub fn parse(bytes: &[u8], abi: Abi) -> Option<Self> {
        Some(Self {
            kind: u32::from_ne_bytes(chunk(bytes, 0)?),
            at: u64::from_ne_bytes(chunk(bytes, 8)?),
            source: parse_address(&chunk(bytes, 16)?, abi),
            destination: parse_address(&chunk(bytes, 16 + STORAGE_LEN)?, abi),
            message_id: u32::from_ne_bytes(chunk(bytes, 16 + 2 * STORAGE_LEN)?),
            attributes: bytes.get(Self::LEN..)?.to_vec(),
        })
    }
}

fn chunk<const N: usize>(bytes: &[u8], from: usize) -> Option<[u8; N]> {
    bytes.get(from..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn layouts_of_lp64() {
        assert_eq!((IsakmpSa::LEN, Event::LEN), (304, 280));
        let sa = IsakmpSa {
            initiator_cookie: [1; 8],
            responder_cookie: [2; 8],
            state: 9,
            initiator: true,
            remote: "192.0.2.2:500".parse().unwrap(),
            local: "192.0.2.1:500".parse().unwrap(),
            version: 0x10,
            exchange: 2,
            created: 0x1122_3344,
            phase2: 2,
        };
        let bytes = sa.emit(Abi::Linux);
        assert_eq!(bytes.len(), IsakmpSa::LEN);
        assert_eq!(bytes[16..24], [9u32.to_ne_bytes(), 0u32.to_ne_bytes()].concat());
        assert_eq!(bytes[280..282], [0x10, 2]);
        assert_eq!(bytes[288..296], 0x1122_3344u64.to_ne_bytes());
        assert_eq!(bytes[296..300], 2u32.to_ne_bytes());
        assert_eq!(IsakmpSa::parse(&bytes, Abi::Linux), Some(sa));
        let timer = Timer { fires: 25, id: 2, created: 1_764_000_000, tick: 20 };
        assert_eq!(timer.emit().len(), 32);
        assert_eq!(Timer::parse(&timer.emit()), Some(timer));
    }

    #[test]
    fn long_answers_go_on_in_the_third_field() {
        let contents = vec![7; 70_000];
        let bytes = data(command::SHOW_SA, 0x01ff, &contents);
        let header = Header::parse(&bytes).unwrap();
        assert_eq!((header.length, header.command, header.errno), (70_008, command::SHOW_SA, 0));
        assert_eq!(bytes[8..], contents);
        let bytes = done(0x0201, 0x01ff, Err(Errno::NoEntry), Abi::Linux);
        let header = Header::parse(&bytes).unwrap();
        assert_eq!((header.length, header.command, header.errno, header.proto), (8, 0x0201, 2, 0x01ff));
        assert_eq!(Header::parse(&bytes[..7]), None);
    }

    proptest! {
        #[test]
        fn events_round_trip(
            kind: u32, at: u64, source: Option<SocketAddr>, destination: Option<SocketAddr>, message_id: u32,
            attributes in prop::collection::vec(any::<u8>(), 0..50),
        ) {
            // Flow label and scope of IPv6 are not carried.
            let plain = |address: SocketAddr| SocketAddr::new(address.ip(), address.port());
            let (source, destination) = (source.map(plain), destination.map(plain));
            let event = Event { kind, at, source, destination, message_id, attributes };
            let bytes = event.emit(Abi::Linux);
            prop_assert_eq!(Header::parse(&bytes).unwrap().length, bytes.len());
            prop_assert_eq!(Event::parse(&bytes[HEADER_LEN..], Abi::Linux), Some(event));
        }

        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = Header::parse(&bytes);
            let _ = IsakmpSa::parse(&bytes, Abi::Linux);
            let _ = Event::parse(&bytes, Abi::Linux);
            let _ = Timer::parse(&bytes);
        }
    }
}
