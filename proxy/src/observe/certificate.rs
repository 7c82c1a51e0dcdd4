//! The parts of a client certificate that log records show.

use crate::certificate::ParsedCertificate;

/// The names in a certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CertificateSummary {
    /// The issuer's distinguished name (RFC 4514).
    pub issuer: String,
    /// The subject's distinguished name (RFC 4514).
    pub subject: String,
    /// Its alternative names, each with its type as OpenSSL writes it: `DNS:a.example`.
    pub subject_alt_names: Vec<String>,
}

impl From<&ParsedCertificate<'_>> for CertificateSummary {
    fn from(certificate: &ParsedCertificate<'_>) -> CertificateSummary {
        CertificateSummary {
            issuer: certificate.issuer(),
            subject: certificate.subject(),
            subject_alt_names: certificate.alt_name_texts(),
        }
    }
}
