//! ospfd.conf and frr.conf, the OSPF part: line by line, in the words of Quagga and FRR.

use std::net::Ipv4Addr;
use std::sync::Arc;

use coati_sadb::Prefix;

use crate::diagnostic::{Diagnostic, Place, Remarks, Source, Span};

/// What the file says about OSPF.
#[derive(Clone, Debug, Default)]
pub struct OspfConf {
    /// Whether there is a `router ospf` block at all.
    pub enabled: bool,
    /// `ospf router-id`.
    pub router_id: Option<Ipv4Addr>,
    /// `network P area A`.
    pub networks: Vec<Network>,
    /// `passive-interface default`.
    pub passive_default: bool,
    /// `passive-interface X`.
    pub passive: Vec<String>,
    /// `no passive-interface X`.
    pub active: Vec<String>,
    /// `interface X` blocks.
    pub interfaces: Vec<OspfInterface>,
    /// Every place that names an interface.
    pub mentions: Vec<(String, Span)>,
}

/// `network P area A`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Interfaces with an address in it take part.
    pub prefix: Prefix,
    /// In this area.
    pub area: Ipv4Addr,
    /// Where it is written.
    pub place: Place,
}

/// What `ip ospf …` says about one interface. Times are in seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OspfInterface {
    /// Its name.
    pub name: String,
    /// `ip ospf area`.
    pub area: Option<Ipv4Addr>,
    /// `ip ospf cost`.
    pub cost: Option<u16>,
    /// `ip ospf hello-interval`.
    pub hello_interval: Option<u16>,
    /// `ip ospf dead-interval`.
    pub dead_interval: Option<u32>,
    /// `ip ospf retransmit-interval`.
    pub retransmit_interval: Option<u16>,
    /// `ip ospf network point-to-point`; `Some(false)` is broadcast.
    pub point_to_point: Option<bool>,
    /// `ip ospf mtu-ignore`.
    pub mtu_ignore: bool,
    /// `ip ospf passive`.
    pub passive: bool,
}

const TOP: [&str; 3] = ["router ospf", "interface", "hostname"];
const ROUTER: [&str; 4] = ["ospf router-id", "network", "passive-interface", "log-adjacency-changes"];
const IP_OSPF: [&str; 8] = [
    "area",
    "cost",
    "hello-interval",
    "dead-interval",
    "retransmit-interval",
    "network",
    "mtu-ignore",
    "passive",
];
/// Lines of other daemons, or about logging and passwords: read over.
const OTHERS: [&str; 12] = [
    "frr", "hostname", "password", "enable", "log", "service", "line", "banner", "ip", "ipv6", "debug", "no",
];

enum Block {
    Top,
    Router,
    Interface(usize),
    Ignored,
}

/// Reads the file.
pub fn parse(source: &Arc<Source>) -> (OspfConf, Vec<Diagnostic>) {
    let mut conf = OspfConf::default();
    let mut remarks = Remarks::new(source);
    let mut block = Block::Top;
    let mut start = 0;
    for line in source.text.split('\n') {
        let offset = start;
        start += line.len() + 1;
        let code = line.split(['!', '#']).next().unwrap_or("");
        let words: Vec<(&str, Span)> = code
            .split_whitespace()
            .map(|word| {
                let at = offset + (word.as_ptr() as usize).saturating_sub(line.as_ptr() as usize);
                (word, Span { start: at, end: at + word.len() })
            })
            .collect();
        if words.is_empty() {
            continue;
        }
        if let Err(error) = read(&mut conf, &mut block, &remarks, &words) {
            remarks.list.push(error);
        }
    }
    for interface in &conf.interfaces {
        if let (Some(hello), Some(dead)) = (interface.hello_interval, interface.dead_interval)
            && dead <= u32::from(hello)
        {
            let message = format!(
                "interface {}: dead-interval {dead} is not above hello-interval {hello}",
                interface.name
            );
            remarks.warn(Span { start: 0, end: 1 }, message, "four times the hello interval is usual");
        }
    }
    (conf, remarks.list)
}

