//! What the commands (`coati status`, `setkey`, `racoonctl`, `coati show`) say to a running daemon and hear back:
//! one JSON value a line over a Unix stream socket that only its owner may open.

use std::net::{IpAddr, SocketAddr};

use coati_sadb::{SaProto, Secret, Selector};
use serde::{Deserialize, Serialize};

/// A question or order for the daemon.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdminRequest {
    /// Pass this on to whoever holds SPD and SAD, as `setkey` does.
    Sadb(coati_sadb::Request),
    /// Pass all of these on, as if at one moment: a file of `setkey`, in which policies are flushed and added again.
    SadbFile(Vec<coati_sadb::Request>),
    /// The ISAKMP SAs, as `racoonctl show-sa isakmp` lists them.
    Isakmp,
    /// The whole chain at a glance.
    Status,
    /// A `show` command of the routing daemon, word by word: `["ip", "ospf", "neighbor", "json"]`.
    Show(Vec<String>),
    /// Another command of the routing daemon, word by word: `["clear", "ip", "ospf", "process"]`.
    Order(Vec<String>),
    /// From now on send every PF_KEY message seen, one a line (`setkey -x`).
    Monitor,
    /// The peers with their SAs and their last failures.
    Ike,
    /// Read the files again and apply what changed, as on SIGHUP.
    Reload,
    /// IKE's timers.
    Schedule,
    /// From now on send what happens in IKE, one a line (`racoonctl show-event`).
    Events,
    /// Remove all ISAKMP SAs, telling the peers.
    FlushIsakmp,
    /// Remove the ISAKMP SAs between two addresses and the SA pairs under them; port 0 is any.
    DeleteIsakmp {
        /// Our end.
        local: SocketAddr,
        /// The peer's.
        remote: SocketAddr,
    },
    /// Remove the SA pairs of the policy with this outbound selector, telling the peer.
    DeletePair {
        /// Of this protocol.
        proto: SaProto,
        /// Selector.
        selector: Selector,
    },
    /// Negotiate without waiting for a packet.
    Establish(Establish),
    /// Remove all that there is with this peer.
    Disconnect(IpAddr),
    /// Remove what this user of XAUTH has.
    LogoutUser(String),
    /// The certificate that the peer of an ISAKMP SA has shown.
    Certificate {
        /// Our end; port 0 is any.
        local: SocketAddr,
        /// The peer's.
        remote: SocketAddr,
    },
}

/// What to negotiate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Establish {
    /// An ISAKMP SA.
    Isakmp {
        /// From this address.
        local: IpAddr,
        /// With this one.
        remote: IpAddr,
        /// By the `remote "name"` section of this name.
        name: Option<String>,
        /// Saying this to XAUTH.
        login: Option<Login>,
    },
    /// An SA pair for the policy with this outbound selector.
    Pair {
        /// Of this protocol.
        proto: SaProto,
        /// Selector.
        selector: Selector,
    },
}

/// A user of XAUTH.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// The name.
    pub name: String,
    /// The password.
    pub password: Secret,
}

/// The daemon's answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdminReply {
    /// Answer to [`AdminRequest::Sadb`].
    Sadb(coati_sadb::Reply),
    /// Answer to [`AdminRequest::SadbFile`], in its order.
    SadbFile(Vec<coati_sadb::Reply>),
    /// Answer to [`AdminRequest::Isakmp`].
    Isakmp(Vec<IsakmpStatus>),
    /// Answer to [`AdminRequest::Status`].
    Status(Box<Status>),
    /// Text to print as it is.
    Text(String),
    /// One PF_KEY message of [`AdminRequest::Monitor`].
    Monitor(Box<MonitorLine>),
    /// It is done, nothing to say.
    Done,
    /// Answer to [`AdminRequest::Ike`].
    Ike(Vec<PeerStatus>),
    /// Answer to [`AdminRequest::Schedule`].
    Schedule(Vec<TimerStatus>),
    /// One event of [`AdminRequest::Events`].
    Event(Box<EventStatus>),
    /// Answer to [`AdminRequest::Certificate`], DER.
    Certificate(Vec<u8>),
    /// The request was understood and is not carried out.
    Refused(Refused),
    /// The request could not be carried out; a sentence says why.
    Error(String),
}

