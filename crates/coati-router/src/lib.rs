//! One router, sans-IO: IKE, OSPF and routes composed as control, and the forwarder of packet batches.
//!
//! * [`Plane`] is the control side of the embedded data plane: SPD, SAD, tunnels, packets that wait for an SA.
//! * [`Forwarder`] is its fast side: batches in, batches out, over an immutable snapshot.
//!
//! The daemon's threads and the simulator run the same ones; there is no second packet path.

#![forbid(unsafe_code)]

pub mod admin;
mod forwarder;
mod plane;

pub use forwarder::{Arrival, Forwarder, Tables, Tunnel};
pub use plane::{Plane, PlaneEvent};
