//! Routes for the kernel's table: of several to one destination, OSPF's and the static ones of the file, that with the
//! smallest distance, as zebra chooses.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use coati_config::Origin;
use coati_config::ospfd::{OspfConf, StaticHop, StaticRoute};
use coati_ospf as ospf;
use coati_sadb::Prefix;

use crate::ospf_config::{SystemRoute, network_of};

/// What OSPF's routes have when the file says nothing.
pub(crate) const OSPF_DISTANCE: u8 = 110;
/// A route with this distance is not used.
pub(crate) const UNUSABLE: u8 = u8::MAX;

/// Who brought a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RouteOrigin {
    /// OSPF.
    Ospf,
    /// `ip route` in the file.
    Static,
}

impl RouteOrigin {
    /// As FRR names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ospf => "ospf",
            Self::Static => "static",
        }
    }
}

/// A route for the kernel's table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelRoute {
    /// Destination network.
    pub network: Ipv4Addr,
    /// Length of its prefix.
    pub prefix_len: u8,
    /// Next hops with their interfaces' indexes; several are used together, and 0.0.0.0 is an interface without a
    /// gateway. Without any, what goes there is thrown away: it lies in an area range and is not reachable, or a static
    /// route says so.
    pub gateways: Vec<(Ipv4Addr, u32)>,
    /// Who brought it.
    pub origin: RouteOrigin,
    /// Administrative distance.
    pub distance: u8,
}

/// The static routes that can be used, by destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StaticRoutes {
    routes: BTreeMap<(Ipv4Addr, u8), Fixed>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fixed {
    pub(crate) route: KernelRoute,
    tag: u32,
    /// Where the first of its lines is.
    pub(crate) origin: Origin,
}

/// Next hops, each with its interface.
type Hops = Vec<(Ipv4Addr, u32)>;

impl StaticRoutes {
    /// Those of the file that lead somewhere, with the interfaces as they are; and why others do not. Of several to one
    /// destination those with the smallest distance are used, together. `beyond` gives OSPF's best route to a gateway that
    /// is on no network of ours, but not that to the destination itself.
    pub(crate) fn find(
        conf: &OspfConf,
        links: &[ospf::Link],
        beyond: impl Fn(Ipv4Addr, (Ipv4Addr, u8)) -> Option<KernelRoute>,
    ) -> (Self, Vec<String>) {
        let (mut found, mut problems) = (Self::default(), Vec::new());
        let usable = || conf.static_routes.iter().filter(|route| route.distance < UNUSABLE);
        let mut far = Vec::new();
        for route in usable() {
            match hop(route, links) {
                Ok(Some(hops)) => found.add(route, hops),
                Ok(None) => far.push(route),
                Err(why) => problems.push(not_used(route, &why)),
            }
        }
        // Gateways that OSPF leads to, or one of the routes above.
        let near = found.clone();
        for route in far {
            let (StaticHop::By { gateway: Some(gateway), .. }, Some(to)) = (&route.hop, ipv4(&route.prefix))
            else {
                continue;
            };
            // The longest, and of those the one that is used.
            let ways = near.way_to(*gateway, to).into_iter().chain(beyond(*gateway, to));
            let way = ways.min_by_key(|way| (u8::MAX - way.prefix_len, way.distance));
            match way.filter(|way| !way.gateways.is_empty()) {
                Some(way) => {
                    // Where there is an interface alone, it is on that.
                    let hop = |(by, index): &(Ipv4Addr, u32)| {
                        (if by.is_unspecified() { *gateway } else { *by }, *index)
                    };
                    found.add(route, way.gateways.iter().map(hop).collect());
                }
                None => {
                    let why = format!(
                        "neither a network of an interface that is up nor another route has {gateway}"
                    );
                    problems.push(not_used(route, &why));
                }
            }
        }
        (found, problems)
    }

