//! What people order over the admin socket, and the views they ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use coati_config::site::Site;
use coati_ike as ike;
use coati_sadb::{AuthAlgorithm, Direction, Policy, Refusal, Reply, Request, Sa, SaProto, SaState, Selector};

use super::{Control, ControlEvent, Now};
use crate::admin::{
    AdminReply, AdminRequest, Cause, Establish, PairStatus, PeerStatus, Refused, TimerStatus,
};
use crate::ike_config::ike_config;
use crate::ospf_config::{engine_config, engine_debug};

/// What a reload did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// ISAKMP SAs and SA pairs that go on.
    pub kept: usize,
    /// Those that ended, because their settings are others now.
    pub ended: usize,
    /// Policies that are new.
    pub policies_added: usize,
    /// Policies that are gone.
    pub policies_removed: usize,
    /// OSPF's file says something else.
    pub ospf_changed: bool,
}

impl Control {
    /// Carries out what concerns the control plane alone; gives back what only the daemon can answer.
    pub fn carry_out(
        &mut self,
        now: Now,
        site: &Site,
        started: Instant,
        request: AdminRequest,
    ) -> Result<AdminReply, AdminRequest> {
        let done =
            |result: Result<(), Refused>| result.map_or_else(AdminReply::Refused, |()| AdminReply::Done);
        Ok(match request {
            AdminRequest::Sadb(request) => AdminReply::Sadb(self.request(now, request)),
            AdminRequest::SadbFile(list) => AdminReply::SadbFile(self.requests(now, list)),
            AdminRequest::Isakmp => AdminReply::Isakmp(self.isakmp(now)),
            AdminRequest::Ike => AdminReply::Ike(self.peers(now, site)),
            AdminRequest::Show(words) => {
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                self.show(now, &words).map_or_else(AdminReply::Error, AdminReply::Text)
            }
            AdminRequest::Order(words) => {
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                self.order(now, &words).map_or_else(AdminReply::Error, AdminReply::Text)
            }
            AdminRequest::Schedule => AdminReply::Schedule(self.timers(now, started)),
            AdminRequest::FlushIsakmp => {
                self.flush_isakmp(now);
                AdminReply::Done
            }
            AdminRequest::DeleteIsakmp { local, remote } => done(self.delete_isakmp(now, local, remote)),
            AdminRequest::DeletePair { proto, selector } => done(self.delete_pair(now, proto, &selector)),
            AdminRequest::Establish(what) => done(self.establish(now, &what)),
            AdminRequest::Disconnect(peer) => done(self.disconnect(now, peer)),
            AdminRequest::LogoutUser(name) => done(self.logout(now, &name)),
            AdminRequest::Certificate { local, remote } => match self.ike.certificate(local, remote) {
                Some(der) => AdminReply::Certificate(der.to_vec()),
                None => {
                    let text = format!(
                        "no certificate of the peer: no ISAKMP SA between {} and {} came up by one \
                         (`racoonctl -ll show-sa isakmp` lists them)",
                        local.ip(),
                        remote.ip()
                    );
                    AdminReply::Refused(Refused::new(Cause::NotFound, text))
                }
            },
            other @ (AdminRequest::Status
            | AdminRequest::Reload
            | AdminRequest::Monitor
            | AdminRequest::Events) => return Err(other),
        })
    }

