//! Policies: `spdadd`, `spdupdate`, `spddelete`, and what comes behind `-P`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use coati_sadb::{
    Action, Direction, Level, Mode, Policy, PolicyId, Priority, ReqId, Request, Rule, SaProto, Selector,
    Usage,
};

use super::{COMMANDS, Parser};
use crate::diagnostic::{Diagnostic, Span};
use crate::lexer::Kind;

/// `prio low`, `prio def`, `prio high`: a higher priority is a smaller number.
pub(super) const PRIORITIES: [(&str, i64); 3] =
    [("low", 0xc000_0000), ("def", 0x8000_0000), ("high", 0x4000_0000)];
/// How far an offset may go up and down.
const MAX_RAISE: i64 = 0x4000_0000;
const MAX_LOWER: i64 = 0x3fff_ffff;

/// A part of a rule, between slashes.
struct Part<'a> {
    text: &'a str,
    span: Span,
}

impl<'a> Parser<'a> {
    /// `spdadd` and `spdupdate`.
    pub(super) fn policy(&mut self) -> Result<Policy, Diagnostic> {
        let span = self.cursor.span();
        if self.cursor.accept_word("tagged") {
            let error = self.cursor.remarks.error(span, "policies for tags of pf are not supported");
            return Err(
                error.help("name the packets by their addresses: spdadd SOURCE DESTINATION UPPER -P …")
            );
        }
        let selector = self.selector()?;
        self.policy_behind(selector)
    }

    /// `spddelete`: the direction suffices, and what else is there has to be right.
    pub(super) fn policy_to_delete(&mut self) -> Result<Request, Diagnostic> {
        let selector = self.selector()?;
        let at = self.cursor.at;
        let direction = self.direction()?;
        if matches!(self.cursor.peek(), Some(Kind::Word(_))) {
            self.cursor.at = at;
            self.policy_behind(selector)?;
        }
        Ok(Request::SpdDelete(Box::new(selector), direction))
    }

    fn policy_behind(&mut self, selector: Selector) -> Result<Policy, Diagnostic> {
        let direction = self.direction()?;
        let priority = self.priority()?;
        let (word, span) = self.cursor.word("discard, none or ipsec")?;
        let action = match word {
            "discard" => Action::Discard,
            "none" => Action::None,
            "ipsec" => Action::Ipsec(self.rules(&selector, direction)?),
            "bypass" | "entrust" => {
                let error = self.cursor.remarks.error(span, format!("`{word}` is for policies of sockets"));
                return Err(error.help("write none, discard or ipsec"));
            }
            // The next command: this one is not finished.
            _ if COMMANDS.contains(&word) => {
                let message = format!("expected discard, none or ipsec, found `{word}`");
                return Err(self.cursor.remarks.error(span, message));
            }
            _ => {
                return Err(self.cursor.remarks.unknown(span, "action", word, &["discard", "none", "ipsec"]));
            }
        };
        if let (Action::Discard | Action::None, Some(Kind::Word(rule))) = (&action, self.cursor.peek())
            && rule.contains('/')
        {
            let error = self.cursor.remarks.error(self.cursor.span(), format!("`{word}` has no rules"));
            return Err(error.help(format!("leave `{rule}` out, or write ipsec")));
        }
        // FreeBSD's, behind all else: for packets, not for SAs.
        let start = self.cursor.span();
        if self.cursor.accept_word("-hwif") {
            self.cursor.word("an interface")?;
            let message = "policies are not given to hardware: SAs are";
            self.cursor.remarks.warn(start.to(self.cursor.previous()), message, "write it behind add");
        }
        let policy = Policy {
            id: PolicyId::default(),
            selector,
            direction,
            priority,
            action,
            usage: Usage::default(),
        };
        // As whoever is to hold it says it.
        let span = span.to(self.cursor.previous());
        policy.check().map_err(|refusal| self.cursor.remarks.error(span, refusal.to_string()))?;
        Ok(policy)
    }

    fn direction(&mut self) -> Result<Direction, Diagnostic> {
        let span = self.cursor.span();
        if self.cursor.accept_word("-ctx") {
            return Err(self.no_context(span));
        }
        if !self.cursor.accept_word("-P") {
            return Err(self.cursor.remarks.error(span, "expected `-P` and a policy"));
        }
        let (word, span) = self.cursor.word("a direction")?;
        match word {
            "in" => Ok(Direction::In),
            "out" => Ok(Direction::Out),
            "fwd" if self.reading.dialect.has_fwd() => Ok(Direction::Fwd),
            "fwd" => {
                let message = "there are no policies for what is forwarded: this is read as `in`";
                self.cursor.remarks.warn(span, message, "write in");
                Ok(Direction::In)
            }
            _ => Err(self.cursor.remarks.unknown(span, "direction", word, &["in", "out", "fwd"])),
        }
    }

