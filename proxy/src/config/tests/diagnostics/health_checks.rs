//! What is said of `health_checks`, and how they are read.

use std::time::Duration;

use super::{assert_route_errors, assert_route_warnings, route};
use crate::{
    config::tests::support::{config, errors, errors_of, with_certificate},
    http::ActionSpec,
    upstream::{CheckHttpVersion, CheckerSpec, HealthCheckSpec},
};

/// A check with what every check needs, in one line below `to`, which is line 5.
fn check(keys: &str) -> String {
    format!(
        "to: http://b\nhealth_checks: [{{timeout: 1s, interval: 5s, unhealthy_threshold: 3, \
         healthy_threshold: 2, {keys}}}]"
    )
}

fn checks(keys: &str) -> Vec<HealthCheckSpec> {
    let config = config(&route(keys));
    let ActionSpec::Proxy(proxy) = &config.routes[0].http.action else { panic!("no proxy") };
    proxy.cluster.resilience.as_ref().expect("it has checks").checks.clone()
}

fn only_check(keys: &str) -> HealthCheckSpec {
    checks(keys).remove(0)
}

/// Each mistake with its one error, without the place of the check.
fn assert_check_errors(cases: &[(&str, &str)]) {
    for (keys, expected) in cases {
        let expected = format!("config.yaml:5: routes[0].health_checks[0]{expected}");
        assert_eq!(errors(&route(&check(keys))), [expected], "{keys}");
    }
}

const HTTP: &str = "http_health_check: {path: /}";

#[test]
fn a_check_needs_its_times_and_thresholds() {
    assert_route_errors(&[(
        "to: http://b\nhealth_checks:\n- tcp_health_check: {}",
        &[
            "config.yaml:6: routes[0].health_checks[0].timeout: is missing (write timeout: 1s)",
            "config.yaml:6: routes[0].health_checks[0].interval: is missing (write interval: 10s)",
            "config.yaml:6: routes[0].health_checks[0].unhealthy_threshold: is missing (write \
             unhealthy_threshold: 3)",
            "config.yaml:6: routes[0].health_checks[0].healthy_threshold: is missing (write \
             healthy_threshold: 2)",
        ],
    )]);
    let whole = [
        ("timeout", "1s"),
        ("interval", "1s"),
        ("unhealthy_threshold", "1"),
        ("healthy_threshold", "1"),
    ];
    for (key, zero, problem) in [
        ("timeout", "0s", "must be longer than zero"),
        ("timeout", "'-1s'", "`-1s` is negative"),
        ("interval", "0", "must be longer than zero"),
        ("interval", "9ms", "is shorter than 10ms"),
        ("interval", "5", "`5` has no unit; write 30s, 5m or 1h30m"),
        ("unhealthy_threshold", "0", "0 is not from 1 to 4294967295"),
        ("healthy_threshold", "1.5", "expected a whole number"),
        ("healthy_threshold", "4294967296", "4294967296 is not from 1 to 4294967295"),
    ] {
        let value =
            |name: &str, good: &str| if name == key { zero.to_owned() } else { good.to_owned() };
        let keys: Vec<_> =
            whole.iter().map(|(name, good)| format!("{name}: {}", value(name, good))).collect();
        let yaml = format!("to: http://b\nhealth_checks: [{{{}, {HTTP}}}]", keys.join(", "));
        let expected = format!("config.yaml:5: routes[0].health_checks[0].{key}: {problem}");
        assert_eq!(errors(&route(&yaml)), [expected], "{yaml}");
    }
}

#[test]
fn a_check_has_exactly_one_checker() {
    let hint = "(write one of http_health_check, tcp_health_check, grpc_health_check)";
    assert_check_errors(&[
        ("reuse_connection: true", &format!(".http_health_check: is missing {hint}")),
        ("http_health_check: null", &format!(".http_health_check: is missing {hint}")),
        (
            "tcp_health_check: {}, grpcHealthCheck: {}",
            &format!(".grpc_health_check: cannot stand beside `tcp_health_check` {hint}"),
        ),
    ]);
}

