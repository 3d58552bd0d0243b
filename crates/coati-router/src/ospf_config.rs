//! ospfd.conf as the OSPF engine wants it: for the router, for the interfaces that exist, and for what is
//! redistributed.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use coati_bfd as bfd;
use coati_config::ospfd::{
    AbrType, Action, AreaType, AuthenticationKind, ChainAlgorithm, ChainKey, DebugOspf, Deviation,
    NetworkKind, OspfArea, OspfBfd, OspfConf, OspfInterface, PrefixList, PrefixRule, RouteSource, Translator,
};
use coati_ospf::{
    AreaConfig, AreaKind, Authentication, BorderRule, Config, Debug, ExternalRange, ExternalRoute, Filter,
    FilterRule, InterfaceConfig, Key, KeyAlgorithm, Lifetime, Link, LsaTimes, NetworkType, Nssa, Range,
    Secret, SpfBackoff, SpfTimes, StaticNeighbour, Translate,
};
use coati_sadb::Prefix;

use crate::routes::OSPF_DISTANCE;

/// Cost of what `redistribute` brings, and of a default route: FRR's.
const EXTERNAL_METRIC: u32 = 20;
const DEFAULT_ROUTE_METRIC: u32 = 10;
const ALWAYS_METRIC: u32 = 1;
/// Reference bandwidth in Mbit/s.
const REFERENCE_BANDWIDTH: u32 = 100;

/// A route of the system that may be redistributed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemRoute {
    /// Network.
    pub network: Ipv4Addr,
    /// Length of its prefix.
    pub prefix_len: u8,
    /// Next hop.
    pub gateway: Option<Ipv4Addr>,
    /// Its tag; the kernel's have none.
    pub tag: u32,
}

/// What the engine is to tell.
pub(crate) fn engine_debug(debug: &DebugOspf) -> Debug {
    let DebugOspf { sent, received, detail, event, interface, neighbour, lsa, spf } = *debug;
    Debug { sent, received, detail, event, interface, neighbour, lsa, spf }
}

/// What the file says about the router as a whole.
pub(crate) fn engine_config(conf: &OspfConf, router_id: Ipv4Addr) -> Config {
    let mut config = Config::new(router_id);
    config.border = match conf.abr_type {
        None | Some(AbrType::Cisco) => BorderRule::Cisco,
        Some(AbrType::Ibm) => BorderRule::Ibm,
        Some(AbrType::Standard) => BorderRule::Standard,
    };
    config.rfc1583 = conf.rfc1583;
    config.maximum_paths = conf.maximum_paths.map_or(config.maximum_paths, usize::from);
    config.stub_router.always = conf.max_metric.administrative;
    let startup = conf.max_metric.on_startup.map(|seconds| Duration::from_secs(u64::from(seconds)));
    config.stub_router.on_startup = startup;
    let millis = |time: u32| Duration::from_millis(u64::from(time));
    if let Some((delay, hold, longest)) = conf.spf_timers {
        let [delay, hold, longest] = [delay, hold, longest].map(millis);
        config.spf_times = SpfTimes { delay, hold, longest, hold_adapts: false };
    }
    config.graceful_restart = conf.graceful_restart;
    config.graceful_restart_helper = !conf.no_graceful_restart_helper;
    for deviation in &conf.no_deviation {
        *match deviation {
            Deviation::HelloAtOnce => &mut config.deviations.hello_at_once,
            Deviation::EarlyRetransmission => &mut config.deviations.early_retransmission,
            Deviation::PromptOrigination => &mut config.deviations.prompt_origination,
            Deviation::LossAtOnce => &mut config.deviations.loss_at_once,
            Deviation::FlapDamping => &mut config.deviations.flap_damping,
            Deviation::UnicastFallback => &mut config.deviations.unicast_fallback,
            Deviation::RememberedNeighbour => &mut config.deviations.remembered_neighbour,
            Deviation::RememberedElection => &mut config.deviations.remembered_election,
        } = false;
    }
    config.spf_backoff = conf.spf_delay_ietf.map(|times| {
        let [initial, short, long, holddown, time_to_learn] = times.map(millis);
        SpfBackoff { initial, short, long, holddown, time_to_learn }
    });
    let LsaTimes { interval, arrival } = config.lsa_times;
    config.lsa_times = LsaTimes {
        interval: conf.lsa_interval.map_or(interval, millis),
        arrival: conf.lsa_arrival.map_or(arrival, millis),
    };
    let summaries = conf.summary_addresses.iter().filter_map(|summary| {
        let (network, prefix_len) = ipv4(&summary.prefix)?;
        let (advertise, tag) = (summary.advertise, summary.tag);
        Some(ExternalRange { network, prefix_len, advertise, cost: None, tag })
    });
    config.summary_addresses = summaries.collect();
    config.distance = conf.distances.all.unwrap_or(OSPF_DISTANCE);
    config.areas = conf.areas.iter().map(|(id, area)| (*id, area_config(conf, area))).collect();
    config
}

