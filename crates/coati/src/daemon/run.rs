//! The control thread: one poll(2) loop over everything but packets.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use coati_config::site::Site;
use coati_ipsec::Packet;
use coati_os::netlink::Netlink;
use coati_os::process::wait_readable;
use coati_os::raw::RawSocket;
use coati_router::admin::{
    AdminReply, AdminRequest, Milestone, MilestoneStatus, MonitorLine, Status, TunnelStatus,
};
use coati_router::{Arrival, Plane, PlaneEvent};
use coati_sadb::{Notification, Reply, Request, SaState};
use signal_hook::consts::{SIGINT, SIGTERM};

use super::admin::AdminServer;
use super::threads::FromThreads;
use crate::clock::{unix_micros, unix_seconds};

/// A running router.
pub struct Daemon {
    site: Site,
    plane: Plane,
    wire: Arc<RawSocket>,
    ike: Vec<std::net::UdpSocket>,
    #[expect(dead_code, reason = "routes come with OSPF")]
    netlink: Netlink,
    admin: AdminServer,
    from_threads: Receiver<FromThreads>,
    wake: UnixStream,
    stop: Option<UnixStream>,
    joins: Vec<JoinHandle<()>>,
    started: u64,
    milestones: Vec<MilestoneStatus>,
}

impl Daemon {
    #[expect(clippy::too_many_arguments, reason = "the parts that start() made, handed over once")]
    pub(super) fn new(
        site: Site,
        plane: Plane,
        wire: Arc<RawSocket>,
        ike: Vec<std::net::UdpSocket>,
        netlink: Netlink,
        admin: AdminServer,
        from_threads: Receiver<FromThreads>,
        wake: UnixStream,
        stop: UnixStream,
        joins: Vec<JoinHandle<()>>,
    ) -> Self {
        let stop = Some(stop);
        let (started, milestones) = (unix_micros(), Vec::new());
        Self { site, plane, wire, ike, netlink, admin, from_threads, wake, stop, joins, started, milestones }
    }

    /// Runs until SIGTERM or SIGINT.
    pub(super) fn run(mut self) -> io::Result<()> {
        let (signals, signal_writer) = UnixStream::pair()?;
        signals.set_nonblocking(true)?;
        for signal in [SIGTERM, SIGINT] {
            signal_hook::low_level::pipe::register(signal, signal_writer.try_clone()?)?;
        }
        loop {
            self.work();
            let timeout = self.plane.next_timeout().map(|at| at.saturating_duration_since(Instant::now()));
            let timeout = if self.admin.is_behind() { Some(Duration::from_millis(20)) } else { timeout };
            let mut descriptors: Vec<BorrowedFd<'_>> = vec![signals.as_fd(), self.wake.as_fd()];
            descriptors.extend(self.ike.iter().map(AsFd::as_fd));
            descriptors.extend(self.admin.descriptors());
            let ready = wait_readable(&descriptors, timeout)?;
            if ready.first() == Some(&true) {
                return self.shut_down();
            }
        }
    }

    fn shut_down(mut self) -> io::Result<()> {
        self.stop = None;
        for join in self.joins.drain(..) {
            let _ = join.join();
        }
        Ok(())
    }

    /// Everything that is there to do now.
    fn work(&mut self) {
        let mut drained = [0; 256];
        while self.wake.read(&mut drained).is_ok_and(|count| count == drained.len()) {}
        while let Ok(message) = self.from_threads.try_recv() {
            self.handle_thread(message);
        }
        self.plane.handle_timeout(Instant::now(), unix_seconds());
        self.serve_admin();
        while let Some(event) = self.plane.poll_event() {
            self.handle_plane(event);
        }
        self.send_released();
    }

    fn handle_thread(&mut self, message: FromThreads) {
        let now = Instant::now();
        match message {
            FromThreads::Waiting(policy, packet) => {
                self.reached(Milestone::FirstPacket);
                self.plane.hold(now, policy, packet);
            }
            FromThreads::UnknownSpi(Arrival::UnknownSpi { source, destination, spi }) => {
                self.plane.unknown_spi(now, source, destination, spi);
            }
            FromThreads::UnknownSpi(_) => {}
            FromThreads::FirstInbound => self.reached(Milestone::FirstInbound),
            FromThreads::SendError(error) => tracing::warn!(%error, "sending to the internet failed"),
        }
    }

