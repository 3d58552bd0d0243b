//! The OSPFv2 engine (RFC 2328), sans-IO: hello, adjacencies, flooding, link state database, shortest paths, routes.
//!
//! [`Engine`] has no socket, no clock and no thread: interfaces, packets and time are handed in; packets, routes and
//! events are carried away. The rooms are the chapters of the RFC:
//!
//! | file | what | section |
//! |------|------|---------|
//! | `interface` | interfaces and their machine | 9 |
//! | `hello` | the hello protocol | 9.5, 10.5 |
//! | `election` | designated router and backup | 9.4 |
//! | `auth` | authentication | D, RFC 5709, RFC 7474 |
//! | `neighbour` | the neighbour machine | 10 |
//! | `exchange` | database description, requests | 10.6 to 10.9 |
//! | `flood` | updates, acknowledgements, retransmission | 13 |
//! | `lsdb` | the database and its ageing | 12.2, 14 |
//! | `area` | each area's database, graph and paths | 6 |
//! | `originate` | own LSAs, refresh, what is fought back | 12.4, 13.4 |
//! | `router_lsa` | what router and network LSAs say | 12.4.1, 12.4.2 |
//! | `summary` | what areas hear of each other | 12.4.3 |
//! | `external` | destinations outside, NSSAs | 12.4.4, RFC 3101 |
//! | `virtual_link` | virtual links | 15 |
//! | `restart` | graceful restarts, ours and neighbours' | RFC 3623 |
//! | `memory` | what outlives the program, and greets old neighbours | |
//! | `graph`, `spf` | shortest paths | 16.1 |
//! | `route` | routes | 16.2 to 16.6 |
//! | `damping` | neighbours that are lost again and again | |
//! | `debug` | what is told for finding faults | |
//! | `show` | what an operator sees, in FRR's forms | |
//!
//! Where the RFC waits seconds for no gain, [`Deviations`] says what is done instead, and switches it off.

#![forbid(unsafe_code)]

mod aggregate;
mod area;
mod auth;
mod config;
mod damping;
mod debug;
mod election;
mod engine;
mod exchange;
mod external;
mod flood;
mod graph;
mod hello;
mod interface;
mod interfaces;
mod lsdb;
mod memory;
mod neighbour;
mod originate;
mod path;
mod reconfigure;
mod restart;
mod route;
mod router_lsa;
pub mod show;
mod spf;
mod spf_clock;
mod summary;
mod virtual_link;

pub use auth::{Authentication, HeardNumbers, Key, KeyAlgorithm, Lifetime, Secret};
pub use config::{
    AreaConfig, AreaId, AreaKind, BACKBONE, BorderRule, Config, Deviations, ExternalRange, ExternalRoute,
    Filter, FilterRule, InterfaceConfig, LsaTimes, NetworkType, Nssa, Range, RouterId, SpfBackoff, SpfTimes,
    StaticNeighbour, StubRouter, Translate,
};
pub use debug::Debug;
pub use engine::{Engine, Event, Input, NeighbourInfo, Transmit};
pub use interface::{InterfaceState, Link};
pub use lsdb::{Scope, densely};
pub use memory::{Memory, Remembered};
pub use neighbour::State;
pub use route::{Route, RouteKind, RouterRoute};
pub use spf::NextHop;

#[cfg(test)]
mod tests;
