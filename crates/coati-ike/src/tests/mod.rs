//! Two engines with two real SADBs and a lossy network between them, in virtual time.

mod admin;
mod aggressive;
mod certificates;
mod commit;
mod compression;
mod cve;
mod exchanges;
mod flood;
mod hostile;
mod lifetimes;
mod nat;
mod road_warrior;
mod selectors;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use coati_crypto::dh::Group;
use coati_crypto::hash::HashAlgorithm;
use coati_crypto::{RandomSource, SeededRandom};
use coati_ipsec::Sadb;
use coati_sadb::*;

use crate::*;

const A: &str = "192.0.2.1";
const B: &str = "198.51.100.1";

/// One host.
struct Host {
    address: IpAddr,
    engine: Engine,
    sadb: Sadb,
    events: Vec<Event>,
    jobs: Vec<Job>,
}

/// A datagram under way: arrival, number, receiver, sender's address, receiver's address, bytes.
type Flying = (Instant, u64, usize, SocketAddr, SocketAddr, Vec<u8>);

/// The public address of the NAT that may stand before the first host.
const NAT: &str = "203.0.113.7";

/// A NAT before the first host.
struct NatBox {
    public: IpAddr,
    /// What is added to a port.
    shift: u16,
}

/// Both hosts, and what is between them.
struct World {
    start: Instant,
    now: Instant,
    hosts: [Host; 2],
    random: SeededRandom,
    /// Chance of loss in percent.
    loss: u32,
    cut: bool,
    /// Chance of a second copy in percent.
    copies: u32,
    nat: Option<NatBox>,
    /// Addresses under which the hosts see each other, where those are not their own: IKE speaks for somebody else.
    aliases: Option<[IpAddr; 2]>,
    /// What is done to datagrams on their way: by sender. `false` loses them.
    touch: fn(usize, &mut [u8]) -> bool,
    flying: BinaryHeap<Reverse<Flying>>,
    sent: u64,
    /// Every datagram, with its sender.
    log: Vec<(usize, Vec<u8>)>,
}

fn config(peer: &str) -> Config {
    Config {
        peers: vec![Peer {
            address: Some(peer.parse().unwrap()),
            port: 500,
            proposals: vec![IkeProposal { origin: "racoon.conf:20:3".into(), ..IkeProposal::default() }],
            proposal_check: ProposalCheck::Strict,
            fragmentation: Fragmentation::On,
            dpd: Some(Dpd { delay: Duration::from_secs(20), retry: Duration::from_secs(5), max_failures: 2 }),
            passive: false,
            initial_contact: true,
            nonce_len: 16,
            origin: "racoon.conf:10:1".into(),
            check_origin: "racoon.conf:12:3".into(),
            ..Peer::default()
        }],
        sainfos: vec![SaInfo {
            pfs_group: Some(Group::Modp1024),
            lifetime: 14_400,
            encryption: vec![(EncAlgorithm::AesCbc, 128), (EncAlgorithm::TripleDesCbc, 192)],
            authentication: vec![AuthAlgorithm::HmacSha1],
            origin: "racoon.conf:40:1".into(),
            ..SaInfo::default()
        }],
        keys: vec![PreSharedKey {
            identity: peer.into(),
            key: Secret::new(b"correct horse battery staple".to_vec()),
            origin: "psk.txt:1".into(),
        }],
        ..Config::default()
    }
}

fn policies(local: &str, remote: &str) -> Vec<Policy> {
    let selector = Selector {
        source: Prefix::host(local.parse().unwrap()),
        source_port: Port::Any,
        destination: Prefix::host(remote.parse().unwrap()),
        destination_port: Port::Any,
        upper: Upper::GRE,
    };
    let policy = |selector, direction, reqid| Policy {
        id: PolicyId(0),
        selector,
        direction,
        priority: Priority::default(),
        action: Action::Ipsec(vec![Rule {
            proto: SaProto::Esp,
            mode: Mode::Transport,
            endpoints: None,
            level: Level::Unique(ReqId(reqid)),
        }]),
        usage: Usage::default(),
    };
    vec![policy(selector, Direction::Out, 16_385), policy(selector.reversed(), Direction::In, 16_386)]
}

impl Host {
    fn new(seed: u64, local: &str, remote: &str, config: Config, now: Instant) -> Self {
        let mut sadb = Sadb::new(Box::new(SeededRandom::new(seed + 1)));
        for policy in policies(local, remote) {
            sadb.request(now, 0, Request::SpdAdd(Box::new(policy)));
        }
        let mut engine = Engine::new(config, Box::new(SeededRandom::new(seed)));
        engine.handle_policies(&sadb.policies());
        Self { address: local.parse().unwrap(), engine, sadb, events: Vec::new(), jobs: Vec::new() }
    }

