//! What the engine tells its owner, for logs, milestones and OSPF.

use std::net::{IpAddr, SocketAddr};

use coati_sadb::{ReqId, SaId};

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Phase 1 begins.
    MainModeBegun {
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
    /// An ISAKMP SA is gone.
    IsakmpDeleted {
        /// Our end.
        local: SocketAddr,
        /// The peer's.
        remote: SocketAddr,
        /// Both cookies.
        spi: String,
        /// Why.
        why: &'static str,
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
        /// Whether it takes over from another pair.
        renewal: bool,
    },
    /// A pair is gone.
    PairDeleted {
        /// From the peer to us.
        inbound: SaId,
        /// From us to the peer.
        outbound: SaId,
        /// Why.
        why: &'static str,
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
    Failure {
        /// With whom.
        remote: IpAddr,
        /// Sentences: what happened, what decides it, what to do.
        explanation: String,
    },
}
