//! Endpoints that no connection can be made to: requests go to another one, and nobody notices.

use std::{
    io::Write,
    net::TcpListener,
    path::PathBuf,
    process::Command,
    sync::{Arc, atomic::AtomicUsize, atomic::Ordering::SeqCst},
    thread,
};

use portcullis_tests::{
    Backend, Load, Proxy,
    backend::{Conn, Echoed},
    netns,
    nginx::Nginx,
    openssl::SServer,
    pki,
    ports::free_port,
    process::Process,
    proxy::Config,
    tempdir::TempDir,
    tools::need,
};
use rustix::process::Signal;

/// Nobody listens there.
fn dead() -> String {
    format!("http://127.0.0.1:{}", free_port())
}

fn to(urls: &[String]) -> String {
    format!("[{}]", urls.join(", "))
}

/// A route to these endpoints, on one worker: what it learns of them holds for all requests.
fn forward(urls: &[String], more: &str) -> Config {
    Proxy::config().own("workers", "1").forward_tls("app", &to(urls), more)
}

fn retries(proxy: &Proxy, reason: &str) -> f64 {
    proxy.metrics().sum("portcullis_upstream_retries_total", &[("reason", reason)])
}

/// How many requests failed since no connection was made.
fn unconnected(proxy: &Proxy) -> usize {
    let details = |line: &serde_json::Value| line["response-code-details"].to_string();
    let failed = |details: &String| {
        details.contains("connection_failure") || details.contains("connection_timeout")
    };
    proxy.log().iter().map(details).filter(failed).count()
}

fn nginx() -> Nginx {
    Nginx::plain().with("location / { return 200 ok; }").start()
}

/// A running HAProxy that answers all requests.
fn haproxy(dir: &TempDir) -> (Process, String) {
    let port = free_port();
    let config: PathBuf = dir.write(
        "haproxy.cfg",
        format!(
            "global\n  log stdout format raw local0\ndefaults\n  mode http\n  timeout client 60s\n  \
             timeout server 60s\n  timeout connect 5s\nfrontend all\n  bind 127.0.0.1:{port}\n  \
             http-request return status 200 content-type text/plain string ok\n"
        ),
    );
    let process = Process::spawn("haproxy", Command::new(need("haproxy")).arg("-f").arg(config));
    portcullis_tests::wait::until("haproxy to listen", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    (process, format!("http://127.0.0.1:{port}"))
}

#[test]
fn nobody_notices_endpoints_that_are_killed_under_load() {
    let dir = TempDir::new("haproxy");
    let (killed, proxied) = haproxy(&dir);
    let (stays, stops) = (nginx(), nginx());
    for policy in ["round_robin", "least_request", "random", "ring_hash", "maglev"] {
        let urls = [stays.url(), stops.url(), proxied.clone(), dead()];
        let proxy = forward(&urls, &format!("load_balancing_policy: {policy}")).start();
        let load = Load::start(&proxy, "app", 4);
        load.wait_for(200);
        load.finish();
        assert_eq!(unconnected(&proxy), 0, "{policy}");
    }
    let urls = [stays.url(), stops.url(), proxied];
    let proxy = Proxy::config().forward("app", &to(&urls), "").start();
    let load = Load::start(&proxy, "app", 4);
    load.wait_for(200);
    drop((killed, stops));
    load.wait_for(400);
    // A request that was under way over a new connection may fail: it was sent.
    load.stop();
    assert_eq!(unconnected(&proxy), 0);
    assert!(retries(&proxy, "connect") >= 1.0);
    proxy.assert_no_panic();
}

/// An endpoint whose process dies of the second request on its only connection, and how often it has.
fn mortal() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    let (deaths, counted) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let deaths_seen = Arc::clone(&deaths);
    thread::spawn(move || {
        let (mut connection, _) = listener.accept().expect("a connection");
        while has_head(&mut connection) {
            if counted.fetch_add(1, SeqCst) == 1 {
                deaths.fetch_add(1, SeqCst);
                // Before the connection ends.
                return drop(listener);
            }
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nmortal";
            connection.write_all(answer.as_bytes()).expect("a reader");
        }
    });
    (url, deaths_seen)
}

/// Receives the head of a request; false at the end of the connection.
fn has_head(connection: &mut std::net::TcpStream) -> bool {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        match std::io::Read::read(connection, &mut byte) {
            Ok(1) => head.extend(byte),
            _ => return false,
        }
    }
    true
}