fn area_config(conf: &OspfConf, area: &OspfArea) -> AreaConfig {
    let summaries = !area.no_summary;
    let kind = match area.kind {
        AreaType::Normal => AreaKind::Normal,
        AreaType::Stub => AreaKind::Stub { summaries },
        AreaType::Nssa { translator, suppress_fa, default_route } => AreaKind::Nssa(Nssa {
            summaries,
            translate: match translator {
                Translator::Candidate => Translate::Candidate,
                Translator::Never => Translate::Never,
                Translator::Always => Translate::Always,
            },
            suppress_forwarding: suppress_fa,
            default_route,
        }),
    };
    let ranges = area.ranges.iter().filter_map(|range| {
        let (network, prefix_len) = ipv4(&range.prefix)?;
        let substitute = range.substitute.as_ref().and_then(ipv4);
        Some(Range { network, prefix_len, advertise: range.advertise, cost: range.cost, substitute })
    });
    let nssa_ranges = area.nssa_ranges.iter().filter_map(|range| {
        let (network, prefix_len) = ipv4(&range.prefix)?;
        Some(ExternalRange { network, prefix_len, advertise: range.advertise, cost: range.cost, tag: 0 })
    });
    let links = area.virtual_links.iter();
    let links = links.map(|(router, link)| (*router, timers(conf, link, area.authentication.as_ref())));
    AreaConfig {
        kind,
        default_cost: area.default_cost.unwrap_or(AreaConfig::default().default_cost),
        ranges: ranges.collect(),
        nssa_ranges: nssa_ranges.collect(),
        filters_in: filters(conf, area.filter_in.as_ref(), area.import_list.as_ref()),
        filters_out: filters(conf, area.filter_out.as_ref(), area.export_list.as_ref()),
        virtual_links: links.collect(),
    }
}

/// What a prefix list and an access list let pass.
fn filters(conf: &OspfConf, prefix_list: Option<&String>, access_list: Option<&String>) -> Vec<Filter> {
    let prefix_list = prefix_list.and_then(|name| conf.prefix_lists.get(name));
    let access_list = access_list.and_then(|name| conf.access_lists.get(name));
    let everything = (Ipv4Addr::UNSPECIFIED, 0);
    let rule = |rule: &PrefixRule| {
        let (network, prefix_len) = rule.prefix.as_ref().map_or(Some(everything), ipv4)?;
        Some(FilterRule { permit: rule.action == Action::Permit, network, prefix_len, lengths: rule.lengths })
    };
    let filter = |list: &PrefixList| Filter { rules: list.rules.values().filter_map(rule).collect() };
    prefix_list.into_iter().chain(access_list).map(filter).collect()
}

fn ipv4(prefix: &Prefix) -> Option<(Ipv4Addr, u8)> {
    match prefix.address {
        IpAddr::V4(network) => Some((network, prefix.length)),
        IpAddr::V6(_) => None,
    }
}

