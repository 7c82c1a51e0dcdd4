//! Each check of an ID token.

use jsonwebtoken::Algorithm;
use ring::digest::{SHA256, SHA384, SHA512, digest};
use serde_json::{Value, json};

use super::*;
use crate::identity::jose::testing::{encode, with};

fn claims() -> Value {
    json!({
        "iss": "https://issuer.example",
        "aud": "client",
        "sub": "alice",
        "nonce": "nonce",
        "iat": NOW_S,
        "exp": NOW_S + 300,
        "email": "alice@example.com",
    })
}

/// The claims with these instead, as a token.
fn token(changed: Value) -> String {
    KEYS.token(Algorithm::ES256, &with(claims(), changed))
}

fn verify_with(changed: Value, rules: IdTokenRules<'_>) -> Result<IdTokenClaims, TokenError> {
    verify_id_token(&token(changed), &rules, &KEY_SET, NOW_S)
}

#[test]
fn a_token_of_each_algorithm_is_accepted() {
    for algorithm in ALGORITHMS {
        let verified = verify(&KEYS.token(algorithm, &claims())).unwrap();
        assert_eq!(&*verified.subject, "alice");
        assert_eq!(verified.issued_at_s, NOW_S);
        assert_eq!(verified.expires_at_s, NOW_S + 300);
        assert_eq!(Value::Object(verified.claims), claims());
    }
}

#[test]
fn an_algorithm_that_the_metadata_lacks_is_refused() {
    let one = AllowedAlgorithms::from_metadata(Some(&["ES384"]));
    let rules = IdTokenRules { algorithms: &one, ..rules() };
    let refused = "the provider's metadata lacks the token's algorithm";
    assert_eq!(reason(verify_with(json!({}), rules)), refused);
    let token = KEYS.token(Algorithm::ES384, &claims());
    assert!(verify_id_token(&token, &rules, &KEY_SET, NOW_S).is_ok());
}

#[test]
fn google_s_tokens_may_name_it_without_a_scheme_and_no_others_may() {
    let google = IdTokenRules { issuer: "https://accounts.google.com", ..rules() };
    for (iss, is_accepted) in [
        ("https://accounts.google.com", true),
        ("accounts.google.com", true),
        ("accounts.google.com/", false),
        ("http://accounts.google.com", false),
    ] {
        assert_eq!(verify_with(json!({ "iss": iss }), google).is_ok(), is_accepted, "{iss}");
    }
    let other = IdTokenRules { issuer: "https://issuer.example", ..rules() };
    for iss in ["issuer.example", "accounts.google.com"] {
        assert_eq!(reason(verify_with(json!({ "iss": iss }), other)), "iss is another issuer");
    }
}

#[test]
fn another_issuer_is_refused_be_it_by_a_slash() {
    for iss in [
        json!("https://issuer.example/"),
        json!("https://evil.example"),
        json!(1),
        json!(["https://issuer.example"]),
    ] {
        assert_eq!(reason(verify(&token(json!({ "iss": iss })))), "iss is another issuer");
    }
    assert_eq!(reason(verify(&token(json!({ "iss": null })))), "iss is another issuer");
}

#[test]
fn a_template_is_filled_with_a_tenant_that_is_let_in() {
    let issuer = "https://login.example/{tenantid}/v2.0";
    let tenants = ["72F988BF-86f1".into()];
    let azure = IdTokenRules { issuer, tenants: &tenants, ..rules() };
    let of = |tid: &str| json!({ "iss": format!("https://login.example/{tid}/v2.0"), "tid": tid });
    assert!(verify_with(of("72f988bf-86f1"), azure).is_ok());

    let barred = "tid is not a tenant that is let in";
    assert_eq!(reason(verify_with(of("other"), azure)), barred);
    assert_eq!(
        reason(verify_with(with(of("72f988bf-86f1"), json!({ "tid": null })), azure)),
        barred
    );
    let foreign = with(of("other"), json!({ "tid": "72f988bf-86f1" }));
    assert_eq!(reason(verify_with(foreign, azure)), "iss is another issuer");

    let nobody = IdTokenRules { issuer, ..rules() };
    for tid in ["72f988bf-86f1", "{tenantid}"] {
        assert_eq!(reason(verify_with(of(tid), nobody)), "iss is another issuer");
    }
}

#[test]
fn a_token_for_another_client_is_refused() {
    for aud in [json!("other"), json!(["other"]), json!([]), json!("client ")] {
        let refused = verify(&token(json!({ "aud": aud })));
        assert_eq!(reason(refused), "aud does not name our client");
    }
    for aud in [json!(1), json!(["client", 1]), json!({ "client": 1 }), Value::Null] {
        let refused = verify(&token(json!({ "aud": aud })));
        assert_eq!(reason(refused), "aud is neither a text nor a list of texts");
    }
    assert!(verify(&token(json!({ "aud": ["client"] }))).is_ok());
}

#[test]
fn a_token_for_several_clients_was_made_for_ours() {
    let several = json!(["other", "client"]);
    assert!(verify(&token(json!({ "aud": several, "azp": "client" }))).is_ok());
    let refused = verify(&token(json!({ "aud": several })));
    assert_eq!(reason(refused), "aud names several clients, and there is no azp");
    for azp in [json!("other"), json!(1), json!(["client"])] {
        for aud in [json!("client"), several.clone()] {
            let refused = verify(&token(json!({ "aud": aud, "azp": azp })));
            assert_eq!(reason(refused), "azp is another client");
        }
    }
}

