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
use std::time::{Duration, Instant};

use coati_crypto::constant_time_eq;
use coati_wire::isakmp::{self, Header, Identity, Notification, Payload, exchange, kind};

use super::fragment;
use super::informational;
use super::keys::{Keys, Material};
use super::message;
use super::phase1::{Phase1, State};
use super::proposal;
use crate::config::Fragmentation;
use crate::core::{Core, Timer};
use crate::event::Event;
use crate::job::{Job, JobDone};
use crate::retransmission::Retransmission;

/// RFC 3706.
const VENDOR_DPD: [u8; 16] = *b"\xaf\xca\xd7\x13\x68\xa1\xf1\xc9\x6b\x86\x96\xfc\x77\x57\x01\x00";
/// "FRAGMENTATION", hashed; capabilities follow.
const VENDOR_FRAGMENTATION: [u8; 16] = *b"\x40\x48\xb7\xd5\x6e\xbc\xe8\x85\x25\xe7\xde\x7f\x00\xd6\xc2\xd3";
/// What a responder does for somebody unknown ends after this time.
const HALF_OPEN_LIFE: Duration = Duration::from_secs(32);

/// Whether an exchange has come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Continues,
    Established,
}

/// Begins main mode. `None` when there is no key, which is explained.
pub(crate) fn initiate(
    core: &mut Core,
    now: Instant,
    peer: usize,
    local: SocketAddr,
    remote: SocketAddr,
) -> Option<Phase1> {
    if !has_key(core, remote) {
        return None;
    }
    let sa_body = proposal::offer_phase1(core.peer(peer)?);
    let mut cookie = [0; 8];
    while cookie == [0; 8] {
        core.random.fill(&mut cookie);
    }
    let mut sa = Phase1::new(core.next_id(), peer, (local, remote), true, [cookie, [0; 8]], now);
    let mut list = vec![(kind::SA, sa_body.clone())];
    list.extend(vendor_ids(core, peer));
    sa.sa_body = sa_body;
    let bytes = message::clear(sa.cookies, exchange::IDENTITY_PROTECTION, 0, &list);
    core.events.push_back(Event::MainModeBegun { local, remote, initiator: true });
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
    if !has_key(core, remote) {
        return None;
    }
    let mut cookie = [0; 8];
    while cookie == [0; 8] {
        core.random.fill(&mut cookie);
    }
    let cookies = [header.initiator_cookie, cookie];
    let choice = match proposal::choose_phase1(core.peer(peer)?, sa_body) {
        Ok(choice) => choice,
        Err(explanation) => {
            informational::complain(core, local, remote, cookies, Notification::NO_PROPOSAL_CHOSEN);
            core.fail(remote.ip(), format!("{remote}: {explanation}"));
            return None;
        }
    };
    let mut sa = Phase1::new(core.next_id(), peer, (local, remote), false, cookies, now);
    sa.sa_body = sa_body.to_vec();
    note_vendor_ids(&mut sa, &list);
    sa.proposal = Some(choice.proposal);
    let mut answer = vec![(kind::SA, choice.answer)];
    answer.extend(vendor_ids(core, peer));
    let bytes = message::clear(cookies, exchange::IDENTITY_PROTECTION, 0, &answer);
    core.events.push_back(Event::MainModeBegun { local, remote, initiator: false });
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
            core.fail(sa.remote.ip(), format!("{}: {explanation}", sa.remote));
            Outcome::Continues
        }
        Ok(proposal) => {
            let [_, responder_cookie] = &mut sa.cookies;
            *responder_cookie = header.responder_cookie;
            note_vendor_ids(sa, list);
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
        let bytes = message::clear(sa.cookies, exchange::IDENTITY_PROTECTION, 0, &list);
        sa.state = State::KeSent;
        send(core, now, sa, bytes, sa.initiator);
        if sa.initiator {
            return;
        }
    }
    match done.shared {
        Some(Ok(shared)) => derive(core, sa, &shared),
        Some(Err(error)) => {
            core.fail(sa.remote.ip(), format!("{}: its Diffie-Hellman value is refused: {error}", sa.remote));
            return;
        }
        None => return,
    }
    if sa.initiator && sa.state == State::SharedComputing {
        sa.state = State::AuthSent;
        send_authentication(core, now, sa);
    }
}

