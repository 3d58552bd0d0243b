//! Coati: joins sites with OSPF over GRE over IPsec transport mode, keyed by IKE.
//!
//! This file is the command line: each word leads to a module of the same name. Called as `setkey`,
//! `racoonctl` or `racoon` (links to the program), it is that program.

#![forbid(unsafe_code)]

mod check;
mod client;
mod clock;
mod daemon;
mod dataplane;
mod doctor;
mod files;
mod import;
#[cfg(target_os = "linux")]
mod lab;
mod pfkey;
mod racoonctl;
mod setkey;
mod sim;
mod status;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// Joins sites with OSPF over GRE over IPsec transport mode, keyed by IKE.
#[derive(Debug, Parser)]
#[command(
    name = "coati",
    version,
    after_help = "\
Examples:
  coati lab                       both sites of the how-to, on this machine, with real packets
  coati check /usr/local/etc/racoon   read the files and say what will not work
  coati up /usr/local/etc/racoon      run this router
  coati import bird.conf          the ospfd.conf that does what this BIRD does
  coati status                    the chain at a glance, and where it is broken
  coati show ike                  the peers, their SAs, and why the last negotiation failed
  coati show ip ospf neighbor
  coati setkey -D                 (or by a link named setkey)
  coati racoonctl -ll ss isakmp   (or by a link named racoonctl)
"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring up both sites of an example in network namespaces of this machine.
    #[cfg(target_os = "linux")]
    Lab(lab::LabArgs),
    /// The same two routers over a simulated internet, in virtual time; a seed replays a failure.
    Sim(sim::SimArgs),
    /// Run this router in the foreground.
    #[command(after_help = "\
Signals: HUP reads the files and the log anew, INT and TERM end it in order.
Examples:
  coati up /usr/local/etc/racoon --log /var/log/racoon.log
  coati up --log-format json")]
    Up(daemon::UpArgs),
    /// Read and cross-check the files, explain what will not work; touch nothing.
    #[command(after_help = "Example:\n  coati check examples/seed/freebsd-a")]
    Check(check::CheckArgs),
    /// What this machine can do and what stands in the way: which homes for SAs and policies it has, which one is used and why,
    /// ports, forwarding, MTUs. Homes are tried in a network namespace of their own; nothing is touched.
    #[command(after_help = "\
Exit code 0 when nothing stands in the way.
Examples:
  coati doctor /usr/local/etc/racoon
  coati doctor --dataplane xfrm examples/seed/freebsd-a
  coati doctor --json | jq '.homes[] | select(.hindrance == null).home'")]
    Doctor(doctor::DoctorArgs),
    /// Turn a bird.conf of BIRD 2 into an ospfd.conf that does the same; what cannot be carried over is said at its place.
    #[command(after_help = "\
