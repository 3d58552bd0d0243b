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
    let policy = "spdadd 192.0.2.1 192.0.2.2 any -P out ipsec";
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
        ("anything 192.0.2.1 192.0.2.2 esp 0x1000 0x7777;".to_owned(), "unknown command `********`"),
        ("add 192.0.2.1 192.0.2.2 ep 0x1000 -E aes-cbc 0x7777;".to_owned(), "`ep`"),
        ("flush add 192.0.2.1 192.0.2.2 esp 0x1000 -E aes-cbc 0x7777;".to_owned(), "`add`"),
        ("get 192.0.2.1 192.0.2.2 esp 0x1000 -E aes-cbc 0x7777;".to_owned(), "-E aes-cbc"),
        ("spdadd 192.0.2.1 192.0.2.2 any -P out none -E aes-cbc 0x7777;".to_owned(), "-P out none"),
        ("add 192.0.2.1[1 192.0.2.2 esp 0x1000 -E aes-cbc 0x7777;".to_owned(), "aes-cbc"),
        (format!("{add};\n-E aes-cbc 0x7777;"), ""),
        (format!("{add} -E;\naes-cbc 0x7777;"), ""),
        // On another line than the algorithm, behind a semicolon.
        (format!("{add} -E aes-cbc ;\n  0x7q77 -A hmac-sha1 0x7;"), ""),
        (format!("{add} -E aes-cbc ;\n;\nq7q7q7 -A hmac-sha1 0x7;"), ""),
        (format!("{add} -E ;\nflusq7;"), ""),
        (format!("{add} -E aes-cbc ;\n#\nq7q7q7;\nflus;"), ""),
        // In place of a command.
        ("0x7777;".to_owned(), "unknown command `******`"),
        ("PSK=q7q7;".to_owned(), "unknown command `********`"),
        ("flush; q7q7;".to_owned(), "flush; ****;"),
        ("q7q7 -A hmac-sha1 0x7;".to_owned(), "-A hmac-sha1"),
        ("ad77;".to_owned(), "unknown command `****`"),
        // Of an option that has no keys.
        (format!("{add} -r q7q7q7 -A hmac-sha1 0x7;"), "-r ****** -A hmac-sha1"),
        (format!("{add} -u 77777777777 -A hmac-sha1 0x7;"), "-u *********** -A"),
        (format!("{add} -lh q7q7q7 -A hmac-sha1 0x7;"), "-lh ******"),
        (format!("{add} -m q7q7q7q7q7q7q7q7 -A hmac-sha1 0x7;"), "-m ****"),
        (format!("{add} -f 7777777777a -A hmac-sha1 0x7;"), "-f ****"),
        (format!("{add} -hwif 7777777777a -q -A hmac-sha1 0x7;"), "-hwif ****"),
        // In place of an operand.
        ("add 192.0.2.1 192.0.2.2 esp q7q7q7 -E aes-cbc 0x7;".to_owned(), "`******` is not an SPI"),
        ("add 192.0.2.1 192.0.2.2 q7q7q7q7q7q7q7q7 0x1000;".to_owned(), "unknown protocol `****"),
        ("add q7q7q7q7q7q7q7q7 192.0.2.2 esp 0x1000;".to_owned(), "****"),
        ("add 192.0.2.1[q7q7q7q7q7q7q7q7] 192.0.2.2 esp-udp 0x1000;".to_owned(), "[****"),
        ("flush 0x77777777777;".to_owned(), "flush ****"),
        ("get 192.0.2.1 192.0.2.2 77777777777 0x1000;".to_owned(), "get 192.0.2.1 192.0.2.2 ****"),
        // In a policy.
        (format!("{policy} esp/transport/0x7777777777777777/require;"), "`****"),
        (format!("{policy} 77777777777777777/transport//require;"), "unknown protocol `****"),
        (format!("{policy} esp/77777777777777777/require;"), "unknown mode `****"),
        (format!("{policy} esp/transport//require/77777777777;"), "`/****"),
        (format!("{policy} esp/transport//unique:7777777777777777;"), "-P out ipsec ****"),
        ("spdadd 192.0.2.1 192.0.2.2 icmp aes-cbc q7 q7 -P out none;".to_owned(), "`aes-cbc****`"),
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
fn ordinary_mistakes_are_shown() {
    for (wrong, shown) in [
        ("sdpadd 192.0.2.1 192.0.2.2 any -P out none;", "unknown command `sdpadd`"),
        ("spd_add 192.0.2.1 192.0.2.2 any -P out none;", "unknown command `spd_add`"),
        ("add 192.0.2.1 192.0.2.2 esp-olld 0x1000 -A hmac-sha1 0x7;", "unknown protocol `esp-olld`"),
        ("add 192.0.2.1 192.0.2.2 esp 4k -A hmac-sha1 0x7;", "`4k` is not an SPI"),
        ("add 192.0.2.1 192.0.2.2 esp 0x1000 -A hmac-sha2 0x7;", "`hmac-sha2`"),
        ("add 192.0.2.1 192.0.2.2 esp 0x1000 -m trasnport -A hmac-sha1 0x7;", "`trasnport`"),
        ("add 192.0.2.1 192.0.2.2 esp 0x1000 -lh 3600s -A hmac-sha1 0x7;", "`3600s`"),
        ("add 192.0.2.1 192.0.2.2 esp 0x1000 -bh 10737418240 -A hmac-sha1 0x7;", "-bh 10737418240"),
        ("spdadd 192.0.2.1/33 192.0.2.2 any -P out none;", "192.0.2.1/33"),
        ("spdadd 192.0.2.1 192.0.2.2 any -P out ipsec esp/transprot//unique;", "`transprot`"),
        (
            "spdadd 192.0.2.1 192.0.2.2 any -P out ipsec esp/tunnel/192.0.2.1_192.0.2.2/unique;",
            "`192.0.2.1_192.0.2.2`",
        ),
    ] {
        let text = said(wrong, Dialect::IpsecTools);
        assert!(text.contains(shown), "{wrong}\n{text}");
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

    /// Words, semicolons and ends of lines of commands without a mistake are left out, moved, swapped and cut in two.
    /// A key is cut once: shorter pieces may be names.
    #[test]
    fn what_is_said_of_words_in_disorder_does_not_depend_on_keys(
        keys in prop::collection::vec("(0x|)[0-9][a-f][0-9a-f]{30,38}|\"[gjk]{32}\"", 3),
        changes in prop::collection::vec((0usize..4, 0usize..40, 0usize..40), 0..5), dialect in 0usize..3,
    ) {
        let text = |keys: &[String]| {
            let mut words: Vec<String> = "flush ;\nadd 192.0.2.1 192.0.2.2 esp 0x1000 -m transport -r 8 -lh 50 -E aes-cbc KEY0 -A hmac-sha1 KEY1 ;\n\
                add 192.0.2.2 192.0.2.1 ah 0x1001 -u 7 -A hmac-sha1 KEY2 ;\nspdadd 192.0.2.1 192.0.2.2 any -P out none ;\n"
                .split_inclusive(['\n', ' ']).flat_map(|word| word.strip_suffix('\n').map_or(vec![word], |word| vec![word, "\n"]))
                .map(str::to_owned).collect();
            for word in &mut words {
                for (at, key) in keys.iter().enumerate() {
                    *word = word.replace(&format!("KEY{at}"), key);
                }
            }
            for (change, at, to) in &changes {
                let (at, to) = (at % words.len(), to % words.len());
                match change {
                    0 => drop(words.remove(at)),
                    1 => {
                        let word = words.remove(at);
                        words.insert(to.min(words.len()), word);
                    }
                    2 => words.swap(at, to),
                    _ if (12..=30).contains(&words[at].len()) => {}
                    _ => {
                        let middle = words[at].len() / 2;
 let half = words[at].split_off(middle);
                        words.insert(at + 1, [" ", "\n", ";", " ;\n"][to % 4].to_owned() + &half);
                    }
                }
            }
            words.concat()
        };
        let dialect = Dialect::NAMES[dialect].1;
        let others: Vec<String> = keys.iter().map(|key| another(key)).collect();
        let (one, other) = (text(&keys), text(&others));
        prop_assert_eq!(said(&one, dialect), said(&other, dialect), "{}\n{}", one, other);
    }
}
