//! From a certificate to a CA that is trusted (RFC 5280 section 6), in bounded depth and work.
//!
//! The search goes from the peer's certificate upwards and tries every certificate whose subject is the issuer's
//! name. All checks of a step are made before its issuer is looked for, so that the first refusal met is about the
//! certificate that is wrong. A certificate that is itself among the trusted ones ends the path at once.

use thiserror::Error;

use super::certificate::Certificate;
use super::crl::Crl;
use super::signature::UnsupportedSignature;
use super::{date, name::Name};
use crate::sign::PublicKeyError;

/// Certificates in one path at the most, the trusted one included.
const MAX_DEPTH: usize = 8;
/// Signatures checked for one verification at the most; a peer chooses what it sends.
const MAX_SIGNATURES: usize = 24;

/// Purposes (extended key usage) with which a certificate may speak IKE (RFC 4945 section 5.1.3.12): any,
/// server, client, IPsec end system, tunnel, user, IKE, and what Cisco and Microsoft call IKE intermediate.
const PURPOSES: [&str; 8] = [
    "2.5.29.37.0",
    "1.3.6.1.5.5.7.3.1",
    "1.3.6.1.5.5.7.3.2",
    "1.3.6.1.5.5.7.3.5",
    "1.3.6.1.5.5.7.3.6",
    "1.3.6.1.5.5.7.3.7",
    "1.3.6.1.5.5.7.3.17",
    "1.3.6.1.5.5.8.2.2",
];

/// A certificate that is trusted, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The certificate of a CA, or of a peer itself.
    pub certificate: Certificate,
    /// Its file, for messages.
    pub origin: String,
}

/// What is trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustAnchors {
    /// Trusted certificates.
    pub anchors: Vec<Anchor>,
    /// What has been revoked.
    pub crls: Vec<Crl>,
}

/// A certificate that may be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Subjects from the certificate up to the trusted one.
    pub path: Vec<String>,
    /// File of the trusted one.
    pub anchor: String,
    /// What is weak or out of date about the path, for the log.
    pub warnings: Vec<String>,
}

/// Why a certificate is not believed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ChainError {
    /// Over.
    #[error(
        "the certificate of \"{subject}\" expired on {since} (it is {now} here); \
         its owner needs a new one, or this clock is wrong"
    )]
    Expired {
        /// Whose.
        subject: String,
        /// Its last second.
        since: String,
        /// The time it was held against.
        now: String,
    },
    /// Not begun.
    #[error(
        "the certificate of \"{subject}\" is valid only from {from} on (it is {now} here); \
         this clock or its CA's is wrong"
    )]
    NotYetValid {
        /// Whose.
        subject: String,
        /// Its first second.
        from: String,
        /// The time it was held against.
        now: String,
    },
    /// Nobody trusted vouches for it.
    #[error(
        "the certificate of \"{subject}\" was issued by \"{issuer}\", which is not among the trusted CAs ({known}); \
         add the CA's certificate (ca_type x509), or have the peer send the one between"
    )]
    UnknownIssuer {
        /// Whose.
        subject: String,
        /// Who is not known.
        issuer: String,
        /// The CAs that are known, with their files.
        known: String,
    },
    /// There is a CA of that name, but it has another key.
    #[error(
        "the certificate of \"{subject}\" bears the name of the CA \"{issuer}\" ({origin}), but not its signature: \
         it is forged, or the CA was made anew with another key; compare the CA's certificate on both sides"
    )]
    BadSignature {
        /// Whose.
        subject: String,
        /// The CA that was tried.
        issuer: String,
        /// Where its certificate came from.
        origin: String,
    },
    /// Signed in a way that proves nothing here.
    #[error("the certificate of \"{subject}\" proves nothing: {why}")]
    Unsupported {
        /// Whose.
        subject: String,
        /// What is wrong with the signature.
        why: UnsupportedSignature,
    },
    /// The issuer's certificate is none of a CA.
    #[error(
        "the certificate of \"{subject}\" was issued with that of \"{issuer}\", which is no CA's \
         (basicConstraints CA:TRUE is missing); let a CA issue it"
    )]
    NotCa {
        /// Whose.
        subject: String,
        /// Who issued it.
        issuer: String,
    },
    /// The issuer may not have so many others below it.
    #[error("the CA \"{issuer}\" may have only {allowed} CAs below it, but there are {found}")]
    PathLength {
        /// Which CA.
        issuer: String,
        /// Its pathLenConstraint.
        allowed: u8,
        /// How many there are.
        found: usize,
    },
    /// It is for something else.
    #[error(
        "the certificate of \"{subject}\" may not be used for this: its {extension} lacks {lacks}; issue it anew"
    )]
    Usage {
        /// Whose.
        subject: String,
        /// The extension that says so.
        extension: &'static str,
        /// What would be needed.
        lacks: &'static str,
    },
    /// It has a critical extension that is not understood, so it has to be refused.
    #[error("the certificate of \"{subject}\" has a critical extension ({oid}) that is not supported")]
    Critical {
        /// Whose.
        subject: String,
        /// Which.
        oid: String,
    },
    /// The CA may not vouch for such a name.
    #[error("the CA \"{issuer}\" may not vouch for \"{name}\": its name constraints do not allow it")]
    Constraint {
        /// Which CA.
        issuer: String,
        /// The name outside.
        name: String,
    },
    /// Revoked.
    #[error(
        "the certificate of \"{subject}\" (serial number {serial}) was revoked on {when}: {reason} ({origin})"
    )]
    Revoked {
        /// Whose.
        subject: String,
        /// Its number.
        serial: String,
        /// The day.
        when: String,
        /// Why.
        reason: &'static str,
        /// File of the revocation list.
        origin: String,
    },
    /// A revocation list of this CA that the CA has not signed.
    #[error(
        "the revocation list in {origin} bears the name of the CA \"{issuer}\", but not its signature; \
         fetch it anew from the CA"
    )]
    BadCrl {
        /// Which CA.
        issuer: String,
        /// File of the list.
        origin: String,
    },
    /// The key in it cannot be used.
    #[error("the key in the certificate of \"{subject}\" cannot be used: {why}")]
    Key {
        /// Whose.
        subject: String,
        /// What is wrong with it.
        why: PublicKeyError,
    },
    /// The path is too long, or there are too many of the same name.
    #[error(
        "no trusted CA was found for the certificate of \"{subject}\" in a path of at most 8 certificates"
    )]
    TooFar {
        /// Whose.
        subject: String,
    },
}

