//! ioctls on interfaces (netintro(4), gre(4), tun(4)): each takes a structure that begins with the interface's name.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;

use coati_wire::pfkey::Layout;
use socket2::{Domain, Socket, Type};

use super::numbers;

/// `IFNAMSIZ`.
const NAME_LEN: usize = 16;

/// `struct ifreq`.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub(super) struct IfReq {
    name: [u8; NAME_LEN],
    value: [u8; 16],
}

/// `struct ifaliasreq`, for IPv4.
#[repr(C, align(4))]
struct IfAliasReq {
    name: [u8; NAME_LEN],
    address: [u8; 16],
    other: [u8; 16],
    mask: [u8; 16],
    vhid: i32,
}

const _: () = assert!(size_of::<IfReq>() as u64 == numbers::SIZE_OF_IFREQ);
const _: () = assert!(size_of::<IfAliasReq>() as u64 == numbers::SIZE_OF_IFALIASREQ);
const _: () = assert!(size_of::<libc::kevent>() as u64 == numbers::SIZE_OF_KEVENT);
const _: () = assert!(size_of::<libc::sockaddr_dl>() as u64 == numbers::SIZE_OF_SOCKADDR_DL);
const _: () = assert!(coati_wire::pf_route::HEADER_LEN as u64 == numbers::SIZE_OF_RT_MSGHDR);

fn name_of(name: &str) -> io::Result<[u8; NAME_LEN]> {
    let mut bytes = [0; NAME_LEN];
    if name.len() >= NAME_LEN {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "interface names have 15 letters at the most",
        ));
    }
    bytes.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
    Ok(bytes)
}

/// A `sockaddr_in`.
fn inet(address: Ipv4Addr) -> [u8; 16] {
    let mut bytes = [0; 16];
    let found = Layout::FreeBsd.emit_sockaddr(address.into(), 0);
    bytes.iter_mut().zip(found).for_each(|(to, from)| *to = from);
    bytes
}

/// A socket on which interfaces are changed.
#[derive(Debug)]
pub(super) struct Control(Socket);

impl Control {
    pub(super) fn new() -> io::Result<Self> {
        Socket::new(Domain::IPV4, Type::DGRAM, None).map(Self)
    }

    fn call<T>(&self, request: u64, argument: &mut T) -> io::Result<()> {
        ioctl(&self.0, request, argument)
    }

    fn request(&self, request: u64, name: &str, value: &[u8]) -> io::Result<IfReq> {
        let mut asked = IfReq { name: name_of(name)?, value: [0; 16] };
        asked.value.iter_mut().zip(value).for_each(|(to, from)| *to = *from);
        self.call(request, &mut asked)?;
        Ok(asked)
    }

    /// Makes an interface; its name says of what kind.
    pub(super) fn create(&self, name: &str) -> io::Result<()> {
        self.request(numbers::SIOCIFCREATE2, name, &[]).map(drop)
    }

    pub(super) fn destroy(&self, name: &str) -> io::Result<()> {
        self.request(numbers::SIOCIFDESTROY, name, &[]).map(drop)
    }

    pub(super) fn rename(&self, name: &str, new: &str) -> io::Result<()> {
        let new = name_of(new)?;
        self.request(numbers::SIOCSIFNAME, name, &pointer(&new)).map(drop)
    }

    pub(super) fn set_mtu(&self, name: &str, mtu: u32) -> io::Result<()> {
        self.request(numbers::SIOCSIFMTU, name, &mtu.to_ne_bytes()).map(drop)
    }

    /// Takes it up or down; the low half of the flags comes first, the other one behind it.
    pub(super) fn set_up(&self, name: &str, up: bool) -> io::Result<()> {
        let mut found = self.request(numbers::SIOCGIFFLAGS, name, &[])?;
        let [low, ..] = &mut found.value;
        let bit = u8::try_from(libc::IFF_UP).unwrap_or(1);
        *low = if up { *low | bit } else { *low & !bit };
        self.call(numbers::SIOCSIFFLAGS, &mut found)
    }

