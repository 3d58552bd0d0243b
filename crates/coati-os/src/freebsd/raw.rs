//! Raw sockets (ip(4)): ESP and GRE with headers of our own, OSPF and BFD on one interface, IKE's UDP.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use coati_wire::pfkey::{Layout, Message, PolicyNumbers};
use rustix::net::{RecvFlags, recv};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

use super::numbers;
pub use crate::wire::{Received, Wire};

/// Packets that are received in one go at the most.
pub const BATCH: usize = 64;

const RECEIVE_BUFFER: usize = 1 << 20;

/// A raw socket for one IP protocol, never connected.
#[derive(Debug)]
pub struct RawSocket(Socket);

impl RawSocket {
    /// Opens it; packets are sent with IPv4 headers of our own, "don't fragment" as they have it: what the kernel has been
    /// told about paths is for TCP alone here. Needs root.
    pub fn new(protocol: u8) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(i32::from(protocol))))?;
        socket.set_header_included_v4(true)?;
        socket.set_nonblocking(true)?;
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        let _ = socket.set_send_buffer_size(RECEIVE_BUFFER);
        Ok(Self(socket))
    }

    /// FreeBSD writes headers of IPv6 itself, which the embedded data plane has written already.
    pub fn new_v6(_: u8, _: Ipv6Addr) -> io::Result<Self> {
        let text = "no tunnels over IPv6 are made on FreeBSD: give the tunnel's ends IPv4 addresses";
        Err(io::Error::new(io::ErrorKind::Unsupported, text))
    }

    /// Opens one that hears what routers say about packets that are too big. FreeBSD has no filter for ICMP: the other
    /// messages come too, and whoever reads has to pass them over. Not for IPv6, as [`Self::new_v6`]. Needs root.
    pub fn for_too_big(is_v6: bool) -> io::Result<Self> {
        if is_v6 {
            return Self::new_v6(58, Ipv6Addr::UNSPECIFIED);
        }
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
        socket.set_nonblocking(true)?;
        Ok(Self(socket))
    }

    /// Sends whole IPv4 packets. Packets that cannot go (no route, too big) are skipped; the number sent and the last
    /// error are returned.
    pub fn send_batch<'a>(&self, packets: impl Iterator<Item = &'a [u8]>) -> (usize, Option<io::Error>) {
        let (mut sent, mut failed) = (0, None);
        for packet in packets {
            match self.send_one(packet) {
                Ok(()) => sent += 1,
                Err(error) => failed = Some(error),
            }
        }
        (sent, failed)
    }

    fn send_one(&self, packet: &[u8]) -> io::Result<()> {
        let octets: [u8; 4] =
            packet.get(16..20).and_then(|bytes| bytes.try_into().ok()).ok_or(io::ErrorKind::InvalidData)?;
        let destination = SocketAddr::from((octets, 0)).into();
        loop {
            match self.0.send_to(packet, &destination) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    crate::process::wait_writable(self.0.as_fd())?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Receives up to [`BATCH`] packets into `buffers`, with their IPv4 headers.
    pub fn receive_batch(
        &self,
        buffers: &mut [impl AsMut<[u8]>],
        received: &mut Vec<Received>,
    ) -> io::Result<()> {
        receive_each(buffers, received, |buffer| {
            let (length, _) = recv(&self.0, buffer, RecvFlags::DONTWAIT)?;
            Ok(Received { length, source: None, tos: 0 })
        })
    }
}

/// Receives up to [`BATCH`] datagrams of a UDP socket into `buffers`, over IPv4 with their type of service.
pub fn receive_datagrams(
    socket: &std::net::UdpSocket,
    buffers: &mut [impl AsMut<[u8]>],
    received: &mut Vec<Received>,
) -> io::Result<()> {
    let is_v4 = socket.local_addr()?.is_ipv4();
    receive_each(buffers, received, |buffer| match is_v4 {
        true => receive_from(socket.as_fd(), buffer).map(|Message4 { length, source, tos, .. }| Received {
            length,
            source: Some(source.into()),
            tos,
        }),
        false => {
            socket.recv_from(buffer).map(|(length, source)| Received { length, source: Some(source), tos: 0 })
        }
    })
}

fn receive_each(
    buffers: &mut [impl AsMut<[u8]>],
    received: &mut Vec<Received>,
    mut receive: impl FnMut(&mut [u8]) -> io::Result<Received>,
) -> io::Result<()> {
    received.clear();
    for buffer in buffers.iter_mut().take(BATCH) {
        match receive(buffer.as_mut()) {
            Ok(one) => received.push(one),
            Err(error) if received.is_empty() => return Err(error),
            Err(_) => break,
        }
    }
    Ok(())
}

impl AsFd for RawSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A raw socket for OSPF (protocol 89) on one interface, member of AllSPFRouters. FreeBSD binds no socket to an
/// interface: what comes by another one is passed over.
#[derive(Debug)]
pub struct OspfSocket {
    socket: Socket,
    index: u32,
}

/// AllSPFRouters, RFC 2328 appendix A.1.
const ALL_SPF_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 5);
/// AllDRouters.
const ALL_D_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 6);

