//! The link state database of one area, of one link, or of the AS (RFC 2328 sections 12.2 and 14, RFC 5250).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use coati_wire::ospf::{LSA_HEADER_LEN, LsaBody, LsaHeader, LsaKey, MAX_AGE, MAX_SEQUENCE};

use crate::config::AreaId;

/// LSAs at the most: beyond, new ones are refused.
pub(crate) const MAX_LSAS: usize = 100_000;
/// Own LSAs are originated anew at this age.
pub(crate) const REFRESH: Duration = Duration::from_secs(1800);
/// Set in ages that do not grow (RFC 1793).
pub(crate) const DO_NOT_AGE: u16 = 0x8000;
/// Instances that may come at once, before they come once in MinLSArrival.
const ARRIVAL_TOKENS: u8 = 5;
/// Packets are not under way for longer than this. It is less than MinLSInterval, so that nothing new is taken for it.
const LATE: Duration = Duration::from_secs(2);
/// Own LSAs go on with their numbers when they are originated again within this time.
const REMEMBERED: Duration = Duration::from_secs(60);

/// How far an LSA goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// One link, by our interface.
    Link(u32),
    /// One area.
    Area(AreaId),
    /// Everywhere but in stub areas.
    As,
}

/// An LSA and when it was installed. There are many and they are seldom looked into, so what they say stays in their
/// bytes.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    bytes: Box<[u8]>,
    pub(crate) installed: Instant,
    /// Arrivals that are still allowed, and since when.
    tokens: (u8, Instant),
}

impl Entry {
    /// The header as it was when it was installed.
    pub(crate) fn instance(&self) -> LsaHeader {
        LsaHeader::read(self.bytes.first_chunk().unwrap_or(&[0; LSA_HEADER_LEN]))
    }

    /// Behind the header.
    pub(crate) fn body_bytes(&self) -> &[u8] {
        self.bytes.get(LSA_HEADER_LEN..).unwrap_or(&[])
    }

    /// What it says.
    pub(crate) fn body(&self) -> LsaBody {
        let body = LsaBody::parse(self.instance().key.kind, self.body_bytes());
        // It was parsed before it was installed.
        body.unwrap_or(LsaBody::Opaque(Vec::new()))
    }

    /// Its bytes with another age in seconds.
    pub(crate) fn emit_aged(&self, age: u16) -> Vec<u8> {
        let mut bytes = self.bytes.to_vec();
        if let Some(place) = bytes.first_chunk_mut() {
            *place = age.to_be_bytes();
        }
        bytes
    }

    /// Age now, in seconds with the DoNotAge bit.
    pub(crate) fn age(&self, now: Instant) -> u16 {
        let age = self.instance().age;
        if age & DO_NOT_AGE != 0 {
            return age;
        }
        let elapsed = now.saturating_duration_since(self.installed).as_secs();
        u16::try_from(elapsed).unwrap_or(MAX_AGE).saturating_add(age).min(MAX_AGE)
    }

    /// The header as it is now.
    pub(crate) fn header(&self, now: Instant) -> LsaHeader {
        LsaHeader { age: self.age(now), ..self.instance() }
    }

    pub(crate) fn is_max_age(&self, now: Instant) -> bool {
        self.age(now) & !DO_NOT_AGE >= MAX_AGE
    }

    /// Whether it was alive when it was installed: then graph and table have it until it is replaced or taken out,
    /// however old it has become.
    pub(crate) fn was_alive(&self) -> bool {
        self.instance().seconds() < MAX_AGE
    }

    fn expires(&self) -> Option<Instant> {
        let age = self.instance().age;
        (age & DO_NOT_AGE == 0)
            .then(|| self.installed + Duration::from_secs(u64::from(MAX_AGE.saturating_sub(age))))
    }
}

/// The database.
#[derive(Debug, Default)]
pub(crate) struct Lsdb {
    entries: BTreeMap<LsaKey, Entry>,
    expiry: BTreeSet<(Instant, LsaKey)>,
    /// Those at MaxAge that still have to be acknowledged.
    pub(crate) dying: BTreeSet<LsaKey>,
    /// The last instances of those that have died not long ago, and when they did.
    buried: BTreeMap<LsaKey, (LsaHeader, Instant)>,
    graves: VecDeque<(Instant, LsaKey)>,
    /// How many there were when the trees were made dense.
    dense: usize,
}

/// Makes a tree anew, with full nodes: one that grows in the order of its keys is half empty.
pub fn densely<K: Ord, V>(tree: &mut BTreeMap<K, V>) {
    *tree = std::mem::take(tree).into_iter().collect();
}

/// Trees are made dense when they have grown by a half, and by so many.
const GROWN: usize = 256;

