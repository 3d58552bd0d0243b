//! Reads the folder that holds a router's files.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use coati_config::site::{Site, SiteFiles};
use coati_config::{Diagnostic, Severity, Source};

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
    let text = |name: &str| -> io::Result<Option<Arc<Source>>> {
        let path = dir.join(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(Source::new(path.display().to_string(), text))),
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
    if let Some(racoon) = &files.racoon_conf {
        let named = coati_config::racoon::parse(racoon).ok().and_then(|(conf, _)| conf.psk_path);
        let path = named.map_or_else(|| dir.join("psk.txt"), |path| dir.join(path));
        let shown = path.display().to_string();
        match std::fs::metadata(&path) {
            Ok(meta) => {
                match coati_config::psk::check_rights(
                    &shown,
                    meta.uid(),
                    coati_os::process::user(),
                    meta.mode(),
                ) {
                    Ok(()) => files.psk_txt = Some(Source::new(shown, std::fs::read_to_string(&path)?)),
                    Err(problem) => refused = Some((racoon.clone(), problem)),
                }
            }
            Err(error) => {
                refused = Some((racoon.clone(), format!("{shown}: {error}; it holds the pre-shared keys")))
            }
        }
    }
    let (site, mut remarks) = Site::read(&files);
    if let Some((source, problem)) = refused {
        remarks.push(Diagnostic::new(Severity::Error, &source, coati_config::Span::default(), problem));
    }
    Ok((site, remarks))
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
