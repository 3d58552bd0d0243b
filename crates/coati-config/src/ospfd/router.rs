//! `router ospf`.

use std::net::{IpAddr, Ipv4Addr};

use coati_sadb::Prefix;

use super::interface::{AuthenticationKind, digest_key, password};
use super::{Deviation, Line, Named, Network, OspfConf, OspfInterface, routes};
use crate::diagnostic::Diagnostic;

/// `area A …`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OspfArea {
    /// `stub`, `nssa`.
    pub kind: AreaType,
    /// `no-summary` behind either.
    pub no_summary: bool,
    /// `default-cost`.
    pub default_cost: Option<u32>,
    /// `authentication`.
    pub authentication: Option<AuthenticationKind>,
    /// `range …`.
    pub ranges: Vec<OspfRange>,
    /// `nssa range …`.
    pub nssa_ranges: Vec<OspfRange>,
    /// `filter-list prefix N in`: of other areas' networks.
    pub filter_in: Option<String>,
    /// `filter-list prefix N out`: of its own.
    pub filter_out: Option<String>,
    /// `import-list`, an access list in place of `filter-list … in`.
    pub import_list: Option<String>,
    /// `export-list`, an access list in place of `filter-list … out`.
    pub export_list: Option<String>,
    /// `virtual-link R`: router id, with timers and keys as of an interface.
    pub virtual_links: Vec<(Ipv4Addr, OspfInterface)>,
}

/// Kinds of areas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AreaType {
    /// Neither of the others.
    #[default]
    Normal,
    /// `stub`.
    Stub,
    /// `nssa`.
    Nssa {
        /// `translate-…`.
        translator: Translator,
        /// `suppress-fa`.
        suppress_fa: bool,
        /// `default-information-originate`: metric, and whether it is of type 2.
        default_route: Option<(u32, bool)>,
    },
}

/// `translate-candidate`, `translate-never`, `translate-always`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Translator {
    /// When elected.
    #[default]
    Candidate,
    /// Never.
    Never,
    /// Always.
    Always,
}

/// `area A range P …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OspfRange {
    /// The range.
    pub prefix: Prefix,
    /// Not `not-advertise`.
    pub advertise: bool,
    /// `cost N`.
    pub cost: Option<u32>,
    /// `substitute P`.
    pub substitute: Option<Prefix>,
}

/// `summary-address P [tag N] [no-advertise]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SummaryAddress {
    /// The range.
    pub prefix: Prefix,
    /// `tag`.
    pub tag: u32,
    /// Not `no-advertise`.
    pub advertise: bool,
}

/// Where redistributed routes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteSource {
    /// Networks of interfaces without OSPF.
    Connected,
    /// `ip route` lines.
    Static,
    /// Routes that others put into the kernel.
    Kernel,
}

/// `redistribute SOURCE [metric N] [metric-type 1|2] [route-map NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redistribute {
    /// What.
    pub source: RouteSource,
    /// `metric`.
    pub metric: Option<u32>,
    /// `metric-type 2`.
    pub type2: bool,
    /// `route-map`.
    pub route_map: Option<String>,
}

/// `default-information originate [always] …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultInformation {
    /// Also without a default route of our own.
    pub always: bool,
    /// `metric`.
    pub metric: Option<u32>,
    /// `metric-type 2`.
    pub type2: bool,
    /// `route-map`.
    pub route_map: Option<String>,
}

/// `ospf abr-type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbrType {
    /// `cisco`.
    Cisco,
    /// `ibm`.
    Ibm,
    /// `standard`.
    Standard,
}

/// `max-metric router-lsa`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MaxMetric {
    /// `administrative`.
    pub administrative: bool,
    /// `on-startup N`, in seconds.
    pub on_startup: Option<u32>,
}

/// `neighbor A`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OspfNeighbour {
    /// Its address.
    pub address: Ipv4Addr,
    /// `priority`.
    pub priority: u8,
    /// `poll-interval`, in seconds.
    pub poll_interval: u16,
}

/// Of virtual links, in seconds; that of interfaces is four times the hello interval.
const USUAL_DEAD_INTERVAL: u32 = 40;

/// How long helpers wait, in seconds, where nothing is said: FRR's.
const GRACE_PERIOD: u32 = 120;

