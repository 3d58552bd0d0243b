//! Writes the seeds of the corpus: the examples' files, the packets that the simulator's two routers exchange, and
//! steps of sessions. Seeds made by hand and inputs that the fuzzer found lie beside them and are left alone.
//!
//! `cargo run -p coati-fuzz-targets --example seeds`

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use coati_config::site::{Site, SiteFiles};
use coati_config::{Source, setkey};
use coati_router::admin::AdminRequest;
use coati_sim::{Conditions, World};
use coati_wire::isakmp::{self, kind};
use coati_wire::ospf::{Lsa, LsaBody, LsaKey, Packet};
use coati_wire::{gre, icmp, ipv4, ipv6, udp, xfrm};

const FILES: [&str; 5] = ["rc.conf", "racoon.conf", "psk.txt", "setkey.conf", "ospfd.conf"];

fn main() -> io::Result<()> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let ends = ["seed/freebsd-a", "seed/freebsd-b", "manual-keys/site-a", "manual-keys/site-b"];
    for end in ends {
        for file in FILES {
            let Ok(text) = fs::read(examples.join(end).join(file)) else { continue };
            write(&file.replace('.', "_"), &end.replace('/', "-"), &text)?;
        }
    }
    let text = |end: &str, file: &str| fs::read(examples.join(end).join(file)).unwrap_or_default();
    for pair in ends.chunks(2) {
        let texts: Vec<Vec<u8>> = pair.iter().flat_map(|end| FILES.map(|file| text(end, file))).collect();
        write("site", &pair[0].replace('/', "-"), &texts.join(&0u8))?;
    }
    for peer in ["bird", "lan-bird", "areas-bird"] {
        let text = fs::read(examples.join("../tests/interop/peers").join(format!("{peer}.conf")))?;
        write("bird_conf", &format!("peer-{peer}"), &text)?;
    }
    packets(&examples)?;
    ospf()?;
    headers()?;
    sessions()
}

/// What OSPF says in the tunnel, and its LSAs.
fn ospf() -> io::Result<()> {
    let mut seen = BTreeSet::new();
    for bytes in coati_fuzz_targets::ospf_packets() {
        let kind = bytes.get(1).copied().unwrap_or(0);
        if !seen.insert((kind, bytes.len())) {
            continue;
        }
        write("ospf_packet", &format!("sim-type{kind}-{}", bytes.len()), &bytes)?;
        if let Ok((_, Packet::LinkStateUpdate { lsas: list, .. })) = Packet::parse(&bytes) {
            for lsa in list {
                write("ospf_lsa", &format!("sim-{}", lsa.bytes.len()), &lsa.bytes)?;
            }
        }
    }
    let key = |kind| LsaKey { kind, id: Ipv4Addr::LOCALHOST, advertising_router: Ipv4Addr::LOCALHOST };
    let mask = Ipv4Addr::new(255, 255, 255, 0);
    let external = LsaBody::External { mask, type2: true, metric: 20, forwarding: mask, tag: 7 };
    let bodies = [
        (2, LsaBody::Network { mask, routers: vec![mask, Ipv4Addr::LOCALHOST] }),
        (3, LsaBody::Summary { mask, metric: 10 }),
        (5, external),
        (10, LsaBody::Opaque(vec![1, 2, 3, 4])),
    ];
    for (kind, body) in bodies {
        write("ospf_lsa", &format!("made-type{kind}"), &Lsa::new(key(kind), 2, -5, body).bytes)?;
    }
    Ok(())
}

