//! Which packets a policy is about, and the hosts of SAs: addresses, networks, names, ports, protocols above IP.

use std::net::{IpAddr, Ipv4Addr};

use coati_sadb::{Port, Prefix, Selector, Upper};

use super::Parser;
use super::names::{GRE, ICMP, ICMP6, has_ports, has_types, protocol_names, upper_name};
use crate::diagnostic::{Diagnostic, Span, nearest};
use crate::lexer::Kind;

/// Addresses of one host that a command is carried out for.
const MAX_ADDRESSES: usize = 16;

/// `-4`, `-6`, `-n` before the addresses.
#[derive(Clone, Copy, Default)]
pub(super) struct Lookup {
    /// IPv4 only (true) or IPv6 only.
    is_ipv4: Option<bool>,
    /// No names.
    numeric: bool,
}

/// A host as an SA has it.
pub(super) struct Host {
    pub(super) addresses: Vec<IpAddr>,
    /// 0 when none is written.
    pub(super) port: u16,
    pub(super) span: Span,
}

/// A network as it is written.
struct Range<'a> {
    name: &'a str,
    addresses: Vec<IpAddr>,
    length: Option<(&'a str, Span)>,
    port: PortWord<'a>,
    /// Of the name.
    span: Span,
}

/// The word in brackets behind an address; what it means depends on the protocol, which comes later.
#[derive(Clone, Copy)]
struct PortWord<'a>(Option<(&'a str, Span)>);

impl<'a> Parser<'a> {
    /// The options before the addresses, in one word or in several.
    pub(super) fn lookup(&mut self) -> Lookup {
        let mut lookup = Lookup::default();
        while let Some(Kind::Word(word)) = self.cursor.peek()
            && word.len() > 1
            && word.strip_prefix('-').is_some_and(|rest| rest.chars().all(|c| "46n".contains(c)))
        {
            for letter in word.chars() {
                match letter {
                    '4' => lookup.is_ipv4 = Some(true),
                    '6' => lookup.is_ipv4 = Some(false),
                    'n' => lookup.numeric = true,
                    _ => {}
                }
            }
            self.cursor.next();
        }
        lookup
    }

    /// `ADDRESS[port]` or a name.
    pub(super) fn host(&mut self, lookup: Lookup) -> Result<Host, Diagnostic> {
        let (word, span) = self.cursor.word("an address")?;
        let addresses = self.addresses(word, span, lookup)?;
        let port = match self.port_word()?.0 {
            None | Some(("any", _)) => 0,
            Some((word, span)) => self.port(word, span, None)?,
        };
        Ok(Host { addresses, port, span })
    }

    /// The addresses of one family that `source` and `destination` have together.
    pub(super) fn pairs(
        &self,
        source: &Host,
        destination: &Host,
    ) -> Result<Vec<(IpAddr, IpAddr)>, Diagnostic> {
        let pairs: Vec<(IpAddr, IpAddr)> = source
            .addresses
            .iter()
            .flat_map(|from| destination.addresses.iter().map(|to| (*from, *to)))
            .filter(|(from, to)| from.is_ipv4() == to.is_ipv4())
            .collect();
        if pairs.is_empty() {
            return Err(self.different_families(destination.span));
        }
        Ok(pairs)
    }

    fn different_families(&self, span: Span) -> Diagnostic {
        self.cursor.remarks.error(span, "source and destination are of different families")
    }

    fn addresses(&self, word: &str, span: Span, lookup: Lookup) -> Result<Vec<IpAddr>, Diagnostic> {
        let error = |message: String| self.cursor.remarks.error(span, message);
        let family = |is_ipv4| if is_ipv4 { "IPv4" } else { "IPv6" };
        if let Ok(address) = word.parse::<IpAddr>() {
            return match lookup.is_ipv4 {
                Some(wanted) if wanted != address.is_ipv4() => {
                    let message = format!("{address} is not an address of {}", family(wanted));
                    let option = if wanted { "-4" } else { "-6" };
                    Err(error(message).help(format!("leave {option} out")))
                }
                _ => Ok(vec![address]),
            };
        }
        let no_address = || error(format!("`{word}` is not an IP address"));
        if let Some((_, zone)) = word.split_once('%') {
            return Err(no_address().help(format!("leave the interface out: %{zone}")));
        }
        let sign = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let is_name = word.chars().all(sign)
            && !word.starts_with('-')
            && word.contains(|c: char| c.is_ascii_alphabetic());
        if !is_name {
            return Err(no_address());
        }
        if lookup.numeric {
            return Err(no_address().help("-n wants numbers"));
        }
        let Some(resolve) = self.reading.names.addresses else {
            return Err(no_address().help("names are not looked up"));
        };
        let mut addresses = Vec::new();
        for address in resolve(word) {
            let fits = lookup.is_ipv4.is_none_or(|wanted| wanted == address.is_ipv4());
            if fits && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        match addresses.len() {
            0 => {
                let kind = lookup.is_ipv4.map_or(String::new(), |wanted| format!(" of {}", family(wanted)));
                Err(error(format!("`{word}` has no address{kind}"))
                    .help("correct the name, or write the address itself"))
            }
            1..=MAX_ADDRESSES => Ok(addresses),
            count => Err(error(format!("`{word}` has {count} addresses, more than {MAX_ADDRESSES}"))
                .help("write the addresses that are meant")),
        }
    }

    fn port_word(&mut self) -> Result<PortWord<'a>, Diagnostic> {
        if !self.cursor.accept('[') {
            return Ok(PortWord(None));
        }
        let word = self.cursor.word("a port")?;
        if !self.cursor.accept(']') {
            let error = self.cursor.remarks.error(word.1, "the bracket behind this port is missing");
            return Err(error.help(format!("write [{}]", word.0)));
        }
        Ok(PortWord(Some(word)))
    }

