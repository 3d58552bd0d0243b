//! What is wrong with commands, said as each setkey says it, and below with the place underlined.

use std::fmt::Write;

use coati_config::setkey::{Dialect, Statement};
use coati_config::{Diagnostic, Severity};
use coati_sadb::Refusal;

/// Remarks that are shown of one text.
const MAX_SHOWN: usize = 20;

/// What the parser remarks.
pub fn remarks_text(remarks: &[Diagnostic], dialect: Dialect, colour: bool) -> String {
    let mut text = String::new();
    for remark in remarks.iter().take(MAX_SHOWN) {
        if remark.severity == Severity::Error {
            let words = remark.source.text.get(remark.span.start..remark.span.end).unwrap_or("");
            let words = words.lines().next().unwrap_or("");
            let (place, message) = (remark.place(), &remark.message);
            let _ = match dialect {
                Dialect::FreeBsd => writeln!(text, "line {}: {message} at [{words}]", place.line),
                _ => writeln!(text, "setkey: {},{}: {message} at `{words}'", place.file, place.line),
            };
        }
        text.push_str(&remark.render(colour));
    }
    if let Some(more) = remarks.len().checked_sub(MAX_SHOWN).filter(|more| *more > 0) {
        let _ = writeln!(text, "setkey: and {more} more");
    }
    let first = remarks.iter().find(|remark| remark.severity == Severity::Error);
    if let (Dialect::FreeBsd, Some(first)) = (dialect, first) {
        let _ = writeln!(text, "parse failed, line {}.", first.place().line);
    }
    text
}

/// What the data plane has against a command.
pub fn refusal_text(statement: &Statement, refusal: &Refusal, dialect: Dialect, colour: bool) -> String {
    let (place, errno) = (statement.origin.place(), errno_text(refusal));
    let classic = match dialect {
        Dialect::FreeBsd => format!("The result of line {}: {errno}.", place.line),
        _ => format!("setkey: {},{}: {errno}", place.file, place.line),
    };
    let mut remark = statement.origin.remark(Severity::Error, refusal.to_string());
    if let Some(help) = advice(refusal) {
        remark = remark.help(help);
    }
    format!("{classic}\n{}", remark.render(colour))
}

/// The words of strerror(3), or setkey's own.
pub fn errno_text(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::NoSa | Refusal::NoPolicy => "No entry",
        Refusal::Exists => "File exists",
        Refusal::Invalid(_) => "Invalid argument",
        Refusal::Unsupported(_) => "Operation not supported",
        Refusal::NoRoom(_) => "No buffer space available",
        Refusal::Withheld => "Operation canceled",
    }
}

/// What to do about a refusal.
pub fn advice(refusal: &Refusal) -> Option<&'static str> {
    match refusal {
        Refusal::Exists => Some("remove the old one first, or write update or spdupdate, which replace it"),
        Refusal::NoSa => Some("setkey -D lists those that are there"),
        Refusal::NoPolicy => Some("setkey -DP lists those that are there"),
        Refusal::Invalid(_) | Refusal::Unsupported(_) | Refusal::NoRoom(_) | Refusal::Withheld => None,
    }
}

#[cfg(test)]
mod tests {
    use coati_config::Source;
    use coati_config::setkey::{Reading, parse, read};

    use super::*;

    #[test]
    fn mistakes_as_each_setkey_says_them() {
        let source = Source::new("setkey.conf", "flush;\nspdadd 192.0.2.1 192.0.2.2 gre -P inn none;\n");
        let remarks = read(&source, &Reading::default()).remarks;
        let text = remarks_text(&remarks, Dialect::IpsecTools, false);
        assert!(text.starts_with("setkey: setkey.conf,2: unknown direction `inn` at `inn'\n"), "{text}");
        assert!(text.contains("setkey.conf:2:35: error: unknown direction `inn`"), "{text}");
        assert!(text.contains("^|^"), "{text}");
        let text = remarks_text(&remarks, Dialect::FreeBsd, false);
        assert!(text.starts_with("line 2: unknown direction `inn` at [inn]\n"), "{text}");
        assert!(text.ends_with("parse failed, line 2.\n"), "{text}");
    }

    #[test]
    fn keys_are_not_shown_under_a_mistake() {
        for (key, rest) in [
            ("0x00112233445566778899aabbccddeeff", "-A hmac-shaX 0x55"),
            ("\"a pass w\u{f6}rd here\"", "-A hmac-shaX 0x55"),
        ] {
            let text = format!("add 192.0.2.1 192.0.2.2 esp 0x1000 -E aes-cbc {key} {rest};\n");
            let remarks = read(&Source::new("t", text), &Reading::default()).remarks;
            let text = remarks_text(&remarks, Dialect::IpsecTools, false);
            assert!(text.contains("0x1000") && text.contains("hmac-shaX"), "{text}");
            assert!(!text.contains("ddeeff") && !text.contains("pass"), "{text}");
            assert!(text.contains("********"), "{text}");
        }
    }

    #[test]
    fn warnings_are_no_failure_and_lists_have_an_end() {
        let source = Source::new("t", "get 192.0.2.1 192.0.2.2 esp 0x1000 -m any;\n");
        let remarks = read(&source, &Reading::default()).remarks;
        let text = remarks_text(&remarks, Dialect::FreeBsd, false);
        assert!(text.starts_with("t:1:36: warning: ") && !text.contains("parse failed"), "{text}");
        let source = Source::new("t", "flus;\n".repeat(50));
        let text = remarks_text(&read(&source, &Reading::default()).remarks, Dialect::IpsecTools, false);
        assert!(text.ends_with("setkey: and 30 more\n") && text.matches("t:").count() >= 20, "{text}");
    }

    #[test]
    fn refusals_as_each_setkey_says_them() {
        let source = Source::new("keys.conf", "flush;\n  delete 192.0.2.1 192.0.2.2 esp 0x1000;\n");
        let statement = parse(&source).unwrap().remove(1);
        let text = refusal_text(&statement, &Refusal::NoSa, Dialect::IpsecTools, false);
        assert!(
            text.starts_with("setkey: keys.conf,2: No entry\nkeys.conf:2:3: error: no such SA\n"),
            "{text}"
        );
        assert!(text.contains("setkey -D lists"), "{text}");
        let text = refusal_text(&statement, &Refusal::Exists, Dialect::FreeBsd, false);
        assert!(text.starts_with("The result of line 2: File exists.\n"), "{text}");
    }
}
