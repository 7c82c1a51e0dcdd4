//! Values that the connections of a worker share as long as one of them holds them.

use std::{
    collections::HashMap,
    hash::Hash,
    rc::{Rc, Weak},
};

/// Finds the living value of a key. The table itself keeps no value alive.
#[derive(Debug)]
pub(super) struct Interned<K, V>(HashMap<Rc<K>, Weak<V>>);

impl<K: Eq + Hash, V> Interned<K, V> {
    /// The value that is held already, or a new one.
    pub(super) fn get_or_insert(&mut self, key: K, make: impl FnOnce(Rc<K>) -> V) -> Rc<V> {
        if let Some(value) = self.0.get(&key).and_then(Weak::upgrade) {
            return value;
        }
        let key = Rc::new(key);
        let value = Rc::new(make(Rc::clone(&key)));
        self.0.insert(key, Rc::downgrade(&value));
        value
    }

    /// Removes the key if its value is no longer held. To be called when a value is dropped.
    pub(super) fn release(&mut self, key: &K) {
        if self.0.get(key).is_some_and(|value| value.strong_count() == 0) {
            self.0.remove(key);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl<K, V> Default for Interned<K, V> {
    fn default() -> Self {
        Interned(HashMap::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_shared_while_it_lives_and_forgotten_afterwards() {
        let mut table = Interned::default();
        let first = table.get_or_insert("a", |_| 1);
        let second = table.get_or_insert("a", |_| 2);
        assert!(Rc::ptr_eq(&first, &second));
        drop(first);
        table.release(&"a");
        assert_eq!(table.len(), 1, "somebody holds it");
        drop(second);
        table.release(&"a");
        assert_eq!(table.len(), 0);
        assert_eq!(*table.get_or_insert("a", |_| 3), 3);
    }
}