const WORDS: [&str; 25] = [
    "area",
    "auto-cost",
    "compatible",
    "default-information",
    "default-metric",
    "deviation",
    "distance",
    "distribute-list",
    "graceful-restart",
    "log-adjacency-changes",
    "max-metric",
    "maximum-paths",
    "neighbor",
    "network",
    "no",
    "ospf abr-type",
    "ospf rfc1583compatibility",
    "ospf router-id",
    "passive-interface",
    "redistribute",
    "router-id",
    "shutdown",
    "spf-delay-ietf",
    "summary-address",
    "timers",
];

pub(super) fn line(conf: &mut OspfConf, line: &mut Line<'_, '_>, texts: &[&str]) -> Result<(), Diagnostic> {
    match texts {
        ["ospf", "router-id", ..] => conf.router_id = Some(line.parse(2, "a router id: a dotted quad")?),
        ["router-id", ..] => conf.router_id = Some(line.parse(1, "a router id: a dotted quad")?),
        ["network", ..] => {
            let prefix: Prefix = line.parse(1, "a network such as 10.0.0.0/24")?;
            if texts.get(2) != Some(&"area") {
                return Err(line.error(2, "expected `area` behind the network"));
            }
            let (prefix, area) = (prefix.network(), line.area(3)?);
            if let Some(first) =
                conf.networks.iter().find(|other| other.prefix == prefix && other.area != area)
            {
                let text = format!("{prefix} is already in area {} ({})", first.area, first.place);
                return Err(line
                    .error(1, text)
                    .help("a network is in one area: take one of the two lines away"));
            }
            let place = line.remarks.source.place(line.span(0));
            conf.networks.push(Network { prefix, area, place });
        }
        ["passive-interface", "default"] => conf.passive_default = true,
        ["passive-interface", name] => conf.passive.push((*name).to_owned()),
        ["no", "passive-interface", name] => {
            conf.passive.retain(|other| other != name);
            conf.active.push((*name).to_owned());
        }
        ["area", _, rest @ ..] => {
            let id = line.area(1)?;
            let mut area = conf.areas.remove(&id).unwrap_or_default();
            let result = area_line(&mut area, id, line, rest);
            conf.areas.insert(id, area);
            return result;
        }
        ["redistribute", ..] => return redistribute(conf, line, texts),
        ["default-information", "originate", ..] => return default_information(conf, line, texts),
        ["default-metric", ..] => conf.default_metric = Some(line.number(1, 0, 0x00ff_ffff)?),
        ["auto-cost", "reference-bandwidth", ..] => {
            conf.reference_bandwidth = Some(line.number(2, 1, 4_294_967)?);
        }
        ["ospf", "abr-type", ..] => {
            conf.abr_type = Some(match texts.get(2) {
                Some(&"cisco") => AbrType::Cisco,
                Some(&"ibm") => AbrType::Ibm,
                Some(&"standard") => AbrType::Standard,
                _ => return Err(line.unknown(2, "kind of border router", &["cisco", "ibm", "standard"])),
            });
        }
        ["ospf", "rfc1583compatibility"] | ["compatible", "rfc1583"] => conf.rfc1583 = true,
        ["maximum-paths", ..] => conf.maximum_paths = Some(line.number(1, 1, 256)?),
        ["max-metric", "router-lsa", rest @ ..] => match rest {
            [] | ["administrative"] => conf.max_metric.administrative = true,
            ["on-startup", ..] => conf.max_metric.on_startup = Some(line.number(3, 5, 86_400)?),
            // An orderly end flushes our LSAs at once, which sends nobody through us any more.
            ["on-shutdown", ..] => {}
            _ => return Err(line.unknown(2, "word", &["administrative", "on-startup", "on-shutdown"])),
        },
        ["timers", "throttle", "spf", ..] => {
            let (delay, hold, longest) =
                (line.number(3, 0, 600_000)?, line.number(4, 0, 600_000)?, line.number(5, 0, 600_000)?);
            conf.spf_timers = Some((delay, hold, longest));
            if longest < hold || longest < delay {
                let text =
                    format!("the longest wait, {longest} ms, is shorter than the delay or the first one");
                line.remarks.warn(
                    line.span(5),
                    text,
                    "delay, first wait and longest wait, as in `0 50 5000`",
                );
            }
        }
        ["spf-delay-ietf", ..] => {
            let words = ["init-delay", "short-delay", "long-delay", "holddown", "time-to-learn"];
            let mut times = [0; 5];
            for ((place, word), time) in (1..).step_by(2).zip(words).zip(&mut times) {
                if texts.get(place) != Some(&word) {
                    return Err(line.unknown(place, "word", &[word]));
                }
                *time = line.number(place + 1, 0, 60_000)?;
            }
            conf.spf_delay_ietf = Some(times);
        }
        ["timers", "throttle", "lsa", "all", ..] => conf.lsa_interval = Some(line.number(4, 0, 5000)?),
        ["timers", "lsa", "min-arrival", ..] => conf.lsa_arrival = Some(line.number(3, 0, 5000)?),
        ["timers", ..] => {
            return Err(line.unknown(1, "timer", &["throttle spf", "throttle lsa all", "lsa min-arrival"]));
        }
        ["neighbor", ..] => return neighbour(conf, line, texts),
        ["log-adjacency-changes" | "write-multiplier" | "socket" | "refresh", ..] => {}
        ["capability", "opaque"] | ["ospf", "opaque-lsa"] => {}
        ["distance", ..] => return routes::distance(&mut conf.distances, line, texts),
        ["graceful-restart", "helper", "enable"] => conf.no_graceful_restart_helper = false,
        ["no", "graceful-restart", "helper", "enable"] => conf.no_graceful_restart_helper = true,
        ["graceful-restart", "helper", ..] => line.read_over(1, "further settings of helping"),
        ["graceful-restart"] => conf.graceful_restart = Some(GRACE_PERIOD),
        ["graceful-restart", "grace-period", ..] => conf.graceful_restart = Some(line.number(2, 1, 1800)?),
        ["graceful-restart", ..] => {
            return Err(line.unknown(1, "word after `graceful-restart`", &["grace-period", "helper"]));
        }
        ["no", "graceful-restart", ..] => conf.graceful_restart = None,
        ["no", "deviation", ..] => conf.no_deviation.extend(deviation(line, texts, 2)?),
        ["deviation", ..] => {
            let on = deviation(line, texts, 1)?;
            conf.no_deviation.retain(|one| !on.contains(one));
        }
        ["summary-address", ..] => return summary_address(conf, line, texts),
        // Aggregates are made as soon as there is something in them.
        ["aggregation", "timer", ..] => {}
        ["distribute-list", ..] => return distribute_list(conf, line, texts),
        ["compatible", "rfc7474"] => line.read_over(0, "RFC 7474's sequence numbers"),
        ["shutdown"] => conf.enabled = false,
        ["no", ..] => {
            line.remarks.warn(line.span(0), "there is nothing that this line takes back", "take it away")
        }
        ["ospf", _, ..] => {
            let allowed = ["router-id", "abr-type", "rfc1583compatibility", "opaque-lsa"];
            return Err(line.unknown(1, "word after `ospf`", &allowed));
        }
        _ => return Err(line.unknown(0, "statement of `router ospf`", &WORDS)),
    }
    Ok(())
}

