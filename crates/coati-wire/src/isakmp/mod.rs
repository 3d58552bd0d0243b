//! ISAKMP (RFC 2408) with the payloads of IKE (RFC 2409) and the IPsec DOI (RFC 2407).
//!
//! ```text
//!  0..8 initiator cookie  8..16 responder cookie  16 next payload  17 version  18 exchange  19 flags
//!  20..24 message id  24..28 length;  then payloads: next payload (1), reserved (1), length (2), body
//! ```

mod certificate;
mod configuration;
mod payload;
mod sa;

pub use certificate::Certificate;
pub use configuration::Configuration;
pub use payload::{Delete, Fragment, Identity, Notification};
pub use sa::{Attribute, AttributeValue, Proposal, SecurityAssociation, Transform};

use crate::WireError;
use crate::error::{array, u16_at, u32_at};

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 28;
/// Payloads in one message at the most.
pub const MAX_PAYLOADS: usize = 64;
/// Major version 1, minor version 0.
pub const VERSION_1_0: u8 = 0x10;

/// Payload types (RFC 2408 section 3.1, RFC 3947, and the fragment payload of Cisco and Microsoft).
pub mod kind {
    /// Security association.
    pub const SA: u8 = 1;
    /// Proposal, inside a security association.
    pub const PROPOSAL: u8 = 2;
    /// Transform, inside a proposal.
    pub const TRANSFORM: u8 = 3;
    /// Key exchange.
    pub const KE: u8 = 4;
    /// Identification.
    pub const ID: u8 = 5;
    /// Certificate.
    pub const CERT: u8 = 6;
    /// Certificate request.
    pub const CR: u8 = 7;
    /// Hash.
    pub const HASH: u8 = 8;
    /// Signature.
    pub const SIG: u8 = 9;
    /// Nonce.
    pub const NONCE: u8 = 10;
    /// Notification.
    pub const NOTIFICATION: u8 = 11;
    /// Delete.
    pub const DELETE: u8 = 12;
    /// Vendor id.
    pub const VENDOR_ID: u8 = 13;
    /// Attributes of the configuration exchange.
    pub const ATTRIBUTES: u8 = 14;
    /// NAT discovery, as the drafts 04 to 08 before RFC 3947 number it.
    pub const NAT_D_LATE_DRAFT: u8 = 15;
    /// NAT original address, as the drafts 04 to 08 number it.
    pub const NAT_OA_LATE_DRAFT: u8 = 16;
    /// NAT discovery (RFC 3947).
    pub const NAT_D: u8 = 20;
    /// NAT original address (RFC 3947).
    pub const NAT_OA: u8 = 21;
    /// NAT discovery, as the drafts 00 to 03 number it.
    pub const NAT_D_DRAFT: u8 = 130;
    /// NAT original address, as the drafts 00 to 03 number it.
    pub const NAT_OA_DRAFT: u8 = 131;
    /// A piece of a message.
    pub const FRAGMENT: u8 = 132;
}

/// Exchange types.
pub mod exchange {
    /// Main mode.
    pub const IDENTITY_PROTECTION: u8 = 2;
    /// Aggressive mode.
    pub const AGGRESSIVE: u8 = 4;
    /// Informational.
    pub const INFORMATIONAL: u8 = 5;
    /// Configuration.
    pub const TRANSACTION: u8 = 6;
    /// Quick mode.
    pub const QUICK: u8 = 32;
}

/// Bits of the flags field.
pub mod flag {
    /// What follows the header is encrypted.
    pub const ENCRYPTED: u8 = 1;
    /// Commit.
    pub const COMMIT: u8 = 2;
    /// Authenticated only.
    pub const AUTHENTICATION_ONLY: u8 = 4;
    /// All that there are; the others have to be 0.
    pub const ALL: u8 = 7;
}

/// The header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Chosen by the initiator, never 0.
    pub initiator_cookie: [u8; 8],
    /// Chosen by the responder, 0 in the first message.
    pub responder_cookie: [u8; 8],
    /// Type of the first payload.
    pub next_payload: u8,
    /// Exchange type.
    pub exchange: u8,
    /// Flags.
    pub flags: u8,
    /// 0 in phase 1.
    pub message_id: u32,
}

impl Header {
    /// Reads the header and returns it with the payloads, which are as long as it says.
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), WireError> {
        const WHAT: &str = "ISAKMP header";
        let [next_payload, version, exchange, flags] = array(WHAT, bytes, 16)?;
        let message_id = u32_at(WHAT, bytes, 20)?;
        let length = u32_at(WHAT, bytes, 24)? as usize;
        if version >> 4 != VERSION_1_0 >> 4 {
            return Err(WireError::Version { what: WHAT, found: version });
        }
        let body = bytes
            .get(HEADER_LEN..length)
            .ok_or(WireError::Length { what: "ISAKMP message length", found: length })?;
        let initiator_cookie = array(WHAT, bytes, 0)?;
        if initiator_cookie == [0; 8] {
            return Err(WireError::Value { what: "ISAKMP initiator cookie", found: 0 });
        }
        let responder_cookie = array(WHAT, bytes, 8)?;
        Ok((Self { initiator_cookie, responder_cookie, next_payload, exchange, flags, message_id }, body))
    }

    /// The header of a message with a body of this length.
    pub fn emit(&self, body_len: usize) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..8].copy_from_slice(&self.initiator_cookie);
        bytes[8..16].copy_from_slice(&self.responder_cookie);
        bytes[16..20].copy_from_slice(&[self.next_payload, VERSION_1_0, self.exchange, self.flags]);
        bytes[20..24].copy_from_slice(&self.message_id.to_be_bytes());
        let length = u32::try_from(HEADER_LEN + body_len).unwrap_or(u32::MAX);
        bytes[24..].copy_from_slice(&length.to_be_bytes());
        bytes
    }
}

