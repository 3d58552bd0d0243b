//! `show ip ospf …`: line for line as FRR 8.4 writes it, numbers that run set aside.

use super::*;

fn show(world: &World, words: &str) -> String {
    let words: Vec<&str> = words.split(' ').collect();
    world.routers[0].show(world.now, &words).unwrap()
}

fn converged() -> World {
    let mut world = World::row(2, 1);
    assert!(world.run_until(Duration::from_secs(1), World::converged));
    world.run(Duration::from_secs(20));
    world
}

#[test]
fn neighbours() {
    let text = show(&converged(), "ip ospf neighbor");
    let lines: Vec<&str> = text.lines().collect();
    let heading = "Neighbor ID     Pri State           Up Time         Dead Time Address         Interface                        RXmtL RqstL DBsmL";
    assert_eq!(lines[1], heading);
    // 2.2.2.2           1 Full/-          14.148s           35.851s 10.9.9.2        gre1:10.9.9.1                        0     0     0
    assert!(lines[2].starts_with("10.255.0.2        1 Full/-          "), "{text}");
    assert!(
        lines[2].ends_with("s 203.0.0.2       gre0:203.0.0.1                       0     0     0"),
        "{text}"
    );
    assert_eq!(lines[2].len(), heading.len());
}

#[test]
fn routes() {
    let expected = "\
============ OSPF network routing table ============
N    10.1.0.0/24           [10] area: 0.0.0.0
                           directly attached to em1
N    10.2.0.0/24           [20] area: 0.0.0.0
                           via 203.0.0.2, gre0
N    203.0.0.0/30          [10] area: 0.0.0.0
                           directly attached to gre0

============ OSPF router routing table =============

============ OSPF external routing table ===========

";
    assert_eq!(show(&converged(), "ip ospf route"), expected);
}

#[test]
fn database() {
    let text = show(&converged(), "ip ospf database");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[1], "       OSPF Router with ID (10.255.0.1)");
    assert_eq!(lines[3], "                Router Link States (Area 0.0.0.0)");
    assert_eq!(lines[5], "Link ID         ADV Router      Age  Seq#       CkSum  Link count");
    assert!(lines[6].starts_with("10.255.0.1     10.255.0.1        ") && lines[6].ends_with(" 3"), "{text}");
    let router = show(&converged(), "ip ospf database router");
    for line in [
        "  Options: 0x42 : *|O|-|-|-|-|E|-",
        "  LS Type: router-LSA",
        "   Number of Links: 3",
        "    Link connected to: another Router (point-to-point)",
        "     (Link ID) Neighboring Router ID: 10.255.0.1",
        "     (Link Data) Network Mask: 255.255.255.252",
        "       TOS 0 Metric: 10",
    ] {
        assert!(router.lines().any(|found| found == line), "{line}\n{router}");
    }
}

#[test]
fn chosen_lsas() {
    let world = converged();
    let count = |words: &str| show(&world, words).matches("LS age").count();
    assert_eq!(count("ip ospf database router"), 2);
    assert_eq!(count("ip ospf database router 10.255.0.2"), 1);
    assert_eq!(count("ip ospf database router self-originate"), 1);
    assert_eq!(count("ip ospf database router adv-router 10.255.0.2"), 1);
    assert_eq!(count("ip ospf database router 10.255.0.2 adv-router 10.255.0.1"), 0);
    assert!(show(&world, "ip ospf database max-age").contains("MaxAge Link States"));
    let error = world.routers[0].show(world.now, &["ip", "ospf", "database", "router", "x"]).unwrap_err();
    assert!(error.contains("`x` is not an id"), "{error}");
}

