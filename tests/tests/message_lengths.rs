//! How long messages are: one Content-Length or none, in both directions and both versions.

use http::{Request, Response, StatusCode};
use portcullis_tests::{
    Backend, Http2, Http2Backend, Proxy, http::values, http2::Content, raw::TlsOptions,
};

const NAME: &str = "app.localhost.pomerium.io";

/// What upstreams write, and the lengths that clients get; `None` is a 502.
const LENGTHS: &[(&str, &str, Option<&[&str]>)] = &[
    ("/one", "200 OK\r\nContent-Length: 2\r\n\r\nhi", Some(&["2"])),
    ("/twice", "200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi", Some(&["2"])),
    ("/list", "200 OK\r\nContent-Length: 2, 2\r\n\r\nhi", Some(&["2"])),
    ("/both", "200 OK\r\nContent-Length: 2,2\r\nContent-Length: 2\r\n\r\nhi", Some(&["2"])),
    ("/differ", "200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi", None),
    ("/differ-in-list", "200 OK\r\nContent-Length: 2, 3\r\n\r\nhi", None),
    ("/signed", "200 OK\r\nContent-Length: +2\r\n\r\nhi", None),
    ("/empty", "200 OK\r\nContent-Length:\r\n\r\nhi", None),
    ("/204", "204 No Content\r\nContent-Length: 5\r\n\r\n", Some(&[])),
    ("/204-twice", "204 No Content\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", Some(&[])),
    ("/304-differ", "304 Not Modified\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", None),
    ("/304-malformed", "304 Not Modified\r\nContent-Length: five\r\n\r\n", None),
];

/// What upstreams write to HEAD, of which nothing is checked by a parser.
const OF_HEAD: &[(&str, &str, Option<&[&str]>)] = &[
    ("/head", "200 OK\r\nContent-Length: 5\r\n\r\n", Some(&["5"])),
    ("/head-twice", "200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", Some(&["5"])),
    ("/head-list", "200 OK\r\nContent-Length: 5, 5\r\n\r\n", Some(&["5"])),
    ("/head-differ", "200 OK\r\nContent-Length: 5, 6\r\n\r\n", None),
    ("/head-malformed", "200 OK\r\nContent-Length: 5 bytes\r\n\r\n", None),
    ("/head-none", "200 OK\r\n\r\n", Some(&[])),
];

fn backend() -> Backend {
    Backend::plain(|conn| {
        while let Some(head) = conn.request() {
            conn.body(&head);
            let mut all = LENGTHS.iter().chain(OF_HEAD);
            let (_, response, _) = all.find(|(path, ..)| *path == head.target).expect("a case");
            conn.send(format!("HTTP/1.1 {response}"));
        }
    })
}

#[test]
fn a_response_has_one_content_length_or_none() {
    let backend = backend();
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    for version in ["--http1.1", "--http2"] {
        for (cases, method) in [(LENGTHS, "--get"), (OF_HEAD, "--head")] {
            for (path, _, expected) in cases {
                let got = proxy.curl("app", path).args([version, method]).run();
                assert_eq!(got.exit, 0, "{version} {path}: {got:?}");
                match expected {
                    None => assert_eq!(got.status, 502, "{version} {path}"),
                    Some(expected) => {
                        assert!(got.status < 300, "{version} {path}: {got:?}");
                        assert_eq!(
                            values(&got.headers, "content-length"),
                            *expected,
                            "{version} {path}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn a_204_that_states_content_is_the_last_on_its_connection() {
    let backend = Backend::plain(|conn| {
        while let Some(head) = conn.request() {
            let fields = match head.target.as_str() {
                "/length" => "Content-Length: 5\r\n",
                "/chunked" => "Transfer-Encoding: chunked\r\n",
                _ => "",
            };
            conn.send(format!("HTTP/1.1 204 No Content\r\n{fields}\r\n"));
        }
    });
    let proxy = Proxy::config().forward("app", &backend.url(), "").own("workers", "1").start();
    let mut client = Http2::connect(proxy.address(), &TlsOptions::name(NAME));
    for path in ["/plain", "/plain", "/length", "/plain", "/chunked", "/plain"] {
        assert_eq!(client.get(path), 204, "{path}");
    }
    assert_eq!(backend.connections(), 3);
}

#[test]
fn content_of_a_status_without_any_is_not_passed_on() {
    let backend = Http2Backend::start(|request: &Request<Content>| {
        let status = request.uri().path()[1..].parse::<u16>().expect("a status");
        Response::builder().status(status).body(Content::data("hidden")).expect("a response")
    });
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    let mut client = Http2::connect(proxy.address(), &TlsOptions::name(NAME));
    for status in [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED] {
        let path = format!("/{}", status.as_u16());
        let response = client.send(client.request("GET", &path), Content::default());
        let response = response.expect("a whole response");
        assert_eq!(response.status(), status);
        assert_eq!(response.body().data.as_deref(), Some(&b""[..]));
        let mut raw = proxy.raw("app");
        raw.send(format!("GET {path} HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n"));
        let answer = raw.to_end().response();
        assert_eq!((answer.status, answer.body.len()), (status.as_u16(), 0));
    }
}

#[test]
fn a_request_without_content_says_so_where_its_method_usually_has_some() {
    let backend = Backend::echo();
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    let mut client = Http2::connect(proxy.address(), &TlsOptions::name(NAME));
    for (method, length) in [
        ("POST", Some("0")),
        ("PUT", Some("0")),
        ("PATCH", Some("0")),
        ("GET", None),
        ("DELETE", None),
        ("OPTIONS", None),
    ] {
        let response = client.send(client.request(method, "/"), Content::default());
        let body = response.expect("a whole response").into_body().data.unwrap_or_default();
        let echoed = portcullis_tests::backend::Echoed::parse(&String::from_utf8_lossy(&body));
        assert_eq!(echoed.header("content-length").as_deref(), length, "HTTP/2 {method}");
        assert!(echoed.header("transfer-encoding").is_none());
        let mut raw = proxy.raw("app");
        raw.send(format!("{method} / HTTP/1.1\r\nHost: {NAME}\r\n\r\n"));
        let echoed = portcullis_tests::backend::Echoed::parse(&raw.response().text());
        assert_eq!(echoed.header("content-length").as_deref(), length, "HTTP/1.1 {method}");
    }
}
