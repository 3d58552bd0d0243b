//! Developer commands: `cargo xtask check` for every commit, `cargo xtask test` for everything.

#![forbid(unsafe_code)]

mod bench;
mod freebsd;
mod fuzz;
mod interop;
mod packages;
mod uml;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use bench::{BenchArgs, Part};
use clap::{Parser, Subcommand};
use fuzz::FuzzArgs;
use interop::{InteropArgs, Outcome};

#[derive(Parser)]
#[command(
    about = "Developer commands",
    after_help = "Examples:\n  cargo xtask check\n  cargo xtask test\n  cargo xtask interop manual-keys\n  cargo xtask fuzz isakmp --seconds 600\n  cargo xtask bench tunnel --quick"
)]
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
    /// Coati against strongSwan, libreswan, FRR, BIRD and the Linux kernel, in User-Mode Linux.
    Interop(InteropArgs),
    /// Lints and links the program for FreeBSD, and holds its numbers against FreeBSD's headers.
    Freebsd,
    /// The fuzz targets of every parser and engine, for some time each.
    Fuzz(FuzzArgs),
    /// How fast it is: the pieces, the tunnel beside strongSwan's, the lab's budget.
    Bench(BenchArgs),
}

fn main() -> ExitCode {
    let mut run = Run::default();
    match Cli::parse().command {
        Task::Check => check(&mut run),
        Task::Test => test(&mut run),
        Task::Interop(args) => interop(&mut run, args),
        Task::Freebsd => freebsd(&mut run),
        Task::Fuzz(args) => fuzz(&mut run, &args),
        Task::Bench(args) => bench(&mut run, &args),
    }
    run.finish()
}

fn check(run: &mut Run) {
    run.step("format", cargo(&["fmt", "--all", "--check"]));
    run.step("lints", cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]));
    run.step("tests", cargo(&["test", "--workspace", "--quiet"]));
}

fn test(run: &mut Run) {
    // Without it the tests would skip that quietly.
    if let Err(why) = packages::ensure(packages::DECODING) {
        run.skip("decoding beside tshark", &why);
    }
    check(run);
    let mut documentation =
        cargo(&["doc", "--workspace", "--no-deps", "--quiet", "--document-private-items"]);
    documentation.env("RUSTDOCFLAGS", "-D warnings");
    run.step("documentation", documentation);
    if !has("cargo-deny") {
        println!("installing cargo-deny");
        run.step("install cargo-deny", cargo(&["install", "--locked", "--quiet", "--debug", "cargo-deny"]));
    }
    run.step("licences", cargo(&["deny", "check", "licenses", "bans", "sources"]));
    fuzz_targets(run);
    freebsd(run);
    lab(run);
    // As the tests have built it: the release profile checks the same things and takes five minutes more.
    let coati = Some(built("debug"));
    interop(run, InteropArgs { scenarios: Vec::new(), coati, jobs: 3 });
}

/// That the fuzzer's programs can be built. Replaying and changing their corpus is among the tests; `cargo xtask fuzz`
/// goes on from there.
fn fuzz_targets(run: &mut Run) {
    if let Err(why) = packages::ensure(packages::FUZZ) {
        return run.skip("fuzz targets", &why);
    }
    let mut check = cargo(&["check", "--locked", "--quiet", "--manifest-path", "fuzz/Cargo.toml", "--bins"]);
    check.env("CARGO_TARGET_DIR", target());
    // Nothing is linked, so libFuzzer need not be compiled, which would take as long as everything else here.
    check.env("CUSTOM_LIBFUZZER_PATH", "not-linked/libfuzzer.a");
    run.step("fuzz targets", check);
}

/// For FreeBSD, on this machine.
fn freebsd(run: &mut Run) {
    println!("== freebsd");
    let tools = match freebsd::Tools::install(&target().join("freebsd")) {
        Ok(tools) => tools,
        Err(why) => return run.skip("freebsd", &why),
    };
    run.measure("freebsd headers", || tools.numbers());
    run.step("freebsd lints and link", tools.build());
}

