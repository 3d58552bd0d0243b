//! What the engine is told about its peers. Everything that came from a file says where, for explanations.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::credentials::Credentials;
use crate::remote_access::ModeConfig;
use coati_crypto::dh::Group;
use coati_crypto::hash::HashAlgorithm;
use coati_sadb::{AuthAlgorithm, EncAlgorithm, Port, Prefix, Secret, Upper};
use coati_wire::isakmp::Identity;

use crate::ikev1::identity;

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Peers; the first that fits is taken, one without an address fits everybody.
    pub peers: Vec<Peer>,
    /// What quick mode negotiates, by identities.
    pub sainfos: Vec<SaInfo>,
    /// Pre-shared keys by identity; passwords of XAUTH by user name.
    pub keys: Vec<PreSharedKey>,
    /// What we give to road warriors; nothing without it.
    pub mode_config: Option<ModeConfig>,
    /// Our UDP port for IKE; NAT traversal moves to [`Config::natt_port`].
    pub port: u16,
    /// Our UDP port for IKE and ESP behind a NAT.
    pub natt_port: u16,
    /// How often a packet keeps a NAT's mapping alive; zero is never.
    pub natt_keepalive: Duration,
    /// How long unanswered messages are repeated.
    pub patience: Patience,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            peers: Vec::new(),
            sainfos: Vec::new(),
            keys: Vec::new(),
            mode_config: None,
            port: 500,
            natt_port: 4500,
            natt_keepalive: Duration::from_secs(20),
            patience: Patience::default(),
        }
    }
}

/// How often a message is sent again that is not answered, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Wait before the first repetition; each following one is twice as long, up to the longest.
    pub first_wait: Duration,
    /// The longest wait.
    pub longest_wait: Duration,
    /// Repetitions of one message.
    pub repetitions: u32,
    /// How long phase 1 may take.
    pub phase1: Duration,
    /// How long phase 2 may take.
    pub phase2: Duration,
}

impl Default for Patience {
    /// The last wait of one message ends 31.5 s after it was sent first.
    fn default() -> Self {
        Self {
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(4),
            repetitions: 9,
            phase1: Duration::from_secs(32),
            phase2: Duration::from_secs(32),
        }
    }
}

/// A `remote` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its name, when the section has one in quotes.
    pub name: Option<String>,
    /// Its address; `None` is anybody.
    pub address: Option<IpAddr>,
    /// Its UDP port.
    pub port: u16,
    /// Exchange types: the first to begin with, all of them to answer.
    pub exchange_modes: Vec<ExchangeMode>,
    /// Who we say we are.
    pub my_identifier: Identifier,
    /// Who the peer may say it is; nothing is anybody.
    pub peers_identifiers: Vec<Identifier>,
    /// Refuse a peer that says it is somebody else than [`Peer::peers_identifiers`].
    pub verify_identifier: bool,
    /// Ask the peer for an address and routes (`mode_cfg`).
    pub mode_cfg: bool,
    /// The name that we log in with (`xauth_login`); its password is in [`Config::keys`].
    pub xauth_login: Option<String>,
    /// Certificates, keys and CAs.
    pub credentials: Credentials,
    /// Phase 1 proposals in order of preference.
    pub proposals: Vec<IkeProposal>,
    /// Whether and how NATs on the way are looked for.
    pub nat_traversal: NatTraversal,
    /// Whether a responder makes the policies that the peer's identities ask for.
    pub generate_policy: GeneratePolicy,
    /// SAs in transport mode end where the peer's identities of quick mode say, which may be other hosts than those that
    /// speak IKE.
    pub support_proxy: bool,
    /// Names this section for the `remoteid` of sainfo sections; 0 is none.
    pub ph1id: u32,
    /// How strictly the peer's lifetimes, key lengths and groups are compared with ours.
    pub proposal_check: ProposalCheck,
    /// Whether phase 1 messages may be cut in pieces.
    pub fragmentation: Fragmentation,
    /// Dead peer detection; `None` when this side never asks.
    pub dpd: Option<Dpd>,
    /// Whether the peer is told that it may ask.
    pub announces_dpd: bool,
    /// Whether phase 1 is renewed while there are SA pairs.
    pub rekey: bool,
    /// Never begin, only answer.
    pub passive: bool,
    /// Say INITIAL-CONTACT at the first phase 1.
    pub initial_contact: bool,
    /// Length of our nonces in bytes, 8 to 256.
    pub nonce_len: usize,
    /// file:line:column of the section.
    pub origin: String,
    /// file:line:column of `proposal_check`, or of the section.
    pub check_origin: String,
}

