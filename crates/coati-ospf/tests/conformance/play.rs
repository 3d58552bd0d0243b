//! Plays a case: one engine in virtual time, and neighbours that say what the case has them say.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use coati_crypto::RandomSource;
use coati_ospf::{
    AreaId, AreaKind, Authentication, Config, Engine, Event, ExternalRoute, Input, InterfaceConfig, Link,
    State, Transmit,
};
use coati_wire::ospf::{
    DatabaseDescription, Header, Hello, LsaHeader, OPTION_E, OPTION_NP, OPTION_O, Packet, emit_update,
};

use crate::packet::{Envelope, digest_is_right};
use crate::text::{self, Words, unknown};

/// Not random at all: DD sequence numbers begin at 4096, refreshes come as late as they may.
struct Constant;

impl RandomSource for Constant {
    fn fill(&mut self, out: &mut [u8]) {
        let number = 4096u32.to_be_bytes();
        out.iter_mut().zip(number.iter().cycle()).for_each(|(place, byte)| *place = *byte);
    }
}

/// A neighbour that plays along: it says hello in time and acknowledges what it gets.
struct Neighbour {
    interface: u32,
    address: Ipv4Addr,
    router_id: Ipv4Addr,
    area: AreaId,
    hello: Hello,
    hello_due: Duration,
    acknowledges: bool,
    /// The last description that it got.
    described: Option<DatabaseDescription>,
}

pub struct Play {
    start: Instant,
    now: Duration,
    pub config: Config,
    pub engine: Option<Engine>,
    pub links: Vec<(Link, InterfaceConfig)>,
    pub externals: BTreeMap<(Ipv4Addr, u8), ExternalRoute>,
    neighbours: Vec<Neighbour>,
    watched: BTreeSet<String>,
    dropped: BTreeMap<&'static str, u64>,
    pub clock: Option<u64>,
    pub out: Vec<String>,
}

pub type Done = Result<(), String>;

