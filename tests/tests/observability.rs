//! The output for an operator: records, metrics, health, status.

use std::time::{Duration, SystemTime};

use portcullis_tests::{
    Backend, Ca, Proxy, Raw, backend::not_tls, metrics::Metrics, nginx::Nginx, openssl::get, pki,
    ports::free_port, proxy::admin_get, raw::TlsOptions, tempdir::TempDir, wait::until,
};

#[test]
fn a_request_leaves_one_record_with_pomeriums_fields() {
    let backend = Backend::text("five!");
    let proxy = Proxy::config().forward("app", &backend.url(), "name: the-app").start();
    let fetched = proxy
        .curl("app", "/path?token=hidden")
        .args(["--user-agent", "tester/1", "--referer", "https://from.test/"])
        .header("X-Forwarded-For: 192.0.2.7")
        .ok();
    let record = proxy.wait_for_access("/path");
    assert_eq!(record["level"], "info");
    assert_eq!(record["method"], "GET");
    assert_eq!(record["authority"], "app.localhost.pomerium.io");
    assert_eq!(record["user-agent"], "tester/1");
    assert_eq!(record["referer"], "https://from.test/");
    assert_eq!(record["request-id"], fetched.header("x-request-id").unwrap());
    assert_eq!(record["response-code"], 200);
    assert_eq!(record["size"], 5);
    assert!(record["forwarded-for"].as_str().unwrap_or_default().contains("192.0.2.7"));
    assert!(
        record["upstream-cluster"].as_str().unwrap_or_default().contains("the-app"),
        "{record}"
    );
    assert!(record["duration"].is_number());
    assert!(record["response-code-details"].is_string());
    assert!(record["time"].is_string());
    assert!(!record.to_string().contains("hidden"), "the query is not asked for");
    assert_eq!(proxy.count_log("http-request"), 1);
}

#[test]
fn access_log_fields_choose_what_is_recorded() {
    let backend = Backend::text("x");
    let proxy = Proxy::config()
        .reject_connection(&pki().ca())
        .global(
            "access_log_fields: [path, ip, query, client-certificate, headers.X-One, \
             headers.Authorization]",
        )
        .forward("app", &backend.url(), "")
        .start();
    proxy
        .curl("app", "/p?q=1")
        .client(&pki().client())
        .header("X-One: 1")
        .header("Authorization: Basic c2VjcmV0")
        .ok();
    let record = proxy.wait_for_access("/p");
    assert_eq!(record["ip"], "127.0.0.1");
    assert_eq!(record["query"], "q=1");
    assert_eq!(record["headers.x-one"].as_str().or(record["headers.X-One"].as_str()), Some("1"));
    let names = record["client-certificate"]["subjectAltName"].to_string();
    assert!(names.contains("user@localhost.pomerium.io"), "{record}");
    assert!(record["method"].is_null());
    assert!(!record.to_string().contains("c2VjcmV0"), "a credential is in the log: {record}");
}

#[test]
fn a_proxy_log_level_above_info_records_no_requests() {
    let backend = Backend::text("x");
    let proxy =
        Proxy::config().global("proxy_log_level: warn").forward("app", &backend.url(), "").start();
    assert_eq!(proxy.curl("app", "/").ok().status, 200);
    let name = "portcullis_route_requests_total";
    proxy.wait_for_metric(name, &[], |value| value == 1.0);
    assert_eq!(proxy.count_log("http-request"), 0);
}

#[test]
fn the_text_log_has_one_unforgeable_line_per_request() {
    let backend = Backend::text("x");
    let proxy =
        Proxy::config().own("log_format", "text").forward("app", &backend.url(), "").start();
    proxy.curl("app", "/%0Alevel=error").header("User-Agent: a b=\"c\" level=error").ok();
    until("the record", || proxy.output().iter().any(|line| line.contains("http-request")));
    let lines = proxy.output();
    let records = lines.iter().filter(|line| line.contains("http-request"));
    assert_eq!(records.count(), 1);
    assert!(!lines.iter().any(|line| line.starts_with("level=error")), "{lines:?}");
}

