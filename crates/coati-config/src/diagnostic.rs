//! What is wrong with a file, where, and what to do about it.

use std::fmt;
use std::sync::Arc;

/// A file's text under its name.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// Name for people, usually its path.
    pub name: String,
    /// What it holds.
    pub text: String,
    /// First byte of each line.
    lines: Vec<usize>,
    /// The file was no UTF-8: its bytes are the text's characters (ISO-8859-1).
    is_latin1: bool,
}

impl Source {
    /// A file's text under its name.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Arc<Self> {
        Arc::new(Self::of(name.into(), text.into(), false))
    }

    /// Its first character, for what is said of the file as a whole.
    pub(crate) fn beginning(&self) -> Span {
        Span { start: 0, end: self.text.chars().next().map_or(0, char::len_utf8) }
    }

    fn of(name: String, text: String, is_latin1: bool) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { name, text, lines, is_latin1 }
    }

    /// The text of these bytes: UTF-8, or else ISO-8859-1, which old files have in comments and keys and of which racoon
    /// takes every byte as it is. A byte order mark is left out; where there is a NUL, it is no text, and its place
    /// comes back.
    pub fn decode(name: impl Into<String>, bytes: Vec<u8>) -> Result<Arc<Self>, Place> {
        let (text, is_latin1) = match String::from_utf8(bytes) {
            Ok(text) => (text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text), false),
            Err(error) => (error.as_bytes().iter().map(|byte| char::from(*byte)).collect(), true),
        };
        let nul = text.find('\0');
        let source = Self::of(name.into(), text, is_latin1);
        match nul {
            Some(start) => Err(source.place(Span { start, end: start })),
            None => Ok(Arc::new(source)),
        }
    }

    /// The bytes that the file has for a piece of its text.
    pub(crate) fn bytes_of(&self, text: &str) -> Vec<u8> {
        if self.is_latin1 {
            text.chars().filter_map(|character| u8::try_from(u32::from(character)).ok()).collect()
        } else {
            text.as_bytes().to_vec()
        }
    }

    /// The text with a mark for each letter of `spans`, which are in their order. All places stay.
    pub(crate) fn without(&self, spans: &[Span]) -> Arc<Self> {
        let mut text = String::with_capacity(self.text.len());
        let mut at = 0;
        for span in spans {
            text.push_str(self.text.get(at..span.start).unwrap_or(""));
            text.extend(self.text.get(span.start..span.end).unwrap_or("").chars().map(hidden));
            at = span.end;
        }
        text.push_str(self.text.get(at..).unwrap_or(""));
        Arc::new(Self::of(self.name.clone(), text, self.is_latin1))
    }

    /// Where `span` begins.
    pub fn place(&self, span: Span) -> Place {
        let line = self.lines.partition_point(|start| *start <= span.start).max(1);
        let start = self.lines.get(line - 1).copied().unwrap_or(0);
        let before = self.text.get(start..span.start).or_else(|| self.text.get(start..)).unwrap_or("");
        let column = before.chars().count() + 1;
        Place { file: self.name.clone(), line, column }
    }

    /// The whole line of this number, which counts from 1; the beginning of the text when there is none.
    pub fn line(&self, number: usize) -> Span {
        let Some(start) = number.checked_sub(1).and_then(|index| self.lines.get(index).copied()) else {
            return Span::default();
        };
        let end = self.lines.get(number).map_or(self.text.len(), |next| next - 1);
        Span { start, end }
    }
}

/// The mark that is as many bytes long as the letter.
fn hidden(letter: char) -> char {
    match letter.len_utf8() {
        _ if letter == '\n' => letter,
        1 => '*',
        2 => '\u{b7}',
        3 => '\u{2022}',
        _ => '\u{1f784}',
    }
}

/// A piece of a text, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// First byte behind.
    pub end: usize,
}

impl Span {
    /// From the beginning of `self` to the end of `other`.
    pub fn to(self, other: Span) -> Span {
        Span { start: self.start, end: other.end.max(self.start) }
    }
}

