mod corpus;
mod id_token;
mod key_set;
mod signing_key;
mod token_form;
mod user_info;
mod vectors;

use std::sync::LazyLock;

use super::{
    AllowedAlgorithms, IdTokenClaims, IdTokenRules, ProviderKeys, TokenError,
    testing::{ALGORITHMS, KEYS, NOW_S, parse_set},
    verify_id_token,
};

static ALL: LazyLock<AllowedAlgorithms> = LazyLock::new(|| {
    AllowedAlgorithms::from_metadata(Some(&ALGORITHMS.map(|algorithm| format!("{algorithm:?}"))))
});
static KEY_SET: LazyLock<ProviderKeys> = LazyLock::new(|| parse_set(&KEYS.set()));

fn rules() -> IdTokenRules<'static> {
    IdTokenRules {
        issuer: "https://issuer.example",
        client_id: "client",
        algorithms: &ALL,
        nonce: Some("nonce"),
        access_token: None,
        tenants: &[],
    }
}

fn verify(token: &str) -> Result<IdTokenClaims, TokenError> {
    verify_id_token(token, &rules(), &KEY_SET, NOW_S)
}

fn reason(result: Result<IdTokenClaims, TokenError>) -> &'static str {
    match result {
        Err(TokenError::Invalid(reason)) => reason,
        other => panic!("no rule was broken: {other:?}"),
    }
}