/// The deviation that a word names, or all of them.
fn deviation(line: &Line<'_, '_>, texts: &[&str], index: usize) -> Result<Vec<Deviation>, Diagnostic> {
    let word = texts.get(index).copied().unwrap_or_default();
    let found: Vec<Deviation> = Deviation::ALL
        .iter()
        .filter(|(name, _)| word == "all" || word == *name)
        .map(|(_, one)| *one)
        .collect();
    if found.is_empty() {
        let mut allowed: Vec<&str> = Deviation::ALL.iter().map(|(name, _)| *name).collect();
        allowed.push("all");
        return Err(line.unknown(index, "deviation", &allowed));
    }
    Ok(found)
}

fn area_line(
    area: &mut OspfArea,
    id: Ipv4Addr,
    line: &mut Line<'_, '_>,
    rest: &[&str],
) -> Result<(), Diagnostic> {
    match rest {
        ["stub" | "nssa", ..] if id.is_unspecified() => {
            return Err(line
                .error(2, "the backbone cannot be a stub area")
                .help("stub areas are numbered from 1 on"));
        }
        ["stub", more @ ..] => {
            area.kind = AreaType::Stub;
            match more {
                [] => {}
                ["no-summary"] => area.no_summary = true,
                _ => return Err(line.unknown(3, "word after `stub`", &["no-summary"])),
            }
        }
        ["nssa", "range", more @ ..] => {
            let range = ranged(line, 4, more, &["not-advertise", "cost"])?;
            area.nssa_ranges.retain(|other| other.prefix != range.prefix);
            area.nssa_ranges.push(range);
        }
        ["nssa", more @ ..] => return nssa(area, line, more),
        ["default-cost", ..] => area.default_cost = Some(line.number(3, 0, 0x00ff_ffff)?),
        ["authentication"] => area.authentication = Some(AuthenticationKind::Simple),
        ["authentication", "message-digest"] => area.authentication = Some(AuthenticationKind::MessageDigest),
        ["range", more @ ..] => {
            let range = ranged(line, 3, more, &["advertise", "not-advertise", "cost", "substitute"])?;
            area.ranges.retain(|other| other.prefix != range.prefix);
            area.ranges.push(range);
        }
        ["virtual-link", ..] => return virtual_link(area, id, line, rest),
        ["filter-list", "prefix", _, "in"] => area.filter_in = Some(line.name(4, Named::PrefixList)?),
        ["filter-list", "prefix", _, "out"] => area.filter_out = Some(line.name(4, Named::PrefixList)?),
        ["filter-list", "prefix", _, ..] => return Err(line.unknown(5, "direction", &["in", "out"])),
        ["filter-list", ..] => return Err(line.unknown(3, "kind of list", &["prefix"])),
        ["import-list", _] => area.import_list = Some(line.name(3, Named::AccessList)?),
        ["export-list", _] => area.export_list = Some(line.name(3, Named::AccessList)?),
        ["shortcut", ..] => line.read_over(2, "shortcuts between areas"),
        _ => {
            let allowed = [
                "authentication",
                "default-cost",
                "export-list",
                "filter-list",
                "import-list",
                "nssa",
                "range",
                "stub",
                "virtual-link",
            ];
            return Err(line.unknown(2, "word after the area", &allowed));
        }
    }
    Ok(())
}

