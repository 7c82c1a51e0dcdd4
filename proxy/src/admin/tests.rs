//! Over real sockets.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Mutex,
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

/// Serves on a thread of its own until the tests end.
fn start(spec: &AdminSpec) -> (Vec<SocketAddr>, Arc<Metrics>, AccessHandle) {
    let metrics = Arc::new(Metrics::new(2));
    let sockets = Sockets::bind(spec, false).unwrap();
    let access = PreparedAccess::new(spec).unwrap();
    let (orders, _) = crate::control_call::channel(1);
    let server = Server::listen(sockets, access, &metrics, &steering(), orders).unwrap();
    let (addresses, access) = (server.addresses(), server.access());
    thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(server.run())
    });
    (addresses, metrics, access)
}

fn steering() -> Arc<Steering> {
    let rules = Arc::new(SteeringRules::new(&SteeringSpec::default(), 2).unwrap());
    Arc::new(Steering::start(ModeChoice::None, &[], 2, rules).unwrap())
}

fn anywhere() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

fn admin_only() -> AdminSpec {
    AdminSpec { address: Some(anywhere()), metrics: None }
}

fn metrics_only(spec: MetricsListenerSpec) -> AdminSpec {
    AdminSpec { address: None, metrics: Some(spec) }
}

fn plain_metrics() -> MetricsListenerSpec {
    MetricsListenerSpec {
        address: anywhere(),
        basic_auth: None,
        identity: None,
        client_anchors: None,
    }
}

/// The same with a thread that takes orders about sessions, and answers each with this number.
fn start_with_orders(answer: Option<usize>) -> (SocketAddr, Arc<Mutex<Vec<SessionOwner>>>) {
    let spec = admin_only();
    let sockets = Sockets::bind(&spec, false).unwrap();
    let access = PreparedAccess::new(&spec).unwrap();
    let (orders, mut taken) = crate::control_call::channel(1);
    let metrics = Arc::new(Metrics::new(2));
    let server = Server::listen(sockets, access, &metrics, &steering(), orders).unwrap();
    let address = server.addresses()[0];
    let owners = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&owners);
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.spawn(async move {
            while let Some(call) = taken.next().await {
                noted.lock().unwrap().push(call.request.clone());
                call.answer(answer);
            }
        });
        runtime.block_on(server.run())
    });
    (address, owners)
}

#[test]
fn an_order_to_end_sessions_reaches_the_control_thread() {
    let (address, owners) = start_with_orders(Some(3));
    let sent = [SessionOwner::User("a/\u{e9} \"b".into()), SessionOwner::Email("a@b".into())];
    for owner in &sent {
        assert_eq!(status::order_end_of_sessions(address, owner).unwrap().ended, 3);
    }
    assert_eq!(*owners.lock().unwrap(), sent);
    let (address, _) = start_with_orders(None);
    let error = status::order_end_of_sessions(address, &sent[0]).unwrap_err().to_string();
    assert!(error.contains("409") && error.contains("no identity provider"), "{error}");
}

#[test]
fn orders_to_end_sessions_from_browsers_or_in_other_forms_are_refused() {
    let (address, owners) = start_with_orders(Some(3));
    let post = |fields: &str, body: &str| {
        let length = body.len();
        let head =
            format!("POST /sessions/end HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n");
        exchange_plain(address, &format!("{head}{fields}\r\n{body}"))
    };
    let order = r#"{"user": "ann"}"#;
    assert!(post("Origin: http://x\r\n", order).starts_with("HTTP/1.1 403"));
    assert!(post("", "{}").starts_with("HTTP/1.1 400"));
    assert!(post("", &format!("{order}{:4096}", "")).starts_with("HTTP/1.1 400"));
    let get = exchange_plain(address, "GET /sessions/end HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(get.starts_with("HTTP/1.1 405"), "{get}");
    assert_eq!(*owners.lock().unwrap(), []);
    assert!(post("", order).starts_with("HTTP/1.1 200"));
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

const GET_METRICS: &str = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";

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
    let twice = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".repeat(2);
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
fn a_connection_over_the_limit_is_closed_until_another_ends() {
    let (addresses, _, _) = start(&admin_only());
    let mut open: Vec<_> = (0..64).map(|_| TcpStream::connect(addresses[0]).unwrap()).collect();
    let mut beyond = TcpStream::connect(addresses[0]).unwrap();
    assert_eq!(beyond.read_to_end(&mut Vec::new()).unwrap(), 0);
    let response = exchange(&mut open[0], GET_METRICS);
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
}

#[test]
fn the_error_names_an_address_in_use() {
    let (addresses, _, _) = start(&admin_only());
    let spec = AdminSpec { address: Some(addresses[0]), metrics: None };
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
