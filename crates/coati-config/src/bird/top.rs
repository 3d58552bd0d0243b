//! The file as a whole, and the protocols beside OSPF: where routes come from, and where they go.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::lexer::Kind;
use super::model::{BfdTimes, BirdConf, Channel, Direct, Kernel, Pattern, Policy, Static, StaticRoute};
use super::ospf;
use super::reader::{Piece, Reader};
use crate::diagnostic::{Diagnostic, Span};

/// Protocols without a name so far, by kind: BIRD calls them `static1`, `static2`.
type Nameless<'a> = BTreeMap<&'a str, usize>;

/// Reads everything.
pub(super) fn file<'a>(reader: &mut Reader<'a>) -> BirdConf<'a> {
    let mut conf = BirdConf::default();
    let mut nameless = Nameless::new();
    while reader.peek().is_some() {
        let start = reader.at;
        if let Err(error) = statement(reader, &mut conf, &mut nameless) {
            reader.remarks.list.push(error);
            reader.skip();
        }
        // A sign that closes nothing.
        reader.at = reader.at.max(start + 1);
    }
    conf
}

const TOP: [&str; 8] =
    ["router id", "protocol", "filter", "define", "log", "debug protocols", "template", "function"];

fn statement<'a>(
    reader: &mut Reader<'a>,
    conf: &mut BirdConf<'a>,
    nameless: &mut Nameless<'a>,
) -> Result<(), Diagnostic> {
    let span = reader.span();
    match reader.peek() {
        Some(Kind::Sign(';')) => reader.at += 1,
        Some(Kind::Word("router")) if reader.accept_words("router id") => {
            if reader.accept_words("from") {
                conf.router_id_from = Some(span);
                reader.skip();
            } else {
                conf.router_id = Some(reader.id("a router id: a dotted quad")?);
                reader.end()?;
            }
        }
        Some(Kind::Word("filter")) => {
            reader.at += 1;
            let Some(Kind::Word(name)) = reader.peek() else {
                return Err(reader.wanted("the name of a filter"));
            };
            reader.at += 1;
            let piece = braces(reader)?;
            conf.filters.insert(name, piece);
        }
        Some(Kind::Word("protocol")) => {
            protocol(reader, conf, nameless)?;
        }
        Some(Kind::Word("template")) => reader.leave_out("this template"),
        // A call of one is said where it is.
        Some(Kind::Word("function")) => reader.pass_over("functions are not carried over"),
        Some(Kind::Word("log" | "debug" | "timeformat" | "watchdog" | "mrtdump" | "cli" | "hostname")) => {
            reader.pass_over("this makes no difference to routes: Coati has its own log");
        }
        Some(Kind::Word(
            "ipv4" | "ipv6" | "table" | "roa4" | "roa6" | "vpn4" | "vpn6" | "attribute" | "eval",
        )) => {
            reader.pass_over("Coati has one table of routes, the kernel's");
        }
        Some(Kind::Word("graceful")) => reader.pass_over("Coati does not wait for routes at its own start"),
        Some(Kind::Sign('}')) => {
            reader.at += 1;
            return Err(reader.remarks.error(span, "this brace closes nothing"));
        }
        Some(Kind::Word(_)) => reader.unknown("bird.conf", &TOP),
        _ => return Err(reader.wanted("a statement")),
    }
    Ok(())
}

/// `{ … }`, to be read later.
fn braces(reader: &mut Reader<'_>) -> Result<Piece, Diagnostic> {
    let open = reader.span();
    reader.expect('{')?;
    let start = reader.at;
    let mut depth = 1;
    while depth > 0 {
        match reader.peek() {
            Some(Kind::Sign('{')) => depth += 1,
            Some(Kind::Sign('}')) => depth -= 1,
            Some(_) => {}
            None => return Err(reader.remarks.error(open, "this brace is never closed").help("add `}`")),
        }
        reader.at += 1;
    }
    Ok(Piece { start, end: reader.at - 1 })
}