/// Why something is not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// For programs.
    pub cause: Cause,
    /// For people: what is the matter, and what to do.
    pub text: String,
}

/// Kinds of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// It is there already.
    Exists,
    /// There is no such SA, policy, section or user.
    NotFound,
    /// This daemon cannot do it.
    Unsupported,
    /// The request makes no sense.
    Invalid,
    /// It was tried and failed.
    Failed,
}

impl Refused {
    /// One of this kind.
    pub fn new(cause: Cause, text: impl Into<String>) -> Self {
        Self { cause, text: text.into() }
    }
}

/// One peer of IKE.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Its address.
    pub remote: IpAddr,
    /// The `remote` section that is about it: file:line:column; empty when none is.
    pub section: String,
    /// Its ISAKMP SAs.
    pub isakmp: Vec<IsakmpStatus>,
    /// SA pairs with it, one line each: inbound and outbound SPI, what they protect.
    pub pairs: Vec<PairStatus>,
    /// The last failed negotiation, when nothing has succeeded since.
    pub failure: Option<coati_ike::Failure>,
}

/// One SA pair.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PairStatus {
    /// `esp`, `ah` or `ipcomp`.
    pub proto: String,
    /// `transport` or `tunnel`.
    pub mode: String,
    /// SPIs of the inbound SAs.
    pub inbound: Vec<String>,
    /// SPIs of the outbound SAs.
    pub outbound: Vec<String>,
    /// Encryption and integrity in setkey's words.
    pub algorithms: String,
    /// Seconds until the last of them ends; `None` without a limit.
    pub expires_in: Option<u64>,
    /// Bytes received and sent.
    pub bytes: (u64, u64),
}

/// One timer of IKE.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimerStatus {
    /// Its number.
    pub id: u64,
    /// What it is for.
    pub what: String,
    /// Seconds between setting and firing.
    pub tick: u64,
    /// When it fires, in seconds since the daemon started.
    pub fires: u64,
    /// When it was set, Unix seconds.
    pub created: u64,
}

/// Something that happened in IKE.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventStatus {
    /// What.
    pub kind: EventKind,
    /// When, Unix seconds.
    pub at: u64,
    /// Our end of phase 1.
    pub local: Option<SocketAddr>,
    /// The peer's.
    pub remote: Option<SocketAddr>,
    /// The address that mode configuration gave us.
    pub address: Option<IpAddr>,
    /// The banner that came with it.
    pub banner: Option<String>,
    /// Why, as a sentence; empty when there is nothing to explain.
    pub why: String,
}

/// Kinds of events, with racoon's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// The daemon ends.
    Quit,
    /// An ISAKMP SA is there.
    Phase1Up,
    /// An ISAKMP SA is gone.
    Phase1Down,
    /// The peer does not answer.
    Phase1NoResponse,
    /// The peers have no proposal in common.
    Phase1NoProposal,
    /// The peer is not who it has to be, or keys differ.
    Phase1AuthFailed,
    /// Dead peer detection has given up on the peer.
    Phase1DpdTimeout,
    /// The peer has deleted the ISAKMP SA.
    Phase1PeerDeleted,
    /// Mode configuration is done, or is not wanted.
    Phase1ModeCfg,
    /// XAUTH has succeeded.
    XauthSuccess,
    /// XAUTH has failed.
    XauthFailed,
    /// Phase 2 found no ISAKMP SA.
    Phase2NoPhase1,
    /// An SA pair is there.
    Phase2Up,
    /// An SA pair is gone.
    Phase2Down,
    /// The peer does not answer in phase 2.
    Phase2NoResponse,
}

