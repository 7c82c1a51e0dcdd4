//! Handshakes of rustls against rustls.

mod client_certificates;
mod policy_modes;
mod resumption;
mod revocation;

use rcgen::{KeyPair, PKCS_RSA_SHA256};
use rustls::{
    AlertDescription, CipherSuite, ClientConfig, HandshakeKind, RootCertStore,
    SupportedProtocolVersion,
    crypto::CryptoProvider,
    sign::SingleCertAndKey,
    version::{TLS12, TLS13},
};

use super::*;
use crate::route::HostMatch;
use crate::tls::{
    anchors::TrustAnchors,
    context::ConnectionContext,
    material::CertificateWithKey,
    spec::{ClientAuthMode, ClientAuthSpec, RouteClientAuth},
    testing::{
        Issued, NOW_S, TestClock, ca, client_leaf, handshake, handshake_as, leaf, root, self_signed,
    },
    trust::{ClientTrust, ClientTrustSpec},
};

const NAME: &str = "a.example";
const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// A server with a certificate for `a.example` and `b.example`, and what is needed to try it.
struct Bench {
    clock: Arc<TestClock>,
    tickets: Arc<TicketKeys>,
    root: Issued,
    spec: ServerTlsSpec,
    /// The trust set by [`Bench::demand`].
    trust: Option<ClientTrustSpec>,
}

impl Bench {
    fn new() -> Bench {
        let clock = TestClock::new();
        let root = root();
        let server = root.issue(leaf(&[NAME, "b.example"]));
        let spec = ServerTlsSpec {
            certificates: vec![server.identity()],
            client_auth: ClientAuthSpec::default(),
            codec: Codec::Auto,
        };
        let tickets = TicketKeys::with_clock(Arc::<TestClock>::clone(&clock)).unwrap();
        Bench { clock, tickets: Arc::new(tickets), root, spec, trust: None }
    }

    /// Requires certificates issued directly by the root.
    fn with_client_auth() -> Bench {
        let mut bench = Bench::new();
        bench.demand(bench.root.anchors(), 1);
        bench
    }

    fn demand(&mut self, anchors: Arc<TrustAnchors>, max_verify_depth: u32) {
        self.judge_by(ClientTrustSpec::new(anchors, max_verify_depth));
    }

    fn judge_by(&mut self, trust: ClientTrustSpec) {
        self.spec.client_auth.mode = ClientAuthMode::Require(Arc::new(ClientTrust::new(&trust)));
        self.trust = Some(trust);
    }

    /// Asks for certificates of the root, without rejecting any.
    fn asking() -> Bench {
        let mut bench = Bench::new();
        let spec = ClientTrustSpec::new(bench.root.anchors(), 1);
        let trust = Some(Arc::new(ClientTrust::new(&spec)));
        bench.spec.client_auth.routes =
            vec![RouteClientAuth { host: HostMatch::Exact(NAME.into()), looks: true, trust }];
        bench
    }

    fn server(&self) -> Arc<ServerConfig> {
        ServerTls::new(&self.spec, &self.tickets).unwrap().config(Some(NAME))
    }

    fn client(
        &self,
        version: &'static SupportedProtocolVersion,
        identity: Option<Arc<CertificateWithKey>>,
    ) -> Arc<ClientConfig> {
        Arc::new(self.client_with(provider(), version, identity))
    }

    fn client_with(
        &self,
        provider: &Arc<CryptoProvider>,
        version: &'static SupportedProtocolVersion,
        identity: Option<Arc<CertificateWithKey>>,
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.der.clone()).unwrap();
        // It offers its sessions for ever: the server decides which ones resume.
        let builder = ClientConfig::builder_with_details(Arc::clone(provider), TestClock::new())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        match identity {
            Some(identity) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(
                Arc::clone(&identity.certified),
            ))),
            None => builder.with_no_client_auth(),
        }
    }
}

fn resumes(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>, name: &str) -> bool {
    handshake(client, server, name).kind() == HandshakeKind::Resumed
}

#[test]
fn the_certificate_is_chosen_by_the_server_name() {
    let mut bench = Bench::new();
    let other = bench.root.issue(leaf(&["other.example"]));
    bench.spec.certificates.push(other.identity());
    let served = |name| {
        let outcome = handshake(&bench.client(&TLS13, None), &bench.server(), name);
        outcome.kind();
        outcome.client.peer_certificates().unwrap()[0].clone()
    };
    assert_eq!(served("other.example"), other.der);
    assert_ne!(served("b.example"), other.der);
}

