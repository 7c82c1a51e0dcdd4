//! The client's side of TLS.

mod identities;
mod unknown;

use std::{net::SocketAddr, path::Path, sync::Arc};

use anyhow::{Context as _, Result};
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, HandshakeKind, RootCertStore,
    client::Resumption,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    version::{TLS12, TLS13},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use self::{identities::Identities, unknown::unknown_certificates};
use crate::{
    arguments::{Arguments, Protocol, TlsVersion},
    tally::Terms,
};

/// A connection to the server.
pub(crate) type Stream = TlsStream<TcpStream>;

/// A client with a certificate, X25519 and AES-128-GCM, so that every server does the same work; it
/// resumes no session.
pub(crate) fn client(arguments: &Arguments) -> Result<ClientConfig> {
    let version = match arguments.tls {
        TlsVersion::Tls12 => &TLS12,
        TlsVersion::Tls13 => &TLS13,
    };
    let provider = Arc::new(provider(arguments.tls));
    let identities = Identities::of(arguments, &provider)?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])?
        .with_root_certificates(roots(&arguments.ca)?)
        .with_client_cert_resolver(Arc::new(identities));
    config.alpn_protocols = match arguments.protocol {
        Protocol::Http1 => vec![b"http/1.1".to_vec()],
        Protocol::Http2 => vec![b"h2".to_vec()],
    };
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// The same client with its own store of tickets for this number of names.
pub(crate) fn resuming(config: &ClientConfig, names: usize) -> Arc<ClientConfig> {
    // The store evicts names before it is full.
    let resumption = Resumption::in_memory_sessions(names.saturating_mul(2).max(4));
    let mut config = config.clone();
    config.resumption = resumption;
    Arc::new(config)
}

/// Connects and completes the handshake.
pub(crate) async fn connect(
    address: SocketAddr,
    name: &ServerName<'static>,
    config: &Arc<ClientConfig>,
) -> Result<(Stream, Terms)> {
    let socket = TcpStream::connect(address).await.context("cannot connect")?;
    socket.set_nodelay(true)?;
    let connector = TlsConnector::from(Arc::clone(config));
    let stream = connector.connect(name.clone(), socket).await.context("no handshake")?;
    let terms = terms(stream.get_ref().1);
    Ok((stream, terms))
}

/// Whether the server agreed to this protocol; a server that sends no ALPN means HTTP/1.1.
pub(crate) fn speaks(stream: &Stream, protocol: Protocol) -> bool {
    match (stream.get_ref().1.alpn_protocol(), protocol) {
        (None | Some(b"http/1.1"), Protocol::Http1) => true,
        (alpn, Protocol::Http2) => alpn == Some(b"h2"),
        _ => false,
    }
}

/// A ClientHello as it is sent.
pub(crate) fn hello(config: &Arc<ClientConfig>, name: &ServerName<'static>) -> Result<Vec<u8>> {
    let mut client = ClientConnection::new(Arc::clone(config), name.clone())?;
    let mut hello = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut hello)?;
    }
    Ok(hello)
}

fn provider(version: TlsVersion) -> CryptoProvider {
    let suites = [
        CipherSuite::TLS13_AES_128_GCM_SHA256,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ];
    let mut provider = ring::default_provider();
    provider.cipher_suites.retain(|suite| suites.contains(&suite.suite()));
    provider.kx_groups = vec![ring::kx_group::X25519];
    if version == TlsVersion::Tls12 {
        // In TLS 1.2 the groups are also the curves of certificates (RFC 8422, section 5.1).
        provider.kx_groups.push(ring::kx_group::SECP256R1);
    }
    provider
}

fn roots(path: &Path) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for root in chain(path)? {
        roots.add(root)?;
    }
    Ok(roots)
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    certificates.with_context(|| format!("no certificates in {}", path.display()))
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(path).with_context(|| format!("no key in {}", path.display()))
}

fn terms(client: &ClientConnection) -> Terms {
    Terms {
        version: client.protocol_version(),
        suite: client.negotiated_cipher_suite().map(|suite| suite.suite()),
        group: client.negotiated_key_exchange_group().map(|group| group.name()),
        resumed: client.handshake_kind() == Some(HandshakeKind::Resumed),
    }
}
