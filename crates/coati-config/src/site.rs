//! The files of one router together: read, and checked one against the other, before anything is touched.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use coati_sadb::{Action, Direction, Policy, Prefix, Request, Upper};

use crate::diagnostic::{Diagnostic, Severity, Source, Span};
use crate::ospfd::{self, OspfConf};
use crate::pki::{Pki, PkiFiles};
use crate::psk::{self, PreSharedKey};
use crate::racoon::{
    self, AuthMethod, ExchangeMode, GeneratePolicy, Identifier, Included, RacoonConf, Remote,
};
use crate::rc_conf::{self, RcConf};
use crate::setkey::{self, Statement};

/// A banner goes into one message, and clients show it in a window; in bytes.
pub const LONGEST_BANNER: usize = 2048;

/// racoon takes no more of a file with a key id, in bytes.
pub const LONGEST_KEY_ID: usize = 512;

/// The texts of the files; those that do not exist are `None`.
#[derive(Clone, Debug, Default)]
pub struct SiteFiles {
    /// rc.conf.
    pub rc_conf: Option<Arc<Source>>,
    /// racoon.conf.
    pub racoon_conf: Option<Arc<Source>>,
    /// What racoon.conf includes.
    pub included: Included,
    /// The files behind `keyid file`, by the name in racoon.conf; the error says why one cannot be read.
    pub key_ids: BTreeMap<String, Result<Vec<u8>, String>>,
    /// Certificates and what goes with them.
    pub pki: PkiFiles,
    /// What `banner` names, or why it cannot be read; `None` when that is not needed, or the usual one is not there.
    pub banner: Option<Result<String, String>>,
    /// psk.txt.
    pub psk_txt: Option<Arc<Source>>,
    /// setkey.conf.
    pub setkey_conf: Option<Arc<Source>>,
    /// ospfd.conf or frr.conf.
    pub ospfd_conf: Option<Arc<Source>>,
}

/// What the files say. A part whose file is not there is absent, and the router does without it.
#[derive(Clone, Debug, Default)]
pub struct Site {
    /// Interfaces and tunnels.
    pub rc: RcConf,
    /// IKE, with its keys.
    pub racoon: Option<RacoonConf>,
    /// Key ids of files, by the name of the file.
    pub key_ids: BTreeMap<String, Vec<u8>>,
    /// Certificates and what goes with them, as bytes.
    pub pki: Pki,
    /// What clients are shown (`banner`).
    pub banner: Option<String>,
    /// Pre-shared keys.
    pub keys: Vec<PreSharedKey>,
    /// Policies and manual SAs.
    pub statements: Vec<Statement>,
    /// OSPF.
    pub ospf: Option<OspfConf>,
}

impl Site {
    /// Reads and checks all files; the router may start when no remark is an error.
    pub fn read(files: &SiteFiles) -> (Self, Vec<Diagnostic>) {
        let mut site = Self::default();
        let mut remarks = Vec::new();
        if let Some(source) = &files.rc_conf {
            let (rc, list) = rc_conf::parse(source);
            site.rc = rc;
            remarks.extend(list);
        }
        if let Some(source) = &files.racoon_conf {
            let (conf, list) = racoon::parse(source, &files.included);
            // What lacks a part is not held against the other files.
            if list.iter().all(|remark| remark.severity < Severity::Error) {
                remarks.extend(racoon::unsupported(&conf));
                site.take_key_ids(&conf, files, &mut remarks);
                site.pki = Pki::take(&conf, &files.pki, &mut remarks);
                site.take_banner(&conf, files, &mut remarks);
                site.racoon = Some(conf);
            }
            remarks.extend(list);
        }
        if let Some(source) = &files.psk_txt {
            let (keys, list) = psk::parse(source);
            site.keys = keys;
            remarks.extend(list);
        }
        let mut policies_are_known = true;
        if let Some(source) = &files.setkey_conf {
            let script = setkey::read(source, &setkey::Reading::default());
            // Nothing of it is done when a part of it cannot be.
            policies_are_known = script.error().is_none();
            if policies_are_known {
                site.statements = script.statements;
            }
            remarks.extend(script.remarks);
        }
        if let Some(source) = &files.ospfd_conf {
            let (conf, list) = ospfd::parse(source);
            if conf.enabled || !conf.static_routes.is_empty() {
                site.ospf = Some(conf);
            }
            remarks.extend(list);
        }
        site.cross_check(files, policies_are_known, &mut remarks);
        (site, remarks)
    }

    /// Whether there is a `router ospf`.
    pub fn has_ospf(&self) -> bool {
        self.ospf.as_ref().is_some_and(|conf| conf.enabled)
    }

