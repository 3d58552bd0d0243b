//! `protocol ospf`.

use coati_sadb::{Prefix, Secret};

use super::lexer::Kind as Token;
use super::model::{Area, Authentication, Channel, Interface, Kind, Moment, Ospf, Password};
use super::reader::Reader;
use super::top;
use crate::diagnostic::{Diagnostic, Span};

const WORDS: [&str; 12] = [
    "area",
    "ecmp",
    "graceful restart",
    "instance id",
    "ipv4",
    "merge external",
    "rfc1583compat",
    "router id",
    "stub router",
    "tick",
    "vpn pe",
    "disabled",
];

pub(super) fn protocol<'a>(reader: &mut Reader<'a>, span: Span) -> Result<Ospf<'a>, Diagnostic> {
    let mut ospf = Ospf {
        span,
        router_id: None,
        channel: Channel::new(span),
        rfc1583: false,
        stub_router: false,
        tick: 1,
        ecmp: 16,
        merge_external: false,
        graceful_restart: false,
        grace_period: 120,
        graceful_restart_helper: true,
        areas: Vec::new(),
    };
    reader.block(|reader| statement(reader, &mut ospf))?;
    Ok(ospf)
}

fn statement<'a>(reader: &mut Reader<'a>, ospf: &mut Ospf<'a>) -> Result<(), Diagnostic> {
    let start = reader.at;
    if reader.accept_words("area") {
        return area(reader, ospf, start);
    }
    if reader.peek() == Some(Token::Word("ipv4")) {
        ospf.channel = top::channel(reader)?;
        return Ok(());
    }
    if reader.accept_words("router id") {
        ospf.router_id = Some(reader.id("a router id: a dotted quad")?);
    } else if reader.accept_words("rfc1583compat") {
        ospf.rfc1583 = reader.switch()?;
    } else if reader.accept_words("stub router") {
        ospf.stub_router = reader.switch()?;
    } else if reader.accept_words("tick") {
        ospf.tick = reader.number(1, 600)?;
    } else if reader.accept_words("ecmp") {
        ospf.ecmp = if reader.peek() != Some(Token::Word("limit")) && !reader.switch()? { 1 } else { 16 };
        if reader.accept_words("limit") {
            ospf.ecmp = reader.number(1, 255)?;
        }
    } else if reader.accept_words("merge external") {
        ospf.merge_external = reader.switch()?;
    } else if reader.accept_words("instance id") {
        if reader.number::<u8>(0, 255)? > 0 {
            let help = "take the number away on all routers of the link";
            reader.warn(reader.since(start), "instances of RFC 6549 are left out: Coati is number 0", help);
        }
    } else if reader.accept_words("graceful restart time") {
        ospf.grace_period = reader.number(1, 1800)?;
    } else if reader.accept_words("graceful restart aware") {
        (ospf.graceful_restart, ospf.graceful_restart_helper) = (false, true);
    } else if reader.accept_words("graceful restart") {
        ospf.graceful_restart = reader.switch()?;
        ospf.graceful_restart_helper = ospf.graceful_restart;
    } else if reader.accept_words("vpn pe") {
        if reader.switch()? {
            let help = "Coati takes no part in VPNs of RFC 4577";
            reader.warn(reader.since(start), "`vpn pe` is left out", help);
        }
    } else {
        return top::of_any(reader, "ospf", &WORDS);
    }
    reader.end()
}

const AREA_WORDS: [&str; 14] = [
    "stub",
    "nssa",
    "summary",
    "default nssa",
    "default cost",
    "default cost2",
    "translator",
    "translator stability",
    "networks",
    "external",
    "stubnet",
    "interface",
    "virtual link",
    "disabled",
];
const INFINITY: u32 = 0x00ff_ffff;

