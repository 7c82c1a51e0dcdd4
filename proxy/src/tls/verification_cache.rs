//! Cached verifications: when a client comes back with a full handshake, the signatures of its chain
//! are not verified again, only its possession of the key.
//!
//! Each worker has its own cache, so there is nothing to lock. The key of an entry is a hash of the
//! chain and of all that the result depends on, so another CA, CRL or rule finds nothing. The caller
//! checks the time.

use std::{cell::RefCell, collections::HashMap};

use rustls::pki_types::CertificateDer;

use super::{
    material::Digest,
    trust::{TrustDigest, VerifiedChain},
};

/// How many results a worker caches at most, in two generations.
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
pub(super) fn recall(key: &CacheKey) -> Option<VerifiedChain> {
    MEMORY.with_borrow_mut(|memory| memory.recall(key))
}

/// Remembers a chain that was found good.
pub(super) fn remember(key: CacheKey, verified: VerifiedChain) {
    MEMORY.with_borrow_mut(|memory| memory.remember(key, verified));
}

/// Forgets a chain that is good no longer.
pub(super) fn forget(key: &CacheKey) {
    MEMORY.with_borrow_mut(|memory| memory.forget(key));
}

/// An entry that was not asked for while half of the capacity came in is forgotten.
#[derive(Debug, Default)]
struct VerificationCache {
    young: HashMap<CacheKey, VerifiedChain>,
    old: HashMap<CacheKey, VerifiedChain>,
}

impl VerificationCache {
    fn recall(&mut self, key: &CacheKey) -> Option<VerifiedChain> {
        if let Some(verified) = self.young.get(key) {
            return Some(*verified);
        }
        let verified = self.old.remove(key)?;
        self.remember(*key, verified);
        Some(verified)
    }

    fn remember(&mut self, key: CacheKey, verified: VerifiedChain) {
        if self.young.len() >= CAPACITY / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, verified);
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

    fn digest(trust: u8, crls: Option<u8>) -> TrustDigest {
        TrustDigest { trust: [trust; 32], crls: crls.map(|crls| [crls; 32]) }
    }

    fn key(number: usize) -> CacheKey {
        CacheKey::new(&digest(0, None), &number.to_be_bytes().to_vec().into(), &[])
    }

    fn verified() -> VerifiedChain {
        VerifiedChain::new(Validity::ALWAYS, Validity::ALWAYS, None)
    }

    #[test]
    fn its_size_is_bounded_and_what_is_asked_for_stays() {
        let mut memory = VerificationCache::default();
        memory.remember(key(0), verified());
        for number in 1..10 * CAPACITY {
            memory.remember(key(number), verified());
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
            memory.remember(key(number), verified());
        }
        for number in [0, CAPACITY / 2] {
            memory.forget(&key(number));
            assert!(memory.recall(&key(number)).is_none());
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
