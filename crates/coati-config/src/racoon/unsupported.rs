//! What racoon.conf can say, the model holds, and Coati does not do: an error where something else would happen than the
//! file says, a warning where it makes no difference to what peers see. Each goes from here when it has become untrue.

use crate::diagnostic::{Diagnostic, Origin, Severity};
use crate::racoon::AuthMethod;
use crate::racoon::UdpEndpoint;
use crate::racoon::algorithms::DhGroup;
use crate::racoon::model::{
    Accounting, Certificate, Padding, PeersCertificate, RacoonConf, Remote, SaInfo, SainfoId,
};

/// The port that IKE and ESP share behind a NAT (RFC 3947).
const NATT_PORT: u16 = 4500;

/// One remark for each.
pub fn unsupported(conf: &RacoonConf) -> Vec<Diagnostic> {
    let mut found: Vec<(&Origin, String)> = Vec::new();
    of_listen(conf, &mut found);
    for remote in &conf.remotes {
        of_remote(remote, &mut found);
    }
    for info in &conf.sainfos {
        of_sainfo(info, &mut found);
    }
    let nowhere = Origin::default();
    let first = conf.remotes.first().map_or(&nowhere, |remote| &remote.origin);
    let refused = |(origin, what): (&Origin, String)| {
        let message = format!("{what} is not supported yet");
        origin.remark(Severity::Error, message).help("remove it, if you can do without")
    };
    let mut remarks: Vec<Diagnostic> = found.into_iter().map(refused).collect();
    if let Some(chroot) = &conf.privsep.chroot {
        let message = "privsep chroot is not done: one process reads the files anew and starts the hooks";
        let help = "remove it; user and group take the daemon's rights away";
        remarks.push(chroot.origin.remark(Severity::Error, message).help(help));
    }
    for proposal in conf.remotes.iter().flat_map(|remote| &remote.proposals) {
        if proposal.lifetime.bytes.is_some() {
            let message = "lifetime byte makes no difference in phase 1: only its time is counted";
            remarks.push(proposal.origin.remark(Severity::Warning, message).help("remove it"));
        }
    }
    let warned = |(message, help): (&str, &str)| first.remark(Severity::Warning, message).help(help);
    remarks.extend(without_effect(conf).into_iter().map(warned));
    if conf.mode_cfg.accounting != Accounting::None {
        let message = "accounting makes no difference: logins are told in the log, and in no other record";
        let remark = conf.mode_cfg.origin.remark(Severity::Warning, message);
        remarks.push(remark.help("write `accounting none;`"));
    }
    remarks
}

fn of_listen<'a>(conf: &'a RacoonConf, found: &mut Vec<(&'a Origin, String)>) {
    let listen = &conf.listen;
    for (_, origin) in listen.isakmp_natt.iter().filter(|(endpoint, _)| endpoint.port != NATT_PORT) {
        found.push((origin, format!("isakmp_natt with another port than {NATT_PORT}")));
    }
    let zone = |(endpoint, _): &&(UdpEndpoint, Origin)| endpoint.zone.is_some();
    for (_, origin) in listen.isakmp.iter().chain(&listen.isakmp_natt).filter(zone) {
        found.push((origin, "an address with an interface".to_owned()));
    }
    let mut alone = listen.isakmp.iter().filter(|(endpoint, _)| endpoint.port != NATT_PORT);
    if let Some((first, _)) = alone.next() {
        for (_, origin) in alone.filter(|(endpoint, _)| endpoint.port != first.port) {
            found.push((origin, "another port for IKE than the first one in `listen`".to_owned()));
        }
    }
}

fn of_remote<'a>(remote: &'a Remote, found: &mut Vec<(&'a Origin, String)>) {
    let mut refuse = |yes: bool, what: &str| {
        if yes {
            found.push((&remote.origin, what.to_owned()));
        }
    };
    refuse(
        remote.who.endpoint().is_some_and(|endpoint| endpoint.zone.is_some()),
        "an address with an interface",
    );
    if let Some(Certificate::PlainRsa { key }) = &remote.certificate
        && remote.authenticates_by(AuthMethod::signs)
    {
        found.push((&key.origin, "certificate_type plain_rsa".to_owned()));
    }
    if let Some(PeersCertificate::PlainRsa(key)) = &remote.peers_certificate
        && remote.authenticates_by(AuthMethod::peer_signs)
    {
        found.push((&key.origin, "peers_certfile plain_rsa".to_owned()));
    }
    for proposal in &remote.proposals {
        if proposal.dh_group.is_curve() {
            found.push((&proposal.origin, curve(proposal.dh_group)));
        }
    }
}

fn of_sainfo<'a>(info: &'a SaInfo, found: &mut Vec<(&'a Origin, String)>) {
    let mut refuse = |yes: bool, what: String| {
        if yes {
            found.push((&info.origin, what));
        }
    };
    for id in [&info.source, &info.destination] {
        let is_range = matches!(id, SainfoId::Range { .. }) && id.network().is_none();
        refuse(is_range, "a sainfo for a range that is no network".to_owned());
        refuse(matches!(id, SainfoId::Name(_)), "a sainfo for a name".to_owned());
    }
    refuse(info.group.is_some(), "group".to_owned());
    if let Some(group) = info.pfs_group {
        refuse(group.is_curve(), curve(group));
    }
    for cipher in info.encryption.iter().filter(|cipher| cipher.sadb().is_none()) {
        refuse(true, format!("encryption_algorithm {cipher}"));
    }
    for auth in info.authentication.iter().filter(|auth| auth.sadb().is_none()) {
        refuse(true, format!("authentication_algorithm {auth}"));
    }
}

fn curve(group: DhGroup) -> String {
    format!("group {group} ({})", group.name())
}

/// What is not obeyed, and what is done instead.
fn without_effect(conf: &RacoonConf) -> Vec<(&'static str, &'static str)> {
    let mut found = Vec::new();
    if conf.timer.persend != 1 {
        let message = "persend makes no difference: a message that is lost is sent again soon";
        found.push((message, "remove it"));
    }
    if conf.padding != Padding::default() {
        let message = "padding makes no difference: messages are padded as short as they can be";
        found.push((message, "remove it"));
    }
    if conf.remotes.iter().any(|remote| remote.match_empty_cr) {
        let message =
            "match_empty_cr makes no difference: a section serves its peers whatever CA they ask for";
        found.push((message, "remove it"));
    }
    found
}
