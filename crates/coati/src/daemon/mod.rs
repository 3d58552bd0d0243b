//! `coati up` and `racoon`: one router.
//!
//! Order matters for safety: policies first, then the sockets that see clear packets, then the tunnel. So nothing can
//! leave or enter in clear at any moment of a start.

mod admin;
mod debug_keys;
mod hooks;
mod kernel;
mod kernel_home;
mod log;
mod logins;
mod memory;
mod racoon;
mod reload;
mod routing;
mod run;
mod threads;
mod trial;

use std::io;
use std::net::{IpAddr, Ipv6Addr, UdpSocket};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use clap::Args;
use coati_config::racoon::{Account, Adminsock, LogLevel, UdpEndpoint};
use coati_config::rc_conf::GreTunnel;
use coati_config::site::Site;
use coati_config::{Diagnostic, Origin};
use coati_crypto::{RandomSource, SystemRandom};
use coati_ipsec::Packet;
use coati_os::netlink::{Address, Netlink};
use coati_os::raw::{RawSocket, Wire};
use coati_os::tun::{Tun, TunWriter};
use coati_router::{Control, Forwarder, INSIDE, Plane, Tunnel};
use coati_sadb::{Action, Mode, Policy, Prefix, Refusal, Reply};

pub use racoon::run as racoon;
pub use trial::{algorithms, look_at_home, try_home};

use crate::client::SOCKET_PATHS;
use crate::clock::unix_seconds;
use crate::dataplane::{Dataplane, Wish};
use crate::files::{self, Place, Purpose};
use admin::{AdminServer, AdminSocket};
use debug_keys::DebugKeys;
use hooks::Hooks;
use kernel::Kernel;
use kernel_home::GreTunnels;
use log::{Level, Log, LogForm, LogTarget};
use logins::Logins;
use memory::MemoryFile;
use run::{Carried, Daemon, EspOnIkePort, Parts};
use threads::{Receivers, ToControl};

/// Arguments of `coati up`.
#[derive(Debug, Args)]
pub struct UpArgs {
    /// The folder with rc.conf, racoon.conf, psk.txt, setkey.conf, ospfd.conf; what is not there is done without.
    #[arg(default_value = "/usr/local/etc/racoon")]
    dir: PathBuf,
    /// Where to listen for commands; may be given more than once. Without it /var/run/coati.sock and what racoon.conf
    /// says of adminsock, or /var/run/racoon.sock.
    #[arg(short, long = "socket", value_name = "PATH")]
    sockets: Vec<PathBuf>,
    /// Where to log; without it the file behind -l in rc.conf's racoon_flags, else standard error.
    #[arg(short, long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Where OSPF keeps what it has to know after a restart: its neighbours, and whether they wait for it. Without it
    /// /var/lib/coati/ospf.json, or nowhere when --socket is given.
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// What lines of the log look like.
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    log_format: LogForm,
    /// For debugging: write the keys of all SAs to this folder, in files of Wireshark's and tshark's settings. Whoever
    /// reads them can read all traffic; log and status say so all the time.
    #[arg(long, value_name = "FOLDER")]
    debug_keys: Option<PathBuf>,
    /// Where SAs, policies and tunnels live.
    #[arg(long, value_enum, default_value_t, value_name = "HOME")]
    dataplane: Wish,
    /// Lets routers cut what the embedded data plane's tunnels send, also packets that must not be cut: for paths where
    /// routers' "fragmentation needed" gets lost, and fragments do not.
    #[arg(long)]
    clear_df: bool,
}

/// What a start is told by the command line.
#[derive(Clone, Debug)]
struct Start {
    place: Place,
    /// Where SAs and policies are, and why there.
    home: String,
    /// Instead of the usual ones.
    sockets: Vec<PathBuf>,
    /// OSPF's memory; `None`: it has none.
    state: Option<PathBuf>,
    /// `None` is what rc.conf says, else standard error.
    log: Option<LogTarget>,
    form: LogForm,
    /// How much more is logged than racoon.conf says.
    more: usize,
    /// IKE's port, where `listen` names none.
    port: u16,
    /// Address families that IKE uses: IPv4, IPv6.
    families: (bool, bool),
    /// Whether to write the file with the number of the process.
    pid_file: bool,
    /// Whether routers may cut what tunnels send, whatever is inside.
    clear_df: bool,
    /// Where to write keys to; only the command line can say so.
    debug_keys: Option<PathBuf>,
}

