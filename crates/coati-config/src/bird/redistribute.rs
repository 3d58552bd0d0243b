//! What BIRD exports to OSPF, as `redistribute` with prefix lists and route maps.

use std::fmt::Write;

use coati_sadb::Prefix;

use super::filter::{self, Metrics, Networks, Passed, Range, Route, Unsaid};
use super::lexer::Kind;
use super::model::{BirdConf, Ospf, Policy, Static};
use super::reader::Reader;
use super::write::{Hosts, fits};
use crate::diagnostic::Span;

/// Metric of what no filter gives one: of type 2.
const USUAL_METRIC: u32 = 10_000;
/// Entries of a route map.
const MOST_ENTRIES: usize = 1000;
/// Kinds of routes that OSPF itself brings.
const OWN: [&str; 4] = ["RTS_OSPF", "RTS_OSPF_IA", "RTS_OSPF_EXT1", "RTS_OSPF_EXT2"];

/// The lines about it.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Lists, maps and static routes.
    pub(super) top: String,
    /// Those of `router ospf`.
    pub(super) router: String,
}

struct Entry<'a> {
    networks: Networks,
    metrics: Metrics,
    interface: Option<&'a str>,
}

pub(super) fn lines(reader: &mut Reader<'_>, conf: &BirdConf<'_>, ospf: &Ospf<'_>, hosts: &Hosts) -> Lines {
    let mut lines = Lines::default();
    routes_of_ospf(reader, conf, ospf);
    let mut default = None;
    for (source, entries) in [
        ("static", statics(reader, conf, ospf, &mut lines)),
        ("connected", connected(reader, conf, ospf, hosts)),
        ("kernel", learnt(reader, conf, ospf)),
    ] {
        match entries {
            Ok(entries) => {
                write(&mut lines, source, &entries);
                let is_default = |entry: &&Entry<'_>| {
                    let everything = "0.0.0.0/0".parse();
                    everything.is_ok_and(|prefix| entry.networks.contains(&prefix)) && source != "connected"
                };
                let found = entries.iter().find(is_default).map(|entry| entry.metrics);
                let has_default = source == "kernel"
                    || conf
                        .statics
                        .iter()
                        .flat_map(|from| &from.routes)
                        .any(|(prefix, _)| prefix.length == 0);
                default = default.or(found.filter(|_| has_default));
            }
            Err((span, why)) => {
                let help = "write a route-map, and take the comment sign from `redistribute`";
                let again =
                    reader.remarks.list.iter().any(|remark| remark.span == span && remark.message == why);
                if !again {
                    reader.warn(span, why, help);
                }
                let _ =
                    writeln!(lines.router, " ! redistribute {source} metric {USUAL_METRIC} metric-type 2");
            }
        }
    }
    if let Some(metrics) = default {
        let (metric, kind) = metric(&metrics);
        let _ = write!(lines.router, " default-information originate metric {metric} metric-type {kind}");
        if metrics.tag > 0 {
            let _ = write!(lines.top, "route-map bird-default permit 1\n set tag {}\nexit\n", metrics.tag);
            lines.router.push_str(" route-map bird-default");
        }
        lines.router.push('\n');
    }
    lines
}

/// What a policy lets pass.
fn passed(
    reader: &Reader<'_>,
    conf: &BirdConf<'_>,
    policy: Policy,
    route: &Route<'_>,
) -> Result<Passed, Unsaid> {
    match policy {
        Policy::None => Ok(Passed::default()),
        Policy::All => {
            let sets = vec![(Networks::all(true), Metrics::default())];
            Ok(Passed { sets, ..Passed::default() })
        }
        Policy::Where(piece, _) => filter::condition(&reader.tokens, piece, route),
        Policy::Filter(piece, span) => match reader.tokens.get(piece.start..piece.end) {
            Some([token]) => match token.kind {
                Kind::Word(name) if conf.filters.contains_key(name) => {
                    let body = conf.filters.get(name).copied().unwrap_or(piece);
                    filter::statements(&reader.tokens, body, route)
                }
                other => Err((span, format!("there is no filter {} in this file", other.describe()))),
            },
            _ => filter::statements(&reader.tokens, piece, route),
        },
    }
}

fn span_of(policy: Policy, channel: Span) -> Span {
    match policy {
        Policy::Where(_, span) | Policy::Filter(_, span) => span,
        Policy::All | Policy::None => channel,
    }
}

