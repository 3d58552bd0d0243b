//! Many initiators of IKEv1 in one process, for `cargo xtask bench ike`: each has an address of its own behind a TUN
//! interface, and talks over UDP with the responder of this network namespace, Coati's daemon or another.
//!
//!     initiators ADDRESS PID GROUP PEERS WINDOW tunnel|transport [FLOOD]
//!
//! brings PEERS of them up, WINDOW at one time, main mode and quick mode with PFS in the same group, and prints what that
//! cost: one line of `name value` pairs. With FLOOD, so many first messages of invented senders come before, and in the
//! middle of them a real peer. Afterwards it answers dead peer detection until its input ends.

#![forbid(unsafe_code)]

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coati_crypto::dh::Group;
use coati_crypto::{FastRandom, RandomSource, SystemRandom};
use coati_ike::{
    Config, Dpd, Engine, Event, IkeProposal, NatTraversal, Peer, PreSharedKey, ProposalCheck, SaInfo,
    Transmit,
};
use coati_os::process::wait_readable;
use coati_os::tun::{READ_LEN, Tun, TunWriter};
use coati_sadb::{
    Acquire, Action, AuthAlgorithm, Direction, EncAlgorithm, Level, Mode, Policy, PolicyId, Port, Prefix,
    Priority, Reply, ReqId, Request, Rule, SaProto, Secret, Selector, Spi, Upper, Usage,
};
use coati_wire::{ipv4, udp};

const INTERFACE: &str = "initiators0";
const KEY: &[u8] = b"for measuring only";
/// Addresses of initiators begin here; those of invented senders are above.
const FIRST: u32 = 0x0a01_0000;
const INVENTED: u32 = 0x0a80_0000;

struct Initiator {
    engine: Engine,
    begun: Instant,
    took: Option<Duration>,
}

struct Load {
    responder: Ipv4Addr,
    group: Group,
    mode: Mode,
    random: FastRandom,
    tun: Arc<Tun>,
    writer: TunWriter,
    peers: Vec<Initiator>,
    timers: BinaryHeap<Reverse<(Instant, usize)>>,
    established: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [responder, pid, group, peers, window, mode, flood @ ..] = arguments.as_slice() else {
        return Err("initiators ADDRESS PID GROUP PEERS WINDOW tunnel|transport [FLOOD]".into());
    };
    let (pid, peers, window): (u32, usize, usize) = (pid.parse()?, peers.parse()?, window.parse()?);
    let tun = Arc::new(Tun::create(INTERFACE)?);
    for words in [
        vec!["link", "set", INTERFACE, "up", "txqueuelen", "10000"],
        vec!["route", "add", "10.0.0.0/8", "dev", INTERFACE],
    ] {
        if !Command::new("ip").args(words).status()?.success() {
            return Err("ip failed".into());
        }
    }
    let mut load = Load {
        responder: responder.parse()?,
        group: Group::from_number(group.parse()?).ok_or("no such group")?,
        mode: if mode == "tunnel" { Mode::Tunnel } else { Mode::Transport },
        random: FastRandom::keyed_by(&mut SystemRandom::new()),
        writer: TunWriter::new(tun.clone()),
        tun,
        peers: Vec::new(),
        timers: BinaryHeap::new(),
        established: 0,
    };
    if let Some(count) = flood.first() {
        return load.flood(pid, count.parse()?);
    }
    let before = (Instant::now(), cpu(pid)?, cpu(std::process::id())?, memory(pid)?);
    let limit = before.0 + Duration::from_secs(600);
    while load.established < peers && Instant::now() < limit {
        while load.peers.len() < peers && load.peers.len() - load.established < window {
            load.begin();
        }
        load.step(Duration::from_millis(10))?;
    }
    let wall = before.0.elapsed().as_secs_f64();
    let count = load.established.max(1);
    let per = |seconds: f64| seconds * 1e3 / count as f64;
    // What the responder's other threads still do belongs to it.
    load.serve(Duration::from_millis(500))?;
    let (theirs, ours) = (cpu(pid)? - before.1, cpu(std::process::id())? - before.2);
    let grown = memory(pid)?.saturating_sub(before.3);
    let mut took: Vec<Duration> = load.peers.iter().filter_map(|peer| peer.took).collect();
    took.sort_unstable();
    let median = took.get(took.len() / 2).copied().unwrap_or_default().as_secs_f64() * 1e3;
    println!(
        "established {} wall_s {wall:.3} rate {:.1} responder_ms {:.3} initiator_ms {:.3} median_ms {median:.1} \
         grown_bytes_each {}",
        load.established,
        load.established as f64 / wall,
        per(theirs),
        per(ours),
        grown * 1024 / count as u64,
    );
    // What a responder keeps for repeated messages has gone by then; the one who waits closes our input.
    let stdin = std::io::stdin();
    while !wait_readable(&[std::os::fd::AsFd::as_fd(&stdin)], Some(Duration::ZERO))?.contains(&true) {
        load.serve(Duration::from_millis(200))?;
    }
    println!("later_bytes_each {}", memory(pid)?.saturating_sub(before.3) * 1024 / count as u64);
    Ok(())
}