/// Interfaces with OSPF by index, and addresses that it has nothing to do with.
pub(crate) fn interfaces(
    conf: &OspfConf,
    links: Vec<Link>,
) -> (BTreeMap<u32, (Link, InterfaceConfig)>, Vec<Link>) {
    let mut with: BTreeMap<u32, (Link, InterfaceConfig)> = BTreeMap::new();
    let mut without = Vec::new();
    for link in links {
        match (interface_config(conf, &link), with.get_mut(&link.index)) {
            (Some(config), None) => drop(with.insert(link.index, (link, config))),
            (Some(config), Some((first, own))) if config.area == own.area => {
                let network = network_of(&link);
                if network != network_of(first) && !own.further_networks.contains(&network) {
                    own.further_networks.push(network);
                }
            }
            _ => without.push(link),
        }
    }
    (with, without)
}

/// What the file says about this interface; `None` when OSPF has nothing to do with it.
pub(crate) fn interface_config(conf: &OspfConf, link: &Link) -> Option<InterfaceConfig> {
    let none = OspfInterface::default();
    let own = conf.interfaces.iter().find(|interface| interface.name == link.name).unwrap_or(&none);
    let (area, origin) = match own.area {
        Some(area) => (area, String::new()),
        None => area_of(conf, link)?,
    };
    let named = |list: &[String]| list.contains(&link.name);
    let passive =
        own.passive || link.loopback || named(&conf.passive) || conf.passive_default && !named(&conf.active);
    let of_area = conf.areas.get(&area).and_then(|area| area.authentication.as_ref());
    let on_network = |address: Ipv4Addr| {
        Prefix::new(IpAddr::V4(link.address), link.prefix_len).is_ok_and(|p| p.contains(IpAddr::V4(address)))
    };
    let neighbours = conf.neighbours.iter().filter(|neighbour| on_network(neighbour.address));
    let neighbours = neighbours.map(|neighbour| StaticNeighbour {
        address: neighbour.address,
        priority: neighbour.priority,
        poll_interval: Duration::from_secs(u64::from(neighbour.poll_interval)),
    });
    let timers = timers(conf, own, of_area);
    // As in FRR it follows the hello interval.
    let dead_interval = own.dead_interval.unwrap_or(4 * u32::from(timers.hello_interval));
    let multiple = matches!(own.network, Some(NetworkKind::NonBroadcast | NetworkKind::PointToMultipoint));
    Some(InterfaceConfig {
        area,
        passive,
        neighbours: if multiple { neighbours.collect() } else { Vec::new() },
        origin,
        dead_interval,
        ..timers
    })
}

/// How often BFD's packets go to the neighbours on this interface; `None` when it has no sessions.
pub(crate) fn bfd_times(conf: &OspfConf, link: &Link) -> Option<bfd::Times> {
    let own = conf.interfaces.iter().find(|interface| interface.name == link.name)?;
    let profile = match own.bfd.as_ref()? {
        OspfBfd::Times(times) => *times,
        OspfBfd::Profile(name) => conf.bfd_profiles.get(name).copied().unwrap_or_default(),
    };
    let millis = |count: u32| Duration::from_millis(u64::from(count));
    Some(bfd::Times {
        multiplier: profile.multiplier,
        transmit: millis(profile.transmit),
        receive: millis(profile.receive),
    })
}

