//! Proposals of both phases: what is offered, what of an offer is taken, and why nothing of it is.
//!
//! Attributes: RFC 2409 appendix A for phase 1, RFC 2407 section 4.5 for phase 2. `proposal_check` as racoon.conf(5).

use std::fmt::Write;

use coati_crypto::dh::Group;
use coati_crypto::hash::HashAlgorithm;
use coati_sadb::{AuthAlgorithm, EncAlgorithm, Mode};
use coati_wire::isakmp::{Attribute, Proposal, SecurityAssociation, Transform};

use crate::config::{AuthMethod, IkeCipher, IkeProposal, Peer, ProposalCheck, SaInfo};
use crate::failure::Mismatch;
use crate::ikev1::compression::{self, Compression};
use crate::ikev1::nat::Version;

const DOI_IPSEC: u32 = 1;
const SITUATION_IDENTITY_ONLY: u32 = 1;
const PROTO_ISAKMP: u8 = 1;
pub(crate) const PROTO_ESP: u8 = 3;
const KEY_IKE: u8 = 1;
const SECONDS: u32 = 1;
const KILOBYTES: u32 = 2;
/// What a lifetime is when nobody says it.
const DEFAULT_LIFETIME: u32 = 28_800;

/// Attribute classes of phase 1.
mod phase1 {
    pub(super) const CIPHER: u16 = 1;
    pub(super) const HASH: u16 = 2;
    pub(super) const AUTHENTICATION: u16 = 3;
    pub(super) const GROUP: u16 = 4;
    pub(super) const LIFE_TYPE: u16 = 11;
    pub(super) const LIFE_DURATION: u16 = 12;
    pub(super) const KEY_LEN: u16 = 14;
}

/// Attribute classes of phase 2.
mod phase2 {
    pub(super) const LIFE_TYPE: u16 = 1;
    pub(super) const LIFE_DURATION: u16 = 2;
    pub(super) const GROUP: u16 = 3;
    pub(super) const ENCAPSULATION: u16 = 4;
    pub(super) const AUTHENTICATION: u16 = 5;
    pub(super) const KEY_LEN: u16 = 6;
}

/// The body of the initiator's SA payload in phase 1.
///
/// Aggressive mode has room for one `group` only.
pub(crate) fn offer_phase1(peer: &Peer, group: Option<Group>) -> Vec<u8> {
    let fitting = peer.proposals.iter().filter(|proposal| group.is_none_or(|group| proposal.group == group));
    let transforms = fitting.zip(1..=u8::MAX).map(|(proposal, number)| Transform {
        number,
        id: KEY_IKE,
        attributes: phase1_attributes(proposal, true),
    });
    sa(Proposal { number: 1, protocol: PROTO_ISAKMP, spi: Vec::new(), transforms: transforms.collect() })
        .emit()
}

fn sa(proposal: Proposal) -> SecurityAssociation {
    SecurityAssociation { doi: DOI_IPSEC, situation: SITUATION_IDENTITY_ONLY, proposals: vec![proposal] }
}

fn phase1_attributes(proposal: &IkeProposal, we_initiate: bool) -> Vec<Attribute> {
    let method = u32::from(proposal.auth.number(we_initiate));
    let (cipher, bits) = match proposal.cipher {
        IkeCipher::Aes(bits) => (7, Some(bits)),
        IkeCipher::TripleDes => (5, None),
    };
    let mut list = vec![
        Attribute::number(phase1::LIFE_TYPE, SECONDS),
        Attribute::number(phase1::LIFE_DURATION, proposal.lifetime),
        Attribute::number(phase1::CIPHER, cipher),
    ];
    list.extend(bits.map(|bits| Attribute::number(phase1::KEY_LEN, u32::from(bits))));
    list.extend([
        Attribute::number(phase1::AUTHENTICATION, method),
        Attribute::number(phase1::HASH, hash_number(proposal.hash)),
        Attribute::number(phase1::GROUP, u32::from(proposal.group.number())),
    ]);
    list
}

fn hash_number(hash: HashAlgorithm) -> u32 {
    match hash {
        HashAlgorithm::Md5 => 1,
        HashAlgorithm::Sha1 => 2,
        HashAlgorithm::Sha256 => 4,
        HashAlgorithm::Sha384 => 5,
        HashAlgorithm::Sha512 => 6,
    }
}

