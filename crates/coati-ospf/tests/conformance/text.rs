//! Packets and LSAs as lines of text. What is printed can be read again.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::str::FromStr;

use coati_wire::ospf::{
    DatabaseDescription, INITIAL_SEQUENCE, Lsa, LsaBody, LsaHeader, LsaKey, Packet, RouterLink, RouterLsa,
    lsa_kind,
};

/// The words of one line, each taken once.
pub struct Words<'a>(std::iter::Peekable<std::str::SplitWhitespace<'a>>);

impl<'a> Words<'a> {
    pub fn of(line: &'a str) -> Self {
        Self(line.split_whitespace().peekable())
    }

    pub fn more(&mut self) -> Option<&'a str> {
        self.0.next()
    }

    pub fn peek(&mut self) -> Option<&'a str> {
        self.0.peek().copied()
    }

    pub fn word(&mut self, what: &str) -> Result<&'a str, String> {
        self.0.next().ok_or_else(|| format!("{what} is missing"))
    }

    pub fn parse<T: FromStr>(&mut self, what: &str) -> Result<T, String> {
        let word = self.word(what)?;
        word.parse().map_err(|_| format!("`{word}` is no {what}"))
    }

    pub fn hex(&mut self, what: &str) -> Result<u32, String> {
        let word = self.word(what)?;
        u32::from_str_radix(word, 16).map_err(|_| format!("`{word}` is no {what} in hexadecimal"))
    }

    pub fn bytes(&mut self) -> Result<Vec<u8>, String> {
        let mut all = String::new();
        while let Some(word) = self.more() {
            all.push_str(word);
        }
        let byte = |at: usize| all.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
        let list = (0..all.len()).step_by(2).map(byte).collect::<Option<_>>();
        list.ok_or_else(|| format!("`{all}` are no bytes in hexadecimal"))
    }

    /// `10.0.0.0/8`
    pub fn prefix(&mut self) -> Result<(Ipv4Addr, u8), String> {
        prefix(self.word("network")?)
    }
}

pub fn unknown(word: &str) -> String {
    format!("`{word}` is not known here")
}

pub fn prefix(word: &str) -> Result<(Ipv4Addr, u8), String> {
    let wrong = || format!("`{word}` is no network");
    let (address, length) = word.split_once('/').ok_or_else(wrong)?;
    Ok((address.parse().map_err(|_| wrong())?, length.parse().map_err(|_| wrong())?))
}

pub fn mask(length: u8) -> Ipv4Addr {
    Ipv4Addr::from(u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0))
}

fn length(mask: Ipv4Addr) -> u32 {
    u32::from(mask).leading_ones()
}

pub fn addresses(word: &str) -> Result<Vec<Ipv4Addr>, String> {
    if word == "none" {
        return Ok(Vec::new());
    }
    word.split(',').map(|one| one.parse().map_err(|_| format!("`{one}` is no address"))).collect()
}

fn joined<T: ToString>(list: &[T]) -> String {
    if list.is_empty() {
        return "none".into();
    }
    list.iter().map(T::to_string).collect::<Vec<_>>().join(",")
}

