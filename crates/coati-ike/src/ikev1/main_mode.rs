//! Main mode with a pre-shared key (RFC 2409 section 5.4).
//!
//! ```text
//!   initiator                         responder
//!   SaSent        SA, VID    ──▶
//!                            ◀──      SA, VID         SaSent
//!   KeComputing, KeSent
//!                 KE, Ni     ──▶
//!                            ◀──      KE, Nr          KeComputing, KeSent
//!   SharedComputing, AuthSent
//!                 ID, HASH_I ──▶
//!                            ◀──      ID, HASH_R      Established
//!   Established
//! ```
//!
//! Nothing that is not authenticated ends a negotiation: a wrong answer is dropped and explained, and the right one
//! may still come until the retransmissions run out.

use std::net::SocketAddr;
use std::time::Instant;

use coati_wire::isakmp::{self, Header, Notification, Payload, exchange, kind};

use super::auth::{self, Unproven};
use super::informational;
use super::keys::Keys;
use super::message;
use super::negotiation::{self, HALF_OPEN_LIFE, Outcome, answered, send};
use super::phase1::{Phase1, State};
use super::proposal;
use crate::config::ExchangeMode;
use crate::core::{Core, Timer};
use crate::event::Event;
use crate::failure::{Cause, Failure, Stage};
use crate::job::{Job, JobDone};

/// Begins main mode. `None` when there is no key, which is explained.
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
    let sa_body = proposal::offer_phase1(core.peer(peer)?);
    let cookie = negotiation::new_cookie(core);
    let mut sa =
        Phase1::new(core.next_id(), peer, ExchangeMode::Main, (local, remote), true, [cookie, [0; 8]], now);
    let mut list = vec![(kind::SA, sa_body.clone())];
    list.extend(negotiation::vendor_ids(core, peer));
    sa.sa_body = sa_body;
    let bytes = message::clear(sa.cookies, sa.exchange_type(), 0, &list);
    core.events.push_back(Event::Phase1Begun {
        exchange: ExchangeMode::Main,
        local,
        remote,
        initiator: true,
    });
    send(core, now, &mut sa, bytes, true);
    Some(sa)
}

/// Answers the first message of a peer.
pub(crate) fn respond(
    core: &mut Core,
    now: Instant,
    peer: usize,
    local: SocketAddr,
    remote: SocketAddr,
    header: &Header,
    body: &[u8],
) -> Option<Phase1> {
    let Ok(list) = isakmp::payloads(header.next_payload, body) else {
        core.drop_datagram("malformed payloads");
        return None;
    };
    let Some(sa_body) = message::find(&list, kind::SA) else {
        core.drop_datagram("first message without proposals");
        return None;
    };
    if !auth::check_means(core, peer, remote) {
        return None;
    }
    let cookie = negotiation::new_cookie(core);
    let cookies = [header.initiator_cookie, cookie];
    let choice = match proposal::choose_phase1(core.peer(peer)?, sa_body) {
        Ok(choice) => choice,
        Err(explanation) => {
            informational::complain(core, local, remote, cookies, Notification::NO_PROPOSAL_CHOSEN);
            core.fail(Failure::new(remote.ip(), Stage::Phase1, Cause::NoProposal, explanation));
            return None;
        }
    };
    let mut sa = Phase1::new(core.next_id(), peer, ExchangeMode::Main, (local, remote), false, cookies, now);
    sa.sa_body = sa_body.to_vec();
    negotiation::note_vendor_ids(&mut sa, &list);
    sa.proposal = Some(choice.proposal);
    let mut answer = vec![(kind::SA, choice.answer)];
    answer.extend(negotiation::vendor_ids(core, peer));
    let bytes = message::clear(cookies, exchange::IDENTITY_PROTECTION, 0, &answer);
    core.events.push_back(Event::Phase1Begun {
        exchange: ExchangeMode::Main,
        local,
        remote,
        initiator: false,
    });
    send(core, now, &mut sa, bytes, false);
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
    let encrypted = header.flags & isakmp::flag::ENCRYPTED != 0;
    match (sa.initiator, sa.state, encrypted) {
        (true, State::SaSent, false) => {
            let Ok(list) = isakmp::payloads(header.next_payload, body) else { return malformed(core) };
            chosen(core, sa, header, &list)
        }
        (false, State::SaSent, false) | (true, State::KeSent, false) => {
            let Ok(list) = isakmp::payloads(header.next_payload, body) else { return malformed(core) };
            key_exchange(core, sa, &list)
        }
        (true, State::AuthSent, true) | (false, State::KeSent, true) => {
            authentication(core, now, sa, header, body)
        }
        _ => {
            core.drop_datagram("main mode message out of turn");
            Outcome::Continues
        }
    }
}

fn malformed(core: &mut Core) -> Outcome {
    core.drop_datagram("malformed payloads");
    Outcome::Continues
}

