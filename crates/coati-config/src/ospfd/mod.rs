//! ospfd.conf and frr.conf, the OSPF part: line by line, in the words of Quagga and FRR.
//!
//! What is FRR's and not Coati's is said in a warning, so that a file can be used as it is; what is nobody's is an
//! error.

mod bfd;
mod debug;
mod interface;
mod policy;
mod router;
mod routes;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use coati_sadb::Prefix;

pub use self::bfd::{BfdProfile, OspfBfd};
pub use self::debug::DebugOspf;
pub use self::interface::{AuthenticationKind, NetworkKind, OspfInterface};
pub use self::policy::{
    Action, ChainAlgorithm, ChainKey, KeyChain, PrefixList, PrefixRule, RouteMap, RouteMapEntry,
};
pub use self::router::{
    AbrType, AreaType, DefaultInformation, MaxMetric, OspfArea, OspfNeighbour, OspfRange, Redistribute,
    RouteSource, SummaryAddress, Translator,
};
pub use self::routes::{Distances, StaticHop, StaticRoute, is_martian};

use crate::diagnostic::{Diagnostic, Place, Remarks, Source, Span};

/// What the file says about OSPF.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OspfConf {
    /// Whether there is a `router ospf` block at all.
    pub enabled: bool,
    /// `ospf router-id`.
    pub router_id: Option<Ipv4Addr>,
    /// `debug ospf …`.
    pub debug: DebugOspf,
    /// `network P area A`.
    pub networks: Vec<Network>,
    /// `passive-interface default`.
    pub passive_default: bool,
    /// `passive-interface X`.
    pub passive: Vec<String>,
    /// `no passive-interface X`.
    pub active: Vec<String>,
    /// `area A …`.
    pub areas: BTreeMap<Ipv4Addr, OspfArea>,
    /// `redistribute …`.
    pub redistribute: Vec<Redistribute>,
    /// `default-information originate`.
    pub default_information: Option<DefaultInformation>,
    /// `default-metric`.
    pub default_metric: Option<u32>,
    /// `auto-cost reference-bandwidth`, in Mbit/s.
    pub reference_bandwidth: Option<u32>,
    /// `ospf abr-type`.
    pub abr_type: Option<AbrType>,
    /// `compatible rfc1583`.
    pub rfc1583: bool,
    /// `maximum-paths`.
    pub maximum_paths: Option<u16>,
    /// `max-metric router-lsa`.
    pub max_metric: MaxMetric,
    /// `timers throttle spf`: delay, hold and longest hold in milliseconds.
    pub spf_timers: Option<(u32, u32, u32)>,
    /// `spf-delay-ietf`: initial, short and long delay, holddown, time to learn, in milliseconds (RFC 8405).
    pub spf_delay_ietf: Option<[u32; 5]>,
    /// `graceful-restart [grace-period N]`, in seconds.
    pub graceful_restart: Option<u32>,
    /// `no graceful-restart helper enable`.
    pub no_graceful_restart_helper: bool,
    /// `no deviation …`: where it is to do as RFC 2328 says.
    pub no_deviation: Vec<Deviation>,
    /// `timers throttle lsa all`, in milliseconds.
    pub lsa_interval: Option<u32>,
    /// `timers lsa min-arrival`, in milliseconds.
    pub lsa_arrival: Option<u32>,
    /// `summary-address P`.
    pub summary_addresses: Vec<SummaryAddress>,
    /// `distribute-list NAME out SOURCE`: the access list by which routes of a source are taken.
    pub distribute_lists: Vec<(RouteSource, String)>,
    /// `neighbor A`.
    pub neighbours: Vec<OspfNeighbour>,
    /// `interface X` blocks.
    pub interfaces: Vec<OspfInterface>,
    /// `bfd`, `profile X`, by name.
    pub bfd_profiles: BTreeMap<String, BfdProfile>,
    /// `key chain N`, by name.
    pub key_chains: BTreeMap<String, KeyChain>,
    /// `ip prefix-list N`, by name.
    pub prefix_lists: BTreeMap<String, PrefixList>,
    /// `access-list N`, by name; what one says can be said by a prefix list too.
    pub access_lists: BTreeMap<String, PrefixList>,
    /// `route-map N`, by name.
    pub route_maps: BTreeMap<String, RouteMap>,
    /// `ip route P …`.
    pub static_routes: Vec<StaticRoute>,
    /// `distance …`.
    pub distances: Distances,
    /// Every place that names an interface.
    pub mentions: Vec<(String, Span)>,
}

impl OspfConf {
    /// Whether it is another router than the one that `other` speaks of.
    pub fn is_another_router(&self, other: &Self) -> bool {
        self.enabled && other.enabled && self.router_id != other.router_id
    }
}

/// Names of what this speaker does otherwise than RFC 2328 (`deviation …`, Coati's own).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deviation {
    /// `hello-at-once`.
    HelloAtOnce,
    /// `early-retransmission`.
    EarlyRetransmission,
    /// `prompt-origination`.
    PromptOrigination,
    /// `loss-at-once`.
    LossAtOnce,
    /// `remembered-neighbour`.
    RememberedNeighbour,
    /// `remembered-election`.
    RememberedElection,
    /// `flap-damping`.
    FlapDamping,
    /// `unicast-fallback`.
    UnicastFallback,
}