/// Where BIRD keeps some of OSPF's own routes out of its table or the kernel's.
fn routes_of_ospf(reader: &mut Reader<'_>, conf: &BirdConf<'_>, ospf: &Ospf<'_>) {
    let help = "Coati puts all of them into the kernel, whatever they are";
    let mut check = |policy: Policy, channel: Span, what: &str| {
        let mut others: Vec<Span> = Vec::new();
        let mut all = true;
        for source in OWN {
            let route = Route { source, protocol: "", interface: None };
            match passed(reader, conf, policy, &route) {
                Ok(found) => {
                    // Several sets are taken for some.
                    let sets = &found.sets;
                    all &= matches!(&sets[..], [(networks, _)] if networks.is_all());
                    others.extend(
                        found.others.iter().filter(|span| !others.contains(span)).collect::<Vec<_>>(),
                    );
                }
                Err(_) => all = false,
            }
        }
        let span = span_of(policy, channel);
        if !all {
            reader.warn(span, what, help);
        }
        for span in others {
            reader.warn(span, "this attribute is left out", "Coati's routes have none such");
        }
    };
    check(ospf.channel.import, ospf.channel.span, "BIRD does not take all of OSPF's routes here");
    for kernel in &conf.kernels {
        let channel = kernel.channel;
        check(channel.export, channel.span, "BIRD does not put all of OSPF's routes into the kernel here");
    }
    if conf.kernels.is_empty() {
        let message = "BIRD keeps OSPF's routes to itself here: there is no `protocol kernel` with `ipv4`";
        reader.warn(ospf.span, message, help);
    }
}

fn remark_others(reader: &mut Reader<'_>, passed: &Passed) {
    for span in &passed.others {
        reader.warn(*span, "this attribute is left out", "OSPF carries none such");
    }
}

type Entries<'a> = Result<Vec<Entry<'a>>, Unsaid>;

/// Those of one protocol behind the others'.
fn add<'a>(
    entries: &mut Vec<Entry<'a>>,
    passed: Passed,
    interface: Option<&'a str>,
    span: Span,
) -> Result<(), Unsaid> {
    let some = passed.sets.into_iter().filter(|(networks, _)| !networks.is_empty());
    entries.extend(some.map(|(networks, metrics)| Entry { networks, metrics, interface }));
    if entries.len() > MOST_ENTRIES {
        return Err((span, "there are too many cases for a route map".to_owned()));
    }
    Ok(())
}

/// Which static routes of a protocol go to the kernel.
struct InKernel(Vec<Result<Passed, Unsaid>>);

impl InKernel {
    fn of(reader: &Reader<'_>, conf: &BirdConf<'_>, protocol: &Static) -> Self {
        let route = Route { source: "RTS_STATIC", protocol: &protocol.name, interface: None };
        Self(conf.kernels.iter().map(|it| passed(reader, conf, it.channel.export, &route)).collect())
    }

    /// What cannot be said is taken for all.
    fn has(&self, prefix: &Prefix) -> bool {
        let takes = |found: &Passed| found.sets.iter().any(|(networks, _)| networks.contains(prefix));
        self.0.iter().any(|found| found.as_ref().map_or(true, takes))
    }
}

fn write_routes<'a>(top: &mut String, routes: impl Iterator<Item = &'a (Prefix, Vec<String>)>) {
    for (prefix, hops) in routes {
        for hop in hops {
            let _ = writeln!(top, "ip route {prefix} {hop}");
        }
    }
}

/// The static routes of a file without OSPF.
pub(super) fn routes_alone(reader: &mut Reader<'_>, conf: &BirdConf<'_>) -> String {
    let mut text = String::new();
    for protocol in &conf.statics {
        let in_kernel = InKernel::of(reader, conf, protocol);
        if !protocol.routes.iter().all(|(prefix, _)| in_kernel.has(prefix)) {
            let message = format!(
                "routes of `{}` go to the kernel: `ip route` puts them there, and no `protocol kernel` here does",
                protocol.name
            );
            reader.note(protocol.span, message);
        }
        write_routes(&mut text, protocol.routes.iter());
    }
    text
}

fn statics<'a>(
    reader: &mut Reader<'_>,
    conf: &BirdConf<'_>,
    ospf: &Ospf<'_>,
    lines: &mut Lines,
) -> Entries<'a> {
    let mut entries = Vec::new();
    let export = ospf.channel.export;
    for protocol in conf.statics.iter().filter(|protocol| !protocol.routes.is_empty()) {
        let route = Route { source: "RTS_STATIC", protocol: &protocol.name, interface: None };
        let in_kernel = InKernel::of(reader, conf, protocol);
        let found = passed(reader, conf, export, &route);
        let takes = |prefix| match &found {
            Ok(found) => found.sets.iter().any(|(networks, _)| networks.contains(prefix)),
            // Somebody will write the route map.
            Err(_) => true,
        };
        let (taken, left): (Vec<_>, Vec<_>) = protocol.routes.iter().partition(|(prefix, _)| takes(prefix));
        write_routes(&mut lines.top, taken.iter().copied());
        // What `ip route` says goes to the kernel and, when it is redistributed, to OSPF.
        write_routes(&mut lines.top, left.iter().copied().filter(|(prefix, _)| in_kernel.has(prefix)));
        if !taken.iter().all(|(prefix, _)| in_kernel.has(prefix)) {
            let message = format!(
                "routes of `{}` go to the kernel too: `ip route` puts them there, and no `protocol kernel` here does",
                protocol.name
            );
            reader.note(protocol.span, message);
        }
        let mut found = found?;
        remark_others(reader, &found);
        let span = span_of(export, ospf.channel.span);
        if found.by_interface {
            return Err((
                span,
                "the interface of a static route cannot be asked for in ospfd.conf".to_owned(),
            ));
        }
        if conf.statics.len() > 1 {
            let own = Networks::only(protocol.routes.iter().map(|(prefix, _)| prefix));
            for (networks, _) in &mut found.sets {
                let both = networks.and(&own);
                *networks =
                    both.ok_or_else(|| (span, "there are too many static routes for a filter".to_owned()))?;
            }
        }
        add(&mut entries, found, None, span)?;
    }
    Ok(entries)
}

