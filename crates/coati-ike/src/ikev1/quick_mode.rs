//! Quick mode (RFC 2409 section 5.5): one SA pair under an ISAKMP SA.
//!
//! ```text
//!   initiator                                          responder
//!   SpiWanted, KeComputing
//!   Offered      HASH(1), SA, Ni [, KE], IDci, IDcr ──▶  SpiWanted, KeComputing
//!                                                        inbound SA installed
//!                ◀── HASH(2), SA, Nr [, KE], IDci, IDcr  Answered
//!   SharedComputing
//!   both SAs installed
//!   Done         HASH(3)                            ──▶  outbound SA installed
//!                                                        Done
//! ```
//!
//! A peer that sets the commit bit has one message more: `commit` beside this file.
//!
//! In this order no packet meets a peer that does not know its SA yet.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use coati_crypto::dh::PrivateKey;
use coati_sadb::{Mode, Port, Prefix, Request, SaId, SaProto, Spi, Upper};
use coati_wire::isakmp::{Header, Identity, Notification, Payload, exchange, flag, kind};

use super::commit;
use super::compression::Compression;
use super::informational;
use super::install::{
    ask_to_install, encapsulation, install, install_compression, negotiated, original, original_addresses,
    pair,
};
use super::message;
use super::negotiation;
use super::phase1::Phase1;
use super::policy::{as_seen, claim_refused, generate_policies, policy_for, wanted};
use super::proposal::{self, EspChoice, PROTO_ESP, Phase2Choice};
use super::selector::{answers, describe, endpoint, endpoints, identity};
use crate::config::{EndpointId, GeneratePolicy, Peer, SaInfo, SainfoPeer};
use crate::core::{Core, Purpose, Timer};
use crate::event::Event;
use crate::failure::{Cause, Failure, Mismatch, Stage};
use crate::job::{Job, JobDone};
use crate::pair::Want;
use crate::retransmission::Retransmission;

/// Quick modes under one ISAKMP SA at one time.
const MAX_EXCHANGES: usize = 32;
/// How long repeated messages of one that is done are answered.
pub(crate) const MEMORY: Duration = Duration::from_secs(40);
/// Where the exchange is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The data plane is asked for an SPI.
    SpiWanted,
    /// The own half of PFS is computed.
    KeComputing,
    /// The initiator has made its offer.
    Offered,
    /// The initiator computes the shared secret of PFS.
    SharedComputing,
    /// The responder has answered.
    Answered,
    /// The initiator has sent its last message to a peer with the commit bit, and waits for CONNECTED.
    Committed,
    /// Both SAs are there.
    Done,
}

/// One quick mode.
#[derive(Debug)]
pub(crate) struct Quick {
    pub(crate) message_id: u32,
    pub(crate) initiator: bool,
    /// When it began here.
    pub(crate) began: Instant,
    pub(crate) state: State,
    pub(crate) want: Want,
    pub(crate) info: SaInfo,
    pub(crate) iv: Vec<u8>,
    /// Identities as on the wire, the initiator's first.
    pub(crate) ids: [Vec<u8>; 2],
    /// Whether the peer gave identities: the answer repeats them.
    pub(crate) ids_given: bool,
    /// Initiator's, responder's.
    pub(crate) nonces: [Vec<u8>; 2],
    pub(crate) private: Option<Box<PrivateKey>>,
    pub(crate) shared: Option<coati_crypto::Zeroizing<Vec<u8>>>,
    /// The peer's half of PFS.
    pub(crate) peer_public: Option<Vec<u8>>,
    pub(crate) spi_in: Spi,
    pub(crate) spi_out: Spi,
    /// Whether IPComp is offered, or agreed upon; and its indices.
    pub(crate) compresses: bool,
    pub(crate) cpi_in: Spi,
    pub(crate) cpi_out: Spi,
    pub(crate) choice: Option<EspChoice>,
    pub(crate) answer: Option<Phase2Choice>,
    /// The peer has set the commit bit.
    pub(crate) commit: bool,
    /// The peer's own address, when a NAT has put another one in its place.
    pub(crate) original: Option<IpAddr>,
    pub(crate) last_sent: Option<Retransmission>,
    pub(crate) last_received: Vec<u8>,
}

/// What a step of the exchange leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing yet.
    Continues,
    /// A pair is installed, by id.
    Established(u64),
    /// The exchange is to be removed.
    Failed,
}

