//! Active health checks of real servers that die, hang and come back.

use std::sync::{
    Arc,
    atomic::{AtomicU16, Ordering::SeqCst},
};

use portcullis_tests::{
    Backend, Proxy,
    backend::Conn,
    grpc::Server,
    haproxy::Haproxy,
    nginx::Nginx,
    openssl::SServer,
    pki,
    proxy::Config,
    wait::{eventually, until},
};
use rustix::process::Signal;
use serde_json::Value;

/// Quick checks, with this checker.
fn checks(checker: &str) -> String {
    checks_with("timeout: 300ms, interval: 50ms", checker)
}

fn checks_with(times: &str, checker: &str) -> String {
    format!("health_checks: [{{{times}, unhealthy_threshold: 2, healthy_threshold: 2, {checker}}}]")
}

const HTTP: &str = "http_health_check: {path: /}";

fn forward(urls: &[String], more: &str) -> Config {
    Proxy::config().own("workers", "2").forward("app", &format!("[{}]", urls.join(", ")), more)
}

/// What status shows of an endpoint.
fn health(proxy: &Proxy, endpoint: &str) -> Value {
    let status = proxy.status();
    let all = status["health"].as_array().expect("a list");
    let is_it = |view: &&Value| view["endpoint"] == endpoint;
    all.iter().find(is_it).unwrap_or_else(|| panic!("{endpoint} in {status}")).clone()
}

fn wait_for_state(proxy: &Proxy, endpoint: &str, state: &str) -> Value {
    eventually(&format!("{endpoint} to be {state}"), || {
        Some(health(proxy, endpoint)).filter(|view| view["state"] == state)
    })
}

fn assert_served_by(proxy: &Proxy, text: &str) {
    for _ in 0..20 {
        let fetched = proxy.curl("app", "/").ok();
        assert_eq!((fetched.status, fetched.text().trim()), (200, text));
    }
}

fn nginx(text: &str) -> Nginx {
    Nginx::plain().with(&format!("location / {{ return 200 {text}; }}")).start()
}

/// Answers with this status and text, which may change.
fn answering(status: &Arc<AtomicU16>, text: &'static str) -> Backend {
    let status = Arc::clone(status);
    Backend::plain(move |conn| {
        while let Some(head) = conn.request() {
            conn.body(&head);
            conn.respond(status.load(SeqCst), text);
        }
    })
}

#[test]
fn an_endpoint_that_is_killed_gets_no_requests() {
    let (killed, other) = (nginx("killed"), Haproxy::start("other"));
    let proxy = forward(&[killed.url(), other.url()], &checks(HTTP)).start();
    let name = killed.address().to_string();
    assert_eq!(health(&proxy, &name)["state"], "up", "the first round is over");
    drop(killed);
    let view = wait_for_state(&proxy, &name, "down");
    let error = view["last_error"].as_str().expect("an error");
    assert!(error.contains("cannot connect") && error.contains(&name), "{error}");
    assert_served_by(&proxy, "other");
    assert_eq!(proxy.metrics().sum("portcullis_endpoints_unhealthy", &[]), 1.0);
    let labels = [("cluster", "app.localhost.pomerium.io"), ("endpoint", &*name)];
    assert_eq!(proxy.metrics().sum("portcullis_endpoint_healthy", &labels), 0.0);
    let line = proxy.wait_for_log("the change", |line| {
        line["message"].as_str().is_some_and(|text| text.starts_with("an endpoint is down"))
    });
    assert_eq!((line["endpoint"].as_str(), line["check"].as_str()), (Some(&*name), Some("http")));
    assert_eq!(line["clusters"], "app.localhost.pomerium.io");
    assert_eq!(proxy.count_log(line["message"].as_str().expect("a text")), 1, "once per change");
    proxy.assert_no_panic();
}

#[test]
fn an_endpoint_that_hangs_is_down_until_it_goes_on() {
    let (hanging, other) = (nginx("hanging"), nginx("other"));
    let proxy = forward(&[hanging.url(), other.url()], &checks(HTTP)).start();
    let name = hanging.address().to_string();
    hanging.signal(Signal::STOP);
    let view = wait_for_state(&proxy, &name, "down");
    let error = view["last_error"].as_str().expect("an error");
    assert!(error.starts_with("no answer within 300ms, "), "{error}");
    assert_served_by(&proxy, "other");
    hanging.signal(Signal::CONT);
    wait_for_state(&proxy, &name, "up");
    assert!(health(&proxy, &name)["last_error"].is_null(), "it has recovered");
    until("requests to come back", || proxy.curl("app", "/").ok().text() == "hanging");
    proxy.wait_for_log("the change", |line| {
        line["message"].as_str().is_some_and(|text| text.starts_with("an endpoint is up again"))
    });
    assert_eq!(proxy.metrics().sum("portcullis_endpoints_unhealthy", &[]), 0.0);
}

