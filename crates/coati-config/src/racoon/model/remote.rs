//! `remote`: how phase 1 is negotiated with a peer.

use std::net::IpAddr;

use crate::diagnostic::Origin;
use crate::racoon::algorithms::{DhGroup, Phase1Cipher, Phase1Hash};
use crate::racoon::identifier::Identifier;
use crate::racoon::model::{FileName, Lifetime, UdpEndpoint};

pub use crate::racoon::algorithms::AuthMethod;

/// A `remote` block, what it inherits already in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// The peer.
    pub who: RemoteWho,
    /// `exchange_mode`: the first is used, all are accepted.
    pub exchange_modes: Vec<ExchangeMode>,
    /// `my_identifier`; our address by default.
    pub my_identifier: Identifier,
    /// `peers_identifier`: who the peer may say it is; anybody when there is none.
    pub peers_identifiers: Vec<(Identifier, Origin)>,
    /// `verify_identifier`: somebody else is refused.
    pub verify_identifier: bool,
    /// `certificate_type`: what we show, and its key.
    pub certificate: Option<Certificate>,
    /// `ca_type x509`: whom we trust; the folder of certificates when it is not given.
    pub ca: Option<FileName>,
    /// `peers_certfile`: the peer's, when it is known beforehand.
    pub peers_certificate: Option<PeersCertificate>,
    /// `verify_cert`: the chain is checked, and that the certificate is for the identity.
    pub verify_cert: bool,
    /// `send_cert`.
    pub send_cert: bool,
    /// `send_cr`: ask for the peer's certificate.
    pub send_cr: bool,
    /// `match_empty_cr`: this block also serves peers whose request names no CA.
    pub match_empty_cr: bool,
    /// `initial_contact` is said.
    pub initial_contact: bool,
    /// `passive`: never begin.
    pub passive: bool,
    /// `proposal_check`.
    pub proposal_check: ProposalCheck,
    /// Where that is written, or the block.
    pub proposal_check_origin: Origin,
    /// `support_proxy`: the identities of phase 2 are the ends of the SAs.
    pub support_proxy: bool,
    /// `generate_policy`.
    pub generate_policy: GeneratePolicy,
    /// `nat_traversal`.
    pub nat_traversal: NatTraversal,
    /// `ike_frag`.
    pub ike_frag: IkeFrag,
    /// `dpd`: dead peer detection is announced.
    pub dpd: bool,
    /// `dpd_delay` in seconds; 0 never asks.
    pub dpd_delay: u32,
    /// `dpd_retry` in seconds.
    pub dpd_retry: u32,
    /// `dpd_maxfail`.
    pub dpd_maxfail: u32,
    /// `rekey`.
    pub rekey: Rekey,
    /// `nonce_size` in bytes, 8 to 256.
    pub nonce_size: u16,
    /// `ph1id`: the `remoteid` of the sainfos that are for this peer; 0 is none.
    pub ph1id: u32,
    /// `script`, at most one for each event.
    pub scripts: Vec<Script>,
    /// `mode_cfg`: ask for an address.
    pub mode_cfg: bool,
    /// `xauth_login`: the name we log in with.
    pub xauth_login: Option<String>,
    /// `proposal` blocks, the first preferred.
    pub proposals: Vec<Proposal>,
    /// Where the block begins.
    pub origin: Origin,
}

impl Remote {
    /// A block without any directive: it has neither an exchange mode nor a proposal yet.
    pub(crate) fn new(who: RemoteWho, origin: Origin) -> Self {
        Self {
            who,
            exchange_modes: Vec::new(),
            my_identifier: Identifier::Address(None),
            peers_identifiers: Vec::new(),
            verify_identifier: false,
            certificate: None,
            ca: None,
            peers_certificate: None,
            verify_cert: true,
            send_cert: true,
            send_cr: true,
            match_empty_cr: false,
            initial_contact: true,
            passive: false,
            proposal_check: ProposalCheck::Strict,
            proposal_check_origin: origin.clone(),
            support_proxy: false,
            generate_policy: GeneratePolicy::Off,
            nat_traversal: NatTraversal::Off,
            ike_frag: IkeFrag::Off,
            dpd: true,
            dpd_delay: 0,
            dpd_retry: 5,
            dpd_maxfail: 5,
            rekey: Rekey::On,
            nonce_size: 16,
            ph1id: 0,
            scripts: Vec::new(),
            mode_cfg: false,
            xauth_login: None,
            proposals: Vec::new(),
            origin,
        }
    }

