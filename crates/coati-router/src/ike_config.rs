//! racoon.conf and psk.txt as the IKE engine wants them.
//!
//! What is not mapped here is refused or named by `coati_config::racoon::unsupported` before: the two files go together.

use std::net::IpAddr;
use std::time::Duration;

use coati_config::racoon::{self, Phase1Cipher, Phase1Hash, RacoonConf, RemoteWho, SainfoId};
use coati_config::site::Site;
use coati_crypto::dh::Group;
use coati_crypto::hash::HashAlgorithm;
use coati_ike::{
    Config, Dpd, EndpointId, ExchangeMode, Fragmentation, GeneratePolicy, Identifier, IkeCipher, IkeProposal,
    Logins, ModeConfig, NatTraversal, Network, Patience, Peer, PreSharedKey, ProposalCheck, SaInfo, Split,
};
use coati_sadb::{Port, Prefix};

use crate::credentials::Store;

/// Everything the engine has to know of this site.
pub fn ike_config(site: &Site) -> Config {
    let Some(racoon) = &site.racoon else { return Config::default() };
    let usual = Config::default();
    let store = Store::new(site);
    // Of several, all are the same; what is at the port that ESP has too is not meant.
    let mut ports = racoon.listen.isakmp.iter().map(|(endpoint, _)| endpoint.port);
    let port = ports.find(|port| *port != usual.natt_port);
    Config {
        peers: racoon.remotes.iter().map(|remote| peer(site, &store, remote)).collect(),
        sainfos: racoon.sainfos.iter().filter_map(|info| sainfo(site, info)).collect(),
        keys: keys(site, racoon),
        mode_config: racoon.serves_road_warriors().then(|| mode_config(site, &racoon.mode_cfg)),
        port: port.unwrap_or(usual.port),
        natt_port: usual.natt_port,
        natt_keepalive: seconds(racoon.timer.natt_keepalive),
        patience: patience(&racoon.timer),
    }
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds))
}

fn keys(site: &Site, racoon: &RacoonConf) -> Vec<PreSharedKey> {
    let psk_file = racoon.paths.pre_shared_key.as_ref().map_or("psk.txt", |entry| entry.path.as_str());
    let key = |key: &coati_config::psk::PreSharedKey| PreSharedKey {
        // Addresses in the one form that the engine compares.
        identity: key
            .identity
            .parse::<IpAddr>()
            .map_or_else(|_| key.identity.clone(), |address| address.to_string()),
        key: key.key.clone(),
        origin: format!("{psk_file}:{}", key.line),
    };
    site.keys.iter().map(key).collect()
}

/// racoon repeats at a fixed interval, by default every 10 s. Whoever has written nothing else gets ours, which finds
/// a peer sooner.
fn patience(timer: &racoon::Timer) -> Patience {
    let usual = racoon::Timer::default();
    let limits =
        Patience { phase1: seconds(timer.phase1), phase2: seconds(timer.phase2), ..Patience::default() };
    if (timer.counter, timer.interval) == (usual.counter, usual.interval) {
        return limits;
    }
    let interval = seconds(timer.interval);
    Patience { first_wait: interval, longest_wait: interval, repetitions: timer.counter, ..limits }
}

fn peer(site: &Site, store: &Store<'_>, remote: &racoon::Remote) -> Peer {
    let peers = remote.peers_identifiers.iter().map(|(id, _)| identifier(site, id));
    Peer {
        name: match &remote.who {
            RemoteWho::Named { name, .. } => Some(name.clone()),
            RemoteWho::Address(_) | RemoteWho::Anonymous { .. } => None,
        },
        address: remote.address(),
        port: remote.who.port(),
        exchange_modes: remote.exchange_modes.iter().map(exchange_mode).collect(),
        my_identifier: identifier(site, &remote.my_identifier),
        peers_identifiers: peers.collect(),
        verify_identifier: remote.verify_identifier,
        proposals: remote.proposals.iter().filter_map(|one| proposal(store, remote, one)).collect(),
        credentials: store.credentials(remote),
        nat_traversal: match remote.nat_traversal {
            racoon::NatTraversal::Off => NatTraversal::Off,
            racoon::NatTraversal::On => NatTraversal::On,
            racoon::NatTraversal::Force => NatTraversal::Force,
        },
        support_proxy: remote.support_proxy,
        generate_policy: match remote.generate_policy {
            racoon::GeneratePolicy::Off => GeneratePolicy::Off,
            racoon::GeneratePolicy::Require => GeneratePolicy::Require,
            racoon::GeneratePolicy::Unique => GeneratePolicy::Unique,
        },
        mode_cfg: remote.mode_cfg,
        xauth_login: remote.xauth_login.clone(),
        ph1id: remote.ph1id,
        proposal_check: match remote.proposal_check {
            racoon::ProposalCheck::Obey => ProposalCheck::Obey,
            racoon::ProposalCheck::Strict => ProposalCheck::Strict,
            racoon::ProposalCheck::Claim => ProposalCheck::Claim,
            racoon::ProposalCheck::Exact => ProposalCheck::Exact,
        },
        fragmentation: match remote.ike_frag {
            racoon::IkeFrag::Off => Fragmentation::Off,
            racoon::IkeFrag::On => Fragmentation::On,
            racoon::IkeFrag::Force => Fragmentation::Force,
        },
        dpd: (remote.dpd && remote.dpd_delay > 0).then(|| Dpd {
            delay: seconds(remote.dpd_delay),
            retry: seconds(remote.dpd_retry.max(1)),
            max_failures: remote.dpd_maxfail.max(1),
        }),
        announces_dpd: remote.dpd,
        // Without dead peer detection too: some peers end their SA pairs together with phase 1.
        rekey: remote.rekey != racoon::Rekey::Off,
        passive: remote.passive,
        initial_contact: remote.initial_contact,
        nonce_len: usize::from(remote.nonce_size),
        origin: remote.origin.to_string(),
        check_origin: remote.proposal_check_origin.to_string(),
    }
}

