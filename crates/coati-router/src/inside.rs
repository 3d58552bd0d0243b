//! Policies in tunnel mode for traffic that is not GRE's: networks behind both gateways, and road warriors' addresses.
//!
//! Their packets come by an interface of their own, to which routes lead that follow from the outbound policies. What no
//! policy is about is dropped there, never sent in clear.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use coati_config::racoon::GeneratePolicy;
use coati_config::site::Site;
use coati_ipsec::mtu::{OUTER_IPV4, OUTER_IPV6, inner_mtu};
use coati_sadb::{Action, AuthAlgorithm, Direction, EncAlgorithm, Policy, Rule, Upper};

/// Name of the interface.
pub const INSIDE: &str = "ipsec0";

/// A route to that interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InsideRoute {
    /// Network.
    pub network: Ipv4Addr,
    /// Length of its prefix.
    pub prefix_len: u8,
    /// What this host itself sends from: an address of its own that the policy is for.
    pub source: Option<Ipv4Addr>,
}

/// Outer addresses of an outbound policy in tunnel mode for other traffic than GRE's.
fn tunnel_of(policy: &Policy) -> Option<(IpAddr, IpAddr)> {
    let (Direction::Out, Action::Ipsec(rules)) = (policy.direction, &policy.action) else { return None };
    // Of tunnels in tunnels, the outermost one has the addresses that others see.
    let ends = rules.iter().rev().find_map(Rule::tunnel_ends);
    ends.filter(|_| policy.selector.upper != Upper::GRE)
}

/// Whether this site may need the interface: a policy wants it, or policies are made as peers ask for them.
pub fn needs_inside(site: &Site) -> bool {
    let generates = |racoon: &coati_config::racoon::RacoonConf| {
        racoon.remotes.iter().any(|remote| remote.generate_policy != GeneratePolicy::Off)
    };
    site.policies().any(|(policy, _)| tunnel_of(policy).is_some())
        || site.racoon.as_ref().is_some_and(generates)
}

/// Our outer addresses of the policies in tunnel mode.
pub fn tunnel_ends(site: &Site) -> BTreeSet<IpAddr> {
    site.policies().filter_map(|(policy, _)| tunnel_of(policy)).map(|(local, _)| local).collect()
}

/// The largest packet that fits through every tunnel, in bytes: by the algorithms that may be agreed upon and over UDP,
/// in outer packets of `outer_mtu`.
pub fn inside_mtu(site: &Site, outer_mtu: usize) -> usize {
    let outer = if tunnel_ends(site).iter().any(IpAddr::is_ipv6) { OUTER_IPV6 } else { OUTER_IPV4 };
    let infos = site.racoon.iter().flat_map(|racoon| &racoon.sainfos);
    let pairs = infos.flat_map(|info| {
        let ciphers = info.encryption.iter().filter_map(|cipher| cipher.sadb());
        ciphers.flat_map(|(cipher, _)| {
            let auths = info.authentication.iter().filter_map(|auth| auth.sadb());
            // Ciphers that authenticate take none; that there may be one makes the packet smaller only.
            auths
                .chain([AuthAlgorithm::None].into_iter().filter(move |_| cipher.is_aead()))
                .map(move |auth| (cipher, auth))
        })
    });
    let worst = [(EncAlgorithm::AesCbc, AuthAlgorithm::HmacSha512)];
    let mut mtus: Vec<usize> =
        pairs.map(|(enc, auth)| inner_mtu(outer_mtu, outer, 0, enc, auth, true)).collect();
    if mtus.is_empty() {
        mtus.extend(worst.map(|(enc, auth)| inner_mtu(outer_mtu, outer, 0, enc, auth, true)));
    }
    mtus.into_iter().min().unwrap_or(outer_mtu).max(576)
}

/// The routes that these policies want, and a sentence for each that cannot be had. `own` are the addresses of this host.
pub fn inside_routes(policies: &[Policy], own: &[Ipv4Addr]) -> (BTreeSet<InsideRoute>, Vec<String>) {
    let (mut routes, mut refused) = (BTreeSet::new(), Vec::new());
    for policy in policies {
        let Some((_, far_end)) = tunnel_of(policy) else { continue };
        let destination = policy.selector.destination.network();
        if destination.contains(far_end) {
            refused.push(format!(
                "no route to {destination}, which contains the tunnel's own end {far_end}: it would swallow the tunnel; \
                 write policies for the networks behind the peer"
            ));
            continue;
        }
        let IpAddr::V4(network) = destination.address else {
            refused.push(format!("no route to {destination} is made: add one to {INSIDE} by hand"));
            continue;
        };
        let source = own.iter().find(|address| policy.selector.source.contains(IpAddr::V4(**address)));
        let route = InsideRoute { network, prefix_len: destination.length, source: source.copied() };
        // Of several policies for one destination the first says where from.
        if !routes
            .iter()
            .any(|other: &InsideRoute| (other.network, other.prefix_len) == (network, route.prefix_len))
        {
            routes.insert(route);
        }
    }
    (routes, refused)
}

#[cfg(test)]
mod tests {
    use coati_config::Source;
    use coati_config::site::SiteFiles;

    use super::*;

    fn site(setkey: &str) -> Site {
        let setkey_conf = Some(Source::new("setkey.conf", setkey));
        Site::read(&SiteFiles { setkey_conf, ..SiteFiles::default() }).0
    }

    fn policies(site: &Site) -> Vec<Policy> {
        site.policies().map(|(policy, _)| policy.clone()).collect()
    }

    #[test]
    fn routes_follow_from_policies() {
        let site = site(
            "spdadd 10.1.0.0/16 10.2.0.0/16 any -P out ipsec esp/tunnel/192.0.2.1-198.51.100.1/require;
             spdadd 10.2.0.0/16 10.1.0.0/16 any -P in ipsec esp/tunnel/198.51.100.1-192.0.2.1/require;
             spdadd 10.1.0.0/16 10.2.0.0/16 tcp -P out ipsec esp/tunnel/192.0.2.1-198.51.100.1/require;
             spdadd 10.1.0.0/16 0.0.0.0/0 any -P out ipsec esp/tunnel/192.0.2.1-198.51.100.1/require;
             spdadd 192.0.2.1 198.51.100.1 gre -P out ipsec esp/tunnel/192.0.2.1-198.51.100.1/require;
             spdadd 192.0.2.1 198.51.100.9 any -P out ipsec esp/transport//require;",
        );
        assert!(needs_inside(&site));
        assert_eq!(tunnel_ends(&site), BTreeSet::from(["192.0.2.1".parse().unwrap()]));
        let own = ["192.0.2.1", "10.1.0.1"].map(|address| address.parse().unwrap());
        let (routes, refused) = inside_routes(&policies(&site), &own);
        let source = Some(own[1]);
        let network = "10.2.0.0".parse().unwrap();
        assert_eq!(routes, BTreeSet::from([InsideRoute { network, prefix_len: 16, source }]));
        assert!(refused.len() == 1 && refused[0].contains("0.0.0.0/0"), "{refused:?}");
        assert_eq!(inside_mtu(&site, 1500), 1406);
    }

    #[test]
    fn gre_and_transport_mode_need_none() {
        let site = site("spdadd 192.0.2.1 198.51.100.1 gre -P out ipsec esp/transport//unique;");
        assert!(!needs_inside(&site));
        assert_eq!(inside_routes(&policies(&site), &[]), Default::default());
    }
}