#[test]
fn a_get_goes_elsewhere_when_its_endpoint_dies() {
    for more in ["", "set_request_headers: {X-To: 'to ${pomerium.request.headers[\"Host\"]}'}"] {
        let ((dies, deaths), alive) = (mortal(), Backend::echo());
        let proxy = forward(&[dies, alive.url()], more).start();
        let texts: Vec<_> = (0..4).map(|_| proxy.curl("app", "/").ok().text()).collect();
        assert_eq!(texts.iter().filter(|text| *text == "mortal").count(), 1, "{texts:?}");
        assert_eq!(deaths.load(SeqCst), 1);
        assert!(retries(&proxy, "connect") >= 1.0);
        let own = alive.address().to_string();
        assert!(texts.iter().all(|text| text == "mortal" || text.contains(&own)), "{texts:?}");
    }
}

#[test]
fn a_post_that_was_sent_fails_with_its_true_reason() {
    let ((dies, deaths), alive) = (mortal(), Backend::text("x"));
    let proxy = forward(&[dies, alive.url()], "").start();
    let statuses = (0..4).map(|_| proxy.curl("app", "/").post("x").run().status);
    assert_eq!(statuses.filter(|status| *status == 503).count(), 1);
    assert_eq!(deaths.load(SeqCst), 1);
    let record = proxy.wait_for_log("the failure", |line| line["response-code"] == 503);
    assert!(record["response-code-details"].to_string().contains("connection_termination"));
    assert_eq!((unconnected(&proxy), retries(&proxy, "connect")), (0, 0.0));
}

#[test]
fn a_request_that_kills_endpoints_visits_two_of_them() {
    let mortals = [mortal(), mortal(), mortal()];
    let urls = mortals.each_ref().map(|(url, _)| url.clone());
    let proxy = forward(&urls, "").start();
    let statuses: Vec<_> = (0..4).map(|_| proxy.curl("app", "/").run().status).collect();
    assert_eq!(statuses, [200, 200, 200, 503]);
    let deaths = mortals.iter().map(|(_, deaths)| deaths.load(SeqCst));
    assert_eq!(deaths.sum::<usize>(), 2);
    let record = proxy.wait_for_log("the failure", |line| line["response-code"] == 503);
    let details = record["response-code-details"].to_string();
    assert!(details.contains("connection_termination"), "{details}");
    assert!(details.contains("2 endpoints were tried"), "{details}");
}

#[test]
fn bodies_go_to_the_endpoint_that_takes_them() {
    let alive = Backend::echo();
    let proxy = forward(&[dead(), alive.url(), dead()], "").start();
    for version in ["--http1.1", "--http2"] {
        for n in 0..9 {
            let body = format!("{n}").repeat(100_000);
            let fetched = proxy.curl("app", "/").args([version]).post(body.clone()).ok();
            assert_eq!(Echoed::parse(&fetched.text()).text("body").len(), body.len(), "{version}");
        }
    }
    assert!(retries(&proxy, "connect") >= 1.0);
}

#[test]
fn each_endpoint_gets_its_own_host() {
    let alive = Backend::echo();
    let host = alive.address().to_string();
    for more in ["", "set_request_headers: {X-To: 'to ${pomerium.request.headers[\"Host\"]}'}"] {
        let proxy = forward(&[dead(), alive.url()], more).start();
        for _ in 0..4 {
            let echoed = proxy.curl("app", "/").ok().echoed();
            assert_eq!(echoed.header("host").as_deref(), Some(&*host), "{more}");
            let expected = (!more.is_empty()).then(|| format!("to {host}"));
            assert_eq!(echoed.header("x-to"), expected);
        }
        assert!(retries(&proxy, "connect") >= 1.0, "{more}");
    }
    let kept = forward(&[dead(), alive.url()], "preserve_host_header: true").start();
    for _ in 0..4 {
        let echoed = kept.curl("app", "/").ok().echoed();
        assert!(echoed.header("host").unwrap_or_default().starts_with("app.localhost."));
    }
}

#[test]
fn the_record_names_the_last_endpoint_and_the_attempts() {
    let alive = Backend::text("x");
    let fields = "access_log_fields: [path, upstream-address, upstream-request-attempt-count]";
    let proxy = forward(&[dead(), alive.url()], "").global(fields).start();
    for path in ["/1", "/2"] {
        proxy.curl("app", path).ok();
    }
    let records = ["/1", "/2"].map(|path| proxy.wait_for_access(path));
    let attempts = records.each_ref().map(|it| it["upstream-request-attempt-count"].as_u64());
    assert!(attempts.contains(&Some(2)), "{records:?}");
    for record in &records {
        assert_eq!(record["upstream-address"], alive.address().to_string(), "{record}");
    }
}

