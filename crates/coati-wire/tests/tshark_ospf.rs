//! Our reading of OSPF beside tshark's of the same packets, field by field: what Coati, FRR 8.4 and BIRD 2.0.12 have said to
//! each other in scenarios of `tests/interop` (`data/ospf.pcap`), and opaque LSAs of the scopes that none of them has used.

mod support;

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::process::Command;

use coati_wire::ipv4;
use coati_wire::ospf::{
    ALL_ROUTERS, AUTH_CRYPTOGRAPHIC, AUTH_SIMPLE, DatabaseDescription, Header, Hello, Lsa, LsaBody,
    LsaHeader, LsaKey, OPTION_E, OPTION_O, PROTOCOL, Packet, lsa_kind,
};

/// A field of tshark's, without `ospf.`, and its bytes in hexadecimal.
type Field = (String, String);

/// Fields of tshark's that are compared.
const COMPARED: &[&str] = &[
    "version",
    "msg",
    "packet_length",
    "srcrouter",
    "area_id",
    "checksum",
    "auth.type",
    "auth.crypt.key_id",
    "auth.crypt.data_length",
    "auth.crypt.seq_nbr",
    "hello.network_mask",
    "hello.hello_interval",
    "hello.router_priority",
    "hello.router_dead_interval",
    "hello.designated_router",
    "hello.backup_designated_router",
    "hello.active_neighbor",
    "v2.options",
    "db.interface_mtu",
    "dbd",
    "db.dd_sequence",
    "ls.number_of_lsas",
    "lsa.age",
    "lsa",
    "lsa.id",
    "link_state_id",
    "lsid_opaque_type",
    "lsid.opaque_id",
    "advrouter",
    "lsa.seqnum",
    "lsa.chksum",
    "lsa.length",
    "v2.router.lsa.flags",
    "lsa.number_of_links",
    "lsa.router.linkid",
    "lsa.router.linkdata",
    "lsa.router.linktype",
    "lsa.router.metric0",
    "lsa.network.netmask",
    "lsa.network.attchrtr",
    "lsa.asbr.netmask",
    "metric",
    "lsa.asext.netmask",
    "lsa.asext.type",
    "lsa.asext.fwdaddr",
    "lsa.asext.extrttag",
];

/// What we read, in the order of the bytes.
#[derive(Default)]
struct Reading(Vec<Field>);

impl Reading {
    fn push(&mut self, name: &str, bytes: &[u8]) {
        let value = bytes.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        self.0.push((name.to_owned(), value));
    }

    fn address(&mut self, name: &str, address: Ipv4Addr) {
        self.push(name, &address.octets());
    }

    fn packet(bytes: &[u8]) -> Self {
        let mut this = Self::default();
        let (header, packet) = Packet::parse(bytes).unwrap();
        // What we would send in its place is the same.
        let length = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
        assert_eq!(packet.emit(&header), &bytes[..length]);
        let kind = match &packet {
            Packet::Hello(_) => 1,
            Packet::DatabaseDescription(_) => 2,
            Packet::LinkStateRequest(_) => 3,
            Packet::LinkStateUpdate { .. } => 4,
            Packet::LinkStateAck(_) => 5,
        };
        this.header(&header, kind, bytes);
        match &packet {
            Packet::Hello(hello) => this.hello(hello),
            Packet::DatabaseDescription(description) => this.description(description),
            Packet::LinkStateRequest(keys) => keys.iter().for_each(|key| this.request(key)),
            Packet::LinkStateUpdate { lsas, bad } => {
                assert_eq!(bad, &[]);
                this.push("ls.number_of_lsas", &u32::try_from(lsas.len()).unwrap().to_be_bytes());
                for lsa in lsas {
                    this.lsa_header(&lsa.header);
                    this.body(lsa.header.key.kind, &lsa.body);
                }
            }
            Packet::LinkStateAck(headers) => headers.iter().for_each(|header| this.lsa_header(header)),
        }
        this
    }

    /// Length and checksum, which are no part of what we read, are taken from the bytes: `emit` has made the same.
    fn header(&mut self, header: &Header, kind: u8, bytes: &[u8]) {
        self.push("version", &[2]);
        self.push("msg", &[kind]);
        self.push("packet_length", &bytes[2..4]);
        self.address("srcrouter", header.router_id);
        self.address("area_id", header.area);
        self.push("checksum", &bytes[12..14]);
        self.push("auth.type", &header.auth_kind.to_be_bytes());
        if header.auth_kind == AUTH_CRYPTOGRAPHIC {
            self.push("auth.crypt.key_id", &header.auth[2..3]);
            self.push("auth.crypt.data_length", &header.auth[3..4]);
            self.push("auth.crypt.seq_nbr", &header.auth[4..]);
        }
    }

