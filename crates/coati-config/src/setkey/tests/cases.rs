//! The cases of the text files beside: a text, and what is made of it.
//!
//! ```text
//! dialect freebsd                          for what follows
//! > spdadd 192.0.2.1 192.0.2.2 gre         lines of a text
//! > -P out none;
//! 1:8 `192.0.2.1` error: what is said      remarks with place and the words underlined
//! spdadd 192.0.2.1 192.0.2.2 gre …;        the requests, as the commands that make them
//! ```

use super::{outcome, reading};
use crate::setkey::Dialect;

const FILES: [(&str, &str); 6] = [
    ("commands.txt", include_str!("commands.txt")),
    ("associations.txt", include_str!("associations.txt")),
    ("algorithms.txt", include_str!("algorithms.txt")),
    ("selectors.txt", include_str!("selectors.txt")),
    ("policies.txt", include_str!("policies.txt")),
    ("dialects.txt", include_str!("dialects.txt")),
];

#[test]
fn every_case() {
    let (mut cases, mut wrong) = (0, Vec::new());
    for (name, file) in FILES {
        let mut dialect = Dialect::IpsecTools;
        let mut lines = file.lines().zip(1..).peekable();
        while let Some((line, number)) = lines.next() {
            if let Some(name) = line.strip_prefix("dialect ") {
                dialect = Dialect::from_name(name).expect("a dialect");
            }
            let typed = |line: &'static str| {
                line.strip_prefix('>').map(|rest| rest.strip_prefix(' ').unwrap_or(rest))
            };
            let Some(first) = typed(line) else { continue };
            let mut text = first.to_owned();
            while let Some((more, _)) = lines.next_if(|(line, _)| line.starts_with('>')) {
                text.push('\n');
                text.push_str(typed(more).unwrap_or(""));
            }
            let mut wanted = Vec::new();
            while let Some((line, _)) = lines.next_if(|(line, _)| !line.is_empty()) {
                wanted.push(line);
            }
            cases += 1;
            let found = outcome(&text, &reading(dialect));
            if found != wanted {
                let (found, wanted) = (found.join("\n  "), wanted.join("\n  "));
                wrong.push(format!("{name}:{number}: {text}\n  {found}\ninstead of\n  {wanted}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {cases} cases:\n{}", wrong.len(), wrong.join("\n\n"));
    assert!(cases >= 300, "{cases}");
}
