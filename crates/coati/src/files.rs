//! Reads the folder that holds a router's files.

mod host;
mod pki;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use coati_config::pki::PkiFiles;
use coati_config::racoon::{Included, IncludedFiles, ModeCfg, RacoonConf};
use coati_config::setkey::Statement;
use coati_config::site::{LONGEST_BANNER, LONGEST_KEY_ID, Site, SiteFiles};
use coati_config::{Diagnostic, Origin, Severity, Source, Span};

use coati_sadb::{Refusal, Request};

use crate::dataplane::Dataplane;

/// The files that a folder may hold, psk.txt aside.
const NAMES: [&str; 5] = ["rc.conf", "racoon.conf", "setkey.conf", "ospfd.conf", "frr.conf"];

/// Where a router's files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The folder.
    pub dir: PathBuf,
    /// racoon.conf, when it is not the one in the folder: `racoon -f FILE`.
    pub racoon_conf: Option<PathBuf>,
    /// Where what they say has to be possible.
    pub dataplane: Dataplane,
}

impl Place {
    /// The site there, and the remarks on its files.
    pub fn read(&self, purpose: Purpose) -> io::Result<(Site, Vec<Diagnostic>)> {
        let (files, problems) = texts_from(&self.dir, self.racoon_conf.as_deref(), purpose)?;
        let (site, mut remarks) = understand(&files, |_| self.dataplane);
        remarks.extend(problems);
        Ok((site, remarks))
    }
}

/// What the files are read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A router is to start: nothing is read from a psk.txt that others could read, or that is not ours.
    Start,
    /// Only to look: the same, but git keeps no mode 0600, so that inside a checkout it is no error.
    Check,
}

/// What the files say, and what is wrong with them, certificates included, and with the SAs and policies they ask for
/// in the home that `home` names for them.
pub fn understand(files: &SiteFiles, home: impl FnOnce(&Site) -> Dataplane) -> (Site, Vec<Diagnostic>) {
    let (site, mut remarks) = Site::read(files);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    remarks.extend(coati_router::credentials_remarks(&site, now));
    remarks.extend(home_remarks(&site.statements, home(&site)));
    (site, remarks)
}

/// What of setkey.conf this home cannot do.
pub fn home_remarks(statements: &[Statement], dataplane: Dataplane) -> Vec<Diagnostic> {
    match dataplane {
        Dataplane::Embedded => coati_router::statements_remarks(statements),
        // The rest the kernel itself says.
        Dataplane::Xfrm => remarks(statements, |request| coati_xfrm::refusal_of(request).map(wrong)),
        Dataplane::Pfkey => remarks(statements, |request| {
            let layout = coati_os::PF_KEY_LAYOUT;
            match coati_pfkey::refusal_of(layout, request) {
                Some(refusal) => Some(wrong(refusal)),
                None => Some((Severity::Warning, coati_pfkey::remark_of(layout, request)?)),
            }
        }),
    }
}

/// What of setkey.conf a home cannot do when nobody says which it will be: an error where none can.
pub fn homes_remarks(statements: &[Statement]) -> Vec<Diagnostic> {
    let mut refused: BTreeMap<usize, (Diagnostic, Vec<&str>)> = BTreeMap::new();
    for home in Dataplane::ALL {
        for remark in home_remarks(statements, home) {
            if remark.severity == Severity::Error {
                let (_, homes) = refused.entry(remark.span.start).or_insert((remark, Vec::new()));
                homes.push(home.name());
                // A command that names a host of several addresses is several.
                homes.dedup();
            }
        }
    }
    let remark = |(mut remark, homes): (Diagnostic, Vec<&str>)| {
        if homes.len() < Dataplane::ALL.len() {
            remark.severity = Severity::Warning;
            remark.message = format!("refused with --dataplane {}: {}", homes.join(" and "), remark.message);
            remark.help = Some("with --dataplane HOME it is checked for that one".to_owned());
        }
        remark
    };
    refused.into_values().map(remark).collect()
}

fn wrong(refusal: Refusal) -> (Severity, String) {
    (Severity::Error, refusal.to_string())
}

fn remarks(
    statements: &[Statement],
    remark_of: impl Fn(&Request) -> Option<(Severity, String)>,
) -> Vec<Diagnostic> {
    let remark = |statement: &Statement| {
        let (severity, text) = remark_of(&statement.request)?;
        Some(statement.origin.remark(severity, text))
    };
    statements.iter().filter_map(remark).collect()
}

/// Whether one of the files is in `dir`.
pub fn are_in(dir: &Path) -> bool {
    NAMES.iter().any(|name| dir.join(name).exists())
}

/// The texts in `dir`, and what is wrong with the files of keys.
pub fn texts(dir: &Path, purpose: Purpose) -> io::Result<(SiteFiles, Vec<Diagnostic>)> {
    texts_from(dir, None, purpose)
}

