//! Name constraints (RFC 5280 section 4.2.1.10): what a CA may vouch for.

use std::net::IpAddr;

use der::Encode;
use x509_cert::ext::pkix::NameConstraints;
use x509_cert::ext::pkix::constraints::name::GeneralSubtrees;
use x509_cert::ext::pkix::name::GeneralName;

use super::certificate::{AltName, Certificate};
use super::name::Name;

/// More subtrees than this are not understood.
const MAX_SUBTREES: usize = 256;

/// What names may and may not lie in.
pub(super) struct Subtrees {
    permitted: Vec<Subtree>,
    excluded: Vec<Subtree>,
}

enum Subtree {
    Dns(String),
    Email(String),
    /// Address and mask, of one length.
    Ip(Vec<u8>, Vec<u8>),
    Directory(Name),
}

impl Subtrees {
    /// `None` when they are of kinds that are not understood.
    pub(super) fn new(constraints: &NameConstraints) -> Option<Self> {
        Some(Self {
            permitted: read(constraints.permitted_subtrees.as_ref())?,
            excluded: read(constraints.excluded_subtrees.as_ref())?,
        })
    }

    /// The name of the certificate that is outside, if there is one.
    pub(super) fn violated_by(&self, certificate: &Certificate) -> Option<String> {
        let subject = certificate.subject();
        let mut names: Vec<AltName> = certificate.alt_names().to_vec();
        if !subject.is_empty() {
            names.push(AltName::Directory(subject.clone()));
        }
        names.extend(subject.emails().map(|email| AltName::Email(email.to_owned())));
        names.iter().find(|name| !self.allows(name)).map(ToString::to_string)
    }

    fn allows(&self, name: &AltName) -> bool {
        let mut same_kind = self.permitted.iter().filter(|tree| tree.is_about(name)).peekable();
        let permitted = same_kind.peek().is_none() || same_kind.any(|tree| tree.contains(name));
        permitted && !self.excluded.iter().any(|tree| tree.contains(name))
    }
}

impl Subtree {
    fn is_about(&self, name: &AltName) -> bool {
        matches!(
            (self, name),
            (Self::Dns(_), AltName::Dns(_))
                | (Self::Email(_), AltName::Email(_))
                | (Self::Ip(..), AltName::Ip(_))
                | (Self::Directory(_), AltName::Directory(_))
        )
    }

    fn contains(&self, name: &AltName) -> bool {
        match (self, name) {
            (Self::Dns(tree), AltName::Dns(name)) => is_below(name, tree),
            (Self::Email(tree), AltName::Email(name)) if tree.contains('@') => {
                name.eq_ignore_ascii_case(tree)
            }
            (Self::Email(tree), AltName::Email(name)) => {
                let host = name.rsplit('@').next().unwrap_or(name);
                match tree.strip_prefix('.') {
                    Some(domain) => is_below(host, domain) && !host.eq_ignore_ascii_case(domain),
                    None => host.eq_ignore_ascii_case(tree),
                }
            }
            (Self::Ip(address, mask), AltName::Ip(name)) => {
                let octets = match name {
                    IpAddr::V4(name) => name.octets().to_vec(),
                    IpAddr::V6(name) => name.octets().to_vec(),
                };
                let masked = |octets: &[u8]| octets.iter().zip(mask).map(|(o, m)| o & m).collect::<Vec<_>>();
                octets.len() == address.len() && masked(&octets) == masked(address)
            }
            (Self::Directory(tree), AltName::Directory(name)) => tree.contains(name),
            _ => false,
        }
    }
}

/// Whether a domain is `tree` or below it.
fn is_below(name: &str, tree: &str) -> bool {
    let (name, tree) = (name.to_ascii_lowercase(), tree.trim_start_matches('.').to_ascii_lowercase());
    tree.is_empty() || name == tree || name.strip_suffix(&tree).is_some_and(|before| before.ends_with('.'))
}

fn read(trees: Option<&GeneralSubtrees>) -> Option<Vec<Subtree>> {
    let trees = trees.map_or(&[][..], |trees| trees.as_slice());
    if trees.len() > MAX_SUBTREES {
        return None;
    }
    trees
        .iter()
        .map(|tree| match &tree.base {
            GeneralName::DnsName(text) => Some(Subtree::Dns(text.to_string())),
            GeneralName::Rfc822Name(text) => Some(Subtree::Email(text.to_string())),
            GeneralName::IpAddress(octets) => {
                let octets = octets.as_bytes();
                let (address, mask) = octets.split_at_checked(octets.len() / 2)?;
                matches!(octets.len(), 8 | 32).then(|| Subtree::Ip(address.to_vec(), mask.to_vec()))
            }
            GeneralName::DirectoryName(name) => {
                Name::from_der(&name.to_der().ok()?).ok().map(Subtree::Directory)
            }
            _ => None,
        })
        .collect()
}
