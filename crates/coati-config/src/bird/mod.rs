//! bird.conf of BIRD 2, as far as it is about OSPFv2: read, and written anew as the ospfd.conf that does the same.
//!
//! BIRD's defaults that differ from FRR's are written out. What cannot be carried over is said in a remark at its place;
//! nothing is lost in silence. A file with an error makes no ospfd.conf.

mod filter;
mod lexer;
mod model;
mod ospf;
mod reader;
mod redistribute;
#[cfg(test)]
mod tests;
mod top;
mod write;

use std::sync::Arc;

use coati_sadb::Prefix;

use self::lexer::{Kind, Token};
use self::reader::Reader;
use crate::diagnostic::{Diagnostic, Remarks, Severity, Source, Span};

/// An interface that patterns such as `"gre*"` may mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostInterface {
    /// Its name.
    pub name: String,
    /// Its IPv4 addresses, where they are known; patterns may name networks.
    pub addresses: Vec<Prefix>,
}

impl std::str::FromStr for HostInterface {
    type Err = String;

    /// `gre0`, or with an address `gre0=10.9.9.1/30`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, address) =
            text.split_once('=').map_or((text, None), |(name, address)| (name, Some(address)));
        if !top::is_name(name) {
            return Err(format!("`{name}` is no name of an interface"));
        }
        let address = address.map(|text| text.parse::<Prefix>().map_err(|error| format!("{name}: {error}")));
        Ok(Self { name: name.to_owned(), addresses: address.transpose()?.into_iter().collect() })
    }
}

/// What is done with passwords.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passwords {
    /// They are written: the text is for a file that nobody else reads.
    Written,
    /// Their lines are comments that do not show them.
    Hidden,
}

/// The ospfd.conf that does what this bird.conf does on a host with these interfaces, and the remarks; none when there
/// is an error.
pub fn import(
    source: &Arc<Source>,
    interfaces: &[HostInterface],
    passwords: Passwords,
) -> (Option<String>, Vec<Diagnostic>) {
    // Remarks show lines of the file: of one without its passwords.
    let shown = blanked(source);
    let mut remarks = Remarks::new(&shown);
    let elsewhere = |mut error: Diagnostic| {
        error.source = shown.clone();
        (None, vec![error])
    };
    let (tokens, strays) = match lexer::tokens(source) {
        Ok(tokens) => tokens,
        Err(error) => return elsewhere(error),
    };
    remarks.list.extend(strays.into_iter().map(|mut error| {
        error.source = shown.clone();
        error
    }));
    let tokens = match lexer::expand(&tokens, &mut remarks) {
        Ok(tokens) => tokens,
        Err(error) => {
            remarks.list.push(error);
            return (None, remarks.list);
        }
    };
    let mut reader = Reader { tokens, at: 0, remarks };
    let conf = top::file(&mut reader);
    let Some(ospf) = conf.ospf.as_ref().filter(|_| reader.remarks.errors() == 0) else {
        if reader.remarks.errors() == 0 {
            let routes = redistribute::routes_alone(&mut reader, &conf);
            if !routes.is_empty() {
                return (Some(format!("{}{routes}!\n", write::HEAD)), reader.remarks.list);
            }
            let whole = reader.remarks.source.beginning();
            let error = reader.remarks.error(
                whole,
                "there is no `protocol ospf` for OSPFv2 here, and no static route that is used",
            );
            reader.remarks.list.push(error.help("there is nothing else in a bird.conf that Coati does"));
        }
        return (None, reader.remarks.list);
    };
    let text = write::text(&mut reader, &conf, ospf, interfaces, passwords);
    let text =
        Some(text).filter(|_| reader.remarks.list.iter().all(|remark| remark.severity < Severity::Error));
    (text, reader.remarks.list)
}

/// The same text, as long and with the same lines, without its passwords. When it cannot be taken apart, without
/// anything from the first one on, which may be a constant.
fn blanked(source: &Arc<Source>) -> Arc<Source> {
    let Some(first) = source.text.find("password") else { return source.clone() };
    let tokens = lexer::tokens(source);
    let tokens = tokens.as_ref().map(|(tokens, strays)| (tokens, strays.as_slice()));
    let mut text = source.text.clone().into_bytes();
    let mut blank = |span: Span| {
        for byte in text.get_mut(span.start..span.end).into_iter().flatten() {
            if !matches!(*byte, b'\n' | b'"') {
                *byte = b'*';
            }
        }
    };
    match tokens {
        // Where a password ends is not sure.
        Err(_) | Ok((_, [_, ..])) => {
            let start = source.text.find("define").map_or(first, |constant| constant.min(first));
            blank(Span { start, end: source.text.len() });
        }
        Ok((tokens, [])) => secrets(tokens).for_each(blank),
    }
    String::from_utf8(text).map_or_else(|_| source.clone(), |text| Source::new(source.name.clone(), text))
}

/// What stands behind `password`, and all strings of constants: one may be a password.
fn secrets<'t>(tokens: &'t [Token<'_>]) -> impl Iterator<Item = Span> + 't {
    let mut of_constant = false;
    let before = std::iter::once(None).chain(tokens.iter().map(|token| Some(token.kind)));
    tokens.iter().zip(before).filter_map(move |(token, before)| {
        match token.kind {
            Kind::Word("define") => of_constant = true,
            Kind::Sign(';') => of_constant = false,
            _ => {}
        }
        let behind = before == Some(Kind::Word("password")) && !matches!(token.kind, Kind::Sign(_));
        (behind || of_constant && matches!(token.kind, Kind::Text(_))).then_some(token.span)
    })
}
