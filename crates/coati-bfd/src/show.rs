//! `show bfd …`, in the form and with the JSON keys of FRR's bfdd.

use std::fmt::Write;
use std::time::{Duration, Instant};

use coati_wire::bfd::State;
use serde_json::{Value, json};

use crate::engine::{Ends, Engine, Entry};

impl Engine {
    /// Answers a `show` command of FRR's, given as words; an error says which ones there are.
    pub fn show(&self, now: Instant, words: &[&str]) -> Result<String, String> {
        let (json, words) = match words {
            [rest @ .., "json"] => (true, rest),
            all => (false, all),
        };
        let all = || self.sessions.iter();
        match words {
            ["bfd"] | ["bfd", "peers"] if json => {
                Ok(pretty(&all().map(|(ends, entry)| value(now, ends, entry)).collect()))
            }
            ["bfd"] | ["bfd", "peers"] => {
                let mut text = "BFD Peers:\n".to_owned();
                all().for_each(|(ends, entry)| peer(&mut text, now, ends, entry));
                Ok(text)
            }
            ["bfd", "peers", "brief"] if json => {
                let list = all().map(|(ends, entry)| {
                    json!({ "session-id": entry.session.discriminator, "local": entry.local.to_string(),
                            "peer": ends.peer.to_string(), "status": status(entry.session.state) })
                });
                Ok(pretty(&list.collect()))
            }
            ["bfd", "peers", "brief"] => Ok(self.brief()),
            ["bfd", "peers", "counters"] if json => {
                let list = all().map(|(ends, entry)| {
                    let session = &entry.session;
                    json!({ "peer": ends.peer.to_string(), "interface": entry.name, "vrf": "default",
                            "control-packet-input": session.received, "control-packet-output": session.sent,
                            "session-up": session.ups, "session-down": session.downs })
                });
                Ok(pretty(&list.collect()))
            }
            ["bfd", "peers", "counters"] => {
                let mut text = "BFD Peers:\n".to_owned();
                for (ends, entry) in all() {
                    let session = &entry.session;
                    heading(&mut text, ends, entry);
                    let _ = writeln!(
                        text,
                        "\t\tControl packet input: {} packets\n\t\tControl packet output: {} packets\n\
                         \t\tSession up events: {}\n\t\tSession down events: {}\n",
                        session.received, session.sent, session.ups, session.downs
                    );
                }
                Ok(text)
            }
            _ => {
                Err("show bfd peers, show bfd peers brief, show bfd peers counters; each also with json"
                    .into())
            }
        }
    }

    fn brief(&self) -> String {
        let mut text = format!("Session count: {}\n", self.sessions.len());
        let mut line = |cells: [&str; 4]| {
            let [id, local, peer, status] = cells;
            let _ = writeln!(text, "{id:<10} {local:<40} {peer:<40} {status:<15}");
        };
        line(["SessionId", "LocalAddress", "PeerAddress", "Status"]);
        line(["=========", "============", "===========", "======"]);
        for (ends, entry) in &self.sessions {
            let (id, local, peer) =
                (entry.session.discriminator.to_string(), entry.local.to_string(), ends.peer.to_string());
            line([&id, &local, &peer, status(entry.session.state)]);
        }
        text
    }
}

fn pretty(list: &Vec<Value>) -> String {
    let text = serde_json::to_string_pretty(list).unwrap_or_default();
    text + "\n"
}

fn status(state: State) -> &'static str {
    match state {
        State::AdminDown => "shutdown",
        State::Down => "down",
        State::Init => "init",
        State::Up => "up",
    }
}

fn millis(interval: Duration) -> u64 {
    u64::try_from(interval.as_millis()).unwrap_or(u64::MAX)
}

fn heading(text: &mut String, ends: &Ends, entry: &Entry) {
    let _ = writeln!(
        text,
        "\tpeer {} local-address {} vrf default interface {}",
        ends.peer, entry.local, entry.name
    );
}

fn peer(text: &mut String, now: Instant, ends: &Ends, entry: &Entry) {
    let session = &entry.session;
    heading(text, ends, entry);
    let since = now.saturating_duration_since(session.since).as_secs();
    let time = match session.state {
        State::Up => format!("\t\tUptime: {}\n", period(since)),
        State::Down => format!("\t\tDowntime: {}\n", period(since)),
        _ => String::new(),
    };
    let interval = |time: Duration| match millis(time) {
        0 => "disabled".to_owned(),
        count => format!("{count}ms"),
    };
    let _ = write!(
        text,
        "\t\tID: {}\n\t\tRemote ID: {}\n\t\tActive mode\n\t\tStatus: {}\n{time}\t\tDiagnostics: {}\n\
         \t\tRemote diagnostics: {}\n\t\tPeer Type: dynamic\n\t\tLocal timers:\n\t\t\tDetect-multiplier: {}\n\
         \t\t\tReceive interval: {}\n\t\t\tTransmission interval: {}\n\t\t\tEcho receive interval: disabled\n\
         \t\t\tEcho transmission interval: disabled\n\t\tRemote timers:\n\t\t\tDetect-multiplier: {}\n\
         \t\t\tReceive interval: {}\n\t\t\tTransmission interval: {}\n\t\t\tEcho receive interval: {}\n\n",
        session.discriminator,
        session.remote.discriminator,
        status(session.state),
        session.diagnostic.words(),
        session.remote.diagnostic.words(),
        session.times.multiplier,
        interval(session.times.receive),
        interval(session.times.transmit),
        session.remote.multiplier,
        interval(session.remote.required_rx.unwrap_or_default()),
        interval(session.remote.desired_tx),
        interval(session.remote.required_echo_rx),
    );
}

/// `1 day(s), 2 hour(s), 3 minute(s), 4 second(s)`, without leading zeros.
fn period(seconds: u64) -> String {
    let parts = [
        (seconds / 86_400, "day(s)"),
        (seconds / 3600 % 24, "hour(s)"),
        (seconds / 60 % 60, "minute(s)"),
        (seconds % 60, "second(s)"),
    ];
    let told = parts.iter().filter(|(count, what)| *count > 0 || *what == "second(s)");
    told.map(|(count, what)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
}

fn value(now: Instant, ends: &Ends, entry: &Entry) -> Value {
    let session = &entry.session;
    let since = now.saturating_duration_since(session.since).as_secs();
    let mut value = json!({
        "multihop": false,
        "peer": ends.peer.to_string(),
        "local": entry.local.to_string(),
        "vrf": "default",
        "interface": entry.name,
        "id": session.discriminator,
        "remote-id": session.remote.discriminator,
        "passive-mode": false,
        "status": status(session.state),
        "diagnostic": session.diagnostic.words(),
        "remote-diagnostic": session.remote.diagnostic.words(),
        "type": "dynamic",
        "receive-interval": millis(session.times.receive),
        "transmit-interval": millis(session.times.transmit),
        "echo-receive-interval": 0,
        "echo-transmit-interval": 0,
        "detect-multiplier": session.times.multiplier,
        "remote-receive-interval": millis(session.remote.required_rx.unwrap_or_default()),
        "remote-transmit-interval": millis(session.remote.desired_tx),
        "remote-echo-receive-interval": millis(session.remote.required_echo_rx),
        "remote-detect-multiplier": session.remote.multiplier,
    });
    match session.state {
        State::Up => value["uptime"] = json!(since),
        State::Down => value["downtime"] = json!(since),
        _ => {}
    }
    value
}
