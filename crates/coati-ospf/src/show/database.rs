//! `show ip ospf database`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::Ipv4Addr;

use coati_wire::ospf::{LsaBody, LsaKey, RouterLink, RouterLsa, lsa_kind};
use serde_json::{Map, Value, json};

use super::{View, options, quoted};
use crate::config::{AreaId, AreaKind};
use crate::lsdb::{Entry, Scope};
use crate::route::Destination;

/// LS type, heading of its table, name in `LS Type:`, key of its list in JSON, word on the command line.
const KINDS: [(u8, &str, &str, &str, &str); 9] = [
    (lsa_kind::ROUTER, "Router Link States", "router-LSA", "routerLinkStates", "router"),
    (lsa_kind::NETWORK, "Net Link States", "network-LSA", "networkLinkStates", "network"),
    (lsa_kind::SUMMARY_NETWORK, "Summary Link States", "summary-LSA", "summaryLinkStates", "summary"),
    (
        lsa_kind::SUMMARY_ASBR,
        "ASBR-Summary Link States",
        "summary-LSA",
        "asbrSummaryLinkStates",
        "asbr-summary",
    ),
    (lsa_kind::EXTERNAL, "AS External Link States", "AS-external-LSA", "asExternalLinkStates", "external"),
    (lsa_kind::NSSA, "NSSA-external Link States", "NSSA-LSA", "nssaExternalLinkStates", "nssa-external"),
    (
        lsa_kind::OPAQUE_LINK,
        "Link-Local Opaque-LSA",
        "Link-Local Opaque-LSA",
        "linkLocalOpaqueLsa",
        "opaque-link",
    ),
    (
        lsa_kind::OPAQUE_AREA,
        "Area-Local Opaque-LSA",
        "Area-Local Opaque-LSA",
        "areaLocalOpaqueLsa",
        "opaque-area",
    ),
    (
        lsa_kind::OPAQUE_AS,
        "AS-external Opaque-LSA",
        "AS-external Opaque-LSA",
        "asExternalOpaqueLsa",
        "opaque-as",
    ),
];

/// The LS type that this word of the command line names.
pub(super) fn kind_of(word: &str) -> Option<u8> {
    KINDS.iter().find(|kind| kind.4 == word).map(|kind| kind.0)
}

/// The word of the command line for LSAs of this type.
pub(crate) fn lsa_name(kind: u8) -> &'static str {
    KINDS.iter().find(|entry| entry.0 == kind).map_or("unknown", |entry| entry.4)
}

/// Which LSAs of a type are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Filter {
    id: Option<Ipv4Addr>,
    router: Option<Ipv4Addr>,
}

impl Filter {
    /// `[ID] [self-originate | adv-router ID]`.
    pub(super) fn parse(words: &[&str], own: Ipv4Addr) -> Result<Self, String> {
        let address =
            |word: &str| word.parse().map_err(|_| format!("`{}` is not an id: a dotted quad", quoted(word)));
        let (id, rest) = match words {
            [] => return Ok(Self::default()),
            ["self-originate" | "adv-router", ..] => (None, words),
            [id, rest @ ..] => (Some(address(id)?), rest),
        };
        let router = match rest {
            [] => None,
            ["self-originate"] => Some(own),
            ["adv-router", router] => Some(address(router)?),
            other => {
                return Err(format!(
                    "`{}` is not `self-originate` or `adv-router ID`",
                    quoted(&other.join(" "))
                ));
            }
        };
        Ok(Self { id, router })
    }

    fn takes(self, key: &LsaKey) -> bool {
        self.id.is_none_or(|id| id == key.id)
            && self.router.is_none_or(|router| router == key.advertising_router)
    }
}

