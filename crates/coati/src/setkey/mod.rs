//! setkey(8) on whichever data plane the daemon uses: its arguments, its output, its exit codes.

mod dump;
mod monitor;

use std::io::{self, IsTerminal, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use coati_config::setkey::{Statement, parse};
use coati_router::admin::{AdminReply, AdminRequest};
use coati_sadb::{Refusal, Reply, Request, SaState};

use crate::client::Client;
use crate::files;

pub use dump::{policies_text, sas_text};
use monitor::line_text;

const USAGE: &str = "\
usage: setkey [-v] -c              commands from standard input
       setkey [-v] [-n] -f FILE    commands from a file (- is standard input); -n only checks it
       setkey [-av] -D | -DP       show the SAs (-a: dead ones too) | the policies
       setkey [-v] -F | -FP        remove all SAs | all policies
       setkey -x                   show what happens, until interrupted
       setkey -h                   this text
Commands: add update delete get flush dump spdadd spdupdate spddelete spdflush spddump, each ended by `;`
Coati's: -s SOCKET names the daemon's socket, --json prints JSON, --mask-keys hides keys.
Examples:
  setkey -f /usr/local/etc/racoon/setkey.conf
  setkey -D
  setkey -DP
  echo 'spdadd 192.0.2.1 198.51.100.1 gre -P out ipsec esp/transport//unique;' | setkey -c";

#[derive(Default)]
struct Options {
    action: Option<char>,
    policies: bool,
    all: bool,
    check_only: bool,
    json: bool,
    mask_keys: bool,
    file: Option<String>,
    socket: Option<String>,
}

/// Runs setkey with `args`, the program's name not among them.
pub fn run(args: &[String]) -> ExitCode {
    let options = match options(args) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("setkey: {message}\n{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    let result = match options.action {
        Some('c') => execute(&options, "-"),
        Some('f') => execute(&options, options.file.as_deref().unwrap_or("-")),
        Some('D') => ask(&options, if options.policies { Request::SpdDump } else { Request::Dump(None) }),
        Some('F') => ask(&options, if options.policies { Request::SpdFlush } else { Request::Flush(None) }),
        Some('x') => monitor(&options),
        Some('h') => {
            println!("{USAGE}");
            Ok(true)
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("setkey: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options(args: &[String]) -> Result<Options, String> {
    let mut options = Options::default();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--json" => options.json = true,
            "--mask-keys" => options.mask_keys = true,
            "--help" => options.action = Some('h'),
            _ => {
                let Some(letters) = arg.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
                    return Err(format!("`{arg}` is not understood"));
                };
                for letter in letters.chars() {
                    match letter {
                        'c' | 'D' | 'F' | 'x' | 'h' | '?' => {
                            options.action = Some(if letter == '?' { 'h' } else { letter })
                        }
                        'f' => {
                            options.action = Some('f');
                            options.file = Some(args.next().ok_or("-f needs a file")?.clone());
                        }
                        's' => options.socket = Some(args.next().ok_or("-s needs a socket")?.clone()),
                        'P' => options.policies = true,
                        'n' => options.check_only = true,
                        'a' => options.all = true,
                        // Verbose, ports, RFC or kernel semantics: nothing differs here.
                        'v' | 'p' | 'r' | 'k' | 'H' => {}
                        _ => return Err(format!("unknown option -{letter}")),
                    }
                }
            }
        }
    }
    Ok(options)
}

/// Reads the whole text first, so that a mistake in line 9 leaves nothing half done. Then all of it happens at one
/// moment: between `spdflush` and `spdadd` no packet finds no policy. A refusal keeps the rest from nothing.
fn execute(options: &Options, file: &str) -> io::Result<bool> {
    let (name, bytes) = if file == "-" {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes)?;
        ("stdin", bytes)
    } else {
        (file, std::fs::read(file).map_err(|e| io::Error::new(e.kind(), format!("{file}: {e}")))?)
    };
    let source = files::decode(name, bytes)?;
    let statements = match parse(&source) {
        Ok(statements) => statements,
        Err(error) => {
            eprint!("setkey: {}", error.render(io::stderr().is_terminal()));
            eprintln!("setkey: nothing was changed");
            return Ok(false);
        }
    };
    if options.check_only {
        return Ok(true);
    }
    let mut client = connect(options)?;
    let mut all_done = true;
    let (requests, places): (Vec<Request>, Vec<_>) =
        statements.into_iter().map(|Statement { request, origin }| (request, origin.place())).unzip();
    let AdminReply::SadbFile(replies) = client.call(&AdminRequest::SadbFile(requests))? else {
        return Err(another_kind());
    };
    for (reply, place) in replies.into_iter().zip(places) {
        if let Err(refusal) = show(options, reply)? {
            eprintln!("setkey: {place}: {refusal}{}", advice(&refusal));
            all_done = false;
        }
    }
    Ok(all_done)
}

/// What to do about a refusal, in brackets, when there is something.
fn advice(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Exists => " (remove the old one first, or write update or spdupdate, which replace it)",
        Refusal::NoSa => " (setkey -D lists those that are there)",
        Refusal::NoPolicy => " (setkey -DP lists those that are there)",
        Refusal::Invalid(_) | Refusal::Unsupported(_) | Refusal::NoRoom(_) => "",
    }
}

fn connect(options: &Options) -> io::Result<Client> {
    Client::connect(options.socket.as_deref().map(Path::new))
}

fn ask(options: &Options, request: Request) -> io::Result<bool> {
    let done = one(&mut connect(options)?, options, request)?;
    if let Err(refusal) = &done {
        eprintln!("setkey: {refusal}");
    }
    Ok(done.is_ok())
}

fn one(client: &mut Client, options: &Options, request: Request) -> io::Result<Result<(), Refusal>> {
    let AdminReply::Sadb(reply) = client.call(&AdminRequest::Sadb(request))? else {
        return Err(another_kind());
    };
    show(options, reply)
}

fn another_kind() -> io::Error {
    io::Error::other("the daemon gave an answer of another kind")
}

fn show(options: &Options, reply: Reply) -> io::Result<Result<(), Refusal>> {
    match reply {
        Reply::Refused { refusal } => return Ok(Err(refusal)),
        reply if options.json => println!("{}", serde_json::to_string(&reply)?),
        Reply::Sas { mut sas } => {
            sas.retain(|sa| options.all || sa.state != SaState::Dead);
            print!("{}", sas_text(&sas, crate::clock::unix_seconds(), std::process::id(), options.mask_keys))
        }
        Reply::Policies { policies } => print!("{}", policies_text(&policies, std::process::id())),
        Reply::Done | Reply::Spi { .. } => {}
    }
    Ok(Ok(()))
}

fn monitor(options: &Options) -> io::Result<bool> {
    let mut client = connect(options)?;
    let mut reply = client.call(&AdminRequest::Monitor)?;
    loop {
        if let AdminReply::Monitor(line) = &reply {
            let mut out = io::stdout().lock();
            if options.json {
                writeln!(out, "{}", serde_json::to_string(line)?)?;
            } else {
                write!(out, "{} \n{}", crate::clock::of_day(), line_text(line))?;
            }
            out.flush()?;
        }
        reply = client.next()?;
    }
}
