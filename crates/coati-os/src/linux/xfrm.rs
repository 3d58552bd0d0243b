//! Netlink sockets for XFRM: one that asks, one that hears what the kernel says unasked.

use std::io;
use std::os::fd::OwnedFd;

use super::netlink::borrowed;
use coati_wire::xfrm::{Body, HEADER_LEN, messages};
use netlink_sys::{Socket, SocketAddr};
use zeroize::Zeroizing;

/// `NETLINK_XFRM`.
const NETLINK_XFRM: isize = 6;
/// `XFRMNLGRP_ACQUIRE`, `_EXPIRE`, `_SA`, `_POLICY`, `_MAPPING`.
const GROUPS: [u32; 5] = [1, 2, 3, 4, 8];
/// Room for what is said while nobody listens, in bytes.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Both sockets, in the network namespace of the thread that opened them.
#[derive(Debug)]
pub struct XfrmSockets {
    asks: Socket,
    hears: Socket,
    sequence: u32,
}

impl XfrmSockets {
    /// Opens them; the kernel is listened to from now on. Needs CAP_NET_ADMIN.
    pub fn new() -> io::Result<Self> {
        let mut asks = Socket::new(NETLINK_XFRM)?;
        asks.bind_auto()?;
        asks.connect(&SocketAddr::new(0, 0))?;
        // Older kernels say less.
        let _ = asks.set_ext_ack(true);
        let _ = asks.set_cap_ack(true);
        let mut hears = Socket::new(NETLINK_XFRM)?;
        hears.bind_auto()?;
        let _ = hears.set_rx_buf_sz(i32::try_from(RECEIVE_BUFFER).unwrap_or(i32::MAX));
        for group in GROUPS {
            hears.add_membership(group)?;
        }
        hears.set_non_blocking(true)?;
        Ok(Self { asks, hears, sequence: 0 })
    }

    /// The kernel's number of an interface.
    pub fn interface(&self, name: &str) -> Option<u32> {
        rustix::net::netdevice::name_to_index(borrowed(&self.asks), name).ok()
    }

    /// The interface of this number.
    pub fn interface_name(&self, number: u32) -> Option<String> {
        rustix::net::netdevice::index_to_name(borrowed(&self.asks), number).ok()
    }

    /// A descriptor that can be read when the kernel has said something.
    pub fn news(&self) -> io::Result<OwnedFd> {
        borrowed(&self.hears).try_clone_to_owned()
    }

    /// Sends a request that is to be answered in any case, and gives the datagrams of its answer, all of them.
    pub fn ask(&mut self, request: &[u8]) -> io::Result<Vec<Zeroizing<Vec<u8>>>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut numbered = Zeroizing::new(request.to_vec());
        if let Some(number) = numbered.get_mut(8..12) {
            number.copy_from_slice(&self.sequence.to_ne_bytes());
        }
        self.asks.send(&numbered, 0)?;
        let mut datagrams = Vec::new();
        loop {
            let (datagram, _) = self.asks.recv_from_full()?;
            let datagram = Zeroizing::new(datagram);
            let mut ended = false;
            for message in messages(&datagram) {
                let message = message.map_err(|error| io::Error::other(error.to_string()))?;
                let is_last = matches!(message.body, Body::Done(_) | Body::Error { .. });
                ended |= message.sequence == self.sequence && is_last;
            }
            // An answer to what was given up before is nobody's.
            if number_of(&datagram) == Some(self.sequence) {
                datagrams.push(datagram);
            }
            if ended {
                return Ok(datagrams);
            }
        }
    }

    /// The next datagram that has come unasked; `None` when there is none. An error says that some got lost.
    pub fn hear(&mut self) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        loop {
            match self.hears.recv_from_full() {
                // Only the kernel has this number.
                Ok((datagram, from)) if from.port_number() == 0 => return Ok(Some(Zeroizing::new(datagram))),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The number of the request that a datagram answers.
fn number_of(datagram: &[u8]) -> Option<u32> {
    let header = datagram.get(..HEADER_LEN)?;
    header.get(8..12)?.try_into().ok().map(u32::from_ne_bytes)
}
