//! OSPFv2 (RFC 2328 appendix A): packets here, link state advertisements in [`lsa`].
//!
//! ```text
//!  0 version  1 type  2..4 length  4..8 router id  8..12 area  12..14 checksum  14..16 authentication type
//!  16..24 authentication;  then the packet; all numbers in network byte order
//! ```

pub mod lsa;

use std::net::Ipv4Addr;

pub use lsa::{
    INITIAL_SEQUENCE, LSA_HEADER_LEN, Lsa, LsaBody, LsaHeader, LsaKey, MAX_AGE, MAX_AGE_DIFF, MAX_SEQUENCE,
    RouterLink, RouterLsa, lsa_kind,
};

use crate::WireError;
use crate::checksum::{internet, is_intact};
use crate::error::{array, u16_at, u32_at};

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 24;
/// IP protocol number.
pub const PROTOCOL: u8 = 89;
/// AllSPFRouters.
pub const ALL_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 5);
/// AllDRouters: the designated router and its backup.
pub const ALL_DESIGNATED: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 6);
/// Options: the area takes AS-external LSAs.
pub const OPTION_E: u8 = 0x02;
/// Options: of a packet, the area is an NSSA (N); of a type 7 LSA, it is translated into type 5 (P). RFC 3101.
pub const OPTION_NP: u8 = 0x08;
/// Options: opaque LSAs are understood.
pub const OPTION_O: u8 = 0x40;

/// No authentication.
pub const AUTH_NULL: u16 = 0;
/// A password in clear.
pub const AUTH_SIMPLE: u16 = 1;
/// A digest behind the packet.
pub const AUTH_CRYPTOGRAPHIC: u16 = 2;
/// A digest behind the packet and an extended sequence number (RFC 7474).
pub const AUTH_EXTENDED: u16 = 3;

/// The header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Who sends it.
    pub router_id: Ipv4Addr,
    /// The area it is for.
    pub area: Ipv4Addr,
    /// Kind of authentication.
    pub auth_kind: u16,
    /// What it needs.
    pub auth: [u8; 8],
}

/// What is wrong with an update that is longer than its LSAs.
pub const BEHIND_LSAS: &str = "bytes behind the last LSA";

/// A packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// Type 1.
    Hello(Hello),
    /// Type 2.
    DatabaseDescription(DatabaseDescription),
    /// Type 3.
    LinkStateRequest(Vec<LsaKey>),
    /// Type 4.
    LinkStateUpdate {
        /// The LSAs that are what they should be.
        lsas: Vec<Lsa>,
        /// Why others of the packet are not, and whether something is behind them; never sent.
        bad: Vec<WireError>,
    },
    /// Type 5.
    LinkStateAck(Vec<LsaHeader>),
}

/// Hello (A.3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Mask of the interface.
    pub mask: Ipv4Addr,
    /// HelloInterval in seconds.
    pub hello_interval: u16,
    /// Options.
    pub options: u8,
    /// Router priority.
    pub priority: u8,
    /// RouterDeadInterval in seconds.
    pub dead_interval: u32,
    /// Designated router.
    pub designated: Ipv4Addr,
    /// Backup.
    pub backup: Ipv4Addr,
    /// Router ids heard of.
    pub neighbours: Vec<Ipv4Addr>,
}

/// Database description (A.3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseDescription {
    /// Largest IP packet that the interface takes, in bytes.
    pub mtu: u16,
    /// Options.
    pub options: u8,
    /// [`Self::INIT`], [`Self::MORE`], [`Self::MASTER`].
    pub flags: u8,
    /// DD sequence number.
    pub sequence: u32,
    /// A part of the database.
    pub headers: Vec<LsaHeader>,
}

impl DatabaseDescription {
    /// The sender is the master.
    pub const MASTER: u8 = 1;
    /// More packets follow.
    pub const MORE: u8 = 2;
    /// The first packet.
    pub const INIT: u8 = 4;
}

