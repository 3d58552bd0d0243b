//! What the router knows, as it is looked at.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use coati_ospf::{RouteKind, Scope};

use crate::play::{Done, Play};
use crate::text::{self, Words, unknown};

impl Play {
    pub fn show(&mut self, words: &mut Words<'_>) -> Done {
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
                        "lsdb" => text::body_text(&key, &body),
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
