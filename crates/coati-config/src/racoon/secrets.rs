//! The passwords that racoon.conf may hold, of LDAP and RADIUS: remarks show the lines around them, so they are blanked
//! before anything is read. Nothing else needs them.

use std::sync::Arc;

use crate::diagnostic::{Source, Span};
use crate::lexer::{Kind, Token, tokens};
use crate::racoon::parser::PUNCTUATION;

/// The same text, as long and with the same lines, without its passwords.
pub(super) fn blanked(source: &Arc<Source>) -> Arc<Source> {
    // Most files have none.
    if !["bind_pw", "radiuscfg"].iter().any(|word| source.text.contains(word)) {
        return source.clone();
    }
    let mut text = source.text.clone().into_bytes();
    for span in passwords(source) {
        for byte in text.get_mut(span.start..span.end).into_iter().flatten() {
            // Quotes stay, so that one without an end is still found.
            if !matches!(*byte, b'\n' | b'"') {
                *byte = b'*';
            }
        }
    }
    String::from_utf8(text).map_or_else(|_| source.clone(), |text| Source::new(source.name.clone(), text))
}

/// Where they are, without their quotes. When the text cannot be taken apart, everything from the first word that
/// speaks of one on.
fn passwords(source: &Arc<Source>) -> Vec<Span> {
    let Ok(tokens) = tokens(source, PUNCTUATION) else {
        let found = ["bind_pw", "radiuscfg"].iter().filter_map(|word| source.text.find(word)).min();
        let end = source.text.len();
        return found.map(|start| Span { start, end }).into_iter().collect();
    };
    let mut found = Vec::new();
    let mut radius = false;
    for (index, token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::Word("radiuscfg") => radius = true,
            Kind::Word("bind_pw") => found.extend(quoted_behind(&tokens, index, 0)),
            // The first string is the host.
            Kind::Word("auth" | "acct") if radius => found.extend(quoted_behind(&tokens, index, 1)),
            Kind::Punctuation('}') => radius = false,
            _ => {}
        }
    }
    found
}

/// The strings of the statement that begins at this token, but for the first ones.
fn quoted_behind(tokens: &[Token<'_>], index: usize, skip: usize) -> Vec<Span> {
    let statement = tokens
        .iter()
        .skip(index + 1)
        .take_while(|token| !matches!(token.kind, Kind::Punctuation(';' | '{' | '}')));
    let quoted = statement.filter(|token| matches!(token.kind, Kind::Quoted(_))).skip(skip);
    quoted.map(|token| Span { start: token.span.start + 1, end: token.span.end - 1 }).collect()
}

#[cfg(test)]
mod tests {
    use crate::diagnostic::Source;
    use crate::racoon::{Included, parse};

    #[test]
    fn remarks_show_no_password() {
        for text in [
            "ldapcfg { bind_pw \"hunter2\" ; prot 3; }",
            "ldapcfg { bind_pw \"hunter2\" oops; }",
            "radiuscfg { auth \"host\" [1812] \"hunter2\"; nonsense; acct \"host\" \"hunter2\" }",
            "radiuscfg { auth \"host\" \"ü-hunter2\" \"hunter2\"; }",
            "radiuscfg { auth \"host\" \"hunter2; }",
        ] {
            let (_, remarks) = parse(&Source::new("racoon.conf", text), &Included::default());
            assert!(!remarks.is_empty());
            for remark in remarks {
                let shown = format!("{remark} {}", remark.render(false));
                assert!(!shown.contains("hunter2"), "{shown}");
            }
        }
    }
}
