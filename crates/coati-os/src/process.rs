//! Processes: no core dumps, death of the parent, waiting for descriptors.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// No core dump of this process, and no look into its memory by others of the same user: it holds keys.
pub fn forbid_core_dumps() {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: setrlimit reads one rlimit.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) };
    crate::system::forbid_a_look();
}

/// The calling thread lets others go first where they want the same core (nice(2), which is about one thread on Linux
/// and does nothing elsewhere).
/// It goes on as before where that is not allowed.
pub fn let_others_first() {
    // Only rising priority needs a right; should it fail nevertheless, nothing but speed is different.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(3);
}

/// Whether there are other threads than the calling one.
fn has_threads() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() > 1)
}

/// A process in the background that has not said yet that it is ready.
#[derive(Debug)]
pub struct Background {
    ready: OwnedFd,
}

/// Goes on in a new process that belongs to no terminal. The calling process waits until that one is
/// [`Background::ready`] or has ended, and exits with 0 or 1, so that what goes wrong at a start is seen by whoever
/// started it. Only while there is no other thread.
pub fn go_to_background() -> io::Result<Background> {
    if has_threads() {
        return Err(io::Error::other("a program with threads cannot go to the background"));
    }
    let (reader, writer) = std::io::pipe()?;
    // SAFETY: this process has no other thread, so that the child finds all locks free.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            drop(reader);
            // SAFETY: setsid takes nothing. It fails only for a leader of a process group, which a child is not.
            unsafe { libc::setsid() };
            // A second one, so that it never gets a terminal by opening one.
            // SAFETY: as above.
            match unsafe { libc::fork() } {
                -1 => Err(io::Error::last_os_error()),
                0 => Ok(Background { ready: writer.into() }),
                _ => std::process::exit(0),
            }
        }
        _ => {
            drop(writer);
            let mut byte = [0];
            let ready = std::io::Read::read_exact(&mut { reader }, &mut byte).is_ok();
            std::process::exit(i32::from(!ready));
        }
    }
}

