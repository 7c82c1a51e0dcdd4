//! Endpoints that are ejected for what they answer, or do not answer, to requests.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering::SeqCst},
    mpsc::channel,
};

use portcullis_tests::{
    Backend, Load, Proxy,
    backend::Conn,
    haproxy::Haproxy,
    nginx::Nginx,
    proxy::Config,
    wait::{eventually, until},
};
use serde_json::Value;

const HOST: &str = "app.localhost.pomerium.io";

fn forward(urls: &[String], more: &str) -> Config {
    let fields = "access_log_fields: [path, response-code, response-code-details, response-flags]";
    let config = Proxy::config().own("workers", "2").global(fields);
    config.forward("app", &format!("[{}]", urls.join(", ")), more)
}

/// For good, as far as a test can tell.
const FOR_GOOD: &str = "base_ejection_time: 3600s, max_ejection_time: 3600s, interval: 0.02s";

fn detection(keys: &str) -> String {
    format!("outlier_detection: {{{keys}}}")
}

/// A server that answers 200 with a text, and 503 while there is a file `down`.
fn nginx(text: &str) -> Nginx {
    let location = format!(
        "location / {{ if (-f $document_root/down) {{ return 503; }} return 200 {text}; }}"
    );
    Nginx::plain().with("root .;").with(&location).start()
}

fn set_down(nginx: &Nginx, down: bool) {
    let file = nginx.root().join("down");
    match down {
        true => std::fs::write(file, "").expect("a file"),
        false => std::fs::remove_file(file).expect("the file"),
    }
}

fn state(proxy: &Proxy, endpoint: &str) -> Value {
    let status = proxy.status();
    let all = status["health"].as_array().expect("a list");
    let is_it = |view: &&Value| view["endpoint"] == endpoint;
    all.iter().find(is_it).unwrap_or_else(|| panic!("{endpoint} in {status}")).clone()
}

/// Sends requests until the endpoint is ejected.
fn fetch_until_ejected(proxy: &Proxy, endpoint: &str) -> Value {
    eventually(&format!("{endpoint} to be ejected"), || {
        proxy.curl("app", "/").run();
        Some(state(proxy, endpoint)).filter(|view| view["state"] == "ejected")
    })
}

fn assert_served_by(proxy: &Proxy, text: &str) {
    for _ in 0..20 {
        let fetched = proxy.curl("app", "/").run();
        assert_eq!((fetched.status, fetched.text().trim()), (200, text));
    }
}

fn ejections(proxy: &Proxy, reason: &str) -> f64 {
    proxy.metrics().sum("portcullis_endpoint_ejections_total", &[("reason", reason)])
}

#[test]
fn an_endpoint_that_answers_503_is_ejected() {
    let (bad, good) = (nginx("bad"), nginx("good"));
    set_down(&bad, true);
    let keys = detection(&format!("consecutive_5xx: 3, {FOR_GOOD}"));
    let proxy = forward(&[bad.url(), good.url()], &keys).start();
    let name = bad.address().to_string();
    let view = fetch_until_ejected(&proxy, &name);
    assert_eq!(view["last_error"], "ejected: responses of status 5xx in a row");
    assert_served_by(&proxy, "good");
    assert_eq!(ejections(&proxy, "consecutive_5xx"), 1.0);
    let labels = [("cluster", HOST), ("endpoint", &*name)];
    assert_eq!(proxy.metrics().sum("portcullis_endpoint_healthy", &labels), 0.0);
    let line = proxy.wait_for_log("the change", |line| line["message"] == "endpoint ejected");
    assert_eq!((line["endpoint"].as_str(), line["cluster"].as_str()), (Some(&*name), Some(HOST)));
    assert_eq!(line["lasts_ms"], 3_600_000);
    assert_eq!(proxy.count_log("endpoint ejected"), 1, "once per change");
    let connections = "portcullis_endpoint_connections";
    until("its idle connections to be closed", || {
        proxy.metrics().sum(connections, &[("endpoint", &name), ("state", "idle")]) == 0.0
    });
    proxy.assert_no_panic();
}

