//! Many descriptors waited for as one (kqueue(2)): what that costs does not grow with their number.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Descriptors told of by one call; the others are told of by the next one.
const AT_ONCE: usize = 64;

/// The descriptors. The group's own can be read when one of them can.
#[derive(Debug)]
pub struct Group(OwnedFd);

fn empty() -> libc::kevent {
    // SAFETY: kevent is plain data; all zeroes is a valid value of it.
    unsafe { std::mem::zeroed() }
}

impl Group {
    /// One without members.
    pub fn new() -> io::Result<Self> {
        // SAFETY: kqueue takes nothing.
        let queue = unsafe { libc::kqueue() };
        if queue < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new, and nobody else's.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(queue) }))
    }

    /// Takes in a descriptor, under this name, until it is closed.
    pub fn add(&self, descriptor: impl AsFd, name: u64) -> io::Result<()> {
        let change = libc::kevent {
            ident: usize::try_from(descriptor.as_fd().as_raw_fd()).map_err(io::Error::other)?,
            filter: libc::EVFILT_READ,
            flags: libc::EV_ADD,
            udata: std::ptr::without_provenance_mut(usize::try_from(name).map_err(io::Error::other)?),
            ..empty()
        };
        // SAFETY: one change is read, and there is no room for events.
        let result = unsafe {
            libc::kevent(self.0.as_raw_fd(), &raw const change, 1, std::ptr::null_mut(), 0, std::ptr::null())
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// The names of those that can be read, or have ended.
    pub fn readable(&self) -> Vec<u64> {
        let mut events = [empty(); AT_ONCE];
        let none = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: there are no changes, and room for as many events as is said; the time outlives the call.
        let count = unsafe {
            libc::kevent(
                self.0.as_raw_fd(),
                std::ptr::null(),
                0,
                events.as_mut_ptr(),
                AT_ONCE as libc::c_int,
                &raw const none,
            )
        };
        // When it was interrupted, the next call has the same to tell.
        let count = usize::try_from(count).unwrap_or(0);
        events.iter().take(count).map(|event| event.udata.addr() as u64).collect()
    }
}

impl AsFd for Group {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
