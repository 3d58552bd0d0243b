//! Datagrams and finished exponentiations.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use coati_crypto::hash::HashAlgorithm;
use coati_wire::isakmp::{HEADER_LEN, Header, Notification, exchange, flag, kind};

use super::Engine;
use crate::config::{ExchangeMode, Fragmentation};
use crate::failure::{Cause, Failure, Stage};
use crate::ikev1::informational::Informed;
use crate::ikev1::nat::NON_ESP_MARKER;
use crate::ikev1::negotiation::Outcome;
use crate::ikev1::phase1::{Phase1, State};
use crate::ikev1::transaction::Login;
use crate::ikev1::{aggressive_mode, informational, main_mode, negotiation, quick_mode};
use crate::job::JobDone;

/// State machines of strangers at one time, in all and of one address.
const MAX_HALF_OPEN: usize = 1024;
const MAX_HALF_OPEN_OF_ONE: usize = 64;

impl Engine {
    /// Takes a UDP payload that came to `local` from `remote`.
    pub fn handle_input(&mut self, now: Instant, local: SocketAddr, remote: SocketAddr, datagram: &[u8]) {
        let datagram = if local.port() == self.core.config.natt_port {
            match (datagram, datagram.strip_prefix(&NON_ESP_MARKER)) {
                ([0xff], _) => return,
                (_, Some(message)) => message,
                (_, None) => return self.core.drop_datagram("ESP where IKE belongs"),
            }
        } else {
            datagram
        };
        let Ok((header, body)) = Header::parse(datagram) else {
            return self.core.drop_datagram("malformed header");
        };
        if header.next_payload != kind::FRAGMENT {
            return self.handle_message(now, local, remote, datagram);
        }
        let peer = self.core.config.peer_of(remote.ip()).and_then(|index| self.core.peer(index));
        if peer.is_none_or(|peer| peer.fragmentation == Fragmentation::Off) {
            return self.core.drop_datagram("fragment, but ike_frag is off");
        }
        match self.reassembly.add(now, remote, &header, body) {
            Ok(Some(whole)) => self.handle_message(now, local, remote, &whole),
            Ok(None) => {}
            Err(why) => self.core.drop_datagram(why),
        }
    }

    pub(super) fn handle_message(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        message: &[u8],
    ) {
        let Ok((header, body)) = Header::parse(message) else {
            return self.core.drop_datagram("malformed header");
        };
        if header.flags & !flag::ALL != 0 {
            return self.core.drop_datagram("unknown flags");
        }
        if header.message_id == 0 && header.flags & flag::COMMIT != 0 {
            // The complaint is not larger than what it is about, and goes to nobody whom no remote section covers.
            let is_large = message.len() >= 2 * HEADER_LEN;
            let is_known = self.core.config.peer_of(remote.ip()).is_some();
            if is_large && is_known && self.core.may_complain(now) {
                let cookies = [header.initiator_cookie, header.responder_cookie];
                informational::complain(&mut self.core, local, remote, cookies, Notification::INVALID_FLAGS);
            }
            return self.core.drop_datagram("commit bit in phase 1");
        }
        let digest = HashAlgorithm::Sha256.digest(&[message]);
        let first = header.responder_cookie == [0; 8] && header.exchange != exchange::INFORMATIONAL;
        let known = if first {
            self.first_messages.get(&(remote, header.initiator_cookie)).copied()
        } else {
            self.find(&header, remote)
        };
        match (known, first) {
            (None, true) => self.handle_first(now, local, remote, &header, body, digest),
            (None, false) => self.handle_second(now, (local, remote), &header, body, &digest),
            (Some(id), _) => self.handle_known(now, id, (local, remote), &header, body, &digest),
        }
    }

    /// The ISAKMP SA with these cookies at this address.
    pub(super) fn find(&self, header: &Header, remote: SocketAddr) -> Option<u64> {
        let ours = |cookie: &[u8; 8], initiator: bool| {
            let id = *self.own_cookies.get(cookie)?;
            let sa = self.phase1.get(&id)?;
            // Behind a NAT the port changes: then the message has to prove that it is the peer's. The responder of
            // aggressive mode learns of the NAT by the message that comes from the other port.
            let may_float = sa.state == State::KeSent && sa.exchange == ExchangeMode::Aggressive;
            let floats = !initiator && may_float && sa.nat.version.is_some() && sa.remote.ip() == remote.ip();
            let there = sa.remote == remote || sa.nat.found() || floats;
            (sa.initiator == initiator && there).then_some((id, sa))
        };
        if let Some((id, sa)) = ours(&header.initiator_cookie, true) {
            let [_, responder] = sa.cookies;
            return (responder == [0; 8] || responder == header.responder_cookie).then_some(id);
        }
        let (id, sa) = ours(&header.responder_cookie, false)?;
        let [initiator, _] = sa.cookies;
        (initiator == header.initiator_cookie).then_some(id)
    }

