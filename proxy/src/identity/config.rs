//! The settings of this room as requests use them, compiled once for each configuration.

use std::{borrow::Cow, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue};
use ring::rand::SecureRandom;
use serde_json::{Map, Value};

use super::{
    assertion::{Assertion, claim_header_value},
    bearer::spec::TokenSpec,
    flow::{SignInClients, SignInContext},
    jose::{Jwks, SigningKey, SigningKeyError, public_jwks},
    memory::KeptAssertion,
    presented::presented,
    session::{Session, SessionId},
    spec::{IdentitySpec, IssuerFormat, SealSecret},
};
use crate::policy;

/// What requests need to know of identity. Shared by all workers.
#[derive(Debug)]
pub(crate) struct IdentityConfig {
    /// Differs from that of every other configuration, and grows.
    pub(crate) epoch: u64,
    /// How people sign in; `None` if nobody can.
    pub(crate) sign_in: Option<SignInClients>,
    /// The public keys of assertions.
    pub(crate) jwks: Jwks,
    /// What holds for the bearer tokens of all routes.
    pub(crate) tokens: Arc<TokenSpec>,
    signing_key: SigningKey,
    claim_headers: Arc<[(HeaderName, Box<str>)]>,
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
            sign_in: spec.sign_in.clone().map(|spec| SignInClients::new(spec, shared_secret)),
            jwks: public_jwks(&keys),
            tokens: Arc::clone(&spec.tokens),
            signing_key,
            claim_headers: Arc::clone(&spec.claim_headers),
        })
    }

    /// The claims that upstreams of this host get about a user, without what differs each time.
    pub(crate) fn claims(
        &self,
        host: &str,
        user: AssertedUser<'_>,
        now_s: u64,
    ) -> Map<String, Value> {
        let session_id = user.session_id();
        self.assertion((host, IssuerFormat::HostOnly), user, &session_id).claims(now_s, "")
    }

    /// An assertion for upstreams of this host. `None` if the random generator fails.
    pub(crate) fn sign(
        &self,
        scope: (&str, IssuerFormat),
        user: AssertedUser<'_>,
        now_s: u64,
        random: &dyn SecureRandom,
    ) -> Option<KeptAssertion> {
        let session_id = user.session_id();
        let assertion = self.assertion(scope, user, &session_id);
        let jti = SessionId::generate(random).ok()?.to_string();
        let token = assertion.sign(&self.signing_key, now_s, &jti, random).ok()?;
        let mut value = HeaderValue::try_from(token).ok()?;
        value.set_sensitive(true);
        let claims = assertion.claims(now_s, "");
        let headers = self.claim_headers.iter().filter_map(|(header, claim)| {
            Some((header.clone(), claim_header_value(&claims, claim)?))
        });
        Some(KeptAssertion::new(scope, now_s, value, headers.collect()))
    }

    fn assertion<'a>(
        &'a self,
        (host, issuer_format): (&'a str, IssuerFormat),
        user: AssertedUser<'a>,
        session_id: &'a str,
    ) -> Assertion<'a> {
        let AssertedUser { identity, name, .. } = user;
        let claim_headers = &*self.claim_headers;
        Assertion { host, issuer_format, identity, name, session_id, claim_headers }
    }
}

impl AssertedUser<'_> {
    fn session_id(self) -> String {
        self.session.map(|id| id.to_string()).unwrap_or_default()
    }
}

impl SignInContext {
    /// The bytes of a request that a worker knows its session by; `None` without a session cookie.
    pub(crate) fn presented<'h>(&self, headers: &'h HeaderMap) -> Option<Cow<'h, [u8]>> {
        presented(&self.cookies.names, headers)
    }

    /// The `Set-Cookie` fields that replace the session cookies of a request. None if the session
    /// has become too large: the old cookie stays. With `only_tokens`, it stays too if the tokens are
    /// too large.
    pub(crate) fn seal(
        &self,
        (host, headers): (&str, &HeaderMap),
        session: &Session,
        only_tokens: bool,
        now_s: u64,
        random: &dyn SecureRandom,
    ) -> Vec<HeaderValue> {
        let replaced = self.cookies.read(headers);
        let set = match only_tokens {
            true => self.cookies.set_whole_session(host, session, &replaced, now_s, random),
            false => self.cookies.set_session(host, session, &replaced, now_s, random),
        };
        set.unwrap_or_default()
    }
}
