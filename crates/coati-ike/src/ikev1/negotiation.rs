//! What main mode and aggressive mode share: cookies, vendor ids, keys, sending, and what success and failure mean.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use coati_sadb::Secret;
use coati_wire::isakmp::{Notification, Payload, exchange, kind};

use super::auth::{self, Unproven};
use super::fragment;
use super::greeting::Abilities;
use super::informational;
use super::keys::{Keys, Material, Prf};
use super::nat;
use super::phase1::{Phase1, State};
use super::xauth;
use crate::config::{ExchangeMode, Fragmentation, IkeProposal, NatTraversal, Peer};
use crate::core::{Core, Timer};
use crate::engine::ExposedKey;
use crate::event::Event;
use crate::failure::{Cause, Failure, Stage};
use crate::retransmission::Retransmission;

/// RFC 3706.
const VENDOR_DPD: [u8; 16] = *b"\xaf\xca\xd7\x13\x68\xa1\xf1\xc9\x6b\x86\x96\xfc\x77\x57\x01\x00";
/// "FRAGMENTATION", hashed; capabilities follow.
const VENDOR_FRAGMENTATION: [u8; 16] = *b"\x40\x48\xb7\xd5\x6e\xbc\xe8\x85\x25\xe7\xde\x7f\x00\xd6\xc2\xd3";
/// Where a peer listens for what comes through a NAT (RFC 3947).
const NATT_PORT: u16 = 4500;

/// Whether an exchange has come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Continues,
    Established,
    /// It has come to nothing.
    Failed,
}

/// A cookie of ours: random, never 0.
pub(crate) fn new_cookie(core: &mut Core) -> [u8; 8] {
    let mut cookie = [0; 8];
    while cookie == [0; 8] {
        core.random.fill(&mut cookie);
    }
    cookie
}

/// What we can do.
pub(crate) fn vendor_ids(core: &Core, peer: usize) -> Vec<(u8, Vec<u8>)> {
    let mut list = Vec::new();
    if core.peer(peer).is_some_and(|peer| peer.fragmentation != Fragmentation::Off) {
        let vendor = [&VENDOR_FRAGMENTATION[..], &fragment::CAPABILITIES].concat();
        list.push((kind::VENDOR_ID, vendor));
    }
    if core.peer(peer).is_some_and(|peer| peer.announces_dpd) {
        list.push((kind::VENDOR_ID, VENDOR_DPD.to_vec()));
    }
    let logs_in = |proposal: &IkeProposal| proposal.auth.is_client() || proposal.auth.is_server();
    if core.peer(peer).is_some_and(|peer| peer.proposals.iter().any(logs_in)) {
        list.push((kind::VENDOR_ID, xauth::VENDOR.to_vec()));
    }
    list.extend(core.peer(peer).map_or(Vec::new(), nat::offered));
    list
}

