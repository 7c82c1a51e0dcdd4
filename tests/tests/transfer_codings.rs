//! Transfer codings: `chunked` once, and no other, since none is undone here.

use portcullis_tests::{Backend, Proxy};

const NAME: &str = "app.localhost.pomerium.io";

#[test]
fn a_request_with_another_transfer_coding_is_refused() {
    let backend = Backend::echo();
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    for (codings, expected) in [
        (&["chunked"][..], 200),
        (&["CHUNKED"], 200),
        (&[", ,chunked"], 200),
        (&["gzip, chunked"], 501),
        (&["gzip", "chunked"], 501),
        (&["junk, chunked"], 501),
        (&["identity, chunked"], 501),
        (&["chunked, chunked"], 400),
        (&["chunked", "Chunked"], 400),
        (&["chunked, gzip"], 400),
        (&["gzip"], 400),
        (&["identity"], 400),
        (&["chunked;q=1"], 400),
        (&["\"chunked\""], 400),
        (&["chunked,"], 400),
        (&[""], 400),
    ] {
        let lines: Vec<_> =
            codings.iter().map(|line| format!("Transfer-Encoding: {line}\r\n")).collect();
        let mut raw = proxy.raw("app");
        raw.send(format!(
            "POST / HTTP/1.1\r\nHost: {NAME}\r\n{}\r\n4\r\nbody\r\n0\r\n\r\n",
            lines.concat()
        ));
        let response = raw.response();
        assert_eq!(response.status, expected, "{codings:?}: {}", response.text());
        if expected == 200 {
            assert!(response.text().contains("\"body\":\"body\""), "{}", response.text());
        }
    }
}

#[test]
fn a_response_with_another_transfer_coding_is_a_bad_gateway() {
    let backend = Backend::plain(|conn| {
        while let Some(head) = conn.request() {
            let codings = head.header("x-codings").unwrap_or_default().to_owned();
            let lines: Vec<_> =
                codings.split('|').map(|line| format!("Transfer-Encoding: {line}\r\n")).collect();
            conn.send(format!("HTTP/1.1 200 OK\r\n{}\r\n2\r\nhi\r\n0\r\n\r\n", lines.concat()));
        }
    });
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    for version in ["--http1.1", "--http2"] {
        for (codings, expected) in [
            ("chunked", 200),
            ("Chunked", 200),
            (",chunked", 200),
            ("gzip, chunked", 502),
            ("gzip|chunked", 502),
            ("chunked, chunked", 502),
            ("chunked|chunked", 502),
            ("gzip", 502),
            ("chunked, gzip", 502),
            ("", 502),
        ] {
            let curl = proxy.curl("app", "/").args([version]);
            let got = curl.header(&format!("X-Codings: {codings}")).run();
            assert_eq!((got.exit, got.status), (0, expected), "{version} {codings:?}: {got:?}");
            if expected == 200 {
                assert_eq!(got.text(), "hi");
            }
        }
    }
}