/// What is the same for interfaces and virtual links.
fn timers(conf: &OspfConf, own: &OspfInterface, of_area: Option<&AuthenticationKind>) -> InterfaceConfig {
    let defaults = InterfaceConfig::default();
    let seconds = |value: u16| Duration::from_secs(u64::from(value.max(1)));
    let reference = u64::from(conf.reference_bandwidth.unwrap_or(REFERENCE_BANDWIDTH)) * 1000;
    let by_bandwidth = own.bandwidth.map(|bandwidth| reference / u64::from(bandwidth.max(1)));
    let by_bandwidth = by_bandwidth.map(|cost| u16::try_from(cost.clamp(1, 65_535)).unwrap_or(u16::MAX));
    InterfaceConfig {
        network: own.network.map(|network| match network {
            NetworkKind::Broadcast => NetworkType::Broadcast,
            NetworkKind::NonBroadcast => NetworkType::NonBroadcast,
            NetworkKind::PointToMultipoint => NetworkType::PointToMultipoint,
            NetworkKind::PointToPoint => NetworkType::PointToPoint,
        }),
        cost: own.cost.or(by_bandwidth).unwrap_or(defaults.cost),
        bandwidth: own.bandwidth.map(|kbit| kbit / 1000),
        priority: own.priority.unwrap_or(defaults.priority),
        hello_interval: own.hello_interval.unwrap_or(defaults.hello_interval),
        dead_interval: own.dead_interval.unwrap_or(defaults.dead_interval),
        fast_hellos: own.hello_multiplier,
        retransmit_interval: own.retransmit_interval.map_or(defaults.retransmit_interval, seconds),
        transmit_delay: own.transmit_delay.unwrap_or(defaults.transmit_delay),
        mtu_ignore: own.mtu_ignore,
        ttl_security: own.ttl_security,
        prefix_suppression: own.prefix_suppression,
        authentication: authentication(conf, own, of_area),
        ..defaults
    }
}

fn authentication(
    conf: &OspfConf,
    own: &OspfInterface,
    of_area: Option<&AuthenticationKind>,
) -> Authentication {
    let secret = |secret: &coati_sadb::Secret| Secret::new(secret.expose().to_vec());
    match own.authentication.as_ref().or(of_area) {
        None | Some(AuthenticationKind::Null) => Authentication::None,
        Some(AuthenticationKind::Simple) => {
            let empty = coati_sadb::Secret::default();
            Authentication::Simple(secret(own.authentication_key.as_ref().unwrap_or(&empty)))
        }
        Some(AuthenticationKind::MessageDigest) => {
            let (send, accept) = (Lifetime::default(), Lifetime::default());
            let key = |(id, text): &(u8, coati_sadb::Secret)| {
                let algorithm = KeyAlgorithm::Md5;
                Key { id: *id, algorithm, secret: secret(text), send, accept }
            };
            Authentication::Cryptographic(own.digest_keys.iter().map(key).collect())
        }
        Some(AuthenticationKind::KeyChain { name, extended }) => {
            let keys =
                conf.key_chains.get(name).map(|chain| chain.keys.iter().map(|(id, key)| chain_key(*id, key)));
            let keys = keys.into_iter().flatten().collect();
            if *extended { Authentication::Extended(keys) } else { Authentication::Cryptographic(keys) }
        }
    }
}

fn chain_key(id: u8, key: &ChainKey) -> Key {
    let algorithm = match key.algorithm {
        ChainAlgorithm::Md5 => KeyAlgorithm::Md5,
        ChainAlgorithm::HmacSha1 => KeyAlgorithm::HmacSha1,
        ChainAlgorithm::HmacSha256 => KeyAlgorithm::HmacSha256,
        ChainAlgorithm::HmacSha384 => KeyAlgorithm::HmacSha384,
        ChainAlgorithm::HmacSha512 => KeyAlgorithm::HmacSha512,
    };
    let lifetime = |span: Option<(u64, Option<u64>)>| match span {
        Some((from, until)) => Lifetime { from: Some(from), until },
        None => Lifetime::default(),
    };
    let secret = Secret::new(key.secret.expose().to_vec());
    Key { id, algorithm, secret, send: lifetime(key.send), accept: lifetime(key.accept) }
}

/// The area of the most specific `network` line that covers the interface, and where it is written.
fn area_of(conf: &OspfConf, link: &Link) -> Option<(Ipv4Addr, String)> {
    // As in FRR, on an interface with another end it is that end's address which has to be covered.
    let address = IpAddr::V4(link.peer.unwrap_or(link.address));
    let covers = |prefix: &Prefix| prefix.contains(address) && prefix.length <= link.prefix_len;
    let lines = conf.networks.iter().filter(|network| covers(&network.prefix));
    let line = lines.max_by_key(|network| network.prefix.length)?;
    Some((line.area, line.place.to_string()))
}

