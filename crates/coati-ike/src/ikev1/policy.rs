//! Which policy a peer's quick mode is about, and the policies that are made for it (`generate_policy`).

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use coati_sadb::{
    Action, Direction, Level, Mode, Policy, PolicyId, Prefix, Priority, ReqId, Request, Rule, SaProto,
    Selector, Usage,
};

use super::compression::Compression;
use super::mode_config::Leases;
use super::phase1::Phase1;
use super::selector::endpoints;
use crate::config::{EndpointId, GeneratePolicy, Peer};
use crate::core::{Core, Purpose};
use crate::pair::Want;

/// Policies in the order in which they are looked at, found by their ends.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    list: BTreeMap<u64, Box<Policy>>,
    by_ends: HashMap<(Prefix, Prefix), Vec<u64>>,
    last: u64,
}

impl Policies {
    pub(crate) fn set(&mut self, policies: &[Policy]) {
        *self = Self::default();
        policies.iter().cloned().for_each(|policy| self.push(policy));
    }

    fn push(&mut self, policy: Policy) {
        self.last += 1;
        let ends = (policy.selector.source, policy.selector.destination);
        self.by_ends.entry(ends).or_default().push(self.last);
        self.list.insert(self.last, Box::new(policy));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Policy> {
        self.list.values().map(Box::as_ref)
    }

    /// Those from one prefix to another.
    fn between(&self, source: Prefix, destination: Prefix) -> impl Iterator<Item = &Policy> {
        let ids = self.by_ends.get(&(source, destination)).into_iter().flatten();
        ids.filter_map(|id| self.list.get(id).map(Box::as_ref))
    }

    pub(crate) fn get(&self, direction: Direction, selector: &Selector) -> Option<&Policy> {
        let mut between = self.between(selector.source, selector.destination);
        between.find(|policy| policy.direction == direction && policy.selector == *selector)
    }

    pub(crate) fn remove(&mut self, direction: Direction, selector: &Selector) {
        let ends = (selector.source, selector.destination);
        let Some(ids) = self.by_ends.get_mut(&ends) else { return };
        let list = &mut self.list;
        ids.retain(|id| {
            let gone = list.get(id).is_none_or(|p| p.direction == direction && p.selector == *selector);
            if gone {
                list.remove(id);
            }
            !gone
        });
        if ids.is_empty() {
            self.by_ends.remove(&ends);
        }
    }
}

/// The policy with exactly these identities, or for any protocol between them.
pub(crate) fn policy_for(core: &Core, ours: &EndpointId, theirs: &EndpointId, exact: bool) -> Option<Want> {
    let out = core.policies.between(ours.prefix, theirs.prefix).filter(|policy| {
        let (local, remote) = endpoints(&policy.selector);
        policy.direction == Direction::Out && (!exact || local == *ours && remote == *theirs)
    });
    out.filter_map(|policy| core.want_of(&policy.selector)).next()
}

/// The identities with the addresses that are in the packets here.
pub(crate) fn as_seen(sa: &Phase1, ours: &EndpointId, theirs: &EndpointId) -> (EndpointId, EndpointId) {
    let replace = |id: &EndpointId, address: IpAddr, nat: bool| {
        let prefix = if nat && id.prefix.is_host() { Prefix::host(address) } else { id.prefix };
        EndpointId { prefix, ..*id }
    };
    (
        replace(ours, sa.local.ip(), sa.nat.found() && sa.nat.before_us),
        replace(theirs, sa.remote.ip(), sa.nat.found() && sa.nat.before_peer),
    )
}

/// What a policy would want that is made of the peer's identities.
pub(crate) fn wanted(
    core: &mut Core,
    sa: &Phase1,
    peer: &Peer,
    (mode, compression): (Mode, Compression),
    ours: &EndpointId,
    theirs: &EndpointId,
) -> Want {
    let (reqid_out, reqid_in) = match peer.generate_policy {
        GeneratePolicy::Unique => (core.generated_reqid(), core.generated_reqid()),
        _ => (ReqId(0), ReqId(0)),
    };
    // With `support_proxy` SAs end where the identities say.
    let proxied = peer.support_proxy && mode != Mode::Tunnel && !sa.nat.found();
    let end =
        |id: &EndpointId, ike: IpAddr| if proxied && id.prefix.is_host() { id.prefix.address } else { ike };
    Want {
        selector: Selector {
            source: ours.prefix,
            source_port: ours.port,
            destination: theirs.prefix,
            destination_port: theirs.port,
            upper: ours.upper,
        },
        local: end(ours, sa.local.ip()),
        remote: end(theirs, sa.remote.ip()),
        mode,
        reqid_out,
        reqid_in,
        compression,
        compression_reqids: [ReqId(0); 2],
        generated: true,
        party: Some(sa.party()),
    }
}

/// Why no policy may be made for this: what is routed to a peer is nobody else's. Its own address and the one it was
/// given are; networks that lie behind it are, as long as they are not in use here.
pub(crate) fn claim_refused(core: &Core, sa: &Phase1, want: &Want) -> Option<String> {
    let theirs = want.selector.destination;
    if theirs == Prefix::host(sa.remote.ip()) {
        return None;
    }
    if want.mode != Mode::Tunnel && want.remote == sa.remote.ip() {
        return Some("in transport mode a peer has just its own address".into());
    }
    if let Some(given) = core.leases.of(sa.id) {
        let own = theirs == Prefix::host(given.into());
        return (!own).then(|| format!("mode config has given it {given}"));
    }
    let overlaps = |other: &Prefix| theirs.covers(other) || other.length > 0 && other.covers(&theirs);
    if theirs.covers(&want.selector.source) || want.selector.source.covers(&theirs) {
        return Some(format!("{} is on our side", want.selector.source));
    }
    let pool = core.config.mode_config.as_ref().and_then(Leases::pool);
    if let Some((first, last)) = pool.filter(|(first, last)| {
        [first, last].iter().any(|end| theirs.contains((**end).into()))
            || match theirs.address {
                IpAddr::V4(address) => (*first..=*last).contains(&address),
                IpAddr::V6(_) => false,
            }
    }) {
        return Some(format!("mode config gives out {first} to {last}"));
    }
    let another = core.policies.iter().find(|policy| {
        policy.direction == Direction::Out
            && overlaps(&policy.selector.destination)
            && core.want_of(&policy.selector).is_some_and(|other| other.remote != want.remote)
    })?;
    Some(format!("a policy for {} is there already, for another peer", another.selector.destination))
}

/// Makes both policies for a want that has none.
pub(crate) fn generate_policies(core: &mut Core, want: &Want) {
    core.generated.insert(want.selector);
    for direction in [Direction::Out, Direction::In] {
        let out = direction == Direction::Out;
        let reqid = if out { want.reqid_out } else { want.reqid_in };
        let ends = if out { (want.local, want.remote) } else { (want.remote, want.local) };
        let esp = Rule {
            proto: SaProto::Esp,
            mode: want.mode,
            endpoints: (want.mode == Mode::Tunnel).then_some(ends),
            level: if reqid == ReqId(0) { Level::Require } else { Level::Unique(reqid) },
        };
        let compression = (want.compression != Compression::No).then(|| Rule {
            proto: SaProto::Ipcomp,
            level: Level::Use,
            ..esp.clone()
        });
        let policy = Policy {
            id: PolicyId(0),
            selector: if out { want.selector } else { want.selector.reversed() },
            direction,
            priority: Priority::default(),
            action: Action::Ipsec(compression.into_iter().chain([esp]).collect()),
            usage: Usage::default(),
        };
        core.policies.push(policy.clone());
        core.ask(Request::SpdAdd(Box::new(policy)), Some(Purpose::Install(want.remote)));
    }
}
