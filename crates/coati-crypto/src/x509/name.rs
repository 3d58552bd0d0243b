//! Distinguished names: read from certificates and from racoon.conf, compared, shown.
//!
//! Text stands in the order of the certificate (`C=CH, O=Example, CN=gate`), as racoon and OpenSSL write it and as
//! `my_identifier asn1dn` takes it; RFC 4514 has it the other way round. Comparison follows RFC 5280 section 7.1 in
//! spirit: letter case and runs of blanks do not count.

use std::fmt;

use der::asn1::{Any, ObjectIdentifier, PrintableStringRef, SetOfVec, Utf8StringRef};
use der::{Decode, Encode, Tag, Tagged};
use thiserror::Error;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::name::{RdnSequence, RelativeDistinguishedName};

/// Names with more parts are refused.
const MAX_PARTS: usize = 64;

const fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}

/// Types of attributes with the names that people write for them; the first one is shown.
const TYPES: [(&[&str], ObjectIdentifier); 19] = [
    (&["C", "countryName"], oid("2.5.4.6")),
    (&["ST", "S", "stateOrProvinceName"], oid("2.5.4.8")),
    (&["L", "localityName"], oid("2.5.4.7")),
    (&["STREET", "streetAddress"], oid("2.5.4.9")),
    (&["postalCode"], oid("2.5.4.17")),
    (&["O", "organizationName"], oid("2.5.4.10")),
    (&["OU", "organizationalUnitName"], oid("2.5.4.11")),
    (&["CN", "commonName"], oid("2.5.4.3")),
    (&["SN", "surname"], oid("2.5.4.4")),
    (&["GN", "G", "givenName"], oid("2.5.4.42")),
    (&["serialNumber"], oid("2.5.4.5")),
    (&["title", "T"], oid("2.5.4.12")),
    (&["description", "D"], oid("2.5.4.13")),
    (&["name"], oid("2.5.4.41")),
    (&["initials", "I"], oid("2.5.4.43")),
    (&["dnQualifier"], oid("2.5.4.46")),
    (&["emailAddress", "E", "email"], EMAIL),
    (&["DC", "domainComponent"], DOMAIN),
    (&["UID", "userId"], oid("0.9.2342.19200300.100.1.1")),
];
const EMAIL: ObjectIdentifier = oid("1.2.840.113549.1.9.1");
const DOMAIN: ObjectIdentifier = oid("0.9.2342.19200300.100.1.25");
const COUNTRY: ObjectIdentifier = oid("2.5.4.6");
pub(super) const COMMON_NAME: ObjectIdentifier = oid("2.5.4.3");

/// Why a text is no distinguished name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// A part has no `=`.
    #[error("\"{0}\" is no part of a distinguished name; write TYPE=VALUE, parts separated by commas")]
    NoValue(String),
    /// A type that nobody knows.
    #[error(
        "\"{0}\" is no attribute of distinguished names; known are C, ST, L, O, OU, CN, emailAddress, DC, UID, …"
    )]
    Type(String),
    /// A value that the type cannot hold.
    #[error("\"{0}\" cannot be the value of {1}")]
    Value(String, &'static str),
    /// Too many parts, or not DER.
    #[error("the distinguished name cannot be read")]
    Unreadable,
}

/// A distinguished name.
#[derive(Clone, PartialEq, Eq)]
pub struct Name {
    der: Vec<u8>,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    kind: ObjectIdentifier,
    value: String,
    /// It belongs to the same step of the directory as the part before (`+`).
    joined: bool,
}

impl Name {
    /// Reads DER, as in a certificate or an ID payload of type ID_DER_ASN1_DN.
    pub fn from_der(der: &[u8]) -> Result<Self, NameError> {
        let sequence = RdnSequence::from_der(der).map_err(|_| NameError::Unreadable)?;
        let mut parts = Vec::new();
        for step in sequence.iter() {
            for (index, attribute) in step.iter().enumerate() {
                if parts.len() == MAX_PARTS {
                    return Err(NameError::Unreadable);
                }
                parts.push(Part { kind: attribute.oid, value: text_of(&attribute.value), joined: index > 0 });
            }
        }
        Ok(Self { der: der.to_vec(), parts })
    }

