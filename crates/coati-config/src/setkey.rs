//! setkey(8)'s commands: the grammar of `setkey -f` and `setkey -c`.

use std::net::IpAddr;
use std::sync::Arc;

use coati_sadb::{
    Action, AuthAlgorithm, Direction, EncAlgorithm, Level, Lifetime, Mode, Policy, PolicyId, Port, Prefix,
    Priority, ReqId, Request, Rule, Sa, SaId, SaProto, SaState, Secret, Selector, Spi, Upper, Usage,
};

use crate::diagnostic::{Diagnostic, Origin, Source, Span};
use crate::lexer::{Cursor, Kind};
use crate::psk::hex;

/// One statement: what to ask of the data plane, and where it is written.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The order.
    pub request: Request,
    /// All of it, without the semicolon.
    pub origin: Origin,
}

const COMMANDS: [&str; 10] =
    ["add", "update", "delete", "get", "flush", "dump", "spdadd", "spdupdate", "spddelete", "spdflush"];

/// Reads all statements, or says what is wrong with the first that cannot be read: nothing of a file is carried out
/// unless all of it can.
pub fn parse(source: &Arc<Source>) -> Result<Vec<Statement>, Diagnostic> {
    let mut parser = Parser { cursor: Cursor::new(source, ";[]")? };
    let mut statements = Vec::new();
    while parser.cursor.peek().is_some() {
        if parser.cursor.accept(';') {
            continue;
        }
        let span = parser.cursor.span();
        let request = parser.statement()?;
        let span = span.to(parser.cursor.previous());
        parser.cursor.expect(';')?;
        if let Some(request) = request {
            statements.push(Statement { request, origin: Origin { source: source.clone(), span } });
        }
    }
    Ok(statements)
}

struct Parser<'a> {
    cursor: Cursor<'a>,
}

impl<'a> Parser<'a> {
    fn statement(&mut self) -> Result<Option<Request>, Diagnostic> {
        let (word, span) = self.cursor.word("a command")?;
        Ok(Some(match word {
            "add" => Request::Add(Box::new(self.sa()?)),
            "update" => Request::Update(Box::new(self.sa()?)),
            "delete" => Request::Delete(self.sa_id_only()?),
            "get" => Request::Get(self.sa_id_only()?),
            "flush" => Request::Flush(self.optional_proto()?),
            "dump" => Request::Dump(self.optional_proto()?),
            "spdadd" => Request::SpdAdd(Box::new(self.policy()?)),
            "spdupdate" => Request::SpdUpdate(Box::new(self.policy()?)),
            "spddelete" => {
                self.options();
                let selector = self.selector()?;
                let direction = self.direction()?;
                while !matches!(self.cursor.peek(), Some(Kind::Punctuation(';')) | None) {
                    self.cursor.next();
                }
                Request::SpdDelete(Box::new(selector), direction)
            }
            "spdflush" => Request::SpdFlush,
            "spddump" => Request::SpdDump,
            "exit" | "quit" | "bye" => return Ok(None),
            _ => return Err(self.cursor.remarks.unknown(span, "command", word, &COMMANDS)),
        }))
    }

    /// `-4`, `-6`, `-n` before the addresses: addresses are numeric here anyway.
    fn options(&mut self) {
        while let Some(Kind::Word(word)) = self.cursor.peek()
            && word.len() > 1
            && word.strip_prefix('-').is_some_and(|rest| rest.chars().all(|c| "46n".contains(c)))
        {
            self.cursor.next();
        }
    }

    fn address(&mut self) -> Result<IpAddr, Diagnostic> {
        let (word, span) = self.cursor.word("an address")?;
        let address = word.parse().map_err(|_| {
            self.cursor
                .remarks
                .error(span, format!("`{word}` is not an IP address"))
                .help("names are not looked up")
        })?;
        if self.cursor.accept('[') {
            self.cursor.word("a port")?;
            self.cursor.expect(']')?;
        }
        Ok(address)
    }

    fn proto(&mut self) -> Result<SaProto, Diagnostic> {
        let (word, span) = self.cursor.word("a protocol")?;
        match word {
            "esp" => Ok(SaProto::Esp),
            "ah" => Ok(SaProto::Ah),
            "ipcomp" => Ok(SaProto::Ipcomp),
            _ => Err(self.cursor.remarks.unknown(span, "protocol", word, &["esp", "ah", "ipcomp"])),
        }
    }

