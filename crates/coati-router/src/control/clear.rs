//! `clear ip ospf …`: to begin anew with a neighbour, on an interface, or altogether.

use std::net::Ipv4Addr;

use coati_ospf as ospf;

use super::{Control, Now};

/// What may be cleared.
const ALLOWED: &str =
    "clear ip ospf process, clear ip ospf neighbor [ROUTER-ID], clear ip ospf interface [NAME]";

impl Control {
    /// Carries out a `clear` command of FRR's, given as words; says what it did.
    pub fn clear(&mut self, now: Now, words: &[&str]) -> Result<String, String> {
        if self.ospf.is_none() {
            return Err("OSPF is not configured: there is no ospfd.conf with `router ospf`".into());
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
            engine.shutdown(now.at);
            self.last_of_ospf.extend(std::iter::from_fn(|| engine.poll_transmit()));
            while let Some(event) = engine.poll_event() {
                self.ospf_event(event);
            }
        }
        let own = std::mem::take(&mut self.links).into_values().map(|(link, _)| link);
        let links = own.chain(std::mem::take(&mut self.other_links)).collect();
        self.handle_interfaces(now, links);
    }
}
