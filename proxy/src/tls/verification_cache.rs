//! Cached verifications: when a client comes back with a full handshake, the signatures of its chain
//! are not verified again, only its possession of the key. A refusal is cached too, so that a client
//! cannot make a worker look for a path in a long chain again and again.
//!
//! Each worker has its own cache, so there is nothing to lock. The key of an entry is a hash of the
//! chain and of all that the result depends on, so another CA, CRL or rule finds nothing. The caller
//! checks the time.

use std::{cell::RefCell, collections::HashMap};

use rustls::pki_types::CertificateDer;

use super::{
    chain::Refusal,
    material::Digest,
    trust::{TrustDigest, VerifiedChain},
};

/// How many results of each kind a worker caches at most, in two generations.
const CAPACITY: usize = 1024;

/// The key of a cached result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct CacheKey([u8; 32]);

impl CacheKey {
    /// For a chain under a trust of this digest.
    pub(super) fn new(
        trust: &TrustDigest,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> CacheKey {
        let mut digest = Digest::default();
        digest.field(&trust.trust);
        trust.crls.iter().for_each(|crls| digest.field(crls));
        digest.field(&[u8::from(trust.crls.is_some())]);
        digest.field(leaf);
        intermediates.iter().for_each(|certificate| digest.field(certificate));
        CacheKey(digest.finish())
    }
}

thread_local! {
    static MEMORY: RefCell<VerificationCache> = RefCell::default();
}

/// The result for a chain, if this worker has one.
pub(super) fn recall(key: &CacheKey) -> Option<Result<VerifiedChain, Refusal>> {
    MEMORY.with_borrow_mut(|memory| memory.recall(key))
}

/// Remembers a result in the place of an older one.
pub(super) fn remember(key: CacheKey, result: &Result<VerifiedChain, Refusal>) {
    MEMORY.with_borrow_mut(|memory| memory.remember(key, result));
}

/// The results of one worker. Good chains and refused ones have room of their own: strangers cannot
/// displace the chains of clients.
#[derive(Debug, Default)]
struct VerificationCache {
    good: Generations<VerifiedChain>,
    refused: Generations<Refusal>,
}

impl VerificationCache {
    fn recall(&mut self, key: &CacheKey) -> Option<Result<VerifiedChain, Refusal>> {
        let good = self.good.recall(key).map(Ok);
        good.or_else(|| self.refused.recall(key).map(Err))
    }

    fn remember(&mut self, key: CacheKey, result: &Result<VerifiedChain, Refusal>) {
        match result {
            Ok(verified) => {
                self.refused.forget(&key);
                self.good.remember(key, *verified);
            }
            Err(refusal) => {
                self.good.forget(&key);
                self.refused.remember(key, refusal.clone());
            }
        }
    }
}

/// An entry that was not asked for while half of the capacity came in is forgotten.
#[derive(Debug)]
struct Generations<V> {
    young: HashMap<CacheKey, V>,
    old: HashMap<CacheKey, V>,
}

impl<V: Clone> Generations<V> {
    fn recall(&mut self, key: &CacheKey) -> Option<V> {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let value = self.old.remove(key)?;
        self.remember(*key, value.clone());
        Some(value)
    }

    fn remember(&mut self, key: CacheKey, value: V) {
        if self.young.len() >= CAPACITY / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    fn forget(&mut self, key: &CacheKey) {
        self.young.remove(key);
        self.old.remove(key);
    }
}

impl<V> Default for Generations<V> {
    fn default() -> Self {
        Generations { young: HashMap::new(), old: HashMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{
        chain::ChainError,
        testing::{NOW_S, at},
        validity::Validity,
    };

    fn digest(trust: u8, crls: Option<u8>) -> TrustDigest {
        TrustDigest { trust: [trust; 32], crls: crls.map(|crls| [crls; 32]) }
    }

    fn key(number: usize) -> CacheKey {
        CacheKey::new(&digest(0, None), &number.to_be_bytes().to_vec().into(), &[])
    }

    fn verified() -> VerifiedChain {
        VerifiedChain::new(Validity::ALWAYS, Validity::ALWAYS, None)
    }

    fn refusal() -> Refusal {
        Refusal::new(ChainError::UnknownIssuer, at(NOW_S), None)
    }

    #[test]
    fn its_size_is_bounded_and_what_is_asked_for_stays() {
        for result in [Ok(verified()), Err(refusal())] {
            let mut memory = VerificationCache::default();
            memory.remember(key(0), &result);
            for number in 1..10 * CAPACITY {
                memory.remember(key(number), &result);
                assert!(memory.recall(&key(0)).is_some());
                assert!(memory.good.young.len() + memory.good.old.len() <= CAPACITY);
                assert!(memory.refused.young.len() + memory.refused.old.len() <= CAPACITY);
            }
            assert!(memory.recall(&key(1)).is_none(), "nobody asked for it");
            assert!(memory.recall(&key(10 * CAPACITY - 1)).is_some());
        }
    }

    #[test]
    fn refused_chains_displace_no_good_one() {
        let mut memory = VerificationCache::default();
        memory.remember(key(0), &Ok(verified()));
        for number in 1..10 * CAPACITY {
            memory.remember(key(number), &Err(refusal()));
        }
        assert!(matches!(memory.recall(&key(0)), Some(Ok(_))));
    }

    #[test]
    fn a_result_takes_the_place_of_the_one_before() {
        let mut memory = VerificationCache::default();
        for number in 0..=CAPACITY / 2 {
            memory.remember(key(number), &Ok(verified()));
        }
        for number in [0, CAPACITY / 2] {
            memory.remember(key(number), &Err(refusal()));
            assert!(matches!(memory.recall(&key(number)), Some(Err(_))));
            memory.remember(key(number), &Ok(verified()));
            assert!(matches!(memory.recall(&key(number)), Some(Ok(_))));
        }
    }

    #[test]
    fn a_key_is_of_the_trust_and_of_each_certificate_in_its_place() {
        let key_with = |trust: TrustDigest, chain: &[&[u8]]| {
            let chain: Vec<_> = chain.iter().map(|der| der.to_vec().into()).collect();
            CacheKey::new(&trust, &chain[0], &chain[1..])
        };
        let key = |trust, chain: &[&[u8]]| key_with(digest(trust, None), chain);
        let keys = [
            key(0, &[b"a"]),
            key(1, &[b"a"]),
            key(0, &[b"b"]),
            key(0, &[b"ab"]),
            key(0, &[b"a", b"b"]),
            key(0, &[b"b", b"a"]),
            key(0, &[b"a", b"b", b"b"]),
            key_with(digest(0, Some(0)), &[b"a"]),
            key_with(digest(0, Some(1)), &[b"a"]),
        ];
        let distinct: std::collections::HashSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
    }
}
