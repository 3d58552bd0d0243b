//! Whole files, and any text.

use std::net::Ipv4Addr;

use coati_sadb::Prefix;
use proptest::prelude::*;

use super::super::{HostInterface, Passwords, import};
use super::{hosts, imported, read};
use crate::diagnostic::{Diagnostic, Severity, Source};
use crate::ospfd::{AreaType, BfdProfile, NetworkKind, OspfBfd, RouteSource};

const WHOLE: &str = r#"
# A border router.
define TUNNEL = 30;
define OURS = [ 10.0.0.0/8+, 172.16.0.0/12{16,24} ];
router id 10.255.0.1;
protocol device { }
protocol direct { ipv4; interface "em0"; }
protocol kernel { learn; ipv4 { export all; }; }
protocol static fixed { ipv4; route 10.50.0.0/16 via 192.0.2.9; route 192.0.2.128/25 blackhole; }
protocol bfd { interface "gre0" { interval 50 ms; multiplier 4; }; }
protocol ospf v2 sites {
    ipv4 { import all; export where net ~ OURS; };
    tick 2;
    area 0 {
        networks { 10.0.0.0/16; };
        interface "gre*" {
            type ptp; hello 2; dead count 3; cost TUNNEL; bfd;
            authentication cryptographic;
            password "first-key" { id 1; algorithm hmac sha256; };
            password "second-key" { id 2; algorithm hmac sha256; };
        };
    };
    area 5 {
        nssa; summary; default nssa;
        interface "em1" { stub; };
    };
}
"#;

#[test]
fn a_border_router() {
    let (text, remarks) = imported(WHOLE);
    let said: Vec<String> = remarks.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 1, "{said:#?}");
    assert!(said[0].contains("bird.conf:11:1: note: without `merge external`"), "{said:#?}");
    let conf = read(&text.unwrap());
    assert_eq!(conf.router_id, Some(Ipv4Addr::new(10, 255, 0, 1)));
    let names: Vec<&str> = conf.interfaces.iter().map(|interface| interface.name.as_str()).collect();
    assert_eq!(names, ["gre0", "gre1", "em1"]);
    let gre0 = &conf.interfaces[0];
    assert_eq!((gre0.hello_interval, gre0.dead_interval, gre0.cost), (Some(2), Some(6), Some(30)));
    assert_eq!(gre0.network, Some(NetworkKind::PointToPoint));
    let times = |index: usize| match conf.interfaces[index].bfd.as_ref().unwrap() {
        OspfBfd::Profile(name) => conf.bfd_profiles[name],
        OspfBfd::Times(times) => *times,
    };
    assert_eq!(times(0), BfdProfile { multiplier: 4, receive: 50, transmit: 50 });
    // BIRD's usual ones.
    assert_eq!(times(1), BfdProfile { multiplier: 5, receive: 10, transmit: 100 });
    assert!(conf.interfaces[2].passive && conf.interfaces[2].area == Some(Ipv4Addr::new(0, 0, 0, 5)));
    let five = &conf.areas[&Ipv4Addr::new(0, 0, 0, 5)];
    assert!(
        matches!(five.kind, AreaType::Nssa { default_route: Some((1000, false)), .. }) && !five.no_summary
    );
    // BIRD sends with the first of two keys.
    let keys = &conf.key_chains["bird-1"].keys;
    assert_eq!((keys[&1].secret.expose(), keys[&1].send), (&b"first-key"[..], None));
    let (from, until) = keys[&2].send.unwrap();
    assert!(until.unwrap() == from + 1 && keys[&2].accept.is_none());
    // The kernel has both static routes, OSPF one.
    let routes: Vec<String> = conf.static_routes.iter().map(|route| route.prefix.to_string()).collect();
    assert_eq!(routes, ["10.50.0.0/16", "192.0.2.128/25"]);
    let sources: Vec<RouteSource> = conf.redistribute.iter().map(|rule| rule.source).collect();
    assert_eq!(sources, [RouteSource::Static, RouteSource::Connected, RouteSource::Kernel]);
    let takes = |map: &str, network: &str, interface: &str| {
        conf.route_maps[map].takes(&conf, &network.parse().unwrap(), interface, 0).is_some()
    };
    assert!(takes("bird-static", "10.50.0.0/16", "") && !takes("bird-static", "192.0.2.128/25", ""));
    assert!(takes("bird-kernel", "10.7.0.0/16", "") && !takes("bird-kernel", "11.0.0.0/8", ""));
    assert!(takes("bird-kernel", "172.20.3.0/24", "") && !takes("bird-kernel", "172.20.3.0/25", ""));
    assert!(takes("bird-connected", "10.7.0.0/16", "em0") && !takes("bird-connected", "10.7.0.0/16", "em9"));
}

