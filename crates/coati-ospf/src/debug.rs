//! What is told for finding faults, when somebody wants to hear it: packets as they come and go, LSAs, elections,
//! computations of paths.

use std::fmt::Write;
use std::net::Ipv4Addr;

use coati_wire::ospf::{DatabaseDescription, Header, Lsa, LsaBody, LsaHeader, LsaKey, Packet, RouterLink};

use crate::engine::{Engine, Event};
use crate::show::lsa_name;

/// What is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Debug {
    /// Packets that are sent, by type: bit 1 is hellos.
    pub sent: u8,
    /// Those that have come, and why they were dropped.
    pub received: u8,
    /// Those that are told with what is in their LSAs.
    pub detail: u8,
    /// What somebody outside of OSPF has told it.
    pub event: bool,
    /// Elections, and moves of the interfaces' machines.
    pub interface: bool,
    /// What makes the neighbours' machines move.
    pub neighbour: bool,
    /// LSAs that are originated, installed and taken out.
    pub lsa: bool,
    /// Computations of paths.
    pub spf: bool,
}

impl Engine {
    /// From now on this is told.
    pub fn set_debug(&mut self, debug: Debug) {
        self.debug = debug;
    }

    /// Tells something, when it is wanted.
    pub(crate) fn tell(&mut self, wanted: impl Fn(&Debug) -> bool, text: impl FnOnce(&Self) -> String) {
        if wanted(&self.debug) {
            let text = text(self);
            self.events.push_back(Event::Debug(text));
        }
    }

    /// A packet that has come.
    pub(crate) fn tell_received(&mut self, index: u32, source: Ipv4Addr, header: &Header, packet: &Packet) {
        let bit = bit(packet);
        self.tell(
            |debug| debug.received & bit != 0,
            |engine| {
                let way = format!("RECV {} from {source} on {}", name(packet), engine.interface_name(index));
                way + &told(header, packet, engine.debug.detail & bit != 0)
            },
        );
    }

    /// A packet that leaves, as bytes.
    pub(crate) fn tell_sent(&mut self, index: u32, destination: Ipv4Addr, payload: &[u8]) {
        if self.debug.sent == 0 {
            return;
        }
        let Ok((header, packet)) = Packet::parse(payload) else { return };
        let bit = bit(&packet);
        self.tell(
            |debug| debug.sent & bit != 0,
            |engine| {
                let way =
                    format!("SEND {} to {destination} on {}", name(&packet), engine.interface_name(index));
                way + &told(&header, &packet, engine.debug.detail & bit != 0)
            },
        );
    }

    pub(crate) fn interface_name(&self, index: u32) -> &str {
        self.interfaces.get(&index).map_or("?", |interface| interface.link.name.as_str())
    }
}

fn bit(packet: &Packet) -> u8 {
    1 << match packet {
        Packet::Hello(_) => 1,
        Packet::DatabaseDescription(_) => 2,
        Packet::LinkStateRequest(_) => 3,
        Packet::LinkStateUpdate { .. } => 4,
        Packet::LinkStateAck(_) => 5,
    }
}

fn name(packet: &Packet) -> &'static str {
    match packet {
        Packet::Hello(_) => "Hello",
        Packet::DatabaseDescription(_) => "Database Description",
        Packet::LinkStateRequest(_) => "Link State Request",
        Packet::LinkStateUpdate { .. } => "Link State Update",
        Packet::LinkStateAck(_) => "Link State Acknowledgment",
    }
}

/// An LSA by its key: `router 10.0.0.1 of 10.0.0.1`.
pub(crate) fn key(key: &LsaKey) -> String {
    format!("{} {} of {}", lsa_name(key.kind), key.id, key.advertising_router)
}

fn header_of(header: &LsaHeader) -> String {
    format!(
        "{} age {} seq 0x{:08x} checksum 0x{:04x} length {}",
        key(&header.key),
        header.age,
        header.sequence,
        header.checksum,
        header.length
    )
}

/// What a packet says, one thing a line.
fn told(header: &Header, packet: &Packet, detail: bool) -> String {
    let mut text = format!(" (router id {}, area {}): ", header.router_id, header.area);
    // Writing to a string cannot fail.
    let _ = match packet {
        Packet::Hello(hello) => write!(
            text,
            "mask {} hello {} dead {} priority {} options 0x{:02x} dr {} bdr {} neighbors [{}]",
            hello.mask,
            hello.hello_interval,
            hello.dead_interval,
            hello.priority,
            hello.options,
            hello.designated,
            hello.backup,
            list(hello.neighbours.iter())
        ),
        Packet::DatabaseDescription(description) => {
            let flags = description.flags;
            let flag = |bit: u8, name: &'static str| if flags & bit != 0 { name } else { "-" };
            let _ = write!(
                text,
                "mtu {} options 0x{:02x} flags {}{}{} seq 0x{:08x}, {} LSAs",
                description.mtu,
                description.options,
                flag(DatabaseDescription::INIT, "I"),
                flag(DatabaseDescription::MORE, "M"),
                flag(DatabaseDescription::MASTER, "S"),
                description.sequence,
                description.headers.len()
            );
            headers(&mut text, &description.headers, detail)
        }
        Packet::LinkStateRequest(keys) => {
            let _ = write!(text, "{} LSAs", keys.len());
            keys.iter().filter(|_| detail).try_for_each(|one| write!(text, "\n  {}", key(one)))
        }
        Packet::LinkStateUpdate { lsas, bad } => {
            let _ = write!(text, "{} LSAs", lsas.len() + bad.len());
            let _ = bad.iter().try_for_each(|error| write!(text, "\n  not taken: {error}"));
            lsas.iter().try_for_each(|lsa| {
                write!(text, "\n  {}", header_of(&lsa.header))?;
                if detail { write!(text, "{}", body(lsa)) } else { Ok(()) }
            })
        }
        Packet::LinkStateAck(list) => {
            let _ = write!(text, "{} LSAs", list.len());
            headers(&mut text, list, detail)
        }
    };
    text
}

fn headers(text: &mut String, list: &[LsaHeader], detail: bool) -> std::fmt::Result {
    list.iter().filter(|_| detail).try_for_each(|header| write!(text, "\n  {}", header_of(header)))
}

fn list<T: ToString>(items: impl Iterator<Item = T>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(" ")
}

/// What is in an LSA, one thing a line.
fn body(lsa: &Lsa) -> String {
    let line = |text: String| format!("\n    {text}");
    match &lsa.body {
        LsaBody::Router(router) => {
            let kind = |link: &RouterLink| match link.kind {
                RouterLink::POINT_TO_POINT => "point-to-point",
                RouterLink::TRANSIT => "transit",
                RouterLink::STUB => "stub",
                RouterLink::VIRTUAL => "virtual",
                _ => "unknown",
            };
            let links = router.links.iter().map(|link| {
                line(format!("{} id {} data {} metric {}", kind(link), link.id, link.data, link.metric))
            });
            line(format!("flags 0x{:02x}", router.flags)) + &links.collect::<String>()
        }
        LsaBody::Network { mask, routers } => line(format!("mask {mask} routers [{}]", list(routers.iter()))),
        LsaBody::Summary { mask, metric } => line(format!("mask {mask} metric {metric}")),
        LsaBody::External { mask, type2, metric, forwarding, tag } => {
            let kind = if *type2 { "E2" } else { "E1" };
            line(format!("mask {mask} {kind} metric {metric} forwarding {forwarding} tag {tag}"))
        }
        LsaBody::Opaque(data) => line(format!("{} bytes", data.len())),
    }
}
