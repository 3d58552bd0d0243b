//! racoon.conf and psk.txt as the IKE engine wants them.

use std::time::Duration;

use coati_config::racoon::{self, Phase1Cipher, Phase1Hash, RacoonConf, RemoteWho, SainfoId};
use coati_config::site::Site;
use coati_crypto::dh::Group;
use coati_crypto::hash::HashAlgorithm;
use coati_ike::{
    Config, Dpd, EndpointId, ExchangeMode, Fragmentation, GeneratePolicy, Identifier, IkeCipher, IkeProposal,
    NatTraversal, Peer, PreSharedKey, ProposalCheck, SaInfo,
};

/// Everything the engine has to know of this site.
pub fn ike_config(site: &Site) -> Config {
    let Some(racoon) = &site.racoon else { return Config::default() };
    let psk_file = racoon.paths.pre_shared_key.as_ref().map_or("psk.txt", |entry| entry.path.as_str());
    let key = |key: &coati_config::psk::PreSharedKey| PreSharedKey {
        // Addresses in the one form that the engine compares.
        identity: key
            .identity
            .parse::<std::net::IpAddr>()
            .map_or_else(|_| key.identity.clone(), |address| address.to_string()),
        key: key.key.clone(),
        origin: format!("{psk_file}:{}", key.line),
    };
    Config {
        peers: racoon.remotes.iter().map(peer).collect(),
        sainfos: sainfos(racoon),
        keys: site.keys.iter().map(key).collect(),
        port: racoon.listen.isakmp.first().map_or(500, |(endpoint, _)| endpoint.port),
        natt_keepalive: Duration::from_secs(u64::from(racoon.timer.natt_keepalive)),
        ..Config::default()
    }
}

fn peer(remote: &racoon::Remote) -> Peer {
    let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
    Peer {
        name: match &remote.who {
            RemoteWho::Named { name, .. } => Some(name.clone()),
            _ => None,
        },
        address: remote.address(),
        port: remote.who.port(),
        exchange_modes: remote
            .exchange_modes
            .iter()
            .map(|mode| match mode {
                racoon::ExchangeMode::Main => ExchangeMode::Main,
                racoon::ExchangeMode::Aggressive => ExchangeMode::Aggressive,
            })
            .collect(),
        my_identifier: identifier(&remote.my_identifier),
        peers_identifiers: remote.peers_identifiers.iter().map(|(wanted, _)| identifier(wanted)).collect(),
        verify_identifier: remote.verify_identifier,
        nat_traversal: match remote.nat_traversal {
            racoon::NatTraversal::Off => NatTraversal::Off,
            racoon::NatTraversal::On => NatTraversal::On,
            racoon::NatTraversal::Force => NatTraversal::Force,
        },
        generate_policy: match remote.generate_policy {
            racoon::GeneratePolicy::Off => GeneratePolicy::Off,
            racoon::GeneratePolicy::Require => GeneratePolicy::Require,
            racoon::GeneratePolicy::Unique => GeneratePolicy::Unique,
        },
        support_proxy: remote.support_proxy,
        ph1id: remote.ph1id,
        proposals: remote.proposals.iter().filter_map(proposal).collect(),
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
        passive: remote.passive,
        initial_contact: remote.initial_contact,
        nonce_len: usize::from(remote.nonce_size),
        origin: remote.origin.to_string(),
        check_origin: remote.proposal_check_origin.to_string(),
        ..Peer::default()
    }
}

fn identifier(identifier: &racoon::Identifier) -> Identifier {
    match identifier {
        racoon::Identifier::Address(address) => Identifier::Address(*address),
        racoon::Identifier::Fqdn(name) => Identifier::Fqdn(name.clone()),
        racoon::Identifier::UserFqdn(name) => Identifier::UserFqdn(name.clone()),
        racoon::Identifier::KeyIdTag(tag) => Identifier::KeyId(tag.clone().into_bytes()),
        // Refused when the file was read (coati_config::racoon::unsupported).
        racoon::Identifier::KeyIdFile(file) => Identifier::KeyId(file.name.clone().into_bytes()),
        racoon::Identifier::Asn1Dn(name) => Identifier::Asn1Dn(name.as_ref().map(|name| {
            let attributes = name.attributes.iter().map(|part| format!("{}={}", part.name, part.value));
            attributes.collect::<Vec<_>>().join(", ")
        })),
    }
}

/// `None` for a group that the parser would not have let through, and for what is not a pre-shared key: none of those
/// methods may be taken for another one.
fn proposal(proposal: &racoon::Proposal) -> Option<IkeProposal> {
    if proposal.method != racoon::AuthMethod::PreSharedKey {
        return None;
    }
    Some(IkeProposal {
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
        ..IkeProposal::default()
    })
}

fn sainfos(racoon: &RacoonConf) -> Vec<SaInfo> {
    let endpoint =
        |endpoint: &racoon::Endpoint| EndpointId { prefix: endpoint.prefix, upper: endpoint.upper };
    let sainfo = |info: &racoon::SaInfo| {
        let ids = match (&info.source, &info.destination) {
            (SainfoId::Anonymous, SainfoId::Anonymous) => None,
            (SainfoId::Network(source), SainfoId::Network(destination)) => {
                Some((endpoint(source), endpoint(destination)))
            }
            _ => return None,
        };
        Some(SaInfo {
            ids,
            pfs_group: info.pfs_group.and_then(|group| Group::from_number(group.number())),
            lifetime: info.lifetime.seconds,
            kilobytes: info.lifetime.kilobytes().unwrap_or(0),
            remoteid: info.remoteid,
            encryption: info.encryption.iter().filter_map(|cipher| cipher.sadb()).collect(),
            authentication: info.authentication.iter().filter_map(|auth| auth.sadb()).collect(),
            origin: info.origin.to_string(),
            ..SaInfo::default()
        })
    };
    racoon.sainfos.iter().filter_map(sainfo).collect()
}
