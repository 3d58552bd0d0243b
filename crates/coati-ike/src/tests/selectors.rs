//! What quick mode protects: IPv6, networks, ranges, tunnel mode, limits in kilobytes.

use coati_wire::isakmp::Identity;

use super::*;
use crate::ikev1::selector::{endpoint, identity};

const A6: &str = "2001:db8:1::1";
const B6: &str = "2001:db8:2::1";

fn world(a: &str, b: &str) -> World {
    let mut world = World::with(1, config(b), config(a));
    world.hosts = [Host::new(1000, a, b, config(b), world.now), Host::new(2000, b, a, config(a), world.now)];
    world
}

#[test]
fn ipv6_like_ipv4() {
    for seed in 0..4 {
        let mut world = world(A6, B6);
        world.acquire(seed % 2);
        assert!(world.run_until(Duration::from_secs(2), World::is_up), "{}", world.story());
        let sas = world.hosts[0].engine.isakmp_sas();
        assert_eq!(sas[0].identity.as_deref(), Some("address 2001:db8:2::1"));
    }
}

#[test]
fn kilobytes_are_negotiated_and_reach_the_data_plane() {
    for (check, ours, theirs, expected) in [
        (ProposalCheck::Obey, 1000, 2000, 2000),
        (ProposalCheck::Strict, 1000, 2000, 1000),
        (ProposalCheck::Claim, 2000, 1000, 1000),
        (ProposalCheck::Strict, 0, 1000, 1000),
        (ProposalCheck::Strict, 1000, 0, 1000),
    ] {
        let (mut a, mut b) = (config(B), config(A));
        a.sainfos[0].kilobytes = theirs;
        b.sainfos[0].kilobytes = ours;
        b.peers[0].proposal_check = check;
        let mut world = World::with(1, a, b);
        world.acquire(0);
        assert!(world.run_until(Duration::from_secs(2), World::is_up));
        let now = world.now;
        assert!(
            world.hosts[1].sas(now).iter().all(|sa| sa.hard.bytes == expected * 1024),
            "{check:?} {ours}"
        );
    }
}

fn id(kind: u8, data: &[u8]) -> Identity {
    Identity { kind, protocol: 0, port: 0, data: data.to_vec() }
}

#[test]
fn networks_and_ranges_mean_the_same() {
    let network = endpoint(&id(4, &[10, 1, 0, 0, 255, 255, 0, 0])).unwrap();
    assert_eq!(network.prefix.to_string(), "10.1.0.0/16");
    assert_eq!(endpoint(&id(7, &[10, 1, 0, 0, 10, 1, 255, 255])), Some(network));
    assert_eq!(endpoint(&id(4, &[10, 1, 2, 3, 255, 255, 0, 0])), Some(network), "host bits do not count");
    assert_eq!(endpoint(&id(4, &[10, 1, 0, 0, 255, 0, 255, 0])), None);
    assert_eq!(endpoint(&id(7, &[10, 1, 0, 0, 10, 1, 255, 254])), None);
    assert_eq!(endpoint(&id(7, &[10, 1, 0, 1, 10, 1, 0, 0])), None);
    let host = endpoint(&id(1, &[192, 0, 2, 1])).unwrap();
    assert_eq!(endpoint(&id(4, &[192, 0, 2, 1, 255, 255, 255, 255])), Some(host));
    assert_eq!(endpoint(&id(7, &[192, 0, 2, 1, 192, 0, 2, 1])), Some(host));
    let all = endpoint(&id(4, &[0; 8])).unwrap();
    assert_eq!(all.prefix.length, 0);
    assert_eq!(endpoint(&id(7, &[0, 0, 0, 0, 255, 255, 255, 255])), Some(all));
    let first: std::net::Ipv6Addr = "2001:db8::".parse().unwrap();
    let last: std::net::Ipv6Addr = "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap();
    let range = endpoint(&id(8, &[first.octets(), last.octets()].concat())).unwrap();
    assert_eq!(range.prefix.to_string(), "2001:db8::/32");
    for endpoint_of in [network, host, all, range] {
        assert_eq!(endpoint(&identity(&endpoint_of)), Some(endpoint_of));
    }
    for (kind, data) in
        [(1, vec![1, 2, 3]), (4, vec![0; 7]), (6, vec![0; 31]), (7, vec![]), (2, b"a".to_vec())]
    {
        assert_eq!(endpoint(&id(kind, &data)), None);
    }
}

