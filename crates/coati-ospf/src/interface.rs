//! Interfaces and their machine (RFC 2328 section 9).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use coati_wire::ospf::{ALL_DESIGNATED, ALL_ROUTERS, LsaHeader, LsaKey};

use crate::config::{AreaId, InterfaceConfig, NetworkType, RouterId};
use crate::engine::Engine;
use crate::lsdb::Lsdb;
use crate::memory::Greeting;
use crate::neighbour::{Neighbour, Peer, State};
use crate::path::{Reach, Trial};

/// Interface indexes of virtual links begin here: the system gives out none so large.
pub(crate) const VIRTUAL_INDEX: u32 = 0x8000_0000;

/// An interface as the system has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Interface index.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Own address.
    pub address: Ipv4Addr,
    /// Length of its prefix.
    pub prefix_len: u8,
    /// The other end's address, on point-to-point interfaces.
    pub peer: Option<Ipv4Addr>,
    /// MTU in bytes.
    pub mtu: u32,
    /// How fast it says to be, in Mbit/s; tunnels say nothing.
    pub speed: Option<u32>,
    /// Whether there is exactly one other end.
    pub point_to_point: bool,
    /// Whether it leads nowhere: its address is advertised as a host (RFC 2328 section 9.1).
    pub loopback: bool,
}

impl Link {
    /// The mask of its prefix.
    pub(crate) fn mask(&self) -> Ipv4Addr {
        mask(self.prefix_len)
    }

    /// Its network.
    pub(crate) fn network(&self) -> Ipv4Addr {
        masked(self.address, self.prefix_len)
    }

    /// Its network's broadcast address.
    pub(crate) fn broadcast(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.address) | !u32::from(self.mask()))
    }
}

/// The mask of a prefix of this length.
pub(crate) fn mask(length: u8) -> Ipv4Addr {
    Ipv4Addr::from(u32::MAX.checked_shl(32 - u32::from(length.min(32))).unwrap_or(0))
}

/// The network of this length around an address.
pub(crate) fn masked(address: Ipv4Addr, length: u8) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(address) & u32::from(mask(length)))
}

/// States of an interface (section 9.1). One that is down is not here at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum InterfaceState {
    /// A virtual link whose other end is not reachable.
    Down,
    /// Listens who the designated router is.
    Waiting,
    /// There is no designated router on such a network.
    PointToPoint,
    /// Others are designated router and backup.
    DrOther,
    /// Backup designated router.
    Backup,
    /// Designated router.
    Dr,
}

/// What a problem is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Topic {
    /// Hellos, and the header of every packet.
    Hello,
    /// Database descriptions.
    Exchange,
    /// Authentication.
    Authentication,
    /// What the path carries.
    Path,
}

/// IP packets of this length get through everywhere, in bytes (RFC 791).
pub(crate) const NARROW: usize = 576;

/// Less than any neighbour waits before it repeats.
const ACKS_WAIT: Duration = Duration::from_millis(50);

/// The far end of a virtual link (section 15).
#[derive(Clone, Debug)]
pub(crate) struct VirtualEnd {
    pub(crate) transit: AreaId,
    pub(crate) router_id: RouterId,
    /// The interface that leads there, and the far end's address.
    pub(crate) path: Option<(u32, Ipv4Addr)>,
}

/// One interface.
#[derive(Debug)]
pub(crate) struct Interface {
    pub(crate) link: Link,
    pub(crate) config: InterfaceConfig,
    pub(crate) network: NetworkType,
    pub(crate) state: InterfaceState,
    pub(crate) neighbours: BTreeMap<Ipv4Addr, Neighbour>,
    /// Address of the designated router; 0 when there is none.
    pub(crate) designated: Ipv4Addr,
    /// Address of its backup.
    pub(crate) backup: Ipv4Addr,
    /// End of the wait for those who know the designated router.
    pub(crate) wait_until: Option<Instant>,
    /// The designated router has to be elected again.
    pub(crate) elect: bool,
    pub(crate) hello_due: Instant,
    /// Since when it can be used.
    pub(crate) since: Instant,
    pub(crate) last_hello_at_once: Option<Instant>,
    /// When what the last hello has said is said once more.
    pub(crate) hello_again: Option<Instant>,
    /// Of those who are remembered.
    pub(crate) greeting: Greeting,
    /// What is wrong with a neighbour's hellos and with its descriptions, so that it is said once.
    pub(crate) problems: [Option<String>; 4],
    /// The largest packet that the path carries, with its IP header, as whoever carries it says; what the interface says when
    /// that is less.
    pub(crate) carries: Option<u32>,
    /// Since when the path is held to swallow larger packets than [`NARROW`].
    pub(crate) narrow: Option<Instant>,
    /// Larger ones have been sent, and it is open whether they get through.
    pub(crate) has_sent_large: bool,
    /// How the other end is spoken to.
    pub(crate) reach: Reach,
    pub(crate) trial: Trial,
    /// LSAs to be flooded out, and acknowledgements, gathered until the end of a call.
    pub(crate) flood: Vec<LsaKey>,
    pub(crate) acks: Vec<LsaHeader>,
    /// Until when they may wait for others, see [`Self::take_acks`].
    pub(crate) acks_due: Option<Instant>,
    /// Acknowledgements that go to one neighbour only.
    pub(crate) direct_acks: Vec<(Peer, LsaHeader)>,
    /// LSAs of this link only (RFC 5250).
    pub(crate) lsdb: Lsdb,
    pub(crate) virtual_end: Option<VirtualEnd>,
    /// How often the interface's machine has moved.
    pub(crate) state_changes: u32,
    /// Packets of each type, hellos first: how many have come and how many have gone.
    pub(crate) traffic: [[u64; 2]; 5],
    /// Packets that came here and were dropped, by reason.
    pub(crate) dropped: BTreeMap<&'static str, u64>,
}

