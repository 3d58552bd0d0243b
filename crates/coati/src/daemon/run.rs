//! The control thread: one poll(2) loop over everything but packets.

use std::collections::HashMap;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use coati_config::racoon::ScriptEvent;
use coati_config::site::Site;
use coati_ike::{EndReason, Event, Job, Settings};
use coati_ipsec::{NON_IKE_MARKER, Packet};
use coati_os::process::{give_back_memory, wait_readable};
use coati_os::raw::Wire;
use coati_os::tun::TunWriter;
use coati_router::admin::{
    AdminReply, AdminRequest, Cause, Establish, EventKind, EventStatus, IsakmpStatus, Milestone,
    MilestoneStatus, MonitorLine, Refused, Status,
};
use coati_router::{Arrival, Control, ControlEvent, Forwarder, INSIDE, Now, event_status};
use coati_sadb::{Refusal, Reply, Request};
use coati_wire::too_big::Message;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};

use super::Start;
use super::admin::AdminServer;
use super::debug_keys::DebugKeys;
use super::hooks::{Hook, Hooks};
use super::kernel::Kernel;
use super::kernel_home::GreTunnels;
use super::log::{Level, Log};
use super::logins::{Logins, Verdict};
use super::memory::MemoryFile;
use super::reload::PidFile;
use super::threads::{FromThreads, IkeDatagram, RouterSays};
use crate::clock::{unix_micros, unix_seconds};
use crate::pfkey::without_keys;

/// A message is too long for the interface (Linux, FreeBSD: 40).
const EMSGSIZE: i32 = if cfg!(target_os = "linux") { 90 } else { 40 };

/// Longest UDP payload, in bytes.
const MAX_DATAGRAM: usize = 65_536;

/// What is handled of a socket, or of the other threads' messages, before timers are looked at again: so many, or for so
/// long.
const TURN: (usize, Duration) = (64, Duration::from_millis(2));

/// Neighbours that are told of a graceful restart acknowledge it within this time, or it begins without that.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(3);

/// Between two times that OSPF's memory is written because of neighbours.
const MEMORY_INTERVAL: Duration = Duration::from_secs(1);

/// What there may be to do besides timers.
#[derive(Clone, Copy)]
struct Ready {
    threads: bool,
    ike: bool,
    kernel: bool,
    admin: bool,
    /// The home of SAs and policies, where that is a kernel.
    home: bool,
}

/// So long after many routes have changed at once, or somebody is Full, memory that was needed is not any more.
pub(super) const CALM: Duration = Duration::from_secs(1);

/// One turn of those.
struct Turn(Instant);

impl Turn {
    fn begin() -> Self {
        Self(Instant::now())
    }

    fn goes_on(&self, handled: usize) -> bool {
        let (count, time) = TURN;
        handled < count && self.0.elapsed() < time
    }
}

/// A running router.
pub struct Daemon {
    /// The kernel's tunnels, where that carries packets. First, so that they go before the policies in `control` do.
    gre: Option<GreTunnels>,
    pub(super) start: Start,
    pub(super) site: Site,
    pub(super) control: Control,
    /// What carries packets, when this program does that.
    carried: Option<Carried>,
    /// Else a descriptor that tells when the kernel has said something.
    kernel_news: Option<OwnedFd>,
    pub(super) ike: Vec<UdpSocket>,
    /// For what comes to those.
    pub(super) buffer: Vec<u8>,
    /// For sending only where this program carries packets: their thread receives, since ESP comes there too.
    natt: Vec<UdpSocket>,
    jobs: Sender<Job>,
    pub(super) kernel: Kernel,
    /// Whether the kernel's routes may be others than what OSPF was last asked for.
    pub(super) routes_unsure: bool,
    admin: AdminServer,
    hooks: Hooks,
    logins: Logins,
    from_threads: Receiver<FromThreads>,
    wake: UnixStream,
    stop: Option<UnixStream>,
    joins: Vec<JoinHandle<()>>,
    started: (Instant, u64),
    milestones: Vec<MilestoneStatus>,
    /// Who the peers of established ISAKMP SAs are, by both cookies.
    identities: HashMap<String, String>,
    /// Peers whose `phase1_up` has run, with what they have given us for scripts.
    up: HashMap<IpAddr, Option<Box<Settings>>>,
    pub(super) log: Log,
    _pid_file: Option<PidFile>,
    debug_keys: Option<DebugKeys>,
    pub(super) memory: MemoryFile,
    /// It does not have the last neighbours yet; when it was written last.
    memory_stale: bool,
    memory_kept: Option<Instant>,
    /// When memory goes back to the system.
    pub(super) give_back_at: Option<Instant>,
}

