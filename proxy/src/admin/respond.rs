//! Answers to requests, without any I/O.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri, header};
use serde::Serialize;

use super::{
    access::Access,
    page::{self, PageOptions},
    rates::RateHistory,
};
use crate::{
    observe::{self, Metrics, Readiness},
    steering::Steering,
};

/// The pages that a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pages {
    /// All of them.
    All,
    /// `/metrics` alone.
    MetricsOnly,
}

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// What the answer to a request depends on.
pub(super) struct AdminRequest<'a> {
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a HeaderMap,
}

/// What the pages show.
#[derive(Debug, Clone)]
pub(super) struct AdminState {
    pub(super) metrics: Arc<Metrics>,
    pub(super) steering: Arc<Steering>,
    /// For the rates on the page for people. The control thread alone locks it.
    pub(super) rates: Arc<Mutex<RateHistory>>,
}

/// Answers one request.
pub(super) fn respond(
    request: &AdminRequest<'_>,
    pages: Pages,
    access: &Access,
    state: &AdminState,
) -> Response<String> {
    if !access.hosts.allow(request.uri, request.headers) {
        let hint =
            "name this address by its IP address, or list the host in portcullis.admin_hosts";
        return text(StatusCode::MISDIRECTED_REQUEST, hint);
    }
    let credentials = request.headers.get(header::AUTHORIZATION);
    if access.password.as_ref().is_some_and(|auth| !auth.accepts(credentials)) {
        return unauthorized();
    }
    if !matches!(*request.method, Method::GET | Method::HEAD) {
        return method_not_allowed("GET, HEAD");
    }
    match (request.uri.path(), pages) {
        ("/", Pages::All) => overview(request.uri.query(), state),
        ("/metrics", _) => reply(StatusCode::OK, METRICS, state.metrics.render()),
        ("/healthz", Pages::All) => text(StatusCode::OK, "ok"),
        ("/readyz", Pages::All) => ready(state.metrics.readiness()),
        ("/status", Pages::All) => json(&state.metrics.status()),
        ("/steering", Pages::All) => steering(request.uri.query(), &state.steering),
        _ => text(StatusCode::NOT_FOUND, "not found"),
    }
}

fn overview(query: Option<&str>, state: &AdminState) -> Response<String> {
    let status = state.metrics.status();
    let mut history = state.rates.lock().unwrap_or_else(PoisonError::into_inner);
    let uptime = Duration::from_secs(status.uptime_s);
    let rates = history.look(Instant::now(), uptime, &status.routes);
    page::response(&status, &rates, PageOptions::of(query), &observe::now_rfc3339())
}

/// `?host=NAME`; no character of a DNS name needs an escape.
fn steering(query: Option<&str>, steering: &Steering) -> Response<String> {
    let host = query.and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("host=")));
    match host.and_then(|host| steering.explain(host)) {
        Some(view) => json(&view),
        None => text(StatusCode::BAD_REQUEST, "add ?host= and a DNS name"),
    }
}

fn ready(readiness: Readiness) -> Response<String> {
    match readiness {
        Readiness::Ready => text(StatusCode::OK, "ready"),
        Readiness::Starting => text(StatusCode::SERVICE_UNAVAILABLE, "starting"),
        Readiness::Draining => text(StatusCode::SERVICE_UNAVAILABLE, "draining"),
    }
}

