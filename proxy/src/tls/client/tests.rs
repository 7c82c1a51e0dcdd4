//! Handshakes of an upstream's TLS with a server of rustls.

use rcgen::{ExtendedKeyUsagePurpose, IsCa};
use rustls::{
    AlertDescription, DistinguishedName, Error, HandshakeKind, ServerConfig,
    SupportedProtocolVersion,
    crypto::WebPkiSupportedAlgorithms,
    pki_types::{CertificateDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};

use super::*;
use crate::observe::UpstreamCertificateReason as Reason;
use crate::tls::{
    anchors::TrustAnchors,
    material::CertificateWithKey,
    testing::{
        Issued, Outcome, TestClock, ca, client_leaf, handshake, leaf, pem, root, self_signed,
    },
    upstream_verify::UpstreamCertificateError,
};

const NAME: &str = "a.example";
const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

fn spec(anchors: Arc<TrustAnchors>) -> UpstreamTlsSpec {
    UpstreamTlsSpec {
        sni: NAME.into(),
        verify_name: NAME.into(),
        skip_verify: false,
        anchors,
        identity: None,
        offer_h2: true,
    }
}

fn upstream_tls(spec: &UpstreamTlsSpec) -> UpstreamTls {
    UpstreamTls::with_clock(spec, TestClock::new()).unwrap()
}

fn server(version: &'static SupportedProtocolVersion, issued: &Issued) -> ServerConfig {
    ServerConfig::builder_with_details(Arc::clone(provider()), TestClock::new())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(
            &issued.identity().certified,
        ))))
}

/// The outcome of a handshake with an upstream that has this certificate.
fn connect(
    version: &'static SupportedProtocolVersion,
    spec: &UpstreamTlsSpec,
    issued: &Issued,
) -> Outcome {
    let tls = upstream_tls(spec);
    handshake(&tls.config, &Arc::new(server(version, issued)), &tls.server_name.to_str())
}

fn accepted(spec: &UpstreamTlsSpec, issued: &Issued) -> bool {
    let [tls12, tls13] =
        VERSIONS.map(|version| connect(version, spec, issued).client_error.is_none());
    assert_eq!(tls12, tls13);
    tls12
}

/// The kind of rejection, and the whole message.
fn refusal(spec: &UpstreamTlsSpec, issued: &Issued) -> (Reason, String) {
    let [first, second] = VERSIONS.map(|version| {
        let outcome = connect(version, spec, issued);
        assert_eq!(outcome.alert_to_server(), AlertDescription::CertificateUnknown);
        let error = outcome.client_error.unwrap();
        let error = UpstreamCertificateError::find(&error).unwrap();
        (error.reason, error.to_string())
    });
    assert_eq!(first, second, "TLS 1.2 and 1.3 differ");
    first
}

/// Whether a certificate with these names is accepted if `verify_name` is expected.
fn serves(names: &[&str], verify_name: &str) -> bool {
    let root = root();
    let mut spec = spec(root.anchors());
    spec.verify_name = verify_name.into();
    accepted(&spec, &root.issue(leaf(names)))
}

#[test]
fn an_upstream_is_verified_and_its_sessions_resume() {
    for version in VERSIONS {
        let root = root();
        let tls = upstream_tls(&spec(root.anchors()));
        let mut server = server(version, &root.issue(leaf(&[NAME])));
        server.ticketer = rustls::crypto::ring::Ticketer::new().unwrap();
        let server = Arc::new(server);
        assert_eq!(handshake(&tls.config, &server, NAME).kind(), HandshakeKind::Full);
        assert_eq!(handshake(&tls.config, &server, NAME).kind(), HandshakeKind::Resumed);
        // Each worker has its own sessions.
        let other = upstream_tls(&spec(root.anchors()));
        assert_eq!(handshake(&other.config, &server, NAME).kind(), HandshakeKind::Full);
    }
}

#[test]
fn a_dns_name_matches_itself_or_a_wildcard_label() {
    assert!(serves(&[NAME], "a.example"));
    assert!(serves(&["b.example", NAME], "A.Example"));
    assert!(serves(&["*.b.example"], "a.b.example"));
    assert!(!serves(&["*.b.example"], "c.a.b.example"));
    assert!(!serves(&["*.example"], "a.example"), "a wildcard over a whole top-level domain");
    assert!(!serves(&["b.example"], "a.example"));
}

#[test]
fn an_ip_address_is_served_by_an_ip_address_alone() {
    assert!(serves(&["192.0.2.1"], "192.0.2.1"));
    assert!(serves(&["2001:db8::1"], "2001:db8:0:0::1"));
    assert!(serves(&["2001:db8::1"], "[2001:db8::1]"));
    assert!(serves(&["fe80::1"], "fe80::1%eth0"));
    assert!(!serves(&["192.0.2.2"], "192.0.2.1"));
    assert!(!serves(&["*.0.2.1"], "192.0.2.1"));
    assert!(!serves(&["*"], "192.0.2.1"));
}

