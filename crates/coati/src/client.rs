//! How the commands reach a running daemon: JSON lines over its Unix socket.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use coati_router::admin::{AdminReply, AdminRequest};

/// Where a daemon listens when nothing says otherwise, in the order they are tried: ours, the how-to's,
/// and the places that builds of racoon have used.
pub const SOCKET_PATHS: [&str; 5] = [
    "/var/run/coati.sock",
    "/var/run/racoon.sock",
    "/var/run/racoon/racoon.sock",
    "/var/db/racoon/racoon.sock",
    "/var/racoon/racoon.sock",
];

/// A conversation with the daemon.
pub struct Client {
    reader: BufReader<UnixStream>,
    path: PathBuf,
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
                Ok(stream) => return Ok(Self { reader: BufReader::new(stream), path: path.clone() }),
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
        self.reader.get_mut().write_all(&line)?;
        self.next()
    }

    /// The next answer: for [`AdminRequest::Monitor`], which has many.
    pub fn next(&mut self) -> io::Result<AdminReply> {
        let mut line = Vec::new();
        if self.reader.read_until(b'\n', &mut line)? == 0 {
            let message = format!("{}: the daemon closed the connection", self.path.display());
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        match serde_json::from_slice(&line) {
            Ok(AdminReply::Error(text)) => Err(io::Error::other(text)),
            Ok(reply) => Ok(reply),
            Err(error) => {
                let path = self.path.display();
                let message = format!("{path}: whoever listens there is no Coati of this version: {error}");
                Err(io::Error::new(io::ErrorKind::InvalidData, message))
            }
        }
    }
}
