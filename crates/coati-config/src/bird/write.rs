//! ospfd.conf, from what bird.conf says.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::Ipv4Addr;

use coati_sadb::Prefix;

use super::model::{
    Area, Authentication, BfdTimes, BirdConf, Interface, Kind, Moment, Ospf, Password, Pattern,
};
use super::reader::Reader;
use super::redistribute;
use super::{HostInterface, Passwords, top};

/// Interfaces there are or will be, each with its place among `interface …` of the areas.
pub(super) struct Hosts {
    list: Vec<(HostInterface, Option<(usize, usize)>)>,
}

impl Hosts {
    /// Those given, and those that the file names without a wildcard: a tunnel may not be there yet.
    fn new(reader: &mut Reader<'_>, conf: &BirdConf<'_>, ospf: &Ospf<'_>, given: &[HostInterface]) -> Self {
        let mut list: Vec<HostInterface> = Vec::new();
        let mut known = BTreeSet::new();
        for host in given {
            if known.insert(host.name.clone()) {
                list.push(host.clone());
            } else if let Some(same) = list.iter_mut().find(|same| same.name == host.name) {
                same.addresses.extend(host.addresses.iter().copied());
            }
        }
        let of_areas = ospf.areas.iter().flat_map(|area| &area.interfaces);
        let patterns = of_areas.flat_map(|interface| &interface.patterns);
        for pattern in patterns.chain(conf.directs.iter().flat_map(|direct| &direct.patterns)) {
            let Some((name, span)) = pattern.name.filter(|(name, _)| pattern.positive && !is_wild(name))
            else {
                continue;
            };
            if !top::is_name(name) {
                let help = "take a shorter name without blanks";
                reader.warn(span, "no interface of this name can be written in ospfd.conf", help);
            } else if known.insert(name.to_owned()) {
                if !given.is_empty() {
                    reader.note(
                        span,
                        format!("there is no interface `{name}` now: it is written all the same"),
                    );
                }
                list.push(HostInterface { name: name.to_owned(), addresses: Vec::new() });
            }
        }
        // As in BIRD, the first that fits has it.
        let place = |host: &HostInterface| {
            ospf.areas.iter().enumerate().find_map(|(number, area)| {
                let index = area.interfaces.iter().position(|interface| fits(&interface.patterns, host))?;
                Some((number, index))
            })
        };
        let list = list.into_iter().map(|host| {
            let place = place(&host);
            (host, place)
        });
        Self { list: list.collect() }
    }

    fn at(&self, place: (usize, usize)) -> impl Iterator<Item = &HostInterface> {
        self.list.iter().filter(move |(_, own)| *own == Some(place)).map(|(host, _)| host)
    }

    /// Those that OSPF has nothing to do with.
    pub(super) fn without_ospf(&self) -> impl Iterator<Item = &HostInterface> {
        self.list.iter().filter(|(_, place)| place.is_none()).map(|(host, _)| host)
    }
}

fn is_wild(name: &str) -> bool {
    name.contains(['*', '?'])
}

/// Whether a list of patterns means this interface: the first pattern that fits decides.
pub(super) fn fits(patterns: &[Pattern<'_>], host: &HostInterface) -> bool {
    let fits = |pattern: &&Pattern<'_>| {
        let by_name = pattern.name.is_none_or(|(name, _)| matches(name, &host.name, true));
        let inside = |network: Prefix| host.addresses.iter().any(|own| network.contains(own.address));
        by_name && pattern.prefix.is_none_or(inside)
    };
    patterns.iter().find(fits).is_some_and(|pattern| pattern.positive)
}

/// Whether a text is this one, or with `wild` as this pattern of `*` and `?` says.
pub(super) fn matches(pattern: &str, text: &str, wild: bool) -> bool {
    if !wild {
        return pattern == text;
    }
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut place) = (0, 0);
    // The last star, and where the text goes on behind what it stands for.
    let mut star: Option<(usize, usize)> = None;
    while let Some(character) = text.get(place) {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, place));
                at += 1;
            }
            Some(wanted) if *wanted == '?' || wanted == character => {
                at += 1;
                place += 1;
            }
            _ => match &mut star {
                Some((begin, taken)) => {
                    *taken += 1;
                    (at, place) = (*begin + 1, *taken);
                }
                None => return false,
            },
        }
    }
    pattern.get(at..).unwrap_or(&[]).iter().all(|rest| *rest == '*')
}