/// The phase 1 proposal that both sides have.
#[derive(Debug)]
pub(crate) struct Phase1Choice {
    /// Ours, with the lifetime agreed upon.
    pub(crate) proposal: IkeProposal,
    /// Its place in our list.
    pub(crate) index: u32,
    /// Body of the SA payload that says so to the initiator.
    pub(crate) answer: Vec<u8>,
}

/// Takes the first transform of the peer that one of our proposals fits; otherwise says what was offered, what was
/// wanted and which line decides.
pub(crate) fn choose_phase1(peer: &Peer, body: &[u8]) -> Result<Phase1Choice, Mismatch> {
    let offer = parse(body)?;
    let mut reasons = Vec::new();
    for proposal in offer.proposals.iter().filter(|proposal| proposal.protocol == PROTO_ISAKMP) {
        for transform in &proposal.transforms {
            for (index, ours) in (0..).zip(&peer.proposals) {
                match fits_phase1(peer, ours, transform, false) {
                    Ok(lifetime) => {
                        let answer = sa(Proposal { transforms: vec![transform.clone()], ..proposal.clone() });
                        let proposal = IkeProposal { lifetime, ..ours.clone() };
                        return Ok(Phase1Choice { proposal, index, answer: answer.emit() });
                    }
                    Err(reason) => reasons.push(reason),
                }
            }
        }
    }
    let offered = offer.proposals.iter().flat_map(|proposal| &proposal.transforms).map(describe_phase1);
    Err(explain("phase 1", list(offered), wanted_phase1(peer), &peer.origin, &reasons))
}

/// Our proposals of phase 1, for people.
pub(crate) fn wanted_phase1(peer: &Peer) -> String {
    let describe =
        |ours: &IkeProposal| format!("{} ({})", describe_phase1(&phase1_transform(ours)), ours.origin);
    list(peer.proposals.iter().map(describe))
}

/// As [`choose_phase1`] by the first of several remote sections that has something; what the first one says when
/// none does.
pub(crate) fn choose_among(
    peers: &[Peer],
    candidates: &[usize],
    body: &[u8],
) -> Result<(usize, Phase1Choice), Mismatch> {
    let mut first = None;
    for index in candidates {
        let Some(peer) = peers.get(*index) else { continue };
        match choose_phase1(peer, body) {
            Ok(choice) => return Ok((*index, choice)),
            Err(why) => first = first.or(Some(why)),
        }
    }
    Err(first.unwrap_or_else(|| "no remote section fits".into()))
}

fn phase1_transform(proposal: &IkeProposal) -> Transform {
    Transform { number: 1, id: KEY_IKE, attributes: phase1_attributes(proposal, false) }
}

/// The lifetime in seconds when it fits, or which line keeps it from fitting when the algorithms are the same.
fn fits_phase1(
    peer: &Peer,
    ours: &IkeProposal,
    transform: &Transform,
    we_initiate: bool,
) -> Result<u32, Option<String>> {
    let same = |class, value| transform.number_of(class) == Some(value);
    let cipher = match ours.cipher {
        IkeCipher::Aes(_) => same(phase1::CIPHER, 7),
        IkeCipher::TripleDes => same(phase1::CIPHER, 5),
    };
    let algorithms = transform.id == KEY_IKE
        && cipher
        && same(phase1::HASH, hash_number(ours.hash))
        && same(phase1::AUTHENTICATION, u32::from(ours.auth.number(we_initiate)))
        && same(phase1::GROUP, u32::from(ours.group.number()));
    if !algorithms {
        return Err(None);
    }
    if let IkeCipher::Aes(bits) = ours.cipher
        && !same(phase1::KEY_LEN, u32::from(bits))
    {
        return Err(None);
    }
    let theirs = seconds(transform, phase1::LIFE_TYPE, phase1::LIFE_DURATION);
    match peer.proposal_check {
        ProposalCheck::Obey => Ok(theirs),
        ProposalCheck::Strict | ProposalCheck::Claim => Ok(theirs.min(ours.lifetime)),
        ProposalCheck::Exact if theirs == ours.lifetime => Ok(theirs),
        ProposalCheck::Exact => Err(Some(format!(
            "the peer's phase 1 lifetime is {theirs} s, ours {} s ({}); proposal_check exact ({}) wants them equal",
            ours.lifetime, ours.origin, peer.check_origin
        ))),
    }
}

