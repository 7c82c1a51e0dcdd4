//! The chain that a client presented.

use rustls_pki_types::CertificateDer;

/// A certificate chain, and the name of the server that it was presented to.
///
/// The name is part of it because what a worker remembers of a chain (one verification per CA) is
/// bounded by the number of CAs that one host has.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct PresentedChain {
    pub(super) leaf: CertificateDer<'static>,
    /// As the client sent them, not sorted.
    pub(super) intermediates: Vec<CertificateDer<'static>>,
    /// The SNI; `None` if the client sent none.
    pub(super) server_name: Option<Box<str>>,
}