fn nssa(area: &mut OspfArea, line: &mut Line<'_, '_>, more: &[&str]) -> Result<(), Diagnostic> {
    let (mut translator, mut suppress_fa, mut default_route) = match area.kind {
        AreaType::Nssa { translator, suppress_fa, default_route } => (translator, suppress_fa, default_route),
        _ => (Translator::Candidate, false, None),
    };
    let mut words = more.iter().enumerate();
    while let Some((place, word)) = words.next() {
        match *word {
            "no-summary" => area.no_summary = true,
            "suppress-fa" => suppress_fa = true,
            "translate-candidate" => translator = Translator::Candidate,
            "translate-never" => translator = Translator::Never,
            "translate-always" => translator = Translator::Always,
            "default-information-originate" => default_route = Some((1, true)),
            "metric" if default_route.is_some() => {
                let metric = line.number(place + 4, 0, 0x00ff_ffff)?;
                default_route = default_route.map(|(_, type2)| (metric, type2));
                words.next();
            }
            "metric-type" if default_route.is_some() => {
                let kind: u8 = line.number(place + 4, 1, 2)?;
                default_route = default_route.map(|(metric, _)| (metric, kind == 2));
                words.next();
            }
            _ => {
                let allowed = [
                    "no-summary",
                    "suppress-fa",
                    "translate-candidate",
                    "translate-never",
                    "translate-always",
                    "default-information-originate",
                ];
                return Err(line.unknown(place + 3, "word after `nssa`", &allowed));
            }
        }
    }
    area.kind = AreaType::Nssa { translator, suppress_fa, default_route };
    Ok(())
}

