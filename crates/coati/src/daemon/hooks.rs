//! Hooks: what `script` of racoon.conf names is run when an ISAKMP SA comes up, goes down, or its peer is dead.
//!
//! Without a shell, in a process group of its own, with nothing but racoon's variables in its environment, as another
//! user when configured so, and not for longer than [`TIME_LIMIT`]. A few run at a time; those of one peer run one
//! after the other, so that its `phase1_down` never overtakes its `phase1_up`. What they print goes to the log.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, PipeReader, Read};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use coati_ike::Settings;
use coati_os::process::wait_readable;

use super::log::Level;
use super::threads::{FromThreads, ToControl};

/// How long a hook may run.
pub const TIME_LIMIT: Duration = Duration::from_secs(20);
/// Hooks that run at a time.
const WORKERS: u64 = 4;
/// Hooks that wait for one worker.
const MAX_WAITING: usize = 64;
/// Bytes of one hook's output that are taken.
const MAX_OUTPUT: usize = 16 << 10;

/// One run of a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// The program.
    pub program: PathBuf,
    /// `phase1_up`, `phase1_down` or `phase1_dead`: its only argument.
    pub event: &'static str,
    /// racoon's variables.
    pub environment: Vec<(String, String)>,
    /// Whose peer it is about.
    pub peer: IpAddr,
}

impl Hook {
    /// The variables of phase 1, and those of what mode config has given us.
    pub fn environment(
        local: SocketAddr,
        remote: SocketAddr,
        identity: &str,
        spi: &str,
        settings: Option<&Settings>,
    ) -> Vec<(String, String)> {
        let list = [
            ("LOCAL_ADDR", local.ip().to_string()),
            ("LOCAL_PORT", local.port().to_string()),
            ("REMOTE_ADDR", remote.ip().to_string()),
            ("REMOTE_PORT", remote.port().to_string()),
            ("REMOTE_ID", identity.to_owned()),
            ("IKE_COOKIE", spi.to_owned()),
        ];
        let given = settings.map(Settings::environment).unwrap_or_default();
        list.into_iter().chain(given).map(|(name, value)| (name.to_owned(), clean(&value))).collect()
    }
}

/// Values come from outside: scripts get them without anything that could be a line or a terminal command.
fn clean(value: &str) -> String {
    value.chars().filter(|c| !c.is_control()).collect()
}

/// The threads that run hooks.
#[derive(Debug)]
pub struct Hooks {
    workers: Vec<SyncSender<Hook>>,
}

impl Hooks {
    /// Starts the threads; what hooks print and how they end goes to the control thread. They end with this value.
    pub fn start(control: &ToControl, limit: Duration) -> io::Result<Self> {
        let mut workers = Vec::new();
        for number in 0..WORKERS {
            let (sender, receiver) = sync_channel(MAX_WAITING);
            let control = control.another()?;
            std::thread::Builder::new()
                .name(format!("hook-{number}"))
                .spawn(move || work(&receiver, &control, limit))?;
            workers.push(sender);
        }
        Ok(Self { workers })
    }

    /// Has a hook run soon; `false` when too many wait.
    pub fn run(&self, hook: Hook) -> bool {
        let mut hasher = DefaultHasher::new();
        hook.peer.hash(&mut hasher);
        let index = usize::try_from(hasher.finish() % WORKERS).unwrap_or(0);
        self.workers.get(index).is_some_and(|worker| match worker.try_send(hook) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        })
    }
}

fn work(hooks: &Receiver<Hook>, control: &ToControl, limit: Duration) {
    while let Ok(hook) = hooks.recv() {
        for (level, text) in run(&hook, limit) {
            let text = format!("{} {}: {text}", hook.program.display(), hook.event);
            control.send(FromThreads::Hook(hook.peer, level, text));
        }
    }
}

