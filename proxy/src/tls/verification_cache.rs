//! Judgements that are remembered: a client that comes back with a full handshake has only its
//! possession of the key verified, not the signatures of its chain again.
//!
//! Each worker has its own memory, so there is nothing to lock. What is remembered is found by a
//! hash of the chain and of all that the judgement depends on, so that another CA, CRL or rule
//! finds nothing; time is for the caller to look at.

use std::{cell::RefCell, collections::HashMap};

use rustls::pki_types::CertificateDer;

use super::{material::Digest, trust::VerifiedChain};

/// How many judgements a worker remembers at most, in two generations.
const CAPACITY: usize = 1024;

/// What a judgement is found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct CacheKey([u8; 32]);

impl CacheKey {
    /// For a chain under a trust of this digest.
    pub(super) fn new(
        trust: &[u8; 32],
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> CacheKey {
        let mut digest = Digest::default();
        digest.field(trust);
        digest.field(leaf);
        intermediates.iter().for_each(|certificate| digest.field(certificate));
        CacheKey(digest.finish())
    }
}

thread_local! {
    static MEMORY: RefCell<VerificationCache> = RefCell::default();
}

/// The judgement of a chain, if this worker has one.
pub(super) fn recall(key: &CacheKey) -> Option<VerifiedChain> {
    MEMORY.with_borrow_mut(|memory| memory.recall(key))
}

/// Remembers a chain that was found good.
pub(super) fn remember(key: CacheKey, judged: VerifiedChain) {
    MEMORY.with_borrow_mut(|memory| memory.remember(key, judged));
}

/// Forgets a chain that is good no longer.
pub(super) fn forget(key: &CacheKey) {
    MEMORY.with_borrow_mut(|memory| memory.forget(key));
}

/// Whatever was not asked for while half of the capacity came in is forgotten.
#[derive(Debug, Default)]
struct VerificationCache {
    young: HashMap<CacheKey, VerifiedChain>,
    old: HashMap<CacheKey, VerifiedChain>,
}

impl VerificationCache {
    fn recall(&mut self, key: &CacheKey) -> Option<VerifiedChain> {
        if let Some(judged) = self.young.get(key) {
            return Some(*judged);
        }
        let judged = self.old.remove(key)?;
        self.remember(*key, judged);
        Some(judged)
    }

    fn remember(&mut self, key: CacheKey, judged: VerifiedChain) {
        if self.young.len() >= CAPACITY / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, judged);
    }

    fn forget(&mut self, key: &CacheKey) {
        self.young.remove(key);
        self.old.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::validity::Validity;

    fn key(number: usize) -> CacheKey {
        CacheKey::new(&[0; 32], &number.to_be_bytes().to_vec().into(), &[])
    }

    fn judged() -> VerifiedChain {
        VerifiedChain::new(Validity::ALWAYS, Validity::ALWAYS, None)
    }

    #[test]
    fn its_size_is_bounded_and_what_is_asked_for_stays() {
        let mut memory = VerificationCache::default();
        memory.remember(key(0), judged());
        for number in 1..10 * CAPACITY {
            memory.remember(key(number), judged());
            assert!(memory.recall(&key(0)).is_some());
            assert!(memory.young.len() + memory.old.len() <= CAPACITY);
        }
        assert!(memory.recall(&key(1)).is_none(), "nobody asked for it");
        assert!(memory.recall(&key(10 * CAPACITY - 1)).is_some());
    }

    #[test]
    fn what_is_forgotten_is_gone_from_both_generations() {
        let mut memory = VerificationCache::default();
        for number in 0..=CAPACITY / 2 {
            memory.remember(key(number), judged());
        }
        for number in [0, CAPACITY / 2] {
            memory.forget(&key(number));
            assert!(memory.recall(&key(number)).is_none());
        }
    }

    #[test]
    fn a_key_is_of_the_trust_and_of_each_certificate_in_its_place() {
        let key = |trust: u8, chain: &[&[u8]]| {
            let chain: Vec<_> = chain.iter().map(|der| der.to_vec().into()).collect();
            CacheKey::new(&[trust; 32], &chain[0], &chain[1..])
        };
        let keys = [
            key(0, &[b"a"]),
            key(1, &[b"a"]),
            key(0, &[b"b"]),
            key(0, &[b"ab"]),
            key(0, &[b"a", b"b"]),
            key(0, &[b"b", b"a"]),
            key(0, &[b"a", b"b", b"b"]),
        ];
        let distinct: std::collections::HashSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
    }
}
