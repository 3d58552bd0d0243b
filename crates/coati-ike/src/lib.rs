//! The IKE engine, sans-IO: main mode, quick mode, informational exchanges, lifetimes.
//!
//! [`Engine`] has no socket, no clock and no thread. Whoever owns it hands in datagrams, what the data plane says
//! (ACQUIRE, EXPIRE, answers) and the time, and carries away datagrams, requests for the data plane, jobs and events:
//!
//! ```text
//!   handle_input ──┐                ┌── poll_request    first: SAs are there before the peer hears of them
//!   handle_acquire ┤                ├── poll_transmit
//!   handle_expire ─┼──▶  Engine  ───┼── poll_job        exponentiations, for another thread
//!   handle_reply ──┤                ├── poll_event
//!   handle_job ────┘                └── next_timeout, then handle_timeout
//! ```
//!
//! What IKEv2 will share lies in this folder (configuration, timers, jobs, SA pairs); what is IKEv1's own is in
//! [`ikev1`].

#![forbid(unsafe_code)]

mod config;
mod core;
mod credentials;
mod engine;
mod event;
mod failure;
pub mod ikev1;
mod job;
mod pair;
mod party;
mod remote_access;
mod retransmission;
mod table;

pub use config::{
    AuthMethod, Config, Dpd, EndpointId, ExchangeMode, Fragmentation, GeneratePolicy, Identifier, IkeCipher,
    IkeProposal, NatTraversal, Patience, Peer, PreSharedKey, ProposalCheck, SaInfo,
};
pub use core::{RequestTag, Transmit};
pub use credentials::{Credentials, OwnCertificate};
pub use engine::{Engine, ExposedKey, IsakmpSa, NotDone, PairInfo, TimerInfo};
pub use event::{EndReason, Event};
pub use failure::{Cause, Failure, Side, Stage};
pub use job::{Job, JobDone};
pub use remote_access::{LoginRequest, Logins, ModeConfig, Network, Settings, Split, User};

#[cfg(test)]
mod tests;
