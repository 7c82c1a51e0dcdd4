//! The server's share of handshakes, and tickets. TLS 1.3 with AES-128-GCM, X25519 and ECDSA on
//! P-256, in memory.

use std::{cell::RefCell, hint::black_box, rc::Rc, sync::Arc, time::Duration};

use portcullis::facade::tls::{
    CertificateWithKey, ClientAuthMode, ClientAuthSpec, ClientTrust, ClientTrustSpec, Codec,
    ConnectionContext, ServerTls, ServerTlsSpec, TicketKeys, TrustAnchors, with_context,
};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, SignatureAlgorithm,
};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConfig, ServerConnection,
    client::Resumption,
    pki_types::{CertificateDer, ServerName, UnixTime},
    sign::SingleCertAndKey,
};

use super::{Meter, Work};

const NAME: &str = "app.example.com";

pub(super) fn works() -> Vec<Work> {
    let mut works = vec![
        open_handshake(),
        first_client("handshake, full, a client certificate for the first time", P256),
        returning_client("handshake, full, a client certificate known to the worker", P256),
        resumed("handshake, resumed, of a client with a certificate"),
        first_client("handshake, full, first time, under a root on P-384", P384),
        returning_client("handshake, full, known, under a root on P-384", P384),
    ];
    works.extend(tickets());
    works.extend(hostile_chains());
    works
}

const P256: &SignatureAlgorithm = &PKCS_ECDSA_P256_SHA256;
const P384: &SignatureAlgorithm = &PKCS_ECDSA_P384_SHA384;

/// Handshakes differ by some thousands of instructions, as their random numbers do.
const HANDSHAKES: u32 = 16;

fn open_handshake() -> Work {
    let (ca, open) = (Ca::new(P256), ClientAuthSpec::default());
    let server = ca.server(open);
    let client = Arc::new(ca.client(None, Resumption::disabled()));
    Work::new("handshake, full, no client certificate", HANDSHAKES, move |meter| {
        for _ in 0..HANDSHAKES {
            handshake(meter, &client, &server, HandshakeKind::Full);
        }
    })
}

/// With a certificate that nobody has seen before.
fn first_client(name: &'static str, root: &'static SignatureAlgorithm) -> Work {
    let ca = Ca::new(root);
    let server = ca.server(ca.demanded());
    Work::new(name, HANDSHAKES, move |meter| {
        for _ in 0..HANDSHAKES {
            let client = Arc::new(ca.client(Some(ca.client_identity()), Resumption::disabled()));
            handshake(meter, &client, &server, HandshakeKind::Full);
        }
    })
}

fn returning_client(name: &'static str, root: &'static SignatureAlgorithm) -> Work {
    let ca = Ca::new(root);
    let server = ca.server(ca.demanded());
    let client = Arc::new(ca.client(Some(ca.client_identity()), Resumption::disabled()));
    handshake(&mut Nothing, &client, &server, HandshakeKind::Full);
    Work::new(name, HANDSHAKES, move |meter| {
        for _ in 0..HANDSHAKES {
            handshake(meter, &client, &server, HandshakeKind::Full);
        }
    })
}

fn resumed(name: &'static str) -> Work {
    let ca = Ca::new(P256);
    let server = ca.server(ca.demanded());
    let client = Arc::new(ca.client(Some(ca.client_identity()), Resumption::default()));
    handshake(&mut Nothing, &client, &server, HandshakeKind::Full);
    Work::new(name, HANDSHAKES, move |meter| {
        for _ in 0..HANDSHAKES {
            handshake(meter, &client, &server, HandshakeKind::Resumed);
        }
    })
}

/// Of the size that rustls makes for a client with a certificate.
fn tickets() -> [Work; 2] {
    const STATE: [u8; 800] = [7; 800];
    let ca = Ca::new(P256);
    let server = ca.server(ClientAuthSpec::default());
    let context = Rc::new(RefCell::new(ConnectionContext::new(Some(NAME))));
    let seal = {
        let server = Arc::clone(&server);
        move |context: &mut ConnectionContext| {
            with_context(context, || server.ticketer.encrypt(black_box(&STATE)))
        }
    };
    let ticket = seal(&mut context.borrow_mut()).expect("tickets are made");
    let also = Rc::clone(&context);
    [
        Work::repeated("ticket, seal", move |_| {
            assert!(black_box(seal(&mut context.borrow_mut())).is_some());
        }),
        Work::repeated("ticket, open", move |_| {
            let open = || server.ticketer.decrypt(black_box(&ticket));
            let opened = with_context(&mut also.borrow_mut(), open);
            assert_eq!(black_box(opened).as_deref(), Some(&STATE[..]));
        }),
    ]
}

