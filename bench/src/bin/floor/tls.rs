//! rustls alone: TLS 1.3 with AES-128-GCM, X25519 and ECDSA on P-256, in memory.

use std::{
    io::{Read, Write},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, ConnectionCommon, HandshakeKind, RootCertStore,
    ServerConfig, ServerConnection, SideData,
    client::Resumption,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
    server::WebPkiClientVerifier,
    version::TLS13,
};

use super::cpu_time;

const NAME: &str = "localhost";
const HANDSHAKES: usize = 200;

/// The name of each work and its CPU microseconds for one unit.
pub(super) fn costs() -> Result<Vec<(&'static str, f64)>> {
    let pair = Pair::new()?;
    Ok(vec![
        ("full handshake with client certificate, server", pair.handshakes(HandshakeKind::Full)?),
        ("resumed handshake, server", pair.handshakes(HandshakeKind::Resumed)?),
        ("records of 1 KiB, sealed and opened", pair.records(1024, 4_000)?),
        ("records of 64 KiB, sealed and opened", pair.records(64 * 1024, 200)?),
    ])
}

/// The configurations of a client and a server.
struct Pair {
    server: Arc<ServerConfig>,
    /// The client resumes no session.
    client: Arc<ClientConfig>,
    resuming_client: Arc<ClientConfig>,
}

/// A client and a server after their handshake.
struct Connected {
    client: ClientConnection,
    server: ServerConnection,
    /// The CPU time of the server's part of the handshake.
    handshake: Duration,
}

impl Pair {
    fn new() -> Result<Pair> {
        let root_key = KeyPair::generate()?;
        let mut root_params = params("a root")?;
        root_params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = root_params.self_signed(&root_key)?.der().clone();
        let issuer = Issuer::new(root_params, root_key);

        let mut roots = RootCertStore::empty();
        roots.add(root)?;
        let roots = Arc::new(roots);
        let provider = Arc::new(provider());
        let (chain, key) = issue(&issuer)?;
        let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(Arc::clone(&roots))
            .with_client_auth_cert(chain, key)?;
        let resuming_client = Arc::new(client.clone());
        client.resumption = Resumption::disabled();

        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider)).build()?;
        let (chain, key) = issue(&issuer)?;
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)?;
        server.ticketer = ring::Ticketer::new()?;
        Ok(Pair { server: Arc::new(server), client: Arc::new(client), resuming_client })
    }

    /// The CPU microseconds of the server's part of one handshake.
    fn handshakes(&self, kind: HandshakeKind) -> Result<f64> {
        let client = match kind {
            HandshakeKind::Resumed => &self.resuming_client,
            _ => &self.client,
        };
        self.connect(client)?;
        let mut took = Duration::ZERO;
        for _ in 0..HANDSHAKES {
            let connected = self.connect(client)?;
            ensure!(
                connected.server.handshake_kind() == Some(kind),
                "an unexpected kind of \
                handshake"
            );
            took += connected.handshake;
        }
        Ok(took.as_secs_f64() * 1e6 / HANDSHAKES as f64)
    }

    /// The CPU microseconds to seal this number of bytes on one side and open them on the other.
    fn records(&self, bytes: usize, times: usize) -> Result<f64> {
        let mut connected = self.connect(&self.client)?;
        let (mut wire, mut received) = (Vec::new(), vec![0; bytes]);
        let sent = vec![7; bytes];
        connected.server.set_buffer_limit(None);
        let start = cpu_time();
        for _ in 0..times {
            connected.server.writer().write_all(&sent)?;
            wire.clear();
            send(&mut connected.server, &mut wire)?;
            let (mut wire, mut at) = (wire.as_slice(), 0);
            while !wire.is_empty() {
                connected.client.read_tls(&mut wire)?;
                let state = connected.client.process_new_packets()?;
                let until = at + state.plaintext_bytes_to_read();
                let part =
                    received.get_mut(at..until).context("more was received than was sent")?;
                connected.client.reader().read_exact(part)?;
                at = until;
            }
        }
        let took = cpu_time() - start;
        ensure!(received == sent, "the received bytes differ from those sent");
        Ok(took.as_secs_f64() * 1e6 / times as f64)
    }

    fn connect(&self, client: &Arc<ClientConfig>) -> Result<Connected> {
        let name = ServerName::try_from(NAME)?;
        let mut client = ClientConnection::new(Arc::clone(client), name)?;
        let start = cpu_time();
        let mut server = ServerConnection::new(Arc::clone(&self.server))?;
        let mut handshake = cpu_time() - start;
        while client.wants_write() || server.wants_write() {
            let (mut flight, mut answer) = (Vec::new(), Vec::new());
            send(&mut client, &mut flight)?;
            let start = cpu_time();
            receive(&mut server, &flight)?;
            send(&mut server, &mut answer)?;
            handshake += cpu_time() - start;
            receive(&mut client, &answer)?;
        }
        let suite = server.negotiated_cipher_suite().map(|suite| suite.suite());
        ensure!(
            suite == Some(CipherSuite::TLS13_AES_128_GCM_SHA256),
            "an unexpected cipher suite: \
            {suite:?}"
        );
        Ok(Connected { client, server, handshake })
    }
}

fn send<S: SideData>(connection: &mut ConnectionCommon<S>, wire: &mut Vec<u8>) -> Result<()> {
    while connection.wants_write() {
        connection.write_tls(wire)?;
    }
    Ok(())
}

fn receive<S: SideData>(connection: &mut ConnectionCommon<S>, mut wire: &[u8]) -> Result<()> {
    while !wire.is_empty() {
        connection.read_tls(&mut wire)?;
        connection.process_new_packets()?;
    }
    Ok(())
}

/// ring's provider with the one suite and the one group that all works of the benchmark use.
fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![ring::cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![ring::kx_group::X25519],
        ..ring::default_provider()
    }
}

fn issue(
    issuer: &Issuer<'_, KeyPair>,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let key = KeyPair::generate()?;
    let certificate = params("a leaf")?.signed_by(&key, issuer)?;
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    Ok((vec![certificate.der().clone()], key.into()))
}

fn params(common_name: &str) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(vec![NAME.to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, common_name);
    Ok(params)
}
