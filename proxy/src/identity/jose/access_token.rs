//! Signed access tokens (RFC 9068) and other tokens that machines present. Pure.

use super::{
    AllowedAlgorithms, IdTokenClaims, ProviderKeys, claim_checks,
    error::TokenError,
    strict::{self, TokenType},
};

/// What a token must say that a machine presents.
#[derive(Clone, Copy)]
pub(crate) struct AccessTokenRules<'r> {
    /// The issuer, to the letter.
    pub(crate) issuer: &'r str,
    /// `aud` must hold one of them.
    pub(crate) audiences: &'r [Box<str>],
    /// The algorithms that the token may have.
    pub(crate) algorithms: &'r AllowedAlgorithms,
    /// The tenants (`tid`) that are let in; without any, `tid` does not matter.
    pub(crate) tenants: &'r [Box<str>],
}

/// Verifies a token that is for one of the audiences: as an ID token, but `typ` may be `at+jwt`, and
/// `azp` does not matter, since the client that fetched the token is another than ours.
pub(crate) fn verify_access_token(
    token: &str,
    rules: &AccessTokenRules<'_>,
    keys: &ProviderKeys,
    now_s: u64,
) -> Result<IdTokenClaims, TokenError> {
    let (claims, _) = keys.verify(token, TokenType::AccessToken, rules.algorithms)?;
    claim_checks::issuer(&claims, rules.issuer, rules.tenants)?;
    claim_checks::one_of_audiences(&claims, rules.audiences)?;
    let subject = claim_checks::subject(&claims)?.into();
    let (issued_at_s, expires_at_s) = claim_checks::required_times(&claims, now_s)?;
    Ok(IdTokenClaims { claims, subject, issued_at_s, expires_at_s })
}

/// Who says to have made a token. Nothing of it is verified: it only chooses the keys.
pub(crate) fn unverified_issuer(token: &str) -> Result<Box<str>, TokenError> {
    let claims = strict::unverified_claims(token, TokenType::AccessToken)?;
    let issuer = claim_checks::text(&claims, "iss").map(Into::into);
    issuer.ok_or(TokenError::Invalid("iss is another issuer"))
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::Algorithm;
    use serde_json::{Value, json};

    use super::*;
    use crate::identity::jose::testing::{KEYS, NOW_S, parse_set, with};

    const ISSUER: &str = "https://ci.example";

    fn claims() -> Value {
        json!({
            "iss": ISSUER, "sub": "job", "aud": "app", "iat": NOW_S - 5, "exp": NOW_S + 300,
        })
    }

    fn verify(header: Value, change: Value) -> Result<IdTokenClaims, TokenError> {
        let header = with(json!({"alg": "ES256", "kid": "P-256"}), header).to_string();
        let payload = with(claims(), change).to_string();
        verify_token(&KEYS.sign(Algorithm::ES256, &header, &payload))
    }

    fn verify_token(token: &str) -> Result<IdTokenClaims, TokenError> {
        let algorithms = AllowedAlgorithms::from_metadata(Some(&["ES256"]));
        let audiences = ["app".into(), "other".into()];
        let (algorithms, audiences) = (&algorithms, &audiences[..]);
        let rules = AccessTokenRules { issuer: ISSUER, audiences, algorithms, tenants: &[] };
        verify_access_token(token, &rules, &parse_set(&KEYS.set()), NOW_S)
    }

    #[test]
    fn a_token_for_one_of_the_audiences_is_good() {
        for aud in [json!("app"), json!(["other"]), json!(["x", "app"])] {
            let verified = verify(json!({"typ": "at+jwt"}), json!({"aud": aud, "azp": "ci"}));
            assert_eq!(&*verified.unwrap().subject, "job");
        }
        assert!(verify(json!({}), json!({})).is_ok());
    }

    #[test]
    fn a_token_for_another_audience_or_none_is_refused() {
        for aud in [json!("x"), json!(["x"]), json!([]), json!(null), json!(["app", 1]), json!({})]
        {
            assert!(verify(json!({}), json!({ "aud": aud })).is_err(), "{aud}");
        }
        let algorithms = AllowedAlgorithms::from_metadata(Some(&["ES256"]));
        let rules = AccessTokenRules {
            issuer: ISSUER,
            audiences: &[],
            algorithms: &algorithms,
            tenants: &[],
        };
        let token = KEYS.token(Algorithm::ES256, &claims());
        assert!(verify_access_token(&token, &rules, &parse_set(&KEYS.set()), NOW_S).is_err());
    }

    #[test]
    fn the_other_checks_are_those_of_id_tokens() {
        for change in [
            json!({"iss": "https://ci.example/"}),
            json!({"sub": null}),
            json!({"sub": ""}),
            json!({"exp": null}),
            json!({"exp": NOW_S - 60}),
            json!({"exp": (NOW_S + 300).to_string()}),
            json!({"iat": null}),
            json!({"iat": NOW_S + 61}),
            json!({"nbf": NOW_S + 61}),
        ] {
            assert!(verify(json!({}), change.clone()).is_err(), "{change}");
        }
        for header in [json!({"typ": "JOSE"}), json!({"crit": ["exp"]}), json!({"alg": "RS256"})] {
            assert!(verify(header.clone(), json!({})).is_err(), "{header}");
        }
        assert!(verify_token(&KEYS.token(Algorithm::RS256, &claims())).is_err(), "algorithm");
        assert_eq!(verify(json!({"kid": "new"}), json!({})), Err(TokenError::UnknownKid));
    }

    #[test]
    fn the_issuer_is_read_only_from_a_token_of_strict_form() {
        let token = KEYS.token(Algorithm::ES256, &claims());
        assert_eq!(unverified_issuer(&token).as_deref(), Ok(ISSUER));
        let twice = format!("{{\"iss\": \"https://a\", \"iss\": \"{ISSUER}\"}}");
        let twice = KEYS.sign(Algorithm::ES256, "{\"alg\": \"ES256\"}", &twice);
        for bad in ["", "opaque", "a.b.c", &twice, &format!("{token}.x"), &format!(" {token}")] {
            assert!(unverified_issuer(bad).is_err(), "{bad}");
        }
    }
}
