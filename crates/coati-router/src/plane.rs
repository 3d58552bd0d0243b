//! The control side of the embedded data plane: SPD, SAD and tunnels behind PF_KEY's vocabulary.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use coati_config::site::Site;
use coati_config::{Diagnostic, Severity};
use coati_crypto::RandomSource;
use coati_ipsec::{Counters, Packet, Sadb};
use coati_sadb::{
    Notification, Policy, PolicyId, Port, Prefix, Refusal, Reply, Request, Selector, Spi, Upper,
};

use crate::forwarder::{Forwarder, Tables, Tunnel};

/// What the data plane tells the control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlaneEvent {
    /// A message of PF_KEY's kind.
    Notification(Notification),
    /// Packets can leave through the tunnel now, or no longer.
    Tunnel {
        /// Its index.
        index: usize,
        /// Whether they can.
        up: bool,
    },
}

/// SPD, SAD and tunnels, with a single owner.
pub struct Plane {
    sadb: Sadb,
    tables: Arc<ArcSwap<Tables>>,
    tunnels: Vec<(Tunnel, bool)>,
    has_inside: bool,
    /// Policies may have come or gone since [`Plane::take_policies_changed`].
    policies_changed: bool,
    releasing: Forwarder,
    events: VecDeque<PlaneEvent>,
}

impl Plane {
    /// Empty databases and no tunnels. `randomness` gives a source of its own to whoever needs one.
    pub fn new(mut randomness: impl FnMut() -> Box<dyn RandomSource>) -> Self {
        let tables = Arc::new(ArcSwap::from_pointee(Tables::default()));
        let releasing = Forwarder::new(tables.clone(), randomness().as_mut());
        let sadb = Sadb::new(randomness());
        Self {
            sadb,
            tables,
            tunnels: Vec::new(),
            has_inside: false,
            policies_changed: true,
            releasing,
            events: VecDeque::new(),
        }
    }

    /// Adds tunnels. The policies have to be there already: what a tunnel carries before them is not protected.
    pub fn add_tunnels(&mut self, tunnels: impl IntoIterator<Item = Tunnel>) {
        self.tunnels.extend(tunnels.into_iter().map(|tunnel| (tunnel, false)));
        self.publish_anew();
    }

    /// There is an interface for policies in tunnel mode, whose index is the one behind the tunnels'. Those have to be
    /// there already.
    pub fn add_inside(&mut self) {
        self.has_inside = true;
        self.publish_anew();
    }

    /// Whether policies may be others since the last call, or since the beginning.
    pub fn take_policies_changed(&mut self) -> bool {
        std::mem::take(&mut self.policies_changed)
    }

    /// What the packet threads read.
    pub fn tables(&self) -> Arc<ArcSwap<Tables>> {
        self.tables.clone()
    }

    /// The counters of all threads.
    pub fn counters(&self) -> &Arc<Counters> {
        self.sadb.counters()
    }

    /// The policies in force.
    pub fn policies(&self) -> Vec<Policy> {
        self.sadb.policies()
    }

    /// Whether packets can leave through the tunnel of this index.
    pub fn is_tunnel_up(&self, index: usize) -> bool {
        self.tunnels.get(index).is_some_and(|(_, up)| *up)
    }

    /// Carries a request out. `wall` is in Unix seconds.
    pub fn request(&mut self, now: Instant, wall: u64, request: Request) -> Reply {
        self.policies_changed |= changes_policies(&request);
        let reply = self.sadb.request(now, wall, request);
        self.publish();
        reply
    }

    /// Carries requests out as if at one moment; see [`Sadb::requests`].
    pub fn requests(&mut self, now: Instant, wall: u64, requests: Vec<Request>) -> Vec<Reply> {
        self.policies_changed |= requests.iter().any(changes_policies);
        let replies = self.sadb.requests(now, wall, requests);
        self.publish();
        replies
    }

    /// Keeps a packet until its policy has an SA.
    pub fn hold(&mut self, now: Instant, policy: PolicyId, packet: Packet) {
        self.sadb.hold(now, policy, packet);
    }

    /// A packet thread met an SPI that nobody has.
    pub fn unknown_spi(&mut self, now: Instant, source: IpAddr, destination: IpAddr, spi: Spi) {
        self.sadb.unknown_spi(now, source, destination, spi);
    }

    /// Packets for the wire that have waited for their SA until now.
    pub fn take_released(&mut self, now: Instant, wall: u64) -> Vec<Packet> {
        let mut batch = self.sadb.take_released();
        let mut waiting = Vec::new();
        self.releasing.release(&mut batch, &mut waiting, wall);
        for (policy, packet) in waiting {
            self.sadb.hold(now, policy, packet);
        }
        batch
    }

    /// The next thing to tell the control plane.
    pub fn poll_event(&mut self) -> Option<PlaneEvent> {
        self.events.pop_front().or_else(|| self.sadb.poll_notification().map(PlaneEvent::Notification))
    }

    /// When [`Plane::handle_timeout`] wants to be called.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.sadb.next_timeout()
    }

    /// Ends what has outlived its limits.
    pub fn handle_timeout(&mut self, now: Instant, wall: u64) {
        self.sadb.handle_timeout(now, wall);
        self.publish();
    }

    fn publish(&mut self) {
        if !Arc::ptr_eq(self.sadb.snapshot(), &self.tables.load().ipsec) {
            self.publish_anew();
        }
    }

    fn publish_anew(&mut self) {
        let snapshot = self.sadb.snapshot().clone();
        for (index, (tunnel, up)) in self.tunnels.iter_mut().enumerate() {
            let now_up = snapshot.is_open(&outer_selector(tunnel));
            if now_up != *up {
                *up = now_up;
                self.events.push_back(PlaneEvent::Tunnel { index, up: now_up });
            }
        }
        let tunnels = self.tunnels.iter().map(|(tunnel, _)| tunnel.clone()).collect();
        self.tables.store(Arc::new(Tables { ipsec: snapshot, tunnels, has_inside: self.has_inside }));
    }
}

fn changes_policies(request: &Request) -> bool {
    use Request::{SpdAdd, SpdDelete, SpdFlush, SpdUpdate};
    matches!(request, SpdAdd(_) | SpdUpdate(_) | SpdDelete(..) | SpdFlush)
}

/// The packets that the tunnel makes.
fn outer_selector(tunnel: &Tunnel) -> Selector {
    Selector {
        source: Prefix::host(tunnel.local),
        source_port: Port::Any,
        destination: Prefix::host(tunnel.remote),
        destination_port: Port::Any,
        upper: Upper::GRE,
    }
}
/// What the embedded data plane will refuse of setkey.conf, at its place, found by doing all of it on empty databases;
/// a warning where `setkey -f` goes on too.
pub fn statements_remarks(site: &Site) -> Vec<Diagnostic> {
    let mut sadb = Sadb::new(Box::new(coati_crypto::SeededRandom::new(0)));
    let now = Instant::now();
    let refused = site.statements.iter().filter_map(|statement| {
        let Reply::Refused { refusal } = sadb.request(now, 0, statement.request.clone()) else { return None };
        let severity = match refusal {
            Refusal::Exists | Refusal::NoSa | Refusal::NoPolicy => Severity::Warning,
            Refusal::Invalid(_) | Refusal::Unsupported(_) | Refusal::NoRoom(_) => Severity::Error,
        };
        Some(statement.origin.remark(severity, refusal.to_string()))
    });
    refused.collect()
}
