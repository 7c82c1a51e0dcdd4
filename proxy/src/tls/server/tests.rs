//! Handshakes of rustls against rustls.

use std::sync::Mutex;

use rcgen::{ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256};
use rustls::{
    AlertDescription, CipherSuite, ClientConfig, HandshakeKind, NamedGroup, RootCertStore,
    SignatureScheme, SupportedProtocolVersion,
    client::{
        ClientSessionStore, ResolvesClientCert, Resumption, Tls12ClientSessionValue,
        Tls12Resumption, Tls13ClientSessionValue,
    },
    crypto::CryptoProvider,
    pki_types::ServerName,
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};

use super::*;
use crate::tls::{
    anchors::TrustAnchors,
    context::ConnectionContext,
    material::Identity,
    testing::{
        DAY_S, Issued, NOW_S, Outcome, TestClock, ca, client_leaf, handshake, handshake_as, leaf,
        pem, root, self_signed,
    },
};

const NAME: &str = "a.example";
const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// A server with a certificate for `a.example` and `b.example`, and what is needed to try it.
struct Bench {
    clock: Arc<TestClock>,
    tickets: Arc<TicketKeys>,
    root: Issued,
    spec: ServerTlsSpec,
}

impl Bench {
    fn new() -> Bench {
        let clock = TestClock::new();
        let root = root();
        let server = root.issue(leaf(&[NAME, "b.example"]));
        let spec = ServerTlsSpec {
            certificates: vec![server.identity()],
            client_auth: None,
            codec: Codec::Auto,
        };
        let tickets = TicketKeys::with_clock(Arc::<TestClock>::clone(&clock)).unwrap();
        Bench { clock, tickets: Arc::new(tickets), root, spec }
    }

    /// Demands certificates issued by the root itself.
    fn with_client_auth() -> Bench {
        let mut bench = Bench::new();
        bench.demand(bench.root.anchors(), 1);
        bench
    }

    fn demand(&mut self, anchors: Arc<TrustAnchors>, max_verify_depth: u32) {
        self.spec.client_auth = Some(ClientAuthSpec { anchors, max_verify_depth });
    }

    fn server(&self) -> Arc<ServerConfig> {
        ServerTls::new(&self.spec, &self.tickets).unwrap().config(None)
    }

    fn client(
        &self,
        version: &'static SupportedProtocolVersion,
        identity: Option<Arc<Identity>>,
    ) -> Arc<ClientConfig> {
        Arc::new(self.client_with(provider(), version, identity))
    }

    fn client_with(
        &self,
        provider: &Arc<CryptoProvider>,
        version: &'static SupportedProtocolVersion,
        identity: Option<Arc<Identity>>,
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.der.clone()).unwrap();
        // It offers its sessions for ever: what resumes is for the server to say.
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

