//! Answers to requests, without any I/O.

use std::{net::SocketAddr, sync::Arc};

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use serde::Serialize;

use super::{SessionOrders, access::BasicAuth, orders};
use crate::{
    observe::{Metrics, Readiness},
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
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
    pub(super) headers: &'a HeaderMap,
    pub(super) peer: SocketAddr,
}

/// What the pages show.
#[derive(Debug, Clone)]
pub(super) struct AdminState {
    pub(super) metrics: Arc<Metrics>,
    pub(super) steering: Arc<Steering>,
    pub(super) sessions: SessionOrders,
}

/// Answers one request.
pub(super) fn respond(
    request: &AdminRequest<'_>,
    pages: Pages,
    password: Option<&BasicAuth>,
    state: &AdminState,
) -> Response<String> {
    if password.is_some_and(|auth| !auth.accepts(request.headers.get(header::AUTHORIZATION))) {
        return unauthorized();
    }
    if pages == Pages::All
        && let Some(response) = orders::respond(request, &state.steering)
    {
        return response;
    }
    if !matches!(*request.method, Method::GET | Method::HEAD) {
        return method_not_allowed("GET, HEAD");
    }
    match (request.path, pages) {
        ("/metrics", _) => reply(StatusCode::OK, METRICS, state.metrics.render()),
        ("/healthz", Pages::All) => text(StatusCode::OK, "ok"),
        ("/readyz", Pages::All) => ready(state.metrics.readiness()),
        ("/status", Pages::All) => json(&state.metrics.status()),
        ("/steering", Pages::All) => steering(request.query, &state.steering),
        _ => text(StatusCode::NOT_FOUND, "not found"),
    }
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

/// A value as JSON.
pub(super) fn json(value: &impl Serialize) -> Response<String> {
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
pub(super) fn method_not_allowed(allowed: &'static str) -> Response<String> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, &format!("{allowed} only"));
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

/// One line of text.
pub(super) fn text(status: StatusCode, line: &str) -> Response<String> {
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
        let steering = Arc::new(Steering::start(mode, &[], 2, rules).unwrap());
        let (sessions, _) = crate::control_call::channel(1);
        AdminState { metrics: Arc::new(Metrics::new(2)), steering, sessions }
    }

    fn ask(method: Method, path: &str, peer: [u8; 4], origin: bool, state: &AdminState) -> u16 {
        let mut headers = HeaderMap::new();
        if origin {
            headers.insert(header::ORIGIN, HeaderValue::from_static("http://127.0.0.1:9464"));
        }
        let peer = (peer, 1).into();
        let request = AdminRequest { method: &method, path, query: None, headers: &headers, peer };
        respond(&request, Pages::All, None, state).status().as_u16()
    }

    const LOCAL: [u8; 4] = [127, 0, 0, 1];

    #[test]
    fn a_worker_is_drained_and_used_again() {
        let state = state(ModeChoice::Handoff);
        for _ in 0..2 {
            assert_eq!(ask(Method::PUT, "/workers/1/drain", LOCAL, false, &state), 200);
            assert!(state.steering.is_drained(1) && !state.steering.is_drained(0));
        }
        assert_eq!(ask(Method::DELETE, "/workers/1/drain", LOCAL, false, &state), 200);
        assert!(!state.steering.is_drained(1));
    }

    #[test]
    fn orders_from_other_hosts_and_from_browsers_are_refused() {
        let state = state(ModeChoice::Handoff);
        assert_eq!(ask(Method::PUT, "/workers/1/drain", [192, 0, 2, 1], false, &state), 403);
        assert_eq!(ask(Method::PUT, "/workers/1/drain", LOCAL, true, &state), 403);
        for method in [Method::GET, Method::POST, Method::OPTIONS] {
            assert_eq!(ask(method, "/workers/1/drain", LOCAL, false, &state), 405);
        }
        assert!(!state.steering.is_drained(1));
    }

    #[test]
    fn an_order_that_cannot_be_followed_is_an_error() {
        let handoff = state(ModeChoice::Handoff);
        for path in ["/workers/2/drain", "/workers/x/drain", "/workers//drain", "/workers/1/x"] {
            assert_eq!(ask(Method::PUT, path, LOCAL, false, &handoff) / 100, 4, "{path}");
        }
        let none = state(ModeChoice::None);
        assert_eq!(ask(Method::PUT, "/workers/1/drain", LOCAL, false, &none), 409);
    }

    #[test]
    fn steering_is_explained_for_dns_names_only() {
        let state = state(ModeChoice::Handoff);
        for (query, status) in [
            (Some("host=a.example"), 200),
            (Some("host=A%20b"), 400),
            (Some("x=1"), 400),
            (None, 400),
        ] {
            let headers = HeaderMap::new();
            let peer = (LOCAL, 1).into();
            let method = &Method::GET;
            let request =
                AdminRequest { method, path: "/steering", query, headers: &headers, peer };
            let response = respond(&request, Pages::All, None, &state);
            assert_eq!(response.status(), status, "{query:?}");
        }
    }

    fn get(path: &str, pages: Pages, metrics: &Arc<Metrics>) -> Response<String> {
        let state = AdminState { metrics: Arc::clone(metrics), ..state(ModeChoice::None) };
        let (method, headers, peer) = (&Method::GET, &HeaderMap::new(), (LOCAL, 1).into());
        respond(&AdminRequest { method, path, query: None, headers, peer }, pages, None, &state)
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

    #[test]
    fn a_method_that_changes_things_is_refused() {
        let state = state(ModeChoice::None);
        assert_eq!(ask(Method::POST, "/status", LOCAL, false, &state), 405);
    }
}
