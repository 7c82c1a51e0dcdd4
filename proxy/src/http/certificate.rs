//! What a client certificate says, read when somebody asks.

use std::{cell::OnceCell, fmt::Write};

use rustls_pki_types::CertificateDer;
use x509_parser::{
    certificate::X509Certificate,
    extensions::GeneralName,
    prelude::{FromDer, ParsedExtension},
};

/// The certificate that a client presented and proved to hold.
#[derive(Debug)]
pub struct ClientCertificate {
    der: CertificateDer<'static>,
    fingerprint: OnceCell<Box<str>>,
    facts: OnceCell<CertificateFacts>,
}

/// What the access log and header templates say of a certificate; empty where it says nothing.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Distinguished name of the issuer.
    pub issuer: String,
    /// Distinguished name of the subject.
    pub subject: String,
    /// `DNS:…`, `EMAIL:…`, `URI:…`, `IP:…`, in the certificate's order.
    pub subject_alt_names: Vec<String>,
    /// DNS SANs joined with commas; names that contain one are left out.
    pub dns: String,
    /// Email SANs, likewise.
    pub email: String,
}

impl ClientCertificate {
    /// Nothing is read yet.
    pub fn new(der: CertificateDer<'static>) -> ClientCertificate {
        ClientCertificate { der, fingerprint: OnceCell::new(), facts: OnceCell::new() }
    }

    /// The certificate itself.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// SHA-256 of the certificate in lower-case hexadecimal.
    pub fn fingerprint(&self) -> &str {
        self.fingerprint.get_or_init(|| {
            let digest = ring::digest::digest(&ring::digest::SHA256, &self.der);
            hex(digest.as_ref()).into_boxed_str()
        })
    }

    /// What it says; empty where it cannot be read.
    pub fn facts(&self) -> &CertificateFacts {
        self.facts.get_or_init(|| match X509Certificate::from_der(&self.der) {
            Ok((_, certificate)) => CertificateFacts::read(&certificate),
            Err(_) => CertificateFacts::default(),
        })
    }
}

impl CertificateFacts {
    fn read(certificate: &X509Certificate<'_>) -> CertificateFacts {
        let mut facts = CertificateFacts {
            issuer: certificate.issuer().to_string(),
            subject: certificate.subject().to_string(),
            ..CertificateFacts::default()
        };
        for extension in certificate.extensions() {
            if let ParsedExtension::SubjectAlternativeName(san) = extension.parsed_extension() {
                san.general_names.iter().for_each(|name| facts.add(name));
            }
        }
        facts
    }

    fn add(&mut self, name: &GeneralName<'_>) {
        self.subject_alt_names.push(match name {
            GeneralName::DNSName(dns) => {
                join(&mut self.dns, dns);
                format!("DNS:{dns}")
            }
            GeneralName::RFC822Name(email) => {
                join(&mut self.email, email);
                format!("EMAIL:{email}")
            }
            GeneralName::URI(uri) => format!("URI:{uri}"),
            GeneralName::IPAddress(bytes) => match ip(bytes) {
                Some(ip) => format!("IP:{ip}"),
                None => return,
            },
            _ => return,
        });
    }
}

/// A name with a comma would read as two.
fn join(list: &mut String, name: &str) {
    if name.contains(',') {
        return;
    }
    if !list.is_empty() {
        list.push(',');
    }
    list.push_str(name);
}

fn ip(bytes: &[u8]) -> Option<std::net::IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(std::net::IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(std::net::IpAddr::from)).ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn certificate(sans: Vec<SanType>) -> ClientCertificate {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "alice");
        params.subject_alt_names = sans;
        let key = KeyPair::generate().unwrap();
        ClientCertificate::new(params.self_signed(&key).unwrap().der().clone())
    }

    #[test]
    fn names_are_listed_and_joined_and_those_with_a_comma_left_out() {
        let certificate = certificate(vec![
            SanType::DnsName("a.example".try_into().unwrap()),
            SanType::DnsName("b,c.example".try_into().unwrap()),
            SanType::DnsName("d.example".try_into().unwrap()),
            SanType::Rfc822Name("alice@example.com".try_into().unwrap()),
            SanType::IpAddress("192.0.2.1".parse().unwrap()),
            SanType::URI("spiffe://example/alice".try_into().unwrap()),
        ]);
        let facts = certificate.facts();
        assert_eq!(facts.dns, "a.example,d.example");
        assert_eq!(facts.email, "alice@example.com");
        assert_eq!(facts.subject, "CN=alice");
        assert_eq!(facts.subject_alt_names.len(), 6);
        assert_eq!(facts.subject_alt_names[4], "IP:192.0.2.1");
        assert_eq!(certificate.fingerprint().len(), 64);
    }

    #[test]
    fn what_cannot_be_read_says_nothing_but_has_a_fingerprint() {
        let garbage = ClientCertificate::new(CertificateDer::from(b"abc".to_vec()));
        assert_eq!(*garbage.facts(), CertificateFacts::default());
        assert_eq!(
            garbage.fingerprint(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
