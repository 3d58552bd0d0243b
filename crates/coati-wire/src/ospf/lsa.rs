//! Link state advertisements (RFC 2328 sections 12.1 and A.4; RFC 3101 for type 7, RFC 5250 for the opaque ones).

use std::cmp::Ordering;
use std::net::Ipv4Addr;

use crate::WireError;
use crate::error::{array, u16_at, u32_at};

/// Length of an LSA's header in bytes.
pub const LSA_HEADER_LEN: usize = 20;
/// Age at which an LSA is dead, in seconds.
pub const MAX_AGE: u16 = 3600;
/// Instances whose ages differ by more than this are different ones, in seconds.
pub const MAX_AGE_DIFF: u16 = 900;
/// The first sequence number of an LSA.
pub const INITIAL_SEQUENCE: i32 = -0x7fff_ffff;
/// The last one.
pub const MAX_SEQUENCE: i32 = 0x7fff_ffff;
/// Links, routers or other elements in one LSA at the most: what fits in 64 KiB.
const MAX_ELEMENTS: usize = 16_384;

/// LS types.
pub mod lsa_kind {
    /// Links of a router.
    pub const ROUTER: u8 = 1;
    /// Routers on a network.
    pub const NETWORK: u8 = 2;
    /// Network in another area.
    pub const SUMMARY_NETWORK: u8 = 3;
    /// AS boundary router in another area.
    pub const SUMMARY_ASBR: u8 = 4;
    /// Destination outside of the AS.
    pub const EXTERNAL: u8 = 5;
    /// The same, inside a not-so-stubby area.
    pub const NSSA: u8 = 7;
    /// Opaque, link-local.
    pub const OPAQUE_LINK: u8 = 9;
    /// Opaque, area-local.
    pub const OPAQUE_AREA: u8 = 10;
    /// Opaque, AS-wide.
    pub const OPAQUE_AS: u8 = 11;
}

/// What names an LSA, whatever its instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LsaKey {
    /// LS type.
    pub kind: u8,
    /// Link state id.
    pub id: Ipv4Addr,
    /// Who originated it.
    pub advertising_router: Ipv4Addr,
}

/// The header, which names an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LsaHeader {
    /// Seconds since it was originated; the uppermost bit is DoNotAge (RFC 1793).
    pub age: u16,
    /// Options.
    pub options: u8,
    /// What it is.
    pub key: LsaKey,
    /// Sequence number, signed, growing.
    pub sequence: i32,
    /// Fletcher checksum of everything but the age.
    pub checksum: u16,
    /// Length with the header in bytes.
    pub length: u16,
}

impl LsaHeader {
    /// Reads a header.
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        Ok(Self::read(&array("LSA header", bytes, 0)?))
    }

    /// What the bytes of a header mean.
    pub fn read(bytes: &[u8; LSA_HEADER_LEN]) -> Self {
        let [age0, age1, options, kind, i0, i1, i2, i3, r0, r1, r2, r3, rest @ ..] = *bytes;
        let [s0, s1, s2, s3, sum0, sum1, length0, length1] = rest;
        let key = LsaKey {
            kind,
            id: Ipv4Addr::new(i0, i1, i2, i3),
            advertising_router: Ipv4Addr::new(r0, r1, r2, r3),
        };
        Self {
            age: u16::from_be_bytes([age0, age1]),
            options,
            key,
            sequence: i32::from_be_bytes([s0, s1, s2, s3]),
            checksum: u16::from_be_bytes([sum0, sum1]),
            length: u16::from_be_bytes([length0, length1]),
        }
    }

    /// The header's bytes.
    pub fn emit(&self) -> [u8; LSA_HEADER_LEN] {
        let mut bytes = [0; LSA_HEADER_LEN];
        bytes[..2].copy_from_slice(&self.age.to_be_bytes());
        bytes[2..4].copy_from_slice(&[self.options, self.key.kind]);
        bytes[4..8].copy_from_slice(&self.key.id.octets());
        bytes[8..12].copy_from_slice(&self.key.advertising_router.octets());
        bytes[12..16].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[16..18].copy_from_slice(&self.checksum.to_be_bytes());
        bytes[18..].copy_from_slice(&self.length.to_be_bytes());
        bytes
    }

    /// Age in seconds without the DoNotAge bit, at most [`MAX_AGE`].
    pub fn seconds(&self) -> u16 {
        (self.age & 0x7fff).min(MAX_AGE)
    }

    /// Which instance of the same LSA is the newer one (section 13.1); `Greater` when this one is.
    pub fn compare(&self, other: &Self) -> Ordering {
        let (age, other_age) = (self.seconds(), other.seconds());
        self.sequence.cmp(&other.sequence).then(self.checksum.cmp(&other.checksum)).then_with(|| {
            match (age == MAX_AGE, other_age == MAX_AGE) {
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                _ if age.abs_diff(other_age) > MAX_AGE_DIFF => other_age.cmp(&age),
                _ => Ordering::Equal,
            }
        })
    }
}

