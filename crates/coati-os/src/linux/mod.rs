//! Linux.

pub mod accounts;
pub mod group;
pub mod namespace;
pub mod netlink;
mod offload;
pub mod process;
pub mod raw;
pub mod tun;
pub mod xfrm;
