//! Aggressive mode (RFC 2409 section 5.4): three messages, identities in clear.
//!
//! ```text
//!   initiator                                     responder
//!   KeComputing
//!   SaSent        SA, KE, Ni, IDii        ──▶
//!                                                 KeComputing
//!                 ◀── SA, KE, Nr, IDir, HASH_R    KeSent
//!   SharedComputing
//!   Established   HASH_I                  ──▶     Established
//! ```
//!
//! The identity chooses the key, so that peers without a fixed address can have one each. What it costs: whoever
//! records message 2 can try keys offline (CVE-2018-5389), and a stranger makes us do an exponentiation at once.

use std::net::SocketAddr;
use std::time::Instant;

use coati_wire::isakmp::{self, Header, Identity, Notification, Payload, exchange, flag, kind};

use super::auth;
use super::informational;
use super::message;
use super::nat;
use super::negotiation::{self, HALF_OPEN_LIFE, Outcome, answered, send};
use super::phase1::{Claim, Phase1, State};
use super::proposal;
use super::signature;
use crate::config::ExchangeMode;
use crate::core::{Core, Timer};
use crate::event::Event;
use crate::failure::{Cause, Failure, Stage};
use crate::job::{Job, JobDone, Proof};

/// Begins aggressive mode: the first message goes when our half of the key exchange is there.
pub(crate) fn initiate(
    core: &mut Core,
    now: Instant,
    peer: usize,
    local: SocketAddr,
    remote: SocketAddr,
) -> Option<Phase1> {
    if !auth::check_means(core, peer, remote) {
        return None;
    }
    let group = core.peer(peer)?.proposals.first()?.group;
    let cookie = negotiation::new_cookie(core);
    let id = core.next_id();
    let mut sa =
        Phase1::new(id, peer, ExchangeMode::Aggressive, (local, remote), true, [cookie, [0; 8]], now);
    sa.sa_body = proposal::offer_phase1(core.peer(peer)?, Some(group));
    sa.state = State::KeComputing;
    let job = core.job_for(sa.id, 0);
    core.jobs.push_back(Job::generate(job, group, core.random.as_mut()));
    let exchange = ExchangeMode::Aggressive;
    core.events.push_back(Event::Phase1Begun { exchange, local, remote, initiator: true });
    Some(sa)
}

/// Answers the first message of a peer, as soon as the exponentiations are done.
pub(crate) fn respond(
    core: &mut Core,
    now: Instant,
    ends: (SocketAddr, SocketAddr),
    header: &Header,
    body: &[u8],
) -> Option<Phase1> {
    let (local, remote) = ends;
    let read = isakmp::payloads(header.next_payload, body).ok();
    let list = read.unwrap_or_default();
    let parts = (message::find(&list, kind::SA), message::find(&list, kind::KE), message::nonce(&list));
    let said = message::find(&list, kind::ID).and_then(|id| Identity::parse(id).ok());
    let ((Some(offer), Some(public), Some(nonce)), Some(said)) = (parts, said) else {
        core.drop_datagram("malformed payloads");
        return None;
    };
    let candidates = core.config.candidates(remote.ip(), ExchangeMode::Aggressive, Some((&said, remote)));
    if candidates.is_empty() {
        core.drop_datagram("no remote section for the sender");
        return None;
    }
    let cookies = [header.initiator_cookie, negotiation::new_cookie(core)];
    let (peer, choice) = match proposal::choose_among(&core.config.peers, &candidates, offer) {
        Ok(chosen) => chosen,
        Err(why) => {
            negotiation::refuse(core, now, ends, cookies, Notification::NO_PROPOSAL_CHOSEN);
            core.fail_stranger(now, Failure::new(remote.ip(), Stage::Phase1, Cause::NoProposal, why));
            return None;
        }
    };
    if public.len() != choice.proposal.group.public_len() {
        core.drop_datagram("key exchange or nonce of a wrong length");
        return None;
    }
    let id = core.next_id();
    let mut sa = Phase1::new(id, peer, ExchangeMode::Aggressive, ends, false, cookies, now);
    sa.peer_identity = Some(said);
    if !auth::has_key(core, now, &sa, &choice.proposal) {
        return None;
    }
    sa.sa_body = offer.to_vec();
    sa.peer_id_body = message::find(&list, kind::ID).unwrap_or(&[]).to_vec();
    sa.answer_body = choice.answer;
    negotiation::note_abilities(core, &mut sa, &list);
    signature::note_requests(&mut sa, &list);
    sa.vendor_answers = negotiation::vendor_answers(core, peer, &list);
    let [theirs, _] = &mut sa.nonces;
    *theirs = nonce;
    let [theirs, _] = &mut sa.publics;
    *theirs = public.to_vec();
    sa.state = State::KeComputing;
    let job = core.job_for(sa.id, 0);
    let group = choice.proposal.group;
    core.jobs.push_back(Job::generate_and_agree(job, group, core.random.as_mut(), public.to_vec()));
    sa.proposal = Some(choice.proposal);
    let exchange = ExchangeMode::Aggressive;
    core.events.push_back(Event::Phase1Begun { exchange, local, remote, initiator: false });
    core.set_timer(now + HALF_OPEN_LIFE, Timer::HalfOpen(sa.id));
    Some(sa)
}

