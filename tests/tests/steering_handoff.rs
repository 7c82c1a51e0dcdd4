//! Steering by hand-off: connections go to the worker of their name.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use portcullis_tests::{
    Backend, Load, Proxy, Raw, openssl,
    openssl::SClient,
    proxy::portcullis,
    raw::{TlsOptions, hello},
    steering::{OUTCOMES, explain, first_choice, per_worker},
    wait::until,
    wire::End,
};

const DOMAIN: &str = "localhost.pomerium.io";

fn host(number: usize) -> String {
    format!("h{number}.{DOMAIN}")
}

/// Four workers, hand-off, and this number of hosts with a route each.
fn config(backend: &Backend, hosts: usize, more: &str) -> portcullis_tests::proxy::Config {
    let config =
        Proxy::config().own("workers", "4").own("steering", &format!("{{mode: handoff, {more}}}"));
    (0..hosts).fold(config, |config, n| config.forward(&format!("h{n}"), &backend.url(), ""))
}

/// The worker that served a request of a connection, according to its record.
fn served_by(proxy: &Proxy, host: &str, path: &str) -> usize {
    let mut raw = Raw::tls(proxy.address(), host);
    raw.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    assert_eq!(raw.response().status, 200);
    let record = proxy.wait_for_access(path);
    usize::try_from(record["worker"].as_u64().expect("a worker")).expect("a small number")
}

fn with_worker_field(config: portcullis_tests::proxy::Config) -> portcullis_tests::proxy::Config {
    config.global("access_log_fields: [path, worker, authority]")
}