fn area<'a>(reader: &mut Reader<'a>, ospf: &mut Ospf<'a>, start: usize) -> Result<(), Diagnostic> {
    let id = reader.id("an area: a number or dotted quad")?;
    let mut area = Area {
        id,
        span: reader.since(start),
        stub: false,
        nssa: false,
        summary: false,
        default_nssa: false,
        default_cost: 1000,
        default_cost2: None,
        translator: false,
        networks: Vec::new(),
        external: Vec::new(),
        interfaces: Vec::new(),
        virtual_links: Vec::new(),
    };
    reader.block(|reader| area_statement(reader, &mut area))?;
    reader.end()?;
    if ospf.areas.iter().any(|other| other.id == id) {
        return Err(reader.remarks.error(area.span, format!("area {id} is there twice")));
    }
    if id.is_unspecified() && (area.stub || area.nssa || !area.virtual_links.is_empty()) {
        let message = "the backbone is neither a stub area nor crossed by virtual links";
        return Err(reader.remarks.error(area.span, message));
    }
    if !area.nssa && !area.external.is_empty() {
        reader.warn(area.span, "`external` has no effect: this is no NSSA", "take it away");
    }
    ospf.areas.push(area);
    Ok(())
}

fn area_statement<'a>(reader: &mut Reader<'a>, area: &mut Area<'a>) -> Result<(), Diagnostic> {
    let start = reader.at;
    if reader.accept_words("interface") {
        return interface(reader, area, start);
    }
    if reader.accept_words("virtual link") {
        let router = reader.id("the router id of the other end: a dotted quad")?;
        let instance = instance(reader)?;
        let mut link = Interface::new(reader.since(start));
        if reader.peek() == Some(Token::Sign('{')) {
            options(reader, &mut link)?;
        }
        reader.end()?;
        if instance == 0 && !area.virtual_links.iter().any(|(other, _)| *other == router) {
            area.virtual_links.push((router, link));
        }
        return Ok(());
    }
    if reader.accept_words("stub") {
        area.stub = reader.switch()?;
        area.nssa &= !area.stub;
    } else if reader.accept_words("nssa") {
        area.nssa = reader.switch()?;
        area.stub &= !area.nssa;
    } else if reader.accept_words("summary") {
        area.summary = reader.switch()?;
    } else if reader.accept_words("default nssa") {
        area.default_nssa = reader.switch()?;
    } else if reader.accept_words("default cost2") {
        area.default_cost2 = Some(reader.number(0, INFINITY - 1)?);
    } else if reader.accept_words("default cost") {
        area.default_cost = reader.number(0, INFINITY - 1)?;
    } else if reader.accept_words("translator stability") {
        if reader.number::<u32>(0, u32::MAX)? != 40 {
            let help = "Coati's successor takes over at once";
            reader.warn(reader.since(start), "how long a translator goes on is left out", help);
        }
    } else if reader.accept_words("translator") {
        area.translator = reader.switch()?;
    } else if reader.accept_words("networks") {
        area.networks = ranges(reader)?;
    } else if reader.accept_words("external") {
        area.external = ranges(reader)?;
    } else {
        match reader.peek() {
            Some(Token::Word("stubnet")) => {
                reader.at += 1;
                reader.prefix(true)?;
                let span = reader.since(start);
                reader.skip();
                let help = "put the network on a loopback interface with `ip ospf area`; `ip ospf \
                            prefix-suppression` hides the network of an interface";
                reader.warn(span, "this stub network is left out: ospfd.conf has no such line", help);
            }
            Some(Token::Word("disabled")) => reader.skip(),
            _ => reader.unknown("area", &AREA_WORDS),
        }
        return Ok(());
    }
    reader.end()
}

/// Prefixes, and whether they are hidden.
fn ranges(reader: &mut Reader<'_>) -> Result<Vec<(Prefix, bool)>, Diagnostic> {
    let mut list: Vec<(Prefix, bool)> = Vec::new();
    reader.block(|reader| {
        let prefix = reader.prefix(false)?;
        let hidden = reader.accept_words("hidden");
        let start = reader.at;
        if reader.accept_words("tag") {
            reader.number::<u32>(0, u32::MAX)?;
            let span = reader.since(start);
            reader.warn(span, "the tag of this range is left out", "ospfd.conf has none for ranges of NSSAs");
        }
        reader.end()?;
        list.retain(|(other, _)| *other != prefix);
        list.push((prefix, hidden));
        Ok(())
    })?;
    Ok(list)
}

