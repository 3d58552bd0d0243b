//! ospfd.conf alone: static routes, what outlives `clear ip ospf process`, and a system that does not take packets.

use std::io;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use coati_config::Source;
use coati_config::site::{Site, SiteFiles};
use coati_crypto::SeededRandom;
use coati_ospf::Link;
use coati_router::{Control, ControlEvent, Now, Plane, RouteOrigin};
use coati_wire::ipv4;

fn site(text: &str) -> Site {
    let ospfd_conf = Some(Source::new("ospfd.conf", text));
    let (site, remarks) = Site::read(&SiteFiles { ospfd_conf, ..SiteFiles::default() });
    assert!(remarks.is_empty(), "{remarks:?}");
    site
}

fn control(site: &Site) -> Control {
    let plane = Plane::new(|| Box::new(SeededRandom::new(1)));
    Control::new(site, plane, || Box::new(SeededRandom::new(2)))
}

fn link(index: u32, name: &str, address: [u8; 4]) -> Link {
    Link {
        index,
        name: name.into(),
        address: address.into(),
        prefix_len: 24,
        peer: None,
        mtu: 1500,
        speed: None,
        point_to_point: false,
        loopback: false,
    }
}

/// Without `router ospf` the routes of the file go to the kernel all the same, and are shown; one that leads nowhere is
/// named at its place, once.
#[test]
fn static_routes_without_ospf() {
    let now = Now { at: Instant::now(), wall: 1000 };
    let before = site(
        "ip route 10.0.0.0/8 192.0.2.9 7\nip route 10.1.0.0/16 Null0\n\nip route 10.2.0.0/16 172.16.0.1\nip route \
         10.3.0.0/16 em1\n",
    );
    assert!(!before.has_ospf());
    let mut control = control(&before);
    let links = vec![link(2, "em0", [192, 0, 2, 1])];
    control.handle_interfaces(now, links.clone());
    let both = vec![link(2, "em0", [192, 0, 2, 1]), link(3, "em1", [198, 51, 100, 1])];
    control.handle_interfaces(now, both.clone());
    let brief = |control: &Control| -> Vec<String> {
        let routes = control.routes().into_iter();
        let text = |route: coati_router::admin::RouteStatus| {
            format!(
                "{} {:?} {} {} {}",
                route.prefix, route.via, route.interface, route.origin, route.distance
            )
        };
        routes.map(text).collect()
    };
    let expected = [
        "10.0.0.0/8 Some(\"192.0.2.9\") em0 static 7",
        "10.1.0.0/16 None  static 1",
        "10.3.0.0/16 None em1 static 1",
    ];
    assert_eq!(brief(&control), expected);
    assert!(control.knows_its_routes() && control.kernel_routes().len() == 3);
    let shown = control.show(now, &["ip", "route"]).unwrap();
    assert!(shown.contains("S>* 10.0.0.0/8 [7/0] via 192.0.2.9, em0, weight 1\n"), "{shown}");
    assert!(shown.contains("S>* 10.3.0.0/16 [1/0] is directly connected, em1, weight 1\n"), "{shown}");
    // One that the kernel refuses is no route, and everybody can see why.
    let refused = [((Ipv4Addr::new(10, 0, 0, 0), 8), "Invalid argument".to_owned())].into();
    control.handle_refused_routes(now, &refused);
    let shown = control.show(now, &["ip", "route"]).unwrap();
    let line = "S>r 10.0.0.0/8 [7/0] via 192.0.2.9, em0, weight 1\n  r   the kernel does not take it: Invalid argument\n";
    assert!(shown.contains(line), "{shown}");
    let json = control.show(now, &["ip", "route", "json"]).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let (first, other) = (&json["10.0.0.0/8"][0], &json["10.3.0.0/16"][0]);
    assert_eq!((&first["failed"], &first["installed"]), (&true.into(), &serde_json::Value::Null), "{json}");
    assert_eq!((&other["failed"], &other["installed"]), (&serde_json::Value::Null, &true.into()), "{json}");
    assert_eq!(control.routes()[0].refused.as_deref(), Some("Invalid argument"));
    let problems = control.problems(now);
    assert!(problems.iter().any(|text| text.starts_with("ospfd.conf:4:1: ")), "{problems:?}");
    let wanted = "the kernel does not take the route to 10.0.0.0/8: Invalid argument";
    assert!(problems.iter().any(|text| text == wanted), "{problems:?}");
    control.handle_refused_routes(now, &std::collections::BTreeMap::new());
    assert!(!control.problems(now).iter().any(|text| text == wanted));
    assert!(control.show(now, &["ip", "ospf"]).unwrap_err().contains("not configured"));
    let events: Vec<_> = std::iter::from_fn(|| control.poll_event()).collect();
    let said = |event: &ControlEvent| match event {
        ControlEvent::Ospf(coati_ospf::Event::Problem(text)) => Some(text.clone()),
        _ => None,
    };
    let problems: Vec<String> = events.iter().filter_map(said).collect();
    let wanted = "ospfd.conf:4:1: `ip route 10.2.0.0/16 …` is not used: neither a network of an \
                  interface that is up nor another route has 172.16.0.1";
    assert_eq!(problems.iter().filter(|text| *text == wanted).count(), 1, "{problems:?}");
    assert_eq!(control.ospf_links().count(), 0);
    // OSPF may begin later.
    let after = site("ip route 10.1.0.0/16 Null0\nrouter ospf\n network 192.0.2.0/24 area 0\n");
    assert!(control.reconfigure(now, &before, &after).ospf_changed);
    control.handle_interfaces(now, both);
    assert!(control.show(now, &["ip", "ospf"]).unwrap().contains("198.51.100.1"));
    let routes = control.kernel_routes();
    assert_eq!(routes.iter().filter(|route| route.origin == RouteOrigin::Static).count(), 1);
    control.shutdown(now);
    assert_eq!(control.kernel_routes(), []);
}

