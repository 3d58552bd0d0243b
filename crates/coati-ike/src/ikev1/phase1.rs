//! What is known of one ISAKMP SA, from its first message to its end.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use coati_crypto::dh::PrivateKey;
use coati_crypto::x509::Name;
use coati_wire::isakmp::Identity;

use super::keys::{Keys, Prf};
use super::nat::Nat;
use super::quick_mode::Quick;
use super::transaction::Access;
use crate::config::{ExchangeMode, IkeProposal};
use crate::pair::Want;
use crate::party::Party;
use crate::retransmission::Retransmission;
use crate::table::Keyed;

/// Where main mode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// Proposals are sent (initiator) or answered (responder).
    SaSent,
    /// The own half of the key exchange is computed.
    KeComputing,
    /// It is sent.
    KeSent,
    /// The initiator computes the shared secret.
    SharedComputing,
    /// The initiator has said who it is.
    AuthSent,
    /// A signature is made or judged.
    Proving,
    /// Done.
    Established,
    /// Another one takes over.
    Dying,
}

/// One ISAKMP SA.
#[derive(Debug)]
pub(crate) struct Phase1 {
    pub(crate) id: u64,
    /// Index of the peer's configuration.
    pub(crate) peer: usize,
    pub(crate) exchange: ExchangeMode,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) initiator: bool,
    /// Initiator's, responder's.
    pub(crate) cookies: [[u8; 8]; 2],
    pub(crate) state: State,
    pub(crate) began: Instant,
    pub(crate) established: Option<Instant>,
    pub(crate) proposal: Option<IkeProposal>,
    /// Where the message that is being handled came to and from.
    pub(crate) via: (SocketAddr, SocketAddr),
    pub(crate) nat: Nat,
    /// Body of the peer's identification in aggressive mode.
    pub(crate) peer_id_body: Vec<u8>,
    /// A responder's choice and vendor ids in aggressive mode, until its message can go.
    pub(crate) answer_body: Vec<u8>,
    pub(crate) vendor_answers: Vec<(u8, Vec<u8>)>,
    /// A message whose proof is looked at when the shared secret is there: type of its first payload, payloads.
    pub(crate) held: Option<(u8, Vec<u8>)>,
    /// Who the peer says it is; proved once this is established.
    pub(crate) peer_identity: Option<Identity>,
    /// The certificate that proved it, DER.
    pub(crate) peer_certificate: Option<Vec<u8>>,
    /// Authorities that the peer wants a certificate of.
    pub(crate) requested: Vec<Name>,
    /// The PRF for the hashes that are signed, where the method has one of its own (RFC 4754).
    pub(crate) signed_prf: Option<Prf>,
    /// Login and settings of a road warrior.
    pub(crate) access: Access,
    /// The peer's proof while it is judged.
    pub(crate) claim: Option<Claim>,
    pub(crate) lifetime: Duration,
    /// Body of the initiator's SA payload.
    pub(crate) sa_body: Vec<u8>,
    /// Initiator's, responder's.
    pub(crate) nonces: [Vec<u8>; 2],
    /// Initiator's, responder's.
    pub(crate) publics: [Vec<u8>; 2],
    pub(crate) private: Option<Box<PrivateKey>>,
    pub(crate) keys: Option<Keys>,
    pub(crate) iv: Vec<u8>,
    pub(crate) last_sent: Option<Retransmission>,
    /// Digest of the message that [`Self::last_sent`] answers.
    pub(crate) last_received: Vec<u8>,
    pub(crate) peer_has_dpd: bool,
    pub(crate) peer_has_fragmentation: bool,
    /// Authentication goes with INITIAL-CONTACT: we know of nothing older with this peer.
    pub(crate) says_initial_contact: bool,
    /// The peer's authentication came with INITIAL-CONTACT.
    pub(crate) heard_initial_contact: bool,
    /// A message that could not be read was told to the peer.
    pub(crate) complained: bool,
    /// Boxed: a map's node has room for eleven, and there is hardly ever more than one.
    pub(crate) quicks: BTreeMap<u32, Box<Quick>>,
    /// Message ids the peer has used.
    pub(crate) used_message_ids: HashSet<u32>,
    /// What is to be negotiated once this is established.
    pub(crate) waiting: VecDeque<Want>,
    pub(crate) dpd: DpdState,
    /// When an authenticated message of the peer came last.
    pub(crate) heard: Instant,
}

/// What the peer's authentication holds.
#[derive(Debug)]
pub(crate) struct Claim {
    /// Who it says it is.
    pub(crate) identity: Identity,
    /// Index of the remote section that is about it.
    pub(crate) peer: usize,
    /// The next initialization vector.
    pub(crate) next_iv: Vec<u8>,
    /// It says that it has started anew.
    pub(crate) initial_contact: bool,
}

/// Where dead peer detection is.
#[derive(Debug, Default)]
pub(crate) struct DpdState {
    /// Sequence number of the last question.
    pub(crate) sequence: u32,
    /// When the next question is due.
    pub(crate) due: Option<Instant>,
    /// Questions without an answer.
    pub(crate) failures: u32,
    /// Questions answered by us: the highest sequence number, so that old ones are not.
    pub(crate) last_asked: Option<u32>,
}

/// Found by the peer's address.
impl Keyed for Phase1 {
    type Key = IpAddr;

    fn keys(&self) -> impl Iterator<Item = IpAddr> {
        std::iter::once(self.remote.ip())
    }
}

impl Phase1 {
    pub(crate) fn new(
        id: u64,
        peer: usize,
        exchange: ExchangeMode,
        ends: (SocketAddr, SocketAddr),
        initiator: bool,
        cookies: [[u8; 8]; 2],
        now: Instant,
    ) -> Self {
        Self {
            id,
            peer,
            exchange,
            local: ends.0,
            remote: ends.1,
            initiator,
            cookies,
            state: State::SaSent,
            began: now,
            established: None,
            proposal: None,
            via: ends,
            nat: Nat::default(),
            peer_id_body: Vec::new(),
            answer_body: Vec::new(),
            vendor_answers: Vec::new(),
            held: None,
            peer_identity: None,
            peer_certificate: None,
            requested: Vec::new(),
            signed_prf: None,
            access: Access::default(),
            claim: None,
            lifetime: Duration::ZERO,
            sa_body: Vec::new(),
            nonces: Default::default(),
            publics: Default::default(),
            private: None,
            keys: None,
            iv: Vec::new(),
            last_sent: None,
            last_received: Vec::new(),
            peer_has_dpd: false,
            peer_has_fragmentation: false,
            says_initial_contact: false,
            heard_initial_contact: false,
            complained: false,
            quicks: BTreeMap::new(),
            used_message_ids: HashSet::new(),
            waiting: VecDeque::new(),
            dpd: DpdState::default(),
            heard: now,
        }
    }

    /// Whether it can carry phase 2.
    pub(crate) fn is_established(&self) -> bool {
        self.state >= State::Established
    }

    /// Index of our own half in `nonces` and `publics`.
    pub(crate) fn own(&self) -> usize {
        usize::from(!self.initiator)
    }

    /// Who the peer is.
    pub(crate) fn party(&self) -> Party {
        Party {
            address: self.remote.ip(),
            nat_port: (self.nat.found() && self.nat.before_peer).then(|| self.remote.port()),
            identity: self.peer_identity.as_ref().map_or(Vec::new(), Identity::emit),
        }
    }

    /// Cookies as racoon writes them.
    pub(crate) fn spi(&self) -> String {
        let [initiator, responder] = self.cookies;
        format!("{}:{}", hex(&initiator), hex(&responder))
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
