//! Our reader of ID tokens, key sets and private keys beside a slow model. The fuzz targets include
//! this file too.

#![allow(dead_code)] // each fuzz target uses a part of it

use std::{collections::HashSet, sync::LazyLock};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use serde_json::{Map, Value, json};

use super::{
    AllowedAlgorithms, IdTokenClaims, IdTokenRules, ProviderKeys, SigningKey, TokenError,
    public_jwks, verify_id_token,
};

const NOW_S: u64 = 1_700_000_000;

static KEY: LazyLock<Ed25519KeyPair> =
    LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap());
static KEYS: LazyLock<ProviderKeys> = LazyLock::new(|| {
    let x = URL_SAFE_NO_PAD.encode(public_key());
    let key = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "k", "x": x });
    ProviderKeys::parse(json!({ "keys": [key] }).to_string().as_bytes()).unwrap()
});
static ALGORITHMS: LazyLock<AllowedAlgorithms> =
    LazyLock::new(|| AllowedAlgorithms::from_metadata(Some(&["EdDSA", "RS256"])));

/// A token, what it is made of, and what became of it.
pub(crate) struct Read {
    pub(crate) token: String,
    pub(crate) result: Result<IdTokenClaims, TokenError>,
}

/// The key that signs the tokens of [`read_token`].
pub(crate) fn public_key() -> &'static [u8] {
    KEY.public_key().as_ref()
}

/// Reads two lines as header and payload of a token, which is signed; one line is a token itself.
/// Panics where the model decides otherwise.
pub(crate) fn read_token(input: &[u8]) -> Read {
    let Some(at) = input.iter().position(|byte| *byte == b'\n') else {
        let token = String::from_utf8_lossy(input).into_owned();
        return Read { result: verify(&token), token };
    };
    let (header, payload) = (&input[..at], &input[at + 1..]);
    let message = [header, payload].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
    let signature = URL_SAFE_NO_PAD.encode(KEY.sign(message.as_bytes()).as_ref());
    let token = format!("{message}.{signature}");
    let result = verify(&token);
    // `jsonwebtoken` reads members of the header that do not matter here, such as `x5c`.
    if result != Err(TokenError::Invalid("a member of the token is of a wrong type")) {
        let good = token.len() <= 16 * 1024 && is_good(header, payload);
        assert_eq!(result.is_ok(), good, "{result:?}");
    }
    Read { token, result }
}

/// Reads a key set. Says how many keys it has.
pub(crate) fn read_key_set(json: &[u8]) -> usize {
    let Ok(keys) = ProviderKeys::parse(json) else { return 0 };
    let set: Value = serde_json::from_slice(json).unwrap();
    let listed = set["keys"].as_array().unwrap();
    assert!(keys.len() <= listed.len());
    for kid in listed.iter().map(|key| key["kid"].as_str()) {
        for alg in ["RS256", "PS512", "ES256", "ES384", "EdDSA"] {
            let header = URL_SAFE_NO_PAD.encode(json!({ "alg": alg, "kid": kid }).to_string());
            let forged = format!("{header}.e30.{}", URL_SAFE_NO_PAD.encode([1; 64]));
            assert!(verify_id_token(&forged, &rules(), &keys, NOW_S).is_err());
        }
    }
    keys.len()
}

/// Reads private keys: each signs what its public key verifies. Says how many there are.
pub(crate) fn read_signing_keys(pem: &[u8]) -> usize {
    let Ok(text) = std::str::from_utf8(pem) else { return 0 };
    let keys = match SigningKey::parse_all(text) {
        Ok(keys) => keys,
        Err(error) => {
            assert!(error.to_string().len() < 160, "{error}");
            return 0;
        }
    };
    let set = ProviderKeys::parse(&public_jwks(&keys).body).unwrap();
    let allowed = AllowedAlgorithms::from_metadata(Some(&["ES256", "RS256"]));
    let rules = IdTokenRules { algorithms: &allowed, ..rules() };
    for key in &keys {
        let token = key.sign(claims().to_string().as_bytes(), &SystemRandom::new()).unwrap();
        assert!(verify_id_token(&token, &rules, &set, NOW_S).is_ok());
    }
    keys.len()
}

