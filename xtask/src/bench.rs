//! How fast Coati is: its pieces with criterion, the whole in network namespaces beside strongSwan's ESP in user space,
//! and the lab's budget. What it found is printed as Markdown, for `docs/performance.md`.
//!
//! Everything that is compared is measured in one run, because machines differ and this one may be busy. The namespaces
//! are made by the scripts in `tests/bench`; a script is the first process of its own process namespace, so that all it
//! started ends with it, however it ends; `tests/bench/ospf` is a program instead, and the same is true of it.

pub mod ike;

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::{Args, ValueEnum};

/// Arguments of `cargo xtask bench`.
#[derive(Args)]
pub struct BenchArgs {
    /// What to measure; everything when nothing is named.
    pub parts: Vec<Part>,
    /// A tenth of the time, for trying out.
    #[arg(long)]
    pub quick: bool,
}

/// A part of it.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Seal and open, the forwarder, handshakes, shortest paths, Diffie-Hellman groups.
    Pieces,
    /// TCP through the tunnel, beside strongSwan's.
    Tunnel,
    /// IKEv1 handshakes, beside strongSwan's; ten thousand peers; a flood.
    Ike,
    /// OSPF, beside FRR's and BIRD's.
    Ospf,
    /// From a cold start to routes.
    Lab,
}

impl BenchArgs {
    /// Whether this part is asked for.
    pub fn has(&self, part: Part) -> bool {
        self.parts.is_empty() || self.parts.contains(&part)
    }
}

/// The machine and how busy it is, in a line.
pub fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "{cores} cores of {}, Linux {}, load {}",
        model.map_or("an unknown kind", |(_, name)| name.trim()),
        read("/proc/sys/kernel/osrelease").trim(),
        read("/proc/loadavg").split(' ').next().unwrap_or("unknown")
    )
}

/// The crates with benches, and those.
const PIECES: [(&str, &str); 5] = [
    ("coati-crypto", "dh"),
    ("coati-ipsec", "esp"),
    ("coati-router", "forwarder"),
    ("coati-ike", "handshake"),
    ("coati-ospf", "spf"),
];

/// Criterion's benches: each result as it comes, then the table.
pub fn pieces(quick: bool) -> io::Result<()> {
    let mut rows = Vec::new();
    println!("building");
    // In one call, so that everything is built once.
    let mut command = super::cargo(&["bench", "--quiet"]);
    for (package, bench) in PIECES {
        command.args(["--package", package, "--bench", bench]);
    }
    let (warm_up, measurement) = if quick { ("0.1", "0.2") } else { ("0.5", "2") };
    command.args(["--", "--noplot", "--warm-up-time", warm_up, "--measurement-time", measurement]);
    if quick {
        command.args(["--sample-size", "10"]);
    }
    let mut reader = CriterionReader::default();
    lines(&mut command, |line| {
        if let Some((name, time)) = reader.line(line) {
            println!("  {name:<60} {time}");
            rows.push((name, time));
        }
    })?;
    println!("\n| piece | time | a second |\n|---|---:|---:|");
    for (name, time) in rows {
        println!("| {name} | {time} | {} |", a_second(&time).unwrap_or_default());
    }
    Ok(())
}

/// Finds names and times in criterion's output; a long name has a line of its own.
#[derive(Default)]
struct CriterionReader {
    name: String,
}

impl CriterionReader {
    /// The name, and criterion's estimate between its bounds.
    fn line(&mut self, line: &str) -> Option<(String, String)> {
        let Some((name, times)) = line.split_once("time:") else {
            if !line.starts_with(' ') && line.contains('/') {
                self.name = line.trim().to_owned();
            }
            return None;
        };
        if !name.trim().is_empty() {
            self.name = name.trim().to_owned();
        }
        let words: Vec<&str> = times.trim().trim_matches(['[', ']']).split_whitespace().collect();
        let [_, _, number, unit, ..] = words.as_slice() else { return None };
        Some((self.name.clone(), format!("{number} {unit}")))
    }
}

/// How often a second something can be done that takes `time`.
fn a_second(time: &str) -> Option<String> {
    let (number, unit) = time.split_once(' ')?;
    let scale = match unit {
        "ps" => 1e-12,
        "ns" => 1e-9,
        "µs" | "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        _ => return None,
    };
    let rate = 1.0 / (number.parse::<f64>().ok()? * scale);
    Some(match rate {
        1e6.. => format!("{:.2} million", rate / 1e6),
        1e3.. => format!("{:.1} thousand", rate / 1e3),
        _ => format!("{rate:.1}"),
    })
}