impl Deviation {
    const ALL: [(&'static str, Self); 8] = [
        ("hello-at-once", Self::HelloAtOnce),
        ("early-retransmission", Self::EarlyRetransmission),
        ("prompt-origination", Self::PromptOrigination),
        ("loss-at-once", Self::LossAtOnce),
        ("remembered-neighbour", Self::RememberedNeighbour),
        ("remembered-election", Self::RememberedElection),
        ("flap-damping", Self::FlapDamping),
        ("unicast-fallback", Self::UnicastFallback),
    ];
}

/// `network P area A`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Interfaces with an address in it take part.
    pub prefix: Prefix,
    /// In this area.
    pub area: Ipv4Addr,
    /// Where it is written.
    pub place: Place,
}

const TOP: [&str; 9] = [
    "router ospf",
    "interface",
    "bfd",
    "hostname",
    "key chain",
    "ip prefix-list",
    "route-map",
    "ip route",
    "access-list",
];
/// Lines of other daemons, or about logging and passwords: read over.
const OTHERS: [&str; 13] = [
    "frr", "hostname", "password", "enable", "log", "service", "line", "banner", "ip", "ipv6", "debug", "no",
    "agentx",
];

/// What there is behind `ip` and `ipv6` at the top level, here or in FRR.
const OF_IP: [&str; 25] = [
    "route",
    "prefix-list",
    "forwarding",
    "nht",
    "protocol",
    "router-id",
    "import-table",
    "as-path",
    "access-list",
    "community-list",
    "large-community-list",
    "extcommunity-list",
    "multicast",
    "mroute",
    "pim",
    "msdp",
    "igmp",
    "mld",
    "multicast-routing",
    "ssmpingd",
    "table",
    "zebra",
    "vrf",
    "nat",
    "name-server",
];

#[derive(Clone)]
enum Block {
    Top,
    Router,
    Interface(usize),
    Chain(String),
    /// A key of this chain; of one whose number is wrong nothing is read.
    Key(String, Option<u8>),
    Map(String),
    Bfd,
    BfdProfile(String),
    /// A `peer` of `bfd`.
    BfdPeer,
    Ignored,
}

/// Reads the file.
pub fn parse(source: &Arc<Source>) -> (OspfConf, Vec<Diagnostic>) {
    let mut conf = OspfConf::default();
    let mut remarks = Remarks::new(source);
    let mut block = Block::Top;
    let mut named: Vec<(Named, String, Span)> = Vec::new();
    let mut start = 0;
    for text in source.text.split('\n') {
        let offset = start;
        start += text.len() + 1;
        let words = words(text, offset);
        if words.is_empty() {
            continue;
        }
        let mut line = Line { remarks: &mut remarks, words: &words, named: &mut named };
        if let Err(error) = read(&mut conf, &mut block, &mut line) {
            remarks.list.push(error);
        }
    }
    for (what, name, span) in named {
        what.check(&conf, &name, span, &mut remarks);
    }
    (conf, remarks.list)
}

/// Something that a line names and that has to be elsewhere in the file.
#[derive(Clone, Copy, Debug)]
enum Named {
    KeyChain,
    /// One whose keys all have an HMAC.
    HmacKeyChain,
    PrefixList,
    AccessList,
    RouteMap,
    BfdProfile,
    /// A router id that must not be our own.
    OtherRouter,
    /// The interface whose dead interval this is.
    Intervals,
}

/// What the hello interval is when nothing is said, in seconds.
const USUAL_HELLO_INTERVAL: u16 = 10;

impl Named {
    fn check(self, conf: &OspfConf, name: &str, span: Span, remarks: &mut Remarks<'_>) {
        let (there, words) = match self {
            Self::OtherRouter => {
                if conf.router_id.is_some_and(|own| own.to_string() == name) {
                    let error = remarks.error(span, format!("{name} is this router itself"));
                    remarks.list.push(error.help("name the border router at the other end"));
                }
                return;
            }
            Self::Intervals => {
                let interface = conf.interfaces.iter().find(|interface| interface.name == name);
                if let Some(OspfInterface { hello_interval, dead_interval: Some(dead), .. }) = interface {
                    compare_intervals(remarks, span, *hello_interval, *dead);
                }
                return;
            }
            Self::KeyChain | Self::HmacKeyChain => (conf.key_chains.contains_key(name), "key chain"),
            Self::PrefixList => (conf.prefix_lists.contains_key(name), "ip prefix-list"),
            Self::AccessList => (conf.access_lists.contains_key(name), "access-list"),
            Self::RouteMap => (conf.route_maps.contains_key(name), "route-map"),
            Self::BfdProfile => (conf.bfd_profiles.contains_key(name), "profile"),
        };
        if !there {
            let error = remarks.error(span, format!("there is no {words} `{name}` in this file"));
            remarks.list.push(error.help(format!("add `{words} {name} …`, or correct the name")));
        }
        let keys = conf.key_chains.get(name).filter(|_| matches!(self, Self::HmacKeyChain));
        let mut keys = keys.into_iter().flat_map(|chain| &chain.keys);
        let has_hmac = |key: &ChainKey| key.algorithm != ChainAlgorithm::Md5;
        if let Some((id, _)) = keys.find(|(_, key)| !has_hmac(key)) {
            let text = format!(
                "key {id} of key chain `{name}` has MD5, which extended sequence numbers do not go with"
            );
            let error = remarks.error(span, text);
            remarks.list.push(error.help("give it `cryptographic-algorithm hmac-sha-256`"));
        }
    }
}

