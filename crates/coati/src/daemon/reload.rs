//! A running daemon reads its files again (SIGHUP, `racoonctl reload-config`): what changed is applied, SAs whose
//! settings are the same go on, and with an error in a file all goes on as before.

use std::fs;
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::path::{Path, PathBuf};

use coati_config::Severity;
use coati_config::racoon::{Remote, ScriptEvent};
use coati_config::site::Site;

use super::hooks::Hook;
use super::log::Level;
use super::run::{Daemon, now};
use super::{NATT_PORT, ike_socket};

impl Daemon {
    /// Does it; a sentence about what came of it.
    pub(super) fn reload(&mut self) -> Result<String, String> {
        let outcome = self.try_reload();
        match &outcome {
            Ok(text) => self.log.line(Level::Info, text),
            Err(text) => self.log.line(Level::Error, text),
        }
        outcome
    }

    fn try_reload(&mut self) -> Result<String, String> {
        let kept = |why: String| format!("not reloaded, the configuration that is in force goes on: {why}");
        let read = self.start.read_files();
        let (mut site, remarks) = read.map_err(|error| kept(error.to_string()))?;
        let errors: Vec<String> = remarks
            .iter()
            .filter(|remark| remark.severity == Severity::Error)
            .map(ToString::to_string)
            .collect();
        if !errors.is_empty() {
            return Err(kept(some_of(&errors)));
        }
        // An editor that renames, or a copy that is under way, is no wish to have no IKE any more.
        for (was, is, file) in [
            (self.site.racoon.is_some(), site.racoon.is_some(), "racoon.conf"),
            (self.site.has_ospf(), site.has_ospf(), "ospfd.conf"),
        ] {
            if was && !is {
                let dir = self.start.place.dir.display();
                return Err(kept(format!(
                    "{file} is not there any more in {dir}; to do without it, restart"
                )));
            }
        }
        for remark in remarks.iter().filter(|remark| remark.severity == Severity::Warning) {
            self.log.line(Level::Warning, &remark.to_string());
        }
        self.open_ike_sockets(&site).map_err(|error| kept(error.to_string()))?;
        let mut later = Vec::new();
        if format!("{:?}", site.rc.tunnels) != format!("{:?}", self.site.rc.tunnels) {
            later.push("tunnels of rc.conf");
        }
        if let (Some(new), Some(old)) = (&site.ospf, &self.site.ospf)
            && new.is_another_router(old)
        {
            later.push("the router id of OSPF");
        }
        let adminsock = |site: &Site| site.racoon.as_ref().map(|racoon| racoon.listen.adminsock.clone());
        if self.start.sockets.is_empty() && adminsock(&site) != adminsock(&self.site) {
            later.push("adminsock");
        }
        let privsep =
            |site: &Site| site.racoon.as_ref().map(|racoon| racoon.privsep.clone()).unwrap_or_default();
        if privsep(&site) != privsep(&self.site) {
            later.push("privsep");
        }
        let natt = |site: &Site| {
            let mut shared = self.start.ike_addresses(site);
            shared.retain(|(_, port)| *port == NATT_PORT);
            shared
        };
        if natt(&site) != natt(&self.site) {
            later.push("addresses for NAT traversal");
        }
        // The interfaces are what they were made to be.
        site.rc.clone_from(&self.site.rc);
        let reloaded = self.control.reconfigure(now(), &self.site, &site);
        self.log.set_level(self.start.level(&site));
        self.site = site;
        // What ends is told by the sockets that it had.
        self.carry_out();
        self.close_ike_sockets();
        self.look_at_interfaces();
        let mut text = format!(
            "reloaded: {} SAs of IKE go on, {} ended because their settings changed",
            reloaded.kept, reloaded.ended
        );
        if reloaded.policies_added + reloaded.policies_removed > 0 {
            text.push_str(&format!(
                "; policies: {} new, {} removed",
                reloaded.policies_added, reloaded.policies_removed
            ));
        }
        if !later.is_empty() {
            text.push_str(&format!("; only a restart applies: {}", later.join(", ")));
        }
        Ok(text)
    }

    /// Opens sockets for the addresses of `site` that have none. Those shared with ESP belong to a packet
    /// thread and are opened at the start only.
    fn open_ike_sockets(&mut self, site: &Site) -> io::Result<()> {
        let mut wanted = self.start.ike_addresses(site);
        wanted.retain(|(_, port)| *port != NATT_PORT);
        let address = |socket: &UdpSocket| socket.local_addr().ok().map(|a| (a.ip(), a.port()));
        let have: Vec<_> = self.ike.iter().filter_map(address).collect();
        let new = wanted.iter().filter(|wanted| !have.contains(wanted));
        let dataplane = self.start.place.dataplane;
        let new = new.map(|wanted| ike_socket(*wanted, dataplane)).collect::<io::Result<Vec<_>>>()?;
        self.ike.extend(new);
        Ok(())
    }

    /// Closes those for addresses that are not listened at any more.
    fn close_ike_sockets(&mut self) {
        let mut wanted = self.start.ike_addresses(&self.site);
        wanted.retain(|(_, port)| *port != NATT_PORT);
        let address = |socket: &UdpSocket| socket.local_addr().ok().map(|a| (a.ip(), a.port()));
        self.ike.retain(|socket| address(socket).is_some_and(|found| wanted.contains(&found)));
    }

    /// The hook of this peer for this event, ready to run but for its environment.
    pub(super) fn hook(&self, peer: IpAddr, event: ScriptEvent) -> Option<Hook> {
        let racoon = self.site.racoon.as_ref()?;
        let script = remote_of(&racoon.remotes, peer)?.scripts.iter().find(|script| script.event == event)?;
        let folder = racoon.paths.script.as_ref().map(|entry| Path::new(&entry.path));
        let dir = folder.unwrap_or(&self.start.place.dir);
        Some(Hook {
            program: dir.join(&script.file.name),
            event: event.name(),
            environment: Vec::new(),
            peer,
        })
    }
}

/// A line of them, as long as a line may be.
fn some_of(errors: &[String]) -> String {
    const MOST: usize = 10;
    let mut text = errors.iter().take(MOST).cloned().collect::<Vec<_>>().join("; ");
    if errors.len() > MOST {
        text.push_str(&format!("; and {} more (`coati check` shows them)", errors.len() - MOST));
    }
    text
}

/// The section that is about this peer: its own, else one for everybody.
fn remote_of(remotes: &[Remote], peer: IpAddr) -> Option<&Remote> {
    let own = remotes.iter().find(|remote| remote.address() == Some(peer));
    own.or_else(|| remotes.iter().find(|remote| remote.address().is_none()))
}

/// The file with the number of the process; it goes with this value.
#[derive(Debug)]
pub(super) struct PidFile(PathBuf);

impl PidFile {
    /// Writes it where `path pidfile` says, else to /var/run/racoon.pid.
    pub(super) fn write(site: &Site) -> io::Result<Self> {
        let named = site.racoon.as_ref().and_then(|racoon| racoon.paths.pidfile.as_ref());
        let path = Path::new("/var/run").join(named.map_or("racoon.pid", |entry| entry.path.as_str()));
        fs::write(&path, format!("{}\n", std::process::id()))
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        Ok(Self(path))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