#[test]
fn a_haproxy_that_hangs_is_down_and_its_monitor_says_when_it_is_up() {
    let (hanging, other) = (Haproxy::start("hanging"), nginx("other"));
    let checker = "http_health_check: {path: /monitor, expected_statuses: [{start: 200, end: 201}, \
                   {start: 404, end: 405}]}";
    let proxy = forward(&[hanging.url(), other.url()], &checks(checker)).start();
    let name = hanging.address().to_string();
    for _ in 0..3 {
        hanging.signal(Signal::STOP);
        wait_for_state(&proxy, &name, "down");
        hanging.signal(Signal::CONT);
        wait_for_state(&proxy, &name, "up");
    }
    proxy.assert_no_panic();
}

#[test]
fn a_status_that_is_not_expected_is_down_at_once_and_a_retriable_one_counts() {
    let (sure, counted) = (Arc::new(AtomicU16::new(200)), Arc::new(AtomicU16::new(200)));
    let backends = [answering(&sure, "sure"), answering(&counted, "counted")];
    let checker = "http_health_check: {path: /, retriable_statuses: [{start: 503, end: 504}]}";
    let times = "timeout: 5s, interval: 20ms, unhealthy_interval: 20ms";
    let rare = format!(
        "health_checks: [{{{times}, unhealthy_threshold: 4000000000, healthy_threshold: 1, \
         {checker}}}]\nhealthy_panic_threshold: 0"
    );
    let urls: Vec<_> = backends.iter().map(Backend::url).collect();
    let proxy = forward(&urls, &rare).start();
    sure.store(500, SeqCst);
    counted.store(503, SeqCst);
    let [sure, counted] = backends.each_ref().map(|backend| backend.address().to_string());
    let view = wait_for_state(&proxy, &sure, "down");
    assert_eq!(view["last_error"], "status 500");
    let view = eventually("an error that counts", || {
        Some(health(&proxy, &counted)).filter(|view| view["last_error"] == "status 503")
    });
    assert_eq!(view["state"], "up", "one in four billion");
    assert_served_at(&proxy, "counted", 503);
}

fn assert_served_at(proxy: &Proxy, text: &str, status: u16) {
    for _ in 0..20 {
        let fetched = proxy.curl("app", "/").ok();
        assert_eq!((fetched.status, &*fetched.text()), (status, text));
    }
}

#[test]
fn an_endpoint_that_flaps_ends_where_it_ends() {
    let status = Arc::new(AtomicU16::new(200));
    let (flapping, other) = (answering(&status, "flapping"), nginx("other"));
    let proxy = forward(&[flapping.url(), other.url()], &checks(HTTP)).start();
    let name = flapping.address().to_string();
    for _ in 0..5 {
        status.store(503, SeqCst);
        wait_for_state(&proxy, &name, "down");
        assert_served_by(&proxy, "other");
        status.store(200, SeqCst);
        wait_for_state(&proxy, &name, "up");
    }
    assert_eq!(proxy.metrics().sum("portcullis_endpoints_unhealthy", &[]), 0.0);
}

#[test]
fn the_last_endpoint_is_used_by_default_and_never_with_threshold_0() {
    let status = Arc::new(AtomicU16::new(503));
    let only = answering(&status, "down");
    let name = only.address().to_string();
    let proxy = forward(&[only.url()], &checks(HTTP)).start();
    wait_for_state(&proxy, &name, "down");
    assert_served_at(&proxy, "down", 503);
    let never = format!("{}\nhealthy_panic_threshold: 0", checks(HTTP));
    let proxy = forward(&[only.url()], &never).start();
    wait_for_state(&proxy, &name, "down");
    assert_eq!(proxy.curl("app", "/").ok().status, 503);
    assert_eq!(proxy.metrics().sum("portcullis_upstream_connects_total", &[]), 0.0);
}

/// The route of the guide "Upstream mTLS", with checks.
fn with_client_certificate(to: &str, pair: Option<portcullis_tests::Pair>, more: &str) -> Config {
    let client = pair.map_or(String::new(), |pair| {
        let (cert, key) = (pair.cert.display(), pair.key.display());
        format!("tls_client_cert_file: {cert}\ntls_client_key_file: {key}\n")
    });
    Proxy::config().forward_tls("app", to, &format!("{client}{more}"))
}

#[test]
fn a_check_shows_the_client_certificate_of_the_route() {
    for version in ["-tls1_2", "-tls1_3"] {
        let options = ["-Verify", "1", "-verify_return_error", version];
        let server = SServer::start(&pki().upstream(), &options);
        let name = format!("localhost:{}", server.address().port());
        let slow = checks_with("timeout: 10s, interval: 100ms", HTTP);
        let proxy = with_client_certificate(&server.url(), Some(pki().proxy()), &slow).start();
        assert_eq!(health(&proxy, &name)["state"], "up");
        drop(proxy);
        let refused = pki().pair("other/client");
        for (pair, why) in [(None, "asks for a client certificate"), (Some(refused), "refused our")]
        {
            let proxy = with_client_certificate(&server.url(), pair, &slow).start();
            let view = wait_for_state(&proxy, &name, "down");
            let error = view["last_error"].as_str().expect("an error");
            assert!(error.contains(why) && error.contains("tls_client_cert_file"), "{error}");
        }
    }
}

