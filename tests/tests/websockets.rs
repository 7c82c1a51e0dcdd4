//! Upgrades, with Python's websockets on both ends.

use portcullis_tests::{
    Backend, Proxy, Raw, nginx::Nginx, pki, proxy::Config, wait::until, wire::End, ws,
};
use rustix::process::Signal;

const NAME: &str = "ws.localhost.pomerium.io";

#[test]
fn a_websocket_echoes_messages_of_every_size() {
    let server = ws::EchoServer::start();
    let proxy = Proxy::config().forward("ws", server.url(), "allow_websockets: true").start();
    let done = ws::echo(proxy.address(), NAME, "/chat", 60);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stdout.contains("echoed 60 closed 1000"), "{done:?}");
    assert_eq!(proxy.wait_for_access("/chat")["response-code"], 101);
}

#[test]
fn a_websocket_reaches_an_upstream_that_speaks_tls() {
    let server = ws::EchoServer::start_tls(&pki().upstream());
    let proxy = Proxy::config().forward_tls("ws", server.url(), "allow_websockets: true").start();
    let done = ws::echo(proxy.address(), NAME, "/chat", 60);
    assert!(done.stdout.contains("echoed 60 closed 1000"), "{done:?}");
}

#[test]
fn a_websocket_reaches_an_upstream_that_prefers_http2() {
    // An upgrade needs HTTP/1.1, so the proxy must not offer HTTP/2 on this connection.
    let server = ws::EchoServer::start();
    let forward = format!(
        "location / {{ proxy_pass {}; proxy_http_version 1.1; proxy_set_header Upgrade \
         $http_upgrade; proxy_set_header Connection upgrade; }} location /plain {{ return 200 \
         $server_protocol; }}",
        server.url()
    );
    let nginx = Nginx::tls(&pki().upstream()).with(&forward).http2().start();
    let proxy = Proxy::config().forward_tls("ws", &nginx.url(), "allow_websockets: true").start();
    assert_eq!(proxy.curl("ws", "/plain").ok().text(), "HTTP/2.0");
    let done = ws::echo(proxy.address(), NAME, "/chat", 10);
    assert!(done.stdout.contains("echoed 10 closed 1000"), "{done:?}");
}

#[test]
fn a_route_that_does_not_allow_websockets_does_not_upgrade() {
    let server = ws::EchoServer::start();
    let proxy = Proxy::config().forward("ws", server.url(), "").start();
    let done = ws::echo(proxy.address(), NAME, "/", 1);
    assert_ne!(done.code, Some(0), "{done:?}");
}

#[test]
fn a_websocket_outlives_the_route_timeout_default_and_a_reload() {
    let server = ws::EchoServer::start();
    let mut proxy = Proxy::config()
        .global("default_upstream_timeout: 100ms")
        .forward("ws", server.url(), "allow_websockets: true")
        .start();
    let mut held = ws::hold(proxy.address(), NAME, "/");
    let backend = Backend::text("new");
    proxy.rewrite(proxy.current().forward("new", &backend.url(), ""));
    until("the new route to be served", || proxy.curl("new", "/").run().text() == "new");
    assert!(held.is_running(), "the socket was cut: {:?}", held.lines());
}