fn read(
    conf: &mut OspfConf,
    block: &mut Block,
    remarks: &Remarks<'_>,
    words: &[(&str, Span)],
) -> Result<(), Diagnostic> {
    let texts: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let whole = words.first().map_or(Span::default(), |(_, span)| *span);
    let line = Line { remarks, words };
    if let ["interface", name, ..] | ["passive-interface", name] | ["no", "passive-interface", name] =
        texts[..]
        && name != "default"
    {
        let at = if texts.first() == Some(&"no") { 2 } else { 1 };
        conf.mentions.push((name.to_owned(), line.span(at)));
    }
    match texts[..] {
        ["router", "ospf", ..] => {
            conf.enabled = true;
            *block = Block::Router;
            return Ok(());
        }
        ["router" | "route-map" | "key" | "vrf" | "access-list" | "bfd", ..] => {
            *block = Block::Ignored;
            return Err(remarks
                .error(whole, format!("`{}` is not supported yet", texts.join(" ")))
                .help("Coati reads `router ospf` and `interface` here"));
        }
        ["interface", name, ..] => {
            let index =
                conf.interfaces.iter().position(|interface| interface.name == name).unwrap_or_else(|| {
                    conf.interfaces.push(OspfInterface { name: name.to_owned(), ..OspfInterface::default() });
                    conf.interfaces.len() - 1
                });
            *block = Block::Interface(index);
            return Ok(());
        }
        ["exit" | "end"] => {
            *block = Block::Top;
            return Ok(());
        }
        _ => {}
    }
    match *block {
        Block::Ignored => Ok(()),
        Block::Top => match texts[..] {
            [first, ..] if OTHERS.contains(&first) => Ok(()),
            [first, ..] => Err(remarks.unknown(whole, "statement", first, &TOP)),
            [] => Ok(()),
        },
        Block::Router => router(conf, &line, &texts),
        Block::Interface(index) => match conf.interfaces.get_mut(index) {
            Some(interface) => interface_line(interface, &line, &texts),
            None => Ok(()),
        },
    }
}

struct Line<'a, 'r> {
    remarks: &'r Remarks<'a>,
    words: &'r [(&'r str, Span)],
}

impl Line<'_, '_> {
    fn span(&self, index: usize) -> Span {
        self.words.get(index).or(self.words.last()).map_or(Span::default(), |(_, span)| *span)
    }

    fn parse<T: std::str::FromStr>(&self, index: usize, what: &str) -> Result<T, Diagnostic> {
        match self.words.get(index) {
            Some((word, span)) => {
                word.parse().map_err(|_| self.remarks.error(*span, format!("`{word}` is not {what}")))
            }
            None => {
                Err(self.remarks.error(self.span(index), format!("{what} is missing at the end of the line")))
            }
        }
    }

    /// A number or dotted quad.
    fn area(&self, index: usize) -> Result<Ipv4Addr, Diagnostic> {
        if let Some((word, _)) = self.words.get(index)
            && let Ok(number) = word.parse::<u32>()
        {
            return Ok(Ipv4Addr::from(number));
        }
        self.parse(index, "an area: a number or dotted quad")
    }

    fn seconds<T: std::str::FromStr + PartialOrd + From<u16>>(&self, index: usize) -> Result<T, Diagnostic> {
        let value: T = self.parse(index, "a number of seconds from 1 to 65535")?;
        if value < T::from(1) || value > T::from(u16::MAX) {
            return Err(self
                .remarks
                .error(self.span(index), "a number of seconds from 1 to 65535 is needed"));
        }
        Ok(value)
    }
}

fn router(conf: &mut OspfConf, line: &Line<'_, '_>, texts: &[&str]) -> Result<(), Diagnostic> {
    match texts {
        ["ospf", "router-id", ..] => conf.router_id = Some(line.parse(2, "a router id: a dotted quad")?),
        ["router-id", ..] => conf.router_id = Some(line.parse(1, "a router id: a dotted quad")?),
        ["network", ..] => {
            let prefix: Prefix = line.parse(1, "a network such as 10.0.0.0/24")?;
            if texts.get(2) != Some(&"area") {
                return Err(line.remarks.error(line.span(2), "expected `area` behind the network"));
            }
            let place = line.remarks.source.place(line.span(0));
            conf.networks.push(Network { prefix: prefix.network(), area: line.area(3)?, place });
        }
        ["passive-interface", "default"] => conf.passive_default = true,
        ["passive-interface", name] => conf.passive.push((*name).to_owned()),
        ["no", "passive-interface", name] => {
            conf.passive.retain(|other| other != name);
            conf.active.push((*name).to_owned());
        }
        ["log-adjacency-changes" | "timers" | "write-multiplier" | "socket", ..] => {}
        ["ospf", other, ..] => {
            return Err(line.remarks.unknown(line.span(1), "word after `ospf`", other, &["router-id"]));
        }
        [first, ..] => {
            return Err(line.remarks.unknown(line.span(0), "statement of `router ospf`", first, &ROUTER));
        }
        [] => {}
    }
    Ok(())
}