    /// Somebody begins.
    fn handle_first(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        header: &Header,
        body: &[u8],
        digest: Vec<u8>,
    ) {
        let main = match header.exchange {
            exchange::IDENTITY_PROTECTION => true,
            exchange::AGGRESSIVE => false,
            _ => return self.core.drop_datagram("exchange type not supported"),
        };
        let mode = if main { ExchangeMode::Main } else { ExchangeMode::Aggressive };
        if self.core.config.candidates(remote.ip(), mode, None).is_empty() {
            let Some(peer) = self.core.config.peer_of(remote.ip()).and_then(|peer| self.core.peer(peer))
            else {
                return self.core.drop_datagram("no remote section for the sender");
            };
            let text = format!(
                "it begins with {} mode, which exchange_mode of the remote section at {} does not have: add it there, \
                 or change it at the peer",
                if main { "main" } else { "aggressive" },
                peer.origin
            );
            let failure = Failure::new(remote.ip(), Stage::Phase1, Cause::NoProposal, text).at(&peer.origin);
            self.core.fail_stranger(now, failure);
            return self.core.drop_datagram("exchange type not supported");
        }
        if !self.yield_to(now, remote, header.initiator_cookie) {
            return self.core.drop_datagram("begun from both sides at once, ours goes on");
        }
        if main {
            let ends = (local, remote);
            let tables = (&mut self.greetings, &self.own_cookies);
            return main_mode::respond(&mut self.core, now, tables, ends, header, body);
        }
        if self.is_crowded_by(remote) {
            return self.core.drop_datagram("too many half-open negotiations");
        }
        self.make_room();
        let sa = aggressive_mode::respond(&mut self.core, now, (local, remote), header, body);
        if let Some(mut sa) = sa {
            sa.last_received = digest;
            self.first_messages.insert((remote, header.initiator_cookie), sa.id);
            self.keep(sa);
        }
    }

    /// Main mode's third message: whoever knows the cookie of our answer is where it says.
    fn handle_second(
        &mut self,
        now: Instant,
        ends: (SocketAddr, SocketAddr),
        header: &Header,
        body: &[u8],
        digest: &[u8],
    ) {
        let cookies = [header.initiator_cookie, header.responder_cookie];
        if header.exchange != exchange::IDENTITY_PROTECTION || header.message_id != 0 {
            return self.core.drop_datagram("unknown cookies");
        }
        // Before the greeting is taken: it is there when the peer repeats its message.
        if self.is_crowded_by(ends.1) {
            return self.core.drop_datagram("too many half-open negotiations");
        }
        let Some(greeting) = self.greetings.take(now, ends.1, cookies) else {
            return self.core.drop_datagram("unknown cookies");
        };
        self.make_room();
        if let Some(sa) = main_mode::resume(&mut self.core, now, &greeting) {
            let id = sa.id;
            self.keep(sa);
            self.handle_known(now, id, ends, header, body, digest);
        }
    }

    fn half_open(&self) -> impl Iterator<Item = &Phase1> {
        let all = self.half_open.iter().filter_map(|id| self.phase1.get(id));
        all.filter(|sa| !sa.initiator && !sa.is_established())
    }

    /// Whether this address has as many half-open negotiations as one may have.
    fn is_crowded_by(&self, remote: SocketAddr) -> bool {
        self.half_open().filter(|sa| sa.remote.ip() == remote.ip()).count() >= MAX_HALF_OPEN_OF_ONE
    }

    /// When there are too many half-open negotiations in all, one of them goes.
    fn make_room(&mut self) {
        let count = self.half_open().count();
        if count >= MAX_HALF_OPEN {
            let any = self.core.random.below(u32::try_from(count).unwrap_or(1));
            let gone = self.half_open().nth(usize::try_from(any).unwrap_or(0)).map(|sa| sa.id);
            gone.map(|id| self.forget(id));
        }
    }

    pub(super) fn handle_known(
        &mut self,
        now: Instant,
        id: u64,
        ends: (SocketAddr, SocketAddr),
        header: &Header,
        body: &[u8],
        digest: &[u8],
    ) {
        let Some(sa) = self.phase1.get_mut(&id) else { return };
        sa.via = ends;
        let before = sa.remote.ip();
        self.handle_by_exchange(now, id, header, body, digest);
        self.may_have_moved(id, before);
    }

    /// Behind a NAT the address may have become another one.
    fn may_have_moved(&mut self, id: u64, before: IpAddr) {
        if self.phase1.get(&id).is_none_or(|sa| sa.remote.ip() != before) {
            self.phase1.changed(id, [before]);
        }
    }

