//! What FRR's users order beside `show`: `clear ip ospf …`, to begin anew with a neighbour, on an interface, or
//! altogether; `debug ospf …`; `graceful-restart prepare ip ospf`.

use std::net::Ipv4Addr;

use coati_ospf as ospf;

use super::{Control, Now};
use crate::ospf_config::engine_debug;

/// Why nothing of OSPF can be ordered.
pub(super) const NOT_CONFIGURED: &str = "OSPF is not configured: there is no ospfd.conf with `router ospf`";
/// What may be ordered.
const ORDERS: &str = "clear ip ospf …, debug ospf …, undebug ospf …, graceful-restart prepare ip ospf";
/// What may be cleared.
const ALLOWED: &str =
    "clear ip ospf process, clear ip ospf neighbor [ROUTER-ID], clear ip ospf interface [NAME]";

impl Control {
    /// Carries out a command of FRR's, given as words; says what it did.
    pub fn order(&mut self, now: Now, words: &[&str]) -> Result<String, String> {
        match words {
            ["clear", rest @ ..] => self.clear(now, rest),
            ["debug", "ospf", rest @ ..] => self.set_debug(rest, true),
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

    /// `show ip route [json]`: what the kernel has from OSPF, in FRR's form.
    pub(super) fn show_routes(&self, words: &[&str]) -> Result<String, String> {
        let name = |index: u32| self.links.get(&index).map_or("?", |(link, _)| link.name.as_str());
        let routes = self.kernel_routes();
        let cost = |route: &super::KernelRoute| {
            let found = self.ospf.as_ref().and_then(|engine| engine.route(route.network, route.prefix_len));
            found.map_or(0, |found| found.cost)
        };
        match words {
            ["ip", "route"] | ["ip", "route", "ospf"] => {
                let mut text = "Codes: O - OSPF, > - selected route, * - FIB route\n\n".to_owned();
                for route in &routes {
                    let prefix = format!("O>* {}/{} [110/{}]", route.network, route.prefix_len, cost(route));
                    let hops: Vec<String> = route
                        .gateways
                        .iter()
                        .map(|(gateway, index)| format!("via {gateway}, {}, weight 1", name(*index)))
                        .collect();
                    let hops = if hops.is_empty() {
                        "unreachable (blackhole)".into()
                    } else {
                        hops.join("\n  *   ")
                    };
                    text.push_str(&format!("{prefix} {hops}\n"));
                }
                Ok(text)
            }
            ["ip", "route", "json"] | ["ip", "route", "ospf", "json"] => {
                let entry = |route: &super::KernelRoute| {
                    let hops: Vec<_> = route
                        .gateways
                        .iter()
                        .map(|(gateway, index)| {
                            serde_json::json!({
                                "fib": true, "ip": gateway.to_string(), "afi": "ipv4", "interfaceIndex": index,
                                "interfaceName": name(*index), "active": true, "weight": 1,
                            })
                        })
                        .collect();
                    let prefix = format!("{}/{}", route.network, route.prefix_len);
                    let value = serde_json::json!([{
                        "prefix": prefix, "prefixLen": route.prefix_len, "protocol": "ospf", "selected": true,
                        "installed": true, "distance": 110, "metric": cost(route), "nexthops": hops,
                    }]);
                    (prefix, value)
                };
                let all: serde_json::Map<String, serde_json::Value> = routes.iter().map(entry).collect();
                Ok(format!("{:#}\n", serde_json::Value::Object(all)))
            }
            _ => Err("show ip route [ospf] [json]".into()),
        }
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
        for neighbour in &found {
            let link =
                self.links.values().map(|(link, _)| link).find(|link| link.name == neighbour.interface);
            if let Some(link) = link {
                engine.neighbour_dead(now.at, link.index, neighbour.address, "cleared");
                // It hears at once that it is not known any more.
                engine.link_alive(now.at, link.index);
            }
        }
        self.settle(now);
        found.len()
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
            self.memory = (engine.memory().clone(), false);
            engine.shutdown(now.at);
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
