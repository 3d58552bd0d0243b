//! An IPsec kernel as a library, sans-IO: SPD, SAD, ESP, AH and IPComp transforms, replay window, lifetimes.
//!
//! [`Sadb`] is the control side, with a single owner: it answers PF_KEY's requests, keeps time and packets that
//! wait. Whenever something changed it makes a new [`Snapshot`], which the threads that carry packets read without
//! locks: only sequence numbers and counters (atomics) and each SA's replay window (a mutex of its own) change in it.

#![forbid(unsafe_code)]

mod ah;
mod counters;
mod esp;
mod ipcomp;
pub mod mtu;
mod packet;
mod path;
mod replay;
mod sadb;
mod shared_map;
mod snapshot;
pub mod tunnel;
#[cfg(test)]
mod vectors;

pub use counters::{Counters, Drop};
pub use packet::{HEADROOM, Packet};
pub use replay::ReplayWindow;
pub use sadb::Sadb;
pub use snapshot::{Inbound, NON_IKE_MARKER, Outbound, Snapshot};