fn protocol<'a>(
    reader: &mut Reader<'a>,
    conf: &mut BirdConf<'a>,
    nameless: &mut Nameless<'a>,
) -> Result<(), Diagnostic> {
    let start = reader.at;
    reader.at += 1;
    let Some(Kind::Word(kind)) = reader.peek() else { return Err(reader.wanted("the kind of the protocol")) };
    reader.at += 1;
    let version = match (kind, reader.peek()) {
        ("ospf", Some(Kind::Word(version @ ("v2" | "v3")))) => {
            reader.at += 1;
            version
        }
        _ => "v2",
    };
    let name = match reader.peek() {
        Some(Kind::Word(name)) if name != "from" => {
            reader.at += 1;
            name.to_owned()
        }
        _ => {
            let number = nameless.entry(kind).or_default();
            *number += 1;
            format!("{kind}{number}")
        }
    };
    let span = reader.since(start);
    if reader.accept_words("from") {
        let message = format!("`{name}` is left out: templates are not read");
        reader.warn(span, message, "write what the template says into the protocol");
        reader.skip();
        return Ok(());
    }
    if is_disabled(reader) {
        reader.skip();
        reader.note(span, format!("`{name}` is disabled: it is left out"));
        return Ok(());
    }
    match kind {
        "ospf" if version == "v3" => {
            reader.skip();
            reader.warn(
                span,
                format!("`{name}` is left out: Coati speaks OSPFv2 alone"),
                "keep BIRD for OSPFv3",
            );
        }
        "ospf" if conf.ospf.is_some() => {
            reader.skip();
            let message = format!("`{name}` is left out: Coati runs one OSPF, and the file has one before");
            reader.warn(span, message, "put it on a router of its own, or its areas into the first one");
        }
        "ospf" => conf.ospf = Some(ospf::protocol(reader, span)?),
        "static" => {
            conf.statics.extend(static_routes(reader, name, span)?);
        }
        "direct" => {
            let mut direct = Direct { name, patterns: Vec::new() };
            reader.block(|reader| {
                match reader.peek() {
                    Some(Kind::Word("interface")) => {
                        reader.at += 1;
                        let patterns = patterns(reader)?;
                        direct.patterns.extend(patterns);
                        reader.end()?;
                    }
                    Some(Kind::Word("check")) => reader.pass_over("Coati looks at the link anyway"),
                    _ => of_any(reader, "direct", &["interface", "check link"])?,
                }
                Ok(())
            })?;
            conf.directs.push(direct);
        }
        "kernel" => {
            if let Some(kernel) = kernel(reader, name, span)? {
                conf.kernels.push(kernel);
            }
        }
        "device" => {
            let scans = "Coati hears of interfaces at once";
            reader.block(|reader| {
                reader.pass_over(scans);
                Ok(())
            })?;
        }
        "bfd" => {
            let sessions = bfd(reader)?;
            conf.bfd.get_or_insert_default().extend(sessions);
        }
        _ => {
            reader.skip();
            let message = format!("`protocol {kind}` (`{name}`) is left out: Coati does not speak it");
            reader.warn(span, message, "keep BIRD for it, or take it away");
        }
    }
    reader.accept(';');
    Ok(())
}

/// Whether the block that begins here says `disabled` itself.
fn is_disabled(reader: &Reader<'_>) -> bool {
    let mut depth = 0usize;
    let mut disabled = false;
    for index in 0.. {
        match reader.ahead(index) {
            Some(Kind::Sign('{')) => depth += 1,
            Some(Kind::Sign('}')) if depth <= 1 => break,
            Some(Kind::Sign('}')) => depth -= 1,
            Some(Kind::Word("disabled")) if depth == 1 => {
                disabled =
                    !matches!(reader.ahead(index + 1), Some(Kind::Word("no" | "off") | Kind::Number(0)));
            }
            Some(_) => {}
            None => break,
        }
    }
    disabled
}

