//! Attributes: algorithms with their keys, templates, replay windows, encapsulation.

use std::fmt;

use super::fields::{Fields, NAME_LEN, align};
use super::structures::{Address, Id, LifetimeUsed, PolicyInfo, SaInfo, structure};
use crate::WireError;

/// Types of attributes (`XFRMA_*`).
mod kind {
    pub(super) const AUTH: u16 = 1;
    pub(super) const CRYPT: u16 = 2;
    pub(super) const COMPRESSION: u16 = 3;
    pub(super) const ENCAP: u16 = 4;
    pub(super) const TEMPLATES: u16 = 5;
    pub(super) const SA: u16 = 6;
    pub(super) const POLICY: u16 = 7;
    pub(super) const LIFETIME: u16 = 9;
    pub(super) const REPLAY: u16 = 10;
    pub(super) const SOURCE: u16 = 13;
    pub(super) const LAST_USED: u16 = 15;
    pub(super) const AEAD: u16 = 18;
    pub(super) const AUTH_TRUNCATED: u16 = 20;
    pub(super) const MARK: u16 = 21;
    pub(super) const REPLAY_ESN: u16 = 23;
    pub(super) const OFFLOAD: u16 = 28;
}

/// Templates of a policy at the most (`XFRM_MAX_DEPTH`).
const MAX_TEMPLATES: usize = 6;
/// Words of a replay window's bitmap at the most: 4096 packets (`XFRMA_REPLAY_ESN_MAX`).
const MAX_BITMAP: usize = 128;

/// UDP encapsulation of ESP (`UDP_ENCAP_*`).
pub mod encap {
    /// With eight zero bytes before ESP, as in drafts before RFC 3947.
    pub const ESP_IN_UDP_NON_IKE: u16 = 1;
    /// RFC 3948.
    pub const ESP_IN_UDP: u16 = 2;
}

/// Flags of [`Offload`] (`XFRM_OFFLOAD_*`).
pub mod offload {
    /// Between IPv6 addresses.
    pub const IPV6: u8 = 1;
    /// For packets that come in.
    pub const INBOUND: u8 = 2;
}

/// `xfrm_algo`, `xfrm_algo_auth` and `xfrm_algo_aead`: the kernel's name of an algorithm, with a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Algorithm<'a> {
    /// Such as `cbc(aes)`.
    pub name: &'a str,
    /// Key, with the salt behind it where there is one.
    pub key: &'a [u8],
    /// Bits of the integrity check value, where the structure has them.
    pub icv_bits: u32,
}

impl fmt::Debug for Algorithm<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, key, icv_bits } = self;
        write!(f, "Algorithm({name}, key of {} bytes, {icv_bits} bits of ICV)", key.len())
    }
}

impl<'a> Algorithm<'a> {
    fn parse(value: &'a [u8], has_icv: bool) -> Result<Self, WireError> {
        let mut fields = Fields::new("algorithm", value);
        let name = fields.name()?;
        let bits = fields.u32()? as usize;
        let icv_bits = if has_icv { fields.u32()? } else { 0 };
        let wrong = WireError::Length { what: "key of an algorithm", found: bits };
        let key = fields.rest().get(..bits.div_ceil(8)).ok_or(wrong)?;
        Ok(Self { name, key, icv_bits })
    }

    fn emit(&self, bytes: &mut Vec<u8>, kind: u16, has_icv: bool) {
        let mut name = [0; NAME_LEN];
        // The last byte stays 0.
        for (to, from) in name.iter_mut().zip(self.name.bytes().take(NAME_LEN - 1)) {
            *to = from;
        }
        let bits = u32::try_from(self.key.len().saturating_mul(8)).unwrap_or(u32::MAX).to_ne_bytes();
        let icv = self.icv_bits.to_ne_bytes();
        emit(bytes, kind, &[&name, &bits, if has_icv { &icv } else { &[] }, self.key]);
    }
}

structure! {
    /// `xfrm_user_tmpl`: what a policy wants done.
    Template {
        /// Destination, for a tunnel, and protocol.
        id: Id = nested,
        /// Of its addresses.
        family: u16 = u16 pad 2,
        /// Source, for a tunnel.
        source: Address = address,
        /// Whose SAs; 0: everybody's.
        reqid: u32 = u32,
        /// Transport or tunnel.
        mode: u8 = u8,
        /// Who may share them.
        share: u8 = u8,
        /// 1 when packets go without them where there is none.
        optional: u8 = u8 pad 1,
        /// Integrity algorithms that may be used, by bits.
        auth_algorithms: u32 = u32,
        /// Encryption algorithms that may be used, by bits.
        encryption_algorithms: u32 = u32,
        /// Compression algorithms that may be used, by bits.
        compression_algorithms: u32 = u32,
    }
}

