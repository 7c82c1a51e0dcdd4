//! The kernel's map of names, which is changed in place.

use std::collections::{HashMap, HashSet};

use aya::maps::{LpmTrie, MapData, MapError, lpm_trie::Key};
use portcullis_abi::{Home, NAME_KEY_LEN, NameKey};

type Trie = LpmTrie<MapData, [u8; NAME_KEY_LEN], [u64; 3]>;

/// The map of names, and a copy of its entries.
#[derive(Debug)]
pub(super) struct NameMap {
    trie: Trie,
    /// By the significant bytes of the key.
    entries: HashMap<Box<[u8]>, Home>,
}

impl NameMap {
    /// Takes an empty map.
    pub(super) fn new(trie: Trie) -> Self {
        Self { trie, entries: HashMap::new() }
    }

    /// Makes `names` the whole content: adds new entries first and removes old ones then, so that a
    /// name that stays is found all the time.
    pub(super) fn set(&mut self, names: &[(NameKey, Home)]) -> Result<(), MapError> {
        for (key, home) in names {
            self.enter(significant(key), *home)?;
        }
        let wanted: HashSet<&[u8]> = names.iter().map(|(key, _)| significant(key)).collect();
        let gone: Vec<Box<[u8]>> =
            self.entries.keys().filter(|bytes| !wanted.contains(&***bytes)).cloned().collect();
        gone.iter().try_for_each(|bytes| self.remove(bytes))
    }

    fn enter(&mut self, bytes: &[u8], home: Home) -> Result<(), MapError> {
        if self.entries.get(bytes) == Some(&home) {
            return Ok(());
        }
        self.trie.insert(&key(bytes), home.to_words(), 0)?;
        self.entries.insert(bytes.into(), home);
        Ok(())
    }

    fn remove(&mut self, bytes: &[u8]) -> Result<(), MapError> {
        self.trie.remove(&key(bytes))?;
        self.entries.remove(bytes);
        Ok(())
    }
}

fn significant(key: &NameKey) -> &[u8] {
    let len = usize::try_from(key.prefix_bits / 8).unwrap_or(NAME_KEY_LEN);
    key.reversed.get(..len).unwrap_or(&key.reversed)
}

fn key(bytes: &[u8]) -> Key<[u8; NAME_KEY_LEN]> {
    let mut data = [0; NAME_KEY_LEN];
    for (to, from) in data.iter_mut().zip(bytes) {
        *to = *from;
    }
    Key::new(bytes.len() as u32 * 8, data)
}
