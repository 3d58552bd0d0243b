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

pub(crate) use confined::{confine, die_with_parent, forbid_a_look};

/// PF_KEY's structures here.
pub const PF_KEY_LAYOUT: coati_wire::pfkey::Layout = coati_wire::pfkey::Layout::Linux;
/// What to do when there are no sockets of the kind.
pub const PF_KEY_MODULE: &str = "load the kernel's module af_key";
/// `AF_KEY`.
pub(crate) const PF_KEY: i32 = libc::AF_KEY;

/// Has the kernel forward packets of IPv4 (`gateway_enable`), and of IPv6 where that is wanted.
pub fn forward_packets(v6: bool) -> std::io::Result<()> {
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
    if v6 { std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1") } else { Ok(()) }
}
