//! `show ip ospf`, `show ip ospf graceful-restart helper`.

use std::fmt::Write;

use coati_wire::ospf::lsa_kind;
use serde_json::{Map, json};

use super::{View, duration, millis};
use crate::area::Area;
use crate::config::{AreaKind, BorderRule};
use crate::lsdb::Lsdb;
use crate::restart::LONGEST;

impl View<'_> {
    /// Whether neighbours are helped through a graceful restart, and which are just now.
    pub(super) fn helper(&self) -> String {
        let engine = self.engine;
        let enabled = engine.config.graceful_restart_helper;
        let left = |until: std::time::Instant| until.saturating_duration_since(self.now).as_secs();
        let helped: Vec<_> = engine
            .interfaces
            .values()
            .flat_map(|interface| interface.neighbours.values().map(move |neighbour| (interface, neighbour)))
            .filter_map(|(interface, neighbour)| Some((interface, neighbour, left(neighbour.helped_until?))))
            .collect();
        let text = || {
            let mut text = format!("\n       OSPF Router with ID ({})\n\n", engine.config.router_id);
            let _ = writeln!(
                text,
                " Graceful restart helper support {}.\n Strict LSA check is enabled.\n Helper supported for Planned and \
                 Unplanned Restarts.\n Supported Graceful restart interval: {LONGEST}(in seconds).",
                if enabled { "enabled" } else { "disabled" }
            );
            if !helped.is_empty() {
                let _ = writeln!(text, " Number of Active neighbours in graceful restart: {}", helped.len());
            }
            for (interface, neighbour, left) in &helped {
                let (router, address, name) = (neighbour.router_id, neighbour.address, &interface.link.name);
                let _ = writeln!(text, "   {router}({address}) on {name}: {left} s left");
            }
            text.push('\n');
            text
        };
        let value = || {
            let neighbours = helped.iter().map(|(interface, neighbour, left)| {
                json!({
                    "routerId": neighbour.router_id.to_string(),
                    "ifaceAddress": neighbour.address.to_string(),
                    "ifaceName": interface.link.name,
                    "remainingSecs": left,
                })
            });
            json!({
                "routerId": engine.config.router_id.to_string(),
                "helperSupport": if enabled { "Enabled" } else { "Disabled" },
                "strictLsaCheck": "Enabled",
                // FRR's spelling.
                "restartSupoort": "Planned and Unplanned Restarts",
                "supportedGracePeriod": LONGEST,
                "activeRestarterCnt": helped.len(),
                "neighbors": neighbours.collect::<Vec<_>>(),
            })
        };
        self.render(text, value)
    }

    pub(super) fn system(&self) -> String {
        let engine = self.engine;
        let last = engine.spf.last.map(|last| self.now.saturating_duration_since(last));
        let counts = |area: std::net::Ipv4Addr| {
            let interfaces =
                engine.interfaces.values().filter(move |interface| interface.config.area == area);
            let full = interfaces.clone().map(|interface| interface.full().count());
            (interfaces.clone().count(), full.sum::<usize>())
        };
        let here = |area: std::net::Ipv4Addr| {
            engine.interfaces.values().filter(move |interface| interface.config.area == area)
        };
        let of_links = |area| {
            here(area).fold((0, 0), |(count, sum), interface| {
                let (more, added) = checksum(&interface.lsdb, lsa_kind::OPAQUE_LINK);
                (count + more, sum + added)
            })
        };
        let virtual_through = |area| {
            let all = engine.interfaces.values();
            let through = all.filter(|i| i.virtual_end.as_ref().is_some_and(|end| end.transit == area));
            through.map(|interface| interface.full().count()).sum::<usize>()
        };
        let text = || {
            let mut text = format!(" OSPF Routing Process, Router ID: {}\n", engine.config.router_id);
            text.push_str(
                " Supports only single TOS (TOS0) routes\n This implementation conforms to RFC2328\n",
            );
            let flag = |on: bool| if on { "enabled" } else { "disabled" };
            let _ = writeln!(text, " RFC1583Compatibility flag is {}", flag(engine.config.rfc1583));
            text.push_str(" OpaqueCapability flag is enabled\n");
            let times = engine.config.spf_times;
            let _ = writeln!(text, " Initial SPF scheduling delay {} millisec(s)", millis(times.delay));
            let _ = writeln!(
                text,
                " Minimum hold time between consecutive SPFs {} millisec(s)",
                millis(engine.spf.first_hold(&times))
            );
            let _ = writeln!(
                text,
                " Maximum hold time between consecutive SPFs {} millisec(s)",
                millis(times.longest)
            );
            let hold = engine.spf.multiplier(self.now, &engine.config.spf_times);
            let _ = writeln!(text, " Hold time multiplier is currently {hold}");
            if engine.is_stub_router() {
                text.push_str(" Originating router-LSAs with maximum metric\n");
            }
            let _ = match last {
                Some(last) => writeln!(text, " SPF algorithm last executed {} ago", duration(last)),
                None => writeln!(text, " SPF algorithm has not been run"),
            };
            if let Some(took) = engine.spf.took {
                let _ = writeln!(text, " Last SPF duration {} usecs", took.as_micros());
            }
            let _ = match engine.spf.due {
                Some(due) => {
                    writeln!(text, " SPF timer due in {}", duration(due.saturating_duration_since(self.now)))
                }
                None => writeln!(text, " SPF timer is inactive"),
            };
            let _ = writeln!(
                text,
                " LSA minimum interval {} msecs\n LSA minimum arrival {} msecs",
                millis(engine.config.lsa_times.interval),
                millis(engine.config.lsa_times.arrival)
            );
            let deviations = engine.config.deviations;
            let _ = writeln!(
                text,
                " Faster than RFC2328: hello at once {}, early retransmission {}, prompt origination {}, loss at once {}",
                on(deviations.hello_at_once),
                on(deviations.early_retransmission),
                on(deviations.prompt_origination),
                on(deviations.loss_at_once)
            );
            let _ = writeln!(text, " Maximum multiple paths(ECMP) supported {}", engine.config.maximum_paths);
            let _ = writeln!(text, " Administrative distance {}", engine.config.distance);
            if engine.is_border() {
                let _ = writeln!(
                    text,
                    " This router is an ABR, ABR type is: {}",
                    border_rule(engine.config.border)
                );
            }
            if !engine.external_routes.is_empty() {
                text.push_str(" This router is an ASBR (injecting external routing information)\n");
            }
            for (kind, name) in [(lsa_kind::EXTERNAL, "external"), (lsa_kind::OPAQUE_AS, "opaque AS")] {
                let (count, sum) = checksum(&engine.as_wide, kind);
                let _ = writeln!(text, " Number of {name} LSA {count}. Checksum Sum 0x{sum:08x}");
            }
            let _ = writeln!(text, " Number of areas attached to this router: {}", engine.areas.len());
            for (area, found) in &engine.areas {
                let lsdb = &found.lsdb;
                let (interfaces, full) = counts(*area);
                let backbone = match engine.area_kind(*area) {
                    _ if area.is_unspecified() => " (Backbone)",
                    AreaKind::Normal => "",
                    AreaKind::Stub { .. } => " (Stub)",
                    AreaKind::Nssa(_) => " (NSSA)",
                };
                let _ = writeln!(text, " Area ID: {area}{backbone}");
                let _ = writeln!(
                    text,
                    "   Number of interfaces in this area: Total: {interfaces}, Active: {interfaces}"
                );
                let _ = writeln!(text, "   Number of fully adjacent neighbors in this area: {full}");
                text.push_str("   Area has no authentication\n");
                let _ = writeln!(text, "   SPF algorithm executed {} times", found.runs);
                let _ = writeln!(text, "   Number of LSA {}", lsdb.len());
                for (kind, name) in LSAS {
                    let (count, sum) = match kind {
                        lsa_kind::OPAQUE_LINK => of_links(*area),
                        _ => checksum(lsdb, kind),
                    };
                    let _ = writeln!(text, "   Number of {name} LSA {count}. Checksum Sum 0x{sum:08x}");
                }
            }
            text + "\n"
        };
        let value = || {
            let area = |(area, found): (&std::net::Ipv4Addr, &Area)| {
                let lsdb = &found.lsdb;
                let (interfaces, full) = counts(*area);
                let links = of_links(*area);
                let mut value = json!({
                    "areaIfTotalCounter": interfaces,
                    "areaIfActiveCounter": interfaces,
                    "nbrFullAdjacentCounter": full,
                    "authentication": "authenticationNone",
                    "spfExecutedCounter": found.runs,
                    "lsaNumber": lsdb.len(),
                    "lsaRouterNumber": checksum(lsdb, lsa_kind::ROUTER).0,
                    "lsaRouterChecksum": checksum(lsdb, lsa_kind::ROUTER).1,
                    "lsaNetworkNumber": checksum(lsdb, lsa_kind::NETWORK).0,
                    "lsaNetworkChecksum": checksum(lsdb, lsa_kind::NETWORK).1,
                    "lsaSummaryNumber": checksum(lsdb, lsa_kind::SUMMARY_NETWORK).0,
                    "lsaSummaryChecksum": checksum(lsdb, lsa_kind::SUMMARY_NETWORK).1,
                    "lsaAsbrNumber": checksum(lsdb, lsa_kind::SUMMARY_ASBR).0,
                    "lsaAsbrChecksum": checksum(lsdb, lsa_kind::SUMMARY_ASBR).1,
                    "lsaNssaNumber": checksum(lsdb, lsa_kind::NSSA).0,
                    "lsaNssaChecksum": checksum(lsdb, lsa_kind::NSSA).1,
                    "lsaOpaqueLinkNumber": links.0,
                    "lsaOpaqueLinkChecksum": links.1,
                    "lsaOpaqueAreaNumber": checksum(lsdb, lsa_kind::OPAQUE_AREA).0,
                    "lsaOpaqueAreaChecksum": checksum(lsdb, lsa_kind::OPAQUE_AREA).1,
                });
                match engine.area_kind(*area) {
                    _ if area.is_unspecified() => value["backbone"] = json!(true),
                    AreaKind::Normal => value["shortcuttingMode"] = json!("Default"),
                    AreaKind::Stub { summaries: true } => value["stubEnable"] = json!(true),
                    AreaKind::Stub { summaries: false } => {
                        value["stubEnable"] = json!(true);
                        value["stubNoSummary"] = json!(true);
                    }
                    AreaKind::Nssa(_) => value["nssa"] = json!(true),
                }
                if !area.is_unspecified() {
                    value["virtualAdjacenciesPassingCounter"] = json!(virtual_through(*area));
                }
                (area.to_string(), value)
            };
            let mut value = json!({
                "routerId": engine.config.router_id.to_string(),
                "tosRoutesOnly": true,
                "rfc2328Conform": true,
                "opaqueCapable": true,
                "spfScheduleDelayMsecs": millis(engine.config.spf_times.delay),
                "holdtimeMinMsecs": millis(engine.spf.first_hold(&engine.config.spf_times)),
                "holdtimeMaxMsecs": millis(engine.config.spf_times.longest),
                "holdtimeMultplier": engine.spf.multiplier(self.now, &engine.config.spf_times),
                "lsaMinIntervalMsecs": millis(engine.config.lsa_times.interval),
                "lsaMinArrivalMsecs": millis(engine.config.lsa_times.arrival),
                "writeMultiplier": WRITE_MULTIPLIER,
                "refreshTimerMsecs": REFRESH_TIMER,
                "maximumPaths": engine.config.maximum_paths,
                "preference": engine.config.distance,
                "lsaExternalCounter": checksum(&engine.as_wide, lsa_kind::EXTERNAL).0,
                "lsaExternalChecksum": checksum(&engine.as_wide, lsa_kind::EXTERNAL).1,
                "lsaAsopaqueCounter": checksum(&engine.as_wide, lsa_kind::OPAQUE_AS).0,
                "lsaAsOpaqueChecksum": checksum(&engine.as_wide, lsa_kind::OPAQUE_AS).1,
                "spfLastExecutedMsecs": last.map(millis),
                "attachedAreaCounter": engine.areas.len(),
                "areas": engine.areas.iter().map(area).collect::<Map<_, _>>(),
            });
            if engine.config.rfc1583 {
                value["rfc1583Compatibility"] = json!(true);
            }
            if let Some(took) = engine.spf.took {
                value["spfLastDurationMsecs"] = json!(millis(took));
            }
            if let Some(due) = engine.spf.due {
                value["spfTimerDueInMsecs"] = json!(millis(due.saturating_duration_since(self.now)));
            }
            if engine.is_border() {
                value["abrType"] = json!(border_rule(engine.config.border));
            }
            if !engine.external_routes.is_empty() {
                value["asbrRouter"] = json!("injectingExternalRoutingInformation");
            }
            value
        };
        self.render(text, value)
    }
}