    /// The policies that the statements leave behind.
    pub fn policies(&self) -> impl Iterator<Item = (&Policy, &Statement)> {
        self.statements.iter().filter_map(|statement| match &statement.request {
            Request::SpdAdd(policy) | Request::SpdUpdate(policy) => Some((&**policy, statement)),
            _ => None,
        })
    }

    /// The pre-shared key of a peer, as racoon finds it: the first line with its address or `*`.
    pub fn key_of(&self, peer: IpAddr) -> Option<&PreSharedKey> {
        psk::key_of(&self.keys, peer)
    }

    /// What `keyid file` names.
    fn take_key_ids(&mut self, conf: &RacoonConf, files: &SiteFiles, remarks: &mut Vec<Diagnostic>) {
        for file in conf.key_id_files() {
            let refused = match files.key_ids.get(&file.name) {
                Some(Ok(bytes)) if (1..=LONGEST_KEY_ID).contains(&bytes.len()) => {
                    self.key_ids.insert(file.name.clone(), bytes.clone());
                    continue;
                }
                Some(Ok(bytes)) => {
                    format!("it has {} bytes, a key id has 1 to {LONGEST_KEY_ID}", bytes.len())
                }
                Some(Err(why)) => why.clone(),
                None => "it was not read".to_owned(),
            };
            let message = format!("the key id cannot be taken from \"{}\": {refused}", file.name);
            let help = "make that file, or write the key id itself: keyid tag \"…\"";
            remarks.push(file.origin.remark(Severity::Error, message).help(help));
        }
    }

    /// What `banner` names.
    fn take_banner(&mut self, conf: &RacoonConf, files: &SiteFiles, remarks: &mut Vec<Diagnostic>) {
        match (&files.banner, &conf.mode_cfg.banner) {
            (Some(Ok(text)), _) if (1..=LONGEST_BANNER).contains(&text.len()) => {
                self.banner = Some(text.clone());
            }
            (Some(read), Some(file)) => {
                let why = match read {
                    Err(why) => why.clone(),
                    Ok(text) => format!("it has {} bytes, a banner has 1 to {LONGEST_BANNER}", text.len()),
                };
                let message = format!("clients are shown no banner: \"{}\": {why}", file.name);
                remarks.push(file.origin.remark(Severity::Warning, message).help("make that file"));
            }
            // Nobody asked for the usual one by name.
            _ => {}
        }
    }

    /// The key for a peer that says it is this.
    fn key_of_identifier(&self, identifier: &Identifier) -> Option<&PreSharedKey> {
        match identifier {
            Identifier::KeyIdFile(file) => {
                let name = std::str::from_utf8(self.key_ids.get(&file.name)?).ok()?;
                self.keys.iter().find(|key| key.fits_name(name))
            }
            other => psk::key_of_identifier(&self.keys, other),
        }
    }

    fn cross_check(&self, files: &SiteFiles, policies_are_known: bool, remarks: &mut Vec<Diagnostic>) {
        if let (Some(source), Some(racoon)) = (&files.setkey_conf, &self.racoon) {
            self.check_policies(source, racoon, remarks);
        }
        if let (Some(racoon), Some(_)) = (&self.racoon, &files.psk_txt) {
            self.check_keys(racoon, remarks);
            self.check_logins(racoon, remarks);
        }
        if let Some(source) = &files.rc_conf {
            self.check_tunnels(source, policies_are_known, remarks);
        }
        if let (Some(source), Some(_), Some(ospf)) = (&files.ospfd_conf, &files.rc_conf, &self.ospf) {
            self.check_mentions(source, ospf, remarks);
        }
        if let (Some(source), Some(ospf)) = (&files.ospfd_conf, &self.ospf)
            && ospf.enabled
            && !self.rc.tunnels.is_empty()
        {
            for tunnel in &self.rc.tunnels {
                let by_network =
                    ospf.networks.iter().any(|network| network.prefix.contains(tunnel.address.into()));
                let by_name = ospf.interfaces.iter().any(|i| i.name == tunnel.name && i.area.is_some());
                if !by_network && !by_name {
                    let message = format!("no network statement covers {} ({})", tunnel.name, tunnel.address);
                    remarks.push(Diagnostic::new(Severity::Warning, source, Span::default(), message).help(
                        format!(
                            "add under router ospf: network {}/{} area 0",
                            tunnel.address, tunnel.prefix_len
                        ),
                    ));
                }
            }
        }
    }

