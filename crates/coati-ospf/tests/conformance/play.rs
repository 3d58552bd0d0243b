//! Plays a case: one engine in virtual time, and neighbours that say what the case has them say.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use coati_crypto::RandomSource;
use coati_ospf::{
    AreaId, AreaKind, Authentication, BorderRule, Config, Deviations, Engine, Event, ExternalRange,
    ExternalRoute, Input, InterfaceConfig, Key, KeyAlgorithm, Lifetime, Link, NetworkType, Nssa, Range,
    RouteKind, Scope, Secret, State, StaticNeighbour, Translate, Transmit,
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
struct Friend {
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
    config: Config,
    engine: Option<Engine>,
    links: Vec<(Link, InterfaceConfig)>,
    externals: BTreeMap<(Ipv4Addr, u8), ExternalRoute>,
    friends: Vec<Friend>,
    watched: BTreeSet<String>,
    dropped: BTreeMap<&'static str, u64>,
    clock: Option<u64>,
    out: Vec<String>,
}

type Done = Result<(), String>;

impl Play {
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
            now: Duration::ZERO,
            config: Config::new(Ipv4Addr::new(1, 1, 1, 1)),
            engine: None,
            links: Vec::new(),
            externals: BTreeMap::new(),
            friends: Vec::new(),
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
                for friend in &mut self.friends {
                    friend.acknowledges &= friend.interface != index || friend.address != address;
                }
                Ok(())
            }
            "gone" => {
                let (index, address) = self.whom(words)?;
                self.friends.retain(|friend| friend.interface != index || friend.address != address);
                Ok(())
            }
            "hello" | "dd" | "lsr" | "lsu" | "ack" | "raw" => self.packet(verb, words, below),
            other => Err(unknown(other)),
        }
    }

    // What the router is told.

    fn router(&mut self, words: &mut Words<'_>) -> Done {
        self.config.router_id = words.parse("router id")?;
        while let Some(word) = words.more() {
            match word {
                "strict" => {
                    self.config.deviations = Deviations {
                        hello_at_once: false,
                        early_retransmission: false,
                        prompt_origination: false,
                        loss_at_once: false,
                    };
                }
                "rfc1583" => self.config.rfc1583 = true,
                "border" => {
                    self.config.border = match words.word("rule")? {
                        "standard" => BorderRule::Standard,
                        "ibm" => BorderRule::Ibm,
                        "cisco" => BorderRule::Cisco,
                        other => return Err(unknown(other)),
                    };
                }
                "maximum-paths" => self.config.maximum_paths = words.parse("number")?,
                "max-metric" => self.config.stub_router.always = true,
                "max-metric-on-startup" => {
                    let seconds = words.parse("time in seconds")?;
                    self.config.stub_router.on_startup = Some(Duration::from_secs(seconds));
                }
                "no-helper" => self.config.graceful_restart_helper = false,
                "clock" => self.clock = Some(words.parse("Unix time")?),
                other => return Err(unknown(other)),
            }
        }
        self.reconfigured();
        Ok(())
    }

    fn area(&mut self, words: &mut Words<'_>) -> Done {
        let id = area_id(words.word("area")?)?;
        let area = self.config.areas.entry(id).or_default();
        match words.word("kind of area, `default-cost`, `range`, `nssa-range` or `virtual-link`")? {
            "stub" => area.kind = AreaKind::Stub { summaries: !no_summary(words) },
            "nssa" => {
                let mut nssa = Nssa {
                    summaries: true,
                    translate: Translate::Candidate,
                    suppress_forwarding: false,
                    default_route: None,
                };
                while let Some(word) = words.more() {
                    match word {
                        "no-summary" => nssa.summaries = false,
                        "translate-always" => nssa.translate = Translate::Always,
                        "translate-never" => nssa.translate = Translate::Never,
                        "suppress-forwarding" => nssa.suppress_forwarding = true,
                        "default-route" => {
                            nssa.default_route = Some((words.parse("metric")?, words.word("type")? == "e2"));
                        }
                        other => return Err(unknown(other)),
                    }
                }
                area.kind = AreaKind::Nssa(nssa);
            }
            "default-cost" => area.default_cost = words.parse("cost")?,
            "range" => {
                let (network, prefix_len) = words.prefix()?;
                let mut range = Range { network, prefix_len, advertise: true, cost: None, substitute: None };
                while let Some(word) = words.more() {
                    match word {
                        "not-advertise" => range.advertise = false,
                        "cost" => range.cost = Some(words.parse("cost")?),
                        other => return Err(unknown(other)),
                    }
                }
                area.ranges.push(range);
            }
            "nssa-range" => area.nssa_ranges.push(external_range(words)?),
            "virtual-link" => {
                area.virtual_links.insert(words.parse("router id")?, InterfaceConfig::default());
            }
            other => return Err(unknown(other)),
        }
        self.reconfigured();
        Ok(())
    }

    fn reconfigured(&mut self) {
        let (now, config) = (self.instant(), self.config.clone());
        if let Some(engine) = &mut self.engine {
            engine.reconfigure(now, config);
        }
    }

    fn interface(&mut self, words: &mut Words<'_>) -> Done {
        let name = words.word("name")?;
        let (address, prefix_len) = words.prefix()?;
        let mut link = Link {
            index: u32::try_from(self.links.len() + 1).unwrap_or(0),
            name: name.into(),
            address,
            prefix_len,
            peer: None,
            mtu: 1500,
            point_to_point: name.starts_with("gre"),
            loopback: name.starts_with("lo"),
        };
        let mut config = InterfaceConfig::default();
        let mut keys = Vec::new();
        while let Some(word) = words.more() {
            match word {
                "area" => config.area = area_id(words.word("area")?)?,
                "peer" => link.peer = Some(words.parse("address")?),
                "mtu" => link.mtu = words.parse("MTU")?,
                "broadcast" => config.network = Some(NetworkType::Broadcast),
                "non-broadcast" => config.network = Some(NetworkType::NonBroadcast),
                "point-to-point" => config.network = Some(NetworkType::PointToPoint),
                "point-to-multipoint" => config.network = Some(NetworkType::PointToMultipoint),
                "cost" => config.cost = words.parse("cost")?,
                "priority" => config.priority = words.parse("priority")?,
                "interval" => config.hello_interval = words.parse("interval")?,
                "dead" => config.dead_interval = words.parse("interval")?,
                "retransmit" => config.retransmit_interval = Duration::from_secs(words.parse("interval")?),
                "delay" => config.transmit_delay = words.parse("delay")?,
                "passive" => config.passive = true,
                "mtu-ignore" => config.mtu_ignore = true,
                "ttl-security" => config.ttl_security = Some(words.parse("number of hops")?),
                "prefix-suppression" => config.prefix_suppression = true,
                "neighbour" => config.neighbours.push(StaticNeighbour {
                    address: words.parse("address")?,
                    priority: words.parse("priority")?,
                    poll_interval: Duration::from_secs(words.parse("poll interval")?),
                }),
                "password" => {
                    let secret = Secret::new(words.word("password")?.into());
                    config.authentication = Authentication::Simple(secret);
                }
                "key" => keys.push(key(words)?),
                other => return Err(unknown(other)),
            }
        }
        if !keys.is_empty() {
            config.authentication = Authentication::Cryptographic(keys);
        }
        let now = self.instant();
        match self.links.iter_mut().find(|(known, _)| known.name == link.name) {
            Some(known) => {
                link.index = known.0.index;
                *known = (link.clone(), config.clone());
            }
            None => self.links.push((link.clone(), config.clone())),
        }
        self.engine()?.interface_up(now, link, config);
        Ok(())
    }

    fn external(&mut self, words: &mut Words<'_>) -> Done {
        let (network, prefix_len) = words.prefix()?;
        let mut route = ExternalRoute { network, prefix_len, type2: true, metric: 20, tag: 0, gateway: None };
        while let Some(word) = words.more() {
            match word {
                "e1" => route.type2 = false,
                "e2" => route.type2 = true,
                "metric" => route.metric = words.parse("metric")?,
                "tag" => route.tag = words.parse("tag")?,
                "via" => route.gateway = Some(words.parse("address")?),
                other => return Err(unknown(other)),
            }
        }
        self.externals.insert((network, prefix_len), route);
        self.externals_changed()
    }

    fn no(&mut self, words: &mut Words<'_>) -> Done {
        match words.word("`external`")? {
            "external" => {
                self.externals.remove(&words.prefix()?);
                self.externals_changed()
            }
            other => Err(unknown(other)),
        }
    }

    fn externals_changed(&mut self) -> Done {
        let (now, routes) = (self.instant(), self.externals.values().copied().collect::<Vec<_>>());
        self.engine()?.set_externals(now, routes);
        Ok(())
    }

    fn engine(&mut self) -> Result<&mut Engine, String> {
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
        let friend = self.friends.iter().find(|f| f.interface == link.index && f.address == source);
        let mut envelope = Envelope::of(
            friend.map_or(source, |friend| friend.router_id),
            friend.map_or(config.area, |friend| friend.area),
        );
        let mut hello = self.fitting_hello(&link, &config, config.area);
        if friend.is_none() {
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

    fn say(&mut self, friend: usize, packet: &Packet) -> Done {
        let friend = self.friends.get(friend).ok_or("no such neighbour")?;
        let (index, source) = (friend.interface, friend.address);
        let envelope = Envelope::of(friend.router_id, friend.area);
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
        self.friends.retain(|f| f.interface != link.index || f.address != address || f.area != area);
        self.friends.push(Friend {
            interface: link.index,
            address,
            router_id,
            area,
            hello: hello.clone(),
            hello_due: self.now + period,
            acknowledges: true,
            described: None,
        });
        let me = self.friends.len() - 1;
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
            let Some(last) = self.friends.get_mut(me).and_then(|friend| friend.described.take()) else {
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

    fn instant(&self) -> Instant {
        self.start + self.now
    }

    fn run_until(&mut self, end: Duration) -> Done {
        for _ in 0..200_000 {
            let start = self.start;
            let engine = self.engine.as_ref().and_then(Engine::next_timeout);
            let engine = engine.map(|at| at.saturating_duration_since(start));
            let hello = self.friends.iter().map(|friend| friend.hello_due).min();
            let Some(next) = [engine, hello].into_iter().flatten().min().filter(|next| *next <= end) else {
                self.now = end;
                return Ok(());
            };
            self.now = self.now.max(next);
            let due: Vec<usize> =
                (0..self.friends.len()).filter(|at| self.friends[*at].hello_due <= self.now).collect();
            for friend in due {
                let known = &mut self.friends[friend];
                known.hello_due = self.now + Duration::from_secs(u64::from(known.hello.hello_interval));
                let hello = Packet::Hello(known.hello.clone());
                self.say(friend, &hello)?;
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
        let gets = |friend: &Friend| {
            friend.interface == transmit.interface
                && friend.area == header.area
                && (transmit.destination.is_multicast() || transmit.destination == friend.address)
        };
        for at in 0..self.friends.len() {
            let Some(friend) = self.friends.get_mut(at).filter(|friend| gets(friend)) else { continue };
            match packet {
                Packet::DatabaseDescription(description) => friend.described = Some(description.clone()),
                Packet::LinkStateUpdate { lsas, .. } if friend.acknowledges => {
                    let list = lsas.iter().map(|lsa| lsa.header).collect();
                    self.say(at, &Packet::LinkStateAck(list))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    // What is looked at.

    fn show(&mut self, words: &mut Words<'_>) -> Done {
        let (now, before) = (self.instant(), self.out.len());
        match words.word("what to show")? {
            "neighbours" => {
                let row = |n: coati_ospf::NeighbourInfo| {
                    format!("{} {} {} {}", n.interface, n.address, n.router_id, n.state.name())
                };
                let rows: Vec<String> = self.engine()?.neighbours().map(row).collect();
                self.out.extend(rows);
            }
            "interfaces" => {
                let text = self.engine()?.show(now, &["ip", "ospf", "interface", "json"])?;
                let value: serde_json::Value =
                    serde_json::from_str(&text).map_err(|error| error.to_string())?;
                let word = |value: &serde_json::Value| value.as_str().unwrap_or("none").to_owned();
                for (name, one) in value["interfaces"].as_object().ok_or("no interfaces")? {
                    let mut line = format!("{name} {}", word(&one["state"]));
                    if one["networkType"] == "BROADCAST" || one["networkType"] == "NBMA" {
                        let (dr, bdr) = (word(&one["drAddress"]), word(&one["bdrAddress"]));
                        line.push_str(&format!(" dr {dr} bdr {bdr}"));
                    }
                    if one["networkType"] == "VIRTUALLINK" {
                        line.push_str(&format!(" cost {}", one["cost"]));
                    }
                    self.out.push(line);
                }
            }
            "routes" => {
                let only = words.peek().is_some().then(|| words.prefix()).transpose()?;
                let names: BTreeMap<u32, String> =
                    self.links.iter().map(|(link, _)| (link.index, link.name.clone())).collect();
                let routes: Vec<String> = self
                    .engine()?
                    .routes()
                    .filter(|route| only.is_none_or(|only| only == (route.network, route.prefix_len)))
                    .map(|route| route_text(route, &names))
                    .collect();
                self.out.extend(routes);
            }
            view @ ("lsdb" | "instances") => {
                let kind =
                    words.more().map(|word| text::kind(word).ok_or_else(|| unknown(word))).transpose()?;
                let id: Option<Ipv4Addr> = words.peek().is_some().then(|| words.parse("id")).transpose()?;
                let mut rows = Vec::new();
                for (scope, header, body) in self.engine()?.database(now) {
                    let key = header.key;
                    if kind.is_some_and(|kind| kind != key.kind) || id.is_some_and(|id| id != key.id) {
                        continue;
                    }
                    let place = match scope {
                        Scope::As => "as".into(),
                        Scope::Area(area) => format!("area {area}"),
                        Scope::Link(index) => format!("link {index}"),
                    };
                    let what = match view {
                        "lsdb" => text::body_text(&key, body),
                        _ => format!(" {}", text::instance_text(&header)),
                    };
                    rows.push(format!("{place}: {}{what}", text::key_text(&key)));
                }
                self.out.extend(rows);
            }
            other => return Err(unknown(other)),
        }
        if self.out.len() == before {
            self.out.push("nothing".into());
        }
        Ok(())
    }
}

fn route_text(route: &coati_ospf::Route, names: &BTreeMap<u32, String>) -> String {
    let mut kind = match route.kind {
        RouteKind::IntraArea => format!("intra {}", route.area),
        RouteKind::InterArea => format!("inter {}", route.area),
        RouteKind::External1 { .. } => "e1".into(),
        RouteKind::External2 { metric, .. } => format!("e2 metric {metric}"),
    };
    if let RouteKind::External1 { tag } | RouteKind::External2 { tag, .. } = route.kind
        && tag != 0
    {
        kind.push_str(&format!(" tag {tag}"));
    }
    let hop = |hop: &coati_ospf::NextHop| {
        let name = names.get(&hop.interface).map_or("?", String::as_str);
        hop.via.map_or(format!(" {name}"), |via| format!(" {name} {via}"))
    };
    let hops: Vec<String> = route.next_hops.iter().map(hop).collect();
    let hops = if hops.is_empty() { " discard".into() } else { hops.join(",") };
    format!("{}/{} {kind} cost {}{hops}", route.network, route.prefix_len, route.cost)
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

fn area_id(word: &str) -> Result<AreaId, String> {
    let number = word.parse::<u32>().map(Ipv4Addr::from);
    number.or_else(|_| word.parse()).map_err(|_| format!("`{word}` is no area"))
}

fn no_summary(words: &mut Words<'_>) -> bool {
    let said = words.peek() == Some("no-summary");
    if said {
        words.more();
    }
    said
}

fn external_range(words: &mut Words<'_>) -> Result<ExternalRange, String> {
    let (network, prefix_len) = words.prefix()?;
    let mut range = ExternalRange { network, prefix_len, advertise: true, cost: None, tag: 0 };
    while let Some(word) = words.more() {
        match word {
            "not-advertise" => range.advertise = false,
            "cost" => range.cost = Some(words.parse("cost")?),
            "tag" => range.tag = words.parse("tag")?,
            other => return Err(unknown(other)),
        }
    }
    Ok(range)
}

/// `ALGORITHM ID SECRET [from UNIX] [until UNIX]`
fn key(words: &mut Words<'_>) -> Result<Key, String> {
    let algorithm = match words.word("algorithm")? {
        "md5" => KeyAlgorithm::Md5,
        "hmac-sha-1" => KeyAlgorithm::HmacSha1,
        "hmac-sha-256" => KeyAlgorithm::HmacSha256,
        "hmac-sha-384" => KeyAlgorithm::HmacSha384,
        "hmac-sha-512" => KeyAlgorithm::HmacSha512,
        other => return Err(unknown(other)),
    };
    let id = words.parse("key id")?;
    let secret = Secret::new(words.word("secret")?.into());
    let mut lifetime = Lifetime::default();
    while let Some(word @ ("from" | "until")) = words.peek() {
        words.more();
        let time = Some(words.parse("Unix time")?);
        if word == "from" { lifetime.from = time } else { lifetime.until = time }
    }
    Ok(Key { id, algorithm, secret, send: lifetime, accept: lifetime })
}