/// Logins are decided about by the system's accounts (`auth_source system`), so by the daemon.
fn mode_config(site: &Site, conf: &racoon::ModeCfg) -> ModeConfig {
    let network = |prefix: &Prefix| match prefix.network() {
        Prefix { address: IpAddr::V4(address), length } => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            Some(Network { address, mask: mask.into() })
        }
        // The parser takes IPv4 only.
        Prefix { address: IpAddr::V6(_), .. } => None,
    };
    ModeConfig {
        network4: conf.network4,
        netmask4: conf.netmask4,
        pool_size: conf.pool_size,
        dns4: conf.dns4.clone(),
        wins4: conf.wins4.clone(),
        default_domain: conf.default_domain.clone(),
        split_dns: conf.split_dns.clone(),
        split: match &conf.split_network {
            None => Split::All,
            Some(split) => {
                let networks = split.networks.iter().filter_map(network).collect();
                match split.kind {
                    racoon::SplitKind::Include => Split::Include(networks),
                    racoon::SplitKind::LocalLan => Split::LocalLan(networks),
                }
            }
        },
        banner: site.banner.clone(),
        pfs_group: conf.pfs_group.map_or(0, |group| group.number()),
        save_passwd: conf.save_passwd,
        logins: Logins::Owner,
        auth_throttle: seconds(conf.auth_throttle),
    }
}

fn exchange_mode(mode: &racoon::ExchangeMode) -> ExchangeMode {
    match mode {
        racoon::ExchangeMode::Main => ExchangeMode::Main,
        racoon::ExchangeMode::Aggressive => ExchangeMode::Aggressive,
    }
}

fn identifier(site: &Site, identifier: &racoon::Identifier) -> Identifier {
    match identifier {
        racoon::Identifier::Address(address) => Identifier::Address(*address),
        racoon::Identifier::Fqdn(name) => Identifier::Fqdn(name.clone()),
        racoon::Identifier::UserFqdn(name) => Identifier::UserFqdn(name.clone()),
        racoon::Identifier::KeyIdTag(tag) => Identifier::KeyId(tag.as_bytes().to_vec()),
        // One that could not be read was an error.
        racoon::Identifier::KeyIdFile(file) => {
            Identifier::KeyId(site.key_ids.get(&file.name).cloned().unwrap_or_default())
        }
        racoon::Identifier::Asn1Dn(name) => Identifier::Asn1Dn(name.as_ref().map(ToString::to_string)),
    }
}

/// `None` for what the parser would not have let through, or a certificate's remarks.
fn proposal(store: &Store<'_>, remote: &racoon::Remote, proposal: &racoon::Proposal) -> Option<IkeProposal> {
    Some(IkeProposal {
        auth: store.method(remote, proposal)?,
        cipher: match proposal.cipher {
            Phase1Cipher::Aes(bits) => IkeCipher::Aes(bits),
            Phase1Cipher::TripleDes => IkeCipher::TripleDes,
        },
        hash: match proposal.hash {
            Phase1Hash::Md5 => HashAlgorithm::Md5,
            Phase1Hash::Sha1 => HashAlgorithm::Sha1,
            Phase1Hash::Sha256 => HashAlgorithm::Sha256,
            Phase1Hash::Sha384 => HashAlgorithm::Sha384,
            Phase1Hash::Sha512 => HashAlgorithm::Sha512,
        },
        group: Group::from_number(proposal.dh_group.number())?,
        lifetime: proposal.lifetime.seconds,
        origin: proposal.origin.to_string(),
    })
}

/// `None` for what was refused.
fn sainfo(site: &Site, info: &racoon::SaInfo) -> Option<SaInfo> {
    let endpoint = |id: &SainfoId| match id {
        SainfoId::Anonymous | SainfoId::ClientAddress => Some(None),
        other => other.network().map(|(prefix, upper, port)| {
            let port = port.map_or(Port::Any, Port::Is);
            Some(EndpointId { prefix, upper, port })
        }),
    };
    Some(SaInfo {
        local: endpoint(&info.source)?,
        remote: endpoint(&info.destination)?,
        of_client: info.destination == SainfoId::ClientAddress,
        from: info.from.as_ref().map(|from| identifier(site, from)),
        pfs_group: info.pfs_group.and_then(|group| Group::from_number(group.number())),
        lifetime: info.lifetime.seconds,
        kilobytes: info.lifetime.kilobytes().unwrap_or(0),
        remoteid: info.remoteid,
        encryption: info.encryption.iter().filter_map(|cipher| cipher.sadb()).collect(),
        authentication: info.authentication.iter().filter_map(|auth| auth.sadb()).collect(),
        origin: info.origin.to_string(),
    })
}

#[cfg(test)]
mod tests;
