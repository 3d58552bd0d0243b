//! Linux.

pub mod namespace;
pub mod netlink;
pub mod process;
pub mod raw;
pub mod tun;