    fn optional_proto(&mut self) -> Result<Option<SaProto>, Diagnostic> {
        match self.cursor.peek() {
            Some(Kind::Punctuation(';')) | None => Ok(None),
            // The next command: the caller will say that the semicolon before it is missing.
            Some(Kind::Word(word)) if COMMANDS.contains(&word) => Ok(None),
            _ => self.proto().map(Some),
        }
    }

    fn sa_id(&mut self) -> Result<SaId, Diagnostic> {
        self.options();
        let source = self.address()?;
        let span = self.cursor.span();
        let destination = self.address()?;
        if source.is_ipv4() != destination.is_ipv4() {
            return Err(self.cursor.remarks.error(span, "source and destination are of different families"));
        }
        let proto = self.proto()?;
        let span = self.cursor.span();
        let spi = self.number32("an SPI")?;
        if proto == SaProto::Ipcomp {
            if spi > u32::from(u16::MAX) || spi < Spi::FIRST && Spi(spi) != Spi::DEFLATE {
                return Err(self
                    .cursor
                    .remarks
                    .error(span, format!("{spi} is no index of ipcomp"))
                    .help("use 256 (0x100) to 65535 (0xffff), RFC 3173 section 3.3"));
            }
        } else if spi < Spi::FIRST {
            return Err(self
                .cursor
                .remarks
                .error(span, format!("SPI {spi} is reserved"))
                .help("use 256 (0x100) or more, RFC 4303 section 2.1"));
        }
        Ok(SaId { source, destination, proto, spi: Spi(spi) })
    }

    fn sa_id_only(&mut self) -> Result<SaId, Diagnostic> {
        let id = self.sa_id()?;
        if self.cursor.accept_word("-m") {
            self.mode()?;
        }
        Ok(id)
    }

