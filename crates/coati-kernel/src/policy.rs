//! Which SAs a policy wants.

use std::net::IpAddr;

use coati_sadb::{Action, Level, Mode, Policy, ReqId, Rule, SaProto, Selector};

pub(crate) fn rules(policy: &Policy) -> &[Rule] {
    match &policy.action {
        Action::Ipsec(rules) => rules,
        Action::None | Action::Discard => &[],
    }
}

pub(crate) fn reqid_of(rule: &Rule) -> ReqId {
    match rule.level {
        Level::Unique(reqid) => reqid,
        _ => ReqId(0),
    }
}

/// The rules with the ends of the SAs that they want: those of the tunnel, those of the tunnel inside, or the hosts that the
/// policy is about. `None`: transport mode without hosts is between whoever sends.
pub(crate) fn with_ends(policy: &Policy) -> impl Iterator<Item = (&Rule, Option<(IpAddr, IpAddr)>)> {
    let Selector { source, destination, .. } = policy.selector;
    let is_hosts = source.is_host() && destination.is_host();
    let mut ends = is_hosts.then_some((source.address, destination.address));
    rules(policy).iter().map(move |rule| {
        if rule.mode == Mode::Tunnel {
            ends = rule.endpoints;
        }
        (rule, ends)
    })
}

/// The rules of a policy that an SA of this protocol between these is for.
pub(crate) fn that_want(
    policy: &Policy,
    proto: SaProto,
    between: (IpAddr, IpAddr),
) -> impl Iterator<Item = &Rule> {
    let Selector { source, destination, .. } = policy.selector;
    let fits = move |ends: Option<(IpAddr, IpAddr)>| match ends {
        Some(ends) => ends == between,
        None => source.contains(between.0) && destination.contains(between.1),
    };
    with_ends(policy).filter(move |(rule, ends)| rule.proto == proto && fits(*ends)).map(|(rule, _)| rule)
}

/// But for number and usage.
pub(crate) fn says_the_same(a: &Policy, b: &Policy) -> bool {
    let what = |policy: &Policy| (policy.direction, policy.selector, policy.priority);
    what(a) == what(b) && a.action == b.action
}