impl EventKind {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Quit,
        Self::Phase1Up,
        Self::Phase1Down,
        Self::Phase1NoResponse,
        Self::Phase1NoProposal,
        Self::Phase1AuthFailed,
        Self::Phase1DpdTimeout,
        Self::Phase1PeerDeleted,
        Self::Phase1ModeCfg,
        Self::XauthSuccess,
        Self::XauthFailed,
        Self::Phase2NoPhase1,
        Self::Phase2Up,
        Self::Phase2Down,
        Self::Phase2NoResponse,
    ];

    /// racoon's number.
    pub fn number(self) -> u32 {
        match self {
            Self::Quit => 0x001,
            Self::Phase1Up => 0x100,
            Self::Phase1Down => 0x101,
            Self::Phase1NoResponse => 0x102,
            Self::Phase1NoProposal => 0x103,
            Self::Phase1AuthFailed => 0x104,
            Self::Phase1DpdTimeout => 0x105,
            Self::Phase1PeerDeleted => 0x106,
            Self::Phase1ModeCfg => 0x107,
            Self::XauthSuccess => 0x108,
            Self::XauthFailed => 0x109,
            Self::Phase2NoPhase1 => 0x200,
            Self::Phase2Up => 0x201,
            Self::Phase2Down => 0x202,
            Self::Phase2NoResponse => 0x203,
        }
    }

    /// racoonctl's words; it has none for a deletion by the peer.
    pub fn text(self) -> Option<&'static str> {
        Some(match self {
            Self::Quit => "Racoon terminated",
            Self::Phase1Up => "Phase 1 established",
            Self::Phase1Down => "Phase 1 deleted",
            Self::Phase1NoResponse => "Phase 1 error: peer not responding",
            Self::Phase1NoProposal => "Phase 1 error: no proposal chosen",
            Self::Phase1AuthFailed => "Phase 1 error: authentication failed (bad certificate?)",
            Self::Phase1DpdTimeout => "Phase 1 error: dead peer detected",
            Self::Phase1PeerDeleted => return None,
            Self::Phase1ModeCfg => "Phase 1 mode configuration done",
            Self::XauthSuccess => "Phase 1 Xauth succeeded",
            Self::XauthFailed => "Phase 1 Xauth failed",
            Self::Phase2NoPhase1 => "Phase 2 error: no suitable phase 1",
            Self::Phase2Up => "Phase 2 established",
            Self::Phase2Down => "Phase 2 deleted",
            Self::Phase2NoResponse => "Phase 2 error: no response",
        })
    }

    /// Whether a negotiation has failed.
    pub fn is_failure(self) -> bool {
        matches!(
            self,
            Self::Phase1NoResponse
                | Self::Phase1NoProposal
                | Self::Phase1AuthFailed
                | Self::Phase1DpdTimeout
                | Self::XauthFailed
                | Self::Phase2NoPhase1
                | Self::Phase2NoResponse
                | Self::Quit
        )
    }
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
    pub local: SocketAddr,
    /// The peer's address and port.
    pub remote: SocketAddr,
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
    /// Who the peer has proved to be.
    #[serde(default)]
    pub identity: Option<String>,
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
    /// Where SAs and policies live, and why there.
    #[serde(default)]
    pub dataplane: String,
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
    pub local: IpAddr,
    /// Outer address of the other side.
    pub remote: IpAddr,
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

/// One route that OSPF, or the file, gave to the kernel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RouteStatus {
    /// Destination.
    pub prefix: String,
    /// Next hop, or none when directly attached.
    pub via: Option<String>,
    /// Interface; of several next hops the first one's, and empty when what goes there is thrown away.
    pub interface: String,
    /// Cost; that of a static route is 0.
    pub metric: u32,
    /// `ospf` or `static`.
    #[serde(default)]
    pub origin: String,
    /// Administrative distance.
    #[serde(default)]
    pub distance: u8,
    /// Why the kernel has not taken it, when it has not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
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
