//! `coati doctor`: which homes for SAs and policies this machine has, which one is used and why, and what else here stands in
//! the way of a router with these files.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use coati_config::site::Site;
use coati_config::{Diagnostic, Severity};
use coati_ipsec::mtu::{OUTER_IPV4, OUTER_IPV6, inner_mtu};
use coati_os::netlink::{Address, Link, Netlink};
use coati_sadb::{AuthAlgorithm, EncAlgorithm};
use coati_wire::gre;
use serde::Serialize;

use crate::client::Client;
use crate::daemon;
use crate::dataplane::{Dataplane, Tried, Wish, choose_from};
use crate::files::{self, Purpose};

/// Arguments of `coati doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// The folder with rc.conf, racoon.conf, psk.txt, setkey.conf, ospfd.conf.
    #[arg(default_value = "/usr/local/etc/racoon")]
    dir: PathBuf,
    /// Machine-readable output.
    #[arg(long)]
    json: bool,
    /// Where SAs, policies and tunnels are to live.
    #[arg(long, value_enum, default_value_t, value_name = "HOME")]
    dataplane: Wish,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Good,
    /// It works, and could be better.
    Doubtful,
    /// It stands in the way.
    Bad,
}

#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    state: State,
    text: String,
}

impl Finding {
    fn new(what: &'static str, state: State, text: impl Into<String>) -> Self {
        Self { what, state, text: text.into() }
    }
}

#[derive(Debug, Serialize)]
struct Report {
    /// Why nothing could be tried, only looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    looked_only: Option<String>,
    homes: Vec<Tried>,
    /// The one that `coati up` takes.
    used: Option<Dataplane>,
    why: String,
    findings: Vec<Finding>,
}

