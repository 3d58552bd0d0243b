//! psk.txt: pre-shared keys by identity (racoon.conf(5), "PRE-SHARED KEY FILE").
//!
//! A line is an identity, blanks and the key, which goes on to the end of the line, blanks included; `0x` begins a key
//! in hexadecimal; `#` in the first column begins a comment. An identity is an address, a domain name, a name at a
//! domain, a key id, or a login of XAUTH. The first line that fits wins; `*` fits everybody.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use coati_sadb::Secret;

use crate::diagnostic::{Diagnostic, Remarks, Source, Span};
use crate::racoon::Identifier;

/// Longer keys are an accident: another file, or a line that never ends.
const LONGEST_KEY: usize = 65_536;

/// Shorter keys can be guessed.
const SHORT_KEY: usize = 20;

/// What remarks show in the place of a key.
const HIDDEN: &str = "…";

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreSharedKey {
    /// Address, name or `*`.
    pub identity: String,
    /// The key.
    pub key: Secret,
    /// Line number.
    pub line: usize,
}

impl PreSharedKey {
    /// Whether it is for this address, however that is written, or for everybody.
    pub fn fits_address(&self, address: IpAddr) -> bool {
        self.identity == "*" || self.identity.parse() == Ok(address)
    }

    /// Whether it is for this name (a domain name, user@domain, a key id, a login), or for everybody.
    pub fn fits_name(&self, name: &str) -> bool {
        self.identity == "*" || self.identity == name
    }
}

/// The key for a peer that is known by its address.
pub fn key_of(keys: &[PreSharedKey], address: IpAddr) -> Option<&PreSharedKey> {
    keys.iter().find(|key| key.fits_address(address))
}

/// The key for a peer that is known by what it says it is. Identities without a text of their own have none.
pub fn key_of_identifier<'k>(keys: &'k [PreSharedKey], identifier: &Identifier) -> Option<&'k PreSharedKey> {
    match identifier {
        Identifier::Address(address) => key_of(keys, (*address)?),
        Identifier::Fqdn(name) | Identifier::UserFqdn(name) | Identifier::KeyIdTag(name) => {
            keys.iter().find(|key| key.fits_name(name))
        }
        Identifier::KeyIdFile(_) | Identifier::Asn1Dn(_) => None,
    }
}

/// Reads the file. Remarks never show a key: they are about a text that has none.
pub fn parse(source: &Arc<Source>) -> (Vec<PreSharedKey>, Vec<Diagnostic>) {
    let shown: Vec<String> = source.text.split('\n').map(without_key).collect();
    let shown = Source::new(source.name.clone(), shown.join("\n"));
    let mut remarks = Remarks::new(&shown);
    let mut keys = Vec::new();
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for (index, line) in source.text.split('\n').enumerate() {
        let text = line.trim_start();
        if line.starts_with('#') || text.is_empty() {
            continue;
        }
        let span = first_word(&shown, shown.line(index + 1));
        let Some((identity, rest)) = text.split_once([' ', '\t']) else {
            let error = remarks.error(span, "a line without a key");
            remarks.list.push(error.help("write the identity, a blank and the key"));
            continue;
        };
        if let Some(key) = key(source, &mut remarks, span, identity, rest.trim_start()) {
            let before = seen.get(identity).or_else(|| seen.get("*")).copied();
            if let Some(before) = before {
                let message = format!("this line is never used: line {before} fits before it");
                remarks.warn(span, message, "the first line that fits wins: remove one, or write `*` last");
            }
            seen.entry(identity).or_insert(index + 1);
            keys.push(PreSharedKey { identity: identity.to_owned(), key, line: index + 1 });
        }
    }
    (keys, remarks.list)
}

