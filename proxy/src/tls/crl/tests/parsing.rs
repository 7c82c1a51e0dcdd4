use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn error(pem: &str) -> String {
    CrlBundle::from_pem(pem.as_bytes(), "crl.pem").unwrap_err().to_string()
}

/// What webpki and x509-parser do not do for us, on one CRL of OpenSSL.
fn revoked(pem: &str) -> BTreeSet<Vec<u8>> {
    let bundle = bundle(pem);
    let mut crls = bundle.by_issuer();
    let (_, crl) = crls.next().unwrap();
    crl.revoked.iter().map(|serial| serial.to_vec()).collect()
}

fn serial_of(certificate: &str) -> Vec<u8> {
    let der = der_of(certificate);
    let parsed = certificate::parse(&der).unwrap();
    serial(parsed.raw_serial()).to_vec()
}

#[test]
fn both_versions_list_what_openssl_revoked() {
    let expected =
        BTreeSet::from([serial_of(testdata!("revoked.crt")), serial_of(testdata!("spare.crt"))]);
    assert_eq!(revoked(V1), expected);
    assert_eq!(revoked(V2), expected);
    assert_eq!(revoked(EMPTY), BTreeSet::new());
    assert_eq!(revoked(testdata!("for-users.crl")), expected);
}

#[test]
fn the_dates_and_the_issuer_are_those_of_the_crl() {
    let facts = bundle(V2).facts();
    let expected = CrlFacts {
        issuer: "CN=CRL test CA".into(),
        this_update_s: 1_861_920_000,
        next_update_s: Some(1_924_992_000),
        revoked: 2,
    };
    assert_eq!(facts, [expected]);
}

#[test]
fn crls_that_tell_only_a_part_are_refused() {
    for (pem, expected) in [
        (testdata!("delta.crl"), "it is a delta CRL"),
        (testdata!("indirect.crl"), "an indirect CRL"),
        (testdata!("unknown.crl"), "the critical extension 1.2.3.4"),
        (testdata!("sha1.crl"), "its signature algorithm 1.2.840.10045.4.1 is not supported"),
    ] {
        let error = error(pem);
        assert!(error.starts_with("crl.pem, line 1: ") && error.contains(expected), "{error}");
    }
}

#[test]
fn a_crl_only_for_cas_is_ignored_and_replaces_none() {
    let both = bundle(&[V2, testdata!("for-cas.crl")].concat());
    assert_eq!(both.facts()[0].revoked, 2);
    assert_eq!(both.remarks.len(), 1);
    assert!(both.remarks[0].contains("is passed over"), "{:?}", both.remarks);
    assert!(bundle(testdata!("for-cas.crl")).facts().is_empty());
}

#[test]
fn an_issuers_last_crl_replaces_an_earlier_one_with_a_warning() {
    let bundle = bundle(&[V2, EMPTY].concat());
    assert_eq!(bundle.facts()[0].revoked, 0);
    let line = V2.lines().count() + 1;
    let expected =
        format!("line {line}: takes the place of the CRL of \"CN=CRL test CA\" at line 1");
    assert_eq!(bundle.remarks, [expected]);
    assert_eq!(self::bundle(&[EMPTY, V2].concat()).facts()[0].revoked, 2);
}

#[test]
fn sections_of_another_type_and_explanations_are_passed_over() {
    let text = format!("issued on a Monday\n\n{CA}\nof 2029:\r\n{}", V1.replace('\n', "\r\n"));
    let bundle = bundle(&text);
    assert_eq!(bundle.facts().len(), 1);
    assert_eq!(bundle.remarks, ["line 3: CERTIFICATE is passed over, it is no CRL"]);
}

#[test]
fn damage_is_an_error_with_its_line() {
    let cut = &V2[..V2.len() - 30];
    let torn = V2.replacen("-----END X509 CRL-----", "", 1);
    let mangled = V2.replacen("\nMI", "\n%I", 1);
    let swapped = V2.replacen("\nM", "\nA", 1);
    for (pem, expected) in [
        (cut.to_owned(), "crl.pem, line 1: it has no end line (cut off?)"),
        (format!("{torn}{V1}"), "crl.pem, line 1: it has no end line"),
        (format!("\n{mangled}"), "crl.pem, line 2: it is not valid base64"),
        (swapped, "crl.pem, line 1: it is not a CRL in DER (no sequence)"),
        (
            format!("{V2}left over\n"),
            &format!("crl.pem, line {}: non-PEM data in CRL bundle", V2.lines().count() + 1),
        ),
        (
            format!("{V2}{}", V1.replacen("-----BEGIN", "----BEGIN", 1)),
            &format!("crl.pem, line {}: a damaged first line of a CRL", V2.lines().count() + 1),
        ),
        ("-----END X509 CRL-----\n".to_owned(), "crl.pem, line 1: an END line has no BEGIN line"),
        (String::new(), "crl.pem: no CRL found"),
        (CA.to_owned(), "crl.pem: no CRL found"),
        ("garbage".to_owned(), "crl.pem: no CRL found"),
    ] {
        assert_eq!(error(&pem), expected);
    }
}

#[test]
fn der_is_told_from_garbage() {
    let der = der_of(V2);
    let error = CrlBundle::from_pem(&der, "crl.der").unwrap_err().to_string();
    assert!(error.contains("this looks like DER"), "{error}");
}

#[test]
fn the_digest_is_of_what_counts() {
    let digest = |pem: &str| bundle(pem).digest;
    assert_eq!(digest(V2), digest(&format!("of 2029\n{V2}")));
    assert_eq!(digest(V2), digest(&[EMPTY, V2].concat()));
    assert_ne!(digest(V2), digest(EMPTY));
}

proptest! {
    #[test]
    fn no_damage_to_a_crl_loses_an_entry_silently(at: prop::sample::Index, value: u8) {
        // The signature catches what is accepted here; a list must not just become shorter by being
        // unreadable.
        let mut der = der_of(V2).to_vec();
        let at = at.index(der.len());
        der[at] = value;
        if let Ok(list) = List::parse(&der) {
            prop_assert_eq!(list.revoked.len(), 2);
        }
    }
}
