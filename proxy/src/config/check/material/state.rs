//! Warnings about files that can be used and should not be as they are.

use std::time::{SystemTime, UNIX_EPOCH};

use super::super::{super::section::Section, secret_files};
use crate::{
    certificate::ParsedCertificate,
    tls::{CertificateWithKey, TrustAnchors},
};

/// Of a certificate that has ended, and of a key that others can read.
pub(super) fn of_identity(
    section: &Section<'_>,
    (cert_key, key_key): (&str, &str),
    identity: &CertificateWithKey,
) {
    let Some((cert, key)) = &identity.files else { return };
    if identity.not_after_s <= now_s() {
        let message =
            format!("{}: the certificate has ended: every peer rejects it", cert.display());
        section.warn_with_hint(cert_key, message, "renew it");
    }
    secret_files::check(section, key_key, key, "show the certificate as their own");
}

/// Of a file of CAs that has a private key in it.
pub(super) fn of_ca_file(section: &Section<'_>, key: &str, pem: &[u8], origin: &str) {
    const MARK: &[u8] = b"PRIVATE KEY-----";
    if pem.windows(MARK.len()).any(|window| window == MARK) {
        let message = format!(
            "{origin}: there is a private key in it: whoever reads the key of a CA can issue \
             certificates"
        );
        section.warn_with_hint(key, message, "keep only certificates in this file");
    }
}

/// Of CAs of clients that have ended, or are no CA.
pub(in super::super) fn of_client_cas(section: &Section<'_>, key: &str, anchors: &TrustAnchors) {
    for (index, der) in anchors.certificates.iter().enumerate() {
        let Ok(certificate) = ParsedCertificate::from_der(der) else { continue };
        let (position, subject) = (index + 1, certificate.subject());
        let which = format!("{}: certificate {position} ({subject})", anchors.origin);
        if certificate.validity().not_after.timestamp() <= now_s() {
            let message = format!("{which} has ended: the certificates of its clients are refused");
            section.warn_with_hint(key, message, "renew the CA, or remove it");
        }
        if !anchors.may_issue(index) {
            let message = format!("{which} is no CA: it is trusted as itself, and issues nothing");
            section.warn_with_hint(key, message, "name the CA that issues clients' certificates");
        }
    }
}

fn now_s() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}
