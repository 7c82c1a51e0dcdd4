//! SIGTERM: open requests end normally, and then the process ends.

use std::{
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use portcullis_tests::{Backend, Proxy, Raw, wait::until, wire::End};
use rustix::process::Signal;

const HOST: &str = "app.localhost.pomerium.io";

/// An upstream that responds only on a signal of the test.
fn gated() -> (Backend, Arc<AtomicBool>, Arc<AtomicBool>) {
    let (asked, go) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (arrived, gate) = (Arc::clone(&asked), Arc::clone(&go));
    let backend = Backend::plain(move |conn| {
        while conn.request().is_some() {
            arrived.store(true, SeqCst);
            until("the gate to open", || gate.load(SeqCst));
            conn.respond(200, "late");
        }
    });
    (backend, asked, go)
}

fn is_unready(proxy: &Proxy) -> bool {
    proxy.admin("/readyz").is_some_and(|response| response.status == 503)
}

#[test]
fn a_request_under_way_is_answered_and_the_process_ends_with_0() {
    for version in ["--http1.1", "--http2"] {
        let (backend, asked, go) = gated();
        let mut proxy = Proxy::config()
            .own("drain_timeout", "60s")
            .forward("app", &backend.url(), "timeout: 0s")
            .start();
        let curl = proxy.curl("app", "/").args([version]);
        let request = std::thread::spawn(move || curl.run());
        until("the upstream to be asked", || asked.load(SeqCst));
        proxy.signal(Signal::TERM);
        until("the proxy to be unready", || is_unready(&proxy));
        until("new connections to be refused", || TcpStream::connect(proxy.address()).is_err());
        assert_eq!(proxy.admin("/healthz").map(|response| response.status), Some(200));
        go.store(true, SeqCst);
        let fetched = request.join().unwrap();
        assert_eq!((fetched.status, fetched.text().as_str()), (200, "late"), "{fetched:?}");
        assert_eq!(proxy.wait().code(), Some(0));
        assert_eq!(proxy.count_log("http-request"), 1, "the last record is written");
        proxy.assert_no_panic();
    }
}

#[test]
fn idle_connections_do_not_hold_the_process_up() {
    let backend = Backend::text("x");
    let mut proxy =
        Proxy::config().own("drain_timeout", "120s").forward("app", &backend.url(), "").start();
    let mut kept = proxy.raw("app");
    kept.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
    assert_eq!(kept.response().status, 200);
    let unused = proxy.raw("app");
    let start = Instant::now();
    proxy.signal(Signal::TERM);
    assert_eq!(kept.to_end().end, End::Clean);
    assert_eq!(unused.to_end().end, End::Clean);
    assert_eq!(proxy.wait().code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(20), "it waited for idle connections");
}

#[test]
fn the_last_response_announces_the_close() {
    let (backend, asked, go) = gated();
    let mut proxy =
        Proxy::config().own("drain_timeout", "60s").forward("app", &backend.url(), "").start();
    let mut raw = proxy.raw("app");
    raw.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
    until("the upstream to be asked", || asked.load(SeqCst));
    proxy.signal(Signal::TERM);
    until("the proxy to be unready", || is_unready(&proxy));
    go.store(true, SeqCst);
    let answer = raw.to_end();
    assert_eq!(answer.end, End::Clean);
    let response = answer.response();
    assert_eq!(response.status, 200);
    assert!(response.header("connection").is_some_and(|v| v.eq_ignore_ascii_case("close")));
    assert_eq!(proxy.wait().code(), Some(0));
}

#[test]
fn what_is_not_done_at_the_drain_timeout_is_cut() {
    let (backend, asked, _go) = gated();
    let mut proxy = Proxy::config()
        .own("drain_timeout", "1s")
        .forward("app", &backend.url(), "timeout: 0s")
        .start();
    let mut raw = proxy.raw("app");
    raw.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
    until("the upstream to be asked", || asked.load(SeqCst));
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.wait().code(), Some(0));
    assert_ne!(raw.to_end().end, End::Deadline);
    let begun = proxy.wait_for_log("the begin", |line| line["message"] == "draining");
    assert_eq!(begun["reason"], "SIGTERM", "{begun}");
    assert_eq!((&begun["connections"], &begun["requests"]), (&1.into(), &1.into()), "{begun}");
    assert_eq!(begun["timeout_ms"], 1000, "{begun}");
    let ended = proxy.wait_for_log("the end", |line| line["cut_off"] == 1);
    assert_eq!(ended["level"], "warn", "{ended}");
    let record = proxy.wait_for_access("/");
    assert_eq!(record["response-code-details"], "drain_timeout", "not the client's doing");
}

