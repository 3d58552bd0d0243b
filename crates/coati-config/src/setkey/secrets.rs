//! What is hidden of a text before anything is said about it: keys, as the grammar places them, whatever they look like.
//!
//! A mistake may stand anywhere, so this asks for no more than the words around: a word behind an algorithm is a key, and
//! where options of an SA stand nothing is shown but options, what belongs to them and names of algorithms. Elsewhere a word
//! is shown when it may be what stands there: no command is unlike all commands, no SPI is without a digit. What is in quotes
//! is a key wherever it stands, so is a number longer than any other, and a comment may be a line with keys.

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
/// Letters of the longest name without a dot: interfaces, services and protocols have no longer ones.
const LONGEST_NAME: usize = 15;
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
        let piece =
            |source: &Source, span: Span| source.text.get(span.start..span.end).unwrap_or("").to_owned();
        // It is about the words underlined, or about the word behind them.
        for secret in self.spans.get(first..=behind).or(self.spans.get(first..)).unwrap_or_default() {
            let (word, hidden) = (piece(&remark.source, *secret), piece(&self.source, *secret));
            for quoted in [format!("`{word}`"), word].iter().filter(|quoted| quoted.starts_with(['`', '"'])) {
                if remark.message.contains(quoted) {
                    remark.message = remark.message.replace(quoted, &format!("`{hidden}`"));
                    // Which option or command a key resembles tells of it.
                    if remark.message.starts_with("unknown option") {
                        remark.help = Some(HOW_TO_WRITE.to_owned());
                    } else if remark.message.starts_with("unknown command") {
                        remark.help = Some(format!("{HOW_TO_WRITE}; `help` lists the commands"));
                    }
                }
            }
            // A rule may be quoted in parts, and elsewhere than where it stands.
            let (word, hidden) = (piece(&remark.source, *secret), hidden.as_str());
            for part in word.split('/').filter(|part| !may_be_name(part)).chain([word.as_str()]) {
                let stars = hidden.get(..part.chars().count()).unwrap_or(hidden);
                for text in std::iter::once(&mut remark.message).chain(&mut remark.help) {
                    if part.len() > LONGEST_NUMBER {
                        *text = text.replace(part, stars);
                    }
                }
            }
        }
        // Words underlined together are quoted without the blanks between them.
        let close = |source: &Source| piece(source, remark.span).split_whitespace().collect::<String>();
        let (words, hidden) = (close(&remark.source), close(&self.source));
        if words != hidden {
            remark.message = remark.message.replace(&format!("`{words}`"), &format!("`{hidden}`"));
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
enum Next<'a> {
    /// Nothing certain.
    #[default]
    Any,
    /// What belongs to this option, which is not about keys.
    Value(&'a str),
    Algorithm,
    Key,
}

/// What is known of a command while its words are gone through.
#[derive(Default)]
struct Walk<'a> {
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
    next: Next<'a>,
    /// A key has ended on this line: what seems to be a command may be its second half.
    is_behind_key: bool,
    /// The command before has ended where a key had to come: it may stand on another line, until there is a command.
    lacks_key: bool,
}

impl<'a> Walk<'a> {
    fn hides(&mut self, kind: Kind<'a>, begins_line: bool) -> bool {
        self.is_behind_key &= !begins_line;
        match kind {
            Kind::Punctuation(';') => {
                *self = Self {
                    is_behind_key: self.is_behind_key || self.among_keys,
                    lacks_key: self.lacks_key || matches!(self.next, Next::Key | Next::Algorithm),
                    ..Self::default()
                };
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
                is_hidden
                    || has_digits_of_a_key(word)
                    || digits_of(word).is_some() && word.len() > LONGEST_NUMBER
            }
        }
    }

    /// The first word of a command.
    fn command(&mut self, word: &'a str) -> bool {
        let is_known = COMMANDS.contains(&word);
        // None has a digit, and `?` is near to every letter.
        let may_be_one = is_known || word.len() > 1 && !word.contains(|c: char| c.is_ascii_digit());
        let meant = may_be_one.then(|| nearest(&word.to_ascii_lowercase(), &COMMANDS)).flatten();
        let is_behind_key = self.is_behind_key || self.lacks_key;
        *self = Self {
            has_begun: true,
            may_have_keys: meant.is_some_and(|meant| ["add", "update"].contains(&meant)),
            among_keys: is_behind_key && !is_known || meant.is_none(),
            is_behind_key: self.is_behind_key,
            lacks_key: self.lacks_key && !is_known,
            ..Self::default()
        };
        // An option or an algorithm is the rest of a command that was cut in two.
        match is_algorithm(word) || word.starts_with('-') {
            true => self.word(word) || is_behind_key,
            false => self.among_keys,
        }
    }

    /// A word that may be a key, or a piece of one.
    fn key(&mut self, word: &str) -> bool {
        self.is_loose |= digits_of(word).and_then(hex).is_none();
        true
    }

    fn word(&mut self, word: &'a str) -> bool {
        let next = std::mem::take(&mut self.next);
        if OPTIONS.contains(&word) {
            let has_algorithm = has_algorithm(word);
            self.among_keys |= has_algorithm || self.may_have_keys;
            self.next = match word {
                "-esn" => Next::Any,
                _ if has_algorithm => Next::Algorithm,
                _ => Next::Value(word),
            };
            return false;
        }
        match next {
            Next::Value(option) => self.is_loose || !may_belong_to(option, word),
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
                let is_address = word.parse::<IpAddr>().is_ok();
                let is_spi = self.operands == OPERANDS && !is_address || self.operands > OPERANDS;
                self.among_keys = self.may_have_keys && is_spi;
                match self.among_keys && !self.is_port {
                    true => !may_be_number(word),
                    false => !word.split('/').all(|part| may_be_name(part) || part.contains(['.', ':'])),
                }
            }
        }
    }
}

/// Whether a word may be a number, or one with a mistake.
fn may_be_number(word: &str) -> bool {
    word.len() <= LONGEST_OPTION
        || word.len() <= LONGEST_NUMBER && word.starts_with(|c: char| c.is_ascii_digit())
}

/// Whether a word may be the name of something.
fn may_be_name(word: &str) -> bool {
    let digits = word.chars().filter(char::is_ascii_hexdigit).count();
    word.len() <= LONGEST_NAME && digits <= LONGEST_NUMBER
}

/// Whether a word may be what belongs to an option that is not about keys.
fn may_belong_to(option: &str, word: &str) -> bool {
    match option {
        "-m" | "-f" | "-hwif" | "-ctx" => may_be_name(word),
        // They may be long, and of decimal digits only.
        "-bh" | "-bs" if word.len() <= LONGEST_NAME && word.chars().all(|c| c.is_ascii_digit()) => true,
        _ => may_be_number(word),
    }
}

/// Whether more hexadecimal digits stand side by side than in any number that is written in earnest.
fn has_digits_of_a_key(word: &str) -> bool {
    word.split(|c: char| !c.is_ascii_hexdigit()).any(|digits| digits.len() > LONGEST_NAME)
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
