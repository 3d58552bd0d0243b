//! racoonctl(8) on a running Coati: its arguments, its tables, its exit codes. The SAs of the data plane are printed
//! by `setkey`'s own dump, as racoonctl does it too.

mod command;
mod password;
mod requests;
mod tables;

use std::process::ExitCode;

const USAGE: &str = "\
usage: racoonctl [-d] [-l [-l]] [-s SOCKET] COMMAND
  reload-config | rc                         read the files again; SAs whose settings are the same go on
  show-schedule | sc                         the timers of IKE
  show-sa | ss   isakmp|esp|ah|ipsec         the SAs of IKE | of the data plane
  flush-sa | fs  isakmp|esp|ah|ipsec         remove them; traffic makes new ones
  delete-sa | ds SA                          remove those between two addresses, and tell the peer
  establish-sa | es [-u LOGIN] [-n NAME] [-w] SA   negotiate now; -w waits for the outcome
  vpn-connect | vc [-u LOGIN] GATEWAY        establish-sa -w isakmp from here to GATEWAY
  vpn-disconnect | vd GATEWAY                remove all that there is with GATEWAY
  show-event | se                            print what happens, until interrupted; -l says why
  get-cert | gc [inet|inet6] SRC DST         the peer's certificate (DER) to standard output
  logout-user | lu LOGIN                     remove what this user of XAUTH has
  status | st [-v] [-f text|json]            the chain at a glance, as `coati status` shows it; -v adds the peers
SA:
  isakmp inet|inet6 SRC DST
  esp|ah inet|inet6 SRC[/BITS[[PORT]]] DST[/BITS[[PORT]]] any|icmp|icmp6|tcp|udp|gre|NUMBER
Options:
  -l             state, side, version, exchange, number of phase 2 SAs; twice: the source address too
  -s SOCKET      the daemon's socket, where it is not found by itself
  -d             print the requests too
Coati's: --json prints JSON, --mask-keys hides keys, --help prints this text.
Examples:
  racoonctl -ll ss isakmp
  racoonctl ss esp
  racoonctl es -w esp inet 192.0.2.1 198.51.100.1 gre
  racoonctl --json ss isakmp";

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
    let words: Vec<&str> = options.words.iter().map(String::as_str).collect();
    let result = command::parse(&words)
        .map_err(std::io::Error::other)
        .and_then(|command| requests::carry_out(&options, command));
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
                Some(letters) => flags(letters, &mut options, &mut args)?,
            },
        }
    }
    Ok(options)
}

/// Letters behind one dash, as getopt(3) takes them: `-lls SOCKET`, `-sSOCKET`.
fn flags<'a>(
    letters: &str,
    options: &mut Options,
    rest: &mut impl Iterator<Item = &'a String>,
) -> Result<(), String> {
    for (at, letter) in letters.char_indices() {
        match letter {
            'l' => options.detail += 1,
            'd' => options.debug = true,
            'h' => options.help = true,
            's' => {
                let attached = letters.get(at + 1..).filter(|text| !text.is_empty()).map(str::to_owned);
                let socket = attached.or_else(|| rest.next().cloned());
                options.socket = Some(socket.ok_or("-s needs a socket")?);
                return Ok(());
            }
            _ => return Err(format!("unknown option -{letter}")),
        }
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
        assert_eq!(read.words, ["ss", "isakmp"]);
        assert_eq!(options(&words("-l -l ss isakmp --json")).unwrap().detail, 2);
        assert_eq!(options(&words("-ls/run/x ss esp")).unwrap().socket.as_deref(), Some("/run/x"));
        // Letters behind the command are the command's.
        assert_eq!(options(&words("es -w isakmp")).unwrap().words, ["es", "-w", "isakmp"]);
    }

    #[test]
    fn what_is_not_understood_is_said() {
        assert!(options(&words("-z ss esp")).unwrap_err().contains("unknown option -z"));
        assert!(options(&words("-s")).unwrap_err().contains("needs a socket"));
    }
}