/// How it begins.
pub(super) const HEAD: &str = "! Written by `coati import` from a bird.conf, with BIRD's defaults.\n!\n";

/// The whole file.
pub(super) fn text(
    reader: &mut Reader<'_>,
    conf: &BirdConf<'_>,
    ospf: &Ospf<'_>,
    given: &[HostInterface],
    passwords: Passwords,
) -> String {
    let hosts = Hosts::new(reader, conf, ospf, given);
    let mut writer = Writer {
        reader,
        conf,
        passwords,
        said_hidden: false,
        chains: String::new(),
        number: 0,
        profiles: Vec::new(),
    };
    let mut interfaces = String::new();
    for (number, area) in ospf.areas.iter().enumerate() {
        for (index, interface) in area.interfaces.iter().enumerate() {
            let names: Vec<&HostInterface> = hosts.at((number, index)).collect();
            writer.interface(&mut interfaces, area, interface, &names);
        }
    }
    let mut router = writer.router(ospf, &hosts);
    for area in &ospf.areas {
        writer.area(&mut router, area);
    }
    let Writer { chains, profiles, .. } = writer;
    let redistributed = redistribute::lines(reader, conf, ospf, &hosts);
    let mut text = String::from(HEAD);
    let mut bfd = String::new();
    for (number, times) in profiles.iter().enumerate() {
        let BfdTimes { multiplier, receive, transmit } = times;
        let _ = write!(
            bfd,
            " profile bird-{}\n  detect-multiplier {multiplier}\n  receive-interval {receive}\n  transmit-interval \
             {transmit}\n exit\n",
            number + 1
        );
    }
    if !bfd.is_empty() {
        bfd = format!("bfd\n{bfd}exit\n");
    }
    let router = format!("router ospf\n{router}{}exit\n", redistributed.router);
    for part in [chains, redistributed.top, bfd, interfaces, router] {
        if !part.is_empty() {
            text.push_str(&part);
            text.push_str("!\n");
        }
    }
    text
}

struct Writer<'r, 'a, 'c> {
    reader: &'r mut Reader<'a>,
    conf: &'c BirdConf<'c>,
    passwords: Passwords,
    /// Whether a remark says that they are not shown.
    said_hidden: bool,
    /// Key chains so far, and how many.
    chains: String,
    number: usize,
    /// Of BFD.
    profiles: Vec<BfdTimes>,
}