#[test]
fn interfaces() {
    let text = show(&converged(), "ip ospf interface gre0");
    for line in [
        "gre0 is up",
        "  Internet Address 203.0.0.1/30, Peer 203.0.0.2, Area 0.0.0.0",
        "  MTU mismatch detection: enabled",
        "  Router ID 10.255.0.1, Network Type POINTOPOINT, Cost: 10",
        "  Transmit Delay is 1 sec, State Point-To-Point, Priority 1",
        "  Timer intervals configured, Hello 10s, Dead 40s, Wait 40s, Retransmit 5",
        "  Neighbor Count is 1, Adjacent neighbor count is 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(show(&converged(), "ip ospf interface em1").contains("No Hellos (Passive interface)"));
}

/// The keys that monitoring reads.
#[test]
fn json() {
    let world = converged();
    let value = |words: &str| serde_json::from_str::<serde_json::Value>(&show(&world, words)).unwrap();
    let neighbour = &value("ip ospf neighbor json")["neighbors"]["10.255.0.2"][0];
    assert_eq!((&neighbour["nbrState"], &neighbour["converged"]), (&"Full/-".into(), &"Full".into()));
    assert!(neighbour["upTimeInMsec"].as_u64().unwrap() > 10_000);
    assert_eq!(neighbour["ifaceName"], "gre0:203.0.0.1");
    let interface = &value("ip ospf interface json")["interfaces"]["gre0"];
    assert_eq!(
        (&interface["networkType"], &interface["nbrAdjacentCount"]),
        (&"POINTOPOINT".into(), &1.into())
    );
    let route = &value("ip ospf route json")["10.2.0.0/24"];
    assert_eq!((&route["routeType"], &route["cost"]), (&"N".into(), &20.into()));
    assert_eq!(
        (&route["nexthops"][0]["ip"], &route["nexthops"][0]["via"]),
        (&"203.0.0.2".into(), &"gre0".into())
    );
    assert_eq!(
        value("ip ospf database json")["areas"]["0.0.0.0"]["routerLinkStates"][0]["numOfRouterLinks"],
        3
    );
    assert_eq!(value("ip ospf json")["areas"]["0.0.0.0"]["nbrFullAdjacentCounter"], 1);
    assert!(!value("ip ospf neighbor detail json")["neighbors"]["10.255.0.2"][0]["optionsList"].is_null());
}

#[test]
fn unknown_views_are_answered_with_the_known_ones() {
    let world = World::row(1, 1);
    let error = world.routers[0].show(world.now, &["ip", "ospf", "neigbor"]).unwrap_err();
    assert!(error.contains("`ip ospf neigbor`") && error.contains("ip ospf neighbor"), "{error}");
}

/// What a router's own LSAs are, who is helped, what is asked for wrongly.
#[test]
fn smaller_views() {
    let mut world = World::row(2, 3);
    assert!(world.run_until(Duration::from_secs(2), World::converged));
    let show =
        |world: &World, words: &str| world.routers[0].show(world.now, &words.split(' ').collect::<Vec<_>>());
    let own = show(&world, "ip ospf database self-originate").unwrap();
    assert!(own.contains("10.255.0.1     10.255.0.1 ") && !own.contains("10.255.0.2"), "{own}");
    let all = show(&world, "ip ospf database").unwrap();
    assert!(all.contains("10.255.0.2     10.255.0.2 "));
    let helper = show(&world, "ip ospf graceful-restart helper").unwrap();
    let wanted = "\n       OSPF Router with ID (10.255.0.1)\n\n Graceful restart helper support enabled.\n Strict LSA check \
                  is enabled.\n Helper supported for Planned and Unplanned Restarts.\n Supported Graceful restart interval: \
                  1800(in seconds).\n\n";
    assert_eq!(helper, wanted);
    let until = world.now + Duration::from_secs(60);
    world.routers[0]
        .interfaces
        .get_mut(&10)
        .unwrap()
        .neighbours
        .values_mut()
        .for_each(|n| n.helped_until = Some(until));
    let helper = show(&world, "ip ospf graceful-restart helper detail").unwrap();
    assert!(
        helper.contains("neighbours in graceful restart: 1\n   10.255.0.2(203.0.0.2) on gre0: 60 s left"),
        "{helper}"
    );
    let none = show(&world, "ip ospf interface gre7").unwrap_err();
    assert_eq!(none, "no interface `gre7` has OSPF; there are: em1, gre0");
    let odd = show(&world, "ip ospf \u{1b}[31mred").unwrap_err();
    assert!(odd.contains("`ip ospf \\u{1b}[31mred`"), "{odd}");
}

/// Every way to a value, with names that are data made one; and what kind of value it is.
fn shape(value: &serde_json::Value, way: &str, found: &mut std::collections::BTreeSet<String>) {
    use serde_json::Value;
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let key = match key.strip_prefix("link").map(str::parse::<u32>) {
                    Some(Ok(_)) => "link N",
                    _ if key.parse::<Ipv4Addr>().is_ok() => "A.B.C.D",
                    _ => key,
                };
                shape(value, &format!("{way}.{key}"), found);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| shape(value, &format!("{way}[]"), found)),
        Value::String(_) => drop(found.insert(format!("{way}: text"))),
        Value::Number(_) => drop(found.insert(format!("{way}: number"))),
        Value::Bool(_) => drop(found.insert(format!("{way}: bool"))),
        Value::Null => drop(found.insert(format!("{way}: null"))),
    }
}

