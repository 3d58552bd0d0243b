//! The supervisor: the internet between the sites, and the one who starts and watches everything.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use coati_os::namespace;
use coati_os::netlink::{Address, Netlink};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::capture::{self, Seen};
use super::chain;
use super::node::{CONFIG_DIR, NodeSetup, STATE};
use super::state::State;
use super::topology::{self, Nic, Site};

/// Everything that runs.
pub struct Lab {
    /// The sites, a and b.
    pub sites: [Site; 2],
    /// Packets on the internet.
    pub seen: Arc<Seen>,
    nodes: BTreeMap<String, Node>,
    daemons: Vec<Child>,
    logs: PathBuf,
    /// Ctrl-C, or `coati lab down`.
    pub told_to_end: Arc<AtomicBool>,
}

struct Node {
    process: Child,
    input: ChildStdin,
    output: BufReader<std::process::ChildStdout>,
}

/// The verdict when there are no namespaces, so that there is no lab.
pub const NO_NAMESPACES: u8 = 2;

/// `coati lab-supervisor DIR keep|end [PCAP]`. Its standard input is a socket on which it says the exit code.
pub fn run(args: &[String]) -> io::Result<ExitCode> {
    let [dir, keep, pcap @ ..] = args else { return Err(io::ErrorKind::InvalidInput.into()) };
    let keep = keep == "keep";
    let mut verdict = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    if !keep {
        coati_os::process::die_with_parent();
    }
    let _lock = State::lock()?;
    let logs = State::dir()?;
    let sites = topology::read(Path::new(dir))?;
    if let Err(error) = namespace::isolate() {
        eprintln!("coati lab: network namespaces are not to be had here: {error}");
        State::remove()?;
        verdict.write_all(&[NO_NAMESPACES])?;
        return Ok(ExitCode::FAILURE);
    }
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let told_to_end = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, told_to_end.clone())?;
    }
    let pcap = pcap.first().map(|dir| Path::new(dir).join("internet.pcap"));
    let mut lab = Lab::build(sites, logs, pcap.as_deref(), told_to_end.clone())?;
    let good = chain::watch(&mut lab)?;
    verdict.write_all(&[u8::from(!good)])?;
    if keep && !told_to_end.load(Ordering::Relaxed) {
        // Nobody asks for the counters now.
        lab.seen = Arc::default();
        println!("left running: `coati lab exec a -- COMMAND` enters, `coati lab down` ends it");
        coati_os::process::let_go_of_output()?;
        signals.forever().next();
    }
    lab.end();
    // While the lock is held, so that it is this lab's and nobody else's.
    State::remove()?;
    Ok(ExitCode::SUCCESS)
}

impl Lab {
    fn build(
        sites: [Site; 2],
        logs: PathBuf,
        pcap: Option<&Path>,
        told_to_end: Arc<AtomicBool>,
    ) -> io::Result<Self> {
        let mut netlink = Netlink::new()?;
        let lo = netlink.link("lo")?.index;
        netlink.set_up(lo, true)?;
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
        let mut nodes = BTreeMap::new();
        for site in &sites {
            for name in [site.name.to_owned(), format!("host-{}", site.name)] {
                nodes.insert(name, Node::start()?);
            }
        }
        let pid = |name: &str| nodes.get(name).map_or(0, |node: &Node| node.process.id());
        for site in &sites {
            let (router, host) = (pid(site.name), pid(&format!("host-{}", site.name)));
            netlink.add_veth(site.name, &site.outside.name, router)?;
            let link = netlink.link(site.name)?.index;
            let address = Address {
                index: link,
                local: IpAddr::V4(site.gateway),
                peer: None,
                prefix_len: site.outside.prefix_len,
            };
            netlink.add_address(&address)?;
            netlink.set_up(link, true)?;
            let lan = format!("lan-{}", site.name);
            netlink.add_veth(&lan, &site.inside.name, router)?;
            let lan = netlink.link(&lan)?.index;
            netlink.move_link(lan, "eth0", host)?;
        }
        let first = netlink.link(sites[0].name)?.index;
        let seen = capture::start(first, pcap)?;
        let mut state = BTreeMap::new();
        for site in &sites {
            let host = NodeSetup {
                nics: vec![Nic {
                    name: "eth0".into(),
                    address: site.host,
                    prefix_len: site.inside.prefix_len,
                }],
                gateway: Some(site.inside.address),
                files: None,
            };
            let router = NodeSetup {
                nics: vec![site.outside.clone(), site.inside.clone()],
                gateway: Some(site.gateway),
                files: Some(site.dir.clone()),
            };
            for (name, setup) in [(site.name.to_owned(), router), (format!("host-{}", site.name), host)] {
                if let Some(node) = nodes.get_mut(&name) {
                    node.set_up(&setup)?;
                    state.insert(name, node.process.id());
                }
            }
        }
        state.insert("internet".into(), std::process::id());
        let supervisor = std::process::id();
        State { supervisor, began: coati_os::process::began(supervisor), nodes: state }.save()?;
        Ok(Self { sites, seen, nodes, daemons: Vec::new(), logs, told_to_end })
    }

