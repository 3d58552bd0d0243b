//! The packet threads' whole work without the system calls: GRE, policy and seal on the way out; open, policy and GRE on
//! the way in. A batch of 64 packets of 1400 bytes, the tunnel's MTU.

#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use coati_config::{Source, setkey};
use coati_crypto::SeededRandom;
use coati_ipsec::Packet;
use coati_router::{Arrival, Aside, Forwarder, Plane, Tunnel};
use coati_sadb::Reply;
use coati_wire::ipv4;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const A: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const B: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const BATCH: usize = 64;

/// The how-to's policies, with keys by hand.
fn plane(near: Ipv4Addr, far: Ipv4Addr, algorithms: &str) -> Plane {
    let mut plane = Plane::new(|| Box::new(SeededRandom::new(1)));
    let text = format!(
        "add {near} {far} esp 0x1001 -m transport -u 1 -r 8 {algorithms};
         add {far} {near} esp 0x1001 -m transport -u 2 -r 8 {algorithms};
         spdadd {near}/32 {far}/32 gre -P out ipsec esp/transport//unique:1;
         spdadd {far}/32 {near}/32 gre -P in ipsec esp/transport//unique:2;"
    );
    for statement in setkey::parse(&Source::new("setkey.conf", text)).expect("it is right") {
        let reply = plane.request(Instant::now(), 0, statement.request);
        assert!(!matches!(reply, Reply::Refused { .. }), "{reply:?}");
    }
    plane.add_tunnels([Tunnel {
        name: "gre0".into(),
        local: near.into(),
        remote: far.into(),
        key: None,
        mtu: 1400,
    }]);
    plane
}

fn inner() -> Vec<u8> {
    let header = ipv4::Repr {
        tos: 0,
        id: 1,
        dont_fragment: true,
        ttl: 63,
        protocol: 6,
        source: Ipv4Addr::new(10, 1, 0, 10),
        destination: Ipv4Addr::new(10, 2, 0, 10),
        payload_len: 1380,
    };
    let mut bytes = header.emit().to_vec();
    bytes.resize(1400, 0x5a);
    bytes
}

fn forwarder(criterion: &mut Criterion) {
    let key = |bytes: usize| "5a".repeat(bytes);
    let aes_sha1 = format!("-E aes-cbc 0x{} -A hmac-sha1 0x{}", key(16), key(20));
    let gcm = format!("-E aes-gcm-16 0x{}", key(20));
    for (name, algorithms) in [("aes128-sha1", aes_sha1), ("aes128-gcm", gcm)] {
        let (a, b) = (plane(A, B, &algorithms), plane(B, A, &algorithms));
        let mut near = Forwarder::new(a.tables(), &mut SeededRandom::new(2));
        let mut far = Forwarder::new(b.tables(), &mut SeededRandom::new(3));
        let (inner, mut batch, mut aside) = (inner(), Vec::new(), Aside::default());
        let mut out = |batch: &mut Vec<Packet>| {
            batch.resize_with(BATCH, || Packet::new(&[]));
            batch.iter_mut().for_each(|packet| packet.refill(&inner));
            let began = Instant::now();
            near.encapsulate(0, batch, &mut aside, 1);
            let took = began.elapsed();
            assert_eq!(batch.len(), BATCH);
            took
        };
        let mut in_ = |batch: &mut [Packet]| {
            let began = Instant::now();
            for packet in batch {
                assert_eq!(far.decapsulate(packet, 1), Arrival::Tunnel(0));
            }
            began.elapsed()
        };
        let mut group = criterion.benchmark_group("forwarder 1400 B");
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("out {name}"), |bench| {
            bench.iter_custom(|packets| per_packet(packets, || out(&mut batch)));
        });
        group.bench_function(format!("in {name}"), |bench| {
            bench.iter_custom(|packets| {
                per_packet(packets, || {
                    out(&mut batch);
                    in_(&mut batch)
                })
            });
        });
    }
}

/// The time of `packets` packets, measured in whole batches.
fn per_packet(packets: u64, mut batch: impl FnMut() -> Duration) -> Duration {
    let batches = packets.div_ceil(BATCH as u64);
    let total: Duration = (0..batches).map(|_| batch()).sum();
    total.mul_f64(packets as f64 / (batches * BATCH as u64) as f64)
}

criterion_group!(benches, forwarder);
criterion_main!(benches);
