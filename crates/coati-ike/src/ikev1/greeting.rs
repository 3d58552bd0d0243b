//! What the first message of a stranger leaves behind: next to nothing, in a table that cannot grow.
//!
//! Main mode's first message is answered without a state machine. The responder's cookie is a keyed hash of both
//! addresses, the initiator's cookie and the offer, so whoever sends it back in message 3 has received our answer: only
//! then a [`super::phase1::Phase1`] is made and an exponentiation done. When the table is full, one of the older entries
//! goes by chance, so that a flood with invented addresses keeps nobody out for sure (RFC 2408 section 2.5.3). Addresses that a
//! `remote` section names have shelves of their own: who invents others cannot push them out.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use coati_crypto::RandomSource;
use coati_crypto::hash::HashAlgorithm;
use coati_crypto::mac::Hmac;

use crate::config::IkeProposal;

/// What shelves hold at the most, those for offers of ordinary length and those for long ones: entries, and bytes of
/// all offers. With 80 000 first messages a second an entry lasts for some
/// 0.2 s, longer than a round trip.
const LIMITS: [Limit; 2] =
    [Limit { entries: 16_384, bytes: usize::MAX }, Limit { entries: 1024, bytes: 1 << 20 }];
/// Longest ordinary offer in bytes: with it an entry has below 512 bytes.
const SMALL: usize = 288;
/// Entries looked at when one has to go.
const SAMPLES: usize = 8;
/// Entries of one address at the most.
const MAX_OF_ONE: usize = 64;
/// How long the initiator may take for its second message.
const LIFE: Duration = Duration::from_secs(32);

/// One first message that was answered.
#[derive(Clone, Debug)]
pub(crate) struct Greeting {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    /// Initiator's, responder's.
    pub(crate) cookies: [[u8; 8]; 2],
    /// Index of the peer's configuration, and of the proposal in it that was chosen.
    pub(crate) peer: u32,
    pub(crate) proposal: u32,
    /// Seconds agreed upon.
    pub(crate) lifetime: u32,
    /// Body of the initiator's SA payload: its authentication covers it.
    pub(crate) sa_body: Box<[u8]>,
    /// What its vendor ids say.
    pub(crate) abilities: Abilities,
    pub(crate) since: Instant,
}

/// What a peer has announced by vendor ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Abilities {
    pub(crate) dpd: bool,
    pub(crate) fragmentation: bool,
    pub(crate) nat: Option<super::nat::Version>,
}

impl Greeting {
    /// The proposal agreed upon.
    pub(crate) fn agreed(&self, proposals: &[IkeProposal]) -> Option<IkeProposal> {
        let ours = proposals.get(usize::try_from(self.proposal).ok()?)?;
        Some(IkeProposal { lifetime: self.lifetime, ..ours.clone() })
    }
}

type Key = (SocketAddr, [[u8; 8]; 2]);

/// The table.
pub(crate) struct Greetings {
    secret: Hmac,
    /// Of addresses that a `remote` section names.
    named: [Shelf; 2],
    /// Of all others.
    others: [Shelf; 2],
}

#[derive(Clone, Copy)]
struct Limit {
    entries: usize,
    bytes: usize,
}

/// Entries of one kind.
#[derive(Default)]
struct Shelf {
    list: Vec<Greeting>,
    index: HashMap<Key, usize>,
    of_one: HashMap<IpAddr, usize>,
    /// Of all offers.
    bytes: usize,
}

impl Greetings {
    pub(crate) fn new(random: &mut dyn RandomSource) -> Self {
        let mut secret = coati_crypto::Zeroizing::new([0; 32]);
        random.fill(secret.as_mut());
        let secret = Hmac::new(HashAlgorithm::Sha256, secret.as_ref());
        Self { secret, named: Default::default(), others: Default::default() }
    }

    /// Our cookie for this first message; the same for its repetitions.
    pub(crate) fn cookie(
        &self,
        local: SocketAddr,
        remote: SocketAddr,
        theirs: [u8; 8],
        offer: &[u8],
    ) -> [u8; 8] {
        let ends = [local, remote].map(|end| match end.ip() {
            IpAddr::V4(address) => (address.to_ipv6_mapped().octets(), end.port().to_be_bytes()),
            IpAddr::V6(address) => (address.octets(), end.port().to_be_bytes()),
        });
        let [(local, local_port), (remote, remote_port)] = &ends;
        let tag = self.secret.sign(&[local, local_port, remote, remote_port, &theirs, offer]);
        let mut cookie = [0; 8];
        cookie.iter_mut().zip(tag).for_each(|(to, from)| *to = from);
        // A cookie of ours is never 0.
        if cookie == [0; 8] { [1; 8] } else { cookie }
    }