    fn hello(&mut self, hello: &Hello) {
        self.address("hello.network_mask", hello.mask);
        self.push("hello.hello_interval", &hello.hello_interval.to_be_bytes());
        self.push("v2.options", &[hello.options]);
        self.push("hello.router_priority", &[hello.priority]);
        self.push("hello.router_dead_interval", &hello.dead_interval.to_be_bytes());
        self.address("hello.designated_router", hello.designated);
        self.address("hello.backup_designated_router", hello.backup);
        hello.neighbours.iter().for_each(|neighbour| self.address("hello.active_neighbor", *neighbour));
    }

    fn description(&mut self, description: &DatabaseDescription) {
        self.push("db.interface_mtu", &description.mtu.to_be_bytes());
        self.push("v2.options", &[description.options]);
        self.push("dbd", &[description.flags]);
        self.push("db.dd_sequence", &description.sequence.to_be_bytes());
        description.headers.iter().for_each(|header| self.lsa_header(header));
    }

    fn request(&mut self, key: &LsaKey) {
        self.push("lsa", &u32::from(key.kind).to_be_bytes());
        self.address("link_state_id", key.id);
        self.address("advrouter", key.advertising_router);
    }

    fn id(&mut self, key: &LsaKey) {
        if (lsa_kind::OPAQUE_LINK..=lsa_kind::OPAQUE_AS).contains(&key.kind) {
            let [kind, number @ ..] = key.id.octets();
            self.push("lsid_opaque_type", &[kind]);
            self.push("lsid.opaque_id", &number);
        } else {
            self.address("lsa.id", key.id);
        }
    }

    fn lsa_header(&mut self, header: &LsaHeader) {
        self.push("lsa.age", &header.age.to_be_bytes());
        self.push("v2.options", &[header.options]);
        self.push("lsa", &[header.key.kind]);
        self.id(&header.key);
        self.address("advrouter", header.key.advertising_router);
        self.push("lsa.seqnum", &header.sequence.to_be_bytes());
        self.push("lsa.chksum", &header.checksum.to_be_bytes());
        self.push("lsa.length", &header.length.to_be_bytes());
    }

    fn body(&mut self, kind: u8, body: &LsaBody) {
        match body {
            LsaBody::Router(router) => {
                self.push("v2.router.lsa.flags", &[router.flags]);
                let count = u16::try_from(router.links.len()).unwrap();
                self.push("lsa.number_of_links", &count.to_be_bytes());
                for link in &router.links {
                    self.address("lsa.router.linkid", link.id);
                    self.address("lsa.router.linkdata", link.data);
                    self.push("lsa.router.linktype", &[link.kind]);
                    self.push("lsa.router.metric0", &link.metric.to_be_bytes());
                }
            }
            LsaBody::Network { mask, routers } => {
                self.address("lsa.network.netmask", *mask);
                routers.iter().for_each(|router| self.address("lsa.network.attchrtr", *router));
            }
            LsaBody::Summary { mask, metric } => {
                self.address("lsa.asbr.netmask", *mask);
                self.push("metric", &metric.to_be_bytes()[1..]);
            }
            LsaBody::External { mask, type2, metric, forwarding, tag } => {
                self.address("lsa.asext.netmask", *mask);
                self.push("lsa.asext.type", &[if *type2 { 0x80 } else { 0 }]);
                self.push("metric", &metric.to_be_bytes()[1..]);
                self.address("lsa.asext.fwdaddr", *forwarding);
                self.push("lsa.asext.extrttag", &tag.to_be_bytes());
            }
            LsaBody::Opaque(_) => assert!((lsa_kind::OPAQUE_LINK..=lsa_kind::OPAQUE_AS).contains(&kind)),
        }
    }
}

const RECORDING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/ospf.pcap");
const LINKTYPE_RAW: u32 = 101;

/// The OSPF packets of a pcap-savefile(5) of IP packets.
fn packets(file: &[u8]) -> Vec<Vec<u8>> {
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    assert_eq!((word(0), word(20)), (0xa1b2_c3d4, LINKTYPE_RAW));
    let (mut at, mut list) = (24, Vec::new());
    while at < file.len() {
        let packet = &file[at + 16..][..word(at + 8) as usize];
        let header_len = usize::from(packet[0] & 15) * 4;
        list.push(packet[header_len..].to_vec());
        at += 16 + packet.len();
    }
    list
}

