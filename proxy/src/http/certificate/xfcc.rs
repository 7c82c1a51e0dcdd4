//! `X-Forwarded-Client-Cert` as Envoy writes it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls_pki_types::CertificateDer;

use super::ClientCertificate;
use crate::{
    http::spec::{CertificateField, XfccFields},
    policy::{LeafCertificate, SanKind},
};

/// The element of one client, its fields in Envoy's order. `Subject` and `URI` stand there even
/// where the certificate has none, as with Envoy.
pub(super) fn element(
    of: &ClientCertificate,
    fields: XfccFields,
    issuers: Option<&[&CertificateDer<'_>]>,
) -> String {
    let mut pairs = Vec::new();
    if fields.hash {
        pairs.push(format!("Hash={}", of.text(CertificateField::Fingerprint)));
    }
    if fields.cert {
        pairs.push(format!("Cert=\"{}\"", encoded_pem(of.leaf())));
    }
    if let (true, Some(issuers)) = (fields.chain, issuers) {
        let issuers = issuers.iter().map(|issuer| encoded_pem(issuer));
        let chain: String = std::iter::once(encoded_pem(of.leaf())).chain(issuers).collect();
        pairs.push(format!("Chain=\"{chain}\""));
    }
    if fields.subject {
        pairs.push(format!("Subject=\"{}\"", of.text(CertificateField::Subject)));
    }
    if fields.uri {
        let before = pairs.len();
        pairs.extend(names("URI", of.subject_alt_names(SanKind::Uri)));
        if pairs.len() == before {
            pairs.push("URI=".to_owned());
        }
    }
    if fields.dns {
        pairs.extend(names("DNS", of.subject_alt_names(SanKind::Dns)));
    }
    pairs.join(";")
}

fn names<'a>(key: &'a str, names: &'a [Box<str>]) -> impl Iterator<Item = String> + use<'a> {
    names.iter().filter_map(move |name| Some(format!("{key}={}", value(name)?)))
}

/// In quotes where it holds what else would end it, which Envoy's documentation asks for and its
/// code leaves out: a certificate must not be able to say more than its names. What could end the
/// quotes has no place in a URI or a host name, so names that hold it are left out.
fn value(name: &str) -> Option<String> {
    if !name.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\')) {
        return None;
    }
    Some(match name.contains([',', ';', '=']) {
        true => format!("\"{name}\""),
        false => name.to_owned(),
    })
}

/// PEM in lines of 64 characters, with the characters escaped that Envoy escapes.
fn encoded_pem(der: &[u8]) -> String {
    let mut out = String::from("-----BEGIN%20CERTIFICATE-----%0A");
    for (place, char) in STANDARD.encode(der).chars().enumerate() {
        if place > 0 && place % 64 == 0 {
            out.push_str("%0A");
        }
        match char {
            '+' => out.push_str("%2B"),
            '/' => out.push_str("%2F"),
            '=' => out.push_str("%3D"),
            other => out.push(other),
        }
    }
    out + "%0A-----END%20CERTIFICATE-----%0A"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_could_be_read_as_more_than_one_is_quoted_or_left_out() {
        for (name, expected) in [
            ("spiffe://example/a", Some("spiffe://example/a")),
            ("https://a.example/?b=c", Some("\"https://a.example/?b=c\"")),
            ("urn:a;Hash=0,URI=x", Some("\"urn:a;Hash=0,URI=x\"")),
            ("urn:a\";Hash=0", None),
            ("urn:a\\", None),
            ("urn:a b", None),
            ("urn:\u{e9}", None),
        ] {
            assert_eq!(value(name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn a_certificate_is_pem_with_what_a_url_cannot_hold_escaped() {
        let encoded = encoded_pem(&[0xff; 49]);
        let line = "%2F".repeat(64);
        let begin = "-----BEGIN%20CERTIFICATE-----%0A";
        let end = "%0A-----END%20CERTIFICATE-----%0A";
        assert_eq!(encoded, format!("{begin}{line}%0A%2Fw%3D%3D{end}"));
        assert!(!encoded_pem(&[1; 48]).contains("%0A%0A"), "a last line that is full");
        assert!(encoded_pem(&[0xfb, 0xef, 0xbe]).contains("%0A%2B%2B%2B%2B%0A"));
    }
}