/// CPU time of a process so far, in seconds.
fn cpu(pid: u32) -> Result<f64, Box<dyn Error>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|word| word.parse::<f64>().ok()).unwrap_or(0.0);
    // USER_HZ is 100 on every Linux.
    Ok((ticks(11) + ticks(12)) / 100.0)
}

/// Resident memory of a process in KiB.
fn memory(pid: u32) -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
    Ok(line.split_whitespace().next().unwrap_or("0").parse()?)
}

impl Load {
    fn config(&self) -> Config {
        Config {
            peers: vec![Peer {
                address: Some(self.responder.into()),
                proposals: vec![IkeProposal { group: self.group, ..IkeProposal::default() }],
                proposal_check: ProposalCheck::Obey,
                nat_traversal: NatTraversal::Force,
                dpd: Some(Dpd {
                    delay: Duration::from_secs(3600),
                    retry: Duration::from_secs(5),
                    max_failures: 5,
                }),
                ..Peer::default()
            }],
            sainfos: vec![SaInfo {
                pfs_group: Some(self.group),
                lifetime: 14_400,
                encryption: vec![(EncAlgorithm::AesCbc, 128)],
                authentication: vec![AuthAlgorithm::HmacSha1],
                ..SaInfo::default()
            }],
            keys: vec![PreSharedKey {
                identity: self.responder.to_string(),
                key: Secret::new(KEY.to_vec()),
                origin: String::new(),
            }],
            ..Config::default()
        }
    }

    fn begin(&mut self) {
        let index = self.peers.len();
        let address = IpAddr::V4(Ipv4Addr::from_bits(FIRST + u32::try_from(index).unwrap_or(0)));
        let now = Instant::now();
        let mut engine = Engine::new(self.config(), Box::new(FastRandom::keyed_by(&mut self.random)));
        let selector = Selector {
            source: Prefix::host(address),
            source_port: Port::Any,
            destination: Prefix::host(self.responder.into()),
            destination_port: Port::Any,
            upper: if self.mode == Mode::Tunnel { Upper::Any } else { Upper::GRE },
        };
        let ends = (self.mode == Mode::Tunnel).then_some((address, IpAddr::V4(self.responder)));
        let policy = |selector, direction, endpoints| Policy {
            id: PolicyId(1),
            selector,
            direction,
            priority: Priority::default(),
            action: Action::Ipsec(vec![Rule {
                proto: SaProto::Esp,
                mode: self.mode,
                endpoints,
                level: Level::Require,
            }]),
            usage: Usage::default(),
        };
        engine.handle_policies(&[
            policy(selector, Direction::Out, ends),
            policy(selector.reversed(), Direction::In, ends.map(|(a, b)| (b, a))),
        ]);
        let acquire = Acquire {
            policy: PolicyId(1),
            source: address,
            destination: self.responder.into(),
            selector,
            proto: SaProto::Esp,
            mode: self.mode,
            reqid: ReqId(0),
        };
        engine.handle_acquire(now, &acquire);
        self.peers.push(Initiator { engine, begun: now, took: None });
        self.settle(index);
        self.writer.flush();
    }

    /// Carries out what one engine wants.
    fn settle(&mut self, index: usize) {
        let Some(peer) = self.peers.get_mut(index) else { return };
        loop {
            let now = Instant::now();
            if let Some((tag, request)) = peer.engine.poll_request() {
                let reply = match request {
                    Request::GetSpi { .. } => Reply::Spi { spi: Spi(self.random.number() | 0x1000) },
                    _ => Reply::Done,
                };
                peer.engine.handle_reply(now, tag, &reply);
            } else if let Some(job) = peer.engine.poll_job() {
                let done = job.run();
                peer.engine.handle_job(Instant::now(), done);
            } else if let Some(event) = peer.engine.poll_event() {
                if matches!(event, Event::PairEstablished { .. }) && peer.took.is_none() {
                    peer.took = Some(peer.begun.elapsed());
                    self.established += 1;
                } else if let Event::Failure(failure) = event {
                    eprintln!("{failure}");
                }
            } else if let Some(transmit) = peer.engine.poll_transmit() {
                self.writer.write(&packet(&transmit));
            } else {
                break;
            }
        }
        if let Some(due) = peer.engine.next_timeout() {
            self.timers.push(Reverse((due, index)));
        }
    }

