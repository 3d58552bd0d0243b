//! Keepalives that come out of a GRE tunnel of the kernel's. They would have to be read with bpf(4), which nothing here does.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

/// Sockets that nobody can have here.
#[derive(Debug)]
pub enum KeepaliveSocket {}

impl KeepaliveSocket {
    /// Says so.
    pub fn new(_index: u32, _local: IpAddr) -> io::Result<Self> {
        let text = "keepalives of GRE out of the kernel's tunnels are not answered on FreeBSD";
        Err(io::Error::new(io::ErrorKind::Unsupported, text))
    }

    /// As on Linux.
    pub fn receive(&self, _: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }

    /// As on Linux.
    pub fn answer(&self, _: IpAddr, _: &[u8]) -> io::Result<()> {
        match *self {}
    }
}

impl AsFd for KeepaliveSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match *self {}
    }
}