/// The examples with real packets, as root and as an ordinary user.
fn lab(run: &mut Run) {
    if !Path::new("/dev/net/tun").exists() {
        return run.skip("lab", "this machine has no /dev/net/tun");
    }
    for example in ["examples/manual-keys", "examples/natt", "examples/seed"] {
        let mut lab = Command::new(built("debug"));
        lab.args(["lab", example]).stdin(Stdio::null());
        run.step(&format!("lab {example}"), lab);
    }
    if packages::is_root() {
        match as_nobody() {
            Ok((folder, lab)) => {
                run.step("lab examples/seed as an ordinary user", lab);
                let _ = std::fs::remove_dir_all(folder);
            }
            Err(error) => run.fail("lab as an ordinary user", &error.to_string()),
        }
    }
}

/// The lab as the user nobody, who gets copies of program and example in a folder of its own: root's may be closed.
fn as_nobody() -> std::io::Result<(PathBuf, Command)> {
    use std::os::unix::fs::chown;
    use std::os::unix::process::CommandExt;
    const NOBODY: u32 = 65_534;
    let folder = std::env::temp_dir().join(format!("coati-nobody-{}", std::process::id()));
    let copy = |from: &Path, to: &Path| std::fs::copy(from, folder.join(to)).map(drop);
    std::fs::create_dir(&folder)?;
    copy(&built("debug"), Path::new("coati"))?;
    for site in ["freebsd-a", "freebsd-b"] {
        std::fs::create_dir_all(folder.join("seed").join(site))?;
        for file in std::fs::read_dir(Path::new("examples/seed").join(site))? {
            let file = file?;
            copy(&file.path(), &Path::new("seed").join(site).join(file.file_name()))?;
        }
    }
    chown(&folder, Some(NOBODY), Some(NOBODY))?;
    let mut lab = Command::new(folder.join("coati"));
    lab.args(["lab", "seed"]).current_dir(&folder).env("XDG_RUNTIME_DIR", &folder);
    lab.stdin(Stdio::null()).uid(NOBODY).gid(NOBODY);
    Ok((folder, lab))
}

/// Every target for some seconds.
fn fuzz(run: &mut Run, args: &FuzzArgs) {
    println!("== fuzz");
    if let Err(why) = packages::ensure(packages::FUZZ) {
        return run.skip("fuzz", &why);
    }
    let began = Instant::now();
    match fuzz::run(args) {
        Ok(findings) => {
            let failures = findings
                .into_iter()
                .filter(|finding| finding.crash.is_some())
                .map(|finding| finding.target)
                .collect();
            let seconds = began.elapsed().as_secs_f64();
            run.outcome(Outcome { name: "fuzz".into(), seconds, failures });
        }
        Err(error) => run.fail("fuzz", &error.to_string()),
    }
}

/// The peers that others made, in guests.
fn interop(run: &mut Run, mut args: InteropArgs) {
    println!("== interop");
    if let Err(why) = packages::ensure(packages::INTEROP) {
        return run.skip("interop", &why);
    }
    if args.scenarios.is_empty() {
        match interop::scenarios() {
            Ok(all) => args.scenarios = all,
            Err(error) => return run.fail("interop", &error.to_string()),
        }
    }
    if args.scenarios.iter().any(|name| interop::needs_libreswan(name))
        && let Err(why) = interop::unpack_libreswan()
    {
        run.skip("interop libreswan", &why);
        args.scenarios.retain(|name| !interop::needs_libreswan(name));
    }
    let coati = args.coati.unwrap_or_else(|| {
        run.step("build", cargo(&["build", "--quiet"]));
        built("debug")
    });
    match interop::run(&args.scenarios, &coati, args.jobs) {
        Ok(outcomes) => outcomes.into_iter().for_each(|mut outcome| {
            outcome.name = format!("interop {}", outcome.name);
            run.outcome(outcome);
        }),
        Err(error) => run.fail("interop", &error.to_string()),
    }
}

