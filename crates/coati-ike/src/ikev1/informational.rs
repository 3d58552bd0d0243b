//! Informational exchanges: Delete, notifications, dead peer detection (RFC 2408 sections 3.14, 3.15; RFC 3706).

use std::net::SocketAddr;
use std::time::Instant;

use coati_sadb::Spi;
use coati_wire::isakmp::{Delete, Header, Notification, Payload, exchange, flag, kind};

use super::install::encapsulation;
use super::phase1::Phase1;
use super::proposal::PROTO_ESP;
use super::quick_mode::Quick;
use super::{message, negotiation, proposal, signature};
use crate::config::Dpd;
use crate::core::{Core, Timer};
use crate::failure::{Cause, Failure, Mismatch, Stage};

const DOI_IPSEC: u32 = 1;
const PROTO_ISAKMP: u8 = 1;

/// What an informational message asks of the engine.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Informed {
    /// Nothing more.
    Nothing,
    /// The peer has removed SAs that it received with.
    EspDeleted(Vec<Spi>),
    /// The peer has removed ISAKMP SAs: their cookies.
    IsakmpDeleted(Vec<Vec<u8>>),
    /// The peer has started anew.
    InitialContact,
    /// It is ready to receive with the SAs of the quick mode of this message id.
    Connected(u32),
}

/// A notification in clear, without keys: a hint for the peer's operator.
pub(crate) fn complain(
    core: &mut Core,
    local: SocketAddr,
    remote: SocketAddr,
    cookies: [[u8; 8]; 2],
    what: u16,
) {
    let notification = Notification {
        doi: DOI_IPSEC,
        protocol: PROTO_ISAKMP,
        spi: cookies.concat(),
        kind: what,
        data: Vec::new(),
    };
    let message_id = nonzero(core);
    let list = [(kind::NOTIFICATION, notification.emit())];
    let bytes = message::clear(cookies, exchange::INFORMATIONAL, message_id, &list);
    core.send(local, remote, bytes);
}

/// A message with keys.
fn send(core: &mut Core, sa: &Phase1, list: &[(u8, Vec<u8>)]) {
    let message_id = nonzero(core);
    send_as(core, sa, message_id, list);
}

/// A message with keys and this message id.
pub(crate) fn send_as(core: &mut Core, sa: &Phase1, message_id: u32, list: &[(u8, Vec<u8>)]) {
    let Some(keys) = sa.keys.as_ref().filter(|_| sa.is_established()) else { return };
    let chain = message::with_hash(keys, message_id, &[], list);
    let mut iv = keys.phase2_iv(message_id);
    let bytes = message::sealed(sa, keys, &mut iv, exchange::INFORMATIONAL, message_id, chain);
    core.send(sa.local, sa.remote, bytes);
}

fn nonzero(core: &mut Core) -> u32 {
    core.random.number().max(1)
}

/// Notifies about the ISAKMP SA itself.
pub(crate) fn notify(core: &mut Core, sa: &Phase1, what: u16, data: Vec<u8>) {
    send(core, sa, &[notification(sa, what, data)]);
}

/// The payload of a notification about the ISAKMP SA itself.
pub(crate) fn notification(sa: &Phase1, what: u16, data: Vec<u8>) -> (u8, Vec<u8>) {
    let notification =
        Notification { doi: DOI_IPSEC, protocol: PROTO_ISAKMP, spi: sa.cookies.concat(), kind: what, data };
    (kind::NOTIFICATION, notification.emit())
}

