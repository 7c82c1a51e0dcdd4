//! Clients that send invalid input: each gets a clear status or alert, leaves one record, and no
//! other state.

use std::{sync::Arc, time::Duration};

use portcullis_tests::{
    Backend, Proxy, Raw,
    backend::Echoed,
    metrics::Metrics,
    pki,
    raw::{self, Answer, TlsOptions},
    wait::until,
    wire::End,
};

const NAME: &str = "app.localhost.pomerium.io";
const GET: &str = "GET / HTTP/1.1\r\nHost: app.localhost.pomerium.io\r\n\r\n";
/// The content type of a TLS record that carries an alert (RFC 8446 section 5.1).
const ALERT: u8 = 21;

fn echo() -> (Backend, Proxy) {
    let backend = Backend::echo();
    let proxy = Proxy::config()
        .own("handshake_timeout", "500ms")
        .own("header_timeout", "500ms")
        // The connections that a SYN catcher holds come and go beside those that are counted here.
        .own("steering", "{mode: handoff}")
        .forward("app", &backend.url(), "")
        .start();
    (backend, proxy)
}

/// Runs one misdeed and waits for its one record.
fn leaves_one_record<T>(proxy: &Proxy, what: &str, misdeed: impl FnOnce() -> T) -> T {
    let records =
        || proxy.count_log("http-request") + proxy.count_log("listener connection failure");
    let before = records();
    let result = misdeed();
    until(&format!("a record of {what}"), || records() > before);
    // A second record of it would have been written before the record of the next request.
    assert_eq!(proxy.curl("app", "/next").ok().status, 200);
    until(&format!("the record behind {what}"), || records() > before + 1);
    assert_eq!(records(), before + 2, "{what} left more than one record");
    proxy.assert_no_panic();
    result
}

