//! A walk over the tokens, with the errors that every block needs.

use std::net::{IpAddr, Ipv4Addr};

use coati_sadb::Prefix;

use super::lexer::{Kind, Token};
use crate::diagnostic::{Diagnostic, Remarks, Severity, Span, nearest};

pub(super) struct Reader<'a> {
    pub(super) tokens: Vec<Token<'a>>,
    pub(super) at: usize,
    pub(super) remarks: Remarks<'a>,
}

/// A piece of the tokens: the condition behind `where`, the statements of a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn peek(&self) -> Option<Kind<'a>> {
        self.ahead(0)
    }

    pub(super) fn ahead(&self, count: usize) -> Option<Kind<'a>> {
        self.tokens.get(self.at + count).map(|token| token.kind)
    }

    /// The place of the next token, or the end of the text.
    pub(super) fn span(&self) -> Span {
        let text = &self.remarks.source.text;
        let last = text.chars().next_back().map_or(0, char::len_utf8);
        let end = Span { start: text.len() - last, end: text.len() };
        self.tokens.get(self.at).map_or(end, |token| token.span)
    }

    /// From the token at `start` to the one before the next.
    pub(super) fn since(&self, start: usize) -> Span {
        let first = self.tokens.get(start).map_or_else(|| self.span(), |token| token.span);
        let last = self.tokens.get(self.at.saturating_sub(1).max(start)).map_or(first, |token| token.span);
        first.to(last)
    }

    pub(super) fn accept(&mut self, sign: char) -> bool {
        let found = self.peek() == Some(Kind::Sign(sign));
        self.at += usize::from(found);
        found
    }

    /// Takes these words when they come next.
    pub(super) fn accept_words(&mut self, words: &str) -> bool {
        let all = || words.split(' ').enumerate();
        let found = all().all(|(index, word)| self.ahead(index) == Some(Kind::Word(word)));
        self.at += if found { all().count() } else { 0 };
        found
    }

    pub(super) fn expect(&mut self, sign: char) -> Result<(), Diagnostic> {
        if self.accept(sign) {
            return Ok(());
        }
        Err(self.wanted(&format!("`{sign}`")))
    }

    /// Something else should come here.
    pub(super) fn wanted(&self, what: &str) -> Diagnostic {
        let found = self.peek().map_or("the end of the file".to_owned(), Kind::describe);
        self.remarks.error(self.span(), format!("expected {what}, found {found}"))
    }

    pub(super) fn number<T: TryFrom<u32>>(&mut self, from: u32, to: u32) -> Result<T, Diagnostic> {
        let what = format!("a number from {from} to {to}");
        match self.peek() {
            Some(Kind::Number(number)) if (from..=to).contains(&number) => {
                let value = T::try_from(number).map_err(|_| self.wanted(&what))?;
                self.at += 1;
                Ok(value)
            }
            Some(Kind::Sign('(')) => {
                let error = self.remarks.error(self.span(), "expressions are not computed");
                Err(error.help(format!("write {what}")))
            }
            _ => Err(self.wanted(&what)),
        }
    }

    /// A number or address, as of areas and routers.
    pub(super) fn id(&mut self, what: &str) -> Result<Ipv4Addr, Diagnostic> {
        let id = match self.peek() {
            Some(Kind::Number(number)) => Ipv4Addr::from(number),
            Some(Kind::Address(address)) => address,
            _ => return Err(self.wanted(what)),
        };
        self.at += 1;
        Ok(id)
    }

    pub(super) fn text(&mut self, what: &str) -> Result<&'a str, Diagnostic> {
        match self.peek() {
            Some(Kind::Text(text)) => {
                self.at += 1;
                Ok(text)
            }
            _ => Err(self.wanted(what)),
        }
    }

    /// `10.0.0.0/8`; an address alone is a host where `host` says so.
    pub(super) fn prefix(&mut self, host: bool) -> Result<Prefix, Diagnostic> {
        let what = "an IPv4 network such as 10.0.0.0/8";
        let Some(Kind::Address(address)) = self.peek() else { return Err(self.wanted(what)) };
        let start = self.at;
        self.at += 1;
        let length = match (self.accept('/'), self.peek()) {
            (true, Some(Kind::Number(length))) => {
                self.at += 1;
                u8::try_from(length).ok()
            }
            (false, _) if host => Some(32),
            _ => return Err(self.wanted(what)),
        };
        let prefix = length.and_then(|length| Prefix::new(IpAddr::V4(address), length).ok());
        let prefix =
            prefix.ok_or_else(|| self.remarks.error(self.since(start), format!("this is not {what}")))?;
        Ok(prefix.network())
    }

    /// `yes`, `no` or what else stands for them; nothing is yes.
    pub(super) fn switch(&mut self) -> Result<bool, Diagnostic> {
        let value = match self.peek() {
            Some(Kind::Word("yes" | "on" | "true")) => true,
            Some(Kind::Word("no" | "off" | "false")) => false,
            Some(Kind::Number(number)) => number != 0,
            Some(Kind::Sign(';' | '}')) | None => return Ok(true),
            _ => return Err(self.wanted("`yes` or `no`")),
        };
        self.at += 1;
        Ok(value)
    }

    /// The end of a statement.
    pub(super) fn end(&mut self) -> Result<(), Diagnostic> {
        if self.accept(';') || self.at > 0 && self.behind_block() {
            return Ok(());
        }
        let found = self.peek().map_or("the end of the file".to_owned(), Kind::describe);
        let error = self.remarks.error(self.span(), format!("a semicolon `;` is missing before {found}"));
        let error = error.help("add `;` here");
        // What begins on a line of its own is the next statement, which is read too.
        let before = self.tokens.get(self.at.saturating_sub(1)).map_or(0, |token| token.span.end);
        let between = self.remarks.source.text.get(before..self.span().start).unwrap_or("");
        if between.contains('\n') {
            self.remarks.list.push(error);
            return Ok(());
        }
        Err(error)
    }

    fn behind_block(&self) -> bool {
        self.tokens.get(self.at.saturating_sub(1)).is_some_and(|token| token.kind == Kind::Sign('}'))
    }

    /// Goes behind the statement, whatever it is: behind its semicolon or block; not out of the block that it is in.
    pub(super) fn skip(&mut self) {
        let mut depth = 0usize;
        while let Some(kind) = self.peek() {
            match kind {
                Kind::Sign('{' | '[' | '(') => depth += 1,
                Kind::Sign('}' | ']' | ')') => {
                    if depth == 0 {
                        return;
                    }
                    depth -= 1;
                    if depth == 0 && kind == Kind::Sign('}') {
                        self.at += 1;
                        self.accept(';');
                        return;
                    }
                }
                Kind::Sign(';') if depth == 0 => {
                    self.at += 1;
                    return;
                }
                _ => {}
            }
            self.at += 1;
        }
    }

    /// `{ … }`, each statement read by `read`; one that is wrong does not hide the others.
    pub(super) fn block(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<(), Diagnostic>,
    ) -> Result<(), Diagnostic> {
        let open = self.span();
        self.expect('{')?;
        loop {
            if self.accept('}') {
                return Ok(());
            }
            if self.peek().is_none() {
                return Err(self.remarks.error(open, "this brace is never closed").help("add `}`"));
            }
            if self.accept(';') {
                continue;
            }
            let start = self.at;
            if let Err(error) = read(self) {
                self.remarks.list.push(error);
                self.skip();
            }
            // A sign that closes nothing.
            self.at = self.at.max(start + usize::from(self.peek() != Some(Kind::Sign('}'))));
        }
    }

    pub(super) fn warn(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.remarks.warn(span, message, help);
    }

    pub(super) fn note(&mut self, span: Span, message: impl Into<String>) {
        let note = Diagnostic::new(Severity::Note, self.remarks.source, span, message);
        self.remarks.list.push(note);
    }

    /// The statement here is not carried over.
    pub(super) fn leave_out(&mut self, what: &str) {
        let start = self.at;
        self.skip();
        let span = self.head(start);
        self.warn(span, format!("{what} is left out"), "Coati has nothing like it");
    }

    /// The statement here makes no difference to what Coati does.
    pub(super) fn pass_over(&mut self, why: &str) {
        let start = self.at;
        self.skip();
        let span = self.head(start);
        self.note(span, why);
    }

    /// A statement of a block that this program does not know.
    pub(super) fn unknown(&mut self, block: &str, known: &[&str]) {
        let start = self.at;
        let Some(Kind::Word(word)) = self.peek() else {
            let error = self.wanted("a statement");
            self.remarks.list.push(error);
            self.skip();
            return;
        };
        // A word too many in front of a statement does not hide that.
        if let Some(Kind::Word(next)) = self.ahead(1)
            && known.iter().any(|known| known.split(' ').next() == Some(next))
            && nearest(word, known).is_none()
        {
            let error = self.remarks.error(self.span(), format!("`{word}` does not belong here"));
            self.remarks.list.push(error.help("take it away"));
            self.at += 1;
            return;
        }
        self.skip();
        let span = self.head(start);
        let help = match nearest(word, known) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "Coati does not know what it means".to_owned(),
        };
        self.warn(span, format!("`{word}` of `{block}` is left out"), help);
    }

    /// The words of a statement up to its block, or all of it.
    fn head(&self, start: usize) -> Span {
        let words = self.tokens.get(start..self.at).unwrap_or(&[]);
        let stop = |token: &&Token<'_>| !matches!(token.kind, Kind::Sign('{' | ';'));
        let first = words.first().map_or_else(|| self.span(), |token| token.span);
        words.iter().take_while(stop).last().map_or(first, |last| first.to(last.span))
    }
}
