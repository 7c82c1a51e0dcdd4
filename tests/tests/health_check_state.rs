//! What health checks know outlives reloads and the process, and is known before a start says that it is
//! ready.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use portcullis_tests::{
    Backend, Curl, Proxy,
    ports::free_port,
    proxy::Config,
    wait::{eventually, until},
};
use rustix::process::Signal;
use serde_json::Value;

fn checks(times: &str) -> String {
    format!(
        "health_checks: [{{{times}, unhealthy_threshold: 1, healthy_threshold: 1, \
         http_health_check: {{path: /check}}}}]"
    )
}

fn forward(urls: &[String], more: &str) -> Config {
    Proxy::config().own("workers", "1").forward("app", &format!("[{}]", urls.join(", ")), more)
}

fn health(proxy: &Proxy, backend: &Backend) -> Value {
    health_in(&proxy.status(), backend)
}

fn health_in(status: &Value, backend: &Backend) -> Value {
    let name = backend.address().to_string();
    let all = status["health"].as_array().expect("a list");
    all.iter().find(|view| view["endpoint"] == name).expect("the endpoint").clone()
}

/// An endpoint whose checks get a status, or no answer at all.
#[derive(Clone, Default)]
struct Endpoint {
    hangs: Arc<AtomicBool>,
    /// The checks that got no answer.
    hanging: Arc<AtomicUsize>,
}

impl Endpoint {
    fn start(&self, status: u16) -> Backend {
        let Self { hangs, hanging } = self.clone();
        Backend::plain(move |conn| {
            while let Some(head) = conn.request() {
                conn.body(&head);
                let is_check = head.target.starts_with("/check");
                if is_check && hangs.load(SeqCst) {
                    hanging.fetch_add(1, SeqCst);
                    return conn.wait_for_end();
                }
                conn.respond(if is_check { status } else { 200 }, "endpoint");
            }
        })
    }

    /// From now on, checks get no answer; waits for the first of them.
    fn hang(&self) {
        self.hangs.store(true, SeqCst);
        until("a check that hangs", || self.hanging.load(SeqCst) == 1);
    }
}

#[test]
fn a_start_is_ready_after_the_first_round() {
    // It takes 500 ms to fail.
    let silent = Backend::plain(|conn| conn.wait_for_end());
    let other = Backend::text("other");
    let more = checks("timeout: 500ms, interval: 60s");
    let proxy = forward(&[silent.url(), other.url()], &more).start();
    assert_eq!(health(&proxy, &silent)["state"], "down");
    for _ in 0..10 {
        assert_eq!(proxy.curl("app", "/").ok().text(), "other");
    }
}

#[test]
fn a_start_is_ready_in_time_whatever_the_first_round_does() {
    let silent = Backend::plain(|conn| conn.wait_for_end());
    let config = forward(&[silent.url()], &checks("timeout: 1h, interval: 60s"));
    let proxy = config.own("first_health_checks", "100ms").start();
    assert_eq!(health(&proxy, &silent)["state"], "up", "what is not known is available");
    proxy.wait_for_log("the warning", |line| {
        line["message"].as_str().is_some_and(|text| text.contains("first health check"))
    });
}

#[test]
fn connections_are_accepted_while_the_first_round_is_under_way() {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let served = Arc::new(AtomicBool::default());
    let backend = Backend::plain({
        let served = Arc::clone(&served);
        move |conn| {
            while let Some(head) = conn.request() {
                if head.target.starts_with("/check") {
                    // Its first check passes once a request was served.
                    let url = "https://app.localhost.pomerium.io/";
                    until("a request", || Curl::new(address, url).run().status == 200);
                    served.store(true, SeqCst);
                }
                conn.respond(200, "served");
            }
        }
    });
    let config = forward(&[backend.url()], &checks("timeout: 1h, interval: 60s"));
    let config = config.addresses(&[&address.to_string()]).own("first_health_checks", "1h");
    let proxy = config.start();
    assert!(served.load(SeqCst), "it is ready after the first round");
    assert_eq!(health(&proxy, &backend)["state"], "up");
}