#[test]
fn an_ejected_endpoint_returns_and_serves_again() {
    let (bad, good) = (nginx("bad"), nginx("good"));
    set_down(&bad, true);
    let keys = detection("consecutive_5xx: 3, base_ejection_time: 0.1s, interval: 0.02s");
    let proxy = forward(&[bad.url(), good.url()], &keys).start();
    fetch_until_ejected(&proxy, &bad.address().to_string());
    set_down(&bad, false);
    proxy.wait_for_log("the return", |line| line["message"] == "ejected endpoint returned");
    until("it to serve", || proxy.curl("app", "/").ok().text().trim() == "bad");
    until("all to be well", || proxy.metrics().sum("portcullis_endpoints_unhealthy", &[]) == 0.0);
}

#[test]
fn an_endpoint_that_is_killed_is_ejected() {
    let (killed, good) = (nginx("killed"), nginx("good"));
    let keys = detection(&format!("consecutive_5xx: 2, {FOR_GOOD}"));
    let proxy = forward(&[killed.url(), good.url()], &keys).start();
    let name = killed.address().to_string();
    drop(killed);
    fetch_until_ejected(&proxy, &name);
    assert_served_by(&proxy, "good");
}

#[test]
fn failures_to_connect_may_be_counted_apart() {
    let (killed, good) = (nginx("killed"), nginx("good"));
    let split = "split_external_local_origin_errors: true, consecutive_local_origin_failure: 2";
    let keys = detection(&format!("consecutive_5xx: 0, {split}, {FOR_GOOD}"));
    let proxy = forward(&[killed.url(), good.url()], &keys).start();
    let name = killed.address().to_string();
    drop(killed);
    fetch_until_ejected(&proxy, &name);
    assert_eq!(ejections(&proxy, "consecutive_local_origin_failure"), 1.0);
}

#[test]
fn an_endpoint_that_breaks_its_responses_off_is_ejected() {
    let broken = Backend::plain(|conn| {
        if conn.request().is_some() {
            conn.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
        }
    });
    let good = nginx("good");
    let split = "split_external_local_origin_errors: true, consecutive_local_origin_failure: 1";
    let keys = detection(&format!("{split}, {FOR_GOOD}"));
    let proxy = forward(&[broken.url(), good.url()], &keys).start();
    fetch_until_ejected(&proxy, &broken.address().to_string());
    assert_served_by(&proxy, "good");
}

/// Answers 503 to `/fail`, and to other requests once a message has come.
fn holding() -> (Backend, std::sync::mpsc::Sender<()>) {
    let (release, released) = channel::<()>();
    let released = Mutex::new(released);
    let backend = Backend::plain(move |conn| {
        while let Some(head) = conn.request() {
            if head.target == "/fail" {
                conn.respond(503, "fails");
                continue;
            }
            let _ = released.lock().expect("the channel").recv();
            conn.respond(200, "held");
        }
    });
    (backend, release)
}

#[test]
fn a_request_under_way_to_an_endpoint_that_is_ejected_goes_on() {
    let ((held, release), good) = (holding(), nginx("good"));
    let keys = detection(&format!("consecutive_5xx: 2, {FOR_GOOD}"));
    let proxy = forward(&[held.url(), good.url()], &keys).own("workers", "1").start();
    let name = held.address().to_string();
    std::thread::scope(|scope| {
        // One of two goes to it.
        let slow: Vec<_> =
            (0..2).map(|_| scope.spawn(|| proxy.curl("app", "/slow").ok().text())).collect();
        let active = "portcullis_http_requests_active";
        until("the request to wait", || proxy.metrics().sum(active, &[]) >= 1.0);
        eventually("it to be ejected", || {
            proxy.curl("app", "/fail").run();
            Some(state(&proxy, &name)).filter(|view| view["state"] == "ejected")
        });
        release.send(()).expect("it waits");
        let texts: Vec<String> = slow.into_iter().map(|it| it.join().expect("a text")).collect();
        assert!(texts.iter().any(|text| text == "held"), "{texts:?}");
    });
    assert_served_by(&proxy, "good");
}

