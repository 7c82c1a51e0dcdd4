//! Certificate chains, verified against trust anchors: the part shared by client and upstream
//! verification.
//!
//! webpki finds the path and verifies it. Before it, the intermediates are chosen that it gets, so
//! that no chain costs more than some milliseconds; after it, key usages and name constraints are
//! checked, which it does not do, or does in part.

mod error;
mod intermediates;
mod name_constraints;
mod purpose;
mod signatures;
mod verification;

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, UnixTime};
use x509_parser::certificate::X509Certificate;

pub(crate) use self::error::{ChainError, Refusal};
use self::verification::Verification;
pub(super) use self::{name_constraints::constraints_of, purpose::Purpose};
use super::{
    anchors::TrustAnchors,
    issuers::{Issuers, MAX_INTERMEDIATES},
    validity::{Validity, seconds},
};
use crate::certificate;

/// The most certificates of a path without its anchor: what webpki accepts.
pub(crate) const MAX_DEPTH: u32 = MAX_INTERMEDIATES as u32 + 1;

/// A certification path that was verified (RFC 5280 section 6).
#[derive(Debug)]
pub(super) struct CertificationPath {
    /// The time during which the whole path is valid, including the anchor.
    pub(super) validity: Validity,
    /// The leaf's direct issuer; `None` if the leaf itself is an anchor.
    pub(super) issuer: Option<CertificateDer<'static>>,
    /// All issuers; `None` if there are too many to store.
    pub(super) issuers: Option<Issuers>,
}

/// Verifies chains against one set of anchors.
#[derive(Debug)]
pub(super) struct ChainVerifier {
    anchors: Arc<TrustAnchors>,
    purpose: Purpose,
    /// Maximum number of certificates, without the anchor; at most [`MAX_DEPTH`].
    max_depth: u32,
}

impl ChainVerifier {
    /// A `max_depth` of 0 stands for [`MAX_DEPTH`].
    pub(super) fn new(anchors: Arc<TrustAnchors>, purpose: Purpose, max_depth: u32) -> Self {
        let max_depth = if max_depth == 0 { MAX_DEPTH } else { max_depth.min(MAX_DEPTH) };
        ChainVerifier { anchors, purpose, max_depth }
    }

    pub(super) fn anchors(&self) -> &Arc<TrustAnchors> {
        &self.anchors
    }

    /// Verifies that the leaf chains to an anchor, for this purpose and within the maximum depth,
    /// and that every certificate, including the anchor, is valid now.
    pub(super) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<CertificationPath, Refusal> {
        match self.anchors.validity_of(leaf) {
            Some(validity) => {
                let validity = self.verify_anchor_as_leaf(leaf, validity, now)?;
                let issuers = Some(Issuers::default());
                Ok(CertificationPath { validity, issuer: None, issuers })
            }
            None => Verification::new(self, now).run(leaf, intermediates),
        }
    }

    /// webpki rejects a CA certificate as a leaf, and so the self-signed ones that `openssl req
    /// -x509` makes. A leaf that is itself an anchor, byte by byte, needs no path.
    fn verify_anchor_as_leaf(
        &self,
        leaf: &CertificateDer<'_>,
        validity: Validity,
        now: UnixTime,
    ) -> Result<Validity, Refusal> {
        let heals_at_s = Some(validity.not_before_s).filter(|start_s| *start_s > seconds(now));
        let refusal = |error| Refusal::new(error, now, heals_at_s);
        validity.check(now).map_err(|error| refusal(error.into()))?;
        let parsed = parse(leaf).map_err(refusal)?;
        self.purpose.check_leaf(&parsed).map_err(refusal)?;
        Ok(validity)
    }

    /// The certificates of stored issuers, for a chain with these intermediates.
    pub(super) fn resolve<'c>(
        &'c self,
        issuers: Issuers,
        intermediates: &'c [CertificateDer<'static>],
    ) -> Option<Vec<&'c CertificateDer<'static>>> {
        issuers.resolve(intermediates, &self.anchors)
    }

    /// The validity of the anchor at a place; if it was renewed, of the one that is valid longest.
    fn anchor_validity(&self, place: usize, now: UnixTime) -> Result<Validity, ChainError> {
        let validities = || self.anchors.validities_at(place);
        let now_s = seconds(now);
        let holding = validities().filter(|validity| validity.contains(now_s));
        match holding.max_by_key(|validity| validity.not_after_s) {
            Some(validity) => Ok(validity),
            None => {
                let validity = validities().next().ok_or(ChainError::UnknownIssuer)?;
                Ok(validity.check(now).map(|()| validity)?)
            }
        }
    }
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, ChainError> {
    certificate::parse(certificate).map_err(|_| webpki::Error::BadDer.into())
}

#[cfg(test)]
mod tests;
