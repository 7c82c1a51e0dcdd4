//! Requests of a client with a certificate, decided without a connection.

use std::{
    pin::pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode, Version};
use rcgen::{CertificateParams, KeyPair, SanType};
use rustls::time_provider::TimeProvider;
use rustls_pki_types::UnixTime;

use super::*;
use crate::{
    http::{
        ActionSpec, ClientConnection, PeerTls, RequestHandler, RequestSettings, Route, RouteSpec,
        request::normalise,
        testing::{everybody, people, route, settings, sign_in_spec},
    },
    identity::{config::IdentityConfig, worker::IdentityHandle},
    observe::{RouteMetrics, TlsVersion, WorkerObserver},
    policy::{Policy, PolicyDecision, PolicySpec, Reason, SanKind, parse},
    route::{HostMatch, Matcher, PathMatch, PortMatch},
    tls::{
        ClientAuth, ClientAuthMode, ClientAuthSpec, ClientTrust, ClientTrustSpec, RouteClientAuth,
        TrustAnchors,
    },
    upstream::Upstreams,
};

/// 1 January 2025, when every certificate made here begins; it ends a year later.
const START_S: u64 = 1_735_689_600;
const YEAR_S: u64 = 365 * 24 * 60 * 60;

#[derive(Debug)]
struct Clock(AtomicU64);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            seconds => Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds))),
        }
    }
}

/// A self-signed certificate, which is its own CA.
fn certificate() -> rcgen::Certificate {
    let mut params = CertificateParams::default();
    params.not_before = rcgen::date_time_ymd(2025, 1, 1);
    params.not_after = rcgen::date_time_ymd(2026, 1, 1);
    params.subject_alt_names = vec![
        SanType::Rfc822Name("alice@example.com".try_into().unwrap()),
        SanType::URI("spiffe://example/alice".try_into().unwrap()),
    ];
    params.self_signed(&KeyPair::generate().unwrap()).unwrap()
}

fn trust(certificate: &rcgen::Certificate) -> Arc<ClientTrust> {
    let anchors = TrustAnchors::from_pem(certificate.pem().as_bytes(), "a test").unwrap();
    let spec = ClientTrustSpec::new(Arc::new(anchors), 1);
    Arc::new(ClientTrust::new(&spec))
}

fn ppl(text: &str) -> Policy {
    let rules = parse(&serde_yaml::from_str(text).unwrap(), "policy").unwrap();
    Policy::new(&PolicySpec { rules, ..Default::default() })
}

/// What `policy_with_default_deny` makes of a public route.
fn default_deny() -> Policy {
    Policy::new(&PolicySpec {
        allow_public_unauthenticated_access: true,
        deny_invalid_client_certificate: true,
        ..Default::default()
    })
}

/// One worker, its routes by host and path prefix, and a client.
struct Bench {
    clock: Arc<Clock>,
    worker: Rc<RequestHandler>,
    site: Arc<RequestConfig>,
    peer: Peer,
}

impl Bench {
    fn new(routes: Vec<(&str, &str, Policy, Option<&Arc<ClientTrust>>)>) -> Bench {
        Bench::with_settings(settings(), routes)
    }

    fn with_settings(
        settings: RequestSettings,
        routes: Vec<(&str, &str, Policy, Option<&Arc<ClientTrust>>)>,
    ) -> Bench {
        Bench::with_people(settings, people(None), routes)
    }

