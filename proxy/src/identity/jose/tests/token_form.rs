//! The form of a token, before anything of it counts.

use jsonwebtoken::Algorithm;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::identity::jose::{
    strict::{self, TokenType},
    testing::encode,
};

const HEADER: &str = r#"{"alg":"ES256","kid":"P-256"}"#;

fn payload() -> String {
    let (iat, exp) = (NOW_S, NOW_S + 300);
    format!(
        r#"{{"iss":"https://issuer.example","aud":"client","sub":"a","nonce":"nonce","iat":{iat},"exp":{exp}}}"#
    )
}

fn with_header(header: &str) -> Result<IdTokenClaims, TokenError> {
    verify(&KEYS.sign(Algorithm::ES256, header, &payload()))
}

fn with_payload(payload: &str) -> Result<IdTokenClaims, TokenError> {
    verify(&KEYS.sign(Algorithm::ES256, HEADER, payload))
}

const NOT_UNIQUE: &str = "a part of the token is not a JSON object whose members are unique";

#[test]
fn a_member_twice_is_refused_in_both_parts_at_any_depth() {
    assert!(with_payload(&payload()).is_ok());
    let twice = [
        (r#"{"alg":"ES256","kid":"P-256","alg":"ES256"}"#.to_owned(), payload()),
        (r#"{"alg":"ES256","kid":"P-256","\u0061lg":"ES256"}"#.to_owned(), payload()),
        (r#"{"alg":"ES256","kid":"P-256","x":{"y":[{"z":1,"z":1}]}}"#.to_owned(), payload()),
        (HEADER.to_owned(), payload().replacen('{', r#"{"sub":"b","#, 1)),
        (HEADER.to_owned(), payload().replacen('{', r#"{"x":{"y":[{"z":1,"z":1}]},"#, 1)),
    ];
    for (header, payload) in twice {
        let token = KEYS.sign(Algorithm::ES256, &header, &payload);
        assert_eq!(reason(verify(&token)), NOT_UNIQUE, "{header} {payload}");
    }
}

#[test]
fn extensions_and_encryption_are_refused() {
    for (member, expected) in [
        (r#""crit":["b64"]"#, "the token has critical extensions (crit)"),
        (r#""crit":[]"#, "the token has critical extensions (crit)"),
        (r#""b64":false"#, "the token has an unencoded payload (b64)"),
        (r#""b64":true"#, "the token has an unencoded payload (b64)"),
        (r#""enc":"A128GCM""#, "the token is encrypted"),
        (r#""zip":"DEF""#, "the token is compressed"),
    ] {
        let refused = with_header(&HEADER.replacen('{', &format!("{{{member},"), 1));
        assert_eq!(reason(refused), expected);
    }
}

#[test]
fn a_type_is_absent_or_jwt() {
    let of = |typ: &str| HEADER.replacen('{', &format!(r#"{{"typ":{typ},"#), 1);
    for typ in [r#""JWT""#, r#""jwt""#] {
        assert!(with_header(&of(typ)).is_ok());
    }
    for typ in [r#""at+jwt""#, r#""logout+jwt""#, r#""""#, "null", "1", r#"["JWT"]"#] {
        assert_eq!(reason(with_header(&of(typ))), "the token is of another type (typ)");
    }
    for (typ, fits) in [
        (r#""at+jwt""#, true),
        (r#""application/at+jwt""#, true),
        (r#""JWT""#, true),
        (r#""logout+jwt""#, false),
    ] {
        let token = KEYS.sign(Algorithm::ES256, &of(typ), &payload());
        assert_eq!(strict::check(&token, TokenType::AccessToken).is_ok(), fits, "{typ}");
    }
}

#[test]
fn an_algorithm_that_is_none_of_ours_is_refused() {
    let unsigned = |alg: &str| {
        format!(
            "{}.{}.",
            encode(format!(r#"{{"alg":{alg}}}"#).as_bytes()),
            encode(payload().as_bytes())
        )
    };
    for alg in [
        r#""none""#,
        r#""None""#,
        r#""nOnE""#,
        r#""""#,
        r#""HS256""#,
        r#""HS512""#,
        r#""ES512""#,
        r#""ES256K""#,
        r#""es256""#,
        "null",
        "[\"ES256\"]",
        "0",
    ] {
        let expected = "the token has no algorithm that we verify";
        assert_eq!(reason(verify(&unsigned(alg))), expected, "{alg}");
    }
    let absent = format!("{}.{}.", encode(b"{}"), encode(payload().as_bytes()));
    assert!(verify(&absent).is_err());
}

#[test]
fn a_key_id_is_a_text() {
    for kid in ["7", "null", r#"["P-256"]"#] {
        let refused = with_header(&format!(r#"{{"alg":"ES256","kid":{kid}}}"#));
        assert_eq!(reason(refused), "the token's kid is no text");
    }
}

#[test]
fn a_key_in_the_header_changes_nothing() {
    let mallory = crate::identity::jose::testing::TestKeys::generate();
    let header = json!({
        "alg": "ES256",
        "kid": "P-256",
        "jwk": mallory.jwk(Algorithm::ES256),
        "jku": "https://evil.example/jwks",
        "x5u": "https://evil.example/x5u",
    });
    let forged = mallory.sign(Algorithm::ES256, &header.to_string(), &payload());
    assert_eq!(reason(verify(&forged)), "the token's signature is wrong");
    assert!(with_header(&header.to_string()).is_ok());
}

#[test]
fn a_token_has_three_parts_in_strict_base64url() {
    let token = KEYS.sign(Algorithm::ES256, HEADER, &payload());
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("{token}") };
    for malformed in [
        format!("{header}.{claims}"),
        format!("{token}."),
        format!("{token}.."),
        format!("{header}.{claims}.{signature}.{signature}.{signature}"),
        String::new(),
    ] {
        assert_eq!(reason(verify(&malformed)), "the token has not three parts", "{malformed}");
    }
    for malformed in [
        format!("{header}=.{claims}.{signature}"),
        format!("{header}.{claims}==.{signature}"),
        format!("{header}.{claims}.{signature}=="),
        format!("{header}.{claims}.{signature}\n"),
        format!(" {token}"),
        format!("{header}.{} {}.{signature}", &claims[..8], &claims[8..]),
        format!("{header}.{claims}.{}+", &signature[1..]),
        format!("{header}.{claims}.{}é", &signature[2..]),
    ] {
        assert_eq!(reason(verify(&malformed)), "a part of the token is not base64url");
    }
}

#[test]
fn superfluous_bits_at_the_end_are_refused() {
    // 64 bytes leave 4 bits over in the 86th character; another character with the same upper bits
    // decodes to the same signature in a lenient reader.
    let token = KEYS.sign(Algorithm::ES256, HEADER, &payload());
    let last = token.chars().last().unwrap();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let index = alphabet.find(last).unwrap();
    let other = alphabet.chars().nth(index + 1).unwrap();
    let changed = format!("{}{other}", &token[..token.len() - 1]);
    assert_eq!(reason(verify(&changed)), "a part of the token is not base64url");
}

#[test]
fn a_token_may_have_16_kib() {
    let of = |padding: usize| {
        with_payload(&payload().replacen('{', &format!("{{\"x\":\"{}\",", "x".repeat(padding)), 1))
    };
    assert!(of(11_900).is_ok());
    assert_eq!(reason(of(12_200)), "the token is longer than 16 KiB");
}

#[test]
fn parts_are_json_objects_in_utf8() {
    for payload in ["[]", "null", "\"x\"", "", "{", "{} {}", "{\"a\":}"] {
        assert_eq!(reason(with_payload(payload)), NOT_UNIQUE);
    }
    for header in ["[]", "null", ""] {
        assert_eq!(reason(with_header(header)), NOT_UNIQUE);
    }
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(4000), "]".repeat(4000));
    assert_eq!(reason(with_payload(&deep)), NOT_UNIQUE);
    let invalid =
        format!("{}.{}.AAAA", encode(b"{\"alg\":\"ES256\",\"k\":\"\xff\"}"), encode(b"{}"));
    assert_eq!(reason(verify(&invalid)), NOT_UNIQUE);
}

#[test]
fn a_changed_or_foreign_signature_is_refused() {
    let token = KEYS.sign(Algorithm::ES256, HEADER, &payload());
    let message = token.rsplit_once('.').unwrap().0;
    for signature in [&[][..], &[0; 64], &[0; 32], &[1; 64], &[0xff; 64], &[0; 71]] {
        let forged = format!("{message}.{}", encode(signature));
        assert_eq!(reason(verify(&forged)), "the token's signature is wrong");
    }
}

#[test]
fn an_algorithm_of_another_key_type_is_refused() {
    for algorithm in ALGORITHMS {
        for kid in ["RSA", "P-256", "P-384", "Ed25519"] {
            let fits = match kid {
                "RSA" => {
                    format!("{algorithm:?}").contains('S')
                        && !format!("{algorithm:?}").starts_with('E')
                }
                "P-256" => algorithm == Algorithm::ES256,
                "P-384" => algorithm == Algorithm::ES384,
                _ => algorithm == Algorithm::EdDSA,
            };
            let header = json!({ "alg": algorithm, "kid": kid }).to_string();
            let verified = verify(&KEYS.sign(algorithm, &header, &payload()));
            if fits {
                assert!(verified.is_ok(), "{algorithm:?} {kid}");
            } else {
                assert_eq!(reason(verified), "the token's algorithm does not fit its key");
            }
        }
    }
}

proptest! {
    #[test]
    fn no_text_panics(token in "[A-Za-z0-9_.=-]{0,300}|\\PC{0,100}") {
        prop_assert!(verify(&token).is_err());
    }

    #[test]
    fn no_change_of_a_byte_goes_unseen(at in 0usize..1000, byte in "[A-Za-z0-9_-]") {
        let token = KEYS.sign(Algorithm::EdDSA, r#"{"alg":"EdDSA","kid":"Ed25519"}"#, &payload());
        let at = at % token.len();
        let changed = format!("{}{byte}{}", &token[..at], &token[at + 1..]);
        prop_assert_eq!(verify(&changed).is_ok(), changed == token);
    }

    #[test]
    fn unique_members_are_read_as_serde_json_does(value in json_value()) {
        let object = json!({ "x": value });
        let text = object.to_string();
        prop_assert_eq!(strict::parse_object(text.as_bytes()).map(Value::Object), Some(object));
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1000i32..1000).prop_map(|number| Value::from(f64::from(number) / 8.0)),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("\\PC{0,4}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}
