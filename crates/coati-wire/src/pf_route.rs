//! Messages of the BSDs' routing sockets (route(4)), in FreeBSD's layout for 64 bits: routes of IPv4 with a gateway, by an
//! interface, or that throw packets away.
//!
//! ```text
//!  0 length  2 version  3 type  4 interface  8 flags  12 addresses  16 process  20 sequence  24 errno  …  152
//!  then socket addresses, each padded to 8 bytes: destination, gateway, netmask      (numbers in host order)
//! ```

use std::net::{IpAddr, Ipv4Addr};

use crate::WireError;
use crate::error::array;
use crate::pfkey::Layout;

/// Length of `rt_msghdr`.
pub const HEADER_LEN: usize = 152;
/// `RTM_VERSION`.
pub const VERSION: u8 = 5;

/// Types (`RTM_*`).
#[expect(missing_docs, reason = "the names of the header")]
pub mod kind {
    pub const ADD: u8 = 1;
    pub const DELETE: u8 = 2;
    pub const CHANGE: u8 = 3;
    pub const GET: u8 = 4;
}

/// Flags (`RTF_*`).
#[expect(missing_docs, reason = "the names of the header")]
pub mod flag {
    pub const UP: u32 = 0x1;
    pub const GATEWAY: u32 = 0x2;
    pub const HOST: u32 = 0x4;
    pub const STATIC: u32 = 0x800;
    pub const BLACKHOLE: u32 = 0x1000;
    pub const PROTO2: u32 = 0x4000;
    pub const PROTO1: u32 = 0x8000;
    pub const PROTO3: u32 = 0x40000;
}

/// Addresses that follow (`RTA_*`).
const DESTINATION: u32 = 1;
const GATEWAY: u32 = 2;
const NETMASK: u32 = 4;
/// Bits of `RTA_*` that there are.
const ADDRESSES: u32 = 8;
/// `AF_LINK`, and the length of a `sockaddr_dl`.
const AF_LINK: u8 = 18;
const LINK_LEN: u8 = 54;

/// Where packets go next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextHop {
    /// To this router.
    Gateway(Ipv4Addr),
    /// Out of the interface of this index.
    Interface(u16),
    /// Nowhere.
    Nowhere,
}

/// A route, in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr {
    /// One of [`kind`].
    pub kind: u8,
    /// The request's number.
    pub sequence: u32,
    /// Flags besides those that follow from the rest, such as who has made it.
    pub flags: u32,
    /// Destination network.
    pub destination: Ipv4Addr,
    /// Length of its prefix in bits.
    pub prefix_len: u8,
    /// Next hop.
    pub next_hop: NextHop,
}

/// Flags that follow from the rest.
const IMPLIED: u32 = flag::UP | flag::GATEWAY | flag::HOST | flag::BLACKHOLE;

impl Repr {
    /// Its bytes.
    pub fn emit(&self) -> Vec<u8> {
        let flags = (self.flags & !IMPLIED)
            | flag::UP
            | match self.next_hop {
                NextHop::Gateway(_) => flag::GATEWAY,
                NextHop::Interface(_) => 0,
                NextHop::Nowhere => flag::BLACKHOLE | flag::GATEWAY,
            }
            | if self.prefix_len == 32 { flag::HOST } else { 0 };
        let interface = match self.next_hop {
            NextHop::Interface(index) => index,
            _ => 0,
        };
        let mut bytes = vec![0; HEADER_LEN];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(2, &[VERSION, self.kind]);
        put(4, &interface.to_ne_bytes());
        put(8, &flags.to_ne_bytes());
        put(12, &(DESTINATION | GATEWAY | if self.prefix_len == 32 { 0 } else { NETMASK }).to_ne_bytes());
        put(20, &self.sequence.to_ne_bytes());
        push(&mut bytes, &inet(self.destination));
        match self.next_hop {
            NextHop::Gateway(gateway) => push(&mut bytes, &inet(gateway)),
            NextHop::Nowhere => push(&mut bytes, &inet(Ipv4Addr::LOCALHOST)),
            NextHop::Interface(index) => {
                let mut link = vec![0; usize::from(LINK_LEN)];
                link[..2].copy_from_slice(&[LINK_LEN, AF_LINK]);
                link[2..4].copy_from_slice(&index.to_ne_bytes());
                push(&mut bytes, &link);
            }
        }
        if self.prefix_len < 32 {
            push(&mut bytes, &inet(mask(self.prefix_len)));
        }
        let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        bytes[..2].copy_from_slice(&length.to_ne_bytes());
        bytes
    }