Without --output the text goes to standard output, passwords left out. Exit code 0 when there is a text.
Examples:
  coati import /etc/bird/bird.conf
  coati import bird.conf --interfaces gre0,em1=192.0.2.1/24 --output /usr/local/etc/racoon/ospfd.conf
  coati import bird.conf --json | jq .remarks")]
    Import(import::ImportArgs),
    /// The whole chain at a glance.
    #[command(after_help = "Example:\n  coati status --json | jq .neighbours")]
    Status(SocketArgs),
    /// Views of the running router: `ike`, and in FRR's words `ip ospf neighbor|interface|database|route|border-routers`, `ip route` and `bfd peers`, each
    /// also `json`.
    #[command(
        after_help = "Examples:\n  coati show ike\n  coati show ip ospf neighbor\n  coati show ip ospf route json"
    )]
    Show(ShowArgs),
    /// Begin anew, in FRR's words: `ip ospf process`, `ip ospf neighbor [ROUTER-ID]`, `ip ospf interface [NAME]`.
    #[command(
        after_help = "Examples:\n  coati clear ip ospf neighbor 203.0.113.2\n  coati clear ip ospf process"
    )]
    Clear(OrderArgs),
    /// Tell more about OSPF in the log, in FRR's words; `show debugging ospf` lists what is on.
    #[command(
        after_help = "Examples:\n  coati debug ospf packet hello\n  coati debug ospf packet ls-update recv detail\n  coati \
                      debug ospf lsa\n  coati undebug ospf"
    )]
    Debug(OrderArgs),
    /// Tell it no more.
    #[command(after_help = "Examples:\n  coati undebug ospf packet hello\n  coati undebug ospf")]
    Undebug(OrderArgs),
    /// Before a restart of the program, in FRR's words `prepare ip ospf`: neighbours are told that packets go on (RFC 3623).
    /// `graceful-restart` has to be in `router ospf`.
    #[command(after_help = "Example:\n  coati graceful-restart prepare ip ospf")]
    GracefulRestart(OrderArgs),
    /// setkey(8): SAs and policies by hand.
    #[command(disable_help_flag = true)]
    Setkey {
        /// As setkey(8) takes them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// racoon(8): the daemon with racoon's flags, in the background unless -F is given.
    #[command(disable_help_flag = true)]
    Racoon {
        /// As racoon(8) takes them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// racoonctl(8): the SAs of IKE and of the data plane.
    #[command(disable_help_flag = true)]
    Racoonctl {
        /// As racoonctl(8) takes them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

#[derive(Debug, Args)]
struct SocketArgs {
    /// The daemon's socket, where it is not found by itself.
    #[arg(short, long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Machine-readable output.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// The daemon's socket, where it is not found by itself.
    #[arg(short, long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Machine-readable output, like a last word `json`.
    #[arg(long)]
    json: bool,
    /// What to show.
    #[arg(required = true, value_name = "WORD")]
    words: Vec<String>,
}

#[derive(Debug, Args)]
struct OrderArgs {
    /// The daemon's socket, where it is not found by itself.
    #[arg(short, long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// The words of the command.
    #[arg(required = true, value_name = "WORD")]
    words: Vec<String>,
}

/// A full disk behind standard output ends a command with a sentence.
fn end_on_failed_output() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let text = info.payload_as_str().unwrap_or_default();
        if text.starts_with("failed printing to") {
            use std::io::Write;
            let _ = writeln!(std::io::stderr(), "coati: {text}");
            std::process::exit(1);
        }
        usual(info);
    }));
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let called = args.first().and_then(|name| Path::new(name).file_name()).and_then(|name| name.to_str());
    let rest = args.get(1..).unwrap_or(&[]);
    if called != Some("racoon") && !rest.iter().any(|word| word == "up" || word == "racoon") {
        coati_os::process::end_on_closed_pipe();
        end_on_failed_output();
    }
    match called {
        Some("setkey") => return setkey::run(rest),
        Some("racoonctl") => return racoonctl::run(rest),
        // Before any thread: it goes to the background.
        Some("racoon") => return daemon::racoon(rest),
        _ => {}
    }
    // Nodes of the lab start before any thread: they make namespaces.
    #[cfg(target_os = "linux")]
    if let Some(word) = rest.first()
        && let Some(code) = lab::node_command(word, rest.get(1..).unwrap_or(&[]))
    {
        return code;
    }
    if let [word, rest @ ..] = rest
        && word == "racoon"
    {
        return daemon::racoon(rest);
    }
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()),
        )
        .init();
    match cli.command {
        #[cfg(target_os = "linux")]
        Command::Lab(args) => lab::run(&args),
        Command::Sim(args) => sim::run(&args),
        Command::Up(args) => daemon::up(&args),
        Command::Check(args) => check::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Status(args) => status::status(args.socket.as_deref(), args.json),
        Command::Show(args) => status::show(args.socket.as_deref(), args.words, args.json),
        Command::Clear(args) => status::order(args.socket.as_deref(), "clear", args.words),
        Command::Debug(args) => status::order(args.socket.as_deref(), "debug", args.words),
        Command::Undebug(args) => status::order(args.socket.as_deref(), "undebug", args.words),
        Command::GracefulRestart(args) => {
            status::order(args.socket.as_deref(), "graceful-restart", args.words)
        }
        Command::Setkey { args } => setkey::run(&args),
        Command::Racoonctl { args } => racoonctl::run(&args),
        Command::Racoon { args } => daemon::racoon(&args),
    }
}