/// Runs it to its end; lines for the log.
fn run(hook: &Hook, limit: Duration) -> Vec<(Level, String)> {
    let (reader, mut child) = match check(&hook.program).and_then(|()| spawn(hook)) {
        Ok(running) => running,
        Err(error) => return vec![(Level::Error, error.to_string())],
    };
    let deadline = Instant::now() + limit;
    let mut output = Vec::new();
    let ended = wait(&mut child, reader, deadline, &mut output);
    let text = String::from_utf8_lossy(&output);
    let mut lines: Vec<(Level, String)> = text.lines().map(|line| (Level::Info, line.to_owned())).collect();
    match ended {
        Ok(Some(status)) if status.success() => {}
        Ok(Some(status)) => lines.push((Level::Warning, format!("it ended with {status}"))),
        Ok(None) => {
            kill_group(&child);
            let _ = child.wait();
            let text = format!("killed: it did not end within {} s", limit.as_secs_f32());
            lines.push((Level::Error, text));
        }
        Err(error) => lines.push((Level::Error, format!("waiting for it: {error}"))),
    }
    lines
}

/// A program that others may write is theirs, not the administrator's.
fn check(program: &Path) -> io::Result<()> {
    let meta = std::fs::metadata(program)?;
    let us = coati_os::process::user();
    if !meta.is_file() {
        return Err(io::Error::other("not run: it is no file"));
    }
    if meta.mode() & 0o022 != 0 || (meta.uid() != us && meta.uid() != 0) {
        let path = program.display();
        let message = format!("not run: others may change it (chown root {path}; chmod go-w {path})");
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    Ok(())
}

fn spawn(hook: &Hook) -> io::Result<(PipeReader, Child)> {
    let (reader, writer) = io::pipe()?;
    let mut command = Command::new(&hook.program);
    command
        .arg(hook.event)
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .envs(hook.environment.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let child = command.spawn()?;
    Ok((reader, child))
}

/// Reads what it prints until it ends; `None` when it does not within its time.
fn wait(
    child: &mut Child,
    mut reader: PipeReader,
    deadline: Instant,
    output: &mut Vec<u8>,
) -> io::Result<Option<std::process::ExitStatus>> {
    const STEP: Duration = Duration::from_millis(50);
    let mut buffer = [0; 4096];
    let mut open = true;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if open {
            let ready = wait_readable(&[reader.as_fd()], Some(left.min(STEP)))?;
            if ready.first() == Some(&true) {
                let count = reader.read(&mut buffer)?;
                open = count > 0;
                let room = MAX_OUTPUT.saturating_sub(output.len());
                output.extend_from_slice(buffer.get(..count.min(room)).unwrap_or(&[]));
                if left > Duration::ZERO {
                    continue;
                }
            }
        } else {
            std::thread::sleep(left.min(STEP / 10));
        }
        // What it has left behind may hold the pipe open: that is not waited for.
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if left == Duration::ZERO {
            return Ok(None);
        }
    }
}

fn kill_group(child: &Child) {
    let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    struct Script(PathBuf);

    impl Script {
        fn new(name: &str, text: &str) -> Self {
            let path = std::env::temp_dir().join(format!("coati-hook-{}-{name}", std::process::id()));
            // Another program writes it: a file that this process has open for writing would be inherited by whatever
            // another test starts just then, and could not be run until that one has ended.
            let draft = path.with_extension("draft");
            fs::write(&draft, format!("#!/bin/sh\n{text}\n")).unwrap();
            assert!(Command::new("cp").args([&draft, &path]).status().unwrap().success());
            fs::remove_file(&draft).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
            Self(path)
        }

        fn run(&self, limit: Duration) -> Vec<(Level, String)> {
            self.run_with(limit, None)
        }

        fn run_with(&self, limit: Duration, settings: Option<&Settings>) -> Vec<(Level, String)> {
            let ends = ("192.0.2.1:500".parse().unwrap(), "198.51.100.1:4500".parse().unwrap());
            run(
                &Hook {
                    program: self.0.clone(),
                    event: "phase1_up",
                    environment: Hook::environment(ends.0, ends.1, "gate\n.example", "11:22", settings),
                    peer: ends.1.ip(),
                },
                limit,
            )
        }
    }

    impl Drop for Script {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    #[test]
    fn racoons_environment_and_nothing_else() {
        let script = Script::new(
            "env",
            "echo $1 $LOCAL_ADDR $LOCAL_PORT $REMOTE_ADDR $REMOTE_PORT $REMOTE_ID $IKE_COOKIE; echo oops >&2; \
             env | grep -c ^CARGO",
        );
        let lines = script.run(Duration::from_secs(10));
        let texts: Vec<&str> = lines.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts[0], "phase1_up 192.0.2.1 500 198.51.100.1 4500 gate.example 11:22");
        // grep found none, which is its exit code too.
        assert_eq!(texts[1..3], ["oops", "0"]);
        assert!(texts[3].contains("exit status: 1"), "{texts:?}");
    }

    /// Each variable of racoon's mode config, and what a peer writes is no command.
    #[test]
    fn what_mode_config_has_given() {
        let address = |text: &str| text.parse().unwrap();
        let network =
            |text: &str| coati_ike::Network { address: address(text), mask: address("255.255.0.0") };
        let settings = Settings {
            address: Some(address("10.99.0.10")),
            netmask: Some(address("255.255.255.0")),
            dns: vec![address("10.1.0.53"), address("10.1.0.54")],
            wins: vec![address("10.1.0.60")],
            default_domain: Some("example.org;touch /tmp/x\n".into()),
            split_include: vec![network("10.1.0.0"), network("10.2.0.0")],
            split_local: vec![network("10.3.0.0")],
            ..Settings::default()
        };
        let script = Script::new(
            "settings",
            "echo $INTERNAL_ADDR4 $INTERNAL_NETMASK4 $INTERNAL_CIDR4 $INTERNAL_DNS4 / $INTERNAL_DNS4_LIST / \
             $INTERNAL_WINS4 $INTERNAL_WINS4_LIST; echo \"$SPLIT_INCLUDE\"; echo \"$SPLIT_INCLUDE_CIDR\"; \
             echo $SPLIT_LOCAL $SPLIT_LOCAL_CIDR; echo \"$DEFAULT_DOMAIN\"",
        );
        let lines = script.run_with(Duration::from_secs(10), Some(&settings));
        let texts: Vec<&str> = lines.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "10.99.0.10 255.255.255.0 24 10.1.0.53 / 10.1.0.53 10.1.0.54 / 10.1.0.60 10.1.0.60",
                "10.1.0.0/255.255.0.0 10.2.0.0/255.255.0.0",
                "10.1.0.0/16 10.2.0.0/16",
                "10.3.0.0/255.255.0.0 10.3.0.0/16",
                "example.org;touch /tmp/x",
            ]
        );
    }

    #[test]
    fn one_that_hangs_is_killed_with_its_children() {
        let script = Script::new("hang", "echo started; sleep 300 & echo $!; sleep 300");
        let began = Instant::now();
        let lines = script.run(Duration::from_millis(300));
        assert!(began.elapsed() < Duration::from_secs(5));
        assert_eq!(lines[0].1, "started");
        assert_eq!(lines.last().unwrap().0, Level::Error);
        assert!(lines.last().unwrap().1.contains("killed"), "{lines:?}");
        let child: u32 = lines[1].1.parse().unwrap();
        let gone = || {
            let state = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            state.is_empty() || state.contains(") Z ")
        };
        for _ in 0..100 {
            if gone() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("its child {child} lives");
    }

    #[test]
    fn one_that_prints_without_end_is_bounded() {
        let script = Script::new("flood", "exec yes");
        let lines = script.run(Duration::from_millis(300));
        let bytes: usize = lines.iter().map(|(_, text)| text.len()).sum();
        assert!(bytes <= MAX_OUTPUT + 200 && lines.last().unwrap().1.contains("killed"));
    }

    #[test]
    fn one_that_leaves_a_process_behind_is_not_waited_for() {
        let script = Script::new("behind", "sleep 3 & echo done");
        let began = Instant::now();
        let lines = script.run(Duration::from_secs(10));
        assert_eq!(lines, [(Level::Info, "done".to_owned())]);
        assert!(began.elapsed() < Duration::from_secs(2));
    }

    #[test]
    fn what_cannot_be_run_is_said() {
        let script = Script::new("writable", "echo no");
        fs::set_permissions(&script.0, fs::Permissions::from_mode(0o722)).unwrap();
        assert!(script.run(Duration::from_secs(1))[0].1.contains("others may change it"));
        let missing = Script(std::env::temp_dir().join("coati-hook-that-is-not-there"));
        assert_eq!(missing.run(Duration::from_secs(1))[0].0, Level::Error);
    }
}
