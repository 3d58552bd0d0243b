//! What a person asks for at the control socket: racoonctl's commands, and the tables behind them.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use coati_sadb::{SaId, Secret, Selector};
use thiserror::Error;

use super::Engine;
use crate::config::ExchangeMode;
use crate::event::EndReason;
use crate::ikev1::identity;
use crate::ikev1::phase1::{Phase1, State, hex};
use crate::ikev1::transaction::Login;
use crate::pair::PairKey;

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotDone {
    /// It is there already (EEXIST; racoonctl takes that for success).
    #[error("there is one already")]
    Exists,
    /// Nothing fits the command.
    #[error("there is none")]
    Nothing,
    /// No remote section for the address, or none of this name.
    #[error("no remote section fits {0}")]
    NoRemote(String),
    /// No outbound policy with this selector.
    #[error("no outbound policy has this selector; add it with setkey first")]
    NoPolicy,
    /// It could not begin; [`Engine::failures`] says why.
    #[error("it could not begin: {0}")]
    Failed(String),
}

/// One ISAKMP SA, for `racoonctl show-sa isakmp`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsakmpSa {
    /// Our end.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
    /// Initiator's cookie in hexadecimal.
    pub initiator_cookie: String,
    /// Responder's cookie.
    pub responder_cookie: String,
    /// racoon's number of the state: 9 is established, 10 dying.
    pub state: u8,
    /// Whether we began it.
    pub initiator: bool,
    /// How it was or is brought up.
    pub exchange: ExchangeMode,
    /// When it was established.
    pub established: Option<Instant>,
    /// How long it lasts from then on.
    pub lifetime: Duration,
    /// Who the peer is, once it is established.
    pub identity: Option<String>,
    /// Whether NAT traversal is in use.
    pub nat: bool,
    /// SA pairs and quick modes under it.
    pub phase2: usize,
}

/// One SA pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairInfo {
    /// From the peer to us.
    pub inbound: SaId,
    /// From us to the peer.
    pub outbound: SaId,
    /// What it protects, seen from here.
    pub selector: Selector,
    /// When it was installed.
    pub established: Instant,
    /// How long it lasts from then on.
    pub lifetime: Duration,
    /// Whether another one has taken over.
    pub retired: bool,
}

impl Engine {
    /// Name and password that the peer at this address is given from now on when it asks for a login, in the place of
    /// what the configuration says; until it refuses them, or [`Engine::delete_peer`]. `false` when nobody logs in by its
    /// remote section, which `name` may choose.
    pub fn log_in_with(
        &mut self,
        remote: IpAddr,
        name: Option<&str>,
        user: String,
        password: Secret,
    ) -> bool {
        let section = self.section(remote, name).and_then(|index| self.core.peer(index));
        let logs_in =
            section.is_some_and(|peer| peer.proposals.iter().any(|proposal| proposal.auth.is_client()));
        if logs_in {
            self.core.logins_for.insert(remote, (user, password));
        }
        logs_in
    }

    fn section(&self, remote: IpAddr, name: Option<&str>) -> Option<usize> {
        match name {
            None => self.core.config.peer_of(remote),
            Some(name) => self.core.config.peers.iter().position(|peer| peer.name.as_deref() == Some(name)),
        }
    }

    /// The certificate, DER, with which the peer of an ISAKMP SA between these ends has proved who it is; port 0 is any.
    pub fn certificate(&self, local: SocketAddr, remote: SocketAddr) -> Option<&[u8]> {
        let fits = |wanted: SocketAddr, found: SocketAddr| {
            wanted.ip() == found.ip() && (wanted.port() == 0 || wanted.port() == found.port())
        };
        let mut sas = self.phase1.values().rev().filter(|sa| sa.is_established());
        sas.find_map(|sa| {
            sa.peer_certificate.as_deref().filter(|_| fits(local, sa.local) && fits(remote, sa.remote))
        })
    }

    /// Brings up an ISAKMP SA, also with a `passive` peer. `name` chooses a named remote section.
    pub fn establish(
        &mut self,
        now: Instant,
        local: IpAddr,
        remote: IpAddr,
        name: Option<&str>,
    ) -> Result<(), NotDone> {
        if let Some(sa) = self.best(remote, None).and_then(|id| self.phase1.get(&id)) {
            // A login or settings that are waited for decide.
            let is_ready = sa.access.login == Login::Passed && !sa.access.asking;
            return if is_ready { Err(NotDone::Exists) } else { Ok(()) };
        }
        if self.under_way(remote).is_some() {
            return Ok(());
        }
        let index = self.section(remote, name);
        let what = || name.map_or_else(|| remote.to_string(), str::to_owned);
        let index = index.ok_or_else(|| NotDone::NoRemote(what()))?;
        // Who waits for the outcome hears of a failure also when it is the same as before.
        self.core.failures.remove(&remote);
        if self.begin_phase1_with(now, index, local, remote, Vec::new()) {
            return Ok(());
        }
        let why = self.core.failures.get(&remote).map_or(String::new(), ToString::to_string);
        Err(NotDone::Failed(why))
    }