/// Checks that what the responder chose is one of ours.
pub(crate) fn accept_phase1(peer: &Peer, body: &[u8]) -> Result<IkeProposal, String> {
    let answer = parse(body)?;
    let chosen = match answer.proposals.as_slice() {
        [proposal] if proposal.protocol == PROTO_ISAKMP && proposal.transforms.len() == 1 => {
            proposal.transforms.first()
        }
        _ => None,
    };
    let chosen = chosen.ok_or("its answer to our phase 1 proposals does not choose exactly one of them")?;
    let as_initiator = Peer { proposal_check: ProposalCheck::Claim, ..peer.clone() };
    for ours in &peer.proposals {
        if let Ok(lifetime) = fits_phase1(&as_initiator, ours, chosen, true) {
            return Ok(IkeProposal { lifetime, ..ours.clone() });
        }
    }
    Err(format!("it chose a phase 1 proposal that we did not make: {}", describe_phase1(chosen)))
}

/// What a quick mode negotiates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EspChoice {
    pub(crate) enc: EncAlgorithm,
    /// Length of the cipher's key in bits, without a salt.
    pub(crate) enc_bits: u16,
    pub(crate) auth: AuthAlgorithm,
    /// Seconds.
    pub(crate) lifetime: u32,
    /// Kilobytes, 0 for no limit.
    pub(crate) kilobytes: u32,
    pub(crate) group: Option<Group>,
}

impl EspChoice {
    /// Bytes of key for the cipher, with the salt of counter modes.
    pub(crate) fn enc_key_len(&self) -> usize {
        usize::from(self.enc_bits) / 8 + self.enc.salt_len()
    }
}

/// The initiator's offer in quick mode, with our SPI.
/// With an index of IPComp that is offered beside.
pub(crate) fn offer_phase2(info: &SaInfo, wrap: Encapsulation, spi: u32, cpi: Option<u16>) -> Vec<u8> {
    let choices = esp_choices(info);
    let transforms = choices.iter().zip(1..=u8::MAX).map(|(choice, number)| Transform {
        number,
        id: esp_id(choice.enc),
        attributes: phase2_attributes(choice, wrap),
    });
    let transforms: Vec<Transform> = transforms.collect();
    let deflate = transforms.first().map(|first| compression::transform(&first.attributes, &ONLY_OF_ESP));
    let spi = spi.to_be_bytes().to_vec();
    let esp = Proposal { number: 1, protocol: PROTO_ESP, spi, transforms };
    // Who cannot compress may take ESP alone.
    let alone = Proposal { number: 2, ..esp.clone() };
    let mut offer = bundle(esp, cpi.zip(deflate));
    if cpi.is_some() && wrap.compression == Compression::Use {
        offer.proposals.push(alone);
    }
    offer.emit()
}

/// Attribute classes that IPComp has no use for.
const ONLY_OF_ESP: [u16; 2] = [phase2::AUTHENTICATION, phase2::KEY_LEN];

/// ESP, and IPComp that is taken together with it.
fn bundle(esp: Proposal, ipcomp: Option<(u16, Transform)>) -> SecurityAssociation {
    let number = esp.number;
    let mut bundle = sa(esp);
    bundle.proposals.extend(ipcomp.map(|(cpi, transform)| compression::proposal(number, cpi, transform)));
    bundle
}

fn esp_choices(info: &SaInfo) -> Vec<EspChoice> {
    let mut list = Vec::new();
    for (enc, bits) in &info.encryption {
        let none = [AuthAlgorithm::None];
        let auths = if enc.is_aead() { &none[..] } else { &info.authentication };
        list.extend(auths.iter().map(|auth| EspChoice {
            enc: *enc,
            enc_bits: *bits,
            auth: *auth,
            lifetime: info.lifetime,
            kilobytes: info.kilobytes,
            group: info.pfs_group,
        }));
    }
    list
}

