//! Certificates, keys and revocation lists of racoon.conf's remote sections, read and held against each other.
//!
//! [`credentials_remarks`] says what is wrong with them before anything is started; the engine gets what is good.

use std::collections::BTreeMap;
use std::sync::Arc;

use coati_config::racoon::{self, FileName, Identifier, Proposal, Remote};
use coati_config::site::Site;
use coati_config::{Diagnostic, Origin, Severity};
use coati_crypto::sign::{Curve, KeyKind, SigningKey};
use coati_crypto::x509::{Anchor, Certificate, Crl, Name, TrustAnchors, date};
use coati_ike::{AuthMethod, Credentials, OwnCertificate};
use coati_sadb::Secret;

/// What is wrong with the certificates of this site, by the clock `unix_time`. An error when a section could not
/// authenticate with them.
pub fn credentials_remarks(site: &Site, unix_time: u64) -> Vec<Diagnostic> {
    let Some(conf) = &site.racoon else { return Vec::new() };
    let store = Store::new(site);
    let mut remarks = Vec::new();
    if let Some(origin) = conf.certificate_folder_origin() {
        store.remark_folder(origin, unix_time, &mut remarks);
    }
    for remote in &conf.remotes {
        let mut check = Check { store: &store, unix_time, remarks: &mut remarks };
        check.names(remote);
        check.own(remote);
        check.trust(remote);
    }
    // What several sections share is said once.
    let mut seen = std::collections::BTreeSet::new();
    remarks.retain(|remark| seen.insert(remark.to_string()));
    remarks
}

/// The files of a site as what they are. Each is read once, however many sections share it.
pub(crate) struct Store<'a> {
    certificates: BTreeMap<&'a str, Result<Vec<Certificate>, String>>,
    keys: BTreeMap<&'a str, Result<SigningKey, String>>,
    authorities: BTreeMap<&'a str, Result<Vec<Certificate>, String>>,
    revocations: BTreeMap<&'a str, Result<Vec<Crl>, String>>,
    /// What the sections trust, by the file of `ca_type`; without a name, the folder.
    trust: BTreeMap<Option<&'a str>, Arc<TrustAnchors>>,
    /// For sections that know the peer's own certificate: it can be revoked too.
    nobody: Arc<TrustAnchors>,
}

impl<'a> Store<'a> {
    pub(crate) fn new(site: &'a Site) -> Self {
        let pki = &site.pki;
        let mut store = Self {
            certificates: each(&pki.certificates, |_, bytes| {
                Certificate::read_all(bytes).map_err(|error| error.to_string())
            }),
            keys: each(&pki.keys, |_, bytes| SigningKey::read(bytes).map_err(|error| error.to_string())),
            authorities: each(&pki.authorities, |_, bytes| {
                Certificate::read_all(bytes).map_err(|error| error.to_string())
            }),
            revocations: each(&pki.revocations, |path, bytes| {
                Crl::read_all(bytes, path).map_err(|error| error.to_string())
            }),
            trust: BTreeMap::new(),
            nobody: Arc::default(),
        };
        let remotes = site.racoon.iter().flat_map(|conf| &conf.remotes);
        let crls: Vec<Crl> = store.revocations.values().flatten().flatten().cloned().collect();
        for remote in remotes {
            let anchors = match remote.authority() {
                Some(file) => store.named(file),
                None if remote.trusts_folder() => store.folder(),
                None => Vec::new(),
            };
            let name = remote.authority().map(|file| file.name.as_str());
            if name.is_some() || remote.trusts_folder() {
                let trust = || Arc::new(TrustAnchors { anchors, crls: crls.clone() });
                store.trust.entry(name).or_insert_with(trust);
            }
        }
        store.nobody = Arc::new(TrustAnchors { anchors: Vec::new(), crls });
        store
    }

    /// What the engine is told of this section.
    pub(crate) fn credentials(&self, remote: &Remote) -> Credentials {
        let own = remote.own_certificate().and_then(|(certificate, key)| {
            let chain = self.certificates.get(certificate.name.as_str())?.as_ref().ok()?;
            let key_read = self.keys.get(key.name.as_str())?.as_ref().ok()?;
            OwnCertificate::new(chain.clone(), key_read.clone(), certificate.origin.to_string())
        });
        let trust = match remote.authority() {
            None if !remote.trusts_folder() => None,
            authority => self.trust.get(&authority.map(|file| file.name.as_str())),
        };
        let trusted_at = remote.authority().or(remote.pinned_certificate());
        Credentials {
            own,
            trust: trust.unwrap_or(&self.nobody).clone(),
            peers: remote.pinned_certificate().map_or_else(Vec::new, |file| {
                // A chain may stand behind it; the peer's own is the first.
                self.named(file).into_iter().take(1).collect()
            }),
            verify_cert: remote.verify_cert,
            send_cert: remote.send_cert,
            send_cr: remote.send_cr,
            trust_origin: trusted_at.map_or(&remote.origin, |file| &file.origin).to_string(),
        }
    }

