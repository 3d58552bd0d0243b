//! A guest kernel in User-Mode Linux: one process, the host's files read-only, started and ended in seconds.
//!
//! It needs no rights: what is root inside is the user outside. The recipe, with its reasons, is in
//! `tests/interop/README.md`.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// What to start.
pub struct Guest<'a> {
    /// Unique among the guests that run at the same time.
    pub name: &'a str,
    /// The guest's first process.
    pub init: &'a Path,
    /// What it finds in its environment.
    pub environment: &'a [(&'a str, &'a Path)],
    /// Where the console is written.
    pub console: &'a Path,
    /// What [`xstate`] built.
    pub preload: &'a Path,
    /// It is killed when it takes longer.
    pub limit: Duration,
}

/// How it ended.
pub enum End {
    /// It switched itself off, or fell over.
    PoweredOff,
    /// It was killed at its limit.
    TooSlow,
}

impl Guest<'_> {
    /// Runs it to its end; `line` sees the console's lines as they come.
    pub fn run(&self, mut line: impl FnMut(&str)) -> io::Result<End> {
        let umid = format!("coati-{}-{}", std::process::id(), self.name);
        let mut child = self.start(&umid)?;
        let output = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut console = File::create(self.console)?;
        let (sender, lines) = channel();
        let reader = std::thread::spawn(move || {
            for read in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                if sender.send(String::from_utf8_lossy(&read).trim_end().to_owned()).is_err() {
                    return;
                }
            }
        });
        let deadline = Instant::now() + self.limit;
        let end = loop {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(text) => {
                    writeln!(console, "{text}")?;
                    line(&text);
                }
                Err(RecvTimeoutError::Disconnected) => break End::PoweredOff,
                Err(RecvTimeoutError::Timeout) => break End::TooSlow,
            }
        };
        end_all(&mut child)?;
        // It ends with the last process that holds the console.
        let _ = reader.join();
        let _ = fs::remove_dir_all(memory_dir().join(&umid));
        Ok(end)
    }

    fn start(&self, umid: &str) -> io::Result<Child> {
        let memory = memory_dir();
        let mut command = Command::new("linux.uml");
        command
            .args(["root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "mem=256M"])
            .args(["con=null", "con0=null,fd:1", "ssl=null", "quiet", "loglevel=1"])
            .arg(format!("umid={umid}"))
            .arg(format!("uml_dir={}/", memory.display()))
            .arg(format!("init={}", self.init.display()))
            .args(self.environment.iter().map(|(name, value)| format!("{name}={}", value.display())));
        command.env("LD_PRELOAD", self.preload);
        // The guest's memory is a file there: on a disk it would crawl.
        command.env("TMPDIR", &memory).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        // In a group of their own, all its processes can be ended together.
        command.process_group(0).spawn()
    }
}

/// Builds the library that guests need on processors with AMX from `source` (where it says why), below `folder`.
pub fn xstate(source: &Path, folder: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let library = folder.join("xstate.so");
    // Whatever links Rust programs is there.
    let status = Command::new("cc")
        .args(["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-nostdlib", "-o"])
        .args([&library, source])
        .status()?;
    if status.success() {
        Ok(library)
    } else {
        Err(io::Error::other(format!("cc {}: {status}", source.display())))
    }
}

/// A file system in memory, where there is one.
fn memory_dir() -> PathBuf {
    let shm = Path::new("/dev/shm");
    if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() }
}

fn end_all(child: &mut Child) -> io::Result<()> {
    // Usually they are gone already, and kill(1) says so.
    let group = format!("-{}", child.id());
    Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status()?;
    child.wait().map(drop)
}