#[test]
fn rsa_and_ecdsa_certificates_serve_one_name_side_by_side() {
    let mut bench = Bench::new();
    let rsa_key = KeyPair::from_pkcs8_pem_and_sign_algo(
        include_str!("../testdata/rsa2048.pkcs8.pem"),
        &PKCS_RSA_SHA256,
    );
    let rsa = bench.root.issue_for(leaf(&[NAME]), rsa_key.unwrap());
    bench.spec.certificates.push(rsa.identity());
    let server = bench.server();

    // A TLS 1.2 client states the signatures it accepts by its suites.
    let mut rsa_only = rustls::crypto::ring::default_provider();
    rsa_only
        .cipher_suites
        .retain(|suite| suite.suite() == CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256);
    let rsa_client = Arc::new(bench.client_with(&Arc::new(rsa_only), &TLS12, None));
    let outcome = handshake(&rsa_client, &server, NAME);
    outcome.kind();
    assert_eq!(outcome.client.peer_certificates().unwrap()[0], rsa.der);

    let outcome = handshake(&bench.client(&TLS12, None), &server, NAME);
    outcome.kind();
    assert_ne!(outcome.client.peer_certificates().unwrap()[0], rsa.der);
}

#[test]
fn the_cheapest_suite_is_chosen_against_the_clients_order() {
    let bench = Bench::new();
    let client_first = rustls::crypto::ring::default_provider();
    assert_eq!(client_first.cipher_suites[0].suite(), CipherSuite::TLS13_AES_256_GCM_SHA384);
    let client = Arc::new(bench.client_with(&Arc::new(client_first), &TLS13, None));
    let outcome = handshake(&client, &bench.server(), NAME);
    outcome.kind();
    let suite = outcome.server.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(suite, CipherSuite::TLS13_AES_128_GCM_SHA256);
}

#[test]
fn the_codec_decides_the_protocol() {
    for (codec, offered, expected) in [
        (Codec::Auto, vec!["http/1.1", "h2"], Some("h2")),
        (Codec::Auto, vec!["http/1.1"], Some("http/1.1")),
        (Codec::Auto, vec![], None),
        (Codec::Http1, vec!["h2", "http/1.1"], Some("http/1.1")),
        (Codec::Http2, vec!["h2", "http/1.1"], Some("h2")),
    ] {
        let mut bench = Bench::new();
        bench.spec.codec = codec;
        let mut client = bench.client_with(provider(), &TLS13, None);
        client.alpn_protocols = offered.iter().map(|protocol| protocol.as_bytes().into()).collect();
        let outcome = handshake(&Arc::new(client), &bench.server(), NAME);
        outcome.kind();
        assert_eq!(outcome.server.alpn_protocol(), expected.map(str::as_bytes));
    }
}

#[test]
fn without_a_certificate_there_is_no_server() {
    let mut bench = Bench::new();
    bench.spec.certificates.clear();
    assert!(ServerTls::new(&bench.spec, &bench.tickets).is_err());
}

#[test]
fn a_server_name_read_differently_by_rustls_ends_the_handshake() {
    let bench = Bench::new();
    let (client, server) = (bench.client(&TLS13, None), bench.server());
    for context in [Some("b.example"), None] {
        let outcome = handshake_as(&client, &server, NAME, ConnectionContext::new(context));
        assert_eq!(outcome.alert_to_client(), AlertDescription::AccessDenied);
    }
    // Also where the session would have been resumed.
    assert_eq!(handshake(&client, &server, NAME).kind(), HandshakeKind::Full);
    let context = ConnectionContext::new(Some("b.example"));
    let outcome = handshake_as(&client, &server, NAME, context);
    assert_eq!(outcome.alert_to_client(), AlertDescription::AccessDenied);
    assert!(resumes(&client, &server, NAME));
}

#[test]
fn case_and_trailing_dot_make_no_other_name() {
    let bench = Bench::new();
    let context = ConnectionContext::new(Some("A.Example."));
    let outcome = handshake_as(&bench.client(&TLS13, None), &bench.server(), NAME, context);
    assert_eq!(outcome.kind(), HandshakeKind::Full);
}