impl OspfSocket {
    /// Opens it on the interface of this index; `address` is ours there, the source of what is sent.
    pub fn new(_: &str, index: u32, address: Ipv4Addr) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(89)))?;
        socket.set_nonblocking(true)?;
        socket.join_multicast_v4_n(&ALL_SPF_ROUTERS, &InterfaceIndexOrAddress::Index(index))?;
        socket.set_multicast_loop_v4(false)?;
        socket.set_multicast_ttl_v4(1)?;
        socket.set_multicast_if_v4(&address)?;
        socket.set_ttl_v4(1)?;
        // Internetwork control, RFC 2328 appendix A.1.
        socket.set_tos_v4(0xc0)?;
        switch_on(socket.as_fd(), numbers::IP_RECVIF)?;
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        Ok(Self { socket, index })
    }

    /// Listens to AllDRouters too, as designated router or backup, or no longer.
    pub fn set_designated(&self, designated: bool) -> io::Result<()> {
        let interface = InterfaceIndexOrAddress::Index(self.index);
        match designated {
            true => self.socket.join_multicast_v4_n(&ALL_D_ROUTERS, &interface),
            false => self.socket.leave_multicast_v4_n(&ALL_D_ROUTERS, &interface),
        }
    }

    /// Sends one OSPF packet; the kernel writes the IP header.
    pub fn send(&self, destination: Ipv4Addr, ttl: u8, packet: &[u8]) -> io::Result<()> {
        let set = |ttl| match destination.is_multicast() {
            true => self.socket.set_multicast_ttl_v4(ttl),
            false => self.socket.set_ttl_v4(ttl),
        };
        if ttl != 1 {
            set(u32::from(ttl))?;
        }
        let sent = self.socket.send_to(packet, &SocketAddr::from((destination, 0)).into());
        if ttl != 1 {
            set(1)?;
        }
        sent.map(|_| ())
    }

    /// Receives one packet, IPv4 header included.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let found = receive_from(self.socket.as_fd(), buffer)?;
            if found.interface == Some(self.index) {
                return Ok(found.length);
            }
        }
    }
}

impl AsFd for OspfSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// UDP sockets for BFD at one of our addresses: what comes to port 3784, and what is sent from a port above 49151.
#[derive(Debug)]
pub struct BfdSocket {
    listens: Socket,
    sends: Socket,
}

/// UDP port of BFD over one hop, RFC 5881 section 4; source ports begin at the second.
const BFD_PORT: u16 = 3784;
const BFD_SOURCE_PORTS: std::ops::RangeInclusive<u16> = 49_152..=65_535;

impl BfdSocket {
    /// Opens both; `address` is ours on the interface.
    pub fn new(_: &str, address: Ipv4Addr) -> io::Result<Self> {
        let socket = || -> io::Result<Socket> {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let (listens, sends) = (socket()?, socket()?);
        switch_on(listens.as_fd(), numbers::IP_RECVTTL)?;
        listens.bind(&SocketAddr::from((address, BFD_PORT)).into())?;
        sends.set_ttl_v4(255)?;
        sends.set_tos_v4(0xc0)?;
        let taken = |error: &io::Error| error.kind() == io::ErrorKind::AddrInUse;
        let mut bound = Err(io::ErrorKind::AddrInUse.into());
        for port in BFD_SOURCE_PORTS {
            bound = sends.bind(&SocketAddr::from((address, port)).into());
            if !bound.as_ref().is_err_and(taken) {
                break;
            }
        }
        bound?;
        Ok(Self { listens, sends })
    }

    /// Sends a datagram, with TTL 255.
    pub fn send(&self, destination: Ipv4Addr, payload: &[u8]) -> io::Result<()> {
        self.sends.send_to(payload, &SocketAddr::from((destination, BFD_PORT)).into()).map(drop)
    }

    /// Receives a datagram: its length, its source, its TTL.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Ipv4Addr, u8)> {
        let found = receive_from(self.listens.as_fd(), buffer)?;
        Ok((found.length, *found.source.ip(), found.ttl))
    }
}

impl AsFd for BfdSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listens.as_fd()
    }
}

/// What has come, and what the kernel says of it.
struct Message4 {
    length: usize,
    source: SocketAddrV4,
    ttl: u8,
    tos: u8,
    interface: Option<u32>,
}

