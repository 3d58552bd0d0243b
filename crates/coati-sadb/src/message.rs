//! What the planes say to each other.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Direction, Lifetime, Mode, Policy, PolicyId, ReqId, Sa, SaId, SaProto, Selector, Spi};

/// From the control plane or `setkey` to whoever holds SPD and SAD.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Reserve an SPI for an inbound SA (SADB_GETSPI): a larval SA appears.
    GetSpi {
        /// Outer source: the peer.
        source: IpAddr,
        /// Outer destination: this host.
        destination: IpAddr,
        /// Protocol.
        proto: SaProto,
        /// Transport or tunnel.
        mode: Mode,
        /// The policy it is for.
        reqid: ReqId,
        /// This index and no other; 0 leaves the choice to whoever holds the SAD.
        #[serde(default)]
        spi: Spi,
    },
    /// Install an SA with keys (SADB_ADD).
    Add(Box<Sa>),
    /// Give a larval SA its keys, or a mature one new lifetimes (SADB_UPDATE).
    Update(Box<Sa>),
    /// Remove an SA (SADB_DELETE).
    Delete(SaId),
    /// Remove all SAs of a protocol from one address to another (SADB_DELETE without an SA).
    DeleteAll {
        /// Outer source.
        source: IpAddr,
        /// Outer destination.
        destination: IpAddr,
        /// Protocol.
        proto: SaProto,
    },
    /// Look an SA up (SADB_GET).
    Get(SaId),
    /// Remove all SAs, or all of a protocol (SADB_FLUSH).
    Flush(Option<SaProto>),
    /// List all SAs, or all of a protocol (SADB_DUMP).
    Dump(Option<SaProto>),
    /// Add a policy; one with the same selector and direction is a refusal (SADB_X_SPDADD).
    SpdAdd(Box<Policy>),
    /// Add a policy or replace the one with the same selector and direction (SADB_X_SPDUPDATE).
    SpdUpdate(Box<Policy>),
    /// Remove a policy by selector and direction (SADB_X_SPDDELETE).
    SpdDelete(Box<Selector>, Direction),
    /// Remove all policies (SADB_X_SPDFLUSH).
    SpdFlush,
    /// List all policies (SADB_X_SPDDUMP).
    SpdDump,
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// Done, nothing to say.
    Done,
    /// The reserved SPI.
    Spi {
        /// The index.
        spi: Spi,
    },
    /// The SAs that were asked for.
    Sas {
        /// In the order of the database.
        sas: Vec<Sa>,
    },
    /// The policies that were asked for.
    Policies {
        /// In the order of the database.
        policies: Vec<Policy>,
    },
    /// It was not done.
    Refused {
        /// Why.
        refusal: Refusal,
    },
}

/// Why a [`Request`] was not carried out; each has the `errno` that a kernel would give.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// ENOENT on an SA: nothing has that address, protocol and SPI.
    #[error("no such SA")]
    NoSa,
    /// ENOENT on a policy.
    #[error("no such policy")]
    NoPolicy,
    /// EEXIST: it is there already.
    #[error("it exists already")]
    Exists,
    /// EINVAL: what was asked makes no sense; the text says what.
    #[error("{0}")]
    Invalid(String),
    /// EOPNOTSUPP: this data plane cannot do that; the text says what can.
    #[error("{0}")]
    Unsupported(String),
    /// ENOBUFS: the table is full.
    #[error("{0}")]
    NoRoom(String),
    /// ECANCELED: nothing is wrong with it, but with another request that had to be carried out with it.
    #[error("not done, since something else of the same file cannot be done")]
    Withheld,
}

/// Keys are wanted: a packet met a policy that has no SA (SADB_ACQUIRE).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acquire {
    /// The policy that was hit.
    pub policy: PolicyId,
    /// Outer source: this host.
    pub source: IpAddr,
    /// Outer destination: the peer.
    pub destination: IpAddr,
    /// The selector of the policy, out direction: what quick mode's identities say.
    pub selector: Selector,
    /// ESP, AH or IPComp.
    pub proto: SaProto,
    /// Transport or tunnel.
    pub mode: Mode,
    /// The reqid of the outbound rule.
    pub reqid: ReqId,
}

/// A lifetime has run out (SADB_EXPIRE).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expire {
    /// Which SA.
    pub id: SaId,
    /// Its policy.
    pub reqid: ReqId,
    /// The hard limit, so that it is gone; otherwise the soft one.
    pub hard: bool,
    /// What it had done by then.
    pub current: Lifetime,
}

/// What whoever holds SPD and SAD says unasked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Notification {
    /// Keys are wanted.
    Acquire(Acquire),
    /// A lifetime has run out.
    Expire(Expire),
    /// An authentic packet in UDP has come through an SA from another port than its own: the peer's NAT has changed it.
    Moved {
        /// Which SA.
        id: SaId,
        /// The port now.
        port: u16,
    },
    /// A packet named an SPI that nobody has: the peer may have lost its state or we ours.
    UnknownSpi {
        /// Who sent it.
        source: IpAddr,
        /// To which of our addresses.
        destination: IpAddr,
        /// The index it named.
        spi: Spi,
    },
}