impl TrustAnchors {
    /// Decides whether `leaf` is to be believed at `unix_time`; `others` are certificates that came along with it
    /// and are trusted only if a path leads over them. Takes a millisecond or more.
    pub fn verify(
        &self,
        leaf: &Certificate,
        others: &[Certificate],
        unix_time: u64,
    ) -> Result<Verified, ChainError> {
        leaf.key()
            .map_err(|why| ChainError::Key { subject: leaf.subject().to_string(), why: why.clone() })?;
        check_end(leaf)?;
        let mut search = Search { trust: self, others, unix_time, signatures: 0, warnings: Vec::new() };
        let mut path = vec![leaf.clone()];
        let anchor = search.up(&mut path)?;
        let mut warnings = search.warnings;
        path.iter().for_each(|certificate| warnings.extend(certificate.weaknesses()));
        let path = path.iter().map(|certificate| certificate.subject().to_string()).collect();
        Ok(Verified { path, anchor, warnings })
    }

    /// Names of the trusted CAs, for a certificate request.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.anchors.iter().map(|anchor| anchor.certificate.subject())
    }

    fn known(&self) -> String {
        let list: Vec<String> = self
            .anchors
            .iter()
            .take(5)
            .map(|anchor| format!("\"{}\" from {}", anchor.certificate.subject(), anchor.origin))
            .collect();
        match (list.len(), self.anchors.len()) {
            (0, _) => "none is configured".into(),
            (shown, all) if shown < all => format!("{} and {} more", list.join(", "), all - shown),
            _ => list.join(", "),
        }
    }
}

struct Search<'a> {
    trust: &'a TrustAnchors,
    others: &'a [Certificate],
    unix_time: u64,
    signatures: usize,
    warnings: Vec<String>,
}