fn derive(core: &Core, sa: &mut Phase1, shared: &[u8]) {
    let (Some(key), Some(proposal)) = (core.config.key_of(sa.remote.ip()), &sa.proposal) else { return };
    let ([ni, nr], [gi, gr]) = (&sa.nonces, &sa.publics);
    let material =
        Material { psk: key.key.expose(), nonces: [ni, nr], publics: [gi, gr], cookies: sa.cookies, shared };
    sa.keys = Keys::derive(proposal.hash, proposal.cipher, &material);
    sa.iv = sa.keys.as_ref().map_or(Vec::new(), |keys| keys.last_block.clone());
}

/// Messages 5 and 6 of this side.
fn send_authentication(core: &mut Core, now: Instant, sa: &mut Phase1) {
    let Some(keys) = sa.keys.take() else { return };
    let id = own_identity(sa.local).emit();
    let hash = authentication_hash(&keys, sa, sa.initiator, &id);
    let mut list = vec![(kind::ID, id), (kind::HASH, hash)];
    if sa.says_initial_contact {
        // strongSwan looks for it only here, racoon only in an informational message: they get both.
        list.push(informational::notification(sa, Notification::INITIAL_CONTACT, Vec::new()));
    }
    let list = isakmp::chain(&list);
    let mut iv = std::mem::take(&mut sa.iv);
    let bytes = message::sealed(sa, &keys, &mut iv, exchange::IDENTITY_PROTECTION, 0, list);
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
    let opened = open_authentication(&keys, sa, header, body);
    sa.keys = Some(keys);
    let Some(opened) = opened else {
        wrong_key(core, sa);
        return Outcome::Continues;
    };
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
    established(core, now, sa);
    Outcome::Established
}

/// What the peer's authentication holds.
struct Opened {
    /// The next initialization vector.
    next_iv: Vec<u8>,
    /// It says that it has started anew.
    initial_contact: bool,
}

/// `None` unless the peer has proved that it has the key.
fn open_authentication(keys: &Keys, sa: &Phase1, header: &Header, body: &[u8]) -> Option<Opened> {
    let (plain, next_iv) = keys.decrypt(&sa.iv, body)?;
    let list = isakmp::payloads(header.next_payload, &plain).ok()?;
    let (id, hash) = (message::find(&list, kind::ID)?, message::find(&list, kind::HASH)?);
    Identity::parse(id).ok()?;
    if !constant_time_eq(&authentication_hash(keys, sa, !sa.initiator, id), hash) {
        return None;
    }
    let initial_contact = list.iter().filter(|payload| payload.kind == kind::NOTIFICATION).any(|payload| {
        Notification::parse(payload.body).is_ok_and(|found| found.kind == Notification::INITIAL_CONTACT)
    });
    Some(Opened { next_iv, initial_contact })
}

/// HASH_I or HASH_R.
fn authentication_hash(keys: &Keys, sa: &Phase1, of_initiator: bool, id: &[u8]) -> Vec<u8> {
    let ([gi, gr], [ci, cr]) = (&sa.publics, &sa.cookies);
    if of_initiator {
        keys.skeyid.sign(&[gi, gr, ci, cr, &sa.sa_body, id])
    } else {
        keys.skeyid.sign(&[gr, gi, cr, ci, &sa.sa_body, id])
    }
}

