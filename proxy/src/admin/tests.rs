//! Over real sockets.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring::{default_provider, sign::any_supported_type},
    pki_types::{CertificateDer, PrivateKeyDer},
    sign::CertifiedKey,
};

use super::*;
use crate::{
    cli::status,
    observe::Readiness,
    steering::{ModeChoice, SteeringRules, SteeringSpec},
    tls::{CertificateWithKey, TrustAnchors},
};

/// The most connections of a listener.
const CONNECTIONS: usize = 8;

/// Serves on a thread of its own until the tests end.
fn start(spec: &AdminSpec) -> (Vec<SocketAddr>, Arc<Metrics>, AccessHandle) {
    let metrics = Arc::new(Metrics::new(2));
    let sockets = Sockets::bind(spec, false).unwrap();
    let access = PreparedAccess::new(spec).unwrap();
    let server = Server::listen(sockets, access, &metrics, &steering(), CONNECTIONS).unwrap();
    let (addresses, access) = (server.addresses(), server.access());
    thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(server.run())
    });
    (addresses, metrics, access)
}

fn steering() -> Arc<Steering> {
    let rules = Arc::new(SteeringRules::new(&SteeringSpec::default(), 2).unwrap());
    Arc::new(Steering::start(ModeChoice::None, &[], 2, rules, Ok(())).unwrap())
}

fn anywhere() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

fn admin_only() -> AdminSpec {
    AdminSpec { address: Some(anywhere()), hosts: Vec::new(), metrics: None }
}

fn metrics_only(spec: MetricsListenerSpec) -> AdminSpec {
    AdminSpec { address: None, hosts: Vec::new(), metrics: Some(spec) }
}

fn plain_metrics() -> MetricsListenerSpec {
    MetricsListenerSpec {
        address: anywhere(),
        basic_auth: None,
        identity: None,
        client_anchors: None,
    }
}

/// Sends bytes and gives back all that comes.
fn exchange(stream: &mut (impl Read + Write), request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = Vec::new();
    stream.read_to_end(&mut response).unwrap();
    String::from_utf8(response).unwrap()
}

fn exchange_plain(address: SocketAddr, request: &str) -> String {
    exchange(&mut TcpStream::connect(address).unwrap(), request)
}

const GET_METRICS: &str = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[test]
fn status_over_a_socket_is_what_the_metrics_say() {
    let (addresses, metrics, _) = start(&admin_only());
    metrics.set_readiness(Readiness::Ready);
    metrics.worker(1).unwrap().connections_accepted.add(7);
    let view = status::fetch(addresses[0]).unwrap();
    assert_eq!(view.state, Readiness::Ready);
    assert_eq!(view.workers[1].accepted, 7);
    assert_eq!(view.pid, std::process::id());
}

#[test]
fn one_request_is_served_on_a_connection() {
    let (addresses, _, _) = start(&admin_only());
    let twice = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(2);
    let response = exchange_plain(addresses[0], &twice);
    assert_eq!(response.matches("HTTP/1.1 200 OK").count(), 1, "{response}");
    assert!(response.contains("connection: close"), "{response}");
}

#[test]
fn garbage_gets_400_and_a_long_head_431() {
    let (addresses, _, _) = start(&admin_only());
    let response = exchange_plain(addresses[0], "\x16\x03\x01 garbage\r\n\r\n");
    assert!(response.starts_with("HTTP/1.1 400"), "{response}");
    // Not a byte more than is read, or the answer could be lost to a reset.
    let head = format!("{:a<16384}", "GET / HTTP/1.1\r\nHost: x\r\nA: ");
    let response = exchange_plain(addresses[0], &head);
    assert!(response.starts_with("HTTP/1.1 431"), "{response}");
}

#[test]
fn clients_that_send_nothing_starve_no_probe() {
    let (addresses, _, _) = start(&admin_only());
    let silent: Vec<_> = (0..200).map(|_| TcpStream::connect(addresses[0]).unwrap()).collect();
    for _ in 0..5 {
        let response = exchange_plain(addresses[0], GET_METRICS);
        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    }
    // None of them stays: the last ones end with the time for a head.
    for mut silent in silent {
        assert!(matches!(silent.read(&mut [0]), Ok(0) | Err(_)));
    }
}

#[test]
fn clients_that_read_no_response_starve_no_probe() {
    let (addresses, _, _) = start(&admin_only());
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n";
    let unread: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = TcpStream::connect(addresses[0]).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            stream
        })
        .collect();
    for _ in 0..5 {
        assert!(exchange_plain(addresses[0], GET_METRICS).starts_with("HTTP/1.1 200"));
    }
    drop(unread);
}