    /// A number, or the name of a service.
    fn port(&self, word: &str, span: Span, protocol: Option<u8>) -> Result<u16, Diagnostic> {
        let number = word.parse().ok().filter(|_| !word.starts_with('+'));
        let port = number.or_else(|| self.reading.names.service(word, protocol));
        port.ok_or_else(|| {
            let error = self.cursor.remarks.error(span, format!("`{word}` is not a port"));
            error.help("0 to 65535, any, or the name of a service in /etc/services")
        })
    }

    /// `ADDRESS[/LENGTH][[PORT]]`, with or without blanks between.
    fn range(&mut self, lookup: Lookup) -> Result<Range<'a>, Diagnostic> {
        let (word, span) = self.cursor.word("an address or network")?;
        let (name, length) = match word.split_once('/') {
            Some((name, length)) => (name, Some(length)),
            None => (word, None),
        };
        let length = match (length, self.cursor.peek()) {
            (Some(length), _) if !length.is_empty() => Some((length, span)),
            (Some(_), _) => Some(self.cursor.word("a prefix length")?),
            (None, Some(Kind::Word("/"))) => {
                self.cursor.next();
                Some(self.cursor.word("a prefix length")?)
            }
            (None, Some(Kind::Word(next))) if next.starts_with('/') => {
                let span = self.cursor.span();
                self.cursor.next();
                Some((next.get(1..).unwrap_or(""), span))
            }
            (None, _) => None,
        };
        let name_span = Span { start: span.start, end: span.start + name.len() };
        let (name, name_span) = if name.is_empty() { (word, span) } else { (name, name_span) };
        let addresses = self.addresses(name, name_span, lookup)?;
        Ok(Range { name, addresses, length, port: self.port_word()?, span: name_span })
    }

    /// The network of a range, whose address has to be of the family of the other range.
    fn prefix(&self, range: &Range<'a>, other: &Range<'a>) -> Result<Prefix, Diagnostic> {
        let fits = |address: &&IpAddr| other.addresses.iter().any(|it| it.is_ipv4() == address.is_ipv4());
        let fitting: Vec<&IpAddr> = range.addresses.iter().filter(fits).collect();
        let [address] = fitting.as_slice() else {
            let list: Vec<String> = fitting.iter().map(ToString::to_string).collect();
            let message = format!("`{}` has several addresses, and a policy names one", range.name);
            let error = self.cursor.remarks.error(range.span, message);
            return Err(error.help(format!("write one of {}", list.join(", "))));
        };
        match range.length {
            None => Ok(Prefix::host(**address)),
            Some((length, span)) => {
                let text = format!("{address}/{length}");
                text.parse().map_err(|error| self.cursor.remarks.error(span, format!("{error}")))
            }
        }
    }

    /// `SOURCE DESTINATION UPPER [UPPERSPEC]`.
    pub(super) fn selector(&mut self) -> Result<Selector, Diagnostic> {
        let lookup = self.lookup();
        let from = self.range(lookup)?;
        let to = self.range(lookup)?;
        let is_there = |is_ipv4, range: &Range<'_>| range.addresses.iter().any(|it| it.is_ipv4() == is_ipv4);
        if ![true, false].into_iter().any(|is_ipv4| is_there(is_ipv4, &from) && is_there(is_ipv4, &to)) {
            return Err(self.different_families(to.span));
        }
        let (source, destination) = (self.prefix(&from, &to)?, self.prefix(&to, &from)?);
        let span = self.cursor.span();
        let upper = self.upper()?;
        let stranger = match (upper, source.address.is_ipv4()) {
            (Upper::Proto(ICMP6), true) => Some(("icmp6", "IPv4", "icmp")),
            (Upper::Proto(ICMP), false) => Some(("icmp", "IPv6", "icmp6")),
            _ => None,
        };
        if let Some((name, family, meant)) = stranger {
            let message = format!("packets of {family} have no {name}");
            self.cursor.remarks.warn(span, message, format!("did you mean {meant}?"));
        }
        let mut selector = Selector {
            source,
            source_port: self.selector_port(from.port, upper)?,
            destination,
            destination_port: self.selector_port(to.port, upper)?,
            upper,
        };
        if !self.at_option() && matches!(self.cursor.peek(), Some(Kind::Word(_))) {
            (selector.source_port, selector.destination_port) = self.upper_spec(upper)?;
        }
        Ok(selector)
    }

    fn upper(&mut self) -> Result<Upper, Diagnostic> {
        let (word, span) = self.cursor.word("a protocol")?;
        let number = word.parse::<u8>().ok().filter(|_| !word.starts_with('+'));
        match (word, number.or_else(|| self.reading.names.protocol(word))) {
            // As dumps of ipsec-tools show `any`.
            ("any", _) | (_, Some(255)) => Ok(Upper::Any),
            (_, Some(0)) => {
                let message = format!("`{word}` is no protocol above IP");
                Err(self.cursor.remarks.error(span, message).help("write any, which all packets have"))
            }
            (_, Some(number)) => Ok(Upper::Proto(number)),
            (_, None) => {
                let error = self.cursor.remarks.error(span, format!("unknown upper protocol `{word}`"));
                Err(error.help(match nearest(word, &protocol_names()) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => "a name of /etc/protocols, a number up to 254, or any".to_owned(),
                }))
            }
        }
    }

    fn selector_port(&self, port: PortWord<'_>, upper: Upper) -> Result<Port, Diagnostic> {
        let (word, span) = match port.0 {
            None | Some(("any" | "0", _)) => return Ok(Port::Any),
            Some(port) => port,
        };
        let protocol = match upper {
            Upper::Any => None,
            Upper::Proto(number) => Some(number),
        };
        if let Some(number) = protocol.filter(|number| !has_ports(*number)) {
            let name = upper_name(upper);
            let error = self.cursor.remarks.error(span, format!("{name} has no ports"));
            return Err(error.help(match number {
                GRE => "its key comes behind the protocol: gre 1234".to_owned(),
                _ if has_types(number) => format!("type and code come behind the protocol: {name} 8,0"),
                _ => "write [any], or leave it out".to_owned(),
            }));
        }
        self.port(word, span, protocol).map(Port::Is)
    }

    /// What comes behind the protocol: type and code, or the key of GRE.
    fn upper_spec(&mut self, upper: Upper) -> Result<(Port, Port), Diagnostic> {
        let (word, mut span) = self.cursor.word("a specification")?;
        let mut text = word.to_owned();
        while !self.at_option()
            && let Some(Kind::Word(word)) = self.cursor.peek()
        {
            text.push_str(word);
            span = span.to(self.cursor.span());
            self.cursor.next();
        }
        match upper {
            Upper::Proto(GRE) => {
                let number = text.parse::<u32>().ok().filter(|_| !text.starts_with('+'));
                let key = number.or_else(|| text.parse::<Ipv4Addr>().ok().map(Ipv4Addr::to_bits));
                let Some([a, b, c, d]) = key.map(u32::to_be_bytes) else {
                    let error = self.cursor.remarks.error(span, format!("`{text}` is not a key of GRE"));
                    return Err(error.help("a number of 32 bits, such as 1234 or 0.0.4.210"));
                };
                if !self.reading.dialect.has_gre_keys() {
                    self.cursor.remarks.warn(
                        span,
                        "FreeBSD's kernel does not look at the key of GRE",
                        "the policy is for this key with Coati's own data plane only",
                    );
                }
                Ok((Port::Is(u16::from_be_bytes([a, b])), Port::Is(u16::from_be_bytes([c, d]))))
            }
            Upper::Proto(number) if has_types(number) => {
                let (kind, code) = text.split_once(',').unwrap_or((&text, "0"));
                let (Ok(kind), Ok(code)) = (kind.parse::<u8>(), code.parse::<u8>()) else {
                    let error = self.cursor.remarks.error(span, format!("`{text}` is not type and code"));
                    return Err(error.help("two numbers up to 255, such as 8,0"));
                };
                Ok((Port::Is(kind.into()), Port::Is(code.into())))
            }
            _ => {
                let message = format!("`{text}` says nothing about {}", describe(upper));
                let help = "icmp, icmp6 and mh have TYPE,CODE, gre has a key; ports stand behind addresses: 192.0.2.1[80]";
                Err(self.cursor.remarks.error(span, message).help(help))
            }
        }
    }
}

fn describe(upper: Upper) -> String {
    match upper {
        Upper::Any => "any".to_owned(),
        Upper::Proto(_) => upper_name(upper),
    }
}
