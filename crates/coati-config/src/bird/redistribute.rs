//! What BIRD exports to OSPF, as `redistribute` with prefix lists and route maps.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::IpAddr;

use coati_sadb::Prefix;

use super::filter::{self, Metrics, Networks, Passed, Range, Route, Unsaid};
use super::lexer::Kind;
use super::model::{BirdConf, Channel, Kernel, Ospf, Policy, Static, StaticRoute};
use super::reader::Reader;
use super::write::{Hosts, fits};
use crate::diagnostic::Span;

/// BIRD's preference of static routes, and of OSPF's.
const STATIC_PREFERENCE: u32 = 200;
const OSPF_PREFERENCE: u32 = 150;
/// Coati's distance of OSPF's routes.
const OSPF_DISTANCE: u8 = 110;
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
    let fixed = usable(reader, conf, Some(ospf));
    let mut default = None;
    for (source, entries) in [
        ("static", statics(reader, conf, ospf, &fixed, &mut lines)),
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
                let has_default =
                    source == "kernel" || fixed.iter().any(|fixed| fixed.route.prefix.length == 0);
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
    let own = |kernel: &&Kernel<'_>| kernel.channel.table == ospf.channel.table;
    for kernel in conf.kernels.iter().filter(own) {
        let channel = kernel.channel;
        check(channel.export, channel.span, "BIRD does not put all of OSPF's routes into the kernel here");
    }
    if !conf.kernels.iter().any(|kernel| own(&kernel)) {
        let message = "BIRD keeps OSPF's routes to itself here: there is no `protocol kernel` with `ipv4` and their table";
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
    fn of(reader: &Reader<'_>, conf: &BirdConf<'_>, protocol: &Static<'_>) -> Self {
        let route = Route { source: "RTS_STATIC", protocol: &protocol.name, interface: None };
        let own = conf.kernels.iter().filter(|kernel| kernel.channel.table == protocol.channel.table);
        Self(own.map(|kernel| passed(reader, conf, kernel.channel.export, &route)).collect())
    }

    /// What cannot be said is taken for all.
    fn has(&self, prefix: &Prefix) -> bool {
        let takes = |found: &Passed| found.sets.iter().any(|(networks, _)| networks.contains(prefix));
        self.0.iter().any(|found| found.as_ref().map_or(true, takes))
    }
}

/// A static route that gets into a table of OSPF or of the kernel.
struct Fixed<'c> {
    protocol: &'c Static<'c>,
    route: &'c StaticRoute,
    preference: u32,
    /// Those that no better route to the destination has.
    hops: Vec<&'c str>,
    distance: u8,
}

/// The static routes that BIRD has where OSPF or the kernel find them, with distances that choose as it does.
fn usable<'c>(reader: &mut Reader<'_>, conf: &'c BirdConf<'c>, ospf: Option<&Ospf<'_>>) -> Vec<Fixed<'c>> {
    let of_ospf = ospf.map(|ospf| ospf.channel.table);
    let mut tables: Vec<&str> =
        of_ospf.into_iter().chain(conf.kernels.iter().map(|kernel| kernel.channel.table)).collect();
    if tables.is_empty() {
        tables.push(Channel::MAIN);
    }
    let mut list = Vec::new();
    for protocol in conf.statics.iter().filter(|protocol| !protocol.routes.is_empty()) {
        let (name, channel) = (&protocol.name, protocol.channel);
        if !tables.contains(&channel.table) {
            let message = format!(
                "the routes of `{name}` are left out: neither OSPF nor the kernel has the table `{}`",
                channel.table
            );
            reader.warn(
                channel.span,
                message,
                "move them into a protocol without `table` when they are needed",
            );
            continue;
        }
        let imported = imported(reader, conf, protocol);
        let takes = |prefix: &Prefix| {
            imported.as_ref().is_none_or(|sets| sets.iter().any(|(networks, _)| networks.contains(prefix)))
        };
        let (taken, left): (Vec<_>, Vec<_>) = protocol.routes.iter().partition(|route| takes(&route.prefix));
        if !left.is_empty() {
            let message = format!("routes of `{name}` that this does not take are left out");
            reader.note(span_of(channel.import, channel.span), message);
        }
        list.extend(taken.into_iter().map(|route| {
            let preference = route.preference.or(channel.preference).unwrap_or(STATIC_PREFERENCE);
            Fixed { protocol, route, preference, hops: Vec::new(), distance: 1 }
        }));
    }
    let ospfs = ospf.map_or(0, |ospf| ospf.channel.preference.unwrap_or(OSPF_PREFERENCE));
    list.sort_by_key(|fixed| {
        let is_other = Some(fixed.protocol.channel.table) != of_ospf;
        (destination(fixed), is_other, Reverse(fixed.preference))
    });
    for same in list.chunk_by_mut(|one, next| one.route.prefix == next.route.prefix) {
        distances(reader, same, ospfs);
    }
    list.sort_by_key(|fixed| fixed.route.span.start);
    list
}