fn connected<'a>(
    reader: &mut Reader<'_>,
    conf: &BirdConf<'_>,
    ospf: &Ospf<'_>,
    hosts: &'a Hosts,
) -> Entries<'a> {
    let mut entries = Vec::new();
    let export = ospf.channel.export;
    let span = span_of(export, ospf.channel.span);
    for direct in &conf.directs {
        let route = Route { source: "RTS_DEVICE", protocol: &direct.name, interface: None };
        let found = passed(reader, conf, export, &route)?;
        if direct.patterns.is_empty() && !found.by_interface {
            remark_others(reader, &found);
            add(&mut entries, found, None, span)?;
            continue;
        }
        for host in hosts.without_ospf() {
            if !direct.patterns.is_empty() && !fits(&direct.patterns, host) {
                continue;
            }
            let route = Route { interface: Some(&host.name), ..route };
            add(&mut entries, passed(reader, conf, export, &route)?, Some(&host.name), span)?;
        }
    }
    Ok(entries)
}

fn learnt<'a>(reader: &mut Reader<'_>, conf: &BirdConf<'_>, ospf: &Ospf<'_>) -> Entries<'a> {
    let mut entries = Vec::new();
    let export = ospf.channel.export;
    let span = span_of(export, ospf.channel.span);
    for kernel in conf.kernels.iter().filter(|kernel| kernel.learn) {
        if kernel.channel.import != Policy::All {
            let policy = kernel.channel.import;
            let help = "Coati redistributes all that the export filter takes";
            reader.warn(span_of(policy, kernel.channel.span), "which routes are learnt is left out", help);
        }
        let route = Route { source: "RTS_INHERIT", protocol: &kernel.name, interface: None };
        let found = passed(reader, conf, export, &route)?;
        if found.by_interface {
            return Err((
                span,
                "the interface of a kernel route cannot be asked for in ospfd.conf".to_owned(),
            ));
        }
        remark_others(reader, &found);
        add(&mut entries, found, None, span)?;
    }
    Ok(entries)
}

fn metric(metrics: &Metrics) -> (u32, u8) {
    match metrics.metric1 {
        Some(metric) => (metric, 1),
        None => (metrics.metric2.unwrap_or(USUAL_METRIC), 2),
    }
}

fn write(lines: &mut Lines, source: &str, entries: &[Entry<'_>]) {
    let Some(first) = entries.first() else { return };
    let is_simple =
        |entry: &Entry<'_>| entry.networks.is_all() && entry.interface.is_none() && entry.metrics.tag == 0;
    if entries.len() == 1 && is_simple(first) {
        let (metric, kind) = metric(&first.metrics);
        let _ = writeln!(lines.router, " redistribute {source} metric {metric} metric-type {kind}");
        return;
    }
    let map = format!("bird-{source}");
    for (entry, number) in entries.iter().zip(1..) {
        if !entry.networks.is_all() {
            list(&mut lines.top, &format!("{map}-{number}"), &entry.networks);
        }
    }
    for (entry, number) in entries.iter().zip(1..) {
        let _ = writeln!(lines.top, "route-map {map} permit {number}");
        if !entry.networks.is_all() {
            let _ = writeln!(lines.top, " match ip address prefix-list {map}-{number}");
        }
        if let Some(interface) = entry.interface {
            let _ = writeln!(lines.top, " match interface {interface}");
        }
        let (metric, kind) = metric(&entry.metrics);
        let _ = writeln!(lines.top, " set metric {metric}\n set metric-type type-{kind}");
        if entry.metrics.tag > 0 {
            let _ = writeln!(lines.top, " set tag {}", entry.metrics.tag);
        }
        lines.top.push_str("exit\n");
    }
    let _ =
        writeln!(lines.router, " redistribute {source} metric {USUAL_METRIC} metric-type 2 route-map {map}");
}

fn list(top: &mut String, name: &str, networks: &Networks) {
    let rules = networks.rules.iter().map(|(range, is_in)| (*range, *is_in));
    let others = Range { address: 0, length: 0, lengths: (0, 32) };
    let rules = rules.chain(networks.others.then_some((others, true)));
    for ((range, is_in), number) in rules.zip(1..) {
        let action = if is_in { "permit" } else { "deny" };
        let _ = write!(top, "ip prefix-list {name} seq {number} {action} {}", range.prefix());
        let (shortest, longest) = range.lengths;
        if shortest > range.length {
            let _ = write!(top, " ge {shortest}");
        }
        if (shortest, longest) != (range.length, range.length) {
            let _ = write!(top, " le {longest}");
        }
        top.push('\n');
    }
}