/// A point in a file; lines and columns count from 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Name of the file.
    pub file: String,
    /// Line.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// Where something of a model was written. It takes no part in comparisons: two models are equal when they mean the
/// same, wherever that is written.
#[derive(Clone, Default)]
pub struct Origin {
    /// The file.
    pub source: Arc<Source>,
    /// The words.
    pub span: Span,
}

impl Origin {
    /// Where it begins.
    pub fn place(&self) -> Place {
        self.source.place(self.span)
    }

    /// A remark about it.
    pub fn remark(&self, severity: Severity, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(severity, &self.source, self.span, message)
    }
}

impl PartialEq for Origin {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Origin {}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place().fmt(f)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place().fmt(f)
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It works; somebody should know.
    Note,
    /// It works, but not as well or not as safely as it could.
    Warning,
    /// It cannot work.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// One remark about a file. `Display` gives `file:line:column: error: message`, [`Diagnostic::render`] the lines
/// around it too.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file.
    pub source: Arc<Source>,
    /// The words it is about.
    pub span: Span,
    /// What it is, one sentence without a full stop.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

/// Bytes of a line that is drawn.
const LONGEST_DRAWN: usize = 1000;

impl Diagnostic {
    /// A remark without advice.
    pub fn new(severity: Severity, source: &Arc<Source>, span: Span, message: impl Into<String>) -> Self {
        Self { severity, source: source.clone(), span, message: message.into(), help: None }
    }

    /// With advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Where it begins.
    pub fn place(&self) -> Place {
        self.source.place(self.span)
    }

    /// Place and message, and below them the text with the place underlined and the advice.
    pub fn render(&self, colour: bool) -> String {
        use ariadne::{CharSet, Color, Config, IndexType, Label, Report, ReportKind, Source as Text};
        let (kind, tint) = match self.severity {
            Severity::Note => (ReportKind::Advice, Color::Cyan),
            Severity::Warning => (ReportKind::Warning, Color::Yellow),
            Severity::Error => (ReportKind::Error, Color::Red),
        };
        // Of an empty text or of its very end nothing can be underlined.
        let Some(first) = self.source.text.get(self.span.start..).and_then(|rest| rest.chars().next()) else {
            return format!("{self}\n");
        };
        // What is on an endless line is not drawn: nobody could see it.
        let line = self.source.line(self.place().line);
        if line.end.saturating_sub(line.start) > LONGEST_DRAWN {
            return format!("{self}\n");
        }
        let least = self.span.start + first.len_utf8();
        let span = self.span.start..self.source.text.ceil_char_boundary(self.span.end.max(least));
        let name = self.source.name.clone();
        let config =
            Config::new().with_color(colour).with_char_set(CharSet::Ascii).with_index_type(IndexType::Byte);
        // A label without a text would not be drawn.
        let text = self.help.as_deref().unwrap_or("here");
        let label = Label::new((name.clone(), span.clone())).with_message(text);
        let report = Report::build(kind, (name.clone(), span))
            .with_config(config)
            .with_message(&self.message)
            .with_label(label.with_color(tint))
            .finish();
        let mut drawn = Vec::new();
        if report.write((name, Text::from(self.source.text.as_str())), &mut drawn).is_err() {
            return format!("{self}\n");
        }
        // The first line drawn repeats severity and message.
        let drawn = String::from_utf8_lossy(&drawn);
        let picture = drawn.split_once('\n').map_or("", |(_, rest)| rest);
        format!("{}: {}: {}\n{picture}", self.place(), self.severity, self.message)
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place(), self.severity, self.message)?;
        if let Some(help) = &self.help {
            write!(f, " ({help})")?;
        }
        Ok(())
    }
}

/// Collects remarks on one file.
#[derive(Debug)]
pub(crate) struct Remarks<'a> {
    pub(crate) source: &'a Arc<Source>,
    pub(crate) list: Vec<Diagnostic>,
}

impl<'a> Remarks<'a> {
    pub(crate) fn new(source: &'a Arc<Source>) -> Self {
        Self { source, list: Vec::new() }
    }

    /// How many errors there are.
    pub(crate) fn errors(&self) -> usize {
        self.list.iter().filter(|remark| remark.severity == Severity::Error).count()
    }

