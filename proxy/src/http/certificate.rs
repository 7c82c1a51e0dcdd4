//! A client certificate: what it says, and whether a CA confirms it.

mod chain;
mod forwarded;
mod interned;
mod leaf;
mod texts;
mod verification;
mod xfcc;

use std::{
    cell::{OnceCell, RefCell},
    rc::Rc,
};

use http::{HeaderName, HeaderValue};
use rustls_pki_types::{CertificateDer, UnixTime};

pub(super) use self::forwarded::{CLIENT_CERT, CLIENT_CERT_CHAIN, FORWARDED_CLIENT_CERT};
use self::{
    chain::PresentedChain, forwarded::CertificateHeaderCache, interned::Interned, leaf::PeerLeaf,
    texts::CertificateTexts, verification::VerificationCache,
};
use super::spec::{CertificateField, CertificateHeaders};
use crate::{
    observe::CertificateSummary,
    policy::{EmailAddress, Identity, LeafCertificate, SanKind},
    tls::{ChainError, ClientTrust, VerifiedChain},
};

thread_local! {
    /// The certificates of this worker's connections: a client that opens many connections presents
    /// the same chain on each. What is computed depends on the chain alone, not on a connection.
    static PRESENTED: RefCell<Interned<PresentedChain, PeerCertificate>> = RefCell::default();
}

/// The certificate that a client presented and proved to hold, with the chain that it sent.
#[derive(Debug)]
pub(crate) struct PeerCertificate {
    leaf: PeerLeaf,
    texts: CertificateTexts,
    headers: CertificateHeaderCache,
    email_identity: OnceCell<Option<Identity>>,
    uri_identity: OnceCell<Option<Identity>>,
    verifications: VerificationCache,
}

impl PeerCertificate {
    /// The certificate of a chain, leaf first, that was presented to a server of this name; `None`
    /// without a leaf. Shared with the other connections of this thread that presented the same.
    /// Nothing is parsed yet.
    pub(crate) fn presented(
        chain: &[CertificateDer<'static>],
        server_name: Option<&str>,
    ) -> Option<Rc<PeerCertificate>> {
        let (leaf, intermediates) = chain.split_first()?;
        let chain = PresentedChain {
            leaf: leaf.clone(),
            intermediates: intermediates.to_vec(),
            server_name: server_name.map(Into::into),
        };
        Some(PRESENTED.with_borrow_mut(|all| all.get_or_insert(chain, PeerCertificate::new)))
    }

    fn new(chain: Rc<PresentedChain>) -> PeerCertificate {
        PeerCertificate {
            leaf: PeerLeaf::new(chain),
            texts: CertificateTexts::default(),
            headers: CertificateHeaderCache::default(),
            email_identity: OnceCell::new(),
            uri_identity: OnceCell::new(),
            verifications: VerificationCache::default(),
        }
    }

    /// Verifies the chain against a trust, or uses what is remembered of that.
    pub(super) fn verify(
        &self,
        trust: &ClientTrust,
        now: UnixTime,
    ) -> Result<VerifiedChain, ChainError> {
        self.verifications.verify(self.leaf.chain(), trust, now)
    }

    /// The text that a header template gets for a field; empty if the certificate cannot be parsed.
    pub(super) fn text(&self, field: CertificateField) -> &str {
        self.texts.get(&self.leaf, field)
    }

    /// The headers that describe it to an upstream. The trust must have verified it.
    pub(super) fn headers(
        &self,
        wanted: CertificateHeaders,
        trust: &ClientTrust,
        judged: &VerifiedChain,
    ) -> Rc<[(HeaderName, HeaderValue)]> {
        self.headers.get((&self.leaf, &self.texts), wanted, trust, judged)
    }

    /// The user named by the first SAN of this kind; nobody if it is an address that does not count.
    /// Only to be believed if the certificate is trusted.
    pub(super) fn identity(&self, kind: SanKind) -> Option<&Identity> {
        let first = || self.subject_alt_names(kind).first().filter(|name| !name.is_empty());
        match kind {
            SanKind::Email => self.email_identity.get_or_init(|| {
                let email = EmailAddress::parse(first()?)?;
                Some(Identity { user_id: (*email).into(), email, ..Identity::default() })
            }),
            SanKind::Uri => self.uri_identity.get_or_init(|| {
                Some(Identity { user_id: first()?.clone(), ..Identity::default() })
            }),
            SanKind::Dns => return None,
        }
        .as_ref()
    }

    /// Its subject, issuer and names for the access log; `None` if it cannot be parsed.
    pub(crate) fn summary(&self) -> Option<&CertificateSummary> {
        self.leaf.summary()
    }
}

impl Drop for PeerCertificate {
    fn drop(&mut self) {
        // The table may be gone already when the thread ends.
        let _ = PRESENTED.try_with(|all| all.borrow_mut().release(self.leaf.chain()));
    }
}

impl LeafCertificate for PeerCertificate {
    fn fingerprint(&self) -> [u8; 32] {
        self.leaf.fingerprint()
    }

    fn spki_hash(&self) -> Option<[u8; 32]> {
        self.leaf.spki_hash()
    }

    fn subject_alt_names(&self, kind: SanKind) -> &[Box<str>] {
        self.leaf.subject_alt_names(kind)
    }
}

/// A client certificate as one request may rely on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestCertificate<'a> {
    pub(super) certificate: &'a PeerCertificate,
    /// The trust that verified it just now, and the result. Without one its names are worth nothing;
    /// that the client holds its key is proven in any case.
    pub(super) trusted_by: Option<(&'a ClientTrust, VerifiedChain)>,
}

impl<'a> RequestCertificate<'a> {
    /// The text of a field for a header template. An untrusted certificate gives its fingerprint
    /// alone: Pomerium passes on every name that a client gives itself.
    pub(super) fn text(self, field: CertificateField) -> &'a str {
        match field == CertificateField::Fingerprint || self.trusted_by.is_some() {
            true => self.certificate.text(field),
            false => "",
        }
    }
}

#[cfg(test)]
mod tests;
