//! Two OSPF engines that are Full, in virtual time, and somebody on their link who sends what he likes. Nothing on the
//! link is authenticated, so he can break the adjacency; but when he stops, it comes back, and nothing floods for ever.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use coati_crypto::SeededRandom;
use coati_ospf::*;
use coati_wire::ospf::{
    self, AUTH_NULL, Header, INITIAL_SEQUENCE, LSA_HEADER_LEN, Lsa, LsaBody, LsaKey, MAX_SEQUENCE,
};

use crate::reader::Reader;
use crate::wire::sound_ospf;

/// Steps of one input at the most.
const MAX_STEPS: usize = 48;
/// Index of the link between the two.
const LINK: u32 = 10;
const MTU: u32 = 1400;
/// Packets of both routers in a second of virtual time at the most, averaged over [`WATCH`].
const MAX_RATE: u64 = 20;
const WATCH: Duration = Duration::from_secs(100);
/// All that can be told.
const EVERYTHING: Debug = Debug {
    sent: u8::MAX,
    received: u8::MAX,
    detail: u8::MAX,
    event: true,
    interface: true,
    neighbour: true,
    lsa: true,
    spf: true,
};
/// After so long without a stranger all that he said has died of age.
const HEALED: Duration = Duration::from_secs(3700);
const VIEWS: [&[&str]; 7] = [
    &["ip", "ospf"],
    &["ip", "ospf", "neighbor", "detail"],
    &["ip", "ospf", "interface", "json"],
    &["ip", "ospf", "database"],
    &["ip", "ospf", "database", "router"],
    &["ip", "ospf", "route", "json"],
    &["ip", "ospf", "border-routers"],
];

/// Two neighbours, and what is sent in between. Each step is a byte and what that kind of step reads: see
/// `World::step`.
pub fn ospf_session(data: &[u8]) {
    let mut world = World::full();
    let mut reader = Reader::new(data);
    for _ in 0..MAX_STEPS {
        if reader.is_empty() {
            break;
        }
        world.step(&mut reader);
    }
    world.check_database();
    // What was begun may still go on for a moment.
    world.pass(Duration::from_secs(60));
    let before = world.log.len();
    world.pass(WATCH);
    let rate = u64::try_from(world.log.len() - before).unwrap_or(u64::MAX) / WATCH.as_secs();
    assert!(rate < MAX_RATE, "{rate} packets a second without end");
    if !world.is_converged() {
        world.pass(HEALED);
        assert!(world.is_converged(), "they do not find back to each other");
    }
}

/// What two routers say until they are Full: seeds for the corpus.
pub fn ospf_packets() -> Vec<Vec<u8>> {
    World::full().log.into_iter().map(|(_, bytes)| bytes).collect()
}

struct World {
    now: Instant,
    routers: [Engine; 2],
    /// Arrival, receiver, bytes.
    flying: VecDeque<(Instant, usize, Vec<u8>)>,
    /// What the routers have sent, with the sender.
    log: Vec<(usize, Vec<u8>)>,
    /// Bytes that the stranger has sent.
    sent: usize,
}

fn id(router: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 255, 0, u8::try_from(router).unwrap_or(0) + 1)
}

fn address(router: usize) -> Ipv4Addr {
    Ipv4Addr::new(203, 0, 113, u8::try_from(router).unwrap_or(0) + 1)
}

fn lan(router: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, u8::try_from(router).unwrap_or(0) + 1, 0, 0)
}

impl World {
    const DELAY: Duration = Duration::from_millis(5);

    fn full() -> Self {
        let now = Instant::now();
        let routers = [0, 1].map(|index: usize| {
            let config = Config::new(id(index));
            let random = SeededRandom::new(u64::try_from(index).unwrap_or(0));
            let mut engine = Engine::new(config, Box::new(random));
            // Telling what has come has brought down others (CVE-2025-61099 to 61107).
            engine.set_debug(EVERYTHING);
            let lan = Link {
                index: 1,
                name: "em1".into(),
                address: Ipv4Addr::from(u32::from(lan(index)) + 1),
                prefix_len: 24,
                peer: None,
                mtu: 1500,
                speed: None,
                point_to_point: false,
                loopback: false,
            };
            let passive = InterfaceConfig { passive: true, ..InterfaceConfig::default() };
            engine.interface_up(now, lan, passive);
            let link = Link {
                index: LINK,
                name: "gre0".into(),
                address: address(index),
                prefix_len: 30,
                peer: Some(address(1 - index)),
                mtu: MTU,
                speed: None,
                point_to_point: true,
                loopback: false,
            };
            engine.interface_up(now, link, InterfaceConfig::default());
            engine
        });
        let mut world = Self { now, routers, flying: VecDeque::new(), log: Vec::new(), sent: 0 };
        world.pass(Duration::from_secs(5));
        assert!(world.is_converged(), "they become Full");
        world
    }

