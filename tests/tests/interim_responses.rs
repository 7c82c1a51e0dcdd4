//! Interim responses (RFC 9110 section 15.2): those of upstreams reach the client before the final one,
//! and a client that waits for a 100 gets it.

use std::sync::{
    Mutex,
    mpsc::{self, Receiver},
};

use portcullis_tests::{
    Backend, Http2, Proxy, Raw, frame_script,
    frames::{END, END_HEADERS, FrameClient, HEADERS, RESET, frame},
    raw::TlsOptions,
};

const NAME: &str = "app.localhost.pomerium.io";
const GET: &str = "GET / HTTP/1.1\r\nHost: app.localhost.pomerium.io\r\n\r\n";
const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nConnection: x-hop\r\n\
                     X-Hop: 1\r\nContent-Length: 3\r\nSet-Cookie: _pomerium=forged\r\n\r\n";
const PROCESSING: &str = "HTTP/1.1 102 Processing\r\n\r\n";
const SENT_ON: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n";

/// Sends these interim responses before each response.
fn hinting(interim: &'static str) -> Backend {
    Backend::plain(move |conn| {
        while let Some(head) = conn.request() {
            conn.body(&head);
            conn.send(interim);
            conn.respond(200, "hi");
        }
    })
}

fn serve(backend: &Backend) -> Proxy {
    Proxy::config().forward("app", &backend.url(), "").start()
}

fn http2(proxy: &Proxy) -> Http2 {
    Http2::connect(proxy.address(), &TlsOptions::name(NAME))
}

#[test]
fn interim_responses_come_before_the_final_one() {
    let backend = hinting("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 199 Odd\r\n\r\n");
    let proxy = serve(&backend);
    let mut client = Raw::tls(proxy.address(), NAME);
    // The second request is sent with the first.
    client.send([GET, GET].concat());
    for _ in 0..2 {
        let interim = client.until("199 \r\n\r\n");
        assert_eq!(interim, "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 199 \r\n\r\n");
        let last = client.response();
        assert_eq!((last.status, last.text()), (200, "hi".into()));
    }
    let mut client = http2(&proxy);
    let mut post = client.post("/", &[]);
    // The upstream answers when it has the body.
    client.send_body(&mut post, "x");
    for status in [102, 199] {
        assert_eq!(client.interim(&mut post).expect("an interim response").status(), status);
    }
    assert_eq!(client.interim(&mut post).map(|interim| interim.status()), None);
    assert_eq!(client.status(post), 200);
}

#[test]
fn fields_of_the_upstreams_connection_stay_behind() {
    let backend = hinting(HINTS);
    let proxy = serve(&backend);
    let mut client = Raw::tls(proxy.address(), NAME);
    assert_eq!(client.send(GET).until("\r\n\r\n"), SENT_ON);
    let mut client = http2(&proxy);
    let mut post = client.post("/", &[]);
    client.send_body(&mut post, "x");
    let interim = client.interim(&mut post).expect("an interim response");
    let fields: Vec<_> = interim.headers().keys().map(|name| name.as_str()).collect();
    assert_eq!(fields, ["link"]);
}

/// Sends an interim response, and the final one when it is told to.
fn hinting_in_advance() -> (Backend, mpsc::Sender<()>) {
    let (go_on, told) = mpsc::channel();
    let told: Mutex<Receiver<()>> = Mutex::new(told);
    let backend = Backend::plain(move |conn| {
        while conn.request().is_some() {
            conn.send(HINTS);
            if told.lock().is_ok_and(|told| told.recv().is_ok()) {
                conn.respond(200, "hi");
            }
        }
    });
    (backend, go_on)
}

#[test]
fn an_interim_response_does_not_wait_for_the_final_one() {
    let (backend, go_on) = hinting_in_advance();
    let proxy = serve(&backend);
    let mut client = Raw::tls(proxy.address(), NAME);
    assert_eq!(client.send(GET).until("\r\n\r\n"), SENT_ON);
    go_on.send(()).expect("the upstream waits");
    assert_eq!(client.response().status, 200);
    let mut client = http2(&proxy);
    let mut post = client.post("/", &[]);
    assert_eq!(client.interim(&mut post).expect("an interim response").status(), 103);
    go_on.send(()).expect("the upstream waits");
    assert_eq!(client.finish(post, "x"), 200);
}

