//! Both raw sockets as one way out.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::raw::RawSocket;

/// Where packets leave: by the socket of their family.
#[derive(Clone, Debug)]
pub struct Wire {
    /// For IPv4.
    pub v4: Arc<RawSocket>,
    /// For IPv6, where there is any.
    pub v6: Option<Arc<RawSocket>>,
}

impl Wire {
    /// As [`RawSocket::send_batch`], for packets of both families.
    pub fn send_batch<'a>(&self, packets: impl Iterator<Item = &'a [u8]>) -> (usize, Option<io::Error>) {
        let is_v6 = |packet: &&[u8]| packet.first().is_some_and(|first| first >> 4 == 6);
        let Some(v6) = &self.v6 else { return self.v4.send_batch(packets) };
        let (of_v6, of_v4): (Vec<&[u8]>, Vec<&[u8]>) = packets.partition(is_v6);
        let (sent, failed) = v6.send_batch(of_v6.into_iter());
        let (more, also_failed) = self.v4.send_batch(of_v4.into_iter());
        (sent + more, also_failed.or(failed))
    }
}

/// What there is to say of a packet besides its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its length in bytes.
    pub length: usize,
    /// Where it came from, unless its own header says so.
    pub source: Option<SocketAddr>,
    /// Type of service, or traffic class, where that was asked for.
    pub tos: u8,
}
