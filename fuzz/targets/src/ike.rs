//! Two IKE engines that have an SA pair, in virtual time, and a stranger on the way between them who has no keys: he may
//! send, repeat and change what he likes. What is up stays up, and nothing grows without end.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use coati_crypto::SeededRandom;
use coati_crypto::dh::Group;
use coati_crypto::hash::HashAlgorithm;
use coati_ike::*;
use coati_ipsec::Sadb;
use coati_sadb::*;
use coati_wire::isakmp::{self, Fragment, HEADER_LEN, Header, exchange, kind};

use crate::reader::Reader;

const ADDRESSES: [&str; 2] = ["192.0.2.1", "198.51.100.1"];
/// Steps of one input at the most.
const MAX_STEPS: usize = 48;
/// Half-open negotiations that the engine allows of one address, and one that is established with its successor.
const MAX_ISAKMP_SAS: usize = 64 + 8;
/// SAs of one tunnel, with those that retire.
const MAX_SAS: usize = 64;
/// Datagrams that one datagram of a stranger may set off at once.
const MAX_ANSWERS: usize = 4;

/// A conversation of two peers with a stranger who takes part.
///
/// Each step is a byte and what that kind of step reads: see `World::step`.
pub fn ike_session(data: &[u8]) {
    let mut world = World::established();
    let cookies: Vec<String> =
        world.hosts[0].engine.isakmp_sas().into_iter().map(|sa| sa.initiator_cookie).collect();
    let mut reader = Reader::new(data);
    for _ in 0..MAX_STEPS {
        if reader.is_empty() {
            break;
        }
        world.step(&mut reader);
        world.check_bounds();
    }
    world.pass(Duration::from_secs(15));
    world.check_bounds();
    assert!(world.is_up(), "the SA pair is gone");
    for host in &world.hosts {
        let kept = host.engine.isakmp_sas().into_iter().any(|sa| cookies.contains(&sa.initiator_cookie));
        assert!(kept, "the ISAKMP SA is gone");
    }
}

/// Pieces of phase 1 messages from somebody, and among them the peer's first message in pieces: it is answered.
pub fn ike_fragment(data: &[u8]) {
    /// More pieces of others would rightly be too many.
    const MAX_PIECES: usize = 48;
    let mut reader = Reader::new(data);
    let mut world = World::new();
    let remote = world.end(1);
    let message = world.first_message();
    let (genuine, _) = Header::parse(&message).expect("our own message is sound");
    let room = usize::from(reader.byte()) % 200 + 4;
    let mut pieces: Vec<(usize, &[u8])> = message.chunks(room).enumerate().collect();
    let count = pieces.len();
    pieces.rotate_left(usize::from(reader.byte()) % count);
    let mut pieces = pieces.into_iter();
    for _ in 0..MAX_PIECES {
        if reader.is_empty() {
            break;
        }
        let [how, cookie, number, last] = [reader.byte(), reader.byte(), reader.byte(), reader.byte()];
        if how & 1 == 1
            && let Some((index, data)) = pieces.next()
        {
            let last = index + 1 == count;
            let piece = Fragment { id: 77, number: number_of(index), last, data: data.to_vec() };
            world.give(0, remote, &fragment(&genuine, &piece));
        }
        let id = reader.word();
        let data = reader.piece().to_vec();
        let mut initiator_cookie = [cookie; 8];
        initiator_cookie[0] = 1;
        let header = Header { initiator_cookie, ..genuine };
        let other_port = SocketAddr::new(remote.ip(), 500 + u16::from(how >> 6));
        let bytes = fragment(&header, &Fragment { id, number, last: last & 1 == 1, data });
        world.give(0, other_port, &bytes);
        if how & 2 != 0 {
            world.give(0, other_port, bytes.get(..bytes.len() / 2).unwrap_or(&[]));
        }
        if how & 0x1c == 0x1c {
            world.now += Duration::from_millis(100);
            world.hosts[0].engine.handle_timeout(world.now);
        }
    }
    for (index, data) in pieces {
        let last = index + 1 == count;
        let piece = Fragment { id: 77, number: number_of(index), last, data: data.to_vec() };
        world.give(0, remote, &fragment(&genuine, &piece));
    }
    // A first message leaves no state machine behind, but it is answered.
    let answered =
        |(from, bytes): &(usize, Vec<u8>)| *from == 0 && bytes.starts_with(&genuine.initiator_cookie);
    assert!(world.log.iter().any(answered), "the peer's message was not joined");
    assert!(world.hosts[0].engine.isakmp_sas().is_empty());
}

