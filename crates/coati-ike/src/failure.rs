//! Why a negotiation came to nothing, as facts: for people by `Display`, for programs by serde.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// One failed negotiation, or one that cannot begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// With whom.
    pub remote: IpAddr,
    /// In which phase.
    pub stage: Stage,
    /// What kind of failure it is.
    pub cause: Cause,
    /// Whose configuration or state it lies in, as far as this side can tell.
    pub side: Side,
    /// file:line:column of our directive that decides.
    pub origin: Option<String>,
    /// What we have or want.
    pub ours: Option<String>,
    /// What the peer has or wants, when it has shown it.
    pub theirs: Option<String>,
    /// Sentences: what happened, what decides it, what to do.
    pub explanation: String,
}

/// Where a negotiation was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Nothing was sent yet.
    Start,
    /// Main or aggressive mode.
    Phase1,
    /// Quick mode.
    Phase2,
    /// The SAs were negotiated, but the data plane does not take them.
    Install,
}

/// Kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Our files lack something for this peer.
    Configuration,
    /// The peer does not answer.
    NoResponse,
    /// No proposal suits both.
    NoProposal,
    /// One side does not believe the other.
    Authentication,
    /// A user name or its password is not accepted.
    Login,
    /// The identities of quick mode fit no policy.
    Policy,
    /// What the peer sent breaks the protocol.
    Protocol,
    /// The data plane refused.
    DataPlane,
    /// The peer said so and not more.
    Told,
}

/// Whose it is to change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// Proved: ours.
    Ours,
    /// Proved: the peer's.
    Theirs,
    /// The two differ; either may change.
    Either,
    /// It cannot be told from here.
    Unknown,
}

/// Two sides that do not agree, before it is known with whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mismatch {
    pub(crate) explanation: String,
    pub(crate) origin: Option<String>,
    pub(crate) ours: Option<String>,
    pub(crate) theirs: Option<String>,
}

impl<T: Into<String>> From<T> for Mismatch {
    fn from(explanation: T) -> Self {
        Self { explanation: explanation.into(), ..Self::default() }
    }
}

impl Failure {
    pub(crate) fn new(remote: IpAddr, stage: Stage, cause: Cause, what: impl Into<Mismatch>) -> Self {
        let Mismatch { explanation, origin, ours, theirs } = what.into();
        let side = match cause {
            Cause::Configuration | Cause::DataPlane => Side::Ours,
            Cause::Protocol => Side::Theirs,
            Cause::NoProposal | Cause::Authentication | Cause::Login | Cause::Policy => Side::Either,
            Cause::NoResponse | Cause::Told => Side::Unknown,
        };
        Self { remote, stage, cause, side, origin, ours, theirs, explanation }
    }

    /// Names the directive that decides.
    pub(crate) fn at(mut self, origin: &str) -> Self {
        self.origin = (!origin.is_empty()).then(|| origin.to_owned());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.remote, self.explanation)
    }
}
