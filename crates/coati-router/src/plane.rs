//! SPD, SAD and tunnels behind PF_KEY's vocabulary: the control side of the embedded data plane, or a kernel's, which
//! carries the packets then.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use coati_config::setkey::Statement;
use coati_config::{Diagnostic, Severity};
use coati_crypto::RandomSource;
use coati_ipsec::{Packet, Sadb};
use coati_sadb::{Changes, Home, Notification, Policy, PolicyId, Refusal, Reply, Request, SaId, Spi};
use coati_wire::too_big::Message;

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
    /// Paths carry more or less: see [`Plane::carried`].
    Paths,
    /// Policies are others, and nobody here may have asked for that.
    Policies,
}

/// Where SPD and SAD are.
enum Databases {
    /// Here, with what sends packets that have waited for their SA.
    Embedded(Box<(Sadb, Forwarder)>),
    /// In a kernel.
    Kernel(Box<dyn Home>),
}

/// SPD, SAD and tunnels, with a single owner.
pub struct Plane {
    databases: Databases,
    tables: Arc<ArcSwap<Tables>>,
    tunnels: Vec<(Tunnel, bool)>,
    has_inside: bool,
    clear_dont_fragment: bool,
    /// Policies may have come or gone since [`Plane::take_policies_changed`].
    policies_changed: bool,
    events: VecDeque<PlaneEvent>,
}

impl Plane {
    /// Empty databases and no tunnels. `randomness` gives a source of its own to whoever needs one.
    pub fn new(mut randomness: impl FnMut() -> Box<dyn RandomSource>) -> Self {
        let tables = Arc::new(ArcSwap::from_pointee(Tables::default()));
        let releasing = Forwarder::new(tables.clone(), randomness().as_mut());
        let sadb = Sadb::new(randomness());
        Self::with(Databases::Embedded(Box::new((sadb, releasing))), tables)
    }

    /// The databases of a kernel, which carries the packets too.
    pub fn in_kernel(home: Box<dyn Home>) -> Self {
        Self::with(Databases::Kernel(home), Arc::default())
    }

