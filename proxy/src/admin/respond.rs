//! The answers, without any I/O.

use std::{net::SocketAddr, sync::Arc};

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use serde::Serialize;

use super::{access::BasicAuth, orders};
use crate::{
    observe::{Metrics, State},
    steering::Steering,
};

/// What a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// All pages.
    Everything,
    /// `/metrics` alone.
    MetricsOnly,
}

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// What is asked, and by whom.
pub(super) struct Asked<'a> {
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
    pub(super) headers: &'a HeaderMap,
    pub(super) peer: SocketAddr,
}

/// What there is to show.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) metrics: Arc<Metrics>,
    pub(super) steering: Arc<Steering>,
}

/// Answers one request.
pub(super) fn respond(
    asked: &Asked<'_>,
    scope: Scope,
    password: Option<&BasicAuth>,
    shown: &Shown,
) -> Response<String> {
    if password.is_some_and(|auth| !auth.accepts(asked.headers.get(header::AUTHORIZATION))) {
        return unauthorized();
    }
    if scope == Scope::Everything
        && let Some(response) = orders::respond(asked, &shown.steering)
    {
        return response;
    }
    if !matches!(*asked.method, Method::GET | Method::HEAD) {
        return method_not_allowed("GET, HEAD");
    }
    match (asked.path, scope) {
        ("/metrics", _) => reply(StatusCode::OK, METRICS, shown.metrics.render()),
        ("/healthz", Scope::Everything) => text(StatusCode::OK, "ok"),
        ("/readyz", Scope::Everything) => ready(shown.metrics.state()),
        ("/status", Scope::Everything) => json(&shown.metrics.status()),
        ("/steering", Scope::Everything) => steering(asked.query, &shown.steering),
        _ => text(StatusCode::NOT_FOUND, "not found"),
    }
}

/// `?host=NAME`; names have nothing in them that would need an escape.
fn steering(query: Option<&str>, steering: &Steering) -> Response<String> {
    let host = query.and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("host=")));
    match host.and_then(|host| steering.explain(host)) {
        Some(view) => json(&view),
        None => text(StatusCode::BAD_REQUEST, "ask with ?host= and a DNS name"),
    }
}