/// The lab's budget, the median of some runs.
pub fn lab(coati: &Path, quick: bool) -> io::Result<()> {
    let runs = if quick { 3 } else { 10 };
    let work = Work::new()?;
    let mut rows: Vec<(String, Vec<f64>, String)> = Vec::new();
    for run in 1..=runs {
        println!("lab {run} of {runs}");
        let mut command = Command::new(coati);
        command.args(["lab", "examples/seed"]).current_dir(root()?).env("XDG_RUNTIME_DIR", &work.dir);
        lines(&mut command, |line| {
            let Some((what, took, limit)) = budget_line(line) else { return };
            match rows.iter_mut().find(|row| row.0 == what) {
                Some(row) => row.1.push(took),
                None => rows.push((what, vec![took], limit)),
            }
        })?;
    }
    if rows.is_empty() {
        return Err(io::Error::other("the lab printed no budget: it runs in the simulator here"));
    }
    println!("\n| | median of {runs} | least | most | budget |\n|---|---:|---:|---:|---:|");
    for (what, mut took, limit) in rows {
        let median = median(&mut took);
        let (least, most) = (took.first().unwrap_or(&0.0), took.last().unwrap_or(&0.0));
        println!("| {what} | {median:.1} ms | {least:.1} ms | {most:.1} ms | {limit} |");
    }
    Ok(())
}

/// `  WHAT      12.3 ms, within 150 ms`
fn budget_line(line: &str) -> Option<(String, f64, String)> {
    let (front, limit) =
        line.strip_prefix("  ")?.split_once(" ms, within ").or_else(|| line.split_once(" ms, OVER "))?;
    let (what, took) = front.trim().rsplit_once(' ')?;
    Some((what.trim().to_owned(), took.parse().ok()?, limit.to_owned()))
}

/// What is measured end to end: a name, the seed's algorithms or AES-GCM, strongSwan's word for them.
const SUITES: [(&str, Option<&str>, &str); 2] = [
    ("aes128-sha1", None, "aes128-sha1"),
    ("aes128-gcm", Some("aes-gcm-16 0x00112233445566778899aabbccddeeff01020304"), "aes128gcm16"),
];

/// TCP through the tunnel, beside strongSwan's ESP in user space and the bare veth pair.
pub fn tunnel(coati: &Path, quick: bool) -> io::Result<()> {
    let (seconds, runs) = if quick { ("2", "1") } else { ("5", "3") };
    let work = Work::new()?;
    let mut rows = Vec::new();
    let mut veth = Rates::default();
    for (suite, gcm, proposal) in SUITES {
        println!("{suite}: Coati, {runs} x {seconds} s in each direction");
        let example = match gcm {
            None => root()?.join("examples/seed"),
            Some(cipher) => with_cipher(&work.dir, cipher)?,
        };
        let mut command = unshare(&["--mount"], "coati.sh")?;
        command.arg(fs::canonicalize(coati)?).arg(example).args([seconds, runs]).arg(&work.dir);
        let ours = rates(&mut command)?;
        println!("{suite}: strongSwan and the bare veth pair, {runs} x {seconds} s in each direction");
        let mut command = unshare(&["--net", "--mount"], "strongswan.sh")?;
        command.args([proposal, seconds, runs]).arg(&work.dir);
        let theirs = rates(&mut command)?;
        veth.forth.extend(&theirs.veth.forth);
        veth.back.extend(&theirs.veth.back);
        rows.push((suite, ours.tunnel, theirs.tunnel));
    }
    println!("\n| one TCP flow | Coati | strongSwan | ratio | Coati's CPU | strongSwan's CPU | ratio |");
    println!("|---|---:|---:|---:|---:|---:|---:|");
    for (suite, ours, theirs) in rows {
        let (ours, theirs) = (ours.medians(), theirs.medians());
        for (direction, (our_rate, our_cpu), (their_rate, their_cpu)) in
            [("forth", ours[0], theirs[0]), ("back", ours[1], theirs[1])]
        {
            let (faster, cheaper) = (our_rate / their_rate, their_cpu / our_cpu);
            print!("| {suite}, {direction} | {our_rate:.2} Gbit/s | {their_rate:.2} Gbit/s | {faster:.1} ");
            println!("| {our_cpu:.1} s/GB | {their_cpu:.1} s/GB | {cheaper:.1} |");
        }
    }
    let [(forth, _), (back, _)] = veth.medians();
    println!("\nthe bare veth pair: {forth:.1} Gbit/s forth, {back:.1} back");
    println!("\nafterwards: {}", machine());
    Ok(())
}

/// OSPF beside FRR's and BIRD's: `tests/bench/ospf` measures and prints all of it.
pub fn ospf(coati: &Path, measures: &Path, quick: bool) -> io::Result<()> {
    let work = Work::new()?;
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    command.arg(fs::canonicalize(measures)?).arg(fs::canonicalize(coati)?).arg(&work.dir);
    lines(command.arg(if quick { "quick" } else { "full" }), |line| println!("{line}"))?;
    println!("afterwards: {}", machine());
    Ok(())
}

/// What one script found.
#[derive(Default)]
struct Found {
    veth: Rates,
    tunnel: Rates,
}