    fn handle_plane(&mut self, event: PlaneEvent) {
        match event {
            PlaneEvent::Tunnel { index, up } => {
                let name = self.site.rc.tunnels.get(index).map_or("?", |tunnel| tunnel.name.as_str());
                tracing::info!(tunnel = name, up, "tunnel");
                if up {
                    self.reached(Milestone::TunnelUp);
                }
            }
            PlaneEvent::Notification(notification) => {
                if self.admin.has_monitors() {
                    let line = MonitorLine::Notification(notification.clone());
                    self.admin.tell_monitors(&AdminReply::Monitor(Box::new(line)));
                }
                match notification {
                    Notification::Acquire(acquire) => {
                        tracing::debug!(peer = %acquire.destination, "keys are wanted")
                    }
                    Notification::Expire(expire) => {
                        tracing::debug!(spi = %expire.id.spi, hard = expire.hard, "expire")
                    }
                    Notification::UnknownSpi { source, spi, .. } => {
                        tracing::warn!(%source, %spi, "a packet names an SPI that nobody has");
                    }
                }
            }
        }
    }

    fn send_released(&mut self) {
        let released = self.plane.take_released(Instant::now(), unix_seconds());
        if !released.is_empty() {
            let (_, failed) = self.wire.send_batch(released.iter().map(Packet::bytes));
            if let Some(error) = failed {
                tracing::warn!(%error, "sending to the internet failed");
            }
        }
    }

    /// Remembers when something happened first.
    fn reached(&mut self, what: Milestone) {
        if !self.milestones.iter().any(|milestone| milestone.what == what) {
            self.milestones.push(MilestoneStatus { what, at: unix_micros() });
        }
    }

    fn serve_admin(&mut self) {
        let Self { admin, plane, site, started, milestones, .. } = self;
        let mut seen = Vec::new();
        admin.serve(|request| match request {
            AdminRequest::Sadb(request) => {
                seen.push(request.clone());
                AdminReply::Sadb(plane.request(Instant::now(), unix_seconds(), request))
            }
            AdminRequest::Isakmp => AdminReply::Isakmp(Vec::new()),
            AdminRequest::Status => AdminReply::Status(Box::new(status(plane, site, *started, milestones))),
            AdminRequest::Show(words) => AdminReply::Error(format!("unknown view `{}`", words.join(" "))),
            AdminRequest::Monitor => AdminReply::Text(String::new()),
        });
        for request in seen {
            self.admin.tell_monitors(&AdminReply::Monitor(Box::new(MonitorLine::Request(masked(request)))));
        }
    }
}

/// Keys do not go to those who only watch.
fn masked(mut request: Request) -> Request {
    if let Request::Add(sa) | Request::Update(sa) = &mut request {
        sa.enc_key = coati_sadb::Secret::default();
        sa.auth_key = coati_sadb::Secret::default();
    }
    request
}

fn status(plane: &mut Plane, site: &Site, started: u64, milestones: &[MilestoneStatus]) -> Status {
    let sas = match plane.request(Instant::now(), unix_seconds(), Request::Dump(None)) {
        Reply::Sas { sas } => sas,
        _ => Vec::new(),
    };
    let tunnels = site.rc.tunnels.iter().enumerate().map(|(index, tunnel)| {
        let spis = |source: std::net::Ipv4Addr, destination: std::net::Ipv4Addr| {
            sas.iter()
                .filter(|sa| {
                    sa.id.source == source && sa.id.destination == destination && sa.state != SaState::Larval
                })
                .map(|sa| format!("{} {}", sa.id.spi, sa.state.setkey_name()))
                .collect()
        };
        TunnelStatus {
            name: tunnel.name.clone(),
            local: tunnel.local.into(),
            remote: tunnel.remote.into(),
            mtu: tunnel.mtu.unwrap_or(1400),
            inbound: spis(tunnel.remote, tunnel.local),
            outbound: spis(tunnel.local, tunnel.remote),
            up: plane.is_tunnel_up(index),
        }
    });
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        started,
        tunnels: tunnels.collect(),
        milestones: milestones.to_vec(),
        counters: plane.counters().all().into_iter().filter(|(_, count)| *count != 0).collect(),
        ..Status::default()
    }
}
