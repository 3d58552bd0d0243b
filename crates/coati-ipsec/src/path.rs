//! How large a packet the paths to our peers carry (RFC 1191, RFC 8201), and whom to believe about that.
//!
//! A router's word counts when it quotes a packet that an SA of ours has sent not long ago: SPI and sequence number are
//! what nobody knows who has not seen it (RFC 4301 section 8.2). It lowers, never raises; after ten minutes it is
//! forgotten.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use coati_sadb::SaProto;
use coati_wire::ipv4::protocol;
use coati_wire::too_big::Message;
use coati_wire::{esp, ip, ipv4, udp};

use crate::snapshot::LiveSa;

/// How long a router's word counts, RFC 1191 section 6.3.
const REMEMBERED: Duration = Duration::from_secs(600);
/// No path is taken for smaller: what every host takes in (RFC 1122 section 3.3.2, RFC 8200 section 5).
const SMALLEST_V4: u32 = 576;
const SMALLEST_V6: u32 = 1280;
/// Sequence numbers back from the last one that count as not long ago.
const RECENT: u32 = 1 << 16;
/// Where a router does not say what fits: the next smaller one of these (RFC 1191 section 7.1).
const PLATEAUS: [u32; 9] = [32_000, 17_914, 8166, 4352, 2002, 1492, 1006, 576, 0];

/// Both ends of a path, ours first.
pub(crate) type Ends = (IpAddr, IpAddr);

/// What is known about paths.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    /// MTU of the interface that each of our addresses is on.
    links: BTreeMap<IpAddr, u32>,
    /// What routers have said, and until when it counts.
    learned: BTreeMap<Ends, (u32, Instant)>,
}

/// A packet of ours that a router quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quoted {
    pub(crate) ends: Ends,
    pub(crate) proto: SaProto,
    pub(crate) spi: u32,
    pub(crate) sequence: u32,
    /// Its length in bytes.
    length: u32,
}

impl Quoted {
    /// Reads what begins with an IP header and the beginning of AH, or of ESP, bare or in UDP.
    pub(crate) fn parse(original: &[u8]) -> Option<Self> {
        // It is cut, so the length that its header names is not there.
        let (ends, protocol, header_len, length) = match original.first()? >> 4 {
            4 => {
                let header: &[u8; ipv4::HEADER_LEN] = original.first_chunk()?;
                let length = u16::from_be_bytes([header[2], header[3]]);
                let [.., s0, s1, s2, s3, d0, d1, d2, d3] = *header;
                let ends = (IpAddr::from([s0, s1, s2, s3]), IpAddr::from([d0, d1, d2, d3]));
                (ends, header[9], usize::from(header[0] & 0x0f) * 4, u32::from(length))
            }
            6 => {
                let source = <[u8; 16]>::try_from(original.get(8..24)?).ok()?;
                let destination = <[u8; 16]>::try_from(original.get(24..40)?).ok()?;
                let payload = u16::from_be_bytes([*original.get(4)?, *original.get(5)?]);
                let ends = (IpAddr::from(source), IpAddr::from(destination));
                let header_len = ip::header_len(ends.0);
                (ends, *original.get(6)?, header_len, u32::from(payload) + 40)
            }
            _ => return None,
        };
        let body = original.get(header_len..)?;
        let body = match protocol {
            protocol::ESP => body,
            protocol::AH => {
                // Its length may lie beyond what is quoted: only what names it is looked at.
                let number = |at: usize| Some(u32::from_be_bytes(*body.get(at..)?.first_chunk()?));
                let (spi, sequence) = (number(4)?, number(8)?);
                return Some(Self { ends, proto: SaProto::Ah, spi, sequence, length });
            }
            protocol::UDP => {
                let payload = body.get(udp::HEADER_LEN..)?;
                payload.strip_prefix(&crate::NON_IKE_MARKER).unwrap_or(payload)
            }
            _ => return None,
        };
        let (header, _) = esp::Header::parse(body).ok()?;
        Some(Self { ends, proto: SaProto::Esp, spi: header.spi, sequence: header.sequence, length })
    }

    /// Whether an SA that has sent so many packets has sent this one not long ago.
    pub(crate) fn is_recent(&self, last_sent: u64) -> bool {
        let low = u32::try_from(last_sent & 0xffff_ffff).unwrap_or(0);
        let ago = low.wrapping_sub(self.sequence);
        ago < RECENT && u64::from(ago) < last_sent
    }