fn instance(reader: &mut Reader<'_>) -> Result<u8, Diagnostic> {
    let start = reader.at;
    let instance = if reader.accept_words("instance") { reader.number(0, 255)? } else { 0 };
    if instance > 0 {
        let help = "instances of RFC 6549 share a link with others; Coati is number 0";
        reader.warn(reader.since(start), format!("what is of instance {instance} is left out"), help);
    }
    Ok(instance)
}

fn interface<'a>(reader: &mut Reader<'a>, area: &mut Area<'a>, start: usize) -> Result<(), Diagnostic> {
    let patterns = top::patterns(reader)?;
    let instance = instance(reader)?;
    let mut interface = Interface { patterns, ..Interface::new(reader.since(start)) };
    if reader.peek() == Some(Token::Sign('{')) {
        options(reader, &mut interface)?;
    }
    reader.end()?;
    if instance == 0 {
        area.interfaces.push(interface);
    }
    Ok(())
}

const OPTIONS: [&str; 32] = [
    "authentication",
    "bfd",
    "check link",
    "cost",
    "dead",
    "dead count",
    "ecmp weight",
    "hello",
    "neighbors",
    "password",
    "passwords",
    "poll",
    "priority",
    "ptp address",
    "ptp netmask",
    "real broadcast",
    "retransmit",
    "rx buffer",
    "strict nonbroadcast",
    "stub",
    "transmit delay",
    "ttl security",
    "tx class",
    "tx dscp",
    "tx length",
    "tx priority",
    "type bcast",
    "type nbma",
    "type ptmp",
    "type ptp",
    "wait",
    "disabled",
];

fn options(reader: &mut Reader<'_>, interface: &mut Interface<'_>) -> Result<(), Diagnostic> {
    reader.block(|reader| option(reader, interface))?;
    if interface.dead_interval() > 65_535 || interface.dead_interval() < 2 {
        let span = interface.span;
        return Err(reader.remarks.error(span, "the dead interval is not from 2 to 65535 seconds"));
    }
    if interface.authentication == Authentication::None && !interface.passwords.is_empty() {
        let help = "as in BIRD; write `authentication cryptographic`";
        reader.warn(interface.span, "passwords without `authentication` are not used", help);
    }
    if interface.authentication != Authentication::None && interface.passwords.is_empty() {
        let help = "add `password \"…\";`: without one no packet is taken, neither by BIRD nor by Coati";
        reader.warn(interface.span, "authentication needs a password", help);
    }
    Ok(())
}

fn option(reader: &mut Reader<'_>, interface: &mut Interface<'_>) -> Result<(), Diagnostic> {
    let start = reader.at;
    if reader.accept_words("cost") {
        interface.cost = reader.number(1, 65_535)?;
    } else if reader.accept_words("stub") {
        interface.stub = reader.switch()?;
    } else if reader.accept_words("hello") {
        interface.hello = reader.number(1, 65_535)?;
    } else if reader.accept_words("poll") {
        interface.poll = reader.number(1, 65_535)?;
    } else if reader.accept_words("retransmit") {
        interface.retransmit = reader.number(1, 65_535)?;
    } else if reader.accept_words("transmit delay") {
        interface.transmit_delay = reader.number(1, 65_535)?;
    } else if reader.accept_words("priority") {
        interface.priority = reader.number(0, 255)?;
    } else if reader.accept_words("wait") {
        let wait = reader.number(1, 65_535)?;
        interface.wait = Some((wait, reader.since(start)));
    } else if reader.accept_words("dead count") {
        interface.dead_count = reader.number(2, 65_535)?;
    } else if reader.accept_words("dead") {
        interface.dead = Some(reader.number(2, 65_535)?);
    } else if reader.accept_words("type") {
        interface.kind = Some(match reader.peek() {
            Some(Token::Word("bcast" | "broadcast")) => Kind::Broadcast,
            Some(Token::Word("nbma" | "nonbroadcast")) => Kind::NonBroadcast,
            Some(Token::Word("ptp" | "pointopoint")) => Kind::PointToPoint,
            Some(Token::Word("ptmp" | "pointomultipoint")) => Kind::PointToMultipoint,
            _ => return Err(reader.wanted("`bcast`, `ptp`, `nbma` or `ptmp`")),
        });
        reader.at += 1;
    } else if reader.accept_words("ttl security tx only") {
        interface.hops = Some(254);
    } else if reader.accept_words("ttl security") {
        interface.hops = reader.switch()?.then_some(1);
        if interface.hops.is_some() {
            let span = reader.since(start);
            reader.note(
                span,
                "BIRD takes packets of TTL 255 alone, `ip ospf ttl-security hops 1` also those of 254",
            );
        }
    } else if reader.accept_words("authentication") {
        interface.authentication = match reader.peek() {
            Some(Token::Word("none")) => Authentication::None,
            Some(Token::Word("simple")) => Authentication::Simple,
            Some(Token::Word("cryptographic")) => Authentication::Cryptographic,
            _ => return Err(reader.wanted("`none`, `simple` or `cryptographic`")),
        };
        reader.at += 1;
    } else if reader.accept_words("passwords") {
        interface.passwords.clear();
        reader.block(|reader| password(reader, interface))?;
    } else if reader.peek() == Some(Token::Word("password")) {
        return password(reader, interface);
    } else if reader.accept_words("neighbors") {
        reader.block(|reader| {
            let Some(Token::Address(address)) = reader.peek() else {
                return Err(reader.wanted("the address of a neighbour"));
            };
            reader.at += 1;
            interface.neighbours.push((address, reader.accept_words("eligible")));
            reader.end()
        })?;
    } else if reader.accept_words("bfd") {
        if reader.peek() == Some(Token::Sign('{')) {
            interface.bfd = Some(reader.since(start));
            reader.skip();
            let span = reader.since(start);
            reader.warn(span, "times of BFD in `protocol ospf` are left out", "write them in `protocol bfd`");
            return Ok(());
        }
        interface.bfd = reader.switch()?.then(|| reader.since(start));
    } else {
        return physical(reader, start);
    }
    reader.end()
}

