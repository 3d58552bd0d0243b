//! Entries by number that are also found by what they are about, however many there are.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hash};

/// What an entry can be found by.
pub(crate) trait Keyed {
    /// One key.
    type Key: Copy + Hash + Eq;
    /// All of them; an entry under changing keys is removed and inserted anew, see [`Table::changed`].
    fn keys(&self) -> impl Iterator<Item = Self::Key>;
}

/// Entries in the order of their numbers.
pub(crate) struct Table<T> {
    /// Boxed: a map's node has room for eleven, and half of that is empty where numbers grow.
    entries: BTreeMap<u64, Box<T>>,
    /// Hashes of keys, with whose they are: 16 bytes for a key, and who has the same hash is told apart at the entry.
    index: BTreeSet<(u64, u64)>,
    hasher: RandomState,
}

impl<T: Keyed> Table<T> {
    pub(crate) fn new() -> Self {
        Self { entries: BTreeMap::new(), index: BTreeSet::new(), hasher: RandomState::new() }
    }

    pub(crate) fn insert(&mut self, id: u64, entry: T) {
        self.remove(id);
        for key in entry.keys() {
            self.index.insert((self.hasher.hash_one(key), id));
        }
        self.entries.insert(id, Box::new(entry));
    }

    pub(crate) fn remove(&mut self, id: u64) -> Option<T> {
        let entry = self.entries.remove(&id)?;
        for key in entry.keys() {
            self.index.remove(&(self.hasher.hash_one(key), id));
        }
        Some(*entry)
    }

    pub(crate) fn get(&self, id: &u64) -> Option<&T> {
        self.entries.get(id).map(Box::as_ref)
    }

    /// In order.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (&u64, &T)> {
        self.entries.iter().map(|(id, entry)| (id, entry.as_ref()))
    }

    /// The numbers, in order.
    pub(crate) fn keys(&self) -> impl DoubleEndedIterator<Item = &u64> {
        self.entries.keys()
    }

    /// In order.
    pub(crate) fn values(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.entries.values().map(Box::as_ref)
    }

    /// One entry, whose keys must stay; else say [`Table::changed`].
    pub(crate) fn get_mut(&mut self, id: &u64) -> Option<&mut T> {
        self.entries.get_mut(id).map(Box::as_mut)
    }

    /// All entries, whose keys must stay.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.entries.values_mut().map(Box::as_mut)
    }

    /// Where the entry is found, after its keys were `before` and are others now.
    pub(crate) fn changed(&mut self, id: u64, before: impl IntoIterator<Item = T::Key>) {
        for key in before {
            self.index.remove(&(self.hasher.hash_one(key), id));
        }
        for key in self.entries.get(&id).map(Box::as_ref).into_iter().flat_map(T::keys) {
            self.index.insert((self.hasher.hash_one(key), id));
        }
    }

    /// The numbers of those with this key, in order.
    pub(crate) fn ids(&self, key: T::Key) -> Vec<u64> {
        self.of(key).map(|(id, _)| id).collect()
    }

    /// Those with this key, in order.
    pub(crate) fn of(&self, key: T::Key) -> impl DoubleEndedIterator<Item = (u64, &T)> {
        let hash = self.hasher.hash_one(key);
        let same = move |id: u64| {
            let entry = self.get(&id)?;
            entry.keys().any(|own| own == key).then_some((id, entry))
        };
        self.index.range((hash, 0)..=(hash, u64::MAX)).filter_map(move |(_, id)| same(*id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Keyed for (char, u8) {
        type Key = char;

        fn keys(&self) -> impl Iterator<Item = char> {
            std::iter::once(self.0)
        }
    }

    #[test]
    fn found_by_what_they_are_about() {
        let mut table = Table::new();
        for (id, entry) in [(3, ('a', 3)), (1, ('b', 1)), (2, ('a', 2))] {
            table.insert(id, entry);
        }
        assert_eq!(table.ids('a'), [2, 3]);
        table.get_mut(&2).unwrap().0 = 'c';
        table.changed(2, ['a']);
        assert_eq!((table.ids('a'), table.ids('c')), (vec![3], vec![2]));
        table.insert(3, ('b', 4));
        assert_eq!(table.of('b').map(|(_, entry)| entry.1).collect::<Vec<_>>(), [1, 4]);
        assert_eq!(table.remove(1), Some(('b', 1)));
        assert_eq!((table.ids('b'), table.ids('a')), (vec![3], vec![]));
        assert_eq!(table.index.len(), table.entries.len());
    }
}
