//! Clients that do not read: each response ends at its own limits, and the others go on.

use portcullis_tests::{
    Backend, Proxy,
    backend::Conn,
    frames::{DATA, END, Frame, FrameClient, HEADERS, RESET, WINDOW_UPDATE, frame},
    wait::until,
};

const NAME: &str = "app.localhost.pomerium.io";
const LARGE_BYTES: usize = 64 << 20;
/// SETTINGS_INITIAL_WINDOW_SIZE 0: no response may send DATA.
const CLOSED_WINDOW: &[u8] = &[0, 4, 0, 0, 0, 0];

/// Serves `/large`, more than all buffers hold, and a small response for any other path.
fn upstream() -> Backend {
    Backend::plain(|conn: &mut Conn| {
        while let Some(head) = conn.request() {
            if head.target != "/large" {
                conn.respond(200, "ok");
                continue;
            }
            conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE_BYTES}\r\n\r\n"));
            if !conn.try_send(vec![7; LARGE_BYTES]) {
                return;
            }
        }
    })
}

/// Asks for responses that it does not read, and reads small ones until all of those are reset. Returns
/// the next stream.
fn reads_the_small_responses_alone(client: &mut FrameClient) -> u32 {
    const HELD: [u32; 3] = [1, 3, 5];
    let opened: Vec<u8> = HELD.iter().flat_map(|stream| client.get(*stream, "/large")).collect();
    client.send(&opened);
    let (mut resets, mut small) = (Vec::new(), 7);
    while resets.len() < HELD.len() {
        let window = frame(WINDOW_UPDATE, 0, small, &[0, 0, 0, 100]);
        let request = [client.get(small, "/small"), window].concat();
        client.send(&request);
        let mut body = Vec::new();
        loop {
            let frame = client.receive();
            if frame.kind == RESET && HELD.contains(&frame.stream) {
                resets.push(frame.stream);
            } else if frame.kind == DATA {
                assert_eq!(frame.stream, small);
                body.extend(frame.payload);
                if frame.flags & END != 0 {
                    break;
                }
            }
        }
        assert_eq!(body, b"ok");
        small += 2;
    }
    small
}

fn is_cut_off_alone(global: &str, route: &str, details: &str) {
    let backend = upstream();
    let proxy = Proxy::config()
        .own("workers", "1")
        .global(global)
        .forward("app", &backend.url(), route)
        .start();
    let mut client = FrameClient::connect(proxy.address(), NAME, CLOSED_WINDOW);
    let next = reads_the_small_responses_alone(&mut client);
    assert_eq!(proxy.wait_for_access("/large")["response-code-details"], details);
    until("upstream connections to be let go", || backend.open() <= 1);
    let request = client.get(next, "/small");
    client.send(&request).until(|frame| frame.kind == HEADERS && frame.stream == next);
}

#[test]
fn an_unread_http2_response_ends_alone_at_its_routes_timeout() {
    is_cut_off_alone("", "timeout: 1s", "upstream_response_timeout");
}

#[test]
fn an_unread_http2_response_ends_alone_at_timeout_write() {
    is_cut_off_alone("timeout_write: 1s", "timeout: 0s", "max_duration_timeout");
}

/// Small responses, each whole: with its length, in a chunk, and with trailers.
fn whole() -> Backend {
    Backend::plain(|conn: &mut Conn| {
        while let Some(head) = conn.request() {
            let answer: &[u8] = match head.target.as_str() {
                "/chunked" => b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
                "/trailers" => {
                    b"Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n"
                }
                "/exact" => &[b"Content-Length: 65535\r\n\r\n", &[b'x'; 65_535][..]].concat(),
                _ => b"Content-Length: 2\r\n\r\nok",
            };
            conn.send([b"HTTP/1.1 200 OK\r\n", answer].concat());
        }
    })
}

const WHOLE: [&str; 3] = ["/length", "/chunked", "/trailers"];

