//! The keys of issuers of tokens: published by the control thread, read by every worker.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;

use super::spec::TokenIssuerId;
use crate::identity::jose::{AllowedAlgorithms, ProviderKeys};

/// A token of an unknown key makes the keys fetched again at most once in so many seconds.
const PAUSE_S: u64 = 60;
/// For so many seconds, keys that are not fresh are used while newer ones are fetched.
const GRACE_S: u64 = 60;

/// The keys of one issuer as they were fetched last.
#[derive(Debug, Clone)]
pub(crate) struct TokenKeys {
    /// `iss` of its tokens.
    pub(crate) issuer: Box<str>,
    /// The algorithms that its tokens may have.
    pub(crate) algorithms: AllowedAlgorithms,
    /// The keys.
    pub(crate) keys: Arc<ProviderKeys>,
    /// From then on, the keys are fetched again.
    pub(crate) fresh_until_s: u64,
    /// When a token of an unknown key last made them fetched.
    pub(crate) forced_at_s: Option<u64>,
    /// The last fetch failed: there may be newer keys.
    pub(crate) is_away: bool,
    /// Another one for each version, never 0.
    pub(crate) serial: u64,
}

/// The keys of all issuers that were asked for.
#[derive(Debug, Default)]
pub(crate) struct PublishedKeys(ArcSwap<HashMap<TokenIssuerId, Arc<TokenKeys>>>);

impl TokenKeys {
    /// Whether a token may be verified without another look at the issuer.
    pub(crate) fn are_fresh(&self, now_s: u64) -> bool {
        now_s < self.fresh_until_s
    }

    /// Whether a token may be verified while newer keys are fetched.
    pub(crate) fn were_fresh_lately(&self, now_s: u64) -> bool {
        now_s < self.fresh_until_s.saturating_add(GRACE_S)
    }

    /// Whether the keys were fetched lately because one was missing.
    pub(crate) fn were_forced(&self, now_s: u64) -> bool {
        self.forced_at_s.is_some_and(|at_s| at_s.abs_diff(now_s) < PAUSE_S)
    }

    /// Whether both say the same, whatever their serial number.
    pub(crate) fn is_same(&self, other: &TokenKeys) -> bool {
        Arc::ptr_eq(&self.keys, &other.keys)
            && self.issuer == other.issuer
            && self.algorithms == other.algorithms
            && self.fresh_until_s == other.fresh_until_s
            && self.forced_at_s == other.forced_at_s
            && self.is_away == other.is_away
    }
}

impl PublishedKeys {
    /// The keys of an issuer, if they were fetched.
    pub(crate) fn get(&self, id: TokenIssuerId) -> Option<Arc<TokenKeys>> {
        self.0.load().get(&id).cloned()
    }

    /// Publishes keys. For the control thread alone.
    pub(crate) fn set(&self, id: TokenIssuerId, keys: TokenKeys) {
        let mut next = HashMap::clone(&self.0.load());
        next.insert(id, Arc::new(keys));
        self.0.store(Arc::new(next));
    }

    /// Forgets the keys of all other issuers. For the control thread alone.
    pub(crate) fn retain(&self, is_kept: impl Fn(TokenIssuerId) -> bool) {
        let mut next = HashMap::clone(&self.0.load());
        next.retain(|id, _| is_kept(*id));
        self.0.store(Arc::new(next));
    }
}
