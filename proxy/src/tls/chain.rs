//! Certificate chains, verified against trust anchors: the part shared by client and upstream
//! verification.

use std::{cell::Cell, sync::Arc};

use rustls::{
    CertificateError, OtherError,
    pki_types::{CertificateDer, UnixTime},
};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};
use x509_parser::{certificate::X509Certificate, extensions::ExtendedKeyUsage};

use super::{
    anchors::TrustAnchors,
    crl::RevocationError,
    issuers::Issuers,
    names,
    provider::provider,
    validity::{Validity, seconds},
};

/// The purpose of a presented certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A client's certificate.
    ClientAuth,
    /// An upstream's certificate.
    ServerAuth,
}

/// A certification path that was verified (RFC 5280 section 6).
#[derive(Debug)]
pub(super) struct CertificationPath {
    /// The time during which the whole path is valid, including the anchor.
    pub(super) validity: Validity,
    /// The leaf's direct issuer; `None` if the leaf itself is an anchor.
    pub(super) issuer: Option<CertificateDer<'static>>,
    /// All issuers; `None` if there are too many to store.
    pub(super) issuers: Option<Issuers>,
}

/// Verifies chains against one set of anchors.
#[derive(Debug)]
pub(super) struct ChainVerifier {
    anchors: Arc<TrustAnchors>,
    purpose: Purpose,
    /// Maximum number of certificates, without the anchor; 0 means no limit.
    max_depth: u32,
}

impl ChainVerifier {
    pub(super) fn new(anchors: Arc<TrustAnchors>, purpose: Purpose, max_depth: u32) -> Self {
        ChainVerifier { anchors, purpose, max_depth }
    }

    /// Verifies that the leaf chains to an anchor, for this purpose and within the maximum depth,
    /// and that every certificate, including the anchor, is valid now.
    pub(super) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<CertificationPath, ChainError> {
        match self.anchors.validity_of(leaf) {
            Some(validity) => {
                let validity = self.verify_anchor_as_leaf(leaf, validity, now)?;
                let issuers = Some(Issuers::default());
                Ok(CertificationPath { validity, issuer: None, issuers })
            }
            None => self.verify_path(leaf, intermediates, now),
        }
    }

    /// webpki rejects a CA certificate as a leaf, and so the self-signed ones that `openssl req
    /// -x509` makes. A leaf that is itself an anchor, byte by byte, needs no path.
    fn verify_anchor_as_leaf(
        &self,
        leaf: &CertificateDer<'_>,
        validity: Validity,
        now: UnixTime,
    ) -> Result<Validity, ChainError> {
        validity.check(now)?;
        let parsed = names::parse(leaf).map_err(|_| webpki::Error::BadDer)?;
        if self.purpose.is_allowed_by(&parsed) { Ok(validity) } else { Err(ChainError::Purpose) }
    }

    fn verify_path(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<CertificationPath, ChainError> {
        let end_entity = EndEntityCert::try_from(leaf)?;
        let too_deep = Cell::new(None);
        let verify_path = |path: &VerifiedPath<'_>| {
            let depth = depth(path);
            if self.max_depth != 0 && depth > self.max_depth {
                too_deep.set(Some(depth));
                return Err(webpki::Error::UnknownIssuer);
            }
            self.anchor_validity(path, now).map(|_| ())
        };
        let path = end_entity
            .verify_for_usage(
                provider().signature_verification_algorithms.all,
                &self.anchors.roots.roots,
                intermediates,
                now,
                self.purpose.key_usage(),
                None,
                Some(&verify_path),
            )
            .map_err(|error| match (error, too_deep.get()) {
                (webpki::Error::UnknownIssuer, Some(depth)) => {
                    ChainError::TooDeep { depth, max_depth: self.max_depth }
                }
                (webpki::Error::CaUsedAsEndEntity, _) if is_self_issued(&end_entity) => {
                    ChainError::UnknownIssuer
                }
                (error, _) => error.into(),
            })?;
        let certificates = path.intermediate_certificates().map(|certificate| certificate.der());
        let validity = std::iter::once(end_entity.der()).chain(certificates).try_fold(
            self.anchor_validity(&path, now)?,
            |validity, certificate| {
                let parsed = names::parse(&certificate).map_err(|_| webpki::Error::BadDer)?;
                Ok::<_, webpki::Error>(validity.intersection(parsed.validity().into()))
            },
        )?;
        let issuers = Issuers::of(&path, intermediates, &self.anchors);
        Ok(CertificationPath { validity, issuer: self.issuer(&path), issuers })
    }

