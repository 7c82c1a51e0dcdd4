//! Verification of upstream certificates: chain and name.

use std::{fmt, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, ProtocolVersion, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{verify_tls12_signature, verify_tls13_signature, verify_tls13_signature_with_raw_key},
    pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime},
};
use webpki::{EndEntityCert, RawPublicKeyEntity};

use super::{
    anchors::TrustAnchors,
    chain::{ChainError, ChainVerifier, Purpose},
    client::server_name,
    names::dns_names,
    provider::provider,
};
use crate::{certificate::ParsedCertificate, observe::UpstreamCertificateReason};

/// The name a certificate must have. The common name never counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ExpectedName {
    /// A DNS name, which a wildcard over its first label also matches, or an IP address, which must
    /// be an IP SAN.
    Exact(ServerName<'static>),
    /// DNS names in which each `*` stands for any run of characters, dots and none included.
    /// Compared with the names as they are written: a certificate for `*.a.example` serves the
    /// pattern `*.a.example`.
    Pattern(Box<str>),
}

impl ExpectedName {
    pub(super) fn parse(name: &str) -> Option<ExpectedName> {
        if name.contains('*') {
            return Some(ExpectedName::Pattern(name.to_ascii_lowercase().into()));
        }
        server_name(name).ok().map(ExpectedName::Exact)
    }

    fn is_served_by(&self, leaf: &CertificateDer<'_>) -> bool {
        match self {
            ExpectedName::Exact(name) => EndEntityCert::try_from(leaf)
                .is_ok_and(|leaf| leaf.verify_is_valid_for_subject_name(name).is_ok()),
            ExpectedName::Pattern(pattern) => ParsedCertificate::from_der(leaf)
                .is_ok_and(|leaf| dns_names(&leaf).iter().any(|name| glob_match(pattern, name))),
        }
    }
}

impl fmt::Display for ExpectedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExpectedName::Exact(name) => f.write_str(&name.to_str()),
            ExpectedName::Pattern(pattern) => f.write_str(pattern),
        }
    }
}

/// Whether a text matches a pattern in which `*` is any run of characters. Takes at most the
/// product of both lengths: only the last star reached ever has to grow.
fn glob_match(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // The position of the last star, and the end of its run.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(literal) if text.get(t) == Some(literal) => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, end)) = star else {
                    return false;
                };
                star = Some((at, end + 1));
                p = at + 1;
                t = end + 1;
            }
        }
    }
    pattern.iter().skip(p).all(|byte| *byte == b'*')
}

/// Verifies the certificate of an upstream. The proof of possession of the key is always verified.
#[derive(Debug)]
pub(super) struct UpstreamVerifier {
    /// `None` accepts any certificate.
    rules: Option<(ChainVerifier, ExpectedName)>,
}

impl UpstreamVerifier {
    pub(super) fn new(anchors: Arc<TrustAnchors>, expected: ExpectedName) -> UpstreamVerifier {
        let chain = ChainVerifier::new(anchors, Purpose::ServerAuth, 0);
        UpstreamVerifier { rules: Some((chain, expected)) }
    }

    /// For `tls_skip_verify`.
    pub(super) fn accept_any() -> UpstreamVerifier {
        UpstreamVerifier { rules: None }
    }
}

