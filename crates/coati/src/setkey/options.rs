//! The command line of setkey, in both dialects.

use clap::ValueEnum;
use coati_config::setkey::Dialect;

use crate::dataplane::{Dataplane, Wish};

/// What `-h` shows.
pub const USAGE: &str = "\
usage: setkey [-v] -c              commands from standard input; on a terminal with editing and history
       setkey [-nv] -f FILE        commands from a file (- is standard input); -n only checks it, for all data planes or
                                   for the one of --dataplane embedded | xfrm | pfkey
       setkey [-apv] -D            show the SAs (-a: dead ones too, -p: ports)
       setkey [-a] -l -D           a line for each SA, every second
       setkey [-Npv] -DP           show the policies (-N: none of sockets; there are none here)
       setkey [-v] -F | -FP        remove all SAs | all policies
       setkey [-H] -x | -xx        show what happens, until interrupted (-H: as bytes too, -xx: seconds since 1970)
       setkey FILE ...             show PF_KEY messages that were saved
       setkey -V | -h              the version | this text
Commands: add update delete deleteall get getspi flush dump spdadd spdupdate spddelete spdflush spddump, each ended by
`;`; `help;` shows their arguments. A file is checked whole before anything of it is done.
ipsec-tools': -r (as the RFCs have it: policies for what comes in are for what is forwarded too), -k (as Linux has it).
FreeBSD's: -g | -t shows policies of everywhere | of interfaces; -h with -x is -H.
Coati's: -s SOCKET names the daemon's socket, --json prints JSON, --commands prints commands that make what is shown,
--mask-keys hides keys, --dialect ipsec-tools | ipsec-tools-bsd | freebsd reads and prints as that setkey does.
Examples:
  setkey -f /usr/local/etc/racoon/setkey.conf
  setkey -n -f setkey.conf --dialect freebsd
  setkey -D --mask-keys
  setkey -DP --commands > setkey.conf
  echo 'spdadd 192.0.2.1 198.51.100.1 gre -P out ipsec esp/transport//unique;' | setkey -c";

/// What to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// Commands from standard input.
    Commands,
    /// Commands from this file.
    File(String),
    /// Show.
    Dump,
    /// Remove.
    Flush,
    /// Tell what happens.
    Monitor,
    /// The version.
    Version,
    /// The usage.
    Help,
    /// Show what these files have.
    Saved(Vec<String>),
    /// Nothing was asked for.
    #[default]
    None,
}

/// Which policies `-g` and `-t` show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those that are not bound to an interface.
    Global,
    /// Those that are.
    Interface,
}

/// The command line.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What to do.
    pub action: Action,
    /// With the policies, not with the SAs.
    pub policies: bool,
    /// Dead SAs too.
    pub all: bool,
    /// Every second, a line for each.
    pub forever: bool,
    /// Nothing is carried out.
    pub check_only: bool,
    /// Each message too.
    pub verbose: bool,
    /// The ports of addresses.
    pub ports: bool,
    /// Bytes too.
    pub hexdump: bool,
    /// Seconds since 1970.
    pub epoch: bool,
    /// As Linux has policies, with `fwd` apart.
    pub kernel_semantics: bool,
    /// Only these policies.
    pub scope: Option<Scope>,
    /// For programs.
    pub json: bool,
    /// As commands.
    pub commands: bool,
    /// Without keys.
    pub mask_keys: bool,
    /// The home that `-n` checks for; `None`: each.
    pub dataplane: Option<Dataplane>,
    /// Whose setkey this is.
    pub dialect: Dialect,
    /// The daemon's.
    pub socket: Option<String>,
}

impl Options {
    /// Reads them; an error is a sentence.
    pub fn parse(args: &[String]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut args = args.iter();
        // What -h is depends on the dialect, which may be said later.
        let (mut letters, mut files) = (String::new(), Vec::new());
        while let Some(arg) = args.next() {
            let mut value = |what: &str| args.next().cloned().ok_or(format!("{arg} needs {what}"));
            match arg.as_str() {
                "--json" => options.json = true,
                "--commands" => options.commands = true,
                "--mask-keys" => options.mask_keys = true,
                "--help" => options.act(Action::Help)?,
                "--dialect" => options.dialect = dialect(&value("a name")?)?,
                "--dataplane" => options.dataplane = dataplane(&value("a name")?)?,
                long if long.starts_with("--") => match long.split_once('=') {
                    Some(("--dialect", name)) => options.dialect = dialect(name)?,
                    Some(("--dataplane", name)) => options.dataplane = dataplane(name)?,
                    _ => return Err(format!("unknown option {long}")),
                },
                _ => match arg.strip_prefix('-').filter(|letters| !letters.is_empty()) {
                    None => files.push(arg.clone()),
                    Some(cluster) => {
                        for (at, letter) in cluster.char_indices() {
                            let rest = cluster.get(at + letter.len_utf8()..).unwrap_or("");
                            match letter {
                                'f' | 's' => {
                                    let what = if letter == 'f' { "a file" } else { "a socket" };
                                    let value = if rest.is_empty() { value(what)? } else { rest.to_owned() };
                                    match letter {
                                        'f' => options.act(Action::File(value))?,
                                        _ => options.socket = Some(value),
                                    }
                                    break;
                                }
                                _ => letters.push(letter),
                            }
                        }
                    }
                },
            }
        }
        let mut times_x = 0;
        for letter in letters.chars() {
            match letter {
                'c' => options.act(Action::Commands)?,
                'D' => options.act(Action::Dump)?,
                'F' => options.act(Action::Flush)?,
                'x' => {
                    options.act(Action::Monitor)?;
                    times_x += 1;
                }
                'V' => options.act(Action::Version)?,
                'h' if options.dialect == Dialect::FreeBsd && letters.contains('x') => options.hexdump = true,
                'h' | '?' => options.act(Action::Help)?,
                'P' => options.policies = true,
                'a' => options.all = true,
                'l' => options.forever = true,
                'n' => options.check_only = true,
                'v' => options.verbose = true,
                'p' => options.ports = true,
                'H' => options.hexdump = true,
                // There are no policies of sockets.
                'N' => {}
                'r' => options.kernel_semantics = false,
                'k' => options.kernel_semantics = true,
                'g' | 't' if options.dialect != Dialect::FreeBsd => {
                    return Err(format!("-{letter} is of FreeBSD's setkey: add --dialect freebsd"));
                }
                'g' => options.scope = Some(Scope::Global),
                't' => options.scope = Some(Scope::Interface),
                _ => return Err(format!("unknown option -{letter}")),
            }
        }
        options.epoch = times_x > 1;
        if !files.is_empty() {
            options.act(Action::Saved(files))?;
        }
        if options.forever && (options.action != Action::Dump || options.policies) {
            return Err("-l goes with -D".to_owned());
        }
        if options.dataplane.is_some() && !options.check_only {
            return Err("--dataplane goes with -n: else the daemon has chosen".to_owned());
        }
        Ok(options)
    }

