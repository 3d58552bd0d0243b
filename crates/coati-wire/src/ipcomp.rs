//! The header of IP payload compression (RFC 3173 section 3.1).
//!
//! ```text
//!  0 next header  1 flags (0)  2..4 compression parameter index, then the compressed payload
//! ```

use crate::WireError;
use crate::error::{array, u16_at};

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 4;

/// The header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Protocol of what was compressed.
    pub next_header: u8,
    /// Compression parameter index.
    pub cpi: u16,
}

impl Header {
    /// Reads it and returns it with the compressed payload; the flags have to be ignored.
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), WireError> {
        const WHAT: &str = "IPComp header";
        let [next_header] = array(WHAT, bytes, 0)?;
        let cpi = u16_at(WHAT, bytes, 2)?;
        Ok((Self { next_header, cpi }, bytes.get(HEADER_LEN..).unwrap_or(&[])))
    }

    /// The header's bytes.
    pub fn emit(&self) -> [u8; HEADER_LEN] {
        let [high, low] = self.cpi.to_be_bytes();
        [self.next_header, 0, high, low]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emit_then_parse() {
        let header = Header { next_header: 47, cpi: 0x1234 };
        let bytes = [&header.emit()[..], b"rest"].concat();
        assert_eq!(Header::parse(&bytes), Ok((header, &b"rest"[..])));
        assert!(Header::parse(&bytes[..3]).is_err());
    }
}
