//! Fewer rights, and no look inside (prctl(2), capabilities(7)).

use std::io;

use rustix::thread::{CapabilitySet, CapabilitySets};

/// No look into this process's memory by others of the same user.
pub(crate) fn forbid_a_look() {
    // SAFETY: prctl with PR_SET_DUMPABLE takes integers only.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
}

/// This process is ended when its parent is.
pub(crate) fn die_with_parent() {
    // SAFETY: prctl with PR_SET_PDEATHSIG takes integers only.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) };
}

/// What a daemon still has to be able to do after [`crate::process::confine`]: routes, addresses and interfaces, raw sockets, ports
/// below 1024, and reading its files again whoever they belong to.
const KEPT: CapabilitySet = CapabilitySet::NET_ADMIN
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::DAC_READ_SEARCH);

/// Becomes this user and group for good, and keeps of root's rights what a daemon of ours needs (capabilities(7)).
/// Programs that it starts have none of them. Only while there is no other thread, which would keep all.
pub(crate) fn confine(user: u32, group: u32) -> io::Result<()> {
    for capability in CapabilitySet::all().difference(KEPT).iter() {
        // Those that this kernel does not know are not there to be removed.
        let _ = rustix::thread::remove_capability_from_bounding_set(capability);
    }
    rustix::thread::set_keep_capabilities(true)?;
    let dies_with_parent = rustix::process::parent_process_death_signal()?;
    // SAFETY: these take integers and a null list of length 0, and apply to the whole process.
    let became = unsafe {
        libc::setgroups(0, std::ptr::null()) == 0
            && libc::setresgid(group, group, group) == 0
            && libc::setresuid(user, user, user) == 0
    };
    if !became {
        return Err(io::Error::last_os_error());
    }
    rustix::thread::set_keep_capabilities(false)?;
    let sets = CapabilitySets { effective: KEPT, permitted: KEPT, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets)?;
    // The kernel forgets both when a process becomes another user.
    crate::process::forbid_core_dumps();
    rustix::process::set_parent_process_death_signal(dies_with_parent)?;
    Ok(())
}