    fn act(&mut self, action: Action) -> Result<(), String> {
        if let (Action::Saved(files), Action::Commands | Action::File(_) | Action::Dump) =
            (&action, &self.action)
        {
            let first = files.first().map_or("", String::as_str);
            return Err(format!("`{first}` is not understood"));
        }
        // Help and version go before all else.
        let is_asked = |action: &Action| matches!(action, Action::Help | Action::Version);
        match &self.action {
            Action::None => self.action = action,
            same if *same == action || is_asked(same) => {}
            _ if is_asked(&action) => self.action = action,
            _ => return Err("of -c, -f, -D, -F and -x one is possible".to_owned()),
        }
        Ok(())
    }
}

fn dialect(name: &str) -> Result<Dialect, String> {
    Dialect::from_name(name).ok_or_else(|| {
        let names: Vec<&str> = Dialect::NAMES.iter().map(|(name, _)| *name).collect();
        format!("unknown dialect `{name}`: {}", names.join(", "))
    })
}

fn dataplane(name: &str) -> Result<Option<Dataplane>, String> {
    Wish::from_str(name, false).map(Wish::named).map_err(|_| {
        let names: Vec<&str> = Dataplane::ALL.iter().map(|home| home.name()).collect();
        format!("unknown data plane `{name}`: {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Options, String> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(&args)
    }

    #[test]
    fn what_is_asked_for() {
        for (line, action) in [
            ("-c", Action::Commands),
            ("-f a.conf", Action::File("a.conf".into())),
            ("-fa.conf", Action::File("a.conf".into())),
            ("-nvf a.conf", Action::File("a.conf".into())),
            ("-f -", Action::File("-".into())),
            ("-aD", Action::Dump),
            ("-DP", Action::Dump),
            ("-PF", Action::Flush),
            ("-Hx", Action::Monitor),
            ("-D -h", Action::Help),
            ("-?", Action::Help),
            ("-V", Action::Version),
            ("saved more", Action::Saved(vec!["saved".into(), "more".into()])),
            ("", Action::None),
        ] {
            assert_eq!(read(line).unwrap().action, action, "{line}");
        }
    }

    #[test]
    fn letters_and_words() {
        let options = read("-alpvD --mask-keys -s /tmp/socket --dialect=freebsd").unwrap();
        assert!(options.all && options.forever && options.ports && options.verbose && options.mask_keys);
        assert_eq!((options.dialect, options.socket.as_deref()), (Dialect::FreeBsd, Some("/tmp/socket")));
        assert!(read("-xx").unwrap().epoch && read("-x -x").unwrap().epoch && !read("-x").unwrap().epoch);
        assert!(read("-k -c").unwrap().kernel_semantics && !read("-r -c").unwrap().kernel_semantics);
        assert_eq!(read("-gDP --dialect freebsd").unwrap().scope, Some(Scope::Global));
        assert_eq!(read("--dialect freebsd -tDP").unwrap().scope, Some(Scope::Interface));
        // FreeBSD's -h beside -x is ipsec-tools' -H, wherever the dialect is said.
        for line in ["-hx --dialect freebsd", "-x -h --dialect freebsd"] {
            let options = read(line).unwrap();
            assert!(options.hexdump && options.action == Action::Monitor, "{line}");
        }
    }

    #[test]
    fn what_makes_no_sense() {
        for (line, wanted) in [
            ("-Z", "unknown option -Z"),
            ("--jsn", "unknown option --jsn"),
            ("-f", "-f needs a file"),
            ("-D -s", "-s needs a socket"),
            ("-cD", "one is possible"),
            ("-f a.conf -x", "one is possible"),
            ("-D saved", "`saved` is not understood"),
            ("-g -DP --dialect ipsec-tools", "--dialect freebsd"),
            ("--dialect bsd", "unknown dialect `bsd`: ipsec-tools, ipsec-tools-bsd, freebsd"),
            ("-nf a.conf --dataplane kernel", "unknown data plane `kernel`: embedded, xfrm, pfkey"),
            ("-f a.conf --dataplane=xfrm", "--dataplane goes with -n"),
            ("-lx", "-l goes with -D"),
            ("-lDP", "-l goes with -D"),
        ] {
            let error = read(line).unwrap_err();
            assert!(error.contains(wanted), "{line}: {error}");
        }
    }
}
