//! Recorded cases of conformance: what comes in, and what a router then says and knows. `conformance/README.md` tells
//! how they are written.

#[path = "conformance/packet.rs"]
mod packet;
#[path = "conformance/play.rs"]
mod play;
#[path = "conformance/show.rs"]
mod show;
#[path = "conformance/text.rs"]
mod text;
#[path = "conformance/told.rs"]
mod told;

use std::fs;
use std::path::{Path, PathBuf};

/// The recording as it is now: the case with what was seen below each statement.
fn recorded(case: &str) -> Result<String, String> {
    let mut play = play::Play::new();
    let mut text = String::new();
    let written: Vec<(usize, &str)> =
        case.lines().enumerate().filter(|(_, line)| !line.starts_with('|')).collect();
    let is_statement = |line: &str| !line.trim().is_empty() && !line.starts_with(['#', ' ']);
    let mut now = std::time::Duration::ZERO;
    for (at, (number, line)) in written.iter().enumerate() {
        if line.starts_with(' ') {
            continue;
        }
        text.push_str(line);
        text.push('\n');
        if !is_statement(line) {
            continue;
        }
        let behind = written.get(at + 1..).unwrap_or(&[]);
        let below: Vec<&str> =
            behind.iter().map(|(_, line)| *line).take_while(|line| line.starts_with(' ')).collect();
        for line in &below {
            text.push_str(line);
            text.push('\n');
        }
        let next = behind.iter().find(|(_, line)| is_statement(line));
        let next = next.and_then(|(_, line)| play::time(line.split_whitespace().next()?));
        if next.is_some_and(|next| next < now) {
            return Err(format!("line {}: time goes back after it", number + 1));
        }
        now = next.unwrap_or(now);
        let seen = play.statement(line, &below, next);
        for line in seen.map_err(|error| format!("line {}: {error}", number + 1))? {
            text.push_str("| ");
            text.push_str(&line);
            text.push('\n');
        }
    }
    Ok(text)
}

fn cases(folder: &Path) -> Vec<PathBuf> {
    let mut list = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            list.extend(cases(&path));
        } else if path.extension().is_some_and(|end| end == "case") {
            list.push(path);
        }
    }
    list.sort();
    list
}

/// The first line that differs, with what is before it.
fn difference(expected: &str, found: &str) -> String {
    let pairs = expected.lines().zip(found.lines()).take_while(|(a, b)| a == b).count();
    let part = |text: &str, sign: &str| -> String {
        text.lines().skip(pairs).take(6).map(|line| format!("{sign} {line}\n")).collect()
    };
    let before: String = expected
        .lines()
        .take(pairs)
        .skip(pairs.saturating_sub(3))
        .map(|line| format!("  {line}\n"))
        .collect();
    before + &part(expected, "-") + &part(found, "+")
}

/// `CASE=words-of-a-path` plays some only, `UPDATE=1` records them anew.
#[test]
fn conformance() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    let only = std::env::var("CASE").unwrap_or_default();
    let update = std::env::var_os("UPDATE").is_some();
    let mut failures = Vec::new();
    let mut count = 0;
    for path in cases(&folder).into_iter().filter(|path| path.to_string_lossy().contains(&only)) {
        count += 1;
        let case = fs::read_to_string(&path).unwrap();
        let name = path.strip_prefix(&folder).unwrap_or(&path).display();
        match recorded(&case) {
            Ok(found) if found == case => {}
            Ok(found) if update => fs::write(&path, found).unwrap(),
            Ok(found) => failures.push(format!("{name}\n{}", difference(&case, &found))),
            Err(error) => failures.push(format!("{name}: {error}\n")),
        }
    }
    assert!(count > 0, "no case is called `{only}`");
    assert!(failures.is_empty(), "{} of {count} cases\n\n{}", failures.len(), failures.join("\n"));
}