/// A range at this place of the line, which `rest` begins with, and words of `allowed` behind it.
fn ranged(line: &Line<'_, '_>, at: usize, rest: &[&str], allowed: &[&str]) -> Result<OspfRange, Diagnostic> {
    let prefix = network(line, at)?;
    let mut range = OspfRange { prefix, advertise: true, cost: None, substitute: None };
    let mut place = at + 1;
    while let Some(word) = rest.get(place - at) {
        match *word {
            word if !allowed.contains(&word) => {
                return Err(line.unknown(place, "word after the range", allowed));
            }
            "advertise" => place += 1,
            "not-advertise" => {
                range.advertise = false;
                place += 1;
            }
            "cost" => {
                range.cost = Some(line.number(place + 1, 0, 0x00ff_ffff)?);
                place += 2;
            }
            _ => {
                range.substitute = Some(network(line, place + 1)?);
                place += 2;
            }
        }
    }
    Ok(range)
}

fn summary_address(conf: &mut OspfConf, line: &Line<'_, '_>, texts: &[&str]) -> Result<(), Diagnostic> {
    let mut summary = SummaryAddress { prefix: network(line, 1)?, tag: 0, advertise: true };
    let mut place = 2;
    while let Some(word) = texts.get(place) {
        match *word {
            "tag" => {
                summary.tag = line.parse(place + 1, "a tag: a number")?;
                place += 1;
            }
            "no-advertise" => summary.advertise = false,
            _ => return Err(line.unknown(place, "word after the range", &["tag", "no-advertise"])),
        }
        place += 1;
    }
    conf.summary_addresses.retain(|other| other.prefix != summary.prefix);
    conf.summary_addresses.push(summary);
    Ok(())
}

/// `distribute-list NAME out SOURCE`.
fn distribute_list(conf: &mut OspfConf, line: &mut Line<'_, '_>, texts: &[&str]) -> Result<(), Diagnostic> {
    let name = line.name(1, Named::AccessList)?;
    match texts.get(2) {
        Some(&"out") => {}
        Some(&"in") => {
            return Err(line
                .error(2, "OSPF cannot leave out what others advertise: all routers need the same database")
                .help("`distribute-list NAME out SOURCE` chooses among redistributed routes"));
        }
        _ => return Err(line.unknown(2, "direction", &["out"])),
    }
    let source = source(line, texts.get(3).copied(), 3)?;
    conf.distribute_lists.retain(|(other, _)| *other != source);
    conf.distribute_lists.push((source, name));
    Ok(())
}

fn network(line: &Line<'_, '_>, index: usize) -> Result<Prefix, Diagnostic> {
    let prefix: Prefix = line.parse(index, "a network such as 10.0.0.0/8")?;
    match prefix.address {
        IpAddr::V4(_) => Ok(prefix.network()),
        IpAddr::V6(_) => Err(line.error(index, "an IPv4 network is needed")),
    }
}

fn virtual_link(
    area: &mut OspfArea,
    id: Ipv4Addr,
    line: &mut Line<'_, '_>,
    rest: &[&str],
) -> Result<(), Diagnostic> {
    if id.is_unspecified() {
        return Err(line
            .error(1, "a virtual link cannot cross the backbone")
            .help("name the area that both border routers share"));
    }
    let router: Ipv4Addr = line.parse(3, "the router id of the other end: a dotted quad")?;
    line.name(3, Named::OtherRouter)?;
    let place = area.virtual_links.iter().position(|(other, _)| *other == router);
    let index = place.unwrap_or_else(|| {
        area.virtual_links.push((router, OspfInterface::default()));
        area.virtual_links.len() - 1
    });
    let mut place = 4;
    while let Some(word) = rest.get(place - 2).copied() {
        let argument = place + 1;
        let Some((_, link)) = area.virtual_links.get_mut(index) else { return Ok(()) };
        match (word, rest.get(argument - 2).copied()) {
            ("hello-interval", _) => link.hello_interval = Some(line.seconds(argument)?),
            ("dead-interval", _) => link.dead_interval = Some(line.seconds(argument)?),
            ("retransmit-interval", _) => link.retransmit_interval = Some(line.seconds(argument)?),
            ("transmit-delay", _) => link.transmit_delay = Some(line.seconds(argument)?),
            ("authentication", Some("message-digest")) => {
                link.authentication = Some(AuthenticationKind::MessageDigest);
            }
            ("authentication", Some("null")) => link.authentication = Some(AuthenticationKind::Null),
            ("authentication", _) => {
                link.authentication = Some(AuthenticationKind::Simple);
                place += 1;
                continue;
            }
            ("authentication-key", Some(key)) => {
                link.authentication_key = Some(password(line, argument, key, 8)?);
            }
            ("message-digest-key", Some(_)) if rest.get(argument - 1) == Some(&"md5") => {
                let key = rest.get(argument).copied().unwrap_or("");
                digest_key(&mut link.digest_keys, line, argument, key)?;
                place += 2;
            }
            _ => {
                let allowed = [
                    "hello-interval",
                    "dead-interval",
                    "retransmit-interval",
                    "transmit-delay",
                    "authentication",
                    "authentication-key",
                    "message-digest-key",
                ];
                return Err(line.unknown(place, "word after `virtual-link`", &allowed));
            }
        }
        place += 2;
    }
    if let Some((_, link)) = area.virtual_links.get(index)
        && rest.iter().any(|word| matches!(*word, "hello-interval" | "dead-interval"))
    {
        line.compare_intervals(link.hello_interval, link.dead_interval.unwrap_or(USUAL_DEAD_INTERVAL));
    }
    Ok(())
}

