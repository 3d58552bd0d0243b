//! Why bytes are not the packet they were taken for.

use thiserror::Error;

/// What is wrong with a packet; the facts a log line or a counter needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum WireError {
    /// Fewer bytes than the format needs.
    #[error("{what}: {found} bytes, {needed} are needed")]
    Truncated {
        /// Which format.
        what: &'static str,
        /// Bytes needed at the least.
        needed: usize,
        /// Bytes there.
        found: usize,
    },
    /// A length field contradicts the bytes around it.
    #[error("{what}: its length field says {found}, which does not fit")]
    Length {
        /// Which field.
        what: &'static str,
        /// Its value.
        found: usize,
    },
    /// A version number that is not ours.
    #[error("{what}: version {found} is unknown")]
    Version {
        /// Which format.
        what: &'static str,
        /// The version.
        found: u8,
    },
    /// The checksum is wrong.
    #[error("{what}: wrong checksum")]
    Checksum {
        /// Which format.
        what: &'static str,
    },
    /// A field has a value that the standard forbids.
    #[error("{what}: value {found} is not allowed")]
    Value {
        /// Which field.
        what: &'static str,
        /// Its value.
        found: u32,
    },
    /// More elements than are accepted.
    #[error("{what}: more than {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
}

/// The bytes `from..from + N` of `bytes` as an array.
pub(crate) fn array<const N: usize>(
    what: &'static str,
    bytes: &[u8],
    from: usize,
) -> Result<[u8; N], WireError> {
    bytes.get(from..).and_then(|rest| rest.first_chunk::<N>()).copied().ok_or(WireError::Truncated {
        what,
        needed: from.saturating_add(N),
        found: bytes.len(),
    })
}

/// The 16-bit big-endian number at `from`.
pub(crate) fn u16_at(what: &'static str, bytes: &[u8], from: usize) -> Result<u16, WireError> {
    array(what, bytes, from).map(u16::from_be_bytes)
}

/// The 32-bit big-endian number at `from`.
pub(crate) fn u32_at(what: &'static str, bytes: &[u8], from: usize) -> Result<u32, WireError> {
    array(what, bytes, from).map(u32::from_be_bytes)
}
