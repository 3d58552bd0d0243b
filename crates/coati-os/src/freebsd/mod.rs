//! FreeBSD: kqueue, if_gre, TUN, routing sockets. Structures and numbers are held against FreeBSD's own headers by
//! `cargo xtask freebsd`; nothing of this folder has run on a FreeBSD yet (docs/freebsd.md says how to).

pub mod group;
mod interface;
pub mod keepalive;
pub mod namespace;
pub mod netlink;
pub mod numbers;
pub mod raw;
pub mod tun;
pub mod xfrm;

use std::ffi::CStr;
use std::io;

/// PF_KEY's structures here.
pub const PF_KEY_LAYOUT: coati_wire::pfkey::Layout = coati_wire::pfkey::Layout::FreeBsd;
/// What to do when there are no sockets of the kind.
pub const PF_KEY_MODULE: &str = "load the kernel's module: kldload ipsec";
const FORWARDING: &CStr = c"net.inet.ip.forwarding";
/// `PF_KEY`.
pub(crate) const PF_KEY: i32 = numbers::PF_KEY as i32;

/// Has the kernel forward packets of IPv4 (`gateway_enable`), and of IPv6 where that is wanted.
pub fn forward_packets(v6: bool) -> io::Result<()> {
    let set = |name: &CStr| {
        let on: libc::c_int = 1;
        // SAFETY: the name ends with 0, the new value is an int of the length given, and no old one is asked for.
        let result = unsafe {
            libc::sysctlbyname(
                name.as_ptr(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                std::ptr::from_ref(&on).cast(),
                size_of::<libc::c_int>(),
            )
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    };
    set(FORWARDING)?;
    if v6 { set(c"net.inet6.ip6.forwarding") } else { Ok(()) }
}

/// Whether the kernel forwards packets of IPv4 already.
pub fn forwards_packets() -> io::Result<bool> {
    setting(FORWARDING).map(|value| value != 0)
}

/// Linux' strict check of sources is a matter of the packet filter here (`antispoof`, `verrevpath`), which is not asked.
pub fn is_strict_about_sources() -> bool {
    false
}

/// A number that the kernel has under this name (sysctl(3)).
pub(crate) fn setting(name: &CStr) -> io::Result<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>();
    // SAFETY: the name ends with 0, there is room for an int and its length says so, and no new value is given.
    let result = unsafe {
        libc::sysctlbyname(
            name.as_ptr(),
            std::ptr::from_mut(&mut value).cast(),
            &raw mut length,
            std::ptr::null(),
            0,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(value) }
}

/// Becoming another user would take the right to change routes: FreeBSD has no capabilities that could stay.
pub(crate) fn confine(_user: u32, _group: u32) -> io::Result<()> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "FreeBSD cannot leave a daemon its routes: remove privsep",
    ))
}

/// Nobody but root may look into this process (procctl(2)).
pub(crate) fn forbid_a_look() {
    let mut disable = libc::PROC_TRACE_CTL_DISABLE;
    // SAFETY: PROC_TRACE_CTL takes a pointer to an int, for this process (0).
    unsafe { libc::procctl(libc::P_PID, 0, libc::PROC_TRACE_CTL, (&raw mut disable).cast()) };
}

/// This process is ended when its parent is.
pub(crate) fn die_with_parent() {
    let mut signal = libc::SIGKILL;
    // SAFETY: PROC_PDEATHSIG_CTL takes a pointer to an int, for this process (0).
    unsafe { libc::procctl(libc::P_PID, 0, libc::PROC_PDEATHSIG_CTL, (&raw mut signal).cast()) };
}
