//! Files with certificates, private keys and revocation lists: which ones racoon.conf wants, and their bytes.
//!
//! racoon.conf(5): `certificate_type`, `ca_type` and `peers_certfile` name files in the folder of `path certificate`.
//! A section without `ca_type` trusts the CAs that this folder holds under their hash names (`openssl rehash`): `*.0` to
//! `*.9`; revocation lists are there as `*.r0` to `*.r9`. What the bytes mean is decided where they are used.

use std::collections::BTreeMap;

use coati_sadb::Secret;

use crate::diagnostic::{Diagnostic, Origin, Severity};
use crate::racoon::{AuthMethod, Certificate, FileName, PeersCertificate, RacoonConf, Remote};

/// More files under hash names than this are not read.
pub const MOST_HASH_NAMES: usize = 1024;

/// The bytes of files by name, or why one cannot be read. A certificate's file may hold its key too, so all are kept as
/// secrets.
pub type Files = BTreeMap<String, Result<Secret, String>>;

/// The files as they were read.
#[derive(Clone, Debug, Default)]
pub struct PkiFiles {
    /// Certificates, by the name in racoon.conf.
    pub certificates: Files,
    /// Private keys, by the name in racoon.conf.
    pub keys: Files,
    /// CAs under their hash names, by path.
    pub authorities: Files,
    /// Revocation lists, by path.
    pub revocations: Files,
}

/// The files that could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pki {
    /// Certificates, by the name in racoon.conf.
    pub certificates: BTreeMap<String, Secret>,
    /// Private keys, by the name in racoon.conf.
    pub keys: BTreeMap<String, Secret>,
    /// CAs under their hash names, by path.
    pub authorities: BTreeMap<String, Secret>,
    /// Revocation lists, by path.
    pub revocations: BTreeMap<String, Secret>,
}

impl Pki {
    /// What `conf` wants of `files`, and an error for each that could not be read.
    pub(crate) fn take(conf: &RacoonConf, files: &PkiFiles, remarks: &mut Vec<Diagnostic>) -> Self {
        let mut pki = Self::default();
        let named = |list: Vec<&FileName>, what, files: &Files, remarks: &mut Vec<Diagnostic>| {
            let mut taken = BTreeMap::new();
            for file in list {
                match files.get(&file.name) {
                    Some(Ok(bytes)) => drop(taken.insert(file.name.clone(), bytes.clone())),
                    Some(Err(why)) => remarks.push(unread(&file.origin, what, &file.name, why)),
                    None => remarks.push(unread(&file.origin, what, &file.name, "it was not read")),
                }
            }
            taken
        };
        pki.certificates =
            named(conf.certificate_files().collect(), "certificate", &files.certificates, remarks);
        pki.keys = named(conf.private_key_files().collect(), "private key", &files.keys, remarks);
        let Some(folder) = conf.certificate_folder_origin() else { return pki };
        let all = |what, files: &Files, remarks: &mut Vec<Diagnostic>| {
            let mut taken = BTreeMap::new();
            for (path, read) in files {
                match read {
                    Ok(bytes) => drop(taken.insert(path.clone(), bytes.clone())),
                    Err(why) => remarks.push(unread(folder, what, path, why)),
                }
            }
            taken
        };
        pki.authorities = all("certificate of a CA", &files.authorities, remarks);
        pki.revocations = all("revocation list", &files.revocations, remarks);
        pki
    }
}

fn unread(origin: &Origin, what: &str, name: &str, why: &str) -> Diagnostic {
    let message = format!("the {what} cannot be read from \"{name}\": {why}");
    let help = "relative names begin at the folder of `path certificate`, else at that of racoon.conf";
    origin.remark(Severity::Error, message).help(help)
}

impl Remote {
    /// Whether it trusts the CAs of the folder of certificates: the peer signs, and no other trust is named.
    pub fn trusts_folder(&self) -> bool {
        self.authenticates_by(AuthMethod::peer_signs) && self.ca.is_none() && self.peers_certificate.is_none()
    }

    /// Our certificate and its key, when a proposal wants them.
    pub fn own_certificate(&self) -> Option<(&FileName, &FileName)> {
        match &self.certificate {
            Some(Certificate::X509 { certificate, key }) if self.authenticates_by(AuthMethod::signs) => {
                Some((certificate, key))
            }
            _ => None,
        }
    }

    /// `ca_type`, when the peer signs.
    pub fn authority(&self) -> Option<&FileName> {
        self.ca.as_ref().filter(|_| self.authenticates_by(AuthMethod::peer_signs))
    }

    /// `peers_certfile x509`, when the peer signs.
    pub fn pinned_certificate(&self) -> Option<&FileName> {
        match &self.peers_certificate {
            Some(PeersCertificate::X509(file)) if self.authenticates_by(AuthMethod::peer_signs) => Some(file),
            _ => None,
        }
    }
}

impl RacoonConf {
    /// The files with certificates that are wanted: ours, CAs, peers'.
    pub fn certificate_files(&self) -> impl Iterator<Item = &FileName> {
        self.remotes.iter().flat_map(|remote| {
            let own = remote.own_certificate().map(|(certificate, _)| certificate);
            own.into_iter().chain(remote.authority()).chain(remote.pinned_certificate())
        })
    }

    /// The files with private keys that are wanted.
    pub fn private_key_files(&self) -> impl Iterator<Item = &FileName> {
        self.remotes.iter().filter_map(|remote| remote.own_certificate().map(|(_, key)| key))
    }

    /// Where the folder with hash names is given, or the first section that wants it; `None` when nobody does.
    pub fn certificate_folder_origin(&self) -> Option<&Origin> {
        let wants = self.remotes.iter().find(|remote| remote.authenticates_by(AuthMethod::peer_signs))?;
        Some(self.paths.certificate.as_ref().map_or(&wants.origin, |entry| &entry.origin))
    }
}
