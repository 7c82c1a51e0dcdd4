//! `health_checks` of a route.

use std::{ops::Range, time::Duration};

use http::{HeaderName, Method, Uri, header, uri::Authority};

use super::{
    super::section::Section,
    inspect::any_on,
    proto_json::{bytes, enumeration, number, percent, positive_duration},
};
use crate::upstream::{
    CheckHttpVersion, CheckIntervals, CheckThresholds, CheckerSpec, GrpcCheckSpec, HealthCheckSpec,
    HttpCheckSpec, NoTrafficIntervals, TcpCheckSpec,
};

/// Checks that follow each other faster are a slip, and would keep a thread busy.
const LEAST_INTERVAL: Duration = Duration::from_millis(10);
/// The most bytes of a response that are read.
const MOST_RESPONSE_BYTES: usize = 16 << 10;

const CHECKERS: [&str; 3] = ["http_health_check", "tcp_health_check", "grpc_health_check"];

/// The checks of a route with upstreams. Those with a mistake are left out.
pub(super) fn health_checks(route: &Section<'_>) -> Vec<HealthCheckSpec> {
    route.children("health_checks").iter().filter_map(health_check).collect()
}

/// Reports checks of a route that has no upstreams.
pub(super) fn refuse_health_checks(route: &Section<'_>, action: &str) {
    if any_on(route, &["health_checks"]) {
        let message = format!("there is nothing to check: the route has `{action}`");
        route.error_with_hint("health_checks", message, "remove the key, or write `to`");
    }
}

fn health_check(check: &Section<'_>) -> Option<HealthCheckSpec> {
    let timeout = required(check, "timeout", "1s", positive_duration);
    let interval = required(check, "interval", "10s", interval);
    let unhealthy = required(check, "unhealthy_threshold", "3", threshold);
    let healthy = required(check, "healthy_threshold", "2", threshold);
    let intervals = intervals(check, interval.unwrap_or(LEAST_INTERVAL));
    let reuse_connection = check.flag("reuse_connection").unwrap_or(true);
    let checker = checker(check);
    interval?;
    Some(HealthCheckSpec {
        checker: checker?,
        timeout: timeout?,
        thresholds: CheckThresholds { unhealthy: unhealthy?, healthy: healthy? },
        intervals,
        reuse_connection,
    })
}

