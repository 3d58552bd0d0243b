//! `show ip ospf route` and `show ip ospf border-routers`.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::View;
use crate::route::{Route, RouteKind, RouterRoute};
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
        self.router_rows(&mut text);
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

    fn router_rows(&self, text: &mut String) {
        for router in &self.engine.table.routers {
            let id = router.router_id.to_string();
            let kind = if router.inter_area { "R IA" } else { "R   " };
            let _ =
                writeln!(text, "{kind} {id:<18}    [{}] area: {}{}", router.cost, router.area, role(router));
            self.hops(text, &router.next_hops);
        }
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
        map.extend(self.router_values());
        Value::Object(map)
    }

    fn router_values(&self) -> impl Iterator<Item = (String, Value)> {
        self.engine.table.routers.iter().map(|router| {
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
            self.router_rows(&mut text);
            text + "\n"
        };
        self.render(text, || json!({ "routers": self.router_values().collect::<Map<_, _>>() }))
    }
}

fn prefix(route: &Route) -> String {
    format!("{}/{}", route.network, route.prefix_len)
}

fn role(router: &RouterRoute) -> &'static str {
    match router.flags & 3 {
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
