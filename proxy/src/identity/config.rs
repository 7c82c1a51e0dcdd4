//! The settings of this room as requests use them, compiled once for each configuration.

use std::{borrow::Cow, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use ring::rand::SecureRandom;

use super::{
    assertion::{Assertion, claim_header_value},
    cookies::{IdentityCookies, OpenedSession, choose},
    jose::{Jwks, SigningKey, SigningKeyError, public_jwks},
    memory::KeptAssertion,
    presented::presented,
    seal::Seals,
    session::{ProviderId, Session, SessionId},
    spec::{IdentitySpec, IssuerFormat, SealSecret, SignInSpec},
};
use crate::policy;

/// What requests need to know of identity. Shared by all workers.
#[derive(Debug)]
pub(crate) struct IdentityConfig {
    /// Differs from that of every other configuration, and grows.
    pub(crate) epoch: u64,
    /// How people sign in; `None` if nobody can.
    pub(crate) sign_in: Option<SignInConfig>,
    /// The public keys of assertions.
    pub(crate) jwks: Jwks,
    signing_key: SigningKey,
    claim_headers: Arc<[(HeaderName, Box<str>)]>,
}

/// How people sign in.
#[derive(Debug)]
pub(crate) struct SignInConfig {
    /// The settings.
    pub(crate) spec: Arc<SignInSpec>,
    /// Reads and writes the cookies.
    pub(crate) cookies: IdentityCookies,
    /// Sessions of another provider do not count.
    pub(crate) provider: ProviderId,
    /// Sessions without these claims are checked at once.
    pub(crate) claims_digest: [u8; 8],
}

impl SignInConfig {
    fn new(spec: &Arc<SignInSpec>, shared_secret: &SealSecret) -> SignInConfig {
        let cookie_secret = spec.cookie_secret.as_ref();
        let seals = Seals::new(shared_secret, cookie_secret, &spec.previous_secrets);
        SignInConfig {
            cookies: IdentityCookies::new(&spec.cookies, Arc::new(seals)),
            provider: spec.provider.id(),
            claims_digest: spec.claims_digest(),
            spec: Arc::clone(spec),
        }
    }

    /// The bytes of a request that a worker knows its session by; `None` without a session cookie.
    pub(crate) fn presented<'h>(&self, headers: &'h HeaderMap) -> Option<Cow<'h, [u8]>> {
        let fields = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
        let names = &self.cookies.names;
        presented(names.session(), names.binding(), fields)
    }

    /// The session in the cookies of a request to this host, if one counts.
    pub(crate) fn open(
        &self,
        host: &str,
        headers: &HeaderMap,
        now_s: u64,
    ) -> Option<OpenedSession> {
        let cookies = self.cookies.read(headers);
        let binding = self.cookies.binding(host, &cookies, now_s);
        let sessions = self.cookies.sessions(host, &cookies).into_iter();
        let good = sessions.filter(|opened| self.counts(&opened.session, now_s));
        choose(good, |opened| &opened.session, binding.as_ref())
    }

    /// Whether a session is of this provider and has not run out.
    pub(crate) fn counts(&self, session: &Session, now_s: u64) -> bool {
        now_s < session.ends_at_s && session.provider == self.provider
    }

    /// The `Set-Cookie` fields that replace the session cookies of a request. None if the session
    /// has become too large: the old cookie stays.
    pub(crate) fn seal(
        &self,
        (host, headers): (&str, &HeaderMap),
        session: &Session,
        now_s: u64,
        random: &dyn SecureRandom,
    ) -> Vec<HeaderValue> {
        let replaced = self.cookies.read(headers);
        self.cookies.set_session(host, session, &replaced, now_s, random).unwrap_or_default()
    }

    /// The `Set-Cookie` fields that delete the session cookies of a request.
    pub(crate) fn delete(&self, host: &str, headers: &HeaderMap) -> Vec<HeaderValue> {
        self.cookies.delete_session(host, &self.cookies.read(headers))
    }
}

/// Somebody for whom an assertion is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AssertedUser<'a> {
    /// Who it is.
    pub(crate) identity: &'a policy::Identity,
    /// The name; empty if it is unknown.
    pub(crate) name: &'a str,
    /// `None` for a user whom a certificate names.
    pub(crate) session: Option<SessionId>,
}

impl IdentityConfig {
    /// Compiles. `process_secret` is used if the configuration has no shared secret.
    pub(crate) fn new(
        spec: &IdentitySpec,
        process_secret: &SealSecret,
        epoch: u64,
    ) -> Result<IdentityConfig, SigningKeyError> {
        let shared_secret = spec.shared_secret.as_ref().unwrap_or(process_secret);
        let keys: Vec<SigningKey> = match &*spec.signing_keys {
            [] => vec![SigningKey::derived(&shared_secret.0)?],
            given => given.to_vec(),
        };
        let signing_key = keys.first().cloned().ok_or(SigningKeyError::Malformed("no key"))?;
        Ok(IdentityConfig {
            epoch,
            sign_in: spec.sign_in.as_ref().map(|spec| SignInConfig::new(spec, shared_secret)),
            jwks: public_jwks(&keys),
            signing_key,
            claim_headers: Arc::clone(&spec.claim_headers),
        })
    }

    /// An assertion for upstreams of this host. `None` if the random generator fails.
    pub(crate) fn sign(
        &self,
        (host, issuer_format): (&str, IssuerFormat),
        user: AssertedUser<'_>,
        now_s: u64,
        random: &dyn SecureRandom,
    ) -> Option<KeptAssertion> {
        let session_id = user.session.map(|id| id.to_string()).unwrap_or_default();
        let assertion = Assertion {
            host,
            issuer_format,
            identity: user.identity,
            name: user.name,
            session_id: &session_id,
            claim_headers: &self.claim_headers,
        };
        let jti = SessionId::generate(random).ok()?.to_string();
        let token = assertion.sign(&self.signing_key, now_s, &jti, random).ok()?;
        let mut value = HeaderValue::try_from(token).ok()?;
        value.set_sensitive(true);
        let claims = assertion.claims(now_s, "");
        let headers = self.claim_headers.iter().filter_map(|(header, claim)| {
            Some((header.clone(), claim_header_value(&claims, claim)?))
        });
        Some(KeptAssertion::new((host, issuer_format), now_s, value, headers.collect()))
    }
}