impl Quick {
    /// Whether it is still under way.
    pub(crate) fn is_open(&self) -> bool {
        self.state != State::Done
    }

    /// Forgets what only made the pair: just the answer to repeated messages is wanted still.
    pub(crate) fn settle(&mut self) {
        (self.private, self.shared) = (None, None);
        (self.ids, self.nonces) = Default::default();
        (self.choice, self.answer) = (None, None);
        self.info = SaInfo::default();
    }

    fn own(&self) -> usize {
        usize::from(!self.initiator)
    }

    pub(crate) fn inbound(&self) -> SaId {
        self.named(true, SaProto::Esp, self.spi_in)
    }

    pub(crate) fn outbound(&self) -> SaId {
        self.named(false, SaProto::Esp, self.spi_out)
    }

    /// IPComp's SAs, inbound first.
    pub(crate) fn compression(&self) -> Option<[SaId; 2]> {
        self.compresses.then(|| {
            [self.named(true, SaProto::Ipcomp, self.cpi_in), self.named(false, SaProto::Ipcomp, self.cpi_out)]
        })
    }

    fn named(&self, inbound: bool, proto: SaProto, spi: Spi) -> SaId {
        let (local, remote) = (self.want.local, self.want.remote);
        let (source, destination) = if inbound { (remote, local) } else { (local, remote) };
        SaId { source, destination, proto, spi }
    }

    /// Our index of IPComp, where it is offered or agreed upon.
    fn own_cpi(&self) -> Option<u16> {
        u16::try_from(self.cpi_in.0).ok().filter(|cpi| self.compresses && *cpi != 0)
    }
}

/// Begins a quick mode for what is wanted.
pub(crate) fn initiate(core: &mut Core, now: Instant, sa: &mut Phase1, want: Want) {
    if sa.quicks.values().any(|quick| quick.is_open() && quick.want.selector == want.selector)
        || sa.quicks.len() >= MAX_EXCHANGES
    {
        return;
    }
    let (ours, theirs) = endpoints(&want.selector);
    let Some(info) = core.config.sainfo_of(&ours, &theirs, sainfo_peer(core, sa)).cloned() else {
        let explanation = format!(
            "no sainfo section fits {} to {}: write `sainfo anonymous` or one for these addresses",
            describe(&ours),
            describe(&theirs)
        );
        core.fail(Failure::new(sa.remote.ip(), Stage::Phase2, Cause::Configuration, explanation));
        return;
    };
    let mut message_id = 0;
    while message_id == 0 || sa.quicks.contains_key(&message_id) {
        message_id = core.random.number();
    }
    let ids = [identity(&ours).emit(), identity(&theirs).emit()];
    let mut quick = new_quick(now, sa, (message_id, true), want, info, ids);
    quick.compresses = quick.want.compression != Compression::No;
    reserve(core, sa, &quick);
    core.events.push_back(Event::QuickModeBegun { local: sa.local, remote: sa.remote, initiator: true });
    sa.quicks.insert(message_id, quick);
}

/// What sainfo sections may want to know of the peer of this ISAKMP SA.
fn sainfo_peer<'a>(core: &Core, sa: &'a Phase1) -> SainfoPeer<'a> {
    let ph1id = core.peer(sa.peer).map_or(0, |peer| peer.ph1id);
    let given = core.leases.of(sa.id);
    SainfoPeer { said: sa.peer_identity.as_ref(), remote: sa.remote, ph1id, given }
}

/// Asks the data plane for the indices that the peer is to send with.
fn reserve(core: &mut Core, sa: &Phase1, quick: &Quick) {
    let [_, compression_in] = quick.want.compression_reqids;
    let compression = quick.compresses.then_some((SaProto::Ipcomp, compression_in));
    for (proto, reqid) in [(SaProto::Esp, quick.want.reqid_in)].into_iter().chain(compression) {
        let request = Request::GetSpi {
            source: quick.want.remote,
            destination: quick.want.local,
            proto,
            mode: quick.want.mode,
            reqid,
            spi: Spi(0),
        };
        let purpose = Purpose::QuickSpi { phase1: sa.id, message_id: quick.message_id, proto };
        core.ask(request, Some(purpose));
    }
}

