//! NAT traversal (RFC 3947 and the drafts before it): is there a NAT between, on whose side, and what to do then.
//!
//! Both sides announce it by vendor ids, compare hashes of the addresses they see (NAT-D), and when they differ the
//! initiator moves to port 4500, where messages of IKE begin with four zero bytes and everything else is ESP (RFC 3948).

use std::net::{IpAddr, SocketAddr};

use coati_crypto::hash::HashAlgorithm;
use coati_sadb::Mode;
use coati_wire::isakmp::{Payload, kind};

use super::phase1::Phase1;
use crate::config::{NatTraversal, Peer};

/// What messages of IKE begin with on the port that ESP has too (RFC 3948 section 2.2).
pub(crate) const NON_ESP_MARKER: [u8; 4] = [0; 4];
/// What keeps the mapping of a NAT alive (RFC 3948 section 2.3).
pub(crate) const KEEPALIVE: [u8; 1] = [0xff];

/// The versions that are spoken, the best first.
const VENDOR_IDS: [(Version, [u8; 16]); 4] = [
    (Version::Rfc, *b"\x4a\x13\x1c\x81\x07\x03\x58\x45\x5c\x57\x28\xf2\x0e\x95\x45\x2f"),
    (Version::Draft, *b"\x7d\x94\x19\xa6\x53\x10\xca\x6f\x2c\x17\x9d\x92\x15\x52\x9d\x56"),
    (Version::Draft, *b"\x90\xcb\x80\x91\x3e\xbb\x69\x6e\x08\x63\x81\xb5\xec\x42\x7b\x1f"),
    (Version::Draft, *b"\xcd\x60\x46\x43\x35\xdf\x21\xf8\x7c\xfd\xb2\xfc\x68\xb6\xa4\x48"),
];

/// Whose numbers are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// RFC 3947's.
    Rfc,
    /// Those of the drafts 02 and 03.
    Draft,
}

/// What is known of NATs on the way to a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Nat {
    /// Both sides can do it.
    pub(crate) version: Option<Version>,
    /// The peer sees us under another address or port than we do.
    pub(crate) before_us: bool,
    /// We see the peer under another one than it does itself.
    pub(crate) before_peer: bool,
}

impl Nat {
    /// Whether ESP goes inside UDP.
    pub(crate) fn found(&self) -> bool {
        self.version.is_some() && (self.before_us || self.before_peer)
    }
}

/// What an initiator announces.
pub(crate) fn offered(peer: &Peer) -> Vec<(u8, Vec<u8>)> {
    if peer.nat_traversal == NatTraversal::Off {
        return Vec::new();
    }
    VENDOR_IDS.iter().map(|(_, id)| (kind::VENDOR_ID, id.to_vec())).collect()
}

/// The best version that a peer announces, when we want any.
pub(crate) fn common(peer: &Peer, list: &[Payload<'_>]) -> Option<Version> {
    if peer.nat_traversal == NatTraversal::Off {
        return None;
    }
    let said = |id: &[u8]| list.iter().any(|payload| payload.kind == kind::VENDOR_ID && payload.body == id);
    VENDOR_IDS.iter().find(|(_, id)| said(id)).map(|(version, _)| *version)
}

/// What a responder answers: the one version that it has chosen.
pub(crate) fn chosen(version: Version, list: &[Payload<'_>]) -> Option<(u8, Vec<u8>)> {
    let said = |id: &[u8]| list.iter().any(|payload| payload.kind == kind::VENDOR_ID && payload.body == id);
    let id = VENDOR_IDS.iter().find(|(known, id)| *known == version && said(id))?;
    Some((kind::VENDOR_ID, id.1.to_vec()))
}

impl Version {
    fn nat_d(self) -> u8 {
        match self {
            Self::Rfc => kind::NAT_D,
            Self::Draft => kind::NAT_D_DRAFT,
        }
    }

    /// Kind of the payload that carries an original address.
    pub(crate) fn nat_oa(self) -> u8 {
        match self {
            Self::Rfc => kind::NAT_OA,
            Self::Draft => kind::NAT_OA_DRAFT,
        }
    }

    /// The number of an encapsulation mode inside UDP.
    pub(crate) fn mode_number(self, mode: Mode) -> u32 {
        match (self, mode) {
            (Self::Rfc, Mode::Tunnel) => 3,
            (Self::Rfc, _) => 4,
            (Self::Draft, Mode::Tunnel) => 61_443,
            (Self::Draft, _) => 61_444,
        }
    }
}

/// The NAT-D payloads of our side: first the destination as we see it, then ourselves.
pub(crate) fn detection(sa: &Phase1, force: bool) -> Vec<(u8, Vec<u8>)> {
    let (Some(version), Some(hash)) = (sa.nat.version, sa.proposal.as_ref().map(|proposal| proposal.hash))
    else {
        return Vec::new();
    };
    let mut own = address_hash(hash, sa.cookies, sa.local);
    if force && let Some(first) = own.first_mut() {
        // No address has this hash, so the peer believes in a NAT before us.
        *first ^= 0xff;
    }
    let of_peer = address_hash(hash, sa.cookies, sa.remote);
    vec![(version.nat_d(), of_peer), (version.nat_d(), own)]
}

/// Reads the peer's NAT-D payloads.
pub(crate) fn detect(sa: &mut Phase1, list: &[Payload<'_>], force: bool) {
    let (Some(version), Some(hash)) = (sa.nat.version, sa.proposal.as_ref().map(|proposal| proposal.hash))
    else {
        return;
    };
    let given: Vec<&[u8]> =
        list.iter().filter(|payload| payload.kind == version.nat_d()).map(|payload| payload.body).collect();
    let [us, peer @ ..] = given.as_slice() else {
        // It announced the ability and does not use it.
        sa.nat.version = None;
        return;
    };
    sa.nat.before_us = force || *us != address_hash(hash, sa.cookies, sa.local).as_slice();
    let of_peer = address_hash(hash, sa.cookies, sa.remote);
    sa.nat.before_peer = !peer.contains(&of_peer.as_slice());
}

/// HASH(CKY-I | CKY-R | IP | port), RFC 3947 section 3.2.
fn address_hash(hash: HashAlgorithm, cookies: [[u8; 8]; 2], end: SocketAddr) -> Vec<u8> {
    let [initiator, responder] = &cookies;
    let port = end.port().to_be_bytes();
    match end.ip() {
        IpAddr::V4(address) => hash.digest(&[initiator, responder, &address.octets(), &port]),
        IpAddr::V6(address) => hash.digest(&[initiator, responder, &address.octets(), &port]),
    }
}

/// The body of a NAT-OA payload.
pub(crate) fn original_address(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => [&[1, 0, 0, 0][..], &address.octets()].concat(),
        IpAddr::V6(address) => [&[5, 0, 0, 0][..], &address.octets()].concat(),
    }
}

/// The addresses of the NAT-OA payloads: the initiator's, then the responder's.
pub(crate) fn original_addresses(version: Version, list: &[Payload<'_>]) -> Vec<IpAddr> {
    let given = list.iter().filter(|payload| payload.kind == version.nat_oa());
    let read = |payload: &Payload<'_>| match payload.body {
        [1, _, _, _, a, b, c, d] => Some(IpAddr::from([*a, *b, *c, *d])),
        [5, _, _, _, address @ ..] => <[u8; 16]>::try_from(address).ok().map(IpAddr::from),
        _ => None,
    };
    given.filter_map(read).take(2).collect()
}