    pub(crate) fn error(&self, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Severity::Error, self.source, span, message)
    }

    pub(crate) fn warn(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.list.push(Diagnostic::new(Severity::Warning, self.source, span, message).help(help));
    }

    /// An unknown word, with the words allowed there and the one that was probably meant.
    pub(crate) fn unknown(&self, span: Span, what: &str, word: &str, allowed: &[&str]) -> Diagnostic {
        let error = self.error(span, format!("unknown {what} `{word}`"));
        match nearest(word, allowed) {
            Some(meant) => error.help(format!("did you mean `{meant}`?")),
            None => error.help(format!("allowed here: {}", allowed.join(", "))),
        }
    }
}

/// The allowed word that differs in the fewest letters, when it is at most a third of them; of several the one that
/// begins the most alike.
pub(crate) fn nearest<'w>(word: &str, allowed: &[&'w str]) -> Option<&'w str> {
    let alike = |other: &str| word.chars().zip(other.chars()).take_while(|(x, y)| x == y).count();
    let length = word.chars().count();
    let few = |letters: usize| letters * 3 <= length.max(3);
    // What is much longer or shorter cannot be near, and a file may have very many wrong words.
    let candidates = allowed.iter().filter(|candidate| few(candidate.chars().count().abs_diff(length)));
    let ranked = candidates
        .map(|candidate| (distance(word, candidate), std::cmp::Reverse(alike(candidate)), *candidate));
    let (least, _, best) = ranked.min_by_key(|(distance, alike, _)| (*distance, *alike))?;
    few(least).then_some(best)
}

/// Insertions, deletions, replacements and swaps of neighbouring letters that lead from `a` to `b`; words beyond 64
/// letters are far from everything.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(65).collect(), b.chars().take(65).collect());
    if a.len() > 64 || b.len() > 64 {
        return usize::MAX / 4;
    }
    // The rows of the table for the letters of `a` so far, the last one and the one before it.
    let mut above: Vec<usize> = (0..=b.len()).collect();
    let mut before = above.clone();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at = |cells: &[usize], index: usize| cells.get(index).copied().unwrap_or(usize::MAX / 4);
            let mut best =
                (at(&above, j + 1) + 1).min(at(&row, j) + 1).min(at(&above, j) + usize::from(x != y));
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        assert_eq!(distance("lifetime", "lifetime"), 0);
        assert_eq!(distance("liftime", "lifetime"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("hots", "host"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(nearest("of", &["on", "off"]), Some("off"));
        assert_eq!(
            nearest("encription_algorithm", &["hash_algorithm", "encryption_algorithm"]),
            Some("encryption_algorithm")
        );
        assert_eq!(nearest("zzz", &["passive", "log"]), None);
    }

    /// Found by fuzzing: half of a letter cannot be underlined.
    #[test]
    fn letters_of_many_bytes_are_underlined_whole() {
        let source = Source::new("psk.txt", "é…");
        for (start, end) in [(0, 0), (0, 1), (2, 3), (2, 5), (1, 1), (5, 5), (9, 9), (0, 99)] {
            let remark = Diagnostic::new(Severity::Error, &source, Span { start, end }, "something");
            assert!(remark.render(false).contains("something"));
        }
    }

    #[test]
    fn the_rendering_points_at_the_word() {
        let source = Source::new("racoon.conf", "log info;\npasive on;\n");
        let remarks = Remarks::new(&source);
        let span = Span { start: 10, end: 16 };
        let diagnostic = remarks.unknown(span, "statement", "pasive", &["passive"]);
        assert_eq!(
            diagnostic.to_string(),
            "racoon.conf:2:1: error: unknown statement `pasive` (did you mean `passive`?)"
        );
        let text = diagnostic.render(false);
        assert!(text.contains("pasive on;"), "{text}");
        assert!(text.contains("did you mean"), "{text}");
        let without_help = Diagnostic::new(Severity::Error, &source, span, "something").render(false);
        assert!(without_help.contains("^^^"), "{without_help}");
    }
}