fn new_quick(
    now: Instant,
    sa: &Phase1,
    (message_id, initiator): (u32, bool),
    want: Want,
    info: SaInfo,
    ids: [Vec<u8>; 2],
) -> Box<Quick> {
    let iv = sa.keys.as_ref().map_or(Vec::new(), |keys| keys.phase2_iv(message_id));
    Box::new(Quick {
        message_id,
        initiator,
        began: now,
        state: State::SpiWanted,
        want: Want { party: Some(sa.party()), ..want },
        info,
        iv,
        ids,
        ids_given: true,
        nonces: Default::default(),
        private: None,
        shared: None,
        peer_public: None,
        spi_in: Spi(0),
        spi_out: Spi(0),
        compresses: false,
        cpi_in: Spi(0),
        cpi_out: Spi(0),
        choice: None,
        answer: None,
        commit: false,
        original: None,
        last_sent: None,
        last_received: Vec::new(),
    })
}

/// The data plane has reserved an SPI, ESP's or IPComp's; when both are there it goes on.
pub(crate) fn handle_spi(
    core: &mut Core,
    now: Instant,
    sa: &mut Phase1,
    message_id: u32,
    (proto, spi): (SaProto, Spi),
) {
    let Some(quick) = sa.quicks.get_mut(&message_id).filter(|quick| quick.state == State::SpiWanted) else {
        return;
    };
    match proto {
        SaProto::Ipcomp => quick.cpi_in = spi,
        _ => quick.spi_in = spi,
    }
    if quick.spi_in == Spi(0) || quick.compresses && quick.cpi_in == Spi(0) {
        return;
    }
    let group = if quick.initiator {
        quick.info.pfs_group
    } else {
        quick.answer.as_ref().and_then(|answer| answer.choice.group)
    };
    match group {
        None => ready(core, now, sa, message_id),
        Some(group) => {
            quick.state = State::KeComputing;
            let peer_public = quick.peer_public.clone();
            let id = core.job_for(sa.id, message_id);
            let random = core.random.as_mut();
            core.jobs.push_back(match peer_public {
                None => Job::generate(id, group, random),
                Some(public) => Job::generate_and_agree(id, group, random, public),
            });
        }
    }
}

/// An exponentiation is done.
pub(crate) fn handle_job(
    core: &mut Core,
    now: Instant,
    sa: &mut Phase1,
    message_id: u32,
    done: JobDone,
) -> Outcome {
    let Some(quick) = sa.quicks.get_mut(&message_id) else { return Outcome::Continues };
    match done.shared {
        Some(Ok(shared)) => quick.shared = Some(shared),
        Some(Err(error)) => {
            let explanation = format!("its Diffie-Hellman value for PFS is refused: {error}");
            core.fail(Failure::new(sa.remote.ip(), Stage::Phase2, Cause::Protocol, explanation));
            return Outcome::Failed;
        }
        None => {}
    }
    match quick.state {
        State::KeComputing => {
            quick.private = done.private;
            quick.peer_public = None;
            let own_public = done.public;
            ready_with(core, now, sa, message_id, Some(own_public));
            Outcome::Continues
        }
        State::SharedComputing => confirm(core, now, sa, message_id),
        _ => Outcome::Continues,
    }
}

fn ready(core: &mut Core, now: Instant, sa: &mut Phase1, message_id: u32) {
    ready_with(core, now, sa, message_id, None);
}