    fn with_people(
        settings: RequestSettings,
        people: IdentityConfig,
        routes: Vec<(&str, &str, Policy, Option<&Arc<ClientTrust>>)>,
    ) -> Bench {
        let metrics = || Arc::new(RouteMetrics::new(1));
        let hello =
            ActionSpec::Respond { status: StatusCode::OK, body: Bytes::from_static(b"hello") };
        let routes: Vec<Route> = routes
            .into_iter()
            .map(|(host, prefix, policy, trust)| Route {
                spec: RouteSpec { client_trust: trust.cloned(), ..route(policy, hello.clone()) },
                matcher: Matcher {
                    host: HostMatch::Exact(host.into()),
                    port: PortMatch::Any,
                    path: PathMatch::Prefix(prefix.into()),
                },
                cluster: None,
                metrics: metrics(),
            })
            .collect();
        let asking = routes.iter().map(|route| RouteClientAuth {
            host: route.matcher.host.clone(),
            looks: route.spec.looks_at_certificate(settings.certificate_identity),
            trust: route.spec.client_trust.clone(),
        });
        let mode = ClientAuthMode::Request { everywhere: false };
        let client_auth = ClientAuth::new(&ClientAuthSpec { mode, routes: asking.collect() });
        let site = RequestConfig::new(settings, routes, metrics(), Arc::new(client_auth));
        let site = Arc::new(site.with_people(Arc::new(people)));
        let observer = Rc::new(WorkerObserver::detached(0));
        let clock = Arc::new(Clock(AtomicU64::new(START_S + 1)));
        let (upstreams, identity) = (Upstreams::new(observer.clone()), IdentityHandle::detached());
        let context = RequestHandler::new(upstreams, observer, identity, site.clone());
        let worker = Rc::new(context.with_clock(Arc::<Clock>::clone(&clock)));
        let tls = PeerTls {
            version: TlsVersion::Tls13,
            server_name: Some("a.example".into()),
            certificate_asked: true,
            certificate: None,
            ignored_certificate: None,
        };
        let peer = Peer::new("192.0.2.1:5".parse().unwrap(), Some(tls));
        Bench { clock, worker, site, peer }
    }

    fn presenting(mut self, certificate: &rcgen::Certificate) -> Bench {
        self.tls().certificate = PeerCertificate::presented(&[certificate.der().clone()], None);
        self
    }

    fn tls(&mut self) -> &mut PeerTls {
        self.peer.tls.as_mut().unwrap()
    }

    /// Gives the status of a refusal, or 200, and the decision.
    fn ask(&self, url: &str) -> (u16, Option<PolicyDecision>) {
        self.send(Request::get(url))
    }

    fn send(&self, request: http::request::Builder) -> (u16, Option<PolicyDecision>) {
        self.with_admitted(request, |admitted, decision| {
            let refused = |refusal: LocalAnswer| match refusal {
                LocalAnswer::Failure(failure) => failure.report().status.as_u16(),
                LocalAnswer::Reply(reply) => reply.response.status().as_u16(),
            };
            (admitted.map_or_else(refused, |_| 200), decision)
        })
    }

    /// Whether names of the certificate may be passed on; `None` where there is none to look at.
    fn trusts(&self, url: &str) -> Option<bool> {
        self.with_admitted(Request::get(url), |admitted, _| {
            admitted.unwrap().map(|presented| presented.trusted_by.is_some())
        })
    }

    fn with_admitted<T>(
        &self,
        request: http::request::Builder,
        look: impl FnOnce(
            Result<Option<RequestCertificate<'_>>, LocalAnswer>,
            Option<PolicyDecision>,
        ) -> T,
    ) -> T {
        let request = request.version(Version::HTTP_2).body(()).unwrap();
        let (mut parts, ()) = request.into_parts();
        let conn = ClientConnection::new(&self.worker, Peer::new(self.peer.address, None));
        let mut active = ActiveRequest::begin(&conn, &parts);
        let config = self.worker.config();
        let target = normalise(&mut parts, &config.settings).unwrap();
        let route = config.find(&target).unwrap();
        let admitted = {
            let admitted = pin!(admit(&mut active, &self.peer, route, &parts, &target));
            let Poll::Ready(admitted) = admitted.poll(&mut Context::from_waker(Waker::noop()))
            else {
                panic!("no session waits for a check");
            };
            admitted
        };
        look(admitted, active.account.decision())
    }

    fn status(&self, url: &str) -> u16 {
        self.ask(url).0
    }
}

const URL: &str = "https://a.example/";

#[test]
fn a_public_route_looks_at_no_certificate_and_at_no_connection() {
    let mut bench = Bench::new(vec![("a.example", "/", everybody(), None)]);
    bench.tls().certificate_asked = false;
    bench.tls().server_name = Some("elsewhere.example".into());
    let (status, decision) = bench.ask(URL);
    assert_eq!(status, 200);
    assert!(decision.unwrap().is_allowed());
}

