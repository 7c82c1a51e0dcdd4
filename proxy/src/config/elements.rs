//! The elements of a list, one after another, as values.

use std::sync::Arc;

use serde_yaml::{Mapping, Value};

use super::entries::{Entry, ListElement};

/// The element that is read. Elements in a row mostly differ in an entry or two, so the mapping of
/// the last one is kept, and gets the values that differ.
#[derive(Debug, Default)]
pub(super) struct CurrentElement {
    /// Those of the mapping, in its order; none if it was not made of entries.
    entries: Vec<Arc<Entry>>,
    value: Value,
}

impl CurrentElement {
    /// The value of the next element; `None` where a key is there twice.
    pub(super) fn take(&mut self, element: ListElement) -> Option<&Value> {
        match element {
            ListElement::Whole(value) => {
                self.entries.clear();
                self.value = value;
            }
            ListElement::Entries(entries) => {
                if !self.replace(&entries) {
                    self.value = Value::Mapping(mapping(&entries)?);
                }
                self.entries = entries;
            }
        }
        Some(&self.value)
    }

    /// Replaces the values that differ; false if the keys differ.
    fn replace(&mut self, entries: &[Arc<Entry>]) -> bool {
        let Value::Mapping(mapping) = &mut self.value else { return false };
        let mut both = self.entries.iter().zip(entries);
        let has_same_keys = self.entries.len() == entries.len()
            && both.all(|(last, next)| Arc::ptr_eq(last, next) || last.key == next.key);
        if has_same_keys {
            let pairs = self.entries.iter().zip(entries);
            for ((_, value), (last, next)) in mapping.iter_mut().zip(pairs) {
                if !Arc::ptr_eq(last, next) {
                    value.clone_from(&next.value);
                }
            }
        }
        has_same_keys
    }
}

fn mapping(entries: &[Arc<Entry>]) -> Option<Mapping> {
    let mut mapping = Mapping::with_capacity(entries.len());
    for entry in entries {
        if mapping.insert(entry.key.clone(), entry.value.clone()).is_some() {
            return None;
        }
    }
    Some(mapping)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, value: &str) -> Arc<Entry> {
        Arc::new(Entry { key: key.into(), value: value.into() })
    }

    #[test]
    fn each_element_has_its_own_values_whatever_the_last_one_had() {
        let (a, b, c) = (entry("a", "1"), entry("b", "2"), entry("c", "3"));
        let whole = Value::from("text");
        let mut current = CurrentElement::default();
        for entries in [
            vec![&a, &b],
            vec![&a, &entry("b", "4")],
            vec![&entry("a", "5"), &b],
            vec![&b, &a],
            vec![&b],
            vec![&b, &c],
            vec![&a, &c],
            vec![&a, &b, &c],
        ] {
            let pairs = || entries.iter().map(|entry| (entry.key.clone(), entry.value.clone()));
            let expected = Value::Mapping(pairs().collect());
            let element =
                || ListElement::Entries(entries.iter().map(|entry| Arc::clone(entry)).collect());
            assert_eq!(current.take(element()), Some(&expected));
            assert_eq!(current.take(element()), Some(&expected));
            assert_eq!(current.take(ListElement::Whole(whole.clone())), Some(&whole));
            assert_eq!(current.take(element()), Some(&expected));
        }
    }

    #[test]
    fn a_key_that_is_there_twice_is_not_taken() {
        let (first, second) = (entry("a", "1"), entry("a", "2"));
        let mut current = CurrentElement::default();
        assert_eq!(current.take(ListElement::Entries(vec![first, second])), None);
    }
}
