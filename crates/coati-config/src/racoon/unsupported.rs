//! What racoon.conf can say, the model holds, and the engine does not do yet: errors, because a directive is obeyed or
//! refused. Each goes from here when the engine learns it.

use crate::diagnostic::{Diagnostic, Origin, Severity};
use crate::racoon::AuthMethod;
use crate::racoon::algorithms::DhGroup;
use crate::racoon::identifier::Identifier;
use crate::racoon::model::{ModeCfg, Privsep, RacoonConf, Remote, SaInfo, SainfoId};

/// One remark for each.
pub fn unsupported(conf: &RacoonConf) -> Vec<Diagnostic> {
    let mut found: Vec<(&Origin, String)> = Vec::new();
    for (_, origin) in conf.listen.isakmp_natt.iter().filter(|(endpoint, _)| endpoint.port != 4500) {
        found.push((origin, "isakmp_natt with another port than 4500".to_owned()));
    }
    for (_, origin) in conf.listen.isakmp.iter().filter(|(endpoint, _)| endpoint.zone.is_some()) {
        found.push((origin, "an address with an interface".to_owned()));
    }
    for remote in &conf.remotes {
        found.extend(of_remote(remote));
    }
    for info in &conf.sainfos {
        found.extend(of_sainfo(info));
    }
    let nowhere = Origin::default();
    let first = conf.remotes.first().map_or(&nowhere, |remote| &remote.origin);
    if conf.mode_cfg != ModeCfg::default() {
        found.push((first, "mode_cfg".to_owned()));
    }
    if conf.privsep.chroot.is_some() {
        found.push((first, "chroot of privsep".to_owned()));
    }
    let refused = |(origin, what): (&Origin, String)| {
        let message = format!("{what} is not supported yet");
        origin.remark(Severity::Error, message).help("remove it, if you can do without")
    };
    let mut remarks: Vec<Diagnostic> = found.into_iter().map(refused).collect();
    if conf.privsep != Privsep::default() && conf.privsep.chroot.is_none() {
        let message = "privsep: hooks run as this user and group; the daemon keeps its own rights";
        let remark = first.remark(Severity::Warning, message);
        remarks.push(remark.help("raw sockets, tunnel interfaces and routes need them"));
    }
    remarks
}

fn of_remote(remote: &Remote) -> Vec<(&Origin, String)> {
    let mut found = Vec::new();
    let mut refuse = |yes: bool, what: &str| {
        if yes {
            found.push((&remote.origin, what.to_owned()));
        }
    };
    let known =
        |identifier: &Identifier| !matches!(identifier, Identifier::KeyIdFile(_) | Identifier::Asn1Dn(_));
    refuse(!known(&remote.my_identifier), "my_identifier of this kind");
    refuse(!remote.peers_identifiers.iter().all(|(id, _)| known(id)), "peers_identifier of this kind");
    refuse(remote.support_proxy, "support_proxy");
    refuse(remote.mode_cfg, "mode_cfg");
    refuse(
        remote.who.endpoint().is_some_and(|endpoint| endpoint.zone.is_some()),
        "an address with an interface",
    );
    for proposal in &remote.proposals {
        if proposal.method != AuthMethod::PreSharedKey {
            found.push((&proposal.origin, format!("authentication_method {}", proposal.method)));
        }
        if proposal.dh_group.is_curve() {
            found.push((&proposal.origin, curve(proposal.dh_group)));
        }
        if proposal.lifetime.bytes.is_some() {
            found.push((&proposal.origin, "lifetime byte".to_owned()));
        }
    }
    found
}

fn of_sainfo(info: &SaInfo) -> Vec<(&Origin, String)> {
    let mut found = Vec::new();
    let mut refuse = |yes: bool, what: String| {
        if yes {
            found.push((&info.origin, what));
        }
    };
    let mapped = match (&info.source, &info.destination) {
        (SainfoId::Anonymous, SainfoId::Anonymous) => true,
        (SainfoId::Network(one), SainfoId::Network(other)) => one.port.is_none() && other.port.is_none(),
        _ => false,
    };
    refuse(!mapped, "a sainfo with identities of this kind, or with ports,".to_owned());
    refuse(info.from.is_some() || info.group.is_some(), "from or group".to_owned());
    if let Some(group) = info.pfs_group {
        refuse(group.is_curve(), curve(group));
    }
    for cipher in info.encryption.iter().filter(|cipher| cipher.sadb().is_none()) {
        refuse(true, format!("encryption_algorithm {cipher}"));
    }
    for auth in info.authentication.iter().filter(|auth| auth.sadb().is_none()) {
        refuse(true, format!("authentication_algorithm {auth}"));
    }
    found
}

fn curve(group: DhGroup) -> String {
    format!("group {group} ({})", group.name())
}
