//! The vocabulary between the planes, PF_KEYv2's (RFC 2367 and the KAME extensions), as plain types.
//!
//! The control plane (IKE, `setkey`) speaks [`Request`]s; whoever holds the SPD and the SAD (our embedded data
//! plane, the Linux kernel, the FreeBSD kernel) answers with [`Reply`]s and volunteers [`Notification`]s.
//! Nothing here knows bytes on a wire or in a socket; nothing here does I/O.

#![forbid(unsafe_code)]

mod algorithm;
mod home;
mod message;
mod policy;
mod sa;
mod secret;
mod selector;

pub use algorithm::{AuthAlgorithm, EncAlgorithm};
pub use home::{Changes, Home};
pub use message::{Acquire, Expire, Notification, Refusal, Reply, Request};
pub use policy::{Action, Bundle, Direction, Level, Policy, PolicyId, Priority, Rule};
pub use sa::{Lifetime, Mode, NatT, Offload, ReqId, Sa, SaId, SaProto, SaState, Spi, Usage};
pub use secret::Secret;
pub use selector::{Port, Prefix, PrefixError, Selector, Upper};
