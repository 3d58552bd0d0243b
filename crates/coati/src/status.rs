//! `coati status` and `coati show`: what the running router says about itself.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use coati_router::admin::{AdminReply, AdminRequest, PeerStatus, Status};

use crate::client::Client;

/// The chain at a glance.
pub fn status(socket: Option<&Path>, json: bool) -> ExitCode {
    finish(ask_status(socket).and_then(|status| print(&status, json)))
}

/// Prints it for people or programs.
pub fn print(status: &Status, json: bool) -> io::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(status)?);
    } else {
        print!("{}", text(status));
    }
    Ok(())
}

/// Asks a running daemon for its status.
pub fn ask_status(socket: Option<&Path>) -> io::Result<Status> {
    match Client::connect(socket)?.call(&AdminRequest::Status)? {
        AdminReply::Status(status) => Ok(*status),
        _ => Err(io::Error::other("the daemon gave an answer of another kind")),
    }
}

/// A view in FRR's words.
pub fn show(socket: Option<&Path>, mut words: Vec<String>, json: bool) -> ExitCode {
    if json && words.last().is_none_or(|word| word != "json") {
        words.push("json".into());
    }
    let asked: Vec<&str> = words.iter().map(String::as_str).collect();
    if let ["ike"] | ["ike", "json"] = asked[..] {
        return finish(ike(socket, asked.len() == 2));
    }
    finish(Client::connect(socket).and_then(|mut client| {
        if let AdminReply::Text(text) = client.call(&AdminRequest::Show(words))? {
            print!("{text}");
        }
        Ok(())
    }))
}

/// A command in FRR's words that is no `show`: the first one, and those behind it.
pub fn order(socket: Option<&Path>, first: &str, mut words: Vec<String>) -> ExitCode {
    words.insert(0, first.to_owned());
    finish(Client::connect(socket).and_then(|mut client| {
        if let AdminReply::Text(text) = client.call(&AdminRequest::Order(words))? {
            print!("{text}");
        }
        Ok(())
    }))
}

/// IKE's peers: their SAs, and what failed last with each.
fn ike(socket: Option<&Path>, json: bool) -> io::Result<()> {
    let AdminReply::Ike(peers) = Client::connect(socket)?.call(&AdminRequest::Ike)? else {
        return Err(io::Error::other("the daemon gave an answer of another kind"));
    };
    if json {
        println!("{}", serde_json::to_string_pretty(&peers)?);
    } else {
        print!("{}", ike_text(&peers));
    }
    Ok(())
}

/// The same for people.
pub fn ike_text(peers: &[PeerStatus]) -> String {
    use std::fmt::Write;
    if peers.is_empty() {
        return "IKE has no peers: racoon.conf has no remote section with an address, and nobody came\n"
            .into();
    }
    let mut out = String::new();
    for peer in peers {
        let section = match peer.section.as_str() {
            "" => "no remote section is for it".to_owned(),
            section => format!("remote at {section}"),
        };
        let _ = writeln!(out, "{}  ({section})", peer.remote);
        for sa in &peer.isakmp {
            let state = match sa.state {
                9 => "established",
                10 => "replaced",
                _ => "in negotiation",
            };
            let identity =
                sa.identity.as_ref().map_or(String::new(), |identity| format!(", it is {identity}"));
            let side = if sa.initiator { "initiator" } else { "responder" };
            let (initiator, responder) = (&sa.initiator_cookie, &sa.responder_cookie);
            let _ = writeln!(
                out,
                "  ISAKMP SA  {} - {}  {initiator}:{responder}  {state}, {side}{identity}",
                sa.local, sa.remote
            );
        }
        for pair in &peer.pairs {
            let left = pair.expires_in.map_or(String::new(), |left| format!(", {left} s left"));
            let (received, sent) = pair.bytes;
            let _ = writeln!(
                out,
                "  {} {}  in {} out {}  {}{left}, {received} bytes in, {sent} out",
                pair.proto,
                pair.mode,
                pair.inbound.join(" "),
                pair.outbound.join(" "),
                pair.algorithms
            );
        }
        if peer.isakmp.is_empty() && peer.pairs.is_empty() {
            let _ = writeln!(out, "  no SA: none was needed yet, or see below");
        }
        if let Some(failure) = &peer.failure {
            let _ = writeln!(out, "  failed     {}", failure.explanation);
            let facts =
                [("decided at", &failure.origin), ("ours", &failure.ours), ("theirs", &failure.theirs)];
            for (name, value) in facts {
                if let Some(value) = value {
                    let _ = writeln!(out, "  {name:<11}{value}");
                }
            }
        }
    }
    out
}

fn finish(result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("coati: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The chain, one link a line, and the first broken one named.
pub fn text(status: &Status) -> String {
    use std::fmt::Write;
    let mut out = format!("Coati {} (process {})\n", status.version, status.pid);
    let mut line = |name: &str, what: String| {
        let _ = writeln!(out, "  {name:<11}{what}");
    };
    if !status.dataplane.is_empty() {
        line("dataplane", status.dataplane.clone());
    }
    for sa in &status.isakmp {
        let state = if sa.state == 9 { "established" } else { "in negotiation" };
        line("IKE", format!("{} - {}  {state}", sa.local, sa.remote));
    }
    for tunnel in &status.tunnels {
        let list = |spis: &[String]| if spis.is_empty() { "none".to_owned() } else { spis.join(", ") };
        line("SA in", list(&tunnel.inbound));
        line("SA out", list(&tunnel.outbound));
        let state = if tunnel.up { "up" } else { "down: no outbound SA" };
        line(
            "tunnel",
            format!("{} {} - {}  mtu {}  {state}", tunnel.name, tunnel.local, tunnel.remote, tunnel.mtu),
        );
    }
    for neighbour in &status.neighbours {
        line(
            "neighbour",
            format!(
                "{} {} on {}  {}",
                neighbour.router_id, neighbour.address, neighbour.interface, neighbour.state
            ),
        );
    }
    for route in &status.routes {
        let via = route.via.as_ref().map_or(String::new(), |via| format!(" via {via}"));
        let dev = match route.interface.as_str() {
            "" => " unreachable (blackhole)".to_owned(),
            name => format!(" dev {name}"),
        };
        let cost = match route.origin.as_str() {
            "static" => format!("static distance {}", route.distance),
            _ => format!("metric {}", route.metric),
        };
        let refused = if route.refused.is_some() { " (not in the kernel)" } else { "" };
        line("route", format!("{}{via}{dev} {cost}{refused}", route.prefix));
    }
    for failure in status.failures.iter().chain(&status.problems) {
        line("broken", failure.clone());
    }
    for (name, count) in &status.counters {
        line("counter", format!("{name} {count}"));
    }
    out
}
