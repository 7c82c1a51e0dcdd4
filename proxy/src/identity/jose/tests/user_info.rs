//! UserInfo, plain and signed.

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::*;
use crate::identity::jose::{
    merge_user_info, parse_user_info, testing::with, verify_user_info_jws,
};

fn id_token() -> IdTokenClaims {
    let Value::Object(claims) =
        json!({ "sub": "alice", "iss": "issuer", "aud": "client", "email": "a@b" })
    else {
        unreachable!()
    };
    IdTokenClaims { claims, subject: "alice".into(), issued_at_s: 0, expires_at_s: 1 }
}

fn merged(user_info: Value) -> Result<Value, TokenError> {
    let Value::Object(user_info) = user_info else { panic!("no object") };
    let mut id_token = id_token();
    merge_user_info(&mut id_token, user_info)?;
    Ok(Value::Object(id_token.claims))
}

#[test]
fn user_info_adds_and_replaces_claims() {
    let claims = merged(json!({ "sub": "alice", "email": "c@d", "groups": ["dev"], "name": null }));
    let expected = json!({ "sub": "alice", "iss": "issuer", "aud": "client", "email": "c@d", "groups": ["dev"] });
    assert_eq!(claims, Ok(expected));
}

#[test]
fn user_info_about_somebody_else_is_refused() {
    for sub in [json!("mallory"), json!("Alice"), json!(["alice"]), json!("")] {
        let refused = merged(json!({ "sub": sub, "email": "c@d" }));
        assert_eq!(refused, Err(TokenError::Invalid("UserInfo is about another subject")));
    }
    assert!(merged(json!({ "email": "c@d" })).is_err());
}

#[test]
fn user_info_replaces_and_adds_nothing_that_was_verified() {
    let mut user_info = json!({ "sub": "alice" });
    for name in [
        "iss", "aud", "azp", "exp", "iat", "nbf", "nonce", "at_hash", "c_hash", "sid", "tid", "oid",
    ] {
        user_info[name] = "forged".into();
    }
    assert_eq!(merged(user_info), Ok(Value::Object(id_token().claims)));
}

#[test]
fn plain_user_info_is_an_object_with_unique_members() {
    assert!(parse_user_info(br#"{"sub":"a"}"#).is_ok());
    for json in [&br#"{"sub":"a","sub":"b"}"#[..], b"[]", b"", b"<html>", b"{\"sub\":\"\xff\"}"] {
        assert!(parse_user_info(json).is_err());
    }
}

#[test]
fn signed_user_info_is_for_our_client_and_of_our_issuer() {
    let claims = json!({ "iss": "https://issuer.example", "aud": "client", "sub": "alice" });
    let verified = |changed: Value| {
        let token = KEYS.token(Algorithm::RS256, &with(claims.clone(), changed));
        verify_user_info_jws(&token, &rules(), &KEY_SET, NOW_S)
    };
    assert_eq!(verified(json!({})).map(Value::Object), Ok(claims.clone()));
    assert!(verified(json!({ "exp": NOW_S + 1, "iat": NOW_S })).is_ok());
    for changed in [
        json!({ "aud": "other" }),
        json!({ "aud": null }),
        json!({ "iss": "https://evil.example" }),
        json!({ "iss": null }),
        json!({ "exp": NOW_S - 61 }),
        json!({ "iat": NOW_S + 61 }),
        json!({ "exp": "soon" }),
    ] {
        assert!(verified(changed.clone()).is_err(), "{changed}");
    }
    let token = KEYS.token(Algorithm::RS256, &claims);
    let (message, _) = token.rsplit_once('.').unwrap();
    assert!(verify_user_info_jws(&format!("{message}.AAAA"), &rules(), &KEY_SET, NOW_S).is_err());
}
