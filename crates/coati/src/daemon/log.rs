//! The log: in racoon's form and words, so that what people grep for is still there, or as JSON for programs.
//!
//! ```text
//! 2026-11-24 10:00:00: INFO: ISAKMP-SA established 192.0.2.1[500]-198.51.100.1[500] spi:…
//! 2026-11-24 10:00:00: [198.51.100.1] INFO: received INITIAL-CONTACT
//! {"time":"2026-11-24T10:00:00+00:00","level":"info","event":"isakmp-established","local":"192.0.2.1:500",…}
//! ```

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use clap::ValueEnum;
use coati_bfd as bfd;
use coati_ike::{EndReason, Event, ExchangeMode};
use coati_ospf as ospf;
use coati_sadb::{Mode, SaId};
use serde_json::{Map, Value, json};

use crate::clock::{local, unix_seconds};

/// What a line looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogForm {
    /// As racoon writes it.
    #[default]
    Racoon,
    /// One JSON object a line.
    Json,
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard error.
    Stderr,
    /// Appended to this file, which only its owner can read; with the flag, shown on standard output too.
    File(PathBuf, bool),
    /// The system's log.
    Syslog,
}

/// How important a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something does not work.
    Error,
    /// Something is not as it should be.
    Warning,
    /// Worth a notice.
    Notify,
    /// The course of things.
    Info,
    /// For developers.
    Debug,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Warning => "WARNING",
            Self::Notify => "NOTIFY",
            Self::Info => "INFO",
            Self::Debug => "DEBUG",
        }
    }

    /// syslog's number (RFC 5424 section 6.2.1).
    fn severity(self) -> u8 {
        match self {
            Self::Error => 3,
            Self::Warning => 4,
            Self::Notify => 5,
            Self::Info => 6,
            Self::Debug => 7,
        }
    }
}

/// Where the system's log listens, on Linux and on FreeBSD.
const SYSLOG_SOCKETS: [&str; 2] = ["/dev/log", "/var/run/log"];
/// `LOG_DAEMON`.
const FACILITY: u8 = 3;

/// The log.
#[derive(Debug)]
pub struct Log {
    target: LogTarget,
    form: LogForm,
    level: Level,
    file: Option<File>,
    syslog: Option<UnixDatagram>,
}

impl Log {
    /// Opens it; lines below `level` are left out.
    pub fn open(target: LogTarget, form: LogForm, level: Level) -> io::Result<Self> {
        let mut log = Self { target, form, level, file: None, syslog: None };
        log.reopen()?;
        Ok(log)
    }

    /// The file becomes another user's, who then can open it anew.
    pub fn give_to(&self, user: u32, group: u32) -> io::Result<()> {
        match &self.file {
            Some(file) => std::os::unix::fs::fchown(file, Some(user), Some(group)),
            None => Ok(()),
        }
    }

    /// Opens the file anew: newsyslog or logrotate has moved it. When that fails, the old one is used on.
    pub fn reopen(&mut self) -> io::Result<()> {
        match &self.target {
            LogTarget::Stderr => {}
            LogTarget::File(path, _) => {
                let file =
                    OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(|error| {
                        io::Error::new(error.kind(), format!("{}: {error}", path.display()))
                    })?;
                self.file = Some(file);
            }
            LogTarget::Syslog => {
                let socket = UnixDatagram::unbound()?;
                socket.set_nonblocking(true)?;
                let connected = SYSLOG_SOCKETS.iter().any(|path| socket.connect(path).is_ok());
                self.syslog = connected.then_some(socket);
            }
        }
        Ok(())
    }

    /// From now on lines below this are left out.
    pub fn set_level(&mut self, level: Level) {
        self.level = level;
    }

    /// One line.
    pub fn line(&mut self, level: Level, text: &str) {
        self.write(level, None, "message", text, Map::new());
    }

    /// One line about a peer.
    pub fn of_peer(&mut self, peer: IpAddr, level: Level, text: &str) {
        self.write(level, Some(peer), "message", text, Map::new());
    }

