//! The UserInfo endpoint's answer (OpenID Connect Core, section 5.3.2). Pure.

use serde_json::{Map, Value};

use super::{
    IdTokenClaims, IdTokenRules, ProviderKeys, claim_checks,
    error::TokenError,
    strict::{self, TokenType},
};

/// Claims that UserInfo does not replace: they say what was verified, and whom the token is about.
const PROTECTED: [&str; 13] = [
    "iss", "sub", "aud", "azp", "exp", "iat", "nbf", "nonce", "at_hash", "c_hash", "sid", "tid",
    "oid",
];

/// Reads UserInfo as JSON.
pub(crate) fn parse_user_info(json: &[u8]) -> Result<Map<String, Value>, TokenError> {
    strict::parse_object(json)
        .ok_or(TokenError::Invalid("UserInfo is not a JSON object whose members are unique"))
}

/// Verifies UserInfo as a signed token: `iss` and `aud` as in an ID token, times where they are there.
/// The nonce and the access token of the rules do not matter.
pub(crate) fn verify_user_info_jws(
    token: &str,
    rules: &IdTokenRules<'_>,
    keys: &ProviderKeys,
    now_s: u64,
) -> Result<Map<String, Value>, TokenError> {
    let (claims, _) = keys.verify(token, TokenType::Jwt, rules.algorithms)?;
    claim_checks::issuer(&claims, rules.issuer, rules.tenants)?;
    claim_checks::audience(&claims, rules.client_id)?;
    claim_checks::times(&claims, now_s)?;
    Ok(claims)
}

/// Adds UserInfo to the claims of an ID token, if both are about the same subject. A `null` is no
/// claim.
pub(crate) fn merge_user_info(
    id_token: &mut IdTokenClaims,
    user_info: Map<String, Value>,
) -> Result<(), TokenError> {
    if claim_checks::text(&user_info, "sub") != Some(&id_token.subject) {
        return Err(TokenError::Invalid("UserInfo is about another subject"));
    }
    let is_new = |name: &str| !PROTECTED.contains(&name);
    let added = user_info.into_iter().filter(|(name, value)| is_new(name) && !value.is_null());
    id_token.claims.extend(added);
    Ok(())
}
