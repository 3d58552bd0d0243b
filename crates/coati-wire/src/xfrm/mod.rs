//! XFRM netlink (linux/xfrm.h, linux/netlink.h): what Linux' SPD and SAD are asked and what they tell.
//!
//! ```text
//!  0..4 length  4..6 type  6..8 flags  8..12 sequence  12..16 port   then a structure, padded to 4 bytes, and
//!  attributes: 0..2 length  2..4 type  …                             (numbers in host order, SPIs and ports not)
//! ```
//!
//! The crate of rust-netlink for it panics on a message that is too short, and its keys print themselves and are not
//! wiped. Here keys are borrowed from the bytes that they came in: who owns those wipes them.

mod attribute;
mod fields;
mod structures;

pub use attribute::{Algorithm, Attribute, Encap, Offload, ReplayEsn, Template, encap, offload};
pub use structures::{
    Acquire, Address, Expire, Id, LifetimeLimits, LifetimeUsed, Mapping, NO_LIMIT, PolicyId, PolicyInfo,
    SaId, SaInfo, Selector, SpiRange, action, direction, family, mode, sa_flag,
};

use crate::WireError;
use fields::{Fields, align};

/// Length of `nlmsghdr`, in bytes.
pub const HEADER_LEN: usize = 16;

/// Flags of requests and answers (`NLM_F_*`).
pub mod flag {
    /// A request.
    pub const REQUEST: u16 = 1;
    /// There are more messages of this answer.
    pub const MULTI: u16 = 2;
    /// An answer is wanted even when there is nothing to say.
    pub const ACK: u16 = 4;
    /// Everything there is.
    pub const DUMP: u16 = 0x300;
    /// In an error: the request is quoted without what stood behind its header.
    pub const CAPPED: u16 = 0x100;
    /// In an error: attributes follow, among them a text.
    pub const ACK_TLVS: u16 = 0x200;
}

/// Types of messages (`NLMSG_*`, `XFRM_MSG_*`).
mod kind {
    pub(super) const ERROR: u16 = 2;
    pub(super) const DONE: u16 = 3;
    pub(super) const NEW_SA: u16 = 0x10;
    pub(super) const DELETE_SA: u16 = 0x11;
    pub(super) const GET_SA: u16 = 0x12;
    pub(super) const NEW_POLICY: u16 = 0x13;
    pub(super) const DELETE_POLICY: u16 = 0x14;
    pub(super) const GET_POLICY: u16 = 0x15;
    pub(super) const ALLOCATE_SPI: u16 = 0x16;
    pub(super) const ACQUIRE: u16 = 0x17;
    pub(super) const EXPIRE: u16 = 0x18;
    pub(super) const UPDATE_POLICY: u16 = 0x19;
    pub(super) const UPDATE_SA: u16 = 0x1a;
    pub(super) const FLUSH_SAS: u16 = 0x1c;
    pub(super) const FLUSH_POLICIES: u16 = 0x1d;
    pub(super) const MAPPING: u16 = 0x26;
}

/// Bytes that no message with keys needs more than for the rest: an SA with a full replay window.
const LONGEST_BUT_KEYS: usize = 2048;

/// `NLMSGERR_ATTR_MSG`.
const ERROR_TEXT: u16 = 1;

