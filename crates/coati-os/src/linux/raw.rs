//! Raw sockets (raw(7), ipv6(7)): ESP and GRE with headers of our own, OSPF on one interface.

use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use coati_wire::xfrm;
use socket2::{Domain, Protocol, Socket, Type};

pub use crate::wire::{Received, Wire};

/// Packets that one system call carries at the most.
pub const BATCH: usize = 64;

const RECEIVE_BUFFER: usize = 4 << 20;

/// A raw socket for one IP protocol. It is never connected: a connected one would hide other peers' packets, and the
/// kernel would answer those with "protocol unreachable".
#[derive(Debug)]
pub struct RawSocket(Socket);

impl RawSocket {
    /// Opens it; packets are sent with IPv4 headers of our own, as large as the interface carries: what the kernel has been
    /// told about paths, by anybody, does not count. Needs CAP_NET_RAW.
    pub fn new(protocol: u8) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(i32::from(protocol))))?;
        socket.set_header_included_v4(true)?;
        let probe = libc::IP_PMTUDISC_PROBE.to_ne_bytes();
        set_option(socket.as_fd(), libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, &probe)?;
        Self::prepared(socket)
    }

    /// As [`Self::new`] for IPv6 and one of our addresses: what comes has no IP header, and so the socket has to say
    /// where it came to. The address may come to the interface later.
    pub fn new_v6(protocol: u8, local: Ipv6Addr) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::from(i32::from(protocol))))?;
        socket.set_header_included_v6(true)?;
        let probe = libc::IPV6_PMTUDISC_PROBE.to_ne_bytes();
        set_option(socket.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, &probe)?;
        socket.set_freebind_v6(true)?;
        socket.bind(&SocketAddr::from((local, 0)).into())?;
        tell_tos(socket.as_fd(), true)?;
        Self::prepared(socket)
    }

    /// Opens one that hears what routers say about packets that are too big: ICMP's "destination unreachable", or ICMPv6's
    /// "packet too big". Needs CAP_NET_RAW.
    pub fn for_too_big(is_v6: bool) -> io::Result<Self> {
        // From linux/icmp.h: a bit set means that the type is not for us.
        const SOL_RAW: libc::c_int = 255;
        const ICMP_FILTER: libc::c_int = 1;
        const UNREACHABLE: u32 = 3;
        const PACKET_TOO_BIG: u32 = 2;
        let socket = if is_v6 {
            let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
            let mut filter = [u32::MAX; 8];
            filter[0] &= !(1 << PACKET_TOO_BIG);
            let filter = filter.map(u32::to_ne_bytes).concat();
            set_option(socket.as_fd(), libc::IPPROTO_ICMPV6, ICMP_FILTER, &filter)?;
            socket
        } else {
            let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
            set_option(socket.as_fd(), SOL_RAW, ICMP_FILTER, &(!(1u32 << UNREACHABLE)).to_ne_bytes())?;
            socket
        };
        socket.set_nonblocking(true)?;
        Ok(Self(socket))
    }

    fn prepared(socket: Socket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        // With CAP_NET_ADMIN beyond net.core.rmem_max, whose default is some 90 packets; else as large as the system
        // allows: less is no error.
        if rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER).is_err() {
            let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        }
        let _ = socket.set_send_buffer_size(RECEIVE_BUFFER);
        Ok(Self(socket))
    }

    /// Sends whole IP packets, of the family of the socket, in as few calls as the kernel allows. Packets that cannot go (no route, too big) are
    /// skipped; the number sent and the last error are returned.
    pub fn send_batch<'a>(&self, packets: impl Iterator<Item = &'a [u8]>) -> (usize, Option<io::Error>) {
        let mut sent = 0;
        let mut failed = None;
        let mut batch: Vec<&[u8]> = Vec::with_capacity(BATCH);
        let mut packets = packets.peekable();
        while packets.peek().is_some() {
            batch.clear();
            batch.extend(packets.by_ref().take(BATCH));
            let mut rest = batch.as_slice();
            while !rest.is_empty() {
                match self.send_some(rest) {
                    Ok(count) => {
                        sent += count;
                        rest = rest.get(count..).unwrap_or(&[]);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        if let Err(error) = crate::process::wait_writable(self.0.as_fd()) {
                            return (sent, Some(error));
                        }
                    }
                    Err(error) => {
                        failed = Some(error);
                        rest = rest.get(1..).unwrap_or(&[]);
                    }
                }
            }
        }
        (sent, failed)
    }

    fn send_some(&self, packets: &[&[u8]]) -> io::Result<usize> {
        let mut addresses = [const { MaybeUninit::<libc::sockaddr_in6>::zeroed() }; BATCH];
        let mut vectors = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; BATCH];
        // SAFETY: mmsghdr is plain data; all zeroes is a valid value of it.
        let mut messages: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
        let count = packets.len().min(BATCH);
        for (((packet, address), vector), message) in
            packets.iter().zip(&mut addresses).zip(&mut vectors).zip(&mut messages)
        {
            // SAFETY: sockaddr_in6 was zeroed, which is a valid value of it.
            let length = set_destination(unsafe { address.assume_init_mut() }, packet);
            vector.iov_base = packet.as_ptr().cast_mut().cast();
            vector.iov_len = packet.len();
            message.msg_hdr.msg_name = address.as_mut_ptr().cast();
            message.msg_hdr.msg_namelen = length;
            message.msg_hdr.msg_iov = vector;
            message.msg_hdr.msg_iovlen = 1;
        }
        // SAFETY: the first `count` messages point to addresses, vectors and packets that outlive the call; the
        // kernel only reads what msg_iov points to.
        let sent = unsafe {
            libc::sendmmsg(
                self.0.as_raw_fd(),
                messages.as_mut_ptr(),
                count as libc::c_uint,
                libc::MSG_DONTWAIT,
            )
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    /// Receives up to [`BATCH`] packets into `buffers`: with an IPv4 header and without a source, or of IPv6 only what
    /// follows the headers.
    pub fn receive_batch(
        &self,
        buffers: &mut [impl AsMut<[u8]>],
        received: &mut Vec<Received>,
    ) -> io::Result<()> {
        receive_messages(self.0.as_fd(), buffers, received)?;
        for one in received {
            one.source = one.source.filter(SocketAddr::is_ipv6);
        }
        Ok(())
    }
}