/// The next message of the exchange, which is no repetition.
pub(crate) fn handle_message(
    core: &mut Core,
    now: Instant,
    sa: &mut Phase1,
    header: &Header,
    body: &[u8],
) -> Outcome {
    match (sa.initiator, sa.state) {
        (true, State::SaSent) if header.flags & flag::ENCRYPTED == 0 => second(core, sa, header, body),
        (false, State::KeSent) => third(core, now, sa, header, body),
        _ => {
            core.drop_datagram("aggressive mode message out of turn");
            Outcome::Continues
        }
    }
}

/// Message 2: everything of the responder. Its proof is looked at when the shared secret is there.
fn second(core: &mut Core, sa: &mut Phase1, header: &Header, body: &[u8]) -> Outcome {
    let read = isakmp::payloads(header.next_payload, body).ok();
    let list = read.unwrap_or_default();
    let parts = (message::find(&list, kind::SA), message::find(&list, kind::KE), message::nonce(&list));
    let id = message::find(&list, kind::ID).and_then(|id| Some((id, Identity::parse(id).ok()?)));
    let ((Some(answer), Some(public), Some(nonce)), Some((id, said))) = (parts, id) else {
        core.drop_datagram("malformed payloads");
        return Outcome::Continues;
    };
    let Some(peer) = core.peer(sa.peer).filter(|_| header.responder_cookie != [0; 8]) else {
        core.drop_datagram("malformed payloads");
        return Outcome::Continues;
    };
    let proposal = match proposal::accept_phase1(peer, answer) {
        Ok(proposal) => proposal,
        Err(why) => {
            core.fail(Failure::new(sa.remote.ip(), Stage::Phase1, Cause::Protocol, why));
            return Outcome::Continues;
        }
    };
    let Some(private) = sa.private.take_if(|_| public.len() == proposal.group.public_len()) else {
        core.drop_datagram("key exchange or nonce of a wrong length");
        return Outcome::Continues;
    };
    let [_, responder_cookie] = &mut sa.cookies;
    *responder_cookie = header.responder_cookie;
    sa.proposal = Some(proposal);
    sa.peer_identity = Some(said);
    sa.peer_id_body = id.to_vec();
    let [_, theirs] = &mut sa.nonces;
    *theirs = nonce;
    let [_, theirs] = &mut sa.publics;
    *theirs = public.to_vec();
    negotiation::note_abilities(core, sa, &list);
    signature::note_requests(sa, &list);
    let force = negotiation::is_forced(core, sa);
    nat::detect(sa, &list, force);
    sa.held = Some((header.next_payload, body.to_vec()));
    answered(sa);
    sa.state = State::SharedComputing;
    let job = core.job_for(sa.id, 0);
    core.jobs.push_back(Job::agree(job, private, public.to_vec()));
    Outcome::Continues
}

/// An exponentiation is done.
pub(crate) fn handle_job(core: &mut Core, now: Instant, sa: &mut Phase1, done: JobDone) -> Outcome {
    if let Some(proof) = done.proof {
        return proved(core, now, sa, proof);
    }
    if sa.state == State::KeComputing {
        negotiation::take_own_half(core, sa, done.public);
        sa.private = done.private;
    }
    match done.shared {
        Some(Ok(shared)) => negotiation::derive(core, sa, &shared),
        Some(Err(error)) => {
            let text = format!("its Diffie-Hellman value is refused: {error}");
            core.fail(Failure::new(sa.remote.ip(), Stage::Phase1, Cause::Protocol, text));
            return Outcome::Failed;
        }
        None => {}
    }
    match (sa.initiator, sa.state) {
        (true, State::KeComputing) => {
            send_first(core, now, sa);
            Outcome::Continues
        }
        (true, State::SharedComputing) => conclude(core, now, sa),
        (false, State::KeComputing) => {
            if let Some(proof) = prove(core, sa) {
                send_second(core, now, sa, proof);
            }
            Outcome::Continues
        }
        _ => Outcome::Continues,
    }
}