#[test]
fn clocks_may_differ_by_a_minute() {
    for changed in [
        json!({ "iat": NOW_S + 60, "nbf": NOW_S + 60 }),
        json!({ "iat": NOW_S - 359, "exp": NOW_S - 59 }),
        json!({ "iat": NOW_S as f64 + 60.5, "exp": NOW_S as f64 + 300.5 }),
    ] {
        assert!(verify(&token(changed)).is_ok());
    }
}

#[test]
fn clocks_that_differ_by_more_are_named_both() {
    let clock = |provider_s| Err(TokenError::Clock { provider_s, our_s: NOW_S as i64 });
    let now = NOW_S as i64;
    assert_eq!(verify(&token(json!({ "iat": now + 61 }))), clock(now + 61));
    assert_eq!(verify(&token(json!({ "nbf": now + 61 }))), clock(now + 61));
    assert_eq!(verify(&token(json!({ "iat": now - 360, "exp": now - 60 }))), clock(now - 360));
}

#[test]
fn times_are_finite_numbers() {
    for (name, reasoned) in
        [("exp", "exp is no time"), ("iat", "iat is no time"), ("nbf", "nbf is no time")]
    {
        for time in
            [json!("1700000000"), json!(-1), json!(1e300), json!(1e11), json!([]), json!(true)]
        {
            assert_eq!(reason(verify(&token(json!({ name: time })))), reasoned);
        }
        let header = r#"{"alg":"ES256","kid":"P-256"}"#;
        let others = with(claims(), json!({ name: null })).to_string();
        let null = others.replacen('{', &format!("{{\"{name}\":null,"), 1);
        assert_eq!(reason(verify(&KEYS.sign(Algorithm::ES256, header, &null))), reasoned);
        let huge = others.replacen('{', &format!("{{\"{name}\":1e400,"), 1);
        assert!(verify(&KEYS.sign(Algorithm::ES256, header, &huge)).is_err());
    }
}

#[test]
fn a_token_without_iat_or_exp_is_refused() {
    assert_eq!(reason(verify(&token(json!({ "iat": null })))), "there is no iat");
    assert_eq!(reason(verify(&token(json!({ "exp": null })))), "there is no exp");
}

#[test]
fn a_token_of_another_sign_in_is_refused() {
    for nonce in [json!("other"), json!(""), json!(["nonce"]), Value::Null] {
        let refused = verify(&token(json!({ "nonce": nonce })));
        assert_eq!(reason(refused), "nonce is not the one of this sign-in");
    }
}

#[test]
fn a_refreshed_token_needs_no_nonce() {
    let refresh = IdTokenRules { nonce: None, ..rules() };
    assert!(verify_with(json!({ "nonce": null }), refresh).is_ok());
    assert!(verify_with(json!({}), refresh).is_ok());
}

#[test]
fn at_hash_is_of_the_access_token_by_the_hash_of_the_algorithm() {
    let rules = IdTokenRules { access_token: Some("access"), ..rules() };
    let hashes = [&SHA256, &SHA384, &SHA512];
    for algorithm in ALGORITHMS {
        let name = format!("{algorithm:?}");
        let right = match name.get(2..) {
            Some("256") => 0,
            Some("384") => 1,
            _ => 2,
        };
        for (index, hash) in hashes.into_iter().enumerate() {
            let digest = digest(hash, b"access");
            let (left, right_half) = digest.as_ref().split_at(digest.as_ref().len() / 2);
            let verified = |at_hash: String| {
                let token = KEYS.token(algorithm, &with(claims(), json!({ "at_hash": at_hash })));
                verify_id_token(&token, &rules, &KEY_SET, NOW_S)
            };
            assert_eq!(verified(encode(left)).is_ok(), index == right, "{name}");
            assert!(verified(encode(right_half)).is_err());
            assert!(verified(encode(digest.as_ref())).is_err());
            assert!(verified(String::new()).is_err());
        }
    }
    assert!(verify_with(json!({}), rules).is_ok());
    let refused = verify_with(json!({ "at_hash": 1 }), rules);
    assert_eq!(reason(refused), "at_hash is of another access token");
}

#[test]
fn a_subject_is_a_text_of_1_to_255_bytes() {
    for sub in [json!(""), json!("a".repeat(256)), Value::Null] {
        let refused = verify(&token(json!({ "sub": sub })));
        assert_eq!(reason(refused), "sub is not a text of 1 to 255 bytes");
    }
    for sub in [json!(7), json!(["alice"]), json!({ "sub": "alice" }), json!(true)] {
        assert!(verify(&token(json!({ "sub": sub }))).is_err());
    }
    assert!(verify(&token(json!({ "sub": "a".repeat(255) }))).is_ok());
}

#[test]
fn no_error_has_content_of_the_token() {
    let error = verify(&token(json!({ "nonce": "very secret" }))).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("secret"));
    assert_eq!(format!("{:?}", verify(&token(json!({}))).unwrap()), "IdTokenClaims(..)");
}