    /// Keeps a first message that was answered. `is_named`: a `remote` section has its sender's address.
    pub(crate) fn keep(&mut self, random: &mut dyn RandomSource, greeting: Greeting, is_named: bool) {
        let [ordinary, long] = if is_named { &mut self.named } else { &mut self.others };
        let [ordinary_limit, long_limit] = LIMITS;
        if greeting.sa_body.len() <= SMALL {
            ordinary.keep(random, greeting, ordinary_limit);
        } else {
            long.keep(random, greeting, long_limit);
        }
    }

    /// Takes the one that a second message belongs to.
    pub(crate) fn take(
        &mut self,
        now: Instant,
        remote: SocketAddr,
        cookies: [[u8; 8]; 2],
    ) -> Option<Greeting> {
        let key = (remote, cookies);
        let mut shelves = self.named.iter_mut().chain(&mut self.others);
        let found = shelves.find_map(|shelf| shelf.take(&key))?;
        (now.saturating_duration_since(found.since) < LIFE).then_some(found)
    }

    /// Forgets all: they point into a configuration that is gone.
    pub(crate) fn clear(&mut self) {
        (self.named, self.others) = Default::default();
    }

    /// Number of entries and bytes that they hold.
    #[cfg(test)]
    pub(crate) fn held(&self) -> (usize, usize) {
        let bytes = |shelf: &Shelf| {
            let entry = std::mem::size_of::<(Key, usize)>() + 1;
            let address = std::mem::size_of::<(IpAddr, usize)>() + 1;
            shelf.list.capacity() * std::mem::size_of::<Greeting>()
                + shelf.list.iter().map(|greeting| greeting.sa_body.len()).sum::<usize>()
                + shelf.index.capacity() * 8 / 7 * entry
                + shelf.of_one.capacity() * 8 / 7 * address
        };
        let shelves = || self.named.iter().chain(&self.others);
        (shelves().map(|shelf| shelf.list.len()).sum(), shelves().map(bytes).sum())
    }
}

impl Shelf {
    fn keep(&mut self, random: &mut dyn RandomSource, greeting: Greeting, limit: Limit) {
        let key = (greeting.remote, greeting.cookies);
        if let Some(known) = self.index.get(&key).and_then(|index| self.list.get_mut(*index)) {
            known.since = greeting.since;
            return;
        }
        let address = greeting.remote.ip();
        let of_one = self.of_one.get(&address).copied().unwrap_or(0);
        if of_one >= MAX_OF_ONE {
            self.evict(random, Some(address));
        }
        let len = greeting.sa_body.len();
        let Some(room) = limit.bytes.checked_sub(len) else { return };
        while self.list.len() >= limit.entries || self.bytes > room {
            if !self.evict(random, None) {
                return;
            }
        }
        self.index.insert(key, self.list.len());
        *self.of_one.entry(address).or_default() += 1;
        self.bytes += len;
        self.list.push(greeting);
    }

    /// One goes: the oldest of some taken by chance, so that hardly ever a young one does. Of one address it is any one,
    /// looked for from a random place on. `false` when there is none.
    fn evict(&mut self, random: &mut dyn RandomSource, of: Option<IpAddr>) -> bool {
        let count = self.list.len();
        let bound = u32::try_from(count.max(1)).unwrap_or(1);
        let mut any = || usize::try_from(random.below(bound)).unwrap_or(0);
        let found = match of {
            None => {
                (0..SAMPLES).map(|_| any()).min_by_key(|index| self.list.get(*index).map(|one| one.since))
            }
            Some(address) => {
                let start = any();
                let is_its = |one: &Greeting| one.remote.ip() == address;
                (start..count).chain(0..start).find(|index| self.list.get(*index).is_some_and(is_its))
            }
        };
        found.and_then(|index| self.remove(index)).is_some()
    }

    fn take(&mut self, key: &Key) -> Option<Greeting> {
        let index = self.index.get(key).copied()?;
        self.remove(index)
    }

    fn remove(&mut self, index: usize) -> Option<Greeting> {
        if index >= self.list.len() {
            return None;
        }
        let gone = self.list.swap_remove(index);
        self.index.remove(&(gone.remote, gone.cookies));
        self.bytes -= gone.sa_body.len();
        if let Some(moved) = self.list.get(index) {
            self.index.insert((moved.remote, moved.cookies), index);
        }
        if let Some(count) = self.of_one.get_mut(&gone.remote.ip()) {
            *count -= 1;
            if *count == 0 {
                self.of_one.remove(&gone.remote.ip());
            }
        }
        Some(gone)
    }
}

