//! What main mode and aggressive mode share: cookies, vendor ids, keys, sending, and what success and failure mean.

use std::time::{Duration, Instant};

use coati_wire::isakmp::{Notification, Payload, exchange, kind};

use super::auth::{self, Unproven};
use super::fragment;
use super::informational;
use super::keys::{Keys, Material};
use super::phase1::{Phase1, State};
use crate::config::{ExchangeMode, Fragmentation};
use crate::core::{Core, Timer};
use crate::event::Event;
use crate::failure::{Cause, Failure, Stage};
use crate::retransmission::Retransmission;

/// RFC 3706.
const VENDOR_DPD: [u8; 16] = *b"\xaf\xca\xd7\x13\x68\xa1\xf1\xc9\x6b\x86\x96\xfc\x77\x57\x01\x00";
/// "FRAGMENTATION", hashed; capabilities follow.
const VENDOR_FRAGMENTATION: [u8; 16] = *b"\x40\x48\xb7\xd5\x6e\xbc\xe8\x85\x25\xe7\xde\x7f\x00\xd6\xc2\xd3";
/// What a responder does for somebody unknown ends after this time.
pub(crate) const HALF_OPEN_LIFE: Duration = Duration::from_secs(32);

/// Whether an exchange has come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Continues,
    Established,
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
    list.push((kind::VENDOR_ID, VENDOR_DPD.to_vec()));
    list
}

/// What the peer can do.
pub(crate) fn note_vendor_ids(sa: &mut Phase1, list: &[Payload<'_>]) {
    for payload in list.iter().filter(|payload| payload.kind == kind::VENDOR_ID) {
        // The last two bytes of DPD's are its version.
        sa.peer_has_dpd |= payload.body.get(..14) == VENDOR_DPD.get(..14);
        sa.peer_has_fragmentation |= payload.body.starts_with(&VENDOR_FRAGMENTATION);
    }
}

/// Makes the keys of phase 1 of the Diffie-Hellman secret.
pub(crate) fn derive(core: &Core, sa: &mut Phase1, shared: &[u8]) {
    let Some(proposal) = &sa.proposal else { return };
    let Some(skeyid) = auth::skeyid(core, sa, proposal.hash, shared) else { return };
    let [gi, gr] = &sa.publics;
    let material = Material { skeyid: &skeyid, publics: [gi, gr], cookies: sa.cookies, shared };
    sa.keys = Keys::derive(proposal.hash, proposal.cipher, &material);
    sa.iv = sa.keys.as_ref().map_or(Vec::new(), |keys| keys.last_block.clone());
}

/// Explains why the peer is not believed, and tells it once.
pub(crate) fn not_believed(core: &mut Core, sa: &mut Phase1, why: &Unproven) {
    core.drop_datagram("authentication failed");
    let explanation = match why {
        Unproven::SomebodyElse(text) => text.clone(),
        Unproven::Unreadable | Unproven::Wrong if sa.method().has_psk() => {
            let key = core.config.key_of(sa.remote.ip(), sa.key_name().as_deref());
            let origin = key.map_or(String::new(), |key| format!(" ({})", key.origin));
            format!(
                "what it sent cannot be decrypted or its hash is wrong: its pre-shared key and ours{origin} \
                 probably differ; compare them, also for blanks at the end"
            )
        }
        Unproven::Unreadable | Unproven::Wrong => "its signature is missing or wrong".to_owned(),
    };
    let origin = match why {
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

/// Both sides are known to each other.
pub(crate) fn established(core: &mut Core, now: Instant, sa: &mut Phase1) {
    sa.state = State::Established;
    sa.established = Some(now);
    sa.lifetime = Duration::from_secs(sa.proposal.as_ref().map_or(28_800, |p| u64::from(p.lifetime)));
    // The ephemeral values have done their work.
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
    let last = Retransmission::new(now, datagrams, insist);
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
