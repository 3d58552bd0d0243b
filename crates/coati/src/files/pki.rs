//! Reads the files with certificates, private keys and revocation lists that racoon.conf wants.

use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use coati_config::pki::{MOST_HASH_NAMES, PkiFiles};
use coati_config::racoon::RacoonConf;
use coati_config::{Diagnostic, Severity};
use coati_sadb::Secret;

use super::{Purpose, is_checkout};

/// A certificate's or key's file has no more bytes.
const LONGEST_FILE: u64 = 1 << 20;
/// Revocation lists of large CAs have some megabytes.
const LONGEST_LIST: u64 = 16 << 20;

/// The files that `conf` in the folder `dir` wants, and notes about them.
pub(super) fn read(dir: &Path, conf: &RacoonConf, purpose: Purpose) -> (PkiFiles, Vec<Diagnostic>) {
    let folder =
        conf.paths.certificate.as_ref().map_or_else(|| dir.to_owned(), |entry| dir.join(&entry.path));
    let mut files = PkiFiles::default();
    let mut notes = Vec::new();
    for file in conf.certificate_files() {
        let read = || bytes(&folder.join(&file.name), LONGEST_FILE, |_| Ok(()));
        files.certificates.entry(file.name.clone()).or_insert_with(read);
    }
    for file in conf.private_key_files() {
        if files.keys.contains_key(&file.name) {
            continue;
        }
        let path = folder.join(&file.name);
        let lenient = purpose == Purpose::Check && is_checkout(&path);
        let mut note = None;
        let rights = |meta: &std::fs::Metadata| {
            let shown = path.display().to_string();
            let us = coati_os::process::user();
            match coati_config::psk::check_rights(&shown, meta.uid(), us, meta.mode()) {
                Err(why) if lenient => note = Some(why),
                Err((message, help)) => return Err(format!("{message}; {help}")),
                Ok(()) => {}
            }
            Ok(())
        };
        let read = bytes(&path, LONGEST_FILE, rights);
        if let Some((message, help)) = note {
            let message = format!("\"{}\": {message}", file.name);
            let help = format!("git keeps no modes; for `coati up` {help}");
            notes.push(file.origin.remark(Severity::Note, message).help(help));
        }
        files.keys.insert(file.name.clone(), read);
    }
    if let Some(origin) = conf.certificate_folder_origin() {
        let trusts = conf.remotes.iter().any(coati_config::racoon::Remote::trusts_folder);
        let (authorities, revocations) = match hash_names(&folder) {
            Ok(found) => found,
            // Without a folder there are no hash names; whoever needs one hears of it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Default::default(),
            Err(error) => {
                let message =
                    format!("the folder of certificates cannot be read: {}: {error}", folder.display());
                notes
                    .push(origin.remark(Severity::Error, message).help("it holds revocation lists, and CAs"));
                Default::default()
            }
        };
        if authorities.len() + revocations.len() > MOST_HASH_NAMES {
            let message = format!("{}: more than {MOST_HASH_NAMES} files under hash names", folder.display());
            notes.push(origin.remark(Severity::Error, message).help("remove those that nobody needs"));
            return (files, notes);
        }
        let all = |paths: Vec<PathBuf>, longest| {
            let read = |path: PathBuf| (path.display().to_string(), bytes(&path, longest, |_| Ok(())));
            paths.into_iter().map(read).collect()
        };
        if trusts {
            files.authorities = all(authorities, LONGEST_FILE);
        }
        files.revocations = all(revocations, LONGEST_LIST);
    }
    (files, notes)
}

/// CAs and revocation lists under the names that `openssl rehash` gives them: eight hexadecimal digits, a dot, `r` for a
/// list, and a digit.
fn hash_names(folder: &Path) -> io::Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let (mut authorities, mut revocations) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some((hash, kind)) = name.split_once('.') else { continue };
        if hash.len() != 8 || !hash.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            continue;
        }
        match kind.as_bytes() {
            [b'0'..=b'9'] => authorities.push(path),
            [b'r', b'0'..=b'9'] => revocations.push(path),
            _ => {}
        }
    }
    Ok((authorities, revocations))
}

/// The bytes of a regular file, when `allowed` says so of what was opened and it is not too long.
fn bytes(
    path: &Path,
    longest: u64,
    allowed: impl FnOnce(&std::fs::Metadata) -> Result<(), String>,
) -> Result<Secret, String> {
    let explain = |error: io::Error| format!("{}: {error}", path.display());
    let file = super::open(path).map_err(explain)?;
    let meta = file.metadata().map_err(explain)?;
    allowed(&meta)?;
    if meta.len() > longest {
        return Err(format!("{}: {} bytes, more than {longest} are not read", path.display(), meta.len()));
    }
    // All at once: a buffer that grows leaves copies of a key behind.
    let capacity = usize::try_from(meta.len().saturating_add(1)).unwrap_or(0);
    let mut bytes = Vec::with_capacity(capacity);
    let read = file.take(meta.len()).read_to_end(&mut bytes);
    let bytes = Secret::new(bytes);
    read.map_err(explain).map(|_| bytes)
}