fn number_of(index: usize) -> u8 {
    u8::try_from(index + 1).expect("few pieces")
}

fn fragment(header: &Header, piece: &Fragment) -> Vec<u8> {
    let (next_payload, chain) = isakmp::chain(&[(kind::FRAGMENT, piece.emit())]);
    [&Header { next_payload, flags: 0, ..*header }.emit(chain.len())[..], &chain].concat()
}

struct Host {
    engine: Engine,
    sadb: Sadb,
}

/// A datagram under way: arrival, receiver, bytes.
type Flying = (Instant, usize, Vec<u8>);

struct World {
    now: Instant,
    hosts: [Host; 2],
    flying: VecDeque<Flying>,
    /// What the peers have said, with the sender.
    log: Vec<(usize, Vec<u8>)>,
}

impl World {
    const DELAY: Duration = Duration::from_millis(10);

    fn new() -> Self {
        let hosts = [Host::new(0), Host::new(1)];
        Self { now: Instant::now(), hosts, flying: VecDeque::new(), log: Vec::new() }
    }

    /// Both have an ISAKMP SA and an SA pair.
    fn established() -> Self {
        let mut world = Self::new();
        world.acquire(0);
        world.pass(Duration::from_secs(1));
        assert!(world.is_up(), "the handshake works");
        world
    }

    fn first_message(&mut self) -> Vec<u8> {
        let [a, b] = [self.end(0).ip(), self.end(1).ip()];
        self.hosts[1].engine.initiate(self.now, b, a);
        while let Some(job) = self.hosts[1].engine.poll_job() {
            self.hosts[1].engine.handle_job(self.now, job.run());
        }
        self.hosts[1].engine.poll_transmit().expect("the initiator begins").payload
    }

    fn end(&self, host: usize) -> SocketAddr {
        SocketAddr::new(address(host), 500)
    }

    /// One step of the stranger, of the peers, or of the time.
    fn step(&mut self, reader: &mut Reader<'_>) {
        let (what, to) = (reader.byte(), usize::from(reader.byte() & 1));
        match what % 8 {
            // A message of the peers, changed or not.
            0 | 1 => {
                let index = usize::from(reader.byte()) % self.log.len().max(1);
                let Some((from, mut bytes)) = self.log.get(index).cloned() else { return };
                reader.change(&mut bytes);
                self.give(1 - from, self.end(from), &bytes);
            }
            // Anything at all, in the peer's name.
            2 => {
                let bytes = reader.piece();
                self.give(to, self.end(1 - to), bytes);
            }
            // A message with the peers' cookies and what the stranger likes to put behind them.
            3 => {
                let bytes = self.forge(reader);
                self.give(to, self.end(1 - to), &bytes);
            }
            4 => self.pass(Duration::from_millis(u64::from(reader.byte()) * 20)),
            5 => self.acquire(to),
            // ESP with an SPI that nobody has.
            6 => {
                let spi = Spi(u32::from(reader.word()) << 16 | u32::from(reader.word()));
                let (source, destination) = (address(1 - to), address(to));
                let known =
                    self.sas(to).iter().any(|sa| sa.id.spi == spi && sa.id.destination == destination);
                if !known {
                    self.hosts[to].sadb.unknown_spi(self.now, source, destination, spi);
                    self.settle();
                }
            }
            // Somebody else's datagram: nobody answers it.
            _ => {
                let index = usize::from(reader.byte()) % self.log.len().max(1);
                let Some((from, mut bytes)) = self.log.get(index).cloned() else { return };
                reader.change(&mut bytes);
                let before = self.log.len();
                let stranger = SocketAddr::new([203, 0, 113, 9].into(), 500);
                self.give(1 - from, stranger, &bytes);
                assert_eq!(self.log.len(), before, "a stranger is answered");
            }
        }
    }

