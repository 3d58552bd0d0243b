//! ESP, AH and IPComp around each other: whatever a peer with keys seals, whatever comes behind a header without keys, and
//! headers in headers. Nothing unprotected gets in, and what goes in comes out.

use std::time::Instant;

use coati_config::{Source, setkey};
use coati_crypto::SeededRandom;
use coati_ipsec::{Outbound, Packet, Sadb};
use coati_sadb::Reply;
use coati_wire::ip;

use crate::reader::Reader;

/// Ends of the packets, and of the tunnels around them.
const ENDS: [(&str, &str); 2] = [("192.0.2.1", "198.51.100.1"), ("2001:db8::1", "2001:db8::2")];
const OUTER: (&str, &str) = ("10.0.0.1", "10.0.0.2");
/// @ stands for the ends of a tunnel.
const BUNDLES: [&str; 8] = [
    "esp/transport//require",
    "ah/transport//require",
    "esp/transport//require ah/transport//require",
    "ah/transport//require esp/transport//require",
    "ipcomp/transport//use ah/transport//require",
    "esp/tunnel/@/require ah/transport//require",
    "ah/tunnel/@/require esp/transport//require",
    "ipcomp/tunnel/@/use esp/transport//require",
];

/// A host that sends or receives, with keys for everything.
fn host((near, far): (&str, &str), direction: &str, rules: &str) -> Sadb {
    let mut text = String::new();
    for (source, destination) in [(near, far), OUTER] {
        let key = "\"twenty bytes of keys\"";
        text += &format!(
            "add {source} {destination} ipcomp 0x1234 -C deflate;
             add {source} {destination} ah 0x1001 -r 8 -f esn -A hmac-sha1 {key};
             add {source} {destination} esp 0x1002 -r 8 -E null -A hmac-sha1 {key};"
        );
    }
    let rules = rules.replace('@', &format!("{}-{}", OUTER.0, OUTER.1));
    text += &format!("spdadd {near} {far} any -P {direction} ipsec {rules};");
    let mut sadb = Sadb::new(Box::new(SeededRandom::new(1)));
    for statement in setkey::parse(&Source::new("setkey.conf", &text)).expect("it is right") {
        let reply = sadb.request(Instant::now(), 0, statement.request);
        assert!(!matches!(reply, Reply::Refused { .. }), "{reply:?}");
    }
    sadb
}

fn packet((source, destination): (&str, &str), protocol: u8, payload: &[u8]) -> Packet {
    let header = ip::Repr {
        tos: 0,
        id: 7,
        dont_fragment: false,
        ttl: 64,
        protocol,
        source: source.parse().expect("an address"),
        destination: destination.parse().expect("an address"),
        payload_len: payload.len(),
    };
    let mut bytes = vec![0; header.header_len()];
    header.emit(&mut bytes).expect("one family");
    Packet::new(&[&bytes, payload].concat())
}

/// What is chosen by the first byte, the protocol, and a payload; behind it how the sealed packet is changed.
pub fn bundles(data: &[u8]) {
    let mut reader = Reader::new(data);
    let (what, protocol) = (usize::from(reader.byte()), reader.byte());
    let payload = reader.piece();
    let (ends, rules) = (ENDS[what & 1], BUNDLES[what >> 1 & 7]);
    let (near, far) = (host(ends, "out", rules), host(ends, "in", rules));
    let inbound = |packet: &mut Packet| far.snapshot().inbound(packet, 0);
    let clear = packet(ends, protocol, payload);
    assert!(inbound(&mut clear.clone()).is_err(), "without keys");
    let (mut sent, mut verdicts) = (clear.clone(), Vec::new());
    let random = &mut SeededRandom::new(2);
    near.snapshot().outbound(std::slice::from_mut(&mut sent), &mut verdicts, 0, random);
    if verdicts != [Outbound::Sealed] {
        return;
    }
    let mut changed = sent.bytes().to_vec();
    reader.change(&mut changed);
    let mut changed = Packet::new(&changed);
    if inbound(&mut changed).is_ok() {
        ip::Packet::parse(changed.bytes()).expect("its header is right");
    } else if inbound(&mut sent.clone()).is_ok() {
        assert!(inbound(&mut sent).is_err(), "a replay is taken");
    }
}
