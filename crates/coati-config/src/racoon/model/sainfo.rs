//! `sainfo`: what phase 2 negotiates, and for whom.

use std::net::IpAddr;

use coati_sadb::{Prefix, Upper};

use crate::diagnostic::Origin;
use crate::racoon::algorithms::{CompAlgorithm, DhGroup, EspAuth, EspCipher};
use crate::racoon::identifier::Identifier;
use crate::racoon::model::Lifetime;

/// A `sainfo` block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaInfo {
    /// Our identity of phase 2.
    pub source: SainfoId,
    /// The peer's.
    pub destination: SainfoId,
    /// `from`: who the peer has to be in phase 1.
    pub from: Option<Identifier>,
    /// `group`: the group that a logged-in user has to be in.
    pub group: Option<String>,
    /// `remoteid`: the `ph1id` of the remotes it is for; 0 is any.
    pub remoteid: u32,
    /// `pfs_group`; without it, none is asked for and any is accepted.
    pub pfs_group: Option<DhGroup>,
    /// `lifetime`.
    pub lifetime: Lifetime,
    /// `encryption_algorithm`, the first preferred.
    pub encryption: Vec<EspCipher>,
    /// `authentication_algorithm`, the first preferred.
    pub authentication: Vec<EspAuth>,
    /// `compression_algorithm`, used where the policy wants IPComp.
    pub compression: Vec<CompAlgorithm>,
    /// Where the block begins.
    pub origin: Origin,
}

impl SaInfo {
    /// How much it says about whom it is for: of those that fit, the greatest is taken.
    pub fn priority(&self) -> (u8, bool, bool, bool) {
        let named = |id: &SainfoId| u8::from(*id != SainfoId::Anonymous);
        (
            named(&self.source) + named(&self.destination),
            self.from.is_some(),
            self.group.is_some(),
            self.remoteid != 0,
        )
    }
}

/// One identity of a `sainfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SainfoId {
    /// `anonymous`: any.
    Anonymous,
    /// `clientaddr`: the address that the peer was given by mode config.
    ClientAddress,
    /// `address A …` or `subnet A/N …`.
    Network(Endpoint),
    /// `address A-B …`.
    Range {
        /// The first address.
        first: IpAddr,
        /// The last.
        last: IpAddr,
        /// Its port.
        port: EndpointPort,
        /// Its protocol.
        upper: Upper,
    },
    /// `fqdn`, `user_fqdn` or `keyid`.
    Name(Identifier),
}

impl SainfoId {
    /// The packets it is about, where that is one network; a range may be exactly one.
    pub fn network(&self) -> Option<(Prefix, Upper, EndpointPort)> {
        match *self {
            Self::Network(Endpoint { prefix, port, upper, .. }) => Some((prefix.network(), upper, port)),
            Self::Range { first, last, port, upper } => {
                network_of_range(first, last).map(|prefix| (prefix, upper, port))
            }
            _ => None,
        }
    }
}

/// The network that goes from `first` to `last`, when there is one.
fn network_of_range(first: IpAddr, last: IpAddr) -> Option<Prefix> {
    let (first_bits, last_bits, width) = match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => (first.to_bits().into(), last.to_bits().into(), 32),
        (IpAddr::V6(first), IpAddr::V6(last)) => (first.to_bits(), last.to_bits(), 128_u32),
        _ => return None,
    };
    let differing: u128 = first_bits ^ last_bits;
    let host_bits = u128::BITS - differing.leading_zeros();
    // All of the last bits are 0 in the first address and 1 in the last one.
    let is_network = first_bits & differing == 0 && differing.count_ones() == host_bits;
    let length = u8::try_from(width.checked_sub(host_bits)?).ok()?;
    Prefix::new(first, length).ok().filter(|_| is_network)
}

/// `address|subnet A[/N] [port] PROTO`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Address or network.
    pub prefix: Prefix,
    /// `subnet`: sent as a network even when it is one address (ID_IPV4_ADDR_SUBNET, RFC 2407 section 4.6.2.4).
    pub subnet: bool,
    /// Port.
    pub port: EndpointPort,
    /// Protocol.
    pub upper: Upper,
}

/// `[port]` of a `sainfo`; `None` is `[any]`.
pub type EndpointPort = Option<u16>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_are_networks() {
        for (first, last, expected) in [
            ("10.1.0.0", "10.1.255.255", Some("10.1.0.0/16")),
            ("192.0.2.1", "192.0.2.1", Some("192.0.2.1/32")),
            ("0.0.0.0", "255.255.255.255", Some("0.0.0.0/0")),
            ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", Some("2001:db8::/32")),
            ("10.1.0.0", "10.1.255.254", None),
            ("10.1.0.1", "10.1.0.2", None),
            ("10.1.0.64", "10.1.0.191", None),
            ("10.1.0.0", "2001:db8::", None),
        ] {
            let network = network_of_range(first.parse().unwrap(), last.parse().unwrap());
            assert_eq!(network, expected.map(|text| text.parse().unwrap()), "{first}-{last}");
        }
    }
}