/// A neighbour whose hello comes a little late would be lost.
fn compare_intervals(remarks: &mut Remarks<'_>, span: Span, hello: Option<u16>, dead: u32) {
    let hello = hello.unwrap_or(USUAL_HELLO_INTERVAL);
    if dead <= u32::from(hello) {
        let message = format!("dead-interval {dead} is not above hello-interval {hello}");
        remarks.warn(span, message, "four times the hello interval is usual");
    }
}

/// The words of a line; a comment begins where a word would.
fn words(text: &str, offset: usize) -> Vec<(&str, Span)> {
    let word = |word: &'_ str| (word.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    let all = text.split_whitespace().take_while(|found| !found.starts_with(['!', '#']));
    all.map(|found| (found, Span { start: offset + word(found), end: offset + word(found) + found.len() }))
        .collect()
}

fn read(conf: &mut OspfConf, block: &mut Block, line: &mut Line<'_, '_>) -> Result<(), Diagnostic> {
    let texts: Vec<&str> = line.words.iter().map(|(word, _)| *word).collect();
    if let ["interface", name, ..] | ["passive-interface", name] | ["no", "passive-interface", name] =
        texts[..]
        && name != "default"
    {
        let at = if texts.first() == Some(&"no") { 2 } else { 1 };
        conf.mentions.push((name.to_owned(), line.span(at)));
    }
    if begins_block(conf, block, line, &texts)? {
        return Ok(());
    }
    match block.clone() {
        Block::Ignored => Ok(()),
        Block::Top => top(conf, line, &texts),
        Block::Router => router::line(conf, line, &texts),
        Block::Interface(index) => match conf.interfaces.get_mut(index) {
            Some(interface) => interface::line(interface, line, &texts),
            None => Ok(()),
        },
        Block::Bfd => Err(line.unknown(0, "statement of `bfd`", &["profile", "peer", "exit"])),
        Block::BfdProfile(name) => match conf.bfd_profiles.get_mut(&name) {
            Some(profile) => bfd::profile_line(profile, line, &texts),
            None => Ok(()),
        },
        Block::BfdPeer => Ok(()),
        Block::Chain(_) => Err(line.unknown(0, "statement of `key chain`", &["key", "exit"])),
        Block::Key(chain, id) => match (conf.key_chains.get_mut(&chain), id) {
            (Some(chain), Some(id)) => policy::key_line(chain, id, line, &texts),
            _ => Ok(()),
        },
        Block::Map(name) => match conf.route_maps.get_mut(&name) {
            Some(map) => policy::map_line(map, line, &texts),
            None => Ok(()),
        },
    }
}