    /// The peer's address, when it is known.
    pub fn address(&self) -> Option<IpAddr> {
        self.who.endpoint().map(|endpoint| endpoint.address)
    }

    /// Whether a proposal authenticates by `method`.
    pub fn authenticates_by(&self, method: impl Fn(AuthMethod) -> bool) -> bool {
        self.proposals.iter().any(|proposal| method(proposal.method))
    }
}

/// Whom a `remote` block is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteWho {
    /// `remote ADDR [port]`: this peer.
    Address(UdpEndpoint),
    /// `remote anonymous [port]`: everybody else.
    Anonymous {
        /// The peer's UDP port.
        port: u16,
    },
    /// `remote "name"`.
    Named {
        /// The name.
        name: String,
        /// `remote_address`; without it, everybody.
        address: Option<UdpEndpoint>,
    },
}

impl RemoteWho {
    /// Where the peer is, when that is known.
    pub fn endpoint(&self) -> Option<&UdpEndpoint> {
        match self {
            Self::Address(endpoint) => Some(endpoint),
            Self::Anonymous { .. } => None,
            Self::Named { address, .. } => address.as_ref(),
        }
    }

    /// The peer's UDP port.
    pub fn port(&self) -> u16 {
        match self {
            Self::Anonymous { port } => *port,
            _ => self.endpoint().map_or(500, |endpoint| endpoint.port),
        }
    }
}

/// `exchange_mode` (RFC 2409 sections 5.1 to 5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeMode {
    /// `main`.
    Main,
    /// `aggressive`.
    Aggressive,
}

/// `proposal_check`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProposalCheck {
    /// Take what the initiator wants.
    Obey,
    /// Refuse what is weaker or lives longer than ours.
    #[default]
    Strict,
    /// Use the shorter lifetime and say so.
    Claim,
    /// Refuse what differs.
    Exact,
}

/// `ike_frag`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IkeFrag {
    /// Neither sent nor announced.
    #[default]
    Off,
    /// Announced; sent to peers that announce it.
    On,
    /// Sent without waiting for the announcement.
    Force,
}

/// `nat_traversal` (RFC 3947).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NatTraversal {
    /// Not spoken of.
    #[default]
    Off,
    /// ESP in UDP where there is a NAT.
    On,
    /// ESP in UDP always.
    Force,
}

/// `generate_policy`: what a responder enters when no policy is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GeneratePolicy {
    /// Nothing.
    #[default]
    Off,
    /// `on` and `require`: a policy of level `require`.
    Require,
    /// `unique`: a policy whose SAs are for it alone.
    Unique,
}

/// `rekey`: whether phase 1 is renewed while there are SAs of phase 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rekey {
    /// Never.
    Off,
    /// When dead peer detection needs it.
    #[default]
    On,
    /// Always.
    Force,
}

/// `certificate_type`: what we prove with who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// `x509 "certificate" "private key"`.
    X509 {
        /// The certificate.
        certificate: FileName,
        /// Its private key.
        key: FileName,
    },
    /// `plain_rsa "private key"`.
    PlainRsa {
        /// The private key.
        key: FileName,
    },
}

/// `peers_certfile`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeersCertificate {
    /// `x509 "certificate"`.
    X509(FileName),
    /// `plain_rsa "public key"`.
    PlainRsa(FileName),
}

/// `script "file" EVENT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// When it is run.
    pub event: ScriptEvent,
    /// What is run.
    pub file: FileName,
}

/// When a hook is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptEvent {
    /// `phase1_up`: a phase 1 stands.
    Phase1Up,
    /// `phase1_down`: it was ended.
    Phase1Down,
    /// `phase1_dead`: the peer is gone.
    Phase1Dead,
}

impl ScriptEvent {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Phase1Up, Self::Phase1Down, Self::Phase1Dead];

    /// Its name, which is also the first argument of the hook.
    pub fn name(self) -> &'static str {
        match self {
            Self::Phase1Up => "phase1_up",
            Self::Phase1Down => "phase1_down",
            Self::Phase1Dead => "phase1_dead",
        }
    }
}

/// A `proposal` block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// `encryption_algorithm`.
    pub cipher: Phase1Cipher,
    /// `hash_algorithm`.
    pub hash: Phase1Hash,
    /// `authentication_method`.
    pub method: AuthMethod,
    /// `dh_group`.
    pub dh_group: DhGroup,
    /// `lifetime`, its own or that of the `remote` block.
    pub lifetime: Lifetime,
    /// Where the block begins.
    pub origin: Origin,
}
