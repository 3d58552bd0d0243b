//! A map that is copied and changed in little time, however much is in it: readers keep the copy they have.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

/// Parts that are copied one by one: a change of one entry copies one of them.
const SHARDS: usize = 64;

/// The map. A clone shares everything with its original until one of the two changes.
#[derive(Clone, Debug)]
pub(crate) struct SharedMap<K, V> {
    shards: Vec<Arc<HashMap<K, V>>>,
    hasher: RandomState,
}

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> Self {
        let empty = Arc::new(HashMap::new());
        Self { shards: vec![empty; SHARDS], hasher: RandomState::new() }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> SharedMap<K, V> {
    fn place<Q: Hash + ?Sized>(&self, key: &Q) -> usize {
        usize::try_from(self.hasher.hash_one(key)).unwrap_or(0) % SHARDS
    }

    pub(crate) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.shards.get(self.place(key))?.get(key)
    }

    fn shard(&mut self, key: &K) -> &mut HashMap<K, V> {
        let place = self.place(key);
        Arc::make_mut(&mut self.shards[place])
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.shard(&key).insert(key, value);
    }

    pub(crate) fn remove(&mut self, key: &K) {
        self.shard(key).remove(key);
    }
}

impl<K: Hash + Eq + Clone, V: Clone> SharedMap<K, Vec<V>> {
    /// Changes the list of this key; an empty one is not kept.
    pub(crate) fn change(&mut self, key: K, change: impl FnOnce(&mut Vec<V>)) {
        let shard = self.shard(&key);
        let list = shard.entry(key.clone()).or_default();
        change(list);
        if list.is_empty() {
            shard.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_stays_as_it_was() {
        let mut map = SharedMap::default();
        for number in 0..1000 {
            map.insert(number, number);
        }
        let before = map.clone();
        map.insert(7, 8);
        map.remove(&9);
        assert_eq!((before.get(&7), before.get(&9)), (Some(&7), Some(&9)));
        assert_eq!((map.get(&7), map.get(&9)), (Some(&8), None));
        let same = before.shards.iter().zip(&map.shards).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert!(same >= SHARDS - 2);
    }

    #[test]
    fn lists_without_anything_are_not_kept() {
        let mut map: SharedMap<u8, Vec<u8>> = SharedMap::default();
        map.change(1, |list| list.push(2));
        assert_eq!(map.get(&1), Some(&vec![2]));
        map.change(1, Vec::clear);
        assert_eq!(map.get(&1), None);
    }
}