    fn forge(&self, reader: &mut Reader<'_>) -> Vec<u8> {
        const EXCHANGES: [u8; 6] = [
            exchange::IDENTITY_PROTECTION,
            exchange::AGGRESSIVE,
            exchange::INFORMATIONAL,
            exchange::TRANSACTION,
            exchange::QUICK,
            0,
        ];
        let known = self.log.iter().find_map(|(_, bytes)| {
            let (header, _) = Header::parse(bytes).ok()?;
            (header.responder_cookie != [0; 8]).then_some(header)
        });
        let Some(known) = known else { return Vec::new() };
        let [how, kind, flags] = [reader.byte(), reader.byte(), reader.byte()];
        let mut header = Header {
            exchange: EXCHANGES.get(usize::from(how) % EXCHANGES.len()).copied().unwrap_or(0),
            next_payload: kind,
            flags,
            message_id: u32::from(reader.word()),
            ..known
        };
        if how & 0x40 != 0 {
            header.responder_cookie = [0; 8];
        }
        if how & 0x80 != 0 {
            header.initiator_cookie = [reader.byte() | 1; 8];
        }
        let body = reader.piece();
        [&header.emit(body.len())[..], body].concat()
    }

    /// A datagram arrives.
    fn give(&mut self, to: usize, from: SocketAddr, bytes: &[u8]) {
        let before = self.log.len();
        let local = self.end(to);
        self.hosts[to].engine.handle_input(self.now, local, from, bytes);
        self.carry_out(to, false);
        assert!(self.log.len() - before <= MAX_ANSWERS, "one datagram sets off {}", self.log.len() - before);
        self.settle();
    }

    fn acquire(&mut self, host: usize) {
        let policies = self.hosts[host].sadb.policies();
        let policy = policies.iter().find(|policy| policy.direction == Direction::Out).expect("there is one");
        let acquire = Acquire {
            policy: policy.id,
            source: address(host),
            destination: address(1 - host),
            selector: policy.selector,
            proto: SaProto::Esp,
            mode: Mode::Transport,
            reqid: ReqId(16_385),
        };
        self.hosts[host].engine.handle_acquire(self.now, &acquire);
        self.settle();
    }

    /// Lets the peers talk for so long.
    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        self.settle();
        loop {
            let timers = self.hosts.iter().flat_map(|h| [h.engine.next_timeout(), h.sadb.next_timeout()]);
            let arrival = self.flying.front().map(|(at, ..)| *at);
            let Some(next) = timers.chain([arrival]).flatten().min().filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            while let Some((_, to, bytes)) = self.flying.pop_front_if(|(at, ..)| *at <= self.now) {
                let (local, from) = (self.end(to), self.end(1 - to));
                self.hosts[to].engine.handle_input(self.now, local, from, &bytes);
            }
            for host in &mut self.hosts {
                host.engine.handle_timeout(self.now);
                host.sadb.handle_timeout(self.now, 0);
            }
            self.settle();
        }
        self.now = end;
    }

    fn settle(&mut self) {
        self.carry_out(0, true);
        self.carry_out(1, true);
    }

    /// Does what a host's engine asks for, exponentiations only when they are wanted.
    fn carry_out(&mut self, index: usize, jobs: bool) {
        loop {
            let host = &mut self.hosts[index];
            if let Some((tag, request)) = host.engine.poll_request() {
                let reply = host.sadb.request(self.now, 0, request);
                host.engine.handle_reply(self.now, tag, &reply);
            } else if let Some(notification) = host.sadb.poll_notification() {
                match notification {
                    Notification::Expire(expire) => host.engine.handle_expire(self.now, &expire),
                    Notification::Acquire(acquire) => host.engine.handle_acquire(self.now, &acquire),
                    Notification::Moved { id, port } => host.engine.handle_moved(&id, port),
                    Notification::UnknownSpi { source, destination, spi } => {
                        host.engine.handle_unknown_spi(self.now, source, destination, spi);
                    }
                }
            } else if host.engine.poll_event().is_some() {
            } else if let Some(transmit) = host.engine.poll_transmit() {
                assert_eq!(transmit.remote.ip(), address(1 - index), "it talks to somebody else");
                // Long enough to be read, and never larger than what one datagram may hold.
                assert!((HEADER_LEN..65_508).contains(&transmit.payload.len()));
                self.log.push((index, transmit.payload.clone()));
                // Answers to a forged port go astray.
                if transmit.remote.port() == 500 {
                    self.flying.push_back((self.now + Self::DELAY, 1 - index, transmit.payload));
                }
            } else if let Some(job) = jobs.then(|| host.engine.poll_job()).flatten() {
                host.engine.handle_job(self.now, job.run());
            } else {
                break;
            }
        }
    }

    fn sas(&mut self, host: usize) -> Vec<Sa> {
        match self.hosts[host].sadb.request(self.now, 0, Request::Dump(None)) {
            Reply::Sas { sas } => sas,
            _ => Vec::new(),
        }
    }

    fn check_bounds(&mut self) {
        for index in 0..2 {
            assert!(self.hosts[index].engine.isakmp_sas().len() <= MAX_ISAKMP_SAS);
            assert!(self.hosts[index].engine.failures().count() <= 2);
            assert!(self.hosts[index].engine.dropped().count() <= 64);
            assert!(self.sas(index).len() <= MAX_SAS, "{} SAs", self.sas(index).len());
        }
    }

    /// Whether what each host sends with is what the other one receives with.
    fn is_up(&mut self) -> bool {
        let (a, b) = (self.sas(0), self.sas(1));
        let usable = |from: &[Sa], to: &[Sa], host: usize| {
            let mut out =
                from.iter().filter(|sa| sa.id.source == address(host) && sa.state == SaState::Mature);
            let newest = out.next_back();
            newest.is_some_and(|sa| to.iter().any(|other| other.id == sa.id && other.enc_key == sa.enc_key))
        };
        usable(&a, &b, 0) && usable(&b, &a, 1)
    }
}