/// Receives up to [`BATCH`] datagrams of a UDP socket into `buffers`, with what [`tell_tos`] asks for.
pub fn receive_datagrams(
    socket: &std::net::UdpSocket,
    buffers: &mut [impl AsMut<[u8]>],
    received: &mut Vec<Received>,
) -> io::Result<()> {
    receive_messages(socket.as_fd(), buffers, received)
}

/// Asks for the type of service, or the traffic class, of what comes to this socket.
pub fn tell_tos(socket: BorrowedFd<'_>, is_v6: bool) -> io::Result<()> {
    let on = 1i32.to_ne_bytes();
    match is_v6 {
        true => set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, &on),
        false => set_option(socket, libc::IPPROTO_IP, libc::IP_RECVTOS, &on),
    }
}

/// Room for one int with its header, aligned as the header is.
type ControlData = [u64; 8];

fn receive_messages(
    socket: BorrowedFd<'_>,
    buffers: &mut [impl AsMut<[u8]>],
    received: &mut Vec<Received>,
) -> io::Result<()> {
    received.clear();
    let mut addresses = [const { MaybeUninit::<libc::sockaddr_in6>::zeroed() }; BATCH];
    let mut vectors = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; BATCH];
    let mut controls: [ControlData; BATCH] = [[0; 8]; BATCH];
    // SAFETY: mmsghdr is plain data; all zeroes is a valid value of it.
    let mut messages: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
    let count = buffers.len().min(BATCH);
    for ((((buffer, vector), message), address), control) in
        buffers.iter_mut().zip(&mut vectors).zip(&mut messages).zip(&mut addresses).zip(&mut controls)
    {
        message.msg_hdr.msg_name = address.as_mut_ptr().cast();
        message.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
        let buffer = buffer.as_mut();
        vector.iov_base = buffer.as_mut_ptr().cast();
        vector.iov_len = buffer.len();
        message.msg_hdr.msg_iov = vector;
        message.msg_hdr.msg_iovlen = 1;
        message.msg_hdr.msg_control = control.as_mut_ptr().cast();
        message.msg_hdr.msg_controllen = size_of::<ControlData>() as _;
    }
    // SAFETY: the first `count` messages point to addresses, buffers and control data that are borrowed mutably for the
    // whole call and are as long as they say.
    let count = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            messages.as_mut_ptr(),
            count as libc::c_uint,
            libc::MSG_DONTWAIT,
            std::ptr::null_mut(),
        )
    };
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
    received.extend(messages.iter().zip(&addresses).take(count).map(|(message, address)| {
        // SAFETY: sockaddr_in6 was zeroed, and the kernel has written no more than its length; any bytes are a valid
        // value of it.
        let source = source_of(unsafe { address.assume_init_ref() });
        Received { length: message.msg_len as usize, source, tos: tos_of(&message.msg_hdr) }
    }));
    Ok(())
}

