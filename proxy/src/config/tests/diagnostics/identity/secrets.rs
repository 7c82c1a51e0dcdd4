//! Secrets and signing keys.

use super::*;

#[test]
fn a_secret_has_32_bytes_and_is_never_shown() {
    let hint = "(`head -c32 /dev/urandom | base64` makes one)";
    for key in ["shared_secret", "cookie_secret"] {
        let what = key.replace('_', " ");
        for (value, problem) in [
            ("c2VjcmV0", "it has 6 bytes, not 32"),
            ("MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMQ==", "it has 34 bytes, not 32"),
            ("MTExMTExMTExMTExMTExMTEx MTExMTExMTExMTExMTE=", "it contains white space"),
            ("MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTE=\\n", "it contains white space"),
            ("MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTE", "it is not base64"),
            ("MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExM*E=", "it is not base64"),
        ] {
            assert_eq!(
                errors(&format!("{key}: \"{value}\"")),
                [format!("config.yaml:1: {key}: invalid {what}: {problem} {hint}")]
            );
        }
    }
    assert_keys_refused(&[(
        "portcullis: {sign_in: {previous_secrets: [MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTE=, x]}}",
        "config.yaml:5: portcullis.sign_in.previous_secrets[1]: invalid previous secret: it is \
         not base64 (`head -c32 /dev/urandom | base64` makes one)",
    )]);
}

#[test]
fn a_text_without_a_private_key_signs_nothing() {
    let hint = "(`openssl ecparam -genkey -name prime256v1 -noout` makes one)";
    for (keys, at, problem) in [
        ("signing_key: '*'", "signing_key", "is neither PEM nor base64 of PEM"),
        ("signing_key: gICA", "signing_key", "is base64, but not of PEM"),
        ("signing_key: aGVsbG8=", "signing_key", "there is no private key in PEM form"),
        (
            "signing_key_file: '@server.pem'",
            "signing_key_file",
            "found a certificate, but only private keys on EC P-256, or RSA of 2048 to 4096 bits, \
             can sign",
        ),
    ] {
        assert_eq!(errors(keys), [format!("config.yaml:1: {at}: {problem} {hint}")]);
    }
}

#[test]
fn both_forms_of_a_secret_contradict_each_other() {
    for key in ["shared_secret", "cookie_secret", "idp_client_secret", "signing_key"] {
        assert_eq!(
            errors(&format!("{key}: x\n{key}_file: '@ticket.key'")),
            [format!("config.yaml:1: {key}: cannot set both {key} and {key}_file")]
        );
        assert_eq!(
            errors(&format!("{key}: ''")),
            [format!("config.yaml:1: {key}: is empty (give it a value, or remove the key)")]
        );
        let hint = "a relative path starts in the working directory, HERE";
        assert_eq!(
            errors(&format!("{key}_file: nope")),
            [format!(
                "config.yaml:1: {key}_file: cannot read nope: no such file or directory ({hint})"
            )]
        );
        let dir = Dir::new();
        dir.write("empty", "\n");
        dir.write("binary", [0xff, 0xfe]);
        for (file, problem) in [("empty", "is empty"), ("binary", "is not UTF-8 text")] {
            let refused = dir.load(&with_certificate(&format!("{key}_file: '@{file}'")), &[]);
            let refused = refused.unwrap_err();
            let shown: Vec<String> = refused.errors().map(|error| dir.shown(error)).collect();
            assert_eq!(shown, [format!("config.yaml:1: {key}_file: {file} {problem}")]);
        }
    }
}

#[test]
fn a_random_shared_secret_is_warned_of_once() {
    let hint = "(`head -c32 /dev/urandom | base64` makes one)";
    let begin = "config.yaml: shared_secret: is not set, so each start makes a random one:";
    assert_eq!(
        warnings(&signing_in("routes: []")),
        [format!("{begin} everybody is signed out, and the derived signing key changes {hint}")]
    );
    assert_eq!(
        warnings(&signing_in(&format!("cookie_secret: {SECRET}\nroutes: []"))),
        [format!(
            "{begin} sign-ins under way begin again, and the derived signing key changes {hint}"
        )]
    );
    // A certificate's identity is signed too.
    let by_certificate = "downstream_mtls: {ca_file: '@ca.pem'}\n\
                          portcullis: {client_certificate_identity: email}\n\
                          routes:\n- from: https://a\n  to: http://b\n  \
                          allow_public_unauthenticated_access: true\n  \
                          pass_identity_headers: true\n";
    assert_eq!(warnings(by_certificate).len(), 1);
    assert!(warnings(&format!("{by_certificate}shared_secret: {SECRET}")).is_empty());
}
