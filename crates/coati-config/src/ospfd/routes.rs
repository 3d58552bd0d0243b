//! Routes that are not OSPF's own, and which of several to a destination is used: `ip route`, `distance`.

use std::net::{IpAddr, Ipv4Addr};

use coati_sadb::Prefix;

use super::Line;
use crate::diagnostic::{Diagnostic, Origin};

/// `ip route P …`, as FRR's staticd has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticRoute {
    /// Destination.
    pub prefix: Prefix,
    /// Where it leads.
    pub hop: StaticHop,
    /// Of several routes to a destination that with the smallest distance is used.
    pub distance: u8,
    /// `tag N`.
    pub tag: u32,
    /// Where it is written.
    pub origin: Origin,
}

/// Where a static route leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StaticHop {
    /// Through a gateway, an interface, or a gateway that is on this interface.
    By {
        /// The gateway.
        gateway: Option<Ipv4Addr>,
        /// The interface.
        interface: Option<String>,
    },
    /// `Null0`, `blackhole`, `reject`: what goes there is thrown away.
    Nowhere,
}

/// `distance …`: administrative distances of OSPF's routes; 255 is that of one that is not used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distances {
    /// `distance N`.
    pub all: Option<u8>,
    /// `distance ospf intra-area N`.
    pub intra_area: Option<u8>,
    /// `distance ospf inter-area N`.
    pub inter_area: Option<u8>,
    /// `distance ospf external N`.
    pub external: Option<u8>,
    /// `distance N P`, as Quagga has it: of routes whose next hop is in a network.
    pub by_neighbour: Vec<(Prefix, u8)>,
}

/// What a static route has when nothing is said.
const STATIC_DISTANCE: u8 = 1;

/// Whether no route may lead there whoever says so: this network, loopback, multicast, reserved (RFC 1812 section
/// 5.3.7). The default route may.
pub fn is_martian(network: Ipv4Addr, prefix_len: u8) -> bool {
    match network.octets() {
        [0, ..] => prefix_len > 0,
        [127 | 224.., ..] => true,
        _ => false,
    }
}

/// `ip route …`, and `no ip route …` for one of the lines before.
pub(super) fn change(
    routes: &mut Vec<StaticRoute>,
    line: &mut Line<'_, '_>,
    texts: &[&str],
) -> Result<(), Diagnostic> {
    let (removes, front) = if texts.first() == Some(&"no") { (true, 3) } else { (false, 2) };
    let (route, has_distance) = fixed(line, texts.get(front..).unwrap_or(&[]), front)?;
    let is_same = |other: &StaticRoute| other.prefix == route.prefix && other.hop == route.hop;
    // Of another distance it is another route.
    let is_meant =
        |other: &StaticRoute| is_same(other) && (!has_distance || other.distance == route.distance);
    match removes {
        true if routes.iter().any(is_meant) => routes.retain(|other| !is_meant(other)),
        true => {
            let message = format!("there is no such static route to {} before this line", route.prefix);
            line.remarks.warn(line.span(0), message, "this line has no effect");
        }
        false => {
            if let IpAddr::V4(network) = route.prefix.address
                && is_martian(network, route.prefix.length)
            {
                let message = format!("{} is nobody's network: this route is not used", route.prefix);
                line.remarks.warn(line.span(front), message, "take this line away (RFC 1812 section 5.3.7)");
            }
            // The same once more with another distance or tag counts instead.
            routes.retain(|other| !is_same(other));
            routes.push(route);
        }
    }
    Ok(())
}

