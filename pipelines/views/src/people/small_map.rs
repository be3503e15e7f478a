//! A map of a few entries mostly, of many sometimes: a sorted list that becomes a tree.

use std::{collections::BTreeMap, mem};

use serde::{Deserialize, Serialize};

/// Beyond so many entries a list becomes a tree.
const MAX_LISTED: usize = 32;

/// A map in the order of its keys.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum SmallMap<K: Ord, V> {
    /// A few.
    Listed(Vec<(K, V)>),
    /// Many.
    Tree(BTreeMap<K, V>),
}

impl<K: Ord, V> Default for SmallMap<K, V> {
    fn default() -> Self {
        SmallMap::Listed(Vec::new())
    }
}

impl<K: Ord, V> SmallMap<K, V> {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        match self {
            SmallMap::Listed(list) => list.len(),
            SmallMap::Tree(tree) => tree.len(),
        }
    }

    /// True where there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of `key`.
    pub fn get(&self, key: &K) -> Option<&V> {
        match self {
            SmallMap::Listed(list) => list.binary_search_by(|(other, _)| other.cmp(key)).ok().map(|at| &list[at].1),
            SmallMap::Tree(tree) => tree.get(key),
        }
    }

    /// The value of `key`, which is made where there is none.
    pub fn entry(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        if let SmallMap::Listed(list) = self
            && list.len() >= MAX_LISTED
            && list.binary_search_by(|(other, _)| other.cmp(&key)).is_err()
        {
            *self = SmallMap::Tree(mem::take(list).into_iter().collect());
        }
        match self {
            SmallMap::Listed(list) => {
                let at = list.binary_search_by(|(other, _)| other.cmp(&key)).unwrap_or_else(|at| {
                    make_room(list);
                    list.insert(at, (key, V::default()));
                    at
                });
                &mut list[at].1
            }
            SmallMap::Tree(tree) => tree.entry(key).or_default(),
        }
    }

    /// Entries in the order of their keys.
    pub fn iter(&self) -> Box<dyn Iterator<Item = (&K, &V)> + '_> {
        match self {
            SmallMap::Listed(list) => Box::new(list.iter().map(|(key, value)| (key, value))),
            SmallMap::Tree(tree) => Box::new(tree.iter()),
        }
    }

    /// Keeps the entries that `keep` says.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        match self {
            SmallMap::Listed(list) => list.retain(|(key, value)| keep(key, value)),
            SmallMap::Tree(tree) => tree.retain(|key, value| keep(key, value)),
        }
    }
}

/// Makes room for one more. Most people have one or two of anything, so that lists of theirs grow by half
/// of what they are, and not to four at first and twice as much then.
pub(super) fn make_room<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact(1 + list.len() / 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_becomes_a_tree_and_stays_in_order() {
        let mut map = SmallMap::<u32, u32>::default();
        for n in (0..100).rev().chain(0..100) {
            *map.entry(n) += n;
        }
        assert_eq!(map.len(), 100);
        assert!(matches!(map, SmallMap::Tree(_)));
        assert!(map.iter().map(|(key, value)| (*key, *value)).eq((0..100).map(|n| (n, 2 * n))));
        map.retain(|key, _| *key < 3);
        assert_eq!((map.get(&2), map.get(&3)), (Some(&4), None));
    }
}
