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
    let began = Instant::now();
    lab.start_daemons()?;
    let mut watch = Watch { lab, began, printed: Vec::new(), good: true };
    if !watch.wait("daemons answer", |a, b| a.pid != 0 && b.pid != 0) {
        return Ok(false);
    }
    let peer = watch.lab.sites[0].tunnel_peer;
    let first_ping = watch.lab.ping("a", peer, 20)?;
    let both = |what: Milestone| {
        move |a: &Status, b: &Status| a.reached(what).is_some() && b.reached(what).is_some()
    };
    let steps = [("tunnel up, both ways", Milestone::TunnelUp)];
    for (name, milestone) in steps {
        if !watch.wait(name, both(milestone)) {
            return Ok(false);
        }
    }
    watch.ping_result(&format!("ping {peer} from site a, the first packet"), first_ping)?;
    watch.no_clear_packets();
    watch.what_the_reader_would_type()?;
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
        lines.iter().skip(lines.len().saturating_sub(12)).map(|line| format!("    {line}\n")).collect()
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

    fn ping_result(&mut self, what: &str, child: Child) -> io::Result<()> {
        let output = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        match text.trim().parse::<f64>() {
            Ok(micros) if output.status.success() => {
                self.say(&format!("{what}: reply after {:.1} ms", micros / 1000.0))
            }
            _ => self.broken(what, &format!("no reply {}", String::from_utf8_lossy(&output.stderr))),
        }
        Ok(())
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
    fn what_the_reader_would_type(&mut self) -> io::Result<()> {
        for line in ["setkey -DP", "setkey -D"] {
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