#[test]
fn a_reload_changes_the_hosts_that_requests_may_name() {
    let (addresses, _, access) = start(&admin_only());
    let request = "GET /healthz HTTP/1.1\r\nHost: admin.internal:9464\r\n\r\n";
    assert!(exchange_plain(addresses[0], request).starts_with("HTTP/1.1 421"));
    let spec = AdminSpec { hosts: vec!["admin.internal".into()], ..admin_only() };
    access.apply(PreparedAccess::new(&spec).unwrap());
    assert!(exchange_plain(addresses[0], request).starts_with("HTTP/1.1 200"));
}

#[test]
fn the_error_names_an_address_in_use() {
    let (addresses, _, _) = start(&admin_only());
    let spec = AdminSpec { address: Some(addresses[0]), ..admin_only() };
    let error = Sockets::bind(&spec, false).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&addresses[0].to_string()));
}

#[test]
fn a_password_is_required_and_a_reload_changes_it() {
    let with = |secret: &str| {
        metrics_only(MetricsListenerSpec {
            basic_auth: Some(Secret(secret.into())),
            ..plain_metrics()
        })
    };
    let (addresses, _, access) = start(&with("u:p"));
    let authorized = "GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Basic dTpw\r\n\r\n";
    let response = exchange_plain(addresses[0], GET_METRICS);
    assert!(response.starts_with("HTTP/1.1 401"), "{response}");
    assert!(response.contains("www-authenticate: Basic realm="), "{response}");
    assert!(exchange_plain(addresses[0], authorized).starts_with("HTTP/1.1 200"));
    access.apply(PreparedAccess::new(&with("u:q")).unwrap());
    assert!(exchange_plain(addresses[0], authorized).starts_with("HTTP/1.1 401"));
}

/// A CA and what it issued.
struct Pki {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    fn new() -> Pki {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Pki { issuer: CertifiedIssuer::self_signed(params, key).unwrap() }
    }

    fn issue(&self, name: &str) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.der().clone(), key.into())
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        Arc::new(roots)
    }

    fn identity(&self) -> Arc<CertificateWithKey> {
        let (certificate, key) = self.issue("localhost");
        let key = any_supported_type(&key).unwrap();
        Arc::new(CertificateWithKey {
            certified: Arc::new(CertifiedKey::new(vec![certificate], key)),
            origin: "test".into(),
            digest: [0; 32],
            files: None,
            names: vec!["localhost".into()],
            not_after_s: 0,
        })
    }

    fn anchors(&self) -> Arc<TrustAnchors> {
        let pem = self.issuer.pem();
        Arc::new(TrustAnchors::from_pem(pem.as_bytes(), "test").unwrap())
    }

    /// Asks over TLS, with a certificate of `client` where there is one.
    fn exchange(&self, address: SocketAddr, client: Option<&Pki>) -> io::Result<String> {
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots());
        let config = match client.map(|pki| pki.issue("client")) {
            Some((chain, key)) => builder.with_client_auth_cert(vec![chain], key).unwrap(),
            None => builder.with_no_client_auth(),
        };
        let name = "localhost".try_into().unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = StreamOwned::new(connection, TcpStream::connect(address)?);
        stream.write_all(GET_METRICS.as_bytes())?;
        let mut response = String::new();
        stream.read_to_string(&mut response)?; // fails where close_notify is missing
        Ok(response)
    }
}

#[test]
fn metrics_are_served_over_tls() {
    let pki = Pki::new();
    let identity = Some(pki.identity());
    let (addresses, _, _) =
        start(&metrics_only(MetricsListenerSpec { identity, ..plain_metrics() }));
    let response = pki.exchange(addresses[0], None).unwrap();
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    assert!(response.contains("portcullis_workers 2"), "{response}");
}

#[test]
fn a_client_ca_admits_only_its_own_clients() {
    let (pki, stranger) = (Pki::new(), Pki::new());
    let (addresses, _, _) = start(&metrics_only(MetricsListenerSpec {
        identity: Some(pki.identity()),
        client_anchors: Some(pki.anchors()),
        ..plain_metrics()
    }));
    assert!(pki.exchange(addresses[0], Some(&pki)).unwrap().starts_with("HTTP/1.1 200"));
    assert!(pki.exchange(addresses[0], None).is_err());
    assert!(pki.exchange(addresses[0], Some(&stranger)).is_err());
}

#[test]
fn a_reload_brings_a_new_certificate() {
    let (old, new) = (Pki::new(), Pki::new());
    let with = |pki: &Pki| {
        metrics_only(MetricsListenerSpec { identity: Some(pki.identity()), ..plain_metrics() })
    };
    let (addresses, _, access) = start(&with(&old));
    assert!(old.exchange(addresses[0], None).is_ok());
    access.apply(PreparedAccess::new(&with(&new)).unwrap());
    assert!(new.exchange(addresses[0], None).is_ok());
    assert!(old.exchange(addresses[0], None).is_err());
}