/// A statement that every protocol may have.
pub(super) fn of_any(reader: &mut Reader<'_>, block: &str, known: &[&str]) -> Result<(), Diagnostic> {
    match reader.peek() {
        Some(Kind::Word("ipv4")) => {
            let channel = channel(reader)?;
            if channel.table != Channel::MAIN || channel.preference.is_some() {
                let help = "Coati has nothing like it";
                reader.warn(channel.span, "the table and the preference of this channel are left out", help);
            }
        }
        Some(Kind::Word("ipv6" | "vpn4" | "vpn6")) => reader.leave_out("what is not IPv4"),
        Some(Kind::Word("disabled" | "debug" | "mrtdump" | "description")) => reader.skip(),
        Some(Kind::Word("vrf")) if reader.ahead(1) == Some(Kind::Word("default")) => reader.skip(),
        Some(Kind::Word("vrf")) => reader.leave_out("the VRF"),
        _ => reader.unknown(block, known),
    }
    Ok(())
}

/// `ipv4;` or `ipv4 { … }`.
pub(super) fn channel<'a>(reader: &mut Reader<'a>) -> Result<Channel<'a>, Diagnostic> {
    let start = reader.at;
    reader.at += 1;
    let mut channel = Channel::new(reader.since(start));
    if reader.peek() != Some(Kind::Sign('{')) {
        reader.end()?;
        return Ok(channel);
    }
    reader.block(|reader| {
        match (reader.peek(), reader.ahead(1)) {
            (
                Some(Kind::Word("import" | "export" | "receive")),
                Some(Kind::Word("limit" | "keep" | "table" | "block")),
            ) => reader.leave_out("this of a channel"),
            (Some(Kind::Word("preference")), _) => {
                reader.at += 1;
                channel.preference = Some(reader.number(0, 65_535)?);
                reader.end()?;
            }
            (Some(Kind::Word("table")), Some(Kind::Word(name))) => {
                reader.at += 2;
                channel.table = name;
                reader.end()?;
            }
            (Some(Kind::Word("debug")), _) => reader.skip(),
            (Some(Kind::Word("import")), _) => channel.import = policy(reader)?,
            (Some(Kind::Word("export")), _) => channel.export = policy(reader)?,
            _ => reader.unknown("ipv4", &["import", "export", "table", "preference"]),
        }
        Ok(())
    })?;
    reader.end()?;
    Ok(channel)
}

/// `import …`, `export …`.
fn policy(reader: &mut Reader<'_>) -> Result<Policy, Diagnostic> {
    let start = reader.at;
    reader.at += 1;
    let policy = match reader.peek() {
        Some(Kind::Word("all")) => Policy::All,
        Some(Kind::Word("none")) => Policy::None,
        Some(Kind::Word("where")) => {
            reader.at += 1;
            let first = reader.at;
            reader.skip();
            let behind = reader.tokens.get(reader.at.saturating_sub(1)).map(|token| token.kind);
            let piece = Piece { start: first, end: reader.at - usize::from(behind == Some(Kind::Sign(';'))) };
            return Ok(Policy::Where(piece, reader.since(start)));
        }
        Some(Kind::Word("filter")) => {
            reader.at += 1;
            let policy = match reader.peek() {
                Some(Kind::Word(_)) => {
                    reader.at += 1;
                    Policy::Filter(Piece { start: reader.at - 1, end: reader.at }, reader.since(start))
                }
                _ => {
                    let piece = braces(reader)?;
                    Policy::Filter(piece, reader.since(start))
                }
            };
            reader.end()?;
            return Ok(policy);
        }
        _ => return Err(reader.wanted("`all`, `none`, `where` or `filter`")),
    };
    reader.at += 1;
    reader.end()?;
    Ok(policy)
}

