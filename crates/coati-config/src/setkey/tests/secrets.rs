//! Nothing that is said about a text tells what its keys are.

use proptest::prelude::*;

use super::reading;
use crate::setkey::{Dialect, read};
use crate::{Severity, Source};

/// All that is said, and what a refusal of any command would show.
fn said(text: &str, dialect: Dialect) -> String {
    let script = read(&Source::new("t", text), &reading(dialect));
    let refused = script.statements.iter().map(|it| it.origin.remark(Severity::Error, "no"));
    script.remarks.iter().cloned().chain(refused).map(|it| it.to_string() + &it.render(false)).collect()
}

/// Another key of the same look.
fn another(key: &str) -> String {
    let turn = |c: char| match c {
        '0'..='9' => char::from(b'0' + (c as u8 - b'0' + 3) % 10),
        'a'..='f' => char::from(b'a' + (c as u8 - b'a' + 2) % 6),
        'g'..='z' if c != 'x' => char::from(b'g' + (c as u8 - b'g' + 5) % 17),
        '\u{e4}' => '\u{f6}',
        _ => c,
    };
    let (prefix, digits) = key.split_at(if key.starts_with("0x") { 2 } else { 0 });
    prefix.chars().chain(digits.chars().map(turn)).collect()
}

#[test]
fn keys_under_a_mistake() {
    let add = "add 192.0.2.1 192.0.2.2 esp 0x1000";
    for (wrong, shown) in [
        // Short, with a wrong digit, with a space, in the wrong quotes, in none.
        (format!("{add} -E aes-cbc 0x7q77;"), "-E aes-cbc"),
        (format!("{add} -E aes-cbc 0x77 7777;"), "-E aes-cbc"),
        ("flush 0X77777777777;".to_owned(), "flush"),
        (format!("{add} -E aes-cbc '7q77 77' -A hmac-sha1 0x7;"), "-A hmac-sha1"),
        (format!("{add} -A hmac-sha1 q7q7;"), "-A hmac-sha1"),
        (format!("{add} -A hmac-sha1 -q7q7;"), "-A hmac-sha1"),
        (format!("{add} -A hmac-sha1 a -q7 -u q7;"), "-A hmac-sha1"),
        (format!("{add} -A hmac-sha1 q7[q7]q7;"), "-A hmac-sha1"),
        (format!("{add} -A hmac-sha1 q7#q7;\n;"), "-A hmac-sha1"),
        (format!("{add} -A hmac-sha1 q7;q7 -E aes-cbc 0x7;"), "-E aes-cbc"),
        (format!("{add} -A hmac-sha1\n0x7q77;"), "0x7q77 is not shown"),
        // Another word is wrong.
        (format!("{add} -E aes-cbx 0x7777;"), "-E aes-cbx"),
        (format!("{add} -E AES-CBC 0x7777;"), "`AES-CBC`"),
        (format!("{add} -e aes-cbc 0x7777;"), "`-e`"),
        (format!("{add} -Eaes-cbc 0x7777;"), "0x1000"),
        (format!("{add} -A0x7777;"), "0x1000"),
        (format!("{add} -E 0x7777;"), "-E"),
        (format!("{add} -E q7q7q7 -A hmac-sha1 0x7;"), "-A hmac-sha1"),
        (format!("{add} -A \"7q7\";"), "-A"),
        (format!("{add} aes-cbc 0x7777;"), "aes-cbc"),
        (format!("{add} 0x7777;"), "0x1000"),
        (format!("{add} -u 1 0x7777;"), "-u 1"),
        (format!("{add} -E null 0x7777 0x7777;"), "-E null"),
        ("ad 192.0.2.1 192.0.2.2 esp 0x1000 0x7777;".to_owned(), "192.0.2.2 esp 0x1000"),
        ("anything 192.0.2.1 192.0.2.2 esp 0x1000 0x7777;".to_owned(), "`anything`"),
        ("add 192.0.2.1 192.0.2.2 ep 0x1000 -E aes-cbc 0x7777;".to_owned(), "`ep`"),
        ("flush add 192.0.2.1 192.0.2.2 esp 0x1000 -E aes-cbc 0x7777;".to_owned(), "`add`"),
        ("get 192.0.2.1 192.0.2.2 esp 0x1000 -E aes-cbc 0x7777;".to_owned(), "-E aes-cbc"),
        ("spdadd 192.0.2.1 192.0.2.2 any -P out none -E aes-cbc 0x7777;".to_owned(), "-P out none"),
        ("add 192.0.2.1[1 192.0.2.2 esp 0x1000 -E aes-cbc 0x7777;".to_owned(), "aes-cbc"),
        (format!("{add};\n-E aes-cbc 0x7777;"), ""),
        (format!("{add} -E;\naes-cbc 0x7777;"), ""),
        // The end of a quote, or of a command.
        (format!("{add} -A hmac-sha1 \"7q7;\nflush;"), "-A hmac-sha1"),
        (format!("{add} -E aes-cbc \"7 -A hmac-sha1 \"7q7\";\nflush;"), "-E aes-cbc"),
        (format!("{add} -A hmac-sha1 7q7\";\nflush;"), "t:1:"),
        (format!("{add} -E aes-cbc 0x7777\nflush;"), "-E aes-cbc"),
        (format!("flus; # {add} -A hmac-sha1 0x7777"), "`flus`"),
        (format!("# \"7q7\"\n{add} -A hmac-sha1 # 0x7777\n;"), "-A hmac-sha1"),
    ] {
        let text = said(&wrong, Dialect::IpsecTools);
        assert!(
            text.contains("error") && !["77", "7q", "q7"].iter().any(|it| text.contains(it)),
            "{wrong}\n{text}"
        );
        let may_be_left_out = wrong.contains('\n');
        assert!(may_be_left_out || text.contains(shown), "{wrong}\n{text}");
    }
}

