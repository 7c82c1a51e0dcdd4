//! Requests that never reach an upstream, over hyper's own server on a connection in memory.

mod explained;

use std::{
    cell::RefCell,
    convert::Infallible,
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context as TaskContext, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use http_body::Body as _;
use hyper::rt::ReadBufCursor;

use super::*;
use crate::{
    http::{
        Peer, RequestConfig, RequestHandler, Route,
        spec::{
            EscapedSlashes, RedirectPath, RedirectSpec, RequestSettings, ResponseHeaderRules,
            RouteSpec,
        },
        testing::{everybody, people, proxy, route, settings, sign_in_spec},
    },
    identity::worker::IdentityHandle,
    observe::{Blame, HttpProtocol, RouteMetrics, WorkerObserver},
    policy::{Policy, PolicySpec},
    route::{HostMatch, Matcher, PathMatch, PortMatch},
    tls::ClientAuth,
    upstream::Upstreams,
};

/// A peer that has sent all it will send.
struct Wire {
    input: Vec<u8>,
    output: Rc<RefCell<Vec<u8>>>,
}

impl hyper::rt::Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _cx: &mut TaskContext<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let length = self.input.len().min(buf.remaining());
        let rest = self.input.split_off(length);
        buf.put_slice(&self.input);
        self.input = rest;
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut TaskContext<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.output.borrow_mut().extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn worker(settings: RequestSettings, routes: Vec<(PathMatch, RouteSpec)>) -> Rc<RequestHandler> {
    let metrics = || Arc::new(RouteMetrics::new(1));
    let routes: Vec<_> = routes
        .into_iter()
        .map(|(path, spec)| Route {
            spec,
            matcher: Matcher {
                host: HostMatch::Exact("a.example".into()),
                port: PortMatch::Any,
                path,
            },
            cluster: None,
            metrics: metrics(),
        })
        .collect();
    let site =
        Arc::new(RequestConfig::new(settings, routes, metrics(), Arc::new(ClientAuth::default())));
    let observer = Rc::new(WorkerObserver::detached(0));
    let identity = IdentityHandle::detached();
    Rc::new(RequestHandler::new(Upstreams::new(observer.clone()), observer, identity, site))
}

fn hello() -> ActionSpec {
    ActionSpec::Respond { status: StatusCode::OK, body: Bytes::from_static(b"hello") }
}

fn client(worker: &Rc<RequestHandler>) -> Rc<ClientConnection> {
    ClientConnection::new(worker, Peer::new("192.0.2.1:5".parse().unwrap(), None))
}

/// The bytes a client gets that sends these and then closes its side.
fn served(worker: &Rc<RequestHandler>, input: &str) -> String {
    served_on(&client(worker), input)
}

fn served_on(conn: &Rc<ClientConnection>, input: &str) -> String {
    let worker = &conn.handler;
    let output = Rc::new(RefCell::new(Vec::new()));
    let wire = Wire { input: input.as_bytes().to_vec(), output: output.clone() };
    {
        let service = hyper::service::service_fn(|request| handle_owned(conn, request));
        let mut connection = pin!(
            hyper::server::conn::http1::Builder::new()
                .half_close(true)
                .auto_date_header(false)
                .serve_connection(wire, service)
        );
        let mut cx = TaskContext::from_waker(Waker::noop());
        assert!(connection.as_mut().poll(&mut cx).is_ready(), "the connection waits for something");
    }
    assert!(!conn.state.is_serving());
    assert_eq!(conn.state.abandoned(), 0);
    assert_eq!(worker.observer.metrics.requests_active.get(), 0);
    let requests = worker.observer.metrics.requests.get(HttpProtocol::H1);
    assert_eq!(conn.state.requests(), requests);
    String::from_utf8(output.take()).unwrap()
}

fn handle_owned(
    conn: &Rc<ClientConnection>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<Body>, Infallible>> + use<> {
    let conn = conn.clone();
    async move { Ok(handle(&conn, request, ClientStream::default()).await.response) }
}

fn public(action: ActionSpec) -> Rc<RequestHandler> {
    worker(settings(), vec![(PathMatch::Any, route(everybody(), action))])
}

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or(answer)
}

#[test]
fn a_routes_own_answer_is_sent_with_a_request_id() {
    let answer = served(&public(hello()), "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\r\nx-request-id: "), "{answer}");
    assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
}