fn wrong_key(core: &mut Core, sa: &mut Phase1) {
    core.drop_datagram("authentication failed");
    let origin = core.config.key_of(sa.remote.ip()).map_or(String::new(), |key| format!(" ({})", key.origin));
    let explanation = format!(
        "{}: what it sent cannot be decrypted or its hash is wrong: its pre-shared key and ours{origin} probably \
         differ; compare them, also for blanks at the end",
        sa.remote
    );
    core.fail(sa.remote.ip(), explanation);
    if !sa.complained {
        sa.complained = true;
        informational::complain(core, sa.local, sa.remote, sa.cookies, Notification::AUTHENTICATION_FAILED);
    }
}

fn established(core: &mut Core, now: Instant, sa: &mut Phase1) {
    sa.state = State::Established;
    sa.established = Some(now);
    sa.lifetime = Duration::from_secs(sa.proposal.as_ref().map_or(28_800, |p| u64::from(p.lifetime)));
    // Main mode's ephemeral values have done their work.
    sa.private = None;
    sa.sa_body = Vec::new();
    core.failures.remove(&sa.remote.ip());
    core.events.push_back(Event::IsakmpEstablished { local: sa.local, remote: sa.remote, spi: sa.spi() });
    // The responder renews late: the initiator should have done it.
    let share = if sa.initiator { 80 } else { 90 };
    let jitter = core.random.below(5);
    core.set_timer(now + sa.lifetime * (share - jitter) / 100, Timer::Renew(sa.id));
    core.set_timer(now + sa.lifetime, Timer::Expire(sa.id));
}

/// Our message was answered: it is not repeated any more.
fn answered(sa: &mut Phase1) {
    if let Some(last) = &mut sa.last_sent {
        last.stop();
    }
}

fn send(core: &mut Core, now: Instant, sa: &mut Phase1, bytes: Vec<u8>, insist: bool) {
    let mode = core.peer(sa.peer).map_or(Fragmentation::Off, |peer| peer.fragmentation);
    let cut = match mode {
        Fragmentation::Off => false,
        Fragmentation::On => sa.peer_has_fragmentation,
        Fragmentation::Force => sa.initiator || sa.peer_has_fragmentation,
    };
    let datagrams = if cut { fragment::split(bytes, 1) } else { vec![bytes] };
    for datagram in &datagrams {
        core.send(sa.local, sa.remote, datagram.clone());
    }
    let last = Retransmission::new(now, datagrams, insist);
    if let Some(due) = last.due() {
        core.set_timer(due, Timer::MainMode(sa.id));
    }
    sa.last_sent = Some(last);
}

fn vendor_ids(core: &Core, peer: usize) -> Vec<(u8, Vec<u8>)> {
    let mut list = Vec::new();
    if core.peer(peer).is_some_and(|peer| peer.fragmentation != Fragmentation::Off) {
        let vendor = [&VENDOR_FRAGMENTATION[..], &fragment::CAPABILITIES].concat();
        list.push((kind::VENDOR_ID, vendor));
    }
    list.push((kind::VENDOR_ID, VENDOR_DPD.to_vec()));
    list
}

fn note_vendor_ids(sa: &mut Phase1, list: &[Payload<'_>]) {
    for payload in list.iter().filter(|payload| payload.kind == kind::VENDOR_ID) {
        // The last two bytes of DPD's are its version.
        sa.peer_has_dpd |= payload.body.get(..14) == VENDOR_DPD.get(..14);
        sa.peer_has_fragmentation |= payload.body.starts_with(&VENDOR_FRAGMENTATION);
    }
}

fn own_identity(local: SocketAddr) -> Identity {
    let (kind, data) = match local.ip() {
        std::net::IpAddr::V4(address) => (Identity::IPV4, address.octets().to_vec()),
        std::net::IpAddr::V6(address) => (Identity::IPV6, address.octets().to_vec()),
    };
    Identity { kind, protocol: 17, port: local.port(), data }
}

fn has_key(core: &mut Core, remote: SocketAddr) -> bool {
    let found = core.config.key_of(remote.ip()).is_some();
    if !found {
        core.fail(remote.ip(), format!("{remote}: psk.txt has no key for {}", remote.ip()));
    }
    found
}