#[test]
fn a_reload_keeps_what_is_known() {
    let endpoint = Endpoint::default();
    let (down, other) = (endpoint.start(503), Backend::text("other"));
    let urls = [down.url(), other.url()];
    let more = checks("timeout: 60s, interval: 50ms");
    let mut proxy = forward(&urls, &more).start();
    let view = eventually("the endpoint to be down", || {
        Some(health(&proxy, &down)).filter(|view| view["state"] == "down")
    });
    endpoint.hang();
    let generation = |proxy: &Proxy| proxy.metrics().sum("portcullis_config_generation", &[]);
    let reload = |proxy: &mut Proxy, config: Config| {
        let before = generation(proxy);
        proxy.rewrite(config);
        until("the next generation", || generation(proxy) > before);
    };
    // Another route with the same upstreams, and another policy of the same route.
    let list = format!("[{}]", urls.join(", "));
    let next = proxy.current().forward("second", &list, &more);
    reload(&mut proxy, next);
    let changed = format!("{more}\nload_balancing_policy: random");
    let next = proxy.current().without_routes().forward("app", &list, &changed);
    reload(&mut proxy, next);
    assert_eq!(health(&proxy, &down)["state"], "down");
    assert_eq!(health(&proxy, &down)["last_error"], view["last_error"]);
    for _ in 0..20 {
        assert_eq!(proxy.curl("app", "/").ok().text(), "other");
    }
    assert_eq!(endpoint.hanging.load(SeqCst), 1, "no check begins again");
}

#[test]
fn a_process_that_takes_the_place_of_another_knows_what_that_one_knew() {
    let endpoint = Endpoint::default();
    let (down, other) = (endpoint.start(503), Backend::text("other"));
    let config = forward(&[down.url(), other.url()], &checks("timeout: 60s, interval: 50ms"));
    let directory = portcullis_tests::tempdir::TempDir::new("orders");
    let config = config.env("RUNTIME_DIRECTORY", &directory.path().display().to_string());
    let former = config.clone().start();
    eventually("the endpoint to be down", || {
        (health(&former, &down)["state"] == "down").then_some(())
    });
    let former_pid = former.status()["pid"].clone();
    endpoint.hangs.store(true, SeqCst);
    // Its own checks hang for a minute: it is ready, and knows.
    let proxy = former.replace(config);
    // Until the former process has closed the address, it may get the question, and close then.
    let status = eventually("its own status", || {
        let answer = proxy.admin("/status").filter(|answer| answer.status == 200)?;
        let status: Value = serde_json::from_str(&answer.text()).ok()?;
        (status["pid"] != former_pid && status["state"] == "ready").then_some(status)
    });
    let health = health_in(&status, &down);
    assert_eq!(health["state"], "down");
    assert_eq!(health["last_error"], "status 503");
    for _ in 0..20 {
        assert_eq!(proxy.curl("app", "/").ok().text(), "other");
    }
}

#[test]
fn a_check_that_our_own_stop_made_late_does_not_count() {
    let endpoint = Endpoint::default();
    let backend = endpoint.start(200);
    let more = checks("timeout: 2s, interval: 20ms");
    let proxy = forward(&[backend.url()], &more).start();
    let checked =
        |result| proxy.metrics().sum("portcullis_health_checks_total", &[("result", result)]);
    endpoint.hang();
    proxy.signal(Signal::STOP);
    // The endpoint hangs only while this process is stopped.
    let stopped = Instant::now();
    until("most of the timeout", || stopped.elapsed() > Duration::from_millis(2500));
    endpoint.hangs.store(false, SeqCst);
    proxy.signal(Signal::CONT);
    until("the check to be discarded", || checked("discarded") >= 1.0);
    until("the next checks", || checked("passed") > 3.0);
    assert_eq!(checked("failed"), 0.0);
    assert_eq!(health(&proxy, &backend)["state"], "up");
}
