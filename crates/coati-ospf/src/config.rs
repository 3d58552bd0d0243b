//! What the engine is told.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::auth::Authentication;
use crate::interface::masked;

/// A router's number. It looks like an address and is none.
pub type RouterId = Ipv4Addr;
/// An area's number; 0 is the backbone.
pub type AreaId = Ipv4Addr;

/// The backbone area.
pub const BACKBONE: AreaId = Ipv4Addr::UNSPECIFIED;

/// For all interfaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Router id.
    pub router_id: RouterId,
    /// Where this speaker is faster than the RFC.
    pub deviations: Deviations,
    /// Areas that are not as [`AreaConfig::default`].
    pub areas: BTreeMap<AreaId, AreaConfig>,
    /// What makes this router an area border router.
    pub border: BorderRule,
    /// Paths to AS boundary routers are chosen as in RFC 1583 (section 16.4.1).
    pub rfc1583: bool,
    /// Equal paths that are used at once, at the most.
    pub maximum_paths: usize,
    /// When paths are computed.
    pub spf_times: SpfTimes,
    /// When paths are computed, by the state machine of RFC 8405; instead of `spf_times` where it is set.
    pub spf_backoff: Option<SpfBackoff>,
    /// How often LSAs may come anew.
    pub lsa_times: LsaTimes,
    /// Ranges in place of the external destinations in them.
    pub summary_addresses: Vec<ExternalRange>,
    /// Whether others are kept from going through this router.
    pub stub_router: StubRouter,
    /// This router restarts gracefully, within so many seconds (RFC 3623); `None`: its end is told to all.
    pub graceful_restart: Option<u32>,
    /// Neighbours are helped through their graceful restarts (RFC 3623).
    pub graceful_restart_helper: bool,
    /// Administrative distance, which is shown; whoever puts routes into the kernel follows it.
    pub distance: u8,
}

impl Config {
    /// The usual one for this router id.
    pub fn new(router_id: RouterId) -> Self {
        Self {
            router_id,
            deviations: Deviations::default(),
            areas: BTreeMap::new(),
            border: BorderRule::default(),
            rfc1583: false,
            maximum_paths: 16,
            spf_times: SpfTimes::default(),
            spf_backoff: None,
            lsa_times: LsaTimes::default(),
            summary_addresses: Vec::new(),
            stub_router: StubRouter::default(),
            graceful_restart: None,
            graceful_restart_helper: true,
            distance: 110,
        }
    }
}

/// Waits before paths are computed. The defaults are FRR's, but that the hold time may be shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpfTimes {
    /// After a change while all has been calm.
    pub delay: Duration,
    /// Between two computations, at first; it grows by as much with each change that comes before its end.
    pub hold: Duration,
    /// Between two computations, at the most.
    pub longest: Duration,
    /// While computations are quick, [`Self::hold`] is 20 times as long as the last one took, and 10 ms at least.
    pub hold_adapts: bool,
}

impl Default for SpfTimes {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            hold: Duration::from_millis(50),
            longest: Duration::from_secs(5),
            hold_adapts: true,
        }
    }
}

/// Delays of RFC 8405's state machine. The defaults are those of its section 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpfBackoff {
    /// INITIAL_SPF_DELAY: of the first change while all has been calm.
    pub initial: Duration,
    /// SHORT_SPF_DELAY: of changes that come with it.
    pub short: Duration,
    /// LONG_SPF_DELAY: while changes go on.
    pub long: Duration,
    /// HOLDDOWN_INTERVAL: without a change for so long, all is calm.
    pub holddown: Duration,
    /// TIME_TO_LEARN_INTERVAL: changes within it are taken for one event.
    pub time_to_learn: Duration,
}

impl Default for SpfBackoff {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(50),
            short: Duration::from_millis(200),
            long: Duration::from_secs(5),
            holddown: Duration::from_secs(10),
            time_to_learn: Duration::from_millis(500),
        }
    }
}

