//! `coati up`: one router, in the foreground.
//!
//! Order matters for safety: policies first, then the sockets that see clear packets, then the tunnel. So nothing can
//! leave or enter in clear at any moment of a start.

mod admin;
mod kernel;
mod log;
mod run;
mod threads;

use std::io;
use std::net::{IpAddr, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Instant;

use clap::Args;
use coati_config::rc_conf::GreTunnel;
use coati_config::site::Site;
use coati_crypto::{RandomSource, SystemRandom};
use coati_os::netlink::{Address, Netlink};
use coati_os::raw::RawSocket;
use coati_os::tun::Tun;
use coati_router::{Control, Forwarder, Plane, Tunnel};
use coati_sadb::{Refusal, Reply};

use crate::clock::unix_seconds;
use crate::files;
use admin::AdminServer;
use kernel::Kernel;
use log::RacoonLog;
use run::Daemon;
use threads::ToControl;

/// Arguments of `coati up`.
#[derive(Debug, Args)]
pub struct UpArgs {
    /// The folder with rc.conf, racoon.conf, psk.txt, setkey.conf, ospfd.conf; what is not there is done without.
    #[arg(default_value = "/usr/local/etc/racoon")]
    dir: PathBuf,
    /// Where to listen for commands; may be given more than once.
    #[arg(short, long = "socket", value_name = "PATH", default_values = ["/var/run/coati.sock", "/var/run/racoon.sock"])]
    sockets: Vec<PathBuf>,
    /// Where to log; without it the file behind -l in rc.conf's racoon_flags, else standard error.
    #[arg(short, long, value_name = "FILE")]
    log: Option<PathBuf>,
}

/// Runs the router until a signal ends it.
pub fn up(args: &UpArgs) -> ExitCode {
    coati_os::process::forbid_core_dumps();
    let (site, remarks) = match files::read(&args.dir, files::Purpose::Start) {
        Ok(read) => read,
        Err(error) => return fail(&error),
    };
    if files::report(&remarks) {
        eprintln!("coati: not started, because of the errors above; nothing was touched");
        return ExitCode::FAILURE;
    }
    match start(args, site).and_then(Daemon::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &io::Error) -> ExitCode {
    eprintln!("coati: {error}");
    ExitCode::FAILURE
}

/// Says what was being done when `error` came.
fn while_doing(what: impl std::fmt::Display) -> impl FnOnce(io::Error) -> io::Error {
    move |error| {
        let advice = match error.kind() {
            io::ErrorKind::PermissionDenied => " (run it as root, or inside `coati lab`)",
            io::ErrorKind::NotFound if error.raw_os_error().is_some() => " (is the tun module loaded?)",
            _ => "",
        };
        io::Error::new(error.kind(), format!("{what}: {error}{advice}"))
    }
}

fn randomness() -> Box<dyn RandomSource> {
    Box::new(SystemRandom::new())
}

fn start(args: &UpArgs, site: Site) -> io::Result<Daemon> {
    // Before anything is touched, so that a second daemon cannot disturb the first.
    let admin = AdminServer::bind(&args.sockets)?;
    let log_path = args.log.clone().or_else(|| log_of_flags(site.rc.racoon_flags.as_deref()));
    let log = RacoonLog::open(log_path.as_deref()).map_err(while_doing("the log file"))?;
    let tunnels = site.rc.tunnels.iter().map(|tunnel| Tunnel {
        name: tunnel.name.clone(),
        local: tunnel.local,
        remote: tunnel.remote,
        key: tunnel.key,
    });
    let mut plane = Plane::new(randomness);
    apply_statements(&mut plane, &site)?;
    plane.add_tunnels(tunnels);
    let raw =
        |protocol, name| RawSocket::new(protocol).map_err(while_doing(format!("a raw socket for {name}")));
    let esp = Arc::new(raw(50, "ESP (protocol 50)")?);
    let gre = Arc::new(raw(47, "GRE (protocol 47)")?);
    let mut netlink = Netlink::new().map_err(while_doing("netlink"))?;
    let (ike, natt) = ike_sockets(&site)?;
    let natt_receiving = natt.iter().map(UdpSocket::try_clone).collect::<io::Result<Vec<_>>>()?;
    let mut tuns = Vec::new();
    for tunnel in &site.rc.tunnels {
        tuns.push(Arc::new(make_tunnel(&mut netlink, tunnel)?));
    }
    if !tuns.is_empty() {
        // gateway_enable's work; files::read said so when rc.conf does not have it.
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").map_err(while_doing("net.ipv4.ip_forward=1"))?;
    }
    let (sender, from_threads) = channel();
    let (wake_reader, wake) = UnixStream::pair()?;
    wake_reader.set_nonblocking(true)?;
    wake.set_nonblocking(true)?;
    let (stop, stop_reader) = UnixStream::pair()?;
    let to_control = ToControl { sender, wake };
    let forwarder = || Forwarder::new(plane.tables(), randomness().as_mut());
    let mut joins = Vec::new();
    for (index, tun) in tuns.iter().enumerate() {
        let (control, stop) = (to_control.another()?, stop_reader.try_clone()?);
        joins.push(threads::outgoing(index, tun.clone(), esp.clone(), forwarder(), control, stop)?);
    }
    let to_exponentiate = to_control.another()?;
    let sockets = [esp.clone(), gre];
    joins.push(threads::incoming(
        sockets,
        natt_receiving,
        tuns.clone(),
        forwarder(),
        to_control,
        stop_reader,
    )?);
    let (jobs, jobs_receiver) = channel();
    joins.push(threads::exponentiating(jobs_receiver, to_exponentiate)?);
    let control = Control::new(&site, plane, randomness);
    let kernel = Kernel::new(netlink).map_err(while_doing("watching interfaces"))?;
    Ok(Daemon::new(
        site,
        control,
        esp,
        (ike, natt),
        jobs,
        kernel,
        admin,
        from_threads,
        wake_reader,
        stop,
        joins,
        log,
    ))
}

/// The file behind -l in the flags of racoon(8).
fn log_of_flags(flags: Option<&str>) -> Option<PathBuf> {
    let mut words = flags?.split_whitespace();
    while let Some(word) = words.next() {
        match word.strip_prefix("-l") {
            Some("") => return words.next().map(PathBuf::from),
            Some(path) => return Some(PathBuf::from(path)),
            None => {}
        }
    }
    None
}

/// Loads setkey.conf. That a policy is there already is said and not fatal, as with setkey -f.
fn apply_statements(plane: &mut Plane, site: &Site) -> io::Result<()> {
    for statement in &site.statements {
        match plane.request(Instant::now(), unix_seconds(), statement.request.clone()) {
            Reply::Refused { refusal: Refusal::Exists } => {
                eprintln!("{}: warning: it exists already", statement.place);
            }
            Reply::Refused { refusal } => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("{}: {refusal}", statement.place),
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

fn make_tunnel(netlink: &mut Netlink, tunnel: &GreTunnel) -> io::Result<Tun> {
    let doing = || while_doing(format!("tunnel interface {} (TUN)", tunnel.name));
    if !std::path::Path::new("/dev/net/tun").exists() {
        let message = "no /dev/net/tun: load the tun module, or in a container pass the device in";
        return Err(io::Error::new(io::ErrorKind::Unsupported, message));
    }
    set_fallback_aside(netlink, &tunnel.name)?;
    let tun = Tun::create(&tunnel.name).map_err(doing())?;
    let link = netlink.link(&tunnel.name).map_err(doing())?;
    netlink.set_mtu(link.index, tunnel.mtu.unwrap_or(1400)).map_err(doing())?;
    let (local, peer) = (IpAddr::V4(tunnel.address), Some(IpAddr::V4(tunnel.peer)));
    let address = Address { index: link.index, local, peer, prefix_len: tunnel.prefix_len };
    netlink.add_address(&address).map_err(doing())?;
    netlink.set_multicast(link.index).map_err(doing())?;
    netlink.set_up(link.index, true).map_err(doing())?;
    Ok(tun)
}

/// Where ip_gre is loaded, every network namespace has a fallback device called gre0, which cannot be deleted: it gets
/// another name, so that the how-to's is free.
fn set_fallback_aside(netlink: &mut Netlink, name: &str) -> io::Result<()> {
    if name == "gre0"
        && let Ok(link) = netlink.link(name)
    {
        netlink.set_up(link.index, false)?;
        netlink
            .rename(link.index, "gre0-fallback")
            .map_err(while_doing("renaming the kernel's fallback device gre0"))?;
    }
    Ok(())
}

/// The port that IKE shares with ESP (RFC 3947).
const NATT_PORT: u16 = 4500;

/// The addresses IKE speaks from: those `listen` names, else the near ends of tunnels and policies.
fn ike_addresses(site: &Site) -> Vec<(IpAddr, u16)> {
    let Some(racoon) = &site.racoon else { return Vec::new() };
    let mut addresses = racoon.listen.clone();
    if addresses.is_empty() {
        let near = site.policies().filter(|(policy, _)| policy.direction == coati_sadb::Direction::Out);
        let near = near.map(|(policy, _)| policy.selector.source).filter(coati_sadb::Prefix::is_host);
        addresses.extend(near.map(|prefix| (prefix.address, 500)));
        addresses.extend(site.rc.tunnels.iter().map(|tunnel| (IpAddr::V4(tunnel.local), 500)));
        addresses.sort_unstable();
        addresses.dedup();
    }
    addresses
}

/// The sockets for IKE alone, and those it shares with ESP.
fn ike_sockets(site: &Site) -> io::Result<(Vec<UdpSocket>, Vec<UdpSocket>)> {
    let open = |(address, port): (IpAddr, u16)| {
        coati_os::raw::ike_socket(address, port).map_err(|error| {
            let advice = match error.kind() {
                io::ErrorKind::AddrInUse => "another IKE daemon has it: stop racoon, charon or pluto first",
                io::ErrorKind::AddrNotAvailable => "no interface has this address",
                io::ErrorKind::PermissionDenied => "ports below 1024 need root",
                _ => "IKE needs it",
            };
            io::Error::new(error.kind(), format!("UDP {address} port {port}: {error} ({advice})"))
        })
    };
    let (shared, alone): (Vec<_>, Vec<_>) =
        ike_addresses(site).into_iter().partition(|(_, port)| *port == NATT_PORT);
    let ike: Vec<UdpSocket> = alone.iter().copied().map(open).collect::<io::Result<_>>()?;
    let mut natt: Vec<UdpSocket> = shared.iter().copied().map(open).collect::<io::Result<_>>()?;
    for (address, _) in alone.iter().filter(|_| shared.is_empty()) {
        match open((*address, NATT_PORT)) {
            Ok(socket) => natt.push(socket),
            // Nobody asked for it by name: without it there is no way through a NAT, and everything else works.
            Err(error) => eprintln!("coati: warning: no NAT traversal on this address: {error}"),
        }
    }
    Ok((ike, natt))
}
