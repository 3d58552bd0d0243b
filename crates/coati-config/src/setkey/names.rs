//! Names and numbers: hosts, services, and the protocols above IP.

use std::net::IpAddr;

use coati_sadb::Upper;

/// Where names are looked up. The texts are those of /etc/protocols and /etc/services; what they lack is known by itself,
/// or has to be written as a number.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// /etc/protocols.
    pub protocols: String,
    /// /etc/services.
    pub services: String,
    /// All addresses of a host; without it, hosts are named by address only.
    pub addresses: Option<fn(&str) -> Vec<IpAddr>>,
}

impl Names {
    /// The number of a protocol; that of IP itself is 0.
    pub(super) fn protocol(&self, name: &str) -> Option<u8> {
        let known = PROTOCOLS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        known
            .map(|(_, number)| *number)
            .or_else(|| entry(&self.protocols, name, |number| number.parse().ok()))
    }

    /// The port of a service: with this protocol, or with the first that has it.
    pub(super) fn service(&self, name: &str, protocol: Option<u8>) -> Option<u16> {
        let port = |field: &str, wanted: Option<u8>| {
            let (port, spoken) = field.split_once('/')?;
            let fits = wanted.is_none_or(|wanted| self.protocol(spoken) == Some(wanted));
            port.parse().ok().filter(|_| fits)
        };
        entry(&self.services, name, |field| port(field, protocol))
            .or_else(|| entry(&self.services, name, |field| port(field, None)))
    }
}

/// What the first line with this name, or with it among its other names, has in its second field.
fn entry<T>(text: &str, name: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
    text.lines().find_map(|line| {
        let mut words = line.split('#').next().unwrap_or("").split_whitespace();
        let (first, field) = (words.next()?, words.next()?);
        (first == name || words.any(|other| other == name)).then(|| read(field)).flatten()
    })
}

/// The protocols above IP by their usual names in /etc/protocols, the name that dumps show first, then what setkey(8) and
/// other systems call them.
const PROTOCOLS: [(&str, u8); 51] = [
    ("icmp", 1),
    ("igmp", 2),
    ("ggp", 3),
    ("ipencap", 4),
    ("st", 5),
    ("tcp", 6),
    ("egp", 8),
    ("igp", 9),
    ("pup", 12),
    ("udp", 17),
    ("hmp", 20),
    ("xns-idp", 22),
    ("rdp", 27),
    ("iso-tp4", 29),
    ("dccp", 33),
    ("ipv6", 41),
    ("ipv6-route", 43),
    ("ipv6-frag", 44),
    ("idrp", 45),
    ("rsvp", 46),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("skip", 57),
    ("ipv6-icmp", 58),
    ("ipv6-nonxt", 59),
    ("ipv6-opts", 60),
    ("vmtp", 81),
    ("eigrp", 88),
    ("ospf", 89),
    ("ax.25", 93),
    ("ipip", 94),
    ("etherip", 97),
    ("encap", 98),
    ("pim", 103),
    ("ipcomp", 108),
    ("vrrp", 112),
    ("l2tp", 115),
    ("isis", 124),
    ("sctp", 132),
    ("mobility-header", 135),
    ("udplite", 136),
    ("mpls-in-ip", 137),
    ("hip", 139),
    ("icmp6", ICMP6),
    ("ip4", 4),
    ("ip-encap", 4),
    ("mh", 135),
    ("carp", 112),
    ("ospfigp", 89),
    ("ip", 0),
];

pub(super) const GRE: u8 = 47;
pub(super) const ICMP: u8 = 1;
pub(super) const ICMP6: u8 = 58;

/// TCP, UDP, DCCP, SCTP, UDP-Lite.
pub(super) fn has_ports(protocol: u8) -> bool {
    [6, 17, 33, 132, 136].contains(&protocol)
}

/// Of whom a selector has type and code.
pub(super) fn has_types(protocol: u8) -> bool {
    protocol != GRE && Upper::Proto(protocol).has_numbers_of_its_own()
}

/// All names, for advice.
pub(super) fn protocol_names() -> Vec<&'static str> {
    PROTOCOLS.iter().map(|(name, _)| *name).chain(["any"]).collect()
}

/// The name that ipsec-tools' setkey prints for a protocol, from /etc/protocols; numbers that have none are printed as they
/// are, `any` as 255.
pub fn upper_name(upper: Upper) -> String {
    match upper {
        Upper::Any => "255".to_owned(),
        Upper::Proto(number) => PROTOCOLS
            .iter()
            .find(|(_, known)| *known == number)
            .map_or_else(|| number.to_string(), |(name, _)| (*name).to_owned()),
    }
}

/// The name that FreeBSD's own setkey prints.
pub fn upper_name_freebsd(upper: Upper) -> String {
    match upper {
        Upper::Any => "any".to_owned(),
        Upper::Proto(4) => "ip4".to_owned(),
        Upper::Proto(ICMP6) => "icmp6".to_owned(),
        other => upper_name(other),
    }
}