    fn check_policies(&self, source: &Arc<Source>, racoon: &RacoonConf, remarks: &mut Vec<Diagnostic>) {
        for (policy, statement) in self.policies() {
            let (Direction::Out, Action::Ipsec(rules)) = (policy.direction, &policy.action) else { continue };
            let far_end = rules.iter().find_map(|rule| rule.endpoints).map(|(_, far)| far);
            let peer = far_end.unwrap_or(policy.selector.destination.address);
            let span = statement.origin.span;
            let fits = |remote: &Remote| remote.address().is_none_or(|address| address == peer);
            if !racoon.remotes.iter().any(fits) {
                remarks.push(
                    Diagnostic::new(
                        Severity::Error,
                        source,
                        span,
                        format!(
                            "this policy needs keys from {peer}, but racoon.conf has no remote section for it"
                        ),
                    )
                    .help(format!("add `remote {peer} {{ … }}` to racoon.conf")),
                );
            }
            if racoon.sainfos.is_empty() {
                remarks.push(
                    Diagnostic::new(
                        Severity::Error,
                        source,
                        span,
                        "this policy needs a sainfo, but racoon.conf has none",
                    )
                    .help("add `sainfo anonymous { … }` to racoon.conf"),
                );
            }
        }
    }

    /// Logins without a password.
    fn check_logins(&self, racoon: &RacoonConf, remarks: &mut Vec<Diagnostic>) {
        for remote in racoon.remotes.iter().filter(|remote| remote.authenticates_by(AuthMethod::logs_in)) {
            let Some(login) = &remote.xauth_login else { continue };
            if !self.keys.iter().any(|key| key.identity == *login) {
                let message = format!("psk.txt has no line with the password of {login} (xauth_login)");
                let help = format!(
                    "add a line to psk.txt: {login} PASSWORD; or give it when you connect: racoonctl vpn-connect -u \
                     {login} GATEWAY"
                );
                remarks.push(remote.origin.remark(Severity::Warning, message).help(help));
            }
        }
    }

    /// Peers without a key. Main mode knows a peer by its address only, aggressive mode by its name too.
    fn check_keys(&self, racoon: &RacoonConf, remarks: &mut Vec<Diagnostic>) {
        if self.keys.iter().any(|key| key.identity == "*") {
            return;
        }
        let known: HashSet<IpAddr> = self.keys.iter().filter_map(|key| key.identity.parse().ok()).collect();
        for remote in racoon.remotes.iter().filter(|remote| remote.authenticates_by(AuthMethod::uses_psk)) {
            let Some(address) = remote.address() else { continue };
            let by_name = remote.exchange_modes.contains(&ExchangeMode::Aggressive)
                && remote.peers_identifiers.iter().any(|(id, _)| self.key_of_identifier(id).is_some());
            if !known.contains(&address) && !by_name {
                let message = format!("psk.txt has no key for {address}");
                let help = format!("add a line to psk.txt: {address} KEY");
                remarks.push(remote.origin.remark(Severity::Error, message).help(help));
            }
        }
    }

    /// Which policies there are to be is not known while setkey.conf has a mistake.
    fn check_tunnels(&self, source: &Arc<Source>, policies_are_known: bool, remarks: &mut Vec<Diagnostic>) {
        // They come with the peers then.
        let generates = |remote: &Remote| remote.generate_policy != GeneratePolicy::Off;
        let generated = self.racoon.as_ref().is_some_and(|racoon| racoon.remotes.iter().any(generates));
        for tunnel in &self.rc.tunnels {
            let span = source.line(tunnel.place.line);
            let mut remark = |severity, message: String, help: String| {
                remarks.push(Diagnostic::new(severity, source, span, message).help(help));
            };
            for (direction, from, to) in
                [(Direction::Out, tunnel.local, tunnel.remote), (Direction::In, tunnel.remote, tunnel.local)]
            {
                let covers = |policy: &Policy| {
                    policy.selector.matches(from, to, 47, None)
                        && policy.direction == direction
                        && policy.selector.upper != Upper::Proto(4)
                };
                if policies_are_known && !generated && !self.policies().any(|(policy, _)| covers(policy)) {
                    let word = direction.setkey_name();
                    let message = format!(
                        "{} goes from {} to {}, but no `{word}` policy in setkey.conf protects that",
                        tunnel.name, tunnel.local, tunnel.remote
                    );
                    let line = format!(
                        "spdadd {} {} gre -P {word} ipsec esp/transport//unique;",
                        Prefix::host(from),
                        Prefix::host(to)
                    );
                    remark(Severity::Error, message, format!("add to setkey.conf: {line}"));
                }
            }
            let addresses = &self.rc.interfaces;
            if tunnel.local.is_ipv4()
                && !addresses.is_empty()
                && !addresses.iter().any(|interface| interface.address == tunnel.local)
            {
                let list: Vec<String> = addresses
                    .iter()
                    .map(|interface| format!("{} {}", interface.name, interface.address))
                    .collect();
                let message = format!(
                    "{} begins at {}, but no interface in rc.conf has that address",
                    tunnel.name, tunnel.local
                );
                remark(Severity::Warning, message, format!("there are: {}", list.join(", ")));
            }
        }
    }

