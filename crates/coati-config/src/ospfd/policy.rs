//! What `router ospf` and interfaces refer to by name: prefix lists, route maps, key chains.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use coati_sadb::{Prefix, Secret};

use super::{Line, Named, OspfConf};
use crate::diagnostic::Diagnostic;

/// What a rule does with what it matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// Takes it.
    #[default]
    Permit,
    /// Leaves it.
    Deny,
}

/// `ip prefix-list`: the first rule that matches decides; without one it is denied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrefixList {
    /// Rules by their numbers.
    pub rules: BTreeMap<u32, PrefixRule>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixRule {
    /// What it does.
    pub action: Action,
    /// `None` is `any`.
    pub prefix: Option<Prefix>,
    /// Prefix lengths that match.
    pub lengths: (u8, u8),
}

impl PrefixList {
    /// Whether a network is taken.
    pub fn permits(&self, network: &Prefix) -> bool {
        let matches = |rule: &&PrefixRule| {
            let inside = rule.prefix.as_ref().is_none_or(|prefix| prefix.covers(network));
            inside && (rule.lengths.0..=rule.lengths.1).contains(&network.length)
        };
        self.rules.values().find(matches).is_some_and(|rule| rule.action == Action::Permit)
    }
}

/// `route-map`: the first entry that matches decides; without one it is denied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteMap {
    /// Entries, to be looked at by their numbers.
    pub entries: Vec<RouteMapEntry>,
}

/// One entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteMapEntry {
    /// What it does.
    pub action: Action,
    /// Its number.
    pub number: u16,
    /// `match ip address prefix-list`.
    pub prefix_list: Option<String>,
    /// `match ip address` with an access list.
    pub access_list: Option<String>,
    /// `match interface`.
    pub interface: Option<String>,
    /// `match tag`.
    pub tag: Option<u32>,
    /// `set metric`.
    pub set_metric: Option<u32>,
    /// `set metric-type type-2`.
    pub set_type2: Option<bool>,
    /// `set tag`.
    pub set_tag: Option<u32>,
}

impl RouteMap {
    /// The entry that takes a route from an interface; `None` when it is denied.
    pub fn takes(
        &self,
        conf: &OspfConf,
        network: &Prefix,
        interface: &str,
        tag: u32,
    ) -> Option<&RouteMapEntry> {
        let matches = |entry: &&RouteMapEntry| {
            let listed =
                |name: &String| conf.prefix_lists.get(name).is_some_and(|list| list.permits(network));
            let allowed =
                |name: &String| conf.access_lists.get(name).is_some_and(|list| list.permits(network));
            entry.prefix_list.as_ref().is_none_or(listed)
                && entry.access_list.as_ref().is_none_or(allowed)
                && entry.interface.as_ref().is_none_or(|name| name == interface)
                && entry.tag.is_none_or(|wanted| wanted == tag)
        };
        let entry = self.entries.iter().filter(matches).min_by_key(|entry| entry.number)?;
        (entry.action == Action::Permit).then_some(entry)
    }
}

/// `key chain`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyChain {
    /// Keys by their numbers.
    pub keys: BTreeMap<u8, ChainKey>,
}

/// `key N` of a chain. Times are Unix seconds; what is written is UTC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChainKey {
    /// `key-string`.
    pub secret: Secret,
    /// `cryptographic-algorithm`.
    pub algorithm: ChainAlgorithm,
    /// `send-lifetime`: from, and until when it ends.
    pub send: Option<(u64, Option<u64>)>,
    /// `accept-lifetime`.
    pub accept: Option<(u64, Option<u64>)>,
}

/// What a key of a chain is used with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChainAlgorithm {
    /// `md5`, also when nothing is said.
    #[default]
    Md5,
    /// `hmac-sha-1`.
    HmacSha1,
    /// `hmac-sha-256`.
    HmacSha256,
    /// `hmac-sha-384`.
    HmacSha384,
    /// `hmac-sha-512`.
    HmacSha512,
}

const ALGORITHMS: [(&str, ChainAlgorithm); 5] = [
    ("md5", ChainAlgorithm::Md5),
    ("hmac-sha-1", ChainAlgorithm::HmacSha1),
    ("hmac-sha-256", ChainAlgorithm::HmacSha256),
    ("hmac-sha-384", ChainAlgorithm::HmacSha384),
    ("hmac-sha-512", ChainAlgorithm::HmacSha512),
];

fn action(line: &Line<'_, '_>, index: usize) -> Result<Action, Diagnostic> {
    match line.words.get(index).map(|(word, _)| *word) {
        Some("permit") => Ok(Action::Permit),
        Some("deny") => Ok(Action::Deny),
        _ => Err(line.unknown(index, "action", &["permit", "deny"])),
    }
}

