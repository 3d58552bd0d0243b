//! A kernel as a home of SAs and policies: what of them is ours, what a predecessor has left over, how policies are replaced
//! without a gap, which keys are wanted and which have come to an end.
//!
//! How a kernel is spoken to, and what it can do, is somebody else's business: a [`Kernel`] is XFRM netlink (`coati-xfrm`)
//! or PF_KEY (`coati-pfkey`). What every one of them is tried with is in `tests/suite`, which their tests include.

#![forbid(unsafe_code)]

mod home;
mod policy;

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use coati_sadb::{
    AuthAlgorithm, Direction, EncAlgorithm, Lifetime, Mode, Policy, PolicyId, Refusal, ReqId, Sa, SaId,
    SaProto, Secret, Selector, Spi,
};

pub use home::{KernelHome, Leftovers};

/// What not every kernel does alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// It has policies for forwarded packets (`fwd`): an `in` policy gets its twin there, as setkey(8) makes it on Linux.
    pub forward: bool,
    /// Packets that wait for an SA are kept, and so is the way into that queue until the policy is put anew.
    pub keeps_packets: bool,
    /// A rule without a number takes SAs without a number alone.
    pub exact_reqid: bool,
}

impl Abilities {
    /// Linux, however it is spoken to.
    pub const LINUX: Self = Self { forward: true, keeps_packets: true, exact_reqid: true };
    /// The BSDs.
    pub const BSD: Self = Self { forward: false, keeps_packets: false, exact_reqid: false };
}

/// An SA of the kernel's.
#[derive(Clone, Debug)]
pub struct FoundSa {
    /// What names it.
    pub id: SaId,
    /// Whether it was made by Coati.
    pub is_own: bool,
    /// Itself, when there are words for it.
    pub sa: Option<Sa>,
}

/// A policy of the kernel's.
#[derive(Clone, Debug)]
pub struct FoundPolicy {
    /// Its number.
    pub id: PolicyId,
    /// Which packets it is about, when there are words for that. There is one policy of a direction and selector.
    pub about: Option<(Direction, Selector)>,
    /// Whether it was made by Coati.
    pub is_own: bool,
    /// Itself, when there are words for it.
    pub policy: Option<Policy>,
}

/// What a kernel says unasked.
#[derive(Clone, Debug)]
pub enum Event {
    /// An SA is there, or is otherwise than before.
    Sa {
        /// What names it.
        id: SaId,
        /// Transport or tunnel.
        mode: Mode,
        /// Whose policies it is for.
        reqid: ReqId,
        /// Whether it was made by Coati.
        is_own: bool,
    },
    /// An SA is gone.
    SaGone(IpAddr, SaProto, Spi),
    /// Some SAs are gone, and it is not said which.
    SasGone,
    /// All SAs are gone, or all of a protocol.
    SasFlushed(Option<SaProto>),
    /// An SA has come to its soft or hard limit.
    Expired {
        /// What names it.
        id: SaId,
        /// The hard one, so that it is gone.
        hard: bool,
        /// What it had done by then.
        current: Lifetime,
    },
    /// An authentic packet in UDP has come from another port than its SA's.
    Moved {
        /// The SA's destination; `None` where the kernel does not say it: the one with this SPI from this source.
        destination: Option<IpAddr>,
        /// Its protocol.
        proto: SaProto,
        /// Its index.
        spi: Spi,
        /// Where the packet came from.
        source: IpAddr,
        /// The port there.
        port: u16,
    },
    /// A packet met a policy that has no SA.
    Wanted {
        /// Outer source and destination.
        ends: (IpAddr, IpAddr),
        /// ESP, AH or IPComp.
        proto: SaProto,
        /// Which policy, when that is said.
        policy: Option<PolicyId>,
    },
    /// A policy is there, or is otherwise than before; `None` when there are no words for it.
    Policy(Option<Policy>),
    /// Policies are gone.
    PoliciesGone,
}

