//! Requests as the commands that make them: what `setkey --commands` prints.

use std::fmt::Write;

use coati_sadb::{
    Action, AuthAlgorithm, EncAlgorithm, Level, Mode, Policy, Port, Prefix, Priority, ReqId, Request, Rule,
    Sa, SaId, SaProto, Secret, Selector, Upper,
};

use super::names::{GRE, has_types, upper_name};
use super::policy::PRIORITIES;

/// The command that is this request, with its semicolon. A reqid that was allotted is not written: it is allotted again.
pub fn command(request: &Request) -> String {
    match request {
        Request::GetSpi { source, destination, proto, mode, reqid, spi } => {
            let id = SaId { source: *source, destination: *destination, proto: *proto, spi: *spi };
            let mut text = format!("getspi {}", sa_id(&id));
            mode_and_reqid(&mut text, *mode, *reqid);
            text + ";"
        }
        Request::Add(sa) => format!("add {};", sa_words(sa)),
        Request::Update(sa) => format!("update {};", sa_words(sa)),
        Request::Delete(id) => format!("delete {};", sa_id(id)),
        Request::DeleteAll { source, destination, proto } => {
            format!("deleteall {source} {destination} {};", proto.setkey_name())
        }
        Request::Get(id) => format!("get {};", sa_id(id)),
        Request::Flush(proto) => format!("flush{};", optional_proto(*proto)),
        Request::Dump(proto) => format!("dump{};", optional_proto(*proto)),
        Request::SpdAdd(policy) => format!("spdadd {};", policy_words(policy)),
        Request::SpdUpdate(policy) => format!("spdupdate {};", policy_words(policy)),
        Request::SpdDelete(selector, direction) => {
            format!("spddelete {} -P {};", selector_words(selector), direction.setkey_name())
        }
        Request::SpdFlush => "spdflush;".to_owned(),
        Request::SpdDump => "spddump;".to_owned(),
    }
}

fn optional_proto(proto: Option<SaProto>) -> String {
    proto.map_or(String::new(), |proto| format!(" {}", proto.setkey_name()))
}

fn sa_id(id: &SaId) -> String {
    format!("{} {} {} {:#x}", id.source, id.destination, id.proto.setkey_name(), id.spi.0)
}

fn mode_and_reqid(text: &mut String, mode: Mode, reqid: ReqId) {
    if mode != Mode::Any {
        let _ = write!(text, " -m {}", mode.setkey_name());
    }
    if reqid != ReqId(0) {
        let _ = write!(text, " -u {}", reqid.0);
    }
}

fn sa_words(sa: &Sa) -> String {
    let mut text = match sa.nat_t {
        Some(nat_t) => {
            let original = nat_t.original.map_or(String::new(), |address| format!(" {address}"));
            format!(
                "{}[{}] {}[{}] esp-udp{original} {:#x}",
                sa.id.source, nat_t.source_port, sa.id.destination, nat_t.destination_port, sa.id.spi.0
            )
        }
        None => sa_id(&sa.id),
    };
    mode_and_reqid(&mut text, sa.mode, sa.reqid);
    let limits = [
        ("-r", u64::from(sa.replay_window / 8)),
        ("-lh", sa.hard.add_seconds),
        ("-ls", sa.soft.add_seconds),
        ("-bh", sa.hard.bytes),
        ("-bs", sa.soft.bytes),
    ];
    for (option, value) in limits {
        if value != 0 {
            let _ = write!(text, " {option} {value}");
        }
    }
    if sa.esn {
        text.push_str(" -f esn");
    }
    if let Some(offload) = &sa.offload {
        let _ = write!(text, " -hwif {}", offload.interface);
    }
    match sa.id.proto {
        SaProto::Ipcomp => text.push_str(" -C deflate"),
        SaProto::Esp => {
            let _ = write!(text, " -E {}", sa.enc.setkey_name());
            if sa.enc != EncAlgorithm::Null {
                push_key(&mut text, &sa.enc_key);
            }
        }
        SaProto::Ah => {}
    }
    if sa.auth != AuthAlgorithm::None {
        let _ = write!(text, " -A {}", sa.auth.setkey_name());
        push_key(&mut text, &sa.auth_key);
    }
    text
}