structure! {
    /// `xfrm_encap_tmpl`.
    Encap {
        /// One of [`encap`].
        kind: u16 = u16,
        /// Source port.
        source_port: u16 = be16,
        /// Destination port.
        destination_port: u16 = be16 pad 2,
        /// The peer's own address.
        original: Address = address,
    }
}

structure! {
    /// `xfrm_user_offload`: the network card does it.
    Offload {
        /// Its interface.
        interface: u32 = u32,
        /// Of [`offload`].
        flags: u8 = u8 pad 3,
    }
}

/// `xfrm_replay_state_esn`: where sequence numbers are, with a window of up to 4096 packets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplayEsn {
    /// Last one sent.
    pub sent: u64,
    /// Highest one received.
    pub received: u64,
    /// Window in packets.
    pub window: u32,
    /// Which packets of the window have come.
    pub bitmap: Vec<u32>,
}

impl ReplayEsn {
    fn parse(value: &[u8]) -> Result<Self, WireError> {
        const WHAT: &str = "replay window";
        let mut fields = Fields::new(WHAT, value);
        let length = fields.u32()? as usize;
        let (sent, received) = (fields.u32()?, fields.u32()?);
        let (sent_high, received_high, window) = (fields.u32()?, fields.u32()?, fields.u32()?);
        if length > MAX_BITMAP {
            return Err(WireError::TooMany { what: WHAT, limit: MAX_BITMAP });
        }
        let long = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
        let bitmap = (0..length).map(|_| fields.u32()).collect::<Result<_, _>>()?;
        Ok(Self { sent: long(sent_high, sent), received: long(received_high, received), window, bitmap })
    }

    fn emit(&self, bytes: &mut Vec<u8>) {
        let length = u32::try_from(self.bitmap.len()).unwrap_or(u32::MAX);
        let low = |number: u64| (number & u64::from(u32::MAX)) as u32;
        let numbers = [
            length,
            low(self.sent),
            low(self.received),
            low(self.sent >> 32),
            low(self.received >> 32),
            self.window,
        ];
        let value: Vec<u8> = numbers.iter().chain(&self.bitmap).flat_map(|n| n.to_ne_bytes()).collect();
        emit(bytes, kind::REPLAY_ESN, &[&value]);
    }
}