impl Background {
    /// Lets the starting process end with success, and leaves its terminal and its folder.
    pub fn ready(self) -> io::Result<()> {
        std::env::set_current_dir("/")?;
        let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
        for fd in 0..3 {
            // SAFETY: both descriptors are valid; 0 to 2 are not owned by anything in this program.
            if unsafe { libc::dup2(null.as_raw_fd(), fd) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        std::io::Write::write_all(&mut std::fs::File::from(self.ready), &[1])
    }
}

/// Becomes this user and group for good, and keeps of root's rights what a daemon of ours needs, where the system has
/// such a thing. Programs that it starts have none of them. Only while there is no other thread, which would keep all.
pub fn confine(user: u32, group: u32) -> io::Result<()> {
    if has_threads() {
        return Err(io::Error::other("a program with threads cannot give up rights"));
    }
    crate::system::confine(user, group)
}

/// The number of a user by name.
pub fn user_by_name(name: &str) -> Option<u32> {
    number_in("/etc/passwd", name)
}

/// The number of a group by name.
pub fn group_by_name(name: &str) -> Option<u32> {
    number_in("/etc/group", name)
}

/// Both files have the number in their third field.
fn number_in(file: &str, name: &str) -> Option<u32> {
    let text = std::fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

/// This process is ended when its parent is.
pub fn die_with_parent() {
    crate::system::die_with_parent();
}

/// Lets go of the pipes or the terminal behind standard output and standard error, so that whoever reads them sees
/// their end although this process goes on.
pub fn let_go_of_output() -> io::Result<()> {
    let null = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}

/// A reader that goes away, such as `head`, ends this process without a word, as it ends any command. Not for daemons.
pub fn end_on_closed_pipe() {
    // SAFETY: no handler is installed, the default action is.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// Gives back to the system what was needed once, such as by the start of a daemon: free memory, and pages of the
/// program's own code and constants. Those that are used after all are there again at once, from the cache of its file.
pub fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes an integer; it may be called at any time.
    unsafe {
        libc::malloc_trim(0);
    }
    let (Ok(maps), Ok(program)) =
        (std::fs::read_to_string("/proc/self/maps"), std::fs::read_link("/proc/self/exe"))
    else {
        return;
    };
    for line in maps.lines() {
        // proc(5): range, rights, offset, device, inode, path.
        let mut words = line.split_whitespace();
        let (range, rights, offset, path) = (words.next(), words.next(), words.next(), words.nth(2));
        // Not the constants that the start has put addresses into: they are no longer as in the file.
        let is_as_in_file = matches!((rights, offset), (Some("r-xp"), _) | (Some("r--p"), Some("00000000")));
        if !is_as_in_file || path.map(std::path::Path::new) != Some(&program) {
            continue;
        }
        let number = |text| usize::from_str_radix(text, 16).ok();
        let range = range.and_then(|range| range.split_once('-'));
        if let Some((begin, end)) = range.and_then(|(begin, end)| number(begin).zip(number(end))) {
            // SAFETY: the range is code of this program, or what its file begins with, mapped from there and never
            // written to: a page of it that is wanted again is the same as before.
            unsafe {
                libc::madvise(begin as *mut libc::c_void, end.saturating_sub(begin), libc::MADV_DONTNEED);
            }
        }
    }
}

/// Sends SIGTERM, or SIGKILL when `hard`, to a process of ours.
pub fn end(pid: u32, hard: bool) -> io::Result<()> {
    let pid = libc::pid_t::try_from(pid).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: kill takes integers only.
    if unsafe { libc::kill(pid, if hard { libc::SIGKILL } else { libc::SIGTERM }) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Whether a process of this number exists.
pub fn exists(pid: u32) -> bool {
    // SAFETY: kill takes integers only; signal 0 is sent to nobody.
    libc::pid_t::try_from(pid).is_ok_and(|pid| unsafe { libc::kill(pid, 0) } == 0)
}

/// When a process began, in the kernel's ticks since boot: with its number it names a process for good, since numbers
/// are used again.
pub fn began(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may hold anything; the 22nd field is the 20th behind it (proc(5)).
    stat.rsplit(')').next()?.split_whitespace().nth(19)?.parse().ok()
}

/// The processes in the network namespace of `pid`, which is one of them.
pub fn in_namespace_of(pid: u32) -> Vec<u32> {
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    let Some(wanted) = namespace(&pid.to_string()) else { return Vec::new() };
    let Ok(list) = std::fs::read_dir("/proc") else { return Vec::new() };
    let names = list.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names
        .filter(|name| namespace(name).as_ref() == Some(&wanted))
        .filter_map(|name| name.parse().ok())
        .collect()
}

/// Waits until one of `descriptors` can be read or has ended, or `timeout` is over; which ones can.
pub fn wait_readable(descriptors: &[BorrowedFd<'_>], timeout: Option<Duration>) -> io::Result<Vec<bool>> {
    let mut polled: Vec<libc::pollfd> = descriptors
        .iter()
        .map(|fd| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 })
        .collect();
    poll(&mut polled, timeout)?;
    Ok(polled.iter().map(|fd| fd.revents != 0).collect())
}

/// Waits until something can be written.
pub(crate) fn wait_writable(descriptor: BorrowedFd<'_>) -> io::Result<()> {
    let mut polled = [libc::pollfd { fd: descriptor.as_raw_fd(), events: libc::POLLOUT, revents: 0 }];
    poll(&mut polled, Some(Duration::from_secs(1)))
}

fn poll(polled: &mut [libc::pollfd], timeout: Option<Duration>) -> io::Result<()> {
    let timeout = timeout.map(|timeout| libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(timeout.subsec_nanos() as i32),
    });
    let pointer = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: `polled` is borrowed mutably for the call and its length is given; `pointer` is null or points to a
    // timespec that outlives the call; no signal mask.
    let result =
        unsafe { libc::ppoll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, pointer, std::ptr::null()) };
    if result < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    Ok(())
}

/// The user this process acts as.
pub fn user() -> u32 {
    // SAFETY: geteuid takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_by_name() {
        assert_eq!(user_by_name("root"), Some(0));
        assert_eq!(group_by_name("root").or_else(|| group_by_name("wheel")), Some(0));
        assert_eq!(user_by_name("no such user"), None);
        assert_eq!(user_by_name(""), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_program_with_threads_stays() {
        let refused = std::thread::spawn(go_to_background).join().unwrap();
        assert!(refused.unwrap_err().to_string().contains("threads"));
    }
}