impl View<'_> {
    /// LSAs at MaxAge that have not been acknowledged by everybody yet.
    pub(super) fn dying(&self) -> String {
        let all = || {
            let scopes = self.engine.scopes().filter_map(|scope| self.engine.lsdb(scope));
            scopes.flat_map(|lsdb| lsdb.dying.iter())
        };
        let text = || {
            let mut text = self.title() + "                MaxAge Link States:\n\n";
            for key in all() {
                let _ = writeln!(text, "  Link type: {}", key.kind);
                let _ = writeln!(text, "  Link State ID: {}", key.id);
                let _ = writeln!(text, "  Advertising Router: {}\n", key.advertising_router);
            }
            text
        };
        let value = || {
            let row = |key: &LsaKey| {
                json!({ "linkType": key.kind, "linkStateId": key.id.to_string(),
                        "advertisingRouter": key.advertising_router.to_string() })
            };
            json!({ "maxAgeLinkStates": all().map(row).collect::<Vec<_>>() })
        };
        self.render(text, value)
    }

    /// Those of one type, place by place.
    fn of_kind(&self, kind: u8) -> Vec<(Scope, Vec<(&LsaKey, &Entry)>)> {
        let engine = self.engine;
        let list = |scope: Scope| {
            let list: Vec<_> = engine.lsdb(scope)?.of_kind(kind).collect();
            (!list.is_empty()).then_some((scope, list))
        };
        engine.scopes().filter_map(list).collect()
    }

    /// Where LSAs of a scope are, behind the heading.
    fn place(&self, scope: Scope) -> String {
        match scope {
            Scope::Area(area) => match self.engine.area_kind(area) {
                AreaKind::Normal => format!(" (Area {area})"),
                AreaKind::Stub { .. } => format!(" (Area {area} [Stub])"),
                AreaKind::Nssa(_) => format!(" (Area {area} [NSSA])"),
            },
            Scope::Link(index) => format!(" (Link {})", self.interface_name(index)),
            Scope::As => String::new(),
        }
    }

    fn title(&self) -> String {
        format!("\n       OSPF Router with ID ({})\n\n", self.engine.config.router_id)
    }

    /// `of`: those of this router only.
    pub(super) fn database(&self, of: Option<Ipv4Addr>) -> String {
        let filter = Filter { id: None, router: of };
        self.render(|| self.summary_text(filter), || self.summary_json(filter))
    }

    fn summary_text(&self, filter: Filter) -> String {
        let mut text = self.title();
        for (kind, heading, ..) in KINDS {
            for (scope, list) in self.of_kind(kind) {
                let place = self.place(scope);
                let _ = writeln!(text, "{:16}{heading}{place}\n", "");
                let last = match kind {
                    lsa_kind::ROUTER => " Link count",
                    lsa_kind::SUMMARY_NETWORK | lsa_kind::EXTERNAL | lsa_kind::NSSA => "  Route",
                    _ => "",
                };
                let _ = writeln!(text, "Link ID         ADV Router      Age  Seq#       CkSum {last}");
                for (key, entry) in list.into_iter().filter(|(key, _)| filter.takes(key)) {
                    let header = entry.header(self.now);
                    let _ = writeln!(
                        text,
                        "{:<14} {:<15} {:>4} 0x{:08x} 0x{:04x}{}",
                        key.id.to_string(),
                        key.advertising_router.to_string(),
                        header.seconds(),
                        header.sequence,
                        header.checksum,
                        tail(key, entry),
                    );
                }
                text.push('\n');
            }
        }
        text
    }

    fn summary_json(&self, filter: Filter) -> Value {
        let mut areas: Map<String, Value> = Map::new();
        for area in self.engine.areas.keys() {
            areas.insert(area.to_string(), json!({}));
        }
        let mut value = json!({ "routerId": self.engine.config.router_id.to_string() });
        for (kind, _, _, name, _) in KINDS {
            for (scope, list) in self.of_kind(kind) {
                let list = list.into_iter().filter(|(key, _)| filter.takes(key));
                let rows: Vec<Value> = list.map(|(key, entry)| self.row(key, entry)).collect();
                let count = rows.len();
                match scope {
                    Scope::Area(area) => {
                        if let Some(Value::Object(map)) = areas.get_mut(&area.to_string()) {
                            map.insert(name.to_owned(), Value::Array(rows));
                            map.insert(format!("{name}Count"), json!(count));
                        }
                    }
                    Scope::As => {
                        value[name] = Value::Array(rows);
                        value[format!("{name}Count")] = json!(count);
                    }
                    Scope::Link(index) => {
                        value[name][self.interface_name(index)] = Value::Array(rows);
                    }
                }
            }
        }
        value["areas"] = Value::Object(areas);
        value
    }

    fn row(&self, key: &LsaKey, entry: &Entry) -> Value {
        let header = entry.header(self.now);
        let mut value = json!({
            "lsId": key.id.to_string(),
            "advertisedRouter": key.advertising_router.to_string(),
            "lsaAge": header.seconds(),
            "sequenceNumber": format!("{:08x}", header.sequence),
            "checksum": format!("{:x}", header.checksum),
        });
        match &entry.body() {
            LsaBody::Router(router) => value["numOfRouterLinks"] = json!(router.links.len()),
            LsaBody::Summary { mask, .. } if key.kind == lsa_kind::SUMMARY_NETWORK => {
                value["summaryAddress"] = json!(network(key, *mask));
            }
            LsaBody::External { mask, type2, tag, .. } => {
                value["metricType"] = json!(if *type2 { "E2" } else { "E1" });
                value["route"] = json!(network(key, *mask));
                value["tag"] = json!(tag);
            }
            _ => {}
        }
        value
    }

    /// All LSAs of one type, in full.
    pub(super) fn lsas(&self, kind: u8, filter: Filter) -> String {
        self.render(|| self.lsas_text(kind, filter), || self.lsas_json(kind, filter))
    }

    fn lsas_text(&self, kind: u8, filter: Filter) -> String {
        let mut text = self.title();
        let Some((_, heading, type_name, ..)) = KINDS.iter().find(|found| found.0 == kind) else {
            return text;
        };
        let mut found = self.of_kind(kind);
        // Areas have their headings, whether they have such LSAs or not.
        if !matches!(kind, lsa_kind::EXTERNAL | lsa_kind::OPAQUE_AS | lsa_kind::OPAQUE_LINK) {
            let there: Vec<Scope> = found.iter().map(|(scope, _)| *scope).collect();
            let areas = self.engine.areas.keys().map(|area| Scope::Area(*area));
            found.extend(areas.filter(|scope| !there.contains(scope)).map(|scope| (scope, Vec::new())));
            found.sort_by_key(|(scope, _)| *scope);
        }
        for (scope, list) in found {
            let place = match scope {
                Scope::As => " ".to_owned(),
                scope => self.place(scope),
            };
            let _ = writeln!(text, "\n{:16}{heading}{place}\n", "");
            for (key, entry) in list.into_iter().filter(|(key, _)| filter.takes(key)) {
                let header = entry.header(self.now);
                let _ = writeln!(text, "  LS age: {}", header.seconds());
                let _ = writeln!(text, "  Options: 0x{:<2x} : {}", header.options, options(header.options));
                let note = if self.is_translated(key) { "(Translated from Type-7)" } else { "" };
                let _ = writeln!(text, "  LS Flags: 0x{:<2x} {note}", self.lsa_flags(key));
                if let LsaBody::Router(router) = &entry.body() {
                    let role = match router.flags & 3 {
                        0 => "",
                        1 => " : ABR",
                        2 => " : ASBR",
                        _ => " : ABR ASBR",
                    };
                    let _ = writeln!(text, "  Flags: 0x{:x}{role}", router.flags);
                }
                let _ = writeln!(text, "  LS Type: {type_name}");
                let note = match kind {
                    lsa_kind::NETWORK => " (address of Designated Router)",
                    lsa_kind::SUMMARY_NETWORK => " (summary Network Number)",
                    lsa_kind::SUMMARY_ASBR => " (AS Boundary Router address)",
                    lsa_kind::EXTERNAL => " (External Network Number)",
                    _ => " ",
                };
                let _ = writeln!(text, "  Link State ID: {}{note}", key.id);
                let _ = writeln!(text, "  Advertising Router: {}", key.advertising_router);
                let _ = writeln!(text, "  LS Seq Number: {:08x}", header.sequence);
                let _ = writeln!(text, "  Checksum: 0x{:04x}", header.checksum);
                let _ = writeln!(text, "  Length: {}\n", header.length);
                body_text(&mut text, key.id, &entry.body());
            }
        }
        text.push('\n');
        text
    }

    fn lsas_json(&self, kind: u8, filter: Filter) -> Value {
        let mut value = json!({ "routerId": self.engine.config.router_id.to_string() });
        let name = KINDS.iter().find(|found| found.0 == kind).map_or("", |found| found.3);
        let rows = |list: Vec<(&LsaKey, &Entry)>| -> Vec<Value> {
            let wanted = list.into_iter().filter(|(key, _)| filter.takes(key));
            wanted.map(|(key, entry)| self.lsa_json(key, entry)).collect()
        };
        if matches!(kind, lsa_kind::EXTERNAL | lsa_kind::OPAQUE_AS) {
            value[name] = self.of_kind(kind).into_iter().flat_map(|(_, list)| rows(list)).collect();
            return value;
        }
        let mut areas: BTreeMap<AreaId, Vec<Value>> =
            self.engine.areas.keys().map(|area| (*area, Vec::new())).collect();
        for (scope, list) in self.of_kind(kind) {
            if let Some(area) = self.area_of(scope) {
                areas.entry(area).or_default().extend(rows(list));
            }
        }
        let areas: Map<String, Value> =
            areas.into_iter().map(|(area, rows)| (area.to_string(), Value::Array(rows))).collect();
        value[name] = json!({ "areas": areas });
        value
    }

    /// The area that LSAs of a scope belong to; as FRR has it, those of a link to its area.
    fn area_of(&self, scope: Scope) -> Option<AreaId> {
        match scope {
            Scope::Area(area) => Some(area),
            Scope::Link(index) => Some(self.engine.interfaces.get(&index)?.config.area),
            Scope::As => None,
        }
    }

    /// What FRR keeps about an LSA beside it (OSPF_LSA_SELF and those that follow it there), so that scripts find it.
    fn lsa_flags(&self, key: &LsaKey) -> u32 {
        const SELF: u32 = 0x01;
        const CHECKED: u32 = 0x02;
        const RECEIVED: u32 = 0x04;
        const APPROVED: u32 = 0x08;
        const TRANSLATED: u32 = 0x20;
        if key.advertising_router != self.engine.config.router_id {
            return RECEIVED | CHECKED;
        }
        match key.kind {
            lsa_kind::ROUTER | lsa_kind::NETWORK => SELF | CHECKED,
            _ if self.is_translated(key) => SELF | CHECKED | APPROVED | TRANSLATED,
            _ => SELF | CHECKED | APPROVED,
        }
    }

    /// Whether it is a translation of ours: an external that we do not have ourselves.
    fn is_translated(&self, key: &LsaKey) -> bool {
        let own = key.kind == lsa_kind::EXTERNAL && key.advertising_router == self.engine.config.router_id;
        let body = self.engine.as_wide.get(key).filter(|_| own).map(Entry::body);
        let Some(LsaBody::External { mask, .. }) = body else { return false };
        let prefix_len = u8::try_from(u32::from(mask).leading_ones()).unwrap_or(32);
        !self.engine.external_routes.contains_key(&Destination::new(key.id, prefix_len))
    }

    /// One LSA in FRR's keys, its spelling among them.
    fn lsa_json(&self, key: &LsaKey, entry: &Entry) -> Value {
        let (header, body) = (entry.header(self.now), entry.body());
        let mut value = json!({
            "lsaAge": header.seconds(),
            "options": options(header.options),
            "lsaFlags": self.lsa_flags(key),
            "lsaType": KINDS.iter().find(|found| found.0 == key.kind).map_or("", |found| found.2),
            "linkStateId": key.id.to_string(),
            "advertisingRouter": key.advertising_router.to_string(),
            "lsaSeqNumber": format!("{:08x}", header.sequence),
            "checksum": format!("{:x}", header.checksum),
            "length": header.length,
        });
        if self.is_translated(key) {
            value["translatedFromType7"] = json!(true);
        }
        let bits = |mask: &Ipv4Addr| u32::from(*mask).leading_ones();
        let fields = match &body {
            LsaBody::Router(router) => router_json(router),
            LsaBody::Network { mask, routers } => {
                let router = |id: &Ipv4Addr| (id.to_string(), json!({ "attachedRouterId": id.to_string() }));
                let routers: Map<String, Value> = routers.iter().map(router).collect();
                json!({ "networkMask": bits(mask), "attchedRouters": routers })
            }
            LsaBody::Summary { mask, metric } => json!({ "networkMask": bits(mask), "tos0Metric": metric }),
            LsaBody::External { mask, type2, metric, forwarding, tag } => {
                let forward =
                    if key.kind == lsa_kind::NSSA { "nssaForwardAddress" } else { "forwardAddress" };
                json!({
                    "networkMask": bits(mask),
                    "metricType": if *type2 { "E2 (Larger than any link state path)" } else { "E1" },
                    "tos": 0,
                    "metric": metric,
                    forward: forwarding.to_string(),
                    "externalRouteTag": tag,
                })
            }
            LsaBody::Opaque(data) => json!({
                "opaqueType": opaque_name(key.id),
                "opaqueId": u32::from(key.id) & 0x00ff_ffff,
                "opaqueDataLength": data.len(),
                "opaqueDataLengthValid": data.len() % 4 == 0,
                "opaqueData": data.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
            }),
        };
        if let (Value::Object(all), Value::Object(fields)) = (&mut value, fields) {
            all.extend(fields);
        }
        value
    }
}

