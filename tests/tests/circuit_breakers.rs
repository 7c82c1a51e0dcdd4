//! Limits on what a route asks of its upstreams.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc::channel,
    },
    thread,
    time::Duration,
};

use portcullis_tests::{
    Backend, Proxy,
    ports::free_port,
    proxy::Config,
    wait::{DEADLINE, until},
};

/// An upstream that answers once it is told to.
struct Slow {
    backend: Backend,
    answers: Arc<AtomicBool>,
}

impl Slow {
    fn new() -> Self {
        let answers = Arc::<AtomicBool>::default();
        let flag = Arc::clone(&answers);
        let backend = Backend::plain(move |conn| {
            while conn.request().is_some() {
                while !flag.load(SeqCst) {
                    thread::sleep(Duration::from_millis(5)); // as the flag has no waiter
                }
                conn.respond(200, "late");
            }
        });
        Self { backend, answers }
    }
}

fn limited(slow: &Slow, limits: &str) -> Config {
    let limits = format!("circuit_breaker_thresholds: {limits}");
    Proxy::config().forward("app", &slow.backend.url(), &limits)
}

/// Sends one request more than the limit allows: one is refused at once, and the others are answered
/// once the upstream does so.
fn one_more_than(held: usize, slow: &Slow, proxy: &Proxy) {
    let (send, refused) = channel();
    thread::scope(|scope| {
        for _ in 0..=held {
            let send = send.clone();
            scope.spawn(move || {
                let _ = send.send(proxy.curl("app", "/held").run().status);
            });
        }
        let first = refused.recv_timeout(DEADLINE).expect("a refusal while the others wait");
        assert_eq!(first, 503);
        slow.answers.store(true, SeqCst);
        let others: Vec<_> =
            (0..held).filter_map(|_| refused.recv_timeout(DEADLINE).ok()).collect();
        assert_eq!(others, vec![200; held]);
    });
    until("requests to be served again", || proxy.curl("app", "/").run().status == 200);
    proxy.assert_no_panic();
}

fn open(proxy: &Proxy, limit: &str) -> f64 {
    proxy.metrics().sum("portcullis_circuit_open_total", &[("limit", limit)])
}

#[test]
fn a_request_beyond_max_requests_is_refused_at_once() {
    let slow = Slow::new();
    let fields = "access_log_fields: [path, response-code-details, response-flags]";
    let proxy = limited(&slow, "{max_requests: 2}").global(fields).start();
    one_more_than(2, &slow, &proxy);
    assert_eq!(open(&proxy, "max_requests"), 1.0);
    let record = proxy.wait_for_log("the refusal", |line| line["response-flags"] == "UO");
    let details = record["response-code-details"].as_str().unwrap_or_default();
    assert!(details.contains("max_requests = 2"), "{record}");
}

#[test]
fn requests_wait_for_a_connection_up_to_max_pending_requests() {
    let slow = Slow::new();
    let limits = "{maxConnections: 1, maxPendingRequests: 1}";
    let proxy = limited(&slow, limits).own("workers", "1").start();
    thread::scope(|scope| {
        let first = scope.spawn(|| proxy.curl("app", "/first").run().status);
        until("a connection", || slow.backend.open() == 1);
        one_more_than(1, &slow, &proxy);
        assert_eq!(first.join().expect("a client"), 200);
    });
    assert_eq!(open(&proxy, "max_pending_requests"), 1.0);
    assert_eq!(slow.backend.connections(), 1);
}

#[test]
fn limits_are_of_each_route_and_given_by_the_environment() {
    let slow = Slow::new();
    let proxy = limited(&slow, "{maxRequests: 1}")
        .forward("other", &slow.backend.url(), "")
        .env("CIRCUIT_BREAKER_THRESHOLDS", r#"{"max_requests": 0}"#)
        .start();
    assert_eq!(proxy.curl("other", "/").run().status, 503);
    one_more_than(1, &slow, &proxy);
    assert_eq!(open(&proxy, "max_requests"), 2.0);
}

#[test]
fn max_retries_bounds_failover() {
    let alive = Backend::text("x");
    let dead = format!("http://127.0.0.1:{}", free_port());
    let to = format!("[{dead}, {}]", alive.url());
    let limits = "circuit_breaker_thresholds: {max_retries: 0}";
    let proxy = Proxy::config().own("workers", "1").forward("app", &to, limits).start();
    let statuses: Vec<_> = (0..4).map(|_| proxy.curl("app", "/").run().status).collect();
    assert!(statuses.contains(&503), "{statuses:?}");
    assert!(open(&proxy, "max_retries") >= 1.0);
}
