//! `coati check`: reads and cross-checks the files of a router, explains what will not work, touches nothing.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use coati_config::site::Site;
use coati_config::{Diagnostic, Severity, sides};

use crate::dataplane::Wish;
use crate::files::{self, Purpose};

/// Arguments of `coati check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The folder with rc.conf, racoon.conf, psk.txt, setkey.conf, ospfd.conf; or one with two such folders, the two
    /// ends of a tunnel, which are then compared too.
    #[arg(default_value = "/usr/local/etc/racoon")]
    dir: PathBuf,
    /// Machine-readable output.
    #[arg(long)]
    json: bool,
    /// Where SAs, policies and tunnels are to live.
    #[arg(long, value_enum, default_value_t, value_name = "HOME")]
    dataplane: Wish,
}

/// Exit code 0 when the router could start.
pub fn run(args: &CheckArgs) -> ExitCode {
    let checked = match ends(&args.dir) {
        Some([a, b]) => both(&a, &b, args.dataplane),
        None => one(&args.dir, args.dataplane),
    };
    let (sites, remarks) = match checked {
        Ok(checked) => checked,
        Err(error) => {
            eprintln!("coati: {error}");
            return ExitCode::FAILURE;
        }
    };
    let errors = if args.json {
        println!("{}", serde_json::Value::Array(remarks.iter().map(json).collect()));
        remarks.iter().any(|remark| remark.severity == Severity::Error)
    } else {
        files::report(&remarks)
    };
    if errors {
        return ExitCode::FAILURE;
    }
    if !args.json {
        for (dir, site) in &sites {
            println!("{}", verdict(dir, site));
        }
    }
    ExitCode::SUCCESS
}

type Checked = (Vec<(PathBuf, Site)>, Vec<Diagnostic>);

fn one(dir: &Path, wish: Wish) -> io::Result<Checked> {
    let (texts, problems) = files::texts(dir, Purpose::Check)?;
    // As `coati up` would.
    let home = wish.choose(dir).home;
    let (site, mut remarks) = files::understand(&texts, |_| home);
    remarks.extend(problems);
    Ok((vec![(dir.to_owned(), site)], remarks))
}

fn both(a: &Path, b: &Path, wish: Wish) -> io::Result<Checked> {
    let (files_a, problems_a) = files::texts(a, Purpose::Check)?;
    let (files_b, problems_b) = files::texts(b, Purpose::Check)?;
    let (site_a, mut remarks) = files::understand(&files_a, |site| wish.for_files(site));
    let (site_b, remarks_b) = files::understand(&files_b, |site| wish.for_files(site));
    remarks.extend(remarks_b);
    remarks.extend(problems_a.into_iter().chain(problems_b));
    remarks.extend(sides::compare((&files_a, &site_a), (&files_b, &site_b)));
    Ok((vec![(a.to_owned(), site_a), (b.to_owned(), site_b)], remarks))
}

/// The two folders in `dir`, when it has no files itself and they have.
fn ends(dir: &Path) -> Option<[PathBuf; 2]> {
    if files::are_in(dir) {
        return None;
    }
    let mut dirs: Vec<PathBuf> = std::fs::read_dir(dir)
        .ok()?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.is_dir() && files::are_in(path))
        .collect();
    dirs.sort();
    dirs.try_into().ok()
}

/// A remark for programs.
pub fn json(remark: &Diagnostic) -> serde_json::Value {
    let place = remark.place();
    serde_json::json!({
        "severity": remark.severity.to_string(), "file": place.file, "line": place.line,
        "column": place.column, "message": remark.message, "help": remark.help,
    })
}

fn verdict(dir: &Path, site: &Site) -> String {
    format!(
        "{}: {} tunnels, {} policies, {} peers, OSPF {}: this can start",
        dir.display(),
        site.rc.tunnels.len(),
        site.policies().count(),
        site.racoon.as_ref().map_or(0, |racoon| racoon.remotes.len()),
        if site.has_ospf() { "on" } else { "off" },
    )
}
