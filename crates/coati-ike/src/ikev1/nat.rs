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

/// The versions that are understood, the best first.
const VENDOR_IDS: [(Version, [u8; 16]); 11] = [
    (Version::Rfc, *b"\x4a\x13\x1c\x81\x07\x03\x58\x45\x5c\x57\x28\xf2\x0e\x95\x45\x2f"),
    (Version::Late, *b"\x8f\x8d\x83\x82\x6d\x24\x6b\x6f\xc7\xa8\xa6\xa4\x28\xc1\x1d\xe8"),
    (Version::Late, *b"\x43\x9b\x59\xf8\xba\x67\x6c\x4c\x77\x37\xae\x22\xea\xb8\xf5\x82"),
    (Version::Late, *b"\x4d\x1e\x0e\x13\x6d\xea\xfa\x34\xc4\xf3\xea\x9f\x02\xec\x72\x85"),
    (Version::Late, *b"\x80\xd0\xbb\x3d\xef\x54\x56\x5e\xe8\x46\x45\xd4\xc8\x5c\xe3\xee"),
    (Version::Late, *b"\x99\x09\xb6\x4e\xed\x93\x7c\x65\x73\xde\x52\xac\xe9\x52\xfa\x6b"),
    (Version::Draft, *b"\x7d\x94\x19\xa6\x53\x10\xca\x6f\x2c\x17\x9d\x92\x15\x52\x9d\x56"),
    (Version::Draft, *b"\x90\xcb\x80\x91\x3e\xbb\x69\x6e\x08\x63\x81\xb5\xec\x42\x7b\x1f"),
    (Version::Draft, *b"\xcd\x60\x46\x43\x35\xdf\x21\xf8\x7c\xfd\xb2\xfc\x68\xb6\xa4\x48"),
    (Version::First, *b"\x16\xf6\xca\x16\xe4\xa4\x06\x6d\x83\x82\x1a\x0f\x0a\xea\xa8\x62"),
    (Version::First, *b"\x44\x85\x15\x2d\x18\xb6\xbb\xcd\x0b\xe8\xa8\x46\x95\x79\xdd\xcc"),
];

/// Whose numbers are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// RFC 3947's.
    Rfc,
    /// Those of the drafts 04 to 08, which nobody speaks who does not know others too: not offered, but understood.
    Late,
    /// Those of the drafts 02 and 03.
    Draft,
    /// Those of the drafts 00 and 01, which stay on port 500: ESP begins with eight zero bytes there.
    First,
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
    let spoken = VENDOR_IDS.iter().filter(|(version, _)| *version != Version::Late);
    spoken.map(|(_, id)| (kind::VENDOR_ID, id.to_vec())).collect()
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
    /// Whether IKE moves to port 4500 when there is a NAT.
    pub(crate) fn floats(self) -> bool {
        self != Self::First
    }

    fn nat_d(self) -> u8 {
        match self {
            Self::Rfc => kind::NAT_D,
            Self::Late => kind::NAT_D_LATE_DRAFT,
            Self::Draft | Self::First => kind::NAT_D_DRAFT,
        }
    }

    /// Kind of the payload that carries an original address.
    pub(crate) fn nat_oa(self) -> u8 {
        match self {
            Self::Rfc => kind::NAT_OA,
            Self::Late => kind::NAT_OA_LATE_DRAFT,
            Self::Draft | Self::First => kind::NAT_OA_DRAFT,
        }
    }

    /// The number of an encapsulation mode inside UDP.
    pub(crate) fn mode_number(self, mode: Mode) -> u32 {
        match (self, mode) {
            (Self::Rfc | Self::Late, Mode::Tunnel) => 3,
            (Self::Rfc | Self::Late, _) => 4,
            (Self::Draft | Self::First, Mode::Tunnel) => 61_443,
            (Self::Draft | Self::First, _) => 61_444,
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
