//! Bodies: large ones in bounded memory, truncated ones that must not look complete, and those with
//! old forms of end.

use std::{
    io::{Read, Write},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use portcullis_tests::{
    Backend, Proxy, Raw,
    backend::Conn,
    curl::Fetched,
    pattern::{self, Checker},
    proxy::Config,
    wait::until,
    wire::End,
};

const GIB: u64 = 1 << 30;
/// The memory that a proxy may use for one transfer, buffers of the allocator included.
const BOUND_KIB: u64 = 64 * 1024;

fn send_pattern(conn: &mut Conn, length: u64) {
    let mut sent = 0;
    while sent < length {
        let n = (length - sent).min(256 * 1024);
        if !conn.try_send(pattern::at(sent, n as usize)) {
            return;
        }
        sent += n;
    }
}

fn download(version: &str) {
    let backend = Backend::plain(|conn| {
        while conn.request().is_some() {
            conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {GIB}\r\n\r\n"));
            send_pattern(conn, GIB);
        }
    });
    let proxy = Proxy::config().forward("app", &backend.url(), "timeout: 0s").start();
    assert_eq!(proxy.curl("nobody", "/").ok().status, 404); // warm up
    let before = proxy.resident_kib();
    let (mut command, _dir) = proxy.curl("app", "/").args([version]).streaming();
    let mut child = command.spawn().expect("start curl");
    let mut body = child.stdout.take().expect("stdout is a pipe");
    let (mut checker, mut buffer) = (Checker::default(), vec![0; 256 * 1024]);
    loop {
        match body.read(&mut buffer).expect("read from curl") {
            0 => break,
            n => checker.take(&buffer[..n]),
        }
    }
    assert!(child.wait().expect("curl ends").success());
    assert_eq!((checker.count, checker.wrong_at), (GIB, None));
    let grown = proxy.peak_resident_kib().saturating_sub(before);
    assert!(grown < BOUND_KIB, "the proxy grew by {grown} KiB");
}

fn upload(version: &str) {
    let received = Arc::new(Mutex::new(Checker::default()));
    let sink = Arc::clone(&received);
    let backend = Backend::plain(move |conn| {
        while let Some(head) = conn.request() {
            let mut checker = Checker::default();
            if conn.stream_body(&head, |bytes| checker.take(bytes)) {
                *sink.lock().expect("not poisoned") = checker;
                conn.respond(200, "all here");
            }
        }
    });
    let proxy = Proxy::config()
        .global("timeout_read: 0s")
        .forward("app", &backend.url(), "timeout: 0s")
        .start();
    assert_eq!(proxy.curl("nobody", "/").ok().status, 404);
    let before = proxy.resident_kib();
    let (mut command, _dir) =
        proxy.curl("app", "/").args([version, "-T", "-", "-H", "Expect:"]).streaming();
    let mut child = command.spawn().expect("start curl");
    let mut input = child.stdin.take().expect("stdin is a pipe");
    let writer = std::thread::spawn(move || {
        let mut sent = 0;
        while sent < GIB && input.write_all(pattern::at(sent, 256 * 1024)).is_ok() {
            sent += 256 * 1024;
        }
    });
    let mut answer = String::new();
    child.stdout.take().expect("stdout is a pipe").read_to_string(&mut answer).expect("text");
    writer.join().expect("the writer does not panic");
    assert!(child.wait().expect("curl ends").success());
    assert_eq!(answer, "all here");
    let received = received.lock().expect("not poisoned");
    assert_eq!((received.count, received.wrong_at), (GIB, None));
    let grown = proxy.peak_resident_kib().saturating_sub(before);
    assert!(grown < BOUND_KIB, "the proxy grew by {grown} KiB");
}

#[test]
fn a_gibibyte_goes_down_over_http1_in_bounded_memory() {
    download("--http1.1");
}

#[test]
fn a_gibibyte_goes_down_over_http2_in_bounded_memory() {
    download("--http2");
}

#[test]
fn a_gibibyte_goes_up_over_http1_in_bounded_memory() {
    upload("--http1.1");
}

#[test]
fn a_gibibyte_goes_up_over_http2_in_bounded_memory() {
    upload("--http2");
}

#[test]
fn a_client_that_does_not_read_stops_the_upstream() {
    let sent = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&sent);
    let backend = Backend::plain(move |conn| {
        conn.request();
        conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {GIB}\r\n\r\n"));
        while count.load(SeqCst) < GIB && conn.try_send(pattern::at(0, 64 * 1024)) {
            count.fetch_add(64 * 1024, SeqCst);
        }
    });
    let proxy = Proxy::config().forward("app", &backend.url(), "timeout: 0s").start();
    let before = proxy.resident_kib();
    let mut raw = proxy.raw("app");
    raw.send("GET / HTTP/1.1\r\nHost: app.localhost.pomerium.io\r\n\r\n");
    let stalled_at = stable(&sent);
    // Socket buffers on both sides hold some megabytes; the proxy must not hold more.
    assert!(stalled_at < 64 << 20, "the upstream sent {stalled_at} bytes to a client that slept");
    let grown = proxy.resident_kib().saturating_sub(before);
    assert!(grown < 16 * 1024, "the proxy grew by {grown} KiB");
    raw.until("\r\n\r\n");
    raw.exactly(usize::try_from(stalled_at).expect("it fits") + (1 << 20));
    until("the upstream to go on", || sent.load(SeqCst) > stalled_at);
}

