//! racoon.conf(5), whole: the text as a typed model, with a remark for everything that is wrong in it.
//!
//! [`model`] says what there is, [`algorithms`] and [`identifier`] hold its words. The parser is a recursive descent over
//! tokens, one file for each block. After an error it goes on behind the statement, so that several are found at once.
//! A directive is obeyed, or answered with what became of it and what to use; it is never ignored silently.
//! [`unsupported()`] names what the model can say and the engine does not do yet.

pub mod algorithms;
mod daemon;
pub mod identifier;
mod include;
mod mode_cfg;
pub mod model;
mod parser;
mod print;
mod proposal;
mod remote;
mod remote_checks;
mod sainfo;
mod secrets;
mod top;
mod unsupported;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use algorithms::{AuthMethod, CompAlgorithm, DhGroup, EspAuth, EspCipher, Phase1Cipher, Phase1Hash};
pub use identifier::{DistinguishedName, DnAttribute, Identifier};
pub use include::{Included, IncludedFiles};
pub use model::*;
pub use unsupported::unsupported;

use crate::diagnostic::{Diagnostic, Source};

/// Reads the file, and with `included` those that it includes. When one of the remarks is an error, the model lacks
/// what the error is about.
pub fn parse(source: &Arc<Source>, included: &dyn IncludedFiles) -> (RacoonConf, Vec<Diagnostic>) {
    let mut state = parser::State::new(included);
    parser::parse_file(source, &mut state);
    state.finish()
}