impl Interface {
    /// Whether this router is a neighbour here that is heard.
    pub(crate) fn hears(&self, router_id: RouterId) -> bool {
        self.neighbours.values().any(|one| one.router_id == router_id && one.state >= State::Init)
    }

    pub(crate) fn new(now: Instant, link: Link, config: InterfaceConfig) -> Self {
        let own = if link.point_to_point { NetworkType::PointToPoint } else { NetworkType::Broadcast };
        let network = config.network.unwrap_or(own);
        let mut interface = Self {
            link,
            config,
            network,
            state: InterfaceState::PointToPoint,
            neighbours: BTreeMap::new(),
            designated: Ipv4Addr::UNSPECIFIED,
            backup: Ipv4Addr::UNSPECIFIED,
            wait_until: None,
            elect: false,
            hello_due: now,
            since: now,
            last_hello_at_once: None,
            hello_again: None,
            greeting: Greeting::default(),
            problems: [const { None }; 4],
            carries: None,
            narrow: None,
            has_sent_large: false,
            reach: Reach::default(),
            trial: Trial::default(),
            flood: Vec::new(),
            acks: Vec::new(),
            acks_due: None,
            direct_acks: Vec::new(),
            lsdb: Lsdb::default(),
            virtual_end: None,
            state_changes: 0,
            traffic: [[0; 2]; 5],
            dropped: BTreeMap::new(),
        };
        interface.begin(now);
        interface
    }

    /// InterfaceUp (section 9.3).
    pub(crate) fn begin(&mut self, now: Instant) {
        self.designated = Ipv4Addr::UNSPECIFIED;
        self.backup = Ipv4Addr::UNSPECIFIED;
        self.since = now;
        self.hello_due = now;
        let waits = self.network.elects() && self.config.priority > 0 && self.is_active();
        self.wait_until = waits.then(|| now + self.wait());
        self.state = match self.network {
            NetworkType::Virtual => InterfaceState::Down,
            network if !network.elects() => InterfaceState::PointToPoint,
            _ if waits => InterfaceState::Waiting,
            _ => InterfaceState::DrOther,
        };
        for neighbour in &self.config.neighbours {
            let mut silent = Neighbour::new(now, Ipv4Addr::UNSPECIFIED, neighbour.address);
            silent.priority = neighbour.priority;
            if self.is_active() {
                silent.state = State::Attempt;
                silent.dead_at = now + self.dead_interval();
            }
            self.neighbours.insert(neighbour.address, silent);
        }
    }

    fn wait(&self) -> Duration {
        self.dead_interval()
    }

    pub(crate) fn dead_interval(&self) -> Duration {
        Duration::from_secs(u64::from(self.config.dead_seconds()))
    }

    /// Whether neighbours are spoken to.
    pub(crate) fn is_active(&self) -> bool {
        !self.config.passive && !self.link.loopback
    }

    /// Whether there is one neighbour at the most, known by its router id.
    pub(crate) fn has_one_end(&self) -> bool {
        matches!(self.network, NetworkType::PointToPoint | NetworkType::Virtual)
    }

    /// Whether a packet with a source that its digest vouches for can be of this link: of its network, or the other end. On
    /// unnumbered and virtual links any can be.
    pub(crate) fn may_send(&self, source: Ipv4Addr) -> bool {
        self.network == NetworkType::Virtual
            || self.is_unnumbered()
            || self.link.peer == Some(source)
            || masked(source, self.link.prefix_len) == self.link.network()
    }

