//! What the model says of a few texts that matter most: cases compare printed commands.

use coati_sadb::{
    Action, Bundle, Direction, Level, Mode, NatT, Policy, Port, Priority, ReqId, Request, Sa, SaProto, Spi,
    Upper,
};

use crate::Source;
use crate::setkey::{forwarding, is_complete, parse};

fn one(text: &str) -> Request {
    let statements = parse(&Source::new("setkey.conf", text)).expect("it is right");
    statements.into_iter().next().expect("a statement").request
}

fn policy(text: &str) -> Policy {
    match one(text) {
        Request::SpdAdd(policy) => *policy,
        other => panic!("{other:?}"),
    }
}

fn sa(text: &str) -> Sa {
    match one(text) {
        Request::Add(sa) => *sa,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_policy_of_the_how_to() {
    let text =
        "flush;\nspdflush;\nspdadd 192.0.2.1/32 198.51.100.1/32 gre -P out ipsec esp/transport//unique;\n";
    let statements = parse(&Source::new("setkey.conf", text)).unwrap();
    assert_eq!(statements.len(), 3);
    assert_eq!(statements[2].origin.place().line, 3);
    let Request::SpdAdd(policy) = &statements[2].request else { panic!() };
    assert_eq!(policy.selector.upper, Upper::GRE);
    assert_eq!(policy.direction, Direction::Out);
    assert_eq!(policy.priority, Priority(0x8000_0000));
    let Action::Ipsec(rules) = &policy.action else { panic!() };
    assert_eq!(rules[0].level, Level::Unique(ReqId(0)));
}

#[test]
fn manual_keys() {
    let sa =
        sa("add 192.0.2.1 198.51.100.1 esp 0x1000 -m transport -u 7 -r 8 -E aes-cbc \"sixteen byte key\" \
                 -A hmac-sha1 0x000102030405060708090a0b0c0d0e0f10111213;");
    assert_eq!((sa.id.spi, sa.reqid, sa.replay_window), (Spi(0x1000), ReqId(7), 64));
    assert_eq!((sa.id.proto, sa.mode), (SaProto::Esp, Mode::Transport));
    assert_eq!(sa.enc_key.expose(), b"sixteen byte key");
    assert_eq!(sa.auth_key.expose()[..3], [0, 1, 2]);
    assert_eq!(sa.auth_key.len(), 20);
}

#[test]
fn an_sa_inside_udp() {
    let sa = sa(
        "add 192.0.2.1[4500] 198.51.100.1[30001] esp-udp 10.1.2.3 0x1000 -A hmac-sha1 \"twenty bytes of text\";",
    );
    let wanted = NatT {
        source_port: 4500,
        destination_port: 30_001,
        original: Some("10.1.2.3".parse().unwrap()),
        non_ike_marker: false,
    };
    assert_eq!(sa.nat_t, Some(wanted));
}

#[test]
fn compression_before_esp() {
    let policy = policy(
        "spdadd 192.0.2.1 198.51.100.1 any -P out ipsec ipcomp/transport//use esp/transport//require;",
    );
    let Action::Ipsec(rules) = &policy.action else { panic!() };
    let bundle = Bundle::of(rules).unwrap();
    assert_eq!((bundle.ipcomp.unwrap().level, bundle.esp.level), (Level::Use, Level::Require));
}

#[test]
fn types_codes_and_keys_are_in_the_places_of_ports() {
    let selector = policy("spdadd ::/0 ::/0 icmp6 135,3 -P in none;").selector;
    assert_eq!((selector.upper, selector.source_port), (Upper::Proto(58), Port::Is(135)));
    assert_eq!(selector.destination_port, Port::Is(3));
    for key in ["66770", "0.1.4.210"] {
        let selector = policy(&format!("spdadd 192.0.2.1 192.0.2.2 gre {key} -P in none;")).selector;
        assert_eq!((selector.source_port, selector.destination_port), (Port::Is(1), Port::Is(1234)));
    }
}

#[test]
fn a_higher_priority_is_a_smaller_number() {
    for (words, value) in [
        ("low", 0xc000_0000),
        ("def", 0x8000_0000),
        ("high", 0x4000_0000),
        ("low - 5", 0xc000_0005),
        ("high + 1073741824", 0),
        ("low - 1073741823", 0xffff_ffff),
        ("100", 0x7fff_ff9c),
        ("-100", 0x8000_0064),
    ] {
        let text = format!("spdadd 192.0.2.1 192.0.2.2 gre -P out prio {words} none;");
        assert_eq!(policy(&text).priority, Priority(value), "{words}");
    }
}

#[test]
fn what_linux_needs_beside_a_policy_for_what_comes_in() {
    let text =
        "spdadd 192.0.2.1 192.0.2.2 gre -P in prio high ipsec ah/transport//use esp/transport//unique:7;";
    let Some(Request::SpdAdd(fwd)) = forwarding(&one(text)) else { panic!() };
    let Action::Ipsec(rules) = &fwd.action else { panic!() };
    let levels: Vec<Level> = rules.iter().map(|rule| rule.level).collect();
    assert_eq!((fwd.direction, fwd.priority), (Direction::Fwd, Priority(0x4000_0000)));
    assert_eq!(levels, [Level::Use, Level::Require]);
    assert_eq!(forwarding(&one("spdadd 192.0.2.1 192.0.2.2 gre -P out none;")), None);
    let gone = forwarding(&one("spddelete 192.0.2.1 192.0.2.2 gre -P in;"));
    assert!(matches!(gone, Some(Request::SpdDelete(_, Direction::Fwd))), "{gone:?}");
}

#[test]
fn where_a_command_ends() {
    for text in ["", "flush;", "flush; # and more", "# only this", "a \";\" b;", "flush;\n"] {
        assert!(is_complete(text), "{text}");
    }
    for text in ["flush", "flush; spdflush", "flush # ;", "add \";", "add [;]"] {
        assert!(!is_complete(text), "{text}");
    }
}
