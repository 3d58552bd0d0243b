//! The words of a command line as what is wanted.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use coati_sadb::{Port, Prefix, SaProto, Selector, Upper};

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `reload-config`.
    Reload,
    /// `show-schedule`.
    Schedule,
    /// `show-sa isakmp`.
    Isakmp,
    /// `show-sa` of the data plane; all protocols or one.
    Show(Option<SaProto>),
    /// `flush-sa isakmp`.
    FlushIsakmp,
    /// `flush-sa` of the data plane.
    Flush(Option<SaProto>),
    /// `delete-sa`.
    Delete(Target),
    /// `establish-sa`.
    Establish {
        /// What.
        target: Target,
        /// `-u`.
        login: Option<String>,
        /// `-n`.
        section: Option<String>,
        /// `-w`.
        wait: bool,
    },
    /// `vpn-connect`.
    Connect {
        /// With whom.
        gateway: IpAddr,
        /// `-u`.
        login: Option<String>,
    },
    /// `vpn-disconnect`.
    Disconnect(IpAddr),
    /// `show-event`.
    Events,
    /// `get-cert`.
    Certificate {
        /// Our end.
        local: SocketAddr,
        /// The peer's.
        remote: SocketAddr,
    },
    /// `logout-user`.
    Logout(String),
    /// `status`.
    Status {
        /// `-v`.
        verbose: bool,
        /// `-f json`.
        json: bool,
    },
}

/// Between whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// An ISAKMP SA.
    Isakmp {
        /// Our end; port 0 is any.
        local: SocketAddr,
        /// The peer's.
        remote: SocketAddr,
    },
    /// The SA pair of a policy.
    Pair(SaProto, Selector),
}

/// Long and short names.
const NAMES: [(&str, &str); 12] = [
    ("reload-config", "rc"),
    ("show-schedule", "sc"),
    ("show-sa", "ss"),
    ("flush-sa", "fs"),
    ("delete-sa", "ds"),
    ("establish-sa", "es"),
    ("vpn-connect", "vc"),
    ("vpn-disconnect", "vd"),
    ("show-event", "se"),
    ("get-cert", "gc"),
    ("logout-user", "lu"),
    ("status", "st"),
];

/// Longest login that racoon takes.
const MAX_LOGIN: usize = 127;

/// Reads the words of a command.
pub fn parse(words: &[&str]) -> Result<Command, String> {
    let [word, rest @ ..] = words else { return Err("insufficient arguments".to_owned()) };
    let found = NAMES.iter().find(|(long, short)| word == long || word == short);
    let Some((name, _)) = found else {
        let names: Vec<&str> = NAMES.iter().map(|(long, _)| *long).collect();
        return Err(format!("Invalid command [{word}]; there are {}", names.join(", ")));
    };
    match (*name, rest) {
        ("reload-config", []) => Ok(Command::Reload),
        ("show-schedule", []) => Ok(Command::Schedule),
        ("show-event", []) => Ok(Command::Events),
        ("show-sa", ["isakmp"]) => Ok(Command::Isakmp),
        ("show-sa", [name]) => proto(name).map(Command::Show),
        ("flush-sa", ["isakmp"]) => Ok(Command::FlushIsakmp),
        ("flush-sa", [name]) => proto(name).map(Command::Flush),
        ("show-sa" | "flush-sa", []) => {
            Err("insufficient arguments: name isakmp, esp, ah or ipsec".to_owned())
        }
        ("delete-sa", words) => target(words).map(Command::Delete),
        ("establish-sa", words) => establish(words),
        ("vpn-connect", words) => match options(words)? {
            (Flags { login, section: None, wait: false }, [gateway]) => {
                Ok(Command::Connect { gateway: resolve(gateway)?, login })
            }
            (_, []) => Err("VPN gateway required".to_owned()),
            (_, _) => Err("vpn-connect takes [-u LOGIN] and a gateway".to_owned()),
        },
        ("vpn-disconnect", [gateway]) => resolve(gateway).map(Command::Disconnect),
        ("vpn-disconnect", []) => Err("VPN gateway required".to_owned()),
        ("get-cert", ["isakmp", words @ ..] | words) => match target(&[&["isakmp"], words].concat())? {
            Target::Isakmp { local, remote } => Ok(Command::Certificate { local, remote }),
            Target::Pair(..) => Err("only ISAKMP SAs have certificates".to_owned()),
        },
        ("logout-user", []) => Err("insufficient arguments: name the user".to_owned()),
        ("logout-user", [login]) if login.is_empty() || login.len() > MAX_LOGIN => {
            Err(format!("bad login: 1 to {MAX_LOGIN} characters are allowed"))
        }
        ("logout-user", [login]) => Ok(Command::Logout((*login).to_owned())),
        ("status", words) => status(words),
        (_, [extra]) | (_, [_, extra, ..]) => Err(format!("`{extra}` is one word too many")),
        (_, []) => Err("insufficient arguments".to_owned()),
    }
}