    /// Negotiates. Success means that it has begun.
    pub fn establish(&mut self, now: Now, what: &Establish) -> Result<(), Refused> {
        self.ike.handle_clock(now.at, now.wall);
        let (remote, result) = match what {
            Establish::Isakmp { local, remote, name, login } => {
                if let Some(login) = login {
                    let (user, password) = (login.name.clone(), login.password.clone());
                    if !self.ike.log_in_with(*remote, name.as_deref(), user, password) {
                        let text = format!(
                            "{remote}: no remote section for it logs in (xauth_psk_client and its like); leave `-u` out"
                        );
                        return Err(Refused::new(Cause::Unsupported, text));
                    }
                }
                (*remote, self.ike.establish(now.at, *local, *remote, name.as_deref()))
            }
            Establish::Pair { selector, .. } => {
                (selector.destination.address, self.ike.establish_pair(now.at, selector))
            }
        };
        self.settle(now);
        result.map_err(|error| {
            let cause = match error {
                ike::NotDone::Exists => Cause::Exists,
                ike::NotDone::Nothing | ike::NotDone::NoRemote(_) | ike::NotDone::NoPolicy => Cause::NotFound,
                ike::NotDone::Failed(_) => Cause::Failed,
            };
            let advice = match error {
                ike::NotDone::NoPolicy => " (setkey -DP lists them)",
                ike::NotDone::NoRemote(_) => ": racoon.conf needs one, or `remote anonymous`",
                _ => "",
            };
            Refused::new(cause, format!("{remote}: {error}{advice}"))
        })
    }

    /// Ends all ISAKMP SAs.
    pub fn flush_isakmp(&mut self, now: Now) {
        self.ike.flush_isakmp();
        self.settle(now);
    }

    /// Ends what there is between two ends, as racoon does it: the ISAKMP SAs and the pairs. Port 0 and 0.0.0.0 fit all.
    pub fn delete_isakmp(&mut self, now: Now, local: SocketAddr, remote: SocketAddr) -> Result<(), Refused> {
        let address = |wanted: IpAddr, found: IpAddr| wanted.is_unspecified() || wanted == found;
        let fits = |wanted: SocketAddr, found: SocketAddr| {
            address(wanted.ip(), found.ip()) && (wanted.port() == 0 || wanted.port() == found.port())
        };
        let sas = self.ike.isakmp_sas().into_iter();
        let sas = sas.filter(|sa| fits(local, sa.local) && fits(remote, sa.remote)).map(|sa| sa.remote.ip());
        let pairs = self.ike.pairs().into_iter().map(|pair| pair.outbound);
        let pairs = pairs
            .filter(|id| address(local.ip(), id.source) && address(remote.ip(), id.destination))
            .map(|id| id.destination);
        let peers: BTreeSet<IpAddr> = sas.chain(pairs).collect();
        let count: usize = peers.into_iter().map(|peer| self.ike.delete_peer(peer)).sum();
        self.settle(now);
        if count == 0 {
            let text = format!(
                "there is no SA between {} and {} (`racoonctl -ll show-sa isakmp` lists them)",
                local.ip(),
                remote.ip()
            );
            return Err(Refused::new(Cause::NotFound, text));
        }
        Ok(())
    }

    /// Ends the SA pairs of a policy, and SAs set by hand between the same addresses.
    pub fn delete_pair(&mut self, now: Now, proto: SaProto, selector: &Selector) -> Result<(), Refused> {
        let mut count = self.ike.delete_pairs(selector);
        self.settle(now);
        let (ours, theirs) = (selector.source, selector.destination);
        let pairs = self.ike.pairs();
        for sa in self.sas(now) {
            let between = |a: IpAddr, b: IpAddr| ours.contains(a) && theirs.contains(b);
            let fits = between(sa.id.source, sa.id.destination) || between(sa.id.destination, sa.id.source);
            let by_hand = !pairs.iter().any(|pair| pair.inbound == sa.id || pair.outbound == sa.id);
            if sa.id.proto == proto && fits && by_hand && sa.state != SaState::Larval {
                self.plane.request(now.at, now.wall, Request::Delete(sa.id));
                count += 1;
            }
        }
        self.settle(now);
        if count == 0 {
            let same_ends =
                |pair: &&ike::PairInfo| (pair.selector.source, pair.selector.destination) == (ours, theirs);
            let others: Vec<String> = pairs
                .iter()
                .filter(same_ends)
                .map(|pair| coati_config::setkey::upper_name(pair.selector.upper))
                .collect();
            let advice = match others.as_slice() {
                [] => "`setkey -D` lists them".to_owned(),
                others => format!("there is one for {}: name that protocol", others.join(" and ")),
            };
            let text = format!("there is no such SA between {ours} and {theirs} ({advice})");
            return Err(Refused::new(Cause::NotFound, text));
        }
        Ok(())
    }

