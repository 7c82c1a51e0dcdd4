//! Upstreams that fail, each in its own way, and the responses that the client gets.

use std::{
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use portcullis_tests::{
    Backend, Proxy,
    backend::{Conn, not_tls, says},
    nginx::Nginx,
    ports::free_port,
    wait::until,
};

/// The status that a client gets from a route to such an upstream, over both HTTP versions, with
/// the access record that gives the reason.
fn statuses(to: &str, more: &str) -> (Vec<u16>, Vec<serde_json::Value>) {
    let proxy = Proxy::config().forward_tls("app", to, more).start();
    let mut statuses = Vec::new();
    let mut records = Vec::new();
    for (version, path) in [("--http1.1", "/1"), ("--http2", "/2")] {
        let fetched = proxy.curl("app", path).args([version]).run();
        statuses.push(fetched.status);
        records.push(proxy.wait_for_access(path));
        assert!(fetched.status < 500 || !fetched.text().contains("127.0.0.1"), "{fetched:?}");
    }
    assert_eq!(proxy.count_log("http-request"), 2, "one record for each request");
    proxy.assert_no_panic();
    (statuses, records)
}

fn answers(bytes: &'static str) -> impl Fn(&mut Conn) + Send + Sync + 'static {
    move |conn| {
        while conn.request().is_some() {
            conn.send(bytes);
        }
    }
}

#[test]
fn an_upstream_where_nobody_listens_is_503() {
    let (statuses, records) = statuses(&format!("http://127.0.0.1:{}", free_port()), "");
    assert_eq!(statuses, [503, 503]);
    assert!(records[0]["response-code-details"].to_string().len() > 4, "{records:?}");
}

#[test]
fn an_upstream_whose_name_does_not_resolve_is_503() {
    let (statuses, _) = statuses("http://nowhere.invalid:80", "");
    assert_eq!(statuses, [503, 503]);
}

#[test]
fn an_upstream_that_resets_before_its_response_is_503() {
    let backend = Backend::plain(|conn| {
        conn.request();
        conn.end_with_reset();
    });
    assert_eq!(statuses(&backend.url(), "").0, [503, 503]);
    assert_eq!(backend.connections(), 2, "a failure on a fresh connection is not retried");
}

#[test]
fn an_upstream_that_closes_before_its_response_is_503() {
    for backend in [Backend::plain(|conn| drop(conn.request())), Backend::secure(|_| ())] {
        assert_eq!(statuses(&backend.url(), "").0, [503, 503]);
    }
}

#[test]
fn an_upstream_that_speaks_no_tls_where_it_should_is_503() {
    let backend = Backend::plain(not_tls);
    let url = format!("https://localhost:{}", backend.address().port());
    assert_eq!(statuses(&url, "").0, [503, 503]);
}

#[test]
fn an_upstream_that_stalls_is_504_after_the_routes_timeout() {
    let backend = Backend::plain(Conn::wait_for_end);
    let start = Instant::now();
    let (statuses, records) = statuses(&backend.url(), "timeout: 300ms");
    assert_eq!(statuses, [504, 504]);
    assert!(start.elapsed().as_secs() < 20, "the default of 30 s ended it, not the route's");
    assert_eq!(records[0]["response-code"], 504);
}

#[test]
fn an_upstream_that_never_finishes_its_handshake_is_503() {
    let backend = Backend::plain(Conn::wait_for_end);
    let url = format!("https://localhost:{}", backend.address().port());
    let proxy = Proxy::config().forward_tls("app", &url, "timeout: 0s").start();
    assert_eq!(proxy.curl("app", "/").run().status, 503); // after the connect timeout of 10 s
    let timeouts = [("reason", "connect_timeout")];
    assert_eq!(proxy.metrics().sum("portcullis_upstream_failures_total", &timeouts), 1.0);
}

#[test]
fn an_upstream_that_does_not_accept_is_503() {
    let full = FullListener::new();
    let proxy = Proxy::config().forward("app", &full.url(), "timeout: 0s").start();
    assert_eq!(proxy.curl("app", "/").run().status, 503); // after the connect timeout of 10 s
    let timeouts = [("reason", "connect_timeout")];
    assert_eq!(proxy.metrics().sum("portcullis_upstream_failures_total", &timeouts), 1.0);
}

/// A listener whose queue is full: the kernel answers no more connections with SYN-ACK.
struct FullListener {
    socket: TcpListener,
    _queued: Vec<TcpStream>,
}

impl FullListener {
    fn new() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
        rustix::net::listen(&socket, 0).expect("a queue of one");
        let address = socket.local_addr().expect("its address");
        let brief = Duration::from_secs(1);
        let connect = || TcpStream::connect_timeout(&address, brief).ok();
        Self { _queued: std::iter::from_fn(connect).collect(), socket }
    }

    fn url(&self) -> String {
        format!("http://{}", self.socket.local_addr().expect("its address"))
    }
}

#[test]
fn an_upstream_that_speaks_something_else_is_a_gateway_error() {
    let cases = [
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "HTTP/1.1 abc OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
    ];
    for response in cases {
        let backend = Backend::plain(answers(response));
        let (statuses, _) = statuses(&backend.url(), "");
        assert!(statuses.iter().all(|s| [502, 503].contains(s)), "{response:?}: {statuses:?}");
    }
}

#[test]
fn an_upstream_with_an_endless_head_is_a_gateway_error() {
    let backend = Backend::plain(|conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\n");
        let line = format!("X-Long: {}\r\n", "x".repeat(8000));
        while conn.try_send(&line) {}
    });
    let (statuses, _) = statuses(&backend.url(), "");
    assert!(statuses.iter().all(|s| [502, 503].contains(s)), "{statuses:?}");
}

