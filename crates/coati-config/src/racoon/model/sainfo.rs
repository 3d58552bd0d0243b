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
