//! What is wrong with a `remote` block as a whole: choices that cannot work together, or that let others in.

use crate::diagnostic::{Diagnostic, Severity, Span};
use crate::racoon::algorithms::AuthMethod;
use crate::racoon::model::{ExchangeMode, Remote};
use crate::racoon::parser::Parser;

impl Parser<'_, '_, '_> {
    pub(super) fn check_remote(&mut self, opener: Span, remote: &Remote) {
        if remote.exchange_modes.is_empty() {
            let error = self.error(opener, "no exchange_mode in this block");
            self.report(error.help("add: exchange_mode main;"));
        }
        if remote.proposals.is_empty() {
            let error = self.error(opener, "no proposal in this block");
            self.report(error.help(
                "add: proposal { encryption_algorithm aes; hash_algorithm sha256; authentication_method \
                 pre_shared_key; dh_group 14; }",
            ));
        }
        for remark in [aggressive_groups, aggressive_psk, missing_certificate, unverified, missing_login]
            .iter()
            .filter_map(|check| check(remote))
        {
            self.report(remark);
        }
    }
}

/// The first message of aggressive mode has one public value for all proposals (RFC 2409 section 5).
fn aggressive_groups(remote: &Remote) -> Option<Diagnostic> {
    let first = remote.proposals.first()?;
    let other = remote.proposals.iter().find(|proposal| proposal.dh_group != first.dh_group)?;
    remote.exchange_modes.contains(&ExchangeMode::Aggressive).then(|| {
        let message = "DH group must be equal in all proposals when aggressive mode is used";
        let help = format!("write `dh_group {};` here, as in the first proposal", first.dh_group);
        other.origin.remark(Severity::Error, message).help(help)
    })
}

/// Its second message shows a hash made with the key, in clear.
fn aggressive_psk(remote: &Remote) -> Option<Diagnostic> {
    let exposed = remote.exchange_modes.contains(&ExchangeMode::Aggressive)
        && remote.authenticates_by(AuthMethod::uses_psk);
    exposed.then(|| {
        let message = "aggressive mode shows everybody a hash of the pre-shared key, to guess it from";
        let help = "write `exchange_mode main;`, or take a key of 20 or more random bytes, on both sides";
        remote.origin.remark(Severity::Warning, message).help(help)
    })
}

fn missing_certificate(remote: &Remote) -> Option<Diagnostic> {
    if remote.certificate.is_some() {
        return None;
    }
    let signing = remote.proposals.iter().find(|proposal| proposal.method.signs())?;
    let message = format!("{} needs a certificate, and this remote has no certificate_type", signing.method);
    let help = "add: certificate_type x509 \"certificate\" \"private key\";";
    Some(signing.origin.remark(Severity::Error, message).help(help))
}

/// With certificates, the identity is what tells one peer from everybody else whom the CA knows.
fn unverified(remote: &Remote) -> Option<Diagnostic> {
    if !remote.authenticates_by(AuthMethod::peer_signs) {
        return None;
    }
    let (message, help) = if !remote.verify_cert {
        (
            "verify_cert is off: the peer may say it is somebody else than its certificate is for",
            "write `verify_cert on;`",
        )
    } else if !remote.verify_identifier {
        (
            "verify_identifier is off: everybody with a certificate of the CA can be this peer",
            "write `peers_identifier …;` and `verify_identifier on;`",
        )
    } else if remote.peers_identifiers.is_empty() && remote.peers_certificate.is_none() {
        (
            "there is no peers_identifier: everybody with a certificate of the CA can be this peer",
            "write `peers_identifier …;`",
        )
    } else {
        return None;
    };
    Some(remote.origin.remark(Severity::Warning, message).help(help))
}

fn missing_login(remote: &Remote) -> Option<Diagnostic> {
    if remote.xauth_login.is_some() {
        return None;
    }
    let client = remote.proposals.iter().find(|proposal| proposal.method.logs_in())?;
    let message = format!("{} logs in, and this remote has no xauth_login", client.method);
    let help = "add: xauth_login \"name\"; its password is the key of that name in psk.txt";
    Some(client.origin.remark(Severity::Warning, message).help(help))
}