/// Chains that a client makes to cost a verifier time, of an anchor on P-384: nine CAs of one name, each
/// of which may have issued each, and a hundred that the anchor's key has to be tried on.
fn hostile_chains() -> [Work; 2] {
    const CHAINS: u32 = 4;
    let ca = Ca::new(P384);
    let anchors = TrustAnchors::from_pem(ca.pem.as_bytes(), "a benchmark");
    let anchors = Arc::new(anchors.expect("a usable root"));
    let trust = Rc::new(ClientTrust::new(&ClientTrustSpec::new(anchors, 0)));
    let aside = Ca::named("another root", P256);
    let forger = Ca::named("a root", P256);
    let of_one_name = (0..9).map(|_| Ca::named("another root", P256).certificate).collect();
    let forged = (0..100).map(|_| forger.issue_ca("another root")).collect();
    let leaf = aside.client_identity().certified.cert[0].clone();
    let work = move |name, sent: Vec<CertificateDer<'static>>| {
        let (leaf, trust) = (leaf.clone(), Rc::clone(&trust));
        let mut now_s = 1_893_456_000;
        Work::new(name, CHAINS, move |meter| {
            for _ in 0..CHAINS {
                // A refusal is not remembered for an earlier time.
                now_s -= 1;
                let now = UnixTime::since_unix_epoch(Duration::from_secs(now_s));
                meter.measure(&mut || {
                    assert!(black_box(trust.verify(&leaf, black_box(&sent), now)).is_err());
                });
            }
        })
    };
    [
        work("chain refused, of nine CAs of one name", of_one_name),
        work("chain refused, of a hundred CAs with forged signatures", forged),
    ]
}

/// For what is done once before anything is measured.
struct Nothing;

impl Meter for Nothing {
    fn measure(&mut self, part: &mut dyn FnMut()) {
        part();
    }
}

/// One handshake, tickets included, of which only what the server does is measured.
fn handshake(
    meter: &mut dyn Meter,
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
    expected: HandshakeKind,
) {
    let name = ServerName::try_from(NAME).expect("a name");
    let mut client = ClientConnection::new(Arc::clone(client), name).expect("a client");
    let mut context = ConnectionContext::new(Some(NAME));
    let mut accepted = None;
    meter.measure(&mut || accepted = ServerConnection::new(Arc::clone(server)).ok());
    let mut server = accepted.expect("a server");
    while client.wants_write() || server.wants_write() {
        let mut flight = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut flight).expect("memory takes it");
        }
        let mut answer = Vec::new();
        meter.measure(&mut || {
            with_context(&mut context, || serve(&mut server, &flight, &mut answer));
        });
        let mut answer = answer.as_slice();
        while !answer.is_empty() {
            client.read_tls(&mut answer).expect("memory gives it");
            client.process_new_packets().expect("the client is content");
        }
    }
    assert_eq!(server.handshake_kind(), Some(expected));
}

fn serve(server: &mut ServerConnection, mut flight: &[u8], answer: &mut Vec<u8>) {
    while !flight.is_empty() {
        server.read_tls(&mut flight).expect("memory gives it");
        server.process_new_packets().expect("the server is content");
    }
    while server.wants_write() {
        server.write_tls(answer).expect("memory takes it");
    }
}

/// A root that issues everybody's certificates.
struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    certificate: CertificateDer<'static>,
    roots: Arc<RootCertStore>,
}

impl Ca {
    fn new(algorithm: &'static SignatureAlgorithm) -> Ca {
        Ca::named("a root", algorithm)
    }

    fn named(name: &str, algorithm: &'static SignatureAlgorithm) -> Ca {
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let params = ca_params(name);
        let certificate = params.self_signed(&key).expect("a root");
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).expect("a usable root");
        let der = certificate.der().clone();
        let (pem, issuer) = (certificate.pem(), Issuer::new(params, key));
        Ca { issuer, pem, certificate: der, roots: Arc::new(roots) }
    }

    fn issue_ca(&self, name: &str) -> CertificateDer<'static> {
        let key = KeyPair::generate().expect("a key");
        let issued = ca_params(name).signed_by(&key, &self.issuer).expect("a certificate");
        issued.der().clone()
    }

    fn issue(&self, params: &CertificateParams) -> Arc<CertificateWithKey> {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let (chain, key) = (certificate.pem(), key.serialize_pem());
        let identity =
            CertificateWithKey::from_pem(chain.as_bytes(), key.as_bytes(), "a benchmark");
        Arc::new(identity.expect("a usable certificate"))
    }

    fn client_identity(&self) -> Arc<CertificateWithKey> {
        let mut params = params("a client", &["client.example.com"]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(&params)
    }

    /// `reject_connection`.
    fn demanded(&self) -> ClientAuthSpec {
        let anchors = TrustAnchors::from_pem(self.pem.as_bytes(), "a benchmark");
        let anchors = Arc::new(anchors.expect("a usable root"));
        let trust = ClientTrust::new(&ClientTrustSpec::new(anchors, 1));
        ClientAuthSpec { mode: ClientAuthMode::Require(Arc::new(trust)), routes: Vec::new() }
    }

    fn server(&self, client_auth: ClientAuthSpec) -> Arc<ServerConfig> {
        let certificates = vec![self.issue(&params("a server", &[NAME]))];
        let spec = ServerTlsSpec { certificates, client_auth, codec: Codec::Auto };
        let tickets = Arc::new(TicketKeys::generate().expect("randomness"));
        ServerTls::new(&spec, &tickets).expect("a configuration").config(Some(NAME))
    }

    fn client(
        &self,
        identity: Option<Arc<CertificateWithKey>>,
        resumption: Resumption,
    ) -> ClientConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("ring has TLS 1.3")
            .with_root_certificates(Arc::clone(&self.roots));
        let mut config = match identity {
            Some(identity) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(
                Arc::clone(&identity.certified),
            ))),
            None => builder.with_no_client_auth(),
        };
        config.resumption = resumption;
        config
    }
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = params(name, &[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

/// Valid from 2020 to 2040.
fn params(common_name: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().copied().map(String::from).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2040, 1, 1);
    params
}
