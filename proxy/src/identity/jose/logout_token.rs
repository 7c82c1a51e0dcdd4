//! Logout tokens (OpenID Connect Back-Channel Logout 1.0, sections 2.4 and 2.6). Pure.

use serde_json::{Map, Value};

use super::{
    IdTokenRules, ProviderKeys, claim_checks,
    error::TokenError,
    strict::{self, TokenType},
};

/// The member of `events` that makes a token a logout token.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// A token counts for so long after it was issued, in seconds, whatever its `exp`: its `jti` is
/// remembered for no longer.
const MAX_AGE_S: u64 = 600;
/// How far clocks may differ, in seconds.
const LEEWAY_S: u64 = 60;
/// The longest `jti`, `sub` and `sid`, in bytes.
const MAX_ID_LEN: usize = 255;

/// A logout token that passed every check but whether it was used before.
#[derive(Clone, PartialEq)]
pub(crate) struct LogoutToken {
    /// Whose sessions end.
    pub(crate) subject: Option<Box<str>>,
    /// The provider's session (`sid`), if only that one ends.
    pub(crate) provider_session: Option<Box<str>>,
    /// `jti`
    pub(crate) id: Box<str>,
    /// Until when the token could be presented again, in seconds since 1970.
    pub(crate) until_s: u64,
    /// All claims.
    pub(crate) claims: Map<String, Value>,
}

/// Verifies a logout token. The nonce and the access token of the rules do not matter.
pub(crate) fn verify_logout_token(
    token: &str,
    rules: &IdTokenRules<'_>,
    keys: &ProviderKeys,
    now_s: u64,
) -> Result<LogoutToken, TokenError> {
    let (claims, _) = keys.verify(token, TokenType::Logout, rules.algorithms)?;
    claim_checks::issuer(&claims, rules.issuer, rules.tenants)?;
    claim_checks::audience(&claims, rules.client_id)?;
    let (issued_at_s, expires_at_s) = claim_checks::required_times(&claims, now_s)?;
    let last_s = issued_at_s.saturating_add(MAX_AGE_S);
    if last_s < now_s {
        return Err(TokenError::Invalid("it was issued more than ten minutes ago"));
    }
    check_events(&claims)?;
    if claims.contains_key("nonce") {
        return Err(TokenError::Invalid("a logout token has no nonce, and this one has"));
    }
    let (subject, provider_session) = (id(&claims, "sub")?, id(&claims, "sid")?);
    if subject.is_none() && provider_session.is_none() {
        return Err(TokenError::Invalid("there is neither sub nor sid"));
    }
    Ok(LogoutToken {
        subject,
        provider_session,
        id: id(&claims, "jti")?.ok_or(TokenError::Invalid("there is no jti"))?,
        until_s: last_s.min(expires_at_s.saturating_add(LEEWAY_S)),
        claims,
    })
}

/// Whether a logout token says to be for a client. It was not verified.
pub(crate) fn is_for(token: &str, client_id: &str) -> bool {
    let claims = strict::unverified_claims(token, TokenType::Logout);
    claims.is_ok_and(|claims| claim_checks::audience(&claims, client_id).is_ok())
}

/// The event that makes it a logout token.
fn check_events(claims: &Map<String, Value>) -> Result<(), TokenError> {
    match claims.get("events").and_then(|events| events.get(EVENT)) {
        Some(Value::Object(_)) => Ok(()),
        _ => Err(TokenError::Invalid("events has no back-channel logout")),
    }
}

/// A text of 1 to 255 bytes, or nothing.
fn id(claims: &Map<String, Value>, name: &str) -> Result<Option<Box<str>>, TokenError> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if (1..=MAX_ID_LEN).contains(&text.len()) => {
            Ok(Some(text.as_str().into()))
        }
        Some(_) => Err(TokenError::Invalid("sub, sid or jti is not a text of 1 to 255 bytes")),
    }
}

impl std::fmt::Debug for LogoutToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LogoutToken(..)")
    }
}

