//! Certificates, keys and trust anchors, checked when they are read.

use std::sync::Arc;

use rustls::{RootCertStore, pki_types::CertificateDer, sign::CertifiedKey};

/// A certificate chain with the private key that belongs to it.
#[derive(Debug)]
pub struct Identity {
    /// As rustls takes it.
    pub certified: Arc<CertifiedKey>,
    /// Where it was read from, for messages: the paths, or the keys of the configuration.
    pub origin: String,
    /// SHA-256 over the chain, so that the same content is known again after a reload.
    pub digest: [u8; 32],
    /// DNS names (or the common name where there are none) of the leaf, lower case.
    pub names: Vec<String>,
    /// End of the leaf's validity, in seconds since the epoch.
    pub not_after_s: i64,
}

/// Certificates that are trusted to have issued others.
#[derive(Debug)]
pub struct TrustAnchors {
    /// As rustls takes them.
    pub roots: Arc<RootCertStore>,
    /// The certificates themselves, in the order read.
    pub certificates: Vec<CertificateDer<'static>>,
    /// Where they were read from.
    pub origin: String,
    /// SHA-256 over the certificates.
    pub digest: [u8; 32],
}
