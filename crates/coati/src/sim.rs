//! `coati sim`: an example's two routers over a simulated internet, in virtual time.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use coati_config::Source;
use coati_config::site::{Site, SiteFiles};
use coati_sim::trial::Trial;
use coati_sim::{Conditions, World};

use crate::dataplane::Dataplane;

/// How long the chain may take, in virtual time.
const PATIENCE: Duration = Duration::from_secs(120);

/// Arguments of `coati sim`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  coati sim                                  200 seeds with a fifth of all packets lost
  coati sim --seed 17 --pcap sim.pcap        one of them again, with its log and its packets
  coati sim --seed 17 --cut 60               and a minute without any packet in the middle
  coati sim --hard --seeds 1000              a mix of everything that can happen, another one for each seed")]
pub struct SimArgs {
    /// The example: a folder with one folder for each of two sites.
    #[arg(default_value = "examples/seed")]
    dir: PathBuf,
    /// Replay this seed and print what happens.
    #[arg(long)]
    seed: Option<u64>,
    /// Without a seed: try so many.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// Lost packets, in percent.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=100))]
    loss: u32,
    /// Packets that come twice, in percent.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=100))]
    duplicates: u32,
    /// Shortest delay of one direction in milliseconds.
    #[arg(long, default_value_t = 10)]
    delay: u64,
    /// Longest delay in milliseconds; packets overtake each other in between.
    #[arg(long, default_value_t = 60)]
    delay_max: u64,
    /// Once it is up, cut the internet for so many seconds.
    #[arg(long, default_value_t = 0)]
    cut: u64,
    /// Give every seed its own mix of loss, duplicates, delays, a NAT that rebinds, cuts, restarts, flushes and short
    /// lifetimes, and look at more: no packet lost at a renewal, no SA left over. The how-to's two routers.
    #[arg(long, conflicts_with_all = ["dir", "loss", "duplicates", "delay", "delay_max", "cut"])]
    hard: bool,
    /// Write every packet that was sent to this file.
    #[arg(long, value_name = "FILE", requires = "seed")]
    pcap: Option<PathBuf>,
}

/// Runs one seed or many.
pub fn run(args: &SimArgs) -> ExitCode {
    let result = if args.hard { hard(args) } else { easy(args) };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("coati sim: {error}");
            ExitCode::FAILURE
        }
    }
}

fn easy(args: &SimArgs) -> io::Result<bool> {
    let sites = sites(&args.dir)?;
    match args.seed {
        Some(seed) => replay(args, seed, sites),
        None => many(args, &sites),
    }
}