    /// Decimal, or hexadecimal with 0x.
    fn number32(&mut self, what: &str) -> Result<u32, Diagnostic> {
        let (word, span) = self.cursor.word(what)?;
        let number = match word.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16).ok(),
            None => word.parse().ok(),
        };
        number.ok_or_else(|| {
            self.cursor.remarks.error(span, format!("`{word}` is not {what}: 32 bits, decimal or 0x"))
        })
    }

    fn mode(&mut self) -> Result<Mode, Diagnostic> {
        let (word, span) = self.cursor.word("a mode")?;
        match word {
            "transport" => Ok(Mode::Transport),
            "tunnel" => Ok(Mode::Tunnel),
            "any" => Ok(Mode::Any),
            _ => Err(self.cursor.remarks.unknown(span, "mode", word, &["transport", "tunnel", "any"])),
        }
    }

    fn sa(&mut self) -> Result<Sa, Diagnostic> {
        let id = self.sa_id()?;
        let mut sa = Sa {
            id,
            mode: Mode::Any,
            reqid: ReqId(0),
            enc: EncAlgorithm::Null,
            enc_key: Secret::default(),
            auth: AuthAlgorithm::None,
            auth_key: Secret::default(),
            replay_window: 0,
            nat_t: None,
            soft: Lifetime::default(),
            hard: Lifetime::default(),
            state: SaState::Mature,
            usage: Usage::default(),
            sequence: 0,
        };
        const OPTIONS: [&str; 10] = ["-m", "-r", "-u", "-f", "-lh", "-ls", "-bh", "-bs", "-E", "-C"];
        let compresses = sa.id.proto == SaProto::Ipcomp;
        let mut algorithms = 0;
        while let Some(Kind::Word(word)) = self.cursor.peek() {
            let span = self.cursor.span();
            self.cursor.next();
            match word {
                "-m" => sa.mode = self.mode()?,
                // Bytes of the bitmap: eight packets each.
                "-r" => sa.replay_window = self.number32("a window size")?.saturating_mul(8),
                "-u" => sa.reqid = ReqId(self.number32("a reqid")?),
                "-f" => {
                    let (flag, span) = self.cursor.word("a flag")?;
                    const FLAGS: [&str; 5] =
                        ["zero-pad", "random-pad", "seq-pad", "cyclic-seq", "nocyclic-seq"];
                    if !FLAGS.contains(&flag) {
                        return Err(self.cursor.remarks.unknown(span, "flag", flag, &FLAGS));
                    }
                }
                "-lh" => sa.hard.add_seconds = self.number32("seconds")?.into(),
                "-ls" => sa.soft.add_seconds = self.number32("seconds")?.into(),
                "-bh" => sa.hard.bytes = self.number32("bytes")?.into(),
                "-bs" => sa.soft.bytes = self.number32("bytes")?.into(),
                "-C" if compresses => {
                    let (name, span) = self.cursor.word("a compression algorithm")?;
                    if name != "deflate" {
                        return Err(self.cursor.remarks.unknown(
                            span,
                            "compression algorithm",
                            name,
                            &["deflate"],
                        ));
                    }
                    // The SPI is the index on the wire, as -R wants it and as the Linux kernel does anyway.
                    self.cursor.accept_word("-R");
                    algorithms += 1;
                }
                "-E" | "-A" if compresses => {
                    let error = self.cursor.remarks.error(span, "ipcomp has no keys");
                    return Err(error.help("write -C deflate, and a second SA for esp"));
                }
                "-E" => {
                    let (name, span) = self.cursor.word("an encryption algorithm")?;
                    let names: Vec<&str> = EncAlgorithm::ALL.iter().map(|a| a.setkey_name()).collect();
                    sa.enc = EncAlgorithm::from_setkey_name(name).ok_or_else(|| {
                        self.cursor.remarks.unknown(span, "encryption algorithm", name, &names)
                    })?;
                    if sa.enc != EncAlgorithm::Null || !matches!(self.cursor.peek(), Some(Kind::Word("-A"))) {
                        sa.enc_key = self.key(name, sa.enc.key_lengths())?;
                    }
                    algorithms += 1;
                }
                "-A" => {
                    let (name, span) = self.cursor.word("an authentication algorithm")?;
                    let names: Vec<&str> = AuthAlgorithm::ALL.iter().map(|a| a.setkey_name()).collect();
                    sa.auth = AuthAlgorithm::from_setkey_name(name).ok_or_else(|| {
                        self.cursor.remarks.unknown(span, "authentication algorithm", name, &names)
                    })?;
                    sa.auth_key = self.key(name, &[sa.auth.key_len()])?;
                    algorithms += 1;
                }
                _ => return Err(self.cursor.remarks.unknown(span, "option", word, &OPTIONS)),
            }
        }
        if algorithms == 0 {
            let span = self.cursor.span();
            return Err(self.cursor.remarks.error(span, "no algorithm").help(if compresses {
                "add -C deflate"
            } else {
                "add -E ALGORITHM KEY and -A ALGORITHM KEY"
            }));
        }
        Ok(sa)
    }

    /// `"text"` or 0x and hexadecimal digits, of one of these lengths in bytes.
    fn key(&mut self, algorithm: &str, lengths: &[usize]) -> Result<Secret, Diagnostic> {
        let span = self.cursor.span();
        let bytes = match self.cursor.next().map(|token| token.kind) {
            Some(Kind::Quoted(text)) => self.cursor.remarks.source.bytes_of(text),
            Some(Kind::Word(word)) => word.strip_prefix("0x").and_then(hex).ok_or_else(|| {
                self.cursor
                    .remarks
                    .error(span, "this is not a key")
                    .help("write \"text\" or 0x and hexadecimal digits")
            })?,
            _ => return Err(self.cursor.remarks.error(span, format!("the key of {algorithm} is missing"))),
        };
        if !lengths.contains(&bytes.len()) {
            let bits: Vec<String> = lengths.iter().map(|length| (length * 8).to_string()).collect();
            let message = format!(
                "{algorithm} takes a key of {} bits, this one has {}",
                bits.join(" or "),
                bytes.len() * 8
            );
            return Err(self.cursor.remarks.error(span, message));
        }
        Ok(Secret::new(bytes))
    }

    fn range(&mut self) -> Result<(Prefix, Port), Diagnostic> {
        let (word, span) = self.cursor.word("an address or network")?;
        let prefix: Prefix =
            word.parse().map_err(|error| self.cursor.remarks.error(span, format!("{error}")))?;
        let mut port = Port::Any;
        if self.cursor.accept('[') {
            let (word, span) = self.cursor.word("a port")?;
            if word != "any" {
                port = Port::Is(word.parse().map_err(|_| {
                    self.cursor
                        .remarks
                        .error(span, format!("`{word}` is not a port"))
                        .help("0 to 65535, or any")
                })?);
            }
            self.cursor.expect(']')?;
        }
        Ok((prefix, port))
    }

    fn selector(&mut self) -> Result<Selector, Diagnostic> {
        let (source, source_port) = self.range()?;
        let span = self.cursor.span();
        let (destination, destination_port) = self.range()?;
        if source.address.is_ipv4() != destination.address.is_ipv4() {
            return Err(self.cursor.remarks.error(span, "source and destination are of different families"));
        }
        let (word, span) = self.cursor.word("a protocol")?;
        let upper = upper(word).ok_or_else(|| {
            let names: Vec<&str> = UPPER_NAMES.iter().map(|(name, _)| *name).chain(["any"]).collect();
            self.cursor.remarks.unknown(span, "upper protocol", word, &names)
        })?;
        Ok(Selector { source, source_port, destination, destination_port, upper })
    }

    fn direction(&mut self) -> Result<Direction, Diagnostic> {
        let span = self.cursor.span();
        if !self.cursor.accept_word("-P") {
            return Err(self.cursor.remarks.error(span, "expected `-P` and a policy"));
        }
        let (word, span) = self.cursor.word("a direction")?;
        match word {
            "in" => Ok(Direction::In),
            "out" => Ok(Direction::Out),
            "fwd" => Ok(Direction::Fwd),
            _ => Err(self.cursor.remarks.unknown(span, "direction", word, &["in", "out", "fwd"])),
        }
    }

    fn policy(&mut self) -> Result<Policy, Diagnostic> {
        self.options();
        let selector = self.selector()?;
        let direction = self.direction()?;
        let priority = self.priority()?;
        let (word, span) = self.cursor.word("discard, none or ipsec")?;
        let action = match word {
            "discard" => Action::Discard,
            "none" => Action::None,
            "ipsec" => Action::Ipsec(self.rules()?),
            _ => {
                return Err(self.cursor.remarks.unknown(span, "action", word, &["discard", "none", "ipsec"]));
            }
        };
        Ok(Policy { id: PolicyId::default(), selector, direction, priority, action, usage: Usage::default() })
    }

    /// `prio low|def|high [+|- N]` or `prio N`: a higher priority is a smaller number (setkey(8)).
    fn priority(&mut self) -> Result<Priority, Diagnostic> {
        if !self.cursor.accept_word("prio") && !self.cursor.accept_word("priority") {
            return Ok(Priority::default());
        }
        let (word, span) = self.cursor.word("a priority")?;
        let (base, mut offset) = match word {
            "low" => (0xc000_0000, 0),
            "def" => (0x8000_0000, 0),
            "high" => (0x4000_0000, 0),
            number => {
                let offset: i64 = number.parse().map_err(|_| {
                    self.cursor.remarks.unknown(span, "priority", number, &["low", "def", "high", "a number"])
                })?;
                (0x8000_0000i64, offset)
            }
        };
        for (sign, factor) in [("+", 1), ("-", -1)] {
            if self.cursor.accept_word(sign) {
                offset = factor * i64::from(self.number32("an offset")?);
            }
        }
        let value = base.checked_sub(offset).and_then(|value| u32::try_from(value).ok());
        value.map(Priority).ok_or_else(|| self.cursor.remarks.error(span, "this priority is out of range"))
    }

    fn rules(&mut self) -> Result<Vec<Rule>, Diagnostic> {
        let mut rules = Vec::new();
        while let Some(Kind::Word(word)) = self.cursor.peek() {
            let span = self.cursor.span();
            self.cursor.next();
            rules.push(self.rule(word, span)?);
        }
        if rules.is_empty() {
            let span = self.cursor.span();
            let error = self.cursor.remarks.error(span, "`ipsec` needs at least one rule");
            return Err(error.help("for example esp/transport//unique"));
        }
        Ok(rules)
    }

    /// `PROTO/MODE[/[SRC-DST][/LEVEL]]`.
    fn rule(&self, word: &str, span: Span) -> Result<Rule, Diagnostic> {
        let remarks = &self.cursor.remarks;
        let mut parts = word.split('/');
        let proto = match parts.next() {
            Some("esp") => SaProto::Esp,
            Some("ah") => SaProto::Ah,
            Some("ipcomp") => SaProto::Ipcomp,
            other => {
                return Err(remarks.unknown(span, "protocol", other.unwrap_or(""), &["esp", "ah", "ipcomp"]));
            }
        };
        let mode = match parts.next() {
            Some("transport") => Mode::Transport,
            Some("tunnel") => Mode::Tunnel,
            Some(other) if !other.is_empty() => {
                return Err(remarks.unknown(span, "mode", other, &["transport", "tunnel"]));
            }
            _ => {
                return Err(remarks
                    .error(span, format!("`{word}` names no mode"))
                    .help("for example esp/transport//unique"));
            }
        };
        let endpoints = match parts.next() {
            None | Some("") => None,
            Some(pair) => {
                let parsed = pair.split_once('-').and_then(|(source, destination)| {
                    Some((source.parse().ok()?, destination.parse().ok()?))
                });
                Some(
                    parsed
                        .ok_or_else(|| remarks.error(span, format!("`{pair}` is not SOURCE-DESTINATION")))?,
                )
            }
        };
        if mode == Mode::Tunnel && endpoints.is_none() {
            let error = remarks.error(span, "tunnel mode needs the addresses of its ends");
            return Err(error.help("write esp/tunnel/SOURCE-DESTINATION/LEVEL"));
        }
        let level = match parts.next() {
            None | Some("" | "default") => Level::Default,
            Some("use") => Level::Use,
            Some("require") => Level::Require,
            Some("unique") => Level::Unique(ReqId(0)),
            Some(other) => match other.strip_prefix("unique:").map(str::parse) {
                Some(Ok(number)) if (1..=ReqId::MANUAL_MAX).contains(&number) => Level::Unique(ReqId(number)),
                Some(_) => {
                    let message = format!("the number of unique: is 1 to {}", ReqId::MANUAL_MAX);
                    return Err(remarks.error(span, message));
                }
                None => {
                    let allowed = ["default", "use", "require", "unique", "unique:N"];
                    return Err(remarks.unknown(span, "level", other, &allowed));
                }
            },
        };
        if let Some(more) = parts.next() {
            return Err(remarks.error(span, format!("`/{more}` is one part too many")));
        }
        Ok(Rule { proto, mode, endpoints, level })
    }
}

