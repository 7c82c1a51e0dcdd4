//! Limits of connections and time.

use std::{
    net::TcpStream,
    time::{Duration, Instant},
};

use portcullis_tests::{Backend, Proxy, Raw, raw::TlsOptions, wait::until, wire::End};
use rustix::net::{self, AddressFamily, SocketType};

const HOST: &str = "app.localhost.pomerium.io";
const GET: &str = "GET / HTTP/1.1\r\nHost: app.localhost.pomerium.io\r\n\r\n";

/// The beginning of a request: its connection is not idle, and waits for the rest.
const HALF: &str = "GET / HTTP/1.1\r\n";

/// Holds connections that are not idle until the limit rejects one; returns those it holds.
fn fill(proxy: &Proxy, at_most: usize) -> Vec<Raw> {
    let options = TlsOptions::name(HOST);
    let mut held = Vec::new();
    while held.len() <= at_most {
        let Ok(mut raw) = Raw::try_tls(proxy.address(), &options) else { return held };
        raw.send(HALF);
        held.push(raw);
    }
    panic!("{} connections are open, and {at_most} were allowed", held.len());
}

fn evicted(proxy: &Proxy) -> f64 {
    proxy.metrics().sum("portcullis_connections_closed_total", &[("reason", "evicted")])
}

#[test]
fn connections_beyond_the_global_limit_are_refused() {
    let backend = Backend::text("x");
    let proxy =
        Proxy::config().own("max_connections", "10").forward("app", &backend.url(), "").start();
    let mut held = fill(&proxy, 10);
    assert_eq!(held.len(), 10);
    let refused = "portcullis_connections_refused_total";
    assert!(proxy.metrics().sum(refused, &[("reason", "global_limit")]) >= 1.0);
    let last = held.last_mut().expect("ten are held");
    last.send(format!("Host: {HOST}\r\n\r\n"));
    assert_eq!(last.response().status, 200, "those that are in go on");
    drop(held);
    until("a connection to be taken again", || proxy.curl("app", "/").run().status == 200);
}

#[test]
fn connections_beyond_a_workers_limit_are_refused() {
    let backend = Backend::text("x");
    let proxy = Proxy::config()
        .own("workers", "1")
        .own("max_connections_per_worker", "5")
        .forward("app", &backend.url(), "")
        .start();
    let held = fill(&proxy, 5);
    assert_eq!(held.len(), 5);
    let refused = "portcullis_connections_refused_total";
    assert!(proxy.metrics().sum(refused, &[("reason", "worker_limit")]) >= 1.0);
}

#[test]
fn idle_connections_make_room_for_new_clients() {
    let backend = Backend::text("x");
    let config = || {
        let config = Proxy::config().own("max_connections", "60").own("workers", "1");
        config.forward("app", &backend.url(), "")
    };
    for (protocol, opening) in
        [("http/1.1", GET), ("h2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")]
    {
        let proxy = config().start();
        let options = TlsOptions::name(HOST).alpn(protocol);
        let mut idle: Vec<_> = (0..60)
            .map(|_| {
                let mut raw = Raw::try_tls(proxy.address(), &options).expect("a handshake");
                raw.send(opening);
                raw
            })
            .collect();
        if protocol == "http/1.1" {
            idle.iter_mut().for_each(|raw| assert_eq!(raw.response().status, 200));
        }
        std::thread::sleep(Duration::from_millis(300)); // younger ones count as busy
        for _ in 0..5 {
            until("a place for a new client", || proxy.curl("app", "/").run().status == 200);
        }
        until("a connection to have made room", || evicted(&proxy) >= 1.0);
        proxy.assert_no_panic();
    }
}

#[test]
fn clients_without_a_hello_make_room_before_idle_ones() {
    let backend = Backend::text("x");
    let proxy = Proxy::config()
        .own("max_connections", "20")
        .own("workers", "1")
        .forward("app", &backend.url(), "")
        .start();
    let mut idle: Vec<_> = (0..10).map(|_| proxy.raw("app")).collect();
    let silent: Vec<_> = (0..10).map(|_| Raw::tcp(proxy.address())).collect();
    // At the limit, one is told to go ahead of the next client.
    proxy.wait_for_metric("portcullis_connections_active", &[], |open| open >= 19.0);
    for _ in 0..5 {
        assert_eq!(proxy.curl("app", "/").run().status, 200);
    }
    let handshakes = "portcullis_tls_handshakes_total";
    assert!(proxy.metrics().sum(handshakes, &[("result", "evicted")]) >= 1.0);
    assert_eq!(evicted(&proxy), 0.0, "the idle ones stay");
    for raw in &mut idle {
        raw.send(GET);
        assert_eq!(raw.response().status, 200);
    }
    let ended = silent.into_iter().next().expect("ten are silent").to_end();
    assert!(ended.bytes.is_empty(), "{ended:?}");
}

#[test]
fn idle_connections_are_closed_in_an_orderly_way() {
    let backend = Backend::text("x");
    let proxy =
        Proxy::config().global("timeout_idle: 500ms").forward("app", &backend.url(), "").start();
    let unused = proxy.raw("app");
    let mut used = proxy.raw("app");
    used.send(GET);
    assert_eq!(used.response().status, 200);
    assert_eq!(unused.to_end().end, End::Clean);
    assert_eq!(used.to_end().end, End::Clean);
    let h2 = Raw::try_tls(proxy.address(), &TlsOptions::name(HOST).alpn("h2"));
    let mut h2 = h2.expect("a handshake");
    h2.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    assert_eq!(h2.to_end().end, End::Clean);
}