#[test]
fn an_error_of_ours_is_counted_by_who_caused_it() {
    let worker = public(hello());
    let counts = || {
        let failures = &worker.observer.metrics.failures;
        [Blame::Client, Blame::Upstream, Blame::Proxy].map(|blame| failures.get(blame))
    };
    let conn = client(&worker);
    served_on(&conn, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(counts(), [0, 0, 0]);
    served_on(&conn, "GET / HTTP/1.1\r\nHost: other.example\r\n\r\n");
    assert_eq!(counts(), [1, 0, 0]);
}

#[test]
fn a_request_id_is_kept_out_of_hpacks_dynamic_table() {
    let conn = client(&public(hello()));
    let (parts, ()) = Request::new(()).into_parts();
    let active = ActiveRequest::begin(&conn, &parts);
    assert!(active.account.request_id.is_sensitive());
}

#[test]
fn a_request_given_up_before_its_answer_is_counted_as_abandoned() {
    let conn = client(&public(hello()));
    let (parts, ()) = Request::new(()).into_parts();
    drop(ActiveRequest::begin(&conn, &parts));
    assert_eq!((conn.state.abandoned(), conn.state.is_serving()), (1, false));
    let active = ActiveRequest::begin(&conn, &parts);
    let reply = respond::direct(StatusCode::OK, &Bytes::from_static(b"x"), &active.negotiation);
    let mut response = answer(active, reply).response;
    assert_eq!((conn.state.abandoned(), conn.state.is_serving()), (1, true));
    let body = Pin::new(response.body_mut());
    assert!(body.poll_frame(&mut TaskContext::from_waker(Waker::noop())).is_ready());
    drop(response);
    assert_eq!((conn.state.abandoned(), conn.state.is_serving()), (1, false));
}

#[test]
fn a_tunnel_holds_no_former_configuration() {
    let worker = public(hello());
    let former = Rc::downgrade(&worker.config());
    let conn = client(&worker);
    let (parts, ()) = Request::new(()).into_parts();
    let mut active = ActiveRequest::begin(&conn, &parts);
    let route = active.config.routes.first().map(|route| route.index);
    active.account.set_route(route.unwrap());
    let record = TunnelRecord::new(active.account);
    drop((active.config, active.timeouts));
    let shared = RequestConfig::new(
        settings(),
        Vec::new(),
        Arc::new(RouteMetrics::new(1)),
        Arc::new(ClientAuth::default()),
    );
    worker.set_config(Arc::new(shared));
    // Given away only if nothing else on the worker holds it.
    worker.release_former();
    assert!(former.upgrade().is_none(), "the tunnel holds it");
    assert!(conn.state.is_serving(), "until the tunnel ends");
    drop(record);
    assert!(!conn.state.is_serving());
}

#[test]
fn requests_on_one_connection_are_served_one_after_another() {
    let two = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\nGET /ping HTTP/1.1\r\nHost: x\r\n\r\n";
    let answer = served(&public(hello()), two);
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 2, "{answer}");
    assert!(answer.ends_with("\r\n\r\nOK"), "{answer}");
}

#[test]
fn a_request_that_no_route_serves_is_not_found() {
    let answer = served(
        &public(hello()),
        "GET / HTTP/1.1\r\nHost: b.example\r\nAccept: application/json\r\n\r\n",
    );
    assert_eq!(status(&answer), "404");
    assert!(answer.contains("{\"error\":\"not found\",\"request_id\":\""), "{answer}");
}

