//! `coati sim`: an example's two routers over a simulated internet, in virtual time.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use coati_config::Source;
use coati_config::site::{Site, SiteFiles};
use coati_sim::{Conditions, World};

/// How long the chain may take, in virtual time.
const PATIENCE: Duration = Duration::from_secs(120);

/// Arguments of `coati sim`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  coati sim                                  200 seeds with a fifth of all packets lost
  coati sim --seed 17 --pcap sim.pcap        one of them again, with its log and its packets
  coati sim --seed 17 --cut 60               and a minute without any packet in the middle")]
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
    /// Write every packet that was sent to this file.
    #[arg(long, value_name = "FILE", requires = "seed")]
    pcap: Option<PathBuf>,
}

/// Runs one seed or many.
pub fn run(args: &SimArgs) -> ExitCode {
    let result = sites(&args.dir).and_then(|sites| match args.seed {
        Some(seed) => replay(args, seed, sites),
        None => many(args, &sites),
    });
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("coati sim: {error}");
            ExitCode::FAILURE
        }
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
        let (site, remarks) = crate::files::understand(&files);
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
    if let Some(path) = &args.pcap {
        let mut file = BufWriter::new(File::create(path)?);
        let packets = world.records().iter().map(|record| (record.at, record.bytes.as_slice()));
        coati_sim::pcap::write(&mut file, packets)?;
        file.flush()?;
    }
    match up {
        Some(up) => writeln!(out, "up after {:.3} s of virtual time", up.as_secs_f64())?,
        None => writeln!(out, "BROKEN: not up within {} s of virtual time", PATIENCE.as_secs())?,
    }
    Ok(up.is_some() && clear == 0)
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
