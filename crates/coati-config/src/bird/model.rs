//! What a bird.conf says, in BIRD's words and with its defaults.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use coati_sadb::{Prefix, Secret};

use super::reader::Piece;
use crate::diagnostic::Span;

/// The file.
#[derive(Debug, Default)]
pub(super) struct BirdConf<'a> {
    pub(super) router_id: Option<Ipv4Addr>,
    /// `router id from …`.
    pub(super) router_id_from: Option<Span>,
    pub(super) ospf: Option<Ospf<'a>>,
    pub(super) statics: Vec<Static<'a>>,
    pub(super) directs: Vec<Direct<'a>>,
    pub(super) kernels: Vec<Kernel<'a>>,
    /// Interfaces of `protocol bfd` and their times; none when there is no such protocol.
    pub(super) bfd: Option<Vec<(Vec<Pattern<'a>>, BfdTimes)>>,
    pub(super) filters: BTreeMap<&'a str, Piece>,
}

/// `protocol ospf`.
#[derive(Debug)]
pub(super) struct Ospf<'a> {
    pub(super) span: Span,
    pub(super) router_id: Option<Ipv4Addr>,
    pub(super) channel: Channel<'a>,
    pub(super) rfc1583: bool,
    pub(super) stub_router: bool,
    /// In seconds.
    pub(super) tick: u32,
    /// Paths at the most.
    pub(super) ecmp: u16,
    pub(super) merge_external: bool,
    pub(super) graceful_restart: bool,
    /// In seconds.
    pub(super) grace_period: u32,
    pub(super) graceful_restart_helper: bool,
    pub(super) areas: Vec<Area<'a>>,
}

/// `ipv4 { … }` of a protocol.
#[derive(Clone, Copy, Debug)]
pub(super) struct Channel<'a> {
    pub(super) import: Policy,
    pub(super) export: Policy,
    pub(super) table: &'a str,
    /// What the protocol's routes have when it is said; of several to a destination that with the largest is used.
    pub(super) preference: Option<u32>,
    pub(super) span: Span,
}

impl Channel<'_> {
    /// BIRD's table of IPv4 routes when nothing is said.
    pub(super) const MAIN: &'static str = "master4";

    pub(super) fn new(span: Span) -> Self {
        Self { import: Policy::All, export: Policy::None, table: Self::MAIN, preference: None, span }
    }
}

/// What passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    All,
    None,
    /// `where …`.
    Where(Piece, Span),
    /// `filter { … }`.
    Filter(Piece, Span),
}

/// `area N`.
#[derive(Debug)]
pub(super) struct Area<'a> {
    pub(super) id: Ipv4Addr,
    pub(super) span: Span,
    pub(super) stub: bool,
    pub(super) nssa: bool,
    pub(super) summary: bool,
    pub(super) default_nssa: bool,
    pub(super) default_cost: u32,
    pub(super) default_cost2: Option<u32>,
    pub(super) translator: bool,
    /// And whether they are hidden.
    pub(super) networks: Vec<(Prefix, bool)>,
    pub(super) external: Vec<(Prefix, bool)>,
    pub(super) interfaces: Vec<Interface<'a>>,
    pub(super) virtual_links: Vec<(Ipv4Addr, Interface<'a>)>,
}

/// `interface …`, `virtual link …`. Times are in seconds.
#[derive(Debug)]
pub(super) struct Interface<'a> {
    pub(super) span: Span,
    pub(super) patterns: Vec<Pattern<'a>>,
    pub(super) cost: u16,
    pub(super) stub: bool,
    pub(super) hello: u32,
    pub(super) poll: u32,
    pub(super) retransmit: u32,
    pub(super) transmit_delay: u32,
    pub(super) priority: u8,
    pub(super) wait: Option<(u32, Span)>,
    pub(super) dead_count: u32,
    pub(super) dead: Option<u32>,
    pub(super) kind: Option<Kind>,
    /// `ttl security`: how many routers packets may have crossed.
    pub(super) hops: Option<u8>,
    pub(super) bfd: Option<Span>,
    pub(super) authentication: Authentication,
    pub(super) passwords: Vec<Password>,
    pub(super) neighbours: Vec<(Ipv4Addr, bool)>,
}

impl Interface<'_> {
    pub(super) fn new(span: Span) -> Self {
        Self {
            span,
            patterns: Vec::new(),
            cost: 10,
            stub: false,
            hello: 10,
            poll: 20,
            retransmit: 5,
            transmit_delay: 1,
            priority: 1,
            wait: None,
            dead_count: 4,
            dead: None,
            kind: None,
            hops: None,
            bfd: None,
            authentication: Authentication::None,
            passwords: Vec::new(),
            neighbours: Vec::new(),
        }
    }

    pub(super) fn dead_interval(&self) -> u32 {
        self.dead.unwrap_or_else(|| self.dead_count.saturating_mul(self.hello))
    }
}

/// `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Broadcast,
    NonBroadcast,
    PointToPoint,
    PointToMultipoint,
}

/// `authentication`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Authentication {
    None,
    Simple,
    Cryptographic,
}

/// `password`. Times are as they are written.
#[derive(Debug)]
pub(super) struct Password {
    pub(super) span: Span,
    pub(super) secret: Secret,
    pub(super) id: u8,
    /// In the words of ospfd.conf.
    pub(super) algorithm: &'static str,
    pub(super) generate: (Option<Moment>, Option<Moment>),
    pub(super) accept: (Option<Moment>, Option<Moment>),
}

/// Year, month, day, hour, minute, second.
pub(super) type Moment = [u16; 6];

/// One of the patterns of a list.
#[derive(Clone, Debug)]
pub(super) struct Pattern<'a> {
    /// Without `-` before it.
    pub(super) positive: bool,
    pub(super) name: Option<(&'a str, Span)>,
    pub(super) prefix: Option<Prefix>,
}

/// `protocol static`.
#[derive(Debug)]
pub(super) struct Static<'a> {
    pub(super) name: String,
    pub(super) span: Span,
    pub(super) channel: Channel<'a>,
    pub(super) routes: Vec<StaticRoute>,
}

/// `route …`.
#[derive(Debug)]
pub(super) struct StaticRoute {
    pub(super) prefix: Prefix,
    /// What is behind the network in `ip route`, a line for each next hop.
    pub(super) hops: Vec<String>,
    /// Where it has one of its own.
    pub(super) preference: Option<u32>,
    pub(super) span: Span,
}

/// `protocol direct`.
#[derive(Debug)]
pub(super) struct Direct<'a> {
    pub(super) name: String,
    pub(super) patterns: Vec<Pattern<'a>>,
}

/// `protocol kernel`.
#[derive(Debug)]
pub(super) struct Kernel<'a> {
    pub(super) name: String,
    pub(super) learn: bool,
    pub(super) channel: Channel<'a>,
}

/// How often packets of BFD go, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BfdTimes {
    pub(super) multiplier: u8,
    pub(super) receive: u32,
    pub(super) transmit: u32,
}

impl Default for BfdTimes {
    fn default() -> Self {
        Self { multiplier: 5, receive: 10, transmit: 100 }
    }
}
