//! A route without a client certificate towards an upstream that asks for one.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use rustls::{SignatureScheme, client::ResolvesClientCert, sign::CertifiedKey};

/// Presents no certificate, and remembers whether the upstream has asked for one: the alert for a
/// missing certificate may be one that has other reasons too.
#[derive(Debug, Default)]
pub(super) struct AbsentClientCertificate {
    was_asked: AtomicBool,
}

impl AbsentClientCertificate {
    /// Whether the upstream has ever asked for a certificate.
    pub(super) fn was_asked(&self) -> bool {
        self.was_asked.load(Relaxed)
    }
}

impl ResolvesClientCert for AbsentClientCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.was_asked.store(true, Relaxed);
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}