/// The protocols that setkey names; numbers work too.
const UPPER_NAMES: [(&str, u8); 10] = [
    ("gre", 47),
    ("tcp", 6),
    ("udp", 17),
    ("icmp", 1),
    ("icmp6", 58),
    ("ip4", 4),
    ("ospf", 89),
    ("esp", 50),
    ("ah", 51),
    ("sctp", 132),
];

fn upper(word: &str) -> Option<Upper> {
    if word == "any" {
        return Some(Upper::Any);
    }
    let named = UPPER_NAMES.iter().find(|(name, _)| *name == word).map(|(_, number)| *number);
    named.or_else(|| word.parse().ok()).map(Upper::Proto)
}

/// The name that setkey prints for a protocol; numbers that have none are printed as they are, `any` as 255.
pub fn upper_name(upper: Upper) -> String {
    match upper {
        Upper::Any => "255".to_owned(),
        Upper::Proto(number) => UPPER_NAMES
            .iter()
            .find(|(_, known)| *known == number)
            .map_or_else(|| number.to_string(), |(name, _)| (*name).to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(text: &str) -> Result<Request, String> {
        let statements = parse(&Source::new("setkey.conf", text)).map_err(|error| error.to_string())?;
        Ok(statements.into_iter().next().expect("a statement").request)
    }

    #[test]
    fn the_policy_of_the_how_to() {
        let text = "flush;\nspdflush;\nspdadd 192.0.2.1/32 198.51.100.1/32 gre -P out ipsec esp/transport//unique;\n";
        let statements = parse(&Source::new("setkey.conf", text)).unwrap();
        assert_eq!(statements.len(), 3);
        assert_eq!(statements[2].origin.place().line, 3);
        let Request::SpdAdd(policy) = &statements[2].request else { panic!() };
        assert_eq!(policy.selector.upper, Upper::GRE);
        assert_eq!(policy.direction, Direction::Out);
        let Action::Ipsec(rules) = &policy.action else { panic!() };
        assert_eq!(rules[0].level, Level::Unique(ReqId(0)));
    }

    #[test]
    fn manual_keys() {
        let text = "add 192.0.2.1 198.51.100.1 esp 0x1000 -m transport -u 7 -r 8 -E aes-cbc \"sixteen byte key\" \
                    -A hmac-sha1 0x000102030405060708090a0b0c0d0e0f10111213;";
        let Request::Add(sa) = one(text).unwrap() else { panic!() };
        assert_eq!((sa.id.spi, sa.reqid, sa.replay_window), (Spi(0x1000), ReqId(7), 64));
        assert_eq!(sa.enc_key.expose(), b"sixteen byte key");
        assert_eq!(sa.auth_key.len(), 20);
    }

    #[test]
    fn compression_before_esp() {
        for options in ["-C deflate", "-m transport -C deflate -R -u 3"] {
            let text = format!("add 192.0.2.1 198.51.100.1 ipcomp 0x1000 {options};");
            let Request::Add(sa) = one(&text).unwrap() else { panic!() };
            assert_eq!((sa.id.proto, sa.id.spi), (SaProto::Ipcomp, Spi(0x1000)));
            assert!(sa.enc_key.is_empty() && sa.auth_key.is_empty());
        }
        let text =
            "spdadd 192.0.2.1 198.51.100.1 any -P out ipsec ipcomp/transport//use esp/transport//require;";
        let Request::SpdAdd(policy) = one(text).unwrap() else { panic!() };
        let Action::Ipsec(rules) = &policy.action else { panic!() };
        let bundle = coati_sadb::Bundle::of(rules).unwrap();
        assert_eq!((bundle.ipcomp.unwrap().level, bundle.esp.level), (Level::Use, Level::Require));
    }

    #[test]
    fn wrong_lines_and_their_places() {
        for (text, wanted) in [
            (
                "spdad 1.1.1.1 2.2.2.2 gre -P out none;",
                "setkey.conf:1:1: error: unknown command `spdad` (did you mean `spdadd`?)",
            ),
            (
                "flush\nspdflush;",
                "setkey.conf:1:5: error: a semicolon `;` is missing before `spdflush` (add `;` here)",
            ),
            ("spdadd 1.1.1.1/40 2.2.2.2 gre -P out none;", "`40` is not a prefix length: 0 to 32 is allowed"),
            ("spdadd 1.1.1.1 2.2.2.2 gre -P out ipsec esp/transprt//unique;", "did you mean `transport`"),
            ("spdadd 1.1.1.1 2.2.2.2 gre -P out ipsec esp/tunnel//require;", "needs the addresses"),
            ("spdadd 1.1.1.1 ::1 gre -P out none;", "different families"),
            ("add 1.1.1.1 2.2.2.2 esp 255 -E null -A hmac-sha1 \"x\";", "reserved"),
            ("add 1.1.1.1 2.2.2.2 ipcomp 0x10000 -C deflate;", "no index of ipcomp"),
            ("add 1.1.1.1 2.2.2.2 ipcomp 255 -C deflate;", "no index of ipcomp"),
            ("add 1.1.1.1 2.2.2.2 ipcomp 256 -C lzs;", "unknown compression algorithm `lzs`"),
            ("add 1.1.1.1 2.2.2.2 ipcomp 256 -E null -A hmac-sha1 \"x\";", "ipcomp has no keys"),
            ("add 1.1.1.1 2.2.2.2 ipcomp 256;", "add -C deflate"),
            (
                "add 1.1.1.1 2.2.2.2 esp 256 -E aes-cbc \"short\";",
                "takes a key of 128 or 192 or 256 bits, this one has 40",
            ),
            ("add 1.1.1.1 2.2.2.2 esp 256 -E aes-cbc", "the key of aes-cbc is missing"),
            ("add 1.1.1.1 2.2.2.2 esp 256;", "no algorithm"),
            ("delete 1.1.1.1 2.2.2.2 esp \"1;", "no end"),
        ] {
            let error = one(text).unwrap_err();
            assert!(error.contains(wanted), "{text}\n  {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text(text in "(spdadd |add |delete )?\\PC{0,200}") {
            let _ = parse(&Source::new("setkey.conf", text));
        }

        #[test]
        fn any_words(words in prop::collection::vec(prop::sample::select(vec![
            "spdadd", "add", "1.1.1.1", "2.2.2.2/32", "gre", "-P", "out", "ipsec", "esp/transport//unique", ";", "[",
            "]", "-E", "aes-cbc", "\"k\"", "0x1", "prio", "-", "esp", "#"]), 0..20)) {
            let _ = parse(&Source::new("setkey.conf", words.join(" ")));
        }
    }
}
