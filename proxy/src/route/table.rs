//! The routing table.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use super::{HostMatch, Matcher, PathMatch, PortMatch, WildcardHost};

/// The default port of an authority.
const DEFAULT_PORT: u16 = 443;

/// The matchers of all routes, indexed by host.
///
/// A host that some route names exactly is served only by those routes: if none of them matches,
/// wildcard routes are not tried, so that a wildcard never opens a path that the host's own routes
/// leave closed. Among the routes tried, the first in configuration order wins.
#[derive(Debug, Default)]
pub struct Table {
    /// Routes of each exact host, in order.
    exact: HashMap<Arc<str>, Vec<Candidate>>,
    /// Routes whose pattern is one leading `*` and a literal that begins with a dot, by that
    /// literal, in order.
    suffixes: HashMap<Box<str>, Vec<Candidate>>,
    /// Routes with any other pattern, in order.
    patterns: Vec<(Pattern, Candidate)>,
    /// The number of matchers.
    len: u32,
}

/// A route whose host is known to match.
#[derive(Debug)]
struct Candidate {
    /// Four bytes, as there may be 100,000 of these.
    index: u32,
    port: PortMatch,
    path: PathMatch,
}

/// A route that was looked at for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TriedRoute {
    /// Its index among the matchers.
    pub index: usize,
    /// Why it does not serve the request; `None` if it does.
    pub mismatch: Option<Mismatch>,
}

/// Why a route of a request's host does not serve the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// It has a pattern, and other routes name this host exactly.
    HostHasItsOwnRoutes,
    /// It is for another port.
    Port,
    /// It is for other paths.
    Path,
}

/// A host pattern, with its prefix and suffix to check before the expression.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    prefix: Box<str>,
    suffix: Box<str>,
    /// Used only with more than one star: with one, prefix and suffix decide.
    rest: Option<regex::Regex>,
}

impl Table {
    /// Builds the table; the order of the matchers is their order of precedence.
    pub fn new<'a>(matchers: impl IntoIterator<Item = &'a Matcher>) -> Table {
        let mut table = Table::default();
        matchers.into_iter().for_each(|matcher| table.add(matcher));
        table
    }

    /// Adds a matcher behind the others.
    pub fn add(&mut self, matcher: &Matcher) {
        let candidate =
            Candidate { index: self.len, port: matcher.port, path: matcher.path.clone() };
        self.len = self.len.saturating_add(1);
        match &matcher.host {
            HostMatch::Exact(host) => add(self.exact.entry(host.clone()), candidate),
            HostMatch::Wildcard(wildcard) => self.add_wildcard(wildcard, candidate),
        }
    }

    /// The route (its index among the matchers) for a normalised host, the port the client named,
    /// and a normalised path without its query.
    pub fn find(&self, host: &str, port: Option<u16>, path: &str) -> Option<usize> {
        let port = port.unwrap_or(DEFAULT_PORT);
        if let Some(candidates) = self.exact.get(host) {
            return first(candidates, port, path).map(as_index);
        }
        let by_suffix = self.find_by_suffix(host, port, path);
        let by_pattern = self
            .patterns
            .iter()
            .take_while(|(_, candidate)| by_suffix.is_none_or(|best| candidate.index < best))
            .find(|(pattern, candidate)| pattern.matches(host) && candidate.matches(port, path))
            .map(|(_, candidate)| candidate.index);
        by_pattern.or(by_suffix).map(as_index)
    }

    /// The routes that name this host, in their order, each with the reason why it is passed over: up
    /// to the one that [`Table::find`] gives, or all. For people, so it may take its time.
    pub(crate) fn tried(&self, host: &str, port: Option<u16>, path: &str) -> Vec<TriedRoute> {
        let port = port.unwrap_or(DEFAULT_PORT);
        let exact = self.exact.get(host);
        let dots = host.match_indices('.').filter_map(|(dot, _)| host.get(dot..));
        let by_suffix = dots.filter_map(|suffix| self.suffixes.get(suffix)).flatten();
        let by_pattern = self.patterns.iter().filter(|(pattern, _)| pattern.matches(host));
        let wild = by_suffix.chain(by_pattern.map(|(_, candidate)| candidate));
        let is_named = exact.is_some();
        let of_wildcards = wild.map(|candidate| match is_named {
            true => candidate.tried(Some(Mismatch::HostHasItsOwnRoutes)),
            false => candidate.tried(candidate.mismatch(port, path)),
        });
        let own = exact.into_iter().flatten();
        let own = own.map(|candidate| candidate.tried(candidate.mismatch(port, path)));
        let mut tried: Vec<TriedRoute> = own.chain(of_wildcards).collect();
        tried.sort_by_key(|tried| tried.index);
        let found = tried.iter().position(|tried| tried.mismatch.is_none());
        tried.truncate(found.map_or(tried.len(), |found| found + 1));
        tried
    }

    /// Whether a route is for this host, whatever its port and path.
    pub fn has_host(&self, host: &str) -> bool {
        let mut suffixes = host.match_indices('.').filter_map(|(dot, _)| host.get(dot..));
        self.exact.contains_key(host)
            || suffixes.any(|suffix| self.suffixes.contains_key(suffix))
            || self.patterns.iter().any(|(pattern, _)| pattern.matches(host))
    }

    fn add_wildcard(&mut self, wildcard: &WildcardHost, candidate: Candidate) {
        match wildcard.suffix() {
            Some(suffix) => add(self.suffixes.entry(suffix.into()), candidate),
            None => self.patterns.push((Pattern::new(wildcard), candidate)),
        }
    }

    /// The first route by configuration order among those whose suffix begins at one of the dots.
    fn find_by_suffix(&self, host: &str, port: u16, path: &str) -> Option<u32> {
        if self.suffixes.is_empty() {
            return None;
        }
        host.match_indices('.')
            .filter_map(|(dot, _)| self.suffixes.get(host.get(dot..)?))
            .filter_map(|candidates| first(candidates, port, path))
            .min()
    }
}