/// Two routers on one wire.
struct Pair {
    now: Now,
    ends: [Control; 2],
    /// How the system of the first one takes its packets.
    takes: Box<dyn FnMut() -> io::Result<()>>,
    /// What that told.
    told: Vec<String>,
    /// The last packet of the second one.
    last: Vec<u8>,
}

const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)];

impl Pair {
    fn new(takes: impl FnMut() -> io::Result<()> + 'static) -> Self {
        let now = Now { at: Instant::now(), wall: 1_700_000_000 };
        let ends = ADDRESSES.map(|address| {
            let site = site(
                "key chain K\n key 1\n  key-string geheim\n  cryptographic-algorithm hmac-sha-256\ninterface em0\n ip ospf \
                 area 0\n ip ospf network point-to-point\n ip ospf authentication key-chain K extended-sequence\nrouter \
                 ospf\n",
            );
            let mut control = control(&site);
            control.handle_interfaces(now, vec![link(2, "em0", address.octets())]);
            control
        });
        Self { now, ends, takes: Box::new(takes), told: Vec::new(), last: Vec::new() }
    }

    /// Carries what both have to say, until they have nothing.
    fn carry(&mut self) {
        let mut silent = false;
        while !std::mem::replace(&mut silent, true) {
            for from in [0, 1] {
                while let Some(transmit) = self.ends[from].poll_ospf() {
                    silent = false;
                    let packet = packet(ADDRESSES[from], &transmit);
                    if from == 1 {
                        self.last.clone_from(&packet);
                    } else {
                        let sent = (self.takes)();
                        self.told.extend(self.ends[0].handle_sent(self.now, transmit.interface, &sent));
                        if sent.is_err() {
                            continue;
                        }
                    }
                    self.ends[1 - from].handle_ospf(self.now, 2, &packet);
                }
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now.at + time;
        loop {
            self.carry();
            let due = self.ends.iter().filter_map(Control::next_timeout).min().filter(|at| *at <= end);
            let Some(at) = due else { break };
            self.now.at = at.max(self.now.at);
            let now = self.now;
            self.ends.iter_mut().for_each(|end| end.handle_timeout(now));
        }
        self.now.at = end;
    }

    fn is_full(&self) -> bool {
        self.ends.iter().all(|end| end.neighbours().iter().map(|it| it.state.as_str()).eq(["Full"]))
    }

    fn failed(&self) -> u64 {
        let counters = self.ends[0].counters();
        counters
            .iter()
            .find(|(name, _)| name == "ospf: packets that the system did not take")
            .map_or(0, |it| it.1)
    }
}

fn packet(source: Ipv4Addr, transmit: &coati_ospf::Transmit) -> Vec<u8> {
    let header = ipv4::Repr {
        tos: 0xc0,
        id: 1,
        dont_fragment: false,
        ttl: transmit.ttl,
        protocol: ipv4::protocol::OSPF,
        source,
        destination: transmit.destination,
        payload_len: transmit.payload.len(),
    };
    [&header.emit()[..], &transmit.payload].concat()
}

/// What was heard before is not taken again afterwards: not even the last hello, with which no state has changed.
#[test]
fn clearing_the_process_lets_no_replay_in() {
    let mut pair = Pair::new(|| Ok(()));
    pair.run(Duration::from_secs(35));
    assert!(pair.is_full());
    let (now, hello) = (pair.now, pair.last.clone());
    pair.ends[0].order(now, &["clear", "ip", "ospf", "process"]).unwrap();
    assert!(pair.ends[0].neighbours().is_empty());
    pair.ends[0].handle_ospf(now, 2, &hello);
    assert!(pair.ends[0].neighbours().is_empty());
    let counters = pair.ends[0].counters();
    assert!(counters.contains(&("ospf: old cryptographic sequence number".to_owned(), 1)), "{counters:?}");
    pair.run(Duration::from_secs(15));
    assert!(pair.is_full());
}

/// A system that takes none of some packets, or one and not the next: nobody is given up, what did not leave is sent
/// again, and it is counted and said, not once for each packet.
#[test]
fn packets_that_the_system_does_not_take() {
    // EPERM, ENETUNREACH and ENOBUFS, Linux' numbers.
    for number in [1, 101, 105] {
        let error = move || Err(io::Error::from_raw_os_error(number));
        let mut count = 0;
        let mut pair = Pair::new(move || {
            count += 1;
            if count % 2 == 0 { error() } else { Ok(()) }
        });
        pair.run(Duration::from_secs(60));
        assert!(pair.is_full() && pair.failed() > 3, "{number}: {}", pair.failed());
        let said = format!("OSPF on em0: packets do not leave: {}", io::Error::from_raw_os_error(number));
        assert_eq!(pair.told.first(), Some(&said));
        // At most once in ten seconds, and its end.
        assert!(pair.told.len() <= 12, "{:?}", pair.told);

        pair.takes = Box::new(|| Ok(()));
        pair.run(Duration::from_secs(30));
        pair.told.clear();
        let before = pair.failed();
        // For shorter than the dead interval.
        pair.takes = Box::new(error);
        pair.run(Duration::from_secs(25));
        assert!(pair.is_full() && pair.failed() >= before + 2);
        assert_eq!(pair.told, [said.as_str()]);
        assert_eq!(pair.ends[0].problems(pair.now), [said.as_str()]);
        pair.takes = Box::new(|| Ok(()));
        pair.run(Duration::from_secs(30));
        assert_eq!(pair.told, [said.as_str(), "OSPF on em0: packets leave again"]);
        assert!(pair.is_full() && pair.ends[0].problems(pair.now).is_empty());
        // For longer: the neighbour is lost, and comes back.
        pair.takes = Box::new(error);
        pair.run(Duration::from_secs(60));
        assert!(!pair.is_full());
        pair.takes = Box::new(|| Ok(()));
        pair.run(Duration::from_secs(30));
        assert!(pair.is_full());
    }
}
