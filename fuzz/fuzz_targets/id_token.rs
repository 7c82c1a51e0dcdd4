//! ID tokens: none makes the reader panic, each is judged as the model judges it, and what is good
//! has the same claims for two other readers.
#![no_main]

use jwt_compact::{
    Algorithm, AlgorithmExt, UntrustedToken,
    alg::{Ed25519, VerifyingKey},
};
use libfuzzer_sys::fuzz_target;
use portcullis::facade::jose::{
    AllowedAlgorithms, IdTokenClaims, IdTokenRules, ProviderKeys, SigningKey, TokenError,
    public_jwks, verify_id_token,
};
use serde_json::Value;
use tinyjson::JsonValue;

#[path = "../../proxy/src/identity/jose/tests/oracle.rs"]
mod oracle;

fuzz_target!(|bytes: &[u8]| {
    let read = oracle::read_token(bytes);
    let Ok(ours) = read.result else { return };
    let ours = Value::Object(ours.claims);

    let token = UntrustedToken::new(&read.token).unwrap();
    let key = <Ed25519 as Algorithm>::VerifyingKey::from_slice(oracle::public_key()).unwrap();
    let theirs = Ed25519.validator::<Value>(&key).validate(&token).unwrap();
    assert_eq!(theirs.claims().custom, without_times(&ours));

    let payload =
        std::str::from_utf8(&bytes[bytes.iter().position(|b| *b == b'\n').unwrap() + 1..]);
    match payload.unwrap().parse::<JsonValue>() {
        Ok(theirs) => assert!(is_equal(&theirs, &ours), "{theirs:?} {ours}"),
        Err(error) => panic!("{error}"),
    }
});

/// jwt-compact takes these out of the claims.
fn without_times(claims: &Value) -> Value {
    let mut claims = claims.clone();
    for name in ["exp", "nbf", "iat"] {
        claims.as_object_mut().unwrap().remove(name);
    }
    claims
}

fn is_equal(theirs: &JsonValue, ours: &Value) -> bool {
    match (theirs, ours) {
        (JsonValue::Null, Value::Null) => true,
        (JsonValue::Boolean(theirs), Value::Bool(ours)) => theirs == ours,
        (JsonValue::Number(theirs), Value::Number(ours)) => {
            let ours = ours.as_f64().unwrap();
            *theirs == ours || (theirs - ours).abs() <= 1e-15 * ours.abs()
        }
        (JsonValue::String(theirs), Value::String(ours)) => theirs == ours,
        (JsonValue::Array(theirs), Value::Array(ours)) => {
            theirs.len() == ours.len()
                && theirs.iter().zip(ours).all(|(theirs, ours)| is_equal(theirs, ours))
        }
        (JsonValue::Object(theirs), Value::Object(ours)) => {
            theirs.len() == ours.len()
                && theirs
                    .iter()
                    .all(|(name, theirs)| ours.get(name).is_some_and(|ours| is_equal(theirs, ours)))
        }
        _ => false,
    }
}