impl Packet {
    /// Reads a packet. Its checksum has to be right, unless a digest protects it. What follows its length (a digest,
    /// LLS blocks) is not looked at.
    pub fn parse(bytes: &[u8]) -> Result<(Header, Self), WireError> {
        const WHAT: &str = "OSPF header";
        let [version, kind] = array(WHAT, bytes, 0)?;
        if version != 2 {
            return Err(WireError::Version { what: WHAT, found: version });
        }
        let length = usize::from(u16_at(WHAT, bytes, 2)?);
        let wrong = WireError::Length { what: "OSPF packet length", found: length };
        let bytes = bytes.get(..length).filter(|_| length >= HEADER_LEN).ok_or(wrong)?;
        let header = Header {
            router_id: Ipv4Addr::from(array(WHAT, bytes, 4)?),
            area: Ipv4Addr::from(array(WHAT, bytes, 8)?),
            auth_kind: u16_at(WHAT, bytes, 14)?,
            auth: array(WHAT, bytes, 16)?,
        };
        let body = bytes.get(HEADER_LEN..).unwrap_or(&[]);
        if !has_digest(header.auth_kind) {
            // Everything but the authentication field.
            if !is_intact(&[bytes.get(..16).unwrap_or(&[]), body]) {
                return Err(WireError::Checksum { what: "OSPF" });
            }
        }
        let packet = match kind {
            1 => Self::Hello(Hello::parse(body)?),
            2 => Self::DatabaseDescription(DatabaseDescription::parse(body)?),
            3 => Self::LinkStateRequest(requests(body)?),
            4 => updates(body)?,
            5 => Self::LinkStateAck(headers(body)?),
            _ => return Err(WireError::Value { what: "OSPF packet type", found: u32::from(kind) }),
        };
        Ok((header, packet))
    }

    /// The bytes of the packet.
    pub fn emit(&self, header: &Header) -> Vec<u8> {
        let (kind, body) = match self {
            Self::Hello(hello) => (1, hello.emit()),
            Self::DatabaseDescription(description) => (2, description.emit()),
            Self::LinkStateRequest(keys) => (3, keys.iter().flat_map(request).collect()),
            Self::LinkStateUpdate { lsas, .. } => {
                let mut body = u32::try_from(lsas.len()).unwrap_or(u32::MAX).to_be_bytes().to_vec();
                lsas.iter().for_each(|lsa| body.extend_from_slice(&lsa.bytes));
                (4, body)
            }
            Self::LinkStateAck(list) => (5, list.iter().flat_map(LsaHeader::emit).collect()),
        };
        emit(header, kind, &body)
    }
}

/// A link state update of LSAs as bytes, which have their ages already.
pub fn emit_update(header: &Header, lsas: &[Vec<u8>]) -> Vec<u8> {
    let mut body = u32::try_from(lsas.len()).unwrap_or(u32::MAX).to_be_bytes().to_vec();
    lsas.iter().for_each(|lsa| body.extend_from_slice(lsa));
    emit(header, 4, &body)
}

/// A digest protects packets of this kind of authentication: their checksum is 0.
fn has_digest(auth_kind: u16) -> bool {
    matches!(auth_kind, AUTH_CRYPTOGRAPHIC | AUTH_EXTENDED)
}

fn emit(header: &Header, kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![2, kind];
    bytes.extend_from_slice(&u16::try_from(HEADER_LEN + body.len()).unwrap_or(u16::MAX).to_be_bytes());
    bytes.extend_from_slice(&header.router_id.octets());
    bytes.extend_from_slice(&header.area.octets());
    bytes.extend_from_slice(&[0, 0]);
    bytes.extend_from_slice(&header.auth_kind.to_be_bytes());
    bytes.extend_from_slice(body);
    if !has_digest(header.auth_kind) {
        let checksum = internet(&[&bytes]).to_be_bytes();
        if let Some(place) = bytes.get_mut(12..14) {
            place.copy_from_slice(&checksum);
        }
    }
    let body = bytes.split_off(16);
    bytes.extend_from_slice(&header.auth);
    bytes.extend_from_slice(&body);
    bytes
}

