//! Network namespaces of our own, and what the kernel says of routes in them (rtnetlink(7)).

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use coati_os::process::wait_readable;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// RTMGRP_IPV4_ROUTE.
const ROUTES: u32 = 0x40;
const NEW_ROUTE: u16 = 24;
const DELETE_ROUTE: u16 = 25;
/// RTPROT_BIRD and RTPROT_OSPF: FRR and Coati use the second.
const PROTOCOLS: [u8; 2] = [12, 188];
/// Notifications of 100 000 routes at once.
const BUFFER: usize = 256 << 20;

/// Runs `ip` with these words.
pub fn ip(words: &str) -> io::Result<()> {
    let output = Command::new("ip").args(words.split_whitespace()).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("ip {words}: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

/// A network namespace, which goes away with this.
pub struct Namespace {
    pub name: String,
}

impl Namespace {
    pub fn new(name: &str) -> io::Result<Self> {
        ip(&format!("netns add {name}"))?;
        let namespace = Self { name: name.to_owned() };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Runs `ip` in it.
    pub fn ip(&self, words: &str) -> io::Result<()> {
        ip(&format!("-n {} {words}", self.name))
    }

    /// Many lines of `ip` at once.
    pub fn batch(&self, lines: &[String]) -> io::Result<()> {
        use std::io::Write;
        let mut command = Command::new("ip");
        command.args(["-n", &self.name, "-batch", "-"]).stdin(Stdio::piped());
        let mut child = command.spawn()?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all((lines.join("\n") + "\n").as_bytes())?;
        }
        match child.wait()?.success() {
            true => Ok(()),
            false => Err(io::Error::other("ip -batch failed")),
        }
    }

    /// A program that will run in it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]).stdin(Stdio::null());
        command
    }

    /// Does something in it, such as opening a socket that stays in it.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        let file = File::open(format!("/run/netns/{}", self.name))?;
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
                work()
            });
            thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))
        })
    }

    /// The number of one of its interfaces.
    pub fn index(&self, interface: &str) -> io::Result<u32> {
        let command = self.command("cat").arg(format!("/sys/class/net/{interface}/ifindex")).output()?;
        let text = String::from_utf8_lossy(&command.stdout).trim().to_owned();
        text.parse().map_err(|_| io::Error::other(format!("no interface {interface} in {}", self.name)))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // It would go with our mount namespace too.
        let _ = ip(&format!("netns del {}", self.name));
    }
}

/// What has happened to routes: which of the grid's are there, and when the last one of them changed.
#[derive(Default)]
pub struct Seen {
    pub routes: HashSet<(Ipv4Addr, u8)>,
    pub last: Option<Instant>,
    /// Since somebody has looked.
    pub news: Vec<(Instant, bool, Ipv4Addr)>,
    /// The kernel has dropped notifications.
    pub lost: bool,
}

/// Watches the routes that OSPF brings into a namespace.
pub struct Watch {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub fn new(namespace: &Namespace) -> io::Result<Self> {
        let socket = namespace.within(|| {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind(&SocketAddr::new(0, ROUTES))?;
            socket.set_non_blocking(true)?;
            rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER)?;
            Ok(socket)
        })?;
        let (seen, stop) = (Arc::new(Mutex::new(Seen::default())), Arc::new(AtomicBool::new(false)));
        let thread = std::thread::spawn({
            let (seen, stop) = (seen.clone(), stop.clone());
            move || watch(&socket, &seen, &stop)
        });
        Ok(Self { seen, stop, thread: Some(thread) })
    }

    pub fn look(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what has happened; routes stay.
    pub fn forget(&self) {
        self.look().news.clear();
    }

    /// Waits for a route to come or go from now on, or since [`Self::forget`]; when it did.
    pub fn wait(&self, network: Ipv4Addr, there: bool, limit: Duration) -> Option<Instant> {
        let end = Instant::now() + limit;
        loop {
            let found = |(_, new, found): &&(Instant, bool, Ipv4Addr)| *new == there && *found == network;
            if let Some((at, ..)) = self.look().news.iter().find(found) {
                return Some(*at);
            }
            if Instant::now() >= end {
                return None;
            }
            std::thread::sleep(Duration::from_micros(500));
        }
    }

    /// Waits until there are so many routes; when the last of them came.
    pub fn wait_count(&self, count: usize, limit: Duration) -> io::Result<Instant> {
        let end = Instant::now() + limit;
        loop {
            {
                let seen = self.look();
                if seen.lost {
                    return Err(io::Error::other("the kernel has dropped notifications of routes"));
                }
                if let (true, Some(last)) = (seen.routes.len() >= count, seen.last) {
                    return Ok(last);
                }
                if Instant::now() >= end {
                    return Err(io::Error::other(format!("{} of {count} routes", seen.routes.len())));
                }
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has nothing to say.
            let _ = thread.join();
        }
    }
}

/// After some notifications, so that whoever sends them is not charged with waking this thread for each one.
const PAUSE: Duration = Duration::from_micros(300);

fn watch(socket: &Socket, seen: &Mutex<Seen>, stop: &AtomicBool) {
    let mut buffer: Vec<u8> = Vec::with_capacity(65_536);
    while !stop.load(Ordering::Relaxed) {
        if wait_readable(&[socket.as_fd()], Some(Duration::from_millis(100))).is_err() {
            return;
        }
        let mut taken = false;
        loop {
            buffer.clear();
            let result = socket.recv(&mut buffer, 0);
            let now = Instant::now();
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            match result {
                Ok(_) => {
                    take(&mut seen, now, &buffer);
                    taken = true;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    seen.lost = true;
                    break;
                }
            }
        }
        if taken {
            std::thread::sleep(PAUSE);
        }
    }
}

fn take(seen: &mut Seen, now: Instant, mut bytes: &[u8]) {
    while let Some((length, kind, body)) = message(bytes) {
        if let (NEW_ROUTE | DELETE_ROUTE, Some((protocol, network, prefix_len))) = (kind, route(body))
            && PROTOCOLS.contains(&protocol)
        {
            let new = kind == NEW_ROUTE;
            // Others may be those of links, which BIRD gives to the kernel too.
            let counts = matches!(network.octets(), [20 | 21, ..]);
            match new {
                _ if !counts => false,
                true => seen.routes.insert((network, prefix_len)),
                false => seen.routes.remove(&(network, prefix_len)),
            };
            seen.last = if counts { Some(now) } else { seen.last };
            seen.news.push((now, new, network));
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
}

/// The first netlink message: its length, type and what follows its header.
fn message(bytes: &[u8]) -> Option<(usize, u16, &[u8])> {
    let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
    let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
    Some((length, kind, bytes.get(16..length)?))
}

/// Protocol and destination of a route in the main table.
fn route(body: &[u8]) -> Option<(u8, Ipv4Addr, u8)> {
    let [_family, prefix_len, _, _, table, protocol, ..] = *body.first_chunk::<12>()?;
    let mut rest = body.get(12..)?;
    let mut network = Ipv4Addr::UNSPECIFIED;
    while let Some([l0, l1, k0, k1]) = rest.first_chunk::<4>().copied() {
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        // RTA_DST.
        if u16::from_ne_bytes([k0, k1]) == 1 {
            network = Ipv4Addr::from(*rest.get(4..)?.first_chunk::<4>()?);
        }
        rest = rest.get(length.max(4).next_multiple_of(4)..).unwrap_or(&[]);
    }
    (table == 254).then_some((protocol, network, prefix_len))
}
