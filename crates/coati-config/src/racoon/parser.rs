//! What every block of racoon.conf needs: statements up to the closing brace, recovery behind an error, and the small
//! values (switches, times, addresses, ports).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Origin, Place, Severity, Source, Span};
use crate::lexer::{Cursor, Kind, describe};
use crate::racoon::include::IncludedFiles;
use crate::racoon::model::{RacoonConf, UdpEndpoint};
use crate::racoon::proposal::OwnLifetime;
use crate::racoon::{secrets, top};

/// Signs that stand for themselves.
pub(super) const PUNCTUATION: &str = "{};,[]";

/// Bytes of a name, a path or the like.
const LONGEST_TEXT: usize = 1024;
/// What is wrong beyond these errors is not shown.
const MOST_ERRORS: usize = 20;

const TIME_UNITS: [(&str, u32); 10] = [
    ("sec", 1),
    ("secs", 1),
    ("second", 1),
    ("seconds", 1),
    ("min", 60),
    ("mins", 60),
    ("minute", 60),
    ("minutes", 60),
    ("hour", 3600),
    ("hours", 3600),
];

/// In racoon a TB has 2^30 bytes; here it has what its name says. GB is ours.
const BYTE_UNITS: [(&str, u64); 7] =
    [("B", 1), ("byte", 1), ("bytes", 1), ("KB", 1 << 10), ("MB", 1 << 20), ("GB", 1 << 30), ("TB", 1 << 40)];

/// What all files of one configuration have in common.
pub(super) struct State<'f> {
    pub(super) conf: RacoonConf,
    /// For each of `conf.remotes`, what lifetimes were written in it.
    pub(super) lifetimes: Vec<WrittenLifetimes>,
    pub(super) weak: Weak,
    /// Where the blocks begin, by their first lines.
    written: HashMap<String, Origin>,
    pub(super) included: &'f dyn IncludedFiles,
    /// How deep in includes we are.
    pub(super) depth: usize,
    /// How many files were read.
    pub(super) files: usize,
    remarks: Vec<Diagnostic>,
    errors: usize,
}

/// The lifetimes of a `remote` block and of its proposals, where they are written: what is not is inherited.
#[derive(Clone, Default)]
pub(super) struct WrittenLifetimes {
    pub(super) remote: OwnLifetime,
    pub(super) proposals: Vec<OwnLifetime>,
}

/// Weak algorithms are named once each.
#[derive(Default)]
pub(super) struct Weak {
    pub(super) group: bool,
    pub(super) sha1: bool,
    pub(super) md5: bool,
    pub(super) cipher: bool,
}

impl<'f> State<'f> {
    pub(super) fn new(included: &'f dyn IncludedFiles) -> Self {
        Self {
            conf: RacoonConf::default(),
            lifetimes: Vec::new(),
            weak: Weak::default(),
            written: HashMap::new(),
            included,
            depth: 0,
            files: 0,
            remarks: Vec::new(),
            errors: 0,
        }
    }

    pub(super) fn finish(mut self) -> (RacoonConf, Vec<Diagnostic>) {
        // Those that say more come first; among equals the order of the file counts.
        self.conf.sainfos.sort_by_key(|info| std::cmp::Reverse(info.priority()));
        (self.conf, self.remarks)
    }

    fn push(&mut self, remark: Diagnostic) {
        if remark.severity == Severity::Error {
            self.errors += 1;
            if self.errors == MOST_ERRORS + 1 {
                let message = "there are more errors than these: the others are not shown";
                self.remarks.push(Diagnostic::new(Severity::Note, &remark.source, remark.span, message));
            }
        }
        if self.errors <= MOST_ERRORS {
            self.remarks.push(remark);
        }
    }
}

/// Reads one file into the state.
pub(super) fn parse_file(source: &Arc<Source>, state: &mut State<'_>) {
    state.files += 1;
    let source = &secrets::blanked(source);
    match Cursor::new(source, PUNCTUATION) {
        Ok(cursor) => Parser { cursor, state, resume: false, cut: false }.statements(),
        Err(error) => state.push(error),
    }
}

/// A file on its way into the state.
pub(super) struct Parser<'a, 's, 'f> {
    pub(super) cursor: Cursor<'a>,
    pub(super) state: &'s mut State<'f>,
    /// The last error was a semicolon forgotten at the end of a line: the next line is a statement of its own.
    resume: bool,
    /// The file ended inside a block, and that has been said.
    cut: bool,
}

