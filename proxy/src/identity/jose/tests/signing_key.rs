//! The keys that sign assertions.

use jsonwebtoken::Algorithm;
use ring::rand::SystemRandom;
use serde_json::{Value, json};

use super::*;
use crate::identity::jose::{
    SigningKey, SigningKeyError, public_jwks,
    signing_key::{derived_scalar, thumbprint},
    strict::TokenType,
};

fn one(pem: &str) -> SigningKey {
    let keys = SigningKey::parse_all(pem).unwrap();
    assert_eq!(keys.len(), 1);
    keys[0].clone()
}

fn found(pem: &str) -> String {
    SigningKey::parse_all(pem).unwrap_err().to_string()
}

macro_rules! file {
    ($name:literal) => {
        include_str!(concat!("../testdata/", $name))
    };
}

/// The claims of a token, verified by the public key set alone.
fn read_back(token: &str, keys: &[SigningKey]) -> Value {
    let set = ProviderKeys::parse(&public_jwks(keys).body).unwrap();
    assert_eq!(set.len(), keys.len());
    Value::Object(set.verify(token, TokenType::Jwt, &ALL).unwrap().0)
}

#[test]
fn every_form_of_a_p256_key_is_the_same_key() {
    let key = one(file!("p256-sec1.pem"));
    for pem in [
        file!("p256-sec1-no-public.pem"),
        file!("p256-pkcs8.pem"),
        file!("p256-pkcs8-no-public.pem"),
    ] {
        assert_eq!(one(pem).kid(), key.kid());
    }
    assert_eq!(key.public_jwk()["alg"], "ES256");
}

#[test]
fn both_forms_of_an_rsa_key_are_the_same_key() {
    let key = one(file!("rsa2048-pkcs1.pem"));
    assert_eq!(one(file!("rsa2048-pkcs8.pem")).kid(), key.kid());
    assert_eq!(key.public_jwk()["alg"], "RS256");
}