#[test]
fn gre_in_tunnel_mode() {
    for initiator in 0..2 {
        let mut world = World::new(1);
        for (host, ends) in [(0, (A, B)), (1, (B, A))] {
            let this = &mut world.hosts[host];
            for mut policy in this.sadb.policies() {
                let Action::Ipsec(rules) = &mut policy.action else { panic!() };
                let (near, far) = (ends.0.parse().unwrap(), ends.1.parse().unwrap());
                rules[0].mode = Mode::Tunnel;
                rules[0].endpoints =
                    Some(if policy.direction == Direction::Out { (near, far) } else { (far, near) });
                let reply = this.sadb.request(world.now, 0, Request::SpdUpdate(Box::new(policy)));
                assert_eq!(reply, Reply::Done);
            }
            this.engine.handle_policies(&this.sadb.policies());
        }
        world.acquire(initiator);
        assert!(world.run_until(Duration::from_secs(2), World::is_up), "{}", world.story());
        let now = world.now;
        assert!(world.hosts[0].sas(now).iter().all(|sa| sa.mode == Mode::Tunnel));
        world.packet_from_b();
    }
}

/// The embedded data plane sees no networks, so their negotiation is seen from its requests.
#[test]
fn tunnel_mode_is_negotiated_between_networks_and_for_ports() {
    negotiated_in_tunnel_mode(Upper::Any, [Port::Any; 2]);
    // The responder has a policy for this port only: without it in the identities it would find none.
    negotiated_in_tunnel_mode(Upper::Proto(6), [Port::Any, Port::Is(80)]);
    negotiated_in_tunnel_mode(Upper::Proto(1), [Port::Is(8), Port::Any]);
}

fn negotiated_in_tunnel_mode(upper: Upper, [source_port, destination_port]: [Port; 2]) {
    let mut world = World::new(1);
    let selector =
        Selector { source_port, destination_port, upper, ..between_networks("10.1.0.0/16", "10.2.0.0/16") };
    world.hosts[0].engine.handle_policies(&[in_tunnel_mode(selector, A, B)]);
    world.hosts[1].engine.handle_policies(&[in_tunnel_mode(selector.reversed(), B, A)]);
    let now = world.now;
    assert_eq!(world.hosts[0].engine.establish_pair(now, &selector), Ok(()));
    world.settle();
    world.run(Duration::from_secs(1));
    for host in &world.hosts {
        let up = host.events.iter().any(|event| matches!(event, Event::PairEstablished { .. }));
        assert!(up, "{}", world.story());
    }
}

pub(super) fn between_networks(source: &str, destination: &str) -> Selector {
    Selector {
        source: source.parse().unwrap(),
        source_port: Port::Any,
        destination: destination.parse().unwrap(),
        destination_port: Port::Any,
        upper: Upper::Any,
    }
}

pub(super) fn in_tunnel_mode(selector: Selector, local: &str, remote: &str) -> Policy {
    Policy {
        id: PolicyId(1),
        selector,
        direction: Direction::Out,
        priority: Priority::default(),
        action: Action::Ipsec(vec![Rule {
            proto: SaProto::Esp,
            mode: Mode::Tunnel,
            endpoints: Some((local.parse().unwrap(), remote.parse().unwrap())),
            level: Level::Require,
        }]),
        usage: Usage::default(),
    }
}

/// `generate_policy` makes no policy that would send somebody else's packets to whoever asks.
#[test]
fn a_policy_is_made_only_for_what_is_nobody_elses() {
    let refused = |claim: &str, named: bool| {
        let mut b = config(A);
        b.peers[0].generate_policy = GeneratePolicy::Require;
        b.mode_config = Some(ModeConfig {
            network4: Some("10.99.0.10".parse().unwrap()),
            pool_size: 20,
            ..ModeConfig::default()
        });
        if named {
            let prefix = claim.parse().unwrap();
            b.sainfos[0].remote = Some(EndpointId { prefix, upper: Upper::Any, port: Port::Any });
        }
        let mut world = World::with(1, config(B), b);
        let selector = between_networks(claim, "10.1.0.0/16");
        world.hosts[0].engine.handle_policies(&[in_tunnel_mode(selector, A, B)]);
        let others = in_tunnel_mode(between_networks("10.1.0.0/16", "10.9.0.0/16"), B, "203.0.113.9");
        world.hosts[1].engine.handle_policies(&[others]);
        assert_eq!(world.hosts[0].engine.establish_pair(world.now, &selector), Ok(()));
        world.settle();
        world.run(Duration::from_secs(1));
        let up = world.hosts[0].events.iter().any(|event| matches!(event, Event::PairEstablished { .. }));
        let why = world.hosts[1].failures();
        assert_eq!(up, why.is_empty(), "{claim}: {why}");
        why
    };
    for claim in ["192.0.2.1/32", "10.2.0.0/16", "10.99.1.0/24"] {
        assert_eq!(refused(claim, false), "", "{claim}");
    }
    for (claim, reason) in [
        ("10.1.7.0/24", "10.1.0.0/16 is on our side"),
        ("0.0.0.0/0", "10.1.0.0/16 is on our side"),
        ("10.99.0.12/32", "mode config gives out 10.99.0.10 to 10.99.0.29"),
        ("10.99.0.0/24", "mode config gives out 10.99.0.10 to 10.99.0.29"),
        ("10.9.3.0/24", "a policy for 10.9.0.0/16 is there already, for another peer"),
        ("10.8.0.0/15", "a policy for 10.9.0.0/16 is there already, for another peer"),
    ] {
        let why = refused(claim, false);
        assert!(why.contains(reason) && why.contains("add a sainfo section that names it"), "{claim}: {why}");
        assert_eq!(refused(claim, true), "", "{claim}, named by a sainfo section");
    }
}

