//! Two engines and what is between them, in virtual time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use coati_crypto::{RandomSource, SeededRandom};
use coati_wire::bfd::Control;
use proptest::prelude::*;

use crate::*;

const LINK: u32 = 7;

fn address(host: usize) -> Ipv4Addr {
    Ipv4Addr::new(203, 0, 113, host as u8 + 1)
}

fn ends(host: usize) -> Ends {
    Ends { interface: LINK, peer: address(1 - host) }
}

/// Arrival, number, receiver, bytes.
type Flying = (Instant, u64, usize, Vec<u8>);

struct World {
    start: Instant,
    now: Instant,
    hosts: [Engine; 2],
    events: [Vec<(Duration, Event)>; 2],
    flying: BinaryHeap<Reverse<Flying>>,
    random: SeededRandom,
    /// Chance of loss in percent, by receiver.
    loss: [u32; 2],
    /// Every packet with its sender and time.
    log: Vec<(Duration, usize, Control)>,
}

fn times(multiplier: u8, transmit: u64, receive: u64) -> Times {
    Times { multiplier, transmit: Duration::from_millis(transmit), receive: Duration::from_millis(receive) }
}

impl World {
    fn new(seed: u64, times: [Times; 2]) -> Self {
        let now = Instant::now();
        let engine = |host: u64| Engine::new(Box::new(SeededRandom::new(seed * 2 + host)));
        let mut world = Self {
            start: now,
            now,
            hosts: [engine(0), engine(1)],
            events: Default::default(),
            flying: BinaryHeap::new(),
            random: SeededRandom::new(seed),
            loss: [0; 2],
            log: Vec::new(),
        };
        for (host, times) in times.into_iter().enumerate() {
            world.want(host, Some(times));
        }
        world
    }

    fn want(&mut self, host: usize, times: Option<Times>) {
        let wanted =
            times.map(|times| Wanted { ends: ends(host), name: "gre0".into(), local: address(host), times });
        self.hosts[host].set_sessions(self.now, wanted.into_iter().collect());
        self.settle();
    }

    fn settle(&mut self) {
        for host in 0..2 {
            while let Some(transmit) = self.hosts[host].poll_transmit() {
                assert_eq!((transmit.source, transmit.destination), (address(host), address(1 - host)));
                let packet = Control::parse(&transmit.payload).unwrap();
                self.log.push((self.now - self.start, host, packet));
                if self.random.below(100) >= self.loss[1 - host] {
                    let at = self.now + Duration::from_millis(5 + u64::from(self.random.below(5)));
                    let number = self.log.len() as u64;
                    self.flying.push(Reverse((at, number, 1 - host, transmit.payload)));
                }
            }
            while let Some(event) = self.hosts[host].poll_event() {
                self.events[host].push((self.now - self.start, event));
            }
        }
    }

    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let timers = self.hosts.iter().filter_map(Engine::next_timeout);
            let arrival = self.flying.peek().map(|Reverse((at, ..))| *at);
            let Some(next) = timers.chain(arrival).min().filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            while let Some(Reverse((at, ..))) = self.flying.peek()
                && *at <= self.now
            {
                let Reverse((_, _, to, bytes)) = self.flying.pop().unwrap();
                self.give(to, 255, &bytes);
            }
            for host in &mut self.hosts {
                host.handle_timeout(self.now);
                assert!(host.next_timeout().is_none_or(|next| next > self.now), "it does not wait");
            }
            self.settle();
        }
        self.now = end;
    }

    fn give(&mut self, to: usize, ttl: u8, bytes: &[u8]) {
        let input = Input { interface: LINK, source: address(1 - to), ttl, payload: bytes };
        self.hosts[to].handle_input(self.now, &input);
    }

    fn state(&self, host: usize) -> State {
        self.hosts[host].sessions[&ends(host)].session.state
    }

    fn is_up(&self) -> bool {
        (0..2).all(|host| self.state(host) == State::Up)
    }

    fn downs(&self, host: usize) -> Vec<(Duration, Diagnostic)> {
        let down = |(at, event): &(Duration, Event)| match event {
            Event::Down { diagnostic, .. } => Some((*at, *diagnostic)),
            Event::Up { .. } => None,
        };
        self.events[host].iter().filter_map(down).collect()
    }

    /// Time between packets of a host since then.
    fn gaps(&self, host: usize, since: Duration) -> Vec<Duration> {
        let of_host = self.log.iter().filter(|(at, from, _)| *from == host && *at >= since);
        let times: Vec<Duration> = of_host.map(|(at, ..)| *at).collect();
        times.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }
}

