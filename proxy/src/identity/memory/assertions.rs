//! Assertions that are kept for a short time.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use http::{HeaderName, HeaderValue};

use crate::identity::spec::IssuerFormat;

/// How long an assertion is sent, in seconds: at least four minutes of its life are left then.
const KEPT_S: u64 = 60;
/// Hosts for which one identity's assertions are kept.
const MAX_HOSTS: usize = 4;
/// Certificates whose assertions are kept: about 2 MiB.
const MAX_CERTIFICATES: usize = 1_024;

/// What upstreams of one host are told of one identity.
#[derive(Debug)]
pub(crate) struct KeptAssertion {
    host: Box<str>,
    issuer: IssuerFormat,
    signed_at_s: u64,
    /// `X-Pomerium-Jwt-Assertion`.
    pub(crate) assertion: HeaderValue,
    /// The headers of `jwt_claims_headers`.
    pub(crate) claims: Box<[(HeaderName, HeaderValue)]>,
}

/// The assertions about one identity, a few hosts at most.
#[derive(Debug, Default)]
pub(crate) struct AssertionMemory(RefCell<Vec<Rc<KeptAssertion>>>);

impl KeptAssertion {
    /// An assertion that was signed now.
    pub(crate) fn new(
        (host, issuer): (&str, IssuerFormat),
        signed_at_s: u64,
        assertion: HeaderValue,
        claims: Vec<(HeaderName, HeaderValue)>,
    ) -> KeptAssertion {
        KeptAssertion { host: host.into(), issuer, signed_at_s, assertion, claims: claims.into() }
    }

    fn is_for(&self, host: &str, issuer: IssuerFormat) -> bool {
        *self.host == *host && self.issuer == issuer
    }

    /// A clock that was set back makes an assertion old too.
    fn is_fresh(&self, now_s: u64) -> bool {
        now_s.checked_sub(self.signed_at_s).is_some_and(|age| age < KEPT_S)
    }
}

impl AssertionMemory {
    /// The assertion for this host, signed by `sign` if none is kept. `None` if signing fails.
    pub(crate) fn get_or_sign(
        &self,
        (host, issuer): (&str, IssuerFormat),
        now_s: u64,
        sign: impl FnOnce() -> Option<KeptAssertion>,
    ) -> Option<Rc<KeptAssertion>> {
        let mut kept = self.0.borrow_mut();
        let found = kept.iter().find(|one| one.is_for(host, issuer) && one.is_fresh(now_s));
        if let Some(found) = found {
            return Some(Rc::clone(found));
        }
        let signed = Rc::new(sign()?);
        kept.retain(|one| !one.is_for(host, issuer) && one.is_fresh(now_s));
        if kept.len() >= MAX_HOSTS {
            kept.remove(0);
        }
        kept.push(Rc::clone(&signed));
        Some(signed)
    }
}

/// The assertions about users whom a certificate names, by the certificate's fingerprint.
#[derive(Debug, Default)]
pub(crate) struct CertificateAssertions(RefCell<ByFingerprint>);

#[derive(Debug, Default)]
struct ByFingerprint {
    /// The configuration that they were signed by.
    epoch: u64,
    kept: HashMap<[u8; 32], Rc<AssertionMemory>>,
}

impl CertificateAssertions {
    /// The assertions about the user of this certificate, by the configuration with this number.
    pub(crate) fn of(&self, epoch: u64, fingerprint: [u8; 32]) -> Rc<AssertionMemory> {
        let mut by = self.0.borrow_mut();
        if epoch < by.epoch {
            // A request that began before a reload.
            return Rc::default();
        }
        if epoch > by.epoch || by.kept.len() >= MAX_CERTIFICATES {
            *by = ByFingerprint { epoch, ..ByFingerprint::default() };
        }
        Rc::clone(by.kept.entry(fingerprint).or_default())
    }
}