/// Exit code 0 when nothing stands in the way.
pub fn run(args: &DoctorArgs) -> ExitCode {
    let mut findings = Vec::new();
    // Without files there is still something to say of the machine.
    let (texts, problems) = files::texts(&args.dir, Purpose::Check).unwrap_or_else(|error| {
        findings.push(Finding::new("files", State::Bad, error.to_string()));
        <_>::default()
    });
    let site = Site::read(&texts).0;
    if coati_os::process::user() != 0 {
        let text = "this is not root: a router cannot run so (homes were tried with rights of their own)";
        findings.push(Finding::new("rights", State::Bad, text));
    }
    let is_running = running(&mut findings);
    ports(&site, is_running, &mut findings);
    forwarding(&site, &mut findings);
    match Netlink::new().and_then(|mut netlink| Ok((netlink.links()?, netlink.addresses()?))) {
        Ok((links, addresses)) => tunnels(&site, &links, &addresses, &mut findings),
        Err(error) => findings.push(Finding::new("interfaces", State::Bad, error.to_string())),
    }
    // From here on this process sees a network of its own, where there are any.
    let (looked_only, homes) = try_homes(&site);
    let (used, why) = used(args.dataplane, &homes);
    if findings.first().is_none_or(|finding| finding.what != "files") {
        // In the home that `coati up` would take, as `coati check` says it.
        let (_, mut remarks) = files::understand(&texts, |_| used.unwrap_or(Dataplane::Embedded));
        remarks.extend(problems);
        findings.insert(0, of_files(&remarks, &args.dir));
    }
    if let Some(Dataplane::Xfrm | Dataplane::Pfkey) = used {
        findings.extend(site.rc.tunnels.iter().map(|tunnel| segments(&tunnel.name)));
    }
    let report = Report { looked_only, homes, used, why, findings };
    let is_well = report.used.is_some() && report.findings.iter().all(|finding| finding.state != State::Bad);
    match args.json {
        true => println!("{}", serde_json::json!(report)),
        false => print(&report),
    }
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A kernel leaves the largest segment of TCP as hosts say it, and we put no rules of a firewall there.
fn segments(tunnel: &str) -> Finding {
    let text = format!(
        "nobody lowers TCP's largest segment on {tunnel} in this home: hosts depend on ICMP, or on a rule of the firewall \
         (docs/data-planes.md has it)"
    );
    Finding::new("TCP", State::Doubtful, text)
}

fn of_files(remarks: &[Diagnostic], dir: &Path) -> Finding {
    let count = |severity| remarks.iter().filter(|remark| remark.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let state = match (errors, warnings) {
        (0, 0) => State::Good,
        (0, _) => State::Doubtful,
        _ => State::Bad,
    };
    let dir = dir.display();
    let text = format!("{errors} errors, {warnings} warnings (`coati check {dir}` shows them)");
    Finding::new("files", state, text)
}

fn print(report: &Report) {
    let how = match &report.looked_only {
        None => "tried in a network of their own; nothing was touched".to_owned(),
        Some(why) => format!("looked at, not tried: {why}; what the kernel refuses shows at a start"),
    };
    println!("Homes for SAs, policies and tunnels ({how})");
    for Tried { home, hindrance } in &report.homes {
        match hindrance {
            None => println!("  ok  {:<9} {}", home.name(), home.what()),
            Some(why) => println!("  no  {:<9} {why}", home.name()),
        }
    }
    match report.used {
        Some(home) => println!("Used: {}, {}", home.name(), report.why),
        None => println!("Used: none, {}", report.why),
    }
    println!("This host");
    for Finding { what, state, text } in &report.findings {
        let mark = match state {
            State::Good => "ok",
            State::Doubtful => "?",
            State::Bad => "no",
        };
        println!("  {mark:<3} {what:<10} {text}");
    }
}

fn used(wish: Wish, homes: &[Tried]) -> (Option<Dataplane>, String) {
    let possible =
        |home: Dataplane| homes.iter().any(|tried| tried.home == home && tried.hindrance.is_none());
    match wish.named() {
        Some(home) if possible(home) => (Some(home), "since --dataplane says so".to_owned()),
        Some(home) => (None, format!("since --dataplane says {}, which is not possible", home.name())),
        None => match choose_from(homes) {
            Some(Dataplane::Embedded) => (
                Some(Dataplane::Embedded),
                "the first that can do all that the files say; `coati up --dataplane` takes another"
                    .to_owned(),
            ),
            Some(home) => (Some(home), "since those before it will not do".to_owned()),
            None => (None, "since none is possible: see above".to_owned()),
        },
    }
}

/// The homes, and why they were not tried, where this system has no way to do that.
fn try_homes(site: &Site) -> (Option<String>, Vec<Tried>) {
    let alone = coati_os::namespace::isolate();
    let looked_only = match &alone {
        Err(error) if error.kind() == ErrorKind::Unsupported => Some(error.to_string()),
        _ => None,
    };
    let look: fn(&Site, Dataplane) -> io::Result<()> = match looked_only {
        None => daemon::try_home,
        Some(_) => daemon::look_at_home,
    };
    let hindrance = |home: Dataplane| {
        if let Some(objection) = home.objection(site) {
            return Some(objection);
        }
        if let (Err(error), None) = (&alone, &looked_only) {
            return Some(format!("it cannot be tried: a network namespace of its own: {error}"));
        }
        look(site, home).err().map(|error| {
            // What `coati up` says in front and behind is for somebody who has asked for this one.
            let text = error.to_string();
            let text = text
                .strip_prefix("--dataplane ")
                .and_then(|rest| Some(rest.split_once(": ")?.1))
                .unwrap_or(&text);
            text.strip_suffix(" (or use --dataplane embedded)").unwrap_or(text).to_owned()
        })
    };
    let homes = Dataplane::ALL.into_iter().map(|home| Tried { home, hindrance: hindrance(home) }).collect();
    (looked_only, homes)
}

/// Whether a daemon of ours answers.
fn running(findings: &mut Vec<Finding>) -> bool {
    let is_running = Client::connect(None).is_ok();
    if is_running {
        findings.push(Finding::new("daemon", State::Good, "runs already (`coati status` shows how it is)"));
    }
    is_running
}

/// Whether IKE can have its ports.
fn ports(site: &Site, is_running: bool, findings: &mut Vec<Finding>) {
    if site.racoon.is_none() || is_running {
        return;
    }
    let mut locals: Vec<IpAddr> = site.rc.tunnels.iter().map(|tunnel| tunnel.local).collect();
    locals.sort_unstable();
    locals.dedup();
    let mut bad = Vec::new();
    for local in &locals {
        for port in [500, 4500] {
            // That no interface has the address is said of the tunnel.
            if let Err(error) = UdpSocket::bind((*local, port))
                && error.kind() != ErrorKind::AddrNotAvailable
            {
                let advice = match error.kind() {
                    ErrorKind::AddrInUse => "another IKE daemon has it: stop racoon, charon or pluto",
                    ErrorKind::PermissionDenied => "this needs root",
                    _ => "IKE needs it",
                };
                bad.push(format!("UDP {local} port {port}: {error} ({advice})"));
            }
        }
    }
    match bad.is_empty() {
        true if locals.is_empty() => {}
        true => findings.push(Finding::new("ports", State::Good, "UDP 500 and 4500 are free for IKE")),
        false => findings.extend(bad.into_iter().map(|text| Finding::new("ports", State::Bad, text))),
    }
}

fn forwarding(site: &Site, findings: &mut Vec<Finding>) {
    if site.rc.tunnels.is_empty() && !coati_router::needs_inside(site) {
        return;
    }
    let finding = match coati_os::forwards_packets() {
        Ok(true) => Finding::new("forwarding", State::Good, "on"),
        Ok(false) => Finding::new("forwarding", State::Good, "off; a start switches it on"),
        Err(error) => Finding::new("forwarding", State::Doubtful, format!("cannot be read: {error}")),
    };
    findings.push(finding);
    // Also out of tunnels.
    if coati_os::is_strict_about_sources() {
        let text = "net.ipv4.conf.all.rp_filter is 1: where two ways lead to a site, what comes by the other one is dropped; 2 \
                    is the loose check";
        findings.push(Finding::new("rp_filter", State::Doubtful, text));
    }
}

/// What is said of each tunnel: its own end, and whether its packets fit.
fn tunnels(site: &Site, links: &[Link], addresses: &[Address], findings: &mut Vec<Finding>) {
    for tunnel in &site.rc.tunnels {
        let name = &tunnel.name;
        let Some(address) = addresses.iter().find(|address| address.local == tunnel.local) else {
            let text = format!("{name}: no interface has its own end, {}", tunnel.local);
            findings.push(Finding::new("tunnel", State::Bad, text));
            continue;
        };
        let Some(outside) = links.iter().find(|link| link.index == address.index) else { continue };
        let largest = largest_inside(site, outside.mtu as usize, tunnel.local, tunnel.key.is_some());
        let mtu = tunnel.mtu.unwrap_or(daemon::USUAL_MTU) as usize;
        let on = format!("{name}: MTU {mtu}, over {} with {}", outside.name, outside.mtu);
        let (state, text) = match largest {
            None => (State::Good, on),
            Some(largest) if mtu > largest => {
                let text = format!(
                    "{on}: {largest} would fit with any algorithms that may be agreed upon and through a NAT; larger \
                     packets are cut, or their senders told"
                );
                (State::Doubtful, text)
            }
            Some(largest) => (State::Good, format!("{on}; up to {largest} would fit")),
        };
        findings.push(Finding::new("tunnel", state, text));
    }
}

/// The largest packet inside a GRE tunnel that fits with whichever algorithms are agreed upon, and in UDP too.
fn largest_inside(site: &Site, outer_mtu: usize, local: IpAddr, has_key: bool) -> Option<usize> {
    let outer = if local.is_ipv4() { OUTER_IPV4 } else { OUTER_IPV6 };
    let header = gre::HEADER_LEN + if has_key { 4 } else { 0 };
    let agreed: Vec<(EncAlgorithm, AuthAlgorithm)> =
        daemon::algorithms(site).into_iter().map(|(enc, _, auth)| (enc, auth)).collect();
    agreed.into_iter().map(|(enc, auth)| inner_mtu(outer_mtu, outer, header, enc, auth, true)).min()
}
