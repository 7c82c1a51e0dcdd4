//! The settings of this room as requests use them, compiled once for each configuration.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use ring::rand::SecureRandom;

use super::{
    assertion::{Assertion, claim_header_value},
    jose::{Jwks, SigningKey, SigningKeyError, public_jwks},
    memory::KeptAssertion,
    session::SessionId,
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
            sign_in: spec.sign_in.clone().map(|spec| SignInConfig { spec }),
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
