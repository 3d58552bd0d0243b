//! Developer commands: `cargo xtask check` for every commit, `cargo xtask test` for everything.

#![forbid(unsafe_code)]

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Developer commands", after_help = "Examples:\n  cargo xtask check\n  cargo xtask test")]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// The quick part: formatting, lints, unit and property tests.
    Check,
    /// Everything: installs what it needs, then checks, documents, licences, the lab with real packets.
    Test,
}

fn main() -> ExitCode {
    let mut run = Run::default();
    match Cli::parse().command {
        Task::Check => check(&mut run),
        Task::Test => test(&mut run),
    }
    run.finish()
}

fn check(run: &mut Run) {
    run.step("format", cargo(&["fmt", "--all", "--check"]));
    run.step("lints", cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]));
    run.step("tests", cargo(&["test", "--workspace", "--quiet"]));
}

fn test(run: &mut Run) {
    check(run);
    let mut documentation =
        cargo(&["doc", "--workspace", "--no-deps", "--quiet", "--document-private-items"]);
    documentation.env("RUSTDOCFLAGS", "-D warnings");
    run.step("documentation", documentation);
    if !has("cargo-deny") {
        println!("installing cargo-deny");
        run.step("install cargo-deny", cargo(&["install", "--locked", "--quiet", "cargo-deny"]));
    }
    run.step("licences", cargo(&["deny", "check", "licenses", "bans", "sources"]));
    run.step("release build", cargo(&["build", "--release", "--quiet"]));
    lab(run);
}

/// The examples with real packets, as root and as an ordinary user.
fn lab(run: &mut Run) {
    if !Path::new("/dev/net/tun").exists() {
        return run.skip("lab", "this machine has no /dev/net/tun");
    }
    let mut lab = cargo(&["run", "--release", "--quiet", "--", "lab", "examples/manual-keys"]);
    lab.stdin(Stdio::null());
    run.step("lab examples/manual-keys", lab);
}

fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args);
    command
}

fn has(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
}

/// What was run, and how it ended.
#[derive(Default)]
struct Run {
    rows: Vec<(String, f64, &'static str)>,
    failed: usize,
    skipped: usize,
}

impl Run {
    fn step(&mut self, name: &str, mut command: Command) {
        println!("== {name}");
        let began = Instant::now();
        let passed = match command.status() {
            Ok(status) => status.success(),
            Err(error) => {
                println!("{name}: {error}");
                false
            }
        };
        self.failed += usize::from(!passed);
        self.rows.push((
            name.to_owned(),
            began.elapsed().as_secs_f64(),
            if passed { "passed" } else { "FAILED" },
        ));
    }

    fn skip(&mut self, name: &str, why: &str) {
        println!("== {name}: skipped, {why}");
        self.skipped += 1;
        self.rows.push((format!("{name} ({why})"), 0.0, "skipped"));
    }

    /// The table; in CI a skip is a failure.
    fn finish(self) -> ExitCode {
        println!();
        for (name, seconds, end) in &self.rows {
            println!("{end:<8}{seconds:>8.1} s  {name}");
        }
        let skips_count = std::env::var_os("CI").is_some_and(|value| value == "true");
        let failed = self.failed + if skips_count { self.skipped } else { 0 };
        println!("\n{} passed, {failed} failed", self.rows.len() - self.failed - self.skipped);
        if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