/// Runs the router until a signal ends it.
pub fn up(args: &UpArgs) -> ExitCode {
    coati_os::process::forbid_core_dumps();
    let choice = args.dataplane.choose(&args.dir);
    let start = Start {
        place: Place { dir: args.dir.clone(), racoon_conf: None, dataplane: choice.home },
        home: choice.explanation(),
        sockets: args.sockets.clone(),
        state: args.state.clone().or_else(|| args.sockets.is_empty().then(|| memory::USUAL_PLACE.into())),
        log: args.log.clone().map(|path| LogTarget::File(path, false)),
        form: args.log_format,
        more: 0,
        port: IKE_PORT,
        families: (true, true),
        pid_file: false,
        clear_df: args.clear_df,
        debug_keys: args.debug_keys.clone(),
    };
    let site = match start.read("coati") {
        Ok(site) => site,
        Err(code) => return code,
    };
    match start.begin(site).and_then(Daemon::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail("coati", &error),
    }
}

fn fail(program: &str, error: &io::Error) -> ExitCode {
    eprintln!("{program}: {error}");
    ExitCode::FAILURE
}

impl Start {
    /// The files, their remarks printed; the exit code when they do not do.
    fn read(&self, program: &str) -> Result<Site, ExitCode> {
        let (site, remarks) = self.read_files().map_err(|error| fail(program, &error))?;
        if files::report(&remarks) {
            eprintln!("{program}: not started, because of the errors above; nothing was touched");
            return Err(ExitCode::FAILURE);
        }
        Ok(site)
    }

    /// The files, with what the command line says beside them.
    fn read_files(&self) -> io::Result<(Site, Vec<Diagnostic>)> {
        let (mut site, remarks) = self.place.read(Purpose::Start)?;
        if self.port != IKE_PORT {
            let addresses = self.ike_addresses(&site);
            if let Some(racoon) = site.racoon.as_mut().filter(|racoon| racoon.listen.isakmp.is_empty()) {
                let endpoint =
                    |(address, port)| (UdpEndpoint { address, zone: None, port }, Origin::default());
                racoon.listen.isakmp = addresses.into_iter().map(endpoint).collect();
            }
        }
        Ok((site, remarks))
    }

    /// Where to listen for commands, and where besides when that is possible.
    fn sockets(&self, site: &Site) -> io::Result<(Vec<AdminSocket>, Vec<AdminSocket>)> {
        if !self.sockets.is_empty() {
            return Ok((self.sockets.iter().cloned().map(AdminSocket::private).collect(), Vec::new()));
        }
        let [own, classic, others @ ..] = SOCKET_PATHS.map(|path| AdminSocket::private(path.into()));
        let adminsock =
            site.racoon.as_ref().map(|racoon| racoon.listen.adminsock.clone()).unwrap_or_default();
        match adminsock {
            Adminsock::Usual => {
                let has_folder = |socket: &AdminSocket| socket.path.parent().is_some_and(Path::is_dir);
                Ok((vec![own, classic], others.into_iter().filter(has_folder).collect()))
            }
            Adminsock::Disabled => Ok((vec![own], Vec::new())),
            Adminsock::At { path, owner, group, mode, .. } => {
                let us = coati_os::process::user();
                let owner = user(&owner)?;
                // Root's is ours as it is; only root could give it to somebody else.
                let owner = Some(owner).filter(|owner| *owner != us && us == 0);
                let group = Some(self::group(&group)?).filter(|group| *group != 0);
                Ok((vec![own, AdminSocket { path: path.into(), owner, group, mode }], Vec::new()))
            }
        }
    }

    fn level(&self, site: &Site) -> Level {
        let levels = [Level::Error, Level::Warning, Level::Notify, Level::Info, Level::Debug];
        let index = match site.racoon.as_ref().map_or(LogLevel::Info, |racoon| racoon.log) {
            LogLevel::Error => 0,
            LogLevel::Warning => 1,
            LogLevel::Notify => 2,
            LogLevel::Info => 3,
            LogLevel::Debug | LogLevel::Debug2 => 4,
        };
        levels.get(index + self.more).copied().unwrap_or(Level::Debug)
    }
}