/// Reads a key that has no default. `example` is a value for it.
fn required<T>(
    check: &Section<'_>,
    key: &str,
    example: &str,
    read: impl FnOnce(&Section<'_>, &str) -> Option<T>,
) -> Option<T> {
    if !check.has(key) {
        check.error_with_hint(key, "is missing", format!("write {key}: {example}"));
        return None;
    }
    read(check, key)
}

fn threshold(check: &Section<'_>, key: &str) -> Option<u32> {
    number(check, key, 1..=u32::MAX)
}

fn interval(check: &Section<'_>, key: &str) -> Option<Duration> {
    let interval = positive_duration(check, key)?;
    if interval < LEAST_INTERVAL {
        check.error(key, format!("is shorter than {LEAST_INTERVAL:?}"));
        return None;
    }
    Some(interval)
}

fn intervals(check: &Section<'_>, regular: Duration) -> CheckIntervals {
    let of = |key: &str| interval(check, key);
    let unhealthy = of("unhealthy_interval").unwrap_or(regular);
    let no_traffic = of("no_traffic_interval");
    let no_traffic_healthy = of("no_traffic_healthy_interval");
    if no_traffic.is_none() && no_traffic_healthy.is_some() {
        let hint = "write no_traffic_interval too";
        check.warn_with_hint("no_traffic_healthy_interval", "has no effect alone", hint);
    }
    let jitter = |key: &str| check.duration(key).unwrap_or_default();
    CheckIntervals {
        interval: regular,
        unhealthy,
        unhealthy_edge: of("unhealthy_edge_interval").unwrap_or(unhealthy),
        healthy_edge: of("healthy_edge_interval").unwrap_or(regular),
        no_traffic: no_traffic.map(|other| NoTrafficIntervals {
            healthy: no_traffic_healthy.unwrap_or(other),
            other,
        }),
        initial_jitter: jitter("initial_jitter"),
        jitter: jitter("interval_jitter"),
        jitter_percent: percent(check, "interval_jitter_percent").unwrap_or(0),
    }
}

fn checker(check: &Section<'_>) -> Option<CheckerSpec> {
    let given: Vec<_> = CHECKERS.into_iter().filter(|key| check.has(key)).collect();
    let hint = format!("write one of {}", CHECKERS.join(", "));
    match given.as_slice() {
        [] => {
            check.error_with_hint(CHECKERS[0], "is missing", hint);
            None
        }
        [key] => {
            let message = check.child(key)?;
            match *key {
                "http_health_check" => http(&message).map(CheckerSpec::Http),
                "tcp_health_check" => Some(CheckerSpec::Tcp(tcp(&message))),
                _ => Some(CheckerSpec::Grpc(grpc(&message))),
            }
        }
        [first, second, ..] => {
            check.error_with_hint(second, format!("cannot stand beside `{first}`"), hint);
            None
        }
    }
}

fn http(message: &Section<'_>) -> Option<HttpCheckSpec> {
    let path = path(message);
    let mut spec = HttpCheckSpec::get("/");
    spec.host = authority(message, "host");
    spec.method = method(message);
    spec.version = version(message);
    spec.request_headers_to_remove = headers_to_remove(message);
    spec.retriable_statuses = statuses(message, "retriable_statuses");
    // An empty list is as good as none.
    let expected = statuses(message, "expected_statuses");
    if !expected.is_empty() {
        spec.expected_statuses = expected;
    }
    spec.receive = payloads(message, "receive");
    if let Some(size) = number(message, "response_buffer_size", 0..=MOST_RESPONSE_BYTES as u64) {
        let size = usize::try_from(size).unwrap_or(MOST_RESPONSE_BYTES);
        spec.response_buffer_bytes = if size == 0 { MOST_RESPONSE_BYTES } else { size };
    }
    spec.send = payload_below(message, "send");
    if !spec.send.is_empty() && !crate::upstream::may_have_body(&spec.method) {
        let problem = format!("a check with method {} has no body", spec.method);
        message.error_with_hint("send", problem, "write method: POST");
    }
    spec.path = path?;
    Some(spec)
}

fn path(message: &Section<'_>) -> Option<Box<str>> {
    let hint = "write path: /healthz";
    let Some(path) = message.text("path") else {
        message.error_with_hint("path", "is missing", hint);
        return None;
    };
    let is_target = path.parse::<Uri>().is_ok_and(|uri| {
        uri.authority().is_none() && uri.path_and_query().is_some_and(|it| it.as_str() == path)
    });
    if !path.starts_with('/') || !is_target {
        let problem = format!("`{}` is not a path that begins with a slash", path.escape_debug());
        message.error_with_hint("path", problem, hint);
        return None;
    }
    Some(path.into())
}

fn authority(message: &Section<'_>, key: &str) -> Option<Box<str>> {
    let text = message.text(key)?;
    if Authority::try_from(text.as_str()).is_err() {
        let problem = format!("`{}` is not a host", text.escape_debug());
        message.error_with_hint(key, problem, "write app.example.com or app.example.com:8443");
        return None;
    }
    Some(text.into())
}

fn method(message: &Section<'_>) -> Method {
    let methods = [
        ("GET", 1, Method::GET),
        ("HEAD", 2, Method::HEAD),
        ("POST", 3, Method::POST),
        ("PUT", 4, Method::PUT),
        ("DELETE", 5, Method::DELETE),
        ("OPTIONS", 7, Method::OPTIONS),
        ("TRACE", 8, Method::TRACE),
        ("PATCH", 9, Method::PATCH),
    ];
    let names = methods.each_ref().map(|(name, number, method)| (*name, *number, method));
    enumeration(message, "method", &names).cloned().unwrap_or(Method::GET)
}

fn version(message: &Section<'_>) -> Option<CheckHttpVersion> {
    let versions = [("HTTP1", 0, CheckHttpVersion::Http1), ("HTTP2", 1, CheckHttpVersion::Http2)];
    enumeration(message, "codec_client_type", &versions)
}

fn headers_to_remove(message: &Section<'_>) -> Vec<HeaderName> {
    let key = "request_headers_to_remove";
    let mut names = Vec::new();
    for name in message.list(key) {
        match HeaderName::try_from(name.as_str()) {
            Ok(name) if [header::HOST, header::CONTENT_LENGTH].contains(&name) => {
                message.error(key, format!("`{name}` cannot be removed: the request needs it"));
            }
            Ok(name) => names.push(name),
            Err(_) => {
                message.error(key, format!("`{}` is not a header name", name.escape_debug()));
            }
        }
    }
    names
}

/// Half-open ranges.
fn statuses(message: &Section<'_>, key: &str) -> Vec<Range<u16>> {
    let range = |range: &Section<'_>| {
        let start = required(range, "start", "200", |range, key| number(range, key, 100..=599));
        let end = required(range, "end", "300", |range, key| number(range, key, 100..=600));
        let (start, end) = (start?, end?);
        if start >= end {
            let problem = format!("must be greater than `start`, {start}: it is not in the range");
            range.error("end", problem);
            return None;
        }
        Some(start..end)
    };
    message.children(key).iter().filter_map(range).collect()
}

