//! Loss, duplicates, reordering, NATs that rebind, restarts and simultaneous starts; `coati sim --hard` runs more seeds.

use coati_sim::trial::Trial;

#[test]
fn sixty_trials() {
    let broken: Vec<String> = (0..60)
        .filter_map(|seed| Trial::run(seed).broken.map(|broken| format!("seed {seed}: {broken}")))
        .collect();
    assert!(
        broken.is_empty(),
        "see what happened with: coati sim --hard --seed NUMBER\n{}",
        broken.join("\n")
    );
}
