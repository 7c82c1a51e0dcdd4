//! The reasons why a chain is refused.

use std::{fmt, sync::Arc};

use rustls::{CertificateError, OtherError, pki_types::UnixTime};

use super::name_constraints::NameConstraintError;
use crate::rfc3339::rfc3339_s;
use crate::tls::{
    algorithms::{UnsupportedKey, key_name, signature_name},
    crl::RevocationError,
    validity::{Validity, seconds},
};

/// A refusal, and the time for which it holds: until then a new verification gives the same.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The reason.
    pub error: ChainError,
    holds: Validity,
}

impl Refusal {
    /// A refusal of this moment, which holds until a certificate becomes valid, and for ever with
    /// `None`. It does not hold for an earlier time: a clock that was set back asks again.
    pub(in crate::tls) fn new(
        error: ChainError,
        now: UnixTime,
        heals_at_s: Option<i64>,
    ) -> Refusal {
        let not_after_s = heals_at_s.map_or(i64::MAX, |heals_at_s| heals_at_s.saturating_sub(1));
        Refusal { error, holds: Validity { not_before_s: seconds(now), not_after_s } }
    }

    /// Whether a verification at this time would refuse again.
    pub(crate) fn holds_at(&self, now: UnixTime) -> bool {
        self.holds.contains(seconds(now))
    }
}

/// `2026-01-31T23:59:59Z`
fn date(time: UnixTime) -> impl fmt::Display {
    rfc3339_s(seconds(time))
}

/// The reason why a chain was rejected.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ChainError {
    /// No anchor issued it.
    #[error("no trusted CA issued it")]
    UnknownIssuer,
    /// An anchor has its issuer's name, but another key.
    #[error(
        "its signature does not match the key of the trusted certificate with its issuer's \
        name"
    )]
    ForeignSignature,
    /// There are too many certificates between it and the anchor.
    #[error(
        "its chain has {depth} certificates below the trusted one; at most {max_depth} are \
        allowed"
    )]
    TooDeep {
        /// Certificates without the anchor.
        depth: u32,
        /// The maximum.
        max_depth: u32,
    },
    /// Its certificates can be ordered in so many ways that the search was ended.
    #[error(
        "its chain takes more signature checks than are allowed; send only the certificates between it and the CA"
    )]
    TooManySignatures,
    /// A certificate of the chain has expired.
    #[error("it, or a certificate above it, expired at {} (now {})", date(*not_after), date(*time))]
    Expired {
        /// The time of the verification.
        time: UnixTime,
        /// The last moment of its validity.
        not_after: UnixTime,
    },
    /// A certificate of the chain is not valid yet.
    #[error("it, or a certificate above it, is valid from {} (now {})", date(*not_before), date(*time))]
    NotYetValid {
        /// The time of the verification.
        time: UnixTime,
        /// The first moment of its validity.
        not_before: UnixTime,
    },
    /// It is for another purpose, e.g. servers.
    #[error("its key usage does not allow this purpose")]
    Purpose,
    /// Its key usage has no digitalSignature (RFC 8446 section 4.4.2.2).
    #[error("its key usage does not include digitalSignature, which TLS needs")]
    MayNotSign,
    /// The key usage of a CA above it has no keyCertSign (RFC 5280 section 6.1.4 (n)).
    #[error("the key usage of a CA certificate above it does not include keyCertSign")]
    IssuerMayNotSign,
    /// A CA above it may not issue its names.
    #[error("{0}")]
    NameConstraints(#[from] NameConstraintError),
    /// Its issuer has revoked it, or its CRL cannot tell.
    #[error("{0}")]
    Revocation(#[from] RevocationError),
    /// It has no name that `downstream_mtls.match_subject_alt_names` allows.
    #[error("it has no subject alternative name that is allowed")]
    NameNotAllowed,
    /// It is not an X.509 certificate.
    #[error("it cannot be parsed ({0})")]
    Malformed(webpki::Error),
    /// Its version is too old to be verified.
    #[error("it is X.509 version 1; version 3 is required")]
    VersionOne,
    /// It has a critical extension that is not known (RFC 5280 section 4.2).
    #[error("it, or a certificate above it, has a critical extension that is not supported")]
    CriticalExtension,
    /// The client cannot prove that it holds the key, since nothing can be verified with it.
    #[error(
        "no signature can be verified with its key ({0}); use ECDSA P-256 or P-384, Ed25519, or \
         RSA with 2048 to 8192 bits"
    )]
    Key(UnsupportedKey),
    /// It, or a certificate above it, is signed by an algorithm that is not supported.
    #[error(
        "it, or a certificate above it, is signed by an algorithm that is not supported ({0}); \
         let the CA sign with SHA-256 or SHA-384"
    )]
    SignatureAlgorithm(Box<str>),
    /// The key of a CA above it does not suit the algorithm of a signature, or is not supported.
    #[error(
        "the key of a CA certificate above it is not supported for its signatures ({key} for \
         {signature})"
    )]
    IssuerKey {
        /// Its algorithm.
        key: Box<str>,
        /// The algorithm of the signature.
        signature: Box<str>,
    },
    /// Any other error of webpki.
    #[error("{0}")]
    Other(webpki::Error),
}

