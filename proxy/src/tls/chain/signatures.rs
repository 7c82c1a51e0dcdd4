//! The signatures of one chain, verified within a budget. webpki alone would verify up to a hundred,
//! and a client chooses how many certificates it sends.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use rustls::pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm};

use crate::tls::{
    algorithms::{is_signature_known, key_in},
    der::{Element, Reader, SEQUENCE},
    provider::provider,
};

/// What the signatures of one chain may cost, in verifications by P-256: some 4 ms, and 48 CAs of one
/// name with P-256, or 8 with P-384. A chain of six intermediates under P-384 takes 42.
pub(super) const BUDGET: u32 = 48;

/// A verification by P-384, for which ring has no assembly, or by a large RSA key takes as long as so
/// many by P-256.
const EXPENSIVE: u32 = 6;

/// An RSA key of more bytes, in DER, has more than 4096 bits.
const LARGE_RSA_KEY_LEN: usize = 560;

/// The signatures verified so far. Atomic since an algorithm must be `Sync`; no other thread sees it.
#[derive(Debug, Default)]
pub(super) struct SignatureBudget {
    spent: AtomicU32,
    is_exhausted: AtomicBool,
}

/// A signature found good: over this message, by this key.
#[derive(Debug, Clone, Copy)]
pub(super) struct VerifiedLink<'a> {
    key: &'a [u8],
    message: &'a [u8],
}

/// A signed structure of X.509: what is signed, the algorithm, and the signature.
#[derive(Debug, Clone, Copy)]
pub(super) struct SignedCertificate<'a> {
    pub(super) message: Element<'a>,
    /// The contents of the `AlgorithmIdentifier`.
    pub(super) algorithm: &'a [u8],
    signature: &'a [u8],
}

/// The result of a verification.
#[derive(Debug, Clone, Copy)]
pub(super) enum SignatureResult<'a> {
    Good(VerifiedLink<'a>),
    /// Of another key, or the budget is exhausted.
    Bad,
    /// Nothing verifies this algorithm with this key.
    Unsupported,
}

impl SignatureBudget {
    /// Whether a verification was left out since too many came before it.
    pub(super) fn is_exhausted(&self) -> bool {
        self.is_exhausted.load(Ordering::Relaxed)
    }

    /// Verifies the signature by a key, the contents of a `SubjectPublicKeyInfo`.
    pub(super) fn verify<'a>(
        &self,
        signed: SignedCertificate<'a>,
        key_info: &'a [u8],
    ) -> SignatureResult<'a> {
        let Some((algorithm, key)) = key_in(key_info) else {
            return SignatureResult::Unsupported;
        };
        let known = provider().signature_verification_algorithms.all.iter();
        let found = known
            .filter(|known| *known.signature_alg_id() == *signed.algorithm)
            .find(|known| *known.public_key_alg_id() == *algorithm);
        let Some(found) = found else {
            return SignatureResult::Unsupported;
        };
        let message = signed.message.whole;
        match self.spend(*found, key, message, signed.signature) {
            Ok(()) => SignatureResult::Good(VerifiedLink { key, message }),
            Err(_) => SignatureResult::Bad,
        }
    }

    /// The algorithms for webpki: they spend from this budget, and take these links as verified.
    pub(super) fn algorithms<'a>(&'a self, links: &'a [VerifiedLink<'a>]) -> Vec<Metered<'a>> {
        let all = provider().signature_verification_algorithms.all.iter();
        all.map(|algorithm| Metered { algorithm: *algorithm, budget: self, links }).collect()
    }

    fn spend(
        &self,
        algorithm: &dyn SignatureVerificationAlgorithm,
        key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let spent = self.spent.load(Ordering::Relaxed) + cost(algorithm, key);
        if spent > BUDGET {
            self.is_exhausted.store(true, Ordering::Relaxed);
            return Err(InvalidSignature);
        }
        self.spent.store(spent, Ordering::Relaxed);
        algorithm.verify_signature(key, message, signature)
    }

    #[cfg(test)]
    pub(super) fn spent(&self) -> u32 {
        self.spent.load(Ordering::Relaxed)
    }
}

impl<'a> SignedCertificate<'a> {
    /// Reads the outer structure of a certificate.
    pub(super) fn of_certificate(der: &'a [u8]) -> Option<SignedCertificate<'a>> {
        let mut outer = Reader::new(Reader::new(der).contents(SEQUENCE)?);
        let message = outer.optional(SEQUENCE)?;
        Some(SignedCertificate {
            message,
            algorithm: outer.contents(SEQUENCE)?,
            signature: outer.whole_bytes()?,
        })
    }

    /// Whether signatures of its algorithm can be verified with some key.
    pub(super) fn is_supported(&self) -> bool {
        is_signature_known(self.algorithm)
    }
}

/// An algorithm that spends from a budget.
#[derive(Debug)]
pub(super) struct Metered<'a> {
    algorithm: &'static dyn SignatureVerificationAlgorithm,
    budget: &'a SignatureBudget,
    links: &'a [VerifiedLink<'a>],
}

impl SignatureVerificationAlgorithm for Metered<'_> {
    /// A link is known by where its key and message lie in memory, which nothing moves while the
    /// budget lives.
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let is_known = |link: &VerifiedLink<'_>| {
            std::ptr::eq(link.message, message) && std::ptr::eq(link.key, public_key)
        };
        if self.links.iter().any(is_known) {
            return Ok(());
        }
        self.budget.spend(self.algorithm, public_key, message, signature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.signature_alg_id()
    }
}

fn cost(algorithm: &dyn SignatureVerificationAlgorithm, key: &[u8]) -> u32 {
    let is_p384 = algorithm.public_key_alg_id() == rustls::pki_types::alg_id::ECDSA_P384;
    if is_p384 || key.len() > LARGE_RSA_KEY_LEN { EXPENSIVE } else { 1 }
}
