//! Main mode (RFC 2409 section 5).
//!
//! ```text
//!   initiator                         responder
//!   SaSent        SA, VID    ──▶
//!                            ◀──      SA, VID         a Greeting
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

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;

use coati_wire::isakmp::{self, Header, Notification, Payload, exchange, kind};

use super::auth::{self, Believed, Unproven};
use super::greeting::{Abilities, Greeting, Greetings};
use super::informational;
use super::keys::Keys;
use super::message;
use super::nat;
use super::negotiation::{self, Outcome, answered, send};
use super::phase1::{Claim, Phase1, State};
use super::proposal;
use super::signature;
use crate::config::ExchangeMode;
use crate::core::{Core, Timer};
use crate::event::Event;
use crate::failure::{Cause, Failure, Stage};
use crate::job::{Job, JobDone, Proof};

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
    let sa_body = proposal::offer_phase1(core.peer(peer)?, None);
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

/// Answers the first message of a peer. Nothing but the greeting remains of it.
pub(crate) fn respond(
    core: &mut Core,
    now: Instant,
    (greetings, own_cookies): (&mut Greetings, &HashMap<[u8; 8], u64>),
    ends: (SocketAddr, SocketAddr),
    header: &Header,
    body: &[u8],
) {
    let (local, remote) = ends;
    let Ok(list) = isakmp::payloads(header.next_payload, body) else {
        return core.drop_datagram("malformed payloads");
    };
    let Some(offer) = message::find(&list, kind::SA) else {
        return core.drop_datagram("first message without proposals");
    };
    let candidates = core.config.candidates(remote.ip(), ExchangeMode::Main, None);
    let Some(first) = candidates.first() else {
        return core.drop_datagram("no remote section for the sender");
    };
    if !auth::check_means(core, *first, remote) {
        return;
    }
    let cookie = greetings.cookie(local, remote, header.initiator_cookie, offer);
    if own_cookies.contains_key(&cookie) {
        return core.drop_datagram("first message of an exchange that has gone on");
    }
    let cookies = [header.initiator_cookie, cookie];
    let (peer, choice) = match proposal::choose_among(&core.config.peers, &candidates, offer) {
        Ok(chosen) => chosen,
        Err(why) => {
            negotiation::refuse(core, now, ends, cookies, Notification::NO_PROPOSAL_CHOSEN);
            return core.fail_stranger(now, Failure::new(remote.ip(), Stage::Phase1, Cause::NoProposal, why));
        }
    };
    let mut answer = vec![(kind::SA, choice.answer)];
    answer.extend(negotiation::vendor_answers(core, peer, &list));
    let abilities = core.peer(peer).map_or(Abilities::default(), |peer| negotiation::abilities(peer, &list));
    let greeting = Greeting {
        local,
        remote,
        cookies,
        peer: u32::try_from(peer).unwrap_or(u32::MAX),
        proposal: choice.index,
        lifetime: choice.proposal.lifetime,
        sa_body: offer.into(),
        abilities,
        since: now,
    };
    let is_named = core.peer(peer).is_some_and(|peer| peer.address == Some(remote.ip()));
    greetings.keep(core.random.as_mut(), greeting, is_named);
    core.send(local, remote, message::clear(cookies, exchange::IDENTITY_PROTECTION, 0, &answer));
}

/// The initiator has received our answer: now it is worth a state machine.
pub(crate) fn resume(core: &mut Core, now: Instant, greeting: &Greeting) -> Option<Phase1> {
    let peer = usize::try_from(greeting.peer).ok()?;
    let proposal = greeting.agreed(&core.peer(peer)?.proposals)?;
    let (local, remote) = (greeting.local, greeting.remote);
    let id = core.next_id();
    let mut sa = Phase1::new(id, peer, ExchangeMode::Main, (local, remote), false, greeting.cookies, now);
    sa.sa_body = greeting.sa_body.to_vec();
    negotiation::set_abilities(&mut sa, greeting.abilities);
    sa.proposal = Some(proposal);
    let exchange = ExchangeMode::Main;
    core.events.push_back(Event::Phase1Begun { exchange, local, remote, initiator: false });
    core.set_timer(now + core.config.patience.phase1, Timer::HalfOpen(sa.id));
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
            negotiation::note_abilities(core, sa, list);
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
    let group = proposal.group;
    let force = negotiation::is_forced(core, sa);
    nat::detect(sa, list, force);
    let id = core.job_for(sa.id, 0);
    let job = match sa.private.take() {
        Some(private) => {
            sa.state = State::SharedComputing;
            Job::agree(id, private, public.to_vec())
        }
        None => {
            sa.state = State::KeComputing;
            Job::generate_and_agree(id, group, core.random.as_mut(), public.to_vec())
        }
    };
    signature::note_requests(sa, list);
    answered(sa);
    core.jobs.push_back(job);
    Outcome::Continues
}

