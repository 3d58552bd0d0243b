//! Linux.

mod confined;
pub mod group;
pub mod keepalive;
pub mod namespace;
pub mod netlink;
mod offload;
pub mod raw;
pub mod tun;
pub mod xfrm;

use std::fs;
use std::io;

pub(crate) use confined::{confine, die_with_parent, forbid_a_look};

const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

/// PF_KEY's structures here.
pub const PF_KEY_LAYOUT: coati_wire::pfkey::Layout = coati_wire::pfkey::Layout::Linux;
/// What to do when there are no sockets of the kind.
pub const PF_KEY_MODULE: &str = "load the kernel's module af_key";
/// `AF_KEY`.
pub(crate) const PF_KEY: i32 = libc::AF_KEY;

/// Has the kernel forward packets of IPv4 (`gateway_enable`), and of IPv6 where that is wanted.
pub fn forward_packets(v6: bool) -> io::Result<()> {
    fs::write(FORWARDING, "1")?;
    if v6 { fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1") } else { Ok(()) }
}

/// Whether the kernel forwards packets of IPv4 already.
pub fn forwards_packets() -> io::Result<bool> {
    Ok(fs::read_to_string(FORWARDING)?.trim() == "1")
}

/// Whether what comes in where the way back does not lead is dropped on all interfaces (`rp_filter` is 1).
pub fn is_strict_about_sources() -> bool {
    fs::read_to_string("/proc/sys/net/ipv4/conf/all/rp_filter").is_ok_and(|value| value.trim() == "1")
}