/// What follows `ip route`, the word at `front` and those behind it; whether the distance is said.
fn fixed(line: &Line<'_, '_>, rest: &[&str], front: usize) -> Result<(StaticRoute, bool), Diagnostic> {
    // The place of a word of `rest` in the line.
    let place = |index: usize| index + front;
    let mut next = 1;
    let prefix = match rest {
        [network, mask, ..] if !network.contains('/') && mask.parse::<Ipv4Addr>().is_ok() => {
            next = 2;
            let address: Ipv4Addr = line.parse(place(0), "a network such as 10.0.0.0/24")?;
            let mask = u32::from(line.parse::<Ipv4Addr>(place(1), "a mask")?);
            let length =
                u8::try_from(mask.leading_ones()).ok().filter(|_| mask.leading_ones() == mask.count_ones());
            let prefix = length.and_then(|length| Prefix::new(IpAddr::V4(address), length).ok());
            prefix.ok_or_else(|| {
                line.error(place(1), format!("`{}` is not a mask", rest.get(1).unwrap_or(&"")))
            })?
        }
        _ => line.parse(place(0), "a network such as 10.0.0.0/24")?,
    };
    if prefix.address.is_ipv6() {
        return Err(line.error(place(0), "an IPv4 network is needed"));
    }
    let hop = match rest.get(next..).unwrap_or(&[]) {
        [] => {
            return Err(
                line.error(place(next), "a next hop, an interface or `blackhole` is missing at the end")
            );
        }
        ["Null0" | "null0" | "blackhole" | "reject", ..] => StaticHop::Nowhere,
        [word, more @ ..] => match (word.parse::<Ipv4Addr>(), more) {
            (Ok(gateway), _)
                if gateway.is_unspecified()
                    || gateway.is_loopback()
                    || gateway.is_multicast()
                    || gateway.is_broadcast() =>
            {
                return Err(line.error(place(next), format!("{gateway} is no gateway's address")));
            }
            (Ok(gateway), [name, ..]) if !is_option(name) && name.parse::<u32>().is_err() => {
                next += 1;
                StaticHop::By { gateway: Some(gateway), interface: Some(interface(line, place(next), name)?) }
            }
            (Ok(gateway), _) => StaticHop::By { gateway: Some(gateway), interface: None },
            (Err(_), _) => {
                StaticHop::By { gateway: None, interface: Some(interface(line, place(next), word)?) }
            }
        },
    };
    let origin = Origin { source: line.remarks.source.clone(), span: line.span(0) };
    let mut route = StaticRoute { prefix: prefix.network(), hop, distance: STATIC_DISTANCE, tag: 0, origin };
    next += 1;
    let mut has_distance = false;
    while let Some(word) = rest.get(next) {
        match *word {
            word if NOT_DONE.contains(&word) => {
                let message = format!("`{word}` of a static route is not supported yet");
                return Err(line
                    .error(place(next), message)
                    .help("take the line away, or write it without that"));
            }
            "tag" => {
                route.tag = line.number(place(next + 1), 1, u32::MAX)?;
                next += 2;
            }
            word if word.parse::<u32>().is_ok() && !has_distance => {
                has_distance = true;
                route.distance = line.number(place(next), 1, 255)?;
                next += 1;
            }
            _ => return Err(line.unknown(place(next), "word after `ip route`", &OPTIONS)),
        }
    }
    Ok((route, has_distance))
}

const OPTIONS: [&str; 1] = ["tag"];
/// FRR's other ones.
const NOT_DONE: [&str; 9] =
    ["table", "metric", "onlink", "label", "color", "bfd", "vrf", "nexthop-vrf", "segments"];
/// Letters of an interface's name at the most (IFNAMSIZ less 1).
const LONGEST_NAME: usize = 15;

/// Words that are no interfaces; with one that is mistyped there is another behind it.
fn is_option(word: &str) -> bool {
    OPTIONS.contains(&word) || NOT_DONE.contains(&word)
}

fn interface(line: &Line<'_, '_>, place: usize, word: &str) -> Result<String, Diagnostic> {
    let seems_address = word.bytes().all(|letter| letter.is_ascii_digit() || letter == b'.');
    if seems_address || word.len() > LONGEST_NAME || is_option(word) {
        let message = format!("`{word}` is neither an IPv4 address nor an interface's name");
        return Err(line.error(place, message));
    }
    Ok(word.to_owned())
}

/// What follows `distance`.
pub(super) fn distance(
    distances: &mut Distances,
    line: &Line<'_, '_>,
    texts: &[&str],
) -> Result<(), Diagnostic> {
    let mut place = 2;
    match texts {
        [_, "ospf", ..] => loop {
            let kind = match texts.get(place) {
                Some(&"intra-area") => &mut distances.intra_area,
                Some(&"inter-area") => &mut distances.inter_area,
                Some(&"external") => &mut distances.external,
                None if place > 2 => return Ok(()),
                _ => {
                    let allowed = ["intra-area", "inter-area", "external"];
                    return Err(line.unknown(place, "kind of route", &allowed));
                }
            };
            *kind = Some(line.number(place + 1, 1, 255)?);
            place += 2;
        },
        [_, _, _, ..] => {
            let prefix: Prefix = line.parse(2, "the network of neighbours, such as 192.0.2.0/24")?;
            let (prefix, distance) = (prefix.network(), line.number(1, 1, 255)?);
            distances.by_neighbour.retain(|(other, _)| *other != prefix);
            distances.by_neighbour.push((prefix, distance));
            line.ends(3)
        }
        _ => {
            distances.all = Some(line.number(1, 1, 255)?);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn martians_get_no_route() {
        for (network, prefix_len) in
            [([0, 0, 0, 0], 16), ([127, 1, 0, 0], 16), ([224, 0, 0, 0], 24), ([255; 4], 32)]
        {
            assert!(is_martian(Ipv4Addr::from(network), prefix_len), "{network:?}/{prefix_len}");
        }
        for (network, prefix_len) in [([0, 0, 0, 0], 0), ([10, 0, 0, 0], 8), ([223, 255, 255, 0], 24)] {
            assert!(!is_martian(Ipv4Addr::from(network), prefix_len), "{network:?}/{prefix_len}");
        }
    }
}
