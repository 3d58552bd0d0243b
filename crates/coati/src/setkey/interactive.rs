//! `setkey -c` on a terminal: lines are edited, kept while it runs, and carried out command by command. They are kept in
//! memory only, since there may be keys in them.

use std::io;

use coati_config::Source;
use coati_config::setkey::{COMMANDS, is_complete};
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Config, Context, Editor, Helper};

use super::session::Session;

/// Words that are completed, beside commands.
const WORDS: [&str; 19] = [
    "esp",
    "ah",
    "ipcomp",
    "esp-udp",
    "gre",
    "icmp",
    "any",
    "tcp",
    "udp",
    "discard",
    "none",
    "ipsec",
    "transport",
    "tunnel",
    "esp/transport//unique",
    "esp/tunnel/",
    "aes-cbc",
    "aes-gcm-16",
    "hmac-sha256",
];

/// Reads commands until the end; whether all went well.
pub fn run(session: &mut Session<'_>) -> io::Result<bool> {
    session.prepare()?;
    let config = Config::builder().auto_add_history(true).build();
    let mut editor: Editor<Typing, MemHistory> =
        Editor::with_history(config, MemHistory::new()).map_err(io::Error::other)?;
    editor.set_helper(Some(Typing));
    loop {
        let line = match editor.readline("setkey> ") {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => return Ok(true),
            Err(error) => return Err(io::Error::other(error)),
        };
        let text = if ends_alone(&line) { line + ";" } else { line };
        let done = session.run(&Source::new("stdin", text))?;
        if done.ends {
            return Ok(true);
        }
    }
}

/// `exit` and `help` need no semicolon here.
fn ends_alone(line: &str) -> bool {
    ["exit", "quit", "bye", "help", "?"].contains(&line.trim())
}

struct Typing;

impl Helper for Typing {}

impl Highlighter for Typing {}

impl Hinter for Typing {
    type Hint = String;
}

impl Validator for Typing {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let is_whole = ends_alone(context.input()) || is_complete(context.input());
        Ok(if is_whole { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

impl Completer for Typing {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let before = line.get(..at).unwrap_or("");
        let start = before.rfind([' ', '\t', '\n', ';']).map_or(0, |separator| separator + 1);
        let (ahead, word) = before.split_at(start);
        // A command at the beginning, else one of the other words.
        let words: &[&str] = if is_complete(ahead) { &COMMANDS } else { &WORDS };
        let fitting = words.iter().filter(|candidate| candidate.starts_with(word));
        let pair = |word: &&str| Pair { display: (*word).to_owned(), replacement: (*word).to_owned() };
        Ok((start, fitting.map(pair).collect()))
    }
}