/// `[metric N] [metric-type 1|2] [route-map NAME]` from this place on.
fn metrics(
    line: &mut Line<'_, '_>,
    mut place: usize,
) -> Result<(Option<u32>, bool, Option<String>), Diagnostic> {
    let (mut metric, mut type2, mut route_map) = (None, true, None);
    while let Some((word, _)) = line.words.get(place) {
        match *word {
            "metric" => metric = Some(line.number(place + 1, 0, 0x00ff_ffff)?),
            "metric-type" => type2 = line.number(place + 1, 1u8, 2)? == 2,
            "route-map" => route_map = Some(line.name(place + 1, Named::RouteMap)?),
            _ => return Err(line.unknown(place, "word", &["metric", "metric-type", "route-map"])),
        }
        place += 2;
    }
    Ok((metric, type2, route_map))
}

fn source(line: &Line<'_, '_>, word: Option<&str>, at: usize) -> Result<RouteSource, Diagnostic> {
    match word {
        Some("connected") => Ok(RouteSource::Connected),
        Some("static") => Ok(RouteSource::Static),
        Some("kernel") => Ok(RouteSource::Kernel),
        Some(
            "bgp" | "rip" | "isis" | "eigrp" | "nhrp" | "babel" | "ospf" | "table" | "sharp" | "openfabric",
        ) => Err(line
            .error(at, "routes of that protocol cannot be redistributed: Coati does not speak it")
            .help("connected, static or kernel routes can")),
        _ => Err(line.unknown(at, "source of routes", &["connected", "static", "kernel"])),
    }
}

fn redistribute(conf: &mut OspfConf, line: &mut Line<'_, '_>, texts: &[&str]) -> Result<(), Diagnostic> {
    let source = source(line, texts.get(1).copied(), 1)?;
    let (metric, type2, route_map) = metrics(line, 2)?;
    conf.redistribute.retain(|other| other.source != source);
    conf.redistribute.push(Redistribute { source, metric, type2, route_map });
    Ok(())
}

fn default_information(
    conf: &mut OspfConf,
    line: &mut Line<'_, '_>,
    texts: &[&str],
) -> Result<(), Diagnostic> {
    let always = texts.get(2) == Some(&"always");
    let (metric, type2, route_map) = metrics(line, if always { 3 } else { 2 })?;
    conf.default_information = Some(DefaultInformation { always, metric, type2, route_map });
    Ok(())
}

fn neighbour(conf: &mut OspfConf, line: &Line<'_, '_>, texts: &[&str]) -> Result<(), Diagnostic> {
    let address = line.parse(1, "the address of a neighbour: a dotted quad")?;
    let mut neighbour = OspfNeighbour { address, priority: 0, poll_interval: 60 };
    let mut place = 2;
    while let Some(word) = texts.get(place) {
        match *word {
            "priority" => neighbour.priority = line.number(place + 1, 0, 255)?,
            "poll-interval" => neighbour.poll_interval = line.seconds(place + 1)?,
            _ => return Err(line.unknown(place, "word", &["priority", "poll-interval"])),
        }
        place += 2;
    }
    conf.neighbours.push(neighbour);
    Ok(())
}
