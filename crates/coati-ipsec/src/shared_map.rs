//! A map whose copies cost little to make and to change, however much is in it: readers keep the copy they have.

use std::borrow::Borrow;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

/// Branches of the tree, and leaves of a branch: a change of one entry copies one of each, and a leaf has but a few
/// entries even where there are 65 536.
const WIDTH: usize = 64;

/// Entries whose keys have hashes that end alike.
type Leaf<K, V> = Arc<Vec<(K, V)>>;
type Branch<K, V> = Arc<[Leaf<K, V>; WIDTH]>;

/// The map. A clone shares everything with its original until one of the two changes.
#[derive(Clone, Debug)]
pub(crate) struct SharedMap<K, V> {
    branches: Arc<[Branch<K, V>; WIDTH]>,
    hasher: RandomState,
}

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> Self {
        let leaf: Leaf<K, V> = Arc::default();
        let branch: Branch<K, V> = Arc::new(std::array::from_fn(|_| leaf.clone()));
        Self { branches: Arc::new(std::array::from_fn(|_| branch.clone())), hasher: RandomState::new() }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> SharedMap<K, V> {
    /// Branch and leaf of a key.
    fn place<Q: Hash + ?Sized>(&self, key: &Q) -> (usize, usize) {
        let hash = usize::try_from(self.hasher.hash_one(key) % (WIDTH * WIDTH) as u64).unwrap_or(0);
        (hash / WIDTH, hash % WIDTH)
    }

    pub(crate) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let (branch, leaf) = self.place(key);
        let entries = self.branches.get(branch)?.get(leaf)?;
        entries.iter().find(|(own, _)| own.borrow() == key).map(|(_, value)| value)
    }

    fn leaf(&mut self, key: &K) -> &mut Vec<(K, V)> {
        let (branch, leaf) = self.place(key);
        let branch = &mut Arc::make_mut(&mut self.branches)[branch];
        Arc::make_mut(&mut Arc::make_mut(branch)[leaf])
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        let leaf = self.leaf(&key);
        match leaf.iter_mut().find(|(own, _)| *own == key) {
            Some((_, old)) => *old = value,
            None => {
                leaf.reserve_exact(1);
                leaf.push((key, value));
            }
        }
    }

    pub(crate) fn remove(&mut self, key: &K) {
        self.leaf(key).retain(|(own, _)| own != key);
    }
}

impl<K: Hash + Eq + Clone, V: Clone> SharedMap<K, Vec<V>> {
    /// Changes the list of this key; an empty one is not kept.
    pub(crate) fn change(&mut self, key: K, change: impl FnOnce(&mut Vec<V>)) {
        let mut list = self.get(&key).cloned().unwrap_or_default();
        change(&mut list);
        if list.is_empty() {
            self.remove(&key);
        } else {
            list.shrink_to_fit();
            self.insert(key, list);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_stays_as_it_was() {
        let mut map = SharedMap::default();
        for number in 0..10_000 {
            map.insert(number, number);
        }
        assert!((0..10_000).all(|number| map.get(&number) == Some(&number)));
        let before = map.clone();
        map.insert(7, 8);
        map.remove(&9);
        assert_eq!((before.get(&7), before.get(&9)), (Some(&7), Some(&9)));
        assert_eq!((map.get(&7), map.get(&9)), (Some(&8), None));
        let same = before.branches.iter().zip(map.branches.iter()).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert!(same >= WIDTH - 2, "a change copies one branch");
        let leaves = |map: &SharedMap<i32, i32>| -> Vec<Leaf<i32, i32>> {
            map.branches.iter().flat_map(|branch| branch.iter().cloned()).collect()
        };
        let (before, after) = (leaves(&before), leaves(&map));
        let same = before.iter().zip(&after).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert!(same >= WIDTH * WIDTH - 2, "and one leaf");
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