impl Default for Peer {
    /// racoon's defaults: anybody, main mode, no proposals.
    fn default() -> Self {
        Self {
            name: None,
            address: None,
            port: 500,
            exchange_modes: vec![ExchangeMode::Main],
            my_identifier: Identifier::Address(None),
            peers_identifiers: Vec::new(),
            verify_identifier: false,
            mode_cfg: false,
            xauth_login: None,
            credentials: Credentials::default(),
            proposals: Vec::new(),
            nat_traversal: NatTraversal::Off,
            generate_policy: GeneratePolicy::Off,
            support_proxy: false,
            ph1id: 0,
            proposal_check: ProposalCheck::default(),
            fragmentation: Fragmentation::Off,
            dpd: None,
            announces_dpd: true,
            rekey: true,
            passive: false,
            initial_contact: true,
            nonce_len: 16,
            origin: String::new(),
            check_origin: String::new(),
        }
    }
}

/// Exchange type of phase 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExchangeMode {
    /// Six messages; identities are encrypted.
    Main,
    /// Three messages; identities go in clear, and with them what a guesser of the key needs.
    Aggressive,
}

/// Who somebody is (RFC 2407 section 4.6.2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identifier {
    /// An address; `None` is that which the packets come from.
    Address(Option<IpAddr>),
    /// A domain name.
    Fqdn(String),
    /// A mail address.
    UserFqdn(String),
    /// Bytes that both sides know.
    KeyId(Vec<u8>),
    /// A distinguished name as written, with `*` for any value; `None` is the certificate's subject.
    Asn1Dn(Option<String>),
}

/// `nat_traversal` of racoon.conf(5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NatTraversal {
    /// NATs are not looked for.
    #[default]
    Off,
    /// ESP goes inside UDP when there is one.
    On,
    /// Always: the peer is made to believe that there is one.
    Force,
}

/// `generate_policy` of racoon.conf(5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GeneratePolicy {
    /// Policies come from setkey.conf only.
    #[default]
    Off,
    /// With level `require`.
    Require,
    /// With level `unique`.
    Unique,
}

/// How the two sides of phase 1 prove who they are (RFC 2409 appendix A; XAUTH and hybrid mode from their drafts).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AuthMethod {
    /// A secret that both have.
    #[default]
    PreSharedKey,
    /// RSA signatures.
    RsaSig,
    /// ECDSA over P-256 with SHA-256 (RFC 4754).
    EcdsaP256,
    /// ECDSA over P-384 with SHA-384.
    EcdsaP384,
    /// ECDSA over P-521 with SHA-512.
    EcdsaP521,
    /// A pre-shared key, and we give user name and password.
    XauthPskClient,
    /// A pre-shared key, and the peer gives user name and password.
    XauthPskServer,
    /// RSA signatures, and we give user name and password.
    XauthRsaClient,
    /// RSA signatures, and the peer gives user name and password.
    XauthRsaServer,
    /// The peer signs, we give user name and password.
    HybridRsaClient,
    /// We sign, the peer gives user name and password.
    HybridRsaServer,
}

