use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair, SanType};

use super::*;

/// Its PEM without the lines around it is the DER in base64.
const RSA_PEM: &str = include_str!("../tls/testdata/rsa2048.crt.pem");
const ED25519_PEM: &str = include_str!("../tls/testdata/ed25519.crt.pem");

fn der_of_pem(pem: &str) -> Vec<u8> {
    use rustls_pki_types::{CertificateDer, pem::PemObject};
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}

fn der(configure: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    configure(&mut params);
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

fn subject_of(attributes: &[(DnType, DnValue)]) -> String {
    let der = der(|params| {
        for (kind, value) in attributes {
            params.distinguished_name.push(kind.clone(), value.clone());
        }
    });
    let parsed = ParsedCertificate::from_der(&der).unwrap();
    assert_eq!(parsed.issuer(), parsed.subject());
    parsed.subject()
}

fn text(value: &str) -> DnValue {
    DnValue::Utf8String(value.to_owned())
}

#[test]
fn a_distinguished_name_is_written_most_specific_first() {
    let subject = subject_of(&[
        (DnType::CountryName, text("DE")),
        (DnType::OrganizationName, text("Doe, Inc. \"D\"")),
        (DnType::CommonName, text(" me")),
    ]);
    assert_eq!(subject, r#"CN=\ me,O=Doe\, Inc. \"D\",C=DE"#);
}

#[test]
fn a_value_cannot_pass_for_another_attribute() {
    let subject = subject_of(&[(DnType::OrganizationName, text("x,CN=admin+O=\"y\""))]);
    assert_eq!(subject, r#"O=x\,CN=admin\+O=\"y\""#);
    assert_eq!(subject_of(&[(DnType::CommonName, text(" #a "))]), r"CN=\ #a\ ");
    assert_eq!(subject_of(&[(DnType::CommonName, text("#a\\"))]), r"CN=\#a\\");
}

#[test]
fn a_control_character_is_escaped_as_its_bytes() {
    let subject = subject_of(&[(DnType::CommonName, text("a\r\nb\0\u{85}"))]);
    assert_eq!(subject, r"CN=a\0D\0Ab\00\C2\85");
}

#[test]
fn attribute_types_have_the_names_of_openssl_or_their_number() {
    let of = |oid: &[u64]| subject_of(&[(DnType::CustomDnType(oid.to_vec()), text("x"))]);
    assert_eq!(of(&[1, 2, 840, 113_549, 1, 9, 1]), "emailAddress=x");
    assert_eq!(of(&[2, 5, 4, 42]), "GN=x");
    assert_eq!(of(&[2, 5, 4, 4]), "SN=x");
    assert_eq!(of(&[0, 9, 2342, 19_200_300, 100, 1, 1]), "UID=x");
    assert_eq!(of(&[1, 3, 6, 1, 4, 1, 99_999]), "1.3.6.1.4.1.99999=x");
}

#[test]
fn a_value_that_is_no_text_is_written_as_its_encoding() {
    let teletex = DnValue::TeletexString("a".try_into().unwrap());
    assert_eq!(subject_of(&[(DnType::CommonName, teletex)]), "CN=#140161");
}

#[test]
fn alternative_names_carry_their_kind() {
    let der = der(|params| {
        params.subject_alt_names = vec![
            SanType::DnsName("*.B.example".try_into().unwrap()),
            SanType::Rfc822Name("a@example.com".try_into().unwrap()),
            SanType::URI("spiffe://example/a".try_into().unwrap()),
            SanType::IpAddress("192.0.2.7".parse().unwrap()),
            SanType::IpAddress("2001:db8::1".parse().unwrap()),
        ];
    });
    let names = ParsedCertificate::from_der(&der).unwrap().alt_name_texts();
    let expected = [
        "DNS:*.B.example",
        "email:a@example.com",
        "URI:spiffe://example/a",
        "IP:192.0.2.7",
        "IP:2001:db8::1",
    ];
    assert_eq!(names, expected);
}

#[test]
fn numbers_and_fingerprint_are_those_that_openssl_prints() {
    // openssl x509 -in testdata/ed25519.crt.pem -noout -fingerprint -sha256 -serial -dates
    let der = der_of_pem(ED25519_PEM);
    let parsed = ParsedCertificate::from_der(&der).unwrap();
    assert_eq!(
        hex(&sha256(&der)),
        "60ffb61a4fa76d7dedc03b92f3b80d7bc4328a27e2e16743079bc317747cd158"
    );
    assert_eq!(parsed.serial_hex(), "7D4E62B34F31BB35A526CA6690485412B3AD537C");
    assert_eq!(parsed.validity().not_before.timestamp(), 1_795_297_272);
    assert_eq!(parsed.validity().not_after.timestamp(), 4_948_897_272);
}

#[test]
fn bytes_that_are_no_certificate_or_go_on_after_one_are_an_error() {
    let error = |der: &[u8]| ParsedCertificate::from_der(der).err();
    let mut longer = der_of_pem(RSA_PEM);
    assert_eq!(error(&longer), None);
    longer.push(0);
    for malformed in [&longer[..], b"", b"\x30\x00", b"\x30\x03abc"] {
        assert_eq!(error(malformed), Some(MalformedCertificate));
    }
}

fn read_all(der: &[u8]) {
    if let Ok(parsed) = ParsedCertificate::from_der(der) {
        let _ = (parsed.issuer(), parsed.subject(), parsed.alt_name_texts(), parsed.serial_hex());
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        read_all(&bytes);
    }

    #[test]
    fn a_damaged_certificate_does_not_make_it_panic(at: proptest::sample::Index, byte: u8) {
        let mut bytes = der_of_pem(RSA_PEM);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        read_all(&bytes);
    }
}
