//! Why packets were dropped, and how often: every drop has a name.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! drops {
    ($($(#[$doc:meta])* $name:ident => $text:literal,)*) => {
        /// Why a packet was dropped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Drop { $($(#[$doc])* $name,)* }

        impl Drop {
            /// All reasons.
            pub const ALL: &[Drop] = &[$(Drop::$name,)*];

            /// The name of its counter.
            pub fn name(self) -> &'static str {
                match self { $(Drop::$name => $text,)* }
            }
        }
    };
}

drops! {
    /// Not an IP packet.
    Malformed => "malformed-packet",
    /// A fragment, which no policy can judge.
    Fragment => "fragment",
    /// A policy says discard.
    PolicyDiscard => "policy-discard",
    /// It belongs to a tunnel, and no policy says how that is to be protected.
    NoPolicy => "tunnel-without-policy",
    /// It came in clear though a policy wants it protected.
    ClearInbound => "clear-where-ipsec-required",
    /// It came protected, but not as the policy wants.
    PolicyMismatch => "protected-otherwise-than-policy",
    /// Nobody has this SPI.
    UnknownSpi => "esp-unknown-spi",
    /// The ESP packet is too short or not whole blocks.
    EspLength => "esp-bad-length",
    /// The integrity check failed.
    Forged => "esp-forged",
    /// The sequence number was seen before.
    Replayed => "esp-replayed",
    /// The sequence number lies before the window.
    TooOld => "esp-before-window",
    /// The padding is wrong.
    Padding => "esp-bad-padding",
    /// Nobody has this SPI of AH.
    UnknownAhSpi => "ah-unknown-spi",
    /// The AH header is too short, or longer than the packet.
    AhLength => "ah-bad-length",
    /// The options or extension headers before AH cannot be authenticated.
    AhHeaders => "ah-bad-headers",
    /// The integrity check of AH failed.
    AhForged => "ah-forged",
    /// It came through more SAs than a policy can name.
    TooDeep => "too-many-protocols",
    /// Marked for congestion on its way, which what is inside cannot show (RFC 6040).
    Congestion => "congestion-experienced",
    /// Nobody has this compression parameter index.
    UnknownCpi => "ipcomp-unknown-cpi",
    /// What was compressed cannot be read.
    Inflate => "ipcomp-bad-data",
    /// What was compressed is larger than an IP packet may be.
    InflatesTooFar => "ipcomp-too-large",
    /// The SA has used all its sequence numbers.
    SequenceExhausted => "esp-sequence-exhausted",
    /// The SA is dead.
    DeadSa => "sa-dead",
    /// Too many packets wait for an SA.
    HoldFull => "waiting-queue-full",
    /// It waited too long for an SA.
    HoldExpired => "waited-too-long",
    /// No room to put the ESP header before it.
    Headroom => "no-headroom",
    /// Too large for its path, and its sender was told so where it can be told.
    TooBig => "too-big-for-path",
    /// A router's word about a packet that we have not sent.
    UntrustedIcmp => "icmp-about-nothing-sent",
    /// Not from or to a tunnel of ours.
    NoTunnel => "gre-unknown-tunnel",
    /// The GRE header is not what the tunnel expects.
    BadGre => "gre-bad-header",
}

/// The counters of a data plane, shared by its threads.
#[derive(Debug)]
pub struct Counters {
    drops: Vec<AtomicU64>,
    sealed: AtomicU64,
    opened: AtomicU64,
    compressed: AtomicU64,
    inflated: AtomicU64,
    clamped: AtomicU64,
    cut: AtomicU64,
    keepalives: AtomicU64,
}

impl Default for Counters {
    fn default() -> Self {
        let drops = Drop::ALL.iter().map(|_| AtomicU64::new(0)).collect();
        let [sealed, opened, compressed, inflated, clamped, cut, keepalives] =
            [const { AtomicU64::new(0) }; 7];
        Self { drops, sealed, opened, compressed, inflated, clamped, cut, keepalives }
    }
}

impl Counters {
    /// Counts a drop.
    pub fn dropped(&self, reason: Drop) {
        if let Some(counter) = self.drops.get(reason as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many packets were dropped for `reason`.
    pub fn drops(&self, reason: Drop) -> u64 {
        self.drops.get(reason as usize).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    pub(crate) fn sealed(&self) {
        self.sealed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn opened(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn compressed(&self) {
        self.compressed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn inflated(&self) {
        self.inflated.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a TCP connection whose largest segment was lowered.
    pub fn clamped(&self) {
        self.clamped.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a packet that was cut before it was sealed.
    pub fn cut(&self) {
        self.cut.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a keepalive of GRE that was answered.
    pub fn kept_alive(&self) {
        self.keepalives.fetch_add(1, Ordering::Relaxed);
    }

    /// Every counter by name.
    pub fn all(&self) -> Vec<(String, u64)> {
        let mut all = vec![
            ("esp-sealed".to_owned(), self.sealed.load(Ordering::Relaxed)),
            ("esp-opened".to_owned(), self.opened.load(Ordering::Relaxed)),
            ("ipcomp-compressed".to_owned(), self.compressed.load(Ordering::Relaxed)),
            ("ipcomp-inflated".to_owned(), self.inflated.load(Ordering::Relaxed)),
            ("tcp-mss-clamped".to_owned(), self.clamped.load(Ordering::Relaxed)),
            ("cut-before-esp".to_owned(), self.cut.load(Ordering::Relaxed)),
            ("gre-keepalives-answered".to_owned(), self.keepalives.load(Ordering::Relaxed)),
        ];
        all.extend(Drop::ALL.iter().map(|reason| (reason.name().to_owned(), self.drops(*reason))));
        all
    }
}
