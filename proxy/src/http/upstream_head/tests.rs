use std::sync::Arc;

use http::{HeaderName, Request};
use ring::rand::SystemRandom;

use super::*;
use crate::{
    http::{
        Route,
        request::normalise,
        spec::{
            ActionSpec, CertificateHeaders, HeaderTemplate, HostRewrite, PathRewrite,
            RequestSettings, Rfc9440, RouteSpec, TemplatePart, Underscores, XfccFields,
        },
        testing::{Made, everybody, people, proxy, route, settings},
    },
    identity::{config::AssertedUser, spec::IssuerFormat},
    observe::RouteMetrics,
    policy::Identity,
    route::{HostMatch, Matcher, PathMatch, PortMatch},
    tls::ClientAuth,
};

const ID: HeaderValue = HeaderValue::from_static("id-1");

/// The head that the upstream gets of a request through this route.
fn forwarded(spec: RouteSpec, upgrade: &Upgrade, request: Request<()>) -> Parts {
    forwarded_of(spec, upgrade, request, None)
}

fn forwarded_of(
    spec: RouteSpec,
    upgrade: &Upgrade,
    request: Request<()>,
    certificate: Option<RequestCertificate<'_>>,
) -> Parts {
    forwarded_with(spec, upgrade, request, (certificate, None))
}

