//! Packet formats and nothing else: checked views and owned representations of every header.
//!
//! Every format is the pair known from smoltcp: a view over bytes that was checked once, and a representation
//! (`Repr`) that is parsed from it and emitted again. No state, no I/O, no panic on any input.

#![forbid(unsafe_code)]

pub mod adminport;
pub mod ah;
pub mod bfd;
pub mod checksum;
mod error;
pub mod esp;
pub mod gre;
pub mod icmp;
pub mod ip;
pub mod ipcomp;
pub mod ipv4;
pub mod ipv6;
pub mod isakmp;
pub mod ospf;
pub mod pf_route;
pub mod pfkey;
pub mod tcp;
pub mod too_big;
pub mod udp;
pub mod xfrm;

pub use error::WireError;