fn router_json(router: &RouterLsa) -> Value {
    let link = |(number, link): (usize, &RouterLink)| {
        let (kind, id, data) = match link.kind {
            RouterLink::POINT_TO_POINT => {
                ("another Router (point-to-point)", "neighborRouterId", "routerInterfaceAddress")
            }
            RouterLink::TRANSIT => ("a Transit Network", "designatedRouterAddress", "routerInterfaceAddress"),
            RouterLink::STUB => ("Stub Network", "networkAddress", "networkMask"),
            _ => ("a Virtual Link", "neighborRouterId", "routerInterfaceAddress"),
        };
        let value = json!({
            "linkType": kind, id: link.id.to_string(), data: link.data.to_string(),
            "numOfTosMetrics": 0, "tos0Metric": link.metric,
        });
        (format!("link{number}"), value)
    };
    let links: Map<String, Value> = router.links.iter().enumerate().map(link).collect();
    let mut value = json!({ "flags": router.flags, "numOfLinks": router.links.len(), "routerLinks": links });
    for (flag, name) in [(RouterLsa::BORDER, "abr"), (RouterLsa::BOUNDARY, "asbr")] {
        if router.flags & flag != 0 {
            value[name] = json!(true);
        }
    }
    value
}

/// The name of an opaque LSA's type, which its link state id begins with (IANA's registry).
fn opaque_name(id: Ipv4Addr) -> &'static str {
    match id.octets() {
        [1, ..] => "Traffic Engineering LSA",
        [2, ..] => "Sycamore Optical Topology Descriptions",
        [3, ..] => "Grace-LSA",
        [4, ..] => "Router Information LSA",
        [6, ..] => "Inter-AS TE-v2 LSA",
        [7, ..] => "Extended Prefix Opaque LSA",
        [8, ..] => "Extended Link Opaque LSA",
        [0, ..] => "Reserved",
        _ => "Unassigned",
    }
}

