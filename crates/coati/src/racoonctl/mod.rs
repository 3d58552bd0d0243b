//! racoonctl(8) on a running Coati: its arguments, its tables, its exit codes. The SAs of the data plane are printed
//! by `setkey`'s own dump, as racoonctl does it too.

mod tables;

use std::io;
use std::path::Path;
use std::process::ExitCode;

use coati_router::admin::{AdminReply, AdminRequest, IsakmpStatus};
use coati_sadb::{Reply, Request, Sa, SaProto};

use crate::client::Client;
use crate::clock::unix_seconds;
use crate::setkey::sas_text;
use crate::status;

use tables::{Width, isakmp_text};

const USAGE: &str = "\
usage: racoonctl [-d] [-l [-l]] [-s SOCKET] COMMAND
  show-sa | ss   isakmp|esp|ah|ipsec    the SAs of IKE | of the data plane
  flush-sa | fs  esp|ah|ipsec           remove the SAs of the data plane; traffic makes new ones
  status | st                           the chain at a glance, as `coati status` shows it
Options:
  -l             state, side, version, exchange, number of phase 2 SAs; twice: the source address too
  -s SOCKET      the daemon's socket, where it is not found by itself
  -d             print the request too
Coati's: --json prints JSON, --mask-keys hides keys, --help prints this text.
Examples:
  racoonctl -ll ss isakmp
  racoonctl ss esp
  racoonctl --json ss isakmp";

/// Commands of racoonctl(8) that exist there and not yet here.
const NOT_YET: [(&str, &str); 9] = [
    ("reload-config", "rc"),
    ("show-schedule", "sc"),
    ("show-event", "se"),
    ("get-cert", "gc"),
    ("delete-sa", "ds"),
    ("establish-sa", "es"),
    ("vpn-connect", "vc"),
    ("vpn-disconnect", "vd"),
    ("logout-user", "lu"),
];

#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    detail: usize,
    debug: bool,
    json: bool,
    mask_keys: bool,
    help: bool,
    socket: Option<String>,
    words: Vec<String>,
}

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Isakmp,
    Show(Option<SaProto>),
    Flush(Option<SaProto>),
    Status,
}

/// Runs racoonctl with `args`, the program's name not among them.
pub fn run(args: &[String]) -> ExitCode {
    let options = match options(args) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("racoonctl: {message}\n{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    if options.help || options.words.is_empty() {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let result =
        command(&options.words).map_err(io::Error::other).and_then(|command| carry_out(&options, command));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("racoonctl: {error}");
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
            "--help" => options.help = true,
            // After the command, only its own words.
            word if !options.words.is_empty() => options.words.push(word.to_owned()),
            _ => match arg.strip_prefix('-').filter(|letters| !letters.is_empty()) {
                None => options.words.push(arg.clone()),
                Some(letters) => {
                    for letter in letters.chars() {
                        match letter {
                            'l' => options.detail += 1,
                            'd' => options.debug = true,
                            'h' => options.help = true,
                            's' => options.socket = Some(args.next().ok_or("-s needs a socket")?.clone()),
                            _ => return Err(format!("unknown option -{letter}")),
                        }
                    }
                }
            },
        }
    }
    Ok(options)
}

fn command(words: &[String]) -> Result<Command, String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["show-sa" | "ss" | "flush-sa" | "fs"] => {
            Err("insufficient arguments: name isakmp, esp, ah or ipsec".to_owned())
        }
        ["show-sa" | "ss", "isakmp"] => Ok(Command::Isakmp),
        ["show-sa" | "ss", name] => proto(name).map(Command::Show),
        ["flush-sa" | "fs", "isakmp"] => Err("flush-sa isakmp is not supported yet".to_owned()),
        ["flush-sa" | "fs", name] => proto(name).map(Command::Flush),
        ["status" | "st", ..] => Ok(Command::Status),
        ["show-sa" | "ss" | "flush-sa" | "fs", _, extra, ..] => {
            Err(format!("`{extra}` is one word too many"))
        }
        [word, ..] if NOT_YET.iter().any(|(long, short)| word == *long || word == *short) => {
            Err(format!("{word} is not supported yet"))
        }
        [word, ..] => Err(format!("Invalid command [{word}]")),
        [] => Err("insufficient arguments".to_owned()),
    }
}