    /// `prio low|def|high [+|- N]` or `prio N` (setkey(8)), with or without blanks between.
    fn priority(&mut self) -> Result<Priority, Diagnostic> {
        let start = self.cursor.span();
        if !self.cursor.accept_word("prio") && !self.cursor.accept_word("priority") {
            return Ok(Priority::default());
        }
        let (mut text, first) = self.cursor.word("a priority").map(|(word, span)| (word.to_owned(), span))?;
        let mut span = first;
        // A sign alone, or a number behind a sign.
        while let Some(Kind::Word(word)) = self.cursor.peek()
            && (word.starts_with(['+', '-']) || text.ends_with(['+', '-']))
        {
            text.push_str(word);
            span = span.to(self.cursor.span());
            self.cursor.next();
        }
        let named = PRIORITIES.iter().find_map(|(name, base)| Some((*base, text.strip_prefix(name)?)));
        let value = match named {
            Some((base, "")) => Some(base),
            Some((base, offset)) => {
                let (sign, digits) = offset.split_at(offset.chars().next().map_or(0, char::len_utf8));
                let number = digits.parse::<u32>().ok().filter(|_| !digits.starts_with('+')).map(i64::from);
                match (sign, number) {
                    ("+", Some(number)) if number <= MAX_RAISE => Some(base - number),
                    ("-", Some(number)) if number <= MAX_LOWER => Some(base + number),
                    ("+" | "-", Some(_)) => None,
                    _ => return Err(self.no_priority(first, &text)),
                }
            }
            None => {
                let number = text.parse::<i64>().ok().filter(|_| !text.starts_with('+'));
                let Some(number) = number else { return Err(self.no_priority(first, &text)) };
                i64::from(Priority::default().0).checked_sub(number)
            }
        };
        let Some(value) = value.and_then(|value| u32::try_from(value).ok()) else {
            return Err(self.cursor.remarks.error(span, "this priority is out of range"));
        };
        if !self.reading.dialect.has_priorities() {
            self.cursor.remarks.warn(
                start.to(span),
                "policies have no priorities here, and are looked at in the order in which they were added",
                "leave it out",
            );
            return Ok(Priority::default());
        }
        Ok(Priority(value))
    }

    fn no_priority(&self, span: Span, text: &str) -> Diagnostic {
        self.cursor.remarks.unknown(span, "priority", text, &["low", "def", "high", "a number"])
    }

    fn rules(&mut self, selector: &Selector, direction: Direction) -> Result<Vec<Rule>, Diagnostic> {
        let mut rules = Vec::new();
        while let Some(Kind::Word(word)) = self.cursor.peek()
            && !COMMANDS.contains(&word)
            && word != "-hwif"
        {
            let span = self.rule_span();
            rules.push(self.rule(span, selector, direction)?);
        }
        if rules.is_empty() {
            let span = self.cursor.span();
            let error = self.cursor.remarks.error(span, "`ipsec` needs at least one rule");
            return Err(error.help("for example esp/transport//unique"));
        }
        Ok(rules)
    }

    /// Takes the tokens that stand close together: brackets with ports are among them.
    fn rule_span(&mut self) -> Span {
        let mut span = self.cursor.span();
        self.cursor.next();
        while let Some(Kind::Word(_) | Kind::Punctuation('[' | ']')) = self.cursor.peek()
            && self.cursor.span().start == span.end
        {
            span = span.to(self.cursor.span());
            self.cursor.next();
        }
        span
    }