/// Between instances of one LSA (appendix B).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LsaTimes {
    /// MinLSInterval: between two that we originate; with [`Deviations::prompt_origination`] only while it changes on
    /// and on.
    pub interval: Duration,
    /// MinLSArrival: between two that are taken; with [`Deviations::prompt_origination`] five may come at once.
    pub arrival: Duration,
}

impl Default for LsaTimes {
    fn default() -> Self {
        Self { interval: Duration::from_secs(5), arrival: Duration::from_secs(1) }
    }
}

/// Links of a stub router cost as much as links can, so that nobody goes through it who has another way (RFC 6987).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StubRouter {
    /// For ever.
    pub always: bool,
    /// After the start.
    pub on_startup: Option<Duration>,
}

/// Named deviations from RFC 2328; all are on by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deviations {
    /// A neighbour that does not know us yet gets a hello at once, not with the next periodic one.
    pub hello_at_once: bool,
    /// Unanswered database descriptions, requests and updates are repeated early, then ever later up to RxmtInterval.
    pub early_retransmission: bool,
    /// Own LSAs are originated by back-off from 50 ms to 5 s instead of once in MinLSInterval, and instances of others
    /// are taken five at once and then one a second instead of once in MinLSArrival.
    pub prompt_origination: bool,
    /// Routes through a neighbour that is dead go at once, whatever is to be between two computations of paths.
    pub loss_at_once: bool,
    /// The first hellos of an interface name a neighbour that was there before: once without it, so that it forgets an
    /// adjacency that it still has, and then with it for RxmtInterval, so that it begins the exchange at once.
    /// Who then leads is not told first that we would.
    pub remembered_neighbour: bool,
    /// Who was designated router on a network, or its backup, takes its office again when those who are remembered there
    /// are heard without one, or not at all for some tenths of a second, instead of waiting for the dead interval; and a
    /// designated router that is remembered is known by its database description.
    pub remembered_election: bool,
    /// A neighbour that was lost more than three times within two minutes of each other has to stay before it is told of:
    /// 5 s, then up to 60 s.
    pub flap_damping: bool,
    /// Where multicast gets lost on a point-to-point interface, the other end is spoken to at its own address.
    pub unicast_fallback: bool,
}

impl Default for Deviations {
    fn default() -> Self {
        Self {
            hello_at_once: true,
            early_retransmission: true,
            prompt_origination: true,
            loss_at_once: true,
            remembered_neighbour: true,
            remembered_election: true,
            flap_damping: true,
            unicast_fallback: true,
        }
    }
}

/// When a router is an area border router (RFC 3509).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BorderRule {
    /// With several areas in use, the backbone among them; FRR's default.
    #[default]
    Cisco,
    /// With several areas in use and a backbone that is configured.
    Ibm,
    /// With several areas in use (RFC 2328).
    Standard,
}

/// One area.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AreaConfig {
    /// Which LSAs it takes.
    pub kind: AreaKind,
    /// Cost of the default route that an area border router puts into a stub area.
    pub default_cost: u32,
    /// How its networks look from other areas.
    pub ranges: Vec<Range>,
    /// How an NSSA's external destinations look from other areas.
    pub nssa_ranges: Vec<ExternalRange>,
    /// It hears of networks of other areas that pass all of these.
    pub filters_in: Vec<Filter>,
    /// Other areas hear of its networks, in the backbone's case also of those behind it, that pass all of these.
    pub filters_out: Vec<Filter>,
    /// Routers at the other ends of virtual links through this area.
    pub virtual_links: BTreeMap<RouterId, InterfaceConfig>,
}

impl Default for AreaConfig {
    fn default() -> Self {
        Self {
            kind: AreaKind::Normal,
            default_cost: 1,
            ranges: Vec::new(),
            nssa_ranges: Vec::new(),
            filters_in: Vec::new(),
            filters_out: Vec::new(),
            virtual_links: BTreeMap::new(),
        }
    }
}

