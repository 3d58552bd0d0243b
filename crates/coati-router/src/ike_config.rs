//! racoon.conf and psk.txt as the IKE engine wants them.

use std::time::Duration;

use coati_config::racoon::{self, Phase1Cipher, Phase1Hash, RacoonConf, RemoteWho};
use coati_config::site::Site;
use coati_crypto::dh::Group;
use coati_crypto::hash::HashAlgorithm;
use coati_ike::{
    Config, Dpd, EndpointId, Fragmentation, IkeCipher, IkeProposal, Peer, PreSharedKey, ProposalCheck, SaInfo,
};

/// Everything the engine has to know of this site.
pub fn ike_config(site: &Site) -> Config {
    let Some(racoon) = &site.racoon else { return Config::default() };
    let psk_file = racoon.psk_path.as_deref().unwrap_or("psk.txt");
    let key = |key: &coati_config::psk::PreSharedKey| PreSharedKey {
        identity: key.identity.clone(),
        key: key.key.clone(),
        origin: format!("{psk_file}:{}", key.line),
    };
    Config {
        peers: racoon.remotes.iter().map(peer).collect(),
        sainfos: sainfos(racoon),
        keys: site.keys.iter().map(key).collect(),
        ..Config::default()
    }
}

fn peer(remote: &racoon::Remote) -> Peer {
    let (address, port) = match remote.who {
        RemoteWho::Address(address, port) => (Some(address), port),
        RemoteWho::Anonymous => (None, 500),
    };
    let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
    let (check, check_place) = &remote.proposal_check;
    Peer {
        address,
        port,
        proposals: remote.proposals.iter().filter_map(proposal).collect(),
        proposal_check: match check {
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
        dpd: (remote.dpd_delay > 0).then(|| Dpd {
            delay: seconds(remote.dpd_delay),
            retry: seconds(remote.dpd_retry.max(1)),
            max_failures: remote.dpd_maxfail.max(1),
        }),
        passive: remote.passive,
        initial_contact: remote.initial_contact,
        nonce_len: usize::from(remote.nonce_size),
        origin: remote.place.to_string(),
        check_origin: check_place.to_string(),
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
            Phase1Hash::Sha1 => HashAlgorithm::Sha1,
            Phase1Hash::Sha256 => HashAlgorithm::Sha256,
            Phase1Hash::Sha384 => HashAlgorithm::Sha384,
            Phase1Hash::Sha512 => HashAlgorithm::Sha512,
        },
        group: Group::from_number(proposal.dh_group)?,
        lifetime: proposal.lifetime,
        origin: proposal.place.to_string(),
        ..IkeProposal::default()
    })
}

fn sainfos(racoon: &RacoonConf) -> Vec<SaInfo> {
    let endpoint =
        |endpoint: &racoon::Endpoint| EndpointId { prefix: endpoint.prefix, upper: endpoint.upper };
    let sainfo = |info: &racoon::SaInfo| SaInfo {
        ids: info.ids.as_ref().map(|(local, remote)| (endpoint(local), endpoint(remote))),
        pfs_group: info.pfs_group.and_then(Group::from_number),
        lifetime: info.lifetime,
        encryption: info.encryption.clone(),
        authentication: info.authentication.clone(),
        origin: info.place.to_string(),
        ..SaInfo::default()
    };
    racoon.sainfos.iter().map(sainfo).collect()
}