#[test]
fn metrics_count_requests_by_route_and_handshakes_by_version() {
    let backend = Backend::plain(|conn| {
        while let Some(head) = conn.request() {
            let status = head.target.trim_start_matches('/').parse().unwrap_or(200);
            conn.respond(status, "");
        }
    });
    let proxy = Proxy::config().forward("app", &backend.url(), "name: counted").start();
    for path in ["/200", "/200", "/404", "/500"] {
        proxy.curl("app", path).args(["--tls-max", "1.2"]).ok();
    }
    let count = |code: &str| {
        let labels = [("route", "counted"), ("code", code)];
        proxy.metrics().sum("portcullis_route_requests_total", &labels)
    };
    until("all to be counted", || count("5xx") == 1.0);
    assert_eq!((count("2xx"), count("4xx")), (2.0, 1.0));
    let metrics = proxy.metrics();
    let labels = [("result", "ok"), ("version", "tls12")];
    assert_eq!(metrics.sum("portcullis_tls_handshakes_total", &labels), 4.0);
    let duration = "portcullis_http_request_duration_seconds";
    assert_eq!(metrics.sum(&format!("{duration}_count"), &[]), 4.0);
    assert!(metrics.sum(&format!("{duration}_sum"), &[]) > 0.0);
    assert_eq!(metrics.sum(&format!("{duration}_bucket"), &[("le", "+Inf")]), 4.0);
}

#[test]
fn active_connections_are_shown_for_each_worker() {
    let backend = Backend::text("x");
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    let held: Vec<_> = (0..5).map(|_| proxy.raw("app")).collect();
    let name = "portcullis_connections_active";
    proxy.wait_for_metric(name, &[], |value| value == 5.0);
    let workers = proxy.metrics().0.iter().filter(|sample| sample.name == name).count();
    assert_eq!(workers, 2);
    drop(held);
    proxy.wait_for_metric(name, &[], |value| value == 0.0);
}

#[test]
fn what_clients_send_never_becomes_a_label() {
    let backend = Backend::text("x");
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    for i in 0..20 {
        proxy
            .curl(&format!("stranger{i}"), &format!("/odd{i}"))
            .args(["-X", &format!("M{i}")])
            .ok();
    }
    let mut raw = Raw::tls(proxy.address(), "app.localhost.pomerium.io");
    raw.send(get("made-up.test"));
    raw.to_end();
    let text = proxy.admin("/metrics").unwrap().text();
    for word in ["stranger", "odd1", "M1\"", "made-up"] {
        assert!(!text.contains(word), "{word} is in the metrics");
    }
    let before = Metrics::parse(&text).0.len();
    for i in 20..40 {
        proxy.curl(&format!("stranger{i}"), "/").ok();
    }
    assert_eq!(proxy.metrics().0.len(), before, "series grow with what clients send");
}

#[test]
fn upstream_connects_reuse_and_errors_are_counted() {
    let backend = Backend::text("x");
    let plain = Backend::plain(not_tls);
    let proxy = Proxy::config()
        .own("workers", "1")
        .forward("app", &backend.url(), "")
        .forward("down", &format!("http://127.0.0.1:{}", free_port()), "")
        .forward_tls("tls", &format!("https://localhost:{}", plain.address().port()), "")
        .start();
    for host in ["app", "app", "app", "down", "tls"] {
        proxy.curl(host, "/").ok();
    }
    let metrics = proxy.metrics();
    let requests = |connection| {
        metrics.sum("portcullis_upstream_requests_total", &[("connection", connection)])
    };
    assert_eq!(requests("reused"), 2.0);
    let failures =
        |reason| metrics.sum("portcullis_upstream_failures_total", &[("reason", reason)]);
    assert_eq!(failures("connect"), 1.0);
    assert_eq!(failures("tls"), 1.0);
    let blamed = |blame| metrics.sum("portcullis_http_failures_total", &[("blame", blame)]);
    assert_eq!([blamed("upstream"), blamed("client"), blamed("proxy")], [2.0, 0.0, 0.0]);
}

#[test]
fn the_end_of_every_certificate_of_ours_is_a_metric() {
    let nginx = Nginx::tls(&pki().upstream()).with("location / { return 200; }").start();
    let own = pki().proxy();
    let proxy = Proxy::config()
        .forward_tls(
            "app",
            &nginx.url(),
            &format!(
                "tls_client_cert_file: {}\ntls_client_key_file: {}",
                own.cert.display(),
                own.key.display()
            ),
        )
        .start();
    let metrics = proxy.metrics();
    for usage in ["server", "upstream"] {
        let name = "portcullis_certificate_not_after_timestamp_seconds";
        assert!(metrics.sum(name, &[("usage", usage)]) > 1.7e9, "{usage}");
    }
}

#[test]
fn the_process_has_the_metrics_of_prometheus_own_clients() {
    let backend = Backend::text("x");
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    let held: Vec<_> = (0..20).map(|_| proxy.raw("app")).collect();
    let metrics = proxy.metrics();
    let value = |name| metrics.sum(name, &[]);
    assert!(value("process_open_fds") > 20.0, "{}", value("process_open_fds"));
    assert!(value("process_max_fds") >= value("process_open_fds"));
    let resident = value("process_resident_memory_bytes");
    assert!(resident > 1e6 && value("process_virtual_memory_bytes") >= resident, "{resident}");
    assert!(value("process_cpu_seconds_total") > 0.0);
    let start = value("portcullis_start_timestamp_seconds");
    assert_eq!(value("process_start_time_seconds"), start);
    drop(held);
}