#[test]
fn a_request_that_finds_no_endpoint_says_how_many_were_tried() {
    let proxy = forward(&[dead(), dead(), dead()], "").start();
    assert_eq!(proxy.curl("app", "/").run().status, 503);
    let record = proxy.wait_for_access("/");
    let details = record["response-code-details"].as_str().unwrap_or_default();
    assert!(details.contains("3 endpoints were tried"), "{record}");
    assert_eq!(retries(&proxy, "connect"), 2.0);
}

#[test]
fn an_endpoint_that_failed_is_left_alone_for_a_while() {
    let alive = Backend::text("x");
    let proxy = forward(&[dead(), alive.url()], "").start();
    for _ in 0..40 {
        proxy.curl("app", "/").ok();
    }
    let count = retries(&proxy, "connect");
    assert!((1.0..=10.0).contains(&count), "{count} of 40 requests went to it first");
}

#[test]
fn a_handshake_that_hangs_delays_and_fails_nobody() {
    let hangs = Backend::plain(Conn::wait_for_end);
    let hanging = format!("https://localhost:{}", hangs.address().port());
    let stopped = Nginx::tls(&pki().upstream()).with("location / { return 200 ok; }").start();
    stopped.signal(Signal::STOP);
    let alive = Nginx::tls(&pki().upstream()).with("location / { return 200 ok; }").start();
    let proxy = forward(&[hanging, stopped.url(), alive.url()], "").start();
    let load = Load::start(&proxy, "app", 3);
    load.wait_for(100);
    load.finish();
    stopped.signal(Signal::CONT);
    assert_eq!(unconnected(&proxy), 0);
    assert!(retries(&proxy, "connect") >= 1.0);
}

#[test]
fn packets_that_are_dropped_fail_nobody() {
    netns::private(|network| {
        let (alive, cut) = (Backend::text("x"), Backend::text("y"));
        let proxy = forward(&[cut.url(), alive.url()], "timeout: 3s").start();
        network.drop_incoming(&[&format!("tcp dport {}", cut.address().port())]);
        let curls = || (0..10).for_each(|_| assert_eq!(proxy.curl("app", "/").ok().text(), "x"));
        thread::scope(|scope| (0..3).for_each(|_| drop(scope.spawn(curls))));
        assert_eq!(cut.connections(), 0);
        // Upstreams end by a connection to themselves.
        network.drop_nothing();
        assert!(retries(&proxy, "connect") >= 1.0);
    });
}

/// Sends four requests to both endpoints in turn, and returns their statuses, sorted.
fn statuses_of_four(proxy: &Proxy) -> Vec<u16> {
    let mut statuses: Vec<_> = (0..4).map(|_| proxy.curl("app", "/").run().status).collect();
    statuses.sort_unstable();
    statuses
}

#[test]
fn a_certificate_that_one_side_refuses_is_no_reason_to_go_elsewhere() {
    let alive = || Nginx::tls(&pki().upstream()).with("location / { return 200 ok; }").start();
    for options in [["-Verify", "1", "-tls1_2"], ["-Verify", "1", "-tls1_3"]] {
        let (alive, wants_certificate) = (alive(), SServer::start(&pki().upstream(), &options));
        let proxy = forward(&[wants_certificate.url(), alive.url()], "").start();
        assert_eq!(statuses_of_four(&proxy), [200, 200, 503, 503], "{options:?}");
        assert_eq!(retries(&proxy, "connect"), 0.0, "{options:?}");
    }
    let alive = alive();
    // Its certificate is for another name.
    let refused = SServer::start(&pki().pair("elsewhere"), &[]);
    let proxy = forward(&[refused.url(), alive.url()], "").start();
    assert_eq!(statuses_of_four(&proxy), [200, 200, 503, 503]);
    assert_eq!(retries(&proxy, "connect"), 0.0);
}

#[test]
fn a_route_may_want_no_second_endpoint() {
    let alive = Backend::text("x");
    let proxy = forward(&[dead(), alive.url()], "portcullis: {retry: {on: []}}").start();
    // The endpoint is left alone after that.
    assert!(statuses_of_four(&proxy).contains(&503));
    assert_eq!(retries(&proxy, "connect"), 0.0);
}

/// Answers with this status, and counts the requests.
fn answers(status: u16) -> (Backend, Arc<AtomicUsize>) {
    let count = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&count);
    let backend = Backend::plain(move |conn| {
        while let Some(head) = conn.request() {
            conn.body(&head);
            counted.fetch_add(1, SeqCst);
            conn.respond(status, "answer");
        }
    });
    (backend, count)
}

