//! Client certificates in the handshake.

use std::{collections::HashSet, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use webpki::EndEntityCert;

use super::{
    TrustAnchors,
    algorithms::unsupported_key,
    chain::ChainError,
    context::{self, Rejection},
    provider::provider,
    session::TlsSession,
    trust::{ClientTrust, ClientTrustSpec},
    validity::{Validity, seconds},
};
use crate::certificate::{self, ParsedCertificate};

/// Demands of every client a certificate that these anchors trust, in the handshake. Such a handshake
/// needs no context.
pub(crate) fn client_verifier(anchors: Arc<TrustAnchors>) -> Arc<dyn ClientCertVerifier> {
    let trust = ClientTrust::new(&ClientTrustSpec::new(anchors, 0));
    Arc::new(ClientVerifier::verifying(Arc::new(trust)))
}

/// Asks every client for a certificate. Whether the client holds the key is verified for each that
/// counts.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    /// Verifies the certificate in the handshake, which fails without a good one. `None` accepts any
    /// certificate, and clients without one; a certificate that cannot be used counts as none.
    trust: Option<Arc<ClientTrust>>,
    /// Names of issuers, by which clients find the certificate to present.
    hints: Vec<DistinguishedName>,
}

impl ClientVerifier {
    /// Verifies in the handshake.
    pub(super) fn verifying(trust: Arc<ClientTrust>) -> ClientVerifier {
        ClientVerifier { hints: trust.subjects().to_vec(), trust: Some(trust) }
    }

    /// Leaves it to each request to verify by one of these.
    pub(super) fn accepting(trusts: &[Arc<ClientTrust>]) -> ClientVerifier {
        let mut known: HashSet<&[u8]> = HashSet::new();
        let mut hints = Vec::new();
        for subject in trusts.iter().flat_map(|trust| trust.subjects()) {
            if known.insert(subject.as_ref()) {
                hints.push(subject.clone());
            }
        }
        ClientVerifier { trust: None, hints }
    }

    /// Verifies the certificate if the handshake demands one. Gives the time during which the session
    /// may rely on it; in the policy modes this is the validity of the leaf: which CA will verify the
    /// chain is not known here.
    fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Validity, ChainError> {
        let Some(trust) = &self.trust else { return usable(end_entity) };
        match trust.verify(end_entity, intermediates, now) {
            // A good chain has a leaf with a usable key, and may be remembered: nothing is parsed again.
            Ok(verified) => Ok(verified.validity),
            Err(refusal) => Err(usable(end_entity).err().unwrap_or(refusal.error)),
        }
    }
}

/// Whether rustls can verify that a client holds the key of this leaf: it reads it with webpki, and
/// ring must have the algorithm of its key.
fn usable(end_entity: &CertificateDer<'_>) -> Result<Validity, ChainError> {
    EndEntityCert::try_from(end_entity)?;
    let parsed = certificate::parse_shallow(end_entity).map_err(|_| webpki::Error::BadDer)?;
    match unsupported_key(parsed.public_key()) {
        Some(key) => Err(ChainError::Key(key)),
        None => Ok(parsed.validity().into()),
    }
}

/// Whether the certificate of the current connection counts as none.
fn is_ignored() -> bool {
    context::current(|context| context.ignored_certificate().is_some()).unwrap_or(false)
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.trust.is_some()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    /// Sets in the connection's context how long the certificate is valid, for its tickets, or why it
    /// was rejected, for the log, or why it counts as none.
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.check(end_entity, intermediates, now) {
            Ok(validity) => {
                let session = TlsSession {
                    authenticated_at_s: seconds(now),
                    client_validity: Some(validity),
                };
                context::current(|context| context.set_session(session));
                Ok(ClientCertVerified::assertion())
            }
            // Requests are answered as those of a client without a certificate. Without a context
            // nobody would know.
            Err(error) if self.trust.is_none() => {
                let noted = context::current(|context| context.ignore_certificate(error.clone()));
                noted.map_or_else(
                    || Err(CertificateError::from(error).into()),
                    |()| Ok(ClientCertVerified::assertion()),
                )
            }
            Err(error) => {
                let rejection = Rejection {
                    reason: rejection(end_entity, &error),
                    certificate: end_entity.clone().into_owned(),
                };
                context::current(|context| context.set_client_rejection(rejection));
                Err(CertificateError::from(error).into())
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if is_ignored() {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify_tls12_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if is_ignored() {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify_tls13_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

fn rejection(end_entity: &CertificateDer<'_>, error: &ChainError) -> String {
    match ParsedCertificate::from_der(end_entity) {
        Ok(parsed) => format!(
            "client certificate \"{}\" (issued by \"{}\") refused: {error}",
            parsed.subject(),
            parsed.issuer()
        ),
        Err(_) => format!("client certificate refused: {error}"),
    }
}