#[test]
fn by_default_only_a_valid_certificate_is_accepted() {
    let (mine, other) = (certificate(), certificate());
    let bench = || Bench::new(vec![("a.example", "/", default_deny(), Some(&trust(&mine)))]);
    let (status, decision) = bench().ask(URL);
    assert_eq!(status, 495);
    assert!(decision.unwrap().deny.reasons.contains(Reason::ClientCertificateRequired));
    let (status, decision) = bench().presenting(&other).ask(URL);
    assert_eq!(status, 495);
    assert!(decision.unwrap().deny.reasons.contains(Reason::InvalidClientCertificate));
    assert_eq!(bench().presenting(&mine).status(URL), 200);
}

#[test]
fn a_preflight_of_a_path_of_ours_needs_the_certificate() {
    let mine = certificate();
    let policy = Policy::new(&PolicySpec {
        allow_public_unauthenticated_access: true,
        deny_invalid_client_certificate: true,
        cors_allow_preflight: true,
        ..Default::default()
    });
    let bench = Bench::new(vec![("a.example", "/", policy, Some(&trust(&mine)))]);
    let preflight = || {
        let request = Request::builder().method(Method::OPTIONS).uri(URL);
        request.header("origin", "https://b.example").header("access-control-request-method", "PUT")
    };
    assert_eq!(bench.send(preflight()).0, 200, "for the upstream to answer");
    let demanded = |bench: &Bench| {
        let (mut parts, ()) = preflight().version(Version::HTTP_2).body(()).unwrap().into_parts();
        let conn = ClientConnection::new(&bench.worker, Peer::new(bench.peer.address, None));
        let active = ActiveRequest::begin(&conn, &parts);
        let target = normalise(&mut parts, &bench.worker.config().settings).unwrap();
        let asked = (active.account.client, bench.worker.now());
        demand_certificate(&active.config, &bench.peer, asked, (&parts, &target))
    };
    assert!(matches!(demanded(&bench), Err(RequestFailure::CertificateRequired)));
    assert!(demanded(&bench.presenting(&mine)).is_ok());
}

#[test]
fn a_certificate_that_counts_as_none_is_missing_and_the_reason_is_told() {
    let mine = certificate();
    let mut bench = Bench::new(vec![("a.example", "/", default_deny(), Some(&trust(&mine)))]);
    bench.tls().ignored_certificate = Some(Box::new(ChainError::VersionOne));
    bench.with_admitted(Request::get(URL), |admitted, decision| {
        let reasons = decision.unwrap().deny.reasons;
        assert!(reasons.contains(Reason::ClientCertificateRequired));
        let Err(LocalAnswer::Failure(failure)) = admitted else { panic!("no failure") };
        let report = failure.report();
        assert_eq!(report.status.as_u16(), 495);
        assert!(report.details.contains("version 1"), "{report:?}");
    });
}

#[test]
fn a_certificate_that_expires_is_refused_at_the_next_request() {
    let mine = certificate();
    let bench = Bench::new(vec![("a.example", "/", default_deny(), Some(&trust(&mine)))]);
    let bench = bench.presenting(&mine);
    for (after_s, status) in [(YEAR_S, 200), (YEAR_S + 1, 495), (YEAR_S, 200)] {
        bench.clock.0.store(START_S + after_s, Ordering::Relaxed);
        assert_eq!(bench.status(URL), status, "{after_s} s after its start");
    }
    bench.clock.0.store(START_S - 1, Ordering::Relaxed);
    assert_eq!(bench.status(URL), 495, "the clock was set back before it began");
    bench.clock.0.store(0, Ordering::Relaxed);
    assert_eq!(bench.status(URL), 495, "the clock has failed");
}

#[test]
fn a_new_ca_applies_to_open_connections() {
    let (mine, other) = (certificate(), certificate());
    let bench = Bench::new(vec![("a.example", "/", default_deny(), Some(&trust(&mine)))]);
    let bench = bench.presenting(&mine);
    assert_eq!(bench.status(URL), 200);
    let next = Bench::new(vec![("a.example", "/", default_deny(), Some(&trust(&other)))]);
    bench.worker.set_config(next.site);
    assert_eq!(bench.status(URL), 495);
}

#[test]
fn each_path_of_a_host_has_its_own_ca_on_one_connection() {
    let (mine, other) = (certificate(), certificate());
    let bench = Bench::new(vec![
        ("a.example", "/mine", default_deny(), Some(&trust(&mine))),
        ("a.example", "/other", default_deny(), Some(&trust(&other))),
        ("a.example", "/open", everybody(), None),
    ]);
    let bench = bench.presenting(&mine);
    for _ in 0..2 {
        assert_eq!(bench.status("https://a.example/mine"), 200);
        assert_eq!(bench.status("https://a.example/other"), 495);
        assert_eq!(bench.status("https://a.example/open"), 200);
    }
}

