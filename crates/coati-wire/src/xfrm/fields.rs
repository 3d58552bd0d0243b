//! Reading a C structure from front to back.

use super::structures::Address;
use crate::WireError;
use crate::error::array;

/// To the next multiple of 4 (`NLMSG_ALIGN`, `NLA_ALIGN`).
pub(super) fn align(length: usize) -> usize {
    length.saturating_add(3) & !3
}

/// What has been read of a structure, and what has not.
pub(super) struct Fields<'a> {
    what: &'static str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    pub(super) fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, bytes, at: 0 }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let found = array(self.what, self.bytes, self.at)?;
        self.at += N;
        Ok(found)
    }

    pub(super) fn u8(&mut self) -> Result<u8, WireError> {
        self.array().map(u8::from_ne_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_ne_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_ne_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_ne_bytes)
    }

    /// In network order.
    pub(super) fn be16(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_be_bytes)
    }

    /// In network order.
    pub(super) fn be32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn address(&mut self) -> Result<Address, WireError> {
        self.array().map(Address)
    }

    /// A name in 64 bytes.
    pub(super) fn name(&mut self) -> Result<&'a str, WireError> {
        let from = self.at;
        self.array::<NAME_LEN>()?;
        // The last byte is 0.
        let field = self.bytes.get(from..self.at - 1).unwrap_or(&[]);
        let name = field.split(|byte| *byte == 0).next().unwrap_or(&[]);
        std::str::from_utf8(name).map_err(|_| WireError::Value { what: "name of an algorithm", found: 0 })
    }

    /// What the compiler has put in to align what follows.
    pub(super) fn padding<const N: usize>(&mut self) -> Result<(), WireError> {
        self.array::<N>().map(drop)
    }

    /// What has not been read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or(&[])
    }

    /// The same from the next multiple of 4 on.
    pub(super) fn rest_aligned(&self) -> &'a [u8] {
        self.bytes.get(align(self.at)..).unwrap_or(&[])
    }
}

/// Length of the name of an algorithm in a structure, in bytes.
pub(super) const NAME_LEN: usize = 64;
