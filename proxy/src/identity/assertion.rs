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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ring::rand::SystemRandom;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn alice(claims: Value) -> policy::Identity {
        policy::Identity {
            user_id: "alice-id".into(),
            email: "alice@example.com".into(),
            claims: object(claims),
        }
    }

    fn assertion<'a>(
        identity: &'a policy::Identity,
        claim_headers: &'a [(HeaderName, Box<str>)],
    ) -> Assertion<'a> {
        Assertion {
            host: "verify.example",
            issuer_format: IssuerFormat::HostOnly,
            identity,
            name: "Alice",
            session_id: "5f8c",
            claim_headers,
        }
    }

    fn headers(names: &[&str]) -> Vec<(HeaderName, Box<str>)> {
        let header = HeaderName::from_static("x-claim");
        names.iter().map(|name| (header.clone(), Box::from(*name))).collect()
    }

    #[test]
    fn an_assertion_has_exactly_these_claims() {
        let identity = alice(json!({ "groups": ["dev", "ops"], "other": 1 }));
        let claims = assertion(&identity, &[]).claims(1_700_000_000, "jti-1");
        let expected = json!({
            "iss": "verify.example", "aud": "verify.example", "jti": "jti-1",
            "iat": 1_700_000_000, "exp": 1_700_000_300,
            "sub": "alice-id", "user": "alice-id", "email": "alice@example.com", "name": "Alice",
            "groups": ["dev", "ops"], "sid": "5f8c",
        });
        assert_eq!(Value::Object(claims), expected);
    }

    #[test]
    fn the_issuer_may_be_a_uri_and_the_audience_stays_the_host() {
        let identity = alice(json!({}));
        let uri = Assertion { issuer_format: IssuerFormat::Uri, ..assertion(&identity, &[]) };
        let claims = uri.claims(0, "");
        assert_eq!(
            (&claims["iss"], &claims["aud"]),
            (&json!("https://verify.example/"), &json!("verify.example"))
        );
    }

    #[test]
    fn absent_groups_email_and_name_are_empty_and_never_null() {
        let nobody = policy::Identity::default();
        let bare = Assertion { name: "", session_id: "", ..assertion(&nobody, &[]) };
        let claims = bare.claims(0, "");
        assert_eq!(claims["groups"], json!([]));
        for name in ["email", "name", "sub", "user", "sid"] {
            assert_eq!(claims[name], "", "{name}");
        }
        for (groups, expected) in [
            (json!(null), json!([])),
            (json!("dev"), json!(["dev"])),
            (json!([1, null]), json!(["1"])),
        ] {
            let identity = alice(json!({ "groups": groups }));
            assert_eq!(assertion(&identity, &[]).claims(0, "")["groups"], expected);
        }
    }

    #[test]
    fn claims_of_headers_are_added_and_replace_none() {
        let identity = alice(json!({
            "roles": ["a", "b,admin", "c"], "department": "R, D", "level": 3, "sub": "forged", "iss": "forged",
            "exp": 1, "user": "forged",
        }));
        let headers =
            headers(&["roles", "department", "level", "sub", "iss", "exp", "user", "absent"]);
        let claims = assertion(&identity, &headers).claims(10, "");
        assert_eq!(claims["roles"], "a,c");
        assert_eq!(claims["department"], "R, D");
        assert_eq!(claims["level"], "3");
        assert_eq!(claims["absent"], "");
        assert_eq!(claims["sub"], "alice-id");
        assert_eq!(claims["user"], "alice-id");
        assert_eq!(claims["iss"], "verify.example");
        assert_eq!(claims["exp"], 310);
        assert_eq!(claims.len(), 11 + 4);
    }

    #[test]
    fn a_signed_assertion_has_these_claims_in_it() {
        let identity = alice(json!({ "groups": ["dev"] }));
        let key = SigningKey::derived(&[3; 32]).unwrap();
        let assertion = assertion(&identity, &[]);
        let token = assertion.sign(&key, 5, "jti-2", &SystemRandom::new()).unwrap();
        let claims: Map<String, Value> =
            jsonwebtoken::dangerous::insecure_decode_claims(&token).unwrap();
        assert_eq!(claims, assertion.claims(5, "jti-2"));
    }

    #[test]
    fn a_header_joins_lists_without_elements_that_have_commas() {
        let claims = object(json!({
            "groups": ["a", "b,admins", "c"], "email": "a@b", "level": 7, "ok": true, "list": [],
        }));
        let value = |name| claim_header_value(&claims, name).unwrap();
        assert_eq!(value("groups"), "a,c");
        assert_eq!(value("email"), "a@b");
        assert_eq!(value("level"), "7");
        assert_eq!(value("ok"), "true");
        assert_eq!(value("list"), "");
        assert_eq!(value("absent"), "");
    }

    #[test]
    fn a_header_with_bytes_that_it_cannot_have_is_left_out() {
        for name in ["a\r\nX-Evil: 1", "a\nb", "a\0b", "\u{7f}", "\u{1b}[0m"] {
            let claims = object(json!({ "name": name, "names": ["a", name] }));
            assert_eq!(claim_header_value(&claims, "name"), None, "{name:?}");
            assert_eq!(claim_header_value(&claims, "names"), None, "{name:?}");
        }
        let claims = object(json!({ "name": "Zoë" }));
        assert_eq!(claim_header_value(&claims, "name").unwrap().as_bytes(), "Zoë".as_bytes());
    }

    proptest! {
        #[test]
        fn a_header_has_no_element_that_the_list_lacks(groups in prop::collection::vec("\\PC{0,6}|[a,]{0,4}", 0..5)) {
            let claims = object(json!({ "groups": groups.clone() }));
            if let Some(value) = claim_header_value(&claims, "groups") {
                let value = String::from_utf8(value.as_bytes().to_vec()).unwrap();
                for element in value.split(',').filter(|_| !value.is_empty()) {
                    prop_assert!(groups.iter().any(|group| group == element));
                }
            }
        }
    }
}