    /// What the section's method is for the engine: that of ECDSA depends on the curve of our certificate.
    pub(crate) fn method(&self, remote: &Remote, proposal: &Proposal) -> Option<AuthMethod> {
        if proposal.method != racoon::AuthMethod::EcdsaSig {
            return AuthMethod::ALL.into_iter().find(|method| method.name() == proposal.method.name());
        }
        let (_, key) = remote.own_certificate()?;
        match self.keys.get(key.name.as_str())?.as_ref().ok()?.kind() {
            KeyKind::Ecdsa(Curve::P256) => Some(AuthMethod::EcdsaP256),
            KeyKind::Ecdsa(Curve::P384) => Some(AuthMethod::EcdsaP384),
            KeyKind::Ecdsa(Curve::P521) => Some(AuthMethod::EcdsaP521),
            KeyKind::Rsa(_) => None,
        }
    }

    fn named(&self, file: &FileName) -> Vec<Anchor> {
        let read = self.certificates.get(file.name.as_str()).and_then(|read| read.as_ref().ok());
        read.into_iter().flatten().map(|one| anchor(one, &file.name)).collect()
    }

    fn folder(&self) -> Vec<Anchor> {
        let read = self.authorities.iter().filter_map(|(path, read)| Some((path, read.as_ref().ok()?)));
        read.flat_map(|(path, list)| list.iter().map(|one| anchor(one, path))).collect()
    }

    /// Files under hash names: one that is damaged might be the one that matters.
    fn remark_folder(&self, origin: &Origin, unix_time: u64, remarks: &mut Vec<Diagnostic>) {
        let authorities =
            self.authorities.iter().filter_map(|(path, read)| Some((path, read.as_ref().err()?)));
        let revocations =
            self.revocations.iter().filter_map(|(path, read)| Some((path, read.as_ref().err()?)));
        for (path, why) in authorities.chain(revocations) {
            let help = "put a good one there, or remove it and run: openssl rehash FOLDER";
            remarks.push(origin.remark(Severity::Error, format!("{path}: {why}")).help(help));
        }
        for crl in self.revocations.values().flatten().flatten() {
            if let (_, Some(next)) = crl.updates()
                && next < unix_time
            {
                let message = format!(
                    "{}: the revocation list of \"{}\" was to be replaced by {}",
                    crl.origin(),
                    crl.issuer(),
                    date(next)
                );
                let help = "fetch the CA's present one: what was revoked since is not known";
                remarks.push(origin.remark(Severity::Warning, message).help(help));
            }
        }
    }
}

fn each<T>(files: &BTreeMap<String, Secret>, read: impl Fn(&str, &[u8]) -> T) -> BTreeMap<&str, T> {
    files.iter().map(|(name, bytes)| (name.as_str(), read(name, bytes.expose()))).collect()
}

fn anchor(certificate: &Certificate, origin: &str) -> Anchor {
    Anchor { certificate: certificate.clone(), origin: origin.to_owned() }
}

/// One section is looked at.
struct Check<'a> {
    store: &'a Store<'a>,
    unix_time: u64,
    remarks: &'a mut Vec<Diagnostic>,
}

