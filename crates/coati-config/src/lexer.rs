//! Words, strings and punctuation of racoon.conf and setkey.conf, with their places.

use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Remarks, Source, Span};

/// One token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind<'a>,
    pub(crate) span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind<'a> {
    Word(&'a str),
    /// Without its quotes.
    Quoted(&'a str),
    Punctuation(char),
}

/// All tokens of `source`; `#` begins a comment, each of `punctuation` stands for itself.
pub(crate) fn tokens<'a>(source: &'a Arc<Source>, punctuation: &str) -> Result<Vec<Token<'a>>, Diagnostic> {
    let text = source.text.as_str();
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let start = text.len() - rest.len();
        let (kind, length) = if first.is_whitespace() {
            rest = rest.trim_start();
            continue;
        } else if first == '#' {
            rest = rest.find('\n').and_then(|end| rest.get(end..)).unwrap_or("");
            continue;
        } else if first == '"' {
            let inner = rest.get(1..).unwrap_or("");
            let Some(end) = inner.find('"') else {
                let span = Span { start, end: start + 1 };
                return Err(Remarks::new(source)
                    .error(span, "this quoted string has no end")
                    .help("add the closing quote"));
            };
            (Kind::Quoted(inner.get(..end).unwrap_or("")), end + 2)
        } else if punctuation.contains(first) {
            (Kind::Punctuation(first), first.len_utf8())
        } else {
            let ends = |c: char| c.is_whitespace() || c == '#' || c == '"' || punctuation.contains(c);
            let length = rest.find(ends).unwrap_or(rest.len());
            (Kind::Word(rest.get(..length).unwrap_or("")), length)
        };
        tokens.push(Token { kind, span: Span { start, end: start + length } });
        rest = rest.get(length..).unwrap_or("");
    }
    Ok(tokens)
}

/// A walk over tokens, with the errors that every grammar needs.
pub(crate) struct Cursor<'a> {
    pub(crate) tokens: Vec<Token<'a>>,
    pub(crate) at: usize,
    pub(crate) remarks: Remarks<'a>,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(source: &'a Arc<Source>, punctuation: &str) -> Result<Self, Diagnostic> {
        Ok(Self { tokens: tokens(source, punctuation)?, at: 0, remarks: Remarks::new(source) })
    }

    pub(crate) fn peek(&self) -> Option<Kind<'a>> {
        self.tokens.get(self.at).map(|token| token.kind)
    }

    /// The place of the next token, or the end of the text.
    pub(crate) fn span(&self) -> Span {
        let text = &self.remarks.source.text;
        let last = text.chars().next_back().map_or(0, char::len_utf8);
        let end = Span { start: text.len() - last, end: text.len() };
        self.tokens.get(self.at).map_or(end, |token| token.span)
    }

    /// The place of the token before.
    pub(crate) fn previous(&self) -> Span {
        self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).map_or(Span::default(), |token| token.span)
    }

    pub(crate) fn next(&mut self) -> Option<Token<'a>> {
        let token = self.tokens.get(self.at).cloned();
        self.at += usize::from(token.is_some());
        token
    }

    /// Takes the punctuation when it comes next.
    pub(crate) fn accept(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(Kind::Punctuation(wanted));
        self.at += usize::from(found);
        found
    }

    /// Takes the word when it comes next.
    pub(crate) fn accept_word(&mut self, wanted: &str) -> bool {
        let found = self.peek() == Some(Kind::Word(wanted));
        self.at += usize::from(found);
        found
    }

    /// The punctuation must come next. A missing semicolon is shown behind the word before, where it belongs.
    pub(crate) fn expect(&mut self, wanted: char) -> Result<(), Diagnostic> {
        if self.accept(wanted) {
            return Ok(());
        }
        let previous = self.previous();
        let text = &self.remarks.source.text;
        let start = text.floor_char_boundary(previous.end.saturating_sub(1).max(previous.start));
        let span = Span { start, end: previous.end };
        let found = match self.peek() {
            Some(kind) => format!("before {}", describe(kind)),
            None => "before the end of the file".to_owned(),
        };
        let name = match wanted {
            ';' => "a semicolon",
            '{' => "an opening brace",
            '}' => "a closing brace",
            _ => "a sign",
        };
        Err(self
            .remarks
            .error(span, format!("{name} `{wanted}` is missing {found}"))
            .help(format!("add `{wanted}` here")))
    }

    /// A word must come next; `what` names it.
    pub(crate) fn word(&mut self, what: &str) -> Result<(&'a str, Span), Diagnostic> {
        let span = self.span();
        match self.peek() {
            Some(Kind::Word(word)) => {
                self.at += 1;
                Ok((word, span))
            }
            Some(kind) => Err(self.remarks.error(span, format!("expected {what}, found {}", describe(kind)))),
            None => Err(self.remarks.error(span, format!("expected {what}, found the end of the file"))),
        }
    }

    /// A quoted string must come next; `what` names it.
    pub(crate) fn quoted(&mut self, what: &str) -> Result<(&'a str, Span), Diagnostic> {
        let span = self.span();
        match self.peek() {
            Some(Kind::Quoted(text)) => {
                self.at += 1;
                Ok((text, span))
            }
            Some(Kind::Word(word)) => Err(self
                .remarks
                .error(span, format!("{what} must be in quotes"))
                .help(format!("write \"{word}\""))),
            _ => Err(self.remarks.error(span, format!("expected {what} in quotes"))),
        }
    }

    /// A number must come next; `what` names it.
    pub(crate) fn number<T: std::str::FromStr>(&mut self, what: &str) -> Result<T, Diagnostic> {
        let (word, span) = self.word(what)?;
        word.parse().map_err(|_| {
            let digits = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
            let why = if digits { "it is too large" } else { "a number is needed" };
            self.remarks.error(span, format!("`{word}` is not {what}: {why}"))
        })
    }
}

pub(crate) fn describe(kind: Kind<'_>) -> String {
    match kind {
        Kind::Word(word) => format!("`{word}`"),
        Kind::Quoted(text) => format!("\"{text}\""),
        Kind::Punctuation(sign) => format!("`{sign}`"),
    }
}