/// `"gre*", -"eth0", "em1" 10.0.0.0/8`.
pub(super) fn patterns<'a>(reader: &mut Reader<'a>) -> Result<Vec<Pattern<'a>>, Diagnostic> {
    let mut list = Vec::new();
    loop {
        let mut positive = !reader.accept('-');
        let span = reader.span();
        let name = match reader.peek() {
            Some(Kind::Text(name)) => {
                reader.at += 1;
                // `"-eth0"` is the same as `-"eth0"`.
                positive ^= name.starts_with('-');
                Some((name.strip_prefix('-').unwrap_or(name), span))
            }
            _ => None,
        };
        let prefix = match reader.peek() {
            Some(Kind::Address(_)) => Some(reader.prefix(true)?),
            Some(Kind::Other(_)) if name.is_none() => {
                reader.at += 1;
                if reader.accept('/') {
                    reader.at += 1;
                }
                reader.warn(span, "a pattern of IPv6 addresses is left out", "OSPFv2 runs over IPv4 alone");
                if !reader.accept(',') {
                    return Ok(list);
                }
                continue;
            }
            _ if name.is_none() => {
                return Err(reader.wanted("the name of an interface in quotes, or its network"));
            }
            _ => None,
        };
        list.push(Pattern { positive, name, prefix });
        if !reader.accept(',') {
            return Ok(list);
        }
    }
}

fn static_routes<'a>(
    reader: &mut Reader<'a>,
    name: String,
    span: Span,
) -> Result<Option<Static<'a>>, Diagnostic> {
    let mut routes = Vec::new();
    let mut found = None;
    let mut others = false;
    reader.block(|reader| match reader.peek() {
        Some(Kind::Word("route")) => route(reader, &mut routes),
        Some(Kind::Word("check")) => {
            reader.pass_over("static routes are advertised whatever their interface does");
            Ok(())
        }
        Some(Kind::Word("igp")) => {
            reader.leave_out("another table");
            Ok(())
        }
        Some(Kind::Word("ipv4")) => {
            found = Some(channel(reader)?);
            Ok(())
        }
        next => {
            others |= matches!(next, Some(Kind::Word("ipv6" | "vpn4" | "vpn6")));
            of_any(reader, "static", &["route", "ipv4", "check link"])
        }
    })?;
    if found.is_none() && !(others && routes.is_empty()) {
        let error = reader.remarks.error(span, format!("`{name}` has no channel: BIRD refuses it"));
        reader.remarks.list.push(error.help("write `ipv4;` into it"));
    }
    Ok(found.map(|channel| Static { name, span, channel, routes }))
}

fn route(reader: &mut Reader<'_>, routes: &mut Vec<StaticRoute>) -> Result<(), Diagnostic> {
    let start = reader.at;
    reader.at += 1;
    if let Some(Kind::Other(_)) = reader.peek() {
        reader.skip();
        let span = reader.since(start);
        reader.note(span, "a route for IPv6 is left out: OSPFv2 carries none");
        return Ok(());
    }
    let prefix = reader.prefix(false)?;
    let mut hops = Vec::new();
    match reader.peek() {
        Some(Kind::Word(kind @ ("blackhole" | "unreachable" | "prohibit"))) => {
            reader.at += 1;
            hops.push("blackhole".to_owned());
            if kind != "blackhole" {
                let message = format!("`{kind}` becomes `blackhole`, which drops packets in silence");
                let help = "with BIRD the kernel answers them with ICMP; ospfd.conf has no such route";
                reader.warn(reader.since(start), message, help);
            }
        }
        Some(Kind::Word("recursive")) if matches!(reader.ahead(1), Some(Kind::Address(_))) => {
            reader.at += 1;
            hops.extend(next_hop(reader));
            let message = "Coati looks the gateway up among the networks of interfaces, the routes of the file and \
                           OSPF's, and never takes the default route for it";
            reader.warn(reader.since(start), message, "where it needs that one, name the next hop itself");
        }
        _ => {
            while reader.accept_words("via") {
                let Some(hop) = next_hop(reader) else { break };
                if !hops.contains(&hop) {
                    hops.push(hop);
                }
                hop_options(reader)?;
            }
        }
    }
    if hops.is_empty() {
        reader.at = start;
        reader.leave_out("a route of this kind");
        return Ok(());
    }
    let span = reader.since(start);
    let mut preference = None;
    match reader.peek() {
        Some(Kind::Sign(';')) => reader.end()?,
        Some(Kind::Sign('{')) => {
            reader.block(|reader| {
                let rest = reader.at;
                match [reader.peek(), reader.ahead(1), reader.ahead(2), reader.ahead(3)] {
                    [
                        Some(Kind::Word("preference")),
                        Some(Kind::Sign('=')),
                        Some(Kind::Number(number)),
                        Some(Kind::Sign(';')),
                    ] => {
                        reader.at += 4;
                        preference = Some(number);
                    }
                    _ => {
                        reader.skip();
                        let span = reader.since(rest);
                        let help = "metrics can be set in a route-map";
                        reader.warn(span, "what is set in a route is left out", help);
                    }
                }
                Ok(())
            })?;
            reader.end()?;
        }
        _ => reader.leave_out("this of a route"),
    }
    routes.push(StaticRoute { prefix, hops, preference, span });
    Ok(())
}