    /// Waits for something, and does all that is there.
    fn step(&mut self, patience: Duration) -> Result<(), Box<dyn Error>> {
        let due = self.timers.peek().map(|Reverse((at, _))| at.saturating_duration_since(Instant::now()));
        let wait = due.map_or(patience, |due| due.min(patience));
        wait_readable(&[std::os::fd::AsFd::as_fd(&self.tun)], Some(wait))?;
        let mut buffer = vec![0; READ_LEN];
        let mut arrived = Vec::new();
        for _ in 0..64 {
            let each = |header: &[u8], payload: &[u8]| arrived.push([header, payload].concat());
            if self.tun.read(&mut buffer, each).is_err() {
                break;
            }
        }
        for bytes in arrived {
            self.receive(&bytes);
        }
        let now = Instant::now();
        while let Some(Reverse((at, index))) = self.timers.peek().copied() {
            if at > now {
                break;
            }
            self.timers.pop();
            if let Some(peer) = self.peers.get_mut(index) {
                peer.engine.handle_timeout(now);
            }
            self.settle(index);
        }
        self.writer.flush();
        Ok(())
    }

    fn serve(&mut self, duration: Duration) -> Result<(), Box<dyn Error>> {
        let end = Instant::now() + duration;
        while Instant::now() < end {
            self.step(Duration::from_millis(10))?;
        }
        Ok(())
    }

    fn receive(&mut self, bytes: &[u8]) {
        let Ok(packet) = ipv4::Packet::new(bytes) else { return };
        let (source, destination) = (packet.source(), packet.destination());
        let Some(index) = destination.to_bits().checked_sub(FIRST) else { return };
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        // The kernel leaves the checksum of UDP open for us, as for a network card.
        let Some((header, payload)) = packet.payload().split_at_checked(udp::HEADER_LEN) else { return };
        let [a, b, c, d, ..] = header else { return };
        let port = |high: &u8, low: &u8| u16::from_be_bytes([*high, *low]);
        if packet.protocol() != ipv4::protocol::UDP {
            return;
        }
        if let Some(peer) = self.peers.get_mut(index) {
            let local = SocketAddr::new(destination.into(), port(c, d));
            let remote = SocketAddr::new(source.into(), port(a, b));
            peer.engine.handle_input(Instant::now(), local, remote, payload);
            self.settle(index);
        }
    }

    /// First messages of invented senders, nearly as fast as they can be sent, and a real peer in the middle, which has to
    /// come up.
    fn flood(&mut self, pid: u32, count: u32) -> Result<(), Box<dyn Error>> {
        // What a first message looks like: one that is never answered.
        let mut example = Engine::new(self.config(), Box::new(FastRandom::keyed_by(&mut self.random)));
        example.initiate(Instant::now(), Ipv4Addr::from_bits(INVENTED).into(), self.responder.into());
        let first = example.poll_transmit().ok_or("nothing to send")?;
        let (before, cpu_before, begun) = (memory(pid)?, cpu(pid)?, Instant::now());
        for number in 0..count {
            let mut message = first.clone();
            self.random.fill(&mut message.payload[..8]);
            let source = Ipv4Addr::from_bits(INVENTED | self.random.number() & 0x007f_ffff);
            message.local = SocketAddr::new(source.into(), 500);
            self.writer.write(&packet(&message));
            if number == count / 2 {
                self.begin();
            }
            if number % 20 == 0 {
                self.writer.flush();
                let ahead = Duration::from_micros(50) * number;
                self.step(ahead.saturating_sub(begun.elapsed()).min(Duration::from_millis(1)))?;
            }
        }
        let wall = begun.elapsed().as_secs_f64();
        let during = memory(pid)?;
        while self.established == 0 && begun.elapsed() < Duration::from_secs(60) {
            self.step(Duration::from_millis(10))?;
        }
        let took = self.peers.first().and_then(|peer| peer.took);
        let took = took.ok_or("FAILED: the real peer did not come up within a minute of the flood")?;
        println!(
            "flood {count} wall_s {wall:.2} a_second {:.0} responder_cpu_s {:.2} peer_ms {:.1} grown_kib {}",
            f64::from(count) / wall,
            cpu(pid)? - cpu_before,
            took.as_secs_f64() * 1e3,
            during.saturating_sub(before),
        );
        Ok(())
    }
}

fn packet(transmit: &Transmit) -> Vec<u8> {
    let (IpAddr::V4(source), IpAddr::V4(destination)) = (transmit.local.ip(), transmit.remote.ip()) else {
        return Vec::new();
    };
    let ports = udp::Repr { source_port: transmit.local.port(), destination_port: transmit.remote.port() };
    let datagram = ports.emit(source.into(), destination.into(), &transmit.payload);
    let header = ipv4::Repr {
        tos: 0,
        id: 0,
        dont_fragment: false,
        ttl: 64,
        protocol: ipv4::protocol::UDP,
        source,
        destination,
        payload_len: datagram.len(),
    };
    [&header.emit()[..], &datagram].concat()
}