#[test]
fn places_stay_behind_any_letters() {
    let text = "add 192.0.2.1 192.0.2.2 esp 0x1000 -E aes-cbc \"ä€🦝\" -Q 7;";
    let said = said(text, Dialect::IpsecTools);
    assert!(said.contains("t:1:47: error: aes-cbc takes a key"), "{said}");
    let source = Source::new("t", text.replace("\"ä€🦝\"", "0x00112233445566778899aabbccddeeff0\"ä€🦝\""));
    let remark = read(&source, &reading(Dialect::IpsecTools)).remarks.remove(0);
    assert_eq!(remark.source.place(remark.span), source.place(remark.span));
    assert!(!remark.render(false).contains(['ä', '€', '🦝']));
}

proptest! {
    /// Whatever is wrong around it: with another key of the same look, the same is said.
    #[test]
    fn what_is_said_does_not_depend_on_keys(
        key in "(0x|'|\"|)[0-9a-f]{1,12}[0-9a-wyzä #\\[;]{0,8}(\"|'|)", short in "0x[0-9a-f]{1,6}",
        words in prop::collection::vec((0usize..12, 0usize..8), 0..4), dialect in 0usize..3,
    ) {
        let line = |key: &str, short: &str| {
            let mut line: Vec<String> = "add 192.0.2.1 192.0.2.2 esp 0x1000 -m any -E aes-cbc KEY -A hmac-sha1 SHORT -lh 50 ;"
                .split(' ').map(str::to_owned).collect();
            for (at, change) in &words {
                let Some(word) = line.get_mut(*at).filter(|word| !["KEY", "SHORT", "0x1000"].contains(&word.as_str())) else { continue };
                match change {
                    // What stands before the SPI has to stay, or a key is the SPI.
                    0 if *at > 4 => drop(line.remove(*at)),
                    1 => word.insert(0, 'X'),
                    2 => word.push('X'),
                    3 => *word = word.to_uppercase(),
                    4 if *at > 4 => *word = "-u 7".to_owned(),
                    5 if *at > 4 => *word = "-R".to_owned(),
                    6 if *at > 4 => word.insert(0, '\n'),
                    _ => {}
                }
            }
            line.join(" ").replace("KEY", key).replace("SHORT", short) + "\nflush;\n"
        };
        let dialect = Dialect::NAMES[dialect].1;
        let (one, other) = (line(&key, &short), line(&another(&key), &another(&short)));
        prop_assert_eq!(said(&one, dialect), said(&other, dialect), "{}\n{}", one, other);
    }
}