/// `ospf router-id`, else the largest address, of loopback interfaces where they have any, as in FRR.
pub(crate) fn router_id(conf: &OspfConf, links: &[Link]) -> Option<Ipv4Addr> {
    let largest = || links.iter().map(|link| (link.loopback, link.address)).max();
    conf.router_id.or_else(|| largest().map(|(_, address)| address))
}

/// What is redistributed: networks of interfaces without OSPF, static routes of the file, routes of the kernel, and
/// the default route.
pub(crate) fn externals(
    conf: &OspfConf,
    others: &[Link],
    kernel: &[SystemRoute],
    fixed: &[SystemRoute],
) -> Vec<ExternalRoute> {
    let mut list = Vec::new();
    for rule in &conf.redistribute {
        let routes: Vec<(SystemRoute, &str)> = match rule.source {
            RouteSource::Connected => {
                others.iter().map(|link| (connected(link), link.name.as_str())).collect()
            }
            RouteSource::Static => fixed.iter().map(|route| (*route, "")).collect(),
            RouteSource::Kernel => kernel.iter().map(|route| (*route, "")).collect(),
        };
        let metric = rule.metric.or(conf.default_metric).unwrap_or(EXTERNAL_METRIC);
        let map = rule.route_map.as_deref();
        let list_name = conf.distribute_lists.iter().find(|(source, _)| *source == rule.source);
        let chosen = list_name.map(|(_, name)| conf.access_lists.get(name));
        let passes =
            |route: &SystemRoute| match (&chosen, Prefix::new(IpAddr::V4(route.network), route.prefix_len)) {
                (None, _) => true,
                (Some(Some(list)), Ok(prefix)) => list.permits(&prefix),
                _ => false,
            };
        // A default route is for `default-information originate` alone.
        let routes = routes.into_iter().filter(|(route, _)| route.prefix_len > 0 && passes(route));
        list.extend(routes.filter_map(|(route, name)| external(conf, &route, name, metric, rule.type2, map)));
    }
    if let Some(rule) = &conf.default_information {
        let own = kernel.iter().chain(fixed).copied().find(|route| route.prefix_len == 0);
        let nowhere = SystemRoute { network: Ipv4Addr::UNSPECIFIED, prefix_len: 0, gateway: None, tag: 0 };
        let default = if rule.always { Some(nowhere) } else { own };
        let usual = if rule.always { ALWAYS_METRIC } else { DEFAULT_ROUTE_METRIC };
        let metric = rule.metric.or(conf.default_metric).unwrap_or(usual);
        let map = rule.route_map.as_deref();
        list.extend(default.and_then(|route| external(conf, &route, "", metric, rule.type2, map)));
    }
    list
}

/// The network of an interface's address, with the length of its prefix.
pub(crate) fn network_of(link: &Link) -> (Ipv4Addr, u8) {
    let network = Prefix::new(IpAddr::V4(link.address), link.prefix_len).ok().map(|prefix| prefix.network());
    let network = network.as_ref().and_then(ipv4).map_or(link.address, |(network, _)| network);
    (network, link.prefix_len)
}

fn connected(link: &Link) -> SystemRoute {
    let (network, prefix_len) = network_of(link);
    SystemRoute { network, prefix_len, gateway: None, tag: 0 }
}

