//! TLS towards upstreams.

mod absent_certificate;

use std::sync::Arc;

use absent_certificate::AbsentClientCertificate;
use rustls::{
    AlertDescription, ClientConfig, Error,
    client::{ResolvesClientCert, Resumption, danger::ServerCertVerifier},
    pki_types::ServerName,
    sign::SingleCertAndKey,
    time_provider::{DefaultTimeProvider, TimeProvider},
};

use super::{
    material::Digest,
    provider::provider,
    spec::UpstreamTlsSpec,
    upstream_verify::{ExpectedName, UpstreamVerifier},
};

/// Number of sessions kept: rustls's number for one server name, since a configuration has one.
const SESSIONS: usize = 8;

/// TLS towards an upstream, ready for use by one worker: it contains its sessions, behind a lock
/// that would be contended if shared. It is kept across reloads while its [`key`](UpstreamTls::key)
/// is the same.
#[derive(Debug, Clone)]
pub(crate) struct UpstreamTls {
    /// In rustls's form.
    pub config: Arc<ClientConfig>,
    /// Sent as SNI if it is a DNS name. The name expected in the certificate is in `config`.
    pub server_name: ServerName<'static>,
    /// In the place of a client certificate; `None` if there is one.
    absent: Option<Arc<AbsentClientCertificate>>,
}

/// An invalid TLS specification of an upstream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamTlsError {
    /// Neither a DNS name nor an IP address nor, where allowed, a pattern.
    #[error("\"{0}\" is neither a DNS name nor an IP address")]
    Name(Box<str>),
    /// rustls rejects it.
    #[error(transparent)]
    Tls(#[from] Error),
}

impl UpstreamTls {
    /// Compiles what is configured.
    ///
    /// # Errors
    ///
    /// If a name is invalid.
    pub(crate) fn new(spec: &UpstreamTlsSpec) -> Result<UpstreamTls, UpstreamTlsError> {
        UpstreamTls::with_clock(spec, Arc::new(DefaultTimeProvider))
    }

    /// Digest of everything that connections must have in common to be reused: names, anchors,
    /// client certificate, verification, protocols.
    pub(crate) fn key(spec: &UpstreamTlsSpec) -> [u8; 32] {
        let UpstreamTlsSpec { sni, verify_name, skip_verify, anchors, identity, offer_h2 } = spec;
        let mut digest = Digest::default();
        digest.field(sni.as_bytes());
        digest.field(verify_name.as_bytes());
        digest.field(&[u8::from(*skip_verify), u8::from(*offer_h2)]);
        digest.field(&anchors.digest);
        digest.field(identity.as_ref().map_or(&[], |identity| identity.digest.as_slice()));
        digest.finish()
    }

    pub(super) fn with_clock(
        spec: &UpstreamTlsSpec,
        clock: Arc<dyn TimeProvider>,
    ) -> Result<UpstreamTls, UpstreamTlsError> {
        let server_name = server_name(&spec.sni)?;
        let builder = ClientConfig::builder_with_details(Arc::clone(provider()), clock)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .dangerous()
            .with_custom_certificate_verifier(verifier(spec)?);
        let absent = spec.identity.is_none().then(Arc::<AbsentClientCertificate>::default);
        let certificate: Arc<dyn ResolvesClientCert> = match &spec.identity {
            Some(identity) => Arc::new(SingleCertAndKey::from(Arc::clone(&identity.certified))),
            None => absent.clone().unwrap_or_default(),
        };
        let mut config = builder.with_client_cert_resolver(certificate);
        config.alpn_protocols = alpn_protocols(spec.offer_h2);
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        Ok(UpstreamTls { config: Arc::new(config), server_name, absent })
    }

    /// What an alert of the upstream says of our client certificate, or of its absence; `None` if it may
    /// have another reason.
    pub(crate) fn certificate_refusal(&self, error: &Error) -> Option<&'static str> {
        let Error::AlertReceived(alert) = error else { return None };
        match &self.absent {
            Some(absent) if absent.was_asked() && is_about_absence(*alert) => Some(
                "the upstream asks for a client certificate, and this route names none \
                 (tls_client_cert_file)",
            ),
            None if is_about_certificate(*alert) => {
                Some("the upstream refused our client certificate (tls_client_cert_file)")
            }
            _ => None,
        }
    }
}

/// The alerts of servers that got no certificate: RFC 8446 section 4.4.2.4, RFC 5246 section 7.4.6, and
/// Go's for TLS 1.2.
fn is_about_absence(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::CertificateRequired
            | AlertDescription::HandshakeFailure
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::AccessDenied
    )
}

fn is_about_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateRequired
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
    )
}

fn verifier(spec: &UpstreamTlsSpec) -> Result<Arc<dyn ServerCertVerifier>, UpstreamTlsError> {
    if spec.skip_verify {
        return Ok(Arc::new(UpstreamVerifier::accept_any()));
    }
    let expected = ExpectedName::parse(&spec.verify_name)
        .ok_or_else(|| UpstreamTlsError::Name(spec.verify_name.clone()))?;
    Ok(Arc::new(UpstreamVerifier::new(Arc::clone(&spec.anchors), expected)))
}

/// A DNS name, or an IP address with or without brackets and zone.
pub(super) fn server_name(name: &str) -> Result<ServerName<'static>, UpstreamTlsError> {
    let host = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    let host = match host.split_once('%') {
        Some((address, _zone)) => address,
        None => host,
    };
    let parsed = ServerName::try_from(host.to_owned());
    parsed.map_err(|_| UpstreamTlsError::Name(name.into()))
}

fn alpn_protocols(offer_h2: bool) -> Vec<Vec<u8>> {
    let protocols: &[&[u8]] = if offer_h2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
    protocols.iter().map(|protocol| protocol.to_vec()).collect()
}

#[cfg(test)]
mod tests;
