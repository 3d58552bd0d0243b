//! What the engine is told about its peers. Everything that came from a file says where, for explanations.

use std::net::IpAddr;
use std::time::Duration;

use coati_crypto::dh::Group;
use coati_crypto::hash::HashAlgorithm;
use coati_sadb::{AuthAlgorithm, EncAlgorithm, Prefix, Secret, Upper};

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Peers; the first that fits is taken, one without an address fits everybody.
    pub peers: Vec<Peer>,
    /// What quick mode negotiates, by identities.
    pub sainfos: Vec<SaInfo>,
    /// Pre-shared keys by identity.
    pub keys: Vec<PreSharedKey>,
}

/// A `remote` section.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address; `None` is anybody.
    pub address: Option<IpAddr>,
    /// Its UDP port.
    pub port: u16,
    /// Phase 1 proposals in order of preference.
    pub proposals: Vec<IkeProposal>,
    /// How strictly the peer's lifetimes, key lengths and groups are compared with ours.
    pub proposal_check: ProposalCheck,
    /// Whether phase 1 messages may be cut in pieces.
    pub fragmentation: Fragmentation,
    /// Dead peer detection; `None` when it is off on this side.
    pub dpd: Option<Dpd>,
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
#[derive(Clone, Debug)]
pub struct IkeProposal {
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

/// A `sainfo` section.
#[derive(Clone, Debug)]
pub struct SaInfo {
    /// Identities, ours first; `None` is `anonymous`.
    pub ids: Option<(EndpointId, EndpointId)>,
    /// Group of PFS.
    pub pfs_group: Option<Group>,
    /// Lifetime in seconds.
    pub lifetime: u32,
    /// Ciphers with the bits of their keys, in order of preference.
    pub encryption: Vec<(EncAlgorithm, u16)>,
    /// Authentication algorithms in order of preference.
    pub authentication: Vec<AuthAlgorithm>,
    /// file:line:column of the section.
    pub origin: String,
}

/// One identity of quick mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointId {
    /// Host or network.
    pub prefix: Prefix,
    /// Protocol above IP.
    pub upper: Upper,
}

/// A line of psk.txt.
#[derive(Clone, Debug)]
pub struct PreSharedKey {
    /// Whose: an address as text.
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

    /// The key shared with this address.
    pub(crate) fn key_of(&self, address: IpAddr) -> Option<&PreSharedKey> {
        let same = |key: &&PreSharedKey| key.identity.parse() == Ok(address);
        self.keys.iter().find(same).or_else(|| self.keys.iter().find(|key| key.identity == "*"))
    }

    /// What is to be negotiated for these identities.
    pub(crate) fn sainfo_of(&self, local: &EndpointId, remote: &EndpointId) -> Option<&SaInfo> {
        let exact = self.sainfos.iter().find(|info| info.ids == Some((*local, *remote)));
        exact.or_else(|| self.sainfos.iter().find(|info| info.ids.is_none()))
    }
}
