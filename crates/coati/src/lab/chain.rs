//! The chain, link by link, as it comes up: each step with its time, and which one broke.

use std::io;
use std::process::Child;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use coati_router::admin::{Milestone, Status};

use super::supervisor::Lab;
use crate::status::ask_status;

/// How long the whole chain may take before it is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts the daemons, watches and prints; whether everything came up.
pub fn watch(lab: &mut Lab) -> io::Result<bool> {
    println!("two sites, the internet between them, a host on each LAN:");
    for site in &lab.sites {
        println!(
            "  {}: {} outside, {} inside, {} to {}, host {}",
            site.name, site.outside.address, site.inside.address, site.tunnel, site.tunnel_peer, site.host
        );
    }
    let has = |file: &str| lab.sites.iter().all(|site| site.dir.join(file).exists());
    let (has_ike, has_ospf) = (has("racoon.conf"), has("ospfd.conf"));
    let (peer, far_host) = (lab.sites[0].tunnel_peer, lab.sites[1].host);
    let tunnel = lab.sites[0].tunnel.clone();
    // Sent the moment the interface is up, long before there are keys. With keys from the beginning nothing would
    // hold it back until the other side has started.
    let cold_ping = if has_ike { Some(lab.ping("a", peer, Some(&tunnel))?) } else { None };
    let began = Instant::now();
    lab.start_daemons()?;
    let mut watch = Watch { lab, began, printed: Vec::new(), good: true };
    if !watch.wait("daemons answer", |a, b| a.pid != 0 && b.pid != 0) {
        return Ok(false);
    }
    let mut steps = Vec::new();
    if has_ike {
        steps.push(("IKE: an ISAKMP SA and an ESP SA pair, at both sites", Milestone::SaPair));
    }
    steps.push(("tunnel up at both sites", Milestone::TunnelUp));
    if has_ospf {
        steps.push(("OSPF neighbours Full at both sites", Milestone::OspfFull));
        steps.push(("routes in both kernels", Milestone::Routes));
    }
    for (name, milestone) in steps {
        let both =
            move |a: &Status, b: &Status| a.reached(milestone).is_some() && b.reached(milestone).is_some();
        if !watch.wait(name, both) {
            return Ok(false);
        }
    }
    let ping = match cold_ping {
        Some(ping) => ping,
        None => watch.lab.ping("a", peer, Some(&tunnel))?,
    };
    let what = if has_ike { ", the first packet of all" } else { "" };
    let first = watch.ping_result(&format!("ping {peer} from site a{what}"), ping)?;
    if has_ospf {
        let ping = watch.lab.ping("host-a", far_host, None)?;
        watch.ping_result(&format!("ping {far_host} from the host on LAN a to the host on LAN b"), ping)?;
    }
    watch.no_clear_packets();
    watch.budget(first.filter(|_| has_ike), has_ospf);
    watch.what_the_reader_would_type(has_ike, has_ospf)?;
    Ok(watch.good)
}

struct Watch<'a> {
    lab: &'a mut Lab,
    began: Instant,
    printed: Vec<Milestone>,
    good: bool,
}

