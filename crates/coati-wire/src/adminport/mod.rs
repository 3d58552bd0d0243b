//! racoon's admin socket: what `racoonctl` binaries have always sent and read, C structures in the machine's own byte
//! order.
//!
//! ```text
//!  0..2 length with this header  2..4 command  4..6 version (request), errno or upper length (reply)  6..8 protocol
//!  then what the command needs: two addresses with prefix lengths, a name, a login
//! ```
//!
//! One request a connection; the answer has the same command. [`Request`] reads what a client sends and trusts no length
//! in it; the answers are in [`reply`]. Layouts are those of 64-bit systems (LP64).

pub mod reply;
mod request;

pub use request::{Indexes, Login, Malformed, Proto, Request};

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Length of `admin_com`, in bytes.
pub const HEADER_LEN: usize = 8;
/// Longest request, the length field being what it is.
pub const MAX_REQUEST: usize = u16::MAX as usize;
/// Length of a `sockaddr_storage`.
const STORAGE_LEN: usize = 128;
/// In a request: the version field counts. In a reply: the length goes on in that field.
const FLAG: u16 = 0x8000;

/// Command numbers, without the flag.
pub mod command {
    /// Read the configuration again.
    pub const RELOAD_CONF: u16 = 0x0001;
    /// The timers.
    pub const SHOW_SCHED: u16 = 0x0002;
    /// What happens.
    pub const SHOW_EVT: u16 = 0x0003;
    /// The SAs.
    pub const SHOW_SA: u16 = 0x0101;
    /// Remove SAs.
    pub const FLUSH_SA: u16 = 0x0102;
    /// The state of everything (newer racoons).
    pub const STATUS: u16 = 0x0103;
    /// The same with more of it.
    pub const STATUS_VERBOSE: u16 = 0x0104;
    /// Remove the SAs between two addresses.
    pub const DELETE_SA: u16 = 0x0201;
    /// Negotiate.
    pub const ESTABLISH_SA: u16 = 0x0202;
    /// Negotiate with a login of XAUTH.
    pub const ESTABLISH_SA_PSK: u16 = 0x0203;
    /// Remove all that there is with a peer.
    pub const DELETE_ALL_SA_DST: u16 = 0x0204;
    /// Remove what a user of XAUTH has.
    pub const LOGOUT_USER: u16 = 0x0205;
    /// The peer's certificate.
    pub const GET_SA_CERT: u16 = 0x0206;
}

/// How the system lays out socket addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abi {
    /// A 16-bit family; AF_INET6 is 10.
    Linux,
    /// A length byte and a family byte; AF_INET6 is 28 (FreeBSD).
    FreeBsd,
}

impl Abi {
    /// This system's.
    pub const HOST: Self = if cfg!(target_os = "freebsd") { Self::FreeBsd } else { Self::Linux };

    fn inet6(self) -> u8 {
        match self {
            Self::Linux => 10,
            Self::FreeBsd => 28,
        }
    }
}

/// Why a request is not carried out, as the `errno` that the answer carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errno {
    /// EPERM: it cannot be done now.
    NotPermitted,
    /// ENOENT: there is no such SA, policy or section.
    NoEntry,
    /// EEXIST: it is there already, which racoonctl takes as success.
    Exists,
    /// EINVAL: the request makes no sense.
    Invalid,
    /// ENOTSUP: no such command, or not for this protocol.
    NotSupported,
}

impl Errno {
    /// Its number.
    pub fn number(self, abi: Abi) -> i16 {
        match (self, abi) {
            (Self::NotPermitted, _) => 1,
            (Self::NoEntry, _) => 2,
            (Self::Exists, _) => 17,
            (Self::Invalid, _) => 22,
            (Self::NotSupported, Abi::Linux) => 95,
            (Self::NotSupported, Abi::FreeBsd) => 45,
        }
    }
}

