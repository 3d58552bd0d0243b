//! `coati import`: a bird.conf becomes an ospfd.conf that does the same.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use coati_config::bird::{self, HostInterface, Passwords};
use coati_config::{Source, Span};
use coati_os::netlink::Netlink;
use coati_sadb::Prefix;

use crate::{check, files};

/// Arguments of `coati import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The bird.conf.
    file: PathBuf,
    /// Interfaces that patterns such as "gre*" may mean, instead of those of this host; with addresses where patterns name
    /// networks.
    #[arg(long, value_name = "NAME[=ADDRESS/LENGTH],…", value_delimiter = ',')]
    interfaces: Option<Vec<HostInterface>>,
    /// Write the text to this new file, passwords included, which nobody else can read.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Machine-readable output: the remarks, and the text or the name of its file.
    #[arg(long)]
    json: bool,
}

/// Exit code 0 when there is an ospfd.conf.
pub fn run(args: &ImportArgs) -> ExitCode {
    match imported(args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("coati: {error}");
            ExitCode::FAILURE
        }
    }
}

fn imported(args: &ImportArgs) -> io::Result<ExitCode> {
    let source = files::named(&args.file)?;
    if let Some(place) = router_ospf(&source) {
        let message = format!(
            "{place}: this is FRR's style already, not a bird.conf: Coati reads it as it is, under the name ospfd.conf"
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let interfaces = match &args.interfaces {
        Some(named) => named.clone(),
        None => of_this_host()?,
    };
    let passwords = if args.output.is_some() { Passwords::Written } else { Passwords::Hidden };
    let (text, remarks) = bird::import(&source, &interfaces, passwords);
    if let (Some(text), Some(output)) = (&text, &args.output) {
        write(output, text)?;
    }
    if args.json {
        let remarks: Vec<_> = remarks.iter().map(check::json).collect();
        let shown = text.as_ref().filter(|_| args.output.is_none());
        let output = args.output.as_ref().filter(|_| text.is_some());
        println!("{}", serde_json::json!({ "remarks": remarks, "ospfd_conf": shown, "output": output }));
    } else {
        files::report(&remarks);
        match (&text, &args.output) {
            (Some(text), None) => print!("{text}"),
            (Some(_), Some(output)) => println!("{} is written: `coati check` its folder", output.display()),
            (None, _) => {}
        }
    }
    Ok(if text.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where a file has FRR's own beginning of a block.
fn router_ospf(source: &Source) -> Option<coati_config::Place> {
    let mut start = 0;
    for line in source.text.split('\n') {
        let words: Vec<&str> = line.split_whitespace().take(3).collect();
        if let ["router", "ospf"] | ["router", "ospf", _] = words[..]
            && !line.contains([';', '{'])
        {
            return Some(source.place(Span { start, end: start + line.len() }));
        }
        start += line.len() + 1;
    }
    None
}

/// A file that is not there yet, for its owner alone: it may hold passwords.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let explain = |error: io::Error| {
        let message = match error.kind() {
            io::ErrorKind::AlreadyExists => {
                "this file is there already: take it away, or name another".to_owned()
            }
            _ => error.to_string(),
        };
        io::Error::new(error.kind(), format!("{}: {message}", path.display()))
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(explain)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(explain)
}

/// Interfaces with their IPv4 addresses. A loopback interface counts with an address of its own only, as in BIRD.
fn of_this_host() -> io::Result<Vec<HostInterface>> {
    let mut netlink = Netlink::new()?;
    let addresses = netlink.addresses()?;
    let mut list = Vec::new();
    for link in netlink.links()? {
        let own = addresses.iter().filter(|address| address.index == link.index);
        let own = own.filter(|address| address.local.is_ipv4() && !address.local.is_loopback());
        let prefix = |address: IpAddr, length| Prefix::new(address, length).ok();
        let addresses: Vec<Prefix> =
            own.filter_map(|address| prefix(address.local, address.prefix_len)).collect();
        if !link.loopback || !addresses.is_empty() {
            list.push(HostInterface { name: link.name, addresses });
        }
    }
    Ok(list)
}
