//! Compression: whatever a peer with keys puts behind the header of IPComp, and what comes out of two that compress.

use std::net::Ipv4Addr;
use std::time::Instant;

use coati_config::{Source, setkey};
use coati_crypto::SeededRandom;
use coati_ipsec::{Outbound, Packet, Sadb};
use coati_sadb::Reply;
use coati_wire::{ipcomp as ipcomp_wire, ipv4};

const A: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const B: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const CPI: u16 = 0x1234;

/// A host whose outbound policy compresses or does not; the inbound one always takes what was compressed.
fn host(near: Ipv4Addr, far: Ipv4Addr, compresses: bool) -> Sadb {
    let before = if compresses { "ipcomp/transport//use " } else { "" };
    let text = format!(
        "add {near} {far} ipcomp {CPI:#x} -C deflate; add {far} {near} ipcomp {CPI:#x} -C deflate;
         add {near} {far} esp 0x1001 -E null -A hmac-sha1 \"twenty bytes of keys\";
         add {far} {near} esp 0x1001 -E null -A hmac-sha1 \"twenty bytes of keys\";
         spdadd {near} {far} any -P out ipsec {before}esp/transport//require;
         spdadd {far} {near} any -P in ipsec ipcomp/transport//use esp/transport//require;"
    );
    let mut sadb = Sadb::new(Box::new(SeededRandom::new(1)));
    for statement in setkey::parse(&Source::new("setkey.conf", text)).expect("it is right") {
        let reply = sadb.request(Instant::now(), 0, statement.request);
        assert!(!matches!(reply, Reply::Refused { .. }), "{reply:?}");
    }
    sadb
}

fn packet(protocol: u8, payload: &[u8]) -> Packet {
    let header = ipv4::Repr {
        tos: 0,
        id: 7,
        dont_fragment: false,
        ttl: 64,
        protocol,
        source: A,
        destination: B,
        payload_len: payload.len(),
    };
    Packet::new(&[&header.emit()[..], payload].concat())
}

fn send(from: &Sadb, packet: &mut Packet) {
    let mut verdicts = Vec::new();
    let random = &mut SeededRandom::new(2);
    from.snapshot().outbound(std::slice::from_mut(packet), &mut verdicts, 0, random);
    assert_eq!(verdicts, [Outbound::Sealed]);
}

/// As compressed data, and as something to compress.
pub fn ipcomp(data: &[u8]) {
    let data = data.get(..data.len().min(60_000)).unwrap_or(&[]);
    let far = host(B, A, true);
    let body = [&ipcomp_wire::Header { next_header: 47, cpi: CPI }.emit()[..], data].concat();
    for body in [&body[..], data] {
        let mut forged = packet(108, body);
        send(&host(A, B, false), &mut forged);
        if far.snapshot().inbound(&mut forged, 0).is_ok() {
            let whole = ipv4::Packet::new_checked(forged.bytes()).expect("its header is right");
            assert_eq!(whole.total_len(), forged.len());
        }
    }
    let clear = packet(47, data);
    let (mut sent, mut without) = (clear.clone(), clear.clone());
    send(&host(A, B, true), &mut sent);
    send(&host(A, B, false), &mut without);
    assert!(sent.len() <= without.len(), "compression makes it larger");
    assert_eq!(far.snapshot().inbound(&mut sent, 0), Ok(coati_ipsec::Inbound::Same));
    assert_eq!(sent.bytes(), clear.bytes(), "it comes out as it went in");
}
