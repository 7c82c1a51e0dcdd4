//! ID tokens (OpenID Connect Core, sections 3.1.3.6 and 3.1.3.7). Pure.

use std::fmt;

use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use super::{
    AllowedAlgorithms, ProviderKeys, algorithm, base64url, claim_checks, error::TokenError,
    strict::TokenType,
};

/// What an ID token must say.
#[derive(Clone, Copy)]
pub struct IdTokenRules<'r> {
    /// `issuer` of the provider's metadata, to the letter.
    pub issuer: &'r str,
    /// Our client.
    pub client_id: &'r str,
    /// The algorithms of the metadata that are ours too.
    pub algorithms: &'r AllowedAlgorithms,
    /// The nonce of this sign-in; `None` for the token of a refresh, which has none or an old one.
    pub nonce: Option<&'r str>,
    /// The access token that came with it.
    pub access_token: Option<&'r str>,
    /// The tenants (`tid`) that are let in; without any, `tid` does not matter.
    pub tenants: &'r [Box<str>],
}

/// The claims of an ID token that passed every check.
#[derive(Clone, PartialEq)]
pub struct IdTokenClaims {
    /// All claims; UserInfo may have added to them (`merge_user_info`).
    pub claims: Map<String, Value>,
    /// `sub`.
    pub subject: Box<str>,
    /// `iat`, in seconds since 1970.
    pub issued_at_s: u64,
    /// `exp`, in seconds since 1970.
    pub expires_at_s: u64,
}

/// Verifies an ID token: its form, its signature and all claims that say whom and what it is for.
pub fn verify_id_token(
    token: &str,
    rules: &IdTokenRules<'_>,
    keys: &ProviderKeys,
    now_s: u64,
) -> Result<IdTokenClaims, TokenError> {
    let (claims, algorithm) = keys.verify(token, TokenType::Jwt, rules.algorithms)?;
    claim_checks::issuer(&claims, rules.issuer, rules.tenants)?;
    claim_checks::audience(&claims, rules.client_id)?;
    let subject = claim_checks::subject(&claims)?.into();
    check_nonce(&claims, rules)?;
    check_at_hash(&claims, rules, algorithm)?;
    let (issued_at_s, expires_at_s) = claim_checks::required_times(&claims, now_s)?;
    Ok(IdTokenClaims { claims, subject, issued_at_s, expires_at_s })
}

fn check_nonce(claims: &Map<String, Value>, rules: &IdTokenRules<'_>) -> Result<(), TokenError> {
    match rules.nonce {
        Some(nonce) if claim_checks::text(claims, "nonce") != Some(nonce) => {
            Err(TokenError::Invalid("nonce is not the one of this sign-in"))
        }
        _ => Ok(()),
    }
}

/// `at_hash`, if it is there: the left half of the access token's hash.
fn check_at_hash(
    claims: &Map<String, Value>,
    rules: &IdTokenRules<'_>,
    algorithm: Algorithm,
) -> Result<(), TokenError> {
    let (Some(at_hash), Some(access_token)) = (claims.get("at_hash"), rules.access_token) else {
        return Ok(());
    };
    let digest = ring::digest::digest(algorithm::hash_of(algorithm), access_token.as_bytes());
    let (left, _) = digest.as_ref().split_at(digest.as_ref().len() / 2);
    if *at_hash == base64url::encode(left) {
        Ok(())
    } else {
        Err(TokenError::Invalid("at_hash is of another access token"))
    }
}

impl fmt::Debug for IdTokenClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdTokenClaims(..)")
    }
}

impl fmt::Debug for IdTokenRules<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdTokenRules(..)")
    }
}
