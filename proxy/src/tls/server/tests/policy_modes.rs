//! The policy modes: the handshake asks for certificates and requests verify them.

use rustls::{pki_types::CertificateDer, sign::CertifiedKey};

use super::*;
use crate::tls::testing::{Outcome, der_of};

fn present(
    bench: &Bench,
    version: &'static SupportedProtocolVersion,
    identity: Arc<CertificateWithKey>,
) -> Outcome {
    handshake(&bench.client(version, Some(identity)), &bench.server(), NAME)
}

/// A chain with another chain's key.
fn with_chain(
    chain: Vec<CertificateDer<'static>>,
    key: &CertificateWithKey,
) -> Arc<CertificateWithKey> {
    let mut certified = CertifiedKey::clone(&key.certified);
    certified.cert = chain;
    Arc::new(CertificateWithKey {
        certified: Arc::new(certified),
        origin: String::new(),
        digest: [0; 32],
        files: None,
        names: Vec::new(),
        not_after_s: 0,
    })
}

#[test]
fn any_certificate_that_can_be_read_passes_the_handshake() {
    let bench = Bench::asking();
    let mut expired = client_leaf();
    expired.not_after = rcgen::date_time_ymd(2029, 12, 31);
    let stranger = self_signed(ca("another root"));
    for client in [
        bench.root.issue(client_leaf()),
        bench.root.issue(expired),
        stranger.issue(client_leaf()),
        self_signed(client_leaf()),
        stranger,
    ] {
        for version in VERSIONS {
            let outcome = present(&bench, version, client.identity());
            assert_eq!(outcome.kind(), HandshakeKind::Full);
            assert_eq!(outcome.server.peer_certificates().unwrap()[0], client.der);
        }
    }
}

#[test]
fn a_client_without_a_certificate_passes_too() {
    for version in VERSIONS {
        let bench = Bench::asking();
        let outcome = handshake(&bench.client(version, None), &bench.server(), NAME);
        assert_eq!(outcome.kind(), HandshakeKind::Full);
        assert!(outcome.server.peer_certificates().is_none());
    }
}

#[test]
fn a_certificate_that_is_not_the_clients_own_fails() {
    let bench = Bench::asking();
    let victim = bench.root.issue(client_leaf()).identity();
    let thief = bench.root.issue(client_leaf()).identity();
    for version in VERSIONS {
        let outcome = present(&bench, version, with_chain(victim.certified.cert.clone(), &thief));
        assert_eq!(outcome.alert_to_client(), AlertDescription::DecryptError);
    }
}

