//! Linux.

pub mod accounts;
pub mod group;
pub mod keepalive;
pub mod namespace;
pub mod netlink;
mod offload;
pub mod process;
pub mod raw;
pub mod tun;
pub mod xfrm;

/// PF_KEY's structures here.
pub const PF_KEY_LAYOUT: coati_wire::pfkey::Layout = coati_wire::pfkey::Layout::Linux;
/// What to do when there are no sockets of the kind.
pub const PF_KEY_MODULE: &str = "load the kernel's module af_key";
/// `AF_KEY`.
pub(crate) const PF_KEY: i32 = libc::AF_KEY;
