//! The table of cases.txt.

use std::path::Path;
use std::process::Command;

use super::{imported, read};
use crate::diagnostic::{Diagnostic, Severity};

const TABLE: &str = include_str!("cases.txt");

struct Case {
    line: usize,
    text: String,
    wanted: &'static str,
}

fn cases() -> Vec<Case> {
    let mut section = "";
    let mut cases = Vec::new();
    for (index, line) in TABLE.lines().enumerate() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
        } else if let Some((snippet, wanted)) = line.split_once(" | ")
            && !section.is_empty()
        {
            let text = wrapped(section, &snippet.replace("\\n", "\n"));
            cases.push(Case { line: index + 1, text, wanted });
        }
    }
    cases
}

/// A whole file around the snippet, without anything to remark.
fn wrapped(section: &str, snippet: &str) -> String {
    let device = if snippet.contains("protocol device") { "" } else { "protocol device { }\n" };
    let start = format!("router id 1.1.1.1;\n{device}");
    let kernel = "protocol kernel { ipv4 { export all; }; }\n";
    let quiet = "protocol kernel { learn; ipv4 { export where source ~ [ RTS_OSPF, RTS_OSPF_IA, RTS_OSPF_EXT1, \
                 RTS_OSPF_EXT2 ]; }; }\n";
    let backbone = "area 0 { interface \"em1\"; };";
    let ospf = |inner: &str| format!("protocol ospf o {{ merge external; {inner} }}\n");
    match section {
        "top" => format!("{start}{kernel}{snippet}\n{}", ospf(backbone)),
        "ospf" => format!("{start}{kernel}{}", ospf(&format!("{snippet}\n{backbone}"))),
        "area" => format!("{start}{kernel}{}", ospf(&format!("{backbone} area 1 {{\n{snippet}\n}};"))),
        "interface" => {
            format!("{start}{kernel}{}", ospf(&format!("area 0 {{ interface \"em1\" {{\n{snippet}\n}}; }};")))
        }
        "password" => {
            let inner = format!("authentication cryptographic; password \"geheim\" {{\n{snippet}\n}};");
            format!("{start}{kernel}{}", ospf(&format!("area 0 {{ interface \"em1\" {{ {inner} }}; }};")))
        }
        "export" => {
            let sources = "filter named { if source = RTS_STATIC then { ospf_metric1 = 44; accept; } }\nprotocol direct { \
                           ipv4; interface \"em0\", \"em1\"; }\nprotocol static fixed { ipv4; route 172.30.0.0/16 \
                           blackhole; route 10.0.0.0/8 via 192.0.2.9; route 0.0.0.0/0 via 192.0.2.1; }\n";
            format!("{start}{quiet}{sources}{}", ospf(&format!("ipv4 {{ export\n{snippet}\n}}; {backbone}")))
        }
        other => panic!("what is [{other}]?"),
    }
}

#[test]
fn every_directive() {
    let cases = cases();
    let failed = |case: &Case| {
        let why = check(&case.text, case.wanted).err()?;
        Some(format!("cases.txt:{}: {}\n  {why}", case.line, TABLE.lines().nth(case.line - 1)?))
    };
    let wrong: Vec<String> = cases.iter().filter_map(failed).collect();
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(cases.len() >= 200, "{}", cases.len());
}

fn underlined(remark: &Diagnostic) -> &str {
    &remark.source.text[remark.span.start..remark.span.end]
}

fn check(text: &str, wanted: &str) -> Result<(), String> {
    let (written, mut remarks) = imported(text);
    if wanted.starts_with("ok") || wanted.starts_with("without") {
        // One of them is said of all of [export].
        let said = ["go to the kernel too", "neither OSPF nor a `protocol kernel` here"];
        remarks.retain(|remark| !said.iter().any(|part| remark.message.contains(part)));
    }
    let said: Vec<String> =
        remarks.iter().map(|remark| format!("{remark} [{}]", underlined(remark))).collect();
    let (kind, rest) = wanted.split_once(" |").unwrap_or((wanted, ""));
    let rest = rest.strip_prefix(' ').unwrap_or(rest);
    let severity = match kind {
        "ok" | "without" => {
            let written = written.ok_or_else(|| format!("nothing is written: {said:?}"))?;
            read(&written);
            let wanted = rest.replace("\\n", "\n");
            if !remarks.is_empty() {
                return Err(format!("remarks: {said:?}"));
            }
            let right = written.contains(&wanted) == (kind == "ok");
            return if right { Ok(()) } else { Err(format!("written:\n{written}")) };
        }
        "note" => Severity::Note,
        "warning" => Severity::Warning,
        "error" => Severity::Error,
        other => return Err(format!("what is `{other}`?")),
    };
    let rest = rest.replace("\\n", "\n");
    let (underline, message) = rest.split_once(" | ").unwrap_or((&rest, ""));
    let fits = |remark: &Diagnostic| {
        remark.severity == severity && underlined(remark) == underline && remark.to_string().contains(message)
    };
    if !remarks.iter().any(fits) {
        return Err(format!("said: {said:?}"));
    }
    match written {
        Some(_) if severity == Severity::Error => Err("something is written".to_owned()),
        None if severity != Severity::Error => Err(format!("nothing is written: {said:?}")),
        written => {
            written.as_deref().map(read);
            Ok(())
        }
    }
}

/// What is no error in the table is what BIRD takes, where it is installed.
#[test]
fn bird_takes_what_is_taken_here() {
    let bird = Path::new("/usr/sbin/bird");
    if !bird.exists() {
        return;
    }
    let path = std::env::temp_dir().join(format!("coati-bird-{}.conf", std::process::id()));
    let mut wrong = Vec::new();
    for case in cases() {
        let kind = case.wanted.split(" |").next().unwrap_or("");
        // What is unknown here is a mistake there.
        if kind == "error"
            || ["left out | ", "did you mean", "cannot be said"].iter().any(|_| is_mistake(case.wanted))
        {
            continue;
        }
        std::fs::write(&path, &case.text).unwrap();
        let ran = Command::new(bird).arg("-p").arg("-c").arg(&path).output().unwrap();
        if !ran.status.success() {
            wrong.push(format!("cases.txt:{}: {}", case.line, String::from_utf8_lossy(&ran.stderr)));
        }
    }
    let _ = std::fs::remove_file(&path);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether the case is about a word that nobody knows.
fn is_mistake(wanted: &str) -> bool {
    ["did you mean", "` is left out", "is_ours", "| then |", "no filter"]
        .iter()
        .any(|part| wanted.contains(part))
}