/// One of each header, and what is at the edge.
fn headers() -> io::Result<()> {
    let echo = icmp::Repr::EchoRequest { id: 7, sequence: 1, data: b"coati" };
    write("icmp", "made-echo", &echo.emit())?;
    write("icmp", "made-reply", &icmp::Repr::EchoReply { id: 7, sequence: 1, data: b"" }.emit())?;
    let unreachable = icmp::Repr::Unreachable { code: 4, mtu: 1400, original: &[0x45; 28] };
    write("icmp", "made-unreachable", &unreachable.emit())?;
    let payload = [0x45, 0, 0, 20];
    let plain = gre::Repr::plain(gre::ethertype::IPV4);
    for (name, header) in [
        ("made-plain", plain),
        ("made-key", gre::Repr { key: Some(7), ..plain }),
        ("made-all", gre::Repr { checksum: true, key: Some(7), sequence: Some(1), ..plain }),
    ] {
        let mut bytes = [vec![0; header.header_len()], payload.to_vec()].concat();
        header.emit(&mut bytes).map_err(io::Error::other)?;
        write("gre", name, &bytes)?;
    }
    write("gre", "made-source-routing", &[0x40, 0, 8, 0])?;
    let v6 = ipv6::Repr {
        traffic_class: 0,
        flow_label: 5,
        next_header: 60,
        hop_limit: 64,
        source: Ipv6Addr::LOCALHOST,
        destination: Ipv6Addr::LOCALHOST,
        payload_len: 16,
    };
    let extension = [43, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0];
    write("ipv6", "made-extensions", &[&v6.emit()[..], &extension].concat())?;
    write("ipv6", "made-fragment", &[&ipv6::Repr { next_header: 44, ..v6 }.emit()[..], &extension].concat())?;
    let trailer = [0xaa, 0xbb, 1, 2, 3, 3, 47];
    write("esp", "made-trailer", &trailer)?;
    write("esp", "made-trailer-too-long", &[1, 2, 0xff, 47])?;
    let header = isakmp::Header {
        initiator_cookie: [1; 8],
        responder_cookie: [2; 8],
        next_payload: 0,
        exchange: isakmp::exchange::INFORMATIONAL,
        flags: 0,
        message_id: 1,
    };
    let cookies = [[1; 8], [2; 8]].concat();
    let notification = |kind| {
        let (spi, data) = (cookies.clone(), vec![0, 0, 0, 9]);
        isakmp::Notification { doi: 1, protocol: 1, spi, kind, data }.emit()
    };
    let list = [
        (kind::NOTIFICATION, notification(isakmp::Notification::R_U_THERE)),
        (kind::NOTIFICATION, notification(isakmp::Notification::NO_PROPOSAL_CHOSEN)),
        (kind::DELETE, isakmp::Delete { doi: 1, protocol: 1, spis: vec![cookies.clone()] }.emit()),
        (kind::DELETE, isakmp::Delete { doi: 1, protocol: 3, spis: vec![vec![0; 4]; 2] }.emit()),
        (kind::ID, isakmp::Identity { kind: 1, protocol: 47, port: 0, data: vec![192, 0, 2, 1] }.emit()),
        (kind::FRAGMENT, isakmp::Fragment { id: 1, number: 1, last: true, data: vec![5; 9] }.emit()),
    ];
    let (next_payload, body) = isakmp::chain(&list);
    let header = isakmp::Header { next_payload, ..header };
    write("isakmp", "made-all-payloads", &[&header.emit(body.len())[..], &body].concat())?;
    let many = [13u8, 0, 0, 4].repeat(65);
    write("isakmp", "made-too-many", &[&header.emit(many.len())[..], &many].concat())?;
    xfrm_messages()
}

/// What Linux says of an SA and a policy, and that keys are wanted.
fn xfrm_messages() -> io::Result<()> {
    use xfrm::{Algorithm, Attribute, Body, Message};
    let write_all = |name: &str, list: Vec<(Body<'_>, Vec<Attribute<'_>>)>| {
        let messages = list.into_iter().map(|(body, attributes)| Message::request(body, attributes).emit());
        write("xfrm", name, &messages.collect::<Vec<_>>().concat())
    };
    let address = |last: u8| xfrm::Address::from(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)));
    let id = xfrm::Id { destination: address(1), spi: 0x1001, proto: 50 };
    let info = xfrm::SaInfo { id, source: address(2), family: 2, reqid: 7, ..Default::default() };
    let algorithm = |name, length, icv_bits| Algorithm { name, key: &[7; 36][..length], icv_bits };
    let two = vec![
        Attribute::Crypt(algorithm("cbc(aes)", 16, 0)),
        Attribute::AuthTruncated(algorithm("hmac(sha256)", 32, 128)),
        Attribute::Encap(xfrm::Encap {
            kind: 2,
            source_port: 4500,
            destination_port: 4500,
            ..Default::default()
        }),
        Attribute::Replay { sent: 1, received: 2, bitmap: 3 },
    ];
    let replay = xfrm::ReplayEsn { sent: 1 << 33, received: 5, window: 64, bitmap: vec![1, 2] };
    let one = vec![Attribute::Aead(algorithm("rfc4106(gcm(aes))", 20, 128)), Attribute::ReplayEsn(replay)];
    write_all(
        "made-sas",
        vec![(Body::NewSa(info), two), (Body::UpdateSa(info), one), (Body::Done(0), vec![])],
    )?;
    let template = xfrm::Template { id, source: address(2), family: 2, reqid: 7, ..Default::default() };
    let policy = xfrm::PolicyInfo { index: 9, direction: 1, ..Default::default() };
    let templates = || vec![Attribute::Templates(vec![template])];
    write_all("made-policy", vec![(Body::NewPolicy(policy), templates())])?;
    let acquire = xfrm::Acquire { id, source: address(2), policy, ..Default::default() };
    write_all("made-acquire", vec![(Body::Acquire(acquire), templates())])?;
    write_all("made-expire", vec![(Body::Expire(xfrm::Expire { info, hard: 1 }), vec![])])?;
    let gone = xfrm::SaId { destination: address(1), spi: 0x1001, family: 2, proto: 50 };
    let was = vec![Attribute::Sa(Box::new(info))];
    write_all("made-gone", vec![(Body::DeleteSa(gone), was), (Body::FlushSas(50), vec![])])?;
    let error = Body::Error { errno: 22, text: Some("Invalid mode") };
    let flags = xfrm::flag::ACK_TLVS | xfrm::flag::CAPPED;
    write("xfrm", "made-error", &Message { flags, sequence: 1, body: error, attributes: vec![] }.emit())
}