/// The statements of a kind of block.
pub(super) struct Block {
    /// What an unknown one is called.
    pub(super) what: &'static str,
    /// Those that there are.
    pub(super) words: &'static [&'static str],
    /// Those that may be there several times.
    pub(super) repeatable: &'static [&'static str],
}

pub(super) type Parsed<T> = Result<T, Diagnostic>;

impl<'a> Parser<'a, '_, '_> {
    fn statements(&mut self) {
        while self.cursor.peek().is_some() && self.state.errors <= MOST_ERRORS {
            self.resume = false;
            if let Err(error) = self.top() {
                self.report(error);
                self.recover();
                // A brace that closes nothing stops the recovery; nothing else is left to do with it.
                self.cursor.accept('}');
            }
            self.flush();
        }
    }

    /// Hands the remarks so far to the state.
    pub(super) fn flush(&mut self) {
        for remark in std::mem::take(&mut self.cursor.remarks.list) {
            self.state.push(remark);
        }
    }

    /// `{ statement … }`; what opens the block is shown when it is never closed. Each statement takes its own semicolon.
    /// An `Err` of a statement stands in the middle of it: what is wrong with a whole is [`Parser::report`]ed.
    pub(super) fn block(
        &mut self,
        opener: Span,
        block: &Block,
        mut statement: impl FnMut(&mut Self, &'a str, Span) -> Parsed<()>,
    ) -> Parsed<()> {
        self.cursor.expect('{')?;
        let mut seen: Vec<&str> = Vec::new();
        loop {
            if self.cursor.accept('}') {
                return Ok(());
            }
            match self.cursor.peek() {
                // At the beginning of a line it rather shows that the block has no end.
                Some(Kind::Word("include"))
                    if self.cursor.remarks.source.place(self.cursor.span()).column > 1 =>
                {
                    let error = self.error(self.cursor.span(), "`include` belongs outside of all blocks");
                    let help = "move it there: the file that it names holds whole sections";
                    self.report(error.help(help));
                    self.recover();
                }
                Some(Kind::Word(word)) if !block.words.contains(&word) && top::WORDS.contains(&word) => {
                    let line = self.cursor.remarks.source.place(self.cursor.span()).line;
                    let error = self.error(opener, "this block is never closed");
                    self.report(
                        error.help(format!("add the closing brace `}}` before `{word}` in line {line}")),
                    );
                    return Ok(());
                }
                Some(Kind::Word(word)) => {
                    let span = self.cursor.span();
                    self.cursor.next();
                    self.resume = false;
                    if seen.contains(&word) && !block.repeatable.contains(&word) {
                        let help = "remove the other one";
                        self.cursor.remarks.warn(
                            span,
                            format!("`{word}` is here twice: this one counts"),
                            help,
                        );
                    }
                    let done = if block.words.contains(&word) {
                        seen.push(word);
                        statement(self, word, span)
                    } else {
                        Err(self.cursor.remarks.unknown(span, block.what, word, block.words))
                    };
                    if let Err(error) = done {
                        self.report(error);
                        self.recover();
                    }
                }
                Some(kind) => {
                    let span = self.cursor.span();
                    let message = format!("expected a statement or `}}`, found {}", describe(kind));
                    let error = self.error(span, message);
                    self.report(error);
                    self.cursor.next();
                    if kind != Kind::Punctuation(';') {
                        self.recover();
                    }
                }
                None => {
                    if !std::mem::replace(&mut self.cut, true) {
                        let error = self.error(opener, "this block is never closed");
                        self.report(error.help("add the closing brace `}`"));
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Goes on behind the statement that an error is in: behind its semicolon or its block, or before the brace that
    /// closes the block around it.
    fn recover(&mut self) {
        if std::mem::take(&mut self.resume) {
            return;
        }
        let mut depth = 0_usize;
        while let Some(kind) = self.cursor.peek() {
            match kind {
                Kind::Punctuation('}') if depth == 0 => return,
                Kind::Punctuation('}') => depth -= 1,
                Kind::Punctuation('{') => depth += 1,
                _ => {}
            }
            self.cursor.next();
            if depth == 0 && matches!(kind, Kind::Punctuation(';' | '}')) {
                return;
            }
        }
    }

    /// The semicolon behind a statement.
    pub(super) fn end(&mut self) -> Parsed<()> {
        if self.cursor.peek() == Some(Kind::Punctuation(',')) {
            let error = self.error(self.cursor.span(), "one value is all that may be here");
            return Err(error.help("end the statement with a semicolon in the place of the comma"));
        }
        self.cursor.expect(';').inspect_err(|_| {
            self.resume = matches!(self.cursor.peek(), Some(Kind::Word(_))) && self.on_new_line();
        })
    }

    /// Whether the next token is on a later line than the one before it.
    pub(super) fn on_new_line(&self) -> bool {
        let line = |span| self.cursor.remarks.source.place(span).line;
        line(self.cursor.span()) > line(self.cursor.previous())
    }

    /// What a block has to have and has not, in one error at its beginning; each with an example.
    pub(super) fn missing(&mut self, opener: Span, block: &str, needed: &[(bool, &str, &str)]) {
        let missing = || needed.iter().filter(|(there, _, _)| !there);
        let names: Vec<&str> = missing().map(|(_, name, _)| *name).collect();
        if names.is_empty() {
            return;
        }
        let lines: Vec<String> = missing().map(|(_, name, example)| format!("{name} {example};")).collect();
        let error = self.error(opener, format!("no {} in this {block}", names.join(", no ")));
        self.report(error.help(format!("add: {}", lines.join(" "))));
    }

    /// Where a block with this first line was written before; if it was not, it is from now on.
    pub(super) fn written_before(&mut self, first_line: String, origin: &Origin) -> Option<Place> {
        match self.state.written.entry(first_line) {
            Entry::Occupied(before) => Some(before.get().place()),
            Entry::Vacant(slot) => {
                slot.insert(origin.clone());
                None
            }
        }
    }

    pub(super) fn report(&mut self, remark: Diagnostic) {
        self.cursor.remarks.list.push(remark);
    }

    pub(super) fn error(&self, span: Span, message: impl Into<String>) -> Diagnostic {
        self.cursor.remarks.error(span, message)
    }

    pub(super) fn warn(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.cursor.remarks.warn(span, message, help);
    }

    pub(super) fn origin(&self, span: Span) -> Origin {
        Origin { source: self.cursor.remarks.source.clone(), span }
    }

    /// One of these words, and what it stands for.
    pub(super) fn choice<T: Copy>(&mut self, what: &str, words: &[(&'static str, T)]) -> Parsed<T> {
        let (word, span) = self.cursor.word(what)?;
        match words.iter().find(|(name, _)| *name == word) {
            Some((_, value)) => Ok(*value),
            None => {
                let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
                Err(self.cursor.remarks.unknown(span, what, word, &names))
            }
        }
    }

    /// One of these names. A name that only racoon knew is answered in the inner error.
    pub(super) fn named<T: Copy>(
        &mut self,
        what: &str,
        names: &[(&'static str, T)],
        gone: &[(&'static str, &'static str)],
    ) -> Parsed<Parsed<T>> {
        let span = self.cursor.span();
        if let Some(Kind::Word(word)) = self.cursor.peek()
            && let Some((name, why)) = gone.iter().find(|(name, _)| *name == word)
        {
            self.cursor.next();
            let first = names.first().map_or("", |(name, _)| name);
            let others: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
            let help =
                if first.is_empty() { String::new() } else { format!("use one of {}", others.join(", ")) };
            return Ok(Err(self
                .error(span, format!("the {what} `{name}` cannot be used: {why}"))
                .help(help)));
        }
        self.choice(what, names).map(Ok)
    }

    /// `on` or `off`.
    pub(super) fn switch(&mut self) -> Parsed<bool> {
        self.choice("value", &[("on", true), ("off", false)])
    }

    /// `N unit` in seconds; 0 is none.
    pub(super) fn time_or_zero(&mut self) -> Parsed<u32> {
        let span = self.cursor.span();
        let number: u32 = self.cursor.number("a time")?;
        let factor = self.choice("unit of time", &TIME_UNITS)?;
        number.checked_mul(factor).ok_or_else(|| self.error(span, "this time is out of range"))
    }

    /// `N unit` in seconds.
    pub(super) fn time(&mut self) -> Parsed<u32> {
        let span = self.cursor.span();
        match self.time_or_zero()? {
            0 => Err(self.error(span, "this time is out of range")),
            seconds => Ok(seconds),
        }
    }

    /// `N` in seconds, which has no unit.
    pub(super) fn plain_seconds(&mut self, directive: &str) -> Parsed<u32> {
        let seconds = self.cursor.number("a number of seconds")?;
        if let Some(Kind::Word(word)) = self.cursor.peek()
            && TIME_UNITS.iter().any(|(unit, _)| *unit == word)
        {
            let error = self.error(self.cursor.span(), format!("{directive} has no unit, it is in seconds"));
            return Err(error.help(format!("remove `{word}`")));
        }
        Ok(seconds)
    }

    /// `N unit` in bytes.
    pub(super) fn bytes(&mut self) -> Parsed<u64> {
        let span = self.cursor.span();
        let number: u64 = self.cursor.number("a number of bytes")?;
        let factor = self.choice("unit of bytes", &BYTE_UNITS)?;
        number
            .checked_mul(factor)
            .filter(|bytes| *bytes > 0)
            .ok_or_else(|| self.error(span, "this number of bytes is out of range"))
    }

    /// A number in a range.
    pub(super) fn ranged(&mut self, what: &str, least: u32, most: u32) -> Parsed<u32> {
        let span = self.cursor.span();
        let number: u32 = self.cursor.number(what)?;
        if (least..=most).contains(&number) {
            Ok(number)
        } else {
            Err(self
                .error(span, format!("{number} is out of range"))
                .help(format!("{least} to {most} is allowed")))
        }
    }

    /// A quoted string that is not empty.
    pub(super) fn text(&mut self, what: &str) -> Parsed<String> {
        let (text, span) = self.cursor.quoted(what)?;
        if text.is_empty() {
            return Err(self.error(span, format!("{what} is empty")));
        }
        if text.len() > LONGEST_TEXT {
            let message = format!("{what} is longer than {LONGEST_TEXT} bytes");
            return Err(self.error(span, message).help("is a quotation mark missing?"));
        }
        Ok(text.to_owned())
    }

    /// `ADDR` or `ADDR%interface`.
    pub(super) fn address(&mut self) -> Parsed<(IpAddr, Option<String>)> {
        let (word, span) = self.cursor.word("an address")?;
        let (address, zone) = match word.split_once('%') {
            Some((address, zone)) => (address, Some(zone.to_owned())),
            None => (word, None),
        };
        let address = self.ip(address, span)?;
        match (&zone, address) {
            (Some(zone), IpAddr::V6(_)) if !zone.is_empty() => Ok((address, Some(zone.clone()))),
            (None, _) => Ok((address, None)),
            _ => Err(self
                .error(span, format!("`{word}` is not an IP address"))
                .help("only IPv6 addresses have an interface, for example fe80::1%em0")),
        }
    }

    /// The address that this text is.
    pub(super) fn ip(&self, text: &str, span: Span) -> Parsed<IpAddr> {
        text.parse().map_err(|_| {
            self.error(span, format!("`{text}` is not an IP address"))
                .help("write it in numbers, for example 192.0.2.1; names are not looked up")
        })
    }

    /// `[port]`, when it is there.
    pub(super) fn port(&mut self) -> Parsed<Option<u16>> {
        if !self.cursor.accept('[') {
            return Ok(None);
        }
        let span = self.cursor.span();
        let port: u16 = self.cursor.number("a port")?;
        if port == 0 {
            return Err(self.error(span, "there is no port 0"));
        }
        self.cursor.expect(']')?;
        Ok(Some(port))
    }

    /// `ADDR [port]`.
    pub(super) fn udp_endpoint(&mut self, usual_port: u16) -> Parsed<UdpEndpoint> {
        let (address, zone) = self.address()?;
        let port = self.port()?.unwrap_or(usual_port);
        Ok(UdpEndpoint { address, zone, port })
    }

    /// One or more, with commas between them.
    pub(super) fn list<T>(&mut self, mut one: impl FnMut(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        let mut list = vec![one(self)?];
        while self.cursor.accept(',') {
            list.push(one(self)?);
        }
        if let Some(Kind::Word(word)) = self.cursor.peek()
            && !self.on_new_line()
        {
            let error = self.error(self.cursor.span(), format!("a comma `,` is missing before `{word}`"));
            return Err(error.help(format!("write `, {word}`, or end the statement with a semicolon")));
        }
        Ok(list)
    }
}