/// The control thread's part in carrying packets.
pub(super) struct Carried {
    pub(super) wire: Wire,
    pub(super) esp_on_ike_port: EspOnIkePort,
}

/// The way of the drafts 00 and 01 before RFC 3947, which have no port of their own for ESP.
pub(super) struct EspOnIkePort {
    pub(super) forwarder: Forwarder,
    pub(super) tuns: Vec<TunWriter>,
    pub(super) packet: Packet,
}

impl EspOnIkePort {
    fn take(&mut self, local: SocketAddr, remote: SocketAddr, esp: &[u8]) {
        let arrival = self.forwarder.decapsulate_udp(&mut self.packet, local, remote, 0, esp, unix_seconds());
        if let Arrival::Tunnel(index) = arrival
            && let Some(tun) = self.tuns.get_mut(index)
        {
            tun.write(self.packet.bytes());
            tun.flush();
        }
    }
}

/// What a start has made.
pub(super) struct Parts {
    pub(super) start: Start,
    pub(super) site: Site,
    pub(super) control: Control,
    pub(super) carried: Option<Carried>,
    pub(super) gre: Option<GreTunnels>,
    pub(super) kernel_news: Option<OwnedFd>,
    pub(super) ike: Vec<UdpSocket>,
    pub(super) natt: Vec<UdpSocket>,
    pub(super) jobs: Sender<Job>,
    pub(super) kernel: Kernel,
    pub(super) admin: AdminServer,
    pub(super) hooks: Hooks,
    pub(super) logins: Logins,
    pub(super) from_threads: Receiver<FromThreads>,
    pub(super) wake: UnixStream,
    pub(super) stop: UnixStream,
    pub(super) joins: Vec<JoinHandle<()>>,
    pub(super) log: Log,
    pub(super) pid_file: Option<PidFile>,
    pub(super) debug_keys: Option<DebugKeys>,
    pub(super) memory: MemoryFile,
}

/// Signals, each with a pipe of its own.
struct SignalPipes {
    end: UnixStream,
    reload: UnixStream,
    user: UnixStream,
}

impl SignalPipes {
    fn new() -> io::Result<Self> {
        let pipe = |signals: &[i32]| -> io::Result<UnixStream> {
            let (reader, writer) = UnixStream::pair()?;
            reader.set_nonblocking(true)?;
            for signal in signals {
                signal_hook::low_level::pipe::register(*signal, writer.try_clone()?)?;
            }
            Ok(reader)
        };
        Ok(Self {
            end: pipe(&[SIGTERM, SIGINT])?,
            reload: pipe(&[SIGHUP])?,
            user: pipe(&[SIGUSR1, SIGUSR2])?,
        })
    }
}