/// Kinds of areas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AreaKind {
    /// Takes everything.
    #[default]
    Normal,
    /// Takes no externals (section 3.6).
    Stub {
        /// Takes summaries of other areas too; else the default route only ("totally stubby").
        summaries: bool,
    },
    /// Takes no externals of others and has its own (RFC 3101).
    Nssa(Nssa),
}

impl AreaKind {
    /// Whether AS-wide LSAs go through it.
    pub fn takes_externals(self) -> bool {
        self == Self::Normal
    }

    /// Whether summaries of other areas are put into it.
    pub fn takes_summaries(self) -> bool {
        match self {
            Self::Normal => true,
            Self::Stub { summaries } => summaries,
            Self::Nssa(nssa) => nssa.summaries,
        }
    }

    /// Whether it is a not-so-stubby area.
    pub fn is_nssa(self) -> bool {
        matches!(self, Self::Nssa(_))
    }
}

/// A not-so-stubby area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nssa {
    /// Takes summaries of other areas.
    pub summaries: bool,
    /// Whether this router translates its type 7 LSAs.
    pub translate: Translate,
    /// Translated LSAs have no forwarding address.
    pub suppress_forwarding: bool,
    /// A border router puts a default route into it, with this metric and, when set, of type 2.
    pub default_route: Option<(u32, bool)>,
}

/// Who translates type 7 LSAs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Translate {
    /// The border router with the largest router id.
    #[default]
    Candidate,
    /// This one.
    Always,
    /// Not this one.
    Never,
}

/// A range of an area's networks (section C.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// Network.
    pub network: Ipv4Addr,
    /// Length of its prefix.
    pub prefix_len: u8,
    /// Whether other areas hear of it.
    pub advertise: bool,
    /// Its cost there; `None` is the largest cost of a network in it.
    pub cost: Option<u32>,
    /// What they hear instead of it.
    pub substitute: Option<(Ipv4Addr, u8)>,
}

/// One destination in place of all external ones in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExternalRange {
    /// Network.
    pub network: Ipv4Addr,
    /// Length of its prefix.
    pub prefix_len: u8,
    /// Whether it is advertised; else what lies in it is not either.
    pub advertise: bool,
    /// Its metric; `None` is made of those that lie in it.
    pub cost: Option<u32>,
    /// Its tag.
    pub tag: u32,
}

/// Which networks pass: the first rule that matches decides, without one a network does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Rules in their order.
    pub rules: Vec<FilterRule>,
}

/// One rule of a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterRule {
    /// Whether what matches passes.
    pub permit: bool,
    /// Networks in this one match,
    pub network: Ipv4Addr,
    /// with a prefix of this length,
    pub prefix_len: u8,
    /// when the lengths of their own prefixes are from the first to the second.
    pub lengths: (u8, u8),
}

impl Filter {
    /// Whether a network passes.
    pub fn permits(&self, network: Ipv4Addr, prefix_len: u8) -> bool {
        let matches = |rule: &&FilterRule| {
            prefix_len >= rule.prefix_len
                && (rule.lengths.0..=rule.lengths.1).contains(&prefix_len)
                && masked(network, rule.prefix_len) == masked(rule.network, rule.prefix_len)
        };
        self.rules.iter().find(matches).is_some_and(|rule| rule.permit)
    }
}

/// A destination outside of the AS that this router advertises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExternalRoute {
    /// Network.
    pub network: Ipv4Addr,
    /// Length of its prefix.
    pub prefix_len: u8,
    /// Whether the metric is larger than any inside (E2).
    pub type2: bool,
    /// Metric.
    pub metric: u32,
    /// Tag.
    pub tag: u32,
    /// Where it leads; advertised as forwarding address when that is on a network of OSPF.
    pub gateway: Option<Ipv4Addr>,
}

