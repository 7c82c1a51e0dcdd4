//! The names that routes serve, and the home of each. Pure.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use portcullis_abi::{Home, HostName, MAX_NAME_LEN, NameKey, WorkerSet};

use super::Pin;

/// The names of routes and pins, each with its home.
///
/// A name belongs to its own entry, else to the entry with the longest matching ending. The kernel's
/// LPM trie over [`NameKey`]s finds the same entry.
#[derive(Debug, Default)]
pub(crate) struct NameTable {
    exact: HashMap<Arc<[u8]>, NameEntry>,
    endings: HashMap<Arc<[u8]>, NameEntry>,
    /// Of the endings, each once, the longest first.
    ending_lengths: Vec<usize>,
}

/// The entry of a name or an ending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NameEntry {
    /// `a.example.com`, or `*` and an ending.
    pub pattern: Arc<str>,
    /// For the choice of a worker.
    pub home: Home,
    /// The workers that it is pinned to; `None` for all.
    pub pinned: Option<Box<[u32]>>,
}

impl NameTable {
    /// From the hosts of routes, as routes match them: each `*` stands for any run of characters.
    /// The ending of a host with stars is the text after the last one. Hosts that no client can send
    /// as SNI have no entry.
    pub(crate) fn new(hosts: &[Arc<str>], pins: &[Pin]) -> NameTable {
        let patterns: Vec<_> =
            pins.iter().filter_map(|pin| Some((Pattern::parse(&pin.host)?, pin))).collect();
        let mut names = NameTable::default();
        names.exact.reserve(hosts.len());
        for pattern in hosts.iter().filter_map(Pattern::parse) {
            names.insert(pattern, &patterns);
        }
        for (pattern, _) in &patterns {
            names.insert(pattern.clone(), &patterns);
        }
        names
    }

    /// Adds an entry, if there is none yet.
    fn insert(&mut self, pattern: Pattern, pins: &[(Pattern, &Pin)]) {
        let (entries, key) = match &pattern {
            Pattern::Exact(name) => (&mut self.exact, name),
            Pattern::Ending(ending) => {
                if let Err(at) = self.ending_lengths.binary_search_by(|len| ending.len().cmp(len)) {
                    self.ending_lengths.insert(at, ending.len());
                }
                (&mut self.endings, ending)
            }
        };
        if let Entry::Vacant(new) = entries.entry(Arc::clone(key).into()) {
            let covering = pins.iter().filter(|(by, _)| by.covers(&pattern));
            let pin = covering.max_by_key(|(by, _)| by.precision()).map(|(_, pin)| *pin);
            let text = pattern.text();
            new.insert(NameEntry {
                home: Home::of_name(text.as_bytes(), pin.map_or(WorkerSet::ALL, Pin::set)),
                pattern: text,
                pinned: pin.map(|pin| pin.workers.as_slice().into()),
            });
        }
    }

    /// The entry of a name in canonical form. One look-up for each length of an ending.
    pub(crate) fn find(&self, name: &[u8]) -> Option<&NameEntry> {
        self.exact.get(name).or_else(|| {
            self.ending_lengths.iter().find_map(|len| {
                let ending = name.get(name.len().checked_sub(*len)?..)?;
                self.endings.get(ending)
            })
        })
    }

    /// The entries of the kernel's map.
    pub(crate) fn keys(&self) -> Vec<(NameKey, Home)> {
        let exact = self.exact.iter().filter_map(|(name, entry)| {
            let mut key = NameKey::EMPTY;
            key.set(&HostName::parse(name)?);
            Some((key, entry.home))
        });
        let endings = self
            .endings
            .iter()
            .filter_map(|(ending, entry)| Some((NameKey::of_suffix(ending)?, entry.home)));
        exact.chain(endings).collect()
    }
}

/// The names that a host of the configuration stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Exact(Arc<str>),
    /// All names with this ending.
    Ending(Arc<str>),
}

impl Pattern {
    /// `None` if no name that a client can send would match.
    fn parse(host: &Arc<str>) -> Option<Pattern> {
        let Some((_, ending)) = host.rsplit_once('*') else {
            let name = HostName::parse(host.as_bytes())?;
            let is_canonical = *name.as_str() == **host;
            let name = if is_canonical { Arc::clone(host) } else { name.as_str().into() };
            return Some(Pattern::Exact(name));
        };
        let ending = ending.to_ascii_lowercase();
        let fits = ending.len() <= MAX_NAME_LEN && ending.bytes().all(is_of_a_name);
        fits.then(|| Pattern::Ending(ending.into()))
    }

    fn text(&self) -> Arc<str> {
        match self {
            Pattern::Exact(name) => Arc::clone(name),
            Pattern::Ending(ending) => format!("*{ending}").into(),
        }
    }

    /// Whether this pattern matches every name of `other`.
    fn covers(&self, other: &Pattern) -> bool {
        match (self, other) {
            (Pattern::Exact(_), _) => self == other,
            (Pattern::Ending(ending), Pattern::Exact(name)) => name.ends_with(&**ending),
            (Pattern::Ending(ending), Pattern::Ending(other)) => other.ends_with(&**ending),
        }
    }

    /// The greater, the fewer names it covers, of patterns that cover the same one.
    fn precision(&self) -> usize {
        match self {
            Pattern::Exact(_) => usize::MAX,
            Pattern::Ending(ending) => ending.len(),
        }
    }
}

fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte)
}

#[cfg(test)]
mod tests;
