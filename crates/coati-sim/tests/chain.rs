//! The how-to's two routers, from its own files, through what an internet does to packets.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use coati_config::Source;
use coati_config::ospfd::{BfdProfile, Network, OspfBfd};
use coati_config::site::{Site, SiteFiles};
use coati_router::RouteOrigin;
use coati_router::admin::Milestone;
use coati_sim::{Conditions, World};

fn site(name: &str) -> (String, Site) {
    site_with(name, "")
}

/// With these lines at the end of its ospfd.conf.
fn site_with(name: &str, ospf: &str) -> (String, Site) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/seed").join(name);
    let read = |file: &str| {
        let text = std::fs::read_to_string(dir.join(file)).unwrap();
        Some(Source::new(format!("{name}/{file}"), text))
    };
    let files = SiteFiles {
        included: coati_config::racoon::Included::default(),
        key_ids: std::collections::BTreeMap::new(),
        pki: coati_config::pki::PkiFiles::default(),
        banner: None,
        rc_conf: read("rc.conf"),
        racoon_conf: read("racoon.conf"),
        psk_txt: read("psk.txt"),
        setkey_conf: read("setkey.conf"),
        ospfd_conf: read("ospfd.conf")
            .map(|conf| Source::new(conf.name.clone(), format!("{}\n{ospf}", conf.text))),
    };
    (name.to_owned(), Site::read(&files).0)
}

fn world(seed: u64, conditions: Conditions) -> World {
    World::start(seed, vec![site("freebsd-a"), site("freebsd-b")], conditions)
}

fn story(world: &World) -> String {
    world.log().collect::<Vec<_>>().join("\n")
}

const LAN_A: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 10);
const LAN_B: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 10);

/// A host behind router a pings one behind router b.
fn ping_works(world: &mut World) -> bool {
    let time = world.time();
    world.router(0).ping(time, LAN_A, LAN_B, 7);
    world.run_until(Duration::from_secs(1), |world| world.at(0).has_reply(LAN_B, 7))
}

#[test]
fn the_budget_with_an_internet_between() {
    let mut world = world(1, Conditions::default());
    assert!(world.run_until(Duration::from_secs(2), World::is_up), "{}", story(&world));
    let reached = |index, what| world.reached(index, what).unwrap();
    for index in 0..2 {
        let tunnel = reached(index, Milestone::TunnelUp);
        assert!(
            reached(index, Milestone::OspfFull) - tunnel < Duration::from_millis(300),
            "{}",
            story(&world)
        );
    }
    assert!(world.elapsed() < Duration::from_millis(700), "{}", story(&world));
    assert!(ping_works(&mut world));
    assert_eq!(world.clear_packets(), 0);
}

#[test]
fn a_fifth_of_all_packets_lost_in_200_seeds() {
    let conditions =
        Conditions { loss: 20, duplicates: 2, delay: (Duration::from_millis(10), Duration::from_millis(60)) };
    for seed in 0..200 {
        let mut world = world(seed, conditions);
        assert!(world.run_until(Duration::from_secs(120), World::is_up), "seed {seed}\n{}", story(&world));
        assert_eq!(world.clear_packets(), 0);
    }
}

#[test]
fn a_seed_tells_the_same_story_again() {
    let conditions = Conditions { loss: 20, ..Conditions::default() };
    let run = || {
        let mut world = world(42, conditions);
        world.run(Duration::from_secs(60));
        let records =
            world.records().iter().map(|record| (record.at, record.bytes.clone())).collect::<Vec<_>>();
        (world.log().count(), records)
    };
    assert_eq!(run(), run());
}

