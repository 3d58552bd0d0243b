//! How the sides of phase 1 prove who they are: the one place that knows about authentication methods.
//!
//! Main and aggressive mode ask four things of it: may we begin ([`check_means`]), SKEYID ([`skeyid`]), the payloads
//! that prove our identity ([`prove`]), and whether the peer's do ([`check`]). RFC 2409 section 5.

use std::net::SocketAddr;
use std::time::Instant;

use coati_crypto::hash::HashAlgorithm;
use coati_crypto::mac::Hmac;
use coati_crypto::{Zeroizing, constant_time_eq};
use coati_wire::isakmp::{Identity, Payload, kind};

use super::identity;
use super::keys::Keys;
use super::message;
use super::phase1::Phase1;
use crate::config::{AuthMethod, ExchangeMode, IkeProposal, Peer};
use crate::core::Core;
use crate::failure::{Cause, Failure, Stage};

/// Why the peer is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unproven {
    /// What came is no identity with a proof: decrypted with a wrong key, it looks like that.
    Unreadable,
    /// The proof is wrong.
    Wrong,
    /// It is proved, but the configuration wants somebody else; the text says whom.
    SomebodyElse(String),
}

/// Whether this host has what it needs to authenticate with the peer; explained when not.
pub(crate) fn check_means(core: &mut Core, peer: usize, remote: SocketAddr) -> bool {
    let Some(peer) = core.peer(peer) else { return false };
    let needs_key = peer.proposals.iter().all(|proposal| proposal.auth.has_psk());
    let by_name = peer.exchange_modes.contains(&ExchangeMode::Aggressive) && !core.config.keys.is_empty();
    let found = !needs_key || by_name || core.config.key_of(remote.ip(), None).is_some();
    if !found {
        let text = format!("psk.txt has no key for {}", remote.ip());
        core.fail(Failure::new(remote.ip(), Stage::Start, Cause::Configuration, text));
    }
    found
}

/// Whether there is a key for a peer that has said who it is; explained when not.
pub(crate) fn has_key(core: &mut Core, now: Instant, sa: &Phase1, proposal: &IkeProposal) -> bool {
    let remote = sa.remote.ip();
    let name = sa.key_name();
    let found = !proposal.auth.has_psk() || core.config.key_of(remote, name.as_deref()).is_some();
    if !found {
        let said = sa.peer_identity.as_ref().map_or(String::new(), identity::describe);
        let text = format!("psk.txt has no key for {remote} or {said}, as it calls itself");
        core.fail_stranger(now, Failure::new(remote, Stage::Phase1, Cause::Configuration, text));
    }
    found
}

/// SKEYID, from which all keys come. `None` when there is no key for the peer.
pub(crate) fn skeyid(
    core: &Core,
    sa: &Phase1,
    hash: HashAlgorithm,
    shared: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let [ni, nr] = &sa.nonces;
    if sa.method().has_psk() {
        let name = sa.key_name();
        let key = core.config.key_of(sa.remote.ip(), name.as_deref())?;
        return Some(Zeroizing::new(Hmac::new(hash, key.key.expose()).sign(&[ni, nr])));
    }
    let nonces = [ni.as_slice(), nr].concat();
    Some(Zeroizing::new(Hmac::new(hash, &nonces).sign(&[shared])))
}

/// Body of our identification payload.
pub(crate) fn own_identity(core: &Core, sa: &Phase1) -> Vec<u8> {
    let identifier = core.peer(sa.peer).map(|peer| &peer.my_identifier);
    let own = identifier.and_then(|identifier| identity::own(identifier, sa.local));
    // What needs a certificate and has none speaks with its address.
    let own = own.or_else(|| identity::own(&crate::config::Identifier::Address(None), sa.local));
    own.map_or(Vec::new(), |own| own.emit())
}

/// What follows our identification `id` and proves it.
pub(crate) fn prove(sa: &Phase1, keys: &Keys, id: &[u8]) -> Vec<(u8, Vec<u8>)> {
    vec![(kind::HASH, hash(keys, sa, sa.initiator, id))]
}