/// The number of a user.
fn user(account: &Account) -> io::Result<u32> {
    match account {
        Account::Id(id) => Ok(*id),
        Account::Name(name) => coati_os::process::user_by_name(name).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("racoon.conf: no user `{name}` here"))
        }),
    }
}

/// The number of a group.
fn group(account: &Account) -> io::Result<u32> {
    match account {
        Account::Id(id) => Ok(*id),
        Account::Name(name) => coati_os::process::group_by_name(name).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("racoon.conf: no group `{name}` here"))
        }),
    }
}

/// User and group that racoon.conf has the daemon become; both 0 when it stays what it is.
fn privsep(site: &Site) -> io::Result<(u32, u32)> {
    let Some(racoon) = site.racoon.as_ref().filter(|_| coati_os::process::user() == 0) else {
        return Ok((0, 0));
    };
    Ok((user(&racoon.privsep.user)?, group(&racoon.privsep.group)?))
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

impl Start {
    fn begin(self, site: Site) -> io::Result<Daemon> {
        // Before anything is touched, so that a second daemon cannot disturb the first.
        let (sockets, besides) = self.sockets(&site)?;
        let (user, group) = privsep(&site)?;
        let mut admin = AdminServer::bind(&sockets)?;
        let target = self.log.clone().or_else(|| {
            log_of_flags(site.rc.racoon_flags.as_deref()).map(|path| LogTarget::File(path, false))
        });
        let target = target.unwrap_or(LogTarget::Stderr);
        let mut log = Log::open(target, self.form, self.level(&site)).map_err(while_doing("the log file"))?;
        log.line(Level::Info, &format!("coati {} starts", env!("CARGO_PKG_VERSION")));
        let conf = self.place.racoon_conf.clone().unwrap_or_else(|| self.place.dir.join("racoon.conf"));
        if site.racoon.is_some() {
            log.line(Level::Info, &format!("Reading configuration from \"{}\"", conf.display()));
        }
        for socket in &besides {
            if let Err(error) = admin.also(socket) {
                log.line(Level::Warning, &format!("not listened at: {error}"));
            }
        }
        log.line(Level::Info, &self.home);
        let tunnels = tunnels_of(&site);
        let (mut plane, kernel_news) = open_home(self.place.dataplane, &tunnels, &mut log)?;
        apply_statements(&mut plane, &site)?;
        plane.add_tunnels(tunnels);
        if self.clear_df {
            plane.clear_dont_fragment();
        }
        let raw = match self.place.dataplane {
            Dataplane::Embedded => Some(RawSockets::open(&site)?),
            Dataplane::Xfrm | Dataplane::Pfkey => None,
        };
        let mut netlink = Netlink::new().map_err(while_doing("netlink"))?;
        let strict = site.racoon.as_ref().is_some_and(|racoon| racoon.listen.strict_address);
        let (ike, natt) = self.ike_sockets(&site, strict, &mut log)?;
        let (mut tuns, mut inside, mut gre) = (Vec::new(), None, None);
        match self.place.dataplane {
            Dataplane::Embedded => {
                for tunnel in &site.rc.tunnels {
                    tuns.push(Arc::new(make_tunnel(&mut netlink, tunnel, &site.rc.addresses_v6)?));
                }
                if coati_router::needs_inside(&site) {
                    let (tun, index) = make_inside(&mut netlink, &site)?;
                    tuns.push(Arc::new(tun));
                    plane.add_inside();
                    inside = Some(index);
                }
            }
            Dataplane::Xfrm | Dataplane::Pfkey => {
                gre = Some(GreTunnels::make(&site, &mut log)?);
            }
        }
        if !site.rc.tunnels.is_empty() || coati_router::needs_inside(&site) {
            forward_packets(&site)?;
        }
        let (memory, unread) = MemoryFile::open(self.state.clone(), (user, group));
        if let Some(error) = unread {
            log.line(Level::Warning, &format!("OSPF begins without its memory: {error}"));
        }
        let pid_file = if self.pid_file { Some(reload::PidFile::write(&site)?) } else { None };
        if (user, group) != (0, 0) {
            log.give_to(user, group).map_err(while_doing("the log file"))?;
            coati_os::process::confine(user, group)
                .map_err(while_doing(format!("privsep: becoming user {user}, group {group}")))?;
            let text = format!(
                "goes on as user {user}, group {group}, with the rights to use networks and to read files"
            );
            log.line(Level::Info, &text);
        }
        let (sender, from_threads) = sync_channel(threads::MAX_WAITING);
        let (wake_reader, wake) = UnixStream::pair()?;
        wake_reader.set_nonblocking(true)?;
        wake.set_nonblocking(true)?;
        let (stop, stop_reader) = UnixStream::pair()?;
        let to_control = ToControl { sender, wake };
        let mut joins = Vec::new();
        let (jobs, jobs_receiver) = channel();
        let jobs_receiver = Arc::new(Mutex::new(jobs_receiver));
        for _ in 0..std::thread::available_parallelism().map_or(1, NonZero::get) {
            joins.push(threads::exponentiating(jobs_receiver.clone(), to_control.another()?)?);
        }
        let hooks = Hooks::start(&to_control, hooks::TIME_LIMIT)?;
        let logins = Logins::start(&to_control)?;
        let carried = match raw {
            Some(raw) => {
                let forwarder = || Forwarder::new(plane.tables(), randomness().as_mut());
                for (index, tun) in tuns.iter().enumerate() {
                    let (control, stop) = (to_control.another()?, stop_reader.try_clone()?);
                    let wire = raw.wire.clone();
                    joins.push(threads::outgoing(index, tun.clone(), wire, forwarder(), control, stop)?);
                }
                let natt = natt.iter().map(UdpSocket::try_clone).collect::<io::Result<Vec<_>>>()?;
                let tuns_in = tuns.clone();
                let (wire, forwarders) = (raw.wire.clone(), (forwarder(), forwarder()));
                let receivers = raw.receivers;
                joins.push(threads::incoming(
                    receivers,
                    natt,
                    tuns_in,
                    wire,
                    forwarders,
                    to_control,
                    stop_reader,
                )?);
                let tuns = tuns.into_iter().map(TunWriter::new).collect();
                let esp_on_ike_port = EspOnIkePort { forwarder: forwarder(), tuns, packet: Packet::new(&[]) };
                Some(Carried { wire: raw.wire, esp_on_ike_port })
            }
            None => {
                let sockets = gre.as_mut().map(GreTunnels::take_keepalives).unwrap_or_default();
                joins.push(threads::keepalives(sockets, stop_reader)?);
                None
            }
        };
        let mut control = Control::new(&site, plane, randomness);
        control.set_stopwatch(Instant::now);
        // What is declared last goes first, should something below fail: tunnels before policies.
        let gre = gre;
        let debug_keys = match &self.debug_keys {
            Some(dir) => {
                let keys = DebugKeys::begin(dir).map_err(while_doing("--debug-keys"))?;
                control.expose_keys();
                log.line(Level::Warning, &keys.warning());
                Some(keys)
            }
            None => None,
        };
        let kernel = Kernel::new(netlink, inside).map_err(while_doing("watching interfaces"))?;
        // In order, they would have been taken back.
        control.recall(memory.kept().clone(), kernel.installed() > 0);
        Ok(Daemon::new(Parts {
            start: self,
            site,
            control,
            carried,
            gre,
            kernel_news,
            ike,
            natt,
            jobs,
            kernel,
            admin,
            hooks,
            logins,
            from_threads,
            wake: wake_reader,
            stop,
            joins,
            log,
            pid_file,
            debug_keys,
            memory,
        }))
    }
}

/// The tunnels of rc.conf.
fn tunnels_of(site: &Site) -> Vec<Tunnel> {
    site.rc.tunnels.iter().map(tunnel_of).collect()
}

fn tunnel_of(tunnel: &GreTunnel) -> Tunnel {
    Tunnel {
        name: tunnel.name.clone(),
        local: tunnel.local,
        remote: tunnel.remote,
        key: tunnel.key,
        mtu: tunnel.mtu.unwrap_or(USUAL_MTU) as usize,
    }
}

/// SPD and SAD in their home, and of a kernel what can be read when it has said something.
fn open_home(home: Dataplane, tunnels: &[Tunnel], log: &mut Log) -> io::Result<(Plane, Option<OwnedFd>)> {
    match home {
        Dataplane::Embedded => Ok((Plane::new(randomness), None)),
        Dataplane::Xfrm => kernel_home::xfrm(tunnels, log).map(|(plane, news)| (plane, Some(news))),
        Dataplane::Pfkey => kernel_home::pfkey(tunnels, log).map(|(plane, news)| (plane, Some(news))),
    }
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

/// Protocols that come to the embedded data plane, ESP first: it is what packets leave by.
const RAW_PROTOCOLS: [(u8, &str); 4] = [
    (50, "ESP (protocol 50)"),
    (47, "GRE (protocol 47)"),
    (51, "AH (protocol 51)"),
    (108, "IPComp (protocol 108)"),
];

/// Raw sockets for each IPv6 address that a tunnel of ours begins at, GRE's or a policy's.
fn raw_v6(site: &Site) -> io::Result<Vec<(Ipv6Addr, u8, Arc<RawSocket>)>> {
    let mut addresses: Vec<Ipv6Addr> = Vec::new();
    let ends = site.rc.tunnels.iter().map(|tunnel| tunnel.local).chain(coati_router::tunnel_ends(site));
    for end in ends {
        if let IpAddr::V6(local) = end
            && !addresses.contains(&local)
        {
            addresses.push(local);
        }
    }
    let mut list = Vec::new();
    for local in addresses {
        for (protocol, name) in RAW_PROTOCOLS {
            let socket = RawSocket::new_v6(protocol, local)
                .map_err(while_doing(format!("a raw socket for {name} at {local}")))?;
            list.push((local, protocol, Arc::new(socket)));
        }
    }
    Ok(list)
}

/// The raw sockets of the embedded data plane.
struct RawSockets {
    wire: Wire,
    receivers: Receivers,
}

impl RawSockets {
    fn open(site: &Site) -> io::Result<Self> {
        let raw = |(protocol, name): (u8, &str)| {
            RawSocket::new(protocol).map(Arc::new).map_err(while_doing(format!("a raw socket for {name}")))
        };
        let [esp, gre, ah, ipcomp] = RAW_PROTOCOLS.map(raw);
        let (esp, gre, ah, ipcomp) = (esp?, gre?, ah?, ipcomp?);
        let v6 = raw_v6(site)?;
        let icmp = |is_v6| {
            RawSocket::for_too_big(is_v6).map_err(while_doing("a raw socket for ICMP (routers' \"too big\")"))
        };
        let mut too_big = vec![icmp(false)?];
        if !v6.is_empty() {
            too_big.push(icmp(true)?);
        }
        let wire = Wire { v4: esp.clone(), v6: v6.first().map(|(_, _, socket)| socket.clone()) };
        Ok(Self { wire, receivers: Receivers { v4: [esp, gre, ah, ipcomp], v6, too_big } })
    }
}

/// gateway_enable's and ipv6_gateway_enable's work; files::read said so when rc.conf does not have them.
fn forward_packets(site: &Site) -> io::Result<()> {
    let has_v6 = |tunnel: &GreTunnel| site.rc.addresses_v6.iter().any(|(name, ..)| *name == tunnel.name);
    coati_os::forward_packets(site.rc.tunnels.iter().any(has_v6)).map_err(while_doing("forwarding packets"))
}

/// Loads setkey.conf, as if at one moment. What `setkey -f` goes on after was said when the files were read.
fn apply_statements(plane: &mut Plane, site: &Site) -> io::Result<()> {
    let requests = site.statements.iter().map(|statement| statement.request.clone()).collect();
    let replies = plane.requests(Instant::now(), unix_seconds(), requests);
    for (statement, reply) in site.statements.iter().zip(replies) {
        match reply {
            Reply::Refused { refusal: Refusal::Exists | Refusal::NoSa | Refusal::NoPolicy } => {}
            Reply::Refused { refusal } => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("{}: {refusal}", statement.origin.place()),
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

fn make_tunnel(
    netlink: &mut Netlink,
    tunnel: &GreTunnel,
    inside_v6: &[(String, Ipv6Addr, u8)],
) -> io::Result<Tun> {
    let doing = || while_doing(format!("tunnel interface {} (TUN)", tunnel.name));
    set_fallback_aside(netlink, &tunnel.name)?;
    let tun = Tun::create(&tunnel.name).map_err(doing())?;
    let link = netlink.link(&tunnel.name).map_err(doing())?;
    dress_tunnel(netlink, link.index, tunnel, inside_v6).map_err(doing())?;
    Ok(tun)
}

/// Gives a tunnel's interface its MTU and addresses, and takes it up.
fn dress_tunnel(
    netlink: &mut Netlink,
    index: u32,
    tunnel: &GreTunnel,
    inside_v6: &[(String, Ipv6Addr, u8)],
) -> io::Result<()> {
    netlink.set_mtu(index, tunnel.mtu.unwrap_or(USUAL_MTU))?;
    let (local, peer) = (IpAddr::V4(tunnel.address), Some(IpAddr::V4(tunnel.peer)));
    netlink.add_address(&Address { index, local, peer, prefix_len: tunnel.prefix_len })?;
    for (_, local, prefix_len) in inside_v6.iter().filter(|(name, _, _)| *name == tunnel.name) {
        let local = IpAddr::V6(*local);
        netlink.add_address(&Address { index, local, peer: None, prefix_len: *prefix_len })?;
    }
    netlink.set_multicast(index)?;
    netlink.set_up(index, true)
}

/// The interface for policies in tunnel mode, and its index. Its MTU is what fits through every tunnel, so that the kernel
/// says "fragmentation needed" to who sends more.
fn make_inside(netlink: &mut Netlink, site: &Site) -> io::Result<(Tun, u32)> {
    let doing = || while_doing(format!("the interface {INSIDE} (TUN) for policies in tunnel mode"));
    let tun = Tun::create(INSIDE).map_err(doing())?;
    let link = netlink.link(INSIDE).map_err(doing())?;
    let ends = coati_router::tunnel_ends(site);
    let outside: Vec<u32> = netlink
        .addresses()?
        .iter()
        .filter(|address| ends.contains(&address.local))
        .map(|address| address.index)
        .collect();
    let outer =
        netlink.links()?.iter().filter(|link| outside.contains(&link.index)).map(|link| link.mtu).min();
    let mtu = coati_router::inside_mtu(site, outer.unwrap_or(1500) as usize);
    netlink.set_mtu(link.index, u32::try_from(mtu).unwrap_or(1400)).map_err(doing())?;
    netlink.set_up(link.index, true).map_err(doing())?;
    Ok((tun, link.index))
}

/// Where ip_gre is loaded, every network namespace has a fallback device called gre0, which cannot be deleted: it gets
/// another name, so that the how-to's is free.
fn set_fallback_aside(netlink: &mut Netlink, name: &str) -> io::Result<()> {
    if name == "gre0"
        && let Ok(link) = netlink.link(name)
    {
        // An interface that somebody made has an address, or is up; the fallback device is neither.
        let has_address = netlink.addresses()?.iter().any(|address| address.index == link.index);
        if link.up || has_address {
            let message =
                "an interface called gre0 is there already, in use: remove it, or name the tunnel otherwise";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
        }
        netlink.set_up(link.index, false)?;
        netlink
            .rename(link.index, "gre0-fallback")
            .map_err(while_doing("renaming the kernel's fallback device gre0"))?;
    }
    Ok(())
}

/// MTU of a tunnel of which rc.conf says nothing.
pub const USUAL_MTU: u32 = 1400;

/// IKE's port.
const IKE_PORT: u16 = 500;
/// The port that IKE shares with ESP (RFC 3947).
const NATT_PORT: u16 = 4500;

impl Start {
    /// The addresses IKE speaks from: those `listen` names, else the near ends of tunnels and policies.
    fn ike_addresses(&self, site: &Site) -> Vec<(IpAddr, u16)> {
        let Some(racoon) = &site.racoon else { return Vec::new() };
        let listen = racoon.listen.isakmp.iter().chain(&racoon.listen.isakmp_natt);
        let mut addresses: Vec<_> = listen.map(|(endpoint, _)| (endpoint.address, endpoint.port)).collect();
        if addresses.is_empty() {
            let out = site.policies().filter(|(policy, _)| policy.direction == coati_sadb::Direction::Out);
            let near = out.filter_map(|(policy, _)| near_end(policy));
            addresses.extend(near.map(|address| (address, self.port)));
            addresses.extend(site.rc.tunnels.iter().map(|tunnel| (tunnel.local, self.port)));
        }
        let (v4, v6) = self.families;
        addresses.retain(|(address, _)| if address.is_ipv4() { v4 } else { v6 });
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }
}

/// Where an outbound policy's packets leave from: the near end of its tunnel, or in transport mode the host it is for.
fn near_end(policy: &Policy) -> Option<IpAddr> {
    let tunnel = match &policy.action {
        Action::Ipsec(rules) => {
            rules.iter().filter(|rule| rule.mode == Mode::Tunnel).find_map(|rule| rule.endpoints)
        }
        Action::None | Action::Discard => None,
    };
    let host = Some(policy.selector.source).filter(Prefix::is_host).map(|prefix| prefix.address);
    tunnel.map(|(near, _)| near).or(host)
}

/// IKE's socket. Where the kernel has policies, those are not for it.
fn ike_socket((address, port): (IpAddr, u16), dataplane: Dataplane) -> io::Result<UdpSocket> {
    let socket = coati_os::raw::ike_socket(address, port).and_then(|socket| {
        if dataplane != Dataplane::Embedded {
            coati_os::raw::pass_policies_by(&socket)?;
            if port == NATT_PORT {
                coati_os::raw::let_kernel_take_esp(&socket)?;
            }
        }
        Ok(socket)
    });
    socket.map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::AddrInUse => "another IKE daemon has it: stop racoon, charon or pluto first",
            io::ErrorKind::AddrNotAvailable => "no interface has this address",
            io::ErrorKind::PermissionDenied => "ports below 1024 need root",
            _ => "IKE needs it",
        };
        io::Error::new(error.kind(), format!("UDP {address} port {port}: {error} ({advice})"))
    })
}

/// Sockets for these addresses. Without `strict_address` one that no interface has is passed over, as long as there are
/// others.
fn open_all(
    addresses: &[(IpAddr, u16)],
    strict: bool,
    dataplane: Dataplane,
    log: &mut Log,
) -> io::Result<Vec<UdpSocket>> {
    let mut sockets = Vec::new();
    let mut last = None;
    for (address, port) in addresses {
        match ike_socket((*address, *port), dataplane) {
            Ok(socket) => {
                log.line(Level::Info, &format!("{address}[{port}] used as isakmp port"));
                sockets.push(socket);
            }
            Err(error) if !strict && error.kind() == io::ErrorKind::AddrNotAvailable => {
                log.line(Level::Warning, &format!("not listened at: {error}"));
                last = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    match last {
        Some(error) if sockets.is_empty() => Err(error),
        _ => Ok(sockets),
    }
}

impl Start {
    /// The sockets for IKE alone, and those it shares with ESP.
    fn ike_sockets(
        &self,
        site: &Site,
        strict: bool,
        log: &mut Log,
    ) -> io::Result<(Vec<UdpSocket>, Vec<UdpSocket>)> {
        let dataplane = self.place.dataplane;
        let (shared, mut alone): (Vec<_>, Vec<_>) =
            self.ike_addresses(site).into_iter().partition(|(_, port)| *port == NATT_PORT);
        let ike = open_all(&alone, strict, dataplane, log)?;
        let has = |(address, _): &(IpAddr, u16)| {
            ike.iter().any(|socket| socket.local_addr().is_ok_and(|found| found.ip() == *address))
        };
        alone.retain(has);
        let mut natt = open_all(&shared, strict, dataplane, log)?;
        for (address, _) in alone.iter().filter(|_| shared.is_empty()) {
            match ike_socket((*address, NATT_PORT), dataplane) {
                Ok(socket) => natt.push(socket),
                // Nobody asked for it by name: without it there is no way through a NAT, and everything else works.
                Err(error) => {
                    log.line(Level::Warning, &format!("no NAT traversal on {address}: {error}"));
                }
            }
        }
        Ok((ike, natt))
    }
}
