//! What the key of a certificate may be used for.

use webpki::KeyUsage;
use x509_parser::{certificate::X509Certificate, extensions::ExtendedKeyUsage};

use super::error::ChainError;

/// The purpose of a presented certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tls) enum Purpose {
    /// A client's certificate.
    ClientAuth,
    /// An upstream's certificate.
    ServerAuth,
}

impl Purpose {
    pub(super) fn key_usage(self) -> KeyUsage {
        match self {
            Purpose::ClientAuth => KeyUsage::client_auth(),
            Purpose::ServerAuth => KeyUsage::server_auth(),
        }
    }

    /// RFC 5280, sections 4.2.1.3 and 4.2.1.12, and RFC 8446, section 4.4.2.2: an absent extension
    /// allows everything.
    pub(super) fn check_leaf(self, certificate: &X509Certificate<'_>) -> Result<(), ChainError> {
        let (Ok(key_usage), Ok(extended)) =
            (certificate.key_usage(), certificate.extended_key_usage())
        else {
            return Err(ChainError::Purpose);
        };
        let names_purpose = |usage: &ExtendedKeyUsage<'_>| match self {
            Purpose::ClientAuth => usage.client_auth,
            Purpose::ServerAuth => usage.server_auth,
        };
        if extended.is_some_and(|extension| !names_purpose(extension.value)) {
            return Err(ChainError::Purpose);
        }
        if key_usage.is_some_and(|extension| !extension.value.digital_signature()) {
            return Err(ChainError::MayNotSign);
        }
        Ok(())
    }
}

/// RFC 5280, section 6.1.4 (n). webpki has checked basic constraints and path lengths.
pub(super) fn check_issuer(certificate: &X509Certificate<'_>) -> Result<(), ChainError> {
    match certificate.key_usage() {
        Ok(Some(usage)) if !usage.value.key_cert_sign() => Err(ChainError::IssuerMayNotSign),
        Ok(_) => Ok(()),
        Err(_) => Err(ChainError::IssuerMayNotSign),
    }
}
