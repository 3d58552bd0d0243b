//! What is hidden of a text before anything is said about it: keys, as the grammar places them, whatever they look like.
//!
//! A mistake may stand anywhere, so this asks for no more than the words around: a word behind an algorithm is a key, and
//! where options of an SA stand nothing is shown but options, what belongs to them and names of algorithms. What is in
//! quotes is a key wherever it stands, so is a number longer than any other, and a comment may be a line with keys.

use std::net::IpAddr;
use std::sync::Arc;

use super::COMMANDS;
use super::algorithms::{authentication, authentication_names, encryption, encryption_names, is_compression};
use super::sa::OPTIONS;
use crate::diagnostic::{Diagnostic, Source, Span, nearest};
use crate::lexer::{Kind, tokens};
use crate::psk::hex;

/// What the grammar has beside words and strings.
pub(super) const SIGNS: &str = ";[]";
/// Letters of the longest number that may be something else than a key: 0x and eight digits.
const LONGEST_NUMBER: usize = 10;
/// Letters of an option that does not exist and is shown all the same.
const LONGEST_OPTION: usize = 4;
const HOW_TO_WRITE: &str = "keys are written in double quotes, or as 0x and hexadecimal digits";
/// Source, destination, protocol and SPI.
const OPERANDS: usize = 4;

/// The pieces of a text that are hidden.
pub(super) struct Secrets {
    /// In their order.
    spans: Vec<Span>,
    /// The text without them. All places stay.
    pub(super) source: Arc<Source>,
}

impl Secrets {
    pub(super) fn of(source: &Arc<Source>) -> Self {
        let text = source.text.as_str();
        let mut spans = Vec::new();
        // Behind a quote without an end all may be a key.
        let open = tokens(source, SIGNS).err().map(|error| error.span.start);
        let whole = open.map_or_else(|| source.clone(), |at| Source::new("", text.get(..at).unwrap_or("")));
        let mut walk = Walk::default();
        let mut before = 0;
        for token in tokens(&whole, SIGNS).unwrap_or_default() {
            let between = text.get(before..token.span.start).unwrap_or("");
            comments(between, before, &mut spans);
            if walk.hides(token.kind, between.contains('\n')) {
                spans.push(token.span);
            }
            before = token.span.end;
        }
        comments(whole.text.get(before..).unwrap_or(""), before, &mut spans);
        spans.extend(open.map(|at| Span { start: at, end: text.len() }));
        let source = if spans.is_empty() { source.clone() } else { source.without(&spans) };
        Self { spans, source }
    }

    /// A remark of the parser, without what it quotes of them.
    pub(super) fn hide_in(&self, mut remark: Diagnostic) -> Diagnostic {
        let first = self.spans.partition_point(|secret| secret.end <= remark.span.start);
        let behind = self.spans.partition_point(|secret| secret.start < remark.span.end);
        // It is about the words underlined, or about the word behind them.
        for secret in self.spans.get(first..=behind).or(self.spans.get(first..)).unwrap_or_default() {
            let piece = |source: &Source| source.text.get(secret.start..secret.end).unwrap_or("").to_owned();
            let (word, hidden) = (piece(&remark.source), piece(&self.source));
            for quoted in [format!("`{word}`"), word].iter().filter(|quoted| quoted.starts_with(['`', '"'])) {
                if remark.message.contains(quoted) {
                    remark.message = remark.message.replace(quoted, &format!("`{hidden}`"));
                    // Which option or command a key resembles tells of it.
                    if ["unknown option", "unknown command"].iter().any(|it| remark.message.starts_with(it)) {
                        remark.help = Some(HOW_TO_WRITE.to_owned());
                    }
                }
            }
        }
        remark.source = self.source.clone();
        remark
    }
}

/// What is behind each `#` of what stands between two tokens.
fn comments(between: &str, start: usize, spans: &mut Vec<Span>) {
    let mut at = start;
    for line in between.split_inclusive('\n') {
        if let Some(sign) = line.find('#') {
            spans.push(Span { start: at + sign + 1, end: at + line.trim_end_matches('\n').len() });
        }
        at += line.len();
    }
}

/// What comes next.
#[derive(Default)]
enum Next {
    /// Nothing certain.
    #[default]
    Any,
    /// What belongs to an option that is not about keys.
    Value,
    Algorithm,
    Key,
}

/// What is known of a command while its words are gone through.
#[derive(Default)]
struct Walk {
    /// Its first word has been there.
    has_begun: bool,
    /// It is about an SA with its keys.
    may_have_keys: bool,
    /// Hosts, protocol and SPI so far.
    operands: usize,
    /// Inside of `[` and `]`.
    is_port: bool,
    /// From here on only options, and what belongs to them, are shown.
    among_keys: bool,
    /// A key was neither in quotes nor a number, so its end is not known: not even what belongs to options is shown.
    is_loose: bool,
    next: Next,
    /// A key has ended on this line: what seems to be a command may be its second half.
    is_behind_key: bool,
}