fn json(value: &impl Serialize) -> Response<String> {
    match serde_json::to_string(value) {
        Ok(json) => reply(StatusCode::OK, JSON, json + "\n"),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn unauthorized() -> Response<String> {
    let mut response = text(StatusCode::UNAUTHORIZED, "unauthorized");
    let challenge = HeaderValue::from_static("Basic realm=\"metrics\", charset=\"UTF-8\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}

/// Names the allowed methods.
fn method_not_allowed(allowed: &'static str) -> Response<String> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, &format!("{allowed} only"));
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

/// One line of text.
fn text(status: StatusCode, line: &str) -> Response<String> {
    reply(status, TEXT, format!("{line}\n"))
}

fn reply(status: StatusCode, content_type: HeaderValue, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steering::{ModeChoice, SteeringRules, SteeringSpec};

    fn state(mode: ModeChoice) -> AdminState {
        let spec = SteeringSpec { hosts: vec!["a.example".into()], ..SteeringSpec::default() };
        let rules = Arc::new(SteeringRules::new(&spec, 2).unwrap());
        let steering = Arc::new(Steering::start(mode, &[], 2, rules, Ok(())).unwrap());
        AdminState { metrics: Arc::new(Metrics::new(2)), steering, rates: Arc::default() }
    }

    fn ask(method: &Method, uri: &str, host: &str, state: &AdminState) -> u16 {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
        let uri = &uri.parse().unwrap();
        let request = AdminRequest { method, uri, headers: &headers };
        respond(&request, Pages::All, &Access::open(&[]), state).status().as_u16()
    }

    #[test]
    fn the_address_is_for_reading_alone() {
        let state = state(ModeChoice::Handoff);
        for method in [Method::PUT, Method::DELETE, Method::POST, Method::OPTIONS] {
            for path in ["/workers/1/drain", "/status"] {
                assert_eq!(ask(&method, path, "127.0.0.1", &state), 405, "{method} {path}");
            }
        }
        assert!(!state.steering.is_drained(1));
    }

    #[test]
    fn a_page_with_a_name_of_its_own_reads_nothing() {
        let state = state(ModeChoice::None);
        for path in ["/", "/metrics", "/status", "/healthz", "/readyz", "/steering?host=a.example"]
        {
            assert_eq!(ask(&Method::GET, path, "evil.test:9464", &state), 421, "{path}");
        }
        assert_eq!(ask(&Method::GET, "/status", "localhost:9464", &state), 200);
    }

    #[test]
    fn steering_is_explained_for_dns_names_only() {
        let state = state(ModeChoice::Handoff);
        for (query, status) in
            [("?host=a.example", 200), ("?host=A%20b", 400), ("?x=1", 400), ("", 400)]
        {
            let uri = format!("/steering{query}");
            assert_eq!(ask(&Method::GET, &uri, "127.0.0.1", &state), status, "{query}");
        }
    }

    fn get(path: &str, pages: Pages, metrics: &Arc<Metrics>) -> Response<String> {
        let state = AdminState { metrics: Arc::clone(metrics), ..state(ModeChoice::None) };
        let (method, headers, uri) = (&Method::GET, &HeaderMap::new(), &path.parse().unwrap());
        respond(&AdminRequest { method, uri, headers }, pages, &Access::open(&[]), &state)
    }

    #[test]
    fn readiness_follows_the_state_and_health_does_not() {
        let metrics = Arc::new(Metrics::new(1));
        for (readiness, code) in
            [(Readiness::Starting, 503), (Readiness::Ready, 200), (Readiness::Draining, 503)]
        {
            metrics.set_readiness(readiness);
            assert_eq!(get("/readyz", Pages::All, &metrics).status(), code, "{readiness:?}");
            assert_eq!(get("/healthz", Pages::All, &metrics).status(), 200);
        }
    }

    #[test]
    fn the_metrics_listener_serves_metrics_alone() {
        let metrics = Arc::new(Metrics::new(1));
        assert_eq!(get("/metrics", Pages::MetricsOnly, &metrics).status(), 200);
        for path in
            ["/status", "/healthz", "/readyz", "/", "/metrics/", "/steering", "/workers/0/drain"]
        {
            assert_eq!(get(path, Pages::MetricsOnly, &metrics).status(), 404, "{path}");
        }
    }

    #[test]
    fn metrics_declare_their_format() {
        let response = get("/metrics", Pages::All, &Arc::new(Metrics::new(1)));
        let content_type = response.headers().get(header::CONTENT_TYPE);
        assert_eq!(content_type, Some(&METRICS));
        assert!(response.body().contains("\nportcullis_workers 1\n"));
    }
}
