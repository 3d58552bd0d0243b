//! The threads that carry packets, one for each tunnel's outgoing side and one for everything that comes in, and those
//! that compute for IKE, one for each core.
//!
//! The packet threads work in batches and never wait for the control thread; what that must see goes to it by a channel,
//! and a byte in a socket pair wakes it. The channel is bounded: a flood that it cannot keep up with is dropped and
//! counted, and costs no memory.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use coati_ike::{Job, JobDone};
use coati_ipsec::{Drop, Packet};
use coati_os::group::Group;
use coati_os::keepalive::KeepaliveSocket;
use coati_os::process::{let_others_first, wait_readable};
use coati_os::raw::{BATCH, RawSocket, Received, Wire, receive_datagrams};
use coati_os::tun::{READ_LEN, Tun, TunWriter};
use coati_router::{Arrival, Aside, Forwarder, Tunnel, keepalive};
use coati_sadb::PolicyId;
use coati_wire::ip;
use coati_wire::too_big::Message;

use super::log::Level;
use super::logins::Verdict;
use crate::clock::unix_seconds;

/// What the packet threads hand to the control thread.
#[derive(Debug)]
pub enum FromThreads {
    /// A packet that needs an SA first.
    Waiting(PolicyId, Packet),
    /// An SPI that nobody has.
    UnknownSpi(Arrival),
    /// A router says that a packet of ours was too big.
    TooBig(RouterSays),
    /// A message of IKE that came to the port it shares with ESP.
    Ike(IkeDatagram),
    /// An exponentiation is done.
    JobDone(JobDone),
    /// The first packet has come out of a tunnel.
    FirstInbound,
    /// A hook about this peer has something for the log.
    Hook(IpAddr, Level, String),
    /// A login was decided about.
    Login(Verdict),
    /// Sending failed: the first time, and then each time the error changes.
    SendError(io::Error),
    /// The interface of this tunnel is gone, and its thread with it.
    TunnelGone(usize, io::Error),
}

/// A UDP payload with both its ends.
#[derive(Debug)]
pub struct IkeDatagram {
    /// Where it came to.
    pub local: SocketAddr,
    /// Where it came from.
    pub remote: SocketAddr,
    /// The payload.
    pub payload: Vec<u8>,
}

/// A router's word about a packet of ours.
#[derive(Debug)]
pub struct RouterSays {
    /// Which one.
    pub router: IpAddr,
    /// What fits, in bytes.
    pub mtu: u32,
    /// The beginning of the packet.
    pub original: Vec<u8>,
}

/// What waits for the control thread at the most.
pub const MAX_WAITING: usize = 1024;

/// How a thread reaches the control thread.
#[derive(Debug)]
pub struct ToControl {
    /// What to say.
    pub sender: SyncSender<FromThreads>,
    /// Wakes it.
    pub wake: UnixStream,
}

impl ToControl {
    /// A second way for another thread.
    pub fn another(&self) -> io::Result<Self> {
        Ok(Self { sender: self.sender.clone(), wake: self.wake.try_clone()? })
    }

    /// Tells the control thread what must not be lost; waits for room.
    pub fn send(&self, message: FromThreads) {
        if self.sender.send(message).is_ok() {
            self.wake_up();
        }
    }

    /// Tells the control thread what anybody may cause, unless it has too much to do; whether it was told.
    fn offer(&self, message: FromThreads) -> bool {
        let told = self.sender.try_send(message).is_ok();
        self.wake_up();
        told
    }

    fn wake_up(&self) {
        // A full pipe means that a wake-up is on its way already.
        let _ = (&self.wake).write(&[1]);
    }
}

/// Buffers kept for the next batch: a full one, and what a super-packet of usual size adds to it.
const POOL: usize = 2 * BATCH;

/// Longest packet that comes from the internet.
const MAX_PACKET: usize = 65_536;

/// From the tunnel of this index to the internet. Ends when the other end of `stop` is closed.
pub fn outgoing(
    index: usize,
    tun: Arc<Tun>,
    wire: Wire,
    mut forwarder: Forwarder,
    control: ToControl,
    stop: UnixStream,
) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(format!("out-{index}")).spawn(move || {
        let mut buffer = vec![0; READ_LEN];
        let (mut batch, mut aside) = (Vec::with_capacity(BATCH), Aside::default());
        let mut own_side = TunWriter::new(tun.clone());
        let mut pool: Vec<Packet> = Vec::new();
        let mut last_error = None;
        loop {
            match wait_readable(&[tun.as_fd(), stop.as_fd()], None).as_deref() {
                Ok([_, false]) => {}
                _ => return,
            }
            while batch.len() < BATCH {
                let read = tun.read(&mut buffer, |head, payload| {
                    let mut packet = pool.pop().unwrap_or_else(|| Packet::new(&[]));
                    packet.refill_parts(&[head, payload]);
                    batch.push(packet);
                });
                match read {
                    Ok(()) => {}
                    Err(error) if passes(&error) => break,
                    Err(error) => return control.send(FromThreads::TunnelGone(index, error)),
                }
            }
            forwarder.encapsulate(index, &mut batch, &mut aside, unix_seconds());
            if !aside.back.is_empty() {
                aside.back.drain(..).for_each(|packet| own_side.write(&packet));
                own_side.flush();
            }
            for (policy, packet) in aside.waiting.drain(..) {
                if !control.offer(FromThreads::Waiting(policy, packet)) {
                    forwarder.counters().dropped(Drop::HoldFull);
                }
            }
            let (_, failed) = wire.send_batch(batch.iter().map(Packet::bytes));
            report(&control, failed, &mut last_error);
            pool.append(&mut batch);
            pool.truncate(POOL);
        }
    })
}