/// What a message says, without its attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// An SA to be made, or one that is there.
    NewSa(SaInfo),
    /// An SA that takes the place of a larval one, or that changes.
    UpdateSa(SaInfo),
    /// An SA to be removed, or one that is gone.
    DeleteSa(SaId),
    /// One SA is wanted.
    GetSa(SaId),
    /// All SAs are wanted.
    DumpSas,
    /// All SAs of an IP protocol go; 0: all.
    FlushSas(u8),
    /// An SPI is to be reserved.
    AllocateSpi(SpiRange),
    /// A policy to be made, or one that is there.
    NewPolicy(PolicyInfo),
    /// A policy to be made, or to take the place of one with the same selector.
    UpdatePolicy(PolicyInfo),
    /// A policy to be removed, or one that is gone.
    DeletePolicy(PolicyId),
    /// One policy is wanted.
    GetPolicy(PolicyId),
    /// All policies are wanted.
    DumpPolicies,
    /// All policies go.
    FlushPolicies,
    /// A packet has met a policy that has no SA.
    Acquire(Acquire),
    /// A limit is reached.
    Expire(Expire),
    /// An authentic packet in UDP has come from elsewhere than those before.
    Mapping(Mapping),
    /// The end of an answer of several messages; an `errno`, or 0.
    Done(i32),
    /// A request was carried out (0), or not.
    Error {
        /// `errno`, positive.
        errno: i32,
        /// What the kernel says about it.
        text: Option<&'a str>,
    },
    /// A message of a type that is not looked into.
    Other(u16),
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Of [`flag`].
    pub flags: u16,
    /// Ties answers to requests.
    pub sequence: u32,
    /// What it says.
    pub body: Body<'a>,
    /// What it says besides.
    pub attributes: Vec<Attribute<'a>>,
}

impl<'a> Message<'a> {
    /// A request, to be answered in any case.
    pub fn request(body: Body<'a>, attributes: Vec<Attribute<'a>>) -> Self {
        let dump = matches!(body, Body::DumpSas | Body::DumpPolicies);
        let flags = flag::REQUEST | if dump { flag::DUMP } else { flag::ACK };
        Self { flags, sequence: 0, body, attributes }
    }

    /// Reads the message that `bytes` begin with, and returns it with what follows.
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), WireError> {
        const WHAT: &str = "netlink message";
        let mut header = Fields::new(WHAT, bytes);
        let length = header.u32()? as usize;
        let (kind, flags, sequence) = (header.u16()?, header.u16()?, header.u32()?);
        let wrong = WireError::Length { what: WHAT, found: length };
        let mut fields = Fields::new(WHAT, bytes.get(HEADER_LEN..length).ok_or(wrong)?);
        let body = Body::parse(kind, flags, &mut fields)?;
        let attributes = match body {
            Body::Done(_) | Body::Error { .. } | Body::Other(_) => Vec::new(),
            _ => Attribute::parse_all(fields.rest_aligned())?,
        };
        let rest = bytes.get(align(length)..).unwrap_or(&[]);
        Ok((Self { flags, sequence, body, attributes }, rest))
    }

    /// Its bytes. There may be keys in them, and nowhere else: there is room for all from the beginning.
    pub fn emit(&self) -> Vec<u8> {
        let keys: usize = self.attributes.iter().map(Attribute::key_len).sum();
        let mut bytes = Vec::with_capacity(LONGEST_BUT_KEYS + keys);
        bytes.resize(HEADER_LEN, 0);
        let kind = self.body.emit(&mut bytes);
        bytes.resize(align(bytes.len()), 0);
        for attribute in &self.attributes {
            attribute.emit(&mut bytes);
        }
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let numbers = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &self.flags.to_ne_bytes()].concat();
        for (to, from) in bytes.iter_mut().zip(numbers.iter().chain(&self.sequence.to_ne_bytes())) {
            *to = *from;
        }
        bytes
    }
}

/// The messages in a datagram; the last is an error when there is something else in it.
pub fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Result<Message<'_>, WireError>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        match Message::parse(bytes) {
            Ok((message, rest)) => {
                bytes = rest;
                Some(Ok(message))
            }
            Err(error) => {
                bytes = &[];
                Some(Err(error))
            }
        }
    })
}