    fn event(&mut self, level: Level, name: &str, text: &str, fields: Value) {
        let fields = match fields {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        self.write(level, None, name, text, fields);
    }

    /// Whatever came from outside is made harmless for terminals.
    fn write(
        &mut self,
        level: Level,
        peer: Option<IpAddr>,
        event: &str,
        text: &str,
        fields: Map<String, Value>,
    ) {
        if level > self.level {
            return;
        }
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let line = match self.form {
            LogForm::Racoon => {
                let peer = peer.map_or(String::new(), |peer| format!("[{peer}] "));
                format!("{peer}{}: {text}", level.name())
            }
            LogForm::Json => {
                let mut object = Map::new();
                object.insert("time".into(), local(unix_seconds(), "%Y-%m-%dT%H:%M:%S%:z").into());
                object.insert("level".into(), level.name().to_lowercase().into());
                object.insert("event".into(), event.into());
                if let Some(peer) = peer {
                    object.insert("peer".into(), peer.to_string().into());
                }
                object.extend(fields);
                object.insert("message".into(), text.into());
                Value::Object(object).to_string()
            }
        };
        let stamped = match self.form {
            LogForm::Racoon => format!("{}: {line}\n", local(unix_seconds(), "%Y-%m-%d %H:%M:%S")),
            LogForm::Json => format!("{line}\n"),
        };
        // There is nobody to tell that the log cannot be written.
        let _ = match (&self.target, &mut self.file, &self.syslog) {
            (LogTarget::File(_, too), Some(file), _) => {
                if *too {
                    let _ = io::stdout().write_all(stamped.as_bytes());
                }
                file.write_all(stamped.as_bytes())
            }
            (LogTarget::Syslog, _, Some(socket)) => {
                socket.send(syslog_line(level, &line).as_bytes()).map(|_| ())
            }
            _ => io::stderr().write_all(stamped.as_bytes()),
        };
    }

    /// What OSPF tells, in FRR's words for adjacencies.
    pub fn ospf(&mut self, event: &ospf::Event) {
        match event {
            ospf::Event::NeighbourState { router_id, address, interface, from, to, why } => {
                let (from, to) = (from.name(), to.name());
                let text =
                    format!("AdjChg: Nbr {router_id}({address}) on {interface}: {from} -> {to} ({why})");
                let fields = json!({
                    "router_id": router_id.to_string(), "address": address.to_string(), "interface": interface,
                    "from": from, "to": to, "why": why.to_string(),
                });
                self.event(Level::Info, "ospf-neighbour", &text, fields);
            }
            ospf::Event::Problem(text) => self.event(Level::Error, "ospf-problem", text, Value::Null),
            ospf::Event::Restart(text) => self.event(Level::Info, "ospf-restart", text, Value::Null),
            ospf::Event::Debug(text) => {
                self.event(Level::Info, "ospf-debug", &format!("OSPF: {text}"), Value::Null)
            }
            ospf::Event::RoutesChanged(_) => {}
        }
    }

    /// What BFD tells.
    pub fn bfd(&mut self, event: &bfd::Event) {
        let (ends, name, text, up) = match event {
            bfd::Event::Up { ends, name } => (ends, name, "is up".to_owned(), true),
            bfd::Event::Down { ends, name, diagnostic, remote, .. } => {
                let theirs = match *remote {
                    bfd::Diagnostic::NONE => String::new(),
                    remote => format!(" (there: {})", remote.words()),
                };
                (ends, name, format!("is down: {}{theirs}", diagnostic.words()), false)
            }
        };
        let fields = json!({ "peer": ends.peer.to_string(), "interface": name, "up": up });
        self.event(Level::Info, "bfd", &format!("BFD session with {} on {name} {text}", ends.peer), fields);
    }

    /// What IKE tells.
    pub fn ike(&mut self, event: &Event) {
        let ends = |local: &SocketAddr, remote: &SocketAddr| json!({ "local": local, "remote": remote });
        match event {
            Event::Phase1Begun { exchange, local, remote, initiator } => {
                let word = if *initiator { "initiate" } else { "respond" };
                let text = format!("{word} new phase 1 negotiation: {}<=>{}", end(local), end(remote));
                self.event(Level::Info, "phase1-begun", &text, ends(local, remote));
                let mode = match exchange {
                    ExchangeMode::Main => "Identity Protection",
                    ExchangeMode::Aggressive => "Aggressive",
                };
                self.line(Level::Info, &format!("begin {mode} mode."));
            }
            Event::IsakmpEstablished { local, remote, spi } => {
                let text = format!("ISAKMP-SA established {}-{} spi:{spi}", end(local), end(remote));
                let fields = json!({ "local": local, "remote": remote, "spi": spi });
                self.event(Level::Info, "isakmp-established", &text, fields);
            }
            Event::IsakmpDeleted { local, remote, spi, why } => {
                let word = if *why == EndReason::Expired { "expired" } else { "deleted" };
                let text = format!("ISAKMP-SA {word} {}-{} spi:{spi} ({why})", end(local), end(remote));
                let fields = json!({ "local": local, "remote": remote, "spi": spi, "why": why.to_string() });
                self.event(Level::Info, "isakmp-deleted", &text, fields);
            }
            Event::QuickModeBegun { local, remote, initiator } => {
                let word = if *initiator { "initiate" } else { "respond" };
                let text = format!("{word} new phase 2 negotiation: {}<=>{}", end(local), end(remote));
                self.event(Level::Info, "phase2-begun", &text, ends(local, remote));
            }
            Event::PairEstablished { inbound, outbound, mode, .. } => {
                for id in [inbound, outbound] {
                    self.event(
                        Level::Info,
                        "sa-established",
                        &format!("IPsec-SA established: {}", sa(id, *mode)),
                        sa_fields(id),
                    );
                }
            }
            Event::PairDeleted { inbound, outbound, mode, why } => {
                for id in [inbound, outbound] {
                    let text = format!("IPsec-SA expired: {} ({why})", sa(id, *mode));
                    self.event(Level::Info, "sa-deleted", &text, sa_fields(id));
                }
            }
            Event::PeerDead { remote } => {
                self.of_peer(*remote, Level::Info, &format!("DPD: remote {remote} seems to be dead."));
            }
            Event::InitialContact { remote } => {
                self.of_peer(*remote, Level::Info, "received INITIAL-CONTACT");
            }
            Event::CertificateAccepted { remote, subject, warnings } => {
                self.of_peer(remote.ip(), Level::Info, &format!("certificate of \"{subject}\" accepted"));
                warnings.iter().for_each(|warning| self.of_peer(remote.ip(), Level::Warning, warning));
            }
            Event::LoggedIn { remote, user, .. } => {
                self.of_peer(remote.ip(), Level::Info, &format!("login succeeded for user \"{user}\""));
            }
            Event::AddressGiven { remote, user, address } => {
                self.of_peer(
                    remote.ip(),
                    Level::Info,
                    &format!("address {address} given to user \"{user}\""),
                );
            }
            Event::Ready { settings: None, .. } => {}
            Event::Ready { remote, settings: Some(settings), .. } => {
                let address = settings.address.map_or("none".to_owned(), |address| address.to_string());
                self.of_peer(
                    remote.ip(),
                    Level::Info,
                    &format!("settings received, internal address {address}"),
                );
            }
            Event::Failure(failure) => {
                let fields = serde_json::to_value(failure).ok();
                let fields = fields.and_then(|fields| fields.as_object().cloned()).unwrap_or_default();
                self.write(Level::Error, Some(failure.remote), "failure", &failure.explanation, fields);
            }
        }
    }
}

/// What the system's log wants (RFC 3164): the daemon adds nothing to it.
fn syslog_line(level: Level, line: &str) -> String {
    let priority = FACILITY * 8 + level.severity();
    let time = local(unix_seconds(), "%b %e %H:%M:%S");
    format!("<{priority}>{time} racoon[{}]: {line}", std::process::id())
}

fn end(address: &SocketAddr) -> String {
    format!("{}[{}]", address.ip(), address.port())
}

fn sa(id: &SaId, mode: Mode) -> String {
    let spi = id.spi.0;
    let mode = if mode == Mode::Tunnel { "Tunnel" } else { "Transport" };
    format!("ESP/{mode} {}[500]->{}[500] spi={spi}(0x{spi:x})", id.source, id.destination)
}

fn sa_fields(id: &SaId) -> Value {
    json!({
        "source": id.source.to_string(), "destination": id.destination.to_string(),
        "proto": id.proto.setkey_name(), "spi": id.spi.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use coati_sadb::{Port, Prefix, ReqId, SaProto, Selector, Spi, Upper};

    use super::*;

    fn written(form: LogForm, write: impl FnOnce(&mut Log)) -> String {
        let name = format!("coati-log-{}-{:?}-{form:?}", std::process::id(), std::thread::current().id());
        let path = std::env::temp_dir().join(name.replace(['(', ')'], ""));
        let mut log = Log::open(LogTarget::File(path.clone(), false), form, Level::Info).unwrap();
        write(&mut log);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::remove_file(path).unwrap();
        text
    }

    fn established() -> Event {
        Event::IsakmpEstablished {
            local: "192.0.2.1:500".parse().unwrap(),
            remote: "192.0.2.2:500".parse().unwrap(),
            spi: "69115f39ec3bca67:6191076ca75838dc".into(),
        }
    }

    /// Lines of a real racoon, their timestamps cut off.
    #[test]
    fn lines_as_a_real_racoon_writes_them() {
        let text = written(LogForm::Racoon, |log| {
            log.ike(&established());
            log.ike(&Event::InitialContact { remote: "192.0.2.2".parse().unwrap() });
            log.line(Level::Debug, "below the level");
            log.line(Level::Error, "from outside \u{1b}[2J\nforged line");
        });
        let lines: Vec<&str> = text.lines().map(|line| line.get(19..).unwrap()).collect();
        assert_eq!(
            lines,
            [
                ": INFO: ISAKMP-SA established 192.0.2.1[500]-192.0.2.2[500] \
                 spi:69115f39ec3bca67:6191076ca75838dc",
                ": [192.0.2.2] INFO: received INITIAL-CONTACT",
                ": ERROR: from outside  [2J forged line",
            ]
        );
    }

    /// The log of a real racoon from its first negotiation on, without what only racoon says: that a request waits, and
    /// what vendor ids it has received. It writes both SAs of a pair as if they went out; we write which way each goes.
    #[test]
    fn a_negotiation_as_a_real_racoon_logs_it() {
        let golden = include_str!("../../golden/racoon/racoon-a.log");
        let known = golden.lines().skip_while(|line| !line.contains("initiate new phase 1"));
        let known = known.filter(|line| !line.contains("received Vendor ID") && !line.contains("Microsoft"));
        let known: Vec<&str> = known.map(|line| line.get(19..).unwrap()).collect();
        let [local, remote]: [SocketAddr; 2] =
            ["192.0.2.1:500", "192.0.2.2:500"].map(|end| end.parse().unwrap());
        let id = |source: SocketAddr, destination: SocketAddr, spi| SaId {
            source: source.ip(),
            destination: destination.ip(),
            proto: SaProto::Esp,
            spi: Spi(spi),
        };
        let selector = Selector {
            source: Prefix::host(local.ip()),
            source_port: Port::Any,
            destination: Prefix::host(remote.ip()),
            destination_port: Port::Any,
            upper: Upper::GRE,
        };
        let pair = |inbound, outbound| Event::PairEstablished {
            inbound: id(remote, local, inbound),
            outbound: id(local, remote, outbound),
            reqid: ReqId(16_384),
            selector,
            mode: Mode::Transport,
            renewal: false,
        };
        let text = written(LogForm::Racoon, |log| {
            let exchange = ExchangeMode::Main;
            log.ike(&Event::Phase1Begun { exchange, local, remote, initiator: true });
            log.ike(&established());
            log.ike(&Event::InitialContact { remote: remote.ip() });
            log.ike(&Event::QuickModeBegun { local, remote, initiator: false });
            log.ike(&pair(260_769_986, 267_276_710));
            log.ike(&Event::QuickModeBegun { local, remote, initiator: true });
            log.ike(&pair(57_661_132, 57_526_472));
        });
        let outward = text.replace("192.0.2.2[500]->192.0.2.1[500]", "192.0.2.1[500]->192.0.2.2[500]");
        let ours: Vec<&str> = outward.lines().map(|line| line.get(19..).unwrap()).collect();
        assert_eq!(ours, known);
        let stamp = |line: &str| line.bytes().take(19).map(|byte| byte.is_ascii_digit()).collect::<Vec<_>>();
        assert_eq!(text.lines().next().map(stamp), golden.lines().next().map(stamp));
    }

    #[test]
    fn json_lines_have_fields() {
        let text = written(LogForm::Json, |log| log.ike(&established()));
        let line: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(line["event"], "isakmp-established");
        assert_eq!(line["remote"], "192.0.2.2:500");
        assert_eq!(line["level"], "info");
    }

    #[test]
    fn a_moved_file_is_left_alone_after_reopening() {
        let path = std::env::temp_dir().join(format!("coati-log-{}-moved", std::process::id()));
        let moved = path.with_extension("0");
        let mut log = Log::open(LogTarget::File(path.clone(), false), LogForm::Racoon, Level::Info).unwrap();
        log.line(Level::Info, "one");
        fs::rename(&path, &moved).unwrap();
        log.line(Level::Info, "two");
        log.reopen().unwrap();
        log.line(Level::Info, "three");
        assert_eq!(fs::read_to_string(&moved).unwrap().lines().count(), 2);
        assert!(fs::read_to_string(&path).unwrap().ends_with("INFO: three\n"));
        for path in [path, moved] {
            fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn syslog_lines() {
        let line = syslog_line(Level::Warning, "WARNING: text");
        assert!(line.starts_with("<28>") && line.ends_with(": WARNING: text") && line.contains(" racoon["));
    }
}