/// A signature is made, or the peer's is judged.
fn proved(core: &mut Core, now: Instant, sa: &mut Phase1, proof: Proof) -> Outcome {
    if sa.state != State::Proving {
        return Outcome::Continues;
    }
    match (proof, sa.initiator) {
        (Proof::Signed(Err(error)), _) => {
            let text = format!("our identity cannot be proved: {error}");
            core.fail(Failure::new(sa.remote.ip(), Stage::Phase1, Cause::Configuration, text));
            Outcome::Failed
        }
        (Proof::Signed(Ok(signature)), initiator) => {
            let proof = auth::signed(core, sa, signature);
            if initiator {
                return send_third(core, now, sa, proof);
            }
            send_second(core, now, sa, proof);
            Outcome::Continues
        }
        (Proof::Judged(verdict), initiator) => {
            let Some(claim) = sa.claim.take() else { return Outcome::Continues };
            match auth::judged(core, sa, &claim.identity, verdict) {
                Ok(peer) if initiator => {
                    answer(core, now, sa, auth::Believed { identity: claim.identity, peer })
                }
                Ok(peer) => believed(core, now, sa, Claim { peer, ..claim }),
                Err(why) => {
                    negotiation::not_believed(core, sa, &why);
                    if initiator {
                        return Outcome::Failed;
                    }
                    // The right one may still come.
                    sa.state = State::KeSent;
                    Outcome::Continues
                }
            }
        }
    }
}

/// What proves our identity; `None` while a job makes it.
fn prove(core: &mut Core, sa: &mut Phase1) -> Option<Vec<(u8, Vec<u8>)>> {
    let keys = sa.keys.take()?;
    let id = auth::own_identity(core, sa);
    let proof = auth::prove(core, sa, &keys, &id);
    sa.keys = Some(keys);
    if proof.is_none() {
        sa.state = State::Proving;
    }
    proof
}

fn own_half(sa: &Phase1) -> (Vec<u8>, Vec<u8>) {
    let own = sa.own();
    let part = |list: &[Vec<u8>; 2]| list.get(own).cloned().unwrap_or_default();
    (part(&sa.publics), part(&sa.nonces))
}

fn send_first(core: &mut Core, now: Instant, sa: &mut Phase1) {
    let (public, nonce) = own_half(sa);
    let id = auth::own_identity(core, sa);
    let mut list =
        vec![(kind::SA, sa.sa_body.clone()), (kind::KE, public), (kind::NONCE, nonce), (kind::ID, id)];
    list.extend(negotiation::vendor_ids(core, sa.peer));
    if let Some(peer) = core.peer(sa.peer).filter(|peer| peer.proposals.iter().any(|p| p.auth.peer_signs())) {
        list.extend(signature::request_payloads(&peer.credentials));
    }
    let bytes = message::clear(sa.cookies, exchange::AGGRESSIVE, 0, &list);
    sa.state = State::SaSent;
    send(core, now, sa, bytes, true);
}

fn send_second(core: &mut Core, now: Instant, sa: &mut Phase1, proof: Vec<(u8, Vec<u8>)>) {
    let (public, nonce) = own_half(sa);
    let id = auth::own_identity(core, sa);
    let answer = std::mem::take(&mut sa.answer_body);
    let mut list = vec![(kind::SA, answer), (kind::KE, public), (kind::NONCE, nonce), (kind::ID, id)];
    list.extend(proof);
    list.extend(auth::requests(core, sa));
    list.append(&mut sa.vendor_answers);
    let force = negotiation::is_forced(core, sa);
    list.extend(nat::detection(sa, force));
    let bytes = message::clear(sa.cookies, exchange::AGGRESSIVE, 0, &list);
    sa.state = State::KeSent;
    send(core, now, sa, bytes, false);
}