impl Check<'_> {
    fn say(&mut self, severity: Severity, origin: &Origin, message: String, help: impl Into<String>) {
        self.remarks.push(origin.remark(severity, message).help(help.into()));
    }

    /// Distinguished names that no certificate can have.
    fn names(&mut self, remote: &Remote) {
        let mine = [(&remote.my_identifier, &remote.origin)];
        let peers = remote.peers_identifiers.iter().map(|(identifier, origin)| (identifier, origin));
        for (identifier, origin) in mine.into_iter().chain(peers) {
            let Identifier::Asn1Dn(Some(name)) = identifier else { continue };
            if let Err(error) = Name::parse(&name.to_string()) {
                let help = "write it as `openssl x509 -noout -subject -in CERTIFICATE` shows it";
                self.say(Severity::Error, origin, format!("asn1dn \"{name}\": {error}"), help);
            }
        }
        if remote.my_identifier == Identifier::Asn1Dn(None)
            && (remote.own_certificate().is_none() || remote.authenticates_by(|method| !method.signs()))
        {
            let message =
                "my_identifier asn1dn is the subject of our certificate, and a proposal here uses none";
            let help =
                "write the name: my_identifier asn1dn \"C=XX, O=Example, CN=name\"; or another my_identifier";
            self.say(Severity::Error, &remote.origin, message.to_owned(), help);
        }
        if let Identifier::Asn1Dn(Some(name)) = &remote.my_identifier
            && name.has_wildcards()
        {
            let help =
                "`*` is for peers_identifier; `my_identifier asn1dn;` is the subject of the certificate";
            self.say(Severity::Error, &remote.origin, format!("we cannot be asn1dn \"{name}\""), help);
        }
    }

    /// `certificate_type`: the certificate, the key, and whether they go together and with the proposals.
    fn own(&mut self, remote: &Remote) {
        let Some((certificate, key)) = remote.own_certificate() else { return };
        let chain = self.certificate(certificate);
        let private = match self.store.keys.get(key.name.as_str()) {
            Some(Err(why)) => {
                let help = "the second file of certificate_type is the private key of the certificate";
                self.say(Severity::Error, &key.origin, format!("\"{}\": {why}", key.name), help);
                None
            }
            other => other.and_then(|read| read.as_ref().ok()),
        };
        let (Some(own), Some(private)) = (chain.first(), private) else { return };
        match own.key() {
            Err(why) => {
                let message =
                    format!("the key in the certificate of \"{}\" cannot be used: {why}", own.subject());
                self.say(Severity::Error, &certificate.origin, message, "make a new key and certificate");
            }
            Ok(public) if !private.belongs_to(public) => {
                let message = format!(
                    "\"{}\" is not the private key of the certificate of \"{}\" in \"{}\"",
                    key.name,
                    own.subject(),
                    certificate.name
                );
                let help = "name the key that the certificate was requested with; the certificate of this host has to be \
                            the first in its file";
                self.say(Severity::Error, &key.origin, message, help);
            }
            Ok(_) => {}
        }
        for proposal in &remote.proposals {
            let help = match (proposal.method, private.kind()) {
                (racoon::AuthMethod::RsaSig, KeyKind::Ecdsa(_)) => {
                    "write `authentication_method ecdsasig;`, on both sides, or take another certificate"
                }
                (racoon::AuthMethod::EcdsaSig, KeyKind::Rsa(_)) => {
                    "write `authentication_method rsasig;`, on both sides, or take another certificate"
                }
                (method, KeyKind::Ecdsa(_)) if method.signs() && method != racoon::AuthMethod::EcdsaSig => {
                    "take a certificate with an RSA key: XAUTH and hybrid mode have no other"
                }
                _ => continue,
            };
            let message = format!(
                "{} does not go with the certificate of \"{}\", which has an {}",
                proposal.method,
                own.subject(),
                private.kind()
            );
            self.say(Severity::Error, &proposal.origin, message, help);
        }
    }

    /// `ca_type`, `peers_certfile`, or the folder: one has to vouch for the peer.
    fn trust(&mut self, remote: &Remote) {
        if let Some(file) = remote.authority() {
            let list = self.certificate(file);
            for one in list.iter().filter(|one| !one.is_ca() && !one.is_self_issued()) {
                let message =
                    format!("the certificate of \"{}\" in \"{}\" is no CA's", one.subject(), file.name);
                let help = "ca_type wants the CA's; a peer's own goes into peers_certfile x509 \"…\";";
                self.say(Severity::Warning, &file.origin, message, help);
            }
        }
        if let Some(file) = remote.pinned_certificate() {
            self.certificate(file);
        }
        if remote.trusts_folder() && self.store.authorities.is_empty() {
            let message =
                "nobody vouches for this peer: there is neither ca_type nor a CA in the certificate folder";
            let help = "add: ca_type x509 \"CA\"; or peers_certfile x509 \"CERTIFICATE\";";
            self.say(Severity::Error, &remote.origin, message.to_owned(), help);
        }
    }

    /// The certificates of a file, after what is wrong with them was said.
    fn certificate(&mut self, file: &FileName) -> Vec<Certificate> {
        let list = match self.store.certificates.get(file.name.as_str()) {
            Some(Ok(list)) => list.clone(),
            Some(Err(why)) => {
                let help = "put a certificate there, in PEM or DER";
                self.say(Severity::Error, &file.origin, format!("\"{}\": {why}", file.name), help);
                return Vec::new();
            }
            // That it could not be read was said.
            None => return Vec::new(),
        };
        for one in &list {
            let (from, until) = one.validity();
            let subject = one.subject();
            if until < self.unix_time {
                let message = format!(
                    "the certificate of \"{subject}\" in \"{}\" expired on {}",
                    file.name,
                    date(until)
                );
                self.say(Severity::Warning, &file.origin, message, "peers refuse it: have a new one issued");
            } else if from > self.unix_time {
                let message = format!(
                    "the certificate of \"{subject}\" in \"{}\" is valid only from {} on",
                    file.name,
                    date(from)
                );
                let help = "is the clock right? `date` shows it";
                self.say(Severity::Warning, &file.origin, message, help);
            }
            for weakness in one.weaknesses() {
                self.say(Severity::Warning, &file.origin, weakness, "have a stronger one issued");
            }
        }
        list
    }
}