impl ServerCertVerifier for UpstreamVerifier {
    /// The expected name is our own, since SNI cannot express patterns.
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some((chain, expected)) = &self.rules else {
            return Ok(ServerCertVerified::assertion());
        };
        let refused = |reason, detail: String| {
            UpstreamCertificateError::new(reason, detail, expected, end_entity)
        };
        chain
            .verify(end_entity, intermediates, now)
            .map_err(|refusal| refusal.error)
            .map_err(|error| refused(UpstreamCertificateReason::from(&error), error.to_string()))?;
        if !expected.is_served_by(end_entity) {
            let detail = "it is for another name".to_owned();
            return Err(refused(UpstreamCertificateReason::Name, detail).into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &provider().signature_verification_algorithms)
            .or_else(|error| {
                self.verify_by_key_alone(message, cert, dss, error, ProtocolVersion::TLSv1_2)
            })
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &provider().signature_verification_algorithms)
            .or_else(|error| {
                self.verify_by_key_alone(message, cert, dss, error, ProtocolVersion::TLSv1_3)
            })
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

impl UpstreamVerifier {
    /// If any certificate is accepted, the proof of possession needs only its key: webpki would
    /// refuse to parse e.g. X.509 version 1.
    fn verify_by_key_alone(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
        error: Error,
        version: ProtocolVersion,
    ) -> Result<HandshakeSignatureValid, Error> {
        if self.rules.is_some() || !matches!(error, Error::InvalidCertificate(_)) {
            return Err(error);
        }
        let Ok(parsed) = ParsedCertificate::from_der(cert) else {
            return Err(error);
        };
        let public_key = SubjectPublicKeyInfoDer::from(parsed.public_key().raw);
        let algorithms = &provider().signature_verification_algorithms;
        if version == ProtocolVersion::TLSv1_3 {
            return verify_tls13_signature_with_raw_key(message, &public_key, dss, algorithms);
        }
        let key = RawPublicKeyEntity::try_from(&public_key);
        let key = key.map_err(|_| CertificateError::BadEncoding)?;
        let of_scheme = algorithms.mapping.iter().find(|(scheme, _)| *scheme == dss.scheme);
        // A TLS 1.2 scheme names no curve, so every curve is tried.
        let verified = of_scheme.is_some_and(|(_, algorithms)| {
            algorithms
                .iter()
                .any(|algorithm| key.verify_signature(*algorithm, message, dss.signature()).is_ok())
        });
        if verified {
            Ok(HandshakeSignatureValid::assertion())
        } else {
            Err(CertificateError::BadSignature.into())
        }
    }
}

/// A rejected upstream certificate, with everything needed to diagnose it. rustls wraps it in its
/// own error; [`UpstreamCertificateError::find`] unwraps it. The upstream sees the alert
/// certificate_unknown.
#[derive(Debug, thiserror::Error)]
#[error(
    "the upstream's certificate is refused: {detail}; expected the name {expected}, it names {}; \
     issued by \"{issuer}\"",
    list(.names)
)]
pub(crate) struct UpstreamCertificateError {
    /// Its label in the metrics.
    pub(crate) reason: UpstreamCertificateReason,
    detail: String,
    /// The expected name.
    pub expected: String,
    /// The names in it, like `DNS:a.example`.
    pub names: Vec<String>,
    /// Its issuer, in RFC 4514 form.
    pub issuer: String,
}

impl UpstreamCertificateError {
    /// The error inside a handshake's error, if the certificate was the reason.
    pub(crate) fn find(error: &Error) -> Option<&UpstreamCertificateError> {
        match error {
            Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => {
                inner.downcast_ref()
            }
            _ => None,
        }
    }

    fn new(
        reason: UpstreamCertificateReason,
        detail: String,
        expected: &ExpectedName,
        leaf: &CertificateDer<'_>,
    ) -> UpstreamCertificateError {
        let (names, issuer) = match ParsedCertificate::from_der(leaf) {
            Ok(parsed) => (parsed.alt_name_texts(), parsed.issuer()),
            Err(_) => (Vec::new(), "(unreadable)".to_owned()),
        };
        UpstreamCertificateError { reason, detail, expected: expected.to_string(), names, issuer }
    }
}

impl From<UpstreamCertificateError> for Error {
    fn from(error: UpstreamCertificateError) -> Self {
        CertificateError::Other(OtherError(Arc::new(error))).into()
    }
}

/// Some certificates have hundreds of names.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 10;
    match names.len() {
        0 => "nothing".to_owned(),
        1..=SHOWN => names.join(", "),
        count => {
            let shown: Vec<_> = names.iter().take(SHOWN).map(String::as_str).collect();
            format!("{} and {} more", shown.join(", "), count - SHOWN)
        }
    }
}

impl From<&ChainError> for UpstreamCertificateReason {
    fn from(error: &ChainError) -> Self {
        match error {
            ChainError::UnknownIssuer
            | ChainError::ForeignSignature
            | ChainError::TooManySignatures
            | ChainError::TooDeep { .. } => UpstreamCertificateReason::Untrusted,
            ChainError::Expired { .. } => UpstreamCertificateReason::Expired,
            ChainError::NotYetValid { .. } => UpstreamCertificateReason::NotYetValid,
            ChainError::Purpose | ChainError::MayNotSign | ChainError::IssuerMayNotSign => {
                UpstreamCertificateReason::Purpose
            }
            ChainError::NameConstraints(_)
            | ChainError::Malformed(_)
            | ChainError::VersionOne
            | ChainError::CriticalExtension
            | ChainError::Key(_)
            | ChainError::IssuerKey { .. }
            | ChainError::SignatureAlgorithm(_)
            | ChainError::Revocation(_)
            | ChainError::NameNotAllowed
            | ChainError::Other(_) => UpstreamCertificateReason::Unusable,
        }
    }
}

#[cfg(test)]
mod tests;
