//! TLS towards clients: the rustls configuration of a connection.

use std::sync::Arc;

use rustls::{
    Error, ServerConfig,
    server::{NoClientAuth, NoServerSessionStorage, danger::ClientCertVerifier},
};

use super::{
    client_auth::{ClientAuth, ClientAuthProfile},
    crl::CrlStore,
    material::{CertificateWithKey, Digest},
    provider::provider,
    select::{CertificateSelector, CertificateStore},
    spec::{Codec, ServerTlsSpec},
    tickets::{TicketKeys, Ticketer},
    verify::ClientVerifier,
};

/// TLS towards clients, ready for use; part of a snapshot.
#[derive(Debug)]
pub struct ServerTls {
    client_auth: Arc<ClientAuth>,
    /// One for each scope of `client_auth`, not for each name.
    configs: Vec<Arc<ServerConfig>>,
}

impl ServerTls {
    /// Compiles what is configured.
    ///
    /// # Errors
    ///
    /// If there is no certificate.
    pub fn new(spec: &ServerTlsSpec, tickets: &Arc<TicketKeys>) -> Result<ServerTls, Error> {
        let store = Arc::new(CertificateStore::new());
        store.replace(selector(&spec.certificates)?);
        ServerTls::with_store(spec, &store, tickets)
    }

    /// The same, with certificates that can be replaced: the owner of the store puts those of
    /// `spec` into it.
    pub(crate) fn with_store(
        spec: &ServerTlsSpec,
        store: &Arc<CertificateStore>,
        tickets: &Arc<TicketKeys>,
    ) -> Result<ServerTls, Error> {
        let client_auth = Arc::new(ClientAuth::new(&spec.client_auth));
        let configs = client_auth
            .scopes()
            .iter()
            .map(|scope| config(scope, spec.codec, store, tickets).map(Arc::new))
            .collect::<Result<_, _>>()?;
        Ok(ServerTls { client_auth, configs })
    }

    /// The configuration for a connection whose ClientHello names this server, normalised as by
    /// [`ConnectionContext::server_name`](super::ConnectionContext::server_name).
    pub fn config(&self, server_name: Option<&str>) -> Arc<ServerConfig> {
        Arc::clone(self.shared_config(server_name))
    }

    /// The same by reference, since all workers share the reference count.
    #[expect(clippy::indexing_slicing, reason = "there is a configuration for each scope")]
    pub(crate) fn shared_config(&self, server_name: Option<&str>) -> &Arc<ServerConfig> {
        &self.configs[self.client_auth.scope(server_name)]
    }

    /// The client authentication of each host.
    pub fn client_auth(&self) -> &Arc<ClientAuth> {
        &self.client_auth
    }
}

/// Arranges certificates for [`CertificateStore::replace`].
///
/// # Errors
///
/// If there is no certificate.
pub(crate) fn selector(
    certificates: &[Arc<CertificateWithKey>],
) -> Result<Arc<CertificateSelector>, Error> {
    let selector = CertificateSelector::new(certificates);
    let none = || Error::General("no server certificate is configured".to_owned());
    Ok(Arc::new(selector.ok_or_else(none)?))
}

fn config(
    scope: &ClientAuthProfile,
    codec: Codec,
    store: &Arc<CertificateStore>,
    tickets: &Arc<TicketKeys>,
) -> Result<ServerConfig, Error> {
    let mut config =
        ServerConfig::builder_with_details(Arc::clone(provider()), Arc::clone(tickets.clock()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_client_cert_verifier(client_verifier(scope))
            .with_cert_resolver(Arc::<CertificateStore>::clone(store));

    config.ignore_client_order = true;
    config.alpn_protocols = alpn_protocols(codec);
    config.ticketer = Arc::new(Ticketer::new(
        Arc::clone(tickets),
        policy_digest(scope, codec),
        crls(scope),
        needs_client_certificate(scope),
    ));
    // A store of TLS 1.2 session IDs would resume sessions that the ticketer rejects.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    // A ticket is used once in TLS 1.3, and browsers open connections in pairs. The second ticket
    // has no measurable cost.
    config.send_tls13_tickets = 2;
    // 0-RTT can be replayed, and would need a session store.
    config.max_early_data_size = 0;
    Ok(config)
}

pub(super) fn client_verifier(scope: &ClientAuthProfile) -> Arc<dyn ClientCertVerifier> {
    match scope {
        ClientAuthProfile::Open => Arc::new(NoClientAuth),
        ClientAuthProfile::Request(request) => Arc::new(ClientVerifier::accepting(&request.trusts)),
        ClientAuthProfile::Require(trust) => Arc::new(ClientVerifier::verifying(Arc::clone(trust))),
    }
}

/// A resumed session asks for no certificate. A client without one gets no ticket where every route
/// needs one, so that it is asked again once it has one.
fn needs_client_certificate(scope: &ClientAuthProfile) -> bool {
    match scope {
        ClientAuthProfile::Open => false,
        ClientAuthProfile::Request(request) => request.always,
        ClientAuthProfile::Require(_) => true,
    }
}

/// The CRLs by which certificates are verified here. All trusts of a configuration share one store.
fn crls(scope: &ClientAuthProfile) -> Option<Arc<CrlStore>> {
    match scope {
        ClientAuthProfile::Open => None,
        ClientAuthProfile::Request(request) => {
            request.trusts.iter().find_map(|trust| trust.crls()).cloned()
        }
        ClientAuthProfile::Require(trust) => trust.crls().cloned(),
    }
}

fn alpn_protocols(codec: Codec) -> Vec<Vec<u8>> {
    let protocols: &[&[u8]] = match codec {
        Codec::Auto => &[b"h2", b"http/1.1", b"http/1.0"],
        Codec::Http1 => &[b"http/1.1", b"http/1.0"],
        Codec::Http2 => &[b"h2"],
    };
    protocols.iter().map(|protocol| protocol.to_vec()).collect()
}

/// Digest of every setting that affects authorization; tickets sealed under another are rejected. The
/// CRLs are not in it: the ticketer adds them, as they change in place.
fn policy_digest(scope: &ClientAuthProfile, codec: Codec) -> [u8; 32] {
    let mut digest = Digest::default();
    match scope {
        ClientAuthProfile::Open => digest.field(b"no client certificate"),
        ClientAuthProfile::Request(request) => {
            digest.field(b"policy");
            digest.field(&[u8::from(request.always)]);
            request.trusts.iter().for_each(|trust| digest.field(&trust.digest()));
        }
        ClientAuthProfile::Require(trust) => {
            digest.field(b"reject_connection");
            digest.field(&trust.digest());
        }
    }
    digest.field(b"ALPN");
    for protocol in alpn_protocols(codec) {
        digest.field(&protocol);
    }
    digest.finish()
}

#[cfg(test)]
mod tests;
