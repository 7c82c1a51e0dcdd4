//! Pooled connections to upstreams: the fate of requests when the upstream closes the connection.
//! The upstreams are nginx and nghttp2, which close connections in realistic ways.

use std::{collections::BTreeSet, net::SocketAddr, process::Command};

use portcullis_tests::{
    Backend, Load, Proxy,
    backend::says,
    nginx::{Nginx, Setup},
    pki,
    ports::free_port,
    process::Process,
    proxy::Config,
    tools::need,
    wait::until,
};

/// The number of requests that the load sends while an upstream closes connection after connection.
const MANY: usize = 1500;

fn config(upstream: &str) -> Config {
    Proxy::config().forward_tls("app", upstream, "")
}

/// Sends load to an upstream, none of which may fail, and returns the number of its connections
/// that carried requests.
fn survives(setup: Setup) -> usize {
    let nginx = setup.with("location / { return 200 ok; }").start();
    let proxy = config(&nginx.url()).start();
    let load = Load::start(&proxy, "app", 6);
    load.wait_for(MANY);
    load.finish();
    proxy.assert_no_panic();
    let connections: BTreeSet<String> =
        nginx.records(MANY).iter().map(|record| record["connection"].to_string()).collect();
    connections.len()
}

#[test]
fn an_upstream_that_closes_idle_connections_fails_no_get() {
    // It announces no close, so the proxy's next request and the close cross on the wire.
    let used = survives(Nginx::plain().with("keepalive_timeout 1ms;"));
    assert!(used > 1, "{used} connections");
}

#[test]
fn an_upstream_that_limits_requests_fails_no_get() {
    let used = survives(Nginx::plain().with("keepalive_requests 3;"));
    assert!(used >= MANY / 3, "{used} connections");
}

#[test]
fn a_tls_upstream_that_closes_idle_connections_fails_no_get() {
    let used = survives(Nginx::tls(&pki().upstream()).with("keepalive_timeout 1ms;"));
    assert!(used > 1, "{used} connections");
}

#[test]
fn an_http2_upstream_that_keeps_sending_goaway_fails_no_get() {
    let used = survives(Nginx::tls(&pki().upstream()).http2().with("keepalive_requests 20;"));
    assert!(used >= MANY / 20, "{used} connections");
}

fn survives_reloads(setup: Setup) {
    let nginx = setup.workers().with("location / { return 200 ok; }").start();
    let proxy = config(&nginx.url()).start();
    let load = Load::start(&proxy, "app", 6);
    for _ in 0..4 {
        load.wait_for(200);
        nginx.reload();
    }
    load.wait_for(400);
    load.finish();
    proxy.assert_no_panic();
}

#[test]
fn an_http1_upstream_that_reloads_fails_no_get() {
    survives_reloads(Nginx::plain());
}

#[test]
fn an_http2_upstream_that_reloads_fails_no_get() {
    survives_reloads(Nginx::tls(&pki().upstream()).http2());
}

#[test]
fn http2_without_tls_is_spoken_with_an_upstream_that_is_told_to() {
    // nghttpd without TLS supports only HTTP/2.
    let dir = portcullis_tests::tempdir::TempDir::new("h2c");
    dir.write("index.html", "by HTTP/2");
    let port = free_port();
    let mut command = Command::new(need("nghttpd"));
    command.args(["--no-tls", "--address=127.0.0.1", "-d"]).arg(dir.path());
    let mut server = Process::spawn("nghttpd", command.arg(port.to_string()));
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    until("nghttpd to listen", || {
        assert!(server.is_running(), "nghttpd ended: {:?}", server.lines());
        std::net::TcpStream::connect(address).is_ok()
    });
    let proxy = Proxy::config()
        .own("workers", "1")
        .forward("app", &format!("h2c://127.0.0.1:{port}"), "")
        .start();
    for version in ["--http1.1", "--http2"] {
        let fetched = proxy.curl("app", "/index.html").args([version]).ok();
        assert_eq!(fetched.text(), "by HTTP/2", "{version}");
    }
    let connects = proxy.metrics().sum("portcullis_upstream_connects_total", &[]);
    assert_eq!(connects, 1.0, "streams of one connection");
}

/// Resolves to both loopback addresses without DNS or a hosts file (RFC 6761 section 6.3).
const NAME: &str = "upstream.localhost";

/// A server on each loopback address, at one port.
fn on_both_loopbacks() -> (Backend, Backend, u16) {
    let port = free_port();
    let v4 = Backend::plain_on(SocketAddr::from(([127, 0, 0, 1], port)), says("IPv4"));
    let loopback = std::net::Ipv6Addr::LOCALHOST;
    let v6 = Backend::plain_on(SocketAddr::from((loopback, port)), says("IPv6"));
    (v4, v6, port)
}

#[test]
fn dns_lookup_family_chooses_the_addresses_of_a_name() {
    let (_v4, _v6, port) = on_both_loopbacks();
    let served = |family: &str| {
        let proxy = Proxy::config()
            .global(&format!("dns_lookup_family: {family}"))
            .forward("app", &format!("http://{NAME}:{port}"), "")
            .forward("local", &format!("http://localhost:{port}"), "")
            .start();
        // Like in Pomerium, `localhost` itself is 127.0.0.1, whatever the setting.
        assert_eq!(proxy.curl("local", "/").ok().text(), "IPv4", "{family}");
        proxy.curl("app", "/").ok().text()
    };
    assert_eq!(served("V4_ONLY"), "IPv4");
    assert_eq!(served("V4_PREFERRED"), "IPv4");
    assert_eq!(served("V6_ONLY"), "IPv6");
    assert_eq!(served("AUTO"), "IPv6");
}

#[test]
fn an_address_family_that_was_not_asked_for_is_not_used() {
    let port = free_port();
    let _v4 = Backend::plain_on(SocketAddr::from(([127, 0, 0, 1], port)), says("IPv4"));
    let proxy = Proxy::config()
        .global("dns_lookup_family: V6_ONLY")
        .forward("app", &format!("http://{NAME}:{port}"), "")
        .start();
    assert_eq!(proxy.curl("app", "/").ok().status, 503);
}

#[test]
fn http2_of_a_client_shares_what_one_worker_keeps() {
    let nginx = Nginx::tls(&pki().upstream()).http2().with("location / { return 200 ok; }").start();
    let proxy = config(&nginx.url()).own("workers", "1").start();
    let mut command = Command::new(need("h2load"));
    command.args(["-n", "400", "-c", "4", "-m", "25"]);
    command.args(["-H", ":authority: app.localhost.pomerium.io"]);
    command.arg(format!("https://127.0.0.1:{}/", proxy.address().port()));
    let done = portcullis_tests::process::run(&mut command, b"");
    assert!(done.stdout.contains("400 2xx"), "{done:?}");
    let metrics = proxy.metrics();
    let connects = metrics.sum("portcullis_upstream_connects_total", &[]);
    assert!(connects <= 2.0, "{connects} connections for 100 streams at once");
}