#[test]
fn the_idle_timeout_does_not_cut_a_slow_response() {
    let backend = Backend::plain(|conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
        for _ in 0..5 {
            std::thread::sleep(Duration::from_millis(200)); // it is the slowness that is tested
            conn.send("x");
        }
    });
    let proxy =
        Proxy::config().global("timeout_idle: 300ms").forward("app", &backend.url(), "").start();
    for version in ["--http1.1", "--http2"] {
        assert_eq!(proxy.curl("app", "/").args([version]).ok().text(), "xxxxx");
    }
}

/// A client whose kernel takes little that it has not read.
fn narrow(proxy: &Proxy) -> Raw {
    let socket = net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    net::sockopt::set_socket_recv_buffer_size(&socket, 4096).expect("a buffer size");
    net::connect(&socket, &proxy.address()).expect("a connection");
    Raw::over(TcpStream::from(socket)).start_tls(HOST).expect("a handshake")
}

#[test]
fn the_idle_timeout_cuts_no_response_that_is_read_slowly() {
    // More than the proxy's kernel holds, and handed to the connection at once.
    let body = "x".repeat(6 << 20);
    let route = format!("from: https://{HOST}\nresponse: {{ status: 200, body: {body} }}");
    let proxy = Proxy::config().global("timeout_idle: 300ms").route(&route).start();
    let mut raw = narrow(&proxy);
    raw.send(GET);
    std::thread::sleep(Duration::from_secs(1)); // it is the slowness that is tested
    assert_eq!(raw.response().body.len(), body.len());
    assert_eq!(raw.to_end().end, End::Clean, "now it is idle");
}

fn limit_of_32_kib() -> (Backend, Proxy) {
    let backend = Backend::plain(|conn| {
        while let Some(head) = conn.request() {
            conn.respond(200, &head.header("x-long").map_or(0, str::len).to_string());
        }
    });
    let proxy =
        Proxy::config().own("max_header_bytes", "32768").forward("app", &backend.url(), "").start();
    (backend, proxy)
}

#[test]
fn an_http1_head_passes_up_to_exactly_the_limit() {
    let (_backend, proxy) = limit_of_32_kib();
    let answer = |bytes: usize| {
        let rest =
            format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\nX-Long: \r\n\r\n");
        let long = "x".repeat(bytes - rest.len());
        let mut raw = proxy.raw("app");
        raw.send(rest.replace("X-Long: ", &format!("X-Long: {long}")));
        (raw.to_end(), long.len())
    };
    let (at_the_limit, long) = answer(32_768);
    assert_eq!(at_the_limit.response().text(), long.to_string());
    // The limit also applies if hyper reads all of it at once.
    for beyond in [32_769, 40_000, 60_000] {
        let (refused, _) = answer(beyond);
        assert_eq!(refused.response().status, 431, "{beyond} bytes: {refused:?}");
        assert_eq!(refused.end, End::Clean, "{beyond} bytes");
    }
}

#[test]
fn an_http2_head_passes_up_to_the_limit() {
    let (_backend, proxy) = limit_of_32_kib();
    let fetch = |bytes: usize| {
        let header = format!("X-Long: {}", "x".repeat(bytes));
        proxy.curl("app", "/").http2().header(&header).run()
    };
    assert_eq!(fetch(32_000).text(), "32000"); // the other fields are below 700 bytes
    // curl itself rejects more than 64 KiB.
    for beyond in [32_768, 60_000] {
        assert_eq!(fetch(beyond).status, 431, "{beyond} bytes");
    }
}

#[test]
fn more_headers_pass_where_the_limit_is_raised() {
    let backend = Backend::echo();
    let proxy =
        Proxy::config().own("max_headers", "300").forward("app", &backend.url(), "").start();
    for version in ["--http1.1", "--http2"] {
        let with = |count: usize| {
            (0..count).fold(proxy.curl("app", "/").args([version]), |curl, i| {
                curl.header(&format!("X-{i}: 1"))
            })
        };
        assert_eq!(with(250).ok().echoed().all("x-249"), ["1"], "{version}");
        assert_eq!(with(301).run().status, 431, "{version}");
    }
}

#[test]
fn a_stream_ends_at_timeout_write() {
    let backend = Backend::plain(|conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while conn.try_send("1\r\nx\r\n") {
            std::thread::sleep(Duration::from_millis(20)); // a stream that never ends
        }
    });
    let proxy = Proxy::config()
        .global("timeout_write: 500ms")
        .forward("app", &backend.url(), "timeout: 0s")
        .start();
    let start = Instant::now();
    let fetched = proxy.curl("app", "/").run();
    assert_ne!(fetched.exit, 0, "{fetched:?}");
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_route_timeout_of_zero_is_no_limit() {
    let backend = Backend::plain(|conn| {
        while conn.request().is_some() {
            std::thread::sleep(Duration::from_millis(700)); // longer than the default below
            conn.respond(200, "slow");
        }
    });
    let proxy = Proxy::config()
        .global("default_upstream_timeout: 200ms")
        .forward("default", &backend.url(), "")
        .forward("unlimited", &backend.url(), "timeout: 0s")
        .start();
    assert_eq!(proxy.curl("default", "/").ok().status, 504);
    assert_eq!(proxy.curl("unlimited", "/").ok().text(), "slow");
}
