//! `show ip ospf route` and `show ip ospf border-routers`.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::View;
use crate::graph::Node;
use crate::route::{Destination, Route, RouteKind, RouterRoute};
use crate::spf::NextHop;

impl View<'_> {
    pub(super) fn routes(&self) -> String {
        self.render(|| self.routes_text(), || self.routes_json())
    }

    fn routes_text(&self) -> String {
        let mut text = String::from("============ OSPF network routing table ============\n");
        let (inside, outside): (Vec<&Route>, Vec<&Route>) = self
            .engine
            .routes()
            .partition(|route| matches!(route.kind, RouteKind::IntraArea | RouteKind::InterArea));
        for route in inside {
            let kind = if route.kind == RouteKind::IntraArea { "N   " } else { "N IA" };
            let prefix = prefix(route);
            let _ = writeln!(text, "{kind} {prefix:<18}    [{}] area: {}", route.cost, route.area);
            self.hops(&mut text, &route.next_hops);
        }
        text.push_str("\n============ OSPF router routing table =============\n");
        self.router_rows(&mut text, &self.engine.table.routers);
        text.push_str("\n============ OSPF external routing table ===========\n");
        for route in outside {
            let (kind, cost, tag) = external(route);
            let prefix = prefix(route);
            let _ = writeln!(text, "N {kind} {prefix:<18}    [{cost}] tag: {tag}");
            self.hops(&mut text, &route.next_hops);
        }
        text.push('\n');
        text
    }

    fn router_rows(&self, text: &mut String, routers: &[RouterRoute]) {
        for router in routers {
            let id = router.router_id.to_string();
            let kind = if router.inter_area { "R IA" } else { "R   " };
            let _ =
                writeln!(text, "{kind} {id:<18}    [{}] area: {}{}", router.cost, router.area, role(router));
            self.hops(text, &router.next_hops);
        }
    }

    /// All routers of all areas that paths lead to.
    pub(super) fn reachable_routers(&self) -> String {
        let root = self.engine.config.router_id;
        let mut list: Vec<RouterRoute> = Vec::new();
        for (area, found) in &self.engine.areas {
            for (number, vertex) in found.graph.present() {
                let (Node::Router(router_id), Some((cost, hops))) = (vertex.node, found.paths.get(number))
                else {
                    continue;
                };
                if router_id != root {
                    let (area, next_hops, flags) = (*area, hops.clone(), vertex.flags);
                    list.push(RouterRoute { router_id, cost, area, inter_area: false, flags, next_hops });
                }
            }
        }
        list.sort_by_key(|router| (router.router_id, router.area));
        let text = || {
            let mut text = String::from("============ OSPF reachable routers table =============\n");
            self.router_rows(&mut text, &list);
            text + "\n"
        };
        self.render(text, || json!({ "routers": self.router_values(&list).collect::<Map<_, _>>() }))
    }

    /// Destinations that stand for several of those that are redistributed.
    pub(super) fn summary_addresses(&self, detail: bool) -> String {
        let engine = self.engine;
        let rows = engine.config.summary_addresses.iter().map(|range| {
            let whole = Destination::new(range.network, range.prefix_len);
            let parts = engine.aggregated.get(&whole).map_or(&[][..], Vec::as_slice);
            let route = engine.external_routes.get(&whole);
            let (type2, metric) = route.map_or((true, 20), |route| (route.type2, route.metric));
            (whole, if type2 { "E2" } else { "E1" }, metric, range.tag, parts)
        });
        let name =
            |destination: &Destination| format!("{}/{}", destination.network(), destination.prefix_len());
        // Nothing waits here: an aggregate is made as soon as there is something in it.
        let delay = 0;
        let text = || {
            let mut text = String::from(
                "Summary-address     Metric-type     Metric     Tag         External_Rt_count\n\n",
            );
            let _ = writeln!(text, "aggregation delay interval :{delay}(in seconds)\n");
            for (whole, kind, metric, tag, parts) in rows.clone() {
                let count = parts.len();
                let _ = writeln!(text, "{:<19} {kind:<15} {metric:<10} {tag:<11} {count:<5}", name(&whole));
                if detail && count > 0 {
                    let parts: String = parts.iter().map(|part| name(part) + ", ").collect();
                    let _ = writeln!(text, "Matched External routes:\n{parts}");
                }
                text.push('\n');
            }
            text + "\n"
        };
        // FRR has each key in two spellings.
        let value = || {
            let mut value = json!({ "aggregation delay interval": delay, "aggregationDelayInterval": delay });
            for (whole, kind, metric, tag, parts) in rows.clone() {
                let mut entry = json!({
                    "Summary address": name(&whole), "summaryAddress": name(&whole),
                    "Metric-type": kind, "metricType": kind, "Metric": metric, "metric": metric,
                    "Tag": tag, "tag": tag,
                    "External route count": parts.len(), "externalRouteCount": parts.len(),
                });
                for (number, part) in parts.iter().enumerate().filter(|_| detail) {
                    entry[format!("Exnl Addr-{number}")] = json!(name(part));
                }
                value[name(&whole)] = entry;
            }
            value
        };
        self.render(text, value)
    }

    fn hops(&self, text: &mut String, hops: &[NextHop]) {
        if hops.is_empty() {
            let _ = writeln!(text, "{:27}Discard entry", "");
        }
        for hop in hops {
            let name = self.interface_name(hop.interface);
            let _ = match hop.via {
                Some(via) => writeln!(text, "{:27}via {via}, {name}", ""),
                None => writeln!(text, "{:27}directly attached to {name}", ""),
            };
        }
    }

    fn hops_json(&self, hops: &[NextHop]) -> Value {
        let hop = |hop: &NextHop| {
            let name = self.interface_name(hop.interface);
            match hop.via {
                Some(via) => json!({ "ip": via.to_string(), "via": name }),
                None => json!({ "ip": " ", "directly attached to": name, "directlyAttachedTo": name }),
            }
        };
        hops.iter().map(hop).collect()
    }

    fn routes_json(&self) -> Value {
        let mut map = Map::new();
        for route in self.engine.routes() {
            let mut value = json!({
                "routeType": match route.kind {
                    RouteKind::IntraArea => "N",
                    RouteKind::InterArea => "N IA",
                    RouteKind::External1 { .. } => "N E1",
                    RouteKind::External2 { .. } => "N E2",
                },
                "cost": route.cost,
                "area": route.area.to_string(),
                "nexthops": self.hops_json(&route.next_hops),
            });
            match route.kind {
                RouteKind::External1 { tag } => value["tag"] = json!(tag),
                RouteKind::External2 { metric, tag } => {
                    value["type2cost"] = json!(metric);
                    value["tag"] = json!(tag);
                }
                _ => {}
            }
            map.insert(prefix(route), value);
        }
        map.extend(self.router_values(&self.engine.table.routers));
        Value::Object(map)
    }

    fn router_values(&self, routers: &[RouterRoute]) -> impl Iterator<Item = (String, Value)> {
        routers.iter().map(|router| {
            let value = json!({
                "routeType": if router.inter_area { "R IA" } else { "R " },
                "cost": router.cost,
                "area": router.area.to_string(),
                "routerType": role(router).trim_start_matches(", ").to_lowercase(),
                "nexthops": self.hops_json(&router.next_hops),
            });
            (router.router_id.to_string(), value)
        })
    }

    pub(super) fn border_routers(&self) -> String {
        let text = || {
            let mut text = String::from("============ OSPF router routing table =============\n");
            self.router_rows(&mut text, &self.engine.table.routers);
            text + "\n"
        };
        let routers = &self.engine.table.routers;
        self.render(text, || json!({ "routers": self.router_values(routers).collect::<Map<_, _>>() }))
    }
}

fn prefix(route: &Route) -> String {
    format!("{}/{}", route.network, route.prefix_len)
}

fn role(router: &RouterRoute) -> &'static str {
    match router.flags & 3 {
        0 => "",
        1 => ", ABR",
        2 => ", ASBR",
        _ => ", ABR, ASBR",
    }
}

fn external(route: &Route) -> (&'static str, String, u32) {
    match route.kind {
        RouteKind::External2 { metric, tag } => ("E2", format!("{}/{metric}", route.cost), tag),
        RouteKind::External1 { tag } => ("E1", route.cost.to_string(), tag),
        _ => ("  ", route.cost.to_string(), 0),
    }
}