    fn pid(&self, node: &str) -> u32 {
        self.nodes.get(node).map_or(0, |node| node.process.id())
    }

    /// Starts `coati up` in both sites at once; their output goes to log files.
    pub fn start_daemons(&mut self) -> io::Result<()> {
        for name in ["a", "b"] {
            let log = File::create(self.log(name))?;
            let mut command = self.command(name, "coati")?;
            command
                .args(["up", CONFIG_DIR, "--state", STATE])
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log);
            self.daemons.push(command.spawn()?);
        }
        Ok(())
    }

    /// The log file of a site's daemon.
    pub fn log(&self, site: &str) -> PathBuf {
        self.logs.join(format!("{site}.log"))
    }

    /// Which site's daemon has ended, if one has.
    pub fn ended_daemon(&mut self) -> Option<&'static str> {
        let ended = |child: &mut Child| matches!(child.try_wait(), Ok(Some(_)));
        ["a", "b"].into_iter().zip(&mut self.daemons).find_map(|(name, child)| ended(child).then_some(name))
    }

    /// A command inside a node.
    pub fn command(&self, node: &str, program: &str) -> io::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("lab-enter").arg(self.pid(node).to_string()).args(["--", program]);
        Ok(command)
    }

    /// The daemon's socket of a site, as seen from outside its mount namespace.
    pub fn socket(&self, site: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root/run/coati.sock", self.pid(site)))
    }

    /// Begins one ping, out of `device` as soon as that is up; the time comes out of its standard output, in microseconds.
    pub fn ping(&self, node: &str, destination: Ipv4Addr, device: Option<&str>) -> io::Result<Child> {
        let mut command = self.command(node, "/proc/self/exe")?;
        command.args(["lab-ping", &destination.to_string(), "20"]).args(device);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
    }

    /// Ends daemons first, so that they can say goodbye, then the nodes.
    fn end(self) {
        for mut daemon in self.daemons {
            let _ = coati_os::process::end(daemon.id(), false);
            let _ = daemon.wait();
        }
        for (_, mut node) in self.nodes {
            // What was started inside and went into the background.
            for pid in coati_os::process::in_namespace_of(node.process.id()) {
                if pid != node.process.id() {
                    let _ = coati_os::process::end(pid, true);
                }
            }
            drop(node.input);
            let _ = node.process.wait();
        }
    }
}

impl Node {
    fn start() -> io::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg("lab-node")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = process.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let output = BufReader::new(process.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?);
        let mut node = Self { process, input, output };
        node.expect("ready")?;
        Ok(node)
    }

    fn set_up(&mut self, setup: &NodeSetup) -> io::Result<()> {
        let mut line = serde_json::to_vec(setup)?;
        line.push(b'\n');
        self.input.write_all(&line)?;
        self.expect("up")
    }

    fn expect(&mut self, word: &str) -> io::Result<()> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        if line.trim_end() == word {
            return Ok(());
        }
        Err(io::Error::other("a node of the lab could not be set up; it said why above"))
    }
}