fn receive_from(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Message4> {
    // SAFETY: sockaddr_in and msghdr are plain data; all zeroes is a valid value of each.
    let (mut source, mut message) =
        unsafe { (std::mem::zeroed::<libc::sockaddr_in>(), std::mem::zeroed::<libc::msghdr>()) };
    let mut part = IoSliceMut::new(buffer);
    // Room for a sockaddr_dl or an octet, with headers, aligned as those are.
    let mut control = [0u64; 16];
    message.msg_name = std::ptr::from_mut(&mut source).cast();
    message.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    // The layout of an IoSliceMut is that of an iovec.
    message.msg_iov = std::ptr::from_mut(&mut part).cast();
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as libc::socklen_t;
    // SAFETY: every pointer of the message is to memory of the length given with it, which outlives the call.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    let (mut ttl, mut tos, mut interface) = (0, 0, None);
    // SAFETY: the kernel has filled the message; the macros walk over its control data and give null at its end.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while let Some(found) = header.as_ref() {
            let data = libc::CMSG_DATA(header);
            if found.cmsg_level == libc::IPPROTO_IP {
                match u64::try_from(found.cmsg_type) {
                    Ok(numbers::IP_RECVTTL) => ttl = data.read(),
                    Ok(numbers::IP_RECVTOS) => tos = data.read(),
                    // A sockaddr_dl: its index is behind its length and family.
                    Ok(numbers::IP_RECVIF) => {
                        interface = Some(u32::from(data.add(2).cast::<u16>().read_unaligned()));
                    }
                    _ => {}
                }
            }
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
    }
    let (ip, port) = (Ipv4Addr::from(u32::from_be(source.sin_addr.s_addr)), u16::from_be(source.sin_port));
    Ok(Message4 { length, source: SocketAddrV4::new(ip, port), ttl, tos, interface })
}

/// Sends one ICMP echo request, out of `device` if one is named, and returns the socket that its answer comes to, for
/// [`receive_ping`].
pub fn send_ping(destination: Ipv4Addr, device: Option<&str>, message: &[u8]) -> io::Result<Socket> {
    if device.is_some() {
        let text = "FreeBSD sends no ping out of a named interface";
        return Err(io::Error::new(io::ErrorKind::Unsupported, text));
    }
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
    socket.send_to(message, &SocketAddr::V4(SocketAddrV4::new(destination, 0)).into())?;
    Ok(socket)
}

/// Waits for one ICMP message, at most as long as the socket's read timeout; IPv4 header included.
pub fn receive_ping(socket: &Socket, buffer: &mut [u8]) -> io::Result<usize> {
    let (length, _) = recv(socket, buffer, RecvFlags::empty())?;
    Ok(length)
}

/// The UDP socket for IKE on one of our addresses.
pub fn ike_socket(address: IpAddr, port: u16) -> io::Result<std::net::UdpSocket> {
    let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    if address.is_ipv4() {
        // For ESP in UDP.
        switch_on(socket.as_fd(), numbers::IP_RECVTOS)?;
    }
    socket.bind(&SocketAddr::new(address, port).into())?;
    Ok(socket.into())
}

/// Lets the kernel take the ESP that comes to this socket (RFC 3948), and leave IKE to it.
pub fn let_kernel_take_esp(socket: &std::net::UdpSocket) -> io::Result<()> {
    let kind = numbers::UDP_ENCAP_ESPINUDP as libc::c_int;
    set_option(socket.as_fd(), libc::IPPROTO_UDP, numbers::UDP_ENCAP, &kind.to_ne_bytes())
}

/// Lets what this socket sends and receives pass the kernel's policies by: IKE has to come through before there are SAs.
pub fn pass_policies_by(socket: &std::net::UdpSocket) -> io::Result<()> {
    let (level, option) = match socket.local_addr()?.is_ipv4() {
        true => (libc::IPPROTO_IP, numbers::IP_IPSEC_POLICY),
        false => (libc::IPPROTO_IPV6, numbers::IPV6_IPSEC_POLICY),
    };
    for direction in [1, 2] {
        let kind = numbers::IPSEC_POLICY_BYPASS as u16;
        let policy = PolicyNumbers { kind, direction, ..PolicyNumbers::default() };
        let message = Message { policy: Some(policy), ..Message::default() }.emit(Layout::FreeBsd);
        // The extension alone.
        let policy = message.get(coati_wire::pfkey::HEADER_LEN..).unwrap_or(&[]);
        set_option(socket.as_fd(), level, option, policy)?;
    }
    Ok(())
}

fn switch_on(socket: BorrowedFd<'_>, option: u64) -> io::Result<()> {
    set_option(socket, libc::IPPROTO_IP, option, &libc::c_int::to_ne_bytes(1))
}

fn set_option(socket: BorrowedFd<'_>, level: libc::c_int, option: u64, value: &[u8]) -> io::Result<()> {
    let length = libc::socklen_t::try_from(value.len()).map_err(io::Error::other)?;
    let option = libc::c_int::try_from(option).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open, and the value is as long as is said and outlives the call, which only reads it.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value.as_ptr().cast(), length) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
