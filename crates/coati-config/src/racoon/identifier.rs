//! Who somebody is: the values of `my_identifier`, `peers_identifier` and `sainfo … from` (RFC 2407 section 4.6.2.1).

use std::fmt;
use std::net::IpAddr;

use crate::lexer::Kind;
use crate::racoon::model::FileName;
use crate::racoon::parser::{Parsed, Parser};

/// An identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identifier {
    /// `address [ADDR]`; `None` is the address that is spoken from.
    Address(Option<IpAddr>),
    /// `fqdn "name"`.
    Fqdn(String),
    /// `user_fqdn "user@name"`.
    UserFqdn(String),
    /// `keyid file "file"`, or without `file`: the bytes are in a file.
    KeyIdFile(FileName),
    /// `keyid tag "bytes"`.
    KeyIdTag(String),
    /// `asn1dn ["DN"]`; `None` is the subject of the certificate.
    Asn1Dn(Option<DistinguishedName>),
}

/// A distinguished name as racoon.conf writes it: `C=XX, O=Example, CN=*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DistinguishedName {
    /// Its attributes in order.
    pub attributes: Vec<DnAttribute>,
}

/// `NAME=VALUE` of a distinguished name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnAttribute {
    /// Its name, for example `CN`.
    pub name: String,
    /// Its value; `*` as a whole matches any.
    pub value: String,
}

impl DnAttribute {
    /// Whether any value matches.
    pub fn is_wildcard(&self) -> bool {
        self.value == "*"
    }
}

impl DistinguishedName {
    /// Reads `NAME=VALUE, …`; in a value, a comma is written `\,` and a backslash `\\`. The error is the part of the
    /// text that is not right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut attributes = Vec::new();
        for part in split_unescaped(text) {
            let (name, value) = part
                .split_once('=')
                .map(|(name, value)| (name.trim(), value.trim()))
                .filter(|(name, value)| !name.is_empty() && !value.is_empty())
                .ok_or_else(|| part.trim().to_owned())?;
            let known = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-');
            if !known {
                return Err(part.trim().to_owned());
            }
            attributes.push(DnAttribute { name: name.to_owned(), value: unescape(value) });
        }
        Ok(Self { attributes })
    }

    /// Whether one of its values matches any.
    pub fn has_wildcards(&self) -> bool {
        self.attributes.iter().any(DnAttribute::is_wildcard)
    }
}

/// Whose identity is read: what may be left out depends on it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum IdentityOf {
    /// `my_identifier` and `peers_identifier`.
    Peer,
    /// `from` in the header of a `sainfo`.
    Sainfo,
}

impl Parser<'_, '_, '_> {
    /// `TYPE [qualifier] [value]`.
    pub(super) fn identifier(&mut self, of: IdentityOf) -> Parsed<Identifier> {
        let kinds = ["address", "fqdn", "user_fqdn", "keyid", "asn1dn", "subnet"];
        let kind_span = self.cursor.span();
        match self.word_of("identifier", &kinds)? {
            "address" => self.address_identifier(of),
            "fqdn" => self.text("a domain name").map(Identifier::Fqdn),
            "user_fqdn" => {
                let span = self.cursor.span();
                let name = self.text("user@domain")?;
                if !name.contains('@') {
                    self.warn(span, format!("\"{name}\" has no @"), "write user@domain, or use fqdn");
                }
                Ok(Identifier::UserFqdn(name))
            }
            "keyid" => {
                let tag = self.cursor.accept_word("tag");
                let file = !tag && self.cursor.accept_word("file");
                if tag || (of == IdentityOf::Sainfo && !file) {
                    return self.text("a key id").map(Identifier::KeyIdTag);
                }
                self.file("the file with the key id").map(Identifier::KeyIdFile)
            }
            "asn1dn" => {
                let span = self.cursor.span();
                if !matches!(self.cursor.peek(), Some(Kind::Quoted(_))) {
                    return Ok(Identifier::Asn1Dn(None));
                }
                let text = self.text("a distinguished name")?;
                let name = DistinguishedName::parse(&text).map_err(|part| {
                    self.error(span, format!("`{part}` is no part of a distinguished name"))
                        .help("write it as \"C=XX, O=Example, CN=name\"; * as a value matches any")
                })?;
                Ok(Identifier::Asn1Dn(Some(name)))
            }
            _ => {
                let error = self.error(kind_span, "a subnet is no identity of phase 1");
                Err(error.help("allowed here: address, fqdn, user_fqdn, keyid, asn1dn"))
            }
        }
    }

    fn address_identifier(&mut self, of: IdentityOf) -> Parsed<Identifier> {
        let span = self.cursor.span();
        match self.cursor.peek() {
            Some(Kind::Quoted(text)) => {
                let address = self.ip(text, span)?;
                self.cursor.next();
                Ok(Identifier::Address(Some(address)))
            }
            Some(Kind::Word(word)) if of == IdentityOf::Peer || word != "group" => {
                Ok(Identifier::Address(Some(self.address()?.0)))
            }
            _ => Ok(Identifier::Address(None)),
        }
    }
}

/// The parts between commas that no backslash stands before.
fn split_unescaped(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, c) in text.char_indices() {
        if c == ',' && !escaped {
            parts.push(text.get(start..at).unwrap_or(""));
            start = at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    parts.push(text.get(start..).unwrap_or(""));
    parts
}

/// Without the backslash before each escaped character.
fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        plain.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
    }
    plain
}

impl fmt::Display for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, attribute) in self.attributes.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(
                f,
                "{comma}{}={}",
                attribute.name,
                attribute.value.replace('\\', "\\\\").replace(',', "\\,")
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Identifier {
    /// As racoon.conf has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(None) => f.write_str("address"),
            Self::Address(Some(address)) => write!(f, "address {address}"),
            Self::Fqdn(name) => write!(f, "fqdn \"{name}\""),
            Self::UserFqdn(name) => write!(f, "user_fqdn \"{name}\""),
            Self::KeyIdFile(file) => write!(f, "keyid file \"{}\"", file.name),
            Self::KeyIdTag(tag) => write!(f, "keyid tag \"{tag}\""),
            Self::Asn1Dn(None) => f.write_str("asn1dn"),
            Self::Asn1Dn(Some(name)) => write!(f, "asn1dn \"{name}\""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinguished_names() {
        let name = DistinguishedName::parse("C=XX, O=Example\\, Inc., CN=*").unwrap();
        assert_eq!(name.attributes.len(), 3);
        assert_eq!(name.attributes[1].value, "Example, Inc.");
        assert!(name.has_wildcards() && name.attributes[2].is_wildcard());
        assert_eq!(DistinguishedName::parse(&name.to_string()), Ok(name));
        assert_eq!(DistinguishedName::parse("C=XX, nothing"), Err("nothing".to_owned()));
        assert_eq!(DistinguishedName::parse(""), Err(String::new()));
    }
}
