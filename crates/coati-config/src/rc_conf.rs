//! rc.conf: the lines that matter to a router, read as the assignments they are; nothing is executed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Place, Remarks, Severity, Source, Span};

/// What rc.conf says.
#[derive(Clone, Debug, Default)]
pub struct RcConf {
    /// GRE tunnels.
    pub tunnels: Vec<GreTunnel>,
    /// Addresses of other interfaces.
    pub interfaces: Vec<Interface>,
    /// IPv6 addresses of interfaces and tunnels: name, address, length of the network's prefix in bits.
    pub addresses_v6: Vec<(String, Ipv6Addr, u8)>,
    /// Names of all interfaces, those without an address of their own too.
    pub names: Vec<String>,
    /// The next hop for everything else.
    pub default_router: Option<Ipv4Addr>,
    /// `ipsec_file`, when given.
    pub ipsec_file: Option<String>,
    /// `racoon_flags`, when given.
    pub racoon_flags: Option<String>,
    /// Whether `ipsec_enable` says yes.
    pub ipsec_enable: bool,
    /// Whether `gateway_enable` says yes.
    pub gateway_enable: bool,
    /// Whether `racoon_enable` says yes.
    pub racoon_enable: bool,
}

/// `ifconfig_gre0="A2 B2 netmask … tunnel A1 B1 up mtu …"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GreTunnel {
    /// Name of the interface.
    pub name: String,
    /// Inner address of this side.
    pub address: Ipv4Addr,
    /// Inner address of the other side.
    pub peer: Ipv4Addr,
    /// Length of the inner network's prefix in bits.
    pub prefix_len: u8,
    /// Outer address of this side.
    pub local: IpAddr,
    /// Outer address of the other side, of the same family.
    pub remote: IpAddr,
    /// Inner MTU in bytes, when given.
    pub mtu: Option<u32>,
    /// Key, when given.
    pub key: Option<u32>,
    /// Where it is written.
    pub place: Place,
}

/// `ifconfig_em0="inet … netmask …"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Name.
    pub name: String,
    /// Address.
    pub address: Ipv4Addr,
    /// Length of the network's prefix in bits.
    pub prefix_len: u8,
}

/// Reads the file.
pub fn parse(source: &Arc<Source>) -> (RcConf, Vec<Diagnostic>) {
    let mut conf = RcConf::default();
    let mut remarks = Remarks::new(source);
    let mut cloned: Vec<String> = Vec::new();
    let mut start = 0;
    for line in source.text.split('\n') {
        let span = Span { start, end: start + line.len() };
        start += line.len() + 1;
        let text = line.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        match assignment(text) {
            Some((name, value)) => {
                if let Err(error) = assign(&mut conf, &mut cloned, &mut remarks, name, value, span) {
                    remarks.list.push(error);
                }
            }
            None => remarks.list.push(
                remarks
                    .error(span, "this is not an assignment")
                    .help("rc.conf holds lines of the form name=\"value\"; Coati executes nothing"),
            ),
        }
    }
    for tunnel in &conf.tunnels {
        if !cloned.contains(&tunnel.name) {
            let message = format!("{} is configured, but cloned_interfaces does not name it", tunnel.name);
            let whole = remarks.source.beginning();
            remarks.warn(whole, message, format!("add cloned_interfaces=\"{}\"", tunnel.name));
        }
    }
    hints(&conf, &mut remarks);
    (conf, remarks.list)
}

/// Where rc(8) would leave the tunnel unprotected or not forwarding: the line to add.
fn hints(conf: &RcConf, remarks: &mut Remarks<'_>) {
    let mut note = |name: &str, message: &str, help: &str| {
        let source = remarks.source;
        let number = source.text.lines().position(|line| line.trim_start().starts_with(name));
        let span = source.line(number.map_or(1, |index| index + 1));
        remarks.list.push(Diagnostic::new(Severity::Note, source, span, message).help(help));
    };
    if conf.ipsec_file.is_some() && !conf.ipsec_enable {
        note(
            "ipsec_file",
            "rc(8) loads ipsec_file only with ipsec_enable; Coati loads it all the same",
            "add ipsec_enable=\"YES\" for rc(8)",
        );
    }
    if let Some(tunnel) = conf.tunnels.first()
        && !conf.gateway_enable
    {
        note(
            &format!("ifconfig_{}", tunnel.name),
            "without gateway_enable rc(8) would not forward between LAN and tunnel; Coati switches forwarding on",
            "add gateway_enable=\"YES\" for rc(8)",
        );
    }
}

