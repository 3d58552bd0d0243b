//! Signatures and certificates of phase 1 (RFC 2409 section 5.1, RFC 4754, RFC 4945 for what identities and certificates
//! have to do with each other).
//!
//! Making a signature and judging the peer's take milliseconds: both are jobs. What goes into them is collected here,
//! and [`Evidence::judge`] is run by whoever runs jobs. It gives the first reason to refuse as a sentence.

use std::net::IpAddr;

use coati_crypto::sign::{Curve, KeyKind};
use coati_crypto::x509::{AltName, Certificate, Name};
use coati_wire::isakmp::{self, Identity, Payload, kind};

use super::identity;
use super::phase1::Phase1;
use crate::config::{AuthMethod, Peer};
use crate::core::Core;
use crate::credentials::Credentials;

/// Certificates of the peer that are looked at.
const MAX_CERTIFICATES: usize = 10;
/// Authorities that we ask for, or that we note being asked for.
const MAX_REQUESTS: usize = 16;

/// What is known to judge a peer by.
pub(crate) struct Evidence {
    /// What it has signed.
    pub(crate) hash: Vec<u8>,
    pub(crate) signature: Vec<u8>,
    /// What it has sent, not read yet.
    pub(crate) certificates: Vec<Vec<u8>>,
    pub(crate) identity: Identity,
    pub(crate) method: AuthMethod,
    pub(crate) credentials: Credentials,
    pub(crate) unix_time: u64,
}

/// A peer that has proved who it is.
#[derive(Debug)]
pub(crate) struct Judged {
    /// Subject of its certificate.
    pub(crate) subject: String,
    /// Its certificate, DER.
    pub(crate) certificate: Vec<u8>,
    /// What is weak about it.
    pub(crate) warnings: Vec<String>,
}

impl AuthMethod {
    /// Whether our proof is a signature.
    pub(crate) fn we_sign(self) -> bool {
        !self.has_psk() && self != Self::HybridRsaClient
    }

    /// Whether the peer's proof is a signature.
    pub(crate) fn peer_signs(self) -> bool {
        !self.has_psk() && self != Self::HybridRsaServer
    }

    /// The curve of ECDSA; RSA has none.
    pub(crate) fn curve(self) -> Option<Curve> {
        match self {
            Self::EcdsaP256 => Some(Curve::P256),
            Self::EcdsaP384 => Some(Curve::P384),
            Self::EcdsaP521 => Some(Curve::P521),
            _ => None,
        }
    }

    fn suits(self, key: KeyKind) -> bool {
        match (self.curve(), key) {
            (None, KeyKind::Rsa(_)) => true,
            (Some(wanted), KeyKind::Ecdsa(curve)) => wanted == curve,
            _ => false,
        }
    }
}

/// Why a peer with this section cannot be talked to with a method, as far as certificates go.
pub(crate) fn lacks(core: &Core, peer: &Peer, method: AuthMethod) -> Option<String> {
    let credentials = &peer.credentials;
    let name = method.name();
    if method.we_sign() {
        let Some(own) = &credentials.own else {
            return Some(format!(
                "{name} needs a certificate of ours, but the remote section at {} has none; add: certificate_type x509 \
                 \"CERTIFICATE\" \"KEY\";",
                peer.origin
            ));
        };
        if !method.suits(own.key.kind()) {
            return Some(format!(
                "{name} does not go with our certificate ({}), which has an {}; change authentication_method or the \
                 certificate",
                own.origin,
                own.key.kind()
            ));
        }
    }
    if method.peer_signs() {
        if credentials.trust.anchors.is_empty() && credentials.peers.is_empty() {
            return Some(format!(
                "{name} needs a CA that vouches for the peer, but the remote section at {} has none; add: ca_type x509 \
                 \"CA\"; or peers_certfile x509 \"CERTIFICATE\";",
                peer.origin
            ));
        }
        if core.clock.is_none() {
            return Some("certificates cannot be judged before the time of day is known".into());
        }
    }
    None
}