    /// The certificates of stored issuers, for a chain with these intermediates.
    pub(super) fn resolve<'c>(
        &'c self,
        issuers: Issuers,
        intermediates: &'c [CertificateDer<'static>],
    ) -> Option<Vec<&'c CertificateDer<'static>>> {
        issuers.resolve(intermediates, &self.anchors)
    }

    /// The issuer of a path's leaf.
    fn issuer(&self, path: &VerifiedPath<'_>) -> Option<CertificateDer<'static>> {
        match path.intermediate_certificates().next() {
            Some(intermediate) => Some(intermediate.der().into_owned()),
            None => self.anchors.certificate_of(path.anchor()).cloned(),
        }
    }

    /// The validity of a path's anchor; if it was renewed, of the one that is valid longest.
    fn anchor_validity(
        &self,
        path: &VerifiedPath<'_>,
        now: UnixTime,
    ) -> Result<Validity, webpki::Error> {
        let validities = || self.anchors.validities_of(path.anchor());
        let now_s = seconds(now);
        let holding = validities().filter(|validity| validity.contains(now_s));
        match holding.max_by_key(|validity| validity.not_after_s) {
            Some(validity) => Ok(validity),
            None => {
                let validity = validities().next().ok_or(webpki::Error::UnknownIssuer)?;
                validity.check(now).map(|()| validity)
            }
        }
    }
}

impl Purpose {
    fn key_usage(self) -> KeyUsage {
        match self {
            Purpose::ClientAuth => KeyUsage::client_auth(),
            Purpose::ServerAuth => KeyUsage::server_auth(),
        }
    }

    /// RFC 5280, sections 4.2.1.3 and 4.2.1.12: an absent extension allows everything.
    fn is_allowed_by(self, certificate: &X509Certificate<'_>) -> bool {
        let (Ok(key_usage), Ok(extended)) =
            (certificate.key_usage(), certificate.extended_key_usage())
        else {
            return false;
        };
        let names_purpose = |usage: &ExtendedKeyUsage<'_>| match self {
            Purpose::ClientAuth => usage.client_auth,
            Purpose::ServerAuth => usage.server_auth,
        };
        key_usage.is_none_or(|extension| extension.value.digital_signature())
            && extended.is_none_or(|extension| names_purpose(extension.value))
    }
}

/// The certificates of a path without its anchor.
fn depth(path: &VerifiedPath<'_>) -> u32 {
    u32::try_from(path.intermediate_certificates().count()).map_or(u32::MAX, |count| count + 1)
}

fn is_self_issued(certificate: &EndEntityCert<'_>) -> bool {
    certificate.subject() == certificate.issuer()
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
    /// A certificate of the chain has expired.
    #[error("it, or a certificate above it, expired at {} (now {})", not_after.as_secs(), time.as_secs())]
    Expired {
        /// The time of the verification.
        time: UnixTime,
        /// The last moment of its validity.
        not_after: UnixTime,
    },
    /// A certificate of the chain is not valid yet.
    #[error("it, or a certificate above it, is valid from {} (now {})", not_before.as_secs(), time.as_secs())]
    NotYetValid {
        /// The time of the verification.
        time: UnixTime,
        /// The first moment of its validity.
        not_before: UnixTime,
    },
    /// It is for another purpose, e.g. servers.
    #[error("its key usage does not allow this purpose")]
    Purpose,
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
    /// Any other error of webpki.
    #[error("{0}")]
    Other(webpki::Error),
}

impl ChainError {
    /// Whether the result depends on the time.
    pub(crate) fn depends_on_time(&self) -> bool {
        use RevocationError::{NotYetValid, Stale};
        matches!(
            self,
            ChainError::Expired { .. }
                | ChainError::NotYetValid { .. }
                | ChainError::Revocation(Stale { .. } | NotYetValid { .. })
        )
    }
}

impl From<webpki::Error> for ChainError {
    fn from(error: webpki::Error) -> Self {
        use webpki::Error as E;
        match error {
            E::UnknownIssuer
            | E::MaximumPathBuildCallsExceeded
            | E::MaximumPathDepthExceeded
            | E::MaximumSignatureChecksExceeded => ChainError::UnknownIssuer,
            E::InvalidSignatureForPublicKey => ChainError::ForeignSignature,
            E::CertExpired { time, not_after } => ChainError::Expired { time, not_after },
            E::CertNotValidYet { time, not_before } => ChainError::NotYetValid { time, not_before },
            E::RequiredEkuNotFoundContext(_) | E::EmptyEkuExtension => ChainError::Purpose,
            E::UnsupportedCertVersion => ChainError::VersionOne,
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
    /// certificate_revoked (44), unsupported_certificate (43), bad_certificate (42), and
    /// certificate_unknown (46) for what is left; unknown_ca (48) again where a CRL cannot tell.
    fn from(error: ChainError) -> Self {
        match error {
            ChainError::UnknownIssuer
            | ChainError::ForeignSignature
            | ChainError::TooDeep { .. } => CertificateError::UnknownIssuer,
            ChainError::Expired { time, not_after } => {
                CertificateError::ExpiredContext { time, not_after }
            }
            ChainError::NotYetValid { time, not_before } => {
                CertificateError::NotValidYetContext { time, not_before }
            }
            ChainError::Purpose => CertificateError::InvalidPurpose,
            ChainError::Revocation(RevocationError::Revoked) => CertificateError::Revoked,
            ChainError::Revocation(_) => CertificateError::UnknownRevocationStatus,
            ChainError::Malformed(_) => CertificateError::BadEncoding,
            ChainError::NameNotAllowed | ChainError::VersionOne | ChainError::Other(_) => {
                CertificateError::Other(OtherError(Arc::new(error)))
            }
        }
    }
}
