//! The memory that reloads leave behind while connections of every earlier configuration are open.

use portcullis_tests::{Backend, Proxy, Raw, proxy::Config};

const HOST: &str = "ws.localhost.pomerium.io";
/// A number that is fast enough for every test run; see CONTRIBUTING.md for 1,000.
const RELOADS: usize = 300;
/// The number after which memory is first measured: the allocator then has its working pages.
const WARM: usize = 100;
const MEASUREMENTS: usize = 100;
/// A large configuration: its routes take more memory than a connection does.
const ROUTES: usize = 100;

/// The number of reloads, and the share by which memory may grow after the first of them.
///
/// Memory comes in large pages and settles over many reloads, so a short run has a wider bound. A
/// configuration that is kept by its websocket exceeds that too.
fn reloads() -> (usize, f64) {
    match std::env::var("PORTCULLIS_TEST_RELOADS") {
        Ok(given) => (given.parse().expect("a number of reloads"), 0.05),
        Err(_) => (RELOADS, 0.20),
    }
}

/// An upstream that switches protocols and keeps the connection.
fn tunnels() -> Backend {
    Backend::plain(|conn| {
        if conn.request().is_some() {
            conn.send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            );
            conn.wait_for_end();
        }
    })
}

fn config(backend: &Backend) -> Config {
    let mut config = Proxy::config().global("runtime_flags: {config_hot_reload: false}");
    for number in 0..ROUTES {
        config = config.forward(&format!("r{number}"), &backend.url(), "");
    }
    config.forward("ws", &backend.url(), "allow_websockets: true")
}

fn websocket(proxy: &Proxy) -> Raw {
    let mut raw = proxy.raw("ws");
    raw.send(format!(
        "GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    ));
    let head = raw.until("\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    raw
}

/// Memory in KiB without the configurations that are about to be freed: the least of what is measured
/// while workers report their load, which they do after they have given former configurations away.
fn settled_kib(proxy: &Proxy) -> u64 {
    let measure = |_| {
        let _ = proxy.metrics();
        proxy.resident_kib()
    };
    (0..MEASUREMENTS).map(measure).min().unwrap_or_default()
}

/// Memory in KiB after `WARM` websockets and after all, each opened after `between`.
fn memory(proxy: &Proxy, count: usize, between: impl Fn(usize)) -> (u64, u64) {
    let mut open = Vec::new();
    let mut warm = 0;
    for number in 1..=count {
        between(number);
        open.push(websocket(proxy));
        if number == WARM {
            warm = settled_kib(proxy);
        }
    }
    let all = settled_kib(proxy);
    let active = proxy.metrics().sum("portcullis_connections_active", &[]);
    assert_eq!(active, count as f64, "a websocket has ended");
    (warm, all)
}

#[test]
fn reloads_with_a_websocket_opened_in_each_leave_no_memory_behind() {
    let (backend, (count, bound)) = (tunnels(), reloads());
    // The growth of as many websockets without a reload.
    let still = config(&backend).start();
    let (before, after) = memory(&still, count, |_| ());
    let sockets = after.saturating_sub(before);
    drop(still);

    let proxy = config(&backend).start();
    let (warm, all) = memory(&proxy, count, |number| {
        proxy.reload();
        let generation = (number + 1) as f64;
        proxy.wait_for_metric("portcullis_config_generation", &[], |value| value == generation);
    });
    let grown = all.saturating_sub(warm);
    let by_reloads = grown.saturating_sub(sockets);
    let part = by_reloads as f64 / warm as f64;
    println!(
        "{count} reloads: {warm} KiB after {WARM}, {all} KiB after all; {sockets} KiB of {grown} \
         are websockets; {:.1} % by reloads",
        100.0 * part
    );
    assert!(part <= bound, "memory grew from {warm} to {all} KiB, of which websockets {sockets}");
}
