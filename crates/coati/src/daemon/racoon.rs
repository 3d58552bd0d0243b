//! The daemon called as racoon(8): its flags, so that rc.conf's racoon_flags works as it stands, its log, its file with
//! the number of the process, its way into the background.
//!
//! The other files of a router are read from the folder of racoon.conf when they are there, as `coati up` does it.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgAction, Parser};
use coati_config::racoon::RemoteWho;
use coati_config::site::Site;

use super::log::{LogForm, LogTarget};
use super::run::Daemon;
use super::{NATT_PORT, Start, fail};
use crate::dataplane::Wish;
use crate::files::{self, Place, Purpose};

/// Where racoon.conf is when -f does not say it: of FreeBSD's port, of Linux's packages.
const PLACES: [&str; 3] =
    ["/usr/local/etc/racoon/racoon.conf", "/etc/racoon/racoon.conf", "/etc/racoon.conf"];

/// IKE and IPsec as racoon(8) does them, by Coati.
#[derive(Debug, Parser)]
#[command(
    name = "racoon",
    disable_version_flag = true,
    after_help = "\
Signals: HUP reads the files and the log anew, INT and TERM end it in order.
Examples:
  racoon -t                                  check the files, touch nothing
  racoon -l /var/log/racoon.log              as rc.conf's racoon_flags has it
  racoon -F -f /usr/local/etc/racoon/racoon.conf"
)]
struct Flags {
    /// racoon.conf; the other files are looked for beside it.
    #[arg(short = 'f', value_name = "FILE")]
    file: Option<PathBuf>,
    /// Log to this file, not to the system's log.
    #[arg(short = 'l', value_name = "FILE")]
    log: Option<PathBuf>,
    /// Stay in the foreground; the log goes to standard output too.
    #[arg(short = 'F')]
    foreground: bool,
    /// Log more; again, more still.
    #[arg(short = 'd', action = ArgAction::Count)]
    debug: u8,
    /// Log more, as -d.
    #[arg(short = 'v')]
    verbose: bool,
    /// Print the version and what is built in.
    #[arg(short = 'V')]
    version: bool,
    /// Print racoon.conf as it was understood, every default written out, then go on.
    #[arg(short = 'C')]
    dump: bool,
    /// Check the files and end: exit code 1 when there is an error.
    #[arg(short = 't')]
    test: bool,
    /// Only IPv4.
    #[arg(short = '4')]
    ipv4: bool,
    /// Only IPv6.
    #[arg(short = '6')]
    ipv6: bool,
    /// UDP port of IKE where `listen` names none.
    #[arg(short = 'p', value_name = "PORT", default_value_t = 500)]
    port: u16,
    /// UDP port of IKE behind a NAT: 4500.
    #[arg(short = 'P', value_name = "PORT", default_value_t = 4500)]
    natt_port: u16,
    /// Install saved SAs; Coati writes no keys to disk, so there are none.
    #[arg(short = 'B')]
    backup: bool,
    /// racoon's local test mode; taken and not used.
    #[arg(short = 'Z', hide = true)]
    local_test: bool,
    /// Name the place in the source in each line of the log; taken and not used.
    #[arg(short = 'L')]
    location: bool,
}