    /// The address of the other end where there is room for one only.
    pub(crate) fn other_end(&self) -> Option<Ipv4Addr> {
        let own = u32::from(self.link.address);
        let only = match (self.link.prefix_len, own & 3) {
            (31, _) => Some(own ^ 1),
            (30, 1) => Some(own + 1),
            (30, 2) => Some(own - 1),
            _ => None,
        };
        self.link.peer.or(only.map(Ipv4Addr::from))
    }

    /// Whether the other end has an address that does not belong to a network of this interface.
    pub(crate) fn is_unnumbered(&self) -> bool {
        self.network == NetworkType::PointToPoint && self.link.prefix_len == 32 && self.link.peer.is_none()
    }

    /// Whether this router speaks for the network.
    pub(crate) fn is_designated(&self) -> bool {
        self.state >= InterfaceState::Backup
    }

    /// Neighbours with which the database is the same.
    pub(crate) fn full(&self) -> impl Iterator<Item = &Neighbour> {
        self.neighbours.values().filter(|neighbour| neighbour.counts_as_full())
    }

    /// Whether an adjacency is on its way.
    pub(crate) fn is_forming(&self) -> bool {
        self.full().next().is_none()
            && self.neighbours.values().any(|neighbour| neighbour.state >= State::Init)
    }

    /// Whether databases are being described or requested.
    pub(crate) fn is_exchanging(&self) -> bool {
        self.neighbours.values().any(|n| matches!(n.state, State::Exchange | State::Loading))
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let speaks = self.is_active() && self.state != InterfaceState::Down;
        let hello = speaks.then_some(self.hello_due);
        let neighbours = self.neighbours.values().filter_map(Neighbour::next_timeout).min();
        let greeting = self.greeting.next_timeout();
        let again = self.hello_again.filter(|_| speaks);
        let rest =
            [hello, again, self.wait_until, neighbours, self.lsdb.next_expiry(), greeting, self.acks_due];
        rest.into_iter().flatten().min()
    }

    /// Largest OSPF packet that needs no fragments, in bytes.
    pub(crate) fn room(&self) -> usize {
        let trailer = self.config.authentication.trailer_len();
        let carried = self.carries.map_or(self.link.mtu, |carries| carries.min(self.link.mtu));
        let mtu = if self.narrow.is_some() { NARROW } else { usize::try_from(carried).unwrap_or(1500) };
        mtu.saturating_sub(20).clamp(556, 65_000) - trailer
    }

    /// Takes the acknowledgements to be sent now. While a neighbour still has answers to send, those that do not fill a
    /// packet wait for others, for a short time (delayed acknowledgements, RFC 2328 section 13.5).
    pub(crate) fn take_acks(&mut self, now: Instant, per_packet: usize) -> Vec<LsaHeader> {
        let mut acks = std::mem::take(&mut self.acks);
        let is_asking = self.neighbours.values().any(|one| one.state == State::Loading && one.requested > 0);
        let due = self.acks_due.take().unwrap_or(now + ACKS_WAIT);
        if is_asking && now < due {
            self.acks = acks.split_off(acks.len() - acks.len() % per_packet);
            self.acks_due = (!self.acks.is_empty()).then_some(due);
        }
        acks
    }

    /// Where updates and acknowledgements for everybody go; `None` when each neighbour gets its own.
    pub(crate) fn group(&self) -> Option<Ipv4Addr> {
        match self.network {
            NetworkType::PointToPoint if matches!(self.reach, Reach::Unicast(_)) => None,
            NetworkType::PointToPoint => Some(ALL_ROUTERS),
            NetworkType::Broadcast if self.is_designated() => Some(ALL_ROUTERS),
            NetworkType::Broadcast => Some(ALL_DESIGNATED),
            _ => None,
        }
    }

    /// Where packets for one neighbour go (section 8.1).
    pub(crate) fn address_of(&self, key: Ipv4Addr) -> Option<Ipv4Addr> {
        match self.network {
            NetworkType::PointToPoint if !matches!(self.reach, Reach::Unicast(_)) => Some(ALL_ROUTERS),
            _ => self.neighbours.get(&key).map(|neighbour| neighbour.address),
        }
    }

    /// Whether this router listens to AllDRouters there.
    pub(crate) fn listens_as_designated(&self) -> bool {
        self.network == NetworkType::Broadcast && self.is_designated() && self.is_active()
    }