#[test]
fn routes_stay_as_they_are_without_a_kernel_protocol() {
    let (_, remarks) =
        imported("router id 1; protocol ospf { merge external; area 0 { interface \"em1\"; }; }");
    assert_eq!(remarks.len(), 1, "{remarks:?}");
    assert!(remarks[0].to_string().contains("BIRD keeps OSPF's routes to itself here"));
    // What BIRD chooses by itself, Coati would by another rule.
    let (text, remarks) =
        imported("protocol kernel { ipv4 { export all; }; } protocol ospf { merge external; area 0 { }; }");
    assert!(remarks.len() == 1 && remarks[0].to_string().contains("router id"), "{remarks:?}");
    assert_eq!(read(&text.unwrap()).router_id, None);
}

#[test]
fn a_file_with_static_routes_alone() {
    let routes = "protocol static { ipv4; route 10.0.0.0/8 via 192.0.2.9 via 192.0.2.10; route 10.9.0.0/16 blackhole; }";
    let (text, remarks) = imported(&format!("protocol kernel {{ ipv4 {{ export all; }}; }} {routes}"));
    assert!(remarks.is_empty(), "{remarks:?}");
    let conf = read(&text.unwrap());
    assert!(!conf.enabled && conf.static_routes.len() == 3);
    // As newer ones write an interface.
    let (text, _) = imported("protocol static { ipv4; route 10.0.0.0/8 via 192.0.2.9 dev \"em0\"; }");
    assert!(text.unwrap().contains("ip route 10.0.0.0/8 192.0.2.9 em0\n"));
    // BIRD keeps them to itself, which is hardly meant.
    let (text, remarks) = imported(routes);
    assert!(text.is_some() && remarks.len() == 1 && remarks[0].severity == Severity::Note, "{remarks:?}");
    assert!(remarks[0].message.contains("no `protocol kernel` here does"), "{remarks:?}");
}

/// Routes that OSPF does not export are the kernel's all the same, and stay out of OSPF.
#[test]
fn routes_that_ospf_does_not_export() {
    let (text, remarks) = imported(
        "router id 1.1.1.1; protocol kernel { ipv4 { export all; }; } protocol static { ipv4; route 10.0.0.0/8 via 192.0.2.9;          route 172.30.0.0/16 via 192.0.2.9; } protocol ospf { merge external; area 0 { interface \"em1\"; }; ipv4 { export where          source = RTS_STATIC && net ~ [ 10.0.0.0/8 ]; }; }",
    );
    assert!(remarks.is_empty(), "{remarks:?}");
    let text = text.unwrap();
    let conf = read(&text);
    assert_eq!(conf.static_routes.len(), 2, "{text}");
    assert!(text.contains("route-map bird-static\n") && text.contains("permit 10.0.0.0/8\n"), "{text}");
}

const HEAD: &str = "router id 1.1.1.1; ipv4 table foo; ";
const OSPF: &str = "protocol ospf { merge external; ipv4 { export all; }; area 0 { interface \"em1\"; }; }";

fn routes_of(text: &str) -> (Vec<String>, Vec<Diagnostic>) {
    let (text, remarks) = imported(text);
    let text = text.unwrap();
    read(&text);
    let routes = text.lines().filter_map(|line| line.strip_prefix("ip route "));
    (routes.map(str::to_owned).collect(), remarks)
}

