//! SA pairs: what quick mode leaves behind, one SA in each direction.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use coati_sadb::{Mode, ReqId, Sa, SaId, Selector, Spi};

use crate::ikev1::compression::Compression;
use crate::party::Party;
use crate::table::Keyed;

/// How long a replaced pair still receives.
pub(crate) const RETIREMENT: Duration = Duration::from_secs(10);
/// The first look whether the peer uses a new pair; the next ones come after twice the time each.
pub(crate) const FIRST_LOOK: Duration = Duration::from_millis(25);
/// After the look that would take longer, a new pair is used unasked.
pub(crate) const LAST_LOOK: Duration = Duration::from_secs(2);
/// Negotiations that began from both sides at once are over within this time of each other.
pub(crate) const SIMULTANEOUS: Duration = Duration::from_secs(5);
/// A quick mode that begins so long after a pair was made is no coincidence with it.
const LATER: Duration = Duration::from_secs(2);

/// What is to be protected, as the outbound policy says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Want {
    /// Selector of the outbound policy.
    pub(crate) selector: Selector,
    /// Our outer address.
    pub(crate) local: IpAddr,
    /// The peer's.
    pub(crate) remote: IpAddr,
    pub(crate) mode: Mode,
    pub(crate) reqid_out: ReqId,
    pub(crate) reqid_in: ReqId,
    /// Whether packets are compressed before, and the reqids of that, outbound first.
    pub(crate) compression: Compression,
    pub(crate) compression_reqids: [ReqId; 2],
    /// Its policies were made for it, and go with it.
    pub(crate) generated: bool,
    /// With whom; `None` as long as that is whoever is at the address.
    pub(crate) party: Option<Party>,
}

impl Want {
    /// Where the peer speaks IKE: from where its SAs end, unless IKE speaks for another host (`support_proxy`).
    pub(crate) fn peer(&self) -> IpAddr {
        self.party.as_ref().map_or(self.remote, |party| party.address)
    }

    /// Whether both are about the same packets from and to the same host.
    pub(crate) fn is_for(&self, other: &Self) -> bool {
        let same_party = match (&self.party, &other.party) {
            (Some(one), Some(another)) => one.is(another),
            _ => true,
        };
        self.selector == other.selector && self.remote == other.remote && same_party
    }
}

/// One pair.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) want: Want,
    pub(crate) inbound: SaId,
    pub(crate) outbound: SaId,
    /// IPComp's, inbound first, where that was agreed upon.
    pub(crate) compression: Option<[SaId; 2]>,
    /// Whether we began its quick mode.
    pub(crate) initiator: bool,
    /// The ISAKMP SA it was negotiated under.
    pub(crate) phase1: u64,
    /// When that was begun.
    pub(crate) phase1_began: Instant,
    /// When its quick mode began.
    pub(crate) began: Instant,
    pub(crate) established: Instant,
    pub(crate) lifetime: Duration,
    /// Another pair has taken over: only receives still.
    pub(crate) retired: bool,
    /// The outbound SA, as long as another pair is still used in its place: a responder that gets our last message
    /// installs its inbound SA only then, and would not know what to do with packets that come before.
    pub(crate) held: Option<Box<Sa>>,
    /// No packet gets through by it: the data plane has no outbound SA of it any more, or the peer probably has not.
    pub(crate) lost: bool,
    /// Packets that had come in when DPD looked last.
    pub(crate) packets_seen: u64,
}

/// What a pair is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PairKey {
    /// What it protects.
    Selector(Selector),
    /// The peer.
    Remote(IpAddr),
    /// One of its two SAs.
    Spi(Spi),
    /// The ISAKMP SA it was negotiated under.
    Phase1(u64),
}

impl Keyed for Pair {
    type Key = PairKey;

    fn keys(&self) -> impl Iterator<Item = PairKey> {
        let (selector, remote) = (PairKey::Selector(self.want.selector), PairKey::Remote(self.want.peer()));
        let spis = [self.inbound.spi, self.outbound.spi].map(PairKey::Spi);
        [selector, remote, PairKey::Phase1(self.phase1)].into_iter().chain(spis)
    }
}

impl Pair {
    /// Whether this one gives way to `other`, which protects the same. Both ends come to the same answer: the older
    /// one does, and of two that were begun from both sides at the same time the one with the smaller SPIs.
    pub(crate) fn yields_to(&self, other: &Self) -> bool {
        let self_is_older = self.established < other.established;
        let (older, younger) = if self_is_older { (self, other) } else { (other, self) };
        let apart = younger.established.saturating_duration_since(older.established);
        // A main mode that began when the older pair was there already is no coincidence: the peer has started anew.
        let coincide = apart <= SIMULTANEOUS
            && older.initiator != younger.initiator
            && younger.phase1_began <= older.established
            && younger.began < older.established + LATER;
        if coincide { self.rank() < other.rank() } else { self_is_older }
    }

    /// The same number at both ends.
    fn rank(&self) -> (Spi, Spi) {
        let (a, b) = (self.inbound.spi, self.outbound.spi);
        if a > b { (a, b) } else { (b, a) }
    }
}