impl<'a> Body<'a> {
    fn parse(kind: u16, flags: u16, fields: &mut Fields<'a>) -> Result<Self, WireError> {
        let is_dump = flags & flag::DUMP == flag::DUMP;
        Ok(match kind {
            kind::NEW_SA => Self::NewSa(SaInfo::parse(fields)?),
            kind::UPDATE_SA => Self::UpdateSa(SaInfo::parse(fields)?),
            kind::DELETE_SA => Self::DeleteSa(SaId::parse(fields)?),
            kind::GET_SA if is_dump => Self::DumpSas,
            kind::GET_SA => Self::GetSa(SaId::parse(fields)?),
            kind::FLUSH_SAS => Self::FlushSas(fields.u8()?),
            kind::ALLOCATE_SPI => Self::AllocateSpi(SpiRange::parse(fields)?),
            kind::NEW_POLICY => Self::NewPolicy(PolicyInfo::parse(fields)?),
            kind::UPDATE_POLICY => Self::UpdatePolicy(PolicyInfo::parse(fields)?),
            kind::DELETE_POLICY => Self::DeletePolicy(PolicyId::parse(fields)?),
            kind::GET_POLICY if is_dump => Self::DumpPolicies,
            kind::GET_POLICY => Self::GetPolicy(PolicyId::parse(fields)?),
            kind::FLUSH_POLICIES => Self::FlushPolicies,
            kind::ACQUIRE => Self::Acquire(Acquire::parse(fields)?),
            kind::EXPIRE => Self::Expire(Expire::parse(fields)?),
            kind::MAPPING => Self::Mapping(Mapping::parse(fields)?),
            // Whoever leaves the number out has nothing to complain about.
            kind::DONE => Self::Done(fields.u32().map_or(0, errno)),
            kind::ERROR => {
                let errno = errno(fields.u32()?);
                let text = (flags & flag::ACK_TLVS != 0).then(|| error_text(fields, flags)).flatten();
                Self::Error { errno, text }
            }
            other => Self::Other(other),
        })
    }

    /// Appends its bytes; its type.
    fn emit(&self, bytes: &mut Vec<u8>) -> u16 {
        match self {
            Self::NewSa(info) => info.emit(bytes, kind::NEW_SA),
            Self::UpdateSa(info) => info.emit(bytes, kind::UPDATE_SA),
            Self::DeleteSa(id) => id.emit(bytes, kind::DELETE_SA),
            Self::GetSa(id) => id.emit(bytes, kind::GET_SA),
            Self::DumpSas => kind::GET_SA,
            Self::FlushSas(proto) => {
                bytes.push(*proto);
                kind::FLUSH_SAS
            }
            Self::AllocateSpi(range) => range.emit(bytes, kind::ALLOCATE_SPI),
            Self::NewPolicy(info) => info.emit(bytes, kind::NEW_POLICY),
            Self::UpdatePolicy(info) => info.emit(bytes, kind::UPDATE_POLICY),
            Self::DeletePolicy(id) => id.emit(bytes, kind::DELETE_POLICY),
            Self::GetPolicy(id) => id.emit(bytes, kind::GET_POLICY),
            Self::DumpPolicies => kind::GET_POLICY,
            Self::FlushPolicies => kind::FLUSH_POLICIES,
            Self::Acquire(acquire) => acquire.emit(bytes, kind::ACQUIRE),
            Self::Expire(expire) => expire.emit(bytes, kind::EXPIRE),
            Self::Mapping(mapping) => mapping.emit(bytes, kind::MAPPING),
            Self::Done(errno) => {
                bytes.extend(errno.wrapping_neg().to_ne_bytes());
                kind::DONE
            }
            Self::Error { errno, text } => {
                bytes.extend(errno.wrapping_neg().to_ne_bytes());
                bytes.extend([0; HEADER_LEN]);
                if let Some(text) = text {
                    attribute::emit(bytes, ERROR_TEXT, &[text.as_bytes(), &[0]]);
                }
                kind::ERROR
            }
            Self::Other(kind) => *kind,
        }
    }
}

/// The kernel's are negative.
fn errno(found: u32) -> i32 {
    found.cast_signed().wrapping_neg()
}

/// What stands behind the quoted request.
fn error_text<'a>(fields: &mut Fields<'a>, flags: u16) -> Option<&'a str> {
    let quoted = fields.u32().ok()? as usize;
    let behind = if flags & flag::CAPPED != 0 { HEADER_LEN } else { quoted.max(HEADER_LEN) };
    let attributes = fields.rest().get(align(behind) - 4..)?;
    let text = attribute::split(attributes).map_while(Result::ok).find(|(kind, _)| *kind == ERROR_TEXT)?.1;
    std::str::from_utf8(text.split(|byte| *byte == 0).next()?).ok()
}

#[cfg(test)]
mod tests;
