//! A network of routers in virtual time: loss, delay, reordering, cuts, restarts, and a seed to replay a failure.
//!
//! The routers are the ones of the daemon: the same [`coati_router::Control`], the same
//! [`coati_router::Forwarder`], fed with packets that a simulated internet carries. Nothing waits in real time, and
//! everything that is random comes from one seed.

#![forbid(unsafe_code)]

pub mod nat;
pub mod pcap;
mod router;
pub mod trial;
mod world;

pub use router::Router;
pub use world::{Conditions, Record, World};