/// Steps of each kind; what they mean is said where the targets read them.
fn sessions() -> io::Result<()> {
    let replay: Vec<u8> = (0..12).flat_map(|index| [0, 0, index, 0]).collect();
    write("ike_session", "made-replay", &replay)?;
    let changed: Vec<u8> = (0..12).flat_map(|index| [0, 0, index, 1, 0, 40, 0x10, 4, 0, 5]).collect();
    write("ike_session", "made-changed", &changed)?;
    let strangers: Vec<u8> = (0..6).flat_map(|index| [7, 0, index, 0]).collect();
    write("ike_session", "made-strangers", &strangers)?;
    let hint = [0, 0, 0, 12, 0, 0, 0, 1, 1, 0, 0, 14];
    let clear = [&[3, 0, 2, 11, 0, 0, 9, 0, 12][..], &hint, &[3, 1, 4, 8, 1, 0, 9, 0, 12], &hint].concat();
    write("ike_session", "made-forged", &clear)?;
    write(
        "ike_session",
        "made-time",
        &[4, 0, 255, 5, 0, 4, 0, 100, 5, 1, 4, 0, 255, 6, 0, 0, 1, 2, 3, 6, 1, 9, 9, 9, 9],
    )?;
    let begin: Vec<u8> = (0..10).flat_map(|cookie| [0, 0, 0, 1, 0, 0, cookie * 3 + 1]).collect();
    write("ike_session", "made-half-open", &begin)?;
    let pieces: Vec<u8> = (1..9).flat_map(|n| [n, n / 3, n, n / 4, 0, 1, 0, 5, 1, 2, 3, 4, 5]).collect();
    write("ike_fragment", "made-pieces", &[&[40, 3][..], &pieces].concat())?;
    write(
        "ike_fragment",
        "made-same-cookie",
        &[9, 1, 0x1d, 7, 1, 1, 0, 1, 0, 2, 8, 8, 0x1f, 7, 0, 0, 0, 1, 0, 1, 9],
    )?;
    let echoes: Vec<u8> = (0..20).flat_map(|index| [8, 0, 0, index, 1, 0, index * 3, 1]).collect();
    write("ospf_session", "made-changed", &echoes)?;
    let router = [0, 0, 0, 1, 10, 255, 0, 1, 203, 0, 113, 2, 1, 0, 0, 10];
    let lsas: Vec<u8> = (0..8)
        .flat_map(|n| [&[5, n, 1, n, n / 2, n, 0, n, 0, 16][..], &router, &[7, 0, 20]].concat())
        .collect();
    write("ospf_session", "made-lsas", &lsas)?;
    let mut packets = Vec::new();
    for bytes in coati_fuzz_targets::ospf_packets().iter().take(12) {
        let (kind, body) = (bytes.get(1).copied().unwrap_or(0), bytes.get(24..).unwrap_or(&[]));
        let length = u16::try_from(body.len()).unwrap_or(0).to_be_bytes();
        packets.extend_from_slice(&[&[3, 1, kind][..], &length, body, &[7, 0, 5]].concat());
    }
    write("ospf_session", "made-bodies", &packets)?;
    let inside =
        [&[0, 0, 0, 20, 0x45, 0, 0, 20][..], &[1; 16], &[4, 1, 0, 4, 1, 2, 3, 4, 12, 1, 0, 2, 5, 5]].concat();
    let changed = [3, 0, 0, 1, 0, 30, 1, 3, 0, 1, 1, 0, 9, 0x40];
    let outside =
        [2, 0, 0, 8, 0, 0, 8, 0, 0x45, 0, 0, 8, 6, 1, 0, 8, 0, 0, 0x10, 1, 0, 0, 0, 9, 1, 0, 0, 1, 0x45];
    write("forwarder", "made-steps", &[&inside[..], &changed, &outside].concat())?;
    let lines = [
        "\"isakmp\"\n\"status\"\n\"monitor\"\n{\"show\":[\"ip\",\"ospf\",\"neighbor\",\"json\"]}\n"
            .to_owned(),
        requests(),
    ];
    write("admin_request", "made-views", lines[0].as_bytes())?;
    write("admin_request", "made-orders", ORDERS.as_bytes())?;
    write("admin_request", "made-setkey", lines[1].as_bytes())
}