/// One payload: its type, its body without the generic header, and where it ends in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload<'a> {
    /// Type.
    pub kind: u8,
    /// Body.
    pub body: &'a [u8],
    /// Offset of the byte behind it, from the beginning of the chain.
    pub end: usize,
}

/// All payloads of a chain that begins with one of type `first`. What follows the last one (padding of an encrypted
/// message) is not looked at; its length is what is left behind the last payload's `end`.
pub fn payloads(first: u8, bytes: &[u8]) -> Result<Vec<Payload<'_>>, WireError> {
    const WHAT: &str = "ISAKMP payload";
    let mut list = Vec::new();
    let (mut kind, mut at) = (first, 0usize);
    while kind != 0 {
        if list.len() == MAX_PAYLOADS {
            return Err(WireError::TooMany { what: "ISAKMP payloads", limit: MAX_PAYLOADS });
        }
        let rest = bytes.get(at..).unwrap_or(&[]);
        let [next, _reserved] = array(WHAT, rest, 0)?;
        let length = usize::from(u16_at(WHAT, rest, 2)?);
        let body =
            rest.get(4..length).ok_or(WireError::Length { what: "ISAKMP payload length", found: length })?;
        at += length;
        list.push(Payload { kind, body, end: at });
        kind = next;
    }
    Ok(list)
}

/// The bytes of a chain of payloads, and the type of the first.
pub fn chain(payloads: &[(u8, Vec<u8>)]) -> (u8, Vec<u8>) {
    let mut bytes = Vec::new();
    for (index, (_, body)) in payloads.iter().enumerate() {
        let next = payloads.get(index + 1).map_or(0, |(kind, _)| *kind);
        bytes.extend_from_slice(&[next, 0]);
        bytes.extend_from_slice(&u16::try_from(body.len() + 4).unwrap_or(u16::MAX).to_be_bytes());
        bytes.extend_from_slice(body);
    }
    (payloads.first().map_or(0, |(kind, _)| *kind), bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn emit_then_parse(icookie in any::<[u8; 8]>().prop_filter("not 0", |c| *c != [0; 8]), rcookie: [u8; 8],
                           exchange: u8, flags: u8, message_id: u32,
                           list in prop::collection::vec((1u8..=255, prop::collection::vec(any::<u8>(), 0..40)), 1..8)) {
            let (next_payload, body) = chain(&list);
            let header = Header { initiator_cookie: icookie, responder_cookie: rcookie, next_payload, exchange, flags, message_id };
            let mut bytes = header.emit(body.len()).to_vec();
            bytes.extend_from_slice(&body);
            let (parsed, rest) = Header::parse(&bytes).unwrap();
            prop_assert_eq!(parsed, header);
            let found: Vec<(u8, Vec<u8>)> = payloads(parsed.next_payload, rest).unwrap().iter().map(|p| (p.kind, p.body.to_vec())).collect();
            prop_assert_eq!(found, list);
        }

        #[test]
        fn any_bytes(first: u8, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Header::parse(&bytes);
            if let Ok(list) = payloads(first, &bytes) {
                for payload in list {
                    let _ = SecurityAssociation::parse(payload.body);
                    let _ = Identity::parse(payload.body);
                    let _ = Notification::parse(payload.body);
                    let _ = Delete::parse(payload.body);
                    let _ = Fragment::parse(payload.body);
                }
            }
        }
    }

    #[test]
    fn lengths_that_lie() {
        // CVE-2004-0403: a length of 4 GiB in the header; CVE-2004-0218: payloads of length 0 to 3.
        let header = Header {
            initiator_cookie: [1; 8],
            responder_cookie: [0; 8],
            next_payload: 1,
            exchange: 2,
            flags: 0,
            message_id: 0,
        };
        let mut bytes = header.emit(0).to_vec();
        bytes[24..28].copy_from_slice(&[0xff; 4]);
        assert!(Header::parse(&bytes).is_err());
        for length in 0..4 {
            assert!(payloads(1, &[1, 0, 0, length, 0, 0]).is_err());
        }
        let many: Vec<u8> = [13u8, 0, 0, 4].repeat(100);
        assert_eq!(
            payloads(13, &many),
            Err(WireError::TooMany { what: "ISAKMP payloads", limit: MAX_PAYLOADS })
        );
    }
}
