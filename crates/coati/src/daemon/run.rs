//! The control thread: one poll(2) loop over everything but packets.

use std::io::{self, Read};
use std::net::UdpSocket;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use coati_config::site::Site;
use coati_ike::Job;
use coati_ipsec::Packet;
use coati_os::process::wait_readable;
use coati_os::raw::RawSocket;
use coati_router::admin::{AdminReply, AdminRequest, Milestone, MilestoneStatus, MonitorLine, Status};
use coati_router::{Arrival, Control, ControlEvent, Now};
use coati_sadb::Request;
use signal_hook::consts::{SIGINT, SIGTERM};

use super::admin::AdminServer;
use super::kernel::Kernel;
use super::log::RacoonLog;
use super::threads::FromThreads;
use crate::clock::{unix_micros, unix_seconds};

/// A running router.
pub struct Daemon {
    site: Site,
    control: Control,
    wire: Arc<RawSocket>,
    ike: Vec<UdpSocket>,
    jobs: Sender<Job>,
    kernel: Kernel,
    admin: AdminServer,
    from_threads: Receiver<FromThreads>,
    wake: UnixStream,
    stop: Option<UnixStream>,
    joins: Vec<JoinHandle<()>>,
    started: u64,
    milestones: Vec<MilestoneStatus>,
    log: RacoonLog,
}

impl Daemon {
    #[expect(clippy::too_many_arguments, reason = "the parts that start() made, handed over once")]
    pub(super) fn new(
        site: Site,
        control: Control,
        wire: Arc<RawSocket>,
        ike: Vec<UdpSocket>,
        jobs: Sender<Job>,
        kernel: Kernel,
        admin: AdminServer,
        from_threads: Receiver<FromThreads>,
        wake: UnixStream,
        stop: UnixStream,
        joins: Vec<JoinHandle<()>>,
        log: RacoonLog,
    ) -> Self {
        let stop = Some(stop);
        let (started, milestones) = (unix_micros(), Vec::new());
        Self {
            site,
            control,
            wire,
            ike,
            jobs,
            kernel,
            admin,
            from_threads,
            wake,
            stop,
            joins,
            started,
            milestones,
            log,
        }
    }

    /// Runs until SIGTERM or SIGINT.
    pub(super) fn run(mut self) -> io::Result<()> {
        let (signals, signal_writer) = UnixStream::pair()?;
        signals.set_nonblocking(true)?;
        for signal in [SIGTERM, SIGINT] {
            signal_hook::low_level::pipe::register(signal, signal_writer.try_clone()?)?;
        }
        self.look_at_interfaces();
        loop {
            self.work();
            let timeout = self.control.next_timeout().map(|at| at.saturating_duration_since(Instant::now()));
            let timeout = if self.admin.is_behind() { Some(Duration::from_millis(20)) } else { timeout };
            let mut descriptors: Vec<BorrowedFd<'_>> = vec![signals.as_fd(), self.wake.as_fd()];
            descriptors.extend(self.ike.iter().map(AsFd::as_fd));
            descriptors.extend(self.kernel.descriptors());
            descriptors.extend(self.admin.descriptors());
            let ready = wait_readable(&descriptors, timeout)?;
            if ready.first() == Some(&true) {
                return self.shut_down();
            }
        }
    }

    fn shut_down(mut self) -> io::Result<()> {
        self.control.shutdown(now());
        self.carry_out();
        self.drain_tunnels();
        self.control.shutdown_ike(now());
        self.carry_out();
        // Ends the packet threads and the computing one.
        self.stop = None;
        drop(self.jobs);
        for join in self.joins.drain(..) {
            let _ = join.join();
        }
        Ok(())
    }

    /// Gives the packet threads a moment for OSPF's last packets: they go through the tunnels like all others.
    fn drain_tunnels(&mut self) {
        let descriptors = [self.wake.as_fd()];
        let _ = wait_readable(&descriptors, Some(Duration::from_millis(20)));
    }

    fn look_at_interfaces(&mut self) {
        match self.kernel.links() {
            Ok(links) => self.control.handle_interfaces(now(), links),
            Err(error) => self.log.line("ERROR", &format!("reading the interfaces: {error}")),
        }
        if self.control.wants_kernel_routes() {
            match self.kernel.routes_of_others() {
                Ok(routes) => self.control.handle_kernel_routes(now(), routes),
                Err(error) => self.log.line("ERROR", &format!("reading the kernel's routes: {error}")),
            }
        }
        for error in self.kernel.speak_on(self.control.ospf_links()) {
            self.log.line("ERROR", &error.to_string());
        }
    }

    /// Everything that is there to do now.
    fn work(&mut self) {
        let mut drained = [0; 256];
        while self.wake.read(&mut drained).is_ok_and(|count| count == drained.len()) {}
        while let Ok(message) = self.from_threads.try_recv() {
            self.handle_thread(message);
        }
        self.receive_ike();
        if self.kernel.has_news() {
            self.look_at_interfaces();
        }
        for (interface, source, packet) in self.kernel.receive() {
            self.control.handle_ospf(now(), interface, source, &packet);
        }
        self.control.handle_timeout(now());
        self.serve_admin();
        self.carry_out();
    }

    fn handle_thread(&mut self, message: FromThreads) {
        match message {
            FromThreads::Waiting(policy, packet) => self.control.handle_waiting(now(), policy, packet),
            FromThreads::UnknownSpi(Arrival::UnknownSpi { source, destination, spi }) => {
                self.control.handle_unknown_spi(now(), source, destination, spi);
            }
            FromThreads::UnknownSpi(_) => {}
            FromThreads::JobDone(done) => self.control.handle_job(now(), done),
            FromThreads::FirstInbound => self.reached(Milestone::FirstInbound),
            FromThreads::SendError(error) => tracing::warn!(%error, "sending to the internet failed"),
        }
    }