/// The destination of an LSA; the link state id may have bits of the host set (RFC 2328 appendix E).
fn network(key: &LsaKey, mask: Ipv4Addr) -> String {
    format!("{}/{}", key.id & mask, u32::from(mask).leading_ones())
}

/// The last column of the summary.
fn tail(key: &LsaKey, entry: &Entry) -> String {
    match &entry.body() {
        LsaBody::Router(router) => format!(" {}", router.links.len()),
        LsaBody::Summary { mask, .. } if key.kind == lsa_kind::SUMMARY_NETWORK => {
            format!(" {}", network(key, *mask))
        }
        LsaBody::External { mask, type2, tag, .. } => {
            let kind = if *type2 { "E2" } else { "E1" };
            format!(" {kind} {} [0x{tag:x}]", network(key, *mask))
        }
        _ => String::new(),
    }
}

fn body_text(text: &mut String, id: Ipv4Addr, body: &LsaBody) {
    let bits = |mask: &Ipv4Addr| u32::from(*mask).leading_ones();
    let _ = match body {
        LsaBody::Router(router) => {
            let _ = writeln!(text, "   Number of Links: {}\n", router.links.len());
            for link in &router.links {
                link_text(text, link);
            }
            Ok(())
        }
        LsaBody::Network { mask, routers } => {
            let _ = writeln!(text, "  Network Mask: /{}", bits(mask));
            for router in routers {
                let _ = writeln!(text, "        Attached Router: {router}");
            }
            writeln!(text)
        }
        LsaBody::Summary { mask, metric } => {
            writeln!(text, "  Network Mask: /{}\n        TOS: 0  Metric: {metric}\n", bits(mask))
        }
        LsaBody::External { mask, type2, metric, forwarding, tag } => {
            let kind = if *type2 { "2 (Larger than any link state path)" } else { "1" };
            writeln!(
                text,
                "  Network Mask: /{}\n        Metric Type: {kind}\n        TOS: 0\n        Metric: {metric}\n        \
                 Forward Address: {forwarding}\n        External Route Tag: {tag}\n",
                bits(mask)
            )
        }
        LsaBody::Opaque(data) => writeln!(
            text,
            "  Opaque-Type {} ({})\n  Opaque-ID   0x{:x}\n  Opaque-Info: {} octets of data\n",
            id.octets()[0],
            opaque_name(id),
            u32::from(id) & 0x00ff_ffff,
            data.len()
        ),
    };
}

fn link_text(text: &mut String, link: &RouterLink) {
    let (kind, id, data) = match link.kind {
        RouterLink::POINT_TO_POINT => {
            ("another Router (point-to-point)", "Neighboring Router ID", "Router Interface address")
        }
        RouterLink::TRANSIT => ("a Transit Network", "Designated Router address", "Router Interface address"),
        RouterLink::STUB => ("Stub Network", "Net", "Network Mask"),
        _ => ("a Virtual Link", "Neighboring Router ID", "Router Interface address"),
    };
    let _ = write!(
        text,
        "    Link connected to: {kind}\n     (Link ID) {id}: {}\n     (Link Data) {data}: {}\n      Number of TOS metrics: \
         0\n       TOS 0 Metric: {}\n\n",
        link.id, link.data, link.metric
    );
}
