//! Peers that send more than their messages explain: the connection is closed, and others are served.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
};

use portcullis_tests::{
    Backend, Proxy,
    backend::{Conn, TlsServer},
    frames::{
        END, END_HEADERS, ENHANCE_YOUR_CALM, FrameClient, FrameServer, GOAWAY, HEADERS, PING,
        PRIORITY, RESET, SETTINGS, WINDOW_UPDATE, frame,
    },
    pki,
    wait::until,
    wire::End,
};

const NAME: &str = "app.localhost.pomerium.io";
/// Sent before the client looks for an answer.
const BATCH_BYTES: usize = 64 * 1024;

fn serve(backend: &Backend) -> Proxy {
    Proxy::config().own("workers", "1").forward("app", &backend.url(), "").start()
}

fn batch(flood: &[u8]) -> Vec<u8> {
    flood.repeat(BATCH_BYTES / flood.len())
}

/// Sends frames, with a PING behind each batch, until GOAWAY comes; returns it and the bytes sent.
fn flood(client: &mut FrameClient, frames: &[u8]) -> (Vec<u8>, usize) {
    let (batch, mut sent) = (batch(frames), 0);
    while sent < 8 << 20 {
        client.send(&batch).send(&frame(PING, 0, 0, b"the end!"));
        sent += batch.len();
        let answer = client.until(|frame| {
            frame.kind == GOAWAY || frame.kind == PING && frame.payload == b"the end!"
        });
        if answer.kind == GOAWAY {
            return (answer.payload, sent);
        }
    }
    panic!("{sent} bytes were let pass");
}

#[test]
fn a_client_that_floods_with_control_frames_is_told_to_calm() {
    let backend = Backend::text("x");
    let floods = [
        ("PING", frame(PING, 0, 0, &[7; 8])),
        ("answers to no PING", frame(PING, END, 0, &[7; 8])),
        ("PRIORITY", frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1])),
        ("SETTINGS", frame(SETTINGS, 0, 0, &[])),
        ("WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ("unknown frames", frame(0xbb, 0, 0, &[7; 4])),
    ];
    for (what, frames) in floods {
        let proxy = serve(&backend);
        let mut client = FrameClient::connect(proxy.address(), NAME, &[]);
        let (goaway, sent) = flood(&mut client, &frames);
        assert_eq!(goaway[4..], ENHANCE_YOUR_CALM, "{what}");
        assert!(sent > 1 << 20, "{what}: {sent} bytes");
        assert_eq!(client.into_raw().to_end().end, End::Clean, "{what}");
        let closed = [("reason", "protocol")];
        let is_one = |count| count == 1.0;
        proxy.wait_for_metric("portcullis_connections_closed_total", &closed, is_one);
        proxy.wait_for_refusal(|record| {
            record.to_string().contains("too many HTTP/2 control frames")
        });
    }
}

#[test]
fn requests_are_answered_beside_clients_that_flood() {
    let backend = Backend::text("x");
    let proxy = serve(&backend);
    let (address, stop) = (proxy.address(), Arc::new(AtomicBool::new(false)));
    let stopped = Arc::clone(&stop);
    let flooding = thread::spawn(move || {
        let batch = batch(&frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1]));
        while !stopped.load(SeqCst) {
            let mut client = FrameClient::connect(address, NAME, &[]);
            while !stopped.load(SeqCst) && client.try_send(&batch) {}
        }
    });
    let mut raw = proxy.raw("app");
    for _ in 0..100 {
        raw.send(format!("GET / HTTP/1.1\r\nHost: {NAME}\r\n\r\n"));
        assert_eq!(raw.response().status, 200);
    }
    stop.store(true, SeqCst);
    flooding.join().expect("the flood had a connection at all times");
}