/// `support_proxy`: IKE is spoken by one host, and SAs are for another one.
#[test]
fn sas_may_end_at_other_hosts_than_ike() {
    const SERVED: [&str; 2] = ["192.0.2.50", "198.51.100.50"];
    for (proxy, generated) in [(false, false), (true, false), (false, true), (true, true)] {
        // The first one is itself what it protects; the second one sees its IKE come from another address, and answers
        // from one.
        let mut b = config(A);
        b.peers[0].support_proxy = proxy;
        b.peers[0].generate_policy = if generated { GeneratePolicy::Require } else { GeneratePolicy::Off };
        let mut world = World::with(1, config(SERVED[1]), b.clone());
        let now = world.now;
        world.hosts[0] = Host::new(1000, SERVED[0], SERVED[1], config(SERVED[1]), now);
        let of = if generated { [].as_slice() } else { &policies(SERVED[1], SERVED[0]) };
        world.hosts[1] = Host::new(2000, B, A, b, now);
        world.hosts[1].sadb.request(now, 0, Request::SpdFlush);
        for policy in of {
            world.hosts[1].sadb.request(now, 0, Request::SpdAdd(Box::new(policy.clone())));
        }
        let there = world.hosts[1].sadb.policies();
        world.hosts[1].engine.handle_policies(&there);
        world.aliases = Some([A.parse().unwrap(), SERVED[1].parse().unwrap()]);
        world.acquire(0);
        world.run(Duration::from_secs(2));
        let why = world.hosts[1].failures();
        if !proxy {
            assert!(why.contains("somebody else's address") || why.contains("just its own address"), "{why}");
            continue;
        }
        let now = world.now;
        let ends: Vec<(String, String)> = world.hosts[1]
            .sas(now)
            .iter()
            .map(|sa| (sa.id.source.to_string(), sa.id.destination.to_string()))
            .collect();
        assert_eq!(ends.len(), 2, "{generated} {}", world.story());
        assert!(ends.contains(&(SERVED[0].into(), SERVED[1].into())), "{ends:?}");
        // What the host that speaks IKE deletes is gone, although the SAs have other addresses.
        world.hosts[0].engine.shutdown();
        world.settle();
        world.run(Duration::from_secs(2));
        assert!(world.hosts[1].sas(world.now).is_empty());
        assert_eq!(world.hosts[1].sadb.policies().len(), if generated { 0 } else { 2 });
    }
}

#[test]
fn the_most_particular_sainfo_is_taken() {
    let end = |address: &str| EndpointId {
        prefix: Prefix::host(address.parse().unwrap()),
        upper: Upper::GRE,
        port: Port::Any,
    };
    let web = EndpointId { upper: Upper::Proto(6), port: Port::Is(80), ..end(A) };
    let (ours, theirs) = (end(A), end(B));
    let gate = Identifier::Fqdn("gate.example.org".into());
    let info = |local, remote, from: Option<&Identifier>, remoteid, origin: &str| SaInfo {
        local,
        remote,
        from: from.cloned(),
        remoteid,
        origin: origin.into(),
        ..SaInfo::default()
    };
    let config = Config {
        sainfos: vec![
            info(None, None, None, 0, "anonymous"),
            info(None, None, None, 7, "remoteid"),
            info(None, None, Some(&gate), 0, "from"),
            info(None, Some(theirs), None, 0, "theirs"),
            info(Some(ours), Some(theirs), None, 9, "both"),
            info(Some(web), None, None, 0, "port 80"),
            SaInfo { of_client: true, ..info(None, None, None, 0, "clientaddr") },
        ],
        ..Config::default()
    };
    let said = Identity { kind: Identity::FQDN, protocol: 0, port: 0, data: b"gate.example.org".to_vec() };
    for (local, remote, said, ph1id, expected) in [
        (ours, theirs, None, 9, "both"),
        (ours, theirs, None, 0, "theirs"),
        (ours, end("203.0.113.9"), Some(&said), 7, "from"),
        (ours, end("203.0.113.9"), None, 7, "remoteid"),
        (theirs, ours, None, 0, "anonymous"),
        (web, end("203.0.113.9"), None, 0, "port 80"),
        (EndpointId { port: Port::Is(81), ..web }, end("203.0.113.9"), None, 0, "anonymous"),
        (ours, end("10.9.0.7"), None, 0, "clientaddr"),
    ] {
        let given = Some("10.9.0.7".parse().unwrap());
        let remote_end = "198.51.100.1:500".parse().unwrap();
        let peer = crate::config::SainfoPeer { said, remote: remote_end, ph1id, given };
        assert_eq!(config.sainfo_of(&local, &remote, peer).unwrap().origin, expected);
    }
}