#[test]
fn a_gateway_error_leads_elsewhere_if_the_route_wants_it() {
    let ((failing, count), (fine, _)) = (answers(503), answers(200));
    let urls = [failing.url(), fine.url()];
    let retry = "portcullis: {retry: {on: [connect, gateway]}}";
    let proxy = forward(&urls, retry).start();
    for _ in 0..4 {
        assert_eq!(proxy.curl("app", "/").run().status, 200);
    }
    assert!(count.load(SeqCst) >= 2 && retries(&proxy, "gateway") >= 2.0);
    let posted = (0..4).map(|_| proxy.curl("app", "/").post("x").run().status);
    assert!(posted.collect::<Vec<_>>().contains(&503), "a request with a body is sent once");
    let usual = forward(&urls, "").start();
    assert_eq!(statuses_of_four(&usual), [200, 200, 503, 503]);
}

#[test]
fn gateway_errors_everywhere_are_passed_on_after_the_attempts() {
    let ((first, one), (second, other)) = (answers(502), answers(502));
    let retry = "portcullis: {retry: {on: [gateway], attempts: 3, budget_percent: 100}}";
    let proxy = forward(&[first.url(), second.url()], retry).start();
    let fetched = proxy.curl("app", "/").run();
    assert_eq!((fetched.status, &*fetched.text()), (502, "answer"));
    assert_eq!(one.load(SeqCst) + other.load(SeqCst), 4);
    proxy.wait_for_metric("portcullis_upstream_retries_total", &[("reason", "gateway")], |n| {
        n == 3.0
    });
}

#[test]
fn a_budget_bounds_what_is_sent_again() {
    let ((first, one), (second, other)) = (answers(502), answers(502));
    let retry = "portcullis: {retry: {on: [gateway], budget_percent: 10}}";
    let proxy = forward(&[first.url(), second.url()], retry).start();
    for _ in 0..40 {
        assert_eq!(proxy.curl("app", "/").run().status, 502);
    }
    let again = one.load(SeqCst) + other.load(SeqCst) - 40;
    // More only if it takes longer than the window.
    assert!((10..=14).contains(&again), "{again}: ten, and a tenth of 40");
}

/// An HTTP/2 upstream that answers each request with this frame, in which the stream is filled in.
fn refuses_with(frame: fn(u32) -> Vec<u8>) -> Backend {
    Backend::plain(move |conn| {
        const PREFACE: usize = 24;
        conn.send(frame_of(4, 0, &[]));
        let (mut received, mut at) = (Vec::new(), PREFACE);
        while let Some(bytes) = conn.some() {
            received.extend(bytes);
            // A frame's header is 9 bytes: length, type, flags, stream (RFC 9113 section 4.1).
            while let Some(&[a, b, c, kind, _, s, t, u, v]) = received.get(at..at + 9) {
                at += 9 + u32::from_be_bytes([0, a, b, c]) as usize;
                if kind == 1 && !conn.try_send(frame(u32::from_be_bytes([s, t, u, v]))) {
                    return;
                }
            }
        }
    })
}

fn frame_of(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0, 0, payload.len() as u8, kind, 0];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

#[test]
fn a_stream_that_is_refused_goes_elsewhere_if_the_route_wants_it() {
    let refused_stream: fn(u32) -> Vec<u8> = |stream| frame_of(3, stream, &7_u32.to_be_bytes());
    // The last stream that was processed is 0, and there is no error.
    let go_away: fn(u32) -> Vec<u8> = |_| frame_of(7, 0, &[0; 8]);
    for frame in [refused_stream, go_away] {
        let (refuses, alive) = (refuses_with(frame), Backend::text("x"));
        let refusing = refuses.url().replace("http://", "h2c://");
        let urls = [refusing, alive.url()];
        let retry = "portcullis: {retry: {on: [refused_stream], budget_percent: 100}}";
        let proxy = forward(&urls, retry).start();
        for method in ["GET", "POST", "DELETE", "PATCH"] {
            for _ in 0..2 {
                assert_eq!(
                    proxy.curl("app", "/").args(["-X", method]).ok().text(),
                    "x",
                    "{method}"
                );
            }
        }
        assert!(retries(&proxy, "refused_stream") >= 4.0);
        let usual = forward(&urls, "").start();
        let statuses = (0..4).map(|_| usual.curl("app", "/").args(["-X", "POST"]).run().status);
        assert!(statuses.collect::<Vec<_>>().contains(&503), "not without being asked for");
    }
}
