//! Our reading of ISAKMP beside tshark's of the same bytes, field by field, in one run of it.

mod support;

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use coati_wire::ipv4;
use coati_wire::isakmp::{
    Attribute, AttributeValue, Certificate, Configuration, Delete, Fragment, HEADER_LEN, Header, Identity,
    Notification, Payload, Proposal, SecurityAssociation, Transform, chain, exchange, flag, kind, payloads,
};

/// A field of tshark's, shortened, and its bytes in hexadecimal.
type Field = (String, String);

/// Fields of tshark's that are compared, without `isakmp.`; `attr.` is that of either phase and of the configuration
/// exchange.
const COMPARED: &[&str] = &[
    "ispi",
    "rspi",
    "nextpayload",
    "version",
    "exchangetype",
    "flags",
    "messageid",
    "length",
    "typepayload",
    "payloadlength",
    "sa.doi",
    "sa.situation",
    "prop.number",
    "prop.protoid",
    "spisize",
    "prop.transforms",
    "spi",
    "trans.number",
    "trans.id",
    "attr.type",
    "attr.value",
    "key_exchange.data",
    "nonce",
    "hash",
    "sig",
    "vid_bytes",
    "id.type",
    "id.protoid",
    "id.port",
    "notify.doi",
    "notify.protoid",
    "notify.msgtype",
    "notify.data",
    "delete.doi",
    "delete.protoid",
    "spinum",
    "delete.spi",
    "certreq.type",
    "frag.packetid",
    "frag.seq",
    "frag.last",
    "cfg.type",
    "cfg.identifier",
    "ike.nat_hash",
    "ike.nat_original_address_ipv4",
];

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What we read, in the order of the bytes.
#[derive(Default)]
struct Reading(Vec<Field>);

