//! The daemons that are measured: Coati, FRR (zebra, ospfd, bfdd), BIRD.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::net::Namespace;

/// Whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Coati,
    Frr,
    Bird,
}

pub const ALL: [Kind; 3] = [Kind::Coati, Kind::Frr, Kind::Bird];

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Coati => "Coati",
            Self::Frr => "FRR",
            Self::Bird => "BIRD",
        })
    }
}

/// What a router is told. Hello 10 and dead 40 are everybody's defaults.
#[derive(Clone, Debug)]
pub struct Conf {
    pub router_id: &'static str,
    pub interfaces: Vec<String>,
    pub broadcast: bool,
    pub bfd: bool,
    /// A network that nobody speaks on.
    pub stub: bool,
    /// Whether adjacencies are logged, which [`Router::fulls`] needs.
    pub log: bool,
}

impl Conf {
    pub fn new(router_id: &'static str) -> Self {
        let interfaces = vec!["e0".to_owned()];
        Self { router_id, interfaces, broadcast: false, bfd: false, stub: false, log: false }
    }

    /// Coati reads what FRR reads.
    fn frr(&self) -> String {
        let mut text = "hostname x\n".to_owned();
        if self.bfd {
            // Daemons of FRR that do not know `bfd` would leave everything with its `exit`.
            text += "bfd\n profile fast\n  detect-multiplier 3\n  receive-interval 100\n  transmit-interval 100\n";
        }
        for name in &self.interfaces {
            text += &format!("interface {name}\n ip ospf area 0\n");
            let network = if self.broadcast { "broadcast" } else { "point-to-point" };
            text += &format!(" ip ospf network {network}\n");
            if self.bfd {
                text += " ip ospf bfd\n ip ospf bfd profile fast\n";
            }
            text += "exit\n";
        }
        if self.stub {
            text += "interface stub0\n ip ospf area 0\n ip ospf passive\nexit\n";
        }
        text + &format!("router ospf\n ospf router-id {}\n log-adjacency-changes\nexit\n", self.router_id)
    }

    fn bird(&self, log: &Path) -> String {
        let mut text =
            format!("log \"{}\" all;\nrouter id {};\nprotocol device {{}}\n", log.display(), self.router_id);
        text += "protocol kernel { ipv4 { export where source ~ [ RTS_OSPF, RTS_OSPF_IA ]; }; }\n";
        if self.bfd {
            text += "protocol bfd { interface \"*\" { interval 100 ms; multiplier 3; }; }\n";
        }
        text += "protocol ospf v2 measured {\n ipv4 { import all; };\n";
        if self.log {
            text += " debug { events };\n";
        }
        text += " area 0 {\n";
        let (kind, bfd) =
            (if self.broadcast { "bcast" } else { "ptp" }, if self.bfd { " bfd on;" } else { "" });
        for name in &self.interfaces {
            text += &format!("  interface \"{name}\" {{ type {kind}; hello 10; dead 40;{bfd} }};\n");
        }
        if self.stub {
            text += "  interface \"stub0\" { stub; };\n";
        }
        text + " };\n}\n"
    }
}

/// A running router. Its processes end with this, by their numbers.
pub struct Router {
    pub kind: Kind,
    children: Vec<(&'static str, Child)>,
    dir: PathBuf,
}

impl Router {
    /// Starts it, and waits until it answers.
    pub fn start(
        kind: Kind,
        coati: &Path,
        namespace: &Namespace,
        dir: &Path,
        conf: &Conf,
    ) -> io::Result<Self> {
        // Whatever an earlier one has left there.
        let _ = fs::remove_dir_all(dir);
        fs::create_dir_all(dir.join("site"))?;
        let mut router = Self { kind, children: Vec::new(), dir: dir.to_owned() };
        let (frr, log) = (dir.join("site/frr.conf"), dir.join("log"));
        fs::write(&frr, conf.frr())?;
        match kind {
            Kind::Coati => {
                let mut command = namespace.command(&coati.display().to_string());
                command.arg("up").arg(dir.join("site")).arg("--socket").arg(dir.join("socket"));
                command.arg("--state").arg(dir.with_extension("state"));
                router.spawn("coati", command.arg("--log").arg(log))?;
                router.wait_for("socket")?;
            }
            Kind::Frr => {
                let bfd = conf.bfd.then_some("bfdd");
                for daemon in ["zebra"].into_iter().chain(bfd).chain(["ospfd"]) {
                    let mut command = namespace.command(&format!("/usr/lib/frr/{daemon}"));
                    command.args([
                        "--user",
                        "root",
                        "--group",
                        "root",
                        "--log-level",
                        "info",
                        "--config_file",
                    ]);
                    command.arg(&frr).arg("--pid_file").arg(dir.join(format!("{daemon}.pid")));
                    command.arg("--socket").arg(dir.join("zserv.api")).arg("--vty_socket").arg(dir);
                    if daemon == "bfdd" {
                        command.arg("--bfdctl").arg(dir.join("bfdd.sock"));
                    }
                    command.arg("--log").arg(format!("file:{}", log.display()));
                    router.spawn(daemon, &mut command)?;
                    if daemon == "zebra" {
                        router.wait_for("zserv.api")?;
                    }
                    router.wait_for(&format!("{daemon}.vty"))?;
                }
            }
            Kind::Bird => {
                fs::write(dir.join("bird.conf"), conf.bird(&log))?;
                let mut command = namespace.command("bird");
                command.arg("-f").arg("-c").arg(dir.join("bird.conf")).arg("-s").arg(dir.join("socket"));
                router.spawn("bird", command.arg("-P").arg(dir.join("bird.pid")))?;
                router.wait_for("socket")?;
            }
        }
        Ok(router)
    }