/// What kind of network an interface is on (section 1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkType {
    /// Many routers, all hear a multicast.
    Broadcast,
    /// Many routers, no multicast; neighbours are configured.
    NonBroadcast,
    /// One router at the other end.
    PointToPoint,
    /// Several routers at other ends that need not hear each other.
    PointToMultipoint,
    /// Through another area, to another border router.
    Virtual,
}

impl NetworkType {
    /// Whether a designated router is elected.
    pub fn elects(self) -> bool {
        matches!(self, Self::Broadcast | Self::NonBroadcast)
    }
}

/// A neighbour on a network without multicast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaticNeighbour {
    /// Its address.
    pub address: Ipv4Addr,
    /// Its priority, until it says itself.
    pub priority: u8,
    /// How often it gets a hello while it is silent.
    pub poll_interval: Duration,
}

/// For one interface. The defaults are FRR's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceConfig {
    /// Area.
    pub area: AreaId,
    /// `None`: point-to-point or broadcast, as the interface itself is.
    pub network: Option<NetworkType>,
    /// Cost.
    pub cost: u16,
    /// Bandwidth that is configured, in Mbit/s: the cost follows from it, and it is shown.
    pub bandwidth: Option<u32>,
    /// Router priority; 0 is never a designated router.
    pub priority: u8,
    /// HelloInterval in seconds.
    pub hello_interval: u16,
    /// RouterDeadInterval in seconds.
    pub dead_interval: u32,
    /// Hellos within a dead interval of one second, instead of a hello interval.
    pub fast_hellos: Option<u8>,
    /// RxmtInterval.
    pub retransmit_interval: Duration,
    /// InfTransDelay in seconds.
    pub transmit_delay: u16,
    /// Advertised, but nobody is spoken to.
    pub passive: bool,
    /// A neighbour's larger MTU does no harm.
    pub mtu_ignore: bool,
    /// Packets leave with TTL 255, and those that have crossed more routers than this are dropped (GTSM, RFC 5082);
    /// `None` is TTL 1, as in RFC 2328.
    pub ttl_security: Option<u8>,
    /// The network between the routers is not advertised: nobody sends packets to its addresses (RFC 6860).
    pub prefix_suppression: bool,
    /// Networks of further addresses of the interface, with the lengths of their prefixes: advertised at its cost, and
    /// nobody is spoken to there.
    pub further_networks: Vec<(Ipv4Addr, u8)>,
    /// How packets are authenticated.
    pub authentication: Authentication,
    /// Neighbours on a network without multicast.
    pub neighbours: Vec<StaticNeighbour>,
    /// Where it was configured, for explanations; may be empty.
    pub origin: String,
}

impl InterfaceConfig {
    /// Time between two hellos.
    pub(crate) fn hello_period(&self) -> Duration {
        match self.fast_hellos {
            Some(count) => Duration::from_secs(1) / u32::from(count.max(1)),
            None => Duration::from_secs(u64::from(self.hello_interval.max(1))),
        }
    }

    /// What hellos say: fast ones do not tell their interval.
    pub(crate) fn told_hello_interval(&self) -> u16 {
        if self.fast_hellos.is_some() { 0 } else { self.hello_interval }
    }

    /// After so much silence a neighbour is gone, in seconds.
    pub(crate) fn dead_seconds(&self) -> u32 {
        if self.fast_hellos.is_some() { 1 } else { self.dead_interval }
    }
}

impl Default for InterfaceConfig {
    fn default() -> Self {
        Self {
            area: BACKBONE,
            network: None,
            cost: 10,
            bandwidth: None,
            priority: 1,
            hello_interval: 10,
            dead_interval: 40,
            fast_hellos: None,
            retransmit_interval: Duration::from_secs(5),
            transmit_delay: 1,
            passive: false,
            mtu_ignore: false,
            ttl_security: None,
            prefix_suppression: false,
            further_networks: Vec::new(),
            authentication: Authentication::None,
            neighbours: Vec::new(),
            origin: String::new(),
        }
    }
}