/// Whether the line begins or ends a block.
fn begins_block(
    conf: &mut OspfConf,
    block: &mut Block,
    line: &mut Line<'_, '_>,
    texts: &[&str],
) -> Result<bool, Diagnostic> {
    match texts {
        ["router", "ospf"] => {
            conf.enabled = true;
            *block = Block::Router;
        }
        ["router", "ospf", ..] => {
            *block = Block::Ignored;
            return Err(line
                .error(2, "several OSPF processes and VRFs are not supported yet")
                .help("write `router ospf` without a number"));
        }
        ["bfd"] => *block = Block::Bfd,
        ["profile", _] if matches!(block, Block::Bfd | Block::BfdProfile(_) | Block::BfdPeer) => {
            let name = line.words.get(1).map_or("", |(word, _)| word).to_owned();
            conf.bfd_profiles.entry(name.clone()).or_default();
            *block = Block::BfdProfile(name);
        }
        ["peer", ..] if matches!(block, Block::Bfd | Block::BfdProfile(_) | Block::BfdPeer) => {
            line.read_over(0, "sessions that no OSPF neighbour asks for");
            *block = Block::BfdPeer;
        }
        ["router" | "vrf", ..] => {
            *block = Block::Ignored;
            let what = texts.join(" ");
            return Err(line
                .error(0, format!("`{what}` is not supported yet"))
                .help("Coati reads `router ospf` and `interface` here"));
        }
        ["interface", name, ..] => {
            let index = conf.interfaces.iter().position(|interface| interface.name == *name);
            *block = Block::Interface(index.unwrap_or_else(|| {
                let name = (*name).to_owned();
                conf.interfaces.push(OspfInterface { name, ..OspfInterface::default() });
                conf.interfaces.len() - 1
            }));
        }
        ["key", "chain", name] => {
            conf.key_chains.entry((*name).to_owned()).or_default();
            *block = Block::Chain((*name).to_owned());
        }
        ["key", _] if matches!(block, Block::Chain(_) | Block::Key(..)) => {
            if let Block::Chain(chain) | Block::Key(chain, _) = block.clone() {
                *block = Block::Key(chain.clone(), None);
                let id: u8 = line.parse(1, "a key number from 0 to 255")?;
                conf.key_chains.entry(chain.clone()).or_default().keys.entry(id).or_default();
                *block = Block::Key(chain, Some(id));
            }
        }
        ["route-map", name, ..] => {
            let entry = policy::map_entry(line, texts)?;
            conf.route_maps.entry((*name).to_owned()).or_default().entries.push(entry);
            *block = Block::Map((*name).to_owned());
        }
        ["exit"] => {
            *block = match block.clone() {
                Block::Key(chain, _) => Block::Chain(chain),
                Block::BfdProfile(_) | Block::BfdPeer => Block::Bfd,
                _ => Block::Top,
            };
        }
        ["end" | "exit-vrf"] => *block = Block::Top,
        // Statements of the top level end a block without `exit`.
        ["ip", "prefix-list" | "route", ..]
        | ["ipv6", "route", ..]
        | ["no", "ipv6", "route", ..]
        | ["no", "ip", "route" | "prefix-list", ..]
        | ["no", "access-list" | "route-map" | "key" | "router" | "interface" | "bfd", ..]
        | ["access-list" | "line" | "hostname" | "log", ..] => {
            *block = Block::Top;
            return Ok(false);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn top(conf: &mut OspfConf, line: &mut Line<'_, '_>, texts: &[&str]) -> Result<(), Diagnostic> {
    match texts {
        ["ip", "prefix-list", ..] => policy::prefix_list(conf, line, texts),
        ["ip", "route", ..] | ["no", "ip", "route", ..] => {
            routes::change(&mut conf.static_routes, line, texts)
        }
        ["ipv6", "route", ..] | ["no", "ipv6", "route", ..] => {
            line.read_over(0, "static routes of IPv6");
            Ok(())
        }
        ["no", "ip", "prefix-list", ..]
        | ["no", "access-list" | "route-map" | "key" | "router" | "interface" | "bfd", ..] => {
            let message = "what is before this line stays: here `no` takes back static routes only";
            line.remarks.warn(line.span(0), message, "take away this line and what it means");
            Ok(())
        }
        ["access-list", ..] => policy::access_list(conf, line, texts),
        ["debug", "ospf", rest @ ..] => {
            if let Err((index, allowed)) = conf.debug.apply(rest, true) {
                let diagnostic = line.unknown(index + 2, "topic of `debug ospf`", &allowed);
                line.remarks.warn(line.span(index + 2), diagnostic.message, "this line has no effect");
            }
            Ok(())
        }
        ["ip" | "ipv6", word, ..] if !OF_IP.contains(word) => {
            line.unknown_of_ip(1);
            Ok(())
        }
        ["no", "ip" | "ipv6", word, ..] if !OF_IP.contains(word) => {
            line.unknown_of_ip(2);
            Ok(())
        }
        [first, ..] if OTHERS.contains(first) => Ok(()),
        [_, ..] => Err(line.unknown(0, "statement", &TOP)),
        [] => Ok(()),
    }
}

struct Line<'a, 'r> {
    remarks: &'r mut Remarks<'a>,
    words: &'r [(&'r str, Span)],
    named: &'r mut Vec<(Named, String, Span)>,
}

impl Line<'_, '_> {
    fn span(&self, index: usize) -> Span {
        self.words.get(index).or(self.words.last()).map_or(Span::default(), |(_, span)| *span)
    }

    fn error(&self, index: usize, message: impl Into<String>) -> Diagnostic {
        self.remarks.error(self.span(index), message)
    }

    fn unknown(&self, index: usize, what: &str, allowed: &[&str]) -> Diagnostic {
        match self.words.get(index) {
            Some((word, span)) => self.remarks.unknown(*span, what, word, allowed),
            None => self
                .error(index, format!("{what} is missing at the end of the line"))
                .help(format!("allowed here: {}", allowed.join(", "))),
        }
    }

    /// A word behind `ip` that nobody knows, most likely a mistyped one.
    fn unknown_of_ip(&mut self, index: usize) {
        let message = self.unknown(index, "statement of `ip`", &["route", "prefix-list"]).message;
        self.remarks.warn(self.span(index), message, "this line has no effect");
    }

    /// Something of FRR's that Coati does not do.
    fn read_over(&mut self, index: usize, what: &str) {
        let span = self.span(index);
        self.remarks.warn(
            span,
            format!("{what} are not supported yet: this line has no effect"),
            "take it away if you can",
        );
    }

    fn compare_intervals(&mut self, hello: Option<u16>, dead: u32) {
        let span = self.span(0);
        compare_intervals(self.remarks, span, hello, dead);
    }

    /// The word at this place is the name of something that has to be in the file.
    fn name(&mut self, index: usize, what: Named) -> Result<String, Diagnostic> {
        let Some((word, span)) = self.words.get(index) else {
            return Err(self.error(index, "a name is missing at the end of the line"));
        };
        self.named.push((what, (*word).to_owned(), *span));
        Ok((*word).to_owned())
    }

    fn parse<T: std::str::FromStr>(&self, index: usize, what: &str) -> Result<T, Diagnostic> {
        match self.words.get(index) {
            Some((word, span)) => {
                word.parse().map_err(|_| self.remarks.error(*span, format!("`{word}` is not {what}")))
            }
            None => Err(self.error(index, format!("{what} is missing at the end of the line"))),
        }
    }

    fn number<T>(&self, index: usize, from: T, to: T) -> Result<T, Diagnostic>
    where
        T: std::str::FromStr + PartialOrd + std::fmt::Display + Copy,
    {
        let what = format!("a number from {from} to {to}");
        let value: T = self.parse(index, &what)?;
        if value < from || value > to {
            return Err(self.error(index, format!("{what} is needed")));
        }
        Ok(value)
    }

    /// A number or dotted quad.
    fn area(&self, index: usize) -> Result<Ipv4Addr, Diagnostic> {
        if let Some((word, _)) = self.words.get(index)
            && let Ok(number) = word.parse::<u32>()
        {
            return Ok(Ipv4Addr::from(number));
        }
        self.parse(index, "an area: a number or dotted quad")
    }

    fn seconds<T: std::str::FromStr + PartialOrd + From<u16>>(&self, index: usize) -> Result<T, Diagnostic> {
        let value: T = self.parse(index, "a number of seconds from 1 to 65535")?;
        if value < T::from(1) || value > T::from(u16::MAX) {
            return Err(self.error(index, "a number of seconds from 1 to 65535 is needed"));
        }
        Ok(value)
    }

    /// Nothing may follow from this place on, but an address of the interface, which FRR allows there.
    fn ends(&self, index: usize) -> Result<(), Diagnostic> {
        match self.words.get(index) {
            None => Ok(()),
            Some((word, _)) if word.parse::<Ipv4Addr>().is_ok() && self.words.len() == index + 1 => Ok(()),
            Some((word, span)) => Err(self.remarks.error(*span, format!("`{word}` does not belong here"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_usual_file() {
        let text = "hostname a\n!\ninterface gre0\n ip ospf network point-to-point\n ip ospf cost 100\nexit\n!\n\
                    router ospf\n ospf router-id 1.1.1.1\n network 10.0.0.0/30 area 0 ! tunnel\n passive-interface em1\nexit\n";
        let (conf, remarks) = parse(&Source::new("ospfd.conf", text));
        assert!(remarks.is_empty(), "{remarks:?}");
        assert_eq!(conf.router_id, Some(Ipv4Addr::new(1, 1, 1, 1)));
        assert_eq!(conf.networks[0].prefix.to_string(), "10.0.0.0/30");
        assert_eq!(conf.interfaces[0].cost, Some(100));
        assert_eq!(conf.interfaces[0].network, Some(NetworkKind::PointToPoint));
        assert_eq!(conf.passive, ["em1"]);
    }

    /// A file as people have it: nothing in it is an error, and what has no effect is said.
    #[test]
    fn a_whole_file() {
        let text = "frr version 8.4.4\nfrr defaults traditional\nhostname r1\nlog file /var/log/frr/frr.log\nservice \
                    integrated-vtysh-config\nno ip forwarding\n!\nkey chain K\n key 1\n  key-string a!b\n  cryptographic-algorithm \
                    hmac-sha-256\n  accept-lifetime 08:00:00 1 January 2026 infinite\n exit\nexit\n!\nip prefix-list P seq 5 permit \
                    10.0.0.0/8 ge 16 le 24\nip prefix-list P seq 10 deny any\nroute-map RM permit 10\n match ip address \
                    prefix-list P\n set metric 30\nexit\n!\ninterface gre1\n ip address 10.9.9.1/30\n ip ospf authentication \
                    message-digest\n ip ospf message-digest-key 1 md5 secret\n ip ospf cost 100\n ip ospf network \
                    point-to-point\n ip ospf hello-interval 1\n ip ospf dead-interval 4\n ip ospf mtu-ignore\n ip ospf \
                    bfd\nexit\ninterface eth0\n ip ospf area 0.0.0.1\n ip ospf dead-interval minimal hello-multiplier 4\n ip ospf \
                    priority 0\n ip ospf authentication key-chain K\n ip ospf passive 10.1.0.1\nexit\n!\nrouter ospf\n ospf router-id \
                    1.1.1.1\n log-adjacency-changes detail\n passive-interface default\n no passive-interface gre1\n \
                    redistribute connected route-map RM metric 20 metric-type 1\n redistribute kernel\n default-information \
                    originate always metric 20\n network 10.9.9.0/30 area 0\n area 1 range 192.168.0.0/16\n area 2 stub \
                    no-summary\n area 3 nssa translate-always default-information-originate metric 5\n area 4 virtual-link 2.2.2.2 \
                    hello-interval 5 dead-interval 20 message-digest-key 1 md5 x\n area 0 authentication message-digest\n \
                    auto-cost reference-bandwidth 10000\n timers throttle spf 0 50 5000\n max-metric router-lsa on-startup \
                    60\n neighbor 10.0.0.2 priority 1 poll-interval 30\n maximum-paths 8\nexit\n!\nline vty\n!\nend\n";
        let (conf, remarks) = parse(&Source::new("frr.conf", text));
        let texts: Vec<String> = remarks.iter().map(ToString::to_string).collect();
        assert!(texts.is_empty(), "{texts:#?}");
        assert_eq!(conf.interfaces[0].bfd, Some(OspfBfd::Times(BfdProfile::default())));
        assert_eq!(conf.areas.len(), 5);
        assert_eq!(conf.areas[&Ipv4Addr::new(0, 0, 0, 4)].virtual_links[0].1.dead_interval, Some(20));
        assert_eq!(conf.redistribute[0].route_map.as_deref(), Some("RM"));
        assert_eq!(conf.key_chains["K"].keys[&1].secret.expose(), b"a!b");
        assert!(conf.interfaces[1].passive && conf.interfaces[1].hello_multiplier == Some(4));
        let permits = |network: &str| conf.prefix_lists["P"].permits(&network.parse().unwrap());
        assert!(
            permits("10.1.0.0/16")
                && !permits("10.0.0.0/8")
                && !permits("10.1.1.1/32")
                && !permits("11.0.0.0/16")
        );
    }

    #[test]
    fn bfd_and_its_profiles() {
        let text = "bfd\n profile fast\n  detect-multiplier 5\n  receive-interval 50\n  transmit-interval 60\n exit\n !\n \
                    profile usual\n  passive-mode\n exit\n peer 192.0.2.1 interface em0\n  detect-multiplier 7\n  whatever\n \
                    exit\nexit\n!\ninterface a\n ip ospf bfd profile fast\ninterface b\n ip ospf bfd 4 100 200\ninterface c\n \
                    ip ospf bfd\nrouter ospf\n";
        let (conf, remarks) = parse(&Source::new("frr.conf", text));
        let texts: Vec<String> = remarks.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), 2, "{texts:#?}");
        assert!(texts[0].contains("frr.conf:9:3: warning: such lines are not supported yet"), "{texts:#?}");
        assert!(texts[1].contains("frr.conf:11:2: warning: sessions that no OSPF neighbour asks for"));
        assert_eq!(conf.bfd_profiles["fast"], BfdProfile { multiplier: 5, receive: 50, transmit: 60 });
        let of = |index: usize| conf.interfaces[index].bfd.clone().unwrap();
        assert_eq!(of(0), OspfBfd::Profile("fast".into()));
        assert_eq!(of(1), OspfBfd::Times(BfdProfile { multiplier: 4, receive: 100, transmit: 200 }));
        assert_eq!(of(2), OspfBfd::Times(BfdProfile::default()));
        for (text, error) in [
            (
                "interface a\n ip ospf bfd profile fats\nbfd\n profile fast\n",
                "there is no profile `fats` in this file",
            ),
            ("interface a\n ip ospf bfd 1 100 100\n", "a number from 2 to 255 is needed"),
            ("interface a\n ip ospf bfd fast\n", "`fast`"),
            ("bfd\n profile x\n  detect-multiplyer 3\n", "did you mean `detect-multiplier`"),
            ("bfd\n profil x\n", "did you mean `profile`"),
        ] {
            let (_, remarks) = parse(&Source::new("frr.conf", text));
            let texts: Vec<String> = remarks.iter().map(ToString::to_string).collect();
            assert!(texts.iter().any(|found| found.contains(error)), "{text}: {texts:#?}");
        }
    }

    #[test]
    fn filters_and_aggregates() {
        let text = "access-list A permit 10.0.0.0/8\naccess-list B seq 7 deny 10.1.0.0/16 exact-match\naccess-list B permit \
                    any\naccess-list 3 permit 10.0.0.0 0.255.255.255\naccess-list 4 permit host 10.0.0.1\nip prefix-list P permit \
                    10.0.0.0/8 le 24\nrouter ospf\n redistribute static\n distribute-list A out static\n area 1 filter-list \
                    prefix P in\n area 1 filter-list prefix P out\n area 1 import-list A\n area 1 export-list B\n area 2 nssa range \
                    10.0.0.0/8 cost 9\n area 2 nssa range 11.0.0.0/8 not-advertise\n area 2 nssa no-summary\n summary-address \
                    10.0.0.0/8 tag 4\n summary-address 11.0.0.0/8 no-advertise\n aggregation timer 10\n timers throttle lsa all \
                    250\n timers lsa min-arrival 100\n spf-delay-ietf init-delay 0 short-delay 50 long-delay 2000 holddown 4000 \
                    time-to-learn 400\n";
        let (conf, remarks) = parse(&Source::new("frr.conf", text));
        assert!(remarks.is_empty(), "{remarks:?}");
        let permits = |list: &str, network: &str| conf.access_lists[list].permits(&network.parse().unwrap());
        assert!(permits("A", "10.1.0.0/16") && permits("A", "10.0.0.0/8") && !permits("A", "11.0.0.0/8"));
        assert!(!permits("B", "10.1.0.0/16") && permits("B", "10.1.1.0/24"));
        assert!(permits("3", "10.1.0.0/16") && !permits("3", "11.0.0.0/16"));
        assert!(permits("4", "10.0.0.1/32") && !permits("4", "10.0.0.0/24"));
        let one = &conf.areas[&Ipv4Addr::new(0, 0, 0, 1)];
        assert_eq!((one.filter_in.as_deref(), one.export_list.as_deref()), (Some("P"), Some("B")));
        let two = &conf.areas[&Ipv4Addr::new(0, 0, 0, 2)];
        assert!(matches!(two.kind, AreaType::Nssa { .. }) && two.no_summary);
        let ranges: Vec<_> = two.nssa_ranges.iter().map(|range| (range.advertise, range.cost)).collect();
        assert_eq!(ranges, [(true, Some(9)), (false, None)]);
        assert_eq!(conf.summary_addresses.len(), 2);
        assert_eq!((conf.lsa_interval, conf.lsa_arrival), (Some(250), Some(100)));
        assert_eq!(conf.spf_delay_ietf, Some([0, 50, 2000, 4000, 400]));
    }

    #[test]
    fn static_routes_and_distances() {
        let text = "ip route 10.0.0.0/8 192.0.2.1\nip route 10.1.0.0 255.255.0.0 192.0.2.1 em0 200 tag 7\nip route 10.2.0.0/16 \
                    gre0\nip route 10.3.0.0/16 Null0 5\nip route 10.4.0.0/16 reject\nip route 10.5.0.0/16 blackhole tag 3\nrouter \
                    ospf\n distance 120\n distance ospf external 200 intra-area 50\n distance 130 192.0.2.0/24\n distance ospf \
                    inter-area 60\n";
        let (conf, remarks) = parse(&Source::new("frr.conf", text));
        assert!(remarks.is_empty(), "{remarks:?}");
        let brief: Vec<_> = conf
            .static_routes
            .iter()
            .map(|route| (route.prefix.to_string(), route.hop.clone(), route.distance, route.tag))
            .collect();
        let gateway = Some(Ipv4Addr::new(192, 0, 2, 1));
        let by = |gateway, interface: Option<&str>| StaticHop::By {
            gateway,
            interface: interface.map(Into::into),
        };
        let expected = [
            ("10.0.0.0/8", by(gateway, None), 1, 0),
            ("10.1.0.0/16", by(gateway, Some("em0")), 200, 7),
            ("10.2.0.0/16", by(None, Some("gre0")), 1, 0),
            ("10.3.0.0/16", StaticHop::Nowhere, 5, 0),
            ("10.4.0.0/16", StaticHop::Nowhere, 1, 0),
            ("10.5.0.0/16", StaticHop::Nowhere, 1, 3),
        ];
        assert_eq!(
            brief,
            expected.map(|(prefix, hop, distance, tag)| (prefix.to_owned(), hop, distance, tag))
        );
        let Distances { all, intra_area, inter_area, external, by_neighbour } = conf.distances;
        assert_eq!((all, intra_area, inter_area, external), (Some(120), Some(50), Some(60), Some(200)));
        assert_eq!(by_neighbour, [("192.0.2.0/24".parse().unwrap(), 130)]);
    }

    #[test]
    fn static_routes_taken_back() {
        let text = "ip route 10.0.0.0/8 192.0.2.1\nip route 10.0.0.0/8 192.0.2.2 7\nip route 10.1.0.0/16 gre0\ninterface em0\n ip \
                    ospf cost 5\nno ip route 10.0.0.0/8 192.0.2.1\nno ip route 10.2.0.0/16 gre0\nip route 10.1.0.0/16 gre0 \
                    9\nip route 127.0.0.0/8 gre0\nipv6 route 2001:db8::/32 fe80::1\nno route-map X\nno ip forwarding\nip rout \
                    10.9.0.0/16 gre0\nno ip route 10.0.0.0/8 192.0.2.2 9 tag 4\n";
        let (conf, remarks) = parse(&Source::new("frr.conf", text));
        let brief = |route: &StaticRoute| format!("{} {}", route.prefix, route.distance);
        let routes: Vec<_> = conf.static_routes.iter().map(brief).collect();
        assert_eq!(routes, ["10.0.0.0/8 7", "10.1.0.0/16 9", "127.0.0.0/8 1"]);
        let told: Vec<String> =
            remarks.iter().map(|remark| remark.to_string().split(" (").next().unwrap().to_owned()).collect();
        let expected = [
            "frr.conf:7:1: warning: there is no such static route to 10.2.0.0/16 before this line",
            "frr.conf:9:10: warning: 127.0.0.0/8 is nobody's network: this route is not used",
            "frr.conf:10:1: warning: static routes of IPv6 are not supported yet: this line has no effect",
            "frr.conf:11:1: warning: what is before this line stays: here `no` takes back static routes only",
            "frr.conf:13:4: warning: unknown statement of `ip` `rout`",
            "frr.conf:14:1: warning: there is no such static route to 10.0.0.0/8 before this line",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn restarts_deviations_and_debugging() {
        let text = "debug ospf packet hello send\ndebug ospf lsa flooding\nrouter ospf\n graceful-restart grace-period 90\n no \
                    deviation all\n deviation flap-damping\n no graceful-restart helper enable\n";
        let (conf, remarks) = parse(&Source::new("frr.conf", text));
        assert!(remarks.is_empty(), "{remarks:?}");
        assert_eq!((conf.graceful_restart, conf.no_graceful_restart_helper), (Some(90), true));
        assert_eq!(conf.no_deviation.len(), 7);
        assert!(!conf.no_deviation.contains(&Deviation::FlapDamping));
        assert_eq!(conf.debug.lines(), ["debug ospf packet hello send", "debug ospf lsa"]);
        let (conf, _) = parse(&Source::new("frr.conf", "router ospf\n graceful-restart\n"));
        assert_eq!(conf.graceful_restart, Some(120));
        // FRR has more topics: one that is not known keeps nothing from starting.
        let (_, remarks) = parse(&Source::new("frr.conf", "debug ospf zebra\n"));
        assert!(
            remarks[0].to_string().contains("frr.conf:1:12: warning: unknown topic of `debug ospf`"),
            "{remarks:?}"
        );
    }

    #[test]
    fn wrong_lines() {
        for (text, wanted) in [
            (
                "ip route 10.0.0.0/8 192.0.2.1 em0 tga 5\n",
                "unknown word after `ip route` `tga` (did you mean `tag`?)",
            ),
            ("ip route 10.0.0.0/8 192.0.2.1 256\n", "`256` is not a number from 1 to 255"),
            ("ip route 10.0.0.0 255.0.255.0 192.0.2.1\n", "`255.0.255.0` is not a mask"),
            ("ip route 10.0.0.0/8\n", "a next hop, an interface"),
            ("ip route 10.0.0.0/8 192.0.2.1 table 10\n", "`table` of a static route is not supported yet"),
            ("ip route 10.0.0.0/8 192.0.2.1 em0 onlink\n", "`onlink` of a static route is not supported yet"),
            (
                "ip route 10.0.0.0/8 192.0.2.300\n",
                "`192.0.2.300` is neither an IPv4 address nor an interface's name",
            ),
            ("ip route 10.0.0.0/8 vrf\n", "`vrf` is neither"),
            ("ip route 10.0.0.0/8 192.0.2.1 a234567890123456\n", "`a234567890123456` is neither"),
            ("ip route 10.0.0.0/8 224.0.0.5\n", "224.0.0.5 is no gateway's address"),
            ("ip route 10.0.0.0/8 192.0.2.1 10 20\n", "unknown word after `ip route` `20`"),
            ("router ospf\n distance ospf outside 5\n", "unknown kind of route `outside`"),
            ("router ospf\n distance 0\n", "a number from 1 to 255 is needed"),
            ("router ospf\n no deviation hello-at-onse\n", "did you mean `hello-at-once`"),
            (
                "interface e\n ip ospf message-digest-key 1 md5 a\n ip ospf message-digest-key 1 md5 b\n",
                "ospfd.conf:3:29: error: key 1 already exists",
            ),
            (
                "router ospf\n area 1 virtual-link 2.2.2.2 message-digest-key 7 md5 a\n area 1 virtual-link 2.2.2.2 \
                 message-digest-key 7 md5 a\n",
                "ospfd.conf:3:49: error: key 7 already exists",
            ),
            (
                "router ospf\n area 1 virtual-link 1.1.1.1\n ospf router-id 1.1.1.1\n",
                "ospfd.conf:2:22: error: 1.1.1.1 is this router itself",
            ),
            (
                "router ospf\n network 10.0.0.0/8 area 0\n network 10.0.0.1/8 area 1\n",
                "ospfd.conf:3:10: error: 10.0.0.0/8 is already in area 0.0.0.0 (ospfd.conf:2:2)",
            ),
            (
                "router ospf\n timers throttle spf 5000 1 1\n",
                "ospfd.conf:2:29: warning: the longest wait, 1 ms",
            ),
            (
                "interface e\n ip ospf dead-interval 10\n",
                "ospfd.conf:2:24: warning: dead-interval 10 is not above hello-interval 10",
            ),
            (
                "interface e\n ip ospf dead-interval 4\n ip ospf hello-interval 4\n",
                "ospfd.conf:2:24: warning: dead-interval 4 is not above hello-interval 4",
            ),
            (
                "router ospf\n area 1 virtual-link 2.2.2.2 hello-interval 40\n",
                "dead-interval 40 is not above hello-interval 40",
            ),
            (
                "key chain K\n key 300\n  key-string x\n  cryptographic-algorithm hmac-sha-256\n  exit\n key 2\n  \
                 key-string y\n",
                "ospfd.conf:2:6: error: `300` is not a key number",
            ),
            ("router ospf\n graceful-restart grace-period 1801\n", "1 to 1800"),
            ("router ospf\n graceful-restart grace 5\n", "unknown word after `graceful-restart` `grace`"),
            (
                "router ospf\n netwrk 10.0.0.0/8 area 0\n",
                "ospfd.conf:2:2: error: unknown statement of `router ospf` `netwrk` (did you mean `network`?)",
            ),
            ("router ospf\n network 10.0.0.0/33 area 0\n", "is not a network"),
            ("router ospf\n network 10.0.0.0/8\n", "expected `area`"),
            ("interface gre0\n ip ospf hello-intervall 3\n", "did you mean `hello-interval`"),
            ("interface gre0\n ip ospf hello-interval 0\n", "1 to 65535"),
            ("router bgp 1\n neighbor x\n", "not supported yet"),
            ("router ospf\n area 0 stub\n", "ospfd.conf:2:9: error: the backbone cannot be a stub area"),
            ("router ospf\n area 1 stubb\n", "did you mean `stub`"),
            ("router ospf\n redistribute bgp\n", "cannot be redistributed"),
            ("router ospf\n redistribute static route-map X\n", "there is no route-map `X` in this file"),
            ("interface e\n ip ospf authentication key-chain X\n", "there is no key chain `X` in this file"),
            (
                "key chain K\n key 4\n key-string x\ninterface e\n ip ospf authentication key-chain K extended-sequence\n",
                "key 4 of key chain `K` has MD5",
            ),
            (
                "interface e\n ip ospf authentication key-chain K extended\n",
                "allowed here: extended-sequence",
            ),
            ("interface e\n ip ospf message-digest-key 1 sha x\n", "unknown algorithm `sha`"),
            ("interface e\n ip ospf mtu-ignore now\n", "`now` does not belong here"),
            ("route-map M permit 5\n match community 7\n", "is not supported in route maps yet"),
            ("router ospf\n distribute-list A out static\n", "there is no access-list `A` in this file"),
            ("router ospf\n area 1 filter-list prefix P in\n", "there is no ip prefix-list `P` in this file"),
            ("access-list A permit any\nrouter ospf\n distribute-list A in\n", "cannot leave out"),
            ("access-list 1 permit 10.0.0.0 0.255.0.255\n", "a wildcard with holes"),
            (
                "router ospf\n area 1 nssa range 10.0.0.0/8 advertise\n",
                "unknown word after the range `advertise`",
            ),
            ("router ospf\n spf-delay-ietf init-delay 5\n", "missing at the end of the line"),
            ("router ospf\n timers lsa min-arival 5\n", "unknown timer `lsa`"),
            (
                "key chain K\n key 1\n  send-lifetime 25:00:00 1 May 2027 infinite\n",
                "a time of day is needed",
            ),
        ] {
            let (_, remarks) = parse(&Source::new("ospfd.conf", text));
            assert_eq!(remarks.len(), 1, "{text} {remarks:?}");
            assert!(remarks[0].to_string().contains(wanted), "{}", remarks[0]);
        }
    }

    proptest! {
        #[test]
        fn any_text(text in "(router ospf\n|interface x\n)?\\PC{0,200}") {
            parse(&Source::new("ospfd.conf", text));
        }
    }
}
