//! Signed examples of RFC 7515, 7520 and 8037, as their authors publish them.

use jsonwebtoken::Algorithm;
use serde_json::Value;

use super::*;
use crate::identity::jose::strict::TokenType;

#[test]
fn the_examples_of_the_rfcs_are_verified() {
    let vectors: Vec<Value> =
        serde_json::from_str(include_str!("../testdata/vectors.json")).unwrap();
    assert_eq!(vectors.len(), 5);
    crate::identity::jose::install();
    for vector in vectors {
        let algorithm: Algorithm = serde_json::from_value(vector["alg"].clone()).unwrap();
        let keys = parse_set(&[vector["jwk"].clone()]);
        let key = keys.only_key();
        let token = vector["token"].as_str().unwrap();
        let (message, signature) = token.rsplit_once('.').unwrap();
        let verified = |message: &str, signature: &str| {
            jsonwebtoken::crypto::verify(signature, message.as_bytes(), key, algorithm).unwrap()
        };
        assert!(verified(message, signature), "{}", vector["name"]);
        assert!(!verified(&format!("{message}x"), signature), "{}", vector["name"]);
    }
}

#[test]
fn the_tokens_of_rfc_7515_are_read() {
    let vectors: Vec<Value> =
        serde_json::from_str(include_str!("../testdata/vectors.json")).unwrap();
    for vector in vectors.iter().filter(|v| v["name"].as_str().unwrap().starts_with("RFC 7515")) {
        let keys = parse_set(&[vector["jwk"].clone()]);
        let token = vector["token"].as_str().unwrap();
        let (claims, _) = keys.verify(token, TokenType::Jwt, &ALL).unwrap();
        assert_eq!(claims["iss"], "joe");
        assert_eq!(claims["http://example.com/is_root"], true);
    }
}