/// SETTINGS_INITIAL_WINDOW_SIZE 1.
const WINDOW_OF_A_BYTE: &[u8] = &[0, 4, 0, 0, 0, 1];

#[test]
fn a_whole_response_that_is_not_read_ends_alone_at_its_limit() {
    let backend = whole();
    let proxy =
        Proxy::config().own("workers", "1").forward("app", &backend.url(), "timeout: 1s").start();
    let mut client = FrameClient::connect(proxy.address(), NAME, WINDOW_OF_A_BYTE);
    for (stream, path) in (1..).step_by(2).zip(WHOLE) {
        let request = client.get(stream, path);
        client.send(&request).until(|frame| frame.kind == DATA && frame.stream == stream);
        client.until(|frame| frame.kind == RESET && frame.stream == stream);
        let details = &proxy.wait_for_access(path)["response-code-details"];
        assert_eq!(details, "upstream_response_timeout", "{path}");
    }
    // The connection goes on.
    let request = [client.get(7, "/length"), frame(WINDOW_UPDATE, 0, 7, &[0, 0, 0, 1])].concat();
    client.send(&request).until(|frame| frame.flags & END != 0 && frame.stream == 7);
}

#[test]
fn a_whole_response_that_is_read_slowly_arrives_whole() {
    let backend = whole();
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    let mut client = FrameClient::connect(proxy.address(), NAME, WINDOW_OF_A_BYTE);
    for (stream, path) in (1..).step_by(2).zip(WHOLE) {
        let request = client.get(stream, path);
        let is_data = |frame: &Frame| frame.kind == DATA && frame.stream == stream;
        assert_eq!(client.send(&request).until(is_data).payload, b"o");
        let update = frame(WINDOW_UPDATE, 0, stream, &[0, 0, 0, 1]);
        assert_eq!(client.send(&update).until(is_data).payload, b"k");
        let last = client.receive();
        assert_eq!((last.stream, last.flags & END), (stream, END), "{path}: {last:?}");
        assert_eq!(last.kind, if path == "/trailers" { HEADERS } else { DATA });
        assert_eq!(proxy.wait_for_access(path)["response-code"], 200);
    }
}

#[test]
fn a_response_behind_the_connections_window_ends_at_its_limit() {
    let backend = whole();
    let proxy = Proxy::config().forward("app", &backend.url(), "timeout: 1s").start();
    // Each stream may send a megabyte, and all together the first 65,535 bytes.
    let mut client = FrameClient::connect(proxy.address(), NAME, &[0, 4, 0, 16, 0, 0]);
    let one_less = frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]);
    let request = [one_less, client.get(1, "/exact")].concat();
    client.send(&request).until(|frame| frame.flags & END != 0 && frame.stream == 1);
    let request = client.get(3, "/length");
    let first = client.send(&request).until(|frame| frame.kind == DATA && frame.stream == 3);
    assert_eq!((&first.payload[..], first.flags & END), (&b"o"[..], 0));
    client.until(|frame| frame.kind == RESET && frame.stream == 3);
    let more = [frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 2]), client.get(5, "/length")].concat();
    let whole = client.send(&more).until(|frame| frame.kind == DATA && frame.stream == 5);
    assert_eq!((&whole.payload[..], whole.flags & END), (&b"ok"[..], END));
}

#[test]
fn an_unread_http1_response_ends_at_its_routes_timeout() {
    let backend = upstream();
    let proxy = Proxy::config().forward("app", &backend.url(), "timeout: 1s").start();
    let mut raw = proxy.raw("app");
    raw.send(format!("GET /large HTTP/1.1\r\nHost: {NAME}\r\n\r\n"));
    let record = proxy.wait_for_access("/large");
    assert_eq!(record["response-code-details"], "upstream_response_timeout");
    let closed = [("reason", "send_timeout")];
    proxy.wait_for_metric("portcullis_connections_closed_total", &closed, |count| count == 1.0);
    until("the upstream connection to be let go", || backend.open() == 0);
}
