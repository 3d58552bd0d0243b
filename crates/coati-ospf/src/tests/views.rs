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