/// What a protocol's import takes; nothing when it cannot be said, which is taken for all.
fn imported(
    reader: &mut Reader<'_>,
    conf: &BirdConf<'_>,
    protocol: &Static<'_>,
) -> Option<Vec<(Networks, Metrics)>> {
    let policy = protocol.channel.import;
    let route = Route { source: "RTS_STATIC", protocol: &protocol.name, interface: None };
    let span = span_of(policy, protocol.channel.span);
    let help = "take away the routes that it leaves out";
    match passed(reader, conf, policy, &route) {
        Ok(found) if !found.by_interface => {
            let sets = found.sets.iter().any(|(_, metrics)| *metrics != Metrics::default());
            for span in found.others.iter().copied().chain(sets.then_some(span)) {
                let help = "metrics can be set in a route-map, a preference in the channel";
                reader.warn(span, "what an import filter sets is left out", help);
            }
            return Some(found.sets);
        }
        Ok(_) => reader.warn(span, "the interface is not asked for: all routes are taken", help),
        Err((span, why)) => reader.warn(span, format!("{why}: all routes are taken"), help),
    }
    None
}

/// Distances of the routes to one destination, the best one first, so that they and OSPF's follow one another as in BIRD.
fn distances(reader: &mut Reader<'_>, same: &mut [Fixed<'_>], ospfs: u32) {
    let (mut before_ospf, mut behind_ospf) = (0, OSPF_DISTANCE);
    let mut known = BTreeSet::new();
    let mut last: Option<(&str, u32)> = None;
    for fixed in same {
        let (counter, most) = if fixed.preference >= ospfs {
            (&mut before_ospf, OSPF_DISTANCE - 1)
        } else {
            (&mut behind_ospf, u8::MAX - 1)
        };
        *counter = most.min(*counter + 1);
        fixed.distance = *counter;
        fixed.hops = fixed.route.hops.iter().map(String::as_str).filter(|hop| known.insert(*hop)).collect();
        let (span, table) = (fixed.route.span, fixed.protocol.channel.table);
        match last {
            Some((other, _)) if other != table => {
                let message = "the same destination is in another table too: Coati has one, where this route is used \
                               when the other one is not";
                reader.warn(span, message, "give it one place");
            }
            Some((_, preference)) if preference == fixed.preference => {
                let message = "a route to this destination with the same preference is before it: of these BIRD uses the \
                               one that it has first, Coati that one, and this one when it cannot be used";
                reader.note(span, message);
            }
            _ => {}
        }
        if fixed.preference == ospfs {
            reader.note(span, "this is preferred as much as OSPF's routes are: Coati prefers it to them");
        }
        last = Some((table, fixed.preference));
    }
}

fn destination(fixed: &Fixed<'_>) -> (IpAddr, u8) {
    (fixed.route.prefix.address, fixed.route.prefix.length)
}

fn write_routes(top: &mut String, routes: &[&Fixed<'_>]) {
    for fixed in routes {
        let distance = if fixed.distance > 1 { format!(" {}", fixed.distance) } else { String::new() };
        for hop in &fixed.hops {
            let _ = writeln!(top, "ip route {} {hop}{distance}", fixed.route.prefix);
        }
    }
}

fn by_protocol<'f, 'c>(list: &'f [Fixed<'c>]) -> impl Iterator<Item = (&'c Static<'c>, &'f [Fixed<'c>])> {
    list.chunk_by(|one, next| std::ptr::eq(one.protocol, next.protocol))
        .filter_map(|own| Some((own.first()?.protocol, own)))
}

