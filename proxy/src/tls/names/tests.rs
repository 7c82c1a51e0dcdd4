use rcgen::{DnType, DnValue, SanType, string::Ia5String};

use super::*;
use crate::tls::testing::{leaf, root, self_signed};

fn subject_of(attributes: &[(DnType, &str)]) -> String {
    let mut params = leaf(&[]);
    params.distinguished_name = rcgen::DistinguishedName::new();
    for (kind, value) in attributes {
        params.distinguished_name.push(kind.clone(), DnValue::Utf8String((*value).to_owned()));
    }
    describe(&self_signed(params).der).unwrap().subject
}

#[test]
fn a_certificate_is_described_by_names_dates_and_issuer() {
    let mut params = leaf(&["a.example", "*.B.example", "192.0.2.7", "2001:db8::1"]);
    params
        .subject_alt_names
        .push(SanType::Rfc822Name(Ia5String::try_from("me@a.example").unwrap()));
    params
        .subject_alt_names
        .push(SanType::URI(Ia5String::try_from("spiffe://a.example/web").unwrap()));
    let facts = describe(&root().issue(params).der).unwrap();

    assert_eq!(facts.subject, "CN=test leaf");
    assert_eq!(facts.issuer, "CN=test root");
    assert_eq!(
        facts.sans,
        [
            "DNS:a.example",
            "DNS:*.B.example",
            "IP:192.0.2.7",
            "IP:2001:db8::1",
            "EMAIL:me@a.example",
            "URI:spiffe://a.example/web",
        ]
    );
    assert_eq!((facts.not_before_s, facts.not_after_s), (1_577_836_800, 2_208_988_800));
}

#[test]
fn the_fingerprint_is_the_one_that_openssl_prints() {
    // openssl x509 -in testdata/ed25519.crt.pem -noout -fingerprint -sha256
    let pem = include_bytes!("../testdata/ed25519.crt.pem");
    let der = crate::tls::material::certificates_from_pem(pem, "a test").unwrap().remove(0);
    assert_eq!(
        describe(&der).unwrap().fingerprint_sha256_hex,
        "60ffb61a4fa76d7dedc03b92f3b80d7bc4328a27e2e16743079bc317747cd158"
    );
}

#[test]
fn distinguished_names_are_written_most_specific_first() {
    let subject = subject_of(&[
        (DnType::CountryName, "DE"),
        (DnType::OrganizationName, "Example"),
        (DnType::CommonName, "me"),
    ]);
    assert_eq!(subject, "CN=me,O=Example,C=DE");
}

#[test]
fn a_value_cannot_pass_for_another_attribute() {
    let subject = subject_of(&[(DnType::OrganizationName, "x,CN=admin+O=\"y\"")]);
    assert_eq!(subject, r#"O=x\,CN=admin\+O=\"y\""#);
    assert_eq!(subject_of(&[(DnType::CommonName, " #a ")]), r"CN=\ #a\ ");
    assert_eq!(subject_of(&[(DnType::CommonName, "#a\\")]), r"CN=\#a\\");
}

#[test]
fn a_value_cannot_break_a_line() {
    let subject = subject_of(&[(DnType::CommonName, "a\r\nb")]);
    assert_eq!(subject, "CN=a\u{fffd}\u{fffd}b");
}

#[test]
fn an_attribute_without_a_short_name_is_written_by_its_number() {
    let kind = DnType::CustomDnType(vec![1, 3, 6, 1, 4, 1, 99_999]);
    assert_eq!(subject_of(&[(kind, "x")]), "1.3.6.1.4.1.99999=x");
}

#[test]
fn malformed_certificates_and_trailing_bytes_are_errors() {
    assert_eq!(describe(&CertificateDer::from(vec![0x30, 0])), Err(MalformedCertificate));
    let mut longer = root().der.to_vec();
    longer.push(0);
    assert_eq!(describe(&CertificateDer::from(longer)), Err(MalformedCertificate));
}

#[test]
fn only_a_single_trailing_dot_belongs_to_a_name() {
    assert_eq!(normalize_server_name("A.example.").as_deref(), Some("a.example"));
    assert_eq!(normalize_server_name("a.example.."), None);
    assert_eq!(normalize_server_name("."), None);
    assert_eq!(normalize_server_name("::1"), None);
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        let _ = describe(&CertificateDer::from(bytes));
    }

    #[test]
    fn a_damaged_certificate_does_not_make_it_panic(at: proptest::sample::Index, byte: u8) {
        let pem = include_bytes!("../testdata/rsa2048.crt.pem");
        let der = crate::tls::material::certificates_from_pem(pem, "a test").unwrap().remove(0);
        let mut bytes = der.to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = describe(&CertificateDer::from(bytes));
    }
}