    /// Ends all that there is with a peer.
    pub fn disconnect(&mut self, now: Now, remote: IpAddr) -> Result<(), Refused> {
        let count = self.ike.delete_peer(remote);
        self.settle(now);
        if count == 0 {
            let text = format!("there is nothing with {remote}: no ISAKMP SA, no SA pair");
            return Err(Refused::new(Cause::NotFound, text));
        }
        Ok(())
    }

    /// Ends all that the peers have whose user has logged in here under this name.
    pub fn logout(&mut self, now: Now, user: &str) -> Result<(), Refused> {
        let count = self.ike.logout(user);
        self.settle(now);
        if count == 0 {
            return Err(Refused::new(Cause::NotFound, format!("no user `{user}` is logged in")));
        }
        Ok(())
    }

    /// Uses what the files say now. What was negotiated by settings that are the same goes on.
    pub fn reconfigure(&mut self, now: Now, before: &Site, site: &Site) -> Reloaded {
        let mut outcome = Reloaded::default();
        let policies =
            |site: &Site| -> Vec<Policy> { site.policies().map(|(policy, _)| policy.clone()).collect() };
        let (old, new) = (policies(before), policies(site));
        let key = |policy: &Policy| (policy.selector, policy.direction);
        for policy in old.iter().filter(|policy| !new.iter().any(|other| key(other) == key(policy))) {
            let request = Request::SpdDelete(Box::new(policy.selector), policy.direction);
            self.plane.request(now.at, now.wall, request);
            outcome.policies_removed += 1;
        }
        for policy in new.iter().filter(|policy| !old.contains(policy)) {
            self.plane.request(now.at, now.wall, Request::SpdUpdate(Box::new(policy.clone())));
            outcome.policies_added += 1;
        }
        self.ike.handle_policies(&self.plane.policies());
        // What protected a policy that is gone has no use any more.
        let before_all = self.sa_names();
        let current = self.plane.policies();
        let stale: BTreeSet<Selector> = self
            .ike
            .pairs()
            .into_iter()
            .map(|pair| pair.selector)
            .filter(|selector| {
                !current
                    .iter()
                    .any(|policy| policy.direction == Direction::Out && policy.selector == *selector)
            })
            .collect();
        for selector in &stale {
            self.ike.delete_pairs(selector);
        }
        self.ike.reconfigure(now.at, ike_config(site));
        let after_all = self.sa_names();
        outcome.kept = before_all.intersection(&after_all).count();
        outcome.ended = before_all.len() - outcome.kept;
        outcome.ospf_changed = before.ospf != site.ospf;
        self.ospf_conf.clone_from(&site.ospf);
        if let (Some(conf), Some(engine)) = (&self.ospf_conf, &mut self.ospf) {
            if before.ospf.as_ref().is_some_and(|old| old.debug != conf.debug) {
                self.debug = conf.debug;
                engine.set_debug(engine_debug(&self.debug));
            }
            engine.reconfigure(now.at, engine_config(conf, engine.router_id()));
            let before = before.ospf.as_ref();
            if before.is_some_and(|before| before.distances != conf.distances) {
                let all = engine.routes().map(|route| (route.network, route.prefix_len)).collect();
                self.events.push_back(ControlEvent::ChosenRoutes(all));
            }
        }
        self.find_static_routes();
        self.set_externals(now);
        self.settle(now);
        outcome
    }

    /// Cookies of the ISAKMP SAs and SPIs of the pairs.
    fn sa_names(&self) -> BTreeSet<String> {
        let isakmp = self.ike.isakmp_sas().into_iter();
        let isakmp = isakmp.map(|sa| format!("{}:{}", sa.initiator_cookie, sa.responder_cookie));
        let pairs = self.ike.pairs().into_iter().map(|pair| format!("{:?}", pair.inbound));
        isakmp.chain(pairs).collect()
    }