    /// Interfaces that ospfd.conf names and rc.conf does not know.
    fn check_mentions(&self, source: &Arc<Source>, ospf: &OspfConf, remarks: &mut Vec<Diagnostic>) {
        let known = |name: &str| name.starts_with("lo") || self.rc.names.iter().any(|other| other == name);
        for (name, span) in ospf.mentions.iter().filter(|(name, _)| !known(name)) {
            let message = format!("rc.conf has no interface `{name}`");
            let help = match self.rc.names.as_slice() {
                [] => format!("add ifconfig_{name}=\"inet …\" to rc.conf"),
                names => format!("there are: {}", names.join(", ")),
            };
            remarks.push(Diagnostic::new(Severity::Warning, source, *span, message).help(help));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seed() -> SiteFiles {
        let file = |name: &str, text: &str| Some(Source::new(name, text));
        SiteFiles {
            included: Included::default(),
            key_ids: BTreeMap::new(),
            pki: PkiFiles::default(),
            banner: None,
            rc_conf: file("rc.conf", include_str!("../../../examples/seed/freebsd-a/rc.conf")),
            racoon_conf: file("racoon.conf", include_str!("../../../examples/seed/freebsd-a/racoon.conf")),
            psk_txt: file("psk.txt", include_str!("../../../examples/seed/freebsd-a/psk.txt")),
            setkey_conf: file("setkey.conf", include_str!("../../../examples/seed/freebsd-a/setkey.conf")),
            ospfd_conf: file("ospfd.conf", include_str!("../../../examples/seed/freebsd-a/ospfd.conf")),
        }
    }

    fn changed(which: fn(&mut SiteFiles) -> &mut Option<Arc<Source>>, from: &str, to: &str) -> Vec<String> {
        let mut files = seed();
        let slot = which(&mut files);
        let old = slot.take().unwrap();
        assert!(old.text.contains(from), "{from}");
        *slot = Some(Source::new(old.name.clone(), old.text.replace(from, to)));
        let (_, remarks) = Site::read(&files);
        remarks.iter().filter(|r| r.severity > Severity::Note).map(ToString::to_string).collect()
    }

    #[test]
    fn the_how_to_has_no_errors() {
        let (site, remarks) = Site::read(&seed());
        let errors: Vec<_> = remarks.iter().filter(|r| r.severity == Severity::Error).collect();
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(site.policies().count(), 2);
        assert!(site.key_of("198.51.100.1".parse().unwrap()).is_some());
        assert!(site.ospf.is_some());
    }

    /// A mistake in setkey.conf is one: what follows from reading nothing of it is not said.
    #[test]
    fn one_mistake_is_one_error() {
        let texts = changed(|f| &mut f.setkey_conf, "-P out", "-P outt");
        let errors: Vec<&String> = texts.iter().filter(|text| text.contains(": error: ")).collect();
        assert!(matches!(&errors[..], [one] if one.contains("unknown direction `outt`")), "{texts:?}");
    }

    #[test]
    fn files_that_contradict_each_other() {
        let texts = changed(|f| &mut f.racoon_conf, "remote 198.51.100.1", "remote 198.51.100.9");
        assert!(texts.iter().any(|t| t.contains("no remote section")), "{texts:?}");
        assert!(texts.iter().any(|t| t.contains("psk.txt has no key for 198.51.100.9")), "{texts:?}");
        let texts =
            changed(|f| &mut f.rc_conf, "tunnel 192.0.2.1 198.51.100.1", "tunnel 192.0.2.1 198.51.100.7");
        assert!(texts.iter().any(|t| t.contains("no `out` policy in setkey.conf protects")), "{texts:?}");
        let mut files = seed();
        files.setkey_conf = None;
        let (_, remarks) = Site::read(&files);
        assert!(
            remarks.iter().any(|r| r.to_string().contains("no `out` policy")),
            "a tunnel without any policy"
        );
        let texts = changed(|f| &mut f.ospfd_conf, "network 203.0.113.0/30 area 0", "");
        assert!(texts.iter().any(|t| t.contains("no network statement covers gre0")), "{texts:?}");
    }
}
