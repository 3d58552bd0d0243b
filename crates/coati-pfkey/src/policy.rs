//! Policies as kernels want and show them.

use coati_sadb::{
    Action, Direction, Level, Mode, Policy, PolicyId, Port, Prefix, Priority, Refusal, ReqId, Rule, SaProto,
    Selector, Upper, Usage,
};
use coati_wire::pfkey::{self, Address, IpsecRequest, Layout, Message, PolicyNumbers};

use crate::sa::MODES;
use crate::{OWN_MARK, number, value};

/// IP protocols.
const PROTOCOLS: [(SaProto, u8); 3] = [(SaProto::Esp, 50), (SaProto::Ah, 51), (SaProto::Ipcomp, 108)];
const DIRECTIONS: [(Direction, u8); 3] = [(Direction::In, 1), (Direction::Out, 2), (Direction::Fwd, 3)];
/// `IPSEC_ULPROTO_ANY`.
const ANY_PROTOCOL: u8 = 255;
/// `IPSEC_POLICY_*`.
const DISCARD: u16 = 0;
const NONE: u16 = 1;
const IPSEC: u16 = 2;
/// `IPSEC_LEVEL_*`.
const LEVEL_UNIQUE: u8 = 3;
/// `IPSEC_POLICYSCOPE_IFNET` and `_PCB`: policies of single interfaces and sockets.
const PRIVATE_SCOPES: u8 = 2 | 4;

/// Protocols of a policy at the most (`XFRM_MAX_DEPTH`, `IPSEC_MAXREQ`).
fn max_rules(layout: Layout) -> usize {
    if layout == Layout::Linux { 6 } else { 4 }
}

/// A message about policies for these packets.
pub(crate) fn about(kind: u8, selector: &Selector, direction: Direction) -> Message<'static> {
    let protocol = match selector.upper {
        Upper::Any => ANY_PROTOCOL,
        Upper::Proto(number) => number,
    };
    let end = |prefix: Prefix, port: Port| Address {
        address: prefix.address,
        prefix_len: prefix.length,
        protocol,
        port: match port {
            Port::Any => 0,
            Port::Is(number) => number,
        },
    };
    let direction = number(&DIRECTIONS, &direction);
    Message {
        kind,
        source: Some(end(selector.source, selector.source_port)),
        destination: Some(end(selector.destination, selector.destination_port)),
        policy: Some(PolicyNumbers { kind: IPSEC, direction, ..PolicyNumbers::default() }),
        ..Message::default()
    }
}

/// A message about the policy of this number.
pub(crate) fn numbered(kind: u8, id: PolicyId) -> Message<'static> {
    let policy = PolicyNumbers { kind: IPSEC, id: id.0, ..PolicyNumbers::default() };
    Message { kind, policy: Some(policy), ..Message::default() }
}

/// The message that makes a policy. `unique` has its number already.
pub(crate) fn message(layout: Layout, kind: u8, policy: &Policy) -> Result<Message<'static>, Refusal> {
    let Selector { source, destination, .. } = &policy.selector;
    if source.address.is_ipv4() != destination.address.is_ipv4() {
        return Err(Refusal::Invalid("source and destination are of different families".into()));
    }
    if policy.direction == Direction::Fwd && layout != Layout::Linux {
        let text = "only Linux has fwd: here `in` holds for packets that are forwarded too";
        return Err(Refusal::Unsupported(text.into()));
    }
    let (action, rules) = match &policy.action {
        Action::Discard => (DISCARD, &[][..]),
        Action::None => (NONE, &[][..]),
        Action::Ipsec(rules) => (IPSEC, rules.as_slice()),
    };
    if rules.len() > max_rules(layout) {
        let max = max_rules(layout);
        return Err(Refusal::Unsupported(format!("the kernel has {max} protocols in a policy at the most")));
    }
    let mut message = about(kind, &policy.selector, policy.direction);
    let requests = rules.iter().map(|rule| request(layout, policy, rule)).collect::<Result<_, _>>()?;
    let numbers = message.policy.get_or_insert_default();
    numbers.kind = action;
    numbers.priority = if layout == Layout::NetBsd { 0 } else { policy.priority.0 };
    numbers.requests = requests;
    let own = pfkey::Lifetime { use_time: OWN_MARK, ..pfkey::Lifetime::default() };
    (message.hard, message.soft) = (Some(own), Some(pfkey::Lifetime::default()));
    Ok(message)
}