/// One LSA: its header, what it says, and its bytes as they were, since it is flooded unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lsa {
    /// Header.
    pub header: LsaHeader,
    /// Body.
    pub body: LsaBody,
    /// All of it, the header too, as it came.
    pub bytes: Vec<u8>,
}

/// What an LSA says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LsaBody {
    /// Type 1.
    Router(RouterLsa),
    /// Type 2.
    Network {
        /// Mask of the network.
        mask: Ipv4Addr,
        /// The routers on it, the designated one too.
        routers: Vec<Ipv4Addr>,
    },
    /// Types 3 and 4.
    Summary {
        /// Mask of the network; 0 for a router.
        mask: Ipv4Addr,
        /// Cost from the originating router.
        metric: u32,
    },
    /// Types 5 and 7.
    External {
        /// Mask of the destination.
        mask: Ipv4Addr,
        /// Whether the metric is larger than any inside (E2).
        type2: bool,
        /// Metric.
        metric: u32,
        /// Where to send to; 0 is the originating router.
        forwarding: Ipv4Addr,
        /// Tag.
        tag: u32,
    },
    /// Types 9, 10, 11, and whatever else there may be.
    Opaque(Vec<u8>),
}

/// The body of a type 1 LSA.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouterLsa {
    /// [`Self::BORDER`], [`Self::BOUNDARY`], [`Self::VIRTUAL_END`], [`Self::TRANSLATOR`].
    pub flags: u8,
    /// Links.
    pub links: Vec<RouterLink>,
}

/// One link of a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouterLink {
    /// Router id of the neighbour, address of the designated router, or network.
    pub id: Ipv4Addr,
    /// Own address, or mask of a stub network.
    pub data: Ipv4Addr,
    /// 1 point-to-point, 2 transit network, 3 stub network, 4 virtual link.
    pub kind: u8,
    /// Cost.
    pub metric: u16,
}

impl RouterLink {
    /// To another router.
    pub const POINT_TO_POINT: u8 = 1;
    /// To a network with other routers.
    pub const TRANSIT: u8 = 2;
    /// To a network without.
    pub const STUB: u8 = 3;
    /// To another router, through an area.
    pub const VIRTUAL: u8 = 4;
}

impl Lsa {
    /// Reads the LSA at the beginning of `bytes`; its checksum has to be right.
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let header = LsaHeader::parse(bytes)?;
        let length = usize::from(header.length);
        let wrong = WireError::Length { what: "LSA length", found: length };
        let bytes = bytes.get(..length).filter(|_| length >= LSA_HEADER_LEN).ok_or(wrong)?;
        if !checksum_is_right(bytes) {
            return Err(WireError::Checksum { what: "LSA" });
        }
        let body = LsaBody::parse(header.key.kind, bytes.get(LSA_HEADER_LEN..).unwrap_or(&[]))?;
        Ok(Self { header, body, bytes: bytes.to_vec() })
    }

    /// A new LSA of age 0; length and checksum are computed.
    pub fn new(key: LsaKey, options: u8, sequence: i32, body: LsaBody) -> Self {
        let tail = body.emit();
        let length = u16::try_from(LSA_HEADER_LEN + tail.len()).unwrap_or(u16::MAX);
        let mut header = LsaHeader { age: 0, options, key, sequence, checksum: 0, length };
        let mut bytes = header.emit().to_vec();
        bytes.extend_from_slice(&tail);
        header.checksum = fletcher(&bytes);
        let checksum = header.checksum.to_be_bytes();
        if let Some(place) = bytes.get_mut(16..18) {
            place.copy_from_slice(&checksum);
        }
        Self { header, body, bytes }
    }

    /// Its bytes with another age in seconds.
    pub fn emit_aged(&self, age: u16) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        if let Some(place) = bytes.get_mut(..2) {
            place.copy_from_slice(&age.to_be_bytes());
        }
        bytes
    }
}