#[test]
fn what_is_not_tls_hears_an_alert_or_400_and_an_orderly_end() {
    let (_backend, proxy) = echo();
    let cases: [(&str, &[u8]); 5] = [
        ("garbage", b"\x00\xff\x13garbage that is no TLS record at all\r\n\r\n"),
        ("plain HTTP", GET.as_bytes()),
        ("SSH", b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"),
        ("a record of another kind", b"\x17\x03\x03\x00\x05hello"),
        (
            "a hello with nonsense in it",
            b"\x16\x03\x01\x00\x0a\x01\x00\x00\x06\x03\x03\xff\xff\xff\xff",
        ),
    ];
    for (what, bytes) in cases {
        let answer = leaves_one_record(&proxy, what, || {
            let mut raw = Raw::tcp(proxy.address());
            raw.send(bytes);
            raw.to_end()
        });
        let clear =
            answer.bytes.first() == Some(&ALERT) || answer.bytes.starts_with(b"HTTP/1.1 400");
        assert!(clear, "{what} heard {answer:?}");
        assert_eq!(answer.end, End::Clean, "{what}");
    }
}

#[test]
fn half_a_hello_and_silence_is_ended_by_the_handshake_timeout() {
    let (_backend, proxy) = echo();
    let answer = leaves_one_record(&proxy, "half a hello", || {
        let mut raw = Raw::tcp(proxy.address());
        raw.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
        raw.to_end()
    });
    assert_eq!(answer.end, End::Clean, "{answer:?}");
}

#[test]
fn silence_from_the_start_is_ended_by_the_handshake_timeout() {
    let (_backend, proxy) = echo();
    assert_eq!(Raw::tcp(proxy.address()).to_end().end, End::Clean);
}

#[test]
fn a_handshake_that_times_out_is_recorded_with_its_server_name() {
    let (_backend, proxy) = echo();
    let mut raw = Raw::tcp(proxy.address());
    raw.send(raw::hello(NAME));
    raw.to_end();
    let record = proxy.wait_for_refusal(|record| record["tls-sni-hostname"] == NAME);
    let reason = record["downstream-transport-failure-reason"].as_str();
    assert_eq!(reason, Some("the handshake took too long"), "{record}");
    assert_eq!(handshakes(&proxy, "timeout"), 1.0);
}

#[test]
fn a_hello_without_an_end_is_counted_as_oversized() {
    let (_backend, proxy) = echo();
    // The header of a ClientHello of 60,000 bytes, and zeros, in records of one byte.
    let message = [1, 0, 0xea, 0x60].into_iter().chain(std::iter::repeat(0)).take(30_000);
    let mut raw = Raw::tcp(proxy.address());
    // The proxy may close before it has received all.
    let _ = raw.try_send(message.flat_map(|byte| [22, 3, 1, 0, 1, byte]).collect::<Vec<u8>>());
    proxy.wait_for_refusal(|_| true);
    assert_eq!(handshakes(&proxy, "oversized"), 1.0, "{:?}", proxy.log());
    assert_eq!(handshakes(&proxy, "client_gone"), 0.0);
}

#[test]
fn a_rejection_of_our_certificate_is_recorded_with_a_hint() {
    let (_backend, proxy) = echo();
    for (version, count) in [("1.2", 1.0), ("1.3", 2.0)] {
        let ca = pki().other_ca().display().to_string();
        let refused = proxy.curl("app", "/").args(["--cacert", &ca, "--tls-max", version]).run();
        assert_ne!(refused.exit, 0, "{refused:?}");
        until("the rejection to be counted", || {
            handshakes(&proxy, "server_certificate_rejected") == count
        });
    }
    let record = proxy.wait_for_refusal(|record| record["tls-sni-hostname"] == NAME);
    let reason = record["downstream-transport-failure-reason"].to_string();
    assert!(reason.contains("the client rejected our certificate (alert UnknownCA)"), "{record}");
    assert!(reason.contains("install the CA at the client"), "{record}");
}

fn handshakes(proxy: &Proxy, result: &str) -> f64 {
    proxy.metrics().sum("portcullis_tls_handshakes_total", &[("result", result)])
}

#[test]
fn a_hello_may_come_byte_by_byte_and_split_over_records() {
    let backend = Backend::echo();
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    for record in [32, 33, 100, 1000] {
        let mut raw = Raw::dribble(proxy.address(), NAME, record)
            .unwrap_or_else(|end| panic!("records of {record} bytes: {end:?}"));
        raw.send(GET);
        assert_eq!(raw.response().status, 200, "records of {record} bytes");
    }
}

#[test]
fn a_protocol_that_nobody_speaks_hears_alert_120() {
    let (_backend, proxy) = echo();
    let other = TlsOptions::name(NAME).alpn("spdy/3");
    let end = leaves_one_record(&proxy, "an unknown ALPN protocol", || {
        match Raw::try_tls(proxy.address(), &other) {
            Err(end) => end,
            Ok(raw) => raw.to_end().end,
        }
    });
    assert_eq!(end, End::Alert(120)); // no_application_protocol (RFC 7301)
}

fn heard(proxy: &Proxy, head: &str) -> Answer {
    let mut raw = proxy.raw("app");
    raw.send(head);
    raw.to_end()
}

#[test]
fn heads_that_are_not_http_hear_400_and_an_orderly_end() {
    let (backend, proxy) = echo();
    let with = |line: &str| format!("POST / HTTP/1.1\r\nHost: {NAME}\r\n{line}\r\n\r\n");
    let cases = [
        ("garbage", "\x01\x02\x03\r\n\r\n".to_owned()),
        ("no version", format!("GET /\r\nHost: {NAME}\r\n\r\n")),
        ("HTTP/3.0", format!("GET / HTTP/3.0\r\nHost: {NAME}\r\n\r\n")),
        ("a blank in the target", format!("GET /a b HTTP/1.1\r\nHost: {NAME}\r\n\r\n")),
        ("a header without a colon", with("oops")),
        ("a blank before the colon", with("X-A : 1")),
        ("NUL in a value", with("X-A: a\0b")),
        ("conflicting lengths", with("Content-Length: 4\r\nContent-Length: 5")),
        ("a length list that conflicts", with("Content-Length: 4, 5")),
        ("a length that is no number", with("Content-Length: +4")),
        ("a negative length", with("Content-Length: -1")),
        ("an unknown last transfer coding", with("Transfer-Encoding: chunked, gzip")),
        ("obs-fold", with("X-A: 1\r\n folded: 2")),
    ];
    for (what, head) in cases {
        let answer = leaves_one_record(&proxy, what, || heard(&proxy, &head));
        assert_eq!(answer.response().status, 400, "{what}: {answer:?}");
        assert_eq!(answer.end, End::Clean, "{what}");
    }
    let asked = proxy.log().iter().filter(|line| line["path"] == "/next").count();
    assert_eq!(backend.connections().min(asked), backend.connections(), "only /next went through");
}

#[test]
fn requests_whose_meaning_is_in_doubt_hear_our_400() {
    let (_backend, proxy) = echo();
    let close = "Connection: close\r\n\r\n";
    let cases = [
        ("no Host", format!("GET /x HTTP/1.1\r\n{close}")),
        ("two Hosts", format!("GET /x HTTP/1.1\r\nHost: {NAME}\r\nHost: {NAME}\r\n{close}")),
        ("an empty Host", format!("GET /x HTTP/1.1\r\nHost: \r\n{close}")),
        ("a Host that is none", format!("GET /x HTTP/1.1\r\nHost: a b/c\r\n{close}")),
        ("user information in Host", format!("GET /x HTTP/1.1\r\nHost: u@{NAME}\r\n{close}")),
        (
            "absolute-form of another host",
            format!("GET https://other.test/x HTTP/1.1\r\nHost: {NAME}\r\n{close}"),
        ),
        ("an escaped slash", format!("GET /a%2Fb HTTP/1.1\r\nHost: {NAME}\r\n{close}")),
        ("an escaped backslash", format!("GET /a%5cb HTTP/1.1\r\nHost: {NAME}\r\n{close}")),
        (
            "an underscore in a name",
            format!("GET /x HTTP/1.1\r\nHost: {NAME}\r\nX_A: 1\r\n{close}"),
        ),
        (
            "HTTP/1.0 with Transfer-Encoding",
            format!(
                "POST /x HTTP/1.0\r\nHost: {NAME}\r\nTransfer-Encoding: chunked\r\n\r\n\
                 1\r\nx\r\n0\r\n\r\n"
            ),
        ),
    ];
    for (what, head) in cases {
        let answer = leaves_one_record(&proxy, what, || heard(&proxy, &head));
        assert_eq!(answer.response().status, 400, "{what}: {answer:?}");
        assert_eq!(answer.end, End::Clean, "{what}");
    }
}

#[test]
fn absolute_form_of_the_same_host_is_served() {
    let (_backend, proxy) = echo();
    let mut raw = proxy.raw("app");
    raw.send(format!("GET https://{NAME}/x?y HTTP/1.1\r\nHost: {NAME}\r\n\r\n"));
    let echoed = Echoed::parse(&raw.response().text());
    assert_eq!(echoed.text("target"), "/x?y");
}

#[test]
fn connect_is_refused() {
    let (_backend, proxy) = echo();
    let answer = heard(
        &proxy,
        "CONNECT app.localhost.pomerium.io:443 HTTP/1.1\r\nHost: app.localhost.pomerium.io:443\r\nConnection: close\r\n\r\n",
    );
    let status = answer.response().status;
    assert!((400..600).contains(&status), "{answer:?}");
}

#[test]
fn a_length_beside_chunks_reaches_the_upstream_as_chunks_alone() {
    let (_backend, proxy) = echo();
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: app.localhost.pomerium.io\r\n\r\n";
    let answer = heard(
        &proxy,
        &format!(
            "POST /both HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: 6\r\n\
             Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n{smuggled}"
        ),
    );
    let response = answer.response();
    assert_eq!(answer.responses(), 1, "the connection goes on: {answer:?}");
    // A 400 would be correct too (RFC 9112 section 6.3).
    if response.status != 400 {
        let text = response.text();
        let echoed = Echoed::parse(&text);
        assert_eq!(echoed.text("body"), "abc");
        assert!(echoed.all("content-length").is_empty(), "{echoed:?}");
        assert_eq!(echoed.all("transfer-encoding"), ["chunked"]);
    }
}

#[test]
fn heads_that_are_too_large_hear_431_or_414() {
    let (_backend, proxy) = echo();
    // Only a little beyond the limit: the rest is not more than the proxy reads after its response.
    let long = "x".repeat(160 * 1024);
    let many: String = (0..101).map(|i| format!("X-{i}: 1\r\n")).collect();
    let cases = [
        ("a long header", format!("GET / HTTP/1.1\r\nHost: {NAME}\r\nX-Long: {long}\r\n\r\n")),
        ("many headers", format!("GET / HTTP/1.1\r\nHost: {NAME}\r\n{many}\r\n")),
        ("a long target", format!("GET /{long} HTTP/1.1\r\nHost: {NAME}\r\n\r\n")),
    ];
    for (what, head) in cases {
        let answer = leaves_one_record(&proxy, what, || heard(&proxy, &head));
        let status = answer.response().status;
        assert!([414, 431].contains(&status), "{what} heard {status}");
        assert_eq!(answer.end, End::Clean, "{what}");
    }
    let fetched = proxy.curl("app", "/").http2().long_header(&format!("X-Long: {long}")).run();
    assert!(fetched.status == 431 || fetched.exit != 0, "{fetched:?}");
    let mut curl = proxy.curl("app", "/").http2();
    for i in 0..101 {
        curl = curl.header(&format!("X-{i}: 1"));
    }
    assert_eq!(curl.run().status, 431);
}

#[test]
fn half_a_head_and_silence_is_ended_by_the_header_timeout() {
    let (_backend, proxy) = echo();
    let answer = leaves_one_record(&proxy, "half a head", || heard(&proxy, "GET / HTTP/1.1\r\nHo"));
    assert_eq!(answer.end, End::Clean, "{answer:?}");
}

#[test]
fn a_head_that_trickles_in_is_ended_by_the_header_timeout() {
    let (_backend, proxy) = echo();
    let head = format!("GET / HTTP/1.1\r\nX-Slow: {}\r\n\r\n", "x".repeat(10_000));
    let frame =
        [b"\0\x27\x10\x01\x05\0\0\0\x01\x40\x01x\x7f\x90\x4d", &[b'x'; 10_000][..]].concat();
    let http1 = (proxy.raw("app"), head.into_bytes());
    for (mut raw, bytes) in [http1, (http2(&proxy, OPENING), frame)] {
        let ended = bytes.iter().any(|byte| {
            std::thread::sleep(Duration::from_millis(2)); // it is the trickle that is tested
            raw.try_send([*byte]).is_err()
        });
        assert!(ended, "a head may take as long as it likes");
    }
    until("both to be counted", || closed(&proxy, "header_timeout") == 2.0);
}

fn closed(proxy: &Proxy, reason: &str) -> f64 {
    proxy.metrics().sum("portcullis_connections_closed_total", &[("reason", reason)])
}

#[test]
fn a_bad_chunk_from_the_client_ends_its_connection() {
    let (_backend, proxy) = echo();
    for chunk in ["zz\r\n", "-1\r\n", "3\r\nabcd\r\n0\r\n\r\n", "fffffffffffffffff\r\n"] {
        let head = format!("POST / HTTP/1.1\r\nHost: {NAME}\r\nTransfer-Encoding: chunked\r\n\r\n");
        let answer = heard(&proxy, &(head + chunk));
        assert_ne!(answer.end, End::Deadline, "{chunk:?}: {answer:?}");
        assert!(!answer.bytes.starts_with(b"HTTP/1.1 200"), "{chunk:?}: {answer:?}");
    }
    proxy.assert_no_panic();
}

#[test]
fn a_request_that_takes_too_long_to_arrive_is_408() {
    let backend = Backend::echo();
    let proxy =
        Proxy::config().global("timeout_read: 500ms").forward("app", &backend.url(), "").start();
    let answer = heard(
        &proxy,
        "POST /slow HTTP/1.1\r\nHost: app.localhost.pomerium.io\r\nContent-Length: 10\r\n\r\nabc",
    );
    assert_eq!(answer.response().status, 408, "{answer:?}");
    assert_eq!(proxy.wait_for_access("/slow")["response-code"], 408);
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The preface and empty SETTINGS.
const OPENING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// A PING.
const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// A connection with HTTP/2 agreed in the handshake, on which these bytes were sent.
fn http2(proxy: &Proxy, bytes: &[u8]) -> Raw {
    let options = TlsOptions::name(NAME).alpn("h2");
    let mut raw = Raw::try_tls(proxy.address(), &options).expect("a handshake");
    raw.send(bytes);
    raw
}

#[test]
fn http2_nonsense_ends_the_connection_with_one_record() {
    let (_backend, proxy) = echo();
    let cases: [(&str, Vec<u8>); 3] = [
        ("no preface", GET.as_bytes().to_vec()),
        ("a window update by 0", [PREFACE, b"\0\0\x04\x08\0\0\0\0\0\0\0\0\0"].concat()),
        ("a frame beyond all limits", [OPENING, b"\xff\xff\xff\x00\0\0\0\0\x01"].concat()),
    ];
    for (what, bytes) in cases {
        let end = leaves_one_record(&proxy, what, || http2(&proxy, &bytes).to_end().end);
        assert_eq!(end, End::Clean, "{what}");
    }
}

#[test]
fn the_header_timeout_ends_unfinished_http2_frames() {
    let (_backend, proxy) = echo();
    let head: &[u8] = b"\0\0\x01\x01\x01\0\0\0\x01\x82"; // ":method: GET", without END_HEADERS
    let cases = [
        ("silence behind the handshake", Vec::new()),
        ("half a preface", PREFACE[..16].to_vec()),
        ("a preface without SETTINGS", PREFACE.to_vec()),
        ("PING instead of SETTINGS", [PREFACE, PING].concat()),
        ("half of SETTINGS", [PREFACE, b"\0\0\x06\x04\0\0\0\0\0\0\x03"].concat()),
        ("half a HEADERS frame", [OPENING, &head[..9]].concat()),
        ("HEADERS without CONTINUATION", [OPENING, head].concat()),
        ("half a CONTINUATION", [OPENING, head, b"\0\0\x02\x09\x04\0\0\0\x01\x84"].concat()),
    ];
    for (count, (what, bytes)) in (1..).zip(cases) {
        let end = leaves_one_record(&proxy, what, || http2(&proxy, &bytes).to_end().end);
        assert_eq!(end, End::Clean, "{what}");
        assert_eq!(closed(&proxy, "header_timeout"), f64::from(count), "{what}");
    }
}

#[test]
fn pings_do_not_extend_the_idle_timeout() {
    let backend = Backend::echo();
    let proxy =
        Proxy::config().global("timeout_idle: 500ms").forward("app", &backend.url(), "").start();
    let mut raw = http2(&proxy, OPENING);
    while raw.try_send(PING).is_ok() {
        std::thread::sleep(Duration::from_millis(100)); // far below the idle timeout
    }
    until("it to be counted", || closed(&proxy, "idle_timeout") == 1.0);
}

#[test]
fn alerts_and_bad_records_after_the_handshake_end_it() {
    let (_backend, proxy) = echo();
    let mut raw = proxy.raw("app");
    raw.send_raw(b"\x17\x03\x03\x00\x20not encrypted with the right key");
    let end = raw.to_end().end;
    assert_eq!(end, End::Alert(20)); // bad_record_mac
    let mut raw = proxy.raw("app");
    raw.send("GET / HT").send_raw(b"\x16\x03\x03\xff\xff");
    assert!(matches!(raw.to_end().end, End::Alert(_) | End::Clean));
    proxy.assert_no_panic();
}

/// Every kind of invalid input, once.
fn misbehave(proxy: &Proxy, turn: usize) {
    let address = proxy.address();
    let tls = || proxy.raw("app");
    match turn % 12 {
        0 => drop(Raw::tcp(address)),
        1 => Raw::tcp(address).reset(),
        2 => drop(Raw::tcp(address).send("no TLS\r\n\r\n")),
        3 => {
            let mut raw = Raw::tcp(address);
            raw.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
            raw.reset();
        }
        4 => tls().reset(),
        5 => drop(tls().send("GET / HT")),
        6 => drop(tls().send("nonsense\r\n\r\n").finish()),
        7 => {
            let mut raw = tls();
            raw.send(GET);
            raw.reset();
        }
        8 => drop(
            tls().send(format!("POST / HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: 9\r\n\r\nx")),
        ),
        9 => {
            let mut raw = tls();
            raw.send(GET.replace("/ ", "/endless "));
            raw.until("\r\n\r\n");
            raw.reset();
        }
        10 => drop(tls().send_raw(b"\x17\x03\x03\x00\x10nonsense")),
        _ => {
            let h2 = TlsOptions::name(NAME).alpn("h2");
            drop(Raw::try_tls(address, &h2).map(|mut raw| {
                raw.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
            }));
        }
    }
}

#[test]
fn thousands_of_bad_connections_leave_nothing_behind() {
    let backend = Backend::plain(|conn| {
        while let Some(head) = conn.request() {
            if head.target != "/endless" {
                conn.body(&head);
                conn.respond(200, "ok");
                continue;
            }
            conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            while conn.try_send(format!("1000\r\n{}\r\n", "x".repeat(4096))) {}
        }
    });
    let config = Proxy::config()
        .own("handshake_timeout", "2s")
        // As in `echo`: the connections that a SYN catcher holds are not counted here.
        .own("steering", "{mode: handoff}");
    let proxy = Arc::new(config.forward("app", &backend.url(), "").start());
    for turn in 0..48 {
        misbehave(&proxy, turn); // let pools and buffers grow to what they keep
    }
    settle(&proxy);
    let (descriptors, threads) = (least_descriptors(&proxy), proxy.threads());
    let before = proxy.resident_kib();
    let threads_of_ours: Vec<_> = (0..4)
        .map(|_| {
            let proxy = Arc::clone(&proxy);
            std::thread::spawn(move || (0..780).for_each(|turn| misbehave(&proxy, turn)))
        })
        .collect();
    for thread in threads_of_ours {
        thread.join().expect("a bad client does not panic");
    }
    settle(&proxy);
    until("all descriptors to be given back", || own_descriptors(&proxy) <= descriptors);
    until("all tasks to end", || own_tasks(&proxy) <= 2 * TASKS_OF_A_WORKER);
    assert_eq!(proxy.threads(), threads);
    let grown = proxy.resident_kib().saturating_sub(before);
    assert!(grown < 32 * 1024, "memory grew by {grown} KiB over 3120 connections");
    proxy.assert_no_panic();
    assert_eq!(proxy.curl("app", "/").ok().text(), "ok");
}

/// The tasks of a worker itself: it accepts, follows the configuration, ticks, and maintains its
/// pool once it has sent a request.
const TASKS_OF_A_WORKER: usize = 4;

/// Descriptors besides those of pooled connections.
fn own_descriptors(proxy: &Proxy) -> usize {
    proxy.descriptors().saturating_sub(pooled(&proxy.metrics()))
}

/// The lowest of some counts: the last connection for metrics may still be closing.
fn least_descriptors(proxy: &Proxy) -> usize {
    let count = |_| {
        std::thread::sleep(Duration::from_millis(20)); // for it to close
        own_descriptors(proxy)
    };
    (0..10).map(count).min().expect("it is counted")
}

/// Tasks besides those of pooled connections.
fn own_tasks(proxy: &Proxy) -> usize {
    let metrics = proxy.metrics();
    let tasks = metrics.sum("portcullis_worker_tasks", &[]) as usize;
    tasks.saturating_sub(pooled(&metrics))
}

fn pooled(metrics: &Metrics) -> usize {
    metrics.sum("portcullis_upstream_connections", &[("state", "idle")]) as usize
}

#[test]
fn the_counts_of_descriptors_and_tasks_see_one_that_is_left() {
    let (_backend, proxy) = echo();
    settle(&proxy);
    let at_rest = 2 * (TASKS_OF_A_WORKER - 1);
    until("the tasks to be counted", || own_tasks(&proxy) == at_rest);
    let before = least_descriptors(&proxy);
    let held: Vec<_> = (0..3).map(|_| proxy.raw("app")).collect();
    until("three more descriptors", || own_descriptors(&proxy) == before + 3);
    until("three more tasks", || own_tasks(&proxy) == at_rest + 3);
    drop(held);
    until("all to be given back", || own_descriptors(&proxy) == before);
    until("all to end", || own_tasks(&proxy) == at_rest);
}

/// Waits until the proxy reports no request and no connection in progress.
fn settle(proxy: &Proxy) {
    for (name, labels) in [
        ("portcullis_connections_active", &[][..]),
        ("portcullis_http_requests_active", &[]),
        ("portcullis_upstream_connections", &[("state", "active")]),
    ] {
        proxy.wait_for_metric(name, labels, |value| value == 0.0);
    }
}
