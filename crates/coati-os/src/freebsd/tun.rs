//! TUN interfaces (tun(4)): IP packets to and from the kernel's stack, one at a time, each behind four bytes that say its
//! family (TUNSIFHEAD).

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::sync::Arc;

use super::interface::{Control, ioctl};
use super::numbers;

/// Bytes of the family.
const HEAD_LEN: usize = 4;
/// Room for what one read may give.
pub const READ_LEN: usize = HEAD_LEN + 65_535;

/// What of the system is missing for them.
pub fn hindrance() -> Option<&'static str> {
    super::setting(c"net.link.tun.devfs_cloning").is_err().then_some("there is no tun(4): kldload if_tuntap")
}

/// A TUN interface of our own; it vanishes when this is dropped.
#[derive(Debug)]
pub struct Tun {
    file: File,
    name: String,
}

impl Tun {
    /// Makes the interface `name`. Needs root.
    pub fn create(name: &str) -> io::Result<Self> {
        let control = Control::new()?;
        // The first device that nobody has open; its interface is called like it.
        let mut last = io::Error::new(io::ErrorKind::NotFound, "no free /dev/tun: kldload if_tuntap");
        for number in 0..256 {
            let own = format!("tun{number}");
            let path = format!("/dev/{own}");
            let is_there = std::fs::metadata(&path).is_ok_and(|found| found.file_type().is_char_device());
            if !is_there && control.create(&own).is_err() {
                continue;
            }
            let opened = OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
                .open(&path);
            match opened {
                Ok(file) => {
                    let tun = Self { file, name: name.to_owned() };
                    let mut mode = libc::IFF_POINTOPOINT | libc::IFF_MULTICAST;
                    let mut head: libc::c_int = 1;
                    ioctl(&tun.file.as_raw_fd(), numbers::TUNSIFMODE, &mut mode)?;
                    ioctl(&tun.file.as_raw_fd(), numbers::TUNSIFHEAD, &mut head)?;
                    if own != name {
                        control.rename(&own, name)?;
                    }
                    return Ok(tun);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads a packet that the kernel sends into the interface, with a `buffer` of [`READ_LEN`] bytes, and calls `each`
    /// with it, the payload being empty. `WouldBlock` when there is nothing.
    pub fn read(&self, buffer: &mut [u8], mut each: impl FnMut(&[u8], &[u8])) -> io::Result<()> {
        let length = (&self.file).read(buffer)?;
        let packet = buffer.get(HEAD_LEN..length).ok_or(io::ErrorKind::InvalidData)?;
        each(packet, &[]);
        Ok(())
    }

    fn write(&self, packet: &[u8]) -> io::Result<()> {
        let is_v6 = packet.first().is_some_and(|first| first >> 4 == 6);
        let family = if is_v6 { libc::AF_INET6 } else { libc::AF_INET };
        // In network order.
        let head = family.to_be_bytes();
        (&self.file).write_vectored(&[IoSlice::new(&head), IoSlice::new(packet)]).map(|_| ())
    }
}

impl Drop for Tun {
    fn drop(&mut self) {
        // Closing the device leaves the interface: it goes by its name.
        if let Ok(control) = Control::new() {
            let _ = control.destroy(&self.name);
        }
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Hands packets to the kernel as if they came in on a TUN interface.
#[derive(Debug)]
pub struct TunWriter(Arc<Tun>);

impl TunWriter {
    /// A writer of its own for one thread.
    pub fn new(tun: Arc<Tun>) -> Self {
        Self(tun)
    }

    /// Hands a packet over. A full queue drops it, as in any router.
    pub fn write(&mut self, packet: &[u8]) {
        let _ = self.0.write(packet);
    }

    /// Nothing is kept back here.
    pub fn flush(&mut self) {}
}