fn esp_id(enc: EncAlgorithm) -> u8 {
    match enc {
        EncAlgorithm::TripleDesCbc => 3,
        EncAlgorithm::Null => 11,
        EncAlgorithm::AesCbc => 12,
        EncAlgorithm::AesCtr => 13,
        EncAlgorithm::AesGcm16 => 20,
        // IKEv1 has none: that of IKEv2, which no configuration leads to.
        EncAlgorithm::ChaCha20Poly1305 => 28,
    }
}

/// Whether the length of the key has to be said.
fn has_key_length(enc: EncAlgorithm) -> bool {
    enc.key_lengths().len() > 1
}

fn auth_number(auth: AuthAlgorithm) -> Option<u32> {
    match auth {
        AuthAlgorithm::None => None,
        AuthAlgorithm::HmacMd5 => Some(1),
        AuthAlgorithm::HmacSha1 => Some(2),
        // Told apart by nothing that goes over the wire.
        AuthAlgorithm::HmacSha256 | AuthAlgorithm::HmacSha256Cut96 => Some(5),
        AuthAlgorithm::HmacSha384 => Some(6),
        AuthAlgorithm::HmacSha512 => Some(7),
        AuthAlgorithm::AesXcbcMac => Some(9),
    }
}

/// How packets are wrapped: transport or tunnel, and inside UDP when a NAT lies between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Encapsulation {
    pub(crate) mode: Mode,
    pub(crate) udp: Option<Version>,
    /// What the policy says of compression before.
    pub(crate) compression: Compression,
}

impl Encapsulation {
    fn number(self) -> u32 {
        match (self.udp, self.mode) {
            (Some(version), mode) => version.mode_number(mode),
            (None, Mode::Tunnel) => 1,
            (None, _) => 2,
        }
    }

    /// Whether a transform is wrapped so; inside UDP the numbers of the RFC and of the drafts are taken.
    fn fits(self, transform: &Transform) -> bool {
        let said = transform.number_of(phase2::ENCAPSULATION);
        let either = [Version::Rfc, Version::Draft].map(|version| Some(version.mode_number(self.mode)));
        said == Some(self.number()) || self.udp.is_some() && either.contains(&said)
    }
}

/// The mode that the first transform of an offer asks for.
pub(crate) fn offered_mode(body: &[u8]) -> Option<Mode> {
    let offer = parse(body).ok()?;
    let esp = offer.proposals.iter().find(|proposal| proposal.protocol == PROTO_ESP)?;
    let transform = esp.transforms.first()?;
    match transform.number_of(phase2::ENCAPSULATION)? {
        1 | 3 | 61_443 => Some(Mode::Tunnel),
        2 | 4 | 61_444 => Some(Mode::Transport),
        _ => None,
    }
}

/// Whether an offer asks for compression beside its first proposal for ESP.
pub(crate) fn offered_compression(body: &[u8]) -> Compression {
    let Ok(offer) = parse(body) else { return Compression::No };
    let first = offer.proposals.iter().find(|proposal| proposal.protocol == PROTO_ESP);
    let beside = |other: &&Proposal| first.is_some_and(|first| other.number == first.number);
    let acceptable =
        offer.proposals.iter().filter(beside).any(|other| compression::acceptable(other).is_some());
    if acceptable { Compression::Use } else { Compression::No }
}

fn phase2_attributes(choice: &EspChoice, wrap: Encapsulation) -> Vec<Attribute> {
    let mut list = vec![
        Attribute::number(phase2::LIFE_TYPE, SECONDS),
        Attribute::number(phase2::LIFE_DURATION, choice.lifetime),
    ];
    if choice.kilobytes != 0 {
        list.push(Attribute::number(phase2::LIFE_TYPE, KILOBYTES));
        list.push(Attribute::number(phase2::LIFE_DURATION, choice.kilobytes));
    }
    list.push(Attribute::number(phase2::ENCAPSULATION, wrap.number()));
    list.extend(auth_number(choice.auth).map(|number| Attribute::number(phase2::AUTHENTICATION, number)));
    if has_key_length(choice.enc) {
        list.push(Attribute::number(phase2::KEY_LEN, u32::from(choice.enc_bits)));
    }
    list.extend(choice.group.map(|group| Attribute::number(phase2::GROUP, u32::from(group.number()))));
    list
}