/// What we can do of what the peer can: an answer never grows beyond its question.
pub(crate) fn vendor_answers(core: &Core, peer: usize, list: &[Payload<'_>]) -> Vec<(u8, Vec<u8>)> {
    let Some(config) = core.peer(peer) else { return Vec::new() };
    let theirs = abilities(config, list);
    let version = theirs.nat.and_then(|version| nat::chosen(version, list));
    let ours = vendor_ids(core, peer).into_iter().filter(|(_, id)| {
        id.starts_with(&VENDOR_FRAGMENTATION) && theirs.fragmentation
            || id == &VENDOR_DPD && theirs.dpd
            || id.as_slice() == xauth::VENDOR && list.iter().any(|payload| payload.body == xauth::VENDOR)
    });
    ours.chain(version).collect()
}

/// What the vendor ids of a peer say, as far as we want it.
pub(crate) fn abilities(peer: &Peer, list: &[Payload<'_>]) -> Abilities {
    let mut found = Abilities { nat: nat::common(peer, list), ..Abilities::default() };
    for payload in list.iter().filter(|payload| payload.kind == kind::VENDOR_ID) {
        // The last two bytes of DPD's are its version.
        found.dpd |= payload.body.get(..14) == VENDOR_DPD.get(..14);
        found.fragmentation |= payload.body.starts_with(&VENDOR_FRAGMENTATION);
    }
    found
}

/// Notes what the peer can do.
pub(crate) fn note_abilities(core: &Core, sa: &mut Phase1, list: &[Payload<'_>]) {
    if let Some(peer) = core.peer(sa.peer) {
        set_abilities(sa, abilities(peer, list));
    }
}

pub(crate) fn set_abilities(sa: &mut Phase1, found: Abilities) {
    sa.peer_has_dpd |= found.dpd;
    sa.peer_has_fragmentation |= found.fragmentation;
    sa.nat.version = found.nat;
}

/// Whether NAT traversal is wanted whatever the peer's hashes say.
pub(crate) fn is_forced(core: &Core, sa: &Phase1) -> bool {
    core.peer(sa.peer).is_some_and(|peer| peer.nat_traversal == NatTraversal::Force)
}

/// Takes our half of the key exchange and makes our nonce.
pub(crate) fn take_own_half(core: &mut Core, sa: &mut Phase1, public: Vec<u8>) {
    let nonce_len = core.peer(sa.peer).map_or(16, |peer| peer.nonce_len);
    let nonce = core.random_bytes(nonce_len);
    let own = sa.own();
    if let (Some(slot), Some(publics)) = (sa.nonces.get_mut(own), sa.publics.get_mut(own)) {
        *slot = nonce;
        *publics = public;
    }
}

/// An initiator moves to the port that passes NATs (RFC 3947 section 4).
pub(crate) fn float(core: &Core, sa: &mut Phase1) {
    if sa.nat.version.is_none_or(|version| !version.floats()) {
        return;
    }
    sa.local.set_port(core.config.natt_port);
    sa.remote.set_port(NATT_PORT);
}

/// The message being handled is the peer's beyond doubt: it lives, and behind a NAT it is where that came from.
pub(crate) fn heard(core: &mut Core, now: Instant, sa: &mut Phase1) {
    sa.heard = now;
    if sa.via == (sa.local, sa.remote) || !sa.nat.found() || sa.is_established() && !sa.nat.before_peer {
        return;
    }
    let before = sa.remote;
    (sa.local, sa.remote) = sa.via;
    core.peer_moved(before, sa.local, sa.remote);
}

/// Complains to somebody who has proved nothing, not too often.
pub(crate) fn refuse(
    core: &mut Core,
    now: Instant,
    ends: (SocketAddr, SocketAddr),
    cookies: [[u8; 8]; 2],
    what: u16,
) {
    if core.may_complain(now) {
        informational::complain(core, ends.0, ends.1, cookies, what);
    }
}

/// Makes the keys of phase 1 of the Diffie-Hellman secret.
pub(crate) fn derive(core: &mut Core, sa: &mut Phase1, shared: &[u8]) {
    let Some(proposal) = &sa.proposal else { return };
    let Some(skeyid) = auth::skeyid(core, sa, proposal.hash, shared) else { return };
    let [gi, gr] = &sa.publics;
    let material = Material { skeyid: &skeyid, publics: [gi, gr], cookies: sa.cookies, shared };
    let mut key = core.exposed.is_some().then(Secret::default);
    sa.keys = Keys::derive(proposal.hash, proposal.cipher, &material, key.as_mut());
    if let (Some(exposed), Some(key)) = (&mut core.exposed, key) {
        let [initiator_cookie, _] = sa.cookies;
        exposed.push_back(ExposedKey { initiator_cookie, key });
    }
    sa.signed_prf = sa.method().curve().map(|curve| Prf::new(curve.hash(), &skeyid));
    sa.iv = sa.keys.as_ref().map_or(Vec::new(), |keys| keys.last_block.clone());
}

/// Explains why the peer is not believed, and tells it once.
pub(crate) fn not_believed(core: &mut Core, sa: &mut Phase1, why: &Unproven) {
    core.drop_datagram("authentication failed");
    let explanation = match why {
        Unproven::SomebodyElse(text) | Unproven::Refused(text) => text.clone(),
        Unproven::Unreadable | Unproven::Wrong if sa.method().has_psk() => {
            let key = core.config.key_of(sa.remote.ip(), sa.key_name().as_deref());
            let origin = key.map_or(String::new(), |key| format!(" ({})", key.origin));
            format!(
                "what it sent cannot be decrypted or its hash is wrong: its pre-shared key and ours{origin} \
                 probably differ; compare them, also for blanks at the end"
            )
        }
        Unproven::Unreadable | Unproven::Wrong => {
            "what it sent cannot be decrypted, or holds no signature: the two sides have different keys"
                .to_owned()
        }
    };
    let origin = match why {
        Unproven::Refused(_) => core.peer(sa.peer).map(|peer| peer.credentials.trust_origin.clone()),
        Unproven::SomebodyElse(_) => core.peer(sa.peer).map(|peer| peer.origin.clone()),
        _ => core.config.key_of(sa.remote.ip(), sa.key_name().as_deref()).map(|key| key.origin.clone()),
    };
    let failure = Failure::new(sa.remote.ip(), Stage::Phase1, Cause::Authentication, explanation);
    core.fail(failure.at(&origin.unwrap_or_default()));
    if !sa.complained {
        sa.complained = true;
        informational::complain(core, sa.local, sa.remote, sa.cookies, Notification::AUTHENTICATION_FAILED);
    }
}

/// An initiator has said who it is, and the peer could not read it, as far as one can tell: it is silent, or says
/// something that is not authenticated. `what` it does is told.
pub(crate) fn suspect_key(core: &Core, sa: &Phase1, what: &str) -> Option<Failure> {
    let asked = sa.initiator && sa.exchange == ExchangeMode::Main && sa.state == State::AuthSent;
    let key = core
        .config
        .key_of(sa.remote.ip(), sa.key_name().as_deref())
        .filter(|_| asked && sa.method().has_psk())?;
    let text = format!(
        "{what}: its pre-shared key and ours ({}) probably differ; compare them, also for blanks at the end",
        key.origin
    );
    let failure = Failure::new(sa.remote.ip(), Stage::Phase1, Cause::Authentication, text);
    Some(failure.at(&key.origin))
}

/// Both sides are known to each other.
pub(crate) fn established(core: &mut Core, now: Instant, sa: &mut Phase1) {
    sa.state = State::Established;
    sa.established = Some(now);
    sa.lifetime = Duration::from_secs(sa.proposal.as_ref().map_or(28_800, |p| u64::from(p.lifetime)));
    // The ephemeral values have done their work.
    sa.private = None;
    sa.publics = Default::default();
    sa.nonces = Default::default();
    sa.sa_body = Vec::new();
    sa.answer_body = Vec::new();
    sa.vendor_answers = Vec::new();
    sa.requested = Vec::new();
    // A login that was refused is the last word until another one has passed.
    if !sa.method().is_client() && !sa.method().is_server() {
        core.failures.remove(&sa.remote.ip());
    }
    core.events.push_back(Event::IsakmpEstablished { local: sa.local, remote: sa.remote, spi: sa.spi() });
    // The responder renews late: the initiator should have done it.
    let share = if sa.initiator { 80 } else { 90 };
    let jitter = core.random.below(5);
    core.set_timer(now + sa.lifetime * (share - jitter) / 100, Timer::Renew(sa.id));
    core.set_timer(now + sa.lifetime, Timer::Expire(sa.id));
    if sa.nat.found() && sa.nat.before_us && !core.config.natt_keepalive.is_zero() {
        core.set_timer(now + core.config.natt_keepalive, Timer::Keepalive(sa.id));
    }
}

/// Our message was answered: it is not repeated any more.
pub(crate) fn answered(sa: &mut Phase1) {
    if let Some(last) = &mut sa.last_sent {
        last.stop();
    }
}

/// Sends a message, in pieces when that is agreed upon, and keeps it for repetitions.
pub(crate) fn send(core: &mut Core, now: Instant, sa: &mut Phase1, bytes: Vec<u8>, insist: bool) {
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
    let patience = &core.config.patience;
    let last = Retransmission::new(now, datagrams, insist.then_some((patience, sa.began + patience.phase1)));
    if let Some(due) = last.due() {
        core.set_timer(due, Timer::Phase1(sa.id));
    }
    sa.last_sent = Some(last);
}

impl Phase1 {
    /// The number of its exchange type.
    pub(crate) fn exchange_type(&self) -> u8 {
        match self.exchange {
            ExchangeMode::Main => exchange::IDENTITY_PROTECTION,
            ExchangeMode::Aggressive => exchange::AGGRESSIVE,
        }
    }
}