/// Whether the next read may be right again.
fn passes(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::InvalidData
    )
}

/// Of what comes to the port that IKE and ESP share, IKE begins with four zero bytes, and what keeps a NAT's mapping
/// alive is a single byte (RFC 3948 section 2).
fn is_esp(payload: &[u8]) -> bool {
    payload.len() > 4 && !payload.starts_with(&[0; 4])
}

/// Does IKE's exponentiations, together with the other threads that take from the same queue; in which order they are
/// done does not matter to the engine. Ends when nobody can send any more. How long the queue may get is bounded by
/// what the engine has under way: a job for each exchange.
pub fn exponentiating(jobs: Arc<Mutex<Receiver<Job>>>, control: ToControl) -> io::Result<JoinHandle<()>> {
    // One waits for the next job, the others wait for their turn to.
    let next = move || jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
    std::thread::Builder::new().name("dh".into()).spawn(move || {
        // Packets and timers do not wait for it.
        let_others_first();
        while let Ok(job) = next() {
            control.send(FromThreads::JobDone(job.run()));
        }
    })
}

fn report(control: &ToControl, failed: Option<io::Error>, last: &mut Option<io::ErrorKind>) {
    let kind = failed.as_ref().map(io::Error::kind);
    if kind != *last {
        *last = kind;
        if let Some(error) = failed {
            control.send(FromThreads::SendError(error));
        }
    }
}

/// The raw sockets that packets come to.
#[derive(Debug)]
pub struct Receivers {
    /// For ESP, GRE, AH and IPComp over IPv4.
    pub v4: [Arc<RawSocket>; 4],
    /// For each of our IPv6 addresses and protocol: what comes there has no IP header.
    pub v6: Vec<(Ipv6Addr, u8, Arc<RawSocket>)>,
    /// For what routers say about packets that are too big.
    pub too_big: Vec<RawSocket>,
}