fn source_of(address: &libc::sockaddr_in6) -> Option<SocketAddr> {
    match i32::from(address.sin6_family) {
        libc::AF_INET6 => {
            let (ip, port) = (Ipv6Addr::from(address.sin6_addr.s6_addr), u16::from_be(address.sin6_port));
            Some(SocketAddrV6::new(ip, port, 0, address.sin6_scope_id).into())
        }
        libc::AF_INET => {
            // SAFETY: sockaddr_in is shorter than sockaddr_in6 and aligned no more strictly, and any bytes are a value of
            // it.
            let address = unsafe { &*std::ptr::from_ref(address).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, u16::from_be(address.sin_port)).into())
        }
        _ => None,
    }
}

/// The type of service that the kernel tells beside a message; 0 when it was not asked for.
fn tos_of(message: &libc::msghdr) -> u8 {
    // SAFETY: the kernel has filled the message; the macros walk over its control data and give null at its end.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(std::ptr::from_ref(message));
        while let Some(found) = header.as_ref() {
            match (found.cmsg_level, found.cmsg_type) {
                // One byte of IPv4, an int of IPv6.
                (libc::IPPROTO_IP, libc::IP_TOS) => return libc::CMSG_DATA(header).read(),
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                    let value = libc::CMSG_DATA(header).cast::<libc::c_int>().read_unaligned();
                    return u8::try_from(value).unwrap_or(0);
                }
                _ => {}
            }
            header = libc::CMSG_NXTHDR(std::ptr::from_ref(message), header);
        }
    }
    0
}

/// Writes the address that a packet goes to, and returns its length.
fn set_destination(address: &mut libc::sockaddr_in6, packet: &[u8]) -> libc::socklen_t {
    if packet.first().is_some_and(|first| first >> 4 == 6) {
        address.sin6_family = libc::AF_INET6 as libc::sa_family_t;
        if let Some(destination) = packet.get(24..40).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok()) {
            address.sin6_addr.s6_addr = destination;
        }
        return size_of::<libc::sockaddr_in6>() as libc::socklen_t;
    }
    // SAFETY: sockaddr_in is shorter than sockaddr_in6 and aligned no more strictly, and any bytes are a value of it.
    let address = unsafe { &mut *std::ptr::from_mut(address).cast::<libc::sockaddr_in>() };
    address.sin_family = libc::AF_INET as libc::sa_family_t;
    if let Some(destination) = packet.get(16..20).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok()) {
        address.sin_addr.s_addr = u32::from_ne_bytes(destination);
    }
    size_of::<libc::sockaddr_in>() as libc::socklen_t
}

impl AsFd for RawSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A raw socket for OSPF (protocol 89) on one interface, member of AllSPFRouters.
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
    /// Opens it on the interface of this name and index; `address` is ours there, the source of what is sent.
    pub fn new(name: &str, index: u32, address: Ipv4Addr) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(89)))?;
        socket.set_nonblocking(true)?;
        socket.bind_device(Some(name.as_bytes()))?;
        socket.join_multicast_v4_n(&ALL_SPF_ROUTERS, &socket2::InterfaceIndexOrAddress::Index(index))?;
        socket.set_multicast_loop_v4(false)?;
        socket.set_multicast_all_v4(false)?;
        socket.set_multicast_ttl_v4(1)?;
        socket.set_multicast_if_v4(&address)?;
        socket.set_ttl_v4(1)?;
        // Internetwork control, RFC 2328 appendix A.1.
        socket.set_tos_v4(0xc0)?;
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        Ok(Self { socket, index })
    }

    /// Listens to AllDRouters too, as designated router or backup, or no longer.
    pub fn set_designated(&self, designated: bool) -> io::Result<()> {
        let interface = socket2::InterfaceIndexOrAddress::Index(self.index);
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
        use std::io::Read;
        (&self.socket).read(buffer)
    }
}

