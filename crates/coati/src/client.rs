//! How the commands reach a running daemon: JSON lines over its Unix socket.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use coati_router::admin::{AdminReply, AdminRequest, Cause};

/// Where a daemon listens when nothing says otherwise, in the order they are tried: ours, the how-to's,
/// and the places that builds of racoon have used.
pub const SOCKET_PATHS: [&str; 5] = [
    "/var/run/coati.sock",
    "/var/run/racoon.sock",
    "/var/run/racoon/racoon.sock",
    "/var/db/racoon/racoon.sock",
    "/var/racoon/racoon.sock",
];

/// How long an answer may take. The daemon gives one in milliseconds; one that is stopped never does.
const PATIENCE: Duration = Duration::from_secs(10);

/// A conversation with the daemon.
pub struct Client {
    reader: BufReader<UnixStream>,
    path: PathBuf,
    /// How long to wait for what comes without being asked for; without end when none.
    limit: Option<Duration>,
    /// Events that came while an answer was waited for.
    events: VecDeque<AdminReply>,
}

impl Client {
    /// Connects to `socket`, or to the first of [`SOCKET_PATHS`] that answers. The error lists every path that
    /// was tried and why it failed.
    pub fn connect(socket: Option<&Path>) -> io::Result<Self> {
        let paths: Vec<PathBuf> = match socket {
            Some(path) => vec![path.to_owned()],
            None => SOCKET_PATHS.iter().map(PathBuf::from).collect(),
        };
        let mut tried = String::new();
        for path in &paths {
            match UnixStream::connect(path) {
                Ok(stream) => {
                    stream.set_write_timeout(Some(PATIENCE))?;
                    let (reader, events) = (BufReader::new(stream), VecDeque::new());
                    return Ok(Self { reader, path: path.clone(), limit: None, events });
                }
                Err(error) => {
                    let why = match error.kind() {
                        io::ErrorKind::NotFound => "no such socket".to_owned(),
                        io::ErrorKind::ConnectionRefused => {
                            "a socket is there, but no daemon listens on it".to_owned()
                        }
                        io::ErrorKind::PermissionDenied => "permission denied: only its owner may".to_owned(),
                        _ => error.to_string(),
                    };
                    tried.push_str(&format!("\n  {}: {why}", path.display()));
                }
            }
        }
        Err(io::Error::new(
            io::ErrorKind::NotConnected,
            format!("cannot reach a running Coati (start one with `coati up DIR`):{tried}"),
        ))
    }

    /// Sends `request` and waits for its answer.
    pub fn call(&mut self, request: &AdminRequest) -> io::Result<AdminReply> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.reader.get_mut().write_all(&line).map_err(|error| self.explained(error))?;
        let patience = self.limit.unwrap_or(PATIENCE);
        loop {
            match self.read(Some(patience))? {
                event @ AdminReply::Event(_) => self.events.push_back(event),
                answer => return Ok(answer),
            }
        }
    }

    /// The next answer: for [`AdminRequest::Monitor`] and [`AdminRequest::Events`], which have many.
    pub fn next(&mut self) -> io::Result<AdminReply> {
        match self.events.pop_front() {
            Some(event) => Ok(event),
            None => self.read(self.limit),
        }
    }

    /// Waits no longer than this for whatever comes from now on.
    pub fn limit(&mut self, time: Duration) {
        self.limit = Some(time);
    }

    fn read(&mut self, limit: Option<Duration>) -> io::Result<AdminReply> {
        // Zero would mean no limit.
        let limit = limit.map(|time| time.max(Duration::from_millis(1)));
        self.reader.get_ref().set_read_timeout(limit)?;
        let mut line = Vec::new();
        let read = self.reader.read_until(b'\n', &mut line).map_err(|error| self.explained(error));
        if read? == 0 {
            let message = format!("{}: the daemon closed the connection", self.path.display());
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        match serde_json::from_slice(&line) {
            Ok(AdminReply::Error(text)) => Err(io::Error::other(text)),
            Ok(AdminReply::Refused(refused)) => {
                let kind = match refused.cause {
                    Cause::Exists => io::ErrorKind::AlreadyExists,
                    Cause::NotFound => io::ErrorKind::NotFound,
                    Cause::Unsupported => io::ErrorKind::Unsupported,
                    Cause::Invalid => io::ErrorKind::InvalidInput,
                    Cause::Failed => io::ErrorKind::Other,
                };
                Err(io::Error::new(kind, refused.text))
            }
            Ok(reply) => Ok(reply),
            Err(error) => {
                let path = self.path.display();
                let message = format!("{path}: whoever listens there is no Coati of this version: {error}");
                Err(io::Error::new(io::ErrorKind::InvalidData, message))
            }
        }
    }

    fn explained(&self, error: io::Error) -> io::Error {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                let path = self.path.display();
                let message = format!("{path}: no answer in time: is the daemon stopped (state T in `ps`)?");
                io::Error::new(io::ErrorKind::TimedOut, message)
            }
            _ => error,
        }
    }
}
