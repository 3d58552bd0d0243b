//! ICMP (RFC 792): echo and destination unreachable, and the same two of ICMPv6's that need no pseudo header.

use crate::WireError;
use crate::checksum;
use crate::error::{array, u16_at};

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 8;

const ECHO_REPLY: u8 = 0;
const UNREACHABLE: u8 = 3;
const ECHO_REQUEST: u8 = 8;

/// Code of [`Repr::Unreachable`]: no such protocol here.
pub const CODE_PROTOCOL: u8 = 2;
/// Code of [`Repr::Unreachable`]: nobody listens on the port.
pub const CODE_PORT: u8 = 3;
/// Code of [`Repr::Unreachable`]: too big, and it must not be fragmented (RFC 1191).
pub const CODE_FRAGMENTATION_NEEDED: u8 = 4;

/// An ICMP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repr<'a> {
    /// Please answer.
    EchoRequest {
        /// Whose ping.
        id: u16,
        /// Which one of its.
        sequence: u16,
        /// To be sent back.
        data: &'a [u8],
    },
    /// The answer.
    EchoReply {
        /// Whose ping.
        id: u16,
        /// Which one of its.
        sequence: u16,
        /// What was sent.
        data: &'a [u8],
    },
    /// A packet could not be delivered.
    Unreachable {
        /// Why.
        code: u8,
        /// For [`CODE_FRAGMENTATION_NEEDED`]: the MTU that would fit, in bytes; otherwise 0.
        mtu: u16,
        /// The beginning of that packet.
        original: &'a [u8],
    },
}

impl<'a> Repr<'a> {
    /// Reads a message and verifies its checksum; `None` for kinds that are not ours.
    pub fn parse(bytes: &'a [u8]) -> Result<Option<Self>, WireError> {
        const WHAT: &str = "ICMP header";
        let [kind, code] = array(WHAT, bytes, 0)?;
        let (id, sequence) = (u16_at(WHAT, bytes, 4)?, u16_at(WHAT, bytes, 6)?);
        let data = bytes.get(HEADER_LEN..).unwrap_or(&[]);
        if !checksum::is_intact(&[bytes]) {
            return Err(WireError::Checksum { what: WHAT });
        }
        Ok(match (kind, code) {
            (ECHO_REQUEST, 0) => Some(Self::EchoRequest { id, sequence, data }),
            (ECHO_REPLY, 0) => Some(Self::EchoReply { id, sequence, data }),
            (UNREACHABLE, code) => Some(Self::Unreachable { code, mtu: sequence, original: data }),
            _ => None,
        })
    }

    /// The message's bytes, checksum included.
    pub fn emit(&self) -> Vec<u8> {
        let (kind, code, first, second, data) = match *self {
            Self::EchoRequest { id, sequence, data } => (ECHO_REQUEST, 0, id, sequence, data),
            Self::EchoReply { id, sequence, data } => (ECHO_REPLY, 0, id, sequence, data),
            Self::Unreachable { code, mtu, original } => (UNREACHABLE, code, 0, mtu, original),
        };
        let mut bytes = vec![kind, code, 0, 0];
        bytes.extend_from_slice(&first.to_be_bytes());
        bytes.extend_from_slice(&second.to_be_bytes());
        bytes.extend_from_slice(data);
        let sum = checksum::internet(&[&bytes]).to_be_bytes();
        bytes[2..4].copy_from_slice(&sum);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn emit_then_parse(id: u16, sequence: u16, code: u8, data in prop::collection::vec(any::<u8>(), 0..64)) {
            for repr in [Repr::EchoRequest { id, sequence, data: &data }, Repr::EchoReply { id, sequence, data: &data },
                         Repr::Unreachable { code, mtu: id, original: &data }] {
                let bytes = repr.emit();
                prop_assert_eq!(Repr::parse(&bytes).unwrap(), Some(repr));
            }
        }

        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = Repr::parse(&bytes);
        }
    }
}