/// The static routes of a file without OSPF.
pub(super) fn routes_alone(reader: &mut Reader<'_>, conf: &BirdConf<'_>) -> String {
    let mut text = String::new();
    let list = usable(reader, conf, None);
    for (protocol, own) in by_protocol(&list) {
        let in_kernel = InKernel::of(reader, conf, protocol);
        if !own.iter().all(|fixed| in_kernel.has(&fixed.route.prefix)) {
            let message = format!(
                "routes of `{}` go to the kernel: `ip route` puts them there, and no `protocol kernel` here does",
                protocol.name
            );
            reader.note(protocol.span, message);
        }
        write_routes(&mut text, &own.iter().collect::<Vec<_>>());
    }
    text
}

fn statics<'a>(
    reader: &mut Reader<'_>,
    conf: &BirdConf<'_>,
    ospf: &Ospf<'_>,
    list: &[Fixed<'_>],
    lines: &mut Lines,
) -> Entries<'a> {
    let export = ospf.channel.export;
    let mut exported = Vec::new();
    let mut advertised: BTreeSet<(IpAddr, u8)> = BTreeSet::new();
    let mut quiet = Vec::new();
    for (protocol, own) in by_protocol(list) {
        let route = Route { source: "RTS_STATIC", protocol: &protocol.name, interface: None };
        let in_kernel = InKernel::of(reader, conf, protocol);
        let found = match protocol.channel.table == ospf.channel.table {
            true => passed(reader, conf, export, &route),
            false => Ok(Passed::default()),
        };
        let takes = |prefix| match &found {
            Ok(found) => found.sets.iter().any(|(networks, _)| networks.contains(prefix)),
            // Somebody will write the route map.
            Err(_) => true,
        };
        let (taken, left): (Vec<_>, Vec<_>) = own.iter().partition(|fixed| takes(&fixed.route.prefix));
        let (kept, nowhere): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|fixed| in_kernel.has(&fixed.route.prefix));
        // What `ip route` says goes to the kernel and, when it is redistributed, to OSPF.
        write_routes(&mut lines.top, &taken);
        write_routes(&mut lines.top, &kept);
        advertised.extend(taken.iter().map(|fixed| destination(fixed)));
        quiet.extend(kept);
        if !taken.iter().all(|fixed| in_kernel.has(&fixed.route.prefix)) {
            let message = format!(
                "routes of `{}` go to the kernel too: `ip route` puts them there, and no `protocol kernel` here does",
                protocol.name
            );
            reader.note(protocol.span, message);
        }
        if let Some(first) = nowhere.first() {
            let others = if nowhere.len() > 1 { " and others" } else { "" };
            let message = format!(
                "routes of `{}` are left out, {}{others}: neither OSPF nor a `protocol kernel` here takes them",
                protocol.name, first.route.prefix
            );
            reader.note(protocol.span, message);
        }
        exported.push((own, found));
    }
    for fixed in quiet.into_iter().filter(|fixed| advertised.contains(&destination(fixed))) {
        let message = "OSPF does not take this route, but another one to this destination: Coati advertises the \
                       destination by either";
        reader.warn(fixed.route.span, message, "let the filter ask for the network, not for the protocol");
    }
    let mut entries = Vec::new();
    let several = exported.len() > 1;
    for (own, found) in exported {
        let mut found = found?;
        remark_others(reader, &found);
        let span = span_of(export, ospf.channel.span);
        if found.by_interface {
            return Err((
                span,
                "the interface of a static route cannot be asked for in ospfd.conf".to_owned(),
            ));
        }
        if several {
            let own = Networks::only(own.iter().map(|fixed| &fixed.route.prefix));
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
        if kernel.channel.table != ospf.channel.table {
            let message = "the routes that are learnt here are left out: OSPF has another table";
            reader.note(kernel.channel.span, message);
            continue;
        }
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