/// Our certificates, when they are to be sent.
pub(crate) fn certificate_payloads(credentials: &Credentials) -> Vec<(u8, Vec<u8>)> {
    let chain = credentials.own.iter().filter(|_| credentials.send_cert).flat_map(|own| &own.chain);
    // The CA itself is there already or is not trusted.
    let sent = chain.enumerate().filter(|(index, one)| *index == 0 || !one.is_self_issued());
    let payload = |certificate: &Certificate| {
        let encoding = isakmp::Certificate::X509_SIGNATURE;
        (kind::CERT, isakmp::Certificate { encoding, data: certificate.as_der().to_vec() }.emit())
    };
    sent.take(MAX_CERTIFICATES).map(|(_, certificate)| payload(certificate)).collect()
}

/// Requests for a certificate of the authorities that we trust.
pub(crate) fn request_payloads(credentials: &Credentials) -> Vec<(u8, Vec<u8>)> {
    if !credentials.send_cr {
        return Vec::new();
    }
    let payload = |data: Vec<u8>| {
        (kind::CR, isakmp::Certificate { encoding: isakmp::Certificate::X509_SIGNATURE, data }.emit())
    };
    let authorities = credentials.trust.anchors.iter().filter(|anchor| anchor.certificate.is_ca());
    let mut list: Vec<_> = authorities
        .take(MAX_REQUESTS)
        .map(|anchor| payload(anchor.certificate.subject().as_der().to_vec()))
        .collect();
    if list.is_empty() {
        list.push(payload(Vec::new()));
    }
    list
}

