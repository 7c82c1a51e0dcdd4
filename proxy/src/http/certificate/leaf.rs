//! What the leaf of a presented chain says, read when it is first needed.

use std::{cell::OnceCell, rc::Rc};

use rustls_pki_types::CertificateDer;

use super::chain::PresentedChain;
use crate::{
    certificate::{AltName, ParsedCertificate},
    digest::sha256,
    observe::CertificateSummary,
    policy::{LeafCertificate, SanKind},
};

/// The leaf of a presented chain. Each part is computed once.
#[derive(Debug)]
pub(super) struct PeerLeaf {
    chain: Rc<PresentedChain>,
    fingerprint: OnceCell<[u8; 32]>,
    contents: OnceCell<LeafContents>,
    summary: OnceCell<Option<CertificateSummary>>,
}

/// The parts of a certificate that a policy may match; empty if the certificate cannot be parsed.
#[derive(Debug, Default)]
struct LeafContents {
    spki_hash: Option<[u8; 32]>,
    dns: Vec<Box<str>>,
    email: Vec<Box<str>>,
    uri: Vec<Box<str>>,
}

impl PeerLeaf {
    pub(super) fn new(chain: Rc<PresentedChain>) -> PeerLeaf {
        PeerLeaf {
            chain,
            fingerprint: OnceCell::new(),
            contents: OnceCell::new(),
            summary: OnceCell::new(),
        }
    }

    /// The chain that it is the leaf of.
    pub(super) fn chain(&self) -> &PresentedChain {
        &self.chain
    }

    /// The certificate.
    pub(super) fn der(&self) -> &CertificateDer<'static> {
        &self.chain.leaf
    }

    /// Its subject, issuer and names for the access log; `None` if it cannot be parsed.
    pub(super) fn summary(&self) -> Option<&CertificateSummary> {
        self.summary.get_or_init(|| Some((&self.parse()?).into())).as_ref()
    }

    /// Parses it; `None` if it is malformed. Callers keep what they read, so that no request parses
    /// it again.
    pub(super) fn parse(&self) -> Option<ParsedCertificate<'_>> {
        ParsedCertificate::from_der(self.der()).ok()
    }

    fn contents(&self) -> &LeafContents {
        self.contents.get_or_init(|| self.parse().and_then(LeafContents::read).unwrap_or_default())
    }
}

impl LeafCertificate for PeerLeaf {
    fn fingerprint(&self) -> [u8; 32] {
        *self.fingerprint.get_or_init(|| sha256(self.der()))
    }

    fn spki_hash(&self) -> Option<[u8; 32]> {
        self.contents().spki_hash
    }

    fn subject_alt_names(&self, kind: SanKind) -> &[Box<str>] {
        let contents = self.contents();
        match kind {
            SanKind::Dns => &contents.dns,
            SanKind::Email => &contents.email,
            SanKind::Uri => &contents.uri,
        }
    }
}

impl LeafContents {
    fn read(certificate: ParsedCertificate<'_>) -> Option<LeafContents> {
        let mut contents =
            LeafContents { spki_hash: Some(certificate.spki_sha256()), ..LeafContents::default() };
        for name in certificate.alt_names().ok()? {
            match name {
                AltName::Dns(dns) => contents.dns.push(dns.into()),
                AltName::Email(email) => contents.email.push(email.into()),
                AltName::Uri(uri) => contents.uri.push(uri.into()),
                _ => {}
            }
        }
        Some(contents)
    }
}