#[test]
fn a_link_cut_for_a_minute_recovers() {
    for seed in 0..10 {
        let mut world = world(seed, Conditions::default());
        assert!(world.run_until(Duration::from_secs(10), World::is_up));
        world.run(Duration::from_secs(60));
        world.cut = true;
        world.run(Duration::from_secs(60));
        assert!(!world.is_up(), "seed {seed}: it has to be noticed");
        world.cut = false;
        assert!(world.run_until(Duration::from_secs(30), World::is_up), "seed {seed}\n{}", story(&world));
        assert!(ping_works(&mut world), "seed {seed}\n{}", story(&world));
        assert_eq!(world.clear_packets(), 0);
    }
}

#[test]
fn killed_and_restarted_at_once_and_within_the_dpd_time() {
    for seed in 0..10 {
        let mut world = world(seed, Conditions::default());
        assert!(world.run_until(Duration::from_secs(10), World::is_up));
        world.run(Duration::from_secs(100));
        world.kill_and_restart(1);
        let came_back = world.run_until(Duration::from_secs(15), |world| {
            world.is_up() && world.reached(1, Milestone::OspfFull).is_some()
        });
        assert!(came_back, "seed {seed}\n{}", story(&world));
        assert!(ping_works(&mut world), "seed {seed}\n{}", story(&world));
        assert_eq!(world.clear_packets(), 0);
    }
}

#[test]
fn a_day_of_renewals_loses_nothing() {
    let mut world = world(3, Conditions::default());
    assert!(world.run_until(Duration::from_secs(10), World::is_up));
    for _ in 0..24 * 12 {
        world.run(Duration::from_secs(300));
        assert!(world.is_up() && ping_works(&mut world), "{}", story(&world));
    }
    assert_eq!(world.clear_packets(), 0);
}

#[test]
fn leave_is_taken() {
    let mut world = world(1, Conditions::default());
    assert!(world.run_until(Duration::from_secs(10), World::is_up));
    world.run(Duration::from_secs(20));
    let time = world.time();
    world.router(1).shut_down(time);
    // Even when IKE's last message overtakes OSPF's.
    world.run(Duration::from_secs(4));
    assert!(world.at(0).control().kernel_routes().is_empty());
    assert_eq!(world.clear_packets(), 0);
}

/// A path that silently takes no more packets: OSPF's dead interval is four seconds here, BFD's a sixth of one.
#[test]
fn bfd_sees_a_silent_cut() {
    for bfd in [false, true] {
        let site = |name: &str| {
            let (name, mut site) = site(name);
            if let (true, Some(ospf)) = (bfd, &mut site.ospf) {
                let times = BfdProfile { multiplier: 3, receive: 50, transmit: 50 };
                ospf.interfaces.iter_mut().for_each(|i| i.bfd = Some(OspfBfd::Times(times)));
            }
            (name, site)
        };
        let mut world = World::start(1, vec![site("freebsd-a"), site("freebsd-b")], Conditions::default());
        assert!(world.run_until(Duration::from_secs(2), World::is_up), "{}", story(&world));
        world.run(Duration::from_secs(5));
        let time = world.time();
        let shown = world.router(0).control().show(time, &["bfd", "peers"]).unwrap();
        assert_eq!(shown.contains("Status: up"), bfd, "{shown}");
        let cut = world.elapsed();
        world.cut = true;
        let gone = |world: &World| (0..2).all(|at| world.at(at).control().neighbours().is_empty());
        assert!(world.run_until(Duration::from_secs(60), gone), "{}", story(&world));
        let took = world.elapsed() - cut;
        assert_eq!(took < Duration::from_millis(300), bfd, "{took:?}");
        world.cut = false;
        assert!(world.run_until(Duration::from_secs(60), World::is_up), "{}", story(&world));
    }
}

