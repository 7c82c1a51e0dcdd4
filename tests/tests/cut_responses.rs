//! Responses that are not whole, and those that are whole in an unusual way: whatever their end looks
//! like at the upstream, the client can tell the two apart.

use portcullis_tests::{
    Backend, Http2, Proxy,
    curl::Fetched,
    frame_script::{END_STREAM, data, go_away, headers, reset, serve, trailers},
    raw::TlsOptions,
    wire::End,
};

const VERSIONS: [&str; 3] = ["--http1.0", "--http1.1", "--http2"];
const NO_ERROR: u32 = 0;
/// RFC 9113 section 7, all of them and one that is unknown.
const CODES: std::ops::RangeInclusive<u32> = 0..=14;

/// An upstream that answers each request with the frames that `respond` makes for a stream.
fn upstream(respond: impl Fn(u32) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Backend {
    Backend::plain(move |conn| {
        serve(conn, |conn, stream| conn.try_send(respond(stream).concat()));
    })
}

/// Makes the frames of a response.
type Frames = fn(u32) -> Vec<Vec<u8>>;

fn through(backend: &Backend) -> Proxy {
    Proxy::config().forward("app", &backend.url().replace("http:", "h2c:"), "").start()
}

fn get(proxy: &Proxy, version: &str) -> Fetched {
    proxy.curl("app", "/").args([version]).run()
}

#[test]
fn a_stream_that_is_reset_before_its_end_is_never_whole() {
    for code in CODES {
        let backend = upstream(move |stream| {
            vec![headers(stream, &[], 0), data(stream, b"part", 0), reset(stream, code)]
        });
        let proxy = through(&backend);
        for version in VERSIONS {
            let fetched = get(&proxy, version);
            assert_ne!(fetched.exit, 0, "{version}, code {code} looked finished: {fetched:?}");
        }
    }
}

#[test]
fn a_reset_in_place_of_a_body_is_no_empty_body() {
    let backend = upstream(|stream| vec![headers(stream, &[], 0), reset(stream, NO_ERROR)]);
    let proxy = through(&backend);
    for version in VERSIONS {
        let fetched = get(&proxy, version);
        assert_ne!(fetched.exit, 0, "{version} looked finished: {fetched:?}");
    }
}

#[test]
fn a_body_shorter_than_its_length_is_not_whole() {
    let backend = upstream(|stream| {
        let head = headers(stream, &[("content-length", "100")], 0);
        vec![head, data(stream, b"part", 0), reset(stream, NO_ERROR)]
    });
    let proxy = through(&backend);
    for version in VERSIONS {
        assert_ne!(get(&proxy, version).exit, 0, "{version}");
    }
}

#[test]
fn a_connection_that_goes_away_ends_no_message() {
    let backend = Backend::plain(|conn| {
        serve(conn, |conn, stream| {
            conn.send(headers(stream, &[], 0));
            conn.send(data(stream, b"part", 0));
            // Streams above 0 are not processed any more: this one.
            conn.send(go_away(0, NO_ERROR));
            false
        });
    });
    let proxy = through(&backend);
    for version in VERSIONS {
        let fetched = get(&proxy, version);
        // Whether the GOAWAY overtakes the head is the machine's choice.
        assert!(fetched.exit != 0 || fetched.status == 503, "{version}: {fetched:?}");
    }
}

#[test]
fn a_reset_behind_a_whole_response_takes_nothing_from_it() {
    let whole: [Frames; 4] = [
        |stream| vec![headers(stream, &[], 0), data(stream, b"whole", END_STREAM)],
        |stream| {
            let length = [("content-length", "5")];
            vec![headers(stream, &length, 0), data(stream, b"whole", 0)]
        },
        |stream| {
            vec![headers(stream, &[], 0), data(stream, b"whole", 0), data(stream, b"", END_STREAM)]
        },
        |stream| {
            let last = trailers(stream, &[("x-sum", "1")]);
            vec![headers(stream, &[], 0), data(stream, b"whole", 0), last]
        },
    ];
    for (kind, whole) in whole.into_iter().enumerate() {
        let backend = upstream(move |stream| {
            let mut frames = whole(stream);
            frames.push(reset(stream, NO_ERROR));
            frames
        });
        let proxy = through(&backend);
        for version in VERSIONS {
            let fetched = get(&proxy, version);
            assert_eq!((fetched.exit, fetched.text().as_str()), (0, "whole"), "{kind} {version}");
        }
        // The reset answers an upload that the upstream does not want.
        let body = vec![b'x'; 1 << 20];
        let upload = proxy.curl("app", "/").http1().header("Expect:").post(body).run();
        assert_eq!(upload.text(), "whole", "{kind}: {upload:?}");
        let stopped = client(&proxy).post_unwanted("/");
        assert_eq!(stopped, (200, Some(h2::Reason::NO_ERROR)), "{kind}");
    }
}

fn client(proxy: &Proxy) -> Http2 {
    Http2::connect(proxy.address(), &TlsOptions::name("app.localhost.pomerium.io"))
}

#[test]
fn grpc_that_is_cut_off_before_its_trailers_is_an_error() {
    let backend = upstream(|stream| {
        let head = headers(stream, &[("content-type", "application/grpc")], 0);
        // A whole message, so that only the end of the call is missing.
        vec![head, data(stream, b"\0\0\0\0\x01x", 0), reset(stream, NO_ERROR)]
    });
    let proxy = through(&backend);
    let cut = client(&proxy).get_whole("/");
    let reason = cut.expect_err("it looked finished").reason();
    assert!(reason.is_some_and(|reason| reason != h2::Reason::NO_ERROR), "{reason:?}");
}

#[test]
fn an_http1_upstream_that_ends_with_a_reset_after_a_failed_write_is_not_whole() {
    // The body ends with the connection, which a reset ends, after an upload that was not read.
    let backend = Backend::plain(|conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\npart of it");
        conn.take(64 * 1024);
        conn.end_with_reset();
    });
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    for version in VERSIONS {
        let body = vec![b'x'; 8 << 20];
        let fetched = proxy.curl("app", "/").args([version, "-H", "Expect:"]).post(body).run();
        assert!(fetched.exit != 0 || fetched.status == 503, "{version}: {fetched:?}");
    }
}

#[test]
fn a_client_that_leaves_while_it_is_answered_sees_no_end() {
    // It ends its side of TCP alone, and would read on.
    let backend = Backend::plain(|conn| {
        conn.request();
        conn.send("HTTP/1.0 200 OK\r\n\r\npart");
        conn.wait_for_end();
    });
    let proxy = Proxy::config().forward("app", &backend.url(), "timeout: 0s").start();
    let mut raw = proxy.raw("app");
    raw.send("GET / HTTP/1.0\r\nHost: app.localhost.pomerium.io\r\n\r\n");
    raw.until("part");
    raw.truncate();
    assert_eq!(raw.to_end().end, End::Reset);
}
