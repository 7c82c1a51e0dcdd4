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
    session::Session,
    trust::ClientTrust,
    validity::{Validity, seconds},
};
use crate::certificate::{self, ParsedCertificate};

/// Asks every client for a certificate. That it holds the key is verified in any case.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    /// Refuses the handshake without a certificate that this finds good. `None` takes whatever can
    /// be read, and clients without one.
    judge: Option<Arc<ClientTrust>>,
    /// Names of issuers, by which clients find the certificate to present.
    hints: Vec<DistinguishedName>,
}

impl ClientVerifier {
    /// Judges in the handshake.
    pub(super) fn judging(trust: Arc<ClientTrust>) -> ClientVerifier {
        ClientVerifier { hints: trust.subjects().to_vec(), judge: Some(trust) }
    }

    /// Leaves it to each request to judge by one of these.
    pub(super) fn accepting(trusts: &[Arc<ClientTrust>]) -> ClientVerifier {
        let mut known: HashSet<&[u8]> = HashSet::new();
        let mut hints = Vec::new();
        for subject in trusts.iter().flat_map(|trust| trust.subjects()) {
            if known.insert(subject.as_ref()) {
                hints.push(subject.clone());
            }
        }
        ClientVerifier { judge: None, hints }
    }

    /// How long the session may count on what was presented: in the policy modes on the leaf, of
    /// which alone it is known here that it will matter.
    fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Validity, ChainError> {
        match &self.judge {
            Some(trust) => Ok(trust.judge(end_entity, intermediates, now)?.validity),
            None => readable(end_entity),
        }
    }
}

/// What webpki cannot read, rustls cannot check the possession of.
fn readable(end_entity: &CertificateDer<'_>) -> Result<Validity, ChainError> {
    EndEntityCert::try_from(end_entity)?;
    let parsed = certificate::parse(end_entity).map_err(|_| webpki::Error::BadDer)?;
    Ok(parsed.validity().into())
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.judge.is_some()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    /// Leaves in the connection's context how long the certificate holds, for its tickets, or why
    /// it was refused, for the log.
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.check(end_entity, intermediates, now) {
            Ok(validity) => {
                let session =
                    Session { authenticated_at_s: seconds(now), client_validity: Some(validity) };
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