/// In each direction: Gbit/s, and seconds of the daemons' CPU time for a gigabyte.
#[derive(Default)]
struct Rates {
    forth: Vec<(f64, f64)>,
    back: Vec<(f64, f64)>,
}

impl Rates {
    fn medians(self) -> [(f64, f64); 2] {
        [self.forth, self.back].map(|runs| {
            let (mut rates, mut cpu): (Vec<f64>, Vec<f64>) = runs.into_iter().unzip();
            (median(&mut rates), median(&mut cpu))
        })
    }
}

fn rates(command: &mut Command) -> io::Result<Found> {
    let mut found = Found::default();
    let mut failed = None;
    let end = lines(command, |line| {
        let words: Vec<&str> = line.split(' ').collect();
        if let [row, direction, rate, cpu] = words.as_slice()
            && let (Ok(rate), Ok(cpu)) = (rate.parse::<f64>(), cpu.parse::<f64>())
        {
            let rates = if *row == "veth" { &mut found.veth } else { &mut found.tunnel };
            let list = if *direction == "forth" { &mut rates.forth } else { &mut rates.back };
            list.push((rate / 1e9, cpu));
            println!("  {row} {direction}: {:.2} Gbit/s, {cpu:.1} s of CPU a gigabyte", rate / 1e9);
        } else if line.starts_with("FAILED") {
            failed = Some(line.to_owned());
        }
    });
    match failed {
        Some(why) => Err(io::Error::other(why)),
        None => end.map(|()| found),
    }
}

/// `examples/manual-keys` with another cipher in the place of its own.
fn with_cipher(work: &Path, cipher: &str) -> io::Result<PathBuf> {
    let example = work.join("example");
    for site in ["site-a", "site-b"] {
        let (from, to) = (root()?.join("examples/manual-keys").join(site), example.join(site));
        fs::create_dir_all(&to)?;
        fs::copy(from.join("rc.conf"), to.join("rc.conf"))?;
        let mut text = String::new();
        for line in fs::read_to_string(from.join("setkey.conf"))?.lines() {
            match line.split_once(" -E ") {
                Some((front, _)) => text.push_str(&format!("{front} -E {cipher};\n")),
                None => text.push_str(&format!("{line}\n")),
            }
        }
        fs::write(to.join("setkey.conf"), text)?;
    }
    Ok(example)
}

fn unshare(namespaces: &[&str], script: &str) -> io::Result<Command> {
    let mut command = Command::new("unshare");
    command.args(namespaces).args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
    command.arg(root()?.join("tests/bench").join(script));
    Ok(command)
}

/// Runs it; `each` sees its output's lines as they come.
fn lines(command: &mut Command, mut each: impl FnMut(&str)) -> io::Result<()> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    for line in BufReader::new(output).lines() {
        each(&line?);
    }
    let status = child.wait()?;
    if status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{}: {status}", command.get_program().display())))
}

/// Sorts them, and gives the one in the middle.
fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn root() -> io::Result<PathBuf> {
    fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
}

/// A folder of our own, which goes away with this.
struct Work {
    dir: PathBuf,
}

impl Work {
    fn new() -> io::Result<Self> {
        let dir = std::env::temp_dir().join(format!("coati-bench-{}", std::process::id()));
        fs::create_dir_all(&dir)?;
        Ok(Self { dir })
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // Nothing is lost when it stays.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn criterion_is_read() {
        let mut reader = CriterionReader::default();
        assert_eq!(reader.line("Benchmarking dh/agree/modp1024: Warming up for 3 s"), None);
        let short = "dh/agree/modp1024       time:   [208.11 µs 208.40 µs 208.79 µs]";
        assert_eq!(reader.line(short), Some(("dh/agree/modp1024".into(), "208.40 µs".into())));
        assert_eq!(reader.line("main mode + quick mode with PFS/initiator/group 2"), None);
        let long = "                        time:   [1.1 ms 1.2 ms 1.3 ms]";
        let name = "main mode + quick mode with PFS/initiator/group 2".into();
        assert_eq!(reader.line(long), Some((name, "1.2 ms".into())));
        assert_eq!(a_second("1.25 µs").unwrap(), "800.0 thousand");
    }

    #[test]
    fn the_budget_is_read() {
        let line = "  tunnel up -> OSPF Full                               1.8 ms, within 100 ms";
        assert_eq!(budget_line(line), Some(("tunnel up -> OSPF Full".into(), 1.8, "100 ms".into())));
        let over = line.replace("within", "OVER");
        assert_eq!(budget_line(&over), Some(("tunnel up -> OSPF Full".into(), 1.8, "100 ms".into())));
        assert_eq!(budget_line("budget:"), None);
    }

    #[test]
    fn the_middle_one() {
        assert!((median(&mut [3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!(median(&mut []).is_nan());
    }
}