    /// IKE's timers; `started` is when the daemon started.
    pub fn timers(&self, now: Now, started: Instant) -> Vec<TimerStatus> {
        let status = |(id, timer): (u64, ike::TimerInfo)| {
            let set = timer.set.unwrap_or(now.at).min(timer.at);
            TimerStatus {
                id,
                what: timer.what.to_owned(),
                tick: timer.at.saturating_duration_since(set).as_secs(),
                fires: timer.at.saturating_duration_since(started).as_secs(),
                created: now.wall.saturating_sub(now.at.saturating_duration_since(set).as_secs()),
            }
        };
        (1..).zip(self.ike.timers()).map(status).collect()
    }

    /// The peers, those of the configuration and those that came, with what there is with them.
    pub fn peers(&mut self, now: Now, site: &Site) -> Vec<PeerStatus> {
        let sas = self.sas(now);
        let isakmp = self.isakmp(now);
        let pairs = self.ike.pairs();
        let failures: BTreeMap<IpAddr, ike::Failure> =
            self.ike.failures().map(|failure| (failure.remote, failure.clone())).collect();
        let sections = site.racoon.iter().flat_map(|racoon| &racoon.remotes);
        let section = |remote: IpAddr| {
            let own = sections.clone().find(|section| section.address() == Some(remote));
            own.or_else(|| sections.clone().find(|section| section.address().is_none()))
        };
        let mut remotes: BTreeSet<IpAddr> =
            sections.clone().filter_map(|section| section.address()).collect();
        remotes.extend(isakmp.iter().map(|sa| sa.remote.ip()));
        remotes.extend(pairs.iter().map(|pair| pair.outbound.destination));
        remotes.extend(failures.keys());
        let peer = |remote: IpAddr| PeerStatus {
            remote,
            section: section(remote).map_or(String::new(), |section| section.origin.to_string()),
            isakmp: isakmp.iter().filter(|sa| sa.remote.ip() == remote).cloned().collect(),
            pairs: pairs
                .iter()
                .filter(|pair| pair.outbound.destination == remote && !pair.retired)
                .map(|pair| pair_status(now, pair, &sas))
                .collect(),
            failure: failures.get(&remote).cloned(),
        };
        remotes.into_iter().map(peer).collect()
    }

    fn sas(&mut self, now: Now) -> Vec<Sa> {
        match self.plane.request(now.at, now.wall, Request::Dump(None)) {
            Reply::Sas { sas } => sas,
            Reply::Refused { refusal: Refusal::NoSa } => Vec::new(),
            _ => Vec::new(),
        }
    }
}

fn pair_status(now: Now, pair: &ike::PairInfo, sas: &[Sa]) -> PairStatus {
    let find = |id| sas.iter().find(|sa| sa.id == id);
    let (inbound, outbound) = (find(pair.inbound), find(pair.outbound));
    let bytes = |sa: Option<&Sa>| sa.map_or(0, |sa| sa.usage.bytes);
    let algorithms = |sa: &Sa| {
        let bits = sa.enc_key.len() * 8;
        match sa.auth {
            AuthAlgorithm::None => format!("{} {bits} bits", sa.enc.setkey_name()),
            auth => format!("{} {bits} bits, {}", sa.enc.setkey_name(), auth.setkey_name()),
        }
    };
    let left = |sa: &Sa| {
        (sa.hard.add_seconds > 0).then(|| (sa.usage.added + sa.hard.add_seconds).saturating_sub(now.wall))
    };
    PairStatus {
        proto: pair.inbound.proto.setkey_name().to_owned(),
        mode: outbound.or(inbound).map_or(String::new(), |sa| sa.mode.setkey_name().to_owned()),
        inbound: vec![pair.inbound.spi.to_string()],
        outbound: vec![pair.outbound.spi.to_string()],
        algorithms: outbound.or(inbound).map_or(String::new(), algorithms),
        expires_in: outbound.or(inbound).and_then(left),
        bytes: (bytes(inbound), bytes(outbound)),
    }
}