/// What a responder takes of a quick mode offer.
#[derive(Debug)]
pub(crate) struct Phase2Choice {
    pub(crate) choice: EspChoice,
    /// The initiator's SPI.
    pub(crate) spi: u32,
    /// Its index of IPComp, where that was taken too.
    pub(crate) cpi: Option<u16>,
    /// Our shorter lifetime in seconds, when the peer has to be told (RESPONDER-LIFETIME).
    pub(crate) claim: Option<u32>,
    number: u8,
    transform: Transform,
    deflate: Option<Transform>,
}

impl Phase2Choice {
    /// Body of the SA payload that answers, with our SPI and our index of IPComp.
    pub(crate) fn answer(&self, spi: u32, cpi: Option<u16>) -> Vec<u8> {
        let transforms = vec![self.transform.clone()];
        let proposal = Proposal {
            number: self.number,
            protocol: PROTO_ESP,
            spi: spi.to_be_bytes().to_vec(),
            transforms,
        };
        bundle(proposal, cpi.zip(self.deflate.clone())).emit()
    }
}

/// Takes the first transform that fits.
pub(crate) fn choose_phase2(
    peer: &Peer,
    info: &SaInfo,
    wrap: Encapsulation,
    body: &[u8],
) -> Result<Phase2Choice, Mismatch> {
    let offer = parse(body)?;
    let ours = esp_choices(info);
    let mut reasons = Vec::new();
    for proposal in &offer.proposals {
        let (PROTO_ESP, Ok(spi)) = (proposal.protocol, <[u8; 4]>::try_from(proposal.spi.as_slice())) else {
            reasons.push(None);
            continue;
        };
        let others = offer.proposals.iter().filter(|other| other.number == proposal.number);
        let others: Vec<&Proposal> = others.filter(|other| !std::ptr::eq(*other, proposal)).collect();
        let ipcomp = match compression::beside(wrap.compression, &others) {
            Ok(ipcomp) => ipcomp,
            Err(reason) => {
                reasons.push(reason);
                continue;
            }
        };
        for transform in &proposal.transforms {
            for ours in &ours {
                match fits_phase2(peer, info, ours, wrap, transform) {
                    Ok((choice, claim)) => {
                        let (number, transform) = (proposal.number, transform.clone());
                        return Ok(Phase2Choice {
                            choice,
                            spi: u32::from_be_bytes(spi),
                            cpi: ipcomp.map(|(cpi, _)| cpi),
                            claim,
                            number,
                            transform,
                            deflate: ipcomp.map(|(_, deflate)| deflate.clone()),
                        });
                    }
                    Err(reason) => reasons.push(reason),
                }
            }
        }
    }
    let of_esp = offer.proposals.iter().filter(|proposal| proposal.protocol == PROTO_ESP);
    let offered = of_esp.flat_map(|proposal| &proposal.transforms).map(describe_phase2);
    Err(explain("phase 2", list(offered), wanted_phase2(info, wrap), &info.origin, &reasons))
}

/// Our proposals of phase 2, for people.
pub(crate) fn wanted_phase2(info: &SaInfo, wrap: Encapsulation) -> String {
    let describe = |ours: &EspChoice| {
        let transform =
            Transform { number: 1, id: esp_id(ours.enc), attributes: phase2_attributes(ours, wrap) };
        format!("{} (sainfo at {})", describe_phase2(&transform), info.origin)
    };
    list(esp_choices(info).iter().map(describe))
}

type Fit = (EspChoice, Option<u32>);

