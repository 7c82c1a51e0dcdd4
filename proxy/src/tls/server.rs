//! TLS towards clients: the configuration that a connection gets.

use std::sync::Arc;

use rustls::{
    Error, ServerConfig,
    server::{NoClientAuth, NoServerSessionStorage, danger::ClientCertVerifier},
};

use super::{
    material::Digest,
    provider::provider,
    select::CertificateSelector,
    spec::{Codec, ServerTlsSpec},
    tickets::{TicketKeys, Ticketer},
    trust::ClientTrust,
    verify::ClientVerifier,
};

/// TLS towards clients, ready for use; part of a snapshot.
#[derive(Debug)]
pub struct ServerTls {
    /// One for each client-auth policy, not for each name: there is one policy.
    config: Arc<ServerConfig>,
}

impl ServerTls {
    /// Compiles what is configured.
    ///
    /// # Errors
    ///
    /// Without any certificate.
    pub fn new(spec: &ServerTlsSpec, tickets: &Arc<TicketKeys>) -> Result<ServerTls, Error> {
        let selector = CertificateSelector::new(&spec.certificates)
            .ok_or_else(|| Error::General("no server certificate is configured".to_owned()))?;
        let trust = spec.client_auth.as_ref().map(ClientTrust::new).map(Arc::new);
        let mut config =
            ServerConfig::builder_with_details(Arc::clone(provider()), Arc::clone(tickets.clock()))
                .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
                .with_client_cert_verifier(client_verifier(trust.as_ref()))
                .with_cert_resolver(Arc::new(selector));

        config.ignore_client_order = true;
        config.alpn_protocols = alpn_protocols(spec.codec);
        config.ticketer = Arc::new(Ticketer::new(
            Arc::clone(tickets),
            policy_digest(trust.as_deref(), spec.codec),
            spec.client_auth.is_some(),
        ));
        // A store of TLS 1.2 session IDs would resume what the ticketer refuses.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        // A ticket is used once in TLS 1.3, and browsers open connections in pairs. The second one
        // costs nothing that can be measured.
        config.send_tls13_tickets = 2;
        // 0-RTT can be replayed, and would need a session store.
        config.max_early_data_size = 0;
        Ok(ServerTls { config: Arc::new(config) })
    }

    /// The configuration for a connection whose ClientHello names this server, normalised as by
    /// [`ConnectionContext::server_name`](super::ConnectionContext::server_name).
    pub fn config(&self, _server_name: Option<&str>) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

fn client_verifier(trust: Option<&Arc<ClientTrust>>) -> Arc<dyn ClientCertVerifier> {
    match trust {
        Some(trust) => Arc::new(ClientVerifier::new(Arc::clone(trust))),
        None => Arc::new(NoClientAuth),
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

/// Digest of all that decides who is let in: a ticket made under another does not open.
fn policy_digest(trust: Option<&ClientTrust>, codec: Codec) -> [u8; 32] {
    let mut digest = Digest::default();
    match trust {
        None => digest.field(b"no client certificate"),
        Some(trust) => {
            digest.field(b"reject_connection");
            digest.field(&trust.digest());
        }
    }
    for protocol in alpn_protocols(codec) {
        digest.field(&protocol);
    }
    digest.finish()
}

#[cfg(test)]
mod tests;