    fn handle_by_exchange(&mut self, now: Instant, id: u64, header: &Header, body: &[u8], digest: &[u8]) {
        let Some(sa) = self.phase1.get_mut(&id) else { return };
        match header.exchange {
            number if number == sa.exchange_type() && header.message_id == 0 => {
                if sa.last_received == digest {
                    return self.repeat(now, id);
                }
                let before = sa.state;
                let outcome = match sa.exchange {
                    ExchangeMode::Main => main_mode::handle_message(&mut self.core, now, sa, header, body),
                    ExchangeMode::Aggressive => {
                        aggressive_mode::handle_message(&mut self.core, now, sa, header, body)
                    }
                };
                if sa.state != before {
                    sa.last_received = digest.to_vec();
                }
                self.phase1_outcome(now, id, outcome);
            }
            exchange::QUICK if header.message_id != 0 => {
                if !sa.is_established() || header.flags & flag::ENCRYPTED == 0 {
                    self.core.drop_datagram("quick mode before an ISAKMP SA");
                    return self.missed_last(now, id);
                }
                if sa.access.login != Login::Passed {
                    return self.core.drop_datagram("quick mode before the login");
                }
                let outcome = quick_mode::handle_message(&mut self.core, now, sa, header, body, digest);
                self.quick_outcome(now, id, header.message_id, &outcome);
            }
            exchange::TRANSACTION if header.message_id != 0 => {
                self.handle_transaction(now, id, header, body, digest);
            }
            exchange::INFORMATIONAL => {
                if !sa.is_established() && header.flags & flag::ENCRYPTED != 0 {
                    self.core.drop_datagram("informational message before keys");
                    return self.missed_last(now, id);
                }
                let mut informed = informational::handle_message(&mut self.core, now, sa, header, body);
                // Its own end comes last, wherever it stands: the rest is believed because of it.
                informed.sort_by_key(|told| matches!(told, Informed::IsakmpDeleted(_)));
                for told in informed {
                    self.informed(now, id, told);
                }
            }
            _ => self.core.drop_datagram("exchange type not supported"),
        }
    }

    /// Something in cipher before phase 1 is done. The initiator of aggressive mode takes it for done: its last message
    /// was lost, and comes again for ours. A responder of main mode complains of what it could not read.
    fn missed_last(&mut self, now: Instant, id: u64) {
        let what = "it answers our identity with a message that cannot be read";
        let suspicion = self.phase1.get(&id).and_then(|sa| negotiation::suspect_key(&self.core, sa, what));
        if let Some(failure) = suspicion {
            self.core.fail(failure);
        }
        let waits = |sa: &&Phase1| !sa.initiator && sa.exchange == ExchangeMode::Aggressive;
        if self.phase1.get(&id).filter(waits).is_some_and(|sa| sa.state == State::KeSent) {
            self.repeat(now, id);
        }
    }

    /// The peer has sent its last message again: our answer was lost.
    pub(super) fn repeat(&mut self, now: Instant, id: u64) {
        let Some(sa) = self.phase1.get_mut(&id) else { return };
        if matches!(sa.state, State::KeComputing | State::SharedComputing | State::Proving) {
            return;
        }
        if let Some(last) = &mut sa.last_sent
            && last.may_answer(now)
        {
            for datagram in &last.datagrams {
                self.core.send(sa.local, sa.remote, datagram.clone());
            }
        }
    }

    /// A [`crate::Job`] has been run.
    pub fn handle_job(&mut self, now: Instant, done: JobDone) {
        let Some(owner) = self.core.job_owners.remove(&done.id) else { return };
        let Some(sa) = self.phase1.get(&owner.phase1) else { return };
        // strongSwan ends every other ISAKMP SA when it reads this in one, also that which it has just begun itself.
        let alone = self.phase1.of(sa.remote.ip()).all(|(_, other)| other.id == sa.id);
        let says_so = sa.initiator && alone && self.is_first_contact(sa.remote.ip(), sa.peer);
        let Some(sa) = self.phase1.get_mut(&owner.phase1) else { return };
        let before = sa.remote.ip();
        if owner.message_id == 0 {
            sa.says_initial_contact = says_so;
            let outcome = match sa.exchange {
                ExchangeMode::Main => main_mode::handle_job(&mut self.core, now, sa, done),
                ExchangeMode::Aggressive => aggressive_mode::handle_job(&mut self.core, now, sa, done),
            };
            self.phase1_outcome(now, owner.phase1, outcome);
        } else {
            let outcome = quick_mode::handle_job(&mut self.core, now, sa, owner.message_id, done);
            self.quick_outcome(now, owner.phase1, owner.message_id, &outcome);
        }
        self.may_have_moved(owner.phase1, before);
    }

    pub(super) fn quick_outcome(
        &mut self,
        now: Instant,
        phase1: u64,
        message_id: u32,
        outcome: &quick_mode::Outcome,
    ) {
        match outcome {
            quick_mode::Outcome::Continues => {}
            quick_mode::Outcome::Failed => {
                if let Some(sa) = self.phase1.get_mut(&phase1) {
                    quick_mode::abandon(&mut self.core, sa, message_id);
                }
            }
            quick_mode::Outcome::Established(pair) => self.pair_negotiated(now, *pair),
        }
    }

    fn phase1_outcome(&mut self, now: Instant, id: u64, outcome: Outcome) {
        match outcome {
            Outcome::Continues => {}
            Outcome::Established => self.established(now, id),
            Outcome::Failed => {
                self.forget(id);
            }
        }
    }
}
