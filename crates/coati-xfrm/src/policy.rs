//! Policies as the kernel wants and shows them.

use coati_sadb::{
    Action, Direction, Level, Mode, Policy, PolicyId, Port, Prefix, Priority, Refusal, ReqId, Rule, Selector,
    Upper, Usage,
};
use coati_wire::xfrm::{
    self, Attribute, LifetimeLimits, NO_LIMIT, PolicyInfo, Template, action, direction, mode,
};

use crate::sa::mode_of;
use crate::{family_of, protocol, protocol_number};

/// Every bit: all algorithms will do.
const ALL_ALGORITHMS: u32 = u32::MAX;
/// Templates of a policy at the most (`XFRM_MAX_DEPTH`).
const MAX_RULES: usize = 6;

pub(crate) fn direction_number(direction: Direction) -> u8 {
    match direction {
        Direction::In => direction::IN,
        Direction::Out => direction::OUT,
        Direction::Fwd => direction::FORWARD,
    }
}

pub(crate) fn direction_of(number: u8) -> Option<Direction> {
    match number {
        direction::IN => Some(Direction::In),
        direction::OUT => Some(Direction::Out),
        direction::FORWARD => Some(Direction::Fwd),
        _ => None,
    }
}

/// Which packets, in the kernel's words.
pub(crate) fn selector(selector: &Selector) -> xfrm::Selector {
    let port = |port: Port| match port {
        Port::Any => (0, 0),
        Port::Is(number) => (number, u16::MAX),
    };
    let (source_port, source_port_mask) = port(selector.source_port);
    let (destination_port, destination_port_mask) = port(selector.destination_port);
    xfrm::Selector {
        destination: selector.destination.address.into(),
        source: selector.source.address.into(),
        destination_port,
        destination_port_mask,
        source_port,
        source_port_mask,
        family: family_of(selector.source.address),
        destination_len: selector.destination.length,
        source_len: selector.source.length,
        proto: match selector.upper {
            Upper::Any => 0,
            Upper::Proto(number) => number,
        },
        ..xfrm::Selector::default()
    }
}

/// The same back; `None` when there are no words for it here.
pub(crate) fn selector_of(found: &xfrm::Selector) -> Option<Selector> {
    let port = |number: u16, mask: u16| match mask {
        0 => Some(Port::Any),
        u16::MAX => Some(Port::Is(number)),
        _ => None,
    };
    let prefix = |address: xfrm::Address, length: u8| Prefix::new(address.ip(found.family)?, length).ok();
    if found.interface != 0 {
        return None;
    }
    Some(Selector {
        source: prefix(found.source, found.source_len)?,
        source_port: port(found.source_port, found.source_port_mask)?,
        destination: prefix(found.destination, found.destination_len)?,
        destination_port: port(found.destination_port, found.destination_port_mask)?,
        upper: if found.proto == 0 { Upper::Any } else { Upper::Proto(found.proto) },
    })
}

/// A policy with its templates. `unique` has its number already.
pub(crate) fn message(policy: &Policy) -> Result<(PolicyInfo, Vec<Attribute<'static>>), Refusal> {
    let Selector { source, destination, .. } = &policy.selector;
    if source.address.is_ipv4() != destination.address.is_ipv4() {
        return Err(Refusal::Invalid("source and destination are of different families".into()));
    }
    let (action, rules) = match &policy.action {
        Action::Discard => (action::BLOCK, &[][..]),
        Action::None => (action::ALLOW, &[][..]),
        Action::Ipsec(rules) => (action::ALLOW, rules.as_slice()),
    };
    if rules.len() > MAX_RULES {
        return Err(Refusal::Unsupported(format!("Linux has {MAX_RULES} protocols in a policy at the most")));
    }
    let info = PolicyInfo {
        selector: selector(&policy.selector),
        limits: LifetimeLimits {
            soft_bytes: NO_LIMIT,
            hard_bytes: NO_LIMIT,
            soft_packets: NO_LIMIT,
            hard_packets: NO_LIMIT,
            ..LifetimeLimits::default()
        },
        priority: policy.priority.0,
        direction: direction_number(policy.direction),
        action,
        ..PolicyInfo::default()
    };
    // Outside of a tunnel, transport mode is between the tunnel's ends, of their family.
    let mut family = family_of(source.address);
    let templates = rules.iter().map(|rule| {
        family = rule.tunnel_ends().map_or(family, |(near, _)| family_of(near));
        // Its states in transport mode have the selectors of their own family, which such packets do not match.
        if policy.direction == Direction::Out
            && rule.mode == Mode::Transport
            && family != family_of(source.address)
        {
            return Err(Refusal::Unsupported(format!(
                "Linux finds no SA for {}/transport outside of a tunnel from IPv4 to IPv6 or back, and would send nothing",
                rule.proto.setkey_name()
            )));
        }
        template(rule, family)
    });
    let templates: Vec<Template> = templates.collect::<Result<_, _>>()?;
    let attributes = if templates.is_empty() { Vec::new() } else { vec![Attribute::Templates(templates)] };
    Ok((info, attributes))
}