impl Walk {
    fn hides(&mut self, kind: Kind<'_>, begins_line: bool) -> bool {
        self.is_behind_key &= !begins_line;
        match kind {
            Kind::Punctuation(';') => {
                *self = Self { is_behind_key: self.is_behind_key || self.among_keys, ..Self::default() };
                false
            }
            Kind::Punctuation(sign) => {
                self.is_port = sign == '[';
                self.among_keys
            }
            Kind::Quoted(_) => {
                (self.has_begun, self.among_keys, self.next) = (true, true, Next::Any);
                true
            }
            Kind::Word(word) => {
                let is_key = matches!(self.next, Next::Key);
                let is_command = COMMANDS.contains(&word) && begins_line && !is_key;
                let is_hidden = match self.has_begun && !is_command {
                    true => self.word(word),
                    false => self.command(word),
                };
                is_hidden || digits_of(word).is_some() && word.len() > LONGEST_NUMBER
            }
        }
    }

    /// The first word of a command.
    fn command(&mut self, word: &str) -> bool {
        let is_hidden = self.is_behind_key && !COMMANDS.contains(&word);
        let meant = nearest(word, &COMMANDS);
        *self = Self {
            has_begun: true,
            may_have_keys: meant.is_some_and(|meant| ["add", "update"].contains(&meant)),
            among_keys: is_hidden || meant.is_none(),
            is_behind_key: self.is_behind_key,
            ..Self::default()
        };
        // An option or an algorithm is the rest of a command that was cut in two.
        match is_algorithm(word) || word.starts_with('-') {
            true => self.word(word) || is_hidden,
            false => is_hidden,
        }
    }

    /// A word that may be a key, or a piece of one.
    fn key(&mut self, word: &str) -> bool {
        self.is_loose |= digits_of(word).and_then(hex).is_none();
        true
    }

    fn word(&mut self, word: &str) -> bool {
        let next = std::mem::take(&mut self.next);
        if OPTIONS.contains(&word) {
            let has_algorithm = has_algorithm(word);
            self.among_keys |= has_algorithm || self.may_have_keys;
            self.next = match word {
                "-esn" => Next::Any,
                _ if has_algorithm => Next::Algorithm,
                _ => Next::Value,
            };
            return false;
        }
        match next {
            Next::Value => self.is_loose,
            // Of -C.
            _ if word == "-R" => false,
            Next::Key => self.key(word),
            Next::Algorithm if is_algorithm(word) || seems_algorithm(word) => {
                self.next = Next::Key;
                false
            }
            Next::Algorithm => self.key(word),
            Next::Any if is_algorithm(word) => {
                (self.among_keys, self.next) = (true, Next::Key);
                self.is_loose
            }
            Next::Any if word.get(..2).is_some_and(has_algorithm) => {
                self.among_keys = true;
                self.key(word)
            }
            Next::Any if self.among_keys => {
                let is_option = word.starts_with('-') && word.len() <= LONGEST_OPTION && !self.is_loose;
                !is_option && self.key(word)
            }
            Next::Any => {
                let is_early_option = self.operands == 0 && word.starts_with('-');
                self.operands += usize::from(!self.is_port && !is_early_option);
                // That of `esp-udp` may have an address behind it.
                let is_spi = self.operands == OPERANDS && word.parse::<IpAddr>().is_err();
                self.among_keys = self.may_have_keys && (is_spi || self.operands > OPERANDS);
                false
            }
        }
    }
}

/// What follows 0x.
fn digits_of(word: &str) -> Option<&str> {
    word.strip_prefix("0x").or_else(|| word.strip_prefix("0X"))
}

/// Whether an option has an algorithm with a key behind it.
fn has_algorithm(option: &str) -> bool {
    ["-E", "-A", "-C"].contains(&option)
}

fn is_algorithm(word: &str) -> bool {
    encryption(word).is_some() || authentication(word).is_some() || is_compression(word)
}

/// Whether a name is meant that is written in another way, or not to its end.
fn seems_algorithm(word: &str) -> bool {
    let names = encryption_names().into_iter().chain(authentication_names()).chain(["deflate", "none"]);
    let (names, word): (Vec<&str>, String) = (names.collect(), word.to_ascii_lowercase());
    nearest(&word, &names).is_some() || word.len() > 2 && names.iter().any(|name| name.contains(&word))
}