#[test]
fn what_clients_do_is_not_held_against_an_endpoint() {
    let served = Arc::new(AtomicBool::new(false));
    let is_served = Arc::clone(&served);
    let backend = Backend::plain(move |conn| {
        while let Some(head) = conn.request() {
            match &*head.target {
                "/wait" => {
                    is_served.store(true, SeqCst);
                    conn.wait_for_end();
                }
                "/upload" => drop(conn.body(&head)),
                _ => conn.respond(404, "not here"),
            }
        }
    });
    let good = nginx("good");
    let keys = detection(&format!("consecutive_5xx: 1, always_eject_one_host: true, {FOR_GOOD}"));
    let proxy = forward(&[backend.url()], &keys).start();
    drop(good);
    assert_eq!(proxy.curl("app", "/none").run().status, 404);
    let mut gone = proxy.raw("app");
    gone.send(format!("GET /wait HTTP/1.1\r\nhost: {HOST}\r\n\r\n"));
    until("the request to be there", || served.load(SeqCst));
    drop(gone);
    proxy.wait_for_access("/wait");
    let mut half = proxy.raw("app");
    half.send(format!("POST /upload HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 9\r\n\r\nhalf"));
    drop(half);
    proxy.wait_for_access("/upload");
    assert_eq!(state(&proxy, &backend.address().to_string())["state"], "up");
    assert_eq!(proxy.metrics().sum("portcullis_endpoint_ejections_total", &[]), 0.0);
}

/// Two endpoints that always answer 503.
fn failing() -> [Backend; 2] {
    [0, 1].map(|_| {
        Backend::plain(|conn: &mut Conn| {
            while let Some(head) = conn.request() {
                conn.body(&head);
                conn.respond(503, "the upstream's own");
            }
        })
    })
}

fn fetch_until_both_are_ejected(proxy: &Proxy, backends: &[Backend; 2]) {
    let names = backends.each_ref().map(|backend| backend.address().to_string());
    eventually("both to be ejected", || {
        proxy.curl("app", "/").run();
        let is_ejected = |name: &String| state(proxy, name)["state"] == "ejected";
        names.iter().all(is_ejected).then_some(())
    });
}

#[test]
fn all_endpoints_are_used_if_too_few_are_available() {
    let backends = failing();
    let keys = detection(&format!("consecutive_5xx: 2, max_ejection_percent: 100, {FOR_GOOD}"));
    let proxy = forward(&backends.each_ref().map(Backend::url), &keys).start();
    fetch_until_both_are_ejected(&proxy, &backends);
    let in_panic = "portcullis_cluster_panic_requests_total";
    until("a request in a panic", || {
        assert_eq!(proxy.curl("app", "/").run().text(), "the upstream's own");
        proxy.metrics().sum(in_panic, &[]) > 0.0
    });
}

#[test]
fn a_threshold_of_0_connects_to_no_endpoint_that_is_ejected() {
    let backends = failing();
    let keys = detection(&format!("consecutive_5xx: 2, max_ejection_percent: 100, {FOR_GOOD}"));
    let keys = format!("{keys}\nhealthy_panic_threshold: 0");
    let proxy = forward(&backends.each_ref().map(Backend::url), &keys).start();
    fetch_until_both_are_ejected(&proxy, &backends);
    let connects = "portcullis_upstream_connects_total";
    let before = proxy.metrics().sum(connects, &[]);
    assert_eq!(proxy.curl("app", "/none").run().status, 503);
    let record = proxy.wait_for_access("/none");
    assert_eq!(record["response-flags"], "UH");
    assert_eq!(record["response-code-details"], "no_healthy_upstream");
    assert_eq!(proxy.metrics().sum(connects, &[]), before, "no attempt to connect");
    assert_eq!(proxy.metrics().sum("portcullis_cluster_panic_requests_total", &[]), 0.0);
}