#[test]
fn a_bad_chunk_aborts_the_response() {
    let backend = Backend::plain(|conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n");
        conn.wait_for_end();
    });
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    for version in ["--http1.1", "--http2"] {
        let fetched = proxy.curl("app", "/").args([version]).run();
        assert_ne!(fetched.exit, 0, "{version}: it looked finished: {fetched:?}");
    }
    proxy.assert_no_panic();
}

#[test]
fn bytes_behind_a_response_are_dropped_with_the_connection() {
    let backend = Backend::plain(|conn| {
        while conn.request().is_some() {
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood");
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
        }
    });
    let proxy = Proxy::config().own("workers", "1").forward("app", &backend.url(), "").start();
    for _ in 0..20 {
        assert_eq!(proxy.curl("app", "/").ok().text(), "good");
    }
}

#[test]
fn a_stall_in_a_body_ends_by_time_out_as_an_abort() {
    let stalls = || {
        Backend::plain(|conn| {
            conn.request();
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome");
            conn.wait_for_end();
        })
    };
    let (whole, idle) = (stalls(), stalls());
    let proxy = Proxy::config()
        .forward("whole", &whole.url(), "timeout: 300ms")
        .forward("idle", &idle.url(), "timeout: 0s\nidle_timeout: 300ms")
        .start();
    for host in ["whole", "idle"] {
        for version in ["--http1.1", "--http2"] {
            let fetched = proxy.curl(host, "/").args([version, "--max-time", "20"]).run();
            assert_ne!(fetched.exit, 0, "{host} {version}: it looked finished: {fetched:?}");
            assert_ne!(fetched.exit, 28, "{host} {version}: only curl's own timeout ended it");
        }
    }
}

#[test]
fn a_pooled_connection_that_the_upstream_has_closed_is_noticed() {
    let backend = Backend::plain(|conn| {
        conn.request();
        conn.respond(200, "once"); // says nothing of closing, and closes
    });
    let proxy = Proxy::config().own("workers", "1").forward("app", &backend.url(), "").start();
    for _ in 0..20 {
        assert_eq!(proxy.curl("app", "/").ok().text(), "once");
    }
}

/// Answers the first request of a connection and resets the connection at the second.
fn once_then_reset(posts: &Arc<AtomicUsize>) -> Backend {
    let posts = Arc::clone(posts);
    Backend::plain(move |conn| {
        for turn in 0..2 {
            let Some(head) = conn.request() else { return };
            conn.body(&head);
            posts.fetch_add(usize::from(head.method == "POST"), SeqCst);
            if turn == 0 {
                conn.respond(200, "ok");
            } else {
                conn.end_with_reset();
            }
        }
    })
}