    fn add(&mut self, route: &StaticRoute, gateways: Hops) {
        let Some(destination) = ipv4(&route.prefix) else { return };
        let new = KernelRoute {
            network: destination.0,
            prefix_len: destination.1,
            gateways,
            origin: RouteOrigin::Static,
            distance: route.distance,
        };
        match self.routes.get_mut(&destination) {
            Some(known) if known.route.distance < new.distance => {}
            Some(known) if known.route.distance == new.distance => {
                let more = new.gateways.into_iter().filter(|hop| !known.route.gateways.contains(hop));
                let more: Vec<_> = more.collect();
                known.route.gateways.extend(more);
            }
            _ => {
                let fixed = Fixed { route: new, tag: route.tag, origin: route.origin.clone() };
                self.routes.insert(destination, fixed);
            }
        }
    }

    /// Which of these leads to a gateway, that to `besides` left out.
    fn way_to(&self, gateway: Ipv4Addr, besides: (Ipv4Addr, u8)) -> Option<KernelRoute> {
        let others = networks_of(gateway).filter(|network| *network != besides);
        others.filter_map(|(network, length)| self.get(network, length)).next().cloned()
    }

    pub(crate) fn get(&self, network: Ipv4Addr, prefix_len: u8) -> Option<&KernelRoute> {
        self.routes.get(&(network, prefix_len)).map(|fixed| &fixed.route)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Fixed> {
        self.routes.values()
    }

    /// Destinations whose routes are not the same in `other`.
    pub(crate) fn different(&self, other: &Self) -> Vec<(Ipv4Addr, u8)> {
        let both = self.routes.keys().chain(other.routes.keys());
        let changed = both.filter(|key| self.routes.get(key) != other.routes.get(key));
        changed.copied().collect::<std::collections::BTreeSet<_>>().into_iter().collect()
    }

    /// What may be redistributed.
    pub(crate) fn for_ospf(&self) -> Vec<SystemRoute> {
        let route = |Fixed { route, tag, .. }: &Fixed| SystemRoute {
            network: route.network,
            prefix_len: route.prefix_len,
            gateway: route.gateways.first().map(|(gateway, _)| *gateway).filter(|g| !g.is_unspecified()),
            tag: *tag,
        };
        self.routes.values().map(route).collect()
    }
}

fn not_used(route: &StaticRoute, why: &str) -> String {
    format!("{}: `ip route {} …` is not used: {why}", route.origin, route.prefix)
}

/// The networks that an address is in, the smallest first, without the default route: nothing is found by that.
pub(crate) fn networks_of(address: Ipv4Addr) -> impl Iterator<Item = (Ipv4Addr, u8)> {
    (1..=32u8).rev().map(move |length| {
        let mask = u32::MAX << (32 - u32::from(length));
        (Ipv4Addr::from_bits(address.to_bits() & mask), length)
    })
}

/// Whether an interface leads to an address by itself.
fn has(link: &ospf::Link, address: Ipv4Addr) -> bool {
    let (network, prefix_len) = network_of(link);
    let network = Prefix::new(IpAddr::V4(network), prefix_len);
    link.peer == Some(address) || network.is_ok_and(|network| network.contains(IpAddr::V4(address)))
}

/// Whether static routes have gateways that no interface leads to by itself, so that they depend on other routes.
pub(crate) fn has_far_gateways(conf: &OspfConf, links: &[ospf::Link]) -> bool {
    conf.static_routes.iter().any(|route| match &route.hop {
        StaticHop::By { gateway: Some(gateway), interface: None } => {
            !links.iter().any(|link| has(link, *gateway))
        }
        _ => false,
    })
}

/// The next hops of a static route, without any when what goes there is thrown away; none when no network of an interface
/// has its gateway.
fn hop(route: &StaticRoute, links: &[ospf::Link]) -> Result<Option<Hops>, String> {
    let StaticHop::By { gateway, interface } = &route.hop else { return Ok(Some(Vec::new())) };
    let named = |link: &&ospf::Link| interface.as_ref().is_none_or(|name| *name == link.name);
    if let Some(name) = interface
        && !links.iter().any(|link| named(&link))
    {
        return Err(format!("{name} is not up, or has no address"));
    }
    let Some(gateway) = gateway else {
        let link = links.iter().find(named);
        return Ok(link.map(|link| vec![(Ipv4Addr::UNSPECIFIED, link.index)]));
    };
    if links.iter().any(|link| link.address == *gateway) {
        return Err(format!("{gateway} is an address of this router itself"));
    }
    match (links.iter().filter(named).find(|link| has(link, *gateway)), interface) {
        (Some(link), _) => Ok(Some(vec![(*gateway, link.index)])),
        (None, Some(name)) => Err(format!("no network of {name} has {gateway}")),
        (None, None) => Ok(None),
    }
}

/// The distance of a route of OSPF's: by its neighbour, by its kind, of all.
pub(crate) fn ospf_distance(conf: &OspfConf, route: &ospf::Route) -> u8 {
    let distances = &conf.distances;
    let by_neighbour = distances.by_neighbour.iter().filter(|(neighbours, _)| {
        let via = route.next_hops.iter().filter_map(|hop| hop.via);
        via.map(IpAddr::V4).any(|via| neighbours.contains(via))
    });
    let by_kind = match route.kind {
        ospf::RouteKind::IntraArea => distances.intra_area,
        ospf::RouteKind::InterArea => distances.inter_area,
        ospf::RouteKind::External1 { .. } | ospf::RouteKind::External2 { .. } => distances.external,
    };
    let by_neighbour =
        by_neighbour.max_by_key(|(neighbours, _)| neighbours.length).map(|(_, distance)| *distance);
    by_neighbour.or(by_kind).or(distances.all).unwrap_or(OSPF_DISTANCE)
}

fn ipv4(prefix: &Prefix) -> Option<(Ipv4Addr, u8)> {
    match prefix.address {
        IpAddr::V4(network) => Some((network, prefix.length)),
        IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str, address: [u8; 4], peer: Option<[u8; 4]>) -> ospf::Link {
        ospf::Link {
            index,
            name: name.into(),
            address: address.into(),
            prefix_len: if peer.is_some() { 32 } else { 24 },
            peer: peer.map(Ipv4Addr::from),
            mtu: 1400,
            speed: None,
            point_to_point: peer.is_some(),
            loopback: false,
        }
    }

    fn conf(text: &str) -> OspfConf {
        coati_config::ospfd::parse(&coati_config::Source::new("ospfd.conf", text)).0
    }

    /// By gateway, by interface, by both, nowhere; floating ones; those that lead nowhere now, and why.
    #[test]
    fn static_routes() {
        let conf = conf(
            "ip route 10.0.0.0/8 192.0.2.9\nip route 10.0.0.0/8 203.0.113.2\nip route 10.1.0.0/16 gre0\nip route 10.2.0.0/16 \
             198.51.100.1 10\nip route 10.2.0.0/16 Null0 250 tag 7\nip route 10.3.0.0/16 em9\nip route 10.4.0.0/16 192.0.2.9 \
             gre0\nip route 10.5.0.0/16 192.0.2.9 255\n",
        );
        let links =
            [link(2, "em0", [192, 0, 2, 1], None), link(3, "gre0", [203, 0, 113, 1], Some([203, 0, 113, 2]))];
        let (found, problems) = StaticRoutes::find(&conf, &links, |_, _| None);
        let brief: Vec<_> = found.iter().map(|f| brief(&f.route)).collect();
        let ten = |second| Ipv4Addr::new(10, second, 0, 0);
        let expected = [
            (ten(0), vec![([192, 0, 2, 9].into(), 2), ([203, 0, 113, 2].into(), 3)], 1),
            (ten(1), vec![(Ipv4Addr::UNSPECIFIED, 3)], 1),
            (ten(2), vec![], 250),
        ];
        assert_eq!(brief, expected);
        let expected = [
            "ospfd.conf:6:1: `ip route 10.3.0.0/16 …` is not used: em9 is not up, or has no address",
            "ospfd.conf:7:1: `ip route 10.4.0.0/16 …` is not used: no network of gre0 has 192.0.2.9",
            "ospfd.conf:4:1: `ip route 10.2.0.0/16 …` is not used: neither a network of an interface that is up nor another \
             route has 198.51.100.1",
        ];
        assert_eq!(problems, expected);
        assert_eq!(found.for_ospf().iter().map(|route| route.tag).collect::<Vec<_>>(), [0, 0, 7]);
        // em0 goes.
        let (without, _) = StaticRoutes::find(&conf, &links[1..], |_, _| None);
        assert_eq!(found.different(&without), [(ten(0), 8)]);
    }

    fn brief(route: &KernelRoute) -> (Ipv4Addr, Hops, u8) {
        (route.network, route.gateways.clone(), route.distance)
    }

    /// A gateway that another route leads to: one of the file, before OSPF's; never the route itself, nor the default route.
    #[test]
    fn gateways_beyond() {
        let conf = conf(
            "ip route 10.0.0.0/8 172.16.1.9\nip route 172.16.0.0/15 gre0\nip route 172.16.1.0/24 192.0.2.9\nip route 10.1.0.0/16 172.17.0.1\nip route \
             10.2.0.0/16 10.2.0.1\nip route 10.3.0.0/16 172.18.0.1\nip route 172.18.0.0/16 gre0\nip route 10.4.0.0/16 \
             192.0.2.1\nip route 0.0.0.0/0 192.0.2.9\nip route 10.5.0.0/16 8.8.8.8\nip route 10.6.0.0/16 172.19.0.1\nip \
             route 172.19.0.0/16 Null0\n",
        );
        let links =
            [link(2, "em0", [192, 0, 2, 1], None), link(3, "gre0", [203, 0, 113, 1], Some([203, 0, 113, 2]))];
        let far = Ipv4Addr::new(203, 0, 113, 2);
        let ospf = |gateway: Ipv4Addr, besides| {
            let known =
                [([172, 17, 0, 0], 16), ([10, 2, 0, 0], 16), ([172, 18, 0, 0], 15), ([172, 16, 1, 0], 24)]
                    .map(|(network, length)| (Ipv4Addr::from(network), length));
            let mut networks = networks_of(gateway).filter(|network| *network != besides);
            let (network, prefix_len) = networks.find(|network| known.contains(network))?;
            let (origin, distance) = (RouteOrigin::Ospf, OSPF_DISTANCE);
            Some(KernelRoute { network, prefix_len, gateways: vec![(far, 3)], origin, distance })
        };
        let (found, problems) = StaticRoutes::find(&conf, &links, ospf);
        let found: BTreeMap<_, _> =
            found.iter().map(|f| (f.route.network, f.route.gateways.clone())).collect();
        let near = Ipv4Addr::new(192, 0, 2, 9);
        for (network, hop) in [
            ([10, 0, 0, 0], (near, 2)),
            ([10, 1, 0, 0], (far, 3)),
            ([10, 3, 0, 0], (Ipv4Addr::new(172, 18, 0, 1), 3)),
        ] {
            assert_eq!(found.get(&network.into()), Some(&vec![hop]), "{network:?}");
        }
        let unused: Vec<_> = problems.iter().map(|text| text.split('`').nth(1).unwrap()).collect();
        let expected =
            ["10.4.0.0/16", "10.2.0.0/16", "10.5.0.0/16", "10.6.0.0/16"].map(|to| format!("ip route {to} …"));
        assert_eq!(unused, expected, "{problems:?}");
        assert!(problems[0].ends_with("192.0.2.1 is an address of this router itself"), "{problems:?}");
    }

    #[test]
    fn distances() {
        let conf = conf(
            "router ospf\n distance 120\n distance ospf external 200\n distance 130 192.0.2.0/24\n distance 140 192.0.2.9/32\n",
        );
        let route = |kind, via: [u8; 4]| ospf::Route {
            network: Ipv4Addr::new(10, 0, 0, 0),
            prefix_len: 8,
            cost: 10,
            kind,
            area: Ipv4Addr::UNSPECIFIED,
            next_hops: [ospf::NextHop { interface: 1, via: Some(via.into()) }].into(),
        };
        let outside = ospf::RouteKind::External2 { metric: 1, tag: 0 };
        for (kind, via, distance) in [
            (ospf::RouteKind::IntraArea, [198, 51, 100, 1], 120),
            (outside, [198, 51, 100, 1], 200),
            (outside, [192, 0, 2, 1], 130),
            (ospf::RouteKind::InterArea, [192, 0, 2, 9], 140),
        ] {
            assert_eq!(ospf_distance(&conf, &route(kind, via)), distance);
        }
        let usual = ospf_distance(&OspfConf::default(), &route(outside, [192, 0, 2, 1]));
        assert_eq!(usual, 110);
    }
}
