//! Linux' XFRM, which is not here.

use std::io;
use std::os::fd::OwnedFd;

use zeroize::Zeroizing;

/// Sockets that nobody can have here.
#[derive(Debug)]
pub enum XfrmSockets {}

impl XfrmSockets {
    /// Says what to use instead.
    pub fn new() -> io::Result<Self> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "FreeBSD has PF_KEY instead: use --dataplane pfkey"))
    }

    /// As on Linux.
    pub fn interface(&self, _: &str) -> Option<u32> {
        match *self {}
    }

    /// As on Linux.
    pub fn interface_name(&self, _: u32) -> Option<String> {
        match *self {}
    }

    /// As on Linux.
    pub fn news(&self) -> io::Result<OwnedFd> {
        match *self {}
    }

    /// As on Linux.
    pub fn ask(&mut self, _: &[u8]) -> io::Result<Vec<Zeroizing<Vec<u8>>>> {
        match *self {}
    }

    /// As on Linux.
    pub fn hear(&mut self) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        match *self {}
    }
}
