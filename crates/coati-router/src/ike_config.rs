//! racoon.conf and psk.txt as the IKE engine wants them.

use std::time::Duration;

use coati_config::racoon::{self, Phase1Cipher, Phase1Hash, RacoonConf, SainfoId};
use coati_config::site::Site;
use coati_crypto::dh::Group;
use coati_crypto::hash::HashAlgorithm;
use coati_ike::{
    Config, Dpd, EndpointId, Fragmentation, IkeCipher, IkeProposal, Peer, PreSharedKey, ProposalCheck, SaInfo,
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
        ..Config::default()
    }
}

fn peer(remote: &racoon::Remote) -> Peer {
    let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
    Peer {
        address: remote.address(),
        port: remote.who.port(),
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

/// `None` for a group that the parser would not have let through.
fn proposal(proposal: &racoon::Proposal) -> Option<IkeProposal> {
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
            encryption: info.encryption.iter().filter_map(|cipher| cipher.sadb()).collect(),
            authentication: info.authentication.iter().filter_map(|auth| auth.sadb()).collect(),
            origin: info.origin.to_string(),
            ..SaInfo::default()
        })
    };
    racoon.sainfos.iter().filter_map(sainfo).collect()
}