const MS: Duration = Duration::from_millis(1);

#[test]
fn three_packets_bring_it_up() {
    for seed in 0..20 {
        let mut world = World::new(seed, [Times::default(); 2]);
        world.run(100 * MS);
        assert!(world.is_up(), "seed {seed}: {:?}", world.log);
        world.run(Duration::from_secs(60));
        assert!(world.is_up() && world.downs(0).is_empty());
        // Jitter takes up to a quarter away, and nothing is sent more often.
        for gap in world.gaps(0, Duration::from_secs(1)) {
            assert!((224 * MS..=301 * MS).contains(&gap), "{gap:?}");
        }
    }
}

/// Each end sends as often as the other one takes it, and waits as long as the other one's packets may take.
#[test]
fn the_slower_one_counts() {
    let mut world = World::new(1, [times(3, 100, 1000), times(5, 400, 200)]);
    world.run(Duration::from_secs(5));
    let since = Duration::from_secs(2);
    let within = |gaps: Vec<Duration>, low: u32, high: u32| {
        assert!(gaps.iter().all(|gap| (low * MS..=high * MS).contains(gap)), "{gaps:?}");
    };
    within(world.gaps(0, since), 149, 201);
    within(world.gaps(1, since), 749, 1001);
    // Five of the other's, each up to 1000 ms; three of ours, each up to 200 ms.
    let detection = |host: usize| world.hosts[host].sessions[&ends(host)].session.detection();
    assert_eq!((detection(0), detection(1)), (5000 * MS, 600 * MS));
}

#[test]
fn a_cut_is_seen_within_the_detection_time() {
    for seed in 0..20 {
        let mut world = World::new(seed, [times(3, 50, 50); 2]);
        world.run(Duration::from_secs(10));
        let cut = world.now - world.start;
        world.loss = [100, 100];
        world.run(Duration::from_secs(1));
        for host in 0..2 {
            let downs = world.downs(host);
            assert_eq!(downs.len(), 1);
            let (at, why) = downs[0];
            assert_eq!(why, Diagnostic::EXPIRED);
            assert!((at - cut) <= 160 * MS, "{:?}", at - cut);
        }
        // A cut one tries once a second, and comes up when it can.
        let gaps = world.gaps(0, cut + 200 * MS);
        assert!(gaps.iter().all(|gap| *gap >= 749 * MS), "{gaps:?}");
        world.loss = [0, 0];
        world.run(Duration::from_millis(1200));
        assert!(world.is_up());
    }
}

/// One direction that is lost ends both: the other end is told by the packets that still come.
#[test]
fn one_way_is_no_way() {
    let mut world = World::new(3, [times(3, 50, 50); 2]);
    world.run(Duration::from_secs(5));
    world.loss = [100, 0];
    world.run(Duration::from_millis(300));
    let whys: Vec<Vec<Diagnostic>> =
        (0..2).map(|host| world.downs(host).into_iter().map(|(_, why)| why).collect()).collect();
    assert_eq!(whys, [vec![Diagnostic::EXPIRED], vec![Diagnostic::NEIGHBOUR_DOWN]]);
    world.run(Duration::from_secs(10));
    assert!(!world.is_up());
    assert!((0..2).all(|host| world.events[host].iter().filter(|(_, e)| matches!(e, Event::Up { .. })).count() == 1));
}

