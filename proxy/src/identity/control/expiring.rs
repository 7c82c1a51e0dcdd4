//! A map whose entries end at a time of their own. Pure: the clock is passed in.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
};

/// Entries by key, each until a second of its own. It holds no bound; its users do.
#[derive(Debug)]
pub(super) struct ExpiringMap<K, V> {
    entries: HashMap<K, (u64, V)>,
    by_end: BTreeSet<(u64, K)>,
}

impl<K: Copy + Eq + Hash + Ord, V> ExpiringMap<K, V> {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, key: K) -> Option<&V> {
        self.entries.get(&key).map(|(_, value)| value)
    }

    pub(super) fn get_mut(&mut self, key: K) -> Option<&mut V> {
        self.entries.get_mut(&key).map(|(_, value)| value)
    }

    /// All entries, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (K, &V)> + Clone {
        self.entries.iter().map(|(key, (_, value))| (*key, value))
    }

    /// The same with the end of each.
    pub(super) fn iter_until(&self) -> impl Iterator<Item = (K, u64, &V)> {
        self.entries.iter().map(|(key, (until_s, value))| (*key, *until_s, value))
    }

    /// An entry of the same key is replaced.
    pub(super) fn insert(&mut self, key: K, until_s: u64, value: V) {
        self.remove(key);
        self.entries.insert(key, (until_s, value));
        self.by_end.insert((until_s, key));
    }

    pub(super) fn remove(&mut self, key: K) -> Option<V> {
        let (until_s, value) = self.entries.remove(&key)?;
        self.by_end.remove(&(until_s, key));
        Some(value)
    }

    /// When the entry ends that ends first.
    pub(super) fn first_end_s(&self) -> Option<u64> {
        self.by_end.first().map(|(until_s, _)| *until_s)
    }

    /// Removes the entry that ends first.
    pub(super) fn remove_first(&mut self) -> Option<(K, V)> {
        let (_, key) = *self.by_end.first()?;
        Some((key, self.remove(key)?))
    }

    /// Removes the entries whose last second has passed.
    pub(super) fn remove_expired(&mut self, now_s: u64) -> Vec<(K, V)> {
        let mut expired = Vec::new();
        while self.by_end.first().is_some_and(|(until_s, _)| *until_s < now_s) {
            expired.extend(self.remove_first());
        }
        expired
    }

    /// Removes all entries.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (K, V)> {
        self.by_end.clear();
        self.entries.drain().map(|(key, (_, value))| (key, value))
    }
}

impl<K, V> Default for ExpiringMap<K, V> {
    fn default() -> Self {
        ExpiringMap { entries: HashMap::new(), by_end: BTreeSet::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_there_in_its_last_second_and_not_after() {
        let mut map = ExpiringMap::default();
        map.insert(1, 10, 'a');
        map.insert(2, 20, 'b');
        assert!(map.remove_expired(10).is_empty());
        assert_eq!(map.remove_expired(11), [(1, 'a')]);
        assert_eq!((map.get(1), map.get(2), map.len()), (None, Some(&'b'), 1));
    }

    #[test]
    fn an_entry_that_was_replaced_lives_as_long_as_the_new_one() {
        let mut map = ExpiringMap::default();
        map.insert(1, 10, 'a');
        map.insert(1, 30, 'b');
        assert!(map.remove_expired(20).is_empty());
        assert_eq!(map.remove_first(), Some((1, 'b')));
        assert_eq!(map.remove_first(), None);
    }
}