/// Runs racoon with `args`, the program's name not among them.
pub fn run(args: &[String]) -> ExitCode {
    let asks = |flag: &String| flag.starts_with('-') && flag.contains(['t', 'V', 'h']);
    if args.iter().any(asks) {
        coati_os::process::end_on_closed_pipe();
    }
    let flags = match Flags::try_parse_from(std::iter::once("racoon").chain(args.iter().map(String::as_str)))
    {
        Ok(flags) => flags,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    if flags.version {
        let _ = write!(io::stdout(), "{}", version());
        return ExitCode::SUCCESS;
    }
    coati_os::process::forbid_core_dumps();
    match start(&flags) {
        Ok(code) => code,
        Err(error) => fail("racoon", &error),
    }
}

fn start(flags: &Flags) -> io::Result<ExitCode> {
    let file = match &flags.file {
        // Whole, because in the background the folder is another.
        Some(file) => std::path::absolute(file)?,
        None => PLACES.iter().map(PathBuf::from).find(|path| path.exists()).ok_or_else(|| {
            let message = format!("no racoon.conf at {}; name it with -f", PLACES.join(", "));
            io::Error::new(io::ErrorKind::NotFound, message)
        })?,
    };
    let dir = file.parent().unwrap_or(Path::new("/")).to_owned();
    let choice = Wish::Auto.choose(&dir);
    let place = Place { dir, racoon_conf: Some(file), dataplane: choice.home };
    if flags.test {
        return test(&place);
    }
    if flags.natt_port != NATT_PORT {
        let message =
            format!("-P: the port behind a NAT is {NATT_PORT} (RFC 3947), and no other one is used");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let log = flags.log.as_ref().map(std::path::absolute).transpose()?;
    let log = match (log, flags.foreground) {
        (Some(path), too) => LogTarget::File(path, too),
        (None, true) => LogTarget::Stderr,
        (None, false) => LogTarget::Syslog,
    };
    let start = Start {
        place,
        home: choice.explanation(),
        sockets: Vec::new(),
        state: Some(super::memory::USUAL_PLACE.into()),
        log: Some(log),
        form: LogForm::Racoon,
        more: usize::from(flags.debug) + usize::from(flags.verbose),
        port: flags.port,
        families: (!flags.ipv6 || flags.ipv4, !flags.ipv4 || flags.ipv6),
        pid_file: true,
        clear_df: false,
        debug_keys: None,
    };
    let site = match start.read("racoon") {
        Ok(site) => site,
        Err(code) => return Ok(code),
    };
    if let (true, Some(racoon)) = (flags.dump, &site.racoon) {
        let _ = write!(io::stdout(), "{racoon}");
    }
    if flags.backup {
        eprintln!("racoon: -B: there are no saved SAs: Coati writes no keys to disk; peers negotiate anew");
    }
    // Before there is any thread, and before sockets are opened, which then belong to the new process.
    let background = if flags.foreground { None } else { Some(coati_os::process::go_to_background()?) };
    let daemon = match start.begin(site) {
        Ok(daemon) => daemon,
        Err(error) => return Ok(fail("racoon", &error)),
    };
    if let Some(background) = background {
        background.ready()?;
    }
    Daemon::run(daemon)?;
    Ok(ExitCode::SUCCESS)
}

fn test(place: &Place) -> io::Result<ExitCode> {
    let (site, remarks) = place.read(Purpose::Check)?;
    if files::report(&remarks) {
        return Ok(ExitCode::FAILURE);
    }
    let _ = write!(io::stdout(), "{}", sections(&site));
    let file = place.racoon_conf.as_deref().unwrap_or(&place.dir);
    println!("{}: no errors", file.display());
    Ok(ExitCode::SUCCESS)
}

fn version() -> String {
    format!(
        "Coati {} in the place of racoon (ipsec-tools)\nBuilt in: IKEv1, ESP in user space, GRE, OSPF, \
         admin port, DPD, IKE fragmentation\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// One line for each section.
fn sections(site: &Site) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    let Some(racoon) = &site.racoon else { return text };
    for remote in &racoon.remotes {
        let who = match &remote.who {
            RemoteWho::Address(endpoint) => endpoint.to_string(),
            RemoteWho::Anonymous { port } => format!("anonymous [{port}]"),
            RemoteWho::Named { name, .. } => format!("\"{name}\""),
        };
        let _ = writeln!(text, "{}: remote {who}: {} proposals", remote.origin, remote.proposals.len());
    }
    for sainfo in &racoon.sainfos {
        let _ = writeln!(text, "{}: sainfo", sainfo.origin);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(line: &str) -> Flags {
        Flags::try_parse_from(std::iter::once("racoon").chain(line.split_whitespace())).unwrap()
    }

    #[test]
    fn flags_as_getopt_takes_them() {
        let read = flags("-Fddv -f /x/racoon.conf -l/var/log/racoon.log -p 5000 -P 5001 -4 -L -B -C");
        assert!(read.foreground && read.verbose && read.ipv4 && read.location && read.backup && read.dump);
        assert_eq!((read.debug, read.port, read.natt_port), (2, 5000, 5001));
        assert_eq!(read.log.as_deref(), Some(Path::new("/var/log/racoon.log")));
        // The how-to's racoon_flags.
        let read = flags("-l /var/log/racoon.log");
        assert!(!read.foreground && read.file.is_none());
        assert!(Flags::try_parse_from(["racoon", "-z"]).is_err());
    }
}
