//! The signed statement of who a user is, for upstreams (`X-Pomerium-Jwt-Assertion`), and the headers
//! of `jwt_claims_headers`. Pure.

use http::{HeaderName, HeaderValue};
use ring::rand::SecureRandom;
use serde_json::{Map, Value, json};

use super::{
    jose::{SignError, SigningKey},
    spec::IssuerFormat,
};
use crate::policy;

/// How long an assertion is valid, in seconds.
const LIFETIME_S: u64 = 300;

/// What an assertion says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Assertion<'a> {
    /// The host that was asked for, without a port, in the form of [`crate::hostname`].
    pub(crate) host: &'a str,
    /// The form of `iss`.
    pub(crate) issuer_format: IssuerFormat,
    /// The user.
    pub(crate) identity: &'a policy::Identity,
    /// The user's name, or an empty text.
    pub(crate) name: &'a str,
    /// The session's id; empty for the identity of a certificate.
    pub(crate) session_id: &'a str,
    /// `jwt_claims_headers`: the claims named there are in the assertion too.
    pub(crate) claim_headers: &'a [(HeaderName, Box<str>)],
}

impl Assertion<'_> {
    /// The claims. `jti` is a random UUID.
    pub(crate) fn claims(&self, now_s: u64, jti: &str) -> Map<String, Value> {
        let user = &*self.identity.user_id;
        let issuer = match self.issuer_format {
            IssuerFormat::HostOnly => self.host.to_owned(),
            IssuerFormat::Uri => format!("https://{}/", self.host),
        };
        let groups = self.identity.claims.get("groups").map(texts).unwrap_or_default();
        let standard = json!({
            "iss": issuer,
            "aud": self.host,
            "jti": jti,
            "iat": now_s,
            "exp": now_s.saturating_add(LIFETIME_S),
            "sub": user,
            "user": user,
            "email": &*self.identity.email,
            "name": self.name,
            "groups": groups,
            "sid": self.session_id,
        });
        let Value::Object(mut claims) = standard else { return Map::new() };
        for (_, name) in self.claim_headers {
            if !claims.contains_key(&**name) {
                let value = self.identity.claims.get(&**name).map(joined).unwrap_or_default();
                claims.insert(String::from(&**name), Value::String(value));
            }
        }
        claims
    }

    /// The claims as a signed token.
    pub(crate) fn sign(
        &self,
        key: &SigningKey,
        now_s: u64,
        jti: &str,
        random: &dyn SecureRandom,
    ) -> Result<String, SignError> {
        let claims = Value::Object(self.claims(now_s, jti));
        key.sign(claims.to_string().as_bytes(), random)
    }
}

/// The header for one of an assertion's claims: a list joined with commas, nothing for a claim that is
/// not there. Characters beyond ASCII are sent as UTF-8.
/// `None` if a header cannot have these bytes, such as a line break; then it is left out.
pub(crate) fn claim_header_value(claims: &Map<String, Value>, name: &str) -> Option<HeaderValue> {
    let value = claims.get(name).map(joined).unwrap_or_default();
    HeaderValue::try_from(value).ok()
}

/// The elements of a list, or the one value, as texts.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(list) => list.iter().filter_map(text).collect(),
        single => text(single).into_iter().collect(),
    }
}

/// The texts of a list joined with commas. An element with a comma is left out: behind the comma it
/// could claim another.
fn joined(value: &Value) -> String {
    match value {
        Value::Array(_) => {
            let fitting = texts(value).into_iter().filter(|text| !text.contains(','));
            fitting.collect::<Vec<_>>().join(",")
        }
        single => text(single).unwrap_or_default(),
    }
}

/// A text, a number or a truth value; `None` for `null`. Claims below a claim are their JSON.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}
