//! What a home for SAs and policies outside of this program has to do.

use crate::{Notification, Policy, Reply, Request, Selector};

/// The SPD and SAD of a kernel. The embedded data plane, which also carries packets, is driven directly. Dropped, it
/// removes the SAs and policies that were made through it, and no others.
pub trait Home {
    /// Carries requests out, in their order, and as far as it can as if at one moment: policies that are flushed and
    /// added again are there all the time. `wall` is in Unix seconds.
    fn requests(&mut self, wall: u64, requests: Vec<Request>) -> Vec<Reply>;

    /// Takes what it has said unasked since the last call; never waits.
    fn hear(&mut self, wall: u64);

    /// The next thing it has said.
    fn poll_notification(&mut self) -> Option<Notification>;

    /// What may be otherwise since the last call, whoever has changed it.
    fn take_changes(&mut self) -> Changes;

    /// The policies in force, in the order they are looked at.
    fn policies(&self) -> &[Policy];

    /// Whether packets that match `packet` could leave now: sealed, or in clear where a policy says so.
    fn is_open(&self, packet: &Selector) -> bool;

    /// Named counters.
    fn counters(&self) -> Vec<(String, u64)>;
}

/// What may be otherwise than before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Which SAs can be used.
    pub sas: bool,
    /// Policies.
    pub policies: bool,
}