/// From the internet, protocols 50, 47, 51, 108 and ESP inside UDP, to the tunnels. Ends when the other end of `stop` is
/// closed.
pub fn incoming(
    sockets: Receivers,
    natt: Vec<UdpSocket>,
    tuns: Vec<Arc<Tun>>,
    wire: Wire,
    (mut forwarder, mut answering): (Forwarder, Forwarder),
    control: ToControl,
    stop: UnixStream,
) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("in".into()).spawn(move || {
        // In one piece: what nothing has been written to takes no memory.
        let mut memory = vec![0; BATCH * MAX_PACKET];
        let mut buffers: Vec<&mut [u8]> = memory.chunks_mut(MAX_PACKET).collect();
        let mut received = Vec::new();
        let mut packet = Packet::new(&[]);
        let mut tuns: Vec<TunWriter> = tuns.into_iter().map(TunWriter::new).collect();
        let mut any = false;
        let mut deliver = |arrival: Arrival, packet: &Packet, tuns: &mut Vec<TunWriter>| match arrival {
            Arrival::Tunnel(index) => {
                if let Some(tun) = tuns.get_mut(index) {
                    tun.write(packet.bytes());
                }
                if !std::mem::replace(&mut any, true) {
                    control.send(FromThreads::FirstInbound);
                }
            }
            arrival @ Arrival::UnknownSpi { .. } => {
                // It was counted; whoever sends with a dead SA sends again.
                control.offer(FromThreads::UnknownSpi(arrival));
            }
            Arrival::Answer => {
                let (mut batch, mut waiting) = (vec![packet.clone()], Vec::new());
                answering.release(&mut batch, &mut waiting, unix_seconds());
                // Whoever asks asks again: what cannot go now is not kept, and a failure shows with other packets.
                let _ = wire.send_batch(batch.iter().map(Packet::bytes));
            }
            Arrival::Dropped(_) => {}
        };
        loop {
            let v4 = sockets.v4.len();
            let mut descriptors: Vec<_> = sockets.v4.iter().map(AsFd::as_fd).collect();
            descriptors.push(stop.as_fd());
            descriptors.extend(natt.iter().map(AsFd::as_fd));
            descriptors.extend(sockets.v6.iter().map(|(_, _, socket)| socket.as_fd()));
            descriptors.extend(sockets.too_big.iter().map(AsFd::as_fd));
            let ready = match wait_readable(&descriptors, None) {
                Ok(ready) if ready.get(v4) == Some(&false) => ready,
                _ => return,
            };
            for (socket, _) in natt.iter().zip(ready.iter().skip(v4 + 1)).filter(|(_, ready)| **ready) {
                let Ok(local) = socket.local_addr() else { continue };
                if receive_datagrams(socket, &mut buffers, &mut received).is_err() {
                    continue;
                }
                let wall = unix_seconds();
                for (buffer, Received { length, source, tos }) in buffers.iter().zip(&received) {
                    let (Some(payload), Some(remote)) = (buffer.get(..*length), *source) else { continue };
                    if is_esp(payload) {
                        let arrival =
                            forwarder.decapsulate_udp(&mut packet, local, remote, *tos, payload, wall);
                        deliver(arrival, &packet, &mut tuns);
                    } else {
                        // Lost in a flood as in a full socket: IKE repeats what is not answered.
                        let payload = payload.to_vec();
                        control.offer(FromThreads::Ike(IkeDatagram { local, remote, payload }));
                    }
                }
                tuns.iter_mut().for_each(TunWriter::flush);
            }
            let of_v6 = ready.iter().skip(v4 + 1 + natt.len());
            for ((local, protocol, socket), _) in sockets.v6.iter().zip(of_v6).filter(|(_, ready)| **ready) {
                if socket.receive_batch(&mut buffers, &mut received).is_err() {
                    continue;
                }
                let wall = unix_seconds();
                for (buffer, Received { length, source, tos }) in buffers.iter().zip(&received) {
                    let (Some(payload), Some(source)) = (buffer.get(..*length), source) else { continue };
                    let (ends, head) = (((*local).into(), source.ip()), (*protocol, *tos));
                    let arrival = forwarder.decapsulate_payload(&mut packet, ends, head, payload, wall);
                    deliver(arrival, &packet, &mut tuns);
                }
                tuns.iter_mut().for_each(TunWriter::flush);
            }
            let of_routers = ready.iter().skip(v4 + 1 + natt.len() + sockets.v6.len());
            for (socket, _) in sockets.too_big.iter().zip(of_routers).filter(|(_, ready)| **ready) {
                if socket.receive_batch(&mut buffers, &mut received).is_err() {
                    continue;
                }
                for (buffer, Received { length, source, .. }) in buffers.iter().zip(&received) {
                    let router = source.map(|source| source.ip());
                    if let Some(says) = router_says(buffer.get(..*length).unwrap_or(&[]), router) {
                        control.offer(FromThreads::TooBig(says));
                    }
                }
            }
            for (socket, ready) in sockets.v4.iter().zip(ready) {
                if !ready || socket.receive_batch(&mut buffers, &mut received).is_err() {
                    continue;
                }
                let wall = unix_seconds();
                for (buffer, Received { length, .. }) in buffers.iter().zip(&received) {
                    packet.refill(buffer.get(..*length).unwrap_or(&[]));
                    let arrival = forwarder.decapsulate(&mut packet, wall);
                    deliver(arrival, &packet, &mut tuns);
                }
                tuns.iter_mut().for_each(TunWriter::flush);
            }
        }
    })
}

/// Answers keepalives that come out of the kernel's tunnels. Ends when the other end of `stop` is closed.
pub fn keepalives(tunnels: Vec<(Tunnel, KeepaliveSocket)>, stop: UnixStream) -> io::Result<JoinHandle<()>> {
    let group = Group::new()?;
    let end = u64::MAX;
    group.add(&stop, end)?;
    for ((_, socket), name) in tunnels.iter().zip(0..) {
        group.add(socket, name)?;
    }
    std::thread::Builder::new().name("keepalives".into()).spawn(move || {
        // Closed, it would not be waited for any more.
        let _stop = stop;
        let mut buffer = vec![0; MAX_PACKET];
        while wait_readable(&[group.as_fd()], None).is_ok() {
            for name in group.readable() {
                if name == end {
                    return;
                }
                let Some((tunnel, socket)) = usize::try_from(name).ok().and_then(|at| tunnels.get(at)) else {
                    continue;
                };
                let Ok(length) = socket.receive(&mut buffer) else { continue };
                if let Some((_, answer)) = keepalive(tunnel, buffer.get(..length).unwrap_or(&[])) {
                    // Whoever asks asks again.
                    let _ = socket.answer(tunnel.remote, answer);
                }
            }
        }
    })
}

/// What of the packet that a router quotes is looked at: an IP header and the beginning of ESP in UDP.
const QUOTED: usize = 96;

/// Reads what came to a socket for ICMP, whose packets have their header, or for ICMPv6, whose source is told beside them.
fn router_says(bytes: &[u8], source: Option<IpAddr>) -> Option<RouterSays> {
    let (router, message) = match source {
        Some(router) => (router, Message::parse(bytes, true).ok()??),
        None => {
            let packet = ip::Packet::parse(bytes).ok()?;
            (packet.source, Message::parse(packet.payload, false).ok()??)
        }
    };
    let original = message.original.get(..message.original.len().min(QUOTED))?.to_vec();
    Some(RouterSays { router, mtu: message.mtu, original })
}
