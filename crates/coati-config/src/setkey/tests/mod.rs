//! What setkey's grammar makes of texts.

mod any;
mod cases;
mod meaning;
mod secrets;

use std::net::IpAddr;

use super::{Dialect, Names, Reading, command, read};
use crate::diagnostic::{Severity, Source};

/// A machine with a few names.
fn reading(dialect: Dialect) -> Reading {
    let addresses = |name: &str| -> Vec<IpAddr> {
        let text = match name {
            "one.example" => "192.0.2.7",
            "two.example" => "192.0.2.8 192.0.2.9",
            "both.example" => "192.0.2.10 2001:db8::10 192.0.2.10",
            "six.example" => "2001:db8::6",
            "seventeen.example" => {
                return (1..=17).map(|last| IpAddr::from([192, 0, 2, last])).collect();
            }
            _ => "",
        };
        text.split_whitespace().map(|address| address.parse().expect("an address")).collect()
    };
    Reading {
        dialect,
        names: Names {
            protocols: "# known here\nours 200 OURS # of this network\n".to_owned(),
            services:
                "http 80/tcp www\ndomain 53/tcp\ndomain 53/udp\nrsh 514/tcp\nsyslog 514/udp\nsplit 1000/tcp\n\
                       split 2000/udp\n"
                    .to_owned(),
            addresses: Some(addresses),
        },
    }
}

/// Remarks with their places and underlined words, and when none is an error the requests as commands.
fn outcome(text: &str, reading: &Reading) -> Vec<String> {
    let source = Source::new("t", text);
    let script = read(&source, reading);
    let remark = |remark: &crate::Diagnostic| {
        let place = remark.place();
        let words = text.get(remark.span.start..remark.span.end).expect("a piece of the text");
        let help = remark.help.as_ref().map_or(String::new(), |help| format!(" ({help})"));
        let (severity, message) = (remark.severity, &remark.message);
        format!("{}:{} `{words}` {severity}: {message}{help}", place.line, place.column)
    };
    let mut lines: Vec<String> = script.remarks.iter().map(remark).collect();
    if script.remarks.iter().all(|remark| remark.severity < Severity::Error) {
        lines.extend(script.statements.iter().map(|statement| command(&statement.request)));
        lines.extend(script.asks_for_help.then(|| "(help)".to_owned()));
        lines.extend(script.ends.then(|| "(exit)".to_owned()));
    }
    lines
}