impl Reading {
    fn push(&mut self, name: &str, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.0.push((name.to_owned(), hex(bytes)));
        }
    }

    /// The type of a payload or of what is nested in one, and its generic header.
    fn generic(&mut self, kind: u8, next: u8, body_len: usize) {
        self.push("typepayload", &[kind]);
        self.push("nextpayload", &[next]);
        self.push("payloadlength", &u16::try_from(body_len + 4).unwrap().to_be_bytes());
    }

    fn attributes(&mut self, attributes: &[Attribute]) {
        for attribute in attributes {
            let (format, value) = match &attribute.value {
                AttributeValue::Short(value) => (0x8000, value.to_be_bytes().to_vec()),
                AttributeValue::Long(value) => (0, value.clone()),
            };
            self.push("attr.type", &(attribute.class | format).to_be_bytes());
            self.push("attr.value", &value);
        }
    }

    fn message(bytes: &[u8]) -> Self {
        let mut this = Self::default();
        let (header, body) = Header::parse(bytes).unwrap();
        this.push("ispi", &header.initiator_cookie);
        this.push("rspi", &header.responder_cookie);
        this.push("nextpayload", &[header.next_payload]);
        this.push("version", &[0x10]);
        this.push("exchangetype", &[header.exchange]);
        this.push("flags", &[header.flags]);
        this.push("messageid", &header.message_id.to_be_bytes());
        this.push("length", &u32::try_from(HEADER_LEN + body.len()).unwrap().to_be_bytes());
        if header.flags & flag::ENCRYPTED == 0 {
            let list = payloads(header.next_payload, body).unwrap();
            for (index, payload) in list.iter().enumerate() {
                let next = list.get(index + 1).map_or(0, |next| next.kind);
                this.generic(payload.kind, next, payload.body.len());
                this.payload(payload);
            }
        }
        this
    }

    fn payload(&mut self, payload: &Payload<'_>) {
        let body = payload.body;
        match payload.kind {
            kind::SA => self.proposals(&SecurityAssociation::parse(body).unwrap()),
            kind::KE => self.push("key_exchange.data", body),
            kind::NONCE => self.push("nonce", body),
            kind::HASH => self.push("hash", body),
            kind::SIG => self.push("sig", body),
            kind::VENDOR_ID => self.push("vid_bytes", body),
            kind::ID => {
                let identity = Identity::parse(body).unwrap();
                self.push("id.type", &[identity.kind]);
                self.push("id.protoid", &[identity.protocol]);
                self.push("id.port", &identity.port.to_be_bytes());
            }
            kind::NOTIFICATION => {
                let notification = Notification::parse(body).unwrap();
                self.push("notify.doi", &notification.doi.to_be_bytes());
                self.push("notify.protoid", &[notification.protocol]);
                self.push("spisize", &[u8::try_from(notification.spi.len()).unwrap()]);
                self.push("notify.msgtype", &notification.kind.to_be_bytes());
                self.push("spi", &notification.spi);
                self.push("notify.data", &notification.data);
            }
            kind::DELETE => {
                let delete = Delete::parse(body).unwrap();
                self.push("delete.doi", &delete.doi.to_be_bytes());
                self.push("delete.protoid", &[delete.protocol]);
                self.push("spisize", &[u8::try_from(delete.spis[0].len()).unwrap()]);
                self.push("spinum", &u16::try_from(delete.spis.len()).unwrap().to_be_bytes());
                delete.spis.iter().for_each(|spi| self.push("delete.spi", spi));
            }
            kind::CR => self.push("certreq.type", &[Certificate::parse(body).unwrap().encoding]),
            kind::NAT_D => self.push("ike.nat_hash", body),
            kind::NAT_OA => {
                self.push("id.type", &body[..1]);
                self.push("ike.nat_original_address_ipv4", &body[4..]);
            }
            kind::FRAGMENT => {
                let fragment = Fragment::parse(body).unwrap();
                self.push("frag.packetid", &fragment.id.to_be_bytes());
                self.push("frag.seq", &[fragment.number]);
                self.push("frag.last", &[u8::from(fragment.last)]);
            }
            kind::ATTRIBUTES => {
                let configuration = Configuration::parse(body).unwrap();
                self.push("cfg.type", &[configuration.kind]);
                self.push("cfg.identifier", &configuration.identifier.to_be_bytes());
                self.attributes(&configuration.attributes);
            }
            other => panic!("payload {other} is not compared yet"),
        }
    }

    fn proposals(&mut self, sa: &SecurityAssociation) {
        self.push("sa.doi", &sa.doi.to_be_bytes());
        self.push("sa.situation", &sa.situation.to_be_bytes());
        for (left, proposal) in (0..sa.proposals.len()).rev().zip(&sa.proposals) {
            let lengths = proposal.transforms.iter().map(transform_len);
            let next = if left == 0 { 0 } else { kind::PROPOSAL };
            self.generic(kind::PROPOSAL, next, 4 + proposal.spi.len() + lengths.sum::<usize>());
            self.push("prop.number", &[proposal.number]);
            self.push("prop.protoid", &[proposal.protocol]);
            self.push("spisize", &[u8::try_from(proposal.spi.len()).unwrap()]);
            self.push("prop.transforms", &[u8::try_from(proposal.transforms.len()).unwrap()]);
            self.push("spi", &proposal.spi);
            for (left, transform) in (0..proposal.transforms.len()).rev().zip(&proposal.transforms) {
                let next = if left == 0 { 0 } else { kind::TRANSFORM };
                self.generic(kind::TRANSFORM, next, transform_len(transform) - 4);
                self.push("trans.number", &[transform.number]);
                self.push("trans.id", &[transform.id]);
                self.attributes(&transform.attributes);
            }
        }
    }
}

fn transform_len(transform: &Transform) -> usize {
    let value = |attribute: &Attribute| match &attribute.value {
        AttributeValue::Short(_) => 4,
        AttributeValue::Long(bytes) => 4 + bytes.len(),
    };
    8 + transform.attributes.iter().map(value).sum::<usize>()
}

/// Messages of our own and of racoon's from the fuzzer's corpus, but for the one that no reader takes whole.
fn corpus() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/isakmp");
    let mut list = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("racoon-") || name.starts_with("sim-") || name == "made-all-payloads" {
            list.push((name, std::fs::read(&path).unwrap()));
        }
    }
    assert!(list.len() > 10);
    list
}

fn message(number: u8, exchange: u8, list: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let (next_payload, body) = chain(list);
    let message_id = if exchange == exchange::IDENTITY_PROTECTION { 0 } else { 0x0102_0304 };
    let (initiator_cookie, responder_cookie) = ([number; 8], [9; 8]);
    let header = Header { initiator_cookie, responder_cookie, next_payload, exchange, flags: 0, message_id };
    [&header.emit(body.len())[..], &body].concat()
}

