//! The one reading of an X.509 certificate, for log records, headers, policies and diagnostics.
//! Pure, and nothing is verified here: trust is decided in `tls`.

mod alt_name;
mod distinguished_name;

use x509_parser::{
    certificate::{Validity, X509Certificate, X509CertificateParser},
    nom::Parser,
    parse_x509_certificate,
    x509::SubjectPublicKeyInfo,
};

pub(crate) use self::{
    alt_name::{AltName, alt_names},
    distinguished_name::distinguished_name,
};
use crate::digest::{hex, sha256};

/// A parsed certificate. Each text is made when it is asked for.
#[derive(Debug)]
pub struct ParsedCertificate<'a> {
    x509: X509Certificate<'a>,
}

/// The bytes are not an X.509 certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an X.509 certificate")]
pub struct MalformedCertificate;

/// Parses a certificate in DER for callers that need the structure itself. Bytes after it are an
/// error.
pub(crate) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, MalformedCertificate> {
    match parse_x509_certificate(der) {
        Ok(([], x509)) => Ok(x509),
        _ => Err(MalformedCertificate),
    }
}

/// The same, without the contents of its extensions: for callers that need none, in a fraction of the
/// time.
pub(crate) fn parse_shallow(der: &[u8]) -> Result<X509Certificate<'_>, MalformedCertificate> {
    let mut parser = X509CertificateParser::new().with_deep_parse_extensions(false);
    match parser.parse(der) {
        Ok(([], x509)) => Ok(x509),
        _ => Err(MalformedCertificate),
    }
}

impl<'a> ParsedCertificate<'a> {
    /// Parses a certificate in DER. Bytes after it are an error.
    pub fn from_der(der: &'a [u8]) -> Result<ParsedCertificate<'a>, MalformedCertificate> {
        Ok(ParsedCertificate { x509: parse(der)? })
    }

    /// The issuer's distinguished name (RFC 4514).
    pub fn issuer(&self) -> String {
        distinguished_name(self.x509.issuer())
    }

    /// The subject's distinguished name (RFC 4514).
    pub fn subject(&self) -> String {
        distinguished_name(self.x509.subject())
    }

    /// The last common name of the subject.
    pub(crate) fn common_name(&self) -> Option<&str> {
        self.x509.subject().iter_common_name().last()?.as_str().ok()
    }

    /// The subject alternative names, in their order. An error if the extension is malformed or
    /// occurs twice (RFC 5280 section 4.2 forbids that).
    pub(crate) fn alt_names(
        &self,
    ) -> Result<impl Iterator<Item = AltName<'_>>, MalformedCertificate> {
        alt_names(&self.x509)
    }

    /// The subject alternative names as text, each with its kind: `DNS:a.example`. None if the
    /// extension is malformed.
    pub fn alt_name_texts(&self) -> Vec<String> {
        self.alt_names().into_iter().flatten().map(|name| name.to_string()).collect()
    }

    /// The time during which it is valid.
    pub(crate) fn validity(&self) -> &Validity {
        self.x509.validity()
    }

    /// The serial number as OpenSSL writes it: upper-case hexadecimal, without the zero byte that
    /// DER puts before a high bit.
    pub(crate) fn serial_hex(&self) -> String {
        let digits = match self.x509.raw_serial() {
            [0, rest @ ..] if !rest.is_empty() => rest,
            all => all,
        };
        hex(digits).to_uppercase()
    }

    /// The public key with its algorithm.
    pub(crate) fn public_key(&self) -> &SubjectPublicKeyInfo<'_> {
        self.x509.public_key()
    }

    /// SHA-256 of the public key with its algorithm (RFC 7469 section 2.4).
    pub(crate) fn spki_sha256(&self) -> [u8; 32] {
        sha256(self.public_key().raw)
    }
}

#[cfg(test)]
mod tests;