impl AuthMethod {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::PreSharedKey,
        Self::RsaSig,
        Self::EcdsaP256,
        Self::EcdsaP384,
        Self::EcdsaP521,
        Self::XauthPskClient,
        Self::XauthPskServer,
        Self::XauthRsaClient,
        Self::XauthRsaServer,
        Self::HybridRsaClient,
        Self::HybridRsaServer,
    ];

    /// The number on the wire when the initiator (`we_initiate`) or the responder has this method in its
    /// configuration: the drafts number by whether the client is the initiator.
    pub fn number(self, we_initiate: bool) -> u16 {
        let by_client = |client: bool, first: u16| if client == we_initiate { first } else { first + 1 };
        match self {
            Self::PreSharedKey => 1,
            Self::RsaSig => 3,
            Self::EcdsaP256 => 9,
            Self::EcdsaP384 => 10,
            Self::EcdsaP521 => 11,
            Self::HybridRsaClient => by_client(true, 64_221),
            Self::HybridRsaServer => by_client(false, 64_221),
            Self::XauthPskClient => by_client(true, 65_001),
            Self::XauthPskServer => by_client(false, 65_001),
            Self::XauthRsaClient => by_client(true, 65_005),
            Self::XauthRsaServer => by_client(false, 65_005),
        }
    }

    /// The word of racoon.conf; ECDSA has none there.
    pub fn name(self) -> &'static str {
        match self {
            Self::PreSharedKey => "pre_shared_key",
            Self::RsaSig => "rsasig",
            Self::EcdsaP256 => "ecdsa_p256",
            Self::EcdsaP384 => "ecdsa_p384",
            Self::EcdsaP521 => "ecdsa_p521",
            Self::XauthPskClient => "xauth_psk_client",
            Self::XauthPskServer => "xauth_psk_server",
            Self::XauthRsaClient => "xauth_rsa_client",
            Self::XauthRsaServer => "xauth_rsa_server",
            Self::HybridRsaClient => "hybrid_rsa_client",
            Self::HybridRsaServer => "hybrid_rsa_server",
        }
    }

    /// Whether a pre-shared key goes into the keys.
    pub fn has_psk(self) -> bool {
        matches!(self, Self::PreSharedKey | Self::XauthPskClient | Self::XauthPskServer)
    }
}

/// Dead peer detection (RFC 3706), with racoon's three numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dpd {
    /// Silence before the first question.
    pub delay: Duration,
    /// Wait for an answer.
    pub retry: Duration,
    /// Unanswered questions until the peer is dead.
    pub max_failures: u32,
}

/// `proposal_check` of racoon.conf(5).
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

/// `ike_frag` of racoon.conf(5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fragmentation {
    /// Neither announced nor used.
    #[default]
    Off,
    /// Announced, and used with peers that announce it.
    On,
    /// Used by an initiator even before the peer has announced it.
    Force,
}

/// A phase 1 `proposal`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IkeProposal {
    /// How the sides prove who they are.
    pub auth: AuthMethod,
    /// Cipher.
    pub cipher: IkeCipher,
    /// Hash, which with HMAC is the PRF.
    pub hash: HashAlgorithm,
    /// Diffie-Hellman group.
    pub group: Group,
    /// Lifetime in seconds.
    pub lifetime: u32,
    /// file:line:column.
    pub origin: String,
}

/// Cipher of phase 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IkeCipher {
    /// AES-CBC with a key of so many bits.
    Aes(u16),
    /// Triple DES in CBC.
    TripleDes,
}

impl IkeProposal {
    /// Whether both protect alike, whatever their lifetimes.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        (self.auth, self.cipher, self.hash, self.group) == (other.auth, other.cipher, other.hash, other.group)
    }
}

impl Default for IkeProposal {
    /// What the how-to's file asks for.
    fn default() -> Self {
        Self {
            auth: AuthMethod::PreSharedKey,
            cipher: IkeCipher::Aes(128),
            hash: HashAlgorithm::Sha1,
            group: Group::Modp1024,
            lifetime: 28_800,
            origin: String::new(),
        }
    }
}

/// A `sainfo` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaInfo {
    /// Our identity; `None` is any.
    pub local: Option<EndpointId>,
    /// The peer's; `None` is any.
    pub remote: Option<EndpointId>,
    /// The peer's identity is the address that it was given by mode config.
    pub of_client: bool,
    /// Who the peer has to be in phase 1; `None` is anybody.
    pub from: Option<Identifier>,
    /// Group of PFS.
    pub pfs_group: Option<Group>,
    /// Lifetime in seconds.
    pub lifetime: u32,
    /// Lifetime in kilobytes; 0 is no limit.
    pub kilobytes: u32,
    /// The `ph1id` of the remote section it belongs to; 0 is any.
    pub remoteid: u32,
    /// Ciphers with the bits of their keys, in order of preference.
    pub encryption: Vec<(EncAlgorithm, u16)>,
    /// Authentication algorithms in order of preference.
    pub authentication: Vec<AuthAlgorithm>,
    /// file:line:column of the section.
    pub origin: String,
}

impl Default for SaInfo {
    fn default() -> Self {
        Self {
            local: None,
            remote: None,
            of_client: false,
            from: None,
            pfs_group: None,
            lifetime: 28_800,
            kilobytes: 0,
            remoteid: 0,
            encryption: Vec::new(),
            authentication: Vec::new(),
            origin: String::new(),
        }
    }
}

