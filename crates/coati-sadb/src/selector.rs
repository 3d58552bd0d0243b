//! Which packets a policy or an SA is about (RFC 4301 section 4.4.1.1).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// An address and how many of its leading bits count.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Prefix {
    /// The address as written: host bits are kept for display, and ignored by [`Prefix::contains`].
    pub address: IpAddr,
    /// Number of leading bits that count: at most 32 or 128.
    pub length: u8,
}

/// A prefix as it comes from outside, of whatever length.
#[derive(Deserialize)]
struct Unchecked {
    address: IpAddr,
    length: u8,
}

impl TryFrom<Unchecked> for Prefix {
    type Error = PrefixError;

    fn try_from(found: Unchecked) -> Result<Self, PrefixError> {
        Self::new(found.address, found.length)
    }
}

/// Why text or numbers do not make a [`Prefix`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PrefixError {
    /// The part before the slash is no IP address.
    #[error("`{0}` is not an IP address")]
    Address(String),
    /// The part behind the slash is no number, or too large for the family.
    #[error("`{found}` is not a prefix length: 0 to {max} is allowed")]
    Length {
        /// The text or number that was given.
        found: String,
        /// The largest length of the address family.
        max: u8,
    },
}

impl Prefix {
    /// A prefix of `length` bits.
    pub fn new(address: IpAddr, length: u8) -> Result<Self, PrefixError> {
        let max = max_length(address);
        if length > max {
            return Err(PrefixError::Length { found: length.to_string(), max });
        }
        Ok(Self { address, length })
    }

    /// Just this one address.
    pub fn host(address: IpAddr) -> Self {
        Self { address, length: max_length(address) }
    }

    /// Whether only one address matches.
    pub fn is_host(&self) -> bool {
        self.length == max_length(self.address)
    }

    /// Whether `address` lies in it; never across families.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(net), IpAddr::V4(host)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.length)).unwrap_or(0);
                (net.to_bits() ^ host.to_bits()) & mask == 0
            }
            (IpAddr::V6(net), IpAddr::V6(host)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.length)).unwrap_or(0);
                (net.to_bits() ^ host.to_bits()) & mask == 0
            }
            _ => false,
        }
    }

    /// The same prefix with its host bits cleared.
    pub fn network(&self) -> Self {
        let address = match self.address {
            IpAddr::V4(a) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.length)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(a.to_bits() & mask))
            }
            IpAddr::V6(a) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.length)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(a.to_bits() & mask))
            }
        };
        Self { address, length: self.length }
    }

    /// Whether every address of `other` lies in `self`.
    pub fn covers(&self, other: &Prefix) -> bool {
        self.length <= other.length && self.contains(other.address)
    }
}

fn max_length(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    /// `192.0.2.0/24`, or an address alone for a host.
    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| PrefixError::Address(address.to_owned()))?;
        match length {
            None => Ok(Self::host(address)),
            Some(text) => {
                let wrong = || PrefixError::Length { found: text.to_owned(), max: max_length(address) };
                Self::new(address, text.parse().map_err(|_| wrong())?).map_err(|_| wrong())
            }
        }
    }
}

/// The protocol above IP that a selector names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Upper {
    /// Any protocol.
    Any,
    /// This IP protocol number, for example 47 for GRE.
    Proto(u8),
}

impl Upper {
    /// Generic routing encapsulation, IP protocol 47.
    pub const GRE: Upper = Upper::Proto(47);

    /// Whether a selector has numbers in the places of ports that are the packet's and not those of its ends: type and code
    /// of ICMP, of ICMPv6 and of Mobile IPv6 (135), or the key of GRE.
    pub fn has_numbers_of_its_own(self) -> bool {
        matches!(self, Self::Proto(1 | 47 | 58 | 135))
    }

    /// Whether a packet of `proto` matches.
    pub fn matches(self, proto: u8) -> bool {
        match self {
            Self::Any => true,
            Self::Proto(wanted) => wanted == proto,
        }
    }
}

/// A port of a selector, host order. For ICMP the source carries the type and the destination the code, for GRE the
/// source carries the upper half of the key and the destination the lower one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Port {
    /// Any port.
    #[default]
    Any,
    /// This one.
    Is(u16),
}