/// The value of a counter that has not changed for a second. There is no event for "no further
/// change"; too short a wait makes the test weaker, never wrong.
fn stable(counter: &AtomicU64) -> u64 {
    let (mut last, mut since) = (counter.load(SeqCst), Instant::now());
    while last == 0 || since.elapsed() < Duration::from_secs(1) {
        std::thread::sleep(Duration::from_millis(20));
        let now = counter.load(SeqCst);
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    last
}

/// An upstream that sends these bytes to every client and then ends the connection.
fn says(bytes: &'static str) -> impl Fn(&mut Conn) + Send + Sync + 'static {
    move |conn| {
        if conn.request().is_some() {
            conn.send(bytes);
        }
    }
}

fn get(config: Config, version: &str) -> Fetched {
    config.start().curl("app", "/").args([version]).run()
}

const SHORT: &str = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this";
const CUT_CHUNK: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
const OLD: &str = "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the end";
const UNTIL_END: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end";

#[test]
fn a_body_shorter_than_promised_is_an_aborted_transfer() {
    for response in [SHORT, CUT_CHUNK] {
        for version in ["--http1.1", "--http2"] {
            let backend = Backend::plain(says(response));
            let fetched = get(Proxy::config().forward("app", &backend.url(), ""), version);
            assert_ne!(fetched.exit, 0, "{version}: {response:?} looked finished: {fetched:?}");
        }
    }
}

#[test]
fn a_body_delimited_by_the_end_of_the_connection_is_whole() {
    for response in [OLD, UNTIL_END] {
        for version in ["--http1.0", "--http1.1", "--http2"] {
            for backend in [Backend::plain(says(response)), Backend::secure(says(response))] {
                let fetched = get(Proxy::config().forward_tls("app", &backend.url(), ""), version);
                assert_eq!(fetched.exit, 0, "{version} {response:?}: {fetched:?}");
                assert_eq!((fetched.status, fetched.text().as_str()), (200, "until the end"));
            }
        }
    }
}

#[test]
fn a_close_delimited_body_without_close_notify_is_aborted() {
    for version in ["--http1.1", "--http2"] {
        let backend = Backend::secure(|conn| {
            says(OLD)(conn);
            conn.end_without_close_notify();
        });
        let fetched = get(Proxy::config().forward_tls("app", &backend.url(), ""), version);
        assert_ne!(fetched.exit, 0, "{version}: a truncated body looked finished: {fetched:?}");
    }
}

#[test]
fn a_body_of_known_length_needs_no_close_notify() {
    let known = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwhol";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwhol\r\n0\r\n\r\n";
    for response in [known, chunked] {
        let backend = Backend::secure(move |conn| {
            says(response)(conn);
            conn.end_without_close_notify();
        });
        let fetched = get(Proxy::config().forward_tls("app", &backend.url(), ""), "--http1.1");
        assert_eq!((fetched.exit, fetched.text().as_str()), (0, "whol"), "{fetched:?}");
    }
}

#[test]
fn a_close_delimited_body_that_ends_with_a_reset_is_aborted() {
    let backend = Backend::plain(|conn| {
        says(UNTIL_END)(conn);
        conn.end_with_reset();
    });
    // The kernel decides whether the reset overtakes the head: then the status is 503, never a 200
    // that looks complete.
    let fetched = get(Proxy::config().forward("app", &backend.url(), ""), "--http1.1");
    assert!(fetched.exit != 0 || fetched.status == 503, "{fetched:?}");
}

/// An upstream that counts the requests that have begun, and reports for each body whether it was
/// complete.
fn judge() -> (Backend, Arc<AtomicU64>, Arc<Mutex<Vec<bool>>>) {
    let (asked, outcome) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Vec::new())));
    let (arrived, seen) = (Arc::clone(&asked), Arc::clone(&outcome));
    let backend = Backend::plain(move |conn| {
        while let Some(head) = conn.request() {
            arrived.fetch_add(1, SeqCst);
            let whole = conn.stream_body(&head, |_| ());
            seen.lock().expect("not poisoned").push(whole);
        }
    });
    (backend, asked, outcome)
}