impl AsFd for OspfSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// UDP sockets for BFD on one interface: what comes to port 3784, and what is sent from a port above 49151.
#[derive(Debug)]
pub struct BfdSocket {
    listens: Socket,
    sends: Socket,
}

/// UDP port of BFD over one hop, RFC 5881 section 4; source ports begin at the second.
const BFD_PORT: u16 = 3784;
const BFD_SOURCE_PORTS: std::ops::RangeInclusive<u16> = 49_152..=65_535;

impl BfdSocket {
    /// Opens both on the interface of this name, where `address` is ours.
    pub fn new(name: &str, address: Ipv4Addr) -> io::Result<Self> {
        let socket = || -> io::Result<Socket> {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
            socket.set_nonblocking(true)?;
            socket.bind_device(Some(name.as_bytes()))?;
            Ok(socket)
        };
        let (listens, sends) = (socket()?, socket()?);
        let on: libc::c_int = 1;
        // SAFETY: the option's value is an int that outlives the call, and its length is that of an int.
        let result = unsafe {
            libc::setsockopt(
                listens.as_raw_fd(),
                libc::IPPROTO_IP,
                libc::IP_RECVTTL,
                std::ptr::from_ref(&on).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        listens.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, BFD_PORT)).into())?;
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
        // SAFETY: sockaddr_in and msghdr are plain data; all zeroes is a valid value of each.
        let (mut source, mut message) =
            unsafe { (std::mem::zeroed::<libc::sockaddr_in>(), std::mem::zeroed::<libc::msghdr>()) };
        let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        // Room for one int with its header, aligned as the header is.
        let mut control = [0u64; 8];
        message.msg_name = std::ptr::from_mut(&mut source).cast();
        message.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control) as _;
        // SAFETY: every pointer of the message is to memory of the length given with it, which outlives the call.
        let length = unsafe { libc::recvmsg(self.listens.as_raw_fd(), &raw mut message, 0) };
        let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
        let mut ttl = 0;
        // SAFETY: the kernel has filled the message; the macros walk over its control data and give null at its end.
        unsafe {
            let mut header = libc::CMSG_FIRSTHDR(&raw const message);
            while let Some(found) = header.as_ref() {
                if found.cmsg_level == libc::IPPROTO_IP && found.cmsg_type == libc::IP_TTL {
                    let value = libc::CMSG_DATA(header).cast::<libc::c_int>().read_unaligned();
                    ttl = u8::try_from(value).unwrap_or(0);
                }
                header = libc::CMSG_NXTHDR(&raw const message, header);
            }
        }
        Ok((length, Ipv4Addr::from(u32::from_be(source.sin_addr.s_addr)), ttl))
    }
}

impl AsFd for BfdSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listens.as_fd()
    }
}

/// Sends one ICMP echo request, out of `device` if one is named, and returns the socket that its answer comes to, for
/// [`receive_ping`].
pub fn send_ping(destination: Ipv4Addr, device: Option<&str>, message: &[u8]) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
    if let Some(device) = device {
        socket.bind_device(Some(device.as_bytes()))?;
    }
    socket.send_to(message, &SocketAddr::V4(SocketAddrV4::new(destination, 0)).into())?;
    Ok(socket)
}

/// Waits for one ICMP message, at most as long as the socket's read timeout; IPv4 header included.
pub fn receive_ping(socket: &Socket, buffer: &mut [u8]) -> io::Result<usize> {
    use std::io::Read;
    let mut socket = socket;
    socket.read(buffer)
}

/// The UDP socket for IKE on one of our addresses.
pub fn ike_socket(address: IpAddr, port: u16) -> io::Result<std::net::UdpSocket> {
    let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    // For ESP in UDP.
    tell_tos(socket.as_fd(), address.is_ipv6())?;
    socket.bind(&SocketAddr::new(address, port).into())?;
    Ok(socket.into())
}

/// Lets the kernel take the ESP that comes to this socket (RFC 3948), and leave IKE to it.
pub fn let_kernel_take_esp(socket: &std::net::UdpSocket) -> io::Result<()> {
    const UDP_ENCAP: libc::c_int = 100;
    let kind = libc::c_int::from(xfrm::encap::ESP_IN_UDP);
    set_option(socket.as_fd(), libc::IPPROTO_UDP, UDP_ENCAP, &kind.to_ne_bytes())
}

