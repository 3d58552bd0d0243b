//! What becomes of a bird.conf.

mod cases;
mod whole;

use super::{HostInterface, Passwords, import};
use crate::diagnostic::{Diagnostic, Severity, Source};
use crate::ospfd::{self, OspfConf};

/// What the tests' host has.
fn hosts() -> Vec<HostInterface> {
    ["gre0=10.9.9.1/30", "gre1=10.9.9.5/30", "em0=192.0.2.1/24", "em1=192.168.1.1/24"]
        .map(|text| text.parse().unwrap())
        .to_vec()
}

fn imported(text: &str) -> (Option<String>, Vec<Diagnostic>) {
    import(&Source::new("bird.conf", text), &hosts(), Passwords::Written)
}

/// The text as coati reads it: nothing in it is an error.
#[track_caller]
fn read(text: &str) -> OspfConf {
    let (conf, remarks) = ospfd::parse(&Source::new("ospfd.conf", text));
    let errors: Vec<String> =
        remarks.iter().filter(|remark| remark.severity == Severity::Error).map(ToString::to_string).collect();
    assert!(errors.is_empty(), "{errors:#?}\n{text}");
    conf
}
