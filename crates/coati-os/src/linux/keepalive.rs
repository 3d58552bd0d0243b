//! Keepalives that come out of a GRE tunnel of the kernel's: packets of GRE that the kernel would drop, since they claim to
//! come from this host.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use socket2::{Domain, Protocol, SockFilter, Socket, Type};

/// Where an IPv4 header has the number of the protocol above, and where an IPv6 header.
const PROTOCOL_AT_V4: u32 = 9;
const PROTOCOL_AT_V6: u32 = 6;
const GRE: u32 = 47;

/// Instructions of classic BPF (linux/bpf_common.h): load a byte, skip unless equal, end.
const LOAD_BYTE: u16 = 0x30;
const SKIP_UNLESS: u16 = 0x15;
const END: u16 = 0x06;

/// Two sockets of a tunnel: what comes out of it, as long as it is GRE, and what answers.
#[derive(Debug)]
pub struct KeepaliveSocket {
    hears: Socket,
    answers: Socket,
}

impl KeepaliveSocket {
    /// Opens them for the tunnel whose interface has this index and whose own end is `local`. Needs CAP_NET_RAW.
    pub fn new(index: u32, local: IpAddr) -> io::Result<Self> {
        let (domain, ethertype, protocol_at) = match local {
            IpAddr::V4(_) => (Domain::IPV4, libc::ETH_P_IP as u16, PROTOCOL_AT_V4),
            IpAddr::V6(_) => (Domain::IPV6, libc::ETH_P_IPV6 as u16, PROTOCOL_AT_V6),
        };
        // Of no protocol, and so deaf, until the filter is there.
        let hears = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(0)))?;
        hears.set_nonblocking(true)?;
        let end = |length| SockFilter::new(END, 0, 0, length);
        hears.attach_filter(&[
            SockFilter::new(LOAD_BYTE, 0, 0, protocol_at),
            SockFilter::new(SKIP_UNLESS, 0, 1, GRE),
            end(u32::from(u16::MAX)),
            end(0),
        ])?;
        // SAFETY: sockaddr_ll is plain data; all zeroes is a valid value of it.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = ethertype.to_be();
        address.sll_ifindex = i32::try_from(index).unwrap_or(0);
        // SAFETY: the address is a sockaddr_ll of the length given and outlives the call.
        let bound = unsafe {
            libc::bind(
                hears.as_raw_fd(),
                std::ptr::from_ref(&address).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        };
        if bound < 0 {
            return Err(io::Error::last_os_error());
        }
        let answers = Socket::new(domain, Type::RAW, Some(Protocol::from(47)))?;
        answers.set_nonblocking(true)?;
        // The kernel writes the IP header, and so its policies see GRE. What comes is not for this socket.
        answers.attach_filter(&[end(0)])?;
        // The address may come to its interface later.
        match local {
            IpAddr::V4(_) => answers.set_freebind_v4(true)?,
            IpAddr::V6(_) => answers.set_freebind_v6(true)?,
        }
        answers.bind(&SocketAddr::new(local, 0).into())?;
        Ok(Self { hears, answers })
    }

    /// Receives one packet, IP header included.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        use std::io::Read;
        (&self.hears).read(buffer)
    }

    /// Sends what follows the IP header.
    pub fn answer(&self, remote: IpAddr, gre: &[u8]) -> io::Result<()> {
        self.answers.send_to(gre, &SocketAddr::new(remote, 0).into()).map(drop)
    }
}

impl AsFd for KeepaliveSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.hears.as_fd()
    }
}
