//! Words, numbers, addresses, strings and signs of bird.conf, with their places; `define` is replaced by what it stands
//! for.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Remarks, Source, Span};

/// Bytes that a file may have.
const LONGEST: usize = 4 << 20;
/// Tokens of it, after all constants are put in their places.
const MOST: usize = 200_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind<'a>,
    pub(super) span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    Word(&'a str),
    Number(u32),
    Address(Ipv4Addr),
    /// Without its quotes.
    Text(&'a str),
    Sign(char),
    /// Of two characters.
    Operator(&'a str),
    /// An IPv6 address, a string of bytes, or another thing that means nothing to OSPFv2.
    Other(&'a str),
}

impl Kind<'_> {
    /// As it is called in a sentence.
    pub(super) fn describe(self) -> String {
        match self {
            // It may be a password.
            Self::Text(_) => "a string".to_owned(),
            Self::Word(word) | Self::Operator(word) | Self::Other(word) => format!("`{word}`"),
            Self::Number(number) => format!("`{number}`"),
            Self::Address(address) => format!("`{address}`"),
            Self::Sign(sign) => format!("`{sign}`"),
        }
    }
}

const OPERATORS: [&str; 9] = ["!=", "!~", "<=", ">=", "&&", "||", "..", "::", "->"];
const SIGNS: &str = "{}()[];,=<>+-*/.~!?:%&|@";

/// Characters without a meaning that are told of, before the rest is not looked at any more.
const PATIENCE: usize = 20;

/// All tokens, and what is said of characters that begin none; an error when the rest cannot be taken apart.
pub(super) fn tokens<'a>(source: &'a Arc<Source>) -> Result<(Vec<Token<'a>>, Vec<Diagnostic>), Diagnostic> {
    let text = source.text.as_str();
    let remarks = Remarks::new(source);
    if text.len() > LONGEST {
        return Err(remarks.error(source.beginning(), "a bird.conf of more than 4 MiB is not read"));
    }
    let (mut tokens, mut strays) = (Vec::new(), Vec::new());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let start = text.len() - rest.len();
        let here = Span { start, end: start + first.len_utf8() };
        if first.is_whitespace() {
            rest = rest.trim_start();
            continue;
        }
        if first == '#' {
            rest = rest.find('\n').and_then(|end| rest.get(end..)).unwrap_or("");
            continue;
        }
        if rest.starts_with("/*") {
            let Some(end) = rest.find("*/") else {
                return Err(remarks.error(here, "this comment has no end").help("add `*/`"));
            };
            rest = rest.get(end + 2..).unwrap_or("");
            continue;
        }
        let (kind, length) = if first == '"' || first == '\'' {
            let inner = rest.get(1..).unwrap_or("");
            let end =
                inner.find([first, '\n']).filter(|end| inner.get(*end..).unwrap_or("").starts_with(first));
            let Some(end) = end else {
                let error = remarks.error(here, "this quoted string has no end");
                return Err(error.help("add the closing quote on the same line"));
            };
            let inner = inner.get(..end).unwrap_or("");
            (if first == '"' { Kind::Text(inner) } else { Kind::Word(inner) }, end + 2)
        } else {
            match word(rest).or_else(|| sign(rest, first)) {
                Some(found) => found,
                None => {
                    let message = format!("`{}` has no meaning in bird.conf", first.escape_default());
                    strays.push(remarks.error(here, message));
                    if strays.len() >= PATIENCE {
                        return Ok((tokens, strays));
                    }
                    rest = rest.get(first.len_utf8()..).unwrap_or("");
                    continue;
                }
            }
        };
        tokens.push(Token { kind, span: Span { start, end: start + length } });
        if tokens.len() > MOST {
            return Err(remarks.error(here, format!("there are more than {MOST} words up to here")));
        }
        rest = rest.get(length..).unwrap_or("");
    }
    Ok((tokens, strays))
}

