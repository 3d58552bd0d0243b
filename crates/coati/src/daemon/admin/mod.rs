//! The daemon's Unix sockets, served by the control thread: JSON lines, one request and one answer each, and beside
//! them what racoonctl binaries have always spoken (`classic`). Whoever connects shows by the first bytes which it is.

mod classic;

use std::fs;
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use coati_router::admin::{AdminReply, AdminRequest, EventStatus};
use coati_wire::adminport;

/// Connections at a time.
const MAX_CONNECTIONS: usize = 64;
/// Bytes of one request.
const MAX_REQUEST: usize = 8 << 20;
/// Bytes that may wait for a slow reader before it is cut off.
const MAX_BACKLOG: usize = 16 << 20;

/// A socket to listen at, and who may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminSocket {
    /// Where.
    pub path: PathBuf,
    /// Its owner, when it is not whoever runs the daemon.
    pub owner: Option<u32>,
    /// Its group.
    pub group: Option<u32>,
    /// Its mode.
    pub mode: u32,
}

impl AdminSocket {
    /// One that only its owner may open.
    pub fn private(path: PathBuf) -> Self {
        Self { path, owner: None, group: None, mode: 0o600 }
    }
}

/// All sockets and connections.
#[derive(Debug, Default)]
pub struct AdminServer {
    listeners: Vec<(UnixListener, PathBuf)>,
    connections: Vec<Connection>,
}

#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
    monitor: bool,
    /// Whose events it wants.
    events: Option<Whose>,
    speech: Speech,
    /// What is wrong with its request, for the log.
    remark: Option<String>,
    /// It ends when all of `output` is sent.
    last: bool,
    closed: bool,
}

/// Events of whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Everybody,
    Peer(IpAddr),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speech {
    /// Nothing has come yet.
    Unknown,
    Json,
    Classic,
}

impl AdminServer {
    /// Listens at `sockets`. A socket that nobody listens on is replaced.
    pub fn bind(sockets: &[AdminSocket]) -> io::Result<Self> {
        let mut listeners = Vec::new();
        for socket in sockets {
            listeners.push((listen(socket)?, socket.path.clone()));
        }
        Ok(Self { listeners, connections: Vec::new() })
    }

    /// Listens at one more; the error says why not.
    pub fn also(&mut self, socket: &AdminSocket) -> io::Result<()> {
        self.listeners.push((listen(socket)?, socket.path.clone()));
        Ok(())
    }

    /// Descriptors to wait for.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let listeners = self.listeners.iter().map(|(listener, _)| listener.as_fd());
        listeners.chain(self.connections.iter().map(|connection| connection.stream.as_fd()))
    }

    /// Accepts, reads, and has `answer` answer; returns at once, with lines for the log.
    pub fn serve(&mut self, mut answer: impl FnMut(AdminRequest) -> AdminReply) -> Vec<String> {
        for (listener, _) in &self.listeners {
            while let Ok((stream, _)) = listener.accept() {
                if self.connections.len() >= MAX_CONNECTIONS {
                    // Whoever waits for nothing makes room, the one that came first before others, then whoever just
                    // watches: an order has to come through.
                    let idle = self.connections.iter().position(Connection::is_idle);
                    let watches = |connection: &Connection| connection.monitor || connection.events.is_some();
                    match idle.or_else(|| self.connections.iter().position(watches)) {
                        Some(idle) => drop(self.connections.remove(idle)),
                        None => continue,
                    }
                }
                if stream.set_nonblocking(true).is_ok() {
                    self.connections.push(Connection::new(stream));
                }
            }
        }
        for connection in &mut self.connections {
            connection.serve(&mut answer);
        }
        let remarks = self.connections.iter_mut().filter_map(|connection| connection.remark.take()).collect();
        self.connections.retain(|connection| !connection.closed);
        remarks
    }

    /// Tells those who asked to watch the data plane.
    pub fn tell_monitors(&mut self, reply: &AdminReply) {
        for connection in self.connections.iter_mut().filter(|connection| connection.monitor) {
            connection.push_json(reply);
            connection.write();
        }
    }

    /// Whether somebody watches the data plane.
    pub fn has_monitors(&self) -> bool {
        self.connections.iter().any(|connection| connection.monitor)
    }

    /// Tells those who asked for events.
    pub fn tell_event(&mut self, event: &EventStatus) {
        for connection in &mut self.connections {
            let wanted = match connection.events {
                None => false,
                Some(Whose::Everybody) => true,
                Some(Whose::Peer(peer)) => event.remote.is_none_or(|remote| remote.ip() == peer),
            };
            if !wanted {
                continue;
            }
            match connection.speech {
                Speech::Classic => connection.push(&classic::event(event)),
                _ => connection.push_json(&AdminReply::Event(Box::new(event.clone()))),
            }
            connection.write();
        }
    }

    /// Whether answers still wait for slow readers, so that serving has to be tried again soon.
    pub fn is_behind(&self) -> bool {
        self.connections.iter().any(|connection| !connection.output.is_empty())
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        for (_, path) in &self.listeners {
            let _ = fs::remove_file(path);
        }
    }
}