impl LsaBody {
    /// Reads what follows the header of an LSA of this type.
    pub fn parse(kind: u8, body: &[u8]) -> Result<Self, WireError> {
        const WHAT: &str = "LSA body";
        let address = |at| array::<4>(WHAT, body, at).map(Ipv4Addr::from);
        match kind {
            lsa_kind::ROUTER => RouterLsa::parse(body).map(Self::Router),
            lsa_kind::NETWORK => {
                let rest = body.get(4..).unwrap_or(&[]);
                if !rest.len().is_multiple_of(4) {
                    return Err(WireError::Length { what: "network LSA", found: body.len() });
                }
                let routers = rest.chunks_exact(4).take(MAX_ELEMENTS);
                let routers = routers.map(|c| array::<4>(WHAT, c, 0).map(Ipv4Addr::from));
                Ok(Self::Network { mask: address(0)?, routers: routers.collect::<Result<_, _>>()? })
            }
            lsa_kind::SUMMARY_NETWORK | lsa_kind::SUMMARY_ASBR => {
                Ok(Self::Summary { mask: address(0)?, metric: u32_at(WHAT, body, 4)? & 0x00ff_ffff })
            }
            lsa_kind::EXTERNAL | lsa_kind::NSSA => {
                let metric = u32_at(WHAT, body, 4)?;
                Ok(Self::External {
                    mask: address(0)?,
                    type2: metric & 0x8000_0000 != 0,
                    metric: metric & 0x00ff_ffff,
                    forwarding: address(8)?,
                    tag: u32_at(WHAT, body, 12)?,
                })
            }
            _ => Ok(Self::Opaque(body.to_vec())),
        }
    }

    fn emit(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Self::Router(router) => router.emit(&mut bytes),
            Self::Network { mask, routers } => {
                bytes.extend_from_slice(&mask.octets());
                routers.iter().for_each(|router| bytes.extend_from_slice(&router.octets()));
            }
            Self::Summary { mask, metric } => {
                bytes.extend_from_slice(&mask.octets());
                bytes.extend_from_slice(&(metric & 0x00ff_ffff).to_be_bytes());
            }
            Self::External { mask, type2, metric, forwarding, tag } => {
                bytes.extend_from_slice(&mask.octets());
                let flag = if *type2 { 0x8000_0000 } else { 0 };
                bytes.extend_from_slice(&(metric & 0x00ff_ffff | flag).to_be_bytes());
                bytes.extend_from_slice(&forwarding.octets());
                bytes.extend_from_slice(&tag.to_be_bytes());
            }
            Self::Opaque(data) => bytes.extend_from_slice(data),
        }
        bytes
    }
}

impl RouterLsa {
    /// The router has several areas (B).
    pub const BORDER: u8 = 1;
    /// The router has routes from outside of the AS (E).
    pub const BOUNDARY: u8 = 2;
    /// The area carries a virtual link that ends at this router (V).
    pub const VIRTUAL_END: u8 = 4;
    /// The router translates type 7 LSAs whoever else does (Nt, RFC 3101 appendix B).
    pub const TRANSLATOR: u8 = 16;

    fn parse(body: &[u8]) -> Result<Self, WireError> {
        const WHAT: &str = "router LSA";
        let [flags, _] = array(WHAT, body, 0)?;
        let count = usize::from(u16_at(WHAT, body, 2)?);
        let mut rest = body.get(4..).unwrap_or(&[]);
        if count > rest.len() / 12 {
            return Err(WireError::Value {
                what: "number of links",
                found: u32::try_from(count).unwrap_or(0),
            });
        }
        let mut links = Vec::with_capacity(count);
        for _ in 0..count {
            let [kind, tos_count] = array(WHAT, rest, 8)?;
            links.push(RouterLink {
                id: Ipv4Addr::from(array(WHAT, rest, 0)?),
                data: Ipv4Addr::from(array(WHAT, rest, 4)?),
                kind,
                metric: u16_at(WHAT, rest, 10)?,
            });
            // Metrics for types of service are not used any more.
            let length = 12 + 4 * usize::from(tos_count);
            rest = rest.get(length..).ok_or(WireError::Length { what: WHAT, found: body.len() })?;
        }
        Ok(Self { flags, links })
    }

    fn emit(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&[self.flags, 0]);
        bytes.extend_from_slice(&u16::try_from(self.links.len()).unwrap_or(u16::MAX).to_be_bytes());
        for link in &self.links {
            bytes.extend_from_slice(&link.id.octets());
            bytes.extend_from_slice(&link.data.octets());
            bytes.extend_from_slice(&[link.kind, 0]);
            bytes.extend_from_slice(&link.metric.to_be_bytes());
        }
    }
}

/// Sums of ISO 8473's checksum over everything but the age.
fn sums(lsa: &[u8]) -> (u32, u32) {
    /// So many bytes of 255 after sums of 254 do not overflow.
    const LONGEST: usize = 5000;
    let (mut c0, mut c1) = (0u32, 0u32);
    for part in lsa.get(2..).unwrap_or(&[]).chunks(LONGEST) {
        for byte in part {
            c0 += u32::from(*byte);
            c1 += c0;
        }
        (c0, c1) = (c0 % 255, c1 % 255);
    }
    (c0, c1)
}

fn checksum_is_right(lsa: &[u8]) -> bool {
    lsa.get(16..18).is_some_and(|sum| sum != [0, 0]) && sums(lsa) == (0, 0)
}

