//! Loss, duplicates, reordering, NATs that rebind, restarts and simultaneous starts; `coati sim --hard` runs more seeds.

use coati_sim::trial::Trial;

/// Seeds that once found something: a renewal that had to wait for an ISAKMP SA was forgotten.
const FOUND: [u64; 1] = [948];

#[test]
fn sixty_trials() {
    let broken: Vec<String> = (0..60)
        .chain(FOUND)
        .filter_map(|seed| Trial::run(seed).broken.map(|broken| format!("seed {seed}: {broken}")))
        .collect();
    assert!(
        broken.is_empty(),
        "see what happened with: coati sim --hard --seed NUMBER\n{}",
        broken.join("\n")
    );
}