    fn with(databases: Databases, tables: Arc<ArcSwap<Tables>>) -> Self {
        Self {
            databases,
            tables,
            tunnels: Vec::new(),
            has_inside: false,
            clear_dont_fragment: false,
            policies_changed: true,
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

    /// From now on routers may cut what the tunnels send, whatever is inside.
    pub fn clear_dont_fragment(&mut self) {
        self.clear_dont_fragment = true;
        self.publish_anew();
    }

    /// The interfaces' MTUs: by our addresses there, and by name, for the tunnels'. A kernel looks after them itself.
    pub fn set_links(&mut self, by_address: BTreeMap<IpAddr, u32>, by_name: &BTreeMap<String, u32>) {
        let Databases::Embedded(embedded) = &mut self.databases else { return };
        embedded.0.set_links(by_address);
        self.publish();
        let mut changed = false;
        for (tunnel, _) in &mut self.tunnels {
            let now = by_name.get(&tunnel.name).and_then(|mtu| usize::try_from(*mtu).ok());
            let before = tunnel.mtu;
            tunnel.mtu = now.unwrap_or(before);
            changed |= tunnel.mtu != before;
        }
        if changed {
            self.publish_anew();
        }
    }

    /// A router has said that a packet is too big; see [`Sadb::too_big`].
    pub fn too_big(&mut self, now: Instant, message: &Message<'_>) -> Option<(IpAddr, IpAddr, u32)> {
        match &mut self.databases {
            Databases::Embedded(embedded) => {
                let learned = embedded.0.too_big(now, message);
                self.publish();
                learned
            }
            Databases::Kernel(_) => None,
        }
    }

    /// The largest packet that the path of the tunnel of this index carries, whatever its interface says; `None` when that
    /// is not known.
    pub fn carried(&self, index: usize) -> Option<usize> {
        self.tables.load().carried(index)
    }

    /// Whether policies may be others since the last call, or since the beginning.
    pub fn take_policies_changed(&mut self) -> bool {
        std::mem::take(&mut self.policies_changed)
    }

    /// What the packet threads read.
    pub fn tables(&self) -> Arc<ArcSwap<Tables>> {
        self.tables.clone()
    }

    /// Named counters of packets.
    pub fn counters(&self) -> Vec<(String, u64)> {
        match &self.databases {
            Databases::Embedded(embedded) => {
                let all = embedded.0.counters().all().into_iter();
                all.map(|(name, count)| (name.to_string(), count)).collect()
            }
            Databases::Kernel(home) => home.counters(),
        }
    }

    /// SAs through which only packets come that were there before, in Coati's own data plane; see
    /// [`Sadb::only_repeated`].
    pub fn only_repeated(&self, least: u64) -> Vec<(SaId, u64, u64)> {
        match &self.databases {
            Databases::Embedded(embedded) => embedded.0.only_repeated(least),
            Databases::Kernel(_) => Vec::new(),
        }
    }

    /// The policies in force.
    pub fn policies(&self) -> Vec<Policy> {
        match &self.databases {
            Databases::Embedded(embedded) => embedded.0.policies(),
            Databases::Kernel(home) => home.policies().to_vec(),
        }
    }

    /// Whether packets can leave through the tunnel of this index.
    pub fn is_tunnel_up(&self, index: usize) -> bool {
        self.tunnels.get(index).is_some_and(|(_, up)| *up)
    }

    /// Carries a request out. `wall` is in Unix seconds.
    pub fn request(&mut self, now: Instant, wall: u64, request: Request) -> Reply {
        let none = || Reply::Refused { refusal: Refusal::Invalid("no answer".into()) };
        self.requests(now, wall, vec![request]).pop().unwrap_or_else(none)
    }

    /// Whether all of these may be tried; see [`Sadb::check`]. What a kernel refuses, it refuses one by one.
    pub fn check(&self, now: Instant, wall: u64, requests: &[Request]) -> Result<(), Vec<Reply>> {
        match &self.databases {
            Databases::Embedded(embedded) => embedded.0.check(now, wall, requests),
            Databases::Kernel(_) => Ok(()),
        }
    }

    /// Carries requests out as if at one moment; see [`Sadb::requests`] and [`Home::requests`].
    pub fn requests(&mut self, now: Instant, wall: u64, requests: Vec<Request>) -> Vec<Reply> {
        self.policies_changed |= requests.iter().any(changes_policies);
        let replies = match &mut self.databases {
            Databases::Embedded(embedded) => embedded.0.requests(now, wall, requests),
            Databases::Kernel(home) => home.requests(wall, requests),
        };
        self.publish();
        replies
    }

    /// Takes what a kernel has said.
    pub fn hear(&mut self, wall: u64) {
        if let Databases::Kernel(home) = &mut self.databases {
            home.hear(wall);
        }
        self.publish();
    }

    /// Keeps a packet until its policy has an SA.
    pub fn hold(&mut self, now: Instant, policy: PolicyId, packet: Packet) {
        if let Databases::Embedded(embedded) = &mut self.databases {
            embedded.0.hold(now, policy, packet);
        }
    }

    /// A packet thread met an SPI that nobody has.
    pub fn unknown_spi(&mut self, now: Instant, source: IpAddr, destination: IpAddr, spi: Spi) {
        if let Databases::Embedded(embedded) = &mut self.databases {
            embedded.0.unknown_spi(now, source, destination, spi);
        }
    }

    /// Packets for the wire that have waited for their SA until now.
    pub fn take_released(&mut self, now: Instant, wall: u64) -> Vec<Packet> {
        let Databases::Embedded(embedded) = &mut self.databases else { return Vec::new() };
        let (sadb, releasing) = embedded.as_mut();
        let mut batch = sadb.take_released();
        let mut waiting = Vec::new();
        releasing.release(&mut batch, &mut waiting, wall);
        for (policy, packet) in waiting {
            sadb.hold(now, policy, packet);
        }
        batch
    }

    /// The next thing to tell the control plane.
    pub fn poll_event(&mut self) -> Option<PlaneEvent> {
        let databases = &mut self.databases;
        self.events.pop_front().or_else(|| {
            let notification = match databases {
                Databases::Embedded(embedded) => embedded.0.poll_notification(),
                Databases::Kernel(home) => home.poll_notification(),
            };
            notification.map(PlaneEvent::Notification)
        })
    }

    /// When [`Plane::handle_timeout`] wants to be called.
    pub fn next_timeout(&self) -> Option<Instant> {
        match &self.databases {
            Databases::Embedded(embedded) => embedded.0.next_timeout(),
            // A kernel has clocks of its own.
            Databases::Kernel(_) => None,
        }
    }

    /// Ends what has outlived its limits.
    pub fn handle_timeout(&mut self, now: Instant, wall: u64) {
        if let Databases::Embedded(embedded) = &mut self.databases {
            embedded.0.handle_timeout(now, wall);
            self.publish();
        }
    }

    fn publish(&mut self) {
        let stale = match &mut self.databases {
            Databases::Embedded(embedded) => {
                if embedded.0.take_paths_changed() {
                    self.events.push_back(PlaneEvent::Paths);
                }
                !Arc::ptr_eq(embedded.0.snapshot(), &self.tables.load().ipsec)
            }
            Databases::Kernel(home) => {
                let Changes { sas, policies } = home.take_changes();
                if policies {
                    self.policies_changed = true;
                    self.events.push_back(PlaneEvent::Policies);
                }
                sas || policies
            }
        };
        if stale {
            self.publish_anew();
        }
    }

    fn publish_anew(&mut self) {
        let snapshot = match &self.databases {
            Databases::Embedded(embedded) => embedded.0.snapshot().clone(),
            Databases::Kernel(_) => Arc::default(),
        };
        for (index, (tunnel, up)) in self.tunnels.iter_mut().enumerate() {
            let outer = tunnel.packets();
            let now_up = match &self.databases {
                Databases::Embedded(_) => snapshot.is_open(&outer),
                Databases::Kernel(home) => home.is_open(&outer),
            };
            if now_up != *up {
                *up = now_up;
                self.events.push_back(PlaneEvent::Tunnel { index, up: now_up });
            }
        }
        let tunnels = self.tunnels.iter().map(|(tunnel, _)| tunnel.clone()).collect();
        let &mut Self { has_inside, clear_dont_fragment, .. } = self;
        self.tables.store(Arc::new(Tables { ipsec: snapshot, tunnels, has_inside, clear_dont_fragment }));
    }
}

fn changes_policies(request: &Request) -> bool {
    use Request::{SpdAdd, SpdDelete, SpdFlush, SpdUpdate};
    matches!(request, SpdAdd(_) | SpdUpdate(_) | SpdDelete(..) | SpdFlush)
}

/// What the embedded data plane will refuse of setkey.conf, at its place, found by doing all of it on empty databases;
/// a warning where `setkey -f` goes on too.
pub fn statements_remarks(statements: &[Statement]) -> Vec<Diagnostic> {
    let mut sadb = Sadb::new(Box::new(coati_crypto::SeededRandom::new(0)));
    let now = Instant::now();
    let refused = statements.iter().filter_map(|statement| {
        let Reply::Refused { refusal } = sadb.request(now, 0, statement.request.clone()) else {
            let text = "the embedded data plane gives nothing to hardware: it does it itself";
            return statement.is_offloaded().then(|| statement.origin.remark(Severity::Warning, text));
        };
        let severity = match refusal {
            // Who read the file has said which line it is there from.
            Refusal::Exists if matches!(statement.request, Request::Add(_) | Request::SpdAdd(_)) => {
                return None;
            }
            Refusal::Exists | Refusal::NoSa | Refusal::NoPolicy | Refusal::Withheld => Severity::Warning,
            Refusal::Invalid(_) | Refusal::Unsupported(_) | Refusal::NoRoom(_) => Severity::Error,
        };
        let remark = statement.origin.remark(severity, refusal.to_string());
        Some(match refusal {
            Refusal::Unsupported(_) => remark.help("the Linux kernel may do it: `coati up --dataplane xfrm`"),
            _ => remark,
        })
    });
    refused.collect()
}