/// Whether one of the payloads says that the peer has started anew.
pub(crate) fn says_initial_contact(list: &[Payload<'_>]) -> bool {
    list.iter().filter(|payload| payload.kind == kind::NOTIFICATION).any(|payload| {
        Notification::parse(payload.body).is_ok_and(|found| found.kind == Notification::INITIAL_CONTACT)
    })
}

/// Notifies about a quick mode.
pub(crate) fn notify_esp(core: &mut Core, sa: &Phase1, what: u16, spi: &[u8]) {
    let notification =
        Notification { doi: DOI_IPSEC, protocol: PROTO_ESP, spi: spi.to_vec(), kind: what, data: Vec::new() };
    send(core, sa, &[(kind::NOTIFICATION, notification.emit())]);
}

/// Tells the peer that these SAs, which it sends with, are gone.
pub(crate) fn delete_esp(core: &mut Core, sa: &Phase1, spis: &[Spi]) {
    let spis = spis.iter().map(|spi| spi.0.to_be_bytes().to_vec()).collect();
    send(core, sa, &[(kind::DELETE, Delete { doi: DOI_IPSEC, protocol: PROTO_ESP, spis }.emit())]);
}

/// Tells the peer that this ISAKMP SA is gone.
pub(crate) fn delete_isakmp(core: &mut Core, sa: &Phase1) {
    let delete = Delete { doi: DOI_IPSEC, protocol: PROTO_ISAKMP, spis: vec![sa.cookies.concat()] };
    send(core, sa, &[(kind::DELETE, delete.emit())]);
}

/// Takes leave: these SAs and this ISAKMP SA, in one message, so that none of it overtakes the other. Some peers act upon
/// the first deletion of a message only (strongSwan 5.9): all is said again the other way round.
pub(crate) fn delete_all(core: &mut Core, sa: &Phase1, spis: &[Spi]) {
    let isakmp = Delete { doi: DOI_IPSEC, protocol: PROTO_ISAKMP, spis: vec![sa.cookies.concat()] };
    let mut list = Vec::new();
    if !spis.is_empty() {
        let spis = spis.iter().map(|spi| spi.0.to_be_bytes().to_vec()).collect();
        list.push((kind::DELETE, Delete { doi: DOI_IPSEC, protocol: PROTO_ESP, spis }.emit()));
    }
    list.push((kind::DELETE, isakmp.emit()));
    send(core, sa, &list);
    if list.len() > 1 {
        list.reverse();
        send(core, sa, &list);
    }
}

/// Reads an informational message.
pub(crate) fn handle_message(
    core: &mut Core,
    now: Instant,
    sa: &mut Phase1,
    header: &Header,
    body: &[u8],
) -> Vec<Informed> {
    if header.flags & flag::ENCRYPTED == 0 {
        hint(core, sa, header, body);
        return Vec::new();
    }
    let Some(keys) = sa.keys.as_ref().filter(|_| sa.is_established()) else {
        core.drop_datagram("informational message before keys");
        return Vec::new();
    };
    let iv = keys.phase2_iv(header.message_id);
    let opened = keys.decrypt(&iv, body);
    let list = opened
        .as_ref()
        .and_then(|(plain, _)| message::check_hash(keys, header.message_id, &[], header.next_payload, plain));
    let Some(list) = list else {
        core.drop_datagram("informational message with a wrong hash");
        return Vec::new();
    };
    // The message id makes it unique: what was recorded cannot be played back.
    if !sa.remember(header.message_id) {
        core.drop_datagram("message id used before");
        return Vec::new();
    }
    negotiation::heard(core, now, sa);
    let mut informed = Vec::new();
    for payload in list {
        let told = match payload.kind {
            kind::DELETE => Delete::parse(payload.body).map(|delete| deleted(&delete)),
            kind::NOTIFICATION => {
                Notification::parse(payload.body).map(|notification| match notification.kind {
                    Notification::CONNECTED => Informed::Connected(header.message_id),
                    _ => notified(core, now, sa, &notification),
                })
            }
            _ => Ok(Informed::Nothing),
        };
        match told {
            Ok(told) => informed.push(told),
            Err(_) => core.drop_datagram("malformed payloads"),
        }
    }
    informed
}

fn deleted(delete: &Delete) -> Informed {
    match delete.protocol {
        PROTO_ESP => {
            let spis = delete.spis.iter().filter_map(|spi| <[u8; 4]>::try_from(spi.as_slice()).ok());
            Informed::EspDeleted(spis.map(|spi| Spi(u32::from_be_bytes(spi))).collect())
        }
        PROTO_ISAKMP => Informed::IsakmpDeleted(delete.spis.clone()),
        _ => Informed::Nothing,
    }
}

fn notified(core: &mut Core, now: Instant, sa: &mut Phase1, notification: &Notification) -> Informed {
    match notification.kind {
        Notification::INITIAL_CONTACT => return Informed::InitialContact,
        Notification::R_U_THERE => answer_dpd(core, sa, notification),
        Notification::R_U_THERE_ACK => dpd_answered(core, now, sa, notification),
        Notification::RESPONDER_LIFETIME => {}
        error if error < 16_384 => {
            let name = Notification::name(error);
            let mut what = Mismatch::default();
            let advice = match error {
                Notification::NO_PROPOSAL_CHOSEN => {
                    let quick = sa.quicks.values().find(|quick| quick.initiator && quick.is_open());
                    if let Some(quick) = quick {
                        let Quick { info, want, .. } = &**quick;
                        what.ours = Some(proposal::wanted_phase2(info, encapsulation(sa, want)));
                        what.origin = Some(info.origin.clone()).filter(|origin| !origin.is_empty());
                    }
                    ": it takes none of our proposals; its log says what it wants: compare it with our sainfo section \
                     and, for lifetimes, its proposal_check with ours"
                }
                Notification::INVALID_ID_INFORMATION => {
                    ": it has no policy for the identities we gave; compare the spdadd lines of both sides"
                }
                _ => "",
            };
            let cause = match error {
                Notification::NO_PROPOSAL_CHOSEN => Cause::NoProposal,
                Notification::INVALID_ID_INFORMATION => Cause::Policy,
                _ => Cause::Told,
            };
            what.explanation = format!("the peer says {name}{advice}");
            core.fail(Failure::new(sa.remote.ip(), Stage::Phase2, cause, what));
        }
        _ => {}
    }
    Informed::Nothing
}

/// What comes in clear is believed only as a hint to the operator.
fn hint(core: &mut Core, sa: &Phase1, header: &Header, body: &[u8]) {
    let list = coati_wire::isakmp::payloads(header.next_payload, body).unwrap_or_default();
    let notification = message::find(&list, kind::NOTIFICATION).map(Notification::parse);
    let Some(Ok(notification)) = notification.filter(|_| !sa.is_established()) else {
        core.drop_datagram("informational message in clear");
        return;
    };
    let mut what = Mismatch::default();
    let advice = match notification.kind {
        Notification::NO_PROPOSAL_CHOSEN => {
            if let Some(peer) = core.peer(sa.peer) {
                what.ours = Some(proposal::wanted_phase1(peer));
                what.origin = Some(peer.origin.clone()).filter(|origin| !origin.is_empty());
            }
            "it takes none of our phase 1 proposals; its log says what it wants: compare it with our remote section".into()
        }
        Notification::AUTHENTICATION_FAILED
        | Notification::PAYLOAD_MALFORMED
        | Notification::INVALID_HASH_INFORMATION
            if !sa.method().has_psk() =>
        {
            let credentials = core.peer(sa.peer).map(|peer| &peer.credentials);
            let own = credentials.and_then(|credentials| credentials.own.as_ref());
            let asked = credentials.and_then(|credentials| signature::unrequested(sa, credentials));
            let own = own.map_or(String::new(), |own| format!(" ({})", own.origin));
            asked.unwrap_or_else(|| format!("it does not believe our certificate{own}: its log says why"))
        }
        Notification::AUTHENTICATION_FAILED
        | Notification::PAYLOAD_MALFORMED
        | Notification::INVALID_HASH_INFORMATION => {
            let key = core.config.key_of(sa.remote.ip(), sa.key_name().as_deref());
            what.origin = key.map(|key| key.origin.clone()).filter(|origin| !origin.is_empty());
            let key = key.map_or("", |key| key.origin.as_str());
            format!("its pre-shared key and ours ({key}) probably differ")
        }
        _ => "it does not say more".into(),
    };
    let name = Notification::name(notification.kind);
    let cause = match notification.kind {
        Notification::NO_PROPOSAL_CHOSEN => Cause::NoProposal,
        Notification::AUTHENTICATION_FAILED
        | Notification::PAYLOAD_MALFORMED
        | Notification::INVALID_HASH_INFORMATION => Cause::Authentication,
        _ => Cause::Told,
    };
    what.explanation = format!("the peer says {name} (not authenticated): {advice}");
    core.fail(Failure::new(sa.remote.ip(), Stage::Phase1, cause, what));
}

fn answer_dpd(core: &mut Core, sa: &mut Phase1, notification: &Notification) {
    let sequence = <[u8; 4]>::try_from(notification.data.as_slice()).map(u32::from_be_bytes);
    let Some(sequence) = sequence.ok().filter(|_| our_cookies(sa, notification)) else {
        core.drop_datagram("malformed R-U-THERE");
        return;
    };
    sa.dpd.last_asked = Some(sequence);
    notify(core, sa, Notification::R_U_THERE_ACK, notification.data.clone());
}

fn dpd_answered(core: &mut Core, now: Instant, sa: &mut Phase1, notification: &Notification) {
    let sequence = <[u8; 4]>::try_from(notification.data.as_slice()).map(u32::from_be_bytes);
    let asked = sa.dpd.sequence;
    let valid = sequence.is_ok_and(|sequence| sequence == asked) && our_cookies(sa, notification);
    if !valid || sa.dpd.failures == 0 {
        core.drop_datagram("R-U-THERE-ACK that nobody asked for");
        return;
    }
    sa.dpd.failures = 0;
    schedule_dpd(core, now, sa);
}

/// Cisco answers with the cookies the other way round.
fn our_cookies(sa: &Phase1, notification: &Notification) -> bool {
    let [initiator, responder] = sa.cookies;
    notification.spi == [initiator, responder].concat() || notification.spi == [responder, initiator].concat()
}

/// The next question is due after the delay, when both sides can.
pub(crate) fn schedule_dpd(core: &mut Core, now: Instant, sa: &mut Phase1) {
    if let Some(Dpd { delay, .. }) = dpd_of(core, sa) {
        sa.dpd.due = Some(now + delay);
        core.set_timer(now + delay, Timer::Dpd(sa.id));
    }
}

pub(crate) fn dpd_of(core: &Core, sa: &Phase1) -> Option<Dpd> {
    core.peer(sa.peer)?.dpd.filter(|_| sa.peer_has_dpd)
}

/// Asks; `false` when the peer is dead.
pub(crate) fn ask_dpd(core: &mut Core, now: Instant, sa: &mut Phase1) -> bool {
    let Some(dpd) = dpd_of(core, sa) else { return true };
    if sa.dpd.failures >= dpd.max_failures {
        return false;
    }
    sa.dpd.failures += 1;
    sa.dpd.sequence = match sa.dpd.sequence {
        0 => core.random.number() & 0x0fff | 1,
        last => last.wrapping_add(1),
    };
    let sequence = sa.dpd.sequence.to_be_bytes().to_vec();
    notify(core, sa, Notification::R_U_THERE, sequence);
    sa.dpd.due = Some(now + dpd.retry);
    core.set_timer(now + dpd.retry, Timer::Dpd(sa.id));
    true
}

impl Phase1 {
    /// Notes a message id of the peer; `false` when it was used before or there were too many.
    pub(crate) fn remember(&mut self, message_id: u32) -> bool {
        const MAX: usize = 1 << 18;
        self.used_message_ids.len() < MAX && self.used_message_ids.insert(message_id)
    }
}