impl Host {
    fn new(index: usize) -> Self {
        let seed = if index == 0 { 1 } else { 3 };
        let (local, remote) = (address(index), address(1 - index));
        let mut sadb = Sadb::new(Box::new(SeededRandom::new(seed)));
        let now = Instant::now();
        for policy in policies(local, remote) {
            sadb.request(now, 0, Request::SpdAdd(Box::new(policy)));
        }
        let mut engine = Engine::new(config(remote), Box::new(SeededRandom::new(seed + 1)));
        engine.handle_policies(&sadb.policies());
        Self { engine, sadb }
    }
}

fn address(host: usize) -> IpAddr {
    ADDRESSES.get(host).and_then(|text| text.parse().ok()).unwrap_or(IpAddr::V4([0; 4].into()))
}

/// As in the how-to, without PFS: a handshake for each input has to be fast.
fn config(remote: IpAddr) -> Config {
    Config {
        peers: vec![Peer {
            address: Some(remote),
            port: 500,
            proposals: vec![IkeProposal {
                cipher: IkeCipher::Aes(128),
                hash: HashAlgorithm::Sha1,
                group: Group::Modp1024,
                lifetime: 28_800,
                origin: "racoon.conf:20:3".into(),
                ..IkeProposal::default()
            }],
            proposal_check: ProposalCheck::Strict,
            fragmentation: Fragmentation::On,
            dpd: Some(Dpd { delay: Duration::from_secs(20), retry: Duration::from_secs(5), max_failures: 5 }),
            passive: false,
            initial_contact: true,
            nonce_len: 16,
            origin: "racoon.conf:10:1".into(),
            check_origin: "racoon.conf:12:3".into(),
            ..Peer::default()
        }],
        sainfos: vec![SaInfo {
            pfs_group: None,
            lifetime: 14_400,
            encryption: vec![(EncAlgorithm::AesCbc, 128), (EncAlgorithm::TripleDesCbc, 192)],
            authentication: vec![AuthAlgorithm::HmacSha1],
            origin: "racoon.conf:40:1".into(),
            ..SaInfo::default()
        }],
        keys: vec![PreSharedKey {
            identity: remote.to_string(),
            key: Secret::new(b"correct horse battery staple".to_vec()),
            origin: "psk.txt:1".into(),
        }],
        ..Config::default()
    }
}

fn policies(local: IpAddr, remote: IpAddr) -> [Policy; 2] {
    let selector = Selector {
        source: Prefix::host(local),
        source_port: Port::Any,
        destination: Prefix::host(remote),
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
    [policy(selector, Direction::Out, 16_385), policy(selector.reversed(), Direction::In, 16_386)]
}