impl Watch<'_> {
    fn say(&self, text: &str) {
        println!("{:>9.1} ms  {text}", self.began.elapsed().as_secs_f64() * 1000.0);
    }

    /// Polls both daemons until `done`; prints what site a reached meanwhile. When it takes too long, says what is
    /// missing and why.
    fn wait(&mut self, what: &str, done: impl Fn(&Status, &Status) -> bool) -> bool {
        let mut last = None;
        while self.began.elapsed() < PATIENCE {
            if self.lab.told_to_end.load(Ordering::Relaxed) {
                self.good = false;
                return false;
            }
            if let Some(site) = self.lab.ended_daemon() {
                self.broken(
                    what,
                    &format!("the daemon of site {site} has ended; it said:\n{}", self.tail(site)),
                );
                return false;
            }
            let status = |site: &str| ask_status(Some(&self.lab.socket(site)));
            // Before they listen there is no answer.
            if let (Ok(a), Ok(b)) = (status("a"), status("b")) {
                self.print_milestones(&a);
                if done(&a, &b) {
                    self.say(what);
                    return true;
                }
                last = Some((a, b));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let why = match last {
            None => "the daemons do not answer".to_owned(),
            Some((a, b)) => format!("site a: {}\n  site b: {}", explain(&a), explain(&b)),
        };
        self.broken(what, &why);
        false
    }

    fn broken(&mut self, what: &str, why: &str) {
        self.good = false;
        println!("BROKEN: {what}\n  {why}");
    }

    fn tail(&self, site: &str) -> String {
        let log = std::fs::read_to_string(self.lab.log(site)).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        // Errors of files come first and are followed by warnings.
        let first = lines.iter().position(|line| line.contains(": error: "));
        let from = first.unwrap_or(lines.len().saturating_sub(12));
        lines.iter().skip(from).take(60).map(|line| format!("    {line}\n")).collect()
    }

    fn print_milestones(&mut self, a: &Status) {
        for milestone in &a.milestones {
            if !self.printed.contains(&milestone.what) {
                self.printed.push(milestone.what);
                let since = milestone.at.saturating_sub(a.started) as f64 / 1000.0;
                println!("{since:>9.1} ms  site a: {} (since its start)", milestone.what.name());
            }
        }
    }

    /// The time to the reply in milliseconds.
    fn ping_result(&mut self, what: &str, mut child: Child) -> io::Result<Option<f64>> {
        while child.try_wait()?.is_none() {
            if self.lab.told_to_end.load(Ordering::Relaxed) {
                child.kill()?;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        let output = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        match text.trim().parse::<f64>() {
            Ok(micros) if output.status.success() => {
                self.say(&format!("{what}: reply after {:.1} ms", micros / 1000.0));
                Ok(Some(micros / 1000.0))
            }
            _ => {
                self.broken(what, &format!("no reply {}", String::from_utf8_lossy(&output.stderr)));
                Ok(None)
            }
        }
    }

    /// What was promised, and what it took. A slow machine does not break the chain.
    fn budget(&mut self, first_ping: Option<f64>, has_ospf: bool) {
        let status = |site: &str| ask_status(Some(&self.lab.socket(site))).ok();
        let statuses: Vec<Status> = ["a", "b"].into_iter().filter_map(status).collect();
        let longest = |from: Milestone, to: Milestone| {
            let took = |status: &Status| {
                Some(status.reached(to)?.saturating_sub(status.reached(from)?) as f64 / 1000.0)
            };
            statuses.iter().filter_map(took).reduce(f64::max)
        };
        let mut rows = vec![("first packet into the cold tunnel -> its reply", first_ping, 150.0)];
        if has_ospf {
            rows.push(("tunnel up -> OSPF Full", longest(Milestone::TunnelUp, Milestone::OspfFull), 100.0));
            rows.push((
                "tunnel up -> routes in both kernels",
                longest(Milestone::TunnelUp, Milestone::Routes),
                300.0,
            ));
        }
        if rows.iter().all(|(_, took, _)| took.is_none()) {
            return;
        }
        println!("\nbudget:");
        for (what, took, limit) in rows {
            let Some(took) = took else { continue };
            let verdict = if took <= limit { "within" } else { "OVER" };
            println!("  {what:<48} {took:>7.1} ms, {verdict} {limit:.0} ms");
        }
    }

    fn no_clear_packets(&mut self) {
        let seen = &self.lab.seen;
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let (clear, esp, udp) = (load(&seen.clear_gre), load(&seen.esp), load(&seen.udp));
        if clear == 0 && esp > 0 {
            self.say(&format!("on the internet: {esp} ESP packets, {udp} of IKE, no GRE in clear"));
        } else {
            self.broken(
                "nothing in clear",
                &format!("{clear} GRE packets crossed the internet in clear, {esp} in ESP"),
            );
        }
    }

    /// What the how-to's reader would type, on site a.
    fn what_the_reader_would_type(&mut self, has_ike: bool, has_ospf: bool) -> io::Result<()> {
        let mut lines = vec!["setkey -DP", "setkey -D"];
        if has_ike {
            lines.extend(["racoonctl -ll ss isakmp", "racoonctl ss esp"]);
        }
        if has_ospf {
            lines.extend(["coati show ip ospf neighbor", "coati show ip ospf route"]);
        }
        for line in lines {
            println!("\na# {line}");
            let mut words = line.split(' ');
            let mut command = self.lab.command("a", words.next().unwrap_or(""))?;
            if !command.args(words).status()?.success() {
                self.broken(line, "it failed");
            }
        }
        Ok(())
    }
}

fn explain(status: &Status) -> String {
    let mut why: Vec<String> = status.failures.iter().chain(&status.problems).cloned().collect();
    for tunnel in status.tunnels.iter().filter(|tunnel| !tunnel.up) {
        why.push(format!("{} has no outbound SA to {}", tunnel.name, tunnel.remote));
    }
    if why.is_empty() {
        why.push(
            "it knows of no failure; `coati lab --keep` and `coati lab exec a -- coati status` tell more"
                .into(),
        );
    }
    why.join("; ")
}
