//! `coati status` and `coati show`: what the running router says about itself.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use coati_router::admin::{AdminReply, AdminRequest, Status};

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
    finish(Client::connect(socket).and_then(|mut client| {
        if let AdminReply::Text(text) = client.call(&AdminRequest::Show(words))? {
            print!("{text}");
        }
        Ok(())
    }))
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
fn text(status: &Status) -> String {
    use std::fmt::Write;
    let mut out = format!("Coati {} (process {})\n", status.version, status.pid);
    let mut line = |name: &str, what: String| {
        let _ = writeln!(out, "  {name:<11}{what}");
    };
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
        line("route", format!("{}{via} dev {} metric {}", route.prefix, route.interface, route.metric));
    }
    for failure in status.failures.iter().chain(&status.problems) {
        line("broken", failure.clone());
    }
    for (name, count) in &status.counters {
        line("counter", format!("{name} {count}"));
    }
    out
}