#[test]
fn the_admin_address_has_a_page_for_people_and_for_nobody_else() {
    let backend = Backend::text("x");
    let proxy = Proxy::config().forward("app", &backend.url(), "name: shown").start();
    proxy.curl("app", "/").ok();
    proxy.curl("nobody", "/").ok();
    let page = proxy.admin("/").expect("a page");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    for told in [
        "<th scope=\"row\" class=\"t\">shown</th>",
        "no route",
        "Upstream connections",
        "Certificates",
    ] {
        assert!(page.text().contains(told), "{told}: {}", page.text());
    }
    let mut raw = Raw::tcp(proxy.admin_address());
    raw.send("GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n");
    assert_eq!(raw.to_end().response().status, 421);
}

#[test]
fn health_readiness_and_status_are_only_on_the_admin_address() {
    let backend = Backend::text("x");
    let proxy = Proxy::config().forward("app", &backend.url(), "name: shown").start();
    proxy.curl("app", "/").ok();
    for path in ["/healthz", "/readyz", "/status", "/metrics"] {
        assert_eq!(proxy.admin(path).map(|response| response.status), Some(200), "{path}");
    }
    assert_eq!(proxy.admin("/other").map(|response| response.status), Some(404));
    assert_eq!(proxy.curl("app", "/metrics").ok().text(), "x", "clients get the route's answer");
    let status = proxy.status();
    assert_eq!(status["state"], "ready");
    assert_eq!(status["workers"].as_array().map(Vec::len), Some(2));
    assert_eq!(status["routes"][0]["name"], "shown");
    assert!(status["certificates"][0]["days_left"].as_i64().is_some_and(|days| days > 300));
    assert_eq!(status["config"]["generation"], 1);
    assert!(status["upstreams"][0]["connects"].as_u64().is_some_and(|connects| connects >= 1));
}

#[test]
fn admin_requests_that_are_nonsense_do_no_harm() {
    let backend = Backend::text("x");
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    for bytes in ["\0\0\0", "GET", "POST /metrics HTTP/1.1\r\n\r\n", "GET /status HTTP/9.9\r\n\r\n"]
    {
        let mut raw = Raw::tcp(proxy.admin_address());
        raw.send(bytes).finish();
        raw.to_end();
    }
    let held: Vec<_> = (0..50).map(|_| Raw::tcp(proxy.admin_address())).collect();
    assert_eq!(proxy.curl("app", "/").ok().status, 200);
    drop(held);
    assert_eq!(proxy.admin("/readyz").map(|response| response.status), Some(200));
    proxy.assert_no_panic();
}

