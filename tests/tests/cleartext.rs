//! Listeners without TLS: the HTTP version is the client's, within `codec_type`.

use portcullis_tests::{Backend, Http2, Proxy, Raw, http2::Content, wire::End};

const NAME: &str = "app.localhost.pomerium.io";
const GET: &str = "GET / HTTP/1.1\r\nHost: app.localhost.pomerium.io\r\nConnection: close\r\n\r\n";

fn proxy(codec: &str, backend: &Backend) -> Proxy {
    let global = format!("insecure_server: true\ncodec_type: {codec}");
    Proxy::config().certificates(&[]).global(&global).forward("app", &backend.url(), "").start()
}

fn over_http1(proxy: &Proxy, pieces: &[&str]) -> Option<u16> {
    let mut raw = Raw::tcp(proxy.address());
    for piece in pieces {
        raw.send(piece);
    }
    let answer = raw.to_end();
    portcullis_tests::http::Response::parse(&answer.bytes).map(|response| response.status)
}

#[test]
fn both_versions_are_told_apart_by_their_first_bytes() {
    let backend = Backend::text("one");
    let proxy = proxy("auto", &backend);
    let mut client = Http2::clear(proxy.address(), NAME);
    for _ in 0..2 {
        let request = client.request("POST", "/");
        let response = client.send(request, Content::data("body")).expect("a whole response");
        assert_eq!(response.status(), 200);
        assert_eq!(response.into_body().data.as_deref(), Some(&b"one"[..]));
    }
    assert_eq!(over_http1(&proxy, &[GET]), Some(200));
    let put = GET.replace("GET", "PUT");
    let (first, rest) = put.split_at(1);
    assert_eq!(over_http1(&proxy, &[first, rest]), Some(200), "`P` begins both");
    assert_eq!(over_http1(&proxy, &["PRI * HTTP/2.0\r\n\r\nSX\r\n\r\n"]), Some(400));
}

#[test]
fn codec_type_limits_the_versions_without_tls_too() {
    let backend = Backend::text("one");
    let only_1 = proxy("http1", &backend);
    assert_eq!(over_http1(&only_1, &[GET]), Some(200));
    assert_eq!(over_http1(&only_1, &["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]), None);
    let only_2 = proxy("http2", &backend);
    assert_eq!(Http2::clear(only_2.address(), NAME).get("/"), 200);
    assert_eq!(over_http1(&only_2, &[GET]), None);
}

#[test]
fn a_client_that_says_nothing_is_closed_like_an_idle_one() {
    let backend = Backend::text("one");
    let proxy = Proxy::config()
        .certificates(&[])
        .global("insecure_server: true\ntimeout_idle: 300ms")
        .own("header_timeout", "300ms")
        .forward("app", &backend.url(), "")
        .start();
    let silent = Raw::tcp(proxy.address()).to_end();
    assert_eq!((silent.bytes.len(), silent.end), (0, End::Clean));
    let mut slow = Raw::tcp(proxy.address());
    slow.send("PRI * H");
    let response = slow.to_end().response();
    assert_eq!(response.status, 408);
}