/// `ip prefix-list NAME [seq N] permit|deny P|any [ge N] [le N]`.
pub(super) fn prefix_list(
    conf: &mut OspfConf,
    line: &Line<'_, '_>,
    texts: &[&str],
) -> Result<(), Diagnostic> {
    let name = (*texts.get(2).ok_or_else(|| line.error(2, "the name of the list is missing"))?).to_owned();
    if texts.get(3) == Some(&"description") {
        return Ok(());
    }
    let list = conf.prefix_lists.entry(name).or_default();
    let (number, at) = match texts.get(3) {
        Some(&"seq") => (line.number(4, 1, u32::MAX)?, 5),
        _ => (list.rules.keys().last().map_or(5, |last| last.saturating_add(5)), 3),
    };
    let action = action(line, at)?;
    let prefix: Option<Prefix> = match texts.get(at + 1) {
        Some(&"any") => None,
        _ => Some(line.parse::<Prefix>(at + 1, "a network such as 10.0.0.0/8")?.network()),
    };
    let own = prefix.as_ref().map_or(0, |prefix| prefix.length);
    let (mut ge, mut le) = (None, None);
    let mut place = at + 2;
    while let Some(word) = texts.get(place) {
        match *word {
            "ge" => ge = Some(line.number(place + 1, own, 32)?),
            "le" => le = Some(line.number(place + 1, own, 32)?),
            _ => return Err(line.unknown(place, "word", &["ge", "le"])),
        }
        place += 2;
    }
    let lengths = match (ge, le) {
        (None, None) if prefix.is_none() => (0, 32),
        (None, None) => (own, own),
        (Some(ge), None) => (ge, 32),
        (ge, Some(le)) => (ge.unwrap_or(own), le),
    };
    list.rules.insert(number, PrefixRule { action, prefix, lengths });
    Ok(())
}

/// `access-list NAME [seq N] permit|deny P [exact-match]|any`, or with a wildcard or `host A` as in a numbered one.
pub(super) fn access_list(
    conf: &mut OspfConf,
    line: &Line<'_, '_>,
    texts: &[&str],
) -> Result<(), Diagnostic> {
    let name = (*texts.get(1).ok_or_else(|| line.error(1, "the name of the list is missing"))?).to_owned();
    if texts.get(2) == Some(&"remark") {
        return Ok(());
    }
    let list = conf.access_lists.entry(name).or_default();
    let (number, at) = match texts.get(2) {
        Some(&"seq") => (line.number(3, 1, u32::MAX)?, 4),
        _ => (list.rules.keys().last().map_or(5, |last| last.saturating_add(5)), 2),
    };
    let action = action(line, at)?;
    let what = "a network such as 10.0.0.0/8, an address with a wildcard, `host` with an address, or `any`";
    let (prefix, lengths) = match (texts.get(at + 1).copied(), texts.get(at + 2).copied()) {
        (Some("any"), _) => (None, (0, 32)),
        (Some("host"), _) => {
            let address: Ipv4Addr = line.parse(at + 2, "an address")?;
            (Prefix::new(IpAddr::V4(address), 32).ok(), (32, 32))
        }
        (Some(word), last) if word.contains('/') => {
            let prefix: Prefix = line.parse::<Prefix>(at + 1, what)?.network();
            let longest = match last {
                None => 32,
                Some("exact-match") => prefix.length,
                Some(_) => return Err(line.unknown(at + 2, "word", &["exact-match"])),
            };
            let shortest = prefix.length;
            (Some(prefix), (shortest, longest))
        }
        (_, wildcard) => {
            let address: Ipv4Addr = line.parse(at + 1, what)?;
            let wildcard: u32 = match wildcard {
                None => 0,
                Some(_) => u32::from(line.parse::<Ipv4Addr>(at + 2, "a wildcard such as 0.0.0.255")?),
            };
            if wildcard.wrapping_add(1) & wildcard != 0 {
                return Err(line.error(at + 2, "a wildcard with holes cannot be written as a network"));
            }
            let length = u8::try_from(wildcard.leading_zeros()).unwrap_or(32);
            let prefix = Prefix::new(IpAddr::V4(address), length).ok().map(|prefix| prefix.network());
            (prefix, (length, 32))
        }
    };
    list.rules.insert(number, PrefixRule { action, prefix, lengths });
    Ok(())
}

/// `route-map NAME permit|deny N`.
pub(super) fn map_entry(line: &Line<'_, '_>, _texts: &[&str]) -> Result<RouteMapEntry, Diagnostic> {
    let (action, number) = (action(line, 2)?, line.number(3, 1, 65_535)?);
    Ok(RouteMapEntry { action, number, ..RouteMapEntry::default() })
}