/// What a message says besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribute<'a> {
    /// Encryption.
    Crypt(Algorithm<'a>),
    /// Integrity, with as many bits as the kernel finds right.
    Auth(Algorithm<'a>),
    /// Integrity.
    AuthTruncated(Algorithm<'a>),
    /// Both.
    Aead(Algorithm<'a>),
    /// Compression.
    Compression(Algorithm<'a>),
    /// UDP before ESP.
    Encap(Encap),
    /// What a policy wants done, in this order.
    Templates(Vec<Template>),
    /// The SA that is gone.
    Sa(Box<SaInfo>),
    /// The policy that is gone.
    Policy(Box<PolicyInfo>),
    /// What an SA has done.
    Lifetime(LifetimeUsed),
    /// Last sequence number sent, highest one received, and the window's bits.
    Replay {
        /// Sent.
        sent: u32,
        /// Received.
        received: u32,
        /// Bits.
        bitmap: u32,
    },
    /// The same for larger windows and longer numbers.
    ReplayEsn(ReplayEsn),
    /// Source of an SA that is asked for.
    Source(Address),
    /// When a policy was used last, in Unix seconds.
    LastUsed(u64),
    /// Only packets with this mark: value and mask.
    Mark(u32, u32),
    /// The network card does it.
    Offload(Offload),
    /// One that is not looked into, by its type.
    Other(u16),
}

impl<'a> Attribute<'a> {
    /// Bytes of key in it.
    pub(super) fn key_len(&self) -> usize {
        match self {
            Self::Crypt(with_key)
            | Self::Auth(with_key)
            | Self::AuthTruncated(with_key)
            | Self::Aead(with_key) => with_key.key.len(),
            _ => 0,
        }
    }

    pub(super) fn parse_all(bytes: &'a [u8]) -> Result<Vec<Self>, WireError> {
        split(bytes).map(|found| found.and_then(|(kind, value)| Self::parse(kind, value))).collect()
    }

    fn parse(kind: u16, value: &'a [u8]) -> Result<Self, WireError> {
        let fields = &mut Fields::new("netlink attribute", value);
        Ok(match kind {
            kind::CRYPT => Self::Crypt(Algorithm::parse(value, false)?),
            kind::AUTH => Self::Auth(Algorithm::parse(value, false)?),
            kind::AUTH_TRUNCATED => Self::AuthTruncated(Algorithm::parse(value, true)?),
            kind::AEAD => Self::Aead(Algorithm::parse(value, true)?),
            kind::COMPRESSION => Self::Compression(Algorithm::parse(value, false)?),
            kind::ENCAP => Self::Encap(Encap::parse(fields)?),
            kind::TEMPLATES => {
                let mut list = Vec::new();
                while !fields.rest().is_empty() {
                    if list.len() == MAX_TEMPLATES {
                        return Err(WireError::TooMany { what: "templates", limit: MAX_TEMPLATES });
                    }
                    list.push(Template::parse(fields)?);
                }
                Self::Templates(list)
            }
            kind::SA => Self::Sa(Box::new(SaInfo::parse(fields)?)),
            kind::POLICY => Self::Policy(Box::new(PolicyInfo::parse(fields)?)),
            kind::LIFETIME => Self::Lifetime(LifetimeUsed::parse(fields)?),
            kind::REPLAY => {
                Self::Replay { sent: fields.u32()?, received: fields.u32()?, bitmap: fields.u32()? }
            }
            kind::REPLAY_ESN => Self::ReplayEsn(ReplayEsn::parse(value)?),
            kind::SOURCE => Self::Source(fields.address()?),
            kind::LAST_USED => Self::LastUsed(fields.u64()?),
            kind::MARK => Self::Mark(fields.u32()?, fields.u32()?),
            kind::OFFLOAD => Self::Offload(Offload::parse(fields)?),
            other => Self::Other(other),
        })
    }

    pub(super) fn emit(&self, bytes: &mut Vec<u8>) {
        let numbers = |numbers: &[u32]| -> Vec<u8> { numbers.iter().flat_map(|n| n.to_ne_bytes()).collect() };
        let mut value = Vec::new();
        let kind = match self {
            Self::Crypt(algorithm) => return algorithm.emit(bytes, kind::CRYPT, false),
            Self::Auth(algorithm) => return algorithm.emit(bytes, kind::AUTH, false),
            Self::AuthTruncated(algorithm) => return algorithm.emit(bytes, kind::AUTH_TRUNCATED, true),
            Self::Aead(algorithm) => return algorithm.emit(bytes, kind::AEAD, true),
            Self::Compression(algorithm) => return algorithm.emit(bytes, kind::COMPRESSION, false),
            Self::ReplayEsn(replay) => return replay.emit(bytes),
            Self::Encap(encap) => encap.emit(&mut value, kind::ENCAP),
            Self::Templates(list) => {
                list.iter().for_each(|template| template.append(&mut value));
                kind::TEMPLATES
            }
            Self::Sa(info) => info.emit(&mut value, kind::SA),
            Self::Policy(info) => info.emit(&mut value, kind::POLICY),
            Self::Lifetime(used) => used.emit(&mut value, kind::LIFETIME),
            Self::Replay { sent, received, bitmap } => {
                value = numbers(&[*sent, *received, *bitmap]);
                kind::REPLAY
            }
            Self::Source(address) => {
                value.extend(address.0);
                kind::SOURCE
            }
            Self::LastUsed(at) => {
                value.extend(at.to_ne_bytes());
                kind::LAST_USED
            }
            Self::Mark(mark, mask) => {
                value = numbers(&[*mark, *mask]);
                kind::MARK
            }
            Self::Offload(offload) => offload.emit(&mut value, kind::OFFLOAD),
            Self::Other(kind) => *kind,
        };
        emit(bytes, kind, &[&value]);
    }
}

/// Length of `nlattr`, in bytes.
const ATTRIBUTE_HEADER_LEN: usize = 4;
/// Bits of an attribute's type that say how its value is written (`NLA_F_NESTED`, `NLA_F_NET_BYTEORDER`).
const TYPE_FLAGS: u16 = 0xc000;

/// Appends an attribute whose value has these parts.
pub(super) fn emit(bytes: &mut Vec<u8>, kind: u16, value: &[&[u8]]) {
    let length = ATTRIBUTE_HEADER_LEN + value.iter().map(|part| part.len()).sum::<usize>();
    bytes.extend(u16::try_from(length).unwrap_or(u16::MAX).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    value.iter().for_each(|part| bytes.extend(*part));
    bytes.resize(align(bytes.len()), 0);
}

/// The attributes in `bytes`: type and value. Fewer bytes than an attribute's header at the end are padding.
pub(super) fn split(mut bytes: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8]), WireError>> {
    std::iter::from_fn(move || {
        const WHAT: &str = "netlink attribute";
        if bytes.len() < ATTRIBUTE_HEADER_LEN {
            return None;
        }
        let mut header = Fields::new(WHAT, bytes);
        let (Ok(length), Ok(kind)) = (header.u16(), header.u16()) else { return None };
        let length = usize::from(length);
        let value = bytes.get(ATTRIBUTE_HEADER_LEN..length);
        bytes = if value.is_some() { bytes.get(align(length)..).unwrap_or(&[]) } else { &[] };
        Some(match value {
            Some(value) => Ok((kind & !TYPE_FLAGS, value)),
            None => Err(WireError::Length { what: WHAT, found: length }),
        })
    })
}
