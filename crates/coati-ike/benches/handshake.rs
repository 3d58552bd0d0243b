//! The CPU time of a whole negotiation, initiator and responder apart: main mode with a pre-shared key, then quick mode
//! with PFS in the same group, exponentiations included.

#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use coati_crypto::SeededRandom;
use coati_crypto::dh::Group;
use coati_crypto::hash::HashAlgorithm;
use coati_ike::*;
use coati_ipsec::Sadb;
use coati_sadb::*;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

const A: &str = "192.0.2.1";
const B: &str = "198.51.100.1";

fn config(peer: &str, group: Group) -> Config {
    Config {
        peers: vec![Peer {
            address: Some(peer.parse().unwrap()),
            port: 500,
            proposals: vec![IkeProposal {
                cipher: IkeCipher::Aes(128),
                hash: HashAlgorithm::Sha1,
                group,
                lifetime: 28_800,
                ..IkeProposal::default()
            }],
            proposal_check: ProposalCheck::Obey,
            fragmentation: Fragmentation::On,
            dpd: None,
            passive: false,
            initial_contact: true,
            nonce_len: 16,
            ..Peer::default()
        }],
        sainfos: vec![SaInfo {
            pfs_group: Some(group),
            lifetime: 14_400,
            encryption: vec![(EncAlgorithm::AesCbc, 128)],
            authentication: vec![AuthAlgorithm::HmacSha1],
            ..SaInfo::default()
        }],
        keys: vec![PreSharedKey {
            identity: peer.into(),
            key: Secret::new(b"correct horse battery staple".to_vec()),
            origin: String::new(),
        }],
        ..Config::default()
    }
}

struct Host {
    address: IpAddr,
    engine: Engine,
    sadb: Sadb,
    /// What it has computed so far.
    cpu: Duration,
    arrived: Vec<(SocketAddr, Vec<u8>)>,
}

impl Host {
    fn new(local: &str, remote: &str, group: Group, seed: u64, now: Instant) -> Self {
        let mut sadb = Sadb::new(Box::new(SeededRandom::new(seed)));
        for (from, to, direction, reqid) in
            [(local, remote, Direction::Out, 16_385), (remote, local, Direction::In, 16_386)]
        {
            let policy = Policy {
                id: PolicyId(0),
                selector: Selector {
                    source: Prefix::host(from.parse().unwrap()),
                    source_port: Port::Any,
                    destination: Prefix::host(to.parse().unwrap()),
                    destination_port: Port::Any,
                    upper: Upper::GRE,
                },
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
            sadb.request(now, 0, Request::SpdAdd(Box::new(policy)));
        }
        let mut engine = Engine::new(config(remote, group), Box::new(SeededRandom::new(seed + 1)));
        engine.handle_policies(&sadb.policies());
        let address = local.parse().unwrap();
        Self { address, engine, sadb, cpu: Duration::ZERO, arrived: Vec::new() }
    }

    fn sas(&mut self, now: Instant) -> usize {
        match self.sadb.request(now, 0, Request::Dump(None)) {
            Reply::Sas { sas } => sas.iter().filter(|sa| sa.state == SaState::Mature).count(),
            _ => 0,
        }
    }

    /// Works off what has arrived and all that follows from it; what it sends.
    fn turn(&mut self, now: Instant) -> Vec<Transmit> {
        let began = Instant::now();
        let local = SocketAddr::new(self.address, 500);
        for (from, bytes) in std::mem::take(&mut self.arrived) {
            self.engine.handle_input(now, local, from, &bytes);
        }
        let mut sent = Vec::new();
        loop {
            if let Some((tag, request)) = self.engine.poll_request() {
                let reply = self.sadb.request(now, 0, request);
                self.engine.handle_reply(now, tag, &reply);
            } else if let Some(job) = self.engine.poll_job() {
                let done = job.run();
                self.engine.handle_job(now, done);
            } else if let Some(transmit) = self.engine.poll_transmit() {
                sent.push(transmit);
            } else if self.engine.poll_event().is_none() {
                break;
            }
        }
        self.cpu += began.elapsed();
        sent
    }
}

/// Both hosts' CPU time until each has a pair of SAs.
fn negotiate(group: Group) -> [Duration; 2] {
    let now = Instant::now();
    let mut hosts = [Host::new(A, B, group, 10, now), Host::new(B, A, group, 20, now)];
    let policy = hosts[0].sadb.policies().into_iter().find(|p| p.direction == Direction::Out).unwrap();
    let acquire = Acquire {
        policy: policy.id,
        source: policy.selector.source.address,
        destination: policy.selector.destination.address,
        selector: policy.selector,
        proto: SaProto::Esp,
        mode: Mode::Transport,
        reqid: ReqId(16_385),
    };
    hosts[0].engine.handle_acquire(now, &acquire);
    for _ in 0..20 {
        for index in 0..2 {
            for transmit in hosts[index].turn(now) {
                hosts[1 - index].arrived.push((transmit.local, transmit.payload));
            }
        }
        if hosts.iter().all(|host| host.arrived.is_empty()) {
            break;
        }
    }
    assert!(hosts.iter_mut().all(|host| host.sas(now) == 2), "the negotiation did not come to its end");
    hosts.map(|host| host.cpu)
}

fn handshakes(criterion: &mut Criterion) {
    let mut bench = criterion.benchmark_group("main mode + quick mode with PFS");
    bench.sample_size(10);
    for group in [Group::Modp1024, Group::Modp1536, Group::Modp2048, Group::Modp3072, Group::Modp4096] {
        for (index, role) in ["initiator", "responder"].into_iter().enumerate() {
            bench.bench_function(BenchmarkId::new(role, format!("group {}", group.number())), |b| {
                b.iter_custom(|count| (0..count).map(|_| negotiate(group)[index]).sum());
            });
        }
    }
}

criterion_group!(benches, handshakes);
criterion_main!(benches);