fn forwarded_with(
    spec: RouteSpec,
    upgrade: &Upgrade,
    request: Request<()>,
    (certificate, assertion): (Option<RequestCertificate<'_>>, Option<&KeptAssertion>),
) -> Parts {
    let ActionSpec::Proxy(proxy) = spec.action.clone() else { panic!("no proxy") };
    let matcher = Matcher {
        host: HostMatch::Exact("a.example".into()),
        port: PortMatch::Any,
        path: PathMatch::Prefix("/old".into()),
    };
    let metrics = || Arc::new(RouteMetrics::new(1));
    let route = Route { spec, matcher, cluster: None, metrics: metrics() };
    let settings = RequestSettings { underscores: Underscores::Allow, ..settings() };
    let config =
        RequestConfig::new(settings, vec![route], metrics(), Arc::new(ClientAuth::default()));
    let peer = Peer::new("192.0.2.1:5".parse().unwrap(), None);
    let (mut parts, ()) = request.into_parts();
    let target = normalise(&mut parts, &config.settings).unwrap();
    let route = config.find(&target).unwrap();
    let head = UpstreamHead {
        config: &config,
        route,
        proxy: &proxy,
        upstream: Some(&HeaderValue::from_static("up.example:8080")),
        peer: &peer,
        certificate,
        assertion,
        tokens: None,
        target: &target,
        request_id: &ID,
        client: peer.ip(),
    };
    head.build(parts, upgrade).unwrap()
}

/// The head that an upstream gets of a request from Alice.
fn of_alice(spec: RouteSpec, request: Request<()>) -> Parts {
    let people = people(None);
    let identity =
        Identity { user_id: "alice".into(), email: "a@b.example".into(), ..Identity::default() };
    let user = AssertedUser { identity: &identity, name: "", session: None };
    let kept =
        people.sign(("a.example", IssuerFormat::HostOnly), user, 1_000, &SystemRandom::new());
    forwarded_with(spec, &Upgrade::None, request, (None, kept.as_ref()))
}

fn public() -> RouteSpec {
    route(everybody(), ActionSpec::Proxy(proxy()))
}

fn get(headers: &[(&str, &str)]) -> Request<()> {
    let mut builder = Request::get("/old/x?q");
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(()).unwrap()
}

#[test]
fn an_upstream_is_told_who_asks_for_what() {
    let parts = forwarded(public(), &Upgrade::None, get(&[("host", "A.example")]));
    assert_eq!(parts.uri, "/old/x?q");
    assert_eq!(parts.headers["host"], "up.example:8080");
    assert_eq!(parts.headers["x-forwarded-host"], "A.example");
    assert_eq!(parts.headers["x-forwarded-for"], "192.0.2.1");
    assert_eq!(parts.headers["x-forwarded-proto"], "http");
    assert_eq!(parts.headers["x-envoy-external-address"], "192.0.2.1");
    assert_eq!(parts.headers["x-request-id"], "id-1");
}

#[test]
fn a_preserved_host_is_not_said_twice() {
    let mut spec = public();
    spec.action = ActionSpec::Proxy(ProxySpec { host: HostRewrite::Preserve, ..proxy() });
    let request = get(&[("host", "A.example"), ("x-forwarded-host", "evil.example")]);
    let parts = forwarded(spec, &Upgrade::None, request);
    assert_eq!(parts.headers["host"], "A.example");
    assert!(!parts.headers.contains_key("x-forwarded-host"));
}

#[test]
fn a_connection_token_removes_nothing_that_we_add() {
    let mut spec = public();
    let template = HeaderTemplate(vec![TemplatePart::Literal("ours".into())]);
    spec.request_headers.set = vec![(HeaderName::from_static("x-user"), template)];
    let request = get(&[
        ("host", "a.example"),
        ("connection", "x-user, x-request-id, x-forwarded-for, x-forwarded-proto, host"),
        ("x-user", "theirs"),
    ]);
    let parts = forwarded(spec, &Upgrade::None, request);
    assert_eq!(parts.headers["x-user"], "ours");
    assert_eq!(parts.headers["x-request-id"], "id-1");
    assert_eq!(parts.headers["x-forwarded-for"], "192.0.2.1");
    assert!(!parts.headers.contains_key("connection"));
}

const CERTIFICATE: [&str; 3] = ["client-cert", "client-cert-chain", "x-forwarded-client-cert"];

/// A route that tells its upstream all it can.
fn telling() -> RouteSpec {
    let xfcc = XfccFields { hash: true, ..XfccFields::default() };
    let client_certificate = CertificateHeaders { rfc9440: Rfc9440::Chain, xfcc };
    route(everybody(), ActionSpec::Proxy(ProxySpec { client_certificate, ..proxy() }))
}

/// The certificate headers that an upstream gets, whatever headers the client sends.
fn told(spec: RouteSpec, certificate: Option<RequestCertificate<'_>>) -> HeaderMap {
    let request = get(&[
        ("host", "a.example"),
        ("client-cert", ":AA==:"),
        ("client-cert-chain", ":AA==:"),
        ("x-forwarded-client-cert", "Hash=0"),
        ("connection", "client-cert, client-cert-chain, x-forwarded-client-cert"),
    ]);
    let mut headers = forwarded_of(spec, &Upgrade::None, request, certificate).headers;
    let ours = |name: &HeaderName| CERTIFICATE.contains(&name.as_str());
    let others: Vec<_> = headers.keys().filter(|name| !ours(name)).cloned().collect();
    others.iter().for_each(|name| drop(headers.remove(name)));
    headers
}

#[test]
fn only_a_certificate_that_the_route_vouches_for_is_forwarded() {
    let made = Made::alice();
    let headers = told(telling(), Some(made.trusted()));
    assert_eq!(headers.len(), 2, "{headers:?}: a CA of its own has no chain");
    assert!(headers["client-cert"].to_str().unwrap().starts_with(":MII"));
    assert_eq!(headers["x-forwarded-client-cert"].len(), "Hash=".len() + 64);
    assert!(told(telling(), Some(made.unjudged())).is_empty());
    assert!(told(telling(), None).is_empty());
    assert!(told(public(), Some(made.trusted())).is_empty());
}

#[test]
fn a_routes_rules_override_forwarded_certificate_headers() {
    let made = Made::alice();
    let mut spec = telling();
    let name = HeaderName::from_static;
    let copy = TemplatePart::RequestHeader(name("x-forwarded-client-cert"));
    spec.request_headers.remove = vec![name("client-cert")];
    spec.request_headers.set = vec![(name("x-copy"), HeaderTemplate(vec![copy]))];
    let request = get(&[("host", "a.example"), ("x-copy", "forged")]);
    let headers = forwarded_of(spec, &Upgrade::None, request, Some(made.trusted())).headers;
    assert!(!headers.contains_key("client-cert"));
    assert_eq!(headers["x-copy"], headers["x-forwarded-client-cert"]);
}

#[test]
fn a_route_that_removes_x_forwarded_host_gets_none() {
    let mut spec = public();
    spec.request_headers.remove = vec![HeaderName::from_static("x-forwarded-host")];
    let parts = forwarded(spec, &Upgrade::None, get(&[("host", "a.example")]));
    assert!(!parts.headers.contains_key("x-forwarded-host"));
}

#[test]
fn an_allowed_upgrade_is_asked_for_again() {
    let upgrade = Upgrade::Allowed(HeaderValue::from_static("websocket"));
    let request = get(&[
        ("host", "a.example"),
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-key", "k"),
    ]);
    let parts = forwarded(public(), &upgrade, request);
    assert_eq!(parts.headers["connection"], "upgrade");
    assert_eq!(parts.headers["upgrade"], "websocket");
    assert_eq!(parts.headers["sec-websocket-key"], "k");
}

#[test]
fn the_path_is_rewritten_and_http2s_authority_becomes_a_host() {
    let mut spec = public();
    spec.action = ActionSpec::Proxy(ProxySpec {
        path: PathRewrite::Prefix("/new".into()),
        host: HostRewrite::Preserve,
        ..proxy()
    });
    let mut request = Request::get("https://a.example/old/x?q").body(()).unwrap();
    *request.version_mut() = Version::HTTP_2;
    let parts = forwarded(spec, &Upgrade::None, request);
    assert_eq!(parts.uri, "/new/x?q");
    assert_eq!(parts.headers["host"], "a.example");
    assert_eq!(parts.version, Version::HTTP_11);
}

/// Headers by which a client claims to be Alice, in many spellings.
fn forged() -> Request<()> {
    get(&[
        ("host", "a.example"),
        ("connection", "x-pomerium-jwt-assertion, x-email"),
        ("x-pomerium-jwt-assertion", "forged"),
        ("x-pomerium-jwt-assertion", "forged again"),
        ("x_pomerium_jwt_assertion", "forged"),
        ("X-Pomerium-Jwt-Assertion-For", "forged"),
        ("x-pomerium-claim-email", "forged"),
        ("cookie", "_pomerium=forged; kept=1"),
    ])
}

#[test]
fn an_upstream_gets_our_assertion_and_nothing_that_a_client_forged() {
    let spec = RouteSpec { pass_identity_headers: true, ..public() };
    let parts = of_alice(spec, forged());
    let assertions: Vec<_> = parts.headers.get_all("x-pomerium-jwt-assertion").iter().collect();
    assert_eq!(assertions.len(), 1);
    assert_eq!(assertions[0].to_str().unwrap().split('.').count(), 3);
    assert_eq!(parts.headers["x-email"], "a@b.example");
    assert_eq!(parts.headers["x-groups"], "");
    assert_eq!(parts.headers["cookie"], "kept=1");
    let of_client = |value: &HeaderValue| value.to_str().unwrap().contains("forged");
    assert!(!parts.headers.values().any(of_client), "{:?}", parts.headers);
}

#[test]
fn a_route_that_passes_no_identity_gets_none() {
    let parts = of_alice(public(), forged());
    for name in ["x-pomerium-jwt-assertion", "x-email", "x-groups", "x-pomerium-claim-email"] {
        assert!(!parts.headers.contains_key(name), "{name}");
    }
    let spec = RouteSpec { pass_identity_headers: true, ..public() };
    let parts = forwarded(spec, &Upgrade::None, forged());
    assert!(!parts.headers.contains_key("x-pomerium-jwt-assertion"), "nobody is known");
}

#[test]
fn a_template_can_send_the_assertion_under_another_name() {
    let mut spec = public();
    let template = HeaderTemplate(vec![TemplatePart::IdentityJwt]);
    spec.request_headers.set = vec![(HeaderName::from_static("x-token"), template)];
    let parts = of_alice(spec, forged());
    assert_eq!(parts.headers["x-token"].to_str().unwrap().split('.').count(), 3);
    assert!(!parts.headers.contains_key("x-pomerium-jwt-assertion"));
}