/// An exponentiation is done.
pub(crate) fn handle_job(core: &mut Core, now: Instant, sa: &mut Phase1, done: JobDone) -> Outcome {
    if let Some(proof) = done.proof {
        return proved(core, now, sa, proof);
    }
    if sa.state == State::KeComputing {
        negotiation::take_own_half(core, sa, done.public.clone());
        sa.private = done.private;
        let nonce = sa.nonces.get(sa.own()).cloned().unwrap_or_default();
        let mut list = vec![(kind::KE, done.public), (kind::NONCE, nonce)];
        let force = negotiation::is_forced(core, sa);
        list.extend(nat::detection(sa, force));
        list.extend(auth::requests(core, sa));
        let bytes = message::clear(sa.cookies, sa.exchange_type(), 0, &list);
        sa.state = State::KeSent;
        send(core, now, sa, bytes, sa.initiator);
        if sa.initiator {
            return Outcome::Continues;
        }
    }
    match done.shared {
        Some(Ok(shared)) => negotiation::derive(core, sa, &shared),
        Some(Err(error)) => {
            let text = format!("its Diffie-Hellman value is refused: {error}");
            core.fail(Failure::new(sa.remote.ip(), Stage::Phase1, Cause::Protocol, text));
            return Outcome::Failed;
        }
        None => return Outcome::Continues,
    }
    if sa.initiator && sa.state == State::SharedComputing {
        if sa.nat.found() {
            negotiation::float(core, sa);
        }
        return begin_authentication(core, now, sa);
    }
    Outcome::Continues
}

/// A signature is made, or the peer's is judged.
fn proved(core: &mut Core, now: Instant, sa: &mut Phase1, proof: Proof) -> Outcome {
    if sa.state != State::Proving {
        return Outcome::Continues;
    }
    match proof {
        Proof::Signed(Err(error)) => {
            let text = format!("our identity cannot be proved: {error}");
            core.fail(Failure::new(sa.remote.ip(), Stage::Phase1, Cause::Configuration, text));
            Outcome::Continues
        }
        Proof::Signed(Ok(signature)) => {
            let proof = auth::signed(core, sa, signature);
            send_authentication(core, now, sa, proof)
        }
        Proof::Judged(verdict) => {
            let Some(claim) = sa.claim.take() else { return Outcome::Continues };
            match auth::judged(core, sa, &claim.identity, verdict) {
                Ok(peer) => believed(core, now, sa, Claim { peer, ..claim }),
                Err(why) => {
                    // The right one may still come.
                    sa.state = if sa.initiator { State::AuthSent } else { State::KeSent };
                    negotiation::not_believed(core, sa, &why);
                    Outcome::Continues
                }
            }
        }
    }
}

/// Proves our identity, at once or by a job.
fn begin_authentication(core: &mut Core, now: Instant, sa: &mut Phase1) -> Outcome {
    let Some(keys) = sa.keys.take() else { return Outcome::Continues };
    let id = auth::own_identity(core, sa);
    let proof = auth::prove(core, sa, &keys, &id);
    sa.keys = Some(keys);
    match proof {
        Some(proof) => send_authentication(core, now, sa, proof),
        None => {
            sa.state = State::Proving;
            Outcome::Continues
        }
    }
}

/// Messages 5 and 6 of this side.
fn send_authentication(core: &mut Core, now: Instant, sa: &mut Phase1, proof: Vec<(u8, Vec<u8>)>) -> Outcome {
    let Some(keys) = sa.keys.take() else { return Outcome::Continues };
    let id = auth::own_identity(core, sa);
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
    if sa.initiator {
        sa.state = State::AuthSent;
        return Outcome::Continues;
    }
    finish(core, now, sa)
}

fn finish(core: &mut Core, now: Instant, sa: &mut Phase1) -> Outcome {
    if let Some(keys) = &mut sa.keys {
        keys.last_block.clone_from(&sa.iv);
    }
    negotiation::established(core, now, sa);
    Outcome::Established
}

/// Messages 5 and 6 of the peer.
fn authentication(core: &mut Core, now: Instant, sa: &mut Phase1, header: &Header, body: &[u8]) -> Outcome {
    let Some(keys) = sa.keys.take() else {
        core.drop_datagram("main mode message out of turn");
        return Outcome::Continues;
    };
    let opened = open(core, now, &keys, sa, header, body);
    sa.keys = Some(keys);
    match opened {
        Ok((claim, false)) => believed(core, now, sa, claim),
        Ok((claim, true)) => {
            sa.claim = Some(claim);
            sa.state = State::Proving;
            Outcome::Continues
        }
        Err(why) => {
            negotiation::not_believed(core, sa, &why);
            Outcome::Continues
        }
    }
}

/// The peer has proved who it is.
fn believed(core: &mut Core, now: Instant, sa: &mut Phase1, claim: Claim) -> Outcome {
    sa.peer_identity = Some(claim.identity);
    sa.peer = claim.peer;
    sa.iv = claim.next_iv;
    sa.heard_initial_contact = claim.initial_contact;
    negotiation::heard(core, now, sa);
    answered(sa);
    if sa.initiator { finish(core, now, sa) } else { begin_authentication(core, now, sa) }
}

/// Decrypts the peer's authentication and checks it; whether a job has still to judge it.
fn open(
    core: &mut Core,
    now: Instant,
    keys: &Keys,
    sa: &Phase1,
    header: &Header,
    body: &[u8],
) -> Result<(Claim, bool), Unproven> {
    let (plain, next_iv) = keys.decrypt(&sa.iv, body).ok_or(Unproven::Unreadable)?;
    let list = isakmp::payloads(header.next_payload, &plain).map_err(|_| Unproven::Unreadable)?;
    let (Believed { identity, peer }, pending) = auth::check(core, now, sa, keys, &list)?;
    let initial_contact = informational::says_initial_contact(&list);
    Ok((Claim { identity, peer, next_iv, initial_contact }, pending))
}