fn verify(token: &str) -> Result<IdTokenClaims, TokenError> {
    verify_id_token(token, &rules(), &KEYS, NOW_S)
}

fn rules() -> IdTokenRules<'static> {
    IdTokenRules {
        issuer: "https://i",
        client_id: "c",
        algorithms: &ALGORITHMS,
        nonce: Some("n"),
        access_token: Some("a"),
        tenants: &[],
    }
}

fn claims() -> Value {
    json!({
        "iss": "https://i", "aud": "c", "sub": "s", "nonce": "n", "iat": NOW_S, "exp": NOW_S + 1,
    })
}

/// Whether a signed token of these parts is good, as the specification says it.
fn is_good(header: &[u8], payload: &[u8]) -> bool {
    let (Some(header), Some(claims)) = (object(header), object(payload)) else { return false };
    is_good_header(&header) && are_good_claims(&claims)
}

fn is_good_header(header: &Map<String, Value>) -> bool {
    let typ = header.get("typ").map(|typ| typ.as_str().unwrap_or("").to_lowercase());
    header.get("alg") == Some(&json!("EdDSA"))
        && (!header.contains_key("kid") || header["kid"] == "k")
        && typ.is_none_or(|typ| typ == "jwt")
        && !["crit", "b64", "enc", "zip"].iter().any(|name| header.contains_key(*name))
}

fn are_good_claims(claims: &Map<String, Value>) -> bool {
    let is = |name: &str, value: &str| claims.get(name).is_some_and(|claim| claim == value);
    let seconds = |name: &str| claims.get(name).and_then(Value::as_f64).map(f64::floor);
    let now = NOW_S as f64;
    let is_past = |name: &str| seconds(name).is_some_and(|time| time >= 0.0 && time <= now + 60.0);
    let audience = match claims.get("aud") {
        Some(Value::String(aud)) => vec![aud.as_str()],
        Some(Value::Array(list)) if list.iter().all(Value::is_string) => {
            list.iter().filter_map(Value::as_str).collect()
        }
        _ => return false,
    };
    let sub = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
    is("iss", "https://i")
        && audience.contains(&"c")
        && (audience.len() == 1 || claims.contains_key("azp"))
        && (!claims.contains_key("azp") || is("azp", "c"))
        && is("nonce", "n")
        // The left half of SHA-512 of "a".
        && (!claims.contains_key("at_hash") || is("at_hash", AT_HASH))
        && !sub.is_empty()
        && sub.len() <= 255
        && is_past("iat")
        && (!claims.contains_key("nbf") || is_past("nbf"))
        && seconds("exp").is_some_and(|exp| exp > now - 60.0 && exp < 1e11)
}

const AT_HASH: &str = "H0D8ktokFpR1CXnubPWC8tXX0o4YM13gWrxU0FYOD1M";

/// A JSON object in UTF-8 that has no member twice.
fn object(json: &[u8]) -> Option<Map<String, Value>> {
    let text = std::str::from_utf8(json).ok()?;
    match serde_json::from_str(text).ok()? {
        Value::Object(object) if are_unique(text) => Some(object),
        _ => None,
    }
}

/// Whether no object of a valid JSON text has a member twice: a text before a colon is a name.
fn are_unique(json: &str) -> bool {
    let mut open: Vec<HashSet<String>> = Vec::new();
    let mut rest = json;
    while let Some(next) = rest.chars().next() {
        rest = match next {
            '{' | '[' => {
                open.push(HashSet::new());
                &rest[1..]
            }
            '}' | ']' => {
                open.pop();
                &rest[1..]
            }
            '"' => {
                let (text, behind) = split_text(rest);
                let is_name = behind.trim_start().starts_with(':');
                let names = open.last_mut().unwrap();
                if is_name && !names.insert(serde_json::from_str(text).unwrap()) {
                    return false;
                }
                behind
            }
            other => &rest[other.len_utf8()..],
        };
    }
    true
}

/// A JSON text in its quotation marks, and what follows it.
fn split_text(json: &str) -> (&str, &str) {
    let mut is_escaped = false;
    for (at, character) in json.char_indices().skip(1) {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return json.split_at(at + 1),
            _ => {}
        }
    }
    (json, "")
}
