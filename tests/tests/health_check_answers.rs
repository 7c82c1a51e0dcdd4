//! Endpoints that answer health checks as no server should: a check fails in bounded time and with
//! bounded memory, whatever they send.

use std::{thread, time::Duration};

use portcullis_tests::{
    Backend, Proxy,
    backend::{Conn, not_tls},
    frames::{FrameServer, frame},
    wait::eventually,
};

const CHECK: &str = "timeout: 2s, interval: 100ms, unhealthy_threshold: 1, healthy_threshold: 1";

/// The last error of the endpoint of a script, once it is down.
fn error(checker: &str, script: impl Fn(&mut Conn) + Send + Sync + 'static) -> String {
    let backend = Backend::plain(script);
    let scheme = if checker.starts_with("grpc") { "h2c" } else { "http" };
    let to = format!("{scheme}://{}", backend.address());
    let more = format!("health_checks: [{{{CHECK}, {checker}}}]");
    let proxy = Proxy::config().forward("app", &to, &more).start();
    let error = eventually("the endpoint to be down", || {
        let view = proxy.status()["health"][0].clone();
        (view["state"] == "down").then(|| view["last_error"].as_str().expect("a text").to_owned())
    });
    let memory_kib = proxy.resident_kib();
    let failed = |proxy: &Proxy| {
        proxy.metrics().sum("portcullis_health_checks_total", &[("result", "failed")])
    };
    let before = failed(&proxy);
    // More of the same, one after the other.
    eventually("another failed check", || (failed(&proxy) > before).then_some(()));
    assert!(proxy.resident_kib() < memory_kib + 16 * 1024, "memory grows");
    proxy.assert_no_panic();
    error
}

const HTTP: &str = "http_health_check: {path: /}";
const TOO_LONG: &str = "more than 16384 bytes";

/// Sends a piece for as long as the proxy takes it.
fn endless(conn: &mut Conn, begin: &str, piece: &str) {
    conn.request();
    conn.send(begin);
    while conn.try_send(piece) {}
}

#[test]
fn endless_headers_are_a_failed_check() {
    let error = error(HTTP, |conn| endless(conn, "HTTP/1.1 200 OK\r\n", "a: bbbbbbbbbbbbbbb\r\n"));
    assert!(
        error.contains("headers") || error.contains("too large") || error.contains(TOO_LONG),
        "{error}"
    );
}

#[test]
fn one_endless_header_is_a_failed_check() {
    let error = error(HTTP, |conn| endless(conn, "HTTP/1.1 200 OK\r\na: ", &"b".repeat(1000)));
    assert!(error.contains("too large") || error.contains(TOO_LONG), "{error}");
}

#[test]
fn endless_interim_responses_are_a_failed_check() {
    let error = error(HTTP, |conn| endless(conn, "", "HTTP/1.1 103 Early Hints\r\n\r\n"));
    assert!(error.contains(TOO_LONG), "{error}");
}

#[test]
fn an_endless_body_is_a_failed_check() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let error = error(HTTP, |conn| endless(conn, head, "4\r\nabcd\r\n"));
    assert!(error.contains(TOO_LONG), "{error}");
}

#[test]
fn a_long_page_of_known_length_is_a_good_answer() {
    let backend = Backend::text(&"x".repeat(1 << 20));
    let more = format!("health_checks: [{{{CHECK}, {HTTP}}}]");
    let proxy = Proxy::config().forward("app", &backend.url(), &more).start();
    proxy.wait_for_metric("portcullis_health_checks_total", &[("result", "passed")], |n| n > 3.0);
    assert_eq!(proxy.status()["health"][0]["state"], "up");
}

#[test]
fn garbage_is_a_failed_check() {
    let error = error(HTTP, |conn| {
        conn.request();
        conn.send([0, 159, 146, 150, 13, 10, 13, 10]);
    });
    assert!(error.contains("invalid HTTP"), "{error}");
}

#[test]
fn a_slow_drip_is_a_failed_check() {
    let error = error(HTTP, |conn| {
        conn.request();
        // As slow as to take longer than a check may.
        while conn.try_send("HTTP/1.1 200 OK\r\nx: y\r\n") {
            thread::sleep(Duration::from_millis(500));
        }
    });
    assert!(error.starts_with("no answer within 2s, waiting for the response"), "{error}");
}

#[test]
fn a_body_that_is_cut_off_is_a_failed_check() {
    let error = error(HTTP, |conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
    });
    assert!(error.contains("end of file") || error.contains("body"), "{error}");
}

#[test]
fn a_tls_endpoint_that_speaks_no_tls_is_a_failed_check() {
    let backend = Backend::plain(not_tls);
    let to = format!("https://localhost:{}", backend.address().port());
    let more = format!("health_checks: [{{{CHECK}, {HTTP}}}]");
    let proxy = Proxy::config().forward_tls("app", &to, &more).start();
    let view = proxy.status()["health"][0].clone();
    assert_eq!(view["state"], "down");
    assert!(view["last_error"].as_str().expect("a text").starts_with("TLS: "), "{view}");
}

/// The head of a gRPC response as HPACK: `:status 200`, `content-type: application/grpc`.
fn grpc_head() -> Vec<u8> {
    [&[0x88, 0x0f, 0x10, 16][..], b"application/grpc"].concat()
}

#[test]
fn a_grpc_frame_of_1_mib_is_a_failed_check() {
    let error = error("grpc_health_check: {}", |conn| {
        let mut server = FrameServer::new(conn, &[]);
        while let Some(stream) = server.request() {
            server.send(&frame(1, 4, stream, &grpc_head()));
            // The prefix of a message of 1 MiB.
            server.send(&frame(0, 0, stream, &[0, 0, 16, 0, 0, 8]));
        }
    });
    assert_eq!(error, "the answer has no gRPC status");
}

#[test]
fn endless_frames_are_a_failed_check() {
    let error = error("grpc_health_check: {}", |conn| {
        let mut server = FrameServer::new(conn, &[]);
        server.request();
        // PING.
        while server.send(&frame(6, 0, 0, &[0; 8])) {}
    });
    assert!(error.contains(TOO_LONG) || error.contains("connection"), "{error}");
}

#[test]
fn http2_garbage_is_a_failed_check() {
    let error = error("grpc_health_check: {}", |conn| {
        conn.send([0xff; 64]);
        conn.wait_for_end();
    });
    assert!(error.contains("http2 error") || error.contains("connection"), "{error}");
}