fn texts_from(
    dir: &Path,
    racoon_conf: Option<&Path>,
    purpose: Purpose,
) -> io::Result<(SiteFiles, Vec<Diagnostic>)> {
    let own = racoon_conf.map(named).transpose()?;
    if !dir.is_dir() {
        let message =
            format!("{}: not a folder; name the one that holds {}", dir.display(), NAMES.join(", "));
        return Err(io::Error::new(io::ErrorKind::NotFound, message));
    }
    if racoon_conf.is_none() && !are_in(dir) {
        let message = format!(
            "{}: none of {} is there, so there is nothing to do; name the folder that holds them",
            dir.display(),
            NAMES.join(", ")
        );
        return Err(io::Error::new(io::ErrorKind::NotFound, message));
    }
    let text = |name: &str| -> io::Result<Option<Arc<Source>>> {
        let path = dir.join(name);
        match whole(&path) {
            Ok(bytes) => source(&path, bytes).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
        }
    };
    let mut files = SiteFiles {
        rc_conf: text("rc.conf")?,
        racoon_conf: match own {
            Some(source) => Some(source),
            None => text("racoon.conf")?,
        },
        included: Included::default(),
        key_ids: BTreeMap::new(),
        pki: PkiFiles::default(),
        banner: None,
        psk_txt: None,
        setkey_conf: text("setkey.conf")?,
        ospfd_conf: match text("ospfd.conf")? {
            Some(source) => Some(source),
            None => text("frr.conf")?,
        },
    };
    let mut problems = Vec::new();
    if let Some(racoon) = &files.racoon_conf {
        let includes = Includes { dir, read: RefCell::default() };
        let (conf, _) = coati_config::racoon::parse(racoon, &includes);
        files.included = includes.read.into_inner();
        for file in conf.key_id_files() {
            let read = key_id(&dir.join(&file.name)).map_err(|error| error.to_string());
            files.key_ids.insert(file.name.clone(), read);
        }
        (files.pki, problems) = pki::read(dir, &conf, purpose);
        problems.extend(host::remarks(dir, &conf));
        files.banner = conf.serves_road_warriors().then(|| {
            let named = conf.mode_cfg.banner.as_ref().map_or(ModeCfg::USUAL_BANNER, |file| &file.name);
            banner(&dir.join(named)).map_err(|error| error.to_string())
        });
        let path = dir.join(conf.paths.pre_shared_key.as_ref().map_or("psk.txt", |entry| &entry.path));
        match keys(&path, purpose) {
            Ok((keys, remark)) => {
                files.psk_txt = keys;
                problems.extend(remark);
            }
            // Without a pre-shared key in racoon.conf the file may be missing.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !needs_keys(&conf) => {}
            Err(error) => {
                let message = format!("the pre-shared keys cannot be read: {}: {error}", path.display());
                let help =
                    format!("make that file, mode 0600, with lines of the form: ADDRESS KEY; {RANDOM_KEY}");
                let origin = match (&conf.paths.pre_shared_key, conf.remotes.first()) {
                    (Some(entry), _) => entry.origin.clone(),
                    (None, Some(remote)) => remote.origin.clone(),
                    (None, None) => Origin { source: racoon.clone(), span: Span::default() },
                };
                problems.push(origin.remark(Severity::Error, message).help(help));
            }
        }
    }
    Ok((files, problems))
}

/// Whether a peer is authenticated, or a login made, with a key of psk.txt; so does what could not be read.
fn needs_keys(conf: &RacoonConf) -> bool {
    conf.remotes.is_empty()
        || conf.remotes.iter().any(|remote| {
            remote.authenticates_by(|method| method.uses_psk() || method.logs_in())
                || remote.proposals.is_empty()
        })
}

/// Reads what racoon.conf includes, and keeps it, so that it is read once.
struct Includes<'a> {
    /// Where relative patterns begin.
    dir: &'a Path,
    read: RefCell<Included>,
}

impl IncludedFiles for Includes<'_> {
    fn matching(&self, pattern: &str) -> Result<Vec<Arc<Source>>, String> {
        if let Some(known) = self.read.borrow().0.get(pattern) {
            return known.clone();
        }
        let found = self.find(pattern);
        self.read.borrow_mut().0.insert(pattern.to_owned(), found.clone());
        found
    }
}

impl Includes<'_> {
    fn find(&self, pattern: &str) -> Result<Vec<Arc<Source>>, String> {
        let dir = self.dir.to_str().ok_or("its folder has a name that is not UTF-8")?;
        // What the folder is called is no pattern.
        let path = Path::new(&glob::Pattern::escape(dir)).join(at_home(pattern)?);
        let path = path.to_string_lossy();
        let mut sources = Vec::new();
        for found in glob::glob(&path).map_err(|error| error.to_string())? {
            let found = found.map_err(|error| error.to_string())?;
            if found.is_dir() {
                continue;
            }
            let bytes = whole(&found).map_err(|error| format!("{}: {error}", found.display()))?;
            sources.push(source(&found, bytes).map_err(|error| error.to_string())?);
        }
        Ok(sources)
    }
}

