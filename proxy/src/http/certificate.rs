//! What a client certificate says and what it is worth, found out when somebody asks.

mod forwarded;
mod shared;
mod texts;
mod xfcc;

use std::{
    cell::{OnceCell, RefCell},
    rc::Rc,
};

use http::{HeaderName, HeaderValue};
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

use self::{forwarded::Forwarded, shared::Shown, texts::Texts};
use super::spec::{CertificateField, CertificateHeaders};
use crate::{
    digest::sha256,
    observe::CertificateSummary,
    policy::{Identity, LeafCertificate, SanKind},
    tls::{ChainError, ClientTrust, Judged},
};

/// The most judgements that are remembered: more CAs than one host has.
const MAX_VERDICTS: usize = 8;

/// The certificate that a client presented and proved to hold, with the chain it sent.
#[derive(Debug)]
pub struct ClientCertificate {
    shown: Rc<Shown>,
    fingerprint: OnceCell<[u8; 32]>,
    contents: OnceCell<Contents>,
    texts: Texts,
    forwarded: Forwarded,
    summary: OnceCell<Option<CertificateSummary>>,
    email_identity: OnceCell<Option<Identity>>,
    uri_identity: OnceCell<Option<Identity>>,
    verdicts: RefCell<Vec<Verdict>>,
}

/// What a policy may ask of a certificate; nothing where it cannot be read.
#[derive(Debug, Default)]
struct Contents {
    spki_hash: Option<[u8; 32]>,
    dns: Vec<Box<str>>,
    email: Vec<Box<str>>,
    uri: Vec<Box<str>>,
}

/// A judgement, good for the trust of this digest: also after a reload that changed nothing in it,
/// and no longer after one that did.
#[derive(Debug)]
struct Verdict {
    trust: [u8; 32],
    result: Result<Judged, ChainError>,
    judged_at: UnixTime,
}

impl ClientCertificate {
    /// Of a chain, leaf first, that was shown to a server of this name; `None` without a leaf. Shared
    /// with this thread's other connections that were shown it. Nothing is read yet.
    pub fn shown(
        chain: &[CertificateDer<'static>],
        to: Option<&str>,
    ) -> Option<Rc<ClientCertificate>> {
        let (leaf, intermediates) = chain.split_first()?;
        Some(shared::held_once(Shown {
            leaf: leaf.clone(),
            intermediates: intermediates.to_vec(),
            to: to.map(Into::into),
        }))
    }

    fn of(shown: Shown) -> ClientCertificate {
        ClientCertificate {
            shown: Rc::new(shown),
            fingerprint: OnceCell::new(),
            contents: OnceCell::new(),
            texts: Texts::default(),
            forwarded: Forwarded::default(),
            summary: OnceCell::new(),
            email_identity: OnceCell::new(),
            uri_identity: OnceCell::new(),
            verdicts: RefCell::default(),
        }
    }

    /// Whether it is good now. The chain is verified at the first question; what time changes is
    /// looked at each time.
    pub(super) fn judge(&self, trust: &ClientTrust, now: UnixTime) -> Result<Judged, ChainError> {
        let digest = trust.digest();
        let mut verdicts = self.verdicts.borrow_mut();
        let known = verdicts.iter().position(|verdict| verdict.trust == digest);
        if let Some(verdict) = known.and_then(|place| verdicts.get(place)) {
            match &verdict.result {
                Ok(judged) => return trust.still_good(judged, now).map(|()| *judged),
                Err(error) if verdict.is_final(error, now) => return Err(error.clone()),
                Err(_) => {}
            }
        }
        let result = trust.judge(self.leaf(), &self.shown.intermediates, now);
        let verdict = Verdict { trust: digest, result: result.clone(), judged_at: now };
        match known.and_then(|place| verdicts.get_mut(place)) {
            Some(place) => *place = verdict,
            None => {
                if verdicts.len() == MAX_VERDICTS {
                    verdicts.remove(0);
                }
                verdicts.push(verdict);
            }
        }
        result
    }

    /// What a header template may say of it; empty where it cannot be read.
    pub(super) fn text(&self, field: CertificateField) -> &str {
        self.texts.get(self, field)
    }

    /// The headers that tell an upstream of it, given that this trust has judged it good.
    pub(super) fn headers(
        &self,
        wanted: CertificateHeaders,
        trust: &ClientTrust,
        judged: &Judged,
    ) -> Rc<[(HeaderName, HeaderValue)]> {
        self.forwarded.get(self, wanted, trust, judged)
    }

    /// Who the user is, if the first name of this kind says it. Only to be believed where the
    /// certificate is trusted.
    pub(super) fn identity(&self, kind: SanKind) -> Option<&Identity> {
        let first = || self.subject_alt_names(kind).first().filter(|name| !name.is_empty());
        match kind {
            SanKind::Email => self.email_identity.get_or_init(|| {
                let email = first()?.clone();
                Some(Identity { user_id: email.clone(), email, ..Identity::default() })
            }),
            SanKind::Uri => self.uri_identity.get_or_init(|| {
                Some(Identity { user_id: first()?.clone(), ..Identity::default() })
            }),
            SanKind::Dns => return None,
        }
        .as_ref()
    }

    /// What the access log shows of it; `None` where it cannot be read.
    pub(super) fn summary(&self) -> Option<&CertificateSummary> {
        self.summary.get_or_init(|| CertificateSummary::from_der(self.leaf())).as_ref()
    }

    fn leaf(&self) -> &CertificateDer<'static> {
        &self.shown.leaf
    }

    fn contents(&self) -> &Contents {
        self.contents.get_or_init(|| Contents::read(self.leaf()).unwrap_or_default())
    }
}

impl Drop for ClientCertificate {
    fn drop(&mut self) {
        shared::let_go(&self.shown);
    }
}

impl LeafCertificate for ClientCertificate {
    fn fingerprint(&self) -> [u8; 32] {
        *self.fingerprint.get_or_init(|| sha256(self.leaf()))
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

impl Verdict {
    /// Whether a refusal is one still: time may heal it, though not more than once a second.
    fn is_final(&self, error: &ChainError, now: UnixTime) -> bool {
        !error.depends_on_time() || self.judged_at == now
    }
}

impl Contents {
    fn read(der: &[u8]) -> Option<Contents> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let mut contents = Contents {
            spki_hash: Some(sha256(certificate.public_key().raw)),
            ..Contents::default()
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

#[cfg(test)]
mod tests;