/// What is about packets and links rather than OSPF.
fn physical(reader: &mut Reader<'_>, start: usize) -> Result<(), Diagnostic> {
    if reader.accept_words("check link") {
        if !reader.switch()? {
            let span = reader.since(start);
            reader.warn(
                span,
                "`check link no` is left out",
                "Coati gives neighbours up when the link is down",
            );
        }
    } else if reader.accept_words("tx class") || reader.accept_words("tx dscp") {
        let usual = reader.number::<u8>(0, 255)?;
        if usual != 0xc0 && usual != 48 {
            let span = reader.since(start);
            reader.warn(span, "the class of packets is left out", "ospfd.conf has no such line");
        }
    } else if reader.accept_words("tx priority") {
        reader.number::<u8>(0, 255)?;
        let span = reader.since(start);
        reader.note(span, "the priority inside of this host is left out");
    } else if reader.accept_words("rx buffer") {
        if !reader.accept_words("normal") && !reader.accept_words("large") {
            reader.number::<u32>(256, 65_535)?;
        }
        let span = reader.since(start);
        reader.note(span, "Coati takes packets of any length: this is left out");
    } else if reader.accept_words("tx length") {
        reader.number::<u32>(256, 65_535)?;
        let span = reader.since(start);
        reader.warn(span, "`tx length` is left out", "Coati makes packets as long as the MTU allows");
    } else if reader.accept_words("ecmp weight") {
        if reader.number::<u32>(1, 256)? > 1 {
            let span = reader.since(start);
            reader.warn(span, "`ecmp weight` is left out", "equal paths get equal shares");
        }
    } else if reader.accept_words("real broadcast")
        || reader.accept_words("strict nonbroadcast")
        || reader.accept_words("ptp netmask")
        || reader.accept_words("ptp address")
    {
        if reader.switch()? {
            let span = reader.since(start);
            reader.warn(span, "this way of sending is left out", "ospfd.conf has no such line");
        }
    } else {
        match reader.peek() {
            Some(Token::Word("disabled")) => reader.skip(),
            _ => reader.unknown("interface", &OPTIONS),
        }
        return Ok(());
    }
    reader.end()
}