fn assignment(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = text.split_once('=')?;
    let valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(valid) {
        return None;
    }
    for quote in ['"', '\''] {
        if let Some(inner) = rest.strip_prefix(quote) {
            let (value, tail) = inner.split_once(quote)?;
            let tail = tail.trim_start();
            return (tail.is_empty() || tail.starts_with('#')).then_some((name, value));
        }
    }
    let value = rest.split_whitespace().next().unwrap_or("");
    Some((name, value))
}

fn assign(
    conf: &mut RcConf,
    cloned: &mut Vec<String>,
    remarks: &mut Remarks<'_>,
    name: &str,
    value: &str,
    span: Span,
) -> Result<(), Diagnostic> {
    let yes = || matches!(value.to_ascii_lowercase().as_str(), "yes" | "true" | "on" | "1");
    match name {
        "cloned_interfaces" => cloned.extend(value.split_whitespace().map(str::to_owned)),
        "ipsec_enable" => conf.ipsec_enable = yes(),
        "gateway_enable" => conf.gateway_enable = yes(),
        "racoon_enable" => conf.racoon_enable = yes(),
        "ipsec_file" => conf.ipsec_file = Some(value.to_owned()),
        "racoon_flags" => conf.racoon_flags = Some(value.to_owned()),
        "defaultrouter" => conf.default_router = Some(address(remarks, span, value)?),
        _ => {
            if let Some(interface) =
                name.strip_prefix("ifconfig_").and_then(|name| name.strip_suffix("_ipv6"))
            {
                if let Some((address, prefix_len)) = ipv6(remarks, name, value, span)? {
                    conf.addresses_v6.push((interface.to_owned(), address, prefix_len));
                }
            } else if let Some(interface) = name.strip_prefix("ifconfig_") {
                conf.names.push(interface.to_owned());
                if interface.starts_with("gre") {
                    conf.tunnels.push(gre(remarks, interface, value, span)?);
                } else if let Some(found) = plain(remarks, interface, value, span)? {
                    conf.interfaces.push(found);
                }
            }
            // Everything else in rc.conf is for rc(8), not for us.
        }
    }
    Ok(())
}

fn address(remarks: &Remarks<'_>, span: Span, word: &str) -> Result<Ipv4Addr, Diagnostic> {
    word.parse().map_err(|_| remarks.error(span, format!("`{word}` is not an IPv4 address")))
}

fn any_address(remarks: &Remarks<'_>, span: Span, word: &str) -> Result<IpAddr, Diagnostic> {
    word.parse().map_err(|_| remarks.error(span, format!("`{word}` is not an IP address")))
}

fn prefix_of(remarks: &Remarks<'_>, span: Span, word: &str) -> Result<u8, Diagnostic> {
    let mask = match word.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => word.parse::<Ipv4Addr>().ok().map(u32::from),
    };
    let length = mask.filter(|mask| mask.leading_ones() + mask.trailing_zeros() == 32).map(u32::leading_ones);
    length.and_then(|length| u8::try_from(length).ok()).ok_or_else(|| {
        remarks
            .error(span, format!("`{word}` is not a netmask"))
            .help("write it as 255.255.255.252 or 0xfffffffc")
    })
}