impl SaInfo {
    /// Whether the two ask for the same, wherever they were written.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        *self == Self { origin: self.origin.clone(), ..other.clone() }
    }
}

/// One identity of quick mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointId {
    /// Host or network.
    pub prefix: Prefix,
    /// Protocol above IP.
    pub upper: Upper,
    /// Port; of ICMP the type in the source's and the code in the destination's, as in selectors.
    pub port: Port,
}

impl EndpointId {
    /// Whether both mean the same packets.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let others = |one: &Self| (one.upper, one.port, one.prefix.network());
        others(self) == others(other)
    }
}

/// A line of psk.txt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreSharedKey {
    /// Whose: an address, a name or a key id as text; `*` is anybody.
    pub identity: String,
    /// The key.
    pub key: Secret,
    /// file:line.
    pub origin: String,
}

impl Config {
    /// The section that is about this address, by index.
    pub(crate) fn peer_of(&self, address: IpAddr) -> Option<usize> {
        let exact = self.peers.iter().position(|peer| peer.address == Some(address));
        exact.or_else(|| self.peers.iter().position(|peer| peer.address.is_none()))
    }

    /// The sections that somebody at this address may begin with in this mode, those with the address first. Where
    /// the identity is known already, sections that insist on another one are left out.
    pub(crate) fn candidates(
        &self,
        address: IpAddr,
        mode: ExchangeMode,
        said: Option<(&Identity, SocketAddr)>,
    ) -> Vec<usize> {
        let takes = |peer: &Peer| {
            let identity = said.is_none_or(|(said, remote)| {
                !peer.verify_identifier || identity::is_one_of(&peer.peers_identifiers, said, remote)
            });
            peer.exchange_modes.contains(&mode) && identity
        };
        let of = |wanted: Option<IpAddr>| {
            let fitting =
                self.peers.iter().enumerate().filter(move |(_, peer)| peer.address == wanted && takes(peer));
            fitting.map(|(index, _)| index)
        };
        of(Some(address)).chain(of(None)).collect()
    }

    /// The key shared with somebody who says this name, or else with this address, or else with anybody.
    pub(crate) fn key_of(&self, address: IpAddr, name: Option<&str>) -> Option<&PreSharedKey> {
        let named = name.and_then(|name| self.keys.iter().find(|key| key.identity == name));
        let same = |key: &&PreSharedKey| key.identity.parse() == Ok(address);
        let anybody = || self.keys.iter().find(|key| key.identity == "*");
        named.or_else(|| self.keys.iter().find(same)).or_else(anybody)
    }

    /// What is to be negotiated for these identities with a peer: the most particular section that fits. A section for
    /// both identities comes before one for one of them, then one that says who the peer is, then one with its `ph1id`.
    pub(crate) fn sainfo_of(
        &self,
        local: &EndpointId,
        remote: &EndpointId,
        peer: SainfoPeer<'_>,
    ) -> Option<&SaInfo> {
        let is =
            |wanted: &Option<EndpointId>, id: &EndpointId| wanted.is_none_or(|wanted| wanted.is_like(id));
        let from =
            |wanted: &Identifier| peer.said.is_some_and(|said| identity::fits(wanted, said, peer.remote));
        let of_client = || peer.given.is_some_and(|given| remote.prefix == Prefix::host(given.into()));
        let fits = |info: &&SaInfo| {
            (!info.of_client || of_client())
                && is(&info.local, local)
                && is(&info.remote, remote)
                && (info.remoteid == 0 || info.remoteid == peer.ph1id)
                && info.from.as_ref().is_none_or(from)
        };
        let particular = |info: &&SaInfo| {
            let is_remote = info.remote.is_some() || info.of_client;
            let ids = usize::from(info.local.is_some()) + usize::from(is_remote);
            (ids, info.from.is_some(), info.remoteid != 0)
        };
        // The first of several that are equally particular.
        self.sainfos.iter().filter(fits).rev().max_by_key(particular)
    }
}

/// What a sainfo section may want to know of the peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SainfoPeer<'a> {
    /// Who it is.
    pub(crate) said: Option<&'a Identity>,
    /// Where it is.
    pub(crate) remote: SocketAddr,
    /// `ph1id` of its section.
    pub(crate) ph1id: u32,
    /// The address that it was given by mode config.
    pub(crate) given: Option<Ipv4Addr>,
}