fn long(class: u16, bytes: &[u8]) -> Attribute {
    Attribute { class, value: AttributeValue::Long(bytes.to_vec()) }
}

/// SA payloads of both phases.
fn offers() -> [Vec<u8>; 2] {
    let number = Attribute::number;
    let transform = |number, id, attributes| Transform { number, id, attributes };
    let sa = |proposals| SecurityAssociation { doi: 1, situation: 1, proposals }.emit();
    let aes =
        vec![number(11, 1), number(12, 28_800), number(1, 7), number(14, 256), number(3, 1), number(2, 4)];
    let des =
        vec![number(11, 1), long(12, &[0, 1, 0x51, 0x80]), number(1, 5), number(3, 65_005), number(4, 14)];
    let transforms = vec![transform(1, 1, aes), transform(2, 1, des)];
    let phase1 = vec![Proposal { number: 1, protocol: 1, spi: vec![], transforms }];
    let aes = vec![number(4, 2), number(1, 1), number(2, 14_400), number(6, 128), number(5, 2)];
    let des = vec![number(1, 1), long(2, &[0, 0, 0x38, 0x40]), number(3, 2), number(5, 5)];
    let esp = |number, spi: u8, transforms| Proposal { number, protocol: 3, spi: vec![spi; 4], transforms };
    let gcm = vec![number(6, 256), number(4, 4)];
    let first = esp(1, 7, vec![transform(1, 12, aes), transform(2, 3, des)]);
    [sa(phase1), sa(vec![first, esp(2, 8, vec![transform(1, 20, gcm)])])]
}

/// What the corpus has only in cipher, or not at all.
fn made() -> Vec<(String, Vec<u8>)> {
    let [phase1, phase2] = offers();
    let id = |kind, protocol, data: &[u8]| Identity { kind, protocol, port: 0, data: data.to_vec() }.emit();
    let notification = |protocol, spi: &[u8], kind, data: &[u8]| {
        Notification { doi: 1, protocol, spi: spi.to_vec(), kind, data: data.to_vec() }.emit()
    };
    let delete = |protocol, spis: &[&[u8]]| {
        Delete { doi: 1, protocol, spis: spis.iter().map(|spi| spi.to_vec()).collect() }.emit()
    };
    let attributes = vec![long(1, &[10, 9, 0, 1]), long(2, &[255, 255, 255, 0]), long(3, &[10, 9, 0, 53])];
    let configuration = Configuration { kind: Configuration::REPLY, identifier: 0x1234, attributes }.emit();
    let request = Certificate { encoding: Certificate::X509_SIGNATURE, data: vec![] }.emit();
    let dpd = *b"\xaf\xca\xd7\x13\x68\xa1\xf1\xc9\x6b\x86\x96\xfc\x77\x57\x01\x00";
    let main = exchange::IDENTITY_PROTECTION;
    let all = [
        (main, vec![(kind::SA, phase1), (kind::VENDOR_ID, dpd.to_vec()), (kind::VENDOR_ID, vec![1; 20])]),
        (
            main,
            vec![
                (kind::KE, vec![5; 128]),
                (kind::NONCE, vec![6; 16]),
                (kind::NAT_D, vec![7; 20]),
                (kind::NAT_D, vec![8; 20]),
            ],
        ),
        (
            main,
            vec![
                (kind::ID, id(Identity::FQDN, 17, b"a.example")),
                (kind::HASH, vec![3; 20]),
                (kind::NOTIFICATION, notification(1, &[4; 16], Notification::INITIAL_CONTACT, &[])),
            ],
        ),
        (main, vec![(kind::CR, request), (kind::SIG, vec![1; 64])]),
        (
            exchange::QUICK,
            vec![
                (kind::HASH, vec![3; 20]),
                (kind::SA, phase2),
                (kind::NONCE, vec![6; 32]),
                (kind::ID, id(Identity::IPV4, 47, &[192, 0, 2, 1])),
                (kind::ID, id(Identity::IPV4_SUBNET, 0, &[10, 0, 0, 0, 255, 0, 0, 0])),
                (kind::NAT_OA, vec![1, 0, 0, 0, 192, 0, 2, 1]),
                (kind::NAT_OA, vec![1, 0, 0, 0, 198, 51, 100, 1]),
            ],
        ),
        (
            exchange::INFORMATIONAL,
            vec![
                (
                    kind::NOTIFICATION,
                    notification(3, &[1, 2, 3, 4], Notification::NO_PROPOSAL_CHOSEN, b"why"),
                ),
                (kind::NOTIFICATION, notification(1, &[4; 16], Notification::R_U_THERE_ACK, &[0, 0, 0, 9])),
                (kind::DELETE, delete(3, &[&[1; 4], &[2; 4]])),
                (kind::DELETE, delete(1, &[&[3; 16]])),
            ],
        ),
        (exchange::TRANSACTION, vec![(kind::HASH, vec![3; 20]), (kind::ATTRIBUTES, configuration)]),
    ];
    let mut messages = Vec::new();
    for (number, (exchange, list)) in (1..).zip(&all) {
        messages.push((format!("made {number}"), message(number, *exchange, list)));
    }
    messages
}

