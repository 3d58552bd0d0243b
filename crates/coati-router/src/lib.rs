//! One router, sans-IO: IKE, OSPF and routes composed as control, and the forwarder of packet batches.
//!
//! * [`Control`] is the control plane: it is handed datagrams, interface news and the time, and returns
//!   [`Output`]s: datagrams to send, requests for the data plane, routes for the kernel, events for people.
//! * [`Plane`] is the control side of the embedded data plane: SPD, SAD, tunnels, packets that wait for an SA.
//! * [`Forwarder`] is its fast side: batches in, batches out, over an immutable snapshot.
//!
//! The daemon's threads and the simulator run these same three; there is no second packet path.

#![forbid(unsafe_code)]

pub mod admin;
