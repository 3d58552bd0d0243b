//! `interface X`: `ip ospf …`.

use std::net::Ipv4Addr;

use coati_sadb::Secret;

use super::bfd::{self, OspfBfd};
use super::{Line, Named};
use crate::diagnostic::Diagnostic;

/// What `ip ospf …` says about one interface. Times are in seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OspfInterface {
    /// Its name.
    pub name: String,
    /// `ip ospf area`.
    pub area: Option<Ipv4Addr>,
    /// `ip ospf cost`.
    pub cost: Option<u16>,
    /// `bandwidth`, in kbit/s.
    pub bandwidth: Option<u32>,
    /// `ip ospf priority`.
    pub priority: Option<u8>,
    /// `ip ospf hello-interval`.
    pub hello_interval: Option<u16>,
    /// `ip ospf dead-interval`.
    pub dead_interval: Option<u32>,
    /// `ip ospf dead-interval minimal hello-multiplier`: hellos in a second.
    pub hello_multiplier: Option<u8>,
    /// `ip ospf retransmit-interval`.
    pub retransmit_interval: Option<u16>,
    /// `ip ospf transmit-delay`.
    pub transmit_delay: Option<u16>,
    /// `ip ospf network`.
    pub network: Option<NetworkKind>,
    /// `ip ospf mtu-ignore`.
    pub mtu_ignore: bool,
    /// `ip ospf ttl-security [hops N]`: how many routers packets may have crossed.
    pub ttl_security: Option<u8>,
    /// `ip ospf prefix-suppression`.
    pub prefix_suppression: bool,
    /// `ip ospf bfd`.
    pub bfd: Option<OspfBfd>,
    /// `ip ospf passive`.
    pub passive: bool,
    /// `ip ospf authentication`.
    pub authentication: Option<AuthenticationKind>,
    /// `ip ospf authentication-key`.
    pub authentication_key: Option<Secret>,
    /// `ip ospf message-digest-key N md5 …`.
    pub digest_keys: Vec<(u8, Secret)>,
}

/// `ip ospf network`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkKind {
    /// `broadcast`.
    Broadcast,
    /// `non-broadcast`.
    NonBroadcast,
    /// `point-to-multipoint`.
    PointToMultipoint,
    /// `point-to-point`.
    PointToPoint,
}

/// `ip ospf authentication`, `area A authentication`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthenticationKind {
    /// `null`.
    Null,
    /// Without a word behind it.
    Simple,
    /// `message-digest`.
    MessageDigest,
    /// `key-chain NAME [extended-sequence]`.
    KeyChain {
        /// The chain.
        name: String,
        /// With sequence numbers that only grow (RFC 7474).
        extended: bool,
    },
}

const WORDS: [&str; 16] = [
    "area",
    "authentication",
    "authentication-key",
    "bfd",
    "cost",
    "dead-interval",
    "hello-interval",
    "message-digest-key",
    "mtu-ignore",
    "network",
    "passive",
    "prefix-suppression",
    "priority",
    "retransmit-interval",
    "transmit-delay",
    "ttl-security",
];
const NETWORKS: [&str; 4] = ["broadcast", "non-broadcast", "point-to-multipoint", "point-to-point"];

pub(super) fn line(
    interface: &mut OspfInterface,
    line: &mut Line<'_, '_>,
    texts: &[&str],
) -> Result<(), Diagnostic> {
    match texts {
        ["ip", "ospf", rest @ ..] => ospf(interface, line, rest),
        ["no", "ip", "ospf", ..] => {
            line.remarks.warn(line.span(0), "there is nothing that this line takes back", "take it away");
            Ok(())
        }
        ["bandwidth", ..] => {
            // FRR counts in Mbit/s here.
            interface.bandwidth = Some(line.number(1, 1u32, 1_000_000)?.saturating_mul(1000));
            Ok(())
        }
        ["description" | "ip" | "ipv6" | "no" | "shutdown" | "link-detect" | "vrf", ..] => Ok(()),
        _ => Err(line.unknown(0, "statement of `interface`", &["ip ospf", "bandwidth", "description"])),
    }
}

