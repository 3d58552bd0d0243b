//! The table of directives.txt.

use super::{read, underlined};
use crate::diagnostic::Severity;

const TABLE: &str = include_str!("directives.txt");

#[test]
fn every_directive() {
    let (mut section, mut cases, mut wrong) = ("", 0, Vec::new());
    for (index, line) in TABLE.lines().enumerate() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
        } else if let Some((snippet, wanted)) = line.split_once(" | ") {
            // In the explanation at the top there are bars too.
            if section.is_empty() {
                continue;
            }
            cases += 1;
            let text = wrapped(section, &snippet.replace("\\n", "\n"));
            if let Err(why) = check(&text, wanted) {
                wrong.push(format!("directives.txt:{}: [{section}] {line}\n  {why}", index + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {cases} cases:\n{}", wrong.len(), wrong.join("\n"));
    assert!(cases >= 250, "{cases}");
}

/// A whole file around the snippet, without anything to remark.
fn wrapped(section: &str, snippet: &str) -> String {
    let with = |needed: &[&str]| {
        let has = |word: &str| snippet.split(|c: char| c != '_' && !c.is_alphanumeric()).any(|w| w == word);
        let missing = |line: &&&str| !has(line.split(' ').next().unwrap_or(""));
        let rest: Vec<&str> = needed.iter().filter(missing).copied().collect();
        format!("{snippet}\n{}", rest.join("\n"))
    };
    let proposal = ["encryption_algorithm aes;", "hash_algorithm sha256;", "dh_group 14;"];
    let method = "authentication_method pre_shared_key;";
    let whole = format!("proposal {{ {} {method} }}", proposal.join(" "));
    let sainfo = [
        "encryption_algorithm aes;",
        "authentication_algorithm hmac_sha256;",
        "compression_algorithm deflate;",
    ];
    match section {
        "top" => snippet.to_owned(),
        "remote" => format!("remote 192.0.2.1 {{\n{}\n}}", with(&["exchange_mode main;", &whole])),
        "named remote" => format!("remote \"x\" {{\n{}\n}}", with(&["exchange_mode main;", &whole])),
        "remote header" => format!("remote {snippet} {{\nexchange_mode main;\n{whole}\n}}"),
        "proposal" => {
            let inner = with(&[proposal[0], proposal[1], proposal[2], method]);
            format!("remote 192.0.2.1 {{\nexchange_mode main;\nproposal {{\n{inner}\n}}\n}}")
        }
        "sainfo" => format!("sainfo anonymous {{\n{}\n}}", with(&sainfo)),
        "sainfo header" => format!("sainfo {snippet} {{\n{}\n}}", sainfo.join("\n")),
        block => format!("{block} {{\n{snippet}\n}}"),
    }
}

fn check(text: &str, wanted: &str) -> Result<(), String> {
    let (conf, remarks) = read(text);
    let said: Vec<String> =
        remarks.iter().map(|remark| format!("{remark} [{}]", underlined(remark))).collect();
    let mut fields = wanted.splitn(3, " | ").map(str::trim);
    let kind = fields.next().unwrap_or("").trim_end_matches(" |");
    let (first, second) = (fields.next().unwrap_or(""), fields.next().unwrap_or(""));
    let severity = match kind {
        "ok" => {
            let printed = conf.to_string();
            if !remarks.is_empty() {
                return Err(format!("remarks: {said:?}"));
            }
            return if printed.contains(first) { Ok(()) } else { Err(format!("printed:\n{printed}")) };
        }
        "note" => Severity::Note,
        "warning" => Severity::Warning,
        "error" => Severity::Error,
        other => return Err(format!("what is `{other}`?")),
    };
    let fits = |index: &usize| {
        let remark = &remarks[*index];
        remark.severity == severity && underlined(remark) == first && said[*index].contains(second)
    };
    let errors = remarks.iter().filter(|remark| remark.severity == Severity::Error).count();
    if !(0..remarks.len()).any(|index| fits(&index)) {
        Err(format!("said: {said:?}"))
    } else if errors > usize::from(severity == Severity::Error) {
        Err(format!("one error makes others: {said:?}"))
    } else {
        Ok(())
    }
}
