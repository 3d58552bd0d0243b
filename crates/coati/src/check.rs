//! `coati check`: reads and cross-checks the files of a router, explains what will not work, touches nothing.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::files;

/// Arguments of `coati check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The folder with rc.conf, racoon.conf, psk.txt, setkey.conf, ospfd.conf.
    #[arg(default_value = "/usr/local/etc/racoon")]
    dir: PathBuf,
    /// Machine-readable output.
    #[arg(long)]
    json: bool,
}

/// Exit code 0 when the router could start.
pub fn run(args: &CheckArgs) -> ExitCode {
    let (site, remarks) = match files::read(&args.dir) {
        Ok(read) => read,
        Err(error) => {
            eprintln!("coati: {error}");
            return ExitCode::FAILURE;
        }
    };
    let errors = if args.json {
        let list: Vec<_> = remarks
            .iter()
            .map(|remark| {
                let place = remark.place();
                serde_json::json!({
                    "severity": remark.severity.to_string(), "file": place.file, "line": place.line,
                    "column": place.column, "message": remark.message, "help": remark.help,
                })
            })
            .collect();
        println!("{}", serde_json::Value::Array(list));
        remarks.iter().any(|remark| remark.severity == coati_config::Severity::Error)
    } else {
        files::report(&remarks)
    };
    if errors {
        return ExitCode::FAILURE;
    }
    if !args.json {
        println!(
            "{}: {} tunnels, {} policies, {} peers, OSPF {}: this can start",
            args.dir.display(),
            site.rc.tunnels.len(),
            site.policies().count(),
            site.racoon.as_ref().map_or(0, |racoon| racoon.remotes.len()),
            if site.ospf.is_some() { "on" } else { "off" },
        );
    }
    ExitCode::SUCCESS
}
