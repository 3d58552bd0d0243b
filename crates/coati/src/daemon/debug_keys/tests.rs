use std::process::Command;
use std::time::{Duration, Instant};

use coati_crypto::SeededRandom;
use coati_ipsec::{Outbound, Packet, Sadb};
use coati_sadb::*;
use coati_wire::{ip, ipv4, udp};

use super::*;

fn folder(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("coati-{name}-{}", std::process::id()))
}

#[test]
fn others_cannot_read_and_a_folder_of_others_is_refused() {
    let dir = folder("debug-keys");
    let keys = DebugKeys::begin(&dir).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    for name in ["ikev1_decryption_table", "esp_sa", "preferences"] {
        assert_eq!(mode(&dir.join(name)), 0o600, "{name}");
    }
    assert!(keys.warning().contains(dir.to_str().unwrap()));
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(DebugKeys::begin(&dir).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn a_row_is_tsharks() {
    let exposed = ExposedKey { initiator_cookie: [1; 8], key: Secret::new(vec![0xab; 4]) };
    assert_eq!(*isakmp_row(&exposed), "0101010101010101,abababab\n");
}

/// Algorithms, and the length of the cipher's key.
const SUITES: [(EncAlgorithm, u8, AuthAlgorithm); 14] = [
    (EncAlgorithm::AesCbc, 16, AuthAlgorithm::HmacSha1),
    (EncAlgorithm::AesCbc, 24, AuthAlgorithm::HmacSha384),
    (EncAlgorithm::AesCbc, 32, AuthAlgorithm::HmacSha256),
    (EncAlgorithm::AesCbc, 16, AuthAlgorithm::HmacSha512),
    (EncAlgorithm::AesCbc, 16, AuthAlgorithm::HmacSha256Cut96),
    (EncAlgorithm::AesCbc, 16, AuthAlgorithm::AesXcbcMac),
    (EncAlgorithm::TripleDesCbc, 24, AuthAlgorithm::HmacSha1),
    (EncAlgorithm::TripleDesCbc, 24, AuthAlgorithm::HmacMd5),
    (EncAlgorithm::AesGcm16, 20, AuthAlgorithm::None),
    (EncAlgorithm::AesGcm16, 28, AuthAlgorithm::None),
    (EncAlgorithm::AesGcm16, 36, AuthAlgorithm::None),
    (EncAlgorithm::AesCtr, 20, AuthAlgorithm::HmacSha1),
    (EncAlgorithm::AesCtr, 36, AuthAlgorithm::HmacSha256),
    (EncAlgorithm::Null, 0, AuthAlgorithm::HmacSha256),
];

/// Source and destination.
type Ends = (&'static str, &'static str);

const V4: Ends = ("192.0.2.1", "198.51.100.1");
const V6: Ends = ("2001:db8::1", "2001:db8::2");
const INSIDE_V4: Ends = ("10.9.0.1", "10.9.0.2");
const INSIDE_V6: Ends = ("2001:db8:9::1", "2001:db8:9::2");

/// Whose packets are sealed, between whom ESP goes, which is a tunnel if these are others, and whether it goes in UDP.
const WAYS: [(Ends, Ends, bool); 7] = [
    (V4, V4, false),
    (V6, V6, false),
    (INSIDE_V4, V4, false),
    (INSIDE_V6, V6, false),
    (INSIDE_V6, V4, false),
    (INSIDE_V4, V6, false),
    (V4, V4, true),
];

fn addresses((source, destination): Ends) -> (IpAddr, IpAddr) {
    (source.parse().unwrap(), destination.parse().unwrap())
}

/// A UDP datagram in clear.
fn clear((source, destination): (IpAddr, IpAddr), payload: &[u8]) -> Packet {
    let ports = udp::Repr { source_port: 40_000, destination_port: 40_001 };
    let datagram = ports.emit(source, destination, payload);
    let (protocol, payload_len) = (ipv4::protocol::UDP, datagram.len());
    let header =
        ip::Repr { tos: 0, id: 5, dont_fragment: false, ttl: 7, protocol, source, destination, payload_len };
    let mut bytes = vec![0; header.header_len()];
    header.emit(&mut bytes).unwrap();
    Packet::new(&[bytes, datagram].concat())
}

/// Seals `packet` as the first one of `sa`.
fn sealed(mut packet: Packet, inside: (IpAddr, IpAddr), sa: &Sa) -> Vec<u8> {
    let policy = Policy {
        id: PolicyId::default(),
        selector: Selector {
            source: Prefix::host(inside.0),
            source_port: Port::Any,
            destination: Prefix::host(inside.1),
            destination_port: Port::Any,
            upper: Upper::Any,
        },
        direction: Direction::Out,
        priority: Priority::default(),
        action: Action::Ipsec(vec![Rule {
            proto: SaProto::Esp,
            mode: sa.mode,
            endpoints: (sa.mode == Mode::Tunnel).then_some((sa.id.source, sa.id.destination)),
            level: Level::Require,
        }]),
        usage: Usage::default(),
    };
    let mut sadb = Sadb::new(Box::new(SeededRandom::new(1)));
    for request in [Request::SpdAdd(Box::new(policy)), Request::Add(Box::new(sa.clone()))] {
        assert_eq!(sadb.request(Instant::now(), 0, request), Reply::Done);
    }
    let mut verdicts = Vec::new();
    let random = &mut SeededRandom::new(sa.id.spi.0.into());
    sadb.snapshot().outbound(std::slice::from_mut(&mut packet), &mut verdicts, 0, random);
    assert_eq!(verdicts, [Outbound::Sealed]);
    packet.bytes().to_vec()
}

/// What tshark is asked for, and says with `|` between.
const FIELDS: [&str; 8] = [
    "esp.spi",
    "esp.icv_good",
    "esp.icv_bad",
    "ip.addr",
    "ipv6.addr",
    "udp.port",
    "udp.checksum.status",
    "udp.payload",
];

/// tshark opens what Coati seals, with the keys that Coati writes for it, and finds what was put in and the ICV good; of
/// each it also gets a copy whose ICV is not.
///
/// What tshark cannot do is left out: ChaCha20-Poly1305, which it has no name for, and sequence numbers of 64 bits, of
/// whose upper half it is not told. The ICV of AES-XCBC-MAC it does not check: it is neither good nor bad there.
#[test]
fn tshark_opens_our_esp() {
    let dir = folder("debug-keys-tshark");
    let mut keys = DebugKeys::begin(&dir).unwrap();
    let (mut packets, mut wanted) = (Vec::new(), Vec::new());
    for (number, ((enc, key_len, auth), (inside, outside, in_udp))) in
        (1..).zip(SUITES.into_iter().flat_map(|suite| WAYS.map(|way| (suite, way))))
    {
        let (source, destination) = addresses(outside);
        let id = SaId { source, destination, proto: SaProto::Esp, spi: Spi(0x1000 + u32::from(number)) };
        let key = |len: u8, first: u8| {
            Secret::new((0..len).map(|at| first.wrapping_add(at.wrapping_mul(7))).collect())
        };
        let auth_len = u8::try_from(auth.key_len()).unwrap();
        let mut sa = Sa::with_keys(id, enc, key(key_len, number), auth, key(auth_len, !number));
        sa.mode = if inside == outside { Mode::Transport } else { Mode::Tunnel };
        sa.nat_t = in_udp.then(|| NatT { source_port: 4500, destination_port: 4500, ..NatT::default() });
        keys.request(&Request::Add(Box::new(sa.clone()))).unwrap();
        // Each length asks for another padding.
        let payload: Vec<u8> = b"inside ".iter().copied().cycle().take(number.into()).collect();
        let sealed = sealed(clear(addresses(inside), &payload), addresses(inside), &sa);
        let mut forged = sealed.clone();
        *forged.last_mut().unwrap() ^= 1;
        let headers = if inside == outside { vec![outside] } else { vec![outside, inside] };
        let of_family = |v6: bool| {
            let of_it = headers.iter().filter(|(from, _)| from.contains(':') == v6);
            of_it.map(|(from, to)| format!("{from},{to}")).collect::<Vec<_>>().join(",")
        };
        let (v4, v6) = (of_family(false), of_family(true));
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        for (packet, good, bad) in [(sealed, 1, 0), (forged, 0, 1)] {
            let icv = if auth == AuthAlgorithm::AesXcbcMac { "0|0".into() } else { format!("{good}|{bad}") };
            // The UDP around ESP has no checksum.
            let (ports, checksums, around) = if in_udp {
                ("4500,4500,", "3,", format!("{},", hex(&packet[28..])))
            } else {
                ("", "", String::new())
            };
            wanted.push(format!(
                "0x{:08x}|{icv}|{v4}|{v6}|{ports}40000,40001|{checksums}1|{around}{}",
                sa.id.spi.0,
                hex(&payload)
            ));
            packets.push(packet);
        }
    }
    let mut capture = Vec::new();
    coati_sim::pcap::write(&mut capture, packets.iter().map(|packet| (Duration::ZERO, &packet[..]))).unwrap();
    let mut tshark = Command::new("tshark");
    tshark.env("WIRESHARK_CONFIG_DIR", &dir).args(["-T", "fields", "-E", "separator=|"]);
    tshark.args(["-o", "esp.enable_authentication_check:TRUE", "-o", "udp.check_checksum:TRUE"]);
    tshark.args(FIELDS.iter().flat_map(|field| ["-e", field]));
    let output = support::ask(&mut tshark, "debug-keys", &capture);
    fs::remove_dir_all(&dir).unwrap();
    let Some(output) = output else { return };
    let read = String::from_utf8(output.stdout).unwrap();
    let read: Vec<&str> = read.lines().collect();
    assert_eq!(read.len(), wanted.len(), "{}", String::from_utf8_lossy(&output.stderr));
    for (read, wanted) in read.iter().zip(&wanted) {
        assert_eq!(read, wanted);
    }
}