fn sign(rest: &str, first: char) -> Option<(Kind<'_>, usize)> {
    let two = rest.get(..2).filter(|two| OPERATORS.contains(two));
    two.map(|two| (Kind::Operator(two), 2))
        .or_else(|| SIGNS.contains(first).then(|| (Kind::Sign(first), first.len_utf8())))
}

/// A word, number or address.
fn word(rest: &str) -> Option<(Kind<'_>, usize)> {
    let run = |extra: &[char]| {
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || extra.contains(&c)));
        rest.get(..end.unwrap_or(rest.len())).unwrap_or("")
    };
    let wide = run(&['.', ':']);
    if wide.contains(':') && (wide.parse::<Ipv6Addr>().is_ok() || wide.starts_with("hex:")) {
        return Some((Kind::Other(wide), wide.len()));
    }
    let simple = run(&[]);
    if !simple.starts_with(|c: char| c.is_ascii_digit()) {
        return (!simple.is_empty()).then_some((Kind::Word(simple), simple.len()));
    }
    // `1..2` is a range.
    let dotted = run(&['.']);
    let dotted = dotted.find("..").and_then(|end| dotted.get(..end)).unwrap_or(dotted);
    if let Ok(address) = dotted.parse() {
        return Some((Kind::Address(address), dotted.len()));
    }
    let number = match simple.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => simple.parse(),
    };
    if let Ok(number) = number {
        return Some((Kind::Number(number), simple.len()));
    }
    let bytes = run(&[':']);
    Some((Kind::Other(bytes), bytes.len()))
}

/// The tokens without `define NAME = …;`, and with what it stands for in place of each name.
pub(super) fn expand<'a>(
    tokens: &[Token<'a>],
    remarks: &mut Remarks<'_>,
) -> Result<Vec<Token<'a>>, Diagnostic> {
    let mut constants: BTreeMap<&str, Vec<Kind<'a>>> = BTreeMap::new();
    let mut expanded = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        let named = tokens.get(at).map(|next| next.kind);
        if token.kind == Kind::Word("include")
            && let Some(Kind::Text(_)) = named
        {
            let error = remarks.error(token.span, "other files are not read in");
            remarks.list.push(error.help("put the text of that file here"));
            at += 1;
            at += usize::from(tokens.get(at).is_some_and(|token| token.kind == Kind::Sign(';')));
            continue;
        }
        if token.kind == Kind::Word("define")
            && let Some(Kind::Word(name)) = named
            && tokens.get(at + 1).map(|token| token.kind) == Some(Kind::Sign('='))
        {
            at += 2;
            let mut value = Vec::new();
            loop {
                match tokens.get(at).map(|token| token.kind) {
                    Some(Kind::Sign(';')) => break at += 1,
                    None | Some(Kind::Word("define" | "filter" | "protocol" | "router")) => {
                        let error =
                            remarks.error(token.span, "a semicolon `;` is missing behind this constant");
                        remarks.list.push(error);
                        break;
                    }
                    Some(kind) => push(&mut value, kind, &constants),
                }
                at += 1;
                if value.len() > MOST {
                    return Err(remarks.error(token.span, format!("this stands for more than {MOST} words")));
                }
            }
            constants.insert(name, value);
            continue;
        }
        let mut kinds = Vec::new();
        push(&mut kinds, token.kind, &constants);
        expanded.extend(kinds.into_iter().map(|kind| Token { kind, span: token.span }));
        if expanded.len() > MOST {
            let message = format!("with its constants the file has more than {MOST} words up to here");
            return Err(remarks.error(token.span, message));
        }
    }
    Ok(expanded)
}

fn push<'a>(to: &mut Vec<Kind<'a>>, kind: Kind<'a>, constants: &BTreeMap<&str, Vec<Kind<'a>>>) {
    match kind {
        Kind::Word(word) if constants.contains_key(word) => {
            to.extend(constants.get(word).into_iter().flatten().copied());
        }
        _ => to.push(kind),
    }
}