/// BIRD uses that with the largest preference, be it OSPF's; so do distances.
#[test]
fn preferences_become_distances() {
    let statics = "protocol static backup { ipv4 { preference 50; }; route 10.43.0.0/16 via 192.0.2.3; \
                   route 10.44.0.0/16 via 192.0.2.3; } \
                   protocol static main { ipv4; route 10.43.0.0/16 via 192.0.2.2; route 10.44.0.0/16 via 192.0.2.2 via \
                   192.0.2.3; } \
                   protocol static other { ipv4 { preference 180; }; route 10.43.0.0/16 blackhole; }";
    let kernel = "protocol kernel { ipv4 { export all; }; }";
    let (routes, remarks) = routes_of(&format!("{HEAD}{kernel} {statics} {OSPF}"));
    let wanted = [
        "10.43.0.0/16 192.0.2.3 111",
        "10.43.0.0/16 192.0.2.2",
        // The better route has the other one's next hop too.
        "10.44.0.0/16 192.0.2.2",
        "10.44.0.0/16 192.0.2.3",
        "10.43.0.0/16 blackhole 2",
    ];
    assert_eq!(routes, wanted, "{remarks:?}");
    assert!(remarks.iter().all(|remark| remark.message.contains("one table")), "{remarks:?}");
    // Without OSPF nothing is between them.
    let (routes, _) = routes_of(&format!("{HEAD}{kernel} {statics}"));
    assert_eq!(
        (routes[0].as_str(), routes[4].as_str()),
        ("10.43.0.0/16 192.0.2.3 3", "10.43.0.0/16 blackhole 2")
    );
    // OSPF's own preference decides where its routes are.
    let preferred = OSPF.replace("export all;", "export all; preference 210;");
    let (routes, _) = routes_of(&format!("{HEAD}{kernel} {statics} {preferred}"));
    assert_eq!(routes[1], "10.43.0.0/16 192.0.2.2 111");
}

/// A table that nothing but the static routes is in has no effect; one that the kernel or OSPF has does.
#[test]
fn routes_of_other_tables() {
    let foo = "protocol static s4 { ipv4 { table foo; }; route 10.42.0.0/16 via 192.0.2.2; }";
    let main = "protocol static { ipv4; route 10.1.0.0/16 via 192.0.2.2; } protocol kernel { ipv4 { export all; }; }";
    let (routes, remarks) = routes_of(&format!("{HEAD}{foo} {main} {OSPF}"));
    assert_eq!(routes, ["10.1.0.0/16 192.0.2.2"]);
    assert!(
        remarks
            .iter()
            .any(|remark| remark.message.contains("neither OSPF nor the kernel has the table `foo`"))
    );
    // The kernel's alone: not OSPF's to advertise.
    let kernel = "protocol kernel { ipv4 { table foo; export all; }; kernel table 100; }";
    let (text, _) = imported(&format!("{HEAD}{foo} {main} {kernel} {OSPF}"));
    let conf = read(&text.unwrap());
    assert_eq!(conf.static_routes.len(), 2);
    let takes = |network: &str| {
        conf.route_maps["bird-static"].takes(&conf, &network.parse().unwrap(), "", 0).is_some()
    };
    assert!(takes("10.1.0.0/16") && !takes("10.42.0.0/16"));
    // OSPF's and the kernel's; the main one is nobody's then.
    let ospf = OSPF.replace("export all;", "table foo; export all;");
    let one = main.replace("ipv4 { export", "ipv4 { table foo; export");
    let (routes, remarks) = routes_of(&format!("{HEAD}{foo} {one} {ospf}"));
    assert_eq!(routes, ["10.42.0.0/16 192.0.2.2"]);
    assert!(!remarks.iter().any(|remark| remark.message.contains("to itself")), "{remarks:?}");
}

/// A route map knows destinations alone.
#[test]
fn a_destination_that_is_advertised_by_one_of_its_routes() {
    let statics = "protocol static main { ipv4; route 10.1.0.0/16 via 192.0.2.2; } protocol static backup { ipv4 { preference \
                   100; }; route 10.1.0.0/16 via 192.0.2.3; }";
    let ospf = OSPF.replace("export all", "export where proto = \"main\"");
    let kernel = "protocol kernel { ipv4 { export all; }; }";
    let (routes, remarks) = routes_of(&format!("{HEAD}{kernel} {statics} {ospf}"));
    assert_eq!(routes, ["10.1.0.0/16 192.0.2.2", "10.1.0.0/16 192.0.2.3 111"]);
    let said = "Coati advertises the destination by either";
    assert_eq!(remarks.iter().filter(|remark| remark.message.contains(said)).count(), 1, "{remarks:?}");
}

/// What neither the kernel nor OSPF takes is not lost in silence.
#[test]
fn routes_that_nothing_takes() {
    let kernel = "protocol kernel { ipv4 { export where source = RTS_OSPF; }; }";
    let quiet = OSPF.replace("export all", "export none");
    let (routes, remarks) = routes_of(&format!(
        "{HEAD}{kernel} protocol static s {{ ipv4; route 10.1.0.0/16 blackhole; route 10.2.0.0/16 blackhole; }} {quiet}"
    ));
    assert!(routes.is_empty(), "{routes:?}");
    let said = "routes of `s` are left out, 10.1.0.0/16 and others: neither OSPF";
    assert!(remarks.iter().any(|remark| remark.message.contains(said)), "{remarks:?}");
}