    /// `PROTO/MODE[/[SRC-DST][/LEVEL]]`.
    fn rule(&self, span: Span, selector: &Selector, direction: Direction) -> Result<Rule, Diagnostic> {
        let remarks = &self.cursor.remarks;
        let text = remarks.source.text.get(span.start..span.end).unwrap_or("");
        let mut parts = text.split('/').scan(span.start, |at, text| {
            let part = Part { text, span: Span { start: *at, end: *at + text.len() } };
            *at += text.len() + 1;
            Some(part)
        });
        let wrong = |part: &Part<'_>, what: &str, allowed: &[&str]| {
            remarks.unknown(part.span, what, part.text, allowed)
        };
        let proto = match parts.next() {
            Some(Part { text: "esp", .. }) => SaProto::Esp,
            Some(Part { text: "ah", .. }) => SaProto::Ah,
            Some(Part { text: "ipcomp", .. }) => SaProto::Ipcomp,
            Some(part) if !part.text.is_empty() => {
                return Err(wrong(&part, "protocol", &["esp", "ah", "ipcomp"]));
            }
            _ => return Err(remarks.error(span, "this rule names no protocol").help("esp, ah or ipcomp")),
        };
        let mode = match parts.next() {
            Some(Part { text: "transport", .. }) => Mode::Transport,
            Some(Part { text: "tunnel", .. }) => Mode::Tunnel,
            Some(part) if !part.text.is_empty() => {
                return Err(wrong(&part, "mode", &["transport", "tunnel"]));
            }
            _ => {
                let error = remarks.error(span, format!("`{text}` names no mode"));
                return Err(error.help("for example esp/transport//unique"));
            }
        };
        let endpoints = match parts.next() {
            Some(part) if !part.text.is_empty() => Some(self.endpoints(&part, selector, direction)?),
            _ => None,
        };
        if mode == Mode::Tunnel && endpoints.is_none() {
            let error = remarks.error(span, "tunnel mode needs the addresses of its ends");
            return Err(error.help("write esp/tunnel/SOURCE-DESTINATION/LEVEL"));
        }
        let level = match parts.next() {
            None | Some(Part { text: "" | "default", .. }) => Level::Default,
            Some(Part { text: "use", .. }) => Level::Use,
            Some(Part { text: "require", .. }) => Level::Require,
            Some(Part { text: "unique", .. }) => Level::Unique(ReqId(0)),
            Some(part) => match part.text.strip_prefix("unique:").map(str::parse) {
                Some(Ok(number)) if (1..=ReqId::MANUAL_MAX).contains(&number) => Level::Unique(ReqId(number)),
                Some(_) => {
                    let message = format!("the number of unique: is 1 to {}", ReqId::MANUAL_MAX);
                    return Err(remarks.error(part.span, message));
                }
                None => {
                    let allowed = ["default", "use", "require", "unique", "unique:N"];
                    return Err(wrong(&part, "level", &allowed));
                }
            },
        };
        if let Some(more) = parts.next() {
            return Err(remarks.error(span, format!("`/{}` is one part too many", more.text)));
        }
        Ok(Rule { proto, mode, endpoints, level })
    }

    /// `SOURCE-DESTINATION`, each with a port or without, or `me-any` out and `any-me` in: whoever the two are.
    fn endpoints(
        &self,
        part: &Part<'a>,
        selector: &Selector,
        direction: Direction,
    ) -> Result<(IpAddr, IpAddr), Diagnostic> {
        let error = |message: String| self.cursor.remarks.error(part.span, message);
        let anybody = match selector.source.address {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        match (part.text, direction) {
            ("me-any", Direction::Out) | ("any-me", Direction::In | Direction::Fwd) => {
                return Ok((anybody, anybody));
            }
            ("me-any", _) => return Err(error("`me-any` is for `out`".into()).help("write any-me")),
            ("any-me", _) => return Err(error("`any-me` is for `in`".into()).help("write me-any")),
            _ => {}
        }
        let end = |text: &str| {
            let (address, port) = match text.strip_suffix(']').map(|inner| inner.split_once('[')) {
                Some(Some((address, port))) => (address, port),
                Some(None) => return None,
                None => (text, "any"),
            };
            let address = address.parse::<IpAddr>().ok()?;
            Some((address, matches!(port, "any" | "0") || port.parse::<u16>().is_ok()))
        };
        let ends = part.text.split_once('-').and_then(|(from, to)| Some((end(from)?, end(to)?)));
        match ends {
            Some(((source, true), (destination, true))) if source.is_ipv4() == destination.is_ipv4() => {
                Ok((source, destination))
            }
            Some(((_, true), (_, true))) => {
                Err(error("the ends of this tunnel are of different families".into()))
            }
            _ => Err(error(format!("`{}` is not SOURCE-DESTINATION", part.text))
                .help("two addresses, such as 192.0.2.1-198.51.100.1")),
        }
    }
}