#[cfg(test)]
mod tests {
    use coati_crypto::SeededRandom;

    use super::*;

    fn greeting(host: u32, cookie: u8, now: Instant, len: usize) -> Greeting {
        Greeting {
            local: "192.0.2.1:500".parse().unwrap(),
            remote: SocketAddr::new(IpAddr::V4(host.into()), 500),
            cookies: [[cookie; 8], [1; 8]],
            peer: 0,
            proposal: 0,
            lifetime: 1,
            sa_body: vec![0; len].into(),
            abilities: Abilities::default(),
            since: now,
        }
    }

    #[test]
    fn an_entry_is_small_and_the_table_bounded() {
        let mut random = SeededRandom::new(1);
        let mut table = Greetings::new(&mut random);
        let now = Instant::now();
        for host in 0..60_000 {
            table.keep(&mut random, greeting(host, 1, now, if host % 10 == 0 { 3000 } else { SMALL }), false);
        }
        let (entries, bytes) = table.held();
        let [ordinary, long] = &table.others;
        assert_eq!(ordinary.list.len(), 16_384);
        assert_eq!(long.bytes, (1 << 20) / 3000 * 3000, "so many long ones fit");
        let per_entry = (bytes - long.bytes) / entries;
        assert!(std::mem::size_of::<Greeting>() + SMALL < 512, "{}", std::mem::size_of::<Greeting>());
        assert!(per_entry < 800, "{per_entry} with all indices");
        for index in ordinary.index.values() {
            assert!(*index < ordinary.list.len());
        }
        // One that is longer than all may be together changes nothing for the others.
        table.keep(&mut random, greeting(1, 2, now, 2 << 20), true);
        assert_eq!(table.held().0, entries);
    }

    /// Of a hundred peers that need 100 ms for the way back and forth, with 80 000 messages a second of others.
    #[test]
    fn a_flood_pushes_out_nobody_who_answers_in_time() {
        let mut random = SeededRandom::new(1);
        let mut table = Greetings::new(&mut random);
        let start = Instant::now();
        let at = |number: u32| start + Duration::from_micros(u64::from(number) * 25 / 2);
        (0..20_000).for_each(|n| table.keep(&mut random, greeting(n + 1000, 1, at(n), 50), false));
        let mut lost = 0;
        for peer in 0..100u32 {
            let began = 20_000 + peer * 8000;
            let (anonymous, named) =
                (greeting(peer, 1, at(began), 50), greeting(peer + 500, 1, at(began), 50));
            table.keep(&mut random, anonymous.clone(), false);
            table.keep(&mut random, named.clone(), true);
            for number in began..began + 8000 {
                table.keep(&mut random, greeting(number + 1000, 1, at(number), 50), false);
            }
            lost += u32::from(table.take(at(began + 8000), anonymous.remote, anonymous.cookies).is_none());
            assert!(
                table.take(at(began + 8000), named.remote, named.cookies).is_some(),
                "a named one is lost"
            );
        }
        assert!(lost <= 2, "{lost} of 100 are lost");
    }

    #[test]
    fn one_address_cannot_fill_it() {
        let mut random = SeededRandom::new(1);
        let mut table = Greetings::new(&mut random);
        let now = Instant::now();
        table.keep(&mut random, greeting(7, 1, now, 50), false);
        for cookie in 0..=255 {
            table.keep(&mut random, greeting(9, cookie, now, 50), false);
        }
        assert_eq!(table.held().0, 1 + MAX_OF_ONE);
        let key = greeting(7, 1, now, 50);
        assert!(table.take(now, key.remote, key.cookies).is_some());
        assert!(table.take(now, key.remote, key.cookies).is_none());
        table.keep(&mut random, greeting(7, 1, now, 50), false);
        assert!(table.take(now + LIFE, key.remote, key.cookies).is_none(), "it is too old");
    }

    #[test]
    fn the_cookie_depends_on_everything() {
        let mut random = SeededRandom::new(1);
        let table = Greetings::new(&mut random);
        let [a, b]: [SocketAddr; 2] = ["192.0.2.1:500", "192.0.2.1:501"].map(|a| a.parse().unwrap());
        let all = [
            table.cookie(a, b, [1; 8], b"x"),
            table.cookie(b, a, [1; 8], b"x"),
            table.cookie(a, b, [2; 8], b"x"),
            table.cookie(a, b, [1; 8], b"y"),
            Greetings::new(&mut random).cookie(a, b, [1; 8], b"x"),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(all.iter().skip(i + 1).all(|other| other != one));
        }
        assert_eq!(table.cookie(a, b, [1; 8], b"x"), all[0]);
    }
}