fn ospf(interface: &mut OspfInterface, line: &mut Line<'_, '_>, rest: &[&str]) -> Result<(), Diagnostic> {
    match rest {
        ["area", ..] => interface.area = Some(line.area(3)?),
        ["cost", ..] => interface.cost = Some(line.number(3, 1, u16::MAX)?),
        ["priority", ..] => interface.priority = Some(line.number(3, 0, 255)?),
        ["hello-interval", ..] => interface.hello_interval = Some(line.seconds(3)?),
        ["dead-interval", "minimal", "hello-multiplier", ..] => {
            interface.hello_multiplier = Some(line.number(5, 1, 20)?);
            return line.ends(6);
        }
        ["dead-interval", "minimal", ..] => return Err(line.unknown(4, "word", &["hello-multiplier"])),
        ["dead-interval", ..] => {
            interface.dead_interval = Some(line.seconds(3)?);
            line.named.push((Named::Intervals, interface.name.clone(), line.span(3)));
        }
        ["retransmit-interval", ..] => interface.retransmit_interval = Some(line.seconds(3)?),
        ["transmit-delay", ..] => interface.transmit_delay = Some(line.seconds(3)?),
        ["network", ..] => return network(interface, line, rest),
        ["mtu-ignore", ..] => {
            interface.mtu_ignore = true;
            return line.ends(3);
        }
        ["passive", ..] => {
            interface.passive = true;
            return line.ends(3);
        }
        ["authentication", "null", ..] => interface.authentication = Some(AuthenticationKind::Null),
        ["authentication", "message-digest", ..] => {
            interface.authentication = Some(AuthenticationKind::MessageDigest);
        }
        ["authentication", "key-chain", ..] => {
            let extended = match rest.get(3) {
                None => false,
                Some(&"extended-sequence") => true,
                Some(_) => return Err(line.unknown(5, "word", &["extended-sequence"])),
            };
            let name = line.name(4, if extended { Named::HmacKeyChain } else { Named::KeyChain })?;
            interface.authentication = Some(AuthenticationKind::KeyChain { name, extended });
            return line.ends(if extended { 6 } else { 5 });
        }
        ["authentication", ..] => {
            interface.authentication = Some(AuthenticationKind::Simple);
            return line.ends(3);
        }
        ["authentication-key", key, ..] => {
            interface.authentication_key = Some(password(line, 3, key, 8)?);
        }
        ["message-digest-key", _, "md5", key, ..] => {
            digest_key(&mut interface.digest_keys, line, 3, key)?;
            return line.ends(6);
        }
        ["message-digest-key", ..] => return Err(line.unknown(4, "algorithm", &["md5"])),
        ["bfd", more @ ..] => {
            interface.bfd = Some(bfd::of_interface(line, more)?);
            return Ok(());
        }
        ["prefix-suppression", ..] => {
            interface.prefix_suppression = true;
            return line.ends(3);
        }
        ["ttl-security", "hops", ..] => {
            interface.ttl_security = Some(line.number(4, 1, 254)?);
            return line.ends(5);
        }
        ["ttl-security", ..] => {
            interface.ttl_security = Some(1);
            return line.ends(3);
        }
        ["neighbor-filter" | "graceful-restart" | "dscp", ..] => line.read_over(2, "such lines"),
        _ => return Err(line.unknown(2, "word after `ip ospf`", &WORDS)),
    }
    line.ends(if matches!(rest, ["authentication", ..]) { 4 } else { 4.min(line.words.len()) })
}

fn network(interface: &mut OspfInterface, line: &mut Line<'_, '_>, rest: &[&str]) -> Result<(), Diagnostic> {
    let mut end = 4;
    interface.network = Some(match rest {
        [_, "broadcast", ..] => NetworkKind::Broadcast,
        [_, "non-broadcast", ..] => NetworkKind::NonBroadcast,
        [_, "point-to-multipoint", more @ ..] => {
            if let [option @ ("delay-reflood" | "non-broadcast"), ..] = more {
                end = 5;
                if *option == "delay-reflood" {
                    line.read_over(4, "delayed floods");
                }
            }
            NetworkKind::PointToMultipoint
        }
        [_, "point-to-point", more @ ..] => {
            if more.first() == Some(&"dmvpn") {
                end = 5;
                line.read_over(4, "DMVPN networks");
            }
            NetworkKind::PointToPoint
        }
        _ => return Err(line.unknown(3, "network type", &NETWORKS)),
    });
    line.ends(end)
}

/// `N md5 KEY` from this place on. A number means one key: as in FRR the second one does not take the place of the first.
pub(super) fn digest_key(
    keys: &mut Vec<(u8, Secret)>,
    line: &mut Line<'_, '_>,
    at: usize,
    key: &str,
) -> Result<(), Diagnostic> {
    let id = line.number(at, 1, 255)?;
    if keys.iter().any(|(other, _)| *other == id) {
        return Err(line
            .error(at, format!("key {id} already exists"))
            .help("give the new key a number of its own, or take the old one away"));
    }
    keys.push((id, password(line, at + 2, key, 16)?));
    Ok(())
}

/// A password of at most so many bytes; FRR cuts longer ones off, and so do we, with a word.
pub(super) fn password(
    line: &mut Line<'_, '_>,
    index: usize,
    text: &str,
    longest: usize,
) -> Result<Secret, Diagnostic> {
    let bytes = text.as_bytes();
    if bytes.len() > longest {
        let message = format!("only the first {longest} bytes of this key are used");
        line.remarks.warn(line.span(index), message, "write a shorter key on both sides");
    }
    Ok(Secret::new(bytes.get(..longest.min(bytes.len())).unwrap_or(bytes).to_vec()))
}
