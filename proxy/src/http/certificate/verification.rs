//! Verifications of one chain, remembered per CA.

use std::cell::RefCell;

use rustls_pki_types::UnixTime;

use super::chain::PresentedChain;
use crate::tls::{ChainError, ClientTrust, Refusal, TrustDigest, VerifiedChain};

/// How many verifications are remembered: more than one host has CAs.
const MAX_VERIFICATIONS: usize = 8;

/// The last verification of a chain by each trust.
#[derive(Debug, Default)]
pub(super) struct VerificationCache(RefCell<Vec<CachedVerification>>);

/// One verification. Its key is the digest of the trust and its CRLs: a reload that changes neither
/// keeps it, and another CRL or another trust does not find it.
#[derive(Debug)]
struct CachedVerification {
    digest: TrustDigest,
    result: Result<VerifiedChain, Refusal>,
}

impl VerificationCache {
    /// Whether the chain holds now. Signatures are checked the first time, and again when time may
    /// have changed the result: when a path has expired, or a certificate has become valid.
    pub(super) fn verify(
        &self,
        chain: &PresentedChain,
        trust: &ClientTrust,
        now: UnixTime,
    ) -> Result<VerifiedChain, ChainError> {
        let current = trust.current();
        let digest = current.digest();
        let mut cached = self.0.borrow_mut();
        let place = cached.iter().position(|entry| entry.digest == digest);
        if let Some(result) = place.and_then(|place| cached.get(place)?.result_at(trust, now)) {
            return result;
        }
        let result = current.verify(&chain.leaf, &chain.intermediates, now);
        let entry = CachedVerification { digest, result: result.clone() };
        match place.and_then(|place| cached.get_mut(place)) {
            Some(place) => *place = entry,
            None => {
                if cached.len() == MAX_VERIFICATIONS {
                    cached.remove(0);
                }
                cached.push(entry);
            }
        }
        result.map_err(|refusal| refusal.error)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.borrow().len()
    }
}

impl CachedVerification {
    /// The result as of now; `None` if the chain must be verified again.
    ///
    /// A path that has expired is no final answer: the chain may have another path (a cross-signed
    /// or renewed intermediate) that still holds.
    fn result_at(
        &self,
        trust: &ClientTrust,
        now: UnixTime,
    ) -> Option<Result<VerifiedChain, ChainError>> {
        match &self.result {
            Ok(verified) => trust.is_still_good(verified, now).is_ok().then_some(Ok(*verified)),
            Err(refusal) => refusal.holds_at(now).then(|| Err(refusal.error.clone())),
        }
    }
}
