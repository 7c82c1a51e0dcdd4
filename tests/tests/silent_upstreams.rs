//! HTTP/2 upstreams whose connection stays open and serves no more: another one is made.

use portcullis_tests::{
    Backend, Proxy,
    backend::TlsServer,
    frames::{FrameServer, SETTINGS, frame},
    pki,
};

/// SETTINGS_MAX_CONCURRENT_STREAMS 0.
const NO_STREAMS: &[u8] = &[0, 3, 0, 0, 0, 0];

/// The first connection answers one request, then runs this, and answers none; others answer all.
fn upstream(then: impl Fn(&mut FrameServer<'_>) + Send + Sync + 'static) -> Backend {
    let tls = TlsServer { pair: pki().upstream(), client_auth: false, alpn: vec!["h2"] };
    Backend::tls(&tls, move |conn| {
        let is_first = conn.id == 1;
        let mut server = FrameServer::new(conn, &[]);
        let mut answered = 0;
        while let Some(stream) = server.request() {
            if is_first && answered > 0 {
                continue;
            }
            server.respond(stream, "ok");
            answered += 1;
            if is_first {
                then(&mut server);
            }
        }
    })
}

/// The statuses of requests under a time-out of a second, until one is served again.
fn statuses(backend: &Backend) -> Vec<u16> {
    let proxy = Proxy::config()
        .own("workers", "1")
        .forward_tls("app", &backend.url(), "timeout: 1s")
        .start();
    let mut statuses = vec![proxy.curl("app", "/").ok().status];
    while statuses.len() < 10 {
        statuses.push(proxy.curl("app", "/").run().status);
        if statuses.ends_with(&[200]) {
            break;
        }
    }
    assert_eq!(backend.connections(), 2);
    statuses
}

#[test]
fn a_mute_connection_is_given_up_after_some_seconds() {
    let statuses = statuses(&upstream(|_| ()));
    // Each waits about a second, and the connection is silent for 5.
    let [200, failed @ .., 200] = &statuses[..] else { panic!("{statuses:?}") };
    assert!((5..=6).contains(&failed.len()), "{statuses:?}");
}

#[test]
fn a_connection_that_allows_no_stream_is_given_up_after_a_second() {
    let backend = upstream(|server| {
        server.send(&frame(SETTINGS, 0, 0, NO_STREAMS));
    });
    assert_eq!(statuses(&backend), [200, 504, 200]);
}
