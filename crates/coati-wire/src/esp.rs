//! The parts of ESP that are not encrypted, and its trailer (RFC 4303 section 2).
//!
//! ```text
//!  0..4 SPI  4..8 sequence number  then IV, payload, padding 1 2 3 …, pad length (1), next header (1), ICV
//! ```

use crate::WireError;
use crate::error::u32_at;

/// SPI and sequence number, in bytes.
pub const HEADER_LEN: usize = 8;
/// Pad length and next header, in bytes.
pub const TRAILER_LEN: usize = 2;

/// The clear beginning of a packet; both in host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Security parameters index.
    pub spi: u32,
    /// Low 32 bits of the sequence number.
    pub sequence: u32,
}

impl Header {
    /// Reads it, and returns what follows.
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), WireError> {
        const WHAT: &str = "ESP header";
        let header = Self { spi: u32_at(WHAT, bytes, 0)?, sequence: u32_at(WHAT, bytes, 4)? };
        Ok((header, bytes.get(HEADER_LEN..).unwrap_or(&[])))
    }

    /// Its bytes.
    pub fn emit(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..4].copy_from_slice(&self.spi.to_be_bytes());
        bytes[4..].copy_from_slice(&self.sequence.to_be_bytes());
        bytes
    }
}

/// Bytes of padding so that payload, padding and trailer fill blocks of `block` bytes (a power of two, 4 or more).
pub fn padding(payload_len: usize, block: usize) -> usize {
    (payload_len + TRAILER_LEN).next_multiple_of(block) - TRAILER_LEN - payload_len
}

/// Writes padding and trailer into `tail`, whose length is padding plus [`TRAILER_LEN`].
pub fn emit_trailer(tail: &mut [u8], next_header: u8) {
    let Some(padding) = tail.len().checked_sub(TRAILER_LEN) else { return };
    for (index, byte) in tail.iter_mut().enumerate() {
        *byte = match index {
            index if index < padding => u8::try_from(index + 1).unwrap_or(0),
            index if index == padding => u8::try_from(padding).unwrap_or(0),
            _ => next_header,
        };
    }
}

/// Reads the trailer of decrypted bytes: length of the payload, and its protocol. Padding must be 1, 2, 3, …
pub fn parse_trailer(decrypted: &[u8]) -> Result<(usize, u8), WireError> {
    const WHAT: &str = "ESP trailer";
    let [rest @ .., pad_len, next_header] = decrypted else {
        return Err(WireError::Truncated { what: WHAT, needed: TRAILER_LEN, found: decrypted.len() });
    };
    let pad_len = usize::from(*pad_len);
    let wrong = WireError::Length { what: "ESP pad length", found: pad_len };
    let payload_len = rest.len().checked_sub(pad_len).ok_or(wrong)?;
    let padding = rest.get(payload_len..).ok_or(wrong)?;
    if padding.iter().zip(1u8..).any(|(found, wanted)| *found != wanted) {
        return Err(WireError::Value { what: "ESP padding", found: u32::try_from(pad_len).unwrap_or(0) });
    }
    Ok((payload_len, *next_header))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn trailer_round_trip(payload in prop::collection::vec(any::<u8>(), 0..100), next: u8,
                              block in prop::sample::select(vec![4usize, 8, 16])) {
            let padding = padding(payload.len(), block);
            prop_assert!(padding < block);
            let mut bytes = payload.clone();
            bytes.resize(payload.len() + padding + TRAILER_LEN, 0);
            prop_assert_eq!(bytes.len() % block, 0);
            emit_trailer(&mut bytes[payload.len()..], next);
            prop_assert_eq!(parse_trailer(&bytes).unwrap(), (payload.len(), next));
        }

        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = Header::parse(&bytes);
            let _ = parse_trailer(&bytes);
        }

        #[test]
        fn header_round_trip(spi: u32, sequence: u32) {
            let header = Header { spi, sequence };
            prop_assert_eq!(Header::parse(&header.emit()).unwrap().0, header);
        }
    }
}