/// Message 2: the responder has chosen.
fn chosen(core: &mut Core, sa: &mut Phase1, header: &Header, list: &[Payload<'_>]) -> Outcome {
    let Some(peer) = core.peer(sa.peer) else { return Outcome::Continues };
    let Some(answer) = message::find(list, kind::SA) else { return malformed(core) };
    if header.responder_cookie == [0; 8] {
        return malformed(core);
    }
    match proposal::accept_phase1(peer, answer) {
        Err(explanation) => {
            core.fail(Failure::new(sa.remote.ip(), Stage::Phase1, Cause::Protocol, explanation));
            Outcome::Continues
        }
        Ok(proposal) => {
            let [_, responder_cookie] = &mut sa.cookies;
            *responder_cookie = header.responder_cookie;
            negotiation::note_vendor_ids(sa, list);
            let id = core.job_for(sa.id, 0);
            core.jobs.push_back(Job::generate(id, proposal.group, core.random.as_mut()));
            sa.proposal = Some(proposal);
            answered(sa);
            sa.state = State::KeComputing;
            Outcome::Continues
        }
    }
}

/// Messages 3 and 4.
fn key_exchange(core: &mut Core, sa: &mut Phase1, list: &[Payload<'_>]) -> Outcome {
    let Some(proposal) = &sa.proposal else { return Outcome::Continues };
    let public = message::find(list, kind::KE).filter(|public| public.len() == proposal.group.public_len());
    let (Some(public), Some(nonce)) = (public, message::nonce(list)) else {
        core.drop_datagram("key exchange or nonce of a wrong length");
        return Outcome::Continues;
    };
    let their = 1 - sa.own();
    if let (Some(slot), Some(publics)) = (sa.nonces.get_mut(their), sa.publics.get_mut(their)) {
        *slot = nonce;
        *publics = public.to_vec();
    }
    let id = core.job_for(sa.id, 0);
    let job = match sa.private.take() {
        Some(private) => {
            sa.state = State::SharedComputing;
            Job::agree(id, private, public.to_vec())
        }
        None => {
            sa.state = State::KeComputing;
            Job::generate_and_agree(id, proposal.group, core.random.as_mut(), public.to_vec())
        }
    };
    answered(sa);
    core.jobs.push_back(job);
    Outcome::Continues
}

/// An exponentiation is done.
pub(crate) fn handle_job(core: &mut Core, now: Instant, sa: &mut Phase1, done: JobDone) {
    if sa.state == State::KeComputing {
        let nonce_len = core.peer(sa.peer).map_or(16, |peer| peer.nonce_len);
        let nonce = core.random_bytes(nonce_len);
        let own = sa.own();
        if let (Some(slot), Some(publics)) = (sa.nonces.get_mut(own), sa.publics.get_mut(own)) {
            slot.clone_from(&nonce);
            publics.clone_from(&done.public);
        }
        sa.private = done.private;
        let list = [(kind::KE, done.public), (kind::NONCE, nonce)];
        let bytes = message::clear(sa.cookies, sa.exchange_type(), 0, &list);
        sa.state = State::KeSent;
        send(core, now, sa, bytes, sa.initiator);
        if sa.initiator {
            return;
        }
    }
    match done.shared {
        Some(Ok(shared)) => negotiation::derive(core, sa, &shared),
        Some(Err(error)) => {
            let text = format!("its Diffie-Hellman value is refused: {error}");
            core.fail(Failure::new(sa.remote.ip(), Stage::Phase1, Cause::Protocol, text));
            return;
        }
        None => return,
    }
    if sa.initiator && sa.state == State::SharedComputing {
        sa.state = State::AuthSent;
        send_authentication(core, now, sa);
    }
}

/// Messages 5 and 6 of this side.
fn send_authentication(core: &mut Core, now: Instant, sa: &mut Phase1) {
    let Some(keys) = sa.keys.take() else { return };
    let id = auth::own_identity(core, sa);
    let proof = auth::prove(sa, &keys, &id);
    let mut list = vec![(kind::ID, id)];
    list.extend(proof);
    if sa.says_initial_contact {
        // strongSwan looks for it only here, racoon only in an informational message: they get both.
        list.push(informational::notification(sa, Notification::INITIAL_CONTACT, Vec::new()));
    }
    let list = isakmp::chain(&list);
    let mut iv = std::mem::take(&mut sa.iv);
    let bytes = message::sealed(sa, &keys, &mut iv, sa.exchange_type(), 0, list);
    sa.iv = iv;
    sa.keys = Some(keys);
    send(core, now, sa, bytes, sa.initiator);
}

/// Messages 5 and 6 of the peer.
fn authentication(core: &mut Core, now: Instant, sa: &mut Phase1, header: &Header, body: &[u8]) -> Outcome {
    let Some(keys) = sa.keys.take() else {
        core.drop_datagram("main mode message out of turn");
        return Outcome::Continues;
    };
    let opened = open(core, &keys, sa, header, body);
    sa.keys = Some(keys);
    let opened = match opened {
        Ok(opened) => opened,
        Err(why) => {
            negotiation::not_believed(core, sa, &why);
            return Outcome::Continues;
        }
    };
    sa.peer_identity = Some(opened.identity);
    sa.iv = opened.next_iv;
    sa.heard_initial_contact = opened.initial_contact;
    sa.heard = now;
    answered(sa);
    if !sa.initiator {
        send_authentication(core, now, sa);
    }
    if let Some(keys) = &mut sa.keys {
        keys.last_block.clone_from(&sa.iv);
    }
    negotiation::established(core, now, sa);
    Outcome::Established
}

/// What the peer's authentication holds.
struct Opened {
    /// Who it is.
    identity: isakmp::Identity,
    /// The next initialization vector.
    next_iv: Vec<u8>,
    /// It says that it has started anew.
    initial_contact: bool,
}

fn open(core: &Core, keys: &Keys, sa: &Phase1, header: &Header, body: &[u8]) -> Result<Opened, Unproven> {
    let (plain, next_iv) = keys.decrypt(&sa.iv, body).ok_or(Unproven::Unreadable)?;
    let list = isakmp::payloads(header.next_payload, &plain).map_err(|_| Unproven::Unreadable)?;
    let identity = auth::check(core, sa, keys, &list)?;
    Ok(Opened { identity, next_iv, initial_contact: informational::says_initial_contact(&list) })
}