impl Writer<'_, '_, '_> {
    fn interface(
        &mut self,
        text: &mut String,
        area: &Area<'_>,
        interface: &Interface<'_>,
        hosts: &[&HostInterface],
    ) {
        self.wait(interface);
        let mut lines = vec![format!("ip ospf area {}", area.id)];
        if let Some(kind) = interface.kind {
            let kind = match kind {
                Kind::Broadcast => "broadcast",
                Kind::NonBroadcast => "non-broadcast",
                Kind::PointToPoint => "point-to-point",
                Kind::PointToMultipoint => "point-to-multipoint",
            };
            lines.push(format!("ip ospf network {kind}"));
        }
        lines.push(format!("ip ospf cost {}", interface.cost));
        lines.push(format!("ip ospf hello-interval {}", interface.hello));
        lines.push(format!("ip ospf dead-interval {}", interface.dead_interval()));
        lines.push(format!("ip ospf retransmit-interval {}", interface.retransmit));
        lines.push(format!("ip ospf transmit-delay {}", interface.transmit_delay));
        lines.push(format!("ip ospf priority {}", interface.priority));
        if interface.stub {
            lines.push("ip ospf passive".to_owned());
        }
        if let Some(hops) = interface.hops {
            lines.push(format!("ip ospf ttl-security hops {hops}"));
        }
        lines.extend(self.authentication(interface));
        if hosts.is_empty() {
            let help = "name its interfaces with `--interfaces`, or write it yourself";
            let message = "no interface is left for this: it is written as a comment";
            self.reader.warn(interface.span, message, help);
            let _ = writeln!(text, "! interface {}", shown(&interface.patterns));
            for line in &lines {
                let _ = writeln!(text, "!  {}", line.trim_start_matches("! "));
            }
            return;
        }
        for host in hosts {
            let _ = writeln!(text, "interface {}", host.name);
            for line in &lines {
                let _ = writeln!(text, " {line}");
            }
            if let Some(line) = self.bfd(interface, host) {
                let _ = writeln!(text, " {line}");
            }
            text.push_str("exit\n");
        }
        if interface.bfd.is_some() && self.conf.bfd.is_none() {
            let help = "write `ip ospf bfd` for them";
            let message = "without `protocol bfd` there are no sessions, so none are written";
            self.reader.warn(interface.bfd.unwrap_or(interface.span), message, help);
        }
    }

    /// BIRD waits for a designated router four hellos long, or as it is told; Coati for the dead interval.
    fn wait(&mut self, interface: &Interface<'_>) {
        let elects =
            !matches!(interface.kind, Some(Kind::PointToPoint | Kind::PointToMultipoint)) && !interface.stub;
        let usual = interface.hello.saturating_mul(4);
        let (wait, span) = interface.wait.unwrap_or((usual, interface.span));
        if elects && wait != interface.dead_interval() {
            let dead = interface.dead_interval();
            let message = format!(
                "BIRD waits {wait} s for a designated router, Coati as long as the dead interval: {dead} s"
            );
            self.reader.note(span, message);
        }
    }

    fn bfd(&mut self, interface: &Interface<'_>, host: &HostInterface) -> Option<String> {
        interface.bfd?;
        let sessions = self.conf.bfd.as_ref()?;
        let found = sessions.iter().find(|(patterns, _)| fits(patterns, host));
        let times = found.map_or(BfdTimes::default(), |(_, times)| *times);
        let known = self.profiles.iter().position(|other| *other == times);
        let number = known.unwrap_or_else(|| {
            self.profiles.push(times);
            self.profiles.len() - 1
        });
        Some(format!("ip ospf bfd profile bird-{}", number + 1))
    }

    /// The word that a password is in ospfd.conf, and whether it may be written.
    fn word(&mut self, password: &Password) -> (String, bool) {
        let text = std::str::from_utf8(password.secret.expose()).unwrap_or("");
        let is_word =
            !text.is_empty() && !text.contains(char::is_whitespace) && !text.starts_with(['!', '#']);
        if !is_word {
            let help = "take another one on all routers of the link";
            self.reader.warn(
                password.span,
                "this password cannot be written in ospfd.conf: its line is a comment",
                help,
            );
        } else if self.passwords == Passwords::Hidden && !self.said_hidden {
            self.said_hidden = true;
            self.reader.note(password.span, "passwords are not shown: their lines are comments");
        }
        match is_word && self.passwords == Passwords::Written {
            true => (text.to_owned(), true),
            false => ("(not shown)".to_owned(), false),
        }
    }

    fn authentication(&mut self, interface: &Interface<'_>) -> Vec<String> {
        let line = |line: String, written: bool| if written { line } else { format!("! {line}") };
        match interface.authentication {
            Authentication::None => Vec::new(),
            Authentication::Simple => {
                let mut lines = vec!["ip ospf authentication".to_owned()];
                if let Some(password) = self.simple(interface) {
                    let (word, written) = self.word(password);
                    lines.push(line(format!("ip ospf authentication-key {word}"), written));
                }
                lines
            }
            Authentication::Cryptographic => {
                let keys = usable(interface);
                if let [key] = keys[..]
                    && is_plain(key)
                {
                    let (word, written) = self.word(key);
                    let key = format!("ip ospf message-digest-key {} md5 {word}", key.id);
                    return vec!["ip ospf authentication message-digest".to_owned(), line(key, written)];
                }
                if keys.is_empty() {
                    return vec!["ip ospf authentication message-digest".to_owned()];
                }
                vec![format!("ip ospf authentication key-chain {}", self.chain(&keys))]
            }
        }
    }

    /// The one password that a simple authentication has.
    fn simple<'i>(&mut self, interface: &'i Interface<'_>) -> Option<&'i Password> {
        let first = interface.passwords.first()?;
        for password in &interface.passwords {
            if password.id != first.id || times(password) {
                let help = "simple authentication has one password without times in ospfd.conf: the first";
                self.reader.warn(password.span, "this password, or its times, are left out", help);
            }
        }
        Some(first)
    }

    fn chain(&mut self, keys: &[&Password]) -> String {
        self.number += 1;
        let name = format!("bird-{}", self.number);
        if let Some(first) = keys.iter().find(|key| times(key)) {
            let help = "correct them when this host's zone is another";
            let message = "BIRD's times are those of its host's time zone, ospfd.conf's are UTC: they are written as they are";
            self.reader.warn(first.span, message, help);
        }
        let _ = writeln!(self.chains, "key chain {name}");
        for (index, key) in keys.iter().enumerate() {
            // Of keys that began at the same time BIRD uses the first one, Coati the one with the largest id.
            let earlier = keys.get(..index).unwrap_or(&[]);
            let before = earlier.iter().rev().find(|other| other.generate.0 == key.generate.0);
            let send = match before {
                Some(before) => match before.generate.1 {
                    Some(end) => Some(lifetime((Some(end), key.generate.1))),
                    None => Some("00:00:00 1 January 1993 duration 1".to_owned()),
                },
                None => Some(key.generate).filter(|times| *times != (None, None)).map(lifetime),
            };
            let accept = Some(key.accept).filter(|times| *times != (None, None)).map(lifetime);
            let (word, written) = self.word(key);
            let sign = if written { "" } else { "!" };
            let _ = writeln!(self.chains, "{sign} key {}\n{sign}  key-string {word}", key.id);
            let _ = writeln!(self.chains, "{sign}  cryptographic-algorithm {}", key.algorithm);
            for (what, times) in [("send", send), ("accept", accept)] {
                if let Some(times) = times {
                    let _ = writeln!(self.chains, "{sign}  {what}-lifetime {times}");
                }
            }
            let _ = writeln!(self.chains, "{sign} exit");
        }
        self.chains.push_str("exit\n");
        name
    }

    fn router(&mut self, ospf: &Ospf<'_>, hosts: &Hosts) -> String {
        let mut text = String::new();
        match ospf.router_id.or(self.conf.router_id) {
            Some(id) => {
                let _ = writeln!(text, " ospf router-id {id}");
            }
            None => {
                let span = self.conf.router_id_from.unwrap_or(ospf.span);
                let message = "BIRD takes its router id from the addresses here, and so will Coati, but by another rule";
                self.reader.warn(
                    span,
                    message,
                    "write `ospf router-id` with the id that BIRD has (`birdc show status`)",
                );
            }
        }
        if ospf.areas.len() > 1 {
            text.push_str(" ospf abr-type standard\n");
        }
        if ospf.rfc1583 {
            text.push_str(" compatible rfc1583\n");
        }
        let _ = writeln!(text, " maximum-paths {}", ospf.ecmp);
        if !ospf.merge_external && ospf.ecmp > 1 {
            let message = "without `merge external` BIRD uses one of several routers that advertise the same external \
                           route, Coati all that are equally near";
            self.reader.note(ospf.span, message);
        }
        let tick = ospf.tick.saturating_mul(1000);
        let _ = writeln!(text, " timers throttle spf 0 {tick} {tick}");
        if ospf.stub_router {
            text.push_str(" max-metric router-lsa administrative\n");
        }
        if ospf.graceful_restart {
            let _ = writeln!(text, " graceful-restart grace-period {}", ospf.grace_period);
        }
        let no = if ospf.graceful_restart_helper { "" } else { "no " };
        let _ = writeln!(text, " {no}graceful-restart helper enable");
        self.neighbours(&mut text, ospf, hosts);
        text
    }

    fn neighbours(&mut self, text: &mut String, ospf: &Ospf<'_>, hosts: &Hosts) {
        let mut known: BTreeSet<Ipv4Addr> = BTreeSet::new();
        for (number, area) in ospf.areas.iter().enumerate() {
            for (index, interface) in area.interfaces.iter().enumerate() {
                if interface.neighbours.is_empty() || hosts.at((number, index)).next().is_none() {
                    continue;
                }
                if !matches!(interface.kind, Some(Kind::NonBroadcast | Kind::PointToMultipoint)) {
                    let help = "they are for `type nbma` and `type ptmp`";
                    self.reader.warn(interface.span, "the neighbors of this interface are left out", help);
                    continue;
                }
                for (address, eligible) in &interface.neighbours {
                    if known.insert(*address) {
                        let (priority, poll) = (u8::from(*eligible), interface.poll);
                        let _ =
                            writeln!(text, " neighbor {address} priority {priority} poll-interval {poll}");
                    }
                }
            }
        }
    }

    fn area(&mut self, text: &mut String, area: &Area<'_>) {
        let id = area.id;
        let no_summary = if area.summary { "" } else { " no-summary" };
        if area.stub {
            let _ = writeln!(text, " area {id} stub{no_summary}");
        }
        if area.nssa {
            let translate = if area.translator { " translate-always" } else { "" };
            let _ = write!(text, " area {id} nssa{no_summary}{translate}");
            if area.default_nssa {
                let (metric, kind) = area.default_cost2.map_or((area.default_cost, 1), |cost| (cost, 2));
                let _ = write!(text, " default-information-originate metric {metric} metric-type {kind}");
            }
            text.push('\n');
        }
        if area.stub || area.nssa {
            let _ = writeln!(text, " area {id} default-cost {}", area.default_cost);
        }
        let hidden = |hidden: bool| if hidden { " not-advertise" } else { "" };
        for (prefix, is_hidden) in &area.networks {
            let _ = writeln!(text, " area {id} range {prefix}{}", hidden(*is_hidden));
        }
        for (prefix, is_hidden) in area.external.iter().filter(|_| area.nssa) {
            let _ = writeln!(text, " area {id} nssa range {prefix}{}", hidden(*is_hidden));
        }
        for (router, link) in &area.virtual_links {
            self.virtual_link(text, &format!(" area {id} virtual-link {router}"), link);
        }
    }

    fn virtual_link(&mut self, text: &mut String, start: &str, link: &Interface<'_>) {
        let (hello, dead) = (link.hello, link.dead_interval());
        let _ = writeln!(
            text,
            "{start} hello-interval {hello} dead-interval {dead} retransmit-interval {} transmit-delay {}",
            link.retransmit, link.transmit_delay
        );
        let sign = |written: bool| if written { "" } else { " !" };
        match link.authentication {
            Authentication::None => {}
            Authentication::Simple => {
                let _ = writeln!(text, "{start} authentication");
                if let Some(password) = self.simple(link) {
                    let (word, written) = self.word(password);
                    let _ = writeln!(text, "{}{start} authentication-key {word}", sign(written));
                }
            }
            Authentication::Cryptographic => {
                let _ = writeln!(text, "{start} authentication message-digest");
                let keys = usable(link);
                for key in &keys {
                    if !is_plain(key) {
                        let help = "virtual links have keyed MD5 alone, with ids from 1 on and without times";
                        self.reader.warn(key.span, "this key of a virtual link is left out", help);
                        continue;
                    }
                    let (word, written) = self.word(key);
                    let _ =
                        writeln!(text, "{}{start} message-digest-key {} md5 {word}", sign(written), key.id);
                }
                let largest = keys.iter().map(|key| key.id).max();
                if let Some(first) = keys.first()
                    && Some(first.id) != largest
                {
                    let help = "take the others away";
                    let message =
                        "of several keys BIRD sends with this one, Coati with the one of the largest id";
                    self.reader.warn(first.span, message, help);
                }
            }
        }
    }
}