/// SPI and, with PFS, our half are here: message 1 or 2 can go.
fn ready_with(core: &mut Core, now: Instant, sa: &mut Phase1, message_id: u32, public: Option<Vec<u8>>) {
    let nonce_len = core.peer(sa.peer).map_or(16, |peer| peer.nonce_len);
    let nonce = core.random_bytes(nonce_len);
    let Some(mut quick) = sa.quicks.remove(&message_id) else { return };
    let own = quick.own();
    if let Some(slot) = quick.nonces.get_mut(own) {
        slot.clone_from(&nonce);
    }
    let sa_payload = match (&quick.answer, quick.initiator) {
        (Some(answer), false) => answer.answer(quick.spi_in.0, quick.own_cpi()),
        _ => proposal::offer_phase2(
            &quick.info,
            encapsulation(sa, &quick.want),
            quick.spi_in.0,
            quick.own_cpi(),
        ),
    };
    let mut list = vec![(kind::SA, sa_payload), (kind::NONCE, nonce)];
    list.extend(public.map(|public| (kind::KE, public)));
    if quick.ids_given {
        list.extend(quick.ids.iter().map(|id| (kind::ID, id.clone())));
    }
    list.extend(original_addresses(sa, &quick));
    if let Some(seconds) = quick.answer.as_ref().and_then(|answer| answer.claim) {
        let claim = Notification {
            doi: 1,
            protocol: PROTO_ESP,
            spi: quick.spi_in.0.to_be_bytes().to_vec(),
            kind: Notification::RESPONDER_LIFETIME,
            data: proposal::lifetime_attributes(seconds),
        };
        list.push((kind::NOTIFICATION, claim.emit()));
    }
    if quick.initiator {
        quick.state = State::Offered;
        send(core, now, sa, &mut quick, &[], &list, true);
    } else {
        quick.state = State::Answered;
        // The peer may send as soon as it has our answer.
        let before = quick.nonces.first().cloned().unwrap_or_default();
        install(core, sa, &quick, true);
        send(core, now, sa, &mut quick, &before, &list, true);
    }
    sa.quicks.insert(message_id, quick);
}

/// A quick mode message. Its own state decides what it is; one of a new message id begins an exchange.
pub(crate) fn handle_message(
    core: &mut Core,
    now: Instant,
    sa: &mut Phase1,
    header: &Header,
    body: &[u8],
    digest: &[u8],
) -> Outcome {
    let message_id = header.message_id;
    match sa.quicks.get_mut(&message_id) {
        None => {
            respond(core, now, sa, header, body, digest);
            Outcome::Continues
        }
        Some(quick) if quick.last_received == digest => {
            repeat(core, now, sa, message_id);
            Outcome::Continues
        }
        Some(quick) => match (quick.initiator, quick.state) {
            (true, State::Offered) => accept(core, now, sa, header, body, digest),
            (false, State::Answered) => conclude(core, now, sa, header, body, digest),
            (true, State::Committed) => commit::handle_message(core, now, sa, header, body, digest),
            _ => {
                core.drop_datagram("quick mode message out of turn");
                Outcome::Continues
            }
        },
    }
}

fn repeat(core: &mut Core, now: Instant, sa: &mut Phase1, message_id: u32) {
    let Some(last) = sa.quicks.get_mut(&message_id).and_then(|quick| quick.last_sent.as_mut()) else {
        return;
    };
    if last.may_answer(now) {
        for datagram in &last.datagrams {
            core.send(sa.local, sa.remote, datagram.clone());
        }
    }
}

/// Message 1.
fn respond(core: &mut Core, now: Instant, sa: &mut Phase1, header: &Header, body: &[u8], digest: &[u8]) {
    let message_id = header.message_id;
    let Some(keys) = &sa.keys else { return };
    let iv = keys.phase2_iv(message_id);
    let opened = keys.decrypt(&iv, body);
    let list = opened
        .as_ref()
        .and_then(|(plain, _)| message::check_hash(keys, message_id, &[], header.next_payload, plain));
    let (Some(list), Some((_, next_iv))) = (list, &opened) else {
        core.drop_datagram("quick mode message with a wrong hash");
        return;
    };
    if sa.quicks.len() >= MAX_EXCHANGES {
        core.drop_datagram("too many quick modes at one time");
        return;
    }
    let next_iv = next_iv.clone();
    // What was recorded cannot be played back, nor asks a refused offer twice.
    if !sa.remember(message_id) {
        core.drop_datagram("message id used before");
        return;
    }
    negotiation::heard(core, now, sa);
    let began = match consider(core, sa, &list) {
        Ok(began) => began,
        Err((what, why)) => {
            informational::notify_esp(core, sa, what, &[]);
            let cause = match what {
                Notification::NO_PROPOSAL_CHOSEN => Cause::NoProposal,
                Notification::INVALID_ID_INFORMATION => Cause::Policy,
                _ => Cause::Protocol,
            };
            core.fail(Failure::new(sa.remote.ip(), Stage::Phase2, cause, why));
            return;
        }
    };
    let Began { want, info, ids, ids_given, nonce, public, answer, generated } = began;
    let original = original(sa, &list, false);
    if generated {
        generate_policies(core, &want);
    }
    core.events.push_back(Event::QuickModeBegun { local: sa.local, remote: sa.remote, initiator: false });
    let mut quick = new_quick(now, sa, (message_id, false), want, info, ids);
    let [initiator_nonce, _] = &mut quick.nonces;
    *initiator_nonce = nonce;
    quick.iv = next_iv;
    quick.commit = header.flags & flag::COMMIT != 0;
    quick.ids_given = ids_given;
    quick.original = original;
    quick.peer_public = public;
    quick.spi_out = Spi(answer.spi);
    quick.compresses = answer.cpi.is_some();
    quick.cpi_out = Spi(answer.cpi.unwrap_or(0).into());
    quick.choice = Some(answer.choice.clone());
    quick.answer = Some(answer);
    quick.last_received = digest.to_vec();
    reserve(core, sa, &quick);
    sa.quicks.insert(message_id, quick);
}

