//! The parts of a client certificate that log records show.

use crate::certificate::ParsedCertificate;

/// How many alternative names a summary holds: a certificate of a client's own making may have
/// thousands.
const MAX_NAMES: usize = 10;

/// The names in a certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CertificateSummary {
    /// The issuer's distinguished name (RFC 4514).
    pub issuer: String,
    /// The subject's distinguished name (RFC 4514).
    pub subject: String,
    /// Its first alternative names, each with its type as OpenSSL writes it: `DNS:a.example`. If it
    /// has more, the last text says how many.
    pub subject_alt_names: Vec<String>,
}

impl From<&ParsedCertificate<'_>> for CertificateSummary {
    fn from(certificate: &ParsedCertificate<'_>) -> CertificateSummary {
        CertificateSummary {
            issuer: certificate.issuer(),
            subject: certificate.subject(),
            subject_alt_names: first_names(certificate),
        }
    }
}

fn first_names(certificate: &ParsedCertificate<'_>) -> Vec<String> {
    let mut names = certificate.alt_names().into_iter().flatten();
    let mut first: Vec<_> = names.by_ref().take(MAX_NAMES).map(|name| name.to_string()).collect();
    match names.count() {
        0 => {}
        more => first.push(format!("and {more} more")),
    }
    first
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn summary(names: usize) -> CertificateSummary {
        let names: Vec<_> = (0..names).map(|n| format!("n{n}.example")).collect();
        let params = CertificateParams::new(names).unwrap();
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        (&ParsedCertificate::from_der(certificate.der()).unwrap()).into()
    }

    #[test]
    fn a_summary_holds_the_first_ten_names_and_how_many_more() {
        let names = summary(3_200).subject_alt_names;
        assert_eq!(names.len(), 11);
        assert_eq!((&*names[9], &*names[10]), ("DNS:n9.example", "and 3190 more"));
        let names = summary(10).subject_alt_names;
        assert_eq!(names.last().unwrap(), "DNS:n9.example");
    }
}