#[test]
fn an_unfinished_request_body_never_looks_finished() {
    let (backend, asked, outcome) = judge();
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    let head = "POST / HTTP/1.1\r\nHost: app.localhost.pomerium.io\r\n";
    let known = "Content-Length: 100\r\n\r\nten bytes!";
    let chunked = "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
    type Leave = fn(Raw);
    let politely: Leave = |mut raw| {
        raw.finish();
        drop(raw.to_end());
    };
    let abruptly: Leave = Raw::reset;
    let cases = [(known, politely), (chunked, politely), (known, abruptly), (chunked, abruptly)];
    for (turn, (body, leave)) in cases.into_iter().enumerate() {
        let mut raw = proxy.raw("app");
        raw.send(format!("{head}{body}"));
        until("the upstream to be asked", || asked.load(SeqCst) > turn as u64);
        leave(raw);
    }
    until("the upstream to see all end", || outcome.lock().expect("not poisoned").len() == 4);
    assert_eq!(*outcome.lock().expect("not poisoned"), [false; 4]);
}

#[test]
fn an_unfinished_http2_body_never_looks_finished() {
    let (backend, asked, outcome) = judge();
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    let (mut command, _dir) =
        proxy.curl("app", "/").args(["--http2", "-T", "-", "-H", "Expect:"]).streaming();
    let mut child = command.spawn().expect("start curl");
    let mut input = child.stdin.take().expect("stdin is a pipe");
    input.write_all(b"not all").expect("curl reads");
    until("the upstream to be asked", || asked.load(SeqCst) == 1);
    child.kill().expect("curl runs");
    child.wait().expect("curl ends");
    until("the upstream to see the end", || outcome.lock().expect("not poisoned").len() == 1);
    assert_eq!(*outcome.lock().expect("not poisoned"), [false]);
    proxy.wait_for_metric("portcullis_connections_active", &[], |value| value == 0.0);
    proxy.wait_for_access("/");
    let lines = proxy.count_log("listener connection failure");
    assert_eq!(lines, 0, "a client that goes is no malformed HTTP/2");
}

#[test]
fn expect_100_continue_lets_the_body_follow() {
    let backend = Backend::plain(|conn| {
        while let Some(head) = conn.request() {
            if head.header("expect").is_some() {
                conn.send("HTTP/1.1 100 Continue\r\n\r\n");
            }
            let body = conn.body(&head);
            conn.respond(200, &body.len().to_string());
        }
    });
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    let body = vec![b'x'; 2 << 20];
    // hyper's HTTP/2 server cannot send an interim response, so a client there sends its body after
    // a wait: curl after a second, as RFC 9110 section 10.1.1 allows.
    for patience in [&["--http1.1", "--expect100-timeout", "60"][..], &["--http2"]] {
        let fetched = proxy
            .curl("app", "/")
            .args(patience.iter().copied())
            .header("Expect: 100-continue")
            .post(body.clone())
            .ok();
        assert_eq!(fetched.text(), body.len().to_string(), "{patience:?}");
    }
}

#[test]
fn a_client_that_expects_100_is_not_kept_waiting() {
    let backend = Backend::echo();
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    let mut raw = proxy.raw("app");
    raw.send(
        "POST / HTTP/1.1\r\nHost: app.localhost.pomerium.io\r\nContent-Length: 4\r\n\
         Expect: 100-continue\r\n\r\n",
    );
    assert!(raw.until("\r\n\r\n").starts_with("HTTP/1.1 100"));
    raw.send("body");
    let response = raw.response();
    assert_eq!(response.status, 200);
    assert!(response.text().contains("\"body\":\"body\""));
}

#[test]
fn an_upstream_that_refuses_before_the_body_is_heard() {
    let backend = Backend::plain(|conn| {
        conn.request();
        conn.send("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig");
    });
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    let mut raw = proxy.raw("app");
    raw.send(
        "POST / HTTP/1.1\r\nHost: app.localhost.pomerium.io\r\nContent-Length: 1000000\r\n\r\nsome",
    );
    let response = raw.response();
    assert_eq!((response.status, response.text().as_str()), (413, "big"));
}