/// What a responder makes of message 1.
struct Began {
    want: Want,
    info: SaInfo,
    ids: [Vec<u8>; 2],
    ids_given: bool,
    nonce: Vec<u8>,
    public: Option<Vec<u8>>,
    answer: Phase2Choice,
    /// No policy is there yet: it is made.
    generated: bool,
}

/// Policy, sainfo and proposal for the peer's offer, or the notification and explanation of why there are none.
fn consider(core: &mut Core, sa: &Phase1, list: &[Payload<'_>]) -> Result<Began, (u16, Mismatch)> {
    let malformed = |what: &str| {
        (Notification::PAYLOAD_MALFORMED, Mismatch::from(format!("its quick mode offer {what}")))
    };
    let offer = message::find(list, kind::SA).ok_or_else(|| malformed("has no proposals"))?;
    let nonce = message::nonce(list).ok_or_else(|| malformed("has no nonce of an allowed length"))?;
    let given: Vec<&[u8]> =
        list.iter().filter(|payload| payload.kind == kind::ID).map(|payload| payload.body).collect();
    let (theirs, ours, ids, ids_given) = match given.as_slice() {
        [theirs, ours] => {
            let read = |body: &[u8]| {
                Identity::parse(body).ok().as_ref().and_then(endpoint).ok_or_else(|| {
                    (
                        Notification::INVALID_ID_INFORMATION,
                        Mismatch::from("its identities are of a kind not supported"),
                    )
                })
            };
            let (mut of_peer, mut of_us) = (read(theirs)?, read(ours)?);
            // Type and code, or the halves of a key, do not change their places with the direction, as ports do.
            if of_us.upper.has_numbers_of_its_own() {
                std::mem::swap(&mut of_peer.port, &mut of_us.port);
            }
            (of_peer, of_us, [theirs.to_vec(), ours.to_vec()], true)
        }
        [] => {
            let any =
                |address| EndpointId { prefix: Prefix::host(address), upper: Upper::Any, port: Port::Any };
            let (theirs, ours) = (any(sa.remote.ip()), any(sa.local.ip()));
            (theirs, ours, [identity(&theirs).emit(), identity(&ours).emit()], false)
        }
        _ => return Err(malformed("has one identity where two belong")),
    };
    let peer: Peer = core.peer(sa.peer).cloned().ok_or_else(|| malformed("comes from nobody known"))?;
    // Behind a NAT a host knows itself by another address than we do (RFC 3947 section 5.2).
    let (seen_ours, seen_theirs) = as_seen(sa, &ours, &theirs);
    let found = policy_for(core, &ours, &theirs, ids_given)
        .or_else(|| policy_for(core, &seen_ours, &seen_theirs, ids_given));
    let generated = found.is_none() && peer.generate_policy != GeneratePolicy::Off;
    let made = generated.then(|| {
        let mode = proposal::offered_mode(offer)?;
        let (ours, theirs) = if mode == Mode::Tunnel { (&ours, &theirs) } else { (&seen_ours, &seen_theirs) };
        Some(wanted(core, sa, &peer, (mode, proposal::offered_compression(offer)), ours, theirs))
    });
    let want = found.or(made.flatten()).ok_or_else(|| {
        let have: Vec<String> = core
            .policies
            .iter()
            .filter(|policy| policy.direction == coati_sadb::Direction::Out)
            .map(|policy| {
                let (ours, theirs) = endpoints(&policy.selector);
                format!("{} to {}", describe(&ours), describe(&theirs))
            })
            .take(6)
            .collect();
        let text = format!(
            "no policy for {} to {}, which it wants to protect; the policies are for {}: compare the spdadd lines of \
             both sides",
            describe(&ours),
            describe(&theirs),
            if have.is_empty() { "nothing".into() } else { have.join(", ") }
        );
        (Notification::INVALID_ID_INFORMATION, text.into())
    })?;
    let proxied = peer.support_proxy && want.mode != Mode::Tunnel && !sa.nat.found();
    if want.remote != sa.remote.ip() && !proxied {
        let text = format!(
            "it wants SAs for {}, which is somebody else's address (support_proxy allows it)",
            want.remote
        );
        return Err((Notification::INVALID_ID_INFORMATION, text.into()));
    }
    let (local_id, remote_id) = endpoints(&want.selector);
    let info = core.config.sainfo_of(&local_id, &remote_id, sainfo_peer(core, sa)).ok_or_else(|| {
        let text = format!("no sainfo section fits {} to {}", describe(&local_id), describe(&remote_id));
        (Notification::NO_PROPOSAL_CHOSEN, text.into())
    })?;
    let named = info.remote.is_some() || info.of_client;
    if let Some(why) = (generated && !named).then(|| claim_refused(core, sa, &want)).flatten() {
        let text = format!(
            "no policy is made for {} to {}, which it wants to protect: {why}; if that network is behind it, add a \
             sainfo section that names it",
            describe(&local_id),
            describe(&remote_id)
        );
        let origin = Some(peer.origin.clone());
        return Err((Notification::INVALID_ID_INFORMATION, Mismatch { origin, ..Mismatch::from(text) }));
    }
    let answer = proposal::choose_phase2(&peer, info, encapsulation(sa, &want), offer)
        .map_err(|explanation| (Notification::NO_PROPOSAL_CHOSEN, explanation))?;
    let public = match (answer.choice.group, message::find(list, kind::KE)) {
        (None, None) => None,
        (Some(group), Some(public)) if public.len() == group.public_len() => Some(public.to_vec()),
        _ => return Err(malformed("has a key exchange that does not fit its PFS group")),
    };
    Ok(Began { want, info: info.clone(), ids, ids_given, nonce, public, answer, generated })
}

/// Message 2.
fn accept(
    core: &mut Core,
    now: Instant,
    sa: &mut Phase1,
    header: &Header,
    body: &[u8],
    digest: &[u8],
) -> Outcome {
    let message_id = header.message_id;
    let (Some(keys), Some(mut quick)) = (&sa.keys, sa.quicks.remove(&message_id)) else {
        return Outcome::Continues;
    };
    let our_nonce = quick.nonces.first().cloned().unwrap_or_default();
    let opened = keys.decrypt(&quick.iv, body);
    let list = opened
        .as_ref()
        .and_then(|(plain, _)| message::check_hash(keys, message_id, &our_nonce, header.next_payload, plain));
    let (Some(list), Some((_, next_iv))) = (list, &opened) else {
        core.drop_datagram("quick mode message with a wrong hash");
        sa.quicks.insert(message_id, quick);
        return Outcome::Continues;
    };
    negotiation::heard(core, now, sa);
    let taken = take_answer(sa, &mut quick, &list);
    quick.iv.clone_from(next_iv);
    quick.commit = header.flags & flag::COMMIT != 0;
    quick.last_received = digest.to_vec();
    if let Some(last) = &mut quick.last_sent {
        last.stop();
    }
    let public = match taken {
        Ok(public) => public,
        Err(why) => {
            sa.quicks.insert(message_id, quick);
            core.fail(Failure::new(sa.remote.ip(), Stage::Phase2, Cause::Protocol, why));
            return Outcome::Failed;
        }
    };
    let private = quick.private.take();
    match (private, public) {
        (Some(private), Some(public)) => {
            quick.state = State::SharedComputing;
            sa.quicks.insert(message_id, quick);
            let id = core.job_for(sa.id, message_id);
            core.jobs.push_back(Job::agree(id, private, public));
            Outcome::Continues
        }
        _ => {
            sa.quicks.insert(message_id, quick);
            confirm(core, now, sa, message_id)
        }
    }
}

/// Takes what message 2 says; returns the peer's half of PFS.
fn take_answer(sa: &Phase1, quick: &mut Quick, list: &[Payload<'_>]) -> Result<Option<Vec<u8>>, String> {
    let answer = message::find(list, kind::SA).ok_or("its quick mode answer has no proposal")?;
    let nonce = message::nonce(list).ok_or("its quick mode answer has no nonce of an allowed length")?;
    let ids: Vec<&[u8]> =
        list.iter().filter(|payload| payload.kind == kind::ID).map(|payload| payload.body).collect();
    let same = match ids.as_slice() {
        [] => true,
        [first, second] => {
            let (ours, theirs) = endpoints(&quick.want.selector);
            let transport = quick.want.mode == Mode::Transport;
            answers(first, &ours, transport && sa.nat.before_us)
                && answers(second, &theirs, transport && sa.nat.before_peer)
        }
        _ => false,
    };
    if !same {
        return Err("its quick mode answer changes the identities".into());
    }
    let (mut choice, spi, cpi) =
        proposal::accept_phase2(&quick.info, encapsulation(sa, &quick.want), answer)?;
    if Spi(spi).is_reserved() {
        return Err(format!("its SPI {spi:#x} is reserved"));
    }
    for payload in list.iter().filter(|payload| payload.kind == kind::NOTIFICATION) {
        if let Ok(notification) = Notification::parse(payload.body)
            && notification.kind == Notification::RESPONDER_LIFETIME
            && let Some(seconds) = proposal::lifetime_of_attributes(&notification.data)
        {
            choice.lifetime = choice.lifetime.min(seconds.max(10));
        }
    }
    let public = match (choice.group, message::find(list, kind::KE)) {
        (None, _) => None,
        (Some(group), Some(public)) if public.len() == group.public_len() => Some(public.to_vec()),
        (Some(_), _) => return Err("its quick mode answer has no key exchange for PFS".into()),
    };
    quick.original = original(sa, list, quick.initiator);
    let [_, responder_nonce] = &mut quick.nonces;
    *responder_nonce = nonce;
    quick.spi_out = Spi(spi);
    quick.cpi_out = Spi(cpi.unwrap_or(0).into());
    quick.choice = Some(choice);
    Ok(public)
}

/// The initiator installs both SAs, then says so. Where another pair is in use, that one stays in use until the peer
/// has shown that it knows the new one.
fn confirm(core: &mut Core, now: Instant, sa: &mut Phase1, message_id: u32) -> Outcome {
    let Some(mut quick) = sa.quicks.remove(&message_id) else { return Outcome::Continues };
    if quick.cpi_out == Spi(0)
        && let Some([unused, _]) = quick.compression()
    {
        // The peer does without.
        core.ask(Request::Delete(unused), None);
        quick.compresses = false;
    }
    install(core, sa, &quick, true);
    if quick.commit {
        commit::send_third(core, now, sa, &mut quick);
        sa.quicks.insert(message_id, quick);
        return Outcome::Continues;
    }
    install_compression(core, sa, &quick, false);
    let outbound = negotiated(core, sa, &quick, false).map(Box::new);
    let held = if core.live_pair(&quick.want).is_some_and(|(_, pair)| !pair.lost) {
        outbound
    } else {
        ask_to_install(core, sa, outbound.map(Request::Add));
        None
    };
    quick.state = State::Done;
    let Some(chain) = third(sa, &quick) else { return Outcome::Continues };
    send_chain(core, now, sa, &mut quick, chain, false);
    let id = pair(core, now, sa, &quick, held);
    quick.settle();
    sa.quicks.insert(message_id, quick);
    core.set_timer(now + MEMORY, Timer::ForgetQuick(sa.id, message_id));
    Outcome::Established(id)
}

/// What message 3 holds.
pub(crate) fn third(sa: &Phase1, quick: &Quick) -> Option<(u8, Vec<u8>)> {
    let [ni, nr] = &quick.nonces;
    let hash = sa.keys.as_ref()?.a.sign(&[&[0], &quick.message_id.to_be_bytes(), ni, nr]);
    Some(coati_wire::isakmp::chain(&[(kind::HASH, hash)]))
}

/// Message 3.
fn conclude(
    core: &mut Core,
    now: Instant,
    sa: &mut Phase1,
    header: &Header,
    body: &[u8],
    digest: &[u8],
) -> Outcome {
    let message_id = header.message_id;
    let (Some(keys), Some(quick)) = (&sa.keys, sa.quicks.get(&message_id)) else { return Outcome::Continues };
    let [ni, nr] = &quick.nonces;
    let expected = keys.a.sign(&[&[0], &message_id.to_be_bytes(), ni, nr]);
    let opened = keys.decrypt(&quick.iv, body);
    let right = opened.as_ref().is_some_and(|(plain, _)| {
        let list = coati_wire::isakmp::payloads(header.next_payload, plain).unwrap_or_default();
        message::find(&list, kind::HASH).is_some_and(|hash| coati_crypto::constant_time_eq(hash, &expected))
    });
    if !right {
        core.drop_datagram("quick mode message with a wrong hash");
        return Outcome::Continues;
    }
    negotiation::heard(core, now, sa);
    let Some(mut quick) = sa.quicks.remove(&message_id) else { return Outcome::Continues };
    quick.state = State::Done;
    quick.last_received = digest.to_vec();
    // Nothing answers the third message.
    quick.last_sent = None;
    install(core, sa, &quick, false);
    quick.commit |= header.flags & flag::COMMIT != 0;
    if quick.commit {
        quick.iv = opened.map(|(_, next_iv)| next_iv).unwrap_or_default();
        commit::send_connected(core, now, sa, &mut quick);
    }
    let id = pair(core, now, sa, &quick, None);
    quick.settle();
    sa.quicks.insert(message_id, quick);
    core.set_timer(now + MEMORY, Timer::ForgetQuick(sa.id, message_id));
    Outcome::Established(id)
}

/// Ends an exchange that came to nothing: its reserved SPI, and an inbound SA without a partner, are given back.
pub(crate) fn abandon(core: &mut Core, sa: &mut Phase1, message_id: u32) {
    if let Some(quick) = sa.quicks.remove(&message_id)
        && quick.is_open()
        && quick.spi_in != Spi(0)
    {
        core.ask(Request::Delete(quick.inbound()), None);
        if let Some([inbound, _]) = quick.compression().filter(|_| quick.cpi_in != Spi(0)) {
            core.ask(Request::Delete(inbound), None);
        }
        core.remove_generated(&quick.want);
    }
}

fn send(
    core: &mut Core,
    now: Instant,
    sa: &Phase1,
    quick: &mut Quick,
    before: &[u8],
    list: &[(u8, Vec<u8>)],
    insist: bool,
) {
    let Some(keys) = &sa.keys else { return };
    let chain = message::with_hash(keys, quick.message_id, before, list);
    send_chain(core, now, sa, quick, chain, insist);
}

/// Encrypts and sends these payloads, again and again when an answer is insisted upon.
pub(crate) fn send_chain(
    core: &mut Core,
    now: Instant,
    sa: &Phase1,
    quick: &mut Quick,
    chain: (u8, Vec<u8>),
    insist: bool,
) {
    let Some(keys) = &sa.keys else { return };
    let flags = if quick.commit { flag::COMMIT } else { 0 };
    let mut iv = std::mem::take(&mut quick.iv);
    let bytes = message::sealed_with(sa, keys, &mut iv, (exchange::QUICK, flags), quick.message_id, chain);
    quick.iv = iv;
    core.send(sa.local, sa.remote, bytes.clone());
    let patience = &core.config.patience;
    let last = Retransmission::new(now, vec![bytes], insist.then_some((patience, now + patience.phase2)));
    if let Some(due) = last.due() {
        core.set_timer(due, Timer::QuickMode(sa.id, quick.message_id));
    }
    quick.last_sent = Some(last);
}

/// The retransmission timer of an exchange has fired.
pub(crate) fn handle_timeout(core: &mut Core, now: Instant, sa: &mut Phase1, message_id: u32) -> Outcome {
    use crate::retransmission::Due;
    let (local, remote): (SocketAddr, SocketAddr) = (sa.local, sa.remote);
    let Some(last) = sa.quicks.get_mut(&message_id).and_then(|quick| quick.last_sent.as_mut()) else {
        return Outcome::Continues;
    };
    match last.check(now) {
        Due::NotYet => Outcome::Continues,
        Due::Again(next) => {
            for datagram in &last.datagrams {
                core.send(local, remote, datagram.clone());
            }
            core.set_timer(next, Timer::QuickMode(sa.id, message_id));
            Outcome::Continues
        }
        Due::GiveUp => Outcome::Failed,
    }
}
