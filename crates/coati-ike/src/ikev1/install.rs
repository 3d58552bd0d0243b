//! What quick mode hands to the data plane: SAs with their keys, limits and, through a NAT, ports.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use coati_sadb::{
    AuthAlgorithm, EncAlgorithm, Lifetime, Mode, NatT, ReqId, Request, Sa, SaState, Secret, Usage,
};
use coati_wire::isakmp::Payload;

use super::nat;
use super::phase1::Phase1;
use super::proposal::{Encapsulation, PROTO_ESP};
use super::quick_mode::Quick;
use crate::core::{Core, Purpose};
use crate::event::Event;
use crate::pair::{Pair, Want};

/// Window for replayed packets of negotiated SAs, in packets.
const REPLAY_WINDOW: u32 = 64;

/// Hands one SA to the data plane.
pub(crate) fn install(core: &mut Core, sa: &Phase1, quick: &Quick, inbound: bool) {
    install_compression(core, sa, quick, inbound);
    let new = negotiated(core, sa, quick, inbound).map(Box::new);
    ask_to_install(core, sa, new.map(if inbound { Request::Update } else { Request::Add }));
}

pub(crate) fn ask_to_install(core: &mut Core, sa: &Phase1, request: Option<Request>) {
    if let Some(request) = request {
        core.ask(request, Some(Purpose::Install(sa.remote.ip())));
    }
}

/// Hands IPComp's SA to the data plane, before ESP's. The peer has its own already when ours can be used.
pub(crate) fn install_compression(core: &mut Core, sa: &Phase1, quick: &Quick, inbound: bool) {
    let Some([inbound_id, outbound_id]) = quick.compression() else { return };
    let [reqid_out, reqid_in] = quick.want.compression_reqids;
    let (id, reqid) = if inbound { (inbound_id, reqid_in) } else { (outbound_id, reqid_out) };
    let of_esp = negotiated(core, sa, quick, inbound);
    let seconds = |lifetime: Lifetime| Lifetime { add_seconds: lifetime.add_seconds, ..Lifetime::default() };
    let new = of_esp.map(|esp| Sa {
        id,
        reqid,
        enc: EncAlgorithm::Null,
        enc_key: Secret::default(),
        auth: AuthAlgorithm::None,
        auth_key: Secret::default(),
        replay_window: 0,
        esn: false,
        nat_t: None,
        // ESP's limits renew the pair.
        soft: Lifetime::default(),
        hard: seconds(esp.hard),
        ..esp
    });
    let new = new.map(Box::new);
    ask_to_install(core, sa, new.map(if inbound { Request::Update } else { Request::Add }));
}

/// One SA of the pair with its keys.
pub(crate) fn negotiated(core: &mut Core, sa: &Phase1, quick: &Quick, inbound: bool) -> Option<Sa> {
    let (Some(keys), Some(choice)) = (&sa.keys, &quick.choice) else { return None };
    let (id, reqid) = if inbound {
        (quick.inbound(), quick.want.reqid_in)
    } else {
        (quick.outbound(), quick.want.reqid_out)
    };
    let [ni, nr] = &quick.nonces;
    let (enc_len, auth_len) = (choice.enc_key_len(), choice.auth.key_len());
    let shared = quick.shared.as_ref().map(|shared| shared.as_slice());
    let keymat = keys.keymat(shared, PROTO_ESP, id.spi.0, [ni, nr], enc_len + auth_len);
    let (enc_key, auth_key) = keymat.split_at(enc_len);
    let soft_share = 80 - u64::from(core.random.below(5));
    let seconds = u64::from(choice.lifetime);
    let hard =
        Lifetime { add_seconds: seconds, bytes: u64::from(choice.kilobytes) * 1024, ..Lifetime::default() };
    let soft = Lifetime {
        add_seconds: (seconds * soft_share / 100).max(1),
        bytes: hard.bytes * soft_share / 100,
        ..Lifetime::default()
    };
    Some(Sa {
        id,
        mode: quick.want.mode,
        reqid,
        enc: choice.enc,
        enc_key: Secret::new(enc_key.to_vec()),
        auth: choice.auth,
        auth_key: Secret::new(if choice.auth == AuthAlgorithm::None {
            Vec::new()
        } else {
            auth_key.to_vec()
        }),
        replay_window: REPLAY_WINDOW,
        esn: false,
        nat_t: nat_t(sa, quick, inbound),
        soft,
        hard,
        state: SaState::Mature,
        usage: Usage::default(),
        sequence: 0,
        offload: None,
    })
}

pub(crate) fn pair(core: &mut Core, now: Instant, sa: &Phase1, quick: &Quick, held: Option<Box<Sa>>) -> u64 {
    let renewal = core.live_pair(&quick.want).is_some();
    let lifetime = quick.choice.as_ref().map_or(0, |choice| choice.lifetime);
    let (inbound, outbound) = (quick.inbound(), quick.outbound());
    let reqid: ReqId = quick.want.reqid_out;
    core.failures.remove(&sa.remote.ip());
    core.events.push_back(Event::PairEstablished {
        inbound,
        outbound,
        reqid,
        selector: quick.want.selector,
        mode: quick.want.mode,
        renewal,
    });
    let id = core.next_id();
    let pair = Pair {
        want: quick.want.clone(),
        inbound,
        outbound,
        compression: quick.compression(),
        initiator: quick.initiator,
        phase1: sa.id,
        phase1_began: sa.began,
        began: quick.began,
        established: now,
        lifetime: Duration::from_secs(u64::from(lifetime)),
        retired: false,
        held,
        lost: false,
        packets_seen: 0,
    };
    core.pairs.insert(id, pair);
    id
}

/// How the SAs of this exchange wrap their packets.
pub(crate) fn encapsulation(sa: &Phase1, want: &Want) -> Encapsulation {
    let udp = sa.nat.version.filter(|_| sa.nat.found());
    Encapsulation { mode: want.mode, udp, compression: want.compression }
}

/// In transport mode through a NAT the peer is told the addresses as we see them (RFC 3947 section 5.2).
pub(crate) fn original_addresses(sa: &Phase1, quick: &Quick) -> Vec<(u8, Vec<u8>)> {
    let Some(version) = encapsulation(sa, &quick.want).udp.filter(|_| quick.want.mode != Mode::Tunnel) else {
        return Vec::new();
    };
    let (initiator, responder) = if quick.initiator { (sa.local, sa.remote) } else { (sa.remote, sa.local) };
    [initiator, responder].map(|end| (version.nat_oa(), nat::original_address(end.ip()))).to_vec()
}

/// What the data plane has to know of the NAT: ports, source first, and the peer's own address.
pub(crate) fn nat_t(sa: &Phase1, quick: &Quick, inbound: bool) -> Option<NatT> {
    if !sa.nat.found() {
        return None;
    }
    let (ours, theirs) = (sa.local.port(), sa.remote.port());
    let (source_port, destination_port) = if inbound { (theirs, ours) } else { (ours, theirs) };
    let non_ike_marker = sa.nat.version.is_some_and(|version| !version.floats());
    Some(NatT { source_port, destination_port, original: quick.original, non_ike_marker })
}

/// What the peer says its own address is: of the two NAT-OA payloads the first is the initiator's.
pub(crate) fn original(sa: &Phase1, list: &[Payload<'_>], we_initiate: bool) -> Option<IpAddr> {
    let given = nat::original_addresses(sa.nat.version?, list);
    given.get(usize::from(we_initiate)).copied().filter(|address| *address != sa.remote.ip())
}
