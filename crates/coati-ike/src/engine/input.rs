//! Datagrams and finished exponentiations.

use std::net::SocketAddr;
use std::time::Instant;

use coati_crypto::hash::HashAlgorithm;
use coati_wire::isakmp::{Header, exchange, flag, kind};

use super::Engine;
use crate::config::Fragmentation;
use crate::failure::{Cause, Failure, Stage};
use crate::ikev1::phase1::State;
use crate::ikev1::{informational, main_mode, negotiation, quick_mode};
use crate::job::JobDone;

/// Unknown initiators that are being answered at one time, in all and of one address.
const MAX_HALF_OPEN: usize = 256;
const MAX_HALF_OPEN_OF_ONE: usize = 8;

impl Engine {
    /// Takes a UDP payload that came to `local` from `remote`.
    pub fn handle_input(&mut self, now: Instant, local: SocketAddr, remote: SocketAddr, datagram: &[u8]) {
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
        let digest = HashAlgorithm::Sha256.digest(&[message]);
        let first = header.responder_cookie == [0; 8] && header.exchange != exchange::INFORMATIONAL;
        let known = if first {
            self.first_messages.get(&(remote, header.initiator_cookie)).copied()
        } else {
            self.find(&header, remote)
        };
        match (known, first) {
            (None, true) => self.handle_first(now, local, remote, &header, body, digest),
            (None, false) => self.core.drop_datagram("unknown cookies"),
            (Some(id), _) => self.handle_known(now, id, &header, body, &digest),
        }
    }

    /// The ISAKMP SA with these cookies at this address.
    pub(super) fn find(&self, header: &Header, remote: SocketAddr) -> Option<u64> {
        let ours = |cookie: &[u8; 8], initiator: bool| {
            let id = *self.own_cookies.get(cookie)?;
            let sa = self.phase1.get(&id)?;
            (sa.initiator == initiator && sa.remote == remote).then_some((id, sa))
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
    pub(super) fn handle_first(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        header: &Header,
        body: &[u8],
        digest: Vec<u8>,
    ) {
        let Some(peer) = self.core.config.peer_of(remote.ip()) else {
            return self.core.drop_datagram("no remote section for the sender");
        };
        if header.exchange != exchange::IDENTITY_PROTECTION {
            if header.exchange == exchange::AGGRESSIVE {
                let text = "it begins with aggressive mode; only main mode is taken here";
                self.core.fail(Failure::new(remote.ip(), Stage::Phase1, Cause::NoProposal, text));
            }
            return self.core.drop_datagram("exchange type not supported");
        }
        let half_open = self.phase1.values().filter(|sa| !sa.initiator && !sa.is_established());
        let (all, of_one) = half_open
            .fold((0, 0), |(all, one), sa| (all + 1, one + usize::from(sa.remote.ip() == remote.ip())));
        if all >= MAX_HALF_OPEN || of_one >= MAX_HALF_OPEN_OF_ONE {
            return self.core.drop_datagram("too many half-open negotiations");
        }
        if !self.yield_to(now, remote, header.initiator_cookie) {
            return self.core.drop_datagram("begun from both sides at once, ours goes on");
        }
        if let Some(mut sa) = main_mode::respond(&mut self.core, now, peer, local, remote, header, body) {
            sa.last_received = digest;
            self.first_messages.insert((remote, header.initiator_cookie), sa.id);
            self.keep(sa);
        }
    }

    pub(super) fn handle_known(
        &mut self,
        now: Instant,
        id: u64,
        header: &Header,
        body: &[u8],
        digest: &[u8],
    ) {
        let Some(sa) = self.phase1.get_mut(&id) else { return };
        match header.exchange {
            exchange::IDENTITY_PROTECTION if header.message_id == 0 => {
                if sa.last_received == digest {
                    return self.repeat(now, id);
                }
                let before = sa.state;
                let outcome = main_mode::handle_message(&mut self.core, now, sa, header, body);
                if sa.state != before {
                    sa.last_received = digest.to_vec();
                }
                if outcome == negotiation::Outcome::Established {
                    self.established(now, id);
                }
            }
            exchange::QUICK if header.message_id != 0 => {
                if !sa.is_established() || header.flags & flag::ENCRYPTED == 0 {
                    return self.core.drop_datagram("quick mode before an ISAKMP SA");
                }
                let outcome = quick_mode::handle_message(&mut self.core, now, sa, header, body, digest);
                self.quick_outcome(now, id, header.message_id, &outcome);
            }
            exchange::INFORMATIONAL => {
                let informed = informational::handle_message(&mut self.core, now, sa, header, body);
                for told in informed {
                    self.informed(now, id, told);
                }
            }
            _ => self.core.drop_datagram("exchange type not supported"),
        }
    }

    /// The peer has sent its last message again: our answer was lost.
    pub(super) fn repeat(&mut self, now: Instant, id: u64) {
        let Some(sa) = self.phase1.get_mut(&id) else { return };
        if matches!(sa.state, State::KeComputing | State::SharedComputing) {
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

    /// A [`Job`] has been run.
    pub fn handle_job(&mut self, now: Instant, done: JobDone) {
        let Some(owner) = self.core.job_owners.remove(&done.id) else { return };
        let Some(sa) = self.phase1.get(&owner.phase1) else { return };
        let says_so = sa.initiator && self.is_first_contact(sa.remote.ip(), sa.peer);
        let Some(sa) = self.phase1.get_mut(&owner.phase1) else { return };
        if owner.message_id == 0 {
            sa.says_initial_contact = says_so;
            main_mode::handle_job(&mut self.core, now, sa, done);
        } else {
            let outcome = quick_mode::handle_job(&mut self.core, now, sa, owner.message_id, done);
            self.quick_outcome(now, owner.phase1, owner.message_id, &outcome);
        }
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
}