impl Connection {
    fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            input: Vec::new(),
            output: Vec::new(),
            monitor: false,
            events: None,
            speech: Speech::Unknown,
            remark: None,
            last: false,
            closed: false,
        }
    }

    /// Whether it waits neither for events nor for the rest of an answer.
    fn is_idle(&self) -> bool {
        !self.monitor && self.events.is_none() && self.output.is_empty()
    }

    fn serve(&mut self, answer: &mut impl FnMut(AdminRequest) -> AdminReply) {
        self.read();
        if self.speech == Speech::Unknown {
            self.speech = match adminport::is_classic(&self.input) {
                Some(true) => Speech::Classic,
                Some(false) => Speech::Json,
                None => return,
            };
        }
        match self.speech {
            Speech::Classic => self.serve_classic(answer),
            _ => self.serve_json(answer),
        }
        self.write();
    }

    fn serve_json(&mut self, answer: &mut impl FnMut(AdminRequest) -> AdminReply) {
        while let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.input.drain(..=end).collect();
            let reply = match serde_json::from_slice(&line) {
                Ok(AdminRequest::Monitor) => {
                    self.monitor = true;
                    AdminReply::Text(String::new())
                }
                Ok(AdminRequest::Events) => {
                    self.events = Some(Whose::Everybody);
                    AdminReply::Done
                }
                Ok(request) => answer(request),
                Err(error) => AdminReply::Error(format!("this is no request: {error}")),
            };
            self.push_json(&reply);
        }
    }

    /// One request; the connection ends after its answer unless events follow.
    fn serve_classic(&mut self, answer: &mut impl FnMut(AdminRequest) -> AdminReply) {
        if self.last || self.events.is_some() {
            return self.input.clear();
        }
        let answered = match adminport::Request::length(&self.input) {
            Ok(None) => return,
            Ok(Some(length)) => match self.input.get(..length) {
                None => return,
                Some(bytes) => classic::answer(bytes, answer),
            },
            Err(malformed) => classic::refuse(malformed),
        };
        self.events = answered.events;
        self.remark = answered.remark;
        self.last = self.events.is_none();
        self.push(&answered.bytes);
    }

    fn read(&mut self) {
        let mut buffer = [0; 16_384];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return self.closed = true,
                Ok(count) => self.input.extend_from_slice(buffer.get(..count).unwrap_or(&[])),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.closed = true,
            }
            if self.input.len() > MAX_REQUEST {
                let text = format!(
                    "a request of more than {} MiB is not taken: cut it in pieces",
                    MAX_REQUEST >> 20
                );
                self.push_json(&AdminReply::Error(text));
                self.write();
                return self.closed = true;
            }
        }
    }

    fn push_json(&mut self, reply: &AdminReply) {
        match serde_json::to_vec(reply) {
            Ok(mut line) => {
                line.push(b'\n');
                self.push(&line);
            }
            Err(_) => self.closed = true,
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        if self.output.len() + bytes.len() > MAX_BACKLOG {
            self.closed = true;
        } else {
            self.output.extend_from_slice(bytes);
        }
    }

    fn write(&mut self) {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(count) => {
                    self.output.drain(..count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.closed = true,
            }
        }
        self.closed |= self.last;
    }
}

fn listen(socket: &AdminSocket) -> io::Result<UnixListener> {
    let path = socket.path.as_path();
    let explain = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    if let Ok(meta) = fs::symlink_metadata(path) {
        if !meta.file_type().is_socket() {
            let message =
                format!("{}: this is there already and is no socket; name another path", path.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
        }
        if UnixStream::connect(path).is_ok() {
            let message = format!("{}: another daemon listens there already", path.display());
            return Err(io::Error::new(io::ErrorKind::AddrInUse, message));
        }
        fs::remove_file(path).map_err(explain)?;
    }
    make_folder_of(path)?;
    // Nobody else can connect before the rights are set.
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    let bound = UnixListener::bind(path).map_err(explain);
    rustix::process::umask(before);
    let listener = bound?;
    if socket.owner.is_some() || socket.group.is_some() {
        std::os::unix::fs::chown(path, socket.owner, socket.group).map_err(explain)?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(socket.mode)).map_err(explain)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The socket's own folder, such as /var/run/racoon, which a restart of the machine may have removed.
fn make_folder_of(path: &Path) -> io::Result<()> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists())
    else {
        return Ok(());
    };
    let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(folder);
    made.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", folder.display())))
}

#[cfg(test)]
mod tests;