impl Hello {
    fn parse(body: &[u8]) -> Result<Self, WireError> {
        const WHAT: &str = "hello";
        let [options, priority] = array(WHAT, body, 6)?;
        let address = |at| array::<4>(WHAT, body, at).map(Ipv4Addr::from);
        let (designated, backup) = (address(12)?, address(16)?);
        let rest = body.get(20..).unwrap_or(&[]);
        if !rest.len().is_multiple_of(4) {
            return Err(WireError::Length { what: WHAT, found: body.len() });
        }
        let neighbours = rest.chunks_exact(4).map(|chunk| array::<4>(WHAT, chunk, 0).map(Ipv4Addr::from));
        Ok(Self {
            mask: address(0)?,
            hello_interval: u16_at(WHAT, body, 4)?,
            options,
            priority,
            dead_interval: u32_at(WHAT, body, 8)?,
            designated,
            backup,
            neighbours: neighbours.collect::<Result<_, _>>()?,
        })
    }

    fn emit(&self) -> Vec<u8> {
        let mut bytes = self.mask.octets().to_vec();
        bytes.extend_from_slice(&self.hello_interval.to_be_bytes());
        bytes.extend_from_slice(&[self.options, self.priority]);
        bytes.extend_from_slice(&self.dead_interval.to_be_bytes());
        bytes.extend_from_slice(&self.designated.octets());
        bytes.extend_from_slice(&self.backup.octets());
        self.neighbours.iter().for_each(|neighbour| bytes.extend_from_slice(&neighbour.octets()));
        bytes
    }
}

impl DatabaseDescription {
    fn parse(body: &[u8]) -> Result<Self, WireError> {
        const WHAT: &str = "database description";
        let [options, flags] = array(WHAT, body, 2)?;
        Ok(Self {
            mtu: u16_at(WHAT, body, 0)?,
            options,
            flags,
            sequence: u32_at(WHAT, body, 4)?,
            headers: headers(body.get(8..).unwrap_or(&[]))?,
        })
    }

    fn emit(&self) -> Vec<u8> {
        let mut bytes = self.mtu.to_be_bytes().to_vec();
        bytes.extend_from_slice(&[self.options, self.flags]);
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        bytes.extend(self.headers.iter().flat_map(LsaHeader::emit));
        bytes
    }
}

fn headers(body: &[u8]) -> Result<Vec<LsaHeader>, WireError> {
    if !body.len().is_multiple_of(LSA_HEADER_LEN) {
        return Err(WireError::Length { what: "list of LSA headers", found: body.len() });
    }
    body.chunks_exact(LSA_HEADER_LEN).map(LsaHeader::parse).collect()
}

fn requests(body: &[u8]) -> Result<Vec<LsaKey>, WireError> {
    const WHAT: &str = "link state request";
    if !body.len().is_multiple_of(12) {
        return Err(WireError::Length { what: WHAT, found: body.len() });
    }
    let key = |chunk: &[u8]| {
        let kind = u32_at(WHAT, chunk, 0)?;
        Ok(LsaKey {
            kind: u8::try_from(kind).map_err(|_| WireError::Value { what: "LS type", found: kind })?,
            id: Ipv4Addr::from(array(WHAT, chunk, 4)?),
            advertising_router: Ipv4Addr::from(array(WHAT, chunk, 8)?),
        })
    };
    body.chunks_exact(12).map(key).collect()
}

fn request(key: &LsaKey) -> Vec<u8> {
    let mut bytes = u32::from(key.kind).to_be_bytes().to_vec();
    bytes.extend_from_slice(&key.id.octets());
    bytes.extend_from_slice(&key.advertising_router.octets());
    bytes
}