#[test]
fn what_the_policy_refuses_of_a_good_certificate_is_forbidden() {
    let mine = certificate();
    let trust = trust(&mine);
    let policy = |email: &str| {
        ppl(&format!("allow: {{or: [{{client_certificate: {{san_email: {email}}}}}]}}"))
    };
    let status = |email| {
        let bench = Bench::new(vec![("a.example", "/", policy(email), Some(&trust))]);
        bench.presenting(&mine).status(URL)
    };
    assert_eq!(status("alice@example.com"), 200);
    assert_eq!(status("bob@example.com"), 403);
}

#[test]
fn names_count_if_the_ca_is_trusted_and_keys_always() {
    let (mine, other) = (certificate(), certificate());
    let by_name = ppl("allow: {or: [{client_certificate: {san_email: alice@example.com}}]}");
    let digest = ring::digest::digest(&ring::digest::SHA256, mine.der());
    let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let by_key =
        ppl(&format!("allow: {{or: [{{client_certificate: {{fingerprint: {digest}}}}}]}}"));
    let bench = Bench::new(vec![
        ("a.example", "/name", by_name, Some(&trust(&other))),
        ("a.example", "/key", by_key, Some(&trust(&other))),
    ]);
    let bench = bench.presenting(&mine);
    assert_eq!(bench.status("https://a.example/name"), 403);
    assert_eq!(bench.status("https://a.example/key"), 200);
}

#[test]
fn a_served_request_knows_if_its_certificate_is_trusted() {
    let (mine, other) = (certificate(), certificate());
    let tolerant = || ppl("allow: {or: [accept: true, client_certificate: {san_dns: x}]}");
    let bench = Bench::new(vec![
        ("a.example", "/mine", tolerant(), Some(&trust(&mine))),
        ("a.example", "/other", tolerant(), Some(&trust(&other))),
        ("a.example", "/unjudged", tolerant(), None),
        ("a.example", "/open", everybody(), Some(&trust(&mine))),
    ]);
    assert_eq!(bench.trusts("https://a.example/mine"), None);
    let bench = bench.presenting(&mine);
    assert_eq!(bench.trusts("https://a.example/mine"), Some(true));
    assert_eq!(bench.trusts("https://a.example/other"), Some(false));
    assert_eq!(bench.trusts("https://a.example/unjudged"), Some(false));
    assert_eq!(bench.trusts("https://a.example/open"), None, "it does not look");
}

#[test]
fn a_host_that_asks_is_not_served_on_another_hosts_connection() {
    let (mine, other) = (certificate(), certificate());
    let (one, two) = (trust(&mine), trust(&other));
    let status = |sni: Option<&str>, asked, host: &str| {
        let routes = vec![
            ("a.example", "/", default_deny(), Some(&one)),
            ("same.example", "/", default_deny(), Some(&one)),
            ("b.example", "/", default_deny(), Some(&two)),
            ("open.example", "/", everybody(), None),
        ];
        let mut bench = Bench::new(routes).presenting(&mine);
        bench.tls().server_name = sni.map(Into::into);
        bench.tls().certificate_asked = asked;
        bench.status(&format!("https://{host}/"))
    };
    assert_eq!(status(Some("a.example"), true, "a.example"), 200);
    assert_eq!(status(Some("a.example"), true, "A.Example.:443"), 200);
    assert_eq!(status(Some("a.example"), true, "same.example"), 200);
    assert_eq!(status(Some("a.example"), true, "open.example"), 200);
    assert_eq!(status(Some("a.example"), true, "b.example"), 421);
    assert_eq!(status(Some("open.example"), false, "a.example"), 421);
    // A reload since has made it ask; its client is to come again.
    assert_eq!(status(Some("a.example"), false, "a.example"), 421);
    // Without a name, or with one that no route serves, the handshake named every CA.
    assert_eq!(status(None, true, "a.example"), 200);
    assert_eq!(status(Some("nobody.example"), true, "b.example"), 495);
}