/// The protocol of a name; `None` is all of them.
fn proto(name: &str) -> Result<Option<SaProto>, String> {
    match name {
        "esp" => Ok(Some(SaProto::Esp)),
        "ah" => Ok(Some(SaProto::Ah)),
        "ipsec" => Ok(None),
        _ => Err(format!("unknown protocol {name}: it is isakmp, esp, ah or ipsec")),
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Flags {
    login: Option<String>,
    section: Option<String>,
    wait: bool,
}

/// `-u`, `-n` and `-w` in any order, and what follows them.
fn options<'a, 'b>(mut words: &'a [&'b str]) -> Result<(Flags, &'a [&'b str]), String> {
    let mut flags = Flags::default();
    loop {
        words = match words {
            ["-u", login, rest @ ..] => {
                flags.login = Some((*login).to_owned());
                rest
            }
            ["-n", section, rest @ ..] => {
                flags.section = Some((*section).to_owned());
                rest
            }
            ["-w", rest @ ..] => {
                flags.wait = true;
                rest
            }
            ["-u" | "-n"] => return Err(format!("{} requires an argument", words.concat())),
            rest => return Ok((flags, rest)),
        };
    }
}

fn establish(words: &[&str]) -> Result<Command, String> {
    let (Flags { login, section, wait }, words) = options(words)?;
    let target = target(words)?;
    if matches!(target, Target::Pair(..)) && (login.is_some() || section.is_some()) {
        return Err("-u and -n are for isakmp".to_owned());
    }
    Ok(Command::Establish { target, login, section, wait })
}

fn status(mut words: &[&str]) -> Result<Command, String> {
    let (mut verbose, mut json) = (false, false);
    loop {
        words = match words {
            [] => return Ok(Command::Status { verbose, json }),
            ["-v", rest @ ..] => {
                verbose = true;
                rest
            }
            ["-f", format @ ("text" | "json"), rest @ ..] => {
                json = *format == "json";
                rest
            }
            ["-f", ..] => return Err("-f needs text or json".to_owned()),
            [other, ..] => return Err(format!("status takes -v and -f text|json, not `{other}`")),
        };
    }
}

