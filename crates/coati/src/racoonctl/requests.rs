//! Carries a command out: asks the daemon, prints its answer, waits where the command does.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use coati_router::admin::{AdminReply, AdminRequest, Establish, EventKind, EventStatus, Login};
use coati_sadb::{Reply, Request};

use super::Options;
use super::command::{Command, Target};
use super::password;
use super::tables::{Width, event_text, isakmp_text, mode_cfg_text, schedule_text};
use crate::client::Client;
use crate::clock::unix_seconds;
use crate::setkey::sas_text;
use crate::status;

/// A negotiation that has neither succeeded nor failed by then is not waited for any longer: IKE itself gives up
/// before.
const PATIENCE: Duration = Duration::from_secs(90);

/// Does it.
pub fn carry_out(options: &Options, command: Command) -> io::Result<()> {
    let client = Client::connect(options.socket.as_deref().map(Path::new))?;
    let mut session = Session { options, client };
    match command {
        Command::Reload => session.order(&AdminRequest::Reload),
        Command::Schedule => session.schedule(),
        Command::Isakmp => session.isakmp(),
        Command::Show(proto) => session.sas(Request::Dump(proto)),
        Command::FlushIsakmp => session.order(&AdminRequest::FlushIsakmp),
        Command::Flush(proto) => session.order(&AdminRequest::Sadb(Request::Flush(proto))),
        Command::Delete(Target::Isakmp { local, remote }) => {
            session.order(&AdminRequest::DeleteIsakmp { local, remote })
        }
        Command::Delete(Target::Pair(proto, selector)) => {
            session.order(&AdminRequest::DeletePair { proto, selector })
        }
        Command::Establish { target, login, section, wait } => {
            let (what, done) = match target {
                Target::Pair(proto, selector) => {
                    (Establish::Pair { proto, selector }, (selector.destination.address, EventKind::Phase2Up))
                }
                Target::Isakmp { local, remote } => {
                    let (local, remote) = (local.ip(), remote.ip());
                    let login = ask_password(login)?;
                    let what = Establish::Isakmp { local, remote, name: section, login };
                    (what, (remote, EventKind::Phase1ModeCfg))
                }
            };
            session.establish(what, wait.then_some(done))
        }
        Command::Connect { gateway, login } => {
            let local = source_towards(gateway)?;
            let login = ask_password(login)?;
            let what = Establish::Isakmp { local, remote: gateway, name: None, login };
            session.establish(what, Some((gateway, EventKind::Phase1ModeCfg)))
        }
        Command::Disconnect(gateway) => session.disconnect(gateway),
        Command::Events => session.events(),
        Command::Certificate { local, remote } => {
            match session.call(&AdminRequest::Certificate { local, remote })? {
                AdminReply::Certificate(bytes) => io::stdout().write_all(&bytes),
                _ => Err(unexpected()),
            }
        }
        Command::Logout(login) => session.order(&AdminRequest::LogoutUser(login)),
        Command::Status { verbose, json } => session.status(verbose, json || options.json),
    }
}

struct Session<'a> {
    options: &'a Options,
    client: Client,
}

