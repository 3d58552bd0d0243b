//! Several errors at once, each in its place; includes; texts of any kind.

use std::sync::Arc;

use proptest::prelude::*;

use super::{SEED, errors, good, read};
use crate::diagnostic::{Diagnostic, Severity, Source};
use crate::racoon::{Included, IncludedFiles, RacoonConf, parse};

#[test]
fn wrong_lines_of_the_how_to_and_their_places() {
    for (from, to, wanted) in [
        (
            "dpd_delay 20;",
            "dpd_dellay 20;",
            ":5:1: error: unknown directive `dpd_dellay` (did you mean `dpd_delay`?)",
        ),
        ("passive off;", "passive off", ":7:11: error: a semicolon `;` is missing before `initial_contact`"),
        ("198.51.100.1 [500]", "198.51.100.256 [500]", ":1:8: error: `198.51.100.256` is not an IP address"),
        ("8 hour", "8 hours ago", ":10:21: error: a semicolon `;` is missing before `ago`"),
        ("8 hour", "8 days", ":10:17: error: unknown unit of time `days`"),
        ("dh_group 2;", "dh_group 3;", ":15:10: error: the group `3` cannot be used"),
        ("exchange_mode main;", "", ":1:1: error: no exchange_mode in this block"),
        ("compression_algorithm deflate;", "", ":18:1: error: no compression_algorithm in this sainfo"),
        (
            "encryption_algorithm aes;",
            "encryption_algorithm aes 64;",
            ":12:26: error: AES has no keys of 64 bits",
        ),
        ("deflate;\n}", "deflate;", ":18:1: error: this block is never closed"),
        (
            "}\n}\nsainfo",
            "}\nsainfo",
            ":1:1: error: this block is never closed (add the closing brace `}` before `sainfo`",
        ),
    ] {
        assert!(SEED.contains(from), "{from}");
        let found = errors(&read(&SEED.replacen(from, to, 1)).1);
        assert!(found.len() == 1 && found[0].contains(wanted), "{from} -> {to}\n  {found:#?}");
    }
}

#[test]
fn all_errors_are_found_at_once() {
    let text = "log loud;\nremote 192.0.2.1 {\n  exchange_mode main\n  pasive on;\n  dpd_delay often;\n  \
                proposal { hash_algorithm sha0; dh_group 14;\n }\n}\nsainfo anonymus { pfs_group 2; }\n\
                timer { counter x; interval 5 days; }\n";
    let found = errors(&read(text).1);
    let places: Vec<&str> =
        found.iter().map(|text| text.split(" error").next().unwrap().trim_end_matches(':')).collect();
    let wanted = ["1:5", "3:20", "4:3", "5:13", "6:29", "9:8", "10:17", "10:31"];
    assert_eq!(places, wanted.map(|place| format!("racoon.conf:{place}")), "{found:#?}");
}

#[test]
fn errors_without_end_are_bounded() {
    let (_, remarks) = read(&"nonsense;\n".repeat(100_000));
    assert_eq!(errors(&remarks).len(), 20);
    let last = remarks.last().unwrap();
    assert_eq!((last.severity, remarks.len()), (Severity::Note, 21));
    assert!(last.message.contains("more errors"), "{last}");
    // The same inside one block.
    let (_, remarks) = read(&format!("timer {{ {} }}", "nonsense;\n".repeat(10_000)));
    assert_eq!(errors(&remarks).len(), 20);
}

/// Files under the patterns that match them.
fn included(files: &[(&str, &[(&str, &str)])]) -> Included {
    let sources =
        |list: &[(&str, &str)]| Ok(list.iter().map(|(name, text)| Source::new(*name, *text)).collect());
    Included(files.iter().map(|(pattern, list)| ((*pattern).to_owned(), sources(list))).collect())
}

fn with(text: &str, files: &dyn IncludedFiles) -> (RacoonConf, Vec<Diagnostic>) {
    parse(&Source::new("racoon.conf", text), files)
}