#[test]
fn a_route_without_a_policy_lets_nobody_in_and_tells_robots_so() {
    let closed = || {
        worker(
            settings(),
            vec![(PathMatch::Any, route(Policy::new(&PolicySpec::default()), hello()))],
        )
    };
    assert_eq!(status(&served(&closed(), "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")), "403");
    let robots = served(&closed(), "GET /robots.txt HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert!(robots.ends_with("User-agent: *\nDisallow: /"), "{robots}");
}

#[test]
fn sign_in_paths_are_not_a_routes_to_serve() {
    let answer = served(&public(hello()), "GET /.pomerium/x HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(status(&answer), "404");
}

#[test]
fn a_bad_head_is_refused_and_ends_the_connection() {
    for head in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.example\r\nHost: a.example\r\n\r\n",
        "GET http://b.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
        "GET /%2e%2e%2fx HTTP/1.1\r\nHost: a.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.example\r\nx_y: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: user@a.example\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n",
    ] {
        let next = format!("{head}GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        let answer = served(&public(hello()), &next);
        assert_eq!(status(&answer), "400", "{head}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    }
}

#[test]
fn http10_with_transfer_encoding_is_refused() {
    let answer = served(
        &public(hello()),
        "POST / HTTP/1.0\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    );
    assert_eq!(status(&answer), "400");
}

#[test]
fn connect_is_not_served() {
    let answer = served(
        &public(hello()),
        "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    );
    assert_eq!(status(&answer), "405");
    assert!(answer.contains("\r\nallow: GET"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
}

#[test]
fn the_answer_to_head_has_no_body() {
    let answer = served(&public(hello()), "HEAD / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert!(answer.contains("\r\ncontent-length: 5\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[test]
fn escaped_slashes_redirect_if_the_settings_say_so() {
    let redirecting = RequestSettings { escaped_slashes: EscapedSlashes::Redirect, ..settings() };
    let routes = vec![(PathMatch::Any, route(everybody(), hello()))];
    let answer = served(
        &worker(redirecting, routes),
        "GET /a%2F%2Fevil?q HTTP/1.1\r\nHost: a.example:8080\r\n\r\n",
    );
    assert_eq!(status(&answer), "307");
    assert!(answer.contains("\r\nlocation: http://a.example:8080/a/evil?q\r\n"), "{answer}");
}

#[test]
fn a_redirect_is_answered_with_the_headers_of_the_configuration() {
    let spec = RedirectSpec {
        scheme: Some("https".into()),
        host: None,
        port: None,
        path: RedirectPath::Keep,
        status: StatusCode::PERMANENT_REDIRECT,
        strip_query: false,
    };
    let hsts = (HeaderName::from_static("x-a"), HeaderValue::from_static("1"));
    let mut route = route(everybody(), ActionSpec::Redirect(spec));
    route.response_headers = ResponseHeaderRules { set: vec![hsts], ..Default::default() };
    let worker = worker(settings(), vec![(PathMatch::Any, route)]);
    let answer = served(&worker, "GET /x?q HTTP/1.1\r\nHost: a.example:80\r\n\r\n");
    assert_eq!(status(&answer), "308");
    assert!(answer.contains("\r\nlocation: https://a.example/x?q\r\n"), "{answer}");
    assert!(answer.contains("\r\nx-a: 1\r\n"), "{answer}");
}

#[test]
fn health_checks_are_answered_on_every_host() {
    let answer = served(&public(hello()), "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    assert!(answer.ends_with("\r\n\r\nOK"), "{answer}");
}

#[test]
fn the_redirect_listener_sends_everything_to_https_and_closes() {
    let conn = || {
        let peer = Peer::new("192.0.2.1:5".parse().unwrap(), None);
        ClientConnection::redirecting(&public(hello()), peer)
    };
    for (path, location) in
        [("/x?q", "/x?q"), ("/healthz", "/healthz"), ("/.pomerium/x", "/.pomerium/x")]
    {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a.example:80\r\n\r\n");
        let answer = served_on(&conn(), &request);
        assert_eq!(status(&answer), "301");
        let location = format!("\r\nlocation: https://a.example{location}\r\n");
        assert!(answer.contains(&location), "{answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    }
    assert_eq!(status(&served_on(&conn(), "GET / HTTP/1.1\r\n\r\n")), "400");
}

#[test]
fn a_grpc_client_is_told_a_grpc_status() {
    let answer = served(
        &public(hello()),
        "POST /x.Y/Z HTTP/1.1\r\nHost: b.example\r\ncontent-type: application/grpc\r\n\r\n",
    );
    assert_eq!(status(&answer), "200");
    assert!(answer.contains("\r\ngrpc-status: 12\r\n"), "{answer}");
}

#[test]
fn a_route_that_cannot_forward_is_our_fault() {
    let answer =
        served(&public(ActionSpec::Proxy(proxy())), "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(status(&answer), "500");
}

#[test]
fn an_upgrade_that_its_route_does_not_allow_is_refused() {
    let answer = served(
        &public(ActionSpec::Proxy(proxy())),
        "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    assert_eq!(status(&answer), "403");
}

fn signing() -> Rc<RequestHandler> {
    let metrics = Arc::new(RouteMetrics::new(1));
    let config = RequestConfig::new(settings(), Vec::new(), metrics, Arc::default());
    let config = config.with_people(Arc::new(people(None)));
    let observer = Rc::new(WorkerObserver::detached(0));
    let upstreams = Upstreams::new(observer.clone());
    let identity = IdentityHandle::detached();
    Rc::new(RequestHandler::new(upstreams, observer, identity, Arc::new(config)))
}

#[test]
fn the_public_keys_are_served_at_every_host_without_a_provider() {
    let keys = |rest: &str| {
        let path = "/.well-known/pomerium/jwks.json HTTP/1.1\r\nHost: any.example\r\n";
        served(&signing(), &format!("{}\r\n", rest.replace("PATH", path)))
    };
    let answer = keys("GET PATH");
    assert_eq!(status(&answer), "200", "{answer}");
    assert!(answer.contains("access-control-allow-origin: *\r\n"), "{answer}");
    assert!(answer.contains("cache-control: max-age=60\r\n"), "{answer}");
    assert!(answer.contains("\"kty\":\"EC\""), "{answer}");
    let etag = answer.split("etag: ").nth(1).unwrap().split('\r').next().unwrap();
    for (sent, wanted) in [
        (etag.to_owned(), "304"),
        (format!("\"x\", W/{etag}"), "304"),
        ("*".to_owned(), "304"),
        ("\"x\"".to_owned(), "200"),
    ] {
        let again = keys(&format!("GET PATHIf-None-Match: {sent}\r\n"));
        assert_eq!(status(&again), wanted, "{sent}");
    }
    let head = keys("HEAD PATH");
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
    for method in ["POST", "DELETE", "OPTIONS"] {
        let refused = keys(&format!("{method} PATHContent-Length: 0\r\n"));
        assert_eq!(status(&refused), "405", "{method}");
    }
}

/// A route for `a.example`, and sign-in at `auth.example`.
fn signing_in() -> Rc<RequestHandler> {
    let metrics = Arc::new(RouteMetrics::new(1));
    let matcher = Matcher {
        host: HostMatch::Exact("a.example".into()),
        port: PortMatch::Any,
        path: PathMatch::Any,
    };
    let spec = route(everybody(), hello());
    let route = Route { spec, matcher, cluster: None, metrics: Arc::clone(&metrics) };
    let config = RequestConfig::new(settings(), [route], metrics, Arc::default());
    let config = config.with_people(Arc::new(people(Some(sign_in_spec()))));
    let observer = Rc::new(WorkerObserver::detached(0));
    let upstreams = Upstreams::new(observer.clone());
    let identity = IdentityHandle::detached();
    Rc::new(RequestHandler::new(upstreams, observer, identity, Arc::new(config)))
}

#[test]
fn nobody_signs_in_at_a_host_that_is_not_ours() {
    for path in [
        "/.pomerium/",
        "/.pomerium/?sign_in",
        "/.pomerium/user",
        "/.pomerium/callback/",
        "/.pomerium/sign_out",
    ] {
        let at =
            |host| served(&signing_in(), &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let answer = at("evil.example");
        assert_eq!(status(&answer), "404", "{path}");
        assert!(!answer.contains("set-cookie"), "{path}");
        for host in ["a.example", "auth.example"] {
            assert_ne!(status(&at(host)), "404", "{host}{path}");
        }
    }
}

#[test]
fn the_paths_of_sign_in_are_nowhere_if_nobody_can_sign_in() {
    for path in ["/.pomerium/", "/.pomerium/user", "/.pomerium/sign_in", "/oauth2/callback"] {
        let answer = served(&signing(), &format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n"));
        assert_eq!(status(&answer), "404", "{path}");
    }
    let request = "GET /.well-known/pomerium HTTP/1.1\r\nHost: a.example:8443\r\n\r\n";
    let discovery = served(&signing(), request);
    let keys = "\"jwks_uri\":\"https://a.example:8443/.well-known/pomerium/jwks.json\"";
    assert!(discovery.contains(keys), "{discovery}");
    assert!(!discovery.contains("callback"), "{discovery}");
}
