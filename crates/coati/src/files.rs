//! Reads the folder that holds a router's files.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use coati_config::site::{Site, SiteFiles};
use coati_config::{Diagnostic, Severity, Source, Span};

/// The files that a folder may hold, psk.txt aside.
const NAMES: [&str; 5] = ["rc.conf", "racoon.conf", "setkey.conf", "ospfd.conf", "frr.conf"];

/// The site in `dir`, and the remarks on its files. A psk.txt that others could read, or that is not ours, is an
/// error of its own kind: nothing is read from it.
pub fn read(dir: &Path) -> io::Result<(Site, Vec<Diagnostic>)> {
    if !dir.is_dir() {
        let message = format!(
            "{}: not a folder; name the one that holds rc.conf, racoon.conf, setkey.conf …",
            dir.display()
        );
        return Err(io::Error::new(io::ErrorKind::NotFound, message));
    }
    if !NAMES.iter().any(|name| dir.join(name).exists()) {
        let message = format!(
            "{}: none of {} is there, so there is nothing to do; name the folder that holds them",
            dir.display(),
            NAMES.join(", ")
        );
        return Err(io::Error::new(io::ErrorKind::NotFound, message));
    }
    let text = |name: &str| -> io::Result<Option<Arc<Source>>> {
        let path = dir.join(name);
        match std::fs::read(&path) {
            Ok(bytes) => source(&path, bytes).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
        }
    };
    let mut files = SiteFiles {
        rc_conf: text("rc.conf")?,
        racoon_conf: text("racoon.conf")?,
        psk_txt: None,
        setkey_conf: text("setkey.conf")?,
        ospfd_conf: match text("ospfd.conf")? {
            Some(source) => Some(source),
            None => text("frr.conf")?,
        },
    };
    let mut refused = None;
    if let Some(racoon) = &files.racoon_conf
        && let Ok((conf, _)) = coati_config::racoon::parse(racoon)
    {
        let path = dir.join(conf.psk_path.as_deref().unwrap_or("psk.txt"));
        let place = conf.psk_path_span.or_else(|| Some(racoon.line(conf.remotes.first()?.place.line)));
        match keys(&path) {
            Ok(keys) => files.psk_txt = Some(keys),
            Err(Refused::Rights(problem)) => refused = Some(*problem),
            Err(Refused::Unreadable(error)) => {
                let message = format!("the pre-shared keys cannot be read: {}: {error}", path.display());
                let help =
                    format!("make that file, mode 0600, with lines of the form: ADDRESS KEY; {RANDOM_KEY}");
                let span = place.unwrap_or_default();
                refused = Some(Diagnostic::new(Severity::Error, racoon, span, message).help(help));
            }
        }
    }
    let (site, mut remarks) = Site::read(&files);
    remarks.extend(refused);
    Ok((site, remarks))
}

/// Where keys come from.
const RANDOM_KEY: &str = "`openssl rand -hex 24` makes a key";

enum Refused {
    Rights(Box<Diagnostic>),
    Unreadable(io::Error),
}

/// The file with the pre-shared keys, when nobody else can read it.
fn keys(path: &Path) -> Result<Arc<Source>, Refused> {
    use std::io::Read;
    let mut file = std::fs::File::open(path).map_err(Refused::Unreadable)?;
    // Of what was opened, not of what has the name by now.
    let meta = file.metadata().map_err(Refused::Unreadable)?;
    let shown = path.display().to_string();
    let us = coati_os::process::user();
    if let Err((message, help)) = coati_config::psk::check_rights(&shown, meta.uid(), us, meta.mode()) {
        let source = Source::new(shown, "");
        let problem = Diagnostic::new(Severity::Error, &source, Span::default(), message).help(help);
        return Err(Refused::Rights(Box::new(problem)));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(Refused::Unreadable)?;
    source(path, bytes).map_err(Refused::Unreadable)
}

/// The text of a file, or where it is none.
fn source(path: &Path, bytes: Vec<u8>) -> io::Result<Arc<Source>> {
    let name = path.display().to_string();
    String::from_utf8(bytes).map(|text| Source::new(name.clone(), text)).map_err(|error| {
        let valid =
            String::from_utf8_lossy(error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or(&[]));
        let span = Span { start: valid.len(), end: valid.len() };
        let place = Source::new(name, valid.clone()).place(span);
        let message = format!("{place}: error: this byte is not UTF-8 (write ASCII or UTF-8 only)");
        io::Error::new(io::ErrorKind::InvalidData, message)
    })
}

/// Prints the remarks to standard error; whether one of them is an error.
pub fn report(remarks: &[Diagnostic]) -> bool {
    use std::io::IsTerminal;
    let colour = io::stderr().is_terminal();
    for remark in remarks {
        if remark.severity == Severity::Note {
            eprintln!("{remark}");
        } else {
            eprint!("{}", remark.render(colour));
        }
    }
    remarks.iter().any(|remark| remark.severity == Severity::Error)
}
