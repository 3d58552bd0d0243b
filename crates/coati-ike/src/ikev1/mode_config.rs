//! Mode config: what a client asks for and a server gives (draft-ietf-ipsec-isakmp-mode-cfg, draft-dukes-ike-mode-cfg;
//! the Cisco Unity attributes for routes and names), and the pool that addresses come from.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use coati_wire::isakmp::{Attribute, AttributeValue};

use crate::remote_access::{ModeConfig, Network, Settings, Split};

/// Addresses in a pool at the most.
const MAX_POOL: u32 = 1 << 16;
/// Networks and names that are taken from a server.
const MAX_ENTRIES: usize = 256;
/// Longest text that is taken from a server.
const MAX_TEXT: usize = 2048;

mod class {
    pub(super) const ADDRESS: u16 = 1;
    pub(super) const NETMASK: u16 = 2;
    pub(super) const DNS: u16 = 3;
    pub(super) const NBNS: u16 = 4;
    pub(super) const APPLICATION_VERSION: u16 = 7;
    pub(super) const BANNER: u16 = 28_672;
    pub(super) const SAVE_PASSWD: u16 = 28_673;
    pub(super) const DEF_DOMAIN: u16 = 28_674;
    pub(super) const SPLIT_DNS: u16 = 28_675;
    pub(super) const SPLIT_INCLUDE: u16 = 28_676;
    pub(super) const LOCAL_LAN: u16 = 28_678;
    pub(super) const PFS: u16 = 28_679;
}

/// What a client asks for.
pub(super) fn questions() -> Vec<Attribute> {
    let asked = [
        class::ADDRESS,
        class::NETMASK,
        class::DNS,
        class::NBNS,
        class::BANNER,
        class::DEF_DOMAIN,
        class::SPLIT_DNS,
        class::SPLIT_INCLUDE,
        class::LOCAL_LAN,
    ];
    asked.into_iter().map(|class| Attribute { class, value: AttributeValue::Long(Vec::new()) }).collect()
}

/// A server's answers, in the order of the questions, each class once.
pub(super) fn answers(config: &ModeConfig, address: Option<Ipv4Addr>, asked: &[Attribute]) -> Vec<Attribute> {
    let mut list = Vec::new();
    let mut done = BTreeSet::new();
    for question in asked {
        let class = question.class;
        if !done.insert(class) {
            continue;
        }
        let long = |bytes: Vec<u8>| Attribute { class, value: AttributeValue::Long(bytes) };
        let addresses =
            |given: &[Ipv4Addr]| given.iter().map(|one| long(one.octets().to_vec())).collect::<Vec<_>>();
        match class {
            class::ADDRESS => list.extend(addresses(address.as_slice())),
            class::NETMASK => {
                list.extend(addresses(config.netmask4.filter(|_| address.is_some()).as_slice()))
            }
            class::DNS => list.extend(addresses(&config.dns4)),
            class::NBNS => list.extend(addresses(&config.wins4)),
            class::APPLICATION_VERSION => list.push(long(b"Coati".to_vec())),
            class::BANNER => list.extend(config.banner.iter().map(|text| long(text.as_bytes().to_vec()))),
            class::SAVE_PASSWD => {
                let value = AttributeValue::Short(u16::from(config.save_passwd));
                list.push(Attribute { class, value });
            }
            class::PFS if config.pfs_group != 0 => {
                list.push(Attribute { class, value: AttributeValue::Short(config.pfs_group) });
            }
            class::DEF_DOMAIN => {
                list.extend(config.default_domain.iter().map(|text| long(text.as_bytes().to_vec())));
            }
            class::SPLIT_DNS if !config.split_dns.is_empty() => {
                list.push(long(config.split_dns.join(",").into_bytes()));
            }
            class::SPLIT_INCLUDE => {
                if let Split::Include(networks) = &config.split {
                    list.push(long(networks.iter().flat_map(entry).collect()));
                }
            }
            class::LOCAL_LAN => {
                if let Split::LocalLan(networks) = &config.split {
                    list.push(long(networks.iter().flat_map(entry).collect()));
                }
            }
            _ => {}
        }
    }
    list
}