    fn sas(&mut self, now: Instant) -> Vec<Sa> {
        match self.sadb.request(now, 0, Request::Dump(None)) {
            Reply::Sas { sas } => sas,
            other => panic!("{other:?}"),
        }
    }

    fn failures(&self) -> String {
        self.events
            .iter()
            .filter_map(|event| match event {
                Event::Failure(failure) => Some(failure.explanation.as_str()),
                _ => None,
            })
            .collect::<Vec<_>>()
            .join("\n")
    }
}

impl World {
    fn new(seed: u64) -> Self {
        Self::with(seed, config(B), config(A))
    }

    fn with(seed: u64, a: Config, b: Config) -> Self {
        let now = Instant::now();
        let hosts = [Host::new(seed * 10 + 1000, A, B, a, now), Host::new(seed * 10 + 2000, B, A, b, now)];
        Self {
            start: now,
            now,
            hosts,
            random: SeededRandom::new(seed),
            loss: 0,
            cut: false,
            copies: 0,
            nat: None,
            aliases: None,
            touch: |_, _| true,
            flying: BinaryHeap::new(),
            sent: 0,
            log: Vec::new(),
        }
    }

    /// The first host is behind a NAT; the second one knows it by the NAT's address.
    fn behind_nat(seed: u64, a: Config, b: Config) -> Self {
        let mut world = Self::with(seed, a, b.clone());
        world.hosts[1] = Host::new(seed * 10 + 2000, B, NAT, b, world.now);
        world.nat = Some(NatBox { public: NAT.parse().unwrap(), shift: 20_000 });
        world
    }

    /// A packet of this host meets its policy.
    fn acquire(&mut self, host: usize) {
        let this = &mut self.hosts[host];
        let policy = this.sadb.policies().into_iter().find(|p| p.direction == Direction::Out).unwrap();
        let acquire = Acquire {
            policy: policy.id,
            source: policy.selector.source.address,
            destination: policy.selector.destination.address,
            selector: policy.selector,
            proto: SaProto::Esp,
            mode: Mode::Transport,
            reqid: ReqId(16_385),
        };
        this.engine.handle_acquire(self.now, &acquire);
        self.settle();
    }

    /// Carries everything out that the engines have to say.
    fn settle(&mut self) {
        for index in 0..2 {
            loop {
                let host = &mut self.hosts[index];
                if let Some((tag, request)) = host.engine.poll_request() {
                    let reply = host.sadb.request(self.now, 0, request);
                    host.engine.handle_reply(self.now, tag, &reply);
                } else if let Some(notification) = host.sadb.poll_notification() {
                    if let Notification::Expire(expire) = notification {
                        host.engine.handle_expire(self.now, &expire);
                    }
                } else if let Some(job) = host.engine.poll_job() {
                    host.jobs.push(job);
                } else if let Some(event) = host.engine.poll_event() {
                    host.events.push(event);
                } else if let Some(transmit) = host.engine.poll_transmit() {
                    self.transmit(index, transmit);
                } else if let Some(job) = host.jobs.pop() {
                    host.engine.handle_job(self.now, job.run());
                } else {
                    break;
                }
            }
        }
    }

    fn transmit(&mut self, from: usize, mut transmit: Transmit) {
        let untouched = (self.touch)(from, &mut transmit.payload);
        self.log.push((from, transmit.payload.clone()));
        let delay = Duration::from_millis(5 + u64::from(self.random.below(10)));
        let lost = self.random.below(100) < self.loss || self.cut || !untouched;
        let other = 1 - from;
        let (mut source, mut destination) = (transmit.local, transmit.remote);
        if let Some(aliases) = self.aliases {
            // The first host goes by the other's alias, and is seen under its own.
            let other_is_meant = from == 0 && destination.ip() == aliases[1];
            let first_is_meant = from == 1 && destination.ip() == aliases[0];
            if other_is_meant || first_is_meant {
                source.set_ip(if from == 0 { aliases[0] } else { aliases[1] });
                destination.set_ip(self.hosts[1 - from].address);
            }
        }
        match &self.nat {
            Some(nat) if from == 0 => source = SocketAddr::new(nat.public, source.port() + nat.shift),
            Some(nat) if destination.ip() == nat.public => {
                // What was let through before and is not any more reaches nobody.
                let port =
                    destination.port().checked_sub(nat.shift).filter(|port| [500, 4500].contains(port));
                let Some(port) = port else { return };
                destination = SocketAddr::new(self.hosts[0].address, port);
            }
            _ => {}
        }
        if lost || destination.ip() != self.hosts[other].address {
            return;
        }
        let copies = 1 + u64::from(self.random.below(100) < self.copies);
        for copy in 0..copies {
            self.sent += 1;
            let at = self.now + delay * (1 + 7 * u32::try_from(copy).unwrap());
            self.flying.push(Reverse((at, self.sent, other, source, destination, transmit.payload.clone())));
        }
    }