    /// The ends of a tunnel.
    pub(super) fn set_tunnel(&self, name: &str, local: Ipv4Addr, remote: Ipv4Addr) -> io::Result<()> {
        self.alias(numbers::SIOCSIFPHYADDR, name, local, remote, Ipv4Addr::UNSPECIFIED)
    }

    /// `grekey`.
    pub(super) fn set_gre_key(&self, name: &str, key: u32) -> io::Result<()> {
        self.request(numbers::GRESKEY, name, &pointer(&key)).map(drop)
    }

    pub(super) fn add_address(
        &self,
        name: &str,
        local: Ipv4Addr,
        peer: Ipv4Addr,
        mask: Ipv4Addr,
    ) -> io::Result<()> {
        self.alias(numbers::SIOCAIFADDR, name, local, peer, mask)
    }

    fn alias(
        &self,
        request: u64,
        name: &str,
        address: Ipv4Addr,
        other: Ipv4Addr,
        mask: Ipv4Addr,
    ) -> io::Result<()> {
        let (address, other, mask) = (inet(address), inet(other), inet(mask));
        self.call(request, &mut IfAliasReq { name: name_of(name)?, address, other, mask, vhid: 0 })
    }

    /// What is written to the interface for people and programs (`description`).
    pub(super) fn set_description(&self, name: &str, text: &str) -> io::Result<()> {
        let text: Vec<u8> = text.bytes().chain([0]).collect();
        self.describe(numbers::SIOCSIFDESCR, name, text.as_ptr().cast_mut(), text.len())
    }

    pub(super) fn description(&self, name: &str) -> String {
        let mut text = [0u8; 64];
        let asked = self.describe(numbers::SIOCGIFDESCR, name, text.as_mut_ptr(), text.len());
        let end = text.iter().position(|byte| *byte == 0).unwrap_or(0);
        match asked {
            Ok(()) => String::from_utf8_lossy(text.get(..end).unwrap_or(&[])).into_owned(),
            Err(_) => String::new(),
        }
    }

    /// `struct ifreq_buffer`: length, then a pointer.
    fn describe(&self, request: u64, name: &str, text: *mut u8, length: usize) -> io::Result<()> {
        let value = [length.to_ne_bytes(), text.addr().to_ne_bytes()].concat();
        // So that what the kernel writes to by this number is known to be written to.
        let _ = text.expose_provenance();
        self.request(request, name, &value).map(drop)
    }

    /// An address of IPv6 is put by ifconfig(8), whose structure for it has changed between releases.
    pub(super) fn add_address_v6(&self, name: &str, local: Ipv6Addr, prefix_len: u8) -> io::Result<()> {
        let put = std::process::Command::new("/sbin/ifconfig")
            .args([name, "inet6", &local.to_string(), "prefixlen", &prefix_len.to_string(), "alias"])
            .status()?;
        if put.success() {
            Ok(())
        } else {
            Err(io::Error::other(format!("ifconfig {name} inet6 {local}: {put}")))
        }
    }
}

/// The address of something, as an ioctl wants it.
fn pointer<T>(value: &T) -> [u8; 8] {
    std::ptr::from_ref(value).expose_provenance().to_ne_bytes()
}

/// One ioctl(2). The request has the size of its argument in it, which is checked.
pub(super) fn ioctl<T>(descriptor: &impl AsRawFd, request: u64, argument: &mut T) -> io::Result<()> {
    /// `IOCPARM_MASK`.
    const SIZE_MASK: u64 = 0x1fff;
    if size_of::<T>() as u64 != (request >> 16) & SIZE_MASK {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: the descriptor is open, and the argument is as long as the request says, and borrowed mutably.
    let result = unsafe {
        libc::ioctl(descriptor.as_raw_fd(), request as libc::c_ulong, std::ptr::from_mut(argument))
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
