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
    chain::ChainError,
    context::{self, Rejection},
    provider::provider,
    session::TlsSession,
    trust::ClientTrust,
    validity::{Validity, seconds},
};
use crate::certificate::{self, ParsedCertificate};

/// Asks every client for a certificate. Whether the client holds the key is verified in any case.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    /// Verifies the certificate in the handshake, which fails without a good one. `None` accepts any
    /// certificate that can be read, and clients without one.
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

    /// The time during which the session may rely on the certificate. In the policy modes this is the
    /// validity of the leaf: which CA will verify the chain is not known here.
    fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Validity, ChainError> {
        match &self.trust {
            Some(trust) => Ok(trust.verify(end_entity, intermediates, now)?.validity),
            None => readable(end_entity),
        }
    }
}

/// Reads a leaf with webpki too: rustls verifies the possession of a key through it.
fn readable(end_entity: &CertificateDer<'_>) -> Result<Validity, ChainError> {
    EndEntityCert::try_from(end_entity)?;
    let parsed = certificate::parse(end_entity).map_err(|_| webpki::Error::BadDer)?;
    Ok(parsed.validity().into())
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.trust.is_some()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    /// Sets in the connection's context how long the certificate is valid, for its tickets, or why it
    /// was rejected, for the log.
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
        verify_tls12_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
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