#[test]
fn every_connection_is_served_by_its_names_worker() {
    let backend = Backend::text("x");
    let proxy = config(&backend, 16, "max_load_percent: 1000").start();
    let mut expected = [0.0; 4];
    let mut held = Vec::new();
    // Four of each, so that most hosts are accepted by a worker that is not their own.
    for round in 0..4 {
        for n in 0..16 {
            let host = host(n);
            expected[first_choice(&proxy, &host)] += 1.0;
            let mut raw = Raw::tls(proxy.address(), &host);
            raw.send(format!("GET /{round} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
            assert_eq!(raw.response().status, 200);
            held.push(raw);
        }
    }
    let metrics = proxy.metrics();
    assert_eq!(per_worker(&metrics, "portcullis_connections_active"), expected);
    assert_eq!(metrics.sum(OUTCOMES, &[("outcome", "steered")]), 64.0);
    let handed = metrics.sum(OUTCOMES, &[("outcome", "handed_off")]);
    assert!((1.0..64.0).contains(&handed), "{handed}");
    let accepted: f64 = per_worker(&metrics, "portcullis_connections_accepted_total").iter().sum();
    assert_eq!(accepted, 64.0, "each is counted once, where it was accepted");
    drop(held);
    proxy.wait_for_metric("portcullis_connections_active", &[], |open| open == 0.0);
    let closed = proxy.metrics().sum("portcullis_connections_closed_total", &[]);
    assert_eq!(closed, 64.0, "each is counted once, where it was served");
    proxy.assert_no_panic();
}

#[test]
fn a_hot_name_does_not_fill_one_worker() {
    let backend = Backend::text("x");
    // So many that the slack of 64 is small beside a worker's share.
    const CONNECTIONS: usize = 3000;
    let proxy = config(&backend, 10, "max_load_percent: 120").start();
    let host_of = |n| host(if n % 10 == 0 { 1 + n / 10 % 9 } else { 0 });
    let held: Vec<Raw> = (0..CONNECTIONS).map(|n| Raw::tls(proxy.address(), &host_of(n))).collect();
    let metrics = proxy.metrics();
    let open = per_worker(&metrics, "portcullis_connections_active");
    let mean = open.iter().sum::<f64>() / open.len() as f64;
    assert_eq!(mean, CONNECTIONS as f64 / 4.0);
    let busiest = open.iter().copied().fold(0.0, f64::max);
    assert!(busiest <= 1.3 * mean, "{open:?}");
    assert!(metrics.sum(OUTCOMES, &[("outcome", "spilled")]) > 0.0);
    let home = first_choice(&proxy, &host(0));
    assert!(open[home] >= mean, "its own worker has at least its share: {open:?}");
    drop(held);
}

#[test]
fn a_hello_byte_by_byte_is_read_whole_before_its_hand_over() {
    let backend = Backend::text("x");
    let proxy = config(&backend, 4, "max_load_percent: 1000").start();
    let mut held = Vec::new();
    for n in 0..4 {
        for record in [64, 4096] {
            let raw = Raw::dribble(proxy.address(), &host(n), record);
            let mut raw = raw.unwrap_or_else(|end| panic!("{end:?}"));
            raw.send(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", host(n)));
            assert_eq!(raw.response().status, 200);
            held.push(raw);
        }
    }
    let metrics = proxy.metrics();
    assert_eq!(metrics.sum(OUTCOMES, &[("outcome", "steered")]), 8.0);
}

#[test]
fn the_time_for_the_handshake_runs_on_across_a_hand_over() {
    let backend = Backend::text("x");
    let proxy = config(&backend, 1, "").own("handshake_timeout", "3s").start();
    let start = Instant::now();
    let hello = hello(&host(0));
    let (first, rest) = hello.split_at(100);
    let mut slow: Vec<_> = (0..16).map(|_| Raw::tcp(proxy.address())).collect();
    for raw in &mut slow {
        raw.send_raw(first);
    }
    std::thread::sleep(Duration::from_secs(2)); // it is the slowness that is tested
    for raw in &mut slow {
        raw.send_raw(rest);
    }
    proxy.wait_for_metric(OUTCOMES, &[("outcome", "handed_off")], |count| count >= 1.0);
    let timeouts = [("result", "timeout")];
    proxy.wait_for_metric("portcullis_tls_handshakes_total", &timeouts, |count| count == 16.0);
    let took = start.elapsed();
    assert!(took < Duration::from_millis(4700), "the time began anew: {took:?}");
    for raw in slow {
        assert_ne!(raw.to_end().end, End::Deadline);
    }
}

#[test]
fn a_reload_moves_names_but_not_open_connections() {
    let backend = Backend::text("x");
    let base = with_worker_field(config(&backend, 1, "pin: {h0.localhost.pomerium.io: [1]}"));
    let mut proxy = base.start();
    assert_eq!(served_by(&proxy, &host(0), "/before"), 1);
    let mut kept = Raw::tls(proxy.address(), &host(0));
    let moved = proxy
        .current()
        .own("steering", "{mode: handoff, pin: {h0.localhost.pomerium.io: [3]}}")
        .forward("h1", &backend.url(), "");
    proxy.rewrite(moved);
    proxy.wait_for_metric("portcullis_config_generation", &[], |generation| generation == 2.0);
    until("the new rules to reach every worker", || {
        explain(&proxy, &host(0))["pinned"] == serde_json::json!([3])
    });
    assert_eq!(served_by(&proxy, &host(0), "/after"), 3);
    kept.send(format!("GET /kept HTTP/1.1\r\nHost: {}\r\n\r\n", host(0)));
    assert_eq!(kept.response().status, 200);
    assert_eq!(proxy.wait_for_access("/kept")["worker"], 1);
    let new = first_choice(&proxy, &host(1));
    assert_eq!(served_by(&proxy, &host(1), "/new"), new);
}

#[test]
fn pins_are_honoured_for_hosts_and_endings() {
    let backend = Backend::text("x");
    let pins = "pin: {h0.localhost.pomerium.io: [2], '*.localhost.pomerium.io': [0, 3]}";
    let proxy = config(&backend, 3, pins).start();
    let held: Vec<_> = (0..60).map(|n| Raw::tls(proxy.address(), &host(n % 3))).collect();
    let open = per_worker(&proxy.metrics(), "portcullis_connections_active");
    assert_eq!((open[1], open[2]), (0.0, 20.0), "{open:?}");
    assert_eq!(open[0] + open[3], 40.0, "{open:?}");
    let view = explain(&proxy, &host(1));
    assert_eq!(view["pinned"], serde_json::json!([0, 3]), "{view}");
    drop(held);
}

#[test]
fn a_pin_of_a_worker_that_does_not_run_refuses_the_start() {
    let backend = Backend::text("x");
    let pins = "pin: {h0.localhost.pomerium.io: [4]}";
    let refused = config(&backend, 1, pins).refused();
    assert!(refused.stderr.contains("there is no worker 4"), "{refused:?}");
}

#[test]
fn names_that_no_route_has_are_refused_before_the_handshake() {
    for mode in ["handoff", "none"] {
        let backend = Backend::text("x");
        let steering = format!("{{mode: {mode}, unknown_sni: refuse}}");
        let proxy = config(&backend, 2, "").own("steering", &steering).start();
        let unknown =
            SClient::new(proxy.address(), &format!("nobody.{DOMAIN}")).run(&openssl::get("nobody"));
        assert_eq!(openssl::alert(&unknown), Some(112), "{unknown:?}");
        let refused = proxy.wait_for_refusal(|line| line["alert"] == "UnrecognisedName");
        assert_eq!(refused["tls-sni-hostname"], format!("nobody.{DOMAIN}"), "{refused}");
        let metrics = proxy.metrics();
        assert_eq!(metrics.sum(OUTCOMES, &[("outcome", "unknown_refused")]), 1.0);
        let handshakes = "portcullis_tls_handshakes_total";
        assert_eq!(metrics.sum(handshakes, &[("result", "unknown_name")]), 1.0);
        assert_eq!(metrics.sum("portcullis_tls_alerts_sent_total", &[]), 1.0);
        for name in [Some(host(0)), None] {
            let options = TlsOptions { name, ..TlsOptions::name("x") };
            let config = options.config();
            let name = Some("h0.localhost.pomerium.io");
            assert!(Raw::tls_with(proxy.address(), name, &config).is_ok(), "{options:?}");
        }
        let lines = proxy.count_log("listener connection failure");
        assert_eq!(lines, 1, "one record for one refusal");
    }
}

#[test]
fn a_worker_that_is_drained_takes_no_more_and_loses_nothing() {
    let backend = Backend::text("x");
    let proxy = config(&backend, 8, "").start();
    let address = proxy.admin_address().to_string();
    let home = first_choice(&proxy, &host(0));
    let load = Load::start(&proxy, "h0", 6);
    load.wait_for(100);
    let id = home.to_string();
    for _ in 0..3 {
        let drained = portcullis(&[], &["drain", "--worker", &id, "--address", &address], None);
        assert_eq!(drained.code, Some(0), "{drained:?}");
        let shown = explain(&proxy, &host(0));
        assert_ne!(shown["worker"], home, "{shown}");
        load.wait_for(200);
        proxy.wait_for_metric("portcullis_connections_active", &[("worker", &id)], |open| {
            open <= 6.0
        });
        let undone =
            portcullis(&[], &["drain", "--worker", &id, "--undo", "--address", &address], None);
        assert_eq!(undone.code, Some(0), "{undone:?}");
        until("the worker to be chosen again", || {
            explain(&proxy, &host(0))["order"][0]["available"] == true
        });
        load.wait_for(100);
    }
    load.finish();
    // No connection stays on a drained worker, whatever its name.
    portcullis(&[], &["drain", "--worker", &id, "--address", &address], None);
    proxy.wait_for_metric("portcullis_connections_active", &[("worker", &id)], |open| open == 0.0);
    let nameless = TlsOptions { name: None, ..TlsOptions::name("x") }.config();
    let held: Vec<_> = (0..40)
        .map(|n| match n % 2 {
            0 => Raw::tls(proxy.address(), &host(n % 8)),
            _ => Raw::tls_with(proxy.address(), Some(&host(0)), &nameless).expect("a handshake"),
        })
        .collect();
    let open = per_worker(&proxy.metrics(), "portcullis_connections_active");
    assert_eq!(open[home], 0.0, "{open:?}");
    assert_eq!(open.iter().sum::<f64>(), held.len() as f64);
    proxy.assert_no_panic();
}

#[test]
fn connections_without_a_hello_yet_are_served_during_a_drain() {
    let backend = Backend::text("x");
    let mut proxy = config(&backend, 8, "").own("drain_timeout", "30s").start();
    let silent: Vec<_> = (0..32).map(|n| (host(n % 8), Raw::tcp(proxy.address()))).collect();
    let accepted = "portcullis_connections_accepted_total";
    proxy.wait_for_metric(accepted, &[], |count| count == 32.0);
    proxy.signal(rustix::process::Signal::TERM);
    until("the proxy to be unready", || {
        proxy.admin("/readyz").is_some_and(|response| response.status == 503)
    });
    for (host, raw) in silent {
        let mut raw = raw.start_tls(&host).unwrap_or_else(|end| panic!("{end:?}"));
        raw.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let answer = raw.to_end();
        assert_eq!((&answer.end, answer.response().status), (&End::Clean, 200), "{answer:?}");
    }
    assert_eq!(proxy.wait().code(), Some(0));
    proxy.assert_no_panic();
}

#[test]
fn the_mode_and_its_reason_are_in_log_metrics_and_status() {
    let backend = Backend::text("x");
    let by_mode: BTreeMap<&str, &str> =
        BTreeMap::from([("handoff", "as configured"), ("none", "as configured")]);
    for (mode, reason) in by_mode {
        let steering = format!("{{mode: {mode}}}");
        let proxy = config(&backend, 1, "").own("steering", &steering).start();
        let line = proxy.wait_for_log("the mode", |line| line["message"] == "steering");
        assert_eq!((&line["mode"], &line["reason"]), (&mode.into(), &reason.into()), "{line}");
        let status = proxy.status();
        assert_eq!(status["steering"]["mode"], mode);
        let metrics = proxy.metrics();
        assert_eq!(metrics.sum("portcullis_steering_mode", &[("mode", mode)]), 1.0);
        assert_eq!(metrics.sum("portcullis_steering_mode", &[]), 1.0);
    }
    let one = config(&backend, 1, "").own("workers", "1").own("steering", "{mode: auto}").start();
    assert_eq!(one.status()["steering"]["reason"], "one worker");
}

#[test]
fn status_tells_where_a_host_goes_and_why() {
    let backend = Backend::text("x");
    let proxy = config(&backend, 1, "").start();
    let address = proxy.admin_address().to_string();
    let ask =
        |host: &str| portcullis(&[], &["status", "--address", &address, "--host", host], None);
    let known = ask(&host(0).to_uppercase());
    assert_eq!(known.code, Some(0), "{known:?}");
    for text in ["h0.localhost.pomerium.io  matches h0", "its first choice", "WORKER  LOAD  STATE"]
    {
        assert!(known.stdout.contains(text), "{text}: {}", known.stdout);
    }
    assert!(ask("nobody.test").stdout.contains("no route has this name"));
    let wrong = ask("not a name");
    assert_ne!(wrong.code, Some(0), "{wrong:?}");
    let page = portcullis(&[], &["status", "--address", &address], None).stdout;
    assert!(page.contains("steering handoff (as configured)"), "{page}");
}
