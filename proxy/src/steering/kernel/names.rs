//! The kernel's map of names, which is changed in place.

use std::{
    collections::{HashMap, HashSet},
    io, thread,
    time::Duration,
};

use aya::maps::{LpmTrie, MapData, MapError, lpm_trie::Key};
use portcullis_abi::{Home, NAME_KEY_LEN, NameKey};
use rustix::io::Errno;

/// How often in one change, and after which pause, an entry is tried again for which there was no
/// memory: two seconds together.
const RETRIES: u32 = 200;
const RETRY_PAUSE: Duration = Duration::from_millis(10);

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
        let mut retries = RETRIES;
        for (key, home) in names {
            with_retries(&mut retries, || self.enter(significant(key), *home))?;
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

/// Tries again while the kernel has no memory: it takes that of an entry from a stock, without waiting,
/// and fills the stock meanwhile.
fn with_retries(
    retries: &mut u32,
    mut attempt: impl FnMut() -> Result<(), MapError>,
) -> Result<(), MapError> {
    loop {
        match attempt() {
            Err(MapError::SyscallError(error)) if *retries > 0 && is_no_memory(&error.io_error) => {
                *retries -= 1;
                thread::sleep(RETRY_PAUSE);
            }
            outcome => return outcome,
        }
    }
}

fn is_no_memory(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::NOMEM)
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

#[cfg(test)]
mod tests {
    use aya::sys::SyscallError;

    use super::*;

    fn failed(errno: Errno) -> Result<(), MapError> {
        let error = SyscallError { call: "bpf_map_update_elem", io_error: errno.into() };
        Err(MapError::SyscallError(error))
    }

    /// The number of attempts, and whether the last one succeeded.
    fn tried(mut retries: u32, failures: &[Errno]) -> (usize, bool) {
        let mut attempts = 0;
        let outcome = with_retries(&mut retries, || {
            attempts += 1;
            failures.get(attempts - 1).map_or(Ok(()), |errno| failed(*errno))
        });
        (attempts, outcome.is_ok())
    }

    #[test]
    fn an_entry_is_tried_again_only_for_want_of_memory_and_not_for_ever() {
        assert_eq!(tried(2, &[]), (1, true));
        assert_eq!(tried(2, &[Errno::NOMEM, Errno::NOMEM]), (3, true));
        assert_eq!(tried(1, &[Errno::NOMEM, Errno::NOMEM]), (2, false));
        assert_eq!(tried(2, &[Errno::NOSPC]), (1, false));
    }
}