/// A filter that cannot be said leaves the route map to somebody, the routes are there.
#[test]
fn routes_of_every_protocol_are_written_when_a_filter_cannot_be_said() {
    let ospf = OSPF.replace("export all", "export where bgp_path.len > 3");
    let (routes, _) = routes_of(&format!(
        "{HEAD}protocol static {{ ipv4; route 10.1.0.0/16 blackhole; }} protocol static {{ ipv4; route 10.2.0.0/16 blackhole; }} \
         {ospf}"
    ));
    assert_eq!(routes, ["10.1.0.0/16 blackhole", "10.2.0.0/16 blackhole"]);
}

#[test]
fn a_file_without_ospf() {
    for text in ["", "protocol device { }", "protocol ospf v3 { area 0 { }; }"] {
        let (written, remarks) = imported(text);
        assert!(written.is_none());
        assert!(remarks.last().unwrap().to_string().contains("there is no `protocol ospf` for OSPFv2 here"));
    }
}

/// Each mistake is said, not the first alone.
#[test]
fn mistakes_do_not_hide_one_another() {
    let text = "protocol ospf {\n tick x;\n area 0 {\n  interface \"em1\" {\n   cost 0;\n   hello 5;\n   priority 300;\n  };\n };\n \
                ecmp limit 0;\n}\nrouter id \"x\";\n";
    let (_, remarks) = imported(text);
    let places: Vec<usize> = remarks.iter().map(|remark| remark.place().line).collect();
    assert_eq!(places, [2, 5, 7, 10, 12], "{remarks:?}");
}

#[test]
fn passwords_are_shown_in_the_file_alone() {
    const PASSWORD: &str = "correct-horse-battery";
    let with = |line: &str| {
        format!(
            "define KEY = \"{PASSWORD}\"; protocol ospf {{ area 0 {{ interface \"em1\" {{ authentication cryptographic; {line} \
             }}; }}; }}"
        )
    };
    let plain = format!("password \"{PASSWORD}\"; cost 0x10;");
    let chain = format!("password \"{PASSWORD}\" {{ algorithm hmac sha256; from \"2026-01-01\"; }};");
    for line in [plain.as_str(), &chain, "password KEY;", "password KEY { algorithm hmac sha512; };"] {
        let source = Source::new("bird.conf", with(line));
        let (text, remarks) = import(&source, &hosts(), Passwords::Hidden);
        let text = text.unwrap();
        read(&text);
        assert!(!text.contains(PASSWORD) && text.contains("(not shown)"), "{text}");
        assert!(remarks.iter().any(|remark| remark.message.contains("passwords are not shown")));
        let (text, _) = import(&source, &hosts(), Passwords::Written);
        assert!(text.unwrap().contains(PASSWORD));
    }
    // Remarks show the lines that they are about.
    for line in [
        format!("password \"{PASSWORD}\"; cost 0;"),
        format!("cost 0; password \"{PASSWORD}"),
        format!("password '{PASSWORD}';"),
        format!("password {};", PASSWORD.replace('-', "_")),
        format!("password \"{PASSWORD}\" {{ id 300; }};"),
        "password KEY { id 300; };".to_owned(),
    ] {
        let (text, remarks) = imported(&with(&line));
        let shown: String = remarks.iter().map(|remark| remark.render(false)).collect();
        assert!(text.is_none() && !shown.is_empty());
        assert!(!shown.contains("correct"), "{shown}");
    }
}

#[test]
fn names_of_interfaces() {
    for (text, right) in [
        ("em1", true),
        ("em1=192.0.2.1/24", true),
        ("em1=192.0.2.1", true),
        ("em1=x", false),
        ("", false),
        ("gre*", false),
        ("two words", false),
        ("an-endless-long-name", false),
        ("10.0.0.1", false),
    ] {
        assert_eq!(text.parse::<HostInterface>().is_ok(), right, "{text}");
    }
}

