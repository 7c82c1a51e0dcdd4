//! Clients that do not read: each response ends at its own limits, and the others go on.

use portcullis_tests::{
    Backend, Proxy,
    backend::Conn,
    frames::{DATA, END, FrameClient, HEADERS, RESET, WINDOW_UPDATE, frame},
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
        loop {
            let frame = client.receive();
            if frame.kind == RESET && HELD.contains(&frame.stream) {
                resets.push(frame.stream);
            } else if frame.kind == DATA && frame.flags & END != 0 {
                assert_eq!((frame.stream, &frame.payload[..]), (small, &b"ok"[..]));
                break;
            }
        }
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
