//! `timer`, `listen`, `padding` and `privsep`.

use crate::diagnostic::{Diagnostic, Severity, Span};
use crate::lexer::Kind;
use crate::racoon::model::{Account, Adminsock, PathEntry, UdpEndpoint};
use crate::racoon::parser::{Block, Parsed, Parser};

/// Where ESP in UDP goes (RFC 3948).
const NATT_PORT: u16 = 4500;

const TIMER: Block = Block {
    what: "timer",
    words: &["counter", "interval", "persend", "phase1", "phase2", "natt_keepalive"],
    repeatable: &[],
};
const LISTEN: Block = Block {
    what: "statement of `listen`",
    words: &["isakmp", "isakmp_natt", "strict_address", "adminsock", "admin"],
    repeatable: &["isakmp", "isakmp_natt"],
};
const PADDING: Block = Block {
    what: "statement of `padding`",
    words: &["randomize", "randomize_length", "maximum_length", "exclusive_tail", "strict_check"],
    repeatable: &[],
};
const PRIVSEP: Block =
    Block { what: "statement of `privsep`", words: &["user", "group", "chroot"], repeatable: &[] };

impl Parser<'_, '_, '_> {
    pub(super) fn timer(&mut self, opener: Span) -> Parsed<()> {
        let mut timer = self.state.conf.timer;
        self.block(opener, &TIMER, |parser, word, _| {
            match word {
                "counter" => timer.counter = parser.cursor.number("a number")?,
                "interval" => timer.interval = parser.time()?,
                "persend" => timer.persend = parser.ranged("a number", 1, 100)?,
                "phase1" => timer.phase1 = parser.time()?,
                "phase2" => timer.phase2 = parser.time()?,
                _ => timer.natt_keepalive = parser.time_or_zero()?,
            }
            parser.end()
        })?;
        self.state.conf.timer = timer;
        Ok(())
    }

    pub(super) fn listen(&mut self, opener: Span) -> Parsed<()> {
        let mut listen = self.state.conf.listen.clone();
        self.block(opener, &LISTEN, |parser, word, span| {
            let value = parser.cursor.span();
            match word {
                "isakmp" => {
                    let endpoint = parser.udp_endpoint(500)?;
                    listen.isakmp.push((endpoint, parser.origin(value)));
                }
                "isakmp_natt" => {
                    let endpoint = parser.natt_endpoint(value)?;
                    listen.isakmp_natt.push((endpoint, parser.origin(value)));
                }
                "strict_address" => listen.strict_address = true,
                "adminsock" => listen.adminsock = parser.adminsock()?,
                _ => {
                    if parser.port()?.is_none() {
                        parser.cursor.number::<u16>("a port")?;
                    }
                    let help = "remove it; racoonctl speaks through `adminsock`";
                    parser.warn(span, "there is no admin port: racoon gave it up long ago", help);
                }
            }
            parser.end()
        })?;
        self.state.conf.listen = listen;
        Ok(())
    }

    /// racoon takes port 500 when none is written, where no peer looks for it.
    fn natt_endpoint(&mut self, span: Span) -> Parsed<UdpEndpoint> {
        let (address, zone) = self.address()?;
        let port = self.port()?;
        if port.is_none() {
            let message =
                format!("isakmp_natt without a port is taken as port {NATT_PORT}; racoon takes 500");
            let note = Diagnostic::new(Severity::Note, self.cursor.remarks.source, span, message);
            self.report(note.help(format!("write the port: [{NATT_PORT}]")));
        }
        Ok(UdpEndpoint { address, zone, port: port.unwrap_or(NATT_PORT) })
    }

    /// `disabled`, or `"path" ["owner" "group" MODE]`.
    fn adminsock(&mut self) -> Parsed<Adminsock> {
        if self.cursor.accept_word("disabled") {
            return Ok(Adminsock::Disabled);
        }
        let begin = self.cursor.span();
        let path = self.text("the path of the socket")?;
        if !matches!(self.cursor.peek(), Some(Kind::Quoted(_))) {
            let id = Account::default();
            let origin = self.origin(begin);
            return Ok(Adminsock::At { path, owner: id.clone(), group: id, mode: 0o600, origin });
        }
        let owner = account(&self.text("an owner")?);
        let group = account(&self.text("a group")?);
        let (word, span) = self.cursor.word("a mode")?;
        let mode = u32::from_str_radix(word, 8).ok().filter(|mode| *mode <= 0o777);
        let Some(mode) = mode else {
            let error = self.error(span, format!("`{word}` is not a mode"));
            return Err(error.help("write it in octal digits, for example 0600"));
        };
        if mode & 0o002 != 0 {
            let help = "write 0660 or 0600";
            self.warn(span, format!("mode {word} lets everybody on this machine end connections"), help);
        }
        let origin = self.origin(begin.to(span));
        Ok(Adminsock::At { path, owner, group, mode, origin })
    }

    pub(super) fn padding(&mut self, opener: Span) -> Parsed<()> {
        let mut padding = self.state.conf.padding;
        self.block(opener, &PADDING, |parser, word, _| {
            match word {
                "maximum_length" => padding.maximum_length = parser.ranged("a length", 0, 255)?,
                "randomize" => padding.randomize = parser.switch()?,
                "randomize_length" => padding.randomize_length = parser.switch()?,
                "exclusive_tail" => padding.exclusive_tail = parser.switch()?,
                _ => padding.strict_check = parser.switch()?,
            }
            parser.end()
        })?;
        self.state.conf.padding = padding;
        Ok(())
    }

    pub(super) fn privsep(&mut self, opener: Span) -> Parsed<()> {
        let mut privsep = self.state.conf.privsep.clone();
        self.block(opener, &PRIVSEP, |parser, word, _| {
            let origin = parser.origin(parser.cursor.span());
            match word {
                "user" => {
                    privsep.user = parser.account("a user")?;
                    privsep.user_origin = origin;
                }
                "group" => {
                    privsep.group = parser.account("a group")?;
                    privsep.group_origin = origin;
                }
                _ => privsep.chroot = Some(PathEntry { path: parser.text("a folder")?, origin }),
            }
            parser.end()
        })?;
        self.state.conf.privsep = privsep;
        Ok(())
    }

    /// `"name"` or a number.
    fn account(&mut self, what: &str) -> Parsed<Account> {
        match self.cursor.peek() {
            Some(Kind::Word(word)) if word.chars().all(|c| c.is_ascii_digit()) => {
                self.cursor.number(what).map(Account::Id)
            }
            _ => self.text(what).map(|name| account(&name)),
        }
    }
}

/// A number in quotes is still a number.
fn account(name: &str) -> Account {
    name.parse().map_or_else(|_| Account::Name(name.to_owned()), Account::Id)
}