#[test]
fn a_page_with_a_name_of_its_own_reads_nothing_from_the_admin_address() {
    let backend = Backend::text("x");
    let proxy = Proxy::config()
        .own("admin_hosts", "[admin.internal]")
        .forward("app", &backend.url(), "")
        .start();
    let ask = |host: &str| {
        let mut raw = Raw::tcp(proxy.admin_address());
        raw.send(format!("GET /status HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        raw.to_end().response().status
    };
    for host in ["evil.test", "evil.test:9464", "127.0.0.1.evil.test"] {
        assert_eq!(ask(host), 421, "{host}");
    }
    for host in ["127.0.0.1:9464", "localhost", "[::1]:1", "Admin.internal:80"] {
        assert_eq!(ask(host), 200, "{host}");
    }
}

#[test]
fn clients_of_the_admin_address_that_send_nothing_starve_no_probe() {
    let backend = Backend::text("x");
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    let silent: Vec<_> = (0..200).map(|_| Raw::tcp(proxy.admin_address())).collect();
    for _ in 0..5 {
        assert_eq!(proxy.admin("/readyz").map(|response| response.status), Some(200));
    }
    drop(silent);
}

#[test]
fn a_certificate_with_thousands_of_names_makes_no_long_record() {
    const NAMES: usize = 2_500;
    let (dir, backend) = (TempDir::new("names"), Backend::text("x"));
    let [trusted, other] = ["trusted", "other"].map(|name| Ca::new(&dir, name));
    let names: Vec<_> = (0..NAMES).map(|n| format!("DNS:n{n}.test")).collect();
    let client = other.issue("many", &names.join(","));
    let file = trusted.certificate();
    for mode in ["policy_with_default_deny", "reject_connection"] {
        let mtls = format!("downstream_mtls: {{ca_file: {file:?}, enforcement: {mode}}}");
        let proxy = Proxy::config().global(&mtls).forward("app", &backend.url(), "").start();
        let options = TlsOptions::name("app.localhost.pomerium.io").client(client.clone());
        if let Ok(mut raw) = Raw::try_tls(proxy.address(), &options) {
            raw.send(get("app.localhost.pomerium.io"));
            raw.to_end();
        }
        let is_refusal = |line: &serde_json::Value| line["client-certificate"].is_object();
        let record = proxy.wait_for_log("the refusal", is_refusal);
        let shown = record["client-certificate"]["subjectAltName"].as_array().expect("names");
        assert_eq!(shown.len(), 11, "{mode}: {record}");
        assert_eq!(shown[10], "and 2490 more", "{mode}");
        assert!(record.to_string().len() < 4_000, "{mode}: {record}");
    }
}

#[test]
fn metrics_address_serves_metrics_behind_its_password() {
    let port = free_port();
    let backend = Backend::text("x");
    let proxy = Proxy::config()
        .global(&format!(
            "metrics_address: 127.0.0.1:{port}\nmetrics_basic_auth: cHJvbTpodW50ZXIyMg=="
        ))
        .forward("app", &backend.url(), "")
        .start();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let url = format!("http://{address}/metrics");
    assert_eq!(admin_get(address, "/metrics").map(|response| response.status), Some(401));
    let curl = |auth: &str| portcullis_tests::Curl::new(address, &url).args(["-u", auth]).ok();
    assert_eq!(curl("prom:wrong").status, 401);
    let fetched = curl("prom:hunter22");
    assert!(Metrics::parse(&fetched.text()).has("portcullis_build_info"));
    assert!(!proxy.output().join("\n").contains("hunter22"));
}

#[test]
fn the_log_says_where_the_admin_address_is() {
    let backend = Backend::text("x");
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    let address = proxy.admin_address().to_string();
    proxy.wait_for_log("the admin address", |line| line.to_string().contains(&address));
}

#[test]
fn metrics_address_serves_metrics_over_tls() {
    let port = free_port();
    let backend = Backend::text("x");
    let pair = pki().upstream(); // names localhost
    let (cert, key) = (pair.cert.display(), pair.key.display());
    let proxy = Proxy::config()
        .global(&format!(
            "metrics_address: 127.0.0.1:{port}\nmetrics_certificate_file: {cert}\n\
             metrics_certificate_key_file: {key}\nmetrics_basic_auth: cHJvbTpodW50ZXIyMg=="
        ))
        .forward("app", &backend.url(), "")
        .start();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let curl = |path: &str| {
        portcullis_tests::Curl::new(address, &format!("https://localhost:{port}{path}"))
    };
    assert_eq!(curl("/metrics").ok().status, 401);
    let fetched = curl("/metrics").args(["-u", "prom:hunter22"]).ok();
    assert!(Metrics::parse(&fetched.text()).has("portcullis_build_info"));
    let status = curl("/status").args(["-u", "prom:hunter22"]).ok().status;
    assert_eq!(status, 404, "it serves metrics alone");
    assert!(admin_get(address, "/metrics").is_none_or(|plain| plain.status >= 400));
    proxy.assert_no_panic();
}

#[test]
fn certificates_near_their_end_are_told_of_at_the_start_and_cas_are_shown() {
    let (dir, backend) = (TempDir::new("expiry"), Backend::text("x"));
    let soon =
        pki().client_until(&dir, SystemTime::now() + Duration::from_secs((5 * 24 - 1) * 60 * 60));
    let identity = format!(
        "tls_client_cert_file: {}\ntls_client_key_file: {}",
        soon.cert.display(),
        soon.key.display()
    );
    let proxy = Proxy::config()
        .reject_connection(&pki().ca())
        .forward("app", &backend.url().replace("http:", "https:"), &identity)
        .start();
    let line = proxy.wait_for_log("the end", |line| line["message"] == "a certificate ends soon");
    assert_eq!(line["level"], "warn", "{line}");
    assert_eq!((&line["usage"], &line["days_left"]), (&"upstream".into(), &4.into()), "{line}");
    assert!(line["origin"].to_string().contains(soon.cert.to_str().unwrap()), "{line}");
    let status = proxy.status();
    let certificates = status["certificates"].as_array().unwrap();
    let ca = certificates.iter().find(|shown| shown["usage"] == "client_ca");
    let ca = ca.expect("the CA of clients in status");
    assert!(ca["names"][0].as_str().is_some_and(|name| name.contains("CN=")), "{ca}");
    assert_eq!(proxy.count_log("a certificate ends soon"), 1);
}