#[test]
fn included_files_and_errors_in_them() {
    let files = included(&[
        ("/etc/racoon/remotes.d/*.conf", &[("a.conf", "log debug;\n"), ("b.conf", "\n  log loud;\n")]),
        ("~/more.conf", &[("more.conf", "timer { counter 9; }\n")]),
    ]);
    let text =
        "path include \"/etc/racoon\";\ninclude \"remotes.d/*.conf\";\ninclude \"~/more.conf\";\nlog oops;\n";
    let (conf, remarks) = with(text, &files);
    let found = errors(&remarks);
    assert!(found[0].starts_with("b.conf:2:7: error: unknown log level `loud`"), "{found:?}");
    assert!(found[1].starts_with("racoon.conf:4:5: error: unknown log level `oops`"), "{found:?}");
    assert_eq!((conf.log, conf.timer.counter), (crate::racoon::LogLevel::Debug, 9));
    // Only between statements.
    let (_, remarks) = with("timer { include \"x\"; }", &files);
    assert!(errors(&remarks)[0].contains("belongs outside of all blocks"), "{remarks:?}");
    let (_, remarks) = with("timer {\ninclude \"x\";", &files);
    assert!(errors(&remarks)[0].contains("never closed"), "{remarks:?}");
    let failed = Included([("x".to_owned(), Err("no permission".to_owned()))].into());
    let (_, remarks) = with("include \"x\";", &failed);
    assert!(errors(&remarks)[0].contains("`x` cannot be included: no permission"), "{remarks:?}");
}

#[test]
fn a_file_that_includes_itself() {
    let text = "log debug;\ninclude \"racoon.conf\";\n";
    let files = included(&[("racoon.conf", &[("racoon.conf", text)])]);
    let (_, remarks) = with(text, &files);
    let found = errors(&remarks);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("more than 10 times"), "{found:?}");
    // Nor does a tree of them grow without end.
    let text = "include \"racoon.conf\";\n".repeat(50);
    let files = included(&[("racoon.conf", &[("racoon.conf", text.as_str())])]);
    let (_, remarks) = with(&text, &files);
    assert_eq!(errors(&remarks).len(), 20);
}

#[test]
fn what_a_reload_compares() {
    let moved = good(&format!("# a new first line\n\n{SEED}"));
    assert_eq!(good(SEED), moved);
    assert_ne!(good(SEED).remotes, good(&SEED.replace("dpd_maxfail 2", "dpd_maxfail 3")).remotes);
}

#[test]
fn a_hundred_thousand_lines_are_read_at_once() {
    let block = SEED.split("sainfo").next().unwrap();
    let remote = |n: usize| block.replace("198.51.100.1", &format!("10.{}.{}.1", n / 256, n % 256));
    let text: String = (0..500).map(remote).collect();
    assert_eq!(good(&text).remotes.len(), 500);
}

/// Every remark has its place inside the text that it is about.
fn spans_are_inside(remarks: &[Diagnostic]) {
    for remark in remarks {
        let source: &Arc<Source> = &remark.source;
        assert!(source.text.get(remark.span.start..remark.span.end).is_some(), "{remark:?}");
        assert!(!remark.to_string().is_empty() && !remark.render(false).is_empty());
    }
}

/// Words of the grammar, in any order.
fn words() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "remote",
        "sainfo",
        "anonymous",
        "{",
        "}",
        "{",
        "}",
        ";",
        ";",
        ";",
        ",",
        "[",
        "]",
        "500",
        "any",
        "192.0.2.1",
        "2001:db8::1",
        "/24",
        "-192.0.2.9",
        "\"a\"",
        "\"",
        "on",
        "off",
        "proposal",
        "exchange_mode",
        "main",
        "aggressive",
        "inherit",
        "address",
        "subnet",
        "gre",
        "lifetime",
        "time",
        "byte",
        "hour",
        "MB",
        "include",
        "path",
        "listen",
        "isakmp",
        "adminsock",
        "timer",
        "my_identifier",
        "asn1dn",
        "keyid",
        "file",
        "tag",
        "from",
        "group",
        "encryption_algorithm",
        "aes",
        "3des",
        "256",
        "des",
        "dh_group",
        "mode_cfg",
        "split_network",
        "#",
        "\n",
        "ü",
        "fe80::1%em0",
        "clientaddr",
        "fqdn",
        "script",
        "phase1_up",
        "0",
        "-",
        "/",
    ]);
    prop::collection::vec(word, 0..80).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn any_text(text in "(remote anonymous \\{|sainfo anonymous \\{|path )?\\PC{0,300}") {
        spans_are_inside(&read(&text).1);
    }

    #[test]
    fn any_words(text in words()) {
        spans_are_inside(&read(&text).1);
    }

    #[test]
    fn any_cut(cut in 0usize..800) {
        if let Some(text) = SEED.get(..cut) {
            spans_are_inside(&read(text).1);
        }
    }

    /// What is printed is read as what it was printed from.
    #[test]
    fn printed_and_read_again(text in words()) {
        let (conf, remarks) = read(&text);
        if errors(&remarks).is_empty() {
            prop_assert_eq!(good(&conf.to_string()), conf);
        }
    }
}