fn fits_phase2(
    peer: &Peer,
    info: &SaInfo,
    ours: &EspChoice,
    wrap: Encapsulation,
    transform: &Transform,
) -> Result<Fit, Option<String>> {
    if transform.id != esp_id(ours.enc)
        || transform.number_of(phase2::AUTHENTICATION) != auth_number(ours.auth)
    {
        return Err(None);
    }
    let check = peer.proposal_check;
    let mut choice = ours.clone();
    if has_key_length(ours.enc) {
        let Some(bits) = transform.number_of(phase2::KEY_LEN).and_then(|bits| u16::try_from(bits).ok())
        else {
            return Err(None);
        };
        let longer = check == ProposalCheck::Obey || bits > ours.enc_bits && check != ProposalCheck::Exact;
        if bits != ours.enc_bits && !longer || !matches!(bits, 128 | 192 | 256) {
            return Err(None);
        }
        choice.enc_bits = bits;
        if !ours.enc.key_lengths().contains(&choice.enc_key_len()) {
            return Err(None);
        }
    }
    if !wrap.fits(transform) {
        return Err(Some(format!(
            "the peer wants {}, our policy {} mode{}",
            encapsulation_name(transform),
            wrap.mode.setkey_name(),
            if wrap.udp.is_some() { " inside UDP, for there is a NAT between" } else { "" }
        )));
    }
    let group = transform.number_of(phase2::GROUP);
    let group_wanted = info.pfs_group.map(|group| u32::from(group.number()));
    let must_equal = match check {
        ProposalCheck::Obey => false,
        ProposalCheck::Exact => true,
        ProposalCheck::Strict | ProposalCheck::Claim => group_wanted.is_some(),
    };
    if must_equal && group != group_wanted {
        return Err(Some(format!(
            "the peer's PFS group is {}, ours {} (pfs_group in the sainfo at {}; proposal_check at {})",
            group.map_or("none".into(), |group| group.to_string()),
            group_wanted.map_or("none".into(), |group| group.to_string()),
            info.origin,
            peer.check_origin
        )));
    }
    choice.group = match group {
        None => None,
        Some(number) => {
            let known = u16::try_from(number).ok().and_then(Group::from_number);
            Some(known.ok_or_else(|| Some(format!("the peer's PFS group {number} is not supported")))?)
        }
    };
    let theirs = seconds(transform, phase2::LIFE_TYPE, phase2::LIFE_DURATION);
    let mine = info.lifetime;
    let mut claim = None;
    choice.lifetime = match check {
        ProposalCheck::Obey => theirs,
        ProposalCheck::Claim if theirs > mine => {
            claim = Some(mine);
            mine
        }
        ProposalCheck::Strict if theirs > mine => {
            return Err(Some(format!(
                "long lifetime proposed: ours {mine} s (sainfo at {}), the peer's {theirs} s; proposal_check strict \
                 ({}) takes none longer than ours: raise ours, or write proposal_check claim or obey",
                info.origin, peer.check_origin
            )));
        }
        ProposalCheck::Exact if theirs != mine => {
            return Err(Some(format!(
                "lifetimes differ: ours {mine} s (sainfo at {}), the peer's {theirs} s; proposal_check exact ({}) \
                 wants them equal",
                info.origin, peer.check_origin
            )));
        }
        _ => theirs,
    };
    let theirs = lifetime(transform, phase2::LIFE_TYPE, phase2::LIFE_DURATION, KILOBYTES).unwrap_or(0);
    // Our own limit holds for us whatever the peer does: 0 is none.
    choice.kilobytes = match (check, theirs, info.kilobytes) {
        (ProposalCheck::Obey, theirs, _) | (_, theirs, 0) => theirs,
        (_, 0, mine) => mine,
        (_, theirs, mine) => theirs.min(mine),
    };
    Ok((choice, claim))
}

