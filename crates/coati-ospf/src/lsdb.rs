//! The link state database of one area (RFC 2328 sections 12.2 and 14).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use coati_wire::ospf::{Lsa, LsaHeader, LsaKey, MAX_AGE};

/// LSAs at the most: beyond, new ones are refused.
pub(crate) const MAX_LSAS: usize = 100_000;
/// Own LSAs are originated anew at this age.
pub(crate) const REFRESH: Duration = Duration::from_secs(1800);
/// Set in ages that do not grow (RFC 1793).
const DO_NOT_AGE: u16 = 0x8000;
/// Instances that may come at once, before they come once in MinLSArrival.
const ARRIVAL_TOKENS: u32 = 5;
const MIN_LS_ARRIVAL: Duration = Duration::from_secs(1);

/// An LSA and when it was installed.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) lsa: Lsa,
    pub(crate) installed: Instant,
    /// Arrivals that are still allowed, and since when.
    tokens: (u32, Instant),
}

impl Entry {
    /// Age now, in seconds with the DoNotAge bit.
    pub(crate) fn age(&self, now: Instant) -> u16 {
        let age = self.lsa.header.age;
        if age & DO_NOT_AGE != 0 {
            return age;
        }
        let elapsed = now.saturating_duration_since(self.installed).as_secs();
        u16::try_from(elapsed).unwrap_or(MAX_AGE).saturating_add(age).min(MAX_AGE)
    }

    /// The header as it is now.
    pub(crate) fn header(&self, now: Instant) -> LsaHeader {
        LsaHeader { age: self.age(now), ..self.lsa.header }
    }

    pub(crate) fn is_max_age(&self, now: Instant) -> bool {
        self.age(now) & !DO_NOT_AGE >= MAX_AGE
    }

    fn expires(&self) -> Option<Instant> {
        let age = self.lsa.header.age;
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
}

impl Lsdb {
    pub(crate) fn get(&self, key: &LsaKey) -> Option<&Entry> {
        self.entries.get(key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&LsaKey, &Entry)> {
        self.entries.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Puts an instance in the place of the one before; whether routes may be different now.
    pub(crate) fn install(&mut self, now: Instant, lsa: Lsa) -> bool {
        let key = lsa.header.key;
        let old = self.remove(&key);
        let tokens = old.as_ref().map_or((ARRIVAL_TOKENS, now), |old| old.tokens);
        let entry = Entry { lsa, installed: now, tokens };
        let max_age = entry.is_max_age(now);
        let changed = match &old {
            None => !max_age,
            Some(old) => {
                old.lsa.body != entry.lsa.body
                    || old.lsa.header.options != entry.lsa.header.options
                    || old.is_max_age(now) != max_age
            }
        };
        if max_age {
            self.dying.insert(key);
        } else if let Some(at) = entry.expires() {
            self.expiry.insert((at, key));
        }
        self.entries.insert(key, entry);
        changed
    }

    pub(crate) fn remove(&mut self, key: &LsaKey) -> Option<Entry> {
        let old = self.entries.remove(key)?;
        if let Some(at) = old.expires() {
            self.expiry.remove(&(at, *key));
        }
        self.dying.remove(key);
        Some(old)
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
    pub(crate) fn may_arrive(&mut self, now: Instant, key: &LsaKey, by_tokens: bool) -> bool {
        let Some(entry) = self.entries.get_mut(key) else { return true };
        if !by_tokens {
            return now.saturating_duration_since(entry.installed) >= MIN_LS_ARRIVAL;
        }
        let (left, since) = &mut entry.tokens;
        let earned = now.saturating_duration_since(*since).as_secs();
        if earned > 0 {
            *left = left.saturating_add(u32::try_from(earned).unwrap_or(u32::MAX)).min(ARRIVAL_TOKENS);
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
