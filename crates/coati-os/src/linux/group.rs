//! Many descriptors waited for as one (epoll(7)): what that costs does not grow with their number.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::time::Timespec;

/// Descriptors told of by one call; the others are told of by the next one.
const AT_ONCE: usize = 64;

/// The descriptors. The group's own can be read when one of them can.
#[derive(Debug)]
pub struct Group(OwnedFd);

impl Group {
    /// One without members.
    pub fn new() -> io::Result<Self> {
        Ok(Self(epoll::create(CreateFlags::CLOEXEC)?))
    }

    /// Takes in a descriptor, under this name, until it is closed.
    pub fn add(&self, descriptor: impl AsFd, name: u64) -> io::Result<()> {
        Ok(epoll::add(&self.0, descriptor, EventData::new_u64(name), EventFlags::IN)?)
    }

    /// The names of those that can be read, or have ended.
    pub fn readable(&self) -> Vec<u64> {
        let mut events = Vec::with_capacity(AT_ONCE);
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        // When it was interrupted, the next call has the same to tell.
        let _ = epoll::wait(&self.0, rustix::buffer::spare_capacity(&mut events), Some(&none));
        events.iter().map(|event| event.data.u64()).collect()
    }
}

impl AsFd for Group {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn those_that_can_be_read_are_named() {
        let group = Group::new().unwrap();
        let (mut first, mut to_first) = UnixStream::pair().unwrap();
        let (second, mut to_second) = UnixStream::pair().unwrap();
        group.add(&first, 1 << 32 | 7).unwrap();
        group.add(&second, 8).unwrap();
        assert!(group.readable().is_empty());
        to_first.write_all(b"a").unwrap();
        // As long as nobody has read it.
        assert_eq!((group.readable(), group.readable()), (vec![1 << 32 | 7], vec![1 << 32 | 7]));
        to_second.write_all(b"b").unwrap();
        assert_eq!(group.readable().len(), 2);
        first.read_exact(&mut [0]).unwrap();
        assert_eq!(group.readable(), [8]);
        drop(second);
        assert!(group.readable().is_empty());
    }
}
