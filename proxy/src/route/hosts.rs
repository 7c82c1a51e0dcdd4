//! Values for whole hosts, independent of the path.

use std::{collections::HashMap, sync::Arc};

use super::{HostMatch, table::Pattern};

/// A value for each host and host pattern of the routes, looked up like routes in
/// [`Table`](super::Table): a host that is named exactly gets nothing from patterns.
#[derive(Debug, Clone)]
pub(crate) struct HostMap<T> {
    exact: HashMap<Arc<str>, T>,
    /// Patterns of one leading `*` and a literal that begins with a dot, by that literal.
    suffixes: HashMap<Box<str>, T>,
    /// All other patterns.
    patterns: Vec<(Pattern, T)>,
    /// The index of each pattern, for [`HostMap::entry`].
    places: HashMap<Box<str>, usize>,
}

impl<T> Default for HostMap<T> {
    fn default() -> Self {
        HostMap {
            exact: HashMap::new(),
            suffixes: HashMap::new(),
            patterns: Vec::new(),
            places: HashMap::new(),
        }
    }
}

impl HostMatch {
    /// Whether it may match this domain or a host below it.
    pub(crate) fn may_be_below(&self, domain: &str) -> bool {
        let is_below = |host: &str| {
            let above = host.strip_suffix(domain);
            above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
        };
        match self {
            HostMatch::Exact(host) => is_below(host),
            // A star stands for any text, so only what follows the last one decides.
            HostMatch::Wildcard(wildcard) => {
                let end = wildcard.pattern.rsplit('*').next().unwrap_or_default();
                is_below(end) || domain.ends_with(end)
            }
        }
    }
}

impl<T: Default> HostMap<T> {
    /// The value of a host or pattern; inserts one if there is none.
    pub(crate) fn entry(&mut self, host: &HostMatch) -> &mut T {
        let wildcard = match host {
            HostMatch::Exact(host) => return self.exact.entry(host.clone()).or_default(),
            HostMatch::Wildcard(wildcard) => wildcard,
        };
        if let Some(suffix) = wildcard.suffix() {
            return self.suffixes.entry(suffix.into()).or_default();
        }
        let next = self.patterns.len();
        let place = *self.places.entry(wildcard.pattern.clone()).or_insert(next);
        if place == next {
            self.patterns.push((Pattern::new(wildcard), T::default()));
        }
        &mut self.patterns[place].1
    }
}

impl<T> HostMap<T> {
    /// The values for a normalised host: only its own, or those of all patterns that it matches.
    pub(crate) fn find<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a T> {
        let exact = self.exact.get(host);
        let dots = if self.suffixes.is_empty() { "" } else { host };
        let by_suffix =
            dots.match_indices('.').filter_map(|(dot, _)| self.suffixes.get(host.get(dot..)?));
        let by_pattern = self
            .patterns
            .iter()
            .filter(|(pattern, _)| pattern.matches(host))
            .map(|(_, value)| value);
        let by_wildcard = exact.is_none().then(|| by_suffix.chain(by_pattern));
        exact.into_iter().chain(by_wildcard.into_iter().flatten())
    }

    /// The values of all patterns.
    pub(crate) fn wildcards(&self) -> impl Iterator<Item = &T> {
        self.suffixes.values().chain(self.patterns.iter().map(|(_, value)| value))
    }

    /// The same hosts with other values.
    pub(crate) fn map<U>(self, mut change: impl FnMut(T) -> U) -> HostMap<U> {
        HostMap {
            exact: self.exact.into_iter().map(|(host, value)| (host, change(value))).collect(),
            suffixes: self
                .suffixes
                .into_iter()
                .map(|(host, value)| (host, change(value)))
                .collect(),
            patterns: self
                .patterns
                .into_iter()
                .map(|(pattern, value)| (pattern, change(value)))
                .collect(),
            places: self.places,
        }
    }
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;
    use crate::route::WildcardHost;

    fn host(text: &str) -> HostMatch {
        if !text.contains('*') {
            return HostMatch::Exact(text.into());
        }
        let expression = text.split('*').map(regex::escape).collect::<Vec<_>>().join("(.*)");
        let regex = Regex::new(&format!("\\A{expression}\\z")).unwrap();
        HostMatch::Wildcard(WildcardHost { pattern: text.into(), regex })
    }

    fn map(hosts: &[&'static str]) -> HostMap<Vec<&'static str>> {
        let mut map: HostMap<Vec<_>> = HostMap::default();
        for text in hosts {
            map.entry(&host(text)).push(*text);
        }
        map
    }

    fn found(map: &HostMap<Vec<&'static str>>, host: &str) -> Vec<&'static str> {
        let mut found: Vec<_> = map.find(host).flatten().copied().collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn a_host_of_its_own_gets_nothing_from_patterns() {
        let map = map(&["a.example", "*.example", "a.example"]);
        assert_eq!(found(&map, "a.example"), ["a.example", "a.example"]);
        assert_eq!(found(&map, "b.example"), ["*.example"]);
        assert!(found(&map, "example").is_empty());
    }

    #[test]
    fn every_pattern_that_matches_counts() {
        let map = map(&["*.example", "*.b.example", "a*.example", "*", "a*.example"]);
        assert_eq!(
            found(&map, "a.b.example"),
            ["*", "*.b.example", "*.example", "a*.example", "a*.example"]
        );
        assert_eq!(found(&map, "c.example"), ["*", "*.example"]);
        assert_eq!(map.wildcards().count(), 4);
    }

    #[test]
    fn a_pattern_may_be_below_a_domain_that_is_longer_than_it() {
        for (text, is_below) in [
            ("apps.example", true),
            ("a.apps.example", true),
            ("notapps.example", false),
            ("example", false),
            ("*.apps.example", true),
            ("*.a.apps.example", true),
            ("*.example", true),
            ("a*.example", true),
            ("*apps.example", true),
            ("*", true),
            ("*.notapps.example", false),
            ("*.other.example", false),
            ("*notapps.example", false),
        ] {
            assert_eq!(host(text).may_be_below("apps.example"), is_below, "{text}");
        }
    }
}
