//! Bidirectional Forwarding Detection in asynchronous mode over one hop (RFC 5880, RFC 5881), sans-IO: whether packets
//! get through to a neighbour and back, in fractions of a second.
//!
//! The owner says with whom ([`Engine::set_sessions`]), gives it what arrives at UDP port 3784, its clock, and carries
//! out what [`Engine::poll_transmit`] and [`Engine::poll_event`] say.

#![forbid(unsafe_code)]

mod engine;
mod session;
mod show;
#[cfg(test)]
mod tests;

pub use coati_wire::bfd::{Diagnostic, State};
pub use engine::{Ends, Engine, Event, Input, Transmit, Wanted};
pub use session::Times;