#[test]
fn what_an_http_check_cannot_mean_is_an_error() {
    let http = |keys: &str| format!("http_health_check: {{{keys}}}");
    for (keys, expected) in [
        ("host: a", ".path: is missing (write path: /healthz)"),
        (
            "path: health",
            ".path: `health` is not a path that begins with a slash (write path: /healthz)",
        ),
        (
            "path: 'http://b/'",
            ".path: `http://b/` is not a path that begins with a slash (write path: /healthz)",
        ),
        (
            "path: '/a b'",
            ".path: `/a b` is not a path that begins with a slash (write path: /healthz)",
        ),
        (
            "path: /, host: 'a b'",
            ".host: `a b` is not a host (write app.example.com or app.example.com:8443)",
        ),
        (
            "path: /, method: CONNECT",
            ".method: `CONNECT` is not an allowed value (one of GET, HEAD, POST, PUT, DELETE, OPTIONS, TRACE, PATCH)",
        ),
        (
            "path: /, codec_client_type: HTTP3",
            ".codec_client_type: `HTTP3` is not an allowed value (one of HTTP1, HTTP2)",
        ),
        (
            "path: /, codecClientType: 2",
            ".codec_client_type: `2` is not an allowed value (one of HTTP1, HTTP2)",
        ),
        (
            "path: /, expected_statuses: [{start: 99, end: 300}]",
            ".expected_statuses[0].start: 99 is not from 100 to 599",
        ),
        (
            "path: /, expected_statuses: [{start: 200, end: 601}]",
            ".expected_statuses[0].end: 601 is not from 100 to 600",
        ),
        (
            "path: /, expected_statuses: [{start: 200}]",
            ".expected_statuses[0].end: is missing (write end: 300)",
        ),
        (
            "path: /, retriable_statuses: [{start: 500, end: 500}]",
            ".retriable_statuses[0].end: must be greater than `start`, 500: it is not in the range",
        ),
        (
            "path: /, request_headers_to_remove: ['a b']",
            ".request_headers_to_remove: `a b` is not a header name",
        ),
        (
            "path: /, request_headers_to_remove: [host]",
            ".request_headers_to_remove: `host` cannot be removed: the request needs it",
        ),
        (
            "path: /, response_buffer_size: 16385",
            ".response_buffer_size: 16385 is not from 0 to 16384",
        ),
        (
            "path: /, receive: [{text: '0'}]",
            ".receive[0].text: is not an even number of hexadecimal digits (write 50494E47 for PING, or use binary: with base64)",
        ),
        (
            "path: /, send: {text: '00'}",
            ".send: a check with method GET has no body (write method: POST)",
        ),
    ] {
        assert_check_errors(&[(&http(keys), &format!(".http_health_check{expected}"))]);
    }
}

#[test]
fn what_a_tcp_check_cannot_send_is_an_error() {
    for (keys, expected) in [
        (
            "send: {text: PING}",
            ".send.text: is not an even number of hexadecimal digits (write 50494E47 for PING, or use binary: with base64)",
        ),
        (
            "send: {text: 50494}",
            ".send.text: is not an even number of hexadecimal digits (write 50494E47 for PING, or use binary: with base64)",
        ),
        ("receive: [{}]", ".receive[0].text: is missing (write text: 50494E47 for PING)"),
        ("receive: [{text: ''}]", ".receive[0].text: is missing (write text: 50494E47 for PING)"),
        (
            "receive: [{text: '00', binary: AA==}]",
            ".receive[0].text: cannot set both text and binary",
        ),
        ("send: {binary: '*'}", ".send.binary: is not base64 (printf 'PING' | base64)"),
    ] {
        let keys = format!("tcp_health_check: {{{keys}}}");
        assert_check_errors(&[(&keys, &format!(".tcp_health_check{expected}"))]);
    }
}

#[test]
fn a_percentage_above_100_is_an_error() {
    assert_check_errors(&[(
        "interval_jitter_percent: 101, tcp_health_check: {}",
        ".interval_jitter_percent: 101 is not from 0 to 100",
    )]);
}

#[test]
fn checks_of_a_route_without_upstreams_are_an_error() {
    let hint = "(remove the key, or write `to`)";
    let checks = "health_checks: [{timeout: 1s}]";
    assert_route_errors(&[
        (
            &format!("redirect: {{https_redirect: true}}\n{checks}"),
            &[&format!(
                "config.yaml:5: routes[0].health_checks: there is nothing to check: the \
                route has `redirect` {hint}"
            )],
        ),
        (
            &format!("response: {{status: 200}}\n{checks}"),
            &[&format!(
                "config.yaml:5: routes[0].health_checks: there is nothing to check: the \
                route has `response` {hint}"
            )],
        ),
    ]);
}

