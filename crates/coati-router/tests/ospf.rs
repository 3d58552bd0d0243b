//! ospfd.conf alone: static routes.

use std::time::Instant;

use coati_config::Source;
use coati_config::site::{Site, SiteFiles};
use coati_crypto::SeededRandom;
use coati_ospf::Link;
use coati_router::{Control, ControlEvent, Now, Plane, RouteOrigin};

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
        "ip route 10.0.0.0/8 192.0.2.9 7\nip route 10.1.0.0/16 Null0\n\nip route 10.2.0.0/16 10.0.0.1\nip route \
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
    assert!(control.has_static_routes() && control.kernel_routes().len() == 3);
    let shown = control.show(now, &["ip", "route"]).unwrap();
    assert!(shown.contains("S>* 10.0.0.0/8 [7/0] via 192.0.2.9, em0, weight 1\n"), "{shown}");
    assert!(shown.contains("S>* 10.3.0.0/16 [1/0] is directly connected, em1, weight 1\n"), "{shown}");
    assert!(control.show(now, &["ip", "ospf"]).unwrap_err().contains("not configured"));
    let events: Vec<_> = std::iter::from_fn(|| control.poll_event()).collect();
    let said = |event: &ControlEvent| match event {
        ControlEvent::Ospf(coati_ospf::Event::Problem(text)) => Some(text.clone()),
        _ => None,
    };
    let problems: Vec<String> = events.iter().filter_map(said).collect();
    let wanted = "ospfd.conf:4:1: `ip route 10.2.0.0/16 …` is not used: no network of an interface that is up has 10.0.0.1 (a \
                  gateway that only another route leads to is not looked for: name the next hop itself)";
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