fn interface_line(
    interface: &mut OspfInterface,
    line: &Line<'_, '_>,
    texts: &[&str],
) -> Result<(), Diagnostic> {
    match texts {
        ["ip", "ospf", "area", ..] => interface.area = Some(line.area(3)?),
        ["ip", "ospf", "cost", ..] => interface.cost = Some(line.seconds(3)?),
        ["ip", "ospf", "hello-interval", ..] => interface.hello_interval = Some(line.seconds(3)?),
        ["ip", "ospf", "dead-interval", ..] => interface.dead_interval = Some(line.seconds(3)?),
        ["ip", "ospf", "retransmit-interval", ..] => interface.retransmit_interval = Some(line.seconds(3)?),
        ["ip", "ospf", "network", "point-to-point", ..] => interface.point_to_point = Some(true),
        ["ip", "ospf", "network", "broadcast", ..] => interface.point_to_point = Some(false),
        ["ip", "ospf", "network", ..] => {
            let other = texts.get(3).copied().unwrap_or("");
            let allowed = ["point-to-point", "broadcast"];
            return Err(line.remarks.unknown(line.span(3), "network type", other, &allowed));
        }
        ["ip", "ospf", "mtu-ignore"] => interface.mtu_ignore = true,
        ["ip", "ospf", "passive"] => interface.passive = true,
        ["ip", "ospf", other, ..] => {
            return Err(line.remarks.unknown(line.span(2), "word after `ip ospf`", other, &IP_OSPF));
        }
        ["description" | "bandwidth" | "ip" | "ipv6" | "no", ..] => {}
        [first, ..] => {
            return Err(line.remarks.unknown(line.span(0), "statement of `interface`", first, &["ip ospf"]));
        }
        [] => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_usual_file() {
        let text = "hostname a\n!\ninterface gre0\n ip ospf network point-to-point\n ip ospf cost 100\nexit\n!\n\
                    router ospf\n ospf router-id 1.1.1.1\n network 10.0.0.0/30 area 0 ! tunnel\n passive-interface em1\nexit\n";
        let (conf, remarks) = parse(&Source::new("ospfd.conf", text));
        assert!(remarks.is_empty(), "{remarks:?}");
        assert_eq!(conf.router_id, Some(Ipv4Addr::new(1, 1, 1, 1)));
        assert_eq!(conf.networks[0].prefix.to_string(), "10.0.0.0/30");
        assert_eq!(conf.interfaces[0].cost, Some(100));
        assert_eq!(conf.interfaces[0].point_to_point, Some(true));
        assert_eq!(conf.passive, ["em1"]);
    }

    #[test]
    fn wrong_lines() {
        for (text, wanted) in [
            (
                "router ospf\n netwrk 10.0.0.0/8 area 0\n",
                "ospfd.conf:2:2: error: unknown statement of `router ospf` `netwrk` (did you mean `network`?)",
            ),
            ("router ospf\n network 10.0.0.0/33 area 0\n", "is not a network"),
            ("router ospf\n network 10.0.0.0/8\n", "expected `area`"),
            ("interface gre0\n ip ospf hello-intervall 3\n", "did you mean `hello-interval`"),
            ("interface gre0\n ip ospf hello-interval 0\n", "1 to 65535"),
            ("router bgp 1\n neighbor x\n", "not supported yet"),
        ] {
            let (_, remarks) = parse(&Source::new("ospfd.conf", text));
            assert_eq!(remarks.len(), 1, "{text} {remarks:?}");
            assert!(remarks[0].to_string().contains(wanted), "{}", remarks[0]);
        }
    }

    proptest! {
        #[test]
        fn any_text(text in "(router ospf\n|interface x\n)?\\PC{0,200}") {
            parse(&Source::new("ospfd.conf", text));
        }
    }
}
