//! What the commands (`coati status`, `setkey`, `racoonctl`, `coati show`) say to a running daemon and hear back:
//! one JSON value a line over a Unix stream socket that only its owner may open.

use serde::{Deserialize, Serialize};

/// A question or order for the daemon.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdminRequest {
    /// Pass this on to whoever holds SPD and SAD, as `setkey` does.
    Sadb(coati_sadb::Request),
    /// The ISAKMP SAs, as `racoonctl show-sa isakmp` lists them.
    Isakmp,
    /// The whole chain at a glance.
    Status,
    /// A `show` command of the routing daemon, word by word: `["ip", "ospf", "neighbor", "json"]`.
    Show(Vec<String>),
    /// From now on send every PF_KEY message seen, one a line (`setkey -x`).
    Monitor,
}

/// The daemon's answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdminReply {
    /// Answer to [`AdminRequest::Sadb`].
    Sadb(coati_sadb::Reply),
    /// Answer to [`AdminRequest::Isakmp`].
    Isakmp(Vec<IsakmpStatus>),
    /// Answer to [`AdminRequest::Status`].
    Status(Box<Status>),
    /// Text to print as it is.
    Text(String),
    /// One PF_KEY message of [`AdminRequest::Monitor`].
    Monitor(Box<MonitorLine>),
    /// The request could not be carried out; a sentence says why.
    Error(String),
}

/// A PF_KEY message as `setkey -x` shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MonitorLine {
    /// Somebody asked.
    Request(coati_sadb::Request),
    /// The data plane volunteered.
    Notification(coati_sadb::Notification),
}

/// One ISAKMP SA.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IsakmpStatus {
    /// Our address and port.
    pub local: std::net::SocketAddr,
    /// The peer's address and port.
    pub remote: std::net::SocketAddr,
    /// Initiator's cookie, as 16 hex digits.
    pub initiator_cookie: String,
    /// Responder's cookie.
    pub responder_cookie: String,
    /// Phase 1 state number of racoon: 9 is established, 10 dying.
    pub state: u8,
    /// Whether we initiated it.
    pub initiator: bool,
    /// ISAKMP version byte, 0x10 for 1.0.
    pub version: u8,
    /// Exchange type: 2 is main mode.
    pub exchange: u8,
    /// When it was established, Unix seconds; 0 when it is not yet.
    pub created: u64,
    /// Phase 2 negotiations and SA pairs it carries.
    pub phase2: usize,
}

/// The chain IKE, SA, tunnel, neighbour, routes at a glance.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Status {
    /// Version of the daemon.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// When it started, Unix microseconds.
    pub started: u64,
    /// ISAKMP SAs.
    pub isakmp: Vec<IsakmpStatus>,
    /// Tunnels.
    pub tunnels: Vec<TunnelStatus>,
    /// OSPF neighbours.
    pub neighbours: Vec<NeighbourStatus>,
    /// Routes that OSPF gave to the kernel.
    pub routes: Vec<RouteStatus>,
    /// What happened when, first time each.
    pub milestones: Vec<MilestoneStatus>,
    /// The last failed negotiation of each peer, explained.
    pub failures: Vec<String>,
    /// What OSPF found wrong, explained.
    pub problems: Vec<String>,
    /// Named counters of the data plane, zero ones left out.
    pub counters: Vec<(String, u64)>,
}

/// One GRE tunnel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TunnelStatus {
    /// Interface name.
    pub name: String,
    /// Outer address of this side.
    pub local: std::net::IpAddr,
    /// Outer address of the other side.
    pub remote: std::net::IpAddr,
    /// Inner MTU in bytes.
    pub mtu: u32,
    /// SPIs of the inbound SA in use, hexadecimal, with state.
    pub inbound: Vec<String>,
    /// SPIs of the outbound SA in use.
    pub outbound: Vec<String>,
    /// Whether a usable outbound SA is there, so that packets go.
    pub up: bool,
}

/// One OSPF neighbour.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NeighbourStatus {
    /// Its router id.
    pub router_id: String,
    /// Its address.
    pub address: String,
    /// Our interface.
    pub interface: String,
    /// RFC 2328 state, `Full`.
    pub state: String,
}

/// One route that OSPF gave to the kernel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RouteStatus {
    /// Destination.
    pub prefix: String,
    /// Next hop, or none when directly attached.
    pub via: Option<String>,
    /// Interface.
    pub interface: String,
    /// Cost.
    pub metric: u32,
}

/// The first time something happened.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MilestoneStatus {
    /// What.
    pub what: Milestone,
    /// Unix microseconds.
    pub at: u64,
}

/// The links of the chain in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Milestone {
    /// A packet met a policy without an SA and waits.
    FirstPacket,
    /// Phase 1 began.
    MainMode,
    /// Phase 1 is done.
    IsakmpSa,
    /// Phase 2 began.
    QuickMode,
    /// Both SAs of a pair are mature.
    SaPair,
    /// The tunnel carries packets.
    TunnelUp,
    /// The first packet came out of the tunnel.
    FirstInbound,
    /// An OSPF neighbour is Full.
    OspfFull,
    /// OSPF's routes are in the kernel.
    Routes,
}

impl Milestone {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::FirstPacket => "first packet waits for an SA",
            Self::MainMode => "IKE main mode",
            Self::IsakmpSa => "ISAKMP SA established",
            Self::QuickMode => "quick mode",
            Self::SaPair => "ESP SA pair mature",
            Self::TunnelUp => "GRE tunnel up",
            Self::FirstInbound => "first packet out of the tunnel",
            Self::OspfFull => "OSPF neighbour Full",
            Self::Routes => "routes in the kernel",
        }
    }
}

impl Status {
    /// When `what` happened first, in Unix microseconds.
    pub fn reached(&self, what: Milestone) -> Option<u64> {
        self.milestones.iter().find(|milestone| milestone.what == what).map(|milestone| milestone.at)
    }
}