/// The shared secret is there: the responder's proof is looked at, then ours goes.
fn conclude(core: &mut Core, now: Instant, sa: &mut Phase1) -> Outcome {
    let (Some(keys), Some((first, body))) = (sa.keys.take(), sa.held.take()) else {
        let name = sa.peer_identity.as_ref().map_or(String::new(), super::identity::describe);
        let text = format!("psk.txt has no key for {} or {name}, as it calls itself", sa.remote.ip());
        core.fail(Failure::new(sa.remote.ip(), Stage::Phase1, Cause::Configuration, text));
        return Outcome::Failed;
    };
    let list: Vec<Payload<'_>> = isakmp::payloads(first, &body).unwrap_or_default();
    let checked = auth::check(core, now, sa, &keys, &list);
    sa.keys = Some(keys);
    match checked {
        Ok((believed, false)) => answer(core, now, sa, believed),
        Ok((auth::Believed { identity, peer }, true)) => {
            sa.claim = Some(Claim { identity, peer, next_iv: Vec::new(), initial_contact: false });
            sa.state = State::Proving;
            Outcome::Continues
        }
        Err(why) => {
            negotiation::not_believed(core, sa, &why);
            Outcome::Failed
        }
    }
}

/// The responder is believed: it gets our proof.
fn answer(core: &mut Core, now: Instant, sa: &mut Phase1, by: auth::Believed) -> Outcome {
    sa.peer_identity = Some(by.identity);
    sa.peer = by.peer;
    if sa.nat.found() {
        negotiation::float(core, sa);
    }
    match prove(core, sa) {
        Some(proof) => send_third(core, now, sa, proof),
        None => Outcome::Continues,
    }
}

fn send_third(core: &mut Core, now: Instant, sa: &mut Phase1, mut list: Vec<(u8, Vec<u8>)>) -> Outcome {
    let Some(keys) = sa.keys.take() else { return Outcome::Failed };
    let force = negotiation::is_forced(core, sa);
    list.extend(nat::detection(sa, force));
    if sa.says_initial_contact {
        list.push(informational::notification(sa, Notification::INITIAL_CONTACT, Vec::new()));
    }
    let mut iv = std::mem::take(&mut sa.iv);
    let bytes = message::sealed(sa, &keys, &mut iv, exchange::AGGRESSIVE, 0, isakmp::chain(&list));
    sa.iv = iv;
    sa.keys = Some(keys);
    send(core, now, sa, bytes, false);
    finish(core, now, sa);
    Outcome::Established
}

/// Message 3, encrypted or in clear: both are seen.
fn third(core: &mut Core, now: Instant, sa: &mut Phase1, header: &Header, body: &[u8]) -> Outcome {
    let Some(keys) = sa.keys.take() else {
        core.drop_datagram("aggressive mode message out of turn");
        return Outcome::Continues;
    };
    let encrypted = header.flags & flag::ENCRYPTED != 0;
    let opened = if encrypted { keys.decrypt(&sa.iv, body) } else { Some((body.to_vec(), sa.iv.clone())) };
    let list = opened.as_ref().and_then(|(plain, _)| isakmp::payloads(header.next_payload, plain).ok());
    let checked = match &list {
        Some(list) => auth::check(core, now, sa, &keys, list),
        None => Err(auth::Unproven::Unreadable),
    };
    sa.keys = Some(keys);
    let (auth::Believed { identity, peer }, pending) = match checked {
        Ok(checked) => checked,
        Err(why) => {
            negotiation::not_believed(core, sa, &why);
            return Outcome::Continues;
        }
    };
    let list = list.unwrap_or_default();
    let initial_contact = encrypted && informational::says_initial_contact(&list);
    let force = negotiation::is_forced(core, sa);
    nat::detect(sa, &list, force);
    let next_iv = opened.as_ref().map_or_else(Vec::new, |(_, next_iv)| next_iv.clone());
    let claim = Claim { identity, peer, next_iv, initial_contact };
    if pending {
        sa.claim = Some(claim);
        sa.state = State::Proving;
        return Outcome::Continues;
    }
    believed(core, now, sa, claim)
}

/// The initiator has proved who it is.
fn believed(core: &mut Core, now: Instant, sa: &mut Phase1, claim: Claim) -> Outcome {
    sa.peer_identity = Some(claim.identity);
    sa.peer = claim.peer;
    sa.heard_initial_contact = claim.initial_contact;
    sa.iv = claim.next_iv;
    answered(sa);
    negotiation::heard(core, now, sa);
    finish(core, now, sa);
    Outcome::Established
}

fn finish(core: &mut Core, now: Instant, sa: &mut Phase1) {
    if let Some(keys) = &mut sa.keys {
        keys.last_block.clone_from(&sa.iv);
    }
    negotiation::established(core, now, sa);
}