/// `clear ip ospf …`: who was a neighbour is one again soon, and the routes are back.
#[test]
fn cleared_and_back() {
    let mut world = world(1, Conditions::default());
    assert!(world.run_until(Duration::from_secs(2), World::is_up), "{}", story(&world));
    world.run(Duration::from_secs(20));
    for words in [
        &["clear", "ip", "ospf", "neighbor"][..],
        &["clear", "ip", "ospf", "neighbor", "203.0.113.2"],
        &["clear", "ip", "ospf", "interface", "gre0"],
        &["clear", "ip", "ospf", "interface"],
        &["clear", "ip", "ospf", "process"],
    ] {
        let time = world.time();
        world.router(0).order(time, words).unwrap();
        assert!(!world.is_up(), "{words:?}");
        let back = |world: &World| world.is_up() && !world.at(0).control().routes().is_empty();
        assert!(world.run_until(Duration::from_secs(12), back), "{words:?} {}", story(&world));
        world.run(Duration::from_secs(20));
        assert!(ping_works(&mut world), "{words:?}");
    }
    for (words, why) in [
        (&["clear", "ip", "ospf", "neighbor", "9.9.9.9"][..], "no such thing"),
        (&["clear", "ip", "ospf", "neighbor", "gre0"], "not a router id"),
        (&["clear", "ip", "ospf", "interface", "em7"], "no such thing"),
        (&["clear", "ip", "ospf"], "clear ip ospf process"),
        (&["graceful-restart", "prepare", "ip", "ospf"], "ends with this program"),
        (&["debug", "ospf", "packet", "hallo"], "ls-update"),
        (&["reload"], "graceful-restart prepare"),
    ] {
        let time = world.time();
        assert!(world.router(0).order(time, words).unwrap_err().contains(why), "{words:?}");
    }
    assert_eq!(world.clear_packets(), 0);
}

/// The other side advertises the network of its outer address: the tunnel does not swallow itself, and it is said why.
#[test]
fn a_tunnel_does_not_swallow_itself() {
    let (name, mut b) = site("freebsd-b");
    if let Some(ospf) = &mut b.ospf {
        let place = ospf.networks[0].place.clone();
        let prefix = "198.51.100.0/24".parse().unwrap();
        ospf.networks.push(Network { prefix, area: Ipv4Addr::UNSPECIFIED, place });
        ospf.passive.push("em0".into());
    }
    let mut world = World::start(1, vec![site("freebsd-a"), (name, b)], Conditions::default());
    assert!(world.run_until(Duration::from_secs(2), World::is_up), "{}", story(&world));
    world.run(Duration::from_secs(90));
    assert!(world.is_up() && ping_works(&mut world), "{}", story(&world));
    let control = world.at(0).control();
    let outer = Ipv4Addr::new(198, 51, 100, 0);
    assert!(control.kernel_routes().iter().all(|route| route.network != outer));
    let problems = control.problems(world.time());
    let said = "gre0: OSPF's route to 198.51.100.0/24 leads through gre0 to its own other end 198.51.100.1";
    assert!(problems.iter().any(|text| text.starts_with(said)), "{problems:?}");
    assert_eq!(world.log().filter(|line| line.contains("would swallow itself")).count(), 1);
}