/// Other times hold without a moment down, the slower ones when the other end knows (section 6.8.3).
#[test]
fn times_change_while_it_is_up() {
    for (before, after) in [(times(3, 50, 50), times(3, 900, 900)), (times(3, 900, 900), times(3, 50, 50))] {
        for seed in 0..10 {
            let mut world = World::new(seed, [before, before]);
            world.run(Duration::from_secs(10));
            world.want(0, Some(after));
            world.run(Duration::from_secs(10));
            world.want(1, Some(after));
            world.run(Duration::from_secs(20));
            assert!(world.is_up() && world.downs(0).is_empty() && world.downs(1).is_empty());
            let since = world.now - world.start - Duration::from_secs(10);
            let expected = after.transmit;
            let gaps = world.gaps(0, since);
            assert!(
                gaps.iter().all(|gap| *gap <= expected + MS && *gap >= expected * 3 / 4 - MS),
                "{gaps:?}"
            );
            // Both know it of each other, and nobody polls any more.
            assert!(world.log.iter().rev().take(20).all(|(_, _, packet)| !packet.poll));
        }
    }
}

#[test]
fn losses_do_not_bring_it_down_at_once() {
    let mut world = World::new(5, [times(5, 100, 100); 2]);
    world.run(Duration::from_secs(2));
    world.loss = [10, 10];
    world.run(Duration::from_secs(60));
    assert!(world.downs(0).len() <= 1, "{:?}", world.downs(0));
}

/// One that is taken away says so, and the other end does not take it for a failure of the path... it is down, with a
/// reason of its own.
#[test]
fn taken_away_is_told() {
    let mut world = World::new(1, [Times::default(); 2]);
    world.run(Duration::from_secs(5));
    world.want(0, None);
    world.run(100 * MS);
    assert_eq!(world.downs(1).iter().map(|(_, why)| *why).collect::<Vec<_>>(), [Diagnostic::NEIGHBOUR_DOWN]);
    assert_eq!(world.hosts[1].sessions[&ends(1)].session.remote.diagnostic, Diagnostic::ADMIN_DOWN);
    world.want(0, Some(Times::default()));
    world.run(Duration::from_millis(1100));
    assert!(world.is_up());
}

/// FRR 8.4 ends a session by a packet that says: down, because you said so.
#[test]
fn frrs_leave_is_no_failure_of_the_path() {
    for (remote, switched_off) in [
        (Diagnostic::NEIGHBOUR_DOWN, true),
        (Diagnostic::ADMIN_DOWN, true),
        (Diagnostic::EXPIRED, false),
        (Diagnostic::NONE, false),
    ] {
        let mut world = World::new(1, [Times::default(); 2]);
        world.run(Duration::from_secs(5));
        let session = &world.hosts[0].sessions[&ends(0)].session;
        let (mine, yours) = (session.remote.discriminator, session.discriminator);
        let down = Control {
            mine,
            yours,
            state: State::Down,
            diagnostic: remote,
            multiplier: 3,
            ..Control::default()
        };
        world.give(0, 255, &down.emit());
        world.settle();
        let Some((_, Event::Down { switched_off: found, .. })) = world.events[0].last() else { panic!() };
        assert_eq!(*found, switched_off, "{remote:?}");
    }
}