#[test]
fn signatures_are_verified_by_the_public_key_set() {
    let text = format!("{}\n{}", file!("p256-sec1.pem"), file!("rsa2048-pkcs8.pem"));
    let mut keys = SigningKey::parse_all(&text).unwrap();
    keys.push(SigningKey::derived(&[7; 32]).unwrap());
    for key in &keys {
        let token = key.sign(br#"{"sub":"a"}"#, &SystemRandom::new()).unwrap();
        assert_eq!(read_back(&token, &keys), json!({ "sub": "a" }));
        let header = jsonwebtoken::decode_header(&token).unwrap();
        assert_eq!(header.kid.as_deref(), Some(key.kid()));
        assert_eq!(header.typ.as_deref(), Some("JWT"));
        assert_eq!(format!("{:?}", header.alg), key.public_jwk()["alg"]);
    }
}

#[test]
fn keys_keep_their_order_and_count_once() {
    let (ec, rsa) = (file!("p256-sec1.pem"), file!("rsa2048-pkcs8.pem"));
    let text = format!("{rsa}{ec}{}", file!("p256-pkcs8.pem"));
    let kids: Vec<String> =
        SigningKey::parse_all(&text).unwrap().iter().map(|key| key.kid().to_owned()).collect();
    assert_eq!(kids, [one(rsa).kid(), one(ec).kid()]);
}

#[test]
fn what_cannot_sign_is_named() {
    for (pem, expected) in [
        (file!("p384-sec1.pem"), "found an EC key on P-384"),
        (file!("p256-explicit.pem"), "found an EC key that names no curve"),
        (file!("ed25519.pem"), "found an Ed25519 key"),
        (file!("rsa-pss.pem"), "found an RSA key for PSS alone"),
        (file!("rsa1024.pem"), "found an RSA key of 1024 bits"),
        (file!("rsa4200.pem"), "found an RSA key of 4200 bits"),
        (file!("p256-public.pem"), "found a public key"),
        (file!("p256-encrypted.pem"), "found an encrypted private key"),
        ("-----BEGIN SECRET abc-----\n-----END SECRET abc-----\n", "found a PEM block of another"),
        ("", "there is no private key in PEM form"),
        ("c2VjcmV0", "there is no private key in PEM form"),
    ] {
        let error = found(pem);
        assert!(error.starts_with(expected), "{error}");
    }
    let with_public = format!("{}{}", file!("p256-sec1.pem"), file!("p256-public.pem"));
    assert!(found(&with_public).starts_with("found a public key"));
}

#[test]
fn a_damaged_key_is_an_error_without_its_content() {
    let whole = file!("p256-sec1.pem");
    let cut = &whole[..whole.len() - 60];
    let other_number = whole.replace("MHcCAQEEIMbe", "MHcCAQEEIMbf");
    let no_key = "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n";
    let no_rsa = "-----BEGIN RSA PRIVATE KEY-----\nMAA=\n-----END RSA PRIVATE KEY-----\n";
    let no_info = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
    assert_eq!(found(cut), "the PEM text cannot be read");
    assert_eq!(SigningKey::parse_all(&other_number).unwrap_err(), SigningKeyError::Inconsistent);
    assert_eq!(found(no_key), "an EC private key cannot be read");
    assert_eq!(found(no_rsa), "an RSA private key cannot be read");
    assert_eq!(found(no_info), "a PKCS#8 private key cannot be read");
}

#[test]
fn the_derived_number_is_pomeriums() {
    let d = derived_scalar(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ01234567890+/AAAA=").unwrap();
    let hexadecimal: String = d.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hexadecimal, "a81906cd82a27d3b7fdf1a17578693c67eea93085d3cbd82c32275d3c4321bfd");
}

#[test]
fn the_derived_key_is_pomeriums() {
    let pkcs8 = derived_scalar(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ01234567890+/AAAA=").unwrap();
    let key = crate::identity::jose::signing_key::from_scalar(&pkcs8, None).unwrap();
    let x = key.public_jwk()["x"].as_str().unwrap();
    let x = crate::identity::jose::base64url::decode(x).unwrap();
    let hexadecimal: String = x.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hexadecimal, "d8451d06ce0ed677f10564360086519c58a1f6c06648aa74be146f7169639aa2");
}

#[test]
fn a_secret_derives_one_key_and_another_another() {
    let kid = |secret: [u8; 32]| SigningKey::derived(&secret).unwrap().kid().to_owned();
    assert_eq!(kid([1; 32]), kid([1; 32]));
    assert_ne!(kid([1; 32]), kid([2; 32]));
    for secret in [[0; 32], [0xff; 32]] {
        assert!(SigningKey::derived(&secret).is_ok());
    }
}

#[test]
fn the_thumbprint_is_rfc_7638s() {
    let members = json!({
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_\
    BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY3\
    68QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2N\
    cRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
        "e": "AQAB",
        "kty": "RSA",
    });
    let digest =
        crate::identity::jose::base64url::decode("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    let hexadecimal: String = digest.unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(thumbprint(&members), hexadecimal);
}

#[test]
fn the_key_set_has_public_members_only() {
    let keys = [one(file!("rsa2048-pkcs1.pem")), one(file!("p256-pkcs8.pem"))];
    let jwks = public_jwks(&keys);
    let set: Value = serde_json::from_slice(&jwks.body).unwrap();
    let members =
        |index: usize| -> Vec<&String> { set["keys"][index].as_object().unwrap().keys().collect() };
    assert_eq!(members(0), ["alg", "e", "kid", "kty", "n", "use"]);
    assert_eq!(members(1), ["alg", "crv", "kid", "kty", "use", "x", "y"]);
    assert_eq!(set["keys"][0]["alg"], "RS256");
    assert_eq!(set["keys"][1]["alg"], "ES256");
    assert_eq!(set["keys"][1]["use"], "sig");
    assert_eq!(set["keys"][1]["kid"], keys[1].kid());
}

#[test]
fn the_entity_tag_changes_with_the_keys() {
    let keys = [one(file!("p256-pkcs8.pem")), one(file!("rsa2048-pkcs1.pem"))];
    let tag = public_jwks(&keys).etag;
    assert_eq!(public_jwks(&keys).etag, tag);
    assert_ne!(public_jwks(&keys[..1]).etag, tag);
    let tag = tag.to_str().unwrap();
    assert!(tag.len() > 40 && tag.starts_with('"') && tag.ends_with('"'), "{tag}");
}

#[test]
fn a_key_shows_its_id_alone() {
    let key = one(file!("p256-pkcs8.pem"));
    let shown = format!("{key:?}");
    assert_eq!(shown, format!("SigningKey {{ kid: {:?}, .. }}", key.kid()));
}

#[test]
fn jsonwebtoken_signs_nothing_here() {
    crate::identity::jose::install();
    let key = jsonwebtoken::EncodingKey::from_ec_der(b"key");
    let header = jsonwebtoken::Header::new(Algorithm::ES256);
    assert!(jsonwebtoken::encode(&header, &json!({}), &key).is_err());
}
