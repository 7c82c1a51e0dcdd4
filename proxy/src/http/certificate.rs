//! What a client certificate says, read when somebody asks.

use std::{cell::OnceCell, fmt::Write};

use rustls_pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

use crate::observe::CertificateSummary;

/// The certificate that a client presented and proved to hold.
#[derive(Debug)]
pub struct ClientCertificate {
    der: CertificateDer<'static>,
    fingerprint: OnceCell<Box<str>>,
    names: OnceCell<CertificateNames>,
    summary: OnceCell<Option<CertificateSummary>>,
}

/// The names in a certificate, as header templates give them: joined with commas, those that
/// contain one left out, since they would read as two.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct CertificateNames {
    /// DNS SANs.
    pub dns: String,
    /// Email SANs.
    pub email: String,
}

impl ClientCertificate {
    /// Nothing is read yet.
    pub fn new(der: CertificateDer<'static>) -> ClientCertificate {
        ClientCertificate {
            der,
            fingerprint: OnceCell::new(),
            names: OnceCell::new(),
            summary: OnceCell::new(),
        }
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

    /// Its names; none where it cannot be read.
    pub fn names(&self) -> &CertificateNames {
        self.names.get_or_init(|| CertificateNames::read(&self.der).unwrap_or_default())
    }

    /// What the access log shows of it; `None` where it cannot be read.
    pub fn summary(&self) -> Option<&CertificateSummary> {
        self.summary.get_or_init(|| CertificateSummary::from_der(&self.der)).as_ref()
    }
}

impl CertificateNames {
    fn read(der: &[u8]) -> Option<CertificateNames> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let mut names = CertificateNames::default();
        for name in &certificate.subject_alternative_name().ok()??.value.general_names {
            match name {
                GeneralName::DNSName(dns) => join(&mut names.dns, dns),
                GeneralName::RFC822Name(email) => join(&mut names.email, email),
                _ => {}
            }
        }
        Some(names)
    }
}

fn join(list: &mut String, name: &str) {
    if name.contains(',') {
        return;
    }
    if !list.is_empty() {
        list.push(',');
    }
    list.push_str(name);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    fn certificate(sans: Vec<SanType>) -> ClientCertificate {
        let mut params = CertificateParams::default();
        params.subject_alt_names = sans;
        let key = KeyPair::generate().unwrap();
        ClientCertificate::new(params.self_signed(&key).unwrap().der().clone())
    }

    #[test]
    fn names_are_joined_and_those_with_a_comma_left_out() {
        let certificate = certificate(vec![
            SanType::DnsName("a.example".try_into().unwrap()),
            SanType::DnsName("b,c.example".try_into().unwrap()),
            SanType::DnsName("d.example".try_into().unwrap()),
            SanType::Rfc822Name("alice@example.com".try_into().unwrap()),
            SanType::IpAddress("192.0.2.1".parse().unwrap()),
        ]);
        assert_eq!(certificate.names().dns, "a.example,d.example");
        assert_eq!(certificate.names().email, "alice@example.com");
        assert_eq!(certificate.fingerprint().len(), 64);
    }

    #[test]
    fn what_cannot_be_read_has_no_names_but_a_fingerprint() {
        let garbage = ClientCertificate::new(CertificateDer::from(b"abc".to_vec()));
        assert_eq!(*garbage.names(), CertificateNames::default());
        assert!(garbage.summary().is_none());
        assert_eq!(
            garbage.fingerprint(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