#[test]
fn without_a_provider_a_policy_of_users_answers_403() {
    let by_email = || ppl("allow: {or: [{domain: {is: example.com}}]}");
    let mine = certificate();
    let bench = Bench::new(vec![("a.example", "/", by_email(), Some(&trust(&mine)))]);
    let (status, decision) = bench.presenting(&mine).ask(URL);
    assert_eq!(status, 403);
    assert!(decision.unwrap().allow.reasons.contains(Reason::UserUnauthenticated));
}

#[test]
fn a_trusted_certificate_identifies_the_user_if_configured() {
    let (mine, other) = (certificate(), certificate());
    let status = |kind, policy: &str, ca: &rcgen::Certificate, shown: Option<_>| {
        let settings = RequestSettings { certificate_identity: Some(kind), ..settings() };
        let trust = trust(ca);
        let routes = vec![("a.example", "/", ppl(policy), Some(&trust))];
        let bench = Bench::with_settings(settings, routes);
        match shown {
            Some(certificate) => bench.presenting(certificate).status(URL),
            None => bench.status(URL),
        }
    };
    let domain = "allow: {or: [{domain: {is: example.com}}]}";
    assert_eq!(status(SanKind::Email, domain, &mine, Some(&mine)), 200);
    assert_eq!(status(SanKind::Email, domain, &other, Some(&mine)), 495, "nobody vouches for it");
    assert_eq!(status(SanKind::Email, domain, &mine, None), 495);
    assert_eq!(status(SanKind::Uri, domain, &mine, Some(&mine)), 403, "it has no address then");
    let user = "allow: {or: [{user: {is: 'spiffe://example/alice'}}]}";
    assert_eq!(status(SanKind::Uri, user, &mine, Some(&mine)), 200);
    let anybody = "allow: {or: [authenticated_user: true]}";
    assert_eq!(status(SanKind::Email, anybody, &mine, Some(&mine)), 200);
}

#[test]
fn a_token_of_a_program_that_does_not_count_leaves_nobody() {
    let mine = certificate();
    let trust = trust(&mine);
    let bench = |sign_in| {
        let kind = Some(SanKind::Email);
        let settings = RequestSettings { certificate_identity: kind, ..settings() };
        let anybody = ppl("allow: {or: [authenticated_user: true]}");
        let routes = vec![("a.example", "/", anybody, Some(&trust))];
        Bench::with_people(settings, people(sign_in), routes).presenting(&mine)
    };
    let with = |bench: &Bench, name, value| bench.send(Request::get(URL).header(name, value)).0;
    let (signing_in, not) = (bench(Some(sign_in_spec())), bench(None));
    assert_eq!(signing_in.status(URL), 200);
    for (name, value) in [
        ("authorization", "Pomerium junk"),
        ("authorization", "Bearer Pomerium-junk"),
        ("x-pomerium-authorization", "junk"),
        ("x-pomerium-authorization", ""),
    ] {
        assert_eq!(with(&signing_in, name, value), 401, "{name}: {value}");
        assert_eq!(with(&not, name, value), 200, "nobody can sign in: {name}: {value}");
    }
    assert_eq!(with(&signing_in, "authorization", "Bearer junk"), 200, "the upstream's");
}

#[test]
fn a_preflight_has_its_method_and_both_headers() {
    let policy = ppl("allow: {or: [cors_preflight: true]}");
    let bench = Bench::new(vec![("a.example", "/", policy, None)]);
    let preflight = || {
        Request::options(URL)
            .header("origin", "https://b.example")
            .header("access-control-request-method", "POST")
    };
    assert_eq!(bench.send(preflight()).0, 200);
    assert_eq!(bench.send(preflight().method("GET")).0, 403);
    assert_eq!(bench.send(Request::options(URL).header("origin", "x")).0, 403);
}

#[test]
fn a_policy_sees_method_path_and_address() {
    let policy = ppl(
        "allow: {and: [{http_method: GET}, {http_path: {starts_with: /a}}, {source_ip: 192.0.2.0/24}]}",
    );
    let bench = Bench::new(vec![("a.example", "/", policy, None)]);
    assert_eq!(bench.status("https://a.example/a?b"), 200);
    assert_eq!(bench.status("https://a.example/b?/a"), 403);
    assert_eq!(bench.send(Request::post("https://a.example/a")).0, 403);
}
