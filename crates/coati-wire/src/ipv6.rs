//! The IPv6 header (RFC 8200) and the extension headers before the upper layer.
//!
//! ```text
//!  0..4 version/traffic class/flow label  4..6 payload length  6 next header  7 hop limit
//!  8..24 source  24..40 destination
//! ```

use std::net::Ipv6Addr;

use crate::WireError;
use crate::error::{array, u16_at};

/// Length of the fixed header in bytes.
pub const HEADER_LEN: usize = 40;

/// Extension headers that are looked through at the most.
const MAX_EXTENSIONS: usize = 8;
const WHAT: &str = "IPv6 header";

/// A header of fixed length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr {
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// Flow label, 20 bits.
    pub flow_label: u32,
    /// Protocol of what follows.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source address.
    pub source: Ipv6Addr,
    /// Destination address.
    pub destination: Ipv6Addr,
    /// Bytes that follow.
    pub payload_len: usize,
}

impl Repr {
    /// Reads the header of `bytes` and returns it with the payload.
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), WireError> {
        let first: [u8; 4] = array(WHAT, bytes, 0)?;
        if first[0] >> 4 != 6 {
            return Err(WireError::Version { what: WHAT, found: first[0] >> 4 });
        }
        let word = u32::from_be_bytes(first);
        let payload_len = usize::from(u16_at(WHAT, bytes, 4)?);
        let [next_header, hop_limit] = array(WHAT, bytes, 6)?;
        let repr = Self {
            traffic_class: u8::try_from(word >> 20 & 0xff).unwrap_or(0),
            flow_label: word & 0xf_ffff,
            next_header,
            hop_limit,
            source: Ipv6Addr::from(array::<16>(WHAT, bytes, 8)?),
            destination: Ipv6Addr::from(array::<16>(WHAT, bytes, 24)?),
            payload_len,
        };
        let payload = bytes
            .get(HEADER_LEN..HEADER_LEN.saturating_add(payload_len))
            .ok_or(WireError::Length { what: "IPv6 payload length", found: payload_len })?;
        Ok((repr, payload))
    }

    /// The header's bytes.
    pub fn emit(&self) -> [u8; HEADER_LEN] {
        let mut header = [0; HEADER_LEN];
        let word = 6 << 28 | u32::from(self.traffic_class) << 20 | self.flow_label & 0xf_ffff;
        header[..4].copy_from_slice(&word.to_be_bytes());
        header[4..6].copy_from_slice(&u16::try_from(self.payload_len).unwrap_or(u16::MAX).to_be_bytes());
        header[6] = self.next_header;
        header[7] = self.hop_limit;
        header[8..24].copy_from_slice(&self.source.octets());
        header[24..40].copy_from_slice(&self.destination.octets());
        header
    }
}

/// Skips hop-by-hop, routing and destination options: the protocol above and its bytes. A fragment header ends the
/// walk, so that pieces of packets show protocol 44.
pub fn upper_layer(mut next_header: u8, mut payload: &[u8]) -> Result<(u8, &[u8]), WireError> {
    for _ in 0..MAX_EXTENSIONS {
        if !matches!(next_header, 0 | 43 | 60) {
            return Ok((next_header, payload));
        }
        let [next, units] = array("IPv6 extension header", payload, 0)?;
        let length = (usize::from(units) + 1) * 8;
        payload = payload
            .get(length..)
            .ok_or(WireError::Length { what: "IPv6 extension header", found: length })?;
        next_header = next;
    }
    Err(WireError::TooMany { what: "IPv6 extension headers", limit: MAX_EXTENSIONS })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn emit_then_parse(traffic_class: u8, flow_label in 0u32..1 << 20, next_header: u8, hop_limit: u8,
                           s: u128, d: u128, payload in prop::collection::vec(any::<u8>(), 0..64)) {
            let repr = Repr { traffic_class, flow_label, next_header, hop_limit, source: s.into(),
                              destination: d.into(), payload_len: payload.len() };
            let mut bytes = repr.emit().to_vec();
            bytes.extend_from_slice(&payload);
            prop_assert_eq!(Repr::parse(&bytes).unwrap(), (repr, &payload[..]));
        }

        #[test]
        fn any_bytes(next: u8, bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = Repr::parse(&bytes);
            let _ = upper_layer(next, &bytes);
        }
    }
}
