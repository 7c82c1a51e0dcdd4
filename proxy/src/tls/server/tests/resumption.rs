//! Sessions that resume, and sessions that must not.

use rustls::{
    NamedGroup,
    client::{
        ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
        Tls12Resumption, Tls13ClientSessionValue, WebPkiServerVerifier,
    },
    pki_types::ServerName,
};

use super::*;
use crate::tls::testing::DAY_S;

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
fn a_session_of_an_expired_certificate_does_not_resume() {
    for version in VERSIONS {
        let bench = Bench::with_client_auth();
        let issued = bench.root.issue(client_leaf());
        let end_s = issued.params.not_after.unix_timestamp();
        let client = bench.client(version, Some(issued.identity()));
        assert!(expires_at(&bench, &client, end_s));
    }
}

#[test]
fn a_session_ends_with_the_first_expiry_in_its_chain() {
    for version in VERSIONS {
        let client_root = self_signed(ca("client root"));
        let mut params = ca("short-lived intermediate");
        params.not_after = rcgen::date_time_ymd(2031, 1, 1);
        let end_s = params.not_after.unix_timestamp();
        let intermediate = client_root.issue(params);
        let client = intermediate.issue(client_leaf());

        // The intermediate below the anchor, and as the anchor itself.
        for anchors in [client_root.anchors(), intermediate.anchors()] {
            let mut bench = Bench::new();
            bench.demand(anchors, 2);
            let client = bench.client(version, Some(client.identity()));
            assert!(expires_at(&bench, &client, end_s));
        }
    }
}

/// Checks that a session made shortly before this time resumes until then, and that neither it nor
/// a full handshake succeeds after it.
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
    // One configuration for all clients, so that a store in it would be shared.
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
fn a_ticket_that_opens_and_is_not_resumed_leaves_nothing_behind() {
    // Of the second client's suites the server prefers one other than that of the first client's
    // ticket.
    const CHACHA: CipherSuite = CipherSuite::TLS13_CHACHA20_POLY1305_SHA256;
    let suites: [fn(CipherSuite) -> bool; 2] = [|suite| suite == CHACHA, |_| true];
    let bench = Bench::new();
    let store = Resumption::in_memory_sessions(8);
    // A client offers a session only with the very verifier and certificate that it was made with.
    let mut roots = RootCertStore::empty();
    roots.add(bench.root.der.clone()).unwrap();
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider().clone());
    let verifier = verifier.build().unwrap();
    let identity = bench.root.issue(client_leaf()).identity();
    let certificate = Arc::new(SingleCertAndKey::from(Arc::clone(&identity.certified)));
    let [before, after] = suites.map(|offered| {
        let mut provider = rustls::crypto::ring::default_provider();
        provider.cipher_suites.retain(|known| offered(known.suite()));
        let builder = ClientConfig::builder_with_details(provider.into(), TestClock::new());
        let mut client = builder
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone())
            .with_client_cert_resolver(certificate.clone());
        client.resumption = store.clone();
        Arc::new(client)
    });
    assert!(!resumes(&before, &bench.server(), NAME));
    bench.clock.set(NOW_S + 1000);
    let outcome = handshake(&after, &bench.server(), NAME);
    assert_eq!(outcome.kind(), HandshakeKind::Full, "the suite is another");
    let session = outcome.context.session().expect("tickets were made");
    assert_eq!(session.authenticated_at_s, NOW_S + 1000);
}

#[test]
fn a_ticket_without_a_required_certificate_is_rejected() {
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

/// A client that offers every session to every server, as only a hostile client does.
#[derive(Debug)]
struct NamelessStore(ClientSessionMemoryCache);

impl Default for NamelessStore {
    fn default() -> Self {
        NamelessStore(ClientSessionMemoryCache::new(8))
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