/// What setkey sends for the statements of an example, a line each.
fn requests() -> String {
    let source = Source::new("setkey.conf", include_str!("../../../examples/manual-keys/site-a/setkey.conf"));
    let statements = setkey::parse(&source).unwrap_or_default();
    let line =
        |statement: setkey::Statement| serde_json::to_string(&AdminRequest::Sadb(statement.request)).ok();
    statements.into_iter().filter_map(line).map(|line| line + "\n").collect()
}

/// What crosses the simulated internet, and what the routers say inside the tunnel.
fn packets(examples: &Path) -> io::Result<()> {
    let site = |name: &str| {
        let dir = examples.join("seed").join(name);
        let read = |file: &str| Some(Source::new(file, fs::read_to_string(dir.join(file)).ok()?));
        let files = SiteFiles {
            included: coati_config::racoon::Included::default(),
            rc_conf: read(FILES[0]),
            racoon_conf: read(FILES[1]),
            psk_txt: read(FILES[2]),
            setkey_conf: read(FILES[3]),
            ospfd_conf: read(FILES[4]),
            ..SiteFiles::default()
        };
        (name.to_owned(), Site::read(&files).0)
    };
    let mut world = World::start(1, vec![site("freebsd-a"), site("freebsd-b")], Conditions::default());
    world.run_until(Duration::from_secs(5), World::is_up);
    world.run(Duration::from_secs(3));
    let mut seen = BTreeSet::new();
    let mut number = 0;
    for record in world.records() {
        let Ok(packet) = ipv4::Packet::new(&record.bytes) else { continue };
        if !seen.insert((packet.protocol(), packet.total_len())) {
            continue;
        }
        number += 1;
        let name = format!("sim-{number:02}");
        if number <= 6 {
            write("ipv4", &name, &record.bytes)?;
        }
        if packet.protocol() == ipv4::protocol::ESP {
            write("esp", &name, packet.payload())?;
            continue;
        }
        write("udp", &name, &[&[0], packet.payload()].concat())?;
        let (source, destination) = (IpAddr::V4(packet.source()), IpAddr::V4(packet.destination()));
        let Ok((_, message)) = udp::Repr::parse(packet.payload(), source, destination) else { continue };
        write("isakmp", &name, message)?;
        let Ok((header, body)) = isakmp::Header::parse(message) else { continue };
        if header.flags & isakmp::flag::ENCRYPTED == 0 {
            for payload in isakmp::payloads(header.next_payload, body).unwrap_or_default() {
                if payload.kind == kind::SA {
                    write("isakmp_sa", &name, payload.body)?;
                }
            }
        }
    }
    Ok(())
}

fn write(target: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus").join(target);
    fs::create_dir_all(&dir)?;
    fs::write(dir.join(name), bytes)
}

/// Orders of racoonctl.
const ORDERS: &str = r#""ike"
"schedule"
"flush-isakmp"
{"delete-isakmp":{"local":"192.0.2.1:0","remote":"198.51.100.1:0"}}
{"establish":{"isakmp":{"local":"192.0.2.1","remote":"198.51.100.1","name":null,"login":null}}}
{"establish":{"pair":{"proto":"esp","selector":{"source":{"address":"192.0.2.1","length":32},"source_port":"Any","destination":{"address":"198.51.100.1","length":32},"destination_port":"Any","upper":{"Proto":47}}}}}
{"disconnect":"198.51.100.1"}
{"logout-user":"joe"}
"#;