    /// A bounded number of datagrams of each socket, so that a flood keeps nobody else waiting.
    fn receive_ike(&mut self) {
        let mut buffer = vec![0; 65_536];
        for socket in &self.ike {
            let Ok(local) = socket.local_addr() else { continue };
            for _ in 0..64 {
                let Ok((length, remote)) = socket.recv_from(&mut buffer) else { break };
                if let Some(datagram) = buffer.get(..length) {
                    self.control.handle_ike(now(), local, remote, datagram);
                }
            }
        }
    }

    /// What the control plane wants to happen outside. SAs are in force when the peer hears of them.
    fn carry_out(&mut self) {
        while let Some(job) = self.control.poll_job() {
            // The worker lives as long as this thread.
            let _ = self.jobs.send(job);
        }
        while let Some(transmit) = self.control.poll_ike() {
            let socket =
                self.ike.iter().find(|socket| socket.local_addr().is_ok_and(|a| a == transmit.local));
            let sent = socket.map(|socket| socket.send_to(&transmit.payload, transmit.remote));
            match sent {
                Some(Ok(_)) => {}
                Some(Err(error)) => tracing::warn!(remote = %transmit.remote, %error, "IKE: sending failed"),
                None => {
                    tracing::warn!(local = %transmit.local, "IKE: no socket has this address; add it to listen")
                }
            }
        }
        let released = self.control.take_released(now());
        if !released.is_empty() {
            let (_, failed) = self.wire.send_batch(released.iter().map(Packet::bytes));
            if let Some(error) = failed {
                tracing::warn!(%error, "sending to the internet failed");
            }
        }
        for error in self.kernel.set_designated(&self.control.ospf_designated()) {
            self.log.line("ERROR", &format!("joining AllDRouters: {error}"));
        }
        while let Some(transmit) = self.control.poll_ospf() {
            if let Err(error) = self.kernel.send(&transmit) {
                tracing::debug!(%error, "OSPF: sending failed");
            }
        }
        while let Some(event) = self.control.poll_event() {
            self.handle_event(event);
        }
    }

    fn set_routes(&mut self) {
        for error in self.kernel.set_routes(self.control.kernel_routes()) {
            self.log.line("ERROR", &error.to_string());
        }
        if self.kernel.installed() > 0 {
            self.reached(Milestone::Routes);
        }
    }

    fn handle_event(&mut self, event: ControlEvent) {
        match event {
            ControlEvent::Reached(milestone) => self.reached(milestone),
            ControlEvent::Tunnel { index, up } => {
                let name = self.site.rc.tunnels.get(index).map_or("?", |tunnel| tunnel.name.as_str());
                tracing::info!(tunnel = name, up, "tunnel");
            }
            ControlEvent::Ike(event) => self.log.ike(&event),
            ControlEvent::Ospf(event) => {
                self.log.ospf(&event);
                if event == coati_ospf::Event::RoutesChanged {
                    self.set_routes();
                }
            }
            ControlEvent::Notification(notification) => {
                self.tell_monitors(MonitorLine::Notification(notification));
            }
            ControlEvent::Request(request) => self.tell_monitors(MonitorLine::Request(request)),
        }
    }

    fn tell_monitors(&mut self, line: MonitorLine) {
        if !self.admin.has_monitors() {
            return;
        }
        let line = match line {
            MonitorLine::Request(request) => MonitorLine::Request(masked(request)),
            notification => notification,
        };
        self.admin.tell_monitors(&AdminReply::Monitor(Box::new(line)));
    }

    /// Remembers when something happened first.
    fn reached(&mut self, what: Milestone) {
        if !self.milestones.iter().any(|milestone| milestone.what == what) {
            self.milestones.push(MilestoneStatus { what, at: unix_micros() });
        }
    }

    fn serve_admin(&mut self) {
        let Self { admin, control, site, started, milestones, .. } = self;
        let mut seen = Vec::new();
        admin.serve(|request| match request {
            AdminRequest::Sadb(request) => {
                seen.push(request.clone());
                AdminReply::Sadb(control.request(now(), request))
            }
            AdminRequest::Isakmp => AdminReply::Isakmp(control.isakmp(now())),
            AdminRequest::Status => AdminReply::Status(Box::new(status(control, site, *started, milestones))),
            AdminRequest::Show(words) => {
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                control.show(now(), &words).map_or_else(AdminReply::Error, AdminReply::Text)
            }
            AdminRequest::Monitor => AdminReply::Text(String::new()),
        });
        for request in seen {
            self.tell_monitors(MonitorLine::Request(request));
        }
    }
}

fn now() -> Now {
    Now { at: Instant::now(), wall: unix_seconds() }
}

/// Keys do not go to those who only watch.
fn masked(mut request: Request) -> Request {
    if let Request::Add(sa) | Request::Update(sa) = &mut request {
        sa.enc_key = coati_sadb::Secret::default();
        sa.auth_key = coati_sadb::Secret::default();
    }
    request
}

fn status(control: &mut Control, site: &Site, started: u64, milestones: &[MilestoneStatus]) -> Status {
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        started,
        isakmp: control.isakmp(now()),
        tunnels: control.tunnels(now(), site),
        milestones: milestones.to_vec(),
        neighbours: control.neighbours(),
        routes: control.routes(),
        problems: control.problems(),
        failures: control.failures(),
        counters: control.counters(),
    }
}