    /// Whether the neighbour is one to become adjacent to (section 10.4).
    pub(crate) fn wants_adjacency(&self, neighbour: &Neighbour) -> bool {
        !self.network.elects()
            || self.is_designated()
            || neighbour.address == self.designated
            || neighbour.address == self.backup
    }

    /// Whether the neighbour is designated router or backup.
    pub(crate) fn speaks_for_network(&self, address: Ipv4Addr) -> bool {
        self.network.elects() && (address == self.designated || address == self.backup)
    }
}

impl Engine {
    /// An interface is there, or has changed.
    pub fn interface_up(&mut self, now: Instant, link: Link, config: InterfaceConfig) {
        if self.interfaces.get(&link.index).is_some_and(|old| old.link == link && old.config == config) {
            return;
        }
        if let Some(old) = self.interfaces.get_mut(&link.index).filter(|old| old.link == link)
            && config.replaces(&old.config)
        {
            // Who may be designated router has changed.
            old.elect |= old.network.elects() && old.config.priority != config.priority;
            old.config = config;
            old.hello_due = now;
            let (area, address) = (old.config.area, old.link.address);
            self.router_lsa_soon(now, area);
            self.network_lsa_soon(now, area, address);
            return self.handle_timeout(now);
        }
        let before = self.interfaces.get(&link.index).map(|old| (old.dropped.clone(), old.traffic));
        if before.is_some() {
            self.interface_down(now, link.index);
        }
        self.tick(now);
        self.begin(now);
        self.make_virtual_links(now);
        let (index, area) = (link.index, config.area);
        self.area_mut(area);
        let mut interface = Interface::new(now, link, config);
        (interface.dropped, interface.traffic) = before.unwrap_or_default();
        self.interfaces.insert(index, interface);
        self.topology_changed(now, area);
        self.greet(now, index);
        self.announce_before_hello(now, index);
        self.handle_timeout(now);
    }

    /// An interface is gone.
    pub fn interface_down(&mut self, now: Instant, index: u32) {
        self.tick(now);
        self.kill_neighbours(now, index, "the interface is down");
        if let Some(old) = self.interfaces.remove(&index) {
            self.network_lsa_soon(now, old.config.area, old.link.address);
            self.topology_changed(now, old.config.area);
        }
        self.work(now);
    }

    /// Whoever knows better than the dead interval says that nobody is at the other end.
    pub fn link_dead(&mut self, now: Instant, index: u32) {
        self.tell(
            |debug| debug.event,
            |engine| format!("{}: its tunnel is dead", engine.interface_name(index)),
        );
        self.kill_neighbours(now, index, "its tunnel is dead");
        self.work(now);
    }

    /// Whoever knows better than the dead interval says that this neighbour is not there any more.
    pub fn neighbour_dead(&mut self, now: Instant, index: u32, address: Ipv4Addr, why: &'static str) {
        self.tell(
            |debug| debug.event,
            |engine| format!("{}: {address} is dead: {why}", engine.interface_name(index)),
        );
        let Some(interface) = self.interfaces.get(&index) else { return };
        let keys: Vec<Ipv4Addr> =
            interface.neighbours.iter().filter(|(_, n)| n.address == address).map(|(key, _)| *key).collect();
        for key in keys {
            self.forget(Peer { interface: index, key });
            self.kill_neighbour(now, Peer { interface: index, key }, why);
        }
        self.work(now);
    }

    /// Packets reach the other end now: a hello goes at once.
    pub fn link_alive(&mut self, now: Instant, index: u32) {
        self.tell(
            |debug| debug.event,
            |engine| format!("{}: packets reach its other end", engine.interface_name(index)),
        );
        if let Some(interface) = self.interfaces.get_mut(&index) {
            interface.since = now;
            interface.hello_due = now;
            let area = interface.config.area;
            self.router_lsa_soon(now, area);
            self.greet(now, index);
            self.handle_timeout(now);
        }
    }

    /// Interfaces on which this router listens to AllDRouters too.
    pub fn designated_on(&self) -> impl Iterator<Item = u32> {
        self.interfaces.designated().iter().copied()
    }

    /// What an area's interfaces say is different now: the router LSA, and which routes lead out of them.
    pub(crate) fn topology_changed(&mut self, now: Instant, area: AreaId) {
        self.router_lsa_soon(now, area);
        self.paths_soon(now, area);
    }

    pub(crate) fn kill_neighbours(&mut self, now: Instant, index: u32, why: &'static str) {
        let Some(interface) = self.interfaces.get(&index) else { return };
        let keys: Vec<Ipv4Addr> = interface.neighbours.keys().copied().collect();
        for key in keys {
            self.kill_neighbour(now, Peer { interface: index, key }, why);
        }
    }
}