/// The protocol of a name; `None` is all of them.
fn proto(name: &str) -> Result<Option<SaProto>, String> {
    match name {
        "esp" => Ok(Some(SaProto::Esp)),
        "ah" => Ok(Some(SaProto::Ah)),
        "ipsec" => Ok(None),
        _ => Err(format!("unknown protocol `{name}`: it is isakmp, esp, ah or ipsec")),
    }
}

fn carry_out(options: &Options, command: Command) -> io::Result<()> {
    let mut client = Client::connect(options.socket.as_deref().map(Path::new))?;
    let mut call = |request: AdminRequest| {
        if options.debug {
            eprintln!("{}", serde_json::to_string(&request)?);
        }
        client.call(&request)
    };
    match command {
        Command::Isakmp => match call(AdminRequest::Isakmp)? {
            AdminReply::Isakmp(list) => show_isakmp(options, &list),
            _ => Err(unexpected()),
        },
        Command::Show(proto) => {
            let AdminReply::Status(status) = call(AdminRequest::Status)? else { return Err(unexpected()) };
            match call(AdminRequest::Sadb(Request::Dump(proto)))? {
                AdminReply::Sadb(Reply::Sas { sas }) => show_sas(options, &sas, status.pid),
                AdminReply::Sadb(Reply::Refused { refusal }) => Err(io::Error::other(refusal.to_string())),
                _ => Err(unexpected()),
            }
        }
        Command::Flush(proto) => match call(AdminRequest::Sadb(Request::Flush(proto)))? {
            AdminReply::Sadb(Reply::Refused { refusal }) => Err(io::Error::other(refusal.to_string())),
            AdminReply::Sadb(_) => Ok(()),
            _ => Err(unexpected()),
        },
        Command::Status => match call(AdminRequest::Status)? {
            AdminReply::Status(status) => status::print(&status, options.json),
            _ => Err(unexpected()),
        },
    }
}

fn unexpected() -> io::Error {
    io::Error::other("the daemon gave an answer of another kind")
}

fn show_isakmp(options: &Options, list: &[IsakmpStatus]) -> io::Result<()> {
    if options.json {
        println!("{}", serde_json::to_string(list)?);
    } else {
        print!("{}", isakmp_text(list, Width::of(options.detail)));
    }
    Ok(())
}

fn show_sas(options: &Options, sas: &[Sa], pid: u32) -> io::Result<()> {
    if options.json {
        println!("{}", serde_json::to_string(sas)?);
    } else {
        print!("{}", sas_text(sas, unix_seconds(), pid, options.mask_keys));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_command_lines_of_the_how_to() {
        let read = options(&words("-s /var/run/racoon.sock -ll ss isakmp")).unwrap();
        assert_eq!((read.detail, read.socket.as_deref()), (2, Some("/var/run/racoon.sock")));
        assert_eq!(command(&read.words), Ok(Command::Isakmp));
        assert_eq!(command(&words("ss esp")), Ok(Command::Show(Some(SaProto::Esp))));
        assert_eq!(command(&words("show-sa ipsec")), Ok(Command::Show(None)));
        assert_eq!(options(&words("-l -l ss isakmp --json")).unwrap().detail, 2);
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for (line, wanted) in [
            ("ss", "insufficient arguments"),
            ("ss esp4", "unknown protocol `esp4`"),
            ("ss esp now", "one word too many"),
            ("bogus", "Invalid command [bogus]"),
            ("vc 192.0.2.1", "vc is not supported yet"),
        ] {
            let error = command(&words(line)).unwrap_err();
            assert!(error.contains(wanted), "{line}: {error}");
        }
        assert!(options(&words("-z ss esp")).unwrap_err().contains("unknown option -z"));
        assert!(options(&words("-s")).unwrap_err().contains("needs a socket"));
    }
}