#[test]
fn an_http10_client_gets_the_final_response_alone() {
    let backend = hinting(HINTS);
    let proxy = serve(&backend);
    let mut client = Raw::tls(proxy.address(), NAME);
    client.send(GET.replace("HTTP/1.1", "HTTP/1.0"));
    let answer = client.to_end();
    assert_eq!((answer.response().status, answer.responses()), (200, 1));
}

#[test]
fn an_upstream_with_more_than_32_interim_responses_is_broken() {
    for (count, status) in [(32, 200), (33, 502)] {
        let flood: &str = PROCESSING.repeat(count).leak();
        let backend = hinting(flood);
        let proxy = serve(&backend);
        let mut client = http2(&proxy);
        let post = client.post("/", &[]);
        assert_eq!(client.finish(post, "x"), status, "{count}");
        let fetched = proxy.curl("app", "/").ok();
        assert_eq!(fetched.status, status, "{count}");
    }
}

#[test]
fn interim_responses_of_an_http2_upstream_are_left_out() {
    // `:status: 103`
    let hints = |stream| frame(HEADERS, END_HEADERS, stream, b"\x08\x03103");
    let backend = Backend::plain(move |conn| {
        frame_script::serve(conn, |conn, stream| {
            let last = frame_script::headers(stream, &[("x-last", "1")], END);
            conn.try_send([hints(stream), hints(stream), last].concat())
        });
    });
    let url = backend.url().replace("http:", "h2c:");
    let proxy = Proxy::config().forward("app", &url, "").start();
    let mut client = Raw::tls(proxy.address(), NAME);
    let last = client.send(GET).response();
    assert_eq!((last.status, last.header("x-last")), (200, Some("1")));
    let mut client = http2(&proxy);
    let mut post = client.post("/", &[]);
    assert_eq!(client.interim(&mut post).map(|interim| interim.status()), None);
    assert_eq!(client.status(post), 200);
}

#[test]
fn an_http2_client_that_waits_for_100_gets_it() {
    let backend = Backend::echo();
    let proxy = serve(&backend);
    let mut client = http2(&proxy);
    let expect = [("expect", "100-continue")];
    // Several at once: each has its 100 on its own stream.
    let mut posts: Vec<_> = (0..5).map(|_| client.post("/", &expect)).collect();
    for post in posts.iter_mut().rev() {
        assert_eq!(client.interim(post).expect("a 100").status(), 100);
    }
    for post in posts {
        assert_eq!(client.finish(post, "hello"), 200);
    }
}

#[test]
fn a_request_that_is_refused_gets_no_100() {
    let backend = Backend::echo();
    let proxy = serve(&backend);
    let mut client =
        Http2::connect(proxy.address(), &TlsOptions::name("none.localhost.pomerium.io"));
    let mut post = client.post("/", &[("expect", "100-continue")]);
    assert_eq!(client.interim(&mut post).map(|interim| interim.status()), None);
    assert_eq!(client.status(post), 404);
}

/// HPACK: POST over HTTPS for `/`, and one field that is no part of a table.
fn post_head(name: &str, value: &str) -> Vec<u8> {
    let mut block = vec![0x83, 0x87, 0x84, 0x01];
    for (prefix, text) in [(None, NAME), (Some(0), name), (None, value)] {
        block.extend(prefix);
        block.push(u8::try_from(text.len()).expect("a short text"));
        block.extend(text.as_bytes());
    }
    block
}

#[test]
fn a_client_on_an_unknown_stream_is_told_not_to_wait() {
    let backend = Backend::echo();
    let proxy = serve(&backend);
    let mut client = FrameClient::connect(proxy.address(), NAME, &[]);
    // h2 refuses it and tells nobody but the client.
    client.send(&frame(HEADERS, END | END_HEADERS, 1, &post_head("connection", "close")));
    assert_eq!(client.until(|frame| frame.kind == RESET).stream, 1);
    client.send(&frame(HEADERS, END_HEADERS, 3, &post_head("expect", "100-continue")));
    let answer = client.until(|frame| frame.kind == HEADERS);
    assert_eq!(answer.stream, 3);
    assert_eq!(proxy.wait_for_access("/")["response-code"], 417);
}