/// `show ip ospf database TYPE json` key for key as FRR 8.4.4 answered as border router of such a network: a LAN in the
/// backbone with an external destination behind it, an area with one more, once an NSSA that is translated.
#[test]
fn databases_in_frrs_keys() {
    let recorded: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(include_str!("frr_database.json")).unwrap();
    let nssa_area = Ipv4Addr::new(0, 0, 0, 1);
    let mut world = World::apart(0, 5);
    for index in 0..4usize {
        let mut config = Config::new(Ipv4Addr::new(10, 255, 0, index as u8 + 1));
        let nssa = Nssa {
            summaries: true,
            translate: Translate::Candidate,
            suppress_forwarding: false,
            default_route: None,
        };
        config.areas.entry(nssa_area).or_default().kind = AreaKind::Nssa(nssa);
        world.add(Engine::new(config, Box::new(SeededRandom::new(index as u64))));
    }
    world.shared(&[0, 1], |_, _| {});
    world.cable_in(0, 2, nssa_area);
    world.cable_in(0, 3, Ipv4Addr::new(0, 0, 0, 2));
    for (router, second) in [(1, 31), (2, 30), (3, 29)] {
        let external = ExternalRoute {
            network: Ipv4Addr::new(172, second, 0, 0),
            prefix_len: 16,
            type2: true,
            metric: 20,
            tag: 0,
            gateway: None,
        };
        let now = world.now;
        world.routers[router].set_externals(now, [external]);
    }
    world.run(Duration::from_secs(90));
    for (kind, theirs) in &recorded {
        let ours = serde_json::from_str(&show(&world, &format!("ip ospf database {kind} json"))).unwrap();
        let (mut theirs_found, mut ours_found) = Default::default();
        shape(theirs, "", &mut theirs_found);
        shape(&ours, "", &mut ours_found);
        assert_eq!(ours_found, theirs_found, "{kind}");
    }
    let external: serde_json::Value =
        serde_json::from_str(&show(&world, "ip ospf database external 172.30.0.0 json")).unwrap();
    let translated = &external["asExternalLinkStates"][0];
    assert_eq!((&translated["translatedFromType7"], &translated["lsaFlags"]), (&true.into(), &43.into()));
    assert_eq!(
        (&translated["networkMask"], &translated["metricType"], &translated["externalRouteTag"]),
        (&16.into(), &"E2 (Larger than any link state path)".into(), &0.into())
    );
    // In text each area has its heading, as in FRR.
    let text = show(&world, "ip ospf database asbr-summary");
    assert!(text.contains("ASBR-Summary Link States (Area 0.0.0.1 [NSSA])"), "{text}");
    assert!(show(&world, "ip ospf database external").contains("  LS Flags: 0x2b (Translated from Type-7)"));
}

