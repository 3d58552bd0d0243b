//! The operating system: TUN, raw sockets, netlink, namespaces, privileges. All unsafe code but that of
//! coati-crypto's `modexp`.
//!
//! Everything here hands out descriptors that a `poll(2)` loop can wait for, and does one system call's work at a
//! time; what to do with it is decided elsewhere. Linux and FreeBSD have a folder each, with the same names in it.

#![deny(missing_docs)]

#[cfg(target_os = "freebsd")]
mod freebsd;
#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "freebsd")]
use freebsd as system;
#[cfg(target_os = "linux")]
use linux as system;

pub use system::*;

pub mod accounts;
mod links;
pub mod pfkey;
pub mod process;
mod wire;

#[cfg(test)]
mod freebsd_numbers;