    /// Reads a text like `C=CH, O=Example, CN=gate` or `/C=CH/O=Example/CN=gate`, in the order of the certificate.
    /// A backslash takes the next character as it is.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let text = text.trim();
        let (text, separator) = match text.strip_prefix('/') {
            Some(rest) => (rest, '/'),
            None => (text, ','),
        };
        let mut steps: Vec<RelativeDistinguishedName> = Vec::new();
        let mut parts = Vec::new();
        for (piece, joined) in split(text, separator) {
            if parts.len() == MAX_PARTS {
                return Err(NameError::Unreadable);
            }
            let (kind, value) =
                piece.split_once('=').ok_or_else(|| NameError::NoValue(piece.trim().into()))?;
            let (shown, kind) = type_of(kind.trim())?;
            let value = unescape(value.trim());
            let attribute = AttributeTypeAndValue { oid: kind, value: encode(kind, shown, &value)? };
            match steps.last_mut().filter(|_| joined) {
                Some(step) => step.insert(attribute).map_err(|_| NameError::Unreadable)?,
                None => {
                    let step = SetOfVec::try_from(vec![attribute]).map_err(|_| NameError::Unreadable)?;
                    steps.push(RelativeDistinguishedName::from(step));
                }
            }
            parts.push(Part { kind, value, joined });
        }
        let der = RdnSequence::from(steps).to_der().map_err(|_| NameError::Unreadable)?;
        Self::from_der(&der)
    }

    /// The DER form, as it was read.
    pub fn as_der(&self) -> &[u8] {
        &self.der
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Whether both mean the same.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.der == other.der || self.compare(other, |own, theirs| folded(own) == folded(theirs))
    }

    /// Whether `other` fits this pattern: a value of `*` fits any value (racoon.conf's `asn1dn` with wildcards), and
    /// a name of nothing but `*` parts still needs the same types in the same order.
    pub fn matches(&self, other: &Self) -> bool {
        self.compare(other, |own, theirs| own == "*" || folded(own) == folded(theirs))
    }

    fn compare(&self, other: &Self, same: impl Fn(&str, &str) -> bool) -> bool {
        self.parts.len() == other.parts.len()
            && self.parts.iter().zip(&other.parts).all(|(own, theirs)| {
                own.kind == theirs.kind && own.joined == theirs.joined && same(&own.value, &theirs.value)
            })
    }

    /// Whether `other` lies at or below this name in the directory (name constraints, RFC 5280 section 4.2.1.10).
    pub(super) fn contains(&self, other: &Self) -> bool {
        self.parts.len() <= other.parts.len()
            && self
                .parts
                .iter()
                .zip(&other.parts)
                .all(|(own, theirs)| own.kind == theirs.kind && folded(&own.value) == folded(&theirs.value))
    }

    /// Values of all parts of one type.
    pub(super) fn values(&self, kind: ObjectIdentifier) -> impl Iterator<Item = &str> {
        self.parts.iter().filter(move |part| part.kind == kind).map(|part| part.value.as_str())
    }

    /// E-mail addresses in it.
    pub fn emails(&self) -> impl Iterator<Item = &str> {
        self.values(EMAIL)
    }

    /// The form of RFC 4514: the last part first, commas without blanks.
    pub fn to_rfc4514(&self) -> String {
        let mut steps: Vec<String> = Vec::new();
        for part in &self.parts {
            match steps.last_mut().filter(|_| part.joined) {
                Some(step) => step.push_str(&format!("+{part}")),
                None => steps.push(part.to_string()),
            }
        }
        steps.reverse();
        steps.join(",")
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.parts.is_empty() {
            return f.write_str("(no name)");
        }
        for (index, part) in self.parts.iter().enumerate() {
            let before = match (index, part.joined) {
                (0, _) => "",
                (_, true) => "+",
                _ => ", ",
            };
            write!(f, "{before}{part}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl fmt::Display for Part {
    /// Values come from strangers: what could break a line or hide in one is escaped, what is long is cut.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match TYPES.iter().find(|(_, kind)| *kind == self.kind).and_then(|(names, _)| names.first()) {
            Some(name) => write!(f, "{name}=")?,
            None => write!(f, "{}=", self.kind)?,
        }
        for (index, letter) in self.value.chars().enumerate() {
            match letter {
                _ if index == 256 => return f.write_str("…"),
                ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=' => write!(f, "\\{letter}")?,
                '#' | ' ' if index == 0 => write!(f, "\\{letter}")?,
                _ if letter.is_control() || is_format(letter) => write!(f, "{}", letter.escape_unicode())?,
                _ => write!(f, "{letter}")?,
            }
        }
        Ok(())
    }
}

/// Invisible letters that turn the direction of text around or have no width.
fn is_format(letter: char) -> bool {
    matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// The pieces between separators, and whether a `+` stood before.
fn split(text: &str, separator: char) -> Vec<(&str, bool)> {
    let mut list = Vec::new();
    let (mut begin, mut joined, mut escaped) = (0, false, false);
    for (index, letter) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if letter == '\\' {
            escaped = true;
        } else if letter == separator || letter == '+' {
            list.push((text.get(begin..index).unwrap_or(""), joined));
            (begin, joined) = (index + 1, letter == '+');
        }
    }
    list.push((text.get(begin..).unwrap_or(""), joined));
    list
}

