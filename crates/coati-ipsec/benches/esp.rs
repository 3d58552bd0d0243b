//! ESP per packet and core, for each algorithm, through the whole path of a batch: policy, SA, sequence number or replay
//! window, transform, IP header, counters. A batch of 64 packets, 64 and 1408 bytes each behind the IP header.

#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use coati_crypto::{FastRandom, SeededRandom};
use coati_ipsec::{Outbound, Packet, Sadb};
use coati_sadb::*;
use coati_wire::ipv4;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const A: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const B: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const BATCH: usize = 64;

fn algorithms() -> Vec<(String, EncAlgorithm, usize, AuthAlgorithm)> {
    let hashes = [
        AuthAlgorithm::HmacSha1,
        AuthAlgorithm::HmacSha256,
        AuthAlgorithm::HmacSha384,
        AuthAlgorithm::HmacSha512,
    ];
    let ciphers = [
        ("aes-128-cbc", EncAlgorithm::AesCbc, 16),
        ("aes-192-cbc", EncAlgorithm::AesCbc, 24),
        ("aes-256-cbc", EncAlgorithm::AesCbc, 32),
        ("3des-cbc", EncAlgorithm::TripleDesCbc, 24),
    ];
    let mut list = vec![
        ("aes-128-gcm-16".to_owned(), EncAlgorithm::AesGcm16, 20, AuthAlgorithm::None),
        ("aes-256-gcm-16".to_owned(), EncAlgorithm::AesGcm16, 36, AuthAlgorithm::None),
    ];
    for (name, enc, key_len) in ciphers {
        list.extend(hashes.map(|auth| (format!("{name} {}", auth.setkey_name()), enc, key_len, auth)));
    }
    list
}

/// A host with one policy and one SA in each direction; site A's when `near` is A.
fn host(near: Ipv4Addr, far: Ipv4Addr, enc: EncAlgorithm, key_len: usize, auth: AuthAlgorithm) -> Sadb {
    let mut sadb = Sadb::new(Box::new(SeededRandom::new(1)));
    let now = Instant::now();
    for (source, destination, direction) in [(near, far, Direction::Out), (far, near, Direction::In)] {
        let policy = Policy {
            id: PolicyId::default(),
            selector: Selector {
                source: Prefix::host(source.into()),
                source_port: Port::Any,
                destination: Prefix::host(destination.into()),
                destination_port: Port::Any,
                upper: Upper::GRE,
            },
            direction,
            priority: Priority::default(),
            action: Action::Ipsec(vec![Rule {
                proto: SaProto::Esp,
                mode: Mode::Transport,
                endpoints: None,
                level: Level::Unique(ReqId(1)),
            }]),
            usage: Usage::default(),
        };
        assert_eq!(sadb.request(now, 0, Request::SpdAdd(Box::new(policy))), Reply::Done);
        let key = |length: usize| Secret::new((0..length).map(|i| i as u8 ^ 0x35).collect());
        let sa = Sa {
            reqid: ReqId(1),
            replay_window: 64,
            ..Sa::with_keys(
                SaId {
                    source: source.into(),
                    destination: destination.into(),
                    proto: SaProto::Esp,
                    spi: Spi(0x1000),
                },
                enc,
                key(key_len),
                auth,
                key(auth.key_len()),
            )
        };
        assert_eq!(sadb.request(now, 0, Request::Add(Box::new(sa))), Reply::Done);
    }
    sadb
}

fn clear_packet(payload_len: usize) -> Vec<u8> {
    let protocol = ipv4::protocol::GRE;
    let header = ipv4::Repr {
        tos: 0,
        id: 1,
        dont_fragment: false,
        ttl: 64,
        protocol,
        source: A,
        destination: B,
        payload_len,
    };
    let mut bytes = header.emit().to_vec();
    bytes.resize(bytes.len() + payload_len, 0x5a);
    bytes
}

fn esp(criterion: &mut Criterion) {
    for (name, enc, key_len, auth) in algorithms() {
        let (a, b) = (host(A, B, enc, key_len, auth), host(B, A, enc, key_len, auth));
        let (a, b) = (a.snapshot().clone(), b.snapshot().clone());
        let mut random = FastRandom::keyed_by(&mut SeededRandom::new(2));
        let mut verdicts = Vec::new();
        for payload_len in [1408, 64] {
            let clear = clear_packet(payload_len);
            let mut batch: Vec<Packet> = (0..BATCH).map(|_| Packet::new(&clear)).collect();
            let mut seal = |batch: &mut [Packet]| {
                batch.iter_mut().for_each(|packet| packet.refill(&clear));
                let began = Instant::now();
                a.outbound(batch, &mut verdicts, 1, &mut random);
                let took = began.elapsed();
                assert_eq!(verdicts.first(), Some(&Outbound::Sealed));
                took
            };
            let open = |batch: &mut [Packet]| {
                let began = Instant::now();
                for packet in batch {
                    assert_eq!(b.inbound(packet, 1), Ok(coati_ipsec::Inbound::Same));
                }
                began.elapsed()
            };
            let mut group = criterion.benchmark_group(format!("esp {payload_len} B"));
            group.throughput(Throughput::Elements(1));
            group.bench_function(BenchmarkId::new("seal", &name), |bench| {
                bench.iter_custom(|packets| per_packet(packets, || seal(&mut batch)));
            });
            group.bench_function(BenchmarkId::new("open", &name), |bench| {
                bench.iter_custom(|packets| {
                    per_packet(packets, || {
                        seal(&mut batch);
                        open(&mut batch)
                    })
                });
            });
        }
    }
}

/// The time of `packets` packets, measured in whole batches.
fn per_packet(packets: u64, mut batch: impl FnMut() -> Duration) -> Duration {
    let batches = packets.div_ceil(BATCH as u64);
    let total: Duration = (0..batches).map(|_| batch()).sum();
    total.mul_f64(packets as f64 / (batches * BATCH as u64) as f64)
}

criterion_group!(benches, esp);
criterion_main!(benches);