/// Checks the responder's choice in quick mode against our offer; returns it with the responder's SPI, and its index of
/// IPComp when it has taken that too.
pub(crate) fn accept_phase2(
    info: &SaInfo,
    wrap: Encapsulation,
    body: &[u8],
) -> Result<(EspChoice, u32, Option<u16>), String> {
    let answer = parse(body)?;
    let none = || "its answer to our phase 2 proposals does not choose exactly one of them".to_owned();
    // strongSwan answers an offer with compression by what it has chosen, and the same without behind it.
    let proposal =
        answer.proposals.iter().find(|proposal| proposal.protocol == PROTO_ESP).ok_or_else(none)?;
    let (bundle, rest): (Vec<&Proposal>, Vec<&Proposal>) =
        answer.proposals.iter().partition(|other| other.number == proposal.number);
    if wrap.compression == Compression::No && !rest.is_empty() {
        return Err(none());
    }
    let others: Vec<&Proposal> = bundle.into_iter().filter(|other| !std::ptr::eq(*other, proposal)).collect();
    let unasked = || "its answer to our phase 2 proposals chooses what we did not offer".to_owned();
    let ipcomp =
        compression::beside(wrap.compression, &others).map_err(|reason| reason.unwrap_or_else(unasked))?;
    let spi = <[u8; 4]>::try_from(proposal.spi.as_slice()).map(u32::from_be_bytes);
    let ([transform], Ok(spi), PROTO_ESP) = (proposal.transforms.as_slice(), spi, proposal.protocol) else {
        return Err("its answer to our phase 2 proposals does not choose exactly one of them".into());
    };
    for ours in esp_choices(info) {
        let same = transform.id == esp_id(ours.enc)
            && transform.number_of(phase2::AUTHENTICATION) == auth_number(ours.auth)
            && wrap.fits(transform)
            && transform.number_of(phase2::GROUP) == ours.group.map(|group| u32::from(group.number()));
        let sized = !has_key_length(ours.enc)
            || transform.number_of(phase2::KEY_LEN) == Some(u32::from(ours.enc_bits));
        if same && sized {
            let theirs = seconds(transform, phase2::LIFE_TYPE, phase2::LIFE_DURATION);
            let choice = EspChoice { lifetime: theirs.min(ours.lifetime), ..ours };
            return Ok((choice, spi, ipcomp.map(|(cpi, _)| cpi)));
        }
    }
    Err(format!("it chose a phase 2 proposal that we did not make: {}", describe_phase2(transform)))
}

fn parse(body: &[u8]) -> Result<SecurityAssociation, String> {
    let sa =
        SecurityAssociation::parse(body).map_err(|error| format!("its proposals cannot be read: {error}"))?;
    if sa.doi != DOI_IPSEC || sa.situation != SITUATION_IDENTITY_ONLY {
        return Err(format!("its proposals are for DOI {} and situation {}", sa.doi, sa.situation));
    }
    Ok(sa)
}

/// The lifetime of this type; each duration follows its type.
fn lifetime(transform: &Transform, type_class: u16, duration_class: u16, wanted: u32) -> Option<u32> {
    let mut current = None;
    for attribute in &transform.attributes {
        if attribute.class == type_class {
            current = attribute.as_number();
        } else if attribute.class == duration_class && current == Some(wanted) {
            return Some(attribute.as_number().unwrap_or(u32::MAX));
        }
    }
    None
}

fn seconds(transform: &Transform, type_class: u16, duration_class: u16) -> u32 {
    // A lifetime of nothing would renew without end.
    lifetime(transform, type_class, duration_class, SECONDS).unwrap_or(DEFAULT_LIFETIME).max(10)
}

/// `RESPONDER-LIFETIME` of `seconds`: the data of the notification.
pub(crate) fn lifetime_attributes(seconds: u32) -> Vec<u8> {
    let mut bytes = vec![0x80, 1, 0, 1, 0, 2, 0, 4];
    bytes.extend_from_slice(&seconds.to_be_bytes());
    bytes
}

/// The seconds of a `RESPONDER-LIFETIME`.
pub(crate) fn lifetime_of_attributes(data: &[u8]) -> Option<u32> {
    let mut rest = data;
    let mut seconds_follow = false;
    while let [a, b, c, d, tail @ ..] = rest {
        let class = u16::from_be_bytes([*a, *b]);
        let value = u16::from_be_bytes([*c, *d]);
        if class == 0x8000 | phase2::LIFE_TYPE {
            seconds_follow = u32::from(value) == SECONDS;
            rest = tail;
        } else if class == 0x8000 | phase2::LIFE_DURATION {
            if seconds_follow {
                return Some(u32::from(value));
            }
            rest = tail;
        } else if class & 0x8000 == 0 {
            let long = tail.get(..usize::from(value))?;
            if class == phase2::LIFE_DURATION && seconds_follow && long.len() <= 4 {
                return Some(long.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)));
            }
            rest = tail.get(usize::from(value)..)?;
        } else {
            rest = tail;
        }
    }
    None
}