/// Neighbours by interface, by router id, those that are configured too; what is neither is said.
#[test]
fn chosen_neighbours() {
    let world = converged();
    let value = |words: &str| serde_json::from_str::<serde_json::Value>(&show(&world, words)).unwrap();
    for words in
        ["ip ospf neighbor all json", "ip ospf neighbor gre0 json", "ip ospf neighbor 10.255.0.2 json"]
    {
        assert_eq!(value(words)["10.255.0.2"][0]["ifaceName"], "gre0:203.0.0.1", "{words}");
    }
    assert_eq!(value("ip ospf neighbor em1 json"), serde_json::json!({}));
    assert_eq!(value("ip ospf neighbor 9.9.9.9 json"), serde_json::json!({}));
    for words in [
        "ip ospf neighbor gre0 detail json",
        "ip ospf neighbor 10.255.0.2 detail json",
        "ip ospf neighbor detail all json",
    ] {
        assert_eq!(value(words)["10.255.0.2"][0]["ifaceName"], "gre0", "{words}");
    }
    assert!(
        show(&world, "ip ospf neighbor gre0 detail").starts_with(" Neighbor 10.255.0.2, interface address")
    );
    let error = world.routers[0].show(world.now, &["ip", "ospf", "neighbor", "nonsense"]).unwrap_err();
    assert!(error.contains("`nonsense` is neither the router id of a neighbour nor an interface"), "{error}");
    let error = world.routers[0].show(world.now, &["ip", "ospf", "neighbor", "gre0", "x"]).unwrap_err();
    assert!(error.contains("`x` does not belong here"), "{error}");
}

/// Of a silent neighbour that is configured `all` tells.
#[test]
fn silent_neighbours() {
    let mut world = World::apart(2, 1);
    world.shared(&[0, 1], |router, config| {
        let address = Ipv4Addr::new(172, 16, 0, if router == 0 { 9 } else { 1 });
        let poll_interval = Duration::from_secs(60);
        config.network = Some(NetworkType::NonBroadcast);
        config.neighbours = vec![StaticNeighbour { address, priority: 1, poll_interval }];
    });
    world.run(Duration::from_secs(60));
    assert!(!show(&world, "ip ospf neighbor").contains("172.16.0.9"));
    assert!(
        show(&world, "ip ospf neighbor all").contains("Down/DROther"),
        "{}",
        show(&world, "ip ospf neighbor all")
    );
}