/// What follows `via`, as `ip route` has it: a gateway, with its interface or without, or an interface.
fn next_hop(reader: &mut Reader<'_>) -> Option<String> {
    match (reader.peek(), reader.ahead(1), reader.ahead(2)) {
        (Some(Kind::Address(gateway)), Some(Kind::Sign('%')), Some(Kind::Word(name) | Kind::Text(name)))
        | (Some(Kind::Address(gateway)), Some(Kind::Word("dev")), Some(Kind::Text(name)))
            if is_name(name) =>
        {
            reader.at += 3;
            Some(format!("{gateway} {name}"))
        }
        (Some(Kind::Address(gateway)), ..) => {
            reader.at += 1;
            Some(gateway.to_string())
        }
        (Some(Kind::Text(name)), ..) if is_name(name) => {
            reader.at += 1;
            Some(name.to_owned())
        }
        _ => None,
    }
}

/// What may stand behind a next hop.
fn hop_options(reader: &mut Reader<'_>) -> Result<(), Diagnostic> {
    loop {
        let start = reader.at;
        let (message, help) = match (reader.peek(), reader.ahead(1)) {
            (Some(Kind::Word("weight")), Some(Kind::Number(_))) => {
                reader.at += 2;
                ("this weight is left out", "Coati sends as much to each next hop")
            }
            (Some(Kind::Word(word @ ("bfd" | "onlink"))), next) => {
                reader.at += 1;
                if matches!(next, Some(Kind::Word("yes" | "no" | "on" | "off" | "true" | "false")))
                    && !reader.switch()?
                {
                    continue;
                }
                if word == "bfd" {
                    ("`bfd` is left out", "Coati does not ask whether the next hop answers")
                } else {
                    let message =
                        "`onlink` is left out: a gateway outside of all networks of interfaces is not used";
                    (message, "give the interface an address in the gateway's network")
                }
            }
            _ => return Ok(()),
        };
        reader.warn(reader.since(start), message, help);
    }
}

/// Whether an interface can have this name.
pub(super) fn is_name(text: &str) -> bool {
    let bad =
        |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '*' | '?' | '!' | '#' | ',' | '=');
    !text.is_empty()
        && text.len() <= 15
        && !text.contains(bad)
        && text != "default"
        && text.parse::<Ipv4Addr>().is_err()
}

fn kernel<'a>(reader: &mut Reader<'a>, name: String, span: Span) -> Result<Option<Kernel<'a>>, Diagnostic> {
    let mut learn = false;
    let mut found = None;
    reader.block(|reader| {
        match reader.peek() {
            Some(Kind::Word("learn")) => {
                reader.at += 1;
                learn = reader.accept_words("all") || reader.switch()?;
                reader.end()?;
            }
            Some(Kind::Word("ipv4")) => {
                let channel = channel(reader)?;
                if channel.preference.is_some() {
                    let help = "Coati has nothing like it";
                    reader.warn(channel.span, "the preference of the kernel's routes is left out", help);
                }
                found = Some(channel);
            }
            Some(Kind::Word("persist" | "scan" | "graceful")) => {
                reader.pass_over("Coati takes its routes back at its end and hears of changes at once");
            }
            Some(Kind::Word("kernel")) => {
                let start = reader.at;
                reader.skip();
                let span = reader.since(start);
                reader.warn(
                    span,
                    "this table of the kernel is left out",
                    "Coati's routes are in the main one",
                );
            }
            Some(Kind::Word("metric" | "merge" | "netlink")) => reader.leave_out("this of the kernel"),
            _ => of_any(
                reader,
                "kernel",
                &["ipv4", "learn", "persist", "scan time", "metric", "kernel table"],
            )?,
        }
        Ok(())
    })?;
    if found.is_none() {
        reader.note(span, "without `ipv4` this has nothing to do with OSPFv2");
    }
    Ok(found.map(|channel| Kernel { name, learn, channel }))
}