fn ready(state: State) -> Response<String> {
    match state {
        State::Ready => text(StatusCode::OK, "ready"),
        State::Starting => text(StatusCode::SERVICE_UNAVAILABLE, "starting"),
        State::Draining => text(StatusCode::SERVICE_UNAVAILABLE, "draining"),
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

/// Names the methods that there are.
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

    fn shown(mode: ModeChoice) -> Shown {
        let spec = SteeringSpec { hosts: vec!["a.example".into()], ..SteeringSpec::default() };
        let rules = Arc::new(SteeringRules::new(&spec, 2).unwrap());
        let steering = Arc::new(Steering::start(mode, &[], 2, rules).unwrap());
        Shown { metrics: Arc::new(Metrics::new(2)), steering }
    }

    fn ask(method: Method, path: &str, peer: [u8; 4], origin: bool, shown: &Shown) -> u16 {
        let mut headers = HeaderMap::new();
        if origin {
            headers.insert(header::ORIGIN, HeaderValue::from_static("http://127.0.0.1:9464"));
        }
        let peer = (peer, 1).into();
        let asked = Asked { method: &method, path, query: None, headers: &headers, peer };
        respond(&asked, Scope::Everything, None, shown).status().as_u16()
    }

    const LOCAL: [u8; 4] = [127, 0, 0, 1];

    #[test]
    fn a_worker_is_taken_out_and_in_again() {
        let shown = shown(ModeChoice::Handoff);
        for _ in 0..2 {
            assert_eq!(ask(Method::PUT, "/workers/1/drain", LOCAL, false, &shown), 200);
            assert!(shown.steering.is_drained(1) && !shown.steering.is_drained(0));
        }
        assert_eq!(ask(Method::DELETE, "/workers/1/drain", LOCAL, false, &shown), 200);
        assert!(!shown.steering.is_drained(1));
    }

    #[test]
    fn orders_are_not_taken_from_elsewhere_nor_from_a_browser() {
        let shown = shown(ModeChoice::Handoff);
        assert_eq!(ask(Method::PUT, "/workers/1/drain", [192, 0, 2, 1], false, &shown), 403);
        assert_eq!(ask(Method::PUT, "/workers/1/drain", LOCAL, true, &shown), 403);
        for method in [Method::GET, Method::POST, Method::OPTIONS] {
            assert_eq!(ask(method, "/workers/1/drain", LOCAL, false, &shown), 405);
        }
        assert!(!shown.steering.is_drained(1));
    }

    #[test]
    fn a_worker_that_cannot_be_taken_out_is_told_of() {
        let handoff = shown(ModeChoice::Handoff);
        for path in ["/workers/2/drain", "/workers/x/drain", "/workers//drain", "/workers/1/x"] {
            assert_eq!(ask(Method::PUT, path, LOCAL, false, &handoff) / 100, 4, "{path}");
        }
        let none = shown(ModeChoice::None);
        assert_eq!(ask(Method::PUT, "/workers/1/drain", LOCAL, false, &none), 409);
    }

    #[test]
    fn where_a_host_goes_is_told_for_names_alone() {
        let shown = shown(ModeChoice::Handoff);
        for (query, status) in [
            (Some("host=a.example"), 200),
            (Some("host=A%20b"), 400),
            (Some("x=1"), 400),
            (None, 400),
        ] {
            let headers = HeaderMap::new();
            let peer = (LOCAL, 1).into();
            let method = &Method::GET;
            let asked = Asked { method, path: "/steering", query, headers: &headers, peer };
            let response = respond(&asked, Scope::Everything, None, &shown);
            assert_eq!(response.status(), status, "{query:?}");
        }
    }

    fn get(path: &str, scope: Scope, metrics: &Arc<Metrics>) -> Response<String> {
        let shown = Shown { metrics: Arc::clone(metrics), ..shown(ModeChoice::None) };
        let (method, headers, peer) = (&Method::GET, &HeaderMap::new(), (LOCAL, 1).into());
        respond(&Asked { method, path, query: None, headers, peer }, scope, None, &shown)
    }

    #[test]
    fn readiness_follows_the_state_and_health_does_not() {
        let metrics = Arc::new(Metrics::new(1));
        for (state, code) in [(State::Starting, 503), (State::Ready, 200), (State::Draining, 503)] {
            metrics.set_state(state);
            assert_eq!(get("/readyz", Scope::Everything, &metrics).status(), code, "{state:?}");
            assert_eq!(get("/healthz", Scope::Everything, &metrics).status(), 200);
        }
    }

    #[test]
    fn the_metrics_listener_serves_metrics_alone() {
        let metrics = Arc::new(Metrics::new(1));
        assert_eq!(get("/metrics", Scope::MetricsOnly, &metrics).status(), 200);
        for path in
            ["/status", "/healthz", "/readyz", "/", "/metrics/", "/steering", "/workers/0/drain"]
        {
            assert_eq!(get(path, Scope::MetricsOnly, &metrics).status(), 404, "{path}");
        }
    }

    #[test]
    fn metrics_say_which_format_they_are_in() {
        let response = get("/metrics", Scope::Everything, &Arc::new(Metrics::new(1)));
        let content_type = response.headers().get(header::CONTENT_TYPE);
        assert_eq!(content_type, Some(&METRICS));
        assert!(response.body().contains("\nportcullis_workers 1\n"));
    }

    #[test]
    fn a_method_that_changes_things_is_refused() {
        let shown = shown(ModeChoice::None);
        assert_eq!(ask(Method::POST, "/status", LOCAL, false, &shown), 405);
    }
}