/// A record of such a file: an update with opaque LSAs for the area and for the AS.
fn made() -> Vec<u8> {
    let advertising_router = Ipv4Addr::new(9, 9, 9, 9);
    let opaque = |kind| {
        let key = LsaKey { kind, id: Ipv4Addr::new(200, 1, 2, 3), advertising_router };
        Lsa::new(key, OPTION_E | OPTION_O, -7, LsaBody::Opaque(vec![0, 1, 0, 4, 1, 2, 3, 4]))
    };
    let lsas = vec![opaque(lsa_kind::OPAQUE_AREA), opaque(lsa_kind::OPAQUE_AS)];
    let header = Header {
        router_id: advertising_router,
        area: Ipv4Addr::new(0, 0, 1, 0),
        auth_kind: AUTH_SIMPLE,
        auth: *b"password",
    };
    let update = Packet::LinkStateUpdate { lsas, bad: Vec::new() }.emit(&header);
    let header = ipv4::Repr {
        tos: 0xc0,
        id: 1,
        dont_fragment: true,
        ttl: 1,
        protocol: PROTOCOL,
        source: [192, 0, 2, 1].into(),
        destination: ALL_ROUTERS,
        payload_len: update.len(),
    };
    let packet = [&header.emit()[..], &update].concat();
    let length = u32::try_from(packet.len()).unwrap();
    [0, 0, length, length].iter().flat_map(|word| word.to_le_bytes()).chain(packet).collect()
}

/// What tshark reads, packet by packet.
fn tsharks(pdml: &str) -> Vec<Vec<Field>> {
    let mut packets: Vec<Vec<Field>> = Vec::new();
    for line in pdml.lines() {
        if line.starts_with("<packet>") {
            packets.push(Vec::new());
        }
        let attribute = |name: &str| {
            let (_, rest) = line.split_once(&format!(" {name}=\""))?;
            rest.split_once('"').map(|(value, _)| value)
        };
        let Some(name) = attribute("name").and_then(|name| name.strip_prefix("ospf.")) else { continue };
        // Of a field of bits the value is that of its bits alone.
        let value = attribute("unmaskedvalue").or_else(|| attribute("value")).map(str::to_owned);
        let value = match (name, value) {
            // Its lowest bits are those of a type of service.
            ("lsa.asext.type", Some(value)) => {
                let byte = u8::from_str_radix(&value, 16).unwrap();
                Some(format!("{:02x}", byte & 0x80))
            }
            (_, value) => value,
        };
        if let (Some(value), Some(packet)) = (value.filter(|_| COMPARED.contains(&name)), packets.last_mut())
        {
            packet.push((name.to_owned(), value));
        }
    }
    packets
}

/// Everybody says everything: otherwise the comparison shows less than it should.
#[test]
fn the_recording_has_all_types() {
    let (mut kinds, mut lsas) = (Vec::new(), Vec::new());
    for bytes in packets(&std::fs::read(RECORDING).unwrap()) {
        let (header, packet) = Packet::parse(&bytes).unwrap();
        kinds.push((header.router_id, bytes[1]));
        if let Packet::LinkStateUpdate { lsas: list, .. } = packet {
            lsas.extend(list.iter().map(|lsa| lsa.header.key.kind));
        }
    }
    // Coati, FRR, BIRD.
    for router in [[1, 1, 1, 1], [2, 2, 2, 2], [3, 3, 3, 3]] {
        for kind in 1..=5 {
            assert!(kinds.contains(&(router.into(), kind)), "no packet of type {kind} of {router:?}");
        }
    }
    for kind in [1, 2, 3, 4, 5, 7, 9] {
        assert!(lsas.contains(&kind), "no LSA of type {kind}");
    }
}

#[test]
fn tshark_reads_the_same() {
    let capture = [std::fs::read(RECORDING).unwrap(), made()].concat();
    let packets = packets(&capture);
    let readings: Vec<Reading> = packets.iter().map(|packet| Reading::packet(packet)).collect();
    let Some(output) = support::ask(Command::new("tshark").args(["-T", "pdml"]), "tshark-ospf", &capture)
    else {
        return;
    };
    let read = tsharks(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(read.len(), packets.len(), "{}", String::from_utf8_lossy(&output.stderr));
    for (number, (Reading(ours), theirs)) in (1..).zip(readings.iter().zip(read)) {
        assert!(ours.len() >= 8, "packet {number}");
        let differs = ours.iter().zip(&theirs).position(|(ours, theirs)| ours != theirs);
        assert_eq!(differs, None, "packet {number}: {ours:?}\n\ntshark: {theirs:?}");
        assert_eq!(ours.len(), theirs.len(), "packet {number}: {ours:?}\n\ntshark: {theirs:?}");
    }
}
