//! One exponentiation of each Diffie-Hellman group: making a public value, and agreeing on the shared secret.

#![allow(missing_docs, reason = "criterion's macros make public items")]

use coati_crypto::SeededRandom;
use coati_crypto::dh::{Group, PrivateKey};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

fn groups(criterion: &mut Criterion) {
    let mut bench = criterion.benchmark_group("dh");
    bench.sample_size(10);
    for group in Group::ALL {
        let key = |seed| PrivateKey::generate(group, &mut SeededRandom::new(seed));
        let (ours, theirs) = (key(1), key(2).public());
        bench.bench_function(BenchmarkId::new("public", group), |b| b.iter(|| ours.public()));
        bench.bench_function(BenchmarkId::new("agree", group), |b| b.iter(|| ours.agree(&theirs)));
    }
}

criterion_group!(benches, groups);
criterion_main!(benches);