/// Which packets: both ends, the protocol and, where it has them, ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Selector {
    /// Where the packet comes from.
    pub source: Prefix,
    /// Source port.
    pub source_port: Port,
    /// Where it goes.
    pub destination: Prefix,
    /// Destination port.
    pub destination_port: Port,
    /// Protocol above IP.
    pub upper: Upper,
}

impl Selector {
    /// Whether a packet between these addresses, of this protocol and with these ports, is meant. A packet that
    /// shows no ports (`None`) matches only where the selector names none.
    pub fn matches(&self, source: IpAddr, destination: IpAddr, proto: u8, ports: Option<(u16, u16)>) -> bool {
        let port = |wanted: Port, seen: Option<u16>| match wanted {
            Port::Any => true,
            Port::Is(number) => seen == Some(number),
        };
        self.upper.matches(proto)
            && self.source.contains(source)
            && self.destination.contains(destination)
            && port(self.source_port, ports.map(|p| p.0))
            && port(self.destination_port, ports.map(|p| p.1))
    }

    /// The same selector for packets of the other direction.
    pub fn reversed(&self) -> Self {
        let (source_port, destination_port) = match self.upper.has_numbers_of_its_own() {
            true => (self.source_port, self.destination_port),
            false => (self.destination_port, self.source_port),
        };
        Self {
            source: self.destination,
            source_port,
            destination: self.source,
            destination_port,
            upper: self.upper,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    /// Found by fuzzing: a request over the daemon's socket with /35 made it subtract below 0.
    #[test]
    fn a_length_from_outside_is_checked() {
        let good = serde_json::to_string(&prefix("192.0.2.0/24")).unwrap();
        assert_eq!(serde_json::from_str::<Prefix>(&good).unwrap(), prefix("192.0.2.0/24"));
        let error = serde_json::from_str::<Prefix>(&good.replace("24", "35")).unwrap_err();
        assert!(error.to_string().contains("`35` is not a prefix length"), "{error}");
    }

    #[test]
    fn containment() {
        assert!(prefix("192.0.2.0/24").contains("192.0.2.77".parse().unwrap()));
        assert!(!prefix("192.0.2.0/24").contains("192.0.3.1".parse().unwrap()));
        assert!(prefix("0.0.0.0/0").contains("203.0.113.9".parse().unwrap()));
        assert!(!prefix("0.0.0.0/0").contains("2001:db8::1".parse().unwrap()));
        assert!(prefix("::/0").contains("2001:db8::1".parse().unwrap()));
        assert!(prefix("10.0.0.0/8").covers(&prefix("10.1.0.0/16")));
        assert!(!prefix("10.1.0.0/16").covers(&prefix("10.0.0.0/8")));
        assert_eq!(prefix("10.9.9.2/30").network(), prefix("10.9.9.0/30"));
    }

    #[test]
    fn what_is_turned_round() {
        let selector = |upper| Selector {
            source: prefix("192.0.2.1"),
            source_port: Port::Is(1),
            destination: prefix("192.0.2.2"),
            destination_port: Port::Is(1234),
            upper,
        };
        let ports = |upper| {
            let reversed = selector(upper).reversed();
            assert_eq!((reversed.source, reversed.destination), (prefix("192.0.2.2"), prefix("192.0.2.1")));
            (reversed.source_port, reversed.destination_port)
        };
        assert_eq!(ports(Upper::Proto(6)), (Port::Is(1234), Port::Is(1)));
        assert_eq!(ports(Upper::Any), (Port::Is(1234), Port::Is(1)));
        assert_eq!(ports(Upper::GRE), (Port::Is(1), Port::Is(1234)));
        assert_eq!(ports(Upper::Proto(1)), (Port::Is(1), Port::Is(1234)));
    }

    #[test]
    fn wrong_text_says_why() {
        assert_eq!(
            "10.0.0.0/33".parse::<Prefix>().unwrap_err().to_string(),
            "`33` is not a prefix length: 0 to 32 is allowed"
        );
        assert_eq!("ten/8".parse::<Prefix>().unwrap_err().to_string(), "`ten` is not an IP address");
    }
}