    fn spawn(&mut self, name: &'static str, command: &mut Command) -> io::Result<()> {
        let output = fs::File::create(self.dir.join(format!("{name}.out")))?;
        command.stdout(output.try_clone()?).stderr(output);
        self.children.push((name, command.spawn()?));
        Ok(())
    }

    fn wait_for(&self, file: &str) -> io::Result<()> {
        let end = Instant::now() + Duration::from_secs(30);
        while !self.dir.join(file).exists() {
            if Instant::now() > end {
                let name = self.children.last().map_or("", |(name, _)| name);
                let said = fs::read_to_string(self.dir.join(format!("{name}.out"))).unwrap_or_default();
                return Err(io::Error::other(format!("{name} does not start: {}", said.trim())));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// How often an adjacency has become Full, as its log tells.
    pub fn fulls(&self) -> usize {
        let text = fs::read(self.dir.join("log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        text.lines().filter(|line| line.contains("-> Full") || line.contains("to Full")).count()
    }

    /// Waits until one is Full more often than `before`.
    pub fn wait_full(&self, before: usize, limit: Duration) -> io::Result<Instant> {
        let end = Instant::now() + limit;
        while self.fulls() <= before {
            if Instant::now() > end {
                return Err(io::Error::other(format!("{} is not Full within {limit:?}", self.kind)));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(Instant::now())
    }

    /// CPU time so far of all threads of all its processes, by the scheduler's clock (schedstat), in ms.
    pub fn cpu(&self) -> f64 {
        self.children.iter().map(|(_, child)| cpu_of(child.id())).sum()
    }

    /// What of it was not the kernel's work for them, in ms: by ticks of 10 ms.
    pub fn own_cpu(&self) -> f64 {
        self.children.iter().map(|(_, child)| own_cpu_of(child.id())).sum()
    }

    /// Resident memory in MB, of all its processes, and of each.
    pub fn memory(&self) -> (f64, String) {
        let each: Vec<(&str, f64)> =
            self.children.iter().map(|(name, child)| (*name, memory_of(child.id(), "VmRSS:"))).collect();
        let words: Vec<String> =
            each.iter().map(|(name, megabytes)| format!("{name} {megabytes:.1}")).collect();
        (each.iter().map(|(_, megabytes)| megabytes).sum(), words.join(" + "))
    }

    /// What of it is their own in MB: no code, which others may share and which is there as far as it was used lately.
    pub fn private_memory(&self) -> f64 {
        self.children.iter().map(|(_, child)| memory_of(child.id(), "RssAnon:")).sum()
    }

    /// What FRR says of its last computation, in ms.
    pub fn last_spf(&self) -> Option<f64> {
        if self.kind != Kind::Frr {
            return None;
        }
        let mut command = Command::new("vtysh");
        command.arg("--vty_socket").arg(&self.dir).arg("--config_dir").arg(&self.dir);
        let output =
            command.args(["-d", "ospfd", "-c", "show ip ospf json"]).stdin(Stdio::null()).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let number = text.split_once("\"spfLastDurationMsecs\":")?.1;
        let number: String =
            number.trim_start().chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
        number.parse().ok()
    }

    /// Ends it without a word, as a crash does.
    pub fn kill(&mut self) {
        for (_, child) in &mut self.children {
            // One that has ended already is what is wanted.
            let _ = child.kill();
            let _ = child.wait();
        }
        self.children.clear();
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.kill();
    }
}

fn cpu_of(pid: u32) -> f64 {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0.0 };
    let nanoseconds = |task: fs::DirEntry| -> Option<f64> {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse().ok()
    };
    tasks.flatten().filter_map(nanoseconds).sum::<f64>() / 1e6
}

/// utime of proc_pid_stat(5), the twelfth after the name.
fn own_cpu_of(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let ticks = text.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(11)?.parse().ok());
    ticks.unwrap_or(0.0) * 10.0
}

fn memory_of(pid: u32, kind: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(kind)).unwrap_or("0");
    line.split_whitespace().next().and_then(|word| word.parse::<f64>().ok()).unwrap_or(0.0) / 1e3
}