#[test]
fn a_check_verifies_the_certificate_as_requests_do() {
    let server = Nginx::tls(&pki().pair("other/upstream")).start();
    let name = format!("localhost:{}", server.address().port());
    let proxy = with_client_certificate(&server.url(), None, &checks(HTTP)).start();
    let view = wait_for_state(&proxy, &name, "down");
    let error = view["last_error"].as_str().expect("an error");
    assert!(error.contains("TLS: invalid certificate"), "{error}");
}

#[test]
fn a_check_speaks_the_http_version_that_it_offers() {
    let server = Nginx::tls(&pki().upstream()).http2().with("location / { return 204; }").start();
    for (codec, protocol) in [("HTTP1", "HTTP/1.1"), ("HTTP2", "HTTP/2.0")] {
        let checker = format!(
            "http_health_check: {{path: /{codec}, codec_client_type: {codec}, \
             expected_statuses: [{{start: 204, end: 205}}]}}"
        );
        let more = checks_with("timeout: 10s, interval: 100ms", &checker);
        let proxy = with_client_certificate(&server.url(), None, &more).start();
        let name = format!("localhost:{}", server.address().port());
        assert_eq!(health(&proxy, &name)["state"], "up");
        let records = eventually("records of checks", || {
            let of_codec = |record: &Value| record["uri"] == format!("/{codec}");
            let records: Vec<_> = server.records(1).into_iter().filter(of_codec).collect();
            (records.len() >= 3).then_some(records)
        });
        assert!(records.iter().all(|record| record["protocol"] == protocol), "{records:?}");
        let connection = |record: &Value| record["connection"].to_string();
        assert!(
            records.iter().all(|record| connection(record) == connection(&records[0])),
            "one connection serves all checks"
        );
    }
}

#[test]
fn a_tcp_check_talks_to_the_endpoint() {
    let pong = |answer: &'static str| {
        Backend::plain(move |conn: &mut Conn| {
            while conn.take(6).is_some() {
                conn.send(answer);
            }
        })
    };
    let (good, bad) = (pong("+PONG\r\n"), pong("-LOADING\r\n"));
    let checker = "tcp_health_check: {send: {text: 50494E470D0A}, receive: [{text: 504F4E47}]}";
    let proxy = forward(&[good.url(), bad.url()], &checks(checker)).start();
    let view = wait_for_state(&proxy, &bad.address().to_string(), "down");
    assert_eq!(view["last_error"], "no answer within 300ms, waiting for the expected bytes");
    assert_eq!(health(&proxy, &good.address().to_string())["state"], "up");
}

#[test]
fn a_tcp_check_may_only_connect() {
    let (living, dead) = (Haproxy::start("living"), Haproxy::start("dead"));
    let proxy = forward(&[living.url(), dead.url()], &checks("tcpHealthCheck: {}")).start();
    let name = dead.address().to_string();
    drop(dead);
    wait_for_state(&proxy, &name, "down");
    assert_served_by(&proxy, "living");
}

#[test]
fn a_grpc_check_asks_for_a_service() {
    let (plain, secure) = (Server::plain(), Server::tls(&pki().upstream()));
    let more = |service: &str| {
        let checker = format!("grpc_health_check: {{service_name: '{service}'}}");
        checks_with("timeout: 10s, interval: 100ms", &checker)
    };
    let named = |server: &Server| match server.url() {
        url if url.starts_with("h2c") => server.address().to_string(),
        _ => format!("localhost:{}", server.address().port()),
    };
    for (service, state, error) in [
        ("", "up", Value::Null),
        ("down", "down", "the service is NOT_SERVING".into()),
        ("other", "down", "gRPC status 5".into()),
    ] {
        for server in [&plain, &secure] {
            let config = with_client_certificate(&server.url(), None, &more(service));
            let proxy = config.start();
            let view = wait_for_state(&proxy, &named(server), state);
            assert_eq!(view["last_error"], error, "{service}");
        }
    }
}

#[test]
fn a_unix_socket_is_checked_too() {
    let dir = portcullis_tests::tempdir::TempDir::new("socket");
    let path = dir.path().join("app.sock");
    let listen = format!("listen unix:{}; location / {{ return 200 socket; }}", path.display());
    let server = Nginx::plain().with(&listen).start();
    let proxy = forward(&[format!("unix://{}", path.display())], &checks(HTTP)).start();
    assert_eq!(health(&proxy, "localhost")["state"], "up");
    drop(server);
    let view = wait_for_state(&proxy, "localhost", "down");
    assert!(view["last_error"].as_str().expect("an error").contains("app.sock"), "{view}");
}