/// Constants that stand for ever more of each other, and endless nesting.
#[test]
fn files_that_grow() {
    let mut text = "define A0 = 1, 1, 1, 1, 1, 1, 1, 1, 1, 1;\n".to_owned();
    for number in 1..30 {
        let before = format!("A{}, ", number - 1).repeat(10);
        text += &format!("define A{number} = {before} 1;\n");
    }
    let (_, remarks) = imported(&text);
    assert!(remarks[0].to_string().contains("this stands for more than"), "{remarks:?}");
    let nested = |open: &str, close: &str| {
        let (open, close) = (open.repeat(50_000), close.repeat(50_000));
        format!(
            "protocol static {{ ipv4; route 10.0.0.0/8 blackhole; }} protocol ospf {{ ipv4 {{ export where {open}true{close}; }}; area 0 {{ }}; }}"
        )
    };
    for text in [nested("(", ")"), nested("!", "")] {
        let (text, remarks) = imported(&text);
        assert!(text.is_some(), "{remarks:?}");
        assert!(remarks.iter().any(|remark| remark.message.contains("too long or too deep")), "{remarks:?}");
    }
    imported(&"protocol ospf { area 0 { interface \"em1\" {".repeat(10_000));
    imported(&"{".repeat(100_000));
    let cases = "if net ~ [ 10.0.0.0/8+, 11.0.0.0/8+, 12.0.0.0/8+ ] then ospf_tag = 1; else ospf_tag = 2;\n"
        .repeat(500);
    let (_, remarks) = imported(&format!(
        "protocol static {{ ipv4; route 10.0.0.0/8 blackhole; }} protocol ospf {{ ipv4 {{ export filter {{ {cases} accept; }}; \
         }}; area 0 {{ }}; }}"
    ));
    assert!(remarks.iter().any(|remark| remark.message.contains("too many cases")), "{remarks:?}");
}

/// A pattern of BIRD's, and whether it takes a network, by the words of its manual.
#[derive(Clone, Debug)]
struct Pattern {
    prefix: Prefix,
    suffix: &'static str,
    lengths: (u8, u8),
}

impl Pattern {
    fn text(&self) -> String {
        match self.suffix {
            "{" => format!("{}{{{},{}}}", self.prefix, self.lengths.0, self.lengths.1),
            suffix => format!("{}{suffix}", self.prefix),
        }
    }

    fn takes(&self, network: &Prefix) -> bool {
        let own = self.prefix.length;
        let (shortest, longest) = match self.suffix {
            "" => (own, own),
            "+" => (own, 32),
            "-" => (0, own),
            _ => self.lengths,
        };
        // As many bits as both have are the same.
        let alike = self.prefix.covers(network) || network.covers(&self.prefix);
        alike && (shortest..=longest).contains(&network.length)
    }
}

fn network() -> impl Strategy<Value = Prefix> {
    // A few bits, so that networks have something to do with one another.
    (0u32..4, 0u32..4, 0u8..=5).prop_map(|(high, low, length)| {
        let address = Ipv4Addr::from(high << 30 | low << 27);
        Prefix::new(address.into(), length).unwrap().network()
    })
}

fn pattern() -> impl Strategy<Value = Pattern> {
    let suffix = prop_oneof![Just(""), Just("+"), Just("-"), Just("{")];
    (network(), suffix, 0u8..=5, 0u8..=5).prop_map(|(prefix, suffix, a, b)| Pattern {
        prefix,
        suffix,
        lengths: (a.min(b), a.max(b)),
    })
}

