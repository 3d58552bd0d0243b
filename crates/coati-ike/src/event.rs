//! What the engine tells its owner, for logs, milestones and OSPF.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use coati_sadb::{Mode, ReqId, SaId, Selector};

use crate::config::ExchangeMode;
use crate::failure::Failure;
use crate::remote_access::Settings;

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Phase 1 begins.
    Phase1Begun {
        /// How.
        exchange: ExchangeMode,
        /// Our end.
        local: SocketAddr,
        /// The peer's.
        remote: SocketAddr,
        /// Whether we began it.
        initiator: bool,
    },
    /// Phase 1 is done.
    IsakmpEstablished {
        /// Our end.
        local: SocketAddr,
        /// The peer's.
        remote: SocketAddr,
        /// Both cookies, as racoon writes them.
        spi: String,
    },
    /// The peer's certificate and signature are believed; soon the ISAKMP SA is established.
    CertificateAccepted {
        /// The peer's end.
        remote: SocketAddr,
        /// Whose certificate.
        subject: String,
        /// What is weak or out of date about it, for the log.
        warnings: Vec<String>,
    },
    /// A login has passed: the peer's with us, or ours with the peer.
    LoggedIn {
        /// Our end.
        local: SocketAddr,
        /// The peer's end.
        remote: SocketAddr,
        /// Who; what could disturb a terminal is escaped.
        user: String,
    },
    /// A road warrior has been given an address; it is free again when the ISAKMP SA is gone.
    AddressGiven {
        /// The peer's end.
        remote: SocketAddr,
        /// Who.
        user: String,
        /// Which.
        address: Ipv4Addr,
    },
    /// Phase 2 may begin: login and settings, where there have to be some, are through. Once for each ISAKMP SA.
    Ready {
        /// Our end.
        local: SocketAddr,
        /// The peer's.
        remote: SocketAddr,
        /// Both cookies.
        spi: String,
        /// The address and routes that the peer has given us: what scripts need.
        settings: Option<Box<Settings>>,
    },
    /// An ISAKMP SA is gone.
    IsakmpDeleted {
        /// Our end.
        local: SocketAddr,
        /// The peer's.
        remote: SocketAddr,
        /// Both cookies.
        spi: String,
        /// Why.
        why: EndReason,
    },
    /// Phase 2 begins.
    QuickModeBegun {
        /// Our end.
        local: SocketAddr,
        /// The peer's.
        remote: SocketAddr,
        /// Whether we began it.
        initiator: bool,
    },
    /// Both SAs of a pair are installed.
    PairEstablished {
        /// From the peer to us.
        inbound: SaId,
        /// From us to the peer.
        outbound: SaId,
        /// The policy of the outbound one.
        reqid: ReqId,
        /// What it protects, seen from here.
        selector: Selector,
        /// Whether it wraps whole packets.
        mode: Mode,
        /// Whether it takes over from another pair.
        renewal: bool,
    },
    /// A pair is gone.
    PairDeleted {
        /// From the peer to us.
        inbound: SaId,
        /// From us to the peer.
        outbound: SaId,
        /// Whether it wrapped whole packets.
        mode: Mode,
        /// Why.
        why: EndReason,
    },
    /// Dead peer detection has given up on a peer; all it had is deleted.
    PeerDead {
        /// Who.
        remote: IpAddr,
    },
    /// The peer says it has started anew; what was older is deleted.
    InitialContact {
        /// Who.
        remote: IpAddr,
    },
    /// A negotiation failed, or cannot begin.
    Failure(Box<Failure>),
}

/// Why an SA has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// Its lifetime is over.
    Expired,
    /// Another one has taken over.
    Replaced,
    /// The peer has deleted it.
    DeletedByPeer,
    /// The peer has started anew.
    PeerRestarted,
    /// The peer is dead.
    PeerDead,
    /// Somebody has asked for it here.
    Asked,
    /// A new configuration does not want it.
    Reconfigured,
    /// The login was refused, or did not come.
    LoginRefused,
    /// This daemon ends.
    Shutdown,
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "its lifetime is over",
            Self::Replaced => "another one has taken over",
            Self::DeletedByPeer => "the peer has deleted it",
            Self::PeerRestarted => "the peer has started anew",
            Self::PeerDead => "the peer is dead",
            Self::Asked => "somebody has asked for it",
            Self::Reconfigured => "the configuration has changed",
            Self::LoginRefused => "the login was refused",
            Self::Shutdown => "shutdown",
        })
    }
}
