//! The commit bit (RFC 2408 section 3.1): a peer that sets it in quick mode wants no packet of a new SA before it has
//! said that it is ready. As racoon does it, so that old configurations go on working:
//!
//! * set in the first or third message, the responder says CONNECTED in a fourth one;
//! * set in the second, the initiator repeats the third message until it hears CONNECTED, in the exchange itself or in
//!   an informational message with its message id, and only then installs its outbound SA;
//! * in phase 1 it is forbidden. We never set it first.

use std::time::Instant;

use coati_wire::isakmp::{Header, Notification, kind};

use super::install::{install, pair};
use super::message;
use super::negotiation;
use super::phase1::Phase1;
use super::proposal::PROTO_ESP;
use super::quick_mode::{MEMORY, Outcome, Quick, State, send_chain, third};
use crate::core::{Core, Timer};

/// The initiator sends its last message, until it is answered.
pub(crate) fn send_third(core: &mut Core, now: Instant, sa: &Phase1, quick: &mut Quick) {
    quick.state = State::Committed;
    if let Some(chain) = third(sa, quick) {
        send_chain(core, now, sa, quick, chain, true);
    }
}

/// The responder has installed both SAs, and says so; again when the third message is repeated.
pub(crate) fn send_connected(core: &mut Core, now: Instant, sa: &Phase1, quick: &mut Quick) {
    let Some(keys) = &sa.keys else { return };
    let spi = quick.spi_in.0.to_be_bytes().to_vec();
    let connected =
        Notification { doi: 1, protocol: PROTO_ESP, spi, kind: Notification::CONNECTED, data: Vec::new() };
    let list = [(kind::NOTIFICATION, connected.emit())];
    let chain = message::with_hash(keys, quick.message_id, &[], &list);
    send_chain(core, now, sa, quick, chain, false);
}

/// Message 4: HASH(4), which is made as HASH(1), and the notification.
pub(crate) fn handle_message(
    core: &mut Core,
    now: Instant,
    sa: &mut Phase1,
    header: &Header,
    body: &[u8],
    digest: &[u8],
) -> Outcome {
    let message_id = header.message_id;
    let (Some(keys), Some(quick)) = (&sa.keys, sa.quicks.get_mut(&message_id)) else {
        return Outcome::Continues;
    };
    let opened = keys.decrypt(&quick.iv, body);
    let list = opened
        .as_ref()
        .and_then(|(plain, _)| message::check_hash(keys, message_id, &[], header.next_payload, plain));
    let Some(list) = list else {
        core.drop_datagram("quick mode message with a wrong hash");
        return Outcome::Continues;
    };
    let said = message::find(&list, kind::NOTIFICATION).and_then(|body| Notification::parse(body).ok());
    if said.is_none_or(|said| said.kind != Notification::CONNECTED) {
        core.drop_datagram("quick mode message out of turn");
        return Outcome::Continues;
    }
    quick.last_received = digest.to_vec();
    negotiation::heard(core, now, sa);
    connected(core, now, sa, message_id)
}

/// The peer is ready: packets may leave.
pub(crate) fn connected(core: &mut Core, now: Instant, sa: &mut Phase1, message_id: u32) -> Outcome {
    if sa.quicks.get(&message_id).is_none_or(|quick| quick.state != State::Committed) {
        return Outcome::Continues;
    }
    let Some(mut quick) = sa.quicks.remove(&message_id) else { return Outcome::Continues };
    quick.state = State::Done;
    if let Some(last) = &mut quick.last_sent {
        last.stop();
    }
    install(core, sa, &quick, false);
    let id = pair(core, now, sa, &quick, None);
    quick.settle();
    sa.quicks.insert(message_id, quick);
    core.set_timer(now + MEMORY, Timer::ForgetQuick(sa.id, message_id));
    Outcome::Established(id)
}
