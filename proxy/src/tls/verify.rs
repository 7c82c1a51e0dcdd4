//! Client certificates, judged in the handshake (`reject_connection`).

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};

use super::{
    chain::ChainError,
    context::{self, Rejection},
    names::describe,
    provider::provider,
    session::Session,
    trust::ClientTrust,
    validity::seconds,
};

/// Demands a certificate of every client, and refuses the handshake without a good one.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    trust: Arc<ClientTrust>,
}

impl ClientVerifier {
    pub(super) fn new(trust: Arc<ClientTrust>) -> ClientVerifier {
        ClientVerifier { trust }
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.trust.subjects()
    }

    /// Leaves in the connection's context how long the chain holds, for its tickets, or why it was
    /// refused, for the log.
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.trust.judge(end_entity, intermediates, now) {
            Ok(judged) => {
                let session = Session {
                    authenticated_at_s: seconds(now),
                    client_validity: Some(judged.validity),
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
    match describe(end_entity) {
        Ok(facts) => format!(
            "client certificate \"{}\" (issued by \"{}\") refused: {error}",
            facts.subject, facts.issuer
        ),
        Err(_) => format!("client certificate refused: {error}"),
    }
}