    /// Reads the message that `bytes` begin with: the length of it, its `errno`, and the route when it is about one of
    /// IPv4.
    pub fn parse(bytes: &[u8]) -> Result<(usize, i32, Option<Self>), WireError> {
        const WHAT: &str = "rt_msghdr";
        let length = usize::from(u16::from_ne_bytes(array(WHAT, bytes, 0)?));
        let [version, kind] = array(WHAT, bytes, 2)?;
        if version != VERSION {
            return Err(WireError::Version { what: WHAT, found: version });
        }
        let wrong = WireError::Length { what: WHAT, found: length };
        let own = bytes.get(..length).filter(|own| own.len() >= 8).ok_or(wrong)?;
        // Others have headers of their own, which are shorter.
        if !matches!(kind, kind::ADD | kind::DELETE | kind::CHANGE | kind::GET) {
            return Ok((length, 0, None));
        }
        let word = |at| array(WHAT, own, at).map(u32::from_ne_bytes);
        let (flags, addresses, sequence) = (word(8)?, word(12)?, word(20)?);
        let errno = i32::from_ne_bytes(array(WHAT, own, 24)?);
        let mut rest = own.get(HEADER_LEN..).ok_or(wrong)?;
        let (mut destination, mut gateway, mut netmask) = (None, None, None);
        for bit in (0..ADDRESSES).map(|place| 1 << place).filter(|bit| addresses & bit != 0) {
            let found = rest.first().map_or(0, |length| usize::from(*length));
            let address = rest.get(..found).ok_or(WireError::Length { what: "sockaddr", found })?;
            match bit {
                DESTINATION => destination = Some(address),
                GATEWAY => gateway = Some(address),
                NETMASK => netmask = Some(address),
                _ => {}
            }
            rest = rest.get(found.next_multiple_of(8).max(8)..).unwrap_or(&[]);
        }
        let ip = |address: &[u8]| match Layout::FreeBsd.parse_sockaddr(address) {
            Ok((IpAddr::V4(address), ..)) => Some(address),
            _ => None,
        };
        let next_hop = match gateway {
            _ if flags & flag::BLACKHOLE != 0 => Some(NextHop::Nowhere),
            Some([_, AF_LINK, low, high, ..]) => Some(NextHop::Interface(u16::from_ne_bytes([*low, *high]))),
            Some(address) => ip(address).map(NextHop::Gateway),
            None => None,
        };
        // Of a netmask zeroes at the end may be missing, and its family.
        let prefix_len = match netmask {
            None => Some(32),
            Some(mask) => {
                let mut octets = [0; 4];
                octets.iter_mut().zip(mask.get(4..).unwrap_or(&[])).for_each(|(to, from)| *to = *from);
                let bits = u32::from_be_bytes(octets);
                u8::try_from(bits.leading_ones()).ok().filter(|ones| self::mask(*ones).to_bits() == bits)
            }
        };
        let route = destination.and_then(ip).zip(next_hop).zip(prefix_len).map(
            |((destination, next_hop), prefix_len)| Self {
                kind,
                sequence,
                flags: flags & !IMPLIED,
                destination,
                prefix_len,
                next_hop,
            },
        );
        Ok((length, errno, route))
    }
}

fn mask(prefix_len: u8) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - u32::from(prefix_len.min(32))).unwrap_or(0))
}

fn inet(address: Ipv4Addr) -> Vec<u8> {
    Layout::FreeBsd.emit_sockaddr(address.into(), 0)
}

fn push(bytes: &mut Vec<u8>, address: &[u8]) {
    let end = bytes.len() + address.len().next_multiple_of(8);
    bytes.extend_from_slice(address);
    bytes.resize(end, 0);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn a_route_as_the_header_has_it() {
        let route = Repr {
            kind: kind::ADD,
            sequence: 7,
            flags: flag::PROTO1,
            destination: Ipv4Addr::new(10, 2, 0, 0),
            prefix_len: 24,
            next_hop: NextHop::Gateway(Ipv4Addr::new(203, 0, 113, 2)),
        };
        let bytes = route.emit();
        assert_eq!(bytes.len(), 152 + 3 * 16);
        assert_eq!(bytes[..16], [200, 0, 5, 1, 0, 0, 0, 0, 3, 0x80, 0, 0, 7, 0, 0, 0]);
        assert_eq!(bytes[20..24], [7, 0, 0, 0]);
        assert_eq!(bytes[152..160], [16, 2, 0, 0, 10, 2, 0, 0]);
        assert_eq!(bytes[168..176], [16, 2, 0, 0, 203, 0, 113, 2]);
        assert_eq!(bytes[184..192], [16, 2, 0, 0, 255, 255, 255, 0]);
    }

    /// The kernel cuts zeroes off netmasks, down to nothing for the default route.
    #[test]
    fn short_netmasks() {
        for (prefix_len, length) in [(24u8, 7u8), (8, 5), (0, 0)] {
            let next_hop = NextHop::Gateway(Ipv4Addr::new(203, 0, 113, 2));
            let destination = Ipv4Addr::UNSPECIFIED;
            let route = Repr { kind: kind::GET, sequence: 0, flags: 0, destination, prefix_len, next_hop };
            let mut bytes = route.emit();
            bytes[184] = length;
            assert_eq!(Repr::parse(&bytes), Ok((bytes.len(), 0, Some(route))));
        }
    }

    proptest! {
        #[test]
        fn round_trip(destination: u32, prefix_len in 0u8..33, gateway: u32, interface: u16, which in 0usize..3, sequence: u32) {
            let hops = [NextHop::Gateway(gateway.into()), NextHop::Interface(interface), NextHop::Nowhere];
            let route = Repr {
                kind: kind::ADD, sequence, flags: flag::PROTO1, destination: destination.into(), prefix_len,
                next_hop: hops[which],
            };
            let bytes = route.emit();
            prop_assert_eq!(Repr::parse(&bytes), Ok((bytes.len(), 0, Some(route))));
        }

        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..240), lengthy: bool) {
            let mut bytes = bytes;
            if lengthy && bytes.len() > 4 {
                let length = u16::try_from(bytes.len()).unwrap().to_ne_bytes();
                bytes[..4].copy_from_slice(&[length[0], length[1], VERSION, kind::ADD]);
            }
            let _ = Repr::parse(&bytes);
        }
    }
}