/// The pattern with `~/` replaced by the home folder.
fn at_home(pattern: &str) -> Result<String, String> {
    let Some(rest) = pattern.strip_prefix('~') else { return Ok(pattern.to_owned()) };
    if !rest.is_empty() && !rest.starts_with('/') {
        return Err("other people's home folders are not looked up: write the whole path".to_owned());
    }
    let home =
        std::env::var("HOME").map_err(|_| "`~` is the folder in $HOME, which is not set".to_owned())?;
    Ok(format!("{}{rest}", glob::Pattern::escape(&home)))
}

/// Opens a file, and nothing else: a pipe would make us wait for whoever writes into it, a device may have no end.
pub fn open(path: &Path) -> io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    let at_once = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = std::fs::OpenOptions::new().read(true).custom_flags(at_once).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "this is not a regular file"));
    }
    Ok(file)
}

/// All of a file.
fn whole(path: &Path) -> io::Result<Vec<u8>> {
    to_end(open(path)?)
}

/// All that comes, when it has an end.
pub fn to_end(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if from.take(LONGEST + 1).read_to_end(&mut bytes)? as u64 > LONGEST {
        let message = format!("this has more than {} MiB: it is no file of ours", LONGEST >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

/// A file that has to be there.
pub fn named(path: &Path) -> io::Result<Arc<Source>> {
    let explain = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    source(path, whole(path).map_err(explain)?)
}

/// What clients are shown; a byte more than may be taken shows that there is more.
fn banner(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    open(path)?.take(LONGEST_BANNER as u64 + 1).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The bytes of a key id, one more than it may have at the most.
fn key_id(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(LONGEST_KEY_ID as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Bytes that a file of ours may have.
const LONGEST: u64 = 64 << 20;
/// Where keys come from.
const RANDOM_KEY: &str = "`openssl rand -hex 24` makes a key";

/// The file with the pre-shared keys, when nobody else can read it, else what to do about that.
fn keys(path: &Path, purpose: Purpose) -> io::Result<(Option<Arc<Source>>, Option<Diagnostic>)> {
    let file = open(path)?;
    // Of what was opened, not of what has the name by now.
    let meta = file.metadata()?;
    let shown = path.display().to_string();
    let us = coati_os::process::user();
    let mut remark = None;
    if let Err((message, help)) = coati_config::psk::check_rights(&shown, meta.uid(), us, meta.mode()) {
        let problem = |severity, help| {
            Diagnostic::new(severity, &Source::new(shown, ""), Span::default(), message).help(help)
        };
        if purpose == Purpose::Start || !is_checkout(path) {
            return Ok((None, Some(problem(Severity::Error, help))));
        }
        let help = format!("git keeps no modes, `coati lab` installs it with 0600; for `coati up` {help}");
        remark = Some(problem(Severity::Note, help));
    }
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes)?;
    Ok((Some(source(path, bytes)?), remark))
}

/// Certificates, keys and revocation lists for an example: nothing of it is secret.
pub fn example_pki(dir: &Path, racoon_conf: &Arc<Source>) -> PkiFiles {
    let (conf, _) = coati_config::racoon::parse(racoon_conf, &Included::default());
    pki::read(dir, &conf, Purpose::Check).0
}

/// Whether the file lies in a working tree of git.
fn is_checkout(path: &Path) -> bool {
    path.canonicalize().is_ok_and(|path| path.ancestors().any(|dir| dir.join(".git").exists()))
}

/// The text of a file, or where it is none.
fn source(path: &Path, bytes: Vec<u8>) -> io::Result<Arc<Source>> {
    decode(&path.display().to_string(), bytes)
}

/// The text of bytes that have this name.
pub fn decode(name: &str, bytes: Vec<u8>) -> io::Result<Arc<Source>> {
    Source::decode(name, bytes).map_err(|place| {
        let message =
            format!("{place}: error: this byte is NUL: the file is no text (write it anew with an editor)");
        io::Error::new(io::ErrorKind::InvalidData, message)
    })
}

/// Remarks that are shown at the most: who has more of them has one mistake.
const MOST_REMARKS: usize = 60;

/// Prints the remarks to standard error, errors for certain, in the order of the files; whether one of them is an error.
pub fn report(remarks: &[Diagnostic]) -> bool {
    use std::io::IsTerminal;
    let colour = io::stderr().is_terminal();
    let mut shown: Vec<&Diagnostic> = remarks.iter().collect();
    if shown.len() > MOST_REMARKS {
        shown.sort_by_key(|remark| std::cmp::Reverse(remark.severity));
        shown.truncate(MOST_REMARKS);
    }
    let file = |remark: &Diagnostic| {
        remarks.iter().position(|other| other.source.name == remark.source.name).unwrap_or(0)
    };
    shown.sort_by_cached_key(|remark| (file(remark), remark.span.start));
    for remark in &shown {
        if remark.severity == Severity::Note {
            eprintln!("{remark}");
        } else {
            eprint!("{}", remark.render(colour));
        }
    }
    let more = remarks.len() - shown.len();
    if more > 0 {
        eprintln!("… and {more} more remarks (with --json they are all there)");
    }
    remarks.iter().any(|remark| remark.severity == Severity::Error)
}