/// Those whose algorithm Coati has.
fn usable<'i>(interface: &'i Interface<'_>) -> Vec<&'i Password> {
    interface.passwords.iter().filter(|password| !password.algorithm.is_empty()).collect()
}

/// Whether it can be a `message-digest-key`.
fn is_plain(password: &Password) -> bool {
    password.algorithm == "md5" && password.id > 0 && !times(password)
}

fn times(password: &Password) -> bool {
    (password.generate, password.accept) != ((None, None), (None, None))
}

fn lifetime((from, until): (Option<Moment>, Option<Moment>)) -> String {
    let from = moment(&from.unwrap_or([1993, 1, 1, 0, 0, 0]));
    until.map_or_else(|| format!("{from} infinite"), |until| format!("{from} {}", moment(&until)))
}

fn moment([year, month, day, hour, minute, second]: &Moment) -> String {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let name = MONTHS.get(usize::from(month.saturating_sub(1))).unwrap_or(&"January");
    format!("{hour:02}:{minute:02}:{second:02} {day} {name} {year}")
}

/// Patterns as BIRD has them.
fn shown(patterns: &[Pattern<'_>]) -> String {
    let one = |pattern: &Pattern<'_>| {
        let sign = if pattern.positive { "" } else { "-" };
        let name = pattern.name.map(|(name, _)| format!("\"{name}\""));
        let parts: Vec<String> =
            name.into_iter().chain(pattern.prefix.map(|prefix| prefix.to_string())).collect();
        format!("{sign}{}", parts.join(" "))
    };
    patterns.iter().map(one).collect::<Vec<_>>().join(", ")
}