#[test]
fn an_ejection_outlasts_a_reload() {
    let (bad, good) = (nginx("bad"), nginx("good"));
    set_down(&bad, true);
    let keys = detection(&format!("consecutive_5xx: 3, {FOR_GOOD}"));
    let mut proxy = forward(&[bad.url(), good.url()], &keys).start();
    let name = bad.address().to_string();
    let since = fetch_until_ejected(&proxy, &name)["since"].clone();
    let generation = |proxy: &Proxy| proxy.metrics().sum("portcullis_config_generation", &[]);
    let before = generation(&proxy);
    let other = proxy.current().forward("other", &good.url(), "");
    proxy.rewrite(other);
    until("the next generation", || generation(&proxy) > before);
    assert_served_by(&proxy, "good");
    let view = state(&proxy, &name);
    assert_eq!((&view["state"], &view["since"]), (&Value::from("ejected"), &since));
    assert_eq!(ejections(&proxy, "consecutive_5xx"), 1.0);
}

#[test]
fn an_endpoint_that_fails_more_often_than_the_others_is_ejected() {
    // Half of its responses.
    let half = "split_clients $request_id $bad { 50% 1; * 0; }";
    let bad = Nginx::plain()
        .with_http(half)
        .with("location / { if ($bad) { return 503; } return 200 bad; }")
        .start();
    let (one, two, three) = (nginx("good"), nginx("good"), Haproxy::start("good"));
    let rates = "success_rate_minimum_hosts: 4, success_rate_request_volume: 10, \
                 success_rate_stdev_factor: 1000";
    let keys = detection(&format!(
        "consecutive_5xx: 0, {rates}, interval: 3s, base_ejection_time: 3600s, \
         max_ejection_time: 3600s"
    ));
    let urls = [bad.url(), one.url(), two.url(), three.url()];
    let proxy = forward(&urls, &keys).start();
    let load = Load::start(&proxy, "app", 4);
    let name = bad.address().to_string();
    let view = eventually("the ejection", || {
        load.wait_for(50);
        Some(state(&proxy, &name)).filter(|view| view["state"] == "ejected")
    });
    load.stop();
    let why = "ejected: fewer responses without an error than the other endpoints";
    assert_eq!(view["last_error"], why);
    assert_served_by(&proxy, "good");
    assert_eq!(ejections(&proxy, "success_rate"), 1.0);
    for good in [one.address(), two.address(), three.address()] {
        assert_eq!(state(&proxy, &good.to_string())["state"], "up");
    }
}

/// How many of 60 requests an endpoint gets.
fn share_of(proxy: &Proxy, text: &str) -> usize {
    (0..60).filter(|_| proxy.curl("app", "/").ok().text().trim() == text).count()
}

#[test]
fn an_endpoint_that_returns_begins_with_a_tenth_of_its_share() {
    let (bad, good) = (nginx("bad"), Haproxy::start("good"));
    let keys = detection("consecutive_5xx: 3, base_ejection_time: 0.1s, interval: 0.02s");
    // Within its first tenth, for which this test has six minutes, the share does not grow.
    let more = format!("{keys}\nportcullis: {{slow_start: 1h}}");
    let config = forward(&[bad.url(), good.url()], &more).own("workers", "1");
    let mut proxy = config.start();
    assert_eq!(share_of(&proxy, "bad"), 30, "it was never down");
    set_down(&bad, true);
    fetch_until_ejected(&proxy, &bad.address().to_string());
    set_down(&bad, false);
    proxy.wait_for_log("the return", |line| line["message"] == "ejected endpoint returned");
    let share = share_of(&proxy, "bad");
    assert!((4..=7).contains(&share), "{share} of 60: one of eleven");
    let whole = proxy.current().without_routes();
    let urls = format!("[{}, {}]", bad.url(), good.url());
    proxy.rewrite(whole.forward("app", &urls, &keys));
    until("its whole share", || share_of(&proxy, "bad") == 30);
}