fn gre(remarks: &mut Remarks<'_>, name: &str, value: &str, span: Span) -> Result<GreTunnel, Diagnostic> {
    let mut words = value.split_whitespace().peekable();
    let (mut inner, mut outer) = (Vec::new(), None);
    let (mut prefix_len, mut mtu, mut key) = (32, None, None);
    let missing = |what: &str| remarks.error(span, format!("ifconfig_{name}: {what}"));
    while let Some(word) = words.next() {
        let mut argument = || words.next().ok_or_else(|| missing(&format!("something must follow `{word}`")));
        match word {
            // `inet6` is what ifconfig(8) wants before outer addresses of IPv6.
            "inet" | "inet6" | "up" => {}
            // GRE instead of MOBILE, and an ordinary route lookup: what every if_gre since FreeBSD 11 does anyway.
            "link0" | "link1" | "-link1" => {}
            "-link0" => {
                return Err(missing("`-link0` asks for MOBILE encapsulation (IP protocol 55)")
                    .help("remove it: Coati speaks GRE (IP protocol 47), as every gre(4) since FreeBSD 11"));
            }
            "netmask" => prefix_len = prefix_of(remarks, span, argument()?)?,
            "tunnel" => {
                outer =
                    Some((any_address(remarks, span, argument()?)?, any_address(remarks, span, argument()?)?))
            }
            "mtu" => {
                let text = argument()?;
                let value = text.parse().ok().filter(|mtu| (576..=65_535).contains(mtu));
                mtu = Some(
                    value.ok_or_else(|| missing(&format!("`{text}` is not an MTU of 576 to 65535 bytes")))?,
                );
            }
            "grekey" => {
                let text = argument()?;
                let number = match text.strip_prefix("0x") {
                    Some(digits) => u32::from_str_radix(digits, 16).ok(),
                    None => text.parse().ok(),
                };
                key = Some(number.ok_or_else(|| missing(&format!("`{text}` is not a GRE key")))?);
            }
            word if word.starts_with(|c: char| c.is_ascii_digit()) => {
                inner.push(address(remarks, span, word)?)
            }
            word => {
                let allowed = ["inet", "inet6", "netmask", "link0", "link1", "tunnel", "up", "mtu", "grekey"];
                return Err(remarks.unknown(span, "word of ifconfig", word, &allowed));
            }
        }
    }
    let [mine, theirs] = inner[..] else {
        return Err(missing("two inner addresses are needed, ours and the other side's"));
    };
    let (local, remote) =
        outer.ok_or_else(|| missing("no outer addresses").help("add: tunnel OUR.ADDRESS THEIR.ADDRESS"))?;
    if local.is_ipv4() != remote.is_ipv4() {
        return Err(missing(
            "one outer address is IPv4, the other IPv6: no packet goes from one to the other",
        ));
    }
    if remote == theirs || local == mine {
        return Err(missing("the inner addresses are the outer ones, so the tunnel would carry itself"));
    }
    let place = remarks.source.place(span);
    Ok(GreTunnel {
        name: name.into(),
        address: mine,
        peer: theirs,
        prefix_len,
        local,
        remote,
        mtu,
        key,
        place,
    })
}

/// `ifconfig_gre0_ipv6="inet6 2001:db8::1 prefixlen 64"`, or with `/64` behind the address. What asks for no address of
/// its own (`inet6 accept_rtadv`) is for rc(8).
fn ipv6(
    remarks: &Remarks<'_>,
    name: &str,
    value: &str,
    span: Span,
) -> Result<Option<(Ipv6Addr, u8)>, Diagnostic> {
    let words: Vec<&str> = value.split_whitespace().collect();
    let Some(text) = words.iter().find(|word| word.contains(':')) else { return Ok(None) };
    let behind = words.iter().position(|word| *word == "prefixlen").and_then(|at| words.get(at + 1).copied());
    let (text, length) = text.split_once('/').map_or((*text, behind), |(text, length)| (text, Some(length)));
    let address =
        text.parse().map_err(|_| remarks.error(span, format!("{name}: `{text}` is not an IPv6 address")))?;
    let length = length.unwrap_or("64").parse().ok().filter(|length| *length <= 128);
    let wrong = || remarks.error(span, format!("{name}: a prefix length is a number from 0 to 128"));
    Ok(Some((address, length.ok_or_else(wrong)?)))
}