#[test]
fn a_second_process_can_take_the_address_at_once() {
    let backend = Backend::text("x");
    let mut proxy = Proxy::config().forward("app", &backend.url(), "").start();
    assert_eq!(proxy.curl("app", "/").ok().status, 200);
    let address = proxy.address();
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.wait().code(), Some(0));
    std::net::TcpListener::bind(address).expect("the address is free");
}

#[test]
fn interrupt_and_quit_drain_too() {
    for signal in [Signal::INT, Signal::QUIT] {
        let backend = Backend::text("x");
        let mut proxy = Proxy::config().forward("app", &backend.url(), "").start();
        proxy.signal(signal);
        assert_eq!(proxy.wait().code(), Some(0));
        proxy.wait_for_log("the end", |line| line["message"] == "drained: all connections ended");
    }
}

#[test]
fn the_signals_of_log_rotation_and_upgrades_do_no_harm() {
    let backend = Backend::text("x");
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    for (signal, name) in [(Signal::USR1, "SIGUSR1"), (Signal::USR2, "SIGUSR2")] {
        proxy.signal(signal);
        proxy.wait_for_log("that the signal is ignored", |line| {
            let message = line["message"].as_str().unwrap_or_default();
            message.starts_with(&format!("{name} is ignored"))
        });
        assert_eq!(proxy.curl("app", "/").ok().status, 200);
    }
    assert!(!is_unready(&proxy));
}

#[test]
fn a_former_version_that_serves_beside_it_takes_over_by_sigusr2() {
    let backend = Backend::text("x");
    let config = || Proxy::config().forward("app", &backend.url(), "");
    let mut proxy = config().start();
    let _successor = proxy.start_beside(config());
    proxy.signal(Signal::USR2);
    assert_eq!(proxy.wait().code(), Some(0));
    let begun = proxy.wait_for_log("the begin", |line| line["message"] == "draining");
    assert_eq!(begun["reason"], "replaced", "{begun}");
}

/// A connection whose request never ends, in a proxy that waits for it.
fn never_ending() -> (Proxy, Raw, Backend) {
    let (backend, asked, _go) = gated();
    let proxy = Proxy::config()
        .own("drain_timeout", "1h")
        .forward("app", &backend.url(), "timeout: 0s")
        .start();
    let mut raw = proxy.raw("app");
    raw.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
    until("the upstream to be asked", || asked.load(SeqCst));
    (proxy, raw, backend)
}

#[test]
fn a_second_signal_ends_a_draining_process_at_once_and_says_so() {
    for (first, second) in [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::INT)] {
        let (mut proxy, raw, _backend) = never_ending();
        proxy.signal(first);
        until("the proxy to be unready", || is_unready(&proxy));
        proxy.signal(second);
        assert_eq!(proxy.wait().code(), Some(1));
        let line = proxy.wait_for_log("what was cut off", |line| {
            line["message"] == "second stop signal: open connections are closed at once"
        });
        assert_eq!(line["connections"], 1, "{line}");
        let record = proxy.wait_for_access("/");
        assert_eq!(record["response-code-details"], "drain_timeout", "{record}");
        assert_ne!(raw.to_end().end, End::Deadline);
        proxy.assert_no_panic();
    }
}

#[test]
fn a_draining_process_still_drains_when_told_to_reload() {
    let (mut proxy, _raw, _backend) = never_ending();
    proxy.signal(Signal::TERM);
    until("the proxy to be unready", || is_unready(&proxy));
    proxy.signal(Signal::HUP);
    proxy.wait_for_log("that it does not load", |line| {
        line["message"] == "draining: the configuration is not reloaded"
    });
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.wait().code(), Some(1));
}