#[test]
fn a_connection_with_an_unread_body_is_not_reused() {
    // It responds as soon as it has the head, before the rest of the body arrives.
    let backend = Backend::plain(|conn| {
        while conn.request().is_some() {
            let id = conn.id.to_string();
            conn.respond(200, &id);
        }
    });
    let proxy = Proxy::config().own("workers", "1").forward("app", &backend.url(), "").start();
    for _ in 0..10 {
        let mut raw = proxy.raw("app");
        raw.send(
            "POST / HTTP/1.1\r\nHost: app.localhost.pomerium.io\r\nContent-Length: 100\r\n\r\nGET /",
        );
        let early = raw.response();
        assert_eq!(early.status, 200);
        drop(raw);
        let next = proxy.curl("app", "/next").ok();
        assert_eq!(next.status, 200);
        assert_ne!(next.text(), early.text(), "the connection still owed 95 bytes of a body");
    }
}

#[test]
fn the_rest_of_an_early_answered_body_is_not_a_request() {
    let backend = Backend::plain(|conn| {
        while let Some(head) = conn.request() {
            let target = head.target.clone();
            conn.respond(200, &target);
            if head.header("content-length").is_some() {
                return;
            }
        }
    });
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: app.localhost.pomerium.io\r\n\r\n";
    let mut raw = proxy.raw("app");
    raw.send(format!(
        "POST /first HTTP/1.1\r\nHost: app.localhost.pomerium.io\r\nContent-Length: {}\r\n\r\n",
        smuggled.len()
    ));
    assert_eq!(raw.response().text(), "/first");
    raw.send(smuggled).finish();
    let rest = raw.to_end();
    assert_eq!(rest.responses(), 0, "{rest:?}");
}

#[test]
fn http10_clients_get_a_body_that_ends_with_the_connection() {
    let backend = Backend::plain(says(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ));
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    let mut raw = proxy.raw("app");
    raw.send("GET / HTTP/1.0\r\nHost: app.localhost.pomerium.io\r\n\r\n");
    let answer = raw.to_end();
    let response = answer.response();
    assert_eq!(answer.end, End::Clean);
    assert_eq!(response.header("transfer-encoding"), None);
    assert_eq!(response.text(), "abc");
}

/// An upstream whose response is truncated, with and without TLS.
fn broken_off() -> [Backend; 3] {
    let truncated = |conn: &mut Conn| {
        says(OLD)(conn);
        conn.end_without_close_notify();
    };
    [Backend::plain(says(SHORT)), Backend::plain(says(CUT_CHUNK)), Backend::secure(truncated)]
}

#[test]
fn an_http10_client_sees_that_its_body_was_cut_off() {
    let name = "app.localhost.pomerium.io";
    for backend in broken_off() {
        for secure in [true, false] {
            let config = match secure {
                true => Proxy::config(),
                false => Proxy::config().certificates(&[]).global("insecure_server: true"),
            };
            let proxy = config.forward_tls("app", &backend.url(), "").start();
            for _ in 0..3 {
                let mut raw = match secure {
                    true => Raw::tls(proxy.address(), name),
                    false => Raw::tcp(proxy.address()),
                };
                raw.send(format!("GET / HTTP/1.0\r\nHost: {name}\r\n\r\n"));
                let answer = raw.to_end();
                assert_eq!(answer.end, End::Reset, "secure: {secure}: {answer:?}");
            }
        }
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let backend = Backend::echo();
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    let request =
        |path: &str| format!("GET {path} HTTP/1.1\r\nHost: app.localhost.pomerium.io\r\n\r\n");
    let mut raw: Raw = proxy.raw("app");
    raw.send(request("/1") + &request("/2") + &request("/3"));
    for path in ["/1", "/2", "/3"] {
        let echoed = portcullis_tests::backend::Echoed::parse(&raw.response().text());
        assert_eq!(echoed.text("target"), path);
    }
}

#[test]
fn chunked_trailers_pass_between_http1_peers() {
    let backend = Backend::plain(|conn| {
        while let Some(head) = conn.request() {
            let (_, trailers) = conn.body_and_trailers(&head);
            let sum = trailers.iter().find(|(name, _)| name.eq_ignore_ascii_case("x-sum"));
            let sum = sum.map_or("none", |(_, value)| value).to_owned();
            conn.send(format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-End\r\n\r\n\
                 {:x}\r\n{sum}\r\n0\r\nX-End: yes\r\n\r\n",
                sum.len()
            ));
        }
    });
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    let mut raw = proxy.raw("app");
    raw.send(
        "POST / HTTP/1.1\r\nHost: app.localhost.pomerium.io\r\nTE: trailers\r\nTrailer: X-Sum\r\n\
         Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n",
    );
    raw.until("\r\n\r\n");
    let body = raw.until("\r\n0\r\n");
    assert!(body.contains("\r\n7\r\n") || body.starts_with("1\r\n7"), "the sum is lost: {body:?}");
    assert!(raw.until("\r\n\r\n").to_lowercase().contains("x-end: yes"));
}