/// Opens streams in batches, and ends each batch by such frames once a `/ping` behind it is answered.
fn rapid_resets(client: &mut FrameClient, end: fn(u32) -> Vec<u8>) -> (Vec<u8>, usize) {
    const BATCH: u32 = 20;
    let mut next = 1;
    for batch in 1..100 {
        let streams: Vec<u32> = (0..BATCH).map(|n| next + 2 * n).collect();
        let ping = next + 2 * BATCH;
        next = ping + 2;
        let opened = streams.iter().flat_map(|stream| client.get(*stream, "/held"));
        let opened: Vec<u8> = opened.chain(client.get(ping, "/ping")).collect();
        client.send(&opened);
        let answer = client
            .until(|frame| frame.kind == GOAWAY || frame.kind == HEADERS && frame.stream == ping);
        if answer.kind == GOAWAY {
            return (answer.payload, batch * BATCH as usize);
        }
        let resets = streams.iter().flat_map(|stream| end(*stream));
        client.send(&resets.collect::<Vec<u8>>());
    }
    panic!("2,000 resets were let be");
}

#[test]
fn a_client_that_resets_requests_rapidly_is_told_to_calm() {
    let reset: fn(u32) -> Vec<u8> = |stream| frame(RESET, 0, stream, &[0, 0, 0, 8]);
    // h2 resets such a stream itself.
    let overflow: fn(u32) -> Vec<u8> =
        |stream| frame(WINDOW_UPDATE, 0, stream, &(u32::MAX >> 1).to_be_bytes());
    let backend = Backend::plain(Conn::wait_for_end);
    for (what, end) in [("reset", reset), ("overflow", overflow)] {
        let proxy = serve(&backend);
        let mut client = FrameClient::connect(proxy.address(), NAME, &[]);
        let (goaway, resets) = rapid_resets(&mut client, end);
        assert_eq!(goaway[4..], ENHANCE_YOUR_CALM, "{what}");
        assert!(resets > 200, "{what}: {resets} resets are no abuse");
        let reason = "too many requests were reset";
        proxy.wait_for_refusal(|record| record.to_string().contains(reason));
    }
}

/// The statuses that clients of both HTTP versions get, before any time-out.
fn statuses(proxy: &Proxy) -> [u16; 2] {
    ["--http1.1", "--http2"]
        .map(|version| proxy.curl("app", "/").args([version, "--max-time", "20"]).run().status)
}

#[test]
fn interim_responses_without_end_are_a_bad_gateway() {
    let backend = Backend::plain(|conn| {
        conn.request();
        let many = "HTTP/1.1 102 Processing\r\n\r\n".repeat(1000);
        while conn.try_send(&many) {}
    });
    let proxy = serve(&backend);
    assert_eq!(statuses(&proxy), [502, 502]);
    until("the connections to be closed", || backend.open() == 0);
    assert_eq!(backend.connections(), 2, "none is tried again");
    proxy.assert_no_panic();
}

#[test]
fn an_http2_upstream_that_floods_is_a_bad_gateway() {
    // `:status: 103`
    let interim = |stream| frame(HEADERS, END_HEADERS, stream, b"\x08\x03103");
    let priority = |stream| frame(PRIORITY, 0, stream, &[0, 0, 0, 0, 1]);
    flooded_by(interim);
    flooded_by(priority);
}

fn flooded_by(frames: impl Fn(u32) -> Vec<u8> + Send + Sync + 'static) {
    let tls = TlsServer { pair: pki().upstream(), client_auth: false, alpn: vec!["h2"] };
    let backend = Backend::tls(&tls, move |conn| {
        let mut server = FrameServer::new(conn, &[]);
        let Some(stream) = server.request() else { return };
        let batch = batch(&frames(stream));
        while server.send(&batch) {}
    });
    let proxy = Proxy::config().forward_tls("app", &backend.url(), "").start();
    assert_eq!(statuses(&proxy), [502, 502]);
    until("the connections to be closed", || backend.open() == 0);
    assert_eq!(backend.connections(), 2, "none is tried again");
    proxy.assert_no_panic();
}
