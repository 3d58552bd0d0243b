//! psk.txt: pre-shared keys by identity (racoon.conf(5), "PRE-SHARED KEY FILE").
//!
//! A line is an identity, blanks and the key, which goes on to the end of the line, blanks included; `0x` begins a key
//! in hexadecimal; `#` in the first column begins a comment. The first line that fits wins; `*` fits everybody.

use std::sync::Arc;

use coati_sadb::Secret;

use crate::diagnostic::{Diagnostic, Remarks, Source, Span};

/// One line.
#[derive(Clone, Debug)]
pub struct PreSharedKey {
    /// Address, name or `*`.
    pub identity: String,
    /// The key.
    pub key: Secret,
    /// Line number.
    pub line: usize,
}

/// What remarks show in the place of a key.
const HIDDEN: &str = "…";

/// Reads the file. Remarks never show a key: they are about a text that has none.
pub fn parse(source: &Arc<Source>) -> (Vec<PreSharedKey>, Vec<Diagnostic>) {
    let shown: Vec<String> = source.text.split('\n').map(without_key).collect();
    let shown = Source::new(source.name.clone(), shown.join("\n"));
    let mut remarks = Remarks::new(&shown);
    let mut keys = Vec::new();
    for (index, line) in source.text.split('\n').enumerate() {
        let text = line.trim_start();
        if line.starts_with('#') || text.is_empty() {
            continue;
        }
        let identity_span = first_word(&shown, shown.line(index + 1));
        let Some((identity, rest)) = text.split_once([' ', '\t']) else {
            remarks.list.push(
                remarks
                    .error(identity_span, "a line without a key")
                    .help("write the identity, a blank and the key"),
            );
            continue;
        };
        let key_text = rest.trim_start();
        if key_text != key_text.trim_end() {
            remarks.warn(
                identity_span,
                "the key ends with blanks or a carriage return, which are part of it",
                "remove them on both sides, unless they are meant",
            );
        }
        let key = match key_text.strip_prefix("0x") {
            Some(digits) => match hex(digits) {
                Some(key) => key,
                None => {
                    let error =
                        remarks.error(identity_span, format!("the key of {identity} is not hexadecimal"));
                    remarks.list.push(error.help("after 0x only the digits 0-9 and a-f may follow"));
                    continue;
                }
            },
            None => key_text.as_bytes().to_vec(),
        };
        if key.is_empty() {
            remarks.list.push(remarks.error(identity_span, format!("the key of {identity} is empty")));
            continue;
        }
        if key.len() < 20 {
            remarks.warn(
                identity_span,
                format!("the key of {identity} has {} bytes: it could be guessed", key.len()),
                "use 20 or more random ones, for example from `openssl rand -hex 24`",
            );
        }
        keys.push(PreSharedKey { identity: identity.to_owned(), key: Secret::new(key), line: index + 1 });
    }
    (keys, remarks.list)
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
    padded.as_bytes().chunks_exact(2).map(|pair| Some(value(pair[0])? << 4 | value(pair[1])?)).collect()
}

/// Why a file with secrets is refused: what is wrong, and the command that mends it. `mode` is that of stat(2).
pub fn check_rights(path: &str, owner: u32, us: u32, mode: u32) -> Result<(), (String, String)> {
    if owner != us {
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
}