pub(super) fn map_line(
    map: &mut RouteMap,
    line: &mut Line<'_, '_>,
    texts: &[&str],
) -> Result<(), Diagnostic> {
    let Some(entry) = map.entries.last_mut() else { return Ok(()) };
    match texts {
        ["match", "ip", "address", "prefix-list", _] => {
            entry.prefix_list = Some(line.name(4, Named::PrefixList)?)
        }
        ["match", "ip", "address", name] if !matches!(*name, "prefix-list" | "prefix-len") => {
            entry.access_list = Some(line.name(3, Named::AccessList)?)
        }
        ["match", "interface", name] => entry.interface = Some((*name).to_owned()),
        ["match", "tag", _] => entry.tag = Some(line.parse(2, "a tag: a number")?),
        ["set", "metric", _] => entry.set_metric = Some(line.number(2, 0, 0x00ff_ffff)?),
        ["set", "metric-type", kind] => {
            entry.set_type2 = Some(match *kind {
                "type-1" => false,
                "type-2" => true,
                _ => return Err(line.unknown(2, "metric type", &["type-1", "type-2"])),
            });
        }
        ["set", "tag", _] => entry.set_tag = Some(line.parse(2, "a tag: a number")?),
        ["description", ..] => {}
        ["match" | "set" | "on-match" | "call" | "continue", ..] => {
            // To take a route that should have been left is worse than not to start.
            return Err(line
                .error(0, format!("`{}` is not supported in route maps yet", texts.join(" ")))
                .help("supported: match ip address, match interface, match tag, set metric, set metric-type, set tag"));
        }
        _ => {
            return Err(line.unknown(
                0,
                "statement of `route-map`",
                &["match", "set", "description", "exit"],
            ));
        }
    }
    Ok(())
}

pub(super) fn key_line(
    chain: &mut KeyChain,
    id: u8,
    line: &mut Line<'_, '_>,
    texts: &[&str],
) -> Result<(), Diagnostic> {
    let Some(key) = chain.keys.get_mut(&id) else { return Ok(()) };
    match texts {
        ["key-string", text] => key.secret = Secret::new(text.as_bytes().to_vec()),
        ["cryptographic-algorithm", rest @ ..] => match ALGORITHMS.iter().find(|(name, _)| rest == [*name]) {
            Some((_, algorithm)) => key.algorithm = *algorithm,
            None => return Err(line.unknown(1, "algorithm", &ALGORITHMS.map(|(name, _)| name))),
        },
        ["send-lifetime", ..] => key.send = Some(lifetime(line)?),
        ["accept-lifetime", ..] => key.accept = Some(lifetime(line)?),
        _ => {
            let allowed =
                ["key-string", "cryptographic-algorithm", "send-lifetime", "accept-lifetime", "exit"];
            return Err(line.unknown(0, "statement of `key`", &allowed));
        }
    }
    Ok(())
}

/// `HH:MM:SS DAY MONTH YEAR`, then `infinite`, `duration SECONDS`, or the like again.
fn lifetime(line: &Line<'_, '_>) -> Result<(u64, Option<u64>), Diagnostic> {
    let from = moment(line, 1)?;
    match line.words.get(5).map(|(word, _)| *word) {
        None | Some("infinite") => Ok((from, None)),
        Some("duration") => Ok((from, Some(from + line.number(6, 1u64, 2_147_483_646)?))),
        Some(_) => Ok((from, Some(moment(line, 5)?))),
    }
}

fn moment(line: &Line<'_, '_>, at: usize) -> Result<u64, Diagnostic> {
    const MONTHS: [&str; 12] =
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let wrong = |index: usize, what: &str| {
        line.error(index, format!("{what} is needed, as in 08:00:00 1 January 2027"))
    };
    let word = |index: usize| line.words.get(index).map_or("", |(word, _)| *word);
    let clock: Vec<u64> = word(at).split(':').filter_map(|part| part.parse().ok()).collect();
    let [hours @ 0..24, minutes @ 0..60, seconds @ 0..60] = clock[..] else {
        return Err(wrong(at, "a time of day"));
    };
    let month = |index: usize| {
        let name = word(index).to_lowercase();
        (name.len() >= 3).then(|| MONTHS.iter().position(|month| name.starts_with(month)))?
    };
    // FRR takes day and month in either order.
    let (day, month) = match (month(at + 2), month(at + 1)) {
        (Some(month), _) => (at + 1, month),
        (None, Some(month)) => (at + 2, month),
        _ => return Err(wrong(at + 2, "the name of a month")),
    };
    let day: u64 = line.number(day, 1, 31)?;
    let year: u64 = line.number(at + 3, 1993, 2200)?;
    let month = u64::try_from(month).unwrap_or(0);
    // Days since 1970, with years that begin in March.
    let (shifted, place) = if month < 2 { (year - 1, month + 10) } else { (year, month - 2) };
    let days = 365 * shifted + shifted / 4 - shifted / 100 + shifted / 400 + (153 * place + 2) / 5 + day
        - 1
        - 719_468;
    Ok(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
}