/// Of two routes to a destination that with the smaller distance is used, and the other one when that is gone; static
/// ones are there as long as they lead somewhere, and are taken back at the end.
#[test]
fn static_routes_and_distances() {
    let lan_b = (Ipv4Addr::new(10, 2, 0, 0), 24);
    let chosen = |world: &World| {
        let route = world.at(0).control().kernel_route(lan_b.0, lan_b.1)?;
        Some((route.origin, route.distance, route.gateways.len()))
    };
    let lines = "ip route 10.2.0.0/24 Null0 200\nip route 172.30.0.0/16 203.0.113.2 tag 7\nip route 172.31.0.0/16 192.0.2.254\n\
                 ip route 172.29.0.0/16 10.99.0.1\nip route 198.51.100.0/24 gre0\nip route 172.28.0.0/16 \
                 10.2.0.9\nrouter ospf\n redistribute static\n";
    let a = site_with("freebsd-a", lines);
    let mut world = World::start(1, vec![a, site("freebsd-b")], Conditions::default());
    assert!(world.run_until(Duration::from_secs(2), World::is_up), "{}", story(&world));
    assert!(
        world.run_until(Duration::from_secs(5), |world| chosen(world) == Some((RouteOrigin::Ospf, 110, 1)))
    );
    let of_file = |world: &World| -> Vec<Ipv4Addr> {
        let routes = world.at(0).control().kernel_routes().into_iter();
        routes.filter(|route| route.origin == RouteOrigin::Static).map(|route| route.network).collect()
    };
    // One more leads nowhere, which is said, and one would swallow the tunnel.
    let networks =
        |seconds: &[u8]| seconds.iter().map(|second| Ipv4Addr::new(172, *second, 0, 0)).collect::<Vec<_>>();
    assert_eq!(of_file(&world), networks(&[28, 30, 31]));
    // One whose gateway OSPF leads to goes where OSPF goes.
    let far = world.at(0).control().kernel_route(Ipv4Addr::new(172, 28, 0, 0), 16).unwrap();
    assert_eq!(far.gateways[0].0, Ipv4Addr::new(203, 0, 113, 2));
    let told = world.log().filter(|line| line.contains("`ip route 172.29.0.0/16 …` is not used")).count();
    assert_eq!(told, 1, "{}", story(&world));
    let time = world.time();
    let shown = world.router(0).order(time, &["undebug", "all"]).unwrap();
    assert!(shown.contains("none"), "{shown}");
    // Only what is in use is redistributed.
    let advertised = |world: &World, network: &str| {
        let time = world.time();
        let words = ["ip", "ospf", "database", "external", network, "self-originate"];
        world.at(0).control().show(time, &words).unwrap().contains("LS age")
    };
    world.run(Duration::from_secs(10));
    assert!(advertised(&world, "172.30.0.0") && !advertised(&world, "10.2.0.0"));
    world.cut = true;
    let fallen = |world: &World| chosen(world) == Some((RouteOrigin::Static, 200, 0));
    assert!(world.run_until(Duration::from_secs(60), fallen), "{}", story(&world));
    world.run(Duration::from_secs(1));
    assert!(advertised(&world, "10.2.0.0") && !advertised(&world, "172.28.0.0"));
    assert!(!of_file(&world).contains(&Ipv4Addr::new(172, 28, 0, 0)));
    let time = world.time();
    world.router(0).shut_down(time);
    assert_eq!(world.at(0).control().kernel_routes(), []);

    let a =
        site_with("freebsd-a", "ip route 10.2.0.0/24 Null0 200\nrouter ospf\n distance 201 203.0.113.0/30\n");
    let mut world = World::start(1, vec![a, site("freebsd-b")], Conditions::default());
    assert!(world.run_until(Duration::from_secs(2), |world| world.reached(0, Milestone::OspfFull).is_some()));
    world.run(Duration::from_secs(5));
    assert_eq!(chosen(&world), Some((RouteOrigin::Static, 200, 0)));
    let a = site_with("freebsd-a", "router ospf\n distance ospf intra-area 255\n");
    let mut world = World::start(1, vec![a, site("freebsd-b")], Conditions::default());
    world.run(Duration::from_secs(10));
    assert!(world.reached(0, Milestone::OspfFull).is_some() && chosen(&world).is_none());
}

/// OSPF's packets have TTL 1 (RFC 2328 section A.1), and what carries them through the internet has not.
#[test]
fn outer_headers_do_not_inherit_the_ttl() {
    let mut world = world(1, Conditions::default());
    assert!(world.run_until(Duration::from_secs(2), World::is_up), "{}", story(&world));
    const ESP: u8 = 50;
    let ttls: Vec<u8> = world
        .records()
        .iter()
        .filter(|record| record.bytes[9] == ESP)
        .map(|record| record.bytes[8])
        .collect();
    assert!(!ttls.is_empty() && ttls.iter().all(|ttl| *ttl == 64), "{ttls:?}");
}
