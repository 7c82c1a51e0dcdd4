//! Connections between their requests free memory that they do not need, without an effect on
//! clients.

use std::{thread::sleep, time::Duration};

use portcullis_tests::{Backend, Proxy, Raw, backend::Echoed, wire::End};
use rustix::process::Signal;

const HOST: &str = "app.localhost.pomerium.io";
/// Several times the idle time after which a connection frees its buffers.
const REST: Duration = Duration::from_millis(400);

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
}

/// Sends a piece after an idle time.
fn send(raw: &mut Raw, piece: &str) {
    sleep(REST);
    raw.send(piece);
}

fn echoed(raw: &mut Raw) -> Echoed {
    Echoed::parse(&raw.response().text())
}

#[test]
fn a_connection_that_has_rested_goes_on_wherever_it_was_left() {
    let backend = Backend::echo();
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    let mut raw = proxy.raw("app");
    // Before the first request, and between the halves of its head.
    let first = get("/1");
    let (head, tail) = first.split_at(first.len() / 2);
    send(&mut raw, head);
    send(&mut raw, tail);
    assert_eq!(echoed(&mut raw).text("target"), "/1");
    // Between the pieces of a body.
    send(&mut raw, &format!("POST /2 HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 8\r\n\r\n"));
    send(&mut raw, "late");
    send(&mut raw, "body");
    let second = echoed(&mut raw);
    assert_eq!((second.text("target"), second.text("body")), ("/2", "latebody"));
    // With half of a head received.
    let last = get("/4");
    let (head, tail) = last.split_at(last.len() / 2);
    send(&mut raw, &(get("/3") + head));
    assert_eq!(echoed(&mut raw).text("target"), "/3");
    send(&mut raw, tail);
    assert_eq!(echoed(&mut raw).text("target"), "/4");
    proxy.assert_no_panic();
}

#[test]
fn the_rest_of_a_body_that_nobody_read_is_no_request() {
    let proxy = Proxy::config()
        .route("from: https://app.localhost.pomerium.io\nresponse: { status: 200, body: early }")
        .start();
    let mut raw = proxy.raw("app");
    let smuggled = get("/smuggled");
    raw.send(format!(
        "POST /1 HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {}\r\n\r\n",
        smuggled.len()
    ));
    assert_eq!(raw.response().status, 200);
    send(&mut raw, &smuggled);
    send(&mut raw, &format!("GET /2 HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"));
    assert_eq!(raw.to_end().responses(), 1, "the answer to the request behind the body");
}

#[test]
fn a_hibernating_connection_is_closed_in_order_at_exit() {
    let backend = Backend::text("x");
    let mut proxy =
        Proxy::config().own("drain_timeout", "120s").forward("app", &backend.url(), "").start();
    let mut kept = proxy.raw("app");
    kept.send(get("/"));
    assert_eq!(kept.response().status, 200);
    sleep(REST);
    proxy.signal(Signal::TERM);
    assert_eq!(kept.to_end().end, End::Clean);
    assert_eq!(proxy.wait().code(), Some(0));
}

#[test]
fn what_a_connection_weighs_is_little_while_it_rests() {
    const HELD: u64 = 600;
    let backend = Backend::text("x");
    let proxy = Proxy::config().own("workers", "1").forward("app", &backend.url(), "").start();
    let hold = || {
        let mut raw = proxy.raw("app");
        raw.send(get("/"));
        assert_eq!(raw.response().status, 200);
        raw
    };
    // State that is made on first use, and kept.
    let _first: Vec<_> = (0..200).map(|_| hold()).collect();
    let before = proxy.resident_kib();
    let held: Vec<_> = (0..HELD).map(|_| hold()).collect();
    let each = proxy.resident_kib().saturating_sub(before) / HELD;
    // Some connections are not idle yet, and memory comes in pages of 2 MiB.
    assert!(each <= 16, "{each} KiB for each of {} connections", held.len());
}
