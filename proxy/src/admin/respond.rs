//! The answers, without any I/O.

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

use super::access::BasicAuth;
use crate::observe::{Metrics, State};

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

/// Answers one request.
pub(super) fn respond(
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    scope: Scope,
    password: Option<&BasicAuth>,
    metrics: &Metrics,
) -> Response<String> {
    if password.is_some_and(|auth| !auth.accepts(headers.get(header::AUTHORIZATION))) {
        return unauthorized();
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        return method_not_allowed();
    }
    match (path, scope) {
        ("/metrics", _) => reply(StatusCode::OK, METRICS, metrics.render()),
        ("/healthz", Scope::Everything) => reply(StatusCode::OK, TEXT, "ok\n".into()),
        ("/readyz", Scope::Everything) => ready(metrics.state()),
        ("/status", Scope::Everything) => status(metrics),
        _ => reply(StatusCode::NOT_FOUND, TEXT, "not found\n".into()),
    }
}

fn ready(state: State) -> Response<String> {
    match state {
        State::Ready => reply(StatusCode::OK, TEXT, "ready\n".into()),
        State::Starting => reply(StatusCode::SERVICE_UNAVAILABLE, TEXT, "starting\n".into()),
        State::Draining => reply(StatusCode::SERVICE_UNAVAILABLE, TEXT, "draining\n".into()),
    }
}

fn status(metrics: &Metrics) -> Response<String> {
    match serde_json::to_string(&metrics.status()) {
        Ok(json) => reply(StatusCode::OK, JSON, json + "\n"),
        Err(error) => reply(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
    }
}

fn unauthorized() -> Response<String> {
    let mut response = reply(StatusCode::UNAUTHORIZED, TEXT, "unauthorized\n".into());
    let challenge = HeaderValue::from_static("Basic realm=\"metrics\", charset=\"UTF-8\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}

fn method_not_allowed() -> Response<String> {
    let mut response = reply(StatusCode::METHOD_NOT_ALLOWED, TEXT, "GET or HEAD only\n".into());
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
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

    fn get(path: &str, scope: Scope, metrics: &Metrics) -> Response<String> {
        respond(&Method::GET, path, &HeaderMap::new(), scope, None, metrics)
    }

    #[test]
    fn readiness_follows_the_state_and_health_does_not() {
        let metrics = Metrics::new(1);
        for (state, code) in [(State::Starting, 503), (State::Ready, 200), (State::Draining, 503)] {
            metrics.set_state(state);
            assert_eq!(get("/readyz", Scope::Everything, &metrics).status(), code, "{state:?}");
            assert_eq!(get("/healthz", Scope::Everything, &metrics).status(), 200);
        }
    }

    #[test]
    fn the_metrics_listener_serves_metrics_alone() {
        let metrics = Metrics::new(1);
        assert_eq!(get("/metrics", Scope::MetricsOnly, &metrics).status(), 200);
        for path in ["/status", "/healthz", "/readyz", "/", "/metrics/"] {
            assert_eq!(get(path, Scope::MetricsOnly, &metrics).status(), 404, "{path}");
        }
    }

    #[test]
    fn metrics_say_which_format_they_are_in() {
        let response = get("/metrics", Scope::Everything, &Metrics::new(1));
        let content_type = response.headers().get(header::CONTENT_TYPE);
        assert_eq!(content_type, Some(&METRICS));
        assert!(response.body().contains("\nportcullis_workers 1\n"));
    }

    #[test]
    fn a_method_that_changes_things_is_refused() {
        let response = respond(
            &Method::POST,
            "/status",
            &HeaderMap::new(),
            Scope::Everything,
            None,
            &Metrics::new(1),
        );
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers().get(header::ALLOW).unwrap(), "GET, HEAD");
    }
}
