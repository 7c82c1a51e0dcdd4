//! Which key of a set verifies a token.

use jsonwebtoken::Algorithm;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::identity::jose::{
    KeySetError,
    testing::{encode, with},
};

fn es256(members: Value) -> Value {
    with(KEYS.jwk(Algorithm::ES256), members)
}

/// A token by the P-256 key that names this key, or none.
fn token(kid: Option<&str>) -> String {
    let header = match kid {
        Some(kid) => json!({ "alg": "ES256", "kid": kid }),
        None => json!({ "alg": "ES256" }),
    };
    let claims = json!({
        "iss": "https://issuer.example", "aud": "client", "sub": "a", "nonce": "nonce",
        "iat": NOW_S, "exp": NOW_S + 300,
    });
    KEYS.sign(Algorithm::ES256, &header.to_string(), &claims.to_string())
}

fn verify_by(keys: &[Value], kid: Option<&str>) -> Result<IdTokenClaims, TokenError> {
    verify_id_token(&token(kid), &rules(), &parse_set(keys), NOW_S)
}

/// Another key, of the same kind.
fn other(members: Value) -> Value {
    with(crate::identity::jose::testing::TestKeys::generate().jwk(Algorithm::ES256), members)
}

#[test]
fn the_key_that_the_token_names_verifies_it() {
    let keys = [other(json!({ "kid": "b" })), es256(json!({ "kid": "a" }))];
    assert!(verify_by(&keys, Some("a")).is_ok());
    assert_eq!(reason(verify_by(&keys, Some("b"))), "the token's signature is wrong");
}

#[test]
fn a_key_that_the_set_lacks_is_told_apart() {
    let keys = [es256(json!({ "kid": "a" })), es256(json!({}))];
    for kid in ["c", "A", ""] {
        assert_eq!(verify_by(&keys, Some(kid)), Err(TokenError::UnknownKid));
    }
    assert_eq!(verify_by(&[], Some("a")), Err(TokenError::UnknownKid));
}

#[test]
fn a_token_without_kid_is_verified_by_the_only_key_that_fits() {
    assert!(verify_by(&KEYS.set(), None).is_ok());
    assert!(verify_by(&[es256(json!({}))], None).is_ok());
    let two = [es256(json!({ "kid": "a" })), other(json!({ "kid": "b" }))];
    let refused = "more than one key of the provider fits the token";
    assert_eq!(reason(verify_by(&two, None)), refused);
}

#[test]
fn a_token_without_kid_asks_for_a_newer_set() {
    assert_eq!(verify_by(&[other(json!({}))], None), Err(TokenError::UnknownKid));
    assert_eq!(verify_by(&[KEYS.jwk(Algorithm::RS256)], None), Err(TokenError::UnknownKid));
    assert_eq!(verify_by(&[], None), Err(TokenError::UnknownKid));
}

#[test]
fn two_keys_of_one_id_that_fit_are_refused_unless_equal() {
    let two = [es256(json!({ "kid": "a" })), other(json!({ "kid": "a" }))];
    let refused = "more than one key of the provider fits the token";
    assert_eq!(reason(verify_by(&two, Some("a"))), refused);
    let same = es256(json!({ "kid": "a" }));
    assert!(verify_by(&[same.clone(), same], Some("a")).is_ok());
    let rsa = with(KEYS.jwk(Algorithm::RS256), json!({ "kid": "a" }));
    assert!(verify_by(&[rsa, es256(json!({ "kid": "a" }))], Some("a")).is_ok());
}

