//! What users write, and what they are told.

mod directives;
mod files;
mod recovery;

use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Severity, Source};
use crate::racoon::{Included, RacoonConf, parse};

pub(super) const SEED: &str = include_str!("../../../../../examples/seed/freebsd-a/racoon.conf");

pub(super) fn read(text: &str) -> (RacoonConf, Vec<Diagnostic>) {
    parse(&Source::new("racoon.conf", text), &Included::default())
}

/// The model of a text without errors.
pub(super) fn good(text: &str) -> RacoonConf {
    let (conf, remarks) = read(text);
    assert_eq!(errors(&remarks), Vec::<String>::new(), "{text}");
    conf
}

pub(super) fn errors(remarks: &[Diagnostic]) -> Vec<String> {
    let error = |remark: &&Diagnostic| remark.severity == Severity::Error;
    remarks.iter().filter(error).map(ToString::to_string).collect()
}

/// The words that a remark underlines.
pub(super) fn underlined(remark: &Diagnostic) -> &str {
    let source: &Arc<Source> = &remark.source;
    source.text.get(remark.span.start..remark.span.end).expect("a span lies inside its text")
}
