//! What a handshake asks of a client, and makes of its certificate, without one: for `portcullis
//! explain`.

use rustls::pki_types::{CertificateDer, UnixTime};
use serde::Serialize;

use super::{
    chain::ChainError,
    client_auth::ClientAuthProfile,
    context::{ConnectionContext, with_context},
    server::{ServerTls, client_verifier},
    trust::ClientTrust,
};
use crate::{certificate::ParsedCertificate, rfc3339::rfc3339_s};

/// A request for a certificate.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct CertificateDemand {
    /// The handshake fails without a valid one.
    pub required: bool,
    /// The CAs that the client is told to have it from; empty if it may be of any.
    pub cas: Vec<ClientCa>,
}

/// A CA of client certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ClientCa {
    /// Its subject (RFC 4514).
    pub subject: String,
    /// Where it was read from.
    pub origin: String,
    /// When it ends (RFC 3339).
    pub not_after: String,
}

/// What a handshake makes of a certificate.
#[derive(Debug)]
pub(crate) enum HandshakeCertificate {
    /// Requests see it.
    Presented,
    /// It counts as none, for this reason.
    Ignored(ChainError),
    /// The handshake fails, for this reason.
    Rejected(String),
}

impl ServerTls {
    /// What a client with this server name, normalised, is asked for; `None` if for nothing.
    pub(crate) fn demand(&self, server_name: Option<&str>) -> Option<CertificateDemand> {
        match self.profile(server_name)? {
            ClientAuthProfile::Open => None,
            ClientAuthProfile::Request(request) => {
                let mut cas: Vec<ClientCa> = Vec::new();
                for ca in request.trusts.iter().flat_map(|trust| cas_of(trust)) {
                    if !cas.contains(&ca) {
                        cas.push(ca);
                    }
                }
                Some(CertificateDemand { required: false, cas })
            }
            ClientAuthProfile::Require(trust) => {
                Some(CertificateDemand { required: true, cas: cas_of(trust) })
            }
        }
    }

    /// What the handshake makes of a chain, leaf first. Possession of the key is assumed.
    pub(crate) fn present(
        &self,
        server_name: Option<&str>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> HandshakeCertificate {
        let (Some(profile), Some((leaf, intermediates))) =
            (self.profile(server_name), chain.split_first())
        else {
            return HandshakeCertificate::Rejected("there is no certificate".to_owned());
        };
        let verifier = client_verifier(profile);
        let mut context = ConnectionContext::new(server_name);
        let verified =
            with_context(&mut context, || verifier.verify_client_cert(leaf, intermediates, now));
        match (verified, context.ignored_certificate(), context.client_rejection()) {
            (_, Some(ignored), _) => HandshakeCertificate::Ignored(ignored.clone()),
            (Ok(_), None, _) => HandshakeCertificate::Presented,
            (Err(_), None, Some(rejection)) => {
                HandshakeCertificate::Rejected(rejection.reason.clone())
            }
            (Err(error), None, None) => HandshakeCertificate::Rejected(error.to_string()),
        }
    }

    fn profile(&self, server_name: Option<&str>) -> Option<&ClientAuthProfile> {
        let client_auth = self.client_auth();
        client_auth.scopes().get(client_auth.scope(server_name))
    }
}

fn cas_of(trust: &ClientTrust) -> Vec<ClientCa> {
    let anchors = trust.anchors();
    let parsed =
        anchors.certificates.iter().filter_map(|der| ParsedCertificate::from_der(der).ok());
    let ca = parsed.map(|ca| ClientCa {
        subject: ca.subject(),
        origin: anchors.origin.clone(),
        not_after: rfc3339_s(ca.validity().not_after.timestamp()).to_string(),
    });
    ca.collect()
}
