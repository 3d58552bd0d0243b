//! Certificates and keys of a `remote` section, as its owner has read them from their files.

use std::sync::Arc;

use coati_crypto::sign::SigningKey;
use coati_crypto::x509::{Anchor, Certificate, TrustAnchors};

/// What a remote section says about certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Our certificate and key (`certificate_type x509`).
    pub own: Option<OwnCertificate>,
    /// CAs that vouch for peers (`ca_type x509`), and revocation lists.
    pub trust: Arc<TrustAnchors>,
    /// Certificates of the peer itself (`peers_certfile`): with one of these nobody else needs to vouch for it, and it
    /// need not send one. When there are any, no other certificate is taken.
    pub peers: Vec<Anchor>,
    /// The peer's identity has to be in its certificate (`verify_cert`). Whether the certificate itself is to be
    /// believed is always checked.
    pub verify_cert: bool,
    /// Send our certificate (`send_cert`).
    pub send_cert: bool,
    /// Ask for the peer's (`send_cr`).
    pub send_cr: bool,
    /// file:line:column of `ca_type`, or of the section.
    pub trust_origin: String,
}

/// A certificate with its private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnCertificate {
    /// Ours first, then those up to the CA that the file holds.
    pub chain: Vec<Certificate>,
    /// Its private key.
    pub key: SigningKey,
    /// file:line:column of `certificate_type`.
    pub origin: String,
}

impl Default for Credentials {
    /// racoon's defaults: no certificates, everything checked.
    fn default() -> Self {
        Self {
            own: None,
            trust: Arc::default(),
            peers: Vec::new(),
            verify_cert: true,
            send_cert: true,
            send_cr: true,
            trust_origin: String::new(),
        }
    }
}

impl Credentials {
    /// Whether what one lets in, and how we prove who we are, is the same with the other. Revocation lists are made anew
    /// all the time and count from the next phase 1 on.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let plain = |list: &[Anchor]| list.iter().map(|one| one.certificate.clone()).collect::<Vec<_>>();
        let own = |own: &Option<OwnCertificate>| {
            own.as_ref().map(|own| (own.chain.first().cloned(), own.key.clone()))
        };
        own(&self.own) == own(&other.own)
            && plain(&self.trust.anchors) == plain(&other.trust.anchors)
            && plain(&self.peers) == plain(&other.peers)
            && self.verify_cert == other.verify_cert
    }

    /// Whether the other would have judged every peer alike.
    pub(crate) fn judges_like(&self, other: &Self) -> bool {
        self.is_like(other) && self.trust.crls == other.trust.crls
    }
}

impl OwnCertificate {
    /// `None` when there is no certificate, or the key is another one's.
    pub fn new(chain: Vec<Certificate>, key: SigningKey, origin: String) -> Option<Self> {
        let belongs = chain.first().is_some_and(|own| own.key().is_ok_and(|public| key.belongs_to(public)));
        belongs.then_some(Self { chain, key, origin })
    }

    /// Our own certificate.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.chain.first()
    }
}