impl Daemon {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            gre: parts.gre,
            start: parts.start,
            site: parts.site,
            control: parts.control,
            carried: parts.carried,
            kernel_news: parts.kernel_news,
            ike: parts.ike,
            buffer: vec![0; MAX_DATAGRAM],
            natt: parts.natt,
            jobs: parts.jobs,
            kernel: parts.kernel,
            routes_unsure: true,
            admin: parts.admin,
            hooks: parts.hooks,
            logins: parts.logins,
            from_threads: parts.from_threads,
            wake: parts.wake,
            stop: Some(parts.stop),
            joins: parts.joins,
            started: (Instant::now(), unix_micros()),
            milestones: Vec::new(),
            identities: HashMap::new(),
            up: HashMap::new(),
            log: parts.log,
            _pid_file: parts.pid_file,
            debug_keys: parts.debug_keys,
            memory: parts.memory,
            memory_stale: false,
            memory_kept: None,
            give_back_at: None,
        }
    }

    /// Runs until SIGTERM or SIGINT.
    pub(super) fn run(mut self) -> io::Result<()> {
        let signals = SignalPipes::new()?;
        self.look_at_interfaces();
        give_back_memory();
        let mut ready = Ready { threads: true, ike: true, kernel: true, admin: true, home: true };
        loop {
            let has_more = self.work(ready);
            let own = self.give_back_at.into_iter().chain(self.kernel.next_timeout());
            let next = self.control.next_timeout().into_iter().chain(own).min();
            let timeout = next.map(|at| at.saturating_duration_since(Instant::now()));
            let timeout = match (has_more, self.admin.is_behind()) {
                (true, _) => Some(Duration::ZERO),
                (false, true) => Some(Duration::from_millis(20)),
                (false, false) => timeout,
            };
            let mut descriptors: Vec<BorrowedFd<'_>> =
                vec![signals.end.as_fd(), signals.reload.as_fd(), signals.user.as_fd(), self.wake.as_fd()];
            descriptors.push(self.kernel.descriptor());
            let others = descriptors.len();
            descriptors.extend(self.heard_sockets().map(AsFd::as_fd));
            let admins = descriptors.len();
            descriptors.extend(self.admin.descriptors());
            let home = descriptors.len();
            descriptors.extend(self.kernel_news.iter().map(AsFd::as_fd));
            let readable = wait_readable(&descriptors, timeout)?;
            let any = |range: &[bool]| range.contains(&true);
            if let [end, reload, user, wake, kernel, ..] = readable[..] {
                ready = Ready {
                    threads: wake || has_more,
                    ike: readable.get(others..admins).is_some_and(any),
                    kernel,
                    admin: readable.get(admins..home).is_some_and(any),
                    home: readable.get(home..).is_some_and(any),
                };
                if end {
                    return self.shut_down();
                }
                if reload {
                    drain(&signals.reload);
                    if let Err(error) = self.log.reopen() {
                        self.log.line(Level::Error, &format!("the log is not opened anew: {error}"));
                    }
                    // What came of it is in the log.
                    let _ = self.reload();
                }
                if user {
                    drain(&signals.user);
                    self.log.line(Level::Info, "caught signal USR1 or USR2: it means nothing here");
                }
            }
        }
    }

    fn shut_down(mut self) -> io::Result<()> {
        self.wait_for_acknowledgements();
        self.keep_memory();
        self.control.shutdown(now());
        self.carry_out();
        self.drain_tunnels();
        // The kernel's tunnels go first: nothing asks for keys any more. SAs and policies go with `control`.
        self.gre = None;
        self.control.shutdown_ike(now());
        self.carry_out();
        self.admin.tell_event(&EventStatus {
            kind: EventKind::Quit,
            at: unix_seconds(),
            local: None,
            remote: None,
            address: None,
            banner: None,
            why: "the daemon was told to end".to_owned(),
        });
        self.log.line(Level::Info, "racoon process shutdown");
        // Ends the packet threads and the computing one.
        self.stop = None;
        drop(self.jobs);
        // Nobody waits for room in it any more.
        drop(self.from_threads);
        for join in self.joins.drain(..) {
            let _ = join.join();
        }
        Ok(())
    }

    /// Before a graceful restart: the neighbours have to know of it.
    fn wait_for_acknowledgements(&mut self) {
        let limit = Instant::now() + ACKNOWLEDGED_WITHIN;
        while self.control.is_prepared_to_restart() == (true, false) && Instant::now() < limit {
            let _ = wait_readable(&[self.kernel.descriptor()], Some(Duration::from_millis(20)));
            self.work(Ready { threads: true, ike: true, kernel: true, admin: true, home: true });
        }
    }

    /// Gives the packet threads a moment for OSPF's last packets: they go through the tunnels like all others.
    fn drain_tunnels(&mut self) {
        let descriptors = [self.wake.as_fd()];
        let _ = wait_readable(&descriptors, Some(Duration::from_millis(20)));
    }

    /// What is there to do now; whether the threads may have more to say. Of that it takes a bounded number, as of
    /// datagrams: timers wait no longer than these take.
    fn work(&mut self, ready: Ready) -> bool {
        let has_more = ready.threads && self.hear_threads();
        if ready.home {
            self.control.handle_kernel(now());
        }
        self.do_what_is_due();
        if ready.ike {
            self.receive_ike();
        }
        if ready.kernel {
            self.receive_routing();
        }
        self.do_what_is_due();
        if ready.admin || self.admin.is_behind() {
            self.serve_admin();
        }
        self.carry_out();
        has_more
    }

    fn do_what_is_due(&mut self) {
        let now = now();
        if self.control.next_timeout().is_some_and(|at| at <= now.at) {
            self.control.handle_timeout(now);
        }
        self.put_routes_again();
        if self.kernel.has_news_of_others() {
            self.look_at_routes_of_others();
        }
    }

    /// Whether they may have more to say.
    fn hear_threads(&mut self) -> bool {
        let mut drained = [0; 256];
        while self.wake.read(&mut drained).is_ok_and(|count| count == drained.len()) {}
        let turn = Turn::begin();
        let mut heard = 0;
        while turn.goes_on(heard)
            && let Ok(message) = self.from_threads.try_recv()
        {
            heard += 1;
            self.handle_thread(message);
        }
        !turn.goes_on(heard)
    }

    fn handle_thread(&mut self, message: FromThreads) {
        match message {
            FromThreads::Waiting(policy, packet) => self.control.handle_waiting(now(), policy, packet),
            FromThreads::UnknownSpi(Arrival::UnknownSpi { source, destination, spi }) => {
                self.control.handle_unknown_spi(now(), source, destination, spi);
            }
            FromThreads::UnknownSpi(_) => {}
            FromThreads::TooBig(RouterSays { router, mtu, original }) => {
                let message = Message { mtu, original: &original };
                self.control.handle_too_big(now(), router, &message);
            }
            FromThreads::Ike(IkeDatagram { local, remote, payload, .. }) => {
                self.control.handle_ike(now(), local, remote, &payload);
            }
            FromThreads::JobDone(done) => self.control.handle_job(now(), done),
            FromThreads::FirstInbound => self.reached(Milestone::FirstInbound),
            FromThreads::SendError(error) => {
                let advice = match error.raw_os_error() {
                    Some(EMSGSIZE) => {
                        " (the outside interface's MTU is too small for the tunnel's: lower that)"
                    }
                    _ => "",
                };
                self.log.line(Level::Warning, &format!("sending to the internet failed: {error}{advice}"));
            }
            FromThreads::TunnelGone(index, error) => {
                let name = self.site.rc.tunnels.get(index).map_or(INSIDE, |tunnel| tunnel.name.as_str());
                let text =
                    format!("{name} is gone: {error}; somebody removed it, only a restart makes it anew");
                self.log.line(Level::Error, &text);
            }
            FromThreads::Login(verdict) => self.decided(verdict),
            FromThreads::Hook(peer, level, text) => self.log.of_peer(peer, level, &text),
        }
    }

    fn decided(&mut self, verdict: Verdict) {
        if let Err(why) = &verdict.outcome {
            self.log.of_peer(verdict.remote.ip(), Level::Info, &format!("login refused: {why}"));
        }
        self.control.handle_login(now(), verdict.id, verdict.outcome.is_ok());
    }

    /// The sockets of IKE that this thread listens to.
    fn heard_sockets(&self) -> impl Iterator<Item = &UdpSocket> {
        let natt: &[UdpSocket] = if self.carried.is_some() { &[] } else { &self.natt };
        self.ike.iter().chain(natt)
    }

    /// A bounded number of datagrams of each socket, so that a flood keeps nobody else waiting.
    fn receive_ike(&mut self) {
        let natt: &[UdpSocket] = if self.carried.is_some() { &[] } else { &self.natt };
        for socket in self.ike.iter().chain(natt) {
            let Ok(local) = socket.local_addr() else { continue };
            let turn = Turn::begin();
            let mut heard = 0;
            while turn.goes_on(heard)
                && let Ok((length, remote)) = socket.recv_from(&mut self.buffer)
            {
                heard += 1;
                let Some(datagram) = self.buffer.get(..length) else { continue };
                match (&mut self.carried, datagram.strip_prefix(&NON_IKE_MARKER)) {
                    (Some(carried), Some(esp)) if !esp.is_empty() => {
                        carried.esp_on_ike_port.take(local, remote, esp);
                    }
                    _ => self.control.handle_ike(now(), local, remote, datagram),
                }
            }
        }
    }

    /// What the control plane wants to happen outside. SAs are in force when the peer hears of them.
    pub(super) fn carry_out(&mut self) {
        while let Some(job) = self.control.poll_job() {
            // The worker lives as long as this thread.
            let _ = self.jobs.send(job);
        }
        while let Some(login) = self.control.poll_login() {
            let groups = self.site.racoon.as_ref().map_or(&[][..], |conf| &conf.mode_cfg.auth_groups);
            if let Some(verdict) = self.logins.ask(login, groups) {
                self.decided(verdict);
            }
        }
        while let Some(transmit) = self.control.poll_ike() {
            let mut sockets = self.ike.iter().chain(&self.natt);
            let socket = sockets.find(|socket| socket.local_addr().is_ok_and(|a| a == transmit.local));
            let sent = socket.map(|socket| socket.send_to(&transmit.payload, transmit.remote));
            match sent {
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    let text = format!("IKE: sending to {} failed: {error}", transmit.remote);
                    self.log.line(Level::Warning, &text);
                }
                None => {
                    let text = format!("IKE: no socket has the address {}; add it to listen", transmit.local);
                    self.log.line(Level::Warning, &text);
                }
            }
        }
        // A kernel does tunnel mode without an interface for it.
        if self.control.take_policies_changed() && self.carried.is_some() {
            self.set_inside_routes();
        }
        let released = self.control.take_released(now());
        if let Some(carried) = self.carried.as_ref().filter(|_| !released.is_empty()) {
            let (_, failed) = carried.wire.send_batch(released.iter().map(Packet::bytes));
            if let Some(error) = failed {
                self.log.line(Level::Warning, &format!("sending to the internet failed: {error}"));
            }
        }
        for error in self.kernel.set_designated(&self.control.ospf_designated()) {
            self.log.line(Level::Error, &format!("joining AllDRouters: {error}"));
        }
        while let Some(transmit) = self.control.poll_ospf() {
            self.send_ospf(&transmit);
        }
        self.speak_bfd();
        while let Some(event) = self.control.poll_event() {
            self.handle_event(event);
        }
        self.write_debug_keys(None);
        // Hundreds of neighbours that come at once are not hundreds of files.
        if self.memory_stale && self.memory_kept.is_none_or(|last| last.elapsed() >= MEMORY_INTERVAL) {
            self.keep_memory();
        }
        if self.give_back_at.is_some_and(|at| at <= Instant::now()) {
            self.give_back_at = None;
            self.kernel.condense();
            give_back_memory();
        }
    }

    fn send_ospf(&mut self, transmit: &coati_ospf::Transmit) {
        let sent = self.kernel.send(transmit);
        if let Some(text) = self.control.handle_sent(now(), transmit.interface, &sent) {
            self.log.line(if sent.is_ok() { Level::Info } else { Level::Warning }, &text);
        }
    }

    /// Writes down what OSPF has to know after a restart.
    pub(super) fn keep_memory(&mut self) {
        (self.memory_stale, self.memory_kept) = (false, Some(Instant::now()));
        self.control.remember_numbers();
        if let Err(error) = self.memory.keep(self.control.memory()) {
            self.log.line(Level::Warning, &format!("OSPF's memory is not kept: {error}"));
        }
    }

    fn speak_bfd(&mut self) {
        let transmits: Vec<_> = std::iter::from_fn(|| self.control.poll_bfd()).collect();
        let wanted = self.control.bfd_interfaces();
        // The last packets of sessions that are gone leave while their socket is there still.
        let (goes_on, gone): (Vec<_>, Vec<_>) =
            transmits.iter().partition(|transmit| wanted.contains_key(&transmit.interface));
        let mut failed: Vec<_> = gone.iter().filter_map(|last| self.kernel.send_bfd(last).err()).collect();
        for error in self.kernel.speak_bfd_on(&wanted) {
            self.log.line(Level::Error, &error.to_string());
        }
        failed.extend(goes_on.iter().filter_map(|transmit| self.kernel.send_bfd(transmit).err()));
        for error in failed {
            self.log.line(Level::Debug, &format!("BFD: sending failed: {error}"));
        }
    }

    fn handle_event(&mut self, event: ControlEvent) {
        match event {
            ControlEvent::Reached(milestone) => self.reached(milestone),
            ControlEvent::Tunnel { index, up } => {
                let name =
                    self.site.rc.tunnels.get(index).map_or("?", |tunnel| tunnel.name.as_str()).to_owned();
                let text =
                    format!("tunnel {name} is {}", if up { "up" } else { "down: it has no outbound SA" });
                self.log.line(Level::Info, &text);
            }
            ControlEvent::Ike(event) => self.ike_event(&event),
            ControlEvent::Ospf(event) => {
                self.log.ospf(&event);
                match event {
                    coati_ospf::Event::RoutesChanged(moved) => self.change_routes(&moved),
                    coati_ospf::Event::NeighbourState { to: coati_ospf::State::Full, .. } => {
                        self.memory_stale = true;
                        self.give_back_at = Some(Instant::now() + CALM);
                    }
                    coati_ospf::Event::Restart(_) => self.keep_memory(),
                    _ => {}
                }
            }
            ControlEvent::Path { local, remote, mtu, router } => {
                let text = format!(
                    "{router} lets no packets over {mtu} bytes from {local} to {remote} pass: larger ones are cut before \
                     they are sealed, and senders who allow no cutting are told"
                );
                self.log.of_peer(remote, Level::Info, &text);
            }
            ControlEvent::ChosenRoutes(moved) => self.change_routes(&moved),
            ControlEvent::Bfd(event) => self.log.bfd(&event),
            ControlEvent::Notification(notification) => {
                self.tell_monitors(MonitorLine::Notification(notification));
            }
            ControlEvent::HandKeysEnded(expire) => {
                let (id, current) = (expire.id, expire.current);
                let text = format!(
                    "SA {} of {} from {} to {}, whose keys are given by hand, is over: its hard limit was reached after \
                     {} s, {} packets and {} bytes. Load it again with new keys on both sides (setkey -f), or let IKE \
                     make them",
                    id.spi,
                    id.proto.setkey_name(),
                    id.source,
                    id.destination,
                    current.add_seconds,
                    current.packets,
                    current.bytes
                );
                self.log.line(Level::Warning, &text);
            }
            ControlEvent::Request(request) => {
                self.write_debug_keys(Some(&request));
                self.tell_monitors(MonitorLine::Request(request));
            }
        }
    }

    /// Writes the keys that are new, where --debug-keys wants them.
    fn write_debug_keys(&mut self, request: Option<&Request>) {
        let Some(keys) = &mut self.debug_keys else { return };
        let mut outcome = request.map_or(Ok(()), |request| keys.request(request));
        while let Some(exposed) = self.control.poll_exposed_key() {
            outcome = outcome.and_then(|()| keys.isakmp(&exposed));
        }
        if let Err(error) = outcome {
            self.log.line(Level::Error, &format!("--debug-keys: {error}"));
        }
    }

    fn tell_monitors(&mut self, line: MonitorLine) {
        if !self.admin.has_monitors() {
            return;
        }
        let line = match line {
            MonitorLine::Request(request) => MonitorLine::Request(without_keys(request)),
            notification => notification,
        };
        self.admin.tell_monitors(&AdminReply::Monitor(Box::new(line)));
    }

    /// Remembers when something happened first.
    pub(super) fn reached(&mut self, what: Milestone) {
        if !self.milestones.iter().any(|milestone| milestone.what == what) {
            self.milestones.push(MilestoneStatus { what, at: unix_micros() });
        }
    }

    fn ike_event(&mut self, event: &Event) {
        self.log.ike(event);
        for status in event_status(unix_seconds(), event) {
            self.admin.tell_event(&status);
        }
        match event {
            Event::IsakmpEstablished { remote, spi, .. } => {
                let with_peer = self.established_with(remote.ip());
                if let Some(identity) = with_peer.iter().rev().find_map(|sa| sa.identity.clone()) {
                    self.identities.insert(spi.clone(), identity);
                }
            }
            Event::Ready { local, remote, spi, settings } => {
                let before = self.up.insert(remote.ip(), settings.clone());
                // A renewal is neither up nor down.
                if before.is_none() {
                    self.run_hook(ScriptEvent::Phase1Up, *local, *remote, spi);
                }
            }
            Event::IsakmpDeleted { local, remote, spi, why } => {
                let last = self.established_with(remote.ip()).is_empty();
                // What never came up, such as after a refused login, does not go down.
                if last && self.up.contains_key(&remote.ip()) {
                    if *why == EndReason::PeerDead {
                        self.run_hook(ScriptEvent::Phase1Dead, *local, *remote, spi);
                    }
                    self.run_hook(ScriptEvent::Phase1Down, *local, *remote, spi);
                    self.up.remove(&remote.ip());
                }
                self.identities.remove(spi);
            }
            _ => {}
        }
    }

    fn established_with(&self, peer: IpAddr) -> Vec<IsakmpStatus> {
        let mut list = self.control.isakmp_with(now(), peer);
        list.retain(|sa| sa.state >= 9);
        list
    }

    fn run_hook(&mut self, event: ScriptEvent, local: SocketAddr, remote: SocketAddr, spi: &str) {
        let Some(mut hook) = self.hook(remote.ip(), event) else { return };
        let address = remote.ip().to_string();
        let identity = self.identities.get(spi).unwrap_or(&address);
        let settings = self.up.get(&remote.ip()).and_then(|settings| settings.as_deref());
        hook.environment = Hook::environment(local, remote, bare(identity), spi, settings);
        let text = format!("{} {} is not run: too many wait", hook.program.display(), hook.event);
        if !self.hooks.run(hook) {
            self.log.of_peer(remote.ip(), Level::Error, &text);
        }
    }

    fn serve_admin(&mut self) {
        let mut seen = Vec::new();
        let mut admin = std::mem::take(&mut self.admin);
        let remarks = admin.serve(|request| {
            let asked = match &request {
                AdminRequest::Sadb(request) => vec![request.clone()],
                AdminRequest::SadbFile(list) => list.clone(),
                _ => Vec::new(),
            };
            let answer = self.answer(request);
            let withheld = Reply::Refused { refusal: Refusal::Withheld };
            if !matches!(&answer, AdminReply::SadbFile(replies) if replies.contains(&withheld)) {
                seen.extend(asked);
            }
            answer
        });
        self.admin = admin;
        for remark in remarks {
            self.log.line(Level::Warning, &remark);
        }
        for request in seen {
            self.tell_monitors(MonitorLine::Request(request));
        }
    }

    fn answer(&mut self, request: AdminRequest) -> AdminReply {
        match &request {
            AdminRequest::DeleteIsakmp { local, remote } => {
                self.log.line(Level::Info, &format!("admin delete-sa {local} {remote}"));
            }
            AdminRequest::Disconnect(peer) => {
                self.log.of_peer(*peer, Level::Info, &format!("Flushing all SAs for peer {peer}"));
            }
            AdminRequest::Establish(Establish::Isakmp { local, remote, .. })
                if !local.is_unspecified() && !self.has_ike_socket(*local) =>
            {
                let text = format!("{remote}: no socket for IKE has the address {local}: add it to `listen`");
                return AdminReply::Refused(Refused::new(Cause::NotFound, text));
            }
            AdminRequest::Establish(Establish::Isakmp { remote, .. }) => {
                let text = format!("accept a request to establish IKE-SA: {remote}");
                self.log.of_peer(*remote, Level::Info, &text);
            }
            _ => {}
        }
        match self.control.carry_out(now(), &self.site, self.started.0, request) {
            Ok(reply) => reply,
            Err(AdminRequest::Status) => AdminReply::Status(Box::new(self.status())),
            Err(AdminRequest::Reload) => match self.reload() {
                Ok(text) => AdminReply::Text(text + "\n"),
                Err(text) => AdminReply::Refused(Refused::new(Cause::Failed, text)),
            },
            // What is watched begins where the connection is.
            Err(_) => AdminReply::Done,
        }
    }

    fn has_ike_socket(&self, address: IpAddr) -> bool {
        let mut sockets = self.ike.iter().chain(&self.natt);
        sockets.any(|socket| socket.local_addr().is_ok_and(|found| found.ip() == address))
    }

    fn status(&mut self) -> Status {
        let Self { start, control, site, started, milestones, .. } = self;
        let mut problems = control.problems(now());
        problems.extend(self.debug_keys.as_ref().map(DebugKeys::warning));
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started: started.1,
            dataplane: start.home.clone(),
            isakmp: control.isakmp(now()),
            tunnels: control.tunnels(now(), site),
            milestones: milestones.clone(),
            neighbours: control.neighbours(),
            routes: control.routes(),
            problems,
            failures: control.failures(now()),
            counters: control.counters(),
        }
    }
}

/// An identity without the word that says its kind, as racoon's hooks get it.
fn bare(identity: &str) -> &str {
    match identity.split_once(' ') {
        Some(("address" | "fqdn" | "user_fqdn" | "keyid", name)) => name,
        _ => identity,
    }
}

/// Forgets how often a signal came.
fn drain(mut pipe: &UnixStream) {
    let mut bytes = [0; 64];
    while pipe.read(&mut bytes).is_ok_and(|count| count == bytes.len()) {}
}

pub(super) fn now() -> Now {
    Now { at: Instant::now(), wall: unix_seconds() }
}