/// The checksum of an LSA whose checksum field is 0 (section 12.1.7).
fn fletcher(lsa: &[u8]) -> u16 {
    let (c0, c1) = sums(lsa);
    // Places behind the field's first byte, counted without the age.
    let behind = u32::try_from(lsa.len().saturating_sub(2 + 15)).unwrap_or(0) % 255;
    let x = (behind * c0 + 255 - c1) % 255;
    let y = (2 * 255 - c0 - x) % 255;
    let nonzero = |value: u32| u8::try_from(if value == 0 { 255 } else { value }).unwrap_or(255);
    u16::from_be_bytes([nonzero(x), nonzero(y)])
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address() -> impl Strategy<Value = Ipv4Addr> {
        any::<u32>().prop_map(Ipv4Addr::from)
    }

    fn body() -> impl Strategy<Value = (u8, LsaBody)> {
        let link = (address(), address(), 1u8..=4, any::<u16>())
            .prop_map(|(id, data, kind, metric)| RouterLink { id, data, kind, metric });
        let router = (0u8..8, prop::collection::vec(link, 0..20))
            .prop_map(|(flags, links)| (1, LsaBody::Router(RouterLsa { flags, links })));
        let network = (address(), prop::collection::vec(address(), 0..20))
            .prop_map(|(mask, routers)| (2, LsaBody::Network { mask, routers }));
        let summary = (3u8..=4, address(), 0u32..1 << 24)
            .prop_map(|(kind, mask, metric)| (kind, LsaBody::Summary { mask, metric }));
        let external = (any::<bool>(), address(), any::<bool>(), 0u32..1 << 24, address(), any::<u32>())
            .prop_map(|(nssa, mask, type2, metric, forwarding, tag)| {
                let kind = if nssa { lsa_kind::NSSA } else { lsa_kind::EXTERNAL };
                (kind, LsaBody::External { mask, type2, metric, forwarding, tag })
            });
        let opaque = (9u8..=11, prop::collection::vec(any::<u8>(), 0..60))
            .prop_map(|(kind, data)| (kind, LsaBody::Opaque(data)));
        prop_oneof![router, network, summary, external, opaque]
    }

    pub(in crate::ospf) fn lsa() -> impl Strategy<Value = Lsa> {
        (body(), address(), address(), any::<u8>(), any::<i32>()).prop_map(
            |((kind, body), id, advertising_router, options, sequence)| {
                Lsa::new(LsaKey { kind, id, advertising_router }, options, sequence, body)
            },
        )
    }

    proptest! {
        #[test]
        fn emit_then_parse(lsa in lsa(), age: u16, flip in any::<prop::sample::Index>(), bit in 0u8..8) {
            let bytes = lsa.emit_aged(age);
            let parsed = Lsa::parse(&bytes).unwrap();
            prop_assert_eq!(parsed.header, LsaHeader { age, ..lsa.header });
            prop_assert_eq!(&parsed.body, &lsa.body);
            prop_assert_eq!(&parsed.bytes, &bytes);
            let mut spoiled = bytes;
            let at = 2 + flip.index(spoiled.len() - 2);
            spoiled[at] ^= 1 << bit;
            prop_assert!(Lsa::parse(&spoiled).is_err());
        }

        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..100), kind in 0u8..13) {
            let _ = Lsa::parse(&bytes);
            let _ = LsaBody::parse(kind, &bytes);
        }

        #[test]
        fn comparison_is_an_order(age_a: u16, age_b: u16, a in -3i32..3, b in -3i32..3, sum_a in 0u16..3, sum_b in 0u16..3) {
            let key = LsaKey { kind: 1, id: Ipv4Addr::UNSPECIFIED, advertising_router: Ipv4Addr::UNSPECIFIED };
            let header = |age, sequence, checksum| LsaHeader { age, options: 0, key, sequence, checksum, length: 20 };
            let (a, b) = (header(age_a, a, sum_a), header(age_b, b, sum_b));
            prop_assert_eq!(a.compare(&b), b.compare(&a).reverse());
        }
    }

    #[test]
    fn sequence_numbers_are_signed() {
        assert_eq!(INITIAL_SEQUENCE.to_be_bytes(), [0x80, 0, 0, 1]);
        let key = LsaKey { kind: 1, id: Ipv4Addr::LOCALHOST, advertising_router: Ipv4Addr::LOCALHOST };
        let first = Lsa::new(key, 2, INITIAL_SEQUENCE, LsaBody::Router(RouterLsa::default()));
        let second = Lsa::new(key, 2, 1, LsaBody::Router(RouterLsa::default()));
        assert_eq!(second.header.compare(&first.header), Ordering::Greater);
    }
}
