//! ospfd.conf as the OSPF engine wants it, for the interfaces that exist.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use coati_config::ospfd::{OspfConf, OspfInterface};
use coati_ospf::{InterfaceConfig, Link, NetworkType};
use coati_sadb::Prefix;

/// What the file says about this interface; `None` when OSPF has nothing to do with it.
pub(crate) fn interface_config(conf: &OspfConf, link: &Link) -> Option<InterfaceConfig> {
    let none = OspfInterface::default();
    let own = conf.interfaces.iter().find(|interface| interface.name == link.name).unwrap_or(&none);
    let (area, origin) = match own.area {
        Some(area) => (area, String::new()),
        None => area_of(conf, link)?,
    };
    let network = own.point_to_point.map(|point_to_point| match point_to_point {
        true => NetworkType::PointToPoint,
        false => NetworkType::Broadcast,
    });
    let named = |list: &[String]| list.contains(&link.name);
    let passive = own.passive || named(&conf.passive) || conf.passive_default && !named(&conf.active);
    let defaults = InterfaceConfig::default();
    Some(InterfaceConfig {
        area,
        network,
        cost: own.cost.unwrap_or(defaults.cost),
        hello_interval: own.hello_interval.unwrap_or(defaults.hello_interval),
        dead_interval: own.dead_interval.unwrap_or(defaults.dead_interval),
        retransmit_interval: own
            .retransmit_interval
            .map_or(defaults.retransmit_interval, |seconds| Duration::from_secs(u64::from(seconds.max(1)))),
        transmit_delay: defaults.transmit_delay,
        passive,
        mtu_ignore: own.mtu_ignore,
        origin,
        ..defaults
    })
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

/// `ospf router-id`, else the largest address.
pub(crate) fn router_id(conf: &OspfConf, links: &[Link]) -> Option<Ipv4Addr> {
    conf.router_id.or_else(|| links.iter().map(|link| link.address).max())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str, address: &str, prefix_len: u8, peer: Option<&str>) -> Link {
        Link {
            index: 3,
            name: name.into(),
            address: address.parse().unwrap(),
            prefix_len,
            peer: peer.map(|peer| peer.parse().unwrap()),
            mtu: 1400,
            point_to_point: peer.is_some(),
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
}
