//! Namespaces (namespaces(7)): a network and a file tree of one's own, also for ordinary users.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Puts this process, which must have a single thread, into a new network and mount namespace; an ordinary user
/// first gets a user namespace in which it is root. Mounts made from here on are seen by nobody else.
pub fn isolate() -> io::Result<()> {
    let (uid, gid) = (crate::process::user(), group());
    if uid != 0 {
        unshare(libc::CLONE_NEWUSER)?;
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
        fs::write("/proc/self/gid_map", format!("0 {gid} 1"))?;
    }
    unshare(libc::CLONE_NEWNET | libc::CLONE_NEWNS)?;
    mount(None, Path::new("/"), None, libc::MS_REC | libc::MS_PRIVATE)
}

/// Enters the user, network and mount namespaces of process `pid`. The process must have a single thread.
pub fn enter(pid: u32) -> io::Result<()> {
    let open = |name: &str| File::open(format!("/proc/{pid}/ns/{name}"));
    let same_user = fs::read_link(format!("/proc/{pid}/ns/user"))? == fs::read_link("/proc/self/ns/user")?;
    let (user, net, mnt) = (open("user")?, open("net")?, open("mnt")?);
    if !same_user {
        set(&user, libc::CLONE_NEWUSER)?;
    }
    set(&net, libc::CLONE_NEWNET)?;
    set(&mnt, libc::CLONE_NEWNS)
}

/// Mounts an empty file system in memory over a folder.
pub fn mount_tmpfs(target: &Path) -> io::Result<()> {
    mount(Some("tmpfs"), target, Some("tmpfs"), 0)
}

fn group() -> u32 {
    // SAFETY: getegid takes nothing and cannot fail.
    unsafe { libc::getegid() }
}

fn unshare(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: unshare takes an integer; with a single thread there is nothing it could pull from under others.
    if unsafe { libc::unshare(flags) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn set(namespace: &File, kind: libc::c_int) -> io::Result<()> {
    // SAFETY: the descriptor is open for the whole call.
    if unsafe { libc::setns(namespace.as_raw_fd(), kind) } < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

fn mount(source: Option<&str>, target: &Path, kind: Option<&str>, flags: libc::c_ulong) -> io::Result<()> {
    let text = |text: &[u8]| CString::new(text).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
    let source = source.map(|s| text(s.as_bytes())).transpose()?;
    let kind = kind.map(|k| text(k.as_bytes())).transpose()?;
    let target = text(target.as_os_str().as_bytes())?;
    let pointer = |text: &Option<CString>| text.as_ref().map_or(std::ptr::null(), |text| text.as_ptr());
    // SAFETY: all pointers are null or point to C strings that outlive the call; no data is passed.
    let result =
        unsafe { libc::mount(pointer(&source), target.as_ptr(), pointer(&kind), flags, std::ptr::null()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
