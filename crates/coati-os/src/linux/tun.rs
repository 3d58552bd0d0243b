//! TUN interfaces (Documentation/networking/tuntap): IP packets to and from the kernel's stack.
//!
//! They carry super-packets (`offload`): the kernel leaves cutting TCP and its checksums to us, as to a network
//! card, and takes joined segments from us.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use super::offload::{Coalescer, VnetHeader, split};

/// Room for what one read may give.
pub const READ_LEN: usize = VnetHeader::LEN + 65_535;

/// From linux/if_tun.h: checksums may be left open, TCP over IPv4 and IPv6 may come uncut, also with ECN.
const TUN_F_CSUM: libc::c_uint = 1;
const TUN_F_TSO4: libc::c_uint = 2;
const TUN_F_TSO6: libc::c_uint = 4;
const TUN_F_TSO_ECN: libc::c_uint = 8;

/// What of the system is missing for them.
pub fn hindrance() -> Option<&'static str> {
    (!Path::new("/dev/net/tun").exists()).then_some("there is no /dev/net/tun")
}

/// A TUN interface of our own; it vanishes when this is dropped, or when the process ends in any way.
#[derive(Debug)]
pub struct Tun {
    file: File,
    name: String,
}

impl Tun {
    /// Makes the interface `name`. Needs `/dev/net/tun` and CAP_NET_ADMIN in the network namespace.
    pub fn create(name: &str) -> io::Result<Self> {
        if !std::path::Path::new("/dev/net/tun").exists() {
            let message = "no /dev/net/tun: load the tun module, or in a container pass the device in";
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open("/dev/net/tun")?;
        // SAFETY: ifreq is plain data; all zeroes is a valid value of it.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        if name.len() >= request.ifr_name.len() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "interface names have 15 letters at the most",
            ));
        }
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = libc::c_char::from_ne_bytes([from]);
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as libc::c_short;
        // SAFETY: the descriptor is open, and TUNSETIFF reads and writes one ifreq, which outlives the call.
        if unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &mut request) } < 0 {
            return Err(io::Error::last_os_error());
        }
        let offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
        // A kernel that cannot sends one packet at a time, which is right and slower.
        // SAFETY: the descriptor is open, and TUNSETOFFLOAD takes an integer.
        unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETOFFLOAD, libc::c_ulong::from(offloads)) };
        Ok(Self { file, name: name.to_owned() })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads once what the kernel sends into the interface, with a `buffer` of [`READ_LEN`] bytes, and calls `each` for
    /// every packet in it: headers and payload, which follow each other. `WouldBlock` when there is nothing.
    pub fn read(&self, buffer: &mut [u8], each: impl FnMut(&[u8], &[u8])) -> io::Result<()> {
        let length = (&self.file).read(buffer)?;
        let read = buffer.get_mut(..length).unwrap_or(&mut []);
        let (header, packet) = VnetHeader::parse(read).ok_or(io::ErrorKind::InvalidData)?;
        // What cannot be is dropped; the next one may be right.
        let _ = split(header, packet, each);
        Ok(())
    }

    fn write(&self, header: VnetHeader, packet: &[u8]) -> io::Result<()> {
        let header = header.emit();
        (&self.file).write_vectored(&[IoSlice::new(&header), IoSlice::new(packet)]).map(|_| ())
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Hands packets to the kernel as if they came in on a TUN interface, in batches.
#[derive(Debug)]
pub struct TunWriter {
    tun: Arc<Tun>,
    coalescer: Coalescer,
}

impl TunWriter {
    /// A writer of its own for one thread.
    pub fn new(tun: Arc<Tun>) -> Self {
        Self { tun, coalescer: Coalescer::default() }
    }

    /// Takes a packet; it may be joined with those that follow, until [`TunWriter::flush`].
    pub fn write(&mut self, packet: &[u8]) {
        let Self { tun, coalescer } = self;
        // A full queue drops the packet, as in any router.
        coalescer.push(packet, |header, bytes| drop(tun.write(header, bytes)));
    }

    /// Ends a batch: nothing is kept back.
    pub fn flush(&mut self) {
        let Self { tun, coalescer } = self;
        coalescer.flush(|header, bytes| drop(tun.write(header, bytes)));
    }
}