/// The provider's session in the claims of an ID token, as logout tokens name it.
pub(crate) fn provider_session(claims: &Map<String, Value>) -> Option<&str> {
    claim_checks::text(claims, "sid").filter(|sid| (1..=MAX_ID_LEN).contains(&sid.len()))
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::Algorithm;
    use serde_json::json;

    use super::*;
    use crate::identity::jose::{
        AllowedAlgorithms,
        testing::{KEYS, NOW_S, parse_set, with},
    };

    const ISSUER: &str = "https://idp.example";

    fn claims() -> Value {
        json!({
            "iss": ISSUER, "aud": "client", "iat": NOW_S, "exp": NOW_S + 120, "jti": "1",
            "sub": "ann", "sid": "s", "events": { EVENT: {} },
        })
    }

    fn verify(header: Value, change: Value) -> Result<LogoutToken, TokenError> {
        let header = with(json!({"alg": "ES256", "kid": "P-256", "typ": "logout+jwt"}), header);
        let payload = with(claims(), change).to_string();
        verify_token(&KEYS.sign(Algorithm::ES256, &header.to_string(), &payload))
    }

    fn verify_token(token: &str) -> Result<LogoutToken, TokenError> {
        let algorithms = &AllowedAlgorithms::from_metadata(Some(&["ES256"]));
        let rules = IdTokenRules {
            issuer: ISSUER,
            client_id: "client",
            algorithms,
            nonce: Some("of a sign-in"),
            access_token: None,
            tenants: &[],
        };
        verify_logout_token(token, &rules, &parse_set(&KEYS.set()), NOW_S)
    }

    #[test]
    fn a_logout_token_names_a_user_a_session_or_both() {
        let of = |change| {
            let token = verify(json!({}), change).unwrap();
            (token.subject.is_some(), token.provider_session.is_some())
        };
        assert_eq!(of(json!({})), (true, true));
        assert_eq!(of(json!({"sid": null})), (true, false));
        assert_eq!(of(json!({"sub": null})), (false, true));
        assert!(verify(json!({}), json!({"sub": null, "sid": null})).is_err());
    }

    #[test]
    fn a_token_is_remembered_for_as_long_as_it_can_be_presented() {
        let until = |change| verify(json!({}), change).unwrap().until_s;
        assert_eq!(until(json!({})), NOW_S + 180);
        assert_eq!(until(json!({"exp": NOW_S + 86_400})), NOW_S + 600);
        let old = json!({"iat": NOW_S - 600, "exp": NOW_S + 86_400});
        assert_eq!(until(old), NOW_S, "its last second");
        let older = json!({"iat": NOW_S - 601, "exp": NOW_S + 86_400});
        assert!(verify(json!({}), older).is_err());
    }

    #[test]
    fn the_type_is_absent_jwt_or_that_of_logout_tokens() {
        for typ in [json!(null), json!("JWT"), json!("Logout+JWT"), json!("application/logout+jwt")]
        {
            assert!(verify(json!({ "typ": typ }), json!({})).is_ok(), "{typ}");
        }
        for typ in ["at+jwt", "secevent+jwt", "logout", "jwt+logout", ""] {
            assert!(verify(json!({ "typ": typ }), json!({})).is_err(), "{typ}");
        }
    }

    #[test]
    fn every_claim_is_checked() {
        for change in [
            json!({"iss": "https://idp.example/"}),
            json!({"iss": null}),
            json!({"aud": "other"}),
            json!({"aud": null}),
            json!({"aud": ["client", "other"]}),
            json!({"azp": "other"}),
            json!({"iat": null}),
            json!({"iat": NOW_S + 61}),
            json!({"iat": NOW_S.to_string()}),
            json!({"exp": null}),
            json!({"exp": NOW_S - 60}),
            json!({"nbf": NOW_S + 61}),
            json!({"jti": null}),
            json!({"jti": ""}),
            json!({"jti": 1}),
            json!({"jti": "j".repeat(256)}),
            json!({"sub": 1}),
            json!({"sub": ""}),
            json!({"sid": ["s"]}),
            json!({"sid": "s".repeat(256)}),
            json!({"nonce": "n"}),
            json!({"nonce": ""}),
            json!({"events": null}),
            json!({"events": {}}),
            json!({"events": [EVENT]}),
            json!({"events": EVENT}),
            json!({"events": { EVENT: null }}),
            json!({"events": { EVENT: [] }}),
            json!({"events": {"http://schemas.openid.net/event/other": {}}}),
        ] {
            assert!(verify(json!({}), change.clone()).is_err(), "{change}");
        }
    }

    #[test]
    fn the_form_and_the_signature_are_those_of_every_token() {
        for header in [json!({"crit": ["exp"]}), json!({"alg": "none"}), json!({"kid": "RSA"})] {
            assert!(verify(header.clone(), json!({})).is_err(), "{header}");
        }
        assert_eq!(verify(json!({"kid": "new"}), json!({})), Err(TokenError::UnknownKid));
        let token = KEYS.token(Algorithm::ES256, &claims());
        assert!(verify_token(&token).is_ok());
        let other = KEYS.token(Algorithm::ES256, &with(claims(), json!({"sub": "bob"})));
        let (message, _) = token.rsplit_once('.').unwrap();
        let (_, signature) = other.rsplit_once('.').unwrap();
        assert!(verify_token(&format!("{message}.{signature}")).is_err());
        assert!(verify_token(&KEYS.token(Algorithm::RS256, &claims())).is_err(), "algorithm");
    }
}
