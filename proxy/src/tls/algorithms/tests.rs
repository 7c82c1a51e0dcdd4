use super::*;
use crate::{certificate, tls::testing::der_of};

fn key_of_pem(pem: &str) -> Option<String> {
    let der = der_of(pem);
    let parsed = certificate::parse(&der).unwrap();
    unsupported_key(parsed.public_key()).map(|key| key.to_string())
}

#[test]
fn keys_that_verify_nothing_are_named() {
    for (pem, name) in [
        (include_str!("../testdata/p521.crt.pem"), "P-521"),
        (include_str!("../testdata/rsa1024.crt.pem"), "RSA with 1024 bits"),
        (include_str!("../testdata/ed448-ca.crt.pem"), "Ed448"),
        (include_str!("../testdata/pss-ca.crt.pem"), "RSASSA-PSS"),
    ] {
        assert_eq!(key_of_pem(pem).as_deref(), Some(name));
    }
    for pem in [
        include_str!("../testdata/ed25519.crt.pem"),
        include_str!("../testdata/p256.crt.pem"),
        include_str!("../testdata/rsa2048.crt.pem"),
        include_str!("../testdata/sha512-ca.crt.pem"),
    ] {
        assert_eq!(key_of_pem(pem), None);
    }
}

#[test]
fn a_signature_that_cannot_be_verified_is_named() {
    let signature = |pem| {
        let der = der_of(pem);
        unsupported_signature(&certificate::parse(&der).unwrap())
    };
    let sha512 = signature(include_str!("../testdata/sha512-ca.crt.pem"));
    assert_eq!(sha512.as_deref(), Some("ECDSA with SHA-512"));
    assert_eq!(signature(include_str!("../testdata/p256.crt.pem")), None);
}

#[test]
fn an_unknown_algorithm_is_its_number_and_a_long_one_is_not_shown() {
    assert_eq!(signature_name(&[6, 3, 0x55, 0x1d, 1]), "2.5.29.1");
    let long = [&[6, 33][..], &[0x81; 32], &[1]].concat();
    assert_eq!(key_name(&long), "an unknown algorithm");
    assert_eq!(key_name(b""), "an unknown algorithm");
}