/// What is near to a bird.conf.
fn almost() -> impl Strategy<Value = String> {
    let words = "protocol|ospf|static|direct|kernel|area|interface|{|}|;|,|0|1|10.0.0.0|/|8|\"em1\"|\"gre*\"|-|stub|nssa|summary|\
                 default|cost|networks|external|hidden|virtual|link|2.2.2.2|authentication|cryptographic|simple|password|id|\
                 generate|from|\"2027-01-31\"|algorithm|hmac|sha256|neighbors|eligible|type|ptp|nbma|ipv4|export|where|filter|\
                 source|=|RTS_STATIC|RTS_DEVICE|net|~|[|]|+|if|then|accept|reject|&&|!|(|)|route|via|blackhole|bfd|yes|no|\
                 define|A|router|hello|dead|tick|ecmp|limit|learn|ttl|security|ospf_metric1|ospf_tag|ifname|else";
    let words: Vec<&'static str> = words.split('|').collect();
    proptest::collection::vec(proptest::sample::select(words), 0..120).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn filters_take_what_bird_takes(
        first in proptest::collection::vec(pattern(), 1..4),
        second in proptest::collection::vec(pattern(), 1..4),
        networks in proptest::collection::vec(network(), 20),
        form in 0usize..4,
    ) {
        let set = |patterns: &[Pattern]| patterns.iter().map(Pattern::text).collect::<Vec<_>>().join(", ");
        let (a, b) = (set(&first), set(&second));
        let export = match form {
            0 => format!("where net ~ [ {a} ] && net ~ [ {b} ]"),
            1 => format!("where net ~ [ {a} ] || ! (net ~ [ {b} ])"),
            2 => format!("filter {{ if net ~ [ {a} ] then reject; if net !~ [ {b} ] then accept; }}"),
            _ => format!("filter {{ if net ~ [ {a} ] then {{ ospf_tag = 3; }} else if net ~ [ {b} ] then reject; accept; }}"),
        };
        let text = format!(
            "router id 1; protocol kernel {{ learn; ipv4 {{ export all; }}; }} protocol ospf {{ ipv4 {{ export {export}; }}; \
             area 0 {{ }}; }}"
        );
        let (text, remarks) = imported(&text);
        prop_assert!(remarks.iter().all(|remark| remark.severity < Severity::Warning), "{:?}", remarks);
        let conf = read(&text.unwrap());
        for network in networks {
            let (a, b) = (first.iter().any(|p| p.takes(&network)), second.iter().any(|p| p.takes(&network)));
            let wanted = match form {
                0 => (a && b).then_some(0),
                1 => (a || !b).then_some(0),
                2 => (!a && !b).then_some(0),
                _ => (a || !b).then_some(if a { 3 } else { 0 }),
            };
            let rule = conf.redistribute.first();
            let found = rule.and_then(|rule| match &rule.route_map {
                None => Some(0),
                Some(map) => conf.route_maps[map].takes(&conf, &network, "", 0).map(|entry| entry.set_tag.unwrap_or(0)),
            });
            prop_assert_eq!(found, wanted, "{} by {}", network, export);
        }
    }

    #[test]
    fn any_text(text in "\\PC{0,200}") {
        imported(&text);
    }

    #[test]
    fn what_is_written_can_be_read(inner in almost(), place in 0usize..4) {
        let text = match place {
            0 => inner,
            1 => format!("protocol ospf {{ {inner} }}"),
            2 => format!("protocol ospf {{ area 1 {{ {inner} }}; }}"),
            _ => format!("protocol ospf {{ ipv4 {{ export filter {{ {inner} }}; }}; area 1 {{ interface \"em1\" {{ {inner} }}; }}; }}"),
        };
        let (written, remarks) = imported(&text);
        for remark in &remarks {
            remark.render(false);
        }
        if let Some(written) = written {
            prop_assert!(read(&written).enabled);
        } else {
            prop_assert!(remarks.iter().any(|remark| remark.severity == Severity::Error));
        }
    }
}

/// One mistake does not hide those behind it.
#[test]
fn one_stray_word_does_not_stop_the_report() {
    let text = "router id 1.1.1.1\nstray protocol ospf {\n stray area 0 {\n  interface \"em1\" { cost 0; };\n  interface \"gre0\" \
                { hello 5 dead 20; };\n };\n tick 0;\n area 1 { $ interface \"em0\" { hello x; }; };\n}\n";
    let (conf, remarks) = imported(text);
    assert!(conf.is_none());
    let errors: Vec<String> =
        remarks.iter().filter(|remark| remark.severity == Severity::Error).map(ToString::to_string).collect();
    let first: Vec<&str> = errors.iter().filter_map(|error| error.lines().next()).collect();
    let wanted = [
        "bird.conf:8:11: error: `$` has no meaning",
        "bird.conf:2:1: error: a semicolon `;` is missing before `stray`",
        "bird.conf:2:1: error: `stray` does not belong here",
        "bird.conf:3:2: error: `stray` does not belong here",
        "bird.conf:4:26: error: expected a number from 1 to 65535",
        "bird.conf:5:30: error: a semicolon `;` is missing before `dead`",
        "bird.conf:7:7: error: expected a number from 1 to 600",
        "bird.conf:8:37: error: expected a number from 1 to 65535",
    ];
    assert_eq!(first.len(), wanted.len(), "{first:#?}");
    for (found, wanted) in first.iter().zip(wanted) {
        assert!(found.starts_with(wanted), "{found}\n{wanted}");
    }
}
