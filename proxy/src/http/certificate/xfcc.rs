//! `X-Forwarded-Client-Cert` as Envoy writes it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls_pki_types::CertificateDer;

use super::{leaf::PeerLeaf, texts::CertificateTexts};
use crate::{
    http::spec::{CertificateField, XfccFields},
    policy::{LeafCertificate, SanKind},
};

/// The element for one client, its fields in Envoy's order. As in Envoy, `Subject` and `URI` are
/// written even if the certificate has none.
pub(super) fn element(
    (of, texts): (&PeerLeaf, &CertificateTexts),
    fields: XfccFields,
    issuers: Option<&[&CertificateDer<'_>]>,
) -> String {
    let mut pairs = Vec::new();
    if fields.hash {
        pairs.push(format!("Hash={}", texts.get(of, CertificateField::Fingerprint)));
    }
    if fields.cert {
        pairs.push(format!("Cert=\"{}\"", encoded_pem(of.der())));
    }
    if let (true, Some(issuers)) = (fields.chain, issuers) {
        let issuers = issuers.iter().map(|issuer| encoded_pem(issuer));
        let chain: String = std::iter::once(encoded_pem(of.der())).chain(issuers).collect();
        pairs.push(format!("Chain=\"{chain}\""));
    }
    if fields.subject {
        pairs.push(format!("Subject=\"{}\"", texts.get(of, CertificateField::Subject)));
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

/// A value, quoted if it contains a separator. Envoy's documentation asks for that and its code
/// omits it: without quotes a certificate could add fields of its own. Names with characters that
/// would end the quotes are left out; no URI or host name contains them.
fn value(name: &str) -> Option<String> {
    if !name.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\')) {
        return None;
    }
    Some(match name.contains([',', ';', '=']) {
        true => format!("\"{name}\""),
        false => name.to_owned(),
    })
}

/// PEM in lines of 64 characters, URL-encoded as Envoy does it.
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
    fn an_ambiguous_name_is_quoted_or_left_out() {
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