fn external(
    conf: &OspfConf,
    route: &SystemRoute,
    interface: &str,
    metric: u32,
    type2: bool,
    map: Option<&str>,
) -> Option<ExternalRoute> {
    let SystemRoute { network, prefix_len, gateway, tag } = *route;
    let mut external = ExternalRoute { network, prefix_len, type2, metric, tag, gateway };
    if let Some(map) = map {
        let prefix = Prefix::new(IpAddr::V4(network), prefix_len).ok()?;
        let entry = conf.route_maps.get(map)?.takes(conf, &prefix, interface, tag)?;
        external.metric = entry.set_metric.unwrap_or(metric);
        external.type2 = entry.set_type2.unwrap_or(type2);
        external.tag = entry.set_tag.unwrap_or(tag);
    }
    Some(external)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::StaticRoutes;

    fn link(name: &str, address: &str, prefix_len: u8, peer: Option<&str>) -> Link {
        Link {
            index: 3,
            name: name.into(),
            address: address.parse().unwrap(),
            prefix_len,
            peer: peer.map(|peer| peer.parse().unwrap()),
            mtu: 1400,
            speed: None,
            point_to_point: peer.is_some(),
            loopback: false,
        }
    }

    fn conf(text: &str) -> OspfConf {
        coati_config::ospfd::parse(&coati_config::Source::new("ospfd.conf", text)).0
    }

    #[test]
    fn network_lines() {
        let conf = conf(
            "router ospf\n network 203.0.113.0/30 area 0\n network 10.0.0.0/8 area 1\n network 10.1.0.0/24 area 0\n \
             passive-interface em1\n",
        );
        let tunnel = link("gre0", "203.0.113.1", 30, Some("203.0.113.2"));
        let found = interface_config(&conf, &tunnel).unwrap();
        assert_eq!((found.area, found.passive), (Ipv4Addr::UNSPECIFIED, false));
        assert_eq!(found.origin, "ospfd.conf:2:2");
        let lan = link("em1", "10.1.0.1", 24, None);
        let found = interface_config(&conf, &lan).unwrap();
        assert_eq!((found.area, found.passive), (Ipv4Addr::UNSPECIFIED, true));
        let other = link("em2", "10.9.0.1", 24, None);
        assert_eq!(interface_config(&conf, &other).unwrap().area, Ipv4Addr::new(0, 0, 0, 1));
        assert!(interface_config(&conf, &link("em0", "192.0.2.1", 24, None)).is_none());
        // Wider than the line.
        assert!(interface_config(&conf, &link("em3", "203.0.113.1", 24, None)).is_none());
    }

    #[test]
    fn areas_and_keys() {
        let conf = conf(
            "key chain K\n key 1\n  key-string geheim\n  cryptographic-algorithm hmac-sha-256\n  send-lifetime 00:00:00 \
             1 January 2026 duration 60\nexit\ninterface em1\n ip ospf area 1\n ip ospf authentication key-chain K\n\
             interface em2\n ip ospf area 2\n ip ospf message-digest-key 3 md5 x\n\
             interface em3\n ip ospf area 3\n ip ospf authentication key-chain K extended-sequence\nrouter ospf\n area 1 stub no-summary\n \
             area 2 authentication message-digest\n area 2 range 10.0.0.0/8 cost 5\n area 2 virtual-link 1.1.1.1\n area 3 \
             nssa translate-always\n max-metric router-lsa on-startup 60\n timers throttle spf 10 20 30\n",
        );
        let config = engine_config(&conf, Ipv4Addr::LOCALHOST);
        let area = |number: u8| &config.areas[&Ipv4Addr::new(0, 0, 0, number)];
        assert_eq!(area(1).kind, AreaKind::Stub { summaries: false });
        assert_eq!(area(2).ranges[0].cost, Some(5));
        assert!(area(2).virtual_links.contains_key(&Ipv4Addr::new(1, 1, 1, 1)));
        assert!(matches!(area(3).kind, AreaKind::Nssa(Nssa { translate: Translate::Always, .. })));
        assert_eq!(config.spf_times.longest, Duration::from_millis(30));
        assert_eq!(config.stub_router.on_startup, Some(Duration::from_secs(60)));
        let found = interface_config(&conf, &link("em1", "10.1.0.1", 24, None)).unwrap();
        let Authentication::Cryptographic(keys) = &found.authentication else { panic!("{found:?}") };
        assert_eq!((keys[0].id, keys[0].algorithm), (1, KeyAlgorithm::HmacSha256));
        assert_eq!(keys[0].send, Lifetime { from: Some(1_767_225_600), until: Some(1_767_225_660) });
        let found = interface_config(&conf, &link("em2", "10.2.0.1", 24, None)).unwrap();
        assert!(matches!(&found.authentication, Authentication::Cryptographic(keys) if keys[0].id == 3));
        let found = interface_config(&conf, &link("em3", "10.3.0.1", 24, None)).unwrap();
        assert!(matches!(&found.authentication, Authentication::Extended(keys) if keys[0].id == 1));
    }

    #[test]
    fn redistribution() {
        let conf = conf(
            "ip prefix-list P seq 5 permit 10.0.0.0/8 le 24\nroute-map M permit 10\n match ip address prefix-list P\n set \
             metric 7\n set tag 9\nexit\nip route 10.5.0.0/16 192.0.2.9\nip route 172.16.0.0/12 192.0.2.9\nip route 0.0.0.0/0 \
             192.0.2.9\nrouter ospf\n redistribute static route-map M\n redistribute connected metric-type 1\n \
             default-information originate\n",
        );
        let lan = link("em0", "192.0.2.1", 24, None);
        let fixed = StaticRoutes::find(&conf, &[lan], |_, _| None).0.for_ospf();
        let found = externals(&conf, &[link("em3", "192.168.1.1", 24, None)], &[], &fixed);
        let brief: Vec<_> = found.iter().map(|r| (r.network.to_string(), r.metric, r.tag, r.type2)).collect();
        let expected = [("10.5.0.0", 7, 9, true), ("192.168.1.0", 20, 0, false), ("0.0.0.0", 10, 0, true)];
        assert_eq!(
            brief,
            expected.map(|(network, metric, tag, type2)| (network.to_owned(), metric, tag, type2))
        );
    }

    #[test]
    fn lists() {
        let conf = conf(
            "ip route 10.1.0.0/16 192.0.2.9\nip route 10.2.0.0/16 192.0.2.9\naccess-list A deny 10.1.0.0/16\naccess-list A \
             permit any\nip prefix-list P permit 10.0.0.0/8 le 16\nrouter ospf\n redistribute static\n redistribute \
             kernel\n distribute-list A out static\n area 1 filter-list prefix P in\n area 1 import-list A\n \
             summary-address 172.16.0.0/12 tag 4\n area 1 nssa range 10.0.0.0/8 cost 5\n timers lsa min-arrival 0\n",
        );
        let route = |network| SystemRoute { network, prefix_len: 16, gateway: None, tag: 0 };
        let kernel = [route(Ipv4Addr::new(10, 1, 0, 0))];
        let lan = link("em0", "192.0.2.1", 24, None);
        let fixed = StaticRoutes::find(&conf, &[lan], |_, _| None).0.for_ospf();
        let found = externals(&conf, &[], &kernel, &fixed);
        let found: Vec<Ipv4Addr> = found.iter().map(|route| route.network).collect();
        assert_eq!(found, [Ipv4Addr::new(10, 2, 0, 0), Ipv4Addr::new(10, 1, 0, 0)]);
        let config = engine_config(&conf, Ipv4Addr::LOCALHOST);
        let area = &config.areas[&Ipv4Addr::new(0, 0, 0, 1)];
        let passes = |network| area.filters_in.iter().all(|filter| filter.permits(network, 16));
        assert!(passes(Ipv4Addr::new(10, 2, 0, 0)) && !passes(Ipv4Addr::new(10, 1, 0, 0)));
        assert!(!passes(Ipv4Addr::new(11, 0, 0, 0)) && area.filters_out.is_empty());
        assert_eq!((area.nssa_ranges[0].cost, config.summary_addresses[0].tag), (Some(5), 4));
        assert_eq!(config.lsa_times.arrival, Duration::ZERO);
    }

    #[test]
    fn interface_blocks() {
        let conf = conf(
            "interface em1\n ip ospf area 0\n ip ospf network point-to-point\n ip ospf hello-interval 1\n ip ospf \
             dead-interval 4\n ip ospf cost 7\n ip ospf mtu-ignore\n!\nrouter ospf\n passive-interface default\n no \
             passive-interface em1\n",
        );
        let lan = link("em1", "10.1.0.1", 24, None);
        let found = interface_config(&conf, &lan).unwrap();
        assert_eq!(found.network, Some(NetworkType::PointToPoint));
        assert!(found.mtu_ignore && !found.passive);
        assert_eq!((found.hello_interval, found.dead_interval, found.cost), (1, 4, 7));
    }

    /// Tunnels do not know how fast they are: 10, as in FRR, by their bandwidth when that is said, or by hand.
    #[test]
    fn costs_of_tunnels() {
        for (lines, cost, bandwidth) in [
            ("", 10, None),
            (" bandwidth 20\n", 5, Some(20)),
            (" bandwidth 20\n ip ospf cost 7\n", 7, Some(20)),
            (" bandwidth 100000\n", 1, Some(100_000)),
        ] {
            let text = format!("interface gre0\n ip ospf area 0\n{lines}router ospf\n");
            let tunnel = link("gre0", "203.0.113.1", 30, Some("203.0.113.2"));
            let found = interface_config(&conf(&text), &tunnel).unwrap();
            assert_eq!((found.cost, found.bandwidth), (cost, bandwidth), "{lines}");
        }
        let slow = conf(
            "interface gre0\n ip ospf area 0\n bandwidth 20\nrouter ospf\n auto-cost reference-bandwidth 2000\n",
        );
        let found = interface_config(&slow, &link("gre0", "203.0.113.1", 30, Some("203.0.113.2"))).unwrap();
        assert_eq!(found.cost, 100);
    }

    /// As FRR 8.4.4 has it: hello 20 is dead 80.
    #[test]
    fn the_dead_interval_follows_the_hello_interval() {
        let conf = conf("interface em1\n ip ospf area 0\n ip ospf hello-interval 20\nrouter ospf\n");
        let found = interface_config(&conf, &link("em1", "10.1.0.1", 24, None)).unwrap();
        assert_eq!((found.hello_interval, found.dead_interval), (20, 80));
    }

    #[test]
    fn further_addresses() {
        let conf = conf("router ospf\n network 10.0.0.0/8 area 1\n network 172.16.0.0/12 area 2\n");
        let addresses = [
            ("192.0.2.1", 24),
            ("10.1.0.1", 24),
            ("10.1.0.7", 24),
            ("10.2.0.1", 16),
            ("10.2.0.9", 16),
            ("172.16.0.1", 16),
        ];
        let links = addresses.map(|(address, length)| link("em1", address, length, None));
        let (with, without) = interfaces(&conf, links.to_vec());
        // The first one that OSPF is told to speak with, and others of its area as networks.
        assert_eq!(with.values().map(|(link, _)| link.address).collect::<Vec<_>>(), [links[1].address]);
        assert_eq!(with[&3].1.further_networks, [(Ipv4Addr::new(10, 2, 0, 0), 16)]);
        assert_eq!(without, [links[0].clone(), links[5].clone()]);
    }

    #[test]
    fn loopback_interfaces() {
        let conf = conf("router ospf\n network 10.0.0.0/8 area 1\n");
        let lo = Link { loopback: true, ..link("lo", "10.255.0.1", 32, None) };
        let lan = link("em1", "192.168.9.1", 24, None);
        let links = [lo.clone(), lan];
        // As in FRR: a loopback address names the router, however small it is.
        assert_eq!(router_id(&conf, &links), Some(Ipv4Addr::new(10, 255, 0, 1)));
        let found = interface_config(&conf, &lo).unwrap();
        assert!(found.passive && found.area == Ipv4Addr::new(0, 0, 0, 1));
    }
}
