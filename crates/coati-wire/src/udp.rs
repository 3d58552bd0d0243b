//! The UDP header (RFC 768) over IPv4 and IPv6.

use std::net::IpAddr;

use crate::WireError;
use crate::checksum;
use crate::error::u16_at;
use crate::ip::pseudo_sum;
use crate::ipv4::protocol;

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 8;

/// Ports of a datagram, host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
}

impl Repr {
    /// Reads a datagram between `source` and `destination`; a checksum of 0 means none, over IPv4 only.
    pub fn parse(bytes: &[u8], source: IpAddr, destination: IpAddr) -> Result<(Self, &[u8]), WireError> {
        const WHAT: &str = "UDP header";
        let repr = Self { source_port: u16_at(WHAT, bytes, 0)?, destination_port: u16_at(WHAT, bytes, 2)? };
        let length = usize::from(u16_at(WHAT, bytes, 4)?);
        let sum = u16_at(WHAT, bytes, 6)?;
        let wrong = WireError::Length { what: "UDP length", found: length };
        let datagram = bytes.get(..length).ok_or(wrong)?;
        let payload = datagram.get(HEADER_LEN..).ok_or(wrong)?;
        let unchecked = sum == 0 && source.is_ipv4();
        if !unchecked
            && !checksum::is_intact(&[&pseudo_sum(source, destination, protocol::UDP, length), datagram])
        {
            return Err(WireError::Checksum { what: WHAT });
        }
        Ok((repr, payload))
    }

    /// The datagram with its header and checksum.
    pub fn emit(&self, source: IpAddr, destination: IpAddr, payload: &[u8]) -> Vec<u8> {
        let length = HEADER_LEN.saturating_add(payload.len());
        let mut bytes = Vec::with_capacity(length);
        bytes.extend_from_slice(&self.source_port.to_be_bytes());
        bytes.extend_from_slice(&self.destination_port.to_be_bytes());
        bytes.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(payload);
        let sum = match checksum::internet(&[&pseudo_sum(source, destination, protocol::UDP, length), &bytes])
        {
            0 => u16::MAX,
            sum => sum,
        };
        bytes[6..8].copy_from_slice(&sum.to_be_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn emit_then_parse(source_port: u16, destination_port: u16, s: u32, d: u32, v6: bool,
                           payload in prop::collection::vec(any::<u8>(), 0..64)) {
            let address = |a: u32| if v6 { IpAddr::V6(u128::from(a).into()) } else { IpAddr::V4(a.into()) };
            let repr = Repr { source_port, destination_port };
            let bytes = repr.emit(address(s), address(d), &payload);
            prop_assert_eq!(Repr::parse(&bytes, address(s), address(d)).unwrap(), (repr, &payload[..]));
        }

        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = Repr::parse(&bytes, IpAddr::V4(1.into()), IpAddr::V4(2.into()));
        }
    }
}