/// A network as Unity writes it: address, mask, six bytes for protocol and ports.
fn entry(network: &Network) -> Vec<u8> {
    [&network.address.octets()[..], &network.mask.octets(), &[0; 6]].concat()
}

/// What a server has given or set.
pub(super) fn settings(list: &[Attribute]) -> Settings {
    let mut settings = Settings::default();
    for attribute in list {
        let AttributeValue::Long(bytes) = &attribute.value else { continue };
        let address = || <[u8; 4]>::try_from(bytes.as_slice()).ok().map(Ipv4Addr::from);
        match attribute.class {
            class::ADDRESS => settings.address = address().or(settings.address),
            class::NETMASK => settings.netmask = address().or(settings.netmask),
            class::DNS if settings.dns.len() < MAX_ENTRIES => settings.dns.extend(address()),
            class::NBNS if settings.wins.len() < MAX_ENTRIES => settings.wins.extend(address()),
            class::BANNER => settings.banner = Some(text(bytes)),
            class::DEF_DOMAIN => settings.default_domain = Some(text(bytes)).filter(|text| !text.is_empty()),
            class::SPLIT_DNS => {
                let names = text(bytes);
                let names = names.split([',', ' ']).filter(|name| !name.is_empty()).map(str::to_owned);
                settings.split_dns.extend(names.take(MAX_ENTRIES));
                settings.split_dns.truncate(MAX_ENTRIES);
            }
            class::SPLIT_INCLUDE => take_networks(&mut settings.split_include, bytes),
            class::LOCAL_LAN => take_networks(&mut settings.split_local, bytes),
            _ => {}
        }
    }
    settings
}

/// Text of a peer, for an environment or a screen: nothing in it controls anything.
fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes.get(..bytes.len().min(MAX_TEXT)).unwrap_or(&[]));
    text.chars().filter(|letter| !letter.is_control() || *letter == '\n').collect()
}

fn take_networks(list: &mut Vec<Network>, bytes: &[u8]) {
    for entry in bytes.chunks_exact(14).take(MAX_ENTRIES.saturating_sub(list.len())) {
        let part = |range: std::ops::Range<usize>| {
            let octets = entry.get(range).and_then(|octets| <[u8; 4]>::try_from(octets).ok());
            octets.map(Ipv4Addr::from)
        };
        if let (Some(address), Some(mask)) = (part(0..4), part(4..8)) {
            list.push(Network { address, mask });
        }
    }
}

/// Whose address it is: somebody who comes back gets the same.
type Holder = (IpAddr, Option<String>);

/// The addresses that are given out.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    given: BTreeMap<Ipv4Addr, Lease>,
}

#[derive(Debug)]
struct Lease {
    holder: Holder,
    /// The ISAKMP SAs it is for.
    sas: BTreeSet<u64>,
}

impl Leases {
    /// The first and the last address that may be given out.
    pub(super) fn pool(config: &ModeConfig) -> Option<(Ipv4Addr, Ipv4Addr)> {
        let first = config.network4?;
        let more = config.pool_size.min(MAX_POOL).checked_sub(1)?;
        Some((first, Ipv4Addr::from(u32::from(first).saturating_add(more))))
    }

    /// An address for this ISAKMP SA; `None` when the pool is empty.
    pub(super) fn take(&mut self, config: &ModeConfig, sa: u64, holder: Holder) -> Option<Ipv4Addr> {
        let (first, last) = Self::pool(config)?;
        let known =
            self.given.iter_mut().find(|(_, lease)| lease.holder == holder || lease.sas.contains(&sa));
        if let Some((address, lease)) = known {
            lease.sas.insert(sa);
            return Some(*address);
        }
        let pool = u32::from(first)..=u32::from(last);
        let free = pool.map(Ipv4Addr::from).find(|address| !self.given.contains_key(address))?;
        self.given.insert(free, Lease { holder, sas: BTreeSet::from([sa]) });
        Some(free)
    }