impl Lsdb {
    pub(crate) fn get(&self, key: &LsaKey) -> Option<&Entry> {
        self.entries.get(key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&LsaKey, &Entry)> {
        self.entries.iter()
    }

    /// Those of one LS type.
    pub(crate) fn of_kind(&self, kind: u8) -> impl Iterator<Item = (&LsaKey, &Entry)> {
        self.range(kind, Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST)
    }

    /// Those of one LS type with this link state id.
    pub(crate) fn with_id(&self, kind: u8, id: Ipv4Addr) -> impl Iterator<Item = (&LsaKey, &Entry)> {
        self.range(kind, id, id)
    }

    fn range(&self, kind: u8, from: Ipv4Addr, to: Ipv4Addr) -> impl Iterator<Item = (&LsaKey, &Entry)> {
        let first = LsaKey { kind, id: from, advertising_router: Ipv4Addr::UNSPECIFIED };
        self.entries.range(first..=LsaKey { kind, id: to, advertising_router: Ipv4Addr::BROADCAST })
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Takes no more memory than it needs after it has grown; whether it had.
    pub(crate) fn condense(&mut self) -> bool {
        let has_grown = self.entries.len() > self.dense + self.dense / 2 + GROWN;
        if has_grown {
            self.dense = self.entries.len();
            densely(&mut self.entries);
            self.expiry = std::mem::take(&mut self.expiry).into_iter().collect();
        }
        has_grown
    }

    /// Puts an instance, of which these are the bytes, in the place of the one before, which is returned.
    pub(crate) fn install(&mut self, now: Instant, key: LsaKey, bytes: Vec<u8>) -> Option<Entry> {
        let old = self.remove(&key);
        let tokens = old.as_ref().map_or((ARRIVAL_TOKENS, now), |old| old.tokens);
        let entry = Entry { bytes: bytes.into(), installed: now, tokens };
        if entry.is_max_age(now) {
            self.dying.insert(key);
        } else if let Some(at) = entry.expires() {
            self.expiry.insert((at, key));
        }
        self.entries.insert(key, entry);
        old
    }

    pub(crate) fn remove(&mut self, key: &LsaKey) -> Option<Entry> {
        let old = self.entries.remove(key)?;
        if let Some(at) = old.expires() {
            self.expiry.remove(&(at, *key));
        }
        self.dying.remove(key);
        Some(old)
    }

    /// Takes an LSA out that has died, and remembers it for a while: packets overtake each other, and an update that
    /// comes late must not bring it back to life.
    pub(crate) fn bury(&mut self, now: Instant, key: &LsaKey) -> Option<Entry> {
        let old = self.remove(key)?;
        while let Some((at, key)) = self.graves.front().copied()
            && (now.saturating_duration_since(at) > REMEMBERED || self.graves.len() >= MAX_LSAS)
        {
            self.graves.pop_front();
            if self.buried.get(&key).is_some_and(|(_, died)| *died == at) {
                self.buried.remove(&key);
            }
        }
        self.buried.insert(*key, (old.instance(), now));
        self.graves.push_back((now, *key));
        Some(old)
    }

    /// Whether this instance is a late packet of an LSA that has just died.
    pub(crate) fn is_late(&self, now: Instant, header: &LsaHeader) -> bool {
        self.buried.get(&header.key).is_some_and(|(last, died)| {
            now.saturating_duration_since(*died) < LATE && header.compare(last).is_le()
        })
    }

    /// The last sequence number of an LSA that has died not long ago.
    pub(crate) fn last_sequence(&self, now: Instant, key: &LsaKey) -> Option<i32> {
        let (last, _) =
            self.buried.get(key).filter(|(_, died)| now.saturating_duration_since(*died) < REMEMBERED)?;
        Some(last.sequence).filter(|sequence| *sequence != MAX_SEQUENCE)
    }

    /// When the next LSA reaches MaxAge.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.expiry.first().map(|(at, _)| *at)
    }

    /// An LSA that has reached MaxAge and was not dealt with.
    pub(crate) fn pop_expired(&mut self, now: Instant) -> Option<LsaKey> {
        let (at, key) = *self.expiry.first().filter(|(at, _)| *at <= now)?;
        self.expiry.remove(&(at, key));
        self.dying.insert(key);
        Some(key)
    }

    /// Whether another instance may come now (MinLSArrival, as tokens or strictly).
    pub(crate) fn may_arrive(
        &mut self,
        now: Instant,
        key: &LsaKey,
        arrival: Duration,
        by_tokens: bool,
    ) -> bool {
        let Some(entry) = self.entries.get_mut(key) else { return true };
        if !by_tokens {
            return now.saturating_duration_since(entry.installed) >= arrival;
        }
        let (left, since) = &mut entry.tokens;
        let elapsed = now.saturating_duration_since(*since).as_nanos();
        let earned = elapsed.checked_div(arrival.as_nanos()).unwrap_or(u128::from(ARRIVAL_TOKENS));
        if earned > 0 {
            *left = left.saturating_add(u8::try_from(earned).unwrap_or(u8::MAX)).min(ARRIVAL_TOKENS);
            *since = now;
        }
        match left.checked_sub(1) {
            Some(fewer) => {
                *left = fewer;
                true
            }
            None => false,
        }
    }
}