/// The key of a line; `None` when it cannot be one, which is said at `span`.
fn key(source: &Source, remarks: &mut Remarks<'_>, span: Span, identity: &str, text: &str) -> Option<Secret> {
    if text != text.trim_end() {
        remarks.warn(
            span,
            "the key ends with blanks or a carriage return, which are part of it",
            "remove them on both sides, unless they are meant",
        );
    }
    let refused = |remarks: &mut Remarks<'_>, message: String, help: &str| {
        remarks.list.push(remarks.error(span, message).help(help));
        None
    };
    let key = match text.strip_prefix("0x") {
        Some(digits) => match hex(digits) {
            Some(key) => key,
            None => {
                let message = format!("the key of {identity} is not hexadecimal");
                return refused(remarks, message, "after 0x only the digits 0-9 and a-f may follow");
            }
        },
        None => source.bytes_of(text),
    };
    // From here on it is wiped, whatever becomes of it.
    let key = Secret::new(key);
    if key.is_empty() {
        let message = format!("the key of {identity} is empty");
        return refused(remarks, message, "write the key behind the identity and a blank");
    }
    if key.len() > LONGEST_KEY {
        let message = format!("the key of {identity} has {} bytes", key.len());
        return refused(remarks, message, "at most 65536 are taken: is this the right file?");
    }
    if key.len() < SHORT_KEY {
        let message = format!("the key of {identity} has {} bytes: it could be guessed", key.len());
        let help = "use 20 or more random ones, for example from `openssl rand -hex 24`";
        remarks.warn(span, message, help);
    }
    Some(key)
}

/// A line as remarks show it. A word alone may be a key whose identity was forgotten.
fn without_key(line: &str) -> String {
    let text = line.trim_start();
    if line.starts_with('#') || text.is_empty() {
        return line.to_owned();
    }
    let indent = line.strip_suffix(text).unwrap_or("");
    match text.split_once([' ', '\t']) {
        Some((identity, _)) => format!("{indent}{identity} {HIDDEN}"),
        None => format!("{indent}{HIDDEN}"),
    }
}

fn first_word(source: &Source, line: Span) -> Span {
    let text = source.text.get(line.start..line.end).unwrap_or("");
    let indent = text.len() - text.trim_start().len();
    let length = text.trim_start().find([' ', '\t']).unwrap_or(text.len() - indent);
    Span { start: line.start + indent, end: line.start + indent + length }
}

/// Hexadecimal digits; an odd number gets a leading zero.
pub(crate) fn hex(digits: &str) -> Option<Vec<u8>> {
    let padded = if digits.len() % 2 == 1 { format!("0{digits}") } else { digits.to_owned() };
    let value = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some(value(*high)? << 4 | value(*low)?),
        _ => None,
    };
    padded.as_bytes().chunks_exact(2).map(byte).collect()
}