fn explain(
    phase: &str,
    offered: String,
    wanted: String,
    origin: &str,
    reasons: &[Option<String>],
) -> Mismatch {
    let mut text = format!("nothing acceptable in {phase}: the peer offers {offered}; we want {wanted}");
    let mut told: Vec<&String> = reasons.iter().flatten().collect();
    told.dedup();
    for reason in told {
        let _ = write!(text, "; {reason}");
    }
    let origin = (!origin.is_empty()).then(|| origin.to_owned());
    Mismatch { explanation: text, origin, ours: Some(wanted), theirs: Some(offered) }
}

/// Not more than a handful: the list comes from the network.
fn list(items: impl Iterator<Item = String>) -> String {
    let mut items: Vec<String> = items.collect();
    items.dedup();
    let more = items.len().saturating_sub(6);
    items.truncate(6);
    let mut text = if items.is_empty() { "nothing".to_owned() } else { items.join(" or ") };
    if more > 0 {
        let _ = write!(text, " or {more} more");
    }
    text
}

fn describe_phase1(transform: &Transform) -> String {
    let number = |class| transform.number_of(class);
    let bits = number(phase1::KEY_LEN).map_or(String::new(), |bits| format!(" {bits}"));
    let cipher = match number(phase1::CIPHER) {
        Some(1) => "des".into(),
        Some(3) => "blowfish".into(),
        Some(5) => "3des".into(),
        Some(7) => format!("aes{bits}"),
        Some(8) => format!("camellia{bits}"),
        other => format!("cipher {}", unknown(other)),
    };
    let hash = match number(phase1::HASH) {
        Some(1) => "md5".into(),
        Some(2) => "sha1".into(),
        Some(4) => "sha256".into(),
        Some(5) => "sha384".into(),
        Some(6) => "sha512".into(),
        other => format!("hash {}", unknown(other)),
    };
    let method = number(phase1::AUTHENTICATION);
    // Named as we would have to write it to answer this offer.
    let known = AuthMethod::ALL.into_iter().find(|known| Some(u32::from(known.number(false))) == method);
    let method = known.map_or_else(
        || format!("authentication method {}", unknown(method)),
        |known| known.name().to_owned(),
    );
    let life = seconds(transform, phase1::LIFE_TYPE, phase1::LIFE_DURATION);
    format!("{cipher}, {hash}, {method}, dh_group {}, {life} s", group(number(phase1::GROUP)))
}

fn describe_phase2(transform: &Transform) -> String {
    let number = |class| transform.number_of(class);
    let bits = number(phase2::KEY_LEN).map_or(String::new(), |bits| format!(" {bits}"));
    let cipher = match transform.id {
        2 => "des".into(),
        3 => "3des".into(),
        7 => format!("blowfish{bits}"),
        11 => "null_enc".into(),
        12 => format!("aes{bits}"),
        13 => format!("aes_ctr{bits}"),
        20 => format!("aes_gcm_16{bits}"),
        other => format!("cipher {other}"),
    };
    let auth = match number(phase2::AUTHENTICATION) {
        None => "no authentication".into(),
        Some(1) => "hmac_md5".into(),
        Some(2) => "hmac_sha1".into(),
        Some(5) => "hmac_sha256".into(),
        Some(6) => "hmac_sha384".into(),
        Some(7) => "hmac_sha512".into(),
        other => format!("authentication {}", unknown(other)),
    };
    let pfs =
        number(phase2::GROUP).map_or("no PFS".into(), |number| format!("pfs_group {}", group(Some(number))));
    let life = seconds(transform, phase2::LIFE_TYPE, phase2::LIFE_DURATION);
    format!("{cipher}, {auth}, {pfs}, {life} s")
}

fn encapsulation_name(transform: &Transform) -> &'static str {
    match transform.number_of(phase2::ENCAPSULATION) {
        Some(1) => "tunnel mode",
        Some(2) => "transport mode",
        Some(3 | 61_443) => "tunnel mode inside UDP",
        Some(4 | 61_444) => "transport mode inside UDP",
        _ => "another mode",
    }
}

fn group(number: Option<u32>) -> String {
    let known = number.and_then(|number| u16::try_from(number).ok()).and_then(Group::from_number);
    known.map_or_else(|| unknown(number), |group| group.to_string())
}

fn unknown(number: Option<u32>) -> String {
    number.map_or_else(|| "not given".into(), |number| number.to_string())
}