/// Packets by type; what is redistributed as one; routers that paths lead to.
#[test]
fn traffic_aggregates_and_reachable_routers() {
    let mut world = World::apart(0, 4);
    for index in 0..2usize {
        let mut config = Config::new(Ipv4Addr::new(10, 255, 0, index as u8 + 1));
        let network = Ipv4Addr::new(192, 168, 0, 0);
        config.summary_addresses =
            vec![ExternalRange { network, prefix_len: 16, advertise: true, cost: None, tag: 7 }];
        world.add(Engine::new(config, Box::new(SeededRandom::new(index as u64))));
        world.lan(index);
    }
    world.cable(0, 1, |_| {});
    let part = ExternalRoute {
        network: Ipv4Addr::new(192, 168, 7, 0),
        prefix_len: 24,
        type2: false,
        metric: 20,
        tag: 0,
        gateway: None,
    };
    let now = world.now;
    world.routers[0].set_externals(now, [part]);
    assert!(world.run_until(Duration::from_secs(5), World::converged));
    world.run(Duration::from_secs(20));
    let value = |words: &str| serde_json::from_str::<serde_json::Value>(&show(&world, words)).unwrap();
    let traffic = &value("ip ospf interface traffic json")["gre0"];
    for key in ["helloIn", "helloOut", "dbDescIn", "dbDescOut", "lsUpdIn", "lsUpdOut", "lsAckIn", "lsAckOut"]
    {
        assert!(traffic[key].as_u64().unwrap() > 0, "{key} {traffic}");
    }
    assert_eq!((&traffic["ifIndex"], &traffic["packetsQueued"]), (&10.into(), &0.into()));
    let text = show(&world, "ip ospf interface traffic gre0");
    // As FRR 8.4.4 wrote it: lan0             50/50             2/3             1/1 …
    let heading = "Interface       HELLO            DB-Desc         LS-Req           LS-Update        LS-Ack            \
                   Packets      ";
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines[1], lines[3].len()), (heading, 109));
    assert_eq!(
        (lines[4].find('/'), lines[4].rfind('/'), lines[4].len()),
        (Some(19), Some(84), 105),
        "{text}"
    );
    let silent = world.routers[0].show(world.now, &["ip", "ospf", "interface", "traffic", "gre7"]);
    assert!(silent.unwrap_err().starts_with("no interface `gre7` has OSPF"));

    let summary = value("ip ospf summary-address detail json");
    let whole = &summary["192.168.0.0/16"];
    assert_eq!(
        (&whole["metricType"], &whole["metric"], &whole["tag"], &whole["externalRouteCount"]),
        (&"E1".into(), &20.into(), &7.into(), &1.into())
    );
    assert_eq!(whole["Exnl Addr-0"], "192.168.7.0/24");
    let text = show(&world, "ip ospf summary-address");
    assert!(text.contains("192.168.0.0/16      E1              20         7           1    \n"), "{text}");

    assert!(!show(&world, "ip ospf border-routers").contains("10.255.0.2"));
    let reachable = show(&world, "ip ospf reachable-routers");
    let wanted =
        "R    10.255.0.2            [10] area: 0.0.0.0\n                           via 203.0.0.2, gre0\n";
    assert!(reachable.contains(wanted), "{reachable}");
    assert_eq!(value("ip ospf reachable-routers json")["routers"]["10.255.0.2"]["cost"], 10);

    // What monitoring finds at FRR's `show ip ospf json`.
    let system = value("ip ospf json");
    for (key, wanted) in [
        ("asbrRouter", serde_json::json!("injectingExternalRoutingInformation")),
        ("preference", 110.into()),
        ("holdtimeMultplier", 1.into()),
        ("lsaMinIntervalMsecs", 5000.into()),
        ("lsaMinArrivalMsecs", 1000.into()),
        ("refreshTimerMsecs", 10_000.into()),
        ("writeMultiplier", 20.into()),
        ("opaqueCapable", true.into()),
    ] {
        assert_eq!(system[key], wanted, "{key}");
    }
    assert_eq!(system["areas"]["0.0.0.0"]["lsaOpaqueLinkNumber"], 0);
    assert_eq!(system["areas"]["0.0.0.0"]["lsaOpaqueAreaChecksum"], 0);
    assert!(system["spfLastDurationMsecs"].is_null(), "nobody has a stopwatch here");
}

/// The bandwidth is the one that is configured, else the interface's own.
#[test]
fn bandwidths() {
    let mut world = World::apart(1, 1);
    for (index, speed, bandwidth) in [(1, Some(10_000), None), (2, Some(10_000), Some(30)), (3, None, None)] {
        let link = Link {
            index,
            name: format!("em{index}"),
            address: Ipv4Addr::new(10, index as u8, 0, 1),
            prefix_len: 24,
            peer: None,
            mtu: 1500,
            speed,
            point_to_point: false,
            loopback: false,
        };
        let now = world.now;
        world.routers[0].interface_up(now, link, InterfaceConfig { bandwidth, ..InterfaceConfig::default() });
    }
    for (name, mbit) in [("em1", 10_000), ("em2", 30), ("em3", 0)] {
        let text = show(&world, &format!("ip ospf interface {name}"));
        assert!(text.contains(&format!("BW {mbit} Mbit <UP")), "{text}");
        let json: serde_json::Value =
            serde_json::from_str(&show(&world, &format!("ip ospf interface {name} json"))).unwrap();
        assert_eq!(json["interfaces"][name]["bandwidthMbit"], mbit);
    }
}
