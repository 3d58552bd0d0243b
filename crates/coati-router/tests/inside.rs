//! Policies in tunnel mode between networks, from setkey's lines to packets: what passes, and that nothing is in clear.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use coati_config::Source;
use coati_config::site::{Site, SiteFiles};
use coati_crypto::SeededRandom;
use coati_ipsec::{Drop, Packet};
use coati_router::{Arrival, Aside, Forwarder, Plane};
use coati_sadb::Reply;
use coati_wire::{ip, ipv4};

const POLICIES: &str = "
    add 192.0.2.1 198.51.100.1 esp 0x1001 -m tunnel -r 8 -E aes-cbc \"0123456789abcdef\" -A hmac-sha1 \"0123456789abcdefghij\";
    add 198.51.100.1 192.0.2.1 esp 0x1002 -m tunnel -r 8 -E aes-cbc \"0123456789abcdef\" -A hmac-sha1 \"0123456789abcdefghij\";
    spdadd 10.1.0.0/16 10.2.0.0/16 any -P DIR1 ipsec esp/tunnel/192.0.2.1-198.51.100.1/require;
    spdadd 10.2.0.0/16 10.1.0.0/16 any -P DIR2 ipsec esp/tunnel/198.51.100.1-192.0.2.1/require;
    spdadd 10.1.0.0/16 10.2.9.0/24 any -P DIR1 prio def + 100 none;
    spdadd 10.1.0.0/16 10.2.8.0/24 any -P DIR1 prio def + 100 discard;
";
/// The interface behind no tunnels.
const INSIDE: usize = 0;

fn plane(directions: [&str; 2]) -> (Plane, Forwarder) {
    let text = POLICIES.replace("DIR1", directions[0]).replace("DIR2", directions[1]);
    let files = SiteFiles { setkey_conf: Some(Source::new("setkey.conf", text)), ..SiteFiles::default() };
    let (site, remarks) = Site::read(&files);
    assert!(remarks.iter().all(|remark| remark.severity < coati_config::Severity::Error), "{remarks:?}");
    let mut plane = Plane::new(|| Box::new(SeededRandom::new(1)));
    for statement in &site.statements {
        assert_eq!(plane.request(Instant::now(), 0, statement.request.clone()), Reply::Done);
    }
    plane.add_inside();
    let forwarder = Forwarder::new(plane.tables(), &mut SeededRandom::new(2));
    (plane, forwarder)
}

/// A packet of UDP, or a piece of one.
fn packet(source: [u8; 4], destination: [u8; 4], piece: bool) -> Packet {
    let payload = [&[0x13, 0x88, 0x13, 0x88, 0, 20, 0, 0][..], b"what is said"].concat();
    let header = ip::Repr {
        tos: 0,
        id: 7,
        dont_fragment: false,
        ttl: 63,
        protocol: 17,
        source: IpAddr::from(source),
        destination: IpAddr::from(destination),
        payload_len: payload.len(),
    };
    let mut bytes = vec![0; header.header_len()];
    header.emit(&mut bytes).unwrap();
    if piece {
        // "More fragments" and an offset, and the checksum that goes with them.
        bytes[6..8].copy_from_slice(&0x2010u16.to_be_bytes());
        bytes[10..12].copy_from_slice(&[0, 0]);
        let sum = coati_wire::checksum::internet(&[&bytes]);
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    bytes.extend_from_slice(&payload);
    Packet::new(&bytes)
}

fn send(forwarder: &mut Forwarder, packet: Packet) -> Vec<Packet> {
    let (mut batch, mut aside) = (vec![packet], Aside::default());
    forwarder.encapsulate(INSIDE, &mut batch, &mut aside, 0);
    assert!(aside.waiting.is_empty() && aside.back.is_empty());
    batch
}

#[test]
fn what_a_policy_is_about_passes_whole_or_in_pieces() {
    let (_a, mut from) = plane(["out", "in"]);
    let (_b, mut to) = plane(["in", "out"]);
    for piece in [false, true] {
        let clear = packet([10, 1, 0, 5], [10, 2, 0, 6], piece);
        let mut sent = send(&mut from, clear.clone()).pop().expect("it goes");
        let outer = ipv4::Packet::new_checked(sent.bytes()).unwrap();
        assert_eq!((outer.protocol(), outer.destination()), (50, Ipv4Addr::new(198, 51, 100, 1)));
        assert_eq!(to.decapsulate(&mut sent, 0), Arrival::Tunnel(INSIDE));
        assert_eq!(sent.bytes(), clear.bytes());
    }
}

#[test]
fn nothing_goes_in_clear_and_nothing_else_comes_out() {
    let (_a, mut from) = plane(["out", "in"]);
    let (_b, mut to) = plane(["in", "out"]);
    // No policy, one that says `none`, one that says `discard`.
    for destination in [[10, 3, 0, 1], [10, 2, 9, 1], [10, 2, 8, 1]] {
        assert!(send(&mut from, packet([10, 1, 0, 5], destination, false)).is_empty(), "{destination:?}");
    }
    // Replayed, and in clear.
    let mut sent = send(&mut from, packet([10, 1, 0, 5], [10, 2, 0, 6], false)).pop().unwrap();
    let mut again = sent.clone();
    assert_eq!(to.decapsulate(&mut sent, 0), Arrival::Tunnel(INSIDE));
    assert_eq!(to.decapsulate(&mut again, 0), Arrival::Dropped(Drop::Replayed));
    let mut clear = packet([10, 1, 0, 5], [10, 2, 0, 6], false);
    assert_eq!(to.decapsulate(&mut clear, 0), Arrival::Dropped(Drop::ClearInbound));
}
