//! Answers that come before the end of a request, the upstream's and the proxy's own: the client gets
//! them although it is still sending, and knows what becomes of the rest.

use std::sync::{
    Arc, Mutex,
    mpsc::{Receiver, channel},
};

use portcullis_tests::{
    Backend, Http2, Proxy,
    backend::Conn,
    http::Response,
    pki,
    proxy::Config,
    raw::TlsOptions,
    wait::{DEADLINE, until},
    wire::End,
};

const HOST: &str = "app.localhost.pomerium.io";
const MIB: usize = 1 << 20;

fn post(length: usize) -> String {
    format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {length}\r\n\r\n")
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// An upstream that answers each head at once, then reads the body and reports its length.
fn answers_first() -> (Backend, Receiver<usize>) {
    let (report, bodies) = channel();
    let report = Mutex::new(report);
    let backend = Backend::plain(move |conn| {
        let report = report.lock().expect("not poisoned").clone();
        while let Some(head) = conn.request() {
            conn.send(OK);
            let mut length = 0;
            if conn.stream_body(&head, |bytes| length += bytes.len()) {
                let _ = report.send(length);
            }
        }
    });
    (backend, bodies)
}

fn closes(response: &Response) -> bool {
    response.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
}

#[test]
fn an_upload_reaches_an_upstream_that_has_answered() {
    let (backend, bodies) = answers_first();
    let proxy = Proxy::config().own("workers", "1").forward("app", &backend.url(), "").start();
    let mut raw = proxy.raw("app");
    for length in [10_000, 3 * MIB] {
        raw.send(post(length));
        let response = raw.response();
        assert_eq!((response.status, closes(&response)), (200, false));
        raw.send(vec![b'x'; length]);
        assert_eq!(bodies.recv_timeout(DEADLINE), Ok(length));
    }
    assert_eq!(backend.connections(), 1, "each connection goes on behind the upload");
}

#[test]
fn an_http2_upload_reaches_an_upstream_that_has_answered() {
    let (backend, bodies) = answers_first();
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    let mut client = Http2::connect(proxy.address(), &TlsOptions::name(HOST));
    let body = vec![b'x'; MIB];
    let status = client.post_when_answered("/", body, || bodies.try_recv() == Ok(MIB));
    assert_eq!(status, 200);
}

#[test]
fn a_client_that_leaves_in_an_answered_upload_ends_it() {
    let ended = Arc::new(Mutex::new(None));
    let report = Arc::clone(&ended);
    let backend = Backend::plain(move |conn| {
        let Some(head) = conn.request() else { return };
        conn.send(OK);
        let whole = conn.stream_body(&head, |_| ());
        *report.lock().expect("not poisoned") = Some(whole);
    });
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    let mut raw = proxy.raw("app");
    raw.send(post(MIB)).send("some");
    assert_eq!(raw.response().status, 200);
    raw.finish();
    until("the upstream to see the end", || *ended.lock().expect("not poisoned") == Some(false));
}

#[test]
fn an_upstream_that_stops_reading_behind_its_answer_holds_no_client() {
    let (_hold, held) = channel::<()>();
    let held = Mutex::new(held);
    let backend = Backend::plain(move |conn| {
        conn.request();
        conn.send(OK);
        let _ = held.lock().expect("not poisoned").recv();
    });
    let proxy =
        Proxy::config().global("timeout_read: 1s").forward("app", &backend.url(), "").start();
    let mut raw = proxy.raw("app");
    raw.send(post(64 * MIB));
    assert_eq!(raw.response().status, 200);
    while raw.try_send([b'x'; 64 * 1024]).is_ok() {}
    proxy.wait_for_metric("portcullis_connections_active", &[], |value| value == 0.0);
}

/// Answers a head with a refusal, and closes with bytes unread: a reset follows.
fn refuses(conn: &mut Conn) {
    if conn.request().is_some() {
        conn.take(64 * 1024);
        conn.send(
            "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig",
        );
        conn.end_with_reset();
    }
}

/// A client that reads only once it has sent everything, or cannot send more.
fn sends_first(proxy: &Proxy, host: &str, length: usize) -> Response {
    let mut raw = proxy.raw(host);
    raw.send(post(length).replace("app.", &format!("{host}.")));
    let piece = [b'x'; 16 * 1024];
    for sent in (0..length).step_by(piece.len()) {
        if raw.try_send(&piece[..piece.len().min(length - sent)]).is_err() {
            break;
        }
    }
    raw.response()
}

#[test]
fn a_refusal_is_read_though_the_upload_cannot_be_written() {
    for backend in [Backend::plain(refuses), Backend::secure(refuses)] {
        let proxy = Proxy::config().forward_tls("app", &backend.url(), "").start();
        for _ in 0..40 {
            let response = sends_first(&proxy, "app", 5 * MIB);
            assert_eq!((response.status, response.text().as_str()), (413, "big"));
            assert!(closes(&response), "the rest of the request is not read");
        }
        let curl = proxy.curl("app", "/").http2().header("Expect:").post(vec![b'x'; 5 * MIB]);
        assert_eq!(curl.run().status, 413);
        proxy.assert_no_panic();
    }
}

fn refusing() -> Config {
    let own = "from: https://own.localhost.pomerium.io\nresponse: { status: 403, body: denied }";
    let tls = format!(
        "from: https://cert.localhost.pomerium.io\nto: http://127.0.0.1:9\n\
         tls_downstream_client_ca_file: {}",
        pki().ca().display()
    );
    Proxy::config().forward("down", "http://127.0.0.1:9", "").route(own).route(&tls)
}

#[test]
fn refusals_of_ours_reach_a_client_that_sends_first() {
    let proxy = refusing().start();
    for (host, status) in [("own", 403), ("nobody", 404), ("cert", 495), ("down", 503)] {
        for length in [100_000, 3 * MIB, 8 * MIB] {
            let response = sends_first(&proxy, host, length);
            assert_eq!(response.status, status, "{host}, {length} bytes");
            assert!(closes(&response), "{host}, {length} bytes");
        }
        // curl 7.88 loses an answer to which the reset of its stream comes with it.
        let upload = proxy.curl(host, "/").http2().header("Expect:").post(vec![b'x'; 8 * MIB]);
        assert_eq!(upload.ok().status, status, "{host} over HTTP/2");
    }
}

#[test]
fn an_http2_upload_that_is_not_wanted_is_stopped_without_an_error() {
    let closing = Backend::plain(refuses);
    let proxy = refusing().forward("closing", &closing.url(), "").start();
    for (host, status) in [("own", 403), ("down", 503), ("closing", 413)] {
        let options = TlsOptions::name(&format!("{host}.localhost.pomerium.io"));
        let mut client = Http2::connect(proxy.address(), &options);
        for _ in 0..3 {
            let stopped = client.post_unwanted("/");
            assert_eq!(stopped, (status, Some(h2::Reason::NO_ERROR)), "{host}");
        }
        if host == "own" {
            assert_eq!(client.get("/"), status, "the connection goes on");
        }
    }
}

#[test]
fn behind_a_refusal_of_a_short_body_the_connection_goes_on() {
    let proxy = refusing().start();
    let mut raw = proxy.raw("own");
    for length in [1, 50_000] {
        let head = post(length).replace("app.", "own.");
        raw.send(head);
        let response = raw.response();
        assert_eq!((response.status, closes(&response)), (403, false));
        raw.send(vec![b'x'; length]);
    }
    raw.send("GET / HTTP/1.1\r\nHost: own.localhost.pomerium.io\r\nConnection: close\r\n\r\n");
    assert_eq!(raw.to_end().responses(), 1);
}

#[test]
fn a_body_that_may_never_come_is_not_waited_for() {
    let proxy = refusing().start();
    for framing in ["Content-Length: 10\r\nExpect: 100-continue", "Transfer-Encoding: chunked"] {
        let mut raw = proxy.raw("own");
        raw.send(format!(
            "POST / HTTP/1.1\r\nHost: own.localhost.pomerium.io\r\n{framing}\r\n\r\n"
        ));
        let answer = raw.to_end();
        assert_eq!((answer.response().status, answer.end.clone()), (403, End::Clean), "{framing}");
        assert!(closes(&answer.response()), "{framing}");
    }
}

#[test]
fn a_client_that_never_stops_sending_is_cut_off() {
    let proxy = refusing().start();
    let mut raw = proxy.raw("own");
    raw.send(post(1 << 30).replace("app.", "own."));
    let mut sent = 0;
    while raw.try_send([b'x'; 64 * 1024]).is_ok() {
        sent += 64 * 1024;
    }
    assert!(sent < 64 * MIB, "{sent} bytes of a refused request were read");
    proxy.wait_for_metric("portcullis_connections_active", &[], |value| value == 0.0);
}

#[test]
fn a_client_that_stops_sending_is_not_waited_for_long() {
    let proxy = refusing().start();
    let mut raw = proxy.raw("own");
    raw.send(post(1 << 30).replace("app.", "own."));
    assert_eq!(raw.response().status, 403);
    proxy.wait_for_metric("portcullis_connections_active", &[], |value| value == 0.0);
    drop(raw);
}