fn unescape(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        text.push(if letter == '\\' { letters.next().unwrap_or('\\') } else { letter });
    }
    text
}

fn type_of(name: &str) -> Result<(&'static str, ObjectIdentifier), NameError> {
    let known = TYPES.iter().find(|(names, _)| names.iter().any(|known| known.eq_ignore_ascii_case(name)));
    if let Some((names, kind)) = known {
        return Ok((names.first().copied().unwrap_or("it"), *kind));
    }
    let number = ObjectIdentifier::new(name).map_err(|_| NameError::Type(name.into()))?;
    Ok(("it", number))
}

/// In the string types that CAs use, so that the DER is the same where a peer compares bytes.
fn encode(kind: ObjectIdentifier, shown: &'static str, value: &str) -> Result<Any, NameError> {
    let wrong = |_| NameError::Value(value.into(), shown);
    if kind == EMAIL || kind == DOMAIN {
        return der::asn1::Ia5StringRef::new(value).map(Any::from).map_err(wrong);
    }
    match PrintableStringRef::new(value) {
        Ok(printable) if kind == COUNTRY => Ok(Any::from(printable)),
        _ => Utf8StringRef::new(value).map(Any::from).map_err(wrong),
    }
}

/// The text of a value; other types than strings in hexadecimal.
fn text_of(value: &Any) -> String {
    let bytes = value.value();
    match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::VisibleString | Tag::NumericString => {
            String::from_utf8_lossy(bytes).into_owned()
        }
        // Called T.61, filled with Latin-1 by everybody.
        Tag::TeletexString => bytes.iter().map(|byte| char::from(*byte)).collect(),
        Tag::BmpString => {
            let units =
                bytes.chunks_exact(2).map(|pair| pair.iter().fold(0, |n, byte| n << 8 | u16::from(*byte)));
            char::decode_utf16(units).map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
        }
        _ => {
            let mut text = "#".to_owned();
            bytes.iter().take(64).for_each(|byte| text.push_str(&format!("{byte:02x}")));
            text
        }
    }
}

fn folded(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn texts_and_their_orders() {
        let gate = name("C=CH, O=Example\\, Inc., CN=gate");
        assert_eq!(gate.to_string(), "C=CH, O=Example\\, Inc., CN=gate");
        assert_eq!(gate.to_rfc4514(), "CN=gate,O=Example\\, Inc.,C=CH");
        assert_eq!(name("/C=CH/O=Example\\, Inc./CN=gate"), gate);
        assert_eq!(Name::from_der(gate.as_der()), Ok(gate));
        assert_eq!(name("UID=a+CN=b, O=c").to_rfc4514().split(',').next(), Some("O=c"));
    }

    #[test]
    fn wildcards_fit_values_and_nothing_else() {
        let gate = name("C=CH, O=Example, CN=gate");
        assert!(name("C=CH, O=Example, CN=*").matches(&gate));
        assert!(name("C=ch, O=  EXAMPLE , CN=Gate").matches(&gate));
        assert!(!name("C=CH, CN=*").matches(&gate));
        assert!(!name("C=CH, CN=*, O=Example").matches(&gate));
        assert!(!gate.matches(&name("C=CH, O=Example, CN=*")), "a star in a certificate is no wildcard");
        assert!(!gate.is_same_as(&name("C=CH, O=Example, CN=*")));
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(Name::parse("C=CH, gate"), Err(NameError::NoValue("gate".into())));
        assert_eq!(Name::parse("XX=CH"), Err(NameError::Type("XX".into())));
        assert!(Name::parse("emailAddress=hé").is_err());
    }

    /// CVE-2013-2054 and its class: a name must neither break a log line nor the program.
    #[test]
    fn hostile_values_are_shown_harmlessly() {
        let evil = name("CN=a\nb\u{202e}c%n\0");
        assert_eq!(evil.to_string(), "CN=a\\u{a}b\\u{202e}c%n\\u{0}");
        let long = name(&format!("CN={}", "x".repeat(10_000)));
        assert!(long.to_string().len() < 300);
    }

    proptest! {
        /// CVE-2013-6075 and its class: names with damaged lengths.
        #[test]
        fn any_der(bytes in prop::collection::vec(any::<u8>(), 0..80), at in 0usize..40, new: u8) {
            let _ = Name::from_der(&bytes);
            let mut der = name("C=CH, O=Example, CN=gate").as_der().to_vec();
            if let Some(byte) = der.get_mut(at) {
                *byte = new;
            }
            if let Ok(name) = Name::from_der(&der) {
                let _ = (name.to_string(), name.to_rfc4514());
            }
        }

        #[test]
        fn any_text(text in "\\PC{0,60}") {
            if let Ok(name) = Name::parse(&text) {
                prop_assert!(Name::from_der(name.as_der()).is_ok());
            }
        }
    }
}