/// `password "…" { … };`.
fn password(reader: &mut Reader<'_>, interface: &mut Interface<'_>) -> Result<(), Diagnostic> {
    let start = reader.at;
    if !reader.accept_words("password") {
        return Err(reader.wanted("`password`"));
    }
    // What is found instead may be a password too.
    let wrong = reader.remarks.error(reader.span(), "expected a password in quotes");
    let Some(Token::Text(text)) = reader.peek() else { return Err(wrong) };
    reader.at += 1;
    let id = u8::try_from(interface.passwords.len() + 1).map_err(|_| reader.wanted("fewer passwords"))?;
    let secret = Secret::new(reader.remarks.source.bytes_of(text));
    let span = reader.since(start);
    let (generate, accept) = ((None, None), (None, None));
    let mut password = Password { span, secret, id, algorithm: "md5", generate, accept };
    let mut known = true;
    if reader.peek() == Some(Token::Sign('{')) {
        reader.block(|reader| {
            if reader.accept_words("id") {
                password.id = reader.number(0, 255)?;
            } else if reader.accept_words("generate from") {
                password.generate.0 = Some(moment(reader)?);
            } else if reader.accept_words("generate to") {
                password.generate.1 = Some(moment(reader)?);
            } else if reader.accept_words("accept from") {
                password.accept.0 = Some(moment(reader)?);
            } else if reader.accept_words("accept to") {
                password.accept.1 = Some(moment(reader)?);
            } else if reader.accept_words("from") {
                password.generate.0 = Some(moment(reader)?);
                password.accept.0 = password.generate.0;
            } else if reader.accept_words("to") {
                password.generate.1 = Some(moment(reader)?);
                password.accept.1 = password.generate.1;
            } else if reader.accept_words("algorithm") {
                known = algorithm(reader, &mut password)?;
            } else {
                let words = ["id", "algorithm", "generate from", "generate to", "accept from", "accept to"];
                reader.unknown("password", &words);
                return Ok(());
            }
            reader.end()
        })?;
    }
    reader.end()?;
    if interface.passwords.iter().any(|other| other.id == password.id) {
        return Err(reader.remarks.error(span, format!("there is a password of id {} before", password.id)));
    }
    password.algorithm = if known { password.algorithm } else { "" };
    interface.passwords.push(password);
    Ok(())
}

/// Whether Coati has it.
fn algorithm(reader: &mut Reader<'_>, password: &mut Password) -> Result<bool, Diagnostic> {
    let span = reader.span();
    for (words, name) in [
        ("keyed md5", "md5"),
        ("hmac sha1", "hmac-sha-1"),
        ("hmac sha256", "hmac-sha-256"),
        ("hmac sha384", "hmac-sha-384"),
        ("hmac sha512", "hmac-sha-512"),
    ] {
        if reader.accept_words(words) {
            password.algorithm = name;
            return Ok(true);
        }
    }
    while matches!(reader.peek(), Some(Token::Word(_))) {
        reader.at += 1;
    }
    reader.warn(
        span,
        "this key is left out: Coati does not have its algorithm",
        "`hmac sha256` is the usual one",
    );
    Ok(false)
}

/// `"2027-01-31"` or `"2027-01-31 08:00:00"`.
fn moment(reader: &mut Reader<'_>) -> Result<Moment, Diagnostic> {
    let span = reader.span();
    let text = reader.text("a time such as \"2027-01-31 08:00:00\"")?;
    let wrong = || reader.remarks.error(span, "a time is written as in \"2027-01-31 08:00:00\"");
    let (date, time) = text.split_once(' ').unwrap_or((text, ""));
    let numbers = |text: &str, sign: char| -> Option<Vec<u16>> {
        text.split(sign).map(|part| part.parse().ok()).collect()
    };
    let [year @ 1993..=2200, month @ 1..=12, day @ 1..=31] = numbers(date, '-').unwrap_or_default()[..]
    else {
        return Err(wrong());
    };
    let clock = if time.trim().is_empty() { Some(vec![0, 0, 0]) } else { numbers(time.trim(), ':') };
    let (hour, minute, second) = match clock.unwrap_or_default()[..] {
        [hour @ 0..24, minute @ 0..60] => (hour, minute, 0),
        [hour @ 0..24, minute @ 0..60, second @ 0..60] => (hour, minute, second),
        _ => return Err(wrong()),
    };
    Ok([year, month, day, hour, minute, second])
}