impl Search<'_> {
    /// Goes on from the last certificate of the path. Returns the file of the trusted certificate it ends in.
    fn up(&mut self, path: &mut Vec<Certificate>) -> Result<String, ChainError> {
        let Some(current) = path.last().cloned() else { return Ok(String::new()) };
        let subject = current.subject().to_string();
        self.check_dates(&current)?;
        if let Some(oid) = current.unknown_critical() {
            return Err(ChainError::Critical { subject, oid: oid.to_string() });
        }
        if let Some(anchor) = self.trust.anchors.iter().find(|anchor| anchor.certificate == current) {
            return Ok(anchor.origin.clone());
        }
        if path.len() >= MAX_DEPTH {
            return Err(ChainError::TooFar { subject });
        }
        let anchors = self.trust.anchors.iter().map(|anchor| (&anchor.certificate, anchor.origin.as_str()));
        let others = self.others.iter().map(|other| (other, "sent by the peer"));
        let candidates: Vec<(&Certificate, &str)> = anchors
            .chain(others)
            .filter(|(issuer, _)| issuer.subject().is_same_as(current.issuer()) && !path.contains(issuer))
            .collect();
        let mut refusal = None;
        for (issuer, origin) in candidates {
            let found = self.step(path, &current, issuer, origin);
            match found {
                Ok(anchor) => return Ok(anchor),
                // What was found further up tells more than that another one of the name did not fit.
                Err(error) => {
                    if !matches!((&refusal, &error), (Some(_), ChainError::BadSignature { .. })) {
                        refusal = Some(error);
                    }
                }
            }
        }
        Err(refusal.unwrap_or_else(|| ChainError::UnknownIssuer {
            subject,
            issuer: current.issuer().to_string(),
            known: self.trust.known(),
        }))
    }

    /// Tries one issuer.
    fn step(
        &mut self,
        path: &mut Vec<Certificate>,
        current: &Certificate,
        issuer: &Certificate,
        origin: &str,
    ) -> Result<String, ChainError> {
        let subject = current.subject().to_string();
        let name = issuer.subject().to_string();
        if self.signatures >= MAX_SIGNATURES {
            return Err(ChainError::TooFar { subject });
        }
        self.signatures += 1;
        match current.signed().is_by(issuer.spki()) {
            Ok(true) => {}
            Ok(false) => {
                return Err(ChainError::BadSignature { subject, issuer: name, origin: origin.into() });
            }
            Err(why) => return Err(ChainError::Unsupported { subject, why }),
        }
        let trusted = self.trust.anchors.iter().any(|anchor| anchor.certificate == *issuer);
        // A trusted certificate from before version 3 cannot say that it is a CA's; that it is trusted says so.
        if !issuer.is_ca() && (issuer.has_extensions() || !trusted) {
            return Err(ChainError::NotCa { subject, issuer: name });
        }
        if issuer.usage().is_some_and(|usage| !usage.key_cert_sign()) {
            return Err(ChainError::Usage { subject: name, extension: "keyUsage", lacks: "keyCertSign" });
        }
        let between = path.iter().skip(1).filter(|certificate| !certificate.is_self_issued()).count();
        if let Some(allowed) = issuer.path_len()
            && between > usize::from(allowed)
        {
            return Err(ChainError::PathLength { issuer: name, allowed, found: between });
        }
        if let Some(subtrees) = issuer.subtrees() {
            let below =
                path.iter().enumerate().filter(|(index, below)| *index == 0 || !below.is_self_issued());
            if let Some(outside) = below.into_iter().find_map(|(_, below)| subtrees.violated_by(below)) {
                return Err(ChainError::Constraint { issuer: name, name: outside });
            }
        }
        path.push(issuer.clone());
        let found = self.up(path);
        match found {
            Ok(anchor) => {
                // Only a path that is trusted is looked up: a list must not be searched for just anybody.
                self.check_revocation(current, issuer)?;
                Ok(anchor)
            }
            Err(error) => {
                path.pop();
                Err(error)
            }
        }
    }

    fn check_dates(&self, certificate: &Certificate) -> Result<(), ChainError> {
        let (from, until) = certificate.validity();
        let subject = certificate.subject().to_string();
        let now = date(self.unix_time);
        if self.unix_time < from {
            return Err(ChainError::NotYetValid { subject, from: date(from), now });
        }
        if self.unix_time > until {
            return Err(ChainError::Expired { subject, since: date(until), now });
        }
        Ok(())
    }

    fn check_revocation(
        &mut self,
        certificate: &Certificate,
        issuer: &Certificate,
    ) -> Result<(), ChainError> {
        for crl in self.trust.crls.iter().filter(|crl| crl.issuer().is_same_as(issuer.subject())) {
            let name = issuer.subject().to_string();
            if self.signatures >= MAX_SIGNATURES {
                return Err(ChainError::TooFar { subject: certificate.subject().to_string() });
            }
            self.signatures += 1;
            let origin = crl.origin().to_owned();
            let may_sign = issuer.usage().is_none_or(|usage| usage.crl_sign());
            if !may_sign || crl.signed().is_by(issuer.spki()) != Ok(true) {
                return Err(ChainError::BadCrl { issuer: name, origin });
            }
            if let Some((when, reason)) = crl.entry(certificate) {
                let (subject, serial) = (certificate.subject().to_string(), certificate.serial());
                return Err(ChainError::Revoked { subject, serial, when: date(when), reason, origin });
            }
            if let (_, Some(next)) = crl.updates()
                && next < self.unix_time
            {
                let due = date(next);
                self.warnings.push(format!(
                    "the revocation list of \"{name}\" in {origin} was due for renewal on {due}: what was revoked since is \
                     not known; fetch it anew"
                ));
            }
        }
        Ok(())
    }
}

/// Whether the certificate may be that of somebody who speaks IKE.
fn check_end(leaf: &Certificate) -> Result<(), ChainError> {
    let subject = || leaf.subject().to_string();
    if leaf.usage().is_some_and(|usage| !usage.digital_signature() && !usage.non_repudiation()) {
        let lacks = "digitalSignature";
        return Err(ChainError::Usage { subject: subject(), extension: "keyUsage", lacks });
    }
    if let Some(purposes) = leaf.purposes()
        && !purposes.iter().any(|purpose| PURPOSES.iter().any(|known| *known == purpose.to_string()))
    {
        let lacks = "ipsecIKE, serverAuth or clientAuth";
        return Err(ChainError::Usage { subject: subject(), extension: "extendedKeyUsage", lacks });
    }
    Ok(())
}
