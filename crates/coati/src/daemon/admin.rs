//! The daemon's Unix sockets: JSON lines, one request and one answer each, served by the control thread.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use coati_router::admin::{AdminReply, AdminRequest};

/// Connections at a time.
const MAX_CONNECTIONS: usize = 64;
/// Bytes of one request.
const MAX_REQUEST: usize = 1 << 20;
/// Bytes that may wait for a slow reader before it is cut off.
const MAX_BACKLOG: usize = 16 << 20;

/// All sockets and connections.
#[derive(Debug)]
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
    closed: bool,
}

impl AdminServer {
    /// Listens at `paths`; only the owner may connect. A socket that nobody listens on is replaced.
    pub fn bind(paths: &[PathBuf]) -> io::Result<Self> {
        let mut listeners = Vec::new();
        for path in paths {
            listeners.push((listen(path)?, path.clone()));
        }
        Ok(Self { listeners, connections: Vec::new() })
    }

    /// Descriptors to wait for.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let listeners = self.listeners.iter().map(|(listener, _)| listener.as_fd());
        listeners.chain(self.connections.iter().map(|connection| connection.stream.as_fd()))
    }

    /// Accepts, reads, and has `answer` answer; returns at once.
    pub fn serve(&mut self, mut answer: impl FnMut(AdminRequest) -> AdminReply) {
        for (listener, _) in &self.listeners {
            while let Ok((stream, _)) = listener.accept() {
                if self.connections.len() < MAX_CONNECTIONS && stream.set_nonblocking(true).is_ok() {
                    self.connections.push(Connection {
                        stream,
                        input: Vec::new(),
                        output: Vec::new(),
                        monitor: false,
                        closed: false,
                    });
                }
            }
        }
        for connection in &mut self.connections {
            connection.read();
            while let Some(end) = connection.input.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = connection.input.drain(..=end).collect();
                let reply = match serde_json::from_slice(&line) {
                    Ok(AdminRequest::Monitor) => {
                        connection.monitor = true;
                        AdminReply::Text(String::new())
                    }
                    Ok(request) => answer(request),
                    Err(error) => AdminReply::Error(format!("this is no request: {error}")),
                };
                connection.push(&reply);
            }
            connection.write();
        }
        self.connections.retain(|connection| !connection.closed);
    }

    /// Tells those who asked to watch.
    pub fn tell_monitors(&mut self, reply: &AdminReply) {
        for connection in self.connections.iter_mut().filter(|connection| connection.monitor) {
            connection.push(reply);
            connection.write();
        }
    }

    /// Whether somebody watches.
    pub fn has_monitors(&self) -> bool {
        self.connections.iter().any(|connection| connection.monitor)
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
    fn read(&mut self) {
        let mut buffer = [0; 16_384];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return self.closed = true,
                Ok(count) => self.input.extend_from_slice(buffer.get(..count).unwrap_or(&[])),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => return self.closed = true,
            }
            if self.input.len() > MAX_REQUEST {
                return self.closed = true;
            }
        }
    }

    fn push(&mut self, reply: &AdminReply) {
        match serde_json::to_vec(reply) {
            Ok(line) if self.output.len() + line.len() <= MAX_BACKLOG => {
                self.output.extend_from_slice(&line);
                self.output.push(b'\n');
            }
            _ => self.closed = true,
        }
    }

    fn write(&mut self) {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(count) => {
                    self.output.drain(..count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => return self.closed = true,
            }
        }
    }
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    let explain = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    if path.exists() {
        if UnixStream::connect(path).is_ok() {
            let message = format!("{}: another daemon listens there already", path.display());
            return Err(io::Error::new(io::ErrorKind::AddrInUse, message));
        }
        fs::remove_file(path).map_err(explain)?;
    }
    let listener = UnixListener::bind(path).map_err(explain)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(explain)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