impl Session<'_> {
    fn call(&mut self, request: &AdminRequest) -> io::Result<AdminReply> {
        if self.options.debug {
            // Without what only the daemon may know.
            let shown = match request {
                AdminRequest::Establish(Establish::Isakmp { login: Some(_), .. }) => {
                    "\"establish\" with a login".to_owned()
                }
                request => serde_json::to_string(request)?,
            };
            eprintln!("{shown}");
        }
        self.client.call(request)
    }

    /// A request that is done or not.
    fn order(&mut self, request: &AdminRequest) -> io::Result<()> {
        match self.call(request)? {
            AdminReply::Done => Ok(()),
            AdminReply::Text(text) => {
                print!("{text}");
                Ok(())
            }
            AdminReply::Sadb(Reply::Refused { refusal }) => Err(io::Error::other(refusal.to_string())),
            AdminReply::Sadb(_) => Ok(()),
            _ => Err(unexpected()),
        }
    }

    fn isakmp(&mut self) -> io::Result<()> {
        let AdminReply::Isakmp(list) = self.call(&AdminRequest::Isakmp)? else { return Err(unexpected()) };
        if self.options.json {
            println!("{}", serde_json::to_string(&list)?);
        } else {
            print!("{}", isakmp_text(&list, Width::of(self.options.detail)));
        }
        Ok(())
    }

    fn sas(&mut self, dump: Request) -> io::Result<()> {
        let AdminReply::Status(status) = self.call(&AdminRequest::Status)? else { return Err(unexpected()) };
        match self.call(&AdminRequest::Sadb(dump))? {
            AdminReply::Sadb(Reply::Sas { sas }) => {
                if self.options.json {
                    println!("{}", serde_json::to_string(&sas)?);
                } else {
                    print!("{}", sas_text(&sas, unix_seconds(), status.pid, self.options.mask_keys));
                }
                Ok(())
            }
            AdminReply::Sadb(Reply::Refused { refusal }) => Err(io::Error::other(refusal.to_string())),
            _ => Err(unexpected()),
        }
    }

    fn schedule(&mut self) -> io::Result<()> {
        let AdminReply::Schedule(list) = self.call(&AdminRequest::Schedule)? else {
            return Err(unexpected());
        };
        if self.options.json {
            println!("{}", serde_json::to_string(&list)?);
        } else {
            print!("{}", schedule_text(&list, self.options.detail > 0));
        }
        Ok(())
    }

    fn status(&mut self, verbose: bool, json: bool) -> io::Result<()> {
        let AdminReply::Status(found) = self.call(&AdminRequest::Status)? else { return Err(unexpected()) };
        if !verbose {
            return status::print(&found, json);
        }
        let AdminReply::Ike(peers) = self.call(&AdminRequest::Ike)? else { return Err(unexpected()) };
        if json {
            println!(
                "{}",
                serde_json::to_string_pretty(&serde_json::json!({ "status": *found, "ike": peers }))?
            );
        } else {
            status::print(&found, false)?;
            print!("{}", status::ike_text(&peers));
        }
        Ok(())
    }

    /// Prints what happens until it is interrupted or the daemon ends.
    fn events(&mut self) -> io::Result<()> {
        self.order(&AdminRequest::Events)?;
        loop {
            let AdminReply::Event(event) = self.client.next()? else { return Err(unexpected()) };
            self.print_event(&event)?;
            if event.kind == EventKind::Quit {
                return Ok(());
            }
        }
    }

    fn print_event(&self, event: &EventStatus) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.options.json {
            writeln!(out, "{}", serde_json::to_string(event)?)?;
        } else {
            write!(out, "{}", event_text(event, self.options.detail > 0))?;
        }
        out.flush()
    }

    /// Begins, and waits for the event `done` with that peer when there is one to wait for.
    fn establish(&mut self, what: Establish, done: Option<(IpAddr, EventKind)>) -> io::Result<()> {
        // Before the order, so that nothing is missed.
        if done.is_some() {
            self.order(&AdminRequest::Events)?;
        }
        match self.order(&AdminRequest::Establish(what)) {
            // As racoonctl has it: that it is there already is what was wanted.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
            Ok(()) => match done {
                Some((peer, kind)) => self.wait_for(peer, kind),
                None => Ok(()),
            },
        }
    }

    fn disconnect(&mut self, gateway: IpAddr) -> io::Result<()> {
        self.order(&AdminRequest::Events)?;
        let AdminReply::Isakmp(list) = self.call(&AdminRequest::Isakmp)? else { return Err(unexpected()) };
        let established = list.iter().any(|sa| sa.remote.ip() == gateway && sa.state >= 9);
        self.order(&AdminRequest::Disconnect(gateway))?;
        if established { self.wait_for(gateway, EventKind::Phase1Down) } else { Ok(()) }
    }

    fn wait_for(&mut self, peer: IpAddr, kind: EventKind) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.client.limit(deadline.saturating_duration_since(Instant::now()));
            let AdminReply::Event(event) = self.client.next()? else { return Err(unexpected()) };
            if event.remote.is_some_and(|remote| remote.ip() != peer) {
                continue;
            }
            if event.kind == kind {
                return match kind {
                    EventKind::Phase1ModeCfg if !self.options.json => {
                        print!("{}", mode_cfg_text(&event, columns()));
                        Ok(())
                    }
                    _ => self.print_event(&event),
                };
            }
            if event.kind.is_failure() {
                let text = event.kind.text().unwrap_or("it failed");
                return Err(io::Error::other(format!("{text}: {}", event.why)));
            }
        }
    }
}

fn unexpected() -> io::Error {
    io::Error::other("the daemon gave an answer of another kind")
}

fn ask_password(login: Option<String>) -> io::Result<Option<Login>> {
    let ask = |name| password::ask("Password: ").map(|password| Login { name, password });
    login.map(ask).transpose()
}

/// The address that packets to `gateway` leave with.
fn source_towards(gateway: IpAddr) -> io::Result<IpAddr> {
    let any = match gateway {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let explain =
        |error: io::Error| io::Error::new(error.kind(), format!("no way from here to {gateway}: {error}"));
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).map_err(explain)?;
    socket.connect((gateway, 4500)).map_err(explain)?;
    Ok(socket.local_addr().map_err(explain)?.ip())
}

/// Width of the terminal; 0 without one.
fn columns() -> usize {
    rustix::termios::tcgetwinsize(io::stdout()).map_or(0, |size| usize::from(size.ws_col))
}
