//! What lies between phase 1 and phase 2 for road warriors: login and settings.

use std::time::Instant;

use coati_wire::isakmp::Header;

use super::Engine;
use super::demand::RESPONDER_WAITS;
use crate::core::Timer;
use crate::event::{EndReason, Event};
use crate::ikev1::phase1::Phase1;
use crate::ikev1::transaction::{self, Outcome};
use crate::party::Party;

impl Engine {
    /// The verdict on a login that [`Engine::poll_login`] gave.
    pub fn handle_login(&mut self, now: Instant, id: u64, passed: bool) {
        let Some(sa) = self.phase1.get_mut(&id) else { return };
        let outcome = transaction::decide(&mut self.core, now, sa, passed);
        self.transaction_outcome(now, id, outcome);
    }

    /// Phase 1 is done: phase 2 begins at once, or after login and settings.
    pub(super) fn begin_access(&mut self, now: Instant, id: u64) {
        let Some(sa) = self.phase1.get_mut(&id) else { return };
        let outcome = transaction::begin(&mut self.core, now, sa);
        self.transaction_outcome(now, id, outcome);
    }

    pub(super) fn handle_transaction(
        &mut self,
        now: Instant,
        id: u64,
        header: &Header,
        body: &[u8],
        digest: &[u8],
    ) {
        let Some(sa) = self.phase1.get_mut(&id) else { return };
        let outcome = transaction::handle_message(&mut self.core, now, sa, header, body, digest);
        self.transaction_outcome(now, id, outcome);
    }

    pub(super) fn transaction_due(&mut self, now: Instant, id: u64, message_id: u32) {
        let Some(sa) = self.phase1.get_mut(&id) else { return };
        let outcome = transaction::handle_timeout(&mut self.core, now, sa, message_id);
        self.transaction_outcome(now, id, outcome);
    }

    pub(super) fn login_due(&mut self, now: Instant, id: u64) {
        let Some(sa) = self.phase1.get_mut(&id) else { return };
        let outcome = transaction::login_due(&mut self.core, now, sa);
        self.transaction_outcome(now, id, outcome);
    }

    fn transaction_outcome(&mut self, now: Instant, id: u64, outcome: Outcome) {
        match outcome {
            Outcome::Continues => {}
            Outcome::Refused => {
                self.end_phase1(id, EndReason::LoginRefused, true);
            }
            Outcome::Ready => {
                let Some(sa) = self.phase1.get(&id) else { return };
                let settings = sa.access.settings.clone();
                let (local, remote, spi) = (sa.local, sa.remote, sa.spi());
                self.core.failures.remove(&remote.ip());
                self.core.events.push_back(Event::Ready { local, remote, spi, settings });
                if sa.initiator {
                    self.begin_waiting(now, id);
                } else {
                    self.core.set_timer(now + RESPONDER_WAITS, Timer::Waiting(id));
                }
            }
        }
    }

    /// Ends all that the peers have who have logged in here under this name. Returns how many SAs that were.
    pub fn logout(&mut self, user: &str) -> usize {
        let is_users = |sa: &&Phase1| sa.method().is_server() && sa.access.user.as_deref() == Some(user);
        let parties: Vec<Party> = self.phase1.values().filter(is_users).map(Phase1::party).collect();
        parties.iter().map(|party| self.take_leave(party.address, Some(party), EndReason::Asked)).sum()
    }
}