impl From<webpki::Error> for ChainError {
    fn from(error: webpki::Error) -> Self {
        use webpki::Error as E;
        match error {
            E::UnknownIssuer | E::MaximumPathDepthExceeded => ChainError::UnknownIssuer,
            E::MaximumPathBuildCallsExceeded | E::MaximumSignatureChecksExceeded => {
                ChainError::TooManySignatures
            }
            E::InvalidSignatureForPublicKey => ChainError::ForeignSignature,
            E::CertExpired { time, not_after } => ChainError::Expired { time, not_after },
            E::CertNotValidYet { time, not_before } => ChainError::NotYetValid { time, not_before },
            E::RequiredEkuNotFoundContext(_) | E::EmptyEkuExtension => ChainError::Purpose,
            E::NameConstraintViolation => NameConstraintError::Violated.into(),
            E::MaximumNameConstraintComparisonsExceeded => NameConstraintError::TooMany.into(),
            E::UnsupportedCertVersion => ChainError::VersionOne,
            E::UnsupportedCriticalExtension => ChainError::CriticalExtension,
            E::UnsupportedSignatureAlgorithmContext(context) => {
                let name = signature_name(&context.signature_algorithm_id);
                ChainError::SignatureAlgorithm(name.into())
            }
            E::UnsupportedSignatureAlgorithmForPublicKeyContext(context) => ChainError::IssuerKey {
                key: key_name(&context.public_key_algorithm_id).into(),
                signature: signature_name(&context.signature_algorithm_id).into(),
            },
            E::BadDer
            | E::BadDerTime
            | E::TrailingData(_)
            | E::MalformedExtensions
            | E::ExtensionValueInvalid
            | E::InvalidSerialNumber => ChainError::Malformed(error),
            _ => ChainError::Other(error),
        }
    }
}

impl From<ChainError> for CertificateError {
    /// Chooses the alert by the kind of error: unknown_ca (48) for a chain without a trusted
    /// anchor, also if a CA has a new key under its old name; certificate_expired (45),
    /// certificate_revoked (44), unsupported_certificate (43) for one that is for another use or
    /// whose algorithms are not supported, bad_certificate (42), and certificate_unknown (46) for
    /// what is left; unknown_ca (48) again where a CRL cannot tell.
    fn from(error: ChainError) -> Self {
        match error {
            ChainError::UnknownIssuer
            | ChainError::ForeignSignature
            | ChainError::TooManySignatures
            | ChainError::IssuerMayNotSign
            | ChainError::TooDeep { .. } => CertificateError::UnknownIssuer,
            ChainError::Expired { time, not_after } => {
                CertificateError::ExpiredContext { time, not_after }
            }
            ChainError::NotYetValid { time, not_before } => {
                CertificateError::NotValidYetContext { time, not_before }
            }
            // rustls has no other error for unsupported_certificate.
            ChainError::Purpose
            | ChainError::MayNotSign
            | ChainError::VersionOne
            | ChainError::CriticalExtension
            | ChainError::Key(_)
            | ChainError::IssuerKey { .. }
            | ChainError::SignatureAlgorithm(_) => CertificateError::InvalidPurpose,
            ChainError::Revocation(RevocationError::Revoked) => CertificateError::Revoked,
            ChainError::Revocation(_) => CertificateError::UnknownRevocationStatus,
            ChainError::Malformed(_) => CertificateError::BadEncoding,
            ChainError::NameNotAllowed | ChainError::NameConstraints(_) | ChainError::Other(_) => {
                CertificateError::Other(OtherError(Arc::new(error)))
            }
        }
    }
}
