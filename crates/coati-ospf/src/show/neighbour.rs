//! `show ip ospf neighbor` and `show ip ospf interface`.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{View, duration, millis, options};
use crate::interface::Interface;
use crate::neighbour::{Neighbour, State};

impl View<'_> {
    fn all(&self) -> impl Iterator<Item = (&Interface, &Neighbour)> {
        let engine = self.engine;
        engine.interfaces.values().filter_map(|interface| Some((interface, interface.neighbour.as_ref()?)))
    }

    fn since(&self, neighbour: &Neighbour) -> Duration {
        self.now.saturating_duration_since(neighbour.since)
    }

    fn dead_in(&self, neighbour: &Neighbour) -> Duration {
        neighbour.dead_at.saturating_duration_since(self.now)
    }

    /// All neighbours, or those on an interface or with a router id.
    pub(super) fn neighbours(&self, which: Option<&str>) -> String {
        let wanted = |(interface, neighbour): &(&Interface, &Neighbour)| {
            which.is_none_or(|which| interface.link.name == which || neighbour.router_id.to_string() == which)
        };
        let text = || {
            let mut text = format!(
                "\n{:<15} {:>3} {:<15} {:<15} {:>9} {:<15} {:<32} {:>5} {:>5} {:>5}\n",
                "Neighbor ID",
                "Pri",
                "State",
                "Up Time",
                "Dead Time",
                "Address",
                "Interface",
                "RXmtL",
                "RqstL",
                "DBsmL"
            );
            for (interface, neighbour) in self.all().filter(wanted) {
                let _ = writeln!(
                    text,
                    "{:<15} {:>3} {:<15} {:<15} {:>9} {:<15} {:<32} {:>5} {:>5} {:>5}",
                    neighbour.router_id.to_string(),
                    neighbour.priority,
                    state(neighbour),
                    duration(self.since(neighbour)),
                    duration(self.dead_in(neighbour)),
                    neighbour.address.to_string(),
                    format!("{}:{}", interface.link.name, interface.link.address),
                    neighbour.retransmissions.len(),
                    neighbour.requests.len(),
                    neighbour.summary.len(),
                );
            }
            text + "\n"
        };
        let value = || {
            let mut map: Map<String, Value> = Map::new();
            for (interface, neighbour) in self.all().filter(wanted) {
                let list = map.entry(neighbour.router_id.to_string()).or_insert_with(|| json!([]));
                if let Value::Array(list) = list {
                    list.push(self.neighbour_json(interface, neighbour));
                }
            }
            json!({ "neighbors": map })
        };
        self.render(text, value)
    }

    fn neighbour_json(&self, interface: &Interface, neighbour: &Neighbour) -> Value {
        let (up, dead) = (self.since(neighbour), self.dead_in(neighbour));
        json!({
            "priority": neighbour.priority,
            "state": state(neighbour),
            "nbrPriority": neighbour.priority,
            "nbrState": state(neighbour),
            "converged": neighbour.state.name(),
            "role": "DROther",
            "upTimeInMsec": millis(up),
            "deadTimeMsecs": millis(dead),
            "routerDeadIntervalTimerDueMsec": millis(dead),
            "upTime": duration(up),
            "deadTime": duration(dead),
            "address": neighbour.address.to_string(),
            "ifaceAddress": neighbour.address.to_string(),
            "ifaceName": format!("{}:{}", interface.link.name, interface.link.address),
            "retransmitCounter": neighbour.retransmissions.len(),
            "linkStateRetransmissionListCounter": neighbour.retransmissions.len(),
            "requestCounter": neighbour.requests.len(),
            "linkStateRequestListCounter": neighbour.requests.len(),
            "dbSummaryCounter": neighbour.summary.len(),
            "databaseSummaryListCounter": neighbour.summary.len(),
        })
    }

    pub(super) fn neighbours_in_detail(&self) -> String {
        let on = |timer: bool| if timer { "on" } else { "off" };
        let text = || {
            let mut text = String::new();
            for (interface, neighbour) in self.all() {
                let _ = write!(
                    text,
                    " Neighbor {}, interface address {}
    In the area {} via interface {}
    Neighbor priority is {}, State is {}, {} state changes
    Most recent state change statistics:
      Progressive change {} ago
    DR is {}, BDR is {}
    Options {} {}
    Dead timer due in {}
    Database Summary List {}
    Link State Request List {}
    Link State Retransmission List {}
    Thread Inactivity Timer on
    Thread Database Description Retransmision {}
    Thread Link State Request Retransmission {}
    Thread Link State Update Retransmission {}

",
                    neighbour.router_id,
                    neighbour.address,
                    interface.config.area,
                    interface.link.name,
                    neighbour.priority,
                    state(neighbour),
                    neighbour.state_changes,
                    duration(self.since(neighbour)),
                    neighbour.designated,
                    neighbour.backup,
                    neighbour.options,
                    options(neighbour.options),
                    duration(self.dead_in(neighbour)),
                    neighbour.summary.len(),
                    neighbour.requests.len(),
                    neighbour.retransmissions.len(),
                    on(neighbour.description.is_some()),
                    on(neighbour.request.is_some()),
                    on(!neighbour.retransmissions.is_empty()),
                );
            }
            text
        };
        let value = || {
            let detail = |(interface, neighbour): (&Interface, &Neighbour)| {
                let value = json!([{
                    "ifaceAddress": neighbour.address.to_string(),
                    "areaId": interface.config.area.to_string(),
                    "ifaceName": interface.link.name,
                    "nbrPriority": neighbour.priority,
                    "nbrState": state(neighbour),
                    "stateChangeCounter": neighbour.state_changes,
                    "lastPrgrsvChangeMsec": millis(self.since(neighbour)),
                    "routerDesignatedId": neighbour.designated.to_string(),
                    "routerDesignatedBackupId": neighbour.backup.to_string(),
                    "optionsCounter": neighbour.options,
                    "optionsList": options(neighbour.options),
                    "routerDeadIntervalTimerDueMsec": millis(self.dead_in(neighbour)),
                    "databaseSummaryListCounter": neighbour.summary.len(),
                    "linkStateRequestListCounter": neighbour.requests.len(),
                    "linkStateRetransmissionListCounter": neighbour.retransmissions.len(),
                    "threadInactivityTimer": "on",
                    "threadLinkStateRequestRetransmission": on(neighbour.request.is_some()),
                    "threadLinkStateUpdateRetransmission": on(!neighbour.retransmissions.is_empty()),
                }]);
                (neighbour.router_id.to_string(), value)
            };
            json!({ "neighbors": self.all().map(detail).collect::<Map<_, _>>() })
        };
        self.render(text, value)
    }

    /// All interfaces of OSPF, or one of them.
    pub(super) fn interfaces(&self, name: Option<&str>) -> String {
        let list: Vec<&Interface> = self
            .engine
            .interfaces
            .values()
            .filter(|interface| name.is_none_or(|name| interface.link.name == name))
            .collect();
        let text = || list.iter().map(|interface| self.interface_text(interface)).collect();
        let value = || {
            let entry =
                |interface: &&Interface| (interface.link.name.clone(), self.interface_json(interface));
            json!({ "interfaces": list.iter().map(entry).collect::<Map<_, _>>() })
        };
        self.render(text, value)
    }

    fn interface_text(&self, interface: &Interface) -> String {
        let (link, config) = (&interface.link, &interface.config);
        let mut text = format!("{} is up\n", link.name);
        let _ = writeln!(
            text,
            "  ifindex {}, MTU {} bytes, BW 0 Mbit {}",
            link.index,
            link.mtu,
            flags(interface)
        );
        let other_end = match link.peer {
            Some(peer) => format!("Peer {peer}"),
            None => format!("Broadcast {}", broadcast(interface)),
        };
        let _ = writeln!(
            text,
            "  Internet Address {}/{}, {other_end}, Area {}",
            link.address, link.prefix_len, config.area
        );
        let detection = if config.mtu_ignore { "disabled" } else { "enabled" };
        let _ = writeln!(text, "  MTU mismatch detection: {detection}");
        let (kind, state) = kind_and_state(interface);
        let _ = writeln!(
            text,
            "  Router ID {}, Network Type {kind}, Cost: {}",
            self.engine.config.router_id, config.cost
        );
        let _ =
            writeln!(text, "  Transmit Delay is {} sec, State {state}, Priority 1", config.transmit_delay);
        text.push_str("  No backup designated router on this network\n");
        let group = if interface.is_active() { "OSPFAllRouters" } else { "<None>" };
        let _ = writeln!(text, "  Multicast group memberships: {group}");
        let _ = writeln!(
            text,
            "  Timer intervals configured, Hello {}s, Dead {}s, Wait {}s, Retransmit {}",
            config.hello_interval,
            config.dead_interval,
            config.dead_interval,
            config.retransmit_interval.as_secs()
        );
        if interface.is_active() {
            let due = interface.hello_due.saturating_duration_since(self.now);
            let _ = writeln!(text, "    Hello due in {}", duration(due));
        } else {
            text.push_str("    No Hellos (Passive interface)\n");
        }
        let (all, full) = counts(interface);
        let _ = writeln!(text, "  Neighbor Count is {all}, Adjacent neighbor count is {full}");
        text
    }

    fn interface_json(&self, interface: &Interface) -> Value {
        let (link, config) = (&interface.link, &interface.config);
        let (all, full) = counts(interface);
        let (kind, state) = kind_and_state(interface);
        let mut value = json!({
            "ifUp": true,
            "ifIndex": link.index,
            "mtuBytes": link.mtu,
            "ifFlags": flags(interface),
            "ospfEnabled": true,
            "ipAddress": link.address.to_string(),
            "ipAddressPrefixlen": link.prefix_len,
            "ospfIfType": if link.peer.is_some() { "Peer" } else { "Broadcast" },
            "localIfUsed": link.peer.unwrap_or_else(|| broadcast(interface)).to_string(),
            "area": config.area.to_string(),
            "routerId": self.engine.config.router_id.to_string(),
            "networkType": kind,
            "cost": config.cost,
            "transmitDelaySecs": config.transmit_delay,
            "state": state,
            "priority": 1,
            "timerMsecs": u32::from(config.hello_interval) * 1000,
            "timerDeadSecs": config.dead_interval,
            "timerWaitSecs": config.dead_interval,
            "timerRetransmitSecs": config.retransmit_interval.as_secs(),
            "nbrCount": all,
            "nbrAdjacentCount": full,
            "authentication": "authenticationNone",
        });
        if interface.is_active() {
            value["mcastMemberOspfAllRouters"] = json!(true);
            value["timerHelloInMsecs"] =
                json!(millis(interface.hello_due.saturating_duration_since(self.now)));
        } else {
            value["timerPassiveIface"] = json!(true);
        }
        value
    }
}

/// `Full/-`: there is no designated router on a point-to-point network.
fn state(neighbour: &Neighbour) -> String {
    format!("{}/-", neighbour.state.name())
}

fn counts(interface: &Interface) -> (usize, usize) {
    let full = interface.neighbour.as_ref().is_some_and(|neighbour| neighbour.state == State::Full);
    (usize::from(interface.neighbour.is_some()), usize::from(full))
}

fn kind_and_state(interface: &Interface) -> (&'static str, &'static str) {
    if interface.link.point_to_point { ("POINTOPOINT", "Point-To-Point") } else { ("BROADCAST", "DR") }
}

fn flags(interface: &Interface) -> &'static str {
    if interface.link.point_to_point {
        "<UP,POINTOPOINT,RUNNING,MULTICAST>"
    } else {
        "<UP,BROADCAST,RUNNING,MULTICAST>"
    }
}

fn broadcast(interface: &Interface) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(interface.link.address) | !u32::from(interface.link.mask()))
}
