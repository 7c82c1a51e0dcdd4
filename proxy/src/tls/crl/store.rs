//! The CRLs in use, which change in place.

use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, Guard};

use super::CrlBundle;
use crate::tls::anchors::TrustAnchors;

/// The CRLs in use. All trusts of a configuration share it: a renewed CRL replaces the one before
/// without another trust, another TLS configuration or another route.
#[derive(Debug)]
pub struct CrlStore {
    bundle: ArcSwap<CrlBundle>,
    /// The CAs of all routes, which sign the CRLs.
    issuers: OnceLock<Arc<TrustAnchors>>,
}

impl CrlStore {
    /// Begins with these CRLs.
    pub fn new(bundle: CrlBundle) -> CrlStore {
        CrlStore { bundle: ArcSwap::from_pointee(bundle), issuers: OnceLock::new() }
    }

    /// The CRLs in use. The guard is for one verification: it costs no shared count.
    pub fn current(&self) -> Guard<Arc<CrlBundle>> {
        self.bundle.load()
    }

    /// Sets the CAs that may sign the CRLs, also for CRLs to come. Returns what is odd about the
    /// CRLs in use under these CAs, for a warning each.
    pub(crate) fn set_issuers(&self, issuers: Arc<TrustAnchors>) -> Vec<String> {
        let issuers = self.issuers.get_or_init(|| issuers);
        self.current().verify(issuers)
    }

    /// Verifies the signatures of other CRLs before they come into use. Returns what is odd about
    /// them, for a warning each.
    pub(crate) fn verify(&self, next: &CrlBundle) -> Vec<String> {
        self.issuers.get().map(|issuers| next.verify(issuers)).unwrap_or_default()
    }

    /// Puts other CRLs into use, for verifications that begin from now on. Gives the former ones
    /// back, to be freed where that disturbs nobody.
    pub(crate) fn replace(&self, next: Arc<CrlBundle>) -> Arc<CrlBundle> {
        self.bundle.swap(next)
    }
}
