//! Coati against strongSwan, libreswan, FRR, BIRD and the Linux kernel's ESP and GRE, each scenario in a guest of its own.
//!
//! A scenario is a shell script in `tests/interop/scenarios`; it prints what it found, `ok` or `FAILED` at the start of
//! each line that decides.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::Args;

use crate::packages;
use crate::uml::{self, End, Guest};

/// Arguments of `cargo xtask interop`.
#[derive(Args)]
pub struct InteropArgs {
    /// Scenarios from tests/interop/scenarios; all of them when none is named.
    pub scenarios: Vec<String>,
    /// The program to test; without it the release build is made and taken.
    #[arg(long, value_name = "FILE")]
    pub coati: Option<PathBuf>,
    /// How many guests at a time.
    #[arg(long, default_value_t = 3)]
    pub jobs: usize,
}

/// Where packages are that are not installed.
const UNPACKED: &str = "target/interop/packages";

/// How long a scenario may take.
const LIMIT: Duration = Duration::from_secs(100);

/// What became of one.
pub struct Outcome {
    /// The scenario.
    pub name: String,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// What was wrong with it.
    pub failures: Vec<String>,
}

/// Whether this one's peer is libreswan, whose package cannot be installed beside strongSwan's.
pub fn needs_libreswan(name: &str) -> bool {
    name.starts_with(packages::LIBRESWAN)
}

/// Unpacks libreswan where scenarios find it.
pub fn unpack_libreswan() -> Result<(), String> {
    let root = root().map_err(|error| error.to_string())?;
    packages::unpack(packages::LIBRESWAN, &root.join(UNPACKED)).map(drop)
}

/// The names of all scenarios.
pub fn scenarios() -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root()?.join("tests/interop/scenarios"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "sh")
            && let Some(name) = path.file_stem().and_then(|name| name.to_str())
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Runs `names`, `jobs` at a time; what each found is printed when it has ended.
pub fn run(names: &[String], coati: &Path, jobs: usize) -> io::Result<Vec<Outcome>> {
    let root = root()?;
    let preload = uml::xstate(&root.join("tests/interop/guest/xstate.c"), &root.join("target/interop"))?;
    let (next, outcomes) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (outcome, lines) = scenario(&root, name, coati, &preload);
                    let mut outcomes = outcomes.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                    println!("-- {name}, {:.1} s", outcome.seconds);
                    for line in lines.iter().chain(&outcome.failures) {
                        println!("   {line}");
                    }
                    outcomes.push(outcome);
                }
            });
        }
    });
    Ok(outcomes.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()))
}

fn root() -> io::Result<PathBuf> {
    fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
}

fn scenario(root: &Path, name: &str, coati: &Path, preload: &Path) -> (Outcome, Vec<String>) {
    let began = Instant::now();
    let (mut lines, mut failures, mut ended) = (Vec::new(), Vec::new(), false);
    let result = boot(root, name, coati, preload, |line| {
        ended |= line == "interop: end";
        if line.starts_with("FAILED") {
            failures.push(line.to_owned());
        }
        // What follows the end is the kernel's.
        if !line.is_empty() && !ended {
            lines.push(line.to_owned());
        }
    });
    match result {
        Ok(End::TooSlow) => failures.push(format!("FAILED  killed after {} s", LIMIT.as_secs())),
        Ok(End::PoweredOff) if !ended => failures.push("FAILED  the guest did not come to its end".into()),
        Ok(End::PoweredOff) => {}
        Err(error) => failures.push(format!("FAILED  {error}")),
    }
    if !failures.is_empty() {
        lines.push(format!("logs: target/interop/{name}"));
    }
    (Outcome { name: name.to_owned(), seconds: began.elapsed().as_secs_f64(), failures }, lines)
}

fn boot(root: &Path, name: &str, coati: &Path, preload: &Path, line: impl FnMut(&str)) -> io::Result<End> {
    let tree = root.join("tests/interop");
    if !tree.join("scenarios").join(name).with_extension("sh").exists() {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("no scenario `{name}`")));
    }
    let work = root.join("target/interop").join(name);
    if work.exists() {
        fs::remove_dir_all(&work)?;
    }
    fs::create_dir_all(&work)?;
    let coati = fs::canonicalize(coati)?;
    let libreswan = root.join(UNPACKED).join(packages::LIBRESWAN);
    let environment =
        [("SCENARIO", Path::new(name)), ("COATI", &coati), ("WORK", &work), ("LIBRESWAN", &libreswan)];
    let (init, console) = (tree.join("guest/init"), work.join("console.log"));
    Guest { name, init: &init, environment: &environment, console: &console, preload, limit: LIMIT }.run(line)
}