/// Why a file with secrets is refused: what is wrong, and the command that mends it. `mode` is that of stat(2). It may
/// belong to root, whoever runs Coati.
pub fn check_rights(path: &str, owner: u32, us: u32, mode: u32) -> Result<(), (String, String)> {
    if owner != us && owner != 0 {
        return Err((
            format!("this file belongs to user {owner}, not to user {us} who runs Coati"),
            format!("mend it with: chown {us} {path}"),
        ));
    }
    if mode & 0o077 != 0 {
        return Err((
            format!("mode {:04o} lets others get at the keys", mode & 0o7777),
            format!("mend it with: chmod 600 {path}"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines() {
        let source = Source::new(
            "psk.txt",
            "# comment\n192.0.2.1 a key with blanks, and long\n*\t0xabc\nshort x \nnokey\n\nbad 0xzz\n",
        );
        let (keys, remarks) = parse(&source);
        assert_eq!(keys[0].identity, "192.0.2.1");
        assert_eq!(keys[0].key.expose(), b"a key with blanks, and long");
        assert_eq!((keys[1].identity.as_str(), keys[1].key.expose()), ("*", &[0x0a, 0xbc][..]));
        assert_eq!(keys[2].key.expose(), b"x ");
        let text: Vec<String> = remarks.iter().map(ToString::to_string).collect();
        assert!(text.iter().any(|t| t.starts_with("psk.txt:5:1: error: a line without a key")), "{text:?}");
        assert!(text.iter().any(|t| t.contains("carriage return")), "{text:?}");
        assert!(text.iter().any(|t| t.contains("not hexadecimal")), "{text:?}");
    }

    #[test]
    fn identities() {
        let long = "x".repeat(LONGEST_KEY + 1);
        let text = format!(
            "2001:db8:0::1 aaaaaaaaaaaaaaaaaaaaaaaa\nvpn.example.org bbbbbbbbbbbbbbbbbbbbbbbb\n\
             ann@example.org cccccccccccccccccccccccc\nlong {long}\n* dddddddddddddddddddddddd\n\
             late eeeeeeeeeeeeeeeeeeeeeeee\n"
        );
        let (keys, remarks) = parse(&Source::new("psk.txt", text));
        let first = |key: Option<&PreSharedKey>| key.map(|key| key.key.expose()[0]);
        assert_eq!(first(key_of(&keys, "2001:DB8::1".parse().unwrap())), Some(b'a'));
        assert_eq!(first(key_of(&keys, "192.0.2.7".parse().unwrap())), Some(b'd'));
        let id = Identifier::Fqdn("vpn.example.org".to_owned());
        assert_eq!(first(key_of_identifier(&keys, &id)), Some(b'b'));
        let id = Identifier::UserFqdn("ann@example.org".to_owned());
        assert_eq!(first(key_of_identifier(&keys, &id)), Some(b'c'));
        let id = Identifier::KeyIdTag("late".to_owned());
        assert_eq!(first(key_of_identifier(&keys, &id)), Some(b'd'));
        assert_eq!(key_of_identifier(&keys, &Identifier::Asn1Dn(None)), None);
        let text: Vec<String> = remarks.iter().map(ToString::to_string).collect();
        assert!(text[0].starts_with("psk.txt:4:1: error: the key of long has 65537 bytes"), "{text:?}");
        assert!(text[1].starts_with("psk.txt:6:1: warning: this line is never used: line 5"), "{text:?}");
        assert_eq!(text.len(), 2);
    }

    /// `coati check` prints the lines around a remark; what is a secret there is not printed.
    #[test]
    fn remarks_show_no_key() {
        let source = Source::new(
            "psk.txt",
            "192.0.2.1 correct-horse\n  10.0.0.1\tbattery-staple \nforgotten-key\nb 0xbadhex\n",
        );
        let (keys, remarks) = parse(&source);
        assert_eq!(keys.len(), 2);
        assert_eq!(remarks.len(), 5);
        for remark in remarks {
            let text = format!("{}{remark}", remark.render(false));
            for secret in ["correct-horse", "battery-staple", "forgotten-key", "badhex"] {
                assert!(!text.contains(secret), "{text}");
            }
            assert!(text.contains('…'), "{text}");
        }
    }

    #[test]
    fn rights() {
        assert!(check_rights("p", 0, 0, 0o100_600).is_ok());
        assert!(check_rights("p", 0, 0, 0o100_644).unwrap_err().1.contains("chmod 600 p"));
        assert!(check_rights("p", 5, 0, 0o100_600).unwrap_err().1.contains("chown 0 p"));
    }

    proptest! {
        #[test]
        fn any_text(text in "\\PC{0,200}") {
            parse(&Source::new("psk.txt", text));
        }
    }

    /// As with racoon, a key is the bytes that the file has.
    #[test]
    fn a_key_keeps_its_bytes() {
        let key = |bytes: &[u8]| {
            let source = Source::decode("psk.txt", [b"192.0.2.1 ", bytes].concat()).unwrap();
            let (keys, _) = parse(&source);
            keys[0].key.expose().to_vec()
        };
        for bytes in [b"gr\xfc\xdfe aus Z\xfcrich, 20 bytes".as_slice(), "grüße aus Zürich, UTF-8".as_bytes()]
        {
            assert_eq!(key(bytes), bytes);
        }
    }
}
