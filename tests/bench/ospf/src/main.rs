//! Coati's OSPF beside FRR's and BIRD's, for `cargo xtask bench ospf`.
//!
//! ```text
//! unshare --net --mount --pid --fork --kill-child --mount-proc ospf-bench COATI WORK quick|full [ROW…]
//! ```
//!
//! ROWs: full, sync, cut, rest; all of them when none is named. As the first process of its process namespace it takes
//! everything with it when it ends. Daemons run in network namespaces that are made here. Tables go to its output.

#![forbid(unsafe_code)]

mod grid;
mod net;
mod router;
mod rows;
mod speaker;

use std::error::Error;
use std::fs;
use std::process::Command;

use rows::Bench;

/// Measures some rows; their table.
type Measure = fn(&Bench) -> std::io::Result<String>;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [coati, work, extent, rows @ ..] = arguments.as_slice() else {
        return Err("ospf-bench COATI WORK quick|full [full|sync|cut|rest]".into());
    };
    prepare(work)?;
    let bench = Bench { coati: coati.into(), work: work.into(), quick: extent == "quick" };
    let wanted = |row: &str| rows.is_empty() || rows.iter().any(|found| found == row);
    let mut failed = 0;
    let measures: [(&str, Measure); 4] =
        [("full", Bench::full), ("sync", Bench::sync), ("cut", Bench::cut), ("rest", Bench::rest)];
    let mut tables = String::new();
    for (row, measure) in measures {
        if wanted(row) {
            match measure(&bench) {
                Ok(table) => tables += &format!("{table}\n"),
                Err(error) => {
                    failed += 1;
                    println!("FAILED {row}: {error}");
                }
            }
        }
    }
    println!("\n{tables}");
    if failed == 0 { Ok(()) } else { Err("not everything could be measured".into()) }
}

/// A /run of our own, and what FRR's daemons want to be a member of.
fn prepare(work: &str) -> Result<(), Box<dyn Error>> {
    let run = |program: &str, words: &[&str]| match Command::new(program).args(words).status()?.success() {
        true => Ok(()),
        false => Err(std::io::Error::other(format!("{program} {} failed", words.join(" ")))),
    };
    run("mount", &["-t", "tmpfs", "tmpfs", "/run"])?;
    fs::create_dir_all(work)?;
    let group: String = fs::read_to_string("/etc/group")?
        .lines()
        .map(|line| if line.starts_with("frrvty:") { format!("{line},root\n") } else { format!("{line}\n") })
        .collect();
    let file = format!("{work}/group");
    fs::write(&file, group)?;
    run("mount", &["--bind", &file, "/etc/group"])?;
    Ok(())
}