/// What is not from the neighbour's own link, or not for a session, changes nothing.
#[test]
fn strangers_change_nothing() {
    let mut world = World::new(1, [Times::default(); 2]);
    world.run(Duration::from_secs(5));
    let session = &world.hosts[0].sessions[&ends(0)].session;
    let (mine, yours) = (session.remote.discriminator, session.discriminator);
    let down = Control { state: State::Down, multiplier: 3, mine, yours, ..Control::default() };
    world.give(0, 254, &down.emit());
    world.give(0, 255, &Control { yours: yours ^ 1, ..down }.emit());
    let elsewhere = Input { interface: 8, source: address(1), ttl: 255, payload: &down.emit() };
    world.hosts[0].handle_input(world.now, &elsewhere);
    let another = Input { interface: LINK, source: address(5), ..elsewhere };
    world.hosts[0].handle_input(world.now, &another);
    world.give(0, 255, &[0x20; 10]);
    world.settle();
    assert!(world.is_up() && world.downs(0).is_empty());
    let dropped: Vec<(&str, u64)> = world.hosts[0].dropped().collect();
    let expected = [
        ("TTL below 255", 1),
        ("discriminator of no session with the sender", 3),
        ("length that does not fit", 1),
    ];
    assert_eq!(dropped, expected);
}

#[test]
fn views_are_frrs() {
    let mut world = World::new(1, [Times::default(); 2]);
    world.run(Duration::from_secs(75));
    let session = &world.hosts[0].sessions[&ends(0)].session;
    let (mine, yours) = (session.discriminator, session.remote.discriminator);
    let show = |words: &[&str]| world.hosts[0].show(world.now, words).unwrap();
    let expected = format!(
        "BFD Peers:\n\tpeer 203.0.113.2 local-address 203.0.113.1 vrf default interface gre0\n\t\tID: {mine}\n\
         \t\tRemote ID: {yours}\n\t\tActive mode\n\t\tStatus: up\n\t\tUptime: 1 minute(s), 14 second(s)\n\
         \t\tDiagnostics: ok\n\t\tRemote diagnostics: ok\n\t\tPeer Type: dynamic\n\t\tLocal timers:\n\
         \t\t\tDetect-multiplier: 3\n\t\t\tReceive interval: 300ms\n\t\t\tTransmission interval: 300ms\n\
         \t\t\tEcho receive interval: disabled\n\t\t\tEcho transmission interval: disabled\n\t\tRemote timers:\n\
         \t\t\tDetect-multiplier: 3\n\t\t\tReceive interval: 300ms\n\t\t\tTransmission interval: 300ms\n\
         \t\t\tEcho receive interval: disabled\n\n"
    );
    assert_eq!(show(&["bfd", "peers"]), expected);
    let value: serde_json::Value = serde_json::from_str(&show(&["bfd", "peers", "json"])).unwrap();
    assert_eq!(value[0]["status"], "up");
    assert_eq!(value[0]["remote-receive-interval"], 300);
    assert!(
        show(&["bfd", "peers", "brief"]).contains("203.0.113.1                              203.0.113.2")
    );
    assert!(show(&["bfd", "peers", "counters"]).contains("Session up events: 1"));
    assert!(world.hosts[0].show(world.now, &["bfd", "peer"]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes: it neither panics nor sends more than it is asked to, and the next good packets bring it up.
    #[test]
    fn any_packets(
        seed in 0u64..1000,
        packets in prop::collection::vec((prop::collection::vec(any::<u8>(), 20..30), any::<bool>()), 1..60),
    ) {
        let mut world = World::new(seed, [times(3, 100, 100); 2]);
        world.run(Duration::from_secs(1));
        for (mut bytes, fits) in packets {
            if fits {
                bytes.resize(24, 0);
                bytes[0] = 0x20 | bytes[0] & 0x1f;
                bytes[1] &= 0xfa;
                bytes[3] = 24;
                let number = world.hosts[0].sessions[&ends(0)].session.discriminator;
                bytes[8..12].copy_from_slice(&number.to_be_bytes());
            }
            let sent = world.log.len();
            world.give(0, 255, &bytes);
            world.settle();
            prop_assert!(world.log.len() <= sent + 2);
        }
        world.run(Duration::from_secs(3));
        // What somebody said about the other end's times may keep it waiting: until it is heard again.
        world.run(Duration::from_secs(5000));
        prop_assert!(world.is_up());
    }
}
