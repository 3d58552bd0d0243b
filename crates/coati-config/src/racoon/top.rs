//! The statements outside of blocks: `path`, `include`, `log` and the words that open a block.

use crate::diagnostic::Span;
use crate::lexer::{Kind, describe};
use crate::racoon::model::{GssIdEncoding, LogLevel, PathEntry};
use crate::racoon::parser::{Parsed, Parser, parse_file};

/// How deep files may include files, as in racoon.
const MOST_NESTING: usize = 10;
/// How many files one configuration may have.
const MOST_FILES: usize = 10_000;

/// The words that begin a statement here.
pub(super) const WORDS: [&str; 15] = [
    "path",
    "include",
    "log",
    "timer",
    "listen",
    "padding",
    "privsep",
    "remote",
    "sainfo",
    "mode_cfg",
    "ldapcfg",
    "radiuscfg",
    "pfkey_buffer",
    "complex_bundle",
    "gss_id_enc",
];

const LOG_LEVELS: [(&str, LogLevel); 6] = [
    ("error", LogLevel::Error),
    ("warning", LogLevel::Warning),
    ("notify", LogLevel::Notify),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("debug2", LogLevel::Debug2),
];

impl Parser<'_, '_, '_> {
    /// One statement.
    pub(super) fn top(&mut self) -> Parsed<()> {
        match self.cursor.peek() {
            Some(Kind::Punctuation('}')) => {
                let error = self.error(self.cursor.span(), "this brace closes nothing");
                return Err(error.help("remove it, or look for a block above that was closed too early"));
            }
            Some(kind @ (Kind::Punctuation(_) | Kind::Quoted(_))) => {
                let span = self.cursor.span();
                self.cursor.next();
                let error = self.error(span, format!("expected a statement, found {}", describe(kind)));
                // Alone, a semicolon ends nothing; the next statement must not be skipped for it.
                if kind == Kind::Punctuation(';') {
                    self.report(error.help("remove it: no semicolon follows a block"));
                    return Ok(());
                }
                return Err(error);
            }
            _ => {}
        }
        let (word, span) = self.cursor.word("a statement")?;
        match word {
            "path" => self.path(),
            "include" => self.include(),
            "log" => {
                self.state.conf.log = self.choice("log level", &LOG_LEVELS)?;
                self.end()
            }
            "timer" => self.timer(span),
            "listen" => self.listen(span),
            "padding" => self.padding(span),
            "privsep" => self.privsep(span),
            "remote" => self.remote(span),
            "sainfo" => self.sainfo(span),
            "mode_cfg" => self.mode_cfg(span),
            "ldapcfg" => self.ldapcfg(span),
            "radiuscfg" => self.radiuscfg(span),
            "pfkey_buffer" => {
                self.state.conf.pfkey_buffer = self.cursor.number("a number of kilobytes")?;
                self.end()
            }
            "complex_bundle" => {
                self.switch()?;
                let message =
                    "complex_bundle makes no difference: a bundle is always proposed as RFC 2407 has it";
                self.warn(span, message, "remove it");
                self.end()
            }
            "gss_id_enc" => {
                let encodings = [("utf-16le", GssIdEncoding::Utf16Le), ("latin1", GssIdEncoding::Latin1)];
                self.state.conf.gss_id_enc = self.choice("encoding", &encodings)?;
                self.warn(
                    span,
                    "gss_id_enc makes no difference: GSS-API is not built into Coati",
                    "remove it",
                );
                self.end()
            }
            _ => Err(self.cursor.remarks.unknown(span, "statement", word, &WORDS)),
        }
    }

    fn path(&mut self) -> Parsed<()> {
        let kinds = ["include", "pre_shared_key", "certificate", "script", "pidfile", "backupsa"];
        let (kind, kind_span) = self.cursor.word("a kind of path")?;
        if !kinds.contains(&kind) {
            return Err(self.cursor.remarks.unknown(kind_span, "path", kind, &kinds));
        }
        let span = self.cursor.span();
        let path = self.text("a path")?;
        let entry = Some(PathEntry { path, origin: self.origin(span) });
        let paths = &mut self.state.conf.paths;
        match kind {
            "include" => paths.include = entry,
            "pre_shared_key" => paths.pre_shared_key = entry,
            "certificate" => paths.certificate = entry,
            "script" => paths.script = entry,
            "pidfile" => paths.pidfile = entry,
            _ => self.warn(
                kind_span,
                "backupsa is not used: keys are never written to disk",
                "remove it; after a restart the peers negotiate again at once",
            ),
        }
        self.end()
    }

    fn include(&mut self) -> Parsed<()> {
        let span = self.cursor.span();
        let name = self.text("a file or a pattern")?;
        self.end()?;
        self.flush();
        if let Some(error) = self.included(span, &name) {
            self.report(error);
        }
        Ok(())
    }

    /// Reads the files; an error that belongs to the statement itself.
    fn included(&mut self, span: Span, name: &str) -> Option<crate::Diagnostic> {
        if self.state.depth >= MOST_NESTING {
            let error = self.error(span, format!("files include files more than {MOST_NESTING} times"));
            return Some(error.help("look for a file that includes itself"));
        }
        let pattern = match &self.state.conf.paths.include {
            Some(folder) if !name.starts_with(['/', '~']) => {
                format!("{}/{name}", folder.path.trim_end_matches('/'))
            }
            _ => name.to_owned(),
        };
        let sources = match self.state.included.matching(&pattern) {
            Ok(sources) if sources.is_empty() => {
                let error = self.error(span, format!("no file matches `{pattern}`"));
                let help = match &self.state.conf.paths.include {
                    Some(folder) => {
                        format!("relative names begin at `path include`, which is {}", folder.path)
                    }
                    None => {
                        "relative names begin at the folder of racoon.conf, or at `path include`".to_owned()
                    }
                };
                return Some(error.help(help));
            }
            Ok(sources) => sources,
            Err(message) => {
                return Some(self.error(span, format!("`{pattern}` cannot be included: {message}")));
            }
        };
        self.state.depth += 1;
        for source in &sources {
            if self.state.files >= MOST_FILES {
                self.state.depth -= 1;
                return Some(self.error(span, format!("more than {MOST_FILES} files are included")));
            }
            parse_file(source, self.state);
        }
        self.state.depth -= 1;
        None
    }
}
