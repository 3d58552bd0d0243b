//! Messages: headers around chains of payloads, encryption, and the hashes of phase 2 (RFC 2409 section 5.5).

use coati_crypto::constant_time_eq;
use coati_wire::isakmp::{self, Header, Payload, flag, kind};

use super::keys::Keys;
use super::phase1::Phase1;

/// Longest nonce that is taken (RFC 2409 section 5).
const NONCE_LEN: std::ops::RangeInclusive<usize> = 8..=256;

/// A message in clear.
pub(crate) fn clear(cookies: [[u8; 8]; 2], exchange: u8, message_id: u32, list: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let (first, body) = isakmp::chain(list);
    assemble(cookies, exchange, 0, message_id, first, &body)
}

/// An encrypted message; `iv` moves on.
pub(crate) fn sealed(
    sa: &Phase1,
    keys: &Keys,
    iv: &mut Vec<u8>,
    exchange: u8,
    message_id: u32,
    chain: (u8, Vec<u8>),
) -> Vec<u8> {
    sealed_with(sa, keys, iv, (exchange, 0), message_id, chain)
}

/// As [`sealed`], with more flags beside the exchange type.
pub(crate) fn sealed_with(
    sa: &Phase1,
    keys: &Keys,
    iv: &mut Vec<u8>,
    (exchange, flags): (u8, u8),
    message_id: u32,
    chain: (u8, Vec<u8>),
) -> Vec<u8> {
    let (first, mut body) = chain;
    keys.encrypt(iv, &mut body);
    assemble(sa.cookies, exchange, flags | flag::ENCRYPTED, message_id, first, &body)
}

fn assemble(
    cookies: [[u8; 8]; 2],
    exchange: u8,
    flags: u8,
    message_id: u32,
    first: u8,
    body: &[u8],
) -> Vec<u8> {
    let [initiator_cookie, responder_cookie] = cookies;
    let header =
        Header { initiator_cookie, responder_cookie, next_payload: first, exchange, flags, message_id };
    let mut bytes = header.emit(body.len()).to_vec();
    bytes.extend_from_slice(body);
    bytes
}

/// A chain with the hash of phase 2 in front: prf(SKEYID_a, M-ID | `before` | the rest).
pub(crate) fn with_hash(
    keys: &Keys,
    message_id: u32,
    before: &[u8],
    list: &[(u8, Vec<u8>)],
) -> (u8, Vec<u8>) {
    let (next, rest) = isakmp::chain(list);
    let hash = keys.a.sign(&[&message_id.to_be_bytes(), before, &rest]);
    let (_, mut bytes) = isakmp::chain(&[(kind::HASH, hash)]);
    if let Some(first) = bytes.first_mut() {
        *first = next;
    }
    bytes.extend_from_slice(&rest);
    (kind::HASH, bytes)
}

/// The payloads behind the hash, when it is right.
pub(crate) fn check_hash<'a>(
    keys: &Keys,
    message_id: u32,
    before: &[u8],
    first: u8,
    plain: &'a [u8],
) -> Option<Vec<Payload<'a>>> {
    let mut list = isakmp::payloads(first, plain).ok()?;
    let hash = *list.first().filter(|payload| payload.kind == kind::HASH)?;
    let rest = plain.get(hash.end..list.last()?.end)?;
    let expected = keys.a.sign(&[&message_id.to_be_bytes(), before, rest]);
    if !constant_time_eq(&expected, hash.body) {
        return None;
    }
    list.remove(0);
    Some(list)
}

/// The body of the first payload of this kind.
pub(crate) fn find<'a>(list: &[Payload<'a>], wanted: u8) -> Option<&'a [u8]> {
    list.iter().find(|payload| payload.kind == wanted).map(|payload| payload.body)
}

/// The nonce, when its length is allowed.
pub(crate) fn nonce(list: &[Payload<'_>]) -> Option<Vec<u8>> {
    find(list, kind::NONCE).filter(|nonce| NONCE_LEN.contains(&nonce.len())).map(<[u8]>::to_vec)
}