fn plain(
    remarks: &mut Remarks<'_>,
    name: &str,
    value: &str,
    span: Span,
) -> Result<Option<Interface>, Diagnostic> {
    let words: Vec<&str> = value.split_whitespace().collect();
    let Some(at) = words.iter().position(|word| *word == "inet") else { return Ok(None) };
    let Some(text) = words.get(at + 1) else {
        return Err(remarks.error(span, format!("ifconfig_{name}: an address must follow `inet`")));
    };
    if let Some((text, length)) = text.split_once('/') {
        let length = length.parse().ok().filter(|length| *length <= 32);
        let prefix_len =
            length.ok_or_else(|| remarks.error(span, "a prefix length is a number from 0 to 32"))?;
        return Ok(Some(Interface { name: name.into(), address: address(remarks, span, text)?, prefix_len }));
    }
    let prefix_len = match words.iter().position(|word| *word == "netmask").and_then(|at| words.get(at + 1)) {
        Some(mask) => prefix_of(remarks, span, mask)?,
        None => return Err(remarks.error(span, format!("ifconfig_{name}: no netmask"))),
    };
    Ok(Some(Interface { name: name.into(), address: address(remarks, span, text)?, prefix_len }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_line_of_the_how_to() {
        let source = Source::new(
            "rc.conf",
            "cloned_interfaces=\"gre0\"\nifconfig_gre0=\"10.0.0.1 10.0.0.2 netmask 0xfffffffc link0 link1 tunnel \
             192.0.2.1 198.51.100.1 up mtu 1400\"\nipsec_file=\"/usr/local/etc/racoon/setkey.conf\" # allows\n",
        );
        let (conf, remarks) = parse(&source);
        let tunnel = &conf.tunnels[0];
        assert_eq!((tunnel.name.as_str(), tunnel.prefix_len, tunnel.mtu), ("gre0", 30, Some(1400)));
        assert_eq!(tunnel.remote, IpAddr::from([198, 51, 100, 1]));
        assert!(remarks.iter().all(|remark| remark.severity == Severity::Note), "{remarks:?}");
        assert_eq!(remarks.len(), 2);
    }

    #[test]
    fn what_rc_8_would_not_do_is_said() {
        let line = "cloned_interfaces=\"gre0\"\nifconfig_gre0=\"10.0.0.1 10.0.0.2 link0 -link1 tunnel 1.1.1.1 2.2.2.2\"\nipsec_file=\"/etc/ipsec.conf\"\n";
        let said = |text: String| {
            let (conf, remarks) = parse(&Source::new("rc.conf", text));
            assert_eq!(conf.tunnels.len(), 1);
            remarks.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        let text = said(line.to_owned());
        assert!(text.contains("rc(8) loads ipsec_file only with ipsec_enable"), "{text}");
        assert!(text.contains("without gateway_enable rc(8) would not forward"), "{text}");
        assert_eq!(said(format!("{line}ipsec_enable=\"YES\"\ngateway_enable=\"YES\"\n")), "");
    }

    #[test]
    fn outer_addresses_may_be_ipv6() {
        let line = "ifconfig_gre0=\"inet 10.0.0.1 10.0.0.2 netmask 0xfffffffc inet6 tunnel 2001:db8:a::1 2001:db8:b::1\"";
        let (conf, _) = parse(&Source::new("rc.conf", line));
        let tunnel = &conf.tunnels[0];
        assert_eq!(
            (tunnel.local.to_string(), tunnel.remote.to_string()),
            ("2001:db8:a::1".into(), "2001:db8:b::1".into())
        );
    }

    #[test]
    fn ipv6_addresses_inside() {
        for (line, wanted) in [
            ("ifconfig_gre0_ipv6=\"inet6 fd00::1 prefixlen 126\"", Some(("gre0", "fd00::1", 126))),
            ("ifconfig_em0_ipv6=\"inet6 fd00::1/80 up\"", Some(("em0", "fd00::1", 80))),
            ("ifconfig_em0_ipv6=\"inet6 accept_rtadv\"", None),
        ] {
            let (conf, remarks) = parse(&Source::new("rc.conf", line));
            assert!(
                remarks.is_empty() && conf.tunnels.is_empty() && conf.interfaces.is_empty(),
                "{remarks:?}"
            );
            let wanted = wanted.map(|(name, text, length)| (name.to_owned(), text.parse().unwrap(), length));
            assert_eq!(conf.addresses_v6, Vec::from_iter(wanted));
        }
    }

    #[test]
    fn what_cannot_work_is_said() {
        for (line, wanted) in [
            ("ifconfig_gre0=\"10.0.0.1 10.0.0.2 -link0 tunnel 1.1.1.1 2.2.2.2\"", "MOBILE"),
            ("ifconfig_gre0=\"10.0.0.1 10.0.0.2 tunel 1.1.1.1 2.2.2.2\"", "did you mean `tunnel`"),
            ("ifconfig_gre0=\"10.0.0.1 10.0.0.2 tunnel 1.1.1.1 2001:db8::1\"", "the other IPv6"),
            ("ifconfig_gre0=\"10.0.0.1 10.0.0.2\"", "no outer addresses"),
            ("ifconfig_em0=\"inet 10.0.0.1 netmask 255.0.255.0\"", "not a netmask"),
            ("ifconfig_gre0_ipv6=\"inet6 fd00::1 prefixlen 129\"", "0 to 128"),
            ("ifconfig_gre0_ipv6=\"inet6 fd00::g\"", "not an IPv6 address"),
            ("rm -rf /", "not an assignment"),
        ] {
            let (_, remarks) = parse(&Source::new("rc.conf", line));
            assert!(remarks.iter().any(|r| r.to_string().contains(wanted)), "{line}: {remarks:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text(text in "(ifconfig_gre0=\")?\\PC{0,200}") {
            parse(&Source::new("rc.conf", text));
        }
    }
}