    /// The ISAKMP SA is gone.
    pub(crate) fn free(&mut self, sa: u64) {
        self.given.retain(|_, lease| {
            lease.sas.remove(&sa);
            !lease.sas.is_empty()
        });
    }

    /// The address that this ISAKMP SA's peer was given.
    pub(crate) fn of(&self, sa: u64) -> Option<Ipv4Addr> {
        self.given.iter().find(|(_, lease)| lease.sas.contains(&sa)).map(|(address, _)| *address)
    }

    /// How many addresses are given out.
    pub(crate) fn len(&self) -> usize {
        self.given.len()
    }
}

#[cfg(test)]
mod tests {
    use coati_wire::isakmp::Configuration;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_given_is_what_is_taken() {
        let net =
            |text: &str| Network { address: text.parse().unwrap(), mask: "255.255.0.0".parse().unwrap() };
        let config = ModeConfig {
            netmask4: Some("255.255.255.0".parse().unwrap()),
            dns4: vec!["10.0.0.2".parse().unwrap(), "10.0.0.3".parse().unwrap()],
            wins4: vec!["10.0.0.4".parse().unwrap()],
            default_domain: Some("example.org".into()),
            split_dns: vec!["a.example.org".into(), "b.example.org".into()],
            split: Split::Include(vec![net("10.1.0.0"), net("10.2.0.0")]),
            banner: Some("Welcome\n".into()),
            ..ModeConfig::default()
        };
        let given = settings(&answers(&config, Some("10.0.0.9".parse().unwrap()), &questions()));
        assert_eq!(given.dns, config.dns4);
        assert_eq!(given.split_dns, config.split_dns);
        let environment = given.environment();
        let value =
            |name| environment.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
        assert_eq!(value("INTERNAL_ADDR4"), Some("10.0.0.9"));
        assert_eq!(value("INTERNAL_CIDR4"), Some("24"));
        assert_eq!(value("INTERNAL_DNS4_LIST"), Some("10.0.0.2 10.0.0.3"));
        assert_eq!(value("SPLIT_INCLUDE"), Some("10.1.0.0/255.255.0.0 10.2.0.0/255.255.0.0"));
        assert_eq!(value("SPLIT_INCLUDE_CIDR"), Some("10.1.0.0/16 10.2.0.0/16"));
        assert_eq!(value("SPLIT_LOCAL"), None);
    }

    #[test]
    fn the_pool_ends_and_what_is_freed_comes_back() {
        let config = ModeConfig {
            network4: Some("10.0.0.254".parse().unwrap()),
            pool_size: 3,
            ..ModeConfig::default()
        };
        let mut leases = Leases::default();
        let holder = |n: u8| (IpAddr::from([192, 0, 2, n]), None);
        let given: Vec<_> = (0..4).map(|n| leases.take(&config, u64::from(n), holder(n))).collect();
        assert_eq!(given[2], Some("10.0.1.0".parse().unwrap()));
        assert_eq!(given[3], None);
        // The same one again, for its next ISAKMP SA.
        assert_eq!(leases.take(&config, 9, holder(1)), given[1]);
        leases.free(1);
        assert_eq!((leases.len(), leases.take(&config, 3, holder(3))), (3, None));
        leases.free(9);
        assert_eq!(leases.take(&config, 3, holder(3)), given[1]);
    }

    proptest! {
        #[test]
        fn hostile_answers(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(payload) = Configuration::parse(&bytes) {
                let given = settings(&payload.attributes);
                let harmless = given.environment().iter().all(|(_, value)| !value.contains(['\0', '\r', '\u{1b}']));
                prop_assert!(harmless);
                let _ = answers(&ModeConfig::default(), None, &payload.attributes);
            }
        }
    }
}