    fn step(&mut self, reader: &mut Reader<'_>) {
        let (what, to) = (reader.byte(), usize::from(reader.byte() & 1));
        match what % 8 {
            // A packet of the routers, changed; every second time with its checksums made right again.
            0 | 1 => {
                let index = usize::from(reader.word()) % self.log.len().max(1);
                let Some((from, mut bytes)) = self.log.get(index).cloned() else { return };
                reader.change(&mut bytes);
                let bytes = if what & 8 == 0 { bytes } else { sound_ospf(&bytes) };
                self.give(1 - from, &bytes);
            }
            // Anything.
            2 => {
                let bytes = reader.piece();
                self.give(to, bytes);
            }
            // A packet of some type from the neighbour, with any body.
            3 | 4 => {
                let kind = reader.byte() % 7;
                let body = reader.piece();
                let header = ospf::emit_update(&header(1 - to), &[]);
                let mut bytes = header.get(..ospf::HEADER_LEN).unwrap_or(&[]).to_vec();
                bytes[1] = kind;
                bytes.extend_from_slice(body);
                self.give(to, &sound_ospf(&bytes));
            }
            // An LSA in somebody's name.
            5 | 6 => {
                let lsa = forge(reader);
                let bytes = ospf::emit_update(&header(1 - to), &[lsa]);
                self.give(to, &bytes);
            }
            _ => self.pass(Duration::from_millis(u64::from(reader.byte()) * 100)),
        }
    }

    /// A packet arrives on the link.
    fn give(&mut self, to: usize, bytes: &[u8]) {
        self.sent += bytes.len();
        self.routers[to].handle_input(self.now, &Input::to_all(LINK, address(1 - to), bytes));
        self.settle();
    }

    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        self.settle();
        loop {
            let timers = self.routers.iter().filter_map(Engine::next_timeout);
            let arrival = self.flying.front().map(|(at, ..)| *at);
            let Some(next) = timers.chain(arrival).min().filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            while let Some((_, to, bytes)) = self.flying.pop_front_if(|(at, ..)| *at <= self.now) {
                self.routers[to].handle_input(self.now, &Input::to_all(LINK, address(1 - to), &bytes));
            }
            for router in &mut self.routers {
                // One thing may set off another in the same moment, but not for ever.
                let done = (0..8).any(|_| {
                    router.handle_timeout(self.now);
                    router.next_timeout().is_none_or(|next| next > self.now)
                });
                assert!(done, "it is never done");
            }
            self.settle();
        }
        self.now = end;
    }

    fn settle(&mut self) {
        for (index, router) in self.routers.iter_mut().enumerate() {
            while router.poll_event().is_some() {}
            while let Some(transmit) = router.poll_transmit() {
                assert_eq!(transmit.interface, LINK, "sent out of a passive interface");
                assert!(transmit.payload.len() <= MTU as usize - 20, "{} bytes", transmit.payload.len());
                self.log.push((index, transmit.payload.clone()));
                self.flying.push_back((self.now + Self::DELAY, 1 - index, transmit.payload));
            }
        }
    }

    fn is_converged(&self) -> bool {
        (0..2).all(|router| self.routers[router].routes().any(|route| route.network == lan(1 - router)))
    }

    /// Every view can be shown, and the database holds no more than was sent.
    fn check_database(&self) {
        for router in &self.routers {
            for view in VIEWS {
                assert!(router.show(self.now, view).is_ok(), "{view:?}");
            }
            let lines = router.show(self.now, &["ip", "ospf", "database"]).map_or(0, |t| t.lines().count());
            assert!(lines <= 60 + self.sent / LSA_HEADER_LEN, "{lines} lines");
            assert!(router.problems().count() <= 4);
        }
    }
}

fn header(router: usize) -> Header {
    Header { router_id: id(router), area: Ipv4Addr::UNSPECIFIED, auth_kind: AUTH_NULL, auth: [0; 8] }
}

fn forge(reader: &mut Reader<'_>) -> Vec<u8> {
    let [kind, name, owner, when] = [reader.byte() % 13, reader.byte(), reader.byte(), reader.byte()];
    let somebody = |byte: u8| match byte % 4 {
        0 => id(0),
        1 => id(1),
        2 => lan(1),
        _ => Ipv4Addr::new(10, 9, 9, byte),
    };
    let key = LsaKey { kind, id: somebody(name), advertising_router: somebody(owner) };
    let sequence = match when % 5 {
        0 => INITIAL_SEQUENCE,
        1 => INITIAL_SEQUENCE + i32::from(when),
        2 => MAX_SEQUENCE,
        3 => MAX_SEQUENCE - 1,
        _ => 0,
    };
    let age = reader.word();
    let body = reader.piece();
    let lsa = Lsa::new(key, 2, sequence, LsaBody::Opaque(body.to_vec()));
    lsa.emit_aged(age)
}