type Names = [(u8, &'static str)];
const OPTIONS: &Names = &[(0x40, "O"), (0x20, "DC"), (0x10, "EA"), (0x08, "NP"), (0x04, "MC"), (0x02, "E")];
const BITS: &Names = &[(1, "B"), (2, "E"), (4, "V"), (16, "Nt")];
const FLAGS: &Names = &[(4, "I"), (2, "M"), (1, "MS")];

fn set(names: &Names, word: &str) -> Result<u8, String> {
    if word == "none" {
        return Ok(0);
    }
    let bit = |one: &str| names.iter().find(|(_, name)| *name == one).map(|(bit, _)| *bit);
    word.split(',').try_fold(0, |sum, one| bit(one).map(|bit| sum | bit).ok_or_else(|| unknown(one)))
}

fn names(names: &Names, bits: u8) -> String {
    joined(&names.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect::<Vec<_>>())
}

pub fn options(word: &str) -> Result<u8, String> {
    set(OPTIONS, word)
}

pub fn flags(word: &str) -> Result<u8, String> {
    set(FLAGS, word)
}

const KINDS: [(u8, &str); 9] = [
    (lsa_kind::ROUTER, "router"),
    (lsa_kind::NETWORK, "network"),
    (lsa_kind::SUMMARY_NETWORK, "summary"),
    (lsa_kind::SUMMARY_ASBR, "asbr"),
    (lsa_kind::EXTERNAL, "external"),
    (lsa_kind::NSSA, "nssa"),
    (lsa_kind::OPAQUE_LINK, "opaque-link"),
    (lsa_kind::OPAQUE_AREA, "opaque-area"),
    (lsa_kind::OPAQUE_AS, "opaque-as"),
];

pub fn kind_name(kind: u8) -> String {
    KINDS.iter().find(|(number, _)| *number == kind).map_or(format!("type{kind}"), |found| found.1.into())
}

pub fn kind(word: &str) -> Option<u8> {
    let named = KINDS.iter().find(|(_, name)| *name == word).map(|(kind, _)| *kind);
    named.or_else(|| word.strip_prefix("type")?.parse().ok())
}

/// The bytes of the LSA that a line describes.
pub fn lsa(line: &str) -> Result<Vec<u8>, String> {
    let mut words = Words::of(line);
    let word = words.word("LS type")?;
    let kind = kind(word).ok_or_else(|| unknown(word))?;
    let name = words.word("link state id")?;
    let (mut id, prefix_len) = match name.contains('/') {
        true => prefix(name)?,
        false => (name.parse().map_err(|_| format!("`{name}` is no id"))?, 0),
    };
    let (mut by, mut mask) = (id, mask(prefix_len));
    let (mut sequence, mut age, mut options) = (INITIAL_SEQUENCE, 0u16, 0x02);
    let (mut checksum, mut length, mut raw) = (None, None, None);
    let (mut router, mut routers) = (RouterLsa::default(), Vec::new());
    let (mut type2, mut metric, mut forwarding, mut tag) = (true, 1, Ipv4Addr::UNSPECIFIED, 0);
    while let Some(word) = words.more() {
        match word {
            "by" => by = words.parse("router id")?,
            "id" => id = words.parse("link state id")?,
            "seq" => sequence = words.hex("sequence number")?.cast_signed(),
            "age" => age |= words.parse::<u16>("age")?,
            "do-not-age" => age |= 0x8000,
            "options" => options = self::options(words.word("options")?)?,
            "checksum" => checksum = Some(words.hex("checksum")?),
            "length" => length = Some(words.parse::<u16>("length")?),
            "mask" => mask = words.parse("mask")?,
            "bits" => router.flags = set(BITS, words.word("bits")?)?,
            "p2p" | "transit" | "virtual" => {
                let kind = match word {
                    "p2p" => RouterLink::POINT_TO_POINT,
                    "transit" => RouterLink::TRANSIT,
                    _ => RouterLink::VIRTUAL,
                };
                let (id, data) = (words.parse("id")?, words.parse("address")?);
                router.links.push(RouterLink { id, data, kind, metric: words.parse("cost")? });
            }
            "stub" => {
                let (id, length) = words.prefix()?;
                let (data, kind) = (self::mask(length), RouterLink::STUB);
                router.links.push(RouterLink { id, data, kind, metric: words.parse("cost")? });
            }
            "routers" => routers = addresses(words.word("routers")?)?,
            "e1" => type2 = false,
            "e2" => type2 = true,
            "metric" => metric = words.parse("metric")?,
            "forward" => forwarding = words.parse("address")?,
            "tag" => tag = words.parse("tag")?,
            "hex" => raw = Some(words.bytes()?),
            other => return Err(unknown(other)),
        }
    }
    let body = match (raw, kind) {
        (Some(bytes), _) => LsaBody::Opaque(bytes),
        (None, lsa_kind::ROUTER) => LsaBody::Router(router),
        (None, lsa_kind::NETWORK) => LsaBody::Network { mask, routers },
        (None, lsa_kind::SUMMARY_NETWORK | lsa_kind::SUMMARY_ASBR) => LsaBody::Summary { mask, metric },
        (None, lsa_kind::EXTERNAL | lsa_kind::NSSA) => {
            LsaBody::External { mask, type2, metric, forwarding, tag }
        }
        (None, _) => LsaBody::Opaque(Vec::new()),
    };
    let key = LsaKey { kind, id, advertising_router: by };
    let mut bytes = Lsa::new(key, options, sequence, body).emit_aged(age);
    if let Some(checksum) = checksum {
        bytes[16..18].copy_from_slice(&checksum.to_be_bytes()[2..]);
    }
    if let Some(length) = length {
        bytes[18..20].copy_from_slice(&length.to_be_bytes());
    }
    Ok(bytes)
}

/// What an LSA is, without its body: `router 2.2.2.2`, `summary 10.0.0.0 by 2.2.2.2`.
pub fn key_text(key: &LsaKey) -> String {
    let mut text = format!("{} {}", kind_name(key.kind), key.id);
    if key.id != key.advertising_router {
        let _ = write!(text, " by {}", key.advertising_router);
    }
    text
}

/// Which instance it is.
pub fn instance_text(header: &LsaHeader) -> String {
    let frozen = if header.age & 0x8000 != 0 { " do-not-age" } else { "" };
    let (sequence, age) = (header.sequence, header.age & 0x7fff);
    format!("seq {sequence:08x} age {age}{frozen} options {}", names(OPTIONS, header.options))
}

/// What it says.
pub fn body_text(key: &LsaKey, body: &LsaBody) -> String {
    let mut text = String::new();
    let mut add = |part: String| {
        text.push(' ');
        text.push_str(&part);
    };
    match body {
        LsaBody::Router(router) => {
            if router.flags != 0 {
                add(format!("bits {}", names(BITS, router.flags)));
            }
            for link in &router.links {
                let RouterLink { id, data, kind, metric } = link;
                add(match *kind {
                    RouterLink::POINT_TO_POINT => format!("p2p {id} {data} {metric}"),
                    RouterLink::TRANSIT => format!("transit {id} {data} {metric}"),
                    RouterLink::VIRTUAL => format!("virtual {id} {data} {metric}"),
                    _ => format!("stub {id}/{} {metric}", length(*data)),
                });
            }
        }
        LsaBody::Network { mask, routers } => add(format!("mask {mask} routers {}", joined(routers))),
        LsaBody::Summary { metric, .. } if key.kind == lsa_kind::SUMMARY_ASBR => {
            add(format!("metric {metric}"));
        }
        LsaBody::Summary { mask, metric } => add(format!("mask {mask} metric {metric}")),
        LsaBody::External { mask, type2, metric, forwarding, tag } => {
            add(format!("mask {mask} {} metric {metric}", if *type2 { "e2" } else { "e1" }));
            if !forwarding.is_unspecified() {
                add(format!("forward {forwarding}"));
            }
            if *tag != 0 {
                add(format!("tag {tag}"));
            }
        }
        LsaBody::Opaque(bytes) => {
            add("hex".into());
            bytes.iter().for_each(|byte| add(format!("{byte:02x}")));
        }
    }
    text
}

/// The name of a packet's type.
pub fn packet_name(packet: &Packet) -> &'static str {
    match packet {
        Packet::Hello(_) => "hello",
        Packet::DatabaseDescription(_) => "dd",
        Packet::LinkStateRequest(_) => "lsr",
        Packet::LinkStateUpdate { .. } => "lsu",
        Packet::LinkStateAck(_) => "ack",
    }
}

/// A packet: what it says in a line, and each LSA in one of its own.
pub fn packet_text(packet: &Packet) -> (String, Vec<String>) {
    let header = |header: &LsaHeader| format!("{} {}", key_text(&header.key), instance_text(header));
    match packet {
        Packet::Hello(h) => {
            let line = format!(
                "hello mask {} interval {} dead {} options {} priority {} dr {} bdr {} neighbours {}",
                h.mask,
                h.hello_interval,
                h.dead_interval,
                names(OPTIONS, h.options),
                h.priority,
                h.designated,
                h.backup,
                joined(&h.neighbours)
            );
            (line, Vec::new())
        }
        Packet::DatabaseDescription(DatabaseDescription { mtu, options, flags, sequence, headers }) => {
            let (flags, options) = (names(FLAGS, *flags), names(OPTIONS, *options));
            let line = format!("dd flags {flags} seq {sequence} mtu {mtu} options {options}");
            (line, headers.iter().map(header).collect())
        }
        Packet::LinkStateRequest(keys) => ("lsr".into(), keys.iter().map(key_text).collect()),
        Packet::LinkStateUpdate { lsas, .. } => {
            let line =
                |lsa: &Lsa| format!("{}{}", header(&lsa.header), body_text(&lsa.header.key, &lsa.body));
            ("lsu".into(), lsas.iter().map(line).collect())
        }
        Packet::LinkStateAck(list) => ("ack".into(), list.iter().map(header).collect()),
    }
}