/// Packets that FRR writes in one go. Here what is to be sent leaves at once, all of it; scripts find FRR's default.
const WRITE_MULTIPLIER: u32 = 20;
/// How often FRR looks for LSAs to be refreshed, in milliseconds. Here each has its own time.
const REFRESH_TIMER: u32 = 10_000;

const LSAS: [(u8, &str); 8] = [
    (lsa_kind::ROUTER, "router"),
    (lsa_kind::NETWORK, "network"),
    (lsa_kind::SUMMARY_NETWORK, "summary"),
    (lsa_kind::SUMMARY_ASBR, "ASBR summary"),
    (lsa_kind::EXTERNAL, "external"),
    (lsa_kind::NSSA, "NSSA"),
    (lsa_kind::OPAQUE_LINK, "opaque link"),
    (lsa_kind::OPAQUE_AREA, "opaque area"),
];

/// How many, and the sum of their checksums.
fn checksum(lsdb: &Lsdb, kind: u8) -> (usize, u64) {
    let list = lsdb.iter().filter(|(key, _)| key.kind == kind);
    list.fold((0, 0), |(count, sum), (_, entry)| (count + 1, sum + u64::from(entry.instance().checksum)))
}

fn border_rule(rule: BorderRule) -> &'static str {
    match rule {
        BorderRule::Cisco => "Alternative Cisco",
        BorderRule::Ibm => "Alternative IBM",
        BorderRule::Standard => "Standard (RFC2328)",
    }
}

fn on(switch: bool) -> &'static str {
    if switch { "on" } else { "off" }
}
