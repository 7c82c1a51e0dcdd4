//! Connections reach the worker that the model chooses.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use portcullis_tests::{
    Backend, Proxy, Raw,
    backend::TlsServer,
    openssl::{SClient, get},
    pki,
    proxy::Config,
    raw::TlsOptions,
    steering::{first_choice, outcome, per_worker},
    wait::until,
};

use crate::stand::{ask, config, host, in_network, outcomes, visit, worker_of};

fn hosts_land_at_home(address: fn(&Proxy) -> SocketAddr) {
    in_network(|_| {
        let proxy = config(16, "max_load_percent: 1000").start();
        for n in 0..16 {
            for round in 0..4 {
                let path = format!("/{n}/{round}");
                drop(visit(address(&proxy), &host(n), &path));
                assert_eq!(worker_of(&proxy, &path), first_choice(&proxy, &host(n)), "{path}");
            }
        }
        assert_eq!(outcomes(&proxy.metrics()), [("steered", 64.0)]);
        proxy.assert_no_panic();
    });
}

#[test]
fn every_host_is_served_by_its_worker_over_ipv4() {
    hosts_land_at_home(Proxy::address);
}

#[test]
fn every_host_is_served_by_its_worker_over_ipv6() {
    hosts_land_at_home(Proxy::address_v6);
}

#[test]
fn curl_and_openssl_are_served_by_their_host_s_worker() {
    in_network(|_| {
        let proxy = config(8, "max_load_percent: 1000").start();
        for n in 0..8 {
            let (name, path) = (host(n), |client: &str| format!("/{client}/{n}"));
            for (client, version) in [("curl-1", "--http1.1"), ("curl-2", "--http2")] {
                let curl = proxy.curl(&format!("h{n}"), &path(client)).args([version]);
                assert_eq!(curl.ok().status, 301);
            }
            let request = get(&name).replacen("/", &path("openssl"), 1);
            let shown = SClient::new(proxy.address_v6(), &name).run(&request).stdout;
            assert!(shown.contains("301 Moved"), "{shown}");
            for client in ["curl-1", "curl-2", "openssl"] {
                let worker = worker_of(&proxy, &path(client));
                assert_eq!(worker, first_choice(&proxy, &name), "{client} {n}");
            }
        }
        assert_eq!(outcomes(&proxy.metrics()), [("steered", 24.0)]);
    });
}

#[test]
fn mutual_tls_on_both_sides_reaches_the_host_s_worker() {
    in_network(|_| {
        let server = TlsServer { pair: pki().upstream(), client_auth: true, alpn: Vec::new() };
        let backend = Backend::tls(&server, |conn| {
            while conn.request().is_some() {
                conn.respond(200, "");
            }
        });
        let (ca, own) = (pki().ca(), pki().proxy());
        let own =
            format!("tls_client_cert_file: {:?}\ntls_client_key_file: {:?}", own.cert, own.key);
        let clients =
            format!("downstream_mtls: {{ca_file: {ca:?}, enforcement: reject_connection}}");
        let config = config(0, "max_load_percent: 1000").global(&clients);
        let with_route =
            |config: Config, n| config.forward_tls(&format!("h{n}"), &backend.url(), &own);
        let proxy = (0..4).fold(config, with_route).start();
        for n in 0..4 {
            let options = TlsOptions::name(&host(n)).client(pki().client());
            for round in 0..5 {
                let path = format!("/{n}/{round}");
                let raw = Raw::try_tls(proxy.address(), &options);
                let mut raw = raw.unwrap_or_else(|end| panic!("{path}: {end:?}"));
                raw.send(format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", host(n)));
                assert_eq!(raw.response().status, 200, "{path}");
                assert_eq!(worker_of(&proxy, &path), first_choice(&proxy, &host(n)), "{path}");
            }
        }
        assert_eq!(outcomes(&proxy.metrics()), [("steered", 20.0)]);
    });
}

/// With a bound that four workers cannot reach, the model is each name's first choice.
#[test]
fn ten_thousand_connections_are_placed_like_the_model() {
    const CONNECTIONS: usize = 10_000;
    const NAMES: usize = 50;
    in_network(|_| {
        let proxy = config(NAMES, "max_load_percent: 1000").start();
        let hosts: Vec<String> = (0..NAMES).map(host).collect();
        let model: BTreeMap<&str, usize> =
            hosts.iter().map(|host| (host.as_str(), first_choice(&proxy, host))).collect();
        let config = TlsOptions::name("resumed").alpn("http/1.1").config();
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    while let Some(host) = Some(next.fetch_add(1, Ordering::Relaxed))
                        .filter(|n| *n < CONNECTIONS)
                        .map(|n| &hosts[n % NAMES])
                    {
                        let mut raw = Raw::tls_with(proxy.address(), Some(host), &config)
                            .unwrap_or_else(|end| panic!("{end:?}"));
                        ask(&mut raw, host, "/");
                    }
                });
            }
        });
        until("all records", || proxy.count_log("http-request") == CONNECTIONS);
        let astray = proxy
            .log()
            .into_iter()
            .filter(|line| line["message"] == "http-request")
            .find(|line| line["worker"] != model[line["authority"].as_str().unwrap()]);
        assert_eq!(astray, None);
        // Every 20 seconds, when held connections are replaced, some clients get through to the catcher.
        let metrics = proxy.metrics();
        let landed = metrics.sum("portcullis_steering_catcher_connections_total", &[]);
        assert_eq!(outcome(&metrics, "steered") + landed, CONNECTIONS as f64);
        assert!(landed < CONNECTIONS as f64 / 100.0, "{landed}");
        proxy.assert_no_panic();
    });
}

#[test]
fn a_name_with_nine_tenths_of_the_load_does_not_fill_one_worker() {
    // So many that the slack of 64 is small beside a worker's share.
    const CONNECTIONS: usize = 3000;
    in_network(|_| {
        let proxy = config(10, "max_load_percent: 120").start();
        let host_of = |n| host(if n % 10 == 0 { 1 + n / 10 % 9 } else { 0 });
        let held: Vec<Raw> =
            (0..CONNECTIONS).map(|n| Raw::tls(proxy.address(), &host_of(n))).collect();
        let metrics = proxy.metrics();
        let open = per_worker(&metrics, "portcullis_connections_active");
        let mean = open.iter().sum::<f64>() / open.len() as f64;
        assert_eq!(mean, CONNECTIONS as f64 / 4.0);
        let busiest = open.iter().copied().fold(0.0, f64::max);
        assert!(busiest <= 1.3 * mean, "{open:?} {:?}", outcomes(&metrics));
        assert!(outcomes(&metrics).iter().any(|(outcome, _)| *outcome == "spilled"));
        let handed = outcome(&metrics, "handed_off");
        assert!(
            handed < CONNECTIONS as f64 / 20.0,
            "{handed} go back from where they were spilled"
        );
        assert!(open[first_choice(&proxy, &host(0))] >= mean, "its own has its share: {open:?}");
        drop(held);
    });
}