/// `isakmp inet SRC DST`, or `esp inet SRC DST UPPER`. The family may be left out: the addresses say it.
fn target(words: &[&str]) -> Result<Target, String> {
    const WANTED: &str = "isakmp inet SRC DST, or esp inet SRC/BITS DST/BITS any|icmp|tcp|udp|gre";
    let [name, rest @ ..] = words else { return Err(format!("insufficient arguments: give {WANTED}")) };
    let (family, rest) = match rest {
        [family @ ("inet" | "inet6"), rest @ ..] => (Some(*family), rest),
        rest => (None, rest),
    };
    let (source, destination, upper) = match rest {
        [source, destination] => (*source, *destination, None),
        [source, destination, upper] => (*source, *destination, Some(*upper)),
        _ => return Err(format!("insufficient arguments: give {WANTED}")),
    };
    let (source, destination) = (end(source)?, end(destination)?);
    let v4 = source.prefix.address.is_ipv4();
    if v4 != destination.prefix.address.is_ipv4() {
        return Err("one address is IPv4 and the other IPv6".to_owned());
    }
    if family.is_some_and(|family| (family == "inet") != v4) {
        return Err(format!("the addresses are not of the family {}", family.unwrap_or_default()));
    }
    match *name {
        "isakmp" => {
            let end = |end: &End| SocketAddr::new(end.prefix.address, end.port.unwrap_or(0));
            Ok(Target::Isakmp { local: end(&source), remote: end(&destination) })
        }
        "esp" | "ah" => {
            let proto = if *name == "ah" { SaProto::Ah } else { SaProto::Esp };
            let port = |end: &End| end.port.filter(|port| *port != 0).map_or(Port::Any, Port::Is);
            Ok(Target::Pair(
                proto,
                Selector {
                    source: source.prefix,
                    source_port: port(&source),
                    destination: destination.prefix,
                    destination_port: port(&destination),
                    upper: upper.map_or(Ok(Upper::Any), upper_of)?,
                },
            ))
        }
        other => Err(format!("unknown protocol {other}: give {WANTED}")),
    }
}

#[derive(Debug)]
struct End {
    prefix: Prefix,
    port: Option<u16>,
}

/// `192.0.2.1`, `192.0.2.0/24`, `192.0.2.1/32[500]`, `192.0.2.1[500]`; also with a second slash before the port.
fn end(text: &str) -> Result<End, String> {
    let wrong = || format!("`{text}` is no ADDRESS, ADDRESS/BITS or ADDRESS/BITS[PORT]");
    let (prefix, port) = match text.strip_suffix(']').and_then(|text| text.split_once('[')) {
        Some((prefix, port)) => (prefix, Some(port)),
        None => match text.match_indices('/').nth(1) {
            Some((at, _)) => (text.get(..at).unwrap_or(""), text.get(at + 1..)),
            None => (text, None),
        },
    };
    let port = match port {
        None | Some("any") => None,
        Some(port) => Some(port.parse().map_err(|_| wrong())?),
    };
    Ok(End { prefix: prefix.parse().map_err(|error| format!("{}: {error}", wrong()))?, port })
}

fn upper_of(name: &str) -> Result<Upper, String> {
    Ok(Upper::Proto(match name {
        "any" => return Ok(Upper::Any),
        "icmp" => 1,
        "tcp" => 6,
        "udp" => 17,
        "gre" => 47,
        "icmp6" | "ipv6-icmp" => 58,
        number => number.parse().map_err(|_| {
            format!("unknown upper protocol {number}: it is any, icmp, icmp6, tcp, udp, gre or a number")
        })?,
    }))
}