fn request(layout: Layout, policy: &Policy, rule: &Rule) -> Result<IpsecRequest, Refusal> {
    let name = rule.proto.setkey_name();
    let ends = rule.endpoints.filter(|_| rule.mode == Mode::Tunnel);
    if rule.mode == Mode::Tunnel && ends.is_none_or(|(near, far)| near.is_ipv4() != far.is_ipv4()) {
        return Err(Refusal::Invalid(format!(
            "{name}/tunnel needs two addresses of one family: {name}/tunnel/A-B/require"
        )));
    }
    let (level, reqid) = match rule.level {
        Level::Default => (0, 0),
        Level::Use => (1, 0),
        Level::Require => (2, 0),
        // The kernel would say that all is well, and take another.
        Level::Unique(reqid) if reqid.0 > ReqId::MANUAL_MAX => {
            let text = format!("unique:{} is beyond {}, the last one to choose", reqid.0, ReqId::MANUAL_MAX);
            return Err(Refusal::Invalid(text));
        }
        Level::Unique(reqid) => (LEVEL_UNIQUE, reqid.0),
    };
    if layout == Layout::Linux
        && rule.level == Level::Use
        && rule.mode == Mode::Tunnel
        && policy.direction == Direction::Out
    {
        let text = format!("Linux has no {name}/tunnel/…/use for packets that go out: they need `require`");
        return Err(Refusal::Unsupported(text));
    }
    Ok(IpsecRequest {
        proto: number(&PROTOCOLS, &rule.proto).into(),
        // There are no policies for whatever mode an SA has.
        mode: if rule.mode == Mode::Tunnel { 2 } else { 1 },
        level,
        reqid,
        ends,
    })
}

/// Whether it was made here.
pub(crate) fn is_own(message: &Message<'_>) -> bool {
    message.hard.is_some_and(|hard| hard.use_time == OWN_MARK)
}

/// Whether it is one of those that count for every packet.
pub(crate) fn is_global(message: &Message<'_>) -> bool {
    message.policy.as_ref().is_some_and(|policy| {
        value(&DIRECTIONS, policy.direction).is_some() && policy.scope & PRIVATE_SCOPES == 0
    })
}

fn rule_of(found: &IpsecRequest) -> Option<Rule> {
    Some(Rule {
        proto: value(&PROTOCOLS, u8::try_from(found.proto).ok()?)?,
        mode: value(&MODES, found.mode)?,
        endpoints: found.ends.filter(|_| found.mode == 2),
        level: match (found.level, found.reqid) {
            (0, _) => Level::Default,
            (1, _) => Level::Use,
            (2, 0) => Level::Require,
            (2 | LEVEL_UNIQUE, reqid) => Level::Unique(ReqId(reqid)),
            _ => return None,
        },
    })
}

/// A policy that the kernel tells of; `None` when there are no words for it here, such as for those of single sockets.
pub(crate) fn policy_of(message: &Message<'_>) -> Option<Policy> {
    let numbers = message.policy.as_ref().filter(|_| is_global(message))?;
    let (source, destination) = (message.source?, message.destination?);
    let upper = match source.protocol {
        0 | ANY_PROTOCOL => Upper::Any,
        protocol => Upper::Proto(protocol),
    };
    // Where there is a type or a key, both of its halves count.
    let has_halves = matches!(upper, Upper::Proto(_)) && upper.has_numbers_of_its_own();
    let port = |own: u16, other: u16| match own {
        0 if other == 0 || !has_halves => Port::Any,
        number => Port::Is(number),
    };
    let current = message.current.unwrap_or_default();
    Some(Policy {
        id: PolicyId(numbers.id),
        selector: Selector {
            source: Prefix::new(source.address, source.prefix_len).ok()?,
            source_port: port(source.port, destination.port),
            destination: Prefix::new(destination.address, destination.prefix_len).ok()?,
            destination_port: port(destination.port, source.port),
            upper,
        },
        direction: value(&DIRECTIONS, numbers.direction)?,
        priority: Priority(numbers.priority),
        action: match numbers.kind {
            DISCARD => Action::Discard,
            NONE => Action::None,
            IPSEC => Action::Ipsec(numbers.requests.iter().map(rule_of).collect::<Option<_>>()?),
            _ => return None,
        },
        usage: Usage { added: current.add_time, used: current.use_time, ..Usage::default() },
    })
}
