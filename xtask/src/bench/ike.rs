//! IKEv1 handshakes: Coati's daemon as the responder beside strongSwan's, both loaded by the same initiators in the same
//! run; ten thousand peers; a flood.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::{Work, lines, machine, unshare};

/// What one run of `tests/bench/ike.sh` says, by name.
type Figures = BTreeMap<String, f64>;

/// One run.
struct Load<'a> {
    who: &'a str,
    group: u16,
    peers: u32,
    window: u32,
    linger: u32,
    flood: u32,
}

impl Load<'_> {
    fn run(&self, coati: &Path, initiators: &Path, work: &Work) -> io::Result<Figures> {
        let mut command = unshare(&["--net", "--mount"], "ike.sh")?;
        command.arg(self.who).arg(std::fs::canonicalize(coati)?).arg(std::fs::canonicalize(initiators)?);
        command.arg(self.group.to_string());
        command.args([self.peers, self.window, self.linger, self.flood].map(|number| number.to_string()));
        command.arg(&work.dir);
        let (mut figures, mut failed) = (Figures::new(), None);
        lines(&mut command, |line| {
            println!("  {line}");
            if line.starts_with("FAILED") {
                failed = Some(line.to_owned());
            }
            figures.extend(read(line));
        })?;
        failed.map_or(Ok(figures), |why| Err(io::Error::other(why)))
    }
}

/// `name value name value`, or `counter NAME: VALUE`.
fn read(line: &str) -> Vec<(String, f64)> {
    if let Some(counter) = line.strip_prefix("counter ") {
        let found = counter.trim().rsplit_once(' ');
        return found
            .and_then(|(name, value)| Some((name.trim().to_owned(), value.parse().ok()?)))
            .into_iter()
            .collect();
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    let pairs = words.chunks_exact(2);
    pairs.filter_map(|pair| Some((pair.first()?.to_string(), pair.last()?.parse().ok()?))).collect()
}

/// All of it.
pub fn ike(coati: &Path, initiators: &Path, quick: bool) -> io::Result<()> {
    let work = Work::new()?;
    let (peers, runs) = if quick { (500, 1) } else { (2000, 3) };
    let mut rows = Vec::new();
    for group in [2, 14] {
        for run in 1..=runs {
            let mut both = Vec::new();
            for who in ["coati", "strongswan"] {
                println!("{who}, group {group}, {peers} peers, {run} of {runs}");
                let load = Load { who, group, peers, window: 64, linger: 0, flood: 0 };
                both.push(load.run(coati, initiators, &work)?);
            }
            rows.push((group, both));
        }
    }
    println!("10 000 peers");
    let many = Load { who: "coati", group: 2, peers: 10_000, window: 64, linger: 150, flood: 0 };
    let many = many.run(coati, initiators, &work)?;
    println!("a flood");
    let flood = Load { who: "coati", group: 2, peers: 1, window: 1, linger: 0, flood: 100_000 };
    let flood = flood.run(coati, initiators, &work)?;

    let of = |figures: &Figures, name: &str| figures.get(name).copied().unwrap_or(f64::NAN);
    println!("\n| main mode, quick mode with PFS | Coati | strongSwan | ratio |\n|---|---:|---:|---:|");
    for (group, both) in &rows {
        let [ours, theirs] = both.as_slice() else { continue };
        for (what, name, inverse) in [
            ("handshakes a second, with the initiators on the same cores", "rate", false),
            ("responder's CPU for one, ms", "responder_ms", true),
        ] {
            let (ours, theirs) = (of(ours, name), of(theirs, name));
            let ratio = if inverse { theirs / ours } else { ours / theirs };
            println!("| group {group}: {what} | {ours:.2} | {theirs:.2} | {ratio:.1} |");
        }
        let both = |figures: &Figures| 2000.0 / (of(figures, "responder_ms") + of(figures, "initiator_ms"));
        println!("| group {group}: of it on two cores at most | {:.0} | {:.0} | |", both(ours), both(theirs));
    }
    println!(
        "\n10 000 peers: {:.0} up in {:.1} s, {:.0} bytes for each at first, {:.0} later; timers late by more than 20 ms: \
         {:.0}, the latest by {:.0} ms",
        of(&many, "established"),
        of(&many, "wall_s"),
        of(&many, "grown_bytes_each"),
        of(&many, "later_bytes_each"),
        many.get("timers: late by more than 20 ms").copied().unwrap_or(0.0),
        many.get("timers: ms that the latest was late").copied().unwrap_or(0.0),
    );
    println!(
        "\na flood of {:.0} first messages, {:.0} a second: a real peer is up after {:.1} ms, memory grown by {:.0} KiB, {:.2} s \
         of CPU",
        of(&flood, "flood"),
        of(&flood, "a_second"),
        of(&flood, "peer_ms"),
        of(&flood, "grown_kib"),
        of(&flood, "responder_cpu_s"),
    );
    println!("\nafterwards: {}", machine());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let pair = |name: &str, value| (name.to_owned(), value);
        assert_eq!(read("established 10 rate 2.5"), [pair("established", 10.0), pair("rate", 2.5)]);
        let counter = "counter timers: late by more than 20 ms 3";
        assert_eq!(read(counter), [pair("timers: late by more than 20 ms", 3.0)]);
        assert_eq!(read("FAILED to start"), []);
    }
}
