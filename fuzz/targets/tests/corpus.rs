//! Every input of the corpus, and thousands of changed ones, through every target. The changes come from a seed, so a
//! failure comes again; the input that made it is printed.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use coati_crypto::{RandomSource, SeededRandom};
use coati_fuzz_targets::{TARGETS, Target};

/// Changed inputs for each target: sessions take a thousand times longer than headers.
fn mutations(name: &str) -> usize {
    match name {
        "ike_session" => 60,
        "ospf_session" | "ike_fragment" | "site" => 300,
        _ => 3000,
    }
}

#[test]
fn every_target_has_its_program_and_corpus() {
    for (name, _) in TARGETS {
        assert!(fuzz().join("fuzz_targets").join(format!("{name}.rs")).is_file(), "{name} has no program");
        assert!(!corpus(name).is_empty(), "{name} has no corpus");
        let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is not in fuzz/Cargo.toml");
    }
    let programs = fs::read_dir(fuzz().join("fuzz_targets")).unwrap().count();
    assert_eq!(programs, TARGETS.len(), "a program without an entry in TARGETS");
}

#[test]
fn corpus_replays() {
    in_parallel(|name, target| corpus(name).iter().for_each(|input| call(name, target, input)));
}

#[test]
fn mutations_replay() {
    in_parallel(|name, target| {
        let corpus = corpus(name);
        let mut random = SeededRandom::new(name.len() as u64);
        for _ in 0..mutations(name) {
            let input = mutate(&corpus, &mut random);
            call(name, target, &input);
        }
    });
}

/// The slow targets at the side of the others.
fn in_parallel(run: impl Fn(&str, Target) + Sync) {
    std::thread::scope(|scope| {
        for (name, target) in TARGETS {
            scope.spawn(|| run(name, *target));
        }
    });
}

fn call(name: &str, target: Target, input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
        let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        eprintln!("target {name}, input in hexadecimal: {hex}");
        resume_unwind(panic);
    }
}

/// One to four changes to one of the inputs.
fn mutate(corpus: &[Vec<u8>], random: &mut SeededRandom) -> Vec<u8> {
    const INTERESTING: [u8; 8] = [0, 1, 3, 4, 0x7f, 0x80, 0xfe, 0xff];
    let below = |random: &mut SeededRandom, bound: usize| random.below(bound.max(1) as u32) as usize;
    let mut input = corpus[below(random, corpus.len())].clone();
    for _ in 0..=random.below(4) {
        let at = below(random, input.len());
        match random.below(6) {
            _ if input.is_empty() => input.push(random.below(256) as u8),
            0 => input[at] ^= 1 << random.below(8),
            1 => input[at] = INTERESTING[below(random, INTERESTING.len())],
            2 => input.truncate(at),
            3 => input.insert(at, random.below(256) as u8),
            4 => {
                input.remove(at);
            }
            // The end of another one.
            _ => {
                let other = &corpus[below(random, corpus.len())];
                let from = below(random, other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
        }
    }
    input
}

/// The committed inputs of a target, in the order of their names.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let dir = fuzz().join("corpus").join(name);
    let Ok(entries) = fs::read_dir(&dir) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

fn fuzz() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}