#[test]
fn use_operations_and_algorithm_of_a_key_must_fit() {
    for fitting in [
        json!({ "use": "sig" }),
        json!({ "key_ops": ["verify"] }),
        json!({ "alg": "ES256" }),
        json!({ "x5c": ["AAAA"], "unknown": { "a": 1 } }),
    ] {
        assert!(verify_by(&[with(es256(json!({ "kid": "a" })), fitting)], Some("a")).is_ok());
    }
    for unfit in [
        json!({ "use": "enc" }),
        json!({ "use": 1 }),
        json!({ "key_ops": ["sign"] }),
        json!({ "key_ops": "verify" }),
        json!({ "alg": "HS256" }),
        json!({ "alg": "none" }),
        json!({ "alg": 256 }),
        json!({ "kty": "oct", "k": "AAAA" }),
        json!({ "kty": "RSA" }),
        json!({ "crv": "P-384" }),
        json!({ "crv": "secp256k1" }),
        json!({ "x": "AAAA" }),
        json!({ "x": "A=" }),
        json!({ "y": null }),
        json!({ "kid": 7 }),
    ] {
        let set = parse_set(&[with(es256(json!({ "kid": "a" })), unfit.clone())]);
        assert_eq!(set.len(), 0, "{unfit}");
    }
    let refused = verify_by(&[es256(json!({ "kid": "a", "alg": "ES384" }))], Some("a"));
    assert_eq!(reason(refused), "the token's algorithm does not fit its key");
}

#[test]
fn an_rsa_key_for_one_algorithm_verifies_no_other() {
    let keys = parse_set(&[with(KEYS.jwk(Algorithm::RS256), json!({ "alg": "RS512" }))]);
    let header = r#"{"alg":"RS256"}"#;
    let token = KEYS.sign(Algorithm::RS256, header, "{}");
    let refused = verify_id_token(&token, &rules(), &keys, NOW_S);
    assert_eq!(refused, Err(TokenError::UnknownKid));
}

#[test]
fn rsa_keys_have_2048_to_8192_bits() {
    let len = |n: &[u8], e: &[u8]| {
        parse_set(&[json!({ "kty": "RSA", "n": encode(n), "e": encode(e) })]).len()
    };
    let e = [1, 0, 1];
    assert_eq!(len(&[0xff; 256], &e), 1);
    assert_eq!(len(&[&[0], &[0xff; 256][..]].concat(), &e), 1);
    assert_eq!(len(&[0xff; 1024], &e), 1);
    assert_eq!(len(&[&[0x7f], &[0xff; 255][..]].concat(), &e), 0);
    assert_eq!(len(&[0xff; 128], &e), 0);
    assert_eq!(len(&[0xff; 1025], &e), 0);
    assert_eq!(len(&[0; 256], &e), 0);
    assert_eq!(len(&[0xff; 256], &[]), 0);
    assert_eq!(len(&[0xff; 256], &[1; 6]), 0);
}

#[test]
fn a_set_is_an_object_with_a_list_and_bounded() {
    let parse = |json: &str| ProviderKeys::parse(json.as_bytes()).map(|keys| keys.len());
    assert_eq!(parse(r#"{"keys":[],"more":1}"#), Ok(0));
    assert_eq!(parse(r#"{"keys":[1,null,{},[]]}"#), Ok(0));
    for malformed in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#, "<html>"] {
        assert_eq!(parse(malformed), Err(KeySetError::Malformed), "{malformed}");
    }
    assert_eq!(parse(&json!({ "keys": vec![0; 257] }).to_string()), Err(KeySetError::TooLong));
    let long = format!(r#"{{"keys":[],"x":"{}"}}"#, "x".repeat(1024 * 1024));
    assert_eq!(parse(&long), Err(KeySetError::TooLong));
}

proptest! {
    #[test]
    fn no_set_panics(members in prop::collection::vec(
        prop::collection::hash_map(
            prop::sample::select(vec!["kty", "crv", "x", "y", "n", "e", "kid", "use", "alg"]),
            prop_oneof![
                prop::sample::select(vec!["RSA", "EC", "OKP", "P-256", "sig", "ES256", "", "AQAB"])
                    .prop_map(Value::from),
                "[A-Za-z0-9_-]{43}".prop_map(Value::from),
                Just(Value::Null),
            ],
            0..9,
        ),
        0..4,
    )) {
        let keys = parse_set(&members.into_iter().map(|key| json!(key)).collect::<Vec<_>>());
        let _ = verify_id_token(&token(None), &rules(), &keys, NOW_S);
    }
}