    /// Brings up an SA pair for the outbound policy with this selector, and an ISAKMP SA before it.
    pub fn establish_pair(&mut self, now: Instant, selector: &Selector) -> Result<(), NotDone> {
        let want = self.core.want_of(selector).ok_or(NotDone::NoPolicy)?;
        if self.core.live_pair(&want).is_some() {
            return Err(NotDone::Exists);
        }
        let (local, remote) = (want.local, want.remote);
        self.core.failures.remove(&remote);
        if self.best(remote, None).is_none() && self.under_way(remote).is_none() {
            self.establish(now, local, remote, None)?;
        }
        self.negotiate(now, want);
        Ok(())
    }

    /// Ends the ISAKMP SAs with this peer and tells it; SA pairs stay. Returns how many there were.
    pub fn delete_isakmp(&mut self, remote: IpAddr) -> usize {
        let list = self.phase1.ids(remote);
        for id in &list {
            self.end_phase1(*id, EndReason::Asked, true);
        }
        list.len()
    }

    /// Ends all SAs with this peer and tells it, as `racoonctl vpn-disconnect`. Returns how many there were.
    pub fn delete_peer(&mut self, remote: IpAddr) -> usize {
        self.core.logins_for.remove(&remote);
        self.take_leave(remote, None, EndReason::Asked)
    }

    /// Ends the SA pairs that protect this selector and tells the peer. Returns how many there were.
    pub fn delete_pairs(&mut self, selector: &Selector) -> usize {
        let pairs = self.core.pairs.ids(PairKey::Selector(*selector));
        for pair in &pairs {
            self.end_pair(*pair, EndReason::Asked);
        }
        pairs.len()
    }

    /// Somebody removes this SA from the data plane: its pair ends, and the peer is told.
    pub fn delete_pair_of(&mut self, id: &SaId) {
        let of = |(_, pair): &(u64, &crate::pair::Pair)| pair.inbound == *id || pair.outbound == *id;
        let found = self.core.pairs.of(PairKey::Spi(id.spi)).find(of).map(|(pair, _)| pair);
        if let Some(pair) = found {
            self.end_pair(pair, EndReason::Asked);
        }
    }

    /// Ends all ISAKMP SAs and tells the peers; SA pairs stay.
    pub fn flush_isakmp(&mut self) {
        let list: Vec<u64> = self.phase1.keys().copied().collect();
        for id in list {
            self.end_phase1(id, EndReason::Asked, true);
        }
    }

    /// Ends all SA pairs and tells the peers.
    pub fn flush_pairs(&mut self) {
        let pairs: Vec<u64> = self.core.pairs.keys().copied().collect();
        for pair in pairs {
            self.end_pair(pair, EndReason::Asked);
        }
    }

    /// All SA pairs, oldest first.
    pub fn pairs(&self) -> Vec<PairInfo> {
        let info = |pair: &crate::pair::Pair| PairInfo {
            inbound: pair.inbound,
            outbound: pair.outbound,
            selector: pair.want.selector,
            established: pair.established,
            lifetime: pair.lifetime,
            retired: pair.retired,
        };
        self.core.pairs.values().map(info).collect()
    }

    /// All ISAKMP SAs, also those that are not established yet.
    pub fn isakmp_sas(&self) -> Vec<IsakmpSa> {
        self.phase1.values().map(|sa| self.describe(sa)).collect()
    }

    /// Those with the peer at this address.
    pub fn isakmp_sas_with(&self, remote: IpAddr) -> Vec<IsakmpSa> {
        self.phase1.of(remote).map(|(_, sa)| self.describe(sa)).collect()
    }

    fn describe(&self, sa: &Phase1) -> IsakmpSa {
        let [initiator, responder] = sa.cookies;
        let state = match (sa.state, sa.initiator) {
            (State::SaSent, true) => 4,
            (State::SaSent | State::KeComputing, false) => 6,
            (State::KeComputing, true) => 5,
            (State::KeSent, true) => 6,
            (State::KeSent, false) | (State::SharedComputing, _) => 7,
            (State::AuthSent | State::Proving, _) => 8,
            (State::Established, _) => 9,
            (State::Dying, _) => 10,
        };
        let pairs = self.core.pairs.of(PairKey::Phase1(sa.id));
        let open = sa.quicks.values().filter(|quick| quick.is_open());
        let proved = sa.peer_identity.as_ref().filter(|_| sa.is_established());
        IsakmpSa {
            local: sa.local,
            remote: sa.remote,
            initiator_cookie: hex(&initiator),
            responder_cookie: hex(&responder),
            state,
            initiator: sa.initiator,
            exchange: sa.exchange,
            established: sa.established,
            lifetime: sa.lifetime,
            identity: proved.map(identity::describe),
            nat: sa.nat.found(),
            phase2: pairs.count() + open.count(),
        }
    }
}