    /// How a client with this certificate fares.
    fn present(&self, version: &'static SupportedProtocolVersion, client: &Issued) -> Outcome {
        handshake(&self.client(version, Some(client.identity())), &self.server(), NAME)
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

    // A TLS 1.2 client says by its suites which signatures it takes.
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

#[test]
fn sessions_resume_with_tickets_and_again_after_a_reload() {
    for version in VERSIONS {
        let bench = Bench::with_client_auth();
        let client = bench.client(version, Some(bench.root.issue(client_leaf()).identity()));
        assert!(!resumes(&client, &bench.server(), NAME));
        let outcome = handshake(&client, &bench.server(), NAME);
        assert_eq!(outcome.kind(), HandshakeKind::Resumed);
        assert_eq!(outcome.server.peer_certificates().unwrap().len(), 1);
        assert!(outcome.context.session().unwrap().client_validity.is_some());
    }
}

#[test]
fn a_resumed_session_knows_when_it_was_authenticated() {
    for version in VERSIONS {
        let bench = Bench::with_client_auth();
        let client = bench.client(version, Some(bench.root.issue(client_leaf()).identity()));
        let first = handshake(&client, &bench.server(), NAME);
        bench.clock.set(NOW_S + 1000);
        let second = handshake(&client, &bench.server(), NAME);
        assert_eq!(second.kind(), HandshakeKind::Resumed);
        assert_eq!(second.context.session(), first.context.session());
        assert_eq!(second.context.session().unwrap().authenticated_at_s, NOW_S);
    }
}

#[test]
fn no_chain_of_resumptions_lasts_longer_than_a_day() {
    for version in VERSIONS {
        let bench = Bench::with_client_auth();
        let client = bench.client(version, Some(bench.root.issue(client_leaf()).identity()));
        assert!(!resumes(&client, &bench.server(), NAME));
        for hour in 1..24 {
            bench.clock.set(NOW_S + hour * 3600);
            bench.tickets.rotate().unwrap();
            assert!(resumes(&client, &bench.server(), NAME), "after {hour} hours");
        }
        bench.clock.set(NOW_S + DAY_S);
        assert!(!resumes(&client, &bench.server(), NAME), "a full handshake starts anew");
        assert!(resumes(&client, &bench.server(), NAME));
    }
}

#[test]
fn a_session_whose_client_certificate_has_expired_does_not_resume() {
    for version in VERSIONS {
        let bench = Bench::with_client_auth();
        let issued = bench.root.issue(client_leaf());
        let end_s = issued.params.not_after.unix_timestamp();
        let client = bench.client(version, Some(issued.identity()));
        assert!(expires_at(&bench, &client, end_s));
    }
}

#[test]
fn a_session_ends_with_the_certificate_of_its_chain_that_expires_first() {
    for version in VERSIONS {
        let client_root = self_signed(ca("client root"));
        let mut params = ca("short-lived intermediate");
        params.not_after = rcgen::date_time_ymd(2031, 1, 1);
        let end_s = params.not_after.unix_timestamp();
        let intermediate = client_root.issue(params);
        let client = intermediate.issue(client_leaf());

        // The intermediate as one below the anchor, and as the anchor itself.
        for anchors in [client_root.anchors(), intermediate.anchors()] {
            let mut bench = Bench::new();
            bench.demand(anchors, 2);
            let client = bench.client(version, Some(client.identity()));
            assert!(expires_at(&bench, &client, end_s));
        }
    }
}

/// Whether a session made shortly before resumes until then, and neither it nor a full handshake
/// succeeds after.
fn expires_at(bench: &Bench, client: &Arc<ClientConfig>, end_s: i64) -> bool {
    bench.clock.set(end_s - 100);
    assert!(!resumes(client, &bench.server(), NAME));
    bench.clock.set(end_s - 1);
    assert!(resumes(client, &bench.server(), NAME));
    bench.clock.set(end_s + 1);
    let outcome = handshake(client, &bench.server(), NAME);
    outcome.alert_to_client() == AlertDescription::CertificateExpired
}

#[test]
fn a_tls12_session_id_alone_resumes_nothing() {
    let bench = Bench::new();
    let mut client = bench.client_with(provider(), &TLS12, None);
    client.resumption =
        Resumption::in_memory_sessions(8).tls12_resumption(Tls12Resumption::SessionIdOnly);
    let client = Arc::new(client);
    // One configuration for all, so that a store in it would be shared.
    let server = bench.server();
    assert!(!resumes(&client, &server, NAME));
    assert!(!resumes(&client, &server, NAME));
}

#[test]
fn a_ticket_does_not_resume_under_another_server_name() {
    for version in VERSIONS {
        let bench = Bench::new();
        let mut client = bench.client_with(provider(), version, None);
        client.resumption = Resumption::store(Arc::new(NamelessStore::default()));
        let client = Arc::new(client);
        assert!(!resumes(&client, &bench.server(), NAME));
        assert!(resumes(&client, &bench.server(), NAME));
        assert!(!resumes(&client, &bench.server(), "b.example"));
    }
}

#[test]
fn a_ticket_made_without_client_certificates_does_not_open_where_one_is_demanded() {
    for version in VERSIONS {
        let mut bench = Bench::new();
        let client = bench.client(version, None);
        assert!(!resumes(&client, &bench.server(), NAME));
        bench.demand(bench.root.anchors(), 1);
        let outcome = handshake(&client, &bench.server(), NAME);
        assert_eq!(outcome.alert_to_client(), AlertDescription::CertificateRequired);
    }
}

#[test]
fn a_change_of_anchors_depth_or_protocols_ends_all_sessions() {
    type Change = fn(&mut Bench, &Issued);
    let changes: [Change; 4] = [
        |bench, other| bench.demand(other.anchors(), 1),
        |bench, other| {
            let both = TrustAnchors::union(&[&bench.root.anchors(), &other.anchors()]);
            bench.demand(Arc::new(both), 1);
        },
        |bench, _| bench.demand(bench.root.anchors(), 2),
        |bench, _| bench.spec.codec = Codec::Http1,
    ];
    for version in VERSIONS {
        for change in changes {
            let mut bench = Bench::with_client_auth();
            let client = bench.client(version, Some(bench.root.issue(client_leaf()).identity()));
            assert!(!resumes(&client, &bench.server(), NAME));
            assert!(resumes(&client, &bench.server(), NAME));
            change(&mut bench, &self_signed(ca("another root")));
            let kind = handshake(&client, &bench.server(), NAME).server.handshake_kind();
            assert_ne!(kind, Some(HandshakeKind::Resumed));
        }
    }
}

#[test]
fn a_new_server_certificate_ends_no_session() {
    let mut bench = Bench::with_client_auth();
    let client = bench.client(&TLS13, Some(bench.root.issue(client_leaf()).identity()));
    assert!(!resumes(&client, &bench.server(), NAME));
    bench.spec.certificates = vec![bench.root.issue(leaf(&[NAME])).identity()];
    assert!(resumes(&client, &bench.server(), NAME));
}

#[test]
fn keys_of_another_process_open_nothing() {
    for version in VERSIONS {
        let mut bench = Bench::new();
        let client = bench.client(version, None);
        assert!(!resumes(&client, &bench.server(), NAME));
        let clock = Arc::<TestClock>::clone(&bench.clock);
        bench.tickets = Arc::new(TicketKeys::with_clock(clock).unwrap());
        assert!(!resumes(&client, &bench.server(), NAME));
    }
}

#[test]
fn a_good_client_certificate_is_let_in_and_its_session_bounded_by_it() {
    for version in VERSIONS {
        let bench = Bench::with_client_auth();
        let client = bench.root.issue(client_leaf());
        let outcome = bench.present(version, &client);
        assert_eq!(outcome.kind(), HandshakeKind::Full);
        let session = outcome.context.session().unwrap();
        assert_eq!(session.authenticated_at_s, NOW_S);
        let validity = session.client_validity.unwrap();
        assert_eq!(validity.not_before_s, client.params.not_before.unix_timestamp());
        assert_eq!(validity.not_after_s, client.params.not_after.unix_timestamp());
        assert_eq!(outcome.context.client_rejection(), None);
    }
}

/// What the client hears, and what our log says.
fn refusal(bench: &Bench, client: &Issued) -> (AlertDescription, String) {
    let [first, second] = VERSIONS.map(|version| {
        let outcome = bench.present(version, client);
        let rejection = outcome.context.client_rejection().map(String::from);
        (outcome.alert_to_client(), rejection.unwrap())
    });
    assert_eq!(first, second, "TLS 1.2 and 1.3 differ");
    first
}

fn refused_with(bench: &Bench, client: &Issued, alert: AlertDescription, reason: &str) {
    let (got, log) = refusal(bench, client);
    assert_eq!(got, alert, "{log}");
    assert!(log.contains(reason), "{log}");
}

#[test]
fn a_client_without_a_certificate_gets_certificate_required() {
    for version in VERSIONS {
        let bench = Bench::with_client_auth();
        let outcome = handshake(&bench.client(version, None), &bench.server(), NAME);
        assert_eq!(outcome.alert_to_client(), AlertDescription::CertificateRequired);
        assert_eq!(outcome.server_error, Some(Error::NoCertificatesPresented));
    }
}

#[test]
fn an_untrusted_client_certificate_gets_unknown_ca() {
    let bench = Bench::with_client_auth();
    let other = self_signed(ca("another root"));
    let reason = "no trusted certificate has issued it";
    refused_with(&bench, &other.issue(client_leaf()), AlertDescription::UnknownCA, reason);
    refused_with(&bench, &self_signed(client_leaf()), AlertDescription::UnknownCA, reason);
    refused_with(&bench, &other, AlertDescription::UnknownCA, reason);
    // A CA made anew under its old name.
    refused_with(
        &bench,
        &root().issue(client_leaf()),
        AlertDescription::UnknownCA,
        "its signature does not fit",
    );
}

#[test]
fn a_chain_too_deep_gets_unknown_ca_and_the_log_says_how_deep() {
    let mut bench = Bench::with_client_auth();
    let intermediate = bench.root.issue(ca("an intermediate"));
    let client = intermediate.issue(client_leaf());
    let reason = "its chain has 2 certificates below the trusted one, 1 are allowed";
    refused_with(&bench, &client, AlertDescription::UnknownCA, reason);
    for enough in [2, 0] {
        bench.demand(bench.root.anchors(), enough);
        assert_eq!(bench.present(&TLS13, &client).kind(), HandshakeKind::Full);
    }
    // An intermediate is as good an anchor as a root.
    bench.demand(intermediate.anchors(), 1);
    assert_eq!(bench.present(&TLS13, &client).kind(), HandshakeKind::Full);
}

#[test]
fn a_path_short_enough_is_found_beside_one_too_deep() {
    let mut bench = Bench::with_client_auth();
    let intermediate = bench.root.issue(ca("an intermediate"));
    let both = TrustAnchors::union(&[&bench.root.anchors(), &intermediate.anchors()]);
    bench.demand(Arc::new(both), 1);
    let client = intermediate.issue(client_leaf());
    assert_eq!(bench.present(&TLS13, &client).kind(), HandshakeKind::Full);
}

#[test]
fn an_expired_client_certificate_gets_certificate_expired_and_so_does_one_too_young() {
    let bench = Bench::with_client_auth();
    let mut params = client_leaf();
    params.not_after = rcgen::date_time_ymd(2029, 12, 31);
    let expired = bench.root.issue(params);
    refused_with(&bench, &expired, AlertDescription::CertificateExpired, "expired at");
    let mut params = client_leaf();
    params.not_before = rcgen::date_time_ymd(2030, 1, 2);
    let too_young = bench.root.issue(params);
    refused_with(&bench, &too_young, AlertDescription::CertificateExpired, "is valid from");
}

#[test]
fn an_expired_anchor_gets_certificate_expired_unless_it_was_renewed() {
    let mut params = ca("client root");
    params.not_after = rcgen::date_time_ymd(2029, 12, 31);
    let expired = self_signed(params.clone());
    let client = expired.issue(client_leaf());
    let mut bench = Bench::new();
    bench.demand(expired.anchors(), 1);
    refused_with(&bench, &client, AlertDescription::CertificateExpired, "expired at");

    params.not_after = rcgen::date_time_ymd(2035, 1, 1);
    let renewed = params.self_signed(&expired.key).unwrap();
    let both = [pem(&expired.der), pem(renewed.der())].concat();
    bench.demand(Arc::new(TrustAnchors::from_pem(both.as_bytes(), "a test").unwrap()), 1);
    assert_eq!(bench.present(&TLS13, &client).kind(), HandshakeKind::Full);
}

#[test]
fn a_certificate_for_servers_gets_unsupported_certificate() {
    let bench = Bench::with_client_auth();
    let mut params = client_leaf();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let server = bench.root.issue(params.clone());
    refused_with(&bench, &server, AlertDescription::UnsupportedCertificate, "key usage");
    params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
    assert_eq!(bench.present(&TLS13, &bench.root.issue(params)).kind(), HandshakeKind::Full);
    // Without the extension a certificate is good for all.
    assert_eq!(
        bench.present(&TLS13, &bench.root.issue(leaf(&["c.example"]))).kind(),
        HandshakeKind::Full
    );
}

#[test]
fn what_is_no_certificate_gets_bad_certificate() {
    let bench = Bench::with_client_auth();
    let identity = bench.root.issue(client_leaf()).identity();
    let mut certified = CertifiedKey::clone(&identity.certified);
    certified.cert = vec![vec![0x30, 0x03, 0x02, 0x01, 0x00].into()];
    let garbage = Arc::new(Identity {
        certified: Arc::new(certified),
        origin: String::new(),
        digest: [0; 32],
        names: Vec::new(),
        not_after_s: 0,
    });
    for version in VERSIONS {
        let client = bench.client(version, Some(Arc::clone(&garbage)));
        let outcome = handshake(&client, &bench.server(), NAME);
        assert_eq!(outcome.alert_to_client(), AlertDescription::BadCertificate);
        assert!(outcome.context.client_rejection().unwrap().contains("cannot be parsed"));
    }
}

#[test]
fn a_self_signed_certificate_is_let_in_where_it_is_an_anchor_itself() {
    // As `openssl req -x509` makes it.
    let mut params = leaf(&["c.example"]);
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let client = self_signed(params.clone());
    let mut bench = Bench::new();
    bench.demand(client.anchors(), 1);
    for version in VERSIONS {
        let outcome = bench.present(version, &client);
        assert_eq!(outcome.kind(), HandshakeKind::Full);
        assert!(outcome.context.session().unwrap().client_validity.is_some());
    }
    // The same name and key are not the same certificate.
    params.serial_number = Some(77.into());
    let twin = Issued {
        der: params.self_signed(&client.key).unwrap().der().clone(),
        chain_pem: params.self_signed(&client.key).unwrap().pem(),
        key: KeyPair::from_pem(&client.key.serialize_pem()).unwrap(),
        params,
    };
    assert_eq!(refusal(&bench, &twin).0, AlertDescription::UnknownCA);
}

#[test]
fn an_anchor_as_a_client_certificate_is_held_to_its_dates_and_usages() {
    let mut expired = leaf(&["c.example"]);
    expired.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    expired.not_after = rcgen::date_time_ymd(2029, 12, 31);
    let mut server_only = leaf(&["c.example"]);
    server_only.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let mut for_issuing = ca("a root");
    for_issuing.key_usages = vec![KeyUsagePurpose::KeyCertSign];

    for (params, alert) in [
        (expired, AlertDescription::CertificateExpired),
        (server_only, AlertDescription::UnsupportedCertificate),
        (for_issuing, AlertDescription::UnsupportedCertificate),
    ] {
        let client = self_signed(params);
        let mut bench = Bench::new();
        bench.demand(client.anchors(), 1);
        assert_eq!(refusal(&bench, &client).0, alert);
    }
}

#[test]
fn clients_are_told_which_issuers_are_trusted() {
    let bench = Bench::with_client_auth();
    let subject = crate::tls::names::parse(&bench.root.der).unwrap().subject().as_raw().to_vec();
    for version in VERSIONS {
        let told = Arc::new(HintRecorder::default());
        let mut client = bench.client_with(provider(), version, None);
        client.client_auth_cert_resolver = Arc::<HintRecorder>::clone(&told);
        handshake(&Arc::new(client), &bench.server(), NAME);
        assert_eq!(*told.0.lock().unwrap(), [subject.clone()]);
    }
}

/// A client without a certificate that notes which ones were asked for.
#[derive(Debug, Default)]
struct HintRecorder(Mutex<Vec<Vec<u8>>>);

impl ResolvesClientCert for HintRecorder {
    fn resolve(&self, hints: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        *self.0.lock().unwrap() = hints.iter().map(|hint| hint.to_vec()).collect();
        None
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Offers every session to every server, as only a hostile client does.
#[derive(Debug)]
struct NamelessStore(rustls::client::ClientSessionMemoryCache);

impl Default for NamelessStore {
    fn default() -> Self {
        NamelessStore(rustls::client::ClientSessionMemoryCache::new(8))
    }
}

fn nobody() -> ServerName<'static> {
    ServerName::try_from("nobody.example").unwrap()
}

impl ClientSessionStore for NamelessStore {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.set_tls12_session(nobody(), value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(&nobody())
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.remove_tls12_session(&nobody());
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(nobody(), value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&nobody())
    }
}