fn push_key(text: &mut String, key: &Secret) {
    text.push_str(" 0x");
    for byte in key.expose() {
        let _ = write!(text, "{byte:02x}");
    }
}

fn policy_words(policy: &Policy) -> String {
    let mut text = format!(
        "{} -P {} {}",
        selector_words(&policy.selector),
        policy.direction.setkey_name(),
        if policy.priority == Priority::default() { String::new() } else { priority_words(policy.priority) }
    );
    match &policy.action {
        Action::Discard => text.push_str("discard"),
        Action::None => text.push_str("none"),
        Action::Ipsec(rules) => {
            text.push_str("ipsec");
            for rule in rules {
                let level = match rule.level {
                    Level::Unique(reqid) if reqid.0 > ReqId::MANUAL_MAX => Level::Unique(ReqId(0)),
                    level => level,
                };
                let _ = write!(text, " {}", rule_text(&Rule { level, ..rule.clone() }, false));
            }
        }
    }
    text
}

fn selector_words(selector: &Selector) -> String {
    let spec = upper_spec(selector).map_or(String::new(), |spec| format!(" {spec}"));
    let range = |prefix: &Prefix, port: Port| {
        let mut text = prefix.address.to_string();
        if !prefix.is_host() {
            let _ = write!(text, "/{}", prefix.length);
        }
        if let (Port::Is(number), true) = (port, spec.is_empty()) {
            let _ = write!(text, "[{number}]");
        }
        text
    };
    let source = range(&selector.source, selector.source_port);
    let destination = range(&selector.destination, selector.destination_port);
    let upper = match selector.upper {
        Upper::Any => "any".to_owned(),
        other => upper_name(other),
    };
    format!("{source} {destination} {upper}{spec}")
}

/// Type and code of a selector, or its key of GRE, as they stand behind the protocol.
pub fn upper_spec(selector: &Selector) -> Option<String> {
    let (Port::Is(first), Port::Is(second)) = (selector.source_port, selector.destination_port) else {
        return None;
    };
    match selector.upper {
        Upper::Proto(GRE) => Some((u32::from(first) << 16 | u32::from(second)).to_string()),
        Upper::Proto(number) if has_types(number) => Some(format!("{first},{second}")),
        _ => None,
    }
}

/// `prio def + 100 ` with the blank behind it.
pub fn priority_words(priority: Priority) -> String {
    let value = i64::from(priority.0);
    let distance = |(_, base): &&(&str, i64)| (value - base).abs();
    let Some((name, base)) = PRIORITIES.iter().min_by_key(distance) else { return String::new() };
    match base - value {
        0 => format!("prio {name} "),
        offset if offset > 0 => format!("prio {name} + {offset} "),
        offset => format!("prio {name} - {} ", -offset),
    }
}

/// `esp/transport//unique:1`, as dumps show it; behind each address of a tunnel its port, which nobody uses, when `ports`.
pub fn rule_text(rule: &Rule, ports: bool) -> String {
    let port = if ports { "[0]" } else { "" };
    let ends = rule
        .endpoints
        .map_or(String::new(), |(source, destination)| format!("{source}{port}-{destination}{port}"));
    let level = match rule.level {
        Level::Default => "default".to_owned(),
        Level::Use => "use".to_owned(),
        Level::Require => "require".to_owned(),
        Level::Unique(ReqId(0)) => "unique".to_owned(),
        Level::Unique(ReqId(id)) => format!("unique{}{id}", if id <= ReqId::MANUAL_MAX { ':' } else { '#' }),
    };
    format!("{}/{}/{ends}/{level}", rule.proto.setkey_name(), rule.mode.setkey_name())
}