/// Keys that ring has not sign through another one here: nobody looks at the signature.
fn unusable(bench: &Bench) -> [(&'static str, Arc<CertificateWithKey>); 4] {
    let identity = bench.root.issue(client_leaf()).identity();
    let of_pem = |pem| with_chain(vec![der_of(pem)], &identity);
    [
        ("cannot be parsed", with_chain(vec![vec![0x30, 3, 2, 1, 0].into()], &identity)),
        ("version 1", of_pem(include_str!("../../testdata/v1.crt.pem"))),
        ("RSA with 1024 bits", of_pem(include_str!("../../testdata/rsa1024.crt.pem"))),
        ("P-521", of_pem(include_str!("../../testdata/p521.crt.pem"))),
    ]
}

#[test]
fn a_certificate_that_cannot_be_used_counts_as_none() {
    let mut bench = Bench::asking();
    // Where some route needs no certificate, sessions without one are resumed.
    let mut open = bench.spec.client_auth.routes[0].clone();
    open.looks = false;
    bench.spec.client_auth.routes.push(open);
    for (reason, identity) in unusable(&bench) {
        for version in VERSIONS {
            let client = bench.client(version, Some(Arc::clone(&identity)));
            let outcome = handshake(&client, &bench.server(), NAME);
            assert_eq!(outcome.kind(), HandshakeKind::Full);
            let ignored = outcome.context.ignored_certificate().unwrap().to_string();
            assert!(ignored.contains(reason), "{ignored}");
            assert!(!resumes(&client, &bench.server(), NAME), "its ticket would hold it as proven");
        }
    }
}

#[test]
fn a_certificate_that_cannot_be_used_is_refused_where_one_is_required() {
    let mut bench = Bench::asking();
    bench.demand(bench.root.anchors(), 1);
    for (reason, identity) in unusable(&bench) {
        for version in VERSIONS {
            let outcome = present(&bench, version, Arc::clone(&identity));
            let expected = match reason {
                "cannot be parsed" => AlertDescription::BadCertificate,
                _ => AlertDescription::UnsupportedCertificate,
            };
            assert_eq!(outcome.alert_to_client(), expected, "{reason}");
            let rejection = outcome.context.client_rejection().unwrap();
            assert!(rejection.reason.contains(reason), "{}", rejection.reason);
        }
    }
}

#[test]
fn only_hosts_that_look_ask_and_share_their_configuration() {
    let mut bench = Bench::asking();
    let mut route = bench.spec.client_auth.routes[0].clone();
    route.host = HostMatch::Exact("b.example".into());
    bench.spec.client_auth.routes.push(route.clone());
    route.host = HostMatch::Exact("open.example".into());
    route.looks = false;
    bench.spec.client_auth.routes.push(route);
    let tls = ServerTls::new(&bench.spec, &bench.tickets).unwrap();
    let asks = |name| tls.client_auth().asks(name);
    assert!(asks(Some(NAME)) && asks(None) && asks(Some("unknown.example")));
    assert!(!asks(Some("open.example")));
    assert!(Arc::ptr_eq(&tls.config(Some(NAME)), &tls.config(Some("b.example"))));
}

#[test]
fn a_session_without_an_always_needed_certificate_is_full() {
    for version in VERSIONS {
        let mut bench = Bench::asking();
        let client = bench.client(version, None);
        assert!(!resumes(&client, &bench.server(), NAME));
        assert!(!resumes(&client, &bench.server(), NAME), "it may have got a certificate since");
        // It is served if some route serves it without a certificate.
        let mut open = bench.spec.client_auth.routes[0].clone();
        open.looks = false;
        bench.spec.client_auth.routes.push(open);
        assert!(!resumes(&client, &bench.server(), NAME));
        assert!(resumes(&client, &bench.server(), NAME));
    }
}

#[test]
fn a_session_resumes_with_its_certificate_until_that_expires() {
    for version in VERSIONS {
        let bench = Bench::asking();
        let issued = bench.root.issue(client_leaf());
        let end_s = issued.params.not_after.unix_timestamp();
        let client = bench.client(version, Some(issued.identity()));
        bench.clock.set(end_s - 100);
        assert!(!resumes(&client, &bench.server(), NAME));
        let outcome = handshake(&client, &bench.server(), NAME);
        assert_eq!(outcome.kind(), HandshakeKind::Resumed);
        assert_eq!(outcome.server.peer_certificates().unwrap()[0], issued.der);
        bench.clock.set(end_s + 1);
        assert!(!resumes(&client, &bench.server(), NAME));
    }
}

/// The matrix of settings at a session's start and at its resumption.
#[test]
fn a_session_resumes_only_under_equal_settings() {
    type Setting = (&'static str, fn(&mut Bench, &Issued));
    let settings: [Setting; 7] = [
        ("nobody is asked", |bench, _| bench.spec.client_auth = ClientAuthSpec::default()),
        ("the root is named", |_, _| {}),
        ("the root, deeper", |bench, _| ask_for(bench, &[bench.root.anchors()], 2)),
        ("another root is named", |bench, other| ask_for(bench, &[other.anchors()], 1)),
        ("both are named", |bench, other| {
            ask_for(bench, &[bench.root.anchors(), other.anchors()], 1);
        }),
        ("the root is required", |bench, _| bench.demand(bench.root.anchors(), 1)),
        ("another protocol", |bench, _| bench.spec.codec = Codec::Http2),
    ];
    let other = self_signed(ca("another root"));
    for version in VERSIONS {
        for (made_under, make) in settings {
            for (resumed_under, change) in settings {
                let mut bench = Bench::asking();
                let at_first = bench.spec.clone();
                let client = bench.root.issue(client_leaf()).identity();
                let client = bench.client(version, Some(client));
                make(&mut bench, &other);
                assert!(!resumes(&client, &bench.server(), NAME));
                bench.spec = at_first;
                change(&mut bench, &other);
                let kind = handshake(&client, &bench.server(), NAME).server.handshake_kind();
                assert_eq!(
                    kind == Some(HandshakeKind::Resumed),
                    made_under == resumed_under,
                    "{version:?}: {made_under}, then {resumed_under}"
                );
            }
        }
    }
}

fn ask_for(bench: &mut Bench, anchors: &[Arc<TrustAnchors>], max_verify_depth: u32) {
    let host = || HostMatch::Exact(NAME.into());
    let routes = anchors.iter().map(|anchors| {
        let spec = ClientTrustSpec::new(Arc::clone(anchors), max_verify_depth);
        let trust = Some(Arc::new(ClientTrust::new(&spec)));
        RouteClientAuth { host: host(), looks: true, trust }
    });
    bench.spec.client_auth.routes = routes.collect();
}