/// Most hosts have one route, so no capacity is reserved for more.
fn add<K>(candidates: Entry<'_, K, Vec<Candidate>>, candidate: Candidate) {
    candidates.or_insert_with(|| Vec::with_capacity(1)).push(candidate);
}

fn as_index(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

#[inline] // a call costs a twelfth of a look-up
fn first(candidates: &[Candidate], port: u16, path: &str) -> Option<u32> {
    candidates.iter().find(|candidate| candidate.matches(port, path)).map(|found| found.index)
}

impl Candidate {
    fn tried(&self, mismatch: Option<Mismatch>) -> TriedRoute {
        TriedRoute { index: as_index(self.index), mismatch }
    }

    fn mismatch(&self, port: u16, path: &str) -> Option<Mismatch> {
        if !self.port.matches(port) {
            return Some(Mismatch::Port);
        }
        (!self.path.matches(path)).then_some(Mismatch::Path)
    }

    fn matches(&self, port: u16, path: &str) -> bool {
        self.port.matches(port) && self.path.matches(path)
    }
}

impl PortMatch {
    fn matches(self, port: u16) -> bool {
        match self {
            PortMatch::Any => true,
            PortMatch::Is(wanted) => wanted == port,
        }
    }
}

impl PathMatch {
    fn matches(&self, path: &str) -> bool {
        match self {
            PathMatch::Any => true,
            PathMatch::Prefix(prefix) => path.starts_with(&**prefix),
            PathMatch::Exact(exact) => path == &**exact,
            PathMatch::Regex(regex) => regex.is_match(path),
        }
    }
}

impl WildcardHost {
    /// The literal of a pattern of one leading `*` and a literal that begins with a dot.
    pub(super) fn suffix(&self) -> Option<&str> {
        let suffix = self.pattern.strip_prefix('*')?;
        (suffix.starts_with('.') && !suffix.contains('*')).then_some(suffix)
    }
}

impl Pattern {
    pub(super) fn new(wildcard: &WildcardHost) -> Pattern {
        let (prefix, after) = wildcard.pattern.split_once('*').unwrap_or((&wildcard.pattern, ""));
        let (between, suffix) = after.rsplit_once('*').unwrap_or(("", after));
        let one_star = wildcard.pattern.matches('*').count() == 1;
        let rest = (!one_star || !between.is_empty()).then(|| wildcard.regex.clone());
        Pattern { prefix: prefix.into(), suffix: suffix.into(), rest }
    }

    pub(super) fn matches(&self, host: &str) -> bool {
        // The lengths are added up because prefix and suffix must not overlap.
        host.len() >= self.prefix.len() + self.suffix.len()
            && host.starts_with(&*self.prefix)
            && host.ends_with(&*self.suffix)
            && self.rest.as_ref().is_none_or(|regex| regex.is_match(host))
    }
}

#[cfg(test)]
mod tests;
