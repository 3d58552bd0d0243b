//! The operating system: TUN, raw sockets, netlink, namespaces, privileges. All unsafe code but that of
//! coati-crypto's `modexp`.
//!
//! Everything here hands out descriptors that a `poll(2)` loop can wait for, and does one system call's work at a
//! time; what to do with it is decided elsewhere. Linux today; another system gets a folder of its own.

#![deny(missing_docs)]

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub use linux::*;

pub mod pfkey;
