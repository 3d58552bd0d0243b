//! What FRR's users order beside `show`: `clear ip ospf …`, to begin anew with a neighbour, on an interface, or
//! altogether; `debug ospf …`; `graceful-restart prepare ip ospf`.

use std::net::Ipv4Addr;

use coati_ospf as ospf;

use super::{Control, Now};
use crate::ospf_config::engine_debug;
use crate::routes::{KernelRoute, RouteOrigin};

/// Why nothing of OSPF can be ordered.
pub(super) const NOT_CONFIGURED: &str = "OSPF is not configured: there is no ospfd.conf with `router ospf`";
/// What may be ordered.
const ORDERS: &str = "clear ip ospf …, debug ospf …, undebug ospf …|all, graceful-restart prepare ip ospf";
/// What may be cleared.
const ALLOWED: &str =
    "clear ip ospf process, clear ip ospf neighbor [ROUTER-ID], clear ip ospf interface [NAME]";

impl Control {
    /// Carries out a command of FRR's, given as words; says what it did.
    pub fn order(&mut self, now: Now, words: &[&str]) -> Result<String, String> {
        match words {
            ["clear", rest @ ..] => self.clear(now, rest),
            ["debug", "ospf", rest @ ..] => self.set_debug(rest, true),
            ["undebug", "all"] | ["no", "debug", "all"] => self.set_debug(&[], false),
            ["undebug", "ospf", rest @ ..] | ["no", "debug", "ospf", rest @ ..] => {
                self.set_debug(rest, false)
            }
            ["graceful-restart", "prepare", "ip", "ospf"] => self.prepare_restart(now),
            _ => Err(ORDERS.into()),
        }
    }

    fn set_debug(&mut self, words: &[&str], on: bool) -> Result<String, String> {
        self.debug.apply(words, on).map_err(|(index, allowed)| {
            let word = words.get(index).map_or("nothing".to_owned(), |word| format!("`{word}`"));
            format!("{word} is no topic of `debug ospf`: {}", allowed.join(", "))
        })?;
        if let Some(engine) = &mut self.ospf {
            engine.set_debug(engine_debug(&self.debug));
        }
        Ok(self.debugging())
    }

    /// What is told about OSPF, for `show debugging ospf`.
    pub(super) fn debugging(&self) -> String {
        let lines = self.debug.lines();
        let none = if lines.is_empty() { "  none\n" } else { "" };
        let lines: String = lines.iter().map(|line| format!("  {line}\n")).collect();
        format!("OSPF debugging status (in the log):\n{none}{lines}")
    }

    /// `show ip route [ospf|static] [json]`: what the kernel has from OSPF and from the file, in FRR's form.
    pub(super) fn show_routes(&self, words: &[&str]) -> Result<String, String> {
        let (words, json) = match words {
            [front @ .., "json"] => (front, true),
            _ => (words, false),
        };
        let wanted = match words {
            ["ip", "route"] => None,
            ["ip", "route", "ospf"] => Some(RouteOrigin::Ospf),
            ["ip", "route", "static"] => Some(RouteOrigin::Static),
            _ => return Err("show ip route [ospf|static] [json]".into()),
        };
        let routes: Vec<KernelRoute> = self.kernel_routes();
        let mut routes: Vec<_> =
            routes.into_iter().filter(|route| wanted.is_none_or(|origin| origin == route.origin)).collect();
        routes.sort();
        let refused = |route: &KernelRoute| self.refused_routes.get(&(route.network, route.prefix_len));
        let name = |index: u32| {
            let link = self.system_links.iter().find(|link| link.index == index);
            link.map_or("?", |link| link.name.as_str())
        };
        if json {
            let entry = |route: &KernelRoute| {
                let refused = refused(route);
                let hop = |(gateway, index): &(Ipv4Addr, u32)| {
                    let mut hop = serde_json::json!({
                        "interfaceIndex": index, "interfaceName": name(*index), "active": true, "weight": 1,
                    });
                    if refused.is_none() {
                        hop["fib"] = true.into();
                    }
                    if gateway.is_unspecified() {
                        hop["directlyConnected"] = true.into();
                    } else {
                        hop["ip"] = gateway.to_string().into();
                        hop["afi"] = "ipv4".into();
                    }
                    hop
                };
                let mut hops: Vec<_> = route.gateways.iter().map(hop).collect();
                if hops.is_empty() {
                    let fib = refused.is_none();
                    hops.push(serde_json::json!({ "fib": fib, "unreachable": true, "blackhole": true, "active": true }));
                }
                let prefix = format!("{}/{}", route.network, route.prefix_len);
                let mut value = serde_json::json!({
                    "prefix": prefix, "prefixLen": route.prefix_len, "protocol": route.origin.name(), "selected": true,
                    "distance": route.distance, "metric": self.cost(route), "nexthops": hops,
                });
                match refused {
                    None => value["installed"] = true.into(),
                    Some(why) => (value["failed"], value["reason"]) = (true.into(), why.as_str().into()),
                }
                (prefix, serde_json::Value::Array(vec![value]))
            };
            let all: serde_json::Map<String, serde_json::Value> = routes.iter().map(entry).collect();
            return Ok(format!("{:#}\n", serde_json::Value::Object(all)));
        }
        let mut text =
            "Codes: O - OSPF, S - static, > - selected route, * - FIB route, r - rejected\n\n".to_owned();
        for route in &routes {
            let letter = match route.origin {
                RouteOrigin::Ospf => 'O',
                RouteOrigin::Static => 'S',
            };
            let hop = |(gateway, index): &(Ipv4Addr, u32)| match gateway.is_unspecified() {
                true => format!("is directly connected, {}, weight 1", name(*index)),
                false => format!("via {gateway}, {}, weight 1", name(*index)),
            };
            let hops: Vec<String> = route.gateways.iter().map(hop).collect();
            let (mark, why) = match refused(route) {
                None => ('*', String::new()),
                Some(why) => ('r', format!("  r   the kernel does not take it: {why}\n")),
            };
            let hops = match hops.is_empty() {
                true => "unreachable (blackhole)".into(),
                false => hops.join(&format!("\n  {mark}   ")),
            };
            text.push_str(&format!(
                "{letter}>{mark} {}/{} [{}/{}] {hops}\n{why}",
                route.network,
                route.prefix_len,
                route.distance,
                self.cost(route)
            ));
        }
        Ok(text)
    }