    /// What the router means fits; `None` when that makes no sense.
    fn mtu(&self, said: u32) -> Option<u32> {
        let smallest = if self.ends.0.is_ipv4() { SMALLEST_V4 } else { SMALLEST_V6 };
        let mtu = match said {
            0 => PLATEAUS.into_iter().find(|plateau| *plateau < self.length)?,
            said => said,
        };
        (mtu < self.length).then_some(mtu.max(smallest))
    }
}

impl Paths {
    /// Takes the MTUs of interfaces by our addresses; whether any is another than before.
    pub(crate) fn set_links(&mut self, links: BTreeMap<IpAddr, u32>) -> bool {
        let changed = self.links != links;
        self.links = links;
        changed
    }

    /// Takes a router's word about a packet that was ours. Returns the MTU, when it is a smaller one than before.
    pub(crate) fn learn(&mut self, now: Instant, quoted: &Quoted, message: &Message<'_>) -> Option<u32> {
        let mtu = quoted.mtu(message.mtu)?;
        if self.mtu(quoted.ends).is_some_and(|known| known <= mtu) {
            return None;
        }
        self.learned.insert(quoted.ends, (mtu, now + REMEMBERED));
        Some(mtu)
    }

    /// The largest packet that the path carries, in bytes, as far as is known.
    pub(crate) fn mtu(&self, ends: Ends) -> Option<u32> {
        let learned = self.learned.get(&ends).map(|(mtu, _)| *mtu);
        learned.into_iter().chain(self.links.get(&ends.0).copied()).min()
    }

    /// Tells an SA how much its path carries.
    pub(crate) fn tell(&self, sa: &LiveSa) {
        sa.path.store(self.mtu((sa.source, sa.destination)).unwrap_or(0), Ordering::Relaxed);
    }

    /// Forgets what is old; whether there was any.
    pub(crate) fn forget(&mut self, now: Instant) -> bool {
        let before = self.learned.len();
        self.learned.retain(|_, (_, until)| now < *until);
        self.learned.len() != before
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quoted(length: u32) -> Quoted {
        let ends = ("192.0.2.1".parse().unwrap(), "198.51.100.1".parse().unwrap());
        Quoted { ends, proto: SaProto::Esp, spi: 0x1234, sequence: 70_000, length }
    }

    #[test]
    fn only_what_was_sent_just_now_is_recent() {
        let packet = quoted(1500);
        assert!(packet.is_recent(70_000) && packet.is_recent(70_001));
        assert!(!packet.is_recent(69_999), "not sent yet");
        assert!(!packet.is_recent(70_000 + u64::from(RECENT)), "long ago");
        assert!(packet.is_recent((5 << 32) + 70_000), "with extended sequence numbers");
        assert!(!Quoted { sequence: 0, ..packet }.is_recent(0), "an SA that has sent nothing");
    }

    #[test]
    fn lower_never_higher_until_it_is_forgotten() {
        let mut paths = Paths::default();
        let now = Instant::now();
        let ends = quoted(0).ends;
        let said = |mtu| Message { mtu, original: &[] };
        assert!(paths.set_links(BTreeMap::from([(ends.0, 1500)])));
        assert_eq!(paths.mtu(ends), Some(1500));
        assert_eq!(paths.learn(now, &quoted(1500), &said(1500)), None, "it would have fitted");
        assert_eq!(paths.learn(now, &quoted(1480), &said(1400)), Some(1400));
        assert_eq!(paths.learn(now, &quoted(1480), &said(1450)), None);
        assert_eq!(paths.learn(now, &quoted(1480), &said(68)), Some(576), "nobody talks it into crumbs");
        assert_eq!((paths.mtu(ends), paths.mtu((ends.0, ends.0))), (Some(576), Some(1500)));
        assert!(!paths.forget(now + Duration::from_secs(599)));
        assert!(paths.forget(now + Duration::from_secs(600)));
        assert_eq!(paths.mtu(ends), Some(1500));
        assert_eq!(paths.learn(now, &quoted(1480), &said(0)), Some(1006), "a router from before RFC 1191");
    }

    proptest! {
        #[test]
        fn any_bytes(mut bytes in prop::collection::vec(any::<u8>(), 0..100), version in prop::sample::select(vec![4u8, 6])) {
            if let Some(first) = bytes.first_mut() {
                *first = version << 4 | *first & 0x0f;
            }
            let _ = Quoted::parse(&bytes);
        }
    }
}
