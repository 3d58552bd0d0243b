//! Whose structures a message is made of. Header, extensions and most numbers are the same everywhere; socket addresses,
//! the protocols of a policy and what came late are not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{emit_sockaddr, host_u16, parse_sockaddr};
use crate::WireError;
use crate::error::{array, u16_at};

/// A kernel's PF_KEY.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// Linux's af_key, `<linux/pfkeyv2.h>`.
    Linux,
    /// FreeBSD, `<net/pfkeyv2.h>`.
    FreeBsd,
    /// NetBSD, whose structures are FreeBSD's but for priorities and large replay windows.
    NetBsd,
}

impl Layout {
    /// All of them.
    pub const ALL: [Layout; 3] = [Self::Linux, Self::FreeBsd, Self::NetBsd];

    /// Length of `sadb_x_ipsecrequest`, in bytes: with a reqid of 32 bits at 8, or one of 16 bits at 6.
    pub(super) fn request_len(self) -> usize {
        if self == Self::Linux { 16 } else { 8 }
    }

    /// `AF_INET6`; `AF_INET` is 2 everywhere.
    fn inet6(self) -> u8 {
        match self {
            Self::Linux => 10,
            Self::FreeBsd => 28,
            Self::NetBsd => 24,
        }
    }

    /// A `sockaddr_in` or `sockaddr_in6`: on Linux it begins with 16 bits of family, elsewhere with its length and 8 bits.
    pub fn emit_sockaddr(self, address: IpAddr, port: u16) -> Vec<u8> {
        let mut bytes = emit_sockaddr(address, port);
        if self != Self::Linux {
            let family = if address.is_ipv4() { 2 } else { self.inet6() };
            let length = u8::try_from(bytes.len()).unwrap_or(0);
            bytes.splice(..2, [length, family]);
        }
        bytes
    }

    /// The address and port that `bytes` begin with, and its length.
    pub fn parse_sockaddr(self, bytes: &[u8]) -> Result<(IpAddr, u16, usize), WireError> {
        if self == Self::Linux {
            return parse_sockaddr(bytes);
        }
        const WHAT: &str = "sockaddr";
        let [length, family] = array(WHAT, bytes, 0)?;
        let port = u16_at(WHAT, bytes, 2)?;
        let (address, needed) = match family {
            2 => (IpAddr::V4(Ipv4Addr::from(array::<4>(WHAT, bytes, 4)?)), 16),
            number if number == self.inet6() => {
                (IpAddr::V6(Ipv6Addr::from(array::<16>(WHAT, bytes, 8)?)), 28)
            }
            number => return Err(WireError::Value { what: "sockaddr family", found: number.into() }),
        };
        if usize::from(length) != needed {
            return Err(WireError::Length { what: WHAT, found: length.into() });
        }
        Ok((address, port, needed))
    }
}

/// One protocol that a policy wants (`sadb_x_ipsecrequest`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpsecRequest {
    /// IP protocol.
    pub proto: u16,
    /// 0 any, 1 transport, 2 tunnel.
    pub mode: u8,
    /// 0 default, 1 use, 2 require, 3 unique.
    pub level: u8,
    /// Which SAs; 16 bits but on Linux.
    pub reqid: u32,
    /// The ends of a tunnel, source first.
    pub ends: Option<(IpAddr, IpAddr)>,
}

/// Protocols of one policy that are looked at.
const MAX_REQUESTS: usize = 16;

impl IpsecRequest {
    pub(super) fn emit(&self, layout: Layout) -> Vec<u8> {
        let ends = self.ends.map_or(Vec::new(), |(source, destination)| {
            [layout.emit_sockaddr(source, 0), layout.emit_sockaddr(destination, 0)].concat()
        });
        let length = (layout.request_len() + ends.len()).next_multiple_of(8);
        let mut bytes = u16::try_from(length).unwrap_or(u16::MAX).to_ne_bytes().to_vec();
        bytes.extend_from_slice(&self.proto.to_ne_bytes());
        bytes.extend_from_slice(&[self.mode, self.level]);
        match layout {
            Layout::Linux => {
                bytes.extend_from_slice(&[0; 2]);
                bytes.extend_from_slice(&self.reqid.to_ne_bytes());
                bytes.extend_from_slice(&[0; 4]);
            }
            Layout::FreeBsd | Layout::NetBsd => {
                bytes.extend_from_slice(&u16::try_from(self.reqid).unwrap_or(0).to_ne_bytes());
            }
        }
        bytes.extend_from_slice(&ends);
        bytes.resize(length, 0);
        bytes
    }

    fn parse(layout: Layout, bytes: &[u8]) -> Result<(Self, usize), WireError> {
        const WHAT: &str = "sadb_x_ipsecrequest";
        let length = usize::from(host_u16(WHAT, bytes, 0)?);
        let wrong = WireError::Length { what: WHAT, found: length };
        let own = bytes.get(..length).ok_or(wrong)?;
        let ends = own.get(layout.request_len()..).ok_or(wrong)?;
        let ends = match ends {
            [] => None,
            _ => {
                let (source, _, next) = layout.parse_sockaddr(ends)?;
                let (destination, ..) = layout.parse_sockaddr(ends.get(next..).unwrap_or(&[]))?;
                Some((source, destination))
            }
        };
        let [mode, level] = array(WHAT, own, 4)?;
        let reqid = match layout {
            Layout::Linux => super::host_u32(WHAT, own, 8)?,
            Layout::FreeBsd | Layout::NetBsd => host_u16(WHAT, own, 6)?.into(),
        };
        Ok((Self { proto: host_u16(WHAT, own, 2)?, mode, level, reqid, ends }, length))
    }

    /// All of them; bytes that are too few for another one are padding.
    pub(super) fn parse_all(layout: Layout, bytes: &[u8]) -> Result<Vec<Self>, WireError> {
        let mut list = Vec::new();
        let mut rest = bytes;
        while rest.len() >= layout.request_len() {
            if list.len() == MAX_REQUESTS {
                return Err(WireError::TooMany { what: "sadb_x_ipsecrequest", limit: MAX_REQUESTS });
            }
            let (request, length) = Self::parse(layout, rest)?;
            list.push(request);
            rest = rest.get(length..).unwrap_or(&[]);
        }
        Ok(list)
    }
}