type Sessions<'a> = Vec<(Vec<Pattern<'a>>, BfdTimes)>;

fn bfd<'a>(reader: &mut Reader<'a>) -> Result<Sessions<'a>, Diagnostic> {
    let mut sessions = Vec::new();
    reader.block(|reader| {
        match reader.peek() {
            Some(Kind::Word("interface")) => {
                reader.at += 1;
                let patterns = patterns(reader)?;
                let mut times = BfdTimes::default();
                if reader.peek() == Some(Kind::Sign('{')) {
                    bfd_times(reader, &mut times)?;
                }
                reader.end()?;
                sessions.push((patterns, times));
            }
            Some(Kind::Word("neighbor")) => reader.leave_out("a session that no OSPF neighbour asks for"),
            Some(Kind::Word("multihop" | "accept" | "strict")) => {
                reader.pass_over("OSPF needs sessions over one hop")
            }
            _ => of_any(reader, "bfd", &["interface", "neighbor", "multihop"])?,
        }
        Ok(())
    })?;
    Ok(sessions)
}

/// `{ interval 100 ms; multiplier 5; }`.
pub(super) fn bfd_times(reader: &mut Reader<'_>, times: &mut BfdTimes) -> Result<(), Diagnostic> {
    reader.block(|reader| {
        if reader.accept_words("min rx interval") {
            times.receive = milliseconds(reader)?;
        } else if reader.accept_words("min tx interval") {
            times.transmit = milliseconds(reader)?;
        } else if reader.accept_words("interval") {
            times.receive = milliseconds(reader)?;
            times.transmit = times.receive;
        } else if reader.accept_words("multiplier") {
            times.multiplier = reader.number(1, 255)?;
            if times.multiplier < 2 {
                let help = "Coati's multipliers begin with 2";
                reader.warn(reader.since(reader.at - 1), "one lost packet ends no session", help);
                times.multiplier = 2;
            }
        } else {
            match (reader.peek(), reader.ahead(1)) {
                (Some(Kind::Word("idle")), _) => {
                    reader.pass_over("a session that is down sends once in a second")
                }
                (Some(Kind::Word("authentication")), Some(Kind::Word("none"))) => reader.skip(),
                (Some(Kind::Word("passive" | "authentication" | "password" | "passwords")), _) => {
                    reader.leave_out("this of BFD");
                }
                _ => reader.unknown("bfd", &["interval", "min rx interval", "min tx interval", "multiplier"]),
            }
            return Ok(());
        }
        reader.end()
    })
}

fn milliseconds(reader: &mut Reader<'_>) -> Result<u32, Diagnostic> {
    let span = reader.span();
    let number: u32 = reader.number(0, u32::MAX)?;
    let scale = match reader.peek() {
        Some(Kind::Word("s")) => 1_000_000,
        Some(Kind::Word("ms")) => 1000,
        Some(Kind::Word("us")) => 1,
        _ => return Err(reader.wanted("`s`, `ms` or `us`")),
    };
    reader.at += 1;
    let micros = u64::from(number) * scale;
    let millis = u32::try_from((micros / 1000).clamp(10, 4_294_967)).unwrap_or(10);
    if u64::from(millis) * 1000 != micros {
        let message = format!("this becomes {millis} ms");
        reader.warn(span, message, "BFD's times go from 10 ms to 4294967 ms here");
    }
    Ok(millis)
}
