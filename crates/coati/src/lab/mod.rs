//! `coati lab`: both sites of an example in network namespaces of this machine, with real packets and real daemons.
//!
//! The front process starts a supervisor, which puts itself into a namespace of its own: that is "the internet". It
//! starts one node process for each site and each host behind it, joins them by veth pairs, starts the daemons and
//! watches the chain come up. All of them die with their parent, so nothing is ever left behind.

mod capture;
mod chain;
mod node;
mod state;
mod supervisor;
mod topology;

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use state::State;

/// Arguments of `coati lab`.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  coati lab                                  the how-to's two routers, end to end
  coati lab --keep                           and leave them running
  coati lab exec a -- racoonctl -ll ss isakmp
  coati lab exec host-a -- ping 10.2.0.10
  coati lab down                             end them"
)]
pub struct LabArgs {
    #[command(subcommand)]
    action: Option<Action>,
    /// The example: a folder with one folder for each of two sites.
    #[arg(default_value = "examples/seed")]
    dir: PathBuf,
    /// Leave it running at the end.
    #[arg(long)]
    keep: bool,
    /// Write what crosses the internet to DIR/internet.pcap.
    #[arg(long, value_name = "DIR")]
    pcap: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Run a command inside a node: a, b, host-a, host-b or internet.
    Exec {
        /// The node.
        node: String,
        /// The command and its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// End a lab that was left running.
    Down,
}

/// Runs the lab, enters it or ends it.
pub fn run(args: &LabArgs) -> ExitCode {
    let result = match &args.action {
        None => front(args),
        Some(Action::Exec { node, command }) => exec(node, command),
        Some(Action::Down) => down(),
    };
    result.unwrap_or_else(|error| {
        eprintln!("coati lab: {error}");
        ExitCode::FAILURE
    })
}

/// The hidden words that nodes are started with; `None` for any other word.
pub fn node_command(word: &str, args: &[String]) -> Option<ExitCode> {
    let result = match word {
        "lab-supervisor" => supervisor::run(args),
        "lab-node" => node::run(args),
        "lab-enter" => enter(args),
        "lab-ping" => node::ping(args),
        _ => return None,
    };
    Some(result.unwrap_or_else(|error| {
        eprintln!("coati {word}: {error}");
        ExitCode::FAILURE
    }))
}

fn front(args: &LabArgs) -> io::Result<ExitCode> {
    if let Some(state) = State::load()? {
        return Err(io::Error::other(format!(
            "a lab is running (process {}): end it with `coati lab down`, or enter it with `coati lab exec`",
            state.supervisor
        )));
    }
    if !std::path::Path::new("/dev/net/tun").exists() {
        eprintln!(
            "coati lab: there is no /dev/net/tun: load the tun module, or pass the device into the container"
        );
        return simulate(args);
    }
    let asked_to_end = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, asked_to_end.clone())?;
    }
    let (mut verdict, child_end) = UnixStream::pair()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("lab-supervisor").arg(std::fs::canonicalize(&args.dir).map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("{}: {error} (name an example such as examples/seed)", args.dir.display()),
        )
    })?);
    command.arg(if args.keep { "keep" } else { "end" });
    if let Some(pcap) = &args.pcap {
        std::fs::create_dir_all(pcap)?;
        command.arg(std::fs::canonicalize(pcap)?);
    }
    // In a group of its own, Ctrl-C reaches only this process, which then ends the other in order.
    let mut child =
        command.stdin(Stdio::from(std::os::fd::OwnedFd::from(child_end))).process_group(0).spawn()?;
    drop(command);
    verdict.set_read_timeout(Some(Duration::from_millis(100)))?;
    let mut code = [1];
    let mut stays = args.keep;
    let code = loop {
        match verdict.read(&mut code) {
            Ok(1) => break code[0],
            // It has ended before it came so far, and has said why.
            Ok(_) => {
                stays = false;
                break 1;
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
        if asked_to_end.load(Ordering::Relaxed) {
            coati_os::process::end(child.id(), false)?;
            stays = false;
            break 130;
        }
    };
    // A broken one is left running too: to look into it is why one keeps it.
    if !stays || code == supervisor::NO_NAMESPACES {
        child.wait()?;
    }
    if code == supervisor::NO_NAMESPACES {
        return simulate(args);
    }
    Ok(ExitCode::from(code))
}

/// What can be had everywhere: the same two routers, without a kernel.
fn simulate(args: &LabArgs) -> io::Result<ExitCode> {
    eprintln!(
        "coati lab: the same two routers run over the simulator instead: no real packets, virtual time"
    );
    crate::sim::perfect(&args.dir)
}

fn enter(args: &[String]) -> io::Result<ExitCode> {
    let [pid, separator, program, rest @ ..] = args else { return Err(io::ErrorKind::InvalidInput.into()) };
    if separator != "--" {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    coati_os::process::die_with_parent();
    coati_os::namespace::enter(pid.parse().map_err(|_| io::ErrorKind::InvalidInput)?)?;
    Err(node::inside(program).args(rest).exec())
}

fn exec(node: &str, command: &[String]) -> io::Result<ExitCode> {
    let state = State::load()?.ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, "no lab is running: start one with `coati lab --keep`")
    })?;
    let pid = state.pid_of(node)?;
    coati_os::namespace::enter(pid)?;
    let (program, rest) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let error = node::inside(program).args(rest).exec();
    Err(io::Error::new(error.kind(), format!("{program}: {error}")))
}

fn down() -> io::Result<ExitCode> {
    let Some(state) = State::load()? else {
        println!("no lab is running");
        return Ok(ExitCode::SUCCESS);
    };
    coati_os::process::end(state.supervisor, false)?;
    let deadline = Instant::now() + Duration::from_secs(10);
    while state.is_running() {
        if Instant::now() > deadline {
            coati_os::process::end(state.supervisor, true)?;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    println!("the lab is down");
    Ok(ExitCode::SUCCESS)
}