#[test]
fn a_safe_request_on_a_stale_connection_is_sent_once_more() {
    let backend = once_then_reset(&Arc::default());
    let proxy = Proxy::config().own("workers", "1").forward("app", &backend.url(), "").start();
    for _ in 0..6 {
        assert_eq!(proxy.curl("app", "/").ok().text(), "ok");
    }
    assert!(proxy.metrics().sum("portcullis_upstream_retries_total", &[]) >= 1.0);
}

#[test]
fn an_unsafe_request_on_a_stale_connection_is_never_sent_twice() {
    let posts = Arc::new(AtomicUsize::new(0));
    let backend = once_then_reset(&posts);
    let proxy = Proxy::config().own("workers", "1").forward("app", &backend.url(), "").start();
    assert_eq!(proxy.curl("app", "/").ok().status, 200);
    assert_eq!(proxy.curl("app", "/").post("pay").ok().status, 503);
    assert_eq!(posts.load(SeqCst), 1);
}

#[test]
fn a_sent_body_is_never_sent_twice_whatever_the_method() {
    let backend = once_then_reset(&Arc::default());
    let proxy = Proxy::config().own("workers", "1").forward("app", &backend.url(), "").start();
    assert_eq!(proxy.curl("app", "/").ok().status, 200);
    let put = proxy.curl("app", "/").args(["--request", "PUT"]).post("once").ok();
    assert_eq!(put.status, 503);
    assert_eq!(proxy.metrics().sum("portcullis_upstream_retries_total", &[]), 0.0);
}

#[test]
fn an_upstream_that_restarts_is_served_from_again() {
    let first = Nginx::plain().with("location / { return 200 a; }").start();
    let proxy = Proxy::config().forward("app", &first.url(), "").start();
    assert_eq!(proxy.curl("app", "/").ok().text(), "a");
    let address = first.address();
    drop(first);
    assert_eq!(proxy.curl("app", "/").ok().status, 503);
    let _second = Backend::plain_on(address, says("b"));
    until("the upstream to be served from", || proxy.curl("app", "/").run().text() == "b");
}

#[test]
fn when_the_client_goes_the_upstream_is_let_go() {
    let waiting = Arc::new(AtomicUsize::new(0));
    let released = Arc::new(AtomicUsize::new(0));
    let (arrived, gone) = (Arc::clone(&waiting), Arc::clone(&released));
    let backend = Backend::plain(move |conn| {
        conn.request();
        arrived.fetch_add(1, SeqCst);
        conn.wait_for_end();
        gone.fetch_add(1, SeqCst);
    });
    let proxy = Proxy::config().forward("app", &backend.url(), "timeout: 0s").start();
    let mut raw = proxy.raw("app");
    raw.send("GET / HTTP/1.1\r\nHost: app.localhost.pomerium.io\r\n\r\n");
    until("the upstream to be asked", || waiting.load(SeqCst) == 1);
    raw.reset();
    until("the upstream to be let go", || released.load(SeqCst) == 1);
    let curl = proxy.curl("app", "/").http2().args(["--max-time", "1"]).run();
    assert_eq!(curl.exit, 28);
    until("the upstream to be let go again", || released.load(SeqCst) == 2);
}

#[test]
fn one_bad_upstream_of_two_does_not_harm_the_other_route() {
    let good = Backend::text("good");
    let stalled = Backend::plain(Conn::wait_for_end);
    let proxy = Proxy::config()
        .own("workers", "1")
        .forward("good", &good.url(), "")
        .forward("bad", &stalled.url(), "timeout: 0s")
        .start();
    let mut held: Vec<_> = (0..50).map(|_| proxy.raw("bad")).collect();
    for raw in &mut held {
        raw.send("GET / HTTP/1.1\r\nHost: bad.localhost.pomerium.io\r\n\r\n");
    }
    until("all to wait", || stalled.connections() == 50);
    assert_eq!(proxy.curl("good", "/").ok().text(), "good");
}