/// A kernel that is asked, and that is heard.
pub trait Kernel {
    /// What it does and what not.
    fn abilities(&self) -> Abilities;

    /// Has it tell from now on what it wants, and tries whether it takes SAs: whatever it lacks is said now, by its name.
    fn begin(&mut self) -> Result<(), Refusal>;

    /// All SAs. `wall` is in Unix seconds.
    fn sas(&mut self, wall: u64) -> Result<Vec<FoundSa>, Refusal>;

    /// One of them.
    fn sa(&mut self, id: &SaId, wall: u64) -> Result<Sa, Refusal>;

    /// Those policies that count for every packet, in the order they are looked at.
    fn policies(&mut self) -> Result<Vec<FoundPolicy>, Refusal>;

    /// Makes an SA, or with `replaces` gives one that is there its keys or limits.
    fn put_sa(&mut self, new: &Sa, replaces: bool) -> Result<(), Refusal>;

    /// Removes an SA. Where an SPI names one for each destination, the source does not count.
    fn delete_sa(&mut self, id: &SaId) -> Result<(), Refusal>;

    /// Removes all SAs, or all of a protocol.
    fn flush_sas(&mut self, proto: Option<SaProto>) -> Result<(), Refusal>;

    /// Makes a larval SA, with the SPI of `id` or, when that is 0, one that is free.
    fn get_spi(&mut self, id: &SaId, mode: Mode, reqid: ReqId) -> Result<Spi, Refusal>;

    /// Ends a larval SA that has no SPI, and therefore no name by which it could be removed.
    fn end_awaited(&mut self, awaited: &Sa);

    /// A number for the SAs of a `unique` policy that nobody has.
    fn free_reqid(&mut self, used: &BTreeSet<ReqId>) -> Result<ReqId, Refusal>;

    /// Makes a policy whose numbers are chosen, or with `replaces` puts it where one of the same packets is.
    fn put_policy(&mut self, new: &Policy, replaces: bool) -> Result<(), Refusal>;

    /// Removes the policy of these packets.
    fn delete_policy(&mut self, selector: &Selector, direction: Direction) -> Result<(), Refusal>;

    /// Removes the policy of this number.
    fn delete_numbered(&mut self, id: PolicyId) -> Result<(), Refusal>;

    /// What it has said unasked, some of it; `None` when there is no more. An error says that some got lost.
    fn hear(&mut self, wall: u64) -> io::Result<Option<Vec<Event>>>;

    /// Named counters.
    fn counters(&self) -> Vec<(String, u64)>;
}

/// An SPI of every protocol, for [`Kernel::get_spi`]: the first and last that may be taken.
pub fn spi_range(id: &SaId) -> (u32, u32) {
    match id.proto {
        _ if id.spi != Spi(0) => (id.spi.0, id.spi.0),
        SaProto::Ipcomp => Spi::NEGOTIATED_CPI.into_inner(),
        _ => (Spi::FIRST, u32::MAX),
    }
}

/// The name of the SA that kernels are tried with.
pub fn trial_id() -> SaId {
    let loopback = IpAddr::from([127, 0, 0, 1]);
    SaId { source: loopback, destination: loopback, proto: SaProto::Esp, spi: Spi(Spi::FIRST) }
}

/// An SA with algorithms that everybody has, and keys that everybody knows: it is made to be removed again at once.
pub fn stillborn(id: &SaId, mode: Mode, reqid: ReqId) -> Sa {
    let hard = Lifetime { packets: 1, add_seconds: 1, ..Lifetime::default() };
    let key = |length| Secret::new(vec![0x55; length]);
    let keys = (EncAlgorithm::AesCbc, key(16), AuthAlgorithm::HmacSha1, key(20));
    Sa { mode, reqid, hard, ..Sa::with_keys(*id, keys.0, keys.1, keys.2, keys.3) }
}
