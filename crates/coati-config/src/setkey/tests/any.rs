//! Any text, and any policy printed and read again.

use std::net::IpAddr;

use coati_sadb::{
    Action, Direction, Level, Mode, Policy, PolicyId, Port, Prefix, Priority, ReqId, Request, Rule, SaProto,
    Selector, Upper, Usage,
};
use proptest::prelude::*;

use super::{outcome, reading};
use crate::Source;
use crate::setkey::{Dialect, command, parse};

fn address(is_ipv4: bool) -> BoxedStrategy<IpAddr> {
    match is_ipv4 {
        true => any::<u32>().prop_map(|bits| IpAddr::V4(bits.into())).boxed(),
        false => any::<u128>().prop_map(|bits| IpAddr::V6(bits.into())).boxed(),
    }
}

fn prefix(is_ipv4: bool) -> impl Strategy<Value = Prefix> {
    let max: u8 = if is_ipv4 { 32 } else { 128 };
    (address(is_ipv4), 0..=max).prop_map(|(address, length)| Prefix::new(address, length).unwrap())
}

fn port() -> impl Strategy<Value = Port> {
    prop_oneof![Just(Port::Any), (1..=u16::MAX).prop_map(Port::Is)]
}

/// A protocol with the ports, types or keys that it has.
fn upper() -> impl Strategy<Value = (Upper, Port, Port)> {
    let byte = || any::<u8>().prop_map(|byte| Port::Is(byte.into()));
    let types = prop::sample::select(vec![1u8, 58, 135]).prop_map(Upper::Proto);
    let key = || any::<u16>().prop_map(Port::Is);
    prop_oneof![
        (Just(Upper::Any), port(), port()),
        (prop::sample::select(vec![6u8, 17, 132]).prop_map(Upper::Proto), port(), port()),
        (types, byte(), byte()),
        (Just(Upper::GRE), key(), key()),
        ((1..255u8).prop_map(Upper::Proto), Just(Port::Any), Just(Port::Any)),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    let proto = prop::sample::select(vec![SaProto::Esp, SaProto::Ah, SaProto::Ipcomp]);
    let level = prop_oneof![
        Just(Level::Default),
        Just(Level::Use),
        Just(Level::Require),
        (0..=ReqId::MANUAL_MAX).prop_map(|number| Level::Unique(ReqId(number))),
    ];
    let ends = any::<bool>().prop_flat_map(|is_ipv4| (address(is_ipv4), address(is_ipv4)));
    (proto, any::<bool>(), prop::option::of(ends.clone()), ends, level).prop_map(
        |(proto, is_tunnel, endpoints, needed, level)| {
            let (mode, endpoints) = match is_tunnel {
                true => (Mode::Tunnel, Some(needed)),
                false => (Mode::Transport, endpoints),
            };
            Rule { proto, mode, endpoints, level }
        },
    )
}

fn policy() -> impl Strategy<Value = Policy> {
    let ends = any::<bool>().prop_flat_map(|is_ipv4| (prefix(is_ipv4), prefix(is_ipv4)));
    let direction = prop::sample::select(vec![Direction::In, Direction::Out, Direction::Fwd]);
    let action = prop_oneof![
        Just(Action::Discard),
        Just(Action::None),
        prop::collection::vec(rule(), 1..4).prop_map(Action::Ipsec),
    ];
    (ends, upper(), direction, any::<u32>(), action).prop_map(|(ends, upper, direction, priority, action)| {
        Policy {
            id: PolicyId(0),
            selector: Selector {
                source: ends.0,
                source_port: upper.1,
                destination: ends.1,
                destination_port: upper.2,
                upper: upper.0,
            },
            direction,
            priority: Priority(priority),
            action,
            usage: Usage::default(),
        }
    })
}

proptest! {
    #[test]
    fn a_policy_printed_is_read_as_what_it_was(policy in policy()) {
        let request = Request::SpdAdd(Box::new(policy));
        let text = command(&request);
        let statements = parse(&Source::new("t", text.as_str())).map_err(|error| {
            TestCaseError::fail(error.to_string())
        })?;
        prop_assert_eq!(statements.len(), 1, "{}", text);
        prop_assert_eq!(&statements[0].request, &request, "{}", text);
    }

    #[test]
    fn any_text(text in "(spdadd |add |delete |getspi )?\\PC{0,200}") {
        outcome(&text, &reading(Dialect::FreeBsd));
    }

    #[test]
    fn any_words(words in prop::collection::vec(prop::sample::select(vec![
        "spdadd", "add", "getspi", "deleteall", "exit", "1.1.1.1", "2.2.2.2/32", "/24", "::1", "two.example", "gre",
        "icmp", "8,0", "tcp", "-P", "out", "in", "ipsec", "esp/transport//unique", "esp/tunnel/1.1.1.1", "-2.2.2.2/use",
        "me-any", ";", "[", "]", "http", "-E", "-A", "-m", "tunnel", "aes-cbc", "null", "\"k\"", "0x1", "0x100", "prio",
        "low", "+", "-", "esp", "esp-udp", "tagged", "-46n", "\n", "#"]), 0..24), dialect in 0usize..3) {
        outcome(&words.join(" "), &reading(Dialect::NAMES[dialect].1));
    }
}
