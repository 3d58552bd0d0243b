//! A node: a process that holds a network and a mount namespace, sets them up as it is told, and waits.

use std::fs;
use std::io::{self, BufRead, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use coati_os::namespace;
use coati_os::netlink::{Address, Netlink, PROTOCOL_STATIC, Route};
use coati_wire::{icmp, ipv4};
use serde::{Deserialize, Serialize};

use super::topology::Nic;

/// What a node is told over its standard input once its interfaces are there.
#[derive(Debug, Serialize, Deserialize)]
pub struct NodeSetup {
    /// Interfaces with their addresses.
    pub nics: Vec<Nic>,
    /// Default route, when there is one.
    pub gateway: Option<Ipv4Addr>,
    /// Files to install as a package would, for a site.
    pub files: Option<PathBuf>,
}

/// Where the how-to has its files.
pub const CONFIG_DIR: &str = "/usr/local/etc/racoon";
/// Where OSPF keeps its memory, in a site's own folders.
pub const STATE: &str = "/run/coati-ospf.json";

/// `coati lab-node`: isolates itself, says `ready`, sets up what it is told, says `up`, and waits for the end of its
/// standard input.
pub fn run(_args: &[String]) -> io::Result<ExitCode> {
    coati_os::process::die_with_parent();
    namespace::isolate()?;
    let mut lines = io::stdin().lock().lines();
    say("ready")?;
    let setup: NodeSetup = match lines.next() {
        Some(line) => serde_json::from_str(&line?)?,
        None => return Ok(ExitCode::SUCCESS),
    };
    set_up(&setup)?;
    say("up")?;
    // From here on it only waits; it may be left running.
    coati_os::process::let_go_of_output()?;
    for line in lines {
        line?;
    }
    Ok(ExitCode::SUCCESS)
}

fn say(word: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{word}")?;
    out.flush()
}

fn set_up(setup: &NodeSetup) -> io::Result<()> {
    let mut netlink = Netlink::new()?;
    let lo = netlink.link("lo")?;
    netlink.set_up(lo.index, true)?;
    for nic in &setup.nics {
        let link = netlink.link(&nic.name)?;
        let local = IpAddr::V4(nic.address);
        netlink.add_address(&Address { index: link.index, local, peer: None, prefix_len: nic.prefix_len })?;
        netlink.set_up(link.index, true)?;
    }
    if let Some(gateway) = setup.gateway {
        netlink.replace_route(&Route {
            destination: Ipv4Addr::UNSPECIFIED,
            prefix_len: 0,
            gateway: Some(gateway),
            interface: 0,
            metric: 0,
            protocol: PROTOCOL_STATIC,
            source: None,
        })?;
    }
    // The daemon itself switches forwarding on.
    if let Some(files) = &setup.files {
        install(files)?;
    }
    Ok(())
}

/// The paths of the how-to, in file systems in memory that only this node sees.
fn install(files: &Path) -> io::Result<()> {
    for dir in ["/run", "/var/log", "/usr/local/etc", "/usr/local/sbin"] {
        let dir = Path::new(dir);
        if dir.is_dir() {
            namespace::mount_tmpfs(dir)
                .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", dir.display())))?;
        }
    }
    let target = Path::new(CONFIG_DIR);
    fs::create_dir_all(target)?;
    for entry in fs::read_dir(files)? {
        let entry = entry?;
        let path = target.join(entry.file_name());
        // Not copied: git keeps no mode 0600, and a package would set it too.
        fs::write(&path, fs::read(entry.path())?)?;
        let mode = match entry.metadata()?.permissions().mode() & 0o111 {
            _ if entry.file_name() == "psk.txt" => 0o600,
            0 => 0o644,
            _ => 0o755,
        };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    }
    let program = std::env::current_exe()?;
    for name in ["coati", "setkey", "racoonctl", "racoon"] {
        symlink(&program, Path::new("/usr/local/sbin").join(name))?;
    }
    Ok(())
}

/// A command that finds ours first.
pub fn inside(program: &str) -> Command {
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    // By its full path, because the caller's PATH would be searched otherwise.
    let found = path.split(':').map(|dir| Path::new(dir).join(program)).find(|file| file.exists());
    let mut command = Command::new(found.unwrap_or_else(|| program.into()));
    command.env("PATH", path).current_dir("/");
    command
}

/// `coati lab-ping ADDRESS SECONDS [INTERFACE]`: sends one echo request, as soon as the interface is there, and waits for its reply; prints the time in microseconds.
pub fn ping(args: &[String]) -> io::Result<ExitCode> {
    let (address, seconds, device) = match args {
        [address, seconds] => (address, seconds, None),
        [address, seconds, device] => (address, seconds, Some(device.as_str())),
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    };
    let destination: Ipv4Addr = address.parse().map_err(|_| io::ErrorKind::InvalidInput)?;
    let timeout = Duration::from_secs(seconds.parse().map_err(|_| io::ErrorKind::InvalidInput)?);
    let id = u16::try_from(std::process::id() & 0xffff).unwrap_or(0);
    let request = icmp::Repr::EchoRequest { id, sequence: 1, data: b"coati lab" }.emit();
    let began = Instant::now();
    let (socket, sent) = loop {
        let sent = Instant::now();
        match coati_os::raw::send_ping(destination, device, &request) {
            Ok(socket) => break (socket, sent),
            // The interface is not there yet, or not up.
            Err(_) if device.is_some() && began.elapsed() < timeout => {
                std::thread::sleep(Duration::from_micros(200));
            }
            Err(error) => return Err(error),
        }
    };
    let mut buffer = [0; 2048];
    loop {
        let left = timeout.saturating_sub(sent.elapsed());
        if left.is_zero() {
            return Ok(ExitCode::FAILURE);
        }
        socket.set_read_timeout(Some(left))?;
        let Ok(length) = coati_os::raw::receive_ping(&socket, &mut buffer) else {
            return Ok(ExitCode::FAILURE);
        };
        let Ok(packet) = ipv4::Packet::new(buffer.get(..length).unwrap_or(&[])) else { continue };
        if let Ok(Some(icmp::Repr::EchoReply { id: found, .. })) = icmp::Repr::parse(packet.payload())
            && found == id
            && packet.source() == destination
        {
            println!("{}", sent.elapsed().as_micros());
            return Ok(ExitCode::SUCCESS);
        }
    }
}
