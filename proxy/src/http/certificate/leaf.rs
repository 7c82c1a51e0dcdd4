//! What the leaf of a presented chain says, read when it is first needed.

use std::{cell::OnceCell, rc::Rc};

use ring::digest::{SHA256, digest};
use rustls_pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

use super::chain::PresentedChain;
use crate::{
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
        self.summary.get_or_init(|| CertificateSummary::from_der(self.der())).as_ref()
    }

    fn contents(&self) -> &LeafContents {
        self.contents.get_or_init(|| LeafContents::read(self.der()).unwrap_or_default())
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
    fn read(der: &[u8]) -> Option<LeafContents> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let mut contents = LeafContents {
            spki_hash: Some(sha256(certificate.public_key().raw)),
            ..LeafContents::default()
        };
        let Some(names) = certificate.subject_alternative_name().ok()? else {
            return Some(contents);
        };
        for name in &names.value.general_names {
            match name {
                GeneralName::DNSName(dns) => contents.dns.push((*dns).into()),
                GeneralName::RFC822Name(email) => contents.email.push((*email).into()),
                GeneralName::URI(uri) => contents.uri.push((*uri).into()),
                _ => {}
            }
        }
        Some(contents)
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}