#[test]
fn a_star_in_the_expected_name_matches_any_characters() {
    assert!(serves(&["a.b.example"], "*.example"));
    assert!(serves(&["web-7.eu.example"], "WEB-*.eu.*"));
    assert!(serves(&["*.example"], "*.example"), "as written");
    assert!(!serves(&["example"], "*.example"));
    assert!(!serves(&["a.example.evil"], "*.example"));
    assert!(!serves(&["192.0.2.1"], "*"));
}

#[test]
fn a_common_name_counts_for_nothing() {
    let root = root();
    let mut params = leaf(&[]);
    params.distinguished_name.push(rcgen::DnType::CommonName, NAME);
    let upstream = root.issue(params);
    let (reason, message) = refusal(&spec(root.anchors()), &upstream);
    assert_eq!(reason, Reason::Name);
    assert!(message.contains("it names nothing"), "{message}");
    let mut pattern = spec(root.anchors());
    pattern.verify_name = "*".into();
    assert!(!accepted(&pattern, &upstream));
}

#[test]
fn sni_is_sent_where_it_is_a_dns_name() {
    let sent = |sni: &str| {
        let root = root();
        let mut spec = spec(root.anchors());
        spec.sni = sni.into();
        connect(&TLS13, &spec, &root.issue(leaf(&[NAME]))).server.server_name().map(String::from)
    };
    assert_eq!(sent("sni.example").as_deref(), Some("sni.example"));
    assert_eq!(sent("192.0.2.1"), None);
}

#[test]
fn a_rejection_names_expected_and_served_names_and_issuer() {
    let root = root();
    let (reason, message) =
        refusal(&spec(root.anchors()), &root.issue(leaf(&["b.example", "192.0.2.1"])));
    assert_eq!(reason, Reason::Name);
    assert_eq!(
        message,
        "the upstream's certificate is refused: it is for another name; expected the name \
         a.example, it names DNS:b.example, IP:192.0.2.1; issued by \"CN=test root\""
    );
}

#[test]
fn each_kind_of_bad_certificate_has_its_reason() {
    let root = root();
    let reason = |params| refusal(&spec(root.anchors()), &root.issue(params)).0;

    let mut expired = leaf(&[NAME]);
    expired.not_after = rcgen::date_time_ymd(2029, 12, 31);
    assert_eq!(reason(expired), Reason::Expired);
    let mut too_young = leaf(&[NAME]);
    too_young.not_before = rcgen::date_time_ymd(2030, 1, 2);
    assert_eq!(reason(too_young), Reason::NotYetValid);
    let mut for_clients = leaf(&[NAME]);
    for_clients.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    assert_eq!(reason(for_clients), Reason::Purpose);

    let other = self_signed(ca("another root"));
    let (untrusted, message) = refusal(&spec(root.anchors()), &other.issue(leaf(&[NAME])));
    assert_eq!(untrusted, Reason::Untrusted);
    assert!(message.contains("issued by \"CN=another root\""), "{message}");
}

#[test]
fn an_expired_root_trusts_nobody() {
    let mut params = ca("upstream root");
    params.not_after = rcgen::date_time_ymd(2029, 12, 31);
    let expired = self_signed(params);
    let upstream = expired.issue(leaf(&[NAME]));
    assert_eq!(refusal(&spec(expired.anchors()), &upstream).0, Reason::Expired);
}

#[test]
fn a_self_signed_upstream_certificate_can_be_an_anchor() {
    let mut params = leaf(&[NAME]);
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let upstream = self_signed(params.clone());
    assert!(accepted(&spec(upstream.anchors()), &upstream));
    assert_eq!(refusal(&spec(root().anchors()), &upstream).0, Reason::Untrusted);

    let mut other_name = spec(upstream.anchors());
    other_name.verify_name = "b.example".into();
    assert_eq!(refusal(&other_name, &upstream).0, Reason::Name);

    params.not_after = rcgen::date_time_ymd(2029, 12, 31);
    let expired = self_signed(params);
    assert_eq!(refusal(&spec(expired.anchors()), &expired).0, Reason::Expired);
}

#[test]
fn skipped_verification_accepts_any_certificate() {
    let mut any = spec(root().anchors());
    any.skip_verify = true;
    let mut expired = leaf(&["b.example"]);
    expired.not_after = rcgen::date_time_ymd(2029, 12, 31);
    assert!(accepted(&any, &self_signed(expired)));
    assert!(accepted(&any, &self_signed(ca("another root"))));

    for version in VERSIONS {
        assert!(serve(version, &any, version_1()).client_error.is_none());
    }
}

