//! `show ip ospf neighbor` and `show ip ospf interface`.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{VIEWS, View, duration, millis, options, quoted};
use crate::auth::{Authentication, KeyAlgorithm};
use crate::config::{InterfaceConfig, NetworkType, RouterId};
use crate::interface::{Interface, InterfaceState, NARROW};
use crate::neighbour::{Neighbour, State};
use crate::path::Reach;

/// Which neighbours are wanted.
enum Choice {
    /// All that are heard.
    Heard,
    /// Those that are configured as well.
    All,
    /// Those on an interface.
    On(String),
    /// That with a router id.
    Router(RouterId),
}

impl View<'_> {
    /// Neighbours that are heard, those that are only configured as well where they are wanted.
    fn chosen(&self, choice: &Choice) -> Vec<(&Interface, &Neighbour)> {
        let pairs =
            self.engine.interfaces.values().flat_map(|interface| {
                interface.neighbours.values().map(move |neighbour| (interface, neighbour))
            });
        let wanted = |(interface, neighbour): &(&Interface, &Neighbour)| match choice {
            Choice::Heard => neighbour.state > State::Down,
            Choice::All => true,
            Choice::On(name) => neighbour.state > State::Down && interface.link.name == *name,
            Choice::Router(id) => neighbour.state > State::Down && neighbour.router_id == *id,
        };
        pairs.filter(wanted).collect()
    }

    fn since(&self, neighbour: &Neighbour) -> Duration {
        self.now.saturating_duration_since(neighbour.since)
    }

    fn dead_in(&self, neighbour: &Neighbour) -> Duration {
        neighbour.dead_at.saturating_duration_since(self.now)
    }

    /// `show ip ospf neighbor …`, by the words behind it.
    pub(super) fn neighbours(&self, words: &[&str]) -> Result<String, String> {
        let which = |word: &str| {
            let interfaces = || self.engine.interfaces.values().map(|interface| &interface.link.name);
            if let Some(name) = interfaces().find(|name| *name == word) {
                return Ok(Choice::On(name.clone()));
            }
            word.parse().map(Choice::Router).map_err(|_| {
                let names: Vec<&str> = interfaces().map(String::as_str).collect();
                format!(
                    "`{}` is neither the router id of a neighbour nor an interface with OSPF ({}), nor `all` or `detail`",
                    quoted(word),
                    names.join(", ")
                )
            })
        };
        match words {
            [] => Ok(self.neighbour_list(&Choice::Heard)),
            ["all"] => Ok(self.neighbour_list(&Choice::All)),
            ["detail"] => Ok(self.neighbours_in_detail(&Choice::Heard)),
            ["detail", "all"] => Ok(self.neighbours_in_detail(&Choice::All)),
            [word] => Ok(self.neighbour_list(&which(word)?)),
            [word, "detail"] => Ok(self.neighbours_in_detail(&which(word)?)),
            [.., other] => Err(format!("`{}` does not belong here; there are: {VIEWS}", quoted(other))),
        }
    }

    /// As FRR has it, only the list of all that are heard has a key around it.
    fn keyed(choice: &Choice, map: Map<String, Value>) -> Value {
        if matches!(choice, Choice::Heard) { json!({ "neighbors": map }) } else { Value::Object(map) }
    }

    fn neighbour_list(&self, choice: &Choice) -> String {
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
            for (interface, neighbour) in self.chosen(choice) {
                let _ = writeln!(
                    text,
                    "{:<15} {:>3} {:<15} {:<15} {:>9} {:<15} {:<32} {:>5} {:>5} {:>5}",
                    neighbour.router_id.to_string(),
                    neighbour.priority,
                    state(interface, neighbour),
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
            for (interface, neighbour) in self.chosen(choice) {
                let list = map.entry(neighbour.router_id.to_string()).or_insert_with(|| json!([]));
                if let Value::Array(list) = list {
                    list.push(self.neighbour_json(interface, neighbour));
                }
            }
            Self::keyed(choice, map)
        };
        self.render(text, value)
    }

    fn neighbour_json(&self, interface: &Interface, neighbour: &Neighbour) -> Value {
        let (up, dead) = (self.since(neighbour), self.dead_in(neighbour));
        json!({
            "priority": neighbour.priority,
            "state": state(interface, neighbour),
            "nbrPriority": neighbour.priority,
            "nbrState": state(interface, neighbour),
            "converged": neighbour.state.name(),
            "role": role(interface, neighbour),
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

    fn neighbours_in_detail(&self, choice: &Choice) -> String {
        let on = |timer: bool| if timer { "on" } else { "off" };
        let text = || {
            let mut text = String::new();
            for (interface, neighbour) in self.chosen(choice) {
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

    Graceful restart Helper info:
      Graceful Restart HELPER Status : {}

",
                    neighbour.router_id,
                    neighbour.address,
                    interface.config.area,
                    interface.link.name,
                    neighbour.priority,
                    state(interface, neighbour),
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
                    if neighbour.helped_until.is_some() { "Inprogress" } else { "None" },
                );
                let damped = self.engine.damped_on(interface.link.index);
                for (_, why) in damped.filter(|(key, _)| {
                    interface.neighbours.get(key).is_some_and(|n| std::ptr::eq(n, neighbour))
                }) {
                    let _ = writeln!(text, "    Held back: {why}\n");
                }
            }
            text
        };
        let value = || {
            let mut map: Map<String, Value> = Map::new();
            for (interface, neighbour) in self.chosen(choice) {
                let value = json!({
                    "ifaceAddress": neighbour.address.to_string(),
                    "areaId": interface.config.area.to_string(),
                    "ifaceName": interface.link.name,
                    "nbrPriority": neighbour.priority,
                    "nbrState": state(interface, neighbour),
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
                    "grHelperStatus": if neighbour.helped_until.is_some() { "Inprogress" } else { "None" },
                });
                let list = map.entry(neighbour.router_id.to_string()).or_insert_with(|| json!([]));
                if let Value::Array(list) = list {
                    list.push(value);
                }
            }
            Self::keyed(choice, map)
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
            "  ifindex {}, MTU {} bytes, BW {} Mbit {}",
            link.index,
            link.mtu,
            bandwidth(interface),
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
        let _ = writeln!(
            text,
            "  Transmit Delay is {} sec, State {state}, Priority {}",
            config.transmit_delay, config.priority
        );
        self.designated_text(&mut text, interface);
        let group = match (interface.is_active(), interface.is_designated()) {
            (false, _) => "<None>",
            (true, false) => "OSPFAllRouters",
            (true, true) => "OSPFAllRouters OSPFDesignatedRouters",
        };
        let _ = writeln!(text, "  Multicast group memberships: {group}");
        let _ = writeln!(
            text,
            "  Timer intervals configured, Hello {}, Dead {}s, Wait {}s, Retransmit {}",
            match config.fast_hellos {
                Some(_) => format!("{}ms", millis(config.hello_period())),
                None => format!("{}s", config.hello_interval),
            },
            config.dead_seconds(),
            config.dead_seconds(),
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
        if let Reach::Unicast(address) = interface.reach {
            let _ = writeln!(text, "  Multicast does not get through: packets go to {address}");
        }
        if interface.narrow.is_some() {
            let _ = writeln!(text, "  Large packets do not get through: {NARROW} bytes at the most");
        }
        if let Some(hops) = config.ttl_security {
            let _ = writeln!(text, "  TTL security enabled, {hops} hops at the most");
        }
        if config.prefix_suppression {
            text.push_str("  Prefix-suppression enabled\n");
        }
        if !interface.dropped.is_empty() {
            let reasons: Vec<String> =
                interface.dropped.iter().map(|(why, count)| format!("{count} {why}")).collect();
            let _ = writeln!(text, "  Packets dropped: {}", reasons.join(", "));
        }
        match &config.authentication {
            Authentication::None => {}
            Authentication::Simple(_) => text.push_str("  Simple password authentication enabled\n"),
            Authentication::Cryptographic(keys) => {
                text.push_str("  Cryptographic authentication enabled\n");
                if let Some(key) = keys.last() {
                    let _ = writeln!(text, "  Algorithm:{}", algorithm(key.algorithm));
                }
            }
            Authentication::Extended(keys) => {
                text.push_str("  Cryptographic authentication with extended sequence numbers enabled\n");
                if let Some(key) = keys.last() {
                    let _ = writeln!(text, "  Algorithm:{}", algorithm(key.algorithm));
                }
            }
        }
        text
    }

    /// Packets of each type that have come and gone, on all interfaces or one.
    pub(super) fn traffic(&self, name: Option<&str>) -> String {
        let wanted = |interface: &&Interface| name.is_none_or(|name| interface.link.name == name);
        let list = || self.engine.interfaces.values().filter(wanted);
        let text = || {
            let mut text = String::from(
                "\nInterface       HELLO            DB-Desc         LS-Req           LS-Update        LS-Ack            \
                 Packets      \n",
            );
            let _ = writeln!(text, "{:16}{}Queued       ", "", "Rx/Tx            ".repeat(5));
            let _ = writeln!(text, "{}", "-".repeat(109));
            for interface in list() {
                let _ = write!(text, "{:<10} ", interface.link.name);
                for ([received, sent], width) in interface.traffic.into_iter().zip([8, 7, 7, 7, 7]) {
                    let _ = write!(text, "{received:>width$}/{sent:<width$} ");
                }
                let _ = writeln!(text, "{:>12}", 0);
            }
            text + "\n"
        };
        let value = || {
            let entry = |interface: &Interface| {
                let mut value = json!({ "ifIndex": interface.link.index, "packetsQueued": 0 });
                for (kind, [received, sent]) in
                    ["hello", "dbDesc", "lsReq", "lsUpd", "lsAck"].into_iter().zip(interface.traffic)
                {
                    value[format!("{kind}In")] = json!(received);
                    value[format!("{kind}Out")] = json!(sent);
                }
                (interface.link.name.clone(), value)
            };
            Value::Object(list().map(entry).collect())
        };
        self.render(text, value)
    }

    fn router_of(&self, interface: &Interface, address: Ipv4Addr) -> Option<Ipv4Addr> {
        if address == interface.link.address {
            return Some(self.engine.config.router_id);
        }
        interface.neighbours.get(&address).map(|neighbour| neighbour.router_id)
    }

    fn designated_text(&self, text: &mut String, interface: &Interface) {
        if let Some(router) = self.router_of(interface, interface.designated) {
            let prefix_len = interface.link.prefix_len;
            let address = interface.designated;
            let _ =
                writeln!(text, "  Designated Router (ID) {router} Interface Address {address}/{prefix_len}");
        }
        let _ = match self.router_of(interface, interface.backup) {
            Some(router) => {
                let address = interface.backup;
                writeln!(text, "  Backup Designated Router (ID) {router}, Interface Address {address}")
            }
            None => writeln!(text, "  No backup designated router on this network"),
        };
    }

    fn interface_json(&self, interface: &Interface) -> Value {
        let (link, config) = (&interface.link, &interface.config);
        let (all, full) = counts(interface);
        let (kind, state) = kind_and_state(interface);
        let mut value = json!({
            "ifUp": true,
            "ifIndex": link.index,
            "mtuBytes": link.mtu,
            "bandwidthMbit": bandwidth(interface),
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
            "priority": config.priority,
            "timerMsecs": millis(config.hello_period()),
            "timerDeadSecs": config.dead_seconds(),
            "timerWaitSecs": config.dead_seconds(),
            "timerRetransmitSecs": config.retransmit_interval.as_secs(),
            "nbrCount": all,
            "nbrAdjacentCount": full,
            "authentication": authentication(config),
        });
        if let Reach::Unicast(address) = interface.reach {
            value["unicastTo"] = json!(address.to_string());
        }
        if interface.narrow.is_some() {
            value["largestPacketBytes"] = json!(NARROW);
        }
        if let Some(hops) = config.ttl_security {
            value["ttlSecurityHops"] = json!(hops);
        }
        if config.prefix_suppression {
            value["prefixSuppression"] = json!(true);
        }
        if !interface.dropped.is_empty() {
            value["packetsDropped"] = json!(interface.dropped);
        }
        if let Some(router) = self.router_of(interface, interface.designated) {
            value["drId"] = json!(router.to_string());
            value["drAddress"] = json!(interface.designated.to_string());
        }
        if let Some(router) = self.router_of(interface, interface.backup) {
            value["bdrId"] = json!(router.to_string());
            value["bdrAddress"] = json!(interface.backup.to_string());
        }
        if interface.is_active() {
            value["mcastMemberOspfAllRouters"] = json!(true);
            if interface.is_designated() {
                value["mcastMemberOspfDesignatedRouters"] = json!(true);
            }
            value["timerHelloInMsecs"] =
                json!(millis(interface.hello_due.saturating_duration_since(self.now)));
        } else {
            value["timerPassiveIface"] = json!(true);
        }
        value
    }
}

/// In Mbit/s: as configured, else as the interface says.
fn bandwidth(interface: &Interface) -> u32 {
    interface.config.bandwidth.or(interface.link.speed).unwrap_or(0)
}

/// `Full/DR`; `Full/-` where there is no designated router.
fn state(interface: &Interface, neighbour: &Neighbour) -> String {
    let role = if interface.network.elects() { role(interface, neighbour) } else { "-" };
    format!("{}/{role}", neighbour.state.name())
}

fn role(interface: &Interface, neighbour: &Neighbour) -> &'static str {
    match interface.network.elects() {
        true if neighbour.address == interface.designated => "DR",
        true if neighbour.address == interface.backup => "Backup",
        _ => "DROther",
    }
}

fn algorithm(algorithm: KeyAlgorithm) -> &'static str {
    match algorithm {
        KeyAlgorithm::Md5 => "MD5",
        KeyAlgorithm::HmacSha1 => "HMAC-SHA-1",
        KeyAlgorithm::HmacSha256 => "HMAC-SHA-256",
        KeyAlgorithm::HmacSha384 => "HMAC-SHA-384",
        KeyAlgorithm::HmacSha512 => "HMAC-SHA-512",
    }
}

fn authentication(config: &InterfaceConfig) -> &'static str {
    match config.authentication {
        Authentication::None => "authenticationNone",
        Authentication::Simple(_) => "authenticationSimplePassword",
        Authentication::Cryptographic(_) | Authentication::Extended(_) => "authenticationMessageDigest",
    }
}

fn counts(interface: &Interface) -> (usize, usize) {
    let heard = interface.neighbours.values().filter(|neighbour| neighbour.state > State::Down);
    (heard.count(), interface.full().count())
}

fn kind_and_state(interface: &Interface) -> (&'static str, &'static str) {
    if interface.link.loopback {
        return ("LOOPBACK", "Loopback");
    }
    let kind = match interface.network {
        NetworkType::Broadcast => "BROADCAST",
        NetworkType::NonBroadcast => "NBMA",
        NetworkType::PointToPoint => "POINTOPOINT",
        NetworkType::PointToMultipoint => "POINTOMULTIPOINT",
        NetworkType::Virtual => "VIRTUALLINK",
    };
    let state = match interface.state {
        InterfaceState::Down => "Down",
        InterfaceState::Waiting => "Waiting",
        InterfaceState::PointToPoint => "Point-To-Point",
        InterfaceState::DrOther => "DROther",
        InterfaceState::Backup => "Backup",
        InterfaceState::Dr => "DR",
    };
    (kind, state)
}

fn flags(interface: &Interface) -> &'static str {
    if interface.link.loopback {
        "<UP,LOOPBACK,RUNNING>"
    } else if interface.link.point_to_point {
        "<UP,POINTOPOINT,RUNNING,MULTICAST>"
    } else {
        "<UP,BROADCAST,RUNNING,MULTICAST>"
    }
}

fn broadcast(interface: &Interface) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(interface.link.address) | !u32::from(interface.link.mask()))
}