/// Measures; the tables are for docs/performance.md.
fn bench(run: &mut Run, args: &BenchArgs) {
    println!("{}\n", bench::machine());
    if args.has(Part::Pieces) {
        run.measure("bench pieces", || bench::pieces(args.quick));
    }
    if ![Part::Tunnel, Part::Lab, Part::Ike, Part::Ospf].into_iter().any(|part| args.has(part)) {
        return;
    }
    run.step("release build", cargo(&["build", "--release", "--quiet"]));
    let coati = built("release");
    if args.has(Part::Lab) {
        run.measure("bench lab", || bench::lab(&coati, args.quick));
    }
    if args.has(Part::Ike) {
        run.step("initiators", cargo(&["build", "--release", "--quiet", "--package", "initiators"]));
        let initiators = target().join("release/initiators");
        match packages::ensure(packages::BENCH) {
            Ok(()) if packages::is_root() => {
                run.measure("bench ike", || bench::ike::ike(&coati, &initiators, args.quick));
            }
            Ok(()) => run.skip("bench ike", "namespaces of this kind need root"),
            Err(why) => run.skip("bench ike", &why),
        }
    }
    if args.has(Part::Ospf) {
        run.step("ospf-bench", cargo(&["build", "--release", "--quiet", "--package", "ospf-bench"]));
        let measures = target().join("release/ospf-bench");
        match packages::ensure(packages::BENCH) {
            Ok(()) if packages::is_root() => {
                run.measure("bench ospf", || bench::ospf(&coati, &measures, args.quick));
            }
            Ok(()) => run.skip("bench ospf", "namespaces of this kind need root"),
            Err(why) => run.skip("bench ospf", &why),
        }
    }
    if args.has(Part::Tunnel) {
        match packages::ensure(packages::BENCH) {
            Ok(()) if packages::is_root() => {
                run.measure("bench tunnel", || bench::tunnel(&coati, args.quick));
            }
            Ok(()) => run.skip("bench tunnel", "namespaces of this kind need root"),
            Err(why) => run.skip("bench tunnel", &why),
        }
    }
}

/// The program, as cargo builds it in this profile.
fn built(profile: &str) -> PathBuf {
    target().join(profile).join("coati")
}

/// Where cargo builds.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from)
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
    /// What failed in them, said again at the end.
    failures: Vec<String>,
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

    fn measure(&mut self, name: &str, measure: impl FnOnce() -> std::io::Result<()>) {
        println!("== {name}");
        let began = Instant::now();
        match measure() {
            Ok(()) => self.rows.push((name.to_owned(), began.elapsed().as_secs_f64(), "passed")),
            Err(error) => self.fail(name, &error.to_string()),
        }
    }

    fn outcome(&mut self, outcome: Outcome) {
        let passed = outcome.failures.is_empty();
        self.failed += usize::from(!passed);
        let end = if passed { "passed" } else { "FAILED" };
        let lines = outcome.failures.iter().map(|line| format!("{}: {line}", outcome.name));
        self.failures.extend(lines);
        self.rows.push((outcome.name, outcome.seconds, end));
    }

    fn fail(&mut self, name: &str, why: &str) {
        println!("{name}: {why}");
        self.failures.push(format!("{name}: {why}"));
        self.failed += 1;
        self.rows.push((name.to_owned(), 0.0, "FAILED"));
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
        if !self.failures.is_empty() {
            println!("\n{}", self.failures.join("\n"));
        }
        println!("\n{} passed, {failed} failed", self.rows.len() - self.failed - self.skipped);
        if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// A page that sends people to a file which is no longer there is worse than none.
    #[test]
    fn documents_name_files_that_exist() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for page in [
            "README.md",
            "CONTRIBUTING.md",
            "SECURITY.md",
            "docs/architecture.md",
            "docs/road-warriors.md",
            "docs/setkey.md",
        ] {
            let text = std::fs::read_to_string(root.join(page)).expect("the page");
            let mut quoted = text.split('`').skip(1).step_by(2);
            let missing = quoted.find(|name| name.starts_with("crates/") && !root.join(name).exists());
            assert_eq!(missing, None, "{page} names it");
        }
    }
}
