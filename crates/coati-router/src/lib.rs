//! One router, sans-IO: IKE, OSPF and routes composed as control, and the forwarder of packet batches.
//!
//! * [`Control`] is the control plane: the data plane's databases, IKE and OSPF, and what they tell each other.
//! * [`Plane`] is the control side of the data plane: SPD, SAD, tunnels, packets that wait for an SA; or a kernel's.
//! * [`Forwarder`] is its fast side: batches in, batches out, over an immutable snapshot.
//!
//! The daemon's threads and the simulator run the same ones; there is no second packet path.

#![forbid(unsafe_code)]

pub mod admin;
mod control;
mod credentials;
mod events;
mod forwarder;
mod ike_config;
mod inside;
mod ospf_config;
mod plane;
mod routes;

pub use control::{Control, ControlEvent, Now, Reloaded};
pub use credentials::credentials_remarks;
pub use events::event_status;
pub use forwarder::{Arrival, Aside, Forwarder, Tables, Tunnel, keepalive};
pub use inside::{INSIDE, InsideRoute, inside_mtu, inside_routes, needs_inside, tunnel_ends};
pub use ospf_config::SystemRoute;
pub use plane::{Plane, PlaneEvent, statements_remarks};
pub use routes::{KernelRoute, RouteOrigin};