impl Play {
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
            now: Duration::ZERO,
            config: Config::new(Ipv4Addr::new(1, 1, 1, 1)),
            engine: None,
            links: Vec::new(),
            externals: BTreeMap::new(),
            neighbours: Vec::new(),
            watched: BTreeSet::new(),
            dropped: BTreeMap::new(),
            clock: None,
            out: Vec::new(),
        }
    }

    /// Plays one statement, the lines below it that belong to it, and the time until `next`. What was seen.
    pub fn statement(
        &mut self,
        line: &str,
        below: &[&str],
        next: Option<Duration>,
    ) -> Result<Vec<String>, String> {
        let mut words = Words::of(line);
        if words.peek().is_some_and(|word| time(word).is_some()) {
            words.more();
        }
        if let Some(verb) = words.more() {
            self.act(verb, &mut words, below)?;
        }
        match words.more() {
            Some(word) => return Err(unknown(word)),
            None => self.settle()?,
        }
        if let Some(next) = next {
            self.run_until(next)?;
        }
        Ok(std::mem::take(&mut self.out))
    }

    fn act(&mut self, verb: &str, words: &mut Words<'_>, below: &[&str]) -> Done {
        match verb {
            "router" => self.router(words),
            "area" => self.area(words),
            "interface" => self.interface(words),
            "external" => self.external(words),
            "no" => self.no(words),
            "down" => {
                let (index, now) = (self.link(words)?.0.index, self.instant());
                self.engine()?.interface_down(now, index);
                Ok(())
            }
            "shutdown" => {
                let now = self.instant();
                self.engine()?.shutdown(now);
                Ok(())
            }
            "watch" => {
                self.watched.clear();
                while let Some(word) = words.more() {
                    self.watched.insert(word.into());
                }
                Ok(())
            }
            "show" => self.show(words),
            "full" => self.full(words, below),
            "deaf" => {
                let (index, address) = self.whom(words)?;
                for neighbour in &mut self.neighbours {
                    neighbour.acknowledges &= neighbour.interface != index || neighbour.address != address;
                }
                Ok(())
            }
            "gone" => {
                let (index, address) = self.whom(words)?;
                self.neighbours
                    .retain(|neighbour| neighbour.interface != index || neighbour.address != address);
                Ok(())
            }
            "hello" | "dd" | "lsr" | "lsu" | "ack" | "raw" => self.packet(verb, words, below),
            other => Err(unknown(other)),
        }
    }

    pub fn engine(&mut self) -> Result<&mut Engine, String> {
        let now = self.instant();
        let engine = self.engine.get_or_insert_with(|| Engine::new(self.config.clone(), Box::new(Constant)));
        if let Some(unix) = self.clock.take() {
            engine.set_clock(now, unix);
        }
        Ok(engine)
    }

    // What neighbours do.

    fn link(&self, words: &mut Words<'_>) -> Result<&(Link, InterfaceConfig), String> {
        let name = words.word("interface")?;
        self.links.iter().find(|(link, _)| link.name == name).ok_or_else(|| format!("no interface `{name}`"))
    }

    /// An interface and a neighbour's address there.
    fn whom(&self, words: &mut Words<'_>) -> Result<(u32, Ipv4Addr), String> {
        let index = self.link(words)?.0.index;
        Ok((index, words.parse("address")?))
    }

    /// The hello that fits an interface, from a neighbour that hears us.
    fn fitting_hello(&self, link: &Link, config: &InterfaceConfig, area: AreaId) -> Hello {
        let options = match self.config.areas.get(&area).map_or(AreaKind::Normal, |area| area.kind) {
            AreaKind::Normal => OPTION_E,
            AreaKind::Stub { .. } => 0,
            AreaKind::Nssa(_) => OPTION_NP,
        };
        Hello {
            mask: text::mask(link.prefix_len),
            hello_interval: config.hello_interval,
            options,
            priority: 1,
            dead_interval: config.dead_interval,
            designated: Ipv4Addr::UNSPECIFIED,
            backup: Ipv4Addr::UNSPECIFIED,
            neighbours: vec![self.config.router_id],
        }
    }

    fn packet(&mut self, verb: &str, words: &mut Words<'_>, below: &[&str]) -> Done {
        let (link, config) = self.link(words)?.clone();
        let source = words.parse("address")?;
        if verb == "raw" {
            let bytes = words.bytes()?;
            return self.hand_in(&link, source, &Envelope::default(), &bytes);
        }
        let neighbour = self.neighbours.iter().find(|f| f.interface == link.index && f.address == source);
        let mut envelope = Envelope::of(
            neighbour.map_or(source, |neighbour| neighbour.router_id),
            neighbour.map_or(config.area, |neighbour| neighbour.area),
        );
        let mut hello = self.fitting_hello(&link, &config, config.area);
        if neighbour.is_none() {
            hello.neighbours.clear();
        }
        let all = if hello.options & OPTION_E == 0 { OPTION_O } else { OPTION_E | OPTION_O };
        let mut description = DatabaseDescription {
            mtu: u16::try_from(link.mtu).unwrap_or(0),
            options: all,
            flags: 0,
            sequence: 0,
            headers: Vec::new(),
        };
        while let Some(word) = words.more() {
            match (verb, word) {
                ("hello", "mask") => hello.mask = words.parse("mask")?,
                ("hello", "interval") => hello.hello_interval = words.parse("interval")?,
                ("hello", "dead") => hello.dead_interval = words.parse("interval")?,
                ("hello", "options") => hello.options = text::options(words.word("options")?)?,
                ("hello", "priority") => hello.priority = words.parse("priority")?,
                ("hello", "dr") => hello.designated = words.parse("address")?,
                ("hello", "bdr") => hello.backup = words.parse("address")?,
                ("hello", "neighbours") => hello.neighbours = text::addresses(words.word("router ids")?)?,
                ("dd", "mtu") => description.mtu = words.parse("MTU")?,
                ("dd", "options") => description.options = text::options(words.word("options")?)?,
                ("dd", "flags") => description.flags = text::flags(words.word("flags")?)?,
                ("dd", "seq") => description.sequence = words.parse("number")?,
                _ => envelope.take(word, words)?,
            }
        }
        let lsas: Vec<Vec<u8>> = below.iter().map(|line| text::lsa(line)).collect::<Result<_, _>>()?;
        let headers = || -> Result<Vec<LsaHeader>, String> {
            lsas.iter().map(|lsa| LsaHeader::parse(lsa).map_err(|error| error.to_string())).collect()
        };
        let header = envelope.header();
        let bytes = match verb {
            "hello" => Packet::Hello(hello).emit(&header),
            "dd" => {
                description.headers = headers()?;
                Packet::DatabaseDescription(description).emit(&header)
            }
            "lsr" => {
                let keys = headers()?.iter().map(|header| header.key).collect();
                Packet::LinkStateRequest(keys).emit(&header)
            }
            "lsu" => emit_update(&header, &lsas),
            _ => Packet::LinkStateAck(headers()?).emit(&header),
        };
        let bytes = envelope.seal(bytes);
        self.hand_in(&link, source, &envelope, &bytes)
    }

    fn hand_in(&mut self, link: &Link, source: Ipv4Addr, envelope: &Envelope, bytes: &[u8]) -> Done {
        let (now, interface) = (self.instant(), link.index);
        let (destination, ttl) = (envelope.to, envelope.ttl);
        self.engine()?.handle_input(now, &Input { interface, source, destination, ttl, payload: bytes });
        self.settle()
    }

    fn say(&mut self, neighbour: usize, packet: &Packet) -> Done {
        let neighbour = self.neighbours.get(neighbour).ok_or("no such neighbour")?;
        let (index, source) = (neighbour.interface, neighbour.address);
        let envelope = Envelope::of(neighbour.router_id, neighbour.area);
        let bytes = packet.emit(&envelope.header());
        let link = self.links.iter().find(|(link, _)| link.index == index).map(|(link, _)| link.clone());
        self.hand_in(&link.ok_or("no such interface")?, source, &envelope, &bytes)
    }

    /// A neighbour goes all the way to Full, with an empty database; then it floods the LSAs below.
    fn full(&mut self, words: &mut Words<'_>, below: &[&str]) -> Done {
        let (link, config) = self.link(words)?.clone();
        let address: Ipv4Addr = words.parse("address")?;
        let mut hello = self.fitting_hello(&link, &config, config.area);
        let (mut router_id, mut area, mut options) = (address, config.area, None);
        while let Some(word) = words.more() {
            match word {
                "router" => router_id = words.parse("router id")?,
                "priority" => hello.priority = words.parse("priority")?,
                "dr" => hello.designated = words.parse("address")?,
                "bdr" => hello.backup = words.parse("address")?,
                "dd-options" => options = Some(text::options(words.word("options")?)?),
                "virtual" => {
                    (area, hello.mask) = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED);
                    hello = Hello { options: OPTION_E, ..hello };
                }
                other => return Err(unknown(other)),
            }
        }
        let options = options.unwrap_or(hello.options & OPTION_E | OPTION_O);
        let period = Duration::from_secs(u64::from(config.hello_interval));
        self.neighbours.retain(|f| f.interface != link.index || f.address != address || f.area != area);
        self.neighbours.push(Neighbour {
            interface: link.index,
            address,
            router_id,
            area,
            hello: hello.clone(),
            hello_due: self.now + period,
            acknowledges: true,
            described: None,
        });
        let me = self.neighbours.len() - 1;
        self.say(me, &Packet::Hello(hello))?;
        let on = if area == config.area { &link.name } else { "VLINK" };
        let leads = router_id > self.config.router_id;
        let mut sequence = 7000;
        let dd = |flags, sequence| {
            Packet::DatabaseDescription(DatabaseDescription {
                mtu: 0,
                options,
                flags,
                sequence,
                headers: Vec::new(),
            })
        };
        const ALL: u8 = DatabaseDescription::INIT | DatabaseDescription::MORE | DatabaseDescription::MASTER;
        if leads {
            self.say(me, &dd(ALL, sequence))?;
        }
        for _ in 0..20 {
            if self.state_of(on, router_id).is_some_and(|state| state >= State::Loading) {
                break;
            }
            let Some(last) = self.neighbours.get_mut(me).and_then(|neighbour| neighbour.described.take())
            else {
                return Err(format!("{router_id} gets no database description"));
            };
            if leads {
                sequence += 1;
                self.say(me, &dd(DatabaseDescription::MASTER, sequence))?;
            } else {
                self.say(me, &dd(0, last.sequence))?;
            }
        }
        if self.state_of(on, router_id).is_none_or(|state| state < State::Full) {
            return Err(format!("{router_id} does not come to Full"));
        }
        let lsas: Vec<Vec<u8>> = below.iter().map(|line| text::lsa(line)).collect::<Result<_, _>>()?;
        if lsas.is_empty() {
            return Ok(());
        }
        let envelope = Envelope::of(router_id, area);
        let bytes = emit_update(&envelope.header(), &lsas);
        self.hand_in(&link, address, &envelope, &bytes)
    }

    fn state_of(&self, interface: &str, router_id: Ipv4Addr) -> Option<State> {
        let mut all = self.engine.iter().flat_map(Engine::neighbours);
        let one = all
            .find(|neighbour| neighbour.router_id == router_id && neighbour.interface.starts_with(interface));
        one.map(|neighbour| neighbour.state)
    }

    // Time, and what comes out.

    pub fn instant(&self) -> Instant {
        self.start + self.now
    }

    fn run_until(&mut self, end: Duration) -> Done {
        for _ in 0..200_000 {
            let start = self.start;
            let engine = self.engine.as_ref().and_then(Engine::next_timeout);
            let engine = engine.map(|at| at.saturating_duration_since(start));
            let hello = self.neighbours.iter().map(|neighbour| neighbour.hello_due).min();
            let Some(next) = [engine, hello].into_iter().flatten().min().filter(|next| *next <= end) else {
                self.now = end;
                return Ok(());
            };
            self.now = self.now.max(next);
            let due: Vec<usize> =
                (0..self.neighbours.len()).filter(|at| self.neighbours[*at].hello_due <= self.now).collect();
            for neighbour in due {
                let known = &mut self.neighbours[neighbour];
                known.hello_due = self.now + Duration::from_secs(u64::from(known.hello.hello_interval));
                let hello = Packet::Hello(known.hello.clone());
                self.say(neighbour, &hello)?;
            }
            let now = self.instant();
            if self.engine()?.next_timeout().is_some_and(|at| at <= now) {
                self.engine()?.handle_timeout(now);
            }
            self.settle()?;
        }
        Err("time does not go on".into())
    }

    /// Carries away what the engine has to say.
    fn settle(&mut self) -> Done {
        if self.engine.is_none() {
            return Ok(());
        }
        while let Some(event) = self.engine()?.poll_event() {
            self.saw_event(&event);
        }
        let drops: Vec<(&'static str, u64)> = self.engine()?.dropped().collect();
        for (why, count) in drops {
            if self.dropped.insert(why, count).unwrap_or(0) < count && self.watched.contains("drops") {
                self.print(format!("drop: {why}"));
            }
        }
        while let Some(transmit) = self.engine()?.poll_transmit() {
            self.saw_packet(&transmit)?;
        }
        Ok(())
    }

    fn print(&mut self, text: String) {
        let millis = self.now.as_millis();
        let time = match millis % 1000 {
            0 => format!("{}s", millis / 1000),
            rest => format!("{}.{}s", millis / 1000, format!("{rest:03}").trim_end_matches('0')),
        };
        self.out.push(format!("{time} {text}"));
    }

    fn saw_event(&mut self, event: &Event) {
        match event {
            Event::NeighbourState { router_id, from, to, why, .. } if self.watched.contains("states") => {
                self.print(format!("{router_id} {} -> {}: {why}", from.name(), to.name()));
            }
            Event::Problem(text) if self.watched.contains("problems") => {
                self.print(format!("problem: {text}"))
            }
            _ => {}
        }
    }

    fn saw_packet(&mut self, transmit: &Transmit) -> Done {
        let (header, packet) = Packet::parse(&transmit.payload).map_err(|error| error.to_string())?;
        let found = self.links.iter().find(|(link, _)| link.index == transmit.interface);
        let (link, config) = found.ok_or("a packet for no interface")?.clone();
        let kind = text::packet_name(&packet);
        let anywhere = !self.links.iter().any(|(link, _)| self.watched.contains(&link.name));
        if self.watched.contains(kind) && (anywhere || self.watched.contains(&link.name)) {
            let (line, below) = text::packet_text(&packet);
            let mut text = format!("{} {} ", link.name, transmit.destination);
            if transmit.ttl != 1 {
                text.push_str(&format!("ttl {} ", transmit.ttl));
            }
            if header.area != config.area {
                text.push_str(&format!("area {} ", header.area));
            }
            text.push_str(&line);
            text.push_str(&authentication_text(&header, &transmit.payload, &config));
            self.print(text);
            self.out.extend(below.into_iter().map(|line| format!("    {line}")));
        }
        self.answer(&header, transmit, &packet)
    }

    /// Neighbours that play along.
    fn answer(&mut self, header: &Header, transmit: &Transmit, packet: &Packet) -> Done {
        let gets = |neighbour: &Neighbour| {
            neighbour.interface == transmit.interface
                && neighbour.area == header.area
                && (transmit.destination.is_multicast() || transmit.destination == neighbour.address)
        };
        for at in 0..self.neighbours.len() {
            let Some(neighbour) = self.neighbours.get_mut(at).filter(|neighbour| gets(neighbour)) else {
                continue;
            };
            match packet {
                Packet::DatabaseDescription(description) => neighbour.described = Some(description.clone()),
                Packet::LinkStateUpdate { lsas, .. } if neighbour.acknowledges => {
                    let list = lsas.iter().map(|lsa| lsa.header).collect();
                    self.say(at, &Packet::LinkStateAck(list))?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// What authenticates a packet, and whether it is right by the keys of the interface.
fn authentication_text(header: &Header, payload: &[u8], config: &InterfaceConfig) -> String {
    let [_, _, id, length, s0, s1, s2, s3] = header.auth;
    match (header.auth_kind, &config.authentication) {
        (0, _) => String::new(),
        (1, _) => format!(" password {}", String::from_utf8_lossy(&header.auth).trim_end_matches('\0')),
        (_, Authentication::Cryptographic(_)) => {
            let right = if digest_is_right(payload, usize::from(length)) { "right" } else { "wrong" };
            let sequence = u32::from_be_bytes([s0, s1, s2, s3]);
            format!(" key {id} length {length} number {sequence} digest {right}")
        }
        (other, _) => format!(" authentication {other}"),
    }
}

/// `1s`, `1.5s`
pub fn time(word: &str) -> Option<Duration> {
    let seconds: f64 = word.strip_suffix('s')?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}
