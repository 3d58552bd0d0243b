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
use super::signature::{self, Evidence, Judged};
use crate::config::{AuthMethod, ExchangeMode, Identifier, IkeProposal, Peer};
use crate::core::Core;
use crate::event::Event;
use crate::failure::{Cause, Failure, Stage};
use crate::job::Job;

/// Why the peer is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unproven {
    /// What came is no identity with a proof: decrypted with a wrong key, it looks like that.
    Unreadable,
    /// The proof is wrong.
    Wrong,
    /// It is proved, but the configuration wants somebody else; the text says whom.
    SomebodyElse(String),
    /// Its signature or its certificate is refused; the text says why.
    Refused(String),
}

/// Whether this host has what it needs to authenticate with the peer; explained when not.
pub(crate) fn check_means(core: &mut Core, peer: usize, remote: SocketAddr) -> bool {
    let Some(peer) = core.peer(peer) else { return false };
    let methods: Vec<AuthMethod> = peer.proposals.iter().map(|proposal| proposal.auth).collect();
    let lacking = methods.iter().map(|method| signature::lacks(core, peer, *method));
    // Any method that works is enough to begin.
    if let Some(Some(text)) = lacking.min_by_key(Option::is_some) {
        let origin = peer.origin.clone();
        core.fail(Failure::new(remote.ip(), Stage::Start, Cause::Configuration, text).at(&origin));
        return false;
    }
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
    let subject = || {
        let credentials = core.peer(sa.peer).map(|peer| &peer.credentials)?;
        let subject = credentials.own.as_ref()?.certificate()?.subject();
        let data = subject.as_der().to_vec();
        Some(Identity { kind: Identity::DER_ASN1_DN, protocol: 0, port: 0, data })
    };
    let own =
        own.or_else(|| identifier.filter(|own| **own == Identifier::Asn1Dn(None)).and_then(|_| subject()));
    // What needs a certificate and has none speaks with its address.
    let own = own.or_else(|| identity::own(&Identifier::Address(None), sa.local));
    own.map_or(Vec::new(), |own| own.emit())
}

/// What follows our identification `id` and proves it. `None` when that is a signature: a job makes it, and
/// [`signed`] then gives the payloads.
pub(crate) fn prove(core: &mut Core, sa: &Phase1, keys: &Keys, id: &[u8]) -> Option<Vec<(u8, Vec<u8>)>> {
    let hash = hash(keys, sa, sa.initiator, id);
    if !sa.method().we_sign() {
        return Some(vec![(kind::HASH, hash)]);
    }
    // Without a key nothing is sent; the configuration was checked before.
    let key = core.peer(sa.peer)?.credentials.own.as_ref()?.key.clone();
    let id = core.job_for(sa.id, 0);
    let job = Job::sign(id, key, core.random.as_mut(), hash);
    core.jobs.push_back(job);
    None
}

/// A peer whose identity is proved.
#[derive(Clone, Debug)]
pub(crate) struct Believed {
    /// Who it is.
    pub(crate) identity: Identity,
    /// Index of the remote section that is about it: for a responder that may be another one than it began with.
    pub(crate) peer: usize,
}

/// What follows our identification when the signature is made.
pub(crate) fn signed(core: &Core, sa: &Phase1, signature: Vec<u8>) -> Vec<(u8, Vec<u8>)> {
    let credentials = core.peer(sa.peer).map(|peer| &peer.credentials);
    let mut list = credentials.map_or(Vec::new(), signature::certificate_payloads);
    list.push((kind::SIG, signature));
    list
}

/// Requests for the peer's certificate, when it needs one.
pub(crate) fn requests(core: &Core, sa: &Phase1) -> Vec<(u8, Vec<u8>)> {
    let peer = core.peer(sa.peer).filter(|_| sa.method().peer_signs());
    peer.map_or(Vec::new(), |peer| signature::request_payloads(&peer.credentials))
}

/// Checks what the peer has sent for its identity; returns that, and whether a job has still to judge it.
pub(crate) fn check(
    core: &mut Core,
    now: Instant,
    sa: &Phase1,
    keys: &Keys,
    list: &[Payload<'_>],
) -> Result<(Believed, bool), Unproven> {
    let signs = sa.method().peer_signs();
    let proof = if signs { kind::SIG } else { kind::HASH };
    // In aggressive mode the initiator has said who it is before.
    let before = Some(sa.peer_id_body.as_slice()).filter(|id| !id.is_empty());
    let id = message::find(list, kind::ID).filter(|_| sa.initiator || before.is_none()).or(before);
    let (Some(id), Some(proof)) = (id, message::find(list, proof)) else {
        return Err(Unproven::Unreadable);
    };
    let said = Identity::parse(id).map_err(|_| Unproven::Unreadable)?;
    let expected = hash(keys, sa, !sa.initiator, id);
    if !signs && !constant_time_eq(&expected, proof) {
        return Err(Unproven::Wrong);
    }
    let peer = core.peer(sa.peer).ok_or(Unproven::Wrong)?;
    if signs {
        let unix_time = core.unix_time(now).ok_or_else(|| {
            Unproven::Refused("certificates cannot be judged before the time of day is known".into())
        })?;
        let evidence = Evidence {
            hash: expected,
            signature: proof.to_vec(),
            certificates: signature::certificates(list),
            identity: said.clone(),
            method: sa.method(),
            credentials: peer.credentials.clone(),
            unix_time,
        };
        let id = core.job_for(sa.id, 0);
        core.jobs.push_back(Job::judge(id, evidence));
        return Ok((Believed { identity: said, peer: sa.peer }, true));
    }
    let peer = section_for(core, sa, &said)?;
    Ok((Believed { identity: said, peer }, false))
}

/// The verdict on the peer's signature: whether it is who it says, and whether the configuration takes that.
pub(crate) fn judged(
    core: &mut Core,
    sa: &mut Phase1,
    said: &Identity,
    verdict: Result<Judged, String>,
) -> Result<usize, Unproven> {
    let judged = verdict.map_err(Unproven::Refused)?;
    let section = section_for(core, sa, said)?;
    let Judged { subject, certificate, warnings } = judged;
    sa.peer_certificate = Some(certificate);
    core.events.push_back(Event::CertificateAccepted { remote: sa.remote, subject, warnings });
    Ok(section)
}

/// The remote section that takes the peer under this identity. One with other certificates would have judged it by
/// others: it is not changed to.
fn section_for(core: &Core, sa: &Phase1, said: &Identity) -> Result<usize, Unproven> {
    let peer = core.peer(sa.peer).ok_or(Unproven::Wrong)?;
    let Err(why) = may_be(peer, sa, said) else { return Ok(sa.peer) };
    let other = other_section(core, sa, said);
    let same = |index: &usize| {
        core.peer(*index).is_some_and(|other| other.credentials.judges_like(&peer.credentials))
    };
    other.filter(|index| !sa.method().peer_signs() || same(index)).ok_or(why)
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
    let prf = sa.signed_prf.as_ref().unwrap_or(&keys.skeyid);
    if of_initiator {
        prf.sign(&[gi, gr, ci, cr, &sa.sa_body, id])
    } else {
        prf.sign(&[gr, gi, cr, ci, &sa.sa_body, id])
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