    /// Lets the next thing happen; `false` when nothing does until `end`.
    fn step(&mut self, end: Instant) -> bool {
        let timers = self.hosts.iter().flat_map(|h| [h.engine.next_timeout(), h.sadb.next_timeout()]);
        let arrival = self.flying.peek().map(|Reverse((at, ..))| *at);
        let Some(next) = timers.chain([arrival]).flatten().min().filter(|next| *next <= end) else {
            self.now = end;
            return false;
        };
        self.now = self.now.max(next);
        while let Some(Reverse((at, ..))) = self.flying.peek()
            && *at <= self.now
        {
            let Reverse((_, _, to, from, local, bytes)) = self.flying.pop().unwrap();
            self.hosts[to].engine.handle_input(self.now, local, from, &bytes);
        }
        for host in &mut self.hosts {
            host.engine.handle_timeout(self.now);
            host.sadb.handle_timeout(self.now, 0);
        }
        self.settle();
        true
    }

    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.step(end) {}
    }

    fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.now + limit;
        loop {
            if done(self) {
                return true;
            }
            if !self.step(end) {
                return done(self);
            }
        }
    }

    /// Whether what each host sends with is what the other one receives with.
    fn is_up(&mut self) -> bool {
        let now = self.now;
        let [a, b] = &mut self.hosts;
        let (a_sas, b_sas) = (a.sas(now), b.sas(now));
        let usable = |from: &[Sa], to: &[Sa], source: IpAddr| {
            let esp = |sa: &&Sa| sa.id.proto == SaProto::Esp && sa.state != SaState::Larval;
            let mut out = from.iter().filter(esp).filter(|sa| sa.id.source == source);
            let newest = out.next_back();
            let same = |sa: &Sa, other: &Sa| other.id.spi == sa.id.spi && other.enc_key == sa.enc_key;
            newest.is_some_and(|sa| to.iter().any(|other| same(sa, other)))
        };
        usable(&a_sas, &b_sas, a.address) && usable(&b_sas, &a_sas, b.address)
    }

    /// A GRE packet from host b to host a, as the policies want it.
    fn packet_from_b(&mut self) {
        self.packet(1, 24);
    }

    /// A GRE packet from one host to the other, with so many zeros in it; how long it was on the way.
    fn packet(&mut self, from: usize, payload_len: usize) -> usize {
        let (from, to) = (&self.hosts[from], &self.hosts[1 - from]);
        let ends = [from, to].map(|host| host.address);
        let [IpAddr::V4(source), IpAddr::V4(destination)] = ends else { panic!("IPv4 hosts") };
        let (protocol, ttl) = (47, 64);
        let header = coati_wire::ipv4::Repr {
            tos: 0,
            id: 1,
            dont_fragment: false,
            ttl,
            protocol,
            source,
            destination,
            payload_len,
        };
        let bytes = [&header.emit()[..], &vec![0; payload_len]].concat();
        let mut batch = [coati_ipsec::Packet::new(&bytes)];
        let mut verdicts = Vec::new();
        from.sadb.snapshot().outbound(&mut batch, &mut verdicts, 0, &mut self.random);
        assert_eq!(verdicts, [coati_ipsec::Outbound::Sealed]);
        let sealed = batch[0].len();
        assert!(to.sadb.snapshot().inbound(&mut batch[0], 0).is_ok());
        assert_eq!(batch[0].len(), bytes.len());
        sealed
    }

    /// For the message of a failed assertion.
    fn story(&self) -> String {
        let host = |host: &Host| {
            let dropped: Vec<_> = host.engine.dropped().collect();
            format!("{:#?}\n{:#?}\ndropped {dropped:?}\n", host.events, host.engine.isakmp_sas())
        };
        format!("after {:?}\na: {}b: {}", self.now - self.start, host(&self.hosts[0]), host(&self.hosts[1]))
    }

    fn outbound_spis(&mut self, host: usize) -> Vec<Spi> {
        let now = self.now;
        let this = &mut self.hosts[host];
        let address = this.address;
        this.sas(now).iter().filter(|sa| sa.id.source == address).map(|sa| sa.id.spi).collect()
    }
}