#[test]
fn skipping_verification_still_asks_for_proof_of_the_key() {
    let mut any = spec(root().anchors());
    any.skip_verify = true;
    let mut stolen = CertifiedKey::clone(&self_signed(leaf(&[NAME])).identity().certified);
    stolen.cert = vec![self_signed(leaf(&[NAME])).der];
    let mut stolen_version_1 = version_1();
    stolen_version_1.key = Arc::clone(&stolen.key);
    for certified in [stolen, stolen_version_1] {
        for version in VERSIONS {
            let outcome = serve(version, &any, certified.clone());
            assert!(outcome.client_error.is_some());
            assert_eq!(outcome.alert_to_server(), AlertDescription::DecryptError);
        }
    }
}

/// A server with this key and certificate, whether or not they belong together.
fn serve(
    version: &'static SupportedProtocolVersion,
    spec: &UpstreamTlsSpec,
    certified: CertifiedKey,
) -> Outcome {
    let mut server = server(version, &root());
    server.cert_resolver = Arc::new(SingleCertAndKey::from(certified));
    handshake(&upstream_tls(spec).config, &Arc::new(server), NAME)
}

fn version_1() -> CertifiedKey {
    let pem = include_bytes!("../testdata/v1.crt.pem");
    let certificate = crate::tls::material::certificates_from_pem(pem, "a test").unwrap();
    let identity = CertificateWithKey::from_pem(
        include_bytes!("../testdata/p256.crt.pem"),
        include_bytes!("../testdata/p256.sec1.pem"),
        "a test",
    );
    CertifiedKey::new(certificate, Arc::clone(&identity.unwrap().certified.key))
}

#[test]
fn the_client_certificate_is_presented_to_who_asks() {
    for version in VERSIONS {
        let root = root();
        let client = root.issue(client_leaf());
        let mut spec = spec(root.anchors());
        spec.identity = Some(client.identity());
        let tls = upstream_tls(&spec);
        let upstream = root.issue(leaf(&[NAME]));
        let certified = Arc::clone(&upstream.identity().certified);
        let server = ServerConfig::builder_with_details(Arc::clone(provider()), TestClock::new())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_client_cert_verifier(Arc::new(AcceptAnyClient))
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        let outcome = handshake(&tls.config, &Arc::new(server), NAME);
        outcome.kind();
        assert_eq!(outcome.server.peer_certificates().unwrap(), [client.der]);
    }
}

#[test]
fn h2_is_offered_first_where_it_may_be() {
    let protocols = |offer_h2| {
        let mut spec = spec(root().anchors());
        spec.offer_h2 = offer_h2;
        upstream_tls(&spec).config.alpn_protocols.clone()
    };
    assert_eq!(protocols(true), [b"h2".to_vec(), b"http/1.1".to_vec()]);
    assert_eq!(protocols(false), [b"http/1.1".to_vec()]);
}

#[test]
fn what_is_no_name_is_refused_when_configured() {
    for bad in ["", "a b", "a..b", "-", "http://a.example"] {
        let mut by_sni = spec(root().anchors());
        by_sni.sni = bad.into();
        assert!(matches!(UpstreamTls::new(&by_sni), Err(UpstreamTlsError::Name(_))), "{bad}");
        let mut by_name = spec(root().anchors());
        by_name.verify_name = bad.into();
        assert!(matches!(UpstreamTls::new(&by_name), Err(UpstreamTlsError::Name(_))), "{bad}");
    }
}

#[test]
fn the_key_differs_if_connections_must_not_be_shared() {
    let root = root();
    let base = spec(root.anchors());
    let identity = |issued: Issued| Some(issued.identity());
    let mut others: Vec<UpstreamTlsSpec> = vec![base.clone(); 7];
    others[0].sni = "b.example".into();
    others[1].verify_name = "b.example".into();
    others[2].skip_verify = true;
    others[3].offer_h2 = false;
    others[4].identity = identity(root.issue(client_leaf()));
    others[5].identity = identity(root.issue(client_leaf()));
    others[6].anchors = self_signed(ca("another root")).anchors();

    let mut keys: Vec<_> = others.iter().chain([&base]).map(UpstreamTls::key).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 8);
    // The same content, read again, has the same key.
    let again = TrustAnchors::from_pem(pem(&root.der).as_bytes(), "elsewhere").unwrap();
    assert_eq!(UpstreamTls::key(&spec(Arc::new(again))), UpstreamTls::key(&base));
}

#[derive(Debug)]
struct AcceptAnyClient;

impl AcceptAnyClient {
    fn algorithms() -> &'static WebPkiSupportedAlgorithms {
        &provider().signature_verification_algorithms
    }
}

impl ClientCertVerifier for AcceptAnyClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, Self::algorithms())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, Self::algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        Self::algorithms().supported_schemes()
    }
}