#[test]
fn an_upgrade_the_upstream_refuses_is_an_ordinary_response() {
    let backend = Backend::text("no such thing");
    let proxy = Proxy::config().forward("ws", &backend.url(), "allow_websockets: true").start();
    let mut raw = proxy.raw("ws");
    raw.send(format!(
        "GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    ));
    let response = raw.response();
    assert_eq!((response.status, response.text().as_str()), (200, "no such thing"));
}

/// An upstream that switches protocols, sends some bytes and then echoes.
fn echoing() -> Backend {
    Backend::plain(|conn| {
        if conn.request().is_some() {
            conn.send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 \r\nfirst bytes",
            );
            while let Some(bytes) = conn.some() {
                conn.send(bytes);
            }
        }
    })
}

/// Requests the upgrade, and reads the bytes of [`echoing`].
fn upgrade(raw: &mut Raw) {
    raw.send(format!(
        "GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    ));
    let head = raw.until("\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert_eq!(raw.exactly(11), b"first bytes");
}

#[test]
fn bytes_sent_right_behind_the_101_are_not_lost() {
    let backend = echoing();
    let proxy = Proxy::config().forward("ws", &backend.url(), "allow_websockets: true").start();
    let mut raw = proxy.raw("ws");
    upgrade(&mut raw);
    raw.send("and back");
    assert_eq!(raw.exactly(8), b"and back");
    raw.finish();
    assert_eq!(raw.to_end().end, End::Clean);
}

#[test]
fn what_a_tunnel_weighs_is_little_while_it_is_idle() {
    const HELD: u64 = 400;
    let backend = echoing();
    let config = Proxy::config().own("workers", "1");
    let proxy = config.forward("ws", &backend.url(), "allow_websockets: true").start();
    let hold = || {
        let mut raw = proxy.raw("ws");
        upgrade(&mut raw);
        raw.send("and back");
        assert_eq!(raw.exactly(8), b"and back");
        raw
    };
    // State that is made on first use, and kept.
    let _first: Vec<_> = (0..200).map(|_| hold()).collect();
    let before = proxy.resident_kib();
    let held: Vec<_> = (0..HELD).map(|_| hold()).collect();
    let each = proxy.resident_kib().saturating_sub(before) / HELD;
    // Two buffers of 16 KiB for each would be more.
    assert!(each <= 24, "{each} KiB for each of {} tunnels", held.len());
}

#[test]
fn a_tunnel_that_is_cut_off_does_not_look_ended() {
    let backend = echoing();
    let tunnel = |more: &str| {
        let more = format!("allow_websockets: true\n{more}");
        Proxy::config().own("drain_timeout", "1s").forward("ws", &backend.url(), &more)
    };
    let end = |config: Config, cut_off: fn(&Proxy)| {
        let proxy = config.start();
        let mut raw = proxy.raw("ws");
        upgrade(&mut raw);
        cut_off(&proxy);
        raw.to_end().end
    };
    assert_eq!(end(tunnel("idle_timeout: 300ms"), |_| ()), End::Reset, "by its idle timeout");
    let drained = end(tunnel(""), |proxy| proxy.signal(Signal::TERM));
    assert_eq!(drained, End::Reset, "at the end of draining");
}

#[test]
fn a_websocket_still_open_at_the_end_of_draining_is_cut() {
    let server = ws::EchoServer::start();
    let mut proxy = Proxy::config()
        .own("drain_timeout", "1s")
        .forward("ws", server.url(), "allow_websockets: true")
        .start();
    let mut held = ws::hold(proxy.address(), NAME, "/");
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.wait().code(), Some(0));
    held.wait();
    assert!(held.lines().iter().any(|line| line.starts_with("closed")), "{:?}", held.lines());
}

#[test]
fn an_upgrade_with_content_is_passed_on_with_it() {
    let backend = Backend::plain(|conn| {
        if let Some(head) = conn.request() {
            let body = conn.body(&head);
            conn.send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n",
            );
            conn.send(body);
            while let Some(bytes) = conn.some() {
                conn.send(bytes);
            }
        }
    });
    let proxy = Proxy::config().forward("ws", &backend.url(), "allow_upgrades: [tcp]").start();
    for framed in [
        "Content-Length: 4\r\n\r\nbody",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    ] {
        let mut raw = proxy.raw("ws");
        raw.send(format!(
            "POST /exec/1/start HTTP/1.1\r\nHost: {NAME}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n{framed}"
        ));
        let head = raw.until("\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        assert_eq!(raw.exactly(4), b"body");
        raw.send("tunnel");
        assert_eq!(raw.exactly(6), b"tunnel");
        raw.finish();
        assert_eq!(raw.to_end().end, End::Clean);
    }
}