/// A pcap-savefile(5) with one packet for each.
fn pcap(messages: &[(String, Vec<u8>)]) -> Vec<u8> {
    const LINKTYPE_RAW: u32 = 101;
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<u8>>();
    let mut file = words(&[0xa1b2_c3d4, 2 | 4 << 16, 0, 0, 65_535, LINKTYPE_RAW]);
    for (_, message) in messages {
        let udp_len = u16::try_from(8 + message.len()).unwrap();
        let header = ipv4::Repr {
            tos: 0,
            id: 1,
            dont_fragment: true,
            ttl: 64,
            protocol: 17,
            source: [192, 0, 2, 1].into(),
            destination: [198, 51, 100, 1].into(),
            payload_len: usize::from(udp_len),
        };
        let udp = [500u16, 500, udp_len, 0].map(u16::to_be_bytes).concat();
        let packet = [&header.emit()[..], &udp, message].concat();
        let length = u32::try_from(packet.len()).unwrap();
        file.extend(words(&[0, 0, length, length]));
        file.extend(packet);
    }
    file
}

/// What tshark reads, message by message.
fn tsharks(pdml: &str) -> Vec<Vec<Field>> {
    let mut messages: Vec<Vec<Field>> = Vec::new();
    for line in pdml.lines() {
        if line.starts_with("<packet>") {
            messages.push(Vec::new());
        }
        let attribute = |name: &str| {
            let (_, rest) = line.split_once(&format!(" {name}=\""))?;
            rest.split_once('"').map(|(value, _)| value)
        };
        let Some(name) = attribute("name").and_then(|name| name.strip_prefix("isakmp.")) else { continue };
        let rest = |prefix: &&str| name.strip_prefix(*prefix).filter(|rest| rest.starts_with("attr."));
        let name = match name {
            "trans.esp" => "trans.id",
            _ => ["ike.", "ipsec.", "cfg."].iter().find_map(rest).unwrap_or(name),
        };
        let value = match name {
            // Its value is the whole payload.
            "typepayload" => attribute("show").map(|show| hex(&[show.parse().unwrap()])),
            _ => attribute("value").map(str::to_owned),
        };
        let value = value.filter(|value| COMPARED.contains(&name) && !value.is_empty());
        if let (Some(value), Some(message)) = (value, messages.last_mut()) {
            message.push((name.to_owned(), value));
        }
    }
    messages
}

#[test]
fn tshark_reads_the_same() {
    let messages = [corpus(), made()].concat();
    let Some(output) = support::ask(Command::new("tshark").args(["-T", "pdml"]), "tshark", &pcap(&messages))
    else {
        return;
    };
    let read = tsharks(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(read.len(), messages.len(), "{}", String::from_utf8_lossy(&output.stderr));
    for ((name, bytes), theirs) in messages.iter().zip(read) {
        let Reading(ours) = Reading::message(bytes);
        assert!(ours.len() >= 8, "{name}");
        let differs = ours.iter().zip(&theirs).position(|(ours, theirs)| ours != theirs);
        assert_eq!(differs, None, "{name}: {ours:?}\n\ntshark: {theirs:?}");
        assert_eq!(ours.len(), theirs.len(), "{name}: {ours:?}\n\ntshark: {theirs:?}");
    }
}