fn tcp(message: &Section<'_>) -> TcpCheckSpec {
    TcpCheckSpec { send: payload_below(message, "send"), receive: payloads(message, "receive") }
}

fn grpc(message: &Section<'_>) -> GrpcCheckSpec {
    GrpcCheckSpec {
        service_name: message.text("service_name").unwrap_or_default().into(),
        authority: authority(message, "authority"),
    }
}

fn payload_below(message: &Section<'_>, key: &str) -> Box<[u8]> {
    message.child(key).and_then(|payload_of| payload(&payload_of)).unwrap_or_default()
}

fn payloads(message: &Section<'_>, key: &str) -> Box<[Box<[u8]>]> {
    message.children(key).iter().filter_map(expected_payload).collect()
}

/// A payload that an answer must contain, which cannot be empty: every answer would have it.
fn expected_payload(message: &Section<'_>) -> Option<Box<[u8]>> {
    let payload = payload(message)?;
    if payload.is_empty() && message.has("binary") {
        message.error_with_hint("binary", "is empty", "write binary: UE9ORw== for PONG");
        return None;
    }
    Some(payload)
}

/// `text`, which is hexadecimal, or `binary`.
fn payload(message: &Section<'_>) -> Option<Box<[u8]>> {
    let payload = match (message.has("text"), message.has("binary")) {
        (true, true) => {
            super::material::contradiction(message, "text", "binary");
            return None;
        }
        (true, false) => hexadecimal(message, "text")?,
        (false, true) => bytes(message, "binary")?,
        (false, false) => Vec::new(),
    };
    if payload.is_empty() && !message.has("binary") {
        message.error_with_hint("text", "is missing", "write text: 50494E47 for PING");
    }
    Some(payload.into())
}

fn hexadecimal(message: &Section<'_>, key: &str) -> Option<Vec<u8>> {
    let text = message.text(key).unwrap_or_default();
    let digit =
        |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let digits: Option<Vec<u8>> = text.as_bytes().iter().map(digit).collect();
    match digits {
        Some(digits) if digits.len().is_multiple_of(2) => Some(
            digits
                .chunks(2)
                .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
                .collect(),
        ),
        _ => {
            let hint = "write 50494E47 for PING, or use binary: with base64";
            message.error_with_hint(key, "is not an even number of hexadecimal digits", hint);
            None
        }
    }
}