fn updates(body: &[u8]) -> Result<Packet, WireError> {
    const WHAT: &str = "link state update";
    let count = u32_at(WHAT, body, 0)?;
    let mut rest = body.get(4..).unwrap_or(&[]);
    let room = rest.len() / LSA_HEADER_LEN;
    if usize::try_from(count).map_or(true, |count| count > room) {
        return Err(WireError::Value { what: "number of LSAs", found: count });
    }
    let (mut lsas, mut bad) = (Vec::new(), Vec::new());
    for _ in 0..count {
        // One bad LSA does not spoil the others (section 13, step 1).
        let length = usize::from(LsaHeader::parse(rest)?.length);
        match Lsa::parse(rest) {
            Ok(lsa) => lsas.push(lsa),
            Err(error @ (WireError::Checksum { .. } | WireError::Value { .. })) => bad.push(error),
            Err(error) => return Err(error),
        }
        rest = rest.get(length..).unwrap_or(&[]);
    }
    if !rest.is_empty() {
        bad.push(WireError::Length { what: BEHIND_LSAS, found: rest.len() });
    }
    Ok(Packet::LinkStateUpdate { lsas, bad })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address() -> impl Strategy<Value = Ipv4Addr> {
        any::<u32>().prop_map(Ipv4Addr::from)
    }

    fn packet() -> impl Strategy<Value = Packet> {
        let hello = (
            address(),
            any::<u16>(),
            any::<u8>(),
            any::<u8>(),
            any::<u32>(),
            prop::collection::vec(address(), 0..5),
        )
            .prop_map(|(mask, hello_interval, options, priority, dead_interval, neighbours)| {
                let (designated, backup) = (mask, mask);
                Packet::Hello(Hello {
                    mask,
                    hello_interval,
                    options,
                    priority,
                    dead_interval,
                    designated,
                    backup,
                    neighbours,
                })
            });
        let lsas = || prop::collection::vec(lsa::tests::lsa(), 0..6);
        let description = (any::<u16>(), any::<u8>(), 0u8..8, any::<u32>(), lsas()).prop_map(
            |(mtu, options, flags, sequence, lsas)| {
                let headers = lsas.iter().map(|lsa| lsa.header).collect();
                Packet::DatabaseDescription(DatabaseDescription { mtu, options, flags, sequence, headers })
            },
        );
        let request =
            lsas().prop_map(|l| Packet::LinkStateRequest(l.iter().map(|lsa| lsa.header.key).collect()));
        let ack = lsas().prop_map(|l| Packet::LinkStateAck(l.iter().map(|lsa| lsa.header).collect()));
        prop_oneof![
            hello,
            description,
            request,
            lsas().prop_map(|lsas| Packet::LinkStateUpdate { lsas, bad: Vec::new() }),
            ack
        ]
    }

    /// What is behind the last LSA of an update is no LSA, and is told of.
    #[test]
    fn bytes_behind_the_last_lsa() {
        let header = Header {
            router_id: Ipv4Addr::LOCALHOST,
            area: Ipv4Addr::UNSPECIFIED,
            auth_kind: AUTH_NULL,
            auth: [0; 8],
        };
        let key = LsaKey { kind: 9, id: Ipv4Addr::LOCALHOST, advertising_router: Ipv4Addr::LOCALHOST };
        let lsa = Lsa::new(key, 2, 1, LsaBody::Opaque(vec![1, 2, 3, 4]));
        let mut body = 1u32.to_be_bytes().to_vec();
        body.extend_from_slice(&lsa.bytes);
        body.extend_from_slice(&[0; 5]);
        let (_, packet) = Packet::parse(&emit(&header, 4, &body)).unwrap();
        let bad = vec![WireError::Length { what: BEHIND_LSAS, found: 5 }];
        assert_eq!(packet, Packet::LinkStateUpdate { lsas: vec![lsa], bad });
    }

    proptest! {
        #[test]
        fn emit_then_parse(packet in packet(), router_id in address(), area in address(), tail in prop::collection::vec(any::<u8>(), 0..20)) {
            for auth_kind in [AUTH_NULL, AUTH_SIMPLE, AUTH_CRYPTOGRAPHIC, AUTH_EXTENDED] {
                let header = Header { router_id, area, auth_kind, auth: *b"password" };
                let mut bytes = packet.emit(&header);
                bytes.extend_from_slice(&tail);
                prop_assert_eq!(Packet::parse(&bytes), Ok((header, packet.clone())));
            }
        }

        #[test]
        fn any_bytes(kind in 0u8..7, mut bytes in prop::collection::vec(any::<u8>(), 24..160)) {
            let _ = Packet::parse(&bytes);
            // Past the checks of the header.
            let length = bytes.len() as u8;
            bytes[..4].copy_from_slice(&[2, kind, 0, length]);
            bytes[14..16].copy_from_slice(&AUTH_CRYPTOGRAPHIC.to_be_bytes());
            let _ = Packet::parse(&bytes);
        }
    }
}
