//! The kernel's map of names, which is changed in place.

use std::{
    collections::{HashMap, HashSet},
    thread,
    time::Duration,
};

use aya::{
    maps::{LpmTrie, MapData, MapError, lpm_trie::Key},
    sys::SyscallError,
};
use portcullis_abi::{Home, NAME_KEY_LEN, NameKey};
use rustix::io::Errno;

/// The kernel takes memory for an entry from a store that it refills without waiting (since Linux
/// 6.14): when many entries are added while memory is full of cached files, an entry fails, and a
/// moment later there is memory again.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(1);

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
        let key = key(bytes);
        let mut inserted = self.trie.insert(&key, home.to_words(), 0);
        for _ in 1..TRIES {
            if !inserted.as_ref().is_err_and(is_out_of_memory) {
                break;
            }
            thread::sleep(PAUSE);
            inserted = self.trie.insert(&key, home.to_words(), 0);
        }
        inserted?;
        self.entries.insert(bytes.into(), home);
        Ok(())
    }

    fn remove(&mut self, bytes: &[u8]) -> Result<(), MapError> {
        self.trie.remove(&key(bytes))?;
        self.entries.remove(bytes);
        Ok(())
    }
}

fn is_out_of_memory(error: &MapError) -> bool {
    let MapError::SyscallError(SyscallError { io_error, .. }) = error else { return false };
    io_error.raw_os_error() == Some(Errno::NOMEM.raw_os_error())
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