fn template(rule: &Rule, family: u16) -> Result<Template, Refusal> {
    let ends = rule.endpoints.filter(|_| rule.mode == Mode::Tunnel);
    if rule.mode == Mode::Tunnel && ends.is_none_or(|(near, far)| near.is_ipv4() != far.is_ipv4()) {
        let name = rule.proto.setkey_name();
        return Err(Refusal::Invalid(format!(
            "{name}/tunnel needs two addresses of one family: {name}/tunnel/A-B/require"
        )));
    }
    let (source, destination) = ends.map_or_else(Default::default, |(near, far)| (near.into(), far.into()));
    Ok(Template {
        id: xfrm::Id { destination, spi: 0, proto: protocol_number(rule.proto) },
        family,
        source,
        reqid: match rule.level {
            Level::Unique(reqid) => reqid.0,
            _ => 0,
        },
        mode: if rule.mode == Mode::Tunnel { mode::TUNNEL } else { mode::TRANSPORT },
        share: 0,
        optional: u8::from(rule.level == Level::Use),
        auth_algorithms: ALL_ALGORITHMS,
        encryption_algorithms: ALL_ALGORITHMS,
        compression_algorithms: ALL_ALGORITHMS,
    })
}

/// What a policy of the kernel wants done; `None` when there are no words for it here.
pub(crate) fn rules_of(templates: &[Template]) -> Option<Vec<Rule>> {
    let rule = |found: &Template| {
        let mode = mode_of(found.mode)?;
        let ends = (found.source.ip(found.family)?, found.id.destination.ip(found.family)?);
        Some(Rule {
            proto: protocol(found.id.proto)?,
            mode,
            endpoints: (mode == Mode::Tunnel).then_some(ends),
            level: match (found.optional, found.reqid) {
                (0, 0) => Level::Require,
                (0, reqid) => Level::Unique(ReqId(reqid)),
                _ => Level::Use,
            },
        })
    };
    templates.iter().map(rule).collect()
}

/// A policy that the kernel tells of; `None` when there are no words for it here, such as for those of single sockets.
pub(crate) fn policy_of(info: &PolicyInfo, attributes: &[Attribute<'_>]) -> Option<Policy> {
    let templates = attributes.iter().find_map(|attribute| match attribute {
        Attribute::Templates(list) => Some(list.as_slice()),
        _ => None,
    });
    if attributes.iter().any(|attribute| matches!(attribute, Attribute::Mark(..))) {
        return None;
    }
    Some(Policy {
        id: PolicyId(info.index),
        selector: selector_of(&info.selector)?,
        direction: direction_of(info.direction)?,
        priority: Priority(info.priority),
        action: match (info.action, templates) {
            (action::BLOCK, _) => Action::Discard,
            (_, None | Some([])) => Action::None,
            (_, Some(list)) => Action::Ipsec(rules_of(list)?),
        },
        usage: Usage { added: info.used.added, used: info.used.used, ..Usage::default() },
    })
}
