//! The targets of `fuzz/`, by libFuzzer, for a time each. What is found stays in `fuzz/artifacts`.
//!
//! cargo-fuzz builds them with the coverage that stable compilers can measure (`-s none`: no sanitizer, which needs a
//! nightly one; there is no unsafe code to sanitize). New inputs go to a working corpus below the target folder, so
//! that a run changes nothing in the working tree: `fuzz/README.md` says how one is kept.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use clap::Args;

use crate::{cargo, has};

/// Arguments of `cargo xtask fuzz`.
#[derive(Args)]
pub struct FuzzArgs {
    /// Targets from fuzz/fuzz_targets; all of them when none is named.
    pub targets: Vec<String>,
    /// How long each is run.
    #[arg(long, default_value_t = 60)]
    pub seconds: u32,
    /// How many at a time.
    #[arg(long, default_value_t = 2)]
    pub jobs: usize,
    /// Begin with the committed corpus alone and this seed, so that the same program finds the same things again; else
    /// with all that earlier runs have found, and another seed each time.
    #[arg(long)]
    pub seed: Option<u32>,
}

/// Memory that one target may use, in MiB.
const MEMORY: u32 = 1024;
/// How long one input may take, in seconds.
const PATIENCE: u32 = 10;

/// What became of one target.
pub struct Finding {
    /// The target.
    pub target: String,
    /// Inputs in a second.
    pub speed: u64,
    /// Places of the program that were reached.
    pub coverage: u64,
    /// The end of what the fuzzer said, when it found something.
    pub crash: Option<String>,
}

/// Builds all targets once, runs those that are asked for, and prints a table. An error says why it could not.
pub fn run(args: &FuzzArgs) -> io::Result<Vec<Finding>> {
    let root = root()?;
    let all = targets(&root)?;
    if let Some(unknown) = args.targets.iter().find(|target| !all.contains(target)) {
        let text = format!("no target is called {unknown}; there are: {}", all.join(" "));
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let chosen = if args.targets.is_empty() { &all } else { &args.targets };
    if !has_cargo_fuzz() {
        println!("installing cargo-fuzz");
        succeed(cargo(&["install", "--locked", "--quiet", "cargo-fuzz"]), "cargo install cargo-fuzz")?;
    }
    let mut build = cargo(&["fuzz", "build", "--fuzz-dir", "fuzz", "-s", "none"]);
    build.current_dir(&root);
    succeed(build, "cargo fuzz build")?;
    let findings = in_parallel(&root, chosen, args);
    table(&findings);
    Ok(findings)
}

/// The names of all targets.
fn targets(root: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root.join("fuzz/fuzz_targets"))? {
        if let Some(name) = entry?.path().file_stem().and_then(|name| name.to_str()) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn in_parallel(root: &Path, targets: &[String], args: &FuzzArgs) -> Vec<Finding> {
    let (next, findings) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..args.jobs.max(1) {
            scope.spawn(|| {
                while let Some(target) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let began = Instant::now();
                    let finding = fuzz(root, target, args).unwrap_or_else(|error| Finding {
                        target: target.clone(),
                        speed: 0,
                        coverage: 0,
                        crash: Some(error.to_string()),
                    });
                    let end = if finding.crash.is_some() { "FAILED" } else { "ok" };
                    println!("-- {target}, {:.1} s: {end}", began.elapsed().as_secs_f64());
                    findings.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(finding);
                }
            });
        }
    });
    let mut findings = findings.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    findings.sort_by(|a, b| a.target.cmp(&b.target));
    findings
}

fn fuzz(root: &Path, target: &str, args: &FuzzArgs) -> io::Result<Finding> {
    let mut work = working_corpus(root).join(target);
    if let Some(seed) = args.seed {
        work = work.with_extension(format!("seed-{seed}"));
        let _ = fs::remove_dir_all(&work);
    }
    fs::create_dir_all(&work)?;
    let mut command = cargo(&["fuzz", "run", "--fuzz-dir", "fuzz", "-s", "none", target]);
    command.current_dir(root).arg(&work).arg(root.join("fuzz/corpus").join(target)).arg("--");
    command.arg(format!("-max_total_time={}", args.seconds)).arg(format!("-rss_limit_mb={MEMORY}"));
    command.arg(format!("-timeout={PATIENCE}")).arg("-print_final_stats=1");
    command.args(args.seed.map(|seed| format!("-seed={seed}")));
    let output = command.stdin(Stdio::null()).stdout(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let speed = number_behind(&text, "stat::average_exec_per_sec:");
    let coverage = number_behind(&text, " cov: ");
    let crash = (!output.status.success()).then(|| {
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(40)..).unwrap_or(&[]).join("\n")
    });
    Ok(Finding { target: target.to_owned(), speed, coverage, crash })
}

/// Inputs that the fuzzer has found are kept from run to run, but not committed.
fn working_corpus(root: &Path) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("fuzz/target"), PathBuf::from);
    let target = if target.is_absolute() { target } else { root.join(target) };
    target.join("fuzz-corpus")
}

/// The number behind the last `label`.
fn number_behind(text: &str, label: &str) -> u64 {
    let rest = text.rsplit_once(label).map_or("", |(_, rest)| rest.trim_start());
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest.get(..digits).and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

fn table(findings: &[Finding]) {
    println!("\n{:<16}{:>12}{:>10}", "target", "inputs/s", "places");
    for finding in findings {
        let end = if finding.crash.is_some() { "FAILED" } else { "" };
        println!("{:<16}{:>12}{:>10}  {end}", finding.target, finding.speed, finding.coverage);
    }
    for finding in findings {
        if let Some(crash) = &finding.crash {
            println!("\n== {}\n{crash}", finding.target);
        }
    }
}

fn has_cargo_fuzz() -> bool {
    let mut command = cargo(&["fuzz", "--version"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    has("cargo-fuzz") || command.status().is_ok_and(|status| status.success())
}

fn succeed(mut command: Command, what: &str) -> io::Result<()> {
    match command.status()? {
        status if status.success() => Ok(()),
        status => Err(io::Error::other(format!("{what}: {status}"))),
    }
}

/// The folder of the workspace.
fn root() -> io::Result<PathBuf> {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().map(Path::to_owned).ok_or_else(|| io::Error::other("xtask lies in no workspace"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_fuzzer_says() {
        let text = "#9 NEW cov: 12 ft: 3\n#99 DONE   cov: 50 ft: 62 corp: 15/397b\nstat::average_exec_per_sec:     317292\n";
        assert_eq!(number_behind(text, " cov: "), 50);
        assert_eq!(number_behind(text, "stat::average_exec_per_sec:"), 317_292);
        assert_eq!(number_behind("", " cov: "), 0);
    }
}
