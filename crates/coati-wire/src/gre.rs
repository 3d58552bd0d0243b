//! Generic routing encapsulation (RFC 2784) with key and sequence number (RFC 2890).
//!
//! ```text
//!  0..2 C R K S s recursion flags version   2..4 protocol type
//!  then, each when its bit is set: checksum (2) and reserved (2), key (4), sequence number (4)
//! ```

use crate::WireError;
use crate::checksum;
use crate::error::{u16_at, u32_at};

const CHECKSUM: u16 = 0x8000;
const ROUTING: u16 = 0x4000;
const KEY: u16 = 0x2000;
const SEQUENCE: u16 = 0x1000;
const RESERVED: u16 = 0x0ff8;
const VERSION: u16 = 0x0007;

/// Length of the header without options, in bytes.
pub const HEADER_LEN: usize = 4;

/// Protocol types (EtherTypes) of what is inside.
pub mod ethertype {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
}

/// A GRE header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr {
    /// EtherType of the payload.
    pub protocol: u16,
    /// Whether header and payload carry a checksum.
    pub checksum: bool,
    /// Key, when the tunnel has one.
    pub key: Option<u32>,
    /// Sequence number, when the tunnel counts.
    pub sequence: Option<u32>,
}

impl Repr {
    /// A header that says only what is inside.
    pub fn plain(protocol: u16) -> Self {
        Self { protocol, checksum: false, key: None, sequence: None }
    }

    /// Length of the header in bytes.
    pub fn header_len(&self) -> usize {
        HEADER_LEN
            + usize::from(self.checksum) * 4
            + usize::from(self.key.is_some()) * 4
            + usize::from(self.sequence.is_some()) * 4
    }

    /// Reads the header of `bytes` and returns it with the payload. Source routing (RFC 1701), reserved bits and
    /// versions other than 0 are refused; a checksum is verified.
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), WireError> {
        const WHAT: &str = "GRE header";
        let flags = u16_at(WHAT, bytes, 0)?;
        if flags & VERSION != 0 {
            return Err(WireError::Version { what: WHAT, found: u8::try_from(flags & VERSION).unwrap_or(0) });
        }
        if flags & (ROUTING | RESERVED) != 0 {
            return Err(WireError::Value { what: "GRE flags", found: u32::from(flags) });
        }
        let protocol = u16_at(WHAT, bytes, 2)?;
        let mut at = HEADER_LEN;
        let mut option = |present: bool| -> Result<Option<u32>, WireError> {
            if !present {
                return Ok(None);
            }
            let value = u32_at(WHAT, bytes, at)?;
            at += 4;
            Ok(Some(value))
        };
        let sum = option(flags & CHECKSUM != 0)?;
        let key = option(flags & KEY != 0)?;
        let sequence = option(flags & SEQUENCE != 0)?;
        if sum.is_some() && !checksum::is_intact(&[bytes]) {
            return Err(WireError::Checksum { what: WHAT });
        }
        let payload = bytes.get(at..).unwrap_or(&[]);
        Ok((Self { protocol, checksum: sum.is_some(), key, sequence }, payload))
    }

    /// The key of a packet that begins with a GRE header, whatever else is in it: what policies look at.
    pub fn key_of(bytes: &[u8]) -> Option<u32> {
        const WHAT: &str = "GRE header";
        let flags = u16_at(WHAT, bytes, 0).ok()?;
        let at = HEADER_LEN + if flags & CHECKSUM != 0 { 4 } else { 0 };
        if flags & KEY == 0 { None } else { u32_at(WHAT, bytes, at).ok() }
    }

    /// Writes the header into the first [`Repr::header_len`] bytes of `packet`, whose rest is the payload already.
    pub fn emit(&self, packet: &mut [u8]) -> Result<(), WireError> {
        let needed = self.header_len();
        let found = packet.len();
        let (header, _) = packet.split_at_mut_checked(needed).ok_or(WireError::Truncated {
            what: "GRE header",
            needed,
            found,
        })?;
        let flags = if self.checksum { CHECKSUM } else { 0 }
            | self.key.map_or(0, |_| KEY)
            | self.sequence.map_or(0, |_| SEQUENCE);
        let words = [
            Some(u32::from(flags) << 16 | u32::from(self.protocol)),
            self.checksum.then_some(0),
            self.key,
            self.sequence,
        ];
        for (chunk, word) in header.chunks_exact_mut(4).zip(words.into_iter().flatten()) {
            chunk.copy_from_slice(&word.to_be_bytes());
        }
        if self.checksum {
            let sum = checksum::internet(&[packet]).to_be_bytes();
            packet[4..6].copy_from_slice(&sum);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn emit_then_parse(protocol: u16, checksum: bool, key: Option<u32>, sequence: Option<u32>,
                           payload in prop::collection::vec(any::<u8>(), 0..64)) {
            let repr = Repr { protocol, checksum, key, sequence };
            let mut bytes = vec![0xee; repr.header_len()];
            bytes.extend_from_slice(&payload);
            repr.emit(&mut bytes).unwrap();
            prop_assert_eq!(Repr::key_of(&bytes), key);
            prop_assert_eq!(Repr::parse(&bytes).unwrap(), (repr, &payload[..]));
        }

        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = Repr::parse(&bytes);
            let _ = Repr::key_of(&bytes);
        }
    }

    #[test]
    fn the_plain_header() {
        let mut bytes = [0; 5];
        Repr::plain(ethertype::IPV4).emit(&mut bytes).unwrap();
        assert_eq!(bytes, [0, 0, 8, 0, 0]);
        assert!(matches!(Repr::parse(&[0x40, 0, 8, 0]), Err(WireError::Value { .. })));
        assert!(matches!(Repr::parse(&[0, 1, 0x88, 0x0b]), Err(WireError::Version { found: 1, .. })));
    }
}