/// The sites of an example. Nothing here is secret, so rights are not asked for.
pub fn sites(dir: &Path) -> io::Result<Vec<(String, Site)>> {
    let mut dirs: Vec<PathBuf> = std::fs::read_dir(dir)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", dir.display())))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.is_dir())
        .collect();
    dirs.sort();
    let site = |dir: PathBuf| {
        let read = |file: &str| -> Option<Arc<Source>> {
            let path = dir.join(file);
            Some(Source::new(path.display().to_string(), std::fs::read_to_string(path).ok()?))
        };
        let racoon_conf = read("racoon.conf");
        let files = SiteFiles {
            included: coati_config::racoon::Included::default(),
            key_ids: std::collections::BTreeMap::new(),
            pki: racoon_conf.as_ref().map(|text| crate::files::example_pki(&dir, text)).unwrap_or_default(),
            banner: None,
            rc_conf: read("rc.conf"),
            racoon_conf,
            psk_txt: read("psk.txt"),
            setkey_conf: read("setkey.conf"),
            ospfd_conf: read("ospfd.conf").or_else(|| read("frr.conf")),
        };
        let (site, remarks) = crate::files::understand(&files, |_| Dataplane::Embedded);
        let errors = remarks.into_iter().filter(|remark| remark.severity == coati_config::Severity::Error);
        if crate::files::report(&errors.collect::<Vec<_>>()) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "not started, because of the errors above",
            ));
        }
        let name = dir.file_name().map_or_else(|| "?".into(), |name| name.to_string_lossy().into_owned());
        Ok((name, site))
    };
    let sites: Vec<(String, Site)> = dirs.into_iter().map(site).collect::<io::Result<_>>()?;
    if sites.len() != 2 {
        let text =
            format!("{}: {} folders; an example has one for each of two sites", dir.display(), sites.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(sites)
}

/// The example once, over an internet that loses nothing; prints what happens.
#[cfg(target_os = "linux")]
pub fn perfect(dir: &Path) -> io::Result<ExitCode> {
    let args = SimArgs {
        dir: dir.to_owned(),
        seed: Some(1),
        seeds: 1,
        loss: 0,
        duplicates: 0,
        delay: 1,
        delay_max: 1,
        cut: 0,
        hard: false,
        pcap: None,
    };
    let good = replay(&args, 1, sites(dir)?)?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn world(args: &SimArgs, seed: u64, sites: Vec<(String, Site)>) -> World {
    let (shortest, longest) = (Duration::from_millis(args.delay), Duration::from_millis(args.delay_max));
    let delay = (shortest, longest.max(shortest));
    World::start(seed, sites, Conditions { loss: args.loss, duplicates: args.duplicates, delay })
}

/// Runs until the chain is up, and again after a cut; the time of the last.
fn live(args: &SimArgs, world: &mut World) -> Option<Duration> {
    if !world.run_until(PATIENCE, World::is_up) {
        return None;
    }
    let up = world.elapsed();
    if args.cut == 0 {
        return Some(up);
    }
    world.cut = true;
    world.run(Duration::from_secs(args.cut));
    world.cut = false;
    let healed = world.elapsed();
    world.run_until(PATIENCE, World::is_up).then(|| world.elapsed().saturating_sub(healed))
}

fn replay(args: &SimArgs, seed: u64, sites: Vec<(String, Site)>) -> io::Result<bool> {
    let mut world = world(args, seed, sites);
    let up = live(args, &mut world);
    let mut out = io::stdout().lock();
    for line in world.log() {
        writeln!(out, "{line}")?;
    }
    let (sent, clear) = (world.records().len(), world.clear_packets());
    writeln!(out, "seed {seed}: {sent} packets sent, {clear} of GRE in clear")?;
    write_pcap(args, &world)?;
    match up {
        Some(up) => writeln!(out, "up after {:.3} s of virtual time", up.as_secs_f64())?,
        None => writeln!(out, "BROKEN: not up within {} s of virtual time", PATIENCE.as_secs())?,
    }
    Ok(up.is_some() && clear == 0)
}

fn write_pcap(args: &SimArgs, world: &World) -> io::Result<()> {
    let Some(path) = &args.pcap else { return Ok(()) };
    let mut file = BufWriter::new(File::create(path)?);
    let packets = world.records().iter().map(|record| (record.at, record.bytes.as_slice()));
    coati_sim::pcap::write(&mut file, packets)?;
    file.flush()
}

/// Trials: one with its log, or many.
fn hard(args: &SimArgs) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    if let Some(seed) = args.seed {
        let trial = Trial::run(seed);
        for line in trial.world.log() {
            writeln!(out, "{line}")?;
        }
        writeln!(out, "seed {seed}: {}", trial.describe())?;
        write_pcap(args, &trial.world)?;
        match &trial.broken {
            Some(broken) => writeln!(out, "BROKEN: {broken}")?,
            None => writeln!(out, "all held")?,
        }
        return Ok(trial.broken.is_none());
    }
    let next = AtomicU64::new(0);
    let broken = Mutex::new(BTreeMap::new());
    let (mut virtual_time, mut packets) = (Duration::ZERO, 0);
    std::thread::scope(|scope| {
        let work = || {
            let mut sum = (Duration::ZERO, 0);
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= args.seeds {
                    return sum;
                }
                let trial = Trial::run(seed);
                sum.0 += trial.world.elapsed();
                sum.1 += trial.world.records().len();
                if let Some(what) = trial.broken {
                    broken.lock().unwrap_or_else(PoisonError::into_inner).insert(seed, what);
                }
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for sum in threads.into_iter().filter_map(|thread| thread.join().ok()) {
            virtual_time += sum.0;
            packets += sum.1;
        }
    });
    let broken = broken.into_inner().unwrap_or_else(PoisonError::into_inner);
    let good = args.seeds - u64::try_from(broken.len()).unwrap_or(0);
    let hours = virtual_time.as_secs_f64() / 3600.0;
    writeln!(
        out,
        "{good} of {} trials held; {hours:.1} hours of virtual time, {packets} packets",
        args.seeds
    )?;
    for (seed, what) in &broken {
        writeln!(out, "BROKEN: seed {seed}: {what}; replay it with: coati sim --hard --seed {seed}")?;
    }
    Ok(broken.is_empty())
}

fn many(args: &SimArgs, sites: &[(String, Site)]) -> io::Result<bool> {
    let mut times = Vec::new();
    let mut broken = Vec::new();
    for seed in 0..args.seeds {
        let mut world = world(args, seed, sites.to_vec());
        match live(args, &mut world) {
            Some(up) if world.clear_packets() == 0 => times.push(up.as_secs_f64()),
            _ => broken.push(seed),
        }
    }
    times.sort_by(f64::total_cmp);
    let at =
        |share: usize| times.get((times.len() * share / 100).min(times.len().saturating_sub(1))).copied();
    println!(
        "{} of {} seeds up with {} % loss; virtual time until then: median {:.3} s, 95 % within {:.3} s, all within {:.3} s",
        times.len(),
        args.seeds,
        args.loss,
        at(50).unwrap_or(0.0),
        at(95).unwrap_or(0.0),
        at(100).unwrap_or(0.0)
    );
    for seed in &broken {
        println!("BROKEN: seed {seed}; replay it with: coati sim --seed {seed} --loss {}", args.loss);
    }
    Ok(broken.is_empty())
}
