//! What an operator sees: `show ip ospf …` in the forms of FRR 8.4, as text and as JSON.
//!
//! JSON is written out in FRR's keys, since monitoring reads them.

mod database;
mod neighbour;
mod route;
mod system;

pub(crate) use database::lsa_name;

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::engine::Engine;

/// The views there are.
const VIEWS: &str = "ip ospf, ip ospf neighbor [all|detail [all]|ROUTER-ID [detail]|INTERFACE [detail]], ip ospf interface \
                     [NAME|traffic [NAME]], ip ospf database \
                     [max-age|self-originate], ip ospf database \
                     router|network|summary|asbr-summary|external|nssa-external|opaque-link|opaque-area|opaque-as [ID] \
                     [self-originate|adv-router ID], ip ospf route, ip ospf border-routers, ip ospf reachable-routers, ip ospf summary-address [detail], ip ospf graceful-restart helper [detail]; each also json";

impl Engine {
    /// The view that these words name, the words behind `show`; an error says which views there are.
    pub fn show(&self, now: Instant, words: &[&str]) -> Result<String, String> {
        let (words, json) = match words {
            [front @ .., "json"] => (front, true),
            _ => (words, false),
        };
        let view = View { engine: self, now, json };
        match words {
            ["ip", "ospf"] => Ok(view.system()),
            ["ip", "ospf", "neighbor" | "neighbour", which @ ..] => view.neighbours(which),
            ["ip", "ospf", "interface"] => Ok(view.interfaces(None)),
            ["ip", "ospf", "interface", "traffic"] => Ok(view.traffic(None)),
            ["ip", "ospf", "interface", "traffic", name] => {
                self.has_interface(name).map(|()| view.traffic(Some(name)))
            }
            ["ip", "ospf", "interface", name] => {
                self.has_interface(name).map(|()| view.interfaces(Some(name)))
            }
            ["ip", "ospf", "graceful-restart", "helper"]
            | ["ip", "ospf", "graceful-restart", "helper", "detail"] => Ok(view.helper()),
            ["ip", "ospf", "database"] => Ok(view.database(None)),
            ["ip", "ospf", "database", "max-age"] => Ok(view.dying()),
            ["ip", "ospf", "database", "self-originate"] => Ok(view.database(Some(self.config.router_id))),
            ["ip", "ospf", "database", kind, filter @ ..] => {
                let kind = database::kind_of(kind)
                    .ok_or_else(|| format!("no LSAs are called `{}`; there are: {VIEWS}", quoted(kind)))?;
                Ok(view.lsas(kind, database::Filter::parse(filter, self.config.router_id)?))
            }
            ["ip", "ospf", "route"] | ["ip", "ospf", "route", "detail"] => Ok(view.routes()),
            ["ip", "ospf", "border-routers"] => Ok(view.border_routers()),
            ["ip", "ospf", "reachable-routers"] => Ok(view.reachable_routers()),
            ["ip", "ospf", "summary-address"] => Ok(view.summary_addresses(false)),
            ["ip", "ospf", "summary-address", "detail"] => Ok(view.summary_addresses(true)),
            other => Err(format!("no view is called `{}`; there are: {VIEWS}", quoted(&other.join(" ")))),
        }
    }
}

impl Engine {
    fn has_interface(&self, name: &str) -> Result<(), String> {
        if self.interfaces.values().any(|interface| interface.link.name == name) {
            return Ok(());
        }
        let names: Vec<&str> = self.interfaces.values().map(|i| i.link.name.as_str()).collect();
        Err(format!("no interface `{}` has OSPF; there are: {}", quoted(name), names.join(", ")))
    }
}

/// One look at the engine.
struct View<'a> {
    engine: &'a Engine,
    now: Instant,
    json: bool,
}

impl View<'_> {
    /// JSON when it was asked for, else the text.
    fn render(&self, text: impl FnOnce() -> String, value: impl FnOnce() -> Value) -> String {
        if self.json { format!("{:#}\n", value()) } else { text() }
    }

    fn interface_name(&self, index: u32) -> &str {
        self.engine.interface_name(index)
    }
}

/// A word that somebody has typed, without what a terminal would do something with.
fn quoted(word: &str) -> String {
    word.escape_debug().to_string()
}

/// A time as FRR writes it: `14.148s`, `3m05s`, `1h02m03s`, `2d03h04m`.
fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{}.{:03}s", seconds, time.subsec_millis()),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m{:02}s", seconds / 3600, seconds / 60 % 60, seconds % 60),
        _ => format!("{}d{:02}h{:02}m", seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Options as FRR lists them.
fn options(options: u8) -> String {
    let bit = |mask: u8, name: &'static str| if options & mask != 0 { name } else { "-" };
    let list =
        [bit(0x40, "O"), bit(0x20, "DC"), bit(0x10, "EA"), bit(0x08, "N/P"), bit(0x04, "MC"), bit(0x02, "E")];
    format!("*|{}|-", list.join("|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let seconds = |s: u64| duration(Duration::from_secs(s));
        assert_eq!(duration(Duration::from_millis(14_148)), "14.148s");
        assert_eq!((seconds(185), seconds(3723)), ("3m05s".to_owned(), "1h02m03s".to_owned()));
        assert_eq!(seconds(183_840), "2d03h04m");
    }

    #[test]
    fn option_lists() {
        assert_eq!(options(2), "*|-|-|-|-|-|E|-");
        assert_eq!(options(0x42), "*|O|-|-|-|-|E|-");
    }
}