/// Whether a connection that begins with these bytes speaks this protocol, and not JSON: in its commands the upper byte
/// is small but for the flag, and no text has such a fourth byte. `None` as long as there are fewer than 4.
pub fn is_classic(bytes: &[u8]) -> Option<bool> {
    let command = u16::from_ne_bytes(*bytes.get(2..)?.first_chunk()?);
    Some((command & !FLAG) >> 8 < 9)
}

/// A `sockaddr_storage`; all zeros for none.
fn emit_address(address: Option<SocketAddr>, abi: Abi) -> [u8; STORAGE_LEN] {
    let mut bytes = [0; STORAGE_LEN];
    let Some(address) = address else { return bytes };
    let (length, family) = match address {
        SocketAddr::V4(_) => (16, 2),
        SocketAddr::V6(_) => (28, abi.inet6()),
    };
    match abi {
        Abi::Linux => bytes[..2].copy_from_slice(&u16::from(family).to_ne_bytes()),
        Abi::FreeBsd => bytes[..2].copy_from_slice(&[length, family]),
    }
    bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
    match address.ip() {
        IpAddr::V4(ip) => bytes[4..8].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => bytes[8..24].copy_from_slice(&ip.octets()),
    }
    bytes
}

/// The address in a `sockaddr_storage`; `None` for another family.
fn parse_address(bytes: &[u8; STORAGE_LEN], abi: Abi) -> Option<SocketAddr> {
    let [first, second, port_high, port_low, v4 @ ..] = bytes;
    let family = match abi {
        Abi::Linux => u8::try_from(u16::from_ne_bytes([*first, *second])).ok()?,
        Abi::FreeBsd => *second,
    };
    let port = u16::from_be_bytes([*port_high, *port_low]);
    let ip = match family {
        2 => IpAddr::V4(Ipv4Addr::from(*v4.first_chunk::<4>()?)),
        family if family == abi.inet6() => IpAddr::V6(Ipv6Addr::from(*bytes.get(8..)?.first_chunk::<16>()?)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn json_is_something_else() {
        for text in [&b"{\"sadb\":"[..], b"\"status\"\n", b"  {\n", b"\"is\"\n", b"\n\n\n\n", b"\t{ }\n"] {
            assert_eq!(is_classic(text), Some(false), "{text:?}");
        }
        // A login of 25 letters makes a request that begins with a quotation mark.
        let header = |length: u16, command: u16| [length.to_ne_bytes(), command.to_ne_bytes()].concat();
        assert_eq!(is_classic(&header(0x22, 0x8205)), Some(true));
        assert_eq!(is_classic(&header(0x7b, 0x0101)), Some(true));
        assert_eq!(is_classic(b"\"is"), None);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn addresses_of_both_systems() {
        let v4: SocketAddr = "192.0.2.1:500".parse().unwrap();
        let v6: SocketAddr = "[2001:db8::1]:4500".parse().unwrap();
        assert_eq!(emit_address(Some(v4), Abi::Linux)[..8], [2, 0, 1, 0xf4, 192, 0, 2, 1]);
        assert_eq!(emit_address(Some(v4), Abi::FreeBsd)[..8], [16, 2, 1, 0xf4, 192, 0, 2, 1]);
        assert_eq!(emit_address(Some(v6), Abi::Linux)[..10], [10, 0, 0x11, 0x94, 0, 0, 0, 0, 0x20, 1]);
        assert_eq!(emit_address(Some(v6), Abi::FreeBsd)[..10], [28, 28, 0x11, 0x94, 0, 0, 0, 0, 0x20, 1]);
    }

    proptest! {
        #[test]
        fn addresses_round_trip(ip: IpAddr, port: u16) {
            let address = SocketAddr::new(ip, port);
            for abi in [Abi::Linux, Abi::FreeBsd] {
                prop_assert_eq!(parse_address(&emit_address(Some(address), abi), abi), Some(address));
                prop_assert_eq!(parse_address(&emit_address(None, abi), abi), None);
            }
        }
    }
}
