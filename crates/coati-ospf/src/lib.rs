//! The OSPFv2 engine (RFC 2328), sans-IO: hello, adjacencies, flooding, link state database, shortest paths, routes.
//!
//! [`Engine`] has no socket, no clock and no thread: interfaces, packets and time are handed in; packets, routes and
//! events are carried away. Point-to-point interfaces form adjacencies; every other one is advertised as a stub
//! network. The rooms are the chapters of the RFC:
//!
//! | file | what | section |
//! |------|------|---------|
//! | `interface` | interfaces and the hello protocol | 9, 10.5 |
//! | `neighbour` | the neighbour machine | 10 |
//! | `exchange` | database description, requests | 10.6 to 10.9 |
//! | `flood` | updates, acknowledgements, retransmission | 13 |
//! | `lsdb` | the database and its ageing | 12.2, 14 |
//! | `originate` | own LSAs, refresh, what is fought back | 12.4, 13.4 |
//! | `spf` | shortest paths and routes | 16 |
//! | `show` | what an operator sees, in FRR's forms | |
//!
//! Where the RFC waits seconds for no gain, [`Deviations`] says what is done instead, and switches it off.

#![forbid(unsafe_code)]

mod config;
mod engine;
mod exchange;
mod flood;
mod interface;
mod lsdb;
mod neighbour;
mod originate;
pub mod show;
pub mod spf;

pub use config::{Config, Deviations, InterfaceConfig};
pub use engine::{Engine, Event, NeighbourInfo, Transmit};
pub use interface::Link;
pub use neighbour::State;
pub use spf::{NextHop, Route, RouteKind};

#[cfg(test)]
mod tests;