    fn prepare_restart(&mut self, now: Now) -> Result<String, String> {
        if let Some(tunnel) = self.tunnels.first() {
            return Err(format!(
                "{} ends with this program, so packets would not go on without it: a graceful restart is for a router \
                 without tunnels of Coati's own",
                tunnel.name
            ));
        }
        let Some(engine) = &mut self.ospf else { return Err(NOT_CONFIGURED.into()) };
        let time = engine.prepare_restart(now.at)?;
        self.settle(now);
        Ok(format!(
            "the neighbours are told; end the program and start it again within {} s\n",
            time.as_secs()
        ))
    }

    /// Carries out a `clear` command, given as words; says what it did.
    fn clear(&mut self, now: Now, words: &[&str]) -> Result<String, String> {
        if self.ospf.is_none() {
            return Err(NOT_CONFIGURED.into());
        }
        let count = match words {
            ["ip", "ospf", "process"] => {
                self.restart_ospf(now);
                return Ok("OSPF begins anew\n".into());
            }
            ["ip", "ospf", "neighbor" | "neighbour"] => self.clear_neighbours(now, None),
            ["ip", "ospf", "neighbor" | "neighbour", id] => {
                let id = id.parse().map_err(|_| format!("`{id}` is not a router id"))?;
                self.clear_neighbours(now, Some(id))
            }
            ["ip", "ospf", "interface"] => self.clear_interfaces(now, None),
            ["ip", "ospf", "interface", name] => self.clear_interfaces(now, Some(name)),
            _ => return Err(ALLOWED.into()),
        };
        if count == 0 {
            return Err(format!(
                "there is no such thing (`show {}` lists them)",
                words[..3.min(words.len())].join(" ")
            ));
        }
        Ok(format!("{count} cleared\n"))
    }

    fn clear_neighbours(&mut self, now: Now, which: Option<Ipv4Addr>) -> usize {
        let Some(engine) = &mut self.ospf else { return 0 };
        let wanted = |neighbour: &ospf::NeighbourInfo| which.is_none_or(|id| id == neighbour.router_id);
        let found: Vec<ospf::NeighbourInfo> = engine.neighbours().filter(wanted).collect();
        let mut count = 0;
        for neighbour in &found {
            let link =
                self.links.values().map(|(link, _)| link).find(|link| link.name == neighbour.interface);
            // Those of virtual links come and go with the way there.
            if let Some(link) = link {
                engine.neighbour_dead(now.at, link.index, neighbour.address, "cleared");
                // It hears at once that it is not known any more.
                engine.link_alive(now.at, link.index);
                count += 1;
            }
        }
        self.settle(now);
        count
    }

    fn clear_interfaces(&mut self, now: Now, name: Option<&str>) -> usize {
        let Some(engine) = &mut self.ospf else { return 0 };
        let wanted = self.links.values().filter(|(link, _)| name.is_none_or(|name| name == link.name));
        let mut count = 0;
        for (link, config) in wanted {
            engine.interface_down(now.at, link.index);
            engine.interface_up(now.at, link.clone(), config.clone());
            count += 1;
        }
        self.bfd_stale = true;
        self.settle(now);
        count
    }

    /// Takes leave of all neighbours, forgets everything, and begins as at the start.
    fn restart_ospf(&mut self, now: Now) {
        if let Some(mut engine) = self.ospf.take() {
            engine.shutdown(now.at);
            // With all that was heard up to now: nothing of it is to be taken again.
            self.memory = (engine.memory().clone(), false);
            self.last_of_ospf.extend(std::iter::from_fn(|| engine.poll_transmit()));
            while let Some(event) = engine.poll_event() {
                self.ospf_event(event);
            }
        }
        self.links.clear();
        let links = std::mem::take(&mut self.system_links);
        self.handle_interfaces(now, links);
    }
}