#[test]
fn what_checks_cannot_do_is_said() {
    for (keys, expected) in [
        ("alt_port: 9000", "alt_port: has no effect: checks go to the port in `to`"),
        (
            "transportSocketMatchCriteria: {a: b}",
            "transport_socket_match_criteria: has no effect: checks use the TLS settings of the route",
        ),
        (
            "no_traffic_healthy_interval: 60s",
            "no_traffic_healthy_interval: has no effect alone (write no_traffic_interval too)",
        ),
    ] {
        let expected = format!("config.yaml:5: routes[0].health_checks[0].{expected}");
        assert_route_warnings(&[(&check(&format!("{keys}, {HTTP}")), &[&expected])]);
    }
}

#[test]
fn an_unknown_sub_key_is_told_with_its_line() {
    let yaml = "to: http://b\nhealth_checks:\n- timeout: 1s\n  interval: 1s\n  unhealthyTreshold: 1\n  \
                unhealthy_threshold: 1\n  healthyThreshold: 1\n  http_health_check:\n    path: /\n    \
                expectedStatus: 200";
    assert_route_warnings(&[(
        yaml,
        &[
            "config.yaml:8: routes[0].health_checks[0].unhealthyTreshold: is not a known key, and \
             has no effect (`unhealthy_threshold`?)",
            "config.yaml:13: routes[0].health_checks[0].http_health_check.expectedStatus: is not a \
             known key, and has no effect (`expected_statuses`?)",
        ],
    )]);
    let strict = format!("{}portcullis: {{strict: true}}\n", with_certificate(&route(yaml)));
    assert_eq!(errors_of(&strict, &[]).len(), 2);
}

#[test]
fn a_key_in_two_spellings_is_an_error() {
    assert_check_errors(&[(
        "tcp_health_check: {}, tcpHealthCheck: {}",
        ".tcp_health_check: is given twice, in different spellings",
    )]);
}

#[test]
fn every_spelling_of_a_check_is_the_same_check() {
    let snake = "to: http://b\nhealth_checks:\n- timeout: 2.5s\n  interval: 90s\n  \
        unhealthy_threshold: 3\n  healthy_threshold: 2\n  reuse_connection: false\n  \
        interval_jitter_percent: 10\n  http_health_check:\n    path: /ready?x=1\n    \
        expected_statuses: [{start: 200, end: 300}]\n    codec_client_type: HTTP2\n    \
        request_headers_to_remove: [user-agent]";
    let camel = "to: http://b\nhealthChecks:\n- timeout: 2500ms\n  interval: 1m30s\n  \
        unhealthyThreshold: '3'\n  healthyThreshold: 2.0\n  reuseConnection: 'false'\n  \
        intervalJitterPercent: '10'\n  httpHealthCheck:\n    path: /ready?x=1\n    \
        expectedStatuses: [{start: '200', end: 300}]\n    codecClientType: 1\n    \
        requestHeadersToRemove: User-Agent";
    let expected = only_check(snake);
    // The key of the route itself is Pomerium's own, and in any case.
    assert_eq!(only_check(&camel.replace("healthChecks", "Health_Checks")), expected);
    assert_eq!(expected.timeout, Duration::from_millis(2500));
    let CheckerSpec::Http(http) = expected.checker else { panic!("another checker") };
    assert_eq!(http.version, Some(CheckHttpVersion::Http2));
    assert_eq!(http.expected_statuses, std::slice::from_ref(&(200..300)));
}

#[test]
fn a_payload_is_hexadecimal_or_base64() {
    let tcp = "send: {text: 50494e470D0A}, receive: [{binary: K1BPTkc}, {text: 0D}]";
    let check = only_check(&check(&format!("tcp_health_check: {{{tcp}}}")));
    let CheckerSpec::Tcp(tcp) = check.checker else { panic!("another checker") };
    assert_eq!(&*tcp.send, b"PING\r\n");
    assert_eq!(
        tcp.receive.iter().map(|block| &**block).collect::<Vec<_>>(),
        [&b"+PONG"[..], b"\r"]
    );
}

#[test]
fn intervals_follow_from_one_another() {
    let keys = "unhealthy_interval: 20s, healthy_edge_interval: 1s, tcp_health_check: {}";
    let intervals = only_check(&check(keys)).intervals;
    let seconds = Duration::from_secs;
    assert_eq!((intervals.interval, intervals.unhealthy), (seconds(5), seconds(20)));
    assert_eq!((intervals.unhealthy_edge, intervals.healthy_edge), (seconds(20), seconds(1)));
    assert_eq!(intervals.no_traffic, None, "Envoy's 60 s are not silent here");
}