/// A peer whose identity is proved.
#[derive(Clone, Debug)]
pub(crate) struct Believed {
    /// Who it is.
    pub(crate) identity: Identity,
    /// Index of the remote section that is about it: for a responder that may be another one than it began with.
    pub(crate) peer: usize,
}

/// Checks what the peer has sent for its identity.
pub(crate) fn check(
    core: &Core,
    sa: &Phase1,
    keys: &Keys,
    list: &[Payload<'_>],
) -> Result<Believed, Unproven> {
    // In aggressive mode the initiator has said who it is before.
    let before = Some(sa.peer_id_body.as_slice()).filter(|id| !id.is_empty());
    let id = message::find(list, kind::ID).filter(|_| sa.initiator || before.is_none()).or(before);
    let (Some(id), Some(proof)) = (id, message::find(list, kind::HASH)) else {
        return Err(Unproven::Unreadable);
    };
    let said = Identity::parse(id).map_err(|_| Unproven::Unreadable)?;
    if !constant_time_eq(&hash(keys, sa, !sa.initiator, id), proof) {
        return Err(Unproven::Wrong);
    }
    let Some(peer) = core.peer(sa.peer) else { return Err(Unproven::Wrong) };
    match may_be(peer, sa, &said) {
        Ok(()) => Ok(Believed { identity: said, peer: sa.peer }),
        Err(why) => other_section(core, sa, &said).map(|peer| Believed { identity: said, peer }).ok_or(why),
    }
}

/// Several sections may be for anybody: main mode chose one before it knew who the peer is. Another one takes its place
/// when it has the same proposal and wants this identity.
fn other_section(core: &Core, sa: &Phase1, said: &Identity) -> Option<usize> {
    let agreed = sa.proposal.as_ref().filter(|_| !sa.initiator)?;
    let has_it = |index: &usize| {
        core.peer(*index).is_some_and(|peer| peer.proposals.iter().any(|proposal| proposal.is_like(agreed)))
    };
    let candidates = core.config.candidates(sa.remote.ip(), sa.exchange, Some((said, sa.remote)));
    candidates.into_iter().find(has_it)
}

/// Whether the configuration takes the peer under this identity.
fn may_be(peer: &Peer, sa: &Phase1, said: &Identity) -> Result<(), Unproven> {
    let wanted = &peer.peers_identifiers;
    let fits = identity::is_one_of(wanted, said, sa.remote);
    if fits || !peer.verify_identifier {
        return Ok(());
    }
    let wanted: Vec<String> = wanted.iter().map(identity::wanted).collect();
    Err(Unproven::SomebodyElse(format!(
        "it says it is {}, peers_identifier of the remote section at {} wants {}: change one of them, there or in its \
         my_identifier",
        identity::describe(said),
        peer.origin,
        wanted.join(" or ")
    )))
}

/// HASH_I or HASH_R.
pub(crate) fn hash(keys: &Keys, sa: &Phase1, of_initiator: bool, id: &[u8]) -> Vec<u8> {
    let ([gi, gr], [ci, cr]) = (&sa.publics, &sa.cookies);
    if of_initiator {
        keys.skeyid.sign(&[gi, gr, ci, cr, &sa.sa_body, id])
    } else {
        keys.skeyid.sign(&[gr, gi, cr, ci, &sa.sa_body, id])
    }
}

impl Phase1 {
    /// The authentication method agreed upon.
    pub(crate) fn method(&self) -> AuthMethod {
        self.proposal.as_ref().map_or(AuthMethod::PreSharedKey, |proposal| proposal.auth)
    }

    /// The name under which the key is looked for: in main mode it comes too late for that.
    pub(crate) fn key_name(&self) -> Option<String> {
        let said = self.peer_identity.as_ref().filter(|_| self.exchange == ExchangeMode::Aggressive)?;
        identity::name(said)
    }
}