fn resolve(gateway: &str) -> Result<IpAddr, String> {
    if let Ok(address) = gateway.parse() {
        return Ok(address);
    }
    let mut found = (gateway, 500).to_socket_addrs().map_err(|error| format!("{gateway}: {error}"))?;
    found.next().map(|address| address.ip()).ok_or_else(|| format!("{gateway}: it has no address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Command, String> {
        parse(&line.split_whitespace().collect::<Vec<_>>())
    }

    fn pair(source: &str, destination: &str, upper: Upper) -> Target {
        Target::Pair(
            SaProto::Esp,
            Selector {
                source: source.parse().unwrap(),
                source_port: Port::Any,
                destination: destination.parse().unwrap(),
                destination_port: Port::Any,
                upper,
            },
        )
    }

    #[test]
    fn every_command_by_both_names() {
        let isakmp = Target::Isakmp {
            local: "192.0.2.1:0".parse().unwrap(),
            remote: "198.51.100.1:0".parse().unwrap(),
        };
        let gre = pair("192.0.2.1", "198.51.100.1", Upper::GRE);
        let (a, b) = ("192.0.2.1", "198.51.100.1");
        let peer: IpAddr = b.parse().unwrap();
        let establish = |target: &Target, wait| Command::Establish {
            target: target.clone(),
            login: None,
            section: None,
            wait,
        };
        for (long, short, arguments, wanted) in [
            ("reload-config", "rc", String::new(), Command::Reload),
            ("show-schedule", "sc", String::new(), Command::Schedule),
            ("show-event", "se", String::new(), Command::Events),
            ("show-sa", "ss", "isakmp".into(), Command::Isakmp),
            ("show-sa", "ss", "esp".into(), Command::Show(Some(SaProto::Esp))),
            ("show-sa", "ss", "ah".into(), Command::Show(Some(SaProto::Ah))),
            ("show-sa", "ss", "ipsec".into(), Command::Show(None)),
            ("flush-sa", "fs", "isakmp".into(), Command::FlushIsakmp),
            ("flush-sa", "fs", "esp".into(), Command::Flush(Some(SaProto::Esp))),
            ("delete-sa", "ds", format!("isakmp inet {a} {b}"), Command::Delete(isakmp.clone())),
            ("delete-sa", "ds", format!("esp inet {a} {b} gre"), Command::Delete(gre.clone())),
            ("establish-sa", "es", format!("isakmp inet {a} {b}"), establish(&isakmp, false)),
            ("establish-sa", "es", format!("-w esp inet {a}/32 {b}/32 gre"), establish(&gre, true)),
            ("vpn-connect", "vc", b.into(), Command::Connect { gateway: peer, login: None }),
            (
                "vpn-connect",
                "vc",
                format!("-u joe {b}"),
                Command::Connect { gateway: peer, login: Some("joe".into()) },
            ),
            ("vpn-disconnect", "vd", b.into(), Command::Disconnect(peer)),
            ("logout-user", "lu", "joe".into(), Command::Logout("joe".into())),
            ("status", "st", "-v -f json".into(), Command::Status { verbose: true, json: true }),
            ("status", "st", String::new(), Command::Status { verbose: false, json: false }),
        ] {
            for name in [long, short] {
                assert_eq!(read(&format!("{name} {arguments}")).as_ref(), Ok(&wanted), "{name} {arguments}");
            }
        }
        let certificate = read(&format!("gc inet {a} {b}")).unwrap();
        assert!(matches!(certificate, Command::Certificate { .. }));
        let named = read(&format!("es -u joe -n \"home\" -w isakmp inet {a} {b}")).unwrap();
        assert!(matches!(named, Command::Establish { login: Some(_), section: Some(_), wait: true, .. }));
    }

    #[test]
    fn addresses_in_all_forms() {
        for text in ["10.0.0.0/8[80]", "10.0.0.0/8/80"] {
            let end = end(text).unwrap();
            assert_eq!((end.prefix, end.port), ("10.0.0.0/8".parse().unwrap(), Some(80)));
        }
        assert_eq!(end("192.0.2.1[4500]").unwrap().port, Some(4500));
        assert_eq!(end("2001:db8::/64[any]").unwrap().port, None);
        for wrong in ["", "host", "10.0.0.0/33", "10.0.0.1[", "10.0.0.1[70000]", "10.0.0.0/8/x"] {
            assert!(end(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for (line, wanted) in [
            ("ss", "insufficient arguments"),
            ("ss esp4", "unknown protocol esp4"),
            ("ss esp now", "`now` is one word too many"),
            ("rc now", "`now` is one word too many"),
            ("bogus", "Invalid command [bogus]"),
            ("vc", "VPN gateway required"),
            ("vd", "VPN gateway required"),
            ("es -u", "-u requires an argument"),
            ("es -w", "insufficient arguments"),
            ("ds esp inet 192.0.2.1 2001:db8::1 gre", "one address is IPv4"),
            ("ds esp inet6 192.0.2.1 192.0.2.2 gre", "not of the family inet6"),
            ("ds esp inet 192.0.2.1 192.0.2.2 grr", "unknown upper protocol grr"),
            ("es -u joe esp inet 192.0.2.1 192.0.2.2 gre", "are for isakmp"),
            ("ds ipsec inet 192.0.2.1 192.0.2.2", "unknown protocol ipsec"),
            ("st -f xml", "-f needs text or json"),
            ("lu", "name the user"),
        ] {
            let error = read(line).unwrap_err();
            assert!(error.contains(wanted), "{line}: {error}");
        }
    }
}