/// Lets what this socket sends and receives pass the kernel's policies by: IKE has to come through before there are SAs.
/// Needs CAP_NET_ADMIN.
pub fn pass_policies_by(socket: &std::net::UdpSocket) -> io::Result<()> {
    const IP_XFRM_POLICY: libc::c_int = 17;
    const IPV6_XFRM_POLICY: libc::c_int = 35;
    let (level, option, family) = match socket.local_addr()?.is_ipv4() {
        true => (libc::IPPROTO_IP, IP_XFRM_POLICY, xfrm::family::INET),
        false => (libc::IPPROTO_IPV6, IPV6_XFRM_POLICY, xfrm::family::INET6),
    };
    for direction in [xfrm::direction::IN, xfrm::direction::OUT] {
        let selector = xfrm::Selector { family, ..xfrm::Selector::default() };
        let action = xfrm::action::ALLOW;
        let policy = xfrm::PolicyInfo { selector, direction, action, ..xfrm::PolicyInfo::default() };
        set_option(socket.as_fd(), level, option, &policy.bytes())?;
    }
    Ok(())
}

fn set_option(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
    value: &[u8],
) -> io::Result<()> {
    let length = libc::socklen_t::try_from(value.len()).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open, and the value is as long as is said and outlives the call, which only reads it.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value.as_ptr().cast(), length) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// An AF_PACKET socket that sees every packet of one interface, both ways, Ethernet header included.
#[derive(Debug)]
pub struct CaptureSocket(Socket);

impl CaptureSocket {
    /// Opens it on the interface of this index. Needs CAP_NET_RAW.
    pub fn new(index: u32) -> io::Result<Self> {
        let everything = libc::ETH_P_ALL as u16;
        let socket =
            Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(i32::from(everything.to_be()))))?;
        // SAFETY: sockaddr_ll is plain data; all zeroes is a valid value of it.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = everything.to_be();
        address.sll_ifindex = i32::try_from(index).unwrap_or(0);
        // SAFETY: the address is a sockaddr_ll of the length given and outlives the call.
        let result = unsafe {
            libc::bind(
                socket.as_raw_fd(),
                std::ptr::from_ref(&address).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self(socket))
    }

    /// Waits at most `timeout` for a packet; `WouldBlock` when none came.
    pub fn receive(&self, buffer: &mut [u8], timeout: std::time::Duration) -> io::Result<usize> {
        use std::io::Read;
        self.0.set_read_timeout(Some(timeout))?;
        (&self.0).read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where datagrams come from, and the marks that their headers have.
    #[test]
    fn datagrams_come_with_their_marks() {
        for local in [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)] {
            let receives = match ike_socket(local, 0) {
                Ok(socket) => socket,
                Err(error) if local.is_ipv6() && error.kind() == io::ErrorKind::AddrNotAvailable => continue,
                Err(error) => panic!("{local}: {error}"),
            };
            let domain = if local.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
            let sends = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP)).unwrap();
            sends.bind(&SocketAddr::new(local, 0).into()).unwrap();
            let own = sends.local_addr().unwrap().as_socket();
            for tos in [0u8, 0xb8, 0xbb] {
                match local.is_ipv4() {
                    true => sends.set_tos_v4(tos.into()).unwrap(),
                    false => sends.set_tclass_v6(tos.into()).unwrap(),
                }
                sends.send_to(&[tos; 5], &receives.local_addr().unwrap().into()).unwrap();
            }
            let (mut buffers, mut received) = (vec![[0; 16]; BATCH], Vec::new());
            // On loopback what is sent is there.
            receive_datagrams(&receives, &mut buffers, &mut received).unwrap();
            let marks = [0, 0xb8, 0xbb].map(|tos| Received { length: 5, source: own, tos });
            assert_eq!(received, marks, "{local}");
            assert_eq!(buffers[1][..6], [0xb8, 0xb8, 0xb8, 0xb8, 0xb8, 0]);
            let error = receive_datagrams(&receives, &mut buffers, &mut received).unwrap_err();
            assert_eq!((error.kind(), received.len()), (io::ErrorKind::WouldBlock, 0));
        }
    }
}