/// Notes which authorities the peer asks for.
pub(crate) fn note_requests(sa: &mut Phase1, list: &[Payload<'_>]) {
    for payload in list.iter().filter(|payload| payload.kind == kind::CR) {
        let Ok(request) = isakmp::Certificate::parse(payload.body) else { continue };
        let known = request.encoding == isakmp::Certificate::X509_SIGNATURE && !request.data.is_empty();
        if known
            && sa.requested.len() < MAX_REQUESTS
            && let Ok(name) = Name::from_der(&request.data)
        {
            sa.requested.push(name);
        }
    }
}

/// What to say when the peer asks for authorities that have not issued our certificate: it will hardly believe us.
pub(crate) fn unrequested(sa: &Phase1, credentials: &Credentials) -> Option<String> {
    let own = credentials.own.as_ref()?;
    let issued = |name: &Name| own.chain.iter().any(|one| one.issuer().is_same_as(name));
    if sa.requested.is_empty() || sa.requested.iter().any(issued) {
        return None;
    }
    let wanted: Vec<String> = sa.requested.iter().take(3).map(|name| format!("\"{name}\"")).collect();
    let issuer = own.certificate().map(|certificate| certificate.issuer().to_string()).unwrap_or_default();
    Some(format!(
        "it asks for a certificate of {}, ours ({}) was issued by \"{issuer}\": it has to trust that CA",
        wanted.join(" or "),
        own.origin
    ))
}

/// Certificates that the peer has sent.
pub(crate) fn certificates(list: &[Payload<'_>]) -> Vec<Vec<u8>> {
    let sent = list.iter().filter(|payload| payload.kind == kind::CERT);
    let read = sent.filter_map(|payload| isakmp::Certificate::parse(payload.body).ok());
    let known = read.filter(|certificate| certificate.encoding == isakmp::Certificate::X509_SIGNATURE);
    known.take(MAX_CERTIFICATES).map(|certificate| certificate.data).collect()
}

impl Evidence {
    /// Whether the peer is who it says it is. Takes milliseconds.
    pub(crate) fn judge(&self) -> Result<Judged, String> {
        let credentials = &self.credentials;
        let mut sent = Vec::new();
        for der in &self.certificates {
            sent.push(
                Certificate::from_der(der).map_err(|error| format!("it sent a certificate, but {error}"))?,
            );
        }
        let leaf = match (sent.first(), credentials.peers.first()) {
            (Some(sent), None) => sent.clone(),
            (None, Some(pinned)) => pinned.certificate.clone(),
            (Some(sent), Some(_)) => {
                let same = |pinned: &&coati_crypto::x509::Anchor| pinned.certificate == *sent;
                let origins =
                    || credentials.peers.iter().map(|peer| peer.origin.as_str()).collect::<Vec<_>>();
                match credentials.peers.iter().find(same) {
                    Some(pinned) => pinned.certificate.clone(),
                    None => {
                        return Err(format!(
                            "it sent the certificate of \"{}\", which is not that of peers_certfile ({}): copy its \
                             present certificate there",
                            sent.subject(),
                            origins().join(", ")
                        ));
                    }
                }
            }
            (None, None) => {
                return Err(
                    "it sent no certificate: switch send_cert on there (or send_cr on here), or give its \
                            certificate here with peers_certfile"
                        .into(),
                );
            }
        };
        let key =
            leaf.key().map_err(|why| format!("the key of \"{}\" cannot be used: {why}", leaf.subject()))?;
        if !self.method.suits(key.kind()) {
            return Err(format!(
                "{} was agreed upon, but the certificate of \"{}\" has an {}",
                self.method.name(),
                leaf.subject(),
                key.kind()
            ));
        }
        // First the signature: who cannot make it learns nothing of the rest.
        key.verify(&self.hash, &self.signature).map_err(|error| {
            format!(
                "its signature does not fit the certificate of \"{}\": {error}; its private key belongs to another \
                 certificate, or somebody is between",
                leaf.subject()
            )
        })?;
        let mut trust = (*credentials.trust).clone();
        if !credentials.peers.is_empty() {
            trust.anchors.clone_from(&credentials.peers);
        }
        let others = sent.get(1..).unwrap_or(&[]);
        let verified = trust
            .verify(&leaf, others, self.unix_time)
            .map_err(|error| format!("{error} [trusted by {}]", self.credentials.trust_origin))?;
        if credentials.verify_cert && credentials.peers.is_empty() {
            is_in(&self.identity, &leaf)?;
        }
        Ok(Judged {
            subject: leaf.subject().to_string(),
            certificate: leaf.as_der().to_vec(),
            warnings: verified.warnings,
        })
    }
}

/// Whether the certificate is for this identity (RFC 4945 section 3.1).
fn is_in(said: &Identity, leaf: &Certificate) -> Result<(), String> {
    let mut names = leaf.alt_names().iter();
    let text = String::from_utf8_lossy(&said.data);
    let found = match said.kind {
        Identity::DER_ASN1_DN => Name::from_der(&said.data).is_ok_and(|name| {
            let mut others = leaf.alt_names().iter();
            name.is_same_as(leaf.subject())
                || others.any(|other| matches!(other, AltName::Directory(other) if other.is_same_as(&name)))
        }),
        Identity::IPV4 | Identity::IPV6 => {
            let address: Option<IpAddr> = said.address();
            address.is_some_and(|address| names.any(|name| *name == AltName::Ip(address)))
        }
        Identity::FQDN => {
            names.any(|name| matches!(name, AltName::Dns(name) if name.eq_ignore_ascii_case(&text)))
        }
        Identity::USER_FQDN => {
            names.any(|name| matches!(name, AltName::Email(name) if name.eq_ignore_ascii_case(&text)))
        }
        _ => false,
    };
    if found {
        return Ok(());
    }
    let mut has: Vec<String> = vec![format!("asn1dn \"{}\"", leaf.subject())];
    has.extend(leaf.alt_names().iter().take(8).map(ToString::to_string));
    Err(format!(
        "it says it is {}, but its certificate is for {}: set my_identifier there to one of these, have the name put into \
         the certificate (subjectAltName), or set verify_cert off here",
        identity::describe(said),
        has.join(", ")
    ))
}
